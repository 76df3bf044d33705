"""What every benchmark shares: timing, the result of one benchmark, the name of the machine."""

import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Result:
    """One line of the table: two sides that agree (or not), and the ratio that was measured."""

    name: str
    residual: float  # distance of the two sides
    tolerance: float  # what rounding allows
    ratio: float
    unit: str  # what the ratio is a ratio of
    bar: float | None = None  # None: for information
    at_most: bool = False  # the bar is an upper one
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def agrees(self) -> bool:
        """Whether both sides computed the same thing; NaN does not."""
        return self.residual <= self.tolerance

    @property
    def met(self) -> bool:
        """Whether the bar was met; without a bar nothing can be missed."""
        if self.bar is None:
            return True
        return self.ratio <= self.bar if self.at_most else self.ratio >= self.bar


def best_times(sides: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Shortest time of each side in seconds.

    What disturbs a run only ever makes it longer, so the shortest of many is taken, and the sides take turns, so that
    a disturbance of the machine hits them alike. Short ones are repeated for a tenth of a second in each turn.
    """
    shortest = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for name, function in sides.items():
            until = time.perf_counter() + 0.1
            while True:
                start = time.perf_counter()
                kept = function()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                end = time.perf_counter()
                shortest[name] = min(shortest[name], end - start)
                del kept
                if end >= until:
                    break
    return shortest


def machine_name() -> str:
    """Model and number of cores of the processor, fit for a file name."""
    model = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(), re.MULTILINE)
        model = found.group(1) if found else model
    short = re.sub(r"\((?:R|TM|r|tm)\)|\bCPU\b|\bProcessor\b|@.*|\b\d+-Core\b", " ", model)
    slug = re.sub(r"[^a-z0-9]+", "-", short.lower()).strip("-")[:40].strip("-")
    return f"{slug or 'unknown'}-{torch.get_num_threads()}-cores"


def document_of(machine: str, results: list[Result]) -> dict[str, object]:
    """Lay out the results as one JSON document."""
    return {
        "schema": 1,
        "machine": machine,
        "environment": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        },
        "benchmarks": [
            {
                "name": result.name,
                "agrees": result.agrees,
                "residual": result.residual,
                "tolerance": result.tolerance,
                "ratio": result.ratio,
                "unit": result.unit,
                "bar": result.bar,
                "at_most": result.at_most,
                "met": result.met,
                "detail": result.detail,
            }
            for result in results
        ],
    }
