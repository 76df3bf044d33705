"""One thread for each test process: the tensors are small, and threads would wait for each other longer than they work."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded
