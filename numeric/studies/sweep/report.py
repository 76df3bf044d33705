"""What a store holds, as tables: status, and results as CSV or Parquet, one row for each configuration."""

import csv
import json
import os
import secrets
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hltm.base.checks import show
from hltm.base.errors import InputError
from numeric.studies.sweep.store import Store, telling

ROWS = 20_000  # of one group of a Parquet file
FIXED = ("key", "status", "reason", "seed", "seconds", "stacked", "device", "code", "finished")
_QUERY = f"SELECT {', '.join(FIXED)}, tree, network, train, metrics FROM sweep"  # noqa: S608
_LISTS = ("steps", "loss", "before", "after")


def status_of(store: Store) -> dict[str, Any]:
    """Counts by status, work done, and what went wrong.

    Returns
    -------
    dict
        ``configurations``, counts by status, ``seconds`` of work, ``devices``, ``codes`` (versions of the code and how
        many configurations each computed), ``failures`` (reasons and how often).
    """
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


def status_lines(found: dict[str, Any]) -> list[str]:
    """A status in words."""
    counts = ", ".join(f"{found[name]:,} {name}" for name in ("done", "failed", "running", "pending"))
    lines = [f"{found['configurations']:,} configurations: {counts}; {found['seconds']:,.1f} seconds of work"]
    if len(found["codes"]) > 1:
        lines.append("several versions of the code: " + ", ".join(f"{n:,} by {c}" for c, n in found["codes"].items()))
    lines += [f"failed, {row['configurations']:,} times: {row['reason']}" for row in found["failures"]]
    return lines


def rows_of(store: Store, done_only: bool = False) -> Iterator[dict[str, Any]]:
    """Every configuration as a flat row: fixed columns, its parameters, its metrics."""
    where = " WHERE status = 'done'" if done_only else ""
    with telling(store.path):
        for row in store.read(_QUERY + where):
            found = dict(zip(FIXED, row, strict=False))
            for table, text in zip(("tree", "network", "train"), row[9:12], strict=True):
                found |= {f"{table}.{name}": value for name, value in json.loads(text).items()}
            metrics = json.loads(row[12]) if row[12] else {}
            found |= metrics
            losses = metrics.get("loss") or [None]
            found["final_loss"] = losses[-1]
            yield found


def parts_of(store: Store) -> list[tuple[str, dict[str, Any]]]:
    """Every part of any configuration: its table and its parameters."""
    with telling(store.path):
        return [(kind, json.loads(text)) for kind, text in store.read("SELECT kind, json FROM parts ORDER BY id")]


def columns_of(store: Store) -> list[str]:
    """Columns of a table: fixed ones, every parameter of any configuration, metrics."""
    names: dict[str, None] = {}
    for kind, part in parts_of(store):
        names |= dict.fromkeys(f"{kind}.{name}" for name in part)
    order = sorted(names, key=lambda name: ("tree", "network", "train").index(name.split(".")[0]))
    return [*FIXED[:4], *order, "final_loss", *_LISTS, "dead", "diverged", *FIXED[4:]]


def export(store: Store, target: Path) -> int:
    """Write all configurations to a file, ``.csv`` or ``.parquet``; gives their number.

    Parameters
    ----------
    store : Store
    target : Path
        It appears complete or not at all. In CSV what is no number or string is JSON.

    Raises
    ------
    InputError
        Another suffix, a place that cannot be written, or Parquet without pyarrow.
    """
    if target.suffix == ".csv":
        return _csv(store, target)
    if target.suffix == ".parquet":
        return _parquet(store, target)
    raise InputError(f"out={show(str(target))}: must end in .csv or .parquet")


def _plain(value: Any) -> Any:
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict | bool) else value


def _csv(store: Store, target: Path) -> int:
    names, number = columns_of(store), 0
    with _temporary(target) as place, place.open("w", encoding="utf-8", newline="") as file:
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
    number = 0
    with _temporary(target) as place, pq.ParquetWriter(place, schema) as file:
        for rows in _groups(rows_of(store), ROWS):
            data = [{name: _typed(row.get(name), schema.field(name).type, pa) for name in names} for row in rows]
            file.write_table(pa.Table.from_pylist(data, schema=schema))
            number += len(rows)
    return number


def _typed(value: Any, kind: Any, pa: Any) -> Any:
    as_it_is = value is None or kind != pa.string() or isinstance(value, str)
    return value if as_it_is else json.dumps(value, sort_keys=True)


def _kind(store: Store, name: str, pa: Any) -> Any:
    """Type of a parameter: integers, numbers, or text where values are mixed (ranges of polarities)."""
    table, _, key = name.partition(".")
    if not key:
        return pa.string()
    values = {type(part.get(key)) for kind, part in parts_of(store) if kind == table} - {type(None)}
    return pa.int64() if values == {int} else pa.float64() if values == {float} else pa.string()


def _groups(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    held: list[dict[str, Any]] = []
    for row in rows:
        held.append(row)
        if len(held) == size:
            yield held
            held = []
    if held:
        yield held


@contextmanager
def _temporary(target: Path) -> Iterator[Path]:
    """A file beside its place, renamed when it is complete; a link is followed, a pipe is written to."""
    try:
        target = Path(os.path.realpath(target))
        if target.exists() and not target.is_file():
            yield target
            return
        place = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
        try:
            yield place
            place.replace(target)
        finally:
            place.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(f"out={show(str(target))}: cannot be written: {error.strerror or error}") from None


def check_out(target: Path, suffixes: tuple[str, ...], place: Path) -> Path:
    """Refuse a file that cannot be written, or that is the store itself at `place`, before any work is done.

    Raises
    ------
    InputError
    """
    if target.suffix not in suffixes:
        raise InputError(f"out={show(str(target))}: must end in {' or '.join(suffixes)}")
    if target.is_dir() or not target.parent.is_dir():
        raise InputError(f"out={show(str(target))}: must be a file in a folder that exists")
    if target.exists() and place.exists() and target.samefile(place):
        raise InputError(f"out={show(str(target))}: must be another file than the store")
    return target
