r"""Formulas as normal forms: the grammar of a formula, and what its symbols stand for.

The grammar is that of products by juxtaposition, of ``\otimes`` below them and of sums below that; the parser is an
LALR(1) one, linear and without recursion. Source: statement 6 (arXiv 2010.00578).
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple, Protocol

from lark import Lark, LarkError, UnexpectedInput
from lark import Token as LarkToken
from lark.exceptions import VisitError
from lark.lexer import Lexer as LarkLexer
from lark.visitors import Transformer_NonRecursive

from theory.paper.algebra import Algebra, Form, Opaque, UndecidedError, is_scalar, key_of, matrix, number, opaque, table
from theory.paper.algebra import scalar as commuting
from theory.paper.looks import Macro, Token

SCALARS = {
    "rootpolarity", "polarity", "selectivity", "latentmean", "transition", "rootprior", "offset", "strength", "reach",
    "weight", "cardinality",
}  # fmt: skip
"""Macros that stand for numbers."""
_ONE = Fraction(1)
_GRAMMAR = r"""
start: sum
sum: (PLUS | MINUS)? kron ((PLUS | MINUS | OTHER) kron)*
kron: product (_KRON product)*
product: factor ((TIMES | SLASH)? factor)* (TIMES? big)? | big
big: BIG product
factor: atom (TRANSPOSE | power | SUB)*
power: _POWER _LB sum _RB
?atom: NUM -> number
     | SYM -> symbol
     | HEAD -> symbol
     | APPLY bracket -> applied
     | FUN factor -> diagonal
     | _FRAC _LB sum _RB _LB sum _RB -> fraction
     | _SQRT _LB sum _RB -> root
     | bracket -> group
     | _MOPEN row (_ROW row)* _ROW? _MCLOSE -> matrix
bracket: OPEN sum ((COMMA | SEMI | BAR) sum)* CLOSE
row: sum (_AMP sum)*
%declare PLUS MINUS OTHER _KRON TIMES SLASH BIG TRANSPOSE _POWER SUB _LB _RB NUM SYM HEAD APPLY FUN _FRAC _SQRT
%declare _MOPEN _MCLOSE _ROW _AMP OPEN CLOSE COMMA SEMI BAR
"""
_QUIET = {"KRON", "POWER", "LB", "RB", "FRAC", "SQRT", "MOPEN", "MCLOSE", "ROW", "AMP"}


class _Feed(LarkLexer):
    """Hands the tokens of a display to the parser."""

    def __init__(self, _: Any) -> None:
        """The settings that Lark hands in are not needed."""

    def lex(self, data: Sequence[Token]) -> Iterator[LarkToken]:  # type: ignore[override]
        """The tokens; a symbol like an expectation, in front of a bracket, is a function."""
        for at, token in enumerate(data):
            kind = token.kind
            if kind == "HEAD" and at + 1 < len(data) and data[at + 1].kind == "OPEN":
                kind = "APPLY"
            result = LarkToken(f"_{kind}" if kind in _QUIET else kind, token.text)
            result.value = token
            yield result


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer=_Feed)


class Value(NamedTuple):
    """A form, and how it was written: as a number, in brackets, as a function of what stands behind it."""

    form: Form
    numeric: bool = False
    bracket: bool = False
    bare: bool = False


class Table(Protocol):
    """What a symbol of a paper stands for."""

    def get(self, symbol: object, default: object = None, /) -> object:
        """The symbol of the derived formula, None where it may be one of two, the default where it is none."""


class Reader(Transformer_NonRecursive):
    """Reads formulas; ``table`` has what a symbol of the paper stands for, None where it may stand for two."""

    def __init__(self, table: Table | None = None) -> None:
        super().__init__(visit_tokens=False)
        self.algebra = Algebra()
        self._table = table

    def read(self, tokens: Sequence[Token]) -> Form:
        """The form of a formula."""
        try:
            tree = _parser().parse(list(tokens))
        except UnexpectedInput as error:
            text = str(getattr(error, "token", ""))
            at = f"at {text[:40]}" if text else "at its end"
            raise UndecidedError(f"it is no formula that can be read: {at}") from None
        except LarkError:
            raise UndecidedError("it is no formula that can be read") from None
        try:
            result: Form = self.transform(tree)
        except VisitError as error:
            raise error.orig_exc from None
        return result

    # What the rules of the grammar mean: children are tokens and values.

    def start(self, children: list) -> Form:
        """The form of a formula."""
        return children[0].form  # type: ignore[no-any-return]

    def sum(self, children: list) -> Value:
        """Terms with signs; other operations are compared as they are written."""
        if len(children) == 1:
            return children[0]  # type: ignore[no-any-return]
        form: Form | None = None
        sign = "PLUS"
        for child in children:
            if isinstance(child, LarkToken):
                sign = child.value.value if child.type == "OTHER" else child.type
            elif sign in ("PLUS", "MINUS"):
                form = self.algebra.add(form or {}, child.form, 1 if sign == "PLUS" else -1)
            else:
                form = opaque(f"operation {sign}", False, key_of(form or {}), key_of(child.form))
        return Value(form or {})

    def kron(self, children: list) -> Value:
        """Kronecker products."""
        first, *others = children
        for other in others:
            first = Value(self.algebra.kronecker(first.form, other.form))
        return first  # type: ignore[no-any-return]

    def product(self, children: list) -> Value:
        """Factors from left to right; what could be read in two ways is not decided."""
        if len(children) == 1:
            return children[0]  # type: ignore[no-any-return]
        result, before, sign, slash = number(_ONE), None, "", False
        numeric = True
        for child in children:
            if isinstance(child, LarkToken):
                sign = child.type
                continue
            if sign == "SLASH":
                slash = not (before and before.numeric and child.numeric)
                result = self.algebra.divide(result, child.form)
            else:
                if before is not None and sign == "":
                    self._next_to(before, child, slash)
                if sign == "TIMES":
                    slash = False
                result = self.algebra.multiply(result, child.form)
            numeric = numeric and child.numeric
            before, sign = child, ""
        return Value(result, numeric)

    @staticmethod
    def _next_to(before: Value, child: Value, slash: bool) -> None:
        if before.numeric and child.numeric:
            raise UndecidedError("it has two numbers next to each other")
        if slash or before.bare:
            raise UndecidedError("it has a factor behind a / or a function without brackets")

    def big(self, children: list) -> Value:
        """A product or a sum over indices."""
        token, body = children
        return Value(opaque("over indices", is_scalar(body.form), token.value.value, key_of(body.form)))

    def factor(self, children: list) -> Value:
        """What stands with its scripts."""
        value: Value = children[0]
        for child in children[1:]:
            form = value.form
            if not isinstance(child, LarkToken):
                value = Value(self.algebra.power(form, child.form), value.numeric)
            elif child.type == "SUB":
                value = Value(opaque("subscript", False, key_of(form), child.value.value))
            elif child.value.value == "T" and is_scalar(form):
                raise UndecidedError("it has the power T of a number")
            else:
                value = Value(self.algebra.transpose(form), bracket=value.bracket, bare=value.bare)
        return value

    def power(self, children: list) -> Value:
        """An exponent."""
        return children[0]  # type: ignore[no-any-return]

    def number(self, children: list) -> Value:
        """A number."""
        return Value(number(children[0].value.value), numeric=True)

    def symbol(self, children: list) -> Value:
        """A macro of the paper's notation, or a symbol."""
        return Value(self.named(children[0].value.value))

    def named(self, symbol: object) -> Form:
        """The form of a symbol."""
        found = self._table.get(symbol, symbol) if self._table else symbol
        if found is None:
            raise UndecidedError("it has a symbol that may stand for two")
        if isinstance(found, Macro) and found.name in SCALARS:
            return commuting(found)
        return matrix(found)

    def applied(self, children: list) -> Value:
        """A function like an expectation, of what stands in its brackets."""
        head, bracket = children
        kind, items, between = bracket
        symbol = Opaque("function", (head.value.value, kind, tuple(key_of(v.form) for v in items), between))
        return Value(self.named(symbol))

    def diagonal(self, children: list) -> Value:
        """The operator diag."""
        return Value(self.algebra.diagonal(children[1].form), bare=not children[1].bracket)

    def fraction(self, children: list) -> Value:
        """A fraction."""
        upper, lower = children
        return Value(self.algebra.divide(upper.form, lower.form), upper.numeric and lower.numeric)

    def root(self, children: list) -> Value:
        """A square root."""
        form = children[0].form
        return Value(opaque("root", is_scalar(form), key_of(form)))

    def bracket(self, children: list) -> tuple[str, list[Value], tuple[str, ...]]:
        """The kind of a bracket, what stands in it, and the separators."""
        opening, closing = children[0].value.value, children[-1].value.value
        if opening != closing:
            raise UndecidedError("it has a bracket that another kind closes")
        values = [child for child in children[1:-1] if not isinstance(child, LarkToken)]
        between = tuple(child.type for child in children[1:-1] if isinstance(child, LarkToken))
        return opening, values, between

    def group(self, children: list) -> Value:
        """Brackets around a formula, or around a list."""
        kind, values, between = children[0]
        forms = [value.form for value in values]
        if (kind == "(" and set(between) <= {"COMMA"}) or (kind == "{" and not between):
            return Value(table([forms]), bracket=True)
        return Value(opaque(f"bracket {kind}", False, *map(key_of, forms), between), bracket=True)

    def row(self, children: list) -> list[Form]:
        """A row of a matrix."""
        return [child.form for child in children]

    def matrix(self, children: list) -> Value:
        """A matrix; the brackets around it do not count."""
        return Value(table(children), bracket=True)
