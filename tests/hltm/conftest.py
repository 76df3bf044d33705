"""Oracles for trees that share no code with `hltm`: enumeration of all nodes in rational arithmetic."""

import itertools
import json
from fractions import Fraction
from pathlib import Path

import networkx as nx
import pytest


class BruteForce:
    """The joint law of all nodes, read from the graph's attributes; floats are the rationals they are."""

    def __init__(self, graph):
        self.nodes = list(nx.topological_sort(graph))
        self.root = self.nodes[0]
        self.leaves = [v for v in nx.dfs_preorder_nodes(graph, self.root) if graph.out_degree(v) == 0]
        self.count = {v: graph.nodes[v].get("cardinality", 2) for v in self.nodes}
        self.joint = {}
        for states in itertools.product(*(range(self.count[v]) for v in self.nodes)):
            at = dict(zip(self.nodes, states, strict=True))
            weight = Fraction(graph.nodes[self.root]["prior"][at[self.root]])
            for parent, child, data in graph.edges(data=True):
                weight *= self._entry(data, at[parent], at[child])
            self.joint[states] = weight

    @staticmethod
    def _entry(data, above, below):
        if "polarity" in data:
            rho = Fraction(data["polarity"])
            return (1 + rho) / 2 if above == below else (1 - rho) / 2
        return Fraction(data["transition"][above][below])

    def law(self, wanted, known=None):
        """Return {states of wanted nodes: probability given known ones}, None if the known ones have none."""
        places = [self.nodes.index(v) for v in wanted]
        known = {self.nodes.index(v): state for v, state in (known or {}).items()}
        law = {states: Fraction() for states in itertools.product(*(range(self.count[v]) for v in wanted))}
        for states, weight in self.joint.items():
            if all(states[i] == state for i, state in known.items()):
                law[tuple(states[i] for i in places)] += weight
        total = sum(law.values())
        return {key: weight / total for key, weight in law.items()} if total else None


@pytest.fixture(scope="session")
def brute_force():
    return BruteForce


@pytest.fixture(scope="session")
def reference_trees():
    path = Path(__file__).parents[1] / "data" / "vectors.json"
    return json.loads(path.read_text())["trees"]


@pytest.fixture
def small_graph():
    """Root r (3 states) over latent a (2 states) with leaves x, y, and leaf z (3 states)."""
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.5, 0.25, 0.25], cardinality=3)
    graph.add_node("a")
    graph.add_edge("r", "a", transition=[[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    graph.add_node("z", cardinality=3)
    graph.add_edge("r", "z", transition=[[0.5, 0.25, 0.25], [0.0, 0.0, 1.0], [0.125, 0.125, 0.75]])
    graph.add_edge("a", "x", polarity=0.5)
    graph.add_edge("a", "y", transition=[[0.25, 0.75], [0.5, 0.5]])
    return graph
