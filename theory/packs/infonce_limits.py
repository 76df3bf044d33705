"""InfoNCE at its ends: many negatives (arXiv 2005.10242), its minimum, and mutual information (arXiv 1807.03748).

Scores s(x, y) are any function of a pair, divided by the temperature. The loss of an anchor with its positive and H
negatives of the marginal law is ``-log(e^s / (e^s + sum_k e^(s_k)))``. All three results come from one inequality,
``log y <= y - 1``.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import sympy
from sympy import Basic, Expr, IndexedBase, Rational, Sum, Symbol

from theory.core.claim import Claim, Reading, equation
from theory.core.decide import Decision, decide_zero
from theory.core.derivation import Derivation, Step, stated, zero_step
from theory.core.normal import linear_sums
from theory.core.notation import H, k, tau
from theory.core.order import decide_relation
from theory.core.quantity import quantity
from theory.packs.inequalities import RATIO, logarithm_steps, put_into, refuted_by_examples

DRAWN = "the negatives are independent draws from the law of the second member of the pair, independent of the anchor"
POSITIVE = "tau > 0"
UNIT = "||f_i|| = 1"
ROOM = "N <= d + 1 (for the simplex to exist; the bound needs no room)"
FINITE = "the scores are bounded, so that a = min_y e^s(x, y) > 0"

Values = Mapping[Any, Expr]

# Many negatives: one anchor and its positive.

LOSS = quantity("expected loss of a pair", r"\ell_{H}(x, y)")
SCORE = quantity("score of the positive", "s(x, y)")
MEAN = quantity("mean exponent", "m(x)", positive=True)
VARIANCE = quantity("variance of the exponent", "v(x)", nonnegative=True)
LEAST = quantity("least exponent", "a(x)", positive=True)
MEAN_SCORE = quantity("mean score", r"\bar{s}(x)")
_SHARE = sympy.Dummy("r", nonnegative=True)
FIRST_ORDER = sympy.exp(SCORE) / (H * MEAN)
SECOND_ORDER = (VARIANCE / H + sympy.exp(2 * SCORE) / H**2) / (LEAST * MEAN)
TO_LIMIT = LOSS - sympy.log(H) + SCORE - sympy.log(MEAN)


def example_values(score: Expr, exponents: Sequence[int], negatives: int) -> tuple[str, Callable[[Basic], Basic]]:
    """An anchor whose negatives have these exponents, equally likely."""
    each, count = [sympy.Integer(e) for e in exponents], len(exponents)
    mean = sympy.Add(*each) / count
    losses = [sympy.log(sympy.exp(score) + sympy.Add(*drawn)) - score for drawn in product(each, repeat=negatives)]
    values: dict[Any, Expr] = {
        H: sympy.Integer(negatives), SCORE: score, MEAN: mean, LEAST: min(each),
        VARIANCE: sympy.Add(*((e - mean) ** 2 for e in each)) / count, LOSS: sympy.Add(*losses) / len(losses),
        MEAN_SCORE: sympy.Add(*map(sympy.log, each)) / count,
    }  # fmt: skip
    name = f"e^s = {sympy.exp(score)}, {negatives} negatives of exponents {', '.join(map(str, exponents))}"
    return name, lambda relation: put_into(relation, lambda side: side.xreplace(values))


LIMIT_EXAMPLES = (
    example_values(sympy.S.Zero, (1,), 1),
    example_values(-sympy.log(4), (1,), 1),
    example_values(sympy.S.Zero, (1,), 3),
    example_values(-sympy.log(8), (1, 7), 1),
    example_values(sympy.S.Zero, (1, 3), 2),
)


def prove_limit(relation: Basic) -> Decision:
    """Put log(H m) - s plus the first order, less a share 1/(1+r) of the second: 0 <= y - 1 - log y <= (y-1)^2/y."""
    meaning = sympy.log(H) + sympy.log(MEAN) - SCORE + FIRST_ORDER - SECOND_ORDER / (1 + _SHARE)
    return proved_by({LOSS: meaning}, relation)


def proved_by(meanings: Values, relation: Basic) -> Decision:
    """Decide a relation with meanings put in, by the sign or the normal form of its gap."""
    gap = sympy.expand((relation.lhs - relation.rhs).xreplace(dict(meanings)))
    if isinstance(relation, sympy.Equality):
        return decide_zero(gap)
    return decide_relation(relation.func(sympy.factor(gap), 0, evaluate=False))


def limit_steps() -> list[Step]:
    """Both tangents of the logarithm, and the moments of a mean of H independent draws."""
    y, m, v, p = RATIO, MEAN, VARIANCE, sympy.exp(SCORE)
    second = (H * (v + m**2) + H * (H - 1) * m**2) / H**2
    return [
        *logarithm_steps(),
        zero_step(y - 1 - (y - 1) ** 2 / y, 1 - 1 / y, "at 1/y: log y >= 1 - 1/y, so y - 1 - log y <= (y - 1)^2/y"),
        zero_step(second - m**2, v / H, "the mean of H independent exponents has variance v/H"),
        zero_step(
            second + 2 * p / H * m + p**2 / H**2 - 2 * m * (m + p / H) + m**2, v / H + p**2 / H**2,
            "with the positive, y = (e^s + sum_k e^(s_k))/H has E[y] = m + e^s/H and E[(y - m)^2] = v/H + e^(2s)/H^2; "
            "y >= a",
        ),
    ]  # fmt: skip


# The minimum: N = H + 1 unit vectors, each with itself as its positive.

BATCH_LOSS = quantity("loss of the batch", "L")
SIMPLEX_LOSS = quantity("loss of the simplex", r"L_{\mathrm{simplex}}")
SQUARE = quantity("squared norm of the sum", r"\bigl\|\textstyle\sum_{i} f_i\bigr\|^2", nonnegative=True)
LEVEL = sympy.exp(-(H + 1) / (H * tau))
SLOPE = LEVEL / (1 + H * LEVEL)
MINIMUM = sympy.log(1 + H * LEVEL)
_REST = sympy.Dummy("h", nonnegative=True)
_AT_SIMPLEX = -1 / H


def prove_minimum(relation: Basic) -> Decision:
    """The loss is the tangent at the simplex and a rest that is not negative."""
    rest = SLOPE * SQUARE / ((H + 1) * tau) + _REST
    return proved_by({BATCH_LOSS: MINIMUM + rest, SIMPLEX_LOSS: MINIMUM}, relation)


def _pair_of_points(similarity: Expr, temperature: int) -> tuple[str, Callable[[Basic], Basic]]:
    """Two unit vectors."""
    loss = sympy.log(1 + sympy.exp((similarity - 1) / temperature))
    lowest = sympy.log(1 + sympy.exp(Rational(-2, temperature)))
    values: dict[Any, Expr] = {
        H: sympy.Integer(1), tau: sympy.Integer(temperature), BATCH_LOSS: loss, SIMPLEX_LOSS: lowest,
        SQUARE: 2 + 2 * similarity,
    }  # fmt: skip
    name = f"two unit vectors of similarity {similarity}, tau = {temperature}"
    return name, lambda relation: put_into(relation, lambda side: side.xreplace(values))


MINIMUM_EXAMPLES = tuple(
    _pair_of_points(Rational(*similarity), temperature)
    for similarity, temperature in (((-1, 1), 1), ((1, 1), 1), ((0, 1), 1), ((-1, 2), 2))
)


def minimum_steps() -> list[Step]:
    """Every anchor lies above its tangent; the tangents sum to the square of the sum."""
    p, w = IndexedBase("p", positive=True), IndexedBase("w", real=True)
    mean = Sum(p[k] * sympy.exp(w[k]), (k, 1, H))
    shares = Sum(p[k] * sympy.exp(w[k]) / mean, (k, 1, H))
    level = -(H + 1) / (H * tau)
    total = (SQUARE - (H + 1)) / tau - (H + 1) * H / tau - (H + 1) * H * level
    relation = equation(shares, sympy.S.One)
    return [
        *logarithm_steps(),
        Step(
            relation,
            "log y <= y - 1 at y_k = e^(w_k)/sum_j p_j e^(w_j): log sum_k p_k e^(w_k) >= sum_k p_k w_k, so an "
            "anchor is above its tangent at equal similarities",
            decide_zero(linear_sums(shares) - 1),
        ),
        zero_step(
            total, SQUARE / tau,
            "sum of the tangents: sum_{i != j} <f_i, f_j> = ||sum f_i||^2 - N, whose least value is at ||sum f_i|| = 0",
        ),
        zero_step((_AT_SIMPLEX - 1) / tau, level, "the simplex has <f_i, f_j> = -1/(N-1): all tangents touch there"),
    ]  # fmt: skip


# Mutual information.

INFORMATION = quantity("mutual information", "I(X; Y)")
EXPECTED_LOSS = quantity("expected loss", "L_{N}")
MIXTURE = quantity("divergence of the mixture", r"D_{\mathrm{mix}}", nonnegative=True)
POSTERIOR = quantity("divergence of the posterior", r"D_{\mathrm{post}}", nonnegative=True)
N = H + 1


def prove_information(relation: Basic) -> Decision:
    """The information is log N - L plus two divergences."""
    return proved_by({INFORMATION: sympy.log(N) - EXPECTED_LOSS + MIXTURE + POSTERIOR}, relation)


def _two_by_two(joint: Sequence[int], exponents: Sequence[int]) -> tuple[str, Callable[[Basic], Basic]]:
    """A law on two by two values, one negative, worked out."""
    whole = sum(joint)
    law = {(a, b): Rational(joint[2 * a + b], whole) for a, b in product(range(2), repeat=2)}
    first = [law[a, 0] + law[a, 1] for a in range(2)]
    second = [law[0, b] + law[1, b] for b in range(2)]
    ratio = {place: chance / (first[place[0]] * second[place[1]]) for place, chance in law.items()}
    w = {(a, b): sympy.Integer(exponents[2 * a + b]) for a, b in law}
    places = [(law[a, b] * second[c], (a, b), (a, c)) for a, b, c in product(range(2), repeat=3)]
    log, terms = sympy.log, sympy.Add
    values: dict[Any, Expr] = {
        H: sympy.Integer(1),
        INFORMATION: terms(*(chance * log(ratio[place]) for place, chance in law.items())),
        EXPECTED_LOSS: terms(*(p * log((w[a] + w[b]) / w[a]) for p, a, b in places)),
        MIXTURE: terms(*(p * log((ratio[a] + ratio[b]) / 2) for p, a, b in places)),
        POSTERIOR: terms(*(p * log(ratio[a] * (w[a] + w[b]) / ((ratio[a] + ratio[b]) * w[a])) for p, a, b in places)),
    }
    name = f"joint law {', '.join(map(str, joint))} over {whole}, e^c = {', '.join(map(str, exponents))}, one negative"
    return name, lambda relation: put_into(relation, lambda side: side.xreplace(values))


INFORMATION_EXAMPLES = (
    _two_by_two((3, 1, 1, 3), (3, 1, 1, 3)),
    _two_by_two((3, 1, 1, 3), (1, 1, 1, 1)),
    _two_by_two((1, 1, 1, 1), (2, 1, 1, 1)),
)


def expected_inverse() -> tuple[Expr, Expr]:
    """``E[N e^(c_1)/(r_1 sum_j e^(c_j))]`` for a symbolic law on two by two values with one negative, and 1."""
    mass = {(a, b): Symbol(f"q_{{{a}{b}}}", positive=True) for a, b in product(range(2), repeat=2)}
    whole = sympy.Add(*mass.values())
    first = [(mass[a, 0] + mass[a, 1]) / whole for a in range(2)]
    second = [(mass[0, b] + mass[1, b]) / whole for b in range(2)]
    w = {(a, b): Symbol(f"w_{{{a}{b}}}", positive=True) for a, b in mass}
    total = sympy.S.Zero
    for a, b, c in product(range(2), repeat=3):
        ratio = (mass[a, b] / whole) / (first[a] * second[b])
        total += mass[a, b] / whole * second[c] * 2 * w[a, b] / (ratio * (w[a, b] + w[a, c]))
    return total, sympy.S.One


def information_steps() -> list[Step]:
    """``log z >= 1 - 1/z`` with ``E[1/z] = 1``, and the split of the difference into two divergences."""
    c = IndexedBase("c", real=True)
    shares = Sum(sympy.exp(c[k]) / Sum(sympy.exp(c[k]), (k, 1, N)), (k, 1, N))
    a, b, d, e = sympy.symbols(r"E[\log\,r] E[\log\,Z_c] E[c] E[\log\,Z_r]", real=True)
    return [
        *logarithm_steps(),
        zero_step(1 - 1 / RATIO, (RATIO - 1) / RATIO, "at 1/y: log z >= 1 - 1/z; I - log N + L is E[log z], "
                  "z = r_1 sum_j e^(c_j)/(N e^(c_1)), r = p(x, y)/(p(x) p(y))"),
        Step(
            equation(shares, sympy.S.One),
            "under p(x, y)/r = p(x) p(y) the positive is a draw like the negatives, and can be exchanged with them: "
            "the N shares e^(c_k)/sum_j e^(c_j) sum to 1, so E[1/z] = 1",
            decide_zero(linear_sums(shares) - 1),
        ),
        zero_step(*expected_inverse(), "the same for every law on two by two values and one negative, written out"),
        zero_step(
            a - sympy.log(N) + (b - d), (e - sympy.log(N)) + (a - e - d + b),
            "the difference is D_mix = E[log(sum_j r_j/N)] and "
            "D_post = E[log(r_1/sum_j r_j) - log(e^(c_1)/sum_j e^(c_j))]",
        ),
    ]  # fmt: skip


@dataclass(frozen=True)
class Part:
    """One formula: text, relations, what is assumed, steps, and how it is read."""

    text: str
    relations: tuple[Basic, ...]
    assumptions: tuple[str, ...]
    steps: Callable[[], list[Step]]
    read: Reading


_BOUND = MINIMUM + SLOPE * SQUARE / ((H + 1) * tau)
_PARTS: Mapping[str, Part] = {
    "many-negatives": Part(
        "the loss less log H tends to log E_y e^s(x, y) - s(x, y+) at rate 1/H: both bounds of the rest are O(1/H)",
        (
            sympy.Le(TO_LIMIT, FIRST_ORDER, evaluate=False),
            sympy.Ge(TO_LIMIT, FIRST_ORDER - SECOND_ORDER, evaluate=False),
        ),
        (DRAWN, FINITE), limit_steps, refuted_by_examples(prove_limit, LIMIT_EXAMPLES),
    ),
    "minimum": Part(
        "unit outputs without augmentation: L >= log(1 + (N-1) e^(-N/((N-1) tau))), with the distance of sum f_i "
        "from 0, and equality at the simplex",
        (
            sympy.Ge(BATCH_LOSS, MINIMUM, evaluate=False),
            sympy.Ge(BATCH_LOSS, _BOUND, evaluate=False),
            equation(SIMPLEX_LOSS, MINIMUM),
        ),
        (UNIT, ROOM, POSITIVE), minimum_steps, refuted_by_examples(prove_minimum, MINIMUM_EXAMPLES),
    ),
    "information": Part(
        "I(X; Y) >= log N - L_N for every critic, and the difference is the sum of two divergences",
        (
            sympy.Ge(INFORMATION, sympy.log(N) - EXPECTED_LOSS, evaluate=False),
            equation(INFORMATION - (sympy.log(N) - EXPECTED_LOSS), MIXTURE + POSTERIOR),
        ),
        (DRAWN,), information_steps, refuted_by_examples(prove_information, INFORMATION_EXAMPLES),
    ),
}  # fmt: skip
PARTS: tuple[str, ...] = tuple(_PARTS)
"""The formulas."""


def derive(part: str = "many-negatives") -> Derivation:
    """Derive one formula of the pack."""
    chosen = _PARTS[part]
    steps = [*chosen.steps(), *(stated(one, "the claim, word by word", chosen.read) for one in chosen.relations)]
    claim = Claim(chosen.text, chosen.relations, chosen.assumptions)
    return Derivation("infonce-limits", claim, tuple(steps), None, chosen.read)
