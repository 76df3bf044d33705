"""Float64 rounded to other directions than to nearest: up, down and to zero.

Everything that the thread computes follows, Python's own numbers and plain arrays too. Where the system offers no
`fesetround`, or it does not act, nothing is done.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

# Values of the C macros FE_UPWARD, FE_DOWNWARD and FE_TOWARDZERO; FE_TONEAREST is 0 on all of them.
MACROS = {
    "x86_64": (0x800, 0x400, 0xC00),
    "i686": (0x800, 0x400, 0xC00),
    "aarch64": (0x400000, 0x800000, 0xC00000),
    "arm64": (0x400000, 0x800000, 0xC00000),
}
NEAREST = 0
ONE = 1.0
SMALL = 2.0**-60


@cache
def library() -> ctypes.CDLL | None:
    """The C library, where it sets directions of rounding."""
    try:
        found = ctypes.CDLL(None)
    except (OSError, TypeError):
        return None
    return found if hasattr(found, "fesetround") and hasattr(found, "fegetround") else None


@cache
def directions() -> tuple[int, ...]:
    """The directions that can be set, as `fesetround` takes them; none where the first does not act."""
    values = MACROS.get(platform.machine(), ())
    if not values or library() is None:
        return ()
    with rounded(values[0]):
        acts = ONE + SMALL > ONE
    return values if acts and ONE + SMALL == ONE else ()


@contextmanager
def rounded(direction: int) -> Iterator[None]:
    """Round so inside the block."""
    found = library()
    if found is None:
        yield
        return
    before = found.fegetround()
    found.fesetround(direction)
    try:
        yield
    finally:
        found.fesetround(before)
