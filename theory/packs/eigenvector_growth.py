"""Growth along the top eigenvector: one linear layer on the sphere, and a decoupled two-layer neuron.

With the simple loss a linear layer moves by ``2 W A``, ``A = V_x[xbar]`` (statement 3 with K = x). Kept on the sphere
``||W||_F = 1`` by projection it follows ``dW = 2 (W A - E W)``, ``E = <W, W A>``: the components ``W v_k`` along the
eigenvectors of A compete, and the largest eigenvalue wins. A decoupled neuron of statement 5 does the same without a
constraint, at a speed that its output weights set.
"""

from functools import cache
from typing import Any

import sympy
from sympy import Basic, Expr, MatMul, MatrixExpr, Trace, Transpose, ZeroMatrix

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation, reading, undecided
from theory.core.decide import ABSTAINED, Decision, combine, decide_zero
from theory.core.derivation import Derivation, Step, concluded, zero_step
from theory.core.equality import check_identity
from theory.core.expectation import Law
from theory.core.notation import Covariance, dimension
from theory.core.order import decide_relation
from theory.core.quantity import quantity
from theory.core.reading import explicit_reading, with_meanings
from theory.two_layer.dynamics import derive_decoupled
from theory.two_layer.relations import A_JJ, N0, OUT, OUT_RATE, OWN, OWN_RATE, decoupled_relations

SLUG = "eigenvector-growth"
SIMPLE = "the simple loss, gradient through both towers of every pair"
INDEPENDENT = "x_1 and x_+ are independent augmentations of x, the negative one of an independent point"
LINEAR = "one linear layer f = W x"
SPHERE = "the flow is projected: dW = G - <W, G> W with G = -E[grad]"
EIGEN = "A v = lambda v"
TOP = "lambda_1 > lambda_2, and the start has components along v_1 and v_2"
DECOUPLED = "one hidden neuron, or neurons with A_jk = 0 for j != k, gates fixed; one-branch update"

N1, N2 = dimension("1"), dimension("2")
WEIGHT = quantity("weights of the layer", "W", N2, N1)
RATE = quantity("rate of the weights", r"\dot{W}", N2, N1)
A = quantity("covariance operator", "A", N1, N1)
VECTOR = quantity("eigenvector", "v", N1, 1)
VALUE = quantity("eigenvalue", r"\lambda")
ENERGY = quantity("energy", "E")
NORM_RATE = quantity("rate of the squared norm", r"\frac{d}{dt}\|W\|_F^2")
COMPONENT_RATE = quantity("rate along an eigenvector", r"\frac{d}{dt}(W v)", N2, 1)
ENERGY_RATE = quantity("rate of the energy", r"\dot{E}")
FIRST, OTHER = (quantity("component", f"c_{{{k}}}", where={"number": k}) for k in ("1", "k"))
FIRST_VALUE, OTHER_VALUE = (quantity("eigenvalue", rf"\lambda_{{{k}}}", where={"number": k}) for k in ("1", "k"))
RATIO_RATE = quantity("rate of a ratio of components", r"\frac{d}{dt}\frac{c_{k}}{c_{1}}")
GAP = quantity("gap of the eigenvalues", r"\delta", positive=True)
SHARE = quantity("share of the top eigenvector", "y", positive=True)
SHARE_RATE = quantity("rate of the share", r"\dot{y}")
START = quantity("share at the start", "y_{0}", positive=True)
TIME = quantity("time", "t", nonnegative=True)
SHARE_LATER = quantity("share after a time", "y(t)")
# A neuron of statement 5.
OWN_VECTOR = quantity("eigenvector", "v", N0, 1, where={"neuron": "j"})
OWN_COMPONENT = quantity("rate of a component of a neuron", r"\frac{d}{dt}(v^{\top} w_{1j})", 1, 1)
SPEED = quantity("squared norm of the output weights", r"\|w_{2j}\|^2", nonnegative=True)
OWN_RATIO = quantity("rate of a ratio of components of a neuron", r"\frac{d}{dt}\frac{c_{k}}{c_{1}}")
OWN_SHARE = quantity("rate of the share of a neuron", r"\dot{y}_{j}")

LETTERS = Alphabet(
    {
        "x": Kind("input", "x", (N1, 1)),
        "xbar": Kind("mean input", r"\bar{x}", (N1, 1)),
        "W": Kind("weights of the layer", fixed=WEIGHT),
    },
    {N1: 2, N2: 2},
)
LAW = Law(means={"x": "xbar"})
L = LETTERS.moment
MEAN = LETTERS.symbol("xbar")


def pairing(first: MatrixExpr, second: MatrixExpr) -> Expr:
    """``<A, B> = tr(A^T B)``, the sum of the products of entries."""
    return Trace(MatMul(Transpose(first), second))


IMAGE = WEIGHT * A
FORCE = pairing(WEIGHT, IMAGE)
FLOW = 2 * IMAGE - 2 * ENERGY * WEIGHT


def derive_layer() -> Derivation:
    """The update of a linear layer."""
    here, near, far = L("x", "x", "1"), L("x", "x", "2"), L("x", "x'", "1")
    weight = L("W")
    fall = weight * (here - far) * (here - far).transposed() - weight * (here - near) * (here - near).transposed()
    read = LETTERS.read_as({RATE: fall}, LAW)
    apart = L("xbar") * (L("xbar") - L("xbar", "y")).transposed()
    steps = [
        LETTERS.step(
            (here - near) * (here - near).transposed(), (here * (here - near).transposed()).scaled(2), LAW,
            "x_1 and x_+ are exchangeable",
        ),
        LETTERS.step(
            (here - far) * (here - far).transposed() - (here - near) * (here - near).transposed(), apart.scaled(2), LAW,
            "x_1 and x_- are exchangeable too, E[x_1 x_+^T] = E[xbar xbar^T], E[x_1 x_-^T] = E[xbar] E[xbar]^T",
        ),
    ]  # fmt: skip
    relation = equation(RATE, 2 * WEIGHT * Covariance(MEAN, MEAN))
    text = "one linear layer, simple loss: -E[grad] = 2 W A with A = V_x[xbar]"
    return _finished(text, (relation,), (SIMPLE, INDEPENDENT, LINEAR), steps, read)


def identities(definitions: dict[Any, Any]) -> Reading:
    """Matrix equations of all sizes under definitions."""

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality):
            return undecided(relation)
        return check_identity(relation.lhs, relation.rhs, definitions)

    return reading(decide)


def sphere_relations() -> tuple[Basic, ...]:
    """The squared norm, the component along an eigenvector, and the energy."""
    gap = IMAGE - ENERGY * WEIGHT
    norm = pairing(WEIGHT, WEIGHT)
    return (
        equation(NORM_RATE, 4 * ENERGY * (1 - norm)),
        equation(COMPONENT_RATE, 2 * (VALUE - ENERGY) * WEIGHT * VECTOR),
        equation(ENERGY_RATE, 4 * pairing(gap, gap) + 4 * ENERGY**2 * (1 - norm)),
    )


def derive_sphere() -> Derivation:
    """The projected flow: the norm stays 1, the energy never falls, components grow by their eigenvalues."""
    half = quantity("square root of A", "B", N1, N1)
    image = quantity("image of the eigenvector", "A v", N1, 1)
    definitions = {
        NORM_RATE: 2 * pairing(WEIGHT, FLOW),
        COMPONENT_RATE: 2 * WEIGHT * image - 2 * ENERGY * WEIGHT * VECTOR,
        ENERGY_RATE: 2 * pairing(IMAGE, FLOW),
        image: VALUE * VECTOR,
        ENERGY: FORCE,
        A: half * Transpose(half),
    }
    read = identities(definitions)
    change = quantity("change of the weights", "dW", N2, N1)
    steps = [
        _identity(
            pairing(change, IMAGE) + pairing(WEIGHT, change * A), 2 * pairing(IMAGE, change),
            "product rule for E = <W, W A>, A symmetric", {A: half * Transpose(half)},
        )
    ]  # fmt: skip
    text = (
        "dW = 2 (W A - E W), E = <W, W A>: d||W||^2 = 4 E (1 - ||W||^2), d(W v) = 2 (lambda - E) W v, and on the "
        "sphere dE = 4 ||W A - E W||^2 is never negative"
    )
    return _finished(text, sphere_relations(), (SIMPLE, INDEPENDENT, LINEAR, SPHERE, EIGEN), steps, read)


def component_rate(value: Any, component: Any, energy: Any) -> Any:
    """Rate of a component on the sphere."""
    return 2 * (value - energy) * component


def derive_ratio() -> Derivation:
    """The ratio of two components decays or grows exponentially."""
    energy, time, ratio = (sympy.Symbol(name, real=True) for name in ("E", "t", "r_{0}"))
    first, other = (component_rate(v, c, energy) for v, c in ((FIRST_VALUE, FIRST), (OTHER_VALUE, OTHER)))
    read = explicit_reading({RATIO_RATE: (other * FIRST - OTHER * first) / FIRST**2})
    rate = 2 * (OTHER_VALUE - FIRST_VALUE)
    solution = ratio * sympy.exp(rate * time)
    steps = [zero_step(sympy.diff(solution, time), rate * solution, "the solution with r(0) = r_0, an exponential")]
    relation = equation(RATIO_RATE, 2 * (OTHER_VALUE - FIRST_VALUE) * OTHER / FIRST)
    text = "d(c_k/c_1) = 2 (lambda_k - lambda_1) c_k/c_1: c_k/c_1 = r_0 e^(2 (lambda_k - lambda_1) t), whatever E does"
    return _finished(text, (relation,), (SIMPLE, INDEPENDENT, LINEAR, SPHERE, EIGEN, TOP), steps, read)


def share_rate(speed: Any, gap: Any, share: Any) -> Any:
    """Rate of ``c_1^2/(c_1^2 + c_2^2)`` from the rates of both components, which differ by ``speed gap``."""
    first, other, rate = sympy.symbols("c_1 c_2 rho", positive=True)
    y = first**2 / (first**2 + other**2)
    moved = sympy.diff(y, first) * (rate + speed * gap) * first + sympy.diff(y, other) * rate * other
    return sympy.cancel(moved.subs(other, first * sympy.sqrt((1 - share) / share)))


def derive_basin() -> Derivation:
    """Two components: the share of the top eigenvector obeys the logistic equation; every share above 0 rises."""
    g, h = (sympy.Symbol(name, positive=True) for name in "gh")
    rate = share_rate(2, GAP, SHARE)

    def decide(relation: Basic) -> Decision:
        put = with_meanings(relation, {SHARE_RATE: rate})
        if isinstance(relation, sympy.Equality):
            return decide_relation(put)
        inside = {SHARE: 1 / (1 + h), GAP: g}
        return decide_relation(put.func(*(sympy.factor(side.subs(inside)) for side in put.args), evaluate=False))

    relations = (
        equation(SHARE_RATE, 4 * GAP * SHARE * (1 - SHARE)),
        sympy.Gt(SHARE_RATE, sympy.S.Zero, evaluate=False),
    )
    text = (
        "two eigenvectors, y = |c_1|^2/(|c_1|^2 + |c_2|^2), delta = lambda_1 - lambda_2: dy = 4 delta y (1 - y) > 0 "
        "for 0 < y < 1; among two the basin of v_1 is every start that is not orthogonal to it"
    )
    return _finished(text, relations, (SIMPLE, INDEPENDENT, LINEAR, SPHERE, EIGEN, TOP), [], reading(decide))


def later_relation() -> Basic:
    """The logistic curve."""
    return equation(SHARE_LATER, START / (START + (1 - START) * sympy.exp(-4 * GAP * TIME)))


def derive_time() -> Derivation:
    """The share of the top eigenvector at every time, from its start."""

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality) or relation.lhs != SHARE_LATER or relation.rhs.has(SHARE_LATER):
            return Decision(None, ABSTAINED, "not of the form y(t) = ...")
        curve = relation.rhs
        speed = decide_zero(sympy.diff(curve, TIME) - 4 * GAP * curve * (1 - curve))
        return combine([speed, decide_zero(curve.subs(TIME, 0) - START)])

    text = (
        "two eigenvectors: y(t) = y_0/(y_0 + (1 - y_0) e^(-4 delta t)): the time to half is ln((1 - y_0)/y_0)/(4 delta)"
    )
    curve = later_relation().rhs
    half = sympy.log((1 - START) / START) / (4 * GAP)
    steps = [
        zero_step(
            curve.subs(sympy.exp(-4 * GAP * TIME), START / (1 - START)), sympy.Rational(1, 2),
            f"at e^(-4 delta t) = y_0/(1 - y_0), t = {half}, the share is 1/2".replace("\\delta", "delta"),
        )
    ]  # fmt: skip
    return _finished(
        text, (later_relation(),), (SIMPLE, INDEPENDENT, LINEAR, SPHERE, EIGEN, TOP), steps, reading(decide)
    )


def neuron_relations() -> tuple[Basic, ...]:
    """Rates of a decoupled neuron: along an eigenvector, of a ratio, of the share; balance and direction."""
    speed = Transpose(OUT) * OUT
    return (
        equation(OWN_COMPONENT, VALUE * Transpose(OWN_VECTOR) * OWN * speed),
        equation(OWN_RATIO, SPEED * (OTHER_VALUE - FIRST_VALUE) * OTHER / FIRST),
        equation(OWN_SHARE, 2 * SPEED * GAP * SHARE * (1 - SHARE)),
        equation(Transpose(OWN) * OWN_RATE - Transpose(OUT) * OUT_RATE, ZeroMatrix(1, 1)),
        equation(OUT_RATE * Transpose(OUT) - OUT * Transpose(OUT_RATE), ZeroMatrix(OUT.shape[0], OUT.shape[0])),
    )


def derive_neuron() -> Derivation:
    """A decoupled neuron of statement 5 turns to the top eigenvector at the speed of its squared output weights."""
    rates = {relation.lhs: relation.rhs for relation in decoupled_relations()}
    row = quantity("image of the eigenvector", r"v^{\top} A_{jj}", 1, N0)
    definitions = {
        OWN_COMPONENT: row * OWN * (Transpose(OUT) * OUT),
        row: VALUE * Transpose(OWN_VECTOR),
        **rates,
    }
    matrices = identities(definitions)
    first, other = SPEED * FIRST_VALUE * FIRST, SPEED * OTHER_VALUE * OTHER
    scalars = explicit_reading(
        {OWN_RATIO: (other * FIRST - OTHER * first) / FIRST**2, OWN_SHARE: share_rate(SPEED, GAP, SHARE)}
    )

    def decide(relation: Basic) -> Decision:
        chosen = matrices if any(isinstance(side, MatrixExpr) for side in relation.args) else scalars
        return chosen(Claim("", (relation,)))

    general = derive_decoupled()
    placed = Transpose(OWN_VECTOR) * rates[OWN_RATE]
    steps = [
        Step(general.claim.expression, "statement 5, decoupled neurons", general.decision),
        _identity(
            placed,
            Transpose(OWN_VECTOR) * A_JJ * OWN * (Transpose(OUT) * OUT),
            "component of w_1j along v, v constant",
            {},
        ),
    ]
    text = (
        "d w_1j = ||w_2j||^2 A w_1j, d w_2j = (w_1j^T A w_1j) w_2j: components grow at ||w_2j||^2 lambda, their ratio "
        "at ||w_2j||^2 (lambda_k - lambda_1), the share among two at 2 ||w_2j||^2 delta y (1 - y); the direction of "
        "w_2j stays"
    )
    return _finished(text, neuron_relations(), (INDEPENDENT, DECOUPLED, EIGEN, TOP), steps, reading(decide))


def _identity(left: MatrixExpr, right: MatrixExpr, why: str, definitions: dict[Any, Any]) -> Step:
    return Step(equation(left, right), why, check_identity(left, right, definitions))


def _finished(
    text: str, relations: tuple[Basic, ...], assumptions: tuple[str, ...], steps: list[Step], read: Reading
) -> Derivation:
    return concluded(SLUG, Claim(text, relations, assumptions), steps, read)


_DERIVATIONS = {
    "layer": derive_layer,
    "sphere": derive_sphere,
    "ratio": derive_ratio,
    "basin": derive_basin,
    "time": derive_time,
    "neuron": derive_neuron,
}
PARTS: tuple[str, ...] = tuple(_DERIVATIONS)
"""The formulas."""


@cache
def derive(part: str = PARTS[0]) -> Derivation:
    """Derive one formula of the pack."""
    return _DERIVATIONS[part]()
