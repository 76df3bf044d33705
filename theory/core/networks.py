"""Sums of index monomials: contraction, rewriting by inverses, and a canonical form.

A monomial is a product of letters with indices, ``A[i, j] B[j, k]``; a repeated dummy index is summed. An index
may stand in more than two letters (Hadamard products), and a letter may have any number of indices. Every
rewriting keeps the value for all sizes, so two equal canonical forms prove an identity; two different ones prove
nothing. Work beyond the limits of this module raises `UndecidedError`.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, product
from math import prod
from typing import NamedTuple

import sympy
from sympy import Expr

from theory.core.decide import decide_zero

DELTA, ONE = -1, -2
TERM_LIMIT = 3000
REWRITE_LIMIT = 6000
FACTOR_LIMIT = 40
BRANCH_LIMIT = 600


class UndecidedError(Exception):
    """The method does not decide this; the message names what is missing."""


class Index(NamedTuple):
    """An index: free or dummy, its number, and the dimension that it runs over."""

    free: bool
    number: int
    size: Expr


Factor = tuple[int, tuple[Index, ...]]
Term = tuple[Expr, list[Factor]]
Code = tuple[tuple[int, tuple[tuple[bool, int, str], ...]], ...]
Key = tuple[Code, ...]
Form = dict[Key, Expr]
Word = tuple[tuple[int, bool], ...]
"""Letters from left to right, each with whether it is transposed."""


@dataclass
class Alphabet:
    """The letters of one decision, the rules of their inverses, and the scalars that stand for closed networks."""

    letters: dict[Hashable, int] = field(default_factory=dict)
    rules: dict[Word, list[tuple[Expr, Word]]] = field(default_factory=dict)
    inverses: dict[int, list[tuple[Expr, Word]]] = field(default_factory=dict)
    scalars: dict[Hashable, sympy.Dummy] = field(default_factory=dict)
    shapes: dict[int, tuple[Expr, Expr]] = field(default_factory=dict)
    sizes: dict[str, Expr] = field(default_factory=dict)
    dummies: Iterator[int] = field(default_factory=count)

    def letter(self, key: Hashable, shape: tuple[Expr, Expr]) -> int:
        """The number of a letter, the same for the same key."""
        number = self.letters.setdefault(key, len(self.letters))
        self.shapes[number] = shape
        return number

    def scalar(self, key: Hashable) -> sympy.Dummy:
        """The symbol that stands for a scalar without a polynomial form, the same for the same key."""
        if key not in self.scalars:
            self.scalars[key] = sympy.Dummy(f"c{len(self.scalars)}")
        return self.scalars[key]

    def dummy(self, size: Expr) -> Index:
        """A new summed index."""
        return Index(False, next(self.dummies), size)

    def size_code(self, size: Expr) -> str:
        """A text for a dimension, different for different dimensions."""
        text = str(size)
        while self.sizes.setdefault(text, size) != size:
            text += "'"
        return text


def multiply(coefficient: Expr, sums: Sequence[list[Term]]) -> list[Term]:
    """The product of sums of monomials, written out."""
    if prod(len(terms) for terms in sums) > TERM_LIMIT:
        raise UndecidedError(f"a product of more than {TERM_LIMIT} terms")
    return [
        (coefficient * prod((c for c, _ in choice), start=sympy.S.One), [f for _, fs in choice for f in fs])
        for choice in product(*sums)
    ]


def is_null(coefficient: Expr) -> bool:
    """Whether a coefficient is proved to be zero."""
    if coefficient.is_Rational:
        return bool(coefficient == 0)
    return decide_zero(coefficient).value is True


def collect(terms: Iterable[Term], alphabet: Alphabet) -> Form:
    """The canonical form: contracted, rewritten by the rules of inverses, closed parts as scalars."""
    pending, steps = list(terms), 0
    sums: dict[Key, list[Expr]] = {}
    while pending:
        steps += 1
        if steps > REWRITE_LIMIT:
            raise UndecidedError(f"more than {REWRITE_LIMIT} rewriting steps")
        coefficient, factors = contract(*pending.pop())
        if len(factors) > FACTOR_LIMIT:
            raise UndecidedError(f"a product of more than {FACTOR_LIMIT} matrices")
        rewritten = _rewrite(factors, alphabet)
        if rewritten is not None:
            pending += [(coefficient * c, f) for c, f in rewritten]
            continue
        opened = []
        for part in _components(factors):
            code = _canonical(part, alphabet)
            if any(index.free for _, indices in part for index in indices):
                opened.append(code)
            else:
                coefficient = coefficient * alphabet.scalar(("closed", code))
        sums.setdefault(tuple(sorted(opened)), []).append(coefficient)
    totals = {key: sympy.Add(*parts) for key, parts in sums.items()}
    return {key: total for key, total in totals.items() if not is_null(total)}


def contract(coefficient: Expr, factors: Iterable[Factor]) -> Term:
    """Use up Kronecker deltas and vectors of ones; a dummy in nothing else is its dimension."""
    pending = list(factors)
    while True:
        usable = next(
            (f for f in pending if f[0] == DELTA and f[1][0] != f[1][1] and not (f[1][0].free and f[1][1].free)), None
        )
        if usable is None:
            break
        pending.remove(usable)
        keep, drop = sorted(usable[1], key=lambda i: (not i.free, i.number))
        pending = [(n, tuple(keep if i == drop else i for i in indices)) for n, indices in pending]
        pending.append((ONE, (keep,)))
    return _tidied(coefficient, pending)


def _tidied(coefficient: Expr, factors: list[Factor]) -> Term:
    """Deltas of free indices once, deltas of one index and superfluous ones away, lone dummies summed."""
    same: dict[Index, Index] = {}
    for name, indices in factors:
        if name == DELTA:
            low, high = sorted((_root(indices[0], same), _root(indices[1], same)), key=lambda i: i.number)
            if low != high:
                same[high] = low
    rest: list[Factor] = []
    loose: dict[Index, None] = {}
    for name, indices in factors:
        if name == DELTA and indices[0] != indices[1]:
            continue
        placed = tuple(_root(i, same) for i in indices)
        if name in (DELTA, ONE):
            loose[placed[0]] = None
        else:
            rest.append((name, placed))
    rest += [(DELTA, (_root(low, same), high)) for high, low in same.items()]
    used = {i for _, indices in rest for i in indices}
    for index in loose:
        if not index.free and index not in used:
            coefficient = coefficient * index.size
    return coefficient, rest


def _root(index: Index, same: Mapping[Index, Index]) -> Index:
    while index in same:
        index = same[index]
    return index


def _rewrite(factors: list[Factor], alphabet: Alphabet) -> list[Term] | None:
    """The monomial after the first rule that applies, or None."""
    if not alphabet.rules:
        return None
    degree: dict[Index, int] = {}
    for _, indices in factors:
        for index in indices:
            degree[index] = degree.get(index, 0) + 1
    inner = {i for i, n in degree.items() if n == 2 and not i.free}
    names = {name for name, _ in factors}
    for word, replacement in alphabet.rules.items():
        if not all(letter in names for letter, _ in word):
            continue
        match = _match(factors, word, inner)
        if match is not None:
            used, start, end = match
            rest = [f for position, f in enumerate(factors) if position not in used]
            return [(c, rest + path(w, start, end, alphabet)) for c, w in replacement]
    return None


def _match(factors: list[Factor], word: Word, inner: set[Index]) -> tuple[list[int], Index, Index] | None:
    for position, (name, indices) in enumerate(factors):
        if name != word[0][0] or len(indices) != 2:
            continue
        start, end = reversed(indices) if word[0][1] else indices
        used = [position]
        for letter, flipped in word[1:]:
            following = _following(factors, used, end, letter, flipped) if end in inner else None
            if following is None:
                break
            used.append(following)
            end = factors[following][1][0 if flipped else 1]
        else:
            return used, start, end
    return None


def _following(factors: list[Factor], used: list[int], at: Index, letter: int, flipped: bool) -> int | None:
    for position, (name, indices) in enumerate(factors):
        if position not in used and name == letter and len(indices) == 2 and indices[1 if flipped else 0] == at:
            return position
    return None


def path(word: Word, start: Index, end: Index, alphabet: Alphabet) -> list[Factor]:
    """The product of the letters of a word from one index to another; of none, a delta."""
    if not word:
        return [(DELTA, (start, end))]
    inner = [alphabet.dummy(alphabet.shapes[letter][0 if flipped else 1]) for letter, flipped in word[:-1]]
    ends = zip([start, *inner], [*inner, end], strict=True)
    return [(x, (j, i) if flipped else (i, j)) for (x, flipped), (i, j) in zip(word, ends, strict=True)]


def reversed_word(word: Word) -> Word:
    """The transpose of a word."""
    return tuple((letter, not flipped) for letter, flipped in reversed(word))


def add_inverse(letter: int, inverse: int, parts: list[tuple[Expr, Word]], alphabet: Alphabet) -> None:
    """Rules for a letter that inverts a sum of words: the longest word next to it is rewritten by the others."""
    alphabet.inverses[inverse] = parts
    if letter >= 0:
        alphabet.inverses[letter] = [(sympy.S.One, ((inverse, False),))]
    usable = [(len(w), w, c) for c, w in parts if w and _is_unit(c)]
    longest = max(usable, default=None)
    if longest is None or longest[0] < max(len(w) for _, w in parts):
        return
    _, lead, scale = longest
    rest = [(-c / scale, w) for c, w in parts if w != lead]
    after: list[tuple[Expr, Word]] = [(1 / scale, ()), *((c, (*w, (inverse, False))) for c, w in rest)]
    before: list[tuple[Expr, Word]] = [(1 / scale, ()), *((c, ((inverse, False), *w)) for c, w in rest)]
    for word, replacement in (((*lead, (inverse, False)), after), (((inverse, False), *lead), before)):
        alphabet.rules[word] = replacement
        alphabet.rules[reversed_word(word)] = [(c, reversed_word(w)) for c, w in replacement]


def _is_unit(coefficient: Expr) -> bool:
    """A nonzero rational times powers of symbols: zero at most on a thin set of parameters."""
    scale, rest = coefficient.as_coeff_Mul(rational=True)
    powers = [base for base, exponent in rest.as_powers_dict().items() if exponent.is_Integer]
    symbols = all(base.is_Symbol and base.is_zero is not True for base in powers if base != 1)
    return bool(scale != 0 and symbols and len(powers) == len(rest.as_powers_dict()))


def _components(factors: list[Factor]) -> list[list[Factor]]:
    """The parts of a monomial that share no index."""
    parts: list[tuple[set[Index], list[Factor]]] = []
    for factor in factors:
        indices, members, others = set(factor[1]), [factor], []
        for part in parts:
            if part[0] & indices:
                indices |= part[0]
                members = part[1] + members
            else:
                others.append(part)
        parts = [*others, (indices, members)]
    return [members for _, members in parts]


def _canonical(factors: list[Factor], alphabet: Alphabet) -> Code:
    """The least code of a connected part over all numberings of its dummies that the structure does not settle."""
    places: dict[Index, list[tuple[int, int, tuple[Index, ...]]]] = {}
    for name, indices in factors:
        for position, index in enumerate(indices):
            places.setdefault(index, []).append((name, 0 if name == DELTA else position, indices))
    # Free indices are told apart by their numbers, dummies by their dimension to begin with.
    start = {i: ((0, i.number, "") if i.free else (1, 0, alphabet.size_code(i.size))) for i in places}
    leaves: list[Code] = []
    branches = [_ranked(start)]
    steps = 0
    while branches:
        steps += 1
        if steps > BRANCH_LIMIT:
            raise UndecidedError("a product with too many symmetries for its canonical form")
        colours = _refined(branches.pop(), places)
        tied = _first_tie(colours)
        if tied:
            branches += [_ranked({i: (c, 0 if i == chosen else 1) for i, c in colours.items()}) for chosen in tied]
            continue
        rank = {i: n for n, i in enumerate(sorted((i for i in colours if not i.free), key=lambda i: colours[i]))}
        leaves.append(_code(factors, rank, alphabet))
    return min(leaves)


def _code(factors: list[Factor], rank: Mapping[Index, int], alphabet: Alphabet) -> Code:
    listed = []
    for name, indices in factors:
        shown = [(i.free, i.number if i.free else rank[i], alphabet.size_code(i.size)) for i in indices]
        listed.append((name, tuple(sorted(shown) if name == DELTA else shown)))
    return tuple(sorted(listed))


def _ranked(values: Mapping[Index, tuple]) -> dict[Index, int]:
    order = {value: number for number, value in enumerate(sorted(set(values.values())))}
    return {index: order[value] for index, value in values.items()}


def _refined(
    colours: dict[Index, int], places: Mapping[Index, list[tuple[int, int, tuple[Index, ...]]]]
) -> dict[Index, int]:
    """Colours of indices, refined by their neighbours until nothing changes."""
    while True:
        signatures = {
            index: (
                colours[index],
                tuple(sorted((n, p, tuple(colours[i] for i in indices)) for n, p, indices in places[index])),
            )
            for index in colours
        }
        finer = _ranked(signatures)
        if len(set(finer.values())) == len(set(colours.values())):
            return finer
        colours = finer


def _first_tie(colours: Mapping[Index, int]) -> list[Index]:
    classes: dict[int, list[Index]] = {}
    for index, colour in colours.items():
        classes.setdefault(colour, []).append(index)
    return next((classes[c] for c in sorted(classes) if len(classes[c]) > 1), [])


def terms_of(form: Form, free: Sequence[Index], alphabet: Alphabet) -> list[Term]:
    """The monomials of a form, its free indices in the place of the numbers 0, 1, ..."""
    result = []
    for key, coefficient in form.items():
        factors: list[Factor] = []
        for code in key:
            inner: dict[int, Index] = {}
            for name, indices in code:
                placed = [
                    free[n] if is_free else inner.setdefault(n, alphabet.dummy(alphabet.sizes[size]))
                    for is_free, n, size in indices
                ]
                factors.append((name, tuple(placed)))
        result.append((coefficient, factors))
    return result


def word_of(key: Key) -> Word | None:
    """The word of a monomial that is a product of letters from free index 0 to free index 1, or None."""
    if len(key) != 1:
        return None
    code = key[0]
    if code[0][0] == DELTA:
        return () if len(code) == 1 else None
    if any(len(indices) != 2 for _, indices in code):
        return None
    left = list(code)
    at: tuple[bool, int] = (True, 0)
    word: list[tuple[int, bool]] = []
    while at != (True, 1):
        following = next(((c, c[1].index(i)) for c in left for i in c[1] if i[:2] == at), None)
        if following is None:
            return None
        factor, position = following
        left.remove(factor)
        word.append((factor[0], position == 1))
        at = factor[1][1 - position][:2]
        if at == (True, 0):
            return None
    return None if left else tuple(word)
