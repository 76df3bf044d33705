"""Options of every command that reads a tree from a file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from hltm.files import load
from hltm.states import with_state_one
from hltm.tree import HLTM, find_node

Strict = Annotated[bool, typer.Option("--strict", help="Refuse rows that are rounded: 1e-12 in place of their digits.")]
Root = Annotated[
    str | None,
    typer.Option("--root", metavar="NAME", help="Root: which of several trees, or another root by Bayes' rule."),
]
StateOne = Annotated[
    list[str] | None,
    typer.Option(
        "--state-one",
        metavar="[NODE=]NAME",
        help="State that gets the number 1, of every binary node that has it or of one node; may be repeated.",
    ),
]
Encoding = Annotated[str, typer.Option(metavar="NAME", help="Encoding of the file, such as cp1252 or gbk.")]


def read_tree(file: Path, strict: bool, root: str | None, state_one: Sequence[str], encoding: str) -> HLTM:
    """Read a tree and put its states into the order that is asked for."""
    tree = load(file, strict, root=root, encoding=encoding)
    for text in state_one:
        node, equals, name = text.partition("=")
        # A state may have "=" in its name.
        known = not equals or any(text in tree.states(v) for v in tree if tree.cardinality(v) == 2)
        tree = with_state_one(tree, text if known else {find_node(tree, node): name})
    return tree
