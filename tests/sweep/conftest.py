"""Small sweeps, run as a user runs them, and what is expected of their store."""

import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from filelock import FileLock

# 32 configurations; a task of 4 takes about a third of a second, many times what a query of the store takes.
GRID = """
seeds = 4
[tree]
depth = 3
polarity = [0.9, { low = 0.7, signs = true }]
[network]
width = [4, 8]
[[train]]
loss = "infonce"
steps = 500
batch = 64
samples = 200
records = 6
[[train]]
loss = "simple"
lr = 0.02
steps = 500
batch = 64
samples = 200
records = 6
"""
STEPS = 500
TOTAL = 32

SOME_DONE = "SELECT 1 FROM configurations WHERE status = 'done' LIMIT 1"
RUNNING = "SELECT 1 FROM configurations WHERE status = 'running' LIMIT 1"
BOTH_BUSY = (
    "SELECT * FROM (SELECT count(DISTINCT task) AS tasks FROM configurations WHERE status = 'running') WHERE tasks = 2"
)


def command(*arguments):
    return [sys.executable, "-m", "numeric", "sweep", *map(str, arguments)]


def sweep(*arguments, check=0, **options):
    """Run the command line to its end."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, env=environment, timeout=400, check=False, **options
    )
    assert done.returncode == check, (done.returncode, done.stdout, done.stderr)
    return done


def begin(*arguments, **options):
    """Run the command line and do not wait for it."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, **options
    )


def ask(store, query):
    """Rows of a query, read beside whoever writes."""
    with sqlite3.connect(f"file:{store}?mode=ro", uri=True, timeout=30) as db:
        found = db.execute(query).fetchall()
    db.close()
    return found


def until(store, query, seconds=120):
    """Wait until a query gives a row."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := ask(store, query):
                return found
        except sqlite3.OperationalError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"{query}: nothing after {seconds} s")


def results(store):
    """Key to metrics."""
    return {
        key: json.loads(metrics) for key, metrics in ask(store, "SELECT key, metrics FROM sweep WHERE metrics NOT NULL")
    }


def ended_once(store, failed=0, total=TOTAL):
    """Every configuration is done with one result, or failed with a reason and none; nobody holds anything."""
    counts = dict(ask(store, "SELECT status, count(*) FROM configurations GROUP BY 1"))
    assert counts == {name: n for name, n in (("done", total - failed), ("failed", failed)) if n}
    assert ask(store, "SELECT count(*) FROM results")[0][0] == total - failed
    assert ask(store, "SELECT sum(members) FROM tasks WHERE finished NOT NULL")[0][0] == total - failed
    assert ask(store, "SELECT count(*) FROM sweep WHERE (metrics IS NULL) <> (status = 'failed')") == [(0,)]
    assert ask(store, "SELECT count(*) FROM sweep WHERE (reason IS NULL) = (status = 'failed')") == [(0,)]
    assert ask(store, "SELECT count(*) FROM configurations WHERE owner NOT NULL") == [(0,)]
    assert ask(store, "PRAGMA integrity_check") == [("ok",)]


def same_numbers(found, wanted, steps=STEPS):
    """Equal up to the rounding of batched products.

    A step adds some hundred roundings to weights and losses of order one, and does not enlarge what earlier ones have
    left: descent at these rates is stable.
    """
    tolerance = 1000 * np.finfo(float).eps * steps
    assert found.keys() <= wanted.keys()
    for key, own in found.items():
        other = wanted[key]
        assert own["steps"] == other["steps"]
        for name in ("loss", "before", "after"):
            gap = np.abs(np.array(own[name]) - np.array(other[name])).max()
            assert gap <= tolerance, (key, name, gap)
        assert (own["dead"], own["diverged"]) == (other["dead"], other["diverged"])


@pytest.fixture(scope="session")
def grid(tmp_path_factory):
    path = tmp_path_factory.mktemp("grid") / "sweep.toml"
    path.write_text(GRID)
    return path


@pytest.fixture(scope="session")
def undisturbed(grid, tmp_path_factory, request):
    """Results of a run that nothing happened to, one for all processes of pytest-xdist."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):
        folder = folder.parent
    with FileLock(folder / "undisturbed.lock"):
        done = folder / "undisturbed.json"
        if not done.exists():
            store = tmp_path_factory.mktemp("undisturbed") / "sweep.db"
            sweep(grid, "--store", store, "--workers", 2)
            ended_once(store)
            done.write_text(json.dumps(results(store)))
        return json.loads(done.read_text())


@pytest.fixture
def store(tmp_path):
    return tmp_path / "sweep.db"


def worker_processes(parent):
    """Processes that run tasks below a driver, those that have loaded torch."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            own = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if own == parent and "libtorch" in (path / "maps").read_text():
                found.append(int(path.name))
        except OSError:
            continue
    return found


@pytest.fixture
def full_disk(tmp_path):
    """A folder for a store, what a command that is to find the disk full is run with, and what then makes room.

    A file system of 600 kB where this process may mount one; elsewhere no file may grow beyond 130 kB.
    """
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        limit = (130_000, 130_000)
        yield place, {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit)}, lambda: None
        return
    try:
        larger = ["mount", "-o", "remount,size=20m", str(place)]
        yield place, {}, lambda: subprocess.run(larger, capture_output=True, check=True)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=True)


def sweep_into_a_full_disk(grid, full_disk, options, undisturbed):
    """One line, exit code 2, what was finished is kept; the same command goes on when there is room."""
    place, more, make_room = full_disk
    if not more:
        (place / "ballast").write_bytes(bytes(220_000))  # some results fit, not all
    store = place / "sweep.db"
    done = sweep(grid, "--store", store, *options, check=2, **more)
    assert done.stderr.count("\n") == 1
    assert "on a disk that has room; what was finished before is kept" in done.stderr
    make_room()
    before = results(store)
    assert len(before) < TOTAL
    same_numbers(before, undisturbed)
    sweep(grid, "--store", store, *options)
    ended_once(store)
    same_numbers(results(store), undisturbed)


def sweep_a_locked_store(grid, store, options, undisturbed):
    """Locked for longer than the patience of its driver: one line, exit code 2, nothing lost."""
    driver = begin(grid, "--store", store, *options, "--lock-wait", 1)
    until(store, SOME_DONE)
    with sqlite3.connect(store, isolation_level=None, timeout=30) as db:
        db.execute("BEGIN IMMEDIATE")
        _, errors = driver.communicate(timeout=120)
        db.execute("ROLLBACK")
    db.close()
    assert driver.returncode == 2
    assert errors.count("\n") == 1
    assert "nothing is lost" in errors
    sweep(grid, "--store", store, *options)
    ended_once(store)
    same_numbers(results(store), undisturbed)


@pytest.fixture(scope="session")
def tools():
    """The functions and queries above: test modules import nothing of each other."""
    names = (ask, begin, ended_once, results, same_numbers, sweep, sweep_a_locked_store, sweep_into_a_full_disk, until,
             worker_processes)  # fmt: skip
    queries = {"some_done": SOME_DONE, "running": RUNNING, "both_busy": BOTH_BUSY}
    return SimpleNamespace(**{each.__name__: each for each in names}, **queries, total=TOTAL)
