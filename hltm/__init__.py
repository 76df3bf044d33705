"""The model: hierarchical latent trees on a networkx graph.

A tree (`HLTM`) is a frozen, validated wrapper of a `networkx.DiGraph`. Builders make common shapes. Exact laws come
from enumeration, in floating point or rational arithmetic, or from message passing. Data are samples, samples with kept
latents, or finite populations. Trees are read from and written to files. The model is that of statement 6
(arXiv 2010.00578).
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

if TYPE_CHECKING:
    from hltm.base.errors import InputError as InputError
    from hltm.build import caterpillar_tree as caterpillar_tree
    from hltm.build import complete_tree as complete_tree
    from hltm.build import random_tree as random_tree
    from hltm.build import star_tree as star_tree
    from hltm.drawing import draw as draw
    from hltm.exact import enumerate_leaves as enumerate_leaves
    from hltm.exact import leaf_distribution as leaf_distribution
    from hltm.exact import leaf_table as leaf_table
    from hltm.exact import marginals as marginals
    from hltm.exact import posterior as posterior
    from hltm.exact import rational_leaf_distribution as rational_leaf_distribution
    from hltm.exact import root_polarities as root_polarities
    from hltm.exact import root_transitions as root_transitions
    from hltm.files import load as load
    from hltm.files import save as save
    from hltm.nodelink import tree_from_json as tree_from_json
    from hltm.nodelink import tree_to_json as tree_to_json
    from hltm.sampling import LeafPopulation as LeafPopulation
    from hltm.sampling import leaf_population as leaf_population
    from hltm.sampling import resample as resample
    from hltm.sampling import sample as sample
    from hltm.tree import HLTM as HLTM
    from hltm.tree import find_node as find_node

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "base.errors": ["InputError"],
        "build": ["caterpillar_tree", "complete_tree", "random_tree", "star_tree"],
        "drawing": ["draw"],
        "exact": [
            "enumerate_leaves",
            "leaf_distribution",
            "leaf_table",
            "marginals",
            "posterior",
            "rational_leaf_distribution",
            "root_polarities",
            "root_transitions",
        ],
        "files": ["load", "save"],
        "nodelink": ["tree_from_json", "tree_to_json"],
        "sampling": ["LeafPopulation", "leaf_population", "resample", "sample"],
        "tree": ["HLTM", "find_node"],
    },
)
