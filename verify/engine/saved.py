"""Read and write the JSON files of a run: saved instances and documents.

Files are written under a temporary name and renamed, so that a reader never sees half of one.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hltm.base.atomic import write
from hltm.base.errors import InputError
from verify.engine.evidence import Evidence
from verify.engine.statement import Statement
from verify.registry import OWN_TREE, entry

SCHEMA = 1
SIZE_LIMIT = 64 * 2**20
KEYS = ("schema", "statement", "variant", "instance", "seed", "found")


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Write a JSON document (no NaN, no infinity) atomically."""
    write(path, json_bytes(document))


def json_bytes(document: dict[str, Any]) -> bytes:
    """A JSON document (no NaN, no infinity) as the bytes of its file."""
    return (json.dumps(document, indent=1, allow_nan=False) + "\n").encode()


def check_folder(path: Path) -> Path:
    """Create the folder if need be and check that it is writable (InputError if not).

    On failure the folders that this call created are removed again.
    """
    built: list[Path] = []
    try:
        for folder in reversed([path, *path.parents]):
            if not folder.exists():
                folder.mkdir()
                built.append(folder)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        for folder in reversed(built):
            folder.rmdir()
        raise InputError(f"folder {str(path)!r}: cannot be written: {error.strerror or error}") from None
    return path


def check_target(path: Path) -> Path:
    """Check that a file can be written, without writing it (InputError if not)."""
    if path.is_dir():
        raise InputError(f"file {str(path)!r}: is a folder, must be a file")
    if not path.parent.is_dir():
        raise InputError(f"file {str(path)!r}: folder {str(path.parent)!r} does not exist")
    check_folder(path.parent)
    return path


def instance_name(statement: Statement, name: str) -> str:
    return f"{statement.slug}--{name}.json"


def evidence_name(row: Evidence) -> str:
    """Kind and source of evidence, as part of a file name."""
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{row.kind}-{row.source}").strip("-")[:80]


def instance_document(
    statement: Statement, instance: Any, *, variant: str | None, seed: int, found: dict[str, Any]
) -> dict[str, Any]:
    """A saved instance as JSON data."""
    return {
        "schema": SCHEMA,
        "statement": statement.slug,
        "variant": variant,
        "seed": seed,
        "found": found,
        "instance": instance.as_json(),
    }


def read_json(path: Path) -> Any:
    """Parse a JSON file; every error is one line (InputError)."""
    try:
        if path.exists() and not path.is_file():
            raise InputError(f"file {str(path)!r}: cannot be read: is no regular file")
        size = path.stat().st_size
        if size > SIZE_LIMIT:
            raise InputError(f"file {str(path)!r}: has {size} bytes, must have at most {SIZE_LIMIT}")
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"file {str(path)!r}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"file {str(path)!r}: is not UTF-8 text") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise InputError(f"file {str(path)!r}: is not complete JSON: {error.msg} at {where}") from None
    except (RecursionError, ValueError):
        raise InputError(f"file {str(path)!r}: is nested too deeply or holds a number that is too long") from None


def read_instance(path: Path, own: Mapping[str, Statement] | None = None) -> tuple[Statement, str | None, Any]:
    """Read a saved instance: its statement, the name of the variant (None: the statement itself), and the instance.

    `own` are a user's own statements by slug, beside those of the toolkit.
    """
    data = read_json(path)
    if not isinstance(data, dict):
        raise InputError(f"file {str(path)!r}: must hold a JSON object")
    if data.get("schema") != SCHEMA or not isinstance(data["schema"], int) or isinstance(data["schema"], bool):
        raise InputError(f"schema={data.get('schema')!r:.40} in {str(path)!r}: must be {SCHEMA}")
    for key in data:
        if key not in KEYS:
            raise InputError(f"key {key!r:.40} in {str(path)!r}: is unknown, known are {', '.join(KEYS)}")
    for key in ("statement", "instance"):
        if key not in data:
            raise InputError(f"key {key!r} in {str(path)!r}: is missing")
    if not isinstance(data["statement"], str):
        raise InputError(f"statement={data['statement']!r:.40} in {str(path)!r}: must be a name")
    statement = _statement(data["statement"], own, path)
    variant = data.get("variant")
    if variant is not None:
        names = [v.name for v in statement.variants]
        if variant not in names:
            raise InputError(f"variant={variant!r:.40} in {str(path)!r}: must be null or one of {', '.join(names)}")
    instance = statement.instance_type.from_json(data["instance"])  # type: ignore[attr-defined]
    return statement, variant, instance


def _statement(name: str, own: Mapping[str, Statement] | None, path: Path) -> Statement:
    if own is not None and name in own:
        return own[name]
    if name == OWN_TREE.slug:
        return OWN_TREE.load()
    try:
        return entry(name).load()
    except InputError as error:
        hint = "a statement of your own needs --statements FILE" if own is None else "nor is it in the statements given"
        raise InputError(f"{error} (in {str(path)!r}; {hint})") from None
