"""The closed forms that `theory` derives for a tree network, with the numbers put in, as exact rationals.

Nothing is taken from the enumeration but the selectivities of the weightless forms, which have symbols in their place:
wherever the weights are given, `theory` finds the selectivities itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import fmpq

from verify.towers.tower import Array, vec

if TYPE_CHECKING:
    from verify.trees.enumeration import Enumeration
    from verify.trees.instance import TreeInstance

# A tree with more parameters is derived with its exact numbers in place of symbols: polynomials in all of them explode.
SYMBOLS = 12
# The Walsh form has a monomial for every odd set of leaves, in every entry of the connection.
WALSH_LEAVES = 5


@dataclass(frozen=True, eq=False)
class Form:
    """One closed form of `theory` at a latent node.

    Parameters
    ----------
    quantity : str
        `activation`, `operator` or `update`.
    node : node of the tree
    name : str
        Which of the forms of this quantity it is.
    value : array of fmpq
    neurons : tuple of int, optional
        Rows and columns of the quantity that the form speaks of; all if not given.
    """

    quantity: str
    node: Any
    name: str
    value: Array
    neurons: tuple[int, ...] | None = None

    @property
    def place(self) -> str:
        """Quantity, node and form, for messages."""
        return f"{self.quantity} at {self.node!r}: {self.name}"

    def part(self, whole: Array) -> Array:
        """Of a quantity (or its standard errors) what this form speaks of."""
        return whole if self.neurons is None else whole[np.ix_(self.neurons, self.neurons)]


def sympy_number(value: float) -> Any:
    """The float as the exact SymPy rational that it is."""
    import sympy

    return sympy.Rational(*float(value).as_integer_ratio())


def exact_weights(instance: TreeInstance) -> dict[Any, Any]:
    """Weights as SymPy matrices of rationals."""
    import sympy

    return {node: sympy.Matrix([[sympy_number(e) for e in row] for row in w]) for node, w in instance.by_node.items()}


def as_exact(matrix: Any, values: Any) -> Array:
    """A SymPy matrix with the parameters put in, as exact rationals."""
    rows, columns = matrix.shape
    found = np.empty((rows, columns), dtype=object)
    for i in range(rows):
        for j in range(columns):
            value = matrix[i, j].xreplace(values) if hasattr(matrix[i, j], "xreplace") else matrix[i, j]
            if not value.is_Rational:
                raise ValueError(f"entry ({i}, {j}) is {value}, which still has symbols")
            found[i, j] = fmpq(int(value.p), int(value.q))
    return found


def activation_forms(moments: Enumeration) -> Iterator[Form]:
    """The activation covariance of every latent node: of the network, and of one neuron a child without weights."""
    import theory

    instance, tree = moments.instance, moments.tree
    values = theory.parameter_values(tree)
    numbers = len(values) > SYMBOLS
    weights, slope = exact_weights(instance), sympy_number(instance.slope)
    every = theory.activation_covariances(tree) if tree.is_binary else None
    if every is not None:
        # Parents come first, so that each product along a path is a number when the next one needs it.
        for symbol, product in every.definitions.items():
            values[symbol] = product.xreplace(values)
    for node in tree.latents:
        network = theory.activation_covariance(tree, node, weights=weights, slope=slope, numbers=numbers)
        yield Form("activation", node, "theory, with weights", as_exact(network, values))
        plain = {"selectivities put in": theory.activation_covariance(tree, node, numbers=numbers)}
        if every is not None:
            plain["shared products"] = every[node].matrix()
        for neurons, selectivities in selections(moments, node):
            known = {**values, **selectivities}
            for name, matrix in plain.items():
                yield Form("activation", node, f"theory, {name}", as_exact(matrix, known), neurons)


def selections(moments: Enumeration, node: Any) -> Iterator[tuple[tuple[int, ...], dict[Any, Any]]]:
    """One neuron of every child, the first and then the last: their places, and the values of the symbols of `theory`.

    The weightless forms give each child one neuron: ``s_nu``, or ``e_{nu;i}`` where there are more than two states.
    """
    from sympy import Rational, Symbol

    from theory.trees.symbols import tree_symbols

    texts = tree_symbols(moments.tree).texts
    seen = set()
    for last in (False, True):
        places, values, start = [], {}, 0
        for child in moments.tree.children(node):
            given = [np.atleast_1d(mean) for mean in moments.given_node(child)]
            index = len(given[0]) - 1 if last else 0
            places.append(start + index)
            start += len(given[0])
            means = [Rational(int(mean[index].p), int(mean[index].q)) for mean in given]
            values[Symbol(f"s_{{{texts[child]}}}", real=True)] = (means[1] - means[0]) / 2
            for state, mean in enumerate(means):
                values[Symbol(f"e_{{{texts[child]};{state}}}", real=True)] = mean
        if tuple(places) not in seen:
            seen.add(tuple(places))
            yield tuple(places), values


def weight_forms(moments: Enumeration) -> Iterator[Form]:
    """Operator and update of every latent node, and the Walsh form of the operator on small symmetric trees."""
    import theory

    instance, tree = moments.instance, moments.tree
    values = theory.parameter_values(tree)
    numbers = len(values) > SYMBOLS
    weights, slope = exact_weights(instance), sympy_number(instance.slope)
    for node in tree.latents:
        operator = theory.covariance_operator(tree, node, weights, slope, numbers=numbers)
        yield Form("operator", node, "theory", as_exact(operator, values))
        update = theory.node_update(tree, node, weights, slope, numbers=numbers)
        yield Form("update", node, "theory", vec(as_exact(update, values)))
        if tree.is_binary and tree.is_symmetric and len(tree.leaves) <= WALSH_LEAVES:
            walsh = theory.walsh_operator(tree, node, weights, slope)
            yield Form("operator", node, "theory, Walsh form", as_exact(walsh.matrix(), values))


def derived(moments: Enumeration) -> Iterator[Form]:
    """Every closed form of `theory` at every latent node."""
    yield from activation_forms(moments)
    yield from weight_forms(moments)
