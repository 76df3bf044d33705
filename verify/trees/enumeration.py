"""Statement 6 by enumeration in exact rationals: the law of the leaves, the network on every configuration, moments.

Nothing here uses a closed form. The law of the leaves below a node is built from the tables, child by child; the
network is run on every configuration; means and covariances are finite sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import fmpq

from verify.towers.tower import Array, array, gate, rational

if TYPE_CHECKING:
    from verify.instances.instance import TreeInstance

Law = dict[tuple[int, ...], fmpq]


def exact(value: Any) -> fmpq:
    """A table entry (int, float or Fraction) as an exact rational."""
    return fmpq(value.numerator, value.denominator) if hasattr(value, "numerator") else rational(float(value))


@dataclass(frozen=True, eq=False)
class Pass:
    """The network on one configuration: activations of every node, J and K of every latent node, the output."""

    activations: dict[Any, Array]
    jacobians: dict[Any, Array]
    inputs: dict[Any, Array]
    output: Array

    def connection(self, node: Any) -> Array:
        """K_mu = f_{children} kron J_mu^T, shape (|N_mu| |N_mu^ch|, n_L)."""
        # np.kron, but for what it spends on the shapes of ten numbers.
        return (self.inputs[node][:, None, None] * self.jacobians[node].T).reshape(-1, len(self.output))


class Enumeration:
    """All moments of a tree instance that statement 6 speaks of, by enumeration."""

    def __init__(self, instance: TreeInstance) -> None:
        self.instance, self.tree = instance, instance.tree
        self.slope = rational(instance.slope)
        self.connections: dict[Any, list[Array]] = {}
        self.weights = {node: array(w, rational) for node, w in instance.by_node.items()}
        self.prior = [exact(p) for p in self.tree.exact_prior()]
        self.tables = {
            node: [[exact(p) for p in row] for row in self.tree.exact_table(node)]
            for node in self.tree.nodes
            if node != self.tree.root
        }
        self.order = {leaf: index for index, leaf in enumerate(self.tree.leaves)}

    @cached_property
    def laws(self) -> dict[Any, list[Law]]:
        """Node to, for every state of it, the law of the leaves below it, configurations in their order."""
        result: dict[Any, list[Law]] = {}
        for node in reversed(self.tree.nodes):
            states = range(self.tree.cardinality(node))
            if node in self.order:
                result[node] = [{(state,): fmpq(1)} for state in states]
                continue
            result[node] = []
            for state in states:
                law: Law = {(): fmpq(1)}
                for child in self.tree.children(node):
                    mixed: Law = {}
                    for weight, below in zip(self.tables[child][state], result[child], strict=True):
                        for configuration, p in below.items():
                            mixed[configuration] = mixed.get(configuration, fmpq(0)) + weight * p
                    law = {a + b: p * q for (a, p), (b, q) in product(law.items(), mixed.items()) if p != 0 and q != 0}
                result[node].append(law)
        return result

    @cached_property
    def leaves_below(self) -> dict[Any, list[Any]]:
        """Node to the leaves below it, in the order in which its law lists them."""
        result: dict[Any, list[Any]] = {}
        for node in reversed(self.tree.nodes):
            children = self.tree.children(node)
            result[node] = [leaf for child in children for leaf in result[child]] if children else [node]
        return result

    def below(self, node: Any) -> list[Any]:
        """Leaves below a node, in the order in which its law lists them."""
        return self.leaves_below[node]

    @cache  # noqa: B019 (the object lives as long as one measurement)
    def run(self, configuration: tuple[int, ...]) -> Pass:
        """The network on one configuration of all leaves, in the order of `below(root)`."""
        states = dict(zip(self.below(self.tree.root), configuration, strict=True))
        activations: dict[Any, Array] = {}
        inputs, gates = {}, {}
        for node in reversed(self.tree.nodes):
            if node in self.order:
                activations[node] = np.array([fmpq(states[node])], dtype=object)
                continue
            inputs[node] = np.concatenate([activations[child] for child in self.tree.children(node)])
            p = self.weights[node] @ inputs[node]
            top = node == self.tree.root
            gates[node] = np.array([fmpq(1)] * len(p), dtype=object) if top else gate(p, self.slope, fmpq(1))
            activations[node] = p * gates[node]
        output = activations[self.tree.root]
        jacobians = {self.tree.root: np.eye(len(output), dtype=object) * fmpq(1)}
        for node in self.tree.latents:
            start = 0
            for child in self.tree.children(node):
                stop = start + len(activations[child])
                if child in gates:
                    jacobians[child] = (jacobians[node] @ self.weights[node][:, start:stop]) * gates[child]
                start = stop
        return Pass(activations, jacobians, inputs, output)

    def run_below(self, node: Any, configuration: tuple[int, ...]) -> Pass:
        """The network on a configuration of the leaves below a node; the others, which it does not read, are 0."""
        states = dict(zip(self.below(node), configuration, strict=True))
        return self.run(tuple(states.get(leaf, 0) for leaf in self.below(self.tree.root)))

    def given_root(self, value: Any) -> list[Array]:
        """E[value(pass) | z_0] for every state of the root."""
        return [weighted(law, lambda c: value(self.run(c))) for law in self.laws[self.tree.root]]

    def given_node(self, node: Any) -> list[Array]:
        """E[f of the node's neurons | state of the node], from the leaves below it alone."""
        return [weighted(law, lambda c: self.run_below(node, c).activations[node]) for law in self.laws[node]]

    def covariance(self, left: list[Array], right: list[Array]) -> Array:
        """E[a b^T] - E[a] E[b]^T over the root's states, for matrices a, b given the root."""
        return covariance_over(self.prior, left, right)

    def mean_connections(self, node: Any) -> list[Array]:
        """Kbar_mu given every state of the root; enumerated once, since operator and update are made of it."""
        if node not in self.connections:
            self.connections[node] = self.given_root(lambda found: found.connection(node))
        return self.connections[node]

    def activation_covariance(self, node: Any) -> Array:
        """V_{z_0}[E[f_{N_mu^ch} | z_0]]."""
        means = [m[:, None] for m in self.given_root(lambda found: found.inputs[node])]
        return self.covariance(means, means)

    def operator(self, node: Any) -> Array:
        """OP_mu = V_x[Kbar_mu], the diagonal block."""
        means = self.mean_connections(node)
        return self.covariance(means, means)

    def update(self, node: Any) -> Array:
        """2 Cov_x[Kbar_mu, fbar_L], column-stacked: the whole update of the node."""
        outputs = [f[None, :] for f in self.given_root(lambda found: found.output)]
        return self.covariance(self.mean_connections(node), outputs).reshape(-1) * 2


def covariance_over(prior: list[fmpq], left: list[Array], right: list[Array]) -> Array:
    """E[a b^T] - E[a] E[b]^T, for matrices a, b given each state."""
    mean_a = sum((a * p for a, p in zip(left[1:], prior[1:], strict=True)), left[0] * prior[0])
    mean_b = sum((b * p for b, p in zip(right[1:], prior[1:], strict=True)), right[0] * prior[0])
    total = -(mean_a @ mean_b.T)
    for a, b, p in zip(left, right, prior, strict=True):
        total = total + (a @ b.T) * p
    return total


def weighted(law: Law, value: Any) -> Array:
    """sum over configurations of probability times value."""
    first, *rest = (value(configuration) * p for configuration, p in law.items())
    return sum(rest, first)
