"""Assumptions of a user's own statement are dropped in turn, and what is found of each decides the exit code."""

import json
from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from warm import processed

from hltm.base.errors import InputError
from verify import Assumption, Context, JsonInstance, Without, user_statement
from verify.engine.assumptions import Sides, drop

FILE = """
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import JsonInstance, Without, user_statement

@dataclass(frozen=True)
class Number(JsonInstance):
    x: float

positive = st.builds(Number, st.integers(0, 400).map(lambda k: k / 8))
any_sign = st.builds(Number, st.integers(-400, 400).map(lambda k: k / 8))
root = user_statement(
    title="root of a square", claim="sqrt(x^2) = x", strategy=positive,
    theory=lambda i, at: at.array(i.x), numeric=lambda i, at: abs(at.array(i.x)),
    variants={"half": lambda i, at: at.array(i.x) / 2 + 1},
    drops={"x >= 0": Without("any sign", any_sign%s)},
)
"""


@dataclass(frozen=True)
class Number(JsonInstance):
    x: float


def numbers(low, high):
    return st.builds(Number, st.integers(low, high).map(float))


def call(*arguments, cwd):
    return processed("verify", *arguments, cwd=cwd)


def root(drops):
    return user_statement(
        title="root", claim="", strategy=numbers(0, 500), theory=lambda i, at: at.array(i.x),
        numeric=lambda i, at: abs(at.array(i.x)), exact=lambda i, at: abs(at.array(i.x)),
        variants={"next": lambda i, at: at.array(i.x) + 1}, drops=drops,
    )  # fmt: skip


def test_a_necessary_assumption_gives_the_smallest_counterexample():
    found = drop(root({"x >= 0": Without("any x", numbers(-500, 500))}).drops[0], Context(seed=3))
    assert (found.finding, found.status) == ("necessary", "holds")
    # |x| - x = 2 at x = -1, the instance nearest to 0 that breaks the statement.
    assert json.loads(found.sides.instance) == {"x": -1.0}
    assert (found.sides.quantity, found.sides.left, found.sides.right) == ("theory and exact", -1.0, 1.0)
    assert found.tried >= 1


def test_instances_on_which_the_statement_still_holds_are_counted():
    found = drop(root({"x < 500": Without("x to 1000", numbers(0, 1000), necessary=False)}).drops[0], Context(seed=0))
    assert (found.finding, found.status, found.tried) == ("not shown necessary", "holds", 60)


def test_a_counterexample_that_was_not_expected_refutes():
    found = drop(root({"x >= 0": Without("any x", numbers(-500, 500), necessary=False)}).drops[0], Context())
    assert (found.finding, found.status) == ("necessary", "refuted")


def test_a_counterexample_that_is_missing_leaves_it_open():
    """Nothing is refuted: the assumption may not be needed."""
    found = drop(root({"x < 500": Without("x to 1000", numbers(0, 1000))}).drops[0], Context())
    assert (found.finding, found.status) == ("not shown necessary", "abstained")


def test_assumptions_that_are_dropped_are_assumptions_of_the_statement():
    assert root({"x >= 0": Without("any x", numbers(-500, 500))}).assumptions == ("x >= 0",)


def test_assumptions_of_the_general_form_are_taken_as_they_are():
    given = Assumption("one", "two", lambda context: [Sides("x = 2", "x and 1", 2, 1)])
    assert drop(root([given]).drops[0], Context()).finding == "necessary"


@pytest.mark.parametrize(
    ("drops", "fragment"),
    [
        ({"x >= 0": numbers(-5, 5)}, "must be a Without"),
        ({"x >= 0": Without("any x", 7)}, "must be a Hypothesis strategy or a type"),
        (["x >= 0"], "must be a verify.Assumption"),
    ],
)
def test_what_is_no_way_of_dropping_is_named(drops, fragment):
    with pytest.raises(InputError, match=fragment):
        root(drops)


@pytest.mark.parametrize(("more", "code", "finding"), [("", 0, "necessary"), (", necessary=False", 1, "necessary")])
def test_the_command_prints_the_table_and_decides(more, code, finding, tmp_path):
    (tmp_path / "own.py").write_text(FILE % more)
    done = call("run", "own.py", "--assumptions", "--json", "-", cwd=tmp_path)
    assert done.returncode == code, done.stderr
    (row,) = json.loads(done.stdout)["assumptions"]
    assert (row["statement"], row["assumption"], row["finding"]) == ("root-of-a-square", "x >= 0", finding)
    assert json.loads(row["counterexample"]["instance"]) == {"x": -0.125}


def test_a_file_without_droppable_assumptions_leaves_it_open(tmp_path):
    (tmp_path / "own.py").write_text((FILE % "").replace('drops={"x >= 0": Without("any sign", any_sign)},', ""))
    done = call("run", "own.py", "--assumptions", cwd=tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "0 assumptions dropped: a statement of your own names them by drops=" in done.stdout
