"""What the mathematics says: derivations in SymPy, each a chain of checked steps.

Names are loaded on first use, so that ``import theory`` does not load SymPy.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from theory.derivation import Derivation, Statement, Step
    from theory.family import family_membership
    from theory.latex import to_latex
    from theory.losses import pair_weight, pair_weights
    from theory.registry import STATEMENTS, derive
    from theory.zero import Decision, decide_positive, decide_zero

__all__ = [
    "STATEMENTS",
    "Decision",
    "Derivation",
    "Statement",
    "Step",
    "decide_positive",
    "decide_zero",
    "derive",
    "family_membership",
    "pair_weight",
    "pair_weights",
    "to_latex",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "derivation": ["Derivation", "Statement", "Step"],
        "family": ["family_membership"],
        "latex": ["to_latex"],
        "losses": ["pair_weight", "pair_weights"],
        "registry": ["STATEMENTS", "derive"],
        "zero": ["Decision", "decide_positive", "decide_zero"],
    },
)
