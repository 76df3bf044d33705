"""Which theorem of ``theory/kernel/*.v`` is which statement, for all sizes, and what of a statement none is about."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).parent
_SENTENCE = re.compile(r"^(Section|End|Variables?|Hypothes[ie]s|Context)\b.*?\.$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Theorem:
    """A theorem: its file without suffix, its name, and what it says."""

    file: str
    name: str
    says: str

    @property
    def text(self) -> str:
        """The theorem as the file has it, up to its proof, under the variables and hypotheses of its sections."""
        source = (HERE / f"{self.file}.v").read_text(encoding="utf-8")
        start = source.index(f"\nTheorem {self.name} ") + 1
        given: list[list[str]] = [[]]
        for sentence in _SENTENCE.finditer(source, 0, start):
            if sentence[1] == "Section":
                given.append([])
            elif sentence[1] == "End":
                given.pop()
            else:
                given[-1].append(sentence[0])
        lines = [line for section in given for line in section]
        return "\n".join([*lines, source[start : source.index("\nProof.", start)]])


@dataclass(frozen=True)
class Covered:
    """The theorems of a statement, and what they leave out."""

    theorems: tuple[Theorem, ...]
    missing: str = ""


NONE = Covered((), "a pack without a theorem of its own")


def _of(file: str, **says: str) -> tuple[Theorem, ...]:
    return tuple(Theorem(file, name, words) for name, words in says.items())


THEOREMS: Mapping[str, Covered] = MappingProxyType(
    {
        "dual-gradient": Covered(
            (
                *_of(
                    "DualGradient",
                    dual_gradient="the gradient of two towers with given gates, whatever their shapes",
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
                    dual_gradient_normalized="l2-normalised outputs, none 0, no pre-activation 0",
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
                covariance_operator="(leaky) ReLU towers where no pre-activation is 0, shared convention",
                covariance_operator_one_branch="the same through one branch",
                covariance_operator_general="any differentiable network: 2 Cov_x[Kbar, fbar]",
                covariance_operator_general_one_branch="the same through one branch",
                variance_psd="the operator is positive semidefinite where no weight of a point is negative",
            ),
            "populations that are not finite; the law of a minibatch",
        ),
        "weighted-covariance-operator": Covered(
            _of(
                "WeightedCovarianceOperator",
                weighted_covariance_operator="a loss of r_+ - r_-, (leaky) ReLU, no pre-activation 0",
                weighted_covariance_operator_one_branch="the same through one branch",
                weighted_covariance_operator_general="any differentiable network",
                weighted_covariance_operator_general_one_branch="the same through one branch",
                residue_second_order="O(s^2) for K = Kbar + s kappa, f = fbar + s phi, r between means",
            )
            + _of(
                "ContrastiveLosses",
                pair_weight_expansion="the sigmoid pair weight meets that hypothesis, on the reals",
            ),
            "more than one negative; a spread in which Kbar or the gates move; the order between unaugmented points; "
            "that the reals of the exponentials are a field of the operator's theorem; infinite populations",
        ),
        "two-layer-dynamics": Covered(
            _of(
                "TwoLayer",
                two_layer_dynamics="the block form of both layers, one-branch, where no pre-activation is 0",
                two_layer_decoupled="the decoupled form where A_jk = 0",
                uncorrelated_inputs="when A_jk = 0",
                two_layer_conserved="the rate of ||w_1j||^2 - ||w_2j||^2 is 0 where no pre-activation is 0",
                two_layer_step="what a step of descent changes of it",
            ),
            "rings; conservation across a kink, and what a rate of 0 says of an interval of time",
        ),
        "activation-covariance": Covered(
            _of(
                "ActivationCovariance",
                activation_covariance="o_mu a_mu a_mu^T from the joint law, every tree of two states",
                categorical_covariance="the form of more states",
                categorical_rank="its rank is below the largest number of states",
            )
            + _of("LatentTree", markov="total expectation along a path, from the joint law of the tree")
            + _of(
                "BinaryRoot",
                binary_root_operator="the operator is (1 - rho_0^2)/4 DK DK^T for a root of two states",
                binary_root_rank="its rank",
                binary_root_losses="the leading operator of a loss of r_+ - r_- is a multiple of it",
                linear_operator="f kron J^T with one J, the means of the tree: o_mu a_mu a_mu^T kron J^T J",
            ),
            "the Walsh form; the cross terms in the update of a node; the decay with depth; the rank where the root "
            "has fewer states than others",
        ),
        "lucky-nodes": Covered(
            _of(
                "LuckyNodes",
                preactivation_gap="the gap of a neuron is 2 w_j^T a_mu",
                lucky_nodes="the probability that one of m neurons is lucky, weights of any finite law",
                strength="the bound of the selectivity, every finite law",
                strength_leaky="the same of leaky ReLU",
            )
            + _of("NeuronsNeeded", neurons_needed="how many neurons are enough"),
            "the law of the gap; existence for weights of a density; amplification and emergence, which are measured",
        ),
        "byol-update": Covered(
            _of(
                "ByolUpdate",
                byol_update="zero mean, predictor c, W' = W: c(1-c) V[Kbar] - c^2 E V_aug[K] for (leaky) ReLU towers",
                byol_update_general="the same for every differentiable network",
                byol_predictor="the same with any linear predictor and any fixed target",
            ),
            "one batch; BatchNorm; what detaching the mean changes; the optimal predictor",
        ),
    }
)
"""Theorems of the seven statements."""
