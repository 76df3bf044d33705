"""Values of the pack residue-order-two on instances: letters of a small population, and the literal loss as an oracle.

The outputs are ``f(x;a)(s, W) = fbar + s phi + (Kbar + s kappa)^T W`` near W = 0, so that an instance gives connection
and output without a network. Exact: dual numbers over power series in s differentiate the literal expected loss by W,
in balls; its coefficient of s^2 is theta_2, as the leading term does not depend on s. Float: nested automatic
differentiation of the loss of `numeric`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import product
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import arb, arb_series, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector
from verify.packs.oracle import LARGEST_EXPONENT, entries, float_gradients
from verify.packs.part import BITS, Pack, Part, Place, UndecidedError
from verify.strategies import eighths, grid_matrices, simplices
from verify.towers import balls
from verify.towers.population import weighted_sum
from verify.towers.tower import Array, rational, tensors
from verify.towers.weighted import Dual, dual

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "residue-order-two"
LOSSES = ("infonce", "triplet")
LENGTH = 4
"""Coefficients of s^0 .. s^3."""


@dataclass(frozen=True)
class ResidueInstance(JsonInstance):
    """Means and deviations of connection and output on a finite population, a loss, and a number of negatives.

    Deviations and biases need no mean of zero: it is subtracted where the formula asks for it.

    Examples
    --------
    >>> one = ResidueInstance("infonce", 1.0, 0.0, 2, (((1.0,),), ((2.0,),)), ((0.0,), (1.0,)),
    ...                       ((((1.0,),),), (((0.0,),),)), (((1.0,),), ((2.0,),)), ((0.0,), (0.0,)), (0.5, 0.5),
    ...                       ((1.0,), (1.0,)))
    >>> one.checked().size
    (1, 1)
    """

    loss: str
    tau: float
    margin: float
    negatives: int
    mean_connections: tuple[Matrix, ...]
    mean_outputs: Matrix
    connections: tuple[tuple[Matrix, ...], ...]
    outputs: tuple[Matrix, ...]
    biases: Matrix
    point_weights: Vector
    augmentation_weights: Matrix

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        if self.loss not in LOSSES:
            raise InputError(f"loss={self.loss!r}: must be one of {', '.join(LOSSES)}")
        spec_of(self)
        if not 1 <= self.negatives <= 3:
            raise InputError(f"negatives={self.negatives!r}: must be 1, 2 or 3")
        numeric.FinitePopulation(self.outputs, self.point_weights, self.augmentation_weights)
        points, spread, top = np.shape(self.outputs)
        size = np.shape(self.mean_connections)[1:2]
        for name, shape in (
            ("mean_connections", (points, *size, top)),
            ("connections", (points, spread, *size, top)),
            ("mean_outputs", (points, top)),
            ("biases", (points, top)),
        ):
            value = np.array(getattr(self, name), dtype=float)
            if value.shape != shape:
                raise InputError(f"{name} has shape {value.shape}: must have {shape}")
            if not np.isfinite(value).all():
                raise InputError(f"{name}: must be finite")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Size of the output, and of the weights."""
        return len(self.mean_outputs[0]), len(self.mean_connections[0])

    @property
    def options(self) -> dict[str, float]:
        """Parameters of the loss."""
        return {"tau": self.tau, "margin": self.margin if self.loss == "triplet" else 0.0}


@dataclass(frozen=True, eq=False)
class Letters:
    """The letters of an instance in balls: by point, and by point and augmentation."""

    p: list[Any]
    q: list[list[Any]]
    connection: list[Array]
    output: list[Array]
    kappa: list[list[Array]]
    phi: list[list[Array]]
    bias: list[Array]

    @property
    def points(self) -> range:
        return range(len(self.p))

    def draws(self) -> Iterator[tuple[Any, int, int, int, int, int]]:
        """Probability, x, its augmentations x_1 and x_+, x' and its augmentation."""
        for m, n in product(self.points, repeat=2):
            spread = range(len(self.q[m]))
            for a, b, c in product(spread, repeat=3):
                yield self.p[m] * self.p[n] * self.q[m][a] * self.q[m][b] * self.q[n][c], m, a, b, n, c


@lru_cache(maxsize=512)
def letters(instance: ResidueInstance) -> Letters:
    """Means and centred deviations."""
    with balls.precision(BITS):
        total = sum((rational(w) for w in instance.point_weights), fmpq(0))
        p = [arb(rational(w) / total) for w in instance.point_weights]
        rows = [[rational(w) for w in row] for row in instance.augmentation_weights]
        q = [[arb(w / sum(row, fmpq(0))) for w in row] for row in rows]

        def centred(values: Any, column: bool) -> list[list[Array]]:
            result = []
            for row, weights in zip(values, q, strict=True):
                here = [entries(value, "ball") for value in row]
                here = [value[:, None] if column else value for value in here]
                mean = weighted_sum(here, weights)
                result.append([value - mean for value in here])
            return result

        return Letters(
            p, q,
            [entries(one, "ball") for one in instance.mean_connections],
            [entries(one, "ball")[:, None] for one in instance.mean_outputs],
            centred(instance.connections, False), centred(instance.outputs, True),
            [entries(one, "ball")[:, None] for one in instance.biases],
        )  # fmt: skip


def half_square(difference: Sequence[Any]) -> Any:
    """``1/2 ||.||^2`` in any arithmetic."""
    total = difference[0] * difference[0]
    for entry in difference[1:]:
        total = total + entry * entry
    return total * balls.to_ball(0.5)


# The literal expected loss, exactly.


@lru_cache(maxsize=1024)
def gradient_series(instance: ResidueInstance, through: str = "both", whole: bool = False) -> list[arb_series]:
    """Power series in s of the expected gradient by every entry of W, at W = 0; with `whole` its value at s = 1.

    With `through` "positive" or "negative" only the distance of that pair carries the gradient.
    """
    one = letters(instance)
    with balls.precision(BITS, LENGTH):
        loss = balls.literal_loss(instance.loss, instance.options)
        result = []
        for row in range(len(one.connection[0])):
            outputs = [[moving_output(one, m, a, row, whole) for a in range(len(one.q[m]))] for m in one.points]
            total = dual(arb_series([0]))
            for chance, m, a, b, n, c in one.draws():
                near, far = (half_square(gaps(outputs[m][a], other)) for other in (outputs[m][b], outputs[n][c]))
                if through == "positive":
                    far = Dual(far.value, far.derivative * 0)
                if through == "negative":
                    near = Dual(near.value, near.derivative * 0)
                total = total + loss(near, [far]) * chance
            result.append(total.derivative)
    return result


def gaps(first: Sequence[Any], second: Sequence[Any]) -> list[Any]:
    return [x - y for x, y in zip(first, second, strict=True)]


def moving_output(one: Letters, m: int, a: int, row: int, whole: bool) -> list[Dual]:
    """``fbar + s phi``, and its derivative by one entry of W: a row of the connection."""
    values = zip(one.output[m][:, 0], one.phi[m][a][:, 0], one.connection[m][row], one.kappa[m][a][row], strict=True)
    if whole:
        return [Dual(arb_series([f + phi]), arb_series([k + kappa])) for f, phi, k, kappa in values]
    return [Dual(arb_series([f, phi]), arb_series([k, kappa])) for f, phi, k, kappa in values]


def weight_along(instance: ResidueInstance, near: Any, far: Sequence[Any]) -> arb_series:
    """dL/dr_+ of the literal loss at r_+ = near, along the power series ``r_- = far[0] + far[1] s + ...``."""
    loss = balls.literal_loss(instance.loss, instance.options)
    return loss(Dual(arb_series([near]), arb_series([1])), [dual(arb_series(list(far)))]).derivative


@lru_cache(maxsize=4096)
def pair_weights(instance: ResidueInstance, m: int, n: int) -> tuple[Any, Any, Any]:
    """xi, xi', xi'' at the distance of the mean outputs of two points."""
    one = letters(instance)
    with balls.precision(BITS, LENGTH):
        rho = half_square((one.output[m] - one.output[n])[:, 0])
        series = weight_along(instance, arb(0), [rho, arb(1)])
        return series[0], series[1], 2 * series[2]


def pair_weight(instance: ResidueInstance, order: int, m: int, n: int) -> Any:
    """One of xi, xi', xi''."""
    return pair_weights(instance, m, n)[order]


@lru_cache(maxsize=4096)
def draw_weight(instance: ResidueInstance, m: int, a: int, b: int, n: int, c: int) -> Any:
    """xi at ``r_- - r_+`` of the augmented draw: dL/dr_+ there."""
    one = letters(instance)
    with balls.precision(BITS, LENGTH):
        anchor = one.phi[m][a]
        near = half_square((anchor - one.phi[m][b])[:, 0])
        far = half_square((one.output[m] + anchor - one.output[n] - one.phi[n][c])[:, 0])
        return weight_along(instance, near, [far])[0]


def shifted_leading(instance: ResidueInstance) -> Array:
    """Coefficient of s^2 of the leading term with r between the points ``fbar + s^2 b``."""
    one = letters(instance)
    with balls.precision(BITS, LENGTH):
        total = one.connection[0][:, :1] * 0
        for m, n in product(one.points, repeat=2):
            moved, start = one.bias[m] - one.bias[n], one.output[m] - one.output[n]
            distance = half_square([arb_series([f, 0, b]) for f, b in zip(start[:, 0], moved[:, 0], strict=True)])
            weight = weight_along(instance, arb(0), distance.coeffs())[2]
            total = total + ((one.connection[m] - one.connection[n]) @ start) * (weight * one.p[m] * one.p[n])
    return total[:, 0]


# The same by automatic differentiation.


@dataclass(frozen=True)
class Tables:
    """Letters in torch; outputs as functions of s and of W."""

    p: Tensor
    q: Tensor
    connection: Tensor
    output: Tensor
    kappa: Tensor
    phi: Tensor
    bias: Tensor

    @classmethod
    def of(cls, instance: ResidueInstance, device: str, dtype: Any) -> Tables:
        """The letters, centred in that precision."""
        names = ("point_weights", "augmentation_weights", "mean_connections", "mean_outputs", "connections", "outputs")
        arrays = tensors([getattr(instance, name) for name in (*names, "biases")], device, dtype)
        p, q, connection, output, kappa, phi, bias = arrays
        p, q = p / p.sum(), q / q.sum(-1, keepdim=True)
        kappa = kappa - (q[..., None, None] * kappa).sum(1, keepdim=True)
        phi = phi - (q[..., None] * phi).sum(1, keepdim=True)
        return cls(p, q, connection, output, kappa, phi, bias)

    def outputs(self, s: Tensor | float, w: Tensor) -> Tensor:
        """``f(x;a)`` of all points and augmentations."""
        k = self.connection[:, None] + s * self.kappa
        return self.output[:, None] + s * self.phi + (k * w[:, None]).sum(-2)

    def expected_loss(self, instance: ResidueInstance, s: Tensor | float, near: Tensor, far: Tensor) -> Tensor:
        """The literal sum; `near` and `far` are the weights that the two distances see."""
        import torch

        spec = spec_of(instance)
        distances = []
        for w in (near, far):
            f = self.outputs(s, w)
            distances.append(0.5 * (f[:, :, None, None] - f[None, None]).square().sum(-1))
        own = torch.arange(len(self.p))
        r_pos = distances[0][own, :, own][:, :, :, None, None]
        r_neg = distances[1][:, :, None]
        r_pos, r_neg = torch.broadcast_tensors(r_pos, r_neg)
        values = numeric.loss_value(spec, r_pos, r_neg[..., None])
        pair = self.p[:, None, None] * self.q[:, :, None] * self.q[:, None, :]
        return (pair[..., None, None] * (self.p[:, None] * self.q) * values).sum()

    def leading(self, instance: ResidueInstance, s: Tensor, w: Tensor) -> Tensor:
        """``<W, E[xi dK Delta]>`` with r between the points ``fbar + s^2 b``."""
        spec = spec_of(instance)
        point = self.output + s * s * self.bias
        r = 0.5 * (point[:, None] - point[None]).square().sum(-1)
        weight = numeric.pair_weight(spec, r[..., None])[..., 0] * self.p[:, None] * self.p[None]
        gap = self.output[:, None] - self.output[None]
        pushed = ((self.connection[:, None] - self.connection[None]) * gap[:, :, None]).sum(-1)
        return (weight * (pushed * w).sum(-1)).sum()


def spec_of(instance: ResidueInstance) -> numeric.LossSpec:
    """The loss as `numeric` has it."""
    parameters = {"simple": {}, "triplet": instance.options, "infonce": {"tau": instance.tau}}
    return numeric.loss_spec(instance.loss, **parameters[instance.loss])


def second(value: Tensor, s: Tensor) -> Tensor:
    """The coefficient of s^2, differentiable."""
    import torch

    first = torch.autograd.grad(value, s, create_graph=True)[0]
    return torch.autograd.grad(first, s, create_graph=True)[0] / 2


def check_exponents(instance: ResidueInstance) -> None:
    """Leave instances undecided in float64 whose exponents are beyond what its probe in float32 sees."""
    one = letters(instance)
    ends = list(one.output)
    ends += [mean + noise for mean, row in zip(one.output, one.phi, strict=True) for noise in row]
    largest = max(float(half_square((a - b)[:, 0]).mid()) for a in ends for b in ends)
    if instance.loss != "simple" and largest + abs(instance.margin) > LARGEST_EXPONENT * instance.tau:
        raise UndecidedError("an exponent is beyond what float32 sees")


@lru_cache(maxsize=1024)
def float_coefficient(instance: ResidueInstance, what: str, device: str) -> Array:
    """The gradient by W: at s = 1 ("whole"), else its coefficient of s^2, of both pairs, of one, or "points"."""
    import torch

    def value(leaves: Sequence[Tensor]) -> Tensor:
        (w,) = leaves
        tables = Tables.of(instance, device, w.dtype)
        if what == "whole":
            return tables.expected_loss(instance, 1.0, w, w)
        s = torch.zeros((), dtype=w.dtype, device=device, requires_grad=True)
        held = w.detach()
        near, far = (held if what == "negative" else w), (held if what == "positive" else w)
        total = second(tables.expected_loss(instance, s, near, far), s)
        return total + second(tables.leading(instance, s, w), s) if what == "points" else total

    return float_gradients(value, [[0.0] * instance.size[1]], device)[0]


@lru_cache(maxsize=1024)
def float_weights(instance: ResidueInstance, r: float, device: str) -> list[Any]:
    """xi, xi', xi'' at a distance, by nested automatic differentiation of the loss."""
    import torch

    spec = spec_of(instance)
    result = []
    for order in range(3):

        def value(leaves: Sequence[Tensor], order: int = order) -> Tensor:
            (moved,) = leaves
            zero = torch.zeros((), dtype=moved.dtype, device=device, requires_grad=True)
            near, far = (moved[0], zero + r) if order == 0 else (zero, moved[0])
            total = numeric.loss_value(spec, near, far[None])
            for leaf in (zero, far)[:order]:
                total = torch.autograd.grad(total, leaf, create_graph=True)[0]
            return total

        result.append(float_gradients(value, [[0.0 if order == 0 else r]], device)[0][0])
    return result


def coefficient(instance: ResidueInstance, what: str, arithmetic: str, device: str) -> Array:
    """``-E[grad]``: its coefficient of s^2 by the oracle of that arithmetic, or its value at s = 1."""
    if arithmetic == "float64":
        check_exponents(instance)
        return -float_coefficient(instance, what, device)
    with balls.precision(BITS, LENGTH):
        if what == "whole":
            return np.array([-series[0] for series in gradient_series(instance, whole=True)], dtype=object)
        through = what if what in ("positive", "negative") else "both"
        found = np.array([-series[2] for series in gradient_series(instance, through)], dtype=object)
        return found - shifted_leading(instance) if what == "points" else found


# Values of the symbols of the claims.

WHAT = {
    "second-order coefficient": "both",
    "second-order coefficient between points": "points",
    "second-order coefficient of the positive pair": "positive",
    "second-order coefficient of the negative pair": "negative",
}
NEG = "x_k"


def places(loss: str, instance: ResidueInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Values of letters, weights and coefficients; `loss` in place of that of the instance, where it is named."""
    from theory.core.notation import AugmentationCovariance, Expect, dimension, pair_distance, r_0, tau

    one = replace(instance, loss=loss) if loss else instance
    table = letters(one)
    last = len(table.p) - 1

    def at_point(values: Sequence[Any]) -> Callable[[dict[str, str]], Any]:
        return lambda at: lambda chosen: values[chosen.get(at["point"], last * (at["point"] == NEG))]

    def at_copy(values: Sequence[Sequence[Any]]) -> Callable[[dict[str, str]], Any]:
        return lambda at: lambda chosen: values[chosen[at["point"]]][chosen[f"{at['point']} {at['copy']}"]]

    def pair(chosen: Any) -> tuple[int, int]:
        return chosen.get("x", 0), chosen.get(NEG, last)

    def of_pair(value: Callable[[int, int], Any]) -> Callable[[dict[str, str]], Any]:
        return lambda _: lambda chosen: value(*pair(chosen))

    def drawn(chosen: Any) -> Any:
        m, n = pair(chosen)
        return draw_weight(one, m, chosen["x 1"], chosen["x 2"], n, chosen[f"{NEG} 1"])

    rho = half_square((table.output[0] - table.output[last])[:, 0])
    values: dict[str, Any] = {
        "mean connection": at_point(table.connection),
        "mean output": at_point(table.output),
        "bias of the augmentation": at_point(table.bias),
        "deviation of the connection": at_copy(table.kappa),
        "deviation of the output": at_copy(table.phi),
        "difference of the mean connections": of_pair(lambda m, n: table.connection[m] - table.connection[n]),
        "difference of the mean outputs": of_pair(lambda m, n: table.output[m] - table.output[n]),
        "weight of the draw": lambda _: drawn,
        "expected gradient": lambda _: -coefficient(one, "whole", arithmetic, device),
    }
    for order, name in enumerate(("pair weight", "slope of the pair weight", "curvature of the pair weight")):
        values[name] = of_pair(partial(pair_weight, one, order))
        values[f"{name} at r"] = lambda _, of=order: weights_at(one, rho, arithmetic, device)[of]
    for role, what in WHAT.items():
        values[role] = partial(of_loss, one, what, arithmetic, device)
    further = {
        Expect: table.p, AugmentationCovariance: table.q, tau: balls.to_ball(one.tau),
        r_0: balls.to_ball(one.margin), pair_distance: rho,
    }  # fmt: skip
    if loss == "simple":
        # Sizes are needed by the zero matrix alone; without them no shape is looked up.
        further |= {dimension("l"): one.size[1], dimension("l-1"): 1, dimension("L"): one.size[0]}
    yield Place(values, further)


def of_loss(instance: ResidueInstance, what: str, arithmetic: str, device: str, at: dict[str, str]) -> Array:
    """A coefficient of the loss that a symbol names, or of that of the instance."""
    return coefficient(replace(instance, loss=at.get("loss", instance.loss)), what, arithmetic, device)


def weights_at(instance: ResidueInstance, rho: Any, arithmetic: str, device: str) -> Sequence[Any]:
    """xi, xi', xi'' between the first point and the last one."""
    if arithmetic == "float64":
        check_exponents(instance)
        return float_weights(instance, float(rho.mid()), device)
    return pair_weights(instance, 0, len(instance.point_weights) - 1)


def negatives_places(instance: ResidueInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The mean weight of a negative x', anchored at the first point, by enumeration of the other ones."""
    from theory.core.notation import H

    one, count = letters(instance), instance.negatives
    with balls.precision(BITS):
        r = [half_square((one.output[0] - output)[:, 0]) for output in one.output]
        e = [(-distance / balls.to_ball(instance.tau)).exp() for distance in r]
        mean = sum((w * x for w, x in zip(one.p, e, strict=True)), arb(0))
        variance = sum((w * (x - mean) ** 2 for w, x in zip(one.p, e, strict=True)), arb(0))
        least = min(e, key=lambda x: float(x.mid()))
        if count == 1 or not variance > 0:
            raise UndecidedError("no similarity is random, and the bound is 0 <= 0")
        for n in one.points:
            centre, noise = 1 + e[n] + (count - 1) * mean, arb(0)
            for chance, others in tuples_of(one.p, count - 1):
                d = sum((e[k] for k in others), 1 + e[n])
                noise = noise + chance * (d - centre) ** 2 / d
            values = {
                "similarity": e[n], "mean similarity": mean, "variance of the similarity": variance,
                "least similarity": least, "noise of the normaliser": noise,
                "mean weight of a negative": mean_weight(instance, n, arithmetic, device),
            }  # fmt: skip
            held: dict[str, Any] = {role: partial(same, value) for role, value in values.items()}
            yield Place(held, {H: fmpq(count) if arithmetic == "rational" else arb(count)}, f" at negative {n + 1}")


def same(value: Any, _: Any) -> Any:
    """A value at every place."""
    return value


def tuples_of(p: Sequence[Any], count: int) -> Iterator[tuple[Any, tuple[int, ...]]]:
    """Every tuple of points, with its probability."""
    for chosen in product(range(len(p)), repeat=count):
        chance = p[0] * 0 + 1
        for k in chosen:
            chance = chance * p[k]
        yield chance, chosen


def mean_weight(instance: ResidueInstance, n: int, arithmetic: str, device: str) -> Any:
    """``-H E[dL/dr_1]`` of InfoNCE at r_+ = 0 with x'_1 at point n, over the other negatives."""
    one, count = letters(instance), instance.negatives
    r = [half_square((one.output[0] - output)[:, 0]) for output in one.output]
    if arithmetic == "float64":
        import torch

        check_exponents(instance)
        spec = numeric.loss_spec("infonce", tau=instance.tau, negatives=count)

        def value(leaves: Sequence[Tensor]) -> Tensor:
            (first,) = leaves
            total = first.new_zeros(())
            for chance, others in tuples_of([float(w.mid()) for w in one.p], count - 1):
                rest = first.new_tensor([float(r[k].mid()) for k in others])
                total = total - count * chance * numeric.loss_value(spec, first.new_zeros(()), torch.cat([first, rest]))
            return total

        return float_gradients(value, [[float(r[n].mid())]], device)[0][0]
    loss = balls.literal_loss("infonce", {"tau": instance.tau})
    total = arb(0)
    for chance, others in tuples_of(one.p, count - 1):
        moved = [Dual(arb_series([r[n]]), arb_series([1])), *(dual(arb_series([r[k]])) for k in others)]
        total = total - count * chance * loss(dual(arb_series([0])), moved).derivative[0]
    return total


PARTS = (
    Part("coefficient", partial(places, ""), exact="ball"),
    Part("pairs", partial(places, ""), exact="ball"),
    Part("infonce", partial(places, "infonce"), exact="ball"),
    Part("triplet", partial(places, "triplet"), exact="ball"),
    Part("simple", partial(places, "simple"), exact="ball"),
    Part("exact", partial(places, ""), exact="ball"),
    Part("points", partial(places, ""), exact="ball"),
    Part("many-negatives", negatives_places, exact="ball"),
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, points: int = 2, size: int = 2, top: int = 2) -> Iterator[ResidueInstance]:
    """Random letters with dyadic entries; the losses take turns."""
    rng = samples.generator(seed, "residue")
    for index in range(count):
        m, spread = int(rng.integers(2, points, endpoint=True)), 2
        rows, n = (int(rng.integers(1, limit, endpoint=True)) for limit in (size, top))
        yield ResidueInstance(
            loss=LOSSES[index % 2],
            tau=float(rng.choice([0.5, 1.0, 2.0])),
            margin=float(rng.integers(0, 8)) / 8,
            negatives=2 + index % 2,
            mean_connections=samples.eighths(rng, m, rows, n),
            mean_outputs=samples.eighths(rng, m, n, spread=8),
            connections=samples.eighths(rng, m, spread, rows, n),
            outputs=samples.eighths(rng, m, spread, n, spread=8),
            biases=samples.eighths(rng, m, n, spread=8),
            point_weights=samples.simplex(rng, m),
            augmentation_weights=tuple(samples.simplex(rng, spread) for _ in range(m)),
        )


@st.composite
def instances(draw: st.DrawFn, max_size: int = 1, max_top: int = 1) -> ResidueInstance:
    """Instances that shrink to scalars on one point."""
    points, spread = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    rows, n = draw(st.integers(1, max_size)), draw(st.integers(1, max_top))
    return ResidueInstance(
        loss=draw(st.sampled_from(LOSSES)),
        tau=draw(st.sampled_from((1.0, 2.0, 0.5))),
        margin=draw(eighths(0, 8)),
        negatives=draw(st.integers(1, 3)),
        mean_connections=draw(st.tuples(*[grid_matrices(rows, n)] * points)),
        mean_outputs=draw(grid_matrices(points, n)),
        connections=draw(st.tuples(*[st.tuples(*[grid_matrices(rows, n)] * spread)] * points)),
        outputs=draw(st.tuples(*[grid_matrices(spread, n)] * points)),
        biases=draw(grid_matrices(points, n)),
        point_weights=draw(simplices(points)),
        augmentation_weights=draw(st.tuples(*[simplices(spread)] * points)),
    )


STAGES = tuple(partial(instances, max_size=size, max_top=top) for size, top in ((1, 1), (1, 2), (2, 2)))
