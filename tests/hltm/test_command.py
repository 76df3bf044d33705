"""Every ending of a command line is an exit code; a defect of the toolkit never looks like a refuted statement."""

import pytest
import typer

from hltm.command import guarded
from hltm.errors import InputError


def application(job):
    app = typer.Typer(add_completion=False)

    @app.command()
    def run() -> object:
        return job

    return app


def fail(error):
    def job():
        raise error

    return job


@pytest.mark.parametrize(
    ("job", "code", "fragment"),
    [
        (lambda: 0, 0, ""),
        (lambda: 1, 1, ""),
        (lambda: 3, 3, ""),
        (fail(InputError("tau=0: must be positive")), 2, "error: tau=0"),
        (fail(KeyboardInterrupt()), 130, "interrupted"),
        (fail(RuntimeError("a defect")), 70, "RuntimeError: a defect"),
        (fail(OSError(5, "broken disk")), 70, "broken disk"),
    ],
    ids=["holds", "refuted", "abstained", "input", "interrupted", "defect", "disk"],
)
def test_exit_codes(job, code, fragment, capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["covop"])
    assert guarded(application(job), "covop") == code
    assert fragment in capsys.readouterr().err
