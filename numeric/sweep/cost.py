"""What a task takes: seconds and bytes, from the sizes of tree, network and training.

A step of E stacked members takes ``fixed + blocks per_block + E (words per_word + numbers per_number + products
per_product + pairs per_pair + far pairs per_far_pair)`` seconds: launching what does not depend on E, drawing words,
element-wise work on activations, matrix products, and the pairs of views that NT-Xent compares; those are far whose
distances do not stay in the cache between its passes. An optimiser other than plain descent adds
``blocks per_adaptive_block + E parameters per_adaptive_parameter``. Besides, a task takes ``task + E (nodes per_node +
measured numbers per_measured_number)``. The coefficients were fitted by ``benchmarks/sweep.py`` on one core;
`docs/scaling.md` tells how well.

Exact mode is not predicted: its sums over pairs of configurations take a time that depends on how far apart the outputs
lie in units of tau. Its prediction is infinite, so that its configurations are computed one at a time.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numeric.studies.sweep.expansion import tree_sizes

WORDS_AT_A_TIME = 2**19
MEASURED_AT_A_TIME = 2**22
TILE_BYTES = 2**22  # of activations that training holds at a time
BEFORE = 0.4
CACHE_BYTES = 2**20  # of distances, that stay near


@dataclass(frozen=True)
class Sizes:
    """What one step of one member is made of.

    Attributes
    ----------
    nodes, leaves, neurons, parameters, blocks : int
        Of tree and network; a block is one batched product.
    samples : int
        Rows of a step: batch times towers, or in exact mode the configurations of binary leaves.
    words : int
        Random words drawn.
    steps, records : int
    measured : int
        Samples for correlations, before and after.
    itemsize : int
        Bytes of a number.
    pairs : int
        Of views, that NT-Xent compares in a step; 0 for other losses.
    adaptive : bool
        Whether the optimiser is another than plain descent.
    predicted : bool
        False in exact mode.
    """

    nodes: int
    leaves: int
    neurons: int
    parameters: int
    blocks: int
    samples: int
    words: int
    steps: int
    records: int
    measured: int
    itemsize: int
    pairs: int = 0
    adaptive: bool = False
    predicted: bool = True

    @property
    def numbers(self) -> int:
        """Activations of a step."""
        return self.samples * self.neurons

    @property
    def held(self) -> int:
        """Bytes of activations and of weights with their gradients."""
        return self.itemsize * (self.numbers + 4 * self.parameters)

    @property
    def products(self) -> float:
        """Multiplications of a step: outputs, derivatives in the weights and in the activations below."""
        return 3.0 * self.samples * self.parameters


@dataclass(frozen=True)
class Coefficients:
    """Seconds, and bytes, for a unit of each kind of work."""

    fixed: float = 0.000179
    per_block: float = 0.0
    per_word: float = 1.06e-08
    per_number: float = 1.51e-09
    per_product: float = 3.30e-11
    per_pair: float = 7.21e-09
    per_far_pair: float = 9.88e-09
    per_adaptive_block: float = 6.46e-05
    per_adaptive_parameter: float = 5.06e-09
    per_measured_number: float = 7.13e-09
    task: float = 0.0398
    per_node: float = 0.0
    bytes_task: float = 2240000.0
    bytes_per_number: float = 0.806
    bytes_per_word: float = 29.5
    bytes_per_pair: float = 34.5
    bytes_per_measured_number: float = 15.9


CPU = Coefficients()


def sizes(
    tree: Mapping[str, Any], network: Mapping[str, Any], train: Mapping[str, Any], files: Mapping[str, Any]
) -> Sizes:
    """Sizes of a configuration, from its parts.

    Parameters
    ----------
    tree, network, train : mapping
        Parts of a configuration.
    files : mapping
        SHA-256 of a tree from a file to its node-link form.

    Examples
    --------
    >>> tree = {"kind": "complete", "depth": 2, "branching": 2, "polarity": 0.8, "root_polarity": 0.0}
    >>> train = {"loss": "infonce", "negatives": 1, "batch": 128, "steps": 10, "mode": "sampled"}
    >>> found = sizes(tree, {"width": 3, "dtype": "float64"}, {**train, "records": 1, "samples": 0}, {})
    >>> found.parameters, found.neurons, found.samples, found.words
    (30, 13, 384, 2560)
    """
    width = network["width"]
    if tree["kind"] == "file":
        children: dict[Any, list[Any]] = {}
        for edge in files[tree["sha256"]]["edges"]:
            children.setdefault(str(edge["source"]), []).append(str(edge["target"]))
        nodes = len({*children, *(each for some in children.values() for each in some)})
        leaves = nodes - len(children)
        inner = sum(each in children for some in children.values() for each in some)
        blocks = 2 * max(1, len(children).bit_length())
    else:
        nodes, leaves = tree_sizes(tree)
        inner = nodes - leaves - 1
        deep = {"complete": tree.get("depth", 1), "star": 1, "caterpillar": max(1, leaves - 1)}
        blocks = deep[tree["kind"]]
    latents = nodes - leaves
    neurons = latents * width + leaves
    parameters = width * (leaves + inner * width)
    exact, whole = train["mode"] == "exact", train["loss"] == "ntxent"
    towers = 2 if whole else 2 + (train["negatives"] or 1)
    samples = 2**leaves if exact else train["batch"] * towers
    words = 0 if exact else (towers - 1) * train["batch"] + (nodes - 1) * samples
    return Sizes(
        nodes, leaves, neurons, parameters, blocks, samples, words, train["steps"],
        min(train["steps"], train["records"]), train["samples"], 4 if network["dtype"] == "float32" else 8,
        pairs=samples**2 if whole else 0, predicted=not exact,
        adaptive=train.get("optimizer", "sgd") != "sgd" or bool(train.get("optimizer_options")),
    )  # fmt: skip


def seconds(size: Sizes, members: int, rates: Coefficients = CPU) -> float:
    """Seconds that a task of so many members takes on one core; infinite where they are not predicted.

    Examples
    --------
    >>> one = Sizes(7, 4, 13, 30, 2, 384, 2560, 1000, 10, 0, 8)
    >>> seconds(one, 64) < 64 * seconds(one, 1)
    True
    """
    if not size.predicted:
        return math.inf
    launch = rates.fixed + rates.per_block * size.blocks
    each = rates.per_word * size.words + rates.per_number * size.numbers + rates.per_product * size.products
    each += rates.per_pair * size.pairs + rates.per_far_pair * far_pairs(size, members)
    if size.adaptive:
        launch += rates.per_adaptive_block * size.blocks
        each += rates.per_adaptive_parameter * size.parameters
    measured = 2 * size.measured * size.neurons * rates.per_measured_number
    return (
        rates.task
        + members * (rates.per_node * size.nodes + measured)
        + (size.steps + size.records) * (launch + members * each)
    )


def memory(size: Sizes, members: int, rates: Coefficients = CPU) -> float:
    """Bytes that a task of so many members needs besides those of an idle worker: of training, or of measuring."""
    training = rates.bytes_per_word * words_held(size, members) + rates.bytes_per_number * members * size.held
    training += rates.bytes_per_pair * pairs_held(size, members)
    return rates.bytes_task + max(training, rates.bytes_per_measured_number * numbers_measured(size, members))


def words_held(size: Sizes, members: int) -> int:
    """Random words that are drawn at a time: of several steps, but not beyond the next record."""
    one = members * size.words
    return min(one * -(-size.steps // size.records), max(one, WORDS_AT_A_TIME))


def pairs_held(size: Sizes, members: int) -> float:
    """Bytes of the distances of one tile of members, which training takes one after the other."""
    tiles = -(-members // max(1, TILE_BYTES // (size.itemsize * size.numbers)))
    return float(-(-members // tiles) * size.pairs * size.itemsize)


def far_pairs(size: Sizes, members: int) -> float:
    """Pairs of one member whose distances lie beyond the cache, as the tile does that holds them."""
    held = pairs_held(size, members)
    return size.pairs * max(0.0, 1 - CACHE_BYTES / held) if held else 0.0


def numbers_measured(size: Sizes, members: int) -> float:
    """Activations that are held at a time for correlations: of some members, and part of those before them."""
    one = size.measured * size.neurons
    some = min(members * one, max(one, MEASURED_AT_A_TIME // 3))
    return some + BEFORE * min(members * one - some, some)


def most_members(size: Sizes, limit: int, most_seconds: float, most_bytes: float) -> int:
    """The largest stack that stays within a number of members, seconds and bytes; at least 1.

    Examples
    --------
    >>> one = Sizes(7, 4, 13, 30, 2, 384, 2560, 1000, 10, 0, 8)
    >>> most_members(one, 64, 1e9, 1e12), most_members(one, 64, 0.0, 1e12)
    (64, 1)
    """
    low, high = 1, max(1, limit)
    while low < high:
        middle = (low + high + 1) // 2
        if seconds(size, middle) <= most_seconds and memory(size, middle) <= most_bytes:
            low = middle
        else:
            high = middle - 1
    return low
