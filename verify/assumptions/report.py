"""Rendering of dropped assumptions: the JSON document and the table. Nothing is computed here, nothing is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from verify.engine.assumptions import Outcome, shown
from verify.engine.statement import Context, Statement
from verify.report.documents import STYLES, header

if TYPE_CHECKING:
    from rich.console import Console

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
