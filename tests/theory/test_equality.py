"""decide_equal, decide_zero and decide_order: every verdict below is written down by hand."""

import re
from itertools import product

import pytest
import sympy
from sympy import (
    Abs,
    Determinant,
    Eq,
    Function,
    HadamardProduct,
    Heaviside,
    Identity,
    Inverse,
    KroneckerProduct,
    Matrix,
    MatrixSymbol,
    Max,
    Min,
    OneMatrix,
    Piecewise,
    Rational,
    Sum,
    Symbol,
    Trace,
    Transpose,
    ZeroMatrix,
    exp,
    log,
    sign,
    sqrt,
)  # fmt: skip

import theory
from theory.core import equality
from theory.core.decide import ABSTAINED, CASES, POINT, POLYNOMIAL, admissible, decide_positive, exact_points
from theory.core.decide import decide_zero as decide_zero_of_scalars
from theory.core.normal import linear_sums
from theory.core.notation import Vec, k

n, m, p = sympy.symbols("n m p", integer=True, positive=True)
A, B, C = (MatrixSymbol(name, n, n) for name in "ABC")
U, W, V, K = MatrixSymbol("U", n, m), MatrixSymbol("W", n, m), MatrixSymbol("V", m, n), MatrixSymbol("K", m, m)
P, Q = MatrixSymbol("P", 2, 2), MatrixSymbol("Q", 2, 2)
u = MatrixSymbol("u", n, 1)
a, b = sympy.symbols("a b", commutative=False)
x, y, z = sympy.symbols("x y z", real=True)
w = Symbol("w")
r, s = sympy.symbols("r s", positive=True)
H = Symbol("H", integer=True, positive=True)
i = Symbol("i", integer=True, positive=True)
eta, alpha = sympy.symbols("eta alpha", positive=True)
unit = Identity(n)


def balance(true):
    """DirectPred (arXiv 2102.06810, Theorem 1), and every product of it in the other order."""
    G = MatrixSymbol("G", n, n)
    dw, dp = B.T * G - eta * A, alpha * G * A.T - eta * B
    if true:
        return dw * A.T + A * dw.T - (dp.T * B + B.T * dp) / alpha, -2 * eta * (A * A.T - B.T * B / alpha)
    return dw.T * A + A.T * dw - (dp * B.T + B * dp.T) / alpha, -2 * eta * (A.T * A - B * B.T / alpha)


TRUE = {
    "transpose of a product": ((A * B).T, B.T * A.T),
    "inverse of a product": ((A * B).I, B.I * A.I),
    "inverse of a transpose": (Inverse(A.T), Transpose(Inverse(A))),
    "inverse of a multiple": (Inverse(2 * A), Inverse(A) / 2),
    "inverse of a Kronecker product": (Inverse(KroneckerProduct(A, K)), KroneckerProduct(A.I, K.I)),
    "square of a sum": ((A + B) ** 2, A**2 + A * B + B * A + B**2),
    "negative power": (A**-2 * A**3, A),
    "cyclic trace": (Trace(A * B * C), Trace(B * C * A)),
    "trace of a transpose": (Trace(A.T * B), Trace(B.T * A)),
    "trace of another size": (Trace(U * V), Trace(V * U)),
    "trace of the identity": (Trace(unit + A), n + Trace(A)),
    "trace of a Kronecker product": (Trace(KroneckerProduct(A, K)), Trace(A) * Trace(K)),
    "function of a trace": (exp(Trace(A * B)), exp(Trace(B * A))),
    "determinant of a product": (Determinant(A * B), Determinant(B) * Determinant(A)),
    "determinant of an inverse": (Determinant(A.I) * Determinant(A.T), 1),
    "determinant of a multiple": (Determinant(x * A), x**n * Determinant(A)),
    "Hadamard commutes": (HadamardProduct(A, B), HadamardProduct(B, A)),
    "Hadamard distributes": (HadamardProduct(A, B + C), HadamardProduct(A, B) + HadamardProduct(A, C)),
    "Hadamard with the identity": (HadamardProduct(unit, A), HadamardProduct(unit, A.T)),
    "ones": (OneMatrix(n, m) * OneMatrix(m, n), m * OneMatrix(n, n)),
    "sum of all entries": (Trace(OneMatrix(n, n) * A), Trace(A.T * OneMatrix(n, n))),
    "mixed product": (KroneckerProduct(A, K) * KroneckerProduct(B, K), KroneckerProduct(A * B, K**2)),
    "vec": (Vec(A * U * K), KroneckerProduct(K.T, A) * Vec(U)),
    "balance": balance(True),
    "push-through": (Inverse(unit + U * V) * U, U * Inverse(Identity(m) + V * U)),
    "Woodbury": (Inverse(A + U * K * V), A.I - A.I * U * Inverse(K.I + V * A.I * U) * V * A.I),
    "parallel sum": (Inverse(A + B), A.I * Inverse(A.I + B.I) * B.I),
    "zero": (A * B - A * B, 0),
    "scalar product": (u.T * A * u, Trace(A * u * u.T)),
    "Cayley-Hamilton": (P**2 - Trace(P) * P + Determinant(P) * Identity(2), ZeroMatrix(2, 2)),
    "determinant at a size": (Determinant(P) * 2, Trace(P) ** 2 - Trace(P**2)),
    "free square": ((a + b) ** 2, a**2 + a * b + b * a + b**2),
    "free inverse": (1 / (a * b), b**-1 * a**-1),
    "free unit": ((1 + a) * (1 - a), 1 - a**2),
    "free push-through": (a * (1 + b * a) ** -1, (1 + a * b) ** -1 * a),
    "explicit": (Matrix([[x, 1], [0, y]]) * Matrix([[x, 1], [0, y]]), Matrix([[x**2, x + y], [0, y**2]])),
    "quotient": ((x**2 - 1) / (x - 1), x + 1),
    "x / x": (sympy.Mul(x, 1 / x, evaluate=False), 1),
    "Heaviside": (Heaviside(x) + Heaviside(-x), 1),
    "Max and Max": (Max(x, 0) - Max(-x, 0), x),
    "Max and Abs": (Max(x, y), (x + y + Abs(x - y)) / 2),
    "Max and Min": (Max(x, y) + Min(x, y), x + y),
    "medians": (Max(Min(x, y), Min(y, z), Min(x, z)), Min(Max(x, y), Max(y, z), Max(x, z))),
    "sign": (sign(x) * x, Abs(x)),
    "Piecewise": (Piecewise((x, x > 0), (-x, True)), Abs(x)),
    "sum over a bound": (Sum(2 * exp(-i), (i, 1, H)) + Sum(x * exp(-i), (i, 1, H)), (2 + x) * Sum(exp(-k), (k, 1, H))),
    "sum of a constant": (Sum(x, (i, 1, H)), H * x),
    "one expression": (Function("F")(x), Function("F")(x)),
}  # fmt: skip
FALSE = {
    "gram": (A * A.T, A.T * A),
    "inverses in order": (Inverse(A) * Inverse(B), Inverse(A * B)),
    "commutator": (A * B - B * A, ZeroMatrix(n, n)),
    "product": (A * B, B * A),
    "transpose in order": ((A * B).T, A.T * B.T),
    "trace reversed": (Trace(A * B * C), Trace(B * A * C)),
    "binomial": ((A + B) ** 2, A**2 + 2 * A * B + B**2),
    "Kronecker swapped": (KroneckerProduct(A, B), KroneckerProduct(B, A)),
    "Hadamard for product": (HadamardProduct(A, B), A * B),
    "balance in the wrong order": balance(False),
    "push-through without a transpose": (Inverse(unit + U * V) * U, W),
    "Woodbury with a plus": (Inverse(A + U * K * V), A.I + A.I * U * Inverse(K.I + V * A.I * U) * V * A.I),
    "Cayley-Hamilton of any size": (A**2 - Trace(A) * A + Determinant(A) * unit, ZeroMatrix(n, n)),
    "Cayley-Hamilton with a sign": (P**2 + Trace(P) * P + Determinant(P) * Identity(2), 0),
    "determinant of a sum": (Determinant(P + Q), Determinant(P) + Determinant(Q)),
    "vec by rows": (Vec(A * U * K), KroneckerProduct(A, K.T) * Vec(U)),
    "trace of the identity": (Trace(unit + A), 2 + Trace(A)),
    "shapes": (U, V),
    "shapes at a size": (Matrix([[1, 2]]), Matrix([[1], [2]])),
    "free product": (a * b, b * a),
    "free square": ((a + b) ** 2, a**2 + 2 * a * b + b**2),
    "explicit": (Matrix([[1, x], [0, 1]]), Matrix([[1, y], [0, 1]])),
    "complex root": (sqrt(w**2), w),
    "real root": (sqrt(x**2), x),
    "complex logarithm": (log(w**2), 2 * log(w)),
    "tiny": (x * (1 + Rational(1, 10**30)), x),
    "Max": (Max(x, y), (x + y) / 2),
    "Heaviside of both": (Heaviside(x) + Heaviside(-x), 2),
}
OPEN = {
    "float": (x * (1 + 1e-17), x, "not an exact number"),
    "float that cancels": (x * 0.1 + y, x * 0.1 + y, "not an exact number"),
    "float in a matrix": (0.5 * A, A / 2, "not an exact number"),
    "undefined functions": (Function("F")(x), Function("G")(x), "no proof"),
    "function of free symbols": (exp(a + b), exp(a) * exp(b), "exp of a non-commutative symbol"),
    "adjoint": (sympy.Adjoint(A * B), sympy.Adjoint(B) * sympy.Adjoint(A), "Adjoint has no index form"),
    "Max of complex": (Max(w, 0) - Max(-w, 0), w, "w: must be declared real"),
    "Sylvester": (Determinant(unit + U * V), Determinant(Identity(m) + V * U), "no refuting instance"),
    "matrix and scalar": (A, Symbol("c"), "a matrix and a scalar"),
    "symbolic power": (A**p, A**p * unit, "power"),
    "infinity": (sympy.oo * x, sympy.oo * x, "not an exact number"),
}


@pytest.mark.parametrize("name", TRUE)
def test_true_equations_are_proved(name):
    decision = theory.decide_equal(*TRUE[name])
    assert decision.value is True, decision
    assert decision.method not in (POINT, ABSTAINED)
    assert theory.decide_equal(*TRUE[name][::-1]).value is True


@pytest.mark.parametrize("name", FALSE)
def test_false_equations_are_refuted_with_a_witness(name):
    for sides in (FALSE[name], FALSE[name][::-1]):
        decision = theory.decide_equal(*sides)
        assert decision.value is False, decision
        assert re.search(r"left = .*right = |left - right = |left is .*right is ", decision.detail), decision


@pytest.mark.parametrize("name", OPEN)
def test_what_no_method_covers_abstains_and_says_what_was_missing(name):
    left, right, missing = OPEN[name]
    decision = theory.decide_equal(left, right)
    assert (decision.value, decision.method) == (None, ABSTAINED), decision
    assert missing in decision.detail


def test_a_witness_put_in_by_hand_refutes():
    detail = theory.decide_equal(A * B, B * A).detail
    found = re.fullmatch(
        r"at n = 2, A = (\S+, \S+, \S+, \S+), B = (\S+, \S+, \S+, \S+): left = (.*), right = (.*)", detail
    )
    values = [Matrix([[int(v) for v in re.findall(r"-?\d+", text)][:2], [int(v) for v in re.findall(r"-?\d+", text)][2:]]) for text in found.groups()]  # fmt: skip
    assert values[0] * values[1] == values[2]
    assert values[1] * values[0] == values[3]
    assert values[2] != values[3]


def test_a_proof_and_a_witness_have_to_agree(monkeypatch):
    monkeypatch.setattr(equality, "refuting_instance", lambda *_: ("at n = 2", 1))
    decision = theory.decide_equal((A * B).T, B.T * A.T)
    assert decision.value is None
    assert "disagree" in decision.detail
    monkeypatch.setattr(equality, "refuting_instance", lambda *_: (None, 4))
    assert theory.decide_equal(A * B, B * A).value is None


def test_an_inverse_that_never_exists_proves_nothing():
    v = MatrixSymbol("v", 3, 1)
    decision = theory.decide_equal(sympy.MatMul(Inverse(v * v.T), v * v.T), Identity(3))
    assert decision.value is None


def test_a_proof_without_an_instance_abstains(monkeypatch):
    monkeypatch.setattr(equality, "refuting_instance", lambda *_: (None, 0))
    decision = theory.decide_equal((A * B).I, B.I * A.I)
    assert (decision.value, decision.detail) == (None, "no instance at which the inverses of both sides exist")
    assert theory.decide_equal((A * B).T, B.T * A.T).value is True


def test_zero_of_matrices_and_free_symbols():
    assert theory.decide_zero(A * B - B * A).value is False
    assert theory.decide_zero((A * B).T - B.T * A.T).value is True
    assert theory.decide_zero(a * b - b * a).value is False
    assert theory.decide_zero(Matrix([[a * b - b * a]])).value is False
    assert theory.decide_zero(Trace(A * B) - Trace(B * A)).value is True
    assert theory.decide_zero(x - x).detail == "0"
    assert decide_zero_of_scalars(a * b - b * a).value is None
    assert decide_zero_of_scalars(A * B - B * A).value is None
    assert decide_positive(A * A.T).value is None


def test_points_have_every_property_that_is_assumed():
    for facts in (
        {"even": True},
        {"odd": True},
        {"prime": True},
        {"nonzero": True, "real": True},
        {"integer": True, "negative": True},
    ):
        symbol = Symbol("q", **facts)
        values = [point[symbol] for point, _ in exact_points(symbol**2)]
        assert values
        assert all(admissible(symbol, value) for value in values)
    assert not list(exact_points(Symbol("q", irrational=True)))
    zero = Symbol("q", zero=True)
    assert decide_zero_of_scalars(zero * x).value is True
    assert decide_zero_of_scalars(zero + x).value is False


def test_sums_that_leave_the_positive_numbers_are_not_rewritten():
    """The dummy of linear_sums is positive: it must not meet an index that is not, nor itself."""
    index = Symbol("j", integer=True)
    for total in (Sum(Abs(index), (index, -1, H)), Sum(index * k, (index, 1, H))):
        assert linear_sums(total) == total
    assert theory.decide_equal(Sum(Abs(index), (index, -1, 1)), Sum(index, (index, -1, 1))).value is not True


S = MatrixSymbol("S", n, n)
PSD = theory.PositiveSemidefinite
keep = {"evaluate": False}
HOLDS = {
    "convexity": sympy.Ge(exp(x), 1 + x),
    "Motzkin": sympy.Ge(x**4 * y**2 + x**2 * y**4 - 3 * x**2 * y**2 + 1, 0),
    "AM-GM": sympy.Ge(x**2 + y**2, 2 * x * y),
    "AM-GM of roots": sympy.Ge((r + s) / 2, sqrt(r * s)),
    "AM-GM of three": sympy.Ge(r**3 + s**3 + eta**3, 3 * r * s * eta),
    "Cauchy-Schwarz": sympy.Le((x * z + y) ** 2, (x**2 + y**2) * (z**2 + 1)),
    "triangle": sympy.Le(Abs(x + y), Abs(x) + Abs(y)),
    "Max": sympy.Ge(Max(x, y), (x + y) / 2),
    "quartic": sympy.Gt(x**4 - 2 * x**2 + 2, 0),
    "double root": sympy.Ge(r**3 - 3 * r + 2, 0),
    "two quartics": sympy.Ge(x**4 + y**4, x**2 * y**2),
    "quadratic form": sympy.Gt(x**2 + x * y + y**2 + 1, 0),
    "exponentials": sympy.Ge(exp(x) + exp(-x), 2),
    "quotient": sympy.Le(x / (1 + x**2), Rational(1, 2)),
    "unequal": sympy.Ne(x**2 + 1, x, **keep),
    "equation": Eq((x + 1) ** 2, x**2 + 2 * x + 1, **keep),
    "Gram": PSD(A * A.T),
    "covariance of a sum": PSD(U * U.T + U * W.T + W * U.T + W * W.T),
    "square of a sum": PSD(unit + S + S.T + S * S.T),
    "inverse": PSD(Inverse(U * U.T + unit)),
    "Kronecker": PSD(KroneckerProduct(U * U.T, S.T * S)),
    "Schur product": PSD(HadamardProduct(U * U.T, S.T * S)),
    "congruence": PSD(S * U * U.T * S.T),
    "rank one": PSD(Matrix([[x**2, x * y], [x * y, y**2]])),
    "numbers": PSD(Matrix([[2, 1], [1, 1]])),
    "trace": sympy.Ge(Trace(U * U.T), 0, **keep),
}
VIOLATED = {
    "strict AM-GM": sympy.Gt(x**2 + y**2, 2 * x * y),
    "Max": sympy.Ge(Max(x, y), x + y),
    "cubic": sympy.Ge(x**3, 0),
    "narrow": sympy.Ge(x**4 - 2 * x**2 + Rational(9999, 10000), 0),
    "narrow between": sympy.Gt((3 * x - 1) ** 2 * 100, Rational(1, 10**6)),
    "quadratic form": sympy.Ge(x**2 + 3 * x * y + y**2, 0),
    "less": sympy.Lt(x**2, y),
    "unequal": sympy.Ne(x * y, 1),
    "difference": PSD(U * U.T - W * W.T),
    "any matrix": PSD(S),
    "indefinite": PSD(Matrix([[1, 2], [2, 1]])),
    "zero on the diagonal": PSD(Matrix([[0, 1], [1, 5]])),
    "not symmetric": PSD(Matrix([[1, 1], [0, 1]])),
    "entries": PSD(Matrix([[x, 1], [1, x]])),
    "trace of a square": sympy.Ge(Trace(S * S), 0, **keep),
}
UNDECIDED = {
    "waves": (sympy.Ge(sympy.sin(x) ** 2 + sympy.cos(x) ** 2, 1), "no proof of the sign"),
    "complex": (sympy.Ge(w**2, 0), "w: must be declared real"),
    "float": (sympy.Ge(x**2 + 0.5 * x, -5), "not an exact number"),
    "unequal matrices": (sympy.Ne(A * B, B * A, **keep), "commutative scalars only"),
    "no order": (sympy.Symbol("q", bool=True), "is not an order"),
}


@pytest.mark.parametrize("name", HOLDS)
def test_orders_that_hold_are_proved(name):
    decision = theory.decide_order(HOLDS[name])
    assert decision.value is True, decision
    assert decision.method != POINT


@pytest.mark.parametrize("name", VIOLATED)
def test_orders_that_do_not_hold_are_refuted_with_a_witness(name):
    decision = theory.decide_order(VIOLATED[name])
    assert decision.value is False, decision
    assert re.search(r" = .* = |left - right = ", decision.detail), decision


@pytest.mark.parametrize("name", UNDECIDED)
def test_orders_that_nothing_decides_abstain(name):
    claim, missing = UNDECIDED[name]
    decision = theory.decide_order(claim)
    assert (decision.value, decision.method) == (None, ABSTAINED), decision
    assert missing in decision.detail


def test_sides_of_a_refuted_order_keep_their_names():
    assert theory.decide_order(sympy.Lt(x**2, y)).detail == "at x = 0, y = 0: left = 0, right = 0"
    assert theory.decide_order(sympy.Le(x + 1, x, **keep)).detail == "at x = 0: left = 1, right = 0"


def test_semidefinite_is_a_claim_that_is_shown():
    claim = PSD(A * A.T)
    assert sympy.latex(claim) == r"A A^{T} \succeq 0"
    assert claim.args == (A * A.T,)
    assert claim not in (sympy.true, sympy.false)


def test_methods_are_named():
    assert theory.decide_equal(*TRUE["Max and Abs"]).method == CASES
    assert theory.decide_equal(*TRUE["quotient"]).detail == "0 in 1 generators, as rational functions"
    assert theory.decide_equal(*TRUE["balance"]).method == POLYNOMIAL
    assert theory.decide_order(sympy.Ge(x, x)).value is True


def test_names_do_not_confuse_letters():
    """Symbols of one name and another shape, and a matrix that is called like the identity's letter."""
    first, second = MatrixSymbol("A", n, m), MatrixSymbol("A", m, n)
    assert theory.decide_equal(Trace(first * second), Trace(first * first.T)).value is not True
    delta = MatrixSymbol("delta", n, n)
    assert theory.decide_equal(delta * A, A).value is False
    twins = Symbol("q", commutative=False), Symbol("q", commutative=False, hermitian=True)
    for left, right in product(twins, twins):
        assert (theory.decide_equal(left, right).value is True) is (left == right)
