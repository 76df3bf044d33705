"""`verify.conformance`: faults of public reports, scope, losses of views and labels, formulas; true losses stay true."""

import math

import pytest
import torch
from torch.nn import functional

import verify
from hltm.base.errors import InputError

TAU = 0.2


def half(a, b):
    return ((a - b) ** 2).sum(-1) / 2


def unit(*outputs):
    return [functional.normalize(f, dim=-1) for f in outputs]


def logits_of(f_1, f_plus, f_minus, tau=TAU, score=lambda a, b: -half(a, b)):
    return torch.cat([score(f_1, f_plus)[:, None], score(f_1[:, None], f_minus)], 1) / tau


def first_of(logits):
    return torch.logsumexp(logits, 1) - logits[:, 0]


def infonce(*f):
    return first_of(logits_of(*f)).mean()


def shares(*f):
    e = torch.exp(logits_of(*f))
    return e[:, 0], e.sum(1)


def gathered(f_1, f_plus, f_minus):
    near = len(f_1) // 2
    return infonce(f_1, torch.cat([f_plus[:near], f_plus[near:].detach()]), f_minus)


def averaged(*f):
    logits = logits_of(*f)
    return (torch.log(logits[:, 0].exp() + logits[:, 1:].exp().mean(1)) - logits[:, 0]).mean()


def cosines(a, b):
    return torch.nn.functional.cosine_similarity(a, b, dim=-1)


FAULTS = {
    "temperature twice": lambda *f: first_of(logits_of(*f) / TAU).mean(),
    "positive counted twice": lambda *f: first_of(torch.cat([logits_of(*f)[:, :1], logits_of(*f)], 1)).mean(),
    "unsquared distance": lambda *f: first_of(logits_of(*f, score=lambda a, b: -(2 * half(a, b)).sqrt())).mean(),
    "epsilon 1e-08 inside the logarithm": lambda *f: -torch.log(shares(*f)[0] / shares(*f)[1] + 1e-8).mean(),
    "epsilon 1e-06 in the denominator": lambda *f: -torch.log(shares(*f)[0] / (shares(*f)[1] + 1e-6)).mean(),
    "softmax over the batch axis": lambda *f: -torch.log_softmax(logits_of(*f), 0)[:, 0].mean(),
    "sum over the batch in place of the mean": lambda *f: first_of(logits_of(*f)).sum(),
    "only the first negative is used": lambda a, b, c: infonce(a, b, c[:, :1]),
    "the negatives of the first row": lambda a, b, c: infonce(a, b, c[:1].expand(c.shape)),
    "the negatives are shared over the batch": lambda a, b, c: infonce(a, b, c.reshape(1, -1, c.shape[2]).expand(len(a), -1, -1)),
    "mean over the negatives in the denominator": averaged,
    "values equal, gradient with respect to f_plus is missing in the second half": gathered,
}  # fmt: skip


@pytest.mark.parametrize("words", FAULTS)
def test_a_fault_of_public_reports_is_named(words):
    found = verify.conformance(FAULTS[words], tau=TAU, negatives=3)
    assert (found.loss, found.equal) == ("infonce", False)
    (difference,) = found.differences
    assert difference.startswith(words)
    assert len(found.counterexample) == 2


def test_decoupled_and_cosines_have_both_names():
    found = verify.conformance(
        lambda *f: (torch.logsumexp(logits_of(*f)[:, 1:], 1) - logits_of(*f)[:, 0]).mean(), tau=TAU, negatives=3
    )
    assert (found.loss, found.factor) == ("dcl", pytest.approx(1))
    assert "InfoNCE times 5 with positive missing in the denominator (as in DCL)" in found.also
    found = verify.conformance(lambda *f: infonce(*(10 * e for e in unit(*f))), tau=TAU, negatives=3)
    assert found.differences == ("tau = 0.002, not 0.2",)
    found = verify.conformance(lambda *f: infonce(*unit(*f)), tau=TAU, negatives=3)
    assert found.loss == "ntxent-given"
    assert any(other.startswith("InfoNCE") and "cosine in place of distance" in other for other in found.also)


def shifted(similarity):
    """The loss of CEBRA with its maximum subtracted along the wrong axis of a square matrix."""
    largest = similarity.detach().max(dim=1).values
    return -(similarity.diagonal() - largest).mean() + torch.logsumexp(similarity - largest, 1).mean()


def test_a_shift_along_the_wrong_axis_is_named():
    def views(z1, z2):
        z1, z2 = unit(z1, z2)
        return shifted(z1 @ z2.T / TAU)

    found = verify.conformance(views, tau=TAU)
    assert found.loss == "infonce-batch"
    assert found.differences[0].startswith("shift along the wrong axis")


SIZES = {
    "differs for B = 1: gives 0": lambda f, value: value if len(f[0]) > 1 else 0 * value,
    "differs for B >= 8: 2 times": lambda f, value: value * (2 if len(f[0]) >= 8 else 1),
    "differs for n >= 8: 2 times": lambda f, value: value * (2 if f[0].shape[1] >= 8 else 1),
    "differs for n >= 128: 2 times": lambda f, value: value * (2 if f[0].shape[1] == 128 else 1),
    "differs for n = 1": lambda f, value: value + (f[0].shape[1] == 1),
    "differs for H >= 9: 3 times": lambda f, value: value * (3 if f[2].shape[1] > 8 else 1),
    "clamped: at most 10000": lambda f, value: value.clamp(max=1e4),
}


@pytest.mark.parametrize("words", SIZES)
def test_a_fault_at_single_sizes_is_found_and_placed(words):
    found = verify.conformance(lambda *f: SIZES[words](f, infonce(*f)), tau=TAU, negatives=3)
    assert (found.loss, found.equal) == ("infonce", False)
    assert found.differences[0].startswith(words)
    assert "the function gives" in found.counterexample[0]


@pytest.mark.parametrize("size", [1e-3, 1e-6, 1e-10, 1e-12])
def test_small_errors_are_found_and_the_resolution_is_said(size):
    found = verify.conformance(lambda *f: infonce(*f) + size * f[0].mean(), tau=TAU, negatives=3)
    assert not found.equal
    assert size < 1e-11 or found.loss is None
    if 1e-11 < size < 1e-3:
        assert "closest: InfoNCE" in str(found)
    scope = verify.conformance(infonce, tau=TAU, negatives=3).scope
    assert scope.startswith("compared on 47 batches: B 1 to 16, n 1 to 128, H 1 to 12, distances up to ")
    assert float(scope.split("resolution ")[1].split()[0]) < 1e-11


def test_an_error_below_the_resolution_is_not_called_different():
    assert verify.conformance(lambda *f: infonce(*f) + 1e-16 * f[0].square().mean(), tau=TAU, negatives=3).equal


def naive(*f):
    near, total = shares(*f)
    return -torch.log(near / total).mean()


def test_overflow_is_a_warning():
    found = verify.conformance(naive, tau=TAU, negatives=3)
    assert found.equal
    assert any(warning.startswith("overflow: gives ") for warning in found.warnings)
    assert "warning: overflow" in str(found)
    assert verify.conformance(infonce, tau=TAU, negatives=3).warnings == ()


def writes(f_1, f_plus, f_minus):
    f_1.data.mul_(1.0)
    return infonce(f_1, f_plus, f_minus)


def overwrites(f_1, f_plus, f_minus):
    f_1.data.zero_()
    return infonce(f_1, f_plus, f_minus)


def test_writing_into_an_argument_is_noticed():
    found = verify.conformance(writes, tau=TAU, negatives=3)
    assert found.equal
    assert found.warnings == ("writes into its argument f_1",)
    found = verify.conformance(overwrites, tau=TAU, negatives=3)
    assert not found.equal
    assert "writes into its argument f_1" in found.warnings


@pytest.mark.parametrize("after", [3, 60, 100, 150])
def test_a_state_is_no_function(after):
    calls = []

    def counting(*f):
        calls.append(1)
        return infonce(*f) * (1 if len(calls) < after else 2)

    found = verify.conformance(counting, tau=TAU, negatives=3)
    assert found.loss is None
    (difference,) = found.differences
    assert difference.startswith("not a function of its arguments: two calls on the same batch")


def test_a_random_function_is_none():
    found = verify.conformance(lambda *f: infonce(*(functional.dropout(e, 0.1) for e in f)), tau=TAU, negatives=3)
    assert "random" in found.differences[0]
    assert not found.equal


def test_half_precision_is_not_decided():
    found = verify.conformance(lambda *f: infonce(*(e.bfloat16() for e in f)), tau=TAU, negatives=3)
    assert not found.equal
    assert str(found).startswith("not decided")


def refusing(*f):
    if len(f[0]) == 1:
        raise ValueError("needs two\nsamples")
    return infonce(*f)


def test_an_error_for_some_sizes_is_a_warning():
    found = verify.conformance(refusing, tau=TAU, negatives=3)
    assert found.equal
    (warning,) = found.warnings
    assert warning == "raises for B = 1, not compared there: ValueError: needs two samples"
    assert "B 2 to 16" in found.scope


# Losses of two views and of labels: naive and stable, in double and in single precision.


def ntxent(z1, z2, stable):
    (z,) = unit(torch.cat([z1, z2]))
    own = torch.eye(len(z), dtype=torch.bool)
    if stable:
        logits = (z @ z.T / TAU).masked_fill(own, -torch.inf)
        return functional.cross_entropy(logits, torch.arange(len(z)).roll(len(z1)))
    e = torch.exp(z @ z.T / TAU) * ~own
    return -torch.log(e[torch.arange(len(z)), torch.arange(len(z)).roll(len(z1))] / e.sum(1)).mean()


def clip(z1, z2, stable):
    z1, z2 = unit(z1, z2)
    logits, target = z1 @ z2.T / TAU, torch.arange(len(z1))
    if stable:
        return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
    e = logits.exp()
    return -(torch.log(e.diag() / e.sum(0)) + torch.log(e.diag() / e.sum(1))).mean() / 2


def moco(z1, z2, stable):
    z1, z2 = unit(z1, z2)
    logits = z1 @ z2.T / TAU
    e = logits.exp()
    return functional.cross_entropy(logits, torch.arange(len(z1))) if stable else -torch.log(e.diag() / e.sum(1)).mean()


def dcl(z1, z2, stable):
    (z,) = unit(torch.cat([z1, z2]))
    size = len(z1)
    same = torch.eye(size, dtype=torch.bool).repeat(2, 2)
    logits = z @ z.T / TAU
    positive = (z * z.roll(size, 0)).sum(1) / TAU
    far = (
        torch.logsumexp(logits.masked_fill(same, -torch.inf), 1) if stable else torch.log((logits.exp() * ~same).sum(1))
    )
    return (far - positive).mean()


def debiased(z1, z2, stable, hard=False):
    (z,) = unit(torch.cat([z1, z2]))
    size = len(z1)
    negatives = (z @ z.T / TAU)[~torch.eye(size, dtype=torch.bool).repeat(2, 2)].reshape(2 * size, -1)
    count = 2 * size - 2
    near = ((z * z.roll(size, 0)).sum(1) / TAU).exp()
    weights = torch.softmax(negatives, 1) if hard else torch.full_like(negatives, 1 / max(count, 1))
    far = count * (weights * negatives.exp()).sum(1)
    total = torch.clamp((far - 0.1 * count * near) / 0.9, min=count * torch.e ** (-1 / TAU))
    return torch.log1p(total / near).mean() if stable else -torch.log(near / (near + total)).mean()


def siglip(z1, z2, stable):
    z1, z2 = unit(z1, z2)
    signs = 2 * torch.eye(len(z1)) - 1
    margin = signs * (z1 @ z2.T / TAU - 10)
    return (-functional.logsigmoid(margin) if stable else torch.log(1 + torch.exp(-margin))).sum() / len(z1)


def logistic(z1, z2, stable):
    z1, z2 = unit(z1, z2)
    logits = z1 @ z2.T / TAU
    own = torch.eye(len(z1), dtype=torch.bool)
    soft = functional.softplus if stable else lambda x: torch.log(1 + torch.exp(x))
    return soft(-logits.diag()).mean() + soft(logits[~own]).mean()


def mine(z1, z2, stable):
    z1, z2 = unit(z1, z2)
    logits = z1 @ z2.T / TAU
    far = logits[~torch.eye(len(z1), dtype=torch.bool)]
    bound = torch.logsumexp(far, 0) - math.log(len(far)) if stable else torch.log(far.double().exp().mean())
    return bound - logits.diag().mean()


def spectral(z1, z2, stable):
    s = z1 @ z2.T
    own, size = torch.eye(len(s), dtype=torch.bool), len(s)
    far = s[~own].square().mean() if stable else ((s**2).sum() - (s.diag() ** 2).sum()) / (size * (size - 1))
    return far - 2 * s.diag().mean()


def barlow(z1, z2, stable):
    z1, z2 = ((z - z.mean(0)) / z.std(0, unbiased=False) for z in (z1, z2))
    c = z1.T @ z2 / len(z1)
    if stable:
        weights = torch.full_like(c, 5e-3).fill_diagonal_(1)
        return ((c - torch.eye(len(c))) ** 2 * weights).sum()
    return ((1 - c.diag()) ** 2).sum() + 5e-3 * ((c**2).sum() - (c.diag() ** 2).sum())


def vicreg(z1, z2, stable):
    size = len(z1)
    total = 25 * (z1 - z2).square().sum(1).mean()
    for z in (z1, z2):
        c = torch.cov(z.T).reshape(z.shape[1], -1) if stable else (z - z.mean(0)).T @ (z - z.mean(0)) / (size - 1)
        total = total + 25 * torch.relu(1 - (z.var(0) + 1e-4).sqrt()).mean()
        total = total + (c - torch.diag(c.diag())).square().sum() / z.shape[1]
    return total


def supcon(z, labels, stable, inside=False):
    (z,) = unit(z)
    logits, own = z @ z.T / TAU, torch.eye(len(z), dtype=torch.bool)
    positive = (labels[:, None] == labels[None, :]) & ~own
    if stable:
        logs = logits - torch.logsumexp(logits.masked_fill(own, -torch.inf), 1, keepdim=True)
    else:
        e = torch.exp(logits) * ~own
        logs = torch.log(e / e.sum(1, keepdim=True) + own)
    if inside:
        return -torch.log((logs.exp() * positive).sum(1) / positive.sum(1)).mean()
    return -((logs * positive).sum(1) / positive.sum(1)).mean()


VIEWS = {
    "ntxent": ntxent, "clip": clip, "infonce-batch": moco, "dcl": dcl, "debiased": debiased,
    "hard": lambda *f: debiased(*f, hard=True), "siglip": siglip, "logistic": logistic, "mine": mine,
    "spectral": spectral, "barlow": barlow, "vicreg": vicreg,
}  # fmt: skip


@pytest.mark.parametrize("single", [False, True], ids=["double", "single"])
@pytest.mark.parametrize("stable", [False, True], ids=["naive", "stable"])
@pytest.mark.parametrize("name", VIEWS)
def test_a_true_loss_of_views_is_recognised(name, stable, single):
    def loss_fn(z1, z2):
        return VIEWS[name](*((z.float() if single else z) for z in (z1, z2)), stable)

    found = verify.conformance(loss_fn, tau=TAU, against=name)
    assert (found.loss, found.differences) == (name, ())
    assert found.factor == pytest.approx(1, rel=1e-4 if single else 1e-11)
    assert any("single precision" in note for note in found.notes) == single


@pytest.mark.parametrize("single", [False, True], ids=["double", "single"])
@pytest.mark.parametrize("stable", [False, True], ids=["naive", "stable"])
@pytest.mark.parametrize("inside", [False, True], ids=["out", "in"])
def test_a_true_loss_of_labels_is_recognised(inside, stable, single):
    def one(z, labels):
        return supcon(z.float() if single else z, labels, stable, inside)

    def two(z1, z2, labels):
        return one(torch.cat([z1, z2]), torch.cat([labels, labels]))

    for loss_fn in (one, two):
        found = verify.conformance(loss_fn, tau=TAU, labels=True)
        assert (found.loss, found.differences) == (f"supcon-{'in' if inside else 'out'}", ())
    assert any(
        w.startswith("an anchor without a positive") for w in verify.conformance(one, tau=TAU, labels=True).warnings
    )


def test_faults_of_losses_of_views_are_named():
    def unmasked(z1, z2):
        (z,) = unit(torch.cat([z1, z2]))
        return functional.cross_entropy(z @ z.T / TAU, torch.arange(len(z)).roll(len(z1)))

    def detached(z1, z2):
        return moco(z1, torch.cat([z2[: len(z2) // 2], z2[len(z2) // 2 :].detach()]), True)

    def normed(z1, z2):
        c = functional.batch_norm(z1, None, None, training=True).T @ functional.batch_norm(
            z2, None, None, training=True
        )
        return ((1 - c.diag() / len(z1)) ** 2).sum() + 5e-3 * ((c / len(z1)).fill_diagonal_(0) ** 2).sum()

    for loss_fn, words in (
        (unmasked, "the anchor itself is among the negatives"), (detached, "values equal, gradient with respect to z2 is missing"),
        (normed, "epsilon 1e-5 in the variance"),
        (lambda a, b: ntxent(5 * a, 5 * b, True) * 2 * len(a), "sum over the batch"),
    ):  # fmt: skip
        (difference,) = verify.conformance(loss_fn, tau=TAU).differences
        assert difference.startswith(words)


def test_another_parameter_is_fitted():
    found = verify.conformance(lambda a, b: debiased(a, b, True), tau=TAU, parameters={"tau_plus": 0.2})
    assert found.differences == ("tau_plus = 0.1, not 0.2",)
    assert verify.conformance(lambda a, b: debiased(a, b, True), tau=TAU, parameters={"tau_plus": 0.1}).equal


@pytest.mark.parametrize(
    ("loss_fn", "formula", "options", "words"),
    [
        (lambda a, b, c: infonce(a, b, c[:, None]), "log(1 + exp((r_p - r_1)/tau))", {}, None),
        (lambda a, b, c: naive(a, b, c[:, None]), "-log(exp(-r_p/tau)/(exp(-r_p/tau) + exp(-r_1/tau)))", {}, None),
        (infonce, "log(1 + exp((r_p - r_1)/tau) + exp((r_p - r_2)/tau))", {}, None),
        (lambda a, b, c: (half(a, b) - 0.3 * torch.sqrt(1 + half(a, c))).mean(), "r_p - beta*sqrt(1 + r_1)", {"parameters": {"beta": 0.3}}, None),
        (lambda a, b, c: (cosines(a, c) ** 2 - cosines(a, b)).mean(), "s_1**2 - s_p", {}, None),
        (lambda a, b, c: (half(a, b) - half(a, c)).sum(), "r_p - r_1", {}, "sum over the batch"),
        (lambda a, b, c: (half(a, b) - half(a, c.detach())).sum() / len(a), "r_p - r_1", {}, "values equal, gradient with respect to f_minus is zero"),
        (lambda a, b, c: (half(a, b) / TAU**2 - torch.log1p(half(a, c) / TAU**2)).mean(), "r_p/tau - log(1 + r_1/tau)", {}, "temperature twice"),
        (lambda a, b, c: (half(a, b) - half(a, c)).mean(), "r_p - r_1/2", {}, "another function than the formula"),
        (lambda a, b, c: (half(a, b) - half(a, c) * (1 + 1e-9)).mean(), "r_p - r_1", {}, "nothing"),
    ],
)  # fmt: skip
def test_a_formula(loss_fn, formula, options, words):
    found = verify.conformance(loss_fn, tau=TAU, against=formula, **options)
    if words == "nothing":
        assert found.loss is None
        assert "closest: the formula" in str(found)
        return
    assert found.loss == "formula"
    assert found.equal == (words is None)
    if words:
        assert found.differences[0].startswith(words)


@pytest.mark.parametrize(
    ("loss_fn", "options", "words"),
    [
        (infonce, {"against": "r_p + open('x')"}, "open"), (infonce, {"against": "r_p +"}, "needed here"), (infonce, {"against": "lambda"}, "must be one of"),
        (infonce, {"against": "r_p - r_2", "negatives": 1}, "the formula has 2"), (infonce, {"views": 3}, "views=3"), (infonce, {"views": 1}, "labels=True"),
        (infonce, {"views": 2, "negatives": 3}, "beside"), (lambda *f: 0, {"labels": True}, "must be given"), (infonce, {"labels": True, "negatives": 2}, "beside"),
        (infonce, {"parameters": {"tau_plus": 2}}, "tau_plus"), (infonce, {"parameters": {"beta": float("nan")}}, "finite"), (infonce, {"against": 3}, "must be one of"),
        (infonce, {"against": "r_p1 + r_p2"}, "one positive"),
    ],
)  # fmt: skip
def test_bad_options(loss_fn, options, words):
    with pytest.raises(InputError) as caught:
        verify.conformance(loss_fn, **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
