"""Runs the code of a page, block by block, in one folder and one Python session, and compares what comes out.

* ```` ```console ````: lines that begin with ``$ `` are commands, what follows them is their output, in which a line ``...`` stands for
  any number of lines, and ``...`` at the end of a line for the rest of it. A command must end with exit code 0, or with the one in a comment ``# exit code N``.
* ```` ```pycon ````: a doctest (``...`` stands for anything); all blocks of a page share their names.
* ```` ```{code-block} LANGUAGE ```` with ``:caption: FILE``: is written to that file.
* Every other block is left alone.
"""

import doctest
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))
from warm import processed

BLOCK = re.compile(r"^```(?P<language>console|pycon|\{code-block\} \w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
CAPTION = re.compile(r":caption: (\S+)\n(?::\w+:.*\n)*\n")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SECONDS = 240
PLAIN = re.compile(r"python -m [\w.]+(?: +(?:[\w./=*:+-]+|\"[^\"$`]*\"))*(?: +# .*)?")


@dataclass(frozen=True)
class Command:
    """A command of a console block, the output that the page shows, and the exit code that it names."""

    line: int
    text: str
    output: str

    @property
    def exit_code(self):
        found = re.search(r"# exit code (\d+)$", self.text)
        return int(found[1]) if found else 0


def commands(body, line):
    """The commands of a console block with their output."""
    found = []
    for number, text in enumerate(body.splitlines(), start=line):
        if text.startswith("$ "):
            found.append(Command(number, text[2:], ""))
        elif found:
            last = found[-1]
            found[-1] = Command(last.line, last.text, f"{last.output}{text}\n")
    return found


def agrees(shown, real):
    """Whether real output is what a page shows, line by line, ``...`` lines and ends of lines being anything."""
    pieces = re.split(r"(^\.\.\.\n|\.\.\.(?=\n))", shown, flags=re.MULTILINE)
    stands_for = {"...\n": r"(?:.*\n)*", "...": ".*"}
    return re.fullmatch("".join(stands_for.get(piece, re.escape(piece)) for piece in pieces), real) is not None


def run_command(command, folder, page):
    """Run one command: in a shell whose `python` is this one, or in a warm process where it is a plain ``python -m``."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "COLUMNS": "100", "OMP_NUM_THREADS": "1"}
    environment.pop("CI", None)  # as a reader's terminal has it
    if PLAIN.fullmatch(command.text):
        module, *words = shlex.split(command.text, comments=True)[2:]
        result = processed(module, *words, cwd=folder, env=environment, timeout=SECONDS)
    else:
        result = subprocess.run(
            ["bash", "-c", command.text], cwd=folder, env=environment, capture_output=True, text=True, timeout=SECONDS
        )
    place = f"{page.name}:{command.line}: {command.text}"
    assert result.returncode == command.exit_code, f"{place}\n{result.stdout}{result.stderr}"
    shown = result.stdout + (result.stderr if command.exit_code else "")
    assert agrees(command.output, shown), f"{place}\nshown:\n{command.output}\nreal:\n{shown}"


def run_page(page, folder):
    """Run every block of a page, in order; the number of commands and examples that were run."""
    text = page.read_text(encoding="utf-8")
    names, count = {}, 0
    for block in BLOCK.finditer(text):
        line = text[: block.start("body")].count("\n") + 1
        if block["language"] == "console":
            for command in commands(block["body"], line):
                run_command(command, folder, page)
                count += 1
        elif block["language"] == "pycon":
            test = doctest.DocTestParser().get_doctest(block["body"], names, page.name, str(page), line - 1)
            failures = []
            runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
            runner.run(test, out=failures.append, clear_globs=False)
            assert not runner.summarize(verbose=False).failed, "".join(failures)
            names.update(test.globs)
            count += len(test.examples)
        elif caption := CAPTION.match(block["body"]):
            (folder / caption[1]).write_text(block["body"][caption.end() :], encoding="utf-8")
    return count
