"""Instances of pack jepa-mae and the values of its symbols: the literal losses on pairs, differentiated."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from flint import acb, arb, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, Vector, freeze
from verify.packs.linear_byol_measures import NODES, as_float
from verify.packs.oracle import exact_gradient, float_gradients
from verify.packs.part import Pack, Part, Place
from verify.strategies import eighths
from verify.tolerance.running import Bounded
from verify.towers import balls
from verify.towers.population import half_square
from verify.towers.tower import Array, rational, tensors

if TYPE_CHECKING:
    from torch import Tensor

SLUG = "jepa-mae"
KINDS = ("jepa", "mae")


@dataclass(frozen=True)
class JepaInstance(JsonInstance):
    """A diagonal network of two coordinates: layers, decoder, and pairs (x_k e_k, y_k e_k) that are equally likely.

    `share` places a time between two values of w. Where equal factors are assumed, the first layer is taken for all.

    Examples
    --------
    >>> JepaInstance(((0.5, 1.0),), (1.0, 1.0), (1.0, 2.0), (1.0, 1.0), 0.5).checked().size
    (1, 2)
    """

    layers: Matrix
    decoder: Vector
    inputs: Vector
    targets: Vector
    share: float

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after checks of shapes and signs (InputError if not)."""
        if not self.layers:
            raise InputError("layers: must have at least one row")
        rows = {f"layers[{k}]": row for k, row in enumerate(self.layers)}
        rows |= {"decoder": self.decoder, "inputs": self.inputs, "targets": self.targets}
        for place, row in rows.items():
            if len(row) != 2:
                raise InputError(f"{place} has {len(row)} entries: must have 2")
            if not all(0 < value < math.inf for value in row):
                raise InputError(f"{place}={row!r}: must be positive numbers")
        if not 0 < self.share < 1:
            raise InputError(f"share={self.share!r}: must lie strictly between 0 and 1")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Depth and number of coordinates."""
        return len(self.layers), 2

    @property
    def factors(self) -> tuple[Matrix, Vector]:
        """Layers and decoder."""
        return self.layers, self.decoder

    @property
    def equal(self) -> tuple[Matrix, Vector]:
        """The first layer in place of every factor."""
        return (self.layers[0],) * len(self.layers), self.layers[0]

    def moments(self, k: int) -> tuple[fmpq, fmpq]:
        """lambda and s of a coordinate: half of the pairs are its own."""
        x, y = rational(self.inputs[k]), rational(self.targets[k])
        return x * y / 2, x * x / 2


Factors = tuple[Matrix, Vector]


@lru_cache(maxsize=256)
def exact_descent(instance: JepaInstance, factors: Factors, kind: str) -> tuple[Array, ...]:
    """``-grad`` by every layer and by the decoder, matrices over fractions."""
    stack = [diagonal(row) for row in (*factors[0], factors[1])]
    pairs = [(np.eye(2, dtype=int)[k] * rational(x), np.eye(2, dtype=int)[k] * rational(y))
             for k, (x, y) in enumerate(zip(instance.inputs, instance.targets, strict=True))]  # fmt: skip
    held = reduce(lambda below, above: above @ below, stack[:-1])

    def by(number: int) -> Array:
        def value(moved: Array) -> Any:
            matrix = reduce(lambda below, above: above @ below, [*stack[:number], moved, *stack[number + 1 :]])
            total: Any = fmpq(0)
            for x, y in pairs:
                total = total + half_square(matrix @ x - (held @ y if kind == "jepa" else y)) / 2
            return total

        return -exact_gradient(value, stack[number], "rational")

    return tuple(by(number) for number in range(len(stack)))


def diagonal(row: Vector) -> Array:
    """A diagonal matrix of fractions."""
    return np.array([[rational(v) if i == j else fmpq(0) for j in range(2)] for i, v in enumerate(row)], dtype=object)


@lru_cache(maxsize=256)
def float_descent(instance: JepaInstance, factors: Factors, kind: str, device: str) -> tuple[Array, ...]:
    """The same by automatic differentiation of `numeric`'s loss in float64, with bounds."""
    pairs = [np.diag(instance.inputs), np.diag(instance.targets)]

    def value(leaves: Sequence[Tensor]) -> Tensor:
        x, y = tensors(pairs, device, leaves[0].dtype)
        return numeric.predictive_loss(list(leaves[:-1]), leaves[-1], x, y, kind)

    at = [np.diag(row) for row in (*factors[0], factors[1])]
    return tuple(-g for g in float_gradients(value, at, device))


def descent(instance: JepaInstance, factors: Factors, kind: str, arithmetic: str, device: str) -> tuple[Array, ...]:
    """``-grad`` by the oracle of an arithmetic."""
    if arithmetic == "float64":
        return float_descent(instance, factors, kind, device)
    return exact_descent(instance, factors, kind)


# Values of the symbols.


def constant(value: Any) -> Any:
    return lambda _: value


def by_loss(values: dict[str, Any]) -> Any:
    return lambda at: values[at["loss"]]


def factor_places(instance: JepaInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Every layer and coordinate of the network."""
    found = {kind: descent(instance, instance.factors, kind, arithmetic, device) for kind in KINDS}
    for number, row in enumerate(instance.layers):
        for k in range(2):
            lam, s = instance.moments(k)
            encoder = reduce(lambda a, b: a * b, (rational(one[k]) for one in instance.layers))
            values = {
                "layer": constant(rational(row[k])),
                "encoder": constant(encoder),
                "decoder": constant(rational(instance.decoder[k])),
                "covariance of input and target": constant(lam),
                "variance of the input": constant(s),
                "rate of a layer": by_loss({kind: g[number][k, k] for kind, g in found.items()}),
                "rate of the decoder": by_loss({kind: g[-1][k, k] for kind, g in found.items()}),
                "coupling of two coordinates": by_loss({kind: g[number][k, 1 - k] for kind, g in found.items()}),
            }
            yield Place(values, where=f" at layer {number + 1}, coordinate {k + 1}")


def equal_places(instance: JepaInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Equal factors: rates of a layer and of the encoder, the product of all layers."""
    found = {kind: descent(instance, instance.equal, kind, arithmetic, device) for kind in KINDS}
    depth = len(instance.layers)
    for k in range(2):
        lam, s = instance.moments(k)
        w = rational(instance.layers[0][k])
        values: dict[str, Any] = {
            "layer": constant(w),
            "encoder": constant(w**depth),
            "depth": constant(fmpq(depth)),
            "covariance of input and target": constant(lam),
            "variance of the input": constant(s),
            "regression coefficient": constant(lam / s),
            "rate of equal layers": by_loss({kind: g[0][k, k] for kind, g in found.items()}),
            "rate of the encoder": by_loss(
                {kind: sum(g[n][k, k] for n in range(depth)) * w ** (depth - 1) for kind, g in found.items()}
            ),
        }
        values |= sides_of_the_fixed_point(instance, k, arithmetic, device)
        yield Place(values, where=f" at coordinate {k + 1}")


def sides_of_the_fixed_point(instance: JepaInstance, k: int, arithmetic: str, device: str) -> dict[str, Any]:
    """Rates at the same factors where rho is larger or smaller than its value at rest."""
    depth, w = len(instance.layers), instance.layers[0][k]
    share = instance.share

    def rate(kind: str, above: bool) -> Any:
        level = w if kind == "jepa" else w ** (depth + 1)
        targets = [1.0, 1.0]
        # A target beside a unit input is rho; powers and products of dyadic numbers are exact.
        targets[k] = level * share if above else level * (1 + share)
        moved = JepaInstance(instance.layers, instance.decoder, (1.0, 1.0), (targets[0], targets[1]), share)
        return descent(moved, moved.equal, kind, arithmetic, device)[0][k, k]

    return {
        "rate below the fixed point": lambda at: rate(at["loss"], above=False),
        "rate above the fixed point": lambda at: rate(at["loss"], above=True),
    }


def elapsed(kind: str, depth: int, rho: Any, lam: Any, ends: tuple[Any, Any], arithmetic: str) -> Any:
    """The integral of dw over its rate: Arb's, or Gauss-Legendre in float64 with the change under more nodes."""

    def slowness(w: Any, quotient: Any, covariance: Any) -> Any:
        e = w**depth
        s = covariance / quotient
        return 1 / (e * e * (covariance - s * w)) if kind == "jepa" else 1 / (e * (covariance - s * w * e))

    if arithmetic != "float64":
        r, c = acb(balls.to_ball(rho)), acb(balls.to_ball(lam))
        begin, end = map(balls.to_ball, ends)
        return acb.integral(lambda w, _: slowness(w, r, c), begin, end).real
    low, high = map(as_float, ends)
    found = []
    for count in NODES:
        nodes, weights = np.polynomial.legendre.leggauss(count)
        w = low + (high - low) * (nodes + 1) / 2
        found.append(float((weights * slowness(w, as_float(rho), as_float(lam))).sum() * (high - low) / 2))
    return Bounded(found[1], 4 * abs(found[1] - found[0]) + 2.0**-40 * abs(found[1]))


def time_places(instance: JepaInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """From w = share rho/2 to (1 + share) rho/2, with rho at most 1, below both fixed points."""
    lam, s = instance.moments(0)
    rho, share = min(lam / s, s / lam), rational(instance.share)
    ends = (share * rho / 2, (1 + share) * rho / 2)
    values = {
        "layer": ends[1],
        "layer at the start": ends[0],
        "regression coefficient": rho,
        "covariance of input and target": lam,
    }
    made = values if arithmetic == "float64" else {role: balls.to_ball(value) for role, value in values.items()}

    def time(at: dict[str, str]) -> Any:
        value = elapsed(at["loss"], int(at["depth"]), rho, lam, ends, arithmetic)
        return value if isinstance(value, Bounded) else arb(value)

    yield Place({**{role: constant(value) for role, value in made.items()}, "time": time})


PARTS = (
    Part("gradients", factor_places),
    Part("balance", factor_places),
    Part("jepa", equal_places),
    Part("mae", equal_places),
    Part("targets", equal_places),
    Part("time", time_places, exact="ball"),
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, depth: int = 3) -> Iterator[JepaInstance]:
    """Random instances with dyadic entries."""
    rng = samples.generator(seed, SLUG)

    def positive(*shape: int) -> Any:
        return freeze(rng.integers(2, 12, size=shape) / 8)

    for _ in range(count):
        layers = int(rng.integers(1, depth, endpoint=True))
        yield JepaInstance(
            layers=positive(layers, 2),
            decoder=positive(2),
            inputs=positive(2),
            targets=positive(2),
            share=float(rng.integers(2, 7)) / 8,
        )


@st.composite
def instances(draw: st.DrawFn, depth: int = 2) -> JepaInstance:
    """Instances that shrink to one layer."""
    pair = st.tuples(eighths(1, 12), eighths(1, 12))
    return JepaInstance(
        layers=draw(st.tuples(*[pair] * draw(st.integers(1, depth)))),
        decoder=draw(pair),
        inputs=draw(pair),
        targets=draw(pair),
        share=draw(st.sampled_from((0.5, 0.25, 0.75))),
    )


def stage(depth: int) -> Any:
    """A stage of a search."""
    return lambda: instances(depth)


STAGES = (stage(2), stage(3))
