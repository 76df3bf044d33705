"""Contrastive losses of distances: values, derivatives in closed form, and the pair weights that they induce.

Statement 2: simple ``r_+ - r_-``; soft triplet ``tau log(1 + exp((r_+ - r_- + r_0)/tau))``; InfoNCE
``-tau log(exp(-r_+/tau) / (exp(-r_+/tau) + sum_k exp(-r_k/tau)))``. Statement 4: their pair weights ``xi``.
With ``d_k = r_+ - r_k + r_0`` triplet and InfoNCE are the same expression, ``tau log(1 + sum_k
exp(d_k/tau))``.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hltm.base.errors import InputError
from numeric.towers.checks import Real, as_number, is_integer

_TAKES = {"simple": (), "triplet": ("tau", "margin"), "infonce": ("tau", "negatives")}
LOSSES = tuple(_TAKES)


@dataclass(frozen=True)
class LossSpec:
    """A validated loss: its name and parameters; parameters of other losses stay at their defaults.

    Attributes
    ----------
    name : str
        ``"simple"``, ``"triplet"`` or ``"infonce"``.
    tau : float
        Temperature, positive.
    margin : float
        ``r_0`` of the triplet loss.
    negatives : int
        H, the number of negatives.

    Examples
    --------
    >>> loss_spec("infonce", tau=0.5, negatives=3)
    LossSpec(name='infonce', tau=0.5, margin=0.0, negatives=3)
    """

    name: str
    tau: float = 0.1
    margin: float = 0.0
    negatives: int = 1


def loss_spec(loss: str | LossSpec, **parameters: Any) -> LossSpec:
    """Validate a loss and its parameters.

    Parameters
    ----------
    loss : str or LossSpec
        ``"simple"`` (no parameter), ``"triplet"`` (``tau``, ``margin``) or ``"infonce"`` (``tau``,
        ``negatives``); a ready specification is passed on, with no further parameters.
    **parameters
        ``tau`` positive (default 0.1), ``margin`` finite (default 0), ``negatives`` integer >= 1 (default 1).

    Returns
    -------
    LossSpec

    Raises
    ------
    InputError
        Unknown loss, a parameter that it does not take, or a value outside its range.

    Source
    ------
    Statement 2.

    Examples
    --------
    >>> loss_spec("infonce", tau=0.5, negatives=2)
    LossSpec(name='infonce', tau=0.5, margin=0.0, negatives=2)
    >>> loss_spec("triplet", tau=0)
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: tau=0 of loss 'triplet': must be positive and finite
    """
    if isinstance(loss, LossSpec):
        if parameters:
            raise InputError(f"{sorted(parameters)[0]} beside a ready loss {loss.name!r}: must be part of it")
        return loss
    if loss not in _TAKES:
        raise InputError(f"loss={loss!r}: must be one of {', '.join(map(repr, _TAKES))}")
    taken = _TAKES[loss]
    for name, value in parameters.items():
        if name not in taken:
            allowed = f"only {', '.join(taken)}" if taken else "no parameter"
            raise InputError(f"{name}={value!r} of loss {loss!r}: this loss takes {allowed}")
    values = {"tau": 0.1, "margin": 0.0, "negatives": 1} | parameters
    tau, margin, negatives = as_number(values["tau"]), as_number(values["margin"]), values["negatives"]
    for name, valid, rule in (
        ("tau", tau > 0, "positive and finite"),
        ("margin", not math.isnan(margin), "a finite number"),
        ("negatives", is_integer(negatives, 1), "an integer >= 1"),
    ):
        if not valid:
            raise InputError(f"{name}={values[name]!r:.60} of loss {loss!r}: must be {rule}")
    return LossSpec(loss, tau, margin, int(negatives))


def _check_negatives(spec: LossSpec, distances: Tensor) -> None:
    count = distances.shape[-1]
    if count != spec.negatives:
        raise InputError(f"r_neg with {count} negatives for loss {spec.name!r}: must have {spec.negatives}")


def loss_value(
    spec: LossSpec, r_pos: Float[Tensor, "*batch"], r_neg: Float[Tensor, "*batch H"]
) -> Float[Tensor, "*batch"]:
    """Value of the loss, stable for small temperatures and large distances.

    Parameters
    ----------
    spec : LossSpec
        The loss.
    r_pos : Tensor
        ``r_+``, any shape.
    r_neg : Tensor
        ``r_1 .. r_H`` on a further last axis.

    Returns
    -------
    Tensor
        One value per ``r_+``.

    Raises
    ------
    InputError
        Another number of negatives than the loss has.

    Source
    ------
    Statement 2.

    Examples
    --------
    >>> loss_value(loss_spec("infonce", tau=1e-4), torch.tensor([2e6]), torch.tensor([[1e6]]))
    tensor([1000000.])
    """
    _check_negatives(spec, r_neg)
    excess = r_pos.unsqueeze(-1) - r_neg + spec.margin
    if spec.name == "simple":
        return excess.squeeze(-1)
    # tau log(1 + sum_k exp(d_k/tau)) = m + tau log(exp(-m/tau) + exp((peak - m)/tau) sum_k exp((d_k -
    # peak)/tau)) with constants peak = max_k d_k and m = max(peak, 0): no exponent is positive. logaddexp
    # keeps small values exact and has the right derivative, 1/2, where both of its arguments are 0.
    peak = excess.detach().amax(-1)
    lift = peak.clamp_min(0)
    spread = (excess - peak.unsqueeze(-1)) / spec.tau
    joined = spread.squeeze(-1) if spec.negatives == 1 else torch.logsumexp(spread, -1)
    return lift + spec.tau * torch.logaddexp(joined + (peak - lift) / spec.tau, -lift / spec.tau)


def loss_derivatives(
    spec: LossSpec, r_pos: Float[Tensor, "*batch"], r_neg: Float[Tensor, "*batch H"]
) -> tuple[Float[Tensor, "*batch"], Float[Tensor, "*batch H"]]:
    """Derivatives ``dL/dr_+`` and ``dL/dr_k`` in closed form.

    Parameters
    ----------
    spec, r_pos, r_neg
        As in :func:`loss_value`.

    Returns
    -------
    (Tensor, Tensor)
        Shapes of ``r_pos`` and ``r_neg``; the first plus the sum of the second is 0.

    Raises
    ------
    InputError
        Another number of negatives than the loss has.

    Source
    ------
    Statement 2.

    Examples
    --------
    >>> loss_derivatives(loss_spec("triplet", tau=1.0), torch.tensor([1.0]), torch.tensor([[1.0]]))
    (tensor([0.5000]), tensor([[-0.5000]]))
    """
    _check_negatives(spec, r_neg)
    if spec.name == "simple":
        return torch.ones_like(r_pos), -torch.ones_like(r_neg)
    excess = r_pos.unsqueeze(-1) - r_neg + spec.margin
    share = _share(excess, spec.tau)
    return share.sum(-1), -share


def pair_weight(spec: LossSpec, distances: Float[Tensor, "*batch H"]) -> Float[Tensor, "*batch H"]:
    """Pair weights ``xi_k``: the size of ``dL/dr_k`` at ``r_+ = 0``.

    Parameters
    ----------
    spec : LossSpec
        The loss.
    distances : Tensor
        ``r_1 .. r_H`` on the last axis.

    Returns
    -------
    Tensor
        Same shape. Simple 1, triplet ``sigmoid((r_0 - r)/tau)``, InfoNCE ``exp(-r_k/tau) / (1 + sum_j
        exp(-r_j/tau))``.

    Raises
    ------
    InputError
        Another number of negatives than the loss has.

    Source
    ------
    Statement 4.

    Examples
    --------
    >>> pair_weight(loss_spec("infonce", tau=1.0, negatives=2), torch.zeros(1, 2))
    tensor([[0.3333, 0.3333]])
    """
    _check_negatives(spec, distances)
    if spec.name == "simple":
        return torch.ones_like(distances)
    if spec.name == "triplet":
        return torch.sigmoid((spec.margin - distances) / spec.tau)
    return _share(-distances, spec.tau)


def _share(excess: Float[Tensor, "*batch H"], tau: Real) -> Float[Tensor, "*batch H"]:
    """``exp(d_k/tau) / (1 + sum_j exp(d_j/tau))`` with no positive exponent."""
    lift = excess.amax(-1, keepdim=True).clamp_min(0)
    grown = torch.exp((excess - lift) / tau)
    return grown / (torch.exp(-lift / tau) + grown.sum(-1, keepdim=True))
