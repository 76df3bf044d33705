"""Exact finite populations for ``theory.core.expectation``: instances that may refute, and never prove.

Every expectation is a finite sum over points and augmentations with rational weights, written out; the rules
of the algebra are not used. Dependence of copies or points is total here (the copies, or the points,
coincide).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import product
from random import Random

from theory.core.decide import ABSTAINED, POINT, POLYNOMIAL, Decision
from theory.core.expectation import CONSTANT, GIVEN, Label, Law, Letter, Moment, Term, Word

Rows = list[list[Fraction]]
POINTS, COPIES, SEEDS = 3, 2, 2


def _times(left: Rows, right: Rows) -> Rows:
    return [
        [sum((a * b for a, b in zip(row, col, strict=True)), Fraction(0)) for col in zip(*right, strict=True)]
        for row in left
    ]


def _transpose(rows: Rows) -> Rows:
    return [list(column) for column in zip(*rows, strict=True)]


@dataclass
class Population:
    """Random small-integer values of every letter at every point and copy.

    Parameters
    ----------
    law
        Names of the means, parities, and what is dependent.
    shapes
        Rows and columns of every matrix letter; letters that are not named are scalars.
    seed
        Of the values and the weights.
    """

    law: Law
    shapes: Mapping[str, tuple[int, int]]
    seed: int
    _values: dict[tuple[object, ...], Rows] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 (a seeded search for a counterexample)
        self._weights = [self._law(POINTS), self._law(POINTS)]
        self._copies = [self._law(COPIES) for _ in range(POINTS)]

    def _law(self, count: int) -> list[Fraction]:
        raw = [self._random.randint(1, 4) for _ in range(count)]
        return [Fraction(value, sum(raw)) for value in raw]

    def _draw(self, key: tuple[object, ...], name: str) -> Rows:
        if key not in self._values:
            rows, columns = self.shapes.get(name, (1, 1))
            self._values[key] = [[Fraction(self._random.randint(-3, 3)) for _ in range(columns)] for _ in range(rows)]
        return self._values[key]

    def _raw(self, name: str, point: int, copy: int) -> Rows:
        """A value at a copy; a zero-mean name is centred with the weights of the copies."""
        value = self._draw((name, point, copy), name)
        if self.law.means[name] is not None:
            return value
        centre = self._mean([self._draw((name, point, c), name) for c in range(COPIES)], point)
        return [[a - m for a, m in zip(r, s, strict=True)] for r, s in zip(value, centre, strict=True)]

    def _mean(self, values: list[Rows], point: int) -> Rows:
        rows, columns = len(values[0]), len(values[0][0])
        weights = self._copies[point]
        return [
            [sum((w * v[i][k] for w, v in zip(weights, values, strict=True)), Fraction(0)) for k in range(columns)]
            for i in range(rows)
        ]

    def _value(self, item: Letter, where: Mapping[str, int], copies: Mapping[Label, int]) -> Rows:
        sources = {mean: name for name, mean in self.law.means.items() if mean}
        if item.name == CONSTANT:
            rows = self._draw((CONSTANT,), CONSTANT)
        elif item.name in self.law.means:
            label = item.labels[0]
            rows = self._raw(item.name, where[label[0]], copies[label])
        elif item.name in sources:
            point = where[item.labels[0][0]]
            rows = self._mean([self._raw(sources[item.name], point, c) for c in range(COPIES)], point)
        else:
            rows = self._table(item, tuple(where[p] for p, _ in item.labels))
        return _transpose(rows) if item.transposed else rows

    def _table(self, item: Letter, points: tuple[int, ...]) -> Rows:
        parity = self.law.symmetric.get(item.name)
        if parity is None:
            return self._draw((item.name, points), item.name)
        value = self._draw((item.name, tuple(sorted(points))), item.name)
        if parity == -1 and len(set(points)) < len(points):
            return [[Fraction(0)]]
        return value if parity == 1 or points == tuple(sorted(points)) else [[-entry for entry in r] for r in value]

    def _places(self, term: Term) -> Iterator[tuple[Fraction, dict[str, int], dict[Label, int]]]:
        """Every assignment of points and copies, with its probability."""
        labels = sorted({x for word in (term.word, *term.scalars) for item in word for x in item.labels})
        points = sorted({p for p, _ in labels})
        drawn = [label for label in labels if label[1] != GIVEN]
        for chosen in product(range(POINTS), repeat=len(points)):
            where = dict(zip(points, chosen, strict=True))
            chance = self._chance(where, self.law.dependent_points, lambda p: self._weights[p in self.law.other_law])
            if not chance:
                continue
            for picked in product(range(COPIES), repeat=len(drawn)):
                copies = dict(zip(drawn, picked, strict=True))
                total = chance
                for point in points:
                    here = {c: value for (p, c), value in copies.items() if p == point}
                    total *= self._chance(here, self.law.dependent_copies, lambda _, at=where[point]: self._copies[at])
                if total:
                    yield total, where, copies

    @staticmethod
    def _chance(values: Mapping[str, int], dependent: frozenset[str], weights: object) -> Fraction:
        """Probability of an assignment in which the dependent names coincide."""
        total = Fraction(1)
        tied = [name for name in values if name in dependent]
        if len({values[name] for name in tied}) > 1:
            return Fraction(0)
        for name, value in values.items():
            if name not in tied[1:]:
                total *= weights(name)[value]  # type: ignore[operator]
        return total

    def expectation(self, moment: Moment) -> Rows | None:
        """The expectation of a moment, entry by entry; None for the empty moment."""
        total: Rows | None = None
        for term, coefficient in moment.terms.items():
            factor = Fraction(int(coefficient.p), int(coefficient.q))
            for chance, where, copies in self._places(term):
                scale = factor * chance
                for scalar in term.scalars:
                    scale *= self._word(scalar, where, copies)[0][0]
                value = self._word(term.word, where, copies)
                scaled = [[scale * entry for entry in row] for row in value]
                total = (
                    scaled
                    if total is None
                    else [[a + b for a, b in zip(r, s, strict=True)] for r, s in zip(total, scaled, strict=True)]
                )
        return total

    def _word(self, word: Word, where: Mapping[str, int], copies: Mapping[Label, int]) -> Rows:
        result = self._value(word[0], where, copies)
        for item in word[1:]:
            result = _times(result, self._value(item, where, copies))
        return result


def decide_moment(difference: Moment, normal: Moment, law: Law, shapes: Mapping[str, tuple[int, int]]) -> Decision:
    """Decide that the expectation of a moment is zero.

    Parameters
    ----------
    difference
        The moment as it was written.
    normal
        Its normal form (``theory.core.expectation.expect``); empty means proved.
    law, shapes
        As for ``Population``.
    """
    point = _refutation(difference, law, shapes)
    if not normal.terms and point is None:
        return Decision(True, POLYNOMIAL, "0 in the normal form of the moment algebra")
    if not normal.terms:
        return Decision(None, ABSTAINED, f"the moment algebra and an instance disagree: {point}")
    if point is not None:
        return Decision(False, POINT, point)
    return Decision(None, ABSTAINED, f"{len(normal.terms)} moments remain and no instance refutes")


def _refutation(difference: Moment, law: Law, shapes: Mapping[str, tuple[int, int]]) -> str | None:
    for seed in range(SEEDS):
        value = Population(law, shapes, seed).expectation(difference)
        if value is not None and any(entry for row in value for entry in row):
            shown = ", ".join(str(entry) for row in value for entry in row)
            where = f"population of {POINTS} points and {COPIES} augmentations each (seed {seed})"
            return f"{where}: left - right = ({shown})"
    return None
