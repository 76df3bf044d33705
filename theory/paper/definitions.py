r"""What the symbols of an exported formula mean: a list with the macros that it uses, and no others.

Source: statement 6 (arXiv 2010.00578).
"""

from collections.abc import Sequence

from theory.core.notation import END, PREAMBLE
from theory.latex.names import macros, used_macros
from theory.paper.layout import Row

_STATE = r"z_{0} = i"
DEFINITIONS = {
    "activationcov": (r"{\mu}", "", r"covariance over $z_{0}$ of the mean activations of the neurons that $\mu$ reads"),
    "operatorof": (
        r"{\mu}",
        r"\mathbb{V}_{x}[\bar{K}_{\mu}]",
        r"covariance operator of $\mu$; its connection $K_{\mu} = f_{\mathcal{N}^{\mathrm{ch}}_{\mu}} \otimes "
        r"J_{\mu}^{\top}$ is averaged over the augmentations of $x$",
    ),
    "strength": (
        r"{\mu}",
        r"4 \operatorname{Var}_{z_{0}} \mathbb{P}[z_{\mu} = 1 \mid z_{0}]",
        r"how much the law of $z_{\mu}$ varies with $z_{0}$",
    ),
    "reach": (
        r"{0}{\mu}",
        r"\mathbb{P}[z_{\mu} = 1 \mid z_{0} = 1] - \mathbb{P}[z_{\mu} = 1 \mid z_{0} = 0]",
        r"polarity of the path from the root to $\mu$",
    ),
    "rootpolarity": ("{}", r"\mathbb{P}[z_{0} = 1] - \mathbb{P}[z_{0} = 0]", "polarity of the root"),
    "polarity": (
        r"{\mu}{\nu}",
        r"\mathbb{P}[z_{\nu} = 1 \mid z_{\mu} = 1] - \mathbb{P}[z_{\nu} = 1 \mid z_{\mu} = 0]",
        "polarity of an edge",
    ),
    "offset": (
        r"{\mu}{\nu}",
        r"\mathbb{P}[z_{\nu} = 1 \mid z_{\mu} = 1] + \mathbb{P}[z_{\nu} = 1 \mid z_{\mu} = 0] - 1",
        "offset of an edge, zero for a symmetric table",
    ),
    "gap": (
        r"{\mu}",
        r"\tfrac{1}{2} \bigl(\mathbb{E}[f_{\mathcal{N}^{\mathrm{ch}}_{\mu}} \mid z_{\mu} = 1] - "
        r"\mathbb{E}[f_{\mathcal{N}^{\mathrm{ch}}_{\mu}} \mid z_{\mu} = 0]\bigr)",
        r"half of what the mean activations of the neurons that $\mu$ reads differ by",
    ),
    "selectivity": (
        r"{\nu}",
        r"\tfrac{1}{2} \bigl(\mathbb{E}[f_{\nu} \mid z_{\nu} = 1] - \mathbb{E}[f_{\nu} \mid z_{\nu} = 0]\bigr)",
        r"selectivity of $\nu$, $\tfrac{1}{2}$ for a leaf",
    ),
    "prior": ("{}", rf"\bigl(\mathbb{{P}}[{_STATE}]\bigr)_{{i}}", "law of the root, a column"),
    "rootprior": ("{i}", rf"\mathbb{{P}}[{_STATE}]", "law of the root"),
    "inputmeans": (
        r"{\mu}",
        rf"\bigl(\mathbb{{E}}[f_{{\mathcal{{N}}^{{\mathrm{{ch}}}}_{{\mu}}}} \mid {_STATE}]^{{\top}}\bigr)_{{i}}",
        r"mean activations of the neurons that $\mu$ reads, a row for each state of the root",
    ),
    "childmeans": (
        r"{\mu}",
        r"\bigl(\mathbb{E}[f_{\mathcal{N}^{\mathrm{ch}}_{\mu}} \mid z_{\mu} = i]^{\top}\bigr)_{i}",
        r"mean activations of the neurons that $\mu$ reads, a row for each state of $\mu$",
    ),
    "pathmatrix": (
        r"{0}{\mu}",
        rf"\bigl(\mathbb{{P}}[z_{{\mu}} = j \mid {_STATE}]\bigr)_{{i,j}}",
        r"table of the path from the root to $\mu$",
    ),
    "transitionmatrix": (
        r"{\mu}{\nu}",
        r"\bigl(\mathbb{P}[z_{\nu} = j \mid z_{\mu} = i]\bigr)_{i,j}",
        "table of an edge",
    ),
    "transition": (
        r"{\covopedge{\mu}{\nu}}{ij}",
        r"\mathbb{P}[z_{\nu} = j \mid z_{\mu} = i]",
        "entry of the table of an edge",
    ),
    "means": (
        r"{\nu}",
        r"\bigl(\mathbb{E}[f_{\nu} \mid z_{\nu} = i]\bigr)_{i}",
        r"mean activations of $\nu$, those of a leaf are the numbers of its states",
    ),
    "latentmean": (r"{\nu;i}", r"\mathbb{E}[f_{\nu} \mid z_{\nu} = i]", r"mean activation of $\nu$ in a state"),
    "jacobian": (
        r"{\mu}",
        r"\partial f_{L} / \partial p_{\mu}",
        r"derivative of the outputs by the pre-activations of $\mu$, row $k$ that of output $k$",
    ),
    "connectiongap": (
        r"{\mu}",
        r"\mathbb{E}[K_{\mu} \mid z_{0} = 1] - \mathbb{E}[K_{\mu} \mid z_{0} = 0]",
        r"difference of the mean connections of $\mu$, column $k$ that of output $k$",
    ),
    "connectionmeans": (
        r"{\mu}",
        rf"\bigl(\mathbb{{E}}[K_{{\mu}} \mid {_STATE}]^{{\top}}\bigr)_{{i}}",
        r"mean connections of $\mu$, a row for each state of the root, of output $k$ where $k$ is named",
    ),
    "identity": ("{n}", "", "identity matrix of $n$ rows"),
    "cardinality": (r"{\nu}", "", r"number of states of $\nu$"),
    "children": (r"{\mu}", "", r"children of $\mu$, in their order in the tree"),
    "path": (r"{0}{\mu}", "", r"edges from the root to $\mu$"),
    "leaves": ("{}", "", "leaves of the tree"),
    "weight": ("{w}", "", "weights and gates as they are given"),
}
"""Arguments, meaning and name of what a macro stands for, in the order of the list; letters that run are not in it."""


def symbol_list(rows: Sequence[Row], standalone: bool = False) -> str:
    """The definitions of the symbols in the rows of a formula, as a list, or as a document with the macros."""
    parts = [
        text for row in rows for item in (row.left, *row.items) for text in ((item,) if isinstance(item, str) else item)
    ]
    used = used_macros(" ".join(parts))
    items = []
    for name, (arguments, meaning, words) in DEFINITIONS.items():
        if name in used:
            equal = f" = {meaning}" if meaning else ""
            items.append(rf"\item $\covop{name}{arguments}{equal}$: {words}")
    body = "\\begin{itemize}\n" + "\n".join(items) + "\n\\end{itemize}\n"
    return PREAMBLE.replace("\\begin{document}", macros() + "\\begin{document}") + body + END if standalone else body
