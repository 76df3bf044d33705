"""The scalar identities and derivatives that a derivation decides, collected for the export to a proof assistant."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from sympy import Expr, Symbol, diff


@dataclass(frozen=True)
class Identity:
    """``left = right`` of commutative scalars, as a derivation handed them over, and whether it was proved."""

    left: Expr
    right: Expr
    proved: bool
    method: str


@dataclass(frozen=True)
class Derivative:
    """``d function / d variable = value``, the value by SymPy."""

    function: Expr
    variable: Symbol
    value: Expr


@dataclass
class Record:
    """What was decided inside a block."""

    identities: dict[Identity, None] = field(default_factory=dict)
    derivatives: dict[Derivative, None] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)


_RECORD: ContextVar[Record | None] = ContextVar("record", default=None)


@contextmanager
def recorded() -> Iterator[Record]:
    """Collect what is decided inside the block, each identity once."""
    record = Record()
    token = _RECORD.set(record)
    try:
        yield record
    finally:
        _RECORD.reset(token)


def note_identity(left: Expr, right: Expr, proved: bool, method: str) -> None:
    """Add an identity, where somebody collects."""
    record = _RECORD.get()
    if record is not None:
        record.identities.setdefault(Identity(left, right, proved, method))


def note_other(what: str) -> None:
    """Count a decision that is no identity of scalars, where somebody collects."""
    record = _RECORD.get()
    if record is not None:
        record.others[what] += 1


def differentiated(function: Expr, variable: Symbol) -> Expr:
    """The derivative by SymPy, which is added where somebody collects."""
    value = diff(function, variable)
    record = _RECORD.get()
    if record is not None:
        record.derivatives.setdefault(Derivative(function, variable, value))
    return value
