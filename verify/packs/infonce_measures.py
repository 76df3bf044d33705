"""Pack infonce-limits: instances, the literal losses by enumeration, and the values of the symbols of its claims."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from math import prod
from typing import Any, Self

import numpy as np
from flint import arb, fmpq
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify.instances import samples
from verify.instances.instance import JsonInstance, Matrix, freeze
from verify.packs.oracle import float_values
from verify.packs.part import Pack, Part, Place
from verify.strategies import eighths, simplices
from verify.towers import balls
from verify.towers.tower import rational

SLUG = "infonce-limits"
Table = list[list[arb]]


@dataclass(frozen=True)
class InfonceInstance(JsonInstance):
    """A joint law of pairs, a critic with its temperature, a number of negatives, and outputs.

    The outputs are those of the batch of the minimum; they are normalised.

    Examples
    --------
    >>> InfonceInstance(((0.5, 0.5),), ((0.0, 1.0),), 1.0, 1, ((1.0,), (-1.0,))).checked().size
    (1, 2)
    """

    joint: Matrix
    critic: Matrix
    tau: float
    negatives: int
    outputs: Matrix

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        numeric.mutual_information(self.joint)
        numeric.batch_infonce(self.outputs, self.tau)
        law, critic = np.asarray(self.joint, dtype=float), np.asarray(self.critic, dtype=float)
        if law.shape != critic.shape:
            raise InputError(f"critic has shape {critic.shape}: must be that of joint, {law.shape}")
        if not (law > 0).all() or law.sum() != 1:
            raise InputError("joint: must be positive and sum to 1")
        numeric.infonce_expectation(self.critic, law.sum(0), self.negatives)
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Number of negatives and the number of values of the candidates."""
        return self.negatives, len(self.critic[0])


def joint_law(instance: InfonceInstance) -> list[list[fmpq]]:
    """The probabilities of pairs."""
    return [[rational(p) for p in row] for row in instance.joint]


def marginals(instance: InfonceInstance) -> tuple[list[fmpq], list[fmpq]]:
    """The laws of the first and of the second member."""
    law = joint_law(instance)
    return [sum(row, fmpq(0)) for row in law], [sum(column, fmpq(0)) for column in zip(*law, strict=True)]


def scores(instance: InfonceInstance) -> Table:
    """The critic over the temperature."""
    tau = balls.to_ball(instance.tau)
    return [[balls.to_ball(c) / tau for c in row] for row in instance.critic]


def draws(instance: InfonceInstance) -> list[tuple[fmpq, tuple[int, ...]]]:
    """Every draw of the negatives with its probability."""
    _, second = marginals(instance)
    places = range(len(second))
    return [
        (prod((second[k] for k in drawn), start=fmpq(1)), drawn) for drawn in product(places, repeat=instance.negatives)
    ]


@lru_cache(maxsize=256)
def pair_losses(instance: InfonceInstance, arithmetic: str, device: str) -> Any:
    """The expected loss of every anchor and positive: the literal sum over draws, or `numeric`'s."""
    if arithmetic == "float64":
        law = np.asarray(instance.joint).sum(0)
        return float_values(
            lambda at: numeric.infonce_expectation(at[0] / instance.tau, at[1], instance.negatives),
            [instance.critic, law], device,
        )  # fmt: skip
    table = [[s.exp() for s in row] for row in scores(instance)]
    every = draws(instance)
    result = np.empty((len(table), len(table[0])), dtype=object)
    for x, y in np.ndindex(*result.shape):
        result[x, y] = sum(
            (-(table[x][y] / sum((table[x][k] for k in drawn), table[x][y])).log() * chance for chance, drawn in every),
            arb(0),
        )
    return result


def limit_places(instance: InfonceInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Every anchor with every positive."""
    from theory.core.notation import H

    _, second = marginals(instance)
    losses = pair_losses(instance, arithmetic, device)
    for x, row in enumerate(scores(instance)):
        exponents = [s.exp() for s in row]
        mean = sum((e * p for e, p in zip(exponents, second, strict=True)), arb(0))
        square = sum((e * e * p for e, p in zip(exponents, second, strict=True)), arb(0))
        common = {
            "mean exponent": mean,
            "variance of the exponent": square - mean * mean,
            "least exponent": min(exponents, key=lambda e: float(e.mid())),
            "mean score": sum((s * p for s, p in zip(row, second, strict=True)), arb(0)),
        }
        for y, score in enumerate(row):
            values = common | {"score of the positive": score, "expected loss of a pair": losses[x, y]}
            place = {role: partial(_constant, value) for role, value in values.items()}
            yield Place(place, {H: arb(instance.negatives)}, f" at anchor {x + 1}, positive {y + 1}")


def _constant(value: Any, _: dict[str, str]) -> Any:
    return value


@lru_cache(maxsize=256)
def batch_loss(instance: InfonceInstance, simplex: bool, arithmetic: str, device: str) -> Any:
    """The mean loss of the batch of the outputs, or of as many corners of a simplex."""
    count = len(instance.outputs)
    if arithmetic == "float64":
        rows = numeric.simplex_outputs(count).tolist() if simplex else instance.outputs
        return float_values(lambda at: numeric.batch_infonce(at[0], instance.tau)[None], [rows], device)[0]
    points = corners(count) if simplex else unit_outputs(instance)
    tau, total = balls.to_ball(instance.tau), arb(0)
    for i, f in enumerate(points):
        row = [(dot(f, g) / tau).exp() for g in points]
        total -= (row[i] / sum(row[1:], row[0])).log()
    return total / count


def dot(f: list[arb], g: list[arb]) -> arb:
    """The inner product."""
    return sum((a * b for a, b in zip(f, g, strict=True)), arb(0))


def corners(count: int) -> Table:
    """Unit vectors along ``e_i - 1/N``."""
    inside = 1 - fmpq(1, count)
    scale = 1 / arb(inside).sqrt()
    return [[scale * (fmpq(int(i == j)) - fmpq(1, count)) for j in range(count)] for i in range(count)]


def unit_outputs(instance: InfonceInstance) -> Table:
    """The outputs over their norms."""
    rows = [[balls.to_ball(v) for v in row] for row in instance.outputs]
    return [[v / dot(row, row).sqrt() for v in row] for row in rows]


def minimum_places(instance: InfonceInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """The batch of the outputs."""
    from theory.core.notation import H, tau

    points = unit_outputs(instance)
    total = [sum(column[1:], column[0]) for column in zip(*points, strict=True)]
    # The square of a sum that is 0 in balls has a ball around 0.
    values = {
        "loss of the batch": lambda _: batch_loss(instance, False, arithmetic, device),
        "loss of the simplex": lambda _: batch_loss(instance, True, arithmetic, device),
        "squared norm of the sum": lambda _: dot(total, total),
    }
    yield Place(values, {H: arb(len(points) - 1), tau: balls.to_ball(instance.tau)})


def information_places(instance: InfonceInstance, arithmetic: str, device: str) -> Iterator[Place]:
    """Information, loss, and both divergences as literal sums over candidates under their mixture."""
    from theory.core.notation import H

    law = joint_law(instance)
    losses = pair_losses(instance, arithmetic, device)
    pairs = list(np.ndindex(*losses.shape))
    loss = sum((losses[x, y] * _number(law[x][y], arithmetic) for x, y in pairs[1:]),
               losses[0, 0] * _number(law[0][0], arithmetic))  # fmt: skip
    mixture, posterior = divergences(instance)
    values = {
        "mutual information": lambda _: information(instance, arithmetic, device),
        "expected loss": lambda _: loss,
        "divergence of the mixture": lambda _: mixture,
        "divergence of the posterior": lambda _: posterior,
    }
    yield Place(values, {H: arb(instance.negatives)})


def _number(value: fmpq, arithmetic: str) -> Any:
    return float(int(value.p) / int(value.q)) if arithmetic == "float64" else value


def information(instance: InfonceInstance, arithmetic: str, device: str) -> Any:
    """The mutual information."""
    if arithmetic == "float64":
        return float_values(lambda at: numeric.mutual_information(at[0])[None], [instance.joint], device)[0]
    law, (first, second) = joint_law(instance), marginals(instance)
    return sum(
        (arb(p / (first[x] * second[y])).log() * p for x, row in enumerate(law) for y, p in enumerate(row)), arb(0)
    )


@lru_cache(maxsize=256)
def divergences(instance: InfonceInstance) -> tuple[arb, arb]:
    """Divergence of N candidates, of which one is the positive, from N negatives; and of the posterior of its place.

    Both are sums over an anchor and all candidates, in which no candidate is singled out.
    """
    law, (first, second) = joint_law(instance), marginals(instance)
    exponents = [[s.exp() for s in row] for row in scores(instance)]
    count, mixture, posterior = instance.negatives + 1, arb(0), arb(0)
    for x, row in enumerate(law):
        ratio = [p / (first[x] * q) for p, q in zip(row, second, strict=True)]
        for drawn in product(range(len(second)), repeat=count):
            density = sum((ratio[k] for k in drawn), fmpq(0)) / count
            chance = prod((second[k] for k in drawn), start=first[x]) * density
            mixture += arb(density).log() * chance
            whole = sum((exponents[x][k] for k in drawn), arb(0))
            for k in drawn:
                own = ratio[k] / (count * density)
                posterior += (own * whole / exponents[x][k]).log() * (own * chance)
    return mixture, posterior


PARTS = (
    Part("many-negatives", limit_places, exact="ball"),
    Part("minimum", minimum_places, exact="ball"),
    Part("information", information_places, exact="ball"),
)
PACK = Pack(SLUG, PARTS)


# Instances.


def toy(seed: int, count: int, *, values: int = 3, most: int = 2, members: int = 4) -> Iterator[InfonceInstance]:
    """Random instances with dyadic entries."""
    rng = samples.generator(seed, "infonce-limits")
    for index in range(count):
        shape = tuple(int(n) for n in rng.integers(2, values, size=2, endpoint=True))
        size, dimension = int(rng.integers(2, members, endpoint=True)), int(rng.integers(1, 3, endpoint=True))
        outputs = np.asarray(samples.eighths(rng, size, dimension, spread=8))
        outputs[:, 0] += 2 * (outputs[:, 0] == 0)
        yield InfonceInstance(
            joint=freeze(np.reshape(samples.simplex(rng, shape[0] * shape[1]), shape)),
            critic=samples.eighths(rng, *shape),
            tau=float(rng.choice([0.5, 1.0, 2.0])),
            negatives=1 + index % most,
            outputs=freeze(outputs),
        )


@st.composite
def instances(draw: st.DrawFn, max_values: int = 2, max_negatives: int = 1, max_members: int = 2) -> InfonceInstance:
    """Instances that shrink to two candidates of an even law, a constant critic and two outputs on a line."""
    rows, columns = draw(st.integers(1, max_values)), draw(st.integers(2, max_values))
    flat = draw(simplices(rows * columns))
    size, dimension = draw(st.integers(2, max_members)), draw(st.integers(1, 2))
    first = eighths(-8, 8).filter(lambda v: v != 0)
    output = st.tuples(first, *[eighths(-8, 8)] * (dimension - 1))
    return InfonceInstance(
        joint=tuple(flat[x * columns : (x + 1) * columns] for x in range(rows)),
        critic=draw(st.tuples(*[st.tuples(*[eighths(-16, 16)] * columns)] * rows)),
        tau=draw(st.sampled_from((1.0, 2.0, 0.5))),
        negatives=draw(st.integers(1, max_negatives)),
        outputs=draw(st.tuples(*[output] * size)),
    )


STAGES = tuple(
    partial(instances, max_values=values, max_negatives=negatives, max_members=members)
    for values, negatives, members in ((2, 2, 3), (3, 2, 4))
)
