"""One thread for each test process, and Ctrl-C as it is on a terminal.

The tensors are small, and threads would wait for each other longer than they work. A shell starts what runs in the
background with Ctrl-C ignored, commands that end ignore a second one, and children inherit either: tests send it to theirs.
"""

import os
import signal

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded


@pytest.fixture(autouse=True)
def ctrl_c_is_heard():
    """Whatever a command that ran in this process left behind."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
