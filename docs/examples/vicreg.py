"""Bardes, Ponce and LeCun 2022 (arXiv 2105.04906), the VICReg loss: the gradient of its three terms by the embeddings.

With centred embeddings Zc of one view, s = sqrt(var + eps) and covariance C, of n samples in d dimensions: invariance
2 (Z - Z')/(n d), variance -1[s < 1] Zc / (s d (n - 1)), covariance 4 Zc offdiag(C) / (d (n - 1)).
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from verify import JsonInstance, user_statement
from verify.strategies import matrices

EPS = 1e-4


@dataclass(frozen=True)
class Views(JsonInstance):
    z: tuple[tuple[float, ...], ...]
    other: tuple[tuple[float, ...], ...]


@st.composite
def views(draw, n):
    one = matrices(draw(st.integers(2, n)), draw(st.integers(1, n)))
    return Views(draw(one), draw(one))


def closed_form(i, at, factor=4, hinge=True, lost=1):
    z, y = at.array(i.z), at.array(i.other)
    (n, d), c = z.shape, z - z.mean(axis=0)
    s = np.sqrt((c**2).sum(axis=0) / (n - lost) + EPS)
    off = (c.T @ c) * (1 - np.eye(d)) / (n - 1)
    return {"invariance": 2 * (z - y) / (n * d), "variance": -c / s / (d * (n - 1)) * (s < 1 if hinge else 1),
            "covariance": factor * c @ off / (d * (n - 1))}  # fmt: skip


def by_autograd(i, at):
    """The terms as the authors compute them."""
    z, y = at.tensor(i.z).requires_grad_(), at.tensor(i.other)
    c = z - z.mean(dim=0)
    cov = c.T @ c / (len(z) - 1)
    off = (cov - torch.diag(torch.diagonal(cov))).square().sum() / z.shape[1]
    hinge = torch.relu(1 - torch.sqrt(z.var(dim=0) + EPS)).mean()
    terms = {"invariance": torch.nn.functional.mse_loss(z, y), "variance": hinge, "covariance": off}
    return {name: torch.autograd.grad(value, z)[0] for name, value in terms.items()}


VICREG = user_statement(
    title="VICReg gradient", claim=r"\nabla_Z L", source="arXiv 2105.04906, section 4", strategy=[views(2), views(4)],
    theory=closed_form, numeric=by_autograd,
    variants={"two": lambda i, at: closed_form(i, at, factor=2), "biased": lambda i, at: closed_form(i, at, lost=0),
              "no-hinge": lambda i, at: closed_form(i, at, hinge=False)},
)  # fmt: skip
