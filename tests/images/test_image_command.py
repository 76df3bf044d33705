"""`python -m numeric experiment images`, end to end and with wrong input."""

import csv
import json
import tempfile
from pathlib import Path

import pytest
from warm import processed

SMALL = ["--seeds", "2", "--epochs", "2", "--batch", "32", "--width", "4", "--hidden", "6", "--outputs", "5", "--subset", "64",
         "--device", "cpu", "--quiet", "--negatives", "4"]  # fmt: skip

LIBRARIES = ("kornia", "sklearn.datasets", "torch._dynamo")  # what a training on images imports


def run(*arguments, before=""):
    """Run the command in a process that first runs some code."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "begun.py").write_text(
            f"{before}\nimport sys; sys.argv[0] = 'numeric'\nfrom numeric.cli import main; main()"
        )
        words = ("begun", "experiment", "images", *arguments)
        return processed(*words, libraries=LIBRARIES, cwd=folder, timeout=600)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    page = folder / "page.md"
    page.write_text("before\n<!-- images:begin -->\nWHAT WAS THERE\n<!-- images:end -->\nafter\n")
    result = run(*SMALL, "--out", folder / "out", "--update", page, "--checkpoints", folder / "runs")
    assert result.returncode == 0, result.stderr
    return folder, result


def test_the_tables_are_printed(done):
    for words in ("untrained", "NT-Xent", "exact covariance form", "head, batch norm", "convnet"):
        assert words in done[1].stdout
    assert done[1].stderr == ""


def test_it_is_said_what_each_setting_tests_and_what_is_gained_in_it(done):
    said = "invariance to these very augmentations"
    assert said in " ".join(done[1].stdout.split())
    assert said in (done[0] / "out" / "report.md").read_text()
    assert said in (done[0] / "page.md").read_text()
    section = json.loads((done[0] / "out" / "manifest.json").read_text())["section"]
    assert said in section["tables"][0]["caption"]
    for words in ("gain moved", "gain plain", "gain few"):
        assert words in done[1].stdout
        assert words in (done[0] / "out" / "report.md").read_text()
        assert words in section["tables"][0]["heads"]


def test_the_files(done):
    folder = done[0] / "out"
    document = json.loads((folder / "manifest.json").read_text())
    assert sorted(document["files"]) == sorted(p.name for p in folder.iterdir() if p.name != "manifest.json")
    rows = list(csv.DictReader((folder / "table.csv").read_text().splitlines()))
    assert [row["loss"] for row in rows] == [
        "untrained",
        "ntxent",
        "infonce",
        "simple",
        "triplet",
        "covariance",
        "within",
    ]
    for row in rows[1:]:
        for name in ("moved", "plain", "few"):
            assert float(row[f"gain {name}"]) == pytest.approx(float(row[name]) - float(rows[0][name]), abs=1e-6)
        assert float(row["low"]) < float(row["moved"]) < float(row["high"])
    told = {
        (row["part"], row["statement"]): (row["must"], row["does"])
        for row in document["theory"]
        if "W_1" in row["layers"]
    }
    assert told["head", "3"] == ("hold", "holds")
    assert told["head, batch norm", "3"] == ("fail", "fails")
    history = list(csv.DictReader((folder / "history.csv").read_text().splitlines()))
    assert len(history) == 12 * 3


def test_the_page_is_updated(done):
    text = (done[0] / "page.md").read_text()
    assert text.startswith("before\n<!-- images:begin -->")
    assert text.endswith("<!-- images:end -->\nafter\n")
    assert "| exact covariance form |" in text
    assert "WHAT WAS THERE" not in text


def test_a_second_run_reads_what_the_first_wrote(done):
    folder, first = done
    result = run(*SMALL, "--checkpoints", folder / "runs", "--no-theory", "--out", folder / "bare")
    assert result.stdout.splitlines()[:12] == first.stdout.splitlines()[:12]
    section = json.loads((folder / "bare" / "manifest.json").read_text())["section"]
    assert section["verdict"] == "not-run"  # nothing was found to hold


def test_what_sigkill_ends_goes_on_with_the_same_numbers(tmp_path):
    """In the middle of the second epoch of each loss; the files of an experiment that nothing ended are the same."""
    settings = [*SMALL, "--seeds", "1", "--every", "1", "--loss", "ntxent,within", "--no-theory"]
    kill = """
import os, signal
from numeric.studies.images.training import Trainer
step = Trainer.take_step
def killed(self):
    if self.settings.loss.name == "{}" and self.step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(self)
Trainer.take_step = killed
"""
    assert run(*settings, "--out", tmp_path / "whole").returncode == 0
    for loss in ("ntxent", "within"):
        assert run(*settings, "--checkpoints", tmp_path / "runs", before=kill.format(loss)).returncode == -9
        state = json.loads((tmp_path / "runs" / f"{loss}-0" / "state.json").read_text())
        assert state["step"] == 2
    assert run(*settings, "--checkpoints", tmp_path / "runs", "--out", tmp_path / "again").returncode == 0
    for name in ("table.csv", "history.csv", "operators.csv"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


@pytest.mark.parametrize(("dataset", "losses"), [("cifar10", "ntxent,covariance"), ("stl10", "covariance")])
def test_the_published_formats_are_trained_on(dataset, losses, cifar, stl, tmp_path):
    data = (cifar if dataset == "cifar10" else stl)[0]
    options = [
        "--dataset",
        dataset,
        "--data",
        data,
        "--subset",
        "40",
        "--loss",
        losses,
        "--seeds",
        "1",
        "--epochs",
        "1",
    ]
    options += [
        "--batch",
        "16",
        "--width",
        "4",
        "--hidden",
        "70",
        "--outputs",
        "64",
        "--device",
        "cpu",
        "--out",
        tmp_path / "out",
    ]
    result = run(*options)
    assert result.returncode == 0, result.stderr
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert document["study"]["encoder"] == "resnet18"
    networks = ("untrained", *losses.split(","))
    assert [text.split(":")[0] for text in document["left_out"]] == list(networks)
    assert all("live statistics" in text and text in result.stdout.replace("\n", " ") for text in document["left_out"])
    told = {(row["network"], row["part"]) for row in document["theory"]}
    whole = "resnet18, batch norm with fixed statistics"
    assert {(name, part) for name in networks for part in ("head", whole)} < told
    assert len(document["residue"]) == 2 * len(networks)
    operators = list(csv.DictReader((tmp_path / "out" / "operators.csv").read_text().splitlines()))
    assert [(row["loss"], row["epoch"], row["layer"]) for row in operators] == [
        (loss, epoch, layer) for loss in networks[1:] for epoch in "01" for layer in "12"
    ]
    assert [row["loss"] for row in document["table"]] == list(networks)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--dataset", "mnist"], "dataset='mnist'"),
        (["--dataset", "cifar10"], "--data"),
        (["--dataset", "stl10", "--data", "nowhere"], "is no folder"),
        (["--loss", "ntxent,hinge"], "loss='hinge'"),
        (["--loss", "ntxent,ntxent"], "each once"),
        (["--batch", "1"], "batch=1"),
        (["--batch", "5000"], "batch=5000: must be at most 1297"),
        (["--subset", "1"], "1 image"),
        (["--tau", "0"], "tau=0"),
        (["--beta", "nan"], "beta=nan"),
        (["--beta", "-inf"], "beta=-inf"),
        (["--seeds", "0"], "seeds=0"),
        (["--strength", "0"], "strength=0"),
        (["--width", "0"], "width=0"),
        (["--norm", "layer"], "norm='layer'"),
        (["--device", "tpu"], "device='tpu'"),
        (["--lr", "1e38", "--seeds", "1", "--loss", "simple"], "must be finite"),
        (["--update", "nowhere.md"], "nowhere.md"),
        (["--negatives", "300", "--loss", "infonce"], "negatives=300 in a batch of 256"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, words, in_process):
    result = in_process("numeric", "experiment", "images", *arguments, "--quiet")
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_a_within_pair_term_of_negative_strength_trains(in_process, tmp_path):
    settings = [
        "--seeds",
        "1",
        "--epochs",
        "1",
        "--loss",
        "within",
        "--beta",
        "-0.25",
        "--no-theory",
        "--out",
        tmp_path,
    ]
    result = in_process("numeric", "experiment", "images", *SMALL, *settings)
    assert result.returncode == 0, result.stderr
    assert "beta = -0.25" in (tmp_path / "report.md").read_text()


def test_what_was_trained_is_there_whatever_becomes_of_the_theory(tmp_path):
    (tmp_path / "manifest.json").write_text("of an earlier experiment")
    before = """
import numeric.studies.images.report
def find(*arguments):
    raise KeyboardInterrupt
numeric.studies.images.report.find = find
"""
    settings = ["--seeds", "1", "--epochs", "1", "--loss", "simple", "--out", tmp_path]
    result = run(*SMALL, *settings, before=before)
    assert result.returncode != 0
    assert "simple (quadratic)" in result.stdout
    assert {"table.csv", "history.csv", "report.md", "accuracy.png"} <= {path.name for path in tmp_path.iterdir()}
    # Without it `verify --images` takes the folder for what it is, not complete.
    assert not (tmp_path / "manifest.json").exists()


def test_without_kornia_the_extra_is_named():
    result = run(before="import sys; sys.modules['kornia'] = None")
    assert result.returncode == 2
    assert "covop[images]" in result.stderr
