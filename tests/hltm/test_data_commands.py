"""`python -m hltm query|sample|fit`, run in this process."""

import csv
import json

import networkx as nx
import numpy as np
import pytest

import hltm
from hltm.base.command import guarded
from hltm.cli import app

RAIN = {
    "nodes": [
        {"id": "cloudy", "prior": ["1/2", "1/2"], "states": ["no", "yes"]},
        {"id": "rain=now", "states": ["no", "yes"]},
        {"id": "wet", "states": ["dry", "damp", "wet"]},
        {"id": 7},
    ],
    "edges": [
        {"source": "cloudy", "target": "rain=now", "transition": [["4/5", "1/5"], ["1/5", "4/5"]]},
        {"source": "rain=now", "target": "wet", "transition": [["9/10", "1/10", 0], ["1/10", "1/5", "7/10"]]},
        {"source": "cloudy", "target": 7, "polarity": "-2/5"},
    ],
}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rain.json").write_text(json.dumps(RAIN))

    def command(*words):
        monkeypatch.setattr("sys.argv", ["hltm", *map(str, words)])
        code = guarded(app, "python -m hltm")
        return code, *capsys.readouterr()

    return command


def test_exact_laws_with_names(run):
    code, out, _ = run(
        "query",
        "rain.json",
        "--node",
        "cloudy",
        "--node",
        "wet",
        "--evidence",
        "rain=now=yes",
        "--exact",
        "--json",
        "-",
    )
    assert code == 0
    assert json.loads(out) == {
        "schema": 1, "tree": "rain.json", "exact": True, "evidence": [{"node": "rain=now", "state": "yes"}],
        "laws": [
            {"node": "cloudy", "states": ["no", "yes"], "probabilities": ["1/5", "4/5"]},
            {"node": "wet", "states": ["dry", "damp", "wet"], "probabilities": ["1/10", "1/5", "7/10"]},
        ],
    }  # fmt: skip


def test_laws_in_a_table_and_in_a_file(run, tmp_path):
    code, out, _ = run("query", "rain.json", "--evidence", "wet=wet", "--evidence", "7=0", "--json", "laws.json")
    assert code == 0
    assert "laws given wet=wet, 7=0" in out
    laws = {row["node"]: row["probabilities"] for row in json.loads((tmp_path / "laws.json").read_text())["laws"]}
    assert laws["rain=now"] == [0, 1]
    assert laws["cloudy"] == pytest.approx([0.3 * 0.2 / (0.3 * 0.2 + 0.7 * 0.8), 0.56 / 0.62])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--evidence", "rain=now=no", "--evidence", "wet=wet"], "must not have probability zero"),
        (["--evidence", "rain=now=no", "--evidence", "wet=wet", "--exact"], "must not have probability zero"),
        (["--evidence", "wet=wett"], "state 'wett' of node 'wet'"),
        (["--evidence", "wett=wet"], "node 'wett': not a node of the tree; did you mean 'wet'?"),
        (["--evidence", "wet"], "--evidence='wet': must be NODE=STATE"),
        (["--evidence", "wet=0", "--evidence", "wet=1"], "node 'wet' is given twice"),
        (["--node", "cloud"], "node 'cloud': not a node of the tree; did you mean 'cloudy'?"),
        (["--json", "nowhere/laws.json"], "must be a file in a folder that exists"),
    ],
)
def test_wrong_questions(run, words, message):
    code, out, err = run("query", "rain.json", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_samples_in_a_file_and_on_stdout(run, tmp_path):
    assert run("sample", "rain.json", "--n", 9, "--seed", 3, "--csv", "s.csv", "--all")[:2] == (0, "")
    rows = list(csv.reader((tmp_path / "s.csv").read_text().splitlines()))
    states = hltm.sample(hltm.load("rain.json"), 9, 3)
    assert rows[0] == ["cloudy", "rain=now", "7", "wet"]
    assert [row[3] for row in rows[1:]] == [("dry", "damp", "wet")[state] for state in states["wet"]]
    code, out, _ = run("sample", "rain.json", "--n", 9, "--seed", 3, "--csv", "-", "--numbers")
    assert code == 0
    read = list(csv.reader(out.splitlines()))
    assert read[0] == ["wet", "7"]
    assert np.array(read[1:], int).T.tolist() == [states["wet"].tolist(), states[7].tolist()]


def test_a_sample_that_fails_leaves_nothing(run, tmp_path):
    code, _, err = run("sample", "rain.json", "--n", 0, "--csv", "s.csv")
    assert code == 2
    assert "n=0: must be at least 1" in err
    code, _, err = run("sample", "rain.json", "--csv", "nowhere/s.csv")
    assert code == 2
    assert "csv='" in err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rain.json"]


def test_a_fit_of_all_nodes_and_of_leaves(run, tmp_path):
    run("sample", "rain.json", "--n", 400, "--csv", "all.csv", "--all")
    code, out, _ = run("fit", "rain.json", "all.csv", "--out", "fitted.json")
    assert code == 0
    assert "converged" in out
    assert "labels" not in out
    fitted, states = hltm.load("fitted.json"), hltm.sample(hltm.load("rain.json"), 400)
    assert fitted.prior[1] == pytest.approx(states["cloudy"].mean(), abs=1e-14)
    assert fitted.states("wet") == ("dry", "damp", "wet")
    run("sample", "rain.json", "--n", 400, "--csv", "leaves.csv", "--numbers")
    code, out, err = run("fit", "rain.json", "leaves.csv", "--out", "f.json", "--starts", 2, "--json", "-", "--seed", 4)
    assert code == 0
    report = json.loads(out)
    assert report["latent"] == ["cloudy", "rain=now"]
    assert len(report["starts"]) == 2
    assert report["history"][-1] == pytest.approx(report["log_likelihood"])
    assert "states of 2 latent nodes with names are matched to those of the tree before" in err
    fitted = hltm.load("f.json")
    assert fitted.states("rain=now") == ("no", "yes")


def test_the_tree_from_the_data(run):
    run("sample", "rain.json", "--n", 4000, "--csv", "all.csv", "--all")
    code, out, _ = run("fit", "all.csv", "--structure", "chow-liu", "--root", "wet", "--out", "found.bif")
    assert code == 0
    assert "log-likelihood" in out
    found = hltm.load("found.bif")
    assert found.root == "wet"
    assert {frozenset(edge) for edge in found.edges} == {
        frozenset(edge) for edge in (("wet", "rain=now"), ("rain=now", "cloudy"), ("cloudy", "7"))
    }
    assert found.states("rain=now") == ("no", "yes")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wet,8\n0,0\n", "bad.csv: header: node '8': not a node"),
        ("wet,wet\n0,0\n", "bad.csv: header: node 'wet' has two columns"),
        ("wet,7\n0\n", "bad.csv: line 2: must have 2 fields as the header, has 1"),
        ("wet,7\n0,maybe\n", "bad.csv: row 1: state 'maybe' of node 7"),
        ("wet,7\n", "must have at least one observation"),
        ("", "bad.csv: must have a header of node names"),
        ("wet\n0\n", "no observation of leaf 7"),
        ("wet,7\n\xff,0\n", "bad.csv: must be UTF-8 text"),
        ('wet,7\n"0' + "x" * 200_000 + '",0\n', "bad.csv: line 2: is no CSV: field larger"),
    ],
)
def test_wrong_data(run, tmp_path, text, message):
    (tmp_path / "bad.csv").write_bytes(text.encode("latin-1"))
    code, out, err = run("fit", "rain.json", "bad.csv", "--out", "fitted.json")
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1
    assert not (tmp_path / "fitted.json").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rain.json", "--out", "f.json"], "1 files: must be TREE and DATA"),
        (
            ["rain.json", "d.csv", "--out", "f.json", "--structure", "chow-liu"],
            "2 files: must be DATA with --structure",
        ),
        (["d.csv", "--out", "f.json", "--structure", "best"], "--structure='best': must be chow-liu"),
        (["rain.json", "d.csv", "--out", "f.json", "--root", "wett"], "did you mean 'wet'"),
        (["rain.json", "d.csv", "--out", "f.txt"], "the suffix must be one of"),
        (["rain.json", "d.csv", "--out", "f.json"], "d.csv: cannot be read: No such file"),
        (["d.csv", "--out", "f.json", "--structure", "chow-liu"], "d.csv: cannot be read: No such file"),
    ],
)
def test_wrong_usage(run, words, message):
    code, out, err = run("fit", *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_files_of_columns(run, tmp_path):
    for text, message in [("a,a\n0,1\n", "'a' has 2 columns"), ("a,b\n", "at least one observation"), ("", "a header")]:
        (tmp_path / "bad.csv").write_text(text)
        code, _, err = run("fit", "bad.csv", "--structure", "chow-liu", "--out", "f.json")
        assert code == 2
        assert message in err


def test_numbers_of_states_that_are_called_by_numbers_are_refused(run):
    graph = nx.DiGraph()
    graph.add_node("h", prior=[0.5, 0.5])
    graph.add_edge("h", "x", polarity=0.5)
    graph.nodes["x"]["states"] = ["1", "2"]
    hltm.save(hltm.HLTM(graph), "n.json")
    code, out, err = run("sample", "n.json", "--n", 5, "--csv", "-", "--numbers")
    assert (code, out) == (2, "")
    assert "states of node 'x' are called ['1', '2']" in err
    code, _, err = run("query", "n.json", "--evidence", "x=0")
    assert code == 2
    assert "must be one of '1', '2'" in err


def test_queries_take_the_options_of_reading(run):
    code, out, _ = run("query", "rain.json", "--root", "wet", "--node", "wet", "--json", "-")
    assert code == 0
    assert json.loads(out)["laws"][0]["states"] == ["dry", "damp", "wet"]
