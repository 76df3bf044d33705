"""Sweeps: the cost model and what it predicts, overhead of the store, and what stacking saves.

Sizes of tree and network, the batch, NT-Xent and Adam are in the fit; tasks that it has not seen are predicted. Times
are CPU times of one core, the least of several runs, so that what else the machine does counts little.
"""

import ctypes
import json
import sqlite3
import subprocess
import sys
import tempfile
import time
import timeit
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from measure import Result
from scipy.optimize import nnls

from numeric.studies.sweep.driver import (
    Coefficients,
    Sizes,
    far_pairs,
    memory,
    numbers_measured,
    pair_bytes,
    seconds,
    sizes,
    words_in_memory,
)
from numeric.studies.sweep.expansion import expand
from numeric.studies.sweep.grid import make_grid
from numeric.studies.sweep.task import Worker, run_stack


@dataclass(frozen=True)
class Shape:
    """A task without its members: depth of the tree, width of the network, and what its training is."""

    depth: int
    width: int
    batch: int = 64
    loss: str = "infonce"
    optimizer: str = "sgd"


FITTED = (
    *(Shape(*each) for each in ((2, 4), (2, 24), (3, 8), (3, 32), (4, 4), (4, 20), (5, 10), (5, 24), (6, 5), (6, 16))),
    *(Shape(*each) for each in ((7, 8), (8, 4), (3, 12, 16), (4, 8, 256))),
    *(Shape(*each, loss="ntxent") for each in ((2, 8, 128), (3, 16), (5, 8))),
    *(Shape(*each, optimizer="adam") for each in ((2, 8), (3, 24), (5, 12))),
)
HELD_OUT = (
    Shape(4, 10), Shape(6, 10), Shape(4, 10, 128), Shape(4, 10, loss="ntxent"), Shape(4, 10, optimizer="adam"),
)  # fmt: skip
MEMBERS = (8, 32)
REPEATS = 4
TASK_SECONDS = 0.5  # about, so that it is told from the noise


@dataclass(frozen=True)
class Run:
    """One task: its sizes, its members, and what it took."""

    size: Sizes
    members: int
    seconds: float
    training: float  # bytes
    measuring: float
    shape: Shape

    @property
    def bytes(self) -> float:
        """At most."""
        return max(self.training, self.measuring)


def members_of(shape: Shape, number: int, steps: int) -> list[dict[str, Any]]:
    """Members of a task, as a worker gets them."""
    train = {"loss": shape.loss, "optimizer": shape.optimizer, "batch": shape.batch}
    tables = {
        "tree": {"depth": shape.depth, "polarity": 0.9}, "network": {"width": shape.width},
        "train": {**train, "steps": steps, "records": 2, "samples": 1000}, "seeds": number,
    }  # fmt: skip
    found = expand(make_grid(tables))
    parts = [json.loads(each[0].text) for each in (found.trees, found.networks, found.trains)]
    return [
        {"key": key.hex(), "seed": seed, "tree": parts[0], "network": parts[1], "train": parts[2]}
        for _, _, _, seed, key in found.rows()
    ]


def size_of(members: list[dict[str, Any]]) -> Sizes:
    """Sizes of the members of a task."""
    first = members[0]
    return sizes(first["tree"], first["network"], first["train"], {})


def one_run(shape: Shape, number: int) -> Run:
    """Measure one task in this process, which has measured nothing before."""
    Worker().prepare()
    size, many = size_of(members_of(shape, 1, 10**6)), 10**6
    steps = max(40, int(TASK_SECONDS * many / seconds(size, number)))
    members = members_of(shape, number, steps)
    size = size_of(members)
    # Torch loads some of itself when it is used first.
    run_stack(members_of(replace(shape, depth=1, width=1, batch=2), 1, 2), {}, "cpu", None)
    before = resident("VmRSS")
    only = {"training": {"samples": 0}, "measuring": {"steps": 2, "batch": 2}}
    peaks = dict.fromkeys(only, float("inf"))
    for name, more in 2 * list(only.items()):
        ctypes.CDLL(None).malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
        run_stack([{**each, "train": {**each["train"], **more}} for each in members], {}, "cpu", None)
        peaks[name] = min(peaks[name], resident("VmHWM") - before)
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        run_stack(members, {}, "cpu", None)
        taken.append(time.process_time() - start)
    return Run(size, number, min(taken), peaks["training"], peaks["measuring"], shape)


def resident(name: str) -> float:
    """Bytes of this process in memory, now or at most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return 1024.0 * int(line.split()[1])
    raise RuntimeError(f"{name} is not in /proc/self/status")


def measured(shapes: tuple[Shape, ...]) -> list[Run]:
    """Tasks of several sizes, each in a process of its own."""
    found = []
    for shape in shapes:
        for number in MEMBERS:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                found.append(pool.submit(one_run, shape, number).result())
            sys.stderr.write(f"{shape} {number} {found[-1].seconds:.3f} s {found[-1].bytes / 1e6:.1f} MB\n")
    return found


def fit(runs: list[Run]) -> Coefficients:
    """Coefficients that are not negative, with the least sum of squares of relative errors."""
    rows = []
    for run in runs:
        size, e = run.size, run.members
        n = size.steps + size.records
        measuring = 2.0 * e * size.measured * size.neurons
        rows.append([1.0, e * size.nodes, measuring, n, n * size.blocks, n * e * size.words, n * e * size.numbers,
                     n * e * size.products, n * e * size.pairs, n * e * far_pairs(size, e),
                     n * size.blocks * size.adaptive, n * e * size.parameters * size.adaptive])  # fmt: skip
    taken = np.array([run.seconds for run in runs])
    found = solve(np.array(rows), taken)
    # One constant for both kinds of peak: rows of the two are put below each other.
    plain = [run for run in runs if not run.size.pairs]
    memory_rows = [
        [1.0, words_in_memory(run.size, run.members), run.members * run.size.state_bytes, 0.0] for run in plain
    ]
    memory_rows += [[1.0, 0.0, 0.0, numbers_measured(run.size, run.members)] for run in plain]
    bytes_taken = np.array([*(run.training for run in plain), *(run.measuring for run in plain)])
    held = solve(np.array(memory_rows), bytes_taken)
    rates = Coefficients(
        task=found[0], per_node=found[1], per_measured_number=found[2], fixed=found[3], per_block=found[4],
        per_word=found[5], per_number=found[6], per_product=found[7], per_pair=found[8], per_far_pair=found[9],
        per_adaptive_block=found[10], per_adaptive_parameter=found[11], bytes_task=held[0], bytes_per_word=held[1],
        bytes_per_number=held[2], bytes_per_measured_number=held[3], bytes_per_pair=0.0,
    )  # fmt: skip
    # How much of its memory torch's allocator gives back between the passes of NT-Xent varies fourfold: the most.
    pairs = [(run.bytes - memory(run.size, run.members, rates)) / pair_bytes(run.size, run.members)
             for run in runs if run.size.pairs]  # fmt: skip
    return replace(rates, bytes_per_pair=max(0.0, *pairs))


def solve(rows: np.ndarray, values: np.ndarray) -> list[float]:
    """Least relative squares without negative coefficients."""
    scaled = rows / values[:, None]
    size = np.linalg.norm(scaled, axis=0)
    found, _ = nnls(scaled / size, np.ones(len(values)))
    return [float(one) for one in found / size]


def cost_model() -> tuple[Coefficients, list[Result]]:
    """Fit, and the errors of the prediction at sizes that the fit has not seen."""
    rates = fit(measured(FITTED))
    runs = measured(HELD_OUT)
    detail: dict[str, Any] = {"coefficients": asdict(rates)}
    results = []
    for name, predict in (("seconds", seconds), ("bytes", memory)):
        # The bytes of NT-Xent are the most that was seen, no mean.
        told = [run for run in runs if name == "seconds" or not run.size.pairs]
        pairs = [(getattr(run, name), predict(run.size, run.members, rates)) for run in told]
        worst = max(abs(guess / real - 1) for real, guess in pairs)
        detail[name] = [
            {**asdict(run.shape), "members": run.members, "measured": real, "predicted": guess}
            for run, (real, guess) in zip(told, pairs, strict=True)
        ]
        label = f"sweep: {name} of {len(pairs)} held-out tasks, worst relative error"
        results.append(Result(label, 0.0, 0.0, worst, "of the measured", 0.25, True, dict(detail)))
    return rates, results


# What becomes of a store between two questions for its status: each computed alone, and each failed.
STATES = {
    "pending": "",
    "done": "UPDATE configurations SET status = 'done'; INSERT INTO tasks (members, seconds, device, code, finished) "
    "SELECT 1, 1.0 / id, 'cpu', '0.1.0+0123456789ab', 1.0 FROM configurations",
    "failed": "UPDATE configurations SET status = 'failed', reason = 'raised: ValueError: seed ' || seed",
}


def store_results() -> list[Result]:
    """A grid of 10^6 configurations: expanded into a store, and asked for its status."""
    code = (
        "import re, sys, time; from pathlib import Path\n"
        "from numeric.studies.sweep.grid import make_grid; from numeric.studies.sweep.store import Store\n"
        "from numeric.studies.sweep.expansion import expand\n"
        "tree = {'depth': [2, 3, 4, 5], 'polarity': [0.7, 0.8, 0.9, 0.95]}\n"
        "tables = {'tree': tree, 'network': {'width': [2, 5, 10, 20, 40]}, 'train': {'loss': ['infonce', 'simple'],\n"
        "    'lr': [0.01, 0.02, 0.05, 0.1, 0.2]}, 'seeds': 1250}\n"
        "with Store(sys.argv[1]) as store: print(store.add(expand(make_grid(tables))))\n"
        # ru_maxrss would count the memory of this process, which the new one had before it began.
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]\n"
        "print(time.process_time(), int(peak) * 1024)"
    )
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "sweep.db")
        number, taken = output_of([sys.executable, "-c", code, place]).split("\n", 1)
        spent, peak = map(float, taken.split())
        asked = {f"sweep: status of 10^6, {state}": status_seconds(place, change) for state, change in STATES.items()}
    agrees = abs(int(number) - 10**6)
    return [
        Result("sweep: 10^6 configurations into a store", agrees, 0, spent, "CPU seconds", 10.0, True),
        Result("sweep: the same, memory", agrees, 0, peak / 1e6, "MB", 500.0, True),
        *(Result(name, agrees, 0, each, "seconds", 1.0, True) for name, each in asked.items()),
    ]


def status_seconds(place: str, change: str) -> float:
    """Wall time of `status` after a change, the least of three."""
    sqlite3.connect(place).executescript(change).connection.close()
    return min(timeit.repeat(lambda: output_of([*COMMAND, "status", "--store", place]), number=1, repeat=3))


COMMAND = (sys.executable, "-m", "numeric", "sweep")
TRIVIAL = """seeds = 10000
[tree]
kind = "star"
leaves = 2
polarity = 0.5
[network]
width = 2
[train]
steps = 1
batch = 2
records = 1
samples = 0
"""
SMALL = """seeds = {{ from = {first}, to = {last} }}
[tree]
depth = 3
polarity = 0.9
[network]
width = 5
[train]
steps = 300
batch = 64
samples = 500
"""


def output_of(command: list[str]) -> str:
    """What a command prints; it must succeed."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def timed_sweep(folder: str, text: str, workers: int) -> tuple[float, str]:
    """Wall time of a whole command, and what it prints."""
    grid = Path(folder, "sweep.toml")
    grid.write_text(text)
    place = Path(folder, "sweep.db")
    place.unlink(missing_ok=True)
    start = time.perf_counter()
    said = output_of([*COMMAND, str(grid), "--store", str(place), "--workers", str(workers)])
    return time.perf_counter() - start, said


def overhead() -> Result:
    """10,000 configurations that take no time."""
    with tempfile.TemporaryDirectory() as folder:
        taken, said = timed_sweep(folder, TRIVIAL, 2)
    wrong = 0 if "10,000 done, 0 failed" in said else 1
    return Result("sweep: 10,000 trivial configurations", wrong, 0, taken, "seconds", 60.0, True)


def stacking(alone: int = 8) -> Result:
    """64 seeds in one command against as many commands of one seed, of which some are timed."""
    with tempfile.TemporaryDirectory() as folder:
        together, said = timed_sweep(folder, SMALL.format(first=0, last=63), 1)
        ones = [timed_sweep(folder, SMALL.format(first=seed, last=seed), 1) for seed in range(alone)]
    wrong = sum("0 failed" not in each for each in (said, *(text for _, text in ones)))
    ratio = 64 / alone * sum(taken for taken, _ in ones) / together
    return Result("sweep: 64 seeds stacked, against 64 processes", wrong, 0, ratio, "times faster", 8.0)


def run() -> list[Result]:
    """Everything."""
    return [overhead(), stacking(), *store_results(), *cost_model()[1]]
