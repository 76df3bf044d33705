"""What a report says first: the verdict of all statements together, in words, and how strongly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from verify.engine.evidence import Measurement
from verify.engine.runner import Result
from verify.engine.statement import Statement
from verify.tolerance.statistics import RUN_FALSE_ALARM

if TYPE_CHECKING:
    from verify.report.view import Request

MEASURED = ("exact", "float", "property", "trained")


def overall(results: Sequence[Result]) -> str:
    """The verdict of all together: refuted before left open before holds."""
    verdicts = {result.verdict for result in results}
    return "refuted" if "refuted" in verdicts else "holds" if verdicts == {"holds"} else "abstained"


def headline(results: Sequence[Result], request: Request) -> str:
    """The verdict in words, and on what it rests where not everything was asked for."""
    asked = {"": request.only, "variants": "false variants", "assumptions": "dropped assumptions"}[request.mode]
    words = verdict_line(results)
    return f"{words} This says the evidence of one kind only: {asked}." if asked else words


def verdict_line(results: Sequence[Result]) -> str:
    """The verdict of all statements in words."""
    groups = {
        "refuted": [result for result in results if result.verdict == "refuted"],
        "left open": [r for r in results if r.verdict == "abstained" and not r.interrupted],
        "not complete, the run was interrupted": [r for r in results if r.verdict == "abstained" and r.interrupted],
    }
    holding = len(results) - sum(map(len, groups.values()))
    if holding == len(results):
        return "The statement holds." if holding == 1 else f"All {holding} statements hold."
    parts = [f"{', '.join(_name(r.statement) for r in rows)} {word}" for word, rows in groups.items() if rows]
    return f"{'; '.join(parts)}. {holding} of {len(results)} hold."


def _name(statement: Statement) -> str:
    return statement.heading if statement.theorem is not None else f"Statement {statement.slug}"


def facts(results: Sequence[Result]) -> list[dict[str, str]]:
    """How strongly: counts, and what chance could have done."""
    rows = [row for result in results for row in result.evidence]
    found = [{"name": "instances compared", "value": f"{sum(r.instances for r in rows if r.kind in MEASURED):,}"}]
    derivations = [d for row in rows for d in row.derivations]
    if derivations:
        proved = sum(d.proved for d in derivations)
        steps = sum(len(d.steps) for d in derivations)
        found.append({"name": "derivations proved", "value": f"{proved} of {len(derivations)}, {steps} checked steps"})
    refutations = [r for row in rows for r in row.refutations]
    number = sum(len(result.statement.variants) for result in results)
    refuted = sum(not r.survived for r in refutations)
    found.append({"name": "false variants refuted", "value": f"{refuted} of {number}"})
    outcomes = [outcome for row in rows for outcome in row.outcomes]
    number = sum(len(result.statement.drops) for result in results)
    counts = [(word, sum(o.finding == word for o in outcomes)) for word in ("necessary", "not shown necessary")]
    told = ", ".join(f"{count} {word}" for word, count in counts if count)
    value = f"{len(outcomes)} of {number}" + (f": {told}" if told else "")
    found.append({"name": "assumptions dropped", "value": value})
    if any(result.statement.theorem is not None for result in results):
        value = f"at most {RUN_FALSE_ALARM:g} per run, all random checks together"
        found.append({"name": "false alarms", "value": value})
    return found


def strength(result: Result) -> dict[str, Any]:
    """How strongly a statement holds: how far its comparisons stayed from refuting it, and what chance could hide.

    Returns
    -------
    dict
        ``exact`` and ``float``: the largest residual in units of its tolerance (0: identical, above 1: refuted), and
        where it was found, in words. ``random``: of each check that draws, its source and the smallest effect that
        it detects.
    """
    random = [f"{row.source}: {row.effect}" for row in result.evidence if row.effect]
    return {
        "exact": _largest(result, "exact"),
        "float": _largest(result, "float"),
        "random": list(dict.fromkeys(random)),
    }


def _largest(result: Result, kind: str) -> str:
    rows = [row for row in result.evidence if row.kind == kind]
    measured = [row for row in rows if row.worst_residual is not None and row.tolerance is not None]
    if not measured:
        return "not run" if all(row.status == "not-run" for row in rows) else "none decided"
    ratio, source = max(
        (Measurement(row.worst_residual or 0.0, row.tolerance or 0.0).severity, row.source) for row in measured
    )
    where = f" ({source})" if ratio and len(measured) > 1 else ""
    return f"{ratio:.2g}{where}"
