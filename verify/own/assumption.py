"""Assumptions of a user's own statement, dropped in turn: instances that break one, measured as all others are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from hltm.base.errors import InputError
from verify.engine.assumptions import Sides, of_measurement
from verify.engine.evidence import Kind, Measurement
from verify.engine.statement import Assumption, Context

SHOWN = 300
Measures = Mapping[Kind, Callable[[Any, Any], Measurement]]


@dataclass(frozen=True)
class Without:
    """What stands in the place of an assumption that is dropped.

    Parameters
    ----------
    dropped : str
        What stands in its place, in words.
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


def assumptions_of(
    drops: Mapping[str, Without] | Sequence[Assumption],
    measures: Measures,
    stages_of: Callable[[Any, str], tuple[Callable[[], Any], ...]],
    name: str,
) -> tuple[Assumption, ...]:
    """The assumptions of a statement, each with a way of dropping it; InputError where one is of another kind."""
    if isinstance(drops, Mapping):
        found = []
        for assumed, without in drops.items():
            if not isinstance(without, Without):
                raise InputError(f"drops[{assumed!r:.40}]={without!r:.40} of statement {name!r}: must be a Without")
            stages = stages_of(without.strategy, name)
            tries = partial(tried, dict(measures), stages)
            found.append(Assumption(str(assumed), str(without.dropped), tries, bool(without.necessary)))
        return tuple(found)
    for assumption in drops:
        if not isinstance(assumption, Assumption):
            raise InputError(f"drops of statement {name!r}: {assumption!r:.40} must be a verify.Assumption")
    return tuple(drops)


def tried(measures: Measures, stages: Sequence[Callable[[], Any]], context: Context) -> Iterator[Sides]:
    """Both sides on instances without the assumption; the first that refutes is shrunk, and is the last."""
    from verify.engine.search import deepening

    last: list[tuple[Any, Sides]] = []

    def measure(instance: Any) -> Measurement:
        found = [(kind, function(instance, None)) for kind, function in measures.items()]
        kind, worst = max(found, key=lambda row: (row[1].status != "abstained", row[1].severity))
        last.append((instance, of_measurement(worst, described(instance), f"theory - numeric, {kind}")))
        return worst

    examples = context.pick(quick=60, thorough=1000)
    result = deepening(stages, measure, examples=examples, seed=context.seed)
    if result.instance is None:
        yield from (sides for _, sides in last)
        return
    # Shrinking tries refuted and other instances in turn: what counts as tried is what came before the first of them.
    yield from (sides for _, sides in last[: first_refuted(last)])
    measure(result.instance)
    yield last[-1][1]


def first_refuted(rows: Sequence[tuple[Any, Sides]]) -> int:
    """Index of the first row that is refuted; their number where none is."""
    return next((index for index, (_, sides) in enumerate(rows) if sides.status == "refuted"), len(rows))


def described(instance: Any) -> str:
    """An instance in words: its JSON, cut where it is long."""
    text = json.dumps(instance.as_json())
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
