"""LaTeX of derivations, expressions and matrices, for documents (plain amsmath) and for notebooks (MathJax, KaTeX).

Long lines are broken at the terms of sums. Every derivation of statements 1 to 4 (arXiv 2010.00578) compiles
in every form.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from textwrap import wrap

import sympy
from sympy import MatAdd, MatMul

from hltm.base.errors import InputError
from theory.core.claim import Claim
from theory.core.derivation import Derivation, Step
from theory.core.notation import END, PREAMBLE, SYMBOL_NAMES, Expect, plain
from theory.latex.names import expanded, group_end, in_unicode

FORMS = ("equation", "align", "standalone")
_WIDTH = 68
# A number in front of a matrix, which SymPy puts into brackets.
_FACTOR = re.compile(r"(?<![\w{}])\\left\((\\frac\{\d+\}\{\d+\})\\right\)(?!\^)")


def to_latex(obj: object, form: str = "equation") -> str:
    r"""LaTeX of a derivation, a SymPy expression or a matrix.

    Parameters
    ----------
    obj
        ``Derivation``, ``Claim``, SymPy expression, relation or (explicit or symbolic) matrix.
    form
        "equation": one equation environment (of a derivation: its statement). "align": one align environment
        (of a derivation: the statement and every step with its justification). "standalone": a document that
        compiles.

    Returns
    -------
    str
        LaTeX that needs amsmath and amssymb only.

    Raises
    ------
    InputError
        Where the form or the object is not known.

    Examples
    --------
    >>> print(to_latex(sympy.Symbol("x") ** 2))
    \begin{equation}
    x^{2}
    \end{equation}
    """
    if form not in FORMS:
        raise InputError(f"form={form!r} of to_latex: must be one of {', '.join(FORMS)}")
    if isinstance(obj, Derivation):
        return _derivation(obj, form)
    if isinstance(obj, Claim):
        obj = obj.expression
    if not isinstance(obj, sympy.Basic | sympy.MatrixBase):
        raise InputError(f"object of type {type(obj).__name__} of to_latex: must be a Derivation or a SymPy object")
    lines = rows(obj.as_immutable() if isinstance(obj, sympy.MatrixBase) else obj)
    if form == "equation":
        return _equation(lines)
    body = _align(lines)
    return body if form == "align" else f"{PREAMBLE}{body}\n{END}"


def _derivation(derivation: Derivation, form: str) -> str:
    lines = rows(derivation.claim.expression)
    if form == "equation":
        return _equation(lines)
    body = _align(lines, derivation.steps)
    if form == "align":
        return body
    status = "proved" if derivation.proved else "not proved"
    needs = "; ".join(derivation.assumptions)
    head = rf"\noindent {plain(derivation.claim.text)} ({status}).\par"
    head += rf"\noindent Assumptions: {plain(needs)}.\par"
    return f"{PREAMBLE}{head}\n{body}\n{END}"


def _equation(lines: list[str]) -> str:
    if len(lines) == 1:
        return f"\\begin{{equation}}\n{_unaligned(lines[0]).strip()}\n\\end{{equation}}"
    body = " \\\\\n".join(lines)
    return f"\\begin{{equation}}\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n\\end{{equation}}"


def _align(lines: list[str], steps: tuple[Step, ...] = ()) -> str:
    blocks = [_block(lines)]
    for number, step in enumerate(steps, 1):
        mark = "" if step.proved else " [NOT PROVED]"
        reason = rf"\intertext{{{number}. {plain(step.justification)}{mark}:}}"
        blocks.append(f"{reason}\n{_block(rows(step.expression))}")
    body = " \\\\\n".join(blocks)
    return f"\\begin{{align}}\n{body}\n\\end{{align}}"


def _block(lines: list[str]) -> str:
    return " \\\\\n".join([*(f"{line} \\notag" for line in lines[:-1]), lines[-1]])


def rows(obj: sympy.Basic) -> list[str]:
    """The rows of an aligned display: one ``&`` in each, at the relation sign; commas between several relations."""
    if isinstance(obj, sympy.Tuple):
        listed = [rows(part) for part in obj]
        return [line for part in listed[:-1] for line in (*part[:-1], f"{part[-1]},")] + listed[-1]
    if isinstance(obj, sympy.core.relational.Relational):
        sign = {"==": "=", "!=": r"\neq", ">": ">", "<": "<", ">=": r"\geq", "<=": r"\leq"}[obj.rel_op]
        left, right = broken(obj.lhs), broken(obj.rhs)
        if len(left) == 1 and visible(left[0]) + visible(right[0]) <= _WIDTH:
            return [f"{left[0]} &{sign} {right[0]}", *(rf"&\quad {line}" for line in right[1:])]
        start = (f"&{line}" for line in left)
        return [*start, rf"&\quad {sign} {right[0]}", *(rf"&\qquad {line}" for line in right[1:])]
    first, *others = broken(obj)
    return [f"&{first}", *(rf"&\quad {line}" for line in others)]


def visible(text: str) -> int:
    """Estimated number of visible characters."""
    return len(re.sub(r"\\(left|right|operatorname|quad|mathbb)|[{}^_ ]", "", re.sub(r"\\[a-zA-Z]+", "x", text)))


def broken(expr: sympy.Basic) -> list[str]:
    """LaTeX of an expression, broken at the terms of its outermost sum where it is long."""
    whole = _tex(expr)
    if visible(whole) <= _WIDTH:
        return [whole]
    if isinstance(expr, Expect) and isinstance(expr.args[0], MatAdd):
        inner = _packed([_tex(term) for term in expr.args[0].args])
        return [r"\mathbb{E}\bigl[" + inner[0], *inner[1:-1], inner[-1] + r"\bigr]"] if len(inner) > 1 else [whole]
    if isinstance(expr, MatAdd):
        return _packed([_tex(term) for term in expr.args])
    if isinstance(expr, sympy.Add):
        return _packed([_tex(term) for term in expr.as_ordered_terms()])
    if isinstance(expr, MatMul) and len(expr.args) == 2 and isinstance(expr.args[1], MatAdd):
        return _packed([_tex(MatMul(expr.args[0], term)) for term in expr.args[1].args])
    return [whole]


def plain_tex(expr: sympy.Basic, names: Mapping[sympy.Symbol, str]) -> str:
    r"""LaTeX of an expression in one line, its symbols by the given names, others by their own."""
    text: str = _FACTOR.sub(r"\1", sympy.latex(expr, symbol_names=dict(names)))
    return text.replace("+ - ", "- ").replace("- - ", "+ ")


@lru_cache(maxsize=4096)  # the steps of a derivation repeat their expressions
def _tex(expr: sympy.Basic) -> str:
    return plain_tex(expr, SYMBOL_NAMES)


def _packed(terms: list[str]) -> list[str]:
    lines = [terms[0]]
    for term in terms[1:]:
        joined = term if term.lstrip().startswith("-") else f"+ {term}"
        if visible(lines[-1]) + visible(joined) <= _WIDTH:
            lines[-1] += f" {joined}"
        else:
            lines.append(joined)
    return lines


# LaTeX for notebooks, without macros or packages.

_ROW_LIMIT, _TOTAL_LIMIT = 4_000, 40_000  # letters of LaTeX of one formula, and of a whole derivation
_ENTRIES, _TEXT_WIDTH = 20, 90  # entries of a vector, letters of a line of text
_SPECIAL = {
    "\\": r"\backslash ", "^": r"\hat{\ }", "~": r"\sim ", "<": r"\lt ", ">": r"\gt ", "|": "|", "`": r"\grave{\ }",
    **{c: "\\" + c for c in "&%$#_{}"},
}  # fmt: skip
_TEXT = re.compile(r"\\text\{")


def words(text: str) -> str:
    r"""Plain text in math mode: letters in ``\text``, special characters of TeX as symbols."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    parts = re.split(r"([\\^~<>|`&%$#_{}])", printable)
    return "".join(_SPECIAL.get(part, rf"\text{{{part}}}") for part in parts if part)


def for_browsers(latex: str) -> str:
    r"""LaTeX whose ``\text`` groups hold letters only, and whose macros of the paper's notation are written out."""
    return browser_texts(expanded(latex))


def browser_texts(latex: str) -> str:
    r"""LaTeX whose ``\text`` groups hold letters only, special characters of names as symbols beside them."""
    result = ""
    while match := _TEXT.search(latex):
        result += _relations(latex[: match.start()])
        latex = latex[match.end() - 1 :]
        end = group_end(latex)
        result += f"{{{words(in_unicode(latex[1 : end - 1]))}}}"
        latex = latex[end:]
    return result + _relations(latex)


def _relations(latex: str) -> str:
    """Relation signs as commands: a bare ``<`` would open a tag in a page."""
    return latex.replace("<", r"\lt ").replace(">", r"\gt ")


def formula_latex(expression: sympy.Basic) -> str:
    """One formula for a notebook, its lines aligned; a formula too long to be read is named by its kind and size."""
    return _display(_formula(expression))


def step_latex(step: Step) -> str:
    """A step: its reason, its formula and what decided it."""
    return _display([*_reason(step), *_formula(step.expression)])


def derivation_latex(derivation: Derivation) -> str:
    """A derivation: what is claimed, then every step with its reason; very long ones are cut after a step."""
    status = "proved" if derivation.proved else "not proved"
    lines = [words(f"{derivation.slug}: {status}"), *_formula(derivation.claim.expression)]
    for number, step in enumerate(derivation.steps, start=1):
        block = [*_reason(step, f"{number}. "), *_formula(step.expression)]
        if sum(map(len, lines)) + sum(map(len, block)) > _TOTAL_LIMIT:
            left = len(derivation.steps) - number + 1
            lines.append(words(f"... {left} more steps; .latex() has all of them"))
            break
        lines += block
    return _display(lines)


def operator_latex(name: str, size: int, matrix: sympy.MatrixBase | None) -> str:
    """A named square matrix, or its size where it is not given or too long to be read."""
    if matrix is not None:
        latex = for_browsers(plain_tex(matrix, SYMBOL_NAMES))
        if len(latex) <= _ROW_LIMIT:
            return f"$$\n{name} = {latex}\n$$"
    return f"$$\n{name} {words(f': {size} x {size} matrix; .matrix() has its entries')}\n$$"


def activation_latex(factor: sympy.Expr, vector: Sequence[sympy.Expr]) -> str:
    """``o a a^T`` with its two factors, or the length of a vector that is too long to be read."""
    parts = [for_browsers(plain_tex(part, SYMBOL_NAMES)) for part in (factor, sympy.Matrix(vector[:_ENTRIES]))]
    if len(vector) > _ENTRIES or sum(map(len, parts)) > _ROW_LIMIT:
        parts[1] = words(f"(a vector of {len(vector)} entries)")
    return f"$$\no\\, a a^{{\\top}}, \\quad o = {parts[0]}, \\quad a = {parts[1]}\n$$"


def _reason(step: Step, number: str = "") -> list[str]:
    """The reason of a step, wrapped to rows: text in a formula is not broken into lines."""
    mark = step.decision.method if step.proved else f"NOT PROVED, {step.decision.method}"
    return [words(row) for row in wrap(f"{number}{step.justification} ({mark})", _TEXT_WIDTH)]


def _formula(expression: sympy.Basic) -> list[str]:
    lines = [rf"\qquad {for_browsers(_unaligned(line))}" for line in rows(expression)]
    size = sum(map(len, lines))
    return lines if size <= _ROW_LIMIT else [rf"\qquad {words(f'(a formula of {size:,} letters; to_latex has it)')}"]


def _unaligned(line: str) -> str:
    r"""A row without the ``&`` at its relation sign; those inside a matrix stay."""
    depth = 0
    for match in re.finditer(r"\\begin|\\end|\\.|&", line):
        depth += {r"\begin": 1, r"\end": -1}.get(match[0], 0)
        if match[0] == "&" and depth == 0:
            return line[: match.start()] + line[match.end() :]
    return line


def _display(lines: list[str]) -> str:
    body = " \\\\\n".join(f"&{line}" for line in lines)
    return f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"
