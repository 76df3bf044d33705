"""Builders: shapes, polarities, seeds, and every refusal."""

import itertools

import pytest

import hltm


@pytest.mark.parametrize(("depth", "branching"), list(itertools.product((1, 2, 3), (1, 2, 3))))
def test_complete_tree(depth, branching):
    tree = hltm.complete_tree(depth, branching, polarity=0.8, root_polarity=-0.5)
    assert [len(level) for level in tree.levels] == [branching**k for k in range(depth + 1)]
    assert tree.leaves == tree.levels[-1]
    assert tree.nodes == tuple(range(len(tree)))
    assert all(len(tree.children(node)) == branching for node in tree.latents)
    assert all(tree.polarity(*edge) == 0.8 for edge in tree.edges)
    assert tree.prior.tolist() == [0.75, 0.25]
    assert tree.is_symmetric


@pytest.mark.parametrize("leaves", [1, 2, 7])
def test_star_tree(leaves):
    tree = hltm.star_tree(leaves, polarity=-0.5)
    assert tree.depth == 1
    assert tree.leaves == tree.children(tree.root) == tuple(range(1, leaves + 1))


@pytest.mark.parametrize("leaves", [2, 3, 9])
def test_caterpillar_tree(leaves):
    tree = hltm.caterpillar_tree(leaves, polarity=0.5)
    assert len(tree.leaves) == leaves
    assert tree.depth == leaves - 1
    assert tree.nodes == tuple(range(2 * leaves - 1))
    for node in tree.latents[:-1]:
        below, leaf = tree.children(node)
        assert tree.children(below)
        assert not tree.children(leaf)
    assert not any(tree.children(leaf) for leaf in tree.children(tree.latents[-1]))


@pytest.mark.parametrize(
    "build",
    [
        lambda **options: hltm.complete_tree(3, 2, **options),
        lambda **options: hltm.star_tree(14, **options),
        lambda **options: hltm.caterpillar_tree(8, **options),
    ],
    ids=["complete", "star", "caterpillar"],
)
def test_polarity_range_and_rule(build):
    tree = build(polarity=(-0.25, 0.75), seed=3)
    values = [tree.polarity(*edge) for edge in tree.edges]
    assert len(set(values)) == 14
    assert all(-0.25 <= value <= 0.75 for value in values)
    assert build(polarity=[-0.25, 0.75], seed=3) == tree
    assert build(polarity=(-0.25, 0.75), seed=4) != tree
    by_rule = build(polarity=lambda parent, child: (parent - child) / 100)
    assert all(by_rule.polarity(*edge) == (edge[0] - edge[1]) / 100 for edge in by_rule.edges)
    assert {build(polarity=(0.5, 0.5), seed=0).polarity(*edge) for edge in tree.edges} == {0.5}


def test_polarities_of_a_range_fill_it():
    tree = hltm.star_tree(1000, polarity=(0.2, 0.4), seed=0)
    values = sorted(tree.polarity(*edge) for edge in tree.edges)
    # Kolmogorov distance of 1,000 uniform values, 0.087 or more with probability below
    # 2 exp(-2 * 1000 * 0.087^2) = 6e-7.
    distance = max(abs((value - 0.2) / 0.2 - i / 1000) for i, value in enumerate(values))
    assert distance < 0.087, "seed 0"


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("options", [{}, {"symmetric": True}, {"cardinality": 3}, {"cardinality": (2, 4)}], ids=str)
def test_random_tree(options, seed):
    leaves = 1 + seed % 10
    tree = hltm.random_tree(leaves, seed=seed, **options)
    assert len(tree.leaves) == leaves
    assert tree.nodes == tuple(range(len(tree)))
    counts = [len(tree.children(node)) for node in tree.latents]
    assert counts == [1] if leaves == 1 else all(2 <= count <= 4 for count in counts)
    assert tree.is_symmetric is options.get("symmetric", False)
    states = [tree.cardinality(node) for node in tree.nodes]
    low, high = {"3": (3, 3), "(2, 4)": (2, 4)}.get(str(options.get("cardinality")), (2, 2))
    assert all(low <= count <= high for count in states)
    assert hltm.random_tree(leaves, seed=seed, **options) == tree


def test_random_trees_vary():
    trees = [hltm.random_tree(8, seed=seed) for seed in range(40)]
    assert len({tree.edges for tree in trees}) > 20
    assert {tree.depth for tree in trees} >= {2, 3, 4}
    counts = {hltm.random_tree(8, seed=s, cardinality=(2, 4)).cardinality(0) for s in range(40)}
    assert counts == {2, 3, 4}


BAD = {
    "depth-0": (lambda: hltm.complete_tree(0, 2, 0.5), "depth=0: must be at least 1"),
    "depth-float": (lambda: hltm.complete_tree(2.0, 2, 0.5), "depth=2.0: must be an integer, got float"),
    "depth-bool": (lambda: hltm.complete_tree(True, 2, 0.5), "depth=True: must be an integer, got bool"),
    "branching-0": (lambda: hltm.complete_tree(2, 0, 0.5), "branching=0: must be at least 1"),
    "branching-text": (lambda: hltm.complete_tree(2, "2", 0.5), "branching='2': must be an integer, got str"),
    "too-deep": (
        lambda: hltm.complete_tree(20, 2, 0.5),
        "depth=20, branching=2: must give at most 1,048,576 nodes, gives 2,097,151 or more",
    ),
    "path-too-long": (
        lambda: hltm.complete_tree(10**9, 1, 0.5),
        "at most 1,048,576 nodes, gives 1,000,000,001",
    ),
    "far-too-deep": (lambda: hltm.complete_tree(10**9, 2, 0.5), "gives about 10^77 or more"),
    "star-too-large": (
        lambda: hltm.star_tree(2**20, 0.5),
        "leaves=1048576: must give at most 1,048,576 nodes",
    ),
    "random-too-large": (lambda: hltm.random_tree(2**30, seed=0), "leaves=1073741824: must give at most"),
    "caterpillar-1": (lambda: hltm.caterpillar_tree(1, 0.5), "leaves=1: must be at least 2"),
    "star-0": (lambda: hltm.star_tree(0, 0.5), "leaves=0: must be at least 1"),
    "random-0": (lambda: hltm.random_tree(0, seed=0), "leaves=0: must be at least 1"),
    "polarity": (lambda: hltm.star_tree(2, 1.5), "polarity=1.5: must lie in [-1, 1]"),
    "polarity-nan": (lambda: hltm.star_tree(2, float("nan")), "polarity=nan: must be finite"),
    "polarity-none": (lambda: hltm.star_tree(2, None), "polarity=None: must be a number, got NoneType"),
    "range-low": (lambda: hltm.star_tree(2, (-2, 0), seed=0), "polarity[0]=-2: must lie in [-1, 1]"),
    "range-order": (
        lambda: hltm.star_tree(2, (0.5, 0), seed=0),
        "polarity=(0.5, 0): low must not be above high",
    ),
    "range-three": (
        lambda: hltm.star_tree(2, (0, 0, 0), seed=0),
        "a range must be (low, high), got 3 values",
    ),
    "range-seed": (
        lambda: hltm.star_tree(2, (0, 1)),
        "seed=None with polarity=(0, 1): a range of polarities needs a seed",
    ),
    "rule": (lambda: hltm.star_tree(2, lambda *_: 2), "polarity=2 on edge (0, 1): must lie in [-1, 1]"),
    "seed-negative": (lambda: hltm.star_tree(2, (0, 1), seed=-1), "seed=-1: must be at least 0"),
    "seed-none": (lambda: hltm.random_tree(2, seed=None), "seed=None: must be an integer"),
    "root-polarity": (
        lambda: hltm.star_tree(2, 0.5, root_polarity=1.5),
        "root_polarity=1.5: must lie in [-1, 1]",
    ),
    "cardinality": (lambda: hltm.random_tree(2, seed=0, cardinality=1), "cardinality=1: must be at least 2"),
    "cardinality-range": (
        lambda: hltm.random_tree(2, seed=0, cardinality=(3, 2)),
        "cardinality=(3, 2): low must not be above high",
    ),
    "cardinality-float": (
        lambda: hltm.random_tree(2, seed=0, cardinality=(2, 3.5)),
        "cardinality[1]=3.5: must be an",
    ),
    "cardinality-three": (lambda: hltm.random_tree(2, seed=0, cardinality=(2, 3, 4)), "got 3 values"),
    "symmetric-categorical": (
        lambda: hltm.random_tree(2, seed=0, symmetric=True, cardinality=3),
        "cardinality=3 of a symmetric tree: must be 2",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments(case):
    build, message = BAD[case]
    with pytest.raises(hltm.InputError) as caught:
        build()
    assert message in str(caught.value)
