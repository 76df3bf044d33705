"""The grammar of losses given as text, and its refusals; loads no SymPy, so that a typo is refused at once."""

from functools import lru_cache

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from hltm.base.errors import InputError

LENGTH = 2_000
"""Most characters of a loss."""
NEGATIVES = 64
KNOWN = "known are r_p, r_1 .. r_64, tau, r_0, exp, log, sqrt, max"
_NAMES = frozenset(("r_p", "tau", "r_0", "exp", "log", "sqrt", "max", *(f"r_{k}" for k in range(1, NEGATIVES + 1))))
_SHOWN = 60

GRAMMAR = r"""
start: sum
sum: product ((PLUS | MINUS) product)*
product: signed ((TIMES | OVER) signed)*
signed: (PLUS | MINUS)* power
power: atom [POWER signed]
atom: NUMBER                          -> number
    | NAME                            -> symbol
    | NAME OPEN sum (_COMMA sum)* _CLOSE -> call
    | OPEN sum _CLOSE                 -> nested

PLUS: "+"
MINUS: "-"
TIMES: "*"
OVER: "/"
POWER: "**" | "^"
OPEN: "("
_CLOSE: ")"
_COMMA: ","
NUMBER: /[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?/
NAME: /[A-Za-z_][A-Za-z_0-9]*/
%ignore /[ \t\r\n\f]+/
"""


def check_syntax(text: str) -> None:
    """Refuse what the grammar or the names rule out; `theory.losses.parse` refuses the rest."""
    check_length(text)
    try:
        _plain().parse(text)
        for token in _plain().lex(text):
            if token.type == "NAME" and str(token) not in _NAMES:
                raise refused_at(text, str(token), int(token.start_pos or 0), KNOWN)
    except UnexpectedInput as error:
        raise unexpected(text, error) from None


def check_length(text: str) -> None:
    """Refuse a text of more than `LENGTH` characters."""
    if len(text) > LENGTH:
        raise InputError(f"loss of {len(text)} characters: must have at most {LENGTH}")


@lru_cache(maxsize=1)
def _plain() -> Lark:
    return Lark(GRAMMAR, parser="lalr", lexer="basic", maybe_placeholders=False)


def refused_at(text: str, what: str, place: int, rule: str) -> InputError:
    """The refusal of a part of the text: what, where, and the rule."""
    shown, what = (s if len(s) <= _SHOWN else s[: _SHOWN - 3] + "..." for s in (text, what))
    return InputError(f"{what!r} at character {place + 1} of loss {shown!r}: {rule}")


def unexpected(text: str, error: UnexpectedInput) -> InputError:
    """The refusal for a parse error of lark, in the terms of this grammar."""
    if isinstance(error, UnexpectedCharacters):
        place = int(error.pos_in_stream or 0)
        return refused_at(text, text[place], place, "is not part of the grammar of a loss")
    if not isinstance(error, UnexpectedToken):
        return refused_at(text, "end of text", len(text), "the expression is not complete")
    ended = error.token.type == "$END"
    what, place = ("end of text", len(text.rstrip())) if ended else (str(error.token), int(error.token.start_pos or 0))
    wanted = error.accepts or error.expected
    if "NUMBER" in wanted:
        return refused_at(text, what, place, "a number, a symbol, a function or '(' is needed here")
    if "_CLOSE" in wanted:
        return refused_at(text, what, place, "')' is needed here")
    return refused_at(text, what, place, "the expression should end here")
