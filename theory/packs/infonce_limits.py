"""InfoNCE at its ends: many negatives (arXiv 2005.10242), its minimum, and mutual information (arXiv 1807.03748).

Scores s(x, y) are any function of a pair, divided by the temperature. The loss of an anchor with its positive and H
negatives of the marginal law is ``-log(e^s / (e^s + sum_k e^(s_k)))``. All three results come from one inequality,
``log y <= y - 1``, under an expectation over the outcomes of a finite law of any size or over the others of an anchor.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import sympy
from sympy import Basic, Expr, IndexedBase, Rational, Sum, Symbol

from theory.core.claim import Claim, Reading, equation
from theory.core.decide import ABSTAINED, Decision, decide_zero
from theory.core.derivation import Derivation, Step, concluded, zero_step
from theory.core.normal import linear_sums, quotient
from theory.core.notation import H, k, tau
from theory.core.order import decide_relation
from theory.core.quantity import has_slack, quantity, slack_symbol
from theory.packs.inequalities import RATIO, logarithm_steps, put_into, refuted_by_examples

DRAWN = "the negatives are independent draws from the law of the second member of the pair, independent of the anchor"
POSITIVE = "tau > 0"
UNIT = "||f_i|| = 1"
ROOM = "N <= d + 1 (for the simplex to exist; the bound needs no room)"
BOUNDED = "the scores are bounded, so that a = min_y e^s(x, y) > 0"
FINITE = "the laws are finite with positive probabilities"
NONNEGATIVE = "an expectation is linear, and that of a number that is not negative is not negative"
MOMENTS = "the sum of H independent exponents has the moments H m and H (v + m^2) + H (H - 1) m^2"
MEANS = "||sum_i f_i||^2 = sum_ij <f_i, f_j>, and a mean over anchors of numbers that are not negative is not negative"
EXCHANGE = (
    "under p(x) p(y_1) .. p(y_N) the candidates are exchangeable: E[F(y_1)] = E[sum_j F(y_j)]/N for F symmetric in the "
    "others, and E[r_1] = 1"
)
DEFINED = (
    "I = E[log r_1], L_N = E[log(sum_j e^(c_j)/e^(c_1))], D_mix = E[log(sum_j r_j/N)] and D_post = "
    "E[log(r_1/sum_j r_j) - log(e^(c_1)/sum_j e^(c_j))], with y_1 the positive, r_j = p(x, y_j)/(p(x) p(y_j)) and "
    "c_j = s(x, y_j)"
)

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


# One outcome is a draw of all negatives; k runs over the outcomes of a finite law, of any number.
OUTCOMES = Symbol("K", integer=True, positive=True)
CHANCE = IndexedBase(r"\rho", positive=True)
MEAN_OF_DRAW = IndexedBase("y", positive=True)
_UPPER, _LOWER, _OVER_LEAST = (IndexedBase(sympy.Dummy(name), nonnegative=True) for name in ("h", "g", "b"))
_REST = slack_symbol("E[h]")


def over_outcomes(term: Expr) -> Expr:
    """The sum over all outcomes."""
    return Sum(term, (k, 1, OUTCOMES))


def draw_moments() -> dict[Expr, Expr]:
    """Total and two moments of ``y = (e^s + sum_k e^(s_k))/H``, by independence."""
    y, p = MEAN_OF_DRAW[k], sympy.exp(SCORE)
    square = (H * (VARIANCE + MEAN**2) + H * (H - 1) * MEAN**2) / H**2
    return {
        over_outcomes(CHANCE[k]): sympy.S.One,
        over_outcomes(CHANCE[k] * y): MEAN + p / H,
        over_outcomes(CHANCE[k] * y**2): square + 2 * p / H * MEAN + p**2 / H**2,
    }


def prove_limit(relation: Basic) -> Decision:
    """Decide a bound of ``LOSS = E[log(H y)] - s`` by a tangent of ``log y`` under the expectation."""
    y, m = MEAN_OF_DRAW[k], MEAN
    above = y / m - 1 - _UPPER[k]
    below = y / m - 1 - (y - m) ** 2 / (LEAST * m) + _LOWER[k] + _OVER_LEAST[k]
    tangent = {sympy.LessThan: above, sympy.GreaterThan: below}.get(relation.func)
    if tangent is None:
        return Decision(None, ABSTAINED, "bounds are derived, no equation")
    loss = over_outcomes(CHANCE[k] * (sympy.log(H) + sympy.log(m) + tangent)) - SCORE
    sums = draw_moments() | {over_outcomes(CHANCE[k] * rest[k]): _REST for rest in (_UPPER, _LOWER, _OVER_LEAST)}
    return proved_by({LOSS: loss}, sums, relation)


def proved_by(meanings: Values, sums: Values, relation: Basic) -> Decision:
    """Decide a relation with meanings put in and the sums over outcomes that are derived, by sign or normal form."""
    if has_slack(relation):
        return Decision(None, ABSTAINED, "the claim names what only a derivation puts in")
    gap = sympy.expand(linear_sums(sympy.expand((relation.lhs - relation.rhs).xreplace(dict(meanings)))))
    gap = sympy.expand(gap.xreplace(dict(sums)))
    if gap.has(Sum):
        return Decision(None, ABSTAINED, f"a sum that is not derived: {min(gap.atoms(Sum), key=str)!s:.60}")
    if isinstance(relation, sympy.Equality):
        return decide_zero(gap)
    return decide_relation(relation.func(sympy.factor(gap), 0, evaluate=False))


def limit_steps() -> list[Step]:
    """Both tangents of the logarithm, and the moments of a mean of H independent draws."""
    y, m, v, p = RATIO, MEAN, VARIANCE, sympy.exp(SCORE)
    second = (H * (v + m**2) + H * (H - 1) * m**2) / H**2
    above = LEAST + sympy.Dummy("t", nonnegative=True)
    least = sympy.Ge(sympy.factor((above - m) ** 2 * (1 / (LEAST * m) - 1 / (above * m))), 0, evaluate=False)
    return [
        *logarithm_steps(),
        zero_step(y - 1 - (y - 1) ** 2 / y, 1 - 1 / y, "at 1/y: log y >= 1 - 1/y, so y - 1 - log y <= (y - 1)^2/y"),
        Step(least, "y >= a: (y - m)^2/(y m) <= (y - m)^2/(a m)", decide_relation(least)),
        zero_step(second - m**2, v / H, "the mean of H independent exponents has variance v/H"),
        zero_step(
            second + 2 * p / H * m + p**2 / H**2 - 2 * m * (m + p / H) + m**2, v / H + p**2 / H**2,
            "with the positive, y = (e^s + sum_k e^(s_k))/H has E[y] = m + e^s/H and E[(y - m)^2] = v/H + e^(2s)/H^2",
        ),
    ]  # fmt: skip


# The minimum: N = H + 1 unit vectors, each with itself as its positive.

BATCH_LOSS = quantity("loss of the batch", "L")
SIMPLEX_LOSS = quantity("loss of the simplex", r"L_{\mathrm{simplex}}")
SQUARE = quantity("squared norm of the sum", r"\|\sum_{i} f_i\|^2", nonnegative=True)
LEVEL = sympy.exp(-(H + 1) / (H * tau))
SLOPE = LEVEL / (1 + H * LEVEL)
MINIMUM = sympy.log(1 + H * LEVEL)
_AT_SIMPLEX = -1 / H
EXPONENTS = IndexedBase("w", real=True)
"""``w_k = (<f_i, f_k> - 1)/tau`` of an anchor i and its others."""
_ABOVE = IndexedBase(sympy.Dummy("h"), nonnegative=True)
_ABOVE_OWN, _ABOVE_OTHERS = slack_symbol("E[h_{0}]"), slack_symbol("E[sum_{k} h_{k}]")
_EQUAL, _PARTITION = (sympy.Dummy(name, positive=True) for name in ("q", "Z"))


def over_others(term: Expr) -> Expr:
    """The sum over the H others of an anchor."""
    return Sum(term, (k, 1, H))


def above_tangent() -> Expr:
    """``log Z`` of an anchor, ``Z = 1 + sum_k e^(w_k)``, by ``log Z = w_k - log q - log y_k``, ``y_k = e^(w_k)/(q Z)``.

    Times q and summed over all, with ``log y = y - 1 - h``. The share q is that at equal similarities -1/H; the
    positive has w = 0 and the share that is left.
    """
    w, own = EXPONENTS[k], 1 / (1 + H * LEVEL)
    log_share = -(H + 1) / (H * tau) - MINIMUM
    others = _EQUAL * (w - log_share) - sympy.exp(w) / _PARTITION + _EQUAL + _EQUAL * _ABOVE[k]
    total = linear_sums(over_others(sympy.expand(others))) + own * (MINIMUM + 1 + _ABOVE_OWN) - 1 / _PARTITION
    return sympy.expand(total.xreplace({over_others(sympy.exp(w)): _PARTITION - 1})).xreplace({_EQUAL: SLOPE})


def prove_minimum(relation: Basic) -> Decision:
    """Put the mean over anchors of the tangent and a rest that is not negative, and the loss at the simplex."""
    similarities = (SQUARE - (H + 1)) / (H + 1)  # the mean of sum_k <f_i, f_k> over the anchors
    sums = {over_others(EXPONENTS[k]): (similarities - H) / tau, over_others(_ABOVE[k]): _ABOVE_OTHERS}
    simplex = sympy.log(1 + linear_sums(over_others(sympy.exp((_AT_SIMPLEX - 1) / tau))))
    return proved_by({BATCH_LOSS: above_tangent().xreplace(sums), SIMPLEX_LOSS: simplex}, {}, relation)


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
    """Every anchor lies above its tangent, the tangents sum to the square of the sum, and touch at the simplex."""
    own, w, y, n = 1 / (1 + H * LEVEL), EXPONENTS[k], RATIO, H + 1
    tangent = MINIMUM + SLOPE * (over_others(w) + n / tau)
    rest = SLOPE * over_others(_ABOVE[k]) + own * _ABOVE_OWN
    similarities = (SQUARE - n) / n
    return [
        *logarithm_steps(),
        zero_step(H * SLOPE + own, sympy.S.One, "the shares of the others and of the positive at equal similarities"),
        zero_step(
            sympy.log(_EQUAL * _PARTITION * y), sympy.log(_EQUAL) + sympy.log(_PARTITION) + sympy.log(y),
            "log Z = w_k - log q - log y_k for every other, y_k = e^(w_k)/(q Z), and the same for the positive",
        ),
        zero_step(
            above_tangent(), tangent + rest,
            "times the shares and summed, log y = y - 1 - h with h >= 0: log Z is its tangent at equal similarities "
            "and a rest",
        ),
        zero_step(
            MINIMUM + SLOPE * ((similarities - H) / tau + n / tau), MINIMUM + SLOPE * SQUARE / (n * tau),
            "mean of the tangents over the anchors: sum_{i != j} <f_i, f_j> = ||sum f_i||^2 - N",
        ),
        zero_step(
            (2 * (1 - 1 / n) * (-1 / n) + (n - 2) / n**2) / ((1 - 1 / n) ** 2 + H / n**2), _AT_SIMPLEX,
            "similarity of e_i - (1/N, .., 1/N) and e_j - (1/N, .., 1/N), the corners of the simplex",
        ),
        zero_step((_AT_SIMPLEX - 1) / tau, -n / (H * tau), "exponent of the others at the simplex, where h = 0"),
    ]  # fmt: skip


# Mutual information.

INFORMATION = quantity("mutual information", "I(X; Y)")
EXPECTED_LOSS = quantity("expected loss", "L_{N}")
MIXTURE = quantity("divergence of the mixture", r"D_{\mathrm{mix}}")
POSTERIOR = quantity("divergence of the posterior", r"D_{\mathrm{post}}")
N = H + 1
# An outcome k is an anchor with its candidates, of chance rho r under the joint law, rho under the product law.
RATIO_OF_POSITIVE, SUM_OF_RATIOS = (IndexedBase(name, positive=True) for name in ("r", "R"))
EXPONENT_OF_POSITIVE, SUM_OF_EXPONENTS = (IndexedBase(name, positive=True) for name in ("e", "Z"))
_MIX, _POST = (IndexedBase(sympy.Dummy(name), nonnegative=True) for name in ("h", "g"))
_MIX_REST, _POST_REST = slack_symbol("E[h]"), slack_symbol("E[g]")


def under_joint(term: Expr) -> Expr:
    """The expectation under the joint law."""
    return over_outcomes(CHANCE[k] * RATIO_OF_POSITIVE[k] * term)


def definitions() -> dict[Any, Expr]:
    """Information, loss and both divergences as sums over the outcomes."""
    r, whole, e, z = (one[k] for one in (RATIO_OF_POSITIVE, SUM_OF_RATIOS, EXPONENT_OF_POSITIVE, SUM_OF_EXPONENTS))
    log = sympy.log
    return {
        INFORMATION: under_joint(log(r)),
        EXPECTED_LOSS: under_joint(log(z) - log(e)),
        MIXTURE: under_joint(log(whole) - log(N)),
        POSTERIOR: under_joint(log(r) - log(whole) - log(e) + log(z)),
    }


def shares(of: IndexedBase) -> Expr:
    """The sum over the N candidates of ``a_k/sum_j a_j``."""
    return Sum(of[k] / Sum(of[k], (k, 1, N)), (k, 1, N))


def sum_of_shares(of: IndexedBase) -> Expr:
    """The same by linearity: 1."""
    return quotient(linear_sums(shares(of)))


def exchanged_sums() -> dict[Expr, Expr]:
    """Totals, and what `EXCHANGE` gives: a share of the first candidate is 1/N of the sum of all shares."""
    r, whole, e, z = (one[k] for one in (RATIO_OF_POSITIVE, SUM_OF_RATIOS, EXPONENT_OF_POSITIVE, SUM_OF_EXPONENTS))
    return {
        over_outcomes(CHANCE[k] * r): sympy.S.One,
        over_outcomes(CHANCE[k] * r / whole): sum_of_shares(RATIO_OF_POSITIVE) / N,
        over_outcomes(CHANCE[k] * whole * e / z): sum_of_shares(EXPONENT_OF_POSITIVE),
    }


def prove_information(relation: Basic) -> Decision:
    """Put the definitions; in an inequality also ``log z = 1 - 1/z + h`` for the argument z of each divergence."""
    r, whole, e, z = (one[k] for one in (RATIO_OF_POSITIVE, SUM_OF_RATIOS, EXPONENT_OF_POSITIVE, SUM_OF_EXPONENTS))
    meanings, sums = definitions(), exchanged_sums()
    if not isinstance(relation, sympy.Equality):
        mixture = sympy.log(N) + 1 - N / whole + _MIX[k]
        ratio = mixture + sympy.log(e) - sympy.log(z) + 1 - whole * e / (r * z) + _POST[k]
        tangents = {sympy.log(whole): mixture, sympy.log(r): ratio}
        meanings = {symbol: under_joint(_inner(value).xreplace(tangents)) for symbol, value in meanings.items()}
        sums |= {
            over_outcomes(CHANCE[k] * r * _MIX[k]): _MIX_REST, over_outcomes(CHANCE[k] * r * _POST[k]): _POST_REST,
        }  # fmt: skip
    return proved_by(meanings, sums, relation)


def _inner(expectation: Expr) -> Expr:
    """The term of `under_joint`."""
    return expectation.function / (CHANCE[k] * RATIO_OF_POSITIVE[k])


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


def written_out() -> tuple[tuple[Expr, str], ...]:
    """The sums that use the exchange, for a symbolic law on two by two values and one negative; each is 1."""
    mass = {(a, b): Symbol(f"q_{{{a}{b}}}", positive=True) for a, b in product(range(2), repeat=2)}
    whole = sympy.Add(*mass.values())
    first = [mass[a, 0] + mass[a, 1] for a in range(2)]
    second = [mass[0, b] + mass[1, b] for b in range(2)]
    ratio = {(a, b): mass[a, b] * whole / (first[a] * second[b]) for a, b in mass}
    w = {(a, b): Symbol(f"w_{{{a}{b}}}", positive=True) for a, b in mass}
    mixture = posterior = sympy.S.Zero
    for a, b, c in product(range(2), repeat=3):
        chance, both = mass[a, b] * second[c] / whole**2, ratio[a, b] + ratio[a, c]
        mixture += chance * 2 / both
        posterior += chance * both * w[a, b] / (ratio[a, b] * (w[a, b] + w[a, c]))
    return (mixture, "E[N/sum_j r_j]"), (posterior, "E[sum_j r_j e^(c_1)/(r_1 sum_j e^(c_j))]")


def information_steps() -> list[Step]:
    """The identity by expanding logarithms, and ``E[1/z] = 1`` for both divergences."""
    parts, ratios, exponents = definitions(), shares(RATIO_OF_POSITIVE), shares(EXPONENT_OF_POSITIVE)
    left = parts[INFORMATION] - sympy.log(N) * under_joint(sympy.S.One) + parts[EXPECTED_LOSS]
    right = parts[MIXTURE] + parts[POSTERIOR]
    return [
        *logarithm_steps(),
        zero_step(1 - 1 / RATIO, (RATIO - 1) / RATIO, "at 1/z: log z >= 1 - 1/z, so E[log z] >= 1 - E[1/z]"),
        Step(
            equation(left, right), "I - log N + L = D_mix + D_post, term by term over the outcomes of any finite law",
            decide_zero(linear_sums(sympy.expand(left - right))),
        ),
        Step(
            equation(ratios, sympy.S.One),
            "D_mix, z = sum_j r_j/N: E[1/z] is N E[r_1/sum_j r_j] under p(x, y)/r_1 = p(x) p(y), where every candidate "
            "can stand for the first, and the N shares sum to 1",
            decide_zero(sum_of_shares(RATIO_OF_POSITIVE) - 1),
        ),
        Step(
            equation(exponents, sympy.S.One),
            "D_post, z = r_1 sum_j e^(c_j)/(sum_j r_j e^(c_1)): E[1/z] is E[sum_j r_j/N] = E[r_1] = 1 under p(x) p(y) "
            "in the same way",
            decide_zero(sum_of_shares(EXPONENT_OF_POSITIVE) - 1),
        ),
        *(
            zero_step(total, sympy.S.One, f"{name} = 1, written out for every law on two by two values, one negative")
            for total, name in written_out()
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
        (DRAWN, BOUNDED, FINITE, MOMENTS, NONNEGATIVE), limit_steps, refuted_by_examples(prove_limit, LIMIT_EXAMPLES),
    ),
    "minimum": Part(
        "unit outputs without augmentation: L >= log(1 + (N-1) e^(-N/((N-1) tau))), with the distance of sum f_i "
        "from 0, and equality at the simplex",
        (
            sympy.Ge(BATCH_LOSS, MINIMUM, evaluate=False),
            sympy.Ge(BATCH_LOSS, _BOUND, evaluate=False),
            equation(SIMPLEX_LOSS, MINIMUM),
        ),
        (UNIT, ROOM, POSITIVE, MEANS), minimum_steps, refuted_by_examples(prove_minimum, MINIMUM_EXAMPLES),
    ),
    "information": Part(
        "I(X; Y) >= log N - L_N for every critic, and the difference is a sum of two divergences, neither negative",
        (
            sympy.Ge(INFORMATION, sympy.log(N) - EXPECTED_LOSS, evaluate=False),
            equation(INFORMATION - (sympy.log(N) - EXPECTED_LOSS), MIXTURE + POSTERIOR),
            sympy.Ge(MIXTURE, 0, evaluate=False),
            sympy.Ge(POSTERIOR, 0, evaluate=False),
        ),
        (DRAWN, FINITE, DEFINED, EXCHANGE, NONNEGATIVE), information_steps,
        refuted_by_examples(prove_information, INFORMATION_EXAMPLES),
    ),
}  # fmt: skip
PARTS: tuple[str, ...] = tuple(_PARTS)
"""The formulas."""


def derive(part: str = "many-negatives") -> Derivation:
    """Derive one formula of the pack."""
    chosen = _PARTS[part]
    claim = Claim(chosen.text, chosen.relations, chosen.assumptions)
    return concluded("infonce-limits", claim, chosen.steps(), chosen.read)
