"""What the mathematics says: derivations in SymPy, each a chain of checked steps.

Names are loaded on first use, so that ``import theory`` does not load SymPy.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from theory.derivation import Derivation, Statement, Step
    from theory.family import family_membership
    from theory.latent import activation_covariance
    from theory.latent_forms import activation_covariances
    from theory.latex import to_latex
    from theory.losses import pair_weight, pair_weights
    from theory.lucky import existence_probability, neurons_needed, selectivity_bound
    from theory.registry import STATEMENTS, derive
    from theory.tree_operator import covariance_operator, node_update
    from theory.tree_symbols import parameter_values
    from theory.uniform_sums import GapLaw, gap_law
    from theory.walsh import WalshOperator, walsh_operator
    from theory.zero import Decision, decide_positive, decide_zero

__all__ = [
    "STATEMENTS",
    "Decision",
    "Derivation",
    "GapLaw",
    "Statement",
    "Step",
    "WalshOperator",
    "activation_covariance",
    "activation_covariances",
    "covariance_operator",
    "decide_positive",
    "decide_zero",
    "derive",
    "existence_probability",
    "family_membership",
    "gap_law",
    "neurons_needed",
    "node_update",
    "pair_weight",
    "pair_weights",
    "parameter_values",
    "selectivity_bound",
    "to_latex",
    "walsh_operator",
]

__getattr__, __dir__, _ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "derivation": ["Derivation", "Statement", "Step"],
        "family": ["family_membership"],
        "latent": ["activation_covariance"],
        "latent_forms": ["activation_covariances"],
        "latex": ["to_latex"],
        "losses": ["pair_weight", "pair_weights"],
        "lucky": ["existence_probability", "neurons_needed", "selectivity_bound"],
        "registry": ["STATEMENTS", "derive"],
        "tree_operator": ["covariance_operator", "node_update"],
        "tree_symbols": ["parameter_values"],
        "uniform_sums": ["GapLaw", "gap_law"],
        "walsh": ["WalshOperator", "walsh_operator"],
        "zero": ["Decision", "decide_positive", "decide_zero"],
    },
)
