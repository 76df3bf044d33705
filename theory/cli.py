"""The command line of `theory`: formulas of a tree for a paper, with a check for drift; a proof assistant's checks.

Exit codes: 0 written, of the same meaning, or accepted; 1 a formula in the paper has drifted or is missing, or the
compiler rejects a file; 2 wrong input or usage; 3 something could not be decided.
"""

import enum
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from hltm.base.command import Job, finish
from hltm.base.errors import InputError, printable
from hltm.base.interrupts import deferred_interrupt
from hltm.base.progress import Progress, shown

PAPER_LIMIT = 16 * 2**20


class What(enum.StrEnum):
    """Which formula."""

    activation = "activation"
    operator = "operator"
    macros = "macros"
    symbols = "symbols"


class Of(enum.StrEnum):
    """The formula whose symbols are listed."""

    activation = "activation"
    operator = "operator"


class Form(enum.StrEnum):
    """Which display."""

    equation = "equation"
    align = "align"
    standalone = "standalone"


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def theory() -> None:
    """Closed forms in LaTeX."""


@dataclass(frozen=True)
class Request:
    """The options of `latex`."""

    tree: Path | None
    node: str | None
    what: str
    form: str
    of: str
    width: str
    short: bool
    prefix: str | None
    weights: Path | None
    slope: str | None
    gates: Path | None


@app.command()
def latex(
    tree: Annotated[Path | None, typer.Option(metavar="FILE", help="A tree: .json, .graphml or .bif.")] = None,
    node: Annotated[
        str | None, typer.Option(help='A node that has children, by name, or as JSON: 7, [0, "a"].')
    ] = None,
    what: Annotated[
        What,
        typer.Option(
            help="Which formula; macros is the preamble of all of them, symbols is what the letters of one mean."
        ),
    ] = What.activation,
    form: Annotated[Form, typer.Option(help="Which display.")] = Form.equation,
    of: Annotated[Of, typer.Option(help="The formula of --what symbols.")] = Of.activation,
    width: Annotated[
        str, typer.Option(metavar="WIDTH", help="article, twocolumn, beamer, or the width of a column: 246pt, 8.5cm.")
    ] = "article",
    short: Annotated[bool, typer.Option("--short", help="Products, vectors and tables by a rule.")] = False,
    label: Annotated[str, typer.Option(metavar="PREFIX", help="Labels eq:covop:PREFIX:..., one for each tree.")] = "",
    no_label: Annotated[bool, typer.Option("--no-label", help="No label: for KaTeX and MathJax.")] = False,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help='Weights, as JSON: {"1": [[1, "1/3"], ["w_1", 0]], ...}.')
    ] = None,
    slope: Annotated[str | None, typer.Option(help="Slope of the activation with --weights; 0, ReLU, else.")] = None,
    gates: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='Fixed gates in place of --slope, as JSON: {"1": [1, "g"], ...}.'),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there in place of stdout.")] = None,
    check: Annotated[
        Path | None, typer.Option(metavar="PAPER", help="Compare with a paper: its formula of --node, else all.")
    ] = None,
) -> Job:
    """Write a formula of statement 6, or compare it with the one in a paper."""
    if no_label and label:
        raise InputError("--label with --no-label: give one of them")
    prefix = None if no_label else label
    request = Request(tree, node, str(what), str(form), str(of), width, short, prefix, weights, slope, gates)
    return lambda: run(request, out, check)


def run(request: Request, out: Path | None, check: Path | None) -> int:
    """Write or compare a formula; return the exit code."""
    with deferred_interrupt():  # mpmath, while it is loaded, drops Ctrl-C
        from theory.latex.names import macros
        from theory.paper.export import formula, formula_rows

    if check is not None and out is not None:
        raise InputError("--check with --out: a comparison writes no formula; give one of them")
    if check is not None and request.what in ("macros", "symbols"):
        raise InputError(f"--check with --what {request.what}: give --what activation or operator")
    if check is not None and request.prefix is None:
        raise InputError("--check with --no-label: a formula is found in a paper by its label; leave --no-label out")
    if request.what == "macros":
        return deliver(macros(), out)
    if check is not None:
        return compare_paper(request, check)
    with shown() as progress:
        tree, node = read_tree(request, progress)
        style, network = read_style(request), read_weights(request, tree)
        progress.step(f"deriving the formula of node {request.node}")
        if request.what == "symbols":
            from theory.paper.definitions import symbol_list

            rows = formula_rows(tree, node, request.of, style, network)
            return deliver(symbol_list(rows, request.form == "standalone"), out)
        return deliver(formula(tree, node, request.what, request.form, style, network), out)


def compare_paper(request: Request, path: Path) -> int:
    """Compare a formula, or without a node all of them, with those of a paper; return the exit code."""
    with deferred_interrupt():
        from theory.paper.check import check_labels, check_node, exit_code, read

    rows = []
    with shown() as progress:
        tree, node = read_tree(request, progress, all_nodes=request.node is None)
        style, network = read_style(request), read_weights(request, tree)
        progress.step(f"reading {path}")
        paper, notes = read(path, read_paper)
        sys.stderr.writelines(printable(f"{path}: {note}") + "\n" for note in notes)
        if request.node is None:
            for row in check_labels(paper, tree, style, network):
                progress.step(f"comparing {row.tag}")
                rows.append(row)
        else:
            rows.append(check_node(paper, tree, node, request.what, style, network))
    if request.node is None:
        sys.stdout.writelines(f"{row}\n" for row in rows)
    else:
        sys.stdout.write(rows[0].of(str(path)) + "\n")
    return exit_code(rows)


def read_tree(request: Request, progress: Progress, all_nodes: bool = False) -> tuple[Any, Any]:
    """The tree and its node, unless the request is about all of them."""
    import hltm

    if request.tree is None or (request.node is None and not all_nodes):
        raise InputError(f"option {'--tree' if request.tree is None else '--node'}: is missing")
    progress.step(f"reading {request.tree}")
    tree = hltm.load(request.tree)
    return tree, None if request.node is None else hltm.find_node(tree, request.node)


def read_style(request: Request) -> Any:
    """How the formula is set."""
    from theory.paper.export import Style
    from theory.paper.layout import read_width

    return Style(read_width(request.width), request.short, request.prefix)


def read_weights(request: Request, tree: Any) -> Any:
    """The network of the files of weights and gates, or None."""
    if request.weights is None:
        for option, value in (("--slope", request.slope), ("--gates", request.gates)):
            if value is not None:
                raise InputError(f"{option}={str(value)!r} without --weights: is about a network; give its weights too")
        return None
    if request.slope is not None and request.gates is not None:
        raise InputError("--slope with --gates: fixed gates stand in place of a slope; give one of them")
    from theory.paper.weights import read_network

    return read_network(tree, request.weights, request.slope, request.gates)


kernel = typer.Typer(add_completion=False, rich_markup_mode=None, help="Theorems and identities for a proof assistant.")
app.add_typer(kernel, name="kernel")


@kernel.command("export")
def kernel_export(
    out: Annotated[Path, typer.Option(metavar="DIR", help="A folder, made where it is not there.")],
    slug: Annotated[str | None, typer.Argument(help="A statement: its number or its slug.")] = None,
    file: Annotated[Path | None, typer.Option(metavar="FILE", help="Your own statements; the file is run.")] = None,
) -> Job:
    """Write the identities that the derivations of a statement, or your own claims, decide; needs no compiler."""
    return lambda: write_identities(slug, file, out)


@kernel.command("check")
def kernel_check(
    folder: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="Files of `kernel export`.")] = None,
    record: Annotated[Path | None, typer.Option(metavar="FILE", help="Write what was accepted, by hash.")] = None,
) -> Job:
    """Compile all theorems and the identities of every statement, or the exported files of a folder."""
    return lambda: compile_all(folder, record)


def write_identities(slug: str | None, file: Path | None, out: Path) -> int:
    """Write the files of a statement, or of a user's statements, and say what was left out."""
    if (slug is None) == (file is None):
        raise InputError("kernel export: give a statement, or --file with your own; one of the two")
    with deferred_interrupt():
        from theory.kernel.export import exports, exports_of_file
        from theory.kernel.rocq import counted
        from theory.registry import slug_of
    from hltm.base.atomic import reason, write

    name = slug_of(slug) if file is None else file.stem
    found = exports(name) if file is None else exports_of_file(file)
    stem = re.sub(r"\W", "_", name)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise InputError(f"--out {str(out)!r}: cannot be made: {reason(error)}") from None
    for number, exported in enumerate(found, start=1):
        target = out / f"{stem}_{number}.v"
        write(target, exported.text.encode())
        left = f", {len(exported.left_out)} left out ({', '.join(exported.reasons)})" if exported.left_out else ""
        sys.stdout.write(f"{target}: {exported.name}: {counted(len(exported.lemmas))}{left}\n")
    return 0


def compile_all(folder: Path | None, record: Path | None) -> int:
    """Compile, print a line for each file, and return the exit code."""
    from theory.kernel import rocq

    if folder is not None and record is not None:
        raise InputError("--record with a folder: it is about the theorems; give one of them")
    found = rocq.compiler()
    if found is None:
        sys.stderr.write(f"no compiler: neither coqc nor rocq is on the path; Debian: {rocq.INSTALL}\n")
        return 3
    with shown() as progress:
        rows = rocq.all_files(found, progress) if folder is None else rocq.files_of(found, folder, progress)
        for row in rows:
            sys.stdout.write(f"{row.outcome.status:9} {row.outcome.seconds:6.1f} s  {row.name}: {row.says}\n")
    statuses = {row.outcome.status for row in rows}
    if record is not None and statuses == {"accepted"}:
        from hltm.base.atomic import write

        write(record, rocq.as_record(rows[0]).encode())
    return 1 if "rejected" in statuses else 3 if statuses != {"accepted"} else 0


def read_paper(path: Path) -> str:
    """Read a LaTeX file, at most `PAPER_LIMIT` bytes."""
    try:
        # A device or a pipe may never end, and opening one may wait for ever.
        if path.exists() and not path.is_file():
            raise InputError(f"file {str(path)!r}: cannot be read: is no regular file")
        with path.open("rb") as file:
            content = file.read(PAPER_LIMIT + 1)
        if len(content) > PAPER_LIMIT:
            raise InputError(f"file {str(path)!r}: must have at most {PAPER_LIMIT} bytes")
        return content.decode("utf-8-sig")
    except InputError:
        raise
    except UnicodeDecodeError:
        raise InputError(f"file {str(path)!r}: is not UTF-8 text") from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"file {str(path)!r}: cannot be read: {reason or error}") from None


def deliver(text: str, out: Path | None) -> int:
    """Write to a file, atomically, or to stdout."""
    if out is None:
        sys.stdout.write(text)
        return 0
    from hltm.base.atomic import write

    write(out, text.encode())
    return 0


def main() -> None:
    """Entry point of `python -m theory`."""
    finish(app, "python -m theory")
