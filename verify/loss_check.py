"""What `python -m verify loss` finds out about a loss: membership in the family, its pair weight, statement 4.

`theory` decides membership and derives the pair weight and statement 4; `loss_numeric` holds the pair weight against
automatic differentiation of the loss itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hltm.errors import InputError
from verify.budget import OutOfTimeError, limited
from verify.evidence import Evidence, Verdict, verdict

if TYPE_CHECKING:
    import sympy

    from theory import Derivation
    from theory.conditions import Condition

SECONDS = 60.0


@dataclass(frozen=True)
class LossReport:
    """A loss of the user's: what was decided, derived and measured.

    Attributes
    ----------
    text : str
        As it was given.
    expression : sympy.Expr
        As it was read.
    conditions : tuple of Condition
        Those of the family, each with its decision.
    member : bool or None
        In the family, outside of it, or undecided.
    weights : tuple of sympy.Expr
        ``xi(r)`` for one negative, ``xi_1 .. xi_H`` else; empty outside of the family.
    derivation : Derivation or None
        Statement 4 for this loss.
    evidence : tuple of Evidence
        For statement 4: symbolic and float.
    note : str
        Why something is open.
    """

    text: str
    expression: sympy.Expr
    conditions: tuple[Condition, ...] = ()
    member: bool | None = None
    weights: tuple[sympy.Expr, ...] = ()
    derivation: Derivation | None = None
    evidence: tuple[Evidence, ...] = ()
    note: str = ""

    @property
    def verdict(self) -> Verdict:
        """Refuted outside of the family or where statement 4 fails; abstained where anything is open."""
        if self.member is False:
            return "refuted"
        return "abstained" if self.member is None else verdict(self.evidence)

    @property
    def counterexample(self) -> tuple[str, str] | None:
        """Two lines that show why the loss is outside of the family, or None."""
        return next((c.counterexample for c in self.conditions if c.decision.value is False), None)


def check_loss(text: str, seconds: float = SECONDS) -> LossReport:
    """Decide on a loss that is given as text.

    Parameters
    ----------
    text : str
        An expression in ``r_p``, ``r_1`` .. ``r_64``, ``tau``, ``r_0`` (`theory.parse`), or a canonical name.
    seconds : float
        After which what is not decided stays open.

    Raises
    ------
    InputError
        The text is no loss.

    Source
    ------
    Statements 2 and 4; arXiv 2010.00578, Theorems 2 and 4.

    Examples
    --------
    >>> check_loss("r_p + r_1").counterexample
    ('at every point:', 'dL/dr_1 = 1, but the family needs dL/dr_1 < 0')
    """
    from theory.losses import CANONICAL, loss_of

    loss = loss_of(text, 1 if text in CANONICAL else None)
    if loss.negatives is None:
        raise InputError(f"loss {text!r}: must have an explicit number of negatives")
    found: dict[str, Any] = {"text": text, "expression": loss.expression}
    try:
        with limited(seconds):
            _decide(loss.expression, len(loss.negatives), found)
    except OutOfTimeError:
        found["note"] = f"not decided within {seconds:g} s"
        found["evidence"] = (*found.get("evidence", ()), Evidence("float", "abstained", "loss", detail=found["note"]))
    return LossReport(**found)


def _decide(expression: sympy.Expr, count: int, found: dict[str, Any]) -> None:
    """Membership, pair weights and statement 4, written down as they are found."""
    import theory
    from theory.conditions import family_conditions, membership_decision
    from theory.notation import negative, pair_distance

    found["conditions"] = family_conditions(expression, count)
    found["member"] = membership_decision(found["conditions"]).value
    if not found["member"]:
        return
    from verify import loss_numeric

    try:
        weights = (theory.pair_weight(expression),) if count == 1 else theory.pair_weights(expression, count)
    except InputError as error:
        found["note"] = str(error)
        found["evidence"] = (Evidence("symbolic", "abstained", "proof", detail=str(error)),)
        return
    found["weights"] = weights
    measured = loss_numeric.evidence(expression, [xi.xreplace({pair_distance: negative(1)}) for xi in weights])
    found["evidence"] = (measured,)
    derivation = theory.derive("weighted-covariance-operator", loss=expression, negatives=count)
    found["derivation"] = derivation
    status = {True: "holds", False: "refuted", None: "abstained"}[
        True if derivation.proved else False if derivation.decision.value is False else None
    ]
    detail = f"{len(derivation.steps)} steps; {derivation.decision.detail}"
    found["evidence"] = (Evidence("symbolic", status, "proof", 1, detail=detail), measured)  # type: ignore[arg-type]
