"""Derivations of statement 7: the gap, its law, existence of a lucky neuron, and the strength of its selectivity.

Each is a chain of checked steps in generic symbols, for every tree, width and law of the pre-activation. Strength is
about any law with two moments; the leaky slope goes beyond the paper.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import sympy
from sympy import (
    Abs,
    Basic,
    Expr,
    Ge,
    IndexedBase,
    Integer,
    MatAdd,
    MatMul,
    MatrixSymbol,
    Piecewise,
    Product,
    Rational,
    Sum,
    Symbol,
    Transpose,
)

from hltm.base.errors import InputError
from theory.core.claim import Claim, equation, reading, undecided
from theory.core.decide import ASSUMPTIONS, POINT, POLYNOMIAL, Decision, combine, decide_zero, describe, exact_points
from theory.core.derivation import Derivation, Step, positive_step, zero_step
from theory.core.notation import reals
from theory.core.quantity import has_slack, quantity, slack_symbol
from theory.core.reading import identity_reading, with_meanings
from theory.towers.dual_gradient import identity_step
from theory.trees.derivations import MARKOV, decide_nonnegative
from theory.trees.gap_law import exact

SLUG = "lucky-nodes"
DIGIT_LIMIT = 10**6
NEURONS = Symbol("n", integer=True, positive=True)
"""Number of neurons that a neuron reads."""
_LEVEL = Symbol("t", real=True)
_I = Symbol("i", integer=True, positive=True)
_RANGE = (_I, 1, NEURONS)
SIGN, SIZE = IndexedBase(r"\epsilon", real=True), IndexedBase("c", positive=True)


def existence_probability(P_t: Any, m: Any) -> Expr:
    """``1 - (1 - P_t)^m``: the probability that some of m independent neurons has a gap of at least t.

    Parameters
    ----------
    P_t
        ``P(g >= t)`` of one neuron, in [0, 1]: an exact number or a SymPy expression.
    m
        Number of neurons, at least 1, or a SymPy symbol.

    Raises
    ------
    InputError
        A probability outside [0, 1], a number of neurons that is not a whole number of at least 1, or a result of more
        than a million digits.

    Source
    ------
    Statement 7, existence.

    Examples
    --------
    >>> existence_probability(Rational(1, 4), 2)
    7/16
    """
    p = P_t if isinstance(P_t, Expr) else exact(P_t, "P_t")
    if p.is_number and not bool((p >= 0) & (p <= 1)):
        raise InputError(f"P_t={P_t!s:.60} of existence_probability: must lie in [0, 1]")
    if isinstance(m, Expr) and not m.is_number:
        return 1 - (1 - p) ** m
    if isinstance(m, bool) or not isinstance(m, int | Integer) or m < 1:
        raise InputError(f"m={m!r:.60} of existence_probability: must be a whole number of at least 1")
    if p.is_Rational and int(m) * math.log10(int(p.q)) > DIGIT_LIMIT:
        raise InputError(f"m={m!s:.60} of existence_probability: more than {DIGIT_LIMIT:,} digits; use neurons_needed")
    return 1 - (1 - p) ** int(m)


def neurons_needed(delta: Any, P_t: Any) -> int:
    """Smallest m with ``(1 - P_t)^m <= delta``: ``ceil(log delta / log(1 - P_t))``, never off by one.

    Parameters
    ----------
    delta
        Allowed failure probability, exact, in (0, 1).
    P_t
        ``P(g >= t)`` of one neuron, exact, in (0, 1].

    Raises
    ------
    InputError
        A number that is not exact or not in its range.

    Source
    ------
    Statement 7, existence.

    Examples
    --------
    >>> neurons_needed(Rational(1, 8), Rational(1, 2)), neurons_needed(Rational(1, 9), Rational(1, 2))
    (3, 4)
    >>> neurons_needed(Rational(1, 10**6), Rational(1, 10**9))
    13815510552
    """
    failure, p = exact(delta, "delta"), exact(P_t, "P_t")
    if not 0 < failure < 1:
        raise InputError(f"delta={delta!s:.60} of neurons_needed: must lie strictly between 0 and 1")
    if not 0 < p <= 1:
        raise InputError(f"P_t={P_t!s:.60} of neurons_needed: must be above 0 (else no number suffices) and at most 1")
    if p == 1:
        return 1
    ratio = sympy.log(failure) / sympy.log(1 - p)
    digits = 30
    while True:
        value = sympy.N(ratio, digits)
        whole = int(sympy.floor(value + Rational(1, 2)))
        if abs(value - whole) > sympy.Float(10, digits) ** (len(str(whole)) + 3 - digits):
            return whole if value < whole else whole + 1
        # Too close to tell: equality needs the denominator of delta to be a power with that exponent.
        if whole <= int(failure.q).bit_length() and (1 - p) ** whole == failure:
            return whole
        digits *= 2


def selectivity_bound(m_0: Any, m_1: Any, v: Any, slope: Any = 0) -> Expr:
    """Lower bound of ``s_j`` from the moments of its pre-activation; for ReLU, or a slope below zero in [0, 1].

    ``1/2 (max(m_1, 0) - 1/2 (m_0 + sqrt(m_0^2 + v)))`` for ReLU, ``B``; ``slope/2 (m_1 - m_0) + (1 - slope) B`` in
    general, an equation at slope 1.

    Parameters
    ----------
    m_0, m_1
        ``E[p_j | z_mu = 0]`` and ``E[p_j | z_mu = 1]``: exact numbers or SymPy expressions.
    v
        At least ``Var(p_j | z_mu = 0)``.
    slope
        Of the activation below zero.

    Raises
    ------
    InputError
        A number that is not exact, v below zero, a slope outside [0, 1].

    Source
    ------
    Statement 7, strength; leaky slopes go beyond the paper.

    Examples
    --------
    >>> selectivity_bound(0, 1, 1)
    1/4
    >>> selectivity_bound(0, 1, 1, slope=1)
    1/2
    """
    names = {"m_0": m_0, "m_1": m_1, "v": v, "slope": slope}
    low, high, spread, below = (x if isinstance(x, Expr) else exact(x, name) for name, x in names.items())
    if spread.is_negative:
        raise InputError(f"v={v!s:.60} of selectivity_bound: must not be negative")
    if below.is_number and not bool((below >= 0) & (below <= 1)):
        raise InputError(f"slope={slope!s:.60} of selectivity_bound: must lie in [0, 1]")
    positive = Piecewise((high, high > 0), (Integer(0), True))
    relu = (positive - (low + sympy.sqrt(low**2 + spread)) / 2) / 2
    return below * (high - low) / 2 + (1 - below) * relu


# The derivations, and the law of a gap as it is displayed.


class OverSigns(Expr):  # type: ignore[misc]
    """The sum of an expression over all signs ``epsilon_i = -1, 1`` of n terms."""

    def _latex(self, printer: Any) -> str:
        return rf"\sum_{{\epsilon \in \{{-1, 1\}}^{{n}}}} \left[{printer._print(self.args[0])}\right]"

    def doit(self, **hints: Any) -> Expr:
        """The terms written out, for an explicit number of them."""
        inner = self.args[0].doit(**hints)
        signs = sorted((a for a in inner.atoms(sympy.Indexed) if a.base == SIGN), key=str)
        for sign in signs:
            inner = inner.xreplace({sign: sympy.Integer(1)}) + inner.xreplace({sign: sympy.Integer(-1)})
        return inner


TAIL = quantity("tail of the gap", r"\mathbb{P}[g_{j} \ge t]")


def law_relations() -> tuple[Basic, ...]:
    """``P(g_j >= t)`` as a sum over signs of truncated powers, and the sizes c_i = 2 b |a_i| of its terms."""
    b, entry = sympy.symbols(r"b a_{i}", real=True)
    t = _LEVEL
    reach = Sum(SIGN[_I] * SIZE[_I], _RANGE) - t
    signed = OverSigns(Product(SIGN[_I], _RANGE) * sympy.Max(reach, 0) ** NEURONS)
    scale = 2**NEURONS * sympy.factorial(NEURONS) * Product(SIZE[_I], _RANGE)
    return (
        equation(TAIL, signed / scale),
        equation(SIZE[_I], 2 * b * sympy.Abs(entry)),
    )


def _nonnegative(names: str) -> list[Symbol]:
    return list(sympy.symbols(names, nonnegative=True))


def _at_least(left: Expr, right: Expr, difference: Expr, reason: str) -> Step:
    """A step ``left >= right``, decided on the difference written in symbols that are not negative."""
    return Step(Ge(left, right, evaluate=False), reason, decide_nonnegative(sympy.expand(difference)))


def _activation_steps(slope: Expr) -> list[Step]:
    """``relu(p) = (p + |p|)/2`` and, for a slope, ``psi(p) = slope p + (1 - slope) relu(p)``, on both sides of zero."""
    up, down = Symbol("p", positive=True), Symbol("q", nonnegative=True)
    steps = []
    for p, relu, psi, side in ((up, up, up, "p > 0"), (-down, Integer(0), -slope * down, "p = -q <= 0")):
        steps.append(zero_step((p + Abs(p)) / 2, relu, f"relu(p) = (p + |p|)/2, for {side}"))
        if slope != 0:
            steps.append(zero_step(slope * p + (1 - slope) * relu, psi, f"psi(p) = a p + (1 - a) relu(p), for {side}"))
    return steps


def _jensen_steps() -> list[Step]:
    """``E relu(p|1) >= max(m_1, 0)``: relu is above both of its branches, and an expectation keeps the order."""
    x, y = _nonnegative("p_{+} p_{-}")
    points = [_nonnegative(f"q_{{{i}}} x_{{{i}}} y_{{{i}}}") for i in range(3)]
    relu = sympy.Add(*(q * high for q, high, _ in points))
    mean = sympy.Add(*(q * (high - low) for q, high, low in points))
    return [
        _at_least(x, x - y, x - (x - y), "p = p_+ - p_-, relu(p) = p_+: relu(p) >= p"),
        _at_least(x, Integer(0), x, "relu(p) = p_+ >= 0"),
        _at_least(
            relu, mean, relu - mean, "Jensen, first branch: E relu(p|1) >= m_1, point by point (three are shown)"
        ),
        _at_least(relu, Integer(0), relu, "Jensen, second branch: E relu(p|1) >= 0"),
    ]


def _root_steps() -> list[Step]:
    """``E|p| <= sqrt(E p^2) = sqrt(m_0^2 + Var) <= sqrt(m_0^2 + v)``."""
    c, m, second, h = reals(r"c m_{0} \mathbb{E}[p^2\mid{0}] |{p}|")
    first, gap, slack, variance = _nonnegative(r"\mathbb{E}[|p|\mid{0}] u w \mathrm{Var}")
    root, larger = sympy.sqrt(first**2 + gap), sympy.sqrt(m**2 + variance + slack)
    below = sympy.sqrt(m**2 + variance)
    square = (h - c) ** 2
    decision = Decision(bool(square.is_nonnegative), ASSUMPTIONS, "is_nonnegative of the square")
    return [
        Step(Ge(square, 0, evaluate=False), "a square of a real number, for every c", decision),
        zero_step(second - 2 * c * first + c**2, second - first**2 + (c - first) ** 2,
                  "its mean, the square completed; at c = E|p|: 0 <= E p^2 - (E|p|)^2"),
        zero_step(second - 2 * c * m + c**2, second - m**2 + (c - m) ** 2,
                  "the same for E(p - c)^2; at c = m_0: Var(p|0) = E p^2 - m_0^2"),
        zero_step((root - first) * (root + first), gap,
                  "E p^2 = (E|p|)^2 + u with u >= 0: sqrt(E p^2) - E|p| has the sign of u"),
        zero_step((larger - below) * (larger + below), slack,
                  "v = Var(p|0) + w with w >= 0: sqrt(m_0^2 + v) - sqrt(m_0^2 + Var) has the sign of w"),
    ]  # fmt: skip


def derive_strength(slope: Expr) -> Derivation:
    """``s_j >= a/2 (m_1 - m_0) + (1 - a)/2 (max(m_1, 0) - 1/2 (m_0 + sqrt(m_0^2 + v)))``; a = 0 for ReLU."""
    m_0, m_1 = (quantity("mean pre-activation", f"m_{{{z}}}", where={"state": z}) for z in (0, 1))
    s = quantity("selectivity", "s_{j}", where={"neuron": "j"})
    v = Symbol("v", nonnegative=True)
    jensen, cauchy, keep = map(slack_symbol, ("u_{1}", "u_{0}", "1-a"))
    top, root = sympy.Max(m_1, 0), sympy.sqrt(m_0**2 + v)
    rest = 1 - slope
    given_1 = slope * m_1 + rest * (top + jensen)
    given_0 = slope * m_0 + rest * (m_0 + root - cauchy) / 2
    bound = slope * (m_1 - m_0) / 2 + rest * (top - (m_0 + root) / 2) / 2
    slack = rest * (jensen / 2 + cauchy / 4)
    written = keep * (jensen / 2 + cauchy / 4) if slope != 0 else slack
    steps = [
        *_activation_steps(slope),
        *_jensen_steps(),
        *_root_steps(),
        zero_step((given_1 - given_0) / 2, bound + slack,
                  "s_j = (E[psi(p)|1] - E[psi(p)|0])/2, E relu(p|1) = max(m_1, 0) + u_1, E|p| = sqrt(m_0^2 + v) - u_0"),
        _at_least(s, bound, written, "what is left over, (1 - a)(u_1/2 + u_0/4), is not negative"),
    ]  # fmt: skip
    needs = (
        "m_z = E[p_j|z_mu = z], finite",
        "v >= Var(p_j|z_mu = 0)",
        "psi is p above zero and a p below, 0 <= a <= 1",
    )
    text = "s_j >= a/2 (m_1 - m_0) + (1 - a) B, B = 1/2 (max(m_1, 0) - 1/2 (m_0 + sqrt(m_0^2 + v)))"
    if slope == 0:
        text = "s_j >= 1/2 (max(m_1, 0) - 1/2 (m_0 + sqrt(m_0^2 + v)))"
    below = {slope: 1 - keep} if slope != 0 else {}
    claim = Claim(text, (Ge(s, bound, evaluate=False),), needs)
    # Both differences can be 0 at once: of a law with one value in state 1, and of one with values A and -A in state 0.
    sharp = {jensen: Integer(0), cauchy: Integer(0)}
    return Derivation(
        SLUG, claim, tuple(steps), None, reading(partial(_above, {s: (given_1 - given_0) / 2}, below, sharp))
    )


def _above(
    meanings: Mapping[Expr, Expr], below: Mapping[Expr, Expr], sharp: Mapping[Expr, Expr], relation: Basic
) -> Decision:
    """An inequality: the difference has no negative term, or an exact point that a law has refutes it."""
    if not isinstance(relation, sympy.core.relational.Relational) or isinstance(relation, sympy.Equality):
        return undecided(relation)
    if has_slack(relation):
        return undecided(relation)
    written = with_meanings(relation, meanings)
    difference = sympy.expand(written.gts - written.lts)
    if isinstance(relation, sympy.GreaterThan | sympy.LessThan):
        found = decide_nonnegative(sympy.expand(difference.xreplace(dict(below))))
        if found:
            return found
    for point, value in exact_points(difference.xreplace(dict(sharp))):
        inside = all(0 <= point.get(s, 0) <= 1 for s in below)
        if inside and (value.is_negative or (value == 0 and relation.rel_op in "<>")):
            return Decision(False, POINT, f"at {describe(point)} the difference is {value}")
    return undecided(relation)


def derive_gap() -> Derivation:
    """``g_j = E[p_j|z_mu = 1] - E[p_j|z_mu = 0] = 2 w_j^T a_mu``."""
    moved, stated = [], []
    steps = []
    for i in (1, 2):
        p_0, p_1, f_0, f_1, w = reals(f"p_{{0{i}}} p_{{1{i}}} F_{{0{i}}} F_{{1{i}}} w_{{{i}}}")
        means = [(1 - p) * f_0 + p * f_1 for p in (p_0, p_1)]
        rho, s = p_1 - p_0, (f_1 - f_0) / 2
        moved.append((w * means[1], w * means[0]))
        stated.append(w * (rho * s))
        if i == 1:
            reason = (
                "a binary child: P(z_nu = 1|z_mu = z) = p_z, rho = p_1 - p_0, s_k = (F_1 - F_0)/2: "
                "f_k moves by 2 rho s_k"
            )
            steps.append(zero_step(means[1] - means[0], 2 * rho * s, reason))
    left = sympy.Add(*(high for high, _ in moved)) - sympy.Add(*(low for _, low in moved))
    right = 2 * sympy.Add(*stated)
    steps.append(
        zero_step(left, right, "p_j = w_j^T f is linear: one term for each neuron of the children, two are shown")
    )
    weights = quantity("weights", "w_{j}", NEURONS, 1, where={"neuron": "j"})
    moved_by = quantity("selectivity along edges", r"a_{\mu}", NEURONS, 1)
    gap = quantity("gap", "g_{j}", 1, 1, where={"neuron": "j"})
    above, below = (
        quantity("mean pre-activation", rf"\mathbb{{E}}[p_{{j}}\mid{{z_{{\mu}}={z}}}]", 1, 1, where={"state": z})
        for z in (1, 0)
    )
    entry = quantity("selectivity along an edge", r"a_{\mu,k}")
    rho, s = quantity("polarity", r"\rho_{\mu,\nu(k)}"), quantity("selectivity", "s_{k}", where={"neuron": "k"})
    relations = (
        equation(gap, MatAdd(above, -below)),
        equation(gap, MatMul(2, Transpose(weights), moved_by)),
        equation(entry, rho * s),
    )
    # For all sizes: the children's means given both states of z_mu, whose difference is 2 a_mu entry by entry.
    high, low = (MatrixSymbol(rf"\mathbb{{E}}[f\mid{{z_{{\mu}}={z}}}]", NEURONS, 1) for z in (1, 0))
    meanings: dict[Any, Any] = {
        gap: weights.T * (high - low), above: weights.T * high, below: weights.T * low, moved_by: (high - low) / 2,
    }  # fmt: skip
    steps.append(
        identity_step(
            weights.T * high - weights.T * low, 2 * weights.T * moved_by,
            "for every number of neurons: a_mu is half of what their means move by", meanings,
        )
    )  # fmt: skip
    one, other, first, second = reals("p_{11} p_{01} F_{11} F_{01}")
    meanings |= {
        entry: ((1 - one) * second + one * first - (1 - other) * second - other * first) / 2,
        rho: one - other, s: (first - second) / 2,
    }  # fmt: skip
    needs = (MARKOV, "binary z_mu and children")
    text = (
        "g_j = E[p_j|z_mu = 1] - E[p_j|z_mu = 0] = 2 w_j^T a_mu, a_mu = [rho_{mu nu} s_k] over the children's neurons k"
    )
    return Derivation(
        SLUG, Claim(text, relations, needs), tuple(steps), sympy.expand(left - right), identity_reading(meanings),
        dict.fromkeys((one, other), (Integer(0), Integer(1))),
    )  # fmt: skip


def derive_existence() -> Derivation:
    """``1 - (1 - P_t)^m``, and ``m >= log(delta)/log(1 - P_t)`` suffices for ``1 - delta``."""
    p, none = _nonnegative("P_{t} (1-P_{t})^{m}")
    t, rate, wanted, fewer = sympy.symbols(r"t R L u", positive=True)
    more = Symbol("w", nonnegative=True)
    enough, short = wanted / rate + more, wanted / rate - fewer
    steps = [
        zero_step((1 - none) + none * p, 1 - none * (1 - p),
                  "independent neurons, by induction over m: some of m is lucky, or none of them and the next one"),
        positive_step(sympy.log(1 + t), sympy.log(1 + t),
                  "1 - P_t = 1/(1 + t) with t > 0: R = -log(1 - P_t) = log(1 + t) > 0"),
        _at_least(enough * rate, wanted, enough * rate - wanted,
                  "L = -log(delta), m = L/R + w with w >= 0: m R >= L, so that (1 - P_t)^m <= delta"),
        positive_step(sympy.expand(wanted - short * rate), wanted - short * rate,
                  "m = L/R - u with u > 0: m R < L, so that (1 - P_t)^m > delta; no smaller number suffices"),
    ]  # fmt: skip
    text = (
        "P(some g_j >= t) = 1 - (1 - P_t)^m with P_t = P(g_j >= t), "
        "at least 1 - delta just for m >= log(delta)/log(1 - P_t)"
    )
    m, delta = Symbol("m", integer=True, positive=True), Symbol(r"\delta", positive=True)
    P = quantity("probability of a lucky neuron", r"\mathbb{P}[\exists{j}: g_{j} \ge t]")
    enough_shown = Ge(m, sympy.log(delta) / sympy.log(1 - p), evaluate=False)
    relations = (
        equation(p, TAIL),
        equation(P, 1 - (1 - p) ** m),
        sympy.Equivalent(Ge(P, 1 - delta, evaluate=False), enough_shown),
    )
    needs = ("neurons iid at initialisation, a_mu given", "0 < P_t < 1", "0 < delta < 1")
    read = reading(partial(_existence, p, P, m))
    ranges = dict.fromkeys((p, delta), (Integer(0), Integer(1)))
    return Derivation(SLUG, Claim(text, relations, needs), tuple(steps), None, read, ranges)


def _existence(p: Expr, P: Expr, m: Expr, relation: Basic) -> Decision:
    """P_t by its definition; P by induction over the neurons; the number of neurons by the logarithm of both sides."""
    if isinstance(relation, sympy.Equality) and relation.lhs == p:
        return decide_zero(relation.rhs.xreplace({TAIL: p}) - p)
    if isinstance(relation, sympy.Equality) and relation.lhs == P and not relation.rhs.has(P):
        here = relation.rhs.xreplace({TAIL: p})
        further = here.xreplace({m: m + 1})
        none = decide_zero(here.xreplace({m: Integer(0)}))
        one = decide_zero(sympy.expand(here.xreplace({m: Integer(1)})) - p)
        step = decide_zero(sympy.powsimp(sympy.expand(further - here - (1 - here) * p)))
        return combine([none, one, step])
    if isinstance(relation, sympy.Equivalent) and len(relation.args) == 2:
        sides = {part.lhs: part.rhs for part in relation.args if isinstance(part, Ge)}
        if set(sides) == {P, m} and sympy.expand(1 - sides[P]).is_positive:
            # 1 - (1 - p)^m >= 1 - d is m log(1 - p) <= log d, and log(1 - p) < 0.
            return decide_zero(sympy.log(sympy.expand(1 - sides[P])) - sides[m] * sympy.log(1 - p))
    return undecided(relation)


def derive_law() -> Derivation:
    """The signed-power formula, by induction over the coefficients."""
    t, y, k, after, before = reals("t y K T S")
    c, x = sympy.symbols("c x", positive=True)
    n = Symbol("n", integer=True, positive=True)
    steps = [
        zero_step(sympy.integrate(1 / (2 * c), (y, t, c)), ((c - t) - 0) / (2 * c),
                  "n = 1: P(c u >= t) = ((c - t)_+ - (-c - t)_+)/(2 c), inside [-c, c]"),
        zero_step(sympy.diff((x + y) ** (n + 1) / (n + 1), y), (x + y) ** n,
                  "(.)_+^(n+1)/(n+1) is an antiderivative of (.)_+^n, which is continuous at 0"),
        zero_step(k / (2 * c) * (after / (n + 1) - before / (n + 1)), k / (2 * c * (n + 1)) * (after - before),
                  "one more uniform u: E K (r + c u - t)_+^n = K/(2 c) times the antiderivative between its "
                  "ends; T and S are (r + c - t)_+^(n+1) and (r - c - t)_+^(n+1), the signs +1 and -1 of the new term"),
        zero_step(1 / (2**n * sympy.factorial(n)) / (2 * (n + 1)), 1 / (2 ** (n + 1) * sympy.factorial(n + 1)),
                  "K = 1/(2^n n! prod c) times 1/(2 c (n + 1)) is K of n + 1"),
    ]  # fmt: skip
    text = "P(g >= t) = sum over signs (prod of signs) (sum_i sign_i c_i - t)_+^n / (2^n n! prod c_i), c_i = 2 b |a_i|"
    needs = ("w iid uniform on [-b, b]", "coefficients not zero")
    relations = law_relations()
    (b,) = (symbol for symbol in relations[1].rhs.free_symbols if symbol.name == "b")
    ranges = {b: (Integer(0), Integer(4))}
    return Derivation(
        SLUG, Claim(text, relations, needs), tuple(steps), None, reading(partial(_law, relations)), ranges
    )


def _law(derived: tuple[Basic, ...], relation: Basic) -> Decision:
    """The law against what the induction gives, and at n = 1 and 2 against the areas themselves."""
    for known in derived:
        if isinstance(relation, sympy.Equality) and relation.lhs == known.lhs:
            ratio = sympy.powsimp(relation.rhs / known.rhs)
            if ratio == 1:
                return Decision(True, POLYNOMIAL, "the law of the induction over n")
            found = decide_zero(ratio - 1)
            return found if relation.lhs != TAIL or found.value is None else _law_at_two(relation.rhs, found)
    return undecided(relation)


def _law_at_two(stated: Expr, found: Decision) -> Decision:
    """The refuting point of a law: ``P(u_1 + u_2 >= 1) = 1/8`` for two uniforms on [-1, 1], by an area."""
    values = {_LEVEL: Integer(1)} | {SIZE[i]: Integer(1) for i in (1, 2)}
    value = stated.xreplace({NEURONS: Integer(2)}).doit().xreplace(values)
    if value == Rational(1, 8):
        return found
    return Decision(False, POINT, f"at n = 2, c = (1, 1), t = 1 the law gives {value}, the area is 1/8")


_WAYS: Mapping[str, Callable[[], Derivation]] = MappingProxyType(
    {
        "strength": lambda: derive_strength(Integer(0)),
        "leaky": lambda: derive_strength(Symbol("a", nonnegative=True)),
        "gap": derive_gap,
        "existence": derive_existence,
        "law": derive_law,
    }
)
CLAIMS = tuple(_WAYS)


def derive_lucky(claim: str = "strength") -> Derivation:
    """Derive one part of statement 7: "strength" (ReLU), "leaky", "gap", "existence" or "law"."""
    return _WAYS[claim]()
