"""Expectations over a Gaussian: closed forms, each with a false partner; what has none abstains."""

import pytest
import sympy
from sympy import Abs, Eq, Ge, Heaviside, MatrixSymbol, Max, Trace, cos, cosh, erf, exp, pi, sign, sqrt, tanh

import theory
from hltm.base.errors import InputError
from theory import GaussianMean, decide_relation

x, y, t, mu, c = sympy.symbols("x y t mu c", real=True)
s, a, b = sympy.symbols("s a b", positive=True)
n = sympy.Symbol("n", integer=True, positive=True)
v, m, u = (MatrixSymbol(name, n, 1) for name in "vmu")
F, A = MatrixSymbol("F", n, n), MatrixSymbol("A", n, n)


def above(z):
    return (1 + erf(z / sqrt(2))) / 2


CLOSED = {
    GaussianMean(x**2, x, mu, s): mu**2 + s**2,
    GaussianMean(x**4, x, 0, s): 3 * s**4,
    GaussianMean(exp(t * x), x, mu, s): exp(mu * t + s**2 * t**2 / 2),
    GaussianMean(Max(x, 0), x, mu, s): mu * above(mu / s) + s * exp(-(mu**2) / (2 * s**2)) / sqrt(2 * pi),
    GaussianMean(Max(x, 0) ** 2, x, 0, s): s**2 / 2,
    GaussianMean(Abs(x), x, 0, s): s * sqrt(2 / pi),
    GaussianMean(x * Max(a * x + c, 0), x, 0, s): a * s**2 * above(c / (a * s)),
    GaussianMean(exp(-b * x**2), x, 0, s): 1 / sqrt(1 + 2 * b * s**2),
    GaussianMean(cos(t * x), x, mu, s): exp(-(t**2) * s**2 / 2) * cos(t * mu),
    GaussianMean(cosh(t * x), x, 0, s): exp(t**2 * s**2 / 2),
    GaussianMean(Heaviside(x) * exp(t * x), x, 0, 1): exp(t**2 / 2) * above(t),
    GaussianMean(sign(x) * x, x, 0, s): s * sqrt(2 / pi),
    GaussianMean(GaussianMean((x - y) ** 2, y, 0, s), x, mu, s): 2 * s**2 + mu**2,
    GaussianMean(Trace(v * v.T), v, m, F): Trace(F * F.T) + Trace(m * m.T),
    GaussianMean(Trace(v.T * A * v), v, m, F): Trace(A * F * F.T) + Trace(m.T * A * m),
    GaussianMean(Trace(u * v.T * A), v, m, F): Trace(u * m.T * A),
}


@pytest.mark.parametrize(("mean", "value"), CLOSED.items(), ids=str)
def test_closed_forms(mean, value):
    assert decide_relation(Eq(mean, value, evaluate=False)).value is True
    false = decide_relation(Eq(mean, 2 * value, evaluate=False))
    assert false.value is False
    assert "left" in false.detail


@pytest.mark.parametrize(
    "mean",
    [
        GaussianMean(exp(b * x**2), x, 0, s),  # may be infinite
        GaussianMean(tanh(x) ** 2, x, 0, s),
        GaussianMean(Max(x, 0) * Max(x - 1, 0), x, 0, s),
        GaussianMean(x, x, mu, t),  # t may be negative
        GaussianMean(1 / x, x, mu, s),
        GaussianMean(Trace(v * v.T) ** 2, v, m, F),
        GaussianMean(Trace(Trace(v.T * v) * v.T * v), v, m, F),
        GaussianMean(sqrt(exp(sympy.I * x)), x, 0, sympy.Rational(1, 10)),  # another branch far out
    ],
    ids=str,
)
def test_without_a_closed_form_a_claim_is_open(mean):
    assert decide_relation(Eq(mean, 1, evaluate=False)).value is None


def test_inequalities_and_random_symbols():
    from sympy.stats import Expectation, Normal

    assert decide_relation(Ge(GaussianMean(x**2, x, mu, s), mu**2, evaluate=False)).value is True
    normal, other = Normal("X", mu, s), Normal("Y", 0, 1)
    claim = Eq(Expectation((normal + other) ** 2), mu**2 + s**2 + 1, evaluate=False)
    assert decide_relation(claim).value is True
    assert decide_relation(Eq(claim.lhs, mu**2 + s**2, evaluate=False)).value is False


def test_a_closed_form_that_a_quadrature_contradicts_is_not_used(monkeypatch):
    from theory.core import gaussian

    monkeypatch.setattr(gaussian, "_moments", lambda poly, centre, variance: centre)
    found = decide_relation(Eq(GaussianMean(x**2, x, mu, s), mu, evaluate=False))
    assert found.value is None
    assert "quadrature" in found.detail


def test_the_variable_is_bound_and_printed():
    mean = GaussianMean(t * x, x, mu, s)
    assert mean.free_symbols == {t, mu, s}
    assert "\\mathbb{E}_{x \\sim \\mathcal{N}" in theory.to_latex(mean)
    with pytest.raises(InputError, match="must be a symbol"):
        GaussianMean(x, x + 1)
    with pytest.raises(InputError, match="shapes"):
        GaussianMean(Trace(v * v.T), v, 0, F)
