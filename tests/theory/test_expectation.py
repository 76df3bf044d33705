"""The algebra of expectations and statement 3, against sums over small populations written out here."""

import random
from fractions import Fraction
from itertools import product

import pytest
import sympy

import theory
from theory.core.expectation import Law, Letter, Moment, Population, decide_moment, expect, letter
from theory.towers.covariance import DROPS
from theory.towers.moment_steps import SHAPES, moment_step, plain_pair, with_homogeneity

LAW = Law(means={"K": "Kbar", "f": "fbar"}, symmetric={"even": 1, "odd": -1})


@pytest.mark.parametrize("form", ["operator", "general"])
@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_statement_3_is_proved(convention, form):
    derivation = theory.derive("covariance-operator", convention=convention, form=form)
    assert derivation.proved
    assert isinstance(derivation.residual, sympy.ZeroMatrix)


@pytest.mark.parametrize("drop", DROPS)
@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_dropped_assumption_leaves_a_residual(convention, drop):
    derivation = theory.derive("covariance-operator", convention=convention, drop=drop)
    assert not derivation.proved
    assert derivation.decision.value is False
    assert not isinstance(derivation.residual, sympy.ZeroMatrix)
    assert DROPS[drop] not in derivation.assumptions


@pytest.mark.parametrize("drop", [d for d in DROPS if d != "homogeneity"])
def test_general_form_needs_the_sampling_assumptions_too(drop):
    assert theory.derive(3, form="general", drop=drop).decision.value is False


class Scalars:
    """A population with scalar K and f: points, augmentations and weights as plain lists."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.sizes = [rng.randint(1, 3) for _ in range(3)]
        self.weights = self._law(rng, 3)
        self.copies = [self._law(rng, n) for n in self.sizes]
        self.k = [[Fraction(rng.randint(-5, 5)) for _ in range(n)] for n in self.sizes]
        self.f = [[Fraction(rng.randint(-5, 5)) for _ in range(n)] for n in self.sizes]

    @staticmethod
    def _law(rng, count):
        raw = [rng.randint(1, 4) for _ in range(count)]
        return [Fraction(value, sum(raw)) for value in raw]

    def update(self, convention):
        """-E[grad L_simp] by five nested sums: x, x', x_1, x_+, x_-."""
        total = Fraction(0)
        for x, other in product(range(3), repeat=2):
            for a, b, c in product(range(self.sizes[x]), range(self.sizes[x]), range(self.sizes[other])):
                chance = self.weights[x] * self.weights[other]
                chance *= self.copies[x][a] * self.copies[x][b] * self.copies[other][c]
                k1, kp, km = self.k[x][a], self.k[x][b], self.k[other][c]
                f1, fp, fm = self.f[x][a], self.f[x][b], self.f[other][c]
                near, far = (k1 - kp, k1 - km) if convention == "shared" else (k1, k1)
                total += chance * (far * (f1 - fm) - near * (f1 - fp))
        return total

    def covariance(self, averaged=True):
        """Cov_x of the means over augmentations, or of the augmented values themselves."""
        first = second = both = Fraction(0)
        for x in range(3):
            rows = list(zip(self.copies[x], self.k[x], self.f[x], strict=True))
            k, f = sum(w * a for w, a, _ in rows), sum(w * b for w, _, b in rows)
            first, second = first + self.weights[x] * k, second + self.weights[x] * f
            both += self.weights[x] * (k * f if averaged else sum(w * a * b for w, a, b in rows))
        return both - first * second


@pytest.mark.parametrize("seed", range(10))
def test_general_form_on_a_written_out_population(seed):
    population = Scalars(seed)
    assert population.update("shared") == 2 * population.covariance(), f"seed {seed}"
    assert population.update("one-branch") == population.covariance(), f"seed {seed}"


def _claim(factor=1, mean="Kbar", out="fbar", centre=True):
    plain = letter(mean, "x") * letter(out, "x")
    centred = plain - letter("Kbar", "x") * letter("fbar", "y")
    return (centred if centre else plain).scaled(factor)


UPDATE = plain_pair(("x", "1"), ("x'", "1"), "shared") - plain_pair(("x", "1"), ("x", "2"), "shared")
FALSE = {
    "factor 2 missing": _claim(1),
    "factor doubled": _claim(4),
    "second moment for covariance": _claim(2, centre=False),
    "wrong sign": _claim(-2),
    "V[K] for V[Kbar]": (
        letter("K", "x", "1") * letter("f", "x", "1") - letter("Kbar", "x") * letter("fbar", "y")
    ).scaled(2),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_variant_of_statement_3_is_refuted(name):
    assert moment_step(UPDATE, FALSE[name], LAW, "").decision.value is False
    assert moment_step(with_homogeneity(UPDATE), with_homogeneity(FALSE[name]), LAW, "").decision.value is False


def test_order_of_factors_matters():
    """J J^T for J^T J in this algebra: K K^T against K^T K."""
    left = letter("Kbar", "x") * letter("Kbar", "x").transposed()
    right = letter("Kbar", "x").transposed() * letter("Kbar", "x")
    vector = Moment.of(Letter("w"))
    assert moment_step(left * vector, right * vector, LAW, "").decision.value is False


def _random_moment(rng):
    """A few random words over two points and two copies, scalar factors included."""
    total = Moment({})
    for _ in range(3):
        points = [rng.choice("xyz") for _ in range(3)]
        copies = [rng.choice("12") for _ in range(3)]
        word = letter("K", points[0], copies[0])
        if rng.random() < 0.5:
            word = word * letter("K", points[1], copies[1]).transposed()
        word = word * letter("f", points[2], copies[2])
        if rng.random() < 0.5:
            scalar = letter("f", points[1], copies[1]).transposed() * letter("f", points[0], copies[2])
            word = scalar.as_scalar() * word
        if rng.random() < 0.5:
            name = rng.choice(["even", "odd"])
            word = Moment.of(Letter(name, ((points[0], ""), (points[1], "")))).as_scalar() * word
        total = total + word.scaled(rng.choice([-2, -1, 1, 3]))
    return total


@pytest.mark.parametrize("dependent", [False, True])
@pytest.mark.parametrize("seed", range(15))
def test_normal_form_keeps_the_expectation(seed, dependent):
    """Enumeration of points and copies before and after the rules: the same exact matrix.

    With dependence switched on the copies 1 and 2, and the points x and y, coincide in the enumeration.
    """
    rng = random.Random(seed)
    law = LAW
    if dependent:
        pair = frozenset({"1", "2"})
        law = Law(LAW.means, LAW.symmetric, dependent_copies=pair, dependent_points=frozenset("xy"))
    moment = _random_moment(rng)
    normal = expect(moment, law)
    population = Population(law, SHAPES, seed)
    before, after = population.expectation(moment), population.expectation(normal)
    values = [[[0], [0]] if value is None else value.tolist() for value in (before, after)]
    assert values[0] == values[1], f"seed {seed}"


def test_names_of_points_and_copies_do_not_matter():
    one = letter("K", "x", "1") * letter("f", "y", "2")
    two = letter("K", "u", "7") * letter("f", "v", "7")
    assert expect(one, LAW) == expect(two, LAW)
    assert expect(letter("K", "x", "1") * letter("f", "x", "1"), LAW) != expect(one, LAW)


def test_zero_mean_and_antisymmetry_vanish():
    law = Law(means={"phi": None, "kappa": None}, symmetric={"odd": -1})
    assert not expect(letter("Kbar", "x") * letter("phi", "x", "1"), law).terms
    assert expect(letter("kappa", "x", "1") * letter("phi", "x", "1"), law).terms
    odd = Moment.of(Letter("odd", (("x", ""), ("y", "")))).as_scalar()
    gap = letter("Kbar", "x") - letter("Kbar", "y")
    out = letter("fbar", "x") - letter("fbar", "y")
    assert not expect(odd * gap * out, law).terms
    assert expect(odd * letter("Kbar", "x") * out, law).terms


def test_disagreement_is_not_a_proof():
    """An empty normal form that an instance contradicts abstains: a fault of the algebra cannot prove anything."""
    moment = letter("K", "x", "1") * letter("f", "x", "1")
    assert decide_moment(moment, Moment({}), LAW, SHAPES).value is None
