"""Compare a torch function with the known losses or with a formula, up to a factor.

The function is compared on batches that differ in size, width, scale and number of negatives, among them single
samples, wide and far outputs: values first, then the gradients with respect to every output. A factor that is fitted
has to explain every batch to rounding, so that a sum over the batch or a mean over dimensions is not mistaken for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numeric
from hltm.base.checks import integer, show
from hltm.base.errors import InputError
from verify.engine import html
from verify.loss.batches import Layout, batches
from verify.loss.calls import LossFunction, Noise, answers, conduct, parameters_of, precision, written_into
from verify.loss.catalogue import CATALOGUE, FORMULA, LABELS, TITLES, TRIPLES, VIEWS, forms, known_forms, of_formula
from verify.loss.faults import PAIRINGS
from verify.loss.formula import Formula
from verify.loss.matching import matches
from verify.loss.observed import Match, Observed
from verify.loss.pairs import PARAMETERS, Setting
from verify.loss.wording import Findings, closest, counterexample, described, findings, scope_of, title_with_details


@dataclass(frozen=True)
class Conformance:
    """The known loss that a function computes, and how it differs from it.

    Attributes
    ----------
    loss : str or None
        The known loss that it equals or is closest to in modifications ("infonce", ...), or "formula"; None where
        nothing fits, or nothing is decided.
    factor : float or None
        The function is this factor times that form.
    differences : tuple of str
        Differences from the loss, those of gradients included; empty where the function equals it up to the factor
        and an additive constant.
    also : tuple of str
        Descriptions in terms of other known losses.
    counterexample : tuple of two str, or None
        Two batches and the values (or norms of gradients) there: where the function differs from the loss.
    tau, margin : float
        Temperature and ``r_0`` of the known losses.
    constant : float
        Constant that the function adds to the known loss.
    notes : tuple of str
        Differences that do not make it another loss: a constant, single precision.
    warnings : tuple of str
        Faults of floating point or of conduct: overflow, errors for some sizes, writes into an argument.
    scope : str
        The batches on which it was compared, and the resolution of the comparison.
    title : str
        The loss in words.

    Examples
    --------
    >>> result = Conformance("infonce", 2.0, (), (), None, tau=0.1, margin=0.0)
    >>> result.equal
    True
    """

    loss: str | None
    factor: float | None
    differences: tuple[str, ...]
    also: tuple[str, ...]
    counterexample: tuple[str, str] | None
    tau: float
    margin: float
    constant: float = 0.0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    scope: str = ""
    title: str = ""

    @property
    def equal(self) -> bool:
        """Whether the function is a positive factor times a known loss, up to a constant, with the gradients of it."""
        return self.loss is not None and not self.differences

    def _repr_html_(self) -> str:
        return "".join(f"<div>{html.escaped(line)}</div>" for line in str(self).splitlines())

    def __str__(self) -> str:
        setting = f"tau = {self.tau:g}, r_0 = {self.margin:g}"
        title = self.title or ("the formula" if self.loss == FORMULA else TITLES.get(self.loss or "", ""))
        if self.loss is None:
            lines = [f"  - {difference}" for difference in self.differences]
            first = title or "no known loss, with none of the modifications that are tried"
            lines.insert(0, f"{first} ({setting})")
        elif self.equal:
            lines = [f"{title} times {self.factor:.10g} ({setting})"]
        else:
            factor = "" if self.factor is None else f", factor {self.factor:.10g}"
            lines = [f"differs from {title} ({setting}){factor}:"]
            lines += [f"  - {difference}" for difference in self.differences]
        lines += [f"the same function is {other}" for other in self.also]
        lines += self.notes
        lines += [f"warning: {warning}" for warning in self.warnings]
        lines += self.counterexample or ()
        return "\n".join([*lines, self.scope] if self.scope else lines)


def conformance(
    loss_fn: LossFunction,
    *,
    tau: float = 0.1,
    margin: float = 0.0,
    negatives: int | None = None,
    against: str = "infonce",
    seed: int = 0,
    views: int | None = None,
    labels: bool = False,
    parameters: Mapping[str, float] | None = None,
) -> Conformance:
    """Compare a loss function with the known losses, or with a formula.

    Parameters
    ----------
    loss_fn : callable
        A function of float64 tensors that gives a real scalar:

        * ``loss_fn(f_1, f_plus, f_minus)`` of shapes ``(B, n)``, ``(B, n)`` and ``(B, n)`` (or ``(B, H, n)``);
        * ``loss_fn(z1, z2)``, two views ``(B, n)`` of a batch, each the negatives of the others;
        * ``loss_fn(z, labels)`` or ``loss_fn(z1, z2, labels)`` with `labels`, integers ``(B,)``.

        Which of the first two it is follows from the number of its positional parameters without a default.
    tau, margin : float
        Temperature and ``r_0`` of the known losses. Where none of them fits, the temperature is fitted, and is one
        of the differences.
    negatives : int, optional
        H; without it ``f_minus`` has no axis of negatives. Other numbers are tried too.
    against : str
        Known loss to prefer where several fit equally well, and to give the counterexample where none does; or a
        formula in ``r_p``, ``r_1``, ... (or cosines ``s_p``, ``s_1``, ...), ``tau`` and ``r_0``, of which the
        function is the mean over the batch.
    seed : int
        Of the batches.
    views : int, optional
        2 for ``loss_fn(z1, z2)`` and ``loss_fn(z1, z2, labels)``, 1 for ``loss_fn(z, labels)``, where the signature
        does not say.
    labels : bool
        Whether the last argument are labels.
    parameters : mapping, optional
        Parameters of the known losses (``tau_plus`` 0.1, ``beta`` 1, ``bias`` -10, ``gamma`` 80, ``relaxation`` 0.25,
        ``invariance`` 25, ``variance`` 25, ``covariance`` 1, ``off_diagonal`` 0.005), or of the formula.

    Returns
    -------
    Conformance

    Raises
    ------
    InputError
        `loss_fn` is not callable, raises, or gives no finite real scalar; a parameter is not allowed.

    Source
    ------
    Statement 2; arXiv 2010.00578, Theorem 2; the papers of the other losses are named in the how-to page.

    Examples
    --------
    >>> def twice(f_1, f_plus, f_minus):
    ...     return ((f_1 - f_plus) ** 2).sum(-1).mean() - ((f_1 - f_minus) ** 2).sum(-1).mean()
    >>> print(conformance(twice))  # doctest: +ELLIPSIS
    the simple loss times 2 (tau = 0.1, r_0 = 0)
    compared on 40 batches: B 1 to 16, n 1 to 128, distances up to ..., logits up to ...; resolution ...
    >>> def halved(f_1, f_plus, f_minus):
    ...     return ((f_1 - f_plus) ** 2).sum(-1).mean() / 2
    >>> conformance(halved, against="r_p").equal
    True
    """
    at = _setting(tau, margin, parameters)
    formula = _formula(against, parameters, margin)
    layout = _layout(loss_fn, negatives, views, labels, formula)
    drawn = batches(layout, at.tau**0.5, integer(seed, "seed", 0))
    if formula is not None:
        drawn = [batch for batch in drawn if batch.negatives == (layout.negatives or 1)]
    first = answers(loss_fn, drawn)
    exact = precision(loss_fn, drawn, first)
    seen = Observed(layout, drawn, first, exact, at, Noise(loss_fn, drawn, first, exact.name))
    state = conduct(loss_fn, drawn, first)
    scope = scope_of(seen, None)
    if state:
        return Conformance(None, None, (state,), (), None, at.tau, margin, scope=scope, title="not a function")
    writes = written_into(loss_fn, drawn[1]) or next((a.written for a in first if a.written), ())
    warnings = tuple(f"writes into its argument {name}" for name in writes)
    if exact.name == "half":
        note = "not decided: the function rounds to half precision, which hides what would be compared"
        return Conformance(None, None, (), (), None, at.tau, margin, 0.0, (note,), warnings, scope, "not decided")
    return _concluded(_ranked(seen, formula, against), seen, formula, against, warnings)


def _ranked(seen: Observed, formula: Formula | None, against: str) -> list[Match]:
    """The matches, best first; of a formula those of the formula first."""
    result = [] if formula is None else matches(seen, list(forms(seen.layout.kind, formula)))
    if not result:
        result = matches(seen, known_forms(seen.layout.kind))
    elif formula is not None:
        result += matches(seen, known_forms(seen.layout.kind))[:1] if not result[0].differences else []
    order = list(CATALOGUE)
    result.sort(
        key=lambda m: (
            m.loss != FORMULA, len(m.wrong) > 0, len(m.differences), m.loss != against,
            order.index(m.loss) if m.loss in order else 0,
        )
    )  # fmt: skip
    return result


def _concluded(
    ranked: Sequence[Match], seen: Observed, formula: Formula | None, against: str, warnings: tuple[str, ...]
) -> Conformance:
    """The best match in words, with the differences of its gradients."""
    tau, margin = seen.at.tau, seen.at.parameters["margin"]
    if not ranked:
        target = of_formula(formula) if formula is not None else None
        near = closest(seen, target, against)
        notes = (near,) if near else ()
        lines = counterexample(seen, target, against)
        if _blurred(seen):
            notes = ("not decided: rounding of the function changes most of its values by more than a thousandth",)
            return Conformance(
                None, None, (), (), None, tau, margin, 0.0, notes, warnings, scope_of(seen, None), "not decided"
            )
        title = "neither the formula nor a known loss, with none of the modifications that are tried" if formula else ""
        return Conformance(None, None, (), (), lines, tau, margin, 0.0, notes, warnings, scope_of(seen, None), title)
    best, others = ranked[0], [m for m in ranked[1:] if not m.wrong]
    if formula is not None and best.loss != FORMULA:
        also = tuple(described(match) for match in ranked[:3] if not match.wrong)
        target = of_formula(formula)
        lines = counterexample(seen, target, against)
        another = ("another function than the formula, with none of the modifications that are tried",)
        return Conformance(FORMULA, None, another, also, lines, tau, margin, 0.0, (), warnings, scope_of(seen, None))
    said: Findings = findings(best, seen)
    also = tuple(dict.fromkeys(described(match) for match in others if _worth_saying(match, best)))[:4]
    return Conformance(
        best.loss, best.factor, (*best.differences, *said.differences), also, said.counterexample, tau, margin,
        best.constant, said.notes, (*warnings, *said.warnings), scope_of(seen, best), title_with_details(best),
    )  # fmt: skip


def _blurred(seen: Observed) -> bool:
    """Whether many generic values are mostly rounding."""
    generic = [i for i, batch in enumerate(seen.batches) if batch.generic]
    blurred = [i for i in generic if not 1e3 * seen.precision.values[i] <= abs(seen.values[i])]
    return 3 * len(blurred) > len(generic)


def _worth_saying(match: Match, best: Match) -> bool:
    """Whether another description is as simple, or has one difference that is none of the pairs."""
    if len(match.differences) <= len(best.differences):
        return True
    return len(match.differences) == 1 and match.differences[0] not in PAIRINGS.values()


def _setting(tau: float, margin: float, parameters: Mapping[str, float] | None) -> Setting:
    spec = numeric.loss_spec("triplet", tau=tau, margin=margin)
    given = dict(parameters or {})
    for name, number in given.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) < float("inf"):
            raise InputError(f"parameters[{name!r}]={show(number)} of conformance: must be a finite number")
    if not 0 <= given.get("tau_plus", 0.0) < 1:
        raise InputError(f"parameters['tau_plus']={given['tau_plus']!r} of conformance: must lie in [0, 1)")
    return Setting(spec.tau, {**PARAMETERS, **{k: float(v) for k, v in given.items()}, "margin": spec.margin})


def _formula(against: Any, parameters: Mapping[str, float] | None, margin: float) -> Formula | None:
    if against in TITLES:
        return None
    if not isinstance(against, str) or (against.isidentifier() and against not in ("r_p", "s_p")):
        raise InputError(
            f"against={show(against)} of conformance: must be one of {', '.join(TITLES)}, or a formula in r_p, r_1, ..."
        )
    return Formula(against, parameters or {})


def _layout(loss_fn: Any, negatives: int | None, views: int | None, labels: bool, formula: Formula | None) -> Layout:
    """What the function takes, from what is given and from its signature."""
    if not callable(loss_fn):
        raise InputError(f"loss_fn={loss_fn!r:.60} of conformance: must be callable")
    if views not in (None, 1, 2):
        raise InputError(f"views={show(views)} of conformance: must be 1 or 2")
    count = None if negatives is None else integer(negatives, "negatives", 1)
    taken = parameters_of(loss_fn)
    if labels:
        if count is not None or formula is not None:
            raise InputError("labels beside negatives or a formula: conformance takes one of them")
        if views is None and taken not in (2, 3):
            raise InputError(f"views of conformance with labels: must be given, the function takes {taken} arguments")
        return Layout(LABELS, None, views or (1 if taken == 2 else 2))
    if views == 1:
        raise InputError("views=1 of conformance: needs labels=True")
    if views == 2 or (count is None and formula is None and taken == 2):
        if count is not None or formula is not None:
            raise InputError("views=2 beside negatives or a formula: conformance takes one of them")
        return Layout(VIEWS)
    if formula is not None and formula.negatives > (count or 1):
        if count is not None:
            raise InputError(f"negatives={count} of conformance: the formula has {formula.negatives}")
        count = formula.negatives
    return Layout(TRIPLES, count)


__all__ = ["Conformance", "conformance"]
