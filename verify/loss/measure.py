"""Statement 4 for any loss in floating point: autograd of its literal sum against V^xi vec W.

Populations have no augmentation, so that theta is 0 and the statement an identity. The left side differentiates the
user's loss; the right side has only the derived pair weights and the connections. Where there are too many tuples of
negatives to list, some are drawn: without augmentation the identity holds tuple by tuple. There is no a-priori bound of
the rounding error of an arbitrary loss: it is measured, from the same computation in single precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import TYPE_CHECKING, Any

from hltm.base.interrupts import deferred_interrupt
from verify.engine.evidence import Evidence, Measurement, tally
from verify.instances.in_torch import arrays_of
from verify.tolerance.rounding import measured_tolerance

if TYPE_CHECKING:
    import sympy
    import torch
    from torch import Tensor

TUPLE_LIMIT = 20_000
# Tuples of negatives that are drawn where there are more than the limit.
DRAWN, DRAWN_POINTS = 256, 3
# A tolerance near the size of the sides decides nothing.
USELESS = 1e-6
WIDTHS = ((3, 2), (3, 4, 2), (2, 3, 3, 2), (4, 3, 1))
SLOPES = (0.0, 0.25, 1.0)


# Losses of `theory` in torch, by a walk over the SymPy tree; no text is evaluated.


class NoTorchFormError(Exception):
    """The expression has a function without a torch form."""


def evaluate(expression: sympy.Expr, values: Mapping[sympy.Symbol, Tensor]) -> Tensor:
    """The value of an expression, differentiable, at tensors that broadcast."""
    (result,) = evaluate_all([expression], values)
    return result


def evaluate_all(expressions: Sequence[sympy.Expr], values: Mapping[sympy.Symbol, Tensor]) -> list[Tensor]:
    """The values of several expressions; common subexpressions are computed once."""
    done: dict[Any, Tensor] = {}
    stack = [*expressions]
    like = next(iter(values.values()))
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
        elif node in values:
            done[stack.pop()] = values[node]
        elif node.is_Rational or (node.is_number and not node.args):
            done[stack.pop()] = like.new_tensor(_number(node))
        elif not node.args:
            raise NoTorchFormError(f"{node} has no value")
        elif missing := [argument for argument in node.args if argument not in done]:
            stack += missing
        else:
            done[stack.pop()] = _applied(node, [done[argument] for argument in node.args])
    return [done[expression] for expression in expressions]


def _number(node: sympy.Expr) -> float:
    try:
        number = float(node)
    except (OverflowError, TypeError, ValueError):
        number = math.inf
    if not math.isfinite(number):
        raise NoTorchFormError("a number is beyond the range of floats")
    return number


def _applied(node: sympy.Expr, arguments: list[Tensor]) -> Tensor:
    """One operation on values."""
    import sympy
    import torch

    if isinstance(node, sympy.Pow):
        return _power(node, arguments)
    if isinstance(node, sympy.Heaviside):
        # Its second argument is the value at 0.
        return torch.heaviside(arguments[0].detach(), arguments[1].to(arguments[0]))
    table: dict[Any, Callable[[list[Tensor]], Tensor]] = {
        sympy.Add: lambda a: reduce(torch.add, a),
        sympy.Mul: lambda a: reduce(torch.mul, a),
        sympy.exp: lambda a: a[0].exp(),
        sympy.log: lambda a: a[0].log(),
        sympy.Max: lambda a: reduce(torch.maximum, a),
        sympy.Min: lambda a: reduce(torch.minimum, a),
    }
    for kind, apply in table.items():
        if isinstance(node, kind):
            return apply(arguments)
    raise NoTorchFormError(f"{type(node).__name__} has no form in torch")


def _power(node: sympy.Pow, arguments: list[Tensor]) -> Tensor:
    import sympy

    base, exponent = node.args
    if base is sympy.E:
        return arguments[1].exp()
    if exponent == sympy.Rational(1, 2):
        return arguments[0].sqrt()
    if exponent.is_Integer:
        return arguments[0] ** int(exponent)
    return arguments[0] ** arguments[1]


@dataclass(frozen=True)
class Case:
    """Seed and parameters of a network and a population."""

    seed: int
    widths: tuple[int, ...]
    slope: float
    points: int
    tau: float
    margin: float


def cases(count: int, seed: int, negatives: int) -> Iterator[Case]:
    """Different networks, populations and parameters; fewer points where there are many negatives."""
    points = next((m for m in (4, 3, 2) if m ** (negatives + 1) <= TUPLE_LIMIT), DRAWN_POINTS)
    for i in range(count):
        tau, margin = (0.5, 1.0, 2.0)[i % 3], (0.25, -0.5)[i % 2]
        yield Case(seed + i, WIDTHS[i % len(WIDTHS)], SLOPES[i % len(SLOPES)], points, tau, margin)


def evidence(
    loss: sympy.Expr, weights: Sequence[sympy.Expr], count: int = 24, seed: int = 0, factor: float = 1.0
) -> Evidence:
    """Statement 4 for a loss and its pair weights on random networks and populations."""
    with deferred_interrupt():
        import torch  # noqa: F401
    detail = "no augmentation: autograd of the literal sum = V^xi vec W with the derived xi"
    if 2 ** (len(weights) + 1) > TUPLE_LIMIT:
        detail += f"; {DRAWN} drawn tuples of negatives for each anchor"
    return tally(
        "float", "loss", cases(count, seed, len(weights)), lambda case: measure(loss, weights, case, factor),
        at_least=-(-count // 2), detail=detail,
    )  # fmt: skip


def measure(loss: sympy.Expr, weights: Sequence[sympy.Expr], case: Case, factor: float = 1.0) -> Measurement:
    """Both sides on one network and population."""
    import numpy as np
    import torch

    try:
        double = _sides(loss, weights, case, torch.float64, factor)
        single = _sides(loss, weights, case, torch.float32, factor)
    except NoTorchFormError as error:
        return Measurement(0.0, 0.0, False, str(error))
    left, right = double
    residual = max(float(np.max(np.abs(a - b))) for a, b in zip(left, right, strict=True))
    scale = max(float(np.max(np.abs(a))) for a in (*left, *right))
    tolerance = max(measured_tolerance(a, b) for a, b in zip(double, single, strict=True))
    if not np.isfinite(residual + tolerance) or scale == 0 or tolerance > USELESS * scale:
        return Measurement(residual, tolerance, False, "a side vanishes, overflows, or rounding hides the difference")
    return Measurement(residual, tolerance)


def _sides(
    loss: sympy.Expr, weights: Sequence[sympy.Expr], case: Case, dtype: torch.dtype, factor: float
) -> tuple[list[Any], list[Any]]:
    """-E[grad] by differentiation, and the operator applied to the weights; one matrix for each layer."""
    import torch

    import numeric

    generator = torch.Generator().manual_seed(case.seed)
    tower = [w.to(dtype) for w in numeric.random_weights(case.widths, generator=generator)]
    points = torch.randn(case.points, case.widths[0], generator=generator, dtype=torch.float64).to(dtype)
    shares = torch.rand(case.points, generator=generator, dtype=torch.float64).to(dtype) + 0.25
    shares = shares / shares.sum()
    if case.points ** (len(weights) + 1) > TUPLE_LIMIT:
        tuples = torch.randint(case.points, (DRAWN, len(weights)), generator=generator)
        joint = (shares[:, None] / DRAWN).expand(-1, DRAWN)
    else:
        tuples = torch.cartesian_prod(*[torch.arange(case.points)] * len(weights)).reshape(-1, len(weights))
        joint = shares[:, None] * shares[tuples].prod(-1)
    free = [w.clone().requires_grad_() for w in tower]
    values = _values(numeric.forward(free, points, case.slope), tuples, case)
    total = (joint * evaluate(loss, values)).sum()
    slopes = torch.autograd.grad(total, free, allow_unused=True) if total.requires_grad else [None] * len(free)
    left = [torch.zeros_like(w) if g is None else -g for w, g in zip(free, slopes, strict=True)]
    values = {symbol: value.detach() for symbol, value in values.items()}
    right = _operator(tower, points, case, [joint * xi for xi in evaluate_all(weights, values)], tuples)
    return arrays_of(left), arrays_of([factor * matrix for matrix in right])


def _values(outputs: Tensor, tuples: Tensor, case: Case) -> dict[sympy.Symbol, Tensor]:
    """``r_+``, ``r_1`` .. ``r_H`` for every anchor (rows) and tuple of negatives (columns), and the parameters."""
    from theory.core.notation import negative, r_0, r_p, tau

    distance = 0.5 * (outputs[:, None] - outputs[None, :]).square().sum(-1)
    values = {r_p: distance.diagonal()[:, None].expand(-1, len(tuples))}
    for k in range(tuples.shape[1]):
        values[negative(k + 1)] = distance[:, tuples[:, k]]
    return {**values, tau: outputs.new_tensor(case.tau), r_0: outputs.new_tensor(case.margin)}


def _operator(tower: list[Tensor], points: Tensor, case: Case, terms: list[Tensor], tuples: Tensor) -> list[Tensor]:
    """``sum_{m, n} omega_mn (K_m - K_n)(K_m - K_n)^T vec W`` with omega the sum of the terms that meet m and n."""
    import torch

    import numeric

    omega = torch.zeros(len(points), len(points), dtype=points.dtype)
    for k, term in enumerate(terms):
        omega.index_add_(1, tuples[:, k], term.expand(len(points), len(tuples)))
    result = []
    for w, connection in zip(tower, numeric.connections(tower, points, case.slope), strict=True):
        gap = connection[:, None] - connection[None, :]
        pulled = torch.einsum("mnpi,p->mni", gap, numeric.vec(w))
        result.append(numeric.unvec(torch.einsum("mn,mnpi,mni->p", omega, gap, pulled), w.shape[0]))
    return result
