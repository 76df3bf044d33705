"""The form of every derivation: what is claimed and shown, in the notation of its statement, and why."""

import random
import re

import pytest
import sympy
from sympy import Function, MatrixBase, MatrixSymbol, Symbol, preorder_traversal
from sympy.core.function import AppliedUndef
from sympy.core.relational import Relational

import hltm
import theory
from theory.core.decide import ABSTAINED, ASSUMPTIONS, POLYNOMIAL, SIMPLIFY
from theory.towers.covariance import DROPS
from theory.trees.derivations import decide_nonnegative

# Letters and indices of each statement, as the paper and the notes write them: two towers 1 and 2, layers l to L, ...
NOTATION = {
    "dual-gradient": (r"J K W \frac \nu \partial dW df dp du f n p r t u", "1 2 0 L l l+1 l-1 b f"),
    "contrastive-losses": (r"H L \frac \partial exp j k log r tau", "+ 0 1 2 j p"),
    "covariance-operator": (
        r"Cov D E J K L V W \bar \left \mathbb \nabla \operatorname \right f n p u x y",
        "+ - 1 2 0 L l l+1 l-1 simp x",
    ),
    "weighted-covariance-operator": (
        r"E J K L W \bar \frac \kappa \langle \left \mathbb \nabla \partial \rangle \rho \right \theta \varphi \xi "
        r"\xi' \sum H a b d exp f j k n q r s tau v w x x'",
        "+ - 0 1 2 H L j j- k k- kj k=1 l l-1 a s",
    ),
    "two-layer-dynamics": (
        r"' A Cov D E K L W \psi \bar \dot \left \mathbb \nabla \operatorname \right \sum \tilde a b dw e f n o p s t u w x y",
        r"+ - 0 1 2 101 11 12 1j 1k 2j 2k L \top \psi(p)=p aug d=4 d=5 d=6 d=7 d=8 j jj jk k l l-1 "
        "simp x",
    ),
    "activation-covariance": (
        r"Cov D E J K N OP P V W \bar \mathbb \mathrm \mid \mu \operatorname \rho \xi a b c d f g h k kh mu n o p r rank t w x z",
        r"0 01 1 a b L \mu \nu \xi a b ch d+1 k kh l mu x",
    ),
    "lucky-nodes": (
        r"Abs E F K L P R S T Var \delta \epsilon \exists \ge \mathrm \mu \nu \rho a b c f factorial g i j k log m n p q r s t u v w x y z",
        r"+ - 0 01 02 1 11 12 2 \mu \nu(k) i j k m t l",
    ),
}
CASES = [
    *[("dual-gradient", {"widths": w, "output": o}) for w in (None, (2, 2)) for o in ("linear", "normalized")],
    *[("contrastive-losses", {"loss": loss, "negatives": count})
      for loss, count in (("simple", 1), ("triplet", 1), ("infonce", None), ("infonce", 2))],
    *[("covariance-operator", {"convention": c, "form": f})
      for c in ("shared", "one-branch") for f in ("operator", "general")],
    *[("weighted-covariance-operator", {"loss": loss, "convention": c, "distances": d, "form": f})
      for loss in ("simple", "triplet", "infonce") for c, d, f in
      (("shared", "means", "operator"), ("one-branch", "points", "operator"), ("one-branch", "means", "general"))],
    *[("weighted-covariance-operator", {"loss": "infonce", "convention": c, "negatives": count})
      for c, count in (("shared", None), ("one-branch", None), ("shared", 2))],
    *[("two-layer-dynamics", {"claim": claim}) for claim in ("block", "decoupled", "conserved", "ring")],
    ("two-layer-dynamics", {"widths": (1, 2, 1)}),
    *[("activation-covariance", {"claim": claim}) for claim in ("activation", "update", "losses", "depth", "operator")],
    *[("lucky-nodes", {"claim": claim}) for claim in ("strength", "leaky", "gap", "existence", "law")],
]  # fmt: skip
# Fonts and brackets say nothing of what a letter stands for.
FONTS = {r"\mathbb", r"\mathcal", r"\mathrm", r"\mid", r"\operatorname", r"\left", r"\right"}
WORD = re.compile(r"([_^])\{\\mathrm\{(\w+)\}\}")  # an index that is a word, set upright
INDEX = re.compile(r"[_^](\{[^{}]*\}|\\?[A-Za-z0-9+]+)")


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{'-'.join(map(str, case[1].values()))}")
def derivation(request):
    return theory.derive(request.param[0], **request.param[1])


def texts(derivation):
    yield from (derivation.statement.text, *derivation.assumptions)
    yield from (step.justification for step in derivation.steps)


def relations(derivation):
    for relation in (*derivation.statement.relations, *(step.expression for step in derivation.steps)):
        yield from relation.args if isinstance(relation, sympy.Equivalent) else [relation]


def test_every_step_is_proved_and_says_why(derivation):
    assert derivation.proved
    assert derivation.decision.value is True
    assert len(derivation.steps) > 1
    assert derivation.assumptions
    for text in texts(derivation):
        assert isinstance(text, str)
        assert text == text.strip() != ""
        assert not re.search(r"\bNone\b|\bTrue\b|\bFalse\b", text)
    for decision in (derivation.decision, *(step.decision for step in derivation.steps)):
        assert decision.value is True
        assert decision.method in (POLYNOMIAL, SIMPLIFY, ASSUMPTIONS)
        assert isinstance(decision.detail, str)
    assert len({step.justification for step in derivation.steps}) > 1
    assert len(set(derivation.assumptions)) == len(derivation.assumptions)


def test_what_is_shown_is_a_relation_between_two_sides_of_one_shape(derivation):
    for relation in relations(derivation):
        assert isinstance(relation, Relational)
        shapes = [getattr(side, "is_Matrix", False) and side.shape for side in (relation.lhs, relation.rhs)]
        # Symbolic sizes are equal as expressions; a number stands for every zero.
        assert relation.rhs == 0 or shapes[0] == shapes[1], relation
    residual = sympy.S.Zero if derivation.residual is None else derivation.residual
    assert residual == (sympy.zeros(*residual.shape) if isinstance(residual, MatrixBase) else residual * 0)


def names(derivation):
    for expression in (*relations(derivation), derivation.residual or sympy.S.Zero):
        for part in preorder_traversal(expression):
            if isinstance(part, Symbol | MatrixSymbol):
                yield part.name
            elif isinstance(part, Function | AppliedUndef):
                yield type(part).__name__


def test_symbols_are_those_of_the_statement(derivation):
    letters, indices = (set(text.split()) for text in NOTATION[derivation.slug])
    for name in {WORD.sub(r"\1{\2}", name) for name in names(derivation)}:
        rest = INDEX.sub(" ", name)
        while INDEX.search(rest):
            rest = INDEX.sub(" ", rest)
        assert set(re.findall(r"\\?[A-Za-z']+", rest)) <= letters | FONTS, name
        for index in INDEX.findall(name):
            assert set(re.split("[,;]", index.strip("{}"))) <= indices, name


# Quantities that are not negative, and those that are not 0 either, by the statement.
POSITIVE = {
    "dual-gradient": r"\nu_{1} n_{L} n_{l} n_{l-1} n_{l+1}", "contrastive-losses": "tau H j k", "covariance-operator": "n_{L} n_{l} n_{l-1}",
    "weighted-covariance-operator": "tau v H j k n_{L} n_{l} n_{l-1}", "activation-covariance": "t",
    "two-layer-dynamics": "o p a_{11} a_{12} n_{0} n_{1} n_{2} n_{l} n_{l-1}", "lucky-nodes": "L R x n m",
}  # fmt: skip
NONNEGATIVE = {
    "contrastive-losses": "r r_1 r_2 r_p", "activation-covariance": r"c d o_{\mu} o_{d+1} |\rho_{0}|",
    "lucky-nodes": r"P_{t} \mathrm{Var} a u_{0} u_{1} v w q_{0} q_{1} q_{2} p_{+} p_{-}",
}  # fmt: skip
WHOLE = ("H", "j", "k", "n", "m", "d")


def test_numbers_are_real_and_have_the_signs_of_the_statement(derivation):
    for relation in relations(derivation):
        sides = {limit.args[3] for limit in relation.atoms(sympy.Limit)}
        for symbol in relation.atoms(Symbol) - sides:
            # A loss, and the sum in front of a matrix, are names for more than a number.
            if symbol.name not in ("L", r"\sum_{k=1}^{H}") or derivation.slug == "lucky-nodes":
                assert symbol.is_real, symbol
            if symbol.name in POSITIVE[derivation.slug].split():
                assert symbol.is_positive, symbol
            if symbol.name in NONNEGATIVE.get(derivation.slug, "").split():
                assert symbol.is_nonnegative, symbol
                assert not symbol.is_positive, symbol
            if symbol.name in WHOLE or symbol.name.startswith("n_"):
                assert symbol.is_integer, symbol


def defines(side, other):
    """Whether a side is a name that the other side explains or bounds."""
    return side.is_Symbol and side not in other.free_symbols


def drawn(symbol, rng):
    if symbol.is_integer:
        return sympy.Integer(rng.randint(1, 4))
    size = sympy.Rational(rng.randint(1, 9), rng.randint(1, 5))
    return size if symbol.is_nonnegative or symbol.is_positive or rng.random() < 0.5 else -size


def test_relations_between_numbers_hold_at_random_points(derivation):
    """What is shown is put to numbers, whatever the decision was made on."""
    rng = random.Random(11)
    for relation in relations(derivation):
        names = relation.free_symbols
        vectors = [side for side in relation.args if getattr(side, "is_Matrix", False)]
        abstract = (
            vectors or relation.atoms(sympy.IndexedBase, sympy.Limit) or any(r"\partial" in str(name) for name in names)
        )
        if abstract or any(defines(*pair) for pair in ((relation.lhs, relation.rhs), (relation.rhs, relation.lhs))):
            continue
        for _ in range(4):
            point = {name: drawn(name, rng) for name in sorted(names, key=str)}
            left, right = (sympy.N(side.subs(point), 40) for side in (relation.lhs, relation.rhs))
            if isinstance(relation, sympy.Eq):
                assert abs(left - right) <= 1e-25 * (1 + abs(left)), (relation, point)
            else:
                assert relation.func(left, right) == True, (relation, point)  # noqa: E712 (a Boolean of SymPy)


def test_derivations_of_one_statement_differ():
    """An option that is not heeded would leave the statement as it is."""
    found = {}
    for slug, options in CASES:
        derivation = theory.derive(slug, **options)
        shown = (derivation.statement.text, derivation.statement.expression, tuple(derivation.steps))
        found.setdefault(slug, []).append(shown)
    for slug, shown in found.items():
        assert len(set(shown)) == len(shown), slug


@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_the_general_form_needs_no_homogeneity(convention):
    """2 Cov[Kbar, fbar] holds for every differentiable network; V[Kbar] vec W needs f = K^T vec W."""
    needed = {
        form: set(theory.derive(3, convention=convention, form=form).assumptions) for form in ("operator", "general")
    }
    assert needed["general"] < needed["operator"]
    (only,) = needed["operator"] - needed["general"]
    assert only == DROPS["homogeneity"]
    shown = {form: set(names(theory.derive(3, convention=convention, form=form))) for form in ("operator", "general")}
    last = {form: theory.derive(3, convention=convention, form=form).statement.expression for form in shown}
    variance, covariance = (any(isinstance(p, MatrixSymbol) and mark in p.name for p in preorder_traversal(last[form]))
                            for form, mark in (("operator", "mathbb{V}"), ("general", "Cov")))  # fmt: skip
    assert variance
    assert covariance
    assert not any(r"\mathbb{V}" in name for name in shown["general"])


@pytest.mark.parametrize("convention", ["shared", "one-branch"])
@pytest.mark.parametrize("drop", [name for name in DROPS if name is not None])
def test_a_dropped_assumption_is_named_and_leaves_something(convention, drop):
    found = theory.derive(3, convention=convention, drop=drop)
    assert not found.proved
    assert found.decision.value is False
    assert DROPS[drop] not in found.assumptions
    assert set(found.assumptions) == set(DROPS.values()) - {DROPS[drop]}
    assert found.residual != sympy.ZeroMatrix(*found.residual.shape)
    assert found.statement.text.strip()


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_bound_at_a_depth_is_that_of_the_node(depth):
    """o = rho_{0 mu}^2 (1 - rho_0^2) along a chain with polarities of size at most c."""
    tree = hltm.complete_tree(depth=4, branching=1, polarity=0.75)
    found = theory.derive(6, tree=tree, node=depth, claim="depth")
    relation, limit = found.statement.relations
    c = sympy.Symbol("c", nonnegative=True)
    assert isinstance(relation, sympy.Ge)
    assert limit.lhs.subs(c, sympy.Rational(3, 4)).doit() == limit.rhs == 0
    assert relation.lhs == c ** (2 * depth)
    assert relation.rhs.is_Symbol
    assert relation.lhs.subs(c, sympy.Rational(3, 4)) >= tree.polarity(0, depth) ** 2 * (1 - tree.root_polarity**2)
    assert f"c^{2 * depth} at this node of depth {depth}" in found.statement.text
    assert found.residual is None


@pytest.mark.parametrize(
    ("text", "value", "detail"),
    [("t**2 + 2*t", True, "coefficients of one sign in 1 nonnegative generators"), ("t - 1", None, "no proof of the sign"),
     ("t*u + 3", True, "coefficients of one sign in 2 nonnegative generators"), ("t*v", None, "no proof of the sign"),
     ("7", True, "coefficients of one sign in 0 nonnegative generators"), ("-7", None, "no proof of the sign"),
     ("0", True, "coefficients of one sign in 0 nonnegative generators")],
)  # fmt: skip
def test_polynomials_that_are_nowhere_negative(text, value, detail):
    t, u = sympy.symbols("t u", nonnegative=True)
    v = sympy.Symbol("v", real=True)
    decision = decide_nonnegative(sympy.sympify(text, locals={"t": t, "u": u, "v": v}))
    assert (decision.value, decision.detail) == (value, detail)
    assert decision.method == (POLYNOMIAL if value else ABSTAINED)


@pytest.mark.parametrize("convention", ["shared", "one-branch"])
def test_many_negatives_are_a_sum_over_them(convention):
    """One negative has its leading term alone; H of them the sum of H such terms, whatever is shown of it."""
    single, many = (theory.derive(4, loss="infonce", negatives=h, convention=convention) for h in (1, None))
    marks = [any("sum_" in name for name in map(str, d.statement.expression.free_symbols)) for d in (single, many)]
    assert marks == [False, True]
    assert ("1/2 sum_k" in single.statement.text) is (convention == "one-branch")
    assert "1/2 sum_k" not in many.statement.text
    assert ("E[xi_k (Kbar(x) - Kbar(x'_k))" in many.statement.text) is (convention == "shared")
    assert "E[xi_k (Kbar(x) - Kbar(x'_k))" in single.statement.text
    for derivation, order in ((single, 2), (theory.derive(4, distances="points", convention=convention), 1)):
        assert f"theta = O(s^{order})" in derivation.statement.text
