"""Data of the figures of statements 1 and 2."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from verify.engine.evidence import Measurement
from verify.engine.statement import Context, Variant, command
from verify.figures.data import FigureData, table
from verify.instances import samples

PAIRS = 24
# Ratios at and below this are drawn here: a residual may be exactly 0.
LOWEST = 1e-4
TAU, MARGIN, FARTHEST = 0.5, 1.0, 4.0
LOSSES: tuple[tuple[str, str, dict[str, float]], ...] = (
    ("simple", "simple loss", {}),
    ("triplet", f"soft triplet, tau = {TAU}, r_0 = {MARGIN:g}", {"tau": TAU, "margin": MARGIN}),
    ("infonce", f"InfoNCE, tau = {TAU}, H = 1", {"tau": TAU, "negatives": 1}),
)


def separation(
    measure: Callable[[Any, Any], Measurement], variants: Sequence[Variant], context: Context
) -> tuple[FigureData, ...]:
    """Residuals of the statement and of its mutants in units of the tolerance."""
    wanted = context.pick(quick=PAIRS, thorough=5 * PAIRS)
    drawn = samples.smooth_populations(context.seed + 7, wanted, ("simple",))
    pairs = list(islice(samples.pairs_of(drawn, context.seed + 7, 1), wanted))
    rows = []
    for name, claim in (("the statement", None), *((one.name, one.claim) for one in variants)):
        for number, pair in enumerate(pairs):
            result = measure(pair, claim)
            if result.status != "abstained" and result.tolerance > 0:
                rows.append((name, number, result.residual, result.tolerance, result.residual / result.tolerance))
    stated = [row[-1] for row in rows if row[0] == "the statement"]
    false = [row[-1] for row in rows if row[0] != "the statement"]
    facts = {
        "instances": len(pairs),
        "largest ratio of the statement": max(stated, default=0.0),
        "median ratio of the mutants": float(np.median(false)) if false else 0.0,
        "lowest ratio drawn": LOWEST,
    }
    caption = (
        f"Automatic differentiation of r against the formula in float64, on {len(pairs)} pairs of Gaussian towers "
        "(ReLU, leaky ReLU and linear in turn): largest residual of all layers over what rounding can explain of it. "
        f"The largest ratio of the statement is {max(stated, default=0.0):.2g}. Where a mutant lies below 1 it "
        "agrees with the statement on that pair (a linear network has no gates, say). Smaller "
        f"ratios than {LOWEST:g} are drawn there. No error bars: every point is one deterministic comparison."
    )
    columns = table(("claim", "instance", "residual", "tolerance", "ratio"), rows)
    title = "Theorem 1 and its mutants, in units of the tolerance"
    alt = (
        f"Points in rows on a logarithmic axis: the statement at most at {facts['largest ratio of the statement']:.1e} "
        f"of the tolerance, {len(variants)} mutants around {facts['median ratio of the mutants']:.0e}."
    )
    name = "dual-gradient-separation"
    return (FigureData(name, "separation", title, caption, columns, facts, command(1, context), alt),)


def pair_weights(context: Context) -> tuple[FigureData, ...]:
    """Pair weights of the three losses against r, and derivatives by automatic differentiation."""
    import torch

    import numeric

    r = np.linspace(0.0, FARTHEST, 41)
    rows = []
    for name, label, parameters in LOSSES:
        spec = numeric.loss_spec(name, **parameters)
        r_neg = torch.tensor(r[:, None], requires_grad=True)
        r_pos = torch.zeros(len(r), dtype=torch.float64, requires_grad=True)
        above, below = torch.autograd.grad(numeric.loss_value(spec, r_pos, r_neg).sum(), [r_pos, r_neg])
        every = range(0, len(r), 4)
        for quantity, values, places in (
            ("xi", numeric.pair_weight(spec, r_neg.detach())[:, 0], range(len(r))),
            ("dL/dr_+", above, every),
            ("-dL/dr_-", -below[:, 0], every),
        ):
            rows += [(label, quantity, float(r[place]), float(values[place])) for place in places]
    caption = (
        "Lines: the pair weight xi(r) in closed form. Markers: derivatives of the loss by automatic differentiation at "
        "r_+ = 0, large and open dL/dr_+, small and filled -dL/dr_-. Both are above 0 and lie on each other and on the "
        "line: attraction and repulsion cancel. H = 1 negative; deterministic, no error bars."
    )
    columns = table(("loss", "quantity", "r", "value"), rows)
    facts = {"tau": TAU, "margin r_0": MARGIN}
    title = "Pair weights of the contrastive losses"
    alt = "Three curves against r with markers on them: one stays at 1, two fall towards 0."
    return (FigureData("pair-weights", "pair-weights", title, caption, columns, facts, command(2, context), alt),)
