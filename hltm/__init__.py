"""The model: hierarchical latent trees on a networkx graph.

A tree (`HLTM`) is a frozen, validated wrapper of a `networkx.DiGraph`. Builders make common shapes. Exact laws come
from enumeration, in floating point or rational arithmetic, or from message passing. Data are samples, samples with kept
latents, or finite populations. Trees are read from and written to files. The model is that of statement 6
(arXiv 2010.00578).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
