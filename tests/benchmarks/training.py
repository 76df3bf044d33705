"""Training: triples a second of one network and of 32 stacked, growth with nodes and members, memory.

The setting is that of the paper's study: two children a node, width 10, batch 128, InfoNCE with one negative, single
precision; draws, gradients, updates and checks for divergence are all in the time. Gradients are first held against
autograd.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matrix_free import peak_memory
from measure import Result, best_times

import hltm
from numeric import TreeNetwork, train
from numeric.towers.losses import loss_value
from numeric.training.contrast import contrast_of, training_loss
from numeric.training.minibatch import Stack
from numeric.trees.metrics import correlations, operator_norms
from numeric.trees.streams import TripleSampler

BATCH, WIDTH, TOWERS = 128, 10, 3
DEPTHS, ENSEMBLES = (3, 4, 5, 6, 7, 8, 9), (1, 2, 4, 8, 16, 32, 64)
CPU = torch.device("cpu")


def network_of(depth: int, ensemble: int, dtype: torch.dtype = torch.float32) -> TreeNetwork:
    """Networks on a complete binary tree, their outputs normalised."""
    tree = hltm.complete_tree(depth, 2, (0.7, 1.0), seed=1)
    return TreeNetwork(tree, WIDTH, output="normalized", ensemble=ensemble, dtype=dtype)


def residual() -> tuple[float, float]:
    """Distance of the hand-written gradient from autograd's, and what rounding allows; depth 5, double precision."""
    network, spec = network_of(5, 2, torch.float64), training_loss("infonce", tau=0.1)
    contrast = contrast_of([spec] * 2, CPU, torch.float64)
    leaves = TripleSampler([network.tree], [0, 1], BATCH, 1, CPU).leaves(0)[0]
    _, found = Stack(network.plan, network.slope, True).gradient(network.parameters, leaves, contrast)
    held = [block.clone().requires_grad_() for block in network.parameters]
    f = network.with_parameters(held).forward(leaves.mT).unflatten(1, (TOWERS, BATCH))
    r_pos, r_neg = (0.5 * (f[:, 0] - f[:, k]).square().sum(-1) for k in (1, 2))
    loss = loss_value(spec, r_pos, r_neg.unsqueeze(-1)).mean(-1).sum()
    wanted = torch.autograd.grad(loss, held)
    gap = max(float((a - b).abs().max()) for a, b in zip(found, wanted, strict=True))
    return gap, 1000 * float(np.finfo(np.float64).eps) / spec.tau


def training(depth: int, ensemble: int, steps: int) -> Callable[[], Any]:
    """A whole run; it records at its start and end alone, and evaluates nothing."""
    network = network_of(depth, ensemble)
    return lambda: train(network, steps=steps, batch=BATCH, record_every=steps, keep_networks=False)


def flops(depth: int) -> float:
    """Floating-point operations of the matrix products of one triple: outputs, derivatives in weights and below."""
    network = network_of(depth, 1)
    products = [2.0 * block[0].numel() for block in network.parameters]
    # Nodes that read leaves need no derivative below them.
    return TOWERS * (2 * sum(products) + sum(products[:-1]))


def product_rate() -> float:
    """Operations a second of a large single-precision product with the threads that are set."""
    left, right = torch.rand(1024, 1024), torch.rand(1024, 1024)
    return 2 * 1024**3 / best_times({"product": lambda: left @ right}, 5)["product"]


def rates(ensemble: int, threads: int, bar: float, checked: tuple[float, float]) -> Result:
    """Triples a second at depth 5, and their share of the rate of a large product."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        steps = max(8, 400 // ensemble)
        seconds = best_times({"run": training(5, ensemble, steps)}, 5)["run"]
        rate, peak = steps * ensemble * BATCH / seconds, product_rate()
        sampler = TripleSampler([network_of(5, 1).tree], range(ensemble), BATCH, 1, CPU, torch.float32)
        drawing = best_times({"draws": lambda: sampler.leaves(0, sampler.steps_at_a_time)}, 5)["draws"]
    finally:
        torch.set_num_threads(before)
    detail = {
        "flops of a triple's products": flops(5),
        "flops a second of a product of order 1024": peak,
        "share of it": rate * flops(5) / peak,
        "share of the time that draws alone take": drawing * steps / sampler.steps_at_a_time / seconds,
        "threads": threads,
    }
    return Result(f"training, {ensemble} stacked, {threads} threads", *checked, rate, "triples/s", bar, False, detail)


def exponent(sides: dict[float, Callable[[], Any]]) -> tuple[float, dict[str, float]]:
    """Slope of log time over log size, by least squares, and the times."""
    found = best_times({str(size): side for size, side in sides.items()}, 3)
    slope = np.polyfit(np.log(list(sides)), np.log(list(found.values())), 1)[0]
    return float(slope), found


def growth(checked: tuple[float, float]) -> list[Result]:
    """Fitted exponents over nodes and over members, one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        nodes, by_nodes = exponent({2.0 ** (depth + 1) - 1: training(depth, 1, 8) for depth in DEPTHS})
        members, by_members = exponent({float(ensemble): training(5, ensemble, 8) for ensemble in ENSEMBLES})
    finally:
        torch.set_num_threads(before)
    return [
        Result("training, growth with nodes", *checked, nodes, "exponent", 1.1, True, {"seconds by nodes": by_nodes}),
        Result("training, growth with E", *checked, members, "exponent", 1.1, True, {"seconds by E": by_members}),
    ]


def memory(checked: tuple[float, float]) -> Result:
    """Peak memory of a process of its own that trains 32 members, torch itself included."""
    child = subprocess.run(
        [sys.executable, str(Path(__file__).resolve())], capture_output=True, text=True, check=True, timeout=600
    )
    found = json.loads(child.stdout)
    return Result("training, 32 stacked, peak memory", *checked, found["gigabytes"], "GB", 1.0, True, found)


def evaluation(checked: tuple[float, float]) -> Result:
    """Share of correlations and operator norms of all nodes, at 20 records, in a run of 25,000 steps; one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        network, steps = network_of(5, 8), 40
        found = best_times(
            {
                "steps": training(5, 8, steps),
                "correlations": lambda: correlations(network),
                "norms": lambda: operator_norms(network),
            },
            3,
        )
    finally:
        torch.set_num_threads(before)
    spent = 20 * (found["correlations"] + found["norms"])
    share = spent / (spent + 25_000 / steps * found["steps"])
    return Result("training, share of the evaluation", *checked, share, "of a run", 0.1, True, {"seconds": found})


def run() -> list[Result]:
    """All results of training."""
    checked = residual()
    speeds = [rates(1, 1, 60_000.0, checked), rates(32, 2, 250_000.0, checked)]
    return [*speeds, *growth(checked), memory(checked), evaluation(checked)]


if __name__ == "__main__":
    # One thread: what is held at a time does not depend on their number.
    torch.set_num_threads(1)
    training(5, 32, 40)()
    print(json.dumps({"gigabytes": peak_memory() / 1e9}))
