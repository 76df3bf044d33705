"""Statement 1 (dual-gradient): Theorem 1 of arXiv 2010.00578, at given widths and for all sizes.

``vec(dr/dW_{1,l}) = K_{1,l} (K_{1,l}^T vec W_{1,l} - K_{2,l}^T vec W_{2,l})`` for two different weight sets,
with symbolic weights, inputs and gates, and the reversible extension to the normalised output. At given widths the
left-hand side is differentiated entry by entry and the residual is brought to polynomial normal form; for all sizes
the chain rule and homogeneity are proved by induction over the layers, in index notation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sympy import (
    Basic,
    Identity,
    ImmutableDenseMatrix,
    KroneckerProduct,
    MatAdd,
    MatMul,
    MatrixExpr,
    MatrixSymbol,
    Rational,
    Symbol,
    Transpose,
    ZeroMatrix,
)

from theory.core.decide import decide_zero
from theory.core.derivation import Claim, Derivation, Step, equation, stated
from theory.core.equality import check_identity
from theory.core.notation import Vec, dimension, matrix
from theory.core.quantity import quantity
from theory.core.reading import explicit, explicit_reading, identity_reading
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
N_TOP, N, N_BELOW, N_ABOVE = dimension("L"), dimension("l"), dimension("l-1"), dimension("l+1")
STEP_SIZE = Symbol("t", real=True)
_WEIGHT_CHANGE = matrix("dW_{1,l}", N, N_BELOW)
_UPPER, _GATE = matrix("W_{1,l+1}", N_ABOVE, N), matrix("D_{1,l}", N, N)
_JACOBIAN_ABOVE, _JACOBIAN_TOP = matrix("J_{1,l+1}", N_TOP, N_ABOVE), matrix("J_{1,L}", N_TOP, N_TOP)


def derive_widths(widths: object, output: str = "linear") -> Derivation:
    """Statement 1 for towers of the given widths, every layer."""
    sizes = checked_widths(widths, output)
    first, second = (tower(sizes, name, output == "normalized") for name in ("1", "2"))
    distance = squared_distance(first, second)
    steps: list[Step] = []
    meanings: dict[MatrixExpr, ImmutableDenseMatrix] = {}
    read = explicit_reading(meanings)
    claims = []
    for layer in range(1, first.layers + 1):
        left = gradient(distance, first.weights[layer - 1])
        steps.extend(_layer_steps(first, second, layer, left, meanings))
        claims.append(claim_of_layer(first, layer))
        steps.append(stated(claims[-1], f"the claim at layer {layer}, entry by entry", read))
    assumptions = ASSUMPTIONS if output == "linear" else (*ASSUMPTIONS, "u_1 and u_2 are not zero")
    claim = Claim(f"{TEXT[output]}, widths {sizes}, {output} output", tuple(claims), assumptions)
    entries = [explicit(side, meanings) for relation in claims for side in relation.args]
    residual = [left - right for left, right in zip(entries[::2], entries[1::2], strict=True)]
    proved = all(step.proved for step in steps)
    column = ImmutableDenseMatrix.vstack(*residual)
    return Derivation("dual-gradient", claim, tuple(steps), 0 * column if proved else column, read)


def symbols_of_layer(first: Tower, layer: int) -> tuple[MatrixExpr, MatrixExpr, list[MatrixExpr], list[MatrixExpr]]:
    """Gradient, backward connection, forward connections and weights of one layer, as the claim names them."""
    shape, size = first.weights[layer - 1].shape, first.output.rows
    marks = ("^{b}", "^{f}") if first.normalized else ("", "")
    rows = shape[0] * shape[1]
    where = {i: {"tower": i, "layer": layer} for i in (1, 2)}
    grad = quantity("gradient", rf"\frac{{\partial r}}{{\partial W_{{1,{layer}}}}}", *shape, where=where[1])
    forward = [quantity("connection", f"K{marks[1]}_{{{i},{layer}}}", rows, size, where=where[i]) for i in (1, 2)]
    backward = forward[0]
    if first.normalized:
        backward = quantity("backward connection", f"K^{{b}}_{{1,{layer}}}", rows, size, where=where[1])
    weights = [quantity("weights", f"W_{{{i},{layer}}}", *shape, where=where[i]) for i in (1, 2)]
    return grad, backward, forward, weights


def claim_of_layer(first: Tower, layer: int) -> Basic:
    """``vec(dr/dW_1) = K^b_1 (K^{f T}_1 vec W_1 - K^{f T}_2 vec W_2)`` of one layer; K^b = K^f for a linear output."""
    grad, backward, forward, weights = symbols_of_layer(first, layer)
    return equation(Vec(grad), backward * (forward[0].T * Vec(weights[0]) - forward[1].T * Vec(weights[1])))


def _layer_steps(
    first: Tower,
    second: Tower,
    layer: int,
    left: ImmutableDenseMatrix,
    meanings: dict[MatrixExpr, ImmutableDenseMatrix],
) -> list[Step]:
    """Chain rule and homogeneity of both towers at one layer; what the symbols of its claim stand for is added."""
    shape = first.weights[layer - 1].shape
    size = first.output.rows
    grad, backward, forward, weights = symbols_of_layer(first, layer)
    outputs = [matrix(f"f_{{{i},{first.layers}}}", size, 1) for i in (1, 2)]
    jac = matrix(f"J_{{1,{layer}}}", size, shape[0])
    previous = matrix(f"f_{{1,{layer - 1}}}", shape[1], 1)
    meanings[grad] = ImmutableDenseMatrix(*shape, lambda b, a: left[a * shape[0] + b])
    for net, conn, weight in zip((first, second), forward, weights, strict=True):
        meanings[conn], meanings[weight] = connection(net, layer), net.weights[layer - 1]
    meanings[backward] = connection(first, layer, "backward")
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
                decide_zero(left - outer, (left, outer)),
            )
        )
    for net, weight, conn, out in zip((first, second), weights, forward, outputs, strict=True):
        product = connection(net, layer).T * vec(net.weights[layer - 1])
        why = "homogeneity: J_l p_l = f_L, and the vec identity"
        steps.append(
            Step(equation(conn.T * Vec(weight), out), why, decide_zero(product - net.output, (product, net.output)))
        )
    return steps


# All sizes: a generic layer l of towers of any depth and widths, on matrix symbols.


@dataclass(frozen=True)
class Side:
    """The matrix symbols of one tower at a generic layer l."""

    weight: MatrixSymbol
    jacobian: MatrixSymbol
    previous: MatrixSymbol
    output: MatrixSymbol
    raw: MatrixSymbol
    norm: Symbol

    @property
    def connection(self) -> MatrixExpr:
        """``K_l = f_{l-1} kron J_l^T``."""
        return KroneckerProduct(self.previous, self.jacobian.T)


def side(name: str) -> Side:
    """Symbols of the tower ``name``."""
    here, top = {"tower": name, "layer": "l"}, {"tower": name, "layer": "L"}
    return Side(
        weight=quantity("weights", f"W_{{{name},l}}", N, N_BELOW, where=here),
        jacobian=quantity("Jacobian", f"J_{{{name},l}}", N_TOP, N, where=here),
        previous=quantity("activation", f"f_{{{name},l-1}}", N_BELOW, 1, where={"tower": name, "layer": "l-1"}),
        output=quantity("output", f"f_{{{name},L}}", N_TOP, 1, where=top),
        raw=quantity("pre-activation", f"u_{{{name}}}", N_TOP, 1, where=top),
        norm=quantity("norm", rf"\nu_{{{name}}}", where=top, positive=True),
    )


def identity_step(
    left: MatrixExpr, right: MatrixExpr, why: str, definitions: Mapping[MatrixExpr, MatrixExpr] | None = None
) -> Step:
    """A step decided in index notation for all sizes, under some definitions."""
    return Step(equation(left, right), why, check_identity(left, right, definitions))


def half_square(column: MatrixExpr) -> MatrixExpr:
    """``1/2 a^T a``, not expanded."""
    return MatMul(Rational(1, 2), Transpose(column), column)


def distance_steps(first: Side, second: Side) -> list[Step]:
    """The differential of r = 1/2 ||f_1 - f_2||^2: the coefficient of t."""
    gap, change = first.output - second.output, matrix("df_{1,L}", N_TOP, 1)
    moved = gap + STEP_SIZE * change
    expanded = MatAdd(
        half_square(gap), MatMul(STEP_SIZE, Transpose(gap), change), MatMul(STEP_SIZE**2, half_square(change))
    )
    why = "expansion of a square: the coefficient of t is the differential dr = (f_1 - f_2)^T df_1"
    return [identity_step(half_square(moved), expanded, why)]


def layer_steps(first: Side) -> list[Step]:
    """``du = J_l dW_l f_{l-1}``: product rule of a layer, and induction over the layers above it."""
    change, above = matrix("dp_{1,l}", N, 1), matrix("dp_{1,l+1}", N_ABOVE, 1)
    top, final = matrix("dp_{1,L}", N_TOP, 1), matrix("du_{1}", N_TOP, 1)
    moved = (first.weight + STEP_SIZE * _WEIGHT_CHANGE) * first.previous
    straight = first.weight * first.previous + STEP_SIZE * _WEIGHT_CHANGE * first.previous
    return [
        identity_step(moved, straight, "product rule of a layer, f_(l-1) does not depend on W_l: dp_l = dW_l f_(l-1)"),
        identity_step(
            final,
            _JACOBIAN_TOP * top,
            "chain rule, induction base: u = p_L and J_L = I give du = J_L dp_L",
            {_JACOBIAN_TOP: Identity(N_TOP), final: top},
        ),
        identity_step(
            final,
            first.jacobian * change,
            "chain rule, induction step: du = J_(l+1) dp_(l+1), dp_(l+1) = W_(l+1) D_l dp_l and "
            "J_l = J_(l+1) W_(l+1) D_l give du = J_l dp_l",
            {
                final: _JACOBIAN_ABOVE * above,
                above: _UPPER * _GATE * change,
                first.jacobian: _JACOBIAN_ABOVE * _UPPER * _GATE,
            },
        ),
    ]


def homogeneity_steps(first: Side) -> list[Step]:
    """``J_l p_l = u`` by induction from the top, and ``K_l^T vec W_l = J_l p_l``."""
    here, above, top = matrix("p_{1,l}", N, 1), matrix("p_{1,l+1}", N_ABOVE, 1), matrix("p_{1,L}", N_TOP, 1)
    active = matrix("f_{1,l}", N, 1)
    return [
        identity_step(
            _JACOBIAN_TOP * top,
            first.raw,
            "homogeneity, induction base: J_L = I and u = p_L",
            {_JACOBIAN_TOP: Identity(N_TOP), first.raw: top},
        ),
        identity_step(
            first.jacobian * here,
            _JACOBIAN_ABOVE * above,
            "homogeneity, induction step: J_l = J_(l+1) W_(l+1) D_l, f_l = D_l p_l, p_(l+1) = W_(l+1) f_l",
            {first.jacobian: _JACOBIAN_ABOVE * _UPPER * _GATE, above: _UPPER * active, active: _GATE * here},
        ),
        identity_step(
            first.connection.T * Vec(first.weight),
            first.jacobian * here,
            "vec(A X B) = (B^T kron A) vec X with A = J_l, X = W_l, B = f_(l-1); p_l = W_l f_(l-1)",
            {here: first.weight * first.previous},
        ),
    ]


def gradient_steps(first: Side, second: Side) -> list[Step]:
    """``dr = <G, dW>`` with ``G = J_l^T (f_1 - f_2) f_{l-1}^T``, and ``vec G = K_l (f_1 - f_2)``."""
    gap, grad = first.output - second.output, _pulled_back(first, second)
    return [
        identity_step(
            gap.T * first.jacobian * _WEIGHT_CHANGE * first.previous,
            Vec(grad).T * Vec(_WEIGHT_CHANGE),
            "trace identity: dr = vec(G)^T vec(dW_l) for every dW_l, so G is the gradient",
        ),
        identity_step(
            Vec(grad),
            first.connection * gap,
            "vec(A X B) = (B^T kron A) vec X with A = J_l^T, X = f_1 - f_2, B = f_(l-1)^T",
        ),
    ]


def normalized_steps(first: Side, second: Side) -> list[Step]:
    """Differential of ``f = u / ||u||`` and the gradient through it, with ``P = I - f f^T``."""
    nu, raw, change = first.norm, first.raw, matrix("du_{1}", N_TOP, 1)
    projector, d_nu = projection(first), raw.T * change / nu
    moved = raw + STEP_SIZE * change
    squares = raw.T * raw + 2 * STEP_SIZE * nu * d_nu + STEP_SIZE**2 * change.T * change
    outer = change / nu - raw * d_nu / nu**2
    gap, grad = first.output - second.output, _pulled_back(first, second, "normalized")
    unit = {first.output: raw / nu}
    back = quantity("backward Jacobian", "J^{b}_{1,l}", N_TOP, N, where={"tower": 1, "layer": "l"})
    return [
        identity_step(
            MatMul(Transpose(moved), moved),
            squares,
            "norm, nu^2 = u^T u: the coefficient of t is 2 nu dnu, so dnu = u^T du / nu",
        ),
        identity_step(
            outer, projector * change / nu, "quotient rule df = du/nu - u dnu/nu^2 = P du/nu, P = I - f f^T", unit
        ),
        identity_step(
            gap.T * projector * first.jacobian * _WEIGHT_CHANGE * first.previous / nu,
            Vec(grad).T * Vec(_WEIGHT_CHANGE),
            "trace identity: dr = vec(G)^T vec(dW_l) for every dW_l, so G is the gradient; P is symmetric",
            unit,
        ),
        identity_step(
            Vec(grad),
            KroneckerProduct(first.previous, back.T) * gap,
            "vec(A X B) = (B^T kron A) vec X with A = J_l^T P/nu, X = f_1 - f_2, B = f_(l-1)^T; J^b = P J_l/nu",
            {**unit, back: projector * first.jacobian / nu},
        ),
    ]


def projection(tower: Side) -> MatrixExpr:
    """``P = I - f f^T``."""
    return Identity(N_TOP) - tower.output * tower.output.T


def _pulled_back(first: Side, second: Side, output: str = "linear") -> MatrixExpr:
    """The gradient ``G = J_l^T (f_1 - f_2) f_{l-1}^T``, through ``P / nu`` of a normalised output."""
    gap = first.output - second.output
    if output == "linear":
        return first.jacobian.T * gap * first.previous.T
    return first.jacobian.T * projection(first) * gap * first.previous.T / first.norm


def shared_step() -> Step:
    """Shared weights, the gradient flows through both towers: ``vec G = (K_1 - K_2)(f_1 - f_2)``."""
    first, second = side("1"), side("2")
    gap = first.output - second.output
    grad = _pulled_back(first, second) - second.jacobian.T * gap * second.previous.T
    why = "shared weights: dr = (f_1 - f_2)^T (df_1 - df_2), one gradient per tower, then the vec identity"
    return identity_step(Vec(grad), (first.connection - second.connection) * gap, why)


def convention_step(convention: str) -> Step:
    """The gradient of r: through both towers ("shared"), or through the first only ("one-branch")."""
    return shared_step() if convention == "shared" else gradient_steps(side("1"), side("2"))[-1]


def derive_all_sizes(output: str = "linear") -> Derivation:
    """Statement 1 for towers of every depth and all widths."""
    first, second = side("1"), side("2")
    steps = [*distance_steps(first, second), *layer_steps(first), *homogeneity_steps(first)]
    steps += gradient_steps(first, second) if output == "linear" else normalized_steps(first, second)
    grad, right, meanings = _claim(first, second, output)
    why = "homogeneity K_l^T vec W_l = f_L of both towers, put into vec G"
    if output != "linear":
        why += "; J^f = J_l/nu and J^b = P J_l/nu"
    last = identity_step(Vec(grad), right, why, meanings)
    if output == "linear":
        steps.append(shared_step())
    steps.append(last)
    residual = ZeroMatrix(N * N_BELOW, 1) if last.proved else Vec(grad) - right
    slope = quantity("gradient", r"\frac{\partial r}{\partial W_{1,l}}", N, N_BELOW, where={"tower": 1, "layer": "l"})
    distance, square = quantity("squared distance", "r", 1, 1), half_square(first.output - second.output)
    read = identity_reading({slope: grad, distance: square, **meanings})
    relations = (equation(Vec(slope), right), equation(distance, square), *_connections(meanings))
    assumptions = ASSUMPTIONS if output == "linear" else (*ASSUMPTIONS, "u_1 and u_2 are not zero")
    claim = Claim(f"{TEXT[output]}, all widths and depths, {output} output", relations, assumptions)
    return Derivation("dual-gradient", claim, tuple(steps), residual, read)


def _connections(meanings: Mapping[MatrixExpr, MatrixExpr]) -> list[Basic]:
    """What the connections of the claim are; ``K^f`` and ``K^b`` where normalised."""
    factors = {symbol: value for symbol, value in meanings.items() if "Jacobian" in symbol.role}
    connections = [symbol for symbol in meanings if "connection" in symbol.role]
    return [equation(symbol, meanings[symbol].xreplace(factors)) for symbol in connections]


def _connection(name: str, tower: int, role: str = "connection") -> MatrixExpr:
    return quantity(role, name, N * N_BELOW, N_TOP, where={"tower": tower, "layer": "l"})


def _claim(first: Side, second: Side, output: str) -> tuple[MatrixExpr, MatrixExpr, dict[MatrixExpr, MatrixExpr]]:
    """The gradient, the claimed right-hand side, what its symbols are, and the lemma ``u = J_l W_l f_{l-1}``."""
    towers = (first, second)
    lemma = {tower: tower.jacobian * tower.weight * tower.previous for tower in towers}
    if output == "linear":
        forward = [_connection(f"K_{{{i},l}}", i) for i in (1, 2)]
        backward = forward[0]
        meanings = {tower.output: raw for tower, raw in lemma.items()}
        meanings |= {symbol: tower.connection for symbol, tower in zip(forward, towers, strict=True)}
    else:
        back = quantity("backward Jacobian", "J^{b}_{1,l}", N_TOP, N, where={"tower": 1, "layer": "l"})
        forward = [_connection(f"K^{{f}}_{{{i},l}}", i) for i in (1, 2)]
        backward = _connection("K^{b}_{1,l}", 1, "backward connection")
        scaled = [
            quantity("forward Jacobian", f"J^{{f}}_{{{i},l}}", N_TOP, N, where={"tower": i, "layer": "l"})
            for i in (1, 2)
        ]
        meanings = {tower.output: raw / tower.norm for tower, raw in lemma.items()}
        meanings |= {jac: tower.jacobian / tower.norm for jac, tower in zip(scaled, towers, strict=True)}
        meanings[back] = projection(first) * first.jacobian / first.norm
        meanings[backward] = KroneckerProduct(first.previous, back.T)
        for symbol, tower, jac in zip(forward, towers, scaled, strict=True):
            meanings[symbol] = KroneckerProduct(tower.previous, jac.T)
    right = backward * (forward[0].T * Vec(first.weight) - forward[1].T * Vec(second.weight))
    return _pulled_back(first, second, output), right, meanings
