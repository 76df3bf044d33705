"""Statement 5's formulas in any arithmetic, and mutants of them.

`Neurons` holds the weights, and the gated inputs x~_j = d_j x of every augmented point. The
formulas use only `+`, `*` and `@`, so that they serve exact rationals and float64 alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from flint import fmpq

import numeric
from verify.engine.evidence import Kind
from verify.engine.rewrites import in_convention, left, right, without_assumption
from verify.engine.statement import Variant
from verify.instances.in_torch import arrays_of, weights_of
from verify.instances.instance import PopulationInstance
from verify.towers.population import probabilities, to_float, weighted_sum
from verify.towers.tower import Array, array, gate, rational

# The cheapest first: the search for a counterexample stops at the first kind that does not refute.
ALL: tuple[Kind, ...] = ("float", "exact", "trained")


@dataclass(frozen=True, eq=False)
class Neurons:
    """A network of one hidden layer on a population of M points with A augmentations each."""

    first: Array
    second: Array
    inputs: Sequence[Sequence[Array]] | Array
    gates: Sequence[Sequence[Array]] | Array
    p: Sequence[Any]
    q: Sequence[Sequence[Any]]

    def means(self, gated: bool = True) -> list[Array]:
        """E_aug[x~_j] of every point, shape (n_1, n_0); with `gated` False the gates are left out."""
        rows = []
        for xs, ds, weights in zip(self.inputs, self.gates, self.q, strict=True):
            kept = [d if gated else d * 0 + 1 for d in ds]
            rows.append(weighted_sum([np.outer(d, x) for d, x in zip(kept, xs, strict=True)], weights))
        return rows

    @cached_property
    def blocks(self) -> Array:
        """A_jk = Cov_x(E_aug x~_j, E_aug x~_k) at [j, :, k, :], shape (n_1, n_0, n_1, n_0)."""
        return covariance(self.means(), self.p)


def exact_neurons(instance: PopulationInstance) -> Neurons:
    """The quantities in exact rationals; gates from the pre-activations, at zero by the convention of section 0."""
    first, second = (array(w, rational) for w in instance.weights)
    inputs = [[array(x, rational) for x in point] for point in instance.points]
    gates = [[gate(first @ x, rational(instance.slope), fmpq(1)) for x in row] for row in inputs]
    return Neurons(first, second, inputs, gates, *probabilities(instance))


def float_neurons(instance: PopulationInstance, device: str = "cpu") -> Neurons:
    """The quantities in float64, the gates by `numeric`."""
    import torch

    points = np.asarray(instance.points)
    flat = torch.as_tensor(points.reshape(-1, points.shape[2]), device=device)
    weights = weights_of(instance, device)
    (gates,) = arrays_of(numeric.trace(weights, flat, instance.slope).gates)
    first, second = arrays_of(weights)
    p, q = probabilities(instance)
    rows = [[to_float(w) for w in row] for row in q]
    return Neurons(first, second, points, gates.reshape(*points.shape[:2], -1), [to_float(w) for w in p], rows)


def covariance(values: Sequence[Array], p: Sequence[Any]) -> Array:
    """Cov_x(m_j, m_k) of rows m_j(x) of arrays (n_1, n_0), shape (n_1, n_0, n_1, n_0)."""
    shape = values[0].shape
    flat = [value.reshape(-1) for value in values]
    mean = weighted_sum(flat, p)
    result = weighted_sum([np.outer(v, v) for v in flat], p) - np.outer(mean, mean)
    return result.reshape(*shape, *shape)


def first_update(neurons: Neurons, blocks: Array, coupling: Array) -> Array:
    """Rows sum_k coupling_jk A_jk w_1k, shape (n_1, n_0)."""
    hidden = range(len(neurons.first))
    rows = [sum(blocks[j, :, k, :] @ neurons.first[k] * coupling[j, k] for k in hidden) for j in hidden]
    return np.stack(rows)


def activation_covariance(neurons: Neurons, blocks: Array) -> Array:
    """Cov_x[E_aug f_1], entries w_1j^T A_jk w_1k, shape (n_1, n_1)."""
    hidden = range(len(neurons.first))
    return np.stack(
        [np.stack([neurons.first[j] @ (blocks[j, :, k, :] @ neurons.first[k]) for k in hidden]) for j in hidden]
    )


def stated(neurons: Neurons) -> tuple[Array, Array]:
    """d w_1j = sum_k (w_2j^T w_2k) A_jk w_1k and d W_2 = W_2 Cov_x[E_aug f_1]; one-branch."""
    return from_blocks(neurons, neurons.blocks)


def from_blocks(neurons: Neurons, blocks: Array) -> tuple[Array, Array]:
    """The block form with other blocks A_jk."""
    coupling = neurons.second.T @ neurons.second
    return first_update(neurons, blocks, coupling), neurons.second @ activation_covariance(neurons, blocks)


def decoupled(neurons: Neurons) -> tuple[Array, Array]:
    """d w_1j = ||w_2j||^2 A_jj w_1j and d w_2j = (w_1j^T A_jj w_1j) w_2j, where A_jk = 0 for j != k."""
    first, second = np.zeros_like(neurons.first), np.zeros_like(neurons.second)
    for j, own in enumerate(neurons.first):
        out = neurons.second[:, j]
        moved = neurons.blocks[j, :, j, :] @ own
        first[j], second[:, j] = moved * (out @ out), out * (own @ moved)
    return first, second


def absolute_coupling(neurons: Neurons) -> tuple[Array, Array]:
    """|w_2j^T w_2k| in place of w_2j^T w_2k."""
    _, second = stated(neurons)
    return first_update(neurons, neurons.blocks, np.abs(neurons.second.T @ neurons.second)), second


def second_moment(neurons: Neurons) -> tuple[Array, Array]:
    """A_jk = E[m_j m_k^T], the product of the means left out."""
    values = neurons.means()
    raw = weighted_sum([np.outer(v.reshape(-1), v.reshape(-1)) for v in values], neurons.p)
    return from_blocks(neurons, raw.reshape(*values[0].shape, *values[0].shape))


def ungated(neurons: Neurons) -> tuple[Array, Array]:
    """A_jk = Cov_x(E_aug x, E_aug x): the gates dropped."""
    return from_blocks(neurons, covariance(neurons.means(gated=False), neurons.p))


def not_averaged(neurons: Neurons) -> tuple[Array, Array]:
    """A_jk = Cov(x~_j, x~_k) over augmented inputs: E_aug dropped."""
    pairs = [(d, x) for ds, xs in zip(neurons.gates, neurons.inputs, strict=True) for d, x in zip(ds, xs, strict=True)]
    joint = [w * v for w, row in zip(neurons.p, neurons.q, strict=True) for v in row]
    return from_blocks(neurons, covariance([np.outer(d, x) for d, x in pairs], joint))


def transposed(neurons: Neurons) -> tuple[Array, Array]:
    """A_kj in place of A_jk."""
    first = first_update(neurons, neurons.blocks.transpose(2, 1, 0, 3), neurons.second.T @ neurons.second)
    return first, stated(neurons)[1]


def half(neurons: Neurons) -> tuple[Array, Array]:
    """Half of the block form: with it the one-branch formula is claimed for the shared update."""
    first, second = stated(neurons)
    return first / 2, second / 2


Sides = Callable[[Neurons], tuple[Array, Array]]


@dataclass(frozen=True)
class Claim:
    """The update, sign and drift of conservation, and whether linear neurons separate: the parts of the claim."""

    update: Sides = stated
    sign: int = -1
    drift: int = 1
    separates: bool = False


STATED = Claim()
ONE_SYMBOL = "what A_jk is made of changes, which the claim has one symbol for"


def with_plus(difference: Any) -> Any:
    """The sum of two squares for their difference."""
    from sympy import MatAdd, MatMul

    return MatAdd(*(MatMul(-1, term).doit() if term.as_coeff_mmul()[0] < 0 else term for term in difference.args))


def identity(zero: Any) -> Any:
    """The identity in place of a zero matrix."""
    from sympy import Identity

    return Identity(zero.shape[0])


def block_transposed(total: Any) -> Any:
    """``A_jk^T`` for ``A_jk`` in the sum over k."""
    from sympy import MatrixSymbol, Transpose

    blocks = [symbol for symbol in total.atoms(MatrixSymbol) if symbol.role == "gated covariance"]
    return total.xreplace({block: Transpose(block) for block in blocks})


VARIANTS = (
    Variant(
        "decoupled-without-decoupling",
        "A_jk left out for j != k",
        Claim(decoupled),
        ALL,
        rewrite=without_assumption("A_jk = 0 for j != k").of(claim="decoupled"),
    ),
    Variant(
        "conserved-with-plus",
        "||w_1j||^2 + ||w_2j||^2 is conserved",
        replace(STATED, sign=1),
        ALL,
        rewrite=left(lambda rate: rate.func(with_plus(rate.args[0]))).of(claim="conserved"),
    ),
    Variant(
        "absolute-coupling",
        "|w_2j^T w_2k| in place of w_2j^T w_2k",
        Claim(absolute_coupling),
        ALL,
        rewrite="the absolute value of a product of two columns is no matrix expression of SymPy",
    ),
    Variant("second-moment", "E[m_j m_k^T] in place of the covariance", Claim(second_moment), ALL, rewrite=ONE_SYMBOL),
    Variant(
        "factor-two-missing",
        "the one-branch form for the shared update",
        Claim(half),
        ALL,
        rewrite=in_convention("shared").of(claim="block"),
    ),
    Variant("gates-dropped", "A_jk = Cov_x(E_aug x, E_aug x)", Claim(ungated), ALL, rewrite=ONE_SYMBOL),
    Variant(
        "not-averaged", "A_jk without the average over augmentations", Claim(not_averaged), ALL, rewrite=ONE_SYMBOL
    ),
    Variant(
        "block-transposed",
        "A_kj in place of A_jk",
        Claim(transposed),
        ALL,
        rewrite=right(block_transposed).of(claim="block"),
    ),
    Variant(
        "linear-neurons-separate",
        "linear neurons part what has one mean",
        replace(STATED, separates=True),
        ALL,
        rewrite=right(identity).of(claim="ring"),
    ),
    Variant(
        "descent-conserves",
        "conserved at a finite learning rate too",
        replace(STATED, drift=0),
        ("exact", "trained"),
        rewrite="the claim is about the flow; a step of descent has no relation in it",
    ),
)
