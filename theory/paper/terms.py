r"""Right sides of equations as objects, and their LaTeX in macros: the short forms, and those of given weights.

A `Name` is a macro with nodes or indices as arguments: it has the value of the symbol that the macro stands for, so
that a formula can be evaluated as it is written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import sympy

from hltm.base.checks import Node
from theory.latex.render import plain_tex
from theory.paper.layout import Item, Row
from theory.paper.rows import number


@dataclass(frozen=True)
class Index:
    """A letter that runs over nodes, edges or numbers."""

    macro: str

    @property
    def tex(self) -> str:
        """The macro of the letter."""
        return rf"\covop{self.macro}{{}}"


@dataclass(frozen=True)
class Name:
    """A macro of some nodes; ``part`` has the numbers of a column and a row of a matrix."""

    macro: str
    nodes: tuple[Node | Index, ...] = ()
    part: tuple[int | Index, ...] = ()


@dataclass(frozen=True)
class Polynomial:
    """An expression in the symbols of the tree and of the weights."""

    value: sympy.Expr


@dataclass(frozen=True)
class Product:
    """Factors, scalars or matrices."""

    factors: tuple["Term", ...]


@dataclass(frozen=True)
class Difference:
    """``left - right``."""

    left: "Term"
    right: "Term"


@dataclass(frozen=True)
class Power:
    """A power of a scalar."""

    base: "Term"
    exponent: int


@dataclass(frozen=True)
class Transposed:
    """A matrix transposed."""

    base: "Term"


@dataclass(frozen=True)
class Diagonal:
    """The diagonal matrix of a column."""

    base: "Term"


@dataclass(frozen=True)
class Kronecker:
    """``left kron right``."""

    left: "Term"
    right: "Term"


@dataclass(frozen=True)
class Vector:
    """A column, entry by entry."""

    entries: tuple["Term", ...]


@dataclass(frozen=True)
class Matrix:
    """A matrix, entry by entry."""

    rows: tuple[tuple["Term", ...], ...]


@dataclass(frozen=True)
class States:
    """The column 0, 1, ... of the states of a node."""

    node: Node | Index
    count: int | None


@dataclass(frozen=True)
class Each:
    """A term for each value of the indices: a column, matrices beside or below each other, a product or a sum.

    ``where`` is LaTeX of what the indices run over, ``values`` are the values, a tuple for several indices.
    """

    kind: str
    body: "Term"
    indices: tuple[Index, ...]
    values: tuple[tuple[Node, ...], ...]
    where: str


Term: TypeAlias = (
    Name
    | Polynomial
    | Product
    | Difference
    | Power
    | Transposed
    | Diagonal
    | Kronecker
    | Vector
    | Matrix
    | States
    | Each
)


@dataclass(frozen=True)
class Equation:
    """A definition of a name; of all names of an index where ``values`` are given, then ``where`` says which."""

    left: Name
    right: Term
    values: tuple[Node, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class Writer:
    """LaTeX of terms, with the texts of the nodes and the macros of the symbols."""

    texts: Mapping[Node, str]
    names: Mapping[sympy.Symbol, str]

    def row(self, equation: Equation) -> Row:
        """An equation as a row of a display."""
        items = list(self.items(equation.right))
        if equation.where:
            items = [*items[:-1], ended(items[-1], ","), rf"\quad {equation.where}"]
        return Row(self.tex(equation.left), items)

    def items(self, term: Term) -> Sequence[Item]:
        """The parts of a right side between which a line may break."""
        match term:
            case Product(factors):
                return self._product(factors)
            case Kronecker(left, right):
                (head, *others), right_items = self.items(right), self.items(left)
                return [*right_items, _joined(r"\otimes", head), *others]
            case Vector(entries):
                return self._listed(r"\bigl(", entries, r"\bigr)^{\top}")
            case Transposed(Vector(entries)):
                return self._listed(r"\bigl(", entries, r"\bigr)")
            case Polynomial(value):
                return sum_items(value, self.names)
            case Each():
                return [self._each(term)]
            case _:
                return [self.tex(term)]

    def _listed(self, start: str, entries: Sequence[Term], end: str) -> list[Item]:
        """Entries with commas between them, each of which may be a sum that is broken."""
        result: list[Item] = []
        for i, entry in enumerate(entries):
            *others, last = self.items(entry)
            result += [*others, ended(last, end if i == len(entries) - 1 else ",")]
        result[0] = start + result[0] if isinstance(result[0], str) else (start + result[0][0], *result[0][1:])
        return result

    def _product(self, factors: Sequence[Term]) -> list[Item]:
        """Factors that may be parted, but for a number and what it stands before; terms of the last one."""
        result: list[Item] = [()]
        before = ""
        for factor in factors:
            if isinstance(factor, Polynomial) and factor.value.is_number:
                before += f"{number(factor.value)} "
                continue
            items = [rf"\bigl({self.tex(factor)}\bigr)"] if _is_sum(factor) else self.items(factor)
            first, *others = _strings(items[0])
            result[-1] = (*result[-1], before + first, *others)
            result += items[1:]
            before = ""
        return result

    def tex(self, term: Term) -> str:
        """LaTeX in one line."""
        match term:
            case Name():
                return self._name(term)
            case Difference(left, right):
                return f"{self.tex(left)} - {self.tex(right)}"
            case Power(base, exponent):
                return f"{self.tex(base)}^{{{exponent}}}"
            case Transposed(base) if not isinstance(base, Vector):
                return rf"{self.tex(base)}^{{\top}}"
            case Diagonal(base):
                return rf"\operatorname{{diag}} {self.tex(base)}"
            case Matrix(rows):
                body = r" \\ ".join(" & ".join(map(self.tex, row)) for row in rows)
                return rf"\begin{{pmatrix}} {body} \end{{pmatrix}}"
            case States(node, count):
                return rf"\bigl({self._states(node, count)}\bigr)^{{\top}}"
            case _:
                return " ".join(text for item in self.items(term) for text in _strings(item))

    def _name(self, name: Name) -> str:
        parts = [one.tex if isinstance(one, Index) else self.texts[one] for one in name.nodes]
        if name.part:
            part = ",".join(one.tex if isinstance(one, Index) else str(one) for one in name.part)
            parts = [*parts[:-1], f"{parts[-1]};{part}" if parts else part]
        return rf"\covop{name.macro}" + "".join(f"{{{part}}}" for part in parts or [""])

    def _states(self, node: Node | Index, count: int | None) -> str:
        if count is not None:
            return ", ".join(map(str, range(count))) if count <= 4 else rf"0, 1, \dots, {count - 1}"
        text = node.tex if isinstance(node, Index) else self.texts[node]
        return rf"0, 1, \dots, \covopcardinality{{{text}}} - 1"

    def _each(self, each: Each) -> Item:
        """Factors of what is collected, which may be parted inside of the brackets."""
        start, end = _BRACKETS.get(each.kind, ("", ""))
        if not end:
            return rf"\{'prod' if each.kind == 'product' else 'sum'}_{{{each.where}}} {self.tex(each.body)}"
        first, *rest = [text for item in self.items(each.body) for text in _strings(item)]
        return ended((start + first, *rest), end.replace("WHERE", f"{{{each.where}}}"))


_BRACKETS = {
    "vector": (r"\bigl(", r"\bigr)_WHERE^{\top}"),
    "columns": (r"\bigl[", r"\bigr]_WHERE"),
    "rows": (r"\bigl(", r"\bigr)_WHERE"),
}


def sum_items(value: sympy.Expr, names: Mapping[sympy.Symbol, str]) -> list[Item]:
    """The terms of a polynomial, each factor by factor; signs stand before the terms."""
    result: list[Item] = []
    for term in value.as_ordered_terms():
        coefficient, rest = term.as_coeff_Mul()
        sign = "-" if coefficient < 0 else "+"
        factors = [plain_tex(factor, dict(names)) for factor in rest.as_ordered_factors() if factor != 1]
        size = abs(coefficient)
        if size != 1 or not factors:
            factors[:1] = [" ".join([number(size), *factors[:1]])]
        if result or sign == "-":
            factors[0] = f"{sign} {factors[0]}" if result else f"-{factors[0]}"
        result.append(tuple(factors))
    return result


def ended(item: Item, end: str) -> Item:
    """An item with a text behind it."""
    return item + end if isinstance(item, str) else (*item[:-1], item[-1] + end)


def _is_sum(term: Term) -> bool:
    return isinstance(term, Difference) or (isinstance(term, Polynomial) and term.value.is_Add)


def _joined(first: str, item: Item) -> Item:
    return f"{first} {item}" if isinstance(item, str) else (f"{first} {item[0]}", *item[1:])


def _strings(item: Item) -> tuple[str, ...]:
    return (item,) if isinstance(item, str) else item
