"""Draw a figure from its data as SVG, PDF, PNG and CSV; loads neither torch nor SymPy.

The same data gives the same bytes: without dates and versions, with identifiers that begin with the figure's name, and
whatever the user's matplotlib settings are.
"""

from __future__ import annotations

import io
import re
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from verify.figures import plots
from verify.figures.data import FigureData, csv_text
from verify.figures.plots import DPI, RC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawing = Callable[["Figure", FigureData], None]

DRAWINGS: Mapping[str, Drawing] = MappingProxyType(
    {
        "lines": plots.lines,
        "separation": plots.separation,
        "pair-weights": plots.pair_weights,
        "residue": plots.residue,
        "minibatch": plots.minibatch,
        "ring": plots.ring,
        "operator": plots.operator,
        "tree": plots.tree,
        "training": plots.training,
        "lucky": plots.lucky,
    }
)
"""Kind of a figure to the function that draws it."""

_ID = re.compile(r'(\sid="|\burl\(#|href="#)([^")]+)')


def render(data: FigureData) -> dict[str, bytes]:
    """Draw a figure and return the contents of its files by suffix."""
    drawing = DRAWINGS.get(data.kind)
    if drawing is None:
        raise ValueError(f"kind={data.kind!r:.40} of figure {data.name!r}: must be one of {', '.join(DRAWINGS)}")
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        settings: Any = {**RC, "svg.hashsalt": data.name}
        matplotlib.rcParams.update(settings)
        figure = Figure(layout="constrained")
        drawing(figure, data)
        # Laid out once for all formats; `Figure.savefig` would draw each of them twice.
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        title = "".join(letter if letter.isprintable() else " " for letter in data.title)
        svg = own_identifiers(_svg(figure, title).decode(), data.name).encode()
        return {"csv": csv_text(data).encode(), "svg": svg, "pdf": _pdf(figure, title), "png": _png(figure, title)}


def own_identifiers(svg: str, name: str) -> str:
    """Prefix identifiers with a name; number those that matplotlib uses twice."""
    count: Counter[str] = Counter()

    def owned(match: re.Match[str]) -> str:
        defined = match[1].endswith('id="')
        count[match[2]] += defined
        again = f"-{count[match[2]]}" if defined and count[match[2]] > 1 else ""
        return f"{match[1]}{name}-{match[2]}{again}"

    return _ID.sub(owned, svg)


def _svg(figure: Figure, title: str) -> bytes:
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    target = io.BytesIO()
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(target, metadata={**metadata, "Title": title})
    return target.getvalue()


def _pdf(figure: Figure, title: str) -> bytes:
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    target = io.BytesIO()
    metadata = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    FigureCanvasPdf(figure).print_pdf(target, metadata={**metadata, "Title": title})
    return target.getvalue()


def _png(figure: Figure, title: str) -> bytes:
    """A PNG of 256 colours, half as large without a visible difference."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    metadata = PngInfo()
    metadata.add_text("Title", title.encode("latin-1", "replace").decode("latin-1"))
    figure.set_dpi(DPI)
    agg = FigureCanvasAgg(figure)
    agg.draw()
    target = io.BytesIO()
    picture = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(target, "png", optimize=True, pnginfo=metadata, dpi=(DPI, DPI))
    return target.getvalue()
