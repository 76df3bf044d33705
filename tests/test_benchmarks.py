"""`make bench` cannot pass where a side is wrong, a bar is missed or a command did not do what it is timed for."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

FOLDER = Path(__file__).parent / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """Import a module of the folder, which is no package; its name may be another's elsewhere, so it is taken back."""
    names = [path.stem for path in FOLDER.glob("*.py")]
    assert names
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def commands(benchmark, monkeypatch):
    """The benchmark of commands, where each of them takes two seconds and prints what is given."""
    module = benchmark("commands")

    def printing(text, code=0):
        done = subprocess.CompletedProcess([], code, stdout=text, stderr="")
        monkeypatch.setattr(module, "seconds", lambda *arguments, cwd: (2.0, done))
        return module

    return printing


def verdicts(*words):
    return json.dumps({"statements": [{"verdict": word} for word in words]})


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (verdicts("holds", "holds"), 0), (verdicts("holds", "refuted", "abstained"), 2), (verdicts(), 1), ("", 1),
    ],
    ids=["hold", "one refuted, one open", "no statement", "no document"],
)  # fmt: skip
def test_a_run_counts_where_all_statements_hold(commands, text, wrong, tmp_path):
    module = commands(text)
    assert module.verdicts(text) == wrong
    (tmp_path / "report1").mkdir()
    assert [one.agrees for one in module.verifying(tmp_path)] == [wrong == 0] * 4


@pytest.mark.parametrize(("code", "agrees"), [(0, True), (1, False)])
def test_a_start_counts_where_the_command_succeeds(commands, code, agrees, tmp_path):
    assert [one.agrees for one in commands("", code).starts(tmp_path)] == [agrees] * 2


@pytest.mark.parametrize(
    ("variants", "agrees"),
    [([["exact"]] * 60, True), ([["exact"]] * 59, False), ([["exact"]] * 60 + [[]], False), ([], False)],
    ids=["sixty", "too few", "a survivor", "none"],
)
def test_variants_count_where_all_are_refuted(commands, variants, agrees, tmp_path):
    text = json.dumps({"variants": [{"refuted_by": kinds} for kinds in variants]})
    assert [one.agrees for one in commands(text).refuting(tmp_path)] == [agrees]


def test_no_document_is_no_variant(commands, tmp_path):
    assert not commands("").refuting(tmp_path)[0].agrees


@pytest.mark.parametrize(
    ("change", "code", "word"),
    [
        ({}, 0, "met"), ({"residual": 2.0}, 1, "DISAGREES"), ({"residual": float("nan")}, 1, "DISAGREES"),
        ({"ratio": 0.7}, 1, "MISSED"), ({"bar": None, "ratio": 0.7}, 0, "information"),
        ({"at_most": True}, 1, "MISSED"), ({"at_most": True, "ratio": 0.7}, 0, "met"),
    ],
)  # fmt: skip
def test_the_exit_code(benchmark, monkeypatch, capsys, tmp_path, change, code, word):
    runner, measure = benchmark("run"), benchmark("measure")
    one = measure.Result(
        **({"name": "toy", "residual": 0.0, "tolerance": 1.0, "ratio": 2.0, "unit": "x", "bar": 0.8} | change)
    )
    monkeypatch.setattr(runner.importlib, "import_module", lambda name: SimpleNamespace(run=lambda: [one]))
    path = tmp_path / "results" / "here.json"
    assert runner.main(["--only", "trees", "--json", str(path)]) == code
    assert word in capsys.readouterr().out
    (row,) = json.loads(path.read_text())["benchmarks"]
    assert (row["agrees"], row["met"]) == (word != "DISAGREES", word != "MISSED")


def test_one_benchmark_leaves_what_else_was_measured(benchmark, monkeypatch, tmp_path):
    runner, measure = benchmark("run"), benchmark("measure")
    path = tmp_path / "here.json"
    for name, ratio in (("one", 2.0), ("other", 3.0), ("one", 4.0)):
        row = measure.Result(name, 0.0, 1.0, ratio, "x", 0.8)
        monkeypatch.setattr(runner.importlib, "import_module", lambda _, row=row: SimpleNamespace(run=lambda: [row]))
        assert runner.main(["--only", "trees", "--json", str(path)]) == 0
    rows = json.loads(path.read_text())["benchmarks"]
    assert [(row["name"], row["ratio"]) for row in rows] == [("one", 4.0), ("other", 3.0)]
