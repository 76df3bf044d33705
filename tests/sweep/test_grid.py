"""What a grid may hold, what it expands to, and what a key stands for."""

import hashlib
import inspect
import json
import tracemalloc

import pytest

import hltm
from hltm.base.errors import InputError
from numeric.studies.sweep.expansion import around_seed, expand
from numeric.studies.sweep.grid import OPTIONS, make_grid, read_grid

TREE = {"depth": 2, "polarity": 0.8}


def configurations(tables):
    found = expand(make_grid(tables))
    rows = []
    for tree, network, train, seed, key in found.rows():
        head, tail = around_seed(found.trees[tree].text, found.networks[network].text, found.trains[train].text)
        rows.append((key, json.loads(f"{head}{seed}{tail}")))
    return rows


def test_lists_ranges_and_seeds_span_the_grid():
    tables = {
        "tree": {"depth": [2, 3], "polarity": {"range": {"start": 0.5, "stop": 0.9, "num": 3}}},
        "network": {"width": {"range": {"start": 2, "stop": 6, "num": 3}}},
        "train": {"lr": {"range": {"start": 0.01, "stop": 1, "num": 3, "scale": "log"}}},
        "seeds": {"from": 5, "to": 6},
    }
    rows = [row for _, row in configurations(tables)]
    assert len(rows) == 2 * 3 * 3 * 3 * 2
    assert sorted({row["network"]["width"] for row in rows}) == [2, 4, 6]
    assert sorted({row["train"]["lr"] for row in rows}) == pytest.approx([0.01, 0.1, 1.0])
    assert sorted({row["tree"]["polarity"] for row in rows}) == pytest.approx([0.5, 0.7, 0.9])
    assert {row["seed"] for row in rows} == {5, 6}


def test_a_key_is_the_digest_of_the_canonical_json():
    for key, row in configurations({"tree": TREE, "seeds": 2}):
        text = json.dumps(row, sort_keys=True, separators=(",", ":"))
        assert key == hashlib.sha256(text.encode()).digest()


def test_a_key_depends_on_what_is_computed_and_on_nothing_else():
    """Not on the order of keys, on how a number is written, on defaults that are written out, on the rest of the grid."""
    first = dict(configurations({"tree": TREE, "train": {"lr": 1, "steps": 10}}))
    second = dict(configurations({"train": {"steps": 10, "lr": [1.0, 2.0]}, "tree": {"branching": 2, **TREE}}))
    assert first.keys() < second.keys()
    for name, value in (("steps", 11), ("tau", 0.2), ("samples", 7), ("records", 3)):
        other = dict(configurations({"tree": TREE, "train": {"lr": 1, "steps": 10, name: value}}))
        assert not first.keys() & other.keys()


def test_parameters_that_a_loss_does_not_take_make_no_configurations():
    loss = {
        "loss": ["simple", "triplet", "infonce", "ntxent"],
        "tau": [0.1, 0.2],
        "margin": [0.0, 1.0],
        "negatives": [1, 2],
    }
    assert len(configurations({"tree": TREE, "train": loss})) == 1 + 2 * 2 + 2 * 2 + 2


def test_tables_that_stand_twice_are_a_union_without_repetitions():
    train = [{"loss": "simple", "lr": [0.1, 0.2]}, {"loss": "simple", "lr": [0.2, 0.3]}]
    assert len(configurations({"tree": TREE, "train": train})) == 3


def test_trees_from_files_count_by_their_content(tmp_path):
    tree = hltm.complete_tree(2, 2, 0.9)
    for name in ("a.json", "b.json"):
        hltm.save(tree, tmp_path / name)
    hltm.save(hltm.complete_tree(2, 2, 0.8), tmp_path / "c.json")
    files = [str(tmp_path / f"{name}.json") for name in "abc"]
    found = expand(make_grid({"tree": {"kind": "file", "file": files}}))
    assert len(found) == len(found.files) == 2
    # The same shape: they can be stacked.
    assert len({part.shared for part in found.trees}) == 1


def test_members_of_a_stack_share_shape_and_number_of_negatives():
    tables = {"tree": [{"depth": [1, 2], "polarity": [0.1, 0.2]}, {"kind": "star", "leaves": 2, "polarity": 0.1}]}
    assert len({part.shared for part in expand(make_grid(tables)).trees}) == 3
    loss = {
        "loss": ["simple", "triplet", "infonce", "ntxent"],
        "negatives": [1, 2],
        "lr": [0.1, 0.2],
        "tau": [0.1, 0.2],
    }
    trains = expand(make_grid({"tree": TREE, "train": loss})).trains
    groups = {}
    for part in trains:
        own = json.loads(part.text)
        groups.setdefault(part.shared, set()).add((own["loss"], own["negatives"]))
    expected = [[("infonce", 1), ("simple", None), ("triplet", None)], [("infonce", 2)], [("ntxent", None)]]
    assert sorted(map(sorted, groups.values()), key=str) == sorted(expected, key=str)


BAD = [
    ({"tree": {"depth": 2}}, "tree: a tree of kind 'complete' needs polarity"),
    ({"tree": {"depth": 2, "polarity": 1.3}}, "tree.polarity[0]=1.3: must be less than or equal to 1"),
    (
        {"tree": {"depth": 2, "polarity": {"low": 0.7, "hi": 1}}},
        "tree.polarity[0].hi=1: no such key; the keys are low, high",
    ),
    ({"tree": {"kind": "star", "depth": 2, "polarity": 0.5}}, "needs leaves"),
    ({"tree": {"kind": "star", "leaves": 2, "depth": 2, "polarity": 0.5}}, "takes no depth"),
    ({"tree": {"depth": 30, "polarity": 0.5}}, "must have at most 1,048,576 nodes"),
    ({"tree": {"depth": 10**6, "polarity": 0.5}}, "must have at most 1,048,576 nodes"),
    ({"tree": TREE, "train": {"lr": "x"}}, "train.lr[0]='x': must be a valid number"),
    ({"tree": TREE, "train": {"lr": [0.1, 0.1]}}, "train.lr=[0.1, 0.1]: must hold each value once"),
    ({"tree": TREE, "train": {"lr": []}}, "train.lr"),
    ({"tree": TREE, "train": {"lr": float("nan")}}, "finite"),
    (
        {"tree": TREE, "train": {"loss": "nce"}},
        "train.loss[0]='nce': must be 'simple', 'triplet', 'infonce' or 'ntxent'",
    ),
    ({"tree": TREE, "train": {"lerning": 1}}, "train.lerning=1: no such key"),
    ({"tree": TREE, "train": [{"lr": 0.1}, {"batch": 0}]}, "train[1].batch[0]=0: must be greater than or equal to 1"),
    ({"tree": TREE, "train": {"loss": "ntxent", "batch": 1}}, "must be at least 2"),
    ({"tree": TREE, "train": {"loss": "ntxent", "mode": "exact"}}, "must be 'simple', 'triplet' or 'infonce'"),
    ({"tree": {"depth": 4, "polarity": 0.8}, "train": {"mode": "exact"}}, "on 16 leaves: must be at most 12"),
    ({"tree": TREE, "train": {"lr": {"range": {"start": 0, "stop": 1, "num": 3, "scale": "log"}}}}, "must be positive"),
    ({"tree": TREE, "train": {"lr": {"range": {"start": 0, "stop": 1}}}}, "num"),
    ({"tree": TREE, "network": {"width": 2.5}}, "network.width[0]=2.5: must be a valid integer"),
    ({"tree": TREE, "network": {"width": True}}, "must be a valid integer"),
    ({"tree": TREE, "nets": 1}, "nets=1: no such key; the keys are seeds, tree, network, train"),
    ({"tree": TREE, "seeds": "a"}, "seeds='a': must be"),
    ({"tree": TREE, "seeds": 0}, "seeds"),
    ({"tree": TREE, "seeds": {"from": 3, "to": 1}}, "to must not be below from"),
    ({"tree": TREE, "seeds": {"from": 3, "top": 1}}, "no such key; the keys are from, to"),
    ({"tree": TREE, "seeds": [1, 1]}, "must hold each value once"),
    ({"tree": TREE, "seeds": 10**8}, "must be at most 10,000,000"),
    ({"tree": TREE, "seeds": 2**70}, "must be at most 10,000,000"),
    ({"tree": TREE, "seeds": {"from": 0, "to": 2**62 - 1}}, "must be at most 10,000,000"),
    ({"tree": TREE, "seeds": range(10**12)}, "must be at most 10,000,000"),
    ({"tree": TREE, "seeds": -3}, "seeds=-3: must be at least one seed"),
    (
        {"tree": TREE, "network": {"width": {"range": {"start": 2, "stop": 5, "num": 3}}}},
        "network.width[1]=3.5: must be a valid integer",
    ),
    (
        {"tree": TREE, "train": {"optimizer": "adam", "optimizer_options": {"betaz": 1.0}}},
        "optimizer_options.betaz of 'adam': must be one of betas, eps, weight_decay, amsgrad; did you mean 'betas'",
    ),
    ({"tree": TREE, "train": {"optimizer_options": {"lr": 0.1}}}, "optimizer_options.lr of 'sgd': must be one of"),
    ({"tree": TREE, "network": {"width": 10**400}}, "must be less than 2147483648"),
    ({"tree": TREE, "train": {"steps": 16**9000}}, "train.steps[0]=<int>: must be less than 2147483648"),
    ({"seeds": 3}, "tree: is missing"),
    ({"tree": {"kind": "file", "file": "nowhere.json"}}, "nowhere.json"),
]


@pytest.mark.parametrize(("tables", "words"), BAD)
def test_what_is_not_allowed_is_one_line(tables, words):
    with pytest.raises(InputError) as caught:
        expand(make_grid(tables))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"seeds = ", b"\xff", b"seeds = " + b"9" * 5000, b"[" * 100_000, b"x" * (2**20 + 1)]
)
def test_files_that_are_no_toml_are_one_line(tmp_path, content):
    path = tmp_path / "grid.toml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"grid\.toml: "):
        read_grid(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_grid(tmp_path)


def test_options_are_those_of_the_optimisers():
    import torch

    from numeric.training.optimizers import _NAMES

    assert OPTIONS.keys() == _NAMES.keys()
    for name, options in OPTIONS.items():
        taken = inspect.signature(getattr(torch.optim, _NAMES[name])).parameters
        assert set(options) <= set(taken) - {"params", "lr"}, name


def test_a_million_seeds_take_no_memory_to_be_counted():
    tracemalloc.start()
    make_grid({"tree": TREE, "seeds": 10**7})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10**6
