"""Tree files, in the format that the suffix of the name chooses.

A format is a pair of pure functions in `_FORMATS`, tree to text and text to tree; limits, messages, reading and writing
of the bytes are shared.
"""

import codecs
import gc
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from hltm.base.atomic import path_with_suffix, reason, write
from hltm.base.checks import Node, count, show, unique_keys
from hltm.base.errors import InputError, TreeWarning
from hltm.bif import from_bif, to_bif
from hltm.build import star_tree
from hltm.formats import from_net, from_newick, from_uai, from_xdsl, from_xml, from_xmlbif
from hltm.graphml import from_graphml, to_graphml
from hltm.nodelink import tree_from_form, tree_to_json
from hltm.reading import Reading
from hltm.states import with_state_one
from hltm.tables import SumError
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
        Another suffix, a place that cannot be written, or a tree whose file would have more than 64 MiB, which
        `load` does not read.

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
    if len(content) > FILE_LIMIT:
        raise InputError(
            f"path={show(str(target))}: the tree has {count(len(content))} bytes in this format, "
            f"must have at most {count(FILE_LIMIT)} (64 MiB)"
        )
    write(target, content)


def check_suffix(path: str | os.PathLike[str]) -> Path:
    """Return the path of a tree file to write; refuse a suffix of no tree format, before any work is done."""
    try:
        return path_with_suffix(path, _FORMATS)
    except InputError as error:
        if isinstance(path, (str, os.PathLike)) and (suffix := Path(path).suffix.lower()) in _READ_ONLY:
            tool = f"; {suffix} is read, not written: pyAgrum or pgmpy write hltm.to_pyagrum(tree), hltm.to_pgmpy(tree)"
            raise InputError(f"{error}{tool}") from None
        raise


def check_size(nodes: int, path: str | os.PathLike[str]) -> None:
    """Refuse a tree that is too large for a file even with the shortest numbers, before any work is done."""
    target = check_suffix(path)
    to_text, _ = _FORMATS[target.suffix.lower()]
    two, three = (len(to_text(star_tree(leaves, polarity=1))) for leaves in (2, 3))
    # A node is named twice at least; a name of one digit is counted in the difference.
    digits = sum((nodes - 10**k) for k in range(1, len(str(nodes))) if nodes > 10**k)
    least = two + (nodes - 3) * (three - two) + 2 * digits
    if least > FILE_LIMIT:
        raise InputError(
            f"path={show(str(target))}: {count(nodes)} nodes have at least {count(least)} bytes in this format, "
            f"must have at most {count(FILE_LIMIT)} (64 MiB)"
        )


def load(
    path: str | os.PathLike[str],
    strict: bool = False,
    *,
    root: Node | None = None,
    state_one: Mapping[Node, str] | str | None = None,
    encoding: str = "utf-8",
) -> HLTM:
    """Read a tree from a file; the suffix chooses the format (``.json``: node-link form, ``.graphml``, ``.bif``).

    Read and not written are also the networks of other programs: XMLBIF (``.xml``, ``.xmlbif``, ``.bifxml``), GeNIe's
    ``.xdsl``, Hugin's ``.net`` and ``.uai``.

    A row that its printed digits explain to be rounded is divided by its sum. This, and attributes of other
    programs that are ignored, is said in one line by a `TreeWarning`.

    Parameters
    ----------
    path : path
        A file of at most 64 MiB.
    strict : bool, optional
        Refuse rounded rows: a row of floats sums to one within 1e-12.
    root : str, int or tuple, optional
        The root: of several trees in the file the one of this node is read; another root than that of the file
        is exchanged by Bayes' rule (`with_root`).
    state_one : str or mapping of node to str, optional
        The states that get the number 1 (`with_state_one`); the order of the file by default.
    encoding : str, optional
        The encoding of the text, for instance ``"cp1252"`` or ``"gbk"``.

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
    source = path_with_suffix(path, (*_FORMATS, *_READ_ONLY))
    suffix = source.suffix.lower()
    from_text = _READ_ONLY[suffix] if suffix in _READ_ONLY else _FORMATS[suffix][1]
    try:
        text = _decoded(_content(source), source, encoding)
        with _without_collection():
            tree, lines = _read(text, from_text, strict, root)
        if state_one is not None:
            tree = with_state_one(tree, state_one)
    except InputError as error:
        raise InputError(f"{source}: {error}" if not str(error).startswith("path=") else str(error)) from None
    except (OSError, ValueError) as error:
        raise InputError(f"path={show(str(source))}: cannot be read: {reason(error)}") from None
    for line in lines:
        warnings.warn(f"{source}: {line}", TreeWarning, stacklevel=2)
    return tree


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pause the search for garbage in cycles: a large file is read a quarter faster, and reading makes no cycles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _content(source: Path) -> bytes:
    if source.exists() and not source.is_file():
        raise InputError(f"path={show(str(source))}: must be a file")
    with source.open("rb") as file:
        content = file.read(FILE_LIMIT + 1)
    if len(content) > FILE_LIMIT:
        raise InputError(f"path={show(str(source))}: must have at most {count(FILE_LIMIT)} bytes (64 MiB)")
    return content


def _read(
    text: str, from_text: "Callable[[str, Reading], HLTM]", strict: bool, root: Node | None
) -> tuple[HLTM, list[str]]:
    """Read a text, and once more with the digits of its numbers if a row does not sum to one."""
    reading = Reading(strict, root)
    try:
        return from_text(text, reading), reading.lines()
    except SumError:
        if strict:
            raise
    reading = Reading(strict, root, printed=True, line_of=partial(_line_of, text))
    return from_text(text, reading), reading.lines()


def _line_of(text: str, node: Node) -> int | None:
    """Return the line of the edge that ends in a node, or of the root, in JSON or GraphML; `None` if not found."""
    name = list(node) if isinstance(node, tuple) else node
    keys = '(?:"(?:target|id)"\\s*:\\s*|<edge[^>]{0,300}\\btarget=|<node id=)'
    texts = {json.dumps(name), json.dumps(name, ensure_ascii=False), json.dumps(str(node))}
    found = list(re.finditer(keys + f"(?:{'|'.join(map(re.escape, texts))})(?![0-9.])", text))
    best = next((match for match in found if "target" in match[0]), found[0] if found else None)
    return best and text.count("\n", 0, best.start()) + 1


ENCODINGS = ("gbk", "cp1252")  # that files of other programs have most often


_XML = (".graphml", ".xml", ".xmlbif", ".bifxml", ".xdsl")
_DECLARATION = re.compile(rb"""\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']""")


def _declared(content: bytes) -> str | None:
    """The encoding that XML says it has: by its first bytes, or by its declaration."""
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return "utf-16"
    declared = _DECLARATION.match(content[:400])
    return declared[1].decode() if declared else None


def _decoded(content: bytes, source: Path, encoding: str) -> str:
    """Return the text of a file; an error shows the first bytes that are no UTF-8 as other encodings read them."""
    if encoding == "utf-8" and source.suffix.lower() in _XML:
        encoding = _declared(content) or encoding
    try:
        if codecs.lookup(encoding).name in ("idna", "punycode"):  # quadratic in the length
            raise LookupError
        return content.decode("utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        at = error.start
    except (LookupError, ValueError, TypeError):
        raise InputError(f"encoding={show(encoding)}: must be the name of a text encoding, such as 'gbk'") from None
    line = content.count(b"\n", 0, at) + 1
    start = max(content.rfind(b"\n", 0, at) + 1, at - 40)
    part = content[start:].split(b"\n", 1)[0][: 60 + at - start]
    choices = []
    for name in ENCODINGS if content[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else ("utf-16",):
        with suppress(UnicodeDecodeError):
            content.decode(name)
            choices.append(f"{show(part.decode(name, 'replace').strip())} in {name}")
    hint = f"; line {line} is {' and '.join(choices)}, give encoding='NAME' (--encoding NAME)" if choices else ""
    wanted = "UTF-8 text" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else f"text in {encoding}"
    raise InputError(f"path={show(str(source))}: must be {wanted}{hint}")


def _json_text(tree: HLTM) -> str:
    """Return the JSON of a tree with one node or edge a line, so that files are easy to compare."""
    data = tree_to_json(tree)
    lists = [
        f'  "{key}": [\n    ' + ",\n    ".join(map(json.dumps, data.pop(key))) + "\n  ]" for key in ("nodes", "edges")
    ]
    heads = [f'  "{key}": {json.dumps(value)}' for key, value in data.items()]
    return "{\n" + ",\n".join(heads + lists) + "\n}\n"


def _json_tree(text: str, reading: Reading) -> HLTM:
    try:
        data = json.loads(text, object_pairs_hook=unique_keys, parse_float=reading.parse_float)
    except RecursionError:
        raise InputError("not a tree: the JSON is nested too deeply") from None
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"not valid JSON: {error}") from None
    return tree_from_form(data, reading)


_Format = tuple[Callable[[HLTM], str], Callable[[str, Reading], HLTM]]
_FORMATS: dict[str, _Format] = {
    ".json": (_json_text, _json_tree),
    ".graphml": (to_graphml, from_graphml),
    ".bif": (to_bif, from_bif),
}
_READ_ONLY: dict[str, Callable[[str, Reading], HLTM]] = {
    ".xml": from_xml,
    ".xmlbif": from_xmlbif,
    ".bifxml": from_xmlbif,
    ".xdsl": from_xdsl,
    ".net": from_net,
    ".uai": from_uai,
    ".nwk": from_newick,
    ".newick": from_newick,
}
