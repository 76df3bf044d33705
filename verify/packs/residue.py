r"""Pack residue-order-two: the leading term of the residue theta of statement 4, and many negatives.

Statement
    theta = s^2 theta_2 + O(s^3) with theta_2 = E[2 xi' <phi, Delta>(kappa Delta + dK phi) + xi'' <phi, Delta>^2 dK
    Delta], for one negative; closed forms for InfoNCE and the soft triplet, 0 for the simple loss. theta at any spread
    by products of two deviations, whatever the gates do. r between points that are unbiased to first order. The mean
    weight of one of H negatives, and its limit.
Assumptions
    As statement 4, one negative. Nothing about gates in the form at any spread.
Evidence
    Symbolic: the algebra of expectations; derivatives of the losses. Exact: the literal expected gradient as a power
    series in the spread, in balls, on random letters and on towers. Float: nested automatic differentiation.
Not covered
    theta_2 for several negatives, terms of third order.
Source
    This project; completes statement 4 (arXiv 2010.00578, Theorem 4).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise, product
from typing import Any

from flint import arb, arb_series, fmpq

import numeric
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.instances import samples
from verify.instances.in_torch import population_of, weights_of
from verify.instances.instance import PopulationInstance
from verify.packs.changes import exchanged, replaced, side, whole
from verify.packs.part import BITS, mutant, pack_statement
from verify.packs.residue_measures import (
    PACK,
    STAGES,
    Letters,
    ResidueInstance,
    coefficient,
    letters,
    pair_weights,
    toy,
)
from verify.towers import balls
from verify.towers.assumptions import View, linear, series, triples, update
from verify.towers.residue import gates_agree, operator_sides, shrunk
from verify.towers.tower import Array
from verify.towers.weighted import STATED, certified_right, judge_order

LETTERS = "theory.packs.residue"


# Mutants: rewrites of the claims.


def terms(change: Callable[[Any, list[Any]], list[Any]], number: int = 1) -> Any:
    """theta_2 by one deviation with other terms: of kappa, of dK phi, of xi''."""
    return replaced(LETTERS, lambda pack: pack.by_one_deviation(*change(pack, list(pack.leading()))), number)


def with_added(of: Callable[[Any], Any]) -> Any:
    """theta_2 and another expectation."""
    return side(LETTERS, lambda one, pack: one + pack.Expect(of(pack)))


def without_square(one: Any, pack: Any) -> Any:
    """No factor ``1 - 2 xi`` in the term of xi''."""
    weight = pack.WEIGHTS[pack.XI]
    return one.xreplace({1 - 2 * weight: weight / weight})


def without_noise(one: Any, pack: Any) -> Any:
    return one.xreplace({pack.NOISE: 0 * pack.NOISE})


VARIANTS = (
    mutant("curvature-left-out", "no term of xi''", "coefficient", terms(lambda _, t: t[:2])),
    mutant("curvature-doubled", "xi'' without its 1/2", "coefficient", terms(lambda _, t: [*t[:2], 2 * t[2]])),
    mutant("output-spread-left-out", "no term dK S Delta", "coefficient", terms(lambda _, t: [t[0], t[2]])),
    mutant("connection-spread-left-out", "no term of kappa", "coefficient", terms(lambda _, t: t[1:])),
    mutant("slope-halved", "1/2 xi' in place of xi'", "coefficient",
           terms(lambda _, t: [t[0] / 2, t[1] / 2, t[2]])),
    mutant("sign", "-theta_2", "coefficient", times(-1)),
    mutant("covariance-kept", "theta_2 + E[xi Cov_aug[K, f]]", "coefficient", with_added(
        lambda pack: pack.MatMul(pack.WEIGHTS[pack.XI], pack.DEVIATION_K, pack.DEVIATION))),
    mutant("trace-kept", "theta_2 + 1/2 E[xi' tr V_aug[f] dK Delta]", "coefficient", with_added(
        lambda pack: pack.MatMul(pack.HALF * pack.WEIGHTS[pack.XI1], pack.GAP_K, pack.GAP,
                                 pack.Transpose(pack.DEVIATION) * pack.DEVIATION))),
    mutant("attraction-halved", "-E[xi kappa phi] in place of -2 E[xi kappa phi]", "pairs", times("1/2")),
    mutant("repulsion-is-theta", "the negative pair gives theta_2 alone", "pairs", terms(lambda _, t: t, 2)),
    mutant("xi-not-normalised", "e^(-r/tau) without 1 + e^(-r/tau)", "infonce",
           right(lambda weight: 1 / (1 / weight - 1))),
    mutant("slope-of-the-wrong-sign", "xi' = xi (1 - xi)/tau", "infonce", times(-1, 2)),
    mutant("curvature-of-the-wrong-sign", "xi'' = -xi (1 - xi)(1 - 2 xi)/tau^2", "infonce", times(-1, 3)),
    mutant("curvature-without-its-sign", "no factor 1 - 2 xi", "infonce", side(LETTERS, without_square, 4)),
    mutant("tau-left-out", "theta_2 without its factor 1/tau", "triplet",
           side(LETTERS, lambda one, pack: pack.MatMul(pack.tau, one), 4)),
    mutant("margin-left-out", "xi without the margin", "triplet",
           exchanged(LETTERS, lambda pack: {pack.r_0: 0 * pack.r_0})),
    mutant("attraction-added", "repulsion and attraction are equal for the simple loss", "simple",
           whole(LETTERS, lambda pack: pack.equation(pack.SIMPLE["R"] - pack.SIMPLE["A"], pack.ZERO))),
    mutant("attraction-left-out", "theta without its positive pair", "exact",
           replaced(LETTERS, lambda pack: pack.LEADING + pack.remainder(pulled=False))),
    mutant("weight-at-the-means", "xi(rho) in place of the weight of the draw", "exact",
           replaced(LETTERS, lambda pack: pack.LEADING + pack.remainder(pack.WEIGHTS[pack.XI]))),
    mutant("bias-halved", "-E[xi' <b, Delta> dK Delta]", "points", times("1/2")),
    mutant("bias-of-the-other-sign", "+2 E[xi' <b, Delta> dK Delta]", "points", times(-1)),
    mutant("bias-is-of-third-order", "r between points changes nothing at second order", "points",
           times(0)),
    mutant("noise-left-out", "the mean weight is H a/M", "many-negatives", side(LETTERS, without_noise)),
    mutant("limit-at-every-number", "the mean weight is a/m", "many-negatives",
           right(lambda one: 0 * one)),
    mutant("noise-halved", "Q is at most half of its bound", "many-negatives", times("1/2", 2)),
)  # fmt: skip


# Assumptions dropped: f = w x at w = 1 (or a gated neuron), points equally likely, InfoNCE with tau = 1.


def logistic(r: Any) -> tuple[arb, arb, arb]:
    """xi, xi' and xi'' of InfoNCE with tau = 1."""
    power = (-arb(r)).exp()
    xi = power / (1 + power)
    return xi, -xi * (1 - xi), xi * (1 - xi) * (1 - 2 * xi)


TEXT = "InfoNCE, tau = 1, f = w x, w = 1, points {-s, s} and {1, 1}"
QUANTITY = "coefficient of s^2 of -dE[L]/dw, theta_2"


def moving() -> list[list[View]]:
    """The point 0 with the augmentations -s and s, and the point 1 as it is."""
    return linear([series(0, -1), series(0, 1)], [series(1), series(1)])


def by_hand() -> arb:
    """theta_2 of these points: E[phi^2 Delta^2 (4 xi' + xi'' Delta^2)], half of the anchors being 0, half of x' 1."""
    _, slope, curvature = logistic(fmpq(1, 2))
    return (4 * slope + curvature) / 4


def weight(gap: arb_series) -> arb_series:
    """xi of InfoNCE with tau = 1 along a series."""
    power = (-gap).exp()
    return power / (power + 1)


def dependent(_: Context) -> Iterator[Sides]:
    """``x_+ = x_1``: no positive pair cancels the covariance of the negative one."""
    with balls.precision(BITS, 3):
        found = update(list(triples(moving(), "one augmentation")), weight)
        yield Sides(TEXT, QUANTITY, arb(found[2]), by_hand())


def one_branch(_: Context) -> Iterator[Sides]:
    """Twice the gradient through the tower of x_1 alone."""
    with balls.precision(BITS, 3):
        total = series(0)
        for p, one, near, far in triples(moving()):
            gaps = [one.f - other.f for other in (near, far)]
            xi = weight((gaps[1] * gaps[1] - gaps[0] * gaps[0]) / 2)
            total = total + xi * (one.k * gaps[1] - one.k * gaps[0]) * (2 * p)
        yield Sides(TEXT, f"{QUANTITY}, twice the gradient through x_1", arb(total[2]), by_hand())


def between_points(_: Context) -> Iterator[Sides]:
    """r between points that stand at fbar + s^2 b, b = 1 at the first: the leading term has a part of order s^2."""
    with balls.precision(BITS, 3):
        start = series(-1, 0, 1)  # (0 + s^2) - 1
        lead = weight(start * start / 2) / 2
        found = update(list(triples(moving())), weight) - lead
        yield Sides(f"{TEXT}, r between s^2 and 1", "coefficient of s^2 of theta, theta_2", arb(found[2]), by_hand())


def biased(_: Context) -> Iterator[Sides]:
    """r between points that stand at fbar + s: theta has a part of first order."""
    with balls.precision(BITS, 3):
        start = series(-1, 1)
        found = update(list(triples(moving())), weight) - weight(start * start / 2) / 2
        yield Sides(f"{TEXT}, r between s and 1", "coefficient of s of theta, zero", arb(found[1]), 0, balls.RADIUS)


def unequal_slopes(_: Context) -> Iterator[Sides]:
    """``r_+ - 2 r_-``: repulsion is twice as strong, and the covariances do not cancel; xi' = xi'' = 0."""
    with balls.precision(BITS, 3):
        total = series(0)
        for p, one, near, far in triples(moving()):
            pushed, pulled = (one.f - far.f) * (one.k - far.k), (one.f - near.f) * (one.k - near.k)
            total = total + (2 * pushed - pulled) * p
        yield Sides(TEXT.replace("InfoNCE, tau = 1", "r_+ - 2 r_-"), QUANTITY, arb(total[2]), arb(0))


def two_negatives(_: Context) -> Iterator[Sides]:
    """InfoNCE with H = 2, and the sum over the negatives of the formula with derivatives by their own distance."""
    points = moving()
    with balls.precision(BITS, 3):
        found, formula = series(0), arb(0)
        for first, second in product(points, repeat=2):
            for row, (a, b, c, d) in product(points, product(range(2), repeat=4)):
                one, near, others = row[a], row[b], (first[c], second[d])
                gaps = [one.f - other.f for other in (near, *others)]
                pulls = [((gaps[0] * gaps[0] - gap * gap) / 2).exp() for gap in gaps[1:]]
                for pull, gap in zip(pulls, gaps[1:], strict=True):
                    pushed = gap * gap - gaps[0] * gaps[0]
                    found = found + pull / (1 + pulls[0] + pulls[1]) * pushed * fmpq(1, 2**7)
        # Of E[phi^2 Delta_1^2 (4 xi_1' + xi_1'' Delta_1^2)] only the anchor 0 with its first negative at 1 is not 0.
        for other in (0, 1):
            e = [arb(fmpq(-k, 2)).exp() for k in (1, other)]
            xi = e[0] / (1 + e[0] + e[1])
            formula += 2 * xi * (1 - xi) * (-4 + (1 - 2 * xi)) / 8
        text = TEXT.replace("InfoNCE", "InfoNCE with H = 2")
        yield Sides(text, "coefficient of s^2 of -dE[L]/dw, formula summed over the negatives", arb(found[2]), formula)


def gated(_: Context) -> Iterator[Sides]:
    """f = max(w^T x, 0) at w = (0, 1), whose gate flips between (1, 1) and (1, -1): the form at any spread holds."""
    on, off, far = View(fmpq(1), fmpq(1), fmpq(1)), View(fmpq(0), fmpq(0), fmpq(0)), View(fmpq(1), fmpq(0), fmpq(1))
    for b in (far, View(fmpq(3), fmpq(2), fmpq(3))):
        points = [[on, off], [far, b]]
        with balls.precision(BITS):
            left = update(list(triples(points)), lambda r: logistic(r)[0])
            points_text = f"points {{(1, 1), (1, -1)}} and {{(0, 1), ({b.k}, {b.f})}}"
            text = f"InfoNCE, tau = 1, f = max(w^T x, 0), w = (0, 1), {points_text}"
            yield Sides(text, "-dE[L]/dw_1, the form at any spread", left, at_any_spread(points), balls.RADIUS)


def at_any_spread(points: Sequence[Sequence[View]]) -> arb:
    """``E[xi dK Delta] + theta`` of scalars, by their deviations."""
    means = [
        (sum((v.f for v in row), fmpq(0)) / len(row), sum((v.k for v in row), fmpq(0)) / len(row)) for row in points
    ]
    spread = len(points[0])
    chance, total = fmpq(1, len(points) ** 2 * spread**3), arb(0)
    for m, n, (a, b, c) in product(range(len(points)), range(len(points)), product(range(spread), repeat=3)):
        gap, gap_k = (means[m][i] - means[n][i] for i in range(2))
        one, near, far = points[m][a], points[m][b], points[n][c]
        moved = one.f - far.f - gap, one.k - far.k - gap_k
        pulled = one.f - near.f, one.k - near.k
        xi, slope, _ = logistic(gap * gap / 2)
        full = logistic((one.f - far.f) ** 2 / 2 - pulled[0] ** 2 / 2)[0]
        h = gap * moved[0] + (moved[0] ** 2 - pulled[0] ** 2) / 2
        total += chance * (
            full * gap_k * gap - slope * h * gap_k * gap + (full - xi) * (gap_k * moved[0] + moved[1] * gap)
            + full * (moved[1] * moved[0] - pulled[1] * pulled[0])
        )  # fmt: skip
    return total


def equal_negatives(_: Context) -> Iterator[Sides]:
    """Three times the same negative, with similarities 1 and 1/2 of equal probability, anchored at a = 1/2."""
    h, a, e = 3, fmpq(1, 2), (fmpq(1), fmpq(1, 2))
    mean = (e[0] + e[1]) / 2
    centre, noise = 1 + a + (h - 1) * mean, fmpq(0)
    for others in product(e, repeat=h - 1):
        d = 1 + a + sum(others, fmpq(0))
        noise += (d - centre) ** 2 / d / 4
    formula = a / mean * ((mean - 1 - a) / centre + h * mean * noise / centre**2)
    text = "H = 3, similarities 1 and 1/2, all negatives equal to x' with a = 1/2"
    yield Sides(text, "H a/(1 + H a) - a/m, formula", h * a / (1 + h * a) - a / mean, formula)


DROPS = (
    Assumption("x_1, x_+, x_- are augmentations drawn independently", "x_+ = x_1", dependent),
    Assumption("the gradient flows through all three towers", "through that of x_1 only, twice", one_branch),
    Assumption("one negative", "InfoNCE with H = 2, summed over the negatives", two_negatives),
    Assumption("the slopes of the loss add up to 0", "r_+ - 2 r_-", unequal_slopes),
    Assumption("r between augmentation means, for theta_2", "between points fbar + s^2 b", between_points),
    Assumption("unbiased to first order, for r between points", "points fbar + s b", biased),
    Assumption("gates that do not flip, for the form at any spread", "a gate that flips", gated, False),
    Assumption("negatives drawn independently, for their mean weight", "all equal", equal_negatives),
)


# Further evidence.


def size(entries: Any) -> arb:
    """The Frobenius norm."""
    return sum((entry * entry for entry in entries.flat), arb(0)).sqrt()


def bound(instance: ResidueInstance) -> arb:
    """What the form at any spread allows for ``||theta||``, for weights with ``|xi'| <= 1/(4 tau)``."""
    one, tau = letters(instance), balls.to_ball(instance.tau)
    first, second = 1 / (4 * tau), 1 / (6 * arb(3).sqrt() * tau * tau)
    total = arb(0)
    for chance, m, a, b, n, c in one.draws():
        gap, gap_k = one.output[m] - one.output[n], one.connection[m] - one.connection[n]
        far, far_k = one.phi[m][a] - one.phi[n][c], one.kappa[m][a] - one.kappa[n][c]
        near, near_k = one.phi[m][a] - one.phi[m][b], one.kappa[m][a] - one.kappa[m][b]
        sizes = [size(entries) for entries in (gap, gap_k, far, far_k, near, near_k)]
        h = sizes[0] * sizes[2] + (sizes[2] ** 2 + sizes[4] ** 2) / 2
        total += chance * (
            second / 2 * h**2 * sizes[1] * sizes[0] + first * h * (sizes[1] * sizes[2] + sizes[3] * sizes[0])
            + sizes[3] * sizes[2] + sizes[5] * sizes[4]
        )  # fmt: skip
    return total


def measure_bound(instance: ResidueInstance) -> Measurement:
    """``||theta||`` against its bound; the deviations are at their full size."""
    with balls.precision(BITS):
        one = letters(instance)
        theta = coefficient(instance, "whole", "ball", "cpu") - leading(instance, one)
        lacks = bound(instance) - size(theta)
        if lacks > 0:
            return Measurement(0.0, 0.0)
        return Measurement(float((-lacks).mid()), 0.0, bool(lacks < 0), "theta is above its bound")


def leading(instance: ResidueInstance, one: Letters) -> Array:
    """``E[xi dK Delta]``."""
    total = one.connection[0][:, 0] * 0
    for m, n in product(one.points, repeat=2):
        pushed = (one.connection[m] - one.connection[n]) @ (one.output[m] - one.output[n])
        total = total + pushed[:, 0] * (pair_weights(instance, m, n)[0] * one.p[m] * one.p[n])
    return total


def bounded(context: Context) -> Evidence:
    """theta is at most of the size of products of two deviations, whatever the gates do."""
    count = context.pick(quick=8, thorough=100)
    return tally(
        "exact", "bound", toy(context.seed + 1, count), measure_bound, at_least=-(-count // 2),
        detail="||theta|| <= C E[||kappa|| ||phi|| + ||phi||^2] at spread 1, with the constants of the logistic weight",
    )  # fmt: skip


def measure_tower(instance: PopulationInstance) -> Measurement:
    """Coefficients of s^0, s^1 and s^2 of theta of a tower at the gates of its unaugmented points."""
    try:
        return judge_order(instance, partial(certified_right, STATED), "means", 2, leading=True)
    except (ValueError, ZeroDivisionError) as error:
        return Measurement(0.0, 0.0, False, f"a divisor whose ball holds zero: {error}")


def on_towers(context: Context) -> Evidence:
    """theta of networks as a power series in the spread of their augmentation."""
    count = context.pick(quick=8, thorough=100)
    instances = samples.toy_populations(
        context.seed + 4, count, ("triplet", "infonce"), augmentations=2, layers=3, points=2
    )
    return tally(
        "exact", "towers", instances, measure_tower, at_least=count // 3,
        detail="theta(s) of towers in balls: nothing at s^0 and s^1, theta_2 at s^2, entry by entry",
    )  # fmt: skip


SPREADS = (0.02, 0.01, 0.005)
# theta - theta_2 falls by 8 from one spread to the next, up to the next order; theta itself by 4.
LEAST = 2.8


def measure_order(instance: PopulationInstance, device: str) -> Measurement:
    """The order of theta - theta_2 in the spread of the outputs, from the two smallest spreads."""
    if not gates_agree(shrunk(instance, SPREADS[0])):
        return Measurement(0.0, 0.0, False, "a gate flips")
    norms, spreads = [], []
    for factor in SPREADS[1:]:
        moved = shrunk(instance, factor)
        sides = operator_sides(moved, "means", device)
        if sides is None:
            return Measurement(0.0, 0.0, False, "a gate flips")
        more = numeric.leading_residue(
            weights_of(moved, device), population_of(moved, device), moved.loss, moved.slope, **moved.options
        )
        rest = [a - b - c for a, b, c in zip(sides[0], sides[1], more, strict=True)]
        norms.append(float(sum(r.square().sum() for r in rest) ** 0.5))
        spreads.append(sides[2])
    if not min(norms) > 1e-11:
        return Measurement(0.0, 0.0, False, "theta - theta_2 is of the size of rounding")
    order = math.log(norms[0] / norms[1]) / math.log(spreads[0] / spreads[1])
    return Measurement(max(LEAST - order, 0.0), 0.0, detail=f"theta - theta_2 of order {order:.3f}")


def orders(context: Context) -> Evidence:
    """theta - theta_2 is of third order on Gaussian populations."""
    count = context.pick(quick=12, thorough=60)
    return tally(
        "float", "towers", samples.smooth_populations(context.seed + 6, count, ("triplet", "infonce")),
        partial(measure_order, device=context.device), at_least=count // 4,
        detail=f"theta - theta_2 (numeric.leading_residue) of order above {LEAST} in the spread of the outputs",
    )  # fmt: skip


NUMBERS = (20, 40, 80)


def measure_limit(case: tuple[tuple[fmpq, ...], tuple[fmpq, ...]]) -> Measurement:
    """H times the relative distance of the mean weight to a/m, against its limit, by counts of the negatives."""
    similarities, law = case
    a = similarities[0]
    mean = sum((p * e for p, e in zip(law, similarities, strict=True)), fmpq(0))
    square = sum((p * e * e for p, e in zip(law, similarities, strict=True)), fmpq(0))
    limit = square / mean**2 - (1 + a) / mean
    off = [abs(h * (counted_weight(h, a, similarities, law) * mean / a - 1) - limit) for h in NUMBERS]
    # The distance to the limit halves with every doubling.
    worst = max(later / earlier for earlier, later in pairwise(off))
    return Measurement(float(int(worst.p) / int(worst.q)), 0.6, detail="rate of the mean weight")


def counted_weight(h: int, a: fmpq, similarities: Sequence[fmpq], law: Sequence[fmpq]) -> fmpq:
    """``E[H a/(1 + a + e_2 + ... + e_H)]`` for two similarities, exactly."""
    total = fmpq(0)
    for k in range(h):
        chance = math.comb(h - 1, k) * law[0] ** k * law[1] ** (h - 1 - k)
        total += chance * h * a / (1 + a + k * similarities[0] + (h - 1 - k) * similarities[1])
    return total


def many(context: Context) -> Evidence:
    """The rate at which the mean weight of a negative goes to a/m."""
    e = [fmpq(k, 8) for k in range(1, 9)]
    cases = [((a, b), (fmpq(k, 4), fmpq(4 - k, 4))) for (a, b), k in product([(e[7], e[1]), (e[1], e[4])], (1, 3))]
    return tally(
        "exact", "limit", cases, measure_limit, at_least=len(cases),
        detail=f"H up to {NUMBERS[-1]}: H (m Omega/a - 1) goes to E[e^2]/m^2 - (1 + a)/m at rate 1/H, in rationals",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="the residue of the weighted operator at second order",
    source="this project; completes statement 4 (arXiv 2010.00578, Theorem 4)",
    not_covered=(
        "theta_2 for several negatives",
        "terms of third order and above, which are bounded only",
        "that H (m Omega/a - 1) has a limit: its size O(1/H) is proved, the limit is measured",
    ),
    relation=PaperRelation(
        "own form",
        "the paper bounds theta; here its leading coefficient is derived, and its size without any smoothness of gates",
        "the derivation itself",
        "high",
    ),
    instance_type=ResidueInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(
        Check("exact", "towers", on_towers),
        Check("exact", "bound", bounded),
        Check("exact", "limit", many),
        Check("float", "towers", orders),
    ),
    examples=5,
)
