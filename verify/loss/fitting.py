"""Fit a temperature, or one parameter of a loss, where the given ones do not explain a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from verify.loss.batches import SCREEN
from verify.loss.catalogue import TRIPLES, Form, head_of, reduced
from verify.loss.faults import fewest
from verify.loss.observed import LOOSE, Match, Observed, reduced_fits, screened, target
from verify.loss.pairs import WITHOUT_TAU, Setting

GRID = tuple(10 ** (step / 12) for step in range(-30, 31))
COARSE = GRID[::3]
NEAREST, NEAR, REFINED = 10, 0.3, 60
# Heads that depend on tau by the logits alone.
SCALED = frozenset((
    "nce", "no log", "decoupled", "positive twice", "averaged", "over batch", "shift", "logistic", "siglip", "mine",
))  # fmt: skip


def at_others(seen: Observed, forms: Sequence[Form]) -> Iterator[Match]:
    """Forms at another temperature, or with another value of one parameter."""
    if len(set(seen.values[:SCREEN])) == 1:  # as a known loss is nowhere, though rounding makes it look so
        return
    for name, simple in _adjustable(forms, seen):
        off = {form: _angles(seen, form, name) for form in simple}
        for form in _nearest(off):
            angles = off[form]
            place = min(range(len(angles)), key=angles.__getitem__)
            grid = _grid_of(form)
            if place in (0, len(grid) - 1):  # a limit in which many losses are alike
                continue
            low, high = grid[place - 1], grid[place + 1]
            off_at = partial(_off_by, seen, form, name)
            best = _smallest(off_at, low, high)
            if off_at(best) <= LOOSE[seen.precision.name]:
                yield from _at_value(seen, form, name, best)


def _nearest(off: Mapping[Form, list[float]]) -> list[Form]:
    """The forms that come nearest, each of several that are the same function once."""
    result: dict[tuple[float, int], Form] = {}
    for form in sorted(off, key=lambda form: min(off[form])):
        least = min(off[form])
        if least < NEAR and len(result) < NEAREST:
            result.setdefault((round(least, 9), off[form].index(least)), form)
    return list(result.values())


def _grid_of(form: Form) -> tuple[float, ...]:
    return COARSE if form.head in ("debiased", "hard", "hard of scores") or form.group else GRID


def _angles(seen: Observed, form: Form, name: str) -> list[float]:
    """How far the form is from the values of the function at every place of the grid."""
    values = target(seen)
    if name == "tau" and form.head in SCALED and not form.group:
        sp, sn = seen.screen_scores(form)
        inverse = torch.tensor([1 / (seen.at.tau * factor) for factor in GRID], dtype=torch.float64)
        near, far = sp * inverse[:, None, None], sn * inverse[:, None, None, None]
        known = reduced(form, head_of(form)(near, far, replace(seen.at, tau=1.0)), near, far)
        return _all_angles(known, values)
    return [_off(seen, form, _moved(seen.at, name, factor)) for factor in _grid_of(form)]


def _all_angles(known: Tensor, values: Tensor) -> list[float]:
    """`_angle` of every row."""
    along = (known @ values).sign()
    apart = values / values.norm() - along[:, None] * known / known.norm(dim=-1, keepdim=True)
    return apart.norm(dim=-1).nan_to_num(1.0, 1.0, 1.0).tolist()


def _at_value(seen: Observed, form: Form, name: str, factor: float) -> Iterator[Match]:
    at = _moved(seen.at, name, factor)
    number, given = _number(at, name), _number(seen.at, name)
    rounded = float(f"{number:.5g}")
    tried = (rounded, number) if abs(rounded - number) <= 1e-5 * abs(number) else (number,)
    for each in tried:
        there = replace(at, tau=each) if name == "tau" else replace(at, parameters={**at.parameters, name: each})
        fits = _everywhere(seen, reduced_fits(seen, form, there, changed=(f"{name} = {each:.6g}, not {given:g}",)))
        if fits:
            yield from fits
            return


def _everywhere(seen: Observed, fits: Iterator[Match]) -> list[Match]:
    """The fits that are wrong on no generic batch."""
    return [match for match in fits if not any(seen.batches[i].generic for i in match.wrong)]


def _adjustable(forms: Sequence[Form], seen: Observed) -> Iterator[tuple[str, list[Form]]]:
    """Names of parameters with the forms that have them, the simple ones."""
    plain = []
    for form in forms:
        if form.temperature or len(form.options) > 1:
            continue
        if fewest(form, seen.layout.kind) <= (2 if seen.layout.kind == TRIPLES else 1):
            plain.append(form)
    yield "tau", [f for f in plain if f.head not in WITHOUT_TAU and f.group not in ("vicreg", "barlow")]
    few = [f for f in plain if f.kind in ("half", "cosine", "inner") and f.batch == "samples"]
    for name, heads in PARAMETER_HEADS.items():
        chosen = [f for f in few if f.head in heads or f.group in heads]
        if chosen and seen.at.parameters.get(name):
            yield name, chosen


PARAMETER_HEADS = {
    "tau_plus": ("debiased", "hard", "hard of scores"), "beta": ("hard", "hard of scores"), "bias": ("siglip",),
    "gamma": ("circle",), "relaxation": ("circle",), "margin": ("triplet", "hinge"), "off_diagonal": ("barlow",),
    "invariance": ("vicreg",), "variance": ("vicreg",), "covariance": ("vicreg",),
}  # fmt: skip


def _number(at: Setting, name: str) -> float:
    return at.tau if name == "tau" else at.parameters[name]


def _moved(at: Setting, name: str, factor: float) -> Setting:
    if name == "tau":
        return replace(at, tau=at.tau * factor)
    return replace(at, parameters={**at.parameters, name: at.parameters[name] * factor})


def angle(known: Tensor, values: Tensor) -> float:
    """How far two vectors are from being parallel: 0 to 1."""
    if not bool(known.isfinite().all() and values.isfinite().all()):
        return 1.0
    product = float(known.norm() * values.norm())
    if product == 0 or not math.isfinite(product):
        return 1.0
    along = float(known @ values) / product
    apart = values / values.norm() - math.copysign(1.0, along) * known / known.norm()
    return float(apart.norm())


def _off(seen: Observed, form: Form, at: Setting) -> float:
    ((_, known),) = screened(seen, [form], at)
    return angle(known, target(seen))


def _off_by(seen: Observed, form: Form, name: str, factor: float) -> float:
    return _off(seen, form, _moved(seen.at, name, factor))


def _smallest(function: Callable[[float], float], low: float, high: float) -> float:
    """The place of the smallest value in an interval, by golden section in the logarithm."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = math.log(low), math.log(high)
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    at_c, at_d = function(math.exp(c)), function(math.exp(d))
    for _ in range(REFINED):
        if at_c < at_d:
            b, d, at_d = d, c, at_c
            c = b - ratio * (b - a)
            at_c = function(math.exp(c))
        else:
            a, c, at_c = c, d, at_d
            d = a + ratio * (b - a)
            at_d = function(math.exp(d))
    return math.exp((a + b) / 2)
