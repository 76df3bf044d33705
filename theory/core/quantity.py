"""Typed symbols: SymPy symbols that carry what they stand for.

A role (a noun of the field) and a place (tower, layer, point, neuron) are data of the symbol; its name says only how it
prints, and nothing is read out of it. Symbols of one name and different roles are different.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any

import sympy
from sympy import Basic, Expr, MatrixSymbol, Symbol
from sympy.core.symbol import Str


class ScalarQuantity(Symbol):  # type: ignore[misc]
    """A scalar symbol with a role and a place; see `quantity`."""

    __slots__ = ("place", "role")

    def __new__(cls, name: str, role: str, place: tuple[tuple[str, Any], ...] = (), **assumptions: bool) -> Any:
        made = Symbol.__xnew__(cls, name, **assumptions)
        made.role, made.place = role, place
        return made

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, bool]]:
        return (self.name, self.role, self.place), self._assumptions_orig

    def _hashable_content(self) -> tuple[Any, ...]:
        return (*Symbol._hashable_content(self), self.role, self.place)


class MatrixQuantity(MatrixSymbol):  # type: ignore[misc]
    """A matrix symbol with a role and a place; see `quantity`."""

    def __new__(cls, name: Any, rows: Any, columns: Any, role: Any, place: Any = ()) -> Any:
        texts = [part if isinstance(part, Str) else Str(part) for part in (name, role)]
        sizes = [sympy.sympify(size, strict=True) for size in (rows, columns)]
        if not isinstance(place, sympy.Tuple):
            place = sympy.Tuple(*(sympy.Tuple(Str(key), Str(str(value))) for key, value in place))
        return Basic.__new__(cls, texts[0], *sizes, texts[1], place)

    @property
    def role(self) -> str:
        """What the matrix is."""
        return str(self.args[3].name)

    @property
    def place(self) -> tuple[tuple[str, str], ...]:
        """Where it stands: pairs of a key and a text."""
        return tuple((key.name, value.name) for key, value in self.args[4].args)


def quantity(
    role: str, name: str, *shape: Expr | int, where: Mapping[str, Any] | None = None, **assumptions: bool
) -> Any:
    r"""A typed symbol: a scalar (real unless said otherwise), or with a shape a matrix.

    Parameters
    ----------
    role
        What it stands for, a noun of the field: "connection", "weights", "pair weight".
    name
        How it prints, in LaTeX.
    shape
        Rows and columns of a matrix, nothing for a scalar.
    where
        Where it stands: tower, layer, point, neuron.

    Examples
    --------
    >>> rate = quantity("rate", r"\dot{w}", where={"neuron": "j"})
    >>> rate.role, rate.place, rate == Symbol(r"\dot{w}", real=True)
    ('rate', (('neuron', 'j'),), False)
    """
    place = tuple(sorted((where or {}).items()))
    if shape:
        rows, columns = shape
        return MatrixQuantity(name, rows, columns, role, place)
    return ScalarQuantity(
        name, role, tuple((key, str(value)) for key, value in place), **(assumptions or {"real": True})
    )


_SLACK = "slack"
_COVARIANCES = {"hidden covariance", "covariance operator"}


def is_own_covariance(symbol: Basic) -> bool:
    """Whether a matrix is the covariance of one vector with itself, which is positive semidefinite."""
    if not isinstance(symbol, MatrixQuantity):
        return False
    where = dict(symbol.place)
    own = symbol.role == "gated covariance" and "neuron" in where and where["neuron"] == where.get("other")
    return own or symbol.role in _COVARIANCES


def slack_symbol(name: str) -> Any:
    """What is left over in an inequality, not negative; a derivation puts it in, and a claim about it is not read."""
    return quantity(_SLACK, name, nonnegative=True)


def has_slack(relation: Basic) -> bool:
    """Whether a relation names what only a derivation puts in."""
    return any(symbol.role == _SLACK for symbol in relation.atoms(ScalarQuantity))


Ranges = Mapping[Expr, tuple[Expr | int, Expr | int]]
_RANGES: ContextVar[Ranges] = ContextVar("ranges", default=MappingProxyType({}))


@contextmanager
def within(ranges: Ranges) -> Iterator[None]:
    """Inside the block a witness has values of these symbols strictly between their two ends."""
    token = _RANGES.set(ranges)
    try:
        yield
    finally:
        _RANGES.reset(token)


def range_of(symbol: Expr) -> tuple[Expr | int, Expr | int] | None:
    """The ends between which the value of a symbol lies, where there are any."""
    return _RANGES.get().get(symbol)
