"""Public names of `theory`: read by type checkers, and by lazy_loader when one of them is used first."""

from .core.claim import Claim as Claim
from .core.decide import Decision as Decision
from .core.decide import decide_positive as decide_positive
from .core.decide import decide_zero as decide_zero
from .core.derivation import Derivation as Derivation
from .core.derivation import Step as Step
from .latex.render import to_latex as to_latex
from .losses.family import family_membership as family_membership
from .losses.family import pair_weight as pair_weight
from .losses.family import pair_weights as pair_weights
from .registry import STATEMENTS as STATEMENTS
from .registry import derive as derive
from .trees.activation import activation_covariance as activation_covariance
from .trees.activation import activation_covariances as activation_covariances
from .trees.gap_law import GapLaw as GapLaw
from .trees.gap_law import gap_law as gap_law
from .trees.lucky import existence_probability as existence_probability
from .trees.lucky import neurons_needed as neurons_needed
from .trees.lucky import selectivity_bound as selectivity_bound
from .trees.operator import covariance_operator as covariance_operator
from .trees.operator import node_update as node_update
from .trees.symbols import parameter_values as parameter_values
from .trees.walsh import WalshOperator as WalshOperator
from .trees.walsh import walsh_operator as walsh_operator
