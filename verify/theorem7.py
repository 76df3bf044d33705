r"""Statement 7 [lucky-nodes]: over-parametrised initialisation.

Statement
    Weights of a node iid uniform on ``[-b, b]``, ``b = sigma_w (3/n)^(1/2)``, n = |N_mu^ch|. The pre-activation gap is
    ``g_j = E[p_j|z_mu=1] - E[p_j|z_mu=0] = 2 w_j^T a_mu``, its law that of a weighted sum of uniforms. Existence: with
    ``P_t = P(g_j >= t)`` some neuron of the group has ``g_j >= t`` with probability ``1 - (1 - P_t)^|N_mu|``. Strength:
    with ``m_z = E[p_j|z_mu=z]`` and ``v >= Var(p_j|z_mu=0)``, ReLU gives ``s_j >= B = 1/2 (max(m_1, 0) - 1/2 (m_0 +
    (m_0^2 + v)^(1/2)))``; a slope a below zero gives ``s_j >= a g_j/2 + (1 - a) B``.
Assumptions
    z_mu and its children binary (for the gap; z_mu alone for the bound); no biases; neurons iid at initialisation,
    given the groups below (for the law and existence). The bound needs nothing of the weights. Where the groups below
    are drawn too, P_t is random and existence is rarer than the formula says of its mean: (1 - P)^m is convex.
Evidence
    Symbolic: derivations. Exact: every neuron of enumerated trees, and the law against repeated averaging, residual 0.
    Float: torch networks, 10,000 initialisations. Trained: the bound on every neuron along training, with every false
    bound falling there; growth of the selectivity with the initial gap; correlations with the latents below their
    ceiling (of any function of the leaves, trained or not); a rise of the correlation of the whole group, by a sign
    test over networks with linear outputs, InfoNCE and small initial weights.
Not covered
    Emergence with normalised outputs (groups of a shallow tree fall), on uneven trees, or at large initial weights.
    Amplification is a tendency of small initial weights: where the outputs start far apart (sigma_w = 1), training
    shrinks the largest selectivities, though their order is kept.
Source
    arXiv 2010.00578, the section on over-parametrisation; form and proofs are this project's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import hltm
import theory
from verify.engine import kernel
from verify.engine.assumptions import names
from verify.engine.claims import Claimed
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.runner import proof_evidence
from verify.engine.search import property_evidence
from verify.engine.statement import Check, Context, PaperRelation, Statement
from verify.figures.data import FigureData
from verify.instances.instance import TreeInstance
from verify.strategies import tree_instances
from verify.tolerance.statistics import POWER, allowed, dkw_detected
from verify.training.figures import lucky as lucky_figures
from verify.training.lucky import (
    Plan,
    Training,
    amplified,
    below_ceiling,
    bound_along_training,
    coefficient_lists,
    emergence,
    measure_trained,
    trained_networks,
    training_trees,
)
from verify.trees import lucky_floats, relations, samples
from verify.trees.agreement import enumeration
from verify.trees.assumptions import LUCKY_ASSUMPTIONS
from verify.trees.lucky import (
    VARIANTS,
    Sizes,
    applies_to,
    averaged,
    distance,
    fraction,
    measure_exact,
    neurons,
    rational,
    stated_bound,
)
from verify.trees.lucky_floats import measure_float, measure_start, starts

SLUG = "lucky-nodes"
KINDS = ("symmetric", "general", "extreme")


def by_float(context: Context) -> Callable[[TreeInstance], Measurement]:
    """`measure_float` of the statement in a context."""
    return partial(measure_float, device=context.device, seed=context.seed)


def symbolic(context: Context) -> Evidence:
    """Derivations: strength for ReLU and leaky slopes, gap, existence, law."""
    return proof_evidence(SLUG, [{"claim": claim} for claim in ("strength", "leaky", "gap", "existence", "law")])


def exact(context: Context) -> Evidence:
    """The whole claim on enumerated trees."""
    each = context.pick(quick=12, thorough=150)
    return tally(
        "exact", "tree", samples.of_kinds(context.seed, each, KINDS), measure_exact,
        at_least=3 * each, detail="gap, bound of every neuron, law and existence = enumeration in rationals",
    )  # fmt: skip


def measure_derived(instance: TreeInstance) -> Measurement:
    """The bound of `theory`, evaluated exactly on every neuron, against the one that is decided here."""
    import sympy

    moments, worst, built = enumeration(instance), Measurement(0.0, 0.0), False
    for node in instance.tree.latents:
        if not applies_to(instance.tree, node):
            continue
        for neuron in neurons(moments, node):
            m = neuron.moments
            argument = [fraction(value) for value in (m.m_0, m.m_1, m.v_0, m.slope)]
            line, factor, radicand = (sympy.Rational(int(v.p), int(v.q)) for v in stated_bound(m))
            difference = sympy.expand(theory.selectivity_bound(*argument) - (line - factor * sympy.sqrt(radicand)))
            built = True
            if difference != 0:
                worst = Measurement(
                    max(abs(float(difference)), 5e-324), 0.0, detail=f"neuron {neuron.index} at {node!r}"
                )
    return replace(worst, decided=built)


def derived(context: Context) -> Evidence:
    """The bound of `theory` against the one that is decided by squaring."""
    each = context.pick(quick=6, thorough=40)
    return tally(
        "exact", "tree, derived", samples.of_kinds(context.seed + 1, each, KINDS), measure_derived,
        at_least=3 * each, detail="the bound of theory = the bound that is decided by squaring",
    )  # fmt: skip


def measure_law(sizes: Sizes) -> Measurement:
    """Survival function and density of `theory` against averaging over one uniform after another."""
    law = theory.gap_law(sizes)
    knots, pieces = averaged(sizes)
    worst = Measurement(0.0, 0.0)
    for n in range(-13, 14):
        x = Fraction(n, 12) * 2 * sum(sizes)
        result, slope = law.survival(x), law.density(x)
        at = rational(x)
        piece = pieces[sum(knot <= at for knot in knots)]
        wanted = [fraction(value) for value in (piece(at), -piece.derivative()(at))]
        # A single uniform has jumps in its density, where the two sides may take either limit.
        pairs = zip((result, slope), wanted, strict=True) if len(sizes) > 1 else [(result, wanted[0])]
        for ours, theirs in pairs:
            gap = distance(Fraction(int(ours.p), int(ours.q)) - theirs)
            worst = Measurement(gap, 0.0, detail=f"at {x} of {sizes}") if gap > worst.residual else worst
    return worst


def laws(context: Context) -> Evidence:
    """The signed-power formula against repeated averaging."""
    count, most = context.pick(quick=18, thorough=160), context.pick(quick=6, thorough=8)
    return tally(
        "exact", "law of the gap", coefficient_lists(context.seed, count, most), measure_law,
        at_least=count, detail="law and density of theory = piecewise polynomials averaged in rationals",
    )  # fmt: skip


def floats(context: Context) -> Evidence:
    """The whole claim by torch."""
    each, rate = context.pick(quick=8, thorough=80), allowed("drawn weights", lucky_floats.COMPARISONS)
    effect = f"a distribution function that is {dkw_detected(lucky_floats.MEMBERS, rate):.3f} off"
    result = tally(
        "float", "tree", samples.of_kinds(context.seed + 2, each, KINDS), by_float(context), at_least=3 * each // 2,
        detail="gap and bound = torch; law and existence within the error of 10,000 networks, "
        f"refutes {effect} with probability {POWER}",
    )  # fmt: skip
    return replace(result, effect=effect)


def initialisations(context: Context) -> Evidence:
    """Law, existence and numbers needed against 10,000 initialisations of torch networks."""
    cases = starts()
    effect = f"a distribution function that is {dkw_detected(lucky_floats.MEMBERS, lucky_floats.false_alarm()):.3f} off"
    result = tally(
        "float", "initialisation", cases,
        partial(measure_start, seed=context.seed, device=context.device), at_least=len(cases),
        detail=f"law and existence within the error of {lucky_floats.MEMBERS} initialisations, "
        f"refutes {effect} with probability {POWER}",
    )  # fmt: skip
    return replace(result, effect=effect)


STAGES = tuple(partial(tree_instances, nodes, categorical=False) for nodes in (4, 6))


def properties(context: Context) -> Evidence:
    """Hypothesis search for a counterexample among trees, in rationals and in floating point."""
    return property_evidence(
        {"exact": measure_exact, "float": by_float(context)},
        STAGES,
        examples=context.pick(quick=60, thorough=1000),
        seed=context.seed,
        part=context.part,
        among="trees that shrink to a single edge",
    )


def plan(context: Context) -> Plan:
    """Sizes of the training in a profile."""
    return Plan(
        ensemble=context.pick(quick=24, thorough=64), steps=context.pick(quick=200, thorough=400), seed=context.seed
    )


def training(tree: str, context: Context) -> Training:
    """Networks of the profile along training, on one of the training trees."""
    return trained_networks(training_trees()[tree], plan(context), context.device)


def along_training(tree: str, context: Context) -> Evidence:
    """The bound on every neuron at initialisation and at 20 recorded steps or more, and false bounds that fall."""
    return bound_along_training(training(tree, context), f"bound, {tree}")


def amplification(context: Context) -> Evidence:
    """Lucky neurons are amplified."""
    return amplified(training("two groups", context), "amplification")


def complete(context: Context) -> dict[int, Training]:
    """Networks along training on a complete tree, by width; as many as the sign test needs."""
    tree = hltm.complete_tree(depth=2, branching=2, polarity=0.75)
    widths = (2, 10) if context.profile == "quick" else (2, 5, 10, 20)
    own = replace(plan(context), ensemble=64, steps=context.pick(quick=120, thorough=400), record_every=6)
    return {w: trained_networks(tree, replace(own, width=w), context.device) for w in widths}


def ceiling(context: Context) -> Evidence:
    """Correlations with the latents along training, by width, below their ceiling."""
    return below_ceiling(complete(context), "ceiling")


def emerging(context: Context) -> Evidence:
    """Correlations of whole groups with their latents rise, at widths from 5 on: at width 2 many subtrees are dead."""
    return emergence({width: one for width, one in complete(context).items() if width >= 5}, "emergence")


def figures(context: Context) -> Sequence[FigureData]:
    """The networks of the evidence on amplification, neuron by neuron."""
    return lucky_figures(training("two groups", context), plan(context), context)


CLAIMED = Claimed(SLUG, lambda: [{"claim": claim} for claim in ("gap", "existence", "strength")])
STATEMENT = Statement(
    slug=SLUG,
    theorem=7,
    title="over-parametrised initialisation: lucky neurons",
    stated=CLAIMED,
    assumptions=names(LUCKY_ASSUMPTIONS),
    not_covered=(
        "emergence with normalised outputs, where groups of a shallow tree fall",
        "emergence on trees with uneven tables",
        "emergence and amplification at large initial weights, where selectivities shrink",
    ),
    source="arXiv 2010.00578, the section on over-parametrisation",
    relation_to_paper=PaperRelation(
        "own form",
        "exact law of the gap, existence, and a lower bound of the selectivity in place of the paper's statement",
        "the derivations, which are this project's; the paper's wording and number are not known",
        "high",
    ),
    checks=(
        Check("symbolic", "proof", symbolic),
        Check("kernel", "theorem", partial(kernel.theorems, SLUG)),
        Check("kernel", "identities", partial(kernel.identities, SLUG)),
        Check("exact", "tree", exact),
        Check("exact", "tree, derived", derived),
        Check("exact", "law of the gap", laws),
        Check("exact", "claim", partial(relations.gaps, "rational")),
        Check("float", "claim", partial(relations.gaps, "float64")),
        Check("float", "tree", floats),
        Check("float", "initialisation", initialisations),
        Check("property", "search", properties),
        Check("trained", "bound, two groups", partial(along_training, "two groups")),
        Check("trained", "bound, two levels", partial(along_training, "two levels")),
        Check("trained", "amplification", amplification),
        Check("trained", "ceiling", ceiling),
        Check("trained", "emergence", emerging),
    ),
    stages=STAGES,
    measures={"exact": measure_exact, "float": measure_float, "trained": measure_trained},
    instance_type=TreeInstance,
    variants=VARIANTS,
    drops=LUCKY_ASSUMPTIONS,
    figures=figures,
)

if __name__ == "__main__":
    from verify.cli import run_statement

    run_statement(SLUG)
