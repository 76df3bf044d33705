r"""The check of a paper: each of its labels of exported formulas, and what has become of the formula.

Source: statement 6 (arXiv 2010.00578).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from hltm.base.checks import Node
from hltm.base.errors import InputError, printable
from hltm.tree import HLTM
from theory.paper.drift import Outcome, Status
from theory.paper.export import WHAT, Style, compared, kind, label
from theory.paper.scan import Paper
from theory.paper.source import Read, Source
from theory.trees.symbols import TreeWeights

_STYLE = Style()
_KINDS = {f"{what}{weights}{short}" for what in WHAT for weights in ("", "-weights") for short in ("", "-short")}
_EXIT = {Status.unchanged: 0, Status.looks: 0, Status.changed: 1, Status.missing: 1, Status.undecided: 3}


@dataclass(frozen=True)
class Checked:
    """A label and what has become of its formula."""

    tag: str
    outcome: Outcome

    def __str__(self) -> str:
        why = f": {self.outcome.why}" if self.outcome.why else ""
        return printable(f"{self.tag}: {self.outcome.status}{why}")

    def of(self, paper: str) -> str:
        """The line for one formula of a paper."""
        agrees = self.outcome.status in (Status.unchanged, Status.looks)
        return printable(self.outcome.line(paper if agrees else self.tag))


def read(path: Path, reader: Read) -> tuple[Paper, list[str]]:
    """A paper with the files that it takes in, and a line for each file that is not read."""
    source = Source(path, reader)
    return Paper(source.words(reader(path))), source.notes


def check_labels(
    paper: Paper, tree: HLTM, style: Style = _STYLE, network: TreeWeights | None = None
) -> Iterator[Checked]:
    """Check each label with the style's prefix, in the order of the paper, then the labels that are only referred to.

    Parameters
    ----------
    paper
        The paper, as `read` returns it.
    tree
        The tree whose formulas the paper has.
    style
        The prefix of the labels, and the width that the formulas were exported for.
    network
        The weights of the formulas whose labels say that they have some.

    Raises
    ------
    InputError
        Where the paper has no such label.
    """
    prefix = style.prefix or ""
    nodes = _nodes(tree)
    tags = {tag: _parts(tag) for tag in [*paper.by_tag, *sorted(paper.references)]}
    own = [tag for tag, parts in tags.items() if parts and parts[0] == prefix]
    if not own:
        others = sorted({parts[0] for parts in tags.values() if parts})
        named = ", ".join(f"with --label {other}" if other else "without --label" for other in others)
        there = f"; there are some {named}" if others else ""
        raise InputError(
            f"a paper without a label eq:covop:{prefix + ':' if prefix else ''}...: has no formula to check{there}"
        )
    for tag in own:
        _, of, name = tags[tag] or ("", "", "")
        yield Checked(
            tag, _outcome(paper, tag, tree, nodes.get(name), replace(style, short="-short" in of), of, network)
        )


def check_node(
    paper: Paper, tree: HLTM, node: Node, what: str, style: Style = _STYLE, network: TreeWeights | None = None
) -> Checked:
    """Check the formula of a node; `InputError` where its label does not stand once in a display of the paper."""
    tag = label(kind(what, style, network), node, tree, style.prefix or "")
    return Checked(tag, compared(paper, tag, tree, node, what, style, network))


def exit_code(rows: list[Checked]) -> int:
    """0 where all formulas mean what is derived, 1 where one does not, else 3: one is not decided."""
    codes = {_EXIT[row.outcome.status] for row in rows}
    return 1 if 1 in codes else max(codes)


def _parts(tag: str) -> tuple[str, str, str] | None:
    """Prefix, kind and name of a label, of one of an exported formula."""
    parts = tag.split(":")
    for at in (2, 3):
        if parts[:2] == ["eq", "covop"] and len(parts) > at + 1 and parts[at] in _KINDS:
            return ":".join(parts[2:at]), parts[at], ":".join(parts[at + 1 :])
    return None


def _nodes(tree: HLTM) -> dict[str, Node]:
    """The nodes with children by the ends of their labels."""
    by_text: dict[str, list[Node]] = {}
    for node in tree.nodes:
        by_text.setdefault(label("activation", node).removeprefix("eq:covop:activation:"), []).append(node)
    result: dict[str, Node] = {}
    for text, alike in by_text.items():
        for node in alike:
            if tree.children(node):
                result[text if len(alike) == 1 else f"{type(node).__name__}:{text}"] = node
    return result


def _outcome(
    paper: Paper, tag: str, tree: HLTM, node: Node | None, style: Style, of: str, network: TreeWeights | None
) -> Outcome:
    weighted = "-weights" in of
    if tag not in paper.by_tag:
        return Outcome(Status.missing, "the paper refers to it, and does not have it")
    if node is None:
        return Outcome(Status.missing, "the tree has no such node with children")
    if weighted and network is None:
        return Outcome(Status.undecided, "it is of a network; give its weights with --weights")
    try:
        return compared(paper, tag, tree, node, of.split("-")[0], style, network if weighted else None)
    except InputError as error:
        return Outcome(Status.undecided, str(error))
