"""Write a report to a folder or a zip file without overwriting other files.

`manifest.json` lists the files of a report with their SHA-256 sums. A file with the name of a report's file that is not
in the manifest, or was changed since, is not overwritten: the command is refused before anything runs. Files are
staged in the folder and then renamed, so that a full disk leaves the folder as it was; index.html comes last.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import secrets
import shutil
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hltm.base.atomic import write
from hltm.base.errors import InputError
from verify.engine.saved import json_bytes, read_json

MANIFEST = "manifest.json"
# Sums of the files that are being replaced, so that an interrupted report can be replaced.
JOURNAL = ".covop-report.json"
PAGE = "index.html"
DOCUMENTS = (PAGE, "report.json", "report.tex", "report.pdf", "variants.json", "assumptions.json")
# A user's statements have packages beside them.
STATEMENTS, DEEPEST = "statements", 10
FOLDERS = ("counterexamples", "figures", STATEMENTS)
FIGURE_FILES = (".svg", ".pdf", ".png", ".csv")
TOOL = "covop report"


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def manifest(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """The manifest of files by their relative names, with entries about the run."""
    listed = {name: {"sha256": digest(files[name]), "bytes": len(files[name])} for name in sorted(files)}
    return json_bytes({"schema": 1, "tool": TOOL, **about, "files": listed})


def check_free(folder: Path, slugs: Iterable[str], names: Iterable[str] = ()) -> None:
    """Raise InputError if a report would overwrite files that no report wrote."""
    if not folder.is_dir():
        return
    starts = tuple(f"{slug}--" for slug in slugs)
    inside = [
        *(path for path in _listed(folder / "counterexamples") if path.name.startswith(starts)),
        *(path for path in _listed(folder / "figures") if path.suffix in FIGURE_FILES),
    ]
    _check(folder, [*(folder / name for name in (*DOCUMENTS, *names)), *inside])


def publish(folder: Path, files: Mapping[str, bytes], about: Mapping[str, Any]) -> None:
    """Write a report, index.html last, and remove stale files of an earlier one.

    InputError names a place that cannot be written, or a file that no report wrote.
    """
    known = _check(folder, [folder / name for name in files])
    complete = {**files, MANIFEST: manifest(files, about)}
    staging = folder / f".covop-{secrets.token_hex(6)}.tmp"
    try:
        staging.mkdir()
        for name, content in complete.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            write(staging / name, content)
        sums = {name: sorted({digest(content)} | known.get(name, set())) for name, content in files.items()}
        write(folder / JOURNAL, json_bytes({"tool": TOOL, "sums": sums}))
        for name in sorted(complete, key=lambda name: (name == PAGE, name)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(folder / name)
        _remove_stale(folder, known, set(complete))
        (folder / JOURNAL).unlink()
    except OSError as error:
        raise InputError(f"folder {str(folder)!r}: cannot be written: {error.strerror or error}") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _remove_stale(folder: Path, known: Mapping[str, set[str]], kept: set[str]) -> None:
    """Remove files that only an earlier report wrote, unless they were changed."""
    for name, sums in known.items():
        path = folder / name
        if name not in kept and path.is_file() and not path.is_symlink() and digest(path.read_bytes()) in sums:
            path.unlink()
    below = {folder / parent for name in known for parent in Path(name).parents if parent != Path()}
    for path in sorted(below | {folder / name for name in FOLDERS}, reverse=True):
        with contextlib.suppress(OSError):  # not empty, or not there
            path.rmdir()


def recorded(folder: Path) -> dict[str, set[str]]:
    """Sums of the files of earlier reports, by relative name."""
    result: dict[str, set[str]] = {}
    for name in (MANIFEST, JOURNAL):
        path = folder / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise InputError(f"file {str(path)!r}: is no regular file; take another folder for the report")
        if not path.exists():
            continue
        data = read_json(path)
        if not isinstance(data, dict) or data.get("tool") != TOOL:
            raise InputError(f"file {str(path)!r}: is not of a report, and is not overwritten; take another folder")
        for file, sums in _sums(data).items():
            if is_report_file(file):
                result.setdefault(file, set()).update(sums)
    return result


def _sums(data: dict[str, Any]) -> dict[str, set[str]]:
    sums = data.get("sums")
    if isinstance(sums, dict):
        return {name: {str(s) for s in values} for name, values in sums.items() if isinstance(values, list)}
    files = data.get("files")
    rows = files.items() if isinstance(files, dict) else ()
    return {name: {str(row["sha256"])} for name, row in rows if isinstance(row, dict) and "sha256" in row}


def is_report_file(name: str) -> bool:
    """Whether a report may write a file of that relative name."""
    parts = name.split("/")
    if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
        return False
    deep = parts[0] == STATEMENTS and 2 <= len(parts) <= DEEPEST
    return name in (*DOCUMENTS, MANIFEST) or deep or (len(parts) == 2 and parts[0] in FOLDERS)


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _check(folder: Path, paths: Iterable[Path]) -> dict[str, set[str]]:
    """Refuse to overwrite files that no report wrote; returns the recorded sums."""
    paths = list(paths)
    known = recorded(folder)
    names = [path.relative_to(folder) for path in paths if path.is_relative_to(folder)]
    folders = {parent for name in names for parent in name.parents if parent != Path()}
    for path in (folder / name for name in sorted({*folders, *map(Path, FOLDERS)})):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise InputError(f"{str(path)!r}: is no folder of a report, and is not overwritten; take another folder")
    for path in paths:
        _check_file(folder, path, known)
    return known


def _check_file(folder: Path, path: Path, known: Mapping[str, set[str]]) -> None:
    if not path.exists() and not path.is_symlink():
        return
    name = path.relative_to(folder).as_posix()
    regular = path.is_file() and not path.is_symlink()
    try:
        same = regular and name in known and digest(path.read_bytes()) in known[name]
    except OSError as error:
        raise InputError(f"file {str(path)!r}: cannot be read: {error.strerror or error}") from None
    if not same:
        what = "was changed since the report was written" if name in known else "is not of a report"
        raise InputError(f"file {str(path)!r}: {what}, and is not overwritten; take another folder")


# The same files and manifest in one zip file.

ENTRIES = 5000
BYTES = 512 * 2**20
_DATE = (1980, 1, 1, 0, 0, 0)


def bundle(files: Mapping[str, bytes], about: Mapping[str, Any]) -> bytes:
    """A report as a zip file; the same report gives the same bytes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        for name, content in sorted({**files, MANIFEST: manifest(files, about)}.items()):
            entry = zipfile.ZipInfo(name, _DATE)
            entry.compress_type, entry.external_attr, entry.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
            archive.writestr(entry, content)
    return target.getvalue()


def check_bundle_target(path: Path) -> None:
    """Raise InputError if no bundle can be written, or a file is none."""
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
    """Write a report as one zip file."""
    if path.is_symlink():
        raise InputError(f"file {str(path)!r}: is a link, must be a file")
    write(path, bundle(files, about))


def check_bundle(path: Path) -> dict[str, Any]:
    """Compare the sums of a bundle with its manifest, which is returned.

    InputError names the first file that is missing, unlisted or changed, or says why the file is no bundle.
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
        if not is_report_file(name) or names.count(name) > 1:
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
    """Read an entry, at most to its stated size: it may unpack to much more."""
    size = archive.getinfo(name).file_size
    with archive.open(name) as entry:
        content = entry.read(size + 1)
    if len(content) > size:
        raise InputError(f"{place}: file {name!r:.80} is longer than it says")
    return content
