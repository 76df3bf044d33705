"""What may go wrong while a finished run is told: Ctrl-C, no room for temporary files, formulas that TeX cannot set."""

import errno
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from pathlib import Path
from threading import Event, Timer

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from report_pages import overfull

from verify.cli import scratch_folder
from verify.engine.runner import Result
from verify.engine.statement import Context, command
from verify.own.files import load_statements
from verify.report.build import build, counterexamples
from verify.report.html import FITS, ConversionError, formula, mathml, page, width
from verify.report.tex import code, document, run_pdflatex
from verify.report.tex import formula as latex_formula
from verify.report.view import Request, view

OWN = r"""
import time
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import Check, Evidence, JsonInstance, user_statement

@dataclass(frozen=True)
class Number(JsonInstance):
    a: float

def twice(i, at):
    return 2 * at.array(i.a)

def slow(context):
    open("reached", "w").close()
    time.sleep(SLEEP)
    return Evidence("trained", "holds", "slow", 1, detail="slept")

def statement(slug, claim, checks=()):
    return user_statement(
        title=slug, claim=claim, slug=slug, theory=twice, numeric=lambda i, at: at.array(i.a) + at.array(i.a),
        strategy=st.builds(Number, st.integers(1, 1000).map(float)), checks=checks,
        variants={"thrice": lambda i, at: 3 * at.array(i.a)},
    )

GOOD = statement("good", r"\frac{a + a}{1} = 2 a")
OTHER = statement("other", CLAIM, [Check("trained", "slow", slow)])
"""
HANGS = "#!/bin/sh\ntouch reached\nsleep 3019 &\necho $! > child\nmv child {folder}/child\nwait\n"


def written(folder, claim="a = a", sleep=0):
    (folder / "own.py").write_text(OWN.replace("CLAIM", repr(claim)).replace("SLEEP", str(sleep)))
    return folder / "own.py"


def program(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "pdflatex").write_text(text)
    (folder / "pdflatex").chmod(stat.S_IRWXU)
    return folder


def pressed(arguments, folder, awaited, **options):
    """Call a command, press Ctrl-C once a file is there, and give exit code, stdout and stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "verify", *arguments],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip
    limit = time.monotonic() + 120
    while not awaited.exists():
        assert time.monotonic() < limit, "never came so far"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)
    return process.returncode, *said


def gone(pid):
    """Whether a process ends within a moment."""
    for _ in range(100):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # One that was orphaned may be left to a parent that never asks for it.
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("mode", [[], ["--variants"]])
def test_ctrl_c_while_pdflatex_runs_costs_the_pdf_and_nothing_else(tmp_path, mode):
    written(tmp_path)
    bin_folder = program(tmp_path / "bin", HANGS.format(folder=tmp_path))
    environment = {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
    called = ["run", "own.py", "--report", "out", "--json", "run.json", *mode]
    found, said, errors = pressed(called, tmp_path, tmp_path / "child", env=environment)
    assert found == 130, errors
    assert ("all refuted" if mode else "[good] holds: good") in said
    assert "no report.pdf: interrupted" in errors
    assert errors.splitlines()[-1] == "interrupted"
    assert "There is no report.pdf: interrupted." in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run.json").read_text())["schema"] == 1
    assert not (tmp_path / "out" / "report.pdf").exists()
    assert gone(int((tmp_path / "child").read_text()))


def test_ctrl_c_without_a_report_tells_what_is_finished(tmp_path):
    written(tmp_path, sleep=60)
    found, said, errors = pressed(["run", "own.py", "--json", "run.json"], tmp_path, tmp_path / "reached")
    assert found == 130, errors
    assert "[good] holds: good" in said
    assert "[other]" not in said
    first, second = json.loads((tmp_path / "run.json").read_text())["statements"]
    assert (first["verdict"], second["verdict"]) == ("holds", "abstained")
    assert "interrupted" in {row["detail"] for row in second["evidence"]}
    assert errors == "interrupted\n"


def test_no_room_for_temporary_files_costs_the_pdf_and_nothing_else(tmp_path):
    written(tmp_path)
    text = "import tempfile, sys\ndef full(*_): raise OSError(28, 'No space left on device')\ntempfile.mkdtemp = full\n"
    (tmp_path / "full.py").write_text(text + "from verify.cli import main\nmain()\n")
    result = subprocess.run(
        [sys.executable, "full.py", "run", "own.py", "--report", "out"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    assert "[good] holds: good" in result.stdout
    assert "no report.pdf: pdflatex could not be run in " in result.stdout
    assert "No space left on device" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"own.py", "full.py", "out", "reached"}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_a_temporary_folder_that_cannot_be_made_is_a_reason(monkeypatch, number):
    def full(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    made = run_pdflatex("text", {})
    assert (made.content, os.strerror(number) in made.reason) == (None, True)
    with scratch_folder() as scratch:
        assert not Path(scratch).exists()


def test_all_passes_share_one_time_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", "#!/bin/sh\nsleep 0.7\n")), prepend=os.pathsep)
    made = run_pdflatex("text", {}, seconds=1.0)
    assert made.reason == "pdflatex took more than 1 seconds"


@pytest.mark.parametrize("stopped", [True, False])
def test_nothing_that_pdflatex_started_outlives_it(tmp_path, monkeypatch, stopped):
    monkeypatch.setenv("PATH", str(program(tmp_path / "bin", HANGS.format(folder=tmp_path))), prepend=os.pathsep)
    stop = Event()
    if stopped:
        Timer(1.0, stop.set).start()
    made = run_pdflatex("text", {}, seconds=60 if stopped else 1.0, stop=stop)
    assert made.reason == ("interrupted" if stopped else "pdflatex took more than 1 seconds")
    assert gone(int((tmp_path / "child").read_text()))


@pytest.mark.parametrize("tex", [r"\frac{1}{2", "{a", r"\textbf{a", "a}", "}{", "50% x", "{a % }"])
def test_what_tex_reads_otherwise_is_no_formula(tex):
    with pytest.raises(ConversionError):
        mathml([tex])


@pytest.mark.parametrize("tex", [r"\{a\}", r"\frac{1}{2}", r"50\% x", r"\left\{ a \right."])
def test_braces_and_percents_that_are_signs_are_formulas(tex):
    assert mathml([tex]).startswith("<math")


def bare(folder, claim):
    """The results of two statements of which nothing ran."""
    return [Result(one.load(), (), 0.0) for one in load_statements(written(folder, claim))]


@pytest.mark.parametrize(("claim", "shown"), [(r"\frac{1}{2", "source"), ("a #1", "formula"), ("a % b", "source")])
def test_a_claim_that_cannot_be_set_leaves_the_others_as_they_are(tmp_path, claim, shown):
    results = bare(tmp_path, claim)
    request = Request(Context(), "statements/own.py")
    report = build(request, results, {}, *counterexamples(request, results))
    assert report.pdf_reason == ""
    latex = report.files["report.tex"].decode()
    assert code(claim) in latex
    assert latex_formula([r"\frac{a + a}{1} = 2 a"]) in latex
    html = report.files["index.html"].decode()
    assert ('<code class="source">' in html) == (shown == "source")
    assert html.count("<math") == 2 - (shown == "source")


def test_latex_says_what_the_page_says(tmp_path):
    seen = view(
        Request(Context(), "statements/own.py"), bare(tmp_path, "a = a"), counterexamples(Request(Context()), [])[0]
    )
    one = seen["statements"][0]
    instance = json.dumps({"x": [[0.123456789012345678] * 9] * 3, "long": "9" * 200})[:700]
    one["variants"][0] |= {
        "status": "survived", "counterexample": "counterexamples/good--thrice.json", "replay": "python -m verify replay x",
        "instance": instance, "residual": "1.23", "tolerance": "4.56e-07", "one_kind": "only floats",
    }  # fmt: skip
    figure = {
        "name": "f", "title": "F", "caption": "C.", "facts": {"order": 1.99986, "low": 3}, "alt": "", "reason": "none",
        "command": command(1, Context(seed=7)) + " --and-so-on" * 9, "files": ["figures/f.csv"],
    }  # fmt: skip
    one["figures"] = [figure]
    missing = document(seen)
    assert code(figure["command"]) in missing
    figure["reason"] = ""
    latex = document(seen)
    for text in (instance, figure["command"], "figures/f.csv", "counterexamples/good--thrice.json"):
        assert code(text) in latex
    for text in ("residual 1.23, tolerance 4.56e-07", "order: 1.99986; low: 3", "only floats", "expected: float"):
        assert text in latex
    made = run_pdflatex(missing, {})
    assert made.content, made.reason
    assert [points for points in overfull(made.log) if points > 10] == []


def test_commands_of_figures_name_the_device():
    assert command(3, Context(seed=7, device="cuda")).split()[3:] == [
        "--seed", "7", "--profile", "quick", "--device", "cuda", "--report", "out"
    ]  # fmt: skip


def test_only_formulas_that_may_scroll_are_tab_stops(tmp_path):
    seen = view(
        Request(Context(), "statements/own.py"), bare(tmp_path, "a = a"), counterexamples(Request(Context()), [])[0]
    )
    seen["statements"][1]["claim"] = ["a + " * FITS + "a", "= a"]
    text = page(seen, {})
    assert text.count('<div class="formula"') == 2
    assert text.count('<div class="formula" tabindex="0" role="group" aria-label="formula">') == 1
    assert ".formula:focus-visible" in text


def test_the_width_of_a_formula():
    made = formula([r"\begin{matrix}a & b\\ c & ddd\end{matrix} + 1", "= 1"])
    assert width(ET.fromstring(made)) == 6  # noqa: S314


def test_ctrl_c_is_heard_while_the_compiler_of_torch_is_loaded(tmp_path):
    (tmp_path / "deaf.py").write_text("""
import importlib.machinery, os, signal, sys, time
import torch
from verify.towers.residue import load_dynamo

class Deaf:
    def find_spec(self, name, path=None, target=None):
        return importlib.machinery.ModuleSpec(name, self) if name == "torch._dynamo" else None

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        try:
            for press in range(2):  # the first one waits for the end of the import
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(1)
                print("pressed")
        except KeyboardInterrupt:
            print("dropped")

sys.meta_path.insert(0, Deaf())
try:
    load_dynamo()
except KeyboardInterrupt:
    print("heard")
""")
    result = subprocess.run([sys.executable, "deaf.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert result.stdout.split() == ["pressed", "dropped", "heard"], result.stderr


def test_ctrl_c_while_sympy_is_loaded_breaks_no_report(tmp_path):
    (tmp_path / "pressing.py").write_text("""
import os, signal, sys

class Press:
    left = True

    def find_spec(self, name, path=None, target=None):
        if name == "sympy.polys.orderings" and Press.left:
            Press.left = False
            os.kill(os.getpid(), signal.SIGINT)
        return None

sys.meta_path.insert(0, Press())
from verify.cli import main
main()
""")
    result = subprocess.run(
        [sys.executable, "pressing.py", "--only", "symbolic", "--report", "out"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert (result.returncode, result.stderr) == (130, "interrupted\n")
