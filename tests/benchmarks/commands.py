"""What a user waits for: commands in a process of their own, from prompt to prompt, against the bars of the project.

A run counts as correct if every statement holds (or every mutant is refuted). The page, its figures and the PDF
of a report are the difference of two runs, with a report and without; the shortest of a few runs counts, taking turns.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import Result

ROUNDS = 2


def seconds(*arguments: str, cwd: Path) -> tuple[float, subprocess.CompletedProcess[str]]:
    """How long a Python process takes, and what it left."""
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)
    return time.perf_counter() - start, done


def result(name: str, taken: float, bar: float | None, wrong: int = 0) -> Result:
    """A time against its bar; `wrong` counts what did not come out as it must."""
    return Result(name, float(wrong), 0.0, taken, "seconds", bar, at_most=True)


def starts(folder: Path) -> list[Result]:
    """Commands that should answer at once."""
    found = []
    for name, arguments, bar in (
        ("python -m verify --help", ("-m", "verify", "--help"), 0.5),
        ("import theory", ("-c", "import theory"), 0.8),
    ):
        runs = [seconds(*arguments, cwd=folder) for _ in range(5)]
        found.append(result(name, min(taken for taken, _ in runs), bar, sum(done.returncode != 0 for _, done in runs)))
    return found


def verdicts(text: str) -> int:
    """How many statements of a JSON document do not hold; a document without any counts as one."""
    statements = json.loads(text)["statements"] if text else []
    return sum(entry["verdict"] != "holds" for entry in statements) if statements else 1


def verifying(folder: Path) -> list[Result]:
    """One statement, all of them, and all of them with a report."""
    taken, done = seconds("-m", "verify.theorem1", "--json", "-", cwd=folder)
    found = [result("python -m verify.theorem1", taken, 15.0, verdicts(done.stdout))]
    bare, full, wrong = float("inf"), float("inf"), 0
    for number in range(ROUNDS):
        report = folder / f"report{number}"
        for options in ((), ("--report", str(report))):
            taken, done = seconds("-m", "verify", "--json", "-", *options, cwd=folder)
            wrong += verdicts(done.stdout)
            bare, full = (bare, min(full, taken)) if options else (min(bare, taken), full)
    size = sum(path.stat().st_size for path in report.rglob("*") if path.is_file())
    return [
        *found,
        result("python -m verify", bare, 60.0, wrong),
        result("its report, beyond the run", full - bare, 10.0, wrong),
        Result("its report, all files", float(wrong), 0.0, size / 1e6, "MB", 5.0, at_most=True),
    ]


def refuting(folder: Path) -> list[Result]:
    """Every mutant refuted and shrunk."""
    taken, done = seconds("-m", "verify", "--variants", "--json", "-", cwd=folder)
    variants = json.loads(done.stdout)["variants"] if done.stdout else []
    wrong = sum(len(variant["refuted_by"]) == 0 for variant in variants) + max(0, 60 - len(variants))
    return [result(f"python -m verify --variants ({len(variants)})", taken, 300.0, wrong)]


def run() -> list[Result]:
    """One result for each command."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*starts(folder), *verifying(folder), *refuting(folder)]
