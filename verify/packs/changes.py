"""Changes of expressions that make mutants: functions of a side, or a relation, and of the symbols of a pack."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from verify.engine.rewrites import Rewrite, relation, right

Change = Callable[[Any, Any], Any]


def side(module: str, change: Change, number: int = 1) -> Rewrite:
    """Change the right side of a relation by a function of it and of the module that has the symbols."""
    return right(lambda one: change(one, import_module(module)), number)


def replaced(module: str, change: Callable[[Any], Any], number: int = 1) -> Rewrite:
    """Put another right side, a function of the module that has the symbols."""
    return right(lambda _: change(import_module(module)), number)


def exchanged(module: str, change: Callable[[Any], Any], number: int = 1) -> Rewrite:
    """Put expressions for symbols on both sides of a relation, from a mapping that the module's symbols give."""
    return relation(lambda one: both(one, change(import_module(module))), number)


def both(one: Any, put: Any) -> Any:
    """A relation with expressions put on both sides, not evaluated."""
    return one.func(*(part.xreplace(put) for part in one.args), evaluate=False)


def whole(module: str, change: Callable[[Any], Any], number: int = 1) -> Rewrite:
    """Another relation in place of one."""
    return relation(lambda _: change(import_module(module)), number)
