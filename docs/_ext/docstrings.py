r"""Docstrings are plain text that terminals show: nothing in them is markup but code in double backticks and links.

So what reStructuredText would take for markup (``W_`` for a link, ``|x|`` for a substitution, ``*`` for emphasis) is
escaped before it is read, and what a page of the mathematics says is checked by a function is linked from there.
"""

import re
from typing import Any

from generated import explained_in
from sphinx.application import Sphinx

CODE = re.compile(r"(``.+?``|`[^`]+`)")
UNDERLINED = re.compile(r"(?<=\w)_(?![\w{])")


def escaped(line: str) -> str:
    r"""A line of a docstring with nothing left that is markup by accident.

    Examples
    --------
    >>> print(escaped("|W_l| and ``|r_|`` r_, a * b"))
    \|W_l\| and ``|r_|`` r\_, a \* b
    """
    parts = CODE.split(line)
    for i in range(0, len(parts), 2):
        text = UNDERLINED.sub(r"\\_", parts[i])
        parts[i] = re.sub(r"\|", r"\\|", re.sub(r"(?<=[^*\s])\*|\*(?=\s)", r"\\*", text))
    return "".join(parts)


def process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Escape a docstring in place, examples apart, and link the pages that explain what it documents."""
    example = False
    for i, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            lines[i] = escaped(line)
    pages = explained_in(app.srcdir).get(name, ())
    if pages:
        links = ", ".join(f":doc:`/{page}`" for page in pages)
        lines += ["", f"Explained in {links}.", ""]


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before napoleon reads the sections."""
    app.connect("autodoc-process-docstring", process, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
