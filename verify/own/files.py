"""Load the statements of a user's file, and attribute exceptions to it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hltm.base.errors import InputError
from hltm.base.userfile import in_one_line, line_of, run_file
from verify.engine.statement import Statement
from verify.own.statement import checked_name
from verify.registry import Entry, entry


@dataclass(frozen=True)
class OwnEntry(Entry):
    """An entry of a loaded statement."""

    statement: Statement

    def load(self) -> Statement:
        return self.statement


def load_statements(path: Path) -> tuple[OwnEntry, ...]:
    """Run a file and return the statements that it defines, in order."""
    module = run_file(path)
    result: list[Statement] = []
    for value in vars(module).values():
        if isinstance(value, Statement) and not any(value is other for other in result):
            result.append(value)
    if not result:
        raise InputError(f"file {str(path)!r}: defines no statement, must have one at its top level")
    for index, statement in enumerate(result):
        checked_name(statement.slug, f"slug in {str(path)!r}")
        if statement.slug in [other.slug for other in result[:index]]:
            raise InputError(f"slug={statement.slug!r} in {str(path)!r}: is there twice, slugs must differ")
        if _is_ours(statement.slug):
            raise InputError(f"slug={statement.slug!r} in {str(path)!r}: is a name of the toolkit's own statements")
    return tuple(OwnEntry(s.slug, s.theorem, s.title, "", s) for s in result)


def _is_ours(slug: str) -> bool:
    try:
        entry(slug)
    except InputError:
        return False
    return True


@contextmanager
def attribute_errors_to(path: Path) -> Iterator[None]:
    """Turn exceptions of the user's code (a strategy, a check) into InputErrors of one line."""
    from hypothesis.errors import HypothesisException

    try:
        yield
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, HypothesisException) or line_of(error, path) is not None:
            raise InputError(in_one_line(error, path)) from error
        raise
