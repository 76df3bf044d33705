"""A member is what it is alone: same draws bit for bit, same numbers up to the rounding of batched products."""

import json

import numpy as np
import pytest
import torch

import hltm
from numeric import TreeNetwork, train
from numeric.studies.sweep.driver import sizes
from numeric.studies.sweep.expansion import expand
from numeric.studies.sweep.grid import make_grid
from numeric.studies.sweep.task import run_stack, run_task, stream_seed, tree_of
from numeric.trees.streams import TripleSampler

STEPS = 60


def members_of(tables):
    found = expand(make_grid(tables))
    parts = [[json.loads(part.text) for part in each] for each in (found.trees, found.networks, found.trains)]
    files = {digest: json.loads(text) for digest, text in found.files.items()}
    members = [
        {"key": key.hex(), "seed": seed, "tree": parts[0][i], "network": parts[1][j], "train": parts[2][k]}
        for i, j, k, seed, key in found.rows()
    ]
    return members, files


TABLES = {
    "tree": {"depth": 2, "polarity": [0.9, {"low": 0.6, "signs": True}]},
    "network": {"width": 4, "slope": 0.1},
    "train": {"loss": ["simple", "infonce", "triplet"], "lr": [0.05, 0.1], "steps": STEPS, "batch": 16, "samples": 100},
    "seeds": 2,
}


def largest_gap(one, other):
    return max(np.abs(np.array(one[name]) - np.array(other[name])).max() for name in ("loss", "before", "after"))


def test_a_member_does_not_depend_on_its_stack():
    members, files = members_of(TABLES)
    together = run_stack(members, files, "cpu", None)
    assert together == run_stack(members, files, "cpu", None)  # the same stack: the same bits
    shuffled = run_stack(members[::-1], files, "cpu", None)[::-1]
    tolerance = 1000 * np.finfo(float).eps * STEPS
    for number, member in enumerate(members):
        (alone,) = run_stack([member], files, "cpu", None)
        assert largest_gap(alone, together[number]) <= tolerance
        assert largest_gap(shuffled[number], together[number]) <= tolerance
    assert len({json.dumps(result) for result in together}) == len(members)  # they are not all the same


def test_draws_are_the_same_bit_for_bit():
    members, files = members_of(TABLES)
    trees = [tree_of(each["tree"], each["seed"], files) for each in members]
    streams = [stream_seed(each["key"]) for each in members]
    whole = TripleSampler(trees, streams, 16, 1, torch.device("cpu")).leaves(7)
    for number, (tree, stream) in enumerate(zip(trees, streams, strict=True)):
        assert torch.equal(
            whole[:, number], TripleSampler([tree], [stream], 16, 1, torch.device("cpu")).leaves(7)[:, 0]
        )


def test_a_result_is_what_the_library_computes():
    """From what the store says of a configuration, with the public functions alone."""
    members, files = members_of(TABLES)
    member = next(each for each in members if each["train"]["loss"] == "infonce" and each["tree"]["polarity"] == 0.9)
    tree = hltm.complete_tree(2, 2, 0.9)
    network = TreeNetwork(tree, 4, 0.1, "normalized", seed=member["seed"])
    own = member["train"]
    trace = train(
        network, tree, "infonce", own["tau"], own["lr"], 16, STEPS, [stream_seed(member["key"])], record_every=6
    )
    (found,) = run_stack([member], files, "cpu", None)
    assert found["steps"] == list(trace.steps[1:])
    assert found["loss"] == trace.losses[:, 0].tolist()


@pytest.mark.parametrize(
    "more", [{"mode": "exact"}, {"loss": "ntxent"}, {"optimizer": "adam"}, {"loss": "infonce", "negatives": 3}]
)
def test_every_kind_of_training_runs(more):
    members, files = members_of({**TABLES, "train": {"steps": 5, "batch": 4, "samples": 50, **more}})
    assert all(len(result["loss"]) == 5 for result in run_stack(members, files, "cpu", None))


@pytest.mark.parametrize("tree", [{"kind": "star", "leaves": 3}, {"kind": "caterpillar", "leaves": 3}])
def test_every_kind_of_tree_runs(tree):
    members, files = members_of({"tree": {**tree, "polarity": 0.7}, "train": {"steps": 5, "batch": 4, "samples": 50}})
    assert run_stack(members, files, "cpu", None)[0]["after"]


def test_trees_from_files_run_categorical_ones_too(tmp_path):
    hltm.save(hltm.random_tree(4, 0, cardinality=3), tmp_path / "tree.json")
    members, files = members_of(
        {"tree": {"kind": "file", "file": str(tmp_path / "tree.json")}, "train": {"steps": 5, "batch": 4}}
    )
    (found,) = run_stack(members, files, "cpu", None)
    assert all(0 < value <= 1 for value in found["after"])
    assert len(found["loss"]) == 5


def test_leaves_are_read_one_hot_if_asked(tmp_path):
    tree = hltm.random_tree(4, 0, cardinality=3)
    hltm.save(tree, tmp_path / "tree.json")
    table = {"tree": {"kind": "file", "file": str(tmp_path / "tree.json")}, "train": {"steps": 5, "batch": 4}}
    plain, files = members_of(table)
    usual, _ = members_of(table | {"network": {"leaves": "state"}})
    members, _ = members_of(table | {"network": {"leaves": "one-hot"}})
    assert "leaves" not in plain[0]["network"]
    assert plain[0]["key"] == usual[0]["key"] != members[0]["key"]  # that of sweeps from before there was a choice
    (found,) = run_stack(members, files, "cpu", None)
    network = TreeNetwork(tree, 10, output="normalized", seed=members[0]["seed"], leaves="one-hot")
    trace = train(network, tree, steps=5, batch=4, seed=stream_seed(members[0]["key"]), record_every=1)
    assert found["loss"] == pytest.approx(trace.losses[:, 0].tolist(), abs=1e-12)
    own, wide = (sizes(each["tree"], each["network"], each["train"], files) for each in (plain[0], members[0]))
    assert wide.neurons - own.neurons == 2 * 4  # three states for each of four leaves
    assert wide.parameters == sum(block[0].numel() for block in network.parameters)


def test_divergence_is_a_result():
    members, files = members_of(
        {"tree": {"depth": 2, "polarity": 0.9}, "network": {"output": "linear"},
         "train": {"loss": "simple", "lr": [0.01, 1e6], "steps": 40, "batch": 4, "samples": 50}}
    )  # fmt: skip
    answer = run_task({"members": members, "files": files, "device": "cpu", "checkpoint": None, "memory": None})
    good, bad = answer["results"]
    assert good["diverged"] is None
    assert bad["diverged"] is not None
    assert None in bad["loss"]
    json.dumps(answer, allow_nan=False)


def test_a_checkpoint_is_gone_on_from_and_a_bad_folder_costs_nothing(tmp_path):
    members, files = members_of(TABLES)
    whole = run_stack(members, files, "cpu", None)
    assert run_stack(members, files, "cpu", str(tmp_path / "run")) == whole
    assert (tmp_path / "run" / "state.json").exists()
    assert run_stack(members, files, "cpu", str(tmp_path / "run")) == whole  # from its end
    (tmp_path / "file").write_text("")
    assert run_stack(members, files, "cpu", str(tmp_path / "file")) == whole
