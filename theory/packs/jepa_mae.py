"""Deep linear diagonal networks that predict latents (JEPA) or inputs (MAE).

One coordinate: encoder ``e = w_1 .. w_L``, decoder v, ``lambda = E[x y]``, ``s = E[x^2]``, ``rho = lambda/s``. JEPA has
the loss ``E 1/2 (v e x - sg(e y))^2``, MAE ``E 1/2 (v e x - y)^2``. From a start with equal factors the flow of w is
``e^2 (lambda - s w)`` and ``e (lambda - s w e)``.
"""

from functools import cache
from typing import Any

import sympy
from sympy import Basic, Trace, Transpose

from theory.core.claim import Claim, Reading, equation, reading
from theory.core.decide import ABSTAINED, Decision, combine, decide_zero
from theory.core.derivation import Derivation, Step, concluded, zero_step
from theory.core.notation import dimension
from theory.core.order import decide_relation
from theory.core.quantity import quantity
from theory.core.reading import explicit_reading, with_meanings
from theory.packs.action import acted
from theory.towers.dual_gradient import identity_step

SLUG = "jepa-mae"
DIAGONAL = "diagonal weights, and diagonal E[x x^T] and E[x y^T]"
STOPPED = "no gradient flows through the target e y of JEPA"
EQUAL = "all layers and the decoder are equal at the start, w_1 = .. = w_L = v"
POSITIVE = "lambda, s and w are positive"
ONE_SIDE = "w_0 and w lie strictly on one side of the fixed point, w = rho of JEPA and w^2 = rho of MAE with one layer"
KINDS = ("jepa", "mae")
DEPTHS = (1, 2, 3)

LAYER = quantity("layer", "w", positive=True)
ENCODER = quantity("encoder", "e", positive=True)
DECODER = quantity("decoder", "v", positive=True)
COVARIANCE = quantity("covariance of input and target", r"\lambda", positive=True)
VARIANCE = quantity("variance of the input", "s", positive=True)
QUOTIENT = quantity("regression coefficient", r"\rho", positive=True)
DEPTH = quantity("depth", "L", positive=True)
START = quantity("layer at the start", "w_{0}", positive=True)


SIZE = dimension("0")


def matrix(role: str, name: str, *shape: Any) -> Any:
    """A matrix of any number of coordinates."""
    return quantity(role, name, *shape)


MATRICES = tuple(
    matrix(role, name, SIZE, SIZE)
    for role, name in (
        ("layers below", "A"),
        ("layer", "W_{l}"),
        ("layers above", "B"),
        ("decoder", "V"),
        ("second moment of the inputs", "S"),
        ("moment of targets and inputs", r"\Lambda"),
    )
)


def symbols(role: str, name: str, kinds: tuple[str, ...] = KINDS) -> tuple[Any, ...]:
    """A symbol for each loss."""
    return tuple(quantity(role, rf"{name}^{{\mathrm{{{kind}}}}}", where={"loss": kind}) for kind in kinds)


LAYER_RATES = symbols("rate of a layer", r"\dot{w}")
DECODER_RATES = symbols("rate of the decoder", r"\dot{v}")
COUPLINGS = symbols("coupling of two coordinates", r"\dot{W}_{12}")
EQUAL_RATES = symbols("rate of equal layers", r"\dot{w}")
ENCODER_RATES = symbols("rate of the encoder", r"\dot{e}")
BELOW = symbols("rate below the fixed point", r"\dot{w}_{<}")
ABOVE = symbols("rate above the fixed point", r"\dot{w}_{>}")
JEPA_TIMES = tuple(
    quantity("time", rf"t_{{{depth}}}^{{\mathrm{{jepa}}}}", where={"loss": "jepa", "depth": depth}) for depth in DEPTHS
)
MAE_TIME = quantity("time", r"t_{1}^{\mathrm{mae}}", where={"loss": "mae", "depth": 1})


def rates() -> dict[Any, Any]:
    """Rates of a layer and of the decoder, by differentiating the loss of one coordinate."""
    rest, held = sympy.symbols("R h", positive=True)
    x2, xy = VARIANCE, COVARIANCE
    result: dict[Any, Any] = {}
    for number, kind in enumerate(KINDS):
        predicted = DECODER * LAYER * rest
        # The square of the target has no gradient: it is held, or does not depend on the weights.
        target = held * predicted * xy if kind == "jepa" else predicted * xy
        loss = predicted**2 * x2 / 2 - target
        for symbol, by in ((LAYER_RATES[number], LAYER), (DECODER_RATES[number], DECODER)):
            slope = -sympy.diff(loss, by)
            result[symbol] = sympy.expand(slope.subs(held, ENCODER).subs(rest, ENCODER / LAYER))
    return result


def gradient_relations() -> tuple[Basic, ...]:
    """The rates of a layer and of the decoder, and no coupling."""
    e, v, w, lam, s = ENCODER, DECODER, LAYER, COVARIANCE, VARIANCE
    zero = sympy.S.Zero
    return (
        equation(LAYER_RATES[0], (lam * v * e - s * v**2 * e) * e / w),
        equation(DECODER_RATES[0], lam * e**2 - s * v * e**2),
        equation(COUPLINGS[0], zero),
        equation(LAYER_RATES[1], (lam * v - s * v**2 * e) * e / w),
        equation(DECODER_RATES[1], lam * e - s * v * e**2),
        equation(COUPLINGS[1], zero),
    )


def gradient_action(kind: str, place: str) -> Step:
    """The gradient by a layer takes an axis to a multiple of itself: any number of coordinates and of layers."""
    axis = matrix("axis", "u", SIZE, 1)
    below, layer, above, decoder, second, cross = MATRICES
    e, v, w, lam, s = ENCODER, DECODER, LAYER, COVARIANCE, VARIANCE
    under, over = sympy.symbols("a b", positive=True)
    rules: dict[Any, Any] = {}
    for one, number in zip(MATRICES, (under, w, over, v, s, lam), strict=True):
        rules[one, axis] = rules[Transpose(one), axis] = (number, axis)
    encoder = above * layer * below
    error = (encoder * cross if kind == "jepa" else cross) - decoder * encoder * second
    target = e if kind == "jepa" else sympy.S.One
    if place == "layer":
        found = acted(Transpose(above) * Transpose(decoder) * error * Transpose(below), axis, rules)[0]
        wanted = (lam * target - s * v * e) * v * e / w
    else:
        found = acted(error * Transpose(encoder), axis, rules)[0]
        wanted = (lam * target - s * v * e) * e
    why = f"{kind}, {place}: diagonal factors act on an axis u by their entries, so the gradient is diagonal too"
    return zero_step(found, wanted.subs(e, under * w * over), why)


def coupling_steps() -> list[Step]:
    """Gradients of one pair by a layer and by the decoder, and what they do to an axis; T is E, held, or I."""
    below, layer, above, decoder, _, _ = MATRICES
    x, target = matrix("input", "x", SIZE, 1), matrix("target T y", "t", SIZE, 1)
    change = matrix("change of the factor", "dW", SIZE, SIZE)
    gap = target - decoder * above * layer * below * x
    by_layer = Transpose(above) * Transpose(decoder) * gap * Transpose(x) * Transpose(below)
    by_decoder = gap * Transpose(x) * Transpose(below) * Transpose(layer) * Transpose(above)
    return [
        identity_step(
            Trace(Transpose(by_layer) * change), Trace(Transpose(gap) * decoder * above * change * below * x),
            "chain rule in W_l, E = B W_l A: -dr = gap^T V B dW A x with gap = T y - V E x",
        ),
        identity_step(
            Trace(Transpose(by_decoder) * change), Trace(Transpose(gap) * change * above * layer * below * x),
            "chain rule in V: -dr = gap^T dV E x",
        ),
        *(gradient_action(kind, place) for kind in KINDS for place in ("layer", "decoder")),
    ]  # fmt: skip


def derive_gradients() -> Derivation:
    """Rates of the layers and the decoder, whatever their sizes are."""
    # An entry off the diagonal is a multiple of one of the identity, as the steps show.
    apart = sympy.ImmutableDenseMatrix.eye(2)[0, 1]
    meanings = rates() | {one: rate * apart for one, rate in zip(COUPLINGS, LAYER_RATES, strict=True)}
    text = (
        "JEPA: dw_l = (lambda - s v) v e^2/w_l, dv = (lambda - s v) e^2; MAE: dw_l = (lambda - s v e) v e/w_l, "
        "dv = (lambda - s v e) e; coordinates do not couple"
    )
    return _finished(text, gradient_relations(), (DIAGONAL, STOPPED), coupling_steps(), explicit_reading(meanings))


def derive_balance() -> Derivation:
    """``w_l^2 - v^2`` is conserved by both flows."""
    relations = tuple(
        equation(LAYER * LAYER_RATES[k] - DECODER * DECODER_RATES[k], sympy.S.Zero) for k in range(len(KINDS))
    )
    text = "w_l^2 - v^2 is conserved for every layer, by JEPA and by MAE: equal factors stay equal"
    return _finished(text, relations, (DIAGONAL, STOPPED), [], explicit_reading(rates()))


def equal_meanings() -> dict[Any, Any]:
    """Rates where v = w, and of the encoder ``e = w^L``: ``de = L e/w dw``."""
    found = rates()
    result: dict[Any, Any] = {}
    for number in range(len(KINDS)):
        layer = sympy.expand(found[LAYER_RATES[number]].subs(DECODER, LAYER))
        result[EQUAL_RATES[number]] = layer
        result[ENCODER_RATES[number]] = DEPTH * ENCODER / LAYER * layer
    return result


def equal_relations(number: int) -> tuple[Basic, ...]:
    """Rates of equal layers and of the encoder; ``w = e^(1/L)``."""
    e, w, lam, s = ENCODER, LAYER, COVARIANCE, VARIANCE
    power = 3 - number
    return (
        equation(EQUAL_RATES[number], e ** (power - 1) * lam - s * w * e**2),
        equation(ENCODER_RATES[number], DEPTH * (lam * e**power / w - s * e**3)),
    )


def derive_equal(number: int) -> Derivation:
    """The flow of the encoder from equal factors."""
    shown = "e^(3-1/L)" if number == 0 else "e^(2-1/L)"
    name = "JEPA" if number == 0 else "MAE"
    text = f"{name}, equal factors: de = L (lambda {shown} - s e^3), where w = e^(1/L)"
    read = explicit_reading(equal_meanings())
    w, depth = sympy.symbols("w L", positive=True)
    steps = [zero_step(sympy.diff(w**depth, w), depth * w**depth / w, "chain rule, e = w^L: de = L e/w dw")]
    found = rates()
    steps.append(
        zero_step(
            found[LAYER_RATES[number]].subs(DECODER, LAYER), found[DECODER_RATES[number]].subs(DECODER, LAYER),
            "at v = w layers and decoder have one rate, and stay equal",
        )
    )  # fmt: skip
    return _finished(text, equal_relations(number), (DIAGONAL, STOPPED, EQUAL), steps, read)


def target_relations() -> tuple[Basic, ...]:
    """Signs of the rates below and above the fixed points."""
    zero = sympy.S.Zero
    return (
        equation(EQUAL_RATES[0], VARIANCE * ENCODER**2 * (QUOTIENT - LAYER)),
        equation(EQUAL_RATES[1], VARIANCE * ENCODER * (QUOTIENT - LAYER * ENCODER)),
        *(sympy.Gt(symbol, zero, evaluate=False) for symbol in BELOW),
        *(sympy.Lt(symbol, zero, evaluate=False) for symbol in ABOVE),
    )


def derive_targets() -> Derivation:
    """Where the flows end: JEPA at w = rho, MAE at w^(L+1) = rho."""
    h = sympy.Symbol("h", positive=True)
    meanings = {symbol: value.subs(COVARIANCE, QUOTIENT * VARIANCE) for symbol, value in equal_meanings().items()}
    for number in range(len(KINDS)):
        rate = meanings[EQUAL_RATES[number]]
        place = LAYER if number == 0 else LAYER * ENCODER
        for symbol, level in ((BELOW[number], place * (1 + h)), (ABOVE[number], place / (1 + h))):
            meanings[symbol] = rate.subs(QUOTIENT, level)

    def decide(relation: Basic) -> Decision:
        put = with_meanings(relation, meanings)
        if isinstance(relation, sympy.Equality):
            return decide_relation(put)
        return decide_relation(put.func(*(sympy.factor(side) for side in put.args), evaluate=False))

    text = (
        "rho = lambda/s: JEPA has dw = s e^2 (rho - w) and ends at e = rho^L, MAE has dw = s e (rho - w e) and ends at "
        "e = rho^(L/(L+1)), from every positive start"
    )
    return _finished(text, target_relations(), (DIAGONAL, STOPPED, EQUAL, POSITIVE), [], reading(decide))


def jepa_time(depth: int) -> Any:
    """The time of JEPA from w_0 to w, in closed form."""
    w, start, rho = LAYER, START, QUOTIENT
    power = 2 * depth - 1
    terms = [(start**-n - w**-n) / (n * rho ** (power - n)) for n in range(1, power + 1)]
    curve = sympy.log(w * (rho - start) / (start * (rho - w))) / rho**power
    return (sympy.Add(*terms) + curve) / COVARIANCE


def mae_time() -> Any:
    """The time of MAE with one layer."""
    w, start, rho = LAYER, START, QUOTIENT
    return sympy.log(w**2 * (rho - start**2) / (start**2 * (rho - w**2))) / (2 * COVARIANCE)


def derive_time() -> Derivation:
    """Times in closed form, and how they depend on rho."""
    found = equal_meanings()
    speeds = {
        **{
            symbol: found[EQUAL_RATES[0]].subs(ENCODER, LAYER**depth)
            for symbol, depth in zip(JEPA_TIMES, DEPTHS, strict=True)
        },
        MAE_TIME: found[EQUAL_RATES[1]].subs(ENCODER, LAYER),
    }

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality) or relation.lhs not in speeds or relation.rhs.has(*speeds):
            return Decision(None, ABSTAINED, "not of the form t = ...")
        speed = speeds[relation.lhs].subs(VARIANCE, COVARIANCE / QUOTIENT)
        formula = relation.rhs
        return combine([decide_zero(sympy.diff(formula, LAYER) * speed - 1), decide_zero(formula.subs(LAYER, START))])

    e, w, lam, rho = ENCODER, LAYER, COVARIANCE, QUOTIENT
    steps = [
        zero_step(
            1 / (e * (lam - lam / rho * w * e)), (1 / e + w / (rho - w * e)) / lam,
            "MAE, every depth: the part that is large at small w does not depend on rho",
        ),
        zero_step(
            1 / (e**2 * (lam - lam / rho * w)), (1 / e**2 + w / (e**2 * (rho - w))) / lam,
            "JEPA: what is left depends on rho, and is large at small w for L > 1",
        ),
    ]  # fmt: skip
    relations = (
        *(equation(symbol, jepa_time(depth)) for symbol, depth in zip(JEPA_TIMES, DEPTHS, strict=True)),
        equation(MAE_TIME, mae_time()),
    )
    text = (
        "JEPA: t = (1/lambda) [sum_(n=1)^(2L-1) (w_0^-n - w^-n)/(n rho^(2L-1-n)) + rho^-(2L-1) ln(w (rho - w_0)/"
        "(w_0 (rho - w)))] for L = 1, 2, 3; MAE, L = 1: t = ln(w^2 (rho - w_0^2)/(w_0^2 (rho - w^2)))/(2 lambda)"
    )
    return _finished(text, relations, (DIAGONAL, STOPPED, EQUAL, POSITIVE, ONE_SIDE), steps, reading(decide))


def _finished(
    text: str, relations: tuple[Basic, ...], assumptions: tuple[str, ...], steps: list[Step], read: Reading
) -> Derivation:
    return concluded(SLUG, Claim(text, relations, assumptions), steps, read)


_DERIVATIONS = {
    "gradients": derive_gradients,
    "balance": derive_balance,
    "jepa": lambda: derive_equal(0),
    "mae": lambda: derive_equal(1),
    "targets": derive_targets,
    "time": derive_time,
}
PARTS: tuple[str, ...] = tuple(_DERIVATIONS)
"""The formulas."""


@cache
def derive(part: str = PARTS[0]) -> Derivation:
    """Derive one formula of the pack."""
    return _DERIVATIONS[part]()
