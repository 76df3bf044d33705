"""Shared by statements 3 and 4: letters with their shapes, their display, and checked steps of the moment algebra.

The letters are K (connection), f (output), their means over augmentations, their zero-mean deviations, and
vec W (arXiv 2010.00578, sections of Theorems 3 and 4).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import sympy
from sympy import Expr, MatAdd, MatMul, MatrixExpr, Symbol, Transpose

from theory.core.claim import Reading, equation
from theory.core.derivation import Step
from theory.core.expectation import CONSTANT, GIVEN, Law, Letter, Moment, Term, Word, decide_moment, expect, letter
from theory.core.notation import Expect, Vec, dimension
from theory.core.quantity import MatrixQuantity, quantity
from theory.core.reading import Meaning, moment_reading

SIZE = dimension("l") * dimension("l-1")
N_TOP = dimension("L")
_HERE = {"layer": "l"}
WEIGHT = Vec(quantity("weights", "W_{l}", dimension("l"), dimension("l-1"), where=_HERE))
GRADIENT = quantity("expected gradient", r"\mathbb{E}\left[\nabla_{W_{l}} L\right]", SIZE, 1, where=_HERE)
GRADIENT_SIMPLE = quantity(
    "expected gradient",
    r"\mathbb{E}\left[\nabla_{W_{l}} L_{\mathrm{simp}}\right]",
    SIZE,
    1,
    where={"loss": "simple", **_HERE},
)
V_PLAIN = quantity("covariance operator", r"\mathbb{V}_{x}\left[\bar{K}_{l}(x)\right]", SIZE, SIZE, where=_HERE)
COVARIANCE = quantity(
    "covariance", r"\operatorname{Cov}_{x}\left[\bar{K}_{l}(x), \bar{f}_{L}(x)\right]", SIZE, 1, where=_HERE
)

SHAPES: Mapping[str, tuple[int, int]] = MappingProxyType(
    {
        **dict.fromkeys(("K", "Kbar", "K0", "kappa"), (2, 2)),
        **dict.fromkeys(("f", "fbar", "f0", "phi", "b"), (2, 1)),
        CONSTANT: (2, 1),
    }
)
"""Shapes of the letters in the exact populations."""
_NAMES = {
    "K": "K_{l}",
    "Kbar": r"\bar{K}_{l}",
    "K0": "K_{l}",
    "kappa": r"\kappa_{l}",
    "f": "f_{L}",
    "fbar": r"\bar{f}_{L}",
    "f0": "f_{L}",
    "phi": r"\varphi",
    "b": "b",
}
_ROLES = {
    "K": "connection",
    "Kbar": "mean connection",
    "K0": "connection of the point itself",
    "kappa": "deviation of the connection",
    "f": "output",
    "fbar": "mean output",
    "f0": "output of the point itself",
    "phi": "deviation of the output",
    "b": "bias of the augmentation",
}
_LETTERS = {role: name for name, role in _ROLES.items()}
_POINTS = {"x_k": "x'_{k}", "x_j": "x'_{j}", "p0": "x", "p1": "x'", "p2": "x''", "p3": "x'''"}
_NEGATIVES = {"x'": "x_{-}", "x_k": "x_{k-}", "x_j": "x_{j-}"}
_COPIES = {"2": "+", "a0": "1", "a1": "2"}
_FREE = {"p0": "y", "p1": "y'", "p2": "y''"}


def _place(point: str, copy: str) -> str:
    base = _POINTS.get(point, point)
    if copy == GIVEN:
        return base
    return _NEGATIVES.get(point) or f"{base}_{{{_COPIES.get(copy, copy)}}}"


def _matrix(item: Letter) -> MatrixExpr:
    if item.name == CONSTANT:
        base: MatrixExpr = WEIGHT
    else:
        name = f"{_NAMES[item.name]}({_place(*item.labels[0])})"
        (point, copy), shape = item.labels[0], (SIZE, N_TOP) if SHAPES[item.name] == (2, 2) else (N_TOP, 1)
        layer = "l" if shape[0] == SIZE else "L"
        base = quantity(_ROLES[item.name], name, *shape, where={"point": point, "copy": copy, "layer": layer})
    return Transpose(base) if item.transposed else base


def _scalar(word: Word) -> Symbol:
    if len(word) == 1:
        places = ", ".join(_place(*label) for label in word[0].labels)
        return Symbol(f"{word[0].name}({places})", real=True)
    parts = [f"{_NAMES[item.name]}({_place(*item.labels[0])})" for item in word]
    return Symbol(rf"\langle {', '.join(parts)} \rangle", real=True)


def shown_term(term: Term, coefficient: Expr) -> MatrixExpr:
    """One term as a SymPy matrix expression, scalars first."""
    factors = [coefficient, *(_scalar(word) for word in term.scalars)]
    number = sympy.Mul(*factors)
    matrices = [_matrix(item) for item in term.word]
    return MatMul(*(() if number == 1 else (number,)), *matrices) if number != 1 or len(matrices) > 1 else matrices[0]


def shown(moment: Moment) -> MatrixExpr:
    """The expectation of a moment as a SymPy matrix expression."""
    if not moment.terms:
        return sympy.ZeroMatrix(SIZE, 1)
    terms = [shown_term(term, value) for term, value in _distinct(moment).terms.items()]
    return Expect(MatAdd(*terms) if len(terms) > 1 else terms[0])


def _distinct(moment: Moment) -> Moment:
    """Give the free points of a normal form other letters where points of the sampling stand beside them."""
    labels = {label for t in moment.terms for w in (t.word, *t.scalars) for item in w for label in item.labels}
    if not {point for point, _ in labels} & {"x", "x'"}:
        return moment

    def rename(word: Word) -> Word:
        return tuple(item._replace(labels=tuple((_FREE.get(p, p), copy) for p, copy in item.labels)) for item in word)

    return Moment({Term(rename(t.word), tuple(map(rename, t.scalars))): c for t, c in moment.terms.items()})


def factored(scalar: Expr | int, *factors: Moment) -> MatrixExpr:
    """``E[scalar A B ...]`` with the factors not multiplied out; for display."""
    parts = []
    for moment in factors:
        terms = [shown_term(term, value) for term, value in moment.terms.items()]
        parts.append(MatAdd(*terms) if len(terms) > 1 else terms[0])
    return Expect(MatMul(*(() if scalar == 1 else (sympy.sympify(scalar, strict=True),)), *parts))


def letter_of(expr: object) -> Meaning | None:
    """The letter that a typed symbol was made of, vec W among them."""
    if expr == WEIGHT:
        return Moment.of(Letter(CONSTANT)), False
    if isinstance(expr, MatrixQuantity) and expr.role in _LETTERS:
        where = dict(expr.place)
        name, label = _LETTERS[expr.role], (where["point"], where["copy"])
        # A symbol of another layer, tower or print is another one, about which nothing is derived.
        if expr == _matrix(Letter(name, (label,))):
            return letter(name, *label), False
    return None


def read_as(meanings: Mapping[Any, Moment], law: Law, rule: Callable[[Moment], Moment] = Moment.itself) -> Reading:
    """The reading of a claim about expectations, by what its symbols stand for."""

    def meaning(expr: Any) -> Meaning | None:
        return (meanings[expr], True) if expr in meanings else letter_of(expr)

    return moment_reading(meaning, law, SHAPES, rule)


def moment_step(
    left: Moment,
    right: Moment,
    law: Law,
    why: str,
    display: tuple[MatrixExpr | None, MatrixExpr | None] = (None, None),
    rule: Callable[[Moment], Moment] = Moment.itself,
) -> Step:
    """A step ``E[left] = E[right]``, decided by the algebra's normal form under a rule; ``display``: how it prints."""
    difference = rule(left - right)
    decision = decide_moment(difference, expect(difference, law), law, SHAPES)
    sides = [argument or shown(side) for side, argument in zip((left, right), display, strict=True)]
    return Step(equation(*sides), why, decision)


def plain_pair(first: tuple[str, str], second: tuple[str, str], convention: str) -> Moment:
    """``(K_1 - K_2)(f_1 - f_2)``, or ``K_1 (f_1 - f_2)`` for one branch; copy "" is not augmented."""
    left, right = pair_factors(first, second, convention)
    return left * right


def pair_factors(first: tuple[str, str], second: tuple[str, str], convention: str) -> tuple[Moment, Moment]:
    """The two factors of ``plain_pair``."""
    sides = [(letter("K" if c else "K0", p, c), letter("f" if c else "f0", p, c)) for p, c in (first, second)]
    left = sides[0][0] - sides[1][0] if convention == "shared" else sides[0][0]
    return left, sides[0][1] - sides[1][1]


def with_homogeneity(moment: Moment) -> Moment:
    """Replace the output by ``K^T vec W``, augmented, averaged or not."""
    for output, connection in (("f", "K"), ("fbar", "Kbar"), ("f0", "K0"), ("phi", "kappa")):
        moment = moment.replaced(output, ((connection, True), (CONSTANT, False)))
    return moment
