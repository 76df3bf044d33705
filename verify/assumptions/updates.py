"""Assumptions of statements 3 and 4, dropped, on populations of scalars that can be followed by hand.

One weight w = 1: every augmented input has an output f, its derivative k = df/dw and what the operator form puts in
place of f, ``K^T vec W = k w``. The update is then, triple by triple,
``-dL/dw = xi (r_- - r_+) ((k_1 - k_-)(f_1 - f_-) - (k_1 - k_+)(f_1 - f_+))``, with xi = 1 for the simple loss.
Numbers are rationals for statement 3, power series in the augmentation's spread over balls for statement 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

from flint import arb, arb_series, fmpq

from verify.engine.assumptions import Sides
from verify.engine.statement import Assumption, Context
from verify.towers import balls

BITS = 256


@dataclass(frozen=True)
class View:
    """One augmented input: output f, derivative k = df/dw, and K^T vec W (equal to f in a homogeneous network)."""

    f: Any
    k: Any
    linear: Any


Points = Sequence[Sequence[View]]
Weight = Callable[[Any], Any]
Triple = tuple[fmpq, View, View, View]


def linear(*rows: Sequence[Any]) -> list[list[View]]:
    """f = w x at w = 1, one row of augmented inputs for each point."""
    return [[View(x, x, x) for x in row] for row in rows]


def triples(points: Points, scheme: str = "stated") -> Iterator[Triple]:
    """Probability and views (x_1, x_+, x_-) of every triple, points and augmentations equally likely.

    Schemes: `stated`; `one augmentation` (x_+ = x_1); `anchor` (x_1 is the first of its list); `one point` (x_- an
    augmentation of the same point); `other law` (x_- of the first point only).
    """
    count, spread = len(points), len(points[0])
    for m, n, a, b, c in product(range(count), range(count), *[range(spread)] * 3):
        p = fmpq(1, count * spread**3)
        p *= {"one point": fmpq(m == n), "other law": fmpq(n == 0)}.get(scheme, fmpq(1, count))
        p *= {"one augmentation": fmpq(spread * (a == b)), "anchor": fmpq(spread * (a == 0))}.get(scheme, fmpq(1))
        if p != 0:
            yield p, points[m][a], points[m][b], points[n][c]


def half_square(value: Any) -> Any:
    """r of a difference of outputs."""
    return value * value / 2


def update(chosen: Sequence[Triple], xi: Weight) -> Any:
    """-dE[L]/dw over triples, by the chain rule."""
    total: Any = fmpq(0)
    for p, one, near, far in chosen:
        weight = xi(half_square(one.f - far.f) - half_square(one.f - near.f))
        pushed = (one.k - far.k) * (one.f - far.f) - (one.k - near.k) * (one.f - near.f)
        total = weight * pushed * p + total
    return total


def operator(points: Points, xi: Weight, between: str = "means", form: str = "operator") -> Any:
    """V^xi[Kbar - Kbar'] vec W; with `form` "general" the outputs take the place of K^T vec W."""
    count = len(points)
    means = [[sum((getattr(v, name) for v in row), 0 * row[0].f) / len(row) for name in ("f", "k", "linear")]
             for row in points]  # fmt: skip
    total: Any = fmpq(0)
    for m, n in product(range(count), repeat=2):
        outputs = [means[i][0] if between == "means" else points[i][0].f for i in (m, n)]
        moved = means[m][2] - means[n][2] if form == "operator" else means[m][0] - means[n][0]
        weight = xi(half_square(outputs[0] - outputs[1]))
        total = weight * (means[m][1] - means[n][1]) * moved * fmpq(1, count**2) + total
    return total


def simple(r: Any) -> fmpq:
    """xi of the simple loss."""
    return fmpq(1)


# The second point is moved further than the first, so that what is off at one does not make up for the other.
PLAIN = linear([fmpq(0), fmpq(2)], [fmpq(4), fmpq(10)])
PLAIN_TEXT = "f = w x, w = 1, points {0, 2} and {4, 10}"
# Without augmentation, and not symmetric: of two points each has the other for its negative half of the time.
THREE = linear([fmpq(0)], [fmpq(1)], [fmpq(3)])
THREE_TEXT = "f = w x, w = 1, points 0, 1, 3, x' always 0"


def squared(*rows: Sequence[int]) -> list[list[View]]:
    """f = (w x)^2 at w = 1: k w = 2 f."""
    return [[View(fmpq(x * x), fmpq(2 * x * x), fmpq(2 * x * x)) for x in row] for row in rows]


def with_scheme(scheme: str, context: Context) -> Iterator[Sides]:
    """Statement 3 under another sampling scheme."""
    points, text = (THREE, THREE_TEXT) if scheme == "other law" else (PLAIN, PLAIN_TEXT)
    left = update(list(triples(points, scheme)), simple)
    yield Sides(text, "-dE[L]/dw, 2 V[Kbar] w", left, operator(points, simple))


def not_homogeneous(form: str, context: Context) -> Iterator[Sides]:
    """Statement 3 with f = (w x)^2, in the operator form or the general one."""
    for shift in range(1 if form == "operator" else context.pick(quick=20, thorough=500)):
        points = squared([0, 1 + shift % 4], [2, 3 + shift])
        sides = update(list(triples(points)), simple), operator(points, simple, form=form)
        yield Sides(f"f = (w x)^2, w = 1, points {{0, {1 + shift % 4}}} and {{2, {3 + shift}}}",
                    f"-dE[L]/dw, {form} form", *sides)  # fmt: skip


def one_triple(context: Context) -> Iterator[Sides]:
    """A batch of one triple in place of the expectation."""
    _, one, near, far = next(triples(PLAIN))
    yield Sides(f"{PLAIN_TEXT}, the batch (0, 0, 0)", "-dL/dw of the batch, 2 V[Kbar] w",
                update([(fmpq(1), one, near, far)], simple), operator(PLAIN, simple))  # fmt: skip


def batches_of_two(context: Context) -> Iterator[Sides]:
    """The mean over all batches of two triples, where the second reads the negative of the first."""
    for far in range(context.pick(quick=4, thorough=40)):
        points = linear([fmpq(0), fmpq(2)], [fmpq(4), fmpq(10 + far)])
        chosen, total = list(triples(points)), fmpq(0)
        for (p, one, near, far_off), (q, two, beside, _) in product(chosen, repeat=2):
            batch = [(fmpq(1, 2), one, near, far_off), (fmpq(1, 2), two, beside, far_off)]
            total += p * q * update(batch, simple)
        text = f"f = w x, w = 1, points {{0, 2}} and {{4, {10 + far}}}, batches of two that share a negative"
        yield Sides(text, "mean of -dL/dw, 2 V[Kbar] w", total, operator(points, simple))


def other_loss(context: Context) -> Iterator[Sides]:
    """InfoNCE, tau = 1, where 2 V[Kbar] w is claimed."""
    with balls.precision(BITS):
        left = update(list(triples(PLAIN)), infonce)
        yield Sides(f"InfoNCE, tau = 1, {PLAIN_TEXT}", "-dE[L]/dw, 2 V[Kbar] w", left, operator(PLAIN, simple))


def derived(name: str, dropped: str, option: str, tries: Any) -> Assumption:
    """An assumption of statement 3 that the derivation refutes too."""
    return Assumption(name, dropped, tries, derivation=("covariance-operator", {"drop": option}))


HOMOGENEOUS = "homogeneous network (no biases, piecewise linear) for the operator form"
SIMPLE = (
    derived(
        "x_1, x_+ independent augmentations of x", "x_+ = x_1", "independent-augmentations",
        partial(with_scheme, "one augmentation"),
    ),
    derived("x_1 augmented", "x_1 shown as it is", "augmented-anchor", partial(with_scheme, "anchor")),
    derived(
        "the negative an augmentation of an independent point", "of the same point", "independent-points",
        partial(with_scheme, "one point"),
    ),
    derived("x' has the law of x", "x' always the first point", "same-law", partial(with_scheme, "other law")),
    derived(HOMOGENEOUS, "f = (w x)^2", "homogeneity", partial(not_homogeneous, "operator")),
    Assumption("homogeneous network", "f = (w x)^2, the general form", partial(not_homogeneous, "general"), False),
    Assumption("infinite batch", "a batch of one triple", one_triple),
    Assumption("negatives of their own in a batch", "shared in a batch, in expectation", batches_of_two, False),
    Assumption("the simple loss", "InfoNCE", other_loss),
)  # fmt: skip


def infonce(r: Any) -> Any:
    """xi of InfoNCE with tau = 1 and H = 1, in balls or series."""
    power = (-(r if isinstance(r, arb_series) else arb(r))).exp()
    return power / (power + 1)


def series(*coefficients: int | fmpq) -> arb_series:
    """A power series in the spread s."""
    return arb_series([arb(c) for c in coefficients])


def theta(points: Points, scheme: str = "stated", between: str = "means") -> arb_series:
    """theta(s) of InfoNCE."""
    found = update(list(triples(points, scheme)), infonce) - operator(points, infonce, between)
    return found if isinstance(found, arb_series) else arb_series([found])


# Points {0, m s} and {1, 1 + n s}, the smallest first.
SPREADS = ((2, 1), (1, -3), (-2, 5), (4, -4), (3, 7))


def first_order(scheme: str, between: str, context: Context) -> Iterator[Sides]:
    """The coefficient of s in theta(s), which a second order does not have."""
    with balls.precision(BITS, 3):
        for m, n in SPREADS:
            found = theta(linear([series(0), series(0, m)], [series(1), series(1, n)]), scheme, between)
            text = f"InfoNCE, tau = 1, f = w x, w = 1, points {{0, {m}s}} and {{1, 1 + {n}s}}"
            yield coefficient(text, found, 0)
            yield coefficient(text, found, 1)


def coefficient(instance: str, found: arb_series, power: int) -> Sides:
    """A coefficient of theta against zero."""
    value = arb(found[power])
    return Sides(instance, f"theta(s), coefficient of s^{power}, zero", value, 0, balls.RADIUS)


def flipping(context: Context) -> Iterator[Sides]:
    """f = max(w_1 x_1 + w_2 x_2, 0), w = (0, 1), derivative by w_1: the gate of (1, s) is on, that of (1, -s) off."""
    with balls.precision(BITS, 3):
        on, off = View(series(0, 1), series(1), series(0, 1)), View(series(0), series(0), series(0))
        far = View(series(1), series(0), series(1))
        text = "InfoNCE, tau = 1, f = max(w^T x, 0), w = (0, 1), points {(1, s), (1, -s)} and (0, 1)"
        points = [[on, off], [far, far]]
        # K^T vec W is f: the network is homogeneous, and theta is all that differs.
        yield coefficient(text, theta(points), 0)
        yield coefficient(text, theta(points), 1)


def large_spread(context: Context) -> Iterator[Sides]:
    """V^xi vec W alone at s = 1."""
    with balls.precision(BITS):
        points = linear([fmpq(0), fmpq(2)], [fmpq(1), fmpq(2)])
        yield Sides("InfoNCE, tau = 1, f = w x, w = 1, points {0, 2} and {1, 2}", "-dE[L]/dw, V^xi w",
                    update(list(triples(points)), infonce), operator(points, infonce))  # fmt: skip


def squared_infonce(context: Context) -> Iterator[Sides]:
    """f = (w x)^2 without augmentation."""
    with balls.precision(BITS):
        points = squared([0], [1])
        yield Sides("InfoNCE, tau = 1, f = (w x)^2, w = 1, points 0 and 1", "-dE[L]/dw, V^xi w",
                    update(list(triples(points)), infonce), operator(points, infonce))  # fmt: skip


def outside_the_family(context: Context) -> Iterator[Sides]:
    """r_+ - 2 r_1, whose slopes do not add up to zero, without augmentation; xi = dL/dr_+ = 1."""
    points = linear([fmpq(0)], [fmpq(1)])
    left = sum((2 * p * (one.k - far.k) * (one.f - far.f) for p, one, _, far in triples(points)), fmpq(0))
    yield Sides("r_+ - 2 r_1, f = w x, w = 1, points 0 and 1", "-dE[L]/dw, V^xi w", left, operator(points, simple))


def symmetric_negatives(context: Context) -> Iterator[Sides]:
    """x' of another law than x, without augmentation, where V^xi is over pairs of one law."""
    with balls.precision(BITS):
        yield Sides(f"InfoNCE, tau = 1, {THREE_TEXT}", "-dE[L]/dw, V^xi w",
                    update(list(triples(THREE, "other law")), infonce), operator(THREE, infonce))  # fmt: skip


def weighted(loss: str) -> tuple[str, dict[str, Any]]:
    """The derivation that must fail where r is measured between points."""
    return "weighted-covariance-operator", {"loss": loss, "distances": "points", "order": 2}


WEIGHTED = (
    Assumption("x_1 augmented", "x_1 shown as it is", partial(first_order, "anchor", "means")),
    Assumption(
        "x_1, x_+ independent augmentations of x", "x_+ = x_1", partial(first_order, "one augmentation", "means"), False
    ),
    Assumption("x' has the law of x", "x' always the first point", symmetric_negatives),
    Assumption("a loss of the family of statement 2", "r_+ - 2 r_1: the slopes do not add up to 0", outside_the_family),
    Assumption("homogeneous network", "f = (w x)^2", squared_infonce),
    Assumption("no gate flips within the augmentations of a point", "a gate that flips", flipping),
    Assumption(
        "r between augmentation means for the second order", "r between unaugmented points",
        partial(first_order, "stated", "points"), derivation=weighted("infonce"),
    ),
    Assumption("small augmentation, where theta is left out", "spread 1", large_spread),
)  # fmt: skip
