"""Run a command line and turn every ending into an exit code.

A command only parses; the job that it returns runs outside Typer, which handles Ctrl-C and closed pipes in its own way.
Exit codes: the job's own, 2 for invalid input or usage (one line on stderr), 130 interrupted, 141 closed pipe.
Of several processes that `torchrun` started, only the first prints an error that all of them detect.
"""

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer

from hltm.base.errors import InputError, OneProcessError, TreeWarning, printable
from hltm.base.interrupts import ignore_interrupts

if TYPE_CHECKING:
    from rich.console import Console

# Typer may bundle its own copy of click: its base class of usage errors is reached through the one that it exports.
UsageError: Any = typer.BadParameter.__mro__[2]

INPUT_ERROR = 2
INTERRUPTED = 130
BROKEN_PIPE = 141
INTERNAL_ERROR = 70

Job = Callable[[], int]


def finish(application: typer.Typer, name: str) -> None:
    """Run an application and exit with its exit code; every error is one line on stderr."""
    code = guarded(application, name)
    ignore_interrupts()
    sys.exit(code)


def guarded(application: typer.Typer, name: str) -> int:
    """Parse and run a command line, and return its exit code."""
    try:
        job = typer.main.get_command(application).main(prog_name=name, standalone_mode=False)
        if job == INTERRUPTED:  # Typer's answer to Ctrl-C while it parses
            raise KeyboardInterrupt
        with _warnings_as_lines():
            code = job() if callable(job) else 0
        if sys.stdout is not None:  # a process may be started without one
            sys.stdout.flush()
    except OneProcessError as error:
        return complain(str(error))
    except InputError as error:
        return complain(str(error)) if is_first_process() else INPUT_ERROR
    except UsageError as error:
        return complain(usage_message(error)) if is_first_process() else INPUT_ERROR
    except (KeyboardInterrupt, typer.Abort) as error:
        # A job that leaves files behind raises KeyboardInterrupt again with the place of them.
        sys.stderr.write(": ".join(["interrupted", *map(one_line, error.args)]) + "\n")
        return INTERRUPTED
    except BrokenPipeError:
        discard_stdout()
        return BROKEN_PIPE
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EBADF):
            traceback.print_exc()
            return INTERNAL_ERROR
        discard_stdout()
        return complain(f"output: cannot be written: {error.strerror}")
    except Exception:  # a bug must not look like a refuted statement, whose exit code is 1
        if sys.stdout is not None and sys.stdout.closed:  # by a user's file
            return complain("output: cannot be written: stdout is closed")
        traceback.print_exc()
        return INTERNAL_ERROR
    return int(code)


def console(**options: Any) -> "Console":
    """Return a rich console that raises BrokenPipeError; rich's own would exit with code 1."""
    from rich.console import Console

    class PlainConsole(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    return PlainConsole(**options)


def discard_stdout() -> None:
    """Redirect the closed stdout to /dev/null; else the interpreter prints an error when it flushes at shutdown."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def is_first_process() -> bool:
    """Whether this is the first process that `torchrun` started on a machine, which prints for all of them."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def complain(message: str) -> int:
    """Write one line on stderr and return the exit code of invalid input."""
    with suppress(OSError, ValueError):  # a user's file may have closed stderr
        sys.stderr.write("error: " + one_line(message) + "\n")
        sys.stderr.flush()
    return INPUT_ERROR


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Write warnings about tree files as one line each on stderr, once; other warnings as always."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", TreeWarning)
        usual = warnings.showwarning
        written: set[str] = set()

        def showwarning(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            line = one_line(message)
            if not issubclass(category, TreeWarning):
                usual(message, category, *place, **more)
            elif line not in written and is_first_process():
                written.add(line)
                with suppress(OSError, ValueError):
                    sys.stderr.write(f"warning: {line}\n")

        warnings.showwarning = showwarning
        yield


def usage_message(error: Any) -> str:
    """Return the message of a usage error with a pointer to the commands or to the help."""
    message = error.format_message().replace("Value error, ", "").removesuffix(".")
    if error.ctx is None:
        return str(message)
    command = error.ctx.command
    if hasattr(command, "list_commands") and message.startswith(("Missing command", "No such command")):
        return f"{message}; there are {', '.join(command.list_commands(error.ctx))}"
    return f"{message}; see {error.ctx.command_path} --help"


def one_line(message: object) -> str:
    """Return a message with all white space collapsed to single spaces."""
    return printable(" ".join(str(message).split()))


def refuse_options_before_command(context: typer.Context) -> None:
    """Refuse options before the subcommand, which would not receive them."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            raise InputError(f"--{name} before {context.invoked_subcommand}: must come after the subcommand")
