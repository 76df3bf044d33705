"""Commands in a process of their own."""

import subprocess
import sys


def processed(*arguments, cwd):
    """Run ``python -m`` with these arguments in a folder."""
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
