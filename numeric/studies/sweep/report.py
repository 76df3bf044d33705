"""Status, tables and figures of a store: counts, CSV or Parquet, and means over seeds with confidence bands."""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hltm.base.atomic import replacing, write
from hltm.base.checks import show, suggestion
from hltm.base.errors import InputError
from numeric.studies.results import image, panels
from numeric.studies.sweep.store import USUAL_LEAVES, Store, sqlite_errors

ROWS = 20_000  # of one group of a Parquet file
FIXED = ("key", "status", "reason", "seed", "seconds", "stacked", "device", "code", "finished")
_QUERY = f"SELECT {', '.join(FIXED)}, tree, network, train, metrics FROM sweep"  # noqa: S608
_LISTS = ("steps", "loss", "before", "after")


def status_of(store: Store) -> dict[str, Any]:
    """Counts by status, seconds of work, devices, versions of the code, and reasons of failure."""
    counts, seconds = store.counts(), 0.0
    devices, codes = Counter[str](), Counter[str]()
    query = "SELECT device, code, sum(members), sum(seconds) FROM tasks WHERE finished IS NOT NULL GROUP BY 1, 2"
    for device, code, members, taken in store.read(query):
        devices[device] += members
        codes[code] += members
        seconds += taken
    return {
        "configurations": sum(counts.values()), **counts, "seconds": seconds,
        "devices": dict(devices.most_common()), "codes": dict(codes.most_common()),
        "failures": [{"reason": reason, "configurations": number} for reason, number in store.failures()],
    }  # fmt: skip


def status_lines(status: dict[str, Any]) -> list[str]:
    counts = ", ".join(f"{status[name]:,} {name}" for name in ("done", "failed", "running", "pending"))
    lines = [f"{status['configurations']:,} configurations: {counts}; {status['seconds']:,.1f} seconds of work"]
    if len(status["codes"]) > 1:
        lines.append("several versions of the code: " + ", ".join(f"{n:,} by {c}" for c, n in status["codes"].items()))
    lines += [f"failed, {row['configurations']:,} times: {row['reason']}" for row in status["failures"]]
    return lines


def rows_of(store: Store, done_only: bool = False) -> Iterator[dict[str, Any]]:
    """Every configuration as a flat row: fixed columns, its parameters, its metrics."""
    where = " WHERE status = 'done'" if done_only else ""
    with sqlite_errors(store.path):
        for row in store.read(_QUERY + where):
            result = dict(zip(FIXED, row, strict=False))
            result["network.leaves"] = USUAL_LEAVES
            for table, text in zip(("tree", "network", "train"), row[9:12], strict=True):
                result |= {f"{table}.{name}": value for name, value in json.loads(text).items()}
            metrics = json.loads(row[12]) if row[12] else {}
            result |= metrics
            losses = metrics.get("loss") or [None]
            result["final_loss"] = losses[-1]
            yield result


def parts_of(store: Store) -> list[tuple[str, dict[str, Any]]]:
    """The parts of all configurations: table and parameters; how leaves are read if it is not the usual everywhere."""
    with sqlite_errors(store.path):
        parts = [(kind, json.loads(text)) for kind, text in store.read("SELECT kind, json FROM parts ORDER BY id")]
    if any("leaves" in part for kind, part in parts if kind == "network"):
        return [(kind, {"leaves": USUAL_LEAVES} | part if kind == "network" else part) for kind, part in parts]
    return parts


def columns_of(store: Store) -> list[str]:
    """Columns of the table: fixed ones, every parameter of any configuration, metrics."""
    names: dict[str, None] = {}
    for kind, part in parts_of(store):
        names |= dict.fromkeys(f"{kind}.{name}" for name in part)
    order = sorted(names, key=lambda name: ("tree", "network", "train").index(name.split(".")[0]))
    return [*FIXED[:4], *order, "final_loss", *_LISTS, "dead", "diverged", *FIXED[4:]]


def export(store: Store, target: Path) -> int:
    """Write all configurations to a file, ``.csv`` or ``.parquet``; gives their number."""
    if target.suffix == ".csv":
        return _csv(store, target)
    if target.suffix == ".parquet":
        return _parquet(store, target)
    raise InputError(f"out={show(str(target))}: must end in .csv or .parquet")


def _plain(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict | bool) else value


def _csv(store: Store, target: Path) -> int:
    names, number = columns_of(store), 0
    with replacing(target, "out") as place, place.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(names)
        for row in rows_of(store):
            table.writerow([_plain(row.get(name)) for name in names])
            number += 1
    return number


def _parquet(store: Store, target: Path) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise InputError(f"out={show(str(target))}: Parquet needs pyarrow; install covop[cluster]") from None
    names = columns_of(store)
    whole = {"seed": pa.int64(), "stacked": pa.int64(), "diverged": pa.int64(), "dead": pa.bool_()}
    numbers = {"steps": pa.list_(pa.int64()), **dict.fromkeys(_LISTS[1:], pa.list_(pa.float64()))}
    numbers |= dict.fromkeys(("final_loss", "seconds", "finished"), pa.float64())
    schema = pa.schema([(name, whole.get(name) or numbers.get(name) or _kind(store, name, pa)) for name in names])
    rows, number = rows_of(store), 0
    with replacing(target, "out") as place, pq.ParquetWriter(place, schema) as file:
        while group := list(islice(rows, ROWS)):
            data = [{name: _typed(row.get(name), schema.field(name).type, pa) for name in names} for row in group]
            file.write_table(pa.Table.from_pylist(data, schema=schema))
            number += len(group)
    return number


def _typed(value: Any, kind: Any, pa: Any) -> Any:
    return value if value is None or kind != pa.string() else _text(value)


def _kind(store: Store, name: str, pa: Any) -> Any:
    """Type of a parameter: integers, numbers, or text where values are mixed (ranges of polarities)."""
    table, _, key = name.partition(".")
    if not key:
        return pa.string()
    values = {type(part.get(key)) for kind, part in parts_of(store) if kind == table} - {type(None)}
    return pa.int64() if values == {int} else pa.float64() if values == {float} else pa.string()


def check_out(target: Path, suffixes: tuple[str, ...], place: Path) -> Path:
    """Refuse a file that cannot be written, or that is the store itself at `place`, before any work is done."""
    if target.suffix not in suffixes:
        raise InputError(f"out={show(str(target))}: must end in {' or '.join(suffixes)}")
    if target.is_dir() or not target.parent.is_dir():
        raise InputError(f"out={show(str(target))}: must be a file in a folder that exists")
    if target.exists() and place.exists() and target.samefile(place):
        raise InputError(f"out={show(str(target))}: must be another file than the store")
    return target


# Means over seeds with confidence intervals, as lines of a figure.

MOST_LINES = 12
QUANTITIES = ("loss", "final_loss", "before", "after")


@dataclass(frozen=True)
class Wanted:
    """The axes and the lines of a figure."""

    x: str
    y: str
    by: tuple[str, ...] | None = None
    level: int | None = None
    confidence: float = 0.95


@dataclass(frozen=True)
class Mean:
    """Mean of some configurations."""

    number: int
    mean: float
    half_width: float | None


def mean_of(values: list[float], confidence: float) -> Mean:
    from scipy.stats import t

    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Mean(1, mean, None)
    spread = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return Mean(n, mean, float(t.ppf(0.5 + confidence / 2, n - 1)) * spread / math.sqrt(n))


def parameters_that_vary(store: Store) -> dict[str, int]:
    """Parameters with several values in a store, and the number of these."""
    result: dict[str, set[str]] = {}
    for kind, part in parts_of(store):
        for name, value in part.items():
            if value is not None:  # None: this loss or kind of tree does not take it
                result.setdefault(f"{kind}.{name}", set()).add(json.dumps(value, sort_keys=True))
    return {name: len(values) for name, values in result.items() if len(values) > 1}


def grouped(store: Store, wanted: Wanted) -> dict[tuple[str, ...], dict[Any, Mean]]:
    """Means by line and x, over seeds and all parameters that do not make lines."""
    names = _checked(store, wanted)
    values: dict[tuple[str, ...], dict[Any, list[float]]] = {}
    for row in rows_of(store, done_only=True):
        line = values.setdefault(tuple(_text(row.get(name)) for name in names), {})
        for x, y in _points(row, wanted):
            line.setdefault(x, []).append(y)
    result = {
        key: {x: mean_of(line[x], wanted.confidence) for x in sorted(line, key=_in_order)}
        for key, line in sorted(values.items()) if line
    }  # fmt: skip
    if not result:
        raise InputError(f"store {store.path}: must have a configuration that is done and has {wanted.y!r}")
    return result


def _checked(store: Store, wanted: Wanted) -> tuple[str, ...]:
    """The parameters that make lines."""
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
    if wanted.y == "loss":
        return [(x, y) for x, y in zip(row["steps"], row["loss"], strict=True) if y is not None]
    x, y = row.get(wanted.x), row[wanted.y]
    if isinstance(y, list):
        y = _mean_level(y, wanted.level)
    if y is None or x is None:
        return []
    return [(x if isinstance(x, int | float) else _text(x), y)]


def _mean_level(values: list[float | None], level: int | None) -> float | None:
    """A level, or the mean of all; None where there is no such level or a number is not finite."""
    chosen = values if level is None else values[level - 1 : level]
    finite = [value for value in chosen if value is not None]
    return math.fsum(finite) / len(finite) if finite and len(finite) == len(chosen) else None


def draw(store: Store, target: Path, wanted: Wanted) -> int:
    """Draw means with confidence bands into a file; gives the number of lines."""
    names = _checked(store, wanted)
    lines = grouped(store, wanted)
    if len(lines) > MOST_LINES:
        rule = f"must be at most {MOST_LINES}; name with --by some of {', '.join(names)}"
        raise InputError(f"{len(lines)} lines: {rule}")
    figure, ((axis,),) = panels(1, 1, (6.4, 4.2))
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
    write(target, image(figure, target.suffix[1:]))
    return len(lines)


def _places(axis: Any, values: set[Any]) -> dict[Any, float]:
    """Positions on the x axis: numbers at their value; if some are text, all side by side."""
    if not any(isinstance(x, str) for x in values):
        return {x: float(x) for x in values}
    order = sorted(values, key=_in_order)
    axis.set_xticks(range(len(order)), [str(x) for x in order], fontsize="xx-small")
    return {x: float(number) for number, x in enumerate(order)}
