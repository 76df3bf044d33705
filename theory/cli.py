"""The command line of `theory`: formulas of a tree for a paper, with a check for drift; a proof assistant's checks.

Exit codes: 0 written, unchanged, or accepted; 1 the formula in the paper has drifted, or the compiler rejects a file;
2 wrong input or usage; 3 nothing could be decided.
"""

import enum
import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from hltm.base.command import Job, finish
from hltm.base.errors import InputError
from hltm.base.interrupts import deferred_interrupt
from hltm.base.progress import shown

PAPER_LIMIT = 16 * 2**20


class What(enum.StrEnum):
    """Which formula."""

    activation = "activation"
    operator = "operator"
    macros = "macros"


class Form(enum.StrEnum):
    """Which display."""

    equation = "equation"
    align = "align"
    standalone = "standalone"


app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def theory() -> None:
    """Closed forms in LaTeX."""


@app.command()
def latex(
    tree: Annotated[Path | None, typer.Option(metavar="FILE", help="A tree: .json, .graphml or .bif.")] = None,
    node: Annotated[
        str | None, typer.Option(help='A node that has children, by name, or as JSON: 7, [0, "a"].')
    ] = None,
    what: Annotated[What, typer.Option(help="Which formula; macros is the preamble of all of them.")] = What.activation,
    form: Annotated[Form, typer.Option(help="Which display.")] = Form.equation,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write there in place of stdout.")] = None,
    check: Annotated[Path | None, typer.Option(metavar="PAPER", help="Compare with the formula in a paper.")] = None,
) -> Job:
    """Write a formula of statement 6, or compare it with the one in a paper."""
    return lambda: run(tree, node, str(what), str(form), out, check)


def run(path: Path | None, name: str | None, what: str, form: str, out: Path | None, check: Path | None) -> int:
    """Write or compare a formula; return the exit code."""
    import hltm

    with deferred_interrupt():  # mpmath, while it is loaded, drops Ctrl-C
        from theory.latex.names import macros
        from theory.paper.export import drift, formula

    if check is not None and out is not None:
        raise InputError("--check with --out: a comparison writes no formula; give one of them")
    if what == "macros":
        if check is not None:
            raise InputError("--check with --what macros: give --what activation or operator")
        return deliver(macros(), out)
    if path is None or name is None:
        raise InputError(f"option {'--tree' if path is None else '--node'}: is missing")
    with shown() as progress:
        progress.step(f"reading {path}")
        tree = hltm.load(path)
        node = hltm.find_node(tree, name)
        progress.step(f"deriving the formula of node {name}")
        result = formula(tree, node, what, form) if check is None else drift(read_paper(check), tree, node, what)
    if check is None:
        return deliver(result or "", out)
    sys.stdout.write((result or f"{check}: unchanged") + "\n")
    return 0 if result is None else 1


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
