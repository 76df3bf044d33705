"""Data of the figures of statement 6: an operator derived beside measured, what trained networks know by level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import hltm
from verify.engine.statement import Context, command
from verify.figures.data import FigureData, table
from verify.instances import samples
from verify.instances.instance import freeze
from verify.training.lucky import ceiling
from verify.training.trees import population_of
from verify.trees.forms import as_exact, exact_weights, sympy_number
from verify.trees.instance import TreeInstance
from verify.trees.lucky_floats import correlation, neurons_at
from verify.trees.ways import floats, torch_sides

if TYPE_CHECKING:
    from torch import Tensor

    from hltm import HLTM
    from numeric import TrainingTrace, TreeNetwork
    from verify.towers.tower import Array

OUTPUTS, NEURONS = 2, 4
LOWEST = 1e-21
WIDTH, TAU, RATE, BATCH, STEPS, RECORDS = 8, 0.1, 0.1, 128, 300, 15


def figures(context: Context) -> tuple[FigureData, ...]:
    """All figures of the statement."""
    trace = trained(context)
    return operator(context), tree_figure(trace, context), training(trace, context)


def operator_instance(seed: int) -> TreeInstance:
    """A complete tree of depth 2 with a leaky ReLU network, two outputs and four neurons at each other latent."""
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
    """Entries and eigenvalues of both sides."""
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
    """Networks of 8 leaves trained with InfoNCE and a normalised output, from weights of their own each."""
    import numeric

    seed = samples.derived(context.seed, "figure, training")
    tree = hltm.complete_tree(3, 2, (0.7, 1.0), seed=seed)
    members = context.pick(quick=10, thorough=48)
    network = numeric.TreeNetwork(tree, WIDTH, 0.0, "normalized", seed, ensemble=members, device=context.device)
    steps = context.pick(quick=STEPS, thorough=4 * STEPS)
    return numeric.train(
        network, tree, "infonce", tau=TAU, lr=RATE, batch=BATCH, steps=steps, seed=seed, record_every=steps // RECORDS
    )


def setting(trace: TrainingTrace, context: Context) -> str:
    """How the networks were trained, in words."""
    return (
        f"{trace.network.ensemble} networks of {WIDTH} neurons a latent on a complete tree of 8 leaves, trained with "
        f"InfoNCE (tau = {TAU}, B = {BATCH}, rate {RATE}, {trace.steps[-1]} steps, normalised output; "
        f"seed {context.seed})"
    )


def best(network: TreeNetwork) -> Array:
    """Best absolute correlation of a neuron with its latent, (latents, members), over the enumerated leaves."""
    tree = network.tree
    found = {node: neurons_at(network, node).correlation for node in tree.latents[1:]}
    found[tree.root] = output_correlation(network)
    return np.array([found[node].abs().amax(-1).cpu().numpy() for node in tree.latents])


def output_correlation(network: TreeNetwork) -> Tensor:
    """Correlation of every output, normalised if the network's are, with the root, (members, outputs)."""
    import torch

    population = population_of(network)
    outputs, law = network.forward(population.points[0]), population.augmentation_weights
    mean = torch.einsum("zc,ecn->zen", law, outputs)
    variance = torch.einsum("zc,zecn->zen", law, (outputs - mean[:, :, None]).square())
    return correlation(float(population.point_weights[1]), mean, variance)[0]


def tree_figure(trace: TrainingTrace, context: Context) -> FigureData:
    """The tree, its latents coloured by the best correlation before and after training, mean over networks."""
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
    """Level, 1 above leaves, to the mean over its latents of values (latents, members)."""
    import numeric

    heights = np.array(numeric.latent_heights(tree))
    return {int(level): values[heights == level].mean(axis=0) for level in sorted(set(heights), reverse=True)}


def training(trace: TrainingTrace, context: Context) -> FigureData:
    """Correlation and operator norm by level at every record, median and quartiles over the networks."""
    import numeric

    tree, population = trace.network.tree, population_of(trace.network)
    rows: list[tuple[Any, ...]] = []

    def add(quantity: str, step: int | None, values: Array) -> None:
        for level, found in by_level(values, tree).items():
            middle, *quartiles = (float(q) for q in np.quantile(found, (0.5, 0.25, 0.75)))
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
