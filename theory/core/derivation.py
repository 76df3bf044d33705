"""A derivation as data: statement, assumptions, a chain of checked steps, residual, and what decided it.

The statements of arXiv 2010.00578 come out of ``theory.derive`` in this form; ``theory.latex.render`` writes it.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sympy

from theory.core.decide import Decision, combine, decide_positive, decide_zero

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True)
class Step:
    """One step: an equation or inequality, the named identity that gives it, and what decided it.

    Attributes
    ----------
    expression
        Unevaluated SymPy relation (``Eq``, ``Gt``, ``Lt``).
    justification
        The named identity, in plain words.
    decision
        What decided that the relation holds.

    Examples
    --------
    >>> from theory.registry import derive
    >>> step = derive("dual-gradient").steps[0]
    >>> step.proved, step.justification
    (True, 'expansion of a square: the coefficient of t is the differential dr = (f_1 - f_2)^T df_1')
    """

    expression: sympy.Basic
    justification: str
    decision: Decision

    @property
    def proved(self) -> bool:
        """Whether the step was decided true by a proof method."""
        return self.decision.value is True

    def _repr_latex_(self) -> str:
        """The step for a notebook: its reason and its formula."""
        from theory.latex.render import step_latex

        return step_latex(self)


@dataclass(frozen=True)
class Statement:
    """What a derivation claims: a text, and the SymPy relation, or several of them.

    Attributes
    ----------
    text
        The claim in words and plain formulas.
    expression
        The relation that the text names; of several, a ``Tuple`` (see ``together``).
    convention
        Convention of the update that is claimed: "shared" (the gradient flows through every tower), "one-branch"
        (through ``x_1`` only), or nothing where no update is.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> statement = Statement("twice x is x + x", sympy.Eq(2 * x, x + x, evaluate=False))
    >>> str(statement), len(statement.relations)
    ('twice x is x + x', 1)
    """

    text: str
    expression: sympy.Basic
    convention: str = ""

    @property
    def relations(self) -> tuple[sympy.Basic, ...]:
        """The relations one by one, in the order of the text."""
        return relations_of(self.expression)

    def __str__(self) -> str:
        return self.text

    def _repr_latex_(self) -> str:
        """The relation for a notebook."""
        from theory.latex.render import statement_latex

        return statement_latex(self)


@dataclass(frozen=True)
class Derivation:
    """A statement with the chain of checked steps that proves it, or with what is left where it fails.

    Attributes
    ----------
    slug
        Canonical name of the statement ("dual-gradient", ...).
    statement
        Text and SymPy relation.
    assumptions
        What the statement needs, one text each.
    steps
        Checked steps, each with a named identity.
    residual
        Left-hand side minus right-hand side in normal form: 0 (or a zero matrix) where the statement holds.
    decision
        What decided that the residual is zero.

    Examples
    --------
    >>> import theory
    >>> theory.derive("dual-gradient", widths=(2, 1, 1)).proved
    True
    """

    slug: str
    statement: Statement
    assumptions: tuple[str, ...]
    steps: tuple[Step, ...]
    residual: sympy.Basic
    decision: Decision

    @property
    def proved(self) -> bool:
        """True only if every step and the residual are decided true by a proof method."""
        return self.decision.value is True and all(step.proved for step in self.steps)

    def latex(self, form: str = "align") -> str:
        """LaTeX of the derivation: "equation", "align" or "standalone" (see ``theory.to_latex``)."""
        from theory.latex.render import to_latex

        return to_latex(self, form)

    def _repr_latex_(self) -> str:
        """The derivation for a notebook: what is claimed, and every step with its reason."""
        from theory.latex.render import derivation_latex

        return derivation_latex(self)


def together(relations: "Iterable[sympy.Basic]") -> sympy.Basic:
    """Several relations as a ``Tuple``; a single one as it is."""
    listed = tuple(relations)
    return listed[0] if len(listed) == 1 else sympy.Tuple(*listed)


def relations_of(expression: sympy.Basic) -> tuple[sympy.Basic, ...]:
    """The relations that are shown together."""
    return tuple(expression) if isinstance(expression, sympy.Tuple) else (expression,)


def verdict(steps: "Iterable[Step]", decision: Decision) -> Decision:
    """The decision of the residual, overruled by a step that is refuted or undecided."""
    worst = combine([decision, *(step.decision for step in steps)])
    return decision if worst.value is True else worst


def equation(left: sympy.Basic, right: sympy.Basic) -> sympy.Basic:
    """An equation that SymPy does not evaluate."""
    return sympy.Eq(left, right, evaluate=False)


def zero_step(left: sympy.Expr, right: sympy.Expr, justification: str) -> Step:
    """A step ``left = right`` of scalar or explicit matrix expressions, decided by ``decide_zero``."""
    return Step(equation(left, right), justification, decide_zero(left - right))


def positive_step(expression: sympy.Expr, shown: sympy.Expr, justification: str) -> Step:
    """A step ``shown > 0``, decided on ``expression``, which equals ``shown``."""
    return Step(sympy.Gt(shown, 0, evaluate=False), justification, decide_positive(expression))
