"""The law of linear_byol_balance.py in real training: BYOL with a predictor, its target the network itself, detached.

The rate of the theorem is that of the trained weights at every checkpoint, and W W^T - W_p^T W_p / alpha_p follows
exp(-2 eta t) up to an error of first order in the learning rate.
"""

import numpy as np
import torch
from linear_byol_balance import Byol, balance, byol, measured

from verify import along_training, user_statement

ETA, ALPHA = 0.1, 0.5
TRAINING = {"lr": 0.1, "steps": 10}


def network():
    return torch.nn.Sequential(torch.nn.Linear(4, 3, bias=False), torch.nn.Linear(3, 3, bias=False))


def two_views(generator):
    anchors = torch.randn(1, 8, 4, generator=generator, dtype=torch.float64)
    return anchors + 0.3 * torch.randn(2, 8, 4, generator=generator, dtype=torch.float64)


def loss(network, views):
    """The predictor has alpha_p times the learning rate, and the same decay as the other layer."""
    gap = network(views[0]) - network[0](views[1]).detach()
    decay = network[0].weight.square().sum() + network[1].weight.square().sum() / ALPHA
    return gap.square().sum(1).mean() / 2 + ETA * decay / 2


def rates(network, lr):
    first, second = network[0].parameters(), network[1].parameters()
    return torch.optim.SGD([{"params": first}, {"params": second, "lr": ALPHA * lr}], lr)


def instance(network, step, views):
    """The state of training as an instance of the statement."""
    w, p = network[0].weight, network[1].weight
    matrices = (tuple(map(tuple, m.tolist())) for m in (w, p, views[0], views[1] @ w.T))
    return Byol(tuple(matrices), (ETA, ALPHA))


def quantity(network, views):
    w, p = network[0].weight, network[1].weight
    return w @ w.T - p.T @ p / ALPHA


given = {"network": network, "data": two_views, "loss": loss, "optimizer": rates, **TRAINING}
LAW = user_statement(
    title="linear BYOL training", claim=r"W W^\top - W_p^\top W_p/\alpha_p \propto e^{-2\eta t}",
    source="arXiv 2102.06810, Theorem 1", theory=balance, numeric=measured, strategy=[byol(1), byol(3)],
    variants={"sum": lambda i, at: balance(i, at, sign=-1), "rate": lambda i, at: balance(i, at, rate=1)},
    trained=[
        along_training(**given, instance=instance),
        along_training(**given, quantity=quantity, course=lambda start, time: start * np.exp(-2 * ETA * time)),
    ],
)  # fmt: skip
