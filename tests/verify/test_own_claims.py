"""Symbolic claims of a user's statement: verdicts of right, false and odd ones, and their tie to the sides by values=."""

from dataclasses import dataclass

import numpy as np
import pytest
import sympy
from hypothesis import strategies as st

import theory
from hltm.base.errors import InputError
from verify import Context, JsonInstance, user_statement
from verify.own.symbolic import UserClaims
from verify.strategies import eighths, matrices, vectors

n, m = sympy.symbols("n m", positive=True, integer=True)
W, P, G = (sympy.MatrixSymbol(name, *shape) for name, shape in (("W", (n, m)), ("P", (n, n)), ("G", (n, m))))
A, B = (sympy.MatrixSymbol(name, n, n) for name in "AB")
eta, alpha = sympy.symbols("eta alpha", positive=True)
x, y = sympy.symbols("x y", real=True)
a, b = sympy.symbols("a b")


def equal(left, right):
    return sympy.Eq(left, right, evaluate=False)


def moved(dw, dp, turned=False):
    """d/dt of W W^T - P^T P / alpha along a flow; every product in the other order where `turned`."""
    if turned:
        return dw.T * W + W.T * dw - (dp * P.T + P * dp.T) / alpha
    return dw * W.T + W * dw.T - (dp.T * P + P.T * dp) / alpha


def kept(turned=False):
    return W.T * W - P * P.T / alpha if turned else W * W.T - P.T * P / alpha


FLOW = P.T * G - eta * W, alpha * G * W.T - eta * P
BALANCE = equal(moved(*FLOW), -2 * eta * kept())


def status(claims):
    return UserClaims("mine", lambda: claims).evidence(Context())


CLAIMS = {
    "gram": ({"gram": equal(A * A.T, A.T * A)}, "refuted"),
    "commutator": (equal(A * B - B * A, sympy.ZeroMatrix(n, n)), "refuted"),
    "inverse of a product": (equal(sympy.Inverse(A * B), sympy.Inverse(B) * sympy.Inverse(A)), "holds"),
    "transpose": (equal((A * B).T, A.T * B.T), "refuted"),
    "binomial": (equal((A + B) ** 2, A**2 + A * B + B * A + B**2), "holds"),
    "determinant": (equal(sympy.det(A * B), sympy.det(A) * sympy.det(B)), "holds"),
    "balance": (BALANCE, "holds"),
    "balance in the wrong order": (equal(moved(*FLOW, turned=True), -2 * eta * kept(turned=True)), "refuted"),
    "squares": (sympy.Ge(x**2 + y**2, 2 * x * y, evaluate=False), "holds"),
    "a root of a square": (equal(sympy.sqrt(a**2), a), "refuted"),
    "a float": (equal(x * (1 + 1e-17), x), "abstained"),
    "an integral across a pole": (equal(sympy.Integral(1 / x, (x, -1, 1)), 0), "abstained"),
    "shapes": (equal(sympy.Matrix([1, 2]), sympy.Matrix([[1, 2]])), "refuted"),
    "tuples": (equal(sympy.Tuple(1, 2), sympy.Tuple(1, 3)), "refuted"),
    "an order": (theory.OrderClaim(sympy.tanh(x) - x, "x", 3), "holds"),
    "two at once": (sympy.And(sympy.Ge(x**2, -1, evaluate=False), sympy.Gt(y**2, -2, evaluate=False)), "holds"),
    "a matrix and a number": (equal(A, x), "abstained"),
    "infinity": (equal(x, sympy.oo), "abstained"),
    "sums that need each other": (equal(sympy.Sum(n, (n, 1, m), (m, 1, n)), 1), "abstained"),
    "a mean of a mean": (equal(theory.GaussianMean(theory.GaussianMean(x, x), x), 0), "holds"),
    "an integral in a sum": (equal(sympy.Sum(sympy.Integral(x**n, (x, 0, 1)), (n, 1, m)), 1), "abstained"),
    "a power without end": (equal(x ** (10**9), 1), "abstained"),
    "several relations": (theory.Claim("two", (equal(x + x, 2 * x), BALANCE)), "holds"),
    "several, one false": (theory.Claim("two", (equal(x + x, 2 * x), equal(x, 2 * x))), "refuted"),
}


@pytest.mark.parametrize(("claims", "wanted"), CLAIMS.values(), ids=list(CLAIMS))
def test_verdicts(claims, wanted):
    found = status(claims)
    assert found.status == wanted, found.detail
    assert wanted != "refuted" or " = " in found.detail or " is " in found.detail
    assert found.detail.endswith("not tied to the sides: values= is not given")


@pytest.mark.parametrize(
    ("claim", "rule"),
    [
        (equal(a > 0, b > 0), "both sides must be scalars or matrices"),
        (x + 1, "must be an equation"),
        ("x = x", "must be an equation"),
        (theory.Claim("nothing", ()), "claims nothing"),
    ],
)
def test_what_is_no_claim_is_refused_in_a_line(claim, rule):
    with pytest.raises(InputError, match=rule) as raised:
        status(claim)
    assert "\n" not in str(raised.value)


def test_claims_that_do_not_end_are_cut(monkeypatch):
    monkeypatch.setenv("COVOP_TIME_LIMIT", "0.1")

    def endless():
        while True:
            pass

    claims = UserClaims("mine", endless)
    assert claims.evidence(Context()).detail == "the claims were not made within 0.1 seconds"
    assert claims.evidence(Context()).status == "abstained"  # and not tried again


def test_a_decision_that_fails_abstains(monkeypatch):
    def fails(relation):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(theory, "decide_relation", fails)
    assert "RecursionError" in status(equal(x, x + 1)).detail


# values=


@dataclass(frozen=True)
class Flow(JsonInstance):
    w: tuple[tuple[float, ...], ...]
    p: tuple[tuple[float, ...], ...]
    g: tuple[tuple[float, ...], ...]
    eta: float
    alpha: float


@st.composite
def flows(draw, lowest=1):
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shapes = (rows, columns), (rows, rows), (rows, columns)
    return Flow(*(draw(matrices(*shape)) for shape in shapes), draw(eighths(lowest, 8)), draw(eighths(1, 16)))


def predicted(i, at, factor=2):
    w, p = at.array(i.w), at.array(i.p)
    return -factor * at.array(i.eta) * (w @ w.T - p.T @ p / at.array(i.alpha))


def measured(i, at):
    w, p, g = (at.tensor(value) for value in (i.w, i.p, i.g))
    dw, dp = p.T @ g - i.eta * w, i.alpha * g @ w.T - i.eta * p
    first, second = dw @ w.T, p.T @ dp
    return first + first.T - (second + second.T) / i.alpha


def values(i, at):
    return {"W": at.array(i.w), P: at.array(i.p), "G": i.g, eta: i.eta, "alpha": at.array(i.alpha)}


def rows(symbolic=lambda: BALANCE, values=values, theory=predicted, numeric=measured, strategy=None):
    statement = user_statement(
        title="balance", claim="x", theory=theory, numeric=numeric, symbolic=symbolic, values=values,
        strategy=flows() if strategy is None else strategy, variants={},
    )  # fmt: skip
    found = {(check.kind, check.source): check for check in statement.checks}
    return found["symbolic", "proof"].run(Context()), found["float", "claim"].run(Context())


def test_a_claim_is_tied_to_the_sides():
    proof, tied = rows()
    assert (proof.status, tied.status) == ("holds", "holds")
    assert proof.detail.endswith("tied to the sides by values=")
    assert tied.instances == 12
    assert tied.worst_residual < 1e-11
    assert "the left side is the numeric side, the right side the theory side" in tied.detail


def test_a_claim_the_other_way_round_is_tied_too():
    _, tied = rows(lambda: equal(BALANCE.rhs, BALANCE.lhs))
    assert tied.status == "holds"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"theory": lambda i, at: predicted(i, at, 1)}, "the right side of the claim is not the theory side"),
        ({"numeric": lambda i, at: 2 * measured(i, at)}, "the left side of the claim is not the numeric side"),
        ({"values": lambda i, at: {**values(i, at), P: 2 * at.array(i.p)}}, "another statement than the sides"),
        ({"symbolic": lambda: equal(2 * BALANCE.lhs, 2 * BALANCE.rhs)}, "another statement than the sides"),
    ],
)
def test_a_proof_of_another_statement_is_told_apart(change, reason):
    proof, tied = rows(**change)
    assert proof.status == "holds"
    assert tied.status == "abstained"  # no counterexample to the statement, but not the same one
    assert reason in tied.detail
    assert " against " in tied.detail


def test_a_false_claim_fails_at_an_instance():
    _, tied = rows(lambda: equal(BALANCE.lhs, BALANCE.rhs + eta * W * W.T))
    assert tied.status == "refuted"
    assert tied.counterexample is not None


def test_what_a_claim_does_not_cover_is_counted():
    _, tied = rows(strategy=flows(lowest=0))
    assert tied.instances < 12
    assert "eta = 0 is not positive, as the claim assumes" in tied.detail
    square = {s: sympy.MatrixSymbol(s.name, n, n) for s in (W, G)}
    _, tied = rows(lambda: BALANCE.xreplace(square), strategy=flows().filter(lambda i: len(i.w) != len(i.w[0])))
    assert tied.status == "abstained"
    assert "its symbol n x n" in tied.detail


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        (lambda i: {"Wx": i.w}, "'Wx' is no symbol of the claims, which have G, P, W, alpha, eta, m, n"),
        (lambda i: i.w, "must be a mapping"),
        (lambda i: {"W": "text"}, "must be a number or an array"),
        (lambda i: 1 // 0, "ZeroDivisionError"),
        (3, "must be a function of"),
    ],
)
def test_wrong_values_are_refused_in_a_line(given, rule):
    with pytest.raises(InputError) as raised:
        rows(values=given)
    assert rule in str(raised.value)
    assert "\n" not in str(raised.value)


def test_values_without_claims_are_refused():
    with pytest.raises(InputError, match="needs symbolic="):
        user_statement(
            title="t", claim="x", theory=predicted, numeric=measured, values=values, strategy=flows(), variants={}
        )


# Scalars entry by entry, names of arrays, inequalities, expectations.


@dataclass(frozen=True)
class Numbers(JsonInstance):
    u: tuple[float, ...]
    v: tuple[float, ...]


def numbers():
    return st.integers(1, 4).flatmap(lambda k: st.builds(Numbers, vectors(k), vectors(k)))


def scalar_rows(symbolic, theory, numeric, values, **more):
    statement = user_statement(
        title="scalars", claim="x", theory=theory, numeric=numeric, symbolic=symbolic, values=values,
        strategy=numbers(), variants={}, **more,
    )  # fmt: skip
    found = {(check.kind, check.source): check for check in statement.checks}
    return found["symbolic", "proof"].run(Context()), found["float", "claim"].run(Context())


def squares(i, at, factor=2):
    u, v = at.array(i.u), at.array(i.v)
    return {"square": u**2 + factor * u * v + v**2, "other": u}


def squared(i, at):
    u, v = at.tensor(i.u), at.tensor(i.v)
    return {"square": (u + v) ** 2, "other": u}


def test_a_scalar_claim_holds_entry_by_entry_and_is_found_by_its_name():
    def proof():
        return {"square": equal((x + y) ** 2, x**2 + 2 * x * y + y**2), "lemma": equal(2 * x, x + x)}

    proved, tied = scalar_rows(proof, squares, squared, lambda i: {"x": i.u, "y": i.v})
    assert tied.status == "holds"
    assert "not tied to the sides: lemma" in proved.detail
    assert "not tied to the sides: lemma" in tied.detail
    _, wrong = scalar_rows(proof, lambda i, at: squares(i, at, 3), squared, lambda i: {"x": i.u, "y": i.v})
    assert wrong.status == "abstained"


def test_operations_without_error_bounds_are_compared_by_perturbation():
    claim = equal(sympy.sin(2 * x), 2 * sympy.sin(x) * sympy.cos(x))
    _, tied = scalar_rows(
        lambda: claim,
        lambda i, at: 2 * np.sin(at.array(i.u)) * np.cos(at.array(i.u)),
        lambda i, at: (2 * at.tensor(i.u)).sin(),
        lambda i: {"x": i.u},
    )
    assert tied.status == "holds"


def test_sums_over_indexed_numbers_and_expectations():
    r = sympy.IndexedBase("r", real=True)
    k = sympy.Symbol("k", integer=True)
    claim = equal(sympy.Sum(2 * r[k], (k, 1, n)), 2 * sympy.Sum(r[k], (k, 1, n)))
    proved, tied = scalar_rows(
        lambda: claim,
        lambda i, at: 2 * at.array(i.u).sum(),
        lambda i, at: (2 * at.tensor(i.u)).sum(),
        lambda i: {r: i.u, "n": len(i.u)},
    )
    assert (proved.status, tied.status) == ("holds", "holds")
    mean = theory.GaussianMean((x + y) ** 2, x, 0, 1)
    _, tied = scalar_rows(
        lambda: equal(mean, 1 + y**2),
        lambda i, at: 1 + at.array(i.u) ** 2,
        lambda i, at: at.tensor(i.u) ** 2 + 1,
        lambda i: {"y": i.u},
    )
    assert tied.status == "holds"


def test_an_inequality_is_tied_to_both_of_its_sides():
    _, tied = scalar_rows(
        lambda: sympy.Le(2 * x * y, x**2 + y**2, evaluate=False),
        lambda i, at: 2 * at.array(i.u) * at.array(i.v),
        lambda i, at: at.tensor(i.u) ** 2 + at.tensor(i.v) ** 2,
        lambda i: {"x": i.u, "y": i.v},
        relation="<=",
    )
    assert tied.status == "holds", tied.detail
    assert "the left side is the theory side, the right side the numeric side" in tied.detail


def test_values_of_no_claim_and_matrices_that_are_too_large():
    from verify.own.formulas import NoValueError, Place
    from verify.own.tied import NotCoveredError, check_assumptions

    for fact, bad, good in (("even", 3, 4), ("odd", 4, 3), ("prime", 4, 3), ("irrational", 0.5, None)):
        symbol = sympy.Symbol("k", **{fact: True})
        with pytest.raises(NotCoveredError, match=f"is not {fact}, as the claim assumes"):
            check_assumptions(symbol, bad)
        if good is not None:
            check_assumptions(symbol, good)
    k = sympy.Symbol("k", integer=True, positive=True)
    square = sympy.MatrixSymbol("S", 2, 2)
    for huge in (square**k, sympy.Identity(k), sympy.ZeroMatrix(k, 2)):
        with pytest.raises(NoValueError, match="a matrix"):
            Place({k: 10**9, square: np.eye(2)}).of(huge)
    assert (Place({k: 3, square: 2 * np.eye(2)}).of(square**k) == 8 * np.eye(2)).all()
