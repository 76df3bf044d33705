"""Search for counterexamples with Hypothesis, and shrink them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, Phase, find, settings
from hypothesis.errors import NoSuchExample, Unsatisfiable

from verify.engine.coverage import Coverage
from verify.engine.evidence import Evidence, Kind, Measurement, counted, joined, named

if TYPE_CHECKING:
    from verify.engine.statement import Context, Part

BATCH = 10  # examples before Hypothesis mutates what it has drawn
SEEDS = 2**64  # between the seeds of two parts of a search


@dataclass(frozen=True)
class SearchResult:
    """The smallest refuting instance (None without one), and how many instances were tried."""

    instance: Any
    tried: int
    undecided: int


def search(
    strategy: Any,
    measure: Callable[[Any], Measurement],
    *,
    examples: int,
    seed: int,
    shrink: bool = True,
    smaller: Sequence[Any] = (),
) -> SearchResult:
    """Search for an instance that `measure` refutes and shrink it.

    A quarter of the examples comes from the strategies of `smaller` instances, if there are any: what is rare among
    large instances can be common among small ones. From its eleventh instance on, Hypothesis mutates what it has drawn,
    which keeps most sizes as they are. So the other examples are drawn in batches that are too short for that, each
    with a seed of its own.
    """
    tried = undecided = empty = 0
    known: set[Any] = set()
    firsts = [*smaller] or [strategy]
    for batch in range(len(firsts) + 1 + 2 * examples // BATCH):
        first = batch < len(firsts)
        count = -(-examples // (4 * len(firsts))) if first else examples - tried
        result = searched_once(
            firsts[batch] if first else strategy,
            measure,
            count,
            max(count, BATCH) if first else BATCH,
            f"{seed} {batch}" if batch else seed,
            shrink,
            known,
        )
        tried, undecided = tried + result.tried, undecided + result.undecided
        if result.instance is not None:
            return SearchResult(result.instance, tried, undecided)
        empty = 0 if result.tried or first else empty + 1
        if tried >= examples or empty > 1:  # nothing new: the strategy has few instances
            break
    if tried < examples:  # Hypothesis alone goes through few instances without drawing one twice
        last = searched_once(strategy, measure, examples - tried, examples, f"{seed} last", shrink, known)
        return SearchResult(last.instance, tried + last.tried, undecided + last.undecided)
    return SearchResult(None, tried, undecided)


def searched_once(
    strategy: Any,
    measure: Callable[[Any], Measurement],
    most: int,
    drawn: int,
    seed: Any,
    shrink: bool,
    known: set[Any],
) -> SearchResult:
    """Search once among `drawn` instances, measuring at most `most`; those in `known` held before and are left out."""
    tried = undecided = 0
    refuted = False

    def refutes(instance: Any) -> bool:
        nonlocal tried, undecided, refuted
        key = key_of(instance)
        if key in known or (tried >= most and not refuted):
            return False
        result = measure(instance)
        tried += 1
        undecided += result.status == "abstained"
        refuted = refuted or result.status == "refuted"
        if key is not None and result.status != "refuted":
            known.add(key)
        return result.status == "refuted"

    options = settings(
        max_examples=drawn,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    # Not Phase.explain: it measures hundreds of instances more than shrinking does, for a note that nothing shows.
    options = settings(options, phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate])
    try:
        instance = find(strategy, refutes, settings=options, random=random.Random(seed))  # noqa: S311
    except (NoSuchExample, Unsatisfiable):
        instance = None
    return SearchResult(instance, tried, undecided)


def key_of(instance: Any) -> Any:
    """What tells an instance from others; None where it cannot be compared."""
    try:
        hash(instance)
    except TypeError:
        return None
    return type(instance), instance


def deepening(
    stages: Sequence[Callable[[], Any]],
    measure: Callable[[Any], Measurement],
    *,
    examples: int,
    seed: int,
    shrink: bool = True,
) -> SearchResult:
    """Search stage by stage from the smallest instances on, so that the counterexample is small in structure.

    Hypothesis shrinks numbers well, but not the widths of a network, and every attempt at a large network costs more
    than a whole search among small ones.
    """
    tried = undecided = 0
    for stage in stages:
        result = search(stage(), measure, examples=examples, seed=seed, shrink=shrink)
        tried, undecided = tried + result.tried, undecided + result.undecided
        if result.instance is not None:
            return SearchResult(result.instance, tried, undecided)
    return SearchResult(None, tried, undecided)


def searched(
    exact: Callable[[Any], Measurement],
    floating: Callable[..., Measurement],
    stages: Sequence[Callable[[], Any]],
    *,
    quick: int,
    thorough: int,
    among: str,
) -> Callable[[Context], Evidence]:
    """Return a property check: a search among the instances of `stages`, measured exactly and in floating point."""

    def run(context: Context) -> Evidence:
        return property_evidence(
            {"exact": exact, "float": partial(floating, device=context.device)},
            stages,
            examples=context.pick(quick=quick, thorough=thorough),
            seed=context.seed,
            part=context.part,
            among=among,
        )

    return run


def property_evidence(
    kinds: dict[Kind, Callable[[Any], Measurement]],
    stages: Sequence[Callable[[], Any]],
    *,
    examples: int,
    seed: int,
    among: str,
    part: Part | None = None,
) -> Evidence:
    """Property-based evidence: no measuring function may refute an instance of the last stage.

    A counterexample is searched for again from the first stage on, and shrunk. An instance counts as decided if one of
    the kinds decides it. A `part` of a search tries its share of the examples, and shrinks only if it says so.
    """
    if part is not None:
        examples, seed = -(-examples // part.of), seed + SEEDS * part.number

    def measure(instance: Any) -> Measurement:
        results = [function(instance) for function in kinds.values()]
        decided = [result for result in results if result.status != "abstained"]
        if not decided:
            return results[0]
        return max(decided, key=lambda result: result.severity)

    worst: Measurement | None = None
    spans = Coverage()

    def watch(instance: Any) -> Measurement:
        nonlocal worst
        measured = measure(instance)
        if measured.status != "abstained":
            spans.add(instance)
            if worst is None or measured.severity >= worst.severity:
                worst = measured
        return measured

    *smaller, largest = [stage() for stage in stages]
    result = search(largest, watch, examples=examples, seed=seed, shrink=False, smaller=smaller)
    if result.instance is not None:
        if part is None or part.shrink:
            result = deepening(stages, measure, examples=examples, seed=seed)
        measured = measure(result.instance)
        after = f"a counterexample among {among}, after {counted(result.tried, 'instance')}"
        return Evidence(
            "property", "refuted", "search", result.tried, result.undecided, measured.residual, measured.tolerance,
            detail=joined(after, measured.detail),
            counterexample=result.instance, apart=named(measured, result.instance),
        )  # fmt: skip
    decided = result.tried - result.undecided
    # Hypothesis stops early where a strategy has few instances: half of the examples must be decided.
    at_least = max(1, examples // 2)
    enough = decided >= at_least
    detail = f"no counterexample among {among}, by {' and '.join(kinds)}"
    if not enough:
        detail = f"only {decided} of at least {counted(at_least, 'instance')} could be decided, among {among}"
    return Evidence(
        "property", "holds" if enough else "abstained", "search", decided, result.undecided,
        worst.residual if worst else None, worst.tolerance if worst else None, detail=detail,
        spans=spans,
    )  # fmt: skip
