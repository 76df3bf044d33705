"""The InfoNCE gradient as the gradient of a weighted trace, with the pair weights held fixed."""

import numpy as np
import sympy

import numeric
from verify import Without, strategies, user_statement


def forward(weights, x, slope):
    """Activations f_0 .. f_L and gates D_1 .. D_{L-1} of the rows of x."""
    activations, gates = [x], []
    for w in weights[:-1]:
        p = activations[-1] @ w.T
        gates.append(np.where(p > 0, 1, slope))
        activations.append(gates[-1] * p)
    return [*activations, activations[-1] @ weights[-1].T], gates


def backward(weights, activations, gates, g):
    """Gradient by every weight matrix, given the gradient g by the outputs."""
    found = []
    for layer in range(len(weights) - 1, -1, -1):
        found.append(g.T @ activations[layer])
        g = g @ weights[layer] * (gates[layer - 1] if layer else 1)
    return found[::-1]


def pair_weight(instance, t, at):
    """alpha = -dL/dr_-, where t = r_- - r_+."""
    if instance.loss == "simple":
        return at.array(np.ones(t.shape))
    options = instance.options
    tau, margin = at.array(options["tau"]), at.array(options.get("margin", 0.0))
    return 1 / (1 + np.exp((t - margin) / tau))


def trace_gradient(instance, at, slope_of_energy=pair_weight, factor=1):
    """Gradient of 1/2 tr C_alpha: the sum over (anchor, positive, negative) of alpha (r_- - r_+)."""
    weights = [at.array(w) for w in instance.weights]
    points = at.array(instance.points)
    m, a, d = points.shape
    p, q = at.array(instance.point_weights), at.array(instance.augmentation_weights)
    joint = (p[:, None] * q).reshape(-1)  # of every augmented point
    owner = np.repeat(np.arange(m), a)
    pair = (owner[:, None] == owner) * joint[:, None] * q.reshape(-1)  # of anchor and positive
    activations, gates = forward(weights, points.reshape(-1, d), at.array(instance.slope))
    f = activations[-1]
    r = ((f[:, None] - f) ** 2).sum(axis=2) / 2
    t = r[:, None, :] - r[:, :, None]
    omega = pair[:, :, None] * joint * slope_of_energy(instance, t, at)
    s = omega.sum(axis=1) - omega.sum(axis=2)  # weight of every r in the trace
    s = s + s.T
    laplacian = np.diag(s.sum(axis=1)) - s
    return backward(weights, activations, gates, factor * laplacian @ f)


def measured(instance, at):
    """-E grad L by automatic differentiation of the expected loss."""
    population, options = at.population(instance), instance.options
    return numeric.population_gradient(at.weights(instance), population, instance.loss, instance.slope, **options)


def not_held_fixed(instance, at):
    """the gradient flows through the pair weights too"""

    def slope_of_energy(instance, t, at):
        alpha = pair_weight(instance, t, at)
        if instance.loss == "simple":
            return alpha
        return alpha - alpha * (1 - alpha) * t / at.array(instance.options["tau"])

    return trace_gradient(instance, at, slope_of_energy)


def without_half(instance, at):
    """tr C_alpha in place of 1/2 tr C_alpha"""
    return trace_gradient(instance, at, factor=2)


def unweighted(instance, at):
    """alpha = 1: the trace of the plain contrastive covariance"""
    return trace_gradient(instance, at, lambda _, t, at: at.array(np.ones(t.shape)))


def proof():
    """dL/dr_+ = alpha and dL/dr_- = -alpha for the three losses."""
    plus, minus = sympy.symbols("r_p r_1", nonnegative=True)
    tau, margin = sympy.symbols("tau r_0", positive=True)
    soft = tau * sympy.log(1 + sympy.exp((plus - minus + margin) / tau))
    alpha = 1 / (1 + sympy.exp((minus - plus - margin) / tau))
    named = {"soft triplet": (soft, alpha), "InfoNCE": (soft.subs(margin, 0), alpha.subs(margin, 0))}
    named["simple"] = (plus - minus, sympy.Integer(1))
    by = {"r_+": (plus, 1), "r_-": (minus, -1)}
    return {
        f"{name}, {to}": sympy.Eq(sympy.diff(loss, r), sign * weight, evaluate=False)
        for name, (loss, weight) in named.items()
        for to, (r, sign) in by.items()
    }


def several_negatives():
    """Instances with more than one negative."""
    smallest = strategies.population_instances(("infonce",), max_layers=1, max_width=1, max_points=2, max_negatives=2)
    return [
        found.filter(lambda i: i.negatives > 1)
        for found in (
            smallest,
            strategies.population_instances(("infonce",), max_negatives=3),
        )
    ]


INFONCE_TRACE = user_statement(
    title="InfoNCE trace",
    claim=r"-\mathbb{E}\,\nabla_\theta L = \nabla_\theta \tfrac12 \operatorname{tr} C_\alpha[f_\theta],"
    r"\quad \alpha \text{ held fixed}",
    source="view of arXiv 2201.12680",
    assumptions=("a loss of the two distances with dL/dr_+ = -dL/dr_-",),
    theory=trace_gradient,
    numeric=measured,
    symbolic=proof,
    strategy=[
        strategies.population_instances(
            ("infonce", "triplet", "simple"), max_layers=1, max_width=2, max_points=2, max_negatives=1
        ),
        strategies.population_instances(("infonce", "triplet", "simple"), max_negatives=1),
    ],
    variants={"weights-not-held": not_held_fixed, "half-missing": without_half, "unweighted": unweighted},
    drops={"one negative": Without("two or three negatives", several_negatives())},
)
