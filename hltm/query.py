"""Exact laws of nodes in rational arithmetic, by message passing.

Messages are vectors of integers up to a common factor: no fraction is reduced before the end. The numbers grow with the
tables below a node, so the work is at most quadratic in the size of the tables along a path; it is bounded before it
starts.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from math import lcm

from hltm.base.checks import Node, count, show
from hltm.base.errors import InputError
from hltm.exact import read_states
from hltm.tables import Row, normalized
from hltm.tree import HLTM

BIT_LIMIT = 2**31  # of all messages together: some seconds

Vector = tuple[int, ...]


def rational_marginals(
    tree: HLTM, evidence: Mapping[Node, int] | None = None, nodes: Iterable[Node] | None = None
) -> dict[Node, tuple[Fraction, ...]]:
    """Return the laws of nodes given states of some nodes, as fractions that sum to one exactly.

    Parameters
    ----------
    tree : HLTM
        Of any size with few digits; a row of floats is divided by its exact sum.
    evidence : mapping of Node to int, optional
        Known states of any nodes.
    nodes : iterable of Node, optional
        Whose laws; by default all nodes.

    Returns
    -------
    dict of Node to tuple of Fraction
        P(node | evidence), one entry for each state, in the order of `nodes`.

    Raises
    ------
    InputError
        An unknown node or state, evidence of probability zero, numbers of too many digits.

    Source
    ------
    Statement 6 (the tree); sum-product algorithm.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from hltm.build import complete_tree
    >>> tree = complete_tree(depth=1, branching=2, polarity=Fraction(1, 2))
    >>> rational_marginals(tree, {1: 1}, [2])
    {2: (Fraction(3, 8), Fraction(5, 8))}
    """
    known = _known(tree, evidence)
    wanted = {node: tree.cardinality(node) for node in (tree.nodes if nodes is None else nodes)}
    expanded = {above for node in wanted for above in _above(tree, node)} if nodes is not None else set(tree.latents)
    tables = {child: _integers(tree.exact_table(child)) for _, child in tree.edges}
    _check_size(tree, tables, len(wanted) + len(expanded))
    below = _upwards(tree, tables, known)
    above: dict[Node, Vector] = {tree.root: _scaled([normalized(tree.exact_prior())])[0]}
    laws: dict[Node, tuple[Fraction, ...]] = {}
    for node in tree.nodes:
        if node not in above:
            continue
        own = above.pop(node)
        if node in wanted:
            laws[node] = _law(_times(own, below[node]), known)
        if node in expanded:
            _downwards(tree, node, _times(own, _indicator(tree, node, known)), tables, below, above, wanted, expanded)
    return {node: laws[node] for node in wanted}


def _known(tree: HLTM, evidence: Mapping[Node, int] | None) -> dict[Node, int]:
    states = read_states(tree, {} if evidence is None else evidence, "evidence")
    for node, value in states.items():
        if value.ndim:
            raise InputError(f"evidence of node {show(node)}: must be one integer, got shape {value.shape}")
    return {node: int(value) for node, value in states.items()}


def _above(tree: HLTM, node: Node) -> list[Node]:
    """The nodes above a node."""
    result: list[Node] = []
    parent = tree.parent(node)
    while parent is not None:
        result.append(parent)
        parent = tree.parent(parent)
    return result


def _upwards(tree: HLTM, tables: Mapping[Node, list[Vector]], known: Mapping[Node, int]) -> dict[Node, Vector]:
    """The likelihood of each node given the evidence at and below it, up to a factor."""
    below: dict[Node, Vector] = {}
    for node in reversed(tree.nodes):
        own = _indicator(tree, node, known)
        for child in tree.children(node):
            own = _times(own, _message(tables[child], below[child]))
        below[node] = own
    return below


def _downwards(
    tree: HLTM, node: Node, local: Vector, tables: Mapping[Node, list[Vector]], below: Mapping[Node, Vector],
    above: dict[Node, Vector], wanted: Mapping[Node, int], expanded: set[Node],
) -> None:  # fmt: skip
    """Pass to each child what is known beside and above it; products of the others from both ends, no division."""
    children = tree.children(node)
    messages = [_message(tables[child], below[child]) for child in children]
    after = [local]
    for message in reversed(messages[1:]):
        after.append(_times(after[-1], message))
    before: Vector = (1,) * len(local)
    for child, message, rest in zip(children, messages, reversed(after), strict=True):
        if child in wanted or child in expanded:
            context = _times(before, rest)
            columns = zip(*tables[child], strict=True)
            above[child] = tuple(sum(c * t for c, t in zip(context, column, strict=True)) for column in columns)
        before = _times(before, message)


def _message(table: list[Vector], likelihood: Vector) -> Vector:
    """What a child says of the states of its parent; ones where nothing is known below."""
    if len(set(likelihood)) == 1 and likelihood[0]:
        return (1,) * len(table)
    return tuple(sum(t * v for t, v in zip(row, likelihood, strict=True)) for row in table)


def _times(left: Vector, right: Vector) -> Vector:
    return tuple(a * b for a, b in zip(left, right, strict=True))


def _indicator(tree: HLTM, node: Node, known: Mapping[Node, int]) -> Vector:
    states = range(tree.cardinality(node))
    return tuple(int(node not in known or known[node] == state) for state in states)


def _law(weights: Vector, known: Mapping[Node, int]) -> tuple[Fraction, ...]:
    total = sum(weights)
    if not total:
        raise InputError(f"evidence={show(dict(known))}: must not have probability zero")
    return tuple(Fraction(weight, total) for weight in weights)


def _integers(rows: Iterable[Row]) -> list[Vector]:
    """A table whose rows sum to one, times its common denominator."""
    return _scaled([normalized(row) for row in rows])


def _scaled(rows: list[tuple[Fraction, ...]]) -> list[Vector]:
    common = lcm(*(value.denominator for row in rows for value in row))
    return [tuple(int(value * common) for value in row) for row in rows]


def _check_size(tree: HLTM, tables: Mapping[Node, list[Vector]], laws: int) -> None:
    """Refuse tables whose digits, multiplied along the tree, would take too long."""
    bits: dict[Node, int] = {}
    for node in reversed(tree.nodes):
        own = max((value.bit_length() for row in tables.get(node, []) for value in row), default=0)
        bits[node] = own + sum(bits[child] for child in tree.children(node))
    total = sum(bits.values()) + laws * bits[tree.root]
    if total > BIT_LIMIT:
        raise InputError(
            f"exact laws of {laws:,} nodes of a tree with {len(tree):,} nodes: must take at most {count(BIT_LIMIT)} "
            f"bits, take about {count(total)}; ask for fewer nodes, or in floating point"
        )
