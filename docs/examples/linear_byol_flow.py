"""Tian, Chen and Ganguli 2021 (arXiv 2102.06810), Lemma 1: the flow of linear BYOL with a predictor and weight decay.

W' = W_p^T G - eta W and W_p' = alpha_p G W^T - eta W_p, with G = -W_p W (X + X') + W_a X, where X is the covariance of
augmentation means and X' the mean covariance of augmentations. The target W_a gets no gradient.
"""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st

from verify import JsonInstance, user_statement
from verify.strategies import eighths, matrices


@dataclass(frozen=True)
class Byol(JsonInstance):
    w: tuple[tuple[float, ...], ...]
    wp: tuple[tuple[float, ...], ...]
    wa: tuple[tuple[float, ...], ...]
    points: tuple[tuple[tuple[float, ...], ...], ...]  # the augmentations of each point
    eta: float
    alpha: float


@st.composite
def byol(draw, n, m):
    n1, n2, points, views = (draw(st.integers(1, k)) for k in (n, n, m, m))
    parts = [matrices(n2, n1), matrices(n2, n2), matrices(n2, n1), st.tuples(*[matrices(views, n1)] * points)]
    return Byol(*map(draw, [*parts, eighths(0, 8), eighths(1, 16)]))


def flow(i, at, spread=1, target=0, transposed=True):
    w, wp, wa, eta, alpha = (at.array(v) for v in (i.w, i.wp, i.wa, i.eta, i.alpha))
    x = at.array(i.points)
    mean = x.sum(axis=1) / x.shape[1]
    rest = (x - mean[:, None]).reshape(-1, x.shape[2])
    big, prime = mean.T @ mean / len(mean), rest.T @ rest / len(rest)
    g = wa @ (big + target * prime) - wp @ w @ (big + spread * prime)
    return {"w": (wp.T if transposed else wp) @ g - eta * w, "wp": alpha * g @ w.T - eta * wp}


def measured(i, at):
    w, wp = at.tensor(i.w).requires_grad_(), at.tensor(i.wp).requires_grad_()
    x, eta = at.tensor(i.points), at.tensor(i.eta)
    gap = (x @ w.T @ wp.T)[:, :, None] - (x @ at.tensor(i.wa).T)[:, None]
    dw, dp = torch.autograd.grad(gap.square().sum(-1).mean() / 2, (w, wp))
    return {"w": -dw - eta * w, "wp": -at.tensor(i.alpha) * dp - eta * wp}


FLOW = user_statement(
    title="linear BYOL flow", claim=r"\dot W = W_p^\top G - \eta W,\quad \dot W_p = \alpha_p G W^\top - \eta W_p",
    source="arXiv 2102.06810, Lemma 1", theory=flow, numeric=measured, strategy=[byol(1, 2), byol(3, 3)],
    variants={"no-spread": lambda i, at: flow(i, at, spread=0), "target-spread": lambda i, at: flow(i, at, target=1),
              "not-transposed": lambda i, at: flow(i, at, transposed=False)},
)  # fmt: skip
