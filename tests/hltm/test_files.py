"""Tree files: every tree comes back equal; hostile content gives one line and leaves nothing behind."""

import json
import os
from fractions import Fraction

import networkx as nx
import numpy as np
import pytest

import hltm

TREES = {
    "edge": lambda: hltm.complete_tree(1, 1, polarity=1),
    "complete": lambda: hltm.complete_tree(3, 2, polarity=(-1, 1), seed=0, root_polarity=0.1),
    "rational": lambda: hltm.star_tree(3, polarity=Fraction(-1, 3), root_polarity=Fraction(2, 7)),
    "categorical": lambda: hltm.random_tree(9, seed=4, cardinality=(2, 5)),
    "deep": lambda: hltm.complete_tree(3000, 1, polarity=0.3),
}


@pytest.mark.parametrize("case", TREES)
def test_round_trip(tmp_path, case):
    tree = TREES[case]()
    path = tmp_path / "tree.json"
    hltm.save(tree, path)
    assert hltm.load(path) == hltm.load(str(path)) == tree
    assert os.listdir(tmp_path) == ["tree.json"], "no temporary file stays"  # noqa: PTH208
    data = hltm.tree_to_json(tree)
    assert json.loads(json.dumps(data)) == data
    assert hltm.tree_from_json(data) == tree


@pytest.mark.parametrize("seed", range(10))
def test_all_digits_survive(tmp_path, seed):
    tree = hltm.random_tree(6, seed=seed, cardinality=(2, 4))
    hltm.save(tree, tmp_path / "tree.json")
    again = hltm.load(tmp_path / "tree.json")
    for node in tree.nodes[1:]:
        assert again.exact_table(node) == tree.exact_table(node), f"seed {seed}"


def test_names_order_and_texts_survive(tmp_path):
    graph = nx.DiGraph(name="toy ü", description="two\nlines")
    graph.add_node((0, "r"), prior=[0.5, 0.5])
    for name in ("b", "a", 7, "7", (1, 2), "quote\"'\u2028\ud800"):
        graph.add_edge((0, "r"), name, polarity=0.25)
    tree = hltm.HLTM(graph)
    hltm.save(tree, tmp_path / "tree.json")
    again = hltm.load(tmp_path / "tree.json")
    assert again == tree
    assert again.children((0, "r")) == tree.children((0, "r"))
    assert again.graph.graph == tree.graph.graph


def test_networkx_reads_and_writes_the_same_form():
    tree = hltm.random_tree(5, seed=0, cardinality=(2, 3))
    graph = nx.node_link_graph(hltm.tree_to_json(tree), edges="edges")
    assert hltm.HLTM(graph) == tree
    written = json.loads(json.dumps(nx.node_link_data(tree.graph, edges="edges")))
    assert hltm.tree_from_json(written) == tree


def test_reference_trees_are_read(reference_trees):
    assert len(reference_trees) > 20
    for reference in reference_trees:
        tree = hltm.tree_from_json(reference["tree"])
        for node, children in reference["children"].items():
            assert list(tree.children(node)) == children


def test_an_existing_file_is_replaced_and_a_failure_leaves_it(tmp_path, monkeypatch):
    path = tmp_path / "tree.json"
    first, second = hltm.star_tree(2, 0.5), hltm.star_tree(3, 0.5)
    hltm.save(first, path)
    hltm.save(second, path)
    assert hltm.load(path) == second

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(hltm.InputError, match="cannot be written: No space left on device"):
        hltm.save(first, path)
    assert hltm.load(path) == second
    assert len(list(tmp_path.iterdir())) == 1


def test_a_new_file_has_ordinary_permissions(tmp_path):
    ordinary = tmp_path / "ordinary"
    ordinary.write_text("")
    hltm.save(hltm.star_tree(2, 0.5), tmp_path / "tree.json")
    assert (tmp_path / "tree.json").stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize("name", ["tree", "tree.txt", "tree.gml", ".json"])
@pytest.mark.parametrize("call", [hltm.load, lambda path: hltm.save(hltm.star_tree(2, 0.5), path)])
def test_other_suffixes_are_refused(tmp_path, name, call):
    with pytest.raises(hltm.InputError, match=r"the suffix must be one of \.json"):
        call(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_used(tmp_path):
    tree = hltm.star_tree(2, 0.5)
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(hltm.InputError, match=r"nowhere/tree\.json.*cannot be written: No such file"):
        hltm.save(tree, tmp_path / "nowhere" / "tree.json")
    with pytest.raises(hltm.InputError, match="cannot be written"):
        hltm.save(tree, tmp_path / "folder.json")
    with pytest.raises(hltm.InputError, match="cannot be written"):
        hltm.save(tree, str(tmp_path) + "/a\0b.json")
    with pytest.raises(hltm.InputError, match="cannot be read: No such file"):
        hltm.load(tmp_path / "missing.json")
    with pytest.raises(hltm.InputError, match="must be a file"):
        hltm.load(tmp_path / "folder.json")
    with pytest.raises(hltm.InputError, match="cannot be read"):
        hltm.load(str(tmp_path) + "/a\0b.json")
    with pytest.raises(hltm.InputError, match="path=None: must be a path"):
        hltm.load(None)
    with pytest.raises(hltm.InputError, match="tree of type DiGraph: must be an HLTM"):
        hltm.save(nx.DiGraph(), tmp_path / "tree.json")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.json"]


def test_too_large_a_file_is_not_read(tmp_path):
    path = tmp_path / "tree.json"
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(hltm.InputError, match=r"at most 67,108,864 bytes \(64 MiB\)"):
        hltm.load(path)


HOSTILE = {
    "empty": (b"", "not valid JSON"),
    "not-json": (b"<graphml/>", "not valid JSON"),
    "truncated": (b'{"nodes": [{"id": "r"', "not valid JSON"),
    "not-utf8": (b"\xff\xfe{}", "must be UTF-8 text"),
    "deep": (b"[" * 200_000, "nested too deeply"),
    "deep-inside": (b'{"nodes": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested too deeply"),
    "long-integer": (b"[" + b"9" * 5000 + b"]", "not valid JSON"),
    "twice": (b'{"nodes": [], "nodes": []}', "key 'nodes': must not be given twice"),
    "list": (b"[]", "tree=[]: must be a JSON object, got list"),
    "null": (b"null", "tree=None: must be a JSON object"),
    "nan": (
        b'{"nodes": [{"id": 0, "prior": [0.5, 0.5]}, {"id": 1}],'
        b' "edges": [{"source": 0, "target": 1, "polarity": NaN}]}',
        "polarity=nan on edge (0, 1): must be finite",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files(tmp_path, case):
    content, message = HOSTILE[case]
    path = tmp_path / "tree.json"
    path.write_bytes(content)
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(path)
    assert message in str(caught.value)
    assert "tree.json" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


def form(**changes):
    data = {
        "directed": True,
        "multigraph": False,
        "graph": {},
        "nodes": [{"id": "r", "prior": [0.5, 0.5]}, {"id": "leaf"}],
        "edges": [{"source": "r", "target": "leaf", "polarity": 0.5}],
    }
    return {key: value for key, value in (data | changes).items() if value != "absent"}


def nodes(*more):
    return form(nodes=[{"id": "r", "prior": [0.5, 0.5]}, {"id": "leaf"}, *more])


def edges(*more):
    return form(edges=[{"source": "r", "target": "leaf", "polarity": 0.5}, *more])


BAD_FORMS = {
    "no-edges": (form(edges="absent"), "tree without the key 'edges'"),
    "no-nodes": (form(nodes="absent"), "tree without the key 'nodes'"),
    "links-and-edges": (form(links=[]), "tree with the keys 'edges' and 'links': must have one list of edges"),
    "links-number": (form(edges="absent", links=3), "links=3: must be a list, got int"),
    "unknown-key": (form(multigraph="absent", multigraf=False), "did you mean 'multigraph'?"),
    "undirected": (form(directed=None), "directed=None of the tree: must be true or false"),
    "multigraph": (form(multigraph=True), "multigraph=True of the tree: must be false"),
    "graph-list": (form(graph=[]), "'graph' of the tree=[]: must be a JSON object, got list"),
    "nodes-object": (form(nodes={}), "nodes={}: must be a list, got dict"),
    "edges-number": (form(edges=3), "edges=3: must be a list, got int"),
    "node-text": (nodes("x"), "nodes[2]='x': must be a JSON object, got str"),
    "node-without-id": (nodes({"prior": [1]}), "nodes[2] without the key 'id'"),
    "node-twice": (nodes({"id": "leaf"}), "nodes[2]: the node 'leaf' must not be listed twice"),
    "node-null": (nodes({"id": None}), "nodes[2], key 'id': node None"),
    "node-nested": (nodes({"id": [["a"]]}), "nodes[2], key 'id'"),
    "node-object": (nodes({"id": {}}), "nodes[2], key 'id': node {}"),
    "node-keyword": (
        form(nodes=[{"id": "r", "prior": [0.5, 0.5]}, {"id": "leaf", "cardinalty": 2}]),
        "attribute 'cardinalty' of node 'leaf': must be one of prior, cardinality, states; did you mean 'cardinality'?",
    ),
    "edge-text": (edges("x"), "edges[1]='x': must be a JSON object"),
    "edge-without-source": (edges({"target": "r"}), "edges[1] without the key 'source'"),
    "edge-without-target": (edges({"source": "r"}), "edges[1] without the key 'target'"),
    "edge-undeclared": (
        edges({"source": "r", "target": "lef"}),
        "edges[1]: the node 'lef' must be listed in 'nodes'; did you mean 'leaf'?",
    ),
    "edge-twice": (edges({"source": "r", "target": "leaf"}), "edge ('r', 'leaf') must not be listed twice"),
    "edge-keyword": (
        form(edges=[{"source": "r", "target": "leaf", "polarty": 0.5}]),
        "attribute 'polarty' of edge ('r', 'leaf'): must be one of polarity, transition; did you mean 'polarity'?",
    ),
    "lone-node": (nodes({"id": "w"}), "'r', 'w' have no parent"),
    "fraction-of-zero": (
        form(edges=[{"source": "r", "target": "leaf", "polarity": "1/0"}]),
        "polarity='1/0' on edge ('r', 'leaf'): must be a number",
    ),
    "fraction-range": (
        form(edges=[{"source": "r", "target": "leaf", "polarity": "4/3"}]),
        "on edge ('r', 'leaf'): must lie in [-1, 1]",
    ),
    "formula": (
        form(edges=[{"source": "r", "target": "leaf", "polarity": "__import__('os')"}]),
        "on edge ('r', 'leaf'): must be a number, got str",
    ),
}


@pytest.mark.parametrize("case", BAD_FORMS)
def test_bad_forms(tmp_path, case):
    data, message = BAD_FORMS[case]
    with pytest.raises(hltm.InputError) as caught:
        hltm.tree_from_json(data)
    assert message in str(caught.value)
    path = tmp_path / "tree.json"
    path.write_text(json.dumps(data))
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(path)
    assert message in str(caught.value)


def test_reading_leaves_the_data_alone():
    data = form()
    before = json.dumps(data)
    tree = hltm.tree_from_json(data)
    assert json.dumps(data) == before
    data["nodes"][0]["prior"][0] = 99
    assert tree.prior.tolist() == [0.5, 0.5]
    assert np.array_equal(hltm.tree_from_json(form(directed="absent", graph="absent")).prior, tree.prior)


def test_devices_and_links_are_written_to_and_not_replaced(tmp_path):
    from hltm.base.atomic import write

    real, link, pipe = tmp_path / "real.json", tmp_path / "link.json", tmp_path / "pipe"
    real.write_text("old")
    link.symlink_to(real)
    write(link, b"new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write(pipe, b"through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link.json", "pipe", "real.json"]
