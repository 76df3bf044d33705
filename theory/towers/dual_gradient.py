"""Statement 1 (dual-gradient) at given widths: Theorem 1 of arXiv 2010.00578.

``vec(dr/dW_{1,l}) = K_{1,l} (K_{1,l}^T vec W_{1,l} - K_{2,l}^T vec W_{2,l})`` for two different weight sets,
with symbolic weights, inputs and gates, and the reversible extension to the normalised output. The left-hand
side is differentiated entry by entry; the residual is brought to polynomial normal form.
"""

import sympy
from sympy import ImmutableDenseMatrix, KroneckerProduct, Matrix

from theory.core.decide import decide_zero
from theory.core.derivation import Derivation, Statement, Step, equation, together, verdict
from theory.core.notation import Vec, matrix
from theory.towers.network import Tower, checked_widths, connection, gradient, jacobian, squared_distance, tower, vec

ASSUMPTIONS = (
    "no biases",
    "gates fixed: D_l is diagonal with one independent symbol per neuron (ReLU, leaky ReLU, linear)",
    "no activation on the top layer",
    "two towers with independent weights and inputs",
)
TEXT = {
    "linear": "vec(dr/dW_1l) = K_1l (K_1l^T vec W_1l - K_2l^T vec W_2l)",
    "normalized": "vec(dr/dW_1l) = K^b_1l (K^fT_1l vec W_1l - K^fT_2l vec W_2l)",
}


def derive_widths(widths: object, output: str = "linear") -> Derivation:
    """Statement 1 for towers of the given widths, every layer.

    Parameters
    ----------
    widths
        ``(n_0, ..., n_L)``.
    output
        "linear" or "normalized" (``f_L = u / ||u||``).

    Returns
    -------
    Derivation
        Steps per layer; the residual is the column of all layers' residuals.
    """
    sizes = checked_widths(widths, output)
    first, second = (tower(sizes, name, output == "normalized") for name in ("1", "2"))
    distance = squared_distance(first, second)
    steps: list[Step] = []
    residuals, claims = [], []
    for layer in range(1, first.layers + 1):
        left = gradient(distance, first.weights[layer - 1])
        right = connection_side(first, second, layer)
        residuals.extend(left - right)
        steps.extend(_layer_steps(first, second, layer, left, right))
        claims.append(steps[-1].expression)
    column = Matrix(residuals)
    decision = decide_zero(column)
    residual = ImmutableDenseMatrix(sympy.zeros(len(column), 1) if decision else column)
    assumptions = ASSUMPTIONS if output == "linear" else (*ASSUMPTIONS, "u_1 and u_2 are not zero")
    statement = Statement(f"{TEXT[output]}, widths {sizes}, {output} output", together(claims))
    return Derivation("dual-gradient", statement, assumptions, tuple(steps), residual, verdict(steps, decision))


def connection_side(first: Tower, second: Tower, layer: int) -> ImmutableDenseMatrix:
    """``K^b_1 (K^{f T}_1 vec W_1 - K^{f T}_2 vec W_2)`` of one layer; K^b = K^f for a linear output."""
    sides = [connection(net, layer).T * vec(net.weights[layer - 1]) for net in (first, second)]
    return connection(first, layer, "backward") * (sides[0] - sides[1])


def _layer_steps(
    first: Tower, second: Tower, layer: int, left: ImmutableDenseMatrix, right: ImmutableDenseMatrix
) -> list[Step]:
    """Chain rule, homogeneity of both towers, and the claim of one layer."""
    shape = first.weights[layer - 1].shape
    size = first.output.rows
    grad = matrix(rf"\frac{{\partial r}}{{\partial W_{{1,{layer}}}}}", *shape)
    outputs = [matrix(f"f_{{{i},{first.layers}}}", size, 1) for i in (1, 2)]
    weights = [matrix(f"W_{{{i},{layer}}}", *shape) for i in (1, 2)]
    marks = ("^{b}", "^{f}") if first.normalized else ("", "")
    backward = matrix(f"K{marks[0]}_{{1,{layer}}}", shape[0] * shape[1], size)
    forward = [matrix(f"K{marks[1]}_{{{i},{layer}}}", shape[0] * shape[1], size) for i in (1, 2)]
    jac = matrix(f"J_{{1,{layer}}}", size, shape[0])
    previous = matrix(f"f_{{1,{layer - 1}}}", shape[1], 1)
    steps = []
    gap = first.output - second.output
    if not first.normalized:
        outer = vec(jacobian(first, layer).T * gap * first.activations[layer - 1].T)
        shown = KroneckerProduct(previous, jac.T) * (outputs[0] - outputs[1])
        steps.append(
            Step(
                equation(Vec(grad), shown),
                f"chain rule of layer {layer} at fixed gates, then vec(A X B) = (B^T kron A) vec X; "
                "the left side is differentiated entry by entry",
                decide_zero(left - outer),
            )
        )
    for net, weight, conn, out in zip((first, second), weights, forward, outputs, strict=True):
        product = connection(net, layer).T * vec(net.weights[layer - 1])
        why = "homogeneity: J_l p_l = f_L, and the vec identity"
        steps.append(Step(equation(conn.T * Vec(weight), out), why, decide_zero(product - net.output)))
    claim = equation(Vec(grad), backward * (forward[0].T * Vec(weights[0]) - forward[1].T * Vec(weights[1])))
    steps.append(Step(claim, f"the claim at layer {layer}, entry by entry", decide_zero(left - right)))
    return steps
