"""The catalogue of losses against loops in NumPy that share no code with it, and against autograd by finite differences."""

import math

import numpy as np
import pytest
import torch

from verify.loss.catalogue import CATALOGUE, LABELS, TRIPLES, VIEWS, Data, Form, forms, known_forms, value
from verify.loss.faults import KINDS, entries_of
from verify.loss.pairs import HEADS, PAIRINGS, PARAMETERS, Setting

TAU, MARGIN = 0.4, 0.3
P = {**PARAMETERS, "margin": MARGIN, "gamma": 5.0, "bias": -2.0, "off_diagonal": 0.02, "beta": 0.7, "tau_plus": 0.15}
AT = Setting(TAU, P)
B, N, H = 4, 3, 3
RNG = np.random.default_rng(5)
Z1, Z2, NEG = RNG.normal(size=(B, N)), RNG.normal(size=(B, N)), RNG.normal(size=(B, H, N))
LABELS_OF = np.array([0, 1, 0, 1])


def dot(a, b):
    return sum(float(x) * float(y) for x, y in zip(a, b, strict=True))


def cosine(a, b):
    return dot(a, b) / math.sqrt(dot(a, a) * dot(b, b))


def half(a, b):
    return -sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)) / 2


def rows(pairing):
    """Anchor, positive and negatives, spelled out."""
    both = [*Z1, *Z2]
    partner = [*Z2, *Z1]
    if pairing == "given":
        return [(Z1[i], Z2[i], list(NEG[i])) for i in range(B)]
    if pairing == "first":
        return [(Z1[i], Z2[i], [NEG[i][0]]) for i in range(B)]
    if pairing == "row":
        return [(Z1[i], Z2[i], list(NEG[0])) for i in range(B)]
    if pairing == "pool":
        return [(Z1[i], Z2[i], [k for row in NEG for k in row]) for i in range(B)]
    if pairing in ("views", "anchors", "self"):
        result = []
        for i in range(B if pairing == "anchors" else 2 * B):
            other = [both[j] for j in range(2 * B) if j % B != i % B or (pairing == "self" and j == i)]
            result.append((both[i], partner[i], other))
        return result
    across = [(Z1[i], Z2[i], [Z2[j] for j in range(B) if j != i]) for i in range(B)]
    back = [(Z2[i], Z1[i], [Z1[j] for j in range(B) if j != i]) for i in range(B)]
    within = [(Z1[i], Z2[i], [Z1[j] for j in range(B) if j != i]) for i in range(B)]
    return {"across": across, "back": back, "cross": across + back, "within": within}[pairing]


def soft(x):
    return math.log1p(math.exp(x))


def corrected(sp, sn, weights):
    """Equation 8 of the debiased loss with weights of the negatives, as in the code of the hard negative loss."""
    count, share = len(sn), P["tau_plus"]
    mean = sum(w * math.exp(s / TAU) for w, s in zip(weights, sn, strict=True)) / sum(weights)
    total = count * max((mean - share * math.exp(sp / TAU)) / (1 - share), math.exp(-1 / TAU))
    return -math.log(math.exp(sp / TAU) / (math.exp(sp / TAU) + total))


def circle(sp, sn):
    gamma, m = P["gamma"], P["relaxation"]
    near = math.exp(-gamma * max(0, 1 + m - sp) * (sp - (1 - m)))
    return math.log(1 + near * sum(math.exp(gamma * max(0, s + m) * (s - m)) for s in sn))


ORACLE = {
    "simple": lambda sp, sn: sum(-sp + s for s in sn) / len(sn),
    "triplet": lambda sp, sn: sum(TAU * soft((s - sp + MARGIN) / TAU) for s in sn) / len(sn),
    "hinge": lambda sp, sn: sum(max(0, s - sp + MARGIN) for s in sn) / len(sn),
    "nce": lambda sp, sn: -math.log(math.exp(sp / TAU) / (math.exp(sp / TAU) + sum(math.exp(s / TAU) for s in sn))),
    "no log": lambda sp, sn: -math.exp(sp / TAU) / (math.exp(sp / TAU) + sum(math.exp(s / TAU) for s in sn)),
    "decoupled": lambda sp, sn: -sp / TAU + math.log(sum(math.exp(s / TAU) for s in sn)),
    "positive twice": lambda sp, sn: -sp / TAU + math.log(2 * math.exp(sp / TAU) + sum(math.exp(s / TAU) for s in sn)),
    "averaged": lambda sp, sn: -sp / TAU + math.log(math.exp(sp / TAU) + sum(math.exp(s / TAU) for s in sn) / len(sn)),
    "logistic": lambda sp, sn: soft(-sp / TAU) + sum(soft(s / TAU) for s in sn) / len(sn),
    "siglip": lambda sp, sn: soft(-sp / TAU - P["bias"]) + sum(soft(s / TAU + P["bias"]) for s in sn),
    "spectral": lambda sp, sn: -2 * sp + sum(s * s for s in sn) / len(sn),
    "quadratic": lambda sp, sn: (1 - sp) ** 2 + sum(s * s for s in sn) / len(sn),
    "circle": circle,
    "circle through": circle,
    "debiased": lambda sp, sn: corrected(sp, sn, [1.0] * len(sn)),
    "hard": lambda sp, sn: corrected(sp, sn, [math.exp(P["beta"] * s / TAU) for s in sn]),
    "hard of scores": lambda sp, sn: corrected(sp, sn, [math.exp(P["beta"] * s) for s in sn]),
}  # fmt: skip


def data():
    z1, z2, negatives = (torch.tensor(f) for f in (Z1, Z2, NEG))
    return Data(z1, z2, negatives, torch.tensor(LABELS_OF))


def evaluated(form):
    return float(value(form, data(), AT))


@pytest.mark.parametrize("head", ORACLE)
def test_every_loss_of_pairs_is_that_of_loops(head):
    for pairing in PAIRINGS:
        for kind, score in (("cosine", cosine), ("half", half), ("inner", dot)):
            each = [
                ORACLE[head](score(a, p), [score(a, n) for n in negatives]) for a, p, negatives in rows(pairing)
            ]  # fmt: skip
            assert evaluated(Form(head, pairing, kind)) == pytest.approx(sum(each) / len(each), rel=1e-12), pairing


def test_losses_of_the_whole_batch():
    for pairing in PAIRINGS:
        pairs = [(cosine(a, p), [cosine(a, n) for n in ns]) for a, p, ns in rows(pairing)]
        every = [math.exp(s / TAU) for _, sn in pairs for s in sn]
        bound = math.log(sum(every) / len(every)) - sum(sp for sp, _ in pairs) / len(pairs) / TAU
        assert evaluated(Form("mine", pairing, "cosine")) == pytest.approx(bound, rel=1e-12)
        columns = sum(math.exp(sp / TAU) for sp, _ in pairs)
        over = sum(math.log(columns) - sp / TAU for sp, _ in pairs) / len(pairs)
        assert evaluated(Form("over batch", pairing, "cosine")) == pytest.approx(over, rel=1e-12)
    assert set(HEADS) == {*ORACLE, "mine", "over batch", "shift"}


def test_a_shift_along_the_wrong_axis():
    logits = [[cosine(a, b) / TAU for b in Z2] for a in Z1]
    largest = [max(row) for row in logits]
    each = [
        math.log(sum(math.exp(logits[i][j] - largest[j]) for j in range(B))) - (logits[i][i] - largest[i])
        for i in range(B)
    ]  # fmt: skip
    assert evaluated(Form("shift", "across", "cosine")) == pytest.approx(sum(each) / B, rel=1e-12)


def test_kinds_of_scores():
    def of(kind, a, b):
        unit = [x / math.sqrt(dot(x, x)) for x in (a, b)]
        a, b = unit if kind.endswith("-n") else (a, b)
        squares = sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True))
        shifted = sum((float(x) - float(y) + 1e-6) ** 2 for x, y in zip(a, b, strict=True))
        return {
            "half": -squares / 2, "sum": -squares, "mean": -squares / N, "root": -math.sqrt(squares),
            "half+1e-6": -shifted / 2, "root+1e-6": -math.sqrt(shifted),
        }[kind.removesuffix("-n")]  # fmt: skip

    for kind in KINDS["half"]:
        if kind not in ("cosine", "inner"):
            each = [of(kind, a, n) - of(kind, a, p) for a, p, ns in rows("given") for n in ns]
            assert evaluated(Form("simple", "given", kind)) == pytest.approx(sum(each) / len(each), rel=1e-12), kind


@pytest.mark.parametrize("views", [1, 2])
@pytest.mark.parametrize("inside", [False, True])
def test_supcon_is_that_of_loops(views, inside):
    z, labels = ([*Z1, *Z2], [*LABELS_OF, *LABELS_OF]) if views == 2 else (list(Z1), list(LABELS_OF))
    total = 0.0
    for i, anchor in enumerate(z):
        others = [j for j in range(len(z)) if j != i]
        everything = sum(math.exp(cosine(anchor, z[j]) / TAU) for j in others)
        shares = [math.exp(cosine(anchor, z[j]) / TAU) / everything for j in others if labels[j] == labels[i]]
        total -= math.log(sum(shares) / len(shares)) if inside else sum(map(math.log, shares)) / len(shares)
    group = "supcon-in" if inside else "supcon-out"
    taken = Data(torch.tensor(Z1), torch.tensor(Z2) if views == 2 else None, None, torch.tensor(LABELS_OF))
    assert float(value(Form("", group=group), taken, AT)) == pytest.approx(total / len(z), rel=1e-12)


def test_vicreg_and_barlow_are_those_of_numpy():
    def off(c):
        return sum(float(c[i, j]) ** 2 for i in range(N) for j in range(N) if i != j)

    invariance = sum(float(((a - b) ** 2).sum()) for a, b in zip(Z1, Z2, strict=True)) / B
    variance = sum(max(0, 1 - math.sqrt(np.var(z[:, j], ddof=1) + 1e-4)) for z in (Z1, Z2) for j in range(N)) / N
    covariance = sum(off(np.cov(z.T)) / N for z in (Z1, Z2))
    paper = 25 * invariance + 25 * variance + covariance
    assert evaluated(Form("", group="vicreg")) == pytest.approx(paper, rel=1e-12)
    code = 25 * invariance / N + 25 * variance / 2 + covariance
    options = frozenset({"as published code"})
    assert evaluated(Form("", group="vicreg", options=options)) == pytest.approx(code, rel=1e-12)
    c = np.corrcoef(Z1.T, Z2.T)[:N, N:]
    barlow = sum((1 - c[i, i]) ** 2 for i in range(N)) + 0.02 * off(c)
    assert evaluated(Form("", group="barlow")) == pytest.approx(barlow, rel=1e-12)


@pytest.mark.parametrize("layout", [TRIPLES, VIEWS, LABELS])
def test_every_form_has_words_and_a_value(layout):
    assert len(set(known_forms(layout))) == len(known_forms(layout)) > 100
    for form in known_forms(layout)[::5]:
        assert entries_of(form, layout)
        assert value(form, data(), AT).shape == ()
    names = {name for form in forms(layout) for name in entries_of(form, layout)}
    assert names == {name for name, entry in CATALOGUE.items() if layout in entry.layouts}
    plain = [name for form in forms(layout) for name, words in entries_of(form, layout).items() if not words]
    assert set(plain) == names, "every known loss is a form without a difference"


@pytest.mark.parametrize("head", HEADS)
def test_slopes_are_those_of_differences(head):
    """But for the circle loss, whose weights are held fixed."""
    form = Form(head, "across", "cosine")
    free = torch.tensor(Z1, requires_grad=True)
    taken = Data(free, torch.tensor(Z2))
    (slope,) = torch.autograd.grad(value(form, taken, AT), free)
    step = torch.zeros(B, N, dtype=torch.float64)
    step[1, 2] = 1e-6
    up, down = (float(value(form, Data(torch.tensor(Z1) + s * step, torch.tensor(Z2)), AT)) for s in (1, -1))
    close = abs((up - down) / 2e-6 - float(slope[1, 2])) < 1e-7
    assert close != (head in ("circle", "shift"))
