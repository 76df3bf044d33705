"""An algebra of expectations over independent copies, used for statements 3 and 4 (arXiv 2010.00578).

Letters are random matrices labelled by a point and an augmentation copy; words are products, in order; a
moment is a linear combination of words, with scalar words as factors. The normal form of an expectation uses
three rules only: given the points, copies are independent, so a copy that occurs once is averaged (tower
rule; zero-mean noise vanishes); points are independent; points and copies are identically distributed, so
their names do not matter. A dropped assumption switches its rule off, and the same algebra shows what is
left.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import reduce
from itertools import permutations, product
from math import prod
from random import Random
from typing import NamedTuple

import numpy as np
import sympy
from flint import fmpq
from sympy import Expr

from theory.core.decide import ABSTAINED, POINT, POLYNOMIAL, Decision
from theory.core.record import note_other

Label = tuple[str, str]
GIVEN = ""
"""The copy of a quantity that depends on its point only."""
CONSTANT = "w"
"""Name of the letter vec W: deterministic, no label."""
FRESH = "~"
"""Mark of a point or a copy that is an independent one of the same law."""
POINTS, COPIES, SEEDS = 3, 2, 2


class Letter(NamedTuple):
    """A random quantity: its name, its labels (point, copy), and whether it is transposed."""

    name: str
    labels: tuple[Label, ...] = ()
    transposed: bool = False


Word = tuple[Letter, ...]


class Term(NamedTuple):
    """A matrix word, times scalar words."""

    word: Word
    scalars: tuple[Word, ...] = ()


@dataclass(frozen=True)
class Law:
    """Assumptions on the letters and on the sampling."""

    means: Mapping[str, str | None] = field(default_factory=dict)
    symmetric: Mapping[str, int] = field(default_factory=dict)
    dependent_copies: frozenset[str] = frozenset()
    dependent_points: frozenset[str] = frozenset()
    other_law: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Moment:
    """A linear combination of terms with exact coefficients."""

    terms: Mapping[Term, Expr]

    @staticmethod
    def of(*letters: Letter) -> "Moment":
        """The product of letters, with coefficient 1."""
        return Moment({Term(tuple(letters)): sympy.S.One})

    @staticmethod
    def collect(pairs: Iterable[tuple[Term, Expr]]) -> "Moment":
        """Add coefficients of equal terms and leave out zeros."""
        sums: dict[Term, Expr] = {}
        for term, coefficient in pairs:
            sums[term] = sums.get(term, sympy.S.Zero) + coefficient
        return Moment({term: value for term, value in sums.items() if value != 0})

    def __add__(self, other: "Moment") -> "Moment":
        return Moment.collect([*self.terms.items(), *other.terms.items()])

    def __sub__(self, other: "Moment") -> "Moment":
        return self + other.scaled(-1)

    def scaled(self, factor: Expr | int) -> "Moment":
        """All coefficients times a number."""
        number = sympy.sympify(factor, strict=True)
        return Moment.collect((term, number * value) for term, value in self.terms.items())

    def __mul__(self, other: "Moment") -> "Moment":
        """Product in order; scalar factors commute."""
        return Moment.collect(
            (Term(a.word + b.word, a.scalars + b.scalars), x * y)
            for (a, x), (b, y) in product(self.terms.items(), other.terms.items())
        )

    def as_scalar(self) -> "Moment":
        """The words of a 1 x 1 moment as scalar factors."""
        return Moment.collect(
            (Term((), (*t.scalars, t.word) if t.word else t.scalars), c) for t, c in self.terms.items()
        )

    def itself(self) -> "Moment":
        """The moment as it is: the rule that changes nothing."""
        return self

    def transposed(self) -> "Moment":
        """Words reversed, letters transposed."""
        return Moment.collect((Term(flipped(t.word), t.scalars), c) for t, c in self.terms.items())

    @property
    def labels(self) -> set[Label]:
        """Labels of all letters."""
        return {label for term in self.terms for item in _letters(term) for label in item.labels}

    def relabelled(self, name: Callable[[Label], Label]) -> "Moment":
        """Other labels for all letters."""

        def rename(word: Word) -> Word:
            return tuple(item._replace(labels=tuple(map(name, item.labels))) for item in word)

        return Moment.collect((Term(rename(t.word), tuple(map(rename, t.scalars))), c) for t, c in self.terms.items())

    def apart_from(self, other: "Moment") -> "Moment":
        """The same at points that are independent of those of another moment."""
        taken = {point for point, _ in other.labels}
        names: dict[str, str] = {}
        for point in sorted({point for point, _ in self.labels}):
            fresh = point
            while fresh in taken:
                fresh += FRESH
            names[point] = fresh
            taken.add(fresh)
        return self.relabelled(lambda label: (names[label[0]], label[1]))

    def other_augmentation(self) -> "Moment":
        """The same at independent augmentations of the same points."""
        return self.relabelled(lambda label: (label[0], label[1] + FRESH if label[1] != GIVEN else GIVEN))

    def replaced(
        self, name: str, word: "tuple[tuple[str, bool], ...]", fixed: tuple[str, ...] = (CONSTANT,)
    ) -> "Moment":
        """Replace a letter by a product of letters (name, transposed) at the same label; `fixed` ones have none."""
        return Moment.collect(
            (Term(_replace(t.word, name, word, fixed), tuple(_replace(s, name, word, fixed) for s in t.scalars)), c)
            for t, c in self.terms.items()
        )


def _replace(word: Word, name: str, by: "tuple[tuple[str, bool], ...]", fixed: tuple[str, ...]) -> Word:
    result: list[Letter] = []
    for letter in word:
        if letter.name != name:
            result.append(letter)
            continue
        new = tuple(Letter(n, () if n in fixed else letter.labels, flip) for n, flip in by)
        result.extend(flipped(new) if letter.transposed else new)
    return tuple(result)


def flipped(word: Word) -> Word:
    """The transpose of a word."""
    return tuple(letter._replace(transposed=not letter.transposed) for letter in reversed(word))


def letter(name: str, point: str, copy: str = GIVEN) -> Moment:
    return Moment.of(Letter(name, ((point, copy),)))


def expect(moment: Moment, law: Law) -> Moment:
    """Normal form of the expectation of a moment."""
    pairs = []
    for term, coefficient in moment.terms.items():
        averaged = _averaged(term, law)
        if averaged is None:
            continue
        sign, canonical = _canonical(averaged, law)
        if sign:
            pairs.append((canonical, coefficient * sign))
    return Moment.collect(pairs)


def _letters(term: Term) -> list[Letter]:
    return [letter for word in (term.word, *term.scalars) for letter in word]


def _averaged(term: Term, law: Law) -> Term | None:
    """Average every copy that occurs once; None where a zero-mean letter is left alone."""
    labels = [label for item in _letters(term) for label in item.labels if label[1] != GIVEN]

    def alone(label: Label) -> bool:
        point, copy = label
        partners = law.dependent_copies if copy in law.dependent_copies else frozenset()
        bound = any(p == point and c != copy and c in partners for p, c in labels)
        return labels.count(label) == 1 and not bound

    def average(word: Word) -> Word | None:
        result = []
        for item in word:
            single = len(item.labels) == 1 and item.labels[0][1] != GIVEN and alone(item.labels[0])
            if not single:
                result.append(item)
                continue
            mean = law.means[item.name]
            if mean is None:
                return None
            result.append(Letter(mean, ((item.labels[0][0], GIVEN),), item.transposed))
        return tuple(result)

    words = [average(word) for word in (term.word, *term.scalars)]
    kept = [word for word in words if word is not None]
    return Term(kept[0], tuple(kept[1:])) if len(kept) == len(words) else None


def _canonical(term: Term, law: Law) -> tuple[int, Term]:
    """Least form over the names of free points and copies; sign 0 where antisymmetry makes it vanish."""
    labels = sorted({label for item in _letters(term) for label in item.labels})
    points = sorted({point for point, _ in labels})
    bound = [p for p in points if p in law.dependent_points]
    fixed = {p for p in points if p in law.other_law} | (set(bound) if len(bound) > 1 else set())
    free = [p for p in points if p not in fixed]
    result: dict[Term, set[int]] = {}
    for order in permutations(range(len(free))):
        names = {p: p for p in fixed} | {p: f"p{number}" for p, number in zip(free, order, strict=True)}
        for copies in _copy_names(labels, law):
            sign, candidate = _relabelled(term, names, copies, law)
            result.setdefault(candidate, set()).add(sign)
    best = min(result)
    signs = result[best]
    return (0 if len(signs) > 1 else signs.pop()), best


def _copy_names(labels: list[Label], law: Law) -> list[dict[Label, str]]:
    """All ways to name the copies of each point; dependent copies that meet keep their names."""
    options: list[list[dict[Label, str]]] = []
    for point in sorted({p for p, _ in labels}):
        copies = [c for p, c in labels if p == point and c != GIVEN]
        kept = [c for c in copies if c in law.dependent_copies]
        kept = kept if len(kept) > 1 else []
        rest = [c for c in copies if c not in kept]
        fixed = {(point, c): c for c in kept}
        options.append(
            [
                fixed | {(point, c): f"a{number}" for c, number in zip(rest, order, strict=True)}
                for order in permutations(range(len(rest)))
            ]
        )
    return [{key: value for part in choice for key, value in part.items()} for choice in product(*options)]


def _relabelled(term: Term, points: Mapping[str, str], copies: Mapping[Label, str], law: Law) -> tuple[int, Term]:
    sign = 1

    def rename(item: Letter) -> Letter:
        nonlocal sign
        labels = tuple((points[p], GIVEN if c == GIVEN else copies[(p, c)]) for p, c in item.labels)
        parity = law.symmetric.get(item.name)
        if parity is not None and labels != tuple(sorted(labels)):
            labels, sign = tuple(sorted(labels)), sign * parity
        return Letter(item.name, labels, item.transposed)

    word = tuple(rename(item) for item in term.word)
    scalars = []
    for scalar in term.scalars:
        renamed = tuple(rename(item) for item in scalar)
        scalars.append(min(renamed, flipped(renamed)) if len(renamed) > 1 else renamed)
    return sign, Term(word, tuple(sorted(scalars)))


# Exact finite populations: instances that may refute, and never prove.


@dataclass
class Population:
    """Random small-integer values of every letter at every point and copy, as arrays of exact fractions."""

    law: Law
    shapes: Mapping[str, tuple[int, int]]
    seed: int
    _values: dict[tuple[object, ...], np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._random = Random(self.seed)  # noqa: S311 (a seeded search for a counterexample)
        self._weights = [self._law(POINTS), self._law(POINTS)]
        self._copies = [self._law(COPIES) for _ in range(POINTS)]

    def _law(self, count: int) -> list[fmpq]:
        raw = [self._random.randint(1, 4) for _ in range(count)]
        return [fmpq(value, sum(raw)) for value in raw]

    def _draw(self, key: tuple[object, ...], name: str) -> np.ndarray:
        if key not in self._values:
            shape = self.shapes.get(name, (1, 1))
            drawn = [fmpq(self._random.randint(-3, 3)) for _ in range(shape[0] * shape[1])]
            self._values[key] = np.array(drawn, dtype=object).reshape(shape)
        return self._values[key]

    def _raw(self, name: str, point: int, copy: int) -> np.ndarray:
        """A value at a copy; a zero-mean name is centred with the weights of the copies."""
        value = self._draw((name, point, copy), name)
        if self.law.means[name] is not None:
            return value
        centre = self._mean([self._draw((name, point, c), name) for c in range(COPIES)], point)
        centred: np.ndarray = value - centre
        return centred

    def _mean(self, values: list[np.ndarray], point: int) -> np.ndarray:
        return np.tensordot(np.array(self._copies[point], dtype=object), np.array(values), axes=1)

    def _value(self, item: Letter, where: Mapping[str, int], copies: Mapping[Label, int]) -> np.ndarray:
        sources = {mean: name for name, mean in self.law.means.items() if mean}
        if item.name == CONSTANT:
            value = self._draw((CONSTANT,), CONSTANT)
        elif item.name in self.law.means:
            label = item.labels[0]
            value = self._raw(item.name, where[label[0]], copies[label])
        elif item.name in sources:
            point = where[item.labels[0][0]]
            value = self._mean([self._raw(sources[item.name], point, c) for c in range(COPIES)], point)
        else:
            value = self._table(item, tuple(where[p] for p, _ in item.labels))
        return value.T if item.transposed else value

    def _table(self, item: Letter, points: tuple[int, ...]) -> np.ndarray:
        """A value that depends on points only, with its symmetry under their exchange."""
        parity = self.law.symmetric.get(item.name)
        if parity is None:
            return self._draw((item.name, points), item.name)
        value = self._draw((item.name, tuple(sorted(points))), item.name)
        if parity == -1 and len(set(points)) < len(points):
            return 0 * value
        return value if points == tuple(sorted(points)) else parity * value

    def _places(self, term: Term) -> Iterator[tuple[fmpq, dict[str, int], dict[Label, int]]]:
        """Every assignment of points and copies, with its probability."""
        labels = sorted({label for item in _letters(term) for label in item.labels})
        points = sorted({p for p, _ in labels})
        drawn = [label for label in labels if label[1] != GIVEN]
        for chosen in product(range(POINTS), repeat=len(points)):
            where = dict(zip(points, chosen, strict=True))
            weights = {p: self._weights[p in self.law.other_law] for p in points}
            chance = self._chance(where, self.law.dependent_points, weights)
            if not chance:
                continue
            for picked in product(range(COPIES), repeat=len(drawn)):
                copies = dict(zip(drawn, picked, strict=True))
                total = chance
                for point in points:
                    here = {c: value for (p, c), value in copies.items() if p == point}
                    weights = dict.fromkeys(here, self._copies[where[point]])
                    total *= self._chance(here, self.law.dependent_copies, weights)
                if total:
                    yield total, where, copies

    @staticmethod
    def _chance(values: Mapping[str, int], dependent: frozenset[str], weights: Mapping[str, list[fmpq]]) -> fmpq:
        """Probability of an assignment in which the dependent names coincide."""
        tied = [name for name in values if name in dependent]
        if len({values[name] for name in tied}) > 1:
            return fmpq(0)
        return prod((weights[name][value] for name, value in values.items() if name not in tied[1:]), start=fmpq(1))

    def expectation(self, moment: Moment) -> np.ndarray | None:
        """The expectation of a moment, entry by entry; None for the empty moment."""
        total = None
        for term, coefficient in moment.terms.items():
            factor = fmpq(int(coefficient.p), int(coefficient.q))
            for chance, where, copies in self._places(term):
                scale = factor * chance
                for scalar in term.scalars:
                    scale *= self._word(scalar, where, copies)[0, 0]
                value = scale * self._word(term.word, where, copies)
                total = value if total is None else total + value
        return total

    def _word(self, word: Word, where: Mapping[str, int], copies: Mapping[Label, int]) -> np.ndarray:
        if not word:
            return np.array([[fmpq(1)]], dtype=object)
        return reduce(np.dot, [self._value(item, where, copies) for item in word])


def decide_moment(difference: Moment, normal: Moment, law: Law, shapes: Mapping[str, tuple[int, int]]) -> Decision:
    """Decide that the expectation of a moment is zero."""
    note_other("an identity of moments")
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
        if value is not None and value.any():
            shown = ", ".join(map(str, value.flat))
            where = f"population of {POINTS} points and {COPIES} augmentations each (seed {seed})"
            return f"{where}: left - right = ({shown})"
    return None
