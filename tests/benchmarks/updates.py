"""Statement 3: its formula against autograd of the literal sum, on 512 digits x 8 augmentations."""

import torch
from measure import Result, best_times

from numeric.towers.gradient import population_gradient
from numeric.towers.network import random_weights
from numeric.towers.operator import predicted_update
from numeric.towers.populations import digit_population

WIDTHS, IMAGES, AUGMENTATIONS = (64, 64, 32, 10), 512, 8


def run() -> list[Result]:
    """Return one result, for information."""
    population = digit_population(IMAGES, AUGMENTATIONS)
    weights = random_weights(WIDTHS, generator=torch.Generator().manual_seed(0))
    literal = population_gradient(weights, population, "simple")
    formula = predicted_update(weights, population)
    residual = max(float((a - b).abs().max()) for a, b in zip(literal, formula, strict=True))
    # The weights of the terms sum to one; a sum of n of them loses n roundings at most.
    count = (IMAGES * AUGMENTATIONS) ** 2
    tolerance = count * torch.finfo(torch.float64).eps * max(float(g.abs().max()) for g in literal)
    sides = {
        "formula": lambda: predicted_update(weights, population),
        "literal": lambda: population_gradient(weights, population, "simple"),
    }
    times = best_times(sides, 3)
    detail = {"formula seconds": times["formula"], "literal seconds": times["literal"], "pairs": count}
    ratio = times["literal"] / times["formula"]
    return [
        Result(
            "statement 3, formula",
            residual,
            tolerance,
            ratio,
            "times as fast as autograd",
            detail=detail,
        )
    ]
