"""Drawing figures: `FigureData` in, the contents of SVG, PDF, PNG and CSV files out. Loads neither torch nor SymPy.

The same data gives the same bytes: dates and versions are left out, identifiers come from the figure's name, settings
of the user's own matplotlib do not count.
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
    from matplotlib.backends.backend_agg import FigureCanvasAgg
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
# Markers that follow each other with one style.
_ALIKE = re.compile(r'<use [^>]*?( style="[^"]*")/>\n(?:\s*<use [^>]*?\1/>\n)+')
_COORDINATES = re.compile(r'\s(?:d|x|y)="[^"]*"')
_LONG = re.compile(r"-?\d+\.\d{3,}")


def render(data: FigureData) -> dict[str, bytes]:
    """Draw a figure; writes nothing."""
    drawing = DRAWINGS.get(data.kind)
    if drawing is None:
        raise ValueError(f"kind={data.kind!r:.40} of figure {data.name!r}: must be one of {', '.join(DRAWINGS)}")
    result = {"csv": csv_text(data).encode()}
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; that is no reason to speak up.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        settings: Any = {**RC, "svg.hashsalt": data.name}
        matplotlib.rcParams.update(settings)
        figure = Figure(layout="constrained")
        drawing(figure, data)
        result |= _printed(figure, data.title)
    result["svg"] = own_identifiers(shorter(result["svg"].decode()), data.name).encode()
    return result


def shorter(svg: str) -> str:
    r"""Coordinates to a hundredth of a point, the style of neighbouring markers said once: half as large in all.

    Transforms stay as they are. What is used inherits the style of its group as it would its own.
    """

    def rounded(match: re.Match[str]) -> str:
        return _LONG.sub(lambda number: f"{round(float(number[0]), 2) + 0.0:g}", match[0])

    def grouped(match: re.Match[str]) -> str:
        return f"<g{match[1]}>{match[0].replace(match[1], '')}</g>\n"

    return _COORDINATES.sub(rounded, _ALIKE.sub(grouped, svg))


def own_identifiers(svg: str, name: str) -> str:
    """Let identifiers and references begin with a name; what has the same content and identifier is numbered."""
    count: Counter[str] = Counter()

    def owned(match: re.Match[str]) -> str:
        built = match[1].endswith('id="')
        count[match[2]] += built
        again = f"-{count[match[2]]}" if built and count[match[2]] > 1 else ""
        return f"{match[1]}{name}-{match[2]}{again}"

    return _ID.sub(owned, svg)


def _printed(figure: Figure, title: str) -> dict[str, bytes]:
    """The figure in three formats, which say the title of themselves, and neither a date nor a version."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    name = "".join(letter if letter.isprintable() else " " for letter in title)
    held = {suffix: io.BytesIO() for suffix in ("svg", "pdf", "png")}
    agg = FigureCanvasAgg(figure)
    # Laid out once, for all formats; `Figure.savefig` would draw each of them twice.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(held["svg"], metadata={**nothing, "Title": name})
    nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    FigureCanvasPdf(figure).print_pdf(held["pdf"], metadata={**nothing, "Title": name})
    figure.set_dpi(DPI)
    agg.draw()
    _print_png(agg, name.encode("latin-1", "replace").decode("latin-1"), held["png"])
    return {suffix: buffer.getvalue() for suffix, buffer in held.items()}


def _print_png(agg: FigureCanvasAgg, title: str, target: io.BytesIO) -> None:
    """With a palette of 256 colours: less than half as large, and no difference that is seen."""
    import numpy as np
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    said = PngInfo()
    said.add_text("Title", title)
    picture = Image.fromarray(np.asarray(agg.buffer_rgba())).convert("RGB")
    picture.quantize(256, dither=Image.Dither.NONE).save(target, "png", optimize=True, pnginfo=said, dpi=(DPI, DPI))
