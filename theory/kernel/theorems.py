"""Which theorem of ``theory/kernel/*.v`` is which statement, for all sizes, and what of a statement none is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Theorem:
    """A theorem: its file without suffix, its name, and what it says."""

    file: str
    name: str
    says: str

    @property
    def text(self) -> str:
        """The statement of the theorem as the file has it, up to its proof."""
        source = (HERE / f"{self.file}.v").read_text(encoding="utf-8")
        start = source.index(f"\nTheorem {self.name} ") + 1
        return source[start : source.index("\nProof.", start)]


@dataclass(frozen=True)
class Covered:
    """The theorems of a statement, and what they leave out."""

    theorems: tuple[Theorem, ...]
    missing: str = ""


def _of(file: str, **says: str) -> tuple[Theorem, ...]:
    return tuple(Theorem(file, name, words) for name, words in says.items())


THEOREMS: Mapping[str, Covered] = MappingProxyType(
    {
        "dual-gradient": Covered(
            (
                *_of(
                    "DualGradient",
                    dual_gradient="the gradient of the squared distance of two gated towers, whatever their shapes",
                    dual_gradient_shared="the same where both towers share their weights",
                    key_identity="K_l^T vec W_l = f_L",
                ),
                *_of(
                    "Relu",
                    relu_dual_gradient="the gradient of (leaky) ReLU towers where no pre-activation is 0",
                    relu_dual_gradient_shared="the same where both towers share their weights",
                ),
                *_of(
                    "NormalizedOutput",
                    dual_gradient_normalized="the form with backward and forward connections of l2-normalised outputs",
                ),
            ),
        ),
        "contrastive-losses": Covered(
            _of(
                "ContrastiveLosses",
                contrastive_losses="signs and sum of the slopes of the three losses, every number of negatives",
            ),
        ),
        "covariance-operator": Covered(
            _of(
                "CovarianceOperator",
                covariance_operator="the expected gradient of (leaky) ReLU towers, shared convention",
                covariance_operator_one_branch="the same through one branch",
                covariance_operator_general="any differentiable network: 2 Cov_x[Kbar, fbar]",
                covariance_operator_general_one_branch="the same through one branch",
                variance_psd="the operator is positive semidefinite",
            ),
            "populations that are not finite; the law of a minibatch",
        ),
        "weighted-covariance-operator": Covered(
            _of(
                "WeightedCovarianceOperator",
                weighted_covariance_operator="the weighted operator and the residue of (leaky) ReLU towers, any loss",
                weighted_covariance_operator_one_branch="the same through one branch",
                weighted_covariance_operator_general="any differentiable network",
                weighted_covariance_operator_general_one_branch="the same through one branch",
                residue_second_order="the residue is of second order in the spread, with r between augmentation means",
            )
            + _of("ContrastiveLosses", pair_weight_expansion="the pair weight of the soft triplet loss and of InfoNCE"),
            "more than one negative; the order between unaugmented points; populations that are not finite",
        ),
        "two-layer-dynamics": Covered(
            _of(
                "TwoLayer",
                two_layer_dynamics="the block form of both layers, one-branch",
                two_layer_decoupled="the decoupled form where A_jk = 0",
                uncorrelated_inputs="when A_jk = 0",
                two_layer_conserved="the flow conserves ||w_1j||^2 - ||w_2j||^2 for every differentiable loss",
                two_layer_step="what a step of descent changes of it",
            ),
            "rings",
        ),
        "activation-covariance": Covered(
            _of(
                "ActivationCovariance",
                activation_covariance="o_mu a_mu a_mu^T from the joint law, every tree of two states",
                categorical_covariance="the form of more states",
                categorical_rank="its rank",
            )
            + _of("LatentTree", markov="total expectation along a path, from the joint law of the tree")
            + _of(
                "BinaryRoot",
                binary_root_operator="the operator is (1 - rho_0^2)/4 DK DK^T for a root of two states",
                binary_root_rank="its rank",
                binary_root_losses="one operator for all losses, up to a factor",
                linear_operator="the operator of linear neurons, o_mu a_mu a_mu^T kron J^T J",
            ),
            "the Walsh form; the cross terms in the update of a node; the decay with depth",
        ),
        "lucky-nodes": Covered(
            _of(
                "LuckyNodes",
                preactivation_gap="the gap of a neuron is 2 w_j^T a_mu",
                lucky_nodes="the probability that one of m neurons is lucky",
                strength="the bound of the selectivity, every finite law",
                strength_leaky="the same of leaky ReLU",
            )
            + _of("NeuronsNeeded", neurons_needed="how many neurons are enough"),
            "the law of the gap",
        ),
    }
)
"""Theorems of the seven statements."""
