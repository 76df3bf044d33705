"""Tree files, in the format that the suffix of the name chooses.

A format is a pair of pure functions in `_FORMATS`, tree to text and text to tree; limits, messages, reading and writing
of the bytes are shared.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hltm.base.atomic import path_with_suffix, reason, write
from hltm.base.checks import count, show
from hltm.base.errors import InputError
from hltm.bif import from_bif, to_bif
from hltm.graphml import from_graphml, to_graphml
from hltm.nodelink import tree_from_json, tree_to_json
from hltm.tree import HLTM

FILE_LIMIT = 64 * 2**20  # bytes of a tree file


def save(tree: HLTM, path: str | os.PathLike[str]) -> None:
    """Write a tree to a file; the suffix chooses the format (``.json``: node-link form, ``.graphml``, ``.bif``).

    The file appears complete or not at all: it is written under a temporary name beside its place and
    renamed.

    Parameters
    ----------
    tree : HLTM
        The tree. Floats keep all their digits.
    path : path
        An existing file is replaced.

    Raises
    ------
    InputError
        Another suffix, or a place that cannot be written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from hltm.build import star_tree
    >>> tree = star_tree(3, polarity=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(tree, pathlib.Path(folder) / "tree.json")
    ...     load(pathlib.Path(folder) / "tree.json") == tree
    True
    """
    if not isinstance(tree, HLTM):
        raise InputError(f"tree of type {type(tree).__name__}: must be an HLTM")
    target = check_suffix(path)
    to_text, _ = _FORMATS[target.suffix.lower()]
    try:
        content = to_text(tree).encode()
    except InputError:
        raise
    except ValueError as error:  # Python refuses to write integers of more than 4,300 digits
        raise InputError(f"path={show(str(target))}: cannot be written: {error}") from None
    write(target, content)


def check_suffix(path: str | os.PathLike[str]) -> Path:
    """Return the path of a tree file; refuse a suffix of no tree format, before any work is done."""
    return path_with_suffix(path, _FORMATS)


def load(path: str | os.PathLike[str]) -> HLTM:
    """Read a tree from a file; the suffix chooses the format (``.json``: node-link form, ``.graphml``, ``.bif``).

    Parameters
    ----------
    path : path
        A file of at most 64 MiB, UTF-8.

    Returns
    -------
    HLTM

    Raises
    ------
    InputError
        Another suffix, a file that cannot be read or is too large, malformed content, or no valid tree.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from hltm.build import star_tree
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(star_tree(3, polarity=0.1), pathlib.Path(folder) / "tree.bif")
    ...     load(pathlib.Path(folder) / "tree.bif").depth
    1
    """
    source = check_suffix(path)
    _, from_text = _FORMATS[source.suffix.lower()]
    try:
        if source.exists() and not source.is_file():
            raise InputError(f"path={show(str(source))}: must be a file")
        with source.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
        if len(content) > FILE_LIMIT:
            raise InputError(f"path={show(str(source))}: must have at most {count(FILE_LIMIT)} bytes (64 MiB)")
        return from_text(content.decode("utf-8-sig"))
    except InputError as error:
        raise InputError(f"{source}: {error}" if not str(error).startswith("path=") else str(error)) from None
    except UnicodeDecodeError:
        raise InputError(f"path={show(str(source))}: must be UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise InputError(f"path={show(str(source))}: cannot be read: {reason(error)}") from None


def _json_text(tree: HLTM) -> str:
    """Return the JSON of a tree with one node or edge a line, so that files are easy to compare."""
    data = tree_to_json(tree)
    lists = [
        f'  "{key}": [\n    ' + ",\n    ".join(map(json.dumps, data.pop(key))) + "\n  ]" for key in ("nodes", "edges")
    ]
    heads = [f'  "{key}": {json.dumps(value)}' for key, value in data.items()]
    return "{\n" + ",\n".join(heads + lists) + "\n}\n"


def _json_tree(text: str) -> HLTM:
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except RecursionError:
        raise InputError("not a tree: the JSON is nested too deeply") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not valid JSON: {error}") from None
    return tree_from_json(data)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; refuse a repeated key, which would silently replace the first."""
    result = dict(pairs)
    if len(result) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise InputError(f"key {show(twice)}: must not be given twice in one JSON object")
    return result


_Format = tuple[Callable[[HLTM], str], Callable[[str], HLTM]]
_FORMATS: dict[str, _Format] = {
    ".json": (_json_text, _json_tree),
    ".graphml": (to_graphml, from_graphml),
    ".bif": (to_bif, from_bif),
}
