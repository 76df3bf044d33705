"""Statements of a user's own: the tutorial, the command, replay, and everything that can be wrong with a file."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import pytest
from warm import processed

from hltm.base.errors import InputError
from verify import Arithmetic, Context, JsonInstance, PopulationInstance, Variant, tally, user_statement
from verify.engine.runner import run
from verify.instances.samples import toy_populations
from verify.own.files import load_statements
from verify.own.sides import UserSides, arrays

DOCS = Path(__file__).parent.parent.parent / "docs"
TUTORIAL = DOCS / "examples" / "infonce_trace.py"

SQUARES = """
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import JsonInstance, user_statement

@dataclass(frozen=True)
class Numbers(JsonInstance):
    a: float
    b: float

whole = st.integers(-50, 50).map(float)

def square(i, at):
    return (at.array(i.a) + at.array(i.b)) ** 2

S = user_statement(
    title="the square of a sum", claim="(a+b)^2 = a^2 + 2ab + b^2", slug="square",
    theory=lambda i, at: at.array(i.a) ** 2 + FACTOR * at.array(i.a) * at.array(i.b) + at.array(i.b) ** 2,
    numeric=square, exact=square, strategy=st.builds(Numbers, whole, whole),
    variants={"no-cross-term": lambda i, at: at.array(i.a) ** 2 + at.array(i.b) ** 2},
)
"""


def call(*arguments, cwd):
    return processed("verify", *arguments, cwd=cwd)


def fails(result, *fragments):
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1, result.stderr
    for fragment in ("error: ", *fragments):
        assert fragment in result.stderr


@pytest.fixture
def write(tmp_path):
    def written(text, name="mine.py"):
        (tmp_path / name).write_text(text)
        return name

    return written


def test_the_tutorial_runs(tmp_path):
    result = call("run", TUTORIAL, "--json", "-", "--report", "out", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    (statement,) = document["statements"]
    assert (statement["slug"], statement["theorem"], statement["verdict"]) == ("infonce-trace", None, "holds")
    status = {row["kind"]: row["status"] for row in statement["evidence"]}
    assert {status[kind] for kind in ("symbolic", "float", "property", "variants")} == {"holds"}
    saved = json.loads((tmp_path / "out" / "report.json").read_text())
    assert {key: value for key, value in saved.items() if key != "report"} == document


def test_the_tutorial_shows_its_file():
    text = (DOCS / "your_own_statement.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "\n\n".join(block.strip("\n") for block in blocks).split() == TUTORIAL.read_text().split()
    shown = "".join(line for block in blocks for line in block.splitlines() if line.strip())
    assert shown == "".join(line for line in TUTORIAL.read_text().splitlines() if line.strip())


@pytest.mark.parametrize("loss", ["infonce", "triplet", "simple"])
def test_the_tutorial_holds_for_each_loss_and_its_variants_fall(loss):
    (entry,) = load_statements(TUTORIAL)
    statement = entry.load()
    instances = list(toy_populations(3, 20, (loss,)))
    found = tally("float", "toy", instances, lambda i: statement.measures["float"](i, None), at_least=20)
    assert found.status == "holds", found
    assert found.worst_residual < 1e-12
    for variant in statement.variants:
        refuted = [statement.measures["float"](i, variant.claim).status == "refuted" for i in instances]
        # For the simple loss the weights are constant: holding them fixed and all ones changes nothing.
        assert any(refuted) == (loss != "simple" or variant.name == "half-missing"), variant.name


def test_variants_are_saved_and_replayed_only_with_the_file(tmp_path):
    shutil.copy(TUTORIAL, tmp_path / "mine.py")
    result = call("run", "mine.py", "--variants", "--json", "v.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "v.json").read_text())["variants"]
    assert {row["variant"] for row in rows} == {"weights-not-held", "half-missing", "unweighted"}
    for row in rows:
        assert row["refuted_by"] == ["float"]
        again = call("replay", row["counterexample"], "--statements", "mine.py", cwd=tmp_path)
        assert again.returncode == 1, again.stderr
        assert "refuted" in again.stdout
    fails(call("replay", rows[0]["counterexample"], cwd=tmp_path), "infonce-trace", "--statements")


def test_a_false_statement_is_refuted_shrunk_saved_and_replayed(write, tmp_path):
    name = write(SQUARES.replace("FACTOR", "3"))
    result = call("run", name, "--report", "out", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    saved = tmp_path / "out" / "counterexamples" / "square--property-search.json"
    assert json.loads(saved.read_text())["instance"] == {"a": 1.0, "b": 1.0}
    assert call("replay", saved, "--statements", name, cwd=tmp_path).returncode == 1
    write(SQUARES.replace("FACTOR", "2"), "right.py")
    assert call("replay", saved, "--statements", "right.py", cwd=tmp_path).returncode == 0


def test_the_same_evidence_as_our_own_statements(write, tmp_path):
    (entry,) = load_statements(tmp_path / write(SQUARES.replace("FACTOR", "2")))
    (result,) = run([entry], Context())
    status = {row.kind: row.status for row in result.evidence}
    assert result.verdict == "holds"
    assert [status[kind] for kind in ("exact", "float", "property", "variants")] == ["holds"] * 4


def test_without_variants_the_verdict_is_open(write, tmp_path):
    name = write(re.sub(r"variants=\{.*\}", "variants={}", SQUARES.replace("FACTOR", "2")))
    assert call("run", name, "--quiet", cwd=tmp_path).returncode == 3


RIGHT = SQUARES.replace("FACTOR", "2")
BAD_FILES = {
    "missing": (None, ["absent.py", "does not exist"]),
    "no Python": ("1 +", ["line 1", "is no Python"]),
    "null bytes": ("a\0b", ["is no Python"]),
    "raises": ("x = 1\nraise KeyError('gone')", ["line 2", "KeyError"]),
    "leaves": ("import sys\nsys.exit(0)", ["line 2", "SystemExit"]),
    "empty": ("", ["defines no statement"]),
    "two of one slug": (RIGHT + "from dataclasses import replace\nT = replace(S, title='t')\n", ["'square'", "twice"]),
    "a slug of ours": (RIGHT.replace('slug="square"', 'slug="dual-gradient"'), ["dual-gradient", "toolkit's own"]),
    "a number of ours": (RIGHT.replace('slug="square"', 'slug="theorem3"'), ["theorem3", "toolkit's own"]),
    "a slug that is a path": (RIGHT.replace('slug="square"', 'slug="../x"'), ["slug='../x'", "line"]),
    "no strategy": (RIGHT.replace("strategy=st.builds(Numbers, whole, whole)", "strategy=3"), ["strategy=3"]),
    "instances that cannot be saved": (RIGHT.replace("(JsonInstance)", ""), ["must have as_json", "Numbers"]),
    "no function": (RIGHT.replace("numeric=square", "numeric=4"), ["numeric", "function"]),
    "a variant that is none": (RIGHT.replace("no-cross-term", "No Cross"), ["No Cross"]),
    "a side that raises": (
        RIGHT.replace("return (at", "return 1 / 0 if i.a > 3 else (at"),
        ["'square'", "side at instance", "ZeroDivisionError", '"a": '],
    ),
    "a side that leaves": (
        RIGHT.replace("return (at", "raise SystemExit(0)\n    return (at"), ["side at instance", "SystemExit: 0"],
    ),
    "a strategy that leaves": (
        RIGHT.replace("whole = st.integers(-50, 50).map(float)", "whole = st.integers(-50, 50).map(lambda n: 1.0 if abs(n) < 40 else exit(0))"),
        ["line 11", "SystemExit: 0"],
    ),
    "a side that prints and raises": (
        RIGHT.replace("return (at", "raise ValueError('first\\n\\nsecond')\n    return (at"), ["first second"],
    ),
    "other shapes": (RIGHT.replace("return (at", "return [1, 2]\n    return (at"), ["(2,)", "must be the same"]),
    "a float for a rational": (RIGHT.replace("return (at", "return 0.5\n    return (at"), ["must be rational"]),
    "a strategy that raises": (
        RIGHT.replace("whole = st.integers(-50, 50).map(float)", "whole = st.integers(-50, 50).map(lambda n: 1.0 if abs(n) < 40 else {}[n])"),
        ["line 11", "KeyError"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_FILES)
def test_what_can_be_wrong_with_a_file_is_one_line(bad, write, tmp_path, in_process):
    text, fragments = BAD_FILES[bad]
    name = "absent.py" if text is None else write(text)
    fails(in_process("verify", "run", name, "--report", "out", "--device", "cpu"), *fragments)
    assert not list(tmp_path.rglob("*.json"))
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="no regular file"):
        load_statements(tmp_path)


def test_what_a_file_prints_does_not_spoil_the_document(write, tmp_path):
    name = write("print('hello')\n" + RIGHT.replace("return (at", "print('side')\n    return (at"))
    result = call("run", name, "--json", "-", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["statements"][0]["verdict"] == "holds"


@pytest.mark.parametrize(
    ("data", "fragment"),
    [
        ({"a": 1.0}, "'b'"),
        ({"a": 1.0, "b": "x"}, "b='x'"),
        ({"a": True, "b": 1}, "a=True"),
        ({"a": 1, "b": 2, "c": 3}, "'c'"),
        ([], "must be an object"),
        ({"a": 10**400, "b": 1}, "beyond float64"),
    ],
)
def test_replay_of_wrong_data(data, fragment, write, tmp_path):
    (entry,) = load_statements(tmp_path / write(RIGHT))
    with pytest.raises(InputError, match=re.escape(fragment)):
        entry.load().instance_type.from_json(data)


def sides(theory, numeric, tolerance=None):
    return UserSides("s", theory, numeric, None, tolerance)


INSTANCE = next(toy_populations(0, 1))


@dataclass(frozen=True)
class Nested(JsonInstance):
    parts: tuple[tuple[float, ...], ...]
    limit: float | None
    name: str
    flag: bool

    def __post_init__(self):
        if not self.name:
            raise ValueError("name must not be empty")


def test_the_tolerance_is_measured():
    """Rounding is explained, a relative error of 1e-9 is not, under cancellation either."""

    def long_way(i, at, error=0.0):
        x = at.array([1e4 + 0.1, 3.3])
        return (x * x - at.array([1e8, 0.0])) * (1 + error)

    def short_way(i, at):
        x = at.array([1e4 + 0.1, 3.3])
        return (x - at.array([1e4, 0.0])) * (x + at.array([1e4, 0.0]))

    assert sides(long_way, short_way).measure_float(INSTANCE).status == "holds"
    assert sides(lambda i, at: long_way(i, at, 1e-5), short_way).measure_float(INSTANCE).status == "refuted"
    assert sides(lambda i, at: 1.0, lambda i, at: 1.1, 0.2).measure_float(INSTANCE).status == "holds"
    assert sides(lambda i, at: 1.0, lambda i, at: 1.1, lambda i: 0.05).measure_float(INSTANCE).status == "refuted"
    with pytest.raises(InputError, match="tolerance=-1"):
        sides(lambda i, at: 1.0, lambda i, at: 1.1, -1).measure_float(INSTANCE)


def test_what_says_nothing_decides_nothing():
    assert not sides(lambda i, at: None, lambda i, at: 1.0).measure_float(INSTANCE).decided
    assert not sides(lambda i, at: float("nan"), lambda i, at: float("inf")).measure_float(INSTANCE).decided
    assert sides(lambda i, at: float("nan"), lambda i, at: 1.0).measure_float(INSTANCE).status == "refuted"
    with pytest.raises(InputError, match="empty"):
        sides(lambda i, at: [], lambda i, at: []).measure_float(INSTANCE)


def test_arrays_of_every_form():
    import torch

    assert arrays(None, False) is None
    assert list(arrays({"a": 1.0, "b": torch.ones(2)}, False)) == ["a", "b"]
    assert arrays([1.0, 2.0], False)[""].shape == (2,)
    assert [a.shape for a in arrays([[1.0], [[2.0]]], False).values()] == [(1,), (1, 1)]
    assert arrays([Fraction(1, 3), 2], True)[""].tolist()[0] * 3 == 1
    with pytest.raises(InputError, match="real numbers"):
        arrays(1j, False)


def test_exact_arithmetic_has_no_torch():
    with pytest.raises(InputError, match="exact"):
        Arithmetic("exact").tensor([1.0])


def test_a_type_serves_as_strategy_and_variants_name_their_kinds():
    common = {"title": "t", "claim": "c", "theory": lambda i, at: 1.0, "numeric": lambda i, at: 1.0}
    found = user_statement(**common, strategy=PopulationInstance, variants=[Variant("v", "v", len, ("float",))])
    assert found.instance_type is PopulationInstance
    with pytest.raises(InputError, match="caught_by"):
        user_statement(**common, strategy=PopulationInstance, variants=[Variant("v", "v", len)])
    with pytest.raises(InputError, match="as_json"):
        user_statement(**common, strategy=int, variants={})


def test_symbolic_claims():
    import sympy

    from verify.own.symbolic import UserClaims

    x = sympy.Symbol("x")
    equal = sympy.Eq((x + 1) ** 2, x**2 + 2 * x + 1, evaluate=False)
    assert UserClaims("s", lambda: [equal, True]).evidence(Context()).status == "holds"
    assert (
        UserClaims("s", lambda: {"wrong": sympy.Eq(x, x + 1, evaluate=False)}).evidence(Context()).status == "refuted"
    )
    assert UserClaims("s", list).evidence(Context()).status == "abstained"
    with pytest.raises(InputError, match="must be an equation"):
        UserClaims("s", lambda: x).evidence(Context())
    with pytest.raises(InputError, match="ZeroDivisionError"):
        UserClaims("s", lambda: 1 // 0).evidence(Context())


def test_importing_verify_registers_nothing(tmp_path):
    code = (
        "import sys, verify; verify.Statement, verify.Measurement\n"
        "assert not {'torch', 'sympy', 'hypothesis', 'verify.strategies'} & set(sys.modules)\n"
        "assert {'user_statement', 'strategies', 'JsonInstance'} <= set(dir(verify))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_json_instances_read_what_they_wrote():
    instance = Nested(((1, 2.0), ()), None, "x", True)
    assert Nested.from_json(json.loads(json.dumps(instance.as_json()))) == instance
    with pytest.raises(InputError, match="flag=1"):
        Nested.from_json({**instance.as_json(), "flag": 1})
    with pytest.raises(InputError, match="name must not be empty"):
        Nested.from_json({**instance.as_json(), "name": ""})


@pytest.mark.parametrize("numeric", ["lambda i, at: None", "lambda i, at: at.array(i.a) * float('nan')"])
def test_where_nothing_can_be_decided_the_verdict_is_open(numeric, write, tmp_path):
    """Variants that no instance could decide have not survived; one that is NaN everywhere is no false statement."""
    text = SQUARES.replace("FACTOR", "2").replace("numeric=square, exact=square,", f"numeric={numeric},")
    if "nan" in numeric:
        text = text.replace("theory=lambda i, at: ", "theory=lambda i, at: float('nan') * ")
        text = text.replace('"no-cross-term": lambda i, at: ', '"no-cross-term": lambda i, at: float("nan") * ')
    name = write(text)
    for options in ((), ("--variants",)):
        done = call("run", name, *options, cwd=tmp_path)
        assert done.returncode == (2 if "nan" in numeric else 3), done.stdout + done.stderr
        assert ("is NaN on all" in done.stderr) == ("nan" in numeric)
