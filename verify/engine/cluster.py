"""Running statements on a Ray cluster: property searches in parts, and checks of trained networks, on its actors.

Everything else runs here meanwhile. A counterexample found anywhere ends what still runs, here too, and is shrunk here.
What comes back is an object of Python, sent by Ray: a cluster is trusted as this machine is (`docs/scaling.md`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from hltm.base.progress import SILENT, Progress
from verify.budget import OutOfTimeError
from verify.cut import cut_when
from verify.engine.evidence import Evidence, Kind, timed
from verify.engine.runner import Result, all_checks, not_run
from verify.engine.runner import run as run_here
from verify.engine.statement import Check, Context, Statement
from verify.pieces import Piece, PieceWorker, gathered, pieces, shrunk
from verify.registry import Entry
from verify.registry import entry as known_entry

if TYPE_CHECKING:
    from numeric.sweep.engine import Ended, Engine

TRIES = 3
STOPPED = "stopped: a counterexample was found elsewhere"


@dataclass(eq=False)
class Spread:
    """Pieces on the lanes of an engine.

    Parameters
    ----------
    engine : Engine
    waiting : list of Piece
        Those that have not begun.
    running, done, tries : dict
        By lane, and by piece.
    refuted : Piece, optional
        The one that found a counterexample.
    ended : bool
        Set to end what runs and forget what waits.
    """

    engine: Engine
    waiting: list[Piece]
    running: dict[int, Piece] = field(default_factory=dict)
    done: dict[Piece, Evidence] = field(default_factory=dict)
    tries: dict[Piece, int] = field(default_factory=dict)
    refuted: Piece | None = None
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

    def _take(self, piece: Piece, ended: Ended) -> None:
        if ended.answer is None:
            self.tries[piece] = self.tries.get(piece, 0) + 1
            if self.tries[piece] < TRIES:
                self.waiting.insert(0, piece)
                return
            kind = all_checks(known_entry(piece.slug).load())[piece.check].kind
            self.done[piece] = Evidence(kind, "abstained", "cluster", detail=f"{ended.reason}, {TRIES} times")
            return
        found: Evidence = ended.answer["evidence"]
        self.done[piece] = found
        if found.status == "refuted":
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
    """As :func:`verify.engine.runner.run`, with property searches and trained evidence on a Ray cluster.

    Parameters
    ----------
    entries, context, progress, only
        As there.
    address : str
        Of the cluster.

    Raises
    ------
    InputError
        Ray is not there, or no cluster answers.
    """
    from numeric.studies.sweep.on_ray import RayEngine

    engine = RayEngine(address, worker=PieceWorker)
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
    spread = Spread(engine, pieces(statements, context, only, engine.lanes))
    remote = {(piece.statement, piece.check) for piece in spread.waiting}
    own = [
        (number, index, check) for number, statement in enumerate(statements)
        for index, check in enumerate(all_checks(statement))
        if only in (None, check.kind) and (number, index) not in remote
    ]  # fmt: skip
    total = len(own) + len(spread.waiting)
    progress.start(total)
    found: dict[tuple[int, int], Evidence] = {}
    # The checks here keep the main thread, in which alone a computation can be cut short by the clock.
    with ThreadPoolExecutor(1) as beside:
        working = beside.submit(spread.work)
        over = partial(_over, spread, working)
        try:
            while own and not over():
                number, index, check = own.pop(0)
                progress.at(len(found) + len(spread.done), f"{statements[number].slug}: {check.kind} ({check.source})")
                try:
                    with cut_when(over):
                        found[number, index] = row = _timed(check, context)
                except OutOfTimeError:
                    break
                spread.ended = spread.ended or row.status == "refuted"
            while not working.done():
                progress.at(len(found) + len(spread.done), f"{len(spread.running)} on the cluster")
                wait([working], 0.5)
        finally:
            spread.ended = True
        working.result()
    found |= gathered(spread.done)
    if spread.refuted is not None:
        place = spread.refuted.statement, spread.refuted.check
        progress.at(total, "shrinking the counterexample")
        found[place] = shrunk(statements[place[0]], spread.refuted, found[place])
    for number, statement in enumerate(statements):
        yield _result(statement, {index: row for (owner, index), row in found.items() if owner == number}, only)


def _over(spread: Spread, working: Future[None]) -> bool:
    """Whether nothing more is to be found out: there is a counterexample, or the cluster is gone."""
    return spread.ended or (working.done() and working.exception() is not None)


def _timed(check: Check, context: Context) -> Evidence:
    started = time.perf_counter()
    found = check.run(context)
    return timed(found, time.perf_counter() - started)


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
