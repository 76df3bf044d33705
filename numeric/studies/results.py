"""Files of a study: CSV tables, figures, and a manifest with versions and the digest of every file."""

import csv
import hashlib
import io
import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hltm.base.atomic import write
from hltm.base.checks import show
from hltm.base.errors import InputError

SCHEMA = 1
MANIFEST = "manifest.json"


def check_out(folder: Path) -> Path:
    """Make the folder of the results; refuse one that cannot be written before anything runs."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".probe"
        probe.touch()
        probe.unlink()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"out={show(str(folder))}: {reason}: must be a folder that can be written") from None
    return folder


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same columns as CSV; floats to nine digits."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)
    return text.getvalue()


def panels(rows: int, columns: int, size: tuple[float, float], *, shared: bool = False) -> tuple[Any, Any]:
    """A figure and its axes ``(rows, columns)``, drawn by Agg without pyplot's global state; size in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)


def image(figure: Any, kind: str) -> bytes:
    """A figure as a PNG, PDF or SVG file; without a creation date, equal figures give equal bytes."""
    content, dates = io.BytesIO(), {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(content, format=kind, dpi=150, metadata=dates.get(kind, {}))
    return content.getvalue()


def environment() -> dict[str, str]:
    """Versions of Python and of the libraries that compute and draw."""
    names = ("torch", "numpy", "matplotlib")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def write_files(folder: Path, contents: Mapping[str, bytes], document: Mapping[str, Any]) -> dict[str, str]:
    """Write all files, each complete or not at all, and last the manifest; gives the digests of the files."""
    for name, content in contents.items():
        write(folder / name, content)
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}
    text = json.dumps({"schema": SCHEMA, **document, "files": digests}, indent=1, allow_nan=False)
    write(folder / MANIFEST, (text + "\n").encode())
    return digests
