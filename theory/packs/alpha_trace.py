r"""Contrastive losses as a minimum over pair weights (arXiv 2201.12680), with weights alpha held fixed in the gradient.

A batch of N outputs f_i and second views f'_i, ``d_i = 1/2 ||f_i - f'_i||^2``, ``d_ij = 1/2 ||f_i - f_j||^2``, and
``L = sum_i phi(xi_i)``, ``xi_i = sum_{j != i} psi(d_i - d_ij)``. With ``alpha_ij = phi'(xi_i) psi'(d_i - d_ij)`` the
gradient of L is minus that of ``1/2 tr C_alpha``. The chain rule is decided for undefined phi and psi and any N; the
double sum is an expectation over two members of the batch, drawn alike, with ``alpha_ii = 0``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import (
    Basic,
    Derivative,
    Expr,
    Function,
    IndexedBase,
    MatMul,
    MatrixExpr,
    Rational,
    Subs,
    Sum,
    Symbol,
    Transpose,
)

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation
from theory.core.decide import ABSTAINED, Decision, decide_zero
from theory.core.derivation import Derivation, Step, concluded, zero_step
from theory.core.expectation import GIVEN, Law, Letter, Moment, letter
from theory.core.normal import linear_sums, quotient
from theory.core.notation import Expect, H, dimension, k, r_0, tau
from theory.core.order import decide_relation
from theory.core.quantity import quantity
from theory.core.reading import Meaning, identity_reading, moment_reading
from theory.packs.inequalities import logarithm_steps, put_into, refuted_by_examples
from theory.towers.dual_gradient import homogeneity_steps, identity_step, side
from theory.towers.moment_steps import ALPHABET, N_TOP, SIZE, WEIGHT, connections, outputs, with_homogeneity

HELD = "alpha_ij is held fixed in the gradient of the trace"
SMOOTH = "phi and psi are differentiable"
SELF = "the sums leave out j = i (alpha_ii = 0)"
HOMOGENEOUS = "f_L = K_l^T vec W_l (no biases, piecewise-linear homogeneous activation)"
SIMPLEX = "a_j > 0, and the feasible weights a of an anchor sum to 1"
POSITIVE = "tau > 0"
INDEPENDENT = "x_1 and x_+ are independent given x, and the negative is of an independent point of the same law"
SYMMETRIC = "alpha is a symmetric function of the two points, held fixed"

# One batch: letters at the members i and j, of which the pair is drawn.

_VIEW = {"view": "second"}
COUNT = quantity("batch size", "N", positive=True)
LETTERS = Alphabet(
    {
        "K": connections("connection", "K_{l}"),
        "f": outputs("output", "f_{L}"),
        "K'": Kind("connection of the view", "K'_{l}", (SIZE, N_TOP), {"layer": "l", **_VIEW}),
        "f'": Kind("output of the view", "f'_{L}", (N_TOP, 1), {"layer": "L", **_VIEW}),
        "w": Kind("weights", fixed=WEIGHT),
        "N": Kind("batch size", fixed=COUNT),
    },
    {dimension("l"): 2, dimension("l-1"): 1, N_TOP: 2},
)
LAW = Law()
"""Members of a batch, drawn uniformly; views are not averaged."""
L = LETTERS.moment
SHAPES = LETTERS.shapes | {"nabla": (2, 1)}


def pair_symbol(role: str, name: str, points: str = "i j", *shape: int) -> Any:
    """A number that belongs to two members of the batch, or to one."""
    return quantity(role, name, *shape, where={"point": points})


PHI = pair_symbol("slope of phi", r"\varphi'(\xi_{i})", "i")
PHI_OTHER = pair_symbol("slope of phi", r"\varphi'(\xi_{j})", "j")
PSI = pair_symbol("slope of psi", r"\psi'_{ij}")
PSI_BACK = pair_symbol("slope of psi", r"\psi'_{ji}", "j i")
UNIFORM = quantity("mean pair weight", r"\bar{\alpha}")
DISTANCE = pair_symbol("distance", "d_{ij}", "i j", 1, 1)
VIEW_DISTANCE = pair_symbol("distance of the views", "d_{i}", "i", 1, 1)


def scalar(name: str, *points: str) -> Moment:
    """A scalar letter of points."""
    return Moment.of(Letter(name, tuple((point, GIVEN) for point in points))).as_scalar()


def apart(name: str) -> Moment:
    """The letter at i minus that at j."""
    return L(name, "i") - L(name, "j")


def between_views(name: str) -> Moment:
    """The letter at the first view of i minus that at the second."""
    return L(name, "i") - L(f"{name}'", "i")


def squared(moment: Moment) -> Moment:
    """``||v||^2`` of a column."""
    return (moment.transposed() * moment).as_scalar()


ALPHA = scalar("phi", "i") * scalar("psi", "i", "j")
TOTAL = L("N") * L("N")
PULL = apart("K") * apart("f") - between_views("K") * between_views("f")
GAP = squared(apart("f")) - squared(between_views("f"))
SCALARS: Mapping[Any, Moment] = {
    PHI: scalar("phi", "i"),
    PHI_OTHER: scalar("phi", "j"),
    PSI: scalar("psi", "i", "j"),
    PSI_BACK: scalar("psi", "j", "i"),
    UNIFORM: Moment.of(Letter("mean alpha")).as_scalar(),
    DISTANCE: squared(apart("f")).scaled(Rational(1, 2)),
    VIEW_DISTANCE: squared(between_views("f")).scaled(Rational(1, 2)),
}


def gradient(of: str, shown: str) -> Any:
    """The gradient of a function of the batch by vec W_l."""
    return quantity("gradient", rf"\nabla_{{W_{{l}}}} {shown}", SIZE, 1, where={"layer": "l", "of": of})


BY_LOSS = gradient("loss", "L")
BY_TRACE = gradient("trace", r"\operatorname{tr} C_{\alpha}\big|_{\alpha\ \mathrm{held}}")
BY_MOVING = gradient("moving trace", r"\operatorname{tr} C_{\alpha}")
TRACE = quantity("trace", r"\operatorname{tr} C_{\alpha}", 1, 1)
MEANINGS: Mapping[Any, Moment] = {
    BY_LOSS: (TOTAL * ALPHA * PULL).scaled(-1),
    BY_TRACE: (TOTAL * ALPHA * PULL).scaled(2),
    BY_MOVING: (TOTAL * ALPHA * PULL).scaled(2)
    + TOTAL * GAP * Moment.of(Letter("nabla", (("i", GIVEN), ("j", GIVEN)))),
    TRACE: TOTAL * ALPHA * GAP,
}


def homogeneous(moment: Moment) -> Moment:
    """Replace the outputs of both views by connection and weights."""
    for output, connection in (("f", "K"), ("f'", "K'")):
        moment = moment.replaced(output, ((connection, True), ("w", False)), ("w", "N"))
    return moment


def batch_reading(rule: Callable[[Moment], Moment] = Moment.itself) -> Reading:
    """Read double sums over the batch as expectations over two members."""

    def meaning(expr: Any) -> Meaning | None:
        if expr in MEANINGS:
            return MEANINGS[expr], True
        return (SCALARS[expr], False) if expr in SCALARS else LETTERS.meaning(expr)

    return moment_reading(meaning, LAW, SHAPES, rule)


def at(name: str, point: str = "i") -> Any:
    """The typed symbol of a letter at a member of the batch."""
    return LETTERS.symbol(name, point)


def chain_steps() -> list[Step]:
    """The gradient of L, for undefined phi and psi and any number H = N - 1 of others."""
    phi, psi = (Function(name, real=True) for name in (r"\varphi", r"\psi"))
    u, moved = IndexedBase("u", real=True), IndexedBase(r"\dot{u}", real=True)
    t, x = Symbol("t", real=True), Symbol("x", real=True)
    left = sympy.diff(phi(Sum(psi(u[k] + t * moved[k]), (k, 1, H))), t).subs(t, 0).doit()
    slopes = Sum(Subs(Derivative(psi(x), x), x, u[k]) * moved[k], (k, 1, H))
    right = Subs(Derivative(phi(x), x), x, Sum(psi(u[k]), (k, 1, H))) * slopes
    change = quantity("change of the output", r"\dot{f}", N_TOP, 1)
    move = quantity("change of the weights", r"\operatorname{vec}(\dot{W}_{l})", SIZE, 1)
    here, there = at("f"), at("f", "j")
    return [
        Step(
            equation(left, right),
            "chain rule of one anchor, u_j = d_i - d_ij: dL/dt = sum_j alpha_ij du_j/dt, whatever phi and psi are",
            decide_zero(linear_sums(left) - linear_sums(right.doit())),
        ),
        identity_step(
            Transpose(here - there) * change,
            Transpose((at("K") - at("K", "j")) * (here - there)) * move,
            "expansion of a square: d d_ij/dt = (f_i - f_j)^T (f_i - f_j)', of which K^T vec W' is the change",
            {change: Transpose(at("K") - at("K", "j")) * move},
        ),
    ]


def trace_step() -> Step:
    """The trace of an outer product."""
    here, there = at("f"), at("f", "j")
    left = sympy.Trace((here - there) * Transpose(here - there))
    right = sympy.Trace(Transpose(here - there) * (here - there))
    relation = equation(left, right)
    return Step(relation, "tr(v v^T) = v^T v", identity_reading({})(Claim("", (relation,))))


# The pair weights of named losses.

GAPS = IndexedBase("u", real=True)
OWN = quantity("gap", "u_{j}")
EXPONENTS = Sum(sympy.exp(GAPS[k] / tau), (k, 1, H))
UNIT_EXPONENTS = Sum(sympy.exp(GAPS[k]), (k, 1, H))
_SOFT = tau * sympy.log(1 + sympy.exp((OWN + r_0) / tau))


@dataclass(frozen=True)
class Named:
    """phi at xi, psi at u_j, the value of xi, and alpha in closed form."""

    shown: str
    phi: Callable[[Expr], Expr]
    psi: Expr
    total: Expr
    alpha: Expr


NAMED: Mapping[str, Named] = {
    "infonce": Named(
        "InfoNCE", lambda x: tau * sympy.log(1 + x), sympy.exp(OWN / tau), EXPONENTS,
        sympy.exp(OWN / tau) / (1 + EXPONENTS),
    ),
    "infonce-decoupled": Named(
        "InfoNCE without its positive", lambda x: tau * sympy.log(x), sympy.exp(OWN / tau), EXPONENTS,
        sympy.exp(OWN / tau) / EXPONENTS,
    ),
    "triplet": Named(
        "soft triplet", lambda x: x, _SOFT, sympy.S.Zero, 1 / (1 + sympy.exp(-(OWN + r_0) / tau)),
    ),
    "square": Named("square", lambda x: x**2, sympy.exp(OWN), UNIT_EXPONENTS, 2 * UNIT_EXPONENTS * sympy.exp(OWN)),
    "log-square": Named(
        "squared logarithm", lambda x: sympy.log(x) ** 2, sympy.exp(OWN), UNIT_EXPONENTS,
        2 * sympy.log(UNIT_EXPONENTS) * sympy.exp(OWN) / UNIT_EXPONENTS,
    ),
}  # fmt: skip


def weight_of(name: str) -> Any:
    """The weight of a pair, ``phi'(xi) psi'(u_j)``, of a named loss."""
    return quantity("pair weight", rf"\alpha^{{\mathrm{{{name}}}}}_{{ij}}", where={"loss": name})


def slope_of(name: str) -> Expr:
    """``phi'(xi) psi'(u_j)`` by differentiation."""
    one, x = NAMED[name], Symbol("x", positive=True)
    return sympy.diff(one.phi(x), x).xreplace({x: one.total}) * sympy.diff(one.psi, OWN)


def weights_reading(relation: Basic) -> Decision:
    """Decide a closed form against the derivatives of phi and psi."""
    slopes = {weight_of(name): slope_of(name) for name in NAMED}
    return decide_relation(put_into(relation, lambda part: part.xreplace(slopes)))


# The minimum over the weights of one anchor. Costs c_j = d_ij - d_i; `slack` has one more weight, of cost 0.

COSTS = IndexedBase("c", real=True)
WEIGHTS, FEASIBLE = IndexedBase(r"\alpha", positive=True), IndexedBase("a", positive=True)
LOSS = quantity("loss of an anchor", r"\ell_{i}")
OWN_SLACK = quantity("slack weight", r"\alpha_{i0}", positive=True)
FEASIBLE_SLACK = quantity("feasible slack weight", "a_{0}", positive=True)
_PARTITION = sympy.Dummy("sum e", positive=True)
_LOG_Z, _REST = sympy.Dummy("log Z", real=True), IndexedBase(sympy.Dummy("h"), nonnegative=True)
_REST_SLACK, _TOTAL_REST = (sympy.Dummy(name, nonnegative=True) for name in ("h_0", "sum alpha h"))


def over_others(term: Expr) -> Expr:
    """The sum over the H others of an anchor."""
    return Sum(term, (k, 1, H))


def player(weights: IndexedBase, slack: Expr | None) -> Expr:
    """``sum a c + tau sum a log a``, over a slack of cost 0 too where there is one."""
    entropy = over_others(weights[k] * sympy.log(weights[k]))
    if slack is not None:
        entropy = entropy + slack * sympy.log(slack)
    return over_others(weights[k] * COSTS[k]) + tau * entropy


def minimum_relations(slack: bool) -> tuple[Basic, ...]:
    """Value at alpha, lower bound at every feasible a, and the sum of alpha."""
    own, other = (OWN_SLACK, FEASIBLE_SLACK) if slack else (None, None)
    total = over_others(WEIGHTS[k]) + (OWN_SLACK if slack else 0)
    return (
        equation(LOSS, -player(WEIGHTS, own)),
        sympy.Ge(LOSS, -player(FEASIBLE, other), evaluate=False),
        equation(total, sympy.S.One),
    )


def minimum_reading(slack: bool) -> Reading:
    """``alpha_j = e^(-c_j/tau)/Z`` with Z the sum of all, and ``log a_j`` by the tangent with a rest ``h_j >= 0``."""
    other = FEASIBLE_SLACK if slack else sympy.S.Zero
    tangent = 1 - WEIGHTS[k] / FEASIBLE[k] + WEIGHTS[k] * _REST[k] / FEASIBLE[k]
    logarithms = {
        sympy.log(WEIGHTS[k]): -COSTS[k] / tau - _LOG_Z,
        sympy.log(FEASIBLE[k]): -COSTS[k] / tau - _LOG_Z + tangent,
        sympy.log(OWN_SLACK): -_LOG_Z,
        sympy.log(FEASIBLE_SLACK): -_LOG_Z + 1 - OWN_SLACK / FEASIBLE_SLACK + OWN_SLACK * _REST_SLACK / FEASIBLE_SLACK,
        LOSS: tau * _LOG_Z,
    }
    partition = _PARTITION + (1 if slack else 0)
    softmax = linear_sums(over_others(sympy.exp(-COSTS[k] / tau) / partition))
    sums = {
        over_others(WEIGHTS[k]): softmax.xreplace({over_others(sympy.exp(-COSTS[k] / tau)): _PARTITION}),
        OWN_SLACK: 1 / partition,
        over_others(FEASIBLE[k]): 1 - other,
        over_others(WEIGHTS[k] * _REST[k]): _TOTAL_REST,
    }

    def prove(relation: Basic) -> Decision:
        gap = quotient(sympy.expand(linear_sums((relation.lhs - relation.rhs).xreplace(logarithms))).xreplace(sums))
        if gap.has(Sum):
            return Decision(None, ABSTAINED, f"a sum that is not derived: {min(gap.atoms(Sum), key=str)!s:.60}")
        if isinstance(relation, sympy.Equality):
            return decide_zero(gap)
        return decide_relation(relation.func(sympy.factor(gap), 0, evaluate=False))

    return refuted_by_examples(prove, [example(slack, *numbers) for numbers in EXAMPLES])


EXAMPLES = (((0, -1), (3, 1), 1, 1), ((1, -2), (1, 2), 2, 1), ((3, 4), (2, 3), 1, 2))
"""Costs and parts of feasible weights of two others, the part of the slack, and tau."""


def example(
    slack: bool, costs: tuple[int, int], parts: tuple[int, int], rest: int, temperature: int
) -> tuple[str, Callable[[Basic], Basic]]:
    """One anchor with two others: all values, alpha the softmax of the costs."""
    exponents = [sympy.exp(-Rational(cost, temperature)) for cost in costs]
    whole = sum(parts) + (rest if slack else 0)
    z = sympy.Add(*exponents, 1 if slack else 0)
    values: dict[Any, Any] = {tau: sympy.Integer(temperature), LOSS: temperature * sympy.log(z)}
    for number, (cost, part, exponent) in enumerate(zip(costs, parts, exponents, strict=True), start=1):
        values |= {
            COSTS[number]: sympy.Integer(cost), FEASIBLE[number]: Rational(part, whole), WEIGHTS[number]: exponent / z,
        }  # fmt: skip
    values |= {OWN_SLACK: 1 / z, FEASIBLE_SLACK: Rational(rest, whole)}

    def put(relation: Basic) -> Basic:
        return put_into(relation, lambda part: part.xreplace({H: sympy.Integer(2)}).doit().xreplace(values))

    return f"costs {costs}, tau = {temperature}", put


def minimum_steps(slack: bool) -> list[Step]:
    """alpha is the softmax of the costs, and the tangent of the logarithm."""
    z = over_others(sympy.exp(-COSTS[k] / tau)) + (1 if slack else 0)
    name = "infonce" if slack else "infonce-decoupled"
    closed = NAMED[name].alpha.xreplace({GAPS[k]: -COSTS[k], OWN: -COSTS[k]})
    weights = over_others(sympy.exp(-COSTS[k] / tau) / z)
    rest = 1 - (1 / z if slack else 0)
    own = sympy.exp(-COSTS[k] / tau) / z
    return [
        zero_step(closed, own, "the alpha of the gradient is the softmax of -c/tau"),
        Step(
            equation(weights, rest),
            "its sum" + (", with the weight 1/Z of the slack" if slack else ""),
            decide_zero(linear_sums(weights) - rest),
        ),
        *logarithm_steps(),
    ]


# The population: augmentations averaged, alpha a symmetric function of the two points.

_POPULATION = Law(
    means={"K": "Kbar", "f": "fbar", "K0": None, "f0": None, "kappa": None, "phi": None, "b": None},
    symmetric={r"\alpha": 1},
)
POPULATION_WEIGHT = quantity("symmetric pair weight", r"\alpha(x, x')", where={"point": "x x'"})
POPULATION_GRADIENT = gradient("expected trace", r"L_{\alpha}")
_WEIGHTED = scalar(r"\alpha", "x", "x'")


def _difference(name: str, first: tuple[str, str], second: tuple[str, str]) -> Moment:
    return letter(name, *first) - letter(name, *second)


def _pair(first: tuple[str, str], second: tuple[str, str]) -> Moment:
    return _difference("K", first, second) * _difference("f", first, second)


_ONE, _NEAR, _FAR = ("x", "1"), ("x", "2"), ("x'", "1")
POPULATION_PULL = _WEIGHTED * (_pair(_ONE, _FAR) - _pair(_ONE, _NEAR))


def population_reading(rule: Callable[[Moment], Moment] = with_homogeneity) -> Reading:
    """Read expectations over two points and their augmentations."""
    meanings = {POPULATION_GRADIENT: (POPULATION_PULL.scaled(-1), True), POPULATION_WEIGHT: (_WEIGHTED, False)}
    return moment_reading(lambda expr: meanings.get(expr) or ALPHABET.meaning(expr), _POPULATION, ALPHABET.shapes, rule)


def between_points(name: str) -> MatrixExpr:
    """A mean at x minus that at x'."""
    return ALPHABET.symbol(name, "x") - ALPHABET.symbol(name, "x'")


def population_steps() -> list[Step]:
    """Both pairs after averaging over augmentations."""
    near, far = _WEIGHTED * _pair(_ONE, _NEAR), _WEIGHTED * _pair(_ONE, _FAR)
    inside = letter("K", *_ONE) * letter("f", *_ONE) - letter("Kbar", "x") * letter("fbar", "x")
    means = _difference("Kbar", ("x", GIVEN), ("x'", GIVEN)) * _difference("fbar", ("x", GIVEN), ("x'", GIVEN))
    why = "tower rule and exchange of x and x': the augmentation covariance counts twice"
    noise = (_WEIGHTED * inside).scaled(2)
    return [
        ALPHABET.step(near, noise, _POPULATION, "tower rule: twice the augmentation covariance, weighted by alpha"),
        ALPHABET.step(far, _WEIGHTED * means + noise, _POPULATION, why),
        *homogeneity_steps(side("1")),
    ]


@dataclass(frozen=True)
class Part:
    """One formula: text, relations, what is assumed, steps, and how it is read."""

    text: str
    relations: tuple[Basic, ...]
    assumptions: tuple[str, ...]
    steps: Callable[[], list[Step]]
    read: Reading


def outer(moved: MatrixExpr) -> MatrixExpr:
    """``E[phi' psi' v v^T]`` over pairs."""
    return Expect(MatMul(PHI * PSI, moved, Transpose(moved)))


def _parts() -> dict[str, Part]:
    held = (SMOOTH, HELD, SELF)
    far, near = at("K") - at("K", "j"), at("K") - at("K'")
    outputs_far, outputs_near = at("f") - at("f", "j"), at("f") - at("f'")
    pull = Expect(MatMul(PHI * PSI, far, outputs_far) - MatMul(PHI * PSI, near, outputs_near))
    energy = Expect(MatMul(PHI * PSI, DISTANCE - VIEW_DISTANCE))
    weighted = MatMul(POPULATION_WEIGHT, between_points("Kbar"))
    return {
        "gradient": Part(
            "grad L = -1/2 grad tr C_alpha, alpha held fixed: "
            "-grad L = sum_ij alpha_ij ((K_i - K_j)(f_i - f_j) - (K_i - K'_i)(f_i - f'_i))",
            (equation(BY_LOSS, -Rational(1, 2) * BY_TRACE), equation(-BY_LOSS, COUNT**2 * pull)),
            held, chain_steps, batch_reading(),
        ),
        "operator": Part(
            "homogeneous towers: -grad L = C_alpha[K] vec W, "
            "C_alpha[K] = sum_ij alpha_ij ((K_i - K_j)(.)^T - (K_i - K'_i)(.)^T)",
            (equation(-BY_LOSS, COUNT**2 * (outer(far) - outer(near)) * WEIGHT),),
            (*held, HOMOGENEOUS), lambda: [*chain_steps(), *homogeneity_steps(side("1"))], batch_reading(homogeneous),
        ),
        "trace": Part(
            "1/2 tr C_alpha = sum_ij alpha_ij (d_ij - d_i)",
            (equation(Rational(1, 2) * TRACE, COUNT**2 * energy),),
            (SELF,), lambda: [trace_step()], batch_reading(),
        ),
        "weights": Part(
            "alpha_ij = phi'(xi_i) psi'(d_i - d_ij) for InfoNCE, InfoNCE without its positive, the soft triplet, "
            "phi = x^2 and phi = log^2 x",
            tuple(equation(weight_of(name), one.alpha) for name, one in NAMED.items()),
            (POSITIVE,), list, refuted_by_examples(weights_reading, ()),
        ),
        "minimum": Part(
            "InfoNCE without its positive: L = -min_alpha (E_alpha + tau sum alpha log alpha) over the simplex of "
            "every anchor, attained at the alpha of the gradient",
            minimum_relations(slack=False), (POSITIVE, SIMPLEX), lambda: minimum_steps(slack=False),
            minimum_reading(slack=False),
        ),
        "slack": Part(
            "InfoNCE: the same with one more weight alpha_i0, of cost 0",
            minimum_relations(slack=True), (POSITIVE, SIMPLEX), lambda: minimum_steps(slack=True),
            minimum_reading(slack=True),
        ),
        "population": Part(
            "alpha symmetric in the two points: -E[grad] = V^alpha[Kbar - Kbar'] vec W, statement 4 without theta",
            (
                equation(
                    -POPULATION_GRADIENT, Expect(MatMul(weighted, Transpose(between_points("Kbar")))) * WEIGHT
                ),
                equation(-POPULATION_GRADIENT, Expect(MatMul(weighted, between_points("fbar")))),
            ),
            (INDEPENDENT, SYMMETRIC, HOMOGENEOUS), population_steps, population_reading(),
        ),
    }  # fmt: skip


PARTS: tuple[str, ...] = ("gradient", "operator", "trace", "weights", "minimum", "slack", "population")
"""The formulas."""


def derive(part: str = "gradient") -> Derivation:
    """Derive one formula of the pack."""
    chosen = _parts()[part]
    claim = Claim(chosen.text, chosen.relations, chosen.assumptions)
    return concluded("alpha-trace", claim, chosen.steps(), chosen.read)
