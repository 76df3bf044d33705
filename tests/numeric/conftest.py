"""Oracles in exact rationals and in ball arithmetic, which share no code with `numeric`, and dyadic instances.

Weights, inputs and slopes are small dyadic numbers, so float64 arithmetic on them makes no rounding error:
what is compared on them is compared for equality. Derivatives are central differences of exact numbers: along
one weight a distance is a quadratic as long as no gate changes, and the central difference of a quadratic is
its derivative.
"""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
import torch
from flint import arb, ctx

STEP = Fraction(1, 2**40)


def rational(values):
    """Nested lists of fractions, exactly the numbers of a tensor, an array or nested lists."""
    if isinstance(values, torch.Tensor | np.ndarray):
        values = values.tolist()
    return [rational(v) for v in values] if isinstance(values, list) else Fraction(values)


class Exact:
    """The definitions of section 0, written out in loops over fractions."""

    rational = staticmethod(rational)

    @staticmethod
    def tower(weights, x, slope, tangent=None, at=None):
        """Activations below each layer, output, and the image at the output of a tangent of pre-activation `at`."""
        activation, activations, moved = list(x), [], None
        for number, matrix in enumerate(weights, start=1):
            activations.append(activation)
            if moved is not None:
                moved = [sum(w * m for w, m in zip(row, moved, strict=True)) for row in matrix]
            if number == at:
                moved = list(tangent)
            before = [sum(w * f for w, f in zip(row, activation, strict=True)) for row in matrix]
            if number == len(weights):
                return activations, before, moved
            gates = [Fraction(1) if p > 0 else Fraction(slope) for p in before]
            activation = [g * p for g, p in zip(gates, before, strict=True)]
            if moved is not None:
                moved = [g * m for g, m in zip(gates, moved, strict=True)]
        raise AssertionError

    def output(self, weights, x, slope):
        return self.tower(weights, x, slope)[1]

    def jacobian(self, weights, x, slope, layer):
        """d f_L / d p_l, one tangent per neuron: rows are outputs."""
        width = len(weights[layer - 1])
        columns = []
        for neuron in range(width):
            tangent = [Fraction(int(i == neuron)) for i in range(width)]
            columns.append(self.tower(weights, x, slope, tangent, layer)[2])
        return [[column[c] for column in columns] for c in range(len(weights[-1]))]

    def connection(self, weights, x, slope, layer):
        """Row a * n_l + b, column c: f_a J[c][b]."""
        activation = self.tower(weights, x, slope)[0][layer - 1]
        jacobian = self.jacobian(weights, x, slope, layer)
        n_out, n_top = len(weights[layer - 1]), len(weights[-1])
        table = [[None] * n_top for _ in range(n_out * len(activation))]
        for a, b, c in product(range(len(activation)), range(n_out), range(n_top)):
            table[a * n_out + b][c] = activation[a] * jacobian[c][b]
        return table

    @staticmethod
    def distance(first, second):
        return sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / 2

    def differences(self, function, weights, step=STEP):
        """Central difference of `function(weights)` in every entry of every layer."""
        found = []
        for layer, matrix in enumerate(weights):
            rows = []
            for b, a in product(range(len(matrix)), range(len(matrix[0]))):
                sides = []
                for sign in (1, -1):
                    moved = [[list(row) for row in m] for m in weights]
                    moved[layer][b][a] += sign * step
                    sides.append(function(moved))
                rows.append((sides[0] - sides[1]) / (2 * step))
            found.append([rows[i : i + len(matrix[0])] for i in range(0, len(rows), len(matrix[0]))])
        return found

    def table(self, weights, population, slope):
        """Output of every augmented point: point, augmentation."""
        return [[self.output(weights, x, slope) for x in group] for group in population["points"]]

    def expected(self, anchors, others, population, value):
        """Enumerate point, both augmentations and all negatives of the expected loss; `value(r_pos, [r_neg])`."""
        w, u, negatives = population["w"], population["u"], population["negatives"]
        pool = [(i, a) for i in range(len(w)) for a in range(len(u[i]))]
        total = 0
        for i, group in enumerate(anchors):
            for (a, f), (b, g) in product(enumerate(group), enumerate(others[i])):
                r_pos = self.distance(f, g)
                r_all = {key: self.distance(f, others[key[0]][key[1]]) for key in pool}
                for chosen in product(pool, repeat=negatives):
                    weight = w[i] * u[i][a] * u[i][b]
                    for j, c in chosen:
                        weight *= w[j] * u[j][c]
                    total += value(r_pos, [r_all[key] for key in chosen]) * weight
        return total

    def mean_connections(self, weights, population, slope, layer):
        """Kbar of every point as an object array (p, n_L)."""
        means = []
        for group, shares in zip(population["points"], population["u"], strict=True):
            terms = [
                share * np.array(self.connection(weights, x, slope, layer), dtype=object)
                for x, share in zip(group, shares, strict=True)
            ]
            means.append(sum(terms[1:], terms[0]))
        return means

    def mean_outputs(self, weights, population, slope):
        """Augmentation mean of the output of every point as object arrays."""
        table = self.table(weights, population, slope)
        return [
            sum(share * np.array(f, dtype=object) for f, share in zip(group, shares, strict=True))
            for group, shares in zip(table, population["u"], strict=True)
        ]


class Balls:
    """Losses in ball arithmetic of 300 bits."""

    @staticmethod
    def number(value):
        fraction = Fraction(value)
        return arb(fraction.numerator) / arb(fraction.denominator)

    def excess(self, r_pos, r_neg, tau, margin):
        return [self.number(Fraction(r_pos) - Fraction(r) + Fraction(margin)) / self.number(tau) for r in r_neg]

    def loss(self, r_pos, r_neg, tau, margin=0):
        """tau log(1 + sum_k exp((r_+ - r_k + r_0)/tau))."""
        return self.number(tau) * (1 + sum(z.exp() for z in self.excess(r_pos, r_neg, tau, margin))).log()

    def shares(self, r_pos, r_neg, tau, margin=0):
        """exp(d_k/tau) / (1 + sum_j exp(d_j/tau))."""
        grown = [z.exp() for z in self.excess(r_pos, r_neg, tau, margin)]
        return [g / (1 + sum(grown)) for g in grown]


@pytest.fixture(scope="session")
def exact():
    return Exact()


@pytest.fixture
def balls():
    before, ctx.prec = ctx.prec, 300
    yield Balls()
    ctx.prec = before


def dyadic(rng, *shape, scale=4, low=-8, high=9):
    """Small multiples of 1/scale, never 0, as a float64 tensor."""
    values = rng.integers(low, high, size=shape)
    values[values == 0] = high
    return torch.from_numpy(values / scale)


def tower(seed, widths, ensemble=None):
    """Dyadic weights of a tower."""
    rng = np.random.default_rng(seed)
    lead = () if ensemble is None else (ensemble,)
    return [dyadic(rng, *lead, out, inp) for inp, out in pairwise(widths)]


def inputs(seed, *shape):
    """Dyadic inputs."""
    return dyadic(np.random.default_rng(10_000 + seed), *shape, scale=8)


def _distribution(rng, count):
    """Positive multiples of 1/16 that sum to one."""
    cuts = np.sort(rng.choice(np.arange(1, 16), size=count - 1, replace=False))
    return np.diff(np.concatenate([[0], cuts, [16]])) / 16


def clear_of_kinks(weights, points, slope):
    """Whether every hidden pre-activation differs from 0."""
    values = points.flatten(0, 1)
    for matrix in weights[:-1]:
        values = values @ matrix.T
        if bool((values == 0).any()):
            return False
        values = torch.where(values > 0, values, slope * values)
    return True


def population(seed, size, augmentations, dimension, spread=True, weights=(), slope=0.0):
    """Keyword arguments of a dyadic population.

    With weights, points are drawn until no pre-activation is 0, where a loss has no derivative.
    """
    rng = np.random.default_rng(20_000 + seed)

    def draw():
        points = dyadic(rng, size, augmentations, dimension, scale=4)
        return points if spread else points[:, :1].expand(-1, augmentations, -1).clone()

    points = draw()
    while weights and not clear_of_kinks(weights, points, slope):
        points = draw()
    return {
        "points": points,
        "point_weights": torch.from_numpy(_distribution(rng, size)),
        "augmentation_weights": torch.from_numpy(np.stack([_distribution(rng, augmentations) for _ in range(size)])),
    }


def exact_arguments(arguments, negatives=1):
    """The same population as fractions, for the oracle."""
    return {
        "points": rational(arguments["points"]),
        "w": rational(arguments["point_weights"]),
        "u": rational(arguments["augmentation_weights"]),
        "negatives": negatives,
    }


@pytest.fixture(scope="session")
def make_tower():
    return tower


@pytest.fixture(scope="session")
def make_inputs():
    return inputs


@pytest.fixture(scope="session")
def make_population():
    return population


@pytest.fixture(scope="session")
def exact_population():
    return exact_arguments
