r"""Normal forms of formulas: polynomials whose scalar symbols commute and whose matrices do not.

A form is a mapping from (scalar monomial, word of matrices) to a rational coefficient. Two expressions with the same
form are equal; those with different forms need not differ where they divide, or use what is opaque here. No number is
rounded, and nothing is evaluated but sums, products, powers and transposes. Source: statement 6 (arXiv 2010.00578).
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

Form = dict[tuple[frozenset, tuple], Fraction]
Key = frozenset

TERMS, STEPS = 5_000, 300_000
"""Terms of one form, and products of two terms in one comparison."""
_NONE: frozenset = frozenset()


class UndecidedError(Exception):
    """A formula that cannot be compared: why, in one line."""


class Matrix(NamedTuple):
    """An explicit matrix or list; its entries are keys of forms."""

    rows: tuple[tuple[Key, ...], ...]


class Diagonal(NamedTuple):
    """The operator diag, of a word."""

    word: tuple


class Kronecker(NamedTuple):
    """A Kronecker product of words."""

    words: tuple[tuple, ...]


class Opaque(NamedTuple):
    """What is compared as it is written."""

    kind: str
    parts: tuple


class Algebra:
    """The operations, with a limit on the work that one comparison may take."""

    def __init__(self) -> None:
        self._left = STEPS

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise UndecidedError("the formula is too long to be multiplied out")

    def add(self, left: Form, right: Form, sign: int = 1) -> Form:
        """Sum, or difference."""
        self._spend(len(right))
        result = dict(left)
        for key, value in right.items():
            total = result.get(key, Fraction(0)) + sign * value
            if total:
                result[key] = total
            else:
                result.pop(key, None)
        if len(result) > TERMS:
            raise UndecidedError("the formula has too many terms")
        return result

    def multiply(self, left: Form, right: Form) -> Form:
        """Product, in this order."""
        self._spend(len(left) * len(right))
        result: Form = {}
        for (mono, word), value in left.items():
            for (other, behind), factor in right.items():
                self._spend((len(word) + len(behind) + len(mono) + len(other)) // 8)
                key = (_times(mono, other), word + behind)
                total = result.get(key, Fraction(0)) + value * factor
                if total:
                    result[key] = total
                else:
                    result.pop(key, None)
        return _limited(result)

    def power(self, base: Form, exponent: Form) -> Form:
        """A power; it is multiplied out where the exponent is a small whole number."""
        n = constant(exponent)
        if n is None or n.denominator != 1:
            return opaque("power", is_scalar(base), key_of(base), key_of(exponent))
        if len(base) == 1 and is_scalar(base):
            (((mono, _), value),) = base.items()
            if n >= 0 or value:
                _small(value, n)
                return {(frozenset((g, e * int(n)) for g, e in mono if n), ()): value ** int(n)}
        if not 0 <= n <= 8:
            return opaque("power", is_scalar(base), key_of(base), n)
        result = number(Fraction(1))
        for _ in range(int(n)):
            result = self.multiply(result, base)
        return result

    def divide(self, upper: Form, lower: Form) -> Form:
        """A fraction; the lower side is a scalar."""
        if not is_scalar(lower):
            raise UndecidedError("the formula divides by a matrix")
        if not lower:
            raise UndecidedError("the formula divides by zero")
        if len(lower) == 1:
            return self.multiply(upper, self.power(lower, number(Fraction(-1))))
        return self.multiply(upper, opaque("power", True, key_of(lower), Fraction(-1)))

    def transpose(self, form: Form) -> Form:
        """The transpose; of a scalar, itself."""
        self._spend(len(form))
        return {(mono, self._transposed(word)): value for (mono, word), value in form.items()}

    def _transposed(self, word: tuple) -> tuple:
        return tuple(self._flipped(atom, flag) for atom, flag in reversed(word))

    def _flipped(self, atom: Hashable, flag: bool) -> tuple:
        if isinstance(atom, Matrix):
            self._spend(sum(map(len, atom.rows)))
            columns = zip(*atom.rows, strict=True)
            return Matrix(tuple(tuple(key_of(self.transpose(dict(e))) for e in column) for column in columns)), flag
        if isinstance(atom, Kronecker):
            return Kronecker(tuple(map(self._transposed, atom.words))), flag
        return atom, flag if isinstance(atom, Diagonal) else not flag

    def kronecker(self, left: Form, right: Form) -> Form:
        """Kronecker product, term by term; scalars are taken out."""
        self._spend(len(left) * len(right))
        result: Form = {}
        for (mono, word), value in left.items():
            for (other, behind), factor in right.items():
                words = tuple(part for w in (word, behind) for part in _factors(w))
                merged: tuple = ((Kronecker(words), False),) if len(words) > 1 else words[0] if words else ()
                key = (_times(mono, other), merged)
                result = self.add(result, {key: value * factor})
        return result

    def diagonal(self, form: Form) -> Form:
        """The diagonal matrix of a vector."""
        result: Form = {}
        for (mono, word), value in form.items():
            result = self.add(result, {(mono, ((Diagonal(word), False),)): value})
        return result


def _factors(word: tuple) -> tuple[tuple, ...]:
    """The factors of a word that is a Kronecker product, or the word; none of a scalar."""
    if len(word) == 1 and isinstance(word[0][0], Kronecker):
        return word[0][0].words
    return (word,) if word else ()


def _times(left: frozenset, right: frozenset) -> frozenset:
    if not left or not right:
        return left or right
    count = Counter(dict(left))
    for generator, exponent in right:
        count[generator] += exponent
    return frozenset((generator, exponent) for generator, exponent in count.items() if exponent)


def _limited(form: Form) -> Form:
    if len(form) > TERMS or any(
        max(v.numerator.bit_length(), v.denominator.bit_length()) > 9_999 for v in form.values()
    ):
        raise UndecidedError("the formula is too large to be multiplied out")
    return form


def _small(value: Fraction, n: Fraction) -> None:
    size = max(value.numerator.bit_length(), value.denominator.bit_length())
    if size > 1 and size * abs(n) > 9_999:
        raise UndecidedError("the formula has a power that is too large")


def number(value: Fraction) -> Form:
    """The form of a number."""
    return {(_NONE, ()): value} if value else {}


def scalar(symbol: Hashable) -> Form:
    """The form of a symbol that commutes."""
    return {(frozenset([(symbol, 1)]), ()): Fraction(1)}


def matrix(symbol: Hashable) -> Form:
    """The form of a symbol that does not commute."""
    return {(_NONE, ((symbol, False),)): Fraction(1)}


def opaque(kind: str, commutes: bool, *parts: Hashable) -> Form:
    """The form of what is compared as it is written."""
    return (scalar if commutes else matrix)(Opaque(kind, parts))


def table(rows: Sequence[Sequence[Form]]) -> Form:
    """The form of an explicit matrix, without what its entries share; one with a single entry is that entry."""
    if len({len(row) for row in rows}) != 1:
        raise UndecidedError("a matrix has rows of different lengths")
    if len(rows) == 1 and len(rows[0]) == 1:
        return rows[0][0]
    entries = [entry for row in rows for entry in row]
    mono, value = _content(entries)
    inverse = frozenset((generator, -exponent) for generator, exponent in mono)
    reduced = [
        [{(_times(own, inverse), word): factor / value for (own, word), factor in entry.items()} for entry in row]
        for row in rows
    ]
    return {(mono, ((Matrix(tuple(tuple(map(key_of, row)) for row in reduced)), False),)): value}


def _content(entries: Sequence[Form]) -> tuple[frozenset, Fraction]:
    """The monomial and the positive number that all terms of some scalars share."""
    terms = [(dict(mono), value) for entry in entries for (mono, _), value in entry.items()]
    if not terms or not all(map(is_scalar, entries)):
        return _NONE, Fraction(1)
    numbers = [value for _, value in terms]
    number = Fraction(gcd(*(v.numerator for v in numbers)), lcm(*(v.denominator for v in numbers)))
    least = {g: min(mono.get(g, 0) for mono, _ in terms) for g in {g for mono, _ in terms for g in mono}}
    return frozenset((g, exponent) for g, exponent in least.items() if exponent), number


def key_of(form: Form) -> Key:
    """A form as a key."""
    return frozenset(form.items())


def is_scalar(form: Form) -> bool:
    """Whether no matrix is in a form."""
    return all(not word for _, word in form)


def constant(form: Form) -> Fraction | None:
    """The number that a form is, if it is one."""
    if not form:
        return Fraction(0)
    return form.get((_NONE, ())) if len(form) == 1 else None


def single(form: Form) -> Hashable | None:
    """The symbol that a form is, if it is one."""
    if len(form) != 1:
        return None
    (((mono, word), value),) = form.items()
    if value != 1 or len(mono) + len(word) != 1:
        return None
    if word:
        return None if word[0][1] else word[0][0]
    ((symbol, exponent),) = mono
    return symbol if exponent == 1 else None
