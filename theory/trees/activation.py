"""Statement 6, activations: ``V_{z_0}[E[f_{N_mu^ch} | z_0]] = o_mu a_mu a_mu^T`` on any tree.

Binary nodes: ``o_mu = rho_{0mu}^2 (1 - rho_0^2)``, ``a_mu = [rho_{mu nu} s_nu]`` over the children nu, with
``s = 1/2`` for a leaf of states 0 and 1. Categorical nodes, beyond the paper: ``F^T T_{0mu}^T (diag pi - pi
pi^T) T_{0mu} F`` with F the conditional means of the children given ``z_mu``. Source: arXiv 2010.00578.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Expr, ImmutableDenseMatrix, Mul, Rational, Symbol

from hltm.base.checks import Node, show, suggestion
from hltm.base.errors import InputError
from hltm.leaves import check_leaves, leaf_neurons
from hltm.tree import HLTM
from theory.trees.means import apply_table, leaf_activations, leaf_gaps, outer, path_means, spread
from theory.trees.operator import input_covariance
from theory.trees.symbols import TreeSymbols, check_rows, internal, read_weights, strength, tree_symbols

HALF = Rational(1, 2)


def activation_covariance(
    tree: HLTM,
    node: Node,
    weights: Mapping[Node, Any] | None = None,
    selectivities: Mapping[Node, Any] | None = None,
    slope: Any = 1,
    numbers: bool = False,
    leaves: str = "state",
) -> ImmutableDenseMatrix:
    r"""Covariance over z_0 of the mean activations of a node's children, in closed form.

    Parameters
    ----------
    tree
        Any tree; tables need not be symmetric.
    node
        A node with children.
    weights
        Without weights each latent child is one neuron with the selectivity symbol ``s_nu`` (a child with m > 2
        states: with the symbols ``e_{nu;i}`` for E[f_nu | z_nu = i]). With weights (node -> matrix of shape
        (neurons, inputs), numbers or symbols) the neurons are those of the network.
    selectivities
        Node -> expression, or list of expressions (one a neuron), in place of ``s_nu`` of latent binary children.
    slope
        Of the activation, used with weights; slopes other than 1 need weights that are numbers.
    numbers
        Put the tree's exact numbers in place of its symbols.
    leaves
        ``"state"``: a leaf is one neuron, its state number. ``"one-hot"``: a leaf of m states is m neurons, the
        indicators of its states, in place of its one column or row.

    Returns
    -------
    sympy.ImmutableDenseMatrix
        Shape (n, n), n = number of the children's neurons; the order follows ``tree.children(node)``, of a one-hot
        leaf its states.

    Raises
    ------
    InputError
        An unknown node, a leaf, weights of a wrong shape, both weights and selectivities.

    Source
    ------
    Statement 6 (arXiv 2010.00578).

    Examples
    --------
    >>> import hltm
    >>> tree = hltm.star_tree(2, polarity=0.5, root_polarity=0.5)
    >>> activation_covariance(tree, 0)[0, 1]
    \rho_{0,1}*\rho_{0,2}*(1 - \rho_{0}**2)/4
    >>> activation_covariance(tree, 0, leaves="one-hot")[0, 3]  # state 0 of leaf 1, state 1 of leaf 2
    -\rho_{0,1}*\rho_{0,2}*(1 - \rho_{0}**2)/4
    """
    symbols, kind = tree_symbols(tree, numbers), check_leaves(leaves)
    internal(tree, node, "activation_covariance")
    rows = sum(1 if tree.children(child) else leaf_neurons(tree, child, kind) for child in tree.children(node))
    check_rows(rows, "activation_covariance")
    if weights is not None:
        if selectivities is not None:
            raise InputError("weights and selectivities of activation_covariance: give one of them, not both")
        return input_covariance(symbols, read_weights(tree, weights, slope, leaves=kind), node)
    if is_binary_at(tree, node):
        return outer(strength(symbols, node), gap_vector(symbols, node, selectivities, kind))
    if selectivities is not None:
        raise InputError(f"selectivities at node {show(node)}: need binary nodes on the way and below; give weights")
    return spread(symbols.prior, path_means(symbols, node, _child_means(symbols, node, kind)))


def is_binary_at(tree: HLTM, node: Node) -> bool:
    """Whether the one-dimensional form applies: two states from the root to the node and at its children."""
    return all(tree.cardinality(v) == 2 for v in (*tree.path(tree.root, node), *tree.children(node)))


def selectivity(symbols: TreeSymbols, node: Node) -> Expr:
    """``s_nu = (E[f|z_nu=1] - E[f|z_nu=0])/2``: a symbol, 1/2 for a leaf."""
    return Symbol(f"s_{{{symbols.texts[node]}}}", real=True) if symbols.tree.children(node) else HALF


def gap_vector(
    symbols: TreeSymbols, node: Node, selectivities: Mapping[Node, Any] | None = None, leaves: str = "state"
) -> list[Expr]:
    """``a_mu``: rho_{mu nu} s_k for every neuron k of every child nu."""
    values = selectivities or {}
    latent = [child for child in symbols.tree.children(node) if symbols.tree.children(child)]
    for name in values:
        if name not in latent:
            near = suggestion(name, latent)
            raise InputError(f"selectivities[{show(name)}]: must be a latent child of node {show(node)}{near}")
    vector = []
    for child in symbols.tree.children(node):
        if symbols.tree.children(child):
            own = values.get(child, selectivity(symbols, child))
            listed = own if isinstance(own, (list, tuple)) else [own]
        else:
            listed = leaf_gaps(leaves)
        vector += [Mul(symbols.polarity(child), sympy.sympify(s, strict=True)) for s in listed]
    return vector


def _child_means(symbols: TreeSymbols, node: Node, leaves: str) -> list[list[Expr]]:
    """F: E[f_nu | z_mu = i], shape (states of mu, neurons of the children)."""
    tree, columns = symbols.tree, []
    for child in tree.children(node):
        states = tree.cardinality(child)
        if not tree.children(child):
            means = [[sympy.Integer(f) for f in row] for row in leaf_activations(states, leaves)]
        else:
            means = [[Symbol(f"e_{{{symbols.texts[child]};{j}}}", real=True)] for j in range(states)]
        columns.append(apply_table(symbols.table(child), means))
    return [[mean for column in columns for mean in column[i]] for i in range(tree.cardinality(node))]


# Every node of a binary tree at once: forms that share the products along the paths.


@dataclass(frozen=True, slots=True)
class ActivationCovariance:
    """``o_mu a_mu a_mu^T`` of one node of a binary tree, factor and vector apart."""

    node: Node
    factor: Expr
    vector: tuple[Expr, ...]

    def matrix(self) -> ImmutableDenseMatrix:
        """The matrix in the symbol ``rho_{0mu}``, shape (children, children)."""
        return outer(self.factor, list(self.vector))

    def _repr_latex_(self) -> str:
        """Both factors for a notebook."""
        from theory.latex.render import activation_latex

        return activation_latex(self.factor, self.vector)


@dataclass(frozen=True)
class ActivationCovariances(Mapping[Node, ActivationCovariance]):
    r"""The activation covariance of every node with children, with shared sub-expressions."""

    symbols: TreeSymbols
    definitions: Mapping[Symbol, Expr]
    forms: Mapping[Node, ActivationCovariance]

    def __getitem__(self, node: Node) -> ActivationCovariance:
        return self.forms[internal(self.symbols.tree, node, "activation_covariances")]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.forms)

    def __len__(self) -> int:
        return len(self.forms)

    def written_out(self, node: Node) -> Expr:
        """``o_mu`` in the polarities of the edges."""
        return strength(self.symbols, internal(self.symbols.tree, node, "activation_covariances"))


def activation_covariances(tree: HLTM, leaves: str = "state") -> ActivationCovariances:
    """Closed forms of every node with children of a binary tree, in time linear in the tree.

    Parameters
    ----------
    tree
        A tree whose nodes all have two states.
    leaves
        As in `activation_covariance`.

    Returns
    -------
    ActivationCovariances
        A mapping of node to form; products along paths are shared symbols, defined once each.

    Raises
    ------
    InputError
        A node with more than two states (use `activation_covariance`, node by node).

    Source
    ------
    Statement 6 (arXiv 2010.00578).

    Examples
    --------
    >>> import hltm
    >>> len(activation_covariances(hltm.complete_tree(depth=3, branching=2, polarity=0.5)))
    7
    """
    symbols, kind = tree_symbols(tree), check_leaves(leaves)
    if not tree.is_binary:
        wide = next(node for node in tree.nodes if tree.cardinality(node) != 2)
        raise InputError(
            f"activation_covariances at node {show(wide)}: must be binary, has {tree.cardinality(wide)} states; "
            "use activation_covariance for the matrix form"
        )
    reach: dict[Node, Expr] = {tree.root: sympy.Integer(1)}
    definitions: dict[Symbol, Expr] = {}
    for above, node in tree.edges:
        if tree.children(node):
            name = rf"\rho_{{{symbols.texts[tree.root]}\to {symbols.texts[node]}}}"
            reach[node] = Symbol(name, real=True)
            definitions[reach[node]] = reach[above] * symbols.polarity(node)
    spread = 1 - symbols.root_polarity**2
    forms = {
        node: ActivationCovariance(node, reach[node] ** 2 * spread, tuple(gap_vector(symbols, node, None, kind)))
        for node in tree.latents
    }
    return ActivationCovariances(symbols, definitions, forms)
