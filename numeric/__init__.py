"""What networks do: towers and tree networks, connections, operators, exact populations and sampling in torch.

Names are loaded on first use, so that ``import numeric`` does not load torch.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
