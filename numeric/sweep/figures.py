"""Means over seeds with confidence intervals: grouped by the parameters that vary, as lines of a figure."""

import io
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hltm.base.atomic import write
from hltm.base.checks import show, suggestion
from hltm.base.errors import InputError
from numeric.studies.sweep.report import parts_of, rows_of
from numeric.studies.sweep.store import Store

MOST_LINES = 12
QUANTITIES = ("loss", "final_loss", "before", "after")


@dataclass(frozen=True)
class Wanted:
    """What is to be seen.

    Attributes
    ----------
    x : str
        ``"steps"``, or the name of a parameter.
    y : str
        ``"loss"`` (over steps), ``"final_loss"``, ``"before"`` or ``"after"`` (correlation).
    by : tuple of str, optional
        Parameters, each combination a line; all that vary.
    level : int, optional
        Of the tree, for correlations; the mean of all levels.
    confidence : float
        Of the band.
    """

    x: str
    y: str
    by: tuple[str, ...] | None = None
    level: int | None = None
    confidence: float = 0.95


@dataclass(frozen=True)
class Mean:
    """Mean of some configurations.

    Attributes
    ----------
    number : int
    mean : float
    half_width : float or None
        Of the confidence interval by Student's t; None for a single configuration, which has no spread.
    """

    number: int
    mean: float
    half_width: float | None


def mean_of(values: list[float], confidence: float) -> Mean:
    """Mean with its confidence interval.

    Examples
    --------
    >>> found = mean_of([1.0, 2.0, 3.0], 0.95)
    >>> found.mean, round(found.half_width, 3)
    (2.0, 2.484)
    >>> mean_of([1.0], 0.95)
    Mean(number=1, mean=1.0, half_width=None)
    """
    from scipy.stats import t

    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Mean(1, mean, None)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Mean(n, mean, float(t.ppf(0.5 + confidence / 2, n - 1)) * spread / math.sqrt(n))


def parameters_that_vary(store: Store) -> dict[str, int]:
    """Parameters with several values among the configurations of a store, and how many."""
    found: dict[str, set[str]] = {}
    for kind, part in parts_of(store):
        for name, value in part.items():
            if value is not None:  # not taken by this loss or kind of tree
                found.setdefault(f"{kind}.{name}", set()).add(json.dumps(value, sort_keys=True))
    return {name: len(values) for name, values in found.items() if len(values) > 1}


def grouped(store: Store, wanted: Wanted) -> dict[tuple[str, ...], dict[Any, Mean]]:
    """Means by line and x, over seeds and all parameters that no line is for.

    Returns
    -------
    dict
        Values of `by`, as text, to x to mean; configurations that diverged, and nodes without a correlation, have none.

    Raises
    ------
    InputError
        An unknown quantity or parameter, or nothing to be seen.
    """
    names = _checked(store, wanted)
    held: dict[tuple[str, ...], dict[Any, list[float]]] = {}
    for row in rows_of(store, done_only=True):
        line = held.setdefault(tuple(_text(row.get(name)) for name in names), {})
        for x, y in _points(row, wanted):
            line.setdefault(x, []).append(y)
    found = {
        key: {x: mean_of(line[x], wanted.confidence) for x in sorted(line, key=_in_order)}
        for key, line in sorted(held.items()) if line
    }  # fmt: skip
    if not found:
        raise InputError(f"store {store.path}: must have a configuration that is done and has {wanted.y!r}")
    return found


def _checked(store: Store, wanted: Wanted) -> tuple[str, ...]:
    """The parameters of the lines."""
    varied = parameters_that_vary(store)
    if wanted.y not in QUANTITIES:
        raise InputError(
            f"y={show(wanted.y)}: must be one of {', '.join(QUANTITIES)}{suggestion(wanted.y, QUANTITIES)}"
        )
    if (wanted.x == "steps") != (wanted.y == "loss"):
        raise InputError(f"x={show(wanted.x)} with y={show(wanted.y)}: must be steps with loss, and only with it")
    for name in (*(wanted.by or ()), *(() if wanted.x == "steps" else (wanted.x,))):
        if name not in varied:
            rule = f"must be a parameter that varies: {', '.join(varied) or 'none does'}"
            raise InputError(f"parameter {show(name)}: {rule}{suggestion(name, varied)}")
    return tuple(name for name in varied if name != wanted.x) if wanted.by is None else wanted.by


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _in_order(x: Any) -> tuple[bool, Any]:
    """Numbers before text: a parameter may have both, as polarities that are drawn or not."""
    return isinstance(x, str), x


def _points(row: Mapping[str, Any], wanted: Wanted) -> Iterable[tuple[Any, float]]:
    """What one configuration adds: x and y."""
    if wanted.y == "loss":
        return [(x, y) for x, y in zip(row["steps"], row["loss"], strict=True) if y is not None]
    x, y = row.get(wanted.x), row[wanted.y]
    if isinstance(y, list):
        y = _mean_level(y, wanted.level)
    if y is None or x is None:
        return []
    return [(x if isinstance(x, int | float) else _text(x), y)]


def _mean_level(values: list[float | None], level: int | None) -> float | None:
    """A level, or the mean of all; None where there is no such level or a number was not finite."""
    chosen = values if level is None else values[level - 1 : level]
    finite = [value for value in chosen if value is not None]
    return math.fsum(finite) / len(finite) if finite and len(finite) == len(chosen) else None


def draw(store: Store, target: Path, wanted: Wanted) -> int:
    """Draw means with confidence bands into a file; gives the number of lines.

    Parameters
    ----------
    store : Store
    target : Path
        Its suffix tells the format.
    wanted : Wanted

    Raises
    ------
    InputError
        As :func:`grouped`; more lines than can be told apart.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = _checked(store, wanted)
    lines = grouped(store, wanted)
    if len(lines) > MOST_LINES:
        rule = f"must be at most {MOST_LINES}; name with --by some of {', '.join(names)}"
        raise InputError(f"{len(lines)} lines: {rule}")
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    places = _places(axis, {x for line in lines.values() for x in line})
    for number, (key, line) in enumerate(lines.items()):
        label = ", ".join(f"{name.split('.')[1]}={value}" for name, value in zip(names, key, strict=True))
        means, where = list(line.values()), [places[x] for x in line]
        low, high = ([one.mean + sign * (one.half_width or 0.0) for one in means] for sign in (-1, 1))
        axis.plot(where, [one.mean for one in means], ".-", color=f"C{number % 10}", label=label or None)
        axis.fill_between(where, low, high, color=f"C{number % 10}", alpha=0.2, linewidth=0)
    axis.set_xlabel(wanted.x)
    axis.set_ylabel(wanted.y if wanted.level is None else f"{wanted.y}, level {wanted.level}")
    axis.set_title(f"mean and {100 * wanted.confidence:g} % confidence interval", fontsize="medium")
    if len(lines) > 1:
        axis.legend(fontsize="x-small")
    held, kind = io.BytesIO(), target.suffix[1:]
    # Without a date the same results give the same bytes.
    dates = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(held, format=kind, dpi=150, metadata=dates.get(kind, {}))
    write(target, held.getvalue())
    return len(lines)


def _places(axis: Any, values: set[Any]) -> dict[Any, float]:
    """Where each x is drawn: numbers where they are; if some are text, all one beside the other."""
    if not any(isinstance(x, str) for x in values):
        return {x: float(x) for x in values}
    order = sorted(values, key=_in_order)
    axis.set_xticks(range(len(order)), [str(x) for x in order], fontsize="xx-small")
    return {x: float(number) for number, x in enumerate(order)}
