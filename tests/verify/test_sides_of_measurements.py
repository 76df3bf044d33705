"""Shared measuring functions carry both sides: floats with bounds, rationals, balls, derived relations, the statements."""

import numpy as np
import pytest
from flint import arb, fmpq

from verify.engine.evidence import Measurement
from verify.instances.samples import toy_populations
from verify.registry import entry
from verify.tolerance import rounding
from verify.tolerance.running import Bounded
from verify.towers.tower import measure_differences
from verify.towers.values import MEASURES

LEFT, RIGHT = np.array([[1, 2], [3, 4]]), np.array([[1, 2], [6, 8]])
NUMBERS = {
    "rational": fmpq,
    "ball": lambda n: arb(int(n)),
    "float64": lambda n: Bounded(float(n), 1e-15),
}


@pytest.mark.parametrize("arithmetic", MEASURES)
def test_relations_carry_both_sides(arithmetic):
    number = np.frompyfunc(lambda n: NUMBERS[arithmetic](int(n)), 1, 1)
    left, right = number(LEFT), number(RIGHT)
    found = MEASURES[arithmetic]([(left - left, "one", left, left), (left - right, "two", left, right)])
    assert found.status == "refuted"
    # Whichever entry was met first: the entry with the largest difference is shown.
    assert found.apart.line == "left side 4.0000, right side 8.0000, ratio 2.000, two, entry (1, 1)"
    assert (found.apart.recognised, found.apart.refuted) == ("2", 2)
    bare = MEASURES[arithmetic]([(left - right, "two")])
    assert (bare.status, bare.apart) == ("refuted", None)
    assert bare == MEASURES[arithmetic]([(left - right, "two", left, right)])


def test_exact_differences_carry_both_sides():
    number = np.frompyfunc(lambda n: fmpq(int(n), 3), 1, 1)
    found = measure_differences([(number(LEFT) - number(RIGHT), "layer 2", number(LEFT), number(RIGHT))])
    assert found.apart.line == "theory 4/3, exact 8/3, ratio 2.000, layer 2, entry (1, 1)"
    assert measure_differences([(number(LEFT) - number(LEFT), "x", number(LEFT), number(LEFT))]).apart is None


def test_floats_carry_both_sides():
    left, right = LEFT / 8, RIGHT / 8
    start, bound = Measurement(0.0, 1e-12), np.array(1e-12)
    found = rounding.worse_of(start, left, right, bound, "layer 1")
    assert found == rounding.worse(start, np.abs(left - right), bound, "layer 1")
    assert found.apart.line == "theory 0.5000, numeric 1.0000, ratio 2.000, layer 1, entry (1, 1)"
    assert rounding.worse_of(start, left, left, bound, "layer 1").apart is None
    # What is not as bad as before stays as it was.
    assert rounding.worse_of(found, left, left, bound, "layer 2") is found
    sides = ([LEFT.astype(float)], [RIGHT.astype(float)])
    assert rounding.measure_precisions(sides, sides, "layer").apart.place == "layer 1, entry (1, 1)"


@pytest.mark.parametrize("kind", ["exact", "float"])
def test_a_mutant_of_a_statement_shows_its_ratio(kind):
    statement = entry("3").load()
    (instance,) = toy_populations(0, 1, points=2, layers=1, width=2)
    apart = statement.measures[kind](instance, statement.variant("factor-two-missing").claim).apart
    assert apart.recognised.split(" or ")[0] == "2"
    assert apart.roles == ("theory", "numeric" if kind == "float" else "exact")
    assert apart.array.startswith("layer 1")
