"""Statement 5: derivations, against exact finite differences of two-layer networks, and mutants of the formulas."""

import itertools
import random
import re
from dataclasses import replace
from fractions import Fraction

import pytest
import sympy
from sympy import Matrix, Rational, zeros

import theory
from hltm.base.errors import InputError
from theory.core.decide import POINT, decide_zero
from theory.two_layer import dynamics as two_layer_explicit
from theory.two_layer import ring
from theory.two_layer.dynamics import block_form, expected_simple_loss, population

OPTIONS = [
    {},
    {"widths": (2, 2, 2)},
    {"widths": (1, 3, 1)},
    {"claim": "decoupled"},
    {"claim": "conserved"},
    {"claim": "ring"},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_every_claim_is_proved_step_by_step(options):
    derivation = theory.derive("two-layer-dynamics", **options)
    assert derivation.proved
    assert derivation.slug == "two-layer-dynamics"
    assert len(derivation.steps) >= 2
    assert all(step.decision.method != POINT and step.justification for step in derivation.steps)
    assert len({step.justification for step in derivation.steps}) == len(derivation.steps)
    assert isinstance(derivation.residual, sympy.ZeroMatrix) or derivation.residual.is_zero_matrix
    assert derivation.assumptions
    assert "\\begin{document}" in derivation.latex("standalone")


def test_the_number_is_an_alias():
    assert theory.derive(5).statement == theory.derive("two-layer-dynamics").statement


@pytest.mark.parametrize("drop", two_layer_explicit.DROPS)
def test_every_assumption_that_can_be_dropped_is_needed(drop):
    derivation = theory.derive("two-layer-dynamics", drop=drop)
    assert derivation.decision.value is False
    assert derivation.decision.detail
    assert two_layer_explicit.DROPS[drop][1] not in derivation.assumptions


@pytest.mark.parametrize(
    ("options", "fragment"),
    [
        ({"claim": "blocks"}, "did you mean 'block'"),
        ({"drop": "gates"}, "drop='gates'"),
        ({"width": (2, 2, 2)}, "did you mean 'widths'"),
        ({"widths": (2, 2)}, "widths=(2, 2) of 'two-layer-dynamics': must have three entries"),
        ({"widths": (2, 2, 2, 2)}, "must have three entries"),
        ({"widths": (9, 9, 9)}, "too large to be written out"),
    ],
    ids=str,
)
def test_bad_input(options, fragment):
    with pytest.raises(InputError, match=re.escape(fragment)) as caught:
        theory.derive("two-layer-dynamics", **options)
    assert "\n" not in str(caught.value)


def _outputs(first, second, points, slope):
    """Outputs and gates of every input, in fractions and loops."""
    rows = []
    for group in points:
        row = []
        for x in group:
            p = [sum(w * a for w, a in zip(line, x, strict=True)) for line in first]
            gates = [Fraction(1) if q > 0 else slope for q in p]
            hidden = [g * q for g, q in zip(gates, p, strict=True)]
            row.append(([sum(w * h for w, h in zip(line, hidden, strict=True)) for line in second], gates))
        rows.append(row)
    return rows


def _loss(first, second, points, p, q, slope):
    """E[r_+ - r_-] by enumeration."""
    rows = _outputs(first, second, points, slope)
    total = Fraction(0)
    for m, row in enumerate(rows):
        for a, (f, _) in enumerate(row):
            for n, other in enumerate(rows):
                for b, (g, _) in enumerate(other):
                    r = sum((s - t) ** 2 for s, t in zip(f, g, strict=True)) / 2
                    total += p[m] * q[m][a] * q[n][b] * ((1 if m == n else 0) - p[n]) * r
    return total


@pytest.mark.parametrize("seed", range(8))
def test_block_form_against_exact_differences_of_a_real_network(seed):
    """ReLU or leaky ReLU in Fractions; the loss is quadratic in one weight while no gate flips."""
    rng, (n0, n1, n2), step = random.Random(seed), (2, 2, 2), Fraction(1, 10**9)
    slope = [Fraction(0), Fraction(1, 4), Fraction(1)][seed % 3]

    def numbers(rows, columns):
        return [[Fraction(rng.randint(-9, 9), rng.randint(1, 5)) for _ in range(columns)] for _ in range(rows)]

    first, second = numbers(n1, n0), numbers(n2, n1)
    points = [numbers(2, n0) for _ in range(2)]
    p = [Fraction(1, 3), Fraction(2, 3)]
    q = [[Fraction(1, 4), Fraction(3, 4)], [Fraction(2, 5), Fraction(3, 5)]]
    net = population((n0, n1, n2))
    gates = [[gate for _, gate in row] for row in _outputs(first, second, points, slope)]
    values = {net.p[0]: Rational(p[0])}
    for m, a in itertools.product(range(2), range(2)):
        values |= dict(zip(net.inputs[m][a], map(Rational, points[m][a]), strict=True))
        values |= dict(zip(net.gates[m][a], map(Rational, gates[m][a]), strict=True))
        values[net.q[m][0]] = Rational(q[m][0])
    for symbolic, table in ((net.first, first), (net.second, second)):
        values |= dict(zip(symbolic, (Rational(e) for row in table for e in row), strict=True))
    assert expected_simple_loss(net).xreplace(values) == Rational(_loss(first, second, points, p, q, slope))
    for layer, formula in enumerate(block_form(net)):
        found = formula.xreplace(values)
        for b, a in itertools.product(range(found.rows), range(found.cols)):
            moved = []
            for sign in (1, -1):
                tables = [[list(row) for row in w] for w in (first, second)]
                tables[layer][b][a] += sign * step
                kept = [[g for _, g in row] for row in _outputs(*tables, points, slope)]
                assert kept == gates, f"a gate flips, seed {seed}"
                moved.append(_loss(*tables, points, p, q, slope))
            # The shared gradient is twice the one-branch form.
            assert found[b, a] == Rational(-(moved[0] - moved[1]) / (2 * step) / 2), f"seed {seed}, layer {layer + 1}"


def _differentiated(net):
    loss = expected_simple_loss(net)
    return net.first.applyfunc(lambda w: -sympy.diff(loss, w) / 2)


class SecondMoment(two_layer_explicit.Population):
    def gated_covariance(self, j, k):
        pairs = [(self.gated_mean(m, j), self.gated_mean(m, k)) for m in range(len(self.p))]
        return sum((w * a * b.T for w, (a, b) in zip(self.p, pairs, strict=True)), zeros(self.first.cols))


class Ungated(two_layer_explicit.Population):
    def gated_mean(self, point, neuron):
        xs = zip(self.q[point], self.inputs[point], strict=True)
        return sum((w * x for w, x in xs), zeros(self.first.cols, 1))


class Decoupled(two_layer_explicit.Population):
    def gated_covariance(self, j, k):
        return super().gated_covariance(j, k) * int(j == k)


class Transposed(two_layer_explicit.Population):
    def gated_covariance(self, j, k):
        return super().gated_covariance(k, j)


class Uniform(two_layer_explicit.Population):
    def gated_mean(self, point, neuron):
        rows = zip(self.gates[point], self.inputs[point], strict=True)
        return sum((d[neuron] * x for d, x in rows), zeros(self.first.cols, 1)) / len(self.q[point])


@pytest.mark.parametrize("variant", [SecondMoment, Ungated, Decoupled, Transposed, Uniform])
def test_false_formulas_are_refuted(variant):
    net = population((2, 2, 1))
    false = variant(**{name: getattr(net, name) for name in net.__dataclass_fields__})
    left = _differentiated(net)
    assert decide_zero(left - block_form(net)[0]).value is True
    assert decide_zero(left - block_form(false)[0]).value is False


def test_a_broken_formula_makes_the_derivation_fail(monkeypatch):
    true = two_layer_explicit.Population.gated_covariance
    monkeypatch.setattr(two_layer_explicit.Population, "gated_covariance", lambda *place: 2 * true(*place))
    derivation = theory.derive("two-layer-dynamics", widths=(1, 1, 1))
    assert not derivation.proved
    assert derivation.decision.value is False


def test_a_broken_ring_makes_the_derivation_fail(monkeypatch):
    monkeypatch.setattr(ring, "PATTERNS", ((0, 1), (0, 1, 2)))
    derivation = theory.derive("two-layer-dynamics", claim="ring")
    assert not derivation.proved


def test_the_sign_population_is_that_of_enumeration():
    """A_11 of the population that decouples: the spread of (1 - s)/2 |a| over two equally likely sizes."""
    blocks = {}
    sizes, slope = ((1, 3), (2, 5)), Fraction(1, 4)
    means = []
    for pair in itertools.product(*sizes):
        rows = [[Fraction(0)] * 2 for _ in range(2)]
        for signs in itertools.product((1, -1), repeat=2):
            x = [s * a for s, a in zip(signs, pair, strict=True)]
            for j in range(2):
                gate = 1 if x[j] > 0 else slope
                rows[j] = [r + gate * v / 4 for r, v in zip(rows[j], x, strict=True)]
        means.append(rows)
    for j, k, a, b in itertools.product(range(2), repeat=4):
        joint = sum(m[j][a] * m[k][b] for m in means) / 4
        blocks[j, k, a, b] = joint - sum(m[j][a] for m in means) / 4 * sum(m[k][b] for m in means) / 4
    assert {key for key, value in blocks.items() if value} == {(0, 0, 0, 0), (1, 1, 1, 1)}
    step = ring.sign_population_steps()[1].expression.rhs[0, 0]
    names = {str(symbol): symbol for symbol in step.free_symbols}
    found = step.xreplace({names["s"]: Rational(1, 4), names["a_{11}"]: 1, names["a_{12}"]: 3})
    assert found == Rational(blocks[0, 0, 0, 0])


@pytest.mark.parametrize("positions", [4, 7])
def test_ring_means_by_counting(positions):
    for ones in ring.PATTERNS:
        columns = ring.translations(ones, positions)
        assert len(set(map(tuple, columns))) == (positions if positions != 4 or ones == (0, 1) else 2)
        assert ring.mean(columns) == Matrix([Rational(2, positions)] * positions)


def test_a_refuted_step_overrules_the_residual():
    derivation = theory.derive("two-layer-dynamics", claim="conserved")
    bad = replace(derivation.steps[0], decision=theory.Decision(False, "numeric point"))
    assert not replace(derivation, steps=(bad,)).proved
