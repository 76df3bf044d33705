"""Philox against its published vectors, and triples of a stack against the law of statement 6.

Every comparison with chance says its false-alarm rate: 1e-6 for each test, shared among its comparisons. Seeds are
fixed, so a test passes always or never; the rate is the chance that a right sampler had been refused at the start.
"""

import re
from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
import torch
from scipy.special import chdtri

import hltm
from hltm.base.errors import InputError
from numeric.trees.streams import TripleSampler, member_keys, philox

CPU = torch.device("cpu")
FALSE_ALARM = 1e-6
SEED = 20_101
VECTORS = [  # of the test suite of Random123: counter, key, words
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def of_shape(make, polarities):
    """Trees of one shape, one for each polarity."""
    return [make(polarity) for polarity in polarities]


STACKS = {
    "edge": of_shape(lambda p: hltm.star_tree(1, polarity=p, root_polarity=0.2), (0.3, 1.0, -1.0, 0.0)),
    "star, prior 0 or 1": [hltm.star_tree(2, polarity=0.4, root_polarity=rho) for rho in (1.0, -1.0, 0.5)],
    "complete": of_shape(lambda p: hltm.complete_tree(2, 2, p, root_polarity=-0.4), (0.8, -0.9, 1.0, -1.0)),
    "one for all": [hltm.caterpillar_tree(3, polarity=-0.6)],
    "general": [hltm.random_tree(leaves=3, seed=1)],
    "categorical": [hltm.random_tree(leaves=2, seed=2, cardinality=3)],
    "mixed states": [hltm.random_tree(leaves=4, seed=2, cardinality=(2, 4))],
}


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def words_of(text):
    return [int(word, 16) for word in text.split()]


def plain_philox(counter, key):
    """The rounds in Python's integers, as the paper writes them."""
    (x0, x1, x2, x3), (k0, k1) = counter, key
    for _ in range(10):
        first, second = 0xD2511F53 * x0, 0xCD9E8D57 * x2
        x0, x1, x2, x3 = (second >> 32) ^ x1 ^ k0, second % 2**32, (first >> 32) ^ x3 ^ k1, first % 2**32
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return [x0, x1, x2, x3]


@pytest.mark.parametrize(("counter", "key", "words"), VECTORS)
def test_published_vectors(counter, key, words):
    assert plain_philox(words_of(counter), words_of(key)) == words_of(words)
    assert philox(words_of(counter), words_of(key), ()).tolist() == words_of(words)


def test_words_against_plain_integers():
    rng = np.random.default_rng(SEED)
    drawn = torch.from_numpy(rng.integers(0, 2**32, size=(6, 3, 50)))
    found = philox(list(drawn[:4]), list(drawn[4:]), (3, 50)).flatten(1).T.tolist()
    for column, words in zip(drawn.flatten(1).T.tolist(), found, strict=True):
        assert words == plain_philox(column[:4], column[4:]), (SEED, column)


def test_words_of_a_member_are_philox_of_seed_step_and_place():
    seeds, tree = [3, 2**32 + 7, 2**64 - 1], hltm.star_tree(3, polarity=0.5)
    sampler = TripleSampler([tree], seeds, batch=2, negatives=1, device=CPU)
    fourth = -(-sampler.words_per_step // 4)
    first = 2**32 - 1  # the number of the step runs over into the third word of the counter
    found = sampler.words(first, 2, purpose=5)
    for row, step in enumerate((first, first + 1)):
        for member, seed in enumerate(seeds):
            key = (seed % 2**32, seed // 2**32)
            wanted = [plain_philox((n, step % 2**32, step // 2**32, 5), key) for n in range(fourth)]
            assert found[row, member].tolist() == [words[k] for k in range(4) for words in wanted], (step, seed)


def numbers_of(tree, leaves):
    """Number of the configuration of each sample, ``(samples,)`` from ``(n_leaves, samples)``."""
    shape = tuple(tree.cardinality(leaf) for leaf in tree.leaves)
    return np.ravel_multi_index(tuple(leaves.long().numpy()), shape)


def refuse(counts, law, comparisons, name):
    """Pearson's test at the false-alarm rate of its share; cells of fewer than 20 expected samples are joined."""
    counts, expected = np.ravel(counts), counts.sum() * np.ravel(law)
    assert counts[expected == 0].sum() == 0, name
    large = expected >= 20
    cells = [*zip(counts[large], expected[large], strict=True), (counts[~large].sum(), expected[~large].sum())]
    cells = [(count, mean) for count, mean in cells if mean >= 1]
    statistic = sum((count - mean) ** 2 / mean for count, mean in cells)
    if len(cells) > 1:
        assert statistic <= chdtri(len(cells) - 1, FALSE_ALARM / comparisons), (SEED, name)


def joint(first, second, size):
    return np.bincount(first * size + second, minlength=size * size)


@pytest.mark.parametrize("name", STACKS)
def test_law_of_triples(name):
    """x_1 and x_+ share z_0 and nothing else, negatives are independent, and so are samples, steps and members."""
    trees = STACKS[name]
    members, batch, steps = max(3, len(trees)), 4_000, 10
    given = trees if len(trees) > 1 else trees * members
    seeds = range(SEED, SEED + len(given))
    leaves = TripleSampler(trees, list(seeds), batch, 2, CPU).leaves(3, steps)
    numbers = []  # (towers, steps, batch) of each member
    for member, tree in enumerate(given):
        flat = numbers_of(tree, leaves[:, member].movedim(1, 0).flatten(1))
        numbers.append(flat.reshape(steps, 4, batch).swapaxes(0, 1))
    comparisons = 8 * len(given)
    for member, tree in enumerate(given):
        given_root = [
            hltm.leaf_distribution(tree, {tree.root: z}).ravel() if tree.prior[z] > 0 else 0.0
            for z in range(len(tree.prior))
        ]
        law = hltm.leaf_distribution(tree).ravel()
        size, own = len(law), numbers[member]
        augmented = sum(p * np.multiply.outer(q, q) for p, q in zip(tree.prior, given_root, strict=True))
        independent = np.multiply.outer(law, law)
        for (a, b), pair in {(0, 1): augmented, (0, 2): independent, (1, 2): independent, (2, 3): independent}.items():
            refuse(joint(own[a].ravel(), own[b].ravel(), size), pair, comparisons, (member, a, b))
        triple = (own[0] * size + own[1]).ravel() * size + own[2].ravel()
        refuse(np.bincount(triple, minlength=size**3), np.multiply.outer(augmented, law), comparisons, (member, "all"))
        refuse(joint(own[0][:-1].ravel(), own[0][1:].ravel(), size), independent, comparisons, (member, "steps"))
        neighbours = joint(own[2][:, ::2].ravel(), own[2][:, 1::2].ravel(), size)
        refuse(neighbours, independent, comparisons, (member, "samples"))
        other = hltm.leaf_distribution(given[member - 1]).ravel()
        between = joint(numbers[member - 1][0].ravel(), own[0].ravel(), size)
        refuse(between, np.multiply.outer(other, law), comparisons, (member, "members"))


@pytest.mark.parametrize("name", STACKS)
def test_states_of_latents(name):
    """Every edge has its table, leaves are their states, x_1 and x_+ share the root; they are the draws of `leaves`."""
    trees, batch = STACKS[name], 20_000
    tree, seeds = trees[0], list(range(SEED, SEED + len(trees)))
    sampler = TripleSampler(trees, seeds, batch, 1, CPU)
    leaves, states = sampler.states(2, 1)
    assert torch.equal(leaves, sampler.leaves(2, 1, purpose=1)[0])
    row = {node: number for number, node in enumerate(tree.nodes)}
    assert torch.equal(leaves, states[:, [row[leaf] for leaf in tree.leaves]].to(leaves.dtype))
    assert torch.equal(states[:, 0, :batch], states[:, 0, batch : 2 * batch])
    comparisons = len(trees) * len(tree.edges)
    for member, own in enumerate(trees):
        law = {own.root: own.prior}
        for parent, child in pairwise_edges(own):
            table = own.transition(parent, child)
            law[child] = law[parent] @ table
            # Of x_1 and the negative alone: x_+ shares the root.
            chosen = np.r_[0:batch, 2 * batch : 3 * batch]
            above, below = (states[member, row[node]].long().numpy()[chosen] for node in (parent, child))
            counts = np.bincount(above * table.shape[1] + below, minlength=table.size)
            refuse(counts, law[parent][:, None] * table, comparisons, (member, parent, child))


def pairwise_edges(tree):
    """Edges, from the root down."""
    return [(node, child) for node in tree.nodes for child in tree.children(node)]


@pytest.mark.parametrize("name", STACKS)
def test_a_member_draws_the_same_alone_stacked_and_kept(name):
    trees = STACKS[name]
    seeds = [SEED + 7 * member for member in range(4)]
    own = trees if len(trees) == len(seeds) else [trees[0]] * len(seeds)
    for stacked in ([trees[0]], own):
        every = TripleSampler(stacked, seeds, 5, 3, CPU)
        together = every.leaves(0, 7)
        for member, seed in enumerate(seeds):
            tree = stacked[member] if len(stacked) > 1 else stacked[0]
            alone = TripleSampler([tree], [seed], 5, 3, CPU).leaves(0, 7)
            assert torch.equal(alone[:, 0], together[:, member]), (name, seed)
        kept = every.keep(torch.tensor([1, 3]))
        assert torch.equal(kept.leaves(0, 7), together[:, [1, 3]])
        again = kept.keep(torch.tensor([1]))
        assert torch.equal(again.leaves(0, 7), together[:, [3]])
        assert torch.equal(again.states(4, 0)[1], every.states(4, 0)[1][[3]])


def test_steps_are_drawn_the_same_in_chunks_or_one_by_one():
    sampler = TripleSampler(STACKS["general"], [SEED, SEED + 1], 5, 1, CPU)
    whole = sampler.leaves(2, 9)
    for first, last in pairwise((2, 3, 7, 11)):
        assert torch.equal(sampler.leaves(first, last - first), whole[first - 2 : last - 2])
    assert torch.equal(sampler.leaves(torch.tensor(4), 2), whole[2:4])
    assert not torch.equal(sampler.leaves(2, 9, purpose=1), whole)


@pytest.mark.parametrize("states", [256, 257, 300, 2**15 + 1])
def test_latents_of_many_states(states):
    """The root's last state alone has probability: its number is what is drawn."""
    prior = np.zeros(states)
    prior[-1] = 1.0
    graph = nx.DiGraph([("root", "leaf", {"transition": np.tile([0.5, 0.5], (states, 1))})])
    graph.nodes["root"].update(prior=prior, cardinality=states)
    _, drawn = TripleSampler([hltm.HLTM(graph)], [SEED], 3, 1, CPU).states(0, 0)
    assert drawn[0, 0].tolist() == [states - 1] * 9


def test_seeds_that_two_members_share_are_refused():
    with refused("seed=4 of member 2: must not be that of member 0, both would draw the same numbers"):
        member_keys([4, 5, 4], CPU)
    with refused(f"seed={2**64} of member 1: must be below 2^64"):
        member_keys([4, 2**64], CPU)
    with refused("seed=-1: must be at least 0"):
        member_keys([-1], CPU)


def test_numbers_of_trees_and_shapes_are_checked():
    tree, other = hltm.star_tree(2, polarity=0.5), hltm.star_tree(3, polarity=0.5)
    with refused("2 trees for 3 members: must be one, or one for each member"):
        TripleSampler([tree, tree], [0, 1, 2], 2, 1, CPU)
    with refused(f"tree 1, {other!r}: must have the nodes, edges and states of tree 0, {tree!r}"):
        TripleSampler([tree, other], [0, 1], 2, 1, CPU)
    with refused("trees=[]: must hold one tree, or one for each member"):
        TripleSampler([], [0], 2, 1, CPU)
