"""Decide on a user's loss: membership in the family, its pair weight, and statement 4 for it.

`theory` decides membership and derives the pair weight and statement 4; `verify.loss.measure` compares the pair weight
with automatic differentiation of the loss itself. A loss that is weakly in the family (a hinge) has a pair weight
``xi >= 0`` and what of statement 4 survives; any other one has the update with two weights, alpha and beta.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

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
Family = Literal["strict", "weak", "outside"]
WORDS: Mapping[Family | None, str] = MappingProxyType(
    {"strict": "in the family", "weak": "weakly in the family", "outside": "outside the family", None: "undecided"}
)
STATUS = {True: "holds", False: "fails", None: "undecided"}
TOO_LARGE = "(too large to be shown)"
MANY = 12
KINK = "the order of theta is shown for losses with two continuous derivatives, and a maximum has a kink"
WEAK = "V^xi is positive semidefinite, since xi >= 0; it need not be positive where a slope is 0"
OFF_KINKS = "theta = O(s^2) where no pair lies on a kink"


@dataclass(frozen=True)
class Update:
    """The update with weights alpha of positive pairs and beta of negatives: derivation and evidence."""

    alphas: tuple[tuple[str, sympy.Expr], ...]
    betas: tuple[tuple[str, sympy.Expr], ...]
    derivation: Derivation
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class LossReport:
    """The decisions, the derivation and the evidence for a user's loss.

    `member` is None where membership is undecided, and False where a strict sign fails; `family` is "strict", "weak",
    "outside" or None. `weights` are ``xi(r)`` for one negative, ``xi_1 .. xi_H`` for more, or the one ``xi_j`` of every
    j where H is symbolic; outside of the family there are none. `derivation` and `evidence` are those of statement 4,
    `update` is that of two weights; `note` gives the reason why something is open.
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
    family: Family | None = None
    weak_conditions: tuple[Condition, ...] = ()
    update: Update | None = None
    domain: str = "euclidean"
    parameters: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """Refuted outside of the family or where a statement fails; abstained where anything is open."""
        if self.family == "outside":
            return "refuted"
        if self.family is None or self.member is None:
            return "abstained"
        return verdict((*self.evidence, *(self.update.evidence if self.update else ())))

    @property
    def counterexample(self) -> tuple[str, str] | None:
        """Two lines that show why the loss is outside of the family, or None."""
        if self.family != "outside":
            return None
        weakly = (c.counterexample for c in self.weak_conditions if c.decision.value is False)
        return self.not_strict or next(weakly, None)

    @property
    def not_strict(self) -> tuple[str, str] | None:
        """Two lines that show which condition of the family fails, or None."""
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
        if self.update is not None:
            parts.append(html.table([*self.update.alphas, *self.update.betas], ("weight", "")))
            parts.append(evidence_table(self.update.evidence))
        if self.note:
            parts.append(f"<p>{html.escaped(self.note)}</p>")
        return "".join(parts)


def check_loss(
    text: str,
    seconds: float = SECONDS,
    progress: Progress = SILENT,
    parameters: Iterable[str] = (),
    domain: str | None = None,
    positives: int | None = None,
) -> LossReport:
    from theory.losses.grammar import check_declared, check_syntax
    from theory.losses.parameters import read_parameters

    declared = read_parameters(parameters)
    if not text.isidentifier():  # a name that is nearly that of a known loss gets a hint
        check_syntax(text, [parameter.name for parameter in declared])
    from theory.losses.loss import CANONICAL, loss_of

    if text not in CANONICAL:
        check_declared(text, [parameter.name for parameter in declared])

    loss = loss_of(text, 1 if text in CANONICAL else None, declared, positives, domain)
    if loss.negatives is None:
        raise InputError(f"loss {text!r}: must have an explicit number of negatives")
    result: dict[str, Any] = {"text": text, "expression": loss.expression, "domain": loss.domain}
    result["parameters"] = tuple(parameter.text for parameter in declared)
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
    from theory.losses.bounds import settled
    from theory.losses.family import family_conditions, membership_decision, membership_of
    from theory.losses.loss import indexed_form
    from theory.losses.signs import continued

    progress.start(4)
    progress.step("the family")
    loss = replace(loss, expression=settled(loss.expression, loss.bounds))
    report["conditions"] = family_conditions(loss)
    report["member"] = membership_decision(report["conditions"]).value
    report["remarks"] = _remarks(loss, report["conditions"][-1])
    report["family"] = "strict" if report["member"] else None
    if not report["member"]:
        _without_strict_signs(loss, report, progress)
        return
    # A gap in the domain that can be removed is removed: the literal text is 0/0 there.
    loss = replace(loss, expression=continued(loss.expression, loss.bounds)[0])
    written = indexed_form(loss)
    if written is not None and (loss.domain == "sphere" or not membership_of(written).proved):
        written = None
    progress.step("pair weights")
    try:
        report["weights"], explicit = _weights(loss, written)
    except InputError as error:
        report["note"] = str(error)
        report["evidence"] = (Evidence("symbolic", "abstained", "proof", detail=str(error)),)
        return
    _statement_4(loss, written, explicit, report, progress)
    if len(loss.positives) > 1:  # positives of one label are no augmentations of one point
        report["update"] = _update(loss)


def _without_strict_signs(loss: Loss, report: dict[str, Any], progress: Progress) -> None:
    """A loss that is weakly in the family, or outside of it: what it has in place of statement 4."""
    from theory.losses.family import membership_decision, weak_conditions
    from theory.losses.signs import continued

    *_, real = report["conditions"]
    report["weak_conditions"] = weak_conditions(loss, report["conditions"])
    weakly = membership_decision(report["weak_conditions"])
    if weakly.value is None or not real.decision:
        report["family"] = "outside" if weakly.value is False else None
        return
    report["family"] = "weak" if weakly else "outside"
    loss = replace(loss, expression=continued(loss.expression, loss.bounds)[0])
    progress.step("pair weights")
    if report["family"] == "weak":
        try:
            report["weights"], explicit = _weights(loss, None)
        except InputError as error:
            report["note"] = str(error)
            report["evidence"] = (Evidence("symbolic", "abstained", "proof", detail=str(error)),)
            return
        _weak_statement_4(loss, explicit, report, progress)
    progress.step("the update with two weights")
    if len(loss.distances) > MANY:
        report["note"] = f"the update with two weights is written out for at most {MANY} distances"
        return
    report["update"] = _update(loss)


def _weak_statement_4(loss: Loss, weights: list[sympy.Expr], report: dict[str, Any], progress: Progress) -> None:
    """What of statement 4 survives: the identity without augmentation, ``V^xi >= 0``, and theta off the kinks."""
    from theory.losses.bounds import has_pieces
    from verify.loss import kink, measure

    progress.step("statement 4 in floating point")
    sphere = loss.domain == "sphere"
    measured = measure.evidence(
        loss.expression, weights, parameters=loss.parameters, sphere=sphere, margins=measure.WIDE_MARGINS
    )
    proved = Evidence("symbolic", "holds", "proof", 1, detail=WEAK)
    report["evidence"] = (proved, measured)
    if not has_pieces(loss.expression):
        return
    remarks = [f"{OFF_KINKS}; on a kink theta is of lower order in general"]
    if len(weights) == 1 and len(loss.positives) == 1 and not sphere:
        found = kink.orders(loss, weights[0])
        remarks += [] if found is None else [found.text]
    report["remarks"] = (*report["remarks"], *remarks)


def _update(loss: Loss) -> Update:
    """The update with two weights: derived, and measured against the literal loss."""
    from theory.towers.two_weights import derive_two_weights, named_weights
    from verify.loss import tuples

    named = named_weights(loss)
    count = len(loss.positives)
    alphas, betas = named[:count], named[count:]
    derivation = derive_two_weights(loss, "general" if loss.domain == "sphere" else "operator")
    decision = derivation.decision
    status: Status = "holds" if derivation.proved else "refuted" if decision.value is False else "abstained"
    detail = f"{len(derivation.steps)} steps; {decision.detail}"
    measured = tuples.evidence(loss, [weight for _, weight in alphas], [weight for _, weight in betas])
    rows = (Evidence("symbolic", status, "proof", 1, detail=detail), measured)
    return Update(tuple(alphas), tuple(betas), derivation, rows)


def _remarks(loss: Loss, real: Condition) -> tuple[str, ...]:
    """Remarks for the reader: where the loss is undefined, and whether its negatives differ."""
    from theory.losses.family import symmetric
    from theory.losses.loss import FEW

    remarks = []
    if not real.decision:
        remarks.append(f"{real.text}: {real.decision.detail}")
    taken = [p.name for p in loss.parameters if p.value is None and p.name in ("alpha", "beta", "xi")]
    remarks += [f"{name} on the right of an equation is the declared parameter, not a weight" for name in taken]
    if 1 < len(loss.negatives or ()) <= FEW and symmetric(loss).value is False:
        remarks.append(
            "the loss is not symmetric in its negatives: each has its own xi_k; statement 4 does not need it"
        )
    return tuple(remarks)


def _weights(loss: Loss, written: Loss | None) -> tuple[tuple[sympy.Expr, ...], list[sympy.Expr]]:
    """The pair weights as displayed, and the one of every negative in ``r_1 .. r_H``."""
    from theory.core.normal import linear_sums
    from theory.core.notation import negative, pair_distance
    from theory.losses.family import weight_at
    from theory.losses.loss import FREE_NEGATIVE, at_number, derivative

    negatives = loss.negatives or ()
    if len(negatives) == 1 or written is None:
        shown = tuple(weight_at(loss, -derivative(loss.expression, distance)) for distance in negatives)
        if len(negatives) > 1:
            return shown, list(shown)
        return (shown[0].xreplace({negative(1): pair_distance}),), list(shown)
    free = linear_sums(weight_at(written, -derivative(written.expression, FREE_NEGATIVE)))
    return (free,), [at_number(free, negatives, FREE_NEGATIVE, k) for k in range(1, len(negatives) + 1)]


def _statement_4(
    loss: Loss, written: Loss | None, weights: list[sympy.Expr], report: dict[str, Any], progress: Progress
) -> None:
    """Statement 4 with the pair weights of this loss, measured and derived.

    Nothing in it needs a symmetry among the negatives: the gradient is a sum over them, each term with its own weight,
    and every term of first order in the spread has one zero-mean deviation.
    """
    import theory
    from theory.losses.bounds import has_pieces
    from verify.loss import measure

    progress.step("statement 4 in floating point")
    sphere = loss.domain == "sphere"
    measured = measure.evidence(loss.expression, weights, parameters=loss.parameters, sphere=sphere)
    report["evidence"] = (measured,)
    progress.step("statement 4 in symbols")
    general, count = (loss, len(weights)) if written is None else (written, None)

    def decided() -> Derivation:
        form = "general" if sphere else "operator"
        found = theory.derive("weighted-covariance-operator", loss=general, negatives=count, form=form)
        found.decides(found.claim)
        return found

    derivation = decided()
    report["derivation"] = derivation
    refuted = derivation.decision.value is False
    status: Status = "holds" if derivation.proved else "refuted" if refuted else "abstained"
    detail = f"{len(derivation.steps)} steps; {derivation.decision.detail}"
    if has_pieces(loss.expression):  # a step of the derivation may fail on a kink, where the loss has no slope
        away = f"; away from it: {detail}" if status == "holds" else ""
        status, detail = "abstained", KINK + away
    report["evidence"] = (Evidence("symbolic", status, "proof", 1, detail=detail), measured)
    progress.step("identities by a proof assistant")
    checked = kernel.compiled("a loss", decided)
    if checked.status != "not-run":
        report["evidence"] = (report["evidence"][0], checked, measured)


def loss_json(context: Context, report: LossReport) -> dict[str, Any]:
    """The JSON document of a loss: `loss` beside the header of every run."""
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
            "family": report.family,
            "domain": report.domain,
            "parameters": list(report.parameters),
            "conditions": _conditions_json(report.conditions),
            "weak_conditions": _conditions_json(report.weak_conditions),
            "counterexample": None if report.counterexample is None else list(report.counterexample),
            "not_strict": None if report.not_strict is None else list(report.not_strict),
            "pair_weights": _weights_json(named_weights(report)),
            "statement4": {
                "evidence": [row.as_json() for row in report.evidence],
                "derivation": None if derivation is None else derivation.latex("align"),
            },
            "update": None if report.update is None else _update_json(report.update),
            "note": report.note,
            "remarks": list(report.remarks),
        },
    }


def _conditions_json(conditions: Iterable[Condition]) -> list[dict[str, str]]:
    return [
        {"condition": c.text, "status": STATUS[c.decision.value], "decided_by": c.decision.method,
         "detail": c.decision.detail}
        for c in conditions
    ]  # fmt: skip


def _weights_json(weights: Iterable[tuple[str, sympy.Expr]]) -> list[dict[str, str]]:
    return [{"name": name, "text": plain(weight), "latex": tex(weight)} for name, weight in weights]


def _update_json(update: Update) -> dict[str, Any]:
    return {
        "alphas": _weights_json(update.alphas),
        "betas": _weights_json(update.betas),
        "evidence": [row.as_json() for row in update.evidence],
        "derivation": update.derivation.latex("align"),
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
    if report.domain == "sphere":
        lines.append("unit outputs: 0 <= r <= 2, and s = 1 - r")
    lines += [f"parameter {text}" for text in report.parameters]
    for c in report.conditions:
        why = c.decision.method if c.decision.value is not None else f"{c.decision.method}: {c.decision.detail}"
        lines.append(f"  {c.text}: {STATUS[c.decision.value]} ({why})")
    if report.family == "weak":
        lines += [f"  {c.text}: {STATUS[c.decision.value]} ({c.decision.method})" for c in report.weak_conditions]
    lines.append(f"statement 2: {WORDS[report.family]}")
    lines += report.not_strict or ()
    lines += report.remarks
    lines += [f"{name} = {plain(xi)}" for name, xi in named_weights(report)]
    lines += [_evidence_line("statement 4", row) for row in report.evidence]
    if report.update is not None:
        lines += [
            f"weight of a pair: {name} = {plain(weight)}"
            for name, weight in (*report.update.alphas, *report.update.betas)
        ]
        lines += [_evidence_line("update with two weights", row) for row in report.update.evidence]
    if report.note:
        lines.append(report.note)
    return lines + latex_lines(report)


def _evidence_line(name: str, row: Evidence) -> str:
    size = ""
    if row.worst_residual is not None and row.tolerance is not None:
        size = f", residual {row.worst_residual:.3e}, tolerance {row.tolerance:.3e}"
    return f"{name}, {row.kind}: {row.status}, {row.instances} instances{size}; {row.detail}"


def latex_lines(report: LossReport) -> list[str]:
    """The loss, its weights, statement 4 and the update as equations; the JSON document has every step."""
    lines = []
    if report.weights:
        lines = [r"\begin{align}", f"L &= {tex(report.expression)}"]
        for name, xi in named_weights(report):
            lines[-1] += r" \\"
            lines.append(f"{name.replace('xi', chr(92) + 'xi')} &= {tex(xi)}")
        lines.append(r"\end{align}")
    derivations = [report.derivation, report.update.derivation if report.update else None]
    return lines + [line for found in derivations if found for line in found.latex("equation").splitlines()]
