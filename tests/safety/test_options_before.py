"""Options before a command are refused: they would be dropped."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("option", "command"),
    [
        (["--seed", "7"], ["run", "x.py"]),
        (["--json", "-"], ["replay", "x.json"]),
        (["--quiet"], ["loss", "r_p"]),
        (["--report", "out"], ["check-bundle", "x.zip"]),
    ],
)
def test_an_option_before_a_command_is_refused(tmp_path, option, command):
    arguments = [sys.executable, "-m", "verify", *option, *command]
    done = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {option[0]} before {command[0]}: must stand behind it, if taken there\n"
