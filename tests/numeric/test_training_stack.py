"""What a member draws and becomes does not depend on what it is stacked with."""

import pytest
import torch

import hltm
from numeric import TreeNetwork, train
from numeric.training.contrast import training_loss
from numeric.trees.streams import TripleSampler

MEMBERS, STEPS, BATCH = 20, 1000, 8
SEEDS = [20_103 + 1009 * member for member in range(MEMBERS)]
TREES = [hltm.complete_tree(3, 2, (0.5, 1.0), seed=member) for member in range(MEMBERS)]
TAUS = [0.1 + 0.05 * member for member in range(MEMBERS)]
RATES = [0.01 * (1 + member % 7) for member in range(MEMBERS)]
LOSSES = [
    (training_loss("simple"), training_loss("triplet", tau=tau, margin=0.1), training_loss("infonce", tau=tau))[
        member % 3
    ]
    for member, tau in enumerate(TAUS)
]


def close(own, other, rate=1e-9):
    return bool(((own - other).abs() <= rate * (1 + other.abs())).all())


@pytest.mark.parametrize(("options", "steps"), [({}, STEPS), ({"momentum": 0.5}, 100)])
def test_twenty_members_alone_and_stacked(options, steps):
    network = TreeNetwork(TREES[0], 5, output="normalized", seed=3, ensemble=MEMBERS)
    measure = {"measure": lambda here, step: {"size": here.parameters[0].square().sum((1, 2, 3))}}
    settings = {"batch": BATCH, "steps": steps, "record_every": steps // 10, "optimizer_options": options}
    together = train(network, TREES, LOSSES, lr=RATES, seed=SEEDS, **settings, **measure)
    assert not together.failures
    assert not together.dead.any()
    every = TripleSampler(TREES, SEEDS, BATCH, 1, torch.device("cpu")).leaves(steps - 50, 50)
    for member in range(MEMBERS):
        one = network.with_parameters([block[member : member + 1] for block in network.parameters])
        own = TripleSampler([TREES[member]], [SEEDS[member]], BATCH, 1, torch.device("cpu"))
        assert torch.equal(own.leaves(steps - 50, 50)[:, 0], every[:, member]), SEEDS[member]
        alone = train(one, TREES[member], LOSSES[member], lr=RATES[member], seed=SEEDS[member], **settings, **measure)
        found = together.member(member)
        assert close(found.losses, alone.losses), SEEDS[member]
        assert torch.equal(found.dead, alone.dead)
        assert close(found.measured["size"], alone.measured["size"]), SEEDS[member]
        for mine, other in zip(found.parameters, alone.parameters, strict=True):
            assert close(mine, other), SEEDS[member]
        for mine, other in zip(found.network.parameters, alone.network.parameters, strict=True):
            assert close(mine, other), SEEDS[member]


def test_the_same_in_exact_mode():
    trees = [hltm.complete_tree(2, 2, (0.5, 1.0), seed=member) for member in range(4)]
    network = TreeNetwork(trees[0], 3, output="normalized", seed=3, ensemble=4)
    losses = ["simple", "triplet", "infonce", "simple"]
    settings = {"mode": "exact", "steps": 300, "record_every": 100, "lr": 0.02}
    together = train(network, trees, losses, **settings)
    for member in range(4):
        one = network.with_parameters([block[member : member + 1] for block in network.parameters])
        alone = train(one, trees[member], losses[member], **settings)
        assert close(together.member(member).losses, alone.losses)
        for mine, other in zip(together.member(member).parameters, alone.parameters, strict=True):
            assert close(mine, other)


def test_records_do_not_change_the_run():
    network = TreeNetwork(TREES[0], 3, output="normalized", seed=3, ensemble=2)
    often, rarely = (train(network, steps=60, batch=4, record_every=every) for every in (7, 60))
    assert often.steps == (0, 7, 14, 21, 28, 35, 42, 49, 56, 60)
    for mine, other in zip(often.network.parameters, rarely.network.parameters, strict=True):
        assert torch.equal(mine, other)
    held = dict(often.networks())
    assert list(held) == list(often.steps)
    assert torch.equal(held[0].parameters[0], network.parameters[0])
    assert torch.equal(held[60].parameters[0], often.network.parameters[0])
