"""A lower bound of NT-Xent (Chen et al. 2020, arXiv 2002.05709): L >= log(1 + (2N - 2) exp(-2/tau)), as an inequality.

Cosines differ by 2 at most, so each of the 2N - 2 negatives adds exp(-2/tau) or more to the positive's share. The bound
is met where all positives agree and all negatives are opposite, as with two samples.
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
    tau: float


@st.composite
def views(draw, n):
    rows, columns = draw(st.integers(2, n)), draw(st.integers(1, n))
    one = matrices(rows, columns).filter(lambda z: all(map(any, z)))
    return Views(draw(one), draw(one), draw(eighths(1, 16)))


def bound(i, at, gap=2, count=2):
    return np.log(1 + (count * len(i.z) - 2) * np.exp(-gap / at.array(i.tau)))


def ntxent(i, at):
    h = torch.nn.functional.normalize(torch.cat([at.tensor(i.z), at.tensor(i.other)]))
    n = len(h)
    s = h @ h.T / at.tensor(i.tau)
    s = s.masked_fill(torch.eye(n, dtype=torch.bool), -torch.inf)
    return torch.nn.functional.cross_entropy(s, (torch.arange(n) + n // 2) % n)


NTXENT = user_statement(
    title="NT-Xent bound", claim=r"\log(1 + (2N - 2) e^{-2/\tau}) \le L", source="arXiv 2002.05709, equation 1",
    theory=bound, numeric=ntxent, relation="<=", strategy=[views(2), views(4)],
    variants={"gap": lambda i, at: bound(i, at, gap=1.9), "negatives": lambda i, at: bound(i, at, count=2.1)},
)  # fmt: skip
