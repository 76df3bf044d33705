"""Running statements on a Ray cluster: property searches in parts, and checks of trained networks, on its actors.

Everything else runs here meanwhile. A counterexample found anywhere ends what still runs, here too, and is shrunk here.
What comes back is an object of Python, sent by Ray: a cluster is trusted as this machine is (`docs/scaling.md`).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from hltm.base.cluster import RayEngine
from hltm.base.interrupts import OutOfTimeError, cancel_when
from hltm.base.progress import SILENT, Progress
from hltm.base.workers import Ended, Engine
from verify.engine.evidence import Evidence, Kind, Measurement, timed
from verify.engine.runner import Result, all_checks, not_run
from verify.engine.runner import run as run_here
from verify.engine.statement import Check, Context, Part, Statement
from verify.registry import REGISTRY, Entry
from verify.registry import entry as known_entry

# Pieces of work that statements are cut into for a cluster: checks, and parts of searches; and what they amount to.

REMOTE: tuple[Kind, ...] = ("property", "trained")


@dataclass(frozen=True)
class WorkItem:
    """What one actor does: a check, or a part of one."""

    statement: int
    check: int
    slug: str
    context: Context


class PieceWorker:
    """What runs in an actor."""

    def prepare(self) -> None:
        """Import what checks need, and use one thread: the tensors are small."""
        # Hypothesis caches what it reads of the source; a run leaves nothing where it was not told to write.
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", tempfile.mkdtemp(prefix="covop-"))
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        import torch

        import numeric.training.train  # noqa: F401

        torch.set_num_threads(1)

    def run(self, piece: WorkItem) -> dict[str, Any]:
        """Run one piece."""
        return {"evidence": run_item(piece)}


def run_item(piece: WorkItem) -> Evidence:
    """Run one piece; a defect abstains, it must not look like a verdict."""
    started = time.perf_counter()
    kind: Kind = "property"
    try:
        check = all_checks(known_entry(piece.slug).load())[piece.check]
        kind = check.kind
        return timed(check.run(piece.context), time.perf_counter() - started)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return Evidence(kind, "abstained", "cluster", detail=" ".join(reason.split())[:300])


def work_items(statements: Sequence[Statement], context: Context, only: Kind | None, lanes: int) -> list[WorkItem]:
    """What goes to the cluster: trained checks whole and first, for they take long; searches, a part for each lane."""
    trained, searches = [], []
    for number, statement in enumerate(statements):
        if not any(entry.slug == statement.slug for entry in REGISTRY):
            continue
        for index, check in enumerate(all_checks(statement)):
            if check.kind not in REMOTE or only not in (None, check.kind):
                continue
            if check.kind == "trained":
                trained.append(WorkItem(number, index, statement.slug, context))
                continue
            parts = [Part(part, lanes) for part in range(lanes)]
            searches += [WorkItem(number, index, statement.slug, replace(context, part=part)) for part in parts]
    return trained + searches


def merged(rows: Sequence[Evidence]) -> Evidence:
    """One evidence of the parts of a search; one refutation refutes, one abstention leaves it open."""
    worst = max(rows, key=lambda row: Measurement(row.worst_residual or 0.0, row.tolerance or 0.0).severity)
    order = ("refuted", "abstained", "holds")
    head = min(rows, key=lambda row: order.index(row.status) if row.status in order else len(order))
    if head.status == "holds":
        head = replace(head, worst_residual=worst.worst_residual, tolerance=worst.tolerance)
    counts = {name: sum(getattr(row, name) for row in rows) for name in ("instances", "abstained", "seconds")}
    return replace(head, **counts)


def shrunk(statement: Statement, piece: WorkItem, found: Evidence) -> Evidence:
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


def gathered(done: Mapping[WorkItem, Evidence]) -> dict[tuple[int, int], Evidence]:
    """Evidence by statement and check; a search of which a part is missing was stopped, unless it refuted."""
    rows: dict[tuple[int, int], list[Evidence]] = {}
    parts: dict[tuple[int, int], int] = {}
    for piece, row in done.items():
        place = piece.statement, piece.check
        rows.setdefault(place, []).append(row)
        parts[place] = 1 if piece.context.part is None else piece.context.part.of
    whole = {place: merged(some) for place, some in rows.items()}
    return {place: row for place, row in whole.items() if row.status == "refuted" or len(rows[place]) == parts[place]}


TRIES = 3
STOPPED = "stopped: a counterexample was found elsewhere"


@dataclass(eq=False)
class Spread:
    """Pieces on the lanes of an engine."""

    engine: Engine
    waiting: list[WorkItem]
    running: dict[int, WorkItem] = field(default_factory=dict)
    done: dict[WorkItem, Evidence] = field(default_factory=dict)
    tries: dict[WorkItem, int] = field(default_factory=dict)
    refuted: WorkItem | None = None
    ended: bool = False

    def step(self, seconds: float) -> None:
        """Give work to idle lanes and take what has ended."""
        if self.ended:
            self._stop()
            return
        for lane in self.engine.idle():
            if self.waiting:
                piece = self.waiting.pop(0)
                self.running[lane] = piece
                self.engine.start(lane, piece)
        for ended in self.engine.wait(seconds):
            self._take(self.running.pop(ended.lane), ended)

    def _take(self, piece: WorkItem, ended: Ended) -> None:
        if ended.answer is None:
            self.tries[piece] = self.tries.get(piece, 0) + 1
            if self.tries[piece] < TRIES:
                self.waiting.insert(0, piece)
                return
            kind = all_checks(known_entry(piece.slug).load())[piece.check].kind
            self.done[piece] = Evidence(kind, "abstained", "cluster", detail=f"{ended.reason}, {TRIES} times")
            return
        result: Evidence = ended.answer["evidence"]
        self.done[piece] = result
        if result.status == "refuted":
            self.refuted, self.ended = piece, True

    def _stop(self) -> None:
        """End what runs and forget what waits."""
        self.waiting.clear()
        for lane in list(self.running):
            self.engine.end(lane)
        self.running.clear()

    def work(self) -> None:
        """Step until nothing runs or waits; what a thread does beside the checks that run here."""
        while self.running or self.waiting:
            self.step(0.5)


def run(
    entries: Sequence[Entry], context: Context, progress: Progress = SILENT, only: Kind | None = None, *, address: str
) -> Iterator[Result]:
    """As :func:`verify.engine.runner.run`, with property searches and trained evidence on a Ray cluster."""
    engine = RayEngine(address, PieceWorker)
    try:
        yield from run_on(engine, entries, context, progress, only)
    finally:
        engine.close()


def runner_of(address: str | None) -> Callable[..., Iterator[Result]]:
    """What runs statements: this process alone, or a cluster too."""
    return run_here if address is None else partial(run, address=address)


def run_on(
    engine: Engine, entries: Sequence[Entry], context: Context, progress: Progress = SILENT, only: Kind | None = None
) -> Iterator[Result]:
    """As :func:`run`, on the lanes of any engine."""
    progress.start(None, "loading the statements")
    statements = [entry.load() for entry in entries]
    spread = Spread(engine, work_items(statements, context, only, engine.lanes))
    remote = {(piece.statement, piece.check) for piece in spread.waiting}
    own = [
        (number, index, check) for number, statement in enumerate(statements)
        for index, check in enumerate(all_checks(statement))
        if only in (None, check.kind) and (number, index) not in remote
    ]  # fmt: skip
    total = len(own) + len(spread.waiting)
    progress.start(total)
    result: dict[tuple[int, int], Evidence] = {}
    # The checks here keep the main thread, in which alone a computation can be cut short by the clock.
    with ThreadPoolExecutor(1) as beside:
        working = beside.submit(spread.work)
        over = partial(_over, spread, working)
        try:
            while own and not over():
                number, index, check = own.pop(0)
                progress.at(len(result) + len(spread.done), f"{statements[number].slug}: {check.kind} ({check.source})")
                try:
                    with cancel_when(over):
                        result[number, index] = row = _timed(check, context)
                except OutOfTimeError:
                    break
                spread.ended = spread.ended or row.status == "refuted"
            while not working.done():
                progress.at(len(result) + len(spread.done), f"{len(spread.running)} on the cluster")
                wait([working], 0.5)
        finally:
            spread.ended = True
        working.result()
    result |= gathered(spread.done)
    if spread.refuted is not None:
        place = spread.refuted.statement, spread.refuted.check
        progress.at(total, "shrinking the counterexample")
        result[place] = shrunk(statements[place[0]], spread.refuted, result[place])
    for number, statement in enumerate(statements):
        yield _result(statement, {index: row for (owner, index), row in result.items() if owner == number}, only)


def _over(spread: Spread, working: Future[None]) -> bool:
    """Whether nothing more is to be found out: there is a counterexample, or the cluster is gone."""
    return spread.ended or (working.done() and working.exception() is not None)


def _timed(check: Check, context: Context) -> Evidence:
    started = time.perf_counter()
    result = check.run(context)
    return timed(result, time.perf_counter() - started)


def _result(statement: Statement, found: dict[int, Evidence], only: Kind | None) -> Result:
    """The result of a statement, its checks in order; those that were stopped say so."""
    rows, missing = [], False
    for index, check in enumerate(all_checks(statement)):
        if only not in (None, check.kind):
            continue
        row = found.get(index)
        missing = missing or row is None
        rows.append(row or Evidence(check.kind, "not-run", check.source, detail=STOPPED))
    rows += not_run(statement, {row.kind for row in rows}, only)
    seconds = sum(row.seconds for row in rows)
    return Result(statement, tuple(rows), seconds, interrupted=missing)
