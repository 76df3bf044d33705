"""JSON documents and tree files as they are promised to users: every key and every value, each a test of its own.

`PROMISED` is the list of promises; each has one check in `CHECKS`, registered under its own text.
"""

import inspect
import json
import math
from fractions import Fraction
from typing import get_args

import networkx as nx
import numpy as np
import pytest
from commands import promise_of

import hltm

EVIDENCE = ("kind", "status", "instances", "worst_residual", "tolerance", "detail")
KINDS = ("symbolic", "exact", "float", "property", "trained", "variants", "assumptions")
VERDICTS = ("holds", "refuted", "abstained")

PROMISED = (
    "schema: 1",
    "seed",
    "profile",
    "environment.python",
    "environment.torch",
    "environment.device",
    "statements",
    "statements[].slug",
    "statements[].theorem",
    "statements[].title",
    "statements[].verdict: holds|refuted|abstained",
    "statements[].seconds",
    "statements[].evidence",
    *(f"evidence[].{key}" for key in EVIDENCE),
    *(f"evidence[].kind: {kind}" for kind in KINDS),
    "evidence[].status: holds|refuted|abstained|not-run",
    "variants[].variant",
    "variants[].statement",
    "variants[].refuted_by",
    "variants[].counterexample",
    "tree file: prior of the root (list)",
    "tree file: cardinality of a node",
    "tree file: polarity of an edge",
    "tree file: transition of an edge",
    "tree file: node-link form with 'edges'",
    "tree file: .json",
    "tree file: .graphml",
    "tree file: .bif",
)

CHECKS = {}
promise = promise_of(CHECKS)


@pytest.mark.parametrize("name", PROMISED)
def test_promise(name, request):
    check = CHECKS[name]
    given = {
        "run": lambda: request.getfixturevalue("one_statement")[0],
        "variants": lambda: request.getfixturevalue("false_variants"),
        "folder": lambda: request.getfixturevalue("tmp_path"),
    }
    check(**{key: given[key]() for key in inspect.signature(check).parameters})


def test_every_check_is_a_promise():
    assert len(set(PROMISED)) == len(PROMISED)
    assert set(CHECKS) == set(PROMISED)


@promise("schema: 1")
def _(run, variants):
    assert run["schema"] == variants[0]["schema"] == 1


@promise("seed")
def _(run, variants):
    assert (run["seed"], variants[0]["seed"]) == (3, 0)


@promise("profile")
def _(run, variants):
    assert run["profile"] == variants[0]["profile"] == "quick"


@promise("environment.python")
def _(run):
    major, minor, *_ = run["environment"]["python"].split(".")
    assert (int(major), int(minor)) >= (3, 11)


@promise("environment.torch")
def _(run):
    import torch

    assert torch.__version__.startswith(run["environment"]["torch"].split("+")[0])


@promise("environment.device")
def _(run):
    assert run["environment"]["device"] == "cpu"


@promise("statements")
def _(run):
    assert len(run["statements"]) == 1


@promise("statements[].slug")
def _(run):
    assert run["statements"][0]["slug"] == "contrastive-losses"


@promise("statements[].theorem")
def _(run):
    assert run["statements"][0]["theorem"] == 2


@promise("statements[].title")
def _(run):
    assert run["statements"][0]["title"].strip()


@promise("statements[].verdict: holds|refuted|abstained")
def _(run):
    from verify.engine.evidence import Verdict

    assert run["statements"][0]["verdict"] == "holds"
    assert get_args(Verdict) == VERDICTS


@promise("statements[].seconds")
def _(run):
    assert 0 < run["statements"][0]["seconds"] < 600


@promise("statements[].evidence")
def _(run):
    assert len(run["statements"][0]["evidence"]) >= len(KINDS)


def of_evidence(key):
    types = {
        "kind": str, "status": str, "instances": int, "worst_residual": (int, float, type(None)),
        "tolerance": (int, float, type(None)), "detail": str,
    }  # fmt: skip

    def check(run):
        for row in run["statements"][0]["evidence"]:
            assert isinstance(row[key], types[key]), row
            if isinstance(row[key], float):
                assert math.isfinite(row[key])

    return check


for evidence_key in EVIDENCE:
    promise(f"evidence[].{evidence_key}")(of_evidence(evidence_key))


def of_kind(kind):
    def check(run):
        assert kind in {row["kind"] for row in run["statements"][0]["evidence"]}

    return check


for evidence_kind in KINDS:
    promise(f"evidence[].kind: {evidence_kind}")(of_kind(evidence_kind))


@promise("evidence[].status: holds|refuted|abstained|not-run")
def _(run):
    from verify.engine.evidence import Status

    found = {row["status"] for row in run["statements"][0]["evidence"]}
    assert "holds" in found
    assert found <= {*VERDICTS, "not-run"} == set(get_args(Status))


@promise("variants[].variant")
def _(variants):
    names = [row["variant"] for row in variants[0]["variants"]]
    assert names
    assert len(set(names)) == len(names)


@promise("variants[].statement")
def _(variants):
    assert {row["statement"] for row in variants[0]["variants"]} == {"contrastive-losses"}


@promise("variants[].refuted_by")
def _(variants):
    for row in variants[0]["variants"]:
        assert row["refuted_by"]
        assert set(row["refuted_by"]) <= set(KINDS)


@promise("variants[].counterexample")
def _(variants):
    document, folder = variants
    for row in document["variants"]:
        json.loads((folder / row["counterexample"]).read_text())


TREE = {
    "nodes": [{"id": "r", "prior": [0.25, 0.75]}, {"id": "a", "cardinality": 3}, {"id": "x"}],
    "edges": [
        {"source": "r", "target": "a", "transition": [[0.5, 0.25, 0.25], [0, 0.5, 0.5]]},
        {"source": "r", "target": "x", "polarity": 0.5},
    ],
}


def read(folder, data):
    path = folder / "tree.json"
    path.write_text(json.dumps(data))
    return hltm.load(path)


@promise("tree file: prior of the root (list)")
def _(folder):
    assert read(folder, TREE).prior.tolist() == [0.25, 0.75]


@promise("tree file: cardinality of a node")
def _(folder):
    assert read(folder, TREE).cardinality("a") == 3


@promise("tree file: polarity of an edge")
def _(folder):
    assert read(folder, TREE).polarity("r", "x") == 0.5


@promise("tree file: transition of an edge")
def _(folder):
    assert read(folder, TREE).transition("r", "a").tolist() == [[0.5, 0.25, 0.25], [0, 0.5, 0.5]]


@promise("tree file: node-link form with 'edges'")
def _(folder):
    hltm.save(read(folder, TREE), folder / "again.json")
    data = json.loads((folder / "again.json").read_text())
    graph = nx.node_link_graph(data, edges="edges")
    assert set(graph.edges) == {("r", "a"), ("r", "x")}
    assert graph.nodes["r"]["prior"] == [0.25, 0.75]
    assert hltm.HLTM(graph) == read(folder, nx.node_link_data(graph, edges="edges"))


def of_format(suffix):
    def check(folder):
        tree = hltm.random_tree(5, seed=1, cardinality=(2, 3))
        hltm.save(tree, folder / f"tree{suffix}")
        again = hltm.load(folder / f"tree{suffix}")
        assert np.array_equal(again.prior, tree.prior)
        for found, edge in zip(again.edges, tree.edges, strict=True):
            assert np.array_equal(again.transition(*found), tree.transition(*edge))
        exact = hltm.star_tree(2, Fraction(1, 3))
        hltm.save(exact, folder / f"exact{suffix}")
        again = hltm.load(folder / f"exact{suffix}")
        assert np.array_equal(again.transition(*again.edges[0]), exact.transition(*exact.edges[0]))

    return check


for file_suffix in (".json", ".graphml", ".bif"):
    promise(f"tree file: {file_suffix}")(of_format(file_suffix))
