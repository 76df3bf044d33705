"""Pack whitening against independent numpy code, and what is special to it."""

from dataclasses import replace

import numpy as np
import pytest

import numeric
from hltm.base.errors import InputError
from verify.packs.part import UndecidedError
from verify.packs.whitening import PACK, WhiteningInstance, canonical, toy, whitened

X = np.array([[[1.0, 0.5], [0.25, -1.0]], [[-0.5, 2.0], [1.5, 0.75]], [[0.0, 1.0], [-1.0, 0.5]]])
P = np.array([0.25, 0.5, 0.25])
Q = np.array([[0.5, 0.5], [0.25, 0.75], [0.125, 0.875]])


def objective(weights):
    """The literal sum over pairs of views."""
    total = 0.0
    for m in range(3):
        for a in range(2):
            for b in range(2):
                total += P[m] * Q[m, a] * Q[m, b] * ((weights @ (X[m, a] - X[m, b])) ** 2).sum()
    return total


def spectra():
    mean = np.einsum("ma,mad->md", Q, X)
    centre = P @ mean
    between = (mean - centre).T @ np.diag(P) @ (mean - centre)
    flat, joint = X.reshape(6, 2) - centre, (P[:, None] * Q).ravel()
    sigma = flat.T @ np.diag(joint) @ flat
    root = np.linalg.cholesky(sigma)
    inner = np.linalg.solve(root, np.linalg.solve(root, between).T)
    values, vectors = np.linalg.eigh((inner + inner.T) / 2)
    return root, values[::-1], vectors[:, ::-1]


def test_the_minimum_and_no_white_weights_below_it():
    root, values, vectors = spectra()
    best = np.linalg.solve(root.T, vectors[:, :1]).T
    least = 2 * (1 - values[0])
    assert objective(best) == pytest.approx(least, rel=1e-12)
    rng = np.random.default_rng(0)
    for _ in range(100):
        turn = rng.normal(size=(1, 2))
        assert objective(np.linalg.solve(root.T, (turn / np.linalg.norm(turn)).T).T) >= least - 1e-12
    both = np.linalg.inv(root)
    assert objective(both) == pytest.approx(2 * (1 - values).sum(), rel=1e-12)


def test_the_pack_has_the_same_correlations():
    instance = WhiteningInstance(
        ((1.0, 0.5),), tuple(tuple(map(tuple, row)) for row in X), tuple(P), tuple(map(tuple, Q))
    )
    values, vectors = canonical(instance.checked())
    assert np.allclose([float(value) for value in values], spectra()[1], atol=1e-12)
    assert objective(np.vectorize(float)(vectors)) == pytest.approx(2 * (1 - spectra()[1]).sum())
    weights = np.vectorize(float)(whitened(instance))
    population = numeric.FinitePopulation(X, P, Q)
    found = numeric.vicreg_loss(
        population.flat_points @ population.points.new_tensor(weights).T, population, 1.0, 0.0, 0.0
    )
    assert float(found) == pytest.approx(objective(weights), rel=1e-12)


def test_inputs_without_an_inverse_are_not_decided():
    flat = WhiteningInstance(((1.0, 0.0),), (((1.0, 1.0),), ((2.0, 2.0),)), (0.5, 0.5), ((1.0,), (1.0,))).checked()
    with pytest.raises(UndecidedError, match="no certified canonical correlations"):
        canonical(flat)
    assert PACK.measure(flat).status == "holds"


def test_bad_instances_are_refused():
    instance = next(iter(toy(0, 1)))
    assert WhiteningInstance.from_json(instance.as_json()) == instance
    with pytest.raises(InputError, match="points have dimension"):
        replace(instance, weights=((1.0,) * 7,)).checked()
    with pytest.raises(InputError, match="must have at most"):
        replace(instance, weights=((1.0,) * len(instance.weights[0]),) * 4).checked()
