"""A training step stays on its device: nothing moves between host and device, and its trace is that of the CPU."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import hltm
from numeric import TreeNetwork, train
from numeric.training.contrast import contrast_of, training_loss
from numeric.training.minibatch import Sampled, Stack
from numeric.training.optimizers import Descent
from numeric.trees.streams import TripleSampler

SEED = 20_105
LOSSES = {
    "triples": [training_loss("infonce", tau=0.3), training_loss("simple"), training_loss("triplet", margin=0.1)],
    "whole batch": [training_loss("ntxent", tau=0.3)] * 3,
}
TREES = {
    "complete": hltm.complete_tree(3, 2, 0.9),
    "caterpillar": hltm.caterpillar_tree(4, polarity=0.8),
    "categorical": hltm.random_tree(leaves=5, seed=3, cardinality=3),
}
# What waits for the device, or brings numbers of the host to it.
FORBIDDEN = ("_local_scalar_dense", "nonzero", "lift_fresh", "masked_select", "equal", "is_nonzero", "_pin_memory")


class Watched(TorchDispatchMode):
    """Names of the operations, and devices that they move between."""

    def __init__(self, device):
        super().__init__()
        self.names, self.device = set(), device

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.add(function.overloadpacket.__name__)
        assert not (kwargs or {}).get("device") or kwargs["device"].type == self.device, function
        return function(*args, **(kwargs or {}))


def made(tree, specs, device, output="normalized"):
    network = TreeNetwork(tree, 3, 0.2, output, seed=1, ensemble=3, device=device)
    place = torch.device(device)
    contrast = contrast_of(specs, place, torch.float64)
    sampler = TripleSampler([tree], [SEED, SEED + 1, SEED + 2], 4, contrast.negatives, place)
    source = Sampled(Stack(network.plan, 0.2, output == "normalized"), contrast, sampler)
    rates = torch.full((3,), 0.1, dtype=torch.float64, device=place)
    optimizer = Descent([block.clone() for block in network.parameters], rates)
    return source, optimizer


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("tree", TREES)
def test_a_step_stays_on_its_device(tree, loss, device):
    """On the device ``meta``, which holds no numbers, whatever reads one fails."""
    source, optimizer = made(TREES[tree], LOSSES[loss], torch.device(device))
    with Watched(device) as watched:
        (gradient,) = source.steps(0, 1)
        losses, gradients = gradient(optimizer.parameters)
        optimizer.step(gradients)
    assert losses.shape == (3,)
    assert losses.device.type == device
    assert not watched.names & set(FORBIDDEN), watched.names
    assert {"bmm", "bitwise_xor_"} <= watched.names


def test_members_in_tiles(monkeypatch):
    """Tiles of one member, of some, and one tile: the same draws, the same losses up to rounding."""
    from numeric.training import minibatch

    source, optimizer = made(TREES["complete"], LOSSES["triples"], "cpu")
    size = source.stack.plan.neurons * 12 * 8 // torch.get_num_threads() + 1
    found = []
    for room, tiles in ((0, 3), (2 * size, 2), (10 * size, 1)):
        monkeypatch.setattr(minibatch, "_TILE_BYTES", room)
        assert len(source._tiles()) == tiles
        steps = [gradient(optimizer.parameters) for gradient in source.steps(3, 6)]
        assert len(steps) == 3
        found.append(steps)
    for one, two, three in zip(*found, strict=True):
        for other in (one, two):
            assert float((other[0] - three[0]).abs().max()) <= 1e-14
            for mine, whole in zip(other[1], three[1], strict=True):
                assert float((mine - whole).abs().max()) <= 1e-14


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("loss", LOSSES)
def test_trace_of_a_device_is_that_of_the_cpu(loss):
    """A member that diverges leaves the stack."""
    tree = TREES["complete"]
    traces = []
    for device in ("cpu", "cuda"):
        network = TreeNetwork(tree, 3, output="linear", seed=1, ensemble=3, device=device)
        rates = [0.01, 1e200, 0.02]
        traces.append(train(network, tree, LOSSES[loss], lr=rates, batch=8, steps=200, seed=SEED, record_every=50))
    here, there = traces
    assert [failure.member for failure in here.failures] == [failure.member for failure in there.failures] == [1]
    for member in (0, 2):
        assert float((here.losses[:, member] - there.losses[:, member]).abs().max()) <= 1e-9
        for own, other in zip(here.parameters, there.parameters, strict=True):
            assert float((own[:, member] - other[:, member]).abs().max()) <= 1e-9
