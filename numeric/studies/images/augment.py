"""Augmentation on the device, a whole batch at once, with parameters drawn from an explicit generator.

kornia's modules draw from the global random state. Here every number comes from a ``torch.Generator`` on the CPU, the
same for every device, and functions of torch (affine grid) and kornia (jitter of colours, blur) only apply it. Crop,
flip, rotation and shift are one affine map: pixels are interpolated once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from hltm.base.errors import InputError

# Columns of the drawn numbers, all uniform on [0, 1).
_AREA, _RATIO, _X, _Y, _ANGLE, _FLIP, _JITTER, _BRIGHT, _CONTRAST, _SATURATION, _HUE, _GRAY, _BLUR, _SIGMA = range(14)
_COLUMNS = 14


@dataclass(frozen=True)
class Recipe:
    """Probabilities and largest strengths of an augmentation; each image draws its own."""

    area: float = 1.0
    ratio: float = 1.0
    shift: float = 0.0
    angle: float = 0.0
    flip: float = 0.0
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grayscale: float = 0.0
    blur: float = 0.0
    sigma: tuple[float, float] = (0.1, 2.0)
    noise: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.area <= 1 or self.ratio < 1:
            raise InputError(f"area={self.area!r}, ratio={self.ratio!r}: must lie in (0, 1] and be at least 1")

    def scaled(self, strength: float) -> "Recipe":
        """Multiply every magnitude; 0 leaves only flips and grayscale.

        Probabilities stay, so that the same draws give a path from the unaugmented image to the augmented one.
        """
        low, high = self.sigma
        return replace(
            self, area=1 - strength * (1 - self.area), ratio=1 + strength * (self.ratio - 1),
            shift=strength * self.shift, angle=strength * self.angle, brightness=strength * self.brightness,
            contrast=strength * self.contrast, saturation=strength * self.saturation, hue=strength * self.hue,
            blur=self.blur if strength > 0 else 0.0,
            sigma=(max(strength * low, 1e-3), max(strength * high, 1e-3)), noise=strength * self.noise,
        )  # fmt: skip


# SimCLR's augmentations, strengths for 32 x 32 images; those of its appendix for larger ones, with blur.
COLOUR = Recipe(
    area=0.08, ratio=4 / 3, flip=0.5, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grayscale=0.2
)
RECIPES = {
    # No flip: a mirrored digit is another sign. No colour, and 8 x 8 pixels need no blur.
    "digits": Recipe(
        area=0.7, ratio=1.15, shift=0.125, angle=25.0, jitter=1.0, brightness=0.3, contrast=0.3, noise=0.1
    ),
    "cifar10": COLOUR,
    "stl10": replace(COLOUR, blur=0.5),
}


@dataclass(frozen=True, eq=False)
class Draws:
    """Random numbers of the augmentations of some images: uniform ``(n, 14)``, and a seed for the noise."""

    uniform: Float[Tensor, "n columns"]
    normal: Float[Tensor, "n *image"] | None

    def __getitem__(self, part: slice) -> "Draws":
        """Draws of some of the images."""
        return Draws(self.uniform[part], None if self.normal is None else self.normal[part])


def draw(recipe: Recipe, shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Draws:
    """Draw the numbers for a batch of images of shape ``(n, C, H, W)``, on the CPU."""
    uniform = torch.rand(shape[0], _COLUMNS, generator=generator, dtype=torch.float64).to(dtype)
    normal = torch.randn(tuple(shape), generator=generator, dtype=dtype) if recipe.noise > 0 else None
    return Draws(uniform, normal)


def _between(low: float, high: float, column: Tensor) -> Tensor:
    return low + (high - low) * column


def _affine(recipe: Recipe, uniform: Tensor, height: int, width: int) -> Tensor:
    """Maps from output to input, ``(n, 2, 3)``, in coordinates that run from -1 to 1: crop, flip, rotation, shift.

    A pixel of the output is scaled by the sides of the crop, mirrored, turned, and moved to the crop's centre. The
    coordinates count in halves of a side, so what a turn carries from one side to the other is scaled by their ratio.
    """
    signed = 2 * uniform - 1
    area = _between(recipe.area, 1.0, uniform[:, _AREA]).sqrt()
    stretch = torch.exp(math.log(recipe.ratio) / 2 * signed[:, _RATIO])
    wide, high = (area * stretch).clamp(max=1), (area / stretch).clamp(max=1)
    # Pixels lie at 0 to side - 1. The crop stays inside but for the shift.
    last_x, last_y = width - 1, height - 1
    x = signed[:, _X] * (1 - wide + 2 * recipe.shift) * (width / last_x)
    y = signed[:, _Y] * (1 - high + 2 * recipe.shift) * (height / last_y)
    angle = math.radians(recipe.angle) * signed[:, _ANGLE]
    cos, sin = angle.cos(), angle.sin()
    mirrored = torch.where(uniform[:, _FLIP] < recipe.flip, -wide, wide)
    to_x = [cos * mirrored, sin * high * (last_y / last_x), x]
    to_y = [sin * mirrored * (-last_x / last_y), cos * high, y]
    return torch.stack(to_x + to_y, -1).reshape(-1, 2, 3)


def apply(recipe: Recipe, images: Float[Tensor, "n C H W"], draws: Draws) -> Float[Tensor, "n C H W"]:
    """Augment images, each by its own numbers."""
    if min(images.shape[-2:]) < 2:
        raise InputError(f"images of {images.shape[-2]} x {images.shape[-1]} pixels: sides must be at least 2")
    # Computed on the CPU: on a GPU each of these many small operations would be a kernel.
    maps = _affine(recipe, draws.uniform, *images.shape[-2:]).to(images.device, images.dtype)
    grid = functional.affine_grid(maps, list(images.shape), align_corners=True)
    out: Tensor = functional.grid_sample(images, grid, align_corners=True)
    u = draws.uniform.to(images.device, images.dtype)
    if recipe.jitter > 0:
        out = _jittered(recipe, out, u)
    if recipe.grayscale > 0 and images.shape[1] == 3:
        from kornia.color import rgb_to_grayscale

        lost = (u[:, _GRAY] < recipe.grayscale).reshape(-1, 1, 1, 1)
        out = torch.where(lost, rgb_to_grayscale(out).expand_as(out), out)
    if recipe.blur > 0:
        out = _blurred(recipe, out, u)
    if recipe.noise > 0 and draws.normal is not None:
        out = torch.add(out, draws.normal.to(images.device, images.dtype), alpha=recipe.noise)
    return out.clamp(0, 1)


def _jittered(recipe: Recipe, images: Tensor, u: Tensor) -> Tensor:
    """Brightness and contrast as factors, then saturation and hue of what has colours, in this order."""
    from kornia.enhance import adjust_hue, adjust_saturation

    chosen = u[:, _JITTER] < recipe.jitter

    def factor(strength: float, column: int) -> Tensor:
        return torch.where(chosen, 1 + strength * (2 * u[:, column] - 1), 1.0)

    column = (-1, 1, 1, 1)
    out = images * factor(recipe.brightness, _BRIGHT).reshape(column)
    mean = out.mean((1, 2, 3), keepdim=True)
    out = (mean + (out - mean) * factor(recipe.contrast, _CONTRAST).reshape(column)).clamp(0, 1)
    if images.shape[1] == 3 and (recipe.saturation > 0 or recipe.hue > 0):
        out = adjust_saturation(out, factor(recipe.saturation, _SATURATION))
        turns = torch.where(chosen, recipe.hue * (2 * u[:, _HUE] - 1), 0.0)
        out = adjust_hue(out, 2 * math.pi * turns)
    return out


def _blurred(recipe: Recipe, images: Tensor, u: Tensor) -> Tensor:
    """A Gaussian blur of those images that drew one; the kernel is a tenth of the side wide, at least 3 pixels."""
    from kornia.filters import gaussian_blur2d

    kernel = max(3, images.shape[-1] // 10 | 1)
    sigma = _between(*recipe.sigma, u[:, _SIGMA]).unsqueeze(-1).expand(-1, 2)
    blurred = gaussian_blur2d(images, (kernel, kernel), sigma)
    return torch.where((u[:, _BLUR] < recipe.blur).reshape(-1, 1, 1, 1), blurred, images)
