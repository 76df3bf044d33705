"""What `python -m verify loss` finds out about a loss: membership in the family, its pair weight, statement 4.

`theory` decides membership and derives the pair weight and statement 4; `loss_numeric` holds the pair weight against
automatic differentiation of the loss itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError, limited
from hltm.base.progress import SILENT, Progress
from verify.engine.evidence import COLUMNS, Evidence, Verdict, _cell, evidence_row, table, verdict
from verify.engine.statement import Context
from verify.report.documents import header

if TYPE_CHECKING:
    import sympy

    from theory import Derivation
    from theory.losses.family import Condition
    from theory.losses.loss import Loss


SECONDS = 60.0
KINK = "the order of theta is shown for losses with two continuous derivatives, and a maximum has a kink"


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
        ``xi(r)`` for one negative, ``xi_1 .. xi_H`` else, or the one ``xi_j`` of every j where H is symbolic; empty
        outside of the family.
    derivation : Derivation or None
        Statement 4 for this loss.
    evidence : tuple of Evidence
        For statement 4: symbolic and float.
    note : str
        Why something is open.
    remarks : tuple of str
        What else was found about the loss.
    """

    text: str
    expression: sympy.Expr
    conditions: tuple[Condition, ...] = ()
    member: bool | None = None
    weights: tuple[sympy.Expr, ...] = ()
    derivation: Derivation | None = None
    evidence: tuple[Evidence, ...] = ()
    note: str = ""
    remarks: tuple[str, ...] = ()

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

    def _repr_html_(self) -> str:
        """What was decided, for a notebook."""
        pass  # HOUSE

        return loss_html(self)


def check_loss(text: str, seconds: float = SECONDS, progress: Progress = SILENT) -> LossReport:
    """Decide on a loss that is given as text."""
    from theory.losses.grammar import check_syntax

    if not text.isidentifier():  # a name that is nearly that of a known loss gets a hint
        check_syntax(text)
    from theory.losses.loss import CANONICAL, loss_of

    loss = loss_of(text, 1 if text in CANONICAL else None)
    if loss.negatives is None:
        raise InputError(f"loss {text!r}: must have an explicit number of negatives")
    result: dict[str, Any] = {"text": text, "expression": loss.expression}
    try:
        with limited(seconds):
            _decide(loss, result, progress)
    except OutOfTimeError:
        result["note"] = f"not decided within {seconds:g} s"
        result["evidence"] = (
            *result.get("evidence", ()),
            Evidence("float", "abstained", "loss", detail=result["note"]),
        )
    except (MemoryError, RecursionError) as error:
        result["note"] = f"not decided: the loss is too large ({type(error).__name__})"
        result["evidence"] = (Evidence("symbolic", "abstained", "proof", detail=result["note"]),)
    return LossReport(**result)


def _decide(loss: Loss, found: dict[str, Any], progress: Progress) -> None:
    """Membership, pair weights and statement 4, written down as they are found."""
    from theory.losses.family import family_conditions, membership_decision, membership_of
    from theory.losses.loss import indexed_form
    from theory.losses.signs import continued

    progress.start(4)
    progress.step("the family")
    found["conditions"] = family_conditions(loss.expression, len(loss.negatives or ()))
    found["member"] = membership_decision(found["conditions"]).value
    found["remarks"] = _remarks(loss, found["conditions"][-1])
    if not found["member"]:
        return
    # A gap in the domain that can be removed is removed: the literal text is 0/0 there.
    loss = replace(loss, expression=continued(loss.expression)[0])
    written = indexed_form(loss)
    if written is not None and not membership_of(written).proved:
        written = None
    progress.step("pair weights")
    try:
        found["weights"], explicit = _weights(loss, written)
    except InputError as error:
        found["note"] = str(error)
        found["evidence"] = (Evidence("symbolic", "abstained", "proof", detail=str(error)),)
        return
    _statement_4(loss, written, explicit, found, progress)


def _remarks(loss: Loss, real: Condition) -> tuple[str, ...]:
    """What a reader should know: where the loss is defined, and whether its negatives are alike."""
    from theory.losses.family import symmetric
    from theory.losses.loss import FEW

    remarks = []
    if not real.decision:
        remarks.append(f"{real.text}: {real.decision.detail}")
    if 1 < len(loss.negatives or ()) <= FEW and symmetric(loss).value is False:
        remarks.append(
            "the loss is not symmetric in its negatives: each has its own xi_k; statement 4 does not need it"
        )
    return tuple(remarks)


def _weights(loss: Loss, written: Loss | None) -> tuple[tuple[sympy.Expr, ...], list[sympy.Expr]]:
    """The pair weights as they are shown, and one for every negative in ``r_1 .. r_H``."""
    import theory
    from theory.core.normal import linear_sums
    from theory.core.notation import negative, pair_distance
    from theory.losses.family import weight_at
    from theory.losses.loss import FREE_NEGATIVE, at_number, derivative

    negatives = loss.negatives or ()
    if len(negatives) == 1:
        shown = (theory.pair_weight(loss.expression),)
        return shown, [shown[0].xreplace({pair_distance: negative(1)})]
    if written is None:
        shown = theory.pair_weights(loss.expression, len(negatives))
        return shown, list(shown)
    free = linear_sums(weight_at(written, -derivative(written.expression, FREE_NEGATIVE)))
    return (free,), [at_number(free, negatives, FREE_NEGATIVE, k) for k in range(1, len(negatives) + 1)]


def _statement_4(
    loss: Loss, written: Loss | None, weights: list[sympy.Expr], found: dict[str, Any], progress: Progress
) -> None:
    """Statement 4 with the pair weights of this loss, measured and derived.

    Nothing in it needs a symmetry among the negatives: the gradient is a sum over them, each term with its own weight,
    and every term of first order in the spread has one zero-mean deviation.
    """
    import sympy

    import theory
    from verify.loss import measure as loss_numeric

    progress.step("statement 4 in floating point")
    measured = loss_numeric.evidence(loss.expression, weights)
    found["evidence"] = (measured,)
    progress.step("statement 4 in symbols")
    general, count = (loss, len(weights)) if written is None else (written, None)
    derivation = theory.derive("weighted-covariance-operator", loss=general.expression, negatives=count)
    found["derivation"] = derivation
    status = {True: "holds", False: "refuted", None: "abstained"}[
        True if derivation.proved else False if derivation.decision.value is False else None
    ]
    detail = f"{len(derivation.steps)} steps; {derivation.decision.detail}"
    if loss.expression.has(sympy.Max) and status == "holds":
        status, detail = "abstained", f"{KINK}; away from it: {detail}"
    found["evidence"] = (Evidence("symbolic", status, "proof", 1, detail=detail), measured)  # type: ignore[arg-type]


def loss_html(report: LossReport) -> str:
    """A loss of the user's: the conditions of the family, its pair weights, and statement 4 for it."""
    words = {True: "holds", False: "fails", None: "undecided"}
    head = f"<p><b>{escape(report.verdict)}</b>: {_cell(report.text)}</p>"
    conditions = [(c.text, words[c.decision.value], c.decision.method) for c in report.conditions]
    parts = [head, table(conditions, ("condition", "status", "decided by"))]
    parts += [f"<pre>{_cell(line)}</pre>" for line in report.counterexample or ()]
    if report.weights:
        parts.append(table([(f"xi_{k}", xi) for k, xi in enumerate(report.weights, start=1)], ("pair weight", "")))
    if report.evidence:
        parts.append(table(map(evidence_row, report.evidence), COLUMNS))
    return "".join(parts) + (f"<p>{_cell(report.note)}</p>" if report.note else "")


# The result of `python -m verify loss` as text with LaTeX, and as a JSON document. Nothing is computed here.

WORDS = {True: "in the family", False: "outside the family", None: "undecided"}
TOO_LARGE = "(too large to be shown)"
STATUS = {True: "holds", False: "fails", None: "undecided"}


def loss_json(context: Context, report: LossReport) -> dict[str, Any]:
    """The document: `loss` beside the header of every run."""
    conditions = [
        {"condition": c.text, "status": STATUS[c.decision.value], "decided_by": c.decision.method,
         "detail": c.decision.detail}
        for c in report.conditions
    ]  # fmt: skip
    derivation = report.derivation
    return {
        **header(context),
        "statements": [],
        "loss": {
            "text": report.text,
            "expression": plain(report.expression),
            "latex": tex(report.expression),
            "verdict": report.verdict,
            "member": report.member,
            "conditions": conditions,
            "counterexample": None if report.counterexample is None else list(report.counterexample),
            "pair_weights": [{"name": name, "text": plain(xi), "latex": tex(xi)} for name, xi in named_weights(report)],
            "statement4": {
                "evidence": [row.as_json() for row in report.evidence],
                "derivation": None if derivation is None else derivation.latex("align"),
            },
            "note": report.note,
            "remarks": list(report.remarks),
        },
    }


def tex(expression: sympy.Expr) -> str:
    """LaTeX of an expression in one line, in the notation of the derivations."""
    from theory.core.notation import SYMBOL_NAMES
    from theory.latex.render import plain_tex

    try:
        return plain_tex(expression, SYMBOL_NAMES)
    except (MemoryError, RecursionError):
        return TOO_LARGE


def plain(expression: sympy.Expr) -> str:
    """An expression as text in one line."""
    import sympy

    try:
        return str(sympy.sstr(expression))
    except (MemoryError, RecursionError):
        return TOO_LARGE


def named_weights(report: LossReport) -> list[tuple[str, sympy.Expr]]:
    """Each pair weight with what it is called: ``xi(r)`` for one negative, ``xi_k`` else (``xi_j``, any j)."""
    if len(report.weights) == 1:
        free = any(condition.quantity.startswith("dL/dr_k") for condition in report.conditions)
        return [("xi_j" if free else "xi(r)", report.weights[0])]
    return [(f"xi_{k}", xi) for k, xi in enumerate(report.weights, start=1)]


def loss_lines(report: LossReport) -> list[str]:
    """What the terminal shows, line by line."""
    lines = [f"L = {plain(report.expression)}"]
    for c in report.conditions:
        why = c.decision.method if c.decision.value is not None else f"{c.decision.method}: {c.decision.detail}"
        lines.append(f"  {c.text}: {STATUS[c.decision.value]} ({why})")
    lines.append(f"statement 2: {WORDS[report.member]}")
    lines += report.counterexample or ()
    lines += report.remarks
    lines += [f"{name} = {plain(xi)}" for name, xi in named_weights(report)]
    for row in report.evidence:
        size = "" if row.worst_residual is None or row.tolerance is None else (
            f", residual {row.worst_residual:.3e}, tolerance {row.tolerance:.3e}")  # fmt: skip
        lines.append(f"statement 4, {row.kind}: {row.status}, {row.instances} instances{size}; {row.detail}")
    if report.note:
        lines.append(report.note)
    return lines + latex_lines(report)


def latex_lines(report: LossReport) -> list[str]:
    """The loss and its pair weights as equations, and what was derived from them; every step is in the document."""
    if not report.weights:
        return []
    lines = [r"\begin{align}", f"L &= {tex(report.expression)}"]
    for name, xi in named_weights(report):
        lines[-1] += r" \\"
        lines.append(f"{name.replace('xi', chr(92) + 'xi')} &= {tex(xi)}")
    lines.append(r"\end{align}")
    return lines if report.derivation is None else [*lines, *report.derivation.latex("equation").splitlines()]
