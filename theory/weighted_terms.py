"""Statement 4 (arXiv 2010.00578): the two pairs of the gradient as moments, graded by the spread s.

``K(x;a) = Kbar(x) + s kappa(x;a)``, ``f(x;a) = fbar(x) + s phi(x;a)``, ``f(x) = fbar(x) + s b(x)``: the power
of s of a term is the number of its letters kappa, phi, b.
"""

import sympy
from sympy import Basic, Indexed, IndexedBase, MatrixExpr, Rational, Symbol

from theory.core.derivation import equation
from theory.core.expectation import Law, Letter, Moment, Term, letter
from theory.core.notation import negative, pair_distance, r
from theory.towers.moment_steps import WEIGHT, factored, with_homogeneity

SPREAD = Symbol("s", positive=True)
XI, SLOPE, SLOPE_OTHER = r"\xi", r"\xi'", r"\xi'_{kj}"
EVEN, ODD, POSITIVE = r"\xi^{s}", r"\xi^{a}", r"w_{+}"

ANCHOR, NEGATIVE, OTHER = "x", "x_k", "x_j"
NOISE = ("kappa", "phi", "b")


def law_of(single: bool) -> Law:
    """Zero-mean deviations; with one negative xi is symmetric in its two points."""
    parities = {EVEN: 1, ODD: -1} | ({XI: 1, SLOPE: 1} if single else {})
    return Law(means={"kappa": None, "phi": None}, symmetric=parities)


def scalar(name: str, *points: str) -> Moment:
    """A scalar letter that depends on points only."""
    return Moment.of(Letter(name, tuple((p, "") for p in points))).as_scalar()


def gap(mean: str, noise: str, first: tuple[str, str], second: tuple[str, str]) -> Moment:
    """``A(first) - A(second)`` with ``A = mean + noise``; the power of s is the number of noise letters."""
    return augmented(mean, noise, *first) - augmented(mean, noise, *second)


def augmented(mean: str, noise: str, point: str, copy: str) -> Moment:
    """``mean(point) + s noise(point; copy)``."""
    return letter(mean, point) + letter(noise, point, copy)


def order_part(moment: Moment, order: int) -> Moment:
    """The coefficient of ``s^order``: the terms with that many deviations."""

    def count(term: Term) -> int:
        return sum(item.name in NOISE for word in (term.word, *term.scalars) for item in word)

    return Moment({term: c for term, c in moment.terms.items() if count(term) == order})


def inner(point: str, toward: Moment) -> Moment:
    """``<Delta, toward>`` with ``Delta = fbar(x) - fbar(point)``."""
    delta = letter("fbar", ANCHOR) - letter("fbar", point)
    return (delta.transposed() * toward).as_scalar()


def negative_pair(convention: str, single: bool) -> Moment:
    """``w_k (K_1 - K_k)(f_1 - f_k)`` with ``w_k = xi_k + s sum_j xi'_kj <Delta_j, phi_1 - phi_j>``."""
    first, second = (ANCHOR, "1"), (NEGATIVE, "1")
    weight = scalar(XI, ANCHOR, NEGATIVE)
    change = letter("phi", ANCHOR, "1") - letter("phi", NEGATIVE, "1")
    weight = weight + scalar(SLOPE, ANCHOR, NEGATIVE) * inner(NEGATIVE, change)
    if not single:
        far = letter("phi", ANCHOR, "1") - letter("phi", OTHER, "1")
        weight = weight + scalar(SLOPE_OTHER, ANCHOR, NEGATIVE, OTHER) * inner(OTHER, far)
    left = gap("Kbar", "kappa", first, second)
    if convention == "one-branch":
        left = augmented("Kbar", "kappa", *first)
    return weight * left * gap("fbar", "phi", first, second)


def positive_pair(convention: str) -> Moment:
    """``w_+ (K_1 - K_+)(f_1 - f_+)`` with w_+ at order 0; its change is of second order."""
    first, second = (ANCHOR, "1"), (ANCHOR, "2")
    left = gap("Kbar", "kappa", first, second)
    if convention == "one-branch":
        left = augmented("Kbar", "kappa", *first)
    return scalar(POSITIVE, ANCHOR, NEGATIVE) * left * gap("fbar", "phi", first, second)


def leading(convention: str, single: bool, form: str) -> Moment:
    """Claimed leading term of one negative: ``xi (Kbar(x) - Kbar(x'))(fbar(x) - fbar(x'))``."""
    difference = letter("fbar", ANCHOR) - letter("fbar", NEGATIVE)
    left = letter("Kbar", ANCHOR)
    factor = Rational(1)
    if convention == "shared" or single:
        left = left - letter("Kbar", NEGATIVE)
        factor = Rational(1) if convention == "shared" else Rational(1, 2)
    claim = (scalar(XI, ANCHOR, NEGATIVE) * left * difference).scaled(factor)
    return with_homogeneity(claim) if form == "operator" else claim


def leading_shown(convention: str, single: bool, form: str) -> MatrixExpr:
    """The leading term of one negative as it is displayed, factors not multiplied out."""
    left, difference = letter("Kbar", ANCHOR), letter("fbar", ANCHOR) - letter("fbar", NEGATIVE)
    number = Symbol(rf"{XI}{'' if single else '_{k}'}", real=True)
    if convention == "shared" or single:
        left = left - letter("Kbar", NEGATIVE)
    factor = Rational(1, 2) if convention == "one-branch" and single else Rational(1)
    if form == "general":
        return factored(factor * number, left, difference)
    gaps = (letter("Kbar", ANCHOR) - letter("Kbar", NEGATIVE)).transposed()
    return sympy.MatMul(factored(factor * number, left, gaps), WEIGHT)


def weight_shown(relation: Basic, single: bool) -> Basic:
    """The weight of a negative at s = 0 as the statement shows it: a function of the distances r."""
    names: dict[Basic, Basic] = {}
    for atom in relation.atoms(Symbol, Indexed):
        if isinstance(atom, Indexed) and atom.base == IndexedBase(r"\rho", real=True):
            names[atom] = r[atom.indices[0]]
        elif isinstance(atom, Symbol) and atom.name.startswith(r"\rho_{"):
            names[atom] = pair_distance if single else negative(int(atom.name[len(r"\rho_{") : -1]))
        elif single and isinstance(atom, Symbol) and atom.name.startswith(XI):
            names[atom] = Symbol(XI, real=True)
    return relation.xreplace(names)


def order_shown(order: int) -> Basic:
    """``||theta|| = O(s^order)``."""
    return equation(Symbol(r"\|\theta\|", nonnegative=True), sympy.Order(SPREAD**order))


def shift_of_points(single: bool) -> Moment:
    """Order 1 of xi_k at r between means minus that between points: ``-sum_j xi'_kj <Delta_j, b - b_j>``."""
    away = letter("b", ANCHOR) - letter("b", NEGATIVE)
    shift = scalar(SLOPE, ANCHOR, NEGATIVE) * inner(NEGATIVE, away)
    if not single:
        far = letter("b", ANCHOR) - letter("b", OTHER)
        shift = shift + scalar(SLOPE_OTHER, ANCHOR, NEGATIVE, OTHER) * inner(OTHER, far)
    return shift.scaled(-1)
