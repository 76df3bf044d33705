"""Batches on which a function and the known losses are compared: generic ones, and one for each usual fault.

A function that is right on generic batches may be wrong for one sample, in a wide or a large batch, for many negatives,
for far outputs or for outputs near 0. The list is the same for every seed but for the numbers themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from verify.loss.catalogue import LABELS, TRIPLES, VIEWS, Data

SCREEN, SCREEN_SHAPE = 6, (4, 3)
SCALES = (0.5, 1.0, 2.0, 1.0, 0.5, 2.0)
SHAPES = ((6, 5), (3, 7), (5, 4), (7, 3), (2, 6))  # (B, n); no n = 2, where 1/n is 1/2
SIZES = (
    (1, 3, 1.0), (1, 6, 2.0), (2, 3, 1.0), (8, 4, 1.0), (9, 3, 1.0), (12, 5, 1.0), (16, 3, 0.5), (1, 1, 1.0),
    (4, 1, 1.0), (3, 2, 1.0), (3, 8, 1.0), (4, 16, 0.7), (2, 64, 0.5), (3, 128, 0.35),
)  # fmt: skip
NEGATIVES = ((4, 3, 1), (3, 4, 2), (5, 3, 5), (3, 5, 7), (4, 4, 8), (3, 5, 9), (2, 4, 12))  # (B, n, H)
# Logits of about these sizes; exponentials of float64 end near 709.
LARGE, FAR, FARTHEST = 250.0, 1e4, 1e6
NEAR, TINY = 1e-5, 1e-9
OF_TINY_NORM = "outputs of norm 1e-9"
SINGLETON = "an anchor without a positive"


@dataclass(frozen=True)
class Layout:
    """What a function takes: triples (with an axis of H negatives or without), two views, or one or two with labels."""

    kind: str
    negatives: int | None = None
    views: int = 2

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arguments that have gradients."""
        if self.kind == TRIPLES:
            return "f_1", "f_plus", "f_minus"
        return ("z1", "z2") if self.views == 2 else ("z",)


@dataclass(frozen=True)
class Batch:
    """Arguments of a loss, what is special about them, and whether they belong to the generic ones."""

    data: Data
    layout: Layout
    note: str = ""
    generic: bool = True

    @property
    def size(self) -> int:
        return self.data.f_1.shape[-2]

    @property
    def width(self) -> int:
        return self.data.f_1.shape[-1]

    @property
    def negatives(self) -> int:
        return 0 if self.data.f_minus is None else self.data.f_minus.shape[-2]

    @property
    def leaves(self) -> tuple[Tensor, ...]:
        """Arguments that have gradients, as the function takes them."""
        data = self.data
        if data.f_minus is not None and data.f_plus is not None:
            return data.f_1, data.f_plus, data.f_minus if self.layout.negatives else data.f_minus[:, 0]
        return (data.f_1,) if data.f_plus is None else (data.f_1, data.f_plus)

    @property
    def shape(self) -> str:
        negatives = f", H = {self.negatives}" if self.layout.negatives else ""
        return f"B = {self.size}, n = {self.width}{negatives}{', ' + self.note if self.note else ''}"

    def with_leaves(self, leaves: Sequence[Tensor]) -> Data:
        """The same batch with other outputs."""
        if len(leaves) == 3:
            return Data(leaves[0], leaves[1], leaves[2] if self.layout.negatives else leaves[2].unsqueeze(1))
        return Data(leaves[0], leaves[1] if len(leaves) == 2 else None, None, self.data.labels)


class Draws:
    """Random outputs of a layout around a scale; positives are near their anchors in every other batch."""

    def __init__(self, layout: Layout, scale: float, seed: int) -> None:
        self.layout, self.scale = layout, scale
        self.generator = torch.Generator().manual_seed((2 * seed) % 2**64)
        self.count = 0

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, dtype=torch.float64)

    def labels(self, size: int) -> Tensor:
        """Labels of classes of two members or more, in random order."""
        classes = max(1, min(size // 2, 2 + self.count % 2))
        order = torch.randperm(size, generator=self.generator)
        return (torch.arange(size) % classes)[order]

    def batch(
        self, size: int, width: int, scale: float, note: str = "", generic: bool = False, negatives: int | None = None,
        apart: bool = False,
    ) -> Batch:  # fmt: skip
        self.count += 1
        layout, spread = self.layout, scale * self.scale
        f_1 = spread * self.normal(size, width)
        f_plus = spread * self.normal(size, width)
        if apart:  # so that the loss is large
            f_plus = 3 * f_plus
        elif self.count % 2:
            f_plus = f_1 + 0.5 * f_plus
        if layout.kind == TRIPLES:
            f_minus = spread * self.normal(size, negatives or layout.negatives or 1, width)
            return Batch(Data(f_1, f_plus, f_minus), layout, note, generic)
        if layout.kind == VIEWS:
            return Batch(Data(f_1, f_plus), layout, note, generic)
        labels = self.labels(size)
        return Batch(Data(f_1, f_plus if layout.views == 2 else None, None, labels), layout, note, generic)


def batches(layout: Layout, scale: float, seed: int) -> list[Batch]:
    """The generic batches, those of one shape first, and then the others."""
    draws = Draws(layout, scale, seed)
    shift = 2 if layout.kind == LABELS else 0  # room for classes of two
    result = [draws.batch(SCREEN_SHAPE[0] + shift, SCREEN_SHAPE[1], s, generic=True) for s in SCALES]
    # One set of labels for the batches that are stacked.
    result = [replace(batch, data=replace(batch.data, labels=result[0].data.labels)) for batch in result]
    for number in range(12):
        size, width = SHAPES[number % len(SHAPES)]
        result.append(draws.batch(size + shift, width, SCALES[number % len(SCALES)], generic=True))
    result += [draws.batch(*shape) for shape in SIZES if not (shift and layout.views == 1 and shape[0] < 2)]
    if layout.negatives:
        result += [draws.batch(size, width, 1.0, negatives=count) for size, width, count in NEGATIVES]
    return [*result, *_special(draws, 3 + shift)]


def _special(draws: Draws, size: int) -> list[Batch]:
    """Large logits, far and near outputs, outputs near 0, equal views."""
    result = [
        _at_logit(draws.batch(size, 4, 1.0, "large logits"), draws.scale, LARGE, largest=True),
        _at_logit(draws.batch(size, 3, 1.0, "large logits"), draws.scale, LARGE / 2, largest=True),
        _at_logit(draws.batch(size, 5, 1.0, "far outputs"), draws.scale, FAR, largest=False),
        _at_logit(draws.batch(size - 1, 4, 1.0, "far outputs", apart=True), draws.scale, FARTHEST, largest=False),
        _at_logit(draws.batch(size, 6, 1.0, "far outputs"), draws.scale, FAR, largest=False),
        draws.batch(size, 3, NEAR, "outputs near each other"),
        draws.batch(size, 3, TINY / draws.scale, OF_TINY_NORM),
    ]
    if draws.layout.kind == LABELS and draws.layout.views == 1:
        alone = draws.batch(6, 4, 1.0, SINGLETON)
        result.append(replace(alone, data=replace(alone.data, labels=torch.tensor([0, 1, 0, 1, 2, 1]))))
    equal = draws.batch(size, 4, 1.0, "equal views")
    if equal.data.f_plus is not None:
        data = equal.data
        result.append(
            Batch(Data(data.f_1, data.f_1.clone(), data.f_minus, data.labels), equal.layout, equal.note, False)
        )
    return result


def distances(data: Data) -> Tensor:
    """Half squared distances of all pairs of different outputs that a loss may compare."""
    parts = [data.f_1] if data.f_plus is None else [data.f_1, data.f_plus]
    if data.f_minus is not None:
        return torch.cat([
            0.5 * (data.f_1 - parts[-1]).square().sum(-1).reshape(-1),
            0.5 * (data.f_1.unsqueeze(-2) - data.f_minus).square().sum(-1).reshape(-1),
        ])  # fmt: skip
    z = torch.cat(parts, -2)
    pairs = torch.triu_indices(len(z), len(z), 1)
    return 0.5 * (z[pairs[0]] - z[pairs[1]]).square().sum(-1)


def _at_logit(batch: Batch, scale: float, logit: float, largest: bool) -> Batch:
    """The batch scaled so that its largest (or smallest) distance over tau is as given."""
    every = distances(batch.data) / scale**2
    factor = (logit / float(every.max() if largest else every.min().clamp_min(1e-3))) ** 0.5
    data = batch.data
    f_plus, f_minus = (None if f is None else factor * f for f in (data.f_plus, data.f_minus))
    return replace(batch, data=Data(factor * data.f_1, f_plus, f_minus, data.labels))


def stacked(chosen: Sequence[Batch]) -> Data:
    """Batches of one shape as one, with a leading axis."""

    def joined(parts: list[Tensor | None]) -> Tensor | None:
        present = [part for part in parts if part is not None]
        return torch.stack(present) if present else None

    data = [batch.data for batch in chosen]
    f_1 = torch.stack([d.f_1 for d in data])
    return Data(f_1, joined([d.f_plus for d in data]), joined([d.f_minus for d in data]), data[0].labels)
