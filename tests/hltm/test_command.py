"""Every ending of a command line is an exit code; a defect of the toolkit never looks like a refuted statement."""

import subprocess
import sys

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


@pytest.mark.parametrize(("ending", "code"), [("return 0", 0), ("return 1", 1), ("raise", 130)])
def test_ctrl_c_in_an_executed_string_is_no_signal(ending, code, tmp_path):
    """CPython keeps such a Ctrl-C in mind, even one that was caught, and ends a module that runs as a command by it."""
    (tmp_path / "pressed.py").write_text(f"""
import typer
from hltm.command import finish

application = typer.Typer()


def job():
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        {ending}


@application.command()
def run() -> object:
    return job


finish(application, "pressed")
""")
    ended = subprocess.run([sys.executable, "-m", "pressed"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (code, "interrupted\n" * (code == 130))
