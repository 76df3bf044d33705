"""What a report says, as plain JSON data: one view of the results that the web page and the LaTeX are rendered from.

Formulas come from the objects of the derivations (`theory.latex.render.rows`), as lists of LaTeX lines; nothing is typed a
second time. Files are named relative to the folder of the report.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verify.engine.assumptions import Outcome, shown
from verify.engine.evidence import KINDS, Evidence
from verify.engine.runner import Refutation, Result
from verify.engine.statement import Context, Statement
from verify.report.documents import combined, environment, replay_command
from verify.report.summary import facts, headline, overall, strength
from verify.report.symbols import of_statements

PAPER = "Understanding Self-supervised Learning with Dual Deep Networks (arXiv 2010.00578)"
WORDS = {"holds": "holds", "refuted": "refuted", "abstained": "left open", "not-run": "not run"}
# Longer instances are in their files only.
INLINE = 700


@dataclass(frozen=True)
class Request:
    """What was asked for, as far as the commands that reproduce it need it.

    Parameters
    ----------
    context : Context
        Seed, profile and device.
    own : str, optional
        The file of a user's own statements, as the folder of the report has it.
    mode : {"", "variants", "assumptions"}
        The option that was given in place of a run of everything.
    single : bool
        Whether the command of one statement was called.
    only : str
        The one kind of evidence that was asked for; empty for all of them.
    images : mapping, optional
        The section on images (`verify.report.images`).
    """

    context: Context
    own: str | None = None
    mode: str = ""
    single: bool = False
    only: str = ""
    images: Mapping[str, Any] | None = None

    def command(self, statement: Statement | None = None, only: str = "") -> str:
        """The command that runs a statement again (None: everything that was asked for).

        Examples
        --------
        >>> Request(Context(seed=3), own="my file.py").command(only="exact")
        "python -m verify run 'my file.py' --only exact --seed 3 --profile quick --device cpu"
        """
        words = ["python", "-m", "verify"]
        if self.own is not None:
            words += ["run", shlex.quote(self.own)]
        elif statement is not None and statement.theorem is not None:
            words[-1] += f".theorem{statement.theorem}"
        chosen = only or self.only
        words += [f"--{self.mode}"] if self.mode else ["--only", chosen] if chosen else []
        context = self.context
        return " ".join([*words, f"--seed {context.seed} --profile {context.profile} --device {context.device}"])

    def replay(self, file: str) -> str:
        """The command that measures a saved instance again, from the folder of the report."""
        return replay_command(file, self.own)


@dataclass(frozen=True)
class Attached:
    """What belongs to results besides themselves: names of files, relative to the folder, and figures.

    Parameters
    ----------
    counterexamples : mapping
        (slug, index of the evidence) to the file of what refuted it.
    variants : mapping
        (slug, name of the variant) to the file of its counterexample.
    figures : mapping
        Slug to the rows of its figures.
    """

    counterexamples: Mapping[tuple[str, int], str] = field(default_factory=dict)
    variants: Mapping[tuple[str, str], str] = field(default_factory=dict)
    figures: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)

    def inside(self, folder: Path | None) -> Attached:
        """The same with the names of the files in a folder, as they are from where the command was called."""
        if folder is None:
            return self
        rows = {key: str(folder / file) for key, file in self.counterexamples.items()}
        variants = {key: str(folder / file) for key, file in self.variants.items()}
        return Attached(rows, variants, self.figures)


def view(request: Request, results: Sequence[Result], attached: Attached) -> dict[str, Any]:
    """The view of a run: everything that the report shows, as JSON data."""
    statements = [statement_view(request, result, attached) for result in results]
    return {
        "title": "Verification report",
        "subject": PAPER if request.own is None else f"Statements of {request.own.rpartition('/')[2]}",
        "headline": headline(results, request),
        "verdict": overall(results),
        "own": request.own,
        "interrupted": any(result.interrupted for result in results),
        "mode": request.mode,
        "command": request.command(_single(request, results)),
        "seed": request.context.seed,
        "profile": request.context.profile,
        "seconds": round(sum(result.seconds for result in results), 1),
        "environment": environment(request.context.device),
        "facts": facts(results),
        "kinds": list(KINDS),
        "words": WORDS,
        "statements": statements,
        "symbols": of_statements(tuple(r.statement.theorem for r in results if r.statement.theorem is not None)),
        "images": request.images,
    }


def _single(request: Request, results: Sequence[Result]) -> Statement | None:
    return results[0].statement if results and request.single else None


def statement_view(request: Request, result: Result, attached: Attached) -> dict[str, Any]:
    """One statement with its evidence."""
    statement, slug = result.statement, result.statement.slug
    evidence = [
        evidence_view(request, statement, row, attached.counterexamples.get((slug, index)))
        for index, row in enumerate(result.evidence)
    ]
    refutations = {r.variant.name: r for row in result.evidence for r in row.refutations}
    return {
        "slug": slug,
        "theorem": statement.theorem,
        "short": statement.short,
        "heading": statement.heading,
        "title": statement.title,
        "claim": [statement.claim] if statement.claim.strip() else [],
        "source": statement.source,
        "verdict": result.verdict,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 1),
        "assumptions": list(statement.assumptions),
        "not_covered": list(statement.not_covered),
        "summary": {kind: kind_view(result, kind) for kind in KINDS},
        "strength": strength(result),
        "evidence": evidence,
        "outcomes": outcomes_view(result),
        "derivations": [derivation_view(d) for row in result.evidence for d in row.derivations],
        "variants": [
            variant_view(request, variant, refutations.get(variant.name), attached.variants.get((slug, variant.name)))
            for variant in statement.variants
        ],
        "figures": list(attached.figures.get(slug, ())),
    }


def kind_view(result: Result, kind: str) -> dict[str, Any]:
    """A cell of the evidence matrix."""
    rows = [row for row in result.evidence if row.kind == kind]
    return {"status": combined(rows), "instances": sum(row.instances for row in rows)}


def evidence_view(request: Request, statement: Statement, row: Evidence, file: str | None) -> dict[str, Any]:
    """One piece of evidence, with its command."""
    replay = None if file is None else request.replay(file)
    return {**row.as_json(), "command": request.command(statement, row.kind), "counterexample": file, "replay": replay}


def outcomes_view(result: Result) -> list[dict[str, Any]]:
    """The assumption table: what was not tried is there too."""
    found = {o.assumption.name + o.assumption.dropped: o for row in result.evidence for o in row.outcomes}
    rows = []
    for assumption in result.statement.drops:
        outcome: Outcome | None = found.get(assumption.name + assumption.dropped)
        if outcome is None:
            expected = "necessary" if assumption.necessary else "not shown necessary"
            rows.append({
                "assumption": assumption.name, "dropped": assumption.dropped, "finding": "not run",
                "expected": expected, "status": "not-run", "tried": 0, "undecided": 0, "counterexample": None,
                "last": None, "derivation": "",
            })  # fmt: skip
            continue
        row = {"derivation": "", "last": None, **outcome.as_json()}
        if row["counterexample"] is None and outcome.sides is not None:
            row["last"] = f"{outcome.sides.instance}: {outcome.sides.quantity}: {shown(outcome.sides.left)}"
        rows.append(row)
    return rows


def derivation_view(derivation: Any) -> dict[str, Any]:
    """A derivation with its steps; formulas are printed from its objects."""
    from theory.latex.render import rows

    return {
        "text": derivation.statement.text,
        "claim": rows(derivation.statement.expression),
        "assumptions": list(derivation.assumptions),
        "proved": derivation.proved,
        "residual": _zero(derivation.residual) or rows(derivation.residual),
        **_decision(derivation.decision),
        "steps": [
            {"justification": step.justification, "formula": rows(step.expression), **_decision(step.decision)}
            for step in derivation.steps
        ],
    }


def _zero(residual: Any) -> list[str]:
    """A matrix of zeros as a zero with its shape: entry by entry it would take half a page."""
    from sympy import MatrixBase

    if not isinstance(residual, MatrixBase) or any(entry != 0 for entry in residual):
        return []
    return [rf"0_{{{residual.rows} \times {residual.cols}}}"]


def _decision(decision: Any) -> dict[str, Any]:
    status = {True: "proved", False: "refuted"}.get(decision.value, "not decided")
    return {"status": status, "method": decision.method, "detail": decision.detail}


def variant_view(request: Request, variant: Any, found: Refutation | None, file: str | None) -> dict[str, Any]:
    """A false variant: what must refute it, what did, and the counterexample."""
    row: dict[str, Any] = {
        "variant": variant.name,
        "change": variant.change,
        "expected": list(variant.caught_by),
        "one_kind": variant.one_kind,
        "status": "not-run" if found is None else found.status,
        "refuted_by": [] if found is None else list(found.refuted_by),
        "tried": 0 if found is None else found.tried,
        "instance": None,
        "characters": 0,
        "residual": None,
        "tolerance": None,
        "counterexample": file,
        "replay": None if file is None else request.replay(file),
    }
    if found is not None and hasattr(found.instance, "as_json"):
        text = json.dumps(found.instance.as_json())
        row["instance"] = text if len(text) <= INLINE else None
        row["characters"] = len(text)
    if found is not None and found.measurement is not None:
        row["residual"] = f"{found.measurement.residual:.3g}"
        row["tolerance"] = f"{found.measurement.tolerance:.3g}"
    return row
