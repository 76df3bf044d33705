"""What the findings say of the published loss for images, re-enacted in this project's own words."""

from itertools import product

import pytest
import torch

import numeric
from numeric.studies.images.losses import ImageLoss, batch_loss
from numeric.towers.losses import loss_spec, loss_value, pair_weight


def points(size=3, count=2, seed=7):
    return torch.randn(size, count, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distances(left, right):
    return 0.5 * (left.unsqueeze(1) - right).square().sum(-1)


def weights_of_own_views(first, second, tau):
    """``xi (r_+ - r_-)`` for each view against every view of the other images, xi between these two views, held fixed.

    Each weight is that of InfoNCE with one negative, divided by the number of negatives.
    """
    views, count = torch.cat([first, second]), len(first)
    far = distances(views, views)
    other = ~torch.eye(count, dtype=torch.bool).repeat(2, 2)
    xi = torch.sigmoid(-far.detach() / tau) * other / (2 * count - 2)
    near = torch.diagonal(far, count).repeat(2)
    return (xi.sum(1) * near - (xi * far).sum(1)).mean()


def expected_steps(tau, spread):
    """Expected steps of the two forms over all choices of views, and ``V^xi vec W``, of one linear layer."""
    size, count = 3, 2
    population = points(size, count)
    centre = population.mean(1, keepdim=True)
    population = centre + spread * (population - centre)
    weight = torch.randn(3, 2, generator=torch.Generator().manual_seed(8), dtype=torch.float64).requires_grad_()
    found, at = population @ weight.T, torch.arange(size)
    views = list(product(range(count), repeat=2 * size))

    def chosen(choice):
        return found[at, list(choice[:size])], found[at, list(choice[size:])]

    own = sum(weights_of_own_views(*chosen(choice), tau) for choice in views) / len(views)
    loss = ImageLoss("covariance", tau=tau)
    apart = (
        sum(
            batch_loss(loss, *chosen(choice), torch.Generator(), chosen(further))
            for choice, further in product(views, repeat=2)
        )
        / len(views) ** 2
    )
    # The weight of two images is the mean over the views that it is taken from: one of each, or the mean of two.
    single = torch.stack([found.detach()[:, a] for a in range(count)])
    double = torch.stack([(single[a] + single[b]) / 2 for a, b in product(range(count), repeat=2)])
    means, steps = population.mean(1), []
    for value, each in ((own, single), (apart, double)):
        xi = torch.stack([torch.sigmoid(-distances(a, b) / tau) for a, b in product(each, repeat=2)]).mean(0)
        xi = xi * (1 - torch.eye(size)) / (size * (size - 1))
        gaps = means.unsqueeze(1) - means
        operator = torch.einsum("mn,mni,mnj->ij", xi, gaps, gaps)
        (gradient,) = torch.autograd.grad(value, weight, retain_graph=True)
        steps.append((-gradient, weight.detach() @ operator))
    return steps


def residual(step, operator):
    """What no multiple of the operator's step can account for, against the step."""
    scale = (step * operator).sum() / (operator * operator).sum()
    return float((step - scale * operator).norm() / step.norm())


@pytest.mark.parametrize("tau", [0.1, 0.5])
def test_weights_of_the_differentiated_views_leave_a_residue(tau):
    (own, of_own), (apart, of_apart) = expected_steps(tau, 1.0)
    assert (apart - of_apart).norm() <= 1e-13 * apart.norm()
    assert residual(own, of_own) > 0.5
    # Without augmentation nothing is left of it.
    ((own, of_own), _) = expected_steps(tau, 0.0)
    assert (own - of_own).norm() <= 1e-13 * own.norm()


def test_the_weight_of_one_negative_is_not_that_of_many():
    """Where all outputs coincide InfoNCE weighs each of H negatives by 1/(1 + H), and with one negative by 1/2."""
    for count in (2, 8, 128):
        negatives = 2 * count - 2
        many = pair_weight(loss_spec("infonce", tau=0.5, negatives=negatives), torch.zeros(1, negatives))
        one = pair_weight(loss_spec("infonce", tau=0.5), torch.zeros(1, 1))
        assert float(many[0, 0]) == pytest.approx(1 / (1 + negatives))
        assert float(one[0, 0]) == 0.5
        assert float(many.sum()) == pytest.approx(negatives / (1 + negatives))


def test_without_augmentation_it_descends_as_the_mean_over_single_negatives():
    """And not as NT-Xent, with all of them at once, in no multiple."""
    tau, point = 0.5, torch.nn.functional.normalize(points(6, 1, 4)[:, 0] * torch.tensor([1.0, 3.0]), dim=-1)

    def gradient(value):
        held = point.clone().requires_grad_()
        return torch.autograd.grad(value(held), held)[0]

    def single(held):
        views, count = torch.cat([held, held]), len(held)
        far = distances(views, views)
        other = ~torch.eye(count, dtype=torch.bool).repeat(2, 2)
        r_neg = far[other].reshape(2 * count, -1, 1)
        r_pos = torch.diagonal(far, count).repeat(2).unsqueeze(1).expand(r_neg.shape[:2])
        return loss_value(loss_spec("infonce", tau=tau), r_pos, r_neg).mean()

    found = gradient(lambda held: weights_of_own_views(held, held, tau))
    assert (found - gradient(single)).norm() <= 1e-13 * found.norm()
    whole = gradient(lambda held: batch_loss(ImageLoss("ntxent", tau=tau), held, held, torch.Generator()))
    assert residual(found, whole) > 0.02


def heads(kind):
    """A head of two layers as a function of its first weights, and these weights."""
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(*s, generator=generator, dtype=torch.float64) / 2 for s in ((5, 2), (3, 5)))
    bias = torch.randn(5, generator=generator, dtype=torch.float64) / 2
    pre = points().flatten(0, 1) @ first.T
    centre, deviation = pre.mean(0), pre.std(0, unbiased=False)  # fixed statistics, as in evaluation

    def head(weight, x):
        hidden = x @ weight.T
        if kind == "biases":
            hidden = hidden + bias
        if kind == "batch norm":
            hidden = (hidden - centre) / deviation
        return torch.relu(hidden) @ second.T

    return head, first


@pytest.mark.parametrize(("kind", "quoted"), [("plain", 0.0), ("biases", 0.18), ("batch norm", 0.44)])
def test_biases_and_batch_norm_take_the_operator_form_away(kind, quoted):
    """The covariance loss itself, weights held fixed: the general form holds on every head, the operator on one.

    The residuals are those that the findings quote, to two digits.
    """
    head, weight = heads(kind)
    population = numeric.FinitePopulation(points())
    x = population.flat_points
    xi = torch.tensor([[0.5, 0.25, 0.75], [0.25, 0.5, 0.125], [0.75, 0.125, 0.5]], dtype=torch.float64)
    held = weight.clone().requires_grad_()
    value = numeric.covariance_loss(head(held, x), population, xi)
    (gradient,) = torch.autograd.grad(value, held)
    jacobian = torch.autograd.functional.jacobian(lambda w: head(w, x), weight)
    kbar, fbar = (population.mean(each) for each in (jacobian, head(weight, x)))
    apart, gaps = kbar.unsqueeze(1) - kbar, fbar.unsqueeze(1) - fbar
    general = torch.einsum("mn,mncba,mnc->ba", xi, apart, gaps) / 9
    by_weights = torch.einsum("mncba,ba->mnc", apart, weight)
    operator = torch.einsum("mn,mncba,mnc->ba", xi, apart, by_weights) / 9
    assert (gradient + general).norm() <= 1e-13 * gradient.norm()
    off = float((gradient + operator).norm() / gradient.norm())
    assert off == pytest.approx(quoted, abs=0.005 if quoted else 1e-13)
