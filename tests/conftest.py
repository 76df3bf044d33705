"""One thread for each test process, and Ctrl-C as it is on a terminal.

The tensors are small, and threads would wait for each other longer than they work. A shell starts what runs in the
background with Ctrl-C ignored, commands that end ignore a second one, and children inherit either: tests send it to theirs.
"""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hltm.base.command import guarded

sys.path.insert(0, str(Path(__file__).parent))
from warm import processed

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded
os.environ.setdefault("COVOP_ROCQ", "")  # runs are the same with and without a proof assistant; tests/kernel has one
collect_ignore_glob = ["*/*_worker.py", "*/watch/*"]  # programs that tests start, in which doctests are not looked for
SLOW = frozenset((Path(__file__).parent / "slow.txt").read_text(encoding="utf-8").split())


def pytest_collection_modifyitems(config, items):
    """Mark the tests of `slow.txt`, functions and whole files; leave out what is nightly, unless `-m` names it."""
    for item in items:
        if SLOW & {item.nodeid.split("[")[0], item.nodeid.split("::")[0]}:
            item.add_marker("slow")
    if "nightly" not in config.option.markexpr:
        nightly = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=nightly)
        items[:] = [item for item in items if item not in nightly]


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """Whatever a command that ran in this process left behind."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def in_process(monkeypatch, tmp_path, capsys):
    """Call ``in_process("verify", "loss", "r_p - r_1")`` for what ``python -m`` ends with, without a process of its own.

    Loading torch takes longer than finding what is wrong with a command. The working directory is the test's folder.
    """
    monkeypatch.chdir(tmp_path)

    def called(module, *arguments):
        application = importlib.import_module(f"{module}.cli").app
        capsys.readouterr()
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", [module, *map(str, arguments)])
            code = guarded(application, f"python -m {module}")
        return subprocess.CompletedProcess([module, *arguments], code, *capsys.readouterr())

    return called


@pytest.fixture
def warm():
    """Call ``warm("verify", "loss", "r_p - r_1", cwd=folder)`` for a process of its own that has its libraries loaded."""
    return processed
