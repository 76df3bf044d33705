"""Run statements on a Ray cluster: property searches in parts, and checks of trained networks.

Everything else runs in this process meanwhile. A counterexample found anywhere ends what still runs, here too, and is
shrunk here. Evidence comes back as a Python object: a cluster is trusted as this machine is (`docs/scaling.md`).
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from typing import Any

from hltm.base.cluster import RayEngine
from hltm.base.interrupts import OutOfTimeError, cancel_when
from hltm.base.progress import SILENT, Progress
from hltm.base.workers import Ended, Engine
from verify.engine.coverage import Coverage
from verify.engine.evidence import Evidence, Kind, Measurement, named, timed
from verify.engine.runner import Result, all_checks, not_run
from verify.engine.runner import run as run_here
from verify.engine.statement import Check, Context, Part, Statement
from verify.registry import PACKS, REGISTRY, Entry
from verify.registry import entry as known_entry

REMOTE: tuple[Kind, ...] = ("property", "trained")


@dataclass(frozen=True)
class WorkItem:
    """A check, or a part of a search, for one actor."""

    statement: int
    check: int
    slug: str
    context: Context


class CheckWorker:
    """Runs work items in an actor."""

    def prepare(self) -> None:
        """Import what checks need, and use one thread: the tensors are small."""
        # Hypothesis caches what it reads of the source, by default in the working folder.
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", tempfile.mkdtemp(prefix="covop-"))
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        import torch

        import numeric.training.train  # noqa: F401

        torch.set_num_threads(1)

    def run(self, item: WorkItem) -> dict[str, Any]:
        return {"evidence": run_item(item)}


def run_item(item: WorkItem) -> Evidence:
    """Run one work item; a defect abstains, it must not look like a verdict."""
    started = time.perf_counter()
    kind: Kind = "property"
    try:
        check = all_checks(known_entry(item.slug).load())[item.check]
        kind = check.kind
        return timed(check.run(item.context), time.perf_counter() - started)
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        return Evidence(kind, "abstained", "cluster", detail=" ".join(reason.split())[:300])


def work_items(statements: Sequence[Statement], context: Context, only: Kind | None, lanes: int) -> list[WorkItem]:
    """Work for the cluster: trained checks first, for they take long, and a part of every search for each lane."""
    trained, searches = [], []
    for number, statement in enumerate(statements):
        if not any(entry.slug == statement.slug for entry in (*REGISTRY, *PACKS)):
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
    """Merge the evidence of the parts of a search: one refutation refutes, one abstention abstains."""
    worst = max(rows, key=lambda row: Measurement(row.worst_residual or 0.0, row.tolerance or 0.0).severity)
    order = ("refuted", "abstained", "holds")
    head = min(rows, key=lambda row: order.index(row.status) if row.status in order else len(order))
    if head.status == "holds":
        head = replace(head, worst_residual=worst.worst_residual, tolerance=worst.tolerance)
    spans = [row.spans for row in rows if row.spans is not None]
    if spans:
        head = replace(head, spans=reduce(Coverage.merged, spans, Coverage()))
    counts = {name: sum(getattr(row, name) for row in rows) for name in ("instances", "abstained", "seconds")}
    return replace(head, **counts)


def shrunk(statement: Statement, item: WorkItem, evidence: Evidence) -> Evidence:
    """Search for a counterexample again, from the smallest instances on, and shrink it.

    The search begins with the seed of the run; for a rare counterexample the part that found it is run again.
    """
    from verify.engine.search import deepening

    kinds = [kind for kind in ("exact", "float") if kind in statement.measures]

    def measure(instance: Any) -> Measurement:
        results = [statement.measures[kind](instance, None) for kind in kinds]  # type: ignore[index]
        decided = [result for result in results if result.decided]
        return max(decided, key=lambda result: result.severity) if decided else results[0]

    context, part = item.context, item.context.part
    if part is None or not kinds:
        return evidence
    examples = context.pick(quick=200, thorough=2000)
    instance = deepening(statement.stages, measure, examples=examples, seed=context.seed).instance
    if instance is None:
        check = all_checks(statement)[item.check]
        instance = check.run(replace(context, part=replace(part, shrink=True))).counterexample
    if instance is None:
        return replace(evidence, detail=f"{evidence.detail}; as it was found, not shrunk")
    small = measure(instance)
    return replace(
        evidence, counterexample=instance, worst_residual=small.residual, tolerance=small.tolerance,
        detail=f"{evidence.detail}; shrunk here", apart=named(small, instance),
    )  # fmt: skip


def gathered(done: Mapping[WorkItem, Evidence]) -> dict[tuple[int, int], Evidence]:
    """Evidence by statement and check; a search with a missing part was stopped, and is left out unless it refuted."""
    rows: dict[tuple[int, int], list[Evidence]] = {}
    parts: dict[tuple[int, int], int] = {}
    for item, row in done.items():
        place = item.statement, item.check
        rows.setdefault(place, []).append(row)
        parts[place] = 1 if item.context.part is None else item.context.part.of
    whole = {place: merged(some) for place, some in rows.items()}
    return {place: row for place, row in whole.items() if row.status == "refuted" or len(rows[place]) == parts[place]}


TRIES = 3
STOPPED = "stopped: a counterexample was found elsewhere"


@dataclass(eq=False)
class WorkQueue:
    """Work items waiting, running and done on the lanes of an engine."""

    engine: Engine
    waiting: list[WorkItem]
    running: dict[int, WorkItem] = field(default_factory=dict)
    done: dict[WorkItem, Evidence] = field(default_factory=dict)
    tries: dict[WorkItem, int] = field(default_factory=dict)
    refuted: WorkItem | None = None
    ended: bool = False

    def step(self, seconds: float) -> None:
        """Give work items to idle lanes and collect those that have ended."""
        if self.ended:
            self._stop()
            return
        for lane in self.engine.idle():
            if self.waiting:
                self.running[lane] = item = self.waiting.pop(0)
                self.engine.start(lane, item)
        for ended in self.engine.wait(seconds):
            self._collect(self.running.pop(ended.lane), ended)

    def _collect(self, item: WorkItem, ended: Ended) -> None:
        if ended.answer is None:
            self.tries[item] = self.tries.get(item, 0) + 1
            if self.tries[item] < TRIES:
                self.waiting.insert(0, item)
                return
            kind = all_checks(known_entry(item.slug).load())[item.check].kind
            self.done[item] = Evidence(kind, "abstained", "cluster", detail=f"{ended.reason}, {TRIES} times")
            return
        result: Evidence = ended.answer["evidence"]
        self.done[item] = result
        if result.status == "refuted":
            self.refuted, self.ended = item, True

    def _stop(self) -> None:
        """End what runs and drop what waits."""
        self.waiting.clear()
        for lane in list(self.running):
            self.engine.end(lane)
        self.running.clear()

    def drain(self) -> None:
        """Step until nothing runs or waits, in a thread beside the checks that run here."""
        while self.running or self.waiting:
            self.step(0.5)


def run(
    entries: Sequence[Entry], context: Context, progress: Progress = SILENT, only: Kind | None = None, *, address: str
) -> Iterator[Result]:
    """As :func:`verify.engine.runner.run`, with property searches and trained evidence on a Ray cluster."""
    engine = RayEngine(address, CheckWorker)
    try:
        yield from run_on(engine, entries, context, progress, only)
    finally:
        engine.close()


def runner_of(address: str | None) -> Callable[..., Iterator[Result]]:
    """The function that runs statements, in this process alone or on a cluster too."""
    return run_here if address is None else partial(run, address=address)


def run_on(
    engine: Engine, entries: Sequence[Entry], context: Context, progress: Progress = SILENT, only: Kind | None = None
) -> Iterator[Result]:
    """As :func:`run`, on the lanes of any engine."""
    progress.start(None, "loading the statements")
    statements = [entry.load() for entry in entries]
    queue = WorkQueue(engine, work_items(statements, context, only, engine.lanes))
    remote = {(item.statement, item.check) for item in queue.waiting}
    own = [
        (number, index, check) for number, statement in enumerate(statements)
        for index, check in enumerate(all_checks(statement))
        if only in (None, check.kind) and (number, index) not in remote
    ]  # fmt: skip
    total = len(own) + len(queue.waiting)
    progress.start(total)
    evidence: dict[tuple[int, int], Evidence] = {}
    # The checks here keep the main thread, the only one in which `cancel_when` works.
    with ThreadPoolExecutor(1) as beside:
        working = beside.submit(queue.drain)
        over = partial(_over, queue, working)
        try:
            while own and not over():
                number, index, check = own.pop(0)
                text = f"{statements[number].slug}: {check.kind} ({check.source})"
                progress.at(len(evidence) + len(queue.done), text)
                try:
                    with cancel_when(over):
                        evidence[number, index] = row = _timed(check, context)
                except OutOfTimeError:
                    break
                queue.ended = queue.ended or row.status == "refuted"
            while not working.done():
                progress.at(len(evidence) + len(queue.done), f"{len(queue.running)} on the cluster")
                wait([working], 0.5)
        finally:
            queue.ended = True
        working.result()
    evidence |= gathered(queue.done)
    if queue.refuted is not None:
        place = queue.refuted.statement, queue.refuted.check
        progress.at(total, "shrinking the counterexample")
        evidence[place] = shrunk(statements[place[0]], queue.refuted, evidence[place])
    for number, statement in enumerate(statements):
        yield _result(statement, {index: row for (owner, index), row in evidence.items() if owner == number}, only)


def _over(queue: WorkQueue, working: Future[None]) -> bool:
    """Whether the checks here can be cancelled: there is a counterexample, or the cluster is gone."""
    return queue.ended or (working.done() and working.exception() is not None)


def _timed(check: Check, context: Context) -> Evidence:
    started = time.perf_counter()
    result = check.run(context)
    return timed(result, time.perf_counter() - started)


def _result(statement: Statement, evidence: dict[int, Evidence], only: Kind | None) -> Result:
    """The result of a statement, its checks in order; those without evidence were stopped."""
    rows, missing = [], False
    for index, check in enumerate(all_checks(statement)):
        if only not in (None, check.kind):
            continue
        row = evidence.get(index)
        missing = missing or row is None
        rows.append(row or Evidence(check.kind, "not-run", check.source, detail=STOPPED))
    rows += not_run(statement, {row.kind for row in rows}, only)
    seconds = sum(row.seconds for row in rows)
    return Result(statement, tuple(rows), seconds, interrupted=missing)
