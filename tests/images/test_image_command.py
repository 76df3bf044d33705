"""`python -m numeric experiment images`, end to end and with wrong input."""

import csv
import json
import os
import subprocess
import sys

import pytest

SMALL = ["--seeds", "2", "--epochs", "2", "--batch", "32", "--width", "4", "--hidden", "6", "--outputs", "5", "--subset", "64",
         "--device", "cpu", "--quiet", "--negatives", "4"]  # fmt: skip


def run(*arguments, before="", **options):
    code = f"{before}\nimport sys; sys.argv = ['numeric', *sys.argv[1:]]\nfrom numeric.cli import main; main()"
    command = [sys.executable, "-c", code, "experiment", "images", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, **options)


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
        assert float(row["gain"]) == pytest.approx(float(row["moved"]) - float(rows[0]["moved"]), abs=1e-6)
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
    result = run(*SMALL, "--checkpoints", folder / "runs")
    assert result.stdout.splitlines()[:12] == first.stdout.splitlines()[:12]


@pytest.mark.parametrize("dataset", ["cifar10", "stl10"])
def test_the_published_formats_are_trained_on(dataset, cifar, stl, tmp_path):
    data = (cifar if dataset == "cifar10" else stl)[0]
    options = [
        "--dataset",
        dataset,
        "--data",
        data,
        "--subset",
        "40",
        "--loss",
        "ntxent,covariance",
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
        "6",
        "--outputs",
        "5",
        "--device",
        "cpu",
        "--out",
        tmp_path / "out",
    ]
    result = run(*options)
    assert result.returncode == 0, result.stderr
    document = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert document["study"]["encoder"] == "resnet18"
    assert "batch normalisation" in document["left_out"][0]
    assert [row["loss"] for row in document["table"]] == ["untrained", "ntxent", "covariance"]


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
        (["--beta", "-1"], "beta=-1"),
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
def test_what_is_wrong_is_one_line(arguments, words, tmp_path):
    result = run(*arguments, "--quiet", cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr


def test_without_kornia_the_extra_is_named():
    result = run(before="import sys; sys.modules['kornia'] = None")
    assert result.returncode == 2
    assert "covop[images]" in result.stderr
