"""Every ending of a command line is an exit code, after Ctrl-C at any moment too; a defect of the toolkit never looks like a refuted statement."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest
import typer

from hltm.base.command import guarded
from hltm.base.errors import InputError
from hltm.base.interrupts import deferred_interrupt


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


@pytest.mark.parametrize("leave", ["hltm.base.command import finish", "verify.cli import leave"])
@pytest.mark.parametrize(("ending", "code"), [("return 0", 0), ("return 1", 1), ("raise", 130)])
def test_ctrl_c_in_an_executed_string_is_no_signal(ending, code, leave, tmp_path):
    """CPython keeps such a Ctrl-C in mind, even one that was caught, and ends a module that runs as a command by it."""
    (tmp_path / "pressed.py").write_text(f"""
import typer
from {leave} as ended

application = typer.Typer()


def job():
    try:
        exec("raise KeyboardInterrupt")
    except KeyboardInterrupt:
        {ending}


@application.command()
def run() -> object:
    return job


ended(application, "pressed")
""")
    ended = subprocess.run([sys.executable, "-m", "pressed"], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (code, "interrupted\n" * (code == 130))


@pytest.fixture
def ctrl_c():
    """A press of Ctrl-C, which Python handles before the next line."""

    def press():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0)

    return press


def pressed_in_a_block(*steps):
    with deferred_interrupt():
        for step in steps:
            step()


def test_a_first_ctrl_c_waits_for_the_end_of_what_must_not_be_cut(ctrl_c):
    done = []
    with pytest.raises(KeyboardInterrupt):
        pressed_in_a_block(ctrl_c, lambda: done.append("whole"))
    assert done == ["whole"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_does_not_wait(ctrl_c):
    done = []
    with pytest.raises(KeyboardInterrupt):
        pressed_in_a_block(ctrl_c, ctrl_c, lambda: done.append("never"))
    assert done == []


def test_what_swallows_ctrl_c_does_not_keep_it(ctrl_c):
    def swallow():
        with contextlib.suppress(BaseException):
            ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        pressed_in_a_block(ctrl_c, swallow)


def test_nobody_else_hears_less(ctrl_c):
    """Without Ctrl-C nothing happens, and a handler of somebody else's is left alone."""
    with deferred_interrupt():
        pass
    before = signal.signal(signal.SIGINT, lambda *_: done.append("theirs"))
    done = []
    try:
        with deferred_interrupt():
            ctrl_c()
    finally:
        signal.signal(signal.SIGINT, before)
    assert done == ["theirs"]
