"""Members that diverge or are dead, small temperatures and batches, and values that are not allowed."""

import json
import math
import re
import subprocess
import sys

import pytest
import torch

import hltm
from hltm.base.errors import InputError
from numeric import TreeNetwork, train

TREE = hltm.complete_tree(2, 2, 0.8)


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


@pytest.mark.parametrize("loss", ["simple", "infonce"])
def test_a_batch_of_one(loss):
    trace = train(network(output="normalized"), TREE, loss, batch=1, steps=30)
    assert not trace.failures
    assert torch.isfinite(trace.losses).all()


def test_a_batch_of_one_pair_has_no_negatives():
    with refused("batch=1 of loss 'ntxent': must be at least 2, the rest of it are the negatives"):
        train(network(ensemble=2), TREE, "ntxent", batch=1, steps=3)
    assert train(network(output="normalized"), TREE, "ntxent", batch=2, steps=3).losses.any()


@pytest.mark.parametrize(
    ("loss", "batch", "negatives"), [("infonce", 10**12, 1), ("infonce", 1, 10**12), ("ntxent", 10**5, 1)]
)
def test_batches_that_no_memory_holds(loss, batch, negatives):
    sizes = f"batch={batch} of loss {loss!r}" + ("" if loss == "ntxent" else f", negatives={negatives}")
    rule = "a step must take at most 8,589,934,592 numbers; use fewer samples"
    with refused(f"{sizes}, on 1 members of 13 neurons: {rule}"):
        train(network(), TREE, loss, batch=batch, negatives=negatives, steps=1)


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
    for losses, first in ((["simple", "ntxent"], "simple"), (["ntxent", "simple"], "ntxent")):
        rule = f"must not be stacked with {first!r} of member 0: 'ntxent' goes with itself alone; train them apart"
        with refused(f"loss {losses[1]!r} of member 1: {rule}"):
            train(pair, loss=losses, steps=1)
    rule = (
        "must have the 1 negatives of 'simple' of member 0 to be stacked with it; use negatives=1, or train them apart"
    )
    with refused(f"loss 'infonce' with 3 negatives of member 1: {rule}"):
        train(pair, loss=["simple", "infonce"], negatives=3, steps=1)
    rule = "must be 'simple', 'triplet' or 'infonce' with one negative; use mode='sampled'"
    with refused(f"mode='exact' with loss 'infonce' of member 0 and 3 negatives: {rule}"):
        train(pair, negatives=3, steps=1, mode="exact")
    eights = hltm.random_tree(leaves=8, seed=1, cardinality=3)
    rule = "6,561 configurations of the leaves: must be at most 4,096; use the simple loss, or mode='sampled'"
    with refused(f"mode='exact' with loss 'infonce' of member 0: {rule}"):
        train(TreeNetwork(eights, 2), steps=1, mode="exact")
    assert not train(TreeNetwork(eights, 2), loss="simple", lr=1e-3, steps=1, mode="exact").failures


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
    with refused("measure at step 0: size=1j: must be a tensor of real numbers"):
        train(network(), steps=10, measure=lambda here, step: {"size": 1j})
    with refused("measure at step 0: name 'loss': must be a string, none of step, loss, dead"):
        train(network(), steps=10, measure=lambda here, step: {"loss": torch.ones(1)})


def test_what_measure_changes_or_shares_does_not_reach_the_records(tmp_path):
    def measure(here, step):
        here.parameters[0].add_(1)
        return {"one": here.parameters[0], "same": here.parameters[0], "wide": torch.ones(1).expand(1, 3)}

    settings = {"steps": 4, "batch": 2, "record_every": 2}
    found = train(network(), measure=measure, checkpoint_dir=tmp_path, **settings)
    plain = train(network(), **settings)
    assert all(torch.equal(a, b) for a, b in zip(found.parameters, plain.parameters, strict=True))
    assert torch.equal(found.measured["one"], plain.parameters[0] + 1)


def test_weights_of_half_precision(tmp_path):
    """NumPy has no bfloat16: weights are told apart by their bits."""
    held = network(dtype=torch.bfloat16, output="normalized")
    settings = {"batch": 4, "steps": 4, "record_every": 2, "checkpoint_dir": tmp_path}
    first, again = (train(held, TREE, "simple", lr=0.125, **settings) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters, again.parameters, strict=True))
    with pytest.raises(InputError, match=r"weights .* of its checkpoint"):
        train(network(dtype=torch.bfloat16, output="normalized", seed=2), TREE, "simple", lr=0.125, **settings)


def test_weights_alone_that_are_not_finite_name_the_last_step():
    """The loss of a member that overflows in the last step before a record was finite throughout."""
    trace = train(network(), TREE, "simple", lr=1e300, batch=64, steps=6, record_every=6, seed=3)
    coarse = trace.failures[0].step
    for every in (1, 2, 3):
        fine = train(network(), TREE, "simple", lr=1e300, batch=64, steps=6, record_every=every, seed=3).failures[0]
        last = fine.last_good + every - 1
        assert fine.step == (coarse if coarse <= last else last)


ODD = r"""
import json, sys, tempfile, pathlib
import numpy as np, torch, hltm
from hltm.base.errors import InputError
from numeric import TreeNetwork, train
tree = hltm.complete_tree(2, 2, 0.8)
pair = TreeNetwork(tree, 3, seed=1, ensemble=2)
cases = {
    "network": (None, {}), "tree": (pair, {"tree": 5}), "folder": (pair, {"checkpoint_dir": 5}),
    "nul": (pair, {"checkpoint_dir": "a\0b"}), "surrogate": (pair, {"checkpoint_dir": "\ud800"}),
    "optimizer": (pair, {"optimizer": []}), "options": (pair, {"optimizer_options": [1]}),
    "loss": (pair, {"loss": [[], []]}), "measure": (pair, {"measure": 5}), "progress": (pair, {"progress": 5}),
    "seed": (pair, {"seed": np.array([1.5, 2])}),
    "none": (pair, {"measure": lambda here, step: None}), "text": (pair, {"measure": lambda here, step: "abc"}),
    "word": (pair, {"measure": lambda here, step: {"a": "abc"}}), "number": (pair, {"measure": lambda here, step: {1: 1}}),
}
found = {}
for name, (network, arguments) in cases.items():
    try:
        train(network, **({"steps": 2, "batch": 2} | arguments))
        found[name] = "trained"
    except InputError as error:
        found[name] = str(error)
    except Exception as error:
        found[name] = repr(error)
one, other = (train(pair, steps=2, batch=2, seed=seed).losses for seed in (np.array([4, 9]), [4, 9]))
found["seeds"] = bool((one == other).all())
print(json.dumps(found))
"""


def test_values_of_other_types_are_one_line():
    """In a process of its own: here annotations would be checked first."""
    ran = subprocess.run([sys.executable, "-c", ODD], capture_output=True, text=True, check=True, timeout=120)
    rule = "must be a path, without NUL or lone surrogates"
    kinds = "'adam', 'adamax', 'adamw', 'nadam', 'radam', 'rmsprop', 'sgd'"
    assert json.loads(ran.stdout) == {
        "network": "network=None: must be a TreeNetwork",
        "tree": "tree=5: must be an HLTM, or a sequence with one for each member",
        "folder": f"checkpoint_dir=5: {rule}",
        "nul": f"checkpoint_dir='a\\x00b': {rule}",
        "surrogate": f"checkpoint_dir='\\ud800': {rule}",
        "optimizer": f"optimizer=[]: must be one of {kinds}",
        "options": "optimizer_options=[1] of 'sgd': must be a mapping of names to values",
        "loss": "loss=[]: must be one of 'simple', 'triplet', 'infonce', 'ntxent'",
        "measure": "measure=5: must be a function of two arguments",
        "progress": "progress=5: must be a function of two arguments",
        "seed": "seed=1.5: must be an integer, got float",
        "none": "measure at step 0: None: must be a mapping of names to tensors",
        "text": "measure at step 0: 'abc': must be a mapping of names to tensors",
        "word": "measure at step 0: a='abc': must be a tensor of real numbers",
        "number": "measure at step 0: name 1: must be a string, none of step, loss, dead",
        "seeds": True,
    }
