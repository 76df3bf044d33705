"""Two examples of statement 5: the patterns 11 and 101 on a ring, and a population that decouples the neurons.

Source: arXiv 2010.00578, the section on two-layer networks; the decoupling population is this project's own.
"""

from collections.abc import Sequence
from itertools import product

import sympy
from sympy import Eq, Expr, ImmutableDenseMatrix, Integer, Matrix, Rational, Symbol, ZeroMatrix, zeros

from theory.core.claim import Claim, equation
from theory.core.decide import decide_zero
from theory.core.derivation import Derivation, Step, positive_step, zero_step
from theory.core.notation import dimension, matrix
from theory.core.quantity import quantity
from theory.core.reading import identity_reading
from theory.towers.dual_gradient import identity_step
from theory.two_layer.relations import ASSUMPTIONS, SLUG, linear_covariance

RINGS = (4, 5, 6, 7, 8)
"""Sizes of the ring that are written out."""
PATTERNS = ((0, 1), (0, 2))
"""Positions of the ones of 11 and 101."""


def translations(ones: Sequence[int], positions: int) -> list[ImmutableDenseMatrix]:
    """The d translations of a pattern, columns of 0 and 1."""
    return [
        ImmutableDenseMatrix(positions, 1, lambda i, _, s=shift: Integer((i - s) % positions in ones))
        for shift in range(positions)
    ]


def mean(columns: Sequence[ImmutableDenseMatrix]) -> ImmutableDenseMatrix:
    """The average of some columns."""
    return ImmutableDenseMatrix(sum(columns, zeros(columns[0].rows, 1)) / len(columns))


def gated_mean(columns: Sequence[ImmutableDenseMatrix], weight: Matrix, slope: Expr) -> ImmutableDenseMatrix:
    """``E_aug[d x]`` of a neuron: d = 1 where ``w^T x > 0``, else the slope."""
    return mean([x if (weight.T * x)[0] > 0 else slope * x for x in columns])


def derive_ring(drop: str | None = None) -> Derivation:
    """Two objects with coinciding means: linear neurons have A_jk = 0 and stay; a ReLU neuron tells 11 from 101."""
    size = dimension("0")
    here, there = matrix(r"\bar{x}", size, 1), matrix(r"\bar{x}'", size, 1)
    odds = Symbol("o", positive=True)
    share = 1 / (1 + odds)
    last = identity_step(
        share * (1 - share) * (here - there) * (here - there).T,
        ZeroMatrix(size, size),
        "linear neurons: A_jk = Cov_x(E_aug x, E_aug x) = p (1 - p) (xbar - xbar')(xbar - xbar')^T for all "
        "j and k, p = 1/(1 + o)",
        {} if drop else {there: here},
    )
    steps = [two_point_step(), *([] if drop else ring_steps()), last]
    residual = ZeroMatrix(size, size) if last.proved else share * (1 - share) * (here - there) * (here - there).T
    text = "two objects whose augmentation means coincide: A_jk of linear neurons is 0"
    text += ", without: the means coincide" if drop else f"; of a ReLU neuron it is not, 11 and 101 on rings of {RINGS}"
    assumptions = (ASSUMPTIONS[2], "two objects", *([] if drop else ["their augmentation means coincide"]))
    rings = [step.expression for step in steps if isinstance(step.expression, sympy.Gt)]
    linear = linear_covariance(size)
    claim = Claim(text, (equation(linear, ZeroMatrix(size, size)), *rings), assumptions)
    coinciding = here if not drop else there
    spread = share * (1 - share) * (here - coinciding) * (here - coinciding).T
    read = identity_reading({linear: spread, **{activity(d): ring_variance(d) for d in RINGS}})
    return Derivation(SLUG, claim, tuple(steps), residual, read)


def activity(positions: int) -> Symbol:
    """``w^T A_jj w`` of the neuron e_1 - e_2 on a ring."""
    name = rf"w^{{\top}} A_{{jj}} w|_{{d={positions}}}"
    return quantity("variance of the mean activation", name, where={"positions": positions})


def ring_variance(positions: int) -> Expr:
    """The same by the definition: the mean activations on the translations of both patterns, varied over the two."""
    weight = Matrix(positions, 1, lambda i, _: Integer({0: 1, 1: -1}.get(i, 0)))
    gaps = [gated_mean(translations(ones, positions), weight, Integer(0)) for ones in PATTERNS]
    return (weight.T * (gaps[0] - gaps[1]))[0] ** 2 / 4


def two_point_step() -> Step:
    """The covariance of a quantity with two values."""
    share, a, b = Symbol("p", positive=True), Symbol("a", real=True), Symbol("b", real=True)
    average = share * a + (1 - share) * b
    spread = share * a**2 + (1 - share) * b**2 - average**2
    return zero_step(spread, share * (1 - share) * (a - b) ** 2, "the variance over two objects")


def ring_steps() -> list[Step]:
    """Means of both patterns, and the neuron e_1 - e_2, on every ring of `RINGS`."""
    steps = []
    for positions in RINGS:
        objects = [translations(ones, positions) for ones in PATTERNS]
        means = [mean(columns) for columns in objects]
        level = ImmutableDenseMatrix(positions, 1, [Rational(2, positions)] * positions)
        names = [matrix(rf"\bar{{x}}_{{{name}}}", positions, 1) for name in ("11", "101")]
        steps.append(
            Step(
                equation(*names),
                f"ring of {positions}: every position carries each one of a pattern once, the means are (2/d, .., 2/d)",
                decide_zero(Matrix.vstack(means[0] - level, means[1] - level)),
            )
        )
        variance = ring_variance(positions)
        steps.append(
            positive_step(
                variance, activity(positions),
                f"ring of {positions}, ReLU neuron w = e_1 - e_2: its mean activation is 1/d on 11 and 2/d on 101, "
                f"w^T A_jj w = 1/(4 d^2)",
            )
        )  # fmt: skip
        why = f"ring of {positions}: the value of w^T A_jj w"
        steps.append(zero_step(variance, Rational(1, 4 * positions**2), why))
    return steps


def sign_population_steps() -> list[Step]:
    """Neurons that read an input each, signs resampled by the augmentation, sizes kept: A_jk = 0 for j != k.

    Object: sizes ``(a_1, a_2)``, independent, each of two values; augmentation: independent signs, which average to
    zero. A neuron with slope s that reads input j alone has ``E_aug x~_j = (1 - s)/2 |a_j| e_j`` up to a sign, so that
    A_jj acts on input j alone: the neuron goes on reading it alone, and A_jk stays 0 along training. Linear neurons
    (s = 1) have A = 0 there.
    """
    slope = Symbol("s", real=True)
    sizes = [sympy.symbols(f"a_{{{j}1}} a_{{{j}2}}", positive=True) for j in (1, 2)]
    signs = list(product((1, -1), repeat=2))
    means = []
    for pair in product(*sizes):
        inputs = [Matrix([sign * size for sign, size in zip(choice, pair, strict=True)]) for choice in signs]
        gates = [[Integer(1) if sign > 0 else slope for sign in choice] for choice in signs]
        means.append([mean([d[j] * x for d, x in zip(gates, inputs, strict=True)]) for j in (0, 1)])
    average = [mean([row[j] for row in means]) for j in (0, 1)]
    blocks = {
        (j, k): sum((row[j] * row[k].T for row in means), zeros(2)) / len(means) - average[j] * average[k].T
        for j, k in product((0, 1), repeat=2)
    }
    spread = (1 - slope) ** 2 / 16 * (sizes[0][0] - sizes[0][1]) ** 2
    names = {key: matrix(f"A_{{{key[0] + 1}{key[1] + 1}}}", 2, 2) for key in blocks}
    what = "signs resampled, sizes independent, neuron j reads input j alone"
    return [
        Step(Eq(names[0, 1], ZeroMatrix(2, 2), evaluate=False), f"{what}: A_12 = 0", decide_zero(Matrix(blocks[0, 1]))),
        Step(
            equation(names[0, 0], ImmutableDenseMatrix([[spread, 0], [0, 0]])),
            "and A_11 acts on input 1 alone: d w_11 stays there, so that A_12 = 0 goes on holding",
            decide_zero(Matrix(blocks[0, 0]) - Matrix([[spread, 0], [0, 0]])),
        ),
    ]
