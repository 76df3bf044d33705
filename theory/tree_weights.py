"""Weights and gates of a tree network, checked: exact numbers or symbols (statement 6, arXiv 2010.00578).

``weights[node]`` has shape (|N_mu|, |N_mu^ch|); its columns run over ``tree.children(node)`` in order, all
neurons of one child before the next; a leaf is one neuron whose activation is its state number.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Integer, Rational

from hltm.base.checks import Node, number, show, suggestion
from hltm.base.errors import InputError
from hltm.tree import HLTM


@dataclass(frozen=True)
class TreeWeights:
    """A network on a tree.

    Attributes
    ----------
    tree
        The tree.
    matrices
        Node with children to an object array of SymPy expressions, floats as the rationals that they are.
    slope
        Of the activation.
    gates
        Node to one gate a neuron, the same for every input, or None: the gates follow the pre-activations.
    """

    tree: HLTM
    matrices: dict[Node, np.ndarray]
    slope: Rational
    gates: dict[Node, list[Expr]] | None

    @property
    def linear(self) -> bool:
        """Whether the output is a linear function of the leaves, with the gates held fixed."""
        return self.gates is not None or self.slope == 1

    @property
    def n_out(self) -> int:
        """n_L, the neurons of the root."""
        return self.neurons(self.tree.root)

    def neurons(self, node: Node) -> int:
        """|N_mu|; a leaf is one neuron."""
        return int(self.matrices[node].shape[0]) if node in self.matrices else 1

    def inputs(self, node: Node) -> int:
        """|N_mu^ch|."""
        return int(self.matrices[node].shape[1])

    def block(self, node: Node) -> np.ndarray:
        """The columns of the parent's matrix that read a node, shape (neurons of the parent, |N_node|)."""
        above: Any = self.tree.parent(node)
        start = 0
        for child in self.tree.children(above):
            if child == node:
                break
            start += self.neurons(child)
        return self.matrices[above][:, start : start + self.neurons(node)]

    def gate(self, node: Node) -> list[Expr]:
        """The gates of a node of a linear network; ones at the root, which has no activation."""
        if self.gates is None or node == self.tree.root:
            return [Integer(1)] * self.neurons(node)
        return self.gates[node]

    def require_numbers(self, nodes: Any) -> None:
        """Refuse symbols where gates follow from the numbers."""
        for node in nodes:
            if not all(entry.is_Rational for entry in self.matrices[node].ravel()):
                raise InputError(
                    f"weights[{show(node)}] with symbols and slope={self.slope}: the gates of a ReLU network depend on "
                    "the numbers; give numbers, gates={node: [one gate a neuron]}, or slope=1"
                )


def exact(value: Any, name: str, place: str = "") -> Expr:
    """A number as a SymPy rational (a float as the rational that it is); an expression as it stands."""
    if isinstance(value, Expr) and not value.is_number:
        if not value.is_polynomial(*value.free_symbols) or value.has(sympy.Float):
            raise InputError(f"{name}={show(value)}{place}: must be a polynomial in symbols with rational numbers")
        return value
    if isinstance(value, sympy.Rational):
        return value
    if isinstance(value, sympy.Float) and value.is_finite:
        return Rational(*value.as_integer_ratio())
    plain = Fraction(number(value, name, place))
    return Rational(plain.numerator, plain.denominator)


def read_weights(
    tree: HLTM, weights: object, slope: Any = 0, gates: Mapping[Node, Any] | None = None, name: str = "weights"
) -> TreeWeights:
    """Check the weights of every node with children, the slope and the gates.

    Raises
    ------
    InputError
        A node that is missing or unknown, a wrong shape, an entry that is no finite number and no
        polynomial, a slope outside [0, 1], gates for a part of the nodes.
    """
    latents = tree.latents
    given = _mapping(weights, name, latents)
    rate = exact(slope, "slope", " of the activation")
    if not rate.is_Rational or not 0 <= rate <= 1:
        raise InputError(f"slope={show(slope)} of the activation: must be a number in [0, 1]")
    matrices: dict[Node, np.ndarray] = {}
    for node in reversed(latents):
        width = sum(matrices[c].shape[0] if c in matrices else 1 for c in tree.children(node))
        matrices[node] = _matrix(given[node], f"{name}[{show(node)}]", width)
    return TreeWeights(tree, matrices, rate, None if gates is None else _gates(tree, matrices, gates))


def _mapping(given: object, name: str, nodes: tuple[Node, ...]) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise InputError(f"{name}={show(given)}: must be a mapping of nodes to values, got {type(given).__name__}")
    known = set(nodes)
    for node in given:
        if node not in known:
            raise InputError(f"{name}[{show(node)}]: must be a node with children{suggestion(node, nodes)}")
    for node in nodes:
        if node not in given:
            raise InputError(f"{name} without node {show(node)}: must have every node with children")
    return given


def _matrix(value: Any, name: str, width: int) -> np.ndarray:
    if isinstance(value, sympy.MatrixBase):
        value = value.tolist()
    try:
        array = np.asarray(value, dtype=object)
    except (ValueError, TypeError, RuntimeError):  # ragged rows
        array = np.asarray(None)
    if array.ndim != 2 or array.shape[1] != width or not array.shape[0]:
        raise InputError(
            f"{name}: must be a matrix of shape (neurons, {width}), a column for each neuron of its children, "
            f"got shape {array.shape}"
        )
    result = np.empty(array.shape, dtype=object)
    for place, entry in np.ndenumerate(array):
        result[place] = exact(entry, f"{name}[{', '.join(map(str, place))}]")
    return result


def _gates(tree: HLTM, matrices: dict[Node, np.ndarray], gates: object) -> dict[Node, list[Expr]]:
    nodes = tuple(node for node in tree.latents if node != tree.root)
    given = _mapping(gates, "gates", nodes)
    result = {}
    for node in nodes:
        values = list(np.asarray(given[node], dtype=object).ravel())
        if len(values) != len(matrices[node]):
            raise InputError(
                f"gates[{show(node)}]: must have one entry a neuron, {len(matrices[node])}, has {len(values)}"
            )
        result[node] = [exact(value, f"gates[{show(node)}][{i}]") for i, value in enumerate(values)]
    return result
