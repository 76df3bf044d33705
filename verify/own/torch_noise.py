"""Torch with random moves of every result, those of gradients included: see `verify.own.noise`."""

from __future__ import annotations

from contextlib import nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from verify.own.directed import NEAREST, rounded
from verify.own.noise import Noise, flat, named, terms

CONSTANT = "_covop_constant"
NARROW = (torch.float32, torch.float16, torch.bfloat16, torch.complex64, torch.complex32)
# What makes constants, whatever their precision: a module that is drawn in float32 and converted is one of float64.
DRAWN = named("rand rand_like randn randn_like normal uniform exponential log_normal cauchy geometric bernoulli")
DRAWN |= named("empty empty_like empty_strided new_empty new_empty_strided")

# Operations whose results need no rounding; a name that ends in an underscore is the form in place.
EXACT = named(
    """eq ne lt le gt ge isfinite isinf
    view _unsafe_view reshape _reshape_alias expand permute transpose t select slice squeeze unsqueeze clone detach
    alias as_strided cat stack split split_with_sizes unbind chunk index index_select gather scatter masked_fill
    masked_scatter masked_select where neg abs sgn sign relu threshold_backward maximum minimum amax amin max min sort
    topk kthvalue mode aminmax argmax argmin clamp clamp_min clamp_max floor ceil round trunc zeros zeros_like ones
    ones_like full full_like empty empty_like empty_strided arange eye fill zero copy _to_copy lift lift_fresh
    scalar_tensor rand rand_like randn randn_like randint randperm normal uniform bernoulli multinomial exponential
    tril triu diag diagonal diagonal_copy diagonal_backward diagonal_scatter select_backward select_scatter
    slice_backward slice_scatter flip roll repeat constant_pad_nd new_zeros new_ones new_full new_empty
    new_empty_strided index_put index_copy nan_to_num value_selecting_reduction_backward unfold expand_copy
    view_copy fill_diagonal real imag view_as_real movedim set resize isnan cummax cummin to contiguous"""
)
# Operations that are infinite at finite numbers, without any overflow.
POLES = EXACT | named(
    "div reciprocal log log2 log10 log1p rsqrt pow tan atanh erfinv lgamma digamma logit special_ndtri"
)
SUMS = named("add sub rsub")
# Linear algebra that goes entry by entry: the rest rounds relative to the largest entry of a matrix.
ENTRYWISE = named("linalg_vector_norm linalg_cross")
TOTALS = named("sum mean cumsum trace")
PRODUCTS = named("mm bmm addmm baddbmm mv addmv dot vdot")
ROUNDED = named(
    """mul div reciprocal exp exp2 expm1 log log2 log10 log1p sqrt rsqrt pow square tanh sigmoid sin cos tan asin acos
    atan atan2 sinh cosh asinh acosh atanh erf erfc erfinv lgamma digamma hypot prod"""
)


def floats(values: Any) -> list[Tensor]:
    """The tensors of floats among some values; those on the device "meta" have no numbers."""
    tensors = (v for v in flat(values) if isinstance(v, torch.Tensor) and not v.is_meta)
    return [v for v in tensors if v.is_floating_point() or v.is_complex()]


def largest(values: Any) -> float:
    return max(
        (float(v.detach().abs().nan_to_num(0.0, 0.0, 0.0).max()) for v in floats(values) if v.numel()), default=0.0
    )


class NoisyTorch(TorchDispatchMode):
    """Torch inside of which every result is moved."""

    def __init__(self, noise: Noise) -> None:
        super().__init__()
        self.noise = noise

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        base, exact = kind(func)
        if base in ("index_put", "scatter", "_index_put_impl_"):
            exact = not any(item is True for item in args) and "reduce" not in kwargs
        given = floats((*args, *kwargs.values()))
        # A tensor of zeros without a storage, of forward differentiation, must not be touched.
        exact = exact or not given or any(item._is_zerotensor() for item in given)
        if exact or not self.noise.active(base, lambda: largest(args)):
            narrow = base in DRAWN or any(item.dtype in NARROW for item in given)
            with rounded(NEAREST) if self.noise.direction and narrow else nullcontext():
                result = func(*args, **kwargs)
        else:
            result = moved(self.noise, func, base, args, kwargs)
        if self.noise.watch and base not in POLES and all(item.isfinite().all() for item in given):
            made = floats(result if isinstance(result, tuple | list) else (result,))
            self.noise.overflow |= bool(given) and any(bool(item.isinf().any()) for item in made)
        for item in floats(result if isinstance(result, tuple | list) else (result,)):
            if item.dtype in NARROW and not self.noise.narrow:
                self.see(base, item, given)
        return result

    def see(self, base: str, result: Tensor, given: list[Tensor]) -> None:
        """Note a result below float64, but for constants: what was drawn, and what is made of it alone."""
        sources = given[1:2] if base == "copy" else given
        if base in DRAWN or (sources and all(hasattr(item, CONSTANT) for item in sources)):
            setattr(result, CONSTANT, True)
        else:
            wide = result.detach().cpu()
            self.noise.see(wide.numpy() if wide.dtype in (torch.float32, torch.complex64) else wide.float().numpy())


@cache
def kind(func: Any) -> tuple[str, bool]:
    """The name of an operation, without the underscore of its form in place, and whether its results are exact."""
    name = func.overloadpacket.__name__
    base = name.removesuffix("_") if not name.startswith("__") else name
    views = any(item.alias_info is not None and not item.alias_info.is_write for item in func._schema.returns)
    return base, base in EXACT or "view" in base or views


def moved(noise: Noise, func: Any, base: str, args: Any, kwargs: Any) -> Any:
    """The result of an operation, moved by what it is made of."""
    magnitude: Any = None
    if base in SUMS:
        scale = abs(kwargs.get("alpha", 1))
        first, second = (a.detach().abs() if isinstance(a, torch.Tensor) else abs(a) for a in args[:2])
        magnitude = first * scale + second if base == "rsub" else first + second * scale
    elif base in TOTALS:
        magnitude = func(args[0].detach().abs(), *args[1:], **{k: v for k, v in kwargs.items() if k != "out"})
        magnitude = magnitude * terms(args[0].numel() / max(1, magnitude.numel()))
    elif base in PRODUCTS:
        size = [a.detach().abs() if isinstance(a, torch.Tensor) else a for a in args]
        options = {key: abs(value) for key, value in kwargs.items() if key in ("alpha", "beta")}
        magnitude = func(*size, **options) * terms(size[-1].shape[-2] if size[-1].dim() > 1 else size[-1].shape[0])
    elif base not in ROUNDED:
        arguments = enumerate(func._schema.arguments)
        written = {index for index, a in arguments if a.alias_info and a.alias_info.is_write}
        normwise = "linalg" in base and base not in ENTRYWISE
        if not written:
            result = func(*args, **kwargs)
            if not floats(result if isinstance(result, tuple | list) else (result,)):
                return result  # a comparison, a count
        args = tuple(
            noise.near(a, normwise) if index not in written and isinstance(a, torch.Tensor) and floats((a,)) else a
            for index, a in enumerate(args)
        )
    result = func(*args, **kwargs)
    for item in floats(result if isinstance(result, tuple | list) else (result,)):
        fitting = magnitude is not None and magnitude.shape == item.shape
        noise.move_torch(item, magnitude if fitting else item.detach().abs())
    return result
