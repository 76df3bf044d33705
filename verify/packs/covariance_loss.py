r"""Pack covariance-loss: the loss whose expected gradient step is exactly the weighted covariance operator.

Statement
    ``L = E[xi ((1 + beta) r_+ - r_-)]`` with symmetric pair weights held fixed: the expected step is ``V^xi vec W`` and
    ``-2 beta`` times the weighted covariance over augmentations, for beta of either sign; its value, the growth of the
    norms, weights of further views, one batch.
Assumptions
    Weights held fixed, symmetric, and functions of the points or of independent further views; independent
    augmentations; a homogeneous tower for the operator form.
Evidence
    Symbolic: the algebra of expectations. Exact: the literal loss as a power series in each weight over balls. Float:
    automatic differentiation of the literal sum, and `numeric`'s operator.
Not covered
    Training with it, which `numeric.studies.images` does; weights of the differentiated views, which are a mutant here.
Source
    arXiv 2010.00578, Theorem 4; the published code for images calls it ``exact_cov``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from itertools import product
from typing import Any

from flint import fmpq

import numeric
from verify.engine.assumptions import Sides
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.rewrites import left, right, times
from verify.engine.statement import Assumption, Check, Context, PaperRelation
from verify.packs.covariance_measures import PACK, STAGES, CovarianceInstance, float_expected, toy
from verify.packs.oracle import abstaining, worse_than_side
from verify.packs.part import mutant, pack_statement
from verify.towers.tower import tensors

# Mutants: rewrites of the claims.


def changed(change: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    """A change of an expression that is given the letters and nodes of the pack."""

    def made(side: Any) -> Any:
        import theory.packs.covariance_loss as letters

        return change(side, letters)

    return made


def strength(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function of beta in its place."""
    return changed(lambda side, letters: side.xreplace({letters.BETA: function(letters.BETA)}))


def no_within(side: Any, letters: Any) -> Any:
    return side.func(*(term for term in side.args if not term.has(letters.BETA)))


def no_weights(side: Any, letters: Any) -> Any:
    from sympy import Integer

    return side.xreplace({letters.weight_symbol(): Integer(1)})


def views_for_means(side: Any, letters: Any) -> Any:
    """``K(x_1) - K(x_-)`` in place of the means, in the first term."""
    names = {letters.symbol("Kbar", point): letters.symbol("K", point, "1") for point in ("x", "x'")}
    return side.func(*(term if term.has(letters.BETA) else term.xreplace(names) for term in side.args))


def second_moments(side: Any, letters: Any) -> Any:
    """``E[xi K K^T]`` in place of the covariance over augmentations."""
    square = letters.own_square(letters.symbol("K", "x", "1"))
    return side.xreplace({letters.own_square(letters.within("K")): square})


def other_gradient(name: str) -> Callable[[Any], Any]:
    """Minus the gradient of another form of the loss."""
    return changed(lambda _, letters: -getattr(letters, name))


def means_doubled(side: Any, letters: Any) -> Any:
    """The distance of the means without its 1/2."""
    return side.func(*(term if term.has(letters.BETA) else 2 * term for term in side.args))


VARIANTS = (
    mutant("sign-of-beta", "+2 beta: the within-pair term pushes apart where it should pull", "update",
           right(strength(lambda beta: -beta))),
    mutant("half-of-beta", "beta in place of 2 beta", "update", right(strength(lambda beta: beta / 2))),
    mutant("within-left-out", "no within-pair term", "update", right(changed(no_within))),
    mutant("spread-not-cancelled", "1 + beta in place of beta: the negative pairs have no spread", "update",
           right(strength(lambda beta: 1 + beta))),
    mutant("absolute-beta", "|beta|: the same pull for both signs", "update", right(strength(abs))),
    mutant("weights-not-detached", "the gradient flows through the pair weights too", "update",
           left(other_gradient("ATTACHED"))),
    mutant("weights-of-own-views", "pair weights of the two differentiated views", "further-views",
           left(other_gradient("OWN_VIEWS"))),
    mutant("means-for-further-views", "weights between the means in place of further views", "update",
           left(other_gradient("FURTHER_GRADIENT"))),
    mutant("factor-two", "twice the step", "update", times(2)),
    mutant("one-branch", "half of the step: the gradient through x_1 only", "update", times(Fraction(1, 2))),
    mutant("views-for-means", "K(x_1) - K(x_-) in place of Kbar - Kbar'", "update", right(changed(views_for_means))),
    mutant("unweighted", "V in place of V^xi", "update", right(changed(no_weights))),
    mutant("second-moment-within", "E[xi K K^T] in place of the covariance over augmentations", "update",
           right(changed(second_moments))),
    mutant("general-sign-of-beta", "+2 beta in the general form", "general", right(strength(lambda beta: -beta))),
    mutant("value-sign-of-beta", "-beta E[xi ||f - fbar||^2]", "value", right(strength(lambda beta: -beta))),
    mutant("value-half", "||fbar - fbar'||^2 without its 1/2", "value", right(changed(means_doubled))),
    mutant("norm-half", "2 beta in place of 4 beta", "norm", right(strength(lambda beta: beta / 2))),
    mutant("norm-of-a-batch", "beta + 1/2 in place of beta, as in one batch", "norm",
           right(strength(lambda beta: beta + Fraction(1, 2)))),
    mutant("norms-do-not-grow", "no norm rises where beta <= 0", "growth", left(lambda rate: -rate)),
    mutant("batch-half-left-out", "beta in place of 1/2 + beta: a batch as the expectation", "batch",
           right(strength(lambda beta: beta - Fraction(1, 2)))),
    mutant("batch-sign-of-beta", "1/2 - beta", "batch", right(strength(lambda beta: -beta))),
)  # fmt: skip


# Assumptions dropped: one linear neuron, worked out by hand.


Views = Sequence[Sequence[int]]
PLAIN = ((0, 2), (4, 10))
ONE = fmpq(1)
TEXT = "f = w x, w = 1, points {0, 2} and {4, 10}, xi = 1/(1 + r)"


def decay(r: fmpq) -> fmpq:
    """A pair weight that falls with the distance."""
    return 1 / (1 + r)


def half(value: Any) -> fmpq:
    """r of a difference of outputs."""
    return fmpq(value) * value / 2


def mean(values: Sequence[Any]) -> fmpq:
    """The mean of integers or fractions."""
    return sum((fmpq(v) for v in values), fmpq(0)) / len(values)


@dataclass(frozen=True)
class Neuron:
    """``f = w x`` or ``f = (w x)^2`` at w = 1 on points whose augmentations are equally likely."""

    points: Views = PLAIN
    beta: fmpq = ONE
    power: int = 1

    def output(self, x: int) -> int:
        return int(x**self.power)

    def rate(self, x: int) -> int:
        """K = df/dw."""
        return int(self.power * x**self.power)

    def between(self, m: int, n: int) -> fmpq:
        """r between the means of the outputs."""
        first, second = (mean([self.output(x) for x in self.points[i]]) for i in (m, n))
        return (first - second) ** 2 / 2

    def step(self, scheme: str = "stated", xi: Any = None) -> fmpq:
        """``-dE[L]/dw`` by the chain rule over all choices of points and views."""
        count, total = len(self.points), fmpq(0)
        for m, n in product(range(count), repeat=2):
            if scheme == "other law" and n != 0:
                continue
            share = fmpq(1, count) * (1 if scheme == "other law" else fmpq(1, count))
            for a, b, c in product(self.points[m], self.points[m], self.points[n]):
                other = a if scheme == "one augmentation" else b
                chance = share / (len(self.points[m]) ** 2 * len(self.points[n]))
                near, far = self.output(a) - self.output(other), self.output(a) - self.output(c)
                weight = decay(half(far)) if scheme == "own views" else (xi or self.weight)(m, n)
                slopes = self.rate(a) - self.rate(other), self.rate(a) - self.rate(c)
                total += chance * weight * (slopes[1] * far - (1 + self.beta) * slopes[0] * near)
                if scheme == "attached":
                    # With f = w x every distance is quadratic in w, so dr/dw = 2 r and dxi/dw = -2 r xi^2.
                    r = self.between(m, n)
                    total += chance * 2 * r * weight**2 * ((1 + self.beta) * half(near) - half(far))
        return total

    def weight(self, m: int, n: int) -> fmpq:
        return decay(self.between(m, n))

    def formula(self, form: str = "operator", xi: Any = None) -> fmpq:
        """The step by the formula."""
        count, total = len(self.points), fmpq(0)
        k = [[fmpq(self.rate(x)) for x in row] for row in self.points]
        f = k if form == "operator" else [[fmpq(self.output(x)) for x in row] for row in self.points]
        for m, n in product(range(count), repeat=2):
            apart = (mean(k[m]) - mean(k[n])) * (mean(f[m]) - mean(f[n]))
            within = mean([(a - mean(k[m])) * (b - mean(f[m])) for a, b in zip(k[m], f[m], strict=True)])
            total += (xi or self.weight)(m, n) * (apart - 2 * self.beta * within) / count**2
        return total


QUANTITY = "-dE[L]/dw, V^xi w - 2 beta E[xi V_aug] w"


def scheme(name: str, text: str, _: Context) -> Iterator[Sides]:
    """Another way to draw views or to differentiate."""
    one = Neuron()
    yield Sides(f"{TEXT}, beta = 1, {text}", QUANTITY, one.step(name), one.formula())


def asymmetric(_: Context) -> Iterator[Sides]:
    """Weight 1 for the ordered pair (x_1, x_2), else 0."""
    one = Neuron()

    def xi(m: int, n: int) -> fmpq:
        return fmpq((m, n) == (0, 1))

    yield Sides(
        f"{TEXT.split(', xi')[0]}, xi = 1 for one ordered pair only", QUANTITY, one.step(xi=xi), one.formula(xi=xi)
    )


def squared(form: str, context: Context) -> Iterator[Sides]:
    """``f = (w x)^2``, where K w = 2 f."""
    for shift in range(1 if form == "operator" else context.pick(quick=8, thorough=100)):
        one = Neuron(points=((0, 1), (2, 3 + shift)), power=2)
        text = f"f = (w x)^2, w = 1, points {{0, 1}} and {{2, {3 + shift}}}, xi = 1/(1 + r)"
        yield Sides(text, f"-dE[L]/dw, {form} form", one.step(), one.formula(form))


def negative_strength(context: Context) -> Iterator[Sides]:
    """beta below 0."""
    for eighth in range(1, context.pick(quick=9, thorough=100)):
        one = Neuron(beta=fmpq(-eighth, 4))
        yield Sides(f"{TEXT}, beta = {-eighth}/4", QUANTITY, one.step(), one.formula())


def falling(text: str, points: Views, beta: fmpq, xi: Callable[[int, int], fmpq], _: Context) -> Iterator[Sides]:
    """The rate of w^2 of one linear neuron, by the chain rule."""
    rate = 2 * Neuron(points=points, beta=beta).step(xi=xi)
    yield Sides(f"f = w x, w = 1, {text}", "d w^2/dt, 0", rate, fmpq(0), relation=">=")


def opposite(m: int, n: int) -> fmpq:
    """Weight 1 of a point with itself, -1 of two points."""
    return fmpq(1 if m == n else -1)


DROPS = (
    Assumption("the pair weights are held fixed", "the gradient flows through them too",
               partial(scheme, "attached", "the gradient flows through xi")),
    Assumption("xi(x, x') = xi(x', x)", "one ordered pair of points has weight 1", asymmetric),
    Assumption("xi depends on the points only, or on further views", "xi of the two views of the gradient",
               partial(scheme, "own views", "xi between x_1 and x_-")),
    Assumption("x_1 and x_+ are independent augmentations of x", "x_+ = x_1",
               partial(scheme, "one augmentation", "x_+ = x_1")),
    Assumption("x' has the law of x", "x' always the first point", partial(scheme, "other law", "x' always {0, 2}")),
    Assumption("a homogeneous network, for the operator form", "f = (w x)^2", partial(squared, "operator")),
    Assumption("a homogeneous network, for the general form", "f = (w x)^2", partial(squared, "general"), False),
    Assumption("beta >= 0", "beta < 0", negative_strength, False),
    Assumption("xi >= 0, for the growth of the norms", "xi = [[1, -1], [-1, 1]]",
               partial(falling, "points {-1} and {1}, xi = [[1, -1], [-1, 1]], beta = -1/2", ((-1,), (1,)),
                       fmpq(-1, 2), opposite)),
    Assumption("beta <= 0, for the growth of the norms", "beta = 3",
               partial(falling, "points {0, 2} and {4, 10}, xi = 1, beta = 3", PLAIN, fmpq(3), lambda *_: fmpq(1))),
)  # fmt: skip


# Further evidence: the operator of `numeric`.


@abstaining
def measure_operator(instance: CovarianceInstance, device: str = "cpu") -> Measurement:
    """Automatic differentiation against the operator of `numeric`."""
    arguments = (instance.points, instance.point_weights, instance.augmentation_weights)
    population = numeric.FinitePopulation(*tensors(arguments, device))
    weights = tensors(instance.weights, device)
    means = population.mean(numeric.forward(weights, population.flat_points, instance.slope))
    spec = numeric.loss_spec("triplet", tau=instance.tau, margin=instance.margin)
    xi = numeric.pair_weight(spec, (0.5 * (means[:, None] - means).square().sum(-1)).unsqueeze(-1)).squeeze(-1)
    found, _ = float_expected(instance, "covariance", device)
    sides = numeric.covariance_loss_update(weights, population, xi, instance.beta, instance.slope)
    worst = Measurement(0.0, 0.0)
    for layer, (gradient, side) in enumerate(zip(found, sides, strict=True), start=1):
        worst = worse_than_side(worst, gradient, side.cpu().numpy(), f"layer {layer}")
    return worst


def operator(context: Context) -> Evidence:
    """`numeric`'s operator on random instances."""
    count = context.pick(quick=12, thorough=200)
    return tally(
        "float", "numeric", toy(context.seed + 1, count, points=4, layers=3, width=4),
        partial(measure_operator, device=context.device), at_least=count // 2,
        detail="autograd of the literal sum = the operator of numeric, beta of both signs",
    )  # fmt: skip


STATEMENT = pack_statement(
    PACK,
    title="covariance loss: a step without a residue",
    source="arXiv 2010.00578, Theorem 4; the loss that its published code for images calls exact_cov",
    not_covered=(
        "training with it (numeric.studies.images does)",
        "weights of the differentiated views, as the published code takes them: a mutant here",
        "batches in which no image is paired with itself: the weight of a point with itself is then 0, as it may be",
    ),
    relation=PaperRelation(
        "own form",
        "the paper's operator with a residue becomes exact: the loss is chosen so that none is left, at any strength "
        "beta of the within-pair term, of either sign",
        "the formula is proved here; the published code for images was read, the printed wording is not at hand",
        "low",
    ),
    instance_type=CovarianceInstance,
    drawn=toy,
    stages=STAGES,
    variants=VARIANTS,
    drops=DROPS,
    checks=(Check("float", "numeric", operator),),
    examples=8,
)
