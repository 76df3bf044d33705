"""HaoChen, Wei, Gaidon and Ma 2021 (arXiv 2106.04156), Lemma 3.2: the spectral contrastive loss factorises a matrix.

With F of rows sqrt(w_x) f(x) and the normalised adjacency Abar_xy = w_xy / sqrt(w_x w_y) of the graph of augmentations,
||Abar - F F^T||^2 - ||Abar||^2 = L(f) = -2 E f(x).f(x+) + E (f(x).f(x'))^2.
"""

import numpy as np
import sympy

import numeric
from verify import strategies, user_statement


def graph(i, at):
    """Abar and F of all augmented points, the network written out in NumPy."""
    points, p, q = at.array(i.points), at.array(i.point_weights), at.array(i.augmentation_weights)
    w = (p[:, None] * q).reshape(-1)
    owner = np.repeat(np.arange(points.shape[0]), points.shape[1])
    pairs = (owner[:, None] == owner) * w[:, None] * q.reshape(-1)
    f = points.reshape(len(w), -1)
    for k, matrix in enumerate(i.weights, start=1):
        f = f @ at.array(matrix).T
        f = f if k == len(i.weights) else np.where(f > 0, 1.0, at.array(i.slope)) * f
    return pairs / np.sqrt(w[:, None] * w), np.sqrt(w)[:, None] * f, w


def factorisation(i, at, root=0, half=1.0):
    a, f, w = graph(i, at)
    f = w[:, None] ** root * f
    return ((a - half * f @ f.T) ** 2).sum() - (a**2).sum()


def loss(i, at):
    """The two expectations, pair by pair, in torch."""
    population = at.population(i)
    f = numeric.forward(at.weights(i), population.flat_points, i.slope)
    table = (f @ f.T).unflatten(0, (population.size, -1)).unflatten(2, (population.size, -1))
    p, q = population.point_weights, population.augmentation_weights
    near = sum(p[m] * (q[m] @ table[m, :, m] @ q[m]) for m in range(len(p)))
    w = population.flat_weights
    return w @ (f @ f.T).square() @ w - 2 * near


def proof():
    n, d = sympy.symbols("n d", positive=True, integer=True)
    A, F = sympy.MatrixSymbol("A", n, n), sympy.MatrixSymbol("F", n, d)
    gap = A - F * F.T
    left = sympy.Trace(F.T * F * F.T * F) - 2 * sympy.Trace(F.T * A * F)
    return sympy.Eq(left, sympy.Trace(gap.T * gap) - sympy.Trace(A.T * A), evaluate=False)


SPECTRAL = user_statement(
    title="spectral contrastive loss", claim=r"\|\bar A - F F^\top\|_F^2 - \|\bar A\|_F^2 = L(f)",
    source="arXiv 2106.04156, Lemma 3.2", theory=factorisation, numeric=loss, symbolic=proof,
    values=lambda i, at: dict(zip("AF", graph(i, at), strict=False)),
    strategy=[strategies.population_instances(max_layers=1, max_points=2), strategies.population_instances()],
    variants={"w-f": lambda i, at: factorisation(i, at, root=0.5),
              "half": lambda i, at: factorisation(i, at, half=0.5)},
)  # fmt: skip
