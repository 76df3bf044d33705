"""Files of statements: broken ones beside sound ones, what is cut, settings of the process, modules beside a file."""

import json
import os
import signal
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from warm import processed

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError
from verify import Context, Evidence, user_statement
from verify.engine.statement import Check
from verify.own.arguments import run_check, same_function
from verify.own.files import copies, load_statements, local_modules
from verify.own.guard import Open, called, described, recorded, time_limit, unchanged

START = """
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import JsonInstance, user_statement

@dataclass(frozen=True)
class V(JsonInstance):
    x: float

def made(title, theory, **options):
    return user_statement(**{
        "title": title, "claim": "x", "theory": theory, "numeric": lambda i, at: at.array(i.x) + at.array(i.x),
        "strategy": st.builds(V, st.integers(-500, 500).map(float)), "variants": {"v": lambda i, at: at.array(i.x)}, **options,
    })
double = lambda i, at: 2 * at.array(i.x)
"""
STATEMENTS = {
    "right": "A = made('right', double)\n",
    "wrong": "B = made('wrong', lambda i, at: 3 * at.array(i.x))\n",
    "open": "C = made('open', double, variants={})\n",
    "refused": "D = made('refused', double, checks=['a'])\n",
    "broken": "E = made('broken', lambda i, at: 1 / 0)\n",
    "nameless": "F = made('', double)\n",
}


def run(ends, tmp_path, *names, options=(), text=START):
    (tmp_path / "mine.py").write_text(text + "".join(STATEMENTS[name] for name in names))
    done = ends("verify", "run", "mine.py", "--json", "-", "--device", "cpu", *options)
    document = json.loads(done.stdout) if done.stdout else {}
    verdicts = {one["slug"]: one["verdict"] for one in document.get("statements", [])}
    return done, verdicts, document.get("broken", [])


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["right", "wrong", "broken"], 1),
        (["right", "open", "refused"], 2),
        (["right", "broken"], 2),
        (["broken", "right"], 2),
        (["nameless", "refused", "broken"], 2),
    ],
)
def test_a_broken_statement_leaves_its_neighbours_their_verdicts(names, code, in_process, tmp_path):
    done, verdicts, broken = run(in_process, tmp_path, *names)
    wrong = {"refused", "broken", "nameless"}
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == len(wrong.intersection(names))
    known = {"right": "holds", "wrong": "refuted", "open": "abstained"}
    assert verdicts == {name: known[name] for name in names if name not in wrong}
    if verdicts:
        assert {one["slug"] for one in broken} == wrong.intersection(names)
        assert ["error: " + one["error"] for one in broken] == lines


def test_mutants_of_neighbours_are_tried(in_process, tmp_path):
    numeric = STATEMENTS["broken"].replace("lambda i, at: 1 / 0", "double, numeric=lambda i, at: 1 / 0")
    (tmp_path / "mine.py").write_text(START + STATEMENTS["right"] + numeric + STATEMENTS["refused"])
    done = in_process("verify", "run", "mine.py", "--variants", "--json", "-", "--device", "cpu")
    document = json.loads(done.stdout)
    assert done.returncode == 2, done.stderr
    assert {one["slug"] for one in document["broken"]} == {"broken", "refused"}
    assert [row["statement"] for row in document["variants"]] == ["right"]


def test_the_line_of_a_refused_statement_is_that_of_the_file(in_process, tmp_path):
    done, _, _ = run(in_process, tmp_path, "refused")
    line = len(START.splitlines()) + 1
    assert f"check='a' of statement 'refused': must be a verify.Check (mine.py, line {line})" in done.stderr


def test_statements_of_one_name_are_refused_and_the_others_run(in_process, tmp_path):
    text = START + "X = made('same', double)\nY = [made('same', double)]\n"
    done, verdicts, broken = run(in_process, tmp_path, "right", text=text)
    assert (done.returncode, verdicts, len(broken)) == (2, {"right": "holds"}, 1)
    assert "twice" in broken[0]["error"]


def test_what_is_cut_abstains(in_process, tmp_path, monkeypatch):
    monkeypatch.setenv("COVOP_TIME_LIMIT", "0.3")
    loop = "while True:\n        try: sum(range(99))\n        except BaseException: pass"
    text = f"{START}\ndef endless(i, at):\n    {loop}\nL = made('endless', endless)\n"
    done, verdicts, _ = run(in_process, tmp_path, "right", text=text)
    assert done.returncode == 3, done.stderr
    assert verdicts == {"endless": "abstained", "right": "holds"}


def test_a_check_that_is_cut_abstains(monkeypatch):
    monkeypatch.setenv("COVOP_TIME_LIMIT", "0.02")

    def endless(context):
        while True:
            pass

    row = run_check(Check("trained", "own", endless), "s", Context())
    assert (row.status, row.kind) == ("abstained", "trained")
    assert "not finished within 0.02 s (COVOP_TIME_LIMIT)" in row.detail


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_time_limit_that_is_none(text, monkeypatch):
    monkeypatch.setenv("COVOP_TIME_LIMIT", text)
    with pytest.raises(InputError, match="must be a positive number of seconds"):
        time_limit()


def test_replay_does_not_mind_a_broken_neighbour(in_process, tmp_path):
    run(in_process, tmp_path, "wrong", "refused")
    (saved,) = (tmp_path / "counterexamples").glob("wrong--float*.json")
    done = in_process("verify", "replay", saved, "--statements", "mine.py", "--device", "cpu")
    assert done.returncode == 1, done.stderr
    saved.write_text(saved.read_text().replace('"wrong"', '"refused"'))
    done = in_process("verify", "replay", saved, "--statements", "mine.py", "--device", "cpu")
    assert done.returncode == 2
    assert "must be a verify.Check" in done.stderr


def place():
    return "place"


def changed():
    os.chdir("/")
    np.seterr(all="raise")
    warnings.simplefilter("error")
    sys.setrecursionlimit(5000)
    sys.path.clear()
    sys.argv.append("x")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdout.close()
    sys.stderr.buffer.close()
    import flint
    import torch

    flint.ctx.prec = 11
    torch.set_default_dtype(torch.float16)
    torch.set_grad_enabled(False)
    torch.set_default_device("meta")


def settings():
    import flint
    import torch

    return (
        Path.cwd(), np.geterr(), list(warnings.filters), sys.getrecursionlimit(), list(sys.path), list(sys.argv),
        signal.getsignal(signal.SIGINT), sys.stdout, sys.stderr, flint.ctx.prec, torch.get_default_dtype(),
        torch.is_grad_enabled(), torch.get_default_device(),
    )  # fmt: skip


def test_settings_of_the_process_are_restored():
    before = settings()
    called(place, changed)
    assert settings() == before
    print("stdout is open", file=sys.stderr)


@pytest.mark.parametrize(
    ("error", "words"),
    [(GeneratorExit(), "place: GeneratorExit"), (KeyboardInterrupt(), "place: KeyboardInterrupt"),
     (SystemExit(3), "place: SystemExit: 3"), (ValueError("a\x1b\n b"), r"place: ValueError: a\\x1b b"),
     (InputError("rule"), "place: rule"), (InputError("statement 's': rule"), "statement 's': rule")],
)  # fmt: skip
def test_what_code_raises_is_one_line(error, words):
    def raised():
        raise error

    with pytest.raises(InputError, match=f"^{words}"):
        called(place, raised)


def test_a_real_ctrl_c_passes():
    with pytest.raises(KeyboardInterrupt):
        called(place, lambda: signal.raise_signal(signal.SIGINT))


def test_the_inner_limit_names_the_place(monkeypatch):
    monkeypatch.setenv("COVOP_TIME_LIMIT", "0.02")

    def endless():
        while True:
            pass

    with pytest.raises(OutOfTimeError, match=r"^inner: not finished"):
        called(place, lambda: called(lambda: "inner", endless))


def test_words_of_an_exception_without_words():
    class WordlessError(Exception):
        def __str__(self):
            raise ValueError

    assert described(WordlessError()) == "WordlessError: (its text cannot be made)"


def test_a_stream_stays_open(capsys):
    with Open(sys.stdout) as stream:
        stream.detach()
    print("still here")
    assert "still here" in capsys.readouterr().out


def test_an_instance_that_is_overwritten_is_noticed():
    (entry,) = load_statements_of(START + "S = made('s', double)\n")
    instance = entry.load().instance_type(1.0)
    before = recorded(instance)
    unchanged(instance, before)
    object.__setattr__(instance, "x", 2.0)
    with pytest.raises(InputError, match="changes the instance"):
        unchanged(instance, before)


def load_statements_of(text, name="mine.py"):
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(text)
        return load_statements(Path(folder) / name)


def test_one_function_in_several_forms():
    from functools import partial

    class Sides:
        def theory(self, i, at):
            return 1.0

    sides = Sides()
    assert same_function(sides.theory, sides.theory)
    assert not same_function(sides.theory, Sides().theory)
    assert same_function(partial(max, 1), partial(max, 1))
    assert not same_function(partial(max, 1), partial(max, 2))
    first, second = (lambda i, at: 1.0 for _ in range(2))
    assert same_function(first, second)

    def returning(n):
        return lambda i, at: n

    assert not same_function(returning(1), returning(2))


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"title": " "}, "must not be empty"),
        ({"title": "a\x1b[31m"}, "must be one line"),
        ({"title": "x" * 501}, "at most 500"),
        ({"assumptions": "abc"}, "must be a list of texts"),
        ({"numeric": "theory"}, "is the theory side itself"),
        ({"exact": "theory"}, "is the theory side itself"),
        ({"variants": {"v": "theory"}}, "is the theory side itself"),
        ({"numeric": lambda: 1.0}, "must be a function of (instance, at)"),
        ({"tolerance": True}, "must be a number"),
        ({"symbolic": 3}, "must be a function that returns the claims"),
        ({"checks": [Check("odd", "own", len)]}, "must be one of"),
        ({"checks": [Check("trained", "own", 3)]}, "must be a function"),
    ],
)
def test_arguments_are_refused_in_a_line(options, fragment):
    from verify.strategies import loss_instances

    def theory(i, at):
        return 1.0

    def place(value):
        return theory if value == "theory" else value

    options = {
        key: {k: place(v) for k, v in value.items()} if isinstance(value, dict) else place(value)
        for key, value in options.items()
    }
    common = {
        "title": "t",
        "claim": "c",
        "theory": theory,
        "numeric": lambda i, at: 1.0,
        "strategy": loss_instances(),
        "variants": {},
    }
    with pytest.raises(InputError) as caught:
        user_statement(**{**common, **options})
    assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("result", "fragment"),
    [
        ("holds", "must give a verify.Evidence"),
        (Evidence("float", "holds", "own", 3), "must be of kind 'trained'"),
        (Evidence("trained", "fine", "own", 3), "status='fine'"),
        (Evidence("trained", "holds", "own"), "holds with 0 instances"),
        (Evidence("trained", "holds", "own", 3, worst_residual="x"), "must be a number"),
        (Evidence("trained", "refuted", "own", 3, counterexample=3), "must be an instance"),
        (Evidence("trained", "refuted", "own", 3, detail="\ud800"), "without"),
        (Evidence("trained", "refuted", "own", 3, derivations=(3,)), "must be left out"),
    ],
)
def test_evidence_of_a_users_check_is_refused_in_a_line(result, fragment):
    with pytest.raises(InputError) as caught:
        run_check(Check("trained", "own", lambda context: result), "s", Context())
    assert fragment in str(caught.value)


MODULES = {
    "mine.py": START.replace("from dataclasses", "import beside_the_file\nfrom package_beside.deep import twice\nfrom dataclasses")
    + "def lazy(i, at):\n    import late_beside\n    return twice(at.array(i.x))\n"
    + "S = made('right', lazy)\n" + STATEMENTS["wrong"],
    "beside_the_file.py": "", "package_beside/__init__.py": "", "package_beside/deep/__init__.py": "from .inner import twice",
    "package_beside/deep/inner.py": "def twice(x):\n    return 2 * x\n", "late_beside.py": "", "unused.py": "1 / 0",
}  # fmt: skip


@pytest.fixture
def project(tmp_path):
    for name, content in MODULES.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(content)
    yield tmp_path / "project"
    for name in [n for n in sys.modules if n.partition(".")[0] in ("beside_the_file", "package_beside", "late_beside")]:
        del sys.modules[name]


def test_modules_beside_a_file_are_found(project, monkeypatch):
    load_statements(project / "mine.py")
    wanted = sorted(set(MODULES) - {"mine.py", "unused.py", "late_beside.py"})
    assert list(local_modules(project / "mine.py")) == wanted
    files, note = copies(project / "mine.py", "statements/mine.py")
    assert sorted(files) == sorted(f"statements/{name}" for name in ["mine.py", *wanted])
    assert not note
    monkeypatch.setattr("verify.own.files.BYTES", 10)
    files, note = copies(project / "mine.py", "statements/mine.py")
    assert list(files) == ["statements/mine.py"]
    assert note.startswith("without the 4 modules that 'mine.py' imports")


def test_installed_modules_and_the_toolkit_are_left_out(project):
    inside = project / "env" / "lib" / "site-packages"
    inside.mkdir(parents=True)
    (project / "env" / "pyvenv.cfg").write_text("")
    (inside / "beside_the_file.py").write_text("")
    (project / "beside_the_file.py").unlink()
    sys.path.append(str(inside))
    try:
        load_statements(project / "mine.py")
    finally:
        sys.path.remove(str(inside))
    assert "beside_the_file.py" not in [name.rpartition("/")[2] for name in local_modules(project / "mine.py")]


def test_a_bundle_runs_elsewhere(project, tmp_path):
    done = processed("verify", "run", "mine.py", "--bundle", "b.zip", cwd=project)
    assert done.returncode == 1, done.stderr
    elsewhere = tmp_path / "elsewhere"
    with zipfile.ZipFile(project / "b.zip") as archive:
        assert "statements/package_beside/deep/inner.py" in archive.namelist()
        assert "statements/unused.py" not in archive.namelist()
        archive.extractall(elsewhere)
    (project / "mine.py").unlink()
    assert processed("verify", "check-bundle", str(project / "b.zip"), cwd=elsewhere).returncode == 0
    assert processed("verify", "run", "statements/mine.py", "--only", "float", cwd=elsewhere).returncode == 1
    saved = sorted((elsewhere / "counterexamples").glob("wrong--*.json"))[0]
    command = ["replay", f"counterexamples/{saved.name}", "--statements", "statements/mine.py"]
    assert processed("verify", *command, cwd=elsewhere).returncode == 1


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\n", 0),
        ("import os\nos.close(1)\n", 2),
        ("import os\nos.close(2)\n", 0),
        ("import sys\nsys.__stdout__.close()\n", 2),
    ],
)
def test_threads_and_closed_files_of_a_process(code, expected, tmp_path):
    (tmp_path / "mine.py").write_text(code + START + STATEMENTS["right"])
    done = processed("verify", "run", "mine.py", "--device", "cpu", cwd=tmp_path, timeout=60)
    assert done.returncode == expected, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == (expected == 2)
