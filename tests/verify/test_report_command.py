"""`--report` and `--bundle` as a user meets them: exit codes, what is printed, what is left behind when things go wrong."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm import processed

from verify.report.tex import run_pdflatex

OWN = """
import time
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import Check, Evidence, JsonInstance, Without, user_statement

@dataclass(frozen=True)
class Numbers(JsonInstance):
    a: float
    b: float

whole = st.integers(-50, 50).map(float)
numbers = st.builds(Numbers, whole, whole)

def square(i, at):
    return (at.array(i.a) + at.array(i.b)) ** 2

def stated(i, at):
    return at.array(i.a) ** 2 + FACTOR * at.array(i.a) * at.array(i.b) + at.array(i.b) ** 2

def slow(context):
    time.sleep(SLEEP)
    return Evidence("trained", "holds", "slow", 1, detail="slept")

S = user_statement(
    title="the square of a sum", claim="(a+b)^2 = a^2 + 2ab + b^2", slug="square", theory=stated, numeric=square,
    exact=square, strategy=numbers, checks=[Check("trained", "slow", slow)],
    variants={"no-cross-term": lambda i, at: at.array(i.a) ** 2 + at.array(i.b) ** 2},
    drops={"whole numbers": Without("halves", st.builds(Numbers, whole.map(lambda x: x / 2), whole), necessary=False)},
)
T = user_statement(
    title="the same again", claim="x = x", slug="again", theory=lambda i, at: square(i, at), numeric=square, strategy=numbers,
    variants={"none": lambda i, at: at.array(i.a) ** 2},
)
"""


def call(*arguments, cwd, **options):
    return processed("verify", *arguments, cwd=cwd, **options)


@pytest.fixture
def write(tmp_path):
    def written(factor=2, sleep=0):
        (tmp_path / "own.py").write_text(OWN.replace("FACTOR", str(factor)).replace("SLEEP", str(sleep)))
        return "own.py"

    return written


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_ends_by_naming_its_report_and_can_be_repeated(write, tmp_path):
    name = write()
    result = call("run", name, "--report", "out", "--bundle", "out.zip", "--json", "run.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-2:] == [f"report: {Path('out') / 'index.html'}", "bundle: out.zip"]
    first = files(tmp_path / "out")
    assert {"index.html", "report.json", "report.tex", "report.pdf", "manifest.json"} <= set(first)
    assert len(json.loads(first["manifest.json"])["files"]) == len(first) - 1
    checked = call("check-bundle", "out.zip", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert f"{len(first) - 1} files, all sums agree" in checked.stdout
    document, plain = json.loads(first["report.json"]), json.loads((tmp_path / "run.json").read_text())
    assert {key: value for key, value in document.items() if key != "report"} == plain
    assert "report" not in plain

    again = call("run", name, "--only", "exact", "--report", "out", "--bundle", "out.zip", "--quiet", cwd=tmp_path)
    assert again.returncode == 3, again.stderr  # the second statement has no exact side: it is left open
    second = files(tmp_path / "out")
    assert not [file for file in second if file.startswith("counterexamples")]
    assert b"only exact was asked for" in second["index.html"]


def test_the_command_of_a_line_gives_that_line_again(write, tmp_path):
    name = write()
    assert call("run", name, "--report", "out", cwd=tmp_path).returncode == 0
    rows = json.loads((tmp_path / "out" / "report.json").read_text())["report"]["statements"][0]["evidence"]
    row = next(row for row in rows if row["kind"] == "exact")
    words = row["command"].split()
    assert words[:5] == ["python", "-m", "verify", "run", "statements/own.py"]
    result = call(*words[3:], "--json", "-", cwd=tmp_path / "out")
    found = [r for r in json.loads(result.stdout)["statements"][0]["evidence"] if r["kind"] == "exact"]
    shown = {key: value for key, value in row.items() if key in found[0]}
    assert [{**f, "seconds": 0} for f in found] == [{**shown, "seconds": 0}]


def test_variants_and_assumptions_have_their_pages(write, tmp_path):
    name = write()
    result = call("run", name, "--variants", "--report", "v", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "v" / "index.html").read_text()
    assert "Counterexamples are shrunk." in page
    assert "counterexamples/square--no-cross-term.json" in page
    (row, _) = json.loads((tmp_path / "v" / "variants.json").read_text())["variants"]
    assert call("replay", row["counterexample"], "--statements", name, cwd=tmp_path).returncode == 1
    result = call("run", name, "--assumptions", "--report", "a", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "whole numbers" in (tmp_path / "a" / "index.html").read_text()
    assert "assumptions" in json.loads((tmp_path / "a" / "assumptions.json").read_text())
    assert not (tmp_path / "counterexamples").exists()


@pytest.mark.parametrize("options", [["--variants"], ["--assumptions"], []])
def test_a_file_of_somebody_else_is_refused_before_anything_runs(write, tmp_path, in_process, options):
    name = write(sleep=100)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "index.html").write_text("mine")
    result = in_process("verify", "run", name, *options, "--report", "out")
    assert (result.returncode, result.stdout) == (2, "")
    (line,) = result.stderr.splitlines()
    assert str(Path("out") / "index.html") in line
    assert files(tmp_path / "out") == {"index.html": b"mine"}


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--only", "exact", "--variants"], ["--variants and --only"]),
        (["--only", "proof"], ["--only", "proof", "symbolic"]),
        (["--bundle", "absent/x.zip"], ["absent", "does not exist"]),
        (["--bundle", "own.py"], ["own.py", "is not overwritten"]),
        (["--report", "own.py"], ["own.py"]),
    ],
)
def test_wrong_usage(write, tmp_path, in_process, arguments, fragments):
    name = write(sleep=100)
    before = files(tmp_path)
    result = in_process("verify", "run", name, *arguments)
    assert (result.returncode, result.stdout) == (2, ""), result.stderr
    (line,) = result.stderr.splitlines()
    assert all(fragment in line for fragment in fragments), line
    assert files(tmp_path) == before


def test_a_refuted_statement_has_its_counterexample_in_the_report(write, tmp_path):
    name = write(factor=3)
    result = call("run", name, "--report", "out", "--bundle", "b.zip", "--json", "-", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    row = next(r for r in json.loads(result.stdout)["statements"][0]["evidence"] if r["status"] == "refuted")
    assert (tmp_path / row["counterexample"]).is_file()
    assert "✗ refuted" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")


def test_a_disk_that_is_full(write, tmp_path):
    """No file may be longer than 16 KiB: the table is printed, one line says why there is no report, nothing is left."""
    name = write()
    limited = ["bash", "-c", f"ulimit -f 16; exec {sys.executable} -m verify run {name} --report out --bundle b.zip"]
    result = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert result.returncode == 2, result.stderr
    assert "Evidence by statement" in result.stdout
    assert "holds: the square of a sum" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("error: ")
    assert "cannot be written: File too large" in line
    assert files(tmp_path).keys() == {"own.py"}


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (None, "pdflatex was not found"),
        ("#!/bin/sh\nexit 1\n", "pdflatex failed: exit code 1"),
        ("#!/bin/sh\necho '! Undefined control sequence.' > report.log\nexit 1\n", "Undefined control sequence"),
        ("#!/bin/sh\nexit 0\n", "pdflatex failed"),
        ("no program", "pdflatex could not be run"),
    ],
    ids=["missing", "fails", "says why", "writes nothing", "is no program"],
)
def test_without_a_pdflatex_that_works_there_is_a_page_and_a_reason(write, tmp_path, program, reason):
    name = write()
    folder = tmp_path / "bin"
    folder.mkdir()
    if program is not None:
        (folder / "pdflatex").write_text(program)
        (folder / "pdflatex").chmod(stat.S_IRWXU)
    environment = {**os.environ, "PATH": str(folder) if program is None else f"{folder}{os.pathsep}/usr/bin:/bin"}
    result = call("run", name, "--only", "exact", "--report", "out", cwd=tmp_path, env=environment)
    assert result.returncode == 3, result.stderr
    assert f"report: {Path('out') / 'index.html'} (no report.pdf: " in result.stdout
    assert reason in result.stdout
    assert reason in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert "report.pdf" not in files(tmp_path / "out")


def test_a_pdflatex_that_hangs(tmp_path, monkeypatch):
    (tmp_path / "pdflatex").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "pdflatex").chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    made = run_pdflatex("text", {}, seconds=0.5)
    assert (made.content, made.reason) == (None, "pdflatex took more than 0.5 seconds")


@pytest.mark.parametrize("report", [True, False])
def test_ctrl_c_leaves_a_partial_report(write, tmp_path, report):
    name = write(sleep=60)
    options = ["--report", "out", "--bundle", "b.zip"] if report else []
    (tmp_path / "own.py").write_text((tmp_path / name).read_text().replace(
        "    time.sleep(60)", "    open('reached', 'w').close()\n    time.sleep(60)"))  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "verify", "run", name, *options],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    limit = time.monotonic() + 120
    while not (tmp_path / "reached").exists():
        assert time.monotonic() < limit, "the check was not reached"
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    if not report:
        assert set(files(tmp_path)) == {"own.py", "reached"}
        return
    assert f"partial report: {Path('out') / 'index.html'}" in errors
    seen = json.loads((tmp_path / "out" / "report.json").read_text())["report"]
    assert seen["interrupted"] is True
    first, second = seen["statements"]
    assert (first["verdict"], second["verdict"]) == ("abstained", "abstained")
    found = {row["kind"]: row for row in first["evidence"]}
    assert found["exact"]["status"] == "holds"
    assert (found["trained"]["status"], found["trained"]["detail"]) == ("not-run", "interrupted")
    assert {row["status"] for row in second["evidence"]} == {"not-run"}
    assert "not complete" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert call("check-bundle", "b.zip", cwd=tmp_path).returncode == 0
