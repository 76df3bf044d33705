"""Compare `theory` and `numeric`: statements, their evidence and the verdicts.

The toolkit's statements are made of the public classes, so that a user's own (`user_statement`) runs in the same way.
Names are loaded on first use: ``import verify`` loads neither torch nor SymPy.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
