"""Results of a run as JSON documents and as terminal tables."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

from verify.engine import readable
from verify.engine.assumptions import Finding, Outcome
from verify.engine.disagreement import Disagreement, of_mutant, with_names
from verify.engine.evidence import KINDS, Evidence, Kind, Measurement, counted, finite_or_text
from verify.engine.runner import Refutation, Result
from verify.engine.statement import Context, Statement

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
    """Versions of Python and the libraries, and the device."""
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    return {"python": platform.python_version(), **versions, "device": device}


def header(context: Context) -> dict[str, Any]:
    """The first keys of every JSON document of a run."""
    return {
        "schema": 1, "seed": context.seed, "profile": context.profile, "environment": environment(context.device),
    }  # fmt: skip


def results_json(context: Context, results: Sequence[Result], files: Mapping[tuple[str, int], str]) -> dict[str, Any]:
    """The document of a run of statements."""
    statements = []
    for result in results:
        statement = result.statement
        rows = [row.as_json() for row in result.evidence]
        for index, row in enumerate(rows):
            if (statement.slug, index) in files:
                row["counterexample"] = files[statement.slug, index]
        statements.append({
            "slug": statement.slug, "theorem": statement.theorem, "title": statement.title, "verdict": result.verdict,
            "relation_to_paper": None if (known := statement.relation_to_paper) is None else known.as_json(),
            "seconds": round(result.seconds, 3), "assumptions": list(statement.assumptions),
            "not_covered": list(statement.not_covered), "evidence": rows,
        })  # fmt: skip
    return {**header(context), "statements": statements, "not_yet_covered": []}


def variants_json(
    context: Context, refutations: Sequence[Refutation], files: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """The document of a run over the mutants."""
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
            "derivation": derived_text(row),
            **({"one_kind": row.variant.one_kind} if row.variant.one_kind else {}),
            **({"disagreement": row.apart.as_json()} if row.apart is not None else {}),
        }
        for row in refutations
    ]
    return {**header(context), "statements": [], "variants": rows}


def derived_text(row: Refutation) -> str:
    """What the derivation decides about a mutant, or why it is no rewrite of a claim."""
    decision = row.derived
    if decision is None:
        return str(row.variant.rewrite) or "no derivation"
    word = {True: "proved", False: "refuted", None: "not proved"}[decision.value]
    return f"{word}: {decision.detail or decision.method}"


def replay_json(
    context: Context,
    slug: str,
    variant: str | None,
    measurements: Mapping[Kind, Measurement],
    verdict: str,
    instance: Any = None,
) -> dict[str, Any]:
    rows = []
    for kind, one in measurements.items():
        row = {"kind": kind, "status": one.status, "worst_residual": finite_or_text(one.residual),
               "tolerance": finite_or_text(one.tolerance), "detail": one.detail}  # fmt: skip
        apart = (with_names if variant is None else of_mutant)(one.apart, instance)
        rows.append(row if apart is None else {**row, "disagreement": apart.as_json()})
    return {**header(context), "replay": {"statement": slug, "variant": variant, "verdict": verdict, "evidence": rows}}


def replay_lines(measurements: Mapping[Kind, Measurement], instance: Any, mutant: bool = False) -> list[str]:
    """A measured instance as lines: each kind of evidence, both sides where they differ, and the instance."""
    lines = []
    for kind, one in measurements.items():
        lines.append(f"{kind}: {one.status}, residual {one.residual:.3e}, tolerance {one.tolerance:.3e} {one.detail}")
        apart = (of_mutant if mutant else with_names)(one.apart, instance)
        lines += [f"  {line}" for line in both_sides(apart)]
    return [*lines, *(f"    {line}" for line in readable.lines(instance))]


def combined(evidence: Sequence[Evidence]) -> str:
    """The worst status of several pieces of evidence of one kind."""
    for status in ("refuted", "abstained", "holds"):
        if any(row.status == status for row in evidence):
            return status
    return "not-run"


def matrix(results: Sequence[Result]) -> Table:
    """Status and number of instances, by kind of evidence and statement."""
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
    """Residual, tolerance and detail of each piece of evidence."""
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
            kind, detail = f"[{STYLES[row.status]}]{row.kind}[/]", escape(f"{row.source}: {row.detail}")
            table.add_row(result.statement.short, kind, str(row.instances), *numbers, detail)
        table.add_section()
    return table


def replay_command(file: str, own: str | None = None) -> str:
    return f"python -m verify replay {shlex.quote(file)}" + (f" --statements {shlex.quote(own)}" if own else "")


def both_sides(apart: Disagreement | None) -> list[str]:
    """Both numbers of a refutation with their ratio, what the refuted entries have in common, and a small drawing."""
    if apart is None:
        return []
    return [apart.line, *(["; ".join(apart.remarks)] if apart.remarks else []), *apart.grid]


def shown_instance(result: Result) -> int | None:
    """Which row's counterexample is printed: that of the search, which is shrunk, or the first."""
    rows = [
        index for index, row in enumerate(result.evidence) if row.status == "refuted" and row.counterexample is not None
    ]
    return next((index for index in rows if result.evidence[index].kind == "property"), rows[0] if rows else None)


def print_results(
    console: Console,
    results: Sequence[Result],
    files: Mapping[tuple[str, int], str],
    quiet: bool,
    own: str | None = None,
) -> None:
    """Print matrix, details and verdicts; with `quiet` only statements that do not hold."""
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
        chosen = shown_instance(result)
        for index, row in enumerate(result.evidence):
            if own is not None and row.status == "holds" and row.coverage:
                console.print(f"  {row.kind} holds on {row.coverage}", soft_wrap=True, markup=False)
            if row.status in ("refuted", "abstained"):
                file = files.get((result.statement.slug, index))
                saved = f"; {replay_command(file, own)}" if file else ""
                console.print(f"  {row.kind} {row.status}: {escape(row.detail + saved)}", soft_wrap=True)
                for line in both_sides(row.apart):
                    console.print(f"    {line}", soft_wrap=True, markup=False)
            if index == chosen:
                for line in readable.lines(row.counterexample):
                    console.print(f"      {line}", soft_wrap=True, markup=False)


def print_variants(console: Console, refutations: Sequence[Refutation], folder: str, quiet: bool) -> None:
    """Print the mutants and the kinds of evidence that refute them."""
    from rich.markup import escape
    from rich.table import Table

    names = [row.variant.name for row in refutations]
    table = Table(title="Mutants", title_justify="left")
    table.add_column("", overflow="fold", max_width=SLUG_WIDTH)
    # Names are copied, so they stay whole as long as there is room beside them.
    table.add_column("variant", overflow="fold", min_width=min(NAME_WIDTH, max(map(len, names), default=1)))
    table.add_column("refuted by", min_width=len("property,"), max_width=len("symbolic, exact,"))
    table.add_column("smallest found", overflow="fold", max_width=len("2 layers,"))
    table.add_column("the change", overflow="fold", min_width=SLUG_WIDTH)
    for row in refutations:
        if quiet and not row.survived:
            continue
        size = "" if row.instance is None else _size(row)
        note = f"; one kind: {row.variant.one_kind}" if row.variant.one_kind else ""
        numbers = f"\n{row.apart.numbers}" if row.apart is not None else ""
        change = escape(row.variant.change + note + numbers)
        table.add_row(row.statement.short, row.variant.name, _refuting(row), size, change)
    if table.row_count:
        console.print(table)
    if not quiet or any(row.survived for row in refutations):
        console.print(
            f"{variants_line(refutations)}; counterexamples to replay in {folder}", soft_wrap=True, markup=False
        )


def variants_line(refutations: Sequence[Refutation]) -> str:
    """Count the mutants and name those that are not refuted."""
    survivors = [row.variant.name for row in refutations if row.status == "survived"]
    undecided = [row.variant.name for row in refutations if row.status == "open"]
    words = f"{len(survivors)} survive{'s' * (len(survivors) == 1)}: {', '.join(survivors)} (check too weak)"
    parts = [words] if survivors else []
    parts += [f"{len(undecided)} left open: {', '.join(undecided)}"] if undecided else []
    return f"{counted(len(refutations), 'mutant')}: {'; '.join(parts) or 'all refuted'}"


def _refuting(row: Refutation) -> str:
    """The kinds of evidence that refuted a variant, and those that should have but did not."""
    others = ", ".join(kind for kind in row.variant.caught_by if kind not in row.refuted_by)
    style, word = (STYLES["abstained"], "left open by" if row.open else "survives")
    parts = [f"[{STYLES['holds']}]{', '.join(row.refuted_by)}[/]"] if row.refuted_by else []
    return "; ".join([*parts, *([f"[{style}]{word} {others}[/]"] if others else [])])


def _size(row: Refutation) -> str:
    if not hasattr(row.instance, "size"):  # instances of a user's own may have none
        return ""
    layers, width = row.instance.size
    return f"{layers} layer{'s' * (layers > 1)}, width {width}" if layers else f"H = {width}"


Outcomes = Sequence[tuple[Statement, Outcome]]


def assumptions_json(context: Context, outcomes: Outcomes) -> dict[str, Any]:
    """The document of a run that drops assumptions."""
    rows = [{"statement": one.slug, "theorem": one.theorem, **outcome.as_json()} for one, outcome in outcomes]
    return {**header(context), "statements": [], "assumptions": rows}


def what(outcome: Outcome) -> str:
    """The counterexample with its two numbers, or the number of instances tried."""
    sides = outcome.sides
    if outcome.finding != "necessary" or sides is None:
        left_open = f", {outcome.undecided} undecided" if outcome.undecided else ""
        return f"{outcome.tried} tried{left_open}"
    return f"{sides.instance}: {outcome.sides_in_words}"


def print_assumptions(console: Console, outcomes: Outcomes, quiet: bool) -> None:
    """Print what dropping each assumption showed."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Assumptions, dropped in turn", title_justify="left")
    table.add_column("")
    for column, ratio in (("assumption", 3), ("in its place", 2), ("finding", 2)):
        table.add_column(column, overflow="fold", ratio=ratio)
    table.add_column("counterexample, or how much was tried", overflow="fold", ratio=5)
    before = None
    for statement, outcome in outcomes:
        if quiet and outcome.status == "holds":
            continue
        if before not in (None, statement.slug):
            table.add_section()
        before = statement.slug
        finding = outcome.finding if outcome.status == "holds" else f"{outcome.finding}, not as expected"
        table.add_row(statement.short, escape(outcome.assumption.name), escape(outcome.assumption.dropped),
                      f"[{STYLES[outcome.status]}]{finding}[/]", escape(what(outcome)))  # fmt: skip
    if table.row_count:
        console.print(table)
    wrong = [f"{one.short} {outcome.assumption.name!r}" for one, outcome in outcomes if outcome.status != "holds"]
    if wrong or not quiet:
        counts = Counter(outcome.finding for _, outcome in outcomes)
        findings = [f"{counts[name]} {name}" for name in get_args(Finding) if counts[name]]
        words = ", ".join(findings) or "a statement of your own names them by drops="
        verdict = f"; not as expected: {', '.join(wrong)}" if wrong else ""
        dropped = counted(len(outcomes), "assumption")
        console.print(f"{dropped} dropped: {words}{verdict}", soft_wrap=True, markup=False)
