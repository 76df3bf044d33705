"""Wang and Liu 2021 (arXiv 2012.09740): at large temperatures InfoNCE is the simple contrastive loss, up to O(1/tau^2).

With s = 1/tau and cosines c_ij of N samples, L_i = log N + s (mean_j c_ij - c_ii) + O(s^2): an asymptotic statement.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from verify import JsonInstance, user_statement
from verify.strategies import eighths, matrices


@dataclass(frozen=True)
class Views(JsonInstance):
    z: tuple[tuple[float, ...], ...]
    other: tuple[tuple[float, ...], ...]
    s: float  # 1/tau


@st.composite
def views(draw, n):
    rows, columns = draw(st.integers(2, n)), draw(st.integers(2, n))
    one = matrices(rows, columns).filter(lambda z: all(map(any, z)))
    return Views(draw(one), draw(one), draw(eighths(1, 8)))


def simple(i, at, negatives=1, positive=1):
    z, y, s = at.array(i.z), at.array(i.other), at.array(i.s)
    z, y = (x / np.sqrt((x**2).sum(axis=1, keepdims=True)) for x in (z, y))
    c = z @ y.T
    return np.log(len(z)) + s * (negatives * c.mean(axis=1) - positive * np.diag(c))


def infonce(i, at):
    c = torch.nn.functional.cosine_similarity(at.tensor(i.z)[:, None], at.tensor(i.other), dim=2)
    return torch.nn.functional.cross_entropy(at.tensor(i.s) * c, torch.arange(len(c)), reduction="none")


LIMIT = user_statement(
    title="large temperature", claim=r"L_i = \log N + (\bar c_i - c_{ii})/\tau + O(1/\tau^2)",
    source="arXiv 2012.09740, the limit of large temperatures", theory=simple, numeric=infonce, order=2, in_="s",
    strategy=[views(2), views(4)],
    variants={"negatives": lambda i, at: simple(i, at, negatives=0), "twice": lambda i, at: simple(i, at, positive=2)},
)  # fmt: skip
