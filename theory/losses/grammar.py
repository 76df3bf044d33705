"""The grammar of losses given as text, and its refusals; loads no SymPy, so that a typo is refused at once."""

import re
from collections.abc import Collection
from functools import lru_cache

from lark import Lark
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from hltm.base.errors import InputError

LENGTH = 2_000
"""Most characters of a loss."""
NEGATIVES, POSITIVES = 64, 8
FUNCTIONS = (
    "exp", "log", "log1p", "sqrt", "abs", "min", "max", "relu", "tanh", "sigmoid", "softplus", "sum_p", "mean_p",
)  # fmt: skip
KNOWN = (
    "known are r_p, r_1 .. r_64, r_p1 .. r_p8, s_p, s_1 .. s_64, s_p1 .. s_p8, tau, r_0, "
    f"{', '.join(FUNCTIONS)}; others are declared (--param)"
)
DISTANCE = re.compile(r"([rs])_(p?)([1-9][0-9]?|)", re.ASCII)
"""A distance r or a cosine similarity s: of the positive pair, of one of several positives, of a negative."""
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


def is_distance(name: str) -> bool:
    """Whether a name is ``r_p``, ``r_p1`` .. or ``r_1`` .., or the same with s."""
    match = DISTANCE.fullmatch(name)
    if match is None or not (match[2] or match[3]):
        return False
    return not match[3] or int(match[3]) <= (POSITIVES if match[2] else NEGATIVES)


def has_similarities(text: str) -> bool:
    """Whether a text of the grammar has a cosine similarity, which is one of unit vectors."""
    return any(token.type == "NAME" and token[:2] == "s_" and is_distance(token) for token in _plain().lex(text))


def check_declared(text: str, declared: Collection[str]) -> None:
    """Refuse a declared parameter that does not occur in the text."""
    names = {str(token) for token in _plain().lex(text) if token.type == "NAME"}
    for name in sorted(declared):
        if name not in names:
            raise InputError(f"parameter {name!r}: does not occur in the loss {text[:_SHOWN]!r}")


def check_syntax(text: str, declared: Collection[str] = ()) -> None:
    """Refuse what the grammar or the names rule out; `theory.losses.parse` refuses the rest."""
    check_length(text)
    try:
        _plain().parse(text)
        for token in _plain().lex(text):
            if token.type == "NAME" and not _is_known(str(token), declared):
                raise refused_at(text, str(token), int(token.start_pos or 0), KNOWN)
    except UnexpectedInput as error:
        raise unexpected(text, error) from None


def _is_known(name: str, declared: Collection[str]) -> bool:
    return name in ("tau", "r_0", *FUNCTIONS, *declared) or is_distance(name)


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
