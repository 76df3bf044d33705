"""Data of the figures of statements 3, 4, 6 and 7."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import hltm
from verify.engine.statement import Context, command
from verify.figures.data import FigureData, table
from verify.instances import samples
from verify.instances.instance import TreeInstance, freeze
from verify.tolerance.statistics import Interval, local_exponent, mean_interval
from verify.towers import residue
from verify.training import towers as trained_rates
from verify.training.lucky import amplification, ceiling, gaps, hidden, selectivities
from verify.trees.agreement import as_exact, exact_weights, floats, sympy_number, torch_sides, tree_population_of
from verify.trees.lucky_floats import correlation, neurons_at

if TYPE_CHECKING:
    from torch import Tensor

    from hltm import HLTM
    from numeric import TrainingTrace, TreeNetwork
    from verify.towers.tower import Array
    from verify.training.lucky import Plan, Training


LEVEL = 0.95
BATCHES = (4, 16, 64, 256, 1024)
WIDTH, STEPS = 4, 100
DISTANCES = {"means": ("r between augmentation means", 2), "points": ("r between unaugmented points", 1)}


def interval_facts(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}, low": interval.low, f"{name}, high": interval.high}


def residues(context: Context) -> tuple[FigureData, ...]:
    """Theta against the augmentation's spread, with r between means and between points."""
    wanted = context.pick(quick=9, thorough=48)
    rows: list[tuple[Any, ...]] = []
    exponents: dict[str, list[float]] = {name: [] for name, _ in DISTANCES.values()}
    member = 0
    for instance in samples.smooth_populations(context.seed + 5, 20 * wanted, ("triplet", "infonce")):
        measured = [residue.residues(instance, way, context.device, residue.operator_sides) for way in DISTANCES]
        usable = [one for one in measured if one is not None and one[1].min() >= residue.VANISHING]
        if len(usable) < len(measured):
            continue
        for (name, _), one in zip(DISTANCES.values(), usable, strict=True):
            exponents[name].append(local_exponent(*one))
            rows += [(name, member, instance.loss, *map(float, point)) for point in zip(*one, strict=True)]
        member += 1
        if member == wanted:
            break
    facts: dict[str, float | int | str] = {"populations": member, "level": LEVEL}
    for name, stated in DISTANCES.values():
        facts |= interval_facts(f"order, {name}", mean_interval(exponents[name], LEVEL))
        facts[f"order, {name}, stated"] = stated
    caption = (
        f"theta = -E[grad] - V^xi vec W on {member} Gaussian populations (soft triplet and InfoNCE; ReLU, leaky ReLU "
        "and linear), augmentations pulled towards their point, biased to first order. Thin lines: one population "
        "each; thick: their mean. Orders are fitted population by population with a first-order correction; in "
        "brackets the Student interval "
        f"({LEVEL:.0%}) of their mean. Every value is a finite sum, without sampling error; dotted: the stated slopes."
    )
    columns = table(("series", "member", "loss", "spread", "theta"), rows)
    title = "The residue of Theorem 4 against the augmentation's spread"
    orders = {name: facts[f"order, {name}"] for name, _ in DISTANCES.values()}
    alt = "Straight lines on logarithmic axes: " + ", ".join(f"slope {k:.3f} with {name}" for name, k in orders.items())
    return (FigureData("residue-orders", "residue", title, caption, columns, facts, command(4, context), f"{alt}."),)


def minibatches(context: Context) -> tuple[FigureData, ...]:
    """Errors of minibatch updates of the simple loss against the operator."""
    import numeric

    seed = samples.derived(context.seed, "figure, minibatches")
    tree = hltm.complete_tree(3, 2, (0.7, 1.0), seed=seed)
    start = numeric.TreeNetwork(tree, WIDTH, 0.0, "linear", seed, device=context.device)
    trace = numeric.train(start, tree, "triplet", tau=0.5, lr=0.05, batch=64, steps=STEPS, seed=seed)
    rows: list[tuple[Any, ...]] = []
    facts: dict[str, float | int | str] = {"minibatches at each B": trained_rates.MEMBERS, "level": LEVEL}
    for name, network in (("initial weights", start), ("trained weights", trace.network)):
        truth = exact_update(network)
        draws = [samples.derived(context.seed, f"figure, {name} {batch}") for batch in BATCHES]
        sizes = [trained_rates.minibatch_errors(network, truth, *one) for one in zip(BATCHES, draws, strict=True)]
        slopes = np.polyfit(np.log(BATCHES), np.log(np.stack(sizes)), 1)[0]
        facts |= interval_facts(f"order, {name}", mean_interval(slopes.tolist(), LEVEL))
        facts[f"order, {name}, stated"] = -0.5
        for batch, errors in zip(BATCHES, sizes, strict=True):
            rows += [(name, member, batch, float(error)) for member, error in enumerate(errors)]
    caption = (
        f"Distance of the update of a minibatch (simple loss, one step of SGD) from 2 Cov_x[Kbar, fbar], enumerated on "
        f"a tree of 8 leaves, at the initial weights and after {STEPS} steps of training (seed {context.seed}). Small "
        f"markers: {trained_rates.MEMBERS} minibatches at each B; large: their geometric mean. Order: mean slope of "
        f"{trained_rates.MEMBERS} independent fits, in brackets its Student interval ({LEVEL:.0%}); dotted: B^(-1/2). "
        "The two series are drawn slightly apart."
    )
    columns = table(("series", "member", "batch", "error"), rows)
    title = "The error of a minibatch update falls as B^(-1/2)"
    orders = {name: facts[f"order, {name}"] for name in ("initial weights", "trained weights")}
    alt = "Falling lines on logarithmic axes: " + ", ".join(f"slope {k:.3f} at {name}" for name, k in orders.items())
    return (FigureData("minibatch-error", "minibatch", title, caption, columns, facts, command(3, context), f"{alt}."),)


def exact_update(network: TreeNetwork) -> list[Tensor]:
    """``2 Cov_x[Kbar_mu, fbar_L]``, exact, in blocks of the network's parameters."""
    import numeric

    update = numeric.tree_update(network, tree_population_of(network))
    result = [block.new_empty(block.shape) for block in network.parameters]
    for node, target in network.with_parameters(result).weights.items():
        target.copy_(update[node])
    return result


def lucky(training: Training, plan: Plan, context: Context) -> tuple[FigureData, ...]:
    """Initial gap and selectivity before and after training, for every neuron below the top."""
    first, last = training.networks[0], training.networks[-1]
    nodes = hidden(first.tree)
    gap, start, end = gaps(first, nodes), selectivities(first, nodes), selectivities(last, nodes)
    members, count = gap.shape
    names = [str(node) for node in nodes for _ in range(first.matrix(node).shape[-2])]
    columns: dict[str, tuple[Any, ...]] = {
        "network": tuple(member for member in range(members) for _ in range(count)),
        "node": tuple(names * members),
        "gap": tuple(np.ravel(gap).tolist()),
        "start": tuple(np.ravel(start).tolist()),
        "end": tuple(np.ravel(end).tolist()),
    }
    facts: dict[str, float | int | str] = {"networks": members, "neurons of a network": count, "level": LEVEL}
    for name, values in (("final selectivity", end), ("growth", end - start)):
        facts |= interval_facts(f"rank correlation, {name}", amplification(gap, values, LEVEL))
    caption = (
        f"{members * count} neurons of {members} networks ({count} each, {plan.width} a latent) on a tree of two "
        f"groups, trained {training.steps[-1]} steps on the exact expected InfoNCE loss (tau = {plan.tau}, rate "
        f"{plan.lr}, sigma_w = {plan.sigma_w}, ReLU; seed {plan.seed}). Left: selectivity before and after; "
        "right: what training adds. In the boxes: Spearman's rank correlation with the initial gap, of the selectivity "
        "after training and of its growth, mean over the networks, with its Student interval "
        f"({LEVEL:.0%}). The selectivity follows the gap before any training already; its growth is what training does."
    )
    title = "Lucky neurons: the initial gap against the final selectivity"
    alt = (
        "Two clouds of points against the initial gap: the selectivity, rank correlation "
        f"{facts['rank correlation, final selectivity']:.2f}, and its growth, {facts['rank correlation, growth']:.2f}."
    )
    return (FigureData("lucky-neurons", "lucky", title, caption, columns, facts, command(7, context), alt),)


OUTPUTS, NEURONS = 2, 4
LOWEST = 1e-21
TREE_WIDTH, TAU, RATE, BATCH, TREE_STEPS, RECORDS = 8, 0.1, 0.1, 128, 300, 15


def figures(context: Context) -> tuple[FigureData, ...]:
    trace = trained(context)
    return operator(context), tree_figure(trace, context), training(trace, context)


def operator_instance(seed: int) -> TreeInstance:
    """A complete tree of depth 2 with a leaky ReLU network."""
    rng = samples.generator(seed, "figure, operator")
    tree = hltm.complete_tree(2, 2, (0.6, 0.95), seed=seed, root_polarity=0.25)
    sizes = {node: OUTPUTS if node == tree.root else NEURONS for node in tree.latents}
    weights = []
    for node in tree.latents:
        columns = sum(sizes.get(child, 1) for child in tree.children(node))
        weights.append(freeze(rng.integers(-16, 16, size=(sizes[node], columns), endpoint=True) / 8))
    return TreeInstance(tree, tuple(weights), 0.25)


def operator_sides(instance: TreeInstance, node: Any, device: str) -> dict[str, Array]:
    """The operator of a node as `theory` derives it, exactly, and as `numeric` measures it."""
    import torch

    import numeric
    import theory

    slope = sympy_number(instance.slope)
    closed = theory.covariance_operator(instance.tree, node, exact_weights(instance), slope, numbers=True)
    network, population = torch_sides(instance, device, torch.float64)
    measured = numeric.tree_covariance_operator(network, population, node)[0].cpu().numpy()
    return {"derived": floats(as_exact(closed, {})), "measured": measured}


def operator(context: Context) -> FigureData:
    """Entries and eigenvalues of an operator, derived and measured."""
    instance = operator_instance(context.seed)
    node = instance.tree.latents[1]
    sides = operator_sides(instance, node, context.device)
    rows: list[tuple[Any, ...]] = []
    for side, matrix in sides.items():
        rows += [(side, "entry", *place, float(value)) for place, value in np.ndenumerate(matrix)]
        values = sorted(np.linalg.eigvalsh(matrix), key=abs, reverse=True)
        rows += [(side, "eigenvalue", number, None, float(value)) for number, value in enumerate(values)]
    derived, measured = sides.values()
    size = float(np.linalg.norm(derived))
    facts: dict[str, float | int | str] = {
        "node": str(node), "largest difference of an entry": float(np.abs(derived - measured).max()),
        "rank at most": OUTPUTS, "rounding explains": len(derived) * float(np.finfo(float).eps) * size,
        "lowest eigenvalue drawn": LOWEST * size,
    }  # fmt: skip
    caption = (
        f"OP_mu at node {node} of a complete tree of depth 2 (leaky ReLU, slope 1/4, {NEURONS} neurons reading two "
        f"leaves, {OUTPUTS} outputs, seed {context.seed}): derived by theory in rationals, measured by numeric in "
        f"float64 on the enumerated leaves. Lighter is larger and the sign is written, so that grey shows as much; "
        f"entries below 1e-12 of the largest have none. Right: eigenvalues of both in absolute value. The rank is at "
        f"most n_L = {OUTPUTS}, the others are rounding (hatched; zeros are drawn at the lower edge). One network, "
        "exact sums: no error bars."
    )
    columns = table(("side", "quantity", "row", "column", "value"), rows)
    title = "A covariance operator, derived beside measured"
    alt = (
        f"Two heat maps of {len(derived)} by {len(derived)} entries that differ by at most "
        f"{facts['largest difference of an entry']:.1e}, and the eigenvalues of both."
    )
    return FigureData("operator", "operator", title, caption, columns, facts, command(6, context), alt)


def trained(context: Context) -> TrainingTrace:
    """Train an ensemble on 8 leaves with InfoNCE and a normalised output."""
    import numeric

    seed = samples.derived(context.seed, "figure, training")
    tree = hltm.complete_tree(3, 2, (0.7, 1.0), seed=seed)
    members = context.pick(quick=10, thorough=48)
    network = numeric.TreeNetwork(tree, TREE_WIDTH, 0.0, "normalized", seed, ensemble=members, device=context.device)
    steps = context.pick(quick=TREE_STEPS, thorough=4 * TREE_STEPS)
    return numeric.train(
        network, tree, "infonce", tau=TAU, lr=RATE, batch=BATCH, steps=steps, seed=seed, record_every=steps // RECORDS
    )


def setting(trace: TrainingTrace, context: Context) -> str:
    """How the networks were trained, in words."""
    return (
        f"{trace.network.ensemble} networks of {TREE_WIDTH} neurons a latent on a complete tree of 8 leaves, trained "
        f"with InfoNCE (tau = {TAU}, B = {BATCH}, rate {RATE}, {trace.steps[-1]} steps, normalised output; "
        f"seed {context.seed})"
    )


def best(network: TreeNetwork) -> Array:
    """Best absolute correlation of a neuron with its latent, (latents, members)."""
    tree = network.tree
    result = {node: neurons_at(network, node).correlation for node in tree.latents[1:]}
    result[tree.root] = output_correlation(network)
    return np.array([result[node].abs().amax(-1).cpu().numpy() for node in tree.latents])


def output_correlation(network: TreeNetwork) -> Tensor:
    """Correlation of every output with the root, (members, outputs)."""
    import torch

    population = tree_population_of(network)
    outputs, law = network.forward(population.points[0]), population.augmentation_weights
    mean = torch.einsum("zc,ecn->zen", law, outputs)
    variance = torch.einsum("zc,zecn->zen", law, (outputs - mean[:, :, None]).square())
    return correlation(float(population.point_weights[1]), mean, variance)[0]


def tree_figure(trace: TrainingTrace, context: Context) -> FigureData:
    """The best correlation with each latent before and after training, mean over networks."""
    from hltm.drawing import layout, short_name

    tree = trace.network.tree
    networks = [network for _, network in trace.networks()]
    known = [dict(zip(tree.latents, best(networks[k]).mean(axis=1), strict=True)) for k in (0, -1)]
    rows: list[tuple[Any, ...]] = []
    for item in sorted(layout(tree), key=lambda item: (item.level, item.x)):
        node, above = item.node, item.above
        if node is None:
            continue
        latent = bool(tree.children(node))
        rows.append((
            repr(node), short_name(node), None if above is None else repr(above), float(item.x), int(item.level),
            None if above is None else float(tree.polarity(above, node)),
            *(float(one[node]) if latent else None for one in known), ceiling(tree, node) if latent else None,
        ))  # fmt: skip
    caption = (
        f"{setting(trace, context)}. Colour and number: best absolute correlation of a neuron of a latent with it, "
        "mean over the networks, exact over the leaves; lighter is larger. Squares: leaves. Edges: polarities rho, "
        "dashed where negative. The loss never sees a latent; that neurons come nearer to theirs is a tendency and no "
        "law. The root's neurons are the normalised outputs. The CSV has the ceiling of each latent too, which the "
        "best function of the leaves below it reaches."
    )
    columns = table(
        ("node", "label", "parent", "x", "depth", "polarity", "before", "after", "ceiling"), rows
    )  # fmt: skip
    facts = {"networks": trace.network.ensemble, "steps": trace.steps[-1]}
    title = "What the best neuron of each latent knows of it, before and after training"
    before, after = (one[tree.root] for one in known)
    alt = f"The tree twice; at the root the correlation goes from {before:.2f} before training to {after:.2f} after it."
    return FigureData("tree-correlation", "tree", title, caption, columns, facts, command(6, context), alt)


def by_level(values: Array, tree: HLTM) -> dict[int, Array]:
    """Mean of values (latents, members) by level; level 1 is above the leaves."""
    import numeric

    heights = np.array(numeric.latent_heights(tree))
    return {int(level): values[heights == level].mean(axis=0) for level in sorted(set(heights), reverse=True)}


def training(trace: TrainingTrace, context: Context) -> FigureData:
    """Correlation and operator norm along training by level, with quartiles."""
    import numeric

    tree, population = trace.network.tree, tree_population_of(trace.network)
    rows: list[tuple[Any, ...]] = []

    def add(quantity: str, step: int | None, values: Array) -> None:
        for level, result in by_level(values, tree).items():
            middle, *quartiles = (float(q) for q in np.quantile(result, (0.5, 0.25, 0.75)))
            rows.append((quantity, level, step, middle, *(quartiles if step is not None else (None, None))))

    for step, network in trace.networks():
        add("correlation", int(step), best(network))
        operators = [numeric.tree_covariance_operator(network, population, node) for node in tree.latents]
        add("norm", int(step), np.array([one.flatten(1).norm(dim=1).cpu().numpy() for one in operators]))
    add("ceiling", None, np.array([[ceiling(tree, node)] for node in tree.latents]))
    caption = (
        f"{setting(trace, context)}. For each network the mean over the latents of a level; lines: median over the "
        "networks, bands: their quartiles. Thin lines in the same style: the ceiling of a level, which no "
        "function of the leaves can exceed. Both are exact sums over the leaves, at the root of the normalised "
        "output; norms are those with its own Jacobian."
    )
    columns = table(("quantity", "level", "step", "median", "lower", "upper"), rows)
    facts = {"networks": trace.network.ensemble, "steps": trace.steps[-1]}
    title = "Correlation with the latents and operator norms along training, by level"
    top = {quantity: [row for row in rows if row[:2] == (quantity, rows[0][1])] for quantity in ("correlation", "norm")}
    alt = "Curves with bands for each level; at the root " + " and ".join(
        f"the {quantity} goes from {shown[0][3]:.2g} to {shown[-1][3]:.2g}" for quantity, shown in top.items()
    )
    return FigureData("training-by-level", "training", title, caption, columns, facts, command(6, context), f"{alt}.")
