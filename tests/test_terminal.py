"""Progress on a terminal: one line on stderr during a computation, nothing of it afterwards or elsewhere.

Commands run under a pseudo-terminal and are interrupted after a certain output, never after a certain time.
"""

import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from fcntl import ioctl
from pathlib import Path

import pytest

import hltm
from hltm.base.progress import Bar, clock, printable, seconds_left

DEADLINE = 240
CTRL_C = b"\x03"
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"
COLOUR = re.compile(r"\x1b\[(?:[0-9;]*;)?(?:3|4|9|10)[0-7][;m0-9]*m")
# Statement 5 takes long enough for a bar, and has checks of every kind.
SLOW = ["-m", "verify.theorem5"]
# Loads torch, which is enough for a bar.
SHORT = ["-m", "verify.theorem2", "--only", "exact"]
COUNT = re.compile(rb" \d+/\d+ \d+:\d\d")


class Terminal:
    """A command on a pseudo-terminal, and its output there."""

    def __init__(self, words, cwd, width=100, stdout=None, **environment):
        self.controller, device = pty.openpty()
        ioctl(device, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "TTY_COMPATIBLE")}  # fmt: skip
        self.process = subprocess.Popen(
            [sys.executable, *map(str, words)], cwd=cwd, stdin=device, stdout=stdout or device, stderr=device,
            env={**kept, "TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8", **environment},
            preexec_fn=lambda: controlling(device),
        )  # fmt: skip
        os.close(device)
        self.output = b""

    def read(self, until=None):
        """Read until the output matches a pattern, or to the end."""
        end = time.monotonic() + DEADLINE
        while until is None or not re.search(until, self.output):
            assert time.monotonic() < end, self.text
            if select.select([self.controller], [], [], 1)[0]:
                try:
                    part = os.read(self.controller, 65536)
                except OSError:  # Linux: nobody is at the other end any more
                    part = b""
                if not part:
                    assert until is None, self.text
                    break
                self.output += part
        return self

    def press(self, keys):
        os.write(self.controller, keys)
        return self

    def end(self):
        """Read to the end and return the exit code."""
        try:
            self.read()
            return self.process.wait(DEADLINE)
        finally:
            os.close(self.controller)

    @property
    def text(self):
        return self.output.decode()


def controlling(device):
    """Make the pseudo-terminal the one that sends Ctrl-C to the process and its children."""
    os.setsid()
    ioctl(device, termios.TIOCSCTTY, 0)


def last_screen(text):
    """Return the lines on the screen that were not erased, without control codes."""
    text = re.sub(r"[^\n]*\n(?:\x1b\[\?25h)?\r\x1b\[1A\x1b\[2K", "", text.replace("\r\n", "\n"))
    lines = [re.split(r"\r|\x1b\[2K", line)[-1] for line in text.split("\n")]
    return "\n".join(re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", line) for line in lines)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A statement checked on a terminal, the document in a file."""
    folder = tmp_path_factory.mktemp("whole")
    terminal = Terminal([*SLOW, "--json", "out.json"], folder)
    code = terminal.end()
    return code, terminal.text, json.loads((folder / "out.json").read_text())


def test_a_bar_counts_the_checks_and_tells_the_time_left(whole):
    code, text, document = whole
    assert code == 0, text
    counts = [(int(a), int(b)) for a, b in re.findall(r" (\d+)/(\d+) \d+:\d\d", text)]
    assert counts == sorted(counts)
    # What no check is about has no source.
    ran = [row for row in document["statements"][0]["evidence"] if row["source"]]
    assert {total for _, total in counts} == {len(ran)}
    assert re.search(r"\d+:\d\d, \d+:\d\d left", text)
    assert "two-layer-dynamics: " in text
    assert "━" in text


def test_closing_waits_for_a_line_that_is_being_drawn(monkeypatch):
    """Rich holds a lock of its own while it draws a line."""
    closing, drawn = threading.Event(), threading.Event()

    class Live:
        is_started = True

        def stop(self):
            closing.set()
            assert drawn.wait(20), "closing and drawing wait for each other"

    def draw():
        closing.wait(20)
        bar._console.print(bar.line())
        drawn.set()

    bar = Bar()
    monkeypatch.setattr(bar, "live", Live())
    thread = threading.Thread(target=draw)
    thread.start()
    bar.close()
    thread.join()


def test_nothing_of_the_bar_is_left_and_the_cursor_is_back(whole):
    _, text, _ = whole
    assert text.count(HIDE_CURSOR) >= 1
    assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    after = text[text.rindex(SHOW_CURSOR) :]
    assert " left" not in after
    assert "Statement 5 [two-layer-dynamics] holds" in last_screen(after)


def test_the_bar_is_one_line_at_every_width(tmp_path):
    for width in (24, 60):
        terminal = Terminal(SLOW, tmp_path, width)
        drawn = terminal.read(COUNT).text
        assert terminal.press(CTRL_C).end() == 130
        lines = [re.sub(r"\x1b\[[?0-9;]*[A-Za-z]", "", line) for line in re.split(r"\r|\n", drawn)]
        assert max(map(len, lines)) <= width
        assert not re.search(r"\x1b\[[2-9]A", terminal.text)


@pytest.mark.parametrize(
    ("options", "environment"),
    [(["--quiet"], {}), ([], {"TERM": "dumb"}), ([], {"TTY_COMPATIBLE": "0"})],
    ids=["quiet", "dumb", "not compatible"],
)
def test_no_bar(options, environment, tmp_path):
    terminal = Terminal([*SHORT, *options], tmp_path, **environment)
    assert terminal.end() == 0, terminal.text
    assert HIDE_CURSOR not in terminal.text
    assert "\r\x1b" not in terminal.text
    assert " left" not in terminal.text
    if "--quiet" in options:
        assert terminal.text == ""


def test_a_bar_where_nothing_is_against_it(tmp_path):
    """What the tests above and below look for would be there."""
    terminal = Terminal(SHORT, tmp_path)
    assert terminal.end() == 0, terminal.text
    assert HIDE_CURSOR in terminal.text
    assert "\r\x1b" in terminal.text


def test_no_bar_in_a_file_even_where_colour_is_forced(tmp_path):
    result = subprocess.run(
        [sys.executable, *SHORT], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm-256color"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b[" in result.stdout  # what FORCE_COLOR asks for


def test_no_codes_at_all_in_pipes(tmp_path):
    result = subprocess.run([sys.executable, *SHORT], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout


def test_colours_are_there_without_it(whole):
    assert COLOUR.search(whole[1])


def test_the_document_alone_on_stdout_and_no_colours(tmp_path):
    """With `--json -` the bar and the tables go to the terminal, the document into the pipe."""
    with (tmp_path / "out").open("w") as out:
        terminal = Terminal([*SLOW, "--only", "trained", "--json", "-"], tmp_path, stdout=out, NO_COLOR="1")
        assert terminal.end() == 0, terminal.text
    assert json.loads((tmp_path / "out").read_text())["statements"][0]["verdict"] == "holds"
    assert re.search(COUNT, terminal.output)
    assert "holds" in last_screen(terminal.text)
    assert not COLOUR.search(terminal.text)


def check_interrupted(terminal, code, bar=True):
    text = terminal.text
    assert code == 130, text
    assert "Traceback" not in text
    if bar:
        assert text.rindex(SHOW_CURSOR) > text.rindex(HIDE_CURSOR)
    said = [line for line in last_screen(text).splitlines() if line.strip("^C ")]
    assert len([line for line in said if line.startswith("interrupted")]) == 1
    return said


@pytest.mark.parametrize(
    ("words", "until"),
    [
        (["-m", "verify"], COUNT),
        (["-m", "verify", "--profile", "thorough"], rb" [1-9]\d*/\d+ \d+:\d\d"),
        (["-m", "verify", "--variants"], COUNT),
        (["-m", "verify.theorem4", "--variants"], COUNT),
        (["-m", "verify", "--assumptions"], COUNT),
        (["-m", "verify", "loss", "tau*log(1 + exp((r_p - r_1)/tau) + exp((r_p - r_2)/tau))"], COUNT),
    ],
    ids=["verify", "thorough", "variants", "variants of one", "assumptions", "loss"],
)
def test_ctrl_c(words, until, tmp_path):
    terminal = Terminal(words, tmp_path)
    terminal.read(until).press(CTRL_C)
    check_interrupted(terminal, terminal.end())
    assert processes_of(tmp_path) == []


def processes_of(folder):
    """Processes that work in a folder; only Linux can tell."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (entry / "cwd").resolve() == folder.resolve() and (entry / "cmdline").read_bytes():
                found.append((entry / "cmdline").read_bytes())
        except OSError:
            continue
    return found


def test_ctrl_c_twice(tmp_path):
    terminal = Terminal(["-m", "verify", "--variants"], tmp_path)
    terminal.read(COUNT).press(CTRL_C + CTRL_C)
    check_interrupted(terminal, terminal.end())
    assert processes_of(tmp_path) == []


@pytest.mark.parametrize(
    "words", [["-m", "verify"], ["-m", "numeric", "experiment", "hltm"]], ids=["verify", "numeric"]
)
def test_ctrl_c_while_torch_is_loaded(words, tmp_path):
    """Torch drops it, and goes on without half of NumPy."""
    terminal = Terminal(words, tmp_path)
    terminal.read(b"loading (torch|libraries)").press(CTRL_C)
    check_interrupted(terminal, terminal.end())


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    path = tmp_path_factory.mktemp("tree") / "tree.json"
    hltm.save(hltm.complete_tree(3, 2, 0.8), path)
    return path


def test_ctrl_c_names_the_checkpoint_of_a_training_run(tree, tmp_path):
    words = ["-m", "numeric", "train", "--tree", tree, "--width", 10, "--steps", 200_000, "--run", tmp_path / "run"]
    terminal = Terminal(words, tmp_path, width=200)
    terminal.read(rb" 10000/200000 \d+:\d\d").press(CTRL_C)
    said = check_interrupted(terminal, terminal.end())
    assert f"resumes from the last checkpoint in {tmp_path / 'run'}" in " ".join(said)
    assert re.search(r"training, mean loss \d", terminal.text)


def test_ctrl_c_in_a_training_run_without_a_folder(tree, tmp_path):
    terminal = Terminal(["-m", "numeric", "train", "--tree", tree, "--steps", 200_000], tmp_path)
    terminal.read(rb" \d+/200000 \d+:\d\d").press(CTRL_C)
    said = check_interrupted(terminal, terminal.end())
    assert said[-1].strip("^C") == "interrupted"


def test_a_study_tells_its_share(tmp_path):
    words = ["-m", "numeric", "experiment", "hltm", "--depth", 3, "--widths", "2,5", "--seeds", 2, "--steps", 20_000]
    terminal = Terminal([*words, "--samples", 1000], tmp_path)
    terminal.read(rb"step \d+ of.* [1-9]\d?% \d+:\d\d, \d+:\d\d left").press(CTRL_C)
    check_interrupted(terminal, terminal.end())


def test_a_large_tree(tmp_path):
    """A command without a count shows what it does; a quick one shows nothing."""
    words = ["-m", "hltm", "make", "random", "t.json", "--leaves"]
    terminal = Terminal([*words, 30_000, "--symmetric"], tmp_path)
    assert terminal.end() == 0, terminal.text
    assert HIDE_CURSOR in terminal.text
    assert SHOW_CURSOR in terminal.text
    assert re.fullmatch(r"t\.json: HLTM\(.*\)", last_screen(terminal.text).strip())
    terminal = Terminal([*words, 3], tmp_path)
    assert terminal.end() == 0, terminal.text
    assert "\x1b" not in terminal.text


def test_a_reader_that_leaves_in_the_middle_of_a_table(tmp_path):
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run([sys.executable, *SHORT], cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert result.returncode == 141
    assert result.stderr == ""


def test_times_and_texts():
    assert clock(0) == "0:00"
    assert clock(7322) == "2:02:02"
    assert printable("a\x1b]0;title\x07\nb") == "a?]0;title??b"
    assert seconds_left(1, 2, 0, 5.0, 100.0) == 0
    assert seconds_left(3, 10, 6, 3.0, 3.0) == 1
