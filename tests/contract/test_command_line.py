"""The command line as it is promised to users: every command, flag, value and exit code, each a test of its own.

`PROMISED` is the list of promises; each has one check in `CHECKS`, registered under its own text.
"""

import inspect
import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from commands import processed, promise_of

COUNTEREXAMPLES = Path(__file__).parent.parent / "data" / "counterexamples"
LOSS = "tau*log(1 + exp((r_p - r_1)/tau))"

PROMISED = (
    "python -m verify",
    *(f"python -m verify.theorem{number}" for number in range(1, 8)),
    "--profile quick",
    "--profile thorough",
    "--device auto",
    "--device cpu",
    "--device cuda",
    "--seed N",
    "--json FILE",
    "--json -",
    "--report DIR",
    "--quiet",
    "python -m verify replay FILE",
    "python -m verify loss EXPR",
    "python -m verify --variants",
    "python -m verify --assumptions",
    "python -m verify run my_statements.py",
    "python -m theory latex --tree FILE --node NODE",
    "--what activation",
    "--what operator",
    "--form equation",
    "--form align",
    "--form standalone",
    "--out FILE",
    "--width 246pt|twocolumn|beamer",
    "--short",
    "--label PREFIX, --no-label",
    "--what symbols",
    "--weights FILE --slope S",
    "python -m hltm make",
    "python -m hltm show",
    "python -m hltm convert",
    "python -m hltm draw",
    "python -m numeric train",
    "python -m numeric train, resumed",
    "python -m numeric experiment",
    "exit code 0: everything asked for holds",
    "exit code 1: a statement is refuted, the counterexample is printed and saved",
    "exit code 2: one line on stderr: what, where, what is allowed; no traceback",
    "exit code 2: a file that is not there",
    "exit code 2: a value that is not allowed",
    "exit code 2: replay of a file that is not there",
    "exit code 2: replay of a file that is not allowed",
    "exit code 3: a check abstained",
    "--json -: one document and nothing else on stdout",
    "--json -: tables go to stderr",
)

CHECKS = {}
promise = promise_of(CHECKS)


@pytest.mark.parametrize("name", PROMISED)
def test_promise(name, request):
    check = CHECKS[name]
    fixtures = {key: "tmp_path" if key == "folder" else key for key in inspect.signature(check).parameters}
    check(**{key: request.getfixturevalue(fixture) for key, fixture in fixtures.items()})


def test_every_check_is_a_promise():
    assert len(set(PROMISED)) == len(PROMISED)
    assert set(CHECKS) == set(PROMISED)


def quick(number, *options):
    """The cheapest kind of evidence of one statement; the options are those of every run."""
    return (f"verify.theorem{number}", "--only", "exact", *options)


def document(ended):
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def tree(call, name="tree.json", *options):
    assert call("hltm", "make", "complete", name, "--depth", "2", *options).code == 0
    return name


@promise("python -m verify")
def _(call):
    ended = call("verify", "--only", "symbolic")
    assert ended.code == 0, ended.err
    table, verdicts = ended.out.index("Evidence by statement"), ended.out.index("[lucky-nodes] holds")
    assert table < verdicts
    for slug in ("dual-gradient", "contrastive-losses", "covariance-operator", "weighted-covariance-operator", "two-layer-dynamics", "activation-covariance", "lucky-nodes"):  # fmt: skip
        assert f"[{slug}] holds" in ended.out


def one_statement(number):
    def check(folder):
        ended = processed(*quick(number, "--json", "-"), cwd=folder)
        assert ended.returncode == 0, ended.stderr
        (found,) = json.loads(ended.stdout)["statements"]
        assert (found["theorem"], found["verdict"]) == (number, "holds")

    return check


for statement in range(1, 8):
    promise(f"python -m verify.theorem{statement}")(one_statement(statement))


@promise("--profile quick")
def _(folder):
    ended = processed(*quick(2, "--profile", "quick", "--json", "-"), cwd=folder)
    assert json.loads(ended.stdout)["profile"] == "quick"


@promise("--profile thorough")
def _(folder):
    sizes = {}
    for name in ("quick", "thorough"):
        ended = processed(*quick(2, "--profile", name, "--json", "-"), cwd=folder)
        found = json.loads(ended.stdout)
        assert found["profile"] == name
        sizes[name] = sum(row["instances"] for row in found["statements"][0]["evidence"])
    assert sizes["thorough"] > sizes["quick"] > 0


REPLAYED = COUNTEREXAMPLES / "contrastive-losses--sum-halved.json"


@promise("--device auto")
def _(call):
    assert call("verify", "replay", REPLAYED, "--device", "auto").code == 1


@promise("--device cpu")
def _(call):
    found = json.loads(call("verify", "replay", REPLAYED, "--device", "cpu", "--json", "-").out)
    assert found["environment"]["device"] == "cpu"


@promise("--device cuda")
def _(call):
    import torch

    ended = call("verify", "replay", REPLAYED, "--device", "cuda", "--json", "-")
    if torch.cuda.is_available():
        assert json.loads(ended.out)["environment"]["device"].startswith("cuda")
    else:
        ended.refused("cuda")
    call("verify", "replay", REPLAYED, "--device", "tpu").refused("--device", "auto", "cpu", "cuda")


@promise("--seed N")
def _(folder):
    runs = [processed(*quick(1, "--seed", seed, "--json", "-"), cwd=folder) for seed in (7, 7)]
    found = [json.loads(run.stdout) for run in runs]
    assert found[0]["seed"] == 7
    rows = [[{**row, "seconds": 0} for row in one["statements"][0]["evidence"]] for one in found]
    assert rows[0] == rows[1]


@promise("--json FILE")
def _(folder):
    ended = processed(*quick(2, "--json", "run.json"), cwd=folder)
    assert ended.returncode == 0
    assert json.loads((folder / "run.json").read_text())["schema"] == 1
    assert "holds" in ended.stdout
    assert [path.name for path in folder.iterdir()] == ["run.json"]


@promise("--json -")
def _(call):
    assert document(call("verify", "loss", LOSS, "--json", "-"))["schema"] == 1


@promise("--report DIR")
def _(folder):
    ended = processed(*quick(2, "--report", "out"), cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert (folder / "out" / "index.html").is_file()
    assert [path.name for path in folder.iterdir()] == ["out"]


@promise("--quiet")
def _(call):
    ended = call("verify", "loss", LOSS, "--quiet")
    assert (ended.code, ended.out, ended.err) == (0, "", "")


@promise("python -m verify replay FILE")
def _(call):
    ended = call("verify", "replay", COUNTEREXAMPLES / "dual-gradient--half-missing.json")
    assert ended.code == 1
    assert "variant half-missing: refuted" in ended.out


@promise("python -m verify loss EXPR")
def _(call):
    ended = call("verify", "loss", LOSS)
    assert ended.code == 0, ended.err
    assert "statement 2: in the family" in ended.out
    assert "xi(r) = " in ended.out
    assert "statement 4, " in ended.out
    assert "loss: holds" in ended.out


@promise("python -m verify --variants")
def _(folder, false_variants):
    assert false_variants[0]["variants"]
    assert processed("verify", "--help", cwd=folder).stdout.count("--variants") == 1


@promise("python -m verify --assumptions")
def _(folder):
    ended = processed("verify.theorem2", "--assumptions", "--json", "-", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["assumptions"]
    assert processed("verify", "--help", cwd=folder).stdout.count("--assumptions") == 1


OWN = """
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import JsonInstance, user_statement

@dataclass(frozen=True)
class Numbers(JsonInstance):
    a: float
    b: float

whole = st.integers(-50, 50).map(float)

def square(i, at):
    return (at.array(i.a) + at.array(i.b)) ** 2

S = user_statement(
    title="the square of a sum", claim="(a+b)^2 = a^2 + FACTOR ab + b^2", slug="square",
    theory=lambda i, at: at.array(i.a) ** 2 + FACTOR * at.array(i.a) * at.array(i.b) + at.array(i.b) ** 2,
    numeric=square, exact=square, strategy=st.builds(Numbers, whole, whole),
    variants={"no-cross-term": lambda i, at: at.array(i.a) ** 2 + at.array(i.b) ** 2},
)
"""


@promise("python -m verify run my_statements.py")
def _(folder):
    (folder / "my_statements.py").write_text(OWN.replace("FACTOR", "2"))
    ended = processed("verify", "run", "my_statements.py", "--json", "-", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    (found,) = json.loads(ended.stdout)["statements"]
    assert (found["slug"], found["verdict"]) == ("square", "holds")


@promise("python -m theory latex --tree FILE --node NODE")
def _(call):
    ended = call("theory", "latex", "--tree", tree(call), "--node", "0")
    assert ended.code == 0, ended.err
    assert "\\begin{equation}" in ended.out


def what(name):
    def check(call):
        ended = call("theory", "latex", "--tree", tree(call), "--node", "1", "--what", name)
        assert ended.code == 0, ended.err
        assert "\\begin{" in ended.out
        call("theory", "latex", "--tree", "tree.json", "--node", "1", "--what", "all").refused("--what", name)

    return check


def form(name):
    def check(call):
        ended = call("theory", "latex", "--tree", tree(call), "--node", "1", "--form", name)
        assert ended.code == 0, ended.err
        assert {"standalone": "\\documentclass"}.get(name, f"\\begin{{{name}}}") in ended.out
        call("theory", "latex", "--tree", "tree.json", "--node", "1", "--form", "pdf").refused("--form", name)

    return check


for value in ("activation", "operator"):
    promise(f"--what {value}")(what(value))
for value in ("equation", "align", "standalone"):
    promise(f"--form {value}")(form(value))


def latex(call, *options):
    ended = call("theory", "latex", "--tree", tree(call), "--node", "1", *options)
    assert ended.code == 0, ended.err
    return ended.out


@promise("--width 246pt|twocolumn|beamer")
def _(call):
    assert latex(call, "--width", "246pt") == latex(call, "--width", "twocolumn")
    assert "\\begin{equation}" in latex(call, "--width", "beamer")
    call("theory", "latex", "--tree", "tree.json", "--node", "1", "--width", "narrow").refused("width", "narrow")


@promise("--short")
def _(call):
    assert "eq:covop:activation-short:1" in latex(call, "--short")


@promise("--label PREFIX, --no-label")
def _(call):
    assert "\\label{eq:covop:figure:activation:1}" in latex(call, "--label", "figure")
    assert "\\label" not in latex(call, "--no-label")


@promise("--what symbols")
def _(call):
    assert "\\item $\\covopstrength" in latex(call, "--what", "symbols")


@promise("--weights FILE --slope S")
def _(call, folder):
    (folder / "w.json").write_text('{"0": [["1/3", 1]], "1": [[1, 2]], "2": [[1, 2]]}')
    assert "eq:covop:operator-weights:1" in latex(call, "--what", "operator", "--weights", "w.json", "--slope", "1/4")


@promise("--out FILE")
def _(call, folder):
    ended = call("theory", "latex", "--tree", tree(call), "--node", "0", "--out", "formula.tex")
    assert (ended.code, ended.out) == (0, "")
    assert "\\begin{equation}" in (folder / "formula.tex").read_text()


@promise("python -m hltm make")
def _(call, folder):
    for shape in ("complete", "star", "caterpillar", "random"):
        assert call("hltm", "make", shape, f"{shape}.json").code == 0
        assert (folder / f"{shape}.json").is_file()


@promise("python -m hltm show")
def _(call):
    ended = call("hltm", "show", tree(call))
    assert ended.code == 0
    assert "HLTM" in ended.out or "root" in ended.out


@promise("python -m hltm convert")
def _(call, folder):
    for suffix in ("graphml", "bif", "json"):
        assert call("hltm", "convert", tree(call), f"again.{suffix}").code == 0
        assert (folder / f"again.{suffix}").is_file()


@promise("python -m hltm draw")
def _(call, folder):
    for suffix, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        assert call("hltm", "draw", tree(call), f"tree.{suffix}").code == 0
        assert (folder / f"tree.{suffix}").read_bytes().startswith(start)


def train(call, *options):
    return call("numeric", "train", "--tree", tree(call), "--width", "2", "--batch", "8", "--samples", "64", *options)


@promise("python -m numeric train")
def _(call):
    found = document(train(call, "--steps", "4", "--json", "-"))
    assert found["schema"] == 1


@promise("python -m numeric train, resumed")
def _(call, folder):
    results = [train(call, "--steps", "4", "--run", "folder", "--json", "-") for _ in range(2)]
    assert (folder / "folder").is_dir()
    first, second = map(document, results)
    kept = [{key: value for key, value in one.items() if key != "seconds"} for one in (first, second)]
    assert kept[0] == kept[1]


@promise("python -m numeric experiment")
def _(folder):
    size = ("--depth", "2", "--widths", "2", "--lows", "0.8", "--losses", "simple", "--seeds", "1", "--steps", "4")
    options = ("--batch", "8", "--samples", "64", "--out", "out", "--quiet")
    ended = processed("numeric", "experiment", "hltm", *size, *options, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert (folder / "out" / "manifest.json").is_file()


@promise("exit code 0: everything asked for holds")
def _(call):
    assert call("verify", "loss", LOSS).code == 0


@promise("exit code 1: a statement is refuted, the counterexample is printed and saved")
def _(folder):
    (folder / "mine.py").write_text(OWN.replace("FACTOR", "3"))
    ended = processed("verify", "run", "mine.py", cwd=folder)
    assert ended.returncode == 1, ended.stderr
    assert "refuted" in ended.stdout
    saved = sorted((folder / "counterexamples").glob("*.json"))
    assert saved
    for path in saved:
        told = f"python -m verify replay counterexamples/{path.name} --statements mine.py"
        assert told in ended.stdout.replace("\n", "")
        again = processed("verify", "replay", path, "--statements", "mine.py", cwd=folder)
        assert again.returncode == 1


@promise("exit code 2: one line on stderr: what, where, what is allowed; no traceback")
def _(call):
    call("verify", "--profile", "huge").refused("huge", "--profile", "thorough")
    call("hltm", "make", "star", "x.json", "--polarity", "1.3").refused("polarity=1.3", "[-1, 1]")
    call("verify", "loss", "r_p - foo").refused("foo")


@promise("exit code 2: a file that is not there")
def _(call):
    call("hltm", "show", "absent.json").refused("absent.json")
    call("theory", "latex", "--tree", "absent.bif", "--node", "0").refused("absent.bif")
    call("numeric", "train", "--tree", "absent.graphml").refused("absent.graphml")
    call("verify", "run", "absent.py").refused("absent.py")


@promise("exit code 2: a value that is not allowed")
def _(call):
    call("verify", "--seed", "-1").refused("--seed")
    train(call, "--steps", "-4").refused("steps")
    call("theory", "latex", "--tree", "tree.json", "--node", "9").refused("9")


@promise("exit code 2: replay of a file that is not there")
def _(call):
    call("verify", "replay", "absent.json").refused("absent.json", "cannot be read")


@promise("exit code 2: replay of a file that is not allowed")
def _(call, folder):
    for text in ("", "{}", "[]", '{"schema": 1, "statement": "dual-gradient"}', "\x00"):
        (folder / "bad.json").write_text(text)
        call("verify", "replay", "bad.json").refused("bad.json")


@promise("exit code 3: a check abstained")
def _(call, folder):
    found = json.loads((COUNTEREXAMPLES / "weighted-covariance-operator--unweighted.json").read_text())
    # All points on a diagonal and uniform weights: the false variant gives what the statement gives.
    instance = found["instance"]
    instance["points"] = [[x[0], x[0]] for x in instance["points"]]
    instance["augmentation_weights"] = None
    (folder / "open.json").write_text(json.dumps({**found, "instance": instance}))
    ended = call("verify", "replay", "open.json")
    assert ended.code == 3, ended.err
    assert "abstained" in ended.out


@promise("--json -: one document and nothing else on stdout")
def _(call):
    ended = call("verify", "replay", REPLAYED, "--json", "-")
    decoded, end = json.JSONDecoder().raw_decode(ended.out)
    assert isinstance(decoded, dict)
    assert ended.out[end:] == "\n"


@promise("--json -: tables go to stderr")
def _(folder):
    ended = processed(*quick(2, "--json", "-"), cwd=folder)
    assert "Evidence by statement" in ended.stderr
    assert "Evidence by statement" not in ended.stdout
