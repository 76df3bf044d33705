r"""Pack alpha-trace: contrastive losses as a trace with weights held fixed (arXiv 2201.12680).

Statement
    ``L = sum_i phi(sum_{j != i} psi(d_i - d_ij))`` has the gradient of ``-1/2 tr C_alpha``, with ``alpha_ij =
    phi'(xi_i) psi'(d_i - d_ij)`` held fixed; for InfoNCE that alpha minimises energy and entropy over a simplex; with
    alpha symmetric in the points the expected update is the operator of statement 4 without residue.
Assumptions
    Differentiable phi and psi; alpha held fixed; sums without j = i; a homogeneous tower for the operator form.
Evidence
    Symbolic: the chain rule for undefined phi and psi and any N, the algebra of expectations, the tangent of the
    logarithm. Exact: the literal loss as a power series in each weight, in balls. Float: automatic differentiation of
    `numeric`'s loss. Trained: ascent of a deep linear network ends at the largest eigenvalue.
Not covered
    That almost every local optimum of the deep linear network is global: ascent is measured, not proved.
Source
    arXiv 2201.12680.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from typing import Any

from flint import fmpq

import numeric
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import Rewrite, relation, right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.instances import samples
from verify.packs.alpha_measures import PACK, STAGES, AlphaInstance, toy
from verify.packs.part import mutant, pack_statement
from verify.towers import balls
from verify.towers.tower import tensors

SLUG = "alpha-trace"


# Mutants: rewrites of the claims.


def put(change: Callable[[Any], dict[Any, Any]], number: int = 1) -> Rewrite:
    """Other expressions on the right side of a relation; `change` is given the symbols of the pack."""

    def changed(side: Any) -> Any:
        import theory.packs.alpha_trace as symbols

        return side.xreplace(change(symbols))

    return right(changed, number)


def near_terms(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """Change the within-pair terms, those with an output or connection of the second view."""

    def changed(side: Any) -> Any:
        import theory.packs.alpha_trace as symbols
        from theory.core.notation import Expect

        view = {symbols.at("f'"), symbols.at("K'")}
        return side.replace(
            lambda part: part.is_MatMul and not part.has(Expect) and bool(part.free_symbols & view),
            lambda part: change(part, symbols),
        )

    return changed


def far_terms(side: Any) -> Any:
    """Leave out the within-pair terms under an expectation."""
    import theory.packs.alpha_trace as symbols
    from theory.core.notation import Expect

    def kept(mean: Any) -> Any:
        return Expect(next(term for term in mean.args[0].args if not term.has(symbols.at("K'"))))

    return side.replace(lambda part: isinstance(part, Expect), kept)


def symmetrised(part: Any, symbols: Any) -> Any:
    import sympy

    own, back = symbols.PHI * symbols.PSI, symbols.PHI_OTHER * symbols.PSI_BACK
    matrices = [one for one in part.args if one.is_Matrix]
    return sympy.MatMul((own + back) / 2, *matrices)


def turned_sign(part: Any, symbols: Any) -> Any:
    import sympy

    weight, *moved = part.args
    return sympy.MatMul(-weight, *moved)


def at_most(one: Any) -> Any:
    import sympy

    return sympy.Le(one.lhs, one.rhs, evaluate=False)


def without_slack(one: Any) -> Any:
    import theory.packs.alpha_trace as symbols

    return one.func(one.lhs - symbols.OWN_SLACK, one.rhs, evaluate=False)


def on_points_of(name: str) -> Callable[[Any], dict[Any, Any]]:
    """The letter at one augmentation in place of its mean."""

    def change(symbols: Any) -> dict[Any, Any]:
        letter = symbols.ALPHABET.symbol
        return {letter(f"{name}bar", point): letter(name, point, "1") for point in ("x", "x'")}

    return change


VARIANTS = (
    mutant("weights-moving", "the gradient flows through alpha too", "gradient",
           put(lambda of: {of.BY_TRACE: of.BY_MOVING})),
    mutant("half-missing", "tr C_alpha in place of 1/2 tr C_alpha", "gradient", times(2)),
    mutant("weights-symmetrised", "(alpha_ij + alpha_ji)/2 in front of the within-pair term", "gradient",
           right(near_terms(symmetrised), 2)),
    mutant("within-pair-left-out", "no within-pair term", "gradient", right(far_terms, 2)),
    mutant("phi-left-out", "alpha_ij = psi'(d_i - d_ij), without phi'", "gradient", put(lambda of: {of.PHI: 1}, 2)),
    mutant("uniform-weights", "the mean of alpha in place of alpha_ij", "gradient",
           put(lambda of: {of.PHI: of.UNIFORM, of.PSI: 1}, 2)),
    mutant("within-pair-added", "+(K_i - K'_i)(.)^T in place of -", "operator",
           right(near_terms(turned_sign))),
    mutant("energy-doubled", "tr C_alpha in place of 1/2 tr C_alpha", "trace", times(2)),
    mutant("energy-of-a-sum", "d_ij + d_i in place of d_ij - d_i", "trace",
           put(lambda of: {of.DISTANCE - of.VIEW_DISTANCE: of.DISTANCE + of.VIEW_DISTANCE})),
    mutant("infonce-without-one", "alpha of InfoNCE without the 1 below", "weights",
           put(lambda of: {1 + of.EXPONENTS: of.EXPONENTS})),
    mutant("square-without-phi", "alpha of phi = x^2 without phi'", "weights",
           put(lambda of: {of.UNIT_EXPONENTS: of.Rational(1, 2)}, 4)),
    mutant("maximum", "L = -max over alpha", "minimum", relation(at_most, 2)),
    mutant("entropy-tau-squared", "tau^2 in front of the entropy", "minimum", put(lambda of: {of.tau: of.tau**2})),
    mutant("entropy-sign", "minus the entropy", "minimum", put(lambda of: {of.tau: -of.tau})),
    mutant("minimum-at-uniform", "alpha uniform over the others", "minimum",
           put(lambda of: {of.WEIGHTS[of.k]: 1 / of.H})),
    mutant("slack-maximum", "L = -max over alpha, with the slack", "slack", relation(at_most, 2)),
    mutant("slack-entropy-sign", "minus the entropy, with the slack", "slack", put(lambda of: {of.tau: -of.tau})),
    mutant("sum-without-slack", "the alpha of InfoNCE sum to one", "slack", relation(without_slack, 3)),
    mutant("points-for-means", "V^alpha[K - K'] in place of V^alpha[Kbar - Kbar']", "population",
           put(on_points_of("K"))),
    mutant("population-doubled", "twice the operator", "population", times(2)),
    mutant("unweighted", "alpha = 1", "population", put(lambda of: {of.POPULATION_WEIGHT: 1})),
    mutant("outputs-for-means", "E[alpha (Kbar - Kbar')(f - fbar')]", "population",
           put(lambda of: {
               of.ALPHABET.symbol("Kbar", "x"): of.ALPHABET.symbol("K", "x", "1"),
               of.ALPHABET.symbol("fbar", "x"): of.ALPHABET.symbol("f", "x", "1"),
           }, 2)),
)  # fmt: skip


# Assumptions dropped: f = w x at w = 1 on two members, phi = x^2 and psi = u, so that L = w^4 sum xi^2.


TEXT = "f = w x, w = 1, members 0 and 2 with views 1 and 2, phi(x) = x^2, psi(u) = u"
_OWN = (fmpq(1, 2), fmpq(0))  # d_i
_XI = tuple(near - 2 for near in _OWN)  # d_i - d_ij, d_12 = 2


def moving(_: Context) -> Iterator[Sides]:
    """``-E_alpha = sum 2 xi_i xi_i`` with alpha moving grows like ``w^4``, with alpha held like ``w^2``."""
    squares = sum((x * x for x in _XI), fmpq(0))
    yield Sides(TEXT, "dL/dw, -dE_alpha/dw with alpha moving", 4 * squares, 8 * squares)


def with_itself(_: Context) -> Iterator[Sides]:
    """The loss with j = i in its sums, which adds ``d_i`` to xi, against the trace without."""
    loss = sum((4 * (x + near) ** 2 for x, near in zip(_XI, _OWN, strict=True)), fmpq(0))
    trace = sum((4 * (x + near) * x for x, near in zip(_XI, _OWN, strict=True)), fmpq(0))
    yield Sides(f"{TEXT}, j = i counted", "dL/dw, -dE_alpha/dw over j != i", loss, trace)


def kinked(_: Context) -> Iterator[Sides]:
    """``psi(u) = |u + 2|`` at u = -2, where the slope is 1 on one side and -1 on the other."""
    u = _XI[1]
    yield Sides(
        "f = w x, w = 1, anchor 2 with view 2 and the member 0, phi(x) = x, psi(u) = |u + 2|",
        "dL/dw from the left, formula with the slope -1", 2 * u * 1, 2 * u * -1,
    )  # fmt: skip


def squared_network(_: Context) -> Iterator[Sides]:
    """``f = (w x)^2`` has K w = 2 f: the operator form is twice the update."""
    f, g = (fmpq(0), fmpq(4)), (fmpq(1), fmpq(4))
    half = fmpq(1, 2)
    xi = [half * (f[i] - g[i]) ** 2 - half * (f[0] - f[1]) ** 2 for i in range(2)]
    # f scales as w^2 and L as w^8.
    slope = sum((8 * x * x for x in xi), fmpq(0))
    operator = sum((2 * x * 8 * x for x in xi), fmpq(0))
    yield Sides(TEXT.replace("f = w x", "f = (w x)^2"), "dL/dw, -C_alpha[K] w", slope, operator)


def negative_temperature(_: Context) -> Iterator[Sides]:
    """tau = -1, one anchor with costs 0 and 1: the minimum becomes a maximum."""
    with balls.precision(256):
        one = balls.to_ball(1.0)
        loss, player = -(one + one.exp()).log(), -(one / 2 + (one * 2).log())
    yield Sides(
        "one anchor, costs 0 and 1, tau = -1, a = (1/2, 1/2)", "L, -(E + tau sum a log a)", loss, player, relation=">="
    )


def off_the_simplex(_: Context) -> Iterator[Sides]:
    """Weights of sum 2."""
    with balls.precision(256):
        one = balls.to_ball(1.0)
        loss = (2 * one.exp()).log()
    yield Sides(
        "one anchor, costs -1 and -1, tau = 1, a = (1, 1)", "L, -(E + tau sum a log a)", loss, one * 2, relation=">="
    )


def same_augmentation(_: Context) -> Iterator[Sides]:
    """``x_+ = x_1``: the within-pair term is gone. Points {0, 2} and {0}, alpha = 1."""
    far = 2 * (fmpq(1) - fmpq(1, 4))  # twice the variance of x_1, which is 0, 2, 0 or 0
    means = 2 * (fmpq(1, 2) - fmpq(1, 4))  # twice the variance of the mean, which is 1 or 0
    yield Sides("f = w x, w = 1, points with augmentations 0, 2 and 0, 0, alpha = 1, x_+ = x_1",
                "-E[grad], V^alpha[Kbar - Kbar'] w", far, means)  # fmt: skip


def one_sided(_: Context) -> Iterator[Sides]:
    """alpha(x', x) = 1 and 0 elsewhere, x with augmentations 0 and 2, x' = 0."""
    update = fmpq(1, 4) * 2  # E x_1^2 = 2; the within-pair term of x' is 0
    yield Sides("f = w x, w = 1, x with augmentations 0 and 2, x' = 0, alpha(x', x) = 1, alpha = 0 elsewhere",
                "-E[grad], V^alpha[Kbar - Kbar'] w", update, fmpq(1, 4) * 1)  # fmt: skip


DROPS = (
    Assumption("alpha is held fixed in the gradient of the trace", "a gradient through alpha too", moving),
    Assumption("the sums leave out j = i", "j = i in the sums of the loss", with_itself),
    Assumption("phi and psi are differentiable", "psi(u) = |u + 2| at its kink", kinked),
    Assumption("a homogeneous network, for the operator form", "f = (w x)^2", squared_network),
    Assumption("tau > 0, for the minimum", "tau = -1", negative_temperature),
    Assumption("weights of an anchor that sum to 1, for the minimum", "a sum of 2", off_the_simplex),
    Assumption("independent augmentations, for the population", "x_+ = x_1", same_augmentation),
    Assumption("alpha symmetric in the points, for the population", "alpha(x', x) = 1, alpha(x, x') = 0", one_sided),
)


# Deep linear networks: ascent of 1/2 tr(W C_alpha[x] W^T) with unit layers, measured.

STARTS, STEPS, RATE = 3, 300, 0.5
ROUNDING = 64 * 2.0**-52
"""Of a value of size 1 in float64, computed from a few 3 by 3 matrices."""


def closeness(top: float, second: float) -> float:
    """What is left after half of the steps, by the eigenvalues over the largest size.

    Near the end a step multiplies what is off by ``1/(1 + RATE top)`` in the further singular values and by
    ``(1 + RATE second)/(1 + RATE top)`` in the direction of the next eigenvalue. The other half is for the way there.
    """
    return float(max(1.0, 1 + RATE * second) / (1 + RATE * top)) ** (STEPS // 2) + ROUNDING


def covariance(instance: AlphaInstance, device: str = "cpu") -> tuple[Any, Any]:
    """``C_alpha[x]`` over the size of its largest eigenvalue, and its eigenvalues."""
    import torch

    first, second = tensors([[row[which] for row in instance.points] for which in (0, 1)], device)
    alpha = numeric.alpha_weights(first, second, instance.loss, instance.tau, instance.margin)
    far, near = first[:, None] - first, first - second
    cover = torch.einsum("ij,ija,ijb->ab", alpha, far, far) - torch.einsum("ij,ia,ib->ab", alpha, near, near)
    size = float(torch.linalg.eigvalsh(cover).abs().max())
    cover = (cover + cover.T) / (2 * size or 1.0)
    return cover, torch.linalg.eigvalsh(cover)


def is_apart(instance: AlphaInstance) -> bool:
    """Whether the largest eigenvalue is positive and well apart from the next one."""
    _, values = covariance(instance)
    return len(values) > 1 and float(values[-1]) > 1 / 8 and float(values[-1] - values[-2]) > 1 / 4


def measure_ascent(instance: AlphaInstance, device: str = "cpu") -> Measurement:
    """Value and rank at the end of ascent from random starts; open where the largest eigenvalue is not well apart."""
    import torch

    if not is_apart(instance):
        return Measurement(0.0, 0.0, False, "the largest eigenvalue is not positive and well apart")
    cover, values = covariance(instance, device)
    top, second = float(values[-1]), float(values[-2])
    shape = (len(values), *(len(w) for w in instance.weights))
    worst = Measurement(0.0, closeness(top, second))
    rng = samples.generator(0, "ascent")
    for start in range(STARTS):
        layers, value = numeric.ascend_trace(cover, samples.normal_weights(rng, shape), STEPS, RATE)
        off = abs(2 * float(value) - top)
        others = max((float(torch.linalg.svdvals(w)[1:].max()) for w in layers if min(w.shape) > 1), default=0.0)
        for residual, what in ((off, "value"), (others, "second singular value")):
            if residual > worst.residual:
                worst = Measurement(residual, worst.tolerance, detail=f"{what} after start {start + 1}")
    return worst


def ascent(context: Context) -> Evidence:
    """Ascent on random batches whose largest eigenvalue is well apart, of eight times as many that are drawn."""
    count = context.pick(quick=6, thorough=60)
    drawn = toy(context.seed + 2, 8 * count, members=4, layers=2, width=3)
    return tally(
        "trained", "deep linear", islice(filter(is_apart, drawn), count),
        partial(measure_ascent, device=context.device), at_least=count,
        detail=f"{STARTS} starts of {STEPS} steps end at half of the largest eigenvalue of C_alpha[x], in rank one, "
        "where that eigenvalue is positive and well apart: measured, not proved",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="contrastive losses as a weighted trace",
    source="arXiv 2201.12680",
    not_covered=(
        "that almost every local optimum of a deep linear network is global: ascent is measured, not proved, and only "
        "where the largest eigenvalue is positive and well apart from the next one",
        "functions phi and psi beyond the five in numbers; the derivation leaves them undefined",
        "convergence of training",
    ),
    relation=PaperRelation(
        "own form",
        "the gradient with views of one side, the minimum with and without the positive in the sum, and the population "
        "form as statement 4 without residue",
        "the project's notes on the paper; the formulas are derived here",
        "low",
    ),
    instance_type=AlphaInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("trained", "deep linear", ascent),),
    examples=8,
)
