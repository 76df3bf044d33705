"""Cho and Saul 2009, equation 6: the arc-cosine kernel E[relu(u.x) relu(v.x)] of a standard normal x, by sampling.

It is |u||v| (sin t + (pi - t) cos t) / (2 pi) with the angle t of u and v. The numeric side draws, with a seed of its
own, and has standard errors; a difference of more than 7.2 of them refutes.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from verify import JsonInstance, user_statement
from verify.strategies import vectors

SAMPLES = 20_000


@dataclass(frozen=True)
class Two(JsonInstance):
    u: tuple[float, ...]
    v: tuple[float, ...]


@st.composite
def pairs(draw, n):
    one = vectors(draw(st.integers(1, n))).filter(any)
    return Two(draw(one), draw(one))


def kernel(i, at, turn=np.pi, power=1):
    u, v = at.array(i.u), at.array(i.v)
    size = np.sqrt(u @ u) * np.sqrt(v @ v)
    cosine = np.clip(u @ v / size, -1, 1)
    angle = np.arccos(cosine)
    return size**power * (np.sin(angle) + (turn - angle) * cosine) / (2 * np.pi)


def products(i, at):
    x = np.random.default_rng(len(i.u)).normal(size=(SAMPLES, len(i.u)))
    return np.maximum(x @ at.array(i.u), 0) * np.maximum(x @ at.array(i.v), 0)


def error(i, at):
    """Never zero: opposite vectors have no product at all."""
    return products(i, at).std() / np.sqrt(SAMPLES) + 1e-12


ARC_COSINE = user_statement(
    title="arc-cosine kernel", claim=r"E\,[u^\top x]_+ [v^\top x]_+ = \tfrac{|u||v|}{2\pi} (\sin t + (\pi - t)\cos t)",
    source="Cho and Saul, NeurIPS 2009, equation 6", theory=kernel, numeric=lambda i, at: products(i, at).mean(),
    standard_error=error, strategy=[pairs(2), pairs(4)],
    variants={"turn": lambda i, at: kernel(i, at, turn=np.pi / 2), "squared": lambda i, at: kernel(i, at, power=2)},
)  # fmt: skip
