"""Members that diverge or are dead, small temperatures and batches, and values that are not allowed."""

import json
import math
import re

import pytest
import torch

import hltm
from hltm.errors import InputError
from numeric import TreeNetwork, train

TREE = hltm.complete_tree(2, 2, 0.8)


@pytest.fixture(autouse=True)
def one_thread():
    """Products are small: a second thread would only wait, for as long as another process holds its core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def network(**arguments):
    return TreeNetwork(**({"tree": TREE, "width": 3, "seed": 1} | arguments))


# Divergence


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_members_that_diverge_are_named_and_the_others_go_on(dtype):
    held = network(ensemble=4, dtype=dtype)
    losses, rates = ["infonce", "simple", "infonce", "simple"], [0.02, 1e3, 0.05, 1e30]
    said = []
    settings = {"batch": 4, "steps": 200, "record_every": 20, "progress": lambda step, loss: said.append((step, loss))}
    trace = train(held, TREE, losses, lr=rates, **settings)
    assert {failure.member for failure in trace.failures} == {1, 3}
    for failure in trace.failures:
        assert failure.last_good % 20 == 0
        assert failure.last_good <= failure.step < failure.last_good + 20
        record = trace.steps.index(failure.last_good)
        assert torch.isfinite(trace.losses[:record, failure.member]).all()
        assert torch.isnan(trace.losses[record:, failure.member]).all()
        # Its weights are those of its last good record from there on.
        for block, now in zip(trace.parameters, trace.network.parameters, strict=True):
            assert torch.equal(block[record, failure.member], now[failure.member])
        word = f"member {failure.member} diverged at step {failure.step}; its weights are those of step "
        assert str(failure) == word + str(failure.last_good)
    assert [step for step, _ in said] == list(trace.steps)
    assert all(math.isfinite(loss) for _, loss in said[1:])
    bound = 1e-9 if dtype == torch.float64 else 1e-4
    for member in (0, 2):
        one = held.with_parameters([block[member : member + 1] for block in held.parameters])
        alone = train(one, TREE, losses[member], lr=rates[member], seed=member, batch=4, steps=200, record_every=20)
        assert not alone.failures
        assert float((alone.losses[:, 0] - trace.losses[:, member]).abs().max()) <= bound
        for mine, other in zip(trace.parameters, alone.parameters, strict=True):
            assert float((mine[:, member] - other[:, 0]).abs().max()) <= bound


def test_the_step_of_a_failure_is_the_first_bad_one():
    """One record a step shows every loss: the first that is not finite is the one that is named."""
    settings = {"lr": 1e3, "batch": 4, "steps": 60, "seed": 7}
    coarse = train(network(), TREE, "simple", record_every=60, **settings)
    fine = train(network(), TREE, "simple", record_every=1, **settings)
    assert len(coarse.failures) == len(fine.failures) == 1
    step = coarse.failures[0].step
    assert fine.failures[0].step <= step <= fine.failures[0].step + 1  # weights overflow one step before the loss
    assert coarse.failures[0].last_good == 0
    assert torch.isfinite(fine.losses[: fine.failures[0].step]).all()


def test_a_run_whose_members_have_all_failed_ends(tmp_path):
    trace = train(network(ensemble=2), TREE, "simple", lr=1e200, batch=4, steps=40, checkpoint_dir=tmp_path)
    assert {failure.member for failure in trace.failures} == {0, 1}
    assert len(trace.steps) == 21
    again = train(network(ensemble=2), TREE, "simple", lr=1e200, batch=4, steps=40, checkpoint_dir=tmp_path)
    assert again.failures == trace.failures
    last = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])
    assert last == {"step": 40, "loss": [None, None], "dead": [False, False]}


# Dead networks


@pytest.mark.parametrize(
    ("mode", "loss"),
    [("sampled", "simple"), ("sampled", "infonce"), ("sampled", "ntxent"), ("exact", "simple"), ("exact", "infonce")],
)
@pytest.mark.parametrize("output", ["linear", "normalized"])
def test_dead_networks_are_reported_and_never_nan(output, loss, mode):
    held = network(output=output, ensemble=3)
    blocks = [block.clone() for block in held.parameters]
    for block in blocks:
        block[0] = 0.0
        block[1] = -block[1].abs()  # no leaf is negative: every gate below the top is shut
    trace = train(held.with_parameters(blocks), TREE, loss, batch=8, steps=10, record_every=5, mode=mode)
    assert not trace.failures
    assert trace.dead.tolist() == [[True, True, False]] * 3
    assert torch.isfinite(trace.losses).all()
    assert all(torch.isfinite(block).all() for block in trace.network.parameters)
    for block, before in zip(trace.network.parameters, blocks, strict=True):
        assert torch.equal(block[:2], before[:2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("output", ["linear", "normalized"])
@pytest.mark.parametrize(("loss", "mode"), [("triplet", "sampled"), ("infonce", "sampled"), ("ntxent", "sampled"),
                                            ("infonce", "exact")])  # fmt: skip
def test_a_temperature_of_1e_4_overflows_nowhere(loss, mode, output, dtype):
    held = network(output=output, dtype=dtype, ensemble=2)
    trace = train(held, TREE, loss, tau=1e-4, lr=0.01, batch=8, steps=50, mode=mode)
    assert not trace.failures
    assert torch.isfinite(trace.losses).all()


@pytest.mark.parametrize("loss", ["simple", "infonce", "ntxent"])
def test_a_batch_of_one(loss):
    trace = train(network(output="normalized"), TREE, loss, batch=1, steps=30)
    assert not trace.failures
    assert torch.isfinite(trace.losses).all()
    if loss == "ntxent":  # one pair, no negatives: nothing to learn
        assert not trace.losses.any()


# Values


def test_values_are_checked():
    held, pair = network(), network(ensemble=2)
    empty = held.with_parameters([block[:0] for block in held.parameters])
    bad = held.with_parameters([block * math.nan for block in held.parameters])
    wide = TreeNetwork(hltm.star_tree(13, polarity=0.5), 2)
    other = hltm.complete_tree(1, 2, 0.8)
    cases = [
        ((empty,), {}, "network with ensemble=0: must have at least one member"),
        ((held,), {"batch": 0}, "batch=0: must be at least 1"),
        ((held,), {"steps": 0}, "steps=0: must be at least 1"),
        ((held,), {"record_every": 0}, "record_every=0: must be at least 1"),
        ((held,), {"lr": -0.1}, "lr=-0.1: must not be negative"),
        ((held,), {"lr": math.inf}, "lr=inf of member 0: must be a finite number"),
        ((pair,), {"lr": [0.1, math.nan]}, "lr=nan of member 1: must be a finite number"),
        ((pair,), {"lr": [0.1]}, "lr of length 1: must be one value, or one for each of 2 members"),
        ((held,), {"tau": 0.0}, "tau=0.0 of loss 'infonce': must be positive and finite"),
        ((held,), {"negatives": 0}, "negatives=0 of loss 'infonce': must be an integer >= 1"),
        ((held,), {"mode": "fast"}, "mode='fast': must be 'sampled' or 'exact'"),
        ((held, other), {}, f"tree 1, {other!r}: must have the nodes, edges and states of tree 0, {TREE!r}"),
        ((pair, [TREE]), {}, "1 trees for 2 members: must be one tree, or one for each"),
        ((wide,), {"mode": "exact"}, "mode='exact' on 13 leaves: must be at most 12; use mode='sampled'"),
        (
            (pair,),
            {"seed": [3, 3]},
            "seed=3 of member 1: must not be that of member 0, both would draw the same numbers",
        ),
        ((pair,), {"seed": [3]}, "seed of length 1: must be one value, or one for each of 2 members"),
        ((held,), {"seed": -1}, "seed=-1: must be at least 0"),
        ((held,), {"loss": "l2"}, "loss='l2': must be one of 'simple', 'triplet', 'infonce', 'ntxent'"),
    ]
    for given, arguments, message in cases:
        with refused(message):
            train(*given, **({"steps": 1} | arguments))
    with pytest.raises(InputError, match=r"^parameters of block 0: entry .* is nan: must be finite$"):
        train(bad, steps=1)


def test_losses_that_cannot_be_stacked_or_summed():
    pair = network(ensemble=2)
    message = "loss 'ntxent' with 1 negatives of member 1: must have the 1 negatives of 'simple' of member 0 to be "
    with refused(message + "stacked with it"):
        train(pair, loss=["simple", "ntxent"], steps=1)
    rule = "must be 'simple', 'triplet' or 'infonce' with one negative; use mode='sampled'"
    with refused(f"mode='exact' with loss 'infonce' of member 0 and 3 negatives: {rule}"):
        train(pair, negatives=3, steps=1, mode="exact")
    wide = TreeNetwork(hltm.star_tree(11, polarity=0.5), 2)
    eights = hltm.random_tree(leaves=8, seed=1, cardinality=3)
    rule = "6,561 configurations of the leaves: must be at most 4,096; use the simple loss, or mode='sampled'"
    with refused(f"mode='exact' with loss 'infonce' of member 0: {rule}"):
        train(TreeNetwork(eights, 2), steps=1, mode="exact")
    assert not train(TreeNetwork(eights, 2), loss="simple", lr=1e-3, steps=1, mode="exact").failures
    # Distances that reach beyond 256 tau are summed term by term, and only so many.
    rule = "must be at most 1,073,741,824 where distances reach beyond 256 tau; use mode='sampled'"
    with refused(f"mode='exact' with tau=0.0001: 8,589,934,592 triples of configurations: {rule}"):
        train(wide, tau=1e-4, steps=1, mode="exact")


def test_a_tree_without_latents_does_not_exist():
    import networkx as nx

    for nodes, found in enumerate(("0 nodes", "1 nodes and 0 edges")):
        graph = nx.DiGraph()
        graph.add_nodes_from(range(nodes), prior=[0.5, 0.5])
        with refused(f"graph with {found}: a tree has at least one edge"):
            hltm.HLTM(graph)
    with refused("depth=0: must be at least 1"):
        hltm.complete_tree(0, 2, 0.5)


def test_measurements_are_checked():
    grown = lambda here, step: {"size": torch.ones(2 if step < 5 else 3)}  # noqa: E731
    with refused("measure at step 5: {'size': (3,)}: must be the names and shapes of step 0, {'size': (2,)}"):
        train(network(ensemble=2), steps=10, record_every=5, measure=grown)
    with refused("measure at step 0: size of shape (3,): must be (2, ...)"):
        train(network(ensemble=2), steps=10, measure=lambda here, step: {"size": torch.ones(3)})
