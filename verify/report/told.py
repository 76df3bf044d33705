"""The end of a run: the report is put together and written, counterexamples are saved, what went wrong is said last.

Nothing here costs a verdict: what cannot be written is one line on stderr, after the results, and Ctrl-C ends no more
than the wait for pdflatex.
"""

from __future__ import annotations

import contextlib
import re
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hltm.base.command import complain
from hltm.base.errors import InputError
from verify.engine.statement import Context
from verify.report.output import Output

if TYPE_CHECKING:
    from verify.engine.runner import Refutation, Result
    from verify.report.view import Attached, Request


class Told:
    """What is written and said at the end of a run; what could not be written is said once, after the results.

    Within `with`, Ctrl-C is kept in mind and told by `exit`, since what was found must not be lost any more. A second
    one ends everything.

    Parameters
    ----------
    output : Output
    own : Path, optional
        The file of a user's own statements, which the report has a copy of.
    stopped : bool
        Whether Ctrl-C came before the end of the run.
    """

    def __init__(self, output: Output, own: Path | None, stopped: bool = False) -> None:
        self.output, self.stopped = output, stopped
        self.pressed = threading.Event()
        self.before: Any = None
        self.extra: dict[str, bytes] = {}
        if output.reports and own is not None:
            with contextlib.suppress(OSError):  # a file that was taken away while it ran
                self.extra[copy_name(own)] = own.read_bytes()
        self.failed = ""
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        """Keep Ctrl-C in mind, where it would be an exception otherwise."""
        heard = signal.getsignal(signal.SIGINT)
        if heard is signal.default_int_handler and threading.current_thread() is threading.main_thread():
            self.before = signal.signal(signal.SIGINT, self._press)
        return self

    def __exit__(self, *_: object) -> None:
        """Ctrl-C is again what it was."""
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)

    def _press(self, *_: object) -> None:
        if self.pressed.is_set():
            raise KeyboardInterrupt
        self.pressed.set()

    def report(
        self, request: Request, results: Sequence[Result], make: Callable[[Attached], dict[str, Any]], **options: Any
    ) -> Attached:
        """Put the report together and write it where it was asked for; gives the places of the counterexamples.

        `make` gives the JSON document from these places.
        """
        from verify.report.build import build, counterexamples

        with self.output.progress() as progress:
            progress.start(None, "writing the report")
            attached, files = counterexamples(request, results)
            files |= self.extra
            placed = attached.inside(self.output.report)
            report = build(
                request, results, make(placed), attached, files, with_pdf=not self.stopped, stop=self.pressed, **options
            )
            partial = "partial " if self.stopped or self.pressed.is_set() else ""
            try:
                self.lines = [partial + line for line in self.output.publish(report)]
            except InputError as error:
                self.failed = str(error)
                return type(attached)()
        return placed

    def document(self, document: dict[str, Any]) -> None:
        """Write the JSON document."""
        try:
            self.output.document(document)
        except InputError as error:
            self.failed = self.failed or str(error)

    def exit(self, code: int) -> int:
        """Name the report, or say what could not be written; gives the exit code, or leaves as Ctrl-C does."""
        if self.stopped or self.pressed.is_set():
            sys.stdout.flush()
            for line in [f"error: {self.failed}"] if self.failed else self.lines:
                sys.stderr.write(line + "\n")
            raise KeyboardInterrupt
        if self.failed:
            sys.stdout.flush()
            return complain(self.failed)
        if not self.output.quiet:
            for line in self.lines:
                self.output.console().print(line, markup=False, soft_wrap=True)
        return code


def copy_name(file: Path) -> str:
    """Where a report has its copy of a user's statements, so that its commands run in its folder.

    Examples
    --------
    >>> copy_name(Path("../my file.py"))
    'statements/my-file.py'
    """
    return "statements/" + (re.sub(r"[^A-Za-z0-9._-]+", "-", file.name).strip(".-") or "own.py")


def save_counterexamples(results: Sequence[Result], output: Output, context: Context) -> dict[tuple[str, int], str]:
    """Save what refuted; a place that cannot be written costs the file, never the verdict."""
    from verify.engine.saved import evidence_name, save_instance

    files: dict[tuple[str, int], str] = {}
    for result in results:
        for index, row in enumerate(result.evidence):
            if not hasattr(row.counterexample, "as_json"):
                continue
            found = {"residual": str(row.worst_residual), "tolerance": str(row.tolerance), "detail": row.detail}
            try:
                path = save_instance(
                    output.counterexamples(), result.statement, row.counterexample,
                    name=evidence_name(row), variant=None, seed=context.seed, found=found,
                )  # fmt: skip
            except InputError as error:
                sys.stderr.write(f"the counterexample could not be saved: {error}\n")
                continue
            files[result.statement.slug, index] = str(path)
    return files


def save_variants(found: Sequence[Refutation], folder: Path, context: Context) -> dict[tuple[str, str], str]:
    """Save the counterexamples of false variants; gives their files by statement and variant."""
    from verify.engine.saved import save_instance

    files = {}
    for row in found:
        if row.instance is None or row.measurement is None:
            continue
        kept = {"refuted_by": list(row.refuted_by), "residual": str(row.measurement.residual)}
        path = save_instance(
            folder, row.statement, row.instance,
            name=row.variant.name, variant=row.variant.name, seed=context.seed, found=kept,
        )  # fmt: skip
        files[row.statement.slug, row.variant.name] = str(path)
    return files
