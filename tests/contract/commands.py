"""Commands in a process of their own, and promises, each with its check."""

import subprocess
import sys


def processed(*arguments, cwd):
    """Run ``python -m`` with these arguments in a folder."""
    command = [sys.executable, "-m", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def promise_of(checks):
    """The decorator that registers the check of a promise in `checks`; one promise has one check."""

    def promise(name):
        def registered(check):
            assert name not in checks, name
            checks[name] = check
            return check

        return registered

    return promise
