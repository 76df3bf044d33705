"""The joint law of the leaves in exact rational arithmetic, for trees small enough to list.

A float is read as the rational number that it is; each row is then divided by its exact sum, so that rows
that sum to one only within rounding become laws.
"""

import itertools
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import TypeAlias

from hltm.base.checks import Node, count, show
from hltm.base.errors import InputError
from hltm.exact import leaf_configurations
from hltm.states import read_states
from hltm.tables import normalized
from hltm.tree import HLTM

RATIONAL_LIMIT = 2**16  # leaf configurations below a node times its states: some seconds

_Table: TypeAlias = list[list[Fraction]]


def rational_leaf_distribution(
    tree: HLTM, evidence: Mapping[Node, int] | None = None
) -> dict[tuple[int, ...], Fraction]:
    """Return the joint law of all leaves, given states of some nodes, as fractions that sum to one exactly.

    Parameters
    ----------
    tree : HLTM
        At most 2^16 leaf configurations times states of the node above.
    evidence : mapping of Node to int, optional
        Known states of any nodes.

    Returns
    -------
    dict of tuple of int to Fraction
        Configuration, in the order of ``tree.leaves``, to P(leaves | evidence); in the order of
        `enumerate_leaves`.

    Raises
    ------
    InputError
        An unknown node or state, evidence of probability zero, a tree that is too large.

    Source
    ------
    Statement 6.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from hltm.build import complete_tree
    >>> tree = complete_tree(depth=1, branching=1, polarity=Fraction(1, 3), root_polarity=Fraction(1, 2))
    >>> rational_leaf_distribution(tree)
    {(0,): Fraction(5, 12), (1,): Fraction(7, 12)}
    """
    given = read_states(tree, {} if evidence is None else evidence, "evidence")
    for node, value in given.items():
        if value.ndim:
            raise InputError(f"evidence of node {show(node)}: must be one integer, got shape {value.shape}")
    known = {node: int(value) for node, value in given.items()}
    leaf_configurations(tree, "rational_leaf_distribution", RATIONAL_LIMIT)
    tables: dict[Node, _Table] = {}
    for node in reversed(tree.nodes):
        tables[node] = _below(tree, node, tables, known)
    joint = _mix(normalized(tree.exact_prior()), tables[tree.root])
    total = sum(joint)
    if not total:
        raise InputError(f"evidence={show(known)}: must not have probability zero")
    configurations = itertools.product(*(range(tree.cardinality(leaf)) for leaf in tree.leaves))
    return {states: weight / total for states, weight in zip(configurations, joint, strict=True)}


def _below(tree: HLTM, node: Node, tables: dict[Node, _Table], known: Mapping[Node, int]) -> _Table:
    """Return P(leaves below and known states | node), one row for each state of the node."""
    states, children = range(tree.cardinality(node)), tree.children(node)
    size = len(states) * math.prod(len(tables[child][0]) for child in children)
    if size > RATIONAL_LIMIT:
        raise InputError(
            f"rational_leaf_distribution at node {show(node)}: states times leaf configurations below "
            f"must be at most {count(RATIONAL_LIMIT)}, is {count(size)}; use hltm.leaf_distribution"
        )
    if children:
        rows = [[Fraction(1)] for _ in states]
    else:
        rows = [[Fraction(state == other) for other in states] for state in states]
    for child in children:
        below, table = tables.pop(child), tree.exact_table(child)
        mixed = [_mix(normalized(table[state]), below) for state in states]
        rows = [[a * b for a in rows[state] for b in mixed[state]] for state in states]
    if node in known:
        rows = [[value * (state == known[node]) for value in rows[state]] for state in states]
    return rows


def _mix(law: tuple[Fraction, ...], table: _Table) -> list[Fraction]:
    return [
        sum((weight * value for weight, value in zip(law, column, strict=True)), Fraction())
        for column in zip(*table, strict=True)
    ]
