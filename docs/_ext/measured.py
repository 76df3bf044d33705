"""Tables of what `make bench` measured, from the files that it left in `tests/benchmarks/results/`."""

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent.parent / "tests" / "benchmarks" / "results"


def number(value: float) -> str:
    """Four digits at most, thousands parted.

    Examples
    --------
    >>> number(383021.8), number(0.0123456), number(19.06)
    ('383,022', '0.0123', '19.1')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def row(one: dict[str, Any]) -> str:
    """One benchmark as a line of a Markdown table."""
    bound = "at most" if one.get("at_most") else "at least"
    bar = "" if one["bar"] is None else f"{bound} {number(one['bar'])}"
    verdict = "" if one["bar"] is None else "met" if one["met"] else "**missed**"
    return f"| {one['name']} | {number(one['ratio'])} {one['unit']} | {bar} | {verdict} |"


def measured(argument: str, body: str) -> str:
    """Every benchmark of every machine, a table each; sides that disagree are an error."""
    lines = []
    for path in sorted(RESULTS.glob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        if wrong := [one["name"] for one in document["benchmarks"] if not one["agrees"]]:
            raise ValueError(f"{path.name}: sides that disagree: {', '.join(wrong)}")
        environment = document["environment"]
        told = f"Python {environment['python']}, torch {environment['torch']}, {environment['threads']} threads"
        lines += [f"**{document['machine']}** ({told})", "", "| benchmark | measured | bar | |", "|---|---|---|---|"]
        lines += [*map(row, document["benchmarks"]), ""]
    return "\n".join(lines)
