"""An oracle for tree networks that shares no code with `theory`: all states of all nodes, in fractions."""

import itertools
import random
from fractions import Fraction

import networkx as nx
import pytest

import hltm

SHAPES = {
    "edge": [("r", "x")],
    "chain": [("r", "a"), ("a", "b"), ("b", "x")],
    "star": [("r", "x"), ("r", "y"), ("r", "z")],
    "caterpillar": [("r", "x"), ("r", "a"), ("a", "y"), ("a", "b"), ("b", "z"), ("b", "w")],
    "complete": [("r", "a"), ("r", "b"), ("a", "x"), ("a", "y"), ("b", "z"), ("b", "w")],
    "uneven": [("r", "a"), ("r", "x"), ("a", "y"), ("a", "z"), ("r", "b"), ("b", "w")],
}


def _law(rng, size, corners):
    if corners and rng.random() < 0.4:
        hot = rng.randrange(size)
        return [Fraction(int(i == hot)) for i in range(size)]
    parts = [rng.randint(1, 6) for _ in range(size)]
    return [Fraction(part, sum(parts)) for part in parts]


class BruteNetwork:
    """Conditional means given z_0 by summation; Jacobians by a unit push at one pre-activation, gates frozen."""

    def __init__(self, graph, weights, slope):
        self.graph, self.weights, self.slope = graph, weights, slope
        self.order = list(nx.topological_sort(graph))
        self.root = self.order[0]
        self.leaves = [v for v in nx.dfs_preorder_nodes(graph, self.root) if graph.out_degree(v) == 0]
        self.count = {v: graph.nodes[v].get("cardinality", 2) for v in self.order}
        self.prior = graph.nodes[self.root]["prior"]
        self.law = [{} for _ in self.prior]
        for states in itertools.product(*(range(self.count[v]) for v in self.order)):
            at = dict(zip(self.order, states, strict=True))
            weight = Fraction(1)
            for u, v, data in graph.edges(data=True):
                if "polarity" in data:
                    sign = 1 if at[u] == at[v] else -1
                    weight *= (1 + sign * Fraction(data["polarity"])) / 2
                else:
                    weight *= data["transition"][at[u]][at[v]]
            leaves = tuple(at[v] for v in self.leaves)
            law = self.law[at[self.root]]
            law[leaves] = law.get(leaves, 0) + weight

    def forward(self, leaves, gates=None, push=None):
        """(activations, gates): node -> list. With gates given they stay; push = (node, neuron) adds 1."""
        value = {v: [Fraction(x)] for v, x in zip(self.leaves, leaves, strict=True)}
        used = {}
        for v in reversed(self.order):
            if not self.graph.out_degree(v):
                continue
            inputs = [f for c in self.graph.successors(v) for f in value[c]]
            before = [sum(w * f for w, f in zip(row, inputs, strict=True)) for row in self.weights[v]]
            if push and push[0] == v:
                before[push[1]] += 1
            gate = [Fraction(1)] * len(before)
            if v != self.root:
                gate = gates[v] if gates else [Fraction(1) if p > 0 else self.slope for p in before]
            used[v] = gate
            value[v] = [g * p for g, p in zip(gate, before, strict=True)]
        return value, used

    def mean(self, function):
        """E[function | z_0 = i] for vector functions, one list for each state."""
        result = []
        for law in self.law:
            total = None
            for leaves, weight in law.items():
                scaled = [weight * g for g in function(leaves)]
                total = scaled if total is None else [a + b for a, b in zip(total, scaled, strict=True)]
            result.append(total)
        return result

    def covariance(self, left, right):
        a, b = self.mean(left), self.mean(right)
        ma, mb = ([sum(p * m[i] for p, m in zip(self.prior, x, strict=True)) for i in range(len(x[0]))] for x in (a, b))
        return [[sum(p * x[i] * y[j] for p, x, y in zip(self.prior, a, b, strict=True)) - ma[i] * mb[j]
                 for j in range(len(mb))] for i in range(len(ma))]  # fmt: skip

    def inputs(self, node):
        def function(leaves):
            value, _ = self.forward(leaves)
            return [f for c in self.graph.successors(node) for f in value[c]]

        return function

    def output(self, leaves):
        return self.forward(leaves)[0][self.root]

    def connection(self, node):
        """K_mu row by row: index (input * neurons + neuron) * n_L + output."""

        def function(leaves):
            value, gates = self.forward(leaves)
            base = value[self.root]
            jacobian = []
            for b in range(len(self.weights[node])):
                pushed = self.forward(leaves, gates, (node, b))[0][self.root]
                jacobian.append([p - q for p, q in zip(pushed, base, strict=True)])
            inputs = [f for c in self.graph.successors(node) for f in value[c]]
            return [f * d for f in inputs for row in jacobian for d in row]

        return function

    def activation_covariance(self, node):
        return self.covariance(self.inputs(node), self.inputs(node))

    def operator(self, node):
        n = len(self.weights[self.root])
        whole = self.covariance(self.connection(node), self.connection(node))
        p = len(whole) // n
        return [[sum(whole[i * n + o][j * n + o] for o in range(n)) for j in range(p)] for i in range(p)]

    def update(self, node):
        n, rows = len(self.weights[self.root]), len(self.weights[node])
        whole = self.covariance(self.connection(node), self.output)
        vector = [2 * sum(whole[i * n + o][o] for o in range(n)) for i in range(len(whole) // n)]
        return [vector[b::rows] for b in range(rows)]


def make_network(shape, kind, slope, seed):
    """A graph with random tables of a kind (symmetric, general, corners, categorical) and random weights."""
    rng = random.Random(seed)
    graph = nx.DiGraph(SHAPES[shape])
    root = SHAPES[shape][0][0]
    if kind in ("categorical", "mixed"):
        for v in graph:
            graph.nodes[v]["cardinality"] = 3 if kind == "categorical" or v in ("a", "x") else 2
    count = {v: graph.nodes[v].get("cardinality", 2) for v in graph}
    graph.nodes[root]["prior"] = _law(rng, count[root], False)
    for u, v in graph.edges:
        if kind == "symmetric":
            graph.edges[u, v]["polarity"] = Fraction(rng.randint(-5, 5), 5)
        else:
            graph.edges[u, v]["transition"] = [_law(rng, count[v], kind == "corners") for _ in range(count[u])]
    neurons = {v: 2 if graph.out_degree(v) else 1 for v in graph}
    weights = {}
    for v in graph:
        if graph.out_degree(v):
            width = sum(neurons[c] for c in graph.successors(v))
            # Halves, zeros among them: some pre-activations are exactly 0.
            weights[v] = [[Fraction(rng.randint(-3, 3), 2) for _ in range(width)] for _ in range(neurons[v])]
    return hltm.HLTM(graph), weights, BruteNetwork(graph, weights, Fraction(slope))


@pytest.fixture(scope="session")
def brute_network():
    return make_network


@pytest.fixture(scope="session")
def tree_shapes():
    return list(SHAPES)
