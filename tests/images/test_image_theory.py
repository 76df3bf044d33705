"""Statements 3 and 4 on networks of real images: what must hold holds, what must fail is seen to fail."""

import os
import subprocess
import sys

import pytest
import torch

from numeric.studies.images.network import Shape, make_network
from numeric.studies.images.population import features, gram_matrix, image_population, in_double, operator_sizes
from numeric.studies.images.report import STRENGTHS, exponent
from numeric.studies.images.theory import (
    Check,
    head_checks,
    head_residues,
    network_checks,
    network_function,
    network_residues,
    residue,
)
from numeric.towers.connection import connection_factors
from numeric.towers.general import (
    exact_form_gradient,
    function_population_gradient,
    general_form,
    general_update,
    operator_form,
    output_jacobians,
    relative,
)
from numeric.towers.losses import loss_spec
from numeric.towers.operator import coupling, covariance_operator, predicted_update
from numeric.towers.populations import FinitePopulation


@pytest.fixture(scope="module")
def network():
    return in_double(make_network(Shape(width=4, hidden=6, out=5), seed=3))


@pytest.fixture(scope="module")
def populations(digits, recipe):
    return lambda strength=1.0: image_population(digits, recipe, 6, 3, strength=strength)


def test_the_head_is_as_the_theory_says(network, populations):
    found = head_checks(network.head, features(network, populations()))
    assert all(check.as_predicted for check in found)
    normed = [check for check in found if not check.must_hold]
    assert {(check.part, check.statement) for check in normed} == {
        (part, statement)
        for part in ("head, batch norm", "head, batch norm with fixed statistics")
        for statement in ("3", "4 exact")
    }
    assert all(check.residual > 0.1 for check in normed)
    assert all(check.residual < 1e-12 for check in found if check.must_hold)


def test_a_statement_that_does_not_fail_where_it_must_is_told():
    assert not Check("head, batch norm", "3", "W_1", 1e-15, must_hold=False).as_predicted
    assert not Check("head", "3", "W_1", 1e-3, must_hold=True).as_predicted
    assert not Check("head", "3", "W_1", float("nan"), must_hold=True).as_predicted
    assert not Check("head", "3", "W_1", float("nan"), must_hold=False).as_predicted


def test_every_layer_of_the_convnet_in_general_form(network, populations):
    found = network_checks(network, populations(), 0.5)
    assert len(found) == 2 * len(list(network.named_parameters()))
    assert all(check.as_predicted and check.residual < 1e-12 for check in found)


def test_the_operator_form_fails_on_a_network_with_biases(network, populations):
    """The check of the general form would notice: its rival is off."""
    function, held = network_function(network)
    moved = [value + 0.3 if name.endswith("bias") else value for name, value in held.items()]
    population, simple = populations(), loss_spec("simple")
    left = function_population_gradient(function, moved, population, simple)
    assert max(relative(left, general_update(function, moved, population, simple))) < 1e-12
    assert min(relative(left, operator_form(function, moved, population, simple))) > 1e-2


def by_jacobians(function, parameters, population, spec):
    """The operator form with the connections of all samples held, as it is written."""
    acting = coupling(population, spec, function(parameters, population.flat_points), None)
    for parameter, jacobian in zip(
        parameters, output_jacobians(function, parameters, population.flat_points), strict=True
    ):
        kbar = population.mean(jacobian.flatten(2))
        seen = acting.apply(acting.centred(kbar @ parameter.flatten()))
        yield (2 if acting.laplacian is None else 1) * torch.einsum("mi,mip->p", seen, kbar).view_as(parameter)


def with_weights(points):
    """Points and augmentations whose weights are not equal."""
    shares = torch.rand(points.shape[:2], generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.1
    return FinitePopulation(points, shares[:, 0] / shares[:, 0].sum(), shares / shares.sum(1, keepdim=True))


def test_products_are_what_jacobians_give(network, digits, recipe):
    """With more samples than are held at a time."""
    population = with_weights(image_population(digits, recipe, 7, 3).points)
    function, held = network_function(network)
    moved = [value + 0.3 if name.endswith("bias") else value for name, value in held.items()]
    for spec in (loss_spec("simple"), loss_spec("infonce", tau=0.05)):
        ours = [form(function, moved, population, spec) for form in (general_form, operator_form)]
        wanted = [form(function, moved, population, spec) for form in (general_update, by_jacobians)]
        for left, right in zip(ours, wanted, strict=True):
            torch.testing.assert_close(left, list(right), rtol=1e-10, atol=1e-15)


def test_operator_form_is_that_of_dense_towers(network, populations):
    population = features(network, populations())
    weights = [network.head.first.weight, network.head.second.weight]
    for spec in (loss_spec("simple"), loss_spec("infonce", tau=0.01)):
        from numeric.studies.images.theory import _tower

        for ours, theirs in zip(
            operator_form(_tower, weights, population, spec), predicted_update(weights, population, spec), strict=True
        ):
            torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-14)


def test_without_augmentation_there_is_no_residue(network, populations):
    rows = [*head_residues(network, populations, (0.0,)), *network_residues(network, populations, (0.0,), 0.5)]
    assert [row.part for row in rows] == ["head", "convnet"]
    for row in rows:
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


def test_the_gram_matrix_has_the_eigenvalues_of_the_operator(network, populations):
    """Also where points and augmentations have weights of their own."""
    population = with_weights(features(network, populations()).points)
    weights = [network.head.first.weight, network.head.second.weight]
    for layer, factors in enumerate(connection_factors(weights, population.flat_points), start=1):
        wanted = torch.linalg.eigvalsh(covariance_operator(weights, population, layer)).flip(0)[:25]
        found = torch.linalg.eigvalsh(gram_matrix(factors, population)).flip(0)[:25]
        torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-15)


def test_an_operator_that_is_zero(network, populations):
    dead = make_network(Shape(width=4, hidden=6, out=5), seed=3)
    torch.nn.init.zeros_(dead.head.first.weight)
    torch.nn.init.zeros_(dead.head.second.weight)
    for size in operator_sizes(in_double(dead), features(network, populations())):
        assert (size.trace, size.top, size.rank) == (0, 0, 0)


def test_with_batch_normalisation_the_network_is_the_one_that_is_evaluated(digits, recipe):
    made = make_network(Shape(width=4, hidden=6, out=5, norm="batch", head_norm="batch"), seed=3)
    made.train()
    made(digits.train.float() / 255)
    network = in_double(made)
    found = network_checks(network, image_population(digits, recipe, 5, 3), 0.5)
    assert {check.part for check in found} == {"convnet, batch norm with fixed statistics"}
    assert all(check.as_predicted and check.residual < 1e-12 for check in found)


WIDE = """
import resource
resource.setrlimit(resource.RLIMIT_DATA, (2 * 10**9, 2 * 10**9))
import torch
from numeric.studies.images.network import Head, Shape, make_network
from numeric.studies.images.population import operator_sizes
from numeric.studies.images.population import features, in_double
from numeric.studies.images.theory import head_checks, head_residues, network_checks
from numeric.towers.populations import FinitePopulation

generator = torch.Generator().manual_seed(0)
network = in_double(make_network(Shape("resnet18", 3, 32, 64, 512, 128, norm="none"), 0))
def population(*sizes):
    images = torch.rand(sizes[0], 1, 3 * 32 * 32, generator=generator, dtype=torch.float64)
    return FinitePopulation(images + 0.05 * torch.randn(*sizes, 3 * 32 * 32, generator=generator, dtype=torch.float64))
"""


def within_2_gb(code):
    """Run with less memory than a Jacobian of so many outputs and weights takes: 1 GB a sample for the head's."""
    command = [sys.executable, "-c", WIDE + code]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_head_of_cifar10_within_2_gb():
    """512-512-128: the connections of these 48 samples fill 16 GB."""
    within_2_gb(
        """
points = torch.randn(12, 4, 512, generator=generator, dtype=torch.float64).relu()
assert all(check.as_predicted for check in head_checks(Head(512, 512, 128, "none").double(), FinitePopulation(points)))
first, second = operator_sizes(network, features(network, population(4, 2)))
assert 0 < first.rank <= 3 * 128 and 0 < first.top <= first.trace
assert 0 < second.rank <= 3 * 128 and 0 < second.top <= second.trace
rows = head_residues(network, lambda strength: population(4, 2), (1.0,))
assert 0 < rows[0].theta < 10 * rows[0].gradient
"""
    )


def test_resnet18_as_a_whole_within_2_gb():
    """11.5 million weights and 128 outputs: the derivatives of one image fill 11.8 GB."""
    within_2_gb(
        """
assert sum(each.numel() for each in network.parameters()) > 11e6
found = network_checks(network, population(2, 2), 0.5)
assert len(found) == 2 * len(list(network.parameters()))
assert all(check.as_predicted for check in found)
"""
    )


def test_a_population_at_strength_zero_is_the_images(populations, digits):
    points = populations(0.0).points
    assert torch.equal(
        points, digits.test[:6].double().flatten(1).unsqueeze(1).expand(-1, 3, -1) / 255
    ) or torch.allclose(points, digits.test[:6].double().flatten(1).unsqueeze(1) / 255, atol=1e-7)
