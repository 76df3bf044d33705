"""Validation of what a user gives to `user_statement`, and guards around what is called later."""

from __future__ import annotations

import inspect
import json
import math
import types
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from hltm.base.checks import show
from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError
from verify.engine.coverage import Coverage
from verify.engine.disagreement import Disagreement
from verify.engine.evidence import KINDS, Evidence, Status
from verify.engine.statement import Assumption, Check, Context, PaperRelation, Statement, Variant
from verify.own.broken import checked_name
from verify.own.guard import called

TITLE = 500
CLAIM = 20_000
# Characters that change how a terminal or a browser shows what follows them.
REORDERING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def checked_text(value: Any, place: str, longest: int = TITLE, *, lines: bool = False, empty: bool = True) -> str:
    """A text without control characters; a title is one line, and says something."""
    if type(value) is not str:
        raise InputError(f"{place}={show(value)}: must be a text")
    if len(value) > longest:
        raise InputError(f"{place}={show(value)}: must have at most {longest} characters, has {len(value)}")
    if not empty and not value.strip():
        raise InputError(f"{place}={show(value)}: must not be empty")
    for character in value:
        control = unicodedata.category(character) in ("Cc", "Cs") or character in REORDERING
        if control and not (lines and character in "\n\t\r"):
            raise InputError(f"{place}={show(value)}: must be {'text' if lines else 'one line'} without {character!r}")
    return value


def checked_texts(values: Any, place: str) -> tuple[str, ...]:
    """Several texts; one text alone is not taken for its characters."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Sequence | set | frozenset):
        raise InputError(f"{place}={show(values)}: must be a list of texts")
    return tuple(dict.fromkeys(checked_text(value, place, CLAIM, lines=True) for value in values))


def checked_side(side: Any, place: str) -> None:
    """Refuse a side that is no function of two arguments that returns at once."""
    if not callable(side):
        raise InputError(f"{place}={show(side)}: must be a function of (instance, at)")
    if inspect.iscoroutinefunction(side) or inspect.isgeneratorfunction(side) or inspect.isasyncgenfunction(side):
        raise InputError(f"{place}={show(side)}: must return arrays, and is a generator or coroutine")
    try:
        inspect.signature(side).bind(None, None)
    except TypeError as error:
        raise InputError(f"{place}={show(side)}: must be a function of (instance, at): {error}") from None
    except ValueError:  # of a builtin, which has no signature
        return


def checked_sides(theory: Any, numeric: Any, exact: Any, name: str) -> None:
    """Refuse sides that are no functions, and one function used as both sides."""
    for role, side in (("theory", theory), ("numeric", numeric), ("exact", exact)):
        if role != "exact" or side is not None:
            checked_side(side, f"{role} of statement {name!r}")
        if role != "theory" and same_function(theory, side):
            raise InputError(f"{role} of statement {name!r}: is the theory side itself, must be code of its own")


def same_function(one: Any, other: Any) -> bool:
    """Whether two functions are one: the same object, method of an object, or code with the same values."""
    if one is other:
        return True
    if isinstance(one, types.MethodType) and isinstance(other, types.MethodType):
        return one.__func__ is other.__func__ and one.__self__ is other.__self__
    if isinstance(one, partial) and isinstance(other, partial):
        parts = [(f.func, *f.args, *f.keywords.values()) for f in (one, other)]
        return len(parts[0]) == len(parts[1]) and all(a is b for a, b in zip(*parts, strict=True))
    if isinstance(one, types.FunctionType) and isinstance(other, types.FunctionType):
        values = [[*(f.__closure__ or ()), *(f.__defaults__ or ())] for f in (one, other)]
        return one.__code__ is other.__code__ and not values[0] and not values[1]
    return False


def checked_tolerance(tolerance: Any, standard_error: Any, name: str) -> None:
    """Refuse a tolerance that is neither a number, nor a function, nor None, and one beside standard errors."""
    if standard_error is not None:
        checked_side(standard_error, f"standard_error of statement {name!r}")
        if tolerance is not None:
            raise InputError(f"tolerance of statement {name!r}: must be left out with standard_error")
    if tolerance is None or callable(tolerance):
        return
    number = isinstance(tolerance, int | float) and not isinstance(tolerance, bool)
    if not number or not 0 <= tolerance < math.inf:
        raise InputError(f"statement {name!r}: tolerance={show(tolerance)}: must be a number that is not negative")


def checked_claims(symbolic: Any, name: str) -> None:
    """Refuse symbolic claims that no function returns."""
    if symbolic is not None and not callable(symbolic):
        raise InputError(f"symbolic={show(symbolic)} of statement {name!r}: must be a function that returns the claims")


def checked_variants(variants: Sequence[Variant], theory: Any, name: str) -> None:
    """Refuse a mutant that is the theory side itself, or no function."""
    for variant in variants:
        if not callable(variant.claim):
            raise InputError(f"variant {variant.name!r} of statement {name!r}: {show(variant.claim)} is no function")
        if same_function(variant.claim, theory):
            raise InputError(
                f"variant {variant.name!r} of statement {name!r}: is the theory side itself, must be a false one"
            )
        checked_text(variant.change, f"change of variant {variant.name!r} of statement {name!r}", CLAIM, lines=True)


def guarded_checks(checks: Any, name: str) -> tuple[Check, ...]:
    """The checks of a user's own, each called under guard."""
    if isinstance(checks, str | bytes | Mapping) or not isinstance(checks, Sequence):
        raise InputError(f"checks={show(checks)} of statement {name!r}: must be a list of verify.Check")
    for check in checks:
        if not isinstance(check, Check):
            raise InputError(f"check={show(check)} of statement {name!r}: must be a verify.Check")
        checked_kind(check, name)
    return tuple(replace(check, run=partial(run_check, check, name)) for check in checks)


def checked_kind(check: Check, name: str) -> None:
    """Refuse a check of an unknown kind, or one that cannot be run."""
    if check.kind not in KINDS:
        allowed = ", ".join(KINDS)
        raise InputError(f"kind={show(check.kind)} of a check of statement {name!r}: must be one of {allowed}")
    checked_text(check.source, f"source of the {check.kind} check of statement {name!r}")
    if not callable(check.run):
        raise InputError(f"run={show(check.run)} of the {check.kind} check of statement {name!r}: must be a function")


def run_check(check: Check, name: str, context: Context) -> Evidence:
    """Run a check of a user's own; what it gives must be evidence of its kind."""
    place = f"statement {name!r}, {check.kind} check ({check.source})"
    try:
        result = called(lambda: place, check.run, context)
    except OutOfTimeError as error:
        return Evidence(check.kind, "abstained", check.source, detail=str(error))
    return checked_evidence(result, check, place)


def checked_evidence(result: Any, check: Check, place: str) -> Evidence:
    """Refuse what is no evidence of that kind, or holds without an instance."""
    if type(result) is not Evidence:
        raise InputError(f"{place}: gives {show(result)}, must give a verify.Evidence")
    if result.kind != check.kind:
        raise InputError(f"{place}: gives evidence of kind {show(result.kind)}, must be of kind {check.kind!r}")
    if result.status not in get_args(Status):
        raise InputError(f"{place}: status={show(result.status)}: must be one of {', '.join(get_args(Status))}")
    for key in ("instances", "abstained"):
        count = getattr(result, key)
        if isinstance(count, bool) or not isinstance(count, int) or count < 0:
            raise InputError(f"{place}: {key}={show(count)}: must be a number of instances")
    if result.status == "holds" and not result.instances:
        raise InputError(f"{place}: holds with 0 instances; evidence that compared nothing must abstain")
    residual = real(result.worst_residual, f"{place}: worst_residual")
    tolerance = real(result.tolerance, f"{place}: tolerance")
    for key in ("source", "detail", "effect", *(["variant"] if result.variant is not None else [])):
        checked_text(getattr(result, key), f"{place}: {key}", CLAIM, lines=True)
    for key, kind in (("spans", Coverage), ("apart", Disagreement)):
        value = getattr(result, key)
        if value is not None and type(value) is not kind:
            raise InputError(f"{place}: {key}={show(value)}: must be None or a {kind.__name__}")
    for key in ("derivations", "outcomes", "refutations"):
        if getattr(result, key) != ():
            raise InputError(f"{place}: {key}={show(getattr(result, key))}: must be left out")
    if result.counterexample is not None:
        called(lambda: f"{place}: counterexample", checked_instance, result.counterexample)
    return replace(result, worst_residual=residual, tolerance=tolerance)


def checked_instance(instance: Any) -> None:
    """Refuse what is no instance that can be saved."""
    if not hasattr(type(instance), "as_json"):
        raise InputError(f"is of type {type(instance).__name__}: must be an instance with as_json, or left out")
    json.dumps(instance.as_json(), allow_nan=False)


def real(value: Any, place: str) -> float | None:
    """A number as a float; NumPy's and torch's single numbers are taken too."""
    if value is None:
        return None
    try:
        return float(value)
    except Exception:
        raise InputError(f"{place}={show(value)}: must be a number or None") from None


def checked_statement(statement: Statement) -> None:
    """Refuse a statement whose fields were filled or replaced without `user_statement`."""
    name = statement.slug
    checked_name(name, "slug")
    checked_text(statement.title, f"title of statement {name!r}", empty=False)
    if not callable(statement.stated):
        checked_text(statement.stated, f"claim of statement {name!r}", CLAIM, lines=True)
    checked_text(statement.source, f"source of statement {name!r}", CLAIM, lines=True)
    for key in ("assumptions", "not_covered"):
        checked_texts(getattr(statement, key), f"{key} of statement {name!r}")
    for key, kind in (("checks", Check), ("variants", Variant), ("drops", Assumption)):
        values = getattr(statement, key)
        if not isinstance(values, tuple) or not all(isinstance(value, kind) for value in values):
            raise InputError(f"{key} of statement {name!r}: must be a tuple of verify.{kind.__name__}")
    for check in statement.checks:
        checked_kind(check, name)
    for variant in statement.variants:
        checked_name(variant.name, f"name of a variant of statement {name!r}")
    known = statement.relation_to_paper
    if known is not None and type(known) is not PaperRelation:
        raise InputError(f"relation_to_paper={show(known)} of statement {name!r}: must be a verify.PaperRelation")
    if statement.theorem is not None and type(statement.theorem) is not int:
        raise InputError(f"theorem={show(statement.theorem)} of statement {name!r}: must be a number or None")
    if not isinstance(statement.stages, tuple) or not all(map(callable, statement.stages)):
        raise InputError(f"stages of statement {name!r}: must be a tuple of functions that make strategies")
    if not isinstance(statement.measures, Mapping) or not all(map(callable, statement.measures.values())):
        raise InputError(f"measures of statement {name!r}: must be a mapping of functions")


def guarded_strategy(strategy: Any, name: str, kind: type | None) -> Any:
    """A strategy whose code runs under guard; `kind` is the type that its instances must have."""
    from hypothesis import strategies as st
    from hypothesis.errors import HypothesisException, StopTest

    place = f"statement {name!r}, strategy"

    @st.composite
    def guarded(draw: Any) -> Any:
        def drawn() -> Any:
            try:
                return "instance", draw(strategy)
            except (HypothesisException, StopTest) as error:  # how Hypothesis ends a draw
                return "ended", error

        outcome, value = called(lambda: place, drawn)
        if outcome == "ended":
            raise value
        if kind is not None and not isinstance(value, kind):
            raise InputError(f"{place}: gives an instance of {type(value).__name__}, must be of {kind.__name__}")
        return value

    return guarded()
