"""Load the statements of a user's file, run each of them by itself, and collect the modules that the file needs.

A statement that is refused or that fails is broken: it is reported in one line, and the others run.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError
from hltm.base.userfile import run_file
from verify.engine.statement import Statement
from verify.own.arguments import checked_statement
from verify.own.broken import BrokenStatement, broken, building
from verify.own.guard import TOOLKIT, as_input_error, called, streams, unchanged_settings
from verify.registry import Entry, entry

Item = TypeVar("Item")

# Time limits that running a file may take: it imports libraries.
FILE = 5
# Local modules in a report: more is left out.
MODULES = 200
BYTES = 4 * 2**20
DEEPEST = 8  # folders


@dataclass(frozen=True)
class OwnEntry(Entry):
    """An entry of a loaded statement."""

    statement: Statement

    def load(self) -> Statement:
        """The statement; InputError where it is broken."""
        if isinstance(self.statement, BrokenStatement):
            raise InputError(self.statement.error)
        return self.statement


class Loaded(dict[str, Any]):
    """Statements by name, each loaded when it is asked for, so that a broken one matters to nobody else."""

    def __getitem__(self, name: str) -> Statement:
        """The statement; InputError where it is broken."""
        return super().__getitem__(name).load()


@dataclass(frozen=True)
class Broken:
    """A statement without a verdict, and the reason in one line."""

    slug: str
    error: str

    def as_json(self) -> dict[str, str]:
        """Name and reason."""
        return {"slug": self.slug, "error": self.error}


def load_statements(path: Path) -> tuple[OwnEntry, ...]:
    """Run a file and return the statements that it defines, in order; a broken one raises when it is loaded."""
    place = f"file {str(path)!r}"
    try:
        with building():
            module = called(lambda: place, run_file, path, times=FILE, of_file=True)
    except OutOfTimeError as error:
        raise InputError(str(error)) from None
    result = [checked(statement) for statement in statements_of(module)]
    if not result:
        raise InputError(f"{place}: defines no statement, must have one at its top level")
    slugs = [statement.slug for statement in result]
    for index, statement in enumerate(result):
        problem = ""
        if slugs.count(statement.slug) > 1 and not isinstance(statement, BrokenStatement):
            problem = "is there twice, slugs must differ"
        elif _is_ours(statement.slug):
            problem = "is a name of the toolkit's own statements"
        if problem:
            result[index] = broken(statement.slug, f"slug={statement.slug!r} in {str(path)!r}: {problem}")
    # Of several statements of one name one line is enough.
    kept = {(s.slug, s.error) if isinstance(s, BrokenStatement) else (s.slug, ""): s for s in result}
    return tuple(OwnEntry(s.slug, s.theorem, s.title, "", s) for s in kept.values())


def statements_of(module: ModuleType) -> list[Statement]:
    """The statements at the top level of a module, also in lists, tuples and dicts there, each once."""
    result: list[Statement] = []

    def look(value: Any, deeper: bool) -> None:
        # `isinstance` would run what a user's object defines as its `__class__`.
        if issubclass(type(value), Statement):
            if not any(value is other for other in result):
                result.append(value)
        elif deeper and type(value) in (list, tuple, dict):
            for item in value.values() if type(value) is dict else value:
                look(item, deeper=False)

    for value in list(vars(module).values()):
        look(value, deeper=True)
    return result


def checked(statement: Statement) -> Statement:
    """The statement, or a broken one where a field was filled with something else."""
    if isinstance(statement, BrokenStatement):
        return statement
    name = statement.slug if isinstance(statement.slug, str) else ""
    try:
        with as_input_error(lambda: f"statement {name!r}"):
            checked_statement(statement)
    except InputError as error:
        return broken(name, str(error))
    return statement


def _is_ours(slug: str) -> bool:
    try:
        entry(slug)
    except InputError:
        return False
    return True


def each_alone(
    run: Callable[[Sequence[Entry]], Iterator[Item]], entries: Sequence[Entry], failed: list[Broken]
) -> Iterator[Item]:
    """The items that a run of each entry yields; an entry whose run fails is added to `failed`."""
    for one in entries:
        items: Iterator[Item] | None = None
        while True:
            try:
                with alone(f"statement {one.slug!r}"):
                    items = run([one]) if items is None else items
                    item = next(items, None)
            except InputError as error:
                failed.append(Broken(one.slug, str(error)))
                break
            if item is None:
                break
            yield item


@contextmanager
def alone(place: str) -> Iterator[None]:
    """Whatever the block ends with becomes an InputError, and the settings of the process are as before."""
    try:
        with as_input_error(lambda: place), streams(), unchanged_settings():
            yield
    except OutOfTimeError as error:
        raise InputError(str(error) or f"{place}: not finished in time") from None


def local_modules(file: Path) -> dict[str, bytes]:
    """The modules beside a statements file, and in packages there, that are loaded: their content by relative path.

    Installed packages, the toolkit's own modules and what lies outside of the file's folder are left out.
    """
    folder, own = file.resolve().parent, file.resolve()
    result: dict[str, bytes] = {}
    for module in list(sys.modules.values()):
        path = source_of(module)
        if path is None or path == own or not path.is_relative_to(folder):
            continue
        relative = path.relative_to(folder)
        if not may_be_copied(relative) or is_installed(path, folder):
            continue
        for each in [*(parent / "__init__.py" for parent in relative.parents if parent != Path()), relative]:
            with suppress(OSError):
                result[each.as_posix()] = (folder / each).read_bytes()
    return dict(sorted(result.items()))


def source_of(module: Any) -> Path | None:
    """The file of a module's source, or None."""
    if type(module) is not ModuleType:
        return None
    name = vars(module).get("__file__")
    if not isinstance(name, str) or not name.endswith(".py"):
        return None
    if str(vars(module).get("__name__", "")).partition(".")[0] in (*TOOLKIT, "__main__", *sys.stdlib_module_names):
        return None
    with suppress(OSError, ValueError):
        path = Path(name).resolve()
        if path.is_file():
            return path
    return None


def may_be_copied(relative: Path) -> bool:
    """Whether a path below the folder is one of Python modules: words, not hidden, as names in a report can be."""
    return all(re.fullmatch(r"\w[\w-]*(\.py)?", part) for part in relative.parts) and len(relative.parts) <= DEEPEST


def is_installed(path: Path, folder: Path) -> bool:
    """Whether a path is of an installed package, in an environment that lies below the folder perhaps."""
    installed = [Path(sysconfig.get_path(key)).resolve() for key in ("stdlib", "platstdlib", "purelib", "platlib")]
    if any(path.is_relative_to(place) for place in installed if not folder.is_relative_to(place)):
        return True
    between = [parent for parent in path.parents if parent.is_relative_to(folder)]
    return any(
        parent.name in ("site-packages", "dist-packages") or (parent / "pyvenv.cfg").exists() for parent in between
    )


def copies(file: Path, name: str) -> tuple[dict[str, bytes], str]:
    """The files of a report that hold a statements file, under that name, and its modules beside it; and a note.

    The note says what is missing, and is empty if nothing is.
    """
    place = name.rpartition("/")[0]
    result = {f"{place}/{path}": content for path, content in local_modules(file).items()}
    note = ""
    if len(result) > MODULES or sum(map(len, result.values())) > BYTES:
        note = f"without the {len(result)} modules that {file.name!r} imports: more than {MODULES} or {BYTES} bytes"
        result = {}
    with suppress(OSError):  # a file that was removed during the run
        result[name] = file.read_bytes()
    return result, note
