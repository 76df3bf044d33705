"""Random edits of formulas against an evaluation of their LaTeX by numbers, which shares no code with the check.

An edit after which an equation has another value is a change of meaning; one after which none has is not.
"""

import hashlib
import random
import re

import numpy as np
import pytest

import hltm
from theory.paper.drift import Status, compare
from theory.paper.export import Style, formula, label
from theory.paper.scan import Paper
from theory.paper.source import Source

TREES = {
    "symmetric": hltm.complete_tree(3, 2, 0.5),
    "star": hltm.star_tree(1, 0.5),
    "asymmetric": hltm.random_tree(leaves=6, seed=3, symmetric=False),
    "categorical": hltm.random_tree(leaves=5, seed=5, symmetric=False, cardinality=(2, 3)),
}
CASES = [
    (tree, node, what)
    for tree in TREES.values()
    for node in tree.nodes
    if tree.children(node)
    for what in ("activation", "operator")
]
SHAPES = {"gap": (3, 1), "activationcov": (3, 3), "operatorof": (12, 12), "jacobian": (5, 4), "prior": (3, 1)}
MATRICES = {"transitionmatrix": (3, 3), "means": (3, 1), "inputmeans": (3, 3)}


class Value:
    """A number or a matrix; a product of matrices is the matrix product."""

    def __init__(self, array):
        self.array = np.asarray(array, dtype=float)

    def __mul__(self, other):
        scalar = self.array.ndim == 0 or other.array.ndim == 0
        return Value(self.array * other.array if scalar else self.array @ other.array)

    def __add__(self, other):
        return Value(self.array + other.array)

    def __sub__(self, other):
        return Value(self.array - other.array)

    def __neg__(self):
        return Value(-self.array)

    def __or__(self, other):
        return Value(np.kron(self.array, other.array))

    def __pow__(self, n):
        return Value(self.array**n) if self.array.ndim == 0 else Value(np.linalg.matrix_power(self.array, n))

    @property
    def T(self):  # noqa: N802
        return Value(self.array.T)


def symbol(name, *arguments):
    seed = int.from_bytes(hashlib.sha256(repr((name, arguments)).encode()).digest()[:4], "big")
    return Value(np.random.default_rng(seed).uniform(0.3, 0.9, (SHAPES | MATRICES).get(name, ())))


def listed(*entries):
    """Brackets: around one formula, or a row of entries."""
    if len(entries) == 1:
        return entries[0]
    return Value(np.concatenate([np.atleast_2d(e.array) for e in entries], axis=1))


def matrix(rows):
    return Value(np.concatenate([listed(*row).array.reshape(1, -1) for row in rows]))


def diag(vector):
    return Value(np.diag(vector.array[:, 0]))


TOKEN = re.compile(
    r"\\covop(?P<macro>[a-z]+)(?P<args>(?:\{(?:[^{}]|\{[^{}]*\})*\})*)|\\tfrac\{(?P<up>\d+)\}\{(?P<down>\d+)\}"
    r"|(?P<open>\\big[l](?P<kind>[(\[]))|(?P<close>\\bigr[)\]])|(?P<top>\^\{\\top\})|\^\{(?P<power>\d+)\}"
    r"|(?P<diag>\\operatorname\{diag\})|(?P<kron>\\otimes)|(?P<number>\d+)|(?P<begin>\\begin\{pmatrix\})"
    r"|(?P<end>\\end\{pmatrix\})|(?P<row>\\\\)|(?P<cell>&)|(?P<sign>[-+,])|\s+|(?P<bad>.)"
)
SIMPLE = {"open": "listed(", "close": ")", "top": ".T", "kron": "|", "begin": "matrix([[", "end": "]])", "row": "],["}


def python(tex):
    """A formula in macros as an expression of Python."""
    out, ends = "", False
    pending = ""
    for match in TOKEN.finditer(tex):
        kind = match.lastgroup
        if kind is None:
            continue
        assert not match["bad"], (match["bad"], tex)
        starts = match["macro"] or match["up"] or match["open"] or match["number"] or match["begin"] or match["diag"]
        if starts and ends:
            out += "*"
        if match["macro"]:
            arguments = [a for a in re.findall(r"\{((?:[^{}]|\{[^{}]*\})*)\}", match["args"]) if a]
            piece = f"symbol({', '.join(map(repr, [match['macro'], *arguments]))})"
        elif match["up"]:
            piece = f"Value({match['up']}/{match['down']})"
        elif match["number"]:
            piece = f"Value({match['number']})"
        elif match["power"]:
            piece = f"**{match['power']}"
        elif match["diag"]:
            pending, piece = ")", "diag("
            ends = False
            out += piece
            continue
        elif match["cell"] or match["sign"]:
            piece = "," if match["cell"] else match["sign"]
        else:
            piece = SIMPLE[kind if kind != "kind" else "open"]
        out += piece
        if pending and not match["open"] and match["macro"]:
            out, pending = out + pending, ""
        ends = not (match["open"] or match["begin"] or match["row"] or match["cell"] or match["sign"] or match["kron"])
    return out


def equations(tex):
    """The left and right sides of a display."""
    body = re.search(r"\\begin\{aligned\}\n(.*)\n\\end\{aligned\}", tex, re.DOTALL)[1]
    body = re.sub(r"\\q*quad|&(?=\\covop[a-z]+\{[^{}]*\} \\\\)", "", body)
    rows = re.split(r", \\\\\n&?(?=\\covop\S* *&?=|\\covop\S* \\\\\n)", body)
    sides = []
    for row in rows:
        left, right = re.split(r"(?:\\\\\n)?&? *= ", row, maxsplit=1)
        outside = re.sub(
            r"\\begin\{pmatrix\}.*?\\end\{pmatrix\}", lambda m: m[0].replace("&", "@"), right, flags=re.DOTALL
        )
        outside = re.sub(r"\\\\\n", "", outside).replace("&", "").replace("@", "&")
        sides.append((left.strip(" &\n"), outside))
    return sides


def values(tex):
    """The value of each right side, by its left side."""
    result = {}
    for left, right in equations(tex):
        try:
            result[left] = eval(python(right), globals()).array  # noqa: S307
        except (ValueError, np.linalg.LinAlgError) as error:  # shapes that do not fit: no value
            result[left] = str(error)
    return result


def same(left, right):
    if left.keys() != right.keys():
        return False
    return all(
        type(a) is type(b) and (a == b if isinstance(a, str) else a.shape == b.shape and np.allclose(a, b, rtol=1e-9))
        for a, b in ((left[key], right[key]) for key in left)
    )


def swap(rng, text, pattern):
    """Two different pieces of a text in each other's places."""
    found = list(re.finditer(pattern, text))
    pairs = [(a, b) for a in found for b in found if a.start() < b.start() and a[0] != b[0]]
    if not pairs:
        return text
    a, b = rng.choice(pairs)
    return text[: a.start()] + b[0] + text[a.end() : b.start()] + a[0] + text[b.end() :]


def replace_one(rng, text, pattern, by):
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    match = rng.choice(found)
    return text[: match.start()] + match.expand(by) + text[match.end() :]


FACTOR = r"(?:\\tfrac\{1\}\{2\} |\\covop[a-z]+(?:\{[^{}]*\})+(?:\^\{(?:\\top|\d)\})?)"
# Edits of what stands in the rows; whether one of them changes the meaning is up to the numbers.
EDITS = {
    "exponent": lambda rng, t: replace_one(rng, t, r"\^\{2\}", "^{3}"),
    "no exponent": lambda rng, t: replace_one(rng, t, r"\^\{2\}", ""),
    "sign": lambda rng, t: replace_one(rng, t, r" - ", " + "),
    "plus": lambda rng, t: replace_one(rng, t, r" \+ ", " - "),
    "index": lambda rng, t: replace_one(rng, t, r"\{(\d)\}(?!\{aligned)", r"{7\1}"),
    "indices swapped": lambda rng, t: replace_one(rng, t, r"\{(\d+)\}\{(\d+)\}", r"{\2}{\1}"),
    "fraction": lambda rng, t: replace_one(rng, t, r"\\tfrac\{1\}\{2\}", r"\\tfrac{1}{3}"),
    "factor dropped": lambda rng, t: replace_one(rng, t, rf"(?<= ){FACTOR}(?= ?\\covop)", ""),
    "factor doubled": lambda rng, t: replace_one(rng, t, rf"(?<= )({FACTOR})(?= ?\\covop)", r"\1 \1"),
    "factors swapped": lambda rng, t: replace_one(rng, t, rf"({FACTOR}) ({FACTOR})(?!\^)", r"\2 \1"),
    "no transpose": lambda rng, t: replace_one(rng, t, r"(?<=\})\^\{\\top\}", ""),
    "transposed": lambda rng, t: replace_one(
        rng, t, r"(\\covop(?:gap|jacobian|inputmeans)\{\d+\})(?!\^)", r"\1^{\\top}"
    ),
    "macros swapped": lambda rng, t: swap(rng, t, r"\\covop(?:gap|strength|polarity|selectivity)(?=\{)"),
    "entries swapped": lambda rng, t: swap(rng, t, r"\\covop(?:transition|latentmean|rootprior)(?:\{[^{}]*\})+"),
    "numbers swapped": lambda rng, t: swap(rng, t, r"(?<=[( ])[012](?=[,\\])"),
    "no brackets": lambda rng, t: replace_one(rng, t, r"\\bigl\((1 - [^,()]*?)\\bigr\)", r"\1"),
    "brackets moved": lambda rng, t: replace_one(rng, t, r"(1 - [^,()]*?)\\bigr\) ([^\s,]+)", r"\1 \2\\bigr)"),
    "kronecker swapped": lambda rng, t: replace_one(
        rng, t, r"= (\\covop.*?) \\otimes (\\covop.*?), ", r"= \2 \\otimes \1, "
    ),
}


def looks(rng, text):
    """The same formula, edited as authors do: each edit is made or not."""
    edits = [
        lambda t: t.replace(r"\bigl", r"\left").replace(r"\bigr", r"\right"),
        lambda t: t.replace(r"\bigl", r"\Bigl").replace(r"\bigr", r"\Bigr"),
        lambda t: t.replace(r"\bigl", "").replace(r"\bigr", ""),
        lambda t: t.replace(r"\tfrac", r"\frac"),
        lambda t: t.replace(r"\tfrac{1}{2}", r"\tfrac12"),
        lambda t: t.replace(r"\tfrac{1}{2} ", "1/2 "),
        lambda t: t.replace(r"^{\top}", "^T"),
        lambda t: t.replace(r"^{\top}", r"^{\mathsf{T}}"),
        lambda t: t.replace("{aligned}", "{split}"),
        lambda t: t.replace("{equation}", "{equation*}"),
        lambda t: t.replace("{equation}", "{gather}"),
        lambda t: re.sub(
            r"(?<!diag)(?<!matrix)\} \\covop", lambda m: rng.choice([r"} \cdot \covop", r"}\,\covop", m[0]]), t
        ),
        lambda t: t.replace(r"\begin{pmatrix}", r"\begin{bmatrix}").replace(r"\end{pmatrix}", r"\end{bmatrix}"),
        lambda t: t.replace("^{2}", "^2"),
        lambda t: t.replace("&= ", r"&= \phantom{x} "),
        lambda t: t.replace(r"\begin{aligned}", r"\small\begin{aligned}[t]"),
        lambda t: re.sub(r"\\covopgap\{(\d+)\}", r"a_{\1}", t),
        lambda t: re.sub(r"\\covoppolarity\{(\d+)\}\{(\d+)\}", r"\\rho_{\1,\2}", t),
        lambda t: t.replace(r"\covoprootpolarity{}", r"\rho_0"),
        lambda t: t.replace("\\\\\n", "\\\\[2pt]\n"),
        lambda t: r"\newcommand{\nobr}[1]{\ensuremath{#1}}" + re.sub(r"(\\covopstrength\{\d+\})", r"\\nobr{\1}", t),
        lambda t: r"\renewcommand{\covopselectivity}[1]{\hat{\sigma}_{#1}}" + t,
    ]
    for edit in edits:
        if rng.random() < 0.3:
            text = edit(text)
    return text


def status(paper, tree, node, what):
    read = Paper(Source().words(paper))
    return compare(read, label(what, node, tree), formula(tree, node, what, style=Style(width=2000.0)))


def test_the_oracle_has_the_values_of_the_formula():
    tree = TREES["symmetric"]
    result = values(formula(tree, 1, style=Style(width=2000.0)))
    rho, half = (lambda *a: symbol("polarity", *a).array), 0.5
    assert np.allclose(result[r"\covopstrength{1}"], (1 - symbol("rootpolarity").array ** 2) * rho("0", "1") ** 2)
    a = symbol("gap", "1").array
    assert np.allclose(result[r"\covopactivationcov{1}"], symbol("strength", "1").array * a @ a.T)
    assert np.allclose(values(formula(tree, 3, style=Style(width=2000.0)))[r"\covopgap{3}"][0, 0], half * rho("3", "7"))


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_changes_the_meaning_where_it_changes_a_value(name):
    rng = random.Random(name)
    changed = undecided = 0
    for tree, node, what in CASES:
        ours = formula(tree, node, what, style=Style(width=2000.0))
        edited = EDITS[name](rng, ours)
        for _ in range(rng.choice([0, 0, 1])):
            edited = EDITS[rng.choice(list(EDITS))](rng, edited)
        is_same = same(values(edited), values(ours))
        found = status(looks(rng, edited), tree, node, what)
        allowed = {Status.unchanged, Status.looks} if is_same else {Status.changed, Status.undecided}
        if found.why == "it has the power T of a number":  # as a vector of one entry has
            allowed.add(Status.undecided)
        assert found.status in allowed, (found, edited)
        changed += found.status is Status.changed
        undecided += found.status is Status.undecided
    assert changed > 4 * undecided
