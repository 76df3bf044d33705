"""Statement 6, operators: the covariance operator and the update of a node of a tree network, in closed form.

``OP_mu = V_x[Kbar_mu]`` (diagonal block, one-branch) and the whole shared update ``2 Cov_x[Kbar_mu, fbar_L]``,
cross terms between siblings included. Binary root: ``OP_mu = (1 - rho_0^2)/4 DK DK^T``; linear neurons: ``o_mu
a_mu a_mu^T kron J_mu^T J_mu``. Source: arXiv 2010.00578, statement 6.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from sympy import Add, Expr, ImmutableDenseMatrix, Mul, Rational

from hltm.base.checks import Node
from hltm.tree import HLTM
from theory.trees.means import (
    apply_table,
    check_size,
    check_terms,
    connection_table,
    cross,
    evaluate,
    gap_given,
    leaf_gaps,
    linear_gaps,
    linear_input_means,
    linear_jacobian,
    means_given,
    outer,
    path_means,
    spread,
)
from theory.trees.symbols import (
    TreeSymbols,
    TreeWeights,
    below,
    check_rows,
    gap_variance,
    internal,
    matrix,
    path_below,
    read_weights,
    strength,
    tree_symbols,
)


def covariance_operator(
    tree: HLTM,
    node: Node,
    weights: Mapping[Node, Any],
    slope: Any = 0,
    gates: Mapping[Node, Any] | None = None,
    numbers: bool = False,
    leaves: str = "state",
) -> ImmutableDenseMatrix:
    r"""Covariance operator ``V_x[Kbar_mu]`` of a node of a tree network, one-branch form, the diagonal block.

    Parameters
    ----------
    tree
        Any tree.
    node
        A node with children.
    weights
        Node to matrix of shape (\|N_mu\|, \|N_mu^ch\|), every node with children: numbers (a float is the
        rational that it is) or, for linear neurons, fixed gates and the weights of the root in its own
        operator, polynomials in symbols.
    slope
        Of the activation, in [0, 1]: 0 ReLU, 1 linear.
    gates
        A gate pattern: node (with children, not the root) to one gate a neuron, number or symbol, the same for
        every input. Given it, ``slope`` is not used and weights may be symbols.
    numbers
        Put the tree's exact numbers in place of its symbols.
    leaves
        ``"state"``: a leaf is one neuron, its state number. ``"one-hot"``: a leaf of m states is m neurons, the
        indicators of its states, in place of its one column of weights.

    Returns
    -------
    sympy.ImmutableDenseMatrix
        Shape (p, p), p = \|N_mu\| \|N_mu^ch\|; entry (output b, input a) of a weight matrix at index
        ``a * n_out + b``. Polynomials in the symbols of `parameter_values`, products not multiplied out.

    Raises
    ------
    InputError
        An unknown node or a leaf, weights of a wrong shape, symbols in the weights of a ReLU network without
        gates, a tree that is too large to be enumerated, a ReLU network with more than 2^14 monomials in symbols.

    Source
    ------
    Statement 6 (arXiv 2010.00578); general tables, fixed gates and categorical nodes go beyond the paper.

    Examples
    --------
    >>> import hltm
    >>> from sympy import Symbol
    >>> w = Symbol("w")
    >>> tree = hltm.complete_tree(depth=2, branching=1, polarity=0.5)
    >>> covariance_operator(tree, 1, {0: [[w]], 1: [[2]]}, slope=1)
    Matrix([[\rho_{0,1}**2*\rho_{1,2}**2*w**2*(1 - \rho_{0}**2)/4]])
    >>> covariance_operator(tree, 1, {0: [[3]], 1: [[2]]}, slope=0)
    Matrix([[9*\rho_{0,1}**2*\rho_{1,2}**2*(1 - \rho_{0}**2)/4]])
    """
    symbols = tree_symbols(tree, numbers)
    internal(tree, node, "covariance_operator")
    network = read_weights(tree, weights, slope, gates, leaves=leaves)
    check_rows(network.neurons(node) * network.inputs(node), "covariance_operator")
    if network.linear or node == tree.root:
        activations = input_covariance(symbols, network, node)
        jacobian = linear_jacobian(network, node)
        return kron(activations, gram(jacobian))
    means = connection_means(symbols, network, node)
    return variance(symbols, means, network.n_out)


def node_update(
    tree: HLTM,
    node: Node,
    weights: Mapping[Node, Any],
    slope: Any = 0,
    gates: Mapping[Node, Any] | None = None,
    numbers: bool = False,
    leaves: str = "state",
) -> ImmutableDenseMatrix:
    r"""The whole expected update of a node under the simple loss: ``2 Cov_x[Kbar_mu, fbar_L]``, shared convention.

    Parameters
    ----------
    tree, node, weights, slope, gates, numbers, leaves
        As in `covariance_operator`.

    Returns
    -------
    sympy.ImmutableDenseMatrix
        ``-E[dL_simp/dW_mu]``, shaped as ``weights[node]``, all cross terms included. At the root it is the
        matrix of ``2 OP_0 vec W_0``; elsewhere the diagonal block alone misses the siblings.

    Raises
    ------
    InputError
        As `covariance_operator`.

    Source
    ------
    Statement 6 and the general form of statement 3 (arXiv 2010.00578).

    Examples
    --------
    >>> import hltm
    >>> tree = hltm.star_tree(1, polarity=0.5)
    >>> node_update(tree, 0, {0: [[3]]})
    Matrix([[3*\rho_{0,1}**2*(1 - \rho_{0}**2)/2]])
    """
    symbols = tree_symbols(tree, numbers)
    internal(tree, node, "node_update")
    network = read_weights(tree, weights, slope, gates, leaves=leaves)
    if network.linear or node == tree.root:
        return _linear_update(symbols, network, node)
    means = connection_means(symbols, network, node)
    outputs = _output_means(symbols, network)
    n_out, n_mu = network.n_out, network.neurons(node)
    if tree.is_binary:
        spread_of_root = 1 - symbols.root_polarity**2
        vector = [
            Mul(Rational(1, 2), spread_of_root, Add(*(Mul(row[o], outputs[0, o]) for o in range(n_out))))
            for row in means[0].reshape(-1, n_out)
        ]
    else:
        covariances = cross(symbols.prior, means.tolist(), outputs.tolist())
        vector = [
            2 * Add(*(covariances[i * n_out + o, o] for o in range(n_out))) for i in range(means.shape[1] // n_out)
        ]
    return matrix([[vector[a * n_mu + b] for a in range(network.inputs(node))] for b in range(n_mu)])


def input_covariance(symbols: TreeSymbols, network: TreeWeights, node: Node) -> ImmutableDenseMatrix:
    """``o_mu a_mu a_mu^T`` on a binary tree, else ``M^T (diag pi - pi pi^T) M``, shape (inputs, inputs)."""
    if symbols.tree.is_binary:
        return outer(strength(symbols, node), input_gaps(symbols, network, node))
    return spread(symbols.prior, path_means(symbols, node, input_means(symbols, network, node)))


def input_gaps(symbols: TreeSymbols, network: TreeWeights, node: Node) -> list[Expr]:
    """``a_mu`` of a network on a binary tree: rho_{mu nu} s_k of every neuron k of every child."""
    if network.linear:
        return list(linear_gaps(symbols, network, node))
    _check_children(symbols, network, node)
    gaps: list[Expr] = []
    for child in symbols.tree.children(node):
        if not symbols.tree.children(child):
            gaps += [Mul(symbols.polarity(child), gap) for gap in leaf_gaps(network.leaves)]
            continue
        table = evaluate(network, below(symbols.tree, child)).values[child]
        half = (Mul(Rational(1, 2), gap) for gap in gap_given(symbols, child, table, "conditional means"))
        gaps += [Mul(symbols.polarity(child), s) for s in half]
    return gaps


def input_means(symbols: TreeSymbols, network: TreeWeights, node: Node) -> list[list[Expr]]:
    if network.linear:
        means: list[list[Expr]] = linear_input_means(symbols, network, node).tolist()
        return means
    _check_children(symbols, network, node)
    columns: list[list[list[Expr]]] = []
    for child in symbols.tree.children(node):
        table = evaluate(network, below(symbols.tree, child)).values[child]
        own = means_given(symbols, child, table, "conditional means").tolist()
        columns.append(apply_table(symbols.table(child), own))
    return [[entry for column in columns for entry in column[i]] for i in range(symbols.tree.cardinality(node))]


def _check_children(symbols: TreeSymbols, network: TreeWeights, node: Node) -> None:
    """Refuse conditional means of a node's children that are too large, before any is computed."""
    latent = [child for child in symbols.tree.children(node) if symbols.tree.children(child)]
    for child in latent:
        check_size(symbols.tree, below(symbols.tree, child), network.neurons(child), "conditional means")
    check_terms(symbols, {child: network.neurons(child) for child in latent}, "conditional means")


def connection_means(symbols: TreeSymbols, network: TreeWeights, node: Node) -> np.ndarray:
    """Conditional means of K_mu given z_0, not at the root: (1, p * n_L), the gap, on binary trees; else a row a state.

    Only the leaves below the root's child that leads to mu matter.
    """
    tree = symbols.tree
    top = tree.path(tree.root, node)[1]
    nodes = below(tree, top)
    columns = network.neurons(node) * network.inputs(node) * network.n_out
    check_size(tree, nodes, columns, "covariance_operator")
    network.require_numbers(tree.path(tree.root, node))
    table = connection_table(evaluate(network, nodes), node, top)
    if tree.is_binary:
        gaps = gap_given(symbols, top, table, "covariance_operator")
        return np.array([[Mul(symbols.polarity(top), gap) for gap in gaps]], dtype=object)
    means = means_given(symbols, top, table, "covariance_operator")
    return np.array(apply_table(symbols.table(top), means.tolist()), dtype=object)


def _output_means(symbols: TreeSymbols, network: TreeWeights) -> np.ndarray:
    """Conditional means of f_L given z_0: (1, n_L), the gap, on binary trees; else a row a state."""
    tree = symbols.tree
    if tree.is_binary:
        rows = [[2 * gap for gap in input_gaps(symbols, network, tree.root)]]
    else:
        rows = input_means(symbols, network, tree.root)
    weights = network.matrices[tree.root]
    return _applied(np.array(rows, dtype=object), weights.T)


def variance(symbols: TreeSymbols, means: np.ndarray, n_out: int) -> ImmutableDenseMatrix:
    """``V_x[Kbar]`` from the conditional means of K: (1 - rho_0^2)/4 DK DK^T for a binary root."""
    if symbols.tree.is_binary:
        return gap_variance(symbols, means[0].reshape(-1, n_out))
    whole = spread(symbols.prior, means.tolist())
    size = means.shape[1] // n_out
    return matrix([
        [Add(*(whole[i * n_out + o, j * n_out + o] for o in range(n_out))) for j in range(size)] for i in range(size)
    ])  # fmt: skip


def gram(jacobian: np.ndarray) -> list[list[Expr]]:
    """``J^T J``, entries of the neurons b, c."""
    columns = list(jacobian.T)
    return [[Add(*(Mul(x, y) for x, y in zip(b, c, strict=True))) for c in columns] for b in columns]


def kron(left: ImmutableDenseMatrix, right: list[list[Expr]]) -> ImmutableDenseMatrix:
    """``left kron right``, products left as they are."""
    size = len(right)
    total = left.rows * size
    return matrix([
        [Mul(left[i // size, j // size], right[i % size][j % size]) for j in range(total)] for i in range(total)
    ])  # fmt: skip


def _linear_update(symbols: TreeSymbols, network: TreeWeights, node: Node) -> ImmutableDenseMatrix:
    """``2 J^T W_0 Cov[means of the root's inputs, means of the node's inputs]``, J = I at the root, linear neurons."""
    tree = symbols.tree
    jacobian, top = linear_jacobian(network, node), network.matrices[tree.root]
    if symbols.tree.is_binary:
        factors = [2, 1 - symbols.root_polarity**2, *(symbols.polarity(v) for v in path_below(tree, node))]
        first = input_gaps(symbols, network, tree.root)
        own = first if node == tree.root else input_gaps(symbols, network, node)
        outputs = _applied(top, np.array([first], dtype=object).T)
        pulled = _applied(jacobian.T, outputs)[:, 0]
        return matrix([[Mul(*factors, b, a) for a in own] for b in pulled])
    own_means = path_means(symbols, node, input_means(symbols, network, node))
    between = cross(symbols.prior, input_means(symbols, network, tree.root), own_means)
    pulled = _applied(2 * jacobian.T, _applied(top, np.array(between.tolist(), dtype=object)))
    return matrix(pulled)


def _applied(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """A product of matrices of expressions, each sum built at once: SymPy's repeated addition is quadratic."""
    result = np.empty((len(left), right.shape[1]), dtype=object)
    for i, row in enumerate(left):
        for j, column in enumerate(right.T):
            result[i, j] = Add(*(Mul(x, y) for x, y in zip(row, column, strict=True)))
    return result
