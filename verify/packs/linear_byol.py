r"""Pack linear-byol: linear BYOL with a predictor, weight decay and an EMA target (arXiv 2102.06810).

Statement
    ``J = E 1/2 ||P W x_1 - sg W_a x_+||^2``: the gradient flow, its balance, collapse without stop-gradient; in
    isotropy the flow of W W^T and P, their commutator, the modes of an aligned start, an invariant, the threshold of
    collapse and the time of growth in closed form.
Assumptions
    Independent augmentations, a stopped gradient, one decay for both matrices; isotropy and alignment where named.
Evidence
    Symbolic: matrix identities of all sizes, scalar calculus along modes. Exact: the literal loss as a power series
    over rationals, a ball integral for the time. Float: automatic differentiation. Trained: the flow, by Runge-Kutta.
Not covered
    Discrete steps, minibatches, nonlinear networks; that a mode converges is measured, and follows from the signs.
Source
    arXiv 2102.06810.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
from flint import fmpq

import numeric
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import times, turned
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.packs import changes
from verify.packs.linear_byol_measures import PACK, STAGES, LinearByolInstance, aligned, as_float, isotropic, toy
from verify.packs.oracle import entries, exact_gradient
from verify.packs.part import mutant, pack_statement
from verify.tolerance import rounding
from verify.towers.population import half_square
from verify.towers.tower import tensors

SLUG = "linear-byol"
SYMBOLS = "theory.packs.linear_byol"
side, replaced, exchanged, whole = (
    partial(change, SYMBOLS) for change in (changes.side, changes.replaced, changes.exchanged, changes.whole)
)


# Mutants.


def flow_side(t: Any, turn: Any = None, seen: Any = None) -> Any:
    """``P^T (W_a X - P W (X + X')) - eta W`` with another first factor, or another moment behind W_a."""
    both = t.X_MEANS + t.X_SPREAD
    error = t.TARGET * (t.X_MEANS if seen is None else seen) - t.PREDICTOR * t.WEIGHT * both
    return (t.PREDICTOR.T if turn is None else turn) * error - t.DECAY * t.WEIGHT


def predictor_side(t: Any) -> Any:
    error = t.TARGET * t.X_MEANS - t.PREDICTOR * t.WEIGHT * (t.X_MEANS + t.X_SPREAD)
    return t.ALPHA * error * t.TARGET.T - t.DECAY * t.PREDICTOR


def turned_balance(t: Any) -> dict[Any, Any]:
    return {
        t.PREDICTOR.T: t.PREDICTOR, t.PREDICTOR: t.PREDICTOR.T,
        t.PREDICTOR_RATE.T: t.PREDICTOR_RATE, t.PREDICTOR_RATE: t.PREDICTOR_RATE.T,
    }  # fmt: skip


def hessian_side(t: Any, means: Any, spreads: Any) -> Any:
    """Another matrix H: the factors of X and of X'."""
    from sympy import KroneckerProduct

    matrix = KroneckerProduct(t.SPREADS, spreads) + KroneckerProduct(t.MEANS, means)
    return -matrix * t.Vec(t.WEIGHT) - t.DECAY * t.Vec(t.WEIGHT)


def gaps(t: Any) -> tuple[Any, Any, Any]:
    """``P^T P``, ``P - I`` and I."""
    from sympy import Identity

    one = Identity(t.N2)
    return t.PREDICTOR.T * t.PREDICTOR, t.PREDICTOR - one, one


def kronecker_order(t: Any) -> Any:
    from sympy import KroneckerProduct

    square, gap, one = gaps(t)
    matrix = KroneckerProduct(square + one, t.SPREADS) + KroneckerProduct(gap.T * gap, t.MEANS)
    return -matrix * t.Vec(t.WEIGHT) - t.DECAY * t.Vec(t.WEIGHT)


def without_identity(t: Any) -> Any:
    square, gap, _ = gaps(t)
    return hessian_side(t, gap.T * gap, square)


def without_gap(t: Any) -> Any:
    square, _, one = gaps(t)
    return hessian_side(t, square, square + one)


def moments_exchanged(t: Any) -> Any:
    square, gap, one = gaps(t)
    return hessian_side(t, square + one, gap.T * gap)


def with_stop_gradient(t: Any) -> Any:
    square, _, _ = gaps(t)
    return hessian_side(t, square - t.PREDICTOR.T, square)


def commutator(
    t: Any, gram: Any = None, pull: Any = 1, decay: Any = None, variance: Any = None, square: int = 1
) -> Any:
    """The relation of the commutator with another K."""
    from sympy import Identity, Rational

    a = 1 + (t.VARIANCE if variance is None else variance)
    gram = t.ALPHA / 2 if gram is None else gram
    decay = Rational(3, 2) if decay is None else decay
    factor = a * gram * t.GRAM + square * a * t.PREDICTOR * t.PREDICTOR - pull * t.RATIO * t.PREDICTOR
    return t.commutator_relation(factor + decay * t.DECAY * Identity(t.N2))


def pulled(t: Any, product: Any) -> Any:
    return t.HALF * t.ALPHA * (1 + t.VARIANCE) * product


def factorised(t: Any, low: Any, high: Any) -> Any:
    return -t.SPREAD * t.P_MODE * (t.P_MODE - low) * (t.P_MODE - high)


def half() -> Any:
    return Fraction(1, 2)


def logarithm(t: Any, factor: Any) -> Any:
    import sympy

    a, p, start = t.SPREAD, t.P_MODE, t.START
    return 1 / start - 1 / p + factor * sympy.log(p * (1 - a * start) / (start * (1 - a * p)))


def setting(name: str, value: int, number: int = 1) -> Any:
    """A number in place of a symbol on the right side."""
    import sympy

    return side(lambda one, t: one.xreplace({getattr(t, name): sympy.Integer(value)}), number)


def zero_like(one: Any, _: Any) -> Any:
    import sympy

    return sympy.ZeroMatrix(*one.shape) if one.is_Matrix else sympy.S.Zero


VARIANTS = (
    mutant("augmentation-left-out", "X' left out of dW", "flow",
           replaced(lambda t: t.PREDICTOR.T * (t.TARGET - t.PREDICTOR * t.WEIGHT) * t.X_MEANS - t.DECAY * t.WEIGHT)),
    mutant("target-sees-augmentation", "W_a (X + X') in place of W_a X", "flow",
           replaced(lambda t: flow_side(t, seen=t.X_MEANS + t.X_SPREAD))),
    mutant("predictor-not-transposed", "P in place of P^T in dW", "flow",
           replaced(lambda t: flow_side(t, t.PREDICTOR))),
    mutant("target-transposed-behind", "W_a^T in place of W^T in dP", "flow", replaced(predictor_side, 2)),
    mutant("target-pushes", "-W_a X in place of W_a X", "flow",
           side(lambda one, t: one.xreplace({t.TARGET: -t.TARGET}))),
    mutant("balance-rate-eta", "the balance decays at eta, not 2 eta", "balance", times(half())),
    mutant("balance-conserved", "the balance is conserved", "balance", side(zero_like)),
    mutant("balance-alpha", "alpha P^T P in place of P^T P/alpha", "balance",
           exchanged(lambda t: {t.ALPHA: 1 / t.ALPHA})),
    mutant("balance-other-side", "P P^T in place of P^T P", "balance", exchanged(turned_balance)),
    mutant("balance-plus", "W W^T + P^T P/alpha", "balance", exchanged(lambda t: {t.ALPHA: -t.ALPHA})),
    mutant("kronecker-order", "(P^T P + I) kron X' + (P-I)^T (P-I) kron X", "no-stop-gradient",
           replaced(kronecker_order)),
    mutant("identity-left-out", "X' kron P^T P in place of X' kron (P^T P + I)", "no-stop-gradient",
           replaced(without_identity)),
    mutant("predictor-for-gap", "P^T P in place of (P - I)^T (P - I)", "no-stop-gradient", replaced(without_gap)),
    mutant("moments-exchanged", "X and X' exchanged", "no-stop-gradient", replaced(moments_exchanged)),
    mutant("stopped-all-the-same", "H of the flow with stop-gradient", "no-stop-gradient",
           replaced(with_stop_gradient)),
    mutant("energy-once", "vec W^T H vec W = J", "no-stop-gradient", times(half(), 2)),
    mutant("gram-decay-once", "-eta F in place of -2 eta F", "isotropic",
           side(lambda one, t: one + t.DECAY * t.GRAM)),
    mutant("gram-without-variance", "{P^2, F} without 1 + s2", "isotropic",
           setting("VARIANCE", 0)),
    mutant("predictor-not-halved", "alpha in place of alpha/2 in dP", "isotropic",
           side(lambda one, t: one - pulled(t, t.PREDICTOR * t.GRAM + t.GRAM * t.PREDICTOR), 2)),
    mutant("predictor-one-sided", "alpha (1+s2) P F in place of half of {P, F} in dP", "isotropic",
           side(lambda one, t: one - pulled(t, t.PREDICTOR * t.GRAM - t.GRAM * t.PREDICTOR), 2)),
    mutant("commutator-alpha", "alpha F in place of alpha F/2 in K", "commutator",
           whole(lambda t: commutator(t, gram=t.ALPHA))),
    mutant("commutator-decay", "eta in place of 3/2 eta in K", "commutator", whole(lambda t: commutator(t, decay=1))),
    mutant("commutator-pull", "tau/2 in place of tau in K", "commutator", whole(lambda t: commutator(t, pull=half()))),
    mutant("commutator-variance", "K without s2", "commutator", whole(lambda t: commutator(t, variance=0))),
    mutant("commutator-square", "K without P^2", "commutator", whole(lambda t: commutator(t, square=0))),
    mutant("target-frozen", "tau stays at its start", "modes", side(zero_like, 3)),
    mutant("growth-once", "ds = p s (tau - (1+s2) p) - eta s", "modes", times(half())),
    mutant("mode-alpha", "dp without alpha", "modes", setting("ALPHA", 1, 2)),
    mutant("mode-variance", "ds without s2", "modes", setting("VARIANCE", 0)),
    mutant("invariant-conserved", "s - p^2/alpha is conserved", "invariant", side(zero_like)),
    mutant("invariant-rate", "s - p^2/alpha = c e^(-eta t)", "invariant", times(half())),
    mutant("invariant-alpha", "s - alpha p^2", "invariant", exchanged(lambda t: {t.ALPHA: 1 / t.ALPHA})),
    mutant("invariant-linear", "s - p/alpha", "invariant",
           whole(lambda t: t.equation(t.S_RATE - t.P_RATE / t.ALPHA, -2 * t.DECAY * (t.S - t.P_MODE / t.ALPHA)))),
    mutant("fixed-points-doubled", "p_-+ = (1 -+ d)/a", "collapse",
           replaced(lambda t: factorised(t, *(2 * p for p in t.fixed_points())))),
    mutant("fixed-points-without-a", "p_-+ = (1 -+ d)/2", "collapse",
           replaced(lambda t: factorised(t, *(t.SPREAD * p for p in t.fixed_points())))),
    mutant("rises-from-below", "p rises below p_-", "collapse", turned(2)),
    mutant("falls-between", "p falls between p_- and p_+", "collapse", turned(3)),
    mutant("survives-decay", "p rises though eta > 1/(4a)", "collapse", turned(5)),
    mutant("no-logarithm", "t = 1/p_0 - 1/p", "time", replaced(lambda t: logarithm(t, 0))),
    mutant("logarithm-without-a", "the logarithm without its factor a", "time", replaced(lambda t: logarithm(t, 1))),
    mutant("logarithm-sign", "minus a times the logarithm", "time", replaced(lambda t: logarithm(t, -t.SPREAD))),
)  # fmt: skip


# Assumptions dropped, in rationals: the literal loss on equally likely pairs (x_1, x_+), formulas by hand.

NEURON = "one neuron, W = P = W_a = 1, one point with augmentations 0 and 2"
Pairs = list[tuple[tuple[int, ...], tuple[int, ...]]]
APART: Pairs = [((a,), (b,)) for a in (0, 2) for b in (0, 2)]
UNIT = ((1,),)
TOGETHER: Pairs = [((a,), (a,)) for a in (0, 2)]


def falls(pairs: Pairs, w: Any, p: Any, target: Any, shared: bool = False) -> tuple[Any, Any]:
    """``-grad J`` by W and by P, nested tuples; `shared`: the weights are the target too, and carry gradient."""
    weight, predictor, held = (entries(rows, "rational") for rows in (w, p, target))

    def loss(one: Any, two: Any) -> Any:
        total: Any = fmpq(0)
        for x, other in pairs:
            seen = (one if shared else held) @ entries(other, "rational")
            total = total + half_square(two @ (one @ entries(x, "rational")) - seen) / len(pairs)
        return total

    by_weight = exact_gradient(lambda moved: loss(moved, predictor), weight, "rational")
    return -by_weight, -exact_gradient(lambda moved: loss(weight, moved), predictor, "rational")


def rate_of_one(second: int, spread: int) -> fmpq:
    """The formula ``P^T (W_a X - P W (X + X'))`` at W = P = W_a = 1."""
    return fmpq(second - (second + spread))


def dependent(_: Context) -> Iterator[Sides]:
    """``x_+ = x_1``: the mean is 1, the variance 1."""
    left, _by_predictor = falls(TOGETHER, UNIT, UNIT, UNIT)
    yield Sides(NEURON.replace("2", "2, x_+ = x_1"), "dW", left[0, 0], rate_of_one(1, 1))


def not_stopped(_: Context) -> Iterator[Sides]:
    """The gradient through the target."""
    left, _by_predictor = falls(APART, UNIT, UNIT, UNIT, shared=True)
    yield Sides(NEURON, "dW", left[0, 0], rate_of_one(1, 1))


def moved_balance(pairs: Pairs, w: int, p: int, target: int, decays: tuple[int, int]) -> Any:
    """``d(w^2 - p^2)`` of one neuron, alpha = 1."""
    by_weight, by_predictor = falls(pairs, ((w,),), ((p,),), ((target,),))
    return 2 * w * (by_weight[0, 0] - decays[0] * w) - 2 * p * (by_predictor[0, 0] - decays[1] * p)


def balance_dependent(_: Context) -> Iterator[Sides]:
    """The balance of one neuron with ``x_+ = x_1``, and with ``x_+ = 3 x_1 + 1``."""
    other: Pairs = [((a,), (3 * a + 1,)) for a in (0, 2)]
    for name, pairs in (("x_1", TOGETHER), ("3 x_1 + 1", other)):
        for w, p, target, eta in ((2, 3, 1, 1), (1, -2, 3, 0), (-3, 1, 2, 2)):
            shown = f"one neuron, x_1 in {{0, 2}}, x_+ = {name}, w = {w}, p = {p}, w_a = {target}, eta = {eta}"
            left = moved_balance(pairs, w, p, target, (eta, eta))
            yield Sides(shown, "d(w^2 - p^2)", left, fmpq(-2 * eta * (w * w - p * p)))


def two_decays(_: Context) -> Iterator[Sides]:
    """W decays at 1, P at 2."""
    left = moved_balance(APART, 2, 1, 1, (1, 2))
    yield Sides(f"{NEURON}, but w = 2, decay 1 of W and 2 of P", "d(w^2 - p^2)", left, fmpq(-2 * (4 - 1)))


def anisotropic(_: Context) -> Iterator[Sides]:
    """``X = 4``, no augmentation, eta = 0, where F = 1: the formula is ``-2 P^2 F + 2 tau P F``."""
    by_weight, _by_predictor = falls([((2,), (2,))], ((1,),), ((1,),), ((2,),))
    yield Sides("one neuron, x = 2, w = p = 1, tau = 2", "dF", 2 * by_weight[0, 0], fmpq(-2 + 2 * 2))


def other_target(_: Context) -> Iterator[Sides]:
    """``W = (1, 0)``, ``W_a = (0, 1)``: no multiple; P = 1. Points (1, 1) and (1, -1) have X = I."""
    pairs: Pairs = [((1, y), (1, y)) for y in (1, -1)]
    by_weight, _by_predictor = falls(pairs, ((1, 0),), ((1,),), ((0, 1),))
    yield Sides("W = (1, 0), W_a = (0, 1), P = 1, X = I, X' = 0, tau = 1", "dF", 2 * by_weight[0, 0], fmpq(-2 + 2))


def skew_predictor(_: Context) -> Iterator[Sides]:
    """A predictor that is not symmetric: F = diag(1, 0), P = [[0, 1], [0, 0]], alpha = tau = 1, s2 = eta = 0."""
    f, p = (np.array(rows, dtype=object) * fmpq(1) for rows in ([[1, 0], [0, 0]], [[0, 1], [0, 0]]))
    df = -(p.T @ p @ f + f @ p.T @ p) + p.T @ f + f @ p
    dp = -p @ f + f
    left = df @ p + f @ dp - dp @ f - p @ df
    gap, k = f @ p - p @ f, f / 2 + p @ p - p
    right = -(gap @ k + k @ gap)
    place = next(index for index in np.ndindex(2, 2) if left[index] != right[index])
    yield Sides("F = diag(1, 0), P = [[0, 1], [0, 0]]", f"d[F, P], entry {place}", left[place], right[place])


def not_aligned(_: Context) -> Iterator[Sides]:
    """``W = I``, P not diagonal in its basis: dW has an entry off the diagonal."""
    pairs: Pairs = [((1, y), (1, y)) for y in (1, -1)]
    rate, _by_predictor = falls(pairs, ((1, 0), (0, 1)), ((1, 1), (1, 1)), ((1, 0), (0, 1)))
    yield Sides("W = W_a = I, P of ones, X = I, X' = 0", "(dW)_12", rate[0, 1], fmpq(0))


def unbalanced(_: Context) -> Iterator[Sides]:
    """s = 2, p = 1/2, a = 1, eta = 0: the rate is s (1 - p), not p^2 (1 - p)."""
    yield Sides("s = 2, p = 1/2, a = 1, eta = 0", "dp", fmpq(2) * fmpq(1, 2), fmpq(1, 4) * fmpq(1, 2))


def decaying(_: Context) -> Iterator[Sides]:
    """eta = 1/8 in the formula for eta = 0: dt/dp times dp, at p = 1/2, a = 1."""
    p = fmpq(1, 2)
    speed = 1 / (p * p * (1 - p))
    yield Sides("a = 1, eta = 1/8, p = 1/2", "dt/dp dp/dt, one", speed * (p * p * (1 - p) - p / 8), fmpq(1))


DROPS = (
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1", dependent),
    Assumption("x_1 and x_+ independent, for the balance", "x_+ a function of x_1", balance_dependent, False),
    Assumption("no gradient flows through the target", "a gradient through both branches", not_stopped),
    Assumption("one weight decay of W and P, for the balance", "decay 1 of W, 2 of P", two_decays),
    Assumption("isotropic data, X = I and X' = s2 I, for the flow of F", "X = 4", anisotropic),
    Assumption("W_a = tau W, for the flow of F", "W_a orthogonal to W", other_target),
    Assumption("a symmetric predictor, for the commutator", "P nilpotent", skew_predictor),
    Assumption("an aligned start, for the modes", "P not diagonal where W is", not_aligned),
    Assumption("s = p^2, for the threshold", "s = 2, p = 1/2", unbalanced),
    Assumption("no weight decay, for the time", "eta = 1/8", decaying),
)


# Trained: the flow by Runge-Kutta.

TIME, STEPS = 1.5, 32


def integrated(instance: LinearByolInstance, steps: int, device: str) -> list[np.ndarray]:
    """s, p and tau of every mode after the full matrix flow."""
    u, v, at = aligned(instance)
    size, (alpha, beta, eta) = len(instance.modes), instance.rates
    one = isotropic(size, instance.spread)
    laws = tensors((one.points, one.point_weights, one.augmentation_weights), device)
    population = numeric.FinitePopulation(*laws)
    left, right, *matrices = tensors([np.vectorize(as_float)(m) for m in (u, v, *at)], device)

    def rates(y: list[Any]) -> tuple[Any, ...]:
        return numeric.linear_byol_rates(y[0], y[1], y[2], population, alpha, beta, eta)

    w, p, target = numeric.runge_kutta(rates, matrices, TIME / steps, steps)
    w, p, target = left.T @ w @ right, left.T @ p @ left, left.T @ target @ right
    off = sum(float((m - m.diag().diag()).abs().max()) for m in (w, p, target))
    modes = [w.diag() ** 2, p.diag(), target.diag() / w.diag()]
    return [*(m.cpu().numpy() for m in modes), np.array([off])]


def measure_modes(instance: LinearByolInstance, device: str = "cpu") -> Measurement:
    """The matrix flow against the flow of its modes, and the invariant against its closed form."""
    alpha, beta, eta = instance.rates
    start = [np.array([row[k] for row in instance.modes]) for k in range(3)]
    start[0] = start[0] ** 2

    def rates(y: list[Any]) -> tuple[Any, ...]:
        return numeric.linear_byol_modes(y[0], y[1], y[2], instance.spread**2, alpha, beta, eta)

    rough, full = (integrated(instance, n, device) for n in (STEPS, 2 * STEPS))
    coarse, fine = (
        [y.cpu().numpy() for y in numeric.runge_kutta(rates, tensors(start, device), TIME / n, n)]
        for n in (STEPS, 2 * STEPS)
    )
    worst = rounding.worse(Measurement(0.0, 0.0), full[3], np.array([1e-9]), "coupling of two modes")
    for number, name in enumerate(("s", "p", "tau")):
        # The change under halved steps is 15 times the error that is left.
        bound = np.abs(full[number] - rough[number]) + np.abs(fine[number] - coarse[number]) + 1e-9
        worst = rounding.worse(worst, np.abs(full[number] - fine[number]), bound, f"mode {name}")
    kept = full[0] - full[1] ** 2 / alpha
    claimed = (start[0] - start[1] ** 2 / alpha) * np.exp(-2 * eta * TIME)
    roughly = rough[0] - rough[1] ** 2 / alpha
    bound = np.abs(kept - roughly) + 1e-9
    return rounding.worse(worst, np.abs(kept - claimed), bound, "s - p^2/alpha = c e^(-2 eta t)")


def measure_threshold(instance: LinearByolInstance, device: str = "cpu") -> Measurement:
    """Starts 2 % below and above the unstable fixed point end at 0 and at the stable one."""
    variance, d = instance.spread**2, instance.root
    eta = (1 - d * d) / (4 * (1 + variance))
    ends = numeric.collapse_threshold(variance, eta)
    if ends is None:
        return Measurement(1.0, 0.0, detail="no threshold where there is one")
    low, high = ends
    growth = (1 - d) * d / (2 * (1 + variance))
    (start,) = tensors([[0.98 * low, 1.02 * low]], device)

    def rates(y: list[Any]) -> list[Any]:
        return [numeric.linear_byol_modes(y[0] ** 2, y[0], 1 + 0 * y[0], variance, eta=eta)[1]]

    (end,) = numeric.runge_kutta(rates, [start], 30 / growth / 400, 400)
    residual = np.abs(end.cpu().numpy() - np.array([0.0, high])) / high
    return rounding.worse(Measurement(0.0, 0.0), residual, np.array([1e-6, 1e-6]), "end of the balanced mode")


def modes(context: Context) -> Evidence:
    """The matrix flow along its modes; p and tau are positive, so that W stays away from 0, where tau is infinite."""
    count = context.pick(quick=3, thorough=40)
    tame = (
        replace(one, modes=tuple((w / 2, abs(p) / 2, abs(tau) / 2) for w, p, tau in one.modes), spread=one.spread / 2)
        for one in toy(context.seed + 1, count)
    )
    return tally(
        "trained", "flow", tame, partial(measure_modes, device=context.device), at_least=count,
        detail=f"the matrix flow to t = {TIME} = the flow of its modes; s - p^2/alpha = c e^(-2 eta t)",
    )  # fmt: skip


def threshold(context: Context) -> Evidence:
    """Collapse on one side of the unstable fixed point."""
    count = context.pick(quick=3, thorough=40)
    return tally(
        "trained", "threshold", toy(context.seed + 2, count), partial(measure_threshold, device=context.device),
        at_least=count, detail="starts 2 % below p_- end at 0, 2 % above at p_+",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="linear BYOL: flow, balance, modes and collapse",
    source="arXiv 2102.06810",
    not_covered=(
        "discrete steps and minibatches",
        "nonlinear networks",
        "a mode whose w passes through 0, where tau = w_a/w is infinite",
        "alignment itself: proved is how the commutator moves; modes are written out for two of them",
        "the limit of a mode is measured; it follows from the proved signs, since a bounded solution of a scalar "
        "autonomous equation is monotone",
    ),
    relation=PaperRelation(
        "own form",
        "formulas of the paper with explicit assumptions; the threshold and the time for a = 1 + sigma^2",
        "notes on the paper, checked by independent code; the printed wording is not at hand",
        "low",
    ),
    instance_type=LinearByolInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("trained", "flow", modes), Check("trained", "threshold", threshold)),
    examples=15,
)
