"""HTML of results in notebooks: escaped text and tables, long texts cut."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LIMIT = 400  # characters of one text


def escaped(value: object) -> str:
    """A value as escaped text: numbers to three digits, nothing for None."""
    text = "" if value is None else f"{value:.2e}" if isinstance(value, float) else str(value)
    return escape(text if len(text) <= LIMIT else f"{text[:LIMIT]} ...")


def table(rows: Iterable[Sequence[object]], titles: Sequence[str] = ()) -> str:
    head = "<tr>" + "".join(f"<th>{escape(title)}</th>" for title in titles) + "</tr>" if titles else ""
    body = "".join("<tr>" + "".join(f"<td>{escaped(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table>{head}{body}</table>"


def instance(value: object) -> str:
    """A block with an instance, laid out where it has JSON; nothing for None."""
    if value is None:
        return ""
    from verify.engine import readable

    return f"<pre>{escaped(chr(10).join(readable.lines(value)))}</pre>"
