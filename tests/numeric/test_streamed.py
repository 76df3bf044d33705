"""Large trees: the work of a run grows linearly with the nodes, and parts of a tree give what all of it gives."""

import json
import math

import pytest
import torch
from torch.overrides import TorchFunctionMode

import hltm
import numeric
from hltm.base.errors import InputError
from numeric.training import report
from numeric.trees import metrics, streamed, streams
from numeric.trees.ceilings import ceilings

TREES = {
    "path": hltm.caterpillar_tree(6, 0.9),
    "complete": hltm.complete_tree(3, 2, 0.8),
    "mixed": hltm.random_tree(9, 1, cardinality=(2, 4)),
    "star": hltm.star_tree(5, 0.8),
}


class Work(TorchFunctionMode):
    """Count the operations of torch and the numbers that they write."""

    calls = numbers = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        if isinstance(result, torch.Tensor) and not any(result is each for each in args):  # in place: it may be a part
            self.numbers += result.numel()
        return result


def work_of_a_run(leaves, folder):
    file = folder / "tree.json"
    hltm.save(hltm.caterpillar_tree(leaves, 0.9), file)
    network = {"width": 2, "output": "normalized", "seed": 0, "ensemble": 1}
    training = {"loss": "infonce", "tau": 0.1, "lr": 0.1, "batch": 2, "steps": 1, "seed": 0, "negatives": 1}
    with Work() as work:
        report.train_and_measure(file, network, training, 10, None, "cpu")
    return work.calls, work.numbers


def test_the_work_of_a_run_grows_with_the_nodes(tmp_path):
    few, some, many = (work_of_a_run(leaves, tmp_path) for leaves in (10, 20, 40))
    for first, second, third in zip(few, some, many, strict=True):
        assert third - second == pytest.approx(2 * (second - first), rel=0.002)


def test_a_plan_makes_no_list_of_all_leaves_at_every_level(monkeypatch):
    sizes = []
    monkeypatch.setattr("numeric.trees.plan.range", lambda *a: sizes.append(max(a)) or range(*a), raising=False)
    numeric.TreeNetwork(hltm.caterpillar_tree(50, 0.9), width=2)
    assert max(sizes) < 10


@pytest.mark.parametrize("leaves", ["state", "one-hot"])
@pytest.mark.parametrize("name", TREES)
def test_parts_of_a_tree_give_what_all_of_it_gives(name, leaves, monkeypatch):
    tree = TREES[name]
    network = numeric.TreeNetwork(tree, 3, ensemble=2, output="normalized", leaves=leaves, seed=4)
    whole, limit = numeric.correlations(network, samples=330), ceilings(tree, 330)
    monkeypatch.setattr(streams, "_WORDS_AT_ONCE", 0)
    monkeypatch.setattr(streams, "_WORDS_AT_A_TIME", 200)
    words = numeric.correlations(network, samples=330)
    assert torch.equal(words.best, whole.best)
    assert torch.equal(words.group, whole.group)
    assert torch.equal(ceilings(tree, 330), limit)
    monkeypatch.setattr(streamed, "LEVELS_AT_ONCE", 0)
    monkeypatch.setattr(streamed, "_LEAVES_AT_ONCE", 500)
    nodes = numeric.correlations(network, samples=330)
    assert torch.equal(nodes.constant, whole.constant)
    torch.testing.assert_close(nodes.best, whole.best, rtol=0, atol=1e-12)
    torch.testing.assert_close(nodes.group, whole.group, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", TREES)
def test_activations_upwards_are_those_of_the_network(name, monkeypatch):
    tree = TREES[name]
    network = numeric.TreeNetwork(tree, 3, slope=0.3, seed=2)
    states = torch.randint(0, 2, (1, len(tree.leaves), 7), dtype=torch.uint8)
    expected = network.activations(states[0].mT)
    for limit in (streamed.LEVELS_AT_ONCE, 0):
        monkeypatch.setattr(streamed, "LEVELS_AT_ONCE", limit)
        found = {}
        for nodes, rows in streamed.groups_upwards(network, states):
            found |= {node: rows[:, place].mT for place, node in enumerate(nodes)}
        assert found.keys() == set(tree.latents)
        for node, values in found.items():
            torch.testing.assert_close(values, expected[node], rtol=0, atol=1e-13)


def test_independent_states_are_the_states_without_the_second_view():
    sampler = streams.TripleSampler([TREES["mixed"]], [3, 8], 5, 2, torch.device("cpu"))
    _, states = sampler.states(1, 2)
    assert torch.equal(sampler.independent(1, 2), torch.cat([states[..., :5], states[..., 10:]], -1))


@pytest.mark.parametrize(
    "tree", [hltm.complete_tree(8, 2, 0.5), hltm.random_tree(300, 2), hltm.caterpillar_tree(200, 0.5)]
)
def test_few_nodes_wait_for_their_parents(tree):
    done, waiting, most = set(), set(), 0
    for node in streamed.postorder(tree):
        assert all(child in done or not tree.children(child) for child in tree.children(node))
        waiting.discard(node)
        done.add(node)
        waiting |= {tree.parent(node)} - {None}
        most = max(most, len(waiting))
    assert done == set(tree.latents)
    assert most <= math.log2(len(tree)) + 1


def test_what_does_not_fit_is_refused_before_any_work(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "STATE_LIMIT", 1000)
    file = tmp_path / "tree.json"
    hltm.save(TREES["path"], file)
    monkeypatch.setattr("numeric.training.train.train", lambda *_, **__: pytest.fail("trained first"))
    with pytest.raises(InputError, match=r"samples=100 of 11 nodes: must be at most 1,000 states, are 1,100"):
        report.train_and_measure(file, {"width": 2}, {"steps": 1, "seed": 0}, 100, None, "cpu")
    with pytest.raises(InputError, match=r"must be at most 1,000 states"):
        ceilings(TREES["path"], 100)
    with pytest.raises(InputError, match=r"width=10, ensemble=1,000,000,000: must give at most 4,294,967,296 weights"):
        numeric.TreeNetwork(TREES["path"], ensemble=10**9)


def test_weights_of_earlier_records_are_kept_in_a_folder_alone(tmp_path, monkeypatch):
    file, seen = tmp_path / "tree.json", []
    hltm.save(TREES["star"], file)
    from numeric.training import train as module

    original = module.train
    monkeypatch.setattr(module, "train", lambda *a, **k: seen.append(k["keep_networks"]) or original(*a, **k))
    training = {"loss": "simple", "batch": 2, "steps": 2, "seed": 0}
    documents = [
        report.train_and_measure(file, {"width": 2, "seed": 0}, training, 50, folder, "cpu")
        for folder in (None, tmp_path / "run")
    ]
    assert seen == [False, True]
    assert json.dumps(documents[0]) == json.dumps(documents[1])
