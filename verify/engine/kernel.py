"""Evidence of a proof assistant: theorems for all sizes, and identities that derivations decide at given sizes.

A run compiles no theorem: it takes what ``python -m theory kernel check`` (or ``make prove``) found on this machine
for the very files and this compiler. Without a compiler, or where nothing was checked yet, the evidence has not run,
and says what to type, and that the theorems were accepted when the release was tested where its record has their hash.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from verify.engine.evidence import Evidence, counted
from verify.engine.statement import Context

if TYPE_CHECKING:
    from theory.kernel.rocq import Compiler, Listed, Outcome

CHECK = "python -m theory kernel check"


def theorems(slug: str, context: Context) -> Evidence:
    """The theorems of a statement, for all sizes, as they were compiled here."""
    from theory.kernel import rocq
    from theory.kernel.theorems import NONE, THEOREMS

    known = THEOREMS.get(slug, NONE)
    names = ", ".join(theorem.name for theorem in known.theorems)
    says = f"all sizes: {names}" + (f"; not covered: {known.missing}" if known.missing else "")
    if not known.theorems:
        return Evidence("kernel", "not-run", "theorem", detail=f"there is no theorem: {known.missing}")
    found = rocq.compiler()
    outcome = rocq.known(rocq.theorems_key(), found.version) if found else None
    if outcome is not None and outcome.status == "accepted":
        axioms = "on the axioms of Coq's reals, extensionality and classical logic" if outcome.detail else "on no axiom"
        detail = f"{says}; Rocq {outcome.version}, {axioms}"
        return Evidence("kernel", "holds", "theorem", len(known.theorems), detail=detail)
    if outcome is not None:
        # A proof that does not compile refutes no statement.
        return Evidence(
            "kernel", "abstained", "theorem", abstained=1, detail=f"a proof does not compile: {outcome.detail}"
        )
    return Evidence("kernel", "not-run", "theorem", detail=f"{says}; {missing(found)}")


def missing(found: Compiler | None) -> str:
    """Why there is no result, what there is instead, and what to type."""
    from theory.kernel import rocq

    record = rocq.recorded()
    todo = f"{CHECK} compiles them" if found else f"no compiler: {rocq.INSTALL}"
    if record.get("theorems") != rocq.theorems_key():
        return todo
    return f"accepted by Rocq {record['compiler']} when this release was tested, not on this machine; {todo}"


def identities(slug: str, context: Context) -> Evidence:
    """The identities that the derivations of a statement decide at the sizes that are exported by default."""
    from theory.kernel import rocq

    found = rocq.compiler()
    if found is None:
        return Evidence("kernel", "not-run", "identities", detail=f"no compiler: {rocq.INSTALL}")
    files = rocq.listed(slug)
    if not any(file.lemmas for file in files):
        return Evidence("kernel", "not-run", "identities", detail="nothing is decided by a polynomial normal form")
    return of_outcomes(files, [rocq.known(file.key, found.version) for file in files])


def compiled(title: str, run: Any) -> Evidence:
    """The identities that a user's claims decide, compiled now; a second or two where the checker is compiled."""
    from theory.kernel import rocq
    from theory.kernel.export import export

    found = rocq.compiler()
    if found is None:
        return Evidence("kernel", "not-run", "identities", detail=f"no compiler: {rocq.INSTALL}")
    file = export(title, run)
    if not file.lemmas:
        reason = ", ".join(file.reasons) or "nothing is decided by a polynomial normal form"
        return Evidence("kernel", "not-run", "identities", detail=reason)
    return of_outcomes([rocq.Listed.of(file)], [rocq.check_text(found, file.text, limit=60.0)])


def of_outcomes(files: Sequence[Listed], outcomes: Sequence[Outcome | None]) -> Evidence:
    """The evidence of exported files: one that is rejected refutes, one that is not decided abstains."""
    count = sum(file.lemmas for file in files)
    left = sum(file.left_out for file in files)
    for file, outcome in zip(files, outcomes, strict=True):
        if outcome is not None and outcome.status == "rejected":
            detail = f"{file.name}: SymPy decides what Rocq {outcome.version} rejects: {outcome.detail}"
            return Evidence("kernel", "refuted", "identities", count, detail=detail)
    if None in outcomes:
        return Evidence("kernel", "not-run", "identities", detail=f"{CHECK} compiles {counted(count, 'lemma')}")
    for file, outcome in zip(files, outcomes, strict=True):
        if outcome is not None and outcome.status != "accepted":
            detail = f"{file.name}: not decided: {outcome.detail}"
            return Evidence("kernel", "abstained", "identities", abstained=count, detail=detail)
    done = [outcome for outcome in outcomes if outcome is not None]
    seconds = sum(outcome.seconds for outcome in done)
    derivatives = sum(file.derivatives for file in files)
    identities = f"{count - derivatives} identit{'y' if count - derivatives == 1 else 'ies'}"
    detail = f"{identities}, {counted(derivatives, 'derivative')} at given sizes"
    detail += ", where no divisor is 0" if any(file.divided for file in files) else ""
    detail += f"; Rocq {done[0].version}, compiled in {seconds:.1f} s" + (
        f"; {counted(left, 'decision')} left out" if left else ""
    )
    return Evidence("kernel", "holds", "identities", count, detail=detail)
