"""Expand a grid into configurations: the canonical JSON of all that a result depends on, and its SHA-256 as key.

A configuration consists of three parts (tree, network, training) and a seed, so that a million of them are a million
digests and nothing more. Parameters that a loss does not take are null, and make no new configurations. Nothing here
loads torch.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import Any

from hltm import load
from hltm.base.checks import count
from hltm.base.errors import InputError
from hltm.nodelink import tree_to_json
from numeric.studies.sweep.grid import Grid, NetworkTable, RandomPolarity, TrainTable, TreeTable
from numeric.studies.sweep.store import USUAL_LEAVES

# Changes whenever the same configuration would mean another computation. The version of the code is no part of a key:
# it is stored beside every result.
SCHEMA = 1
LIMIT = 10**7
NODE_LIMIT = 2**20
LEAVES_IN_EXACT_MODE = 12
_TAKES = {"simple": (), "triplet": ("tau", "margin"), "infonce": ("tau", "negatives"), "ntxent": ("tau",)}


@dataclass(frozen=True)
class Part:
    """JSON of one table with one value for each parameter, and of what members of a stack share."""

    text: str
    shared: str


@dataclass(frozen=True)
class Expansion:
    """The parts of a grid; its configurations are their product with the seeds."""

    trees: tuple[Part, ...]
    networks: tuple[Part, ...]
    trains: tuple[Part, ...]
    seeds: Any
    files: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.trees) * len(self.networks) * len(self.trains) * len(self.seeds)

    def rows(self) -> Iterator[tuple[int, int, int, int, bytes]]:
        """Numbers of the three parts, seed and key of every configuration; seeds vary fastest."""
        sha256, places = hashlib.sha256, [range(len(each)) for each in (self.trees, self.networks, self.trains)]
        for tree, network, train in product(*places):
            head, tail = around_seed(self.trees[tree].text, self.networks[network].text, self.trains[train].text)
            for seed in self.seeds:
                yield tree, network, train, seed, sha256(f"{head}{seed}{tail}".encode()).digest()

    @property
    def digest(self) -> str:
        """SHA-256 of the whole grid: two grids with the same digest have the same configurations."""
        parts = [sorted(part.text for part in each) for each in (self.trees, self.networks, self.trains)]
        seeds = [self.seeds.start, self.seeds.stop] if isinstance(self.seeds, range) else ["list", *self.seeds]
        return hashlib.sha256(_canonical([SCHEMA, parts, seeds]).encode()).hexdigest()


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def around_seed(tree: str, network: str, train: str) -> tuple[str, str]:
    """Canonical JSON of a configuration before and after its seed."""
    return f'{{"network":{network},"schema":{SCHEMA},"seed":', f',"train":{train},"tree":{tree}}}'


def expand(grid: Grid) -> Expansion:
    files: dict[str, str] = {}
    sizes = [sum(_size(table) for table in each) for each in (grid.tree, grid.network, grid.train)]
    if prod(sizes) * len(grid.seeds) > LIMIT:
        raise InputError(f"{count(prod(sizes) * len(grid.seeds))} configurations: must be at most {LIMIT:,}")
    trees = [part for table in grid.tree for part in _tree_parts(table, files)]
    networks = [_network_part(_values(table)) for each in grid.network for table in _points(each)]
    trains = [_train_part(point) for each in grid.train for point in map(_values, _points(each))]
    _check_exact([json.loads(each.text) for each in trains], [json.loads(each.text) for each in trees], files)
    result = [tuple(dict.fromkeys(each)) for each in (trees, networks, trains)]
    return Expansion(result[0], result[1], result[2], grid.seeds, files)


def _size(table: TreeTable | NetworkTable | TrainTable) -> int:
    return prod(len(values) for name in type(table).model_fields if isinstance(values := getattr(table, name), tuple))


def _points(table: TreeTable | NetworkTable | TrainTable) -> Iterator[dict[str, Any]]:
    """One value for each parameter of a table."""
    fields = {name: getattr(table, name) for name in type(table).model_fields}
    axes = [name for name, values in fields.items() if isinstance(values, tuple)]
    for values in product(*(fields[name] for name in axes)):
        yield {**fields, **dict(zip(axes, values, strict=True))}


def _values(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.model_dump() if isinstance(value, RandomPolarity) else value for name, value in point.items()}


def _part(values: Mapping[str, Any], shared: tuple[str, ...]) -> Part:
    return Part(_canonical(values), _canonical({name: values.get(name) for name in shared}))


def _network_part(values: dict[str, Any]) -> Part:
    """The part of a network; the usual reading of leaves is left out, as in sweeps from before there was another."""
    names = ("width", "slope", "output", "sigma_w", "dtype")
    if values["leaves"] == USUAL_LEAVES:
        del values["leaves"]
        return _part(values, names)
    return _part(values, (*names, "leaves"))


def _tree_parts(table: TreeTable, files: dict[str, str]) -> Iterator[Part]:
    for point in map(_values, _points(table)):
        if table.kind == "file":
            text = _canonical(tree_to_json(load(point["file"])))
            digest = hashlib.sha256(text.encode()).hexdigest()
            files[digest] = text
            shape = _canonical(_without_tables(json.loads(text)))
            yield Part(_canonical({"kind": "file", "sha256": digest}), shape)
            continue
        del point["file"]
        point["root_polarity"] = 0.0 if point["root_polarity"] is None else point["root_polarity"]
        if table.kind == "complete":
            point["branching"] = 2 if point["branching"] is None else point["branching"]
        if tree_sizes(point, {})[0] > NODE_LIMIT:
            raise InputError(f"tree {_canonical(point)}: must have at most {NODE_LIMIT:,} nodes")
        values = {name: value for name, value in point.items() if value is not None}
        yield _part(values, ("kind", "depth", "branching", "leaves"))


def _without_tables(tree: dict[str, Any]) -> dict[str, Any]:
    """The shape of a tree in node-link form: nodes with cardinalities, and edges."""
    nodes = [{key: node[key] for key in ("id", "cardinality") if key in node} for node in tree["nodes"]]
    return {"nodes": nodes, "edges": [[edge["source"], edge["target"]] for edge in tree["edges"]]}


def tree_sizes(part: Mapping[str, Any], files: Mapping[str, Any]) -> tuple[int, int]:
    """Numbers of nodes and leaves of a tree."""
    if part["kind"] == "file":
        tree = files[part["sha256"]]
        return len(tree["nodes"]), len(tree["nodes"]) - len({edge["source"] for edge in tree["edges"]})
    if part["kind"] != "complete":
        leaves = part["leaves"]
        return (leaves + 1 if part["kind"] == "star" else 2 * leaves - 1), leaves
    depth, branching = part["depth"], part["branching"]
    if branching > 1 and depth > 64:
        return 2**64, 2**64
    return sum(branching**level for level in range(depth + 1)) if branching > 1 else depth + 1, branching**depth


def leaf_states(part: Mapping[str, Any], files: Mapping[str, Any]) -> int:
    """Number of states of all leaves together."""
    if part["kind"] != "file":
        return 2 * tree_sizes(part, files)[1]
    tree = files[part["sha256"]]
    above = {json.dumps(edge["source"]) for edge in tree["edges"]}
    return sum(node.get("cardinality", 2) for node in tree["nodes"] if json.dumps(node["id"]) not in above)


def _train_part(point: dict[str, Any]) -> Part:
    """Training without parameters that its loss does not take; a stack shares the number of negatives."""
    taken, exact = _TAKES[point["loss"]], point["mode"] == "exact"
    for name in ("tau", "margin", "negatives"):
        point[name] = point[name] if name in taken else None
    if exact:
        point["batch"] = None
    elif point["loss"] == "ntxent" and point["batch"] < 2:
        raise InputError(f"train.batch={point['batch']} with loss 'ntxent': must be at least 2")
    shared = ("batch", "steps", "mode", "optimizer", "optimizer_options", "records", "samples")
    negatives = 0 if point["loss"] == "ntxent" else point["negatives"] or 1
    if exact and negatives != 1:
        rule = "must be 'simple', 'triplet' or 'infonce' with one negative"
        raise InputError(f"train.mode='exact' with loss {point['loss']!r} and negatives={point['negatives']}: {rule}")
    part = _part(point, shared)
    return Part(part.text, _canonical({**json.loads(part.shared), "stacked negatives": negatives}))


def _check_exact(trains: list[dict[str, Any]], trees: list[dict[str, Any]], files: Mapping[str, str]) -> None:
    """Refuse exact training on too many leaves before anything runs."""
    if not any(train["mode"] == "exact" for train in trains):
        return
    parsed = {digest: json.loads(text) for digest, text in files.items()}
    for tree in trees:
        if (leaves := tree_sizes(tree, parsed)[1]) > LEAVES_IN_EXACT_MODE:
            raise InputError(f"train.mode='exact' on {leaves} leaves: must be at most {LEAVES_IN_EXACT_MODE}")
