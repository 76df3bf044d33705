"""Canonical forms of matrix expressions of any size, and of scalars made of traces and determinants.

Products, sums, transposes, Kronecker and Hadamard products, ``vec``, powers, traces, inverses and determinants
are written in the indices of `theory.core.networks`. The inverse of a sum is a letter of its own, told by the
canonical form of the sum. Anything else raises `UndecidedError` with its name. Two equal forms prove an identity
wherever both of its sides are defined.
"""

from collections.abc import Sequence
from itertools import pairwise

import sympy
from sympy import (
    Add,
    Determinant,
    Expr,
    HadamardPower,
    HadamardProduct,
    Identity,
    Inverse,
    KroneckerProduct,
    MatAdd,
    MatMul,
    MatPow,
    MatrixExpr,
    MatrixSymbol,
    Mul,
    OneMatrix,
    Pow,
    Trace,
    Transpose,
    ZeroMatrix,
)
from sympy.matrices.expressions.matexpr import MatrixElement

from theory.core.networks import (
    DELTA,
    ONE,
    Alphabet,
    Factor,
    Form,
    Index,
    Term,
    UndecidedError,
    add_inverse,
    collect,
    is_null,
    multiply,
    path,
    reversed_word,
    terms_of,
    word_of,
)
from theory.core.notation import Vec

Axes = tuple[tuple[Expr, ...], tuple[Expr, ...]]
MATRIX_PARTS = (MatrixExpr, Trace, Determinant, MatrixElement, sympy.MatrixBase)
POWER_LIMIT = 12
CLEARING_DEPTH = 3
CLEARING_LIMIT = 60


def has_matrices(expr: sympy.Basic) -> bool:
    """Whether an expression has a part that is a matrix."""
    return bool(expr.has(*MATRIX_PARTS))


class MatrixForms:
    """Canonical forms over one alphabet: compare only forms of the same object."""

    def __init__(self) -> None:
        self.alphabet = Alphabet()

    # Structure: the elementary dimensions of rows and columns.

    def axes(self, expr: MatrixExpr) -> Axes:
        """Dimensions of the row and column indices, fastest first; a dimension of 1 has no index."""
        if isinstance(expr, Transpose):
            rows, columns = self.axes(expr.arg)
            return columns, rows
        if isinstance(expr, Inverse):
            return self.axes(expr.arg)
        if isinstance(expr, MatPow | HadamardPower):
            return self.axes(expr.base)
        if isinstance(expr, Vec):
            rows, columns = self.axes(expr.args[0])
            return rows + columns, ()
        if isinstance(expr, KroneckerProduct):
            parts = [self.axes(part) for part in reversed(expr.args)]
            return sum((p[0] for p in parts), ()), sum((p[1] for p in parts), ())
        if isinstance(expr, MatMul):
            parts = [self.axes(part) for part in expr.as_coeff_matrices()[1]]
            for left, right in pairwise(parts):
                if left[1] != right[0]:
                    raise UndecidedError(f"factors do not chain: columns {left[1]}, rows {right[0]}")
            return parts[0][0], parts[-1][1]
        if isinstance(expr, MatAdd | HadamardProduct):
            parts = [self.axes(part) for part in expr.args if not isinstance(part, ZeroMatrix)]
            if any(part != parts[0] for part in parts):
                raise UndecidedError("the index structures of parts of a sum or an entrywise product differ")
            return parts[0] if parts else self._plain_axes(expr.args[0])
        if isinstance(expr, MatrixSymbol | Identity | ZeroMatrix | OneMatrix):
            return self._plain_axes(expr)
        raise UndecidedError(f"{type(expr).__name__} has no index form")

    def _plain_axes(self, expr: MatrixExpr) -> Axes:
        rows, columns = (sympy.expand(d) for d in expr.shape)
        return tuple(d for d in (rows,) if d != 1), tuple(d for d in (columns,) if d != 1)

    # Components.

    def form(self, expr: MatrixExpr) -> tuple[Axes, Form]:
        """Index structure and canonical components of a matrix expression."""
        structure = self.axes(expr)
        sizes = structure[0] + structure[1]
        free = [Index(True, number, size) for number, size in enumerate(sizes)]
        cut = len(structure[0])
        return structure, collect(self.terms(expr, tuple(free[:cut]), tuple(free[cut:])), self.alphabet)

    def terms(self, expr: MatrixExpr, rows: tuple[Index, ...], columns: tuple[Index, ...]) -> list[Term]:
        """The entry of an expression at given indices, as a sum of monomials."""
        one = sympy.S.One
        if isinstance(expr, ZeroMatrix):
            return []
        if isinstance(expr, Identity):
            return [(one, [(DELTA, rows + columns)] if rows else [])]
        if isinstance(expr, OneMatrix):
            return [(one, [(ONE, (index,)) for index in rows + columns])]
        if isinstance(expr, MatrixSymbol):
            return [(one, [(self._symbol(expr), rows + columns)])]
        if isinstance(expr, Transpose):
            return self.terms(expr.arg, columns, rows)
        if isinstance(expr, Vec):
            cut = len(self.axes(expr.args[0])[0])
            return self.terms(expr.args[0], rows[:cut], rows[cut:])
        if isinstance(expr, MatAdd):
            return [term for part in expr.args for term in self.terms(part, rows, columns)]
        if isinstance(expr, HadamardProduct):
            return multiply(one, [self.terms(part, rows, columns) for part in expr.args])
        if isinstance(expr, HadamardPower):
            return multiply(one, [self.terms(expr.base, rows, columns)] * _exponent(expr.exp, negative=False))
        if isinstance(expr, KroneckerProduct):
            return self._kronecker(list(expr.args), rows, columns)
        if isinstance(expr, Inverse):
            return self._inverse(expr.arg, rows, columns)
        if isinstance(expr, MatPow):
            return self._power(expr, rows, columns)
        if isinstance(expr, MatMul):
            coefficient, parts = expr.as_coeff_matrices()
            return self._product(self.scalar(coefficient), list(parts), rows, columns)
        raise UndecidedError(f"{type(expr).__name__} has no index form")

    def _symbol(self, expr: MatrixSymbol) -> int:
        return self.alphabet.letter(expr, expr.shape)

    def _product(
        self, coefficient: Expr, parts: list[MatrixExpr], rows: tuple[Index, ...], columns: tuple[Index, ...]
    ) -> list[Term]:
        inner = [tuple(self.alphabet.dummy(size) for size in self.axes(part)[1]) for part in parts[:-1]]
        ends = zip(parts, [rows, *inner], [*inner, columns], strict=True)
        return multiply(coefficient, [self.terms(part, start, end) for part, start, end in ends])

    def _kronecker(self, parts: list[MatrixExpr], rows: tuple[Index, ...], columns: tuple[Index, ...]) -> list[Term]:
        factors = []
        for part in reversed(parts):
            up, across = (len(axis) for axis in self.axes(part))
            factors.append(self.terms(part, rows[:up], columns[:across]))
            rows, columns = rows[up:], columns[across:]
        return multiply(sympy.S.One, factors)

    def _power(self, expr: MatPow, rows: tuple[Index, ...], columns: tuple[Index, ...]) -> list[Term]:
        exponent = _exponent(expr.exp)
        if exponent == 0:
            return self.terms(Identity(expr.shape[0]), rows, columns)
        base = expr.base if exponent > 0 else Inverse(expr.base)
        return self._product(sympy.S.One, [base] * abs(exponent), rows, columns)

    # Inverses.

    def _inverse(self, arg: MatrixExpr, rows: tuple[Index, ...], columns: tuple[Index, ...]) -> list[Term]:
        if isinstance(arg, Inverse):
            return self.terms(arg.arg, rows, columns)
        if isinstance(arg, Identity):
            return self.terms(arg, rows, columns)
        if isinstance(arg, Transpose):
            return self._inverse(arg.arg, columns, rows)
        if isinstance(arg, MatrixSymbol):
            return self._inverse_of_symbol(arg, rows, columns)
        if isinstance(arg, MatPow):
            return self._power(MatPow(arg.base, -arg.exp), rows, columns)
        if isinstance(arg, KroneckerProduct) and all(_square(part) for part in arg.args):
            return self._kronecker([Inverse(part) for part in arg.args], rows, columns)
        if isinstance(arg, MatMul):
            coefficient, parts = arg.as_coeff_matrices()
            if all(_square(part) for part in parts):
                inverted = [Inverse(part) for part in reversed(parts)]
                return self._product(1 / self.scalar(coefficient), inverted, rows, columns)
        return self._inverse_of_form(arg, rows, columns)

    def _inverse_of_symbol(self, arg: MatrixSymbol, rows: tuple[Index, ...], columns: tuple[Index, ...]) -> list[Term]:
        letter = self._symbol(arg)
        if not rows:  # a matrix of one entry
            return [(1 / self.alphabet.scalar(("closed", ((letter, ()),))), [])]
        inverse = self.alphabet.letter(("inverse", letter), arg.shape)
        add_inverse(letter, inverse, [(sympy.S.One, ((letter, False),))], self.alphabet)
        return [(sympy.S.One, [(inverse, rows + columns)])]

    def _inverse_of_form(self, arg: MatrixExpr, rows: tuple[Index, ...], columns: tuple[Index, ...]) -> list[Term]:
        """A letter for the inverse of a sum, up to a rational factor and a transpose of the sum."""
        structure, form = self.form(arg)
        if not form:
            raise UndecidedError("the inverse of a matrix that is zero")
        if structure[0] != structure[1]:
            raise UndecidedError("the inverse of a matrix whose rows and columns have different index structures")
        if not rows:
            return [(1 / sympy.Add(*form.values()), [])]
        cut = len(structure[0])
        scale, form, flipped = min(
            ((*_scaled(form), False), (*_scaled(self._transposed(form, structure)), True)),
            key=lambda choice: str(_frozen(choice[1])),
        )
        if flipped:
            rows, columns = columns, rows
        words = [(c, word_of(k)) for k, c in form.items()]
        known = [(c, w) for c, w in words if w is not None]
        if len(words) == 1 and known and all(_is_square(self.alphabet.shapes[x]) for x, _ in known[0][1]):
            return self._inverse_of_word(scale * known[0][0], known[0][1], rows, columns)
        inverse = self.alphabet.letter(("inverse", _frozen(form)), arg.shape)
        if len(known) == len(words) and cut == 1:
            add_inverse(-1, inverse, known, self.alphabet)
        return [(1 / scale, [(inverse, rows + columns)])]

    def _inverse_of_word(
        self, coefficient: Expr, word: tuple, rows: tuple[Index, ...], columns: tuple[Index, ...]
    ) -> list[Term]:
        names = {number: key for key, number in self.alphabet.letters.items()}
        parts: list[MatrixExpr] = []
        for letter, flipped in reversed(word):
            key = names[letter]
            if not isinstance(key, MatrixSymbol):
                raise UndecidedError("the inverse of a product of inverses of sums")
            parts.append(Inverse(key.T if flipped else key))
        parts = parts or [Identity(rows[0].size)]
        return self._product(1 / coefficient, parts, rows, columns)

    # Scalars.

    def scalar(self, expr: Expr) -> Expr:
        """A scalar with its traces, determinants and entries in canonical form."""
        if not expr.is_commutative and not isinstance(expr, Trace | Determinant):
            raise UndecidedError(f"the scalar {expr} does not commute")
        if not has_matrices(expr):
            return expr
        if isinstance(expr, Trace):
            return self._trace(expr.arg)
        if isinstance(expr, Determinant):
            return self._determinant(expr.arg)
        if (
            isinstance(expr, MatrixElement)
            and isinstance(expr.parent, MatrixSymbol)
            and not has_matrices(expr.i + expr.j)
        ):
            return self.alphabet.scalar(("entry", expr))
        if isinstance(expr, Add | Mul | Pow | sympy.Function) and not isinstance(expr, MatrixExpr):
            return expr.func(*(self.scalar(part) for part in expr.args))
        raise UndecidedError(f"{type(expr).__name__} of matrices")

    def _trace(self, arg: MatrixExpr) -> Expr:
        rows, columns = self.axes(arg)
        if rows != columns:
            raise UndecidedError("the trace of a matrix whose rows and columns have different index structures")
        indices = tuple(self.alphabet.dummy(size) for size in rows)
        # An index that a delta uses up twice is counted by the vector of ones.
        ones: list[Factor] = [(ONE, (index,)) for index in indices]
        closed = collect([(c, f + ones) for c, f in self.terms(arg, indices, indices)], self.alphabet)
        return sympy.Add(*closed.values())

    def _determinant(self, arg: MatrixExpr) -> Expr:
        if isinstance(arg, Identity):
            return sympy.S.One
        if isinstance(arg, ZeroMatrix):
            return sympy.S.Zero
        if isinstance(arg, Transpose):
            return self._determinant(arg.arg)
        if isinstance(arg, Inverse):
            return 1 / self._determinant(arg.arg)
        if isinstance(arg, MatPow):
            return self._determinant(arg.base) ** _exponent(arg.exp)
        if isinstance(arg, MatMul):
            coefficient, parts = arg.as_coeff_matrices()
            if all(_square(part) for part in parts):
                scale = self.scalar(coefficient) ** arg.shape[0]
                return scale * sympy.Mul(*(self._determinant(part) for part in parts))
        if isinstance(arg, KroneckerProduct) and all(_square(part) for part in arg.args):
            size = arg.shape[0]
            return sympy.Mul(*(self._determinant(part) ** (size / part.shape[0]) for part in arg.args))
        if isinstance(arg, MatrixSymbol):
            return self.alphabet.scalar(("det", self._symbol(arg)))
        return self._determinant_of_form(arg)

    def _determinant_of_form(self, arg: MatrixExpr) -> Expr:
        structure, form = self.form(arg)
        if structure[0] != structure[1]:
            raise UndecidedError("the determinant of a matrix whose rows and columns have different index structures")
        turned = self._transposed(form, structure)
        return self.alphabet.scalar(("det", arg.shape[0], min(_frozen(form), _frozen(turned), key=str)))

    def _transposed(self, form: Form, structure: Axes) -> Form:
        free = [Index(True, number, size) for number, size in enumerate(structure[0] + structure[1])]
        cut = len(structure[0])
        return collect(terms_of(form, free[cut:] + free[:cut], self.alphabet), self.alphabet)

    # Identities that need both sides multiplied by what an inverse inverts.

    def vanishes(self, form: Form, axes: Axes) -> bool:
        """Whether a form is zero, or becomes zero when invertible matrices multiply it from both ends."""
        if not form:
            return True
        if [len(axis) for axis in axes] != [1, 1]:
            return False
        sizes = (axes[0][0], axes[1][0])
        level, tried = [form], 0
        for _ in range(CLEARING_DEPTH):
            following = []
            for current in level:
                for side in (0, 1):
                    for parts in self._clearing(current, side):
                        tried += 1
                        product = self._multiplied(current, sizes, parts, side)
                        if not product:
                            return True
                        if tried > CLEARING_LIMIT:
                            return False
                        following.append(product)
            level = following
        return False

    def _clearing(self, form: Form, side: int) -> list[Sequence[tuple[Expr, tuple]]]:
        """What the letters at one end of the monomials invert."""
        ends: dict[tuple[int, bool], None] = {}
        for key in form:
            for name, indices in (factor for code in key for factor in code):
                position = next((p for p, i in enumerate(indices) if i[:2] == (True, side)), None)
                if position is not None and len(indices) == 2 and name in self.alphabet.inverses:
                    ends[name, position != side] = None
        result: list[Sequence[tuple[Expr, tuple]]] = []
        for name, flipped in ends:
            parts = self.alphabet.inverses[name]
            result.append([(c, reversed_word(w)) for c, w in parts] if flipped else parts)
        return result

    def _multiplied(self, form: Form, sizes: tuple[Expr, Expr], parts: Sequence[tuple[Expr, tuple]], side: int) -> Form:
        outer = [Index(True, number, size) for number, size in enumerate(sizes)]
        inner = self.alphabet.dummy(sizes[side])
        ends = [inner, outer[1]] if side == 0 else [outer[0], inner]
        terms = []
        for coefficient, word in parts:
            chain = (outer[0], inner) if side == 0 else (inner, outer[1])
            for c, factors in terms_of(form, ends, self.alphabet):
                terms.append((coefficient * c, factors + path(word, *chain, self.alphabet)))
        return collect(terms, self.alphabet)


def difference(first: Form, second: Form) -> Form:
    """The difference of two forms, its zero coefficients left out."""
    total = {key: first.get(key, sympy.S.Zero) - second.get(key, sympy.S.Zero) for key in {**first, **second}}
    return {key: value for key, value in total.items() if not is_null(value)}


def _scaled(form: Form) -> tuple[Expr, Form]:
    """A rational factor, and the form without it: the first coefficient has the factor 1."""
    scale = min(form.items())[1].as_coeff_Mul(rational=True)[0]
    return scale, {key: value / scale for key, value in form.items()}


def _frozen(form: Form) -> tuple:
    return tuple(sorted(((key, sympy.expand(value)) for key, value in form.items()), key=lambda item: item[0]))


def _square(expr: MatrixExpr) -> bool:
    return _is_square(expr.shape)


def _is_square(shape: tuple[Expr, Expr]) -> bool:
    return bool(sympy.expand(shape[0] - shape[1]) == 0)


def _exponent(exponent: Expr, negative: bool = True) -> int:
    if not exponent.is_Integer or abs(int(exponent)) > POWER_LIMIT or (exponent < 0 and not negative):
        raise UndecidedError(f"the power {exponent} of a matrix")
    return int(exponent)
