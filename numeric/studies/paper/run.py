"""Train and measure the networks of the paper's numerical study on hierarchical latent trees.

Networks have normalised output; all members of one width are stacked and train together.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from hltm import HLTM
from hltm.base.progress import SILENT, Progress
from numeric.studies.paper.published import complete_plan, published_correlations, published_network, train_published
from numeric.studies.paper.settings import AS_PUBLISHED, Member, Study, data_seed, members_of, study_tree
from numeric.towers.checks import check_device
from numeric.training.loop import Failure
from numeric.training.train import train
from numeric.trees.ceilings import ceilings, share_of_ceiling
from numeric.trees.metrics import correlations, latent_heights, operator_norms
from numeric.trees.network import TreeNetwork


@dataclass(frozen=True, eq=False)
class WidthResult:
    """Measurements on all networks of one width."""

    width: int
    members: tuple[Member, ...]
    nodes: tuple
    heights: tuple[int, ...]
    before: Float[Tensor, "E latents"]
    after: Float[Tensor, "E latents"]
    constant: Int[Tensor, "E latents"]
    ceiling: Float[Tensor, "E latents"]
    steps: tuple[int, ...] = ()
    norms: Float[Tensor, "R E latents"] = field(default_factory=lambda: torch.zeros(0, 0, 0, dtype=torch.float64))
    failures: tuple[Failure, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> Float[Tensor, "E latents"]:
        """Share of the ceiling after training."""
        return share_of_ceiling(self.after, self.ceiling)


def run_study(study: Study, progress: Progress = SILENT) -> list[WidthResult]:
    """Train and measure all networks of a study, width after width.

    Parameters
    ----------
    study : Study
    progress : Progress
        Reports the step of the training.

    Returns
    -------
    list of WidthResult

    Raises
    ------
    InputError
        An absent device.

    Examples
    --------
    >>> small = Study(depth=2, widths=(3,), lows=(0.9,), seeds=2, steps=10, samples=100, device="cpu")
    >>> result = run_study(small)[0]
    >>> result.after.shape, result.norms.shape  # 2 losses x 2 seeds, 3 latents, 11 measurements
    (torch.Size([4, 3]), torch.Size([11, 4, 3]))
    """
    device = torch.device("cpu") if study.as_published else check_device(study.device)
    members = members_of(study)
    keys = sorted({(member.low, member.seed) for member in members})
    by_key = {key: study_tree(study.depth, study.children, *key, study.states) for key in keys}
    progress.start(None, "ceilings")
    streams = [data_seed(study, 0, Member(low, "ceiling", seed)) for low, seed in keys]
    bounds = dict(zip(keys, ceilings(list(by_key.values()), study.samples, streams, device).cpu(), strict=True))
    trees = [by_key[member.low, member.seed] for member in members]
    ceiling = torch.stack([bounds[member.low, member.seed] for member in members])
    one_width = _as_published if study.as_published else _own
    # A step of a wide network takes longer than one of a narrow one, though the products are small.
    progress.start(float(study.steps * sum(study.widths)))
    return [
        one_width(study, width, members, trees, ceiling, device, _step_reporter(study, number, progress))
        for number, width in enumerate(study.widths)
    ]


def _step_reporter(study: Study, number: int, progress: Progress) -> Callable[[int], None]:
    """Function that reports a step of the networks of one width."""
    width, before = study.widths[number], study.steps * sum(study.widths[:number])
    text = f"width {width}: {len(members_of(study))} networks, step"

    def report(step: int) -> None:
        progress.at(before + step * width, f"{text} {step} of {study.steps}")

    return report


def _own(
    study: Study, width: int, members: tuple[Member, ...], trees: list[HLTM], ceiling: Tensor,
    device: torch.device, report: Callable[[int], None],
) -> WidthResult:  # fmt: skip
    """The paper's definitions: no biases, InfoNCE of each sample, normalised output."""
    by_seed = {
        number: TreeNetwork(
            trees[0], width, output="normalized", seed=number, dtype=torch.float32, device=device, leaves=study.leaves
        )
        for number in sorted({member.seed for member in members})
    }
    own = [by_seed[member.seed].parameters for member in members]
    network = by_seed[members[0].seed].with_parameters([torch.cat(parts) for parts in zip(*own, strict=True)])
    seeds = [data_seed(study, width, member) for member in members]
    spent = {"measuring": 0.0}

    def measure(now: TreeNetwork, step: int) -> dict[str, Tensor]:
        start = time.perf_counter()
        norms = operator_norms(now, trees, study.operator_samples(width), seeds, step=step + 1)
        spent["measuring"] += time.perf_counter() - start
        return {"norms": norms}

    start = time.perf_counter()
    before = correlations(network, trees, study.samples, seeds)
    trace = train(
        network, trees, [member.loss for member in members], study.tau, study.lr, study.batch, study.steps, seeds,
        record_every=study.record_every, measure=measure, keep_networks=False,
        progress=lambda step, _: report(step),
    )  # fmt: skip
    middle = time.perf_counter()
    after = correlations(trace.network, trees, study.samples, seeds)
    whole = time.perf_counter() - start
    spent["measuring"] += 2 * (time.perf_counter() - middle)  # before and after cost the same
    return WidthResult(
        width, members, network.tree.latents, after.heights, before.best.cpu(), after.best.cpu(),
        after.constant.cpu(), ceiling, trace.steps, trace.measured["norms"], trace.failures,
        {"training": whole - spent["measuring"], **spent},
    )  # fmt: skip


def _as_published(
    study: Study, width: int, members: tuple[Member, ...], trees: list[HLTM], ceiling: Tensor,
    device: torch.device, report: Callable[[int], None],
) -> WidthResult:  # fmt: skip
    """Networks and losses of the published code."""
    complete_plan(trees[0], width)
    network = published_network(trees[0], width, [member.seed for member in members])
    seeds = [data_seed(study, width, member) for member in members]
    start = time.perf_counter()
    before = published_correlations(network, trees, seeds, study.samples)
    done = train_published(
        network, trees, [AS_PUBLISHED[member.loss] for member in members], seeds,
        steps=study.steps, batch=study.batch, tau=study.tau, lr=study.lr, record_every=study.record_every,
        record=lambda _, step: report(step),
    )  # fmt: skip
    middle = time.perf_counter()
    after = published_correlations(done, trees, seeds, study.samples)
    measuring = 2 * (time.perf_counter() - middle)
    spent = {"training": time.perf_counter() - start - measuring, "measuring": measuring}
    tree = trees[0]
    dull = torch.zeros(after.shape, dtype=torch.int64)
    return WidthResult(width, members, tree.latents, latent_heights(tree), before, after, dull, ceiling, seconds=spent)
