"""One thread for each test process: the tensors are small, and threads would wait for each other longer than they work."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded

import signal

# A shell starts what runs in the background with Ctrl-C ignored, and children inherit that; tests send it to theirs.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
