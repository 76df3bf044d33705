"""The report's section on images: what an image experiment wrote (`python -m numeric experiment images --out DIR`).

Nothing is computed here and nothing of torch is loaded: the experiment says in its manifest what is to be shown, as
tables of words.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hltm.base.errors import InputError
from verify.engine.saved import read_json

SCHEMA = 1
_RULE = "must be the manifest.json that `python -m numeric experiment images --out DIR` wrote"


def images_section(folder: Path) -> dict[str, Any]:
    """The section of a report, as plain data.

    Parameters
    ----------
    folder : Path
        Where the experiment wrote its results.

    Returns
    -------
    dict
        ``title``, ``command``, ``verdict`` (``"holds"``, ``"refuted"``, or ``"not-run"`` where the theory was not
        looked at), ``tables`` (caption, heads, rows) and ``notes``.

    Raises
    ------
    InputError
        There is no manifest, or it is damaged.
    """
    path = folder / "manifest.json"
    document = read_json(path)
    section = document.get("section") if isinstance(document, dict) else None
    if not isinstance(section, dict) or document.get("schema") != SCHEMA or not _good(section):
        raise InputError(f"file {str(path)!r}: {_RULE}")
    return {name: section[name] for name in ("title", "command", "verdict", "tables", "notes")}


def _words(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _good(section: dict[str, Any]) -> bool:
    """Whether it has all of its parts, each of its kind."""
    tables = section.get("tables")
    return (
        isinstance(section.get("title"), str)
        and isinstance(section.get("command"), str)
        and section.get("verdict") in ("holds", "refuted", "not-run")
        and _words(section.get("notes"))
        and isinstance(tables, list)
        and all(_table(each) for each in tables)
    )


def _table(table: Any) -> bool:
    if not isinstance(table, dict) or not isinstance(table.get("caption"), str) or not _words(table.get("heads")):
        return False
    rows = table.get("rows")
    return isinstance(rows, list) and all(_words(row) and len(row) == len(table["heads"]) for row in rows)
