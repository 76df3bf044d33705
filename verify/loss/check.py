"""Decide on a user's loss: membership in the family, its pair weight, and statement 4 for it.

`theory` decides membership and derives the pair weight and statement 4; `verify.loss.measure` compares the pair weight
with automatic differentiation of the loss itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError, limited
from hltm.base.progress import SILENT, Progress
from verify.engine import html, kernel
from verify.engine.evidence import Evidence, Status, Verdict, evidence_table, verdict
from verify.engine.statement import Context
from verify.report.documents import header

if TYPE_CHECKING:
    import sympy

    from theory import Derivation
    from theory.losses.family import Condition
    from theory.losses.loss import Loss

SECONDS = 60.0
WORDS = {True: "in the family", False: "outside the family", None: "undecided"}
STATUS = {True: "holds", False: "fails", None: "undecided"}
TOO_LARGE = "(too large to be shown)"
KINK = "the order of theta is shown for losses with two continuous derivatives, and a maximum has a kink"


@dataclass(frozen=True)
class LossReport:
    """The decisions, the derivation and the evidence for a user's loss.

    `member` is None where membership is undecided. `weights` are ``xi(r)`` for one negative, ``xi_1 .. xi_H`` for more,
    or the one ``xi_j`` of every j where H is symbolic; outside of the family there are none. `derivation` and
    `evidence` are those of statement 4; `note` gives the reason why something is open.
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
        conditions = [(c.text, STATUS[c.decision.value], c.decision.method) for c in self.conditions]
        parts = [f"<p><b>{self.verdict}</b>: {html.escaped(self.text)}</p>"]
        parts.append(html.table(conditions, ("condition", "status", "decided by")))
        parts += [f"<pre>{html.escaped(line)}</pre>" for line in self.counterexample or ()]
        if self.weights:
            rows = [(f"xi_{k}", xi) for k, xi in enumerate(self.weights, start=1)]
            parts.append(html.table(rows, ("pair weight", "")))
        if self.evidence:
            parts.append(evidence_table(self.evidence))
        if self.note:
            parts.append(f"<p>{html.escaped(self.note)}</p>")
        return "".join(parts)


def check_loss(text: str, seconds: float = SECONDS, progress: Progress = SILENT) -> LossReport:
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


def _decide(loss: Loss, report: dict[str, Any], progress: Progress) -> None:
    """Membership, pair weights and statement 4, put into `report` one by one: what a timeout leaves is kept."""
    from theory.losses.family import family_conditions, membership_decision, membership_of
    from theory.losses.loss import indexed_form
    from theory.losses.signs import continued

    progress.start(4)
    progress.step("the family")
    report["conditions"] = family_conditions(loss.expression, len(loss.negatives or ()))
    report["member"] = membership_decision(report["conditions"]).value
    report["remarks"] = _remarks(loss, report["conditions"][-1])
    if not report["member"]:
        return
    # A gap in the domain that can be removed is removed: the literal text is 0/0 there.
    loss = replace(loss, expression=continued(loss.expression)[0])
    written = indexed_form(loss)
    if written is not None and not membership_of(written).proved:
        written = None
    progress.step("pair weights")
    try:
        report["weights"], explicit = _weights(loss, written)
    except InputError as error:
        report["note"] = str(error)
        report["evidence"] = (Evidence("symbolic", "abstained", "proof", detail=str(error)),)
        return
    _statement_4(loss, written, explicit, report, progress)


def _remarks(loss: Loss, real: Condition) -> tuple[str, ...]:
    """Remarks for the reader: where the loss is undefined, and whether its negatives differ."""
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
    """The pair weights as displayed, and the one of every negative in ``r_1 .. r_H``."""
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
    loss: Loss, written: Loss | None, weights: list[sympy.Expr], report: dict[str, Any], progress: Progress
) -> None:
    """Statement 4 with the pair weights of this loss, measured and derived.

    Nothing in it needs a symmetry among the negatives: the gradient is a sum over them, each term with its own weight,
    and every term of first order in the spread has one zero-mean deviation.
    """
    import sympy

    import theory
    from verify.loss import measure

    progress.step("statement 4 in floating point")
    measured = measure.evidence(loss.expression, weights)
    report["evidence"] = (measured,)
    progress.step("statement 4 in symbols")
    general, count = (loss, len(weights)) if written is None else (written, None)

    def decided() -> Derivation:
        found = theory.derive("weighted-covariance-operator", loss=general.expression, negatives=count)
        found.decides(found.claim)
        return found

    derivation = decided()
    report["derivation"] = derivation
    refuted = derivation.decision.value is False
    status: Status = "holds" if derivation.proved else "refuted" if refuted else "abstained"
    detail = f"{len(derivation.steps)} steps; {derivation.decision.detail}"
    if loss.expression.has(sympy.Max) and status == "holds":
        status, detail = "abstained", f"{KINK}; away from it: {detail}"
    report["evidence"] = (Evidence("symbolic", status, "proof", 1, detail=detail), measured)
    progress.step("identities by a proof assistant")
    checked = kernel.compiled("a loss", decided)
    if checked.status != "not-run":
        report["evidence"] = (report["evidence"][0], checked, measured)


def loss_json(context: Context, report: LossReport) -> dict[str, Any]:
    """The JSON document of a loss: `loss` beside the header of every run."""
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
    """Each pair weight with its name: ``xi(r)`` for one negative, ``xi_k`` for more, ``xi_j`` for any j."""
    if len(report.weights) == 1:
        free = any(condition.quantity.startswith("dL/dr_k") for condition in report.conditions)
        return [("xi_j" if free else "xi(r)", report.weights[0])]
    return [(f"xi_{k}", xi) for k, xi in enumerate(report.weights, start=1)]


def loss_lines(report: LossReport) -> list[str]:
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
    """The loss, its pair weights and statement 4 as equations; the JSON document has every step."""
    if not report.weights:
        return []
    lines = [r"\begin{align}", f"L &= {tex(report.expression)}"]
    for name, xi in named_weights(report):
        lines[-1] += r" \\"
        lines.append(f"{name.replace('xi', chr(92) + 'xi')} &= {tex(xi)}")
    lines.append(r"\end{align}")
    return lines if report.derivation is None else [*lines, *report.derivation.latex("equation").splitlines()]
