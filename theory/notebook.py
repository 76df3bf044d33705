r"""Derivations and operators as LaTeX for notebooks: what MathJax and KaTeX set without macros or packages.

`theory.latex.render` writes for pdflatex; browsers know no ``\intertext``, and MathJax reads nothing but letters
inside ``\text``. So the reasons of a derivation stand in rows of their own, and special characters stand outside of
``\text``.
"""

import re
from collections.abc import Sequence
from textwrap import wrap

import sympy

from theory.core.derivation import Derivation, Statement, Step
from theory.core.notation import SYMBOL_NAMES
from theory.latex.names import in_unicode
from theory.latex.render import plain_tex, rows
from theory.macros import expanded, group_end

_ROW_LIMIT, _TOTAL_LIMIT = 4_000, 40_000  # letters of LaTeX of one formula, and of a whole derivation
_ENTRIES, _TEXT_WIDTH = 20, 90  # entries of a vector, letters of a line of text
_SPECIAL = {
    "\\": r"\backslash ", "^": r"\hat{\ }", "~": r"\sim ", "<": r"\lt ", ">": r"\gt ", "|": "|", "`": r"\grave{\ }",
    **{c: "\\" + c for c in "&%$#_{}"},
}  # fmt: skip
_TEXT = re.compile(r"\\text\{")


def words(text: str) -> str:
    r"""Plain text in math mode: letters in ``\text``, every character that TeX obeys as a symbol.

    Examples
    --------
    >>> words("K_l > 0")
    '\\text{K}\\_\\text{l }\\gt \\text{ 0}'
    """
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    parts = re.split(r"([\\^~<>|`&%$#_{}])", printable)
    return "".join(_SPECIAL.get(part, rf"\text{{{part}}}") for part in parts if part)


def for_browsers(latex: str) -> str:
    r"""LaTeX whose ``\text`` groups hold letters only, and whose macros of the paper's notation are written out.

    Examples
    --------
    >>> for_browsers(r"\rho_{\text{a\_\"{u}\textless{}}}")
    '\\rho_{{\\text{a}\\_\\text{ü}\\lt }}'
    """
    latex, result = expanded(latex), ""
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


def statement_latex(statement: Statement) -> str:
    """What a derivation claims."""
    return formula_latex(statement.expression)


def derivation_latex(derivation: Derivation) -> str:
    """A derivation: what is claimed, then every step with its reason; very long ones are cut after a step."""
    status = "proved" if derivation.proved else "not proved"
    lines = [words(f"{derivation.slug}: {status}"), *_formula(derivation.statement.expression)]
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
    """The reason of a step in rows: nothing breaks a line of text in a formula."""
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
