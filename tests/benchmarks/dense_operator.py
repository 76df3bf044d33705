"""Dense operator at p = 4096 against the machine's own float64 matrix product.

Counted are 2 p^2 m operations for m = M n_L columns, as a plain product of the columns with their transpose
would take; everything is timed, connections included. Half of these are not done, since the operator is
symmetric: the ratio may exceed 1.
"""

import torch
from measure import Result, best_times

from numeric.towers.network import random_weights
from numeric.towers.operator import covariance_operator
from numeric.towers.populations import FinitePopulation
from numeric.towers.product import covariance_operator_product

WIDTHS, LAYER, POINTS, AUGMENTATIONS = (64, 64, 64, 32), 2, 512, 8


def run() -> list[Result]:
    """One result for the plain operator, one for a weighted one."""
    generator = torch.Generator().manual_seed(0)
    weights = random_weights(WIDTHS, generator=generator)
    points = torch.randn(POINTS, AUGMENTATIONS, WIDTHS[0], generator=generator, dtype=torch.float64)
    population = FinitePopulation(points)
    size, columns = WIDTHS[LAYER] * WIDTHS[LAYER - 1], POINTS * WIDTHS[-1]
    square = torch.randn(size, size, generator=generator, dtype=torch.float64)
    probe = torch.randn(size, generator=generator, dtype=torch.float64)
    results = []
    for loss in ("simple", "infonce"):
        dense = covariance_operator(weights, population, LAYER, loss)
        product = covariance_operator_product(weights, population, LAYER, loss).product(probe)
        residual = float((dense @ probe - product).abs().max())
        # Sums of m and of p terms on the one side, of M A and of the widths on the other.
        tolerance = (columns + size) * torch.finfo(torch.float64).eps * float((dense.abs() @ probe.abs()).max())
        del dense
        sides = {
            "matmul": lambda: square @ square,
            "operator": lambda loss=loss: covariance_operator(weights, population, LAYER, loss),
        }
        times = best_times(sides, 3)
        peak, rate = 2 * size**3 / times["matmul"], 2 * size**2 * columns / times["operator"]
        detail = {"p": size, "columns": columns, "seconds": times["operator"], "matmul_gflops": peak / 1e9}
        name = f"dense operator, {loss}, p={size}"
        results.append(Result(name, residual, tolerance, rate / peak, "of matmul rate", 0.6, detail=detail))
    return results
