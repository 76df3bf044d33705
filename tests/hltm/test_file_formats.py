"""GraphML and BIF: every tree comes back equal, files of other tools are read, two claims in one file must agree."""

import re
import warnings
from fractions import Fraction
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

import hltm

SUFFIXES = (".json", ".graphml", ".bif")
SAMPLES = Path(__file__).parents[1] / "data" / "interop"


def strange_names():
    graph = nx.DiGraph(name="toy ü", description='"two\nlines" <b> & ; } variable x {')
    graph.add_node((0, "r"), prior=[0.5, 0.5])
    for name in (
        "b", "a", "B", "Q", "q", 7, "7", -7, 10**30, (1, 2), "(1, 2)", "[1, 2]", "quote\"'\u2028\ud800", " x ", "a<b>&amp;",
        "table", "variable", "probability ( x ) {", "z7", "", "ü", "a b", "//", "/*", "\t", "\0", '"', "%22",
    ):  # fmt: skip
        graph.add_edge((0, "r"), name, polarity=0.25)
    return hltm.HLTM(graph)


def mixed_numbers():
    graph = nx.DiGraph()
    graph.add_node("r", prior=[Fraction(1, 3), 0.5, Fraction(1, 6)], cardinality=3)
    graph.add_edge("r", "a", transition=[[1, 0], [Fraction(1, 7), Fraction(6, 7)], [0.1, 0.9]])
    graph.add_edge("a", "x", transition=[[1.0, 0.0], [5e-324, 1.0]])
    graph.add_edge("a", "y", polarity=-1)
    graph.add_edge("a", "z", polarity=-0.0)
    graph.add_edge("a", "w", transition=[[0.1 + 0.2, 0.7], [1e-17, 1.0]])
    return hltm.HLTM(graph)


TREES = {
    "edge": lambda: hltm.complete_tree(1, 1, polarity=1),
    "complete": lambda: hltm.complete_tree(3, 2, polarity=(-1, 1), seed=0, root_polarity=0.1),
    "rational": lambda: hltm.star_tree(3, polarity=Fraction(-1, 3), root_polarity=Fraction(2, 7)),
    "categorical": lambda: hltm.random_tree(9, seed=4, cardinality=(2, 5)),
    "deep": lambda: hltm.complete_tree(3000, 1, polarity=0.3),
    "names": strange_names,
    "numbers": mixed_numbers,
}


def content(tree):
    """Everything that a file must keep, with the type of each number."""
    tables = [repr(tree.exact_table(node)) for node in tree.nodes[1:]]
    children = [tree.children(node) for node in tree.nodes]
    given = [repr(dict(tree.graph.edges[edge])) for edge in tree.edges]
    return tree.nodes, children, tree.graph.graph, repr(tree.exact_prior()), tables, given


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("case", TREES)
def test_round_trip(tmp_path, case, suffix):
    tree = TREES[case]()
    path = tmp_path / f"tree{suffix}"
    hltm.save(tree, path)
    again = hltm.load(path)
    assert again == tree
    assert content(again) == content(tree)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("seed", range(10))
def test_all_digits_survive(tmp_path, seed, suffix):
    tree = hltm.random_tree(6, seed=seed, cardinality=(2, 4))
    hltm.save(tree, tmp_path / f"tree{suffix}")
    assert content(hltm.load(tmp_path / f"tree{suffix}")) == content(tree), f"seed {seed}"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_reference_trees_survive(tmp_path, reference_trees, suffix):
    for reference in reference_trees:
        tree = hltm.tree_from_json(reference["tree"])
        hltm.save(tree, tmp_path / f"tree{suffix}")
        assert content(hltm.load(tmp_path / f"tree{suffix}")) == content(tree)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_number_too_long_to_be_written_is_refused(tmp_path, suffix):
    top = 10**5000
    tree = hltm.star_tree(1, Fraction(top - 1, top))
    with pytest.raises(hltm.InputError, match="cannot be written"):
        hltm.save(tree, tmp_path / f"tree{suffix}")
    assert not list(tmp_path.iterdir())


def test_networkx_reads_our_graphml_and_we_read_its(tmp_path):
    tree = hltm.complete_tree(2, 2, polarity=(-1, 1), seed=1)
    hltm.save(tree, tmp_path / "ours.graphml")
    read = nx.read_graphml(tmp_path / "ours.graphml")
    for above, node in tree.edges:
        assert read.edges[str(above), str(node)]["polarity"] == tree.polarity(above, node)

    graph = nx.DiGraph(name="from networkx")
    graph.add_node("r", prior="[0.25, 0.75]", cardinality=2)
    graph.add_edge("r", "a", polarity=0.1)
    graph.add_edge("r", "b", transition="[[0.5, 0.5], [0.1, 0.9]]")
    nx.write_graphml(graph, tmp_path / "theirs.graphml")
    again = hltm.load(tmp_path / "theirs.graphml")
    assert again.exact_prior() == (0.25, 0.75)
    assert again.polarity("r", "a") == 0.1
    assert again.exact_table("b") == ((0.5, 0.5), (0.1, 0.9))
    assert again.graph.graph == {"name": "from networkx"}


def test_names_in_bif_differ_in_more_than_case(tmp_path):
    hltm.save(strange_names(), tmp_path / "tree.bif")
    words = re.findall(r"^variable (.*) \{$", (tmp_path / "tree.bif").read_text(), re.MULTILINE)
    assert len({word.lower() for word in words}) == len(words) == len(strange_names())
    assert all(re.fullmatch("[A-Za-z][A-Za-z0-9_]*", word) for word in words)


WEATHER = {
    "road": [[0.9, 0.1], [0.25, 0.75], [1 / 3, 2 / 3]],
    "field": [[0.8, 0.2], [0.1, 0.9], [0.05, 0.95]],
    "slip": [[0.99, 0.01], [0.6, 0.4]],
    "jam": [[0.7, 0.1, 0.1, 0.1], [0.1, 0.2, 0.3, 0.4]],
}


@pytest.mark.parametrize(
    ("tool", "children"), [("pgmpy", ("field", "road")), ("pyagrum", ("road", "field"))], ids=["pgmpy", "pyagrum"]
)
def test_files_of_other_tools_are_read(tmp_path, tool, children):
    tree = hltm.load(SAMPLES / f"{tool}.bif")
    assert tree.root == "weather"
    assert tree.children("weather") == children, "the order of the variables in the file"
    assert tree.exact_prior() == (0.5, 0.3, 0.2)
    for node, table in WEATHER.items():
        assert np.array_equal(tree.transition(tree.parent(node), node), table)
    hltm.save(tree, tmp_path / "again.bif")
    assert hltm.load(tmp_path / "again.bif") == tree


def bif(
    variables="", a="( 0 ) 0.75, 0.25 ;\n( 1 ) 0.5 0.5 ;", head="network n { }", family="a | r", prior="table 0.5 0.5;"
):
    return (
        f"{head}\nvariable r {{ type discrete[2] {{ 0, 1 }}; }}\n{variables or 'variable a { type discrete[2] { 0, 1 }; }'}\n"
        f"probability ( r ) {{ {prior} }}\nprobability ( {family} ) {{ {a} }}\n"
    )


READ = {
    "rows": bif(),
    "rows-swapped": bif(a="( 1 ) 0.5, 0.5;\n( 0 ) 0.75 0.25;"),
    "table-child-slowest": bif(a="table 0.75, 0.5, 0.25, 0.5;"),
    "default": bif(a="default 0.5 0.5; ( 0 ) 0.75, 0.25;"),
    "default-of-root": bif(prior="default 0.5 0.5;"),
    "old-form": bif(family="a r"),
    "old-form-commas": bif(family="a, r"),
    "quoted": bif(family='"a" | "r"'),
    "comments": bif(head='// one { \n/* two * / " */ network "a net; {" {\n// three\n}'),
    "properties": bif(head='network n { property "a;b} {"; property author = me ; }'),
    "state-names": bif('variable a { property x y; type discrete [2] { "very dry" wet }; }'),
    "state-names-with-spaces": bif("variable a { type discrete [2] { very dry, wet }; }"),
    "state-names-of-many-words": bif("variable a { type discrete [2] { not at all dry, wet }; }"),
    "no-network": bif(head=""),
    "numbers": bif(a="( 0 ) 75E-2 .25;\n( 1 ) +5e-1, 0.50;"),
    "bom": "\ufeff" + bif(),
}


@pytest.mark.parametrize("case", READ)
def test_forms_of_bif(tmp_path, case):
    (tmp_path / "tree.bif").write_text(READ[case])
    tree = hltm.load(tmp_path / "tree.bif")
    assert tree.edges == (("r", "a"),)
    assert tree.exact_table("a") == ((0.75, 0.25), (0.5, 0.5))
    assert tree.exact_prior() == (0.5, 0.5)


def test_names_of_several_words_and_rows_by_state_name(tmp_path):
    text = bif(
        "variable my leaf { type discrete[2] { no, yes }; }", family="my leaf | r", a="( 1 ) 0.5 0.5; ( 0 ) 0.75 0.25;"
    )
    (tmp_path / "tree.bif").write_text(text)
    assert hltm.load(tmp_path / "tree.bif").exact_table("my leaf") == ((0.75, 0.25), (0.5, 0.5))


BAD_BIF = {
    "empty": ("", "not BIF: no block 'variable'"),
    "other-word": ("<graphml/>", "line 1: '<graphml/>': must be 'network', 'variable' or 'probability'"),
    "comment-open": ("network n { }\n/* x", "line 2: '/*': must be closed"),
    "quote-open": ('network "n\n{ }', "must be closed"),
    "twice": (bif("variable a { type discrete[2] {0 1}; } variable a { type discrete[2] {0 1}; }"), "'a': must not be declared twice"),
    "no-name": (bif("variable { type discrete[2] {0 1}; }"), "'{': must be the name of a variable"),
    "no-state": (bif(a="( ) 0.5 0.5;"), "must be a state of 'r'"),
    "no-type": (bif("variable a { }"), "variable 'a' needs a 'type'"),
    "continuous": (bif("variable a { type continuous; }"), "'continuous': type of variable 'a': must be 'discrete'"),
    "count-text": (bif("variable a { type discrete[two] {0 1}; }"), "states of variable 'a': must be a count"),
    "count-huge": (bif("variable a { type discrete[1000000000] {0, 1}; }"), "must be a count of at most 65,536"),
    "count-small": (bif("variable a { type discrete[2] {0, 1, 2}; }"), "declares 2 states, names 3"),
    "one-state": (bif("variable a { type discrete[1] {0}; }", a="table 1 1;"), "cardinality=1 of node 'a': must be at least 2"),
    "states-twice": (bif("variable a { type discrete[2] {0, 0}; }"), "two states must not have the same name"),
    "no-table": (bif() + "variable b { type discrete[2] {0 1}; }", "variable 'b': has no block 'probability'"),
    "two-tables": (bif() + "probability ( a | r ) { }", "'a': must not have two blocks"),
    "row-missing": (bif(a="( 0 ) 0.5 0.5;"), "the table of 'a': has no row for state '1' of the parent"),
    "row-twice": (bif(a="( 0 ) 0.5 0.5; ( 0 ) 0.5 0.5;"), "'0': must have one row in the table of 'a'"),
    "row-of-root": (bif(prior="( 0 ) 0.5 0.5;"), "'(': must be a row"),
    "root-empty": (bif(prior=""), "the table of 'r': has no row"),
    "state-unknown": (bif(a="( 3 ) 0.5 0.5;"), "'3': must be a state of 'r'"),
    "too-few": (bif(a="( 0 ) 0.5;"), "must have 2 numbers here, has 1"),
    "too-many": (bif(a="( 0 ) 0.5 0.25 0.25;"), "must have 2 numbers here, has more"),
    "no-number": (bif(a="( 0 ) 0.5 half;"), "'half': the table of 'a': must be a number"),
    "formula": (bif(a="( 0 ) __import__ ( 1 );"), "'__import__': the table of 'a': must be a number"),
    "fraction-of-zero": (bif(a="( 0 ) 1/0 1;"), "'1/0': the table of 'a': must be a number"),
    "parent-unknown": (bif(family="a | rr"), "'rr': must be a variable of the file; did you mean 'r'?"),
    "child-unknown": (bif(family="aa | r"), "'aa': must be a variable of the file; did you mean 'a'?"),
    "two-children": (bif("variable a { type discrete[2] {0 1}; } variable b { type discrete[2] {0 1}; }", family="a, b | r"), "must have one variable before '|'"),
    "no-child": (bif(family="| r"), "must have one variable before '|'"),
    "polarity-edited": (bif(a="property polarity = 0.4 ; table 0.75 0.25 0.25 0.75;"), "property polarity of 'a': must agree with the table"),
    "polarity-range": (bif(a="property polarity = 1.3 ; table 0.75 0.25 0.25 0.75;"), "property polarity of 'a'=1.3: must lie in [-1, 1]"),
    "transition-edited": (bif(a="property transition = 1/3 2/3 , 1/2 1/2 ; table 0.75 0.5 0.25 0.5;"), "property transition of 'a': must agree"),
    "transition-short": (bif(a="property transition = 1/3 , 1/2 1/2 ; table 0.75 0.5 0.25 0.5;"), "must have 2 numbers in a row"),
    "property-twice": (bif(a="property polarity 1 ; property polarity 1 ;"), "property polarity of variable 'a': must not be given twice"),
    "property-open": (bif(a="property polarity = 0.4") + "network", "'property': must end with ';'"),
    "name-broken": (bif("variable a { type discrete[2] {0 1}; property hltm_name = %5B ; }"), "must be percent-encoded JSON"),
    "name-object": (bif("variable a { type discrete[2] {0 1}; property hltm_name = {} ; }"), "node {}"),
    "name-twice": (bif("variable a { type discrete[2] {0 1}; property hltm_name = %22r%22 ; }"), "'r' must not be listed twice"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_BIF)
def test_bad_bif(tmp_path, case):
    text, message = BAD_BIF[case]
    refused(tmp_path / "tree.bif", text, message)


def refused(path, text, message):
    path.write_text(text)
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


KEYS = """<key id="prior" for="node" attr.name="prior"/><key id="p" for="edge" attr.name="polarity"/>
<key id="hltm_name" for="node" attr.name="hltm_name"/><key id="t" for="edge" attr.name="transition"/><key id="q" for="edge" attr.name="polarity"/>"""


def graphml(more="", nodes="", edge='<data key="p">0.5</data>', default="directed", keys=KEYS, prior="[0.5, 0.5]"):
    return (
        f'<graphml>{keys}<graph edgedefault="{default}"><node id="r"><data key="prior">{prior}</data></node>'
        f'<node id="a"/>{nodes}<edge source="r" target="a">{edge}</edge>{more}</graph></graphml>'
    )


BAD_GRAPHML = {
    "empty": ("", "not valid XML: no element found"),
    "json": ("{}", "not valid XML"),
    "truncated": (graphml()[:-5], "not valid XML"),
    "doctype": ("<!DOCTYPE graphml>" + graphml(), "<!DOCTYPE 'graphml'>: must not be given"),
    "html": ("<html/>", "element 'html' at the top, line 1: not GraphML of a tree"),
    "no-graph": ("<graphml/>", "no element 'graph'"),
    "two-graphs": ('<graphml><graph edgedefault="directed"/><graph edgedefault="directed"/></graphml>', "a second element 'graph'"),
    "nested": (graphml(nodes='<node id="b"><graph edgedefault="directed"/></node>'), "element 'graph' inside 'node'"),
    "hyperedge": (graphml("<hyperedge/>"), "element 'hyperedge' inside 'graph'"),
    "edgedefault": (graphml(default="yes"), "edgedefault='yes' of the graph: must be 'directed' or 'undirected'"),
    "node-twice": (graphml(nodes='<node id="a"/>'), "node 'a': must not be listed twice"),
    "node-without-id": (graphml(nodes="<node/>"), "element 'node', line 2: needs the attribute 'id'"),
    "name-twice": (graphml(nodes='<node id="b"><data key="hltm_name">"a"</data></node>'), "'a' must not be listed twice"),
    "name-object": (graphml(nodes='<node id="b"><data key="hltm_name">{}</data></node>'), "node {}"),
    "edge-twice": (graphml('<edge source="r" target="a"><data key="p">0.5</data></edge>'), "('r', 'a') must not be listed twice"),
    "edge-undeclared": (graphml('<edge source="r" target="aa"/>'), "edge 1: the node 'aa' must be an element 'node'; did you mean 'a'?"),
    "key-unknown": (graphml(edge='<data key="z">0.5</data>'), "data 'z' of edge ('r', 'a'): no such key"),
    "key-twice": (graphml(keys=KEYS + '<key id="p"/>'), "key 'p': must not be given twice"),
    "key-of-nodes": (graphml(edge='<data key="prior">0.5</data>'), "data 'prior' of edge ('r', 'a'): the key is for 'node'"),
    "value-twice": (graphml(edge='<data key="p">0.5</data><data key="q">0.5</data>'), "attribute 'polarity' of edge ('r', 'a'): must not be given twice"),
    "loose-text": (graphml("0.5"), "text '0.5', line 2: not GraphML"),
    "not-json": (graphml(prior="0.5 0.5"), "prior='0.5 0.5' of node 'r': must be JSON such as [0.5, 0.5]"),
    "deep-json": (graphml(prior="[" * 100_000), "nested too deeply"),
    "formula": (graphml(edge='<data key="p">__import__("os")</data>'), "must be a number, got str"),
    "fraction-of-zero": (graphml(edge='<data key="p">1/0</data>'), "polarity='1/0' on edge ('r', 'a'): must be a number"),
    "table-number": (graphml(edge='<data key="t">0.5</data>'), "transition on edge ('r', 'a')=0.5: must be a list"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_GRAPHML)
def test_bad_graphml(tmp_path, case):
    text, message = BAD_GRAPHML[case]
    refused(tmp_path / "tree.graphml", text, message)


def test_descriptions_and_unused_keys_are_skipped(tmp_path):
    text = graphml("<desc>a &lt; b</desc>", keys='<key id="w" for="edge"><default>1</default></key>' + KEYS)
    (tmp_path / "tree.graphml").write_text(text)
    assert hltm.load(tmp_path / "tree.graphml").polarity("r", "a") == 0.5


NS = 'xmlns="http://graphml.graphdrawing.org/xmlns"'
PRIOR = '<key id="p" for="node" attr.name="prior" attr.type="string"/>'
RHO = '<key id="e" for="edge" attr.name="polarity" attr.type="double"/>'


def foreign(
    head="", root="", leaf="", edge='<data key="e">0.5</data>', ids=("m", "n"), keys=PRIOR + RHO, prior="[0.25, 0.75]"
):
    """Two nodes and an edge as another tool writes them."""
    return (
        f'<graphml {NS} xmlns:y="http://www.yworks.com/xml/graphml">{head}{keys}<graph id="G" edgedefault="directed">'
        f'<node id="{ids[0]}"><data key="p">{prior}</data>{root}</node><node id="{ids[1]}">{leaf}</node>'
        f'<edge id="e0" source="{ids[0]}" target="{ids[1]}">{edge}</edge></graph></graphml>'
    )


def label(name):
    return f'<data key="l">{name}</data>'


def yed(name):
    shape = f"<y:ShapeNode><y:Geometry x='1'/><y:NodeLabel>{name}<y:LabelModel><y:X>9</y:X></y:LabelModel></y:NodeLabel></y:ShapeNode>"
    return f'<data key="g">{shape}</data><port name="north"><data key="g"/></port>'


def keyed(name, domain="node"):
    return f'<key id="l" for="{domain}" attr.name="{name}" attr.type="string"/>'


PREFIXED = re.sub(r"<(/?)(?=[a-z]+[ />])", r"<\1g:", foreign()).replace("xmlns=", "xmlns:g=")
GRAPHICS = '<key id="g" for="node" yfiles.type="nodegraphics"/><key id="g2" for="port" yfiles.type="portgraphics"/>'
TOOLS = {
    "plain": (foreign(), ("m", "n")),
    "no-namespace": (foreign().replace(NS, ""), ("m", "n")),
    "prefixed": (PREFIXED, ("m", "n")),
    "cytoscape": (foreign(keyed("name"), label("r"), label("a") + '<data key="l"/>'), ("r", "a")),
    "gephi": (foreign(keyed("label"), label("r"), label("a")), ("r", "a")),
    "one-label": (foreign(keyed("label"), label("r")), ("m", "n")),
    "same-labels": (foreign(keyed("label"), label("r"), label("r")), ("m", "n")),
    "empty-label": (foreign(keyed("label"), label("r"), label(" ")), ("m", "n")),
    "yed": (foreign(GRAPHICS, yed("r"), yed("a")) .replace("</graphml>", '<data key="g"><y:Resources/></data></graphml>'), ("r", "a")),
    "yed-cdata": (foreign(prior="<![CDATA[[0.25, 0.75]]]>", edge='<desc>x</desc><data key="e" xml:space="preserve">0.5</data>'), ("m", "n")),
    "ids": (foreign(keyed("id"), label("x"), label("y")), ("m", "n")),
    "id-source-target": (foreign(keyed("source", "all"), label("x"), label("y"), label("z") + '<data key="e">0.5</data>'), ("m", "n")),
    "default": (foreign(keys=PRIOR + RHO.replace("/>", "><default>0.5</default></key>"), edge=""), ("m", "n")),
    "empty-value": (foreign(keys=PRIOR + RHO.replace("/>", "><default>0.5</default></key>"), edge='<data key="e"/>'), ("m", "n")),
    "nan": (foreign(keyed("transition", "edge"), edge='<data key="l">NaN</data><data key="e">0.5</data>'), ("m", "n")),
    "default-table": (
        foreign(keyed("transition", "edge"), keys=PRIOR + RHO.replace("/>", "><default>0.1</default></key>"), edge='<data key="l">[[0.75, 0.25], [0.25, 0.75]]</data>'),
        ("m", "n"),
    ),
    "default-prior": (foreign(keys=PRIOR.replace("/>", "><default>[0.25, 0.75]</default></key>") + RHO, prior=""), ("m", "n")),
    "no-edgedefault": (foreign().replace(' edgedefault="directed"', ""), ("m", "n")),
    "directed-edge": (foreign().replace("<edge ", '<edge directed="true" sourceport="north" '), ("m", "n")),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore::hltm.TreeWarning")  # of foreign attributes
@pytest.mark.parametrize("case", TOOLS)
def test_graphml_of_other_tools(tmp_path, case):
    text, (root, leaf) = TOOLS[case]
    (tmp_path / "tree.graphml").write_text(text)
    tree = hltm.load(tmp_path / "tree.graphml")
    assert tree.edges == ((root, leaf),)
    assert tree.exact_prior() == (0.25, 0.75)
    assert np.array_equal(tree.transition(root, leaf), [[0.75, 0.25], [0.25, 0.75]])


@pytest.mark.parametrize("declaration", ["<!DOCTYPE graphml>", '<!DOCTYPE g [<!ENTITY x "0.5">]>'])
def test_entities_of_graphml_are_not_read(tmp_path, declaration):
    refused(tmp_path / "tree.graphml", declaration + foreign(), "must not be given")


def test_elements_of_other_tools_nest_to_a_limit(tmp_path):
    deep = "<y:a>" * 100 + "</y:a>" * 100
    refused(tmp_path / "tree.graphml", foreign(GRAPHICS, f'<data key="g">{deep}</data>'), "nested too deeply")


def test_names_of_states_in_graphml(tmp_path):
    text = foreign(keyed("states"), leaf=label('["no", "yes"]'))
    (tmp_path / "tree.graphml").write_text(text)
    tree = hltm.load(tmp_path / "tree.graphml")
    assert tree.states("n") == ("no", "yes")
    hltm.save(tree, tmp_path / "again.graphml")
    assert hltm.load(tmp_path / "again.graphml") == tree


NOTES = {
    "cytoscape": ["the nodes are called by their attribute 'name', not by their ids in the file"],
    "yed": ["the nodes are called by their labels, not by their ids in the file"],
    "one-label": ["attributes of other programs are ignored (nodes: label)"],
    "ids": ["attributes of other programs are ignored (nodes: id)"],
    "id-source-target": ["attributes of other programs are ignored (nodes: source; edges: source)"],
    "default": [],
    "prefixed": [],
}


@pytest.mark.parametrize("case", NOTES)
def test_what_is_said_of_graphml_of_other_tools(tmp_path, case):
    (tmp_path / "tree.graphml").write_text(TOOLS[case][0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hltm.load(tmp_path / "tree.graphml")
    assert [str(warning.message).partition(": ")[2] for warning in caught] == NOTES[case]


UNDIRECTED = {
    "default": foreign().replace('"directed"', '"undirected"'),
    "turned": foreign().replace('"directed"', '"undirected"').replace('source="m" target="n"', 'source="n" target="m"'),
    "edge": foreign().replace('source="m" target="n"', 'directed="false" source="n" target="m"'),
}


@pytest.mark.parametrize("case", UNDIRECTED)
def test_undirected_graphml_is_rooted_at_the_node_with_the_prior(tmp_path, case):
    (tmp_path / "tree.graphml").write_text(UNDIRECTED[case])
    with pytest.warns(hltm.TreeWarning, match="the tree is undirected; its root is 'm'"):
        tree = hltm.load(tmp_path / "tree.graphml")
    assert tree.edges == (("m", "n"),)
    assert tree.polarity("m", "n") == 0.5


def test_a_directed_edge_among_undirected_ones_must_lead_away_from_the_root(tmp_path):
    more = '<node id="o"/><edge source="o" target="n" directed="true"><data key="e">0.5</data></edge></graph>'
    text = UNDIRECTED["default"].replace("</graph>", more)
    refused(
        tmp_path / "tree.graphml",
        text,
        "edge ('o', 'n') has the direction from child to parent: the tree is rooted at 'm'",
    )


def test_undirected_graphml_without_a_prior_is_refused(tmp_path):
    text = UNDIRECTED["default"].replace("[0.25, 0.75]", "")
    refused(tmp_path / "tree.graphml", text, "the tree is undirected and no node has a prior")
