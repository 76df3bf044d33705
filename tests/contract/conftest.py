"""One way to run a command, in the process of the test, as its user would."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from commands import processed


@dataclass(frozen=True)
class Ended:
    """What a command left behind: its exit code and what it wrote."""

    code: int
    out: str
    err: str

    def refused(self, *fragments):
        """Exit code 2 with one line on stderr and nothing on stdout."""
        assert self.code == 2, self.err
        assert self.out == ""
        (line,) = self.err.splitlines()
        assert line.startswith("error: ")
        for fragment in fragments:
            assert fragment in line, line


@pytest.fixture
def call(in_process):
    """Call ``call("verify", "loss", "r_p - r_1")`` in an empty folder, which is the working directory."""

    def called(module, *arguments):
        done = in_process(module, *arguments)
        return Ended(done.returncode, done.stdout, done.stderr)

    return called


@pytest.fixture(scope="session")
def one_statement(tmp_path_factory):
    """The document of a full quick run of one statement, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("statement")
    ended = processed("verify.theorem2", "--seed", "3", "--device", "cpu", "--json", "-", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), folder


@pytest.fixture(scope="session")
def false_variants(tmp_path_factory):
    """The document of a run over the false variants of one statement, and the folder that it ran in."""
    folder = tmp_path_factory.mktemp("variants")
    ended = processed("verify.theorem2", "--variants", "--json", "-", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), folder
