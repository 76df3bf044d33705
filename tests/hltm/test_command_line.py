"""`python -m hltm`: what it makes and says, and how it ends."""

import os
import subprocess
import sys
from fractions import Fraction

import networkx as nx
import pytest

import hltm
from hltm.base.command import guarded
from hltm.cli import app


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run a command in an empty folder; return exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr("sys.argv", ["hltm", *map(str, words)])
        code = guarded(app, "python -m hltm")
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def refused(result, *parts):
    code, out, err = result
    assert code == 2
    assert out == ""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err


MADE = {
    "complete": (["complete"], lambda: hltm.complete_tree(2, 2, 0.8)),
    "complete-options": (
        ["complete", "--depth", 3, "--branching", 1, "--polarity", "-0.5", "--root-polarity", "0.25"],
        lambda: hltm.complete_tree(3, 1, -0.5, 0.25),
    ),
    "range": (["complete", "--polarity", "-1:0.5", "--seed", 7], lambda: hltm.complete_tree(2, 2, (-1, 0.5), seed=7)),
    "exact": (
        ["star", "--leaves", 3, "--polarity", "1/3", "--root-polarity=-2/7"],
        lambda: hltm.star_tree(3, Fraction(1, 3), Fraction(-2, 7)),
    ),
    "caterpillar": (["caterpillar", "--leaves", 5], lambda: hltm.caterpillar_tree(5, 0.8)),
    "random": (["random", "--leaves", 6, "--seed", 4], lambda: hltm.random_tree(6, seed=4)),
    "symmetric": (["random", "--symmetric"], lambda: hltm.random_tree(8, seed=0, symmetric=True)),
    "categorical": (["random", "--cardinality", "2:5"], lambda: hltm.random_tree(8, seed=0, cardinality=(2, 5))),
    "ternary": (["random", "--cardinality", "3"], lambda: hltm.random_tree(8, seed=0, cardinality=3)),
}


@pytest.mark.parametrize("suffix", ["json", "graphml", "bif"])
@pytest.mark.parametrize("case", MADE)
def test_make(call, case, suffix):
    (shape, *options), build = MADE[case]
    file = f"tree.{suffix}"
    code, out, err = call("make", shape, file, *options)
    assert (code, err) == (0, "")
    assert out == f"{file}: {build()!r}\n"
    assert hltm.load(file) == build()


BAD_MAKE = {
    "no-shape": ([], "Missing command; there are complete, star, caterpillar, random"),
    "other-shape": (["compleet", "t.json"], "No such command 'compleet'"),
    "no-file": (["complete"], "Missing argument 'FILE'; see python -m hltm make complete --help"),
    "suffix": (["complete", "t.txt"], "the suffix must be one of .json, .graphml, .bif"),
    "folder": (["complete", "nowhere/t.json"], "cannot be written: No such file"),
    "depth": (["complete", "t.json", "--depth", "0"], "depth=0: must be at least 1"),
    "depth-text": (["complete", "t.json", "--depth", "two"], "valid integer"),
    "huge": (["complete", "t.json", "--depth", "999999999", "--branching", "9"], "must give at most 1,048,576 nodes"),
    "leaves": (["star", "t.json", "--leaves", "0"], "leaves=0: must be at least 1"),
    "polarity": (["star", "t.json", "--polarity", "1.3"], "polarity=1.3: must lie in [-1, 1]"),
    "polarity-text": (["star", "t.json", "--polarity", "much"], "polarity='much': must be a number"),
    "polarity-nan": (["star", "t.json", "--polarity", "nan"], "polarity=nan: must be finite"),
    "polarity-formula": (["star", "t.json", "--polarity", "2**-1"], "polarity='2**-1': must be a number"),
    "range-order": (["star", "t.json", "--polarity", "0.5:0.1"], "low must not be above high"),
    "range-parts": (["star", "t.json", "--polarity", "0:1:2"], "a range must be LOW:HIGH"),
    "range-outside": (["star", "t.json", "--polarity=-2:1"], "must lie in [-1, 1]"),
    "root": (["star", "t.json", "--root-polarity", "1/0"], "root_polarity='1/0': must be a number"),
    "seed": (["star", "t.json", "--seed", "-1"], "'--seed'"),
    "cardinality": (["random", "t.json", "--cardinality", "1"], "cardinality=1: must be at least 2"),
    "cardinality-half": (["random", "t.json", "--cardinality", "2.5"], "cardinality='2.5': must be an integer"),
    "symmetric": (["random", "t.json", "--symmetric", "--cardinality", "3"], "of a symmetric tree: must be 2"),
    "option": (["star", "t.json", "--leafs", "3"], "No such option"),
}


@pytest.mark.parametrize("case", BAD_MAKE)
def test_bad_make(call, case, tmp_path):
    words, message = BAD_MAKE[case]
    refused(call("make", *words), message)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [[], ["mak"], ["show"], ["show", "missing.json"], ["convert", "missing.json"]])
def test_bad_usage(call, words):
    refused(call(*words))


def test_convert_goes_through_all_formats(call):
    tree = hltm.random_tree(9, seed=2, cardinality=(2, 4))
    hltm.save(tree, "a.json")
    for source, target in (("a.json", "b.graphml"), ("b.graphml", "c.bif"), ("c.bif", "d.json")):
        assert call("convert", source, target) == (0, "", "")
    assert hltm.load("d.json") == tree
    refused(call("convert", "a.json", "e.yaml"), "the suffix must be one of")
    refused(call("convert", "a.json", "nowhere/e.bif"), "cannot be written")


def test_show_lists_levels_nodes_polarities_and_prior(call):
    hltm.save(hltm.complete_tree(2, 2, Fraction(1, 3), root_polarity=0.5), "t.json")
    code, out, err = call("show", "t.json")
    assert (code, err) == (0, "")
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert "symmetric binary tree: 7 nodes, 4 leaves, depth 2" in out
    assert "root 0: prior 0.25, 0.75, polarity 0.5" in out
    assert lines[0] == ["0", "", "0", "2", "2", "", "1"]
    assert lines[1] == ["1", "0", "1", "2", "2", "1/3", "0.333333"]
    assert lines[6] == ["6", "2", "2", "2", "leaf", "1/3", "0.111111"]


def test_show_of_a_large_tree_lists_levels(call):
    hltm.save(hltm.complete_tree(8, 2, (-0.5, 0.5), seed=1), "t.json")
    code, out, _ = call("show", "t.json")
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert code == 0
    assert lines[0] == ["0", "1", "0", "2", "2", ""]
    assert lines[8][:5] == ["8", "256", "256", "2", ""]
    low, high = map(float, lines[8][5].split(" ... "))
    assert -0.5 <= low < -0.4 < 0.4 < high <= 0.5


def test_show_of_a_long_path_and_of_a_categorical_tree(call):
    hltm.save(hltm.complete_tree(1000, 1, 0.5), "path.bif")
    code, out, _ = call("show", "path.bif")
    assert code == 0
    assert len(out.splitlines()) < 150
    assert "1000" in out
    hltm.save(hltm.random_tree(5, seed=1, cardinality=3), "t.json")
    code, out, _ = call("show", "t.json")
    assert code == 0
    assert "3 x 3 table" in out


def test_show_one_node(call):
    hltm.save(hltm.complete_tree(2, 2, 0.5), "t.json")
    code, out, _ = call("show", "t.json", "--node", "3")
    assert code == 0
    assert "given state 0 of 1: 0.75, 0.25" in out
    assert "polarity: 0.5, from the root 0.25" in out
    assert "the root" in call("show", "t.json", "--node", "0")[1]
    refused(call("show", "t.json", "--node", "33"), "node '33': not a node of the tree; did you mean 3?")


def named(*names):
    graph = nx.DiGraph()
    graph.add_node("root", prior=[0.5, 0.5])
    graph.add_edges_from([("root", name) for name in names], polarity=0.5)
    return hltm.HLTM(graph)


def test_nodes_are_found_by_their_text():
    tree = named("7", 7, (0, "a"), "leaf", "[1]")
    for text, node in (("7", "7"), ('[0, "a"]', (0, "a")), ("leaf", "leaf"), ("[1]", "[1]"), ('"leaf"', "leaf")):
        assert hltm.find_node(tree, text) == node
    assert hltm.find_node(named(7), "7") == 7
    for text in ("lef", "true", "null", "[[", "[[1]]", "{}", "[" * 100_000, "9" * 5000, "1.0", "NaN"):
        with pytest.raises(hltm.InputError, match="not a node of the tree"):
            hltm.find_node(tree, text)
    with pytest.raises(hltm.InputError, match="did you mean 'leaf'"):
        hltm.find_node(tree, "lef")


def test_names_cannot_command_the_terminal(call):
    hltm.save(named("\x1b[2J", "[bold]", "a\nb"), "t.json")
    code, out, _ = call("show", "t.json")
    assert code == 0
    assert "\x1b" not in out
    assert "[bold]" in out


def test_draw(call, tmp_path):
    hltm.save(hltm.complete_tree(3, 2, 0.5), "t.bif")
    for suffix, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("pdf", b"%PDF")):
        assert call("draw", "t.bif", f"t.{suffix}") == (0, "", "")
        assert (tmp_path / f"t.{suffix}").read_bytes().startswith(start)
    refused(call("draw", "t.bif", "t.jpg"), "the suffix of a drawing must be one of .png, .svg, .pdf")
    refused(call("draw", "t.bif", "nowhere/t.png"), "cannot be written")
    assert {file.suffix for file in tmp_path.iterdir()} == {".bif", ".png", ".svg", ".pdf"}


def process(*words, **options):
    command = [sys.executable, "-m", "hltm", *map(str, words)]
    return subprocess.run(command, capture_output=True, timeout=120, **options)


def test_help_is_quick_and_loads_nothing_heavy():
    code = "import sys; import hltm.cli; sys.exit(bool({'matplotlib', 'torch', 'sympy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    result = process("--help")
    assert result.returncode == 0
    for command in (b"make", b"show", b"convert", b"draw"):
        assert command in result.stdout
    assert process("make", "--help").returncode == 0


def test_the_module_runs_and_ends_with_the_exit_code(tmp_path):
    result = process("show", tmp_path / "missing.json")
    assert result.returncode == 2
    assert result.stdout == b""
    assert result.stderr.count(b"\n") == 1


def test_a_narrow_terminal_encoding_is_no_error(tmp_path):
    hltm.save(named("größe", "木"), tmp_path / "t.json")
    result = process("show", tmp_path / "t.json", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert result.returncode == 0, result.stderr
    assert b"gr\\xf6\\xdfe" in result.stdout


def test_a_closed_pipe_and_a_full_disk(tmp_path):
    hltm.save(hltm.random_tree(60, seed=0), tmp_path / "t.json")
    command = [sys.executable, "-m", "hltm", "show", str(tmp_path / "t.json")]
    reader = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    reader.stdout.close()
    assert reader.wait(60) == 141
    assert reader.stderr.read() == b""
    reader.stderr.close()
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60)
    assert result.returncode == 2
    assert result.stderr == b"error: output: cannot be written: No space left on device\n"


def test_an_interruption_leaves_nothing_behind(call, tmp_path, monkeypatch):
    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("pathlib.Path.replace", interrupted)
    for words in (["make", "star", "t.json"], ["make", "random", "t.bif"]):
        assert call(*words) == (130, "", "interrupted\n")
    assert not list(tmp_path.iterdir())
