"""The BYOL part of the paper (arXiv 2010.00578, versions 1 to 3): predictor, target network, zero mean, BatchNorm.

``L = E 1/2 ||P f(x_1; W) - sg f(x_+; W')||^2`` with a linear predictor P, whose gradient flows through x_1 only (sg
stops it). K is the connection of the online tower without predictor, K' that of the target, whatever its weights W'.
Every formula is an identity of expectations over independent augmentations, decided by the moment algebra.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sympy
from sympy import Basic, MatMul, MatrixExpr, Rational, Transpose, ZeroMatrix

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation
from theory.core.derivation import Derivation, Step, concluded
from theory.core.expectation import Law, Letter, Moment
from theory.core.notation import AugmentationCovariance, Covariance, Expect, Vec, dimension
from theory.core.quantity import quantity
from theory.core.reading import identity_reading
from theory.towers.dual_gradient import homogeneity_steps, identity_step, side
from theory.towers.moment_steps import N_TOP, SIZE, WEIGHT, connections, outputs

INDEPENDENT = "x_1 and x_+ are independent augmentations of x"
STOPPED = "no gradient flows through the target f(x_+; W')"
LINEAR = "the predictor is linear"
HOMOGENEOUS = "f_L = K_l^T vec W_l (no biases, piecewise-linear homogeneous activation)"
SAME = "the target has the weights of the online tower, W' = W"
INVERTIBLE = "E[f f^T] is invertible, and E[fbar fbar^T] where it stands in its place"
LINEAR_FIRST = "the predictor is linear, in the first relation"

_HERE = {"layer": "l"}
_TARGET = {"tower": "target"}
TARGET_WEIGHT = Vec(quantity("target weights", "W'_{l}", dimension("l"), dimension("l-1"), where={**_HERE, **_TARGET}))
PREDICTOR = quantity("predictor", "P", N_TOP, N_TOP)
SCALE = quantity("scale of the predictor", "c")
TOP_WEIGHT = quantity("weights of the top layer", "W_{L}", N_TOP, dimension("L-1"), where={"layer": "L"})
INVERSE = quantity("inverse deviation", r"\sigma^{-1}", nonnegative=True)
LETTERS = Alphabet(
    {
        "K": connections("connection", "K_{l}"),
        "Kbar": connections("mean connection", r"\bar{K}_{l}"),
        "f": outputs("output", "f_{L}"),
        "fbar": outputs("mean output", r"\bar{f}_{L}"),
        "K'": Kind("target connection", "K'_{l}", (SIZE, N_TOP), _HERE),
        "Kbar'": Kind("mean target connection", r"\bar{K}'_{l}", (SIZE, N_TOP), _HERE),
        "f'": Kind("target output", "f'_{L}", (N_TOP, 1), {"layer": "L"}),
        "fbar'": Kind("mean target output", r"\bar{f}'_{L}", (N_TOP, 1), {"layer": "L"}),
        "g": Kind("descent direction at the output", "g", (N_TOP, 1), {"layer": "L"}),
        "gbar": Kind("mean descent direction", r"\bar{g}", (N_TOP, 1), {"layer": "L"}),
        "h": Kind("activation below the top", "f_{L-1}", (dimension("L-1"), 1), {"layer": "L-1"}),
        "hbar": Kind("mean activation below the top", r"\bar{f}_{L-1}", (dimension("L-1"), 1), {"layer": "L-1"}),
        "w": Kind("weights", fixed=WEIGHT),
        "w'": Kind("target weights", fixed=TARGET_WEIGHT),
        "P": Kind("predictor", fixed=PREDICTOR),
        "V": Kind("weights of the top layer", fixed=TOP_WEIGHT),
        "c": Kind("scale of the predictor", fixed=SCALE),
        # One neuron in front of BatchNorm, at the members of a batch: pre-activation, its derivative, what comes down.
        "p": Kind("pre-activation", "p"),
        "q": Kind("normalised pre-activation", r"\hat{p}"),
        "d": Kind("derivative of the pre-activation", r"\dot{p}"),
        "e": Kind("gradient above the normalisation", "g"),
        "s": Kind("inverse deviation", fixed=INVERSE),
    },
    {dimension("l"): 2, dimension("l-1"): 1, N_TOP: 2, dimension("L-1"): 2},
)
MEANS = {"K": "Kbar", "f": "fbar", "K'": "Kbar'", "f'": "fbar'", "g": "gbar", "h": "hbar"}
LAW = Law(means=MEANS)
BATCH_LAW = Law()
"""The members of a batch are the points, drawn uniformly; their two views are not averaged."""
L = LETTERS.moment
FIXED = ("w", "w'", "P", "V", "c")


def gradient(loss: str, shown: str = "L", of: str = "W_{l}", shape: tuple[Any, Any] = (SIZE, 1)) -> Any:
    """The expected gradient of a form of the loss."""
    role = "expected gradient" if of == "W_{l}" else f"expected gradient by {of}"
    return quantity(role, rf"\mathbb{{E}}\left[\nabla_{{{of}}} {shown}\right]", *shape, where={"loss": loss})


PLAIN = gradient("plain")
CENTRED = gradient("centred", r"\tilde{L}")
DETACHED = gradient("detached", r"\tilde{L}_{\mathrm{detached}}")
CENTRED_ANY = gradient("centred, any predictor", r"\tilde{L}^{q}")
DETACHED_ANY = gradient("detached, any predictor", r"\tilde{L}^{q}_{\mathrm{detached}}")
BATCH = gradient("batch", r"L_{\mathrm{batch}}")
BY_PREDICTOR = gradient("plain", of="P", shape=(N_TOP, N_TOP))
BY_TOP = gradient("plain", of="W_{L}", shape=(N_TOP, dimension("L-1")))


def homogeneous(moment: Moment) -> Moment:
    """Replace outputs of both towers by connection and weights."""
    for output, connection, weights in (("f", "K", "w"), ("f'", "K'", "w'")):
        for bar in ("", "bar"):
            names = (output.replace("f", f"f{bar}"), connection.replace("K", f"K{bar}"))
            moment = moment.replaced(names[0], ((names[1], True), (weights, False)), FIXED)
    return moment


def through_top_layer(moment: Moment) -> Moment:
    """Replace the output by the top layer, ``f_L = W_L f_(L-1)``."""
    for name, below in (("f", "h"), ("fbar", "hbar")):
        moment = moment.replaced(name, (("V", False), (below, False)), FIXED)
    return moment


def with_scale(moment: Moment, scale: tuple[Letter, ...] = (Letter("c"),)) -> Moment:
    """The predictor c I (I without a scale), and the online weights in the target."""
    pairs = []
    for term, coefficient in moment.terms.items():
        word = tuple(item for item in term.word if item.name != "P")
        inside = [tuple(item for item in scalar if item.name != "P") for scalar in term.scalars]
        removed = sum(item.name == "P" for w in (term.word, *term.scalars) for item in w)
        scalars = (*inside, *((scale,) * removed if scale else ()))
        pairs.append((term._replace(word=word, scalars=scalars), coefficient))
    result = Moment.collect(pairs)
    for name in ("K'", "f'"):
        for bar in ("", "bar"):
            letter = name.replace("'", f"{bar}'")
            result = result.replaced(letter, ((letter.replace("'", ""), False),), FIXED)
    return result.replaced("w'", (("w", False),), FIXED)


def error(point: str = "x") -> Moment:
    """``f'(x_+) - P f(x_1)``, along which the output descends."""
    return L("f'", point, "2") - L("P") * L("f", point, "1")


def centred_error() -> Moment:
    """The same with the expectation of each tower's output subtracted."""
    target = L("f'", "x", "2") - L("f'", "v", "1")
    return target - L("P") * (L("f", "x", "1") - L("f", "u", "1"))


K1 = L("K", "x", "1")
FALLS = K1 * L("P").transposed() * error()
FALLS_CENTRED = (K1 - L("K", "t", "1")) * L("P").transposed() * centred_error()
FALLS_DETACHED = K1 * L("P").transposed() * centred_error()


def symbol(name: str, copy: str = "", point: str = "x") -> Any:
    """The typed symbol of a letter."""
    return LETTERS.symbol(name, point, copy)


def through_predictor(name: str, copy: str = "") -> MatrixExpr:
    """``K P^T``, the connection of the tower with its predictor."""
    return MatMul(symbol(name, copy), Transpose(PREDICTOR))


@dataclass(frozen=True)
class Part:
    """One formula: relations, what their symbols stand for, what is assumed, steps, and the rule that is used."""

    text: str
    relations: tuple[Basic, ...]
    meanings: Mapping[Any, Moment]
    assumptions: tuple[str, ...]
    steps: Callable[[], list[Step]]
    rule: Callable[[Moment], Moment] = Moment.itself
    law: Law = LAW


def chain_steps() -> list[Step]:
    """The chain rule through the predictor, for one draw of x_1 and x_+."""
    change = quantity("change of the output", r"df_{L}", N_TOP, 1)
    target, online = symbol("f'", "2"), symbol("f", "1")
    fall = Transpose(target - PREDICTOR * online) * PREDICTOR * change
    move = quantity("change of the weights", r"\operatorname{vec}(dW_{l})", SIZE, 1)
    return [
        identity_step(
            fall,
            Transpose(through_predictor("K", "1") * (target - PREDICTOR * online)) * move,
            "chain rule, df_L = K_l^T vec(dW_l) (statement 1), the target is held: -dr = <K P^T (f' - P f), vec dW>",
            {change: Transpose(symbol("K", "1")) * move},
        )
    ]


def tower_steps() -> list[Step]:
    """The tower rule on the two words of the gradient, and the split of the second one."""
    far = K1 * L("P").transposed() * L("f'", "x", "2")
    near = K1 * L("P").transposed() * L("P") * L("f", "x", "1")
    means = L("Kbar") * L("P").transposed()
    other = K1 * L("P").transposed() * L("P") * L("f", "x", "2")
    tower = "tower rule: x_1 and x_+ are independent given x"
    return [
        LETTERS.step(far, means * L("fbar'"), LAW, tower),
        LETTERS.step(other, means * L("P") * L("fbar"), LAW, f"{tower}; the same for two augmentations of one tower"),
        LETTERS.step(FALLS, far - near, LAW, "the two terms of the gradient"),
    ]


def homogeneity() -> list[Step]:
    return homogeneity_steps(side("1"))


def centring_steps() -> list[Step]:
    """What the subtracted means contribute."""
    far = (K1 - L("K", "t", "1")) * L("P").transposed() * (L("f'", "x", "2") - L("f'", "v", "1"))
    apart = L("Kbar") * L("P").transposed() * (L("fbar'") - L("fbar'", "y"))
    return [
        LETTERS.step(far, apart, LAW, "the means are of independent points: of four terms two cancel"),
        LETTERS.step(FALLS_CENTRED, FALLS_DETACHED, LAW, "the error has mean 0, so the gradient through the mean is 0"),
    ]


def norm_steps() -> list[Step]:
    """``d||W||^2/dt`` as a mean square."""
    square = (L("f", "x", "1") - L("f", "x", "2")).transposed() * (L("f", "x", "1") - L("f", "x", "2"))
    deviation = L("f", "x", "1").transposed() * (L("f", "x", "1") - L("f", "x", "2"))
    why = "exchange of the two augmentations: E <f(x_1), f(x_1) - f(x_+)> = 1/2 E ||f(x_1) - f(x_+)||^2"
    return [LETTERS.step(deviation, square.scaled(Rational(1, 2)), LAW, why)]


def no_steps() -> list[Step]:
    """A part whose steps are its relations."""
    return []


def batch_norm_steps() -> list[Step]:
    """The derivative of the normalised pre-activation of a batch, which is a uniform population."""
    return [
        LETTERS.step(
            L("q") * (L("d") - L("d", "y")),
            L("q") * L("d"),
            BATCH_LAW,
            "the mean of the normalised pre-activation is 0, so the mean of its derivative does not count",
            rule=centred_batch,
        )
    ]


def centred_batch(moment: Moment) -> Moment:
    """A normalised pre-activation is ``(p - mean p)/sigma``; its letter is centred by an independent member."""
    pairs: list[Moment] = []
    for term, coefficient in moment.terms.items():
        product = Moment({term._replace(scalars=()): coefficient})
        for number, scalar in enumerate(term.scalars):
            item = scalar[0]
            if item.name != "q":
                product = product * Moment.of(*scalar).as_scalar()
                continue
            point = item.labels[0][0]
            product = product * L("s") * (L("p", point) - L("p", f"{point}-{number}"))
        pairs.append(product)
    return sum(pairs, Moment({}))


OPTIMUM = quantity("optimal predictor", r"P_{\ast}", N_TOP, N_TOP)
SECOND_MOMENT = quantity(
    "second moment of the outputs", r"\mathbb{E}\left[f_{L}(x_{1}) f_{L}(x_{1})^{T}\right]", N_TOP, N_TOP
)
CROSS_MOMENT = quantity(
    "cross moment of the means", r"\mathbb{E}\left[\bar{f}'_{L}(x) \bar{f}_{L}(x)^{T}\right]", N_TOP, N_TOP
)
AT_OPTIMUM = quantity(
    "gradient at the optimal predictor", r"\mathbb{E}\left[\nabla_{P} L\right]_{P = P_{\ast}}", N_TOP, N_TOP
)
AT_DAMPED = quantity(
    "gradient at the damped predictor", r"\mathbb{E}\left[\nabla_{P} L\right]_{P = \frac{7}{10} P_{\ast}}", N_TOP, N_TOP
)
MOMENT_OF_MEANS = quantity(
    "second moment of the mean outputs", r"\mathbb{E}\left[\bar{f}_{L}(x) \bar{f}_{L}(x)^{T}\right]", N_TOP, N_TOP
)
OF_MEANS = quantity("predictor of the means", r"P_{m}", N_TOP, N_TOP)
AT_MEANS = quantity(
    "gradient at the predictor of the means", r"\mathbb{E}\left[\nabla_{P} L\right]_{P = P_{m}}", N_TOP, N_TOP
)
OPTIMAL_PAIRING = quantity(
    "pairing at the optimal predictor", r"\langle W_{l}, \mathbb{E}[\nabla_{W_{l}} L] \rangle_{P = P_{\ast}}"
)
INTRA = AugmentationCovariance(through_predictor("K", "1"), through_predictor("K", "1"))
INTRA_PLAIN = AugmentationCovariance(symbol("K", "1"), symbol("K", "1"))
SECOND = Expect(MatMul(through_predictor("Kbar"), Transpose(through_predictor("Kbar")))).doit()
CROSS = Expect(MatMul(through_predictor("Kbar"), Transpose(symbol("Kbar'")))).doit()
SECOND_PLAIN = Expect(MatMul(symbol("Kbar"), Transpose(symbol("Kbar")))).doit()
VARIANCE = Covariance(through_predictor("Kbar"), through_predictor("Kbar"))
COVARIANCE = Covariance(through_predictor("Kbar"), symbol("Kbar'"))
MEAN = Expect(through_predictor("Kbar"))
_DIFFERENCE = symbol("f", "1") - symbol("f", "2")
_NORM_RATE = quantity("rate of the squared norm", r"\frac{d}{dt} \|W_{l}\|_F^2", 1, 1)
_PAIRING = quantity("pairing with the gradient", r"\langle W_{l}, \mathbb{E}[\nabla_{W_{l}} L] \rangle", 1, 1)
_PREDICTOR_PAIRING = quantity("predictor pairing", r"\langle P, \mathbb{E}[\nabla_{P} L] \rangle", 1, 1)
_BOTH_PAIRING = quantity(
    "pairing without stop-gradient", r"\langle W_{l}, \mathbb{E}[\nabla_{W_{l}} L] \rangle_{\mathrm{both}}", 1, 1
)
_BATCH_RATE = quantity("derivative of the normalised batch", r"\frac{1}{N}\sum_{i} g_i \dot{\hat{p}}_i", 1, 1)
_OWN_RATE = quantity(
    "derivative of the normalised batch along itself", r"\frac{1}{N}\sum_{i} g_i \dot{\hat{p}}_i\big|_{\dot{p}=p}", 1, 1
)
_C2 = SCALE**2


_TOWERS = (INDEPENDENT, STOPPED, LINEAR)
_OPERATOR = (*_TOWERS, HOMOGENEOUS)
_ONE_SET = (INDEPENDENT, STOPPED, SAME, HOMOGENEOUS)
_PLAIN = {PLAIN: FALLS.scaled(-1)}
_CENTRED = {CENTRED: FALLS_CENTRED.scaled(-1)}
_BY_PREDICTOR = error() * L("f", "x", "1").transposed()


def batch_rate(by: str) -> Moment:
    """``g`` times the derivative of the normalised pre-activation where the pre-activation moves by a letter."""
    own = L("e") * (L(by) - L(by, "u"))
    return L("s") * (own - L("e") * L("q") * L("q", "v") * (L(by, "v") - L(by, "w")))


def general() -> Part:
    return Part(
        "any differentiable network: -E[grad] = E_x[Kbar P^T fbar'] - E[K P^T P f]",
        (
            equation(
                -PLAIN,
                Expect(through_predictor("Kbar") * symbol("fbar'"))
                - Expect(through_predictor("K", "1") * PREDICTOR * symbol("f", "1")),
            ),
        ),
        _PLAIN, _TOWERS, lambda: [*chain_steps(), *tower_steps()],
    )  # fmt: skip


def update() -> Part:
    return Part(
        "-E[grad] = -E_x V_aug[K P^T] vec W - E_x[Kbar P^T P Kbar^T] vec W + E_x[Kbar P^T Kbar'^T] vec W'",
        (equation(-PLAIN, -INTRA * WEIGHT - SECOND * WEIGHT + CROSS * TARGET_WEIGHT),),
        _PLAIN, _OPERATOR, lambda: [*chain_steps(), *tower_steps(), *homogeneity()], homogeneous,
    )  # fmt: skip


def predictor() -> Part:
    return Part(
        "-E[grad_P] = E_x[fbar' fbar^T] - P E[f f^T]",
        (
            equation(
                -BY_PREDICTOR,
                Expect(symbol("fbar'") * Transpose(symbol("fbar")))
                - PREDICTOR * Expect(symbol("f", "1") * Transpose(symbol("f", "1"))),
            ),
        ),
        {BY_PREDICTOR: _BY_PREDICTOR.scaled(-1)}, _TOWERS, no_steps,
    )  # fmt: skip


def without_predictor() -> Part:
    square = Expect(MatMul(Transpose(_DIFFERENCE), _DIFFERENCE))
    return Part(
        "P = I, W' = W: -E[grad] = -E_x V_aug[K] vec W, and d||W||^2/dt = -E||f(x_1) - f(x_+)||^2: nothing repels",
        (
            equation(-PLAIN, -INTRA_PLAIN * WEIGHT),
            equation(_NORM_RATE, -square),
        ),
        {
            PLAIN: with_scale(FALLS, ()).scaled(-1),
            _NORM_RATE: (L("w").transposed() * with_scale(FALLS, ())).scaled(2),
        },
        _ONE_SET, lambda: [*norm_steps(), *homogeneity()], homogeneous,
    )  # fmt: skip


def scaled_predictor() -> Part:
    return Part(
        "P = cI, W' = W: -E[grad] = c(1-c) E_x[Kbar Kbar^T] vec W - c^2 E_x V_aug[K] vec W",
        (equation(-PLAIN, SCALE * (1 - SCALE) * SECOND_PLAIN * WEIGHT - _C2 * INTRA_PLAIN * WEIGHT),),
        {PLAIN: with_scale(FALLS).scaled(-1)}, _ONE_SET,
        lambda: [*tower_steps(), *homogeneity()], homogeneous,
    )  # fmt: skip


def zero_mean() -> Part:
    return Part(
        "outputs minus their means: -E[grad] = -E_x V_aug[K P^T] vec W - V_x[Kbar P^T] vec W "
        "+ Cov_x[Kbar P^T, Kbar'] vec W'",
        (equation(-CENTRED, -INTRA * WEIGHT - VARIANCE * WEIGHT + COVARIANCE * TARGET_WEIGHT),),
        _CENTRED, _OPERATOR, lambda: [*centring_steps(), *homogeneity()], homogeneous,
    )  # fmt: skip


def zero_mean_term() -> Part:
    return Part(
        "what zero mean adds to the update: E[K P^T] (E[K P^T]^T vec W - E[K']^T vec W')",
        (
            equation(
                PLAIN - CENTRED,
                MEAN * (Transpose(MEAN) * WEIGHT - Transpose(Expect(symbol("Kbar'"))) * TARGET_WEIGHT),
            ),
        ),
        _PLAIN | _CENTRED, _OPERATOR, lambda: [*centring_steps(), *homogeneity()], homogeneous,
    )  # fmt: skip


def implicit_contrast() -> Part:
    return Part(
        "zero mean, P = cI, W' = W: -E[grad] = c(1-c) V_x[Kbar] vec W - c^2 E_x V_aug[K] vec W",
        (
            equation(
                -CENTRED,
                SCALE * (1 - SCALE) * Covariance(symbol("Kbar"), symbol("Kbar")) * WEIGHT
                - _C2 * INTRA_PLAIN * WEIGHT,
            ),
        ),
        {CENTRED: with_scale(FALLS_CENTRED).scaled(-1)}, _ONE_SET,
        lambda: [*centring_steps(), *homogeneity()], homogeneous,
    )  # fmt: skip


def detached_mean() -> Part:
    falls_any = (K1 - L("K", "t", "1")) * L("g", "x", "1")
    held_any = K1 * L("g", "x", "1")
    return Part(
        "the gradient through the mean is 0 behind a linear predictor, and -E[K] E[g] behind any other one",
        (
            equation(-CENTRED, -DETACHED),
            equation(
                DETACHED_ANY - CENTRED_ANY,
                -Expect(symbol("Kbar")) * Expect(symbol("g", "1")),
            ),
        ),
        _CENTRED
        | {
            DETACHED: FALLS_DETACHED.scaled(-1),
            CENTRED_ANY: falls_any.scaled(-1),
            DETACHED_ANY: held_any.scaled(-1),
        },
        (INDEPENDENT, STOPPED, LINEAR_FIRST, "both towers are centred"), centring_steps,
    )  # fmt: skip


def batch() -> Part:
    return Part(
        "one batch of pairs, batch means per view: the zero-mean update with sums over the batch, exactly",
        (
            equation(
                -BATCH,
                Covariance(through_predictor("K"), symbol("K'")) * TARGET_WEIGHT
                - Covariance(through_predictor("K"), through_predictor("K")) * WEIGHT,
            ),
        ),
        {
            BATCH: ((L("K") - L("K", "t")) * L("P").transposed()
            * (L("P") * (L("f") - L("f", "u")) - (L("f'") - L("f'", "v"))))
        },
        (STOPPED, LINEAR, HOMOGENEOUS), homogeneity, homogeneous, BATCH_LAW,
    )  # fmt: skip


def batch_norm() -> Part:
    p, q, d, e = (symbol(name) for name in ("p", "q", "d", "e"))
    return Part(
        "BatchNorm: mean(g dphat) = mean(dp (g - mean g - phat mean(phat g)))/sigma; 0 along p if s^2 V[p] = 1",
        (
            equation(_BATCH_RATE, INVERSE * (Covariance(d, e) - Expect(d * q) * Expect(q * e))),
            equation(_OWN_RATE, INVERSE * Covariance(p, e) - INVERSE**3 * Covariance(p, p) * Covariance(p, e)),
        ),
        {_BATCH_RATE: batch_rate("d"), _OWN_RATE: batch_rate("p")},
        ("phat = s (p - mean p) with 1/s^2 = mean (p - mean p)^2 over the batch, plus a constant",),
        batch_norm_steps, centred_batch, BATCH_LAW,
    )  # fmt: skip


def optimal_predictor() -> Part:
    pairing, of_predictor = _pairings()
    return Part(
        "<W_l, E[grad]> = <P, E[grad_P]> at every layer and every P: 0 where E[grad_P] = 0",
        (equation(_PAIRING, _PREDICTOR_PAIRING),),
        {_PAIRING: pairing, _PREDICTOR_PAIRING: of_predictor},
        (STOPPED, LINEAR, HOMOGENEOUS), homogeneity, homogeneous,
    )  # fmt: skip


def _pairings() -> tuple[Moment, Moment]:
    """``<W_l, grad>`` and ``<P, grad_P>`` of one draw."""
    pairing = (L("w").transposed() * FALLS).scaled(-1)
    return pairing, (L("f", "x", "1").transposed() * L("P").transposed() * error()).scaled(-1)


def stationary_predictor() -> Part:
    return Part(
        "E[grad_P] and every pairing with the weights are 0 at P_* = E[fbar' fbar^T] E[f f^T]^(-1); what E[grad_P] is "
        "at 7/10 P_*, and at the P_m that has E[fbar fbar^T] in place of E[f f^T]",
        (
            equation(OPTIMUM * SECOND_MOMENT, CROSS_MOMENT),
            equation(AT_OPTIMUM, ZeroMatrix(N_TOP, N_TOP)),
            equation(OPTIMAL_PAIRING, sympy.S.Zero),
            equation(AT_DAMPED, -Rational(3, 10) * CROSS_MOMENT),
            equation(OF_MEANS * MOMENT_OF_MEANS, CROSS_MOMENT),
            equation(AT_MEANS, OF_MEANS * (SECOND_MOMENT - MOMENT_OF_MEANS)),
        ),
        {}, (INDEPENDENT, STOPPED, LINEAR, HOMOGENEOUS, INVERTIBLE), optimum_steps,
    )  # fmt: skip


def optimum_steps() -> list[Step]:
    """The gradient by P at any P, and the pairing with the weights, by the moment algebra."""
    slope = L("P") * L("f", "x", "1") * L("f", "x", "1").transposed() - L("fbar'") * L("fbar").transposed()
    pairing, of_predictor = _pairings()
    why = "E[grad_P] = P E[f f^T] - E[fbar' fbar^T], by the tower rule"
    return [
        LETTERS.step(_BY_PREDICTOR.scaled(-1), slope, LAW, why),
        LETTERS.step(pairing, of_predictor, LAW, "<W_l, E[grad]> = <P, E[grad_P]>, by homogeneity", rule=homogeneous),
        *homogeneity(),
    ]


def optimum_reading() -> Reading:
    """The gradient of the step at the three predictors, all sizes."""
    solved, averaged = (CROSS_MOMENT * sympy.Inverse(moment) for moment in (SECOND_MOMENT, MOMENT_OF_MEANS))

    def slope(predictor: MatrixExpr) -> MatrixExpr:
        return predictor * SECOND_MOMENT - CROSS_MOMENT

    return identity_reading(
        {
            OPTIMUM: solved,
            AT_OPTIMUM: slope(solved),
            OPTIMAL_PAIRING: sympy.Trace(Transpose(solved) * slope(solved)),
            AT_DAMPED: slope(Rational(7, 10) * solved),
            OF_MEANS: averaged,
            AT_MEANS: slope(averaged),
        }
    )


def both_branches() -> Part:
    gap = L("P") * L("f", "x", "1") - L("f", "x", "2")
    falls = (L("K", "x", "1") * L("P").transposed() - L("K", "x", "2")) * gap
    shown = PREDICTOR * symbol("f", "1") - symbol("f", "2")
    return Part(
        "without stop-gradient and with W' = W: <W_l, E[grad]> = E||P f(x_1) - f(x_+)||^2 = 2 E[L], at every P",
        (equation(_BOTH_PAIRING, Expect(MatMul(Transpose(shown), shown))),),
        {_BOTH_PAIRING: L("w").transposed() * falls},
        ("the gradient flows through the target too", SAME, LINEAR, HOMOGENEOUS), homogeneity, homogeneous,
    )  # fmt: skip


def top_layer() -> Part:
    return Part(
        "E[grad_{W_L}] W_L^T = P^T E[grad_P] at every P: 0 where E[grad_P] = 0",
        (equation(BY_TOP * Transpose(TOP_WEIGHT), Transpose(PREDICTOR) * BY_PREDICTOR),),
        {
            BY_TOP: (L("P").transposed() * error() * L("h", "x", "1").transposed()).scaled(-1),
            BY_PREDICTOR: _BY_PREDICTOR.scaled(-1),
        },
        (STOPPED, LINEAR), no_steps, through_top_layer,
    )  # fmt: skip


_FORMULAS: Mapping[str, Callable[[], Part]] = {
    "update": update,
    "general": general,
    "predictor": predictor,
    "without-predictor": without_predictor,
    "scaled-predictor": scaled_predictor,
    "zero-mean": zero_mean,
    "zero-mean-term": zero_mean_term,
    "implicit-contrast": implicit_contrast,
    "detached-mean": detached_mean,
    "batch": batch,
    "batch-norm": batch_norm,
    "optimal-predictor": optimal_predictor,
    "stationary-predictor": stationary_predictor,
    "top-layer": top_layer,
    "both-branches": both_branches,
}
PARTS = tuple(_FORMULAS)
"""The formulas."""


def derive(part: str = "update") -> Derivation:
    """Derive one formula of the pack."""
    chosen = _FORMULAS[part]()
    read = LETTERS.read_as(chosen.meanings, chosen.law, chosen.rule)
    if part == "stationary-predictor":
        read = optimum_reading()
    claim = Claim(chosen.text, chosen.relations, chosen.assumptions)
    return concluded("byol-update", claim, chosen.steps(), read)
