"""Run the benchmarks: ``python tests/benchmarks/run.py [--json FILE] [--only NAME]``.

Each one first checks that both sides compute the same thing, then measures a ratio on this machine, in this
run. Exit code 1 where two sides disagree or a bar is missed.
"""

import argparse
import importlib
import json
import sys
from pathlib import Path
from typing import Any

from measure import Result, document_of, machine_name
from rich.table import Table

from hltm.base.command import console
from hltm.base.progress import shown

# The memory of the matrix-free problem is measured first, in a process of its own, while this one is small.
NAMES = (
    "matrix_free",
    "dense_operator",
    "tower_connections",
    "updates",
    "trees",
    "training",
    "images",
    "sweep",
    "commands",
    "kernel",
)


def table_of(results: list[Result]) -> Table:
    """Lay out the results as a table."""
    table = Table(title=f"benchmarks on {machine_name()}")
    for column in ("benchmark", "sides differ by", "at most", "ratio", "", "bar", "verdict"):
        table.add_column(column, justify="left" if column in ("benchmark", "", "verdict") else "right")
    for result in results:
        bar = "" if result.bar is None else f"{'<=' if result.at_most else '>='} {result.bar:g}"
        verdict = "information" if result.bar is None else "met" if result.met else "MISSED"
        table.add_row(
            result.name,
            f"{result.residual:.1e}",
            f"{result.tolerance:.1e}",
            f"{result.ratio:.2f}",
            result.unit,
            bar,
            verdict if result.agrees else "DISAGREES",
        )
    return table


def merged(before: list[dict[str, Any]], now: Any) -> list[dict[str, Any]]:
    """Rows of earlier runs, those that were measured again in their places."""
    rows = {row["name"]: row for row in before}
    rows.update({row["name"]: row for row in now})
    return list(rows.values())


def main(arguments: list[str]) -> int:
    """Run what is asked for, print the table, write the document."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    default = Path(__file__).parent / "results" / f"{machine_name()}.json"
    parser.add_argument("--json", type=Path, default=default, help="where the results go (default: %(default)s)")
    parser.add_argument("--only", choices=NAMES, help="one benchmark instead of all")
    chosen = parser.parse_args(arguments)
    names = [chosen.only] if chosen.only else NAMES
    results: list[Result] = []
    with shown() as progress:
        progress.start(len(names))
        for name in names:
            progress.step(name)
            results += importlib.import_module(name).run()
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    document = document_of(machine_name(), results)
    if chosen.only and chosen.json.exists():  # what else was measured stays
        document["benchmarks"] = merged(json.loads(chosen.json.read_text())["benchmarks"], document["benchmarks"])
    chosen.json.write_text(json.dumps(document, indent=1) + "\n")
    console(width=None if sys.stdout.isatty() else 150).print(table_of(results))
    return 0 if all(result.agrees and result.met for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
