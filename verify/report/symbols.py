"""The symbols of the seven statements and what they stand for: one list for reports and for the page of conventions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Symbol:
    """A symbol of the statements.

    Parameters
    ----------
    tex : str
        How it is written, in LaTeX.
    meaning : str
        What it stands for, in plain words.
    statements : tuple of int
        Statements in which it stands; empty: in all of them.
    """

    tex: str
    meaning: str
    statements: tuple[int, ...] = ()


SYMBOLS: tuple[Symbol, ...] = (
    Symbol(r"x,\; x'", "two independent points of the population"),
    Symbol(r"x_1,\; x_+,\; x_{k-}", "augmentations: two of x, and one of the k-th independent point x'", (3, 4, 5)),
    Symbol(r"W_l,\; f_l,\; f_L", "weights and activations of layer l, f_0 = x; f_L is the output, not activated"),
    Symbol(r"J_l", "Jacobian of the output by the pre-activations of layer l, shape (n_L, n_l)", (1, 3, 4, 6)),
    Symbol(r"K_l = f_{l-1} \otimes J_l^{\top}", "connection of layer l, shape (n_l n_{l-1}, n_L)", (1, 3, 4)),
    Symbol(r"\bar K_l(x)", "connection averaged over the augmentations of x", (3, 4)),
    Symbol(r"\mathrm{vec}", "columns of a matrix, stacked", (1, 3, 4)),
    Symbol(r"r", "half the squared distance of two outputs", (1, 2, 3, 4)),
    Symbol(r"r_+,\; r_{k-}", "r of the positive pair, and of the k-th of H negatives", (2, 3, 4)),
    Symbol(
        r"L_{\mathrm{simp}},\; L_{\mathrm{tri}},\; L_{\mathrm{nce}}",
        "simple loss r_+ - r_-, soft triplet loss with margin r_0, InfoNCE; tau is the temperature",
        (2, 3, 4, 5),
    ),
    Symbol(r"\mathbb{E},\; \mathbb{E}_{\mathrm{aug}}", "mean over points; over the augmentations of one", (3, 4, 5, 6)),
    Symbol(r"\mathbb{V}_x[A]", "covariance over points, E[A A^T] - E[A] E[A]^T", (3, 6)),
    Symbol(r"\mathbb{V}^{\xi}_{x,x'}[A]", "weighted form, E[xi A A^T] over pairs of points", (4,)),
    Symbol(r"\xi", "pair weight: derivative of the loss by r_+, at r_+ = 0", (4,)),
    Symbol(r"\theta,\; \sigma", "residue of the operator form; spread of the outputs under augmentation", (4,)),
    Symbol(r"w_{1j},\; w_{2j}", "weights into and out of hidden neuron j: row j of W_1, column j of W_2", (5,)),
    Symbol(r"\tilde x_j,\; A_{jk}", "input gated by neuron j; covariance of the mean gated inputs of j and k", (5,)),
    Symbol(r"\dot w", "rate of change under gradient flow", (5,)),
    Symbol(r"z_0,\; z_\mu", "root of the latent tree, which augmentation keeps; latent at node mu", (6, 7)),
    Symbol(r"\mathcal{N}_\mu,\; \mathcal{N}_\mu^{\mathrm{ch}}",
           "neurons at node mu; those at its children, which they read", (6, 7)),
    Symbol(r"\rho_{\mu\nu},\; \rho_{0\mu}",
           "P(z_nu=1|z_mu=1) - P(z_nu=1|z_mu=0), an edge's polarity; product of a path", (6, 7)),
    Symbol(r"\rho_0", "P(z_0=1) - P(z_0=0)", (6,)),
    Symbol(r"s_k", "selectivity of a neuron, half the gap of its means between the states of its latent", (6, 7)),
    Symbol(r"a_\mu = [\rho_{\mu\nu} s_k]_k", "polarity times selectivity, for each neuron of the children", (6, 7)),
    Symbol(r"o_\mu", "strength of the rank-one covariance at node mu", (6,)),
    Symbol(r"g_j,\; m_z,\; v", "gap m_1 - m_0 of neuron j; its mean input given z_mu = z; bound on the variance", (7,)),
    Symbol(r"P_t", "probability that one neuron starts out with a gap of at least t", (7,)),
)  # fmt: skip


def of_statements(numbers: tuple[int, ...]) -> list[dict[str, str]]:
    r"""The symbols of some statements, in order; empty without any statement of the paper.

    Examples
    --------
    >>> [row["tex"] for row in of_statements((2,))][-2:]
    ['r_+,\\; r_{k-}', 'L_{\\mathrm{simp}},\\; L_{\\mathrm{tri}},\\; L_{\\mathrm{nce}}']
    """
    chosen = [one for one in SYMBOLS if numbers and (not one.statements or set(numbers) & set(one.statements))]
    return [{"tex": one.tex, "meaning": one.meaning} for one in chosen]
