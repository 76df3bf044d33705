"""The command line as a user meets it: exit codes, one line of error, one JSON document, nothing left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from warm import processed

KINDS = {"symbolic", "exact", "float", "property", "trained", "variants", "assumptions"}


def call(*arguments, cwd, module="verify", **options):
    return processed(module, *arguments, cwd=cwd, **options)


def fails(result, *fragments):
    """Exit code 2, one line on stderr, nothing on stdout."""
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for fragment in fragments:
        assert fragment in lines[0], lines[0]


@pytest.fixture(scope="module")
def theorem1(tmp_path_factory):
    """One run of a statement that writes everything that can be written."""
    folder = tmp_path_factory.mktemp("run")
    result = call("--json", "-", "--report", folder / "report", cwd=folder, module="verify.theorem1")
    return result, folder


def test_json_on_stdout_is_one_document_of_the_schema(theorem1):
    result, folder = theorem1
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert {"schema", "seed", "profile", "environment", "statements"} <= set(document)
    assert (document["schema"], document["seed"], document["profile"]) == (1, 0, "quick")
    assert {"python", "torch", "device"} <= set(document["environment"])
    (statement,) = document["statements"]
    assert (statement["slug"], statement["theorem"], statement["verdict"]) == ("dual-gradient", 1, "holds")
    seen = set()
    for row in statement["evidence"]:
        assert {"kind", "status", "instances", "worst_residual", "tolerance", "detail"} <= set(row)
        assert row["status"] in {"holds", "not-run"}
        if row["status"] == "holds":
            assert row["instances"] > 0
            seen.add(row["kind"])
    assert seen == KINDS
    # Nothing that a proof assistant says is asked for where there is none.
    assert {row["kind"] for row in statement["evidence"]} == KINDS | {"kernel"}
    saved = json.loads((folder / "report" / "report.json").read_text())
    assert {key: value for key, value in saved.items() if key != "report"} == document
    assert sorted(p.name for p in folder.iterdir()) == ["report"]


def test_the_table_goes_to_stderr_when_the_document_has_stdout(theorem1):
    result, _ = theorem1
    assert "dual-gradient" in result.stderr
    assert "holds" in result.stderr


def test_help_is_fast_and_light(tmp_path):
    code = (
        "import sys; sys.argv = ['verify', '--help']\n"
        "from verify.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'sympy', 'scipy', 'networkx', 'hypothesis', 'sklearn', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--profile" in result.stdout


@pytest.mark.parametrize("package", ["verify", "theory", "hltm", "numeric"])
def test_importing_a_package_loads_no_torch(package, tmp_path):
    code = f"import sys, {package}; assert 'torch' not in sys.modules; assert 'sympy' not in sys.modules"
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["--profile", "huge"], ["--profile", "huge", "quick"]),
        (["--seed", "-1"], ["--seed"]),
        (["--seed", "x"], ["--seed"]),
        (["--device", "tpu"], ["--device", "tpu", "cuda"]),
        (["--nonsense"], ["--nonsense"]),
        (["nonsense"], ["nonsense"]),
        (["replay"], ["Missing argument"]),
        (["replay", "absent.json"], ["absent.json", "cannot be read"]),
        (["replay", "."], ["cannot be read"]),
        (["--json", "absent/run.json"], ["absent/run.json", "does not exist"]),
        (["--report", "file"], ["folder 'file'", "cannot be written"]),
        (["--report", "file/inner"], ["file/inner", "cannot be written"]),
        (["--json", "."], ["is a folder"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage(arguments, fragments, tmp_path, in_process):
    (tmp_path / "file").write_text("in the way")
    before = sorted(tmp_path.rglob("*"))
    fails(in_process("verify", *arguments), *fragments)
    assert sorted(tmp_path.rglob("*")) == before


def test_a_device_that_is_not_there(tmp_path):
    """With a GPU at hand the one that is not there is hidden from torch."""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    result = call("--device", "cuda", "--report", "out", cwd=tmp_path, module="verify.theorem2", env=environment)
    fails(result, "cuda")
    assert list(tmp_path.iterdir()) == []


def test_replay_of_a_counterexample(counterexamples, tmp_path):
    path = counterexamples / "dual-gradient--half-missing.json"
    result = call("replay", path, cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "variant half-missing: refuted" in result.stdout
    document = json.loads(call("replay", path, "--json", "-", cwd=tmp_path).stdout)
    assert document["replay"]["verdict"] == "refuted"
    assert [row["status"] for row in document["replay"]["evidence"]] == ["refuted", "refuted"]


def test_replay_of_an_instance_of_the_true_statement(counterexamples, tmp_path):
    document = json.loads((counterexamples / "dual-gradient--half-missing.json").read_text())
    (tmp_path / "true.json").write_text(json.dumps({**document, "variant": None}))
    result = call("replay", "true.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "dual-gradient: holds" in result.stdout


def test_replay_that_cannot_decide_abstains(counterexamples, tmp_path):
    document = json.loads((counterexamples / "weighted-covariance-operator--unweighted.json").read_text())
    instance = document["instance"]
    instance["points"] = [[x[0], x[0]] for x in instance["points"]]
    instance["augmentation_weights"] = None
    (tmp_path / "open.json").write_text(json.dumps({**document, "instance": instance}))
    result = call("replay", "open.json", cwd=tmp_path)
    assert result.returncode == 3, result.stdout + result.stderr


def test_ctrl_c(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "verify", "--profile", "thorough", "--report", "out"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    time.sleep(4)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted" in errors
    assert "Traceback" not in errors
    # Interrupted while libraries are still loading there is nothing to report; later there is a partial report.
    assert {p.name for p in tmp_path.rglob("*") if p.is_file()} in (
        set(),
        {"index.html", "report.json", "report.tex", "manifest.json"},
    )


def test_a_reader_that_leaves(counterexamples, tmp_path):
    """`... | head -c 0`: no traceback."""
    path = counterexamples / "contrastive-losses--sum-halved.json"
    read, write = os.pipe()
    os.close(read)
    result = subprocess.run(
        [sys.executable, "-m", "verify", "replay", str(path), "--json", "-"],
        cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(write)
    assert result.returncode == 141
    assert result.stderr == ""


def test_a_full_disk(counterexamples, tmp_path):
    """A document that cannot be written is one line, and no half of it stays."""
    if not Path("/dev/full").exists():
        pytest.fail("this test needs /dev/full")
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "verify", "replay", str(counterexamples / "contrastive-losses--sum-halved.json"), "--json", "-"],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.splitlines()[0].startswith("error: ")
    assert "Traceback" not in result.stderr
