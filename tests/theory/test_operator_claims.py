"""Operators of statement 6 as derivations: against enumeration, on every shape, and what is refused."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import sympy

import hltm
import theory
from hltm.base.errors import InputError

SYMMETRIC = {
    "edge": hltm.complete_tree(1, 1, polarity=0.5),
    "star": hltm.star_tree(3, 0.25),
    "chain": hltm.complete_tree(3, 1, polarity=-0.5),
    "complete": hltm.complete_tree(2, 2, polarity=0.75),
}


def mean_given_root(tree, function, state):
    """E[g | z_0] over all states of all nodes, in fractions."""
    nodes = list(tree.nodes)
    total = Fraction(0)
    for states in itertools.product((0, 1), repeat=len(nodes)):
        at = dict(zip(nodes, states, strict=True))
        if at[tree.root] != state:
            continue
        chance = Fraction(1)
        for node in nodes[1:]:
            rho = Fraction(tree.polarity(tree.parent(node), node))
            chance *= (1 + rho) / 2 if at[node] == at[tree.parent(node)] else (1 - rho) / 2
        total += chance * function[tuple(at[leaf] for leaf in tree.leaves)]
    return total


@pytest.mark.parametrize("shape", SYMMETRIC)
def test_the_walsh_form_by_enumeration(shape):
    tree = SYMMETRIC[shape]
    derived = theory.derive(6, claim="walsh", tree=tree)
    assert derived.proved
    rng = np.random.default_rng(3)
    leaves = len(tree.leaves)
    g = {x: Fraction(int(rng.integers(-9, 9))) for x in itertools.product((0, 1), repeat=leaves)}
    (relation,) = derived.claim.relations
    values = dict(theory.parameter_values(tree))
    for symbol in relation.rhs.free_symbols:
        chosen = dict(getattr(symbol, "place", ())).get("set")
        if chosen is None:
            continue
        chosen = [int(digit) for digit in chosen if digit in "01"]
        hat = sum(value * np.prod([2 * s - 1 for s, c in zip(x, chosen, strict=True) if c], dtype=int).item()
                  for x, value in g.items()) / Fraction(2**leaves)  # fmt: skip
        values[symbol] = sympy.Rational(hat.numerator, hat.denominator)
    found = relation.rhs.xreplace(values)
    wanted = mean_given_root(tree, g, 1) - mean_given_root(tree, g, 0)
    assert found == sympy.Rational(wanted.numerator, wanted.denominator)


def test_the_operator_of_linear_neurons_by_enumeration():
    """Two latents below a root of two leaves each: OP = Cov_z0 of the mean connection, by enumeration of all states."""
    tree, node = hltm.complete_tree(2, 2, polarity=0.5), 1
    derived = theory.derive(6, claim="operator", tree=tree, node=node)
    assert derived.proved
    relation = derived.claim.relations[0]
    jac = np.array([[Fraction(2), Fraction(-1)], [Fraction(1), Fraction(3)]], dtype=object)
    leaves = {leaf: number for number, leaf in enumerate(tree.leaves)}
    means = []
    for state in (0, 1):
        columns = []
        for child in tree.children(node):
            g = {x: Fraction(x[leaves[child]]) for x in itertools.product((0, 1), repeat=4)}
            columns.append(mean_given_root(tree, g, state))
        means.append(np.kron(np.array(columns, dtype=object)[:, None], jac.T))
    p = Fraction(1, 2)
    mean = p * means[0] + p * means[1]
    wanted = sum(p * m @ m.T for m in means) - mean @ mean.T
    values = {}
    for symbol in derived.claim.quantities:
        role = getattr(symbol, "role", "")
        if role == "Jacobian":
            values[symbol] = jac
        elif role == "selectivity along edges":
            values[symbol] = [Fraction(1, 4), Fraction(1, 4)]  # rho s with s = 1/2 at a leaf
        elif role == "covariance operator":
            values[symbol] = wanted
    for symbol, value in theory.parameter_values(tree).items():
        values[symbol] = Fraction(int(value.p), int(value.q))
    (sides,) = derived.claim.replace(relations=(relation,)).evaluate(values, "rational")
    assert (sides.left == sides.right).all()
    assert (sides.left != 0).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"claim": "operator", "tree": SYMMETRIC["star"]}, "^node=None of 'activation-covariance': must name a node"),
        ({"claim": "walsh", "tree": hltm.star_tree(5, 0.5)}, "5 leaves: must have at most 4$"),
        ({"claim": "walsh", "tree": hltm.random_tree(3, seed=0)}, "needs symmetric tables$"),
        ({"claim": "operator", "tree": hltm.random_tree(3, seed=0, cardinality=3), "node": 0}, "needs a binary tree$"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        theory.derive(6, **options)
