"""Processes that begin with torch, SymPy and Hypothesis loaded: ``python -m MODULE``, forked from a process that waits.

`processed` takes the place of `subprocess.run` where a test reads the exit code, stdout and stderr of a command. The child
runs the module as ``__main__`` and ends as every interpreter ends; only its libraries were loaded before. What a command
imports, how it starts and how it takes signals is tested with processes of their own.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

LIBRARIES = (
    "torch",
    "sympy",
    "scipy.stats",
    "networkx",
    "hypothesis.strategies",
    "rich.console",
    "typer",
    "flint",
    "lark",
)


FIXED = ("OMP_NUM_THREADS", "PYTHONHASHSEED", "PYTHONWARNINGS")  # read when an interpreter or a library starts


class Server:
    """Forks a process for every command; it ends when its input does."""

    def __init__(self, libraries):
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, *libraries],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def run(self, *arguments, cwd, env=None, timeout=300):
        """Run ``python -m`` with these arguments in a folder; the exit code is negative where a signal ended it."""
        env = dict(os.environ if env is None else env)
        late = [name for name in FIXED if env.get(name, self.environment.get(name)) != self.environment.get(name)]
        if late:
            raise ValueError(f"{late[0]}={env[late[0]]}: a process that is warm already does not read it")
        with tempfile.TemporaryDirectory(prefix="warm-") as folder:
            streams = [str(Path(folder) / name) for name in ("out", "err")]
            request = {
                "arguments": [str(word) for word in arguments], "cwd": str(cwd), "streams": streams, "timeout": timeout,
                "env": env,
            }  # fmt: skip
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
            if not answer:
                raise RuntimeError(f"the warm process ended with {self.process.wait()} at python -m {arguments}")
            code = json.loads(answer)
            output = [Path(name).read_bytes().decode() for name in streams]
        if code is None:
            raise subprocess.TimeoutExpired(arguments, timeout, *output)
        return subprocess.CompletedProcess(["python", "-m", *arguments], code, *output)

    def close(self):
        self.process.communicate()


@cache
def server(libraries):
    """The server of this process that has these libraries loaded beside `LIBRARIES`."""
    started = Server(libraries)
    atexit.register(started.close)
    return started


def processed(*arguments, libraries=(), **options):
    """Run ``python -m`` with these arguments: see `Server.run`."""
    return server(libraries).run(*arguments, **options)


def wait(child, timeout):
    """Exit code of a child, None if it takes too long."""

    def late(number, frame):
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, timeout)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    over = signal.setitimer(signal.ITIMER_REAL, 0)[0] == 0
    return None if over and code == -signal.SIGKILL else code


def serve():
    """Answer requests; returns in the child, with its request."""
    for name in (*LIBRARIES, *sys.argv[1:]):
        __import__(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            return request
        sys.stdout.write(json.dumps(wait(child, request["timeout"])) + "\n")
        sys.stdout.flush()
    sys.exit(0)


def become(request):
    """Take on streams, folder, environment and arguments of a request."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    for number, name in enumerate(request["streams"], start=1):
        os.dup2(os.open(name, flags, 0o600), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    tempfile.tempdir = None
    sys.dont_write_bytecode = bool(os.environ.get("PYTHONDONTWRITEBYTECODE"))
    module, *rest = request["arguments"]
    sys.argv[:] = [module, *rest]
    paths = [request["cwd"], *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    sys.path[:] = [*paths, *(entry for entry in sys.path if entry not in (str(Path(__file__).parent), *paths))]
    sys.modules.pop("sitecustomize", None)
    with suppress(ImportError):
        import sitecustomize  # noqa: F401
    return module


if __name__ == "__main__":
    module = become(serve())
    # `runpy` is the machinery of `python -m`: the module becomes __main__, and its SystemExit ends this process.
    import runpy

    runpy.run_module(module, run_name="__main__", alter_sys=True)
