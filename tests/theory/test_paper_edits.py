"""Edits of an exported formula as authors make them: those of the looks, and those of the meaning."""

import re

import pytest

import hltm
from theory.latex.names import macros
from theory.paper.drift import Status, compare
from theory.paper.export import Style, formula, label
from theory.paper.scan import Paper
from theory.paper.source import Source

SYMMETRIC = hltm.complete_tree(3, 2, 0.5)
ASYMMETRIC = hltm.random_tree(leaves=6, seed=3, symmetric=False)
CATEGORICAL = hltm.random_tree(leaves=5, seed=5, symmetric=False, cardinality=(2, 3))
WIDE = Style(width=2000.0)
CASES = {
    (kind, node, what): (tree, formula(tree, node, what, style=WIDE))
    for kind, tree, nodes in (
        ("symmetric", SYMMETRIC, (0, 1, 6)),
        ("asymmetric", ASYMMETRIC, (0, 2)),
        ("categorical", CATEGORICAL, (0, CATEGORICAL.nodes[2])),
    )
    for node in nodes
    if tree.children(node)
    for what in ("activation", "operator")
}


def status(paper, case):
    tree, ours = CASES[case]
    _, node, what = case
    return compare(Paper(Source().words(paper)), label(what, node, tree), ours)


def inner(text):
    return re.search(r"\\begin\{aligned\}\n(.*)\n\\end\{aligned\}", text, re.DOTALL)[1]


def labelled(text):
    return re.search(r"\\label\{.*?\}", text)[0]


def environment(name, text, head="", bare=False):
    rows = inner(text).replace("&", "") if bare and "pmatrix" not in text else inner(text)
    return f"\\begin{{{name}}}{head}{labelled(text)}\n{rows}\n\\end{{{name}}}\n"


def swapped(text, pattern, by, count=1):
    return re.sub(pattern, by, text, count=count)


def with_factor_in_front(text, factor):
    """The vector of the gaps with what its entries share in front of it."""
    vector = re.search(r"\\covopgap\{\d+\} &= (.*)", text)
    if vector is None or vector[1].count(r"\tfrac{1}{2}") != vector[1].count(",") + 1:
        return text
    entries = vector[1].replace(r"\tfrac{1}{2} ", "")
    return text.replace(vector[1], f"{factor} {entries}")


def rows_of(text):
    return re.split(r", \\\\\n(?=\\covop\S* &=)", inner(text))


def with_rows(text, rows):
    return text.replace(inner(text), ", \\\\\n".join(rows))


GAP = r"\\covopgap\{(\d+)\}"
POLARITY = r"\\covoppolarity\{(\d+)\}\{(\d+)\}"
LOOKS = {
    "gather": lambda t: environment("gather", t, bare=True),
    "gather*": lambda t: environment("gather*", t, bare=True),
    "multline": lambda t: environment("multline", t, bare=True),
    "align*": lambda t: environment("align*", t),
    "flalign": lambda t: environment("flalign", t),
    "eqnarray": lambda t: environment("eqnarray", t.replace("&=", "&=&")),
    "alignat": lambda t: environment("alignat", t, "{2}"),
    "IEEEeqnarray": lambda t: environment("IEEEeqnarray", t.replace("&=", "&=&"), "{rCl}"),
    "dmath": lambda t: environment("dmath", t, bare=True),
    "a group with a label": lambda t: (
        f"\\begin{{subequations}}{labelled(t)}Words.\\begin{{align}}{inner(t)}\\end{{align}}\\end{{subequations}}"
    ),
    "two displays of a group": lambda t: (
        f"\\begin{{subequations}}{labelled(t)}\\begin{{align}}{rows_of(t)[0]}\\end{{align}} and then \\begin{{align}}"
        + ", \\\\\n".join(rows_of(t)[1:])
        + "\\end{align}\\end{subequations}"
    ),
    "label on the last line": lambda t: f"\\begin{{align}}{inner(t)}{labelled(t)}\\end{{align}}",
    "array in a display": lambda t: (
        t if "pmatrix" in t else t.replace("{aligned}", "{array}").replace("n{array}", "n{array}{rl}")
    ),
    "no commas between equations": lambda t: t.replace(", \\\\\n", " \\\\\n"),
    "semicolons": lambda t: t.replace(", \\\\\n", "; \\\\\n"),
    "order of equations": lambda t: with_rows(t, rows_of(t)[::-1]),
    "right side first": lambda t: with_rows(t, [re.sub(r"(.*?) &= (.*)", r"\2 &= \1", r) for r in rows_of(t)]),
    "defined": lambda t: t.replace("&=", r"&\coloneqq"),
    "defined with a word": lambda t: t.replace("&=", r"&\overset{\text{def}}{=}"),
    "left and right": lambda t: t.replace(r"\bigl", r"\left").replace(r"\bigr", r"\right"),
    "Bigg": lambda t: t.replace(r"\bigl", r"\Biggl").replace(r"\bigr", r"\Biggr"),
    "square brackets": lambda t: t.replace(r"\bigl(", r"\bigl[").replace(r"\bigr)", r"\bigr]"),
    "more brackets": lambda t: swapped(t, r"(&= )(.*?)(, \\\\\n)", r"\1\\left(\2\\right)\3"),
    "brackets over two lines": lambda t: (
        t.replace("&= ", "&= \\left( ").replace(", \\\\\n", "\\right. \\\\ &\\left. \\right), \\\\\n", 1)
        if t.count("&= ") == 99
        else swapped(t, r"&= (.*?) (\\covop.*), \\\\", r"&= \\left( \1 \\right. \\\\ &\\quad \\left. \2 \\right), \\\\")
    ),
    "frac": lambda t: t.replace(r"\tfrac", r"\frac"),
    "dfrac": lambda t: t.replace(r"\tfrac", r"\dfrac"),
    "frac without braces": lambda t: t.replace(r"\tfrac{1}{2}", r"\tfrac12"),
    "half in front": lambda t: with_factor_in_front(t, r"\tfrac{1}{2}"),
    "braces": lambda t: swapped(t, r"\\bigl\((1 - [^()]*?)\\bigr\)", r"\\left\\{\1\\right\\}"),
    "slash": lambda t: t.replace(r"\tfrac{1}{2}", "1/2"),
    "decimal": lambda t: t.replace(r"\tfrac{1}{2}", "0.5"),
    "half behind": lambda t: swapped(t, rf"\\tfrac\{{1\}}\{{2\}} ({POLARITY})", r"\1/2", 0),
    "all over two": lambda t: swapped(t, rf"\\tfrac\{{1\}}\{{2\}} ({POLARITY})", r"\\frac{\1}{2}", 0),
    "cdot": lambda t: re.sub(r"(\\covop(?:gap|strength|polarity)(?:\{\d+\})+) (?=\\covop)", r"\1 \\cdot ", t),
    "times": lambda t: re.sub(r"(\\covop(?:gap|strength|polarity)(?:\{\d+\})+) (?=\\covop)", r"\1 \\times ", t),
    "thin spaces": lambda t: t.replace("} \\covop", "}\\,\\covop"),
    "hspace": lambda t: t.replace("} \\covop", "}\\hspace*{-1.5pt}\\covop").replace("x}\\hspace*{-1.5pt}", "x} "),
    "kern": lambda t: t.replace("&= ", "&= \\mkern 3mu\\hskip-2pt "),
    "phantom": lambda t: t.replace("&= ", "&= \\phantom{{}=}\\vphantom{\\Big(}"),
    "small": lambda t: t.replace("\\begin{aligned}", "\\small\\displaystyle\\begin{aligned}[t]"),
    "tag": lambda t: t.replace("\\end{aligned}", "\\end{aligned}\\tag{$\\ast$}"),
    "resizebox": lambda t: t.replace("\\begin{aligned}", "\\resizebox{\\columnwidth}{!}{$\\begin{aligned}").replace(
        "\\end{aligned}", "\\end{aligned}$}"
    ),
    "colour": lambda t: swapped(t, GAP, r"\\textcolor{blue}{\\covopgap{\1}}", 0),
    "boxed": lambda t: swapped(t, r"&= (.*?), \\\\", r"&= \\boxed{\1}, \\\\"),
    "underbrace": lambda t: swapped(t, r"(1 - \S+)", r"\\underbrace{\1}_{\\text{spread}}"),
    "T": lambda t: t.replace(r"^{\top}", "^T"),
    "upright T": lambda t: t.replace(r"^{\top}", r"^{\mathsf{T}}"),
    "intercal": lambda t: t.replace(r"^{\top}", r"^\intercal"),
    "brackets of matrices": lambda t: t.replace("{pmatrix}", "{bmatrix}"),
    "matrices as arrays": lambda t: t.replace(r"\begin{pmatrix}", r"\left[\begin{array}{ccc}").replace(
        r"\end{pmatrix}", r"\end{array}\right]"
    ),
    "columns as matrices": lambda t: swapped(
        t, r"\\bigl\((\\covop[^()]*?), (\\covop[^()]*?)\\bigr\)\^\{\\top\}(?=\n)", r"\\begin{pmatrix}\1\\\\ \2\\end{pmatrix}"
    ),
    "order of factors": lambda t: re.sub(rf"({GAP}) ({GAP}\^)", r"\1 \3", swapped(t, r"(\\covopstrength\{\d+\}) (.*?)(,| \\otimes)", r"\2 \1\3")),
    "order of terms": lambda t: t.replace("1 - \\covoprootpolarity{}^{2}", "-\\covoprootpolarity{}^{2} + 1"),
    "multiplied out": lambda t: swapped(
        t, r"\\bigl\(1 - (\S+)\\bigr\) (\\covop.*?), \\\\", r"\2 - \1 \2, \\\\"
    ),
    "macros by hand": lambda t: re.sub(POLARITY, r"\\rho_{\1, \2}", re.sub(GAP, r"a_\1" if len("x") else "", t)),
    "macros by hand, bold": lambda t: re.sub(r"\\covopgap\{(\d+)\}", r"\\mathbf{a}_{\1}", t),
    "all macros by hand": lambda t: t.replace("\\covoprootpolarity{}", "\\rho_0").replace("\\covopprior{}", "\\pi"),
    "a macro of one's own": lambda t: "\\newcommand{\\rt}{\\covoprootpolarity}" + t.replace("\\covoprootpolarity", "\\rt"),
    "a macro with arguments": lambda t: "\\newcommand{\\sq}[1]{{#1}^2}" + swapped(t, rf"({POLARITY})\^\{{2\}}", r"\\sq{\1}", 0),
    "a macro with a default": lambda t: "\\newcommand{\\sq}[2][2]{{#2}^{#1}}" + swapped(t, rf"({POLARITY})\^\{{2\}}", r"\\sq{\1}", 0),
    "commands for displays": lambda t: "\\def\\beq{\\begin{equation}}\\def\\eeq{\\end{equation}}" + t.replace(
        "\\begin{equation}", "\\beq"
    ).replace("\\end{equation}", "\\eeq"),
    "an environment of one's own": lambda t: "\\newenvironment{eq}{\\begin{equation}}{\\end{equation}}" + t.replace(
        "{equation}\\label", "{eq}\\label"
    ).replace("\\end{equation}\n", "\\end{eq}\n"),
    "a sentence": lambda t: t.replace(
        "\n\\end{aligned}", ",\\\\\n&\\text{where } s_1 \\text{ is the selectivity of node $1$.}\\end{aligned}"
    ),
    "and": lambda t: swapped(t, r", \\\\\n(.*)\n\\end", r" \\quad\\text{and}\\quad \1\n\\end"),
    "another letter": lambda t: "\\renewcommand{\\covopgap}[1]{\\boldsymbol{g}_{#1}}" + t,
    "other letters": lambda t: macros().replace("{o_{", "{\\omega_{").replace("{s_{", "{\\hat{\\sigma}_{") + t,
    "letters exchanged": lambda t: macros().replace("{o_{", "{q_{").replace("{a_{", "{o_{").replace("{q_{", "{a_{") + t,
    "another letter by hand": lambda t: "\\renewcommand{\\covopgap}[1]{g_{#1}}" + re.sub(GAP, r"g_{\1}", t),
    "edges with a bar": lambda t: "\\renewcommand{\\covopedge}[2]{#1\\mid#2}" + t,
    "our macros in a hook": lambda t: "\\AtBeginDocument{" + macros() + "}" + t,
    "our macros where they are missing": lambda t: "\\ifx\\covopgap\\undefined" + macros() + "\\fi" + t,
    "a saved command": lambda t: "\\let\\oldtop\\top" + t.replace("\\top", "\\oldtop"),
}  # fmt: skip
MEANING = {
    "a quarter in front": lambda t: with_factor_in_front(t, r"\tfrac{1}{4}"),
    "nothing in front": lambda t: with_factor_in_front(t, ""),
    "exponent": lambda t: t.replace("^{2}", "^{3}"),
    "one exponent": lambda t: swapped(t, r"\^\{2\}", "^{4}"),
    "no exponent": lambda t: swapped(t, r"\^\{2\}", ""),
    "exponent of the index": lambda t: swapped(t, r"(\d)\}\^\{2\}", r"\1^2}"),
    "exponent on the bracket": lambda t: swapped(t, r"\^\{2\}\\bigr\)", r"\\bigr)^{2}"),
    "sign": lambda t: t.replace("1 - ", "1 + "),
    "sign of a factor": lambda t: swapped(t, r"&= (\\covop)", r"&= -\1"),
    "sign of a term": lambda t: t.replace("1 - ", "-1 - "),
    "sign in an inner line": lambda t: t.replace(r"\pi} - ", r"\pi} + ").replace(r"ior{} - ", r"ior{} + "),
    "index of a child": lambda t: swapped(t, r"polarity\{(\d+)\}\{(\d+)\}(?!\^)", r"polarity{\1}{9\2}"),
    "index of a node": lambda t: swapped(t, r"covopgap\{(\d+)\} &=", r"covopgap{7\1} &="),
    "indices swapped": lambda t: swapped(t, POLARITY, r"\\covoppolarity{\2}{\1}"),
    "indices swapped by hand": lambda t: swapped(t, POLARITY, r"\\rho_{\2,\1}"),
    "index dropped by hand": lambda t: swapped(t, POLARITY, r"\\rho_{\1}"),
    "children exchanged": lambda t: swapped(t, rf"{POLARITY}(.*?){POLARITY}(?=.*?\n)", r"\\covoppolarity{\1}{\5}\3\\covoppolarity{\4}{\2}"),
    "term dropped": lambda t: t.replace("1 - \\covoprootpolarity{}^{2}", "1"),
    "one dropped": lambda t: t.replace("1 - \\covop", "- \\covop"),
    "factor dropped": lambda t: swapped(t, r"\\covopstrength\{\d+\} ", ""),
    "factor doubled": lambda t: swapped(t, r"(\\covopstrength\{\d+\}) ", r"\1 \1 "),
    "factor of an entry dropped": lambda t: swapped(t, r" \\covopselectivity\{\d+\}", ""),
    "entry dropped": lambda t: swapped(t, r"\\bigl\([^,()]*?, ", r"\\bigl("),
    "entry added": lambda t: swapped(t, r"\\bigr\)\^\{\\top\}\n", r", 0\\bigr)^{\\top}\n"),
    "entries swapped": lambda t: swapped(t, r"\\bigl\(([^,()]*?), ([^,()]*?)(,|\\bigr)", r"\\bigl(\2, \1\3"),
    "fraction": lambda t: swapped(t, r"\\tfrac\{1\}\{2\}", r"\\tfrac{1}{3}"),
    "fraction upside down": lambda t: swapped(t, r"\\tfrac\{1\}\{2\}", r"\\tfrac{2}{1}"),
    "fraction dropped": lambda t: swapped(t, r"\\tfrac\{1\}\{2\} ", ""),
    "half by a slash": lambda t: swapped(t, r"\\tfrac\{1\}\{2\}", "1/4"),
    "gaps exchanged": lambda t: swapped(t, rf"({GAP}) ({GAP})\^\{{\\top\}}", r"\1^{\\top} \3"),
    "transpose missing": lambda t: swapped(t, rf"({GAP})\^\{{\\top\}}", r"\1"),
    "transpose of a vector missing": lambda t: swapped(t, r"\\bigr\)\^\{\\top\}\n\\end", "\\\\bigr)\n\\\\end"),
    "transpose too many": lambda t: swapped(t, rf"({GAP}) (?=\\covop)", r"\1^{\\top} "),
    "Jacobians exchanged": lambda t: swapped(t, r"(\\covopjacobian\{\d+\})\^\{\\top\} (\S+)(?=,)", r"\1 \2^{\\top}"),
    "Kronecker exchanged": lambda t: swapped(t, r"&= (.*?) \\otimes (.*?), \\", r"&= \2 \\otimes \1, \\"),
    "Kronecker dropped": lambda t: t.replace(" \\otimes ", " "),
    "Kronecker as a Hadamard product": lambda t: t.replace("\\otimes", "\\odot"),
    "matrices exchanged": lambda t: swapped(t, r"&= (\\covopinputmeans\{\d+\})\^\{\\top\} (.*?\)) (\S+)(?=,| )", r"&= \2 \1^{\\top} \3"),
    "diag dropped": lambda t: t.replace("\\operatorname{diag} ", ""),
    "diag of more": lambda t: t.replace("\\operatorname{diag} \\covopprior{} - ", "\\operatorname{diag}\\bigl(\\covopprior{} - ").replace(r"{\top}\bigr)", r"{\top}\bigr)\bigr)", 1),
    "table transposed": lambda t: swapped(t, r"(\\begin\{pmatrix\} \S+) & (\S+) (.*?)\\\\ (\S+) ", r"\1 & \4 \3\\\\ \2 "),
    "table entry": lambda t: swapped(t, r"(\\covoptransition\{[^{}]*\{[^{}]*\}\{[^{}]*\}\})\{00\}", r"\1{01}"),
    "state number": lambda t: swapped(t, r"\\bigl\(0, 1", r"\\bigl(0, 2"),
    "row dropped": lambda t: with_rows(t, rows_of(t)[:-1]),
    "middle row dropped": lambda t: with_rows(t, [*rows_of(t)[:1], *rows_of(t)[2:]]),
    "row added": lambda t: t.replace("\n\\end{aligned}", ", \\\\\nx &= y\n\\end{aligned}"),
    "row doubled with a change": lambda t: with_rows(t, [*rows_of(t), rows_of(t)[1] + " + 1"]),
    "brackets moved": lambda t: swapped(t, r"\\bigr\) (\\covoppolarity\{\d+\}\{\d+\}\^\{2\})", r" \1\\bigr)"),
    "brackets dropped": lambda t: swapped(t, r"\\bigl\((1 - \S+?)\\bigr\)", r"\1"),
    "not equal": lambda t: t.replace("&=", "&\\neq", 1),
    "approximately": lambda t: t.replace("&=", "&\\approx", 1),
    "at most": lambda t: t.replace("&=", "&\\leq", 1),
    "no relation": lambda t: t.replace("&=", "&", 1),
    "another letter": lambda t: swapped(t, r"\\covopgap", r"\\covopmeans", 0),
    "a square root": lambda t: swapped(t, r"&= (.*?), \\\\", r"&= \\sqrt{\1}, \\\\"),
    "an inverse": lambda t: swapped(t, r"\^\{2\}", "^{-2}"),
    "a macro with swapped indices": lambda t: "\\renewcommand{\\covoppolarity}[2]{\\rho_{#2,#1}}" + t,
    "an edge with swapped ends": lambda t: "\\renewcommand{\\covopedge}[2]{#2,#1}" + t,
    "a macro without an index": lambda t: "\\renewcommand{\\covoppolarity}[2]{\\rho_{#2}}" + t,
    "a macro with a factor": lambda t: "\\renewcommand{\\covopgap}[1]{2a_{#1}}" + t,
    "a macro with a sign": lambda t: "\\renewcommand{\\covopprior}{-\\pi}\\renewcommand{\\covopgap}[1]{-a_{#1}}" + t,
    "a macro with a power": lambda t: "\\renewcommand{\\covoprootpolarity}{\\rho_0^2}\\renewcommand{\\covopmeans}[1]{v_{#1}^2}" + t,
    "a macro with another index": lambda t: "\\renewcommand{\\covoprootpolarity}{\\rho_{1}}\\renewcommand{\\covopmeans}[1]{v_{#1+1}}" + t,
    "two macros alike": lambda t: "\\renewcommand{\\covopgap}[1]{o_{#1}}\\renewcommand{\\covopmeans}[1]{e_{#1}}" + t,
    "a macro of a macro": lambda t: "\\newcommand{\\g}[1]{3a_{#1}}\\renewcommand{\\covopgap}[1]{\\g{#1}}\\renewcommand{\\covopmeans}[1]{\\g{#1}}" + t,
    "a redefined plus": lambda t: "\\renewcommand{\\top}{2}\\newcommand{\\dia}{}" + t,
    "a redefined fraction": lambda t: "\\renewcommand{\\tfrac}[2]{\\frac{#2}{#1}}" + t,
}  # fmt: skip


def applied(edits, name):
    found = {case: edits[name](ours) for case, (_, ours) in CASES.items()}
    return {case: text for case, text in found.items() if text != CASES[case][1]}


@pytest.mark.parametrize("name", LOOKS)
def test_a_change_of_looks(name):
    papers = applied(LOOKS, name)
    assert papers
    for case, paper in papers.items():
        outcome = status(paper, case)
        assert outcome.status in (Status.unchanged, Status.looks), (case, outcome, paper)


UNREAD = {
    "an unknown command": lambda t: t.replace("&= ", "&= \\unknown ", 1),
    "a condition": lambda t: t.replace("\n\\end{aligned}", " \\quad\\text{if } x > 0\n\\end{aligned}"),
    "a limiting sentence": lambda t: t.replace("\n\\end{aligned}", ", \\text{where } s \\text{ is not fixed}\n\\end{aligned}"),
    "a definition in the display": lambda t: t.replace("\\begin{aligned}", "\\begin{aligned}\\def\\covopgap#1{2a_{#1}}\\def\\covopprior{p}", 1),
    "a definition under a condition": lambda t: "\\ifx\\a\\b\\def\\covopgap#1{b_{#1}}\\def\\covopprior{p}\\fi" + t,
    "a definition that uses itself": lambda t: "\\def\\top{\\top x}" + t,
    "two digits": lambda t: t.replace("1 - ", "{1}{1} - ", 1).replace("\\bigl(0,", "\\bigl(0\\,0,"),
    "a mixed number": lambda t: t.replace("\\tfrac{1}{2}", "3\\tfrac{1}{2}"),
    "a slash in front of a factor": lambda t: swapped(t, r"(\\covopstrength\{\d+\}) ", r"1/\1 "),
    "a conjugate": lambda t: t.replace("^{\\top}", "^*"),
    "a prime": lambda t: t.replace("^{\\top}", "'"),
    "a bracket that is not closed": lambda t: swapped(t, r"\\bigr\)", "", 1),
    "a brace too many": lambda t: t.replace("\n\\end{aligned}", "}\n\\end{aligned}"),
    "a sign at the end": lambda t: t.replace("\n\\end{aligned}", " +\n\\end{aligned}"),
    "white ink": lambda t: swapped(t, r"(\\covopstrength\{\d+\}) ", r"{\\color{white}\1} "),
    "more sides": lambda t: swapped(t, r"&= (.*?), \\\\", r"&= \1 = x, \\\\"),
    "a definition in a hook": lambda t: "\\AtBeginDocument{\\def\\covopgap#1{2a_{#1}}\\def\\covopprior{2p}}" + t,
    "a superscript in brackets": lambda t: t.replace("^{2}", "^{(2)}"),
    "a term behind a sentence": lambda t: t.replace("\n\\end{aligned}", " \\text{ where } + x\n\\end{aligned}"),
    "another formula in the display": lambda t: t.replace(
        "\n\\end{aligned}", ", \\\\ x &= y \\label{eq:covop:activation:77}\n\\end{aligned}"
    ),
    "two fonts": lambda t: swapped(t, GAP, r"\\mathbf{a}_{\1}"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_is_not_decided(name):
    papers = applied(UNREAD, name)
    outcomes = {case: status(paper, case) for case, paper in papers.items()}
    assert any(outcome.status is Status.undecided and outcome.why for outcome in outcomes.values()), outcomes
    assert {outcome.status for outcome in outcomes.values()} <= {Status.undecided, Status.unchanged}, outcomes
    for case, outcome in outcomes.items():  # a macro that this formula does not have
        assert outcome.status is Status.undecided or papers[case].endswith(CASES[case][1])


@pytest.mark.parametrize("name", MEANING)
def test_a_change_of_meaning(name):
    papers = applied(MEANING, name)
    assert papers
    outcomes = {case: status(paper, case) for case, paper in papers.items()}
    for case, outcome in outcomes.items():
        unused = re.match(r"\\renew", papers[case]) and outcome.status is Status.unchanged
        assert outcome.status is Status.changed or unused, (case, outcome, papers[case])
    assert Status.changed in {outcome.status for outcome in outcomes.values()}


def test_there_are_as_many_edits_of_the_meaning():
    assert len(MEANING) >= 46
    assert len(LOOKS) >= 46
