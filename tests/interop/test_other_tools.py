"""pgmpy and pyAgrum read the BIF that we write and find the same laws; we read the BIF that they write.

Needs the extra ``interop``. pyAgrum reads the numbers of a BIF file in single precision (as of 3.3), so its laws
are compared on trees whose numbers are multiples of 2^-12, which single precision holds exactly, and on any tree
within the error that single precision explains.
"""

import warnings

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
    from pgmpy.readwrite import BIFReader, BIFWriter

pytestmark = pytest.mark.filterwarnings("ignore")  # those of other tools

TOLERANCE = 1e-12
SINGLE = 2.0**-24  # half a unit in the last place of 1 in single precision

TREES = {
    "edge": lambda: hltm.complete_tree(1, 1, polarity=0.3, root_polarity=0.1),
    "complete": lambda: hltm.complete_tree(3, 2, polarity=(-1, 1), seed=2, root_polarity=-0.2),
    "caterpillar": lambda: hltm.caterpillar_tree(5, polarity=0.9),
    "binary": lambda: hltm.random_tree(6, seed=5),
    "categorical": lambda: hltm.random_tree(7, seed=3, cardinality=(2, 5)),
    "zeros": lambda: hltm.star_tree(3, polarity=-1, root_polarity=1 / 3),
}


def dyadic(tree):
    """The same tree with all probabilities rounded to multiples of 2^-12."""
    graph = DiGraph()
    graph.add_node(tree.root, prior=rounded(tree.prior), cardinality=tree.cardinality(tree.root))
    for above, node in tree.edges:
        graph.add_node(node, cardinality=tree.cardinality(node))
        graph.add_edge(above, node, transition=[rounded(row) for row in tree.transition(above, node)])
    return hltm.HLTM(graph)


def rounded(row):
    parts = [round(float(value) * 2**12) for value in row]
    parts[int(np.argmax(parts))] += 2**12 - sum(parts)
    return [part / 2**12 for part in parts]


def word(node):
    return f"z{node}"


@pytest.mark.parametrize("case", TREES)
def test_pgmpy_finds_the_same_laws(tmp_path, case):
    tree = TREES[case]()
    hltm.save(tree, tmp_path / "tree.bif")
    model = BIFReader(str(tmp_path / "tree.bif")).get_model()
    assert model.check_model()
    inference = VariableElimination(model)
    for node in (tree.root, *tree.leaves):
        law = inference.query([word(node)], show_progress=False)
        assert np.abs(law.values - hltm.marginals(tree)[node]).max() < TOLERANCE
    for leaf in tree.leaves:
        for state in np.flatnonzero(tree.prior):
            law = inference.query([word(leaf)], evidence={word(tree.root): str(state)}, show_progress=False)
            ours = tree.transition(tree.root, leaf)[state]
            order = [law.get_state_no(word(leaf), str(i)) for i in range(tree.cardinality(leaf))]
            assert np.abs(law.values[order] - ours).max() < TOLERANCE


def conditional(network, node, root, state):
    """P(node | root = state) by pyAgrum's exact inference."""
    inference = pyagrum.LazyPropagation(network)
    inference.setEvidence({word(root): state})
    inference.makeInference()
    return inference.posterior(word(node)).toarray()


@pytest.mark.parametrize("case", TREES)
def test_pyagrum_finds_the_same_laws(tmp_path, case):
    tree = dyadic(TREES[case]())
    hltm.save(tree, tmp_path / "tree.bif")
    network = pyagrum.loadBN(str(tmp_path / "tree.bif"))
    for leaf in tree.leaves:
        rows = {}
        for state in np.flatnonzero(tree.prior):
            rows[int(state)] = conditional(network, leaf, tree.root, int(state))
            assert np.abs(rows[int(state)] - tree.transition(tree.root, leaf)[state]).max() < TOLERANCE
        if tree.is_binary and len(rows) == 2:
            assert abs(rows[1][1] - rows[0][1] - tree.polarity(tree.root, leaf)) < TOLERANCE


@pytest.mark.parametrize("case", TREES)
def test_pyagrum_on_any_tree_within_single_precision(tmp_path, case):
    tree = TREES[case]()
    hltm.save(tree, tmp_path / "tree.bif")
    network = pyagrum.loadBN(str(tmp_path / "tree.bif"))
    for leaf in tree.leaves:
        # Each factor on the path, and the prior, is off by SINGLE relatively: numerator and denominator.
        tolerance = 2 * SINGLE * (len(tree.path(tree.root, leaf)) + 1)
        for state in np.flatnonzero(tree.prior):
            law = conditional(network, leaf, tree.root, int(state))
            assert np.abs(law - tree.transition(tree.root, leaf)[state]).max() < tolerance


@pytest.mark.parametrize("case", TREES)
def test_path_polarities_by_pgmpy(tmp_path, case):
    tree = TREES[case]()
    if not tree.is_binary:
        tree = hltm.random_tree(7, seed=3)
    hltm.save(tree, tmp_path / "tree.bif")
    model = BIFReader(str(tmp_path / "tree.bif")).get_model()
    for node in tree.nodes[1:]:
        rho = 1.0
        for step in tree.path(tree.root, node)[1:]:
            table = model.get_cpds(word(step)).values
            rho *= table[1, 1] - table[1, 0]
        assert abs(rho - tree.polarity(tree.root, node)) < TOLERANCE


@pytest.mark.parametrize("seed", range(3))
def test_we_read_what_pgmpy_writes(tmp_path, seed):
    tree = hltm.random_tree(6, seed=seed, cardinality=(2, 4))
    model = DiscreteBayesianNetwork([(word(above), word(node)) for above, node in tree.edges])
    labels = {word(node): [f"s {i}" for i in range(tree.cardinality(node))] for node in tree.nodes}
    root = word(tree.root)
    model.add_cpds(TabularCPD(root, len(tree.prior), tree.prior[:, None], state_names={root: labels[root]}))
    for above, node in tree.edges:
        name, parent = word(node), word(above)
        table = tree.transition(above, node).T
        states = {name: labels[name], parent: labels[parent]}
        model.add_cpds(TabularCPD(name, len(labels[name]), table, [parent], [len(labels[parent])], state_names=states))
    BIFWriter(model).write(str(tmp_path / "theirs.bif"))
    again = hltm.load(tmp_path / "theirs.bif")
    assert np.array_equal(again.prior, tree.prior)
    for above, node in tree.edges:
        assert np.array_equal(again.transition(word(above), word(node)), tree.transition(above, node)), f"seed {seed}"


@pytest.mark.parametrize("seed", range(3))
def test_we_read_what_pyagrum_writes(tmp_path, seed):
    tree = hltm.random_tree(6, seed=seed, cardinality=(2, 4))
    network = pyagrum.BayesNet("theirs")
    for node in tree.nodes:
        states = [f"s{i}" for i in range(tree.cardinality(node))]
        network.add(pyagrum.LabelizedVariable(word(node), "", states))
    for above, node in tree.edges:
        network.addArc(word(above), word(node))
    network.cpt(word(tree.root)).fillWith(tree.prior.tolist())
    for above, node in tree.edges:
        network.cpt(word(node)).fillWith(tree.transition(above, node).ravel().tolist())
    network.saveBIF(str(tmp_path / "theirs.bif"))
    again = hltm.load(tmp_path / "theirs.bif")
    assert again.nodes == tuple(map(word, tree.nodes))
    for above, node in tree.edges:
        difference = again.transition(word(above), word(node)) - tree.transition(above, node)
        assert np.abs(difference).max() < TOLERANCE, f"seed {seed}"


def test_names_that_differ_only_in_case_stay_apart_in_pgmpy(tmp_path):
    graph = DiGraph()
    graph.add_node("A", prior=[0.5, 0.5])
    graph.add_edge("A", "a", polarity=0.25)
    graph.add_edge("A", "variable probability {", polarity=-0.5)
    hltm.save(hltm.HLTM(graph), tmp_path / "tree.bif")
    model = BIFReader(str(tmp_path / "tree.bif")).get_model()
    assert model.check_model()
    assert len(model.nodes) == 3
    assert len(pyagrum.loadBN(str(tmp_path / "tree.bif")).names()) == 3
