"""Symbolic claims of a user's statement: relations and derivations that must be proved."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from functools import partial
from typing import TYPE_CHECKING, Any

from hltm.base.errors import InputError
from verify.engine import kernel, runner
from verify.engine.evidence import Evidence
from verify.engine.statement import Context

if TYPE_CHECKING:
    from theory import Decision, Derivation


def symbolic_evidence(slug: str, claims: Callable[[], Any], context: Context) -> Evidence:
    """Symbolic evidence of a user's claims: relations and derivations that must be proved."""
    try:
        with redirect_stdout(sys.stderr):
            result = claims()
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise InputError(f"statement {slug!r}, symbolic: {type(error).__name__}: {error}") from error
    if not isinstance(result, Mapping):
        rows = result if isinstance(result, list | tuple) else [result]
        result = {f"claim {number}": claim for number, claim in enumerate(rows, start=1)}
    if not result:
        return Evidence("symbolic", "abstained", "proof", detail="nothing was claimed")
    derivations = ((str(name), as_derivation(slug, str(name), claim)) for name, claim in result.items())
    return runner.symbolic_evidence(derivations, len(result), "claim")


def kernel_evidence(slug: str, claims: Callable[[], Any], context: Context) -> Evidence:
    """What a proof assistant says of the identities that a user's claims come down to."""
    return kernel.compiled(slug, lambda: symbolic_evidence(slug, claims, context))


def as_derivation(slug: str, name: str, claim: Any) -> Derivation:
    """A claim as a derivation: a relation is one of a single step."""
    import sympy

    import theory
    from theory.core.claim import reading

    if isinstance(claim, theory.Derivation):
        return claim
    place = f"statement {slug!r}, symbolic, {name}"
    decision = decide(claim, place)
    expression = sympy.sympify(claim, strict=True)
    justification = "as stated, both sides compared"
    if expression in (sympy.true, sympy.false):
        justification = "a relation that SymPy evaluated when it was made (evaluate=False keeps both sides)"
    residual = sympy.Integer(0) if decision.value is True else _residual(expression)
    step = theory.Step(expression, justification, decision)
    read = reading(partial(decide, place=place))
    return theory.Derivation(slug, theory.Claim(name, (expression,)), (step,), residual, read)


def _residual(expression: Any) -> Any:
    """Left side minus right side of an equation; None for a relation of another kind."""
    import sympy

    if not isinstance(expression, sympy.Equality):
        return None
    try:
        return expression.lhs - expression.rhs
    except (TypeError, sympy.matrices.exceptions.ShapeError):
        return None


def decide(claim: Any, place: str) -> Decision:
    """Decide a relation, or take SymPy's decision if it has already evaluated it."""
    import sympy
    from sympy.core.relational import Relational

    import theory

    if isinstance(claim, bool) or claim in (sympy.true, sympy.false):
        return theory.Decision(bool(claim), "SymPy's evaluation of the equation")
    if isinstance(claim, sympy.Equality):
        return theory.decide_equal(claim.lhs, claim.rhs)
    if isinstance(claim, Relational | theory.PositiveSemidefinite):
        return theory.decide_order(claim)
    allowed = "an equation (sympy.Eq), an inequality (sympy.Ge, Gt, Le, Lt, Ne), a theory.PositiveSemidefinite"
    raise InputError(f"{place}: {claim!r:.60}: must be {allowed} or a theory.Derivation")
