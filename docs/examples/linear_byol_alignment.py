"""Tian, Chen and Ganguli 2021 (arXiv 2102.06810), Theorem 3: the eigenspaces of W_p align with those of F = W W^T.

With isotropic data (X = I, X' = sigma^2 I), a target W_a = tau W and a symmetric W_p, the commutator follows
d/dt [F, W_p] = -[F, W_p] K - K [F, W_p], K = (1 + sigma^2)(alpha_p/2 F + W_p^2 - tau/(1 + sigma^2) W_p) + 3/2 eta I.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from verify import JsonInstance, Without, user_statement
from verify.strategies import eighths, matrices


@dataclass(frozen=True)
class State(JsonInstance):
    w: tuple[tuple[float, ...], ...]
    half: tuple[tuple[float, ...], ...]  # W_p is this and its transpose
    rates: tuple[float, ...]  # sigma^2, tau, alpha_p, eta
    bend: float  # X is I and this in every entry; 0 is isotropic


@st.composite
def states(draw, n, bend=0.0):
    a, b = draw(st.integers(1, n)), draw(st.integers(1, n))
    rates = draw(st.tuples(eighths(0, 8), eighths(0, 8), eighths(1, 16), eighths(0, 8)))
    return State(draw(matrices(b, a)), draw(matrices(b, b)), rates, bend)


def theory(i, at, decay=1.5, half=0.5, sign=1):
    w, p, (sigma2, tau, alpha, eta) = at.array(i.w), at.array(i.half) + at.array(i.half).T, at.array(i.rates)
    f = w @ w.T
    k = (1 + sigma2) * (half * alpha * f + p @ p) - tau * p + decay * eta * np.eye(len(p))
    c = f @ p - p @ f
    return -c @ k - sign * k @ c


def measured(i, at):
    w, p, (sigma2, tau, alpha, eta) = at.tensor(i.w), at.tensor(i.half) + at.tensor(i.half).T, at.tensor(i.rates)
    w, p, one = w.requires_grad_(), p.requires_grad_(), torch.eye(w.shape[1], dtype=w.dtype)
    x = one + at.tensor(i.bend)
    loss = torch.trace(p @ w @ (x + sigma2 * one) @ w.T @ p.T) / 2 - torch.trace(tau * w.detach() @ x @ w.T @ p.T)
    gw, gp = torch.autograd.grad(loss, (w, p))
    dw, dp = -gw - eta * w, -alpha * (gp + gp.T) / 2 - eta * p  # W_p stays symmetric
    f, df = w @ w.T, dw @ w.T + w @ dw.T
    return df @ p + f @ dp - dp @ f - p @ df


ALIGNMENT = user_statement(
    title="linear BYOL alignment", claim=r"\tfrac{d}{dt}[F, W_p] = -[F, W_p] K - K [F, W_p]",
    source="arXiv 2102.06810, Theorem 3", theory=theory, numeric=measured, strategy=[states(2), states(3)],
    variants={"decay": lambda i, at: theory(i, at, decay=2), "half": lambda i, at: theory(i, at, half=1),
              "commutator": lambda i, at: theory(i, at, sign=-1)},
    drops={"isotropic data": Without("means that are correlated", states(3, bend=0.5))},
)  # fmt: skip
