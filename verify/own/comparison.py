"""Compare two sides in float64 entry by entry, by what noise in their arithmetic does to each entry.

The tolerance of an entry is what rounding explains there: a safety factor times how far noise of a known size moves
both sides, brought down to the size of a rounding, or how far they move where float64 rounds up, down and to zero,
which Python's own numbers do too. An entry is *refuted* where the sides differ by more; *undecided*
where the tolerance is not small against the entry, where the moves do not shrink with the noise, or where moves of the
numbers by 1e-14 take a side as far as the sides differ, as at a kink or a tie; else it agrees. A difference of a few
dozen roundings of the entry itself always agrees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from verify.own.directed import directions
from verify.own.noise import Noise, Operation
from verify.tolerance import rounding

Arrays = dict[str, np.ndarray]
# Asks a side again, by name, in the arithmetic of a noise; None where it does not apply.
Ask = Callable[[str, Noise], Arrays | None]

LEVELS = (2.0**-36, 2.0**-46)
"""Noise of an operation and of an input, relative to what it is made of: coarse and fine."""
STAGES = ((range(1), 1e9), (range(1, 3), 1e3), (range(3, 19), 1.0))
"""Seeds of the noisy runs of a side at each level, and the times its tolerance by which a difference that is found with
so few runs is beyond doubt; what is nearer takes the next runs too."""
RUNS, KINK_RUNS = 3, 6
"""Runs that name an operation; and those that look for a kink before anything is refuted."""
SAFETY = 8.0
"""Times the largest of the moves that rounding is taken to be."""
CLEAR = 2.0**-30
"""Part of an entry to which its tolerance is so small that other directions of rounding alone decide that it agrees."""
LAST_DIGITS = 16 * rounding.UNIT_ROUNDOFF
"""Relative difference at which sides agree."""
UNSEEN = 1008 * rounding.UNIT_ROUNDOFF
"""Relative difference beyond the tolerance that stays open: libraries err by more than rounding, `scipy.linalg.expm` of
SciPy 1.17 by 660 roundings."""
SMALL = 1e-6
"""Part of an entry beyond which its tolerance decides nothing ..."""
NEGLIGIBLE = 2.0**-33
"""... unless the entry is no more than this part of the numbers that it is made of: it has cancelled ..."""
NOTHING = 2.0**-30
"""... to no more than this part of the largest input: else it is an answer, lost on the way."""
NONLINEAR = 2.0**8
"""Ratio of the moves by fine and by coarse noise, each in units of the noise, beyond which there is a jump."""
SHIFTS = (2.0**-46, 2.0**-50)
"""Additive moves of the numbers, which leave zeros and ties; a jump does not shrink from the first to the second."""
JUMP = 0.25
"""Part of the difference of the sides that such a jump must reach to explain it."""
UNSEEN_SIZE = 2.0**-40
"""What numbers around one may have lost that are made outside of a side, so that no rounding of them is seen."""
TINY = 2.0**-970
"""Numbers that underflow where they are moved."""
SIDES = ("theory", "numeric")


@dataclass(frozen=True)
class Comparison:
    """Two sides on an instance, by how much their relation fails at each entry, and a way to ask them again."""

    sides: Mapping[str, Arrays]
    gaps: Arrays
    ask: Ask
    seen: dict[str, list[Noise]] = field(default_factory=lambda: {name: [] for name in SIDES})

    @cached_property
    def size(self) -> Arrays:
        """The larger of both sides at each entry."""
        left, right = (self.sides[name] for name in SIDES)
        return {key: np.maximum(np.abs(left[key]), np.abs(right[key])) for key in left}

    @cached_property
    def last_digits(self) -> Arrays:
        """What a few dozen roundings of the entry itself are."""
        return {key: LAST_DIGITS * size + rounding.SAFETY * rounding.UNDERFLOW for key, size in self.size.items()}

    @property
    def agree(self) -> bool:
        """Whether the sides agree to their last digits, so that nothing has to be measured."""
        return not any((self.gaps[key] > self.last_digits[key]).any() for key in self.gaps)

    def moved(self, name: str, noise: Noise) -> Arrays:
        """How far noise moves each entry of a side; infinite where it changes shape or is no number."""
        result, double = self.ask(name, noise) or {}, self.sides[name]
        self.seen[name].append(noise)
        moves = {}
        for key, values in double.items():
            same = key in result and result[key].shape == values.shape
            move = np.abs(result[key] - values) if same else np.full(values.shape, math.inf)
            moves[key] = np.where(np.isnan(move), math.inf, move)
        return moves

    def unmeasured(self, name: str) -> bool:
        """Whether a side showed no rounding in any arithmetic, and its results are no whole numbers."""
        whole = all(np.array_equal(values, np.rint(values)) for values in self.sides[name].values())
        moves = some(self.directed[name])
        return not whole and not moves and not any(noise.asked or noise.count for noise in self.seen[name])

    @property
    def largest(self) -> float:
        """The largest input; infinite where the sides do not say."""
        return max((noise.largest for name in SIDES for noise in self.seen[name]), default=0.0) or math.inf

    @cached_property
    def directed(self) -> dict[str, Arrays]:
        """How far each entry of a side moves where float64 rounds to other directions; zero where it cannot."""
        result = {}
        for name in SIDES:
            largest = {key: np.zeros(values.shape) for key, values in self.sides[name].items()}
            for direction in directions():
                for key, move in self.moved(name, Noise(0, direction=direction)).items():
                    largest[key] = np.maximum(largest[key], move)
            result[name] = {key: spread(move, np.abs(self.sides[name][key])) for key, move in largest.items()}
        return result

    def by_directions(self) -> Arrays:
        """The tolerance of every entry by other directions of rounding."""
        moves = {key: sum(self.directed[name][key] for name in SIDES) for key in self.gaps}
        return {key: SAFETY * move + self.last_digits[key] for key, move in moves.items()}

    def scales(self, name: str, seeds: range) -> list[Arrays]:
        """The largest move of each entry in units of the noise, at each level."""
        result = []
        for level in LEVELS:
            largest = {key: np.zeros(values.shape) for key, values in self.sides[name].items()}
            for seed in seeds:
                for key, move in self.moved(name, Noise(seed, level=level, inputs=level)).items():
                    largest[key] = np.maximum(largest[key], move / level)
            result.append(largest)
        return result

    def tolerances(self, seeds: range) -> Tolerances:
        """The tolerance of every entry from noisy runs with these seeds."""
        found = {name: self.scales(name, seeds) for name in SIDES}
        bounds, scale, jumps, curved = {}, {}, {}, {}
        for key in self.gaps:
            shape = self.gaps[key].shape
            scale[key], raw = np.zeros(shape), np.zeros(shape)
            jumps[key], curved[key] = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
            for name in SIDES:
                coarse, fine = (level[key] for level in found[name])
                directed = self.directed[name][key]
                # What the noise does not reach rounds no less where the noise is fine.
                explained = fine * LEVELS[1] <= SAFETY * directed
                # What shrinks faster than the noise is curved, or near a kink that fine noise does not reach.
                bent = coarse > NONLINEAR * fine
                moves = np.where(bent, fine, np.maximum(coarse, np.where(explained, 0.0, fine)))
                scale[key] += np.maximum(moves, directed / rounding.UNIT_ROUNDOFF)
                jumps[key] |= (fine > NONLINEAR * coarse) & (fine > TINY) & ~explained
                curved[key] |= bent
                raw = np.maximum(raw, np.maximum(coarse * LEVELS[0], fine * LEVELS[1]))
            rounded = SAFETY * rounding.UNIT_ROUNDOFF * scale[key] + self.last_digits[key] + UNSEEN * self.size[key]
            bounds[key] = np.where(jumps[key], raw / JUMP + self.last_digits[key], rounded)
            if any(self.unmeasured(name) for name in SIDES):
                bounds[key] = np.maximum(bounds[key], max(SMALL * self.size[key].max(initial=0.0), UNSEEN_SIZE))
                jumps[key] = np.ones(shape, dtype=bool)
        return Tolerances(bounds, scale, jumps, curved)

    def judged(self) -> Judged:
        """Every entry judged, by as few runs as leave no doubt."""
        bounds = self.by_directions()
        near = {key: (gap <= bounds[key]) & (bounds[key] <= CLEAR * self.size[key]) for key, gap in self.gaps.items()}
        if all((near[key] | (gap <= self.last_digits[key])).all() for key, gap in self.gaps.items()):
            return self.by(bounds)
        measured = Tolerances.none(self.gaps)
        for seeds, sure in STAGES:
            measured = measured.wider(self.tolerances(seeds))
            wrong, vague = self.beyond(measured.bounds), self.vague(measured)
            if some(wrong):
                far = {key: gap > sure * measured.bounds[key] for key, gap in self.gaps.items()}
                if some({key: mask & far[key] & ~measured.curved[key] for key, mask in wrong.items()}):
                    break
            elif not some(vague) or seeds.start > 0:
                break
        kinks = self.kinks(wrong)
        return Judged(
            measured.bounds,
            {key: mask & ~kinks[key] for key, mask in wrong.items()},
            {key: (mask & ~wrong[key]) | kinks[key] for key, mask in vague.items()},
            {key: mask | kinks[key] for key, mask in measured.jumps.items()},
        )

    def vague(self, measured: Tolerances) -> Arrays:
        """The entries whose tolerance decides nothing: it is not small against them, or they jump."""
        result = {}
        for key, bound in measured.bounds.items():
            nothing = np.minimum(NEGLIGIBLE * measured.scale[key], NOTHING * self.largest)
            coarse = (bound > SMALL * self.size[key]) & (self.size[key] > nothing)
            coarse |= self.gaps[key] > bound - UNSEEN * self.size[key]
            result[key] = (coarse | measured.jumps[key]) & (self.gaps[key] > self.last_digits[key])
        return result

    def by(self, bounds: Arrays) -> Judged:
        """Every entry judged by a tolerance that is known."""
        none = {key: np.zeros(gap.shape, dtype=bool) for key, gap in self.gaps.items()}
        return Judged(bounds, self.beyond(bounds), none, none)

    def beyond(self, bounds: Arrays) -> Arrays:
        return {key: gap > bounds[key] for key, gap in self.gaps.items()}

    def kinks(self, wrong: Arrays) -> Arrays:
        """The entries at which tiny moves of the numbers take a side as far as the sides differ."""
        result = dict(wrong)
        for shift in SHIFTS:
            if not some(result):
                break
            far = {key: np.zeros(mask.shape) for key, mask in wrong.items()}
            for name in SIDES:
                for seed in range(KINK_RUNS):
                    for key, move in self.moved(name, Noise(seed, level=shift, shift=shift)).items():
                        far[key] = np.maximum(far[key], move)
            result = {key: mask & (far[key] >= JUMP * self.gaps[key]) for key, mask in result.items()}
        return result

    def reason(self, judged: Judged) -> str:
        """Why the worst undecided entry is not decided, in words."""
        key, place = judged.worst_vague(self.gaps)
        entry = ", ".join(part for part in (key, f"entry {place}" if place else "") if part) or "the number"
        if any(self.unmeasured(name) for name in SIDES):
            return f"{entry}: {' and '.join(name for name in SIDES if self.unmeasured(name))} side without rounding"
        if judged.jumps[key][place]:
            return f"{entry} jumps, as at a kink, a tie or a pole"
        return f"{entry} = {self.size[key][place]:.3g} is known to {judged.bounds[key][place]:.1g} only"

    def culprit(self, judged: Judged) -> str:
        """The reason, and which number brings it about."""
        key, place = judged.worst_vague(self.gaps)
        if any(self.unmeasured(name) for name in SIDES):
            cause = "it uses no at.array or at.tensor"
        else:
            cause = next(self.jumping(key, place), "") if judged.jumps[key][place] else self.rounding(key, place)
        return ": ".join(part for part in (self.reason(judged), cause) if part)

    def jumping(self, key: str, place: tuple[int, ...]) -> Iterator[str]:
        """The numbers of the instance whose moves alone make an entry of a side jump."""
        for name in SIDES:
            probe = Noise(0, shift=SHIFTS[0])
            self.ask(name, probe)
            for number, value in list(probe.asked.items())[:64]:
                for seed in range(RUNS):
                    move = float(self.moved(name, Noise(seed, shift=SHIFTS[0], only=number))[key][place])
                    if move >= JUMP * self.gaps[key][place]:
                        yield f"a move of {value:g} by 1e-14 moves the {name} side by {move:.3g}"
                        break

    def rounding(self, key: str, place: tuple[int, ...]) -> str:
        """The operation whose rounding moves an entry most."""

        def by(name: str, window: tuple[float, float], inputs: float = 0.0) -> float:
            noise = [Noise(seed, level=LEVELS[1], inputs=inputs, window=window) for seed in range(RUNS)]
            return max(float(self.moved(name, item)[key][place]) for item in noise)

        name = max(SIDES, key=lambda side: by(side, (0, math.inf), LEVELS[1]))
        operations: list[Operation] = []
        self.ask(name, Noise(0, level=LEVELS[1], operations=operations))
        first, last = 0, len(operations)
        if by(name, (0, 0), LEVELS[1]) > by(name, (0, math.inf)):
            return f"the {name} side moves so far with the last digits of its inputs"
        while last - first > 1:
            middle = (first + last) // 2
            first, last = (first, middle) if by(name, (first, middle)) >= by(name, (middle, last)) else (middle, last)
        return f"{name} side, {operations[first]}" if operations else f"{name} side"


def spread(moves: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Moves of entries, each at least what rounding moves entries that are no larger: chance leaves some unmoved."""
    order = np.argsort(size, axis=None)
    rounds = np.where(moves <= CLEAR * size, moves, 0.0).ravel()[order]
    result = moves.copy()
    result.ravel()[order] = np.maximum(moves.ravel()[order], np.maximum.accumulate(rounds))
    return result


def some(masks: Arrays) -> bool:
    """Whether any entry of any mask is set."""
    return any(mask.any() for mask in masks.values())


@dataclass(frozen=True)
class Tolerances:
    """The tolerance of every entry, the size of what it is made of, and whether it jumps or is curved."""

    bounds: Arrays
    scale: Arrays
    jumps: Arrays
    curved: Arrays

    @classmethod
    def none(cls, gaps: Arrays) -> Tolerances:
        """Those of exact numbers."""
        zero = {key: np.zeros(gap.shape) for key, gap in gaps.items()}
        none = {key: np.zeros(gap.shape, dtype=bool) for key, gap in gaps.items()}
        return cls(zero, zero, none, none)

    def wider(self, other: Tolerances) -> Tolerances:
        """The wider of both at each entry."""
        return Tolerances(
            {key: np.maximum(bound, other.bounds[key]) for key, bound in self.bounds.items()},
            {key: np.maximum(scale, other.scale[key]) for key, scale in self.scale.items()},
            {key: jump | other.jumps[key] for key, jump in self.jumps.items()},
            {key: curved | other.curved[key] for key, curved in self.curved.items()},
        )


@dataclass(frozen=True)
class Judged:
    """The tolerance of every entry, the entries that refute, those that are undecided, and those that jump."""

    bounds: Arrays
    wrong: Arrays
    vague: Arrays
    jumps: Arrays

    @property
    def refuted(self) -> bool:
        return some(self.wrong)

    @property
    def open(self) -> bool:
        return some(self.vague)

    def worst_vague(self, gaps: Arrays) -> tuple[str, tuple[int, ...]]:
        """The undecided entry at which the sides differ most."""
        key = max(self.vague, key=lambda name: float(np.max(gaps[name], where=self.vague[name], initial=-1.0)))
        gap = np.where(self.vague[key], gaps[key], -1.0)
        return key, tuple(map(int, np.unravel_index(int(np.argmax(gap)), gap.shape)))
