"""Pack eigenvector-growth against independent numpy code, and what is special to it."""

from dataclasses import replace

import numpy as np
import pytest

import numeric
import theory
from hltm.base.errors import InputError
from verify.packs.eigenvector_growth import DROPS, VARIANTS
from verify.packs.eigenvector_growth_measures import PACK, GrowthInstance, inputs, share_in_balls, toy

A = np.array([[1.25, 0.5], [0.5, 0.75]])
VALUES, VECTORS = np.linalg.eigh(A)
ONE = GrowthInstance(((1.0, 0.5), (-0.25, 0.75)), (1.0, 0.5), (1.0, 0.5), 0.5, 0.25, 0.5)


def flow(w):
    """The projected flow, written out."""
    return 2 * (w @ A - (w * (w @ A)).sum() * w)


def test_rates_are_the_projected_flow():
    w = np.array([[0.6, 0.8], [0.5, -0.5]])
    assert np.allclose(numeric.sphere_rates(w, A).numpy(), flow(w), atol=1e-15)


def test_ratio_and_share_along_the_flow():
    w = np.array([[0.2, 0.9], [0.3, -0.1]])
    w = w / np.linalg.norm(w)
    start, energies, steps, time = w @ VECTORS, [], 4000, 1.5
    for _ in range(steps):
        middle = w + time / steps / 2 * flow(w)
        w = w + time / steps * flow(middle)
        energies.append((w * (w @ A)).sum())
    end = w @ VECTORS
    gap = VALUES[1] - VALUES[0]
    assert np.allclose(end[:, 0] / end[:, 1], start[:, 0] / start[:, 1] * np.exp(-2 * gap * time), atol=1e-6)
    shares = [(c[:, 1] ** 2).sum() / (c**2).sum() for c in (start, end)]
    assert numeric.top_share(shares[0], gap, time) == pytest.approx(shares[1], abs=1e-6)
    assert min(np.diff(energies)) >= -1e-14
    assert np.linalg.norm(w) == pytest.approx(1.0, abs=1e-9)


def test_the_update_of_a_linear_layer():
    points = np.array([[[float(int(v.p) / int(v.q)) for v in x] for x in row] for _, row in inputs(ONE)])
    p = np.array([0.5, 0.125, 0.125, 0.125, 0.125])
    means = points.mean(1)
    centre = p @ means
    operator = np.einsum("m,mi,mj->ij", p, means - centre, means - centre)
    assert np.allclose(np.linalg.eigvalsh(operator), [0.25, 1.0], atol=1e-12)
    weight = np.array(ONE.weights)
    (update,) = numeric.population_gradient([weight], numeric.FinitePopulation(points, p), "simple")
    assert np.allclose(update.numpy(), 2 * weight @ operator, atol=1e-12)


def test_the_share_by_the_exponential():
    later = share_in_balls(ONE)
    angle = 2 * np.arctan(ONE.angle)
    vectors = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    components = np.array(ONE.weights) @ vectors
    grown = (components**2).sum(0) * np.exp(4 * np.array([1.0, 0.25]) * ONE.time)
    assert float(later.mid()) == pytest.approx(grown[0] / grown.sum(), abs=1e-13)


def test_an_orthogonal_start_is_undecided():
    part = next(part for part in PACK.parts if part.name == "basin")
    start = replace(ONE, weights=((0.0, 1.0),), angle=0.0)
    assert PACK.measure_part(part, start, None, False, "cpu").status == "abstained"
    assert numeric.top_share(0.0, 1.0, 100.0) == 0.0


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"deviations": (0.5, 0.5)}, "deviations"),
        ({"weights": ((1.0,),)}, "covariance has shape"),
        ({"output": ()}, "output"),
        ({"time": -1.0}, "time"),
    ],
)
def test_bad_instances_are_refused(change, place):
    with pytest.raises(InputError, match=place):
        replace(ONE, **change).checked()


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="symmetric"):
        numeric.sphere_rates([[1.0, 0.0]], [[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(InputError, match="start"):
        numeric.top_share(1.5, 1.0, 1.0)
    with pytest.raises(InputError, match="gap=inf: must be a finite number that is not negative"):
        numeric.top_share(0.5, np.inf, 1.0)
    with pytest.raises(InputError, match="gap"):
        numeric.top_share(0.5, -1.0, 1.0)


def test_every_formula_has_three_mutants():
    counts = {part.name: sum(variant.claim.part == part.name for variant in VARIANTS) for part in PACK.parts}
    assert min(counts.values()) >= 3
    assert all(one.checked() for one in toy(0, 5))
    assert sum(not drop.necessary for drop in DROPS) == 1
    assert theory.derive("eigenvector-growth", part="neuron").proved
