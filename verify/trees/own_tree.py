"""Statement 6 on a tree of the user's own: which nodes, which networks, and the result of the four ways on them.

`check_tree` computes and returns; `python -m verify tree FILE` prints and writes. One false-alarm rate covers all
nodes and all networks together.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from hltm import HLTM
from hltm.base.checks import show, suggestion
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress
from verify.engine.claims import Claimed
from verify.engine.evidence import Evidence, Kind, Measurement, counted
from verify.engine.runner import Result
from verify.engine.statement import PaperRelation, Profile, Statement
from verify.instances.instance import TreeInstance, freeze
from verify.instances.samples import derived, generator
from verify.tolerance.statistics import allowed
from verify.trees.claims import named_node
from verify.trees.moments import random_instance, rational_tree
from verify.trees.ways import LIMITS, WAYS, Case, Ledger, Limits, chosen_nodes, evidence, run_case

if TYPE_CHECKING:
    from numeric import TreeNetwork

SLUG = "tree"
LARGEST_WEIGHT = 1e15
SLOPES = (0.0, 1.0, 0.25)
# States that are drawn for all networks together: on a large tree there are fewer samples than the profile has.
DRAWS = 2**26
FEWEST_SAMPLES = 2000
# Nodes that are checked times nodes of the tree: fewer are checked on a huge tree.
NODES_IN_ALL = 6000
FEWEST_NODES = 4
# Nodes of a small tree.
SMALL = 32


@dataclass(frozen=True)
class NodeInstance(TreeInstance):
    """A tree with weights, and the node at which ways are compared; what a counterexample file of a tree holds.

    Examples
    --------
    >>> import hltm
    >>> one = NodeInstance(hltm.star_tree(2, polarity=0.5), (((1.0, 2.0),),), 0.0, 0)
    >>> NodeInstance.from_json(one.as_json()) == one
    True
    """

    node: Any = None

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        if not isinstance(data, dict) or "node" not in data:
            raise InputError("key 'node' of instance: is missing")
        base = TreeInstance.from_json({key: value for key, value in data.items() if key != "node"})
        names = {str(node): node for node in base.tree.latents}
        if data["node"] not in names:
            raise InputError(f"node={show(data['node'])} of instance: must be an inner node, a text")
        return cls(base.tree, base.weights, base.slope, names[data["node"]])

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data that `from_json` reads back to an equal instance."""
        return {**super().as_json(), "node": str(self.node)}


@dataclass(frozen=True)
class Scope:
    """What a check of a tree covered."""

    nodes: tuple[Any, ...]
    inner: int
    networks: tuple[str, ...]
    weights: str
    samples: int
    false_alarm: float

    @property
    def lines(self) -> tuple[str, ...]:
        """The scope in words."""
        which = ", ".join(map(show, self.nodes[:12])) + (", ..." if len(self.nodes) > 12 else "")
        part = f"{len(self.nodes)} of {counted(self.inner, 'inner node')}: {which}"
        if len(self.nodes) < self.inner:
            part += " (--node or --all-nodes for others)"
        return (
            part,
            f"networks: {', '.join(self.networks)}; {self.weights}",
            f"sampling: {self.samples:,} samples a root state; false alarms of all nodes and networks together at most "
            f"{self.false_alarm:.2g}",
        )

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "nodes": [str(node) for node in self.nodes], "inner_nodes": self.inner, "networks": list(self.networks),
            "weights": self.weights, "samples": self.samples, "false_alarm": self.false_alarm,
        }  # fmt: skip


@dataclass(frozen=True)
class TreeResult(Result):
    """The result of `check_tree`: evidence for every way and quantity, and what it covers.

    Examples
    --------
    >>> import hltm
    >>> result = check_tree(hltm.star_tree(2, polarity=0.5), slope=0)
    >>> result.odd_one_out, result.scope.nodes, list(result.table)
    ('', (0,), ['closed form', 'enumeration', 'torch', 'sampling'])
    """

    scope: Scope | None = None

    @cached_property
    def table(self) -> dict[str, dict[str, Evidence]]:
        """Way to quantity to its evidence."""
        rows: dict[str, dict[str, Evidence]] = {way: {} for way in WAYS}
        for row in self.evidence:
            _, quantity, way = row.source.split(", ")
            rows[way][quantity] = row
        return rows

    @property
    def odd_one_out(self) -> str:
        """The way that disagrees while the others agree; empty where nothing differs or no single one does."""
        refuted = {row.source.split(", ")[2] for row in self.evidence if row.status == "refuted"}
        return next(iter(refuted)) if len(refuted) == 1 else ""

    def as_json(self) -> dict[str, Any]:
        """The scope and the table as plain JSON data."""
        table = [
            {
                "way": way,
                "quantity": quantity,
                "status": row.status,
                "compared": row.instances,
                "left_out": row.abstained,
            }
            for way, cells in self.table.items()
            for quantity, row in cells.items()
        ]
        scope = {} if self.scope is None else self.scope.as_json()
        return {**scope, "odd_one_out": self.odd_one_out or None, "table": table}


def check_tree(
    tree: HLTM,
    node: Any = None,
    *,
    slope: float | Sequence[float] | None = None,
    weights: Mapping[Any, Any] | None = None,
    trained: str | Path | None = None,
    seed: int = 0,
    profile: Profile = "quick",
    device: str = "cpu",
    all_nodes: bool = False,
    progress: Progress = SILENT,
    name: str = "",
) -> TreeResult:
    """Check statement 6 on a tree in four independent ways.

    The ways are the closed form of `theory`, enumeration in rationals, torch in float64 on the population of the
    leaves, and sampling with error bars. They are compared pair by pair on the activation covariance, the covariance
    operator and the node update; the odd one out is named.

    Parameters
    ----------
    tree : HLTM
        Any tree: binary or categorical, tables symmetric or not.
    node : node or list of nodes, optional
        Inner nodes to check; by default all of a small tree, of a large one the root, the deepest and some of each
        level.
    slope : float or list of float, optional
        Slopes of the activation in [0, 1]; by default 0, 1 and 1/4.
    weights : mapping of inner node to matrix, optional
        ``(|N_mu|, |N_mu^ch|)`` each; by default random, with one or two neurons a node.
    trained : path, optional
        A run folder of ``python -m numeric train --run DIR``: the weights and slope of its networks.
    seed : int
        Of random weights and samples.
    profile : {"quick", "thorough"}
        How many nodes, leaf configurations and samples.
    device : str
        Where torch runs.
    all_nodes : bool
        Check every inner node.
    progress : Progress
        Where progress is reported.
    name : str
        Name of the tree in the result.

    Returns
    -------
    TreeResult
        A `Result` with the evidence of each way on each quantity; ``verdict`` is "holds", "refuted" or "abstained".

    Raises
    ------
    InputError
        An unknown node or a leaf, a slope outside of [0, 1], weights that do not fit, a run on another tree.

    Source
    ------
    Statement 6 (arXiv 2010.00578).

    Examples
    --------
    >>> import hltm
    >>> result = check_tree(hltm.star_tree(3, polarity=0.5), slope=0)
    >>> result.verdict, result.table["torch"]["node update"].status
    ('holds', 'holds')
    """
    started = time.perf_counter()
    if not isinstance(tree, HLTM):
        raise InputError(f"tree of type {type(tree).__name__}: must be an hltm.HLTM")
    if profile not in LIMITS:
        raise InputError(f"profile={show(profile)}: must be one of {', '.join(LIMITS)}")
    limits = limits_of(tree, profile)
    nodes = list(tree.latents) if all_nodes and node is None else wanted_nodes(tree, node, limits)
    cases, words = networks(tree, slope, weights, trained, seed, limits)
    exact = rational_tree(tree)
    cases = [replace(case, instance=replace(case.instance, tree=exact)) for case in cases]
    samples = sample_count(tree, limits, len(cases))
    rate = allowed("four ways")
    ledger = Ledger()
    progress.start(len(nodes) * len(cases))
    for number, case in enumerate(cases):
        run_case(
            case, nodes, ledger, limits=limits, samples=samples, seed=derived(seed, f"own tree, network {number}"),
            false_alarm=rate / len(cases), device=device, step=progress.step,
        )  # fmt: skip

    def instance_at(case: Case, place: Any) -> NodeInstance:
        return NodeInstance(case.instance.tree, case.instance.weights, case.instance.slope, place)

    kind: Kind | None = "trained" if trained is not None else None
    rows = tuple(evidence(ledger, instance_at, samples, kind))
    scope = Scope(tuple(nodes), len(tree.latents), tuple(case.name for case in cases), words, samples, rate)
    statement = replace(STATEMENT, title=f"four ways on {name}") if name else STATEMENT
    seconds = time.perf_counter() - started
    return TreeResult(statement, rows, seconds, scope=scope)


def limits_of(tree: HLTM, profile: Profile) -> Limits:
    """The limits of a profile; a small tree has few branches, which may be four times as large."""
    limits = LIMITS[profile]
    if len(tree) > SMALL:
        return limits
    return replace(limits, enumeration=4 * limits.enumeration, closed=4 * limits.closed, torch=4 * limits.torch)


def wanted_nodes(tree: HLTM, node: Any, limits: Limits) -> list[Any]:
    """The nodes to check; those that were asked for must be inner nodes."""
    if node is None:
        return chosen_nodes(tree, max(FEWEST_NODES, min(limits.nodes, NODES_IN_ALL // len(tree))))
    asked = list(node) if isinstance(node, list) else [node]
    if not asked:
        raise InputError("node=[]: must name an inner node")
    for one in asked:
        if one not in tree:
            raise InputError(f"node {show(one)}: is no node of the tree{suggestion(one, tree.latents)}")
        if not tree.children(one):
            raise InputError(f"node {show(one)}: is a leaf; must be an inner node, such as {show(tree.parent(one))}")
    return list(dict.fromkeys(asked))


def networks(
    tree: HLTM, slope: Any, weights: Mapping[Any, Any] | None, trained: str | Path | None, seed: int, limits: Limits
) -> tuple[list[Case], str]:
    """The networks on which the ways are compared, and where they come from in words."""
    import numeric

    if trained is not None:
        if weights is not None or slope is not None:
            raise InputError(f"{'weights' if weights is not None else 'slope'} with trained: the run has its own")
        return trained_cases(tree, trained, limits)
    slopes = list(SLOPES) if slope is None else list(slope) if isinstance(slope, (list, tuple)) else [slope]
    if not slopes:
        raise InputError("slope=[]: must be a number in [0, 1], or a list of them")
    slopes = list(dict.fromkeys(numeric.check_slope(one) for one in slopes))
    if weights is None:
        most = 2
        made = [random_instance(tree, generator(seed, "own tree"), one, most) for one in slopes]
        words = f"random weights, seed {seed}, 1 to {most} neurons a node"
    else:
        network = numeric.TreeNetwork.from_weights(tree, weights)
        if network.ensemble != 1:
            raise InputError(f"weights of {network.ensemble} networks: must be one matrix for each node")
        for node in tree.latents:
            if (largest := float(network.matrix(node).abs().max())) > LARGEST_WEIGHT:
                rule = f"must be at most {LARGEST_WEIGHT:g} in size: what rounding explains is seen in single precision"
                raise InputError(f"weights of node {show(node)}: {rule}, got {largest:g}")
        made = [TreeInstance(tree, member_weights(network, 0), one) for one in slopes]
        words = "the weights given"
    return [Case(f"slope {one:g}", instance) for one, instance in zip(slopes, made, strict=True)], words


def trained_cases(tree: HLTM, folder: str | Path, limits: Limits) -> tuple[list[Case], str]:
    """Networks of a run folder, the first of its members."""
    from numeric.training.saved import load_run

    run = load_run(folder, tree)
    if run.network.leaves != "state":
        raise InputError(f"run folder {folder}: {run.network.leaves} leaves; must read a leaf as its state number")
    good = [member for member in range(run.network.ensemble) if member not in run.failed]
    if not good:
        raise InputError(f"run folder {folder}: all of its networks diverged; must have one that did not")
    chosen = good[: limits.members]
    cases = [
        Case(f"network {member}", TreeInstance(tree, member_weights(run.network, member), run.network.slope))
        for member in chosen
    ]
    part = f"{len(chosen)} of {counted(run.network.ensemble, 'trained network')} of {folder} at step {run.step}"
    note = "" if run.network.output == "linear" else ", operator and update of the output before it is normalised"
    return cases, f"{part}, slope {run.network.slope:g}{note}"


def member_weights(network: TreeNetwork, member: int) -> Any:
    """The weights of one network in the order of `tree.latents`."""
    return tuple(freeze(network.matrix(node)[member].double().cpu()) for node in network.tree.latents)


def sample_count(tree: HLTM, limits: Limits, networks: int) -> int:
    """Samples a root state: those of the profile, fewer on a large tree."""
    return max(FEWEST_SAMPLES, min(limits.samples, DRAWS // (len(tree) * len(tree.prior) * networks)))


# The statement of a result, and replays of its counterexamples.


def measured(kind: Kind) -> Any:
    """Measure a saved node by the ways of one kind of evidence; the claims of statement 6 have no variant here."""

    def measure(instance: NodeInstance, claim: Any = None) -> Measurement:
        limits, ledger = LIMITS["thorough"], Ledger()
        samples = sample_count(instance.tree, LIMITS["quick"], 1)
        run_case(
            Case("the saved network", instance), [instance.node], ledger, limits=limits, samples=samples, seed=0,
            false_alarm=allowed("four ways"), device="cpu", step=lambda _: None,
        )  # fmt: skip
        rows = [row for row in evidence(ledger, lambda *_: instance, samples) if row.kind == kind]
        decided = [row for row in rows if row.instances and row.worst_residual is not None]
        refuted = next((row for row in decided if row.status == "refuted"), None)
        if refuted is not None:
            residual, tolerance = refuted.worst_residual or 0.0, refuted.tolerance or 0.0
            return Measurement(residual, tolerance, detail=f"{refuted.source}: {refuted.detail}", apart=refuted.apart)
        if not decided:
            return Measurement(0.0, 0.0, False, next((row.detail for row in rows), "no way can be had"))
        worst = max(
            (Measurement(r.worst_residual or 0.0, r.tolerance or 0.0) for r in decided), key=lambda m: m.severity
        )
        return worst

    return measure


STATEMENT = Statement(
    slug=SLUG,
    theorem=None,
    title="four ways on a tree",
    stated=Claimed("activation-covariance", lambda: [named_node()]),
    assumptions=("a tree", "the root kept, everything below resampled", "neurons without bias, linear output"),
    not_covered=("nodes and networks that are not named", "ways that are left out where they are too expensive"),
    source="arXiv 2010.00578, the section on hierarchical latent tree models",
    checks=(),
    stages=(),
    measures={"exact": measured("exact"), "float": measured("float")},
    instance_type=NodeInstance,
    relation_to_paper=PaperRelation(
        "sharpened",
        "every tree shape, ReLU and categorical latents, cross terms between siblings are added to the binary form",
        "the published code's README puts the latent tree model in section 6; the formula is from the project's notes",
        "medium",
    ),
)
