"""Augmentation, probe, networks."""

import functools
import math

import numpy as np
import pytest
import torch

from hltm.base.errors import InputError
from numeric.studies.images.augment import RECIPES, Recipe, apply, draw
from numeric.studies.images.evaluate import PENALTIES, _fit, linear_accuracy, neighbour_accuracy, wilson
from numeric.studies.images.network import BatchNorm, Shape, make_network


def images(count=4, channels=3, side=16):
    return torch.rand(count, channels, side, side, generator=torch.Generator().manual_seed(0))


def augmented(recipe, held, seed=0):
    return apply(recipe, held, draw(recipe, held.shape, torch.Generator().manual_seed(seed)))


def test_nothing_asked_for_changes_nothing():
    assert (augmented(Recipe(), images()) - images()).abs().max() < 1e-5


def test_flip_is_a_mirror():
    assert (augmented(Recipe(flip=1.0), images()) - images().flip(-1)).abs().max() < 1e-5


def test_a_shift_moves_pixels():
    held = images(side=10)
    recipe = Recipe(shift=0.1)  # at most one pixel
    numbers = draw(recipe, held.shape, torch.Generator())
    numbers.uniform[:] = 0.5
    numbers.uniform[:, 2] = 1.0
    moved = apply(recipe, held, numbers)
    assert (moved[..., :-1] - held[..., 1:]).abs().max() < 1e-5


def maps_by_elementary_matrices(recipe, u, height, width):
    """From input to output pixels, ``(n, 3, 3)``: the crop's centre to 0, turned back, stretched, to the middle."""
    found = []
    for area, ratio, x, y, angle, flip in u[:, :6].tolist():
        kept = recipe.area + (1 - recipe.area) * area
        wide, high = (min(1, math.sqrt(kept) * recipe.ratio ** (sign * (ratio - 0.5))) for sign in (1, -1))
        centre = [
            (side - 1) / 2 + side * (2 * place - 1) * ((1 - share) / 2 + recipe.shift)
            for side, place, share in ((width, x, wide), (height, y, high))
        ]
        turned = math.radians(recipe.angle) * (2 * angle - 1)
        mirror = -1 if flip < recipe.flip else 1
        steps = [
            [[1, 0, (width - 1) / 2], [0, 1, (height - 1) / 2], [0, 0, 1]],
            [[mirror / wide, 0, 0], [0, 1 / high, 0], [0, 0, 1]],
            [[math.cos(turned), -math.sin(turned), 0], [math.sin(turned), math.cos(turned), 0], [0, 0, 1]],
            [[1, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, 1]],
        ]
        found.append(functools.reduce(np.matmul, (np.array(step, dtype=float) for step in steps)))
    return torch.from_numpy(np.stack(found))


# Everything at once, beyond what the recipes ask for.
CROOKED = Recipe(area=0.3, ratio=1.6, shift=0.2, angle=70.0, flip=0.5)


@pytest.mark.parametrize("size", [(8, 8), (9, 14), (14, 9), (2, 3)])
def test_the_affine_map_is_that_of_kornia(size):
    from kornia.geometry.transform import warp_affine

    held = torch.rand(200, 2, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers = draw(CROOKED, held.shape, torch.Generator().manual_seed(1), torch.float64)
    maps = maps_by_elementary_matrices(CROOKED, numbers.uniform, *size)
    theirs = warp_affine(held, maps[:, :2], size, align_corners=True)
    assert (theirs - held).abs().mean() > 0.1
    # Both round an affine map of six numbers below 10; the bilinear weights have a slope of at most a side.
    torch.testing.assert_close(apply(CROOKED, held, numbers), theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (5, 1)])
def test_images_of_one_pixel_across_are_refused(size):
    with pytest.raises(InputError, match=f"images of {size[0]} x {size[1]} pixels: sides must be at least 2"):
        augmented(Recipe(), torch.rand(2, 1, *size))


def test_grayscale_loses_colours():
    found = augmented(Recipe(grayscale=1.0), images())
    assert (found - found.mean(1, keepdim=True)).abs().max() < 1e-6


def test_brightness_is_a_factor():
    held = images() / 4 + 0.25
    found = augmented(Recipe(jitter=1.0, brightness=0.5), held)
    ratios = (found / held).flatten(1)
    assert (ratios - ratios[:, :1]).abs().max() < 1e-3
    assert ratios[:, 0].std() > 0.01


@pytest.mark.parametrize("name", list(RECIPES))
def test_draws_are_ours(name):
    held = images(channels=1 if name == "digits" else 3, side=32)
    before = torch.random.get_rng_state()
    recipe = RECIPES[name]
    one, two, other = (augmented(recipe, held, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(one, two)
    assert not torch.equal(one, other)
    assert one.shape == held.shape
    assert float(one.min()) >= 0
    assert float(one.max()) <= 1
    assert (one - held).abs().mean() > 0.02


@pytest.mark.parametrize("name", list(RECIPES))
def test_an_image_has_its_own_numbers(name):
    held = images(channels=1 if name == "digits" else 3, side=32)
    recipe = RECIPES[name]
    numbers = draw(recipe, held.shape, torch.Generator().manual_seed(0))
    whole = apply(recipe, held, numbers)
    parts = torch.cat([apply(recipe, held[part], numbers[part]) for part in (slice(0, 1), slice(1, 4))])
    torch.testing.assert_close(whole, parts, rtol=0, atol=1e-5)


def test_strength_is_a_path_from_the_image():
    held, recipe = images(channels=1, side=8).double(), RECIPES["digits"]
    numbers = draw(recipe, held.shape, torch.Generator().manual_seed(0), torch.float64)
    gaps = [float((apply(recipe.scaled(s), held, numbers) - held).abs().mean()) for s in (1e-6, 0.1, 0.5, 1.0)]
    assert gaps[0] < 1e-5
    assert gaps == sorted(gaps)


def test_a_wrong_recipe():
    with pytest.raises(InputError, match="area=0"):
        Recipe(area=0.0)


def clusters(count=200):
    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(0, 3, count))
    found = torch.from_numpy(rng.normal(size=(count, 5))) + 1.2 * torch.nn.functional.one_hot(labels, 5)
    return found, labels


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_classifier_is_that_of_scikit_learn(penalty):
    from sklearn.linear_model import LogisticRegression

    known, labels = clusters()
    theirs = LogisticRegression(C=1 / (len(known) * penalty), tol=1e-10, max_iter=5000).fit(known, labels)
    ours = _fit(known, labels, 3, penalty)
    # Both are determined up to a shift of all classes; the penalty centres the weights, not the biases.
    assert np.abs((ours[:-1] - ours[:-1].mean(1, keepdim=True)).T.numpy() - theirs.coef_).max() < 2e-3
    guesses = (known @ ours[:-1] + ours[-1]).argmax(1).numpy()
    assert (guesses == theirs.predict(known)).mean() > 0.99


def test_linear_accuracy_counts():
    known, labels = clusters()
    found = linear_accuracy(known[:150], labels[:150], known[150:], labels[150:])
    assert found.penalty in PENALTIES
    assert 0.5 < found.low < found.value < found.high < 1
    shuffled = labels[torch.randperm(200, generator=torch.Generator().manual_seed(0))]
    assert linear_accuracy(known[:150], shuffled[:150], known[150:], labels[150:]).value < found.value


def test_wilson_is_that_of_scipy():
    from scipy.stats import binomtest

    for right, total in ((0, 7), (3, 7), (480, 500)):
        theirs = binomtest(right, total).proportion_ci(0.95, method="wilson")
        assert wilson(right, total) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_neighbours_are_those_of_the_definition():
    known, labels = clusters()
    found = neighbour_accuracy(known[:150], labels[:150], known[150:], labels[150:])
    unit = torch.nn.functional.normalize(known, dim=1)
    right = 0
    for test in range(150, 200):
        near = sorted(range(150), key=lambda k: -float(unit[test] @ unit[k]))[:20]
        votes = [sum(float(torch.exp(unit[test] @ unit[k] / 0.1)) for k in near if labels[k] == c) for c in range(3)]
        right += votes.index(max(votes)) == int(labels[test])
    assert found.value == right / 50


def test_features_that_are_not_finite_are_refused():
    known, labels = clusters()
    with pytest.raises(InputError, match="finite"):
        linear_accuracy(known * torch.nan, labels, known, labels)
    with pytest.raises(InputError, match="4 training images"):
        linear_accuracy(known[:4], labels[:4], known, labels)


@pytest.mark.parametrize(
    ("shape", "positions"),
    [(Shape("resnet18", 3, 32, width=8), 32), (Shape("resnet18", 3, 96, width=8, norm="batch"), 24)],
)
def test_the_stem_of_the_resnet(shape, positions):
    network = make_network(shape, seed=0)
    seen = []
    network.encoder.blocks[2 if shape.side == 32 else 3].register_forward_hook(lambda *held: seen.append(held[2].shape))
    assert network(torch.zeros(2, 3, shape.side, shape.side)).shape == (2, shape.out)
    assert seen[0][-1] == positions
    assert network.encoder.features == 64


def test_the_resnet_has_the_usual_size():
    encoder = make_network(Shape("resnet18", 3, 96, width=64, norm="batch"), seed=0).encoder
    assert sum(p.numel() for p in encoder.parameters()) == 11_176_512  # ResNet-18 without its classifier


def test_batch_norm_is_torchs():
    ours, theirs = BatchNorm(3), torch.nn.BatchNorm2d(3)
    held = images()
    torch.testing.assert_close(ours(held), theirs(held), rtol=0, atol=0)
    torch.testing.assert_close(BatchNorm(16)(held[:, 0, 0]), torch.nn.BatchNorm1d(16)(held[:, 0, 0]), rtol=0, atol=0)
    with pytest.raises(InputError, match="shape"):
        ours(held[0])


@pytest.mark.parametrize(
    ("options", "words"),
    [({"encoder": "vgg"}, "encoder='vgg'"), ({"width": 0}, "width=0"), ({"norm": "layer"}, "norm='layer'")],
)
def test_wrong_shapes(options, words):
    with pytest.raises(InputError, match=words):
        Shape(**options)
