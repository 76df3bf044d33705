"""Derivations of the statements in SymPy, each a chain of checked steps.

Names are loaded on first use, so that ``import theory`` does not load SymPy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
