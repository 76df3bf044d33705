r"""Barlow Twins of one linear layer, learned in steps (Simon et al., arXiv 2303.15438), and a duality of two criteria.

``f = W x`` and ``L = ||C - I||_F^2`` with the cross-moment ``C = 1/2 E[f(x_1) f(x_+)^T + f(x_+) f(x_1)^T]``. From a
start in eigenvectors of ``Gamma = E_x[xbar xbar^T]`` the flow keeps them, and every singular value follows its own
equation.
The duality (Garrido et al., 2206.02574) is about a matrix K of outputs: dimensions in rows, samples in columns.
"""

from collections.abc import Callable

import sympy
from sympy import Basic, HadamardProduct, Identity, Inverse, Symbol, Trace, Transpose, exp, log

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation, reading
from theory.core.derivation import Derivation, Step, concluded, zero_step
from theory.core.expectation import Law, Moment
from theory.core.notation import Expect
from theory.core.order import decide_relation
from theory.core.quantity import quantity
from theory.core.reading import identity_reading, with_meanings
from theory.core.record import differentiated
from theory.towers.dual_gradient import identity_step

INDEPENDENT = "x_1 and x_+ are independent augmentations of x"
LINEAR = "f = W x"
ALIGNED = "W = U S V^T with orthogonal U, diagonal S, and orthonormal eigenvectors V of Gamma, Gamma V = V Lambda"
POSITIVE = "lambda_j > 0 and s_j(0) > 0"
LATER = "t >= 0"
LOW = "lambda_j s_j(0)^2 < 1"
PICARD = "Picard-Lindelof: a smooth differential equation has one solution from a start"
UNIT = "the columns of K have norm 1"

OUT, IN, POINTS = (Symbol(name, integer=True, positive=True) for name in ("d", "m", "M"))
WEIGHT = quantity("weights", "W", OUT, IN)
GAMMA = quantity("second moment of the mean inputs", r"\Gamma", IN, IN)
CROSS = quantity("cross-moment", "C", OUT, OUT)
UNIT_MATRIX = Identity(OUT)
LETTERS = Alphabet(
    {
        "x": Kind("input", "x", (IN, 1)),
        "xbar": Kind("mean input", r"\bar{x}", (IN, 1)),
        "W": Kind("weights", fixed=WEIGHT),
    },
    {IN: 2, OUT: 2},
)
LAW = Law(means={"x": "xbar"})


def moment() -> Derivation:
    """``C = W E_x[xbar xbar^T] W^T``."""
    weight, one, other = LETTERS.moment("W"), *(LETTERS.moment("x", "x", copy) for copy in ("1", "2"))

    def outer(first: Moment, second: Moment) -> Moment:
        return weight * first * (weight * second).transposed()

    both = (outer(one, other) + outer(other, one)).scaled(sympy.Rational(1, 2))
    mean = LETTERS.symbol("xbar")
    relation = equation(CROSS, WEIGHT * Expect(mean * mean.T) * WEIGHT.T)
    why = "tower rule: x_1 and x_+ are independent given x"
    average = LETTERS.moment("xbar")
    step = LETTERS.step(one * other.transposed(), average * average.transposed(), LAW, why)
    return derived("C = W E_x[xbar xbar^T] W^T", (relation,), [step], LETTERS.read_as({CROSS: both}, LAW))


UPDATE = quantity("update", r"\dot{W}", OUT, IN)
ERROR = quantity("error", "E", OUT, OUT)


def flow_steps() -> list[Step]:
    """The gradient of ``||E||^2``, ``E = W Gamma W^T - I``."""
    t, change = Symbol("t", real=True), quantity("change of the weights", "dW", OUT, IN)
    error_change = quantity("change of the error", "dE", OUT, OUT)
    moved = WEIGHT + t * change
    return [
        identity_step(
            square(ERROR + t * error_change),
            square(ERROR) + 2 * t * Trace(ERROR.T * error_change) + t**2 * square(error_change),
            "expansion of a square: the coefficient of t is dL = 2 tr(E^T dE)",
        ),
        identity_step(
            moved * GAMMA * moved.T,
            WEIGHT * GAMMA * WEIGHT.T
            + t * (change * GAMMA * WEIGHT.T + WEIGHT * GAMMA * change.T)
            + t**2 * change * GAMMA * change.T,
            "product rule: dE = dW Gamma W^T + W Gamma dW^T",
        ),
        identity_step(
            2 * Trace(ERROR.T * error_change),
            Trace(slope(ERROR).T * change),
            "trace identity: dL = <G, dW> for every dW, so G is the gradient",
            {error_change: change * GAMMA * WEIGHT.T + WEIGHT * GAMMA * change.T},
        ),
    ]


def square(matrix: Basic) -> Basic:
    """Squared Frobenius norm ``tr(M M^T)``."""
    return Trace(matrix * Transpose(matrix))


def slope(error: Basic) -> Basic:
    """The gradient ``2 (E W Gamma^T + E^T W Gamma)``."""
    return 2 * (error * WEIGHT * GAMMA.T + error.T * WEIGHT * GAMMA)


def flow() -> Derivation:
    """``dW/dt = -grad L = -4 (W Gamma W^T - I) W Gamma``."""
    error = WEIGHT * GAMMA * WEIGHT.T - UNIT_MATRIX
    relation = equation(UPDATE, -4 * error * WEIGHT * GAMMA)
    factor = quantity("mean inputs, weighted", "X", POINTS, IN)
    read = identity_reading({UPDATE: -slope(error), GAMMA: factor.T * factor})
    return derived("dW/dt = -4 (W Gamma W^T - I) W Gamma", (relation,), flow_steps(), read)


LEFT = quantity("left singular vectors", "U", OUT, OUT)
SINGULAR = quantity("singular values", "S", OUT, OUT)
RIGHT = quantity("right singular vectors", "V", IN, OUT)
EIGENVALUES = quantity("eigenvalues", r"\Lambda", OUT, OUT)
LOSS = quantity("loss", "L")


def aligned() -> tuple[Basic, Basic, Basic, dict[Basic, Basic]]:
    """Weights, their transpose and Gamma in an aligned state, and V^T.

    ``U^T = U^(-1)``. ``V^T V = I`` says that V^T is the left inverse ``(V^T V)^(-1) V^T``, and ``Gamma V = V Lambda``
    that Gamma is ``V Lambda V^T`` plus a matrix that vanishes on the range of V.
    """
    basis, rest = quantity("basis", "Z", IN, OUT), quantity("any matrix", "B", IN, IN)
    dual = Inverse(basis.T * basis) * basis.T
    beside = Identity(IN) - basis * dual
    gamma = basis * EIGENVALUES * dual + beside * rest * beside
    return LEFT * SINGULAR * dual, basis * SINGULAR * Inverse(LEFT), gamma, {Transpose(RIGHT): dual}


def modes() -> Derivation:
    """From ``W = U S V^T`` the flow is ``U 4 (I - S Lambda S) S Lambda V^T``: U and V stay."""
    weight, turned, gamma, meanings = aligned()
    update = -4 * (weight * gamma * turned - UNIT_MATRIX) * weight * gamma
    filled = SINGULAR * EIGENVALUES * SINGULAR
    relation = equation(UPDATE, 4 * LEFT * (UNIT_MATRIX - filled) * SINGULAR * EIGENVALUES * RIGHT.T)
    step = identity_step(weight * gamma * turned, LEFT * filled * Inverse(LEFT), "W Gamma W^T = U S Lambda S U^T")
    read = identity_reading({UPDATE: update, **meanings})
    text = "W = U S V^T: dW/dt = 4 U (I - S Lambda S) S Lambda V^T, so dS/dt = 4 S Lambda (I - S^2 Lambda)"
    return derived(text, (relation,), [*flow_steps(), step], read, (ALIGNED,))


def loss() -> Derivation:
    """``L = sum_j (1 - lambda_j s_j^2)^2``."""
    weight, turned, gamma, _ = aligned()
    error = weight * gamma * turned - UNIT_MATRIX
    inner = UNIT_MATRIX - SINGULAR * EIGENVALUES * SINGULAR
    step = identity_step(error, -LEFT * inner * Inverse(LEFT), "C - I = -U (I - S Lambda S) U^T")
    read = identity_reading({LOSS: Trace(error * error)})
    text = "W = U S V^T: L = sum_j (1 - lambda_j s_j^2)^2"
    return derived(text, (equation(LOSS, Trace(inner * inner)),), [step], read, (ALIGNED,))


TIME = quantity("time", "t", nonnegative=True)
LAMBDA = quantity("eigenvalue", r"\lambda_{j}", positive=True)
START = quantity("singular value at the start", "s_{j}(0)", positive=True)
VALUE = quantity("singular value", "s_{j}(t)", positive=True)
RATE = quantity("rate of the singular value", r"\dot{s}_{j}(t)")
RISE = quantity("time of the rise", "t_{j}", positive=True)
RISEN = quantity("singular value at the time of the rise", "s_{j}(t_{j})", positive=True)


def inverse_square(decay: Basic) -> Basic:
    """``s^(-2)``, the solution of a linear equation, where ``e^(-8 lambda t)`` is `decay`."""
    return LAMBDA + (START**-2 - LAMBDA) * decay


def solution_steps() -> list[Step]:
    """The equation of one mode becomes linear for ``y = s^(-2)``."""
    y, s = inverse_square(exp(-8 * LAMBDA * TIME)), VALUE
    return [
        zero_step(
            -2 * s**-3 * (4 * LAMBDA * s * (1 - LAMBDA * s**2)),
            -8 * LAMBDA * s**-2 + 8 * LAMBDA**2,
            "chain rule for y = s^(-2): ds/dt = 4 lambda s (1 - lambda s^2) becomes dy/dt = -8 lambda y + 8 lambda^2",
        ),
        zero_step(
            differentiated(y, TIME),
            -8 * LAMBDA * y + 8 * LAMBDA**2,
            "solved by y = lambda + (s(0)^(-2) - lambda) e^(-8 lambda t)",
        ),
        zero_step(y.subs(TIME, 0), START**-2, "the start of y"),
    ]


def solution() -> Derivation:
    """``s_j(t)^2 = e^(8 lambda t) / (s_j(0)^(-2) + (e^(8 lambda t) - 1) lambda)``."""
    growth = exp(8 * LAMBDA * TIME)
    y = inverse_square(exp(-8 * LAMBDA * TIME))
    relations = (
        equation(VALUE**2, growth / (START**-2 + (growth - 1) * LAMBDA)),
        equation(RATE, 4 * LAMBDA * VALUE * (1 - LAMBDA * VALUE**2)),
    )
    rate = -differentiated(y, TIME) / (2 * y * sympy.sqrt(y))
    read = scalar_reading({VALUE: 1 / sympy.sqrt(y), RATE: rate})
    text = "s_j(t)^2 = e^(8 lambda_j t) / (s_j(0)^(-2) + (e^(8 lambda_j t) - 1) lambda_j)"
    return derived(text, relations, solution_steps(), read, (ALIGNED, POSITIVE, LATER, PICARD))


def rise() -> Derivation:
    """When growth without saturation, ``dz/dt = 4 lambda z``, fills a mode, the mode itself is nearly half full.

    t_j is the time at which ``lambda_j z^2 = 1``. The start is read as a function of t_j; t_j > 0 where
    ``lambda_j s_j(0)^2 < 1``.
    """
    free = START * exp(4 * LAMBDA * TIME)
    filled = {START: exp(-4 * LAMBDA * RISE) / sympy.sqrt(LAMBDA)}
    steps = [
        *solution_steps(),
        zero_step(differentiated(free, TIME), 4 * LAMBDA * free, "growth without saturation: z = s(0) e^(4 lambda t)"),
        zero_step((LAMBDA * free.subs(TIME, RISE) ** 2).xreplace(filled), sympy.S.One, "t_j: lambda z(t_j)^2 = 1"),
        zero_step(
            inverse_square(exp(-8 * LAMBDA * RISE)).xreplace(filled),
            LAMBDA * (2 - exp(-8 * LAMBDA * RISE)),
            "s^(-2) at that time, by the solution with t_j put in",
        ),
    ]
    relations = (
        equation(RISE, -log(START**2 * LAMBDA) / (8 * LAMBDA)),
        equation(LAMBDA * RISEN**2, 1 / (2 - LAMBDA * START**2)),
    )
    height = 1 / sympy.sqrt(inverse_square(exp(-8 * LAMBDA * RISE)))
    read = scalar_reading({**filled, RISEN: height.xreplace(filled)})
    text = "t_j = -ln(lambda_j s_j(0)^2)/(8 lambda_j): lambda_j s_j(t_j)^2 = 1/(2 - lambda_j s_j(0)^2)"
    return derived(text, relations, steps, read, (ALIGNED, POSITIVE, LOW, PICARD))


def scalar_reading(meanings: dict[Basic, Basic]) -> Reading:
    """Relations of scalars, with what was derived for their symbols."""
    return reading(lambda relation: decide_relation(with_meanings(relation, meanings)))


DIMENSIONS, SAMPLES = (Symbol(name, integer=True, positive=True) for name in ("D", "N"))
OUTPUTS = quantity("matrix of outputs", "K", DIMENSIONS, SAMPLES)
CRITERIA = {
    "rows": quantity("dimension-contrastive criterion", r"L_{\mathrm{nc}}"),
    "columns": quantity("sample-contrastive criterion", r"L_{\mathrm{c}}"),
}
FOURTH = {
    "rows": quantity("sum of the fourth powers of the row norms", r"\textstyle\sum_{j} \|K_{j\cdot}\|^4"),
    "columns": quantity("sum of the fourth powers of the column norms", r"\textstyle\sum_{i} \|K_{\cdot i}\|^4"),
}


def gram(side: str) -> tuple[Basic, Basic]:
    """``K K^T`` or ``K^T K``, and its size."""
    return {"rows": (OUTPUTS * OUTPUTS.T, DIMENSIONS), "columns": (OUTPUTS.T * OUTPUTS, SAMPLES)}[side]


def criterion(side: str) -> dict[Basic, Basic]:
    """The sum of squares of the diagonal of a Gram matrix G, ``tr((G o I) G)``, and of the rest."""
    matrix, size = gram(side)
    fourth = Trace(HadamardProduct(matrix, Identity(size)) * matrix)
    return {CRITERIA[side]: Trace(matrix * matrix) - fourth, FOURTH[side]: fourth}


def duality() -> Derivation:
    """The squares off the diagonal of ``K K^T``, plus those on it, are those of ``K^T K``."""
    relation = equation(CRITERIA["rows"] + FOURTH["rows"], CRITERIA["columns"] + FOURTH["columns"])
    first, second = gram("rows")[0], gram("columns")[0]
    step = identity_step(Trace(first * first), Trace(second * second), "cyclic trace: ||K K^T||^2 = ||K^T K||^2")
    read = identity_reading(criterion("rows") | criterion("columns"))
    text = "L_nc + sum_j ||K_j.||^4 = L_c + sum_i ||K_.i||^4"
    return derived(text, (relation,), [step], read, assumed=())


def unit_columns() -> Derivation:
    """With unit columns ``L_nc - L_c = N - sum_j ||K_j.||^4``."""
    relation = equation(CRITERIA["rows"] - CRITERIA["columns"], SAMPLES - FOURTH["rows"])
    matrix, size = gram("columns")
    diagonal = quantity("diagonal of the Gram matrix", "G_{0}", size, size)
    part = HadamardProduct(matrix, Identity(size))
    steps = [
        identity_step(Trace(part * matrix), Trace(part * part), "only the diagonal of the other factor counts"),
        identity_step(Trace(diagonal * diagonal), SAMPLES, "unit columns: it is I", {diagonal: Identity(size)}),
    ]
    columns = {CRITERIA["columns"]: Trace(matrix * matrix) - SAMPLES}
    read = identity_reading(criterion("rows") | columns)
    text = "unit columns: L_nc - L_c = N - sum_j ||K_j.||^4"
    return derived(text, (relation,), steps, read, assumed=(UNIT,))


def derived(
    text: str,
    relations: tuple[Basic, ...],
    steps: list[Step],
    read: Reading,
    further: tuple[str, ...] = (),
    assumed: tuple[str, ...] = (INDEPENDENT, LINEAR),
) -> Derivation:
    """A derivation of this pack: the claim is its last step."""
    return concluded("stepwise-barlow", Claim(text, relations, (*assumed, *further)), steps, read)


_DERIVED: dict[str, Callable[[], Derivation]] = {
    "moment": moment, "flow": flow, "modes": modes, "loss": loss, "solution": solution, "rise": rise,
    "duality": duality, "unit-columns": unit_columns,
}  # fmt: skip
PARTS: tuple[str, ...] = tuple(_DERIVED)
"""The formulas."""


def derive(part: str = PARTS[0]) -> Derivation:
    """Derive one formula of the pack."""
    return _DERIVED[part]()
