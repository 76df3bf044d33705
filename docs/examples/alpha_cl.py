"""Tian 2022 (arXiv 2201.12680), Theorem 1: a contrastive loss descends as a weighted trace of covariances climbs.

Descent of L = sum_i phi(sum_j psi(d_i - d_ij)), d_i between the views of sample i and d_ij between samples, is ascent
of sum_ij alpha_ij (d_ij - d_i), half the trace of a contrastive covariance, with alpha_ij = phi' psi' held fixed.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from verify import JsonInstance, user_statement
from verify.strategies import eighths, matrices

# phi' of the sum s and psi, psi' of the differences x, in NumPy; the loss of the differences of a sample, in torch.
LOSSES = {
    "infonce": (lambda s, t: t / (1 + s), lambda x, t: (np.exp(x / t), np.exp(x / t) / t),
                lambda x, t: t * torch.log1p(torch.exp(x / t).sum())),
    "square": (lambda s, t: s / s / t, lambda x, t: ((t + x) ** 2, 2 * (t + x)), lambda x, t: ((t + x) ** 2 / t).sum()),
}  # fmt: skip


@dataclass(frozen=True)
class Batch(JsonInstance):
    views: tuple[tuple[tuple[float, ...], ...], ...]  # two
    tau: float
    loss: str


@st.composite
def batches(draw, n):
    view = matrices(draw(st.integers(2, n)), draw(st.integers(1, n)))
    return Batch(draw(st.tuples(view, view)), draw(eighths(4, 16)), draw(st.sampled_from(sorted(LOSSES))))


def ascent(i, at, held=True, negative=1):
    (z, y), t = at.array(i.views), at.array(i.tau)
    slope, psi, _ = LOSSES[i.loss]
    d, pair = ((z[:, None] - z) ** 2).sum(axis=2) / 2, ((z - y) ** 2).sum(axis=1) / 2
    value, rate = (a * (1 - np.eye(len(z))) for a in psi(pair[:, None] - d, t))
    alpha = rate * (slope(value.sum(axis=1, keepdims=True), t) if held else 1)
    rows, columns = alpha.sum(axis=1)[:, None], alpha.sum(axis=0)[:, None]
    far = rows * z - alpha @ z + negative * (columns * z - alpha.T @ z)
    return {"z": far - rows * (z - y), "other": rows * (z - y)}


def descent(i, at):
    (z, y), t = at.tensor(i.views).requires_grad_(), at.tensor(i.tau)
    d = ((z - y).square().sum(1)[:, None] - (z[:, None] - z).square().sum(2)) / 2
    loss = sum(LOSSES[i.loss][2](torch.cat([row[:k], row[k + 1 :]]), t) for k, row in enumerate(d))
    return dict(zip(("z", "other"), torch.autograd.grad(-loss, (z, y)), strict=True))


ALPHA_CL = user_statement(
    title="alpha-CL", claim=r"-\nabla L_{\phi,\psi} = \nabla \tfrac12 \operatorname{tr} C_\alpha",
    source="arXiv 2201.12680, Theorem 1", theory=ascent, numeric=descent, strategy=[batches(2), batches(4)],
    variants={"no-phi": lambda i, at: ascent(i, at, held=False), "own": lambda i, at: ascent(i, at, negative=0)},
)  # fmt: skip
