"""`python -m verify tree FILE`: statement 6 in four ways on a tree of the user's own; files in, table and files out."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hltm.base.checks import show, suggestion
from hltm.base.errors import InputError
from hltm.base.interrupts import deferred_interrupt
from hltm.base.progress import shown
from verify.commands import Options, Output, Run, finish, make_context

if TYPE_CHECKING:
    from rich.table import Table

    from hltm import HLTM
    from verify.engine.statement import Context
    from verify.report.view import Attached
    from verify.trees.own_tree import TreeResult

STYLES = {"holds": "green", "refuted": "bold red", "abstained": "yellow"}
STATUS = {"holds": "agrees", "refuted": "refuted", "abstained": "open"}
LONGEST_NUMBER = 64


def run_tree(
    file: Path, output: Output, options: Options, *, nodes: Sequence[str] = (), slopes: Sequence[str] = (),
    weights: Path | None = None, trained: Path | None = None, all_nodes: bool = False,
) -> int:  # fmt: skip
    """Check a tree and return the exit code."""
    from hltm import load

    numbers = [read_slope(text) for text in slopes]
    refuse_pairs({"--weights": weights, "--trained": trained}, {"--slope": slopes, "--trained": trained},
                 {"--node": nodes, "--all-nodes": all_nodes})  # fmt: skip
    with shown(output.quiet) as progress:
        progress.start(None, f"reading {file}")
        tree = load(file)
        chosen = [find_inner(tree, text) for text in nodes]
        matrices = None if weights is None else read_weights(weights, tree)
        progress.start(None, "loading libraries")
        context = make_context(options.profile, options.device, options.seed)
        with deferred_interrupt():  # mpmath, while it is loaded, drops Ctrl-C
            import sympy  # noqa: F401

            from verify.trees.own_tree import SLUG, check_tree
        output.check([SLUG])
        result = check_tree(
            tree, chosen or None, slope=numbers or None, weights=matrices, trained=trained, seed=options.seed,
            profile=context.profile, device=context.device, all_nodes=all_nodes, progress=progress, name=file.name,
        )  # fmt: skip
    words = ["tree", str(file), *(word for text in nodes for word in ("--node", text))]
    words += ["--all-nodes"] * all_nodes + [word for text in slopes for word in ("--slope", text)]
    words += ["--weights", str(weights)] * bool(weights) + ["--trained", str(trained)] * bool(trained)
    options = replace(options, line=shlex.join(words), about=f"Statement 6 in four ways on {file.name}")
    return finish(run_of(result, output, context, str(file)), output, context, options)


def run_of(result: TreeResult, output: Output, context: Context, file: str) -> Run:
    """The run that `verify.commands.finish` writes and prints."""
    from verify.report.documents import print_results, results_json

    def document(attached: Attached) -> dict[str, Any]:
        rows = results_json(context, [result], attached.counterexamples)
        return {**rows, "tree": {"file": file, **result.as_json()}}

    def show_all(attached: Attached) -> None:
        console = output.console()
        if not output.quiet:
            console.print(way_table(result))
            for line in result.scope.lines if result.scope is not None else ():
                console.print(line, markup=False, soft_wrap=True)
        print_results(console, [result], attached.counterexamples, output.quiet)
        if result.verdict == "refuted":
            odd = result.odd_one_out
            words = f"the odd one out is {odd}" if odd else "no single way is the odd one out"
            console.print(words, markup=False, soft_wrap=True)

    return Run([result], document, show_all, [result.verdict], interrupted=False)


def way_table(result: TreeResult) -> Table:
    """Way by quantity: the status, how many nodes and networks were compared, and how many left out."""
    from rich.table import Table

    from verify.trees.ways import WORDS

    table = Table("way", *WORDS.values(), title="Four ways", title_justify="left")
    for way, cells in result.table.items():
        row = []
        for quantity in WORDS.values():
            one = cells.get(quantity)
            left = "" if one is None or not one.abstained else f", {one.abstained} left out"
            row.append("" if one is None else f"[{STYLES[one.status]}]{STATUS[one.status]}[/] {one.instances}{left}")
        table.add_row(way, *row)
    return table


def refuse_pairs(*pairs: Mapping[str, Any]) -> None:
    """InputError for two options that exclude each other."""
    for pair in pairs:
        if all(pair.values()):
            first, second = pair
            raise InputError(f"{first} and {second}: only one of them at a time")


def read_slope(text: str) -> float:
    """A slope as a number or a fraction, in [0, 1]."""
    from hltm.tables import read_number

    value = read_number(text) if len(text) <= LONGEST_NUMBER else text
    if isinstance(value, str) or not 0 <= value <= 1:
        raise InputError(f"slope={show(text)}: must be a number in [0, 1], such as 0, 1 or 1/4")
    return float(value)


def find_inner(tree: HLTM, text: str) -> Any:
    """The inner node that a text names."""
    from hltm import find_node

    node = find_node(tree, text)
    if not tree.children(node):
        raise InputError(f"node {show(node)}: is a leaf; must be an inner node, such as {show(tree.parent(node))}")
    return node


def read_weights(path: Path, tree: HLTM) -> dict[Any, Any]:
    """Weights of every inner node from a JSON object of name to matrix."""
    from verify.engine.saved import read_json
    from verify.instances.instance import Matrix, read

    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError(f"file {str(path)!r}: must hold a JSON object, name of an inner node to matrix")
    names = {str(node): node for node in tree.latents}
    for name in data:
        if name not in names:
            raise InputError(f"weights of {show(name)} in {str(path)!r}: is no inner node{suggestion(name, names)}")
    for name in names:
        if name not in data:
            raise InputError(f"weights of inner node {name!r} in {str(path)!r}: are missing")
    return {names[name]: read(matrix, Matrix, f"weights[{name!r}]") for name, matrix in data.items()}
