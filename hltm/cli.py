"""The command line: `python -m hltm make|show|convert|draw|query|sample|fit`.

Files are ``.json``, ``.graphml`` or ``.bif``, drawings ``.png``, ``.svg`` or ``.pdf``; a file appears complete or not
at all. Exit codes: 0 done, 2 wrong input or usage with one line on stderr, 130 interrupted.
"""

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hltm import data_cli
from hltm.base.checks import Number, integer, number
from hltm.base.checks import polarity as checked_polarity
from hltm.base.command import Job, console, finish
from hltm.base.errors import InputError
from hltm.base.progress import shown
from hltm.build import NODE_LIMIT, Polarity, caterpillar_tree, complete_size, complete_tree, random_tree, star_tree
from hltm.files import check_size, check_suffix, save
from hltm.reading_options import Encoding, Root, StateOne, Strict, read_tree
from hltm.tables import read_number
from hltm.tree import HLTM, find_node

Source = Annotated[
    Path,
    typer.Argument(metavar="FILE", help="A tree: .json, .graphml, .bif; .xml, .xdsl, .net, .uai of other programs."),
]
Target = Annotated[Path, typer.Argument(metavar="FILE", help="Where to write the tree: .json, .graphml or .bif.")]
Rho = Annotated[
    str,
    typer.Option("--polarity", metavar="X|LOW:HIGH", help="rho of the edges: a number such as 0.8 or 1/3, or a range."),
]
RootRho = Annotated[str, typer.Option("--root-polarity", metavar="X", help="P(root=1) - P(root=0).")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Every random choice derives from it.")]
Leaves = Annotated[int, typer.Option(help="Number of leaves.")]

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
make = typer.Typer(rich_markup_mode=None, help="Build a tree and write it to a file.")
app.add_typer(make, name="make")


@app.callback()
def hltm() -> None:
    """Build, describe, convert, draw, query, sample and fit hierarchical latent trees."""


@make.command()
def complete(
    file: Target,
    depth: Annotated[int, typer.Option(help="Edges from the root to each leaf.")] = 2,
    branching: Annotated[int, typer.Option(help="Children of each latent.")] = 2,
    polarity: Rho = "0.8",
    root_polarity: RootRho = "0",
    seed: Seed = 0,
) -> Job:
    """Every latent has the same number of children; symmetric binary tables."""
    return lambda: run_make(
        file,
        lambda: complete_size(integer(depth, "depth", 1), integer(branching, "branching", 1)),
        lambda: complete_tree(depth, branching, read_polarity(polarity), read_root(root_polarity), seed),
    )


@make.command()
def star(file: Target, leaves: Leaves = 4, polarity: Rho = "0.8", root_polarity: RootRho = "0", seed: Seed = 0) -> Job:
    """All leaves hang on the root; symmetric binary tables."""
    return lambda: run_make(
        file,
        lambda: leaves + 1,
        lambda: star_tree(leaves, read_polarity(polarity), read_root(root_polarity), seed),
    )


@make.command()
def caterpillar(
    file: Target, leaves: Leaves = 4, polarity: Rho = "0.8", root_polarity: RootRho = "0", seed: Seed = 0
) -> Job:
    """A spine of latents with one leaf each; symmetric binary tables."""
    return lambda: run_make(
        file,
        lambda: 2 * leaves - 1,
        lambda: caterpillar_tree(leaves, read_polarity(polarity), read_root(root_polarity), seed),
    )


@make.command()
def random(
    file: Target,
    leaves: Leaves = 8,
    seed: Seed = 0,
    symmetric: Annotated[bool, typer.Option("--symmetric", help="Symmetric binary tables.")] = False,
    cardinality: Annotated[str, typer.Option(metavar="N|LOW:HIGH", help="States of each node.")] = "2",
) -> Job:
    """Random shape, random tables."""
    return lambda: run_make(
        file, lambda: leaves + 1, lambda: random_tree(leaves, seed, symmetric, read_cardinality(cardinality))
    )


@app.command()
def show(
    file: Source,
    node: Annotated[str | None, typer.Option(metavar="NAME", help="Describe this node and its table only.")] = None,
    strict: Strict = False,
    root: Root = None,
    state_one: StateOne = None,
    encoding: Encoding = "utf-8",
) -> Job:
    """Print levels, nodes, states, polarities and prior of a tree."""
    return partial(run_show, partial(read_tree, file, strict, root, state_one or (), encoding), file, node)


@app.command()
def convert(
    file: Source,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Where to write it: .json, .graphml or .bif.")],
    strict: Strict = False,
    root: Root = None,
    state_one: StateOne = None,
    encoding: Encoding = "utf-8",
) -> Job:
    """Write a tree in another format; the suffixes choose the formats."""
    return partial(run_convert, partial(read_tree, file, strict, root, state_one or (), encoding), file, output)


@app.command()
def draw(
    file: Source,
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Where to draw: .png, .svg or .pdf.")],
    strict: Strict = False,
    root: Root = None,
    state_one: StateOne = None,
    encoding: Encoding = "utf-8",
) -> Job:
    """Draw a tree level by level with the polarities on its edges."""
    return partial(run_draw, partial(read_tree, file, strict, root, state_one or (), encoding), file, output)


data_cli.register(app)


def run_make(file: Path, nodes: Callable[[], int], build: Callable[[], HLTM]) -> int:
    """Build a tree of at least so many nodes and write it."""
    check_suffix(file)
    if nodes() <= NODE_LIMIT:  # else the builder refuses
        check_size(nodes(), file)
    with shown() as progress:
        progress.step("building the tree")
        tree = build()
        progress.step(f"writing {file}")
        save(tree, file)
    sys.stdout.write(f"{file}: {tree!r}\n")
    return 0


def run_show(read: Callable[[], HLTM], file: Path, node: str | None) -> int:
    """Print a tree, or one of its nodes."""
    from hltm.drawing import node_overview, overview

    with shown() as progress:
        progress.step(f"reading {file}")
        tree = read()
        parts = overview(tree) if node is None else node_overview(tree, find_node(tree, node))
    # A file is as wide as a line needs; a terminal folds.
    terminal = console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for part in parts:
        terminal.print(part, markup=False, soft_wrap=isinstance(part, str))
    return 0


def run_convert(read: Callable[[], HLTM], file: Path, output: Path) -> int:
    """Write a tree in another format."""
    check_suffix(output)
    with shown() as progress:
        progress.step(f"reading {file}")
        tree = read()
        progress.step(f"writing {output}")
        save(tree, output)
    if tree.has_state_names:
        sys.stderr.write(
            "states are numbered 0, 1, ... in the order of their names; --state-one NAME chooses state 1\n"
        )
    return 0


def run_draw(read: Callable[[], HLTM], file: Path, output: Path) -> int:
    """Draw a tree into a file."""
    from hltm.drawing import check_drawing, draw

    check_drawing(output)
    with shown() as progress:
        progress.step(f"reading {file}")
        tree = read()
        progress.step(f"drawing {output}")
        draw(tree, output)
    return 0


def read_polarity(text: str) -> Polarity:
    """Read a number, or a range LOW:HIGH."""
    if ":" not in text:
        return read_root(text, "polarity")
    low, high = _range(text, "polarity")
    return checked_polarity(low, "polarity"), checked_polarity(high, "polarity")


def read_root(text: str, name: str = "root_polarity") -> Number:
    """Read a polarity; a decimal is rounded to a double, ``1/3`` stays exact."""
    return checked_polarity(read_number(text), name)


def read_cardinality(text: str) -> int | tuple[int, int]:
    """Read a number of states, or a range LOW:HIGH."""
    values = _range(text, "cardinality") if ":" in text else (read_number(text),)
    for value in values:
        if not isinstance(value, int):
            raise InputError(f"cardinality={text!r}: must be an integer or LOW:HIGH")
    return values[0] if len(values) == 1 else tuple(values)  # type: ignore[return-value]


def _range(text: str, name: str) -> tuple[Number, Number]:
    parts = text.split(":")
    if len(parts) != 2:
        raise InputError(f"{name}={text!r}: a range must be LOW:HIGH")
    return number(read_number(parts[0]), name), number(read_number(parts[1]), name)


def main() -> None:
    """Entry point of `python -m hltm`."""
    finish(app, "python -m hltm")
