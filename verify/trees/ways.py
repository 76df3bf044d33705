"""Statement 6 in four ways at some nodes of one tree, compared pair by pair, node by node.

Each way gives what it can: one that is too expensive at a node is left out there, with its limit, and the others are
compared. A way that nothing was compared with has not agreed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

import numeric
from hltm.base.checks import count, show
from hltm.base.errors import InputError
from verify.engine.evidence import Evidence, Kind, counted, named
from verify.engine.evidence import Measurement as Measured
from verify.instances.instance import TreeInstance
from verify.tolerance import rounding
from verify.towers.tower import Array, vec
from verify.trees.agreement import (
    ClosedForms,
    Form,
    by_sampling,
    floats,
    network_of,
    odd_one_out,
    pair_difference,
    tree_population_of,
)
from verify.trees.moments import QUANTITIES, BranchMoments, TooLargeError, configurations
from verify.trees.populations import coupled_population, gates_differ, mean_population, same_gates

if TYPE_CHECKING:
    from numeric import FinitePopulation

WAYS = ("closed form", "enumeration", "torch", "sampling")
WORDS = {"activation": "activation covariance", "operator": "covariance operator", "update": "node update"}
KIND_OF: dict[str, Kind] = {"closed form": "exact", "enumeration": "exact", "torch": "float", "sampling": "float"}
# Of two ways that differ the first of these is shown as the left side.
TRUSTED = ("enumeration", "closed form", "torch", "sampling")
# Points times augmentations up to which the loss is summed as it is written, over all pairs.
LITERAL = 2048


@dataclass(frozen=True)
class Limits:
    """How much is spent on a tree: nodes, leaf configurations of a branch for each way, samples, entries of a form."""

    nodes: int
    enumeration: int
    closed: int
    torch: int
    samples: int
    members: int
    entries: int


LIMITS = {
    "quick": Limits(12, 2**10, 2**11, 2**12, 40_000, 2, 2**16),
    "thorough": Limits(64, 2**13, 2**14, 2**15, 400_000, 20, 2**20),
}


@dataclass(frozen=True)
class Case:
    """One network on the tree, and its name in words."""

    name: str
    instance: TreeInstance


@dataclass(frozen=True, eq=False)
class Clash:
    """The largest difference of two ways, in units of what both may be off by together."""

    case: Case
    node: Any
    place: str
    sides: dict[str, tuple[Array, Any]]
    difference: float
    allowed: float
    ratio: float


@dataclass(eq=False)
class Ledger:
    """What was compared, what was left out and why, by quantity and way; the worst difference of each pair."""

    pairs: dict[tuple[str, frozenset[str]], Clash] = field(default_factory=dict)
    compared: dict[tuple[str, str], set[tuple[str, Any]]] = field(default_factory=dict)
    missing: dict[tuple[str, str], list[tuple[Any, str]]] = field(default_factory=dict)
    seen: set[tuple[str, Any]] = field(default_factory=set)
    unseen: set[tuple[str, Any]] = field(default_factory=set)
    passed: set[Any] = field(default_factory=set)
    live: set[str] = field(default_factory=set)
    error: float = 0.0

    def leave_out(self, quantity: str, way: str, node: Any, reason: str) -> None:
        self.missing.setdefault((quantity, way), []).append((node, reason))

    def compare(self, case: Case, node: Any, form: Form, sides: dict[str, tuple[Array, Any]]) -> None:
        """Compare all pairs of ways on what a form speaks of."""
        for pair in combinations(sides, 2):
            left, right = (sides[name] for name in pair)
            difference, allowed, ratio = pair_difference(left, right, 0.0)
            key = form.quantity, frozenset(pair)
            if key not in self.pairs or ratio > self.pairs[key].ratio:
                both = {name: sides[name] for name in pair}
                self.pairs[key] = Clash(case, node, f"{form.place}, {case.name}", both, difference, allowed, ratio)
            for name in pair:
                self.compared.setdefault((form.quantity, name), set()).add((case.name, node))


class TorchWay:
    """Torch in float64 on one instance: populations, values, and what rounding can explain."""

    def __init__(self, moments: BranchMoments, limit: int, device: str) -> None:
        import torch

        self.moments, self.limit, self.device = moments, limit, device
        self.instance, self.tree = moments.instance, moments.tree
        self.kinds = (torch.float64, torch.float32)
        self.networks = [network_of(self.instance, device, kind) for kind in self.kinds]
        self.populations: dict[Any, FinitePopulation] = {}
        self.updates: dict[Any, list[dict[Any, Array]]] = {}
        self.tops: dict[Any, dict[Any, float]] = {}

    def population(self, quantity: str, node: Any) -> tuple[Any, FinitePopulation]:
        """A population that has the means of a quantity at a node, and its name."""
        root, tree = self.tree.root, self.tree
        if configurations(tree, root) <= min(self.limit, LITERAL // len(tree.prior)):
            return self.kept("leaves", lambda: tree_population_of(self.networks[0]))
        whole = tree.children(root)
        if all(configurations(tree, child) <= self.limit for child in whole):
            return self.kept("branches", lambda: coupled_population(tree, whole, self.limit))
        if self.moments.linear:
            return self.kept("means", lambda: mean_population(tree))
        if quantity == "activation":
            below = tree.children(node)
            return self.kept(("below", node), lambda: coupled_population(tree, below, self.limit))
        tops = whole if quantity == "update" or node == root else [tree.path(root, node)[1]]
        return self.kept(tuple(tops), lambda: coupled_population(tree, tops, self.limit))

    def kept(self, name: Any, build: Callable[[], FinitePopulation]) -> tuple[Any, FinitePopulation]:
        if name not in self.populations:
            self.populations[name] = build().to(self.networks[0].device, self.kinds[0])
        return name, self.populations[name]

    def value(self, quantity: str, node: Any) -> tuple[Array, float]:
        """A quantity at a node, and what rounding can explain of its entries."""
        name, population = self.population(quantity, node)
        if quantity != "activation" and node != self.tree.root and not self.moments.linear:
            self.check_gates(population, node)
        double, single = self.both(quantity, node, name, population)
        tolerance = max(
            rounding.measured_tolerance([double], [single]), self.cancelled(quantity, node, name, population)
        )
        if not math.isfinite(tolerance):
            raise TooLargeError(f"numbers at {show(node)} are too large for a bound of their rounding in float64")
        return double, tolerance

    def both(self, quantity: str, node: Any, name: Any, population: FinitePopulation) -> list[Array]:
        """The value in double and in single precision."""
        sides = [(n, population.to(n.device, n.dtype)) for n in self.networks]
        if quantity == "activation":
            return [numeric.tree_activation_covariance(n, p, node)[0].cpu().numpy() for n, p in sides]
        if quantity == "operator":
            return [numeric.tree_covariance_operator(n, p, node)[0].cpu().numpy() for n, p in sides]
        if name not in self.updates:
            literal = population.size * population.augmentations <= LITERAL
            update = numeric.tree_population_gradient if literal else numeric.tree_update
            self.updates[name] = [{v: w[0].cpu().numpy() for v, w in update(n, p).items()} for n, p in sides]
        return [vec(update[node]) for update in self.updates[name]]

    def check_gates(self, population: FinitePopulation, node: Any) -> None:
        """TooLargeError where a gate on the way to a node may differ between float64 and rationals."""
        path = self.tree.path(self.tree.root, node)[1:]
        if not gates_differ(self.instance, population, path):
            return
        if configurations(self.tree, path[0]) <= self.moments.limit and same_gates(self.moments.branch(path[0]), path):
            return
        raise TooLargeError(f"a gate on the way to {show(node)} is within rounding of its kink")

    def cancelled(self, quantity: str, node: Any, name: Any, population: FinitePopulation) -> float:
        """What rounding can explain of moments that cancel, as in `verify.trees.agreement`."""
        if name not in self.tops:
            values = self.networks[0].activations(population.flat_points)
            self.tops[name] = {v: float(f.abs().max()) for v, f in values.items()}
        tops, by_node = self.tops[name], self.instance.by_node
        inputs = max(tops[child] for child in self.tree.children(node))
        if quantity == "activation":
            return rounding.SAFETY * rounding.UNIT_ROUNDOFF * inputs**2
        reach = np.eye(len(self.instance.weights[0]))
        network, path = self.networks[0], self.tree.path(self.tree.root, node)
        for above, child in pairwise(path):
            start, stop = network.plan.place[child][1:]
            first = network.plan.place[self.tree.children(above)[0]][1]
            reach = reach @ np.abs(np.array(by_node[above]))[:, start - first : stop - first]
        scale = inputs * float(reach.max(initial=0.0))
        scale *= scale  # ** would raise where it overflows
        if quantity == "update":
            scale *= max(1.0, float(np.abs(np.array(by_node[node])).sum()))
        return rounding.SAFETY * rounding.UNIT_ROUNDOFF * scale


class CaseWays:
    """The four ways on one instance."""

    def __init__(self, case: Case, limits: Limits, device: str) -> None:
        self.case, self.limits = case, limits
        self.instance, self.tree = case.instance, case.instance.tree
        self.moments = BranchMoments(self.instance, limits.enumeration)
        self.forms = ClosedForms.of(self.moments)
        self.torch = TorchWay(self.moments, limits.torch, device)

    def closed(self, quantity: str, node: Any) -> list[Form]:
        """The closed forms of `theory`; TooLargeError where they would list too many configurations or entries."""
        tree, root = self.tree, self.tree.root
        if not self.moments.linear:
            listed = [] if node == root or quantity == "activation" else [tree.path(root, node)[1]]
            above = {"activation": [node], "operator": [node] if node == root else [], "update": [root]}[quantity]
            listed += [child for parent in above for child in tree.children(parent)]
            for branch in listed:
                size = configurations(tree, branch)
                if size > self.limits.closed:
                    raise TooLargeError(
                        f"{count(size)} leaf configurations below {show(branch)}, the closed form takes at most "
                        f"{self.limits.closed:,}"
                    )
        n_out, n_in = np.shape(self.instance.by_node[node])
        sizes = {"activation": n_in**2, "operator": (n_out * n_in) ** 2 * len(self.instance.weights[0]), "update": 0}
        if sizes[quantity] > self.limits.entries:
            raise TooLargeError(
                f"{count(sizes[quantity])} terms of the closed form at {show(node)}, at most {self.limits.entries:,}"
            )
        try:
            return list(getattr(self.forms, quantity)(node))
        except InputError as error:
            raise TooLargeError(str(error)) from None

    def compare(self, ledger: Ledger, node: Any, sampled: tuple[Array, Array]) -> None:
        """Compare every way that can be had at a node, for each quantity."""
        for quantity in QUANTITIES:
            forms, ways = self.values(ledger, quantity, node)
            self.drop_weak(ledger, quantity, node, ways, forms)
            known = [form.value for form in forms] + [value for value, _ in ways.values()]
            if any(bool((value != 0).any()) for value in known):
                ledger.live.add(quantity)
            if quantity == "activation":
                ways["sampling"] = sampled
                self.note_sampling(ledger, node, sampled)
            for form in forms or [Form(quantity, node, "all ways but the closed form", np.zeros(0))]:
                sides: dict[str, tuple[Array, Any]] = {"closed form": (form.value, 0.0)} if forms else {}
                for way, (value, error) in ways.items():
                    sides[way] = form.part(value), form.part(error) if isinstance(error, np.ndarray) else error
                ledger.compare(self.case, node, form, sides)
            if len(ways) + bool(forms) == 1:
                alone = next(iter(ways), "closed form")
                ledger.leave_out(quantity, alone, node, f"no other way can be had at {show(node)}")
        ledger.passed |= self.moments.passed

    def values(self, ledger: Ledger, quantity: str, node: Any) -> tuple[list[Form], dict[str, tuple[Array, Any]]]:
        """The closed forms, and the values and errors of the other ways but sampling; a dear one is left out."""
        forms: list[Form] = []
        ways: dict[str, tuple[Array, Any]] = {}
        for way in WAYS[:3]:
            try:
                if way == "closed form":
                    forms = self.closed(quantity, node)
                elif way == "enumeration":
                    ways[way] = self.moments.value(quantity, node), 0.0
                else:
                    ways[way] = self.torch.value(quantity, node)
            except TooLargeError as error:
                ledger.leave_out(quantity, way, node, str(error))
        return forms, ways

    def drop_weak(
        self, ledger: Ledger, quantity: str, node: Any, ways: dict[str, tuple[Array, Any]], forms: Sequence[Form]
    ) -> None:
        """Leave torch out where what rounding can explain hides the value, which is not zero."""
        exact = ways["enumeration"][0] if "enumeration" in ways else forms[0].value if forms else None
        if "torch" not in ways or exact is None:
            return
        largest, tolerance = float(np.abs(floats(exact)).max(initial=0.0)), ways["torch"][1]
        if bool((exact == 0).all()) or largest > 2 * tolerance or float(np.abs(ways["torch"][0]).max()) > 4 * tolerance:
            return
        del ways["torch"]
        reason = f"at {show(node)} nothing is above {largest:.1e}, rounding explains {tolerance:.1e}"
        ledger.leave_out(quantity, "torch", node, reason)

    def note_sampling(self, ledger: Ledger, node: Any, sampled: tuple[Array, Array]) -> None:
        """Whether a sampled covariance is above its error somewhere: a factor of two would be seen."""
        estimate, error = sampled
        ledger.error = max(ledger.error, float(error.max()))
        (ledger.seen if bool((np.abs(estimate) > error).any()) else ledger.unseen).add((self.case.name, node))


def cut(form: Form, error: Any) -> Any:
    """The errors of what a form speaks of."""
    return form.part(error) if isinstance(error, np.ndarray) else error


def run_case(
    case: Case, nodes: Sequence[Any], ledger: Ledger, *, limits: Limits, samples: int, seed: int, false_alarm: float,
    device: str, step: Callable[[str], None],
) -> None:  # fmt: skip
    """Compare the four ways at some nodes of one network."""
    ways = CaseWays(case, limits, device)
    sampled = by_sampling(case.instance, seed, samples, false_alarm, nodes)
    for node in nodes:
        step(f"{case.name}: node {show(node)}")
        ways.compare(ledger, node, sampled[node])


# Evidence.

InstanceAt = Callable[[Case, Any], Any]


def evidence(ledger: Ledger, instance_at: InstanceAt, samples: int, kind: Kind | None = None) -> list[Evidence]:
    """A row for every way and quantity; where two ways differ, the odd one out is refuted, else both."""
    rows = []
    for quantity in QUANTITIES:
        clashes = {pair: clash for (of, pair), clash in ledger.pairs.items() if of == quantity}
        differ = any(not clash.ratio <= 1 for clash in clashes.values())
        words = odd_one_out({pair: clash.ratio for pair, clash in clashes.items()}) if differ else ""
        odd = next((way for way in WAYS if words == f"the odd one out is {way}"), None)
        for way in WAYS if quantity == "activation" else WAYS[:3]:
            # What the odd one out disagrees with is not refuted by it.
            own = [clash for pair, clash in clashes.items() if way in pair and (odd in (None, way) or odd not in pair)]
            worst = max(own, key=lambda clash: clash.ratio, default=None)
            if worst is not None and worst.ratio <= 1 and way != "sampling":
                # The residual of a rational or float way is taken from the other exact ways, not from sampling.
                finer = [clash for clash in own if "sampling" not in clash.sides]
                worst = max(finer, key=lambda clash: clash.ratio, default=worst)
            row = row_of(ledger, quantity, way, worst, samples)
            if worst is not None and not worst.ratio <= 1:
                instance = instance_at(worst.case, worst.node)
                apart = named(sides_of(worst, way), instance)
                detail = f"{way}, {WORDS[quantity]}: {words}; {worst.place}"
                row = replace(row, status="refuted", counterexample=instance, apart=apart, detail=detail)
            rows.append(row if kind is None else replace(row, kind=kind))
    return rows


def row_of(ledger: Ledger, quantity: str, way: str, worst: Clash | None, samples: int) -> Evidence:
    """The evidence of one way on one quantity, as if nothing differed."""
    missing = ledger.missing.get((quantity, way), [])
    compared = len(ledger.compared.get((quantity, way), ()))
    notes, effect, weak = [f"{compared} compared"], "", False
    if compared and quantity not in ledger.live:
        weak = True
        notes.append("every value is zero, so that no factor could be wrong")
    if missing:
        notes.append(f"{len(missing)} left out: {missing[0][1]}")
    if way == "enumeration" and ledger.passed:
        notes.append(f"means passed from the leaves, not listed, below {counted(len(ledger.passed), 'node')}")
    if way == "sampling" and compared:
        every = len(ledger.seen) + len(ledger.unseen)
        weak = weak or (not ledger.seen and every > 0)
        effect = f"an entry of the covariance that is {2 * ledger.error:.2g} off"
        notes.append(
            f"{samples:,} samples a root state; above the error at {len(ledger.seen)} of {every}; refutes {effect}"
        )
    residual, tolerance = (None, None) if worst is None else (worst.difference, worst.allowed)
    open_ = bool(missing) or weak or not compared
    if open_:
        notes[0] = f"{way}, {WORDS[quantity]}: {notes[0]}"
    return Evidence(
        KIND_OF[way], "abstained" if open_ else "holds", f"tree, {WORDS[quantity]}, {way}",
        compared, len(missing), residual, tolerance, detail="; ".join(notes), effect=effect,
    )  # fmt: skip


def sides_of(clash: Clash, way: str) -> Measured:
    """A refuted measurement with both sides, the way in question on the right."""
    from verify.engine.disagreement import disagreement

    other = next(name for name in TRUSTED if name in clash.sides and name != way)
    (left, error), (right, own) = clash.sides[other], clash.sides[way]
    difference = np.abs(floats(left) - floats(right))
    bound = np.maximum(np.broadcast_to(error + own, difference.shape), 5e-324 if clash.allowed else 0.0)
    place = clash.place
    apart = disagreement(
        {place: left}, {place: right}, {place: ~(difference <= bound)}, None, roles=(other, way), bounds={place: bound}
    )
    return Measured(clash.difference, clash.allowed, detail=place, apart=apart)


def chosen_nodes(tree: Any, most: int) -> list[Any]:
    """All inner nodes, or the root, the deepest and some of each level, spread over it."""
    latents = list(tree.latents)
    if len(latents) <= most:
        return latents
    inner = set(latents)
    levels = [[node for node in level if node in inner] for level in tree.levels]
    levels = [level for level in levels if level]
    if len(levels) > most:  # a level can have none
        levels = [levels[round(place)] for place in np.linspace(0, len(levels) - 1, most)]
    counts = [1] * len(levels)
    while sum(counts) < most:
        # The level with the smallest part of its nodes comes next; of several the deepest.
        open_ = [k for k, level in enumerate(levels) if counts[k] < len(level)]
        best = min(open_, key=lambda k: (counts[k], -k))
        counts[best] += 1
    picked = {
        level[round(place)]
        for level, number in zip(levels, counts, strict=True)
        for place in np.linspace(0, len(level) - 1, number)
    }
    return [node for node in latents if node in picked]
