"""Match a torch function with the known losses and their modifications.

A match is up to a factor, a constant or another temperature. Those are fitted, and have to explain every batch to the
rounding of both sides, which is estimated batch by batch. A fit without a constant at the given temperature is
preferred to one with a constant, and that to one at another temperature.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from verify.loss.batches import Layout
from verify.loss.catalogue import CATALOGUE, FORMULA, TITLES, TRIPLES, Form, reductions
from verify.loss.faults import entries_of, fewest
from verify.loss.fitting import angle, at_others
from verify.loss.observed import (
    AGREES,
    LOOSE,
    UNDEFINED,
    Match,
    Observed,
    gradient_tolerance,
    reduced_fits,
    reference_of,
    rounded_factor,
    screened,
    target,
)

# The search.

MOST = 4  # of the batches of one shape, as some may be lost to rounding


def matches(seen: Observed, forms: Sequence[Form]) -> list[Match]:
    """The simplest form of each known loss that has the values of the function."""
    best: dict[str, Match] = {}
    for stage in (_at_given, _with_constant, _with_epsilon, at_others, _by_gradient):
        if best and not (stage is at_others and min(len(match.differences) for match in best.values()) > 1):
            continue
        for match in stage(seen, forms):
            for loss, differences in named(match, seen.layout).items():
                each = replace(match, loss=loss, differences=differences, factor=in_front(match, loss))
                kept = best.get(loss)
                if kept is None or _order(each) < _order(kept):
                    best[loss] = each
    return list(best.values())


def _order(match: Match) -> tuple[int, int, int]:
    return len(match.wrong) > 0, len(match.differences), -match.agreeing


def in_front(match: Match, loss: str) -> float:
    """The factor relative to the known loss, which may have a tau in front."""
    entry = CATALOGUE.get(loss)
    if entry is not None and entry.tau_in_front and match.form.head != "no log":
        return match.factor / match.form.temperature_at(match.at.tau)
    return match.factor


def raw_factor(match: Match) -> float:
    """The factor relative to the form itself."""
    entry = CATALOGUE.get(match.loss)
    if entry is not None and entry.tau_in_front and match.form.head != "no log":
        return match.factor * match.form.temperature_at(match.at.tau)
    return match.factor


def named(match: Match, layout: Layout) -> dict[str, tuple[str, ...]]:
    """The known losses of a match, with all differences in words."""
    extra = match.changed
    alone = layout.kind == TRIPLES and (layout.negatives or 1) == 1 and match.form.pairing in ("given", "first", "row")
    if match.factor < 0:
        extra = (*extra, "the sign is reversed")
    if match.by_gradient:
        extra = (*extra, "gradients equal, the values are not, and do not differ by one constant")
    # Without further negatives DCL is the simple loss.
    losses = entries_of(match.form, layout.kind)
    return {loss: (*words, *extra) for loss, words in losses.items() if not (alone and match.form.head == "decoupled")}


def _proportional(known: Tensor, values: Tensor, loose: float, with_constant: bool = False) -> bool:
    """Whether most values on the batches of one shape are a factor times those of a form, and a constant."""
    pairs = [(k, v) for k, v in zip(known.tolist(), values.tolist(), strict=True) if math.isfinite(k + v)]
    if len(pairs) < MOST:
        return False
    if with_constant:
        means = [sum(column) / len(pairs) for column in zip(*pairs, strict=True)]
        pairs = [(k - means[0], v - means[1]) for k, v in pairs]
    size = max(abs(v) for _, v in pairs)
    wanted = len(pairs) if with_constant else MOST
    for k, v in sorted(pairs, key=lambda pair: -abs(pair[0]))[:3]:
        if k and v and sum(abs(b - v / k * a) <= loose * size for a, b in pairs) >= wanted:
            return True
    return False


def _at_given(seen: Observed, forms: Sequence[Form]) -> Iterator[Match]:
    values, loose = target(seen), LOOSE[seen.precision.name]
    near = [form for form, known in screened(seen, forms, seen.at) if _proportional(known, values, loose)]
    yield from _simple_first(seen, near, False)


def _simple_first(seen: Observed, near: Sequence[Form], with_constant: bool) -> Iterator[Match]:
    """The fits of forms with few differences; forms with more are not tried where one fits everywhere."""
    enough = 9
    for form in sorted(near, key=lambda form: fewest(form, seen.layout.kind)):
        count = fewest(form, seen.layout.kind)
        if count > enough or _redundant(form, seen.layout):
            continue
        for match in reduced_fits(seen, form, seen.at, with_constant):
            if not match.wrong:
                enough = min(enough, count + 1)
            yield match


def _redundant(form: Form, layout: Layout) -> bool:
    """Whether a form is another one where there is one negative."""
    alone = layout.kind == TRIPLES and (layout.negatives or 1) == 1
    return alone and (form.pairing == "first" or form.head == "averaged")


def _with_constant(seen: Observed, forms: Sequence[Form]) -> Iterator[Match]:
    values, loose = target(seen), LOOSE[seen.precision.name]
    near = [form for form, known in screened(seen, forms, seen.at) if _proportional(known, values, loose, True)]
    yield from _simple_first(seen, near, True)


EPSILONS = (*(10.0**-k for k in range(2, 17)), 2.0**-23, 2.0**-52)


def _with_epsilon(seen: Observed, forms: Sequence[Form]) -> Iterator[Match]:
    """InfoNCE with an epsilon that keeps a logarithm or a distance from 0."""
    pairs = {(f.pairing, f.kind) for f in forms if f.head == "nce" and f.kind in ("half", "sum", "cosine", "inner")}
    usual = sorted(p for p in pairs if p[0] in ("given", "views", "across", "cross"))
    tried = [
        Form("nce", pairing, kind, epsilon=(place, epsilon))
        for pairing, kind in usual
        for place in ("log", "denominator", "numerator", "both")
        for epsilon in EPSILONS
    ]
    tried += [
        replace(form, kind=f"{form.kind}+1e-6")
        for form in forms
        if form.kind in ("half", "root") and form.head in ("nce", "triplet", "simple", "hinge")
        and form.batch == "samples" and not form.temperature
    ]  # fmt: skip
    yield from _at_given(seen, tried)


def _by_gradient(seen: Observed, forms: Sequence[Form]) -> Iterator[Match]:
    """Surrogates with the gradient of a known loss, such as constants that depend on the size of the batch."""
    generic = [i for i, batch in enumerate(seen.batches) if batch.generic]
    if any(seen.answers[i].gradients is None for i in generic):
        return
    ours = [seen.answers[i].gradients or () for i in generic]
    for form in forms:
        if fewest(form, seen.layout.kind) > 1:
            continue
        first = reference_of(form, seen.batches[generic[0]], seen.at)
        if not _parallel(first.gradients, ours[0], LOOSE[seen.precision.name]):
            continue
        for reduction, summed in reductions(form, False):
            each = replace(form, reduction=reduction, summed=summed)
            match = _gradient_match(seen, each, generic)
            if match is not None:
                yield match


def _parallel(known: Sequence[Tensor], ours: Sequence[Tensor], loose: float) -> bool:
    a, b = (torch.cat([g.reshape(-1) for g in each]) for each in (known, ours))
    return bool(a.isfinite().all() and b.isfinite().all()) and angle(a, b) <= loose


def _gradient_match(seen: Observed, form: Form, generic: Sequence[int]) -> Match | None:
    references = seen.reference(form, seen.at)
    largest = max(generic, key=lambda i: max(float(g.abs().max()) for g in references[i].gradients))
    known = torch.cat([g.reshape(-1) for g in references[largest].gradients])
    ours = torch.cat([g.reshape(-1) for g in seen.answers[largest].gradients or ()])
    place = int(known.abs().argmax())
    if float(known[place]) == 0 or float(ours[place]) == 0:
        return None
    factor = rounded_factor(float(ours[place] / known[place]))
    for i in generic:
        allowed = gradient_tolerance(seen, i, references[i], factor)
        for a, b in zip(seen.answers[i].gradients or (), references[i].gradients, strict=True):
            if not float((a - factor * b).abs().max()) <= allowed:
                return None
    result = tuple(AGREES if i in set(generic) else UNDEFINED for i in range(len(seen.batches)))
    return Match(form, "", factor, 0.0, seen.at, (), (), result, by_gradient=True)


def title_of(loss: str) -> str:
    """The title of a known loss, or of a formula."""
    return "the formula" if loss == FORMULA else TITLES[loss]
