r"""Pack infonce-limits: InfoNCE with many negatives, at its minimum, and as a bound of mutual information.

Statement
    Less log H the loss tends to ``log E_y e^s(x, y) - s(x, y+)`` at rate 1/H, between two explicit bounds. On N unit
    vectors without augmentation it is at least ``log(1 + (N-1) e^(-N/((N-1) tau)))``, with equality at the simplex.
    For every critic ``I(X; Y) >= log N - L_N``, and the difference is a sum of two divergences.
Assumptions
    Independent negatives of the law of the positive's marginal; bounded scores; finite laws with positive
    probabilities, exchangeable candidates under the product law; unit outputs, tau > 0.
Evidence
    Symbolic: the tangent of the logarithm under a sum over the outcomes of a finite law of any size, for any number of
    negatives; the loss at the simplex for any N; the identity of information from the definitions. Named, not decided:
    moments of a sum of independent draws, exchange of candidates (written out for two by two values, N = 2), and that
    an expectation of a number that is not negative is not negative. Exact: enumeration of all draws in balls. Float:
    `numeric`'s enumeration. Search: Hypothesis.
Not covered
    Laws that are not finite; a minimum for N > d + 1; estimates of mutual information from samples.
Source
    Wang and Isola, arXiv 2005.10242 (limit); van den Oord et al., arXiv 1807.03748 (bound).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Any

from flint import arb, fmpq

from verify.engine.assumptions import Sides
from verify.engine.rewrites import Rewrite, left, relation, right, times
from verify.engine.statement import Assumption, Context, PaperRelation
from verify.packs.infonce_measures import PACK, STAGES, InfonceInstance, toy
from verify.packs.part import mutant, pack_statement
from verify.towers import balls

SLUG = "infonce-limits"
BITS = 256


# Mutants: rewrites of the claims.


def put(change: Callable[[Any], dict[Any, Any]], number: int = 1, side: Callable[..., Rewrite] = right) -> Rewrite:
    """Other expressions on one side of a relation; `change` is given the symbols of the pack."""

    def changed(expression: Any) -> Any:
        import theory.packs.infonce_limits as symbols

        return expression.xreplace(change(symbols))

    return side(changed, number)


def made(change: Callable[[Any], Any], number: int = 1) -> Rewrite:
    """Another right side, made of the symbols of the pack."""

    def changed(_: Any) -> Any:
        import theory.packs.infonce_limits as symbols

        return change(symbols)

    return right(changed, number)


def as_equation(one: Any) -> Any:
    import sympy

    return sympy.Eq(one.lhs, one.rhs, evaluate=False)


def at_most(one: Any) -> Any:
    import sympy

    return sympy.Le(one.lhs, one.rhs, evaluate=False)


def level(of: Any, exponent: Any, factor: Any = None) -> Any:
    """``log(1 + factor e^exponent)``."""
    return of.sympy.log(1 + (of.H if factor is None else factor) * of.sympy.exp(exponent))


VARIANTS = (
    mutant("rate-squared", "e^s/(H^2 m) above", "many-negatives",
           put(lambda of: {of.FIRST_ORDER: of.FIRST_ORDER / of.H})),
    mutant("half-first-order", "e^s/(2 H m) above", "many-negatives", times("1/2")),
    mutant("log-of-all", "log(H + 1) in place of log H", "many-negatives",
           put(lambda of: {of.sympy.log(of.H): of.sympy.log(of.H + 1)}, 2, left)),
    mutant("mean-score", "E_y s(x, y) in place of log E_y e^s(x, y)", "many-negatives",
           put(lambda of: {of.sympy.log(of.MEAN): of.MEAN_SCORE}, 1, left)),
    mutant("variance-left-out", "no v/H below", "many-negatives", put(lambda of: {of.VARIANCE: 0}, 2)),
    mutant("own-similarity-forgotten", "e^(-1/((N-1) tau)), without the 1/tau of the positive", "minimum",
           made(lambda of: level(of, -1 / (of.H * of.tau)), 3)),
    mutant("orthogonal-minimum", "log(1 + (N-1) e^(-1/tau)), the value of orthogonal outputs", "minimum",
           made(lambda of: level(of, -1 / of.tau))),
    mutant("count-of-all", "N in place of N - 1 in front of the exponential", "minimum",
           made(lambda of: level(of, -(of.H + 1) / (of.H * of.tau), of.H + 1), 3)),
    mutant("temperature-forgotten", "tau = 1 in the exponent", "minimum",
           made(lambda of: level(of, -(of.H + 1) / of.H), 3)),
    mutant("maximum", "at most the value of the simplex", "minimum", relation(at_most)),
    mutant("twice-the-tangent", "twice the distance of the sum from 0", "minimum",
           made(lambda of: of.MINIMUM + 2 * of.SLOPE * of.SQUARE / ((of.H + 1) * of.tau), 2)),
    mutant("one-candidate-more", "log(N + 1) - L_N", "information",
           put(lambda of: {of.sympy.log(of.N): of.sympy.log(of.N + 1)})),
    mutant("equality", "I = log N - L_N", "information", relation(as_equation)),
    mutant("upper-bound", "I <= log N - L_N", "information", relation(at_most)),
    mutant("posterior-left-out", "the divergence of the mixture alone", "information",
           put(lambda of: {of.POSTERIOR: 0}, 2)),
    mutant("mixture-left-out", "the divergence of the posterior alone", "information",
           put(lambda of: {of.MIXTURE: 0}, 2)),
)  # fmt: skip


# Assumptions dropped, on two candidates or two points.


def ball(value: fmpq | int) -> arb:
    """A fraction as a ball."""
    return arb(fmpq(value))


def lower_bound(p: fmpq, mean: int, variance: int, least: int, negatives: int) -> fmpq:
    """``p/(H m) - (v/H + p^2/H^2)/(a m)``."""
    return p / (negatives * mean) - (fmpq(variance, negatives) + p * p / negatives**2) / (least * mean)


def dependent_negatives(_: Context) -> Iterator[Sides]:
    """All H = 16 negatives are one draw of exponents 1 and 7."""
    with balls.precision(BITS):
        p, count, mean = fmpq(1, 8), 16, 4
        gap = sum((ball((p / count + e) / mean).log() / 2 for e in (1, 7)), arb(0))
        bound = ball(lower_bound(p, mean, 9, 1, count))
    yield Sides("e^s = 1/8, 16 equal negatives of exponent 1 or 7", "loss less its limit, lower bound", gap, bound,
                relation=">=")  # fmt: skip


def not_the_least(_: Context) -> Iterator[Sides]:
    """The mean exponent in place of the least one."""
    with balls.precision(BITS):
        p, mean = fmpq(1, 8), 32
        gap = sum((ball((p + e) / mean).log() / 2 for e in (1, 63)), arb(0))
        bound = ball(lower_bound(p, mean, 961, mean, 1))
    yield Sides("e^s = 1/8, one negative of exponent 1 or 63, a = m = 32", "loss less its limit, lower bound", gap,
                bound, relation=">=")  # fmt: skip


def other_negatives(_: Context) -> Iterator[Sides]:
    """X and Y independent, p(y) = (3/4, 1/4), negatives of the law (1/4, 3/4), e^c = (9, 1)."""
    with balls.precision(BITS):
        law, drawn, w = (3, 1), (1, 3), (9, 1)
        loss = sum(
            (ball(fmpq(w[y] + w[k], w[y])).log() * fmpq(law[y] * drawn[k], 16) for y, k in product(range(2), repeat=2)),
            arb(0),
        )
        bound = ball(2).log() - loss
        information = arb(0)
    yield Sides("X and Y independent, p(y) = 3/4 and 1/4, one negative of the law 1/4 and 3/4, e^c = 9 and 1",
                "I, log N - L", information, bound, relation=">=")  # fmt: skip


def batch(outputs: Sequence[int], temperature: int = 1) -> arb:
    """The mean loss of numbers as outputs in one dimension, not normalised."""
    total = arb(0)
    for i, f in enumerate(outputs):
        row = [ball(fmpq(f * g, temperature)).exp() for g in outputs]
        total -= (row[i] / sum(row[1:], row[0])).log()
    return total / len(outputs)


def least(count: int, temperature: int = 1) -> arb:
    """The value of the simplex."""
    return ((ball(fmpq(-count, (count - 1) * temperature))).exp() * (count - 1) + 1).log()


def longer_outputs(_: Context) -> Iterator[Sides]:
    """Outputs 2 and -2."""
    with balls.precision(BITS):
        yield Sides("outputs 2 and -2, tau = 1", "L, bound", batch((2, -2)), least(2), relation=">=")


def no_room(_: Context) -> Iterator[Sides]:
    """Three unit vectors on a line: the least of all choices of sign."""
    with balls.precision(BITS):
        values = [batch(signs) for signs in product((1, -1), repeat=3)]
        lowest = min(values, key=lambda value: float(value.mid()))
        text = "three unit vectors in one dimension, tau = 1"
        yield Sides(text, "least loss, value of the simplex", lowest, least(3), balls.RADIUS)


def negative_temperature(_: Context) -> Iterator[Sides]:
    """tau = -1, two equal outputs."""
    with balls.precision(BITS):
        yield Sides("outputs 1 and 1, tau = -1", "L, bound", batch((1, 1), -1), least(2, -1), relation=">=")


DROPS = (
    Assumption("independent negatives, for the limit", "all negatives are one draw", dependent_negatives),
    Assumption("a is the least exponent, for the limit", "a is the mean exponent", not_the_least),
    Assumption("negatives of the law of Y, for the information", "negatives of another law", other_negatives),
    Assumption("unit outputs, for the minimum", "outputs of norm 2", longer_outputs),
    Assumption("N <= d + 1, for the minimum to be attained", "three outputs in one dimension", no_room),
    Assumption("tau > 0, for the minimum", "tau = -1", negative_temperature),
)


STATEMENT = pack_statement(
    PACK,
    title="InfoNCE: many negatives, minimum and information",
    source="arXiv 2005.10242 (limit of many negatives), arXiv 1807.03748 (mutual information)",
    not_covered=(
        "laws that are not finite, or with a probability of 0: the derivation and the numbers are of finite laws",
        "the two moments of a sum of H independent draws, which are assumed",
        "that candidates under the product law are exchangeable, which is assumed for N candidates and written out for "
        "every law on two by two values with N = 2",
        "the minimum of more than d + 1 outputs, or with augmentation",
        "estimates of mutual information from samples",
    ),
    relation=PaperRelation(
        "sharpened",
        "explicit bounds of order 1/H in place of a limit, the distance from the simplex, and the difference of the "
        "bound on information as two divergences",
        "the project's notes on both papers; the formulas are derived here",
        "low",
    ),
    instance_type=InfonceInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    assumptions=(
        "finite laws with positive probabilities",
        "the first two moments of a sum of independent draws",
        "exchangeable candidates under the product law",
        "expectations and means over anchors are linear, and those of a number that is not negative are not negative",
        "the squared norm of the sum of the outputs is the sum of their inner products",
    ),
)
