r"""The macros of the paper's notation that exported formulas use: one ``\newcommand`` each, prefix ``covop``.

Source: the notation of statement 6 (arXiv 2010.00578).
"""

import re

MACROS = {
    "rootpolarity": (0, r"\rho_{0}"),
    "polarity": (2, r"\rho_{#1,#2}"),
    "selectivity": (1, r"s_{#1}"),
    "latentmean": (1, r"e_{#1}"),
    "transition": (2, r"T_{#1;#2}"),
    "rootprior": (1, r"\pi_{#1}"),
    "offset": (2, r"m_{#1,#2}"),
    "strength": (1, r"o_{#1}"),
    "gap": (1, r"a_{#1}"),
    "activationcov": (1, r"\mathbb{V}_{z_0}\bigl[\mathbb{E}[f_{\mathcal{N}^{\mathrm{ch}}_{#1}} \mid z_0]\bigr]"),
    "operatorof": (1, r"\mathrm{OP}_{#1}"),
    "jacobian": (1, r"J_{#1}"),
    "transitionmatrix": (2, r"T_{#1,#2}"),
    "means": (1, r"v_{#1}"),
}
"""Name, number of arguments and meaning of every macro; each is used with the prefix ``covop``."""

_USE = re.compile(rf"\\covop({'|'.join(sorted(MACROS, key=len, reverse=True))})(?=\{{)")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def macros() -> str:
    r"""The preamble that a paper needs: one ``\newcommand`` for each macro, and nothing else.

    Examples
    --------
    >>> print(macros().splitlines()[1])
    \newcommand{\covoppolarity}[2]{\rho_{#1,#2}}
    """
    lines = []
    for name, (count, meaning) in MACROS.items():
        arguments = f"[{count}]" if count else ""
        lines.append(rf"\newcommand{{\covop{name}}}{arguments}{{{meaning}}}")
    return "\n".join(lines) + "\n"


def expanded(text: str) -> str:
    r"""The text with every macro of `MACROS` written out, for a reader (or a parser) that does not have them.

    Examples
    --------
    >>> expanded(r"\covoppolarity{a}{b}^{2} \covoprootpolarity{}")
    '\\rho_{a,b}^{2} \\rho_{0}'
    """
    result = ""
    while match := _USE.search(text):
        result += text[: match.start()]
        count, meaning = MACROS[match[1]]
        text = text[match.end() :]
        values = []
        for _ in range(max(count, 1)):  # empty braces end the name of a macro without arguments
            end = group_end(text)
            values.append(text[1 : end - 1])
            text = text[end:]
        result += re.sub("#([1-9])", lambda m, values=values: values[int(m[1]) - 1], meaning)  # type: ignore[misc]
    return result + text


def group_end(text: str) -> int:
    """The place behind the group that a text starts with."""
    depth = 0
    for match in _BRACE.finditer(text):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(text)
