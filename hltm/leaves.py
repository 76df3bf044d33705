"""How a network reads a leaf: as its state number, or as the indicators of its states (one-hot)."""

from hltm.base.checks import Node, show, suggestion
from hltm.base.errors import InputError
from hltm.tree import HLTM

LEAVES = ("state", "one-hot")


def check_leaves(leaves: object) -> str:
    """Read how leaves are encoded."""
    if leaves not in LEAVES:
        raise InputError(f"leaves={show(leaves)}: must be 'state' or 'one-hot'{suggestion(leaves, LEAVES)}")
    return str(leaves)


def leaf_neurons(tree: HLTM, leaf: Node, leaves: str) -> int:
    """Number of neurons of a leaf: 1, or one for each state."""
    return tree.cardinality(leaf) if leaves == "one-hot" else 1
