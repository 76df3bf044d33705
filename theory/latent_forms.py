"""Statement 6, activations of every node of a binary tree at once: forms that share the products along the paths.

Products are built in the order in which SymPy itself would put their factors, so that it need not search for it:
``factor`` and ``vector`` equal what `Mul` gives, in a third of the time. Source: arXiv 2010.00578.
"""

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import sympy
from sympy import Expr, ImmutableDenseMatrix, Mul, Symbol

from hltm.base.checks import Node, show
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.trees.activation import selectivity
from theory.trees.means import outer
from theory.trees.symbols import TreeSymbols, internal, path_below, tree_symbols


@dataclass(frozen=True, slots=True)
class ActivationCovariance:
    """``o_mu a_mu a_mu^T`` of one node of a binary tree, factor and vector apart.

    Attributes
    ----------
    node
        The node mu.
    factor
        ``o_mu = rho_{0mu}^2 (1 - rho_0^2)``, in the symbol ``rho_{0mu}`` that `ActivationCovariances` defines.
    vector
        ``a_mu = [rho_{mu nu} s_nu]``, one entry a child nu.
    """

    node: Node
    factor: Expr
    vector: tuple[Expr, ...]

    def matrix(self) -> ImmutableDenseMatrix:
        """The matrix in the symbol ``rho_{0mu}``, shape (children, children)."""
        return outer(self.factor, list(self.vector))

    def _repr_latex_(self) -> str:
        """Both factors for a notebook."""
        from theory.notebook import activation_latex

        return activation_latex(self.factor, self.vector)


@dataclass(frozen=True)
class ActivationCovariances(Mapping[Node, ActivationCovariance]):
    r"""The activation covariance of every node with children, with shared sub-expressions.

    Attributes
    ----------
    symbols
        The symbols of the tree.
    definitions
        ``rho_{0mu}`` of every such node but the root, parents first: the symbol of the parent times the edge.
    forms
        Node to its form.

    Examples
    --------
    >>> import hltm
    >>> every = activation_covariances(hltm.complete_tree(depth=3, branching=1, polarity=0.5))
    >>> every.definitions
    {\rho_{0\to 1}: \rho_{0,1}, \rho_{0\to 2}: \rho_{0\to 1}*\rho_{1,2}}
    >>> every[2].matrix(), every.written_out(2)
    (Matrix([[\rho_{0\to 2}**2*\rho_{2,3}**2*(1 - \rho_{0}**2)/4]]), \rho_{0,1}**2*\rho_{1,2}**2*(1 - \rho_{0}**2))
    """

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
        tree = self.symbols.tree
        internal(tree, node, "activation_covariances")
        path = (self.symbols.polarity(step) ** 2 for step in path_below(tree, node))
        return Mul(*path, 1 - self.symbols.root_polarity**2)


def activation_covariances(tree: HLTM) -> ActivationCovariances:
    """Closed forms of every node with children of a binary tree, in time linear in the tree.

    Parameters
    ----------
    tree
        A tree whose nodes all have two states.

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
    symbols = tree_symbols(tree)
    if not tree.is_binary:
        wide = next(node for node in tree.nodes if tree.cardinality(node) != 2)
        raise InputError(
            f"activation_covariances at node {show(wide)}: must be binary, has {tree.cardinality(wide)} states; "
            "use activation_covariance for the matrix form"
        )
    with paused_collector():
        steps = {node: symbols.polarity(node) for node in tree.nodes[1:]}
        definitions, reach = _reaches(symbols, steps)
        spread = 1 - symbols.root_polarity**2
        forms = {}
        for node in tree.latents:
            factor = spread if node == tree.root else ordered(reach[node] ** 2, spread)
            forms[node] = ActivationCovariance(node, factor, _vector(symbols, steps, node))
    return ActivationCovariances(symbols, definitions, forms)


def _reaches(symbols: TreeSymbols, steps: Mapping[Node, Expr]) -> tuple[dict[Symbol, Expr], dict[Node, Expr]]:
    """Definitions of ``rho_{0mu}``, parents first, and the symbol of each node with children."""
    tree, root = symbols.tree, symbols.texts[symbols.tree.root]
    reach: dict[Node, Expr] = {tree.root: sympy.Integer(1)}
    definitions: dict[Symbol, Expr] = {}
    for above, node in tree.edges:
        if not tree.children(node):
            continue
        step = steps[node]
        shared = Symbol(rf"\rho_{{{root}\to {symbols.texts[node]}}}", real=True)
        # Symbols stand in the order of their names.
        parts = sorted((reach[above], step), key=str)
        definitions[shared] = step if above == tree.root else ordered(*parts)
        reach[node] = shared
    return definitions, reach


def _vector(symbols: TreeSymbols, steps: Mapping[Node, Expr], node: Node) -> tuple[Expr, ...]:
    r"""``a_mu``: a number stands first, and names that start with ``\rho`` before those that start with ``s``."""
    entries = []
    for child in symbols.tree.children(node):
        rho, s = steps[child], selectivity(symbols, child)
        entries.append(ordered(s, rho) if s.is_Number else ordered(rho, s))
    return tuple(entries)


def ordered(first: Expr, second: Expr) -> Expr:
    """The product of two different factors, neither 1 nor itself a product, that stand in SymPy's order."""
    return Mul(first, second, evaluate=False)


@contextmanager
def paused_collector() -> Iterator[None]:
    """Run without Python's cycle collector.

    The forms of a large tree hold no cycles, and all of them stay alive: each full collection on the way would walk
    through everything made so far, a cost that grows faster than the tree.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
