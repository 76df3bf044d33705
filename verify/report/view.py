"""The content of a report as JSON data, for the page and the LaTeX.

Formulas come from the objects of the derivations (`theory.latex.render.rows`), as lists of LaTeX lines. Files are named
relative to the folder of the report.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from verify.engine import readable
from verify.engine.assumptions import Outcome, shown
from verify.engine.evidence import KINDS, Evidence, Measurement
from verify.engine.runner import Refutation, Result
from verify.engine.statement import Context, Statement
from verify.report.documents import combined, environment, replay_command
from verify.tolerance.statistics import RUN_FALSE_ALARM

MEASURED = ("exact", "float", "property", "trained")


def overall(verdicts: Iterable[str]) -> str:
    """The verdict of all together: refuted before abstained before holds."""
    verdicts = set(verdicts)
    return "refuted" if "refuted" in verdicts else "holds" if verdicts == {"holds"} else "abstained"


def headline(results: Sequence[Result], request: Request) -> str:
    """The verdict of all statements in words."""
    groups = {
        "refuted": [result for result in results if result.verdict == "refuted"],
        "left open": [r for r in results if r.verdict == "abstained" and not r.interrupted],
        "not complete, the run was interrupted": [r for r in results if r.verdict == "abstained" and r.interrupted],
    }
    holding = len(results) - sum(map(len, groups.values()))
    if holding == len(results):
        words = "The statement holds." if holding == 1 else f"All {holding} statements hold."
    else:
        parts = [f"{', '.join(_name(r.statement) for r in rows)} {word}" for word, rows in groups.items() if rows]
        words = f"{'; '.join(parts)}. {holding} of {len(results)} hold."
    if request.broken:
        words += f" Without a verdict, since broken: {', '.join(request.broken)}."
    only = {"": request.only, "variants": "mutants", "assumptions": "dropped assumptions"}[request.mode]
    return f"{words} This says the evidence of one kind only: {only}." if only else words


def _name(statement: Statement) -> str:
    return statement.heading if statement.theorem is not None else f"Statement {statement.slug}"


def facts(results: Sequence[Result]) -> list[dict[str, str]]:
    """Counts of evidence and the false-alarm rate."""
    rows = [row for result in results for row in result.evidence]
    values = {"instances compared": f"{sum(r.instances for r in rows if r.kind in MEASURED):,}"}
    derivations = [d for row in rows for d in row.derivations]
    if derivations:
        proved = sum(d.proved for d in derivations)
        steps = sum(len(d.steps) for d in derivations)
        values["derivations proved"] = f"{proved} of {len(derivations)}, {steps} checked steps"
    refutations = [r for row in rows for r in row.refutations]
    number = sum(len(result.statement.variants) for result in results)
    refuted = sum(not r.survived for r in refutations)
    values["mutants refuted"] = f"{refuted} of {number}"
    outcomes = [outcome for row in rows for outcome in row.outcomes]
    number = sum(len(result.statement.drops) for result in results)
    counts = [(word, sum(o.finding == word for o in outcomes)) for word in ("necessary", "not shown necessary")]
    findings = ", ".join(f"{count} {word}" for word, count in counts if count)
    values["assumptions dropped"] = f"{len(outcomes)} of {number}" + (f": {findings}" if findings else "")
    if any(result.statement.theorem is not None for result in results):
        values["false alarms"] = f"at most {RUN_FALSE_ALARM:g} per run, all random checks together"
    return [{"name": name, "value": value} for name, value in values.items()]


def strength(result: Result) -> dict[str, Any]:
    """Largest residuals over tolerance, and the smallest effects of random checks."""
    random = dict.fromkeys(f"{row.source}: {row.effect}" for row in result.evidence if row.effect)
    return {"exact": _largest(result, "exact"), "float": _largest(result, "float"), "random": list(random)}


def _largest(result: Result, kind: str) -> str:
    rows = [row for row in result.evidence if row.kind == kind]
    measured = [row for row in rows if row.worst_residual is not None and row.tolerance is not None]
    if not measured:
        return "not run" if all(row.status == "not-run" for row in rows) else "none decided"
    ratio, source = max((Measurement(r.worst_residual or 0.0, r.tolerance or 0.0).severity, r.source) for r in measured)
    where = f" ({source})" if ratio and len(measured) > 1 else ""
    return f"{ratio:.2g}{where}"


@dataclass(frozen=True)
class Symbol:
    """A symbol of the seven statements, for reports and for the documentation."""

    tex: str
    meaning: str
    statements: tuple[int, ...] = ()


SYMBOLS: tuple[Symbol, ...] = (
    Symbol(r"x,\; x'", "two independent points of the population"),
    Symbol(r"x_1,\; x_+,\; x_{k-}", "augmentations: two of x, and one of the k-th independent point x'", (3, 4, 5)),
    Symbol(r"W_l,\; f_l,\; f_L", "weights and activations of layer l, f_0 = x; f_L is the output, not activated"),
    Symbol(r"J_l", "Jacobian of the output by the pre-activations of layer l, shape (n_L, n_l)", (1, 3, 4, 6)),
    Symbol(r"K_l = f_{l-1} \otimes J_l^{\top}", "connection of layer l, shape (n_l n_{l-1}, n_L)", (1, 3, 4)),
    Symbol(r"\bar K_l(x)", "connection averaged over the augmentations of x", (3, 4)),
    Symbol(r"\mathrm{vec}", "columns of a matrix, stacked", (1, 3, 4)),
    Symbol(r"r", "half the squared distance of two outputs", (1, 2, 3, 4)),
    Symbol(r"r_+,\; r_{k-}", "r of the positive pair, and of the k-th of H negatives", (2, 3, 4)),
    Symbol(
        r"L_{\mathrm{simp}},\; L_{\mathrm{tri}},\; L_{\mathrm{nce}}",
        "simple loss r_+ - r_-, soft triplet loss with margin r_0, InfoNCE; tau is the temperature",
        (2, 3, 4, 5),
    ),
    Symbol(r"\mathbb{E},\; \mathbb{E}_{\mathrm{aug}}", "mean over points; over the augmentations of one", (3, 4, 5, 6)),
    Symbol(r"\mathbb{V}_x[A]", "covariance over points, E[A A^T] - E[A] E[A]^T", (3, 6)),
    Symbol(r"\mathbb{V}^{\xi}_{x,x'}[A]", "weighted form, E[xi A A^T] over pairs of points", (4,)),
    Symbol(r"\xi", "pair weight: derivative of the loss by r_+, at r_+ = 0", (4,)),
    Symbol(r"\theta,\; \sigma", "residue of the operator form; spread of the outputs under augmentation", (4,)),
    Symbol(r"w_{1j},\; w_{2j}", "weights into and out of hidden neuron j: row j of W_1, column j of W_2", (5,)),
    Symbol(r"\tilde x_j,\; A_{jk}", "input gated by neuron j; covariance of the mean gated inputs of j and k", (5,)),
    Symbol(r"\dot w", "rate of change under gradient flow", (5,)),
    Symbol(r"z_0,\; z_\mu", "root of the latent tree, which augmentation keeps; latent at node mu", (6, 7)),
    Symbol(r"\mathcal{N}_\mu,\; \mathcal{N}_\mu^{\mathrm{ch}}",
           "neurons at node mu; those at its children, which they read", (6, 7)),
    Symbol(r"\rho_{\mu\nu},\; \rho_{0\mu}",
           "P(z_nu=1|z_mu=1) - P(z_nu=1|z_mu=0), an edge's polarity; product of a path", (6, 7)),
    Symbol(r"\rho_0", "P(z_0=1) - P(z_0=0)", (6,)),
    Symbol(r"s_k", "selectivity of a neuron, half the gap of its means between the states of its latent", (6, 7)),
    Symbol(r"a_\mu = [\rho_{\mu\nu} s_k]_k", "polarity times selectivity, for each neuron of the children", (6, 7)),
    Symbol(r"o_\mu", "strength of the rank-one covariance at node mu", (6,)),
    Symbol(r"g_j,\; m_z,\; v", "gap m_1 - m_0 of neuron j; its mean input given z_mu = z; bound on the variance", (7,)),
    Symbol(r"P_t", "probability that one neuron starts out with a gap of at least t", (7,)),
)  # fmt: skip


def of_statements(numbers: Sequence[int]) -> list[dict[str, str]]:
    """The symbols of some statements of the paper."""
    chosen = [one for one in SYMBOLS if numbers and (not one.statements or set(numbers) & set(one.statements))]
    return [{"tex": one.tex, "meaning": one.meaning} for one in chosen]


PAPER = "Understanding Self-supervised Learning with Dual Deep Networks (arXiv 2010.00578)"
PACKS = "Statements of other papers, and of other versions of arXiv 2010.00578"
PAPER_NOTE = (
    "The paper's full text was not at hand. Confidence is high where the source decides the relation, medium where a "
    "public source confirms the part that is named, and low where it rests on the project's notes alone."
)
WORDS = {"holds": "holds", "refuted": "refuted", "abstained": "left open", "not-run": "not run"}
# Longer instances are in their files only.
INLINE = 700


@dataclass(frozen=True)
class Request:
    """The options of a run that its commands repeat."""

    context: Context
    own: str | None = None
    mode: str = ""
    single: bool = False
    only: str = ""
    images: Mapping[str, Any] | None = None
    program: str = "verify"
    broken: tuple[str, ...] = ()
    line: str = ""
    about: str = ""

    def command(self, statement: Statement | None = None, only: str = "") -> str:
        """The command that repeats the run, for one statement or all."""
        words = ["python", "-m", "verify"]
        context = self.context
        run = f"--seed {context.seed} --profile {context.profile} --device {context.device}"
        if self.line:
            return " ".join([*words, self.line, run])
        if self.own is not None:
            words += ["run", shlex.quote(self.own)]
        elif statement is None:
            words[-1] = self.program
        elif statement.theorem is not None:
            words[-1] += f".theorem{statement.theorem}"
        else:
            words.append(statement.slug)
        chosen = only or self.only
        words += [f"--{self.mode}"] if self.mode else ["--only", chosen] if chosen else []
        return " ".join([*words, run])

    def files(self, file: str | None) -> dict[str, str | None]:
        """A counterexample's file and the command that replays it in the folder of the report."""
        return {"counterexample": file, "replay": None if file is None else replay_command(file, self.own)}


@dataclass(frozen=True)
class Attached:
    """Files of counterexamples, by slug and row or variant, and rows of figures by slug."""

    counterexamples: Mapping[tuple[str, int], str] = field(default_factory=dict)
    variants: Mapping[tuple[str, str], str] = field(default_factory=dict)
    figures: Mapping[str, Sequence[dict[str, Any]]] = field(default_factory=dict)

    def inside(self, folder: Path | None) -> Attached:
        """The same with files named from the working folder."""
        if folder is None:
            return self
        rows = {key: str(folder / file) for key, file in self.counterexamples.items()}
        variants = {key: str(folder / file) for key, file in self.variants.items()}
        return Attached(rows, variants, self.figures)


def view(request: Request, results: Sequence[Result], attached: Attached) -> dict[str, Any]:
    """Everything that the report shows, as JSON data."""
    single = results[0].statement if results and request.single else None
    return {
        "title": "Verification report",
        "subject": subject(request, results),
        "headline": headline(results, request),
        "verdict": overall(result.verdict for result in results),
        "own": request.own,
        "interrupted": any(result.interrupted for result in results),
        "mode": request.mode,
        "command": request.command(single),
        "seed": request.context.seed,
        "profile": request.context.profile,
        "seconds": round(sum(result.seconds for result in results), 1),
        "environment": environment(request.context.device),
        "facts": facts(results),
        "kinds": list(KINDS),
        "words": WORDS,
        "statements": [statement_view(request, result, attached) for result in results],
        "paper_note": PAPER_NOTE if any(r.statement.relation_to_paper for r in results) else "",
        "symbols": of_statements([r.statement.theorem for r in results if r.statement.theorem is not None]),
        "images": request.images,
    }


def subject(request: Request, results: Sequence[Result]) -> str:
    """What the report is about: the paper, other papers, a user's file or tree."""
    if request.about:
        return request.about
    if request.own is not None:
        return f"Statements of {request.own.rpartition('/')[2]}"
    return PAPER if any(result.statement.theorem is not None for result in results) else PACKS


def statement_view(request: Request, result: Result, attached: Attached) -> dict[str, Any]:
    statement, slug = result.statement, result.statement.slug
    evidence = [
        {"disagreement": None, "coverage": "", **row.as_json(), "instance": counterexample_lines(row),
         "command": request.command(statement, row.kind),
         **request.files(attached.counterexamples.get((slug, index)))}
        for index, row in enumerate(result.evidence)
    ]  # fmt: skip
    refutations = {r.variant.name: r for row in result.evidence for r in row.refutations}
    return {
        "slug": slug,
        "theorem": statement.theorem,
        "short": statement.short,
        "heading": statement.heading,
        "title": statement.title,
        "claim": [statement.claim] if statement.claim.strip() else [],
        "source": statement.source,
        "relation_to_paper": None if (known := statement.relation_to_paper) is None else known.as_json(),
        "verdict": result.verdict,
        "interrupted": result.interrupted,
        "seconds": round(result.seconds, 1),
        "assumptions": list(statement.assumptions),
        "not_covered": list(statement.not_covered),
        "summary": {kind: kind_view([row for row in result.evidence if row.kind == kind]) for kind in KINDS},
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


def counterexample_lines(row: Evidence) -> list[str]:
    """The counterexample of refuted evidence as text; it is in a file too."""
    return [] if row.status != "refuted" or row.counterexample is None else readable.lines(row.counterexample)


def kind_view(rows: Sequence[Evidence]) -> dict[str, Any]:
    """A cell of the evidence matrix."""
    return {"status": combined(rows), "instances": sum(row.instances for row in rows)}


def outcomes_view(result: Result) -> list[dict[str, Any]]:
    """The assumption table, with rows for assumptions that were not dropped."""
    results = {o.assumption.name + o.assumption.dropped: o for row in result.evidence for o in row.outcomes}
    rows = []
    for assumption in result.statement.drops:
        outcome: Outcome | None = results.get(assumption.name + assumption.dropped)
        if outcome is None:
            blank = Outcome(assumption, "undecided", None, 0).as_json()
            rows.append({**blank, "finding": "not run", "status": "not-run", "last": None, "derivation": ""})
            continue
        row = {"derivation": "", "last": None, **outcome.as_json()}
        if row["counterexample"] is None and outcome.sides is not None:
            row["last"] = f"{outcome.sides.instance}: {outcome.sides.quantity}: {shown(outcome.sides.left)}"
        rows.append(row)
    return rows


def derivation_view(derivation: Any) -> dict[str, Any]:
    from theory.latex.render import rows

    return {
        "text": derivation.claim.text,
        "claim": rows(derivation.claim.expression),
        "assumptions": list(derivation.assumptions),
        "proved": derivation.proved,
        "residual": [] if derivation.residual is None else _zero(derivation.residual) or rows(derivation.residual),
        **_decision(derivation.decision),
        "steps": [
            {"justification": step.justification, "formula": rows(step.expression), **_decision(step.decision)}
            for step in derivation.steps
        ],
    }


def _zero(residual: Any) -> list[str]:
    """A zero with its shape for a matrix of zeros, which would take half a page."""
    from sympy import MatrixBase

    if not isinstance(residual, MatrixBase) or any(entry != 0 for entry in residual):
        return []
    return [rf"0_{{{residual.rows} \times {residual.cols}}}"]


def _decision(decision: Any) -> dict[str, Any]:
    status = {True: "proved", False: "refuted"}.get(decision.value, "not decided")
    return {"status": status, "method": decision.method, "detail": decision.detail}


def variant_view(request: Request, variant: Any, refutation: Refutation | None, file: str | None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "variant": variant.name, "change": variant.change, "expected": list(variant.caught_by),
        "one_kind": variant.one_kind, "status": "not-run", "refuted_by": [], "tried": 0, "instance": None,
        "characters": 0, "residual": None, "tolerance": None, "disagreement": None, **request.files(file),
    }  # fmt: skip
    if refutation is None:
        return row
    row |= {"status": refutation.status, "refuted_by": list(refutation.refuted_by), "tried": refutation.tried}
    if hasattr(refutation.instance, "as_json"):
        text = json.dumps(refutation.instance.as_json())
        row |= {"instance": text if len(text) <= INLINE else None, "characters": len(text)}
    if refutation.measurement is not None:
        measured = refutation.measurement
        row |= {"residual": f"{measured.residual:.3g}", "tolerance": f"{measured.tolerance:.3g}"}
        row["disagreement"] = None if (apart := refutation.apart) is None else apart.as_json()
    return row
