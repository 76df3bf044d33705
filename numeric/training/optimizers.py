"""Optimisers of stacked parameters with one learning rate for each member: plain descent, and those of `torch.optim`.

`torch.optim` knows one learning rate for a tensor. Where members differ in theirs, its step is taken with rate 1 and
scaled for each member: the same for every optimiser whose step is proportional to its rate. Others are refused.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from hltm.base.checks import show
from hltm.base.errors import InputError

_NAMES = {
    "adam": "Adam",
    "adamax": "Adamax",
    "adamw": "AdamW",
    "nadam": "NAdam",
    "radam": "RAdam",
    "rmsprop": "RMSprop",
    "sgd": "SGD",
}


@runtime_checkable
class Optimizer(Protocol):
    """What the training loop calls; it owns the parameters ``(E, nodes, n_out, n_in)`` and changes them in place."""

    parameters: list[Tensor]

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Change the parameters; the gradients may be overwritten."""

    def state(self) -> dict[str, Tensor]:
        """Everything beside the parameters that the next step depends on."""

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state."""

    def keep(self, members: Tensor) -> None:
        """Forget all members but these."""


class Descent:
    """``W <- W - lr dL/dW``, ``lr`` of shape ``(E,)``."""

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor) -> None:
        self.parameters, self.rates = list(parameters), rates.view(-1, 1, 1, 1)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step, in place."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.sub_(gradient.mul_(self.rates))

    def state(self) -> dict[str, Tensor]:
        """Nothing."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Nothing to take up."""

    def keep(self, members: Tensor) -> None:
        """Forget all members but these."""
        self.parameters, self.rates = [block[members] for block in self.parameters], self.rates[members]


class TorchOptimizer:
    """An optimiser of `torch.optim` on stacked parameters."""

    def __init__(self, kind: str, parameters: Sequence[Tensor], rates: Tensor, options: Mapping[str, Any]) -> None:
        self.rates, self.parameters = rates.view(-1, 1, 1, 1), list(parameters)
        first = float(rates[0])
        self.same = bool((rates == first).all())
        try:
            self.inner = getattr(torch.optim, kind)(self.parameters, lr=first if self.same else 1.0, **options)
            # Some options are looked at only when a step is taken: one on a parameter of its own.
            tried = torch.zeros_like(self.parameters[0][:1])
            tried.grad = torch.zeros_like(tried)
            getattr(torch.optim, kind)([tried], lr=1.0, **options).step()
        except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"optimizer_options={dict(options)!r} of {kind}: {reason}") from error

    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step, in place."""
        before = [] if self.same else [parameter.clone() for parameter in self.parameters]
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.inner.step()
        for parameter, start in zip(self.parameters, before, strict=False):
            parameter.copy_(start + self.rates * (parameter - start))

    def state(self) -> dict[str, Tensor]:
        """Tensors of every parameter, by number and name; numbers become tensors."""
        held = self.inner.state_dict()["state"]
        return {
            f"{number}.{name}": torch.as_tensor(value).clone()
            for number, values in held.items()
            for name, value in values.items()
            if value is not None
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state."""
        # Not `load_state_dict`: it casts what is single precision on purpose (NAdam's product) to the weights' type.
        self.inner.state.clear()
        for key, value in state.items():
            number, name = key.split(".", 1)
            parameter = self.parameters[int(number)]
            alike = value.shape == parameter.shape
            self.inner.state[parameter][name] = value.to(parameter.device) if alike else value.clone()

    def keep(self, members: Tensor) -> None:
        """Forget all members but these."""
        self.rates = self.rates[members]
        kept = [parameter[members] for parameter in self.parameters]
        for parameter, other in zip(self.parameters, kept, strict=True):
            state = self.inner.state.pop(parameter, {})
            self.inner.state[other] = {
                name: value[members] if isinstance(value, Tensor) and value.shape == parameter.shape else value
                for name, value in state.items()
            }
        self.parameters = kept
        self.inner.param_groups[0]["params"] = list(kept)


def check_optimizer(name: str) -> str:
    """Refuse an optimiser that is not known, or whose step is not proportional to its learning rate."""
    if not isinstance(name, str) or name not in _NAMES:
        raise InputError(f"optimizer={show(name)}: must be one of {', '.join(map(repr, _NAMES))}")
    return name


def plain_options(name: str, options: Any) -> dict[str, Any]:
    """Options that a checkpoint can hold; None are no options."""
    place = f"optimizer_options={show(options)} of {show(name)}"
    if options is not None and not isinstance(options, Mapping):
        raise InputError(f"{place}: must be a mapping of names to values")
    result = dict(options or {})
    try:
        json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InputError(f"{place}: must be finite numbers, strings and lists by name") from None
    return result


def make_optimizer(name: str, parameters: Sequence[Tensor], rates: Tensor, options: Mapping[str, Any]) -> Optimizer:
    """Make the optimiser of a run, which owns the parameters; ``"sgd"`` without options is plain descent."""
    kind = _NAMES[check_optimizer(name)]
    if name == "sgd" and not options:
        return Descent(parameters, rates)
    return TorchOptimizer(kind, parameters, rates, options)
