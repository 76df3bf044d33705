"""The image experiment: every loss at equal budget over several seeds, with evaluations along the training."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from hltm.base.checks import integer
from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from numeric.studies.images.augment import RECIPES, Recipe
from numeric.studies.images.data import DATASETS, ImageData, load_images
from numeric.studies.images.evaluate import HEADLINE, SETTINGS, evaluate
from numeric.studies.images.losses import IMAGE_LOSSES, ImageLoss
from numeric.studies.images.network import Network, Shape, make_network
from numeric.studies.images.population import features, image_population, in_double, operator_sizes
from numeric.studies.images.processes import guarded, out_of_memory, processes, release_memory
from numeric.studies.images.training import Training, train_images
from numeric.towers.checks import check_device

# Default epochs, batch, largest learning rate and network of each data set.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "digits": {"epochs": 80, "batch": 256, "lr": 3e-3, "encoder": "convnet", "width": 24, "hidden": 32, "out": 32,
               "norm": "none"},
    "cifar10": {"epochs": 200, "batch": 512, "lr": 1e-3, "encoder": "resnet18", "width": 64, "hidden": 512,
                "out": 128, "norm": "batch"},
    "stl10": {"epochs": 100, "batch": 256, "lr": 1e-3, "encoder": "resnet18", "width": 64, "hidden": 512, "out": 128,
              "norm": "batch"},
}  # fmt: skip
_MEASURED = (32, 4)  # images and augmentations on which operators are measured
_COLUMNS = 4096  # of an operator that is measured: images times outputs; there are fewer images where outputs are many


@dataclass(frozen=True)
class ImageStudy:
    """Settings of an experiment; a value that is not allowed is an `InputError`. None takes the data set's default."""

    dataset: str = "digits"
    losses: tuple[str, ...] = IMAGE_LOSSES
    seeds: int = 3
    epochs: int | None = None
    batch: int | None = None
    every: int | None = None
    lr: float | None = None
    tau: float = 0.5
    margin: float = 0.0
    beta: float = 0.5
    ema: float = 0.99
    negatives: int = 16
    encoder: str | None = None
    norm: str | None = None
    head_norm: str = "none"
    width: int | None = None
    hidden: int | None = None
    out: int | None = None
    strength: float = 1.0
    seed: int = 0
    subset: int | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.dataset not in DATASETS:
            raise InputError(f"dataset={self.dataset!r:.40}: must be one of {', '.join(DATASETS)}")
        for name, value in _DEFAULTS[self.dataset].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.every is None:
            object.__setattr__(self, "every", max(1, -(-self.value("epochs") // 4)))
        integer(self.seeds, "seeds", 1)
        check_seed(check_seed(self.seed) + self.seeds)
        if not self.losses or len(set(self.losses)) < len(self.losses):
            raise InputError(f"losses={list(self.losses)!r:.80}: must hold at least one, each once")
        if not 0 < self.strength <= 2:
            raise InputError(f"strength={self.strength!r}: must lie in (0, 2]")
        for loss in self.losses:
            self.training(loss, self.seed)
        self.shape(1, 8)

    def value(self, name: str) -> Any:
        """A setting whose default was filled in, so that it is not None."""
        return getattr(self, name)

    def training(self, loss: str, seed: int) -> Training:
        """Settings of one training."""
        chosen = {name: self.value(name) for name in ("epochs", "batch", "lr", "every")}
        objective = ImageLoss(loss, self.tau, self.margin, self.negatives, self.beta, self.ema)
        return Training(objective, seed=seed, **chosen)

    def shape(self, channels: int, side: int) -> Shape:
        """The network for images of such a size."""
        names = ("encoder", "width", "hidden", "out", "norm", "head_norm")
        return Shape(channels=channels, side=side, **{name: self.value(name) for name in names})

    @property
    def recipe(self) -> Recipe:
        return RECIPES[self.dataset] if self.strength == 1 else RECIPES[self.dataset].scaled(self.strength)

    @property
    def headline(self) -> str:
        """The setting of the evaluation that counts."""
        return HEADLINE[self.dataset]

    @property
    def settings(self) -> tuple[str, ...]:
        """All settings of the evaluation, the headline first."""
        return (self.headline, *(name for name in SETTINGS if name != self.headline))

    @property
    def columns(self) -> tuple[str, ...]:
        """All settings, then nearest neighbours in the headline setting."""
        return (*self.settings, f"{self.headline} knn")


@dataclass(frozen=True, eq=False)
class Member:
    """One network: accuracies before and after its training, and one row for each evaluation."""

    loss: str
    seed: int
    before: dict[str, dict[str, float]]
    after: dict[str, dict[str, float]]
    history: tuple[dict[str, Any], ...]


@dataclass(frozen=True, eq=False)
class ImageResults:
    """All members of an experiment, and the networks of the first seed by loss."""

    study: ImageStudy
    members: tuple[Member, ...]
    data: ImageData
    networks: dict[str, Network]


def run_images(
    study: ImageStudy, data: str | Path | None = None, folder: Path | None = None, progress: Progress = SILENT
) -> ImageResults:
    """Train every loss over every seed and evaluate all of them."""
    progress.start(None, "loading the images")
    with processes(check_device(study.device)) as device, guarded(f"experiment on {study.dataset}", device):
        images = load_images(study.dataset, data, study.subset).to(device)
        return _run(study, images, folder, progress)


def _run(study: ImageStudy, data: ImageData, folder: Path | None, progress: Progress) -> ImageResults:
    shape, recipe = study.shape(data.channels, data.side), study.recipe
    steps = study.training(study.losses[0], study.seed).steps_per_epoch(len(data.pool)) * study.value("epochs")
    progress.start(float(max(1, steps * study.seeds * len(study.losses))))
    members: list[Member] = []
    networks: dict[str, Network] = {}

    def evaluated(seed: int, network: Network, epoch: int) -> dict[str, Any]:
        settings = study.settings if epoch in (0, study.epochs) else (study.headline,)
        row: dict[str, Any] = dict(evaluate(network, data, recipe, seed, settings))
        return row | (measured(network, study, data) if seed == study.seed else {})

    for seed in range(study.seed, study.seed + study.seeds):
        untrained = make_network(shape, seed).to(data.train.device)
        opening = {"epoch": 0, "step": 0, "loss": None, **evaluated(seed, untrained, 0)}
        networks.setdefault("untrained", untrained)
        for loss in study.losses:
            run = train_images(
                study.training(loss, seed), shape, recipe, data, evaluate=partial(evaluated, seed), progress=progress,
                folder=None if folder is None else folder / f"{loss}-{seed}",
            )  # fmt: skip
            networks.setdefault(loss, run.network)
            history = (opening, *run.history)
            before, after = ({name: row[name] for name in study.columns} for row in (opening, history[-1]))
            members.append(Member(loss, seed, before, after, history))
    return ImageResults(study, tuple(members), data, networks)


def measured(network: Network, study: ImageStudy, data: ImageData) -> dict[str, Any]:
    """Sizes of the covariance operators of the head as ``"operators"``; empty if they do not fit into memory."""
    images, augmentations = _MEASURED
    images = max(2, min(images, _COLUMNS // study.value("out")))
    try:
        population = image_population(data, study.recipe, images, augmentations)
        double = in_double(network)
        return {"operators": [asdict(each) for each in operator_sizes(double, features(double, population))]}
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
    # A training of days continues without them; the findings name what was left out.
    release_memory()
    return {}


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over seeds; NaN for a single one."""
    numbers = torch.tensor(values, dtype=torch.float64)
    return float(numbers.mean()), float(numbers.std()) if len(values) > 1 else float("nan")
