"""Zbontar et al. 2021 (arXiv 2103.03230), the Barlow Twins loss: its gradient by the embeddings of one view.

The loss of the correlation C of two batches is sum_i (1 - C_ii)^2 + lambda sum_ij C_ij^2 off the diagonal. Its gradient
flows through the normalisation of a column too, mean and standard deviation.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from verify import JsonInstance, user_statement
from verify.strategies import eighths, matrices

EPS = 1e-5


@dataclass(frozen=True)
class Views(JsonInstance):
    z: tuple[tuple[float, ...], ...]
    other: tuple[tuple[float, ...], ...]
    weight: float  # lambda


@st.composite
def views(draw, n):
    rows, columns = draw(st.integers(2, n)), draw(st.integers(1, n))
    return Views(draw(matrices(rows, columns)), draw(matrices(rows, columns)), draw(eighths(1, 16)))


def normalised(x):
    c = x - x.mean(axis=0)
    s = np.sqrt((c**2).mean(axis=0) + EPS)
    return c / s, s


def closed_form(i, at, spread=1, double=2):
    (a, s), (b, _), weight = normalised(at.array(i.z)), normalised(at.array(i.other)), at.array(i.weight)
    one = np.eye(a.shape[1])
    c = a.T @ b / len(a)
    g = b @ (double * weight * c * (1 - one) - 2 * one * (1 - c)).T / len(a)
    return (g - g.mean(axis=0) - spread * a * (g * a).mean(axis=0)) / s


def by_autograd(i, at):
    z, y, weight = at.tensor(i.z).requires_grad_(), at.tensor(i.other), at.tensor(i.weight)
    a, b = (torch.nn.functional.batch_norm(x, None, None, training=True, eps=EPS) for x in (z, y))
    c = a.T @ b / len(z)
    on = torch.diagonal(c)
    return torch.autograd.grad((on - 1).square().sum() + weight * (c.square().sum() - on.square().sum()), z)[0]


BARLOW = user_statement(
    title="Barlow Twins gradient", claim=r"\nabla_Z L", source="arXiv 2103.03230, equation 1", theory=closed_form,
    numeric=by_autograd, strategy=[views(2), views(4)],
    variants={"frozen": lambda i, at: closed_form(i, at, spread=0), "sign": lambda i, at: closed_form(i, at, spread=-1),
              "once": lambda i, at: closed_form(i, at, double=1)},
)  # fmt: skip
