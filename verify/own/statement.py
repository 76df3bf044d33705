"""Statements of a user's own, with the same kinds of evidence as the toolkit's statements."""

from __future__ import annotations

import itertools
import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hltm.base.errors import InputError
from verify.engine.assumptions import Sides, of_measurement
from verify.engine.evidence import Evidence, Kind, Measurement, joined, tally
from verify.engine.statement import Assumption, Check, Context, Statement, Variant
from verify.own.orders import examples, sides_of_order
from verify.own.mutants import mutant_sides
from verify.own.sides import Side, UserSides, as_text
from verify.own.symbolic import UserClaims, kernel_evidence
from verify.own.tied import SHOWN, TiedClaims, tied_evidence
from verify.own.training import AlongTraining, trained_checks

if TYPE_CHECKING:
    pass

NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
LONGEST = 60

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
        Largest difference of the float sides; by default it is measured with float32 probes.
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
    name = slug if slug is not None else re.sub(r"[^a-z0-9]+", "-", str(title).lower()).strip("-")[:LONGEST].strip("-")
    checked_name(name, "slug")
    for role, side in (("theory", theory), ("numeric", numeric)):
        checked_side(side, f"{role} of statement {name!r}")
    stages = stages_of(strategy, name)
    kind = type_of_instances(stages[0](), name)
    sides = UserSides(name, theory, numeric, exact, tolerance)
    if order is not None or in_ is not None:
        sides = sides_of_order(sides, order, in_, kind)
    measures: Measures = {"float": sides.measure_float}
    if exact is not None:
        checked_side(exact, f"exact of statement {name!r}")
        measures = {"exact": sides.measure_exact, **measures}
    mutants = variants_of(variants, tuple(measures), name)
    return Statement(
        slug=name,
        theorem=None,
        title=str(title),
        stated=str(claim),
        assumptions=tuple(dict.fromkeys(map(str, [*assumptions, *(drops if isinstance(drops, Mapping) else ())]))),
        not_covered=tuple(map(str, not_covered)),
        source=str(source),
        checks=(
            *standard_checks(sides, stages, symbolic, values),
            *trained_checks(trained, sides, mutants, kind),
            *checks,
        ),
        stages=stages,
        measures=measures,
        instance_type=kind,
        variants=mutant_sides(mutants),
        drops=assumptions_of(drops, measures, name),
    )


def checked_name(name: Any, place: str) -> None:
    """Refuse a name that cannot be part of a file name."""
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > LONGEST:
        raise InputError(f"{place}={name!r:.80}: must be lower-case words with hyphens, at most {LONGEST} characters")


def checked_side(side: Any, place: str) -> None:
    """Refuse a side that is not callable."""
    if not callable(side):
        raise InputError(f"{place}={side!r:.40}: must be a function of (instance, at)")


def stages_of(strategy: Any, name: str) -> tuple[Callable[[], Any], ...]:
    """The strategies of a statement as stages."""
    from hypothesis import strategies as st

    import verify.strategies  # noqa: F401  # registers the types of our own instances

    argument = list(strategy) if isinstance(strategy, list | tuple) else [strategy]
    result = [st.from_type(item) if isinstance(item, type) else item for item in argument]
    for item in result:
        if not isinstance(item, st.SearchStrategy):
            raise InputError(f"strategy={item!r:.40} of statement {name!r}: must be a Hypothesis strategy or a type")
    if not result:
        raise InputError(f"strategy of statement {name!r}: must not be empty")
    return tuple(partial(_itself, item) for item in result)


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


def type_of_instances(strategy: Any, name: str) -> type:
    """The type of the instances; InputError if one of them cannot be saved and read back."""
    import hypothesis

    example = hypothesis.find(
        strategy,
        lambda _: True,
        settings=hypothesis.settings(database=None, suppress_health_check=list(hypothesis.HealthCheck)),
        random=random.Random(0),  # noqa: S311
    )
    kind = type(example)
    place = f"instances of statement {name!r}, of type {kind.__name__}"
    if not (hasattr(kind, "as_json") and hasattr(kind, "from_json")):
        raise InputError(f"{place}: must have as_json and from_json (verify.JsonInstance gives both)")
    try:
        data = example.as_json()
        again = kind.from_json(json.loads(json.dumps(data, allow_nan=False)))
        same = json.loads(json.dumps(again.as_json())) == json.loads(json.dumps(data))
    except (TypeError, ValueError) as error:
        raise InputError(f"{place}: cannot be saved as JSON and read back: {error}") from None
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
            change = (getattr(side, "__doc__", None) or str(key)).strip().splitlines()[0]
            result.append(Variant(key, change, side, kinds))
    else:
        result = list(variants)
    for variant in result:
        if not isinstance(variant, Variant):
            raise InputError(f"variant={variant!r:.40} of statement {name!r}: must be a verify.Variant")
        checked_name(variant.name, f"name of a variant of statement {name!r}")
        if not variant.caught_by or not set(variant.caught_by) <= set(kinds):
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
    return tally(
        "float", "drawn", instances, partial(sides.measure_float, device=context.device),
        at_least=max(1, len(instances) // 2),
        detail=joined("theory side = numeric side in float64", tolerance_in_words(sides)),
    )  # fmt: skip


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
        at_least=1, detail="theory side = exact side in rationals",
    )  # fmt: skip


def property_evidence(sides: UserSides, stages: Stages, context: Context) -> Evidence:
    """Search for a counterexample and shrink it."""
    from verify.engine import search

    kinds: dict[Kind, Callable[[Any], Measurement]] = {}
    if sides.exact is not None:
        kinds["exact"] = sides.measure_exact
    kinds["float"] = partial(sides.measure_float, device=context.device)
    return search.property_evidence(
        kinds, stages, examples=examples(sides, context.pick(quick=100, thorough=2000)), seed=context.seed,
        part=context.part,
        among="the instances of the strategy",
    )  # fmt: skip


def assumptions_of(
    drops: Mapping[str, Without] | Sequence[Assumption], measures: Measures, name: str
) -> tuple[Assumption, ...]:
    """The assumptions of a statement, each with a way of dropping it; InputError where one is of another kind."""
    if isinstance(drops, Mapping):
        result = []
        for assumed, without in drops.items():
            if not isinstance(without, Without):
                raise InputError(f"drops[{assumed!r:.40}]={without!r:.40} of statement {name!r}: must be a Without")
            tries = partial(sides_without, dict(measures), stages_of(without.strategy, name))
            result.append(Assumption(str(assumed), str(without.dropped), tries, bool(without.necessary)))
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
