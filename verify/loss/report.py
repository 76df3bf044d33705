"""The result of `python -m verify loss` as text with LaTeX, and as a JSON document. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verify.engine.statement import Context
from verify.loss.check import LossReport
from verify.report.documents import header

if TYPE_CHECKING:
    import sympy

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
