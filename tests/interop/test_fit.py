"""Queries and fits against pgmpy: eliminated variables, counted tables, its tree of Chow and Liu, its likelihood.

Needs the extra ``interop``.
"""

import warnings

import numpy as np
import pytest

import hltm

pd = pytest.importorskip("pandas")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pgmpy.estimators import MaximumLikelihoodEstimator, TreeSearch
    from pgmpy.inference import VariableElimination
    from pgmpy.models import DiscreteBayesianNetwork

pytestmark = pytest.mark.filterwarnings("ignore")  # those of other tools


def named_tree(seed):
    """A random tree with names of nodes that are text."""
    tree = hltm.random_tree(4, seed, cardinality=(2, 3))
    import networkx as nx

    return hltm.HLTM(nx.relabel_nodes(nx.DiGraph(tree.graph), {node: f"v{node}" for node in tree.nodes}))


@pytest.mark.parametrize("seed", range(3))
def test_posteriors_are_those_of_variable_elimination(seed):
    tree = named_tree(seed)
    engine = VariableElimination(hltm.to_pgmpy(tree))
    known = {tree.leaves[0]: 1, tree.leaves[-1]: 0}
    laws = hltm.rational_marginals(tree, known)
    for node in tree.nodes:
        if node not in known:
            names = {leaf: tree.states(leaf)[state] for leaf, state in known.items()}
            values = engine.query([node], evidence=names, show_progress=False)
            expected = [values.get_value(**{node: name}) for name in tree.states(node)]
            assert np.allclose([float(each) for each in laws[node]], expected, atol=1e-12)


def test_what_is_all_seen_has_the_tables_of_its_estimator():
    tree = named_tree(1)
    states = hltm.sample(tree, 2000, seed=1)
    data = pd.DataFrame(states)
    model = DiscreteBayesianNetwork(list(tree.edges))
    model.add_nodes_from(tree.nodes)
    estimator = MaximumLikelihoodEstimator(model, data)
    fit = hltm.fit_parameters(tree, states)
    for above, child in tree.edges:
        counted = estimator.estimate_cpd(child).get_values().T
        assert np.allclose(fit.tree.transition(above, child), counted, atol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_the_tree_is_its_tree(seed):
    tree = named_tree(seed)
    states = hltm.sample(tree, 3000, seed=seed)
    fit = hltm.chow_liu(states, root=tree.root)
    found = TreeSearch(pd.DataFrame(states), root_node=tree.root).estimate(
        estimator_type="chow-liu", show_progress=False
    )
    assert set(fit.tree.edges) == set(found.edges())
