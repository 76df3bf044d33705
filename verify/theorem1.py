r"""Theorem 1 [dual-gradient]: the gradient of the squared distance of two towers.

Statement
    ``vec(dr/dW_{1,l}) = K_{1,l} (K_{1,l}^T vec W_{1,l} - K_{2,l}^T vec W_{2,l})`` with ``r = 1/2 ||f_1 - f_2||^2`` and
    the connection ``K_l(x) = f_{l-1}(x) kron J_l(x)^T``, for every layer l and any two weight sets.
Assumptions
    No biases; a piecewise-linear homogeneous activation (ReLU, leaky ReLU, linear); no activation on the top layer.
    Extension: an l2-normalised output, with forward connection ``J/||u||`` and backward connection ``P J/||u||``.
Evidence
    Symbolic: identically zero residual with symbolic gates, for given widths and for all sizes. Exact: central
    differences in rationals against the formula, residual 0. Float: automatic differentiation against `numeric`.
    Trained: towers of checkpoints of gradient descent.
Not covered
    Biases with ReLU, smooth activations and batch normalisation break it; the update that follows from it is
    Theorem 3.
Source
    arXiv 2010.00578, Theorem 1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from verify.engine import kernel
from verify.engine.assumptions import names
from verify.engine.claims import Claimed
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import right, rows_stacked, scaled, times
from verify.engine.runner import proof_evidence
from verify.engine.search import searched
from verify.engine.statement import Check, Context, PaperRelation, Statement, Variant
from verify.instances import samples
from verify.instances.instance import PairInstance
from verify.strategies import pair_instances
from verify.tolerance import rounding
from verify.towers import autograd, figures, relations, tower
from verify.towers.assumptions import TOWERS
from verify.towers.autograd import measure_normalized
from verify.towers.population import pair_gradient
from verify.towers.tower import Array, Tower, connection, exact_tower, measure_differences, vec
from verify.training.towers import pairs_along

SLUG = "dual-gradient"
Formula = Callable[[Tower, Tower, int], Array]


def stated(one: Tower, two: Tower, layer: int) -> Array:
    """K_1 (K_1^T vec W_1 - K_2^T vec W_2) for one layer."""
    return with_connection(connection)(one, two, layer)


def with_connection(k: Callable[[Tower, int], Array]) -> Formula:
    """The formula with another definition of the connection."""

    def formula(one: Tower, two: Tower, layer: int) -> Array:
        w_1, w_2 = vec(one.weights[layer - 1]), vec(two.weights[layer - 1])
        return k(one, layer) @ (k(one, layer).T @ w_1 - k(two, layer).T @ w_2)

    return formula


def with_second(factor: int = -1, in_front: bool = False) -> Formula:
    """The formula with another factor of the second tower's term, or with its connection in front."""

    def formula(one: Tower, two: Tower, layer: int) -> Array:
        k_1, k_2 = connection(one, layer), connection(two, layer)
        difference = k_1.T @ vec(one.weights[layer - 1]) + k_2.T @ vec(two.weights[layer - 1]) * factor
        return (k_2 if in_front else k_1) @ difference

    return formula


def row_stacked(one: Tower, two: Tower, layer: int) -> Array:
    """vec by rows with the connection of the columns."""
    k_1, k_2 = connection(one, layer), connection(two, layer)
    return k_1 @ (k_1.T @ tower.row_stacked(one, layer) - k_2.T @ tower.row_stacked(two, layer))


def half_missing(one: Tower, two: Tower, layer: int) -> Array:
    """The gradient of ||f_1 - f_2||^2 in place of 1/2 ||f_1 - f_2||^2."""
    return stated(one, two, layer) * 2


# Mutants as rewrites of the claim.

OF_THE_NETWORK = "what the connection is made of changes, which the claim has one symbol for"


def second_tower(side: Any, factor: int) -> Any:
    """``K_1 (K_1^T w_1 + factor K_2^T w_2)``."""
    import sympy

    front, difference = side.args
    own, other = sorted(difference.args, key=lambda term: not term.has(front))
    rest = [scaled(other, -factor)] if factor else []
    return sympy.MatMul(front, sympy.MatAdd(own, *rest) if rest else own)


def in_front(side: Any) -> Any:
    """The connection of the second tower in front."""
    from sympy import MatMul, MatrixSymbol

    front, difference = side.args
    connections = {symbol for symbol in difference.atoms(MatrixSymbol) if symbol.role == "connection"}
    return MatMul((connections - {front}).pop(), difference)


VARIANTS = (
    Variant(
        "kronecker-order",
        "K = J^T kron f in place of f kron J^T",
        with_connection(tower.swapped),
        rewrite=right(lambda k: k.func(*reversed(k.args)), 3),
    ),
    Variant("row-stacking", "vec by rows in place of columns", row_stacked, rewrite=right(rows_stacked)),
    Variant(
        "second-tower-sign",
        "K_1 (K_1^T w_1 + K_2^T w_2)",
        with_second(factor=1),
        rewrite=right(lambda side: second_tower(side, 1)),
    ),
    Variant(
        "second-tower-dropped",
        "K_1 K_1^T w_1: K_2 left out",
        with_second(factor=0),
        rewrite=right(lambda side: second_tower(side, 0)),
    ),
    Variant(
        "second-tower-in-front", "K_2 in front in place of K_1", with_second(in_front=True), rewrite=right(in_front)
    ),
    Variant(
        "jacobian-after-gate",
        "J_l = d f_L / d f_l in place of d f_L / d p_l",
        with_connection(tower.after_gate),
        rewrite=OF_THE_NETWORK,
    ),
    Variant(
        "gate-on-top", "an activation on the top layer", with_connection(tower.gate_on_top), rewrite=OF_THE_NETWORK
    ),
    Variant("half-missing", "r = ||f_1 - f_2||^2 without its 1/2", half_missing, rewrite=times(2, 2)),
)


def measure_exact(instance: PairInstance, formula: Formula | None = None) -> Measurement:
    """Central differences against the formula, in rationals: any difference refutes."""
    gradient, kinked = pair_gradient(instance)
    one = exact_tower(instance.weights_1, instance.x_1, instance.slope)
    two = exact_tower(instance.weights_2, instance.x_2, instance.slope)
    layers = enumerate(gradient, start=1)
    sides = ((layer, vec(left), (formula or stated)(one, two, layer)) for layer, left in layers)
    return measure_differences(
        (left - right, f"layer {layer}{' on a kink' if kinked else ''}", right, left) for layer, left, right in sides
    )


@rounding.quiet
def measure_float(instance: PairInstance, formula: Formula | None = None, device: str = "cpu") -> Measurement:
    """Automatic differentiation against the formula on `numeric`'s connections, in float64."""
    gradient, one, two, bounds, near = autograd.pair_sides(instance, device)
    worst = Measurement(0.0, float(max(b.max() for b in bounds)))
    for layer, bound in enumerate(bounds, start=1):
        right = (formula or stated)(one, two, layer)
        worst = rounding.worse_of(worst, right, vec(gradient[layer - 1]), bound, f"layer {layer}")
    return worst if not near else Measurement(worst.residual, worst.tolerance, False, "a gate is near its kink")


def symbolic(context: Context) -> Evidence:
    """All derivations: given widths, all sizes, and the normalised output."""
    options: list[dict[str, object]] = [
        {"widths": (3, 2, 2)},
        {"widths": (2, 2, 2, 2)},
        {"widths": None},
        {"widths": (2, 2, 2), "output": "normalized"},
        {"widths": None, "output": "normalized"},
    ]
    return proof_evidence(SLUG, options)


def exact(context: Context) -> Evidence:
    """Random rational networks: residual exactly zero."""
    count = context.pick(quick=60, thorough=1000)
    return tally(
        "exact", "toy", samples.toy_pairs(context.seed, count), measure_exact,
        at_least=count, detail="central differences in rationals = K_1 (K_1^T w_1 - K_2^T w_2)",
    )  # fmt: skip


def floats(source: str, context: Context) -> Evidence:
    """Automatic differentiation in float64 on toys, tree leaves or digits."""
    count = context.pick(quick=60, thorough=1000)
    instances = {
        "toy": lambda: samples.toy_pairs(context.seed + 1, count, layers=5, width=8),
        "tree": lambda: samples.pairs_of(samples.tree_populations(context.seed, 3), context.seed, count // 3),
        "digits": lambda: samples.pairs_of(samples.digit_populations(context.seed, 3), context.seed, count // 3),
    }[source]()
    return tally(
        "float", source, instances, lambda i: measure_float(i, device=context.device),
        at_least=count // 2, detail="autograd in float64 = K_1 (K_1^T w_1 - K_2^T w_2)",
    )  # fmt: skip


def normalized(context: Context) -> Evidence:
    """The reversible extension on toys and digits."""
    count = context.pick(quick=30, thorough=300)
    instances = [
        *samples.toy_pairs(context.seed + 2, count, layers=3, width=6),
        *samples.pairs_of(samples.digit_populations(context.seed + 2, 3), context.seed, 2),
    ]
    return tally(
        "float", "toy, digits", instances, lambda i: measure_normalized(i, context.device),
        at_least=count // 2, detail="l2-normalised output: autograd = K^b_1 (K^fT_1 w_1 - K^fT_2 w_2)",
    )  # fmt: skip


STAGES: tuple[Callable[[], Any], ...] = (*(partial(pair_instances, *size) for size in samples.SIZES), pair_instances)
properties = searched(measure_exact, measure_float, STAGES, quick=120, thorough=3000, among="shrinking pairs of towers")


def trained(context: Context) -> Evidence:
    """Towers of two checkpoints of a run of gradient descent."""
    return pairs_along(context, lambda pair, device: measure_float(pair, device=device))


CLAIMED = Claimed(SLUG, lambda: [{"widths": None}])
STATEMENT = Statement(
    slug=SLUG,
    theorem=1,
    title="gradient of the squared distance of two towers",
    stated=CLAIMED,
    assumptions=names(TOWERS),
    not_covered=("biases with ReLU", "smooth activations", "batch normalisation"),
    source="arXiv 2010.00578, Theorem 1",
    relation_to_paper=PaperRelation(
        "as printed",
        "no difference is known; the form for normalised outputs is stated apart",
        "the project's notes, written without the paper's text; number and wording were not compared with it",
        "low",
    ),
    checks=(
        Check("symbolic", "proof", symbolic),
        Check("kernel", "theorem", partial(kernel.theorems, SLUG)),
        Check("kernel", "identities", partial(kernel.identities, SLUG)),
        Check("exact", "toy", exact),
        Check("exact", "claim", partial(relations.pairs, "rational")),
        Check("float", "claim", partial(relations.pairs, "float64")),
        *(Check("float", source, partial(floats, source)) for source in ("toy", "tree", "digits")),
        Check("float", "toy, digits", normalized),
        Check("property", "search", properties),
        Check("trained", "descent", trained),
    ),
    stages=STAGES,
    measures={"exact": measure_exact, "float": measure_float},
    instance_type=PairInstance,
    variants=VARIANTS,
    drops=TOWERS,
    figures=partial(figures.separation, measure_float, VARIANTS),
)

if __name__ == "__main__":
    from verify.cli import run_statement

    run_statement(SLUG)
