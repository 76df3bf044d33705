"""Training on images: step of the loop against its bare forward and backward pass; images/s and share of augmentation.

``python benchmarks/images.py [--dataset cifar10 --data DIR] [--json FILE]``. Without data, random bytes of the data
set's shape are trained on. The bar: the bare pass takes at least 80 % of the step's time. Beside it, what a step of the
covariance form costs, whose weights need a pass of two further views without gradients. On a GPU every time ends with a
synchronisation; on the CPU the time of the processor on one thread counts, which other processes hardly disturb. Needs
the extra ``images``.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import Result, machine_name

from numeric.checks import check_device
from numeric.images.augment import draw
from numeric.images.data import DATASETS, ImageData, load_images, pixels
from numeric.images.losses import batch_loss
from numeric.images.study import ImageStudy
from numeric.images.training import Trainer, stream, views

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


def shortest(sides: dict[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, float]:
    """Shortest time of each side in seconds, the sides taking turns; on the CPU the processor's time."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    found = dict.fromkeys(sides, float("inf"))
    for _ in range(rounds):
        for name, function in sides.items():
            start = clock()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            found[name] = min(found[name], clock() - start)
    return found


def bare_pass(trainer: Trainer, seen: torch.Tensor) -> None:
    """Forward, loss and backward of views that are there already: what no loop can do without."""
    trainer.network.zero_grad(set_to_none=True)
    with torch.autocast(trainer.device.type, torch.bfloat16, enabled=trainer.device.type == "cuda"):
        outputs = trainer.network(seen)
    first, second = torch.nn.functional.normalize(outputs.float(), dim=-1).chunk(2)
    batch_loss(trainer.settings.loss, first, second, torch.Generator().manual_seed(0)).backward()


def measure(dataset: str, data: Path | None, device: torch.device, rounds: int) -> Result:
    """Times of a step, of the bare pass, and of the augmentation alone."""
    study = ImageStudy(dataset, losses=("ntxent", "covariance"), seeds=1)
    held = images_of(dataset, data, device)
    settings = study.training("ntxent", 0)
    shape_of = study.shape(held.channels, held.side)
    trainer = Trainer(settings, shape_of, study.recipe, held)
    weighted = Trainer(study.training("covariance", 0), shape_of, study.recipe, held)
    batch = settings.batch
    shape = (batch, *held.pool.shape[1:])

    def augmented() -> torch.Tensor:
        generator = stream(0, 1)
        pair = (draw(trainer.recipe, shape, generator), draw(trainer.recipe, shape, generator))
        return views(trainer.recipe, pixels(held.pool[trainer.indices(0).to(device)]), pair)

    seen = augmented()
    if device.type == "cuda":
        seen = seen.contiguous(memory_format=torch.channels_last)
    trainer.network.train()
    sides: dict[str, Callable[[], Any]] = {
        "step": trainer.take_step, "bare": lambda: bare_pass(trainer, seen), "augmentation": augmented,
        "covariance_step": weighted.take_step,
    }  # fmt: skip
    times = shortest(sides, rounds, device)
    detail = {
        "dataset": dataset, "device": str(device), "batch": batch,
        "images_per_second": batch / times["step"], "share_of_augmentation": times["augmentation"] / times["step"],
        "covariance_over_ntxent": times["covariance_step"] / times["step"],
        **{f"{name}_ms": 1000 * value for name, value in times.items()},
    }  # fmt: skip
    return Result(f"images: {dataset}", 0.0, 0.0, times["bare"] / times["step"], "bare pass / step", BAR, detail=detail)


def main(arguments: list[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", choices=DATASETS, default="digits")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args(arguments)
    device = check_device(chosen.device)
    name = torch.cuda.get_device_name(device).lower().replace(" ", "-") if device.type == "cuda" else machine_name()
    target = chosen.json or Path(__file__).parent / "results" / f"images-{chosen.dataset}-{name}.json"
    if device.type == "cpu":
        torch.set_num_threads(1)
    result = measure(chosen.dataset, chosen.data, device, chosen.rounds)
    document = {"schema": 1, "machine": name, "ratio": result.ratio, "bar": result.bar, "met": result.met}
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document | {"torch": torch.__version__} | result.detail, indent=1) + "\n")
    share = result.detail["share_of_augmentation"]
    sys.stdout.write(
        f"{result.name} on {name}: bare pass / step {result.ratio:.2f} (bar {BAR}), "
        f"{result.detail['images_per_second']:,.0f} images/s, augmentation {share:.0%} of a step, "
        f"a step of the covariance form {result.detail['covariance_over_ntxent']:.2f} times as long\n"
    )
    return 0 if result.met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
