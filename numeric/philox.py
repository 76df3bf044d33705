"""Philox4x32-10, a counter-based random generator, on tensors: a word is a function of key, step and place.

Nothing is carried from draw to draw: a member of an ensemble draws the same words whatever it is stacked with, on the
CPU as on a GPU, and a resumed run needs only the number of the step. Source: Salmon, Moraes, Dror, Shaw, *Parallel
Random Numbers: As Easy as 1, 2, 3* (SC 2011); it passes BigCrush.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError

WORD = 2**32
_MASK = WORD - 1
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_BUMPS = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10


def member_keys(seeds: Sequence[int], device: torch.device) -> Tensor:
    """Keys of the streams of E members, ``(2, E)`` words: the low and the high half of each seed.

    Raises
    ------
    InputError
        A seed that is no integer in ``0 .. 2^64 - 1``, or the same seed twice: two members would draw the same numbers.

    Examples
    --------
    >>> member_keys([1, 2**32], torch.device("cpu")).tolist()
    [[1, 0], [0, 1]]
    """
    checked = [check_seed(value) for value in seeds]
    owner: dict[int, int] = {}
    for number, value in enumerate(checked):
        if value >= WORD**2:
            raise InputError(f"seed={value} of member {number}: must be below 2^64")
        if (first := owner.setdefault(value, number)) < number:
            rule = f"must not be that of member {first}, both would draw the same numbers"
            raise InputError(f"seed={value} of member {number}: {rule}")
    halves = [[value & _MASK for value in checked], [value >> 32 for value in checked]]
    return torch.tensor(halves, dtype=torch.int64, device=device)


def philox(counter: Sequence[Tensor | int], key: Sequence[Tensor | int], shape: Sequence[int]) -> Tensor:
    """Four words for every counter.

    Parameters
    ----------
    counter : four int64 tensors or int
        Words of the counter, each broadcastable to `shape`.
    key : two int64 tensors or int
        Words of the key, likewise.
    shape : sequence of int
        Of the counters.

    Returns
    -------
    Tensor
        int64 in ``0 .. 2^32 - 1``, shape ``(4, *shape)``.

    Source
    ------
    Salmon and others, 2011: one round maps (x0, x1, x2, x3) to (hi(M1 x2) ^ x1 ^ k0, lo(M1 x2), hi(M0 x0) ^ x3 ^ k1,
    lo(M0 x0)).

    Examples
    --------
    >>> [f"{word:08x}" for word in philox((0, 0, 0, 0), (0, 0), ()).tolist()]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    places = [part.device for part in (*counter, *key) if isinstance(part, Tensor)]
    words = torch.empty((4, *shape), dtype=torch.int64, device=places[0] if places else None)
    for word, part in zip(words, counter, strict=True):
        word.copy_(part) if isinstance(part, Tensor) else word.fill_(part)
    keys = [part if isinstance(part, Tensor) else words.new_tensor(part) for part in key]
    x0, x1, x2, x3 = words.unbind(0)
    spare, other = torch.empty_like(x0), torch.empty_like(x0)
    for number in range(_ROUNDS):
        if number:
            keys = [(part + bump) & _MASK for part, bump in zip(keys, _BUMPS, strict=True)]
        # Products wrap modulo 2^64; the mask after the shift removes the copies of the sign.
        torch.mul(x0, _MULTIPLIERS[0], out=spare)
        torch.mul(x2, _MULTIPLIERS[1], out=other)
        _high(other, x1, keys[0], out=x0)
        _high(spare, x3, keys[1], out=x2)
        torch.bitwise_and(other, _MASK, out=x1)
        torch.bitwise_and(spare, _MASK, out=x3)
    return words


def _high(product: Tensor, beside: Tensor, key: Tensor, *, out: Tensor) -> None:
    """``hi(product) ^ beside ^ key``."""
    torch.bitwise_right_shift(product, 32, out=out)
    out.bitwise_xor_(beside).bitwise_xor_(key).bitwise_and_(_MASK)
