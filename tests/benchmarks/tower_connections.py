"""Connections against torch.func (vmap of jacrev) at widths 64-64-64-32, batch 256.

The factored form is the connection, exactly: ``K = f kron J^T``. It is what carries the bar. Written out, the
connections fill 670 MB, and that alone, the first touch of fresh memory, takes most of the time that jacrev
takes: the floor is measured beside it.
"""

import torch
from measure import Result, best_times
from torch.func import jacrev, vmap

from numeric.towers.connection import connection_factors, connections
from numeric.towers.network import forward, random_weights, vec

WIDTHS, BATCH = (64, 64, 64, 32), 256


def run() -> list[Result]:
    """Factored (with the bar), dense, and dense into memory that was used before."""
    generator = torch.Generator().manual_seed(0)
    weights = random_weights(WIDTHS, generator=generator)
    x = torch.randn(BATCH, WIDTHS[0], generator=generator, dtype=torch.float64)
    peer = vmap(jacrev(forward), in_dims=(None, 0))
    residual = tolerance = 0.0
    for found, jacobian in zip(connections(weights, x), peer(weights, x), strict=True):
        residual = max(residual, float((found - vec(jacobian).mT).abs().max()))
        # Two matrix products of at most 64 terms on either side.
        tolerance = max(tolerance, 2 * 128 * torch.finfo(torch.float64).eps * float(found.abs().max()))
    factors = connection_factors(weights, x)
    buffers = [found.dense() for found in factors]
    sides = {
        "jacrev": lambda: peer(weights, x),
        "factored": lambda: connection_factors(weights, x),
        "dense": lambda: connections(weights, x),
        "dense into used memory": lambda: _into(weights, x, buffers),
        "filling fresh memory": lambda: [torch.full(b.shape, 1.0, dtype=b.dtype) for b in buffers],
        "filling used memory": lambda: [b.fill_(1.0) for b in buffers],
    }
    times = best_times(sides, 8)
    detail = {f"{name} seconds": seconds for name, seconds in times.items()}
    detail["output bytes"] = sum(b.numel() * b.element_size() for b in buffers)
    unit = "times as fast as jacrev"
    return [
        Result(
            f"write floor: {name}" if name.startswith("filling") else f"connections, {name}",
            residual,
            tolerance,
            times["jacrev"] / times[name],
            unit,
            20.0 if name == "factored" else None,
            detail=detail,
        )
        for name in sides
        if name != "jacrev"
    ]


def _into(weights: list[torch.Tensor], x: torch.Tensor, buffers: list[torch.Tensor]) -> None:
    """Write the connections into memory that was used before."""
    for found, buffer in zip(connection_factors(weights, x), buffers, strict=True):
        found.dense(out=buffer)
