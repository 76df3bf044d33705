r"""LaTeX of node names, in plain ASCII that pdflatex sets inside a subscript, and the macros of the paper's notation.

A number or one letter stands as it is, a longer name upright; TeX's special characters are escaped, accented Latin
letters become TeX accents, Greek letters their commands. Other characters stay as they are in symbols; `require_tex`
refuses them where LaTeX is written.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

from hltm.base.checks import Node, show
from hltm.base.errors import InputError

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    " ": r"\ ",  # a bare space would vanish after a command, and where white space does not count
    **{c: "\\" + c for c in "&%$#_{}"},
}
_LETTERS = {
    "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "œ": r"\oe{}", "Œ": r"\OE{}", "ø": r"\o{}", "Ø": r"\O{}",
    "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
}  # fmt: skip
_ACCENTS = {
    "\u0300": r"\`", "\u0301": r"\'", "\u0302": r"\^", "\u0303": r"\~", "\u0304": r"\=", "\u0306": r"\u",
    "\u0307": r"\.", "\u0308": r"\"", "\u030a": r"\r", "\u030b": r"\H", "\u030c": r"\v", "\u0323": r"\d",
    "\u0327": r"\c",
}  # fmt: skip
# Omicron and the capitals that look Latin have no commands.
_GREEK = {
    "alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu", "xi",
    "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega", "Gamma", "Delta", "Theta", "Lambda", "Xi",
    "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega",
}  # fmt: skip


def node_texts(nodes: Iterable[Node]) -> dict[Node, str]:
    r"""LaTeX of every node's name; different nodes have different ones.

    Names that would look alike, as the number 1 and the text "1", are quoted: the text then, not the number.
    """
    texts = {node: _text(node) for node in nodes}
    counts = Counter(texts.values())
    texts = {node: text if counts[text] == 1 else _quoted(node) for node, text in texts.items()}
    if len(set(texts.values())) < len(texts):  # a name that itself looks like a quoted one
        texts = {node: _quoted(node) for node in texts}
    return texts


def upright(word: str) -> str:
    r"""A word of letters and digits in math mode: a number, a Greek letter that is named, else ``\mathrm``."""
    if word.isdecimal():
        return word
    return f"\\{word}" if word in _GREEK else rf"\mathrm{{{word}}}"


def in_unicode(written: str) -> str:
    r"""The plain characters of a name that `node_texts` wrote inside of a ``\text`` group."""
    back = {tex: letter for letter, tex in (_SPECIAL | _LETTERS).items()}
    commands = "|".join(re.escape(tex) for tex in sorted(back, key=len, reverse=True))
    accents = {tex[1:]: mark for mark, tex in _ACCENTS.items()}

    def letter(match: re.Match[str]) -> str:
        if match["command"]:
            return back[match["command"]]
        if match["greek"]:
            size = "CAPITAL" if match["greek"][0].isupper() else "SMALL"
            return unicodedata.lookup(f"GREEK {size} LETTER {match['greek'].upper().replace('LAMBDA', 'LAMDA')}")
        return unicodedata.normalize("NFC", match["base"] + accents[match["accent"]])

    accent = "|".join(re.escape(name) for name in accents)
    pattern = (
        rf"(?P<command>{commands})|\\ensuremath\{{\\(?P<greek>\w+)\}}|\\(?P<accent>{accent})\{{(?P<base>[A-Za-z])\}}"
    )
    return re.sub(pattern, letter, written)


def require_tex(texts: dict[Node, str], nodes: Iterable[Node]) -> None:
    """Refuse names that pdflatex cannot set."""
    for node in nodes:
        wrong = [c for c in texts[node] if not " " <= c <= "~"]
        if wrong:
            raise InputError(
                f"node {show(node)} in LaTeX: must be written in printable ASCII, accented Latin letters and Greek "
                f"letters, has {wrong[0]!r}; rename the node"
            )


def _text(node: Node) -> str:
    if isinstance(node, tuple):
        return f"({','.join(map(_text, node))})"
    if isinstance(node, int):
        return str(node)
    if not node or "," in node:  # a comma separates the ends of an edge
        return rf"\text{{'{_written(node)}'}}"
    if re.fullmatch("[0-9]+|[A-Za-z]", node):
        return node
    if re.fullmatch("[A-Za-z0-9_]+", node):
        return rf"\mathrm{{{_written(node)}}}"
    greek = _greek(node) if len(node) == 1 else None
    return greek or rf"\text{{{_written(node)}}}"


def _quoted(node: Node) -> str:
    """The quoted name, letters beyond ASCII by their code points: different for all nodes."""
    return str(node) if isinstance(node, int) else rf"\text{{{_written(ascii(node))}}}"


def _written(name: str) -> str:
    return "".join(map(_character, unicodedata.normalize("NFC", name)))


def _character(c: str) -> str:
    """One character in text mode; one without a TeX form stays."""
    if c.isascii():
        return _SPECIAL.get(c, c)
    if c in _LETTERS:
        return _LETTERS[c]
    parts = unicodedata.normalize("NFD", c)
    if len(parts) == 2 and parts[0].isascii() and parts[0].isalpha() and parts[1] in _ACCENTS:
        return f"{_ACCENTS[parts[1]]}{{{parts[0]}}}"
    greek = _greek(c)
    return rf"\ensuremath{{{greek}}}" if greek else c


def _greek(c: str) -> str | None:
    """The command of a Greek letter that has one."""
    result = re.fullmatch(r"GREEK (SMALL|CAPITAL) LETTER (\w+)", unicodedata.name(c, ""))
    if not result:
        return None
    name = result[2].lower().replace("lamda", "lambda")
    name = name.capitalize() if result[1] == "CAPITAL" else name
    return "\\" + name if name in _GREEK else None


# The macros of the paper's notation that exported formulas use: one ``\newcommand`` each, prefix ``covop``.

MACROS = {
    "rootpolarity": (0, r"\rho_{0}"),
    "edge": (2, r"#1,#2"),
    "stackededge": (2, r"\substack{#1,\\ #2}"),
    "polarity": (2, r"\rho_{\covopedge{#1}{#2}}"),
    "selectivity": (1, r"s_{#1}"),
    "latentmean": (1, r"e_{#1}"),
    "transition": (2, r"T_{#1;#2}"),
    "rootprior": (1, r"\pi_{#1}"),
    "offset": (2, r"m_{\covopedge{#1}{#2}}"),
    "strength": (1, r"o_{#1}"),
    "gap": (1, r"a_{#1}"),
    "activationcov": (1, r"\mathbb{V}_{z_0}\bigl[\mathbb{E}[f_{\mathcal{N}^{\mathrm{ch}}_{#1}} \mid z_0]\bigr]"),
    "operatorof": (1, r"\mathrm{OP}_{#1}"),
    "jacobian": (1, r"J_{#1}"),
    "transitionmatrix": (2, r"T_{\covopedge{#1}{#2}}"),
    "means": (1, r"v_{#1}"),
    "prior": (0, r"\pi"),
    "inputmeans": (1, r"M_{#1}"),
    "way": (2, r"#1 \to #2"),
    "stackedway": (2, r"\substack{#1 \\ \to #2}"),
    "reach": (2, r"\rho_{\covopway{#1}{#2}}"),
    "pathmatrix": (2, r"T_{\covopway{#1}{#2}}"),
    "childmeans": (1, r"F_{#1}"),
    "connectiongap": (1, r"\Delta K_{#1}"),
    "connectionmeans": (1, r"\bar{K}_{#1}"),
    "identity": (1, r"I_{#1}"),
    "weight": (1, "#1"),
    "cardinality": (1, r"c_{#1}"),
    "children": (1, r"\mathrm{ch}(#1)"),
    "path": (2, r"\mathrm{path}(#1,#2)"),
    "leaves": (0, r"\mathcal{L}"),
    "child": (0, r"\nu"),
    "parent": (0, r"\alpha"),
    "state": (0, "i"),
    "otherstate": (0, "j"),
    "output": (0, "k"),
}
"""Name, number of arguments and meaning of every macro; each is used with the prefix ``covop``."""
STACKED = {"edge": "stackededge", "way": "stackedway"}
r"""Macros for which another one may stand in one display, by ``\let``: how the ends of an edge are set."""

_USE = re.compile(rf"\\covop({'|'.join(sorted(MACROS, key=len, reverse=True))})(?=\{{)")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def macros() -> str:
    r"""The preamble that a paper needs: one ``\newcommand`` for each macro, and nothing else."""
    lines = []
    for name, (count, meaning) in MACROS.items():
        arguments = f"[{count}]" if count else ""
        lines.append(rf"\newcommand{{\covop{name}}}{arguments}{{{meaning}}}")
    return "\n".join(lines) + "\n"


def used_macros(text: str) -> set[str]:
    """The names of the macros in a text, and of those in their meanings."""
    used = set(_USE.findall(text))
    return used.union(*(used_macros(MACROS[name][1]) for name in used))


def expanded(text: str, stacked: bool = False) -> str:
    r"""The text with every macro of `MACROS` written out; ``stacked``: with the ends of an edge below each other."""
    result = ""
    while match := _USE.search(text):
        result += text[: match.start()]
        count, meaning = MACROS[STACKED.get(match[1], match[1]) if stacked else match[1]]
        text = text[match.end() :]
        values = []
        for _ in range(max(count, 1)):  # empty braces end the name of a macro without arguments
            end = group_end(text)
            values.append(text[1 : end - 1])
            text = text[end:]
        text = re.sub("#([1-9])", lambda m, values=values: values[int(m[1]) - 1], meaning) + text  # type: ignore[misc]
    return result + text


def group_end(text: str) -> int:
    """Index of the end of the group at the start of a text."""
    depth = 0
    for match in _BRACE.finditer(text):
        depth += {"{": 1, "}": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(text)
