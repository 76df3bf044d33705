"""Where two sides differ: both numbers, their ratio, and the pattern of agreement.

The ratio is recognised only if it is the same at every refuted entry: a small number, a number of the instance such as
`tau`, a length such as `len(x)`, or a change of the order of entries such as a transposition.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from verify.engine.recognition import OF_LARGEST, RELATIVE, REORDERED, recognised, reordered

ROLES = ("theory", "numeric")
# A larger tolerance of the comparison widens `RELATIVE` up to here.
LOOSEST = 1e-2
# More rows or columns are not drawn.
GRID = 16
# More names than these are cut.
NAMES = 5

quiet = np.errstate(all="ignore")


@dataclass(frozen=True)
class Disagreement:
    """Two sides at the entry where they differ most, and what the refuted entries have in common.

    Parameters
    ----------
    array : str
        Name of the array, such as "layer 2"; empty where there is one array.
    index : tuple of int
        Place of the entry in the array, empty for a number.
    left, right : float
        Both sides there.
    ratio : float, optional
        ``right / left``; None where `left` is zero or a side is not finite.
    recognised : str
        The ratio at every refuted entry in words: "2", "tau or 1/2", "transposed"; empty where it is unknown.
    pattern : str
        Which entries agree.
    grid : tuple of str
        The entries of a small matrix, one text for each row: "." where they agree and "x" where they are refuted.
    refuted, entries : int
        Number of refuted entries, and of all, over all arrays.
    common : float, optional
        The ratio if it is the same at every refuted entry.
    offset : float, optional
        ``right - left`` if it is the same at every one of several refuted entries.
    texts : pair of str
        Both sides as they are shown.
    roles : pair of str
        Names of the sides.

    Examples
    --------
    >>> import numpy as np
    >>> left, right = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 4.0], [6.0, 4.0]])
    >>> found = disagreement({"layer 2": left}, {"layer 2": right}, {"layer 2": left != right}, None)
    >>> found.line
    'theory 3.0000, numeric 6.0000, ratio 2.000, layer 2, entry (1, 0)'
    >>> found.remarks
    ('ratio = 2 at all 2 refuted entries', 'agrees on the diagonal only: 2 of 4 entries agree')
    """

    array: str
    index: tuple[int, ...]
    left: float
    right: float
    ratio: float | None = None
    recognised: str = ""
    pattern: str = ""
    grid: tuple[str, ...] = ()
    refuted: int = 1
    entries: int = 1
    common: float | None = None
    offset: float | None = None
    texts: tuple[str, str] = ("", "")
    roles: tuple[str, str] = ROLES

    @property
    def place(self) -> str:
        """Array and entry in words."""
        entry = (
            f"entry {self.index[0] if len(self.index) == 1 else self.index}" if self.index and self.entries > 1 else ""
        )
        return ", ".join(part for part in (self.array, entry) if part)

    @property
    def numbers(self) -> str:
        """Both sides and their ratio, such as ``theory 0.0660, numeric 0.1319, ratio 2.000``."""
        sides = ", ".join(f"{role} {text}" for role, text in zip(self.roles, self.texts, strict=True))
        return f"{sides}, ratio {ratio_text(self.left, self.right, self.ratio)}"

    @property
    def line(self) -> str:
        """Both sides, their ratio and the place."""
        return ", ".join(part for part in (self.numbers, self.place) if part)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What the refuted entries have in common, and which entries agree."""
        return tuple(part for part in (self._ratio_in_words(), self.pattern) if part)

    def __str__(self) -> str:
        return "; ".join((self.line, *self.remarks))

    def _ratio_in_words(self) -> str:
        where = f" at all {self.refuted} refuted entries" if self.refuted > 1 else ""
        if self.recognised.startswith(REORDERED):
            return f"{self.roles[1]} is {self.roles[0]} {self.recognised}"
        if self.recognised:
            return f"ratio = {self.recognised}{where}"
        if self.common is not None and self.refuted > 1:
            return f"the same ratio{where}"
        if self.offset is not None:
            return f"{self.roles[1]} - {self.roles[0]} = {self.offset:.6g}{where}"
        return ""

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data; numbers that are not finite are written as strings."""
        return {
            "text": str(self),
            "array": self.array,
            "index": list(self.index),
            "sides": list(self.roles),
            "left": _plain(self.left),
            "right": _plain(self.right),
            "ratio": _plain(self.ratio),
            "recognised": self.recognised,
            "pattern": self.pattern,
            "grid": list(self.grid),
            "refuted_entries": self.refuted,
            "entries": self.entries,
        }


def _plain(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)


@quiet
def disagreement(
    left: Mapping[str, np.ndarray],
    right: Mapping[str, np.ndarray],
    wrong: Mapping[str, np.ndarray],
    instance: Any,
    *,
    roles: tuple[str, str] = ROLES,
    bounds: Mapping[str, Any] | None = None,
    at: tuple[str, tuple[int, ...]] | None = None,
) -> Disagreement:
    """Compare two sides that differ.

    Parameters
    ----------
    left, right : mapping of names to arrays
        Both sides, of equal names and shapes; floats, rationals (`flint.fmpq`) or balls.
    wrong : mapping of names to arrays of bool
        The refuted entries. Without any, those that differ count as refuted.
    instance : object
        Has ``as_json()``, whose numbers and lengths a ratio may be; None where it is unknown.
    roles : pair of str
        Names of the sides.
    bounds : mapping of names to arrays, optional
        Tolerances of the entries: a ratio that is within them of a known number is recognised.
    at : (name, index), optional
        The entry to show; by default that with the largest difference.
    """
    texts = (left, right)
    left, right = _floats(left), _floats(right)
    wrong = {key: np.broadcast_to(np.asarray(wrong[key], dtype=bool), left[key].shape) for key in left}
    if not any(mask.any() for mask in wrong.values()):
        wrong = {key: ~(left[key] == right[key]) for key in left}
    refuted = sum(int(mask.sum()) for mask in wrong.values())
    array, index = at or _worst(left, right, wrong)
    pair = float(left[array][index]), float(right[array][index])
    result = Disagreement(
        array, index, *pair, ratio=_ratio(*pair), refuted=refuted, entries=sum(one.size for one in left.values()),
        texts=_texts(pair, (texts[0][array][index], texts[1][array][index])), roles=roles,
    )  # fmt: skip
    common, slack = _common(left, right, wrong, bounds)
    moved = "" if common is not None else reordered(left, right, wrong)
    empty = {key: (left[key] == 0) & (right[key] == 0) for key in left}
    pattern, grid = _pattern(array, wrong, empty[array])
    offset = _offset(left, right, wrong) if common is None and not moved and refuted > 1 else None
    result = replace(result, common=common, recognised=moved, offset=offset, pattern=pattern, grid=grid)
    shape = left[array].shape
    return (
        result
        if common is None
        else replace(result, recognised=recognised(common, instance, shape, slack, plain=refuted == 1))
    )


def with_names(apart: Disagreement | None, instance: Any) -> Disagreement | None:
    """A disagreement whose ratio is looked up among the numbers of an instance, where it has no name yet."""
    if apart is None or apart.common is None or instance is None:
        return apart
    text = recognised(apart.common, instance, plain=apart.refuted == 1)
    # A name of the instance says more than a number alone.
    return replace(apart, recognised=text) if text else apart


def of_mutant(apart: Disagreement | None, instance: Any) -> Disagreement | None:
    """`with_names`, where the left side is that of a mutant, not of the theory."""
    apart = with_names(apart, instance)
    if apart is None or apart.roles[0] != ROLES[0]:
        return apart
    return replace(apart, roles=("mutant", apart.roles[1]))


def _floats(side: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    convert = np.frompyfunc(_float, 1, 1)
    arrays = {key: np.asarray(value) for key, value in side.items()}
    return {
        key: np.asarray(convert(value) if value.dtype == object else value, dtype=np.float64)
        for key, value in arrays.items()
    }


def _float(entry: Any) -> float:
    """A rational, a ball or a number in float64."""
    try:
        if hasattr(entry, "p") and hasattr(entry, "q"):
            return int(entry.p) / int(entry.q)
        if hasattr(entry, "error"):  # a float with its bound
            return float(entry.value)
        return float(entry.mid() if hasattr(entry, "mid") else entry)
    except OverflowError:
        return math.inf if entry > 0 else -math.inf


def _worst(
    left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], wrong: Mapping[str, np.ndarray]
) -> tuple[str, tuple[int, ...]]:
    """The refuted entry with the largest difference; of several the first."""
    best: tuple[float, str, int] | None = None
    for key, mask in wrong.items():
        if mask.any():
            apart = np.where(mask, np.nan_to_num(np.abs(left[key] - right[key]), nan=math.inf), -1.0).ravel()
            place = int(np.argmax(apart))
            if best is None or apart[place] > best[0]:
                best = float(apart[place]), key, place
    if best is None:  # nothing differs
        key = next(iter(left))
        return key, (0,) * left[key].ndim
    return best[1], tuple(map(int, np.unravel_index(best[2], left[best[1]].shape)))


def _ratio(left: float, right: float) -> float | None:
    if left == 0 or not (math.isfinite(left) and math.isfinite(right)):
        return None
    ratio = right / left
    return ratio if math.isfinite(ratio) else None


def _common(
    left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], wrong: Mapping[str, np.ndarray],
    bounds: Mapping[str, Any] | None,
) -> tuple[float | None, float]:  # fmt: skip
    """The ratio of all refuted entries if it is one, and its relative uncertainty."""
    keys = [key for key in left if wrong[key].any()]
    if not keys:
        return None, RELATIVE
    one = np.concatenate([left[key][wrong[key]] for key in keys])
    other = np.concatenate([right[key][wrong[key]] for key in keys])
    if not (np.isfinite(one).all() and np.isfinite(other).all() and one.any()):
        return None, RELATIVE
    top = [float(max(np.abs(left[key]).max(), np.abs(right[key]).max())) for key in keys]
    slack = np.concatenate(
        [np.full(int(wrong[key].sum()), OF_LARGEST * each) for key, each in zip(keys, top, strict=True)]
    )
    if bounds is not None:
        slack += np.concatenate([np.broadcast_to(bounds[key], left[key].shape)[wrong[key]] for key in keys])
    largest = int(np.argmax(np.abs(one)))
    ratio = _ratio(float(one[largest]), float(other[largest]))
    if ratio is None:
        return None, RELATIVE
    allowed = RELATIVE * np.abs(other) + (1 + abs(ratio)) * np.minimum(slack, LOOSEST * np.abs(other))
    if not (np.abs(other - ratio * one) <= allowed).all():
        return None, RELATIVE
    relative = RELATIVE if ratio == 0 else (1 + 1 / abs(ratio)) * float(slack[largest] / abs(one[largest]))
    return ratio, min(max(RELATIVE, relative), LOOSEST)


def _offset(
    left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray], wrong: Mapping[str, np.ndarray]
) -> float | None:
    """The difference of all refuted entries if it is one."""
    apart = np.concatenate([(right[key] - left[key])[wrong[key]] for key in left])
    top = np.concatenate([np.maximum(np.abs(left[key]), np.abs(right[key]))[wrong[key]] for key in left])
    first = float(apart[0])
    same = math.isfinite(first) and (np.abs(apart - first) <= RELATIVE * abs(first) + OF_LARGEST * top).all()
    return first if same else None


# The pattern of agreement.


def _pattern(array: str, wrong: Mapping[str, np.ndarray], empty: np.ndarray) -> tuple[str, tuple[str, ...]]:
    """Which entries agree in words, and a drawing of a small matrix."""
    mask = wrong[array]
    words = []
    if len(wrong) > 1:
        agree = [key or "the array" for key in wrong if not wrong[key].any()]
        named = f": {', '.join(agree[:NAMES])}{', …' * (len(agree) > NAMES)}" if agree else ""
        words.append(f"{len(agree)} of {len(wrong)} arrays agree{'s' * (len(agree) == 1)}{named}")
    if mask.size > 1:
        # Of several arrays the words are about the one that is shown.
        within = f"{array}: " if len(wrong) > 1 and array else ""
        trivial = " (zeros)" if not mask.all() and empty[~mask].all() else ""
        words.append(within + _mask_in_words(mask) + trivial)
    drawn = mask.ndim == 2 and mask.size > 1 and max(mask.shape) <= GRID and not mask.all()
    grid = tuple(" ".join("x" if entry else "." for entry in row) for row in mask) if drawn else ()
    return "; ".join(words), grid


def _mask_in_words(wrong: np.ndarray) -> str:
    good = int(wrong.size - wrong.sum())
    if not good:
        return f"none of {wrong.size} entries agrees"
    known = _shape_of(wrong)
    count = f"{good} of {wrong.size} entries agree"
    return f"{known}: {count}" if known else count


def _shape_of(wrong: np.ndarray) -> str:
    if wrong.ndim == 2 and wrong.shape[0] == wrong.shape[1]:
        n = len(wrong)
        ones = np.ones((n, n), dtype=bool)
        for words, agrees in (
            ("agrees on the diagonal only", np.eye(n, dtype=bool)),
            ("agrees off the diagonal", ~np.eye(n, dtype=bool)),
            ("agrees above the diagonal and on it", np.triu(ones)),
            ("agrees below the diagonal and on it", np.tril(ones)),
            ("agrees above the diagonal only", np.triu(ones, 1)),
            ("agrees below the diagonal only", np.tril(ones, -1)),
        ):
            if np.array_equal(agrees, ~wrong):
                return words
    for axis in range(wrong.ndim):
        others = tuple(other for other in range(wrong.ndim) if other != axis)
        some, every = np.atleast_1d(wrong.any(axis=others)), np.atleast_1d(wrong.all(axis=others))
        if np.array_equal(some, every) and len(some) > 1:  # whole rows
            noun = ("entry", "entries") if wrong.ndim == 1 else _axis(wrong.ndim, axis)
            few = some if some.sum() <= (~some).sum() else ~some
            verb = "differs" if few is some else "agrees"
            places = [int(place) for place in np.flatnonzero(few)]
            if len(places) <= NAMES:
                return f"{verb} in {noun[len(places) > 1]} {', '.join(map(str, places))} only"
    return ""


def _axis(dimensions: int, axis: int) -> tuple[str, str]:
    if dimensions == 2:
        return (("row", "rows"), ("column", "columns"))[axis]
    return f"index of axis {axis}:", f"indices of axis {axis}:"


# Numbers as text.


def _texts(pair: tuple[float, float], entries: tuple[Any, Any]) -> tuple[str, str]:
    """Both numbers with as many digits as tell them apart; short rationals in full."""
    exact = [str(entry) for entry in entries if hasattr(entry, "p") and hasattr(entry, "q")]
    if len(exact) == 2 and max(map(len, exact)) <= 16 and any("/" in text for text in exact):
        return exact[0], exact[1]
    return numbers(*pair)


def numbers(left: float, right: float) -> tuple[str, str]:
    """Two floats with as many digits as tell them apart.

    Examples
    --------
    >>> numbers(0.066, 0.1319), numbers(1.0, 1.000001)
    (('0.0660', '0.1319'), ('1', '1.000001'))
    """
    if all(value == 0 or 1e-2 <= abs(value) < 1e4 for value in (left, right)):
        pair = f"{left:.4f}" if left else "0", f"{right:.4f}" if right else "0"
        if abs(left - right) >= 1e-3 * max(abs(left), abs(right)):
            return pair
    for digits in range(4, 18):
        pair = f"{left:.{digits}g}", f"{right:.{digits}g}"
        if pair[0] != pair[1] and (digits == 17 or f"{left:.{digits + 1}g}" != f"{right:.{digits + 1}g}"):
            break
    return pair


def ratio_text(left: float, right: float, ratio: float | None) -> str:
    """A ratio with three decimals, more where it is near 1."""
    if ratio is None:
        return "infinite" if left == 0 and math.isfinite(right) and right != 0 else "undefined"
    if not 0.1 <= abs(ratio) < 1e4:
        return f"{ratio:.4g}" if ratio else "0"
    for decimals in range(3, 18):
        text = f"{ratio:.{decimals}f}"
        if text != f"{1:.{decimals}f}" or ratio == 1:
            break
    return text if decimals == 3 else f"{ratio:.{decimals + 2}f}"
