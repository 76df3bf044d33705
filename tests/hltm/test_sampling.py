"""Sampling against exact laws: chi-square tests with a stated rate of false alarms and fixed seeds."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import chdtri

import hltm
from hltm import sampling

FALSE_ALARM = 1e-6  # of each chi-square test below
N = 40_000


def assert_law(observed, law, where):
    """Chi-square test of counts of category numbers; a category of probability zero must not appear."""
    counts = np.bincount(observed, minlength=len(law))
    assert not counts[law == 0].any(), f"{where}: impossible states were drawn"
    kept = law > 0
    expected = counts.sum() * law[kept]
    assert expected.min() >= 20, f"{where}: too few samples for the chi-square law"
    statistic = float(((counts[kept] - expected) ** 2 / expected).sum())
    critical = chdtri(kept.sum() - 1, FALSE_ALARM) if kept.sum() > 1 else 0.0
    assert statistic <= critical, f"{where}: chi-square {statistic:.1f} above {critical:.1f}"


def leaf_codes(tree, states):
    shape = tuple(tree.cardinality(leaf) for leaf in tree.leaves)
    return np.ravel_multi_index([states[leaf] for leaf in tree.leaves], shape)


@pytest.mark.parametrize("seed", range(3))
def test_sample_follows_the_joint_law(small_graph, seed):
    tree = hltm.HLTM(small_graph)
    states = hltm.sample(tree, N, seed=seed)
    assert list(states) == list(tree.nodes)
    assert all(value.shape == (N,) and value.dtype == np.int64 for value in states.values())
    assert_law(leaf_codes(tree, states), hltm.leaf_distribution(tree).ravel(), f"seed {seed}")
    assert_law(states["r"], tree.prior, f"root, seed {seed}")
    for parent, child in tree.edges:
        for state in range(tree.cardinality(parent)):
            drawn = states[child][states[parent] == state]
            assert_law(drawn, tree.transition(parent, child)[state], f"edge {parent}-{child}, seed {seed}")


def test_sample_is_reproducible():
    tree = hltm.random_tree(5, seed=0, cardinality=(2, 4))
    first, again, other = (hltm.sample(tree, 100, seed=seed) for seed in (1, 1, 2))
    assert all((first[node] == again[node]).all() for node in tree.nodes)
    assert any((first[node] != other[node]).any() for node in tree.nodes)


def test_impossible_states_are_never_drawn():
    # 0.7 + 0.2 + 0.1 rounds to 1 - 2^-53, the largest value that the generator can return.
    table = np.array([[0.7, 0.2, 0.1, 0.0], [0.0, 0.0, 0.0, 1.0]])
    assert table[0].cumsum()[2] == 1 - 2.0**-53
    for value, states in ((1 - 2.0**-53, [2, 3]), (0.0, [0, 3])):
        rng = SimpleNamespace(random=lambda n, value=value: np.full(n, value))
        assert sampling._draw(rng, table, np.array([0, 1])).tolist() == states


@pytest.mark.parametrize("seed", range(3))
def test_resample_keeps_the_root_and_draws_the_rest_anew(small_graph, seed):
    tree = hltm.HLTM(small_graph)
    states = hltm.sample(tree, 4 * N, seed=seed)
    again = hltm.resample(tree, {"r": states["r"]}, seed=100 + seed)
    assert list(again) == list(tree.nodes)
    assert (again["r"] == states["r"]).all()
    x, y = states["x"] * 2 + states["y"], again["x"] * 2 + again["y"]
    for root in range(3):
        # Given z_0, both draws are independent and follow the same law.
        law = hltm.leaf_distribution(tree, {"r": root}).sum(axis=2).ravel()
        chosen = states["r"] == root
        assert_law(x[chosen] * 4 + y[chosen], np.outer(law, law).ravel(), f"root {root}, seed {seed}")


def test_resample_below_other_kept_nodes(small_graph):
    tree = hltm.HLTM(small_graph)
    states = hltm.sample(tree, N, seed=0)
    cut = hltm.resample(tree, {"a": states["a"], "z": states["z"]}, seed=1)
    assert list(cut) == ["a", "z", "x", "y"]
    assert (cut["z"] == states["z"]).all()
    for state in range(2):
        drawn = cut["x"][states["a"] == state]
        assert_law(drawn, tree.transition("a", "x")[state], f"a={state}, seeds 0 and 1")
    more = hltm.resample(tree, {"r": states["r"], "a": states["a"], "x": states["x"]}, seed=1)
    assert list(more) == list(tree.nodes)
    assert (more["a"] == states["a"]).all()
    assert (more["x"] == states["x"]).all()
    assert (more["y"] != states["y"]).any()


def test_error_of_a_mean_falls_as_one_over_root_n():
    tree = hltm.star_tree(200, polarity=0.0)
    spread = []
    for n in (100, 400, 1600, 6400):
        states = hltm.sample(tree, n, seed=n)
        spread.append(np.std([states[leaf].mean() - 0.5 for leaf in tree.leaves]) * 2 * n**0.5)
    # 200 independent means of fair coins: the spread has a relative error of 1/20, five such errors
    # have probability 6e-7.
    assert np.abs(np.array(spread) - 1).max() < 5 / 20


def test_kept_states_are_copied_unchanged():
    tree = hltm.star_tree(2, 0.5)
    root = np.array([0, 1, 1], dtype=np.uint8)
    again = hltm.resample(tree, {0: root}, seed=0)
    assert again[0].tolist() == [0, 1, 1]
    again[0][0] = 1
    assert root.tolist() == [0, 1, 1]


BAD = {
    "n-0": (lambda tree: hltm.sample(tree, 0), "n=0: must be at least 1"),
    "n-float": (lambda tree: hltm.sample(tree, 1e3), "n=1000.0: must be an integer, got float"),
    "n-huge": (lambda tree: hltm.sample(tree, 10**12), "n=1,000,000,000,000 samples of 7 nodes"),
    "seed": (lambda tree: hltm.sample(tree, 5, seed=-1), "seed=-1: must be at least 0"),
    "seed-none": (lambda tree: hltm.sample(tree, 5, seed=None), "seed=None: must be an integer"),
    "resample-seed": (lambda tree: hltm.resample(tree, {0: [0]}, seed=0.5), "seed=0.5: must be an integer"),
    "nothing-kept": (lambda tree: hltm.resample(tree, {}), "kept={}: must name at least one node"),
    "scalar": (lambda tree: hltm.resample(tree, {0: 1}), "node 0: must be an array of shape (n,), got 1"),
    "empty": (lambda tree: hltm.resample(tree, {0: []}), "kept of node 0: must be an integer"),
    "state": (lambda tree: hltm.resample(tree, {0: [0, 2]}), "node 0: states must lie in 0 ... 1, got 2"),
    "float": (lambda tree: hltm.resample(tree, {0: [0.0]}), "kept of node 0: must be an integer"),
    "lengths": (lambda tree: hltm.resample(tree, {0: [0], 1: [0, 1]}), "same length, got 1 and 2"),
    "uncovered": (lambda tree: hltm.resample(tree, {1: [0]}), "leaf 5 must be kept or lie below a kept node"),
    "gap": (lambda tree: hltm.resample(tree, {0: [0], 3: [0]}), "kept of node 3: the node 1 above it lies"),
    "no-mapping": (lambda tree: hltm.resample(tree, [0]), "kept=[0]: must be a mapping"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    call, message = BAD[case]
    with pytest.raises(hltm.InputError) as caught:
        call(hltm.complete_tree(2, 2, 0.5))
    assert message in str(caught.value)
