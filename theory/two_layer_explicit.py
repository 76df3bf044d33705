"""Two layers written out entry by entry: a finite population in symbols, its expected simple loss, the block form.

Weights, inputs, gates and probabilities are symbols of their own, so one polynomial identity covers ReLU, leaky ReLU
and linear neurons on every population of that size (statement 5 of arXiv 2010.00578). The loss is the literal sum of
section 0 and knows nothing of blocks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import sympy
from sympy import Expr, ImmutableDenseMatrix, Rational, Symbol, zeros

from hltm.base.errors import InputError
from theory.core.decide import decide_zero
from theory.core.derivation import Derivation, Statement, Step, equation, together, verdict
from theory.core.notation import matrix
from theory.towers.network import checked_widths
from theory.two_layer.relations import ASSUMPTIONS, SLUG, block_relations

POINTS = COPIES = 2
ENTRY_LIMIT = 8
"""Largest number of entries of W_1 and W_2 together that is written out (a few seconds)."""


@dataclass(frozen=True)
class Population:
    """A network of one hidden layer on M points with A augmentations each, every number a symbol.

    Attributes
    ----------
    first, second
        ``W_1`` (n_1, n_0) and ``W_2`` (n_2, n_1).
    inputs
        Columns ``x``, M lists of A.
    gates
        Diagonals of ``D_1`` as columns, M lists of A.
    p, q
        Probabilities of the points, and of the augmentations of each.
    """

    first: ImmutableDenseMatrix
    second: ImmutableDenseMatrix
    inputs: tuple[tuple[ImmutableDenseMatrix, ...], ...]
    gates: tuple[tuple[ImmutableDenseMatrix, ...], ...]
    p: tuple[Expr, ...]
    q: tuple[tuple[Expr, ...], ...]

    def output(self, point: int, copy: int) -> ImmutableDenseMatrix:
        """``f = W_2 D W_1 x``, a column."""
        return self.second * self.gates[point][copy].multiply_elementwise(self.first * self.inputs[point][copy])

    def gated_mean(self, point: int, neuron: int) -> ImmutableDenseMatrix:
        """``E_aug[x~_j]``, ``x~_j = d_j x``, of one point; a column of n_0."""
        total = zeros(self.first.cols, 1)
        for copy, weight in enumerate(self.q[point]):
            total += weight * self.gates[point][copy][neuron] * self.inputs[point][copy]
        return ImmutableDenseMatrix(total)

    def gated_covariance(self, j: int, k: int) -> ImmutableDenseMatrix:
        """``A_jk = Cov_x(E_aug x~_j, E_aug x~_k)``, (n_0, n_0)."""
        left, right = ([self.gated_mean(m, n) for m in range(len(self.p))] for n in (j, k))
        joint = [w * a * b.T for w, a, b in zip(self.p, left, right, strict=True)]
        start = zeros(self.first.cols, 1)
        means = [sum((w * v for w, v in zip(self.p, side, strict=True)), start) for side in (left, right)]
        return ImmutableDenseMatrix(sum(joint, zeros(self.first.cols)) - means[0] * means[1].T)


def population(widths: tuple[int, int, int], points: int = POINTS, copies: int = COPIES) -> Population:
    """Symbols for a network of widths (n_0, n_1, n_2); the last probability of each list makes the sum one.

    Examples
    --------
    >>> population((1, 1, 1)).output(0, 0)
    Matrix([[W_{1,11}*W_{2,11}*d_{11,1}*x_{11,1}]])
    """
    inputs, hidden, out = widths

    def column(name: str, m: int, a: int, size: int) -> ImmutableDenseMatrix:
        return ImmutableDenseMatrix(size, 1, lambda i, _: _real(f"{name}_{{{m + 1}{a + 1},{i + 1}}}"))

    def law(name: str, size: int) -> tuple[Expr, ...]:
        free = [_real(f"{name}_{{{i + 1}}}") for i in range(size - 1)]
        return (*free, 1 - sympy.Add(*free))

    first = ImmutableDenseMatrix(hidden, inputs, lambda b, a: _real(f"W_{{1,{b + 1}{a + 1}}}"))
    second = ImmutableDenseMatrix(out, hidden, lambda b, a: _real(f"W_{{2,{b + 1}{a + 1}}}"))
    xs = tuple(tuple(column("x", m, a, inputs) for a in range(copies)) for m in range(points))
    gates = tuple(tuple(column("d", m, a, hidden) for a in range(copies)) for m in range(points))
    copies_of = tuple(law(f"q^{{{m + 1}}}", copies) for m in range(points))
    return Population(first, second, xs, gates, law("p", points), copies_of)


def _real(name: str) -> Symbol:
    return Symbol(name, real=True)


def expected_simple_loss(net: Population) -> Expr:
    """``E[r_+ - r_-]``, the literal sum over points and augmentations."""
    rows = [[net.output(m, a) for a in range(len(net.q[m]))] for m in range(len(net.p))]
    terms = []
    for m, a in ((m, a) for m, row in enumerate(rows) for a in range(len(row))):
        first = rows[m][a]
        chance = net.p[m] * net.q[m][a]
        terms += [chance * net.q[m][b] * half_square(first - f) for b, f in enumerate(rows[m])]
        terms += [
            -chance * net.p[n] * net.q[n][b] * half_square(first - f)
            for n, row in enumerate(rows)
            for b, f in enumerate(row)
        ]
    return sympy.Add(*terms)


def half_square(gap: ImmutableDenseMatrix) -> Expr:
    """``1/2 ||gap||^2``."""
    return Rational(1, 2) * sympy.Add(*(entry**2 for entry in gap))


def block_form(net: Population) -> tuple[ImmutableDenseMatrix, ImmutableDenseMatrix]:
    """``d w_1j = sum_k (w_2j^T w_2k) A_jk w_1k`` as rows of ``d W_1``, and ``d W_2 = W_2 Cov_x[E_aug f_1]``.

    One-branch form: half of the shared update.
    """
    hidden = range(net.first.rows)
    blocks = {(j, k): net.gated_covariance(j, k) for j, k in product(hidden, hidden)}
    rows = []
    for j in hidden:
        total = zeros(net.first.cols, 1)
        for k in hidden:
            coupling = (net.second[:, j].T * net.second[:, k])[0]
            total += coupling * blocks[j, k] * net.first[k, :].T
        rows.append(total.T)
    covariance = ImmutableDenseMatrix(
        len(hidden), len(hidden), lambda j, k: (net.first[j, :] * blocks[j, k] * net.first[k, :].T)[0]
    )
    return ImmutableDenseMatrix.vstack(*map(ImmutableDenseMatrix, rows)), net.second * covariance


def derive_explicit(widths: object) -> Derivation:
    """The block form at given widths: half of the differentiated loss, minus the formula, entry by entry.

    Raises
    ------
    InputError
        Widths that are not (n_0, n_1, n_2), or too large to be written out.
    """
    net = population(checked(widths))
    loss = expected_simple_loss(net)
    steps, residuals = [], []
    for layer, (weight, right) in enumerate(zip((net.first, net.second), block_form(net), strict=True), start=1):
        left = weight.applyfunc(lambda entry: -sympy.diff(loss, entry) / 2)
        difference = left - right
        shown = matrix(rf"\nabla_{{W_{{{layer}}}}} \mathbb{{E}}[L_{{simp}}]", *weight.shape)
        claim = matrix(rf"\dot{{W}}_{{{layer}}}", *weight.shape)
        decision = decide_zero(difference)
        why = f"layer {layer}: the expected loss is differentiated entry by entry at fixed gates; block form"
        steps.append(Step(equation(-Rational(1, 2) * shown, claim), why, decision))
        residuals += list(zeros(len(difference), 1) if decision else difference)
    column = ImmutableDenseMatrix(residuals)
    decision = decide_zero(column)
    size = f"widths {tuple(checked(widths))}, {POINTS} points, {COPIES} augmentations"
    text = (
        "-1/2 grad E[r_+ - r_-] = block form, d w_1j = sum_k (w_2j^T w_2k) A_jk w_1k and "
        f"d W_2 = W_2 Cov_x[E_aug f_1] (one-branch), {size}"
    )
    statement = Statement(text, together([*(step.expression for step in steps), *block_relations()]), "one-branch")
    return Derivation(SLUG, statement, ASSUMPTIONS, tuple(steps), column, verdict(steps, decision))


def checked(widths: object) -> tuple[int, int, int]:
    """Widths (n_0, n_1, n_2), small enough to be written out."""
    sizes: Sequence[int] = checked_widths(widths)
    if len(sizes) != 3:
        raise InputError(f"widths={tuple(sizes)!r} of {SLUG!r}: must have three entries, n_0, n_1 and n_2")
    if sizes[1] * (sizes[0] + sizes[2]) > ENTRY_LIMIT:
        raise InputError(f"widths={tuple(sizes)!r} of {SLUG!r}: too large to be written out; widths=None proves all")
    return sizes[0], sizes[1], sizes[2]
