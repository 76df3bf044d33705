"""What the report says of a statement is what its evidence proves: claims are made of derivations, and false ones are seen."""

import re
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import sympy
from sympy import MatrixSymbol, Symbol

import hltm
import theory
from theory.latex.render import rows
from verify import registry
from verify.engine.assumptions import summary
from verify.engine.claims import Claimed, is_update
from verify.engine.statement import Context
from verify.own.statement import user_statement
from verify.registry import REGISTRY
from verify.strategies import loss_instances
from verify.towers.assumptions import LOSSES, TOWERS

STATEMENTS = [entry.load() for entry in REGISTRY]


@cache
def evidence(number):
    """The symbolic evidence of a statement."""
    statement = registry.entry(str(number)).load()
    (check,) = [check for check in statement.checks if check.kind == "symbolic"]
    return check.run(Context())


def bare(line):
    """A row of a display without what stands beside it."""
    return re.sub(r",?( \\quad \\text\{\([a-z, -]+\)\})?( \\\\)?$", "", line.strip())


def lines(claim):
    return [bare(line) for line in claim.splitlines() if not line.startswith((r"\begin{aligned}", r"\end{aligned}"))]


def proved(number):
    """The rows of every relation that a derivation of the evidence claims."""
    found = evidence(number)
    assert found.status == "holds"
    return {bare(row) for d in found.derivations for relation in d.statement.relations for row in rows(relation)}


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda s: s.slug)
def test_a_claim_is_made_of_derivations_that_are_evidence(statement):
    assert isinstance(statement.stated, Claimed)
    texts = {derivation.statement.text for derivation in evidence(statement.theorem).derivations}
    assert {derivation.statement.text for derivation in statement.stated.derivations()} <= texts
    assert lines(statement.claim)
    assert set(lines(statement.claim)) <= proved(statement.theorem)


FALSE = [
    (1, "- K_{2,l}^{T}", "+ K_{2,l}^{T}"),
    (2, r"\frac{\partial L}{\partial r_{j}} &< 0", r"\frac{\partial L}{\partial r_{j}} &> 0"),
    (3, r"= 2 \mathbb{V}", r"= \mathbb{V}^{2}"),
    (4, r"O\left(s^{2}\right)", r"O\left(s^{3}\right)"),
    (5, "- w_{2j}^{T} w_{2j}", "+ w_{2j}^{T} w_{2j}"),
    (6, r"\left(1 - \rho_{0}^{2}\right)", r"\left(1 - \rho_{0}\right)"),
    (7, "2 w_{j}^{T}", "w_{j}^{T}"),
]


@pytest.mark.parametrize(("number", "true", "false"), FALSE)
def test_a_false_variant_of_a_claim_is_no_relation_of_the_evidence(number, true, false):
    claim = registry.entry(str(number)).load().claim
    assert true in claim
    assert not set(lines(claim.replace(true, false))) <= proved(number)


def relations(number):
    return [relation for relation, _ in registry.entry(str(number)).load().stated.rows()]


def put(expression, values):
    """A matrix expression as an array; names are looked up."""
    if isinstance(expression, MatrixSymbol | Symbol):
        return values[expression.name]
    parts = [put(part, values) for part in expression.args]
    if isinstance(expression, sympy.MatMul | sympy.Mul):
        product = parts[0]
        for part in parts[1:]:
            product = product @ part if np.ndim(product) and np.ndim(part) else product * part
        return product
    if isinstance(expression, sympy.MatAdd | sympy.Add):
        return sum(parts)
    if isinstance(expression, sympy.Transpose):
        return parts[0].T
    if isinstance(expression, sympy.KroneckerProduct):
        return np.kron(*parts)
    if isinstance(expression, sympy.Pow):
        return parts[0] ** parts[1]
    if type(expression).__name__ == "Vec":
        return parts[0].reshape(-1, 1, order="F")
    return float(expression)


def agree(relation, values):
    return np.allclose(put(relation.lhs, values), put(relation.rhs, values), rtol=1e-9, atol=1e-9)


def towers(seed, slope=0.25):
    """Layer 2 of two random towers 3-4-2-2 of leaky ReLU: names to arrays, and the gradient by central differences."""
    rng, values, nets = np.random.default_rng(seed), {}, []
    for name in "12":
        weights = [rng.normal(size=shape) for shape in ((4, 3), (2, 4), (2, 2))]
        nets.append((weights, rng.normal(size=(3, 1))))
        f_1 = output(*nets[-1], slope, layers=1)
        p_2 = weights[1] @ f_1
        jacobian = weights[2] @ np.diag(np.where(p_2 > 0, 1, slope)[:, 0])
        values |= {f"W_{{{name},l}}": weights[1], f"f_{{{name},l-1}}": f_1, f"J_{{{name},l}}": jacobian,
                   f"f_{{{name},L}}": output(*nets[-1], slope), f"K_{{{name},l}}": np.kron(f_1, jacobian.T)}  # fmt: skip
    gap = values["f_{1,L}"] - values["f_{2,L}"]
    values["r"] = gap.T @ gap / 2
    slopes = np.zeros((2, 4))
    for place in np.ndindex(2, 4):
        sides = []
        for step in (1e-6, -1e-6):
            moved = [w.copy() for w in nets[0][0]]
            moved[1][place] += step
            away = output(moved, nets[0][1], slope) - values["f_{2,L}"]
            sides.append((away.T @ away)[0, 0] / 2)
        slopes[place] = (sides[0] - sides[1]) / 2e-6
    return values | {r"\frac{\partial r}{\partial W_{1,l}}": slopes}


def output(weights, x, slope, layers=None):
    for number, weight in enumerate(weights[:layers], start=1):
        x = weight @ x
        if number < len(weights):
            x = np.where(x > 0, x, slope * x)
    return x


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_claim_1_holds_in_networks(seed):
    values = towers(seed)
    claim, *definitions = relations(1)
    assert all(agree(relation, values) for relation in definitions)
    left, right = put(claim.lhs, values), put(claim.rhs, values)
    assert np.allclose(left, right, atol=1e-6)
    names = [MatrixSymbol(f"{name}_{{2,l}}", *shape) for name, shape in (("W", (2, 4)),)]
    weight = next(s for s in claim.rhs.atoms(MatrixSymbol) if s.name == names[0].name)
    assert not np.allclose(left, put(claim.rhs.xreplace({weight: -weight}), values), atol=1e-6)


def test_claim_6_holds_on_a_tree():
    """Variance over z_0 of E[f_k | z_0], by the chain of the tables, for neurons of any selectivity below the node."""
    product, strength, path, vector = relations(6)
    (option,) = registry.entry("6").load().stated.options()
    tree, node = option["tree"], option["node"]
    values = {str(s): float(v) for s, v in theory.parameter_values(tree).items()}
    prior = np.array([float(Fraction(p)) for p in tree.graph.nodes[tree.root]["prior"]])
    law = np.eye(2)
    for above, below in zip(tree.path(tree.root, node), tree.path(tree.root, node)[1:], strict=False):
        law = law @ np.array(tree.graph.edges[above, below]["transition"])
    rng, means = np.random.default_rng(0), []
    for child in tree.children(node):
        s, c = rng.normal(size=2)
        text = {"ν": r"\nu", "κ": r"\kappa"}[child]
        values[f"s_{{{text}}}"] = s
        means.append(law @ np.array(tree.graph.edges[node, child]["transition"]) @ [c - s, c + s])
    truth = np.cov(np.array(means), aweights=prior, bias=True)
    values[str(path.lhs)] = put(path.rhs, values)
    values[str(strength.lhs)] = put(strength.rhs, values)
    values[vector.lhs.name] = np.array([[put(entry, values)] for entry in vector.rhs])
    assert np.abs(truth).max() > 1e-4
    assert np.allclose(put(product.rhs, values), truth, rtol=1e-9, atol=0)
    rho = Symbol(r"\rho_{0}", real=True)
    wrong = put(strength.rhs.xreplace({rho**2: rho}), values)
    values[r"\rho_{0}"] = 0.5
    assert not np.isclose(wrong, put(strength.rhs, values))


def test_claim_2_holds_for_the_losses_that_it_names():
    """Slopes by central differences, three negatives; the sum is zero, the signs are those of the claim."""
    shown = relations(2)
    definitions = [relation.rhs for relation in shown if str(relation.lhs) == "L"]
    assert len(definitions) == 3
    assert [type(relation) for relation in shown[3:]] == [sympy.Gt, sympy.Lt, sympy.Eq]
    rng = np.random.default_rng(5)
    for definition in definitions:
        written = definition.subs(theory.core.notation.H, 3).doit()
        names = [theory.core.notation.r_p, *(theory.core.notation.r[k] for k in (1, 2, 3))]
        rest = {theory.core.notation.tau: 0.5, theory.core.notation.r_0: -0.3}
        value = sympy.lambdify(names, written.subs(rest))
        at = rng.uniform(0.1, 2, size=4)
        slopes = [(value(*(at + e)) - value(*(at - e))) / 2e-5 for e in 1e-5 * np.eye(4)]
        assert slopes[0] > 0
        assert max(slopes[1:]) < 0
        assert abs(sum(slopes)) < 1e-8


@pytest.mark.parametrize("number", [3, 4, 5])
def test_claims_about_updates_name_their_convention(number):
    statement = registry.entry(str(number)).load()
    said = [words for relation, words in statement.stated.rows() if is_update(relation)]
    assert said
    assert all({"shared", "one-branch"} & set(words.split(", ")) for words in said)
    assert ("(one-branch)" in statement.claim) is (number != 4)
    assert ("(shared)" in statement.claim) is (number != 5)


def test_statement_2_names_its_losses():
    statement = registry.entry("2").load()
    for name in ("(simple)", "(triplet)", "(infonce)"):
        assert name in statement.claim
    texts = " ".join(statement.assumptions)
    for word in ("simple loss", "soft triplet", "InfoNCE", "tau > 0", "H >= 1"):
        assert word in texts


def test_a_claim_of_ones_own_is_the_text_that_was_given():
    own = user_statement(
        title="a distance", claim="r = r", strategy=loss_instances(), theory=lambda i, at: at.array(i.r_pos),
        numeric=lambda i, at: at.array(i.r_pos), variants={},
    )  # fmt: skip
    assert own.claim == own.stated == "r = r"


@pytest.mark.parametrize("drops", [TOWERS, LOSSES], ids=["1", "2"])
def test_the_line_of_dropped_assumptions_says_what_stood_in_their_place(drops):
    found = [theorem_outcome(assumption) for assumption in drops]
    listed = summary(found).detail.replace("not shown necessary: ", "").replace("necessary: ", "").split("; ")[:-1]
    assert sorted(listed) == sorted(f"{a.name} ({a.dropped})" for a in drops)
    assert len(set(listed)) == len(drops)


def theorem_outcome(assumption):
    from verify.engine.assumptions import Outcome

    return Outcome(assumption, "necessary" if assumption.necessary else "not shown necessary", None, 1)


def test_the_tree_of_claim_6_has_every_symbol():
    (option,) = registry.entry("6").load().stated.options()
    assert isinstance(option["tree"], hltm.HLTM)
    assert all(option["tree"].children(child) for child in option["tree"].children(option["node"]))
