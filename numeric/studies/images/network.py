"""Networks of the image experiments: an encoder (small convnet, or ResNet-18) and a dense projection head.

The head is a tower of bias-free layers with ReLU in between, so statements 3 and 4 hold on it in their operator form;
with batch normalisation they must not. The statistics of our batch normalisation are those of the batch of all
processes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hltm.base.checks import integer
from hltm.base.errors import InputError
from numeric.studies.images.processes import guarded, mean_over_processes

ENCODERS = ("convnet", "resnet18")
NORMS = ("batch", "none")


@dataclass(frozen=True)
class Shape:
    """What a network looks like."""

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
    """Batch normalisation over all but the channels, with the statistics of all processes in training.

    Statistics and normalisation are in single precision at least, whatever the input is in; the output is as the input.
    """

    def _check_input_dim(self, input: Tensor) -> None:  # noqa: A002 - the name of the class above
        if input.ndim not in (2, 4):
            raise InputError(f"input of shape {tuple(input.shape)}: must be (n, C) or (n, C, H, W)")

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name of the class above
        """Normalise; torch's own way where there is one process only."""
        if not self.training or not _many():
            return super().forward(input)
        # Under autocast a convolution gives bfloat16, whose sums would lose the mean of a large batch.
        held = input if input.dtype == torch.float64 else input.float()
        axes = [0, *range(2, held.ndim)]
        mean = mean_over_processes(held.mean(axes))
        shape = (1, -1, *[1] * (held.ndim - 2))
        centred = held - mean.reshape(shape)
        variance = mean_over_processes(centred.square().mean(axes))
        count = held.numel() // held.shape[1] * torch.distributed.get_world_size()
        if self.track_running_stats:
            self._remember(mean.detach(), variance.detach() * count / max(count - 1, 1))
        scaled = centred * torch.rsqrt(variance + self.eps).reshape(shape)
        return (scaled * self.weight.reshape(shape) + self.bias.reshape(shape)).to(input.dtype)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance, self.momentum)
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)


@contextmanager
def statistics_kept(network: nn.Module) -> Iterator[None]:
    """Inside, batch normalisation in training takes the statistics of its batch and leaves the running ones alone."""
    norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def _many() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _norm(kind: str, channels: int) -> nn.Module:
    return BatchNorm(channels) if kind == "batch" else nn.Identity()


class Convnet(nn.Module):
    """Three convolutions of 3 x 3 and a mean over positions: ``(n, C, H, W)`` to ``(n, 2 width)``."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, plain = shape.width, shape.norm == "none"
        sizes = [(shape.channels, width, 1), (width, 2 * width, 2), (2 * width, 2 * width, 2)]
        blocks: list[nn.Module] = []
        for below, above, stride in sizes:
            blocks += [nn.Conv2d(below, above, 3, stride, 1, bias=plain), _norm(shape.norm, above), nn.ReLU()]
        self.blocks = nn.Sequential(*blocks)
        self.features = 2 * width

    def forward(self, x: Tensor) -> Tensor:
        """Features of images."""
        result: Tensor = self.blocks(x).mean((-2, -1))
        return result


class Block(nn.Module):
    """Two convolutions of 3 x 3 around a shortcut."""

    def __init__(self, below: int, above: int, stride: int, norm: str) -> None:
        super().__init__()
        plain = norm == "none"
        self.first = nn.Conv2d(below, above, 3, stride, 1, bias=plain)
        self.first_norm = _norm(norm, above)
        self.second = nn.Conv2d(above, above, 3, 1, 1, bias=plain)
        self.second_norm = _norm(norm, above)
        same = stride == 1 and below == above
        self.shortcut: nn.Module = nn.Identity()
        if not same:
            self.shortcut = nn.Sequential(nn.Conv2d(below, above, 1, stride, bias=plain), _norm(norm, above))

    def forward(self, x: Tensor) -> Tensor:
        """One residual block."""
        inner = self.second_norm(self.second(torch.relu(self.first_norm(self.first(x)))))
        return torch.relu(inner + self.shortcut(x))


class ResNet18(nn.Module):
    """ResNet-18 without its classifier: ``(n, C, H, W)`` to ``(n, 8 width)``; width 64 is the usual one."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        width, plain = shape.width, shape.norm == "none"
        if shape.side > 64:
            stem: list[nn.Module] = [nn.Conv2d(shape.channels, width, 7, 2, 3, bias=plain), _norm(shape.norm, width)]
            stem += [nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
        else:
            stem = [nn.Conv2d(shape.channels, width, 3, 1, 1, bias=plain), _norm(shape.norm, width), nn.ReLU()]
        blocks, below = stem, width
        for number in range(4):
            above = width * 2**number
            blocks += [Block(below, above, 1 if number == 0 else 2, shape.norm), Block(above, above, 1, shape.norm)]
            below = above
        self.blocks = nn.Sequential(*blocks)
        self.features = below

    def forward(self, x: Tensor) -> Tensor:
        """Features of images."""
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
    """Encoder and head; calling it gives ``f_L`` before it is brought to unit length."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        makers: dict[str, Callable[[Shape], Convnet | ResNet18]] = {"convnet": Convnet, "resnet18": ResNet18}
        self.shape = shape
        self.encoder = makers[shape.encoder](shape)
        self.head = Head(self.encoder.features, shape.hidden, shape.out, shape.head_norm)

    def forward(self, x: Tensor) -> Tensor:
        """``(n, C, H, W)`` to ``(n, out)``."""
        result: Tensor = self.head(self.encoder(x))
        return result


def make_network(shape: Shape, seed: int) -> Network:
    """A network whose initial weights come from a seed of their own."""
    generator = torch.Generator().manual_seed(seed)
    sizes = f"width={shape.width}, hidden={shape.hidden}, out={shape.out}"
    # Layers draw their first weights from the global state, which is put back; ours replace them below.
    with guarded(f"network of {sizes}", torch.device("cpu")), torch.random.fork_rng(devices=[]):
        network = Network(shape)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                if isinstance(module, nn.Conv2d):
                    nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=generator)
                else:
                    nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
    return network
