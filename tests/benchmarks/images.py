"""Training on images: step of the loop against its bare forward and backward pass; images/s and share of augmentation.

``python tests/benchmarks/images.py [--dataset cifar10 --data DIR] [--threads N] [--json FILE]``. Without data, random bytes
of the data set's shape are trained on. First, both sides must have the same gradients on the same views. The bar: the
bare pass takes at least 80 % of the step's time. Beside it, what a step of the covariance form costs, whose weights
need a pass of two further views without gradients. On a GPU every time ends with a synchronisation; on one thread of
the CPU the time of the processor counts, which other processes hardly disturb. Needs the extra ``images``.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from measure import Result, document_of, machine_name

from numeric.studies.images.augment import draw
from numeric.studies.images.data import DATASETS, ImageData, load_images, pixels
from numeric.studies.images.losses import batch_loss
from numeric.studies.images.study import ImageStudy
from numeric.studies.images.training import VIEWS, Trainer, stream, views
from numeric.towers.checks import check_device

BAR = 0.8
SHAPES = {"cifar10": (3, 32), "stl10": (3, 96)}


def images_of(dataset: str, data: Path | None, device: torch.device) -> ImageData:
    """The data set, or random bytes of its shape."""
    if dataset == "digits" or data is not None:
        return load_images(dataset, data).to(device)
    channels, side = SHAPES[dataset]
    generator = torch.Generator().manual_seed(0)
    held = torch.randint(0, 256, (4096, channels, side, side), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 10, (4096,), generator=generator)
    return ImageData(dataset, held, labels, held[:100], labels[:100]).to(device)


def timed(sides: dict[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Times of each side in seconds, the sides taking turns; on one thread the processor's time."""
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    clock = time.process_time if alone else time.perf_counter
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, function in sides.items():
            start = clock()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            found[name].append(clock() - start)
    return found


def bare_pass(trainer: Trainer, seen: torch.Tensor) -> None:
    """Forward, loss and backward of views that are there already: what no loop can do without."""
    trainer.network.zero_grad(set_to_none=True)
    with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.device.type == "cuda"):
        outputs = trainer.network(seen)
    first, second = torch.nn.functional.normalize(outputs.float(), dim=-1).chunk(2)
    batch_loss(trainer.settings.loss, first, second, torch.Generator().manual_seed(0)).backward()


def difference(trainer: Trainer, seen: torch.Tensor) -> float:
    """Largest difference of the gradients of the first step and of the bare pass, relative to the largest entry."""
    found = []
    for side in (lambda: trainer.loss(0).backward(), lambda: bare_pass(trainer, seen)):
        trainer.network.zero_grad(set_to_none=True)
        side()
        found.append(torch.cat([each.grad.flatten() for each in trainer.network.parameters() if each.grad is not None]))
    return float((found[0] - found[1]).abs().max() / found[0].abs().max())


def measure(dataset: str, data: Path | None, device: torch.device, rounds: int) -> Result:
    """Whether the step and the bare pass agree; times of both, and of the augmentation alone."""
    study = ImageStudy(dataset, losses=("ntxent", "covariance"), seeds=1)
    held = images_of(dataset, data, device)
    settings = study.training("ntxent", 0)
    shape_of = study.shape(held.channels, held.side)
    trainer = Trainer(settings, shape_of, study.recipe, held)
    weighted = Trainer(study.training("covariance", 0), shape_of, study.recipe, held)
    batch = settings.batch
    shape = (batch, *held.pool.shape[1:])

    def augmented() -> torch.Tensor:
        generator = stream(0, VIEWS)  # that of the first step
        pair = (draw(trainer.recipe, shape, generator), draw(trainer.recipe, shape, generator))
        return views(trainer.recipe, pixels(held.pool[trainer.indices(0).to(device)]), pair)

    seen = augmented()
    if device.type == "cuda":
        seen = seen.contiguous(memory_format=torch.channels_last)
    trainer.network.train()
    residual = difference(trainer, seen)
    # The same operations on the same numbers; only on a GPU do sums come in any order, in bfloat16.
    tolerance = torch.finfo(torch.bfloat16).eps if device.type == "cuda" else 0.0
    sides: dict[str, Callable[[], Any]] = {
        "step": trainer.take_step, "bare": lambda: bare_pass(trainer, seen), "augmentation": augmented,
        "covariance_step": weighted.take_step,
    }  # fmt: skip
    taken = timed(sides, rounds, device)
    times = {name: min(each) for name, each in taken.items()}

    def over_step(name: str) -> float:
        """Of neighbours in time: the shortest of two sides may come from different states of a shared machine."""
        return median(side / step for side, step in zip(taken[name], taken["step"], strict=True))

    detail = {
        "dataset": dataset, "device": str(device), "threads": torch.get_num_threads(), "batch": batch,
        "images_per_second": batch / times["step"], "share_of_augmentation": over_step("augmentation"),
        "covariance_over_ntxent": over_step("covariance_step"),
        **{f"{name}_ms": 1000 * value for name, value in times.items()},
    }  # fmt: skip
    name = f"images: {dataset}, threads={torch.get_num_threads()}"
    return Result(name, residual, tolerance, over_step("bare"), "bare pass / step", BAR, detail=detail)


def run() -> list[Result]:
    """Digits on the CPU, on one thread and on all, for the table of all benchmarks."""
    found, threads = [], torch.get_num_threads()
    for number in (1, threads):
        torch.set_num_threads(number)
        found.append(measure("digits", None, torch.device("cpu"), rounds=100))
    return found


def main(arguments: list[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", choices=DATASETS, default="digits")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    device = check_device(chosen.device)
    torch.set_num_threads(chosen.threads)
    name = torch.cuda.get_device_name(device).lower().replace(" ", "-") if device.type == "cuda" else machine_name()
    target = chosen.json or Path(__file__).parent / "results" / f"images-{chosen.dataset}-{name}.json"
    result = measure(chosen.dataset, chosen.data, device, chosen.rounds)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document_of(name, [result]), indent=1) + "\n")
    share = result.detail["share_of_augmentation"]
    sys.stdout.write(
        f"{result.name} on {name}: gradients differ by {result.residual:.1e} (at most {result.tolerance:.1e}), "
        f"bare pass / step {result.ratio:.2f} (bar {BAR}), "
        f"{result.detail['images_per_second']:,.0f} images/s, augmentation {share:.0%} of a step, "
        f"a step of the covariance form {result.detail['covariance_over_ntxent']:.2f} times as long\n"
    )
    return 0 if result.agrees and result.met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
