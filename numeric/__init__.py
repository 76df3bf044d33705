"""What networks do: towers and tree networks, connections, operators, exact populations and sampling in torch.

Names are loaded on first use, so that ``import numeric`` does not load torch.
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

if TYPE_CHECKING:
    from numeric.studies.paper.published import PublishedNetwork as PublishedNetwork
    from numeric.studies.paper.published import published_correlations as published_correlations
    from numeric.studies.paper.published import published_loss as published_loss
    from numeric.studies.paper.published import published_network as published_network
    from numeric.studies.paper.published import train_published as train_published
    from numeric.studies.paper.report import summary as summary
    from numeric.studies.paper.run import run_study as run_study
    from numeric.studies.paper.settings import Study as Study
    from numeric.studies.paper.settings import study_tree as study_tree
    from numeric.towers.checks import check_device as check_device
    from numeric.towers.checks import check_slope as check_slope
    from numeric.towers.checks import check_weights as check_weights
    from numeric.towers.checks import check_widths as check_widths
    from numeric.towers.connection import ConnectionFactors as ConnectionFactors
    from numeric.towers.connection import connection_factors as connection_factors
    from numeric.towers.connection import connections as connections
    from numeric.towers.connection import normalized_connections as normalized_connections
    from numeric.towers.descent import DescentTrace as DescentTrace
    from numeric.towers.descent import descend as descend
    from numeric.towers.general import function_population_gradient as function_population_gradient
    from numeric.towers.general import general_update as general_update
    from numeric.towers.gradient import expected_loss as expected_loss
    from numeric.towers.gradient import pair_gradient as pair_gradient
    from numeric.towers.gradient import population_gradient as population_gradient
    from numeric.towers.losses import LossSpec as LossSpec
    from numeric.towers.losses import loss_derivatives as loss_derivatives
    from numeric.towers.losses import loss_spec as loss_spec
    from numeric.towers.losses import loss_value as loss_value
    from numeric.towers.losses import pair_weight as pair_weight
    from numeric.towers.network import Trace as Trace
    from numeric.towers.network import forward as forward
    from numeric.towers.network import random_weights as random_weights
    from numeric.towers.network import trace as trace
    from numeric.towers.network import unvec as unvec
    from numeric.towers.network import vec as vec
    from numeric.towers.operator import covariance_operator as covariance_operator
    from numeric.towers.operator import pair_matrix as pair_matrix
    from numeric.towers.operator import predicted_update as predicted_update
    from numeric.towers.populations import FinitePopulation as FinitePopulation
    from numeric.towers.populations import digit_population as digit_population
    from numeric.towers.populations import output_spread as output_spread
    from numeric.towers.populations import ring_population as ring_population
    from numeric.towers.product import CovarianceProduct as CovarianceProduct
    from numeric.towers.product import covariance_operator_product as covariance_operator_product
    from numeric.training.loop import Failure as Failure
    from numeric.training.loop import TrainingTrace as TrainingTrace
    from numeric.training.train import train as train
    from numeric.trees.metrics import Correlations as Correlations
    from numeric.trees.metrics import absolute_correlation as absolute_correlation
    from numeric.trees.metrics import ceilings as ceilings
    from numeric.trees.metrics import correlations as correlations
    from numeric.trees.metrics import latent_heights as latent_heights
    from numeric.trees.metrics import level_means as level_means
    from numeric.trees.metrics import operator_norms as operator_norms
    from numeric.trees.metrics import posterior_means as posterior_means
    from numeric.trees.metrics import share_of_ceiling as share_of_ceiling
    from numeric.trees.network import TreeNetwork as TreeNetwork
    from numeric.trees.operator import tree_activation_covariance as tree_activation_covariance
    from numeric.trees.operator import tree_connections as tree_connections
    from numeric.trees.operator import tree_covariance_operator as tree_covariance_operator
    from numeric.trees.operator import tree_factors as tree_factors
    from numeric.trees.operator import tree_population_gradient as tree_population_gradient
    from numeric.trees.operator import tree_update as tree_update
    from numeric.trees.sampling import RootContrasts as RootContrasts
    from numeric.trees.sampling import TreeSampler as TreeSampler
    from numeric.trees.sampling import activation_bounds as activation_bounds
    from numeric.trees.sampling import estimate_activation_covariance as estimate_activation_covariance
    from numeric.trees.sampling import sample_leaves as sample_leaves
    from numeric.trees.sampling import sample_root_contrasts as sample_root_contrasts

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "studies.paper.published": [
            "PublishedNetwork",
            "published_correlations",
            "published_loss",
            "published_network",
            "train_published",
        ],
        "studies.paper.report": ["summary"],
        "studies.paper.run": ["run_study"],
        "studies.paper.settings": ["Study", "study_tree"],
        "towers.checks": ["check_device", "check_slope", "check_weights", "check_widths"],
        "towers.connection": ["ConnectionFactors", "connection_factors", "connections", "normalized_connections"],
        "towers.descent": ["DescentTrace", "descend"],
        "towers.general": ["function_population_gradient", "general_update"],
        "towers.gradient": ["expected_loss", "pair_gradient", "population_gradient"],
        "towers.losses": ["LossSpec", "loss_derivatives", "loss_spec", "loss_value", "pair_weight"],
        "towers.network": ["Trace", "forward", "random_weights", "trace", "unvec", "vec"],
        "towers.operator": ["covariance_operator", "pair_matrix", "predicted_update"],
        "towers.populations": ["FinitePopulation", "digit_population", "output_spread", "ring_population"],
        "towers.product": ["CovarianceProduct", "covariance_operator_product"],
        "training.loop": ["Failure", "TrainingTrace"],
        "training.train": ["train"],
        "trees.metrics": [
            "Correlations",
            "absolute_correlation",
            "ceilings",
            "correlations",
            "latent_heights",
            "level_means",
            "operator_norms",
            "posterior_means",
            "share_of_ceiling",
        ],
        "trees.network": ["TreeNetwork"],
        "trees.operator": [
            "tree_activation_covariance",
            "tree_connections",
            "tree_covariance_operator",
            "tree_factors",
            "tree_population_gradient",
            "tree_update",
        ],
        "trees.sampling": [
            "RootContrasts",
            "TreeSampler",
            "activation_bounds",
            "estimate_activation_covariance",
            "sample_leaves",
            "sample_root_contrasts",
        ],
    },
)
