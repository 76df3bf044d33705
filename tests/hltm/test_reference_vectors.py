"""Statement 6 on the reference trees: activation covariances of small tree networks, from exact laws alone.

The networks are evaluated here, in NumPy, on every leaf configuration; all expectations are finite sums over
the tree's finite population, so that only rounding separates both sides.
"""

import numpy as np
import pytest

import hltm

CASES = range(24)
EPS = 2.0**-52


def forward(tree, reference, points):
    """Evaluate all groups on points (A, d): node -> activations (A, neurons), also with absolute weights."""
    column = {leaf: i for i, leaf in enumerate(tree.leaves)}
    values, sizes = {}, {}
    for node in reversed(tree.nodes):
        if not tree.children(node):
            values[node] = sizes[node] = points[:, [column[node]]]
            continue
        weights = np.array(reference["weights"][node])
        inputs, bounds = (np.hstack([v[child] for child in tree.children(node)]) for v in (values, sizes))
        before = inputs @ weights.T
        top = node == tree.root
        values[node] = before if top else np.where(before > 0, before, reference["slope"] * before)
        sizes[node] = bounds @ np.abs(weights).T
    return values, sizes


class Network:
    def __init__(self, reference):
        self.reference, self.tree = reference, hltm.tree_from_json(reference["tree"])
        self.population = hltm.leaf_population(self.tree)
        points = self.population.points[0]
        self.values, self.sizes = forward(self.tree, reference, points)
        # Operations on the longest way from an input to a result: all layers, all configurations, all tables.
        self.rounding = 8 * EPS * (len(points) + 4 * len(self.tree))

    def inputs(self, node):
        return np.hstack([self.values[child] for child in self.tree.children(node)])

    def covariance(self, node):
        """Return V_{z_0}[E[f | z_0]] of the children's activations and a bound of its rounding error."""
        means = self.population.augmentation_weights @ self.inputs(node)
        bound = np.hstack([self.sizes[child] for child in self.tree.children(node)]).max(axis=0)
        centred = means - self.population.point_weights @ means
        matrix = (centred * self.population.point_weights[:, None]).T @ centred
        return matrix, self.rounding * 4 * np.outer(bound, bound)


@pytest.fixture(params=CASES, ids=lambda i: f"tree{i}")
def network(request, reference_trees):
    return Network(reference_trees[request.param])


def test_all_reference_trees_are_used(reference_trees):
    assert len(reference_trees) == len(CASES)
    assert sum(len(tree["activation_covariance"]) for tree in reference_trees) > 40


def test_activation_covariance(network):
    for node, matrix in network.reference["activation_covariance"].items():
        ours, bound = network.covariance(node)
        assert ours.shape == np.shape(matrix)
        assert (np.abs(ours - matrix) <= bound).all(), node


def test_one_dimensional_form(network):
    """V = o_mu a_mu a_mu^T with a_mu = [rho s], s from the law of the leaves given each child's state."""
    tree = network.tree
    rho = hltm.root_polarities(tree)
    for node, matrix in network.reference["activation_covariance"].items():
        parts = []
        for child in tree.children(node):
            laws = [hltm.leaf_distribution(tree, {child: state}).ravel() for state in (0, 1)]
            gap = (laws[1] - laws[0]) @ network.values[child]
            parts.append(tree.polarity(node, child) * gap / 2)
        a = np.concatenate(parts)
        o = rho[node] ** 2 * (1 - tree.root_polarity**2)
        _, bound = network.covariance(node)
        assert (np.abs(o * np.outer(a, a) - matrix) <= bound).all(), node


def test_operator_and_gradient_of_the_top_node(network):
    """OP_0 = V kron I, the shared update is 2 W V (statements 3 and 6): the top node has no activation."""
    root = network.tree.root
    weights = np.array(network.reference["weights"][root])
    matrix, bound = network.covariance(root)
    operator = np.kron(matrix, np.eye(len(weights)))
    expected = np.array(network.reference["covariance_operator"][root])
    assert (np.abs(operator - expected) <= np.kron(bound, np.ones((len(weights),) * 2))).all()
    gradient = np.array(network.reference["minus_expected_gradient_simple"][root])
    tolerance = 2 * np.abs(weights) @ (bound + network.rounding * np.abs(matrix))
    assert (np.abs(2 * weights @ matrix - gradient) <= tolerance).all()
