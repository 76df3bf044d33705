r"""Theorem 2 [contrastive-losses]: the common property of contrastive losses.

Statement
    ``dL/dr_+ > 0``, ``dL/dr_{k-} < 0`` and ``dL/dr_+ + sum_k dL/dr_{k-} = 0`` for the simple loss, the soft triplet and
    InfoNCE with any number H of negatives.
Assumptions
    L is one of the three; tau > 0; H >= 1.
Evidence
    Symbolic: with symbolic H, signs by the positivity of exponentials. Exact: certified enclosures in ball arithmetic.
    Float: automatic differentiation against the closed forms of `numeric`, for tau down to 1e-4.
Not covered
    The hinge triplet (strictness fails where the hinge is flat), losses whose derivatives do not cancel, and losses
    that are no function of the distances.
Source
    arXiv 2010.00578, Theorem 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from flint import arb

import numeric
from verify.engine import kernel
from verify.engine.assumptions import names
from verify.engine.claims import Claimed
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import left, turned
from verify.engine.runner import proof_evidence
from verify.engine.search import searched
from verify.engine.statement import Check, Context, PaperRelation, Statement, Variant
from verify.instances import samples
from verify.instances.instance import LossInstance
from verify.strategies import loss_instances
from verify.tolerance.rounding import UNIT_ROUNDOFF
from verify.towers import balls, figures, relations
from verify.towers.assumptions import LOSSES, TEMPERATURE

SLUG = "contrastive-losses"
# The derivatives lie between -1 and 1: a tolerance near that is useless.
USELESS = 1e-3
# Of mpmath, for the expressions of `theory`.
DIGITS = 50


@dataclass(frozen=True)
class Claim:
    """A claim on the derivatives ``d = (dL/dr_+, dL/dr_1, ..)``.

    Each entry of `zero` vanishes, each entry of `positive` is above zero. `loss` replaces the loss of the instance, for
    claims about losses outside the family.
    """

    zero: Callable[[Sequence[Any]], list[Any]] = lambda d: [sum(d[1:], d[0])]
    positive: Callable[[Sequence[Any]], list[Any]] = lambda d: [d[0], *(-e for e in d[1:])]
    loss: Callable[[Any, Sequence[Any], Any], Any] | None = None


STATED = Claim()


def hinge(r_pos: Any, r_neg: Sequence[Any], margin: float) -> Any:
    """max(0, r_+ - r_1 + r_0): flat where the negative is far enough."""
    gap = r_pos - r_neg[0] + margin
    return gap if value_of(gap) > 0 else gap * 0


def value_of(series: Any) -> Any:
    """Constant term of a power series, or the value of a tensor."""
    return series.item() if hasattr(series, "item") else series[0]


def halves(d: Sequence[Any]) -> list[Any]:
    """dL/dr_+ + 1/2 sum_k dL/dr_k."""
    return [sum(d[1:], d[0] * 0) / 2 + d[0]]


ANOTHER_LOSS = "another loss has a derivation of its own (python -m verify loss), which refutes that it is a member"


def repulsion(side: Any, change: Callable[[Any], Any]) -> Any:
    """The sum over the negatives, changed."""
    from sympy import Sum

    return side.replace(lambda part: isinstance(part, Sum), change)


VARIANTS = (
    Variant(
        "sum-with-minus",
        "dL/dr_+ - sum_k dL/dr_k = 0",
        Claim(zero=lambda d: [d[0] - sum(d[1:], d[0] * 0)]),
        rewrite=left(lambda side: repulsion(side, lambda total: -total), 4).of(loss="infonce"),
    ),
    Variant(
        "sum-halved",
        "dL/dr_+ + 1/2 sum_k dL/dr_k = 0",
        Claim(zero=halves),
        rewrite=left(lambda side: repulsion(side, lambda total: total / 2), 4).of(loss="infonce"),
    ),
    Variant(
        "attraction-negative", "dL/dr_+ < 0", Claim(positive=lambda d: [-d[0]]), rewrite=turned(2).of(loss="infonce")
    ),
    Variant(
        "repulsion-positive", "dL/dr_k > 0", Claim(positive=lambda d: list(d[1:])), rewrite=turned(3).of(loss="infonce")
    ),
    Variant(
        "only-first-negative",
        "dL/dr_+ + dL/dr_1 = 0 for every H",
        Claim(zero=lambda d: [d[0] + d[1]]),
        rewrite=left(lambda side: repulsion(side, lambda total: total.function), 4).of(loss="infonce"),
    ),
    Variant("hinge-is-strict", "the hinge triplet is a member", Claim(loss=hinge), rewrite=ANOTHER_LOSS),
    Variant(
        "quadratic-negative",
        "r_+ - r_-^2 is a member",
        Claim(loss=lambda p, n, _: p - n[0] * n[0]),
        rewrite=ANOTHER_LOSS,
    ),
    Variant("no-repulsion", "r_+ alone is a member", Claim(loss=lambda p, n, _: p + n[0] * 0), rewrite=ANOTHER_LOSS),
)


def measure_exact(instance: LossInstance, claim: Claim | None = None) -> Measurement:
    """Certify every zero by a ball of radius below 1e-30, every sign by a ball away from zero.

    The precision is raised until each question is answered; a ball that still holds zero at the highest precision
    leaves a sign undecided.
    """
    claim = claim or STATED
    parameters = instance.options
    for bits in balls.PRECISIONS:
        with balls.precision(bits):
            loss = (
                balls.literal_loss(instance.loss, parameters)
                if claim.loss is None
                else lambda p, n: claim.loss(p, n, balls.to_ball(parameters.get("margin", 0.0)))
            )
            try:
                d = balls.derivatives(loss, instance.r_pos, instance.r_neg)
            except (ValueError, ZeroDivisionError):  # a divisor whose ball holds zero: more digits may tell
                continue
            zeros, signs = claim.zero(d), claim.positive(d)
            result = judge(zeros, signs)
        if result is not None:
            return result
    return Measurement(0.0, 0.0, False, "a ball holds zero at the highest precision")


def judge(zeros: Sequence[arb], signs: Sequence[arb]) -> Measurement | None:
    """Refuted by any ball that excludes the claim, holds when all balls are decided, None to raise the precision."""
    for ball in zeros:
        if not ball.contains(0):
            return Measurement(float(abs(ball).mid()), 0.0, detail="sum of the derivatives")
    for ball in signs:
        if ball < 0 or (ball.is_exact() and ball == 0):
            return Measurement(max(float(abs(ball).mid()), 5e-324), 0.0, detail="sign of a derivative")
    if balls.widest(zeros) < balls.RADIUS and all(ball > 0 for ball in signs):
        return Measurement(balls.widest([*zeros, *signs]), balls.RADIUS)
    return None


def measure_float(instance: LossInstance, claim: Claim | None = None, device: str = "cpu") -> Measurement:
    """Automatic differentiation of `numeric.loss_value` in float64: closed forms, zero sum and signs.

    In float64 a derivative below 1e-308 underflows to zero, so the sign that is asked for is "not of the wrong sign";
    a derivative of exactly zero counts against strictness only where the exponent cannot have underflowed.
    """
    import torch

    claim = claim or STATED
    spec = numeric.loss_spec(instance.loss, **instance.options)
    r_pos = torch.tensor(instance.r_pos, dtype=torch.float64, device=device, requires_grad=True)
    r_neg = [torch.tensor(r, dtype=torch.float64, device=device, requires_grad=True) for r in instance.r_neg]
    if claim.loss is None:
        value = numeric.loss_value(spec, r_pos, torch.stack(r_neg))
    else:
        value = claim.loss(r_pos, r_neg, float(instance.options.get("margin", 0.0)))
    gradient = torch.autograd.grad(value, [r_pos, *r_neg], allow_unused=True)
    d = [0.0 if g is None else float(g) for g in gradient]
    tolerance = derivative_tolerance(instance)
    if not tolerance < USELESS:
        return Measurement(0.0, tolerance, False, "tau is below the rounding of the distances")
    residual = max(abs(z) for z in claim.zero(d))
    if claim.loss is None:
        closed_pos, closed_neg = numeric.loss_derivatives(spec, r_pos.detach(), torch.stack(r_neg).detach())
        closed = np.array([float(closed_pos), *closed_neg.cpu().tolist()])
        residual = max(residual, float(np.max(np.abs(closed - np.array(d)))))
    for sign in claim.positive(d):
        if sign < -tolerance or (sign == 0 and not may_underflow(instance)):
            return Measurement(max(abs(sign), 2 * tolerance), tolerance, detail="sign of a derivative")
    return Measurement(residual, tolerance, detail="sum of the derivatives, or closed form against autograd")


def derivative_tolerance(instance: LossInstance) -> float:
    """Rounding-error bound of a derivative.

    The exponent (r_+ - r_k + r_0)/tau carries an absolute error of at most 4 u (|r_+| + |r_k| + |r_0|)/tau; softmax and
    sigmoid are 1-Lipschitz in it; the sum over k adds one rounding a term.
    """
    parameters = instance.options
    tau = parameters.get("tau", 1.0) if instance.loss != "simple" else 1.0
    scale = instance.r_pos + max(instance.r_neg) + abs(parameters.get("margin", 0.0))
    return UNIT_ROUNDOFF * 4 * (len(instance.r_neg) + 2) * (1 + 2 * scale / tau)


def may_underflow(instance: LossInstance) -> bool:
    """Whether exp of the largest difference of distances over tau leaves the range of float64."""
    parameters = instance.options
    if instance.loss == "simple":
        return False
    values = (instance.r_pos, *instance.r_neg)
    spread = max(values) - min(values) + abs(parameters.get("margin", 0.0))
    # exp(-745) is the smallest positive float64, exp(-708) the smallest normal one.
    return spread / parameters.get("tau", 0.1) > 700


@lru_cache(maxsize=32)
def derived_functions(loss: str, negatives: int) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """Value, derivatives and pair weights of `theory`, as mpmath functions of r_+, r_1 .. r_H, tau and r_0."""
    import sympy

    from theory import pair_weights
    from theory.core.notation import negative, r_0, r_p, tau
    from theory.losses.loss import derivative, loss_of

    expression = loss_of(loss, negatives).expression
    distances = [r_p, *(negative(index) for index in range(1, negatives + 1))]
    arguments = [*distances, tau, r_0]
    value = sympy.lambdify(arguments, expression, "mpmath")
    slopes = sympy.lambdify(arguments, [derivative(expression, distance) for distance in distances], "mpmath")
    weights = sympy.lambdify(arguments, list(pair_weights(loss, negatives)), "mpmath")
    return value, slopes, weights


def measure_derived(instance: LossInstance, device: str = "cpu") -> Measurement:
    """Value, dL/dr and xi of `theory` against those of `numeric`."""
    import mpmath
    import torch

    options, count = instance.options, len(instance.r_neg)
    spec = numeric.loss_spec(instance.loss, **options)
    r_pos = torch.tensor(instance.r_pos, dtype=torch.float64, device=device)
    r_neg = torch.tensor(instance.r_neg, dtype=torch.float64, device=device)
    tau, margin = options.get("tau", 0.1), options.get("margin", 0.0)
    value, slopes, weights = derived_functions(instance.loss, count)
    with mpmath.workdps(DIGITS):
        arguments = [mpmath.mpf(v) for v in (instance.r_pos, *instance.r_neg, tau, margin)]
        derived_value = value(*arguments)
        derived = [*slopes(*arguments), *weights(*arguments)]
    pull, push = numeric.loss_derivatives(spec, r_pos, r_neg)
    result = [float(pull), *push.tolist(), *numeric.pair_weight(spec, r_neg).tolist()]
    ours = float(numeric.loss_value(spec, r_pos, r_neg))
    scale = instance.r_pos + max(instance.r_neg) + abs(margin) + tau + abs(ours)
    value_bound = 16 * (count + 2) * UNIT_ROUNDOFF * scale
    gap = float(abs(derived_value - ours))
    if gap > value_bound:
        return Measurement(gap, value_bound, detail="value of the loss")
    largest = max(float(abs(a - b)) for a, b in zip(derived, result, strict=True))
    return Measurement(largest, derivative_tolerance(instance), detail="derivatives and pair weights")


OPTIONS: list[dict[str, Any]] = [{"loss": "simple"}, {"loss": "triplet"}, {"loss": "infonce"}]


def symbolic(context: Context) -> Evidence:
    """The three losses, symbolic H."""
    return proof_evidence(SLUG, OPTIONS)


def exact(context: Context) -> Evidence:
    """Certified enclosures on random distances."""
    count = context.pick(quick=90, thorough=1500)
    return tally(
        "exact", "toy", samples.toy_losses(context.seed, count), measure_exact,
        at_least=count, detail="certified signs; zero sum enclosed with radius below 1e-30 (Arb)",
    )  # fmt: skip


def floats(context: Context) -> Evidence:
    """Autograd against the closed forms, tau from 1e-4 to 10."""
    count = context.pick(quick=90, thorough=1500)
    return tally(
        "float", "toy", samples.toy_losses(context.seed + 1, count),
        lambda instance: measure_float(instance, device=context.device),
        at_least=count, detail="autograd = closed forms, zero sum, signs; tau from 1e-4 to 10",
    )  # fmt: skip


def meeting(context: Context) -> Evidence:
    """Losses, derivatives and pair weights of `theory` against those of `numeric`."""
    count = context.pick(quick=60, thorough=600)
    return tally(
        "float", "toy, derived", samples.toy_losses(context.seed + 2, count),
        lambda instance: measure_derived(instance, context.device),
        at_least=count, detail="theory's loss, dL/dr and xi at 50 digits = numeric's in float64",
    )  # fmt: skip


STAGES = tuple(partial(loss_instances, negatives) for negatives in (1, 2, 4))
properties = searched(
    measure_exact, measure_float, STAGES, quick=150, thorough=3000, among="shrinking losses and distances"
)


CLAIMED = Claimed(SLUG, lambda: OPTIONS, named="loss")
STATEMENT = Statement(
    slug=SLUG,
    theorem=2,
    title="common property of contrastive losses",
    stated=CLAIMED,
    assumptions=(*names(LOSSES), TEMPERATURE),
    not_covered=("hinge triplet", "losses that are no function of the distances"),
    source="arXiv 2010.00578, Theorem 2",
    relation_to_paper=PaperRelation(
        "as printed",
        "no difference is known; one derivation covers every number of negatives",
        "the project's notes, written without the paper's text; number and wording were not compared with it",
        "low",
    ),
    checks=(
        Check("symbolic", "proof", symbolic),
        Check("kernel", "theorem", partial(kernel.theorems, SLUG)),
        Check("kernel", "identities", partial(kernel.identities, SLUG)),
        Check("exact", "toy", exact),
        Check("exact", "claim", partial(relations.losses, "ball")),
        Check("float", "claim", partial(relations.losses, "float64")),
        Check("float", "toy", floats),
        Check("float", "toy, derived", meeting),
        Check("property", "search", properties),
    ),
    stages=STAGES,
    measures={"exact": measure_exact, "float": measure_float},
    instance_type=LossInstance,
    variants=VARIANTS,
    drops=LOSSES,
    figures=figures.pair_weights,
)

if __name__ == "__main__":
    from verify.cli import run_statement

    run_statement(SLUG)
