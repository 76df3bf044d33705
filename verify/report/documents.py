"""Rendering: results as JSON documents and as terminal tables. Nothing is computed here, nothing is written."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from verify.engine.assumptions import Outcome, shown
from verify.engine.evidence import KINDS, Evidence, Kind, Measurement, counted, finite_or_text
from verify.engine.runner import Refutation, Result
from verify.engine.statement import Context, Statement
from verify.registry import REGISTRY

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


LIBRARIES = ("torch", "numpy", "scipy", "sympy", "networkx", "hypothesis", "python-flint", "scikit-learn")
# Columns, of the 80 that a pipe has: names of a user's statements leave room for what was measured.
SLUG_WIDTH = 12
WORDS_WIDTH = 20
NAME_WIDTH = 28
STYLES = {"holds": "green", "refuted": "bold red", "abstained": "yellow", "not-run": "dim"}


def environment(device: str) -> dict[str, str]:
    """Versions of what the run stands on, and the device."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **versions, "device": device}


def header(context: Context) -> dict[str, Any]:
    """What every JSON document of a run begins with."""
    return {
        "schema": 1,
        "seed": context.seed,
        "profile": context.profile,
        "environment": environment(context.device),
    }


def results_json(context: Context, results: Sequence[Result], files: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    """The document of a run of statements."""
    statements = []
    for result in results:
        rows = []
        for index, evidence in enumerate(result.evidence):
            row = evidence.as_json()
            if (result.statement.slug, index) in files:
                row["counterexample"] = files[result.statement.slug, index]
            rows.append(row)
        statements.append(
            {
                "slug": result.statement.slug,
                "theorem": result.statement.theorem,
                "title": result.statement.title,
                "verdict": result.verdict,
                "seconds": round(result.seconds, 3),
                "assumptions": list(result.statement.assumptions),
                "not_covered": list(result.statement.not_covered),
                "evidence": rows,
            }
        )
    missing = [entry.slug for entry in REGISTRY if entry.module is None]
    return {**header(context), "statements": statements, "not_yet_covered": missing}


def variants_json(
    context: Context, refutations: Sequence[Refutation], files: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """The document of a run over the false variants."""
    rows = [
        {
            "variant": row.variant.name,
            "statement": row.statement.slug,
            "change": row.variant.change,
            "refuted_by": list(row.refuted_by),
            "expected": list(row.variant.caught_by),
            "survived": row.survived,
            "status": row.status,
            "counterexample": files.get((row.statement.slug, row.variant.name)),
            **({"one_kind": row.variant.one_kind} if row.variant.one_kind else {}),
        }
        for row in refutations
    ]
    return {**header(context), "statements": [], "variants": rows}


def replay_json(
    context: Context, slug: str, variant: str | None, found: Mapping[Kind, Measurement], verdict: str
) -> dict[str, Any]:
    """The document of a replay."""
    rows = [
        {
            "kind": kind,
            "status": measurement.status,
            "worst_residual": finite_or_text(measurement.residual),
            "tolerance": finite_or_text(measurement.tolerance),
            "detail": measurement.detail,
        }
        for kind, measurement in found.items()
    ]
    return {
        **header(context),
        "replay": {"statement": slug, "variant": variant, "verdict": verdict, "evidence": rows},
    }


def combined(evidence: Sequence[Evidence]) -> str:
    """The worst status of several pieces of evidence of one kind."""
    for status in ("refuted", "abstained", "holds"):
        if any(row.status == status for row in evidence):
            return status
    return "not-run"


def matrix(results: Sequence[Result]) -> Table:
    """Kinds of evidence down, statements across: status, and how many instances stand behind it."""
    from rich.table import Table

    table = Table(title="Evidence by statement", title_justify="left", collapse_padding=True)
    table.add_column("evidence", no_wrap=True)
    for result in results:
        table.add_column(result.statement.short, overflow="fold", min_width=len("not-run"))
    for kind in KINDS:
        columns = [[e for e in result.evidence if e.kind == kind] for result in results]
        if all(combined(rows) == "not-run" for rows in columns):
            continue
        cells = []
        for rows in columns:
            status = combined(rows)
            cells.append(f"[{STYLES[status]}]{status}[/] {sum(e.instances for e in rows) or ''}")
        table.add_row(kind, *cells)
    return table


def details(results: Sequence[Result]) -> Table:
    """One line for each piece of evidence: residual, tolerance and what was compared."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="What was measured", title_justify="left", show_lines=False)
    table.add_column("", overflow="fold", max_width=SLUG_WIDTH)
    table.add_column("evidence", no_wrap=True)
    for column in ("n", "residual", "tolerance"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("what", overflow="fold", min_width=WORDS_WIDTH)
    for result in results:
        for row in result.evidence:
            if row.status == "not-run":
                continue
            numbers = ["" if v is None else f"{v:.1e}" for v in (row.worst_residual, row.tolerance)]
            label = f"[{STYLES[row.status]}]{row.kind}[/]"
            table.add_row(
                result.statement.short,
                label,
                str(row.instances),
                *numbers,
                escape(f"{row.source}: {row.detail}"),
            )
        table.add_section()
    return table


def replay_command(file: str, own: str | None = None) -> str:
    """The command that measures a saved instance again; `own` is the file of a user's statements."""
    return " ".join(
        ["python -m verify replay", shlex.quote(file), *(["--statements", shlex.quote(own)] if own else [])]
    )


def print_results(
    console: Console,
    results: Sequence[Result],
    files: Mapping[tuple[str, int], str],
    quiet: bool,
    own: str | None = None,
) -> None:
    """Matrix, details and verdicts; with `quiet` only what does not hold. `own` is the file of a user's statements."""
    from rich.markup import escape

    if not quiet:
        console.print(matrix(results))
        console.print(details(results))
    for result in results:
        if quiet and result.verdict == "holds":
            continue
        console.print(
            f"{result.statement.heading} {escape(f'[{result.statement.slug}]')} "
            f"[{STYLES[result.verdict]}]{result.verdict}[/]: {escape(result.statement.title)}",
            soft_wrap=True,
        )
        for index, row in enumerate(result.evidence):
            if row.status in ("refuted", "abstained"):
                file = files.get((result.statement.slug, index))
                saved = f"; {replay_command(file, own)}" if file else ""
                console.print(f"  {row.kind} {row.status}: {escape(row.detail + saved)}", soft_wrap=True)
    missing = [f"{entry.theorem} {entry.slug}" for entry in REGISTRY if entry.module is None]
    if missing and not quiet:
        console.print("not yet covered: " + ", ".join(missing), style="dim", soft_wrap=True)


def print_variants(console: Console, found: Sequence[Refutation], folder: str, quiet: bool) -> None:
    """The false variants and the kinds of evidence that refute them, one line for each variant."""
    from rich.markup import escape
    from rich.table import Table

    names = [row.variant.name for row in found]
    table = Table(title="False variants", title_justify="left")
    table.add_column("", overflow="fold", max_width=SLUG_WIDTH)
    # Names are copied, so they stay whole as long as there is room beside them.
    table.add_column("variant", overflow="fold", min_width=min(NAME_WIDTH, max(map(len, names), default=1)))
    table.add_column("refuted by", min_width=len("property,"), max_width=len("symbolic, exact,"))
    table.add_column("smallest found", overflow="fold", max_width=len("2 layers,"))
    table.add_column("the change", overflow="fold", min_width=SLUG_WIDTH)
    for row in found:
        if quiet and not row.survived:
            continue
        size = "" if row.instance is None else _size(row)
        note = f"; one kind: {row.variant.one_kind}" if row.variant.one_kind else ""
        change = escape(row.variant.change + note)
        table.add_row(row.statement.short, row.variant.name, _refuting(row), size, change)
    if table.row_count:
        console.print(table)
    words = variants_line(found)
    if not quiet or any(row.survived for row in found):
        console.print(f"{words}; counterexamples to replay in {folder}", soft_wrap=True, markup=False)


def variants_line(found: Sequence[Refutation]) -> str:
    """What became of all false variants, in words."""
    survivors = [row.variant.name for row in found if row.status == "survived"]
    undecided = [row.variant.name for row in found if row.status == "open"]
    parts = [f"{len(survivors)} survive{'s' * (len(survivors) == 1)}: {', '.join(survivors)}"] if survivors else []
    parts += [f"{len(undecided)} left open: {', '.join(undecided)}"] if undecided else []
    return f"{counted(len(found), 'false variant')}: {'; '.join(parts) or 'all refuted'}"


def _refuting(row: Refutation) -> str:
    """The kinds of evidence that refuted a variant, and what it survived or left it open though it should not."""
    others = ", ".join(kind for kind in row.variant.caught_by if kind not in row.refuted_by)
    style, word = (STYLES["abstained"], "left open by") if row.open else (STYLES["refuted"], "survives")
    parts = [f"[{STYLES['holds']}]{', '.join(row.refuted_by)}[/]"] if row.refuted_by else []
    return "; ".join([*parts, *([f"[{style}]{word} {others}[/]"] if others else [])])


def _size(row: Refutation) -> str:
    if not hasattr(row.instance, "size"):  # instances of a user's own may have none
        return ""
    layers, width = row.instance.size
    return f"{layers} layer{'s' * (layers > 1)}, width {width}" if layers else f"H = {width}"


# Rendering of dropped assumptions: the JSON document and the table. Nothing is computed here, nothing is written.

Found = Sequence[tuple[Statement, Outcome]]


def assumptions_json(context: Context, found: Found) -> dict[str, Any]:
    """The document of a run that drops assumptions: one row for each, under `assumptions`."""
    rows = [
        {"statement": statement.slug, "theorem": statement.theorem, **outcome.as_json()} for statement, outcome in found
    ]
    return {**header(context), "statements": [], "assumptions": rows}


def what(outcome: Outcome) -> str:
    """The counterexample with its two numbers, or how much was tried."""
    sides = outcome.sides
    if outcome.finding != "necessary" or sides is None:
        left_open = f", {outcome.undecided} undecided" if outcome.undecided else ""
        return f"{outcome.tried} tried{left_open}"
    relation = {"=": "!=", ">": "<=", ">=": "<"}[sides.relation]
    return f"{sides.instance}: {sides.quantity}: {shown(sides.left)} {relation} {shown(sides.right)}"


def print_assumptions(console: Console, found: Found, quiet: bool) -> None:
    """Statement, assumption, what stands in its place, the finding, and the counterexample or the number tried."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Assumptions, dropped in turn", title_justify="left")
    table.add_column("")
    for column, ratio in (("assumption", 3), ("in its place", 2), ("finding", 2)):
        table.add_column(column, overflow="fold", ratio=ratio)
    table.add_column("counterexample, or how much was tried", overflow="fold", ratio=5)
    before = None
    for statement, outcome in found:
        if quiet and outcome.status == "holds":
            continue
        if before not in (None, statement.slug):
            table.add_section()
        before = statement.slug
        kept = outcome.assumption
        finding = outcome.finding if outcome.status == "holds" else f"{outcome.finding}, not as expected"
        table.add_row(statement.short, *map(escape, (kept.name, kept.dropped)),
                      f"[{STYLES[outcome.status]}]{finding}[/]", escape(what(outcome)))  # fmt: skip
    if table.row_count:
        console.print(table)
    counts = {name: sum(outcome.finding == name for _, outcome in found)
              for name in ("necessary", "not shown necessary", "undecided")}  # fmt: skip
    wrong = [
        f"{statement.short} {outcome.assumption.name!r}" for statement, outcome in found if outcome.status != "holds"
    ]
    if wrong or not quiet:
        verdict = f"; not as expected: {', '.join(wrong)}" if wrong else ""
        told = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        plural = "s" * (len(found) != 1)
        if not found:
            told = "a statement of your own names them by drops="
        console.print(f"{len(found)} assumption{plural} dropped: {told}{verdict}", soft_wrap=True, markup=False)
