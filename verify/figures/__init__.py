"""Figures of the seven statements: data and drawings."""

from typing import TYPE_CHECKING

import lazy_loader as lazy

if TYPE_CHECKING:
    from verify.figures.data import FigureData as FigureData
    from verify.figures.drawing import render as render

__getattr__, __dir__, __all__ = lazy.attach(__name__, submod_attrs={"data": ["FigureData"], "drawing": ["render"]})
