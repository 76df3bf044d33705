"""Public names of `hltm`: read by type checkers, and by lazy_loader when one of them is used first."""

from .base.errors import InputError as InputError
from .build import caterpillar_tree as caterpillar_tree
from .build import complete_tree as complete_tree
from .build import random_tree as random_tree
from .build import star_tree as star_tree
from .drawing import draw as draw
from .exact import enumerate_leaves as enumerate_leaves
from .exact import leaf_distribution as leaf_distribution
from .exact import leaf_table as leaf_table
from .exact import marginals as marginals
from .exact import posterior as posterior
from .exact import rational_leaf_distribution as rational_leaf_distribution
from .exact import root_polarities as root_polarities
from .exact import root_transitions as root_transitions
from .files import load as load
from .files import save as save
from .nodelink import tree_from_json as tree_from_json
from .nodelink import tree_to_json as tree_to_json
from .sampling import LeafPopulation as LeafPopulation
from .sampling import leaf_population as leaf_population
from .sampling import resample as resample
from .sampling import sample as sample
from .states import find_state as find_state
from .states import with_state_one as with_state_one
from .tree import HLTM as HLTM
from .tree import find_node as find_node
