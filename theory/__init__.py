"""Derivations of the statements in SymPy, each a chain of checked steps.

Names are loaded on first use, so that ``import theory`` does not load SymPy.
"""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    from theory.core.decide import Decision, decide_positive, decide_zero
    from theory.core.derivation import Derivation, Statement, Step
    from theory.latex.render import to_latex
    from theory.losses.family import family_membership, pair_weight, pair_weights
    from theory.registry import STATEMENTS, derive
    from theory.trees.activation import activation_covariance, activation_covariances
    from theory.trees.gap_law import GapLaw, gap_law
    from theory.trees.lucky import existence_probability, neurons_needed, selectivity_bound
    from theory.trees.operator import covariance_operator, node_update
    from theory.trees.symbols import parameter_values
    from theory.trees.walsh import WalshOperator, walsh_operator

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
        "core.decide": ["Decision", "decide_positive", "decide_zero"],
        "core.derivation": ["Derivation", "Statement", "Step"],
        "latex.render": ["to_latex"],
        "losses.family": ["family_membership", "pair_weight", "pair_weights"],
        "registry": ["STATEMENTS", "derive"],
        "trees.activation": ["activation_covariance", "activation_covariances"],
        "trees.gap_law": ["GapLaw", "gap_law"],
        "trees.lucky": ["existence_probability", "neurons_needed", "selectivity_bound"],
        "trees.operator": ["covariance_operator", "node_update"],
        "trees.symbols": ["parameter_values"],
        "trees.walsh": ["WalshOperator", "walsh_operator"],
    },
)
