"""Statement 7 on new networks: law of the gap, existence and numbers of neurons against 10,000 initialisations.

The gaps are differences of means over the leaves, so that nothing of `theory` is shared with what is counted.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np

from verify.engine.evidence import Measurement
from verify.tolerance.rounding import worse
from verify.tolerance.statistics import allowed, dkw_bound, proportion_interval
from verify.trees import lucky_floats

MEMBERS = 10_000
PLACES = tuple(Fraction(n, 8) for n in (-6, -3, 0, 2, 4, 6))
# Numbers of neurons at each place, at most, and the law itself.
AT_A_PLACE = 5
FAILURE = Fraction(1, 5)

Start = tuple[int, Fraction, Fraction]


def starts() -> list[Start]:
    """(leaves, polarity, sigma_w) of stars; b is irrational for most."""
    return [(n, Fraction(3, 4), Fraction(1)) for n in (1, 2, 4)] + [(3, Fraction(-1, 2), Fraction(3, 10))]


def measure(start: Start, seed: int, device: str) -> Measurement:
    """Gaps of new networks, as differences of means over the leaves, against law, existence and numbers needed.

    The law is compared on a grid within the distance of Dvoretzky, Kiefer, Wolfowitz and Massart; frequencies must have
    the claimed probability in their Clopper-Pearson interval. All comparisons of a run share the false-alarm rate.
    """
    import sympy

    import hltm
    import numeric
    import theory

    leaves, polarity, sigma = start
    tree, width = hltm.star_tree(leaves, float(polarity)), 8
    network = numeric.TreeNetwork(tree, width, seed=seed, ensemble=MEMBERS, device=device, sigma_w=float(sigma))
    gaps = lucky_floats.array(lucky_floats.neurons_at(network, tree.root).gap)
    bound = sympy.Rational(sigma.numerator, sigma.denominator) * sympy.sqrt(sympy.Rational(3, leaves))
    law = theory.gap_law([polarity / 2] * leaves, bound)
    worst, rate = Measurement(0.0, 0.0), false_alarm()
    for place in PLACES:
        t = place * Fraction(float(law.largest)).limit_denominator(1000)
        p = law.survival(t)
        distance = abs(float(np.mean(gaps >= float(t))) - float(p))
        worst = worse(worst, np.array([distance]), np.array([dkw_bound(gaps.size, rate)]), f"law of the gap at {t}")
        enough = needed(p)
        if not smallest(enough, p):
            return Measurement(1.0, 0.0, detail=f"neurons_needed({FAILURE}, {p}) = {enough} is not the smallest")
        for count in sorted({1, 3, min(enough, width), width}):
            hits = int((gaps[:, :count] >= float(t)).any(axis=1).sum())
            wanted = float(sympy.N(1 - (1 - p) ** count, 30))
            found = proportion_interval(hits, MEMBERS, 1 - rate)
            reach = found.estimate - found.low if wanted < found.estimate else found.high - found.estimate
            apart = np.array([abs(wanted - found.estimate)])
            worst = worse(worst, apart, np.array([reach]), f"existence among {count} neurons at {t}")
    return worst


def false_alarm() -> float:
    """Of one comparison; all of a run share that of the check."""
    return allowed("initialisation", AT_A_PLACE * len(PLACES) * len(starts()))


def needed(p: Any) -> int:
    """Number of neurons that suffices for 1 - 1/5, where `theory` can say so exactly; 1 elsewhere."""
    import theory

    return theory.neurons_needed(FAILURE, p) if p.is_Rational and 0 < p < 1 else 1


def smallest(count: int, p: Any) -> bool:
    """Whether that number suffices and one less does not; one is always the least."""
    return count == 1 or bool((1 - p) ** count <= FAILURE < (1 - p) ** (count - 1))
