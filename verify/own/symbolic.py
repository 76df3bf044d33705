"""Symbolic claims of a user's statement: relations and derivations that must be proved.

Claims are cut after the time limit. What they say of the sides is checked by `verify.own.tied`; without ``values=``
nothing ties them to the sides, and their evidence says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError, limited
from verify.engine import kernel, runner
from verify.engine.evidence import Evidence, joined
from verify.engine.statement import Context
from verify.own.guard import called, time_limit

if TYPE_CHECKING:
    from theory import Decision, Derivation

UNTIED = "not tied to the sides: values= is not given"
ALLOWED = (
    "must be an equation (sympy.Eq), an inequality (sympy.Ge, Gt, Le, Lt, Ne), a theory.PositiveSemidefinite, "
    "a theory.OrderClaim, a theory.Claim or a theory.Derivation"
)


@dataclass
class UserClaims:
    """The symbolic claims of a statement; the function that makes them is called once."""

    slug: str
    make: Callable[[], Any]
    tied: Callable[[], str] = lambda: UNTIED
    cut: str = ""
    """What was cut, if anything: it is not tried again."""
    _made: dict[str, Any] | None = field(default=None, repr=False)

    def named(self) -> dict[str, Any]:
        """The claims by name; InputError where the function that makes them fails."""
        if self._made is not None:
            return self._made
        result = called(lambda: f"statement {self.slug!r}, symbolic", self.make)
        if not isinstance(result, Mapping):
            rows = result if isinstance(result, list | tuple) else [result]
            result = {f"claim {number}": claim for number, claim in enumerate(rows, start=1)}
        self._made = {str(name): claim for name, claim in result.items()}
        return self._made

    def relations(self) -> dict[str, tuple[Any, ...]]:
        """The relations of every claim."""
        return {name: relations_of(claim) for name, claim in self.named().items()}

    def evidence(self, context: Context) -> Evidence:  # noqa: ARG002 (a check gets one)
        """Evidence of the claims, cut when the time is over."""
        if self.cut:
            return Evidence("symbolic", "abstained", "proof", detail=self.cut)
        place, seconds = "the claims were not made", time_limit()
        try:
            named = self.named()
            if not named:
                return Evidence("symbolic", "abstained", "proof", detail="nothing was claimed")

            def derived() -> Iterator[tuple[str, Derivation]]:
                nonlocal place
                for name, claim in named.items():
                    place = f"{name}: not decided"
                    yield name, as_derivation(self.slug, name, claim)

            with limited(seconds):
                found = runner.symbolic_evidence(derived(), len(named), "claim")
        except OutOfTimeError:
            self.cut = f"{place} within {seconds:g} seconds"
            return Evidence("symbolic", "abstained", "proof", detail=self.cut)
        return replace(found, detail=joined(found.detail, self.tied()))


def kernel_evidence(claims: UserClaims, context: Context) -> Evidence:
    """What a proof assistant says of the identities that a user's claims come down to."""
    if claims.cut:
        return Evidence("kernel", "not-run", "identities", detail=claims.cut)
    return kernel.compiled(claims.slug, lambda: claims.evidence(context))


def relations_of(claim: Any) -> tuple[Any, ...]:
    """The relations of a claim or derivation; a relation is its own."""
    import sympy

    import theory

    if isinstance(claim, theory.Derivation):
        claim = claim.claim
    if isinstance(claim, sympy.And):
        return tuple(sorted(claim.args, key=sympy.default_sort_key))
    return tuple(claim.relations) if isinstance(claim, theory.Claim) else (claim,)


def as_derivation(slug: str, name: str, claim: Any) -> Derivation:
    """A claim as a derivation: one whose only steps are its relations."""
    import sympy

    import theory
    from theory.core.claim import reading

    if isinstance(claim, theory.Derivation):
        return claim
    place = f"statement {slug!r}, symbolic, {name}"
    read = reading(partial(decide, place=place))
    relations = relations_of(claim)
    if isinstance(claim, sympy.And):
        claim = theory.Claim(name, relations)
    if not relations:
        raise InputError(f"{place}: a theory.Claim without a relation claims nothing")
    steps = []
    for relation in relations:
        decision = decide(relation, place)
        expression = sympy.sympify(relation, strict=True)
        justification = "as stated, both sides compared"
        if expression in (sympy.true, sympy.false):
            justification = "a relation that SymPy evaluated when it was made (evaluate=False keeps both sides)"
        steps.append(theory.Step(expression, justification, decision))
    if isinstance(claim, theory.Claim):
        return theory.Derivation(slug, claim, tuple(steps), None, read)
    (step,) = steps
    residual = sympy.Integer(0) if step.proved else _residual(step.expression)
    return theory.Derivation(slug, theory.Claim(name, (step.expression,)), (step,), residual, read)


def _residual(expression: Any) -> Any:
    """Left side minus right side of an equation; None for a relation of another kind."""
    import sympy

    if not isinstance(expression, sympy.Equality):
        return None
    try:
        return expression.lhs - expression.rhs
    except (AttributeError, TypeError, ValueError, sympy.matrices.exceptions.ShapeError):
        return None


def decide(claim: Any, place: str) -> Decision:
    """Decide a relation, or take SymPy's decision if it has already evaluated it."""
    import sympy
    from sympy.core.relational import Relational

    import theory

    if isinstance(claim, bool) or claim in (sympy.true, sympy.false):
        return theory.Decision(bool(claim), "SymPy's evaluation of the equation")
    if not isinstance(claim, Relational | theory.PositiveSemidefinite | theory.OrderClaim):
        raise InputError(f"{place}: {shown(claim)}: {ALLOWED}")
    for side in getattr(claim, "args", ()) if isinstance(claim, Relational) else ():
        if not isinstance(side, sympy.Expr | sympy.MatrixBase | sympy.Tuple):
            rule = "both sides must be scalars or matrices"
            raise InputError(f"{place}: {shown(claim)}: {rule}, {shown(side)} is neither")
    try:
        return theory.decide_relation(claim)
    except InputError as error:
        raise InputError(f"{place}: {error}") from error
    except (Exception, RecursionError) as error:  # SymPy fails where nobody expects it
        return theory.Decision(None, "abstained", f"{type(error).__name__}: {error!s:.60}")


def shown(value: Any) -> str:
    """A value in few letters, on one line."""
    return " ".join(f"{value!r:.60}".split())
