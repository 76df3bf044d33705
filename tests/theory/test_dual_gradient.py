"""Statement 1: derivations at given widths and for all sizes, against exact finite differences and mutants."""

import itertools
import random
from fractions import Fraction

import pytest
import sympy
from sympy import KroneckerProduct, Matrix, Transpose

import theory
from theory.core.decide import POINT, decide_zero
from theory.core.equality import check_identity
from theory.core.notation import Vec, matrix
from theory.towers.dual_gradient import N_ABOVE, N_BELOW, N_TOP, N, side
from theory.towers.network import connection, gradient, jacobian, squared_distance, tower, vec


def connection_side(first, second, layer):
    """``K^b_1 (K^{f T}_1 vec W_1 - K^{f T}_2 vec W_2)`` of one layer."""
    sides = [connection(net, layer).T * vec(net.weights[layer - 1]) for net in (first, second)]
    return connection(first, layer, "backward") * (sides[0] - sides[1])


@pytest.mark.parametrize("widths", [(3, 2, 2), (3, 3, 3, 2), (2, 1), (1, 1, 1, 1)])
def test_given_widths_are_proved(widths):
    derivation = theory.derive("dual-gradient", widths=widths)
    assert derivation.proved
    assert derivation.residual == sympy.zeros(sum(p * q for p, q in itertools.pairwise(widths)), 1)
    assert all(step.decision.method != POINT and step.justification for step in derivation.steps)


@pytest.mark.parametrize("widths", [(2, 2), (2, 2, 2)])
def test_normalised_output_is_proved(widths):
    assert theory.derive("dual-gradient", widths=widths, output="normalized").proved


@pytest.mark.parametrize("output", ["linear", "normalized"])
def test_all_sizes_are_proved_step_by_step(output):
    derivation = theory.derive("dual-gradient", output=output)
    assert derivation.proved
    assert isinstance(derivation.residual, sympy.ZeroMatrix)
    assert len(derivation.steps) >= 10
    assert len({step.justification for step in derivation.steps}) == len(derivation.steps)


def _relu_forward(weights, x):
    values, gates = [x], []
    for number, w in enumerate(weights):
        p = [sum(c * a for c, a in zip(row, values[-1], strict=True)) for row in w]
        last = number == len(weights) - 1
        gates.append([Fraction(1) if last or q > 0 else Fraction(0) for q in p])
        values.append([g * q for g, q in zip(gates[-1], p, strict=True)])
    return values[-1], gates


def _distance(weights, x, other):
    return sum((p - q) ** 2 for p, q in zip(_relu_forward(weights, x)[0], other, strict=True)) / 2


def _rational_network(rng, widths):
    def number():
        return Fraction(rng.randint(-9, 9), rng.randint(1, 5))

    return [[[number() for _ in range(n)] for _ in range(m)] for n, m in itertools.pairwise(widths)]


@pytest.mark.parametrize("seed", range(6))
def test_formula_against_exact_differences(seed):
    """r is quadratic in one weight while no gate flips, so a central difference is the derivative exactly.

    ReLU towers in Fractions; the right-hand side is the symbolic formula with these numbers put in.
    """
    rng, widths, step = random.Random(seed), (3, 2, 2, 2), Fraction(1, 10**6)
    sets = [_rational_network(rng, widths) for _ in range(2)]
    inputs = [[Fraction(rng.randint(-9, 9), 4) for _ in range(widths[0])] for _ in range(2)]
    nets = [tower(widths, name) for name in ("1", "2")]
    values = {}
    for net, weights, x in zip(nets, sets, inputs, strict=True):
        gates = _relu_forward(weights, x)[1]
        values |= dict(zip(net.activations[0], map(sympy.Rational, x), strict=True))
        for symbolic, numbers in zip(net.weights, weights, strict=True):
            values |= dict(zip(symbolic, (sympy.Rational(e) for row in numbers for e in row), strict=True))
        for symbolic, numbers in zip(net.gates, gates, strict=False):
            values |= {symbolic[i, i]: sympy.Rational(g) for i, g in enumerate(numbers)}
    other = _relu_forward(sets[1], inputs[1])[0]
    base_gates = _relu_forward(sets[0], inputs[0])[1]
    for layer in range(1, len(widths)):
        formula = connection_side(*nets, layer).xreplace(values)
        for a in range(widths[layer - 1]):
            for b in range(widths[layer]):
                moved = []
                for sign in (1, -1):
                    copy = [[list(row) for row in w] for w in sets[0]]
                    copy[layer - 1][b][a] += sign * step
                    assert _relu_forward(copy, inputs[0])[1] == base_gates, f"a gate flips, seed {seed}"
                    moved.append(_distance(copy, inputs[0], other))
                exact = (moved[0] - moved[1]) / (2 * step)
                assert formula[a * widths[layer] + b] == sympy.Rational(exact), f"seed {seed}, layer {layer}"


def _swapped(previous, jac):
    return Matrix([[jac[c, b] * entry for c in range(jac.rows)] for b in range(jac.cols) for entry in previous])


def _jacobian_after_gate(net, layer):
    """Misses the gate of its own layer: d f_L / d f_l."""
    result = sympy.eye(net.weights[-1].rows)
    for upper in range(net.layers, layer, -1):
        result = result * net.weights[upper - 1]
        result = result if upper == layer + 1 else result * net.gates[upper - 2]
    return result


def _side_with(nets, layer, jac=jacobian, kron=None, vector=vec):
    from theory.towers.network import kronecker_connection

    build = kron or kronecker_connection
    conns = [build(net.activations[layer - 1], jac(net, layer)) for net in nets]
    sides = [k.T * vector(net.weights[layer - 1]) for k, net in zip(conns, nets, strict=True)]
    return conns[0], sides


VARIANTS = {
    "Kronecker swapped": lambda nets: (lambda k, s: k * (s[0] - s[1]))(*_side_with(nets, 1, kron=_swapped)),
    "row-stacking vec": lambda nets: (lambda k, s: k * (s[0] - s[1]))(
        *_side_with(nets, 1, vector=lambda m: Matrix(list(m)))
    ),
    "sign of the second tower": lambda nets: (lambda k, s: k * (s[0] + s[1]))(*_side_with(nets, 1)),
    "K_2 dropped": lambda nets: (lambda k, s: k * s[0])(*_side_with(nets, 1)),
    "Jacobian after the gate": lambda nets: (lambda k, s: k * (s[0] - s[1]))(
        *_side_with(nets, 1, jac=_jacobian_after_gate)
    ),
    "factor 2": lambda nets: (lambda k, s: 2 * k * (s[0] - s[1]))(*_side_with(nets, 1)),
    "factor 1/2 missing in r": lambda nets: (lambda k, s: k * (s[0] - s[1]) / 2)(*_side_with(nets, 1)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_false_variant_is_refuted_at_given_widths(name):
    nets = tower((2, 2, 2), "1"), tower((2, 2, 2), "2")
    left = gradient(squared_distance(*nets), nets[0].weights[0])
    assert decide_zero(left - VARIANTS[name](nets)).value is False


def test_gate_on_the_top_layer_is_refuted():
    """With a gate on the output the same formula, Jacobian from the pre-activation, no longer holds for the gated f."""
    nets = tower((2, 2), "1"), tower((2, 2), "2")
    gates = sympy.symbols("g1 g2", real=True)
    gap = sympy.diag(*gates) * nets[0].output - nets[1].output
    left = gradient(sum(e**2 for e in gap) / 2, nets[0].weights[0])
    assert decide_zero(left - connection_side(*nets, 1)).value is False


def test_normalised_output_needs_the_projection():
    nets = tower((2, 2), "1", True), tower((2, 2), "2", True)
    left = gradient(squared_distance(*nets), nets[0].weights[0])
    sides = [connection(net, 1).T * vec(net.weights[0]) for net in nets]
    assert decide_zero(left - connection(nets[0], 1, "forward") * (sides[0] - sides[1])).value is False


def _all_sizes_variants():
    one, two = side("1"), side("2")
    gap = one.output - two.output
    grad = one.jacobian.T * gap * one.previous.T
    given = {t.output: t.jacobian * t.weight * t.previous for t in (one, two)}
    k1, k2 = one.connection, two.connection
    w1, w2 = Vec(one.weight), Vec(two.weight)
    swapped = KroneckerProduct(one.jacobian.T, one.previous)
    return {
        "Kronecker swapped": (Vec(grad), swapped * gap, given),
        "row-stacking vec": (Vec(Transpose(grad)), k1 * gap, given),
        "sign of the second tower": (Vec(grad), k1 * (k1.T * w1 + k2.T * w2), given),
        "K_2 dropped": (Vec(grad), k1 * k1.T * w1, given),
        "factor 2": (Vec(grad), 2 * k1 * (k1.T * w1 - k2.T * w2), given),
        "K_1 for K_2": (Vec(grad), k1 * (k1.T * w1 - k1.T * w2), given),
    }


@pytest.mark.parametrize("name", _all_sizes_variants())
def test_false_variant_is_refuted_for_all_sizes(name):
    assert check_identity(*_all_sizes_variants()[name]).value is False


def test_gate_order_in_the_induction_is_refuted():
    """J_l = J_{l+1} D W instead of J_{l+1} W D, square so that both have a meaning."""
    jac, above, up = matrix("J_{l}", N_TOP, N), matrix("J_{l+1}", N_TOP, N), matrix("W_{l+1}", N, N)
    gate, p, f = matrix("D_{l}", N, N), matrix("p_{l}", N, 1), matrix("f_{l}", N, 1)
    right = above * up * f
    assert check_identity(jac * p, right, {f: gate * p, jac: above * up * gate}).value is True
    assert check_identity(jac * p, right, {f: gate * p, jac: above * gate * up}).value is False
    assert check_identity(jac * p, right, {f: gate * p, jac: above * up}).value is False


def test_dimensions_stay_symbols():
    assert {N_TOP, N, N_BELOW, N_ABOVE} <= theory.derive(1).statement.expression.atoms(sympy.Symbol) | {N_ABOVE}
