"""Losses of a batch against their definitions in loops, and the covariance form against statement 4."""

from itertools import product

import numpy as np
import pytest
import torch

from hltm.base.errors import InputError
from numeric.studies.images.losses import ImageLoss, batch_loss
from numeric.towers.losses import loss_spec, loss_value
from numeric.training.contrast import contrast_of, training_loss

from .conftest import LOSSES


def outputs(seed, count=6, size=4, normalized=True):
    found = torch.randn(2, count, size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return torch.nn.functional.normalize(found, dim=-1) if normalized else found


def value_and_gradients(function, *views):
    held = [view.clone().requires_grad_() for view in views]
    value = function(*held)
    return value.detach(), torch.autograd.grad(value, held)


def same(left, right, tolerance=1e-12):
    torch.testing.assert_close(left[0], right[0], rtol=0, atol=tolerance)
    for a, b in zip(left[1], right[1], strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=tolerance)


def distance(a, b):
    return 0.5 * (a - b).square().sum()


def ours(loss, seed=0, further=None):
    """Without further views the weights come from the views themselves, whatever that is worth."""

    def value(first, second):
        return batch_loss(loss, first, second, torch.Generator().manual_seed(seed), further or (first, second))

    return value


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
def test_ntxent_is_that_of_tree_networks(tau):
    first, second = outputs(0)
    value, gradient = contrast_of([training_loss("ntxent", tau=tau)], torch.device("cpu"), torch.float64)(
        torch.cat([first, second]).T.unsqueeze(0)
    )
    same(value_and_gradients(ours(ImageLoss("ntxent", tau=tau)), first, second), (value[0], gradient[0].T.chunk(2)))


@pytest.mark.parametrize(("name", "margin"), [("simple", 0.0), ("triplet", 0.0), ("triplet", 0.3)])
def test_every_other_image_is_the_negative_once(name, margin):
    loss = ImageLoss(name, tau=0.4, margin=margin)
    options = {} if name == "simple" else {"tau": 0.4, "margin": margin}

    def literal(first, second):
        terms = [
            loss_value(loss_spec(name, **options), distance(a[i], b[i]), distance(a[i], b[j]).unsqueeze(0))
            for a, b in ((first, second), (second, first))
            for i, j in product(range(6), repeat=2)
            if i != j
        ]
        return torch.stack(terms).mean()

    views = outputs(1)
    same(value_and_gradients(ours(loss), *views), value_and_gradients(literal, *views))


def test_infonce_takes_h_other_images():
    loss = ImageLoss("infonce", tau=0.5, negatives=3)

    def literal(first, second):
        generator = torch.Generator().manual_seed(9)
        terms = []
        for a, b in ((first, second), (second, first)):
            shifts = [1 + int(s) for s in torch.randperm(5, generator=generator)[:3]]
            for i in range(6):
                negatives = [(i + shift) % 6 for shift in shifts]
                assert i not in negatives
                assert len(set(negatives)) == 3
                r_neg = torch.stack([distance(a[i], b[j]) for j in negatives])
                terms.append(loss_value(loss_spec("infonce", tau=0.5, negatives=3), distance(a[i], b[i]), r_neg))
        return torch.stack(terms).mean()

    views = outputs(2)
    same(value_and_gradients(ours(loss, 9), *views), value_and_gradients(literal, *views))


@pytest.mark.parametrize(("name", "beta"), [("covariance", 0.7), ("within", 0.7), ("within", 0.0), ("within", -0.7)])
def test_covariance_form_is_the_mean_over_four_pairs_of_views(name, beta):
    loss = ImageLoss(name, tau=0.3, beta=beta)
    strength = beta if name == "within" else 0.0
    further = outputs(13, normalized=False)

    def literal(first, second):
        terms = []
        for i, j in product(range(6), repeat=2):
            if i == j:
                continue
            mean = [(further[0][k] + further[1][k]) / 2 for k in (i, j)]
            xi = torch.sigmoid(-distance(*mean) / 0.3)
            r_pos = distance(first[i], second[i])
            pairs = [distance(a[i], b[j]) for a, b in product((first, second), repeat=2)]
            terms.append(xi * (r_pos - torch.stack(pairs).mean()) + strength * xi * r_pos)
        return torch.stack(terms).mean()

    views = outputs(3, normalized=False)
    ours_of = ours(loss, further=tuple(further))
    same(value_and_gradients(ours_of, *views), value_and_gradients(literal, *views))


@pytest.mark.parametrize("name", ["covariance", "within"])
def test_weights_need_further_views_and_are_not_differentiated(name):
    views, further = outputs(3), [each.clone().requires_grad_() for each in outputs(13)]
    with pytest.raises(InputError, match="two further views"):
        batch_loss(ImageLoss(name), *views, torch.Generator())
    held = views[0].clone().requires_grad_()
    batch_loss(ImageLoss(name), held, views[1], torch.Generator(), tuple(further)).backward()
    assert held.grad.abs().max() > 1e-4
    assert all(each.grad is None for each in further)


def test_without_augmentation_the_covariance_form_descends_as_infonce_does():
    point = outputs(4)[0]

    def of(loss):
        held = point.clone().requires_grad_()
        return torch.autograd.grad(ours(loss)(held, held), held)[0]

    infonce = ImageLoss("infonce", tau=0.4, negatives=5)
    # With one negative InfoNCE is the triplet loss without a margin.
    torch.testing.assert_close(
        of(ImageLoss("covariance", tau=0.4)), of(ImageLoss("triplet", tau=0.4)), rtol=0, atol=1e-14
    )
    assert not torch.allclose(of(ImageLoss("covariance", tau=0.4)), of(infonce), atol=1e-3)


@pytest.mark.parametrize("tau", [0.1, 0.5])
@pytest.mark.parametrize(("name", "beta"), [("covariance", 0.0), ("within", 0.7), ("within", -0.7)])
def test_a_step_is_v_xi_vec_w_in_expectation(name, beta, tau):
    """Over all choices of views, at the temperatures of a training, on outputs of unit length of a network.

    Every step of the sum takes two views of each point for the gradient and two more for the weights. The other side
    has no views: ``2 V`` is the gradient of ``E[xi' (r_+ - r_-)]`` over *all* pairs of augmentations, with the one
    symmetric matrix ``xi'``, the mean of the weights over the further views.
    """
    size, count = 3, 2
    points = torch.randn(size, count, 2, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    weight = 2 * torch.randn(3, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64)
    loss = ImageLoss(name, tau=tau, beta=beta)
    held = weight.clone().requires_grad_()
    found = torch.nn.functional.normalize((points @ held.T).tanh(), dim=-1)
    views = list(product(range(count), repeat=2 * size))
    at = torch.arange(size)

    def chosen(choice):
        return found[at, list(choice[:size])], found[at, list(choice[size:])]

    total = torch.zeros((), dtype=torch.float64)
    for gradient, weights in product(views, repeat=2):
        total = total + batch_loss(loss, *chosen(gradient), torch.Generator(), chosen(weights))
    (step,) = torch.autograd.grad(total / len(views) ** 2, held, retain_graph=True)

    xi = torch.zeros(size, size, dtype=torch.float64)
    for choice in views:
        mean = sum(chosen(choice)).detach() / 2
        distances = 0.5 * (mean.unsqueeze(1) - mean).square().sum(-1)
        xi += torch.sigmoid(-distances / tau) / len(views)
    assert (xi - xi.T).abs().max() < 1e-15
    wanted = torch.zeros((), dtype=torch.float64)
    for i, j in product(range(size), repeat=2):
        if i != j:
            r_pos = torch.stack([distance(a, b) for a, b in product(found[i], repeat=2)]).mean()
            r_neg = torch.stack([distance(a, b) for a, b in product(found[i], found[j])]).mean()
            wanted = wanted + xi[i, j] * (r_pos - r_neg + beta * r_pos) / (size * (size - 1))
    (exact,) = torch.autograd.grad(wanted, held, retain_graph=True)
    assert (step - exact).abs().max() <= 1e-13 * exact.abs().max()

    # Weights of the views themselves vary together with what they weigh, and the expectation is another one.
    entangled = torch.zeros((), dtype=torch.float64)
    for choice in views:
        entangled = entangled + batch_loss(loss, *chosen(choice), torch.Generator(), chosen(choice)) / len(views)
    (other,) = torch.autograd.grad(entangled, held)
    assert (other - exact).norm() >= 0.01 * exact.norm()


def connections_by_hand(weights, x):
    """``K_1`` and ``K_2`` of a sample, ``K_l = f_{l-1} kron J_l^T``, as section 0 of the theory writes them."""
    first, second = weights
    gates = (first @ x > 0).astype(float)
    return [np.kron(x[:, None], (second * gates).T), np.kron((gates * (first @ x))[:, None], np.eye(len(second)))]


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_the_expected_step_is_the_operator_times_the_weights(tau):
    """Statement 4 as it is written, on a ReLU head: the operator by hand, without a derivative of anything."""
    size, count = 3, 2
    generator = torch.Generator().manual_seed(7)
    points = torch.randn(size, count, 2, generator=generator, dtype=torch.float64)
    weights = [torch.randn(*shape, generator=generator, dtype=torch.float64) / 2 for shape in ((5, 2), (3, 5))]
    for weight in weights:
        weight.requires_grad_()
    gates = points @ weights[0].T > 0
    assert (gates.any(1) & ~gates.all(1)).any(0).sum() > 1  # some flip between two augmentations
    found = torch.relu(points @ weights[0].T) @ weights[1].T
    views, at = list(product(range(count), repeat=2 * size)), torch.arange(size)

    def chosen(choice):
        return found[at, list(choice[:size])], found[at, list(choice[size:])]

    total = torch.zeros((), dtype=torch.float64)
    for gradient, further in product(views, repeat=2):
        loss = batch_loss(ImageLoss("covariance", tau=tau), *chosen(gradient), torch.Generator(), chosen(further))
        total = total + loss / len(views) ** 2
    steps = torch.autograd.grad(-total, weights)

    held, outputs = [weight.detach().numpy() for weight in weights], found.detach().numpy()
    kbar = [[connections_by_hand(held, x) for x in point] for point in points.numpy()]
    kbar = [[sum(layer) / count for layer in zip(*point, strict=True)] for point in kbar]
    operators, strengths = [0.0, 0.0], []
    for i, j in product(range(size), repeat=2):
        # The mean of xi over the further views, two of each of the two points.
        means = [[(outputs[k, a] + outputs[k, b]) / 2 for a, b in product(range(count), repeat=2)] for k in (i, j)]
        xi = np.mean([1 / (1 + np.exp(((m - n) ** 2).sum() / 2 / tau)) for m, n in product(*means)])
        strengths += [xi] if i < j else []
        for layer in range(2):
            gap = kbar[i][layer] - kbar[j][layer]
            operators[layer] = operators[layer] + xi * gap @ gap.T / (size * (size - 1))
    assert max(strengths) > 1.2 * min(strengths)  # not the operator without weights
    for step, operator, weight in zip(steps, operators, held, strict=True):
        wanted = (operator @ weight.flatten(order="F")).reshape(weight.shape, order="F")
        assert np.abs(step.numpy() - wanted).max() <= 1e-13 * np.abs(wanted).max()


@pytest.mark.parametrize("name", ["ntxent", "infonce", "triplet", "covariance"])
@pytest.mark.parametrize("spread", [0.1, 0.01])
def test_single_precision_at_a_small_temperature(name, spread):
    """Outputs that lie close together, as after a collapse: gradients of float32 against those of float64."""
    generator = torch.Generator().manual_seed(1)

    def near(centre, width):
        noise = torch.randn(8, 8, generator=generator, dtype=torch.float64)
        return torch.nn.functional.normalize(centre + width * noise / 8**0.5, dim=-1).float()

    centre = torch.nn.functional.normalize(torch.randn(8, generator=generator, dtype=torch.float64), dim=-1)
    first = near(centre, spread)
    second, further = near(first.double(), spread / 2), near(first.double(), spread / 2)
    loss = ImageLoss(name, tau=1e-4, negatives=3)
    coarse, fine = (
        value_and_gradients(ours(loss, 5, (first.to(dtype), further.to(dtype))), first.to(dtype), second.to(dtype))[1]
        for dtype in (torch.float32, torch.float64)
    )
    scale = max(float(each.abs().max()) for each in fine)
    # The expanded form of the distances is off by up to 9e-4 here, differences by 5e-6.
    for a, b in zip(coarse, fine, strict=True):
        assert float((a.double() - b).abs().max()) <= 1e-5 * scale


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_add_up_to_nothing(name):
    """All losses are functions of distances, so a common shift of the outputs changes nothing."""
    _, gradients = value_and_gradients(ours(ImageLoss(name, negatives=3)), *outputs(5))
    assert sum(gradients).sum(0).abs().max() < 1e-14
    assert gradients[0].abs().max() > 1e-4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "hinge"}, "loss='hinge': must be one of"),
        ({"name": "ntxent", "tau": 0.0}, "tau=0.0"),
        ({"name": "triplet", "margin": float("nan")}, "margin=nan"),
        ({"name": "infonce", "negatives": 0}, "negatives=0"),
        ({"name": "within", "beta": float("nan")}, "beta=nan: must be a finite number, of either sign"),
        ({"name": "within", "beta": -float("inf")}, "beta=-inf"),
    ],
)
def test_wrong_losses_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        ImageLoss(**options)


def test_one_image_has_no_negative():
    views = outputs(6, count=1)
    with pytest.raises(InputError, match="batch of 1 image"):
        batch_loss(ImageLoss("ntxent"), *views, torch.Generator())


def test_more_negatives_than_images_are_refused():
    with pytest.raises(InputError, match="negatives=6 in a batch of 6"):
        batch_loss(ImageLoss("infonce", negatives=6), *outputs(6), torch.Generator())
