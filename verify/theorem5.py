r"""Statement 5 [two-layer-dynamics]: one hidden layer.

Statement
    ``f = W_2 psi(W_1 x)``, gated inputs ``x~_j = psi'(w_1j^T x) x``, ``A_jk = Cov_x(E_aug x~_j, E_aug x~_k)``. With the
    simple loss, one-branch (the shared update is twice that),
    ``d w_1j = sum_k (w_2j^T w_2k) A_jk w_1k``, ``d W_2 = W_2 Cov_x[E_aug f_1]``; where A_jk = 0 for j != k,
    ``d w_1j = ||w_2j||^2 A_jj w_1j`` and ``d w_2j = (w_1j^T A_jj w_1j) w_2j``. The flow of every loss conserves
    ``||w_1j||^2 - ||w_2j||^2``. Linear neurons cannot separate two objects whose augmentation means coincide, ReLU
    neurons can: 11 and 101 on a ring.
Assumptions
    As in statement 3, and one hidden layer. Neurons that read disjoint inputs have A_jk = 0 if the gated mean of what a
    neuron does not read does not vary with the object (mean 0 given object and gate suffices) and the gated means of
    what they read are uncorrelated over the objects. Conservation needs homogeneous neurons only, the loss may be any
    function of the outputs. That linear neurons stay where they are is claimed of the simple loss.
Evidence
    Symbolic: derivations for all sizes, and written out at given widths. Exact: central differences of the expected
    loss in rationals, residual 0; other losses in balls. Float: automatic differentiation. Trained: at every checkpoint
    of gradient descent on the exact expected loss; the drift of the conserved quantity, step by step and as an order.
Not covered
    Minibatch noise along training; ReLU networks on the ring whose gates make them linear there.
Source
    arXiv 2010.00578, the section on two-layer networks; the coupling of neurons, the drift and the population that
    decouples for good go beyond the paper.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from verify.engine import kernel
from verify.engine.assumptions import names
from verify.engine.claims import Claimed
from verify.engine.evidence import Evidence, Measurement, tally
from verify.engine.runner import proof_evidence
from verify.engine.search import searched
from verify.engine.statement import Check, Context, PaperRelation, Statement
from verify.strategies import LOSSES
from verify.training.towers import CHECKPOINTS, along, descend, drift_order, horizon
from verify.two_layer import figures, measures, relations, samples
from verify.two_layer.assumptions import ASSUMPTIONS
from verify.two_layer.formulas import VARIANTS
from verify.two_layer.measures import measure_exact, measure_float, measure_trained
from verify.two_layer.samples import TwoLayerInstance

SLUG = "two-layer-dynamics"


def symbolic(context: Context) -> Evidence:
    """Every claim for all sizes, and the block form written out."""
    options: list[dict[str, Any]] = [{"claim": claim} for claim in ("block", "decoupled", "conserved", "ring")]
    widths = [(2, 2, 1), *([(2, 2, 2), (1, 3, 1)] if context.profile == "thorough" else [])]
    return proof_evidence(SLUG, options + [{"widths": shape} for shape in widths])


def exact(context: Context) -> Evidence:
    """Random rational populations: block form and conservation with residual zero; other losses in balls."""
    count = context.pick(quick=18, thorough=300)
    return tally(
        "exact", "toy", samples.toys(context.seed, count), measure_exact,
        at_least=count, detail="central differences of E[L] in rationals = block form, conservation exactly 0",
    )  # fmt: skip


def exact_decoupled(context: Context) -> Evidence:
    """Populations that decouple: A_jk = 0, kept by the update, and the decoupled form."""
    count = context.pick(quick=6, thorough=60)
    return tally(
        "exact", "signs", samples.decoupling(context.seed, count), measures.measure_decoupled_exact,
        at_least=count, detail="A_jk = 0 for j != k, A_jj w_1j in the block of neuron j, decoupled form; in rationals",
    )  # fmt: skip


def exact_rings(context: Context) -> Evidence:
    """11 and 101: the update of linear neurons is exactly 0."""
    sizes = tuple(range(4, context.pick(quick=6, thorough=9) + 1))
    return tally(
        "exact", "ring, linear", samples.rings(context.seed, sizes, 1.0, hidden=2),
        measures.measure_still, at_least=len(sizes), detail="linear neurons on 11 and 101: update exactly 0",
    )  # fmt: skip


def exact_detectors(context: Context) -> Evidence:
    """11 and 101: the mean outputs of a ReLU neuron e_1 - e_2 are apart, and a step takes them further."""
    sizes = tuple(range(4, context.pick(quick=6, thorough=9) + 1))
    return tally(
        "exact", "ring, ReLU", samples.detectors(sizes),
        measures.measure_detector, at_least=len(sizes), detail="ReLU neuron e_1 - e_2: gap exactly above 0, growing",
    )  # fmt: skip


def floats(source: str, context: Context) -> Evidence:
    """Automatic differentiation in float64 on toys, tree populations and digits, all losses."""
    count = {"toy": context.pick(quick=40, thorough=600), "tree": 6, "digits": 3}[source]
    drawn = (
        samples.toys(context.seed + 1, count, points=5, width=6)
        if source == "toy"
        else samples.populations(source, context.seed + 1, count)
    )
    return tally(
        "float", source, drawn, lambda i: measure_float(i, device=context.device),
        at_least=-(-count // 2), detail="autograd of the literal sum = block form; conservation for every loss",
    )  # fmt: skip


def trained(source: str, context: Context) -> Evidence:
    """Along gradient descent: block form and conservation at every checkpoint, the drift of every step."""
    count = context.pick(quick=6, thorough=60) if source == "toy" else context.pick(quick=3, thorough=24)
    drawn = {
        "toy": lambda: samples.smooth(context.seed + 2, count),
        "tree": lambda: samples.populations("tree", context.seed + 2, count, leaves=2),
    }[source]()
    return tally(
        "trained", source, drawn, lambda i: measure_trained(i, device=context.device),
        at_least=-(-count // 2), detail=f"block form, conservation, drift of each step; {CHECKPOINTS + 1} checkpoints",
    )  # fmt: skip


def relative(context: Context) -> Evidence:
    """The block form along gradient descent, in units of the update: 1e-10."""
    count = context.pick(quick=4, thorough=30)
    return tally(
        "trained", "toy, relative", samples.smooth(context.seed + 3, count, ("simple",)),
        lambda i: along_training(i, partial(measures.measure_relative, device=context.device), context.device),
        at_least=count // 2, detail=f"block form relative to the update at {CHECKPOINTS + 1} checkpoints",
    )  # fmt: skip


def along_training(instance: TwoLayerInstance, measure: Any, device: str) -> Measurement:
    """A measurement at the checkpoints of a run over the instance's horizon."""
    return along(instance, measure, descend(instance, horizon(instance, device), CHECKPOINTS, device))


def trained_decoupled(context: Context) -> Evidence:
    """The decoupled form along gradient descent, on populations where A_jk = 0 goes on holding."""
    count = context.pick(quick=4, thorough=40)
    return tally(
        "trained", "signs", samples.decoupling(context.seed + 4, count),
        lambda i: along_training(i, partial(measures.measure_decoupled, device=context.device), context.device),
        at_least=count // 2,
        detail=f"decoupled form at {CHECKPOINTS + 1} checkpoints; each neuron reads a block of signs of its own",
    )  # fmt: skip


def drift(loss: str, context: Context) -> Evidence:
    """The conserved quantity drifts at first order in the learning rate over fixed time."""
    wanted = context.pick(quick=6, thorough=24)
    drawn = samples.smooth(context.seed + 5, 20 * wanted, (loss,))
    return drift_order(drawn, 1, source=f"toy, {loss}", wanted=wanted, device=context.device)


def trained_linear(context: Context) -> Evidence:
    """Linear neurons on the ring stay where they are (simple loss), and never part the means (every loss)."""
    sizes = tuple(range(5, context.pick(quick=5, thorough=10) + 1))
    return tally(
        "trained", "ring, linear", samples.rings(context.seed + 6, sizes, 1.0, LOSSES),
        lambda i: measures.measure_linear(i, context.device), at_least=2 * len(sizes),
        detail="weights within rounding of the start (simple loss), mean outputs within rounding of each other (all)",
    )  # fmt: skip


def trained_relu(context: Context) -> Evidence:
    """ReLU neurons on the ring, from the same weights and at the same learning rates, separate the objects."""
    sizes = tuple(range(4, context.pick(quick=7, thorough=12) + 1))
    return tally(
        "trained", "ring, ReLU", samples.rings(context.seed + 6, sizes, 0.0),
        lambda i: measures.measure_relu(i, context.device), at_least=len(sizes),
        detail="the distance of the mean outputs of 11 and 101 grows tenfold, at each record on the way",
    )  # fmt: skip


STAGES = tuple(
    partial(samples.instances, *size) for size in (((1, 2, 1), 1), ((2, 2, 1), 1), ((3, 3, 3), 2), ((6, 6, 6), 2))
)
properties = searched(
    measure_exact,
    measure_float,
    STAGES,
    quick=30,
    thorough=1500,
    among="shrinking networks of one hidden layer, populations and losses",
)


CLAIMED = Claimed(SLUG, lambda: [{"claim": claim} for claim in ("block", "conserved")])
STATEMENT = Statement(
    slug=SLUG,
    theorem=5,
    title="dynamics with one hidden layer",
    stated=CLAIMED,
    assumptions=names(ASSUMPTIONS),
    not_covered=("minibatch noise along training", "ReLU networks whose gates make them linear on the ring"),
    source="arXiv 2010.00578, the section on two-layer networks",
    relation_to_paper=PaperRelation(
        "sharpened",
        "coupled neurons, the condition that decouples them and the conserved quantity are added to the decoupled form",
        "the project's notes, written without the paper's text; the paper's number of it is not known",
        "low",
    ),
    checks=(
        Check("symbolic", "proof", symbolic),
        Check("kernel", "theorem", partial(kernel.theorems, SLUG)),
        Check("kernel", "identities", partial(kernel.identities, SLUG)),
        Check("exact", "toy", exact),
        Check("exact", "signs", exact_decoupled),
        Check("exact", "ring, linear", exact_rings),
        Check("exact", "ring, ReLU", exact_detectors),
        Check("exact", "claim", partial(relations.block, "rational")),
        Check("exact", "claim, signs", partial(relations.decoupled, "rational")),
        Check("float", "claim", partial(relations.block, "float64")),
        Check("float", "claim, signs", partial(relations.decoupled, "float64")),
        *(Check("float", source, partial(floats, source)) for source in ("toy", "tree", "digits")),
        Check("property", "search", properties),
        *(Check("trained", source, partial(trained, source)) for source in ("toy", "tree")),
        Check("trained", "toy, relative", relative),
        Check("trained", "signs", trained_decoupled),
        *(Check("trained", f"toy, {loss}", partial(drift, loss)) for loss in LOSSES),
        Check("trained", "ring, linear", trained_linear),
        Check("trained", "ring, ReLU", trained_relu),
    ),
    stages=STAGES,
    measures={"exact": measure_exact, "float": measure_float, "trained": measure_trained},
    instance_type=TwoLayerInstance,
    variants=VARIANTS,
    drops=ASSUMPTIONS,
    figures=figures.rings,
)

if __name__ == "__main__":
    from verify.cli import run_statement

    run_statement(SLUG)
