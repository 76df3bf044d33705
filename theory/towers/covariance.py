"""Statement 3 (covariance-operator): Theorem 3 of arXiv 2010.00578 by the algebra of expectations.

``-E[grad_W L_simp] = 2 V_x[Kbar] vec W`` (shared), ``V_x[Kbar] vec W`` (one-branch), and the general form
``2 Cov_x[Kbar, fbar]``, which needs no homogeneity. An assumption can be dropped: the same algebra then shows
a residual that is not zero.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from sympy import MatAdd, MatMul, ZeroMatrix

from theory.core.claim import Claim, equation
from theory.core.derivation import Derivation, Step, stated
from theory.core.expectation import CONSTANT, Law, Letter, Moment, expect, letter
from theory.towers.dual_gradient import convention_step, homogeneity_steps, side
from theory.towers.moment_steps import (
    COVARIANCE,
    GRADIENT_SIMPLE,
    SIZE,
    V_PLAIN,
    WEIGHT,
    factored,
    moment_step,
    pair_factors,
    plain_pair,
    read_as,
    shown,
    with_homogeneity,
)

DROPS: Mapping[str, str] = MappingProxyType(
    {
        "independent-augmentations": "x_1 and x_+ are independent given x",
        "augmented-anchor": "x_1 is an augmentation of x, of the same law as x_+",
        "independent-points": "x' is independent of x",
        "same-law": "x' has the law of x",
        "homogeneity": "f_L = K_l^T vec W_l (no biases, piecewise-linear homogeneous activation)",
    }
)
"""Assumptions that can be dropped, and what they say."""
MEANS = {"K": "Kbar", "f": "fbar"}


def law_without(drop: str | None) -> Law:
    """The sampling law, one assumption switched off."""
    return Law(
        means=MEANS,
        dependent_copies=frozenset({"1", "2"} if drop == "independent-augmentations" else ()),
        dependent_points=frozenset({"x", "x'"} if drop == "independent-points" else ()),
        other_law=frozenset({"x'"} if drop == "same-law" else ()),
    )


def derive_covariance(convention: str = "shared", form: str = "operator", drop: str | None = None) -> Derivation:
    """Derive statement 3, or what is left of it with an assumption dropped."""
    law = law_without(drop)
    factor = 2 if convention == "shared" else 1
    update = _update(convention, drop)
    rule: Callable[[Moment], Moment] = Moment.itself
    covariance, operator = (_covariance(name) for name in ("fbar", "Kbar"))
    end = covariance.scaled(factor)
    steps = [convention_step(convention), *_rule_steps(law, drop), _collect(update, end, law, convention, drop)]
    if form == "operator":
        if drop != "homogeneity":
            rule = with_homogeneity
            steps += homogeneity_steps(side("1"))
        end = (operator * Moment.of(Letter(CONSTANT))).scaled(factor)
        steps.append(_homogeneity(covariance.scaled(factor), end, law, rule))
    read = read_as({GRADIENT_SIMPLE: update.scaled(-1), COVARIANCE: covariance, V_PLAIN: operator}, law, rule)
    residue = expect(rule(update - end), law)
    residual = shown(residue) if residue.terms else ZeroMatrix(SIZE, 1)
    target = factor * (MatMul(V_PLAIN, WEIGHT) if form == "operator" else COVARIANCE)
    relation = equation(-GRADIENT_SIMPLE, target)
    name = "variance V_x" if form == "operator" else "covariance Cov_x"
    steps.append(stated(relation, f"definition of the {name}", read))
    kept = tuple(text for name, text in DROPS.items() if name != drop and (form == "operator" or name != "homogeneity"))
    right = "V_x[Kbar] vec W" if form == "operator" else "Cov_x[Kbar, fbar]"
    text = f"-E[grad L_simp] = {'2 ' if factor == 2 else ''}{right}"
    text += f" ({convention})" + (f", without: {DROPS[drop]}" if drop else "")
    return Derivation("covariance-operator", Claim(text, (relation,), kept, convention), tuple(steps), residual, read)


def _covariance(second: str) -> Moment:
    """``Cov_x[Kbar, fbar]``, or ``V_x[Kbar]``, with y independent of x."""
    here, there = letter(second, "x"), letter(second, "y")
    if second == "Kbar":
        here, there = here.transposed(), there.transposed()
    return letter("Kbar", "x") * here - letter("Kbar", "x") * there


def _update(convention: str, drop: str | None) -> Moment:
    """``-grad L_simp`` for one draw of x_1, x_+, x_-: from statement 1."""
    anchor = _anchor(drop)
    return plain_pair(anchor, ("x'", "1"), convention) - plain_pair(anchor, ("x", "2"), convention)


def _rule_steps(law: Law, drop: str | None) -> list[Step]:
    """The three rules one by one, on the words that occur."""
    name = ("K0", "f0", "") if drop == "augmented-anchor" else ("K", "f", "1")
    anchor, anchor_out = letter(name[0], "x", name[2]), letter(name[1], "x", name[2])
    positive, positive_out = letter("K", "x", "2"), letter("f", "x", "2")
    negative, negative_out = letter("K", "x'", "1"), letter("f", "x'", "1")
    mean, mean_out = letter("Kbar", "x"), letter("fbar", "x")
    same = "identically distributed: x_1, x_+ and x_- have one law"
    tower = "tower rule: given x the augmentations are independent, E[K(x_1) f(x_+) | x] = Kbar(x) fbar(x)"
    apart = "independence of x and x', then the tower rule for each of them"
    other = letter("Kbar", "x") * letter("fbar", "y")
    return [
        moment_step(anchor * anchor_out, positive * positive_out, law, same),
        moment_step(anchor * anchor_out, negative * negative_out, law, same),
        moment_step(anchor * positive_out, mean * mean_out, law, tower),
        moment_step(positive * anchor_out, mean * mean_out, law, tower),
        moment_step(anchor * negative_out, other, law, apart),
        moment_step(negative * anchor_out, other, law, apart),
    ]


def _collect(update: Moment, claim: Moment, law: Law, convention: str, drop: str | None) -> Step:
    """Statement 1 for both pairs, expanded, and the words put together."""
    why = "statement 1 through x_1 only, expanded: K(x_1) f(x_1) cancels"
    if convention == "shared":
        why = "statement 1 for r_- and r_+, expanded: the words K f of one copy cancel, the others pair up"
    far = factored(1, *pair_factors(_anchor(drop), ("x'", "1"), convention))
    near = factored(1, *pair_factors(_anchor(drop), ("x", "2"), convention))
    return moment_step(update, claim, law, why, (MatAdd(far, MatMul(-1, near)), None))


def _anchor(drop: str | None) -> tuple[str, str]:
    """Point and copy of x_1."""
    return ("x", "") if drop == "augmented-anchor" else ("x", "1")


def _homogeneity(covariance: Moment, operator: Moment, law: Law, rule: Callable[[Moment], Moment]) -> Step:
    why = "homogeneity (statement 1): f_L = K_l^T vec W_l, so fbar = Kbar^T vec W"
    return moment_step(covariance, operator, law, why, rule=rule)
