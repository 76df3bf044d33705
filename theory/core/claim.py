"""The claim of a statement as one value: relations over typed symbols, which are shown, decided and put to numbers.

A typed symbol (`quantity`) is a SymPy symbol that carries what it stands for: a role, and where it stands (tower,
layer, point, neuron). Its name only says how it prints; nothing is read out of a name.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import sympy
from sympy import Basic, MatMul, MatrixExpr, MatrixSymbol, Order, Pow, Symbol, Transpose
from sympy.core.relational import Relational

from theory.core.decide import ABSTAINED, Decision, combine


@dataclass(frozen=True)
class Claim:
    """What is claimed: relations over typed symbols, a text, and what they need.

    Attributes
    ----------
    text
        The claim in words and plain formulas.
    relations
        SymPy relations, not evaluated: equations, inequalities, orders (``Eq(symbol, Order(...))``).
    assumptions
        What the claim needs, one text each.
    convention
        Convention of the update that is claimed: "shared" (the gradient flows through every tower), "one-branch"
        (through ``x_1`` only), or nothing where no update is.

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> claim = Claim("twice x is x + x", sympy.Eq(2 * x, x + x, evaluate=False))
    >>> str(claim), len(claim.relations), claim.mutants()["sign"].relations
    ('twice x is x + x', 1, (Eq(2*x, -2*x),))
    """

    text: str
    relations: tuple[Basic, ...]
    assumptions: tuple[str, ...] = ()
    convention: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.relations, Basic):
            object.__setattr__(self, "relations", relations_of(self.relations))

    @property
    def expression(self) -> Basic:
        """The relation; several of them as a ``Tuple``."""
        return together(self.relations)

    @property
    def quantities(self) -> tuple[Any, ...]:
        """The symbols of the relations, in a fixed order."""
        found = {atom for relation in self.relations for atom in relation.atoms(Symbol, MatrixSymbol)}
        return tuple(sorted(found, key=sympy.default_sort_key))

    def __str__(self) -> str:
        return self.text

    def latex(self, form: str = "equation") -> str:
        """LaTeX of the relations: "equation", "align" or "standalone" (see ``theory.to_latex``)."""
        from theory.latex.render import to_latex

        return to_latex(self.expression, form)

    def _repr_latex_(self) -> str:
        """The relations for a notebook."""
        from theory.latex.render import formula_latex

        return formula_latex(self.expression)

    def replace(self, **changes: Any) -> "Claim":
        """Another claim, with other relations for example."""
        return replace(self, **changes)

    def mutants(self) -> dict[str, "Claim"]:
        """False claims, by the change that makes them false.

        Each changes one relation: the right side times 7, its sign, an order or an exponent that is off by one, a
        product in the other order, an inequality turned round. A weaker true claim is none of them.

        Returns
        -------
        dict
            Name of the change (with the number of the relation, of several) to the claim.
        """
        result = {}
        for number, relation in enumerate(self.relations):
            for name, wrong in _rewritten(relation):
                full = name if len(self.relations) == 1 else f"{name} in relation {number + 1}"
                changed = (*self.relations[:number], wrong, *self.relations[number + 1 :])
                result[full] = replace(self, relations=changed)
        return result

    def evaluate(self, values: Mapping[Basic, Any], arithmetic: Any = "float64") -> tuple[Any, ...]:
        """Both sides of every relation, computed from values of its symbols (see ``theory.core.evaluate``).

        Parameters
        ----------
        values
            Numbers or arrays of the symbols: fractions for "rational", balls (``flint.arb``) for "ball".
        arithmetic
            "rational", "ball" or "float64", or an `Arithmetic` of one's own.

        Returns
        -------
        tuple
            A ``Sides`` for every relation: ``relation``, ``left``, ``right``, arrays of shape (rows, columns).

        Raises
        ------
        InputError
            A symbol without a value, an array of another shape, an operation that the arithmetic does not have.
        """
        from theory.core.evaluate import evaluate

        return evaluate(self.relations, values, arithmetic)


Reading = Callable[[Claim], Decision]
"""How a derivation decides a claim: it puts what it has derived for the symbols, and decides what is left."""


def together(relations: Iterable[Basic]) -> Basic:
    """Several relations as a ``Tuple``; a single one as it is."""
    listed = tuple(relations)
    return listed[0] if len(listed) == 1 else sympy.Tuple(*listed)


def relations_of(expression: Basic) -> tuple[Basic, ...]:
    """The relations that are shown together."""
    return tuple(expression) if isinstance(expression, sympy.Tuple) else (expression,)


def reading(decide: Callable[[Basic], Decision]) -> Reading:
    """Decide a claim relation by relation, each of them once; a claim without a relation abstains."""
    known = cache(decide)

    def decided(claim: Claim) -> Decision:
        if not claim.relations:
            return Decision(None, ABSTAINED, "nothing is claimed")
        decisions = [known(relation) for relation in claim.relations]
        return decisions[0] if len(decisions) == 1 else combine(decisions)

    return decided


def undecided(relation: Basic) -> Decision:
    """Abstain on a relation without a derivation."""
    return Decision(None, ABSTAINED, f"nothing is derived about {sympy.sstr(relation):.80}")


# Rewrites that make a relation false.


def _rewritten(relation: Basic) -> Iterator[tuple[str, Basic]]:
    if isinstance(relation, sympy.Equality):
        yield from _wrong_equations(relation)
    elif isinstance(relation, sympy.Equivalent):
        first, *others = relation.args
        for name, wrong in _rewritten(first):
            yield name, relation.func(wrong, *others, evaluate=False)
    elif isinstance(relation, Relational):
        turned = {sympy.Gt: sympy.Lt, sympy.Lt: sympy.Gt, sympy.Ge: sympy.Lt, sympy.Le: sympy.Gt}.get(relation.func)
        if turned is not None:
            yield "turned round", turned(relation.lhs, relation.rhs, evaluate=False)
        if relation.rhs.is_Integer and relation.rhs != 0:
            yield "one less", relation.func(relation.lhs, relation.rhs - 1, evaluate=False)
        elif relation.lts != 0 and relation.rhs != 0:
            sides = [7 * side if side == relation.lts else side for side in relation.args]
            yield "times 7", relation.func(*sides, evaluate=False)


def _wrong_equations(relation: Basic) -> Iterator[tuple[str, Basic]]:
    left, right = relation.args
    if isinstance(right, Order):
        yield "order", equation(left, Order(right.expr * right.variables[0], *right.args[1:]))
        return
    if right == 0 or isinstance(right, sympy.ZeroMatrix):
        if isinstance(left, sympy.Add | sympy.MatAdd):
            *others, last = left.args
            yield "sign", equation(left.func(*others, -last), right)
        elif isinstance(left, MatrixExpr):
            if left.shape[0] == left.shape[1]:
                yield "not zero", equation(left, sympy.Identity(left.shape[0]))
        else:
            yield "not zero", equation(left, sympy.S.One)
        return
    yield "times 7", equation(left, MatMul(7, right) if isinstance(right, MatrixExpr) else 7 * right)
    yield "sign", equation(left, MatMul(-1, right) if isinstance(right, MatrixExpr) else -right)
    for name, change in (("exponent", _exponent), ("order of a product", _swapped)):
        wrong = _first(right, change)
        if wrong is not None:
            yield name, equation(left, wrong)


def _first(expr: Basic, change: Callable[[Basic], Basic | None]) -> Basic | None:
    """The expression with the first part that can be changed, changed."""
    wrong = change(expr)
    if wrong is not None:
        return wrong
    if isinstance(expr, Symbol | MatrixSymbol | sympy.MatrixBase):
        return None
    if isinstance(expr, sympy.Trace) and change is _swapped:  # tr(A B) = tr(B A)
        return None
    for number, part in enumerate(expr.args):
        wrong = _first(part, change)
        if wrong is not None:
            return expr.func(*expr.args[:number], wrong, *expr.args[number + 1 :])
    return None


def _exponent(expr: Basic) -> Basic | None:
    if isinstance(expr, Pow) and expr.exp.is_Integer and expr.exp >= 2:
        return expr.base ** (expr.exp + 1)
    return None


def _swapped(expr: Basic) -> Basic | None:
    """A product with its first two matrices exchanged where the shapes allow it: ``A^T A`` for ``A A^T`` not."""
    if not isinstance(expr, MatMul):
        return None
    scalars, matrices = expr.as_coeff_matrices()
    for number in range(len(matrices) - 1):
        first, second = matrices[number], matrices[number + 1]
        if first == second or (first.shape, second.shape) == ((1, 1), (1, 1)):
            continue
        if first.shape == second.shape and first.shape[0] == first.shape[1]:
            return MatMul(scalars, *matrices[:number], second, first, *matrices[number + 2 :])
        if isinstance(first, Transpose) and first.arg == second and second.shape[0] == second.shape[1]:
            return MatMul(scalars, *matrices[:number], second, first, *matrices[number + 2 :])
    return None


def equation(left: Basic, right: Basic) -> Basic:
    """An equation that SymPy does not evaluate."""
    return sympy.Eq(left, right, evaluate=False)
