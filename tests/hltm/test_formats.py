"""Files of XMLBIF, XDSL, NET and UAI: the same small network in each, and the files that are no tree or no such file."""

import itertools
import re
import sys

import numpy as np
import pytest

import hltm

XMLBIF = """<?xml version="1.0" encoding="US-ASCII"?>
<!-- <graphml> -->
<!DOCTYPE BIF [ <!ELEMENT BIF ( NETWORK )*> <!ATTLIST BIF VERSION CDATA #REQUIRED> ]>
<BIF VERSION="0.3"><NETWORK><NAME>weather</NAME><PROPERTY>a property</PROPERTY>
<DEFINITION><FOR>road</FOR><GIVEN>sky</GIVEN><TABLE>0.1 0.9 0.25 0.75
 <!-- cloudy --> 5e-1 0.5</TABLE><PROPERTY/></DEFINITION>
<VARIABLE TYPE="nature"><NAME>sky</NAME><OUTCOME>zed</OUTCOME><OUTCOME>10</OUTCOME><OUTCOME>9</OUTCOME><PROPERTY>position = (1, 2)</PROPERTY></VARIABLE>
<VARIABLE><NAME> road </NAME><OUTCOME>very wet</OUTCOME><OUTCOME>dry</OUTCOME></VARIABLE>
<VARIABLE TYPE="nature"><NAME>slip</NAME><OUTCOME>TRUE</OUTCOME><OUTCOME>FALSE</OUTCOME></VARIABLE>
<DEFINITION><FOR>sky</FOR><TABLE>0.2 0.5 0.3</TABLE></DEFINITION>
<DEFINITION><FOR>slip</FOR><GIVEN>road</GIVEN><TABLE>0.6 0.4 0.0 1</TABLE></DEFINITION>
</NETWORK></BIF>
"""

XDSL = """<?xml version="1.0" encoding="UTF-8"?>
<smile version="1.0" id="Weather" numsamples="1000"><nodes>
<cpt id="sky"><state id="zed"/><state id="10"/><state id="9"/><property id="x">y</property><probabilities>0.2 0.5 0.3</probabilities></cpt>
<cpt id="road"><state id="very wet" color="1"/><state id="dry"/><parents>sky</parents><probabilities>0.1 0.9 0.25 0.75 5e-1 0.5</probabilities></cpt>
<cpt id="slip"><state id="TRUE"/><state id="FALSE"/><parents>road</parents><probabilities>0.6 0.4
 0.0 1</probabilities></cpt>
</nodes><extensions><genie><node id="sky"><name>The sky</name><font/></node></genie></extensions></smile>
"""

NET = r"""% by hand
net { node_size = (50 50); name = "a \"net\"; {"; }
node sky { label = "The sky"; position = (1 2); states = ("zed" "10" "9"); }
discrete node road { states = ("very wet" dry); HR_Desc = ""; }
node slip { states = ("TRUE" "FALSE"); }
potential ( road | sky ) { data = (( 0.1 0.9 ) % zed
 ( 0.25 0.75 ) ( 5e-1 0.5 )); }
potential (sky) { data = (0.2 0.5 0.3); }
potential (slip | road) { data = (0.6 0.4 0.0 1); }
"""
CLASS = "class Weather { inputs = (); outputs = (sky road); " + NET.partition("\n")[2].partition("\n")[2] + "}"

UAI = """BAYES
3
3 2 2
3
2 0 1   # the road
1 0
2 1 2

6
 0.1 0.9
 0.25 0.75
 5e-1 0.5
3 0.2 0.5 0.3
4
 0.6 0.4 0.0 1
"""

FILES = {
    "tree.xml": XMLBIF,
    "tree.xmlbif": re.sub("<!DOCTYPE.*\n", "", XMLBIF).replace(
        "<BIF ", '<BIF xmlns="http://www.cs.ubc.ca/XMLBIFv0_3" '
    ),
    "tree.bifxml": XMLBIF,
    "tree.xdsl": XDSL,
    "tree.net": NET,
    "class.net": CLASS,
    "tree.uai": UAI,
}
TABLES = ([[0.1, 0.9], [0.25, 0.75], [0.5, 0.5]], [[0.6, 0.4], [0, 1]])


@pytest.mark.parametrize("name", FILES)
def test_numbers_names_and_orders(tmp_path, name):
    (tmp_path / name).write_text(FILES[name])
    tree = hltm.load(tmp_path / name)
    names = (0, 1, 2) if name.endswith("uai") else ("sky", "road", "slip")
    assert tree.nodes == names
    assert tree.edges == tuple(itertools.pairwise(names))
    assert tree.exact_prior() == (0.2, 0.5, 0.3)
    for edge, table in zip(tree.edges, TABLES, strict=True):
        assert np.array_equal(tree.transition(*edge), table)
    if not name.endswith("uai"):
        assert list(map(tree.states, names)) == [("zed", "10", "9"), ("very wet", "dry"), ("TRUE", "FALSE")]


def test_states_that_are_numbers_are_put_in_order(tmp_path):
    (tmp_path / "tree.net").write_text(NET.replace('"TRUE" "FALSE"', "1 0"))
    tree = hltm.load(tmp_path / "tree.net")
    assert tree.states("slip") == ("0", "1")
    assert np.array_equal(tree.transition("road", "slip"), [[0.4, 0.6], [1, 0]])


def test_a_deterministic_node_of_genie(tmp_path):
    text = re.sub("<cpt id=.slip.*?</cpt>", DETERMINISTIC, XDSL, flags=re.DOTALL)
    (tmp_path / "tree.xdsl").write_text(text)
    assert np.array_equal(hltm.load(tmp_path / "tree.xdsl").transition("road", "slip"), [[0, 1], [1, 0]])


DETERMINISTIC = '<deterministic id="slip"><state id="T"/><state id="F"/><parents>road</parents><resultingstates>F T</resultingstates></deterministic>'


@pytest.mark.parametrize("name", FILES)
def test_rounded_rows_are_divided_by_their_sum(tmp_path, name):
    (tmp_path / name).write_text(FILES[name].replace("0.25 0.75", "0.3333 0.6666"))
    with pytest.warns(hltm.TreeWarning, match="1 row is rounded and divided by its sum, largest change 6.7e-05"):
        tree = hltm.load(tmp_path / name)
    assert np.allclose(tree.transition(*tree.edges[0])[1], [1 / 3, 2 / 3], atol=1e-15)
    with pytest.raises(hltm.InputError, match=r"must sum to one"):
        hltm.load(tmp_path / name, strict=True)


BAD = {
    "xmlbif-sum": ("tree.xml", XMLBIF.replace("0.25 0.75", "0.25 0.95"), r"row 1 of transition on edge ('sky', 'road'), line 6: must sum to one, sums to 1.2"),
    "xmlbif-short": ("tree.xml", XMLBIF.replace("0.25 0.75", "0.25"), "table of 'road', line 6: must have 6 numbers, has 5"),
    "xmlbif-long": ("tree.xml", XMLBIF.replace("0.25 0.75", "0.25 0.75 0"), "must have 6 numbers, has 7"),
    "xmlbif-word": ("tree.xml", XMLBIF.replace("0.25", "half"), "table of 'road': 'half' must be a number"),
    "xmlbif-formula": ("tree.xml", XMLBIF.replace("0.25", "__import__('os')"), "must be a number"),
    "xmlbif-entity": ("tree.xml", XMLBIF.replace("[ <!EL", '[ <!ENTITY x "1"> <!EL'), "entity 'x': must not be given"),
    "xmlbif-reference": ("tree.xml", re.sub("<!DOCTYPE.*", '<!DOCTYPE BIF SYSTEM "a.dtd">', XMLBIF).replace("0.25", "&x;"), "entity 'x': must not be given"),
    "xmlbif-two-parents": ("tree.xml", XMLBIF.replace("<GIVEN>road", "<GIVEN>sky</GIVEN><GIVEN>road"), "node 'slip' has parents 'sky', 'road': a node of a tree has one parent"),
    "xmlbif-unknown-parent": ("tree.xml", XMLBIF.replace("<GIVEN>road", "<GIVEN>raod"), "'raod', a parent of 'slip': must be a variable of the file; did you mean 'road'?"),
    "xmlbif-unknown-child": ("tree.xml", XMLBIF.replace("<FOR>road", "<FOR>roads"), "'roads', a table: must be a variable of the file; did you mean 'road'?"),
    "xmlbif-two-tables": ("tree.xml", XMLBIF.replace("<FOR>slip", "<FOR>road"), "node 'road', line 11: must not have two tables"),
    "xmlbif-table-twice": ("tree.xml", XMLBIF.replace("<TABLE>0.6", "<TABLE>1</TABLE><TABLE>0.6"), "element 'TABLE', line 11: must be one"),
    "xmlbif-no-table": ("tree.xml", XMLBIF.replace("<TABLE>0.2 0.5 0.3</TABLE>", ""), "table of 'sky', line 10: needs an element 'TABLE'"),
    "xmlbif-no-definition": ("tree.xml", re.sub("<DEFINITION><FOR>slip.*", "", XMLBIF), "node 'slip': has no table"),
    "xmlbif-name-twice": ("tree.xml", XMLBIF.replace("<NAME>slip", "<NAME>sky"), "node 'sky': must not be declared twice"),
    "xmlbif-no-name": ("tree.xml", XMLBIF.replace("<NAME>slip</NAME>", ""), "element 'VARIABLE', line 9: must have one 'NAME'"),
    "xmlbif-states-twice": ("tree.xml", XMLBIF.replace(">FALSE<", ">TRUE<"), "the name 'TRUE' must not be given twice"),
    "xmlbif-utility": ("tree.xml", XMLBIF.replace('TYPE="nature"><NAME>slip', 'TYPE="utility"><NAME>slip'), "TYPE='utility' of a variable, line 9: must be 'nature'"),
    "xmlbif-other": ("tree.xml", "<html/>", "element 'html' at the top, line 1: not XMLBIF"),
    "xmlbif-cycle": ("tree.xml", XMLBIF.replace("<FOR>sky</FOR><TABLE>0.2 0.5 0.3", "<FOR>sky</FOR><GIVEN>slip</GIVEN><TABLE>0.2 0.5 0.3 0.2 0.5 0.3"), "a tree has no cycle"),
    "xmlbif-forest": ("tree.xml", XMLBIF.replace("<GIVEN>road</GIVEN><TABLE>0.6 0.4 0.0 1", "<TABLE>0.6 0.4"), "'sky', 'slip' have no parent"),
    "xdsl-noisy": ("tree.xdsl", XDSL.replace("cpt", "noisymax"), "'noisymax' of node 'sky', line 3: must be 'cpt'"),
    "xdsl-other": ("tree.xdsl", XMLBIF.replace("<!DOCTYPE", "<!--").replace("]>", "-->"), "element 'BIF' at the top, line 4: not XDSL"),
    "xdsl-doctype": ("tree.xdsl", XDSL.replace("<smile", "<!DOCTYPE smile><smile"), "<!DOCTYPE 'smile'>: must not be given"),
    "xdsl-dynamic": ("tree.xdsl", XDSL.replace("<extensions>", '<dynamic numslices="3"/><extensions>'), "element 'dynamic', line 7: a network over time is no tree"),
    "xdsl-two-parents": ("tree.xdsl", XDSL.replace("<parents>road", "<parents>sky road"), "node 'slip' has parents 'sky', 'road'"),
    "xdsl-no-id": ("tree.xdsl", XDSL.replace('<cpt id="slip"', "<cpt"), "element 'cpt', line 5: needs the attribute 'id'"),
    "xdsl-twice": ("tree.xdsl", XDSL.replace("<parents>road", "<parents>sky</parents><parents>road"), "element 'parents' of node 'slip', line 5: must be one"),
    "xdsl-state": ("tree.xdsl", re.sub("<cpt id=.slip.*?</cpt>", DETERMINISTIC.replace("F T", "F X"), XDSL, flags=re.DOTALL), "'X', line 5: must be a state of 'slip'"),
    "net-surplus": ("tree.net", NET.replace("0.5 )", "0.5 ) ( 0.5 0.5 )"), "line 7: '0.5': 'data' must have at most 6 entries here"),
    "net-two-children": ("tree.net", NET.replace("(slip |", "(slip road |"), "must have one node before '|'"),
    "net-two-parents": ("tree.net", NET.replace("| road)", "| sky road)"), "node 'slip' has parents 'sky', 'road'"),
    "net-function": ("tree.net", NET.replace("(0.2 0.5 0.3)", "normal(0, 1)"), "line 8: 'normal': must be '('"),
    "net-no-data": ("tree.net", NET.replace("data = (0.2 0.5 0.3);", ""), "line 8: 'sky': a potential needs 'data'"),
    "net-no-states": ("tree.net", NET.replace('states = ("TRUE" "FALSE");', ""), "line 5: 'slip': a node needs 'states'"),
    "net-continuous": ("tree.net", NET.replace("discrete", "continuous"), "line 4: 'continuous': must be 'net', 'node' or 'potential'"),
    "net-quote": ("tree.net", NET.replace('"TRUE"', '"TRUE'), "must be closed by"),
    "net-open": ("tree.net", NET[:-10], "the end of the file: 'data' must end with ')'"),
    "net-brace": ("tree.net", NET.rstrip()[:-1], "the end of the file: must be the name of an attribute or '}'"),
    "uai-markov": ("tree.uai", UAI.replace("BAYES", "MARKOV"), "'MARKOV': must be 'BAYES'"),
    "uai-size": ("tree.uai", UAI.replace("0.25 0.75", "0.25"), "the number of entries of table 1: must be an integer"),
    "uai-count": ("tree.uai", UAI.replace("\n6\n", "\n5\n").replace("5e-1 0.5", "5e-1"), "table 0, of node 1: must have 6 entries, has 5"),
    "uai-two-parents": ("tree.uai", UAI.replace("2 1 2\n", "3 0 1 2\n"), "node 2 has parents 0, 1"),
    "uai-variable": ("tree.uai", UAI.replace("2 1 2\n", "2 1 3\n"), "a variable in table 2: must be an integer of at most 2, got '3'"),
    "uai-more": ("tree.uai", UAI + "1", "'1': must be the end of the file"),
    "uai-less": ("tree.uai", UAI[:-3], "table 2, of node 2: must have 4 numbers, has 3"),
    "uai-empty": ("tree.uai", "", "the end of the file: must be 'BAYES'"),
    "newick": ("tree.nwk", "(a,b)r;", "Newick has the shape of a tree and lengths, but no prior and no tables: read it with Bio.Phylo"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused_in_one_line(tmp_path, case):
    name, text, message = BAD[case]
    (tmp_path / name).write_text(text)
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(tmp_path / name)
    assert message in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(tmp_path))


@pytest.mark.parametrize("suffix", [".xml", ".xmlbif", ".bifxml", ".xdsl", ".net", ".uai", ".nwk", ".newick"])
def test_these_formats_are_read_and_not_written(tmp_path, suffix):
    with pytest.raises(hltm.InputError, match=r"must be one of \.json, \.graphml, \.bif; .* is read, not written"):
        hltm.save(hltm.star_tree(2, polarity=0.5), tmp_path / f"tree{suffix}")
    assert not list(tmp_path.iterdir())


def test_graphml_in_a_file_called_xml(tmp_path):
    tree = hltm.star_tree(2, polarity=0.5)
    hltm.save(tree, tmp_path / "tree.graphml")
    (tmp_path / "tree.graphml").rename(tmp_path / "tree.xml")
    assert hltm.load(tmp_path / "tree.xml") == tree


@pytest.mark.parametrize(
    ("function", "modules", "library"),
    [
        (hltm.to_pgmpy, ("pgmpy", "pgmpy.models", "pgmpy.factors.discrete"), "pgmpy"),
        (hltm.to_pyagrum, ("pyagrum",), "pyAgrum"),
    ],
    ids=["pgmpy", "pyagrum"],
)
def test_a_library_that_is_not_installed_is_named(monkeypatch, function, modules, library):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(hltm.InputError, match=rf"{library} is not installed; pip install 'covop\[interop\]'"):
        function(hltm.star_tree(2, polarity=0.5))
    with pytest.raises(hltm.InputError, match="tree of type list: must be an HLTM"):
        function([])


def test_networks_of_another_type_are_refused():
    for function in (hltm.from_pgmpy, hltm.from_pyagrum):
        with pytest.raises(hltm.InputError, match="of type int: must be a"):
            function(3)
