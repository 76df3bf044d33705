"""What the readers of pgmpy and pyAgrum make of files whose law is plain: why hltm reads them itself.

Needs the extra ``interop``. A test that fails here is good news: the library reads the file, and `hltm.formats` and
`docs/findings.md` may change.
"""

import subprocess
import sys
import warnings

import numpy as np
import pytest

import hltm

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import pyagrum
    from pgmpy.readwrite import UAIReader, XDSLReader

pytestmark = pytest.mark.filterwarnings("ignore")  # those of other tools

UAI = "BAYES\n2\n3 2\n2\n1 0\n2 0 1\n3\n 0.2 0.5 0.3\n6\n 0.1 0.9\n 0.25 0.75\n 0.5 0.5\n"
TABLE = [[0.1, 0.9], [0.25, 0.75], [0.5, 0.5]]
UNORDERED = "BAYES\n3\n2 2 2\n3\n1 0\n2 0 2\n2 0 1\n2\n 0.5 0.5\n4\n 0.9 0.1\n 0.8 0.2\n4\n 0.7 0.3\n 0.6 0.4\n"
XMLBIF = """<BIF VERSION="0.3"><NETWORK><NAME>n</NAME>
<VARIABLE TYPE="nature"><NAME>r</NAME><OUTCOME>no</OUTCOME><OUTCOME>yes</OUTCOME></VARIABLE>
<VARIABLE TYPE="nature"><NAME>a</NAME><OUTCOME>10</OUTCOME><OUTCOME>9</OUTCOME>
<PROPERTY>fast = a{10|9}</PROPERTY></VARIABLE>
<DEFINITION><FOR>r</FOR><TABLE>0.5 0.5</TABLE></DEFINITION>
<DEFINITION><FOR>a</FOR><GIVEN>r</GIVEN><TABLE>0.1 0.9 0.2 0.8</TABLE></DEFINITION></NETWORK></BIF>"""
XDSL = """<smile version="1.0" id="n"><nodes>
<cpt id="r"><state id="no"/><state id="yes"/><probabilities>0.5 0.5</probabilities></cpt>
<cpt id="a"><state id="no"/><state id="yes"/><parents>r</parents><probabilities>0.1 0.9 0.2 0.8</probabilities></cpt>
<deterministic id="d"><state id="T"/><state id="F"/><parents>a</parents><resultingstates>F T</resultingstates></deterministic>
</nodes><extensions><genie version="1.0" app="GeNIe" name="n"><node id="r"><name>r</name></node></genie></extensions></smile>"""
NET = """net { }
node r { states = ("no" "yes"); }
node a { states = ("no" "yes"); }
potential (r) { data = (0.5 0.5); }
potential (a | r) { data = ((0.1 0.9) (0.2 0.8) (0.3 0.7)); }
"""


def written(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    return str(tmp_path / name)


def test_pgmpy_mixes_up_a_table_of_uai(tmp_path):
    path = written(tmp_path, "tree.uai", UAI)
    assert hltm.load(path).transition(0, 1).tolist() == TABLE
    theirs = UAIReader(path).get_model().get_cpds("var_1").get_values()
    assert theirs.shape == (2, 3)
    assert not np.array_equal(theirs.T, TABLE)


def test_pyagrum_exchanges_tables_of_uai(tmp_path):
    path = written(tmp_path, "tree.uai", UNORDERED)
    assert hltm.load(path).transition(0, 2).tolist() == [[0.9, 0.1], [0.8, 0.2]]
    assert np.allclose(pyagrum.loadBN(path).cpt("1").toarray(), [[0.9, 0.1], [0.8, 0.2]])
    assert hltm.load(path).transition(0, 1).tolist() == [[0.7, 0.3], [0.6, 0.4]]


def test_pyagrum_sorts_states_of_its_own_xmlbif_and_not_their_probabilities(tmp_path):
    path = written(tmp_path, "tree.bifxml", XMLBIF)
    tree = hltm.load(path)
    assert tree.states("a") == ("10", "9")
    assert tree.transition("r", "a").tolist() == [[0.1, 0.9], [0.2, 0.8]]
    theirs = pyagrum.loadBN(path)
    assert theirs.variable("a").labels() == ("9", "10")
    assert np.allclose(theirs.cpt("a").toarray(), [[0.1, 0.9], [0.2, 0.8]])


def test_both_leave_out_nodes_of_xdsl(tmp_path):
    path = written(tmp_path, "tree.xdsl", XDSL)
    assert hltm.load(path).transition("a", "d").tolist() == [[0, 1], [1, 0]]
    assert pyagrum.loadBN(path).names() == {"r", "a"}
    assert set(XDSLReader(path).get_model().nodes) == {"r", "a"}


def test_pyagrum_drops_surplus_rows_of_net(tmp_path):
    path = written(tmp_path, "tree.net", NET)
    with pytest.raises(hltm.InputError, match="must have at most 4 entries"):
        hltm.load(path)
    assert np.allclose(pyagrum.loadBN(path).cpt("a").toarray(), [[0.1, 0.9], [0.2, 0.8]])


def test_pyagrum_ends_the_process_on_deep_nesting(tmp_path):
    path = written(tmp_path, "tree.net", NET.partition("((")[0] + "(" * 600_000)
    with pytest.raises(hltm.InputError, match="nested too deeply"):
        hltm.load(path)
    code = "import sys, warnings; warnings.simplefilter('ignore'); import pyagrum; pyagrum.loadBN(sys.argv[1])"
    ended = subprocess.run([sys.executable, "-c", code, path], capture_output=True, timeout=100, check=False)
    assert ended.returncode < 0, "by a signal"
