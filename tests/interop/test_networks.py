"""Networks of pgmpy and pyAgrum in memory, and the files that they write in formats that hltm reads.

Needs the extra ``interop``. The numbers of a tree are enumerated here, by NumPy, without hltm's own algorithms.
"""

import itertools
import subprocess
import sys
import warnings
from fractions import Fraction

import numpy as np
import pytest
from networkx import DiGraph

import hltm

with warnings.catch_warnings():
    # SWIG's import warnings, as errors, would end the interpreter; pgmpy's dependencies warn of each other.
    warnings.simplefilter("ignore")
    import pyagrum
    from pgmpy.factors.discrete import TabularCPD
    from pgmpy.inference import VariableElimination
    from pgmpy.models import DiscreteBayesianNetwork
    from pgmpy.readwrite import BIFWriter, NETWriter, XDSLWriter, XMLBIFWriter

pytestmark = pytest.mark.filterwarnings("ignore")  # those of other tools
SINGLE = 2.0**-24


def named(node):
    return f"z{node}"


def labelled(seed=0, name=named):
    """A random categorical tree with names of states in no order of the alphabet."""
    plain = hltm.random_tree(5, seed=seed, cardinality=(2, 4))
    graph = DiGraph(name="toy")
    for node in plain.nodes:
        states = ["zed", "10", "9", "alpha"][: plain.cardinality(node)]
        graph.add_node(name(node), cardinality=plain.cardinality(node), states=states[:: 1 - 2 * (node % 2)])
    graph.nodes[name(plain.root)]["prior"] = plain.prior.tolist()
    for above, node in plain.edges:
        graph.add_edge(name(above), name(node), transition=plain.transition(above, node).tolist())
    return hltm.HLTM(graph)


def mixed():
    graph = DiGraph(name="names and numbers", description="rationals")
    graph.add_node((0, "r"), prior=[Fraction(1, 3), Fraction(1, 6), 0.5], states=["b", "a", "very a"])
    graph.add_edge((0, "r"), "x", transition=[[Fraction(1, 7), Fraction(6, 7)], [0, 1], [0.1, 0.9]])
    graph.add_edge((0, "r"), "7", transition=[[1, 0], [0.5, 0.5], [0.1, 0.9]])
    graph.add_edge("x", 7, polarity=Fraction(1, 3))
    graph.add_edge("x", "a b", polarity=-0.5)
    graph.nodes["x"]["states"] = ["TRUE", "FALSE"]
    return hltm.HLTM(graph)


def assert_same(tree, again, tolerance=0.0):
    assert again.nodes == tree.nodes
    assert again.edges == tree.edges
    assert [again.states(node) for node in again.nodes] == [tree.states(node) for node in tree.nodes]
    assert np.abs(again.prior - tree.prior).max() <= tolerance
    for edge in tree.edges:
        assert np.abs(again.transition(*edge) - tree.transition(*edge)).max() <= tolerance


def enumerated(tree):
    """The joint law of all nodes as an array, one axis a node in the order of the tree."""
    sizes = [tree.cardinality(node) for node in tree.nodes]
    tables = {node: [[float(value) for value in row] for row in tree.exact_table(node)] for node in tree.nodes[1:]}
    law = np.zeros(sizes)
    for states in itertools.product(*map(range, sizes)):
        state = dict(zip(tree.nodes, states, strict=True))
        law[states] = float(tree.exact_prior()[state[tree.root]])
        for above, node in tree.edges:
            law[states] *= tables[node][state[above]][state[node]]
    return law


TREES = {"mixed": mixed, **{f"labelled-{seed}": lambda seed=seed: labelled(seed) for seed in range(3)}}
BUILDERS = {"integers": lambda: hltm.complete_tree(3, 2, polarity=(-1, 1), seed=2, root_polarity=0.25)}


@pytest.mark.parametrize("case", TREES | BUILDERS)
def test_round_trip_by_pgmpy(case):
    tree = (TREES | BUILDERS)[case]()
    model = hltm.to_pgmpy(tree)
    assert model.check_model()
    again = hltm.from_pgmpy(model)
    assert_same(tree, again)
    assert again.graph.graph.get("name") == tree.graph.graph.get("name")


@pytest.mark.parametrize("case", TREES | BUILDERS)
def test_round_trip_by_pyagrum(case):
    tree = (TREES | BUILDERS)[case]()
    again = hltm.from_pyagrum(hltm.to_pyagrum(tree))
    assert_same(tree, again)
    assert dict(again.graph.graph) == dict(tree.graph.graph)


@pytest.mark.parametrize("case", TREES)
def test_both_compute_the_enumerated_marginals(case):
    tree = TREES[case]()
    law = enumerated(tree)
    inference = VariableElimination(hltm.to_pgmpy(tree))
    network = hltm.to_pyagrum(tree)
    propagation = pyagrum.LazyPropagation(network)
    for i, node in enumerate(tree.nodes):
        expected = law.sum(axis=tuple(j for j in range(law.ndim) if j != i))
        theirs = inference.query([node], show_progress=False)
        order = [theirs.get_state_no(node, state) for state in tree.states(node)]
        assert np.abs(theirs.values[order] - expected).max() < 1e-14
        posterior = propagation.posterior(i)
        assert tuple(posterior.variable(0).labels()) == tree.states(node)
        assert np.abs(posterior.toarray() - expected).max() < 1e-14


@pytest.mark.parametrize("seed", range(3))
def test_by_pgmpy_bif_and_pyagrum(tmp_path, seed):
    tree = labelled(seed)
    BIFWriter(hltm.to_pgmpy(tree)).write(str(tmp_path / "a.bif"))
    network = pyagrum.loadBN(str(tmp_path / "a.bif"))
    again = hltm.from_pyagrum(network)
    order = {node: i for i, node in enumerate(tree.nodes)}
    assert sorted(again.nodes, key=order.get) == list(tree.nodes)
    assert set(again.edges) == set(tree.edges)
    for node in tree.nodes:
        assert again.states(node) == tree.states(node)
    for edge in tree.edges:
        assert np.abs(again.transition(*edge) - tree.transition(*edge)).max() < 8 * SINGLE
        assert np.abs(again.transition(*edge).sum(axis=1) - 1).max() < 1e-12, "rows are divided by their sums"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("writer", "suffix", "tolerance"),
    [(XMLBIFWriter, ".xml", 0), (XDSLWriter, ".xdsl", 1e-8), (NETWriter, ".net", 1e-8)],  # digits that pgmpy writes
    ids=["xmlbif", "xdsl", "net"],
)
def test_files_of_pgmpy(tmp_path, writer, suffix, tolerance, seed):
    tree = labelled(seed)
    writer(hltm.to_pgmpy(tree)).write(str(tmp_path / f"tree{suffix}"))
    again = hltm.load(tmp_path / f"tree{suffix}")
    assert set(again.edges) == set(tree.edges)
    for node in tree.nodes:
        assert again.states(node) == tree.states(node)
    for edge in tree.edges:
        assert np.abs(again.transition(*edge) - tree.transition(*edge)).max() <= tolerance


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("suffix", "tolerance"), [(".bifxml", 1e-6), (".xdsl", 1e-6), (".net", 1e-15), (".uai", 1e-6)]
)  # pyAgrum writes six digits, but all of them in NET
def test_files_of_pyagrum(tmp_path, suffix, tolerance, seed):
    tree = labelled(seed, name=int if suffix == ".uai" else named)
    pyagrum.saveBN(hltm.to_pyagrum(tree), str(tmp_path / f"tree{suffix}"))
    again = hltm.load(tmp_path / f"tree{suffix}")
    assert set(again.edges) == set(tree.edges)
    for node in tree.nodes:
        assert again.states(node) == (
            tree.states(node) if suffix != ".uai" else tuple(map(str, range(tree.cardinality(node))))
        )
    for edge in tree.edges:
        assert np.abs(again.transition(*edge) - tree.transition(*edge)).max() <= tolerance


def test_the_states_of_a_parent_in_another_order():
    model = DiscreteBayesianNetwork([("r", "a")])
    names = {"r": ["yes", "no"], "a": ["t", "f"]}
    model.add_cpds(
        TabularCPD("r", 2, [[0.25], [0.75]], state_names={"r": ["no", "yes"]}),
        TabularCPD("a", 2, [[0.1, 0.6], [0.9, 0.4]], ["r"], [2], state_names=names),
    )
    tree = hltm.from_pgmpy(model)
    assert tree.states("r") == ("no", "yes")
    assert tree.prior.tolist() == [0.25, 0.75]
    assert tree.transition("r", "a").tolist() == [[0.6, 0.4], [0.1, 0.9]]


def test_numbers_as_states_are_put_in_order():
    model = DiscreteBayesianNetwork([("r", "a")])
    model.add_cpds(
        TabularCPD("r", 2, [[0.25], [0.75]], state_names={"r": [1, 0]}),
        TabularCPD("a", 2, [[0.1, 0.6], [0.9, 0.4]], ["r"], [2], state_names={"r": [1, 0], "a": [0, 1]}),
    )
    tree = hltm.from_pgmpy(model)
    assert tree.prior.tolist() == [0.75, 0.25]
    assert tree.transition("r", "a").tolist() == [[0.6, 0.4], [0.1, 0.9]]


def diamond():
    model = DiscreteBayesianNetwork([("a", "c"), ("b", "c")])
    half = [[0.5], [0.5]]
    model.add_cpds(
        TabularCPD("a", 2, half), TabularCPD("b", 2, half), TabularCPD("c", 2, [[0.5] * 4] * 2, ["a", "b"], [2, 2])
    )
    return model


def other_states():
    model = DiscreteBayesianNetwork([("r", "a")])
    names = {"r": ["0", "2"], "a": ["0", "1"]}
    model.add_cpds(
        TabularCPD("r", 2, [[0.5], [0.5]]), TabularCPD("a", 2, [[0.5] * 2] * 2, ["r"], [2], state_names=names)
    )
    return model


def a_missing_edge():
    model = DiscreteBayesianNetwork([("r", "a")])
    model.add_cpds(TabularCPD("r", 2, [[0.5], [0.5]]), TabularCPD("a", 2, [[0.5], [0.5]]))
    return model


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (diamond, "node 'c' has parents 'a', 'b': a node of a tree has one parent"),
        (lambda: DiscreteBayesianNetwork([("r", "a")]), "node 'r' has no table: pgmpy's add_cpds gives it one"),
        (DiscreteBayesianNetwork, "network with 0 nodes"),
        (other_states, "node 'a': the table has the states '0', '2' of 'r', whose own are 0, 1"),
        (a_missing_edge, "node 'a': the table has the parents none, the edges 'r'"),
    ],
    ids=["diamond", "no-table", "empty", "other-states", "missing-edge"],
)
def test_a_network_of_pgmpy_that_is_no_tree(model, message):
    with pytest.raises(hltm.InputError) as caught:
        hltm.from_pgmpy(model())
    assert message in str(caught.value)


def test_a_network_of_pyagrum_that_is_no_tree():
    with pytest.raises(hltm.InputError, match="node 'c' has parents 'a', 'b': a node of a tree has one parent"):
        hltm.from_pyagrum(pyagrum.fastBN("a->c<-b"))
    with pytest.raises(hltm.InputError, match="a tree is connected"):
        hltm.from_pyagrum(pyagrum.fastBN("a->c;b->d"))
    with pytest.raises(hltm.InputError, match="network with 0 nodes"):
        hltm.from_pyagrum(pyagrum.BayesNet())


def test_rows_in_single_precision_are_divided_by_their_sum():
    network = pyagrum.fastBN("r->a")
    single = [float(np.float32(value)) for value in (0.8, 0.2, 0.1, 0.9)]
    network.cpt("r").fillWith([0.5, 0.5])
    network.cpt("a").fillWith(single)
    assert abs(sum(single[:2]) - 1) > 1e-12
    with pytest.warns(hltm.TreeWarning, match="divided by"):
        tree = hltm.from_pyagrum(network)
    assert np.abs(tree.transition("r", "a") - [[0.8, 0.2], [0.1, 0.9]]).max() < SINGLE
    network.cpt("a").fillWith([0.7, 0.4, 0.1, 0.9])
    with pytest.raises(hltm.InputError, match=r"must sum to one, sums to 1\.1"):
        hltm.from_pyagrum(network)


def test_thousands_of_nodes_in_seconds():
    tree = hltm.complete_tree(11, 2, polarity=0.3)
    assert_same(tree, hltm.from_pyagrum(hltm.to_pyagrum(tree)))


def test_convert_of_a_file_of_genie(tmp_path):
    tree = labelled(1)
    XDSLWriter(hltm.to_pgmpy(tree)).write(str(tmp_path / "model.xdsl"))
    command = [sys.executable, "-m", "hltm", "convert", str(tmp_path / "model.xdsl"), str(tmp_path / "tree.json")]
    assert subprocess.run(command, timeout=100, check=False).returncode == 0
    assert set(hltm.load(tmp_path / "tree.json").edges) == set(tree.edges)
