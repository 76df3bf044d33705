"""Slopes and weights that are shown, against numerical derivatives by mpmath of losses that are written here."""

import random
import re

import mpmath
import pytest
import sympy
from sympy import Indexed, Symbol

import theory
from theory.core.notation import H, j
from theory.losses.family import family_membership

EXP, LOG = mpmath.exp, mpmath.log
LOSSES = {
    "simple": lambda p, rs, tau, r_0: p - sum(rs) / len(rs),
    "triplet": lambda p, rs, tau, r_0: sum(tau * LOG(1 + EXP((p - n + r_0) / tau)) for n in rs) / len(rs),
    "infonce": lambda p, rs, tau, r_0: p + tau * LOG(EXP(-p / tau) + sum(EXP(-n / tau) for n in rs)),
}
COUNT = 3


def place(rng, count=COUNT):
    """tau, r_0, and two lists of the negatives: where they are, and how they move."""
    draw = lambda low=1: mpmath.mpf(rng.randint(low, 40)) / 16  # noqa: E731
    return draw(), draw(-40), [draw() for _ in range(count)], [draw(-40) for _ in range(count)]


def put(expression, values):
    """The value at a point; sums written out, names looked up."""
    chosen = {H: sympy.Integer(COUNT), j: sympy.Integer(1)}
    written = expression.xreplace({s: chosen[s] for s in (H, j) if expression.has(s)}).doit()
    names = {atom: values[re.sub(r"[\[\]{}]", "", str(atom).replace("[", "_"))] for atom in
             written.atoms(Indexed) | {s for s in written.free_symbols if isinstance(s, Symbol)} if str(atom) not in
             ("r", "a", r"\rho")}  # fmt: skip
    numbers = {atom: sympy.Float(str(value), 40) for atom, value in names.items()}
    return mpmath.mpf(str(sympy.N(written.xreplace(numbers), 30)))


CASES = [(name, count) for name in LOSSES for count in (None, COUNT, 1)]


@pytest.mark.parametrize(("name", "count"), CASES)
def test_slopes_of_statement_2(name, count):
    """What dL/dr_+ and dL/dr_k are said to be, and the sign that is said of them."""
    derivation = theory.derive("contrastive-losses", loss=name, negatives=count)
    used = count or COUNT
    slopes, signs = {}, {}
    for step in derivation.steps:
        found = re.fullmatch(r"\\frac\{\\partial L\}\{\\partial r_\{([^{}]+)\}\}", str(step.expression.lhs))
        if found:
            (slopes if isinstance(step.expression, sympy.Eq) else signs)[found[1]] = step.expression
    labels = ["+", "j"] if count is None else ["+", *map(str, range(1, used + 1))]
    assert list(slopes) == list(signs) == labels
    for label, relation in signs.items():
        assert isinstance(relation, sympy.Gt if label == "+" else sympy.Lt)
        assert relation.rhs == 0
    rng = random.Random(2)
    with mpmath.workdps(40):
        for _ in range(3):
            tau, r_0, rs, _ = place(rng, used)
            p = mpmath.mpf(rng.randint(0, 40)) / 16
            values = {"tau": tau, "r_0": r_0, "r_p": p} | {f"r_{k}": value for k, value in enumerate(rs, 1)}
            for label, relation in slopes.items():
                index = {"+": None, "j": 0}.get(label, label)
                if label == "+":
                    wanted = mpmath.diff(lambda v: LOSSES[name](v, rs, tau, r_0), p)  # noqa: B023
                else:
                    index = 0 if label == "j" else int(label) - 1

                    def moved(v, index=index, rs=rs, p=p, tau=tau, r_0=r_0):
                        return LOSSES[name](p, [*rs[:index], v, *rs[index + 1 :]], tau, r_0)

                    wanted = mpmath.diff(moved, rs[index])
                assert abs(put(relation.rhs, values) - wanted) < 1e-12 * (1 + abs(wanted))
    total = derivation.steps[-1].expression
    assert total.rhs == 0
    named = {s.name for s in total.lhs.free_symbols if "partial" in s.name}
    assert named == {rf"\frac{{\partial L}}{{\partial r_{{{label}}}}}" for label in labels}
    # Every slope enters the sum once, those of a symbolic number of negatives by a sum from 1 to H.
    if count is None:
        (inner,) = total.lhs.atoms(sympy.Sum)
        assert tuple(inner.limits[0]) == (j, 1, H)
        assert inner.function.name.endswith("r_{j}}")
        rest = total.lhs - inner
        assert rest.name.endswith("r_{+}}")
    else:
        assert all(coefficient == 1 for coefficient in total.lhs.as_coefficients_dict().values())
    words = "symbolic H" if count is None else f"H = {count}"
    assert derivation.statement.text.endswith(f" for {name}, {words}")
    assert family_membership(name, count) == derivation


@pytest.mark.parametrize("convention", ["shared", "one-branch"])
@pytest.mark.parametrize(("name", "count"), CASES)
def test_weights_of_statement_4(name, count, convention):
    """xi_k = -dL/dr_k and its derivative in s along r_+ = s^2 q, r_k = rho_k + s a_k + s^2 q_k, at s = 0."""
    derivation = theory.derive("weighted-covariance-operator", loss=name, negatives=count, convention=convention)
    used = count or COUNT
    shown = {str(step.expression.lhs): step.expression for step in derivation.steps}
    labels = ["j"] if count is None else list(map(str, range(1, used + 1)))
    rng = random.Random(4)
    with mpmath.workdps(40):
        for label in labels:
            weight, slope = shown[rf"\xi_{{{label}}}"], shown[rf"\frac{{d w_{{{label}}}}}{{d s}}"]
            assert isinstance(weight, sympy.Eq)
            assert isinstance(slope, sympy.Eq)
            index = 0 if label == "j" else int(label) - 1
            for _ in range(2):
                tau, r_0, rho, a = place(rng, used)
                q = [mpmath.mpf(rng.randint(0, 40)) / 16 for _ in range(used + 1)]

                def along(s, index=index, rho=rho, a=a, q=q, tau=tau, r_0=r_0):
                    rs = [r + s * b + s * s * c for r, b, c in zip(rho, a, q[1:], strict=True)]

                    def moved(v):
                        return LOSSES[name](s * s * q[0], [*rs[:index], v, *rs[index + 1 :]], tau, r_0)

                    return -mpmath.diff(moved, rs[index])

                values = {"tau": tau, "r_0": r_0}
                for k in range(used):
                    values |= {rf"\rho_{k + 1}": rho[k], f"a_{k + 1}": a[k]}
                for relation, wanted in ((weight, along(mpmath.mpf(0))), (slope, mpmath.diff(along, 0))):
                    assert abs(put(relation.rhs, values) - wanted) < 1e-9 * (1 + abs(wanted))
