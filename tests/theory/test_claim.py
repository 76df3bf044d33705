"""The claim that is shown is the one that is decided, put to numbers and made false."""

import pickle
from fractions import Fraction

import numpy as np
import pytest
import sympy
from flint import arb
from sympy import Eq, Identity, MatMul, Order, Symbol, Transpose

import hltm
import theory
from hltm.base.errors import InputError
from theory.core.claim import Claim, equation, relations_of, together
from theory.core.equality import check_identity
from theory.core.notation import Rate, SumOver, Vec, dimension
from theory.core.quantity import quantity
from theory.core.reading import NotReadError, derivative_along

CATEGORICAL = hltm.random_tree(5, seed=0, cardinality=(3, 3))
DEEP = hltm.complete_tree(3, 2, polarity=0.5)
CASES = [
    *[(1, {"widths": w, "output": o}) for w in (None, (2, 2)) for o in ("linear", "normalized")],
    (1, {"widths": (3, 2, 2)}),
    *[(2, {"loss": loss, "negatives": count})
      for loss, count in (("simple", None), ("simple", 1), ("triplet", None), ("infonce", None), ("infonce", 3))],
    *[(3, {"convention": c, "form": f}) for c in ("shared", "one-branch") for f in ("operator", "general")],
    *[(4, {"loss": loss, "negatives": count, "convention": c, "form": f, "distances": d})
      for loss, count in (("infonce", 1), ("infonce", 2), ("infonce", None), ("triplet", 1), ("simple", 1))
      for c in ("shared", "one-branch") for f in ("operator", "general") for d in ("means", "points")],
    *[(5, {"claim": claim}) for claim in ("block", "decoupled", "conserved", "ring")],
    (5, {"widths": (2, 2, 1)}),
    *[(6, {"claim": claim}) for claim in ("activation", "update", "losses", "depth")],
    *[(6, {"claim": claim, "tree": DEEP, "node": 6}) for claim in ("activation", "update", "losses", "depth")],
    *[(6, {"claim": "activation", "tree": CATEGORICAL, "node": node}) for node in (0, 4)],
    (6, {"claim": "operator"}),
    (6, {"claim": "walsh"}),
    *[(6, {"claim": "operator", "tree": DEEP, "node": node}) for node in (0, 1, 6)],
    (6, {"claim": "walsh", "tree": hltm.complete_tree(2, 2, polarity=0.5)}),
    *[(7, {"claim": claim}) for claim in ("strength", "leaky", "gap", "existence", "law")],
]  # fmt: skip


def name(case):
    number, options = case
    return "-".join([str(number), *(str(v) for v in options.values() if not isinstance(v, hltm.HLTM))])


@pytest.fixture(scope="module", params=CASES, ids=name)
def derived(request):
    return theory.derive(request.param[0], **request.param[1])


def test_the_claim_that_is_shown_is_decided(derived):
    found = derived.decides(derived.claim)
    assert found.value is True
    assert derived.proved
    assert derived.statement is derived.claim
    assert derived.claim.latex("align") in derived.latex() or derived.claim.latex("equation")


def test_no_mutant_is_proved(derived):
    """Each changes one relation; those that are not refuted abstain, and most are refuted."""
    mutants = derived.claim.mutants()
    assert len(mutants) >= len(derived.claim.relations)
    values = {change: derived.decides(wrong).value for change, wrong in mutants.items()}
    assert not any(values.values()), values
    assert 2 * sum(value is False for value in values.values()) >= len(values), values


def test_every_relation_has_a_mutant(derived):
    for number, relation in enumerate(derived.claim.relations):
        changed = [m.relations[number] != relation for m in derived.claim.mutants().values()]
        assert any(changed), relation


def altered(relation):
    """The same relation changed from outside, without the rewrites of `theory`: right side times 7, its sign."""
    if not isinstance(relation, sympy.Equality) or isinstance(relation.rhs, Order) or relation.rhs == 0:
        return
    if isinstance(relation.rhs, sympy.ZeroMatrix):
        return
    for factor in (7, -1, sympy.Rational(1, 2)):
        product = MatMul if relation.rhs.is_Matrix else sympy.Mul
        yield Eq(relation.lhs, product(factor, relation.rhs), evaluate=False)


def test_relations_altered_from_outside_are_not_proved(derived):
    for number, relation in enumerate(derived.claim.relations):
        for wrong in altered(relation):
            parts = [*derived.claim.relations]
            parts[number] = wrong
            assert derived.decides(derived.claim.replace(relations=tuple(parts))).value is not True, wrong


def test_a_claim_of_other_symbols_is_not_decided(derived):
    """Symbols of the same name and shape, without the role: nothing was derived for them."""
    plain = {
        symbol: sympy.MatrixSymbol(symbol.name, *symbol.shape) if symbol.is_Matrix else sympy.Dummy(symbol.name)
        for symbol in derived.claim.quantities
        if hasattr(symbol, "role")
    }
    assert plain
    parts = tuple(
        relation.func(*(side.xreplace(plain) for side in relation.args), evaluate=False)
        for relation in derived.claim.relations
    )
    assert derived.decides(derived.claim.replace(relations=parts)).value is not True


def test_an_empty_claim_is_not_proved(derived):
    assert derived.decides(derived.claim.replace(relations=())).value is None


@pytest.mark.parametrize(
    ("number", "options", "change"),
    [
        (3, {}, lambda v: Eq(v.lhs, 3 * v.rhs / 2, evaluate=False)),
        (4, {}, lambda v: v),
        (5, {"claim": "decoupled"}, lambda v: Eq(v.lhs, sympy.ZeroMatrix(*v.rhs.shape), evaluate=False)),
        (6, {"claim": "activation"}, lambda v: Eq(v.lhs, 9 * v.rhs, evaluate=False)),
        (7, {"claim": "law"}, lambda v: Eq(v.lhs, 5 * v.rhs, evaluate=False)),
    ],
)
def test_the_defects_that_were_found(number, options, change):
    """3 V for V, O(s^9), dw = 0, 9 times the right side, 5 times the law: each stayed proved once."""
    derived = theory.derive(number, **options)
    parts = [change(derived.claim.relations[0]), *derived.claim.relations[1:]]
    if number == 4:
        place = next(i for i, part in enumerate(parts) if isinstance(part.rhs, Order))
        (spread,) = parts[place].rhs.variables
        parts[place] = Eq(parts[place].lhs, Order(spread**9), evaluate=False)
    assert derived.proved
    assert derived.decides(derived.claim.replace(relations=tuple(parts))).value is not True


def test_a_weaker_true_order_is_proved():
    derived = theory.derive(4)
    place = next(i for i, part in enumerate(derived.claim.relations) if isinstance(part.rhs, Order))
    (spread,) = derived.claim.relations[place].rhs.variables
    parts = list(derived.claim.relations)
    parts[place] = Eq(parts[place].lhs, Order(spread), evaluate=False)
    assert derived.decides(derived.claim.replace(relations=tuple(parts))).value is True


def test_the_sum_over_k_is_not_its_generic_term():
    derived = theory.derive(5, claim="block")
    rate = derived.claim.relations[0]
    assert isinstance(rate.rhs, SumOver)
    parts = (Eq(rate.lhs, rate.rhs.args[0], evaluate=False), *derived.claim.relations[1:])
    assert derived.decides(derived.claim.replace(relations=parts)).value is None


def test_typed_symbols_are_values():
    n = dimension("0")
    matrix, scalar = quantity("weights", "W", n, n, where={"layer": 1}), quantity("rate", "W", where={"layer": 1})
    for symbol in (matrix, scalar):
        assert pickle.loads(pickle.dumps(symbol)) == symbol  # noqa: S301
        assert symbol.place == (("layer", "1"),)
    assert matrix != sympy.MatrixSymbol("W", n, n)
    assert matrix != quantity("weights", "W", n, n, where={"layer": 2})
    assert scalar not in (Symbol("W", real=True), quantity("weights", "W", where={"layer": 1}))
    assert scalar.is_real
    assert matrix.xreplace({n: sympy.Integer(2)}).shape == (2, 2)
    assert matrix.xreplace({n: sympy.Integer(2)}).role == "weights"


def test_relations_stand_alone_or_together():
    x = Symbol("x")
    one, two = equation(x, 1), equation(x, 2)
    assert relations_of(together((one, two))) == (one, two)
    assert Claim("one", one).relations == (one,)
    assert Claim("two", (one, two)).expression == sympy.Tuple(one, two)


def test_rates_follow_the_product_rule():
    n = dimension("0")
    a, b, da, db = (sympy.MatrixSymbol(letter, n, n) for letter in ("A", "B", "C", "D"))
    found = derivative_along(Transpose(a) * b + 2 * b, {a: da, b: db})
    assert check_identity(found, Transpose(da) * b + Transpose(a) * db + 2 * db).value is True
    with pytest.raises(NotReadError, match=r"^nothing is derived about the rate of B$"):
        derivative_along(Transpose(a) * b, {a: da})
    assert Rate(a).shape == (n, n)


N, M = dimension("a"), dimension("b")
A, B = quantity("weights", "A", N, M), quantity("weights", "B", M, N)
X = quantity("pair weight", "x")
SIZES = {N: 2, M: 3}


@pytest.mark.parametrize("arithmetic", ["rational", "ball", "float64"])
def test_both_sides_are_worked_out_in_three_arithmetics(arithmetic):
    make = {"rational": Fraction, "ball": lambda v: arb(v.numerator) / v.denominator, "float64": float}[arithmetic]
    rng = np.random.default_rng(0)
    values = {A: [[make(Fraction(int(v), 3)) for v in row] for row in rng.integers(-5, 5, (2, 3))],
              B: [[make(Fraction(int(v), 7)) for v in row] for row in rng.integers(-5, 5, (3, 2))],
              X: make(Fraction(2, 5)), **SIZES}  # fmt: skip
    left = Vec(MatMul(X, A, B, A)) + Vec(A)
    right = X * sympy.KroneckerProduct(Transpose(B * A), Identity(N)) * Vec(A) + Vec(A)
    (sides,) = Claim("c", (equation(left, right),)).evaluate(values, arithmetic)
    assert sides.left.shape == sides.right.shape == (6, 1)
    reference = np.array(values[A], dtype=float) if arithmetic == "float64" else None
    for one, other in zip(sides.left[:, 0], sides.right[:, 0], strict=True):
        assert one == other if arithmetic == "rational" else abs(float(one - other)) < 1e-12
    if reference is not None:
        product = 0.4 * reference @ np.array(values[B]) @ reference + reference
        assert np.allclose(sides.left[:, 0], product.flatten(order="F"))


def test_functions_of_scalars():
    relation = equation(sympy.exp(-X) + sympy.log(X) + sympy.sqrt(X) + sympy.Max(X, 1) + abs(X), X**3)
    for arithmetic, value in (("float64", 2.0), ("ball", arb(2))):
        (sides,) = Claim("c", (relation,)).evaluate({X: value}, arithmetic)
        wanted = np.exp(-2) + np.log(2) + np.sqrt(2) + 4
        assert float(sides.left[0, 0]) == pytest.approx(wanted, rel=1e-14)
        assert float(sides.right[0, 0]) == 8


@pytest.mark.parametrize(
    ("values", "arithmetic", "message"),
    [
        ({}, "float64", "^values of evaluate: x has none$"),
        ({X: 1.0}, "decimal", "^arithmetic='decimal' of evaluate: must be one of rational, ball, float64$"),
        ({X: Fraction(1, 2)}, "rational", "^exp of evaluate: the rational arithmetic has no such operation$"),
    ],
)
def test_what_cannot_be_worked_out_is_one_line(values, arithmetic, message):
    with pytest.raises(InputError, match=message):
        Claim("c", (equation(sympy.exp(X), 1),)).evaluate(values, arithmetic)


def test_an_array_of_another_shape_is_refused():
    with pytest.raises(InputError, match=r"^values of evaluate: A has shape \(3, 3\), must have \(2, 3\)$"):
        Claim("c", (equation(A, A),)).evaluate({A: np.eye(3), **SIZES})


def test_an_inverse_is_not_its_matrix_with_a_sign():
    """A power that is none of a product has no reading: it must not be read as a product with its exponent."""
    derived = theory.derive(3)
    (relation,) = derived.claim.relations
    (operator,) = (s for s in derived.claim.quantities if getattr(s, "role", "") == "covariance operator")
    for power in (-1, Symbol("m", integer=True)):
        wrong = Eq(relation.lhs, relation.rhs.xreplace({operator: sympy.MatPow(operator, power)}), evaluate=False)
        assert derived.decides(derived.claim.replace(relations=(wrong,))).value is None


def test_the_sum_over_negatives_is_taken_once():
    derived = theory.derive(4, loss="infonce", negatives=2)
    update = derived.claim.relations[0]
    (over,) = (s for s in derived.claim.quantities if getattr(s, "role", "") == "sum over the negatives")
    for factor in (over**2, 1 / over, sympy.S.One):
        parts = (Eq(update.lhs, update.rhs.xreplace({over: factor}), evaluate=False), *derived.claim.relations[1:])
        assert derived.decides(derived.claim.replace(relations=parts)).value is not True, factor


@pytest.mark.parametrize("claim", ["strength", "leaky"])
def test_a_bound_is_refuted_only_where_a_law_attains_it(claim):
    """The bound is attained: the same bound plus something is refuted, less something is proved."""
    derived = theory.derive(7, claim=claim)
    (relation,) = derived.claim.relations
    for change, wanted in ((sympy.Rational(1, 10), False), (sympy.Rational(-1, 10), True)):
        moved = sympy.Ge(relation.lhs, relation.rhs + change, evaluate=False)
        assert derived.decides(derived.claim.replace(relations=(moved,))).value is wanted
