"""A derivation as data: a claim, a chain of checked steps, and a reading that decides the claim from them.

The statements of arXiv 2010.00578 come out of ``theory.derive`` in this form; ``theory.latex.render`` writes it.
*Proved* is said of the claim that is shown: the reading takes its relations as they stand, puts in what the steps have
derived for their symbols, and decides what is left.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property

import sympy

from theory.core.claim import Claim, Reading, equation, reading, together
from theory.core.decide import ABSTAINED, Decision, combine, decide_positive, decide_zero
from theory.core.order import decide_relation
from theory.core.quantity import Ranges, within

__all__ = ("Claim", "Derivation", "Step", "concluded", "equation", "positive_step", "stated", "together", "zero_step")


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
class Derivation:
    """A claim with the chain of checked steps that proves it, or with what is left where it fails.

    Attributes
    ----------
    slug
        Canonical name of the statement ("dual-gradient", ...).
    claim
        Text, relations and assumptions.
    steps
        Checked steps, each with a named identity.
    residual
        What is left of the difference of the two sides: 0 (or a zero matrix) where the claim holds; None where the
        claim is a chain of steps without one difference.
    read
        How a claim about these symbols is decided; by its relations alone where nothing is said.
    ranges
        Ends between which symbols lie: a witness has values there.

    Examples
    --------
    >>> import theory
    >>> derived = theory.derive("dual-gradient", widths=(2, 1, 1))
    >>> derived.proved, derived.decides(derived.claim.mutants()["times 7 in relation 1"]).value
    (True, False)
    """

    slug: str
    claim: Claim
    steps: tuple[Step, ...]
    residual: sympy.Basic | None = None
    read: Reading = field(default=reading(decide_relation), compare=False, repr=False)
    ranges: Ranges = field(default_factory=dict, compare=False, repr=False)

    def decides(self, claim: Claim) -> Decision:
        """Whether the steps decide a claim about the same symbols: proved, refuted, or neither.

        Parameters
        ----------
        claim
            The claim of this derivation, or another one: ``claim.replace(relations=...)``, one of its ``mutants()``.

        Returns
        -------
        Decision
            True only where every step is proved and every relation of the claim follows; False with what refutes it.

        Examples
        --------
        >>> import theory
        >>> derived = theory.derive("covariance-operator")
        >>> [derived.decides(wrong).value for wrong in derived.claim.mutants().values()]
        [False, False]
        """
        found = self._read(claim)
        if not self.steps:
            return found
        chain = combine([step.decision for step in self.steps])
        if chain.value is True:
            return found
        if chain.value is False and claim != self.claim:
            return Decision(None, ABSTAINED, f"a step of the derivation is false: {chain.detail}")
        return chain

    def _read(self, claim: Claim) -> Decision:
        if claim.convention != self.claim.convention:
            return Decision(None, ABSTAINED, f"convention {claim.convention!r}: derived is {self.claim.convention!r}")
        missing = [text for text in self.claim.assumptions if text not in claim.assumptions]
        if missing:
            return Decision(None, ABSTAINED, f"the derivation assumes: {missing[0]}")
        try:
            with within(self.ranges):
                return self.read(claim)
        except (AttributeError, TypeError, ValueError, NotImplementedError, sympy.PolynomialError) as error:
            return Decision(None, ABSTAINED, f"the claim cannot be read: {type(error).__name__}: {error!s:.60}")

    @cached_property
    def decision(self) -> Decision:
        """What decided the claim of this derivation."""
        return self.decides(self.claim)

    @property
    def proved(self) -> bool:
        """Whether the steps decide the claim, as it is shown, to be true."""
        return self.decision.value is True

    @property
    def statement(self) -> Claim:
        """The claim."""
        return self.claim

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the claim needs, one text each."""
        return self.claim.assumptions

    def latex(self, form: str = "align") -> str:
        """LaTeX of the derivation: "equation", "align" or "standalone" (see ``theory.to_latex``)."""
        from theory.latex.render import to_latex

        return to_latex(self, form)

    def _repr_latex_(self) -> str:
        """The derivation for a notebook: what is claimed, and every step with its reason."""
        from theory.latex.render import derivation_latex

        return derivation_latex(self)


def stated(relation: sympy.Basic, justification: str, read: Reading) -> Step:
    """A step that is a relation of the claim, decided as the claim is."""
    return Step(relation, justification, read(Claim("", (relation,))))


def concluded(slug: str, claim: Claim, steps: Iterable[Step], read: Reading) -> Derivation:
    """The derivation whose last steps are the relations of the claim."""
    last = [stated(one, "the claim, with what was derived for its symbols put in", read) for one in claim.relations]
    return Derivation(slug, claim, (*steps, *last), None, read)


def zero_step(left: sympy.Expr, right: sympy.Expr, justification: str) -> Step:
    """A step ``left = right`` of scalar or explicit matrix expressions, decided by ``decide_zero``."""
    return Step(equation(left, right), justification, decide_zero(left - right, (left, right)))


def positive_step(expression: sympy.Expr, shown: sympy.Expr, justification: str) -> Step:
    """A step ``shown > 0``, decided on ``expression``, which equals ``shown``."""
    return Step(sympy.Gt(shown, 0, evaluate=False), justification, decide_positive(expression))
