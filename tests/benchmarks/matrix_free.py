"""Ten leading eigenpairs at p = 10^6, on 1,000 points x 8 augmentations, nothing p x p, in under 2 GB.

The large problem runs in a process of its own, so that its peak memory is its own. Eigenpairs are checked by
their residual ``||V u - lambda u||`` with a product that shares no sweep with the operator: factored
connections of a few points at a time. A small problem is checked against the dense eigendecomposition.
"""

import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from measure import Result
from scipy.sparse.linalg import eigsh

from numeric.towers.connection import connection_factors
from numeric.towers.network import random_weights, unvec, vec
from numeric.towers.operator import covariance_operator
from numeric.towers.populations import FinitePopulation
from numeric.towers.product import covariance_operator_product

WIDTHS, LAYER, POINTS, AUGMENTATIONS, PAIRS = (64, 1000, 1000, 10), 2, 1000, 8, 10
SMALL = (12, 20, 16, 4)
# What eigsh is asked for, relative to each eigenvalue; a residual bounds the error of a symmetric eigenvalue.
PRECISION = 1e-10


def problem(widths: tuple[int, ...], points: int) -> tuple[list[torch.Tensor], FinitePopulation]:
    """Random weights, and points whose augmentations are noise about them."""
    generator = torch.Generator().manual_seed(0)
    weights = random_weights(widths, generator=generator)
    centres = torch.randn(points, 1, widths[0], generator=generator, dtype=torch.float64)
    noise = torch.randn(points, AUGMENTATIONS, widths[0], generator=generator, dtype=torch.float64)
    return weights, FinitePopulation(centres + 0.3 * noise)


def independent_products(
    weights: list[torch.Tensor], population: FinitePopulation, vectors: torch.Tensor
) -> torch.Tensor:
    """``V_x[Kbar] v`` for every column, from factored connections of 25 points at a time."""
    matrices = [unvec(vector, weights[LAYER - 1].shape[0]) for vector in vectors.T]
    parts = [slice(start, start + 25) for start in range(0, population.size, 25)]
    seen = []
    for part in parts:
        points = FinitePopulation(population.points[part])
        factors = connection_factors(weights, points.flat_points)[LAYER - 1]
        seen.append(torch.stack([points.mean(factors.adjoint_apply(matrix)) for matrix in matrices], dim=-1))
    centre = torch.cat(seen).mean(0)
    totals = [torch.zeros_like(matrix) for matrix in matrices]
    for part, values in zip(parts, seen, strict=True):
        factors = connection_factors(weights, population.points[part].flatten(0, 1))[LAYER - 1]
        moved = (values - centre).repeat_interleave(AUGMENTATIONS, dim=0) / (population.size * AUGMENTATIONS)
        for number, total in enumerate(totals):
            total += factors.apply(moved[..., number])
    return torch.stack([vec(total) for total in totals], dim=-1)


def peak_memory() -> int:
    """Peak resident memory of this process in bytes.

    Linux counts the memory of the parent before exec in ``ru_maxrss``; the status file does not.
    """
    status = Path("/proc/self/status")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status.read_text(), re.MULTILINE) if status.exists() else None
    if found:
        return 1024 * int(found.group(1))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def large() -> dict[str, float]:
    """Solve the large problem, check it, and report; meant for a process of its own."""
    weights, population = problem(WIDTHS, POINTS)
    start = time.perf_counter()
    operator = covariance_operator_product(weights, population, LAYER)
    values, vectors = eigsh(operator, k=PAIRS, which="LA", tol=PRECISION, v0=np.ones(operator.shape[0]), ncv=4 * PAIRS)
    seconds, memory = time.perf_counter() - start, peak_memory()
    del operator
    columns = torch.from_numpy(vectors.copy())
    moved = independent_products(weights, population, columns)
    residuals = (moved - columns * torch.from_numpy(values)).norm(dim=0)
    overlap = float(np.abs(vectors.T @ vectors - np.eye(PAIRS)).max())
    return {
        "p": float(len(vectors)),
        "residual": float(residuals.max()) / float(values[-1]),
        "orthogonality": overlap,
        "largest": float(values[-1]),
        "tenth": float(values[0]),
        "seconds": seconds,
        "peak_bytes": float(memory),
    }


def small() -> Result:
    """Leading eigenvalues at a small p against the dense eigendecomposition."""
    weights, population = problem(SMALL, 50)
    start = time.perf_counter()
    dense = torch.linalg.eigvalsh(covariance_operator(weights, population, LAYER)).numpy()
    middle = time.perf_counter()
    operator = covariance_operator_product(weights, population, LAYER)
    values = eigsh(operator, k=PAIRS, which="LA", v0=np.ones(operator.shape[0]), return_eigenvectors=False)
    seconds = time.perf_counter() - middle
    residual = float(np.abs(np.sort(values) - dense[-PAIRS:]).max())
    # Weyl: both eigenvalue problems are those of the operator up to the rounding of its entries.
    tolerance = len(dense) * 16 * np.finfo(float).eps * dense[-1]
    name = f"eigenvalues against dense, p={len(dense)}"
    return Result(name, residual, float(tolerance), (middle - start) / seconds, "dense time / product time")


def run() -> list[Result]:
    """Return the small problem here, the large one in a process of its own."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())],
        capture_output=True,
        text=True,
        check=True,
        timeout=3600,
    )
    found = json.loads(done.stdout)
    residual = max(found["residual"], found["orthogonality"])
    name = f"matrix-free, {PAIRS} eigenpairs, p={int(found['p'])}"
    memory = Result(
        name, residual, 10 * PRECISION, found["peak_bytes"] / 2e9, "of 2 GB", 1.0, at_most=True, detail=found
    )
    return [small(), memory]


if __name__ == "__main__":
    print(json.dumps(large()))
