"""The known losses: references in float64, and the forms of them that a function may have in their place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from verify.loss.groups import OPTIONS, REDUNDANCY, SUPCON, Options
from verify.loss.pairs import HEADS, OF_BATCH, PAIRINGS, SUMMABLE, WITHOUT_TAU, Head, Setting, scores

TRIPLES, VIEWS, LABELS = "triples", "views", "labels"


@dataclass(frozen=True)
class Entry:
    """A known loss: its title, the arguments that it takes, and the pairs, scores and heads that are its own."""

    title: str
    layouts: tuple[str, ...]
    pairings: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    head: str = ""
    tau_in_front: bool = False
    least: int = 1


IN_BATCH = ("views", "across", "cross")
CATALOGUE: Mapping[str, Entry] = {
    "simple": Entry("the simple loss", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("half",), "simple"),
    "triplet": Entry("the soft triplet loss", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("half",), "triplet"),
    "infonce": Entry("InfoNCE", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("half",), "nce", True),
    "ntxent": Entry("NT-Xent over the batch", (TRIPLES, VIEWS), ("views",), ("cosine",), "nce"),
    "ntxent-given": Entry("NT-Xent over the given negatives", (TRIPLES,), ("given",), ("cosine",), "nce"),
    "infonce-batch": Entry(
        "InfoNCE of cosines in one direction (MoCo)", (VIEWS,), ("across", "back"), ("cosine",), "nce"
    ),
    "clip": Entry("InfoNCE of cosines in both directions (CLIP)", (VIEWS,), ("cross",), ("cosine",), "nce"),
    "dcl": Entry("DCL", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("cosine", "half"), "decoupled"),
    "debiased": Entry("the debiased loss", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("cosine", "half"), "debiased"),
    "hard": Entry("the hard negative loss", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("cosine", "half"), "hard"),
    "siglip": Entry("SigLIP", (TRIPLES, VIEWS), ("given", "across"), ("cosine",), "siglip"),
    "logistic": Entry(
        "the logistic loss", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("cosine", "half", "inner"), "logistic"
    ),
    "mine": Entry("MINE", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("cosine", "half", "inner"), "mine"),
    "quadratic": Entry("the quadratic loss", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("cosine", "inner"), "quadratic"),
    "spectral": Entry("the spectral loss", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("inner", "cosine"), "spectral"),
    "circle": Entry("the circle loss", (TRIPLES, VIEWS), ("given", *IN_BATCH), ("cosine",), "circle"),
    "vicreg": Entry("VICReg", (VIEWS,), least=2),
    "barlow": Entry("Barlow Twins", (VIEWS,), least=2),
    "supcon-out": Entry("SupCon (mean outside of the logarithm)", (LABELS,)),
    "supcon-in": Entry("SupCon (mean inside of the logarithm)", (LABELS,)),
}  # fmt: skip
TITLES: Mapping[str, str] = {name: entry.title for name, entry in CATALOGUE.items()}
FORMULA = "formula"


@dataclass(frozen=True)
class Data:
    """The arguments of a loss: outputs (..., B, n), negatives (..., B, H, n), labels (B,)."""

    f_1: Tensor
    f_plus: Tensor | None = None
    f_minus: Tensor | None = None
    labels: Tensor | None = None


@dataclass(frozen=True)
class Form:
    """A loss of pairs with its modifications, or (where `group` is set) one of `verify.loss.groups` with options."""

    head: str = "nce"
    pairing: str = "given"
    kind: str = "half"
    temperature: str = ""
    batch: str = "samples"
    reduction: str = "mean"
    summed: bool = False
    group: str = ""
    options: Options = frozenset()
    epsilon: tuple[str, float] | None = None
    base: str = "half"  # the scores of a formula
    own: Any = field(default=None, compare=False)  # the head of a formula

    def temperature_at(self, tau: float) -> float:
        return {"": tau, "missing": 1.0, "inverted": 1 / tau, "twice": tau * tau}[self.temperature]


def setting_of(form: Form, at: Setting) -> Setting:
    """The setting with the temperature that the form uses."""
    return Setting(form.temperature_at(at.tau), at.parameters, at.torch_softplus)


def value(form: Form, data: Data, at: Setting) -> Tensor:
    """The form on a batch, differentiable; leading axes stay."""
    used = setting_of(form, at)
    if form.group in SUPCON:
        z, labels = _joined(data)
        return SUPCON[form.group](z, labels, used, form.options)
    if form.group:
        return REDUNDANCY[form.group](data.f_1, _needed(data.f_plus), used, form.options)
    sp, sn = pair_scores(form, data)
    return reduced(form, head_of(form)(sp, sn, used), sp, sn)


def pair_scores(form: Form, data: Data) -> tuple[Tensor, Tensor]:
    """Scores of the pairs of a form; means over the batch where the form has those."""
    sp, sn = scores(form.kind, PAIRINGS[form.pairing](data.f_1, data.f_plus, data.f_minus))
    return (sp.mean(-1, keepdim=True), sn.mean(-2, keepdim=True)) if form.batch == "means" else (sp, sn)


def head_of(form: Form) -> Head:
    """The loss of scores of a form."""
    if form.own is not None:
        return form.own
    return with_epsilon(form) if form.epsilon is not None else HEADS[form.head]


def reduced(form: Form, each: Tensor, sp: Tensor, sn: Tensor) -> Tensor:
    """Mean or sum over the rows, and over the negatives where they are summed."""
    if form.head in OF_BATCH:
        return each
    total = each.mean(-1)
    if form.reduction == "sum":
        total = total * sp.shape[-1]
    return total * sn.shape[-1] if form.summed else total


def with_epsilon(form: Form) -> Head:
    """InfoNCE of the exponentials themselves, with an epsilon where the form has it."""
    place, epsilon = form.epsilon or ("", 0.0)

    def head(sp: Tensor, sn: Tensor, at: Setting) -> Tensor:
        near, far = (sp / at.tau).exp(), (sn / at.tau).exp().sum(-1)
        total = near + far + (epsilon if place in ("denominator", "both") else 0.0)
        share = near / total + (epsilon if place in ("log", "both") else 0.0)
        if place == "numerator":
            share = (near + epsilon) / (total + epsilon)
        return -share.log()

    return head


def of_formula(own: Any) -> Form:
    """The form of a formula itself."""
    return Form(FORMULA, kind=own.kind, base=own.kind, own=own)


def _needed(views: Tensor | None) -> Tensor:
    if views is None:
        raise ValueError("a loss of two views needs both")
    return views


def _joined(data: Data) -> tuple[Tensor, Tensor]:
    """All outputs and their labels; two views have the labels twice."""
    labels = data.labels
    if labels is None:
        raise ValueError("a loss of labels needs them")
    if data.f_plus is None:
        return data.f_1, labels
    return torch.cat([data.f_1, data.f_plus], -2), torch.cat([labels, labels])


# All forms of the arguments that a function takes.

NCE_HEADS = ("nce", "no log", "decoupled", "positive twice", "averaged", "over batch", "shift")
_ALL_KINDS = ("half", "sum", "mean", "root", "cosine", "inner", "half-n", "sum-n", "mean-n", "root-n")
_FEW_KINDS = ("half", "sum", "mean", "root", "cosine", "inner", "sum-n", "root-n")
_TEMPERATURES = ("", "missing", "inverted", "twice")
_SUPCON_OPTIONS = (
    "inner", "half", "half-n", "root", "self kept", "positives left out", "positives summed", "first anchors",
    "all anchors counted", "sum",
)  # fmt: skip


@lru_cache(maxsize=8)
def known_forms(layout: str) -> tuple[Form, ...]:
    """Every known loss of a layout with its modifications."""
    return tuple(forms(layout))


def forms(layout: str, own: Any = None) -> Iterator[Form]:
    """Every known loss of a layout with its modifications; of `own`, the head of a formula, those of the formula."""
    if own is not None:
        yield from _own_forms(own)
    elif layout == LABELS:
        yield from _label_forms()
    elif layout == VIEWS:
        yield from _pair_forms(("views", "across", "cross"), _FEW_KINDS, tuple(HEADS))
        yield from _pair_forms(("back", "anchors", "self", "within"), _FEW_KINDS, NCE_HEADS)
        for group in REDUNDANCY:
            for options in OPTIONS[group]:
                yield Form("", group=group, options=options)
                if group == "vicreg":
                    yield Form("", group=group, options=options | {"as published code"})
    else:
        yield from _pair_forms(("given",), _ALL_KINDS, tuple(HEADS))
        yield from _pair_forms(("given",), _ALL_KINDS, NCE_HEADS, "means")
        yield from _pair_forms(("given",), ("half", "sum", "mean"), ("triplet", "hinge"), "means")
        yield from _pair_forms(("first", "row", "pool"), ("half", "cosine"), tuple(HEADS))
        yield from _pair_forms(
            ("views", "across", "cross", "anchors", "back"), ("half", "cosine", "inner"), NCE_HEADS[:3]
        )


def _pair_forms(
    pairings: Sequence[str], kinds: Sequence[str], heads: Sequence[str], batch: str = "samples"
) -> Iterator[Form]:
    for pairing in pairings:
        for kind in kinds:
            for temperature in _TEMPERATURES:
                for head in heads:
                    if not (temperature and head in WITHOUT_TAU):
                        yield Form(head, pairing, kind, temperature, batch)


def _own_forms(own: Any) -> Iterator[Form]:
    for pairing in ("given", "row", "pool", *(("first",) if own.negatives == 1 else ())):
        for kind in _ALL_KINDS if pairing == "given" else ("half", "cosine"):
            for temperature in _TEMPERATURES:
                for batch in ("samples", "means") if pairing == "given" else ("samples",):
                    yield Form(FORMULA, pairing, kind, temperature, batch, base=own.kind, own=own)


def _label_forms() -> Iterator[Form]:
    for group in SUPCON:
        for size in range(3):
            for options in combinations(_SUPCON_OPTIONS, size):
                for temperature in _TEMPERATURES:
                    yield Form("", group=group, options=frozenset(options), temperature=temperature)


def reductions(form: Form, alone: bool) -> Iterator[tuple[str, bool]]:
    """The reductions over rows and negatives that a form may have; `alone` is for one negative."""
    yield "mean", False
    if form.group or form.head in OF_BATCH:
        return
    if form.batch != "means":
        yield "sum", False
    if form.head in SUMMABLE and not alone:
        yield "mean", True
        if form.batch != "means":
            yield "sum", True
