r"""Pack spectral-loss: the spectral contrastive loss and the family of Cabannes et al.

Statement
    ``L = -2 E[f(x_1)^T f(x_+)] + E[(f(x_1)^T f(x'_1))^2] = ||Abar - F F^T||^2 - ||Abar||^2``: its gradient, the
    spectrum of Abar, the minimum ``-sum lambda_i^2`` and where it lies, the update of a layer, and the family with a
    weight beta.
Assumptions
    Independent augmentations; nodes of positive probability; a homogeneous tower for the operator form; von Neumann's
    trace inequality, which is cited, for the lower bound.
Evidence
    Symbolic: matrix identities of all sizes, the algebra of expectations. Exact: the literal sums in rationals and
    balls, gradients by power series, certified eigenvalues. Float: `numeric`'s losses, and the graph in float64 with
    running bounds of the error. Trained: descent to the minimum.
Not covered
    That the minimiser is the only one (a gap between the eigenvalues k and k+1, equality in von Neumann's inequality).
Source
    HaoChen et al., arXiv 2106.04156; Cabannes et al., arXiv 2302.02774.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from flint import fmpq

from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import left, right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.packs.part import BITS, mutant, once, pack_statement
from verify.packs.spectral_measures import PACK, STAGES, SpectralInstance, adjacency, eigenvalues, in_torch, toy
from verify.towers import balls
from verify.towers.tower import Array

if TYPE_CHECKING:
    from torch import Tensor


# Mutants: rewrites of the claims.


def symbols() -> Any:
    """The symbols of the claims."""
    import theory.packs.spectral

    return theory.packs.spectral


def made(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change of one side that knows the symbols of the claims."""
    return lambda side: change(side, symbols())


def root(s: Any) -> Any:
    from theory.core.quantity import quantity

    return quantity("root of D", "D^{1/2}", s.NODES, s.NODES)


def put(**changes: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Other expressions in place of symbols, by their names in the derivation."""
    return made(lambda side, s: side.xreplace({getattr(s, name): value(s) for name, value in changes.items()}))


def uniform(side: Any, s: Any) -> Any:
    gram, abar = s.OUTPUTS * s.OUTPUTS.T / s.NODES, s.NODES * (root(s) * s.ABAR * root(s))
    return s.square(abar - gram) - s.square(abar)


def excess(s: Any) -> Any:
    """``sum (mu_i - lambda_i)^2``."""
    return s.square(s.OWN_EIGENVALUES - s.EIGENVALUES)


def network_side(change: Callable[[Any], tuple[Any, Any]]) -> Callable[[Any], Any]:
    """The two terms of the operator, ``4 (first - second) vec W``, from the letters of the algebra."""

    def of(_: Any, s: Any) -> Any:
        first, second = change(s.ALPHABET.symbol)
        return 4 * (first - second) * s.WEIGHT

    return made(of)


def mean(*factors: Any) -> Any:
    from sympy import MatMul

    from theory.core.notation import Expect

    return Expect(MatMul(*factors))


def pull(at: Any) -> Any:
    return mean(at("Kbar"), at("Kbar").T)


def push(at: Any, one: Any = None, other: Any = None, *, averaged: bool = False) -> Any:
    """``E[K S K^T]`` with ``S = E[f f^T]``, or another S."""
    k = at("Kbar") if averaged else at("K", "x", "1")
    one = at("f", "y", "1") if one is None else one
    return mean(k, one, (one if other is None else other).T, k.T)


def covariance(at: Any) -> tuple[Any, Any]:
    average = mean(at("Kbar"))
    return pull(at) - average * average.T, push(at)


ENCLOSED = "eigenvectors are certified in balls; in float64 they are the same, rounded"
VARIANTS = (
    mutant("constant", "||Abar - F F^T||^2, the constant left out", "factorisation",
           right(made(lambda _, s: s.square(s.ABAR - s.GRAM)))),
    mutant("rows-by-probability", "F has the rows w_a f(a)", "factorisation", right(put(F=lambda s: root(s) * s.F))),
    mutant("not-normalised", "w_ab for Abar", "factorisation", right(put(ABAR=lambda s: root(s) * s.ABAR * root(s)))),
    mutant("factor-one", "factor 1 in front of the positive pair", "factorisation",
           left(made(lambda side, s: side + s.sympy.Trace(s.F.T * s.ABAR * s.F)))),
    mutant("laplacian", "I - Abar for Abar", "factorisation",
           right(put(ABAR=lambda s: s.Identity(s.NODES) - s.ABAR))),
    mutant("uniform", "all nodes weighted alike", "factorisation", right(made(uniform))),
    mutant("gradient-factor-two", "factor 2 for 4", "gradient", times("1/2")),
    mutant("gradient-by-f", "the gradient by f, not by F", "gradient", right(made(lambda side, s: root(s) * side))),
    mutant("gradient-no-gram", "F F^T left out", "gradient", right(made(lambda _, s: 4 * s.ABAR * s.F))),
    mutant("gradient-oja", "4 (I - F F^T) Abar F", "gradient",
           right(made(lambda _, s: 4 * (s.Identity(s.NODES) - s.GRAM) * s.ABAR * s.F))),
    mutant("form-not-averaged", "E[u^2] for E_x[ubar^2]", "spectrum",
           right(made(lambda _, s: mean(s.NODE_LETTERS.symbol("u", "x", "1"), s.NODE_LETTERS.symbol("u", "x", "1"))))),
    mutant("form-factor-two", "v^T Abar v doubled", "spectrum", times(2)),
    mutant("form-half", "the gap without 1/2", "spectrum",
           right(made(lambda side, s: 2 * side - s.FUNCTION.T * s.ABAR * s.FUNCTION), 2)),
    mutant("top-vector", "w, not its square root, is the eigenvector", "top",
           left(made(lambda _, s: s.ABAR * root(s) * s.ROOTS))),
    mutant("top-value", "the eigenvalue 2", "top", times(2)),
    mutant("top-constants", "Abar 1 = 1", "top",
           left(made(lambda _, s: s.ABAR * s.ROOTS + s.Identity(s.NODES) * s.ROOTS - root(s) * s.ROOTS))),
    mutant("excess-once", "the gap in von Neumann's inequality once, not twice", "minimum",
           right(made(lambda side, s: (side + excess(s)) / 2))),
    mutant("excess-squares", "sum mu_i^2 for sum (mu_i - lambda_i)^2", "minimum",
           right(made(lambda side, s: side + s.square(s.OWN_EIGENVALUES) - excess(s)))),
    mutant("excess-linear", "L + sum lambda_i", "minimum",
           left(made(lambda _, s: s.LOSS + s.sympy.Trace(s.EIGENVALUES)))),
    mutant("minimum-linear", "-sum lambda_i", "minimiser", right(made(lambda _, s: -s.sympy.Trace(s.EIGENVALUES)))),
    mutant("minimum-one-more", "k + 1 eigenvalues", "minimiser", right(made(lambda side, s: side - s.NEXT**2))),
    mutant("minimum-constant", "the constant direction left out", "minimiser",
           right(made(lambda side, s: side + 1 - s.NEXT**2))),
    once(mutant("minimiser-projector", "F F^T = Pi, eigenvalues 1", "minimiser",
                left(made(lambda _, s: s.PROJECTOR), 3)), "exact", ENCLOSED),
    once(mutant("critical-projector", "Abar F F^T = F F^T", "minimiser",
                right(made(lambda _, s: s.LEADING), 2)), "exact", ENCLOSED),
    once(mutant("critical-twice", "Abar F F^T = 2 F F^T F F^T", "minimiser", times(2, 2)), "exact", ENCLOSED),
    mutant("operator-covariance", "V_x[Kbar] for E_x[Kbar Kbar^T]", "network", right(network_side(covariance))),
    mutant("operator-not-averaged", "E[K K^T] for E_x[Kbar Kbar^T]", "network",
           right(network_side(lambda at: (mean(at("K", "x", "1"), at("K", "x", "1").T), push(at))))),
    mutant("operator-centred", "S = Cov f", "network",
           right(network_side(lambda at: (pull(at), push(at) - push(at, at("f", "y", "1"), at("f", "z", "1")))))),
    mutant("operator-means", "S = E_x[fbar fbar^T]", "network",
           right(network_side(lambda at: (pull(at), push(at, at("fbar", "y", "")))))),
    mutant("operator-mean-connections", "Kbar S Kbar^T", "network",
           right(network_side(lambda at: (pull(at), push(at, averaged=True))))),
    mutant("operator-factor-two", "factor 2 for 4", "network", times("1/2")),
    mutant("general-means", "E_x[Kbar S fbar]", "any-network",
           right(made(lambda _, s: 4 * (mean(s.ALPHABET.symbol("Kbar"), s.ALPHABET.symbol("fbar")) - mean(
               s.ALPHABET.symbol("Kbar"), s.ALPHABET.symbol("f", "y", "1"), s.ALPHABET.symbol("f", "y", "1").T,
               s.ALPHABET.symbol("fbar")))))),
    mutant("general-factor-two", "factor 2 for 4", "any-network", times("1/2")),
    mutant("general-sign", "ascent", "any-network", times(-1)),
    mutant("family-weight", "B = beta I + (1 - beta) Abar", "family",
           right(put(INVARIANCE=lambda s: 1 - s.INVARIANCE))),
    mutant("family-constant", "without k", "family", right(made(lambda side, s: side - s.FEATURES))),
    mutant("family-spectral", "B = Abar", "family", right(put(INVARIANCE=lambda s: s.sympy.S.One))),
)  # fmt: skip


# Assumptions, dropped in turn: the literal loss of a table of outputs under other laws, against the matrix form.


HALF = fmpq(1, 2)


def factorised(joint: Array, outputs: Array) -> fmpq:
    """``||Abar - F F^T||^2 - ||Abar||^2`` for nodes of one probability w: ``Abar = w_ab / w``."""
    chance = joint[0].sum()
    abar, gram = joint / chance, chance * np.outer(outputs, outputs)
    total: fmpq = ((abar - gram) ** 2).sum() - (abar**2).sum()
    return total


def loss_under(positive: Array, other: Array, outputs: Array) -> fmpq:
    """``-2 E[f(a) f(a_+)] + E[(f(a) f(a'))^2]`` with the laws of the pairs (a, a_+) and (a, a')."""
    products = np.outer(outputs, outputs)
    total: fmpq = (other * products**2).sum() - 2 * (positive * products).sum()
    return total


def fractions(*rows: tuple[fmpq | int, ...]) -> Array:
    return np.array([[fmpq(entry) for entry in row] for row in rows], dtype=object)


def pairs_that_are_equal(_: Context) -> Iterator[Sides]:
    """One point, two nodes of probability 1/2, f = 0 and 2: independent augmentations make all pairs alike."""
    independent, same = fractions((HALF / 2, HALF / 2), (HALF / 2, HALF / 2)), fractions((HALF, 0), (0, HALF))
    (f,) = fractions((0, 2))
    literal_loss = loss_under(same, independent, f)
    yield Sides(
        "nodes f = 0, 2, x_+ = x_1", "L, ||Abar - F F^T||^2 - ||Abar||^2", literal_loss, factorised(independent, f)
    )


def other_node_of_the_point(_: Context) -> Iterator[Sides]:
    """Two points with one node each, f = 1 and 0, of probability 1/2: Abar = I."""
    own = fractions((HALF, 0), (0, HALF))
    (f,) = fractions((1, 0))
    yield Sides(
        "nodes f = 1, 0, a' = a_+", "L, ||Abar - F F^T||^2 - ||Abar||^2", loss_under(own, own, f), factorised(own, f)
    )


def no_eigenvectors(_: Context) -> Iterator[Sides]:
    """Abar with the entries 1/2, Pi = diag(1, 0), ``F F^T = Pi Abar Pi``."""
    abar, onto = fractions((HALF, HALF), (HALF, HALF)), fractions((1, 0), (0, 0))
    gram = onto @ abar @ onto
    first, second = abar @ gram, gram @ gram
    yield Sides("Pi = diag(1, 0)", "entry (2, 1) of Abar F F^T, F F^T F F^T", first[1, 0], second[1, 0])


def squared_network(form: str, _: Context) -> Iterator[Sides]:
    """One node, ``f = (w x)^2`` at x = 1, w = 2 with ``K = 2 w``: ``L = -2 w^4 + w^8``."""
    w = fmpq(2)
    k, f = 2 * w, w**2
    falls = 8 * w**3 - 8 * w**7
    ours = 4 * (k * k - k * f * f * k) * w if form == "operator" else 4 * (k * f - k * f * f * f)
    yield Sides("f = (w x)^2, w = 2, x = 1", f"-grad, {form} form", falls, ours)


DROPS = (
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1", pairs_that_are_equal),
    Assumption("the node of the second term is independent", "a' = a_+", other_node_of_the_point),
    Assumption("Pi projects onto eigenvectors of Abar, for the minimiser", "onto a node", no_eigenvectors),
    Assumption("a homogeneous network, for the operator form", "f = (w x)^2", partial(squared_network, "operator")),
    Assumption(
        "a homogeneous network, for the general form", "f = (w x)^2", partial(squared_network, "general"), False
    ),
)


# Trained: descent on the outputs of the nodes.


def measure_descent(instance: SpectralInstance, device: str = "cpu") -> Measurement:
    """The lowest loss that LBFGS finds from two starts against ``-sum_i lambda_i^2``."""
    import torch

    features = len(instance.weights[-1])
    with balls.precision(BITS):
        least = -sum(float(value) ** 2 for value in eigenvalues(adjacency(instance), features))
    generator = torch.Generator().manual_seed(len(instance.inputs))
    reached = []
    for _ in range(2):
        table = torch.randn(len(instance.inputs), features, generator=generator, dtype=torch.float64)
        leaf = table.to(device).requires_grad_()
        descent = torch.optim.LBFGS([leaf], max_iter=200, tolerance_grad=1e-13, line_search_fn="strong_wolfe")

        def closure(leaf: Tensor = leaf, descent: Any = descent) -> Any:
            descent.zero_grad()
            value = in_torch(instance, device, leaf)
            value.backward()
            return value

        descent.step(closure)
        reached.append(float(in_torch(instance, device, leaf.detach())))
    return Measurement(abs(min(reached) - least), 1e-9, detail=f"{features} features, {len(instance.inputs)} nodes")


def descent(context: Context) -> Evidence:
    """Descent from random outputs."""
    count = context.pick(quick=2, thorough=40)
    return tally(
        "trained", "descent", toy(context.seed + 2, count, points=4), partial(measure_descent, device=context.device),
        at_least=count, detail="the loss that descent reaches = -sum lambda_i^2",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="spectral contrastive loss: a factorised graph",
    source="HaoChen et al., arXiv 2106.04156; Cabannes et al., arXiv 2302.02774",
    not_covered=(
        "that F F^T = Pi Abar is the only minimiser: it needs a gap between the eigenvalues k and k + 1",
        "a finite sample of the graph",
    ),
    relation=PaperRelation(
        "own form",
        "the factorisation is the paper's; the excess over the minimum as an identity, and the operator, are our own",
        "notes on arXiv 2106.04156 and 2302.02774, not their text",
        "low",
    ),
    instance_type=SpectralInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    assumptions=("von Neumann's trace inequality (1937), for the lower bound",),
    checks=(Check("trained", "descent", descent),),
)
