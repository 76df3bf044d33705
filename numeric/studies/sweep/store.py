"""The store of a sweep: one SQLite file with configurations, their status and their results.

It has a write-ahead log: one writer at a time, and readers never wait. Only drivers open it, on the machine where it
is: workers hand their results to their driver. A configuration is three numbers of parts and a seed; the view ``sweep``
has it written out. Results are JSON.
"""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hltm.base.checks import show
from hltm.base.errors import InputError

if TYPE_CHECKING:
    from numeric.studies.sweep.expansion import Expansion, Part


APPLICATION = 0x636F766F  # "covo"
VERSION = 1
PATIENCE = 60.0  # seconds that a locked database is waited for
ROWS = 50_000  # added in one go
CACHE = 120_000  # KiB: keys come in no order, and the index of a million of them has to fit
USUAL_LEAVES = "state"  # how leaves are read where the part of a network does not say
STATUSES = ("pending", "running", "done", "failed")

_TABLES = """
CREATE TABLE parts (id INTEGER PRIMARY KEY, kind TEXT NOT NULL, json TEXT NOT NULL, shared TEXT NOT NULL,
    UNIQUE (kind, json));
CREATE TABLE files (sha256 TEXT PRIMARY KEY, json TEXT NOT NULL);
CREATE TABLE grids (digest TEXT PRIMARY KEY, configurations INTEGER NOT NULL, added REAL NOT NULL);
CREATE TABLE stacks (id INTEGER PRIMARY KEY, shared TEXT NOT NULL UNIQUE);
CREATE TABLE drivers (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, heartbeat REAL NOT NULL);
CREATE TABLE tasks (id INTEGER PRIMARY KEY, lost INTEGER NOT NULL DEFAULT 0, members INTEGER NOT NULL,
    seconds REAL, device TEXT, code TEXT, finished REAL);
CREATE TABLE configurations (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, tree INTEGER NOT NULL,
    network INTEGER NOT NULL, train INTEGER NOT NULL, seed INTEGER NOT NULL, stack INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'pending' CHECK (status IN ('pending', 'running', 'done', 'failed')),
    owner INTEGER, task INTEGER, reason TEXT);
CREATE TABLE results (configuration INTEGER PRIMARY KEY, task INTEGER NOT NULL, metrics TEXT NOT NULL);
CREATE INDEX by_status ON configurations (status, stack);
CREATE INDEX by_task ON configurations (task) WHERE task IS NOT NULL;
CREATE INDEX begun ON configurations (task) WHERE status = 'pending' AND task IS NOT NULL;
CREATE INDEX by_owner ON configurations (owner) WHERE owner IS NOT NULL;
CREATE INDEX by_reason ON configurations (reason) WHERE reason IS NOT NULL;
CREATE INDEX by_origin ON tasks (device, code, members, seconds) WHERE finished IS NOT NULL;
CREATE VIEW sweep AS SELECT lower(hex(c.key)) AS key, c.status, c.reason, c.seed, t.json AS tree, n.json AS network,
    r.json AS train, k.seconds / k.members AS seconds, k.members AS stacked, k.device, k.code, k.finished, s.metrics
    FROM configurations c JOIN parts t ON t.id = c.tree JOIN parts n ON n.id = c.network JOIN parts r ON r.id = c.train
    LEFT JOIN results s ON s.configuration = c.id LEFT JOIN tasks k ON k.id = s.task;
"""


@contextmanager
def sqlite_errors(path: Path) -> Iterator[None]:
    """Convert SQLite's errors (full disk, locked, no database) and damaged text into an `InputError`."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeDecodeError, json.JSONDecodeError) as error:
        words = str(error)
        rule = "must be the store of a sweep"
        if "locked" in words or "busy" in words:
            rule = "another process holds it; nothing is lost, run the same command again"
        elif "full" in words or "I/O" in words or "readonly" in words or "unable to open" in words:
            rule = "must be a file that can be written on a disk that has room; what was finished before is kept"
        raise InputError(f"store {path}: {words}: {rule}") from error


class Store:
    """An open store."""

    def __init__(self, path: str | Path, patience: float = PATIENCE, create: bool = True) -> None:
        self.path, self._patience = Path(path), patience
        if not create and not self.path.is_file():
            raise InputError(f"store {self.path}: must be a file that is there")
        if self.path.is_dir() or not self.path.parent.is_dir():
            raise InputError(f"store={show(str(path))}: must be a file in a folder that exists")
        with sqlite_errors(self.path):
            # Absolute: a file may be called :memory:, which means something else to SQLite.
            self._db = sqlite3.connect(self.path.absolute(), timeout=patience, isolation_level=None)
            try:
                self._prepare(create)
            except BaseException:
                self._db.close()
                raise

    def _prepare(self, create: bool) -> None:
        try:
            empty = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        except sqlite3.OperationalError:
            if create or not self._open_immutable():
                raise
            empty = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        # Read after the tables, with which it is written: another driver may make the store between the two.
        (result,) = self._db.execute("PRAGMA application_id").fetchone()
        if result != APPLICATION and not (empty and create):
            raise InputError(f"store {self.path}: must be the store of a sweep, it is another database")
        if not empty and (version := self._db.execute("PRAGMA user_version").fetchone()[0]) != VERSION:
            raise InputError(f"store {self.path}: version {version}: must be {VERSION}")
        self._db.execute(f"PRAGMA cache_size = -{CACHE}")
        if not create:
            return
        # A process that dies loses nothing; a machine that loses power may lose the last results, never half of one.
        self._write_ahead()
        self._db.execute("PRAGMA synchronous = NORMAL")
        if empty:
            self._make_tables()

    def _open_immutable(self) -> bool:
        """Open a store without the files of its log, which cannot be made in a folder that cannot be written.

        False if a log has content, which would be missing.
        """
        place = self.path.resolve()
        log = place.with_name(place.name + "-wal")
        if log.is_file() and log.stat().st_size:
            return False
        self._db.close()
        self._db = sqlite3.connect(f"{place.as_uri()}?mode=ro&immutable=1", uri=True, isolation_level=None)
        return True

    def _make_tables(self) -> None:
        with self.writing() as db:
            # Two drivers may find the same empty file: the second one waits here for the first.
            if db.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,):
                for statement in _TABLES.split(";\n"):
                    db.execute(statement)
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {VERSION}")

    def _write_ahead(self) -> None:
        """Switch the log on; SQLite itself does not wait for another process that does the same."""
        end = time.monotonic() + self._patience
        while True:
            try:
                self._db.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.05)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction that writes."""
        with sqlite_errors(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def read(self, statement: str, values: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with sqlite_errors(self.path):
            for row in self._db.execute(statement, values):  # noqa: UP028
                yield row  # a cursor that `yield from` closes must not outlive the connection

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, expansion: "Expansion") -> int:
        """Add the new configurations of a grid; gives their number."""
        with self.writing() as db:
            if db.execute("SELECT 1 FROM grids WHERE digest = ?", (expansion.digest,)).fetchone() is not None:
                return 0
            tables = {"tree": expansion.trees, "network": expansion.networks, "train": expansion.trains}
            numbers = [[self._part(db, kind, part) for part in parts] for kind, parts in tables.items()]
            db.executemany("INSERT OR IGNORE INTO files VALUES (?, ?)", expansion.files.items())
            stacks = self._stacks(db, expansion)
            before = db.total_changes
            rows = (
                (key, numbers[0][tree], numbers[1][network], numbers[2][train], seed, stacks[tree, network, train])
                for tree, network, train, seed, key in expansion.rows()
            )
            names = "(key, tree, network, train, seed, stack)"
            command = f"INSERT OR IGNORE INTO configurations {names} VALUES (?, ?, ?, ?, ?, ?)"  # noqa: S608
            while some := list(islice(rows, ROWS)):
                db.executemany(command, some)
            added = db.total_changes - before
            db.execute("INSERT INTO grids VALUES (?, ?, ?)", (expansion.digest, len(expansion), time.time()))
        return added

    @staticmethod
    def _part(db: sqlite3.Connection, kind: str, part: "Part") -> int:
        db.execute("INSERT OR IGNORE INTO parts (kind, json, shared) VALUES (?, ?, ?)", (kind, part.text, part.shared))
        (number,) = db.execute("SELECT id FROM parts WHERE kind = ? AND json = ?", (kind, part.text)).fetchone()
        return int(number)

    @staticmethod
    def _stacks(db: sqlite3.Connection, expansion: "Expansion") -> dict[tuple[int, int, int], int]:
        """Number of the stack of each combination of parts."""
        result: dict[tuple[int, int, int], int] = {}
        known: dict[str, int] = {}
        for (i, tree), (j, network), (k, train) in product(
            enumerate(expansion.trees), enumerate(expansion.networks), enumerate(expansion.trains)
        ):
            text = "\n".join((tree.shared, network.shared, train.shared))
            if text not in known:
                db.execute("INSERT OR IGNORE INTO stacks (shared) VALUES (?)", (text,))
                (known[text],) = db.execute("SELECT id FROM stacks WHERE shared = ?", (text,)).fetchone()
            result[i, j, k] = known[text]
        return result

    def counts(self) -> dict[str, int]:
        """Number of configurations with each status."""
        result = dict(self.read("SELECT status, count(*) FROM configurations GROUP BY status"))
        return {status: result.get(status, 0) for status in STATUSES}

    def retry_failed(self) -> int:
        """Make failed configurations pending again; gives their number."""
        with self.writing() as db:
            change = "UPDATE configurations SET status = 'pending', task = NULL, reason = NULL WHERE status = 'failed'"
            return db.execute(change).rowcount

    def failures(self, most: int = 20) -> list[tuple[str, int]]:
        """Reasons of failure and their numbers, the commonest first."""
        # Only failed configurations have a reason; the condition makes SQLite use the index of reasons.
        query = "SELECT reason, count(*) FROM configurations WHERE reason NOT NULL GROUP BY 1 ORDER BY 2 DESC LIMIT ?"
        return [(str(reason), int(number)) for reason, number in self.read(query, (most,))]
