"""Optimisers of a stack against `torch.optim` on one member at a time, and against themselves taken up again."""

import math
import re

import pytest
import torch

import hltm
from hltm.base.errors import InputError
from numeric import TreeNetwork, train
from numeric.training.optimizers import make_optimizer

SEED = 20_102
KINDS = {
    "sgd": (torch.optim.SGD, {}),
    "momentum": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    "adam": (torch.optim.Adam, {"betas": (0.8, 0.99)}),
    "amsgrad": (torch.optim.Adam, {"amsgrad": True, "weight_decay": 0.1}),
    "adamax": (torch.optim.Adamax, {}),
    "adamw": (torch.optim.AdamW, {"weight_decay": 0.1}),
    "nadam": (torch.optim.NAdam, {}),
    "radam": (torch.optim.RAdam, {}),
    "rmsprop": (torch.optim.RMSprop, {"momentum": 0.5, "centered": True}),
}
NAMES = {"momentum": "sgd", "amsgrad": "adam"}
RATES = {"own rates": [0.01, 0.1, 0.03, 0.5], "one rate": [0.05] * 4}
SHAPES = [(4, 2, 3, 5), (4, 1, 2, 2)]


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def drawn(generator):
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in SHAPES]


def made(kind, start, rates):
    held = torch.tensor(rates, dtype=torch.float64)
    return make_optimizer(NAMES.get(kind, kind), [block.clone() for block in start], held, KINDS[kind][1])


@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
@pytest.mark.parametrize("kind", KINDS)
def test_members_are_what_torch_makes_of_them_alone(kind, rates):
    """40 steps, a member leaving after 15: the others are as torch has them."""
    generator = torch.Generator().manual_seed(SEED)
    start = drawn(generator)
    stacked, members = made(kind, start, rates), [0, 1, 2, 3]
    alone = []
    for member, rate in enumerate(rates):
        held = [block[member].clone().requires_grad_() for block in start]
        alone.append((held, KINDS[kind][0](held, lr=rate, **KINDS[kind][1])))
    for step in range(40):
        if step == 15:
            stacked.keep(torch.tensor([0, 2, 3]))
            members = [0, 2, 3]
        gradients = drawn(generator)
        for held, optimizer in alone:
            member = next(k for k, other in enumerate(alone) if other[1] is optimizer)
            for block, gradient in zip(held, gradients, strict=True):
                block.grad = gradient[member].clone()
            optimizer.step()
        stacked.step([gradient[members] for gradient in gradients])
        for place, member in enumerate(members):
            for block, held in zip(stacked.parameters, alone[member][0], strict=True):
                # With own rates a step of rate 1 is scaled: of size 5 at most, 40 of them.
                assert float((block[place] - held.detach()).abs().max()) <= 1e-12, (SEED, step, member)


@pytest.mark.parametrize("rates", RATES.values(), ids=RATES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_state_taken_up_goes_on_bit_for_bit(kind, rates):
    generator = torch.Generator().manual_seed(SEED)
    first = made(kind, drawn(generator), rates)
    for _ in range(7):
        first.step(drawn(generator))
    first.keep(torch.tensor([1, 3]))
    second = made(kind, drawn(generator), rates)
    second.keep(torch.tensor([1, 3]))
    for own, other in zip(second.parameters, first.parameters, strict=True):
        own.copy_(other)
    second.load({name: value.clone() for name, value in first.state().items()})
    for step in range(7):
        gradients = [block[[1, 3]] for block in drawn(generator)]
        first.step([block.clone() for block in gradients])
        second.step([block.clone() for block in gradients])
        for own, other in zip(second.parameters, first.parameters, strict=True):
            assert torch.equal(own, other), (SEED, step)


def test_training_does_what_torch_does():
    """A run of one member against a loop of torch's own over the same draws."""
    from numeric.towers.losses import loss_value
    from numeric.training.contrast import contrast_of, training_loss
    from numeric.trees.streams import TripleSampler

    tree, spec = hltm.random_tree(leaves=5, seed=3), training_loss("infonce", tau=0.3)
    network = TreeNetwork(tree, 4, output="normalized", seed=2)
    trace = train(network, tree, spec, lr=0.01, batch=8, steps=60, seed=SEED, optimizer="adam", record_every=30)
    held = [block.clone().requires_grad_() for block in network.parameters]
    optimizer = torch.optim.Adam(held, lr=0.01)
    contrast = contrast_of([spec], torch.device("cpu"), torch.float64)
    leaves = TripleSampler([tree], [SEED], 8, contrast.negatives, torch.device("cpu")).leaves(0, 60)
    losses = []
    for batch in leaves:
        f = network.with_parameters(held).forward(batch.mT)[0].unflatten(0, (3, 8))
        r_pos, r_neg = (0.5 * (f[0] - f[k]).square().sum(-1) for k in (1, 2))
        loss = loss_value(spec, r_pos, r_neg.unsqueeze(-1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    for own, other in zip(trace.network.parameters, held, strict=True):
        assert float((own - other.detach()).abs().max()) <= 1e-10
    wanted = torch.tensor(losses, dtype=torch.float64).view(2, 30).mean(1)
    assert float((trace.losses[:, 0] - wanted).abs().max()) <= 1e-10


def test_optimisers_that_are_not_known_are_refused():
    network = TreeNetwork(hltm.star_tree(2, polarity=0.5))
    names = "'adam', 'adamax', 'adamw', 'nadam', 'radam', 'rmsprop', 'sgd'"
    with refused(f"optimizer='lbfgs': must be one of {names}"):
        train(network, steps=1, optimizer="lbfgs")
    with pytest.raises(InputError, match=r"^optimizer_options=\{'speed': 1\} of Adam: .*speed"):
        train(network, steps=1, optimizer="adam", optimizer_options={"speed": 1})
    with pytest.raises(InputError, match=r"^optimizer_options=\{'betas': \[2, 3\]\} of Adam: "):
        train(network, steps=1, optimizer="adam", optimizer_options={"betas": [2, 3]})
    rule = "must be finite numbers, strings and lists by name"
    with pytest.raises(InputError, match=rf"^optimizer_options=.* of 'adam': {rule}$"):
        train(network, steps=1, optimizer="adam", optimizer_options={"eps": torch.tensor(1e-8)})
    with pytest.raises(InputError, match=rf"^optimizer_options=\{{'momentum': nan\}} of 'sgd': {rule}$"):
        train(network, steps=1, optimizer="sgd", optimizer_options={"momentum": math.nan})


@pytest.mark.parametrize("options", [{"capturable": True}, {"betas": [0.9]}, {"lr": 1.0}], ids=["step", "list", "lr"])
@pytest.mark.parametrize("ensemble", [1, 2])
def test_options_that_torch_trips_over_are_one_line(options, ensemble):
    network = TreeNetwork(hltm.star_tree(2, polarity=0.5), ensemble=ensemble)
    start = re.escape(f"optimizer_options={options!r} of Adam: ")
    with pytest.raises(InputError, match=rf"^{start}[^\n]+$"):
        train(network, steps=1, lr=[0.1, 0.2][:ensemble], optimizer="adam", optimizer_options=options)
