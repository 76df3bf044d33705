"""Statement 5 (two-layer-dynamics): one hidden layer, arXiv 2010.00578, the section on two-layer networks.

``f = W_2 psi(W_1 x)`` with gated inputs ``x~_j = d_j x``, ``A_jk = Cov_x(E_aug x~_j, E_aug x~_k)``: the block form of
the covariance operator, its decoupled special case, what the flow conserves, and the ring. For all sizes: identities
in index notation, expectations by the algebra of statement 3; the block form also at given widths, entry by entry.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import sympy
from sympy import (
    Expr,
    ImmutableDenseMatrix,
    MatAdd,
    MatMul,
    MatrixExpr,
    MatrixSymbol,
    Rational,
    Symbol,
    Transpose,
    ZeroMatrix,
    zeros,
)

from hltm.base.errors import InputError
from theory.core.claim import Claim, Reading, equation, reading, undecided
from theory.core.decide import ABSTAINED, Decision, combine
from theory.core.derivation import Derivation, Step, stated
from theory.core.expectation import GIVEN, Law, Letter, Moment, decide_moment, expect, letter
from theory.core.notation import Expect, SumOver, matrix, real
from theory.core.quantity import quantity
from theory.core.reading import (
    Meaning,
    NotReadError,
    core_of,
    explicit,
    identity_reading,
    moment_reading,
    same,
    summed,
    with_numbers,
)
from theory.core.record import differentiated
from theory.towers.covariance import derive_covariance
from theory.towers.dual_gradient import identity_step
from theory.towers.network import checked_widths
from theory.two_layer.relations import (
    A_JJ,
    A_JK,
    ASSUMPTIONS,
    COVARIANCE,
    FIRST,
    GATED,
    HIDDEN,
    N0,
    N1,
    N2,
    OTHER_OUT,
    OTHER_OWN,
    OUT,
    OUT_RATE,
    OWN,
    OWN_RATE,
    SECOND,
    SECOND_RATE,
    SLUG,
    block_relations,
    conserved_relation,
    decoupled_relations,
)
from theory.two_layer.ring import derive_ring, sign_population_steps

POINTS = COPIES = 2
ENTRY_LIMIT = 8
"""Largest number of entries of W_1 and W_2 together that is written out (a few seconds)."""
CLAIMS = ("block", "decoupled", "conserved", "ring")
"""The claims that can be derived."""
DROPS: Mapping[str, tuple[str, str]] = {
    "decoupling": ("decoupled", "A_jk = 0 for j != k"),
    "homogeneity": ("conserved", "psi(p) = psi'(p) p (no biases, piecewise-linear homogeneous activation)"),
    "coinciding-means": ("ring", "the augmentation means of the two objects coincide"),
}
"""Assumptions that can be dropped: the claim that needs each, and what it says."""

T = Symbol("t", real=True)
LAW = Law(means={"xj": "mj", "xk": "mk", "h": "hbar"})
SHAPES: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("xj", "xk", "mj", "mk", "w1j", "w1k", "h", "hbar"), (2, 1)),
    **dict.fromkeys(("w2j", "w2k"), (3, 1)),
    "W2": (3, 2),
}
_NAMES = {
    "xj": (r"\tilde{x}_{j}", N0, 1), "xk": (r"\tilde{x}_{k}", N0, 1),
    "mj": (r"\bar{x}_{j}", N0, 1), "mk": (r"\bar{x}_{k}", N0, 1),
    "h": ("f_{1}", N1, 1), "hbar": (r"\bar{f}_{1}", N1, 1),
    "w1k": ("w_{1k}", N0, 1), "w2j": ("w_{2j}", N2, 1), "w2k": ("w_{2k}", N2, 1), "W2": ("W_{2}", N2, N1),
}  # fmt: skip
_PLACES = {("x", "1"): "x_{1}", ("x", "2"): "x_{+}", ("x'", "1"): "x_{-}", ("x", GIVEN): "x", ("y", GIVEN): "y"}


def derive_two_layer(claim: str = "block", widths: object = None, drop: str | None = None) -> Derivation:
    """Derive a claim of statement 5, the block form also at given widths, or with an assumption dropped."""
    if drop is not None:
        claim = DROPS[drop][0]
    if claim == "block":
        return derive_block() if widths is None else derive_explicit(widths)
    if claim == "decoupled":
        return derive_decoupled(drop)
    return derive_conserved(drop) if claim == "conserved" else derive_ring(drop)


def constant(name: str) -> Moment:
    """A letter without a label: the same at every point."""
    return Moment.of(Letter(name))


def shown(moment: Moment) -> MatrixExpr:
    """The expectation of a moment as a SymPy matrix expression."""
    terms = []
    for term, coefficient in moment.terms.items():
        factors = []
        for item in term.word:
            name, rows, columns = _NAMES[item.name]
            place = f"({_PLACES[item.labels[0]]})" if item.labels else ""
            factors.append(matrix(name + place, rows, columns))
            if item.transposed:
                factors[-1] = Transpose(factors[-1])
        terms.append(MatMul(*(() if coefficient == 1 else (coefficient,)), *factors))
    return Expect(MatAdd(*terms) if len(terms) > 1 else terms[0])


def moment_step(left: Moment, right: Moment, why: str) -> Step:
    """A step ``E[left] = E[right]``, decided by the moment algebra and by exact populations."""
    difference = left - right
    return Step(
        equation(shown(left), shown(right)), why, decide_moment(difference, expect(difference, LAW), LAW, SHAPES)
    )


def neuron_steps() -> list[Step]:
    """From the tower to its neurons: ``f = sum_j K_j^T w_1j`` with ``K_j = x~_j w_2j^T``."""
    unit, gate, x = matrix("e_{j}", N1, 1), matrix("D", N1, N1), matrix("x", N0, 1)
    block, change = matrix("K_{j}", N0, N2), matrix("dw_{1j}", N0, 1)
    names = {OWN: FIRST.T * unit, OUT: SECOND * unit, GATED: x * (unit.T * gate * unit)}
    rank_one = {block: GATED * OUT.T}
    part = SECOND * unit * (unit.T * gate * unit) * unit.T * FIRST * x
    return [
        identity_step(
            part,
            OUT * GATED.T * OWN,
            "neuron j of the tower, D diagonal: f = W_2 D W_1 x = sum_j w_2j (x~_j^T w_1j), x~_j = d_j x, w_1j the "
            "j-th row of W_1, w_2j the j-th column of W_2",
            names,
        ),
        identity_step(
            OUT * GATED.T * (OWN + T * change),
            block.T * OWN + T * block.T * change,
            "only neuron j depends on w_1j, and linearly at fixed gates: df = K_j^T dw_1j with K_j = x~_j w_2j^T, "
            "and homogeneity f = sum_k K_k^T w_1k",
            rank_one,
        ),
    ]


def derive_block() -> Derivation:
    """The block form for all sizes, a generic pair of neurons j, k."""
    xj, xk, w1k = letter("xj", "x", "1"), constant("w2k") * letter("xk", "x", "2").transposed(), constant("w1k")
    negative = constant("w2k") * letter("xk", "x'", "1").transposed() * w1k
    own = constant("w2k") * letter("xk", "x", "1").transposed() * w1k
    towards = xj * constant("w2j").transposed()
    positive = xk * w1k
    update = towards * (own - negative) - towards * (own - positive)
    between = constant("w2j").transposed() * constant("w2k")
    claim = letter("mj", "x") * between * letter("mk", "x").transposed() * w1k
    claim = claim - letter("mj", "x") * between * letter("mk", "y").transposed() * w1k
    general = derive_covariance("one-branch", "general")
    steps = [
        *neuron_steps(),
        Step(general.statement.expression, "statement 3, general form, through x_1 only", general.decision),
        moment_step(
            update, claim,
            "one-branch update of w_1j, the part of neuron k: -K_j(x_1) (f_k(x_1) - f_k(x_+)) + K_j(x_1) (f_k(x_1) - "
            "f_k(x_-)); tower rule and independence",
        ),
        *_collect_steps(),
        *_second_layer_steps(),
    ]  # fmt: skip
    second = constant("W2")
    meanings = {
        OWN_RATE: update,
        SECOND_RATE: second_update(),
        A_JK: covariance("mj", "mk"),
        COVARIANCE: covariance("mj", "mk"),
        HIDDEN: covariance("hbar", "hbar"),
    }
    constants = {OWN: "w1j", OUT: "w2j", OTHER_OWN: "w1k", OTHER_OUT: "w2k"}
    letters = {SECOND: second, **{symbol: constant(name) for symbol, name in constants.items()}}

    def meaning(expr: object) -> Meaning | None:
        return (meanings[expr], True) if expr in meanings else (letters[expr], False) if expr in letters else None

    columns = frozenset(SHAPES) - {"W2"}
    averaged = moment_reading(meaning, LAW, SHAPES, lambda moment: with_numbers(moment, columns))

    def decide(relation: sympy.Basic) -> Decision:
        """The rate of w_1j is a sum over k: what is not one is not compared with its generic term."""
        if relation.has(OWN_RATE, SumOver) and not (relation.has(OWN_RATE) and summed(relation, OWN_RATE)):
            return undecided(relation)
        return averaged(Claim("", (relation,)))

    read = reading(decide)
    residue = expect(with_numbers(update - claim, columns), LAW)
    residual = ZeroMatrix(N0, 1) if not residue.terms else shown(residue)
    text = (
        "d w_1j = sum_k (w_2j^T w_2k) A_jk w_1k, d W_2 = W_2 Cov_x[E_aug f_1], A_jk = Cov_x[E_aug x~_j, E_aug x~_k] "
        "(one-branch, simple loss), all sizes"
    )
    claimed = Claim(text, block_relations(), ASSUMPTIONS, "one-branch")
    return Derivation(SLUG, claimed, tuple(steps), residual, read)


def covariance(first: str, second: str) -> Moment:
    """``Cov_x[first, second]`` of two columns, y independent of x."""
    return letter(first, "x") * letter(second, "x").transposed() - letter(first, "x") * letter(second, "y").transposed()


def second_update() -> Moment:
    """One-branch update of W_2 for one draw, ``f = W_2 f_1``."""
    second = constant("W2")
    here, plus, minus = (letter("h", *place) for place in (("x", "1"), ("x", "2"), ("x'", "1")))
    return second * (here - minus) * here.transposed() - second * (here - plus) * here.transposed()


def _mean(name: str, point: str) -> MatrixSymbol:
    return matrix(rf"\bar{{x}}_{{{name}}}({point})", N0, 1)


def _collect_steps() -> list[Step]:
    """``w_2j^T w_2k`` is a number: it leaves the product, and A_jk remains."""
    word = _mean("j", "x") * OUT.T * OTHER_OUT * (_mean("k", "x") - _mean("k", "y")).T * OTHER_OWN
    why = "w_2j^T w_2k is a number, the same at all points; A_jk = E[xbar_j(x) (xbar_k(x) - xbar_k(y))^T], x, y iid"
    return [identity_step(word, A_JK * OTHER_OWN * (OUT.T * OTHER_OUT), why, _drawn())]


def _drawn() -> dict[MatrixExpr, MatrixExpr]:
    """A_jk by two independent points x and y."""
    return {A_JK: _mean("j", "x") * (_mean("k", "x") - _mean("k", "y")).T}


def _second_layer_steps() -> list[Step]:
    """``d W_2 = W_2 Cov_x[E_aug f_1]``, and the covariance in terms of A_jk."""
    second = constant("W2")
    update, claim = second_update(), second * covariance("hbar", "hbar")
    neurons = (("j", OWN, "x"), ("k", OTHER_OWN, "x"), ("k", OTHER_OWN, "y"))
    hidden = [MatMul(Transpose(weight), _mean(name, point)) for name, weight, point in neurons]
    return [
        moment_step(update, claim, "one-branch update of W_2, f = W_2 f_1: W_2 Cov_x[E_aug f_1]"),
        identity_step(
            hidden[0] * (hidden[1] - hidden[2]),
            OWN.T * A_JK * OTHER_OWN,
            "f_1j = w_1j^T x~_j, so the entry (j, k) of Cov_x[E_aug f_1] is w_1j^T A_jk w_1k",
            _drawn(),
        ),
    ]


def derive_decoupled(drop: str | None = None) -> Derivation:
    """The decoupled special case, a generic neuron k != j; and a population on which it holds and goes on holding."""
    decoupling: Mapping[MatrixExpr, MatrixExpr] = {} if drop else {A_JK: ZeroMatrix(N0, N0)}
    left_over = A_JK * OTHER_OWN * (OUT.T * OTHER_OUT)
    last = identity_step(
        A_JJ * OWN * (OUT.T * OUT) + left_over,
        A_JJ * OWN * (OUT.T * OUT),
        "block form with A_jk = 0 for k != j: d w_1j = ||w_2j||^2 A_jj w_1j",
        decoupling,
    )
    steps = [
        identity_step(
            OUT * (OWN.T * A_JJ * OWN) + OTHER_OUT * (OWN.T * A_JK * OTHER_OWN), OUT * (OWN.T * A_JJ * OWN),
            "column j of W_2 Cov_x[E_aug f_1] with A_kj = A_jk^T = 0: d w_2j = (w_1j^T A_jj w_1j) w_2j", decoupling,
        ),
        *([] if drop else sign_population_steps()),
        last,
    ]  # fmt: skip
    residual = ZeroMatrix(N0, 1) if last.proved else left_over
    text = "d w_1j = ||w_2j||^2 A_jj w_1j, d w_2j = (w_1j^T A_jj w_1j) w_2j"
    text += f" (one-branch), without: {DROPS[drop][1]}" if drop else ", where A_jk = 0 for j != k (one-branch)"
    kept = ASSUMPTIONS if drop else (*ASSUMPTIONS, DROPS["decoupling"][1])
    rates = {
        OWN_RATE: A_JJ * OWN * (OUT.T * OUT) + left_over,
        OUT_RATE: OUT * (OWN.T * A_JJ * OWN) + OTHER_OUT * (OWN.T * A_JK * OTHER_OWN),
    }
    claim = Claim(text, decoupled_relations(), kept, "one-branch")
    return Derivation(SLUG, claim, tuple(steps), residual, identity_reading({**rates, **decoupling}))


def derive_conserved(drop: str | None = None) -> Derivation:
    """``||w_1j||^2 - ||w_2j||^2`` is constant under the flow of every loss that is a function of the outputs.

    ``u = dL/df`` at one input and one tower; the gradient is a sum of such parts, whatever the loss is and through
    however many towers it flows.
    """
    u, value = matrix("u", N2, 1), matrix("f_{1j}", 1, 1)
    homogeneous: Mapping[MatrixExpr, MatrixExpr] = {} if drop else {value: GATED.T * OWN}
    first, second = GATED * (OUT.T * u), u * value
    last = identity_step(
        OWN.T * first,
        OUT.T * second,
        "w_1j^T (dL/dw_1j) = w_2j^T (dL/dw_2j) for the part of every input, hence for every sum of them: half of "
        "d/dt (||w_1j||^2 - ||w_2j||^2) = 0",
        homogeneous,
    )
    moved = [(w + T * d).T * (w + T * d) for w, d in ((OWN, OWN_RATE), (OUT, OUT_RATE))]
    kept = OWN.T * OWN - OUT.T * OUT + T * (2 * OWN.T * OWN_RATE - 2 * OUT.T * OUT_RATE)
    steps = [
        identity_step(
            (OWN + T * OWN_RATE).T * GATED * (OUT.T * u), OWN.T * GATED * (OUT.T * u) + T * OWN_RATE.T * first,
            "part of one input in w_1j: the loss moves by u^T df, df = w_2j x~_j^T dw_1j, gradient x~_j (w_2j^T u)",
        ),
        identity_step(
            value * (u.T * (OUT + T * OUT_RATE)), value * (u.T * OUT) + T * second.T * OUT_RATE,
            "part of one input in w_2j: df = dw_2j f_1j, gradient u f_1j",
        ),
        identity_step(
            moved[0] - moved[1], kept + T**2 * (OWN_RATE.T * OWN_RATE - OUT_RATE.T * OUT_RATE),
            "one step of length t: what the flow conserves moves by t^2 (||d_1j||^2 - ||d_2j||^2), so that gradient "
            "descent with learning rate t drifts at first order over fixed time",
        ),
        last,
    ]  # fmt: skip
    residual = ZeroMatrix(1, 1) if last.proved else OWN.T * first - OUT.T * second
    text = "d/dt (||w_1j||^2 - ||w_2j||^2) = 0 for every loss that is a function of the outputs, both conventions"
    assumptions = [ASSUMPTIONS[0], DROPS["homogeneity"][1], "the loss is a differentiable function of the outputs"]
    if drop:
        text, assumptions = f"{text}, without: {DROPS[drop][1]}", [assumptions[2]]
    flow = identity_reading(homogeneous, {OWN: -first, OUT: -second})

    def decide(relation: sympy.Basic) -> Decision:
        """Rates are those of the part of one input: only what is claimed of the weights alone holds for their sum."""
        weights = relation.atoms(MatrixSymbol) <= {OWN, OUT}
        return flow(Claim("", (relation,))) if weights else undecided(relation)

    read = reading(decide)
    return Derivation(SLUG, Claim(text, (conserved_relation(),), tuple(assumptions)), tuple(steps), residual, read)


# The block form at given widths: a finite population in symbols, and its expected simple loss, differentiated.


@dataclass(frozen=True)
class Population:
    """A network of one hidden layer on M points with A augmentations each, every number a symbol."""

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
        copies = zip(self.q[point], self.gates[point], self.inputs[point], strict=True)
        parts = (weight * gate[neuron] * x for weight, gate, x in copies)
        return ImmutableDenseMatrix(sum(parts, start=zeros(self.first.cols, 1)))

    def hidden_covariance(self) -> ImmutableDenseMatrix:
        """``Cov_x[E_aug f_1]`` from the activations themselves, (n_1, n_1)."""
        means = [
            sum(
                (q * g.multiply_elementwise(self.first * x) for q, g, x in zip(*rows, strict=True)),
                start=zeros(self.first.rows, 1),
            )
            for rows in zip(self.q, self.gates, self.inputs, strict=True)
        ]
        square = zeros(self.first.rows)
        average = sum((p * mean for p, mean in zip(self.p, means, strict=True)), start=zeros(self.first.rows, 1))
        joint = sum((p * mean * mean.T for p, mean in zip(self.p, means, strict=True)), start=square)
        return ImmutableDenseMatrix(joint - average * average.T)

    def gated_covariance(self, j: int, k: int) -> ImmutableDenseMatrix:
        """``A_jk = Cov_x(E_aug x~_j, E_aug x~_k)``, (n_0, n_0)."""
        left, right = ([self.gated_mean(m, n) for m in range(len(self.p))] for n in (j, k))
        joint = [w * a * b.T for w, a, b in zip(self.p, left, right, strict=True)]
        start = zeros(self.first.cols, 1)
        means = [sum((w * v for w, v in zip(self.p, side, strict=True)), start) for side in (left, right)]
        return ImmutableDenseMatrix(sum(joint, zeros(self.first.cols)) - means[0] * means[1].T)


def population(widths: tuple[int, int, int], points: int = POINTS, copies: int = COPIES) -> Population:
    """Symbols for a network of widths (n_0, n_1, n_2); the last probability of each list makes the sum one."""
    inputs, hidden, out = widths

    def column(name: str, m: int, a: int, size: int) -> ImmutableDenseMatrix:
        return ImmutableDenseMatrix(size, 1, lambda i, _: real(f"{name}_{{{m + 1}{a + 1},{i + 1}}}"))

    def law(name: str, size: int) -> tuple[Expr, ...]:
        free = [real(f"{name}_{{{i + 1}}}") for i in range(size - 1)]
        return (*free, 1 - sympy.Add(*free))

    first = ImmutableDenseMatrix(hidden, inputs, lambda b, a: real(f"W_{{1,{b + 1}{a + 1}}}"))
    second = ImmutableDenseMatrix(out, hidden, lambda b, a: real(f"W_{{2,{b + 1}{a + 1}}}"))
    xs = tuple(tuple(column("x", m, a, inputs) for a in range(copies)) for m in range(points))
    gates = tuple(tuple(column("d", m, a, hidden) for a in range(copies)) for m in range(points))
    copies_of = tuple(law(f"q^{{{m + 1}}}", copies) for m in range(points))
    return Population(first, second, xs, gates, law("p", points), copies_of)


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
    coupling = net.second.T * net.second
    rows = [
        sum((coupling[j, k] * blocks[j, k] * net.first[k, :].T for k in hidden), start=zeros(net.first.cols, 1)).T
        for j in hidden
    ]
    covariance = ImmutableDenseMatrix(
        len(hidden), len(hidden), lambda j, k: (net.first[j, :] * blocks[j, k] * net.first[k, :].T)[0]
    )
    return ImmutableDenseMatrix.vstack(*map(ImmutableDenseMatrix, rows)), net.second * covariance


def derive_explicit(widths: object) -> Derivation:
    """The block form at given widths: half of the differentiated loss, minus the formula, entry by entry."""
    sizes = explicit_widths(widths)
    net = population(sizes)
    loss = expected_simple_loss(net)
    slopes = [weight.applyfunc(lambda entry: differentiated(loss, entry)) for weight in (net.first, net.second)]
    read = explicit_block(net, slopes)
    steps = [
        stated(relation, f"rate of W_{layer} under the one-branch flow, half of the negative gradient", read)
        for layer, relation in enumerate(rate_relations(net), start=1)
    ]
    steps += [
        stated(
            relation, f"{where}: the expected loss is differentiated entry by entry at fixed gates; block form", read
        )
        for relation, where in zip(block_relations()[:2], ("w_1j, for every j", "W_2"), strict=True)
    ]
    differences = [-slope / 2 - right for slope, right in zip(slopes, block_form(net), strict=True)]
    column = ImmutableDenseMatrix([entry for part in differences for entry in part])
    size = f"widths {sizes}, {POINTS} points, {COPIES} augmentations"
    text = (
        "-1/2 grad E[r_+ - r_-] = block form, d w_1j = sum_k (w_2j^T w_2k) A_jk w_1k and "
        f"d W_2 = W_2 Cov_x[E_aug f_1] (one-branch), {size}"
    )
    claim = Claim(text, (*rate_relations(net), *block_relations()), ASSUMPTIONS, "one-branch")
    proved = all(step.proved for step in steps)
    return Derivation(SLUG, claim, tuple(steps), 0 * column if proved else column, read)


def rate_relations(net: Population) -> tuple[sympy.Basic, ...]:
    """``d W_l = -1/2 grad E[L_simp]`` of both layers."""
    relations = []
    for layer, weight in enumerate((net.first, net.second), start=1):
        where = {"layer": layer}
        name = rf"\nabla_{{W_{{{layer}}}}} \mathbb{{E}}[L_{{simp}}]"
        rate = quantity("rate", rf"\dot{{W}}_{{{layer}}}", *weight.shape, where=where)
        relations.append(
            equation(rate, -Rational(1, 2) * quantity("expected gradient", name, *weight.shape, where=where))
        )
    return tuple(relations)


def explicit_block(net: Population, slopes: Sequence[ImmutableDenseMatrix]) -> Reading:
    """The block form entry by entry: every neuron j, the sum over k written out; rates are -1/2 of the slopes."""
    neurons, hidden = range(net.first.rows), net.hidden_covariance()
    start = zeros(net.first.cols, 1)
    whole: dict[MatrixExpr, ImmutableDenseMatrix] = {}
    for relation, slope in zip(rate_relations(net), slopes, strict=True):
        (gradient,) = relation.rhs.atoms(MatrixSymbol)
        whole |= {relation.lhs: -slope / 2, gradient: slope}

    def at(j: int, k: int | None) -> dict[MatrixExpr, ImmutableDenseMatrix]:
        values = {
            OWN: net.first[j, :].T,
            OUT: net.second[:, j],
            SECOND: net.second,
            OWN_RATE: -slopes[0][j, :].T / 2,
            SECOND_RATE: -slopes[1] / 2,
            HIDDEN: hidden,
            **whole,
        }
        if k is not None:
            gated = net.gated_covariance(j, k)
            values |= {OTHER_OWN: net.first[k, :].T, OTHER_OUT: net.second[:, k], A_JK: gated, COVARIANCE: gated}
        return values

    def side(expr: MatrixExpr, j: int) -> ImmutableDenseMatrix:
        """One side for a neuron j; what stands outside of a sum over k knows no k."""
        factor, core = core_of(expr)
        if isinstance(core, SumOver):
            return factor * sum((explicit(core.args[0], at(j, k)) for k in neurons), start=start)
        return explicit(expr, at(j, None))

    def decide(relation: sympy.Basic) -> Decision:
        if not isinstance(relation, sympy.Equality):
            return undecided(relation)
        generic = relation.has(A_JK) and not relation.has(SumOver)
        try:
            pairs = [
                tuple(explicit(part, at(j, k)) if generic else side(part, j) for part in relation.args)
                for j, k in product(neurons, neurons if generic else (None,))
            ]
        except NotReadError as error:
            return Decision(None, ABSTAINED, str(error))
        return combine([same(left, right) for left, right in pairs])

    return reading(decide)


def explicit_widths(widths: object) -> tuple[int, int, int]:
    """Widths (n_0, n_1, n_2), small enough to be written out."""
    sizes: Sequence[int] = checked_widths(widths)
    if len(sizes) != 3:
        raise InputError(f"widths={tuple(sizes)!r} of {SLUG!r}: must have three entries, n_0, n_1 and n_2")
    if sizes[1] * (sizes[0] + sizes[2]) > ENTRY_LIMIT:
        raise InputError(f"widths={tuple(sizes)!r} of {SLUG!r}: too large to be written out; widths=None proves all")
    return sizes[0], sizes[1], sizes[2]
