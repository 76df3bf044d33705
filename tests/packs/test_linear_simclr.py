"""Pack linear-simclr against independent numpy code, and what is special to it."""

from dataclasses import replace

import numpy as np
import pytest

import numeric
from hltm.base.errors import InputError
from verify.packs.linear_simclr import VARIANTS, neuron
from verify.packs.linear_simclr_measures import PACK, LinearSimclrInstance, toy

POINTS = np.array([[1.0, 0.5], [-0.25, -1.0], [0.5, 1.5], [0.0, -0.5]])
VIEWS = np.array([[0.75, 0.25], [0.0, -1.5], [1.0, 1.25], [0.5, -0.25]])
W = np.array([[1.0, -0.5], [0.25, 0.75], [0.5, 0.5]])


def loss(w):
    f, g = POINTS @ w.T, VIEWS @ w.T
    total = 0.0
    for i in range(4):
        near = 0.5 * ((f[i] - g[i]) ** 2).sum()
        far = [0.5 * ((f[i] - f[j]) ** 2).sum() for j in range(4) if j != i]
        total += near + np.log(np.exp(-near) + sum(np.exp(-d) for d in far))
    return total


def differences(function, at, step=1e-6):
    result = np.zeros_like(at)
    for place in np.ndindex(*at.shape):
        up, down = at.copy(), at.copy()
        up[place] += step
        down[place] -= step
        result[place] = (function(up) - function(down)) / (2 * step)
    return result


def jing(w):
    """X as frontier.py of the reference has it: sum a_ij (x_i - x_j)(.)^T - sum (1 - a_ii)(x_i' - x_i)(.)^T."""
    f, g = POINTS @ w.T, VIEWS @ w.T
    x = np.zeros((2, 2))
    for i in range(4):
        near = np.exp(-0.5 * ((f[i] - g[i]) ** 2).sum())
        far = np.array([np.exp(-0.5 * ((f[i] - f[j]) ** 2).sum()) if j != i else 0.0 for j in range(4)])
        total = near + far.sum()
        for j in range(4):
            x += far[j] / total * np.outer(POINTS[i] - POINTS[j], POINTS[i] - POINTS[j])
        x -= (1 - near / total) * np.outer(VIEWS[i] - POINTS[i], VIEWS[i] - POINTS[i])
    return x


def test_the_flow_is_w_x():
    spread, augmented = numeric.simclr_matrices(W, POINTS, VIEWS)
    x = (spread - augmented).numpy()
    assert np.allclose(x, jing(W), atol=1e-13)
    assert np.allclose(-differences(loss, W), W @ x, atol=1e-8)
    assert float(numeric.simclr_loss(POINTS @ W.T, VIEWS @ W.T)) == pytest.approx(loss(W), abs=1e-13)


def test_two_layers_conserve_their_balance():
    top = np.array([[0.5, 1.0, -0.25], [1.0, 0.0, 0.75]])
    x = jing(top @ W)
    below = -differences(lambda w: loss(top @ w), W)
    above = -differences(lambda m: loss(m @ W), top)
    assert np.allclose(below, top.T @ top @ W @ x, atol=1e-7)
    assert np.allclose(above, top @ W @ x @ W.T, atol=1e-7)
    moved = below @ W.T + W @ below.T - above.T @ top - top.T @ above
    assert np.abs(moved).max() < 1e-6


def test_the_positive_may_be_outside_of_the_denominator():
    left, right = neuron((-1, 2), (0, 1), "not in the denominator")
    assert (left - right).contains(0)
    left, right = neuron((-1, 2), (0, 1), "anchor")
    assert not (left - right).contains(0)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"views": ((0.0,), (1.0,), (2.0,))}, "views has shape"),
        ({"points": ((0.0,),), "views": ((0.0,),)}, "N at least 2"),
        ({"weights": ((1.0, 1.0),)}, "columns"),
        ({"top": ((1.0, 1.0),)}, "top has shape"),
    ],
)
def test_bad_instances_are_refused(change, place):
    one = LinearSimclrInstance(((1.0,),), ((1.0,),), ((0.0,), (1.0,)), ((0.5,), (1.0,)))
    with pytest.raises(InputError, match=place):
        replace(one, **change).checked()


def test_a_diagonal_matrix_has_no_eigenvectors_here():
    part = next(part for part in PACK.parts if part.name == "eigenvector")
    diagonal = LinearSimclrInstance(((1.0, 0.0),), ((1.0,),), ((0.0, 0.0), (0.0, 1.0)), ((0.0, 0.0), (0.0, 1.0)))
    assert PACK.measure_part(part, diagonal, None, False, "cpu").status == "abstained"


def test_every_formula_has_three_mutants():
    counts = {part.name: sum(variant.claim.part == part.name for variant in VARIANTS) for part in PACK.parts}
    assert min(counts.values()) >= 3
    assert all(one.checked() for one in toy(0, 5))
