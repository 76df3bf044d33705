"""The words for what a form does differently from a known loss."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from verify.loss.catalogue import CATALOGUE, FORMULA, NCE_HEADS, VIEWS, Entry, Form
from verify.loss.pairs import OF_BATCH

SUM_OF_SQUARES = "1/2 is missing: r = sum of squares"
MEAN_OF_SQUARES = "average over dimensions in place of 1/2: r = mean of squares"
ROOT = "unsquared distance: the norm of the difference in place of half of its square"
SHIFTED = "epsilon 1e-6 in the distance (as in torch's pairwise_distance)"
HEADS: Mapping[str, str] = {
    "no log": "no logarithm: minus the softmax itself",
    "decoupled": "positive missing in the denominator (as in DCL)",
    "positive twice": "positive counted twice in the denominator",
    "averaged": "mean over the negatives in the denominator, not their sum",
    "over batch": "softmax over the batch axis, not over the negatives",
    "shift": "shift along the wrong axis: the largest logit of row j is subtracted from column j",
    "hinge": "the maximum with 0 in place of the logarithm (hinge)",
    "circle through": "gradient through the weights, which the paper holds fixed",
    "hard of scores": "negatives weighted by exp(beta s), not exp(beta s / tau)",
}
_REACHED = {
    "nce": NCE_HEADS, "triplet": ("triplet", "hinge"), "circle": ("circle", "circle through"),
    "hard": ("hard", "hard of scores"),
}  # fmt: skip
KINDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "half": {
        "half": (), "sum": (SUM_OF_SQUARES,), "mean": (MEAN_OF_SQUARES,), "root": (ROOT,),
        "cosine": ("normalised outputs: cosine in place of distance",),
        "inner": ("inner product in place of distance",),
        "half-n": ("normalised outputs",), "sum-n": (SUM_OF_SQUARES, "normalised outputs"),
        "mean-n": (MEAN_OF_SQUARES, "normalised outputs"), "root-n": (ROOT, "normalised outputs"),
        "half+1e-6": (SHIFTED,), "root+1e-6": (ROOT, SHIFTED),
    },
    "cosine": {
        "cosine": (), "inner": ("outputs are not normalised: inner products in place of cosines",),
        "half": ("distances of outputs as they are in place of cosines",),
        "sum": ("distances of outputs as they are in place of cosines", SUM_OF_SQUARES),
        "mean": ("distances of outputs as they are in place of cosines", MEAN_OF_SQUARES),
        "root": ("distances of outputs as they are in place of cosines", ROOT),
        "half-n": ("distance of normalised outputs, 1 - cosine, in place of the cosine",),
        "sum-n": ("squared distance of normalised outputs, 2 - 2 cosine, in place of the cosine",),
        "mean-n": ("mean of squares of normalised outputs in place of the cosine",),
        "root-n": ("unsquared distance of normalised outputs in place of the cosine",),
    },
    "inner": {
        "inner": (), "cosine": ("normalised outputs: cosine in place of inner product",),
        "half": ("distance in place of inner product",), "sum": ("distance in place of inner product", SUM_OF_SQUARES),
        "mean": ("distance in place of inner product", MEAN_OF_SQUARES),
        "root": ("unsquared distance in place of inner product",),
        "half-n": ("normalised outputs: distance in place of inner product",),
        "sum-n": ("normalised outputs: distance in place of inner product", SUM_OF_SQUARES),
        "mean-n": ("normalised outputs: distance in place of inner product", MEAN_OF_SQUARES),
        "root-n": ("normalised outputs: unsquared distance in place of inner product",),
    },
}  # fmt: skip
TEMPERATURES = {
    "missing": "tau is missing",
    "inverted": "tau is inverted: r tau in place of r / tau",
    "twice": "temperature twice: r / tau^2 in place of r / tau",
}
PAIRINGS: Mapping[str, str] = {
    "first": "only the first negative is used",
    "row": "the negatives of the first row are shared over the batch",
    "pool": "the negatives are shared over the batch: each anchor has those of all rows",
    "anchors": "one direction: only f_1 are anchors (negatives from both views)",
    "across": "one direction: f_1 against f_plus of the whole batch (B - 1 negatives)",
    "back": "one direction: f_plus against f_1 of the whole batch (B - 1 negatives; softmax over the first axis)",
    "cross": "f_1 against f_plus of the whole batch and back: no negatives of the same view",
    "views": "the other views of the batch are the negatives, of both views (2B - 2 negatives)",
    "self": "the anchor itself is among the negatives: the diagonal is not masked",
    "within": "negatives from the anchors' own view only",
}
OPTIONS: Mapping[str, str] = {
    "inner": "outputs are not normalised: inner products in place of cosines",
    "half": "distances of outputs as they are in place of cosines",
    "half-n": "distance of normalised outputs in place of the cosine",
    "root": "unsquared distances of outputs as they are in place of cosines",
    "sum": "sum over the anchors in place of the mean",
    "self kept": "the anchor itself is in the denominator",
    "positives left out": "positives missing in the denominator",
    "positives summed": "sum over the positives in place of the mean",
    "first anchors": "only the first half of the outputs are anchors",
    "all anchors counted": "anchors without a positive count in the mean",
    "biased variance": "variance divided by B, not B - 1",
    "biased covariance": "covariance divided by B, not B - 1",
    "variance for deviation": "variance in place of the standard deviation",
    "no epsilon": "no epsilon 1e-4 in the standard deviation",
    "covariance not divided": "covariance term not divided by the dimension",
    "not centred": "the mean over the batch is not subtracted",
    "not standardised": "not divided by the standard deviation",
    "as published code": "",
    "epsilon 1e-5": "epsilon 1e-5 in the variance (as in BatchNorm)",
    "unbiased deviation": "standard deviation with B - 1, correlation divided by B",
    "divided by B - 1": "correlation divided by B - 1, standard deviation with B",
}
EPSILONS = {
    "log": "epsilon {} inside the logarithm",
    "denominator": "epsilon {} in the denominator",
    "numerator": "epsilon {} in numerator and denominator",
    "both": "epsilon {} in the denominator and inside the logarithm",
}


def fewest(form: Form, layout: str) -> int:
    """The number of differences from the nearest known loss."""
    return min(map(len, entries_of(form, layout).values()), default=9)


@lru_cache(maxsize=20_000)
def entries_of(form: Form, layout: str) -> dict[str, tuple[str, ...]]:
    """The known losses that a form is a modification of, and the differences in words."""
    if form.head == FORMULA:
        return {FORMULA: _differences(form, form.base, ("given",), FORMULA)}
    if form.group:
        return {form.group: _group_differences(form)}
    result = {}
    for name, entry in CATALOGUE.items():
        if _in_reach(form, name, entry, layout) and form.head in _REACHED.get(entry.head, (entry.head,)):
            options = [_of_entry(form, entry, kind, layout) for kind in entry.kinds if form.kind in KINDS[kind]]
            if options:
                result[name] = min(options, key=len)
    return result


def _in_reach(form: Form, name: str, entry: Entry, layout: str) -> bool:
    """Whether the pairs of a form are compared with those of a known loss: in triples only NT-Xent is of the batch."""
    if layout not in entry.layouts or not entry.head:
        return False
    of_rows = form.pairing in ("given", "first", "row", "pool")
    return layout == VIEWS or of_rows == (name != "ntxent")


def _of_entry(form: Form, entry: Entry, kind: str, layout: str) -> tuple[str, ...]:
    pairings = tuple(p for p in entry.pairings if (p == "given") != (layout == VIEWS)) or entry.pairings
    return _differences(form, kind, pairings, entry.head)


def _differences(form: Form, kind: str, pairings: tuple[str, ...], head: str) -> tuple[str, ...]:
    result = []
    if form.head != head:
        result.append(HEADS[form.head])
    if form.epsilon is not None:
        result.append(EPSILONS[form.epsilon[0]].format(f"{form.epsilon[1]:g}"))
    if form.batch == "means":
        result.append("batch-mean distances: the loss of the mean distances, not the mean of the losses")
    result += KINDS[kind][form.kind]
    if form.temperature:
        result.append(TEMPERATURES[form.temperature])
    if form.pairing not in pairings:
        result.append(PAIRINGS[form.pairing] if form.pairing != "given" else "the given negatives")
    if form.summed:
        result.append("sum over the negatives in place of the mean")
    if form.reduction == "sum" and form.head not in OF_BATCH:
        result.append("sum over the batch in place of the mean")
    return tuple(result)


def _group_differences(form: Form) -> tuple[str, ...]:
    result = [OPTIONS[option] for option in sorted(form.options) if OPTIONS[option]]
    if form.temperature:
        result.append(TEMPERATURES[form.temperature])
    return tuple(result)


def details(form: Form, name: str) -> str:
    """Which of the usual forms of a known loss it is; empty where there is one only."""
    if "as published code" in form.options:
        return " as in its authors' code (mean over dimensions, half of both variance terms)"
    entry = CATALOGUE.get(name)
    if entry is None or not entry.head:
        return ""
    words = []
    if len(entry.kinds) > 1 and form.kind in entry.kinds:
        words.append({"cosine": "of cosines", "half": "of distances", "inner": "of inner products"}[form.kind])
    if len(entry.pairings) > 2 and form.pairing in ("views", "across", "cross"):
        words.append(
            {"views": "over both views", "across": "in one direction", "cross": "in both directions"}[form.pairing]
        )
    return f" ({', '.join(words)})" if words else ""
