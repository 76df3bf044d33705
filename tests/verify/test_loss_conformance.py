"""`verify.conformance`: known losses, every single modification, and the loss of the paper's published code."""

import pytest
import torch
from torch.nn import functional

import numeric
import verify
from hltm.errors import InputError

TAU, MARGIN = 0.3, 0.2


def half(a, b):
    return ((a - b) ** 2).sum(-1) / 2


def simple(f_1, f_plus, f_minus):
    return (half(f_1, f_plus) - half(f_1, f_minus)).mean()


def triplet(f_1, f_plus, f_minus):
    return (TAU * torch.log(1 + torch.exp((half(f_1, f_plus) - half(f_1, f_minus) + MARGIN) / TAU))).mean()


def infonce(f_1, f_plus, f_minus, distance=half, tau=TAU, reduce=torch.mean):
    near, far = torch.exp(-distance(f_1, f_plus) / tau), torch.exp(-distance(f_1, f_minus) / tau)
    return reduce(-TAU * torch.log(near / (near + far)))


def infonce_many(f_1, f_plus, f_minus):
    logits = -torch.cat([half(f_1, f_plus)[:, None], half(f_1[:, None], f_minus)], 1) / TAU
    return functional.cross_entropy(logits, torch.zeros(len(f_1), dtype=torch.long))


def ntxent(f_1, f_plus, f_minus):
    """SimCLR: every other view of the batch is a negative; written with loops."""
    views, count = [*f_1, *f_plus], len(f_1)
    total = 0
    for i, view in enumerate(views):
        similar = [torch.exp(functional.cosine_similarity(view, other, dim=0) / TAU) for other in views]
        total = total - torch.log(similar[(i + count) % (2 * count)] / (sum(similar) - similar[i]))
    return total / (2 * count)


def ntxent_given(f_1, f_plus, f_minus):
    near, far = (torch.exp(functional.cosine_similarity(f_1, f) / TAU) for f in (f_plus, f_minus))
    return -torch.log(near / (near + far)).mean()


def run(loss_fn, **options):
    return verify.conformance(loss_fn, tau=TAU, margin=MARGIN, **options)


@pytest.mark.parametrize(
    ("loss_fn", "options", "name", "factor"),
    [
        (simple, {}, "simple", 1), (lambda *f: 5 * simple(*f), {}, "simple", 5), (triplet, {}, "triplet", 1), (infonce, {}, "infonce", 1),
        (lambda *f: infonce(*f) / TAU, {}, "infonce", 1 / TAU), (infonce_many, {"negatives": 3}, "infonce", 1 / TAU),
        (ntxent, {}, "ntxent", 1), (lambda *f: 2 * ntxent_given(*f), {}, "ntxent-given", 2),
    ],
)  # fmt: skip
@pytest.mark.parametrize("seed", [0, 7])
def test_known_losses(loss_fn, options, name, factor, seed):
    found = run(loss_fn, seed=seed, **options)
    assert found.equal
    assert found.loss == name
    assert found.factor == pytest.approx(factor, rel=1e-12)
    assert found.differences == ()
    assert found.counterexample is None
    assert len(str(found).splitlines()) >= 1


def test_the_two_names_of_one_function():
    """Without a margin the soft triplet is InfoNCE with one negative; and normalised outputs make InfoNCE an NT-Xent."""
    found = verify.conformance(infonce, tau=TAU, margin=0.0)
    assert {found.loss, *(other.split(" times")[0] for other in found.also)} >= {"triplet", "InfoNCE"}
    assert any(other.startswith("InfoNCE") and "normalised outputs" in other for other in run(ntxent_given).also)


def published(f_1, f_plus, f_minus, tau=TAU):
    """Minus a softmax of the mean squares over batch and dimensions."""
    near, far = torch.nn.MSELoss()(f_1, f_plus), torch.nn.MSELoss()(f_1, f_minus)
    return -torch.exp(-near / tau) / (torch.exp(-near / tau) + torch.exp(-far / tau))


def library_published(f_1, f_plus, f_minus):
    outputs = torch.cat([f_1, f_plus, f_minus]).T[None]
    return numeric.published_loss(outputs, "nce", TAU)[0]


@pytest.mark.parametrize("loss_fn", [published, library_published])
@pytest.mark.parametrize("seed", range(4))
def test_the_published_loss(loss_fn, seed):
    found = run(loss_fn, seed=seed)
    assert not found.equal
    assert found.loss == "infonce"
    assert found.factor == pytest.approx(1, rel=1e-12)
    assert len(found.differences) == 3
    for difference, words in zip(
        found.differences,
        ("no logarithm", "batch-mean distances", "average over dimensions in place of 1/2"),
        strict=True,
    ):
        assert difference.startswith(words)
        assert words in str(found)
    assert len(found.counterexample) == 2


def test_the_published_loss_at_its_own_temperature():
    found = verify.conformance(lambda *f: published(*f, tau=0.1))
    assert [d.split(":")[0] for d in found.differences] == [
        "no logarithm",
        "batch-mean distances",
        "average over dimensions in place of 1/2",
    ]


def of_means(f_1, f_plus, f_minus):
    gap = half(f_1, f_plus).mean() - half(f_1, f_minus).mean()
    return TAU * torch.log(1 + torch.exp(gap / TAU))


def no_log(f_1, f_plus, f_minus):
    near, far = torch.exp(-half(f_1, f_plus) / TAU), torch.exp(-half(f_1, f_minus) / TAU)
    return -(near / (near + far)).mean()


SINGLE = {
    "no logarithm": no_log,
    "batch-mean distances": of_means,
    "average over dimensions in place of 1/2": lambda *f: infonce(*f, distance=lambda a, b: ((a - b) ** 2).mean(-1)),
    "1/2 is missing": lambda *f: infonce(*f, distance=lambda a, b: ((a - b) ** 2).sum(-1)),
    "tau is missing": lambda *f: infonce(*f, tau=1.0),
    "tau is inverted": lambda *f: infonce(*f, tau=1 / TAU),
    "sum over the batch in place of the mean": lambda *f: infonce(*f, reduce=torch.sum),
    "the sign is reversed": lambda *f: -infonce(*f),
}
OF_OTHERS = {
    ("simple", "sum over the batch"): lambda *f: simple(*f) * len(f[0]),
    ("simple", "average over dimensions"): lambda *f: simple(*f) * 2 / f[0].shape[1],
    ("simple", "normalised outputs"): lambda *f: simple(*(functional.normalize(each, dim=1) for each in f)),
    ("triplet", "the maximum with 0"): lambda *f: (half(f[0], f[1]) - half(f[0], f[2]) + MARGIN).clamp_min(0).mean(),
    ("triplet", "tau is missing"): lambda *f: functional.softplus(half(f[0], f[1]) - half(f[0], f[2]) + MARGIN).mean(),
    ("triplet", "normalised outputs"): lambda *f: triplet(*(functional.normalize(each, dim=1) for each in f)),
    ("ntxent", "sum over the batch"): lambda *f: ntxent(*f) * 2 * len(f[0]),
    ("ntxent-given", "no logarithm"): lambda a, b, c: -torch.sigmoid((functional.cosine_similarity(a, b) - functional.cosine_similarity(a, c)) / TAU).mean(),
}  # fmt: skip


@pytest.mark.parametrize("words", SINGLE)
def test_each_single_modification_of_infonce_is_named(words):
    found = run(SINGLE[words])
    assert found.loss == "infonce"
    (difference,) = found.differences
    assert difference.startswith(words)
    first, second = found.counterexample
    assert "InfoNCE" in first
    assert "InfoNCE" in second
    assert first != second


@pytest.mark.parametrize("key", OF_OTHERS, ids=" ".join)
def test_a_modification_of_another_loss_is_named(key):
    found = run(OF_OTHERS[key])
    assert found.loss == key[0]
    (difference,) = found.differences
    assert difference.startswith(key[1])


@pytest.mark.parametrize(
    "loss_fn",
    [
        lambda a, b, c: (a * b).sum(),
        lambda a, b, c: a.new_zeros(()),
        lambda a, b, c: a.new_ones(()),
        lambda a, b, c: infonce(a, b, c) + 1e-4,
        lambda a, b, c: infonce(a, b, c) + 1e-6 * a.sum() ** 2,
        lambda a, b, c: infonce(a, b, c, tau=TAU * 1.001),
        lambda a, b, c: half(a, b).mean(),
    ],
)
def test_what_is_no_known_loss(loss_fn):
    found = run(loss_fn)
    assert found.loss is None
    assert not found.equal
    assert len(found.counterexample) == 2
    assert "no known loss" in str(found)


def failing(f_1, f_plus, f_minus):
    raise RuntimeError("of\nthe user's")


@pytest.mark.parametrize(
    ("loss_fn", "options", "words"),
    [
        (failing, {}, "raised RuntimeError"), (lambda *f: half(f[0], f[1]), {}, "must give a scalar"), (lambda *f: None, {}, "must give a scalar"),
        (lambda *f: f[0].sum() * float("nan"), {}, "must be finite"), (3, {}, "must be callable"), (lambda: 0, {}, "raised TypeError"),
        (infonce, {"against": "nce"}, "must be one of"), (infonce, {"negatives": 0}, "negatives"), (infonce, {"seed": -1}, "seed"),
    ],
)  # fmt: skip
def test_bad_input(loss_fn, options, words):
    with pytest.raises(InputError) as caught:
        run(loss_fn, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_temperature_that_is_not_allowed():
    with pytest.raises(InputError, match="tau=0"):
        verify.conformance(infonce, tau=0)


def test_the_function_cannot_spoil_the_batches():
    def careless(f_1, f_plus, f_minus):
        found = infonce(f_1, f_plus, f_minus)
        for f in (f_1, f_plus, f_minus):
            f.zero_()
        return found

    assert run(careless).equal
