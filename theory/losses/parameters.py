"""Parameters that a user declares for a loss, as ``beta=0.5``, ``m=positive``, ``lam=0..1``; loads no SymPy."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from hltm.base.errors import InputError

LIMIT, NAME_LENGTH, DIGITS = 8, 24, 30
KINDS = ("positive", "nonnegative", "real")
FORM = "must be NAME=VALUE, NAME=positive, NAME=nonnegative, NAME=real or NAME=LOW..HIGH"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_DISTANCE = re.compile(r"[rs]_.*")


@dataclass(frozen=True)
class Parameter:
    """A declared parameter: a value, or a kind ("positive", "nonnegative", "real"), or the closed range low..high."""

    name: str
    kind: str = "real"
    value: Fraction | None = None
    low: Fraction | None = None
    high: Fraction | None = None

    @property
    def text(self) -> str:
        """The declaration as it is written."""
        if self.value is not None:
            return f"{self.name}={self.value}"
        return f"{self.name}={self.kind}" if self.low is None else f"{self.name}={self.low}..{self.high}"


def read_parameters(texts: Iterable[str]) -> tuple[Parameter, ...]:
    """Declared parameters, sorted by name; each name once."""
    result: dict[str, Parameter] = {}
    for text in texts:
        parameter = read_parameter(text)
        if parameter.name in result:
            raise InputError(f"parameter {parameter.name!r}: is declared twice")
        result[parameter.name] = parameter
    if len(result) > LIMIT:
        raise InputError(f"{len(result)} parameters: a loss may have at most {LIMIT}")
    return tuple(result[name] for name in sorted(result))


def read_parameter(text: str) -> Parameter:
    """One declaration."""
    shown = text if len(text) <= 60 else text[:57] + "..."
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or not rest:
        raise InputError(f"parameter {shown!r}: {FORM}")
    _check_name(name, shown)
    if rest in KINDS:
        if name == "tau" and rest != "positive":
            raise InputError(f"parameter {shown!r}: tau is positive")
        return Parameter(name, rest)
    low, dots, high = rest.partition("..")
    if dots:
        ends = _number(low, shown), _number(high, shown)
        if ends[0] >= ends[1]:
            raise InputError(f"parameter {shown!r}: the low end must be below the high end")
        if name == "tau" and ends[0] <= 0:
            raise InputError(f"parameter {shown!r}: tau is positive")
        kind = "positive" if ends[0] > 0 else "nonnegative" if ends[0] == 0 else "real"
        return Parameter(name, kind, None, *ends)
    value = _number(rest, shown)
    if name == "tau" and value <= 0:
        raise InputError(f"parameter {shown!r}: tau is positive")
    return Parameter(name, "real", value)


def _check_name(name: str, shown: str) -> None:
    from theory.losses.grammar import FUNCTIONS

    if not _NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        rule = f"a name begins with a letter and has letters, digits and _, at most {NAME_LENGTH} characters"
        raise InputError(f"parameter {shown!r}: {rule}")
    if name in FUNCTIONS or (_DISTANCE.fullmatch(name) and name != "r_0"):
        raise InputError(f"parameter {shown!r}: {name!r} is a function or a distance of the grammar; take another name")


def _number(text: str, shown: str) -> Fraction:
    text = text.strip()
    if not _NUMBER.fullmatch(text) or len(text) > DIGITS:
        raise InputError(f"parameter {shown!r}: {FORM}; {text[:20]!r} is no number of at most {DIGITS} characters")
    return Fraction(text)
