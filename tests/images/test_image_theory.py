"""Statements 3 and 4 on networks of real images: what must hold holds, what must fail is seen to fail."""

import pytest
import torch

from numeric.general import function_population_gradient, general_update
from numeric.images.findings import STRENGTHS, exponent
from numeric.images.network import Shape, make_network
from numeric.images.theory import (
    Check,
    exact_form_gradient,
    features,
    head_checks,
    image_population,
    in_double,
    network_checks,
    network_function,
    operator_form,
    operator_sizes,
    relative,
    residue,
    residues,
)
from numeric.losses import loss_spec
from numeric.operator import covariance_operator, predicted_update


@pytest.fixture(scope="module")
def network():
    return in_double(make_network(Shape(width=4, hidden=6, out=5), seed=3))


@pytest.fixture(scope="module")
def populations(digits, recipe):
    return lambda strength=1.0: image_population(digits, recipe, 6, 3, strength=strength)


def test_the_head_is_as_the_theory_says(network, populations):
    found = head_checks(network.head, features(network, populations()))
    assert all(check.as_told for check in found)
    normed = [check for check in found if not check.must_hold]
    assert {(check.part, check.statement) for check in normed} == {
        (part, statement)
        for part in ("head, batch norm", "head, batch norm with fixed statistics")
        for statement in ("3", "4 exact")
    }
    assert all(check.residual > 0.1 for check in normed)
    assert all(check.residual < 1e-12 for check in found if check.must_hold)


def test_a_statement_that_does_not_fail_where_it_must_is_told():
    assert not Check("head, batch norm", "3", "W_1", 1e-15, must_hold=False).as_told
    assert not Check("head", "3", "W_1", 1e-3, must_hold=True).as_told
    assert not Check("head", "3", "W_1", float("nan"), must_hold=True).as_told
    assert not Check("head", "3", "W_1", float("nan"), must_hold=False).as_told


def test_every_layer_of_the_convnet_in_general_form(network, populations):
    found = network_checks(network, populations(), 0.5)
    assert len(found) == 2 * len(list(network.named_parameters()))
    assert all(check.as_told and check.residual < 1e-12 for check in found)


def test_the_operator_form_fails_on_a_network_with_biases(network, populations):
    """The check of the general form would notice: its rival is off."""
    function, held = network_function(network)
    moved = [value + 0.3 if name.endswith("bias") else value for name, value in held.items()]
    population, simple = populations(), loss_spec("simple")
    left = function_population_gradient(function, moved, population, simple)
    assert max(relative(left, general_update(function, moved, population, simple))) < 1e-12
    assert min(relative(left, operator_form(function, moved, population, simple))) > 1e-2


def test_operator_form_is_that_of_dense_towers(network, populations):
    population = features(network, populations())
    weights = [network.head.first.weight, network.head.second.weight]
    for spec in (loss_spec("simple"), loss_spec("infonce", tau=0.01)):
        from numeric.images.theory import _tower

        for ours, theirs in zip(
            operator_form(_tower, weights, population, spec), predicted_update(weights, population, spec), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-14)


def test_without_augmentation_there_is_no_residue(network, populations):
    for row in residues(network, populations, (0.0,), 0.5):
        assert row.spread < 1e-12
        assert row.theta < 1e-12 * row.gradient


def test_the_residue_of_a_smooth_network_is_of_second_order(populations):
    """Real images, tanh in place of ReLU: no gate flips between two augmentations."""
    generator = torch.Generator().manual_seed(1)
    weights = [0.3 * torch.randn(n, m, generator=generator, dtype=torch.float64) for n, m in ((7, 64), (4, 7))]

    def function(parameters, x):
        return (x @ parameters[0].T).tanh() @ parameters[1].T

    rows = [residue("smooth", function, weights, populations(s), s, 0.5) for s in STRENGTHS if 0 < s < 0.1]
    assert exponent(rows) == pytest.approx(2, abs=0.1)


def test_the_exact_form_has_no_residue_at_any_strength(network, populations):
    function, held = network_function(network)
    spec = loss_spec("infonce", tau=0.5)
    for strength in (0.3, 1.0):
        population = populations(strength)
        left = exact_form_gradient(function, list(held.values()), population, spec)
        assert max(relative(left, general_update(function, list(held.values()), population, spec))) < 1e-12
        other = function_population_gradient(function, list(held.values()), population, spec)
        assert min(relative(left, other)) > 1e-3


def test_operator_sizes(network, populations):
    population = features(network, populations())
    weights = [network.head.first.weight, network.head.second.weight]
    for layer, size in enumerate(operator_sizes(network, population), start=1):
        values = torch.linalg.eigvalsh(covariance_operator(weights, population, layer))
        assert size.trace == pytest.approx(float(values.sum()))
        assert size.top == pytest.approx(float(values.max()))
        assert size.rank == pytest.approx(float(values.sum() ** 2 / values.square().sum()))


def test_a_population_at_strength_zero_is_the_images(populations, digits):
    points = populations(0.0).points
    assert torch.equal(
        points, digits.test[:6].double().flatten(1).unsqueeze(1).expand(-1, 3, -1) / 255
    ) or torch.allclose(points, digits.test[:6].double().flatten(1).unsqueeze(1) / 255, atol=1e-7)
