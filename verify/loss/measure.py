"""Statement 4 for any loss in floating point: autograd of its literal sum against V^xi vec W.

On the sphere outputs are normalised, and the general form is measured: ``E[xi (K - K')(f - f')]``.

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

    from theory.losses.parameters import Parameter

TUPLE_LIMIT = 20_000
# Tuples of negatives that are drawn where there are more than the limit.
DRAWN, DRAWN_POINTS = 256, 3
# A tolerance near the size of the sides decides nothing.
USELESS = 1e-6
WIDTHS = ((3, 2), (3, 4, 2), (2, 3, 3, 2), (4, 3, 1))
SPHERE_WIDTHS = ((3, 2), (3, 4, 2), (2, 3, 3, 2), (4, 3, 3))
SLOPES = (0.0, 0.25, 1.0)
# A loss with a margin and a kink has slope 0 nearly everywhere at a small margin.
MARGINS, WIDE_MARGINS = (0.25, -0.5), (2.0, 0.75, 4.0)


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
    declared: tuple[tuple[str, float], ...] = ()

    @property
    def values(self) -> dict[str, float]:
        """Values of all parameters by name."""
        return {"tau": self.tau, "r_0": self.margin, **dict(self.declared)}


def declared_values(parameters: Sequence[Parameter], number: int) -> tuple[tuple[str, float], ...]:
    """Values of declared parameters, different from instance to instance."""
    result = []
    for place, parameter in enumerate(parameters):
        turn = number + place
        if parameter.low is not None and parameter.high is not None:
            value = float(parameter.low + (parameter.high - parameter.low) * (1 + turn % 3) / 4)
        elif parameter.kind == "real":
            value = (0.25, -0.5, 1.5)[turn % 3]
        else:
            value = (0.5, 1.0, 2.0)[turn % 3]
        result.append((parameter.name, value))
    return tuple(result)


def cases(
    count: int,
    seed: int,
    negatives: int,
    parameters: Sequence[Parameter] = (),
    sphere: bool = False,
    margins: Sequence[float] = MARGINS,
) -> Iterator[Case]:
    """Different networks, populations and parameters; fewer points where there are many negatives."""
    points = next((m for m in (4, 3, 2) if m ** (negatives + 1) <= TUPLE_LIMIT), DRAWN_POINTS)
    widths = SPHERE_WIDTHS if sphere else WIDTHS
    free = [parameter for parameter in parameters if parameter.value is None]
    for i in range(count):
        tau, margin = (0.5, 1.0, 2.0)[i % 3], margins[i % len(margins)]
        declared = declared_values(free, i)
        yield Case(seed + i, widths[i % len(widths)], SLOPES[i % len(SLOPES)], points, tau, margin, declared)


def evidence(
    loss: sympy.Expr,
    weights: Sequence[sympy.Expr],
    count: int = 24,
    seed: int = 0,
    factor: float = 1.0,
    parameters: Sequence[Parameter] = (),
    sphere: bool = False,
    margins: Sequence[float] = MARGINS,
) -> Evidence:
    """Statement 4 for a loss and its pair weights on random networks and populations."""
    with deferred_interrupt():
        import torch  # noqa: F401
    right = "E[xi (K - K')(f - f')]" if sphere else "V^xi vec W"
    detail = f"no augmentation: autograd of the literal sum = {right} with the derived xi"
    if 2 ** (len(weights) + 1) > TUPLE_LIMIT:
        detail += f"; {DRAWN} drawn tuples of negatives for each anchor"
    return tally(
        "float", "loss", cases(count, seed, len(weights), parameters, sphere, margins),
        lambda case: measure(loss, weights, case, factor, sphere), at_least=-(-count // 2), detail=detail,
    )  # fmt: skip


Matrices = tuple[list[Any], list[Any]]


def measure(
    loss: sympy.Expr, weights: Sequence[sympy.Expr], case: Case, factor: float = 1.0, sphere: bool = False
) -> Measurement:
    """Both sides on one network and population."""
    return compared(lambda dtype: _sides(loss, weights, case, dtype, factor, sphere))


def compared(sides: Callable[[torch.dtype], Matrices]) -> Measurement:
    """Two sides in double precision, with the rounding that single precision shows."""
    import numpy as np
    import torch

    try:
        double, single = sides(torch.float64), sides(torch.float32)
    except NoTorchFormError as error:
        return Measurement(0.0, 0.0, False, str(error))
    left, right = double
    if not all(np.isfinite(matrix).all() for side in (*double, *single) for matrix in side):
        return Measurement(0.0, 0.0, False, "a side is not finite")
    residual = max(float(np.max(np.abs(a - b))) for a, b in zip(left, right, strict=True))
    scale = max(float(np.max(np.abs(a))) for a in (*left, *right))
    tolerance = max(measured_tolerance(a, b) for a, b in zip(double, single, strict=True))
    if not np.isfinite(residual + tolerance) or scale == 0 or tolerance > USELESS * scale:
        return Measurement(residual, tolerance, False, "a side vanishes, overflows, or rounding hides the difference")
    return Measurement(residual, tolerance)


def _sides(
    loss: sympy.Expr, weights: Sequence[sympy.Expr], case: Case, dtype: torch.dtype, factor: float, sphere: bool
) -> Matrices:
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
    values = _values(outputs_of(free, points, case.slope, sphere), tuples, case, loss)
    total = (joint * evaluate(loss, values)).sum()
    left = descent(total, free)
    values = {symbol: value.detach() for symbol, value in values.items()}
    terms = [joint * xi for xi in evaluate_all(weights, values)]
    right = _operator(tower, points, case, terms, tuples, sphere)
    return arrays_of(left), arrays_of([factor * matrix for matrix in right])


def descent(total: Tensor, free: list[Tensor]) -> list[Tensor]:
    """Minus the gradient of a sum by every matrix."""
    import torch

    slopes = torch.autograd.grad(total, free, allow_unused=True) if total.requires_grad else [None] * len(free)
    return [torch.zeros_like(w) if g is None else -g for w, g in zip(free, slopes, strict=True)]


def outputs_of(tower: list[Tensor], points: Tensor, slope: float, sphere: bool) -> Tensor:
    """Outputs of the tower, normalised on the sphere."""
    import numeric

    outputs = numeric.forward(tower, points, slope)
    return outputs / outputs.square().sum(-1, keepdim=True).sqrt() if sphere else outputs


def connections_of(tower: list[Tensor], points: Tensor, slope: float, sphere: bool) -> list[Tensor]:
    """Connections of every layer; on the sphere those of the normalised output, ``K (I - f f^T)/||u||``."""
    import torch

    import numeric

    plain = list(numeric.connections(tower, points, slope))
    if not sphere:
        return plain
    raw = numeric.forward(tower, points, slope)
    norms = raw.square().sum(-1).sqrt()
    unit = raw / norms[:, None]
    inward = (torch.eye(raw.shape[1], dtype=raw.dtype) - unit[:, :, None] * unit[:, None, :]) / norms[:, None, None]
    return [torch.einsum("npi,nij->npj", connection, inward) for connection in plain]


def parameter_values(loss: sympy.Expr, case: Case, like: Tensor) -> dict[sympy.Symbol, Tensor]:
    """Values of the parameters of a loss, matched by name."""
    from theory.core.notation import r_0, tau

    named = case.values
    symbols = {tau, r_0, *(symbol for symbol in loss.free_symbols if symbol.name in named)}
    return {symbol: like.new_tensor(named[symbol.name]) for symbol in symbols}


def _values(outputs: Tensor, tuples: Tensor, case: Case, loss: sympy.Expr) -> dict[sympy.Symbol, Tensor]:
    """``r_+``, ``r_1`` .. ``r_H`` for every anchor (rows) and tuple of negatives (columns), and the parameters."""
    from theory.core.notation import negative, r_p
    from theory.losses.parse import positive

    distance = 0.5 * (outputs[:, None] - outputs[None, :]).square().sum(-1)
    near = distance.diagonal()[:, None].expand(-1, len(tuples))
    pulled = {positive(k) for k in range(1, 9)} & loss.free_symbols
    values = dict.fromkeys([r_p, *pulled], near)
    for k in range(tuples.shape[1]):
        values[negative(k + 1)] = distance[:, tuples[:, k]]
    return {**values, **parameter_values(loss, case, outputs)}


def _operator(
    tower: list[Tensor], points: Tensor, case: Case, terms: list[Tensor], tuples: Tensor, sphere: bool
) -> list[Tensor]:
    """``sum_{m, n} omega_mn (K_m - K_n)(K_m - K_n)^T vec W`` with omega the sum of the terms that meet m and n."""
    import torch

    import numeric

    omega = torch.zeros(len(points), len(points), dtype=points.dtype)
    for k, term in enumerate(terms):
        omega.index_add_(1, tuples[:, k], term.expand(len(points), len(tuples)))
    result = []
    outputs = outputs_of(tower, points, case.slope, sphere)
    for w, connection in zip(tower, connections_of(tower, points, case.slope, sphere), strict=True):
        gap = connection[:, None] - connection[None, :]
        pulled = outputs[:, None] - outputs[None, :] if sphere else torch.einsum("mnpi,p->mni", gap, numeric.vec(w))
        result.append(numeric.unvec(torch.einsum("mn,mnpi,mni->p", omega, gap, pulled), w.shape[0]))
    return result
