"""Files as other programs write them: rounded rows, foreign attributes, several trees, other roots, encodings, limits."""

import json
import math
import random
import struct
import warnings
from fractions import Fraction

import networkx as nx
import pytest

import hltm
from hltm import files
from hltm.base.command import guarded
from hltm.cli import app
from hltm.reading import Printed, Reading, explained, rounds_to


def single(value):
    """The nearest number of single precision, as a double."""
    return struct.unpack("f", struct.pack("f", value))[0]


WRITERS = {
    "4 decimals": "{:.4f}".format,
    "6 decimals": "{:.6f}".format,
    "7 digits, as R": "{:.7g}".format,
    "11 digits": "{:.11g}".format,
    "single precision, as pyAgrum": lambda value: repr(single(value)),
    "4 decimals without zeros at the end": lambda value: repr(round(value, 4)),
}


def json_text(row, prior="[0.5, 0.5]"):
    nodes = f'{{"id": "r", "prior": {prior}}}, {{"id": "x", "cardinality": {len(row)}}}'
    return f'{{"nodes": [{nodes}],\n"edges": [\n{{"source": "r", "target": "x", "transition": [[{", ".join(row)}], [{", ".join(row)}]]}}]}}'


def graphml_text(row, prior="[0.5, 0.5]"):
    keys = "".join(f'<key id="{name}" attr.name="{name}"/>' for name in ("prior", "transition", "cardinality"))
    table = f"[[{', '.join(row)}], [{', '.join(row)}]]"
    return (
        f'<graphml>{keys}<graph edgedefault="directed"><node id="r"><data key="prior">{prior}</data></node>'
        f'<node id="x"><data key="cardinality">{len(row)}</data></node>\n\n'
        f'<edge source="r" target="x"><data key="transition">{table}</data></edge></graph></graphml>'
    )


def bif_text(row, prior="0.5 0.5"):
    states = " ".join(f"s{i}" for i in range(len(row)))
    return (
        f"variable r {{ type discrete[2] {{ a b }}; }} variable x {{ type discrete[{len(row)}] {{ {states} }}; }}\n"
        f"probability ( r ) {{ table {prior}; }}\nprobability ( x | r ) {{ (a) {' '.join(row)}; (b) {', '.join(row)}; }}"
    )


TEXTS = {".json": json_text, ".graphml": graphml_text, ".bif": bif_text}


def write(path, text):
    path.write_text(text)
    return path


def loaded(path, **options):
    """The tree of a file and the lines of its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tree = hltm.load(path, **options)
    assert all(issubclass(warning.category, hltm.TreeWarning) for warning in caught)
    return tree, [str(warning.message) for warning in caught]


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize("writer", WRITERS)
def test_rows_that_a_writer_has_rounded_are_divided_by_their_sums(tmp_path, writer, suffix):
    draw, tried = random.Random(f"{writer}{suffix}"), 0
    while tried < 4:
        weights = [draw.expovariate(1) for _ in range(draw.randint(2, 7))]
        exact = [weight / sum(weights) for weight in weights]
        row = [WRITERS[writer](value) for value in exact]
        values = [float(text) for text in row]
        if abs(math.fsum(values) - 1) <= 1e-12:
            continue
        tried += 1
        tree, lines = loaded(write(tmp_path / f"tree{suffix}", TEXTS[suffix](row)))
        for result in tree.exact_table("x"):
            assert abs(sum(map(Fraction, result)) - 1) < Fraction(1, 10**12)
            assert result == tuple(value / math.fsum(values) for value in values)
        change = max(abs(new - old) for new, old in zip(tree.exact_table("x")[0], values, strict=True))
        assert lines == [
            f"{tmp_path / f'tree{suffix}'}: 2 rows are rounded and divided by their sums, largest change {change:.2g} "
            "(row 0 of transition on edge ('r', 'x'))"
        ]
        with pytest.raises(hltm.InputError, match="must sum to one within 1e-12, sums to"):
            hltm.load(tmp_path / f"tree{suffix}", strict=True)


THIRDS = ["0.3333", "0.3333", "0.3333"]


@pytest.mark.parametrize("suffix", TEXTS)
def test_a_rounded_prior_and_a_file_that_is_not_rounded(tmp_path, suffix):
    prior = "0.33 0.66" if suffix == ".bif" else "[0.33, 0.66]"
    tree, lines = loaded(write(tmp_path / f"tree{suffix}", TEXTS[suffix](["0.5", "0.5"], prior)))
    assert tree.exact_prior() == (0.33 / 0.99, 0.66 / 0.99)
    assert lines[0].endswith(
        "1 row is rounded and divided by its sum, largest change 0.0067 (prior=[0.33, 0.66] of root 'r')"
    )
    tree, lines = loaded(write(tmp_path / f"tree{suffix}", TEXTS[suffix](["0.25", "0.75"])))
    assert tree.exact_table("x")[0] == (0.25, 0.75)
    assert not lines


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize(
    ("row", "message"),
    [
        (["0.66", "0.66"], "must sum to one, sums to 1.32; its digits explain 0.99 to 1.01; divided by its sum it is 0.5, 0.5"),
        (["0.9", "0.2"], "sums to 1.1; its digits explain 0.99 to 1.01; divided by its sum it is 0.818182, 0.181818"),
        (["0.33330", "0.33330", "0.33330"], "its digits explain 0.999985 to 1.0000"),
        (["0.0", "0.0"], "must sum to one, sums to 0.0; its digits explain 0.99 to 1.01"),
        (["1", "1"], "must sum to one, sums to 2; fractions are not rounded; divided by its sum it is 0.5, 0.5"),
        ([*["0.01"] * 20, "0.74"], "sums to 0.94"),
    ],
)  # fmt: skip
def test_a_row_that_no_rounding_explains_is_refused_with_its_line_and_what_would_fit(tmp_path, row, message, suffix):
    path = write(tmp_path / f"tree{suffix}", TEXTS[suffix](row))
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: row 0 of transition on edge ('r', 'x'), line 3: ")
    assert message in text
    assert "\n" not in text


def test_fractions_are_not_rounded_and_neither_are_graphs_in_memory(tmp_path):
    path = write(tmp_path / "tree.json", json_text(['"1/3"', '"1/3"', '"1/4"']))
    with pytest.raises(
        hltm.InputError, match=r"sums to 11/12; fractions are not rounded; divided by its sum it is 0.36"
    ):
        hltm.load(path)
    data = json.loads(json_text(THIRDS))
    with pytest.raises(hltm.InputError, match="must sum to one within 1e-12"):
        hltm.tree_from_json(data)


@pytest.mark.parametrize(
    ("row", "slack"),
    [
        ("0.3333 0.3333 0.3333", 1.5e-4),
        ("0.5 0.3333 0.1666", 1.5e-4),  # zeros at the end are left out
        ("0.9999 1e-04", 1e-4),
        ("0.3333333 0.3333333 0.3333333", 1.5e-7),
        ("0.9876543 0.01234567", 5.5e-8),  # seven digits each
        ("1 1.234567e-08", 5e-7 + 5e-15),
        ("0.5 0.5", 0.01),
        ("1 0", 0.0),
        ("1/3 0.6667", 5e-5),
        ("0.8999999761581421 0.10000000149011612", 2**-24 + 2**-27),
        ("0.8999999761581422 0.10000000149011612", 1e-17),  # the first is not of single precision
        (" ".join(["0.01"] * 50), 0.05),
    ],
)
def test_what_digits_explain(row, slack):
    values = [Reading(printed=True).number(text) for text in row.split()]
    assert explained(values) == pytest.approx(slack, rel=0.02, abs=1e-18)


@pytest.mark.parametrize(
    ("exact", "row", "agree"),
    [
        ([1 / 3, 2 / 3], "0.3333 0.6667", True),
        ([1 / 3, 2 / 3], "0.3334 0.6666", False),
        ([1 / 3, 2 / 3], "0.33 0.67", False),  # too short to be told from another number
        ([0.25, 0.75], "0.26 0.74", False),
        ([0.9, 0.1], "0.8999999761581421 0.10000000149011612", True),
        ([0.9, 0.1], "0.8999996 0.1000004", False),
        ([0.123456789, 0.876543211], "0.1234568 0.8765432", True),
        ([-0.5, 1.5], "-0.5001 1.5", False),
    ],
)
def test_whether_a_table_is_a_property_that_was_rounded(exact, row, agree):
    assert rounds_to(exact, [Reading(printed=True).number(text) for text in row.split()]) is agree


def test_printed_numbers_become_plain():
    graph = nx.DiGraph()
    graph.add_node("r", prior=[Printed("0.5"), Printed("0.5")])
    graph.add_edge("r", "x", polarity=Printed("0.25"))
    tree = hltm.HLTM(graph)
    assert [type(value) for value in (*tree.exact_prior(), tree.graph.edges["r", "x"]["polarity"])] == [float] * 3


def test_a_rational_property_of_bif_survives_a_program_that_rounds_the_table(tmp_path):
    tree = hltm.star_tree(2, Fraction(1, 3), root_polarity=Fraction(1, 7))
    hltm.save(tree, tmp_path / "tree.bif")
    text = (tmp_path / "tree.bif").read_text()
    for long, short in (
        ("0.6666666666666666", "0.6667"),
        ("0.3333333333333333", "0.3333"),
        ("0.42857142857142855", "0.4286"),
    ):
        assert long in text
        text = text.replace(long, short)
    text = text.replace("0.5714285714285714", "0.5714")
    again, lines = loaded(write(tmp_path / "tree.bif", text))
    assert again == tree
    assert not lines, "nothing was divided"
    with pytest.raises(hltm.InputError, match="property polarity of 'z1': must agree with the table"):
        hltm.load(write(tmp_path / "tree.bif", text.replace("0.6667", "0.6657", 1)))


def test_the_whole_tree_has_rows_that_sum_to_one(tmp_path):
    tree = hltm.random_tree(12, seed=3, cardinality=(2, 6))
    hltm.save(tree, tmp_path / "tree.json")
    data = json.loads((tmp_path / "tree.json").read_text(), parse_float=lambda text: round(float(text), 4))
    again, lines = loaded(write(tmp_path / "tree.json", json.dumps(data)))
    rows = [again.exact_prior(), *(row for node in again.nodes[1:] for row in again.exact_table(node))]
    assert all(abs(sum(map(Fraction, row)) - 1) < Fraction(1, 10**12) for row in rows)
    assert len(lines) == 1
    assert "rows are rounded and divided by their sums, largest change " in lines[0]


FORM = {
    "nodes": [{"id": "r", "prior": [0.5, 0.5]}, {"id": "a"}, {"id": "x", "cardinality": 3}],
    "edges": [
        {"source": "r", "target": "a", "polarity": 0.5},
        {"source": "a", "target": "x", "transition": [[0.5, 0.25, 0.25], [0, 0.25, 0.75]]},
    ],
}
TREE = hltm.tree_from_json(FORM)


def changed(nodes=None, edges=None, **more):
    """The form with more attributes of its second node and its first edge, and other keys."""
    form = json.loads(json.dumps(FORM))
    form["nodes"][1] |= nodes or {}
    form["edges"][0] |= edges or {}
    return form | more


@pytest.mark.parametrize(
    ("form", "line"),
    [
        (changed({"label": "A", "pos": [1, 2]}, {"weight": 1.0, "color": "red"}), "nodes: label, pos; edges: weight, color"),
        (changed({"status": "on", "priority": 3, "state": "CA"}), "nodes: status, priority, state"),
        (changed({"comment": None, "style": {}}), None),
        (changed(graph={"rankdir": "LR", "Name": "t", "node_default": {}, "edge_default": {}}), "graph: rankdir, Name"),
        (changed(metadata={"version": 1}), "file: metadata"),
        (changed({f"c{i}": i for i in range(20)}), "nodes: c0, c1, c2, c3, c4, c5, c6, c7, ... (20 in all)"),
    ],
)  # fmt: skip
def test_attributes_of_other_programs_are_ignored_with_one_line(tmp_path, form, line):
    tree, lines = loaded(write(tmp_path / "tree.json", json.dumps(form)))
    assert tree == TREE
    assert lines == ([f"{tmp_path / 'tree.json'}: attributes of other programs are ignored ({line})"] if line else [])


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (changed(edges={"polarty": 0.5}) | {"edges": [{"source": "r", "target": "a", "polarty": 0.5}]}, "attribute 'polarty' of edge ('r', 'a'): must be one of polarity, transition; did you mean 'polarity'?"),
        (changed({"Cardinality": 3}), "attribute 'Cardinality' of node 'a': must be one of prior, cardinality, states; did you mean 'cardinality'?"),
        (changed({"state": ["no", "yes"]}), "attribute 'state' of node 'a': must be one of prior, cardinality, states; did you mean 'states'?"),
        (changed({"piror": [0.5, 0.5]}), "did you mean 'prior'?"),
        (changed(direcetd=False), "attribute 'direcetd' of the tree: must be one of"),
    ],
)  # fmt: skip
def test_a_misspelled_attribute_is_refused(tmp_path, form, message):
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(write(tmp_path / "tree.json", json.dumps(form)))
    assert message in str(caught.value)


def test_links_is_another_name_of_edges(tmp_path):
    form = {key: value for key, value in FORM.items() if key != "edges"} | {"links": FORM["edges"], "directed": True}
    assert loaded(write(tmp_path / "tree.json", json.dumps(form))) == (TREE, [])
    graph = nx.node_link_data(TREE.graph, edges="links")
    assert hltm.tree_from_json(json.loads(json.dumps(graph))) == TREE


def undirected(*edges, prior="r"):
    nodes = [{"id": name} | ({"prior": [0.25, 0.75]} if name == prior else {}) for name in "xrab"]
    return {"directed": False, "nodes": nodes, "edges": [dict(zip(("source", "target"), pair, strict=True)) | rest for pair, rest in edges]}  # fmt: skip


def test_an_undirected_tree_is_rooted_at_the_node_with_the_prior(tmp_path):
    form = undirected(
        ("xa", {"polarity": 0.5}), ("ar", {"polarity": -0.25}), ("rb", {"transition": [[1, 0], [0.5, 0.5]]})
    )
    tree, lines = loaded(write(tmp_path / "tree.json", json.dumps(form)))
    assert tree.edges == (("r", "a"), ("r", "b"), ("a", "x"))
    assert tree.polarity("r", "x") == -0.125
    assert lines == [f"{tmp_path / 'tree.json'}: the tree is undirected; its root is 'r', the node with the prior"]
    other, lines = loaded(tmp_path / "tree.json", root="a")
    assert other == hltm.with_root(tree, "a")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (undirected(("xa", {"transition": [[1, 0], [0.5, 0.5]]}), ("ra", {"polarity": 0.5}), ("rb", {"polarity": 0.5})), "edge ('x', 'a') of an undirected tree: 'a' is nearer to the root, so list the edge as ('a', 'x')"),
        (undirected(("xa", {"polarity": 0.5}), prior="none"), "the tree is undirected and no node has a prior: one node needs it, the root"),
        (undirected(*((pair, {"polarity": 0.5}) for pair in ("xa", "ar", "rx"))), "undirected graph of 3 nodes and 3 edges: a tree has no cycle"),
    ],
)  # fmt: skip
def test_undirected_graphs_that_are_no_tree_or_are_ambiguous(tmp_path, form, message):
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(write(tmp_path / "tree.json", json.dumps(form)))
    assert message in str(caught.value)


FOREST = (
    "variable r { type discrete[2] { a b }; } variable x { type discrete[2] { a b }; }"
    "variable s { type discrete[2] { a b }; } variable y { type discrete[2] { a b }; }"
    "probability ( r ) { table 0.25 0.75; } probability ( s ) { table 0.5 0.5; }"
    "probability ( x | r ) { (a) 0.5 0.5; (b) 0 1; } probability ( y | s ) { (a) 1 0; (b) 0.25 0.75; }"
)


def test_one_tree_of_a_forest_is_read(tmp_path, monkeypatch, capsys):
    path = write(tmp_path / "forest.bif", FOREST)
    with pytest.raises(
        hltm.InputError, match=r"the nodes 'r', 's' have no parent: .*; root='NAME' \(--root NAME\) reads one"
    ):
        hltm.load(path)
    assert hltm.load(path, root="r").edges == (("r", "x"),)
    assert hltm.load(path, root="s").exact_table("y") == ((1, 0), (0.25, 0.75))
    assert hltm.load(path, root="y").edges == (("y", "s"),)
    with pytest.raises(hltm.InputError, match="node 'rr': not a node of the tree; did you mean 'r'"):
        hltm.load(path, root="rr")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["hltm", "show", "forest.bif", "--root", "s"])
    assert guarded(app, "hltm") == 0
    assert "root s: prior a 0.5, b 0.5" in capsys.readouterr().out


@pytest.mark.parametrize("seed", range(6))
def test_another_root_has_the_same_joint_law(brute_force, seed):
    tree = hltm.random_tree(4, seed=seed, cardinality=(2, 3), symmetric=False)
    exact = nx.DiGraph(tree.graph)
    for above, node in tree.edges:  # in rationals
        rows = [[Fraction(value).limit_denominator(50) for value in row] for row in tree.exact_table(node)]
        exact.edges[above, node]["transition"] = [[*row[:-1], 1 - sum(row[:-1])] for row in rows]
    prior = [Fraction(value).limit_denominator(50) for value in tree.exact_prior()]
    exact.nodes[tree.root]["prior"] = [*prior[:-1], 1 - sum(prior[:-1])]
    tree = hltm.HLTM(exact)
    node = random.Random(seed).choice(tree.nodes[1:])
    other = hltm.with_root(tree, node)
    assert other.root == node
    nodes = sorted(tree.nodes)
    assert brute_force(other.graph).law(nodes) == brute_force(tree.graph).law(nodes)
    assert sorted(map(sorted, other.edges)) == sorted(map(sorted, tree.edges))


def test_another_root_keeps_polarities_names_and_the_law_where_a_state_has_probability_zero(brute_force):
    tree = hltm.complete_tree(2, 2, polarity=Fraction(1, 3))
    other = hltm.with_root(tree, 5)
    assert other.children(2) == (6, 0)
    assert other.is_symmetric
    assert brute_force(other.graph).law(range(7)) == brute_force(tree.graph).law(range(7))
    assert all("polarity" in values for *_, values in other.graph.edges(data=True))
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.25, 0.75])
    graph.add_node("x", states=["on", "off"])
    graph.add_edge("r", "x", transition=[[1, 0], [1, 0]])
    turned = hltm.with_root(hltm.HLTM(graph), "x")
    assert turned.exact_prior() == (1, 0)
    assert turned.exact_table("r") == ((0.25, 0.75), (0.25, 0.75))
    assert turned.states("x") == ("on", "off")
    assert hltm.with_root(tree, 0) is tree
    deep = hltm.with_root(hltm.random_tree(3000, seed=1), 4000)
    assert len(deep) > 4000


GBK = 'network x { }\nvariable 天气 { type discrete[2] { "下雨", "晴" }; }\nvariable a { type discrete[2] { 0, 1 }; }\nprobability ( 天气 ) { table 0.25 0.75; }\nprobability ( a | 天气 ) { (下雨) 0.5 0.5; (晴) 0 1; }\n'  # fmt: skip


def test_encodings_are_named_and_read(tmp_path, monkeypatch, capsys):
    path = tmp_path / "tree.bif"
    path.write_bytes(GBK.encode("gbk"))
    with pytest.raises(
        hltm.InputError, match=r"must be UTF-8 text; line 2 is 'variable 天气 .* in gbk.*--encoding NAME"
    ):
        hltm.load(path)
    tree = hltm.load(path, encoding="gbk")
    assert tree.states("天气") == ("下雨", "晴")
    assert tree.exact_table("a") == ((0.5, 0.5), (0, 1))
    path.write_bytes(
        GBK.replace("天气", "Qualité").replace("下雨", "mauvaise").replace("晴", "très bonne").encode("cp1252")
    )
    with pytest.raises(hltm.InputError, match=r"line 2 is .*'variable Qualité .* in cp1252"):
        hltm.load(path)
    assert hltm.load(path, encoding="cp1252").root == "Qualité"
    for name in ("nothing", "hex", "punycode", "zlib", "", "a\0"):
        with pytest.raises(hltm.InputError, match=r"encoding=.*: must be the name of a text encoding"):
            hltm.load(path, encoding=name)
    with pytest.raises(hltm.InputError, match="must be text in ascii"):
        hltm.load(path, encoding="ascii")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["hltm", "convert", "tree.bif", "tree.json", "--encoding", "cp1252"])
    assert guarded(app, "hltm") == 0
    assert "states are numbered 0, 1, ... in the order of their names" in capsys.readouterr().err
    assert hltm.load("tree.json") == hltm.load(path, encoding="cp1252")


def test_commands_choose_state_one_and_say_what_was_rounded(tmp_path, monkeypatch, capsys):
    write(tmp_path / "tree.bif", bif_text(["0.3333", "0.6666"]).replace("s0 s1", "TRUE FALSE"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["hltm", *arguments])
        return guarded(app, "hltm"), *capsys.readouterr()

    code, out, err = run("convert", "tree.bif", "tree.json", "--state-one", "TRUE", "--state-one", "r=a")
    assert code == 0
    assert err.splitlines()[0].startswith(
        "warning: tree.bif: 2 rows are rounded and divided by their sums, largest change"
    )
    assert len(err.splitlines()) == 2
    tree = hltm.load("tree.json")
    assert (tree.states("x"), tree.states("r")) == (("FALSE", "TRUE"), ("b", "a"))
    assert tree.exact_table("x")[0] == (0.6666 / 0.9999, 0.3333 / 0.9999)
    code, out, err = run("show", "tree.json")
    assert (code, err) == (0, "")
    assert "states are numbered 0, 1, ... in this order; a leaf's activation is the number (--state-one NAME)" in out
    assert "FALSE, TRUE" in out
    for arguments, message in (
        (["--strict"], "must sum to one within 1e-12, sums to 0.9999"),
        (["--state-one", "YES"], "state 'YES': no binary node has a state of this name"),
        (["--state-one", "y=TRUE"], "node 'y': not a node of the tree"),
        (["--root", "y"], "node 'y': not a node of the tree"),
    ):
        code, out, err = run("show", "tree.bif", *arguments)
        assert (code, out) == (2, "")
        assert message in err.splitlines()[-1]


@pytest.mark.parametrize("suffix", TEXTS)
def test_what_save_writes_load_reads(tmp_path, monkeypatch, suffix):
    tree = hltm.complete_tree(6, 2, polarity=1)
    path = tmp_path / f"tree{suffix}"
    hltm.save(tree, path)
    size = path.stat().st_size
    monkeypatch.setattr(files, "FILE_LIMIT", size)
    hltm.save(tree, path)
    assert hltm.load(path) == tree
    files.check_size(len(tree), path)
    monkeypatch.setattr(files, "FILE_LIMIT", size - 1)
    path.unlink()
    with pytest.raises(
        hltm.InputError, match=f"the tree has {size:,} bytes in this format, must have at most {size - 1:,}"
    ):
        hltm.save(tree, path)
    assert not path.exists()


@pytest.mark.parametrize("suffix", TEXTS)
@pytest.mark.parametrize("build", [lambda n: hltm.star_tree(n, 1), lambda n: hltm.caterpillar_tree(n, Fraction(1, 3)), lambda n: hltm.random_tree(n, 0)])  # fmt: skip
def test_the_size_that_make_expects_is_a_lower_bound(tmp_path, monkeypatch, suffix, build):
    for leaves in (2, 9, 300):
        tree = build(leaves)
        hltm.save(tree, tmp_path / f"tree{suffix}")
        monkeypatch.setattr(files, "FILE_LIMIT", (tmp_path / f"tree{suffix}").stat().st_size)
        files.check_size(len(tree), tmp_path / f"tree{suffix}")
        monkeypatch.undo()


def test_bif_has_a_limit_of_states_in_both_directions(tmp_path, monkeypatch):
    monkeypatch.setattr("hltm.bif.STATE_LIMIT", 2)
    with pytest.raises(hltm.InputError, match="cardinality=3 of node 'x': must be at most 2 in BIF"):
        hltm.save(TREE, tmp_path / "tree.bif")


def test_make_refuses_a_file_that_show_would_refuse_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("hltm.cli.complete_tree", None)
    monkeypatch.setattr("sys.argv", ["hltm", "make", "complete", "c.json", "--depth", "19"])
    assert guarded(app, "hltm") == 2
    assert "1,048,575 nodes have at least 75,372,399 bytes in this format" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_long_fractions_are_read_again(tmp_path):
    top = 10**4295 + 1
    tree = hltm.star_tree(1, Fraction(top - 2, top))
    for suffix in TEXTS:
        hltm.save(tree, tmp_path / f"tree{suffix}")
        assert hltm.load(tmp_path / f"tree{suffix}") == tree


@pytest.mark.parametrize("text", ["None", "NA", "nan", "null", ""])
def test_a_name_that_reads_as_missing_survives_graphml(tmp_path, text):
    graph = nx.DiGraph(hltm.star_tree(2, polarity=0.5).graph)
    graph.graph["description"] = text
    hltm.save(hltm.HLTM(graph), tmp_path / "a.graphml")
    assert hltm.load(tmp_path / "a.graphml").graph.graph.get("description") == text


def test_foreign_attributes_beside_those_of_a_tree_are_no_misspelling(tmp_path):
    path = tmp_path / "a.json"
    nodes = [{"id": "r", "prior": [0.5, 0.5], "stages": [1, 2], "status": ["a"]}, {"id": "x"}]
    edges = [{"source": "r", "target": "x", "polarity": 0.5, "transaction": 3}]
    path.write_text(json.dumps({"nodes": nodes, "edges": edges}))
    with pytest.warns(hltm.TreeWarning, match="nodes: stages, status; edges: transaction"):
        assert hltm.load(path).polarity("r", "x") == 0.5
    del edges[0]["polarity"]
    path.write_text(json.dumps({"nodes": nodes, "edges": edges}))
    with pytest.raises(hltm.InputError, match="did you mean 'transition'"):
        hltm.load(path)


@pytest.mark.parametrize("encoding", ["ISO-8859-1", "UTF-16", "UTF-8"])
def test_xml_is_read_in_the_encoding_that_it_declares(tmp_path, encoding):
    path = tmp_path / "a.xdsl"
    table = '<cpt id="sky"><state id="clair"/><state id="gris\u00e9"/><probabilities>0.25 0.75</probabilities></cpt>'
    rain = '<cpt id="rain"><state id="no"/><state id="yes"/><parents>sky</parents><probabilities>1 0 0 1</probabilities></cpt>'
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    path.write_bytes(f'{head}<smile version="1.0" id="W"><nodes>{table}{rain}</nodes></smile>'.encode(encoding))
    tree = hltm.load(path)
    assert tree.states("sky") == ("clair", "gris\u00e9")
    assert tree.exact_prior() == (0.25, 0.75)


def test_a_root_that_is_asked_for_is_the_one_that_is_said(tmp_path):
    path = tmp_path / "a.json"
    nodes = [{"id": "a", "prior": [0.5, 0.5]}, {"id": "b"}]
    edges = [{"source": "a", "target": "b", "polarity": 0.5}]
    path.write_text(json.dumps({"directed": False, "nodes": nodes, "edges": edges}))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert hltm.load(path, root="b").root == "b"
