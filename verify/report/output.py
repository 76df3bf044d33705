"""Where the results of a run go: the terminal, a JSON document, a report folder, and progress on stderr."""

from __future__ import annotations

import json as json_module
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hltm.base.progress import Progress, shown

if TYPE_CHECKING:
    from rich.console import Console

    from verify.report.build import Report


class Output:
    """Where results go: the terminal, a JSON file or stdout, a report folder, a report in one zip file."""

    def __init__(self, json: str | None, report: Path | None, quiet: bool, bundle: Path | None = None) -> None:
        self.json, self.report, self.quiet, self.bundle = json, report, quiet, bundle

    @property
    def reports(self) -> bool:
        """Whether a report was asked for, as a folder or as a zip file."""
        return self.report is not None or self.bundle is not None

    def check(self, slugs: Sequence[str] = (), names: Sequence[str] = ()) -> None:
        """Refuse targets that cannot be written, or that hold what is not ours, before anything runs."""
        from verify.engine.saved import check_folder, check_target

        if self.json not in (None, "-"):
            check_target(Path(str(self.json)))
        if self.bundle is not None:
            from verify.report.bundle import check_bundle_target

            check_bundle_target(self.bundle)
        if self.report is not None:
            from verify.report.folder import check_free

            check_free(self.report, slugs, names)
            check_folder(self.report)

    def console(self) -> Console:
        """Tables go to stdout, unless the document does."""
        from hltm.base.command import console

        return console(stderr=self.json == "-", highlight=False)

    def document(self, document: dict[str, Any]) -> None:
        """Write the JSON document where it was asked for."""
        from verify.engine.saved import write_json

        if self.json == "-":
            sys.stdout.write(json_module.dumps(document, indent=1, allow_nan=False) + "\n")
        elif self.json is not None:
            write_json(Path(self.json), document)

    def publish(self, report: Report) -> list[str]:
        """Write a report to its folder and its zip file; gives a line for each."""
        from verify.report.bundle import write_bundle
        from verify.report.folder import publish

        lines = []
        if self.report is not None:
            publish(self.report, report.files, report.about)
            reason = f" (no report.pdf: {report.pdf_reason})" if report.pdf_reason else ""
            lines.append(f"report: {self.report / 'index.html'}{reason}")
        if self.bundle is not None:
            write_bundle(self.bundle, report.files, report.about)
            lines.append(f"bundle: {self.bundle}")
        return lines

    def counterexamples(self) -> Path:
        """The folder for counterexamples, made when the first one is saved."""
        from verify.engine.saved import check_folder

        return check_folder((self.report or Path()) / "counterexamples")

    def progress(self) -> AbstractContextManager[Progress]:
        """Show on stderr how far a run is, if somebody is looking."""
        return shown(self.quiet)
