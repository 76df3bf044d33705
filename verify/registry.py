"""The list of statements as plain data.

Modules are named by strings and imported on demand: `python -m verify.theorem1` would otherwise load that module twice,
and the command line would load torch before it needs it.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hltm.base.errors import InputError

if TYPE_CHECKING:
    from verify.engine.statement import Statement


LAST_THEOREM = 4
"""Statements 1 to 4 have the numbers of the paper's theorems; later ones are numbered in order of appearance."""


def heading(number: int | None) -> str:
    """The name of a statement in displays: *Theorem* only where the number is the paper's."""
    if number is None:
        return "Statement"
    return f"{'Theorem' if number <= LAST_THEOREM else 'Statement'} {number}"


@dataclass(frozen=True)
class Entry:
    """A statement's slug, number, title, and the module that holds it."""

    slug: str
    theorem: int | None
    title: str
    module: str

    @property
    def heading(self) -> str:
        """Theorem 1 to 4, Statement 5 to 7."""
        return heading(self.theorem)

    def load(self) -> Statement:
        statement: Statement = importlib.import_module(self.module).STATEMENT
        return statement


REGISTRY: tuple[Entry, ...] = (
    Entry("dual-gradient", 1, "gradient of the squared distance of two towers", "verify.theorem1"),
    Entry("contrastive-losses", 2, "common property of contrastive losses", "verify.theorem2"),
    Entry("covariance-operator", 3, "simple loss: the covariance operator", "verify.theorem3"),
    Entry("weighted-covariance-operator", 4, "soft triplet and InfoNCE: weighted operator", "verify.theorem4"),
    Entry("two-layer-dynamics", 5, "dynamics with one hidden layer", "verify.theorem5"),
    Entry("activation-covariance", 6, "hierarchical latent tree model", "verify.theorem6"),
    Entry("lucky-nodes", 7, "over-parametrised initialisation", "verify.theorem7"),
)


PACKS: tuple[Entry, ...] = (
    Entry("byol-update", None, "BYOL: predictor, target and zero mean", "verify.packs.byol"),
    Entry("residue-order-two", None, "the residue of the weighted operator at second order", "verify.packs.residue"),
    Entry("linear-byol", None, "linear BYOL: flow, balance, modes and collapse", "verify.packs.linear_byol"),
    Entry("alpha-trace", None, "contrastive losses as a weighted trace", "verify.packs.alpha_trace"),
    Entry("spectral-loss", None, "spectral contrastive loss: a factorised graph", "verify.packs.spectral"),
    Entry("stepwise-barlow", None, "Barlow Twins: eigenvectors learned in steps", "verify.packs.stepwise"),
    Entry("covariance-loss", None, "covariance loss: a step without a residue", "verify.packs.covariance_loss"),
    Entry("infonce-limits", None, "InfoNCE: many negatives, minimum and information", "verify.packs.infonce_limits"),
    Entry("collapse-hessian", None, "Hessian at collapse of a linear layer", "verify.packs.collapse"),
    Entry("function-space", None, "flow of the outputs by the tangent kernel", "verify.packs.function_space"),
    Entry("whitening", None, "whitened invariance: canonical correlations of two views", "verify.packs.whitening"),
    Entry("linear-simclr", None, "linear SimCLR: the flow W X and dimensional collapse", "verify.packs.linear_simclr"),
    Entry("jepa-mae", None, "JEPA and MAE in deep linear networks", "verify.packs.jepa_mae"),
    Entry("eigenvector-growth", None, "growth along the top eigenvector", "verify.packs.eigenvector_growth"),
)
"""Statements of other papers, and of other versions of the paper; none of them is called a theorem."""


OWN_TREE = Entry("tree", None, "four ways on a tree of the user's own", "verify.trees.own_tree")
"""Not run by name: `python -m verify tree FILE` and replays of its counterexamples load it."""


def entry(name: str) -> Entry:
    for candidate in (*REGISTRY, *PACKS):
        numbers = () if candidate.theorem is None else (str(candidate.theorem), f"theorem{candidate.theorem}")
        if name in (candidate.slug, *numbers):
            return candidate
    slugs = [candidate.slug for candidate in (*REGISTRY, *PACKS)]
    near = difflib.get_close_matches(name, slugs, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"statement={name!r}: must be one of {', '.join(slugs)}{hint}")
