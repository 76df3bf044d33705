"""Symbolic evidence of a user's statement: equations and derivations that SymPy must prove."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

from hltm.base.errors import InputError
from verify.engine.evidence import Evidence, counted

if TYPE_CHECKING:
    from theory import Decision, Derivation
    from verify.engine.statement import Context


def symbolic_evidence(slug: str, claims: Callable[[], Any], context: Context) -> Evidence:
    """Every claim must be proved; one that is decided false refutes, one that is not decided abstains.

    Parameters
    ----------
    claims : callable
        Gives an equation of SymPy, a `theory.Derivation`, or a list or mapping of them.
    """
    try:
        with redirect_stdout(sys.stderr):
            made = claims()
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise InputError(f"statement {slug!r}, symbolic: {type(error).__name__}: {error}") from error
    named = made if isinstance(made, Mapping) else {f"claim {k}": c for k, c in enumerate(_listed(made), start=1)}
    if not named:
        return Evidence("symbolic", "abstained", "proof", detail="nothing was claimed")
    methods: list[str] = []
    derivations: list[Derivation] = []
    for name, claim in named.items():
        decision = decided(claim, f"statement {slug!r}, symbolic, {name}")
        derivations.append(as_derivation(slug, str(name), claim, decision))
        if decision.value is not True:
            return Evidence(
                "symbolic", "refuted" if decision.value is False else "abstained", "proof", len(named),
                detail=f"{name}: {decision.method}: {decision.detail}", derivations=tuple(derivations),
            )  # fmt: skip
        methods += [step.decision.method for step in derivations[-1].steps] + [decision.method]
    return Evidence(
        "symbolic", "holds", "proof", len(named), worst_residual=0.0, tolerance=0.0,
        detail=f"{counted(len(named), 'claim')} proved by {', '.join(dict.fromkeys(methods))}",
        derivations=tuple(derivations),
    )  # fmt: skip


def as_derivation(slug: str, name: str, claim: Any, decision: Decision) -> Derivation:
    """A claim as the report shows it: a derivation as it is, an equation as one of a single step.

    Parameters
    ----------
    slug, name : str
        The statement, and what the user calls the claim.
    claim : sympy.Equality, sympy's true or false, or theory.Derivation
        An equation that SymPy evaluated when it was made is shown as the truth value that is left of it.
    decision : theory.Decision
        What decided the claim.
    """
    import sympy

    import theory

    if isinstance(claim, theory.Derivation):
        return claim
    expression = sympy.sympify(claim, strict=True)
    residual = sympy.Integer(0) if decision.value is True else expression
    if isinstance(expression, sympy.Equality):
        residual = residual if decision.value is True else expression.lhs - expression.rhs
    justification = "as stated, left side minus right side is 0"
    if not isinstance(expression, sympy.Equality):
        justification = "an equation that SymPy evaluated when it was made (evaluate=False keeps both sides)"
    step = theory.Step(expression, justification, decision)
    return theory.Derivation(slug, theory.Statement(name, expression), (), (step,), residual, decision)


def _listed(made: Any) -> list[Any]:
    return list(made) if isinstance(made, list | tuple) else [made]


def decided(claim: Any, place: str) -> Decision:
    """What decides a claim."""
    import sympy

    import theory

    if isinstance(claim, theory.Derivation):
        undecided = [step.decision for step in claim.steps if not step.proved]
        false = [decision for decision in [claim.decision, *undecided] if decision.value is False]
        return (false or [d for d in [claim.decision] if d.value is None] or undecided or [claim.decision])[0]
    if isinstance(claim, bool) or claim in (sympy.true, sympy.false):
        return theory.Decision(bool(claim), "SymPy's evaluation of the equation")
    if isinstance(claim, sympy.Equality):
        return theory.decide_zero(claim.lhs - claim.rhs)
    raise InputError(f"{place}: {claim!r:.60}: must be an equation (sympy.Eq) or a theory.Derivation")
