"""Contrastive losses of a batch of outputs and their derivatives in the outputs, for a stack of members.

Statement 2: with ``r_+`` and ``r_k`` the distances of ``x_1`` from ``x_+`` and the negatives, the derivative in the
outputs is ``dL/dr_+ (f_1 - f_+) + sum_k dL/dr_k (f_1 - f_k)`` for ``f_1``, and the parts with the other sign for the
others. NT-Xent takes the rest of the batch as negatives: for each of the 2B views,
``-tau log(exp(-r_ij/tau) / sum_{k != i} exp(-r_ik/tau))`` with j the other view of the same point.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.checks import show
from hltm.base.errors import InputError
from numeric.towers.losses import LOSSES, LossSpec, loss_spec

WHOLE_BATCH = "ntxent"


@dataclass(frozen=True, eq=False)
class Contrast:
    """Losses of E members, as columns."""

    negatives: int
    tau: Tensor
    margin: Tensor
    flat: Tensor

    def __call__(self, outputs: Float[Tensor, "E n_L samples"]) -> tuple[Tensor, Tensor]:
        """Mean loss ``(E,)`` and its derivative in the outputs, shaped as they are."""
        return self._whole(outputs) if self.negatives == 0 else self._triples(outputs)

    def keep(self, members: Tensor) -> "Contrast":
        """The losses of these members."""
        return Contrast(self.negatives, self.tau[members], self.margin[members], self.flat[members])

    def _triples(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        ensemble, _, samples = outputs.shape
        batch = samples // (2 + self.negatives)
        towers = outputs.unflatten(-1, (-1, batch))
        apart = towers[:, :, :1] - towers[:, :, 1:]
        distances = apart.square().sum(1).mul_(0.5)
        # d_k = r_+ - r_k + r_0; no exponent below is positive.
        excess = (distances[:, :1] - distances[:, 1:]).add_(self.margin.unsqueeze(-1))
        tau = self.tau.unsqueeze(-1)
        lift = excess.amax(1, keepdim=True).clamp_(min=0)
        grown = (excess - lift).div_(tau).exp_()
        total = (-lift / tau).exp_().add_(grown.sum(1, keepdim=True))
        share = torch.where(self.flat.unsqueeze(-1), 1.0, grown / total)
        values = torch.where(self.flat, excess[:, 0], (lift + tau * total.log()).squeeze(1))
        factors = torch.cat([share.sum(1, keepdim=True), share.neg()], dim=1).div_(batch)
        pulls = apart.mul_(factors.unsqueeze(1))
        result = torch.cat([pulls.sum(2, keepdim=True), pulls.neg_()], dim=2)
        return values.mean(-1), result.reshape(ensemble, -1, samples)

    def _whole(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        _, _, views = outputs.shape
        tau = self.tau.unsqueeze(-1)
        square = outputs.square().sum(1)
        # The expanded form of the distance cancels for close outputs: an error of rounding size of ||f||^2.
        distances = (square.unsqueeze(1) + square.unsqueeze(2)).mul_(0.5).baddbmm_(outputs.mT, outputs, alpha=-1.0)
        number = torch.arange(views, device=outputs.device)
        other = (number + views // 2) % views
        logits = (-distances.clamp_(min=0) / tau).masked_fill_(
            torch.eye(views, dtype=torch.bool, device=outputs.device), -torch.inf
        )
        norm = torch.logsumexp(logits, -1, keepdim=True)
        values = tau[:, 0] * (norm.squeeze(-1) - logits[:, number, other])
        pull = (logits - norm).exp_().neg_()  # dL_i/dr_ik = [k = j] - p_ik
        pull[:, number, other] += 1
        pull = (pull + pull.mT).div_(views)
        return values.mean(-1), outputs * pull.sum(-1).unsqueeze(1) - torch.bmm(outputs, pull)


def contrast_of(specs: Sequence[LossSpec], device: torch.device, dtype: torch.dtype) -> Contrast:
    """Losses of a stack; all of the same number of negatives, NT-Xent only with NT-Xent."""
    first = specs[0]
    for number, spec in enumerate(specs):
        if (spec.name == WHOLE_BATCH) != (first.name == WHOLE_BATCH) or spec.negatives != first.negatives:
            if WHOLE_BATCH in (spec.name, first.name):
                rule = f"must not be stacked with {first.name!r} of member 0: {WHOLE_BATCH!r} goes with itself alone"
                raise InputError(f"loss {spec.name!r} of member {number}: {rule}; train them apart")
            result = f"loss {spec.name!r} with {spec.negatives} negatives of member {number}"
            rule = f"must have the {first.negatives} negatives of {first.name!r} of member 0 to be stacked with it"
            raise InputError(f"{result}: {rule}; use negatives=1, or train them apart")

    def column(values: list[Any], kind: torch.dtype) -> Tensor:
        return torch.tensor(values, dtype=kind, device=device).unsqueeze(-1)

    return Contrast(
        0 if first.name == WHOLE_BATCH else first.negatives,
        column([spec.tau for spec in specs], dtype),
        column([spec.margin for spec in specs], dtype),
        column([spec.name == "simple" for spec in specs], torch.bool),
    )


def training_loss(loss: str | LossSpec, **parameters: Any) -> LossSpec:
    """A loss for training: those of :func:`numeric.loss_spec`, and ``"ntxent"`` (``tau``)."""
    if isinstance(loss, LossSpec) or loss != WHOLE_BATCH:
        if not isinstance(loss, LossSpec) and (not isinstance(loss, str) or loss not in LOSSES):
            raise InputError(f"loss={show(loss)}: must be one of {', '.join(map(repr, (*LOSSES, WHOLE_BATCH)))}")
        return loss_spec(loss, **parameters)
    unknown = [name for name in parameters if name != "tau"]
    if unknown:
        raise InputError(f"{unknown[0]}={parameters[unknown[0]]!r} of loss 'ntxent': this loss takes only tau")
    tau = loss_spec("triplet", **parameters).tau
    return LossSpec(WHOLE_BATCH, tau)
