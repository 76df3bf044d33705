"""Where the results of a run go: the terminal, a JSON document, a report folder, and progress on stderr."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


class Output:
    """Where results go: the terminal, a JSON file or stdout, a report folder."""

    def __init__(self, json: str | None, report: Path | None, quiet: bool) -> None:
        self.json, self.report, self.quiet = json, report, quiet

    def check(self) -> None:
        """Refuse targets that cannot be written, before anything runs."""
        from verify.files import check_folder, check_target

        if self.json not in (None, "-"):
            check_target(Path(str(self.json)))
        if self.report is not None:
            check_folder(self.report)

    def console(self) -> Console:
        """Tables go to stdout, unless the document does."""
        from hltm.command import console

        return console(stderr=self.json == "-", highlight=False)

    def document(self, document: dict[str, Any], report_name: str = "report.json") -> None:
        """Write the JSON document to each place that was asked for."""
        from verify.files import write_json

        if self.json == "-":
            sys.stdout.write(json_module.dumps(document, indent=1, allow_nan=False) + "\n")
        elif self.json is not None:
            write_json(Path(self.json), document)
        if self.report is not None:
            write_json(self.report / report_name, document)

    def counterexamples(self) -> Path:
        """The folder for counterexamples, made when the first one is saved."""
        from verify.files import check_folder

        return check_folder((self.report or Path()) / "counterexamples")

    @contextmanager
    def progress(self) -> Iterator[Callable[[str], None]]:
        """Say on stderr what is running, if somebody is looking."""
        from rich.console import Console

        console = Console(stderr=True)
        if self.quiet or not console.is_terminal:
            yield lambda _: None
            return
        with console.status("starting") as status:
            yield status.update
