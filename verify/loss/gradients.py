"""How the gradients of a loss function differ from those of the known loss that has its values.

A training run sees nothing of a loss but its gradient: a result that is detached, or a stop-gradient on one argument,
is another loss, though every value agrees.
"""

from __future__ import annotations

import torch

from verify.loss.called import ARGUMENTS
from verify.loss.matching import Match, Observed


def gradient_differences(match: Match, seen: Observed, title: str) -> tuple[str, ...]:
    """What differs, in words; empty where the gradients are those of the match.

    Parameters
    ----------
    match : Match
        What has the values of the function.
    seen : Observed
        Batches, values and gradients of the function.
    title : str
        Name of the known loss.
    """
    reason = next((answer.reason for answer in seen.found if answer.gradients is None), None)
    prefix = "" if match.differences else "values equal, "
    if reason is not None:
        return (f"{prefix}no gradient: {reason}",)
    known = seen.gradients(match.form, match.tau)
    largest = abs(match.factor) * max(float(g.abs().max()) for each in known for g in each)
    found = []
    for place, name in enumerate(ARGUMENTS):
        ours = torch.cat([a.gradients[place].reshape(-1) for a in seen.found if a.gradients is not None])
        theirs = match.factor * torch.cat([each[place].reshape(-1) for each in known])
        words = _compared(ours, theirs, 10 * seen.tolerance * largest, title)
        if words:
            found.append(f"{prefix}gradient with respect to {name} {words}")
    return tuple(found)


def _compared(ours: torch.Tensor, theirs: torch.Tensor, tolerance: float, title: str) -> str:
    """How one gradient differs from another; empty where it does not."""
    if not bool(torch.isfinite(ours).all()):
        return "is not finite"
    gap = float((ours - theirs).abs().max())
    if gap <= tolerance:
        return ""
    if float(ours.abs().max()) == 0:
        return "is zero: stop-gradient"
    place = int(theirs.abs().argmax())
    if float(theirs[place]) == 0:
        return f"is not zero, that of {title} is"
    ratio = float(ours[place] / theirs[place])
    if float((ours - ratio * theirs).abs().max()) <= tolerance:
        return f"is {ratio:.6g} times that of {title}"
    return f"differs from that of {title} by up to {gap / float(theirs.abs().max()):.1%} of its size"


def gradient_lines(match: Match, seen: Observed, title: str) -> tuple[str, str]:
    """The norms of the gradients on the first two batches, the function's and the known loss's."""
    known = seen.gradients(match.form, match.tau)

    def line(i: int) -> str:
        gradients = seen.found[i].gradients
        ours = "none" if gradients is None else ", ".join(f"{float(g.norm()):.6g}" for g in gradients)
        theirs = ", ".join(f"{abs(match.factor) * float(g.norm()):.6g}" for g in known[i])
        return f"batch {i}: norms of the gradients ({', '.join(ARGUMENTS)}): {ours}; {title}: {theirs}"

    return line(0), line(1)
