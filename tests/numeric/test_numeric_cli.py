"""`python -m numeric` as a user meets it: results, exit codes, one line for what is wrong, nothing half-written."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from warm import processed

import hltm

STUDY = ["experiment", "hltm", "--depth", "2", "--seeds", "2", "--steps", "10", "--samples", "100", "--device", "cpu"]


def command(*arguments):
    return [sys.executable, "-m", "numeric", *map(str, arguments)]


def run(*arguments):
    return processed("numeric", *arguments, cwd=Path.cwd())


@pytest.fixture
def tree(tmp_path):
    hltm.save(hltm.complete_tree(2, 2, 0.9), tmp_path / "tree.json")
    return tmp_path / "tree.json"


def test_help_is_fast_and_loads_no_torch():
    code = "import sys, numeric.cli; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    result = run("--help")
    assert result.returncode == 0
    assert "experiment" in result.stdout


def test_train_prints_tables(tree):
    result = run("train", "--tree", tree, "--width", 3, "--steps", 20, "--ensemble", 2, "--samples", 200)
    assert result.returncode == 0, result.stderr
    assert "mean loss" in result.stdout
    assert "ceiling" in result.stdout
    assert result.stderr == ""


def test_train_gives_one_document(tree):
    result = run("train", "--tree", tree, "--steps", 20, "--samples", 200, "--json", "-", "--quiet")
    document = json.loads(result.stdout)
    assert result.stderr == ""
    assert document["records"][-1]["step"] == 20
    assert [row["level"] for row in document["levels"]] == [1, 2]
    for name in ("before", "after", "group_before", "group_after"):
        assert all(0 <= value <= 1 for row in document["levels"] for value in row[name])


def test_train_of_categorical_latents_has_correlations(tmp_path):
    hltm.save(hltm.random_tree(4, 0, cardinality=3), tmp_path / "tree.json")
    options = ["--steps", 5, "--samples", 200, "--json", "-", "--quiet"]
    document = json.loads(run("train", "--tree", tmp_path / "tree.json", *options).stdout)
    for row in document["levels"]:
        assert 0 < row["after"][0] <= row["group_after"][0] + 0.1
        assert 0 < row["ceiling"] <= 1


def test_leaves_are_read_one_hot_if_asked(tmp_path):
    hltm.save(hltm.random_tree(3, 0, cardinality=3), tmp_path / "tree.json")
    options = ["train", "--tree", tmp_path / "tree.json", "--steps", 5, "--samples", 100, "--json", "-", "--quiet"]
    usual, one_hot = (json.loads(run(*options, *more).stdout) for more in ((), ("--leaves", "one-hot")))
    assert (usual["network"]["leaves"], one_hot["network"]["leaves"]) == ("state", "one-hot")
    assert usual["records"][-1]["loss"] != one_hot["records"][-1]["loss"]
    wrong = run(*options, "--leaves", "onehot")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "leaves='onehot': must be 'state' or 'one-hot'" in wrong.stderr


def test_a_run_that_is_taken_up_says_from_where(tree, tmp_path):
    options = ["train", "--tree", tree, "--steps", 20, "--samples", 100, "--run", tmp_path / "run"]
    first, again = run(*options), run(*options)
    assert first.stderr == ""
    assert again.stderr == f"resumed from step 20, the last checkpoint in {tmp_path / 'run'}\n"
    assert again.stdout == first.stdout


def test_an_interrupted_run_goes_on_to_the_same_end(tree, tmp_path):
    options = ["train", "--tree", tree, "--width", 4, "--steps", 4000, "--samples", 100, "--quiet", "--json"]
    process = subprocess.Popen(
        command(*options, tmp_path / "cut.json", "--run", tmp_path / "run"),
        stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    metrics = tmp_path / "run" / "metrics.jsonl"
    end = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") >= 3) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert errors == f"interrupted: the same command resumes from the last checkpoint in {tmp_path / 'run'}\n"
    assert not (tmp_path / "cut.json").exists()
    assert run(*options, tmp_path / "resumed.json", "--run", tmp_path / "run").returncode == 0
    assert run(*options, tmp_path / "whole.json").returncode == 0
    documents = [json.loads((tmp_path / name).read_text()) for name in ("resumed.json", "whole.json")]
    assert documents[0] == documents[1]


def test_a_study_prints_its_table_and_writes_its_files(tmp_path):
    result = run(*STUDY, "--widths", "2,3", "--lows", "0.8", "--out", tmp_path / "out", "--quiet")
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "(root)" in result.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"table.csv", "table.tex", "nodes.csv", "operator_norms.csv", "correlation.pdf", "manifest.json"} <= names


def test_a_study_as_published_has_no_operator_norms(tmp_path):
    result = run(*STUDY, "--widths", "3", "--lows", "0.8", "--as-published", "--out", tmp_path, "--quiet")
    assert result.returncode == 0, result.stderr
    assert not (tmp_path / "operator_norms.csv").exists()
    assert json.loads((tmp_path / "manifest.json").read_text())["study"]["as_published"] is True


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "--tree"),
        (["train", "--tree", "missing.json"], "missing.json"),
        (["train", "--tree", "TREE", "--width", "0"], "width=0"),
        (["train", "--tree", "TREE", "--loss", "hinge"], "hinge"),
        (["train", "--tree", "TREE", "--tau", "0"], "tau=0"),
        (["train", "--tree", "TREE", "--lr", "nan"], "lr=nan"),
        (["train", "--tree", "TREE", "--ensemble", "0"], "ensemble=0"),
        (["train", "--tree", "TREE", "--batch", "0"], "batch=0"),
        (["train", "--tree", "TREE", "--steps", "0"], "steps=0"),
        (["train", "--tree", "TREE", "--mode", "guess"], "guess"),
        (["train", "--tree", "TREE", "--output", "cubic"], "cubic"),
        (["train", "--tree", "TREE", "--optimizer", "magic"], "magic"),
        (["train", "--tree", "TREE", "--samples", "1"], "samples=1"),
        (["train", "--tree", "TREE", "--json", "nowhere/x.json"], "nowhere"),
        (["experiment"], "there are hltm, images"),
        (["experiment", "cifar"], "No such command 'cifar'; there are hltm, images"),
        ([*STUDY, "--widths", "2,x"], "'x'"),
        ([*STUDY, "--lows", "0.5,2"], "2.0"),
        ([*STUDY, "--losses", "hinge"], "hinge"),
        ([*STUDY, "--against", "x.json"], "--as-published"),
        ([*STUDY, "--as-published", "--against", "x.json"], "x.json"),
        ([*STUDY, "--out", "TREE"], "must be a folder"),
    ],
)
def test_what_is_wrong_is_one_line(arguments, words, tree, in_process):
    wrong_in_one_line(
        in_process("numeric", *[str(tree) if each == "TREE" else each for each in arguments]), words, tree
    )


def test_in_a_process_of_its_own_it_is_one_line_too(tree):
    words = command("train", "--tree", tree, "--width", 0)
    result = subprocess.run(words, capture_output=True, text=True, timeout=300, cwd=tree.parent)
    wrong_in_one_line(result, "width=0", tree)


def wrong_in_one_line(result, words, tree):
    assert result.returncode == 2, result.stderr
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert words in result.stderr
    assert [path.name for path in tree.parent.iterdir()] == ["tree.json"]


def measured(tmp_path, value):
    """Two small published trees, with one correlation for every level of every run."""
    edges = {"s->s0": 0.9, "s->s1": -0.8, "s0->s00": 0.9, "s0->s01": 0.8, "s1->s10": 0.9, "s1->s11": -0.9}
    levels = {"1": value, "2": value}
    runs = [
        {
            "tree": tree, "width": 5, "loss": loss, "steps": 3,
            "best_abs_correlation_by_level_before": levels, "best_abs_correlation_by_level_after": levels,
        }
        for tree in ("seed1_low0.8", "seed2_low0.8")
        for loss in ("nce (as published, without logarithm)", "simple")
    ]  # fmt: skip
    trees = {"seed1_low0.8": edges, "seed2_low0.8": edges}
    (tmp_path / "measured.json").write_text(json.dumps({"trees": trees, "runs": runs}))
    return tmp_path / "measured.json"


@pytest.mark.parametrize(("value", "code", "words"), [(0.8, 0, "agreement at"), (0.05, 1, "no agreement at")])
def test_measured_results_are_ranked_among_ours(value, code, words, tmp_path):
    options = ["experiment", "hltm", "--as-published", "--widths", 5, "--steps", 3, "--seeds", 39, "--quiet"]
    result = run(*options, "--against", measured(tmp_path, value), "--out", tmp_path / "out")
    assert result.returncode == code, result.stderr
    assert words in result.stdout
    assert (tmp_path / "out" / "agreement.csv").read_text().count("\n") == 1 + 2 * 2 * 2


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("output", "best", "group"),
    [("linear", (0.767, 0.809), (0.796, 0.813)), ("normalized", (0.703, 0.686), (0.762, 0.748))],
)
def test_the_numbers_of_the_readme(tmp_path, output, best, group):
    """Correlations of the root, mean over the eight networks of the README's command; 12,800 samples each."""
    from numeric.training.report import train_and_measure

    hltm.save(hltm.complete_tree(depth=2, branching=2, polarity=0.8), tmp_path / "tree.json")
    training = {
        "loss": "infonce", "tau": 0.1, "lr": 0.1, "batch": 128, "steps": 1000, "seed": 0, "negatives": 1,
        "mode": "sampled", "optimizer": "sgd",
    }  # fmt: skip
    network = {"width": 10, "output": output, "seed": 0, "ensemble": 8}
    row = train_and_measure(tmp_path / "tree.json", network, training, 12_800, None, "cpu")["levels"][-1]
    for names, expected in ((("before", "after"), best), (("group_before", "group_after"), group)):
        assert [np.mean(row[name]) for name in names] == pytest.approx(expected, abs=2e-3)
