"""The update of any loss with two weights in floating point, tuple by tuple, with augmentation.

Every tuple has an anchor, its positives (other augmentations of its point) and negatives. The left side differentiates
the literal loss through all of them; the right side has only the derived weights alpha and beta and the connections.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hltm.base.interrupts import deferred_interrupt
from verify.engine.evidence import Evidence, Measurement, tally
from verify.instances.in_torch import arrays_of
from verify.loss.measure import (
    WIDE_MARGINS,
    Case,
    Matrices,
    cases,
    compared,
    connections_of,
    descent,
    evaluate,
    evaluate_all,
    outputs_of,
    parameter_values,
)

if TYPE_CHECKING:
    import sympy
    import torch

    from theory.losses.loss import Loss

POINTS, TUPLES = 4, 48
SPREAD = 0.3


def evidence(
    loss: Loss,
    alphas: Sequence[sympy.Expr],
    betas: Sequence[sympy.Expr],
    count: int = 24,
    seed: int = 0,
    signs: tuple[float, float] = (1.0, -1.0),
) -> Evidence:
    """The update of a loss and its weights; `signs` are those of the negatives and of the positives."""
    with deferred_interrupt():
        import torch  # noqa: F401
    gap = "(f_1 - f_k)]" if loss.domain == "sphere" else "(K_1 - K_k)^T] vec W"
    detail = f"augmented tuples: autograd of the literal sum = sum_k E[beta_k (K_1 - K_k){gap} - the same of alpha_i"
    sphere = loss.domain == "sphere"
    return tally(
        "float", "loss", cases(count, seed, 1, loss.parameters, sphere, WIDE_MARGINS),
        lambda case: measure(loss, alphas, betas, case, signs), at_least=-(-count // 2), detail=detail,
    )  # fmt: skip


def measure(
    loss: Loss,
    alphas: Sequence[sympy.Expr],
    betas: Sequence[sympy.Expr],
    case: Case,
    signs: tuple[float, float] = (1.0, -1.0),
) -> Measurement:
    """Both sides on one network and its tuples."""
    return compared(lambda dtype: _sides(loss, alphas, betas, case, dtype, signs))


def _sides(
    loss: Loss,
    alphas: Sequence[sympy.Expr],
    betas: Sequence[sympy.Expr],
    case: Case,
    dtype: torch.dtype,
    signs: tuple[float, float],
) -> Matrices:
    import torch

    import numeric

    sphere = loss.domain == "sphere"
    generator = torch.Generator().manual_seed(case.seed)
    tower = [w.to(dtype) for w in numeric.random_weights(case.widths, generator=generator)]
    centres = torch.randn(POINTS, 1, case.widths[0], generator=generator, dtype=torch.float64)
    pulled, pushed = len(loss.positives), len(loss.negatives or ())
    views = pulled + 3
    noise = torch.randn(POINTS, views, case.widths[0], generator=generator, dtype=torch.float64)
    inputs = (centres + SPREAD * noise).reshape(POINTS * views, -1).to(dtype)
    point = torch.randint(POINTS, (TUPLES,), generator=generator)
    order = torch.rand(TUPLES, views, generator=generator).argsort(-1)
    near = point[:, None] * views + order[:, : pulled + 1]
    far = torch.randint(POINTS * views, (TUPLES, pushed), generator=generator)
    far = torch.where(far == near[:, :1], (far + 1) % (POINTS * views), far)  # a root has no slope at distance 0
    shares = torch.rand(TUPLES, generator=generator, dtype=torch.float64).to(dtype) + 0.25
    shares = shares / shares.sum()
    anchor, others = near[:, 0], torch.cat([near[:, 1:], far], 1)

    free = [w.clone().requires_grad_() for w in tower]
    outputs = outputs_of(free, inputs, case.slope, sphere)
    distance = 0.5 * (outputs[anchor][:, None] - outputs[others]).square().sum(-1)
    values = dict(zip(loss.distances, distance.unbind(1), strict=True)) | parameter_values(
        loss.expression, case, outputs
    )
    left = descent((shares * evaluate(loss.expression, values)).sum(), free)

    values = {symbol: value.detach() for symbol, value in values.items()}
    weights = [value.expand(TUPLES) for value in evaluate_all([*alphas, *betas], values)]
    weights = [signs[0 if place >= pulled else 1] * weight for place, weight in enumerate(weights)]
    omega = shares[:, None] * torch.stack(weights, 1)
    plain = outputs_of(tower, inputs, case.slope, sphere)
    right = []
    for w, connection in zip(tower, connections_of(tower, inputs, case.slope, sphere), strict=True):
        gap = connection[anchor][:, None] - connection[others]
        along = plain[anchor][:, None] - plain[others] if sphere else torch.einsum("tkpi,p->tki", gap, numeric.vec(w))
        right.append(numeric.unvec(torch.einsum("tk,tkpi,tki->p", omega, gap, along), w.shape[0]))
    return arrays_of(left), arrays_of(right)
