"""The claims of the security note, on the commands themselves: every process that they start is watched.

No socket of the internet, no file outside of the folders that were named (and the temporary one), no unpickling of files,
no text of a user's in the compiler, no program but pdflatex and Python. Where something is drawn, matplotlib asks fc-list for
fonts and keeps its list in the user's cache: the one exception.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
CANARY = "canary_9f2c"
LOSS = "tau*log(1 + exp((r_p - r_1)/tau))"
OWN = """
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import JsonInstance, user_statement

@dataclass(frozen=True)
class Number(JsonInstance):
    a: float

S = user_statement(
    title="a square", claim="a a = a^2", slug="square",
    theory=lambda i, at: at.array(i.a) ** 2, numeric=lambda i, at: at.array(i.a) * at.array(i.a),
    exact=lambda i, at: at.array(i.a) * at.array(i.a), strategy=st.builds(Number, st.integers(-5000, 5000).map(float)),
    variants={"half": lambda i, at: at.array(i.a) ** 2 / 2},
)
"""


@pytest.fixture
def watched(tmp_path, warm):
    """Run a command under watch: no note, the expected exit code, nothing left where nothing may be written."""
    places = {name: tmp_path / name for name in ("home", "scratch", "named", "cwd")}
    for place in places.values():
        place.mkdir()
    log = tmp_path / "log"
    fonts = [str(places["home"] / name / "matplotlib") for name in (".config", ".cache")]
    for name in fonts:
        Path(name).mkdir(parents=True)

    def run(*arguments, may_write=("named",), expected=0, whole=False):
        log.write_text("")
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(places["home"]),
            "TMPDIR": str(places["scratch"]),
            "PYTHONPATH": str(HERE / "watch"),
            "PYTHONDONTWRITEBYTECODE": "1",
            "OMP_NUM_THREADS": "1",
            "WATCH_LOG": str(log),
            "WATCH_MAY_WRITE": os.pathsep.join([*(str(places[name]) for name in ("scratch", *may_write)), *fonts]),
            "WATCH_CANARY": CANARY,
            "COVOP_ROCQ": "",  # where a proof assistant is on the path, a run asks for its version
        }
        words = [str(word).replace("NAMED", str(places["named"])) for word in arguments]
        if whole:
            command = [sys.executable, "-m", *words]
            done = subprocess.run(
                command, cwd=places["cwd"], env=environment, capture_output=True, text=True, timeout=300
            )
        else:
            done = warm(*words, cwd=places["cwd"], env=environment)
        assert log.read_text() == ""
        assert done.returncode == expected, done.stderr
        left = [path for name in {"cwd", "scratch"} - set(may_write) for path in places[name].rglob("*")]
        assert left == []
        return done

    return run


@pytest.fixture
def tree(watched):
    watched("hltm", "make", "complete", "NAMED/tree.json", "--depth", "2")
    return "NAMED/tree.json"


def test_the_watch_sees_in_a_warm_process(tmp_path, warm):
    (tmp_path / "deed.py").write_text(f"open({str(tmp_path / 'outside')!r}, 'w')")
    environment = {"PYTHONPATH": str(HERE / "watch"), "WATCH_LOG": str(tmp_path / "log"), "WATCH_CANARY": CANARY}
    environment |= {"WATCH_MAY_WRITE": str(tmp_path / "named"), "PYTHONDONTWRITEBYTECODE": "1"}
    done = warm("deed", cwd=tmp_path, env=environment)
    assert done.returncode == 1
    assert "PermissionError" in done.stderr
    assert (tmp_path / "log").read_text().startswith("open")


def test_the_watch_sees(tmp_path):
    """Each thing that is ruled out is noted; a watch that sees nothing would prove nothing."""
    deeds = {
        "socket": "import socket; socket.create_connection(('127.0.0.1', 9))",
        "open": f"open({str(tmp_path / 'outside')!r}, 'w')",
        "os.mkdir": f"import os; os.mkdir({str(tmp_path / 'outside')!r})",
        "pickle.find_class": "import pickle; pickle.loads(pickle.dumps(print))",
        "compile": f"compile('{CANARY[:3]}' + '{CANARY[3:]}', 'x', 'eval')",
        "os.system": "import os; os.system('true')",
        "subprocess.Popen": "import subprocess; subprocess.run(['true'])",
    }
    for name, deed in deeds.items():
        log = tmp_path / "log"
        environment = {
            "PYTHONPATH": str(HERE / "watch"),
            "WATCH_LOG": str(log),
            "WATCH_MAY_WRITE": str(tmp_path / "named"),
            "WATCH_CANARY": CANARY,
            "COVOP_ROCQ": "",  # where a proof assistant is on the path, a run asks for its version
        }
        done = subprocess.run([sys.executable, "-c", deed], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1, name
        assert "PermissionError" in done.stderr, name
        assert log.read_text().startswith(name), name
        log.unlink()


def test_a_run_with_a_report(watched):
    # The start of the interpreter and the loading of libraries are watched too.
    whole = ("verify.theorem1", "--report", "NAMED/report", "--bundle", "NAMED/report.zip", "--json", "NAMED/run.json")
    watched(*whole, whole=True)
    watched("verify", "check-bundle", "NAMED/report.zip")


def test_false_variants_are_saved_in_the_folder_that_is_documented(watched):
    watched("verify.theorem2", "--variants", may_write=("cwd",))


def test_a_loss(watched):
    watched("verify", "loss", LOSS)
    watched("verify", "loss", f"__import__('{CANARY}')", expected=2)
    watched("verify", "loss", f"r_p - r_1 + {CANARY}", expected=2)


def test_a_replay(watched):
    watched("verify", "replay", DATA / "counterexamples" / "dual-gradient--half-missing.json", expected=1)


def test_statements_of_a_users_own(watched, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    watched("verify", "run", tmp_path / "mine.py", "--report", "NAMED/report")


def test_trees(watched, tree):
    watched("hltm", "show", tree)
    for suffix in ("bif", "graphml", "json"):
        watched("hltm", "convert", tree, f"NAMED/again.{suffix}")
        watched("hltm", "show", f"NAMED/again.{suffix}")
    for suffix in ("svg", "pdf", "png"):
        watched("hltm", "draw", tree, f"NAMED/tree.{suffix}")


def test_names_in_trees_are_no_code(watched, tmp_path):
    text = f"__import__('{CANARY}')"
    path = tmp_path / "tree.json"
    path.write_text(
        f'{{"nodes": [{{"id": "{text}", "prior": [0.5, 0.5]}}, {{"id": "x"}}],'
        f' "edges": [{{"source": "{text}", "target": "x", "polarity": 0.5}}]}}'
    )
    watched("hltm", "show", path)
    watched("theory", "latex", "--tree", path, "--node", text)
    watched("numeric", "train", "--tree", path, "--steps", "2", "--batch", "4", "--samples", "64")


def test_formulas(watched, tree):
    watched("theory", "latex", "--tree", tree, "--node", "1", "--what", "operator", "--out", "NAMED/formula.tex")


def test_training(watched, tree):
    size = ("--steps", "4", "--batch", "8", "--samples", "64")
    for _ in range(2):  # the second one reads the checkpoint of the first
        watched("numeric", "train", "--tree", tree, *size, "--run", "NAMED/run", "--json", "NAMED/run.json")


def test_a_study(watched):
    size = ("--depth", "2", "--widths", "2", "--lows", "0.8", "--losses", "simple", "--seeds", "1", "--steps", "4")
    watched("numeric", "experiment", "hltm", *size, "--batch", "8", "--samples", "64", "--out", "NAMED/study")


GRID = """
seeds = 2
[tree]
kind = "complete"
depth = 2
branching = 2
polarity = 0.9
[network]
width = 2
output = "normalized"
[train]
loss = "simple"
lr = 0.05
steps = 4
batch = 8
samples = 64
"""


def test_a_sweep(watched, tmp_path):
    (tmp_path / "grid.toml").write_text(GRID)
    watched("numeric", "sweep", tmp_path / "grid.toml", "--store", "NAMED/sweep.sqlite", "--workers", "1")
    watched("numeric", "sweep", "status", "--store", "NAMED/sweep.sqlite")
    watched("numeric", "sweep", "export", "--store", "NAMED/sweep.sqlite", "NAMED/sweep.csv")
