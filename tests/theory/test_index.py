"""The index-notation checker: true identities for all sizes pass, mutants do not."""

import pytest
import sympy
from sympy import Identity, KroneckerProduct, MatAdd, MatMul, Transpose

from theory.core.decide import POINT
from theory.core.equality import _by_index_notation, check_identity
from theory.core.instances import refuting_instance
from theory.core.networks import UndecidedError
from theory.core.notation import Vec, dimension, matrix

a, b, c, d = (dimension(name) for name in "abcd")
A, X, B = matrix("A", a, b), matrix("X", b, c), matrix("B", c, d)
S = matrix("S", a, a)
u, v = matrix("u", a, 1), matrix("v", b, 1)
s = sympy.Symbol("s", real=True)

TRUE = {
    "vec(AXB)": (Vec(A * X * B), KroneckerProduct(B.T, A) * Vec(X)),
    "vec of an outer product": (Vec(u * v.T), KroneckerProduct(v, u)),
    "transpose of a Kronecker product": (Transpose(KroneckerProduct(A, B)), KroneckerProduct(A.T, B.T)),
    "mixed product": (
        MatMul(KroneckerProduct(A, B), KroneckerProduct(X, Transpose(B))),
        KroneckerProduct(MatMul(A, X), MatMul(B, Transpose(B))),
    ),
    "square": (
        MatMul(Transpose(u + s * S * u), u + s * S * u),
        MatAdd(u.T * u, s * u.T * S * u, s * u.T * S.T * u, s**2 * u.T * S.T * S * u),
    ),
    "trace as vec": (u.T * A * v, Transpose(Vec(u * v.T)) * Vec(A)),
    "dimension of a trace": (Transpose(Vec(Identity(a))) * Vec(Identity(a)) * u.T, a * u.T),
    "identity": (MatMul(Identity(a), A), A),
}
FALSE = {
    "Kronecker order swapped": (Vec(A * X * B), KroneckerProduct(A, B.T) * Vec(X)),
    "row-stacking vec": (Vec(Transpose(A * X * B)), KroneckerProduct(B.T, A) * Vec(Transpose(X))),
    "transpose forgotten": (Vec(S * S * S), KroneckerProduct(S, S) * Vec(S)),
    "J J^T for J^T J": (S * S.T, S.T * S),
    "factor 2": (Vec(A * X * B), 2 * KroneckerProduct(B.T, A) * Vec(X)),
    "cross term lost": (MatMul(Transpose(u + s * S * u), u + s * S * u), u.T * u + s**2 * u.T * S.T * S * u),
    "product order": (S * S.T * S, S.T * S * S),
}


@pytest.mark.parametrize("name", TRUE)
def test_identity_for_all_sizes(name):
    decision = check_identity(*TRUE[name])
    assert decision.value is True, decision
    assert decision.method != POINT


@pytest.mark.parametrize("name", FALSE)
def test_false_identity_is_refuted(name):
    decision = check_identity(*FALSE[name])
    assert decision.value is False, decision


@pytest.mark.parametrize("name", FALSE)
def test_index_form_alone_tells_false_identities_apart(name):
    """Without the instances: the index forms of a false identity differ, or its index structure does."""
    if name in ("Kronecker order swapped", "row-stacking vec"):
        with pytest.raises(UndecidedError, match=r"^factors do not chain"):
            _by_index_notation(*FALSE[name])
    else:
        assert not _by_index_notation(*FALSE[name])[1]


@pytest.mark.parametrize("name", TRUE)
def test_index_form_alone_proves_true_identities(name):
    assert _by_index_notation(*TRUE[name])[1]


@pytest.mark.parametrize("name", TRUE)
def test_instances_do_not_refute_true_identities(name):
    witness, evaluated = refuting_instance(*TRUE[name])
    assert witness is None
    assert evaluated > 3


def test_definitions_are_used_and_needed():
    y = matrix("y", a, 1)
    assert check_identity(y, A * v).value is not True
    assert check_identity(y, A * v, {y: A * v}).value is True
    assert check_identity(y, A * v, {y: 2 * A * v}).value is False


def test_renaming_of_many_equal_factors():
    """Products with repeated names: the canonical form does not depend on how they are bracketed or transposed."""
    product = MatMul(Transpose(u), S, S, S, u)
    assert check_identity(product, Transpose(MatMul(Transpose(u), S, S, S, u))).value is True
    assert check_identity(product, MatMul(Transpose(u), Transpose(S), S, S, u)).value is False
