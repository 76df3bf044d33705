"""Assumptions of statements 1 to 4, dropped one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import arb, arb_series, fmpq

import numeric
from verify.engine.assumptions import Sides
from verify.engine.evidence import Measurement
from verify.engine.statement import Assumption, Context
from verify.instances import samples
from verify.instances.instance import PairInstance
from verify.tolerance import rounding
from verify.towers import balls
from verify.towers.tower import tensors

if TYPE_CHECKING:
    from torch import Tensor


# Networks on which Theorem 1 must fail: biases with ReLU, smooth activations, batch normalisation.


@dataclass(frozen=True)
class PairNetwork:
    """A network by its activation, with or without biases and batch normalisation over the two inputs."""

    name: str
    activation: str
    biases: bool = False
    batch_norm: bool = False

    def run(self, weights: Sequence[Tensor], x: Tensor, added: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Outputs (2, n_L) and the activations f_0 .. f_{L-1}, with `added` (2, n_l) on every pre-activation."""
        import torch

        act = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "linear": lambda p: p}
        activations, value = [], x
        for layer, (w, extra) in enumerate(zip(weights, added, strict=True), start=1):
            activations.append(value)
            value = value @ w.T + extra
            if self.biases:
                # Any biases that do not depend on the weights by differentiation will do.
                value = value + (0.75 * w[:, 0] + 0.25).detach()
            if layer == len(weights):
                break
            if self.batch_norm:
                centred = value - value.mean(0)
                value = centred / (centred.square().mean(0) + 1e-5).sqrt()
            value = act[self.activation](value)
        return value, activations


BROKEN = (
    PairNetwork("biases with ReLU", "relu", biases=True),
    PairNetwork("tanh", "tanh"),
    PairNetwork("GELU", "gelu"),
    PairNetwork("batch normalisation", "relu", batch_norm=True),
)
SOUND = (PairNetwork("ReLU", "relu"), PairNetwork("linear with biases, which cancel", "linear", biases=True))


def sides(
    network: PairNetwork, instance: PairInstance, dtype: str, device: str
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """dr/dW_l by automatic differentiation, and (K_1 - K_2)(K_1 - K_2)^T vec W_l, both as matrices."""
    import torch

    kind = getattr(torch, dtype)
    weights = tensors(instance.weights_1, device, kind)
    (x,) = tensors([(instance.x_1, instance.x_2)], device, kind)
    for w in weights:
        w.requires_grad_()
    added = [torch.zeros(2, len(w), dtype=kind, device=device, requires_grad=True) for w in weights]
    output, activations = network.run(weights, x, added)
    r = 0.5 * (output[0] - output[1]).square().sum()
    left = torch.autograd.grad(r, weights, retain_graph=True)
    right = []
    for w, extra, f in zip(weights, added, activations, strict=True):
        rows = []
        for i in range(output.shape[1]):
            own = [torch.autograd.grad(output[n, i], extra, retain_graph=True)[0][n] for n in range(2)]
            # Row i of (K_1 - K_2)^T as a matrix shaped like W.
            rows.append(own[0][:, None] * f[0] - own[1][:, None] * f[1])
        gaps = torch.stack(rows)
        right.append(torch.einsum("ibc,i->bc", gaps, (gaps * w).sum(dim=(1, 2))))
    return [g.detach().cpu().numpy() for g in left], [g.detach().cpu().numpy() for g in right]


def measure(network: PairNetwork, instance: PairInstance, device: str) -> Measurement:
    """The statement on one network and one pair."""
    double, single = (sides(network, instance, dtype, device) for dtype in ("float64", "float32"))
    return rounding.measure_precisions(double, single, f"{network.name}, layer")


def pairs(seed: int, count: int) -> list[PairInstance]:
    """Gaussian inputs through two layers."""
    rng = samples.generator(seed, "pairs for assumptions")
    result = []
    for _ in range(count):
        weights = samples.normal_weights(rng, (4, 5, 3))
        x_1, x_2 = (tuple(float(v) for v in rng.standard_normal(4)) for _ in range(2))
        result.append(PairInstance(0.0, weights, weights, x_1, x_2))
    return result


# One hidden neuron, f = w_2 psi(w_1 x), on the inputs 1 and -3 (a gate is on at one of them, with a bias of 1 too).
SMALL = PairInstance(0.0, (((1.0,),), ((1.0,),)), (((1.0,),), ((1.0,),)), (1.0,), (-3.0,))
BITS = 256


def on_networks(network: PairNetwork, context: Context) -> Iterator[Sides]:
    """The entry that is furthest off on a network: one hidden neuron first, then Gaussian towers."""
    for instance in (SMALL, *pairs(context.seed, context.pick(quick=6, thorough=60))):
        measured = measure(network, instance, context.device)
        left, right = sides(network, instance, "float64", context.device)
        layer = int(np.argmax([np.abs(a - b).max() for a, b in zip(left, right, strict=True)]))
        place = np.unravel_index(np.argmax(np.abs(left[layer] - right[layer])), left[layer].shape)
        name = "one hidden neuron of weights 1, x_1 = 1, x_2 = -3" if instance is SMALL else "Gaussian towers, 4-5-3"
        yield Sides(
            f"{network.name}: {name}", f"dr/dW_{layer + 1}, formula", float(left[layer][place]),
            float(right[layer][place]), measured.tolerance, decided=measured.decided,
        )  # fmt: skip


def slope_at(value: Callable[[fmpq], fmpq], w: int) -> fmpq:
    """Derivative of a function that is quadratic near w, by a central difference that leaves no remainder."""
    step = fmpq(1, 8)
    return (value(w + step) - value(w - step)) / (2 * step)


def top_activation(context: Context) -> Iterator[Sides]:
    """f = max(w x, 0) for f = w x, with K = x: x_1 = 1, x_2 = 0, w = -1."""
    left = slope_at(lambda w: max(w, fmpq(0)) ** 2 / 2, -1)
    yield Sides("f = max(w x, 0), w = -1, x_1 = 1, x_2 = 0", "dr/dw, K_1 (K_1 w - K_2 w)", left, fmpq(1) * fmpq(-1))


def both_towers(context: Context) -> Iterator[Sides]:
    """Shared weights, the gradient through both towers: f = w x, w = 1, x_1 = 2, x_2 = 1."""
    left = slope_at(lambda w: (2 * w - w) ** 2 / 2, 1)
    yield Sides("f = w x, w = 1, x_1 = 2, x_2 = 1", "dr/dw through both towers, x_1 (x_1 w - x_2 w)", left, fmpq(2))


def one_connection(context: Context) -> Iterator[Sides]:
    """A normalised output with its forward connection on either side: u = (3, 4) and (1, 0)."""
    import torch

    first, second = ([torch.tensor(w, dtype=torch.float64)] for w in ([[3.0], [4.0]], [[1.0], [0.0]]))
    one = torch.ones(1, dtype=torch.float64)
    left = numeric.pair_gradient(first, second, one, one, 0.0, output="normalized")[0]
    (k_1, _), (k_2, _) = (numeric.normalized_connections(w, one[None], 0.0)[0] for w in (first, second))
    a, b = k_1.dense()[0], k_2.dense()[0]
    right = a @ (a.T @ numeric.vec(first[0]) - b.T @ numeric.vec(second[0]))
    # A dozen roundings of numbers of size at most 5.
    tolerance = 5 * rounding.gamma(64)
    yield Sides(
        "u = (3, 4) and (1, 0), outputs u / ||u||", "dr/dW, entry 1, formula with K^f in front",
        float(left[0, 0]), float(right[0]), tolerance,
    )  # fmt: skip


BIASED, TANH, GELU, NORMED = BROKEN
TOWERS = (
    Assumption("no biases", "biases, with ReLU", partial(on_networks, BIASED)),
    Assumption("no biases", "biases, in linear towers that share them", partial(on_networks, SOUND[1]), False),
    Assumption("piecewise-linear homogeneous activation", "tanh", partial(on_networks, TANH)),
    Assumption("piecewise-linear homogeneous activation", "GELU", partial(on_networks, GELU)),
    Assumption("one input at a time", "batch normalisation", partial(on_networks, NORMED)),
    Assumption("no activation on the top layer", "ReLU on the top layer", top_activation),
    Assumption("the gradient by the weights of one tower", "through both towers of shared weights", both_towers),
    Assumption(
        "output linear, or l2-normalised with forward and backward connections",
        "l2-normalised, the forward connection in front too",
        one_connection,
    ),
)


def derivatives_of(loss: balls.Loss, r: Sequence[float]) -> list[arb]:
    """dL/dr_+, dL/dr_1 .. at distances, in balls."""
    with balls.precision(BITS):
        return balls.derivatives(loss, r[0], r[1:])


def pull(loss: balls.Loss, r: Sequence[float], context: Context) -> Iterator[Sides]:
    """dL/dr_+ > 0."""
    yield Sides(at(r), "dL/dr_+, zero", derivatives_of(loss, r)[0], 0, relation=">")


def total(loss: balls.Loss, r: Sequence[float], context: Context) -> Iterator[Sides]:
    """dL/dr_+ + sum_k dL/dr_k = 0."""
    result = derivatives_of(loss, r)
    yield Sides(at(r), "sum of the derivatives, zero", sum(result[1:], result[0]), 0)


def at(r: Sequence[float]) -> str:
    """Distances in words."""
    return ", ".join(f"r_{'+' if k == 0 else k} = {value:g}" for k, value in enumerate(r))


def hinge(r_pos: Any, r_neg: Sequence[Any]) -> Any:
    """max(0, r_+ - r_1)."""
    gap = r_pos - r_neg[0]
    return gap if gap[0] > 0 else gap * 0


def alignment(context: Context) -> Iterator[Sides]:
    """The loss -f_1 . f_+ at two pairs of scalars of one distance."""
    one, two = (-fmpq(a) * b for a, b in ((1, 1), (2, 2)))
    yield Sides("L = -f_1 f_+ at f_1 = f_+ = 1 and at f_1 = f_+ = 2, r_+ = 0 both times", "L, L", one, two)


def negative_temperature(context: Context) -> Iterator[Sides]:
    """InfoNCE and soft triplet with tau < 0: signs and sum."""
    for name in ("infonce", "triplet"):
        for tau in (-1.0, -0.5, -3.0):
            with balls.precision(BITS):
                loss = balls.literal_loss(name, {"tau": tau})
            for r in ((1.0, 1.0), (0.5, 2.0), (3.0, 0.25)):
                result = derivatives_of(loss, r)
                yield Sides(f"{name}, tau = {tau:g}, {at(r)}", "dL/dr_+, zero", result[0], 0, relation=">")
                yield Sides(f"{name}, tau = {tau:g}, {at(r)}", "-dL/dr_1, zero", -result[1], 0, relation=">")
                # Two balls around numbers below 1, at 256 bits.
                sum_of_both = sum(result[1:], result[0])
                yield Sides(f"{name}, tau = {tau:g}, {at(r)}", "sum, zero", sum_of_both, 0, balls.RADIUS)


def no_negative(context: Context) -> Iterator[Sides]:
    """InfoNCE with H = 0, where dL/dr_+ is one minus the share of the attraction among all of H + 1 terms."""
    attraction, repulsion = fmpq(1, 2), fmpq(0)
    yield Sides("H = 0, exp(-r_+/tau) = 1/2", "dL/dr_+, zero", 1 - attraction / (attraction + repulsion), fmpq(0),
                relation=">")  # fmt: skip


def family(name: str, dropped: str, tries: Any, loss: str) -> Assumption:
    """An assumption on the loss that the derivation refutes too."""
    return Assumption(name, dropped, tries, derivation=("contrastive-losses", {"loss": loss}))


TEMPERATURE = "tau > 0"
MEMBERS = "L is the simple loss, the soft triplet (any r_0) or InfoNCE"
LOSSES = (
    Assumption(MEMBERS, "L = -f_1 . f_+, no function of the distances", alignment),
    family(
        MEMBERS, "the hinge max(0, r_+ - r_1 + r_0): no attraction where it is flat", partial(pull, hinge, (1.0, 2.0)),
        "max(0, r_p - r_1 + r_0)",
    ),
    family(
        MEMBERS, "r_+ + r_1^2: attraction and repulsion do not cancel",
        partial(total, lambda p, n: p + n[0] * n[0], (1.0, 1.0)), "r_p + r_1**2",
    ),
    family(
        MEMBERS, "r_+ - 2 r_1: repulsion twice as strong as attraction",
        partial(total, lambda p, n: p - n[0] * 2, (1.0, 1.0)), "r_p - 2*r_1",
    ),
    Assumption("any number H >= 1 of negatives", "InfoNCE with H = 0", no_negative),
    Assumption(TEMPERATURE, "tau < 0, at 0 the loss is not defined", negative_temperature, False),
)  # fmt: skip


# Assumptions of statements 3 and 4, dropped, on populations of scalars that can be followed by hand.


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
# The sides of statements 3 and 4.
SHARED, PAIRS = "-dE[L]/dw, 2 V[Kbar] w", "-dE[L]/dw, V^xi w"


def squared(*rows: Sequence[int]) -> list[list[View]]:
    """f = (w x)^2 at w = 1: k w = 2 f."""
    return [[View(fmpq(x * x), fmpq(2 * x * x), fmpq(2 * x * x)) for x in row] for row in rows]


def operator_form(
    text: str, quantity: str, points: Points, xi: Weight, context: Context, scheme: str = "stated"
) -> Iterator[Sides]:
    """The operator form of a loss, by its pair weight, on given points."""
    with balls.precision(BITS):
        yield Sides(text, quantity, update(list(triples(points, scheme)), xi), operator(points, xi))


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
        yield Sides(f"InfoNCE, tau = 1, {PLAIN_TEXT}", SHARED, left, operator(PLAIN, simple))


def derived(name: str, dropped: str, option: str, tries: Any) -> Assumption:
    """An assumption of statement 3 that the derivation refutes too."""
    return Assumption(name, dropped, tries, derivation=("covariance-operator", {"drop": option}))


HOMOGENEOUS = "homogeneous network (no biases, piecewise linear) for the operator form"
SIMPLE = (
    derived(
        "x_1, x_+ independent augmentations of x", "x_+ = x_1", "independent-augmentations",
        partial(operator_form, PLAIN_TEXT, SHARED, PLAIN, simple, scheme="one augmentation"),
    ),
    derived(
        "x_1 augmented", "x_1 shown as it is", "augmented-anchor",
        partial(operator_form, PLAIN_TEXT, SHARED, PLAIN, simple, scheme="anchor"),
    ),
    derived(
        "the negative an augmentation of an independent point", "of the same point", "independent-points",
        partial(operator_form, PLAIN_TEXT, SHARED, PLAIN, simple, scheme="one point"),
    ),
    derived(
        "x' has the law of x", "x' always the first point", "same-law",
        partial(operator_form, THREE_TEXT, SHARED, THREE, simple, scheme="other law"),
    ),
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
    result = update(list(triples(points, scheme)), infonce) - operator(points, infonce, between)
    return result if isinstance(result, arb_series) else arb_series([result])


# Points {0, m s} and {1, 1 + n s}, the smallest first.
SPREADS = ((2, 1), (1, -3), (-2, 5), (4, -4), (3, 7))


def first_order(scheme: str, between: str, context: Context) -> Iterator[Sides]:
    """The coefficient of s in theta(s), which a second order does not have."""
    with balls.precision(BITS, 3):
        for m, n in SPREADS:
            result = theta(linear([series(0), series(0, m)], [series(1), series(1, n)]), scheme, between)
            text = f"InfoNCE, tau = 1, f = w x, w = 1, points {{0, {m}s}} and {{1, 1 + {n}s}}"
            yield coefficient(text, result, 0)
            yield coefficient(text, result, 1)


def coefficient(instance: str, found: arb_series, power: int) -> Sides:
    """A coefficient of theta against zero."""
    value = arb(found[power])
    return Sides(instance, f"theta(s), coefficient of s^{power}, zero", value, 0, balls.RADIUS)


def flipping(context: Context) -> Iterator[Sides]:
    """f = max(w_1 x_1 + w_2 x_2, 0), w = (0, 1), derivative by w_1: the gate of (1, s) is on, that of (1, -s) off.

    The object (1, 0) lies on the kink, so that K - Kbar does not fall with s, and E ||K - Kbar|| ||f - fbar|| is O(s).
    """
    with balls.precision(BITS, 3):
        on, off = View(series(0, 1), series(1), series(0, 1)), View(series(0), series(0), series(0))
        far = View(series(1), series(0), series(1))
        text = "InfoNCE, tau = 1, f = max(w^T x, 0), w = (0, 1), points {(1, s), (1, -s)} and (0, 1)"
        points = [[on, off], [far, far]]
        # K^T vec W is f: the network is homogeneous, and theta is all that differs.
        yield coefficient(text, theta(points), 0)
        yield coefficient(text, theta(points), 1)


def outside_the_family(context: Context) -> Iterator[Sides]:
    """r_+ - 2 r_1, whose slopes do not add up to zero, without augmentation; xi = dL/dr_+ = 1."""
    points = linear([fmpq(0)], [fmpq(1)])
    left = sum((2 * p * (one.k - far.k) * (one.f - far.f) for p, one, _, far in triples(points)), fmpq(0))
    yield Sides("r_+ - 2 r_1, f = w x, w = 1, points 0 and 1", PAIRS, left, operator(points, simple))


WEIGHTED = (
    Assumption("x_1 augmented", "x_1 shown as it is", partial(first_order, "anchor", "means")),
    Assumption(
        "x_1, x_+ independent augmentations of x", "x_+ = x_1", partial(first_order, "one augmentation", "means"), False
    ),
    Assumption(
        "x' has the law of x", "x' always the first point",
        partial(operator_form, f"InfoNCE, tau = 1, {THREE_TEXT}", PAIRS, THREE, infonce, scheme="other law"),
    ),
    Assumption("a loss of the family of statement 2", "r_+ - 2 r_1: the slopes do not add up to 0", outside_the_family),
    Assumption(
        "homogeneous network", "f = (w x)^2",
        partial(operator_form, "InfoNCE, tau = 1, f = (w x)^2, w = 1, points 0 and 1", PAIRS,
                squared([0], [1]), infonce),
    ),
    Assumption(
        "E ||K - Kbar|| ||f - fbar|| of second order: no gate flips, or the mass that flips falls with the spread",
        "a point on a kink, whose gate flips at every spread", flipping,
    ),
    Assumption(
        "r between augmentation means for the second order",
        "r between unaugmented points, under an augmentation that is biased to first order",
        partial(first_order, "stated", "points"),
        derivation=("weighted-covariance-operator", {"loss": "infonce", "distances": "points", "order": 2}),
    ),
    Assumption(
        "small augmentation, where theta is left out", "spread 1",
        partial(operator_form, "InfoNCE, tau = 1, f = w x, w = 1, points {0, 2} and {1, 2}", PAIRS,
                linear([fmpq(0), fmpq(2)], [fmpq(1), fmpq(2)]), infonce),
    ),
)  # fmt: skip
