"""Pieces of work that statements are cut into for a cluster: checks, and parts of searches; and what they amount to.

An actor is told the slug of a statement and the number of a check, so only statements of the registry can be cut.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from verify.engine.evidence import Evidence, Kind, Measurement, timed
from verify.engine.runner import all_checks
from verify.engine.statement import Context, Part, Statement
from verify.registry import REGISTRY
from verify.registry import entry as known_entry

REMOTE: tuple[Kind, ...] = ("property", "trained")


@dataclass(frozen=True)
class Piece:
    """What one actor does: a check, or a part of one.

    Parameters
    ----------
    statement, check : int
        Numbers of the statement and of its check.
    slug : str
    context : Context
        With the part of the search, if it is one.
    """

    statement: int
    check: int
    slug: str
    context: Context


class PieceWorker:
    """What runs in an actor."""

    def prepare(self) -> int:
        """Import what checks need."""
        # Hypothesis caches what it reads of the source; a run leaves nothing where it was not told to write.
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", tempfile.mkdtemp(prefix="covop-"))
        from numeric.studies.sweep.task import prepare

        return prepare()

    def run(self, piece: Piece) -> dict[str, Any]:
        """Run one piece."""
        return {"evidence": run_piece(piece)}


def run_piece(piece: Piece) -> Evidence:
    """Run one piece; a defect abstains, it must not look like a verdict.

    Examples
    --------
    >>> run_piece(Piece(0, 10**6, "dual-gradient", Context())).status
    'abstained'
    """
    started = time.perf_counter()
    kind: Kind = "property"
    try:
        check = all_checks(known_entry(piece.slug).load())[piece.check]
        kind = check.kind
        return timed(check.run(piece.context), time.perf_counter() - started)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return Evidence(kind, "abstained", "cluster", detail=" ".join(reason.split())[:300])


def pieces(statements: Sequence[Statement], context: Context, only: Kind | None, lanes: int) -> list[Piece]:
    """What goes to the cluster: trained checks whole and first, for they take long; searches, a part for each lane."""
    trained, searches = [], []
    for number, statement in enumerate(statements):
        if not any(entry.slug == statement.slug for entry in REGISTRY):
            continue
        for index, check in enumerate(all_checks(statement)):
            if check.kind not in REMOTE or only not in (None, check.kind):
                continue
            if check.kind == "trained":
                trained.append(Piece(number, index, statement.slug, context))
                continue
            parts = [Part(part, lanes) for part in range(lanes)]
            searches += [Piece(number, index, statement.slug, replace(context, part=part)) for part in parts]
    return trained + searches


def merged(rows: Sequence[Evidence]) -> Evidence:
    """One evidence of the parts of a search; one refutation refutes, one abstention leaves it open.

    Examples
    --------
    >>> half = Evidence("property", "holds", "search", 10, 1, 1e-16, 1e-14)
    >>> merged([half, half]).instances
    20
    """
    worst = max(rows, key=lambda row: Measurement(row.worst_residual or 0.0, row.tolerance or 0.0).severity)
    order = ("refuted", "abstained", "holds")
    head = min(rows, key=lambda row: order.index(row.status) if row.status in order else len(order))
    if head.status == "holds":
        head = replace(head, worst_residual=worst.worst_residual, tolerance=worst.tolerance)
    counts = {name: sum(getattr(row, name) for row in rows) for name in ("instances", "abstained", "seconds")}
    return replace(head, **counts)


def shrunk(statement: Statement, piece: Piece, found: Evidence) -> Evidence:
    """The evidence with a counterexample that was looked for again here, from the smallest instances on, and shrunk.

    First from the seed of the run; a rare one is found by the part again that has found it.
    """
    from verify.engine.search import deepening

    kinds = [kind for kind in ("exact", "float") if kind in statement.measures]

    def measure(instance: Any) -> Measurement:
        results = [statement.measures[kind](instance, None) for kind in kinds]  # type: ignore[index]
        decided = [result for result in results if result.decided]
        return max(decided, key=lambda result: result.severity) if decided else results[0]

    context, part = piece.context, piece.context.part
    if part is None or not kinds:
        return found
    examples = context.pick(quick=200, thorough=2000)
    instance = deepening(statement.stages, measure, examples=examples, seed=context.seed).instance
    if instance is None:
        check = all_checks(statement)[piece.check]
        instance = check.run(replace(context, part=replace(part, shrink=True))).counterexample
    if instance is None:
        return replace(found, detail=f"{found.detail}; as it was found, not shrunk")
    small = measure(instance)
    return replace(
        found, counterexample=instance, worst_residual=small.residual, tolerance=small.tolerance,
        detail=f"{found.detail}; shrunk here",
    )  # fmt: skip


def gathered(done: Mapping[Piece, Evidence]) -> dict[tuple[int, int], Evidence]:
    """Evidence by statement and check; a search of which a part is missing was stopped, unless it refuted."""
    rows: dict[tuple[int, int], list[Evidence]] = {}
    parts: dict[tuple[int, int], int] = {}
    for piece, row in done.items():
        place = piece.statement, piece.check
        rows.setdefault(place, []).append(row)
        parts[place] = 1 if piece.context.part is None else piece.context.part.of
    whole = {place: merged(some) for place, some in rows.items()}
    return {place: row for place, row in whole.items() if row.status == "refuted" or len(rows[place]) == parts[place]}
