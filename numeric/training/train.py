"""`train`: an ensemble of tree networks, its members stacked, by minibatches or on the whole population.

The trained side of statements 3 to 7: operators and closed forms are not used here.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import integer, show
from hltm.base.checks import seed as check_seed
from hltm.base.errors import InputError
from numeric.towers.checks import check_finite
from numeric.towers.losses import LossSpec
from numeric.training.checkpoint import run_folder, tree_digest
from numeric.training.contrast import contrast_of, training_loss
from numeric.training.exact import exact_source
from numeric.training.loop import Progress, Records, Source, TrainingTrace, run_to_the_end
from numeric.training.minibatch import Sampled, Stack, check_batch
from numeric.training.optimizers import make_optimizer, plain_options
from numeric.trees.network import TreeNetwork
from numeric.trees.streams import TripleSampler, same_shape

Measure = Callable[[TreeNetwork, int], Mapping[str, Tensor]]


def train(
    network: TreeNetwork,
    tree: HLTM | Sequence[HLTM] | None = None,
    loss: str | LossSpec | Sequence[str | LossSpec] = "infonce",
    tau: float | Sequence[float] = 0.1,
    lr: float | Sequence[float] = 0.1,
    batch: int = 128,
    steps: int = 1000,
    seed: int | Sequence[int] = 0,
    checkpoint_dir: str | Path | None = None,
    *,
    negatives: int = 1,
    margin: float | Sequence[float] = 0.0,
    mode: str = "sampled",
    optimizer: str = "sgd",
    optimizer_options: Mapping[str, Any] | None = None,
    record_every: int | None = None,
    measure: Measure | None = None,
    keep_networks: bool = True,
    progress: Callable[[int, float], None] | None = None,
) -> TrainingTrace:
    r"""Train an ensemble of networks, all members at once.

    The samples of a member depend on its seed alone, not on the other members; its trace is the same in every stack up
    to the rounding of batched products.

    Parameters
    ----------
    network : TreeNetwork
        E networks; they are not changed.
    tree : HLTM or sequence of HLTM, optional
        Where the samples come from: one tree for all, or one of the same shape for each member; by default that of
        the network.
    loss : str, LossSpec, or one for each member
        ``"simple"``, ``"triplet"``, ``"infonce"``, or ``"ntxent"`` (InfoNCE with the rest of the batch as negatives).
        Of the parameters `tau`, `margin` and `negatives` each takes its own: simple none, triplet `tau` and `margin`,
        InfoNCE `tau` and `negatives`, NT-Xent `tau`; a LossSpec has all of its own. The others are ignored.
        Members are stacked only with the same number of negatives (simple and triplet have one), NT-Xent only with
        itself.
    tau, lr, margin : float, or one for each member
        Temperature, learning rate, and ``r_0`` of the triplet loss.
    batch : int
        B, triples of one step; at least 2 for NT-Xent. ``mode="exact"`` draws nothing and takes neither this nor seeds.
    steps : int
        Number of steps.
    seed : int or sequence of int
        Seed of the random streams: member m has ``seed + m``, or the m-th of the sequence.
    checkpoint_dir : path, optional
        A checkpoint is written there at every record, and ``metrics.jsonl`` (TensorBoard files too, if that is
        installed). An interrupted run resumes from its last checkpoint: on the CPU with the same trace, bit for bit.
    negatives : int
        H of InfoNCE.
    mode : str
        ``"sampled"``, or ``"exact"``: gradient descent on the population itself, for at most 12 leaves.
    optimizer, optimizer_options
        ``"sgd"``, ``"adam"``, ``"adamax"``, ``"adamw"``, ``"nadam"``, ``"radam"``, ``"rmsprop"`` of `torch.optim`.
    record_every : int, optional
        Steps between records, by default a twentieth of all.
    measure : callable, optional
        Called at every record with the network and the step; returns tensors ``(E, ...)`` of real numbers by name. A
        resumed run calls it once more at its last record and refuses other names or shapes than before.
    keep_networks : bool
        Keep the weights of every record.
    progress : callable, optional
        Called at every record with the step and the mean loss.

    Returns
    -------
    TrainingTrace

    Raises
    ------
    InputError
        A value that is not allowed; a run folder that is in use, damaged, or of another run; a lost device.

    Source
    ------
    Sections 2 to 7 of the notes; shared convention, as SGD does it.

    Examples
    --------
    >>> from hltm import complete_tree
    >>> tree = complete_tree(depth=2, branching=2, polarity=0.9)
    >>> network = TreeNetwork(tree, width=4, output="normalized", ensemble=3)
    >>> trace = train(network, tree, "infonce", lr=[0.01, 0.1, 0.5], steps=100, record_every=50)
    >>> trace.steps, trace.losses.shape
    ((0, 50, 100), torch.Size([2, 3]))
    >>> bool((trace.losses[-1] < trace.losses[0]).all())
    True
    """
    argument: Any = network
    if not isinstance(argument, TreeNetwork):
        raise InputError(f"network={show(argument)}: must be a TreeNetwork")
    for name, function in (("measure", measure), ("progress", progress)):
        if function is not None and not callable(function):
            raise InputError(f"{name}={show(function)}: must be a function of two arguments")
    folder = None if checkpoint_dir is None else run_folder(checkpoint_dir)
    members = network.ensemble
    if members < 1:
        raise InputError("network with ensemble=0: must have at least one member")
    trees = _trees(network, tree)
    seeds = _seeds(seed, members)
    specs = _specs(loss, members, tau, margin, negatives)
    rates = _numbers(lr, members, "lr")
    total, size = integer(steps, "steps", 1), integer(batch, "batch", 1)
    every = max(1, total // 20) if record_every is None else integer(record_every, "record_every", 1)
    for number, block in enumerate(network.parameters):
        check_finite(block, f"parameters of block {number}")
    if min(rates) < 0:
        raise InputError(f"lr={min(rates)!r}: must not be negative")
    options = plain_options(optimizer, optimizer_options)
    source = _source(mode, network, trees, specs, seeds, size)
    working = [block.detach().clone() for block in network.parameters]
    stacked = torch.tensor(rates, dtype=network.dtype, device=network.device)
    state = Progress(source, make_optimizer(optimizer, working, stacked, options), list(range(members)), members)
    asked = {
        "lr": rates,
        "batch": size,
        "steps": total,
        "seeds": seeds,
        "mode": mode,
        "optimizer": [optimizer, options],
        "record_every": every,
        "keep_networks": keep_networks,
    }
    settings = _settings(network, specs, trees, asked)
    return run_to_the_end(Records(network, total, every, keep_networks, measure, progress), state, folder, settings)


def _settings(
    network: TreeNetwork, specs: Sequence[LossSpec], trees: Sequence[HLTM], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """Settings that identify a run; a resumed run must agree with all of them."""
    return {
        "shapes": [list(block.shape) for block in network.parameters],
        "dtype": str(network.dtype),
        "slope": network.slope,
        "output": network.output,
        "leaves": network.leaves,
        "losses": [[spec.name, spec.tau, spec.margin, spec.negatives] for spec in specs],
        **asked,
        # Last: a setting that differs is named rather than the digest that it changes.
        "trees": tree_digest(trees),
        "weights": _digest(b"".join(_bytes(block) for block in network.parameters)),
    }


def _bytes(block: Tensor) -> bytes:
    """Bytes of a tensor of any type, also of those that NumPy does not have."""
    return block.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _trees(network: TreeNetwork, tree: HLTM | Sequence[HLTM] | None) -> list[HLTM]:
    """One tree for all, or one for each member, of the shape of the network."""
    if tree is None or isinstance(tree, HLTM):
        trees = [tree or network.tree]
    else:
        if not isinstance(tree, Sequence):
            raise InputError(f"tree={show(tree)}: must be an HLTM, or a sequence with one for each member")
        trees = list(tree)
        if len(trees) != network.ensemble:
            raise InputError(f"{len(trees)} trees for {network.ensemble} members: must be one tree, or one for each")
    same_shape([network.tree, *trees])
    return trees


def _each(value: Any, members: int, name: str) -> list[Any]:
    if isinstance(value, (str, LossSpec)) or not isinstance(value, Sequence):
        return [value] * members
    if len(value) != members:
        raise InputError(f"{name} of length {len(value)}: must be one value, or one for each of {members} members")
    return list(value)


def _numbers(value: Any, members: int, name: str) -> list[float]:
    """Finite numbers, one for each member."""
    result = []
    for number, each in enumerate(_each(value.tolist() if hasattr(value, "tolist") else value, members, name)):
        try:
            one = float("nan") if isinstance(each, str | bool) else float(each)
        except (TypeError, ValueError, OverflowError):
            one = float("nan")
        if not abs(one) < float("inf"):
            raise InputError(f"{name}={each!r:.60} of member {number}: must be a finite number")
        result.append(one)
    return result


def _seeds(seed: int | Sequence[int], members: int) -> list[int]:
    seed = seed.tolist() if hasattr(seed, "tolist") else seed
    if isinstance(seed, Sequence) and not isinstance(seed, str):
        return [check_seed(each) for each in _each(seed, members, "seed")]
    first = check_seed(seed)
    return [first + number for number in range(members)]


def _specs(loss: Any, members: int, tau: Any, margin: Any, negatives: int) -> list[LossSpec]:
    """Loss of each member with the parameters that it takes."""
    taus, margins = _numbers(tau, members, "tau"), _numbers(margin, members, "margin")
    result = []
    for each, one_tau, one_margin in zip(_each(loss, members, "loss"), taus, margins, strict=True):
        if isinstance(each, LossSpec):
            result.append(each)
            continue
        argument = {"tau": one_tau, "margin": one_margin, "negatives": negatives}
        taken = {"triplet": ("tau", "margin"), "infonce": ("tau", "negatives"), "ntxent": ("tau",)}
        names = taken.get(each, ()) if isinstance(each, str) else ()
        result.append(training_loss(each, **{name: argument[name] for name in names}))
    return result


def _source(
    mode: str, network: TreeNetwork, trees: list[HLTM], specs: list[LossSpec], seeds: list[int], batch: int
) -> Source:
    stack = Stack(network.plan, network.slope, network.output == "normalized")
    if mode == "exact":
        return exact_source(stack, trees, specs, network.dtype, network.device)
    if mode != "sampled":
        raise InputError(f"mode={mode!r}: must be 'sampled' or 'exact'")
    check_batch(stack, specs, batch)
    contrast = contrast_of(specs, network.device, network.dtype)
    sampler = TripleSampler(trees, seeds, batch, contrast.negatives, network.device, network.dtype)
    return Sampled(stack, contrast, sampler)
