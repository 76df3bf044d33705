r"""The spectral contrastive loss (HaoChen et al., arXiv 2106.04156) and the family of Cabannes et al. (2302.02774).

A point x is drawn, then a node a of its augmentations: ``w_ab = E_x[A(a|x) A(b|x)]`` is the law of a positive pair,
``w_a`` its marginal. ``L = -2 E[f(a)^T f(a_+)] + E[(f(a)^T f(a'))^2]`` with a' independent of a. ``F`` has the rows
``sqrt(w_a) f(a)^T``, and ``Abar = D^(-1/2) w D^(-1/2)`` with ``D = diag(w_a)``.

One function derives one formula: it names the symbols, checks the steps that lead to it, and returns the claim with the
reading that decides it. It is a good module to start from for a pack of your own.
"""

from collections.abc import Callable

import sympy
from sympy import Basic, HadamardProduct, Identity, Inverse, OneMatrix, Symbol, Trace, Transpose

from theory.core.alphabet import Alphabet, Kind
from theory.core.claim import Claim, Reading, equation, reading
from theory.core.decide import Decision
from theory.core.derivation import Derivation, Step, concluded
from theory.core.expectation import Law, Moment
from theory.core.notation import Expect
from theory.core.order import decide_relation
from theory.core.quantity import quantity, slack_symbol
from theory.core.reading import identity_reading, with_meanings, with_numbers
from theory.towers.dual_gradient import homogeneity_steps, identity_step, side
from theory.towers.moment_steps import ALPHABET, GRADIENT, WEIGHT, with_homogeneity

POSITIVE = "x_1 and x_+ are independent augmentations of x, and every node has a positive probability"
INDEPENDENT = "the other node of the second term is drawn independently"
HOMOGENEOUS = "f_L = K_l^T vec W_l (no biases, piecewise-linear homogeneous activation)"
VON_NEUMANN = "von Neumann's trace inequality (1937): tr(A G) <= sum_i lambda_i(A) lambda_i(G) for symmetric A, G"
EIGENVECTORS = "Pi commutes with Abar: its range is spanned by eigenvectors"

NODES, FEATURES, POINTS = (Symbol(name, integer=True, positive=True) for name in ("N", "k", "M"))
ABAR = quantity("normalised adjacency", r"\bar{A}", NODES, NODES)
F = quantity("scaled outputs", "F", NODES, FEATURES)
GRAM = F * F.T
LOSS = quantity("loss", "L")

# What the symbols of the claims are made of. R = D^(1/2) is diagonal, written entry by entry as (r 1^T) o I.
OUTPUTS = quantity("outputs", "f", NODES, FEATURES)
ROOTS = quantity("square roots of the node probabilities", r"\sqrt{w}", NODES, 1)
R = HadamardProduct(ROOTS * OneMatrix(1, NODES), Identity(NODES))


def square(matrix: Basic) -> Basic:
    """Squared Frobenius norm ``tr(M M^T)``."""
    return Trace(matrix * Transpose(matrix))


def spectral_loss(adjacency: Basic = ABAR, scaled: Basic = F) -> Basic:
    """The loss as ``-2 tr(F^T Abar F) + tr(F^T F F^T F)``."""
    return -2 * Trace(scaled.T * adjacency * scaled) + Trace(scaled.T * scaled * scaled.T * scaled)


def loss_steps() -> list[Step]:
    """From the sums over nodes to traces, and from f to ``F = D^(1/2) f``, ``w = D^(1/2) Abar D^(1/2)``."""
    ones, products = OneMatrix(NODES, 1), OUTPUTS * OUTPUTS.T
    joint, diagonal = R * ABAR * R, R * R
    far = HadamardProduct(diagonal * products * diagonal, products)
    one = Identity(1)
    return [
        identity_step(
            ones.T * HadamardProduct(joint, products) * ones,
            Trace(OUTPUTS.T * joint * OUTPUTS) * one,
            "E[f(a)^T f(a_+)] = sum_ab w_ab (f f^T)_ab, entry by entry",
        ),
        identity_step(
            ones.T * far * ones,
            Trace(OUTPUTS.T * diagonal * OUTPUTS * OUTPUTS.T * diagonal * OUTPUTS) * one,
            "E[(f(a)^T f(a'))^2] = sum_ab w_a w_b (f f^T)_ab^2, entry by entry",
        ),
        identity_step(
            -2 * Trace(OUTPUTS.T * joint * OUTPUTS)
            + Trace(OUTPUTS.T * diagonal * OUTPUTS * OUTPUTS.T * diagonal * OUTPUTS),
            spectral_loss(),
            "F = D^(1/2) f and w = D^(1/2) Abar D^(1/2)",
            {F: R * OUTPUTS},
        ),
    ]


def factorisation() -> Derivation:
    """``L = ||Abar - F F^T||_F^2 - ||Abar||_F^2``."""
    relation = equation(LOSS, square(ABAR - GRAM) - square(ABAR))
    read = identity_reading({LOSS: spectral_loss()})
    return derived("L = ||Abar - F F^T||^2 - ||Abar||^2", (relation,), loss_steps(), read, (INDEPENDENT,))


GRADIENT_F = quantity("gradient by the scaled outputs", r"\nabla_{F} L", NODES, FEATURES)


def gradient() -> Derivation:
    """``-grad_F L = 4 (Abar - F F^T) F``."""
    t, change = Symbol("t", real=True), quantity("change of the scaled outputs", "dF", NODES, FEATURES)
    error = quantity("error", "E", NODES, NODES)
    moved, error_change = F + t * change, quantity("change of the error", "dE", NODES, NODES)
    slope = -2 * (error + error.T) * F
    steps = [
        identity_step(
            square(error + t * error_change),
            square(error) + 2 * t * Trace(error.T * error_change) + t**2 * square(error_change),
            "expansion of a square: the coefficient of t is dL = 2 tr(E^T dE), E = Abar - F F^T",
        ),
        identity_step(
            moved * moved.T,
            GRAM + t * (change * F.T + F * change.T) + t**2 * change * change.T,
            "product rule: dE = -(dF F^T + F dF^T)",
        ),
        identity_step(
            2 * Trace(error.T * error_change),
            Trace(slope.T * change),
            "trace identity: dL = <G, dF> for every dF, so G = -2 (E + E^T) F is the gradient",
            {error_change: -(change * F.T + F * change.T)},
        ),
    ]
    relation = equation(-GRADIENT_F, 4 * (ABAR - GRAM) * F)
    # Abar is symmetric: it is X^T X with X_xa = sqrt(p_x) A(a|x) / sqrt(w_a).
    factor = quantity("factor of the adjacency", "X", POINTS, NODES)
    read = identity_reading({GRADIENT_F: slope.xreplace({error: ABAR - GRAM}), ABAR: factor.T * factor})
    return derived("-grad_F L = 4 (Abar - F F^T) F", (relation,), steps, read, (INDEPENDENT,))


FUNCTION = quantity("scaled function on the nodes", "v", NODES, 1)
NODE_LETTERS = Alphabet({"u": Kind("function on the nodes", "u"), "ubar": Kind("mean function", r"\bar{u}")}, {})
NODE_LAW = Law(means={"u": "ubar"})


def spectrum() -> Derivation:
    """``0 <= Abar <= I``: with ``v = D^(1/2) u`` both forms are mean squares."""
    one, other = (NODE_LETTERS.moment("u", "x", copy) for copy in ("1", "2"))
    mean = NODE_LETTERS.symbol("ubar")
    gap = NODE_LETTERS.symbol("u", "x", "1") - NODE_LETTERS.symbol("u", "x", "2")
    form, norm = FUNCTION.T * ABAR * FUNCTION, FUNCTION.T * FUNCTION
    relations = (equation(form, Expect(mean * mean)), equation(norm, form + Expect(gap * gap) / 2))
    plain = quantity("function on the nodes", "u", NODES, 1)
    step = identity_step(
        form, plain.T * (R * ABAR * R) * plain, "v = D^(1/2) u: v^T Abar v = u^T w u = E[u(x_1) u(x_+)]",
        {FUNCTION: R * plain},
    )  # fmt: skip
    read = NODE_LETTERS.read_as({form: one * other, norm: one * one}, NODE_LAW)
    return derived("v^T Abar v = E_x[ubar^2], v^T v = v^T Abar v + 1/2 E[(u(x_1) - u(x_+))^2]", relations, [step], read)


def top() -> Derivation:
    """``Abar sqrt(w) = sqrt(w)``: the eigenvalue 1."""
    root, ones = quantity("root of D", "D^{1/2}", NODES, NODES), OneMatrix(NODES, 1)
    free = quantity("any matrix", "G", NODES, NODES)
    # Every matrix whose rows sum to those of D is D + G (I - 1 1^T / N) for some G.
    joint = root * root + free * (Identity(NODES) - ones * ones.T / NODES)
    step = identity_step(joint * ones, root * root * ones, "w 1 = D 1: w_a is the sum over b of w_ab")
    read = identity_reading({ABAR: Inverse(root) * joint * Inverse(root), ROOTS: root * ones})
    return derived("Abar sqrt(w) = sqrt(w)", (equation(ABAR * ROOTS, ROOTS),), [step], read)


EIGENVALUES = quantity("leading eigenvalues", r"\Lambda", FEATURES, FEATURES)
OWN_EIGENVALUES = quantity("eigenvalues of the Gram matrix", "M", FEATURES, FEATURES)
NEXT = quantity("next eigenvalue", r"\lambda_{k+1}", nonnegative=True)


def minimum() -> Derivation:
    """``L >= -sum_i lambda_i^2`` for every F.

    Lambda and M are diagonal, with the k largest eigenvalues of Abar and of ``F F^T`` in order.
    """
    pairing = Trace(ABAR * GRAM)
    excess = square(OWN_EIGENVALUES - EIGENVALUES) + 2 * (Trace(EIGENVALUES * OWN_EIGENVALUES.T) - pairing)
    relations = (
        equation(LOSS + square(EIGENVALUES), excess),
        sympy.Ge(LOSS + square(EIGENVALUES), 0, evaluate=False),
    )
    steps = [
        identity_step(
            spectral_loss(), square(GRAM) - 2 * pairing, "cyclic trace; ||F F^T||^2 = sum_i mu_i^2 with the eigenvalues"
        ),
    ]
    by_matrices = identity_reading({LOSS: square(OWN_EIGENVALUES) - 2 * pairing})
    # von Neumann: sum_i lambda_i mu_i - tr(Abar F F^T) is not negative.
    slack = slack_symbol("s")
    bounded = {LOSS: square(OWN_EIGENVALUES - EIGENVALUES) - square(EIGENVALUES) + 2 * slack}

    def decide(relation: Basic) -> Decision:
        if isinstance(relation, sympy.Equality):
            return by_matrices(Claim("", (relation,)))
        return decide_relation(with_meanings(relation, bounded))

    text = "L + sum lambda_i^2 = sum (mu_i - lambda_i)^2 + 2 (sum lambda_i mu_i - tr(Abar F F^T)) >= 0"
    return derived(text, relations, steps, reading(decide), (INDEPENDENT, VON_NEUMANN))


PROJECTOR = quantity("projector onto the leading eigenvectors", r"\Pi", NODES, NODES)
LEADING = quantity("leading part of the adjacency", r"G_{\star}", NODES, NODES)
LEAST = quantity("loss of the leading part", r"L_{\star}")


def minimiser() -> Derivation:
    """``F F^T = Pi Abar`` attains ``-sum_i lambda_i^2``, and its gradient is 0; Pi projects onto k eigenvectors."""
    relations = (
        equation(LEAST, -Trace(EIGENVALUES * EIGENVALUES)),
        equation(ABAR * LEADING, LEADING * LEADING),
        equation(PROJECTOR * ABAR, LEADING),
    )
    # Z is a basis of the range of Pi; Lambda is Abar in that basis, so Abar = Z Lambda Z^+ + (I - Pi) C (I - Pi).
    basis, rest = quantity("basis of eigenvectors", "Z", NODES, FEATURES), quantity("any matrix", "C", NODES, NODES)
    dual = Inverse(basis.T * basis) * basis.T
    beside, leading = Identity(NODES) - basis * dual, basis * EIGENVALUES * dual
    meanings = {PROJECTOR: basis * dual, ABAR: leading + beside * rest * beside, LEADING: leading}
    step = identity_step(PROJECTOR * ABAR, ABAR * PROJECTOR, "Pi commutes with Abar", meanings)
    loss = -2 * Trace(ABAR * LEADING) + Trace(LEADING * LEADING)
    read = identity_reading({LEAST: loss.xreplace(meanings), **meanings})
    text = "F F^T = Pi Abar = G: L = -sum lambda_i^2, and (Abar - F F^T) F F^T = 0"
    return derived(text, relations, [step], read, (INDEPENDENT, EIGENVECTORS))


LAW = Law(means={"K": "Kbar", "f": "fbar"})


def network(form: str = "operator") -> Derivation:
    """``-grad = 4 (E_x[Kbar Kbar^T] - E[K S K^T]) vec W``, ``S = E[f f^T]``; the general form has f for K^T vec W."""
    at = ALPHABET.symbol
    k, kbar, f, fbar, far = at("K", "x", "1"), at("Kbar"), at("f", "x", "1"), at("fbar"), at("f", "y", "1")
    right = {
        "operator": 4 * (Expect(kbar * kbar.T) - Expect(k * far * far.T * k.T)) * WEIGHT,
        "general": 4 * (Expect(kbar * fbar) - Expect(k * far * far.T * f)),
    }[form]

    def word(name: str, *place: str) -> Moment:
        return ALPHABET.moment(name, *place)

    first, second, other = ("x", "1"), ("x", "2"), ("y", "1")
    near = word("K", *first) * word("f", *second) + word("K", *second) * word("f", *first)
    product = (word("f", *first).transposed() * word("f", *other)).as_scalar()
    apart = word("K", *first) * word("f", *other) + word("K", *other) * word("f", *first)
    falls = (near - product * apart).scaled(2)
    steps = [
        ALPHABET.step(near, (word("Kbar") * word("fbar")).scaled(2), LAW, "chain rule and tower rule, first term"),
        ALPHABET.step(
            product * apart, (product * word("K", *first) * word("f", *other)).scaled(2), LAW,
            "chain rule, second term; the two nodes have one law",
        ),
    ]  # fmt: skip
    homogeneous = form == "operator"

    def rule(moment: Moment) -> Moment:
        """Homogeneity, and ``f(b) f(b)^T f(a)`` as the number ``f(b)^T f(a)`` times f(b)."""
        return with_numbers(with_homogeneity(moment) if homogeneous else moment, frozenset({"w", "f"}))

    if homogeneous:
        steps += homogeneity_steps(side("1"))
    read = ALPHABET.read_as({GRADIENT: falls.scaled(-1)}, LAW, rule)
    text = {
        "operator": "-E[grad] = 4 (E_x[Kbar Kbar^T] - E[K S K^T]) vec W, S = E[f f^T]",
        "general": "any differentiable network: -E[grad] = 4 (E_x[Kbar fbar] - E[K S f]), S = E[f f^T]",
    }[form]
    assumptions = (INDEPENDENT, HOMOGENEOUS) if homogeneous else (INDEPENDENT,)
    return derived(text, (equation(-GRADIENT, right),), steps, read, assumptions)


INVARIANCE = quantity("weight of the invariance term", r"\beta")
FAMILY_LOSS = quantity("family loss", r"L_{\beta}")


def family() -> Derivation:
    """``beta E||f - f_+||^2 + ||E[f f^T] - I||^2 = ||F F^T - B||^2 - ||B||^2 + k``, B = (1 - beta) I + beta Abar."""
    target = (1 - INVARIANCE) * Identity(NODES) + INVARIANCE * ABAR
    invariance = 2 * Trace(F.T * F) - 2 * Trace(F.T * ABAR * F)
    step = identity_step(
        2 * Trace(OUTPUTS.T * R * R * OUTPUTS) - 2 * Trace(OUTPUTS.T * (R * ABAR * R) * OUTPUTS),
        invariance,
        "E||f(a) - f(a_+)||^2 = 2 E||f||^2 - 2 E[f(a)^T f(a_+)]; E[f f^T] = f^T D f = F^T F",
        {F: R * OUTPUTS},
    )
    loss = INVARIANCE * invariance + square(F.T * F - Identity(FEATURES))
    relation = equation(FAMILY_LOSS, square(GRAM - target) - square(target) + FEATURES)
    text = "beta E||f - f_+||^2 + ||E[f f^T] - I||^2 = ||F F^T - B||^2 - ||B||^2 + k, B = (1-beta) I + beta Abar"
    return derived(text, (relation,), [step], identity_reading({FAMILY_LOSS: loss}))


def derived(
    text: str, relations: tuple[Basic, ...], steps: list[Step], read: Reading, further: tuple[str, ...] = ()
) -> Derivation:
    """A derivation of this pack: the claim is its last step, decided word by word."""
    return concluded("spectral-loss", Claim(text, relations, (POSITIVE, *further)), steps, read)


_DERIVED: dict[str, Callable[[], Derivation]] = {
    "factorisation": factorisation, "gradient": gradient, "spectrum": spectrum, "top": top, "minimum": minimum,
    "minimiser": minimiser, "network": network, "any-network": lambda: network("general"), "family": family,
}  # fmt: skip
PARTS: tuple[str, ...] = tuple(_DERIVED)
"""The formulas."""


def derive(part: str = PARTS[0]) -> Derivation:
    """Derive one formula of the pack."""
    return _DERIVED[part]()
