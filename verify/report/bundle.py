"""A report as one zip file for a reviewer: the same files as in its folder, the manifest with their sums inside.

The same files give the same zip: entries are sorted and carry no date. A bundle is read with limits, and nothing of it
is unpacked.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hltm.base.atomic import write
from hltm.base.errors import InputError
from verify.report.folder import MANIFEST, TOOL, digest, manifest, ours

ENTRIES = 5000
BYTES = 512 * 2**20
_DATE = (1980, 1, 1, 0, 0, 0)


def bundle(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """The zip of a report.

    Examples
    --------
    >>> bundle({"index.html": b"x"}, {}) == bundle({"index.html": b"x"}, {})
    True
    """
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in sorted({**files, MANIFEST: manifest(files, about)}.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
            archive.writestr(entry, content)
    return made.getvalue()


def check_bundle_target(path: Path) -> None:
    """See that a bundle may be written there: no file but an earlier bundle is replaced; InputError if not."""
    from verify.engine.saved import check_target

    check_target(path)
    if path.is_symlink():
        raise InputError(f"file {str(path)!r}: is a link, must be a file")
    if path.exists():
        try:
            check_bundle(path)
        except InputError:
            raise InputError(f"file {str(path)!r}: is no bundle of a report, and is not overwritten") from None


def write_bundle(path: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Write the zip; it appears complete or not at all."""
    if path.is_symlink():
        raise InputError(f"file {str(path)!r}: is a link, must be a file")
    write(path, bundle(files, about))


def check_bundle(path: Path) -> dict[str, Any]:
    """Compare the sums of a bundle; gives its manifest, InputError names the first file that is not as listed.

    Errors
    ------
    InputError
        No zip, no manifest, a name that leaves the folder, too large, a file that is missing, unlisted or changed.
    """
    place = f"bundle {str(path)!r}"
    try:
        with zipfile.ZipFile(path) as archive:
            return _checked(archive, place)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, RuntimeError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _checked(archive: zipfile.ZipFile, place: str) -> dict[str, Any]:
    entries = archive.infolist()
    names = [entry.filename for entry in entries]
    if len(entries) > ENTRIES or sum(entry.file_size for entry in entries) > BYTES:
        raise InputError(f"{place}: must have at most {ENTRIES} files and {BYTES} bytes")
    for name in names:
        if not ours(name) or names.count(name) > 1:
            raise InputError(f"{place}: file {name!r:.80} is not one of a report, or is there twice")
    if MANIFEST not in names:
        raise InputError(f"{place}: file {MANIFEST!r} is missing")
    data = json.loads(_read(archive, MANIFEST, place))
    if not isinstance(data, dict) or data.get("tool") != TOOL or not isinstance(data.get("files"), dict):
        raise InputError(f"{place}: file {MANIFEST!r} is not of a report")
    listed = data["files"]
    for name in sorted({*names, *listed} - {MANIFEST}):
        if name not in names or name not in listed:
            raise InputError(f"{place}: file {name!r:.80} is {'not in the manifest' if name in names else 'missing'}")
        row = listed[name]
        if not isinstance(row, dict) or row.get("sha256") != digest(_read(archive, name, place)):
            raise InputError(f"{place}: file {name!r:.80} is not as the manifest says")
    return data


def _read(archive: zipfile.ZipFile, name: str, place: str) -> bytes:
    """The content of an entry, no longer than it says: a small file may unpack to a very large one."""
    size = archive.getinfo(name).file_size
    with archive.open(name) as entry:
        content = entry.read(size + 1)
    if len(content) > size:
        raise InputError(f"{place}: file {name!r:.80} is longer than it says")
    return content
