"""Task leases held by drivers, and their outcomes: done, failed, split, released.

A configuration that runs belongs to a driver. It is free again when its driver has released it, holds its lock no more,
or has not renewed its heartbeat for `EXPIRY` seconds.
"""

import hashlib
import json
import os
import socket
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from hltm.base.errors import InputError
from numeric.studies.sweep.expansion import around_seed
from numeric.studies.sweep.store import Store
from numeric.studies.sweep.task import Answer

_PARTS = ("tree", "network", "train")
EXPIRY = 120.0  # seconds without a new heartbeat after which a driver counts as gone


@dataclass(frozen=True)
class Member:
    """One configuration of a task."""

    row: int
    key: bytes
    seed: int
    tree: dict[str, Any]
    network: dict[str, Any]
    train: dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Configurations that are computed together."""

    number: int
    lost: int
    members: tuple[Member, ...]
    files: dict[str, Any]

    @property
    def name(self) -> str:
        """Name of the folder of its checkpoint: of its members and their order."""
        return hashlib.sha256(b"".join(member.key for member in self.members)).hexdigest()[:32]


class Leases:
    """The leases of one driver; a context manager."""

    def __init__(self, store: Store, folder: Path, expiry: float = EXPIRY) -> None:
        self.store, self.folder, self.expiry = store, folder, expiry
        self.name = f"{socket.gethostname()} process {os.getpid()}"
        self._seen: dict[int, tuple[float, float]] = {}  # heartbeats of other drivers, and since when they are the same

    def __enter__(self) -> "Leases":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self.store.writing() as db:
                inserted = db.execute("INSERT INTO drivers (name, heartbeat) VALUES (?, ?)", (self.name, time.time()))
                self.number = int(inserted.lastrowid or 0)
                # Before the row can be seen: a driver without its lock would count as dead.
                self._lock = FileLock(self._lock_path(self.number))
                self._lock.acquire(timeout=0)
        except Timeout:
            rule = "the driver of a store that was here before, and was removed, still runs; it must end first"
            raise InputError(f"store {self.store.path}: {rule}") from None
        except OSError as error:
            rule = "must be one that can be made and written"
            raise InputError(f"folder {self.folder}: {error.strerror or error}: {rule}") from None
        return self

    def __exit__(self, *_: object) -> None:
        try:
            with self.store.writing() as db:
                self._free(db, [self.number])
        finally:
            self._lock.release()
            self._lock_path(self.number).unlink(missing_ok=True)

    def _lock_path(self, number: int) -> Path:
        return self.folder / f"driver-{number}.lock"

    def beat(self) -> list[str]:
        """Renew the heartbeat and free the tasks of dead drivers; gives their names."""
        now, gone = time.monotonic(), dict[int, str]()
        with self.store.writing() as db:
            # This driver may have been removed while it was stopped.
            known = "INSERT INTO drivers VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET heartbeat = excluded.heartbeat"
            db.execute(known, (self.number, self.name, time.time()))
            query = "SELECT id, name, heartbeat FROM drivers WHERE id <> ?"
            for number, name, heartbeat in db.execute(query, (self.number,)).fetchall():
                # By the clock of this process: the machine's may be set.
                if self._seen.get(number, (None, 0.0))[0] != heartbeat:
                    self._seen[number] = heartbeat, now
                if now - self._seen[number][1] > self.expiry or self._dead(number):
                    gone[number] = str(name)
            self._free(db, list(gone))
        return list(gone.values())

    def _dead(self, number: int) -> bool:
        """Whether the lock of a driver is free."""
        try:
            with FileLock(self._lock_path(number)).acquire(timeout=0):
                pass
        except OSError:  # locked, or owned by another user: then only its heartbeat decides
            return False
        self._lock_path(number).unlink(missing_ok=True)
        return True

    @staticmethod
    def _free(db: sqlite3.Connection, gone: list[int]) -> None:
        """Remove drivers, and free the tasks of all that are not registered.

        A driver that was taken for dead, came back and died before its next heartbeat may own some too.
        """
        db.executemany("DELETE FROM drivers WHERE id = ?", [(number,) for number in gone])
        # The number of the task stays: the same members come together again, and find their checkpoint.
        db.execute(
            "UPDATE configurations SET status = 'pending', owner = NULL"
            " WHERE owner IS NOT NULL AND owner NOT IN (SELECT id FROM drivers)"
        )

    def claim(self, most: Callable[[Member, dict[str, Any]], int], lanes: int) -> Task | None:
        """Take a task that was released, or make one of configurations that can be stacked."""
        if next(self.store.read("SELECT 1 FROM configurations WHERE status = 'pending' LIMIT 1"), None) is None:
            return None
        with self.store.writing() as db:
            query = "SELECT task FROM configurations INDEXED BY begun WHERE status = 'pending' AND task IS NOT NULL"
            begun = db.execute(f"{query} LIMIT 1").fetchone()
            number = int(begun[0]) if begun else self._new_task(db, most, lanes)
            if number == 0:
                return None
            change = "UPDATE configurations SET status = 'running', owner = ? WHERE task = ? AND status = 'pending'"
            db.execute(change, (self.number, number))
            return _task(db, number)

    @staticmethod
    def _new_task(db: sqlite3.Connection, most: Callable[[Member, dict[str, Any]], int], lanes: int) -> int:
        first = db.execute("SELECT id, stack FROM configurations WHERE status = 'pending' LIMIT 1").fetchone()
        if first is None:
            return 0
        (member,) = _members(db, "c.id = ?", first[0])
        limit = max(1, most(member, _files(db, [member])))
        query = "SELECT id FROM configurations WHERE status = 'pending' AND stack = ? LIMIT ?"
        rows = [row for (row,) in db.execute(query, (first[1], limit * lanes))]
        return _insert_task(db, rows[: min(limit, -(-len(rows) // lanes))])

    def finish(self, task: Task, answer: Answer) -> bool:
        """Write the results of all members; False, and nothing is written, if another driver has taken the task."""
        rows = [(each.row, task.number, text) for each, text in zip(task.members, answer.results, strict=True)]
        with self.store.writing() as db:
            change = "UPDATE configurations SET status = 'done', owner = NULL, reason = NULL"
            if not self._ours(db, task, change):
                return False
            db.executemany("INSERT INTO results VALUES (?, ?, ?)", rows)
            change = "UPDATE tasks SET seconds = ?, device = ?, code = ?, finished = ? WHERE id = ?"
            db.execute(change, (answer.seconds, answer.device, answer.code, time.time(), task.number))
        return True

    def fail(self, task: Task, reason: str) -> bool:
        """Write that all members failed, with the reason."""
        with self.store.writing() as db:
            change = "UPDATE configurations SET status = 'failed', owner = NULL, reason = ?"
            return self._ours(db, task, change, reason)

    def retry(self, task: Task) -> bool:
        """Make a task pending again, and count its lost worker."""
        with self.store.writing() as db:
            if not self._ours(db, task, "UPDATE configurations SET status = 'pending', owner = NULL"):
                return False
            db.execute("UPDATE tasks SET lost = ? WHERE id = ?", (task.lost + 1, task.number))
            return True

    def split(self, task: Task) -> bool:
        """Make a task pending again in two halves."""
        with self.store.writing() as db:
            if not self._ours(db, task, "UPDATE configurations SET status = 'pending', owner = NULL"):
                return False
            rows = [member.row for member in task.members]
            _insert_task(db, rows[: len(rows) // 2])
            _insert_task(db, rows[len(rows) // 2 :])
            db.execute("DELETE FROM tasks WHERE id = ?", (task.number,))
            return True

    def _ours(self, db: sqlite3.Connection, task: Task, change: str, *values: Any) -> bool:
        """Change all members if this driver still owns them."""
        mine = "task = ? AND owner = ? AND status = 'running'"
        changed = db.execute(f"{change} WHERE {mine}", (*values, task.number, self.number)).rowcount
        if changed not in (0, len(task.members)):
            raise InputError(f"store {self.store.path}: task {task.number}: must have the members that it began with")
        return changed > 0


def _insert_task(db: sqlite3.Connection, rows: list[int]) -> int:
    number = int(db.execute("INSERT INTO tasks (members) VALUES (?)", (len(rows),)).lastrowid or 0)
    db.executemany("UPDATE configurations SET task = ? WHERE id = ?", [(number, row) for row in rows])
    return number


def _members(db: sqlite3.Connection, where: str, value: int) -> tuple[Member, ...]:
    # A missing part is empty text, so that its configuration is not missing too.
    names = "c.id, c.key, c.seed, ifnull(t.json, ''), ifnull(n.json, ''), ifnull(r.json, '')"
    joined = "".join(f" LEFT JOIN parts {a} ON {a}.id = c.{kind}" for a, kind in zip("tnr", _PARTS, strict=True))
    query = f"SELECT {names} FROM configurations c{joined} WHERE {where} ORDER BY c.id"  # noqa: S608
    result = []
    for row, key, seed, *parts in db.execute(query, (value,)):
        head, tail = around_seed(*parts)
        _check_digest(f"configuration {row}", f"{head}{seed}{tail}", key)
        result.append(Member(row, key, seed, *map(json.loads, parts)))
    return tuple(result)


def _check_digest(name: str, text: str, digest: bytes) -> None:
    """Refuse text that its key is not of: the result would be stored under the key of something else."""
    if hashlib.sha256(text.encode()).digest() != digest:
        rule = "its key is of something else; the store is damaged, or was made by another version"
        raise InputError(f"{name} of the store: {rule}")


def _task(db: sqlite3.Connection, number: int) -> Task:
    members = _members(db, "c.task = ?", number)
    (lost,) = db.execute("SELECT lost FROM tasks WHERE id = ?", (number,)).fetchone()
    return Task(number, lost, members, _files(db, members))


def _files(db: sqlite3.Connection, members: Sequence[Member]) -> dict[str, Any]:
    result = {}
    for digest in {member.tree["sha256"] for member in members if "sha256" in member.tree}:
        (text,) = db.execute("SELECT json FROM files WHERE sha256 = ?", (digest,)).fetchone() or ("",)
        _check_digest(f"tree {digest[:12]}", text, bytes.fromhex(digest))
        result[digest] = json.loads(text)
    return result
