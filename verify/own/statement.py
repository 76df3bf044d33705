"""Statements of a user's own, with the same kinds of evidence as the toolkit's statements."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from hltm.base.checks import show
from hltm.base.errors import InputError
from verify.engine.assumptions import Sides, of_measurement
from verify.engine.evidence import Evidence, Kind, Measurement, joined, tally
from verify.engine.statement import Assumption, Check, Context, Statement, Variant
from verify.own.arguments import (
    CLAIM,
    checked_claims,
    checked_side,
    checked_sides,
    checked_text,
    checked_texts,
    checked_tolerance,
    checked_variants,
    guarded_checks,
    guarded_strategy,
)
from verify.own.broken import checked_name, kept_if_broken, slug_of
from verify.own.guard import as_text, described
from verify.own.mutants import mutant_sides
from verify.own.orders import AsymptoticSides, examples, sides_of_order
from verify.own.sides import NOT_APPLICABLE, Relation, Side, UserSides
from verify.own.symbolic import UserClaims, kernel_evidence
from verify.own.tied import SHOWN, TiedClaims, tied_evidence
from verify.own.training import AlongTraining, trained_checks

Measures = Mapping[Kind, Callable[[Any, Any], Measurement]]
# Each makes a Hypothesis strategy; the smallest instances come first.
Stages = Sequence[Callable[[], Any]]


@dataclass(frozen=True)
class Without:
    """What replaces a dropped assumption.

    Parameters
    ----------
    dropped : str
        The replacement in words.
    strategy : Hypothesis strategy, list of strategies, or type
        Instances that break the assumption, of the type of the statement's own; the smallest first.
    necessary : bool
        Whether a counterexample is expected among them.

    Examples
    --------
    >>> from verify.strategies import loss_instances
    >>> Without("two negatives and more", loss_instances(max_negatives=3)).necessary
    True
    """

    dropped: str
    strategy: Any
    necessary: bool = True


@kept_if_broken
def user_statement(
    *,
    title: str,
    claim: str,
    theory: Side,
    numeric: Side,
    strategy: Any,
    variants: Mapping[str, Side] | Sequence[Variant],
    assumptions: Sequence[str] = (),
    not_covered: Sequence[str] = (),
    source: str = "",
    slug: str | None = None,
    exact: Side | None = None,
    symbolic: Callable[[], Any] | None = None,
    values: Callable[..., Any] | None = None,
    tolerance: float | Callable[[Any], float] | None = None,
    relation: Relation = "==",
    standard_error: Side | None = None,
    order: float | None = None,
    in_: str | None = None,
    trained: AlongTraining | Sequence[AlongTraining] = (),
    checks: Sequence[Check] = (),
    drops: Mapping[str, Without] | Sequence[Assumption] = (),
) -> Statement:
    """A statement of a user's own, for ``python -m verify run FILE``.

    Parameters
    ----------
    title, claim : str
        One line of words, and the statement in LaTeX.
    theory, numeric : callable ``(instance, at) -> arrays``
        What the statement predicts, and what is measured: an array, a list or a mapping of arrays (NumPy or torch),
        made with ``at.array`` and ``at.tensor`` (`Arithmetic`). None: the side does not apply to the instance.
    strategy : Hypothesis strategy, list of strategies, or type
        Source of instances; a list is tried in order, smallest first, a type is looked up by
        ``hypothesis.strategies.from_type``. Instances have ``as_json`` and ``from_json`` (`JsonInstance`, or the
        instances of our own statements).
    variants : mapping of names to callables, or list of Variant
        False statements that must be refuted: other theory sides. Without any, the verdict is "abstained".
    assumptions, not_covered, source
        As in `Statement`.
    slug : str, optional
        Canonical name; by default made of the title.
    exact : callable ``(instance, at) -> arrays``, optional
        The measured quantity in rationals; `theory` computes its side with ``at.exact``. Any difference refutes.
    symbolic : callable, optional
        Returns what must be proved: an equation (``sympy.Eq``, of scalars or matrices), an inequality, a
        `theory.PositiveSemidefinite`, a `theory.Derivation`, or a list or mapping of them.
    values : callable ``(instance, at) -> mapping`` or ``(instance) -> mapping``, optional
        Ties the claims of `symbolic` to the sides: what their symbols (or names of symbols) are on an instance, arrays
        made with `at` or plain numbers. On drawn instances the relations must hold, and the claim that has the name of
        an array of the sides, or the only claim where they give one array, must have the numeric side on its left and
        the theory side on its right. Sizes of matrices are read from their arrays.
    tolerance : float or callable of the instance, optional
        Largest difference of the float sides; by default it is measured for every entry, by noise in the arithmetic.
    relation : {"==", "<=", ">="}
        What the theory side is to the numeric side, entry by entry.
    standard_error : callable ``(instance, at) -> arrays``, optional
        Standard errors of the entries of the numeric side, where that side draws (with a seed of its own). A
        difference of more than 7.2 of them refutes.
    order, in_ : float and str, optional
        The statement is ``theory - numeric = O(s^order)`` as the field `in_` = s of the instances goes to zero, the
        rest of an instance fixed. Each instance starts a sequence of s at its own value, which must not be 0.
    trained : AlongTraining or list of AlongTraining, optional
        Trained evidence: see `along_training`.
    checks : list of Check, optional
        Further evidence.
    drops : mapping of assumptions to `Without`, or list of Assumption, optional
        Assumptions that are dropped in turn: instances that break one, and whether a counterexample is expected.

    Errors
    ------
    InputError
        A name that is not allowed, a side that is no function, instances that cannot be saved and read back.

    Examples
    --------
    >>> from hypothesis import strategies as st
    >>> from verify import JsonInstance, user_statement
    >>> from verify.strategies import loss_instances
    >>> double = user_statement(
    ...     title="a distance twice", claim="r + r = 2 r", strategy=loss_instances(),
    ...     theory=lambda i, at: 2 * at.array(i.r_pos), numeric=lambda i, at: at.array(i.r_pos) + at.array(i.r_pos),
    ...     variants={"thrice": lambda i, at: 3 * at.array(i.r_pos)},
    ... )
    >>> double.slug, [check.kind for check in double.checks]
    ('a-distance-twice', ['float', 'property'])
    """
    checked_text(title, "title", empty=False)
    name = slug if slug is not None else slug_of(title)
    checked_name(name, "slug")
    checked_sides(theory, numeric, exact, name)
    checked_tolerance(tolerance, standard_error, name)
    checked_claims(symbolic, name)
    kind = type_of_instances(stages_of(strategy, name)[0](), name)
    stages = checked_stages(strategy, name, kind)
    sides = UserSides(name, theory, numeric, exact, tolerance, relation, standard_error)
    if order is not None or in_ is not None:
        sides = sides_of_order(sides, order, in_, kind)
    measures: Measures = {**({} if exact is None else {"exact": sides.measure_exact}), "float": sides.measure_float}
    mutants = variants_of(variants, tuple(measures), name)
    named = checked_texts(assumptions, f"assumptions of statement {name!r}")
    assumed = list(drops) if isinstance(drops, Mapping) else []
    checked_variants(mutants, theory, name)
    return Statement(
        slug=name,
        theorem=None,
        title=title,
        stated=checked_text(claim, f"claim of statement {name!r}", CLAIM, lines=True),
        assumptions=checked_texts([*named, *assumed], f"drops of statement {name!r}"),
        not_covered=checked_texts(not_covered, f"not_covered of statement {name!r}"),
        source=checked_text(source, f"source of statement {name!r}", CLAIM, lines=True),
        checks=(
            *standard_checks(sides, stages, symbolic, values),
            *trained_checks(trained, sides, mutants, kind),
            *guarded_checks(checks, name),
        ),
        stages=stages,
        measures=measures,
        instance_type=kind,
        variants=mutant_sides(mutants),
        drops=assumptions_of(drops, measures, name, kind),
    )


def stages_of(strategy: Any, name: str, kind: type | None = None) -> tuple[Callable[[], Any], ...]:
    """The strategies of a statement as stages; `kind` is the type that their instances must have."""
    from hypothesis import strategies as st

    argument = list(strategy) if isinstance(strategy, list | tuple) else [strategy]
    if any(isinstance(item, type) for item in argument):
        import verify.strategies  # noqa: F401  # registers the types of our own instances
    result = [st.from_type(item) if isinstance(item, type) else item for item in argument]
    for item in result:
        if not isinstance(item, st.SearchStrategy):
            raise InputError(f"strategy={item!r:.40} of statement {name!r}: must be a Hypothesis strategy or a type")
    if not result:
        raise InputError(f"strategy of statement {name!r}: must not be empty")
    return tuple(partial(_itself, guarded_strategy(item, name, kind)) for item in result)


def checked_stages(strategy: Any, name: str, kind: type) -> tuple[Callable[[], Any], ...]:
    """The strategies as stages; InputError where one gives no instance, or one of another type."""
    stages = stages_of(strategy, name, kind)
    for stage in stages:
        first_instance(stage(), name)
    return stages


def _itself(strategy: Any) -> Any:
    return strategy


def draw_instances(strategy: Any, count: int, seed: int) -> list[Any]:
    """Up to `count` instances of a strategy, a function of the seed."""
    from verify.engine.search import search

    instances: list[Any] = []

    def keep(instance: Any) -> Measurement:
        instances.append(instance)
        return Measurement(0.0, 0.0)

    search(strategy, keep, examples=count, seed=seed, shrink=False)
    return instances


def first_instance(strategy: Any, name: str) -> Any:
    """An instance of the strategy; InputError where there is none."""
    import hypothesis
    from hypothesis.errors import NoSuchExample, Unsatisfiable

    options = hypothesis.settings(
        database=None, suppress_health_check=list(hypothesis.HealthCheck), phases=[hypothesis.Phase.generate]
    )
    try:
        return hypothesis.find(strategy, lambda _: True, settings=options, random=random.Random(0))  # noqa: S311
    except (NoSuchExample, Unsatisfiable):
        raise InputError(f"strategy of statement {name!r}: gives no instance") from None


def type_of_instances(strategy: Any, name: str) -> type:
    """The type of the instances; InputError if one of them cannot be saved and read back."""
    example = first_instance(strategy, name)
    kind = type(example)
    place = f"instances of statement {name!r}, of type {kind.__name__}"
    if not (hasattr(kind, "as_json") and hasattr(kind, "from_json")):
        raise InputError(f"{place}: must have as_json and from_json (verify.JsonInstance gives both)")
    try:
        data = example.as_json()
        again = kind.from_json(json.loads(json.dumps(data, allow_nan=False)))
        same = json.loads(json.dumps(again.as_json())) == json.loads(json.dumps(data))
    except Exception as error:  # as_json and from_json are the user's own
        raise InputError(f"{place}: cannot be saved as JSON and read back: {described(error)}") from None
    if not same:
        raise InputError(f"{place}: from_json(as_json()) gives another instance")
    return kind


def variants_of(
    variants: Mapping[str, Side] | Sequence[Variant], kinds: tuple[Kind, ...], name: str
) -> tuple[Variant, ...]:
    """The mutants; one that is a plain function must be refuted by every kind of evidence."""
    if isinstance(variants, Mapping):
        result = []
        for key, side in variants.items():
            checked_side(side, f"variant {key!r} of statement {name!r}")
            change = next(iter(str(getattr(side, "__doc__", None) or "").strip().splitlines()), "") or str(key)
            result.append(Variant(key, change, side, kinds))
    elif isinstance(variants, str | bytes) or not isinstance(variants, Sequence):
        raise InputError(f"variants={show(variants)} of statement {name!r}: must be a mapping of names to functions")
    else:
        result = list(variants)
    for variant in result:
        if not isinstance(variant, Variant):
            raise InputError(f"variant={variant!r:.40} of statement {name!r}: must be a verify.Variant")
        checked_name(variant.name, f"name of a variant of statement {name!r}")
        if not variant.caught_by or not all(kind in kinds for kind in variant.caught_by):
            allowed = ", ".join(kinds)
            raise InputError(f"caught_by={variant.caught_by} of variant {variant.name!r}: must be among {allowed}")
    names = [variant.name for variant in result]
    for key in names:
        if names.count(key) > 1:
            raise InputError(f"variant={key!r} of statement {name!r}: is there twice, names must differ")
    return tuple(result)


def standard_checks(
    sides: UserSides, stages: Stages, symbolic: Callable[[], Any] | None, values: Callable[..., Any] | None = None
) -> tuple[Check, ...]:
    """Symbolic and exact evidence where the statement has such a side, float and property evidence always."""
    rows = []
    if symbolic is not None:
        claims = UserClaims(sides.slug, symbolic)
        rows.append(Check("symbolic", "proof", claims.evidence))
        rows.append(Check("kernel", "identities", partial(kernel_evidence, claims)))
        if values is not None:
            tied = TiedClaims(sides, claims, values)
            claims.tied = partial(tied.summary, lambda: draw_instances(stages[-1](), SHOWN, 0))
            rows.append(Check("float", "claim", partial(claim_evidence, tied, stages)))
    elif values is not None:
        raise InputError(f"values= of statement {sides.slug!r}: needs symbolic=, whose symbols it gives values")
    if sides.exact is not None:
        rows.append(Check("exact", "drawn", partial(exact_evidence, sides, stages)))
    rows.append(Check("float", "drawn", partial(float_evidence, sides, stages)))
    rows.append(Check("property", "search", partial(property_evidence, sides, stages)))
    return tuple(rows)


def claim_evidence(tied: TiedClaims, stages: Stages, context: Context) -> Evidence:
    """The symbolic claims at the values of instances of the last stage."""
    count = context.pick(quick=12, thorough=100)
    return tied_evidence(tied, draw_instances(stages[-1](), count, context.seed + 4))


def float_evidence(sides: UserSides, stages: Stages, context: Context) -> Evidence:
    """Instances of the last stage in float64."""
    count = examples(sides, context.pick(quick=40, thorough=600))
    instances = draw_instances(stages[-1](), count, context.seed + 1)
    measure = Remembering(sides, context.device)
    words = joined(in_words(sides, "numeric", "float64"), tolerance_in_words(sides))
    found = tally("float", "drawn", instances, measure, at_least=max(1, len(instances) // 2), detail=words)
    return measure.explained(found)


class Remembering:
    """The float measure of a user's sides, which keeps the first instance that it cannot decide."""

    def __init__(self, sides: UserSides, device: str) -> None:
        self.sides, self.device = sides, device
        self.undecided: Any = None

    def __call__(self, instance: Any) -> Measurement:
        result = self.sides.measure_float(instance, device=self.device)
        if self.undecided is None and result.status == "abstained" and result is not NOT_APPLICABLE:
            self.undecided = instance
        return result

    def explained(self, evidence: Evidence) -> Evidence:
        """The evidence, with the number that kept the first undecided instance from being decided."""
        if self.undecided is None or evidence.status == "refuted":
            return evidence
        reason = self.sides.explain(self.undecided, device=self.device)
        return replace(evidence, detail=joined(evidence.detail, f"first undecided: {reason}" if reason else ""))


def in_words(sides: UserSides, other: str, numbers: str) -> str:
    """The relation of the sides in words."""
    if isinstance(sides, AsymptoticSides):
        return f"theory side - {other} side = O({sides.in_}^{sides.order:g}) in {numbers}"
    return f"theory side {'=' if sides.relation == '==' else sides.relation} {other} side in {numbers}"


def tolerance_in_words(sides: UserSides) -> str:
    """Where the tolerance of the float sides comes from."""
    if sides.standard_error is not None:
        return "tolerance from the standard errors that were given"
    return "tolerance measured" if sides.tolerance is None else "tolerance as given"


def exact_evidence(sides: UserSides, stages: Stages, context: Context) -> Evidence:
    """Instances of the last stage in rationals, those that the exact side covers."""
    count = examples(sides, context.pick(quick=40, thorough=600))
    instances = draw_instances(stages[-1](), count, context.seed + 2)
    return tally(
        "exact", "drawn", instances, sides.measure_exact,
        at_least=1, detail=in_words(sides, "exact", "rationals"),
    )  # fmt: skip


def property_evidence(sides: UserSides, stages: Stages, context: Context) -> Evidence:
    """Search for a counterexample and shrink it."""
    from verify.engine import search

    measure = Remembering(sides, context.device)
    kinds: dict[Kind, Callable[[Any], Measurement]] = {}
    if sides.exact is not None:
        kinds["exact"] = sides.measure_exact
    kinds["float"] = measure
    found = search.property_evidence(
        kinds, stages, examples=examples(sides, context.pick(quick=100, thorough=2000)), seed=context.seed,
        part=context.part,
        among="the instances of the strategy",
    )  # fmt: skip
    return measure.explained(found) if found.abstained else found


def assumptions_of(
    drops: Mapping[str, Without] | Sequence[Assumption], measures: Measures, name: str, kind: type
) -> tuple[Assumption, ...]:
    """The assumptions of a statement, each with a way of dropping it; InputError where one is of another kind."""
    if isinstance(drops, Mapping):
        result = []
        for assumed, without in drops.items():
            if not isinstance(without, Without):
                raise InputError(f"drops[{assumed!r:.40}]={without!r:.40} of statement {name!r}: must be a Without")
            tries = partial(sides_without, dict(measures), checked_stages(without.strategy, name, kind))
            words = checked_text(without.dropped, f"what stands in the place of {assumed!r:.40}", CLAIM, lines=True)
            result.append(Assumption(assumed, words, tries, bool(without.necessary)))
        return tuple(result)
    for assumption in drops:
        if not isinstance(assumption, Assumption):
            raise InputError(f"drops of statement {name!r}: {assumption!r:.40} must be a verify.Assumption")
    return tuple(drops)


def sides_without(measures: Measures, stages: Stages, context: Context) -> Iterator[Sides]:
    """Both sides on instances without the assumption; the first that refutes is shrunk, and is the last."""
    from verify.engine.search import deepening

    rows: list[Sides] = []

    def measure(instance: Any) -> Measurement:
        results = [(kind, function(instance, None)) for kind, function in measures.items()]
        kind, worst = max(results, key=lambda row: (row[1].status != "abstained", row[1].severity))
        rows.append(of_measurement(worst, as_text(instance), f"theory - numeric, {kind}"))
        return worst

    examples = context.pick(quick=60, thorough=1000)
    result = deepening(stages, measure, examples=examples, seed=context.seed)
    # Shrinking tries refuted and other instances in turn: only those before the first refutation count as tried.
    yield from itertools.takewhile(lambda sides: sides.status != "refuted", rows)
    if result.instance is not None:
        measure(result.instance)
        yield rows[-1]
