"""Checked input of tree networks: trees, outputs, widths, weights that fit the tree, populations.

Every refusal is an :class:`hltm.base.errors.InputError` of one line that names the node, the value and the rule.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from hltm import HLTM
from hltm.base.checks import Node, count, integer, show, suggestion
from hltm.base.errors import InputError
from numeric.towers.checks import as_floating, check_finite
from numeric.towers.populations import FinitePopulation

NEURON_LIMIT = 2**24  # of all latents together: every one has its place in an index
_NAMES_SHOWN = 6


def check_tree(tree: object) -> HLTM:
    """Refuse what is no tree.

    Raises
    ------
    InputError
        Not an HLTM.
    """
    if not isinstance(tree, HLTM):
        raise InputError(f"tree of type {type(tree).__name__}: must be an hltm.HLTM")
    return tree


def check_output(output: str) -> str:
    """Refuse an output that is neither linear nor normalised."""
    if output not in ("linear", "normalized"):
        raise InputError(f"output={output!r}: must be 'linear' or 'normalized'")
    return output


def check_width(tree: HLTM, width: int | Mapping[Any, int]) -> dict[Node, int]:
    """Width of every latent."""
    if not isinstance(width, Mapping):
        found = dict.fromkeys(tree.latents, integer(width, "width", 1))
    else:
        _check_nodes(tree, width, "width")
        found = {node: integer(width[node], "width", 1, f" of node {show(node)}") for node in tree.latents}
    if (neurons := sum(found.values())) > NEURON_LIMIT:
        raise InputError(f"width: {count(neurons)} neurons in all latents together, must be at most {NEURON_LIMIT:,}")
    return found


def _check_nodes(tree: HLTM, given: Mapping[Any, Any], what: str) -> None:
    """Refuse a mapping whose keys are not the latents of the tree."""
    for node in given:
        if node not in tree:
            raise InputError(f"{what} of node {show(node)}: not a node of the tree{suggestion(node, tree.latents)}")
        if not tree.children(node):
            raise InputError(f"{what} of node {show(node)}: it is a leaf; only latents have neurons to choose")
    for node in tree.latents:
        if node not in given:
            raise InputError(f"{what} of node {show(node)}: missing; every latent of the tree needs one")


def check_tree_weights(tree: HLTM, weights: Mapping[Any, Any]) -> dict[Node, Tensor]:
    """Weights of every latent as ``(E, n_out, n_in)``, fitting the tree and each other."""
    if not isinstance(weights, Mapping):
        raise InputError(f"weights of type {type(weights).__name__}: must be a mapping of latents to matrices")
    _check_nodes(tree, weights, "weights")
    held: dict[Node, Tensor] = {}
    for node in tree.latents:
        place = f"weights of node {show(node)}"
        matrix = as_floating(weights[node], place).detach().clone()
        if matrix.ndim not in (2, 3) or 0 in matrix.shape:
            rule = "must be (n_out, n_in) or (ensemble, n_out, n_in) with positive sizes"
            raise InputError(f"{place}: shape {tuple(matrix.shape)}: {rule}")
        check_finite(matrix, place)
        held[node] = matrix
    top = held[tree.root]
    for node, matrix in held.items():
        place, shape = f"weights of node {show(node)}: shape {tuple(matrix.shape)}", top.shape[:-2]
        widths = {child: held[child].shape[-2] if child in held else 1 for child in tree.children(node)}
        if matrix.shape[-1] != sum(widths.values()):
            parts = [f"{show(child)} ({width})" for child, width in list(widths.items())[:_NAMES_SHOWN]]
            named = ", ".join(parts) + (", ..." if len(widths) > _NAMES_SHOWN else "")
            raise InputError(f"{place}: must have {sum(widths.values())} columns, the neurons of its children {named}")
        if matrix.shape[:-2] != shape:
            raise InputError(f"{place}: must have the ensemble axis of node {show(tree.root)}: {tuple(top.shape)}")
        if matrix.dtype != top.dtype or matrix.device != top.device:
            kinds = f"{matrix.dtype} on {matrix.device} beside {top.dtype} on {top.device} of node {show(tree.root)}"
            raise InputError(f"{place}: {kinds}: all weights must share dtype and device")
    return {node: matrix if matrix.ndim == 3 else matrix.unsqueeze(0) for node, matrix in held.items()}


def check_tree_population(tree: HLTM, population: FinitePopulation, dtype: torch.dtype, device: torch.device) -> None:
    """Refuse a population whose points the network cannot read.

    Raises
    ------
    InputError
        Another dimension than the tree has leaves, another dtype or device than the weights.
    """
    leaves = len(tree.leaves)
    if population.dimension != leaves:
        raise InputError(f"population of dimension {population.dimension}: must be {leaves}, one for each leaf")
    points = population.points
    if points.dtype != dtype or points.device != device:
        kinds = f"{points.dtype} on {points.device} before weights of {dtype} on {device}"
        raise InputError(f"population: {kinds}: must share dtype and device; use population.to")
