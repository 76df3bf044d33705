"""State of a training as tensors by name: weights, statistics of batch normalisation, moments of the optimiser."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from hltm.base.errors import InputError

_MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's, one number for each weight


def saved(network: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """What a training goes on from, on the CPU.

    Examples
    --------
    >>> network = torch.nn.Linear(2, 1, bias=False)
    >>> sorted(saved(network, torch.optim.AdamW(network.parameters())))
    ['network.weight']
    """
    found = {f"network.{name}": value for name, value in network.state_dict().items()}
    for number, held in optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in held.items()}
    return {name: value.detach().cpu() for name, value in found.items()}


def restore(network: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Go on from what :func:`saved` gave.

    Raises
    ------
    InputError
        They are not those of such a network.
    """
    held: dict[int, dict[str, Tensor]] = {}
    weights: dict[str, Tensor] = {}
    try:
        for name, value in tensors.items():
            kind, rest = name.split(".", 1)
            if kind == "network":
                weights[rest] = value
            else:
                number, entry = rest.split(".", 1)
                held.setdefault(int(number), {})[entry] = value
        network.load_state_dict(weights)
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict({"state": held, "param_groups": groups})
        # Files hold rows; a fused kernel goes through weights and moments as they lie in memory, and on a GPU refuses
        # layouts that differ, such as those of convolutions whose channels are last.
        for parameter, state in optimizer.state.items():
            for name in _MOMENTS:
                if state[name].shape != parameter.shape:
                    raise ValueError(f"{name} of shape {tuple(state[name].shape)} for {tuple(parameter.shape)}")
                state[name] = torch.empty_like(parameter, requires_grad=False).copy_(state[name])
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(f"checkpoint: {error}: must be that of such a network") from None


def not_finite(network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[str, float] | None:
    """The first kind of number in the state that is not finite, with its value; None where all are.

    Examples
    --------
    >>> network = torch.nn.Linear(1, 1, bias=False)
    >>> _ = torch.nn.init.constant_(network.weight, torch.inf)
    >>> not_finite(network, torch.optim.AdamW(network.parameters()))
    ('a weight', inf)
    """
    for what, tensor in _numbers(network, optimizer):
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            return what, float(tensor[~tensor.isfinite()][0])
    return None


def _numbers(network: nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    yield from (("a weight", each.detach()) for each in network.parameters())
    yield from (("a statistic of batch normalisation", each) for each in network.buffers())
    yield from (("a moment", state[name]) for state in optimizer.state.values() for name in _MOMENTS)
