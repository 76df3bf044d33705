"""What a comparison says in words: where a function differs, what its gradients lack, and the scope."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from verify.loss.batches import OF_TINY_NORM, Batch, distances
from verify.loss.catalogue import CATALOGUE, FORMULA, TRIPLES, VIEWS, Form, known_forms, of_formula
from verify.loss.faults import details, entries_of
from verify.loss.matching import raw_factor, title_of
from verify.loss.observed import (
    AGREES,
    ALONE,
    DIFFERS,
    NORM,
    OVERFLOWS,
    RAISES,
    ROUNDED,
    Match,
    Observed,
    Reference,
    cancellation,
    gradient_tolerance,
    screened,
)


@dataclass(frozen=True)
class Findings:
    """Differences beyond the modifications of a match, notes, warnings, and a counterexample."""

    differences: tuple[str, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    counterexample: tuple[str, str] | None


def title_with_details(match: Match) -> str:
    """The title of a match, and which of its usual forms it is."""
    return title_of(match.loss) + details(match.form, match.loss)


def described(match: Match) -> str:
    """A match in one line."""
    ending = f" with {'; '.join(match.differences)}" if match.differences else ""
    return f"{title_with_details(match)} times {match.factor:.10g}{ending}"


def findings(match: Match, seen: Observed) -> Findings:
    """Everything that is to be said about the best match."""
    title = title_of(match.loss)
    references = seen.reference(match.form, match.at)
    of_values = _of_values(match, seen, references, title)
    of_gradients, unfinite = _of_gradients(match, seen, references, title)
    lines = None
    if of_values:
        lines = _lines_of_values(match, seen, references, title)
    elif match.differences:
        own = of_formula(match.form.own) if match.form.own is not None else None
        lines = counterexample(seen, own, match.loss)
    elif of_gradients:
        lines = _lines_of_gradients(match, seen, references, title)
    warnings = [*_warnings(match, seen, references, title), *unfinite]
    return Findings((*of_values, *of_gradients), tuple(_notes(match, seen, bool(of_gradients))), tuple(warnings), lines)


def _notes(match: Match, seen: Observed, other_gradients: bool) -> list[str]:
    result = []
    if match.constant:
        same = "" if other_gradients else "; gradients identical"
        result.append(f"equal up to the constant {match.constant:.6g}{same}")
    power = _power_of_tau(match)
    if power:
        result.append(f"the factor is {power}")
    if seen.precision.name == "single":
        result.append("agrees to single precision: the function rounds to float32")
    if match.at.torch_softplus:
        result.append("torch's softplus is linear above 20: values are off by up to 2e-9 there")
    hidden = match.outcomes.count(ROUNDED)
    if hidden and seen.precision.name == "double":  # in single precision the scope leaves them out
        result.append(f"not decided on {hidden} of the batches: rounding of the function hides the difference there")
    return result


def _power_of_tau(match: Match) -> str:
    tau = match.at.tau
    if tau == 1 or match.factor == 1:
        return ""
    for power, text in ((-1, "1/tau"), (1, "tau"), (-2, "1/tau^2"), (2, "tau^2")):
        if abs(match.factor / tau**power - 1) < 1e-9 or abs(match.factor * tau ** (-power) - 1) < 1e-9:
            return text
    return ""


# Values.


def _of_values(match: Match, seen: Observed, references: Sequence[Reference], title: str) -> tuple[str, ...]:
    """Where the values differ, and how."""
    wrong = match.wrong
    if not wrong:
        return ()
    factor = raw_factor(match)
    expected = {i: factor * references[i].value + match.constant for i in wrong}
    where = place_of(seen.batches, wrong, [i for i, o in enumerate(match.outcomes) if o == AGREES], seen)
    values = [seen.values[i] for i in wrong]
    shown = max(wrong, key=lambda i: abs(expected[i] - seen.values[i]) if math.isfinite(seen.values[i]) else math.inf)
    most = max((seen.values[i] for i, o in enumerate(match.outcomes) if o == AGREES), default=math.inf)
    if len(set(values)) == 1 and most <= values[0] < min(expected.values()):
        return (f"clamped: at most {values[0]:.6g} ({title} is {expected[shown]:.6g} {where})",)
    gap = max(abs(seen.values[i] - expected[i]) / max(abs(expected[i]), 1e-300) for i in wrong)
    ratios = [seen.values[i] / expected[i] if expected[i] else math.nan for i in wrong]
    if not all(map(math.isfinite, values)):
        what = f"gives {seen.values[shown]:g} where {title} is {expected[shown]:.6g}"
    elif all(v == 0 for v in values):
        what = f"gives 0 where {title} is {expected[shown]:.6g}"
    elif all(abs(ratio - ratios[0]) <= 1e-6 * abs(ratios[0]) for ratio in ratios) and abs(ratios[0] - 1) > 1e-4:
        what = f"{ratios[0]:.6g} times {title}"
    else:
        what = f"values differ by up to {gap:.2g} of {title}"
    return (f"differs {where}: {what} ({len(wrong)} of {len(seen.batches)} batches)",)


def place_of(batches: Sequence[Batch], wrong: Sequence[int], right: Sequence[int], seen: Observed) -> str:
    """What the batches of `wrong` have in common that those of `right` do not have."""
    far = {i: _spread(batches[i]) / seen.at.tau for i in (*wrong, *right)}
    measures = [
        ("B", lambda i: batches[i].size), ("n", lambda i: batches[i].width), ("H", lambda i: batches[i].negatives),
    ]  # fmt: skip
    for name, measure in measures:
        inside, outside = {measure(i) for i in wrong}, {measure(i) for i in right}
        if not outside or not inside or (name == "H" and not any(batches[i].layout.negatives for i in wrong)):
            continue
        if max(inside) < min(outside):
            return f"for {name} = {max(inside)}" if len(inside) == 1 else f"for {name} <= {max(inside)}"
        if min(inside) > max(outside):
            return f"for {name} >= {min(inside)}"
        if not inside & outside:
            return f"for {name} = {', '.join(map(str, sorted(inside)))}"
    for note in ("equal views", OF_TINY_NORM, "outputs near each other"):
        if {batches[i].note for i in wrong} == {note}:
            return f"for {note}"
    if right and min(far[i] for i in wrong) > max(far[i] for i in right):
        return f"where distances are above {min(far[i] for i in wrong):.2g} tau"
    return f"as in a batch of {batches[wrong[0]].shape}"


def _spread(batch: Batch) -> float:
    every = distances(batch.data)
    return float(every.max()) if every.numel() else 0.0


def _lines_of_values(match: Match, seen: Observed, references: Sequence[Reference], title: str) -> tuple[str, str]:
    factor = raw_factor(match)
    wrong = match.wrong[0]
    right = next((i for i, o in enumerate(match.outcomes) if o == AGREES), 0)

    def line(i: int) -> str:
        known = factor * references[i].value + match.constant
        ratio = f", ratio {seen.values[i] / known:.6g}" if known else ""
        return (
            f"batch {i}, {seen.batches[i].shape}: the function gives {seen.values[i]:.10g}, "
            f"{match.factor:.6g} times {title} {known:.10g}{ratio}"
        )

    return line(wrong), line(right)


def _warnings(match: Match, seen: Observed, references: Sequence[Reference], title: str) -> list[str]:
    """Overflow, errors on some batches, an epsilon in the norm."""
    result = []
    factor = raw_factor(match)
    over = [i for i, outcome in enumerate(match.outcomes) if outcome == OVERFLOWS]
    if over:
        i = min(over, key=lambda i: references[i].logit)
        result.append(
            f"overflow: gives {seen.values[i]:g} where {title} times {match.factor:.6g} is "
            f"{factor * references[i].value + match.constant:.6g}, at logits up to {references[i].logit:.2g}"
        )
    raised = [i for i, outcome in enumerate(match.outcomes) if outcome == RAISES]
    if raised:
        right = [i for i in range(len(seen.batches)) if i not in raised]
        where = place_of(seen.batches, raised, right, seen)
        result.append(f"raises {where}, not compared there: {seen.answers[raised[0]].error.partition('raised ')[2]}")
    if ALONE in match.outcomes:
        i = match.outcomes.index(ALONE)
        result.append(
            f"an anchor without a positive: gives {seen.values[i]:.6g}, the mean over the other anchors is "
            f"{factor * references[i].value + match.constant:.6g}"
        )
    if NORM in match.outcomes:
        result.append(
            "epsilon in the norm: cosines of outputs of norm 1e-9 are not those of their directions "
            "(as with eps=1e-8 of torch's cosine_similarity)"
        )
    return result


# Gradients.


def _of_gradients(
    match: Match, seen: Observed, references: Sequence[Reference], title: str
) -> tuple[tuple[str, ...], list[str]]:
    """What differs in the gradients, in words; and warnings of gradients that are not finite."""
    reason = next((a.reason for a in seen.answers if a.gradients is None and not a.error), None)
    prefix = "" if match.differences else "values equal, "
    if reason is not None:
        return (f"{prefix}no gradient: {reason}",), []
    factor = raw_factor(match)
    compared = [
        i for i, outcome in enumerate(match.outcomes)
        if outcome == AGREES and seen.answers[i].gradients is not None
        and all(bool(g.isfinite().all()) for g in references[i].gradients)
    ]  # fmt: skip
    result, warnings = [], []
    for place, name in enumerate(seen.layout.names):
        bad: list[tuple[int, Tensor, Tensor, float]] = []
        for i in compared:
            ours = (seen.answers[i].gradients or ())[place]
            theirs = factor * references[i].gradients[place]
            allowed = gradient_tolerance(seen, i, references[i], factor)
            if not bool(ours.isfinite().all()):
                warnings.append(f"gradient with respect to {name} is not finite ({seen.batches[i].shape})")
            elif not float((ours - theirs).abs().max()) <= allowed:
                lost = cancellation(seen, match.form, i, match.at) * float(theirs.abs().max())
                allowed = max(allowed, 8 * seen.noise.at(i)[1], lost)
                if not float((ours - theirs).abs().max()) <= allowed:
                    bad.append((i, ours, theirs, allowed))
        words = _gradient_words(bad, compared, seen, title)
        if words:
            result.append(f"{prefix}gradient with respect to {name} {words}")
    return tuple(result), warnings[:2]


def _gradient_words(
    bad: Sequence[tuple[int, Tensor, Tensor, float]], compared: Sequence[int], seen: Observed, title: str
) -> str:
    """How one gradient differs from another; empty where it does not."""
    if not bad:
        return ""
    wrong = [i for i, *_ in bad]
    where = ""
    if 2 * len(wrong) < len(compared):
        where = " " + place_of(seen.batches, wrong, [i for i in compared if i not in wrong], seen)
    if all(float(ours.abs().max()) == 0 for _, ours, _, _ in bad):
        return f"is zero{where}: stop-gradient"
    rows = _missing_rows(bad)
    if rows:
        return f"is missing in {rows}: detached, as after a gather without gradients"
    _, ours, theirs, _ = max(bad, key=lambda each: float(each[2].abs().max()))
    place = int(theirs.abs().argmax())
    largest = float(theirs.reshape(-1)[place])
    if largest == 0:
        return f"is not zero{where}, that of {title} is"
    ratio = float(ours.reshape(-1)[place]) / largest
    if all(float((a - ratio * b).abs().max()) <= 2 * allowed for _, a, b, allowed in bad):
        return f"is {ratio:.6g} times that of {title}{where}"
    gap = max(float((a - b).abs().max()) / max(float(b.abs().max()), 1e-300) for _, a, b, _ in bad)
    shown = f"{gap:.1%}" if gap > 1e-4 else f"{gap:.2g}"
    return f"differs from that of {title}{where} by up to {shown} of its size"


def _missing_rows(bad: Sequence[tuple[int, Tensor, Tensor, float]]) -> str:
    """Which part of the rows has no gradient, where all others are right."""
    halves = set()
    for _, ours, theirs, allowed in bad:
        rows = range(len(ours))
        zero = [i for i in rows if float(ours[i].abs().max()) == 0 and float(theirs[i].abs().max()) > allowed]
        others = [i for i in rows if i not in zero]
        if not zero or any(float((ours[i] - theirs[i]).abs().max()) > allowed for i in others):
            return ""
        if len(ours) < 4:
            continue
        if min(zero) > max((i for i in others if float(theirs[i].abs().max()) > allowed), default=-1):
            halves.add("the second half of the batch" if len(zero) <= (len(ours) + 1) // 2 else "the last rows")
        elif max(zero) < min((i for i in others if float(theirs[i].abs().max()) > allowed), default=len(ours)):
            halves.add("the first half of the batch" if len(zero) <= (len(ours) + 1) // 2 else "the first rows")
        else:
            halves.add("some rows of the batch")
    return halves.pop() if len(halves) == 1 else "some rows of the batch"


def _lines_of_gradients(match: Match, seen: Observed, references: Sequence[Reference], title: str) -> tuple[str, str]:
    """The norms of the gradients on two batches, the function's and the known loss's."""
    factor = raw_factor(match)

    def line(i: int) -> str:
        gradients = seen.answers[i].gradients
        ours = "none" if gradients is None else ", ".join(f"{float(g.norm()):.6g}" for g in gradients)
        theirs = ", ".join(f"{abs(factor) * float(g.norm()):.6g}" for g in references[i].gradients)
        return f"batch {i}: norms of the gradients ({', '.join(seen.layout.names)}): {ours}; {title}: {theirs}"

    return line(0), line(1)


# Where nothing fits.


def _target(seen: Observed, against: str) -> Form:
    """The form of a known loss that suits the arguments of the function."""
    kind, entry = seen.layout.kind, CATALOGUE.get(against)
    if entry is None or kind not in entry.layouts:
        against = {TRIPLES: "infonce", VIEWS: "ntxent"}.get(kind, "supcon-out")
        entry = CATALOGUE[against]
    if not entry.head:
        return Form("", group=against)
    pairing = next((p for p in entry.pairings if (p == "given") != (kind == VIEWS)), entry.pairings[0])
    return Form(entry.head, pairing, entry.kinds[0])


def counterexample(seen: Observed, form: Form | None, against: str) -> tuple[str, str]:
    """The two generic batches whose ratios differ most: no constant factor explains both."""
    target = form or _target(seen, against)
    (name, *_) = entries_of(target, seen.layout.kind)
    title = title_of(
        FORMULA if form is not None else against if against in entries_of(target, seen.layout.kind) else name
    )
    references = seen.reference(target, seen.at)
    entry = CATALOGUE.get(against)
    front = seen.at.tau if form is None and entry is not None and entry.tau_in_front else 1.0
    usable = [
        i for i, batch in enumerate(seen.batches)
        if batch.generic and references[i].finite and math.isfinite(seen.values[i])
    ]  # fmt: skip
    known = {i: front * references[i].value for i in usable}
    ratios = {i: seen.values[i] / known[i] if known[i] else math.inf for i in usable}
    low, high = min(usable, key=ratios.__getitem__), max(usable, key=ratios.__getitem__)
    if low == high:
        high = usable[-1]

    def line(i: int) -> str:
        return (
            f"batch {i}, {seen.batches[i].shape}: the function gives {seen.values[i]:.10g}, {title} {known[i]:.10g}, "
            f"ratio {ratios[i]:.6g}"
        )

    return line(low), line(high)


def closest(seen: Observed, own: Form | None, against: str) -> str:
    """The form that nearly has the values of the function, if one is within a hundredth; else an empty text."""
    best: tuple[float, str, float] | None = None
    values = torch.tensor(seen.values[:6], dtype=torch.float64)
    if not bool(values.isfinite().all()) or float(values.abs().max()) == 0:
        return ""
    candidates = [own] if own is not None else list(known_forms(seen.layout.kind))
    for form, known in screened(seen, candidates, seen.at):
        power = float(known @ known)
        if not math.isfinite(power) or power == 0:
            continue
        names = {loss: words for loss, words in entries_of(form, seen.layout.kind).items() if len(words) <= 1}
        factor = float(known @ values) / power
        gap = float((values - factor * known).abs().max() / values.abs().max())
        if names and gap < 1e-2 and (best is None or gap < best[0]):
            loss, words = min(names.items(), key=lambda item: len(item[1]))
            ending = f" with {'; '.join(words)}" if words else ""
            best = gap, f"{title_of(loss)}{ending}", factor
    if best is None:
        return ""
    return f"closest: {best[1]}, from which values are apart by {best[0]:.2g} of their size, more than rounding"


# Scope.


def scope_of(seen: Observed, match: Match | None) -> str:
    """The batches of the comparison in one line."""
    used = list(range(len(seen.batches)))
    if match is not None:
        used = [i for i in used if match.outcomes[i] in (AGREES, DIFFERS, OVERFLOWS)]
    chosen = [seen.batches[i] for i in used]
    if not chosen:
        return ""
    spans = [_span("B", [b.size for b in chosen]), _span("n", [b.width for b in chosen])]
    if seen.layout.negatives:
        spans.append(_span("H", [b.negatives for b in chosen]))
    far = max(map(_spread, chosen))
    logit = far / seen.at.tau
    if match is not None:
        logit = max(seen.reference(match.form, match.at)[i].logit for i in used)
    resolution = ""
    if match is not None and match.resolution:
        resolution = f"; resolution {match.resolution:.1g} of the loss"
    return (
        f"compared on {len(chosen)} batches: {', '.join(spans)}, distances up to {far:.2g}, "
        f"logits up to {logit:.2g}{resolution}"
    )


def _span(name: str, numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{name} {low}" if low == high else f"{name} {low} to {high}"
