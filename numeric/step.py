"""One step of training for a stack of tree networks: outputs, loss and gradient, written out by hand.

The chain rule of section 0 on the layout of :mod:`numeric.trees.plan`: with ``G`` the derivative in the
pre-activations of a level, the derivative in the weights is ``G f^T`` and that in the level below ``W^T G`` times the
gates, batched over members and nodes. No graph is built.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from numeric.trees.plan import Plan, gathered, own_rows

Objective = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True, eq=False)
class Stack:
    """What a step needs to know of the networks.

    Attributes
    ----------
    plan : Plan
    slope : float
    normalized : bool
        ``f_L = u / ||u||``, 0 where ``u = 0``.
    """

    plan: Plan
    slope: float
    normalized: bool

    def outputs(
        self, parameters: Sequence[Tensor], leaves: Float[Tensor, "#E n_leaves samples"]
    ) -> Float[Tensor, "E n_L samples"]:
        """``f_L``."""
        top = self._forward(parameters, leaves)[0]
        return _normalised(top)[0] if self.normalized else top

    def gradient(
        self, parameters: Sequence[Tensor], leaves: Float[Tensor, "#E n_leaves samples"], contrast: Objective
    ) -> tuple[Float[Tensor, " E"], list[Tensor]]:
        """Loss of each member and its derivative in every block of parameters.

        Parameters
        ----------
        parameters : sequence of Tensor
            ``(E, nodes, n_out, n_in)`` for each block of the plan.
        leaves : Tensor
            ``(E, n_leaves, samples)``, or ``(1, n_leaves, samples)`` for inputs that all share.
        contrast : callable
            Outputs ``(E, n_L, samples)``, which it must not change, to losses ``(E,)`` and derivatives in the outputs.

        Returns
        -------
        (Tensor, list of Tensor)
            ``(E,)``, and gradients shaped as the parameters.
        """
        levels = self._forward(parameters, leaves)
        if not self.normalized:
            loss, pulled = contrast(levels[0])
            return loss, self._backward(parameters, levels, pulled)
        output, norm, dead = _normalised(levels[0])
        loss, pulled = contrast(output)
        along = (output * pulled).sum(1, keepdim=True)
        pulled = pulled.sub_(output.mul_(along)).div_(norm).masked_fill_(dead, 0.0)
        return loss, self._backward(parameters, levels, pulled)

    def _forward(self, parameters: Sequence[Tensor], leaves: Tensor) -> list[Tensor]:
        plan, number = self.plan, len(parameters)
        found: list[Tensor] = []
        for depth in range(len(plan.levels) - 1, -1, -1):
            level = plan.levels[depth]
            pieces = []
            if level.leaves:
                rows = leaves if level.columns is None else leaves.index_select(1, level.columns)
                pieces.append(rows.expand(len(parameters[0]), -1, -1) if level.blocks else rows)
            number -= len(level.blocks)
            for offset, block in enumerate(level.blocks):
                before = _multiply(parameters[number + offset], gathered(block, found[-1]))
                pieces.append(self._activate(before).flatten(1, 2) if depth else before.flatten(1, 2))
            joined = pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=1)
            found.append(joined if level.order is None else joined.index_select(1, level.order))
        return found[::-1]

    def _activate(self, before: Tensor) -> Tensor:
        return before.clamp_(min=0) if self.slope == 0 else torch.nn.functional.leaky_relu_(before, self.slope)

    def _gated(self, pulled: Tensor, activations: Tensor) -> Tensor:
        """Times the gates, in place: 1 where ``f > 0``, else the slope."""
        kernels = torch.ops.aten
        if self.slope == 0:
            kernels.threshold_backward.grad_input(pulled, activations, 0, grad_input=pulled)
        else:
            kernels.leaky_relu_backward.grad_input(pulled, activations, self.slope, True, grad_input=pulled)
        return pulled

    def _backward(self, parameters: Sequence[Tensor], levels: list[Tensor], pulled: Tensor) -> list[Tensor]:
        gradients, number = [], 0
        for depth, level in enumerate(self.plan.levels):
            if not level.blocks:
                break
            below, last = levels[depth + 1], not self.plan.levels[depth + 1].blocks
            moved = torch.zeros_like(below) if not last and level.blocks[0].reads is not None else below
            for offset, block in enumerate(level.blocks):
                own = own_rows(block, pulled)
                gradients.append(_multiply(own, gathered(block, below).mT))
                if last:
                    continue
                part = _multiply(parameters[number + offset].mT, own).flatten(1, 2)
                moved = part if block.reads is None else moved.index_copy_(1, block.reads, part)
            number += len(level.blocks)
            if not last:
                pulled = self._gated(moved, below)
        return gradients


def _normalised(top: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``u / ||u||``, ``||u||`` and where it is 0; 0 / 0 is replaced: a zero output stays zero, with derivative 0."""
    # Scaled by the largest entry, the sum of squares neither overflows nor vanishes.
    largest = top.abs().amax(1, keepdim=True)
    dead = largest == 0
    scaled = top / largest.masked_fill(dead, 1.0)
    length = scaled.square().sum(1, keepdim=True).sqrt_()
    return (scaled / length).masked_fill_(dead, 0.0), length.mul_(largest), dead


def _multiply(left: Tensor, right: Tensor) -> Tensor:
    """``(E, nodes, a, b)`` times ``(E, nodes, b, c)`` as one batched product."""
    if len(right) == 1 < len(left):
        return torch.matmul(left, right)
    found: Tensor = torch.bmm(left.flatten(0, 1), right.flatten(0, 1)).unflatten(0, left.shape[:2])
    return found
