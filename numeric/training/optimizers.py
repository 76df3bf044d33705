"""Optimisers of stacked parameters with one learning rate for each member: plain descent, and those of `torch.optim`.

`torch.optim` has one learning rate for a tensor. Where members differ in theirs, its step is taken with rate 1 and
scaled for each member: the same for every optimiser whose step is proportional to its rate. Others are refused.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from hltm.base.checks import show
from hltm.base.errors import InputError

_NAMES = {name.lower(): name for name in ("Adam", "Adamax", "AdamW", "NAdam", "RAdam", "RMSprop", "SGD")}


class Descent:
    """``W <- W - lr dL/dW`` in place, for parameters ``(E, nodes, n_out, n_in)`` and ``lr`` of shape ``(E,)``."""

    def __init__(self, parameters: Sequence[Tensor], rates: Tensor) -> None:
        self.parameters, self.rates = list(parameters), rates.view(-1, 1, 1, 1)

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step; the gradients may be overwritten."""
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.sub_(gradient.mul_(self.rates))

    def state(self) -> dict[str, Tensor]:
        """Everything beside the parameters that the next step depends on."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Load a state."""

    def keep(self, members: Tensor) -> None:
        """Drop all members but these."""
        self.parameters, self.rates = [block[members] for block in self.parameters], self.rates[members]


class TorchOptimizer(Descent):
    """An optimiser of `torch.optim` on stacked parameters."""

    def __init__(self, kind: str, parameters: Sequence[Tensor], rates: Tensor, options: Mapping[str, Any]) -> None:
        super().__init__(parameters, rates)
        first = float(rates[0])
        self.same = bool((rates == first).all())
        try:
            self.inner = getattr(torch.optim, kind)(self.parameters, lr=first if self.same else 1.0, **options)
            # Some options are checked only when a step is taken: one on a parameter made for this.
            probe = torch.zeros_like(self.parameters[0][:1])
            probe.grad = torch.zeros_like(probe)
            getattr(torch.optim, kind)([probe], lr=1.0, **options).step()
        except (AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"optimizer_options={dict(options)!r} of {kind}: {reason}") from error

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Take one step; with different rates a step of rate 1, scaled for each member."""
        before = [] if self.same else [parameter.clone() for parameter in self.parameters]
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = gradient
        self.inner.step()
        for parameter, start in zip(self.parameters, before, strict=False):
            parameter.copy_(start + self.rates * (parameter - start))

    def state(self) -> dict[str, Tensor]:
        """Tensors of every parameter as ``"number.name"``; numbers become tensors."""
        return {
            f"{number}.{name}": torch.as_tensor(value).clone()
            for number, values in self.inner.state_dict()["state"].items()
            for name, value in values.items()
            if value is not None
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        # Not `load_state_dict`: it casts what is single precision on purpose (NAdam's product) to the weights' type.
        self.inner.state.clear()
        for key, value in state.items():
            number, name = key.split(".", 1)
            parameter = self.parameters[int(number)]
            alike = value.shape == parameter.shape
            self.inner.state[parameter][name] = value.to(parameter.device) if alike else value.clone()

    def keep(self, members: Tensor) -> None:
        """Drop all members but these, and their state."""
        every = self.parameters
        super().keep(members)
        for parameter, kept in zip(every, self.parameters, strict=True):
            self.inner.state[kept] = {
                name: value[members] if isinstance(value, Tensor) and value.shape == parameter.shape else value
                for name, value in self.inner.state.pop(parameter, {}).items()
            }
        self.inner.param_groups[0]["params"] = list(self.parameters)


def plain_options(name: str, options: Any) -> dict[str, Any]:
    """Options as a dictionary of JSON data, as a checkpoint needs them; None is no option."""
    place = f"optimizer_options={show(options)} of {show(name)}"
    if options is not None and not isinstance(options, Mapping):
        raise InputError(f"{place}: must be a mapping of names to values")
    result = dict(options or {})
    try:
        json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise InputError(f"{place}: must be finite numbers, strings and lists by name") from None
    return result


def make_optimizer(name: str, parameters: Sequence[Tensor], rates: Tensor, options: Mapping[str, Any]) -> Descent:
    """Make the optimiser of a run, which owns the parameters; ``"sgd"`` without options is plain descent.

    An unknown optimiser, or one whose step is not proportional to its learning rate, is refused.
    """
    if not isinstance(name, str) or name not in _NAMES:
        raise InputError(f"optimizer={show(name)}: must be one of {', '.join(map(repr, _NAMES))}")
    if name == "sgd" and not options:
        return Descent(parameters, rates)
    return TorchOptimizer(_NAMES[name], parameters, rates, options)
