"""Symbolic evidence: derivations of `theory`, each proved, refuted or abstained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from verify.engine.evidence import Evidence, counted


def proof_evidence(slug: str, options: Sequence[dict[str, Any]]) -> Evidence:
    """Derive the statement with each set of options; all must be proved.

    A derivation with a step that is decided false refutes; one that could not be decided abstains.
    """
    import theory

    if not options:
        raise ValueError(f"no derivation of {slug!r} was asked for")
    decided_by: list[str] = []
    found = []
    for option in options:
        derivation = theory.derive(slug, **option)
        found.append(derivation)
        named = ", ".join(f"{key}={value}" for key, value in option.items()) or "as stated"
        if not derivation.proved:
            values = [step.decision.value for step in derivation.steps] + [derivation.decision.value]
            status = "refuted" if False in values else "abstained"
            return Evidence(
                "symbolic", "refuted" if status == "refuted" else "abstained", "proof", len(options),
                detail=f"{named}: {derivation.decision.method}: {derivation.decision.detail}",
                derivations=tuple(found),
            )  # fmt: skip
        decided_by += [step.decision.method for step in derivation.steps] + [derivation.decision.method]
    return Evidence(
        "symbolic", "holds", "proof", len(options), worst_residual=0.0, tolerance=0.0,
        detail=f"{counted(len(options), 'derivation')} proved by {', '.join(dict.fromkeys(decided_by))}",
        derivations=tuple(found),
    )  # fmt: skip
