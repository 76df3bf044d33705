"""All covariance operators against enumeration in fractions or balls, by one conformance class."""

import importlib.util
import math
import sys
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import sympy
import torch
from flint import ctx

import hltm
import theory
from numeric import (
    FinitePopulation,
    TreeNetwork,
    covariance_operator,
    covariance_operator_product,
    forward,
    loss_spec,
    pair_matrix,
    population_gradient,
    predicted_update,
    tree_activation_covariance,
    tree_covariance_operator,
    tree_population_gradient,
    tree_update,
    vec,
)
from numeric.towers.operator import pair_laplacian
from numeric.trees import operator as tree_operator

sys.path.insert(0, str(Path(__file__).parent))
from conformance import EPS, Operator, OperatorConformance, Update, UpdateConformance


def oracles(folder):
    """The module of the oracles of another folder, which share no code with the packages."""
    path = Path(__file__).parents[1] / folder / "conftest.py"
    spec = importlib.util.spec_from_file_location(f"oracles_of_{folder}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ORACLE, TREES = oracles("numeric"), oracles("theory")
EXACT = ORACLE.Exact()
SEEDS = range(3)
LOSSES = (
    ("triplet", (("tau", 0.5), ("margin", 0.25))),
    ("infonce", (("tau", 2.0),)),
    ("infonce", (("tau", 1.0), ("negatives", 2))),
    ("infonce", (("tau", 0.5), ("negatives", 3))),
)


def pytest_generate_tests(metafunc):
    for name, attribute in (("case", "cases"), ("update_case", "update_cases")):
        if name in metafunc.fixturenames:
            cases = getattr(metafunc.cls, attribute)
            metafunc.parametrize(name, cases, ids=["-".join(map(_text, case)) for case in cases])


def _text(value):
    """A part of the id of a case; losses come as name and options."""
    return "-".join(map(_text, value)) if isinstance(value, tuple) else str(value)


def double(values):
    return torch.tensor(np.array(values, dtype=float))


# Towers


@cache
def tower_case(seed, widths, loss):
    """Weights and population; both are dyadic."""
    size, augmentations = 4, 2
    weights = ORACLE.tower(seed, widths)
    weights = weights if loss[0] == "simple" else [w / 2 for w in weights]
    return weights, ORACLE.population(seed, size, augmentations, widths[0])


@cache
def enumerated(seed, widths, slope, loss, layer):
    """The operator of a tower by loops over fractions, and a bound of the rounding of the pair weights."""
    name, options = loss[0], dict(loss[1])
    weights, arguments = tower_case(seed, widths, loss)
    population = ORACLE.exact_arguments(arguments, options.get("negatives", 1))
    means = EXACT.mean_connections([EXACT.rational(w) for w in weights], population, slope, layer)
    w = population["w"]
    if name == "simple":
        first = sum(share * k for share, k in zip(w, means, strict=True))
        second = sum(share * k @ k.T for share, k in zip(w, means, strict=True))
        variance = second - first @ first.T
        assert EXACT.rational(double(variance)) == variance.tolist()  # exact in double precision
        return double(variance), 0.0
    outputs = EXACT.mean_outputs([EXACT.rational(w) for w in weights], population, slope)
    pairs, _ = pair_weights(outputs, w, loss)
    total = np.zeros((len(means[0]), len(means[0])))
    for (i, j), weight in np.ndenumerate(pairs):
        difference = (means[i] - means[j]).astype(float)
        total += weight * difference @ difference.T
    # A share has a relative error of |r|/tau roundings (it is negligible beyond 40); L G cancels against its row sums.
    size = max(float(np.abs(k.astype(float)).max()) for k in means)
    terms = len(w) ** (1 + population["negatives"])
    return double(total), EPS * (terms + 64) * 8 * size**2 * population["negatives"]


def pair_weights(outputs, w, loss):
    """``p(x) p(x') xi(x, x')``, symmetric, by enumeration of all tuples of negatives in balls, and its rounding."""
    options = dict(loss[1])
    negatives, count = options.get("negatives", 1), len(w)
    result = np.zeros((count, count))
    before, ctx.prec = ctx.prec, 300
    for i, *others in product(range(count), repeat=1 + negatives):
        distances = [EXACT.distance(outputs[i], outputs[j]) for j in others]
        shares = ORACLE.Balls().shares(0, distances, options["tau"], options.get("margin", 0))
        for j, share in zip(others, shares, strict=True):
            weight = math.prod(float(w[k]) for k in (i, *others)) * float(share.mid().str(30, radius=False))
            result[i, j] += weight / 2
            result[j, i] += weight / 2
    ctx.prec = before
    return result, EPS * (count ** (1 + negatives) + 64) * negatives


SIMPLE = ("simple", ())


class TowerConformance(UpdateConformance):
    cases = (
        *(
            (seed, widths, slope, SIMPLE, layer)
            for seed, widths, slope in product(SEEDS, [(2, 2), (3, 2, 2), (2, 3, 2, 1)], [0.0, 0.25, 1.0])
            for layer in range(1, len(widths))
        ),
        *((seed, (2, 3, 2), 0.25, loss, layer) for seed, loss, layer in product(SEEDS, LOSSES, (1, 2))),
    )
    update_cases = tuple(product(SEEDS, (SIMPLE, *LOSSES), (1, 2)))

    def arguments(self, case, dtype=torch.float64):
        seed, widths, slope, loss, layer = case
        weights, arguments = tower_case(seed, widths, loss)
        population = FinitePopulation(**arguments).to("cpu", dtype)
        return ([w.to(dtype) for w in weights], population, layer, loss[0], slope), dict(loss[1])

    def dense(self, arguments, options):
        raise NotImplementedError

    def update(self, case):
        """Equal augmentations leave no theta: the operator gives the gradient, for every number of negatives."""
        seed, (loss, options), layer = case
        options = dict(options)
        weights = [w / 4 for w in ORACLE.tower(seed, (2, 3, 2))]
        augmentations = 2 if options.get("negatives", 1) < 3 else 1
        population = FinitePopulation(**ORACLE.population(seed, 4, augmentations, 2, spread=False, weights=weights))
        gradient = population_gradient(weights, population, loss, **options)[layer - 1]
        # At most 8 * 2 * 8^2 terms, inputs up to 9/4 and activations of the same size.
        return Update(
            dense=self.dense((weights, population, layer, loss), options),
            vector=vec(weights[layer - 1]),
            factor=2 if loss == "simple" else 1,
            gradient=vec(gradient),
            bound=EPS * 1024 * 16 * max(1.0, float(gradient.abs().max())),
            predicted=vec(predicted_update(weights, population, loss, **options)[layer - 1]),
        )


class TestDense(TowerConformance):
    def dense(self, arguments, options):
        return covariance_operator(*arguments, **options)

    def build(self, case, dtype=torch.float64):
        arguments, options = self.arguments(case, dtype)
        dense = self.dense(arguments, options)
        return Operator(dense, dense.matmul, dense.matmul, *enumerated(*case))

    def test_predicted_update(self, case):
        """With augmentation too; exactly ``2 V vec W`` for the simple loss."""
        (weights, population, layer, loss, slope), options = self.arguments(case)
        found = vec(predicted_update(weights, population, loss, slope, **options)[layer - 1])
        (reference, slack), vector = enumerated(*case), vec(weights[layer - 1])
        bound = (slack + 64 * EPS * reference.abs().max()) * vector.abs().sum() if slack else 0
        assert (found - (2 if loss == "simple" else 1) * reference @ vector).abs().max() <= bound


class TestProduct(TowerConformance):
    def dense(self, arguments, options):
        operator = covariance_operator_product(*arguments, **options)
        return operator.product(torch.eye(operator.shape[0], dtype=arguments[0][0].dtype))

    def build(self, case, dtype=torch.float64):
        arguments, options = self.arguments(case, dtype)
        operator = covariance_operator_product(*arguments, **options)
        reference, slack = enumerated(*case)
        # Sums over 4 * 2 points and at most 12 weights; exact for the simple loss.
        rounding = 0.0 if arguments[3] == "simple" else 128 * EPS * float(reference.abs().max())
        dense = self.dense(arguments, options)
        return Operator(
            dense, operator.product, lambda v: torch.from_numpy(operator.H @ v.numpy()), reference, slack, rounding
        )

    def test_equals_the_dense_operator(self, case):
        (weights, population, layer, loss, slope), options = self.arguments(case)
        for distances in (None, forward(weights, population.points[:, 0].contiguous(), slope)):
            arguments = (weights, population, layer, loss, slope)
            dense = covariance_operator(*arguments, distances_from=distances, **options)
            found = self.dense(arguments, {"distances_from": distances, **options})
            assert (found - dense).abs().max() <= (0 if loss == "simple" else 128 * EPS * dense.abs().max())


# Points


class PairConformance(OperatorConformance):
    """Operators on the points, from which those of the weights are made."""

    cases = tuple(product(SEEDS, LOSSES))

    def form(self, spec, outputs, w):
        raise NotImplementedError

    def reference(self, pairs):
        raise NotImplementedError

    def build(self, case, dtype=torch.float64):
        seed, loss = case
        outputs, w = ORACLE.inputs(seed, 4, 2) / 2, ORACLE.population(seed, 4, 1, 1)["point_weights"]
        pairs, slack = pair_weights(EXACT.rational(outputs), w.tolist(), loss)
        dense = self.form(loss_spec(loss[0], **dict(loss[1])), outputs.to(dtype), w.to(dtype))
        return Operator(dense, dense.matmul, dense.matmul, self.reference(double(pairs)), slack)


class TestPairMatrix(PairConformance):
    semidefinite = False
    form = staticmethod(pair_matrix)

    def reference(self, pairs):
        return pairs


class TestPairLaplacian(PairConformance):
    def form(self, spec, outputs, w):
        population = FinitePopulation(outputs.unsqueeze(1)).to("cpu", outputs.dtype)
        return pair_laplacian(spec, FinitePopulation(population.points, w.double()), outputs, outputs)

    def reference(self, pairs):
        return torch.diag(pairs.sum(1)) - pairs

    def build(self, case, dtype=torch.float64):
        operator = super().build(case, dtype)
        slack = 8 * operator.slack  # sums over the four entries of a row on either side
        return Operator(
            operator.dense, operator.product, operator.adjoint, operator.reference, slack, operator.rounding
        )


# Trees


DYADIC = {
    "edge": hltm.star_tree(1, polarity=0.5, root_polarity=0.5),
    "star": hltm.star_tree(3, polarity=-0.5),
    "path": hltm.complete_tree(depth=3, branching=1, polarity=0.5),
    "complete": hltm.complete_tree(depth=2, branching=2, polarity=0.5, root_polarity=-0.5),
    "caterpillar": hltm.caterpillar_tree(4, polarity=0.5),
}


@cache
def tree_case(name, slope):
    """An ensemble of two networks with dyadic weights, widths 1 to 3, and the oracle of each."""
    tree, rng = DYADIC[name], np.random.default_rng(11)
    width = {node: int(rng.integers(1, 4)) for node in tree.latents}
    weights = {
        node: rng.integers(-3, 4, size=(2, width[node], sum(width.get(c, 1) for c in tree.children(node)))) / 2.0
        for node in tree.latents
    }
    graph = tree.graph.copy()
    graph.nodes[tree.root]["prior"] = [Fraction(p) for p in tree.prior.tolist()]
    tables = [{node: ORACLE.rational(matrix[member]) for node, matrix in weights.items()} for member in range(2)]
    return tree, weights, [TREES.BruteNetwork(graph, table, Fraction(slope)) for table in tables]


@cache
def tree_truth(name, slope, node, member):
    """Operator, update and activation covariance by enumeration; exact in double precision."""
    oracle = tree_case(name, slope)[2][member]
    truth = [oracle.operator(node), oracle.update(node), oracle.activation_covariance(node)]
    assert all(ORACLE.rational(double(matrix)) == matrix for matrix in truth)
    return [double(matrix) for matrix in truth]


class TestTree(UpdateConformance):
    cases = tuple(
        (name, slope, node, member)
        for name, slope in product(DYADIC, [0.0, 0.5, 1.0])
        for node in DYADIC[name].latents
        for member in range(2)
    )
    # The block of another node than the top is not the whole operator: its update has cross terms.
    update_cases = tuple(case for case in cases if case[2] == DYADIC[case[0]].root)

    def arguments(self, case, dtype=torch.float64):
        tree, weights, _ = tree_case(*case[:2])
        network = TreeNetwork.from_weights(tree, {v: torch.tensor(w, dtype=dtype) for v, w in weights.items()}, case[1])
        leaves = hltm.leaf_population(tree)
        population = FinitePopulation(leaves.points, leaves.point_weights, leaves.augmentation_weights)
        return network, population.to("cpu", dtype)

    def build(self, case, dtype=torch.float64):
        dense = tree_covariance_operator(*self.arguments(case, dtype), case[2])[case[3]]
        return Operator(dense, dense.matmul, dense.matmul, tree_truth(*case)[0])

    def update(self, case):
        network, population = self.arguments(case)
        return Update(
            dense=self.build(case).dense,
            vector=vec(network.matrix(case[2])[case[3]]),
            factor=2,
            gradient=vec(tree_truth(*case)[1]),
            bound=0.0,
            predicted=vec(tree_population_gradient(network, population)[case[2]][case[3]]),
        )

    @pytest.mark.parametrize("numbers", [tree_operator._NUMBERS, 200, 1], ids=["whole", "parts", "single samples"])
    def test_every_node_and_size_of_the_parts(self, case, numbers, monkeypatch):
        monkeypatch.setattr(tree_operator, "_NUMBERS", numbers)
        arguments, (_, _, node, member) = self.arguments(case), case
        operator, update, covariance = tree_truth(*case)
        assert torch.equal(tree_covariance_operator(*arguments, node)[member], operator)
        assert torch.equal(tree_update(*arguments)[node][member], update)
        assert torch.equal(tree_activation_covariance(*arguments, node)[member], covariance)


# The Walsh form of theory


@cache
def walsh_case(shape, slope):
    """Tree, weights and oracle; the seed fixes both."""
    return TREES.make_network(shape, "symmetric", slope, 31)


class TestWalsh(UpdateConformance):
    dtypes = (torch.float64,)
    cases = tuple(
        (shape, slope, node)
        for shape, slope in product(TREES.SHAPES, (Fraction(0), Fraction(1, 3)))
        for node in dict.fromkeys(parent for parent, _ in TREES.SHAPES[shape])
    )
    # The path is dead with slope 0: its update is 0.
    update_cases = tuple(case for case in cases if case[2] == "r" and case[:2] != ("chain", 0))

    def operator(self, case):
        tree, weights, _ = walsh_case(*case[:2])
        rho = [[float(tree.graph.edges[edge]["polarity"]) for edge in tree.edges]]
        return theory.walsh_operator(tree, case[2], weights, case[1]), rho

    def build(self, case, dtype=torch.float64):
        tree, _, oracle = walsh_case(*case[:2])
        operator, rho = self.operator(case)
        dense, truth = torch.from_numpy(operator.evaluate(rho)[0]), double(oracle.operator(case[2]))
        sums = operator.sums
        scale = sums.denominator * len(sums.numerators)
        largest = (2 * np.abs(sums.numerators.astype(float)).sum(axis=0).max() / scale) ** 2 * operator.n_out
        slack = 8 * EPS * sums.numerators.size * len(tree) * (1 + float(truth.abs().max()) + largest)
        values = theory.parameter_values(tree)
        gap = double([[float(entry.as_expr().xreplace(values)) for entry in row] for row in operator.gap()])
        variance = (1 - float(tree.root_polarity) ** 2) / 4

        def by_gap(columns):
            return variance * gap @ (gap.T @ columns)

        return Operator(dense, by_gap, by_gap, truth, slack, slack)

    def update(self, case):
        _, weights, oracle = walsh_case(*case[:2])
        operator = self.build(case)
        matrix = double(weights["r"])
        return Update(
            operator.dense,
            vec(matrix),
            2,
            vec(double(oracle.update("r"))),
            2 * operator.slack * float(matrix.abs().sum()),
        )

    def test_symbols_are_exact(self, case):
        tree, _, oracle = walsh_case(*case[:2])
        matrix = self.operator(case)[0].matrix().xreplace(theory.parameter_values(tree))
        assert [[Fraction(int(e.p), int(e.q)) for e in row] for row in matrix.tolist()] == oracle.operator(case[2])
        assert matrix == matrix.T
        assert sympy.ImmutableDenseMatrix(matrix).is_positive_semidefinite
