"""Commands on data of a tree: `python -m hltm query|sample|fit`."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from hltm.base.atomic import replacing, write
from hltm.base.checks import Node, show
from hltm.base.command import Job, console
from hltm.base.errors import InputError
from hltm.base.progress import shown
from hltm.files import check_suffix, save
from hltm.reading_options import Encoding, Root, StateOne, Strict, read_tree
from hltm.states import find_state
from hltm.tree import HLTM, find_node

SCHEMA = 1
Read = Callable[[], HLTM]

Source = Annotated[Path, typer.Argument(metavar="FILE", help="A tree.")]
Json = Annotated[str | None, typer.Option("--json", metavar="FILE|-", help="Write one JSON document.")]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Every random choice derives from it.")]


def query(
    file: Source,
    node: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Whose law; all by default.")] = None,
    evidence: Annotated[
        list[str] | None, typer.Option("--evidence", metavar="NODE=STATE", help="Known state; may be repeated.")
    ] = None,
    exact: Annotated[bool, typer.Option("--exact", help="Fractions in place of decimals.")] = False,
    document: Json = None,
    strict: Strict = False,
    root: Root = None,
    state_one: StateOne = None,
    encoding: Encoding = "utf-8",
) -> Job:
    """Print the laws of nodes given states of others, exactly."""
    read = partial(read_tree, file, strict, root, state_one or (), encoding)
    return partial(run_query, read, file, node or (), evidence or (), exact, document)


def sample(
    file: Source,
    csv: Annotated[str, typer.Option("--csv", metavar="OUT|-", help="Where to write them.")],
    n: Annotated[int, typer.Option("--n", help="Number of samples.")] = 1000,
    seed: Seed = 0,
    every: Annotated[bool, typer.Option("--all", help="Every node; leaves alone by default.")] = False,
    numbers: Annotated[bool, typer.Option("--numbers", help="State numbers in place of names.")] = False,
    strict: Strict = False,
    root: Root = None,
    state_one: StateOne = None,
    encoding: Encoding = "utf-8",
) -> Job:
    """Draw independent samples and write them as CSV, one a line."""
    read = partial(read_tree, file, strict, root, state_one or (), encoding)
    return partial(run_sample, read, file, csv, n, seed, every, numbers)


def fit(
    files: Annotated[list[Path], typer.Argument(metavar="[TREE] DATA", help="A tree and a CSV file of observations.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write the fitted tree.")],
    structure: Annotated[
        str | None, typer.Option(metavar="chow-liu", help="Find the tree too, over the columns of the data.")
    ] = None,
    root: Root = None,
    smoothing: Annotated[float, typer.Option(min=0, help="Added to every expected count.")] = 0.0,
    starts: Annotated[int, typer.Option(min=1, help="The tables of the tree, then random ones.")] = 5,
    iterations: Annotated[int, typer.Option(min=1, help="At most so many of each start.")] = 1000,
    tolerance: Annotated[float, typer.Option(min=0, help="Gain for each observation that ends them, in nats.")] = 1e-9,
    seed: Seed = 0,
    document: Json = None,
    strict: Strict = False,
    state_one: StateOne = None,
    encoding: Encoding = "utf-8",
) -> Job:
    """Fit the tables of a tree to data by EM, nodes without a column being latent; write the fitted tree."""
    settings = {
        "smoothing": smoothing, "starts": starts, "iterations": iterations, "tolerance": tolerance, "seed": seed,
    }  # fmt: skip
    if structure not in (None, "chow-liu"):
        raise InputError(f"--structure={structure!r}: must be chow-liu")
    names = "DATA with --structure chow-liu" if structure else "TREE and DATA"
    if len(files) != (1 if structure else 2):
        raise InputError(f"{len(files)} files: must be {names}")
    if structure:
        return partial(run_fit, None, files, out, root, settings, document)
    read = partial(read_tree, files[0], strict, root, state_one or (), encoding)
    return partial(run_fit, read, files, out, None, settings, document)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line of the package."""
    for command in (query, sample, fit):
        app.command()(command)


# Query


def run_query(
    read: Read, file: Path, nodes: Sequence[str], evidence: Sequence[str], exact: bool, document: str | None
) -> int:
    """Print or write the laws."""
    from hltm.exact import marginals
    from hltm.query import rational_marginals

    _check_document(document)
    with shown() as progress:
        progress.step(f"reading {file}")
        tree = read()
        known = read_evidence(tree, evidence)
        wanted = [find_node(tree, text) for text in nodes] or list(tree.nodes)
        progress.step("passing messages")
        laws: Mapping[Node, Any] = rational_marginals(tree, known, wanted) if exact else marginals(tree, known)
    rows = {node: [str(each) if exact else float(each) for each in laws[node]] for node in wanted}
    report = {
        "schema": SCHEMA, "tree": str(file), "exact": exact,
        "evidence": [{"node": node, "state": tree.states(node)[state]} for node, state in known.items()],
        "laws": [
            {"node": node, "states": list(tree.states(node)), "probabilities": law} for node, law in rows.items()
        ],
    }  # fmt: skip
    _finish(report, document, lambda: _law_table(tree, known, rows))
    return 0


def read_evidence(tree: HLTM, texts: Sequence[str]) -> dict[Node, int]:
    """States of nodes from ``NODE=STATE``; both may hold an equals sign."""
    known: dict[Node, int] = {}
    for text in texts:
        places = [place for place, character in enumerate(text) if character == "="]
        if not places:
            raise InputError(f"--evidence={show(text)}: must be NODE=STATE")
        named = [place for place in places if _is_node(tree, text[:place])]
        place = named[0] if named else places[0]
        node = find_node(tree, text[:place])
        if node in known:
            raise InputError(f"--evidence={show(text)}: node {show(node)} is given twice")
        known[node] = find_state(tree, node, text[place + 1 :])
    return known


def _is_node(tree: HLTM, text: str) -> bool:
    try:
        find_node(tree, text)
    except InputError:
        return False
    return True


def _law_table(tree: HLTM, known: Mapping[Node, int], rows: Mapping[Node, Sequence[Any]]) -> Any:
    from rich.table import Table

    given = ", ".join(f"{_text(node)}={tree.states(node)[state]}" for node, state in known.items())
    table = Table("node", "state", "probability", title=f"laws given {given}" if given else "laws")
    for node, law in rows.items():
        for place, (name, value) in enumerate(zip(tree.states(node), law, strict=True)):
            cell = value if isinstance(value, str) else f"{value:.6g}"
            table.add_row("" if place else _text(node), name, cell, end_section=place == len(law) - 1)
    return table


def _text(node: Node) -> str:
    return node if isinstance(node, str) else json.dumps(node)


# Sample


def run_sample(read: Read, file: Path, target: str, n: int, seed: int, every: bool, numbers: bool) -> int:
    """Write samples."""
    import hltm
    from hltm.records import write_samples

    with shown() as progress:
        progress.step(f"reading {file}")
        tree = read()
        progress.step("sampling")
        states = hltm.sample(tree, n, seed)
        wanted = states if every else {leaf: states[leaf] for leaf in tree.leaves}
        progress.step(f"writing {target}")
        if target == "-":
            write_samples(sys.stdout, tree, wanted, not numbers)
            return 0
        with replacing(Path(target), "csv") as place, place.open("w", encoding="utf-8", newline="") as stream:
            write_samples(stream, tree, wanted, not numbers)
    return 0


# Fit


def run_fit(
    read: Read | None,
    files: Sequence[Path],
    out: Path,
    root: str | None,
    settings: Mapping[str, Any],
    document: str | None,
) -> int:
    """Fit a tree, write it, and print how it was found."""
    from hltm.fit import fit_parameters
    from hltm.records import read_columns, read_records
    from hltm.spanning import chow_liu

    check_suffix(out)
    _check_document(document)
    with shown() as progress:
        if read is None:
            progress.step(f"reading {files[0]}")
            columns = read_columns(files[0])
            progress.step("looking for the tree")
            own = {name: settings[name] for name in ("smoothing", "iterations")}
            result = chow_liu(columns, root, **own)
        else:
            progress.step(f"reading {files[0]}")
            tree = read()
            progress.step(f"reading {files[1]}")
            result = fit_parameters(tree, read_records(files[1], tree), progress=progress, **settings)
        progress.start(None, f"writing {out}")
        save(result.tree, out)
    latents = result.latent
    report = {
        "schema": SCHEMA, "tree": str(out), "data": str(files[-1]), "settings": dict(settings),
        "structure": "chow-liu" if len(files) == 1 else str(files[0]), "log_likelihood": result.log_likelihood,
        "observations": result.observations, "distinct": result.distinct, "iterations": result.iterations,
        "converged": result.converged, "starts": list(result.starts), "history": list(result.history),
        "latent": list(latents),
    }  # fmt: skip
    _finish(report, document, lambda: _fit_lines(result, out))
    return 0


def _fit_lines(result: Any, out: Path) -> str:
    ends = "converged" if result.converged else "not converged"
    lines = [
        f"{out}: {result.tree!r}",
        f"log-likelihood {result.log_likelihood:.6f} of {result.observations:,} observations ({result.distinct:,} "
        f"distinct), {result.iterations} iterations, {ends}",
    ]
    if len(result.starts) > 1:
        lines.append(
            f"best of {len(result.starts)} starts, their ends: " + ", ".join(f"{x:.4f}" for x in result.starts)
        )
    named = [node for node in result.latent if "states" in result.tree.graph.nodes[node]]
    if named:
        lines.append(f"states of {len(named)} latent nodes with names are matched to those of the tree before")
    if len(named) < len(result.latent):
        lines.append(
            f"states of {len(result.latent) - len(named)} latent nodes are identified up to their labels: without "
            "names, ordered by the mean state of the first child, so that with two states its polarity is not negative"
        )
    return "\n".join(lines)


def _check_document(document: str | None) -> None:
    if document not in (None, "-") and not Path(document).absolute().parent.is_dir():
        raise InputError(f"json={show(document)}: must be a file in a folder that exists, or -")


def _finish(report: Mapping[str, Any], document: str | None, table: Callable[[], Any]) -> None:
    """Write the document; what is printed goes to stderr if the document goes to stdout."""
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    if document == "-":
        sys.stdout.write(text)
    elif document is not None:
        write(Path(document), text.encode())
    terminal = console(stderr=document == "-", highlight=False, width=None if sys.stdout.isatty() else 160)
    result = table()
    terminal.print(result, markup=False, soft_wrap=isinstance(result, str))
