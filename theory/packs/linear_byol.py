"""Linear BYOL with a predictor, weight decay and an EMA target (arXiv 2102.06810).

``J = E 1/2 ||P W x_1 - sg W_a x_+||^2`` with one linear layer W, a linear predictor P and a linear target W_a. The
flow is ``dW = -grad_W J - eta W``, ``dP = -alpha grad_P J - eta P``, ``dW_a = beta (W - W_a)``. Identities of the flow
are decided for matrices of every size; along the modes of an aligned start they are scalar calculus.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import sympy
from sympy import (
    Basic,
    Expr,
    Identity,
    ImmutableDenseMatrix,
    KroneckerProduct,
    MatMul,
    MatrixExpr,
    Rational,
    Trace,
    Transpose,
)

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation, reading
from theory.core.decide import ABSTAINED, Decision, combine, decide_zero
from theory.core.derivation import Derivation, Step, concluded, stated, zero_step
from theory.core.expectation import Law
from theory.core.notation import AugmentationCovariance, Expect, Rate, Vec, dimension
from theory.core.order import decide_relation
from theory.core.quantity import quantity
from theory.core.reading import explicit_reading, identity_reading, with_meanings
from theory.core.semidefinite import PositiveSemidefinite
from theory.packs.action import acted, action_step
from theory.towers.dual_gradient import identity_step

SLUG = "linear-byol"
INDEPENDENT = "x_1 and x_+ are independent augmentations of x"
STOPPED = "no gradient flows through the target W_a x_+"
FLOW = "dW = -grad_W J - eta W, dP = -alpha grad_P J - eta P with one decay eta"
LINEAR = "one linear layer and a linear predictor"
ISOTROPIC = "X = I and X' = sigma^2 I"
PROPORTIONAL = "the target is proportional to the weights, W_a = tau W"
SYMMETRIC = "P is symmetric, and so is its rate (half the sum with its transpose)"
ALIGNED = "W = U diag(w) V^T, P = U diag(p) U^T, W_a = U diag(tau w) V^T with orthogonal U, V at the start"
BALANCED = "alpha = tau = 1 and s = p^2 (c = 0)"
NO_DECAY = "eta = 0"
ONE_SIDE = "p_0 and p are positive and lie strictly on one side of the fixed point 1/a"
MOVING = "dW_a = beta (W - W_a)"

N1, N2, M = dimension("1"), dimension("2"), dimension("0")
WEIGHT = quantity("weights", "W", N2, N1)
PREDICTOR = quantity("predictor", "P", N2, N2)
TARGET = quantity("target weights", "W_{a}", N2, N1)
WEIGHT_RATE = quantity("rate of the weights", r"\dot{W}", N2, N1)
PREDICTOR_RATE = quantity("rate of the predictor", r"\dot{P}", N2, N2)
SHARED_RATE = quantity("rate without stop-gradient", r"\dot{W}", N2, N1)
LOSS = quantity("loss with the weights as target", "J", 1, 1)
DECAY = quantity("weight decay", r"\eta", nonnegative=True)
ALPHA = quantity("rate of the predictor's flow", r"\alpha", positive=True)
BETA = quantity("rate of the target", r"\beta", nonnegative=True)
MEANS = quantity("second moment of the means", "X", N1, N1)
SPREADS = quantity("augmentation covariance", "X'", N1, N1)
VARIANCE = quantity("variance of the augmentation", r"\sigma^{2}", nonnegative=True)
RATIO = quantity("ratio of target to weights", r"\tau")
GRAM = quantity("Gram matrix of the weights", "F", N2, N2)
GRAM_RATE = quantity("rate of the Gram matrix", r"\dot{F}", N2, N2)
COMMUTATOR_RATE = quantity("rate of the commutator", r"\frac{d}{dt}[F, P]", N2, N2)

# Modes.
S, P_MODE, TAU = (
    quantity("mode of F", "s", positive=True),
    quantity("mode of P", "p"),
    quantity("mode of the target", r"\tau"),
)
S_RATE, P_RATE, TAU_RATE = (
    quantity(f"rate of the {name}", rf"\dot{{{letter}}}")
    for name, letter in (("mode of F", "s"), ("mode of P", "p"), ("mode of the target", r"\tau"))
)
COUPLING = quantity("coupling of two modes", r"(U^{\top}\dot{W}V)_{12}")
SPREAD = quantity("one plus the variance of the augmentation", "a", positive=True)

# The balanced mode s = p^2: d is the root of the discriminant, so that eta = (1 - d^2)/(4 a).
ROOT = quantity("root of the discriminant", "d")
START = quantity("start of the mode", "p_{0}", positive=True)
BALANCED_RATE = quantity("rate of the balanced mode", r"\dot{p}")
BELOW, BETWEEN, ABOVE = (
    quantity("rate of the balanced mode", rf"\dot{{p}}|_{{{where}}}", where={"start": name})
    for name, where in (("below", "0<p<p_-"), ("between", "p_-<p<p_+"), ("above", "p>p_+"))
)
STRONG = quantity("relative rate at strong decay", r"\dot{p}/p|_{4a\eta>1}")
TIME = quantity("time from one value of the mode to another", "t")
HALF = Rational(1, 2)

LETTERS = Alphabet(
    {
        "x": Kind("input", "x", (N1, 1)),
        "xbar": Kind("mean input", r"\bar{x}", (N1, 1)),
        "W": Kind("weights", fixed=WEIGHT),
        "P": Kind("predictor", fixed=PREDICTOR),
        "Wa": Kind("target weights", fixed=TARGET),
        "eta": Kind("weight decay", fixed=DECAY),
        "alpha": Kind("rate of the predictor's flow", fixed=ALPHA),
    },
    {N1: 2, N2: 2},
)
LAW = Law(means={"x": "xbar"})
L = LETTERS.moment
_INPUT, _MEAN = LETTERS.symbol("x", "x", "1"), LETTERS.symbol("xbar")
X_MEANS = Expect(_MEAN * Transpose(_MEAN))
X_SPREAD = AugmentationCovariance(_INPUT, _INPUT)


@dataclass(frozen=True)
class Flow:
    """Matrices of the flow, symbols or expressions."""

    weight: MatrixExpr
    predictor: MatrixExpr
    target: MatrixExpr
    means: MatrixExpr
    spreads: MatrixExpr

    @property
    def error(self) -> MatrixExpr:
        """``W_a X - P W (X + X')``."""
        return self.target * self.means - self.predictor * self.weight * (self.means + self.spreads)

    @property
    def weight_rate(self) -> MatrixExpr:
        """``P^T (W_a X - P W (X + X')) - eta W``."""
        return Transpose(self.predictor) * self.error - DECAY * self.weight

    @property
    def predictor_rate(self) -> MatrixExpr:
        """``alpha (W_a X - P W (X + X')) W^T - eta P``."""
        return ALPHA * self.error * Transpose(self.weight) - DECAY * self.predictor


GENERAL = Flow(WEIGHT, PREDICTOR, TARGET, MEANS, SPREADS)
RATES = {WEIGHT_RATE: GENERAL.weight_rate, PREDICTOR_RATE: GENERAL.predictor_rate}
IN_ISOTROPY: Mapping[Any, Any] = {MEANS: Identity(N1), SPREADS: VARIANCE * Identity(N1), TARGET: RATIO * WEIGHT}
BALANCE = WEIGHT * Transpose(WEIGHT) - Transpose(PREDICTOR) * PREDICTOR / ALPHA
HESSIAN = KroneckerProduct(SPREADS, Transpose(PREDICTOR) * PREDICTOR + Identity(N2)) + KroneckerProduct(
    MEANS, Transpose(PREDICTOR - Identity(N2)) * (PREDICTOR - Identity(N2))
)


def flow_relations() -> tuple[Basic, ...]:
    """The rates of both matrices, by moments of the inputs."""
    error = TARGET * X_MEANS - PREDICTOR * WEIGHT * (X_MEANS + X_SPREAD)
    return (
        equation(WEIGHT_RATE, Transpose(PREDICTOR) * error - DECAY * WEIGHT),
        equation(PREDICTOR_RATE, ALPHA * error * Transpose(WEIGHT) - DECAY * PREDICTOR),
    )


def derive_flow() -> Derivation:
    """The gradients of J as moments of the inputs."""
    error = L("Wa") * L("x", "x", "2") - L("P") * L("W") * L("x", "x", "1")
    first = L("x", "x", "1").transposed()
    cross, own = L("x", "x", "2") * first, L("x", "x", "1") * first
    square = L("xbar") * L("xbar").transposed()
    change, move = quantity("change of the weights", "dW", N2, N1), quantity("change of the predictor", "dP", N2, N2)
    gap = TARGET * LETTERS.symbol("x", "x", "2") - PREDICTOR * WEIGHT * _INPUT
    meanings = {
        WEIGHT_RATE: L("P").transposed() * error * first - L("eta") * L("W"),
        PREDICTOR_RATE: L("alpha") * error * first * L("W").transposed() - L("eta") * L("P"),
    }
    read = LETTERS.read_as(meanings, LAW)
    steps = [
        identity_step(
            Vec(Transpose(PREDICTOR) * gap * Transpose(_INPUT)).T * Vec(change),
            Transpose(gap) * PREDICTOR * change * _INPUT,
            "chain rule in W, the target is held, e = W_a x_+ - P W x_1: -dr = e^T P dW x_1 = <P^T e x_1^T, dW>",
        ),
        identity_step(
            Vec(gap * Transpose(_INPUT) * Transpose(WEIGHT)).T * Vec(move), Transpose(gap) * move * WEIGHT * _INPUT,
            "chain rule in P: -dr = e^T dP W x_1 = <e x_1^T W^T, dP>",
        ),
        LETTERS.step(cross, square, LAW, "x_1 and x_+ are independent given x: E[x_+ x_1^T] = X"),
        LETTERS.step(
            own, square + own - L("x", "x", "2") * first, LAW, "E[x_1 x_1^T] = X + X', X' = E_x V_aug[x]"
        ),
    ]  # fmt: skip
    text = "dW = P^T (W_a X - P W (X + X')) - eta W, dP = alpha (W_a X - P W (X + X')) W^T - eta P"
    return _finished(text, flow_relations(), (INDEPENDENT, STOPPED, LINEAR, FLOW), steps, read)


def moved_balance(weight: MatrixExpr = WEIGHT, predictor: MatrixExpr = PREDICTOR) -> MatrixExpr:
    """The rate of the balance by the product rule, in the rates of both matrices."""
    return (
        WEIGHT_RATE * Transpose(WEIGHT)
        + WEIGHT * Transpose(WEIGHT_RATE)
        - (Transpose(PREDICTOR_RATE) * PREDICTOR + Transpose(PREDICTOR) * PREDICTOR_RATE) / ALPHA
    )


def derive_balance() -> Derivation:
    """``W W^T - P^T P / alpha`` decays at the rate 2 eta, whatever the data and the target are."""
    read = identity_reading(RATES, {WEIGHT: GENERAL.weight_rate, PREDICTOR: GENERAL.predictor_rate})
    steps = [
        stated(equation(Rate(BALANCE), -2 * DECAY * BALANCE), "product rule, rates of the flow put in", read),
        identity_step(
            Transpose(PREDICTOR) * GENERAL.predictor_rate / ALPHA, GENERAL.weight_rate * Transpose(WEIGHT)
            + DECAY * (WEIGHT * Transpose(WEIGHT) - Transpose(PREDICTOR) * PREDICTOR / ALPHA),
            "without decay P^T dP / alpha and dW W^T are the same matrix",
        ),
    ]  # fmt: skip
    text = "d/dt (W W^T - P^T P/alpha) = -2 eta (W W^T - P^T P/alpha), whatever X, X' and the target are"
    return _finished(text, (equation(moved_balance(), -2 * DECAY * BALANCE),), (STOPPED, LINEAR, FLOW), steps, read)


def derive_shared() -> Derivation:
    """Without stop-gradient, and the weights in the target: a linear flow with a positive semidefinite matrix."""
    left, right = quantity("factor of X", "A", N1, M), quantity("factor of X'", "B", N1, M)
    both = MEANS + SPREADS
    rate = (
        Transpose(PREDICTOR) * WEIGHT * MEANS + PREDICTOR * WEIGHT * MEANS
        - Transpose(PREDICTOR) * PREDICTOR * WEIGHT * both - WEIGHT * both - DECAY * WEIGHT
    )  # fmt: skip
    factors = {MEANS: left * Transpose(left), SPREADS: right * Transpose(right)}
    euler = -HALF * Transpose(Vec(WEIGHT)) * (Vec(rate) + DECAY * Vec(WEIGHT))
    identities = identity_reading({SHARED_RATE: rate, LOSS: euler, **factors})

    def decide(relation: Basic) -> Decision:
        if isinstance(relation, PositiveSemidefinite):
            return decide_relation(PositiveSemidefinite(relation.args[0].xreplace(factors)))
        return identities(Claim("", (relation,)))

    one, other = WEIGHT * _INPUT, WEIGHT * LETTERS.symbol("x", "x", "2")
    change = quantity("change of the weights", "dW", N2, N1)
    gap = PREDICTOR * one - other
    gradient = Transpose(PREDICTOR) * gap * Transpose(_INPUT) - gap * Transpose(LETTERS.symbol("x", "x", "2"))
    steps = [
        identity_step(
            Vec(gradient).T * Vec(change),
            Transpose(gap) * (PREDICTOR * change * _INPUT - change * LETTERS.symbol("x", "x", "2")),
            "chain rule through both branches: dr = <P^T e x_1^T - e x_+^T, dW> with e = P W x_1 - W x_+; "
            "E[x_1 x_1^T] = E[x_+ x_+^T] = X + X', E[x_1 x_+^T] = X",
        ),
        identity_step(
            Transpose(gap) * gap, Vec(gradient).T * Vec(WEIGHT), "Euler: r is a square in W, so 2 r = <dr/dW, W>"
        ),
    ]
    relations = (
        equation(Vec(SHARED_RATE), -HESSIAN * Vec(WEIGHT) - DECAY * Vec(WEIGHT)),
        equation(Transpose(Vec(WEIGHT)) * HESSIAN * Vec(WEIGHT), 2 * LOSS),
        PositiveSemidefinite(HESSIAN),
    )
    text = (
        "no stop-gradient, W_a = W: d vec W = -(H + eta) vec W with H = X' kron (P^T P + I) + X kron (P-I)^T (P-I), "
        "positive semidefinite, vec W^T H vec W = 2 J"
    )
    return _finished(text, relations, (INDEPENDENT, LINEAR, FLOW), steps, reading(decide))


def isotropic_rates() -> tuple[dict[Any, MatrixExpr], dict[Any, Any]]:
    """Rates of W and P in isotropy with a symmetric predictor, and what the symbols stand for."""
    free = quantity("free matrix", "S", N2, N2)
    symmetric = {PREDICTOR: free + Transpose(free)}
    flow = {symbol: rate.xreplace(IN_ISOTROPY) for symbol, rate in RATES.items()}
    half = HALF * (flow[PREDICTOR_RATE] + Transpose(flow[PREDICTOR_RATE]))
    gram = WEIGHT * Transpose(WEIGHT)
    weight = flow[WEIGHT_RATE]
    meanings = {
        GRAM: gram,
        GRAM_RATE: weight * Transpose(WEIGHT) + WEIGHT * Transpose(weight),
        PREDICTOR_RATE: half,
        **symmetric,
    }
    return {WEIGHT: weight, PREDICTOR: half}, meanings


def isotropic_relations() -> tuple[Basic, ...]:
    """The flow of F and of P."""
    F, P, a = GRAM, PREDICTOR, 1 + VARIANCE
    return (
        equation(GRAM_RATE, -a * (P * P * F + F * P * P) + RATIO * (P * F + F * P) - 2 * DECAY * F),
        equation(PREDICTOR_RATE, -HALF * ALPHA * a * (P * F + F * P) + ALPHA * RATIO * F - DECAY * P),
    )


def derive_isotropic() -> Derivation:
    """Isotropic data, a proportional target and a symmetric predictor: the flow closes in F = W W^T and P."""
    rates, meanings = isotropic_rates()
    read = identity_reading(meanings, rates)
    product = MatMul(WEIGHT, Transpose(WEIGHT))
    steps = [stated(equation(Rate(product), GRAM_RATE), "product rule for F = W W^T", read)]
    text = (
        "X = I, X' = s2 I, W_a = tau W, P symmetric: dF = -(1+s2) {P^2, F} + tau {P, F} - 2 eta F, "
        "dP = -(alpha/2)(1+s2) {P, F} + alpha tau F - eta P"
    )
    return _finished(
        text,
        isotropic_relations(),
        (INDEPENDENT, STOPPED, LINEAR, FLOW, ISOTROPIC, PROPORTIONAL, SYMMETRIC),
        steps,
        read,
    )


def commutator_relation(factor: MatrixExpr | None = None) -> Basic:
    """``d[F, P] = -([F, P] K + K [F, P])``."""
    F, P = GRAM, PREDICTOR
    half = HALF * ALPHA * (1 + VARIANCE) * F + (1 + VARIANCE) * P * P - RATIO * P + 3 * HALF * DECAY * Identity(N2)
    factor = half if factor is None else factor
    gap = F * P - P * F
    return equation(COMMUTATOR_RATE, -(gap * factor + factor * gap))


def derive_commutator() -> Derivation:
    """The commutator of F and P obeys a linear equation, so that it stays 0 once it is."""
    rates, meanings = isotropic_rates()
    moves = {GRAM: GRAM_RATE, PREDICTOR: PREDICTOR_RATE}
    F, P = GRAM, PREDICTOR
    moved = GRAM_RATE * P + F * PREDICTOR_RATE - PREDICTOR_RATE * F - P * GRAM_RATE
    read = identity_reading({COMMUTATOR_RATE: moved, **meanings}, rates)
    product_rule = identity_reading({COMMUTATOR_RATE: moved}, moves)
    steps = [
        stated(equation(Rate(F * P - P * F), COMMUTATOR_RATE), "product rule for [F, P]", product_rule),
        *_norm_steps(),
    ]
    text = (
        "d[F, P] = -([F, P] K + K [F, P]), K = (1+s2)(alpha F/2 + P^2) - tau P + 3/2 eta I: "
        "the norm of the commutator falls where K is positive definite"
    )
    return _finished(
        text,
        (commutator_relation(),),
        (INDEPENDENT, STOPPED, LINEAR, FLOW, ISOTROPIC, PROPORTIONAL, SYMMETRIC),
        steps,
        read,
    )


def _norm_steps() -> list[Step]:
    """The squared norm of the commutator C, and its sign where K is a square."""
    gap, factor, root = (quantity(name, name[-1], N2, N2) for name in ("commutator C", "matrix K", "root of K, B"))
    moved = -(gap * factor + factor * gap)
    falls = Trace(gap * factor * Transpose(gap)) + Trace(Transpose(gap) * factor * gap)
    why = "d||C||_F^2 = 2 tr(C^T dC) = -2 [tr(C K C^T) + tr(C^T K C)]"
    square = falls.xreplace({factor: root * Transpose(root)})
    signed = sympy.Ge(square, sympy.S.Zero, evaluate=False)
    return [
        identity_step(2 * Trace(Transpose(gap) * moved), -2 * falls, why),
        Step(signed, "K = B B^T: a sum of squared norms, 0 for invertible B only if C = 0", decide_relation(signed)),
    ]


# Modes.


def mode_rates(a: Expr, s: Expr = S, p: Expr = P_MODE, tau: Expr = TAU) -> tuple[Expr, Expr, Expr]:
    """Rates of s, p and tau of one mode, by the entries w = sqrt(s), p, tau w of the three diagonal matrices."""
    w = quantity("mode of W", "w", positive=True)
    weight = p * (tau * w - a * p * w) - DECAY * w
    predictor = ALPHA * (tau * w - a * p * w) * w - DECAY * p
    target = BETA * (w - tau * w)
    ratio = (target - tau * weight) / w
    rates = (2 * w * weight, predictor, ratio)
    first, second, third = (sympy.expand(rate).subs(w, sympy.sqrt(s)) for rate in rates)
    return first, second, third


def mode_relations(s: Expr = S, p: Expr = P_MODE, tau: Expr = TAU) -> tuple[Basic, ...]:
    """Rates of one mode, and no coupling of two."""
    pull = tau - (1 + VARIANCE) * p
    growth = 2 * p * s * pull - 2 * DECAY * s
    return (
        equation(S_RATE, growth),
        equation(P_RATE, ALPHA * s * pull - DECAY * p),
        equation(TAU_RATE, BETA * (1 - tau) - HALF * tau * (2 * p * pull - 2 * DECAY)),
        equation(COUPLING, sympy.S.Zero),
    )


def derive_modes() -> Derivation:
    """Aligned matrices stay aligned, and each mode moves on its own: for every number of modes."""
    w, p, tau = (quantity(f"entry of {name}", letter) for name, letter in (("W", "w"), ("P", "p"), ("tau", r"\tau")))
    left, right = quantity("column of U", "u", N2, 1), quantity("column of V", "v", N1, 1)
    rules = {
        (WEIGHT, right): (w, left),
        (Transpose(WEIGHT), left): (w, right),
        (TARGET, right): (tau * w, left),
        (PREDICTOR, left): (p, left),
        (Transpose(PREDICTOR), left): (p, left),
    }
    flow = Flow(WEIGHT, PREDICTOR, TARGET, Identity(N1), VARIANCE * Identity(N1))
    pull = tau * w - (1 + VARIANCE) * p * w
    aligned = "W v = w u, W^T u = w v, W_a v = tau w u, P u = P^T u = p u (0 in place of u or v beside w = 0)"
    steps = [
        action_step(flow.weight_rate, right, rules, p * pull - DECAY * w, f"{aligned}: dW v is a multiple of u"),
        action_step(flow.predictor_rate, left, rules, ALPHA * w * pull - DECAY * p, "dP u is a multiple of u"),
        action_step(
            BETA * WEIGHT - BETA * TARGET, right, rules, BETA * (w - tau * w),
            "dW_a v too: in the bases U, V of the start all rates are diagonal, so the matrices stay so",
        ),
    ]  # fmt: skip
    rates = mode_rates(1 + VARIANCE)
    # u_1^T dW v_2 is a multiple of u_1^T u_2, an entry of U^T U = I.
    coupled = acted(flow.weight_rate, right, rules)[0] * ImmutableDenseMatrix.eye(2)[0, 1]
    meanings = {S_RATE: rates[0], P_RATE: rates[1], TAU_RATE: rates[2], COUPLING: coupled}
    text = (
        "aligned start: ds = 2 p s (tau - (1+s2) p) - 2 eta s, dp = alpha s (tau - (1+s2) p) - eta p, "
        "dtau = beta (1 - tau) - tau ds/(2s) for every mode, and no two modes couple"
    )
    return _finished(
        text,
        mode_relations(),
        (INDEPENDENT, STOPPED, LINEAR, FLOW, MOVING, ISOTROPIC, ALIGNED),
        steps,
        explicit_reading(meanings),
    )


def invariant_relation() -> Basic:
    """``d(s - p^2/alpha) = -2 eta (s - p^2/alpha)``."""
    return equation(S_RATE - 2 * P_MODE * P_RATE / ALPHA, -2 * DECAY * (S - P_MODE**2 / ALPHA))


def derive_invariant() -> Derivation:
    """``s - p^2/alpha`` of a mode decays as ``exp(-2 eta t)``, whatever the target does."""
    rates = mode_rates(1 + VARIANCE)
    time, constant = sympy.Symbol("t", real=True), sympy.Symbol("c", real=True)
    solution = constant * sympy.exp(-2 * DECAY * time)
    steps = [
        zero_step(
            sympy.diff(solution, time),
            -2 * DECAY * solution,
            "c e^(-2 eta t) solves dy = -2 eta y, and no other function with y(0) = c does",
        )
    ]
    text = "s - p^2/alpha = c e^(-2 eta t) along every mode: d(s - p^2/alpha) = -2 eta (s - p^2/alpha)"
    read = explicit_reading({S_RATE: rates[0], P_RATE: rates[1]})
    return _finished(
        text, (invariant_relation(),), (INDEPENDENT, STOPPED, LINEAR, FLOW, ISOTROPIC, ALIGNED), steps, read
    )


def balanced_rate(eta: Expr, p: Expr = P_MODE) -> Expr:
    """Rate of p where alpha = tau = 1 and s = p^2."""
    return mode_rates(SPREAD, p**2, p, sympy.S.One)[1].subs({ALPHA: 1, DECAY: eta})


def fixed_points(a: Expr = SPREAD, d: Expr = ROOT) -> tuple[Expr, Expr]:
    """``p_- = (1 - d)/(2a)`` and ``p_+ = (1 + d)/(2a)``."""
    return (1 - d) / (2 * a), (1 + d) / (2 * a)


def collapse_relations() -> tuple[Basic, ...]:
    """The rate factorised at its fixed points, and its sign in between."""
    low, high = fixed_points()
    zero = sympy.S.Zero
    return (
        equation(BALANCED_RATE, -SPREAD * P_MODE * (P_MODE - low) * (P_MODE - high)),
        sympy.Lt(BELOW, zero, evaluate=False),
        sympy.Gt(BETWEEN, zero, evaluate=False),
        sympy.Lt(ABOVE, zero, evaluate=False),
        sympy.Lt(STRONG, zero, evaluate=False),
    )


def derive_collapse() -> Derivation:
    """The balanced mode falls to 0 from below the unstable fixed point, and goes to the stable one from above."""
    g, h = (sympy.Symbol(name, positive=True) for name in "gh")
    d = g / (1 + g)
    low, high = fixed_points(SPREAD, d)
    weak = (1 - d**2) / (4 * SPREAD)
    p, r = sympy.Symbol("p", positive=True), sympy.Symbol("r", real=True)
    meanings = {
        BALANCED_RATE: balanced_rate((1 - ROOT**2) / (4 * SPREAD)),
        BELOW: balanced_rate(weak, low / (1 + h)),
        BETWEEN: balanced_rate(weak, (low + h * high) / (1 + h)),
        ABOVE: balanced_rate(weak, high * (1 + h)),
        STRONG: sympy.cancel(balanced_rate((1 + h) / (4 * SPREAD), p) / p).subs(p, r + 1 / (2 * SPREAD)),
    }

    def decide(relation: Basic) -> Decision:
        put = with_meanings(relation, meanings)
        if isinstance(relation, sympy.Equality):
            return decide_relation(put)
        return decide_relation(put.func(*(sympy.factor(side) for side in put.args), evaluate=False))

    read = reading(decide)
    steps = [
        zero_step(SPREAD * fixed_points()[k] ** 2 - fixed_points()[k] + (1 - ROOT**2) / 4 / SPREAD, sympy.S.Zero,
                  f"p_{sign} is a root of a p^2 - p + eta with eta = (1 - d^2)/(4a), d = sqrt(1 - 4 a eta)")
        for k, sign in enumerate("-+")
    ]  # fmt: skip
    text = (
        "alpha = tau = 1, s = p^2, p > 0: dp = p^2 (1 - a p) - eta p = -a p (p - p_-)(p - p_+), p_-+ = (1 -+ d)/(2a), "
        "d = sqrt(1 - 4 a eta): p falls below p_- and above p_+, rises in between, and always falls if eta > 1/(4a)"
    )
    return _finished(
        text, collapse_relations(), (INDEPENDENT, STOPPED, LINEAR, FLOW, ISOTROPIC, ALIGNED, BALANCED), steps, read
    )


def time_relation() -> Basic:
    """The time from p_0 to p without decay."""
    a, p, start = SPREAD, P_MODE, START
    return equation(TIME, 1 / start - 1 / p + a * sympy.log(p * (1 - a * start) / (start * (1 - a * p))))


def derive_time() -> Derivation:
    """Without decay the balanced mode has an implicit solution in closed form."""
    rate = balanced_rate(sympy.S.Zero)

    def decide(relation: Basic) -> Decision:
        if not isinstance(relation, sympy.Equality) or relation.lhs != TIME or relation.rhs.has(TIME):
            return Decision(None, ABSTAINED, "not of the form t = ...")
        formula = relation.rhs
        speed = decide_zero(sympy.diff(formula, P_MODE) * rate - 1)
        start = decide_zero(formula.subs(P_MODE, START))
        return combine([speed, start])

    a, p = SPREAD, P_MODE
    steps = [
        zero_step(1 / rate, 1 / p**2 + a / p + a**2 / (1 - a * p), "partial fractions of dt/dp = 1/(p^2 (1 - a p))"),
        zero_step(
            sympy.diff(-1 / p + a * sympy.log(p) - a * sympy.log(1 - a * p), p), 1 / p**2 + a / p + a**2 / (1 - a * p),
            "its antiderivative",
        ),
    ]  # fmt: skip
    text = "eta = 0, alpha = tau = 1, s = p^2: t = 1/p_0 - 1/p + a ln[p (1 - a p_0)/(p_0 (1 - a p))]"
    needed = (INDEPENDENT, STOPPED, LINEAR, FLOW, ISOTROPIC, ALIGNED, BALANCED, NO_DECAY, ONE_SIDE)
    return _finished(text, (time_relation(),), needed, steps, reading(decide))


def _finished(
    text: str, relations: tuple[Basic, ...], assumptions: tuple[str, ...], steps: list[Step], read: Reading
) -> Derivation:
    return concluded(SLUG, Claim(text, relations, assumptions), steps, read)


_DERIVATIONS = {
    "flow": derive_flow,
    "balance": derive_balance,
    "no-stop-gradient": derive_shared,
    "isotropic": derive_isotropic,
    "commutator": derive_commutator,
    "modes": derive_modes,
    "invariant": derive_invariant,
    "collapse": derive_collapse,
    "time": derive_time,
}
PARTS: tuple[str, ...] = tuple(_DERIVATIONS)
"""The formulas."""


@cache
def derive(part: str = PARTS[0]) -> Derivation:
    """Derive one formula of the pack."""
    return _DERIVATIONS[part]()
