"""The order of theta where a pair of points lies on a kink of the loss, and where none does, measured.

One layer with one output, ``f = K = x`` on the points ``-a`` and ``a``; the augmentations of x are ``x + 2 s`` (weight
1/3) and ``x - s`` (weight 2/3), whose mean is x and whose law is not symmetric. The expectation is a finite sum.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

from verify.loss.measure import declared_values, evaluate

if TYPE_CHECKING:
    import sympy

    from theory.losses.loss import Loss

SPREADS = (1 / 64, 1 / 128, 1 / 256)
COPIES = ((1 / 3, 2.0), (2 / 3, -1.0))
FARTHEST, CELLS, STEPS = 4.0, 400, 80


@dataclass(frozen=True)
class Orders:
    """The distance of the kink, and fitted exponents of theta in s on it and off it (None where theta is 0)."""

    distance: float
    on: float | None
    off: float | None

    @property
    def text(self) -> str:
        """Both in a line."""
        on, off = (
            "theta = 0" if order is None else f"theta = O(s^{round(order, 1) + 0.0:.1f})"
            for order in (self.on, self.off)
        )
        return f"a pair on the kink r = {self.distance:.6g}: {on}; no pair on it: {off} (measured)"


def orders(loss: Loss, xi: sympy.Expr) -> Orders | None:
    """Orders of theta for a loss with one positive and one negative, or None where no kink is found."""
    from theory.core.notation import negative

    values = {"tau": 1.0, "r_0": 1.0, **dict(declared_values([p for p in loss.parameters if p.value is None], 0))}
    at = {s: values[s.name] for s in loss.expression.free_symbols if s.name in values}
    xi = xi.xreplace({s: negative(1) for s in xi.free_symbols if s.name == "r"})
    place = _kink(xi, at)
    if place is None:
        return None
    away = [place * share for share in (0.6, 1.7)]
    off = next((order for r in away if (order := _order(loss, xi, at, r)) is not None), None)
    return Orders(place, _order(loss, xi, at, place), off)


def _value(expression: sympy.Expr, at: Mapping[sympy.Symbol, float], **distances: float) -> float:
    import torch

    named = dict(at)
    for symbol in expression.free_symbols:
        if symbol.name in distances:
            named[symbol] = distances[symbol.name]
    tensors = {symbol: torch.tensor(float(value), dtype=torch.float64) for symbol, value in named.items()}
    if not tensors:
        return float(expression)
    return float(evaluate(expression, tensors))


def _kink(xi: sympy.Expr, at: Mapping[sympy.Symbol, float]) -> float | None:
    """The first distance at which a step or a maximum of the weight changes sides."""
    import sympy

    gaps = [node.args[0] for node in xi.atoms(sympy.Heaviside)]
    gaps += [node.args[0] - node.args[1] for node in xi.atoms(sympy.Max, sympy.Min)]
    for gap in sorted(gaps, key=str):
        last = _value(gap, at, r_1=FARTHEST / CELLS)
        for cell in range(2, CELLS + 1):
            here = _value(gap, at, r_1=cell * FARTHEST / CELLS)
            if last * here < 0 or here == 0:
                return _crossing(gap, at, (cell - 1) * FARTHEST / CELLS, cell * FARTHEST / CELLS)
            last = here
    return None


def _crossing(gap: sympy.Expr, at: Mapping[sympy.Symbol, float], low: float, high: float) -> float:
    first = _value(gap, at, r_1=low)
    for _ in range(STEPS):
        middle = (low + high) / 2
        here = _value(gap, at, r_1=middle)
        if here == 0:
            return middle
        low, high = (middle, high) if first * here > 0 else (low, middle)
    return high


def _order(loss: Loss, xi: sympy.Expr, at: Mapping[sympy.Symbol, float], distance: float) -> float | None:
    sizes = [abs(_theta(loss, xi, at, distance, spread)) for spread in SPREADS]
    if min(sizes) < 1e-14:
        return None
    return math.log(sizes[0] / sizes[-1]) / math.log(SPREADS[0] / SPREADS[-1])


def _theta(loss: Loss, xi: sympy.Expr, at: Mapping[sympy.Symbol, float], distance: float, spread: float) -> float:
    """Minus the expected gradient less its leading term, for the weight 1 of the layer."""
    from theory.core.notation import negative, r_p
    from theory.losses.loss import derivative

    slopes = [derivative(loss.expression, symbol) for symbol in (r_p, negative(1))]
    a = math.sqrt(distance / 2)
    update = lead = 0.0
    for x, y in product((-a, a), repeat=2):
        for (p, d), (q, e), (w, g) in product(COPIES, repeat=3):
            first, second, other = x + spread * d, x + spread * e, y + spread * g
            near, far = (first - second) ** 2, (first - other) ** 2
            here = {"r_p": near / 2, "r_1": far / 2}
            value = _value(slopes[0], at, **here) * near + _value(slopes[1], at, **here) * far
            update -= p * q * w * value / 4
        lead += _value(xi, at, r_1=(x - y) ** 2 / 2) * (x - y) ** 2 / 4
    return update - lead
