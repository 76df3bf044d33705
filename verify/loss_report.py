"""The result of `python -m verify loss` as text with LaTeX, and as a JSON document. Nothing is computed here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from verify.loss_check import LossReport
from verify.report import header
from verify.statement import Context

if TYPE_CHECKING:
    import sympy

WORDS = {True: "in the family", False: "outside the family", None: "undecided"}
STATUS = {True: "holds", False: "fails", None: "undecided"}


def loss_json(context: Context, report: LossReport) -> dict[str, Any]:
    """The document: `loss` beside the header of every run."""
    import sympy

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
            "expression": sympy.sstr(report.expression),
            "latex": tex(report.expression),
            "verdict": report.verdict,
            "member": report.member,
            "conditions": conditions,
            "counterexample": None if report.counterexample is None else list(report.counterexample),
            "pair_weights": [
                {"name": name, "text": sympy.sstr(xi), "latex": tex(xi)} for name, xi in named_weights(report)
            ],
            "statement4": {
                "evidence": [row.as_json() for row in report.evidence],
                "derivation": None if derivation is None else derivation.latex("align"),
            },
            "note": report.note,
        },
    }


def tex(expression: sympy.Expr) -> str:
    """LaTeX of an expression in one line, in the notation of the derivations."""
    from theory.latex import plain_tex
    from theory.notation import SYMBOL_NAMES

    return plain_tex(expression, SYMBOL_NAMES)


def named_weights(report: LossReport) -> list[tuple[str, sympy.Expr]]:
    """Each pair weight with what it is called: ``xi(r)`` for one negative, ``xi_k`` else."""
    if len(report.weights) == 1:
        return [("xi(r)", report.weights[0])]
    return [(f"xi_{k}", xi) for k, xi in enumerate(report.weights, start=1)]


def loss_lines(report: LossReport) -> list[str]:
    """What the terminal shows, line by line."""
    import sympy

    lines = [f"L = {sympy.sstr(report.expression)}"]
    lines += [f"  {c.text}: {STATUS[c.decision.value]} ({c.decision.method})" for c in report.conditions]
    lines.append(f"statement 2, with negatives that can be exchanged: {WORDS[report.member]}")
    lines += report.counterexample or ()
    lines += [f"{name} = {sympy.sstr(xi)}" for name, xi in named_weights(report)]
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
