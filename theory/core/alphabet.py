"""Letters of the moment algebra with their typed symbols: how they print, what stands for what, checked steps.

An `Alphabet` belongs to a statement: which random matrices there are (connection, output, ...), of which shapes. Random
letters have a point and a copy of its augmentation; fixed ones (weights, a predictor) have a symbol of their own.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sympy
from sympy import Basic, Expr, MatAdd, MatMul, MatrixExpr, Symbol, Transpose

from theory.core.claim import Reading, equation
from theory.core.derivation import Step
from theory.core.expectation import GIVEN, Law, Letter, Moment, Term, Word, decide_moment, expect, letter
from theory.core.notation import Expect
from theory.core.quantity import MatrixQuantity, quantity
from theory.core.reading import Meaning, moment_reading

_POINTS = {"x_k": "x'_{k}", "x_j": "x'_{j}", "p0": "x", "p1": "x'", "p2": "x''", "p3": "x'''"}
_NEGATIVES = {"x'": "x_{-}", "x_k": "x_{k-}", "x_j": "x_{j-}"}
_COPIES = {"2": "+", "a0": "1", "a1": "2"}
_FREE = {"p0": "y", "p1": "y'", "p2": "y''"}


@dataclass(frozen=True)
class Kind:
    """What a letter stands for: its role, print and shape; a fixed one has a symbol, and no point."""

    role: str
    name: str = ""
    shape: tuple[Expr | int, Expr | int] = (1, 1)
    where: Mapping[str, str] = field(default_factory=dict)
    fixed: Any = None


@dataclass(frozen=True, eq=False)
class Alphabet:
    """Letters by name; `sizes` are the numbers that symbolic sizes have in exact populations."""

    kinds: Mapping[str, Kind]
    sizes: Mapping[Expr, int]

    @property
    def shapes(self) -> dict[str, tuple[int, int]]:
        """Shapes of the letters in the exact populations."""
        fixed = {name: getattr(kind.fixed, "shape", kind.shape) for name, kind in self.kinds.items()}
        return {name: (self._size(rows), self._size(columns)) for name, (rows, columns) in fixed.items()}

    def _size(self, size: Any) -> int:
        return int(sympy.sympify(size, strict=True).xreplace({key: sympy.Integer(n) for key, n in self.sizes.items()}))

    def symbol(self, name: str, point: str = "x", copy: str = GIVEN) -> Any:
        """The typed symbol of a letter at a place."""
        kind = self.kinds[name]
        if kind.fixed is not None:
            return kind.fixed
        where = {"point": point, "copy": copy, **kind.where}
        return quantity(kind.role, f"{kind.name}({place(point, copy)})", *kind.shape, where=where)

    def moment(self, name: str, point: str = "x", copy: str = GIVEN) -> Moment:
        """The letter as a moment."""
        kind = self.kinds[name]
        made = Moment.of(Letter(name)) if kind.fixed is not None else letter(name, point, copy)
        shape = getattr(kind.fixed, "shape", kind.shape if kind.fixed is None else (1, 1))
        return made.as_scalar() if shape == (1, 1) else made

    def meaning(self, expr: Basic) -> Meaning | None:
        """The letter that a typed symbol was made of; a symbol of another layer, tower or print is another one."""
        for name, kind in self.kinds.items():
            if kind.fixed is not None:
                if expr == kind.fixed:
                    return self.moment(name), False
            elif isinstance(expr, MatrixQuantity) and expr.role == kind.role:
                where = dict(expr.place)
                if "point" in where and expr == self.symbol(name, where["point"], where["copy"]):
                    return self.moment(name, where["point"], where["copy"]), False
        return None

    def read_as(
        self, meanings: Mapping[Any, Moment], law: Law, rule: Callable[[Moment], Moment] = Moment.itself
    ) -> Reading:
        """The reading of a claim about expectations, by what its symbols stand for."""

        def meaning(expr: Any) -> Meaning | None:
            return (meanings[expr], True) if expr in meanings else self.meaning(expr)

        return moment_reading(meaning, law, self.shapes, rule)

    def step(
        self,
        left: Moment,
        right: Moment,
        law: Law,
        why: str,
        display: tuple[Basic | None, Basic | None] = (None, None),
        rule: Callable[[Moment], Moment] = Moment.itself,
    ) -> Step:
        """A step ``E[left] = E[right]``, decided by the normal form under a rule; ``display``: how it prints."""
        difference = rule(left - right)
        decision = decide_moment(difference, expect(difference, law), law, self.shapes)
        sides = [argument or self.shown(side) for side, argument in zip((left, right), display, strict=True)]
        shape = next((side.shape for side in sides if side.is_Matrix), None)
        shown = [sympy.ZeroMatrix(*shape) if shape and side == 0 else side for side in sides]
        return Step(equation(*shown), why, decision)

    def shown(self, moment: Moment) -> MatrixExpr:
        """The expectation of a moment as a SymPy expression; 0, of whatever shape, of the empty moment."""
        if not moment.terms:
            return sympy.S.Zero
        terms = [self.shown_term(term, value) for term, value in _distinct(moment).terms.items()]
        if len(terms) == 1:
            return Expect(terms[0])
        return Expect(MatAdd(*terms))

    def shown_term(self, term: Term, coefficient: Expr) -> MatrixExpr:
        """One term as a SymPy matrix expression, scalars first."""
        scalars = [self._scalar(word) for word in term.scalars]
        number = sympy.Mul(coefficient, *(one for one in scalars if not one.is_Matrix))
        matrices = [one for one in scalars if one.is_Matrix] + [self._matrix(item) for item in term.word]
        if not matrices:
            return number
        if number != 1 or len(matrices) > 1:
            return MatMul(*(() if number == 1 else (number,)), *matrices)
        return matrices[0]

    def factored(self, scalar: Expr | int, *factors: Moment) -> MatrixExpr:
        """``E[scalar A B ...]`` with the factors not multiplied out; for display."""
        parts = []
        for moment in factors:
            terms = [self.shown_term(term, value) for term, value in moment.terms.items()]
            parts.append(MatAdd(*terms) if len(terms) > 1 else terms[0])
        return Expect(MatMul(*(() if scalar == 1 else (sympy.sympify(scalar, strict=True),)), *parts))

    def _matrix(self, item: Letter) -> MatrixExpr:
        base = self.symbol(item.name, *item.labels[0]) if item.labels else self.symbol(item.name)
        return Transpose(base) if item.transposed else base

    def _scalar(self, word: Word) -> Expr:
        if len(word) == 1:
            item = word[0]
            if item.name in self.kinds and len(item.labels) < 2:
                return self.symbol(item.name, *(item.labels[0] if item.labels else ()))
            places = ", ".join(place(*label) for label in item.labels)
            return Symbol(f"{item.name}({places})", real=True)
        parts = [
            f"{self.kinds[item.name].name}({place(*item.labels[0])})" if item.labels else self.kinds[item.name].name
            for item in word
        ]
        return Symbol(rf"\langle {', '.join(parts)} \rangle", real=True)


def place(point: str, copy: str) -> str:
    """How a point, or an augmentation of it, prints."""
    base = _POINTS.get(point, point)
    if copy == GIVEN:
        return base
    return _NEGATIVES.get(point) or f"{base}_{{{_COPIES.get(copy, copy)}}}"


def _distinct(moment: Moment) -> Moment:
    """Rename the free points of a normal form where it also has points of the sampling."""
    labels = {label for t in moment.terms for w in (t.word, *t.scalars) for item in w for label in item.labels}
    if not {point for point, _ in labels} & {"x", "x'"}:
        return moment

    def rename(word: Word) -> Word:
        return tuple(item._replace(labels=tuple((_FREE.get(p, p), copy) for p, copy in item.labels)) for item in word)

    return Moment({Term(rename(t.word), tuple(map(rename, t.scalars))): c for t, c in moment.terms.items()})
