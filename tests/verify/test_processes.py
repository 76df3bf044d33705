"""Processes that share work are ended with the one that asked for it, whatever they are at."""

import subprocess
import sys

import pytest

# The work writes the length of a result and ten bytes of it, as one does that is ended while it writes.
HALF = """
import os, struct, sys, time
from pathlib import Path


def half(flag):
    frame = sys._getframe()
    while "result_queue" not in frame.f_locals:
        frame = frame.f_back
    os.write(frame.f_locals["result_queue"]._writer.fileno(), struct.pack("!i", 100_000) + bytes(10))
    Path(flag).touch()
    time.sleep(600)
"""
ENDS = """
import sys, time
from pathlib import Path
from half import half
from verify.engine.processes import helpers

if __name__ == "__main__":
    try:
        with helpers(1) as send:
            send(half, sys.argv[1])
            while not Path(sys.argv[1]).exists():
                time.sleep(0.01)
            time.sleep(0.5)  # the reader waits for the rest
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        print("left")
"""


def test_half_a_result_is_not_waited_for(tmp_path):
    (tmp_path / "half.py").write_text(HALF)
    (tmp_path / "ends.py").write_text(ENDS)
    command = [sys.executable, "ends.py", "flag"]
    try:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    except subprocess.TimeoutExpired:
        pytest.fail("it waits for the rest of a result whose writer was ended")
    assert (done.returncode, done.stdout, done.stderr) == (0, "left\n", "")
