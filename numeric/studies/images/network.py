"""Networks of the image experiments: an encoder (small convnet, or ResNet-18) and a dense projection head.

The head is a tower of bias-free layers with ReLU in between, so statements 3 and 4 hold on it in their operator form;
with batch normalisation they must not. Batch normalisation here takes the statistics of the joint batch of all
processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hltm.base.checks import integer
from hltm.base.errors import InputError
from numeric.studies.images.processes import guarded, mean_over_processes, rank_and_size

ENCODERS = ("convnet", "resnet18")
NORMS = ("batch", "none")


@dataclass(frozen=True)
class Shape:
    """Architecture of a network, and the images that it takes."""

    encoder: str = "convnet"
    channels: int = 1
    side: int = 8
    width: int = 32
    hidden: int = 64
    out: int = 32
    norm: str = "none"
    head_norm: str = "none"

    def __post_init__(self) -> None:
        for name in ("channels", "side", "width", "hidden", "out"):
            integer(getattr(self, name), name, 1)
        for name, allowed in (("encoder", ENCODERS), ("norm", NORMS), ("head_norm", NORMS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"{name}={getattr(self, name)!r:.40}: must be one of {', '.join(allowed)}")


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation over all but the channels; in training with the statistics of all processes.

    Computed in single precision at least; the output has the type of the input.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - the name of the class above
        if input.ndim not in (2, 4):
            raise InputError(f"input of shape {tuple(input.shape)}: must be (n, C) or (n, C, H, W)")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the class above
        """Normalise; by torch's own kernel where there is one process."""
        processes = rank_and_size()[1]
        if not self.training or processes == 1:
            return super().forward(input)
        # Under autocast a convolution gives bfloat16, whose sums would lose the mean of a large batch.
        below = input if input.dtype == torch.float64 else input.float()
        axes = [0, *range(2, below.ndim)]
        mean = mean_over_processes(below.mean(axes))
        shape = (1, -1, *[1] * (below.ndim - 2))
        centred = below - mean.reshape(shape)
        variance = mean_over_processes(centred.square().mean(axes))
        count = below.numel() // below.shape[1] * processes
        if self.track_running_stats:
            self._update_statistics(mean.detach(), variance.detach() * count / max(count - 1, 1))
        scaled = centred * torch.rsqrt(variance + self.eps).reshape(shape)
        return (scaled * self.weight.reshape(shape) + self.bias.reshape(shape)).to(input.dtype)

    @torch.no_grad()
    def _update_statistics(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Inside, batch normalisation in training does not update its running statistics."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _norm(kind: str, channels: int) -> nn.Module:
    return BatchNorm(channels) if kind == "batch" else nn.Identity()


class Block(nn.Module):
    """Residual block of ResNet-18: two convolutions of 3 x 3 around a shortcut."""

    def __init__(self, below: int, above: int, stride: int, norm: str) -> None:
        super().__init__()
        plain = norm == "none"
        self.first = nn.Conv2d(below, above, 3, stride, 1, bias=plain)
        self.first_norm = _norm(norm, above)
        self.second = nn.Conv2d(above, above, 3, 1, 1, bias=plain)
        self.second_norm = _norm(norm, above)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or below != above:
            self.shortcut = nn.Sequential(nn.Conv2d(below, above, 1, stride, bias=plain), _norm(norm, above))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.second_norm(self.second(torch.relu(self.first_norm(self.first(x)))))
        return torch.relu(inner + self.shortcut(x))


def _convnet(shape: Shape) -> list[nn.Module]:
    """Three convolutions of 3 x 3; 2 width channels."""
    width, plain = shape.width, shape.norm == "none"
    blocks: list[nn.Module] = []
    for below, above, stride in [(shape.channels, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 2)]:
        blocks += [nn.Conv2d(below, above, 3, stride, 1, bias=plain), _norm(shape.norm, above), nn.ReLU()]
    return blocks


def _resnet18(shape: Shape) -> list[nn.Module]:
    """ResNet-18 without its classifier; 8 width channels, the usual width is 64."""
    width, plain = shape.width, shape.norm == "none"
    kernel, stride, padding = (7, 2, 3) if shape.side > 64 else (3, 1, 1)
    stem = nn.Conv2d(shape.channels, width, kernel, stride, padding, bias=plain)
    blocks: list[nn.Module] = [stem, _norm(shape.norm, width), nn.ReLU()]
    blocks += [nn.MaxPool2d(3, 2, 1)] if shape.side > 64 else []
    for below, above, stride in [(1, 1, 1), (1, 2, 2), (2, 4, 2), (4, 8, 2)]:
        blocks.append(Block(below * width, above * width, stride, shape.norm))
        blocks.append(Block(above * width, above * width, 1, shape.norm))
    return blocks


class Encoder(nn.Module):
    """Blocks of an encoder and the mean over positions: ``(n, C, H, W)`` to ``(n, features)``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        residual = shape.encoder == "resnet18"
        self.blocks = nn.Sequential(*(_resnet18(shape) if residual else _convnet(shape)))
        self.features = (8 if residual else 2) * shape.width

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.blocks(x).mean((-2, -1))
        return result


class Head(nn.Module):
    """Projection head ``W_2 relu(W_1 f)``, without biases, with batch normalisation before the ReLU on request."""

    def __init__(self, features: int, hidden: int, out: int, norm: str) -> None:
        super().__init__()
        self.first = nn.Linear(features, hidden, bias=False)
        self.norm = _norm(norm, hidden)
        self.second = nn.Linear(hidden, out, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Outputs ``f_L``, not normalised."""
        result: Tensor = self.second(torch.relu(self.norm(self.first(features))))
        return result


class Network(nn.Module):
    """Encoder and head; outputs ``f_L`` are not normalised."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder = Encoder(shape)
        self.head = Head(self.encoder.features, shape.hidden, shape.out, shape.head_norm)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, C, H, W)`` to ``(n, out)``."""
        result: Tensor = self.head(self.encoder(x))
        return result


def make_network(shape: Shape, seed: int) -> Network:
    """A network with initial weights drawn from a seed; torch's global state is left alone."""
    generator = torch.Generator().manual_seed(seed)
    sizes = f"width={shape.width}, hidden={shape.hidden}, out={shape.out}"
    # Layers draw their first weights from the global state, which is restored; those drawn below replace them.
    with guarded(f"network of {sizes}", torch.device("cpu")), torch.random.fork_rng(devices=[]):
        network = Network(shape)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(
                    module.weight, mode="fan_out" if isinstance(module, nn.Conv2d) else "fan_in",
                    nonlinearity="relu", generator=generator,
                )  # fmt: skip
                if module.bias is not None:
                    module.bias.zero_()
    return network
