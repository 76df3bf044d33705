"""`verify.conformance`: known losses, every single modification, and the loss of the paper's published code."""

import sys

import pytest
import torch
from torch.nn import functional

import numeric
import verify
from hltm.base.errors import InputError

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
    assert found.loss == "infonce"
    assert any(other.startswith("the soft triplet loss times 1") for other in found.also)
    other = verify.conformance(infonce, tau=TAU, margin=0.0, against="triplet")
    assert other.loss == "triplet"
    assert any(also.startswith("InfoNCE times 1") for also in other.also)
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
        lambda a, b, c: infonce(a, b, c) + 1e-6 * a.sum() ** 2,
        lambda a, b, c: 1e4 + 1e-8 * (a * b).sum(),
        lambda a, b, c: infonce(a, b, c, tau=TAU * 1.001) + 1e-6 * b.sum() ** 2,
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


def stopped(*names):
    """InfoNCE that holds some of its arguments fixed."""

    def loss_fn(f_1, f_plus, f_minus):
        given = {"f_1": f_1, "f_plus": f_plus, "f_minus": f_minus}
        return infonce(*(f.detach() if name in names else f for name, f in given.items()))

    return loss_fn


@pytest.mark.parametrize("name", ["f_1", "f_plus", "f_minus"])
def test_a_stop_gradient_on_one_argument_is_named(name):
    found = run(stopped(name))
    assert not found.equal
    assert (found.loss, found.factor) == ("infonce", pytest.approx(1))
    assert found.differences == (f"values equal, gradient with respect to {name} is zero: stop-gradient",)
    assert len(found.counterexample) == 2


def of_numpy(f_1, f_plus, f_minus):
    near, far = (0.5 * ((f_1.numpy() - f.numpy()) ** 2).sum(-1) for f in (f_plus, f_minus))
    return (near - far).mean()


@torch.no_grad()
def without_grad(*outputs):
    return infonce(*outputs)


@pytest.mark.parametrize(
    ("loss_fn", "words"),
    [
        (lambda *f: infonce(*f).detach(), "detached"), (lambda *f: infonce(*f).item(), "type float"), (stopped("f_1", "f_plus", "f_minus"), "detached"),
        (without_grad, "detached"), (of_numpy, "RuntimeError"),
    ],
)  # fmt: skip
def test_a_loss_without_a_gradient_is_named(loss_fn, words):
    found = run(loss_fn)
    assert not found.equal
    (difference,) = found.differences
    assert difference.startswith("values equal, no gradient: ")
    assert words in difference
    assert "norms of the gradients (f_1, f_plus, f_minus): none; " in found.counterexample[0]


class HalfBackward(torch.autograd.Function):
    """The identity, with half of its gradient: what a gradient that is changed on the way back looks like."""

    @staticmethod
    def forward(ctx, given):
        return given.clone()

    @staticmethod
    def backward(ctx, slope):
        return slope / 2


def test_a_gradient_that_is_scaled_or_another_one_is_named():
    found = run(lambda a, b, c: infonce(a, HalfBackward.apply(b), c))
    assert found.differences == ("values equal, gradient with respect to f_plus is 0.5 times that of InfoNCE",)
    found = run(lambda a, b, c: infonce(a, b, c) + (a.sum() ** 2 - a.detach().sum() ** 2))
    (difference,) = found.differences
    assert difference.startswith("values equal, gradient with respect to f_1 differs from that of InfoNCE by up to ")


def test_a_surrogate_with_the_gradient_of_infonce():
    """The pair weight held fixed: other values, the same gradient (by the chain rule on paper)."""

    def surrogate(f_1, f_plus, f_minus):
        gap = half(f_1, f_plus) - half(f_1, f_minus)
        return (torch.sigmoid(gap / TAU).detach() * gap).mean()

    found = run(surrogate)
    assert (found.loss, found.factor) == ("infonce", pytest.approx(1))
    assert found.differences == ("gradients equal, the values are not, and do not differ by one constant",)


@pytest.mark.parametrize("constant", [1.0, -3.5, 1e-4])
def test_a_constant_is_no_difference(constant):
    found = run(lambda *f: 2 * infonce(*f) + constant)
    assert found.equal
    assert (found.loss, found.factor, found.constant) == ("infonce", pytest.approx(2), pytest.approx(constant))
    assert found.notes == (f"equal up to the constant {constant:g}; gradients identical",)
    assert found.notes[0] in str(found)
    (difference,) = run(lambda *f: stopped("f_plus")(*f) + constant).differences
    assert difference == "values equal, gradient with respect to f_plus is zero: stop-gradient"


@pytest.mark.parametrize("loss_fn", [infonce, ntxent, simple])
def test_single_precision_is_no_difference(loss_fn):
    found = run(lambda *f: loss_fn(*(each.float() for each in f)))
    assert found.equal
    assert found.loss == loss_fn.__name__
    assert found.factor == pytest.approx(1, abs=1e-4)
    assert found.notes == ("agrees to single precision: the function rounds to float32",)
    assert run(loss_fn).notes == ()


def test_a_large_constant_is_not_taken_for_single_precision():
    found = run(lambda *f: infonce(*f) + 1e3)
    assert found.equal
    assert found.constant == pytest.approx(1e3)
    assert found.notes == ("equal up to the constant 1000; gradients identical",)
    assert run(lambda a, b, c: infonce(a, b, c) * (1 + 1e-6 * a.square().mean()) + 1e3).loss is None


def test_any_seed_will_do():
    assert verify.conformance(lambda a, b, c: (a - b).square().sum(-1).mean(), seed=2**70).loss is None


def test_single_precision_hides_no_real_difference():
    assert run(lambda a, b, c: infonce(a.float(), b.float(), c.float()) + 1e-3 * a.float().sum() ** 2).loss is None
    (difference,) = run(lambda a, b, c: infonce(a.float(), b.float().detach(), c.float())).differences
    assert difference.endswith("f_plus is zero: stop-gradient")


@pytest.mark.parametrize(
    ("loss_fn", "given", "used", "name"),
    [
        (lambda *f: infonce(*f), 0.1, 0.3, "infonce"), (lambda *f: infonce(*f, tau=TAU * 1.001), TAU, 0.3003, "infonce"),
        (ntxent, 0.5, 0.3, "ntxent"), (ntxent_given, 0.07, 0.3, "ntxent-given"), (triplet, 0.2, 0.3, "triplet"),
    ],
)  # fmt: skip
def test_another_temperature_is_fitted(loss_fn, given, used, name):
    found = verify.conformance(loss_fn, tau=given, margin=MARGIN)
    assert found.loss == name
    assert found.differences == (f"tau = {used:g}, not {given:g}",)


def test_losses_of_one_direction():
    """The cross entropy of the batch against itself, written with torch's own functions."""

    def across(f_1, f_plus, f_minus):
        cosines = functional.cosine_similarity(f_1[:, None], f_plus[None], dim=-1)
        return functional.cross_entropy(cosines / TAU, torch.arange(len(f_1)))

    def distances(f_1, f_plus, f_minus):
        return functional.cross_entropy(-(torch.cdist(f_1, f_plus) ** 2) / (2 * TAU), torch.arange(len(f_1)))

    def back(f_1, f_plus, f_minus):
        return (across(f_1, f_plus, f_minus) + across(f_plus, f_1, f_minus)) / 2

    def anchors(f_1, f_plus, f_minus):
        """NT-Xent of the first view's anchors, with loops."""
        total = 0
        for i, view in enumerate(f_1):
            others = [f for k, f in enumerate(f_1) if k != i] + [*f_plus]
            similar = sum(torch.exp(functional.cosine_similarity(view, other, dim=0) / TAU) for other in others)
            total = total - functional.cosine_similarity(view, f_plus[i], dim=0) / TAU + torch.log(similar)
        return total / len(f_1)

    words = {
        across: "one direction: f_1 against f_plus",
        back: "f_1 against f_plus of the whole batch and back",
        anchors: "one direction: only f_1",
    }
    for loss_fn, start in words.items():
        found = run(loss_fn)
        (difference,) = found.differences
        assert found.loss == "ntxent"
        assert difference.startswith(start)
    found = run(distances)
    assert [difference.split(" ")[0] for difference in found.differences] == ["distances", "one"]


@pytest.mark.parametrize(
    ("loss_fn", "words"),
    [
        (lambda *f: "1.0", "gives str"), (lambda *f: True, "gives bool"), (lambda *f: 1j, "gives complex"), (lambda *f: [1.0], "gives list"),
        (lambda *f: infonce(*f) + 0j, "complex128"), (lambda *f: infonce(*f) > 0, "torch.bool"), (lambda *f: torch.tensor(3), "int64"),
        (lambda *f: 10**400, "must be finite"),
    ],
)  # fmt: skip
def test_what_is_no_real_scalar_is_refused(loss_fn, words):
    with pytest.raises(InputError) as caught:
        run(loss_fn)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_function_cannot_leave_the_program():
    with pytest.raises(InputError, match="SystemExit: 3"):
        run(lambda *f: sys.exit(3))

    def interrupted(*outputs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(interrupted)


def test_gradients_are_taken_whatever_the_caller_has_switched_off():
    with torch.no_grad():
        assert run(infonce).equal
    with torch.inference_mode():
        assert run(infonce).equal


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
