"""Symbolic towers: forward pass, Jacobians and connections of section 0 (arXiv 2010.00578).

Weights, input and gates are symbols. A gate is an independent symbol of its own, so a proof holds for ReLU, leaky
ReLU and linear towers at once. `gradient` differentiates the squared distance entry by entry, without connections.
"""

from dataclasses import dataclass
from math import prod
from numbers import Integral

import sympy
from sympy import Expr, ImmutableDenseMatrix, Matrix

from hltm.base.errors import InputError
from theory.core.notation import real
from theory.core.record import differentiated

TERM_LIMITS = {"linear": 100_000, "normalized": 300}
"""Largest estimated number of monomials of the gradients that is written out (a few seconds), by output."""


@dataclass(frozen=True)
class Tower:
    """A tower with symbolic entries; lists over layers start at layer 1."""

    weights: tuple[ImmutableDenseMatrix, ...]
    gates: tuple[ImmutableDenseMatrix, ...]
    activations: tuple[ImmutableDenseMatrix, ...]
    normalized: bool = False

    @property
    def layers(self) -> int:
        return len(self.weights)

    @property
    def norm(self) -> Expr:
        """``||u||`` of the last pre-activation."""
        return sympy.sqrt(sympy.Add(*(entry**2 for entry in self.activations[-1])))

    @property
    def output(self) -> ImmutableDenseMatrix:
        """``f_L``, a column."""
        return self.activations[-1] / self.norm if self.normalized else self.activations[-1]


def checked_widths(widths: object, output: str = "linear") -> tuple[int, ...]:
    """Widths ``(n_0, ..., n_L)`` as integers."""
    if isinstance(widths, str) or not hasattr(widths, "__iter__"):
        raise InputError(f"widths={widths!r} of 'dual-gradient': must be a sequence of positive integers or None")
    values = tuple(widths)
    if len(values) < 2:
        raise InputError(f"widths={values!r} of 'dual-gradient': must have at least two entries, n_0 and n_1")
    for position, width in enumerate(values):
        if isinstance(width, bool) or not isinstance(width, Integral) or width < 1:
            raise InputError(f"widths[{position}]={width!r} of 'dual-gradient': must be a positive integer")
    sizes = tuple(map(int, values))
    if gradient_terms(sizes) > TERM_LIMITS[output]:
        raise InputError(
            f"widths={sizes!r} of 'dual-gradient': too large to be written out entry by entry "
            f"for output={output!r}; widths=None proves all sizes"
        )
    return sizes


def gradient_terms(widths: tuple[int, ...]) -> int:
    """About how many monomials the gradients have: entries of W_l, times paths through one, times paths."""
    paths = prod(widths)
    return 2 * paths * paths * (len(widths) - 1) // widths[-1]


def tower(widths: tuple[int, ...], name: str, normalized: bool = False) -> Tower:
    """A tower with symbols named after ``name`` ("1", "2")."""
    weights, gates = [], []
    current = ImmutableDenseMatrix(widths[0], 1, lambda i, _: real(f"x^{{{name}}}_{{{i + 1}}}"))
    activations = [current]
    for layer in range(1, len(widths)):
        shape = widths[layer], widths[layer - 1]
        names = (f"W^{{{name}}}_{{{layer},{b + 1}{a + 1}}}" for b in range(shape[0]) for a in range(shape[1]))
        weights.append(ImmutableDenseMatrix(*shape, [real(n) for n in names]))
        current = weights[-1] * current
        if layer < len(widths) - 1:
            diagonal = [real(f"d^{{{name}}}_{{{layer},{b + 1}}}") for b in range(shape[0])]
            gates.append(ImmutableDenseMatrix(Matrix.diag(*diagonal)))
            current = gates[-1] * current
        activations.append(current)
    return Tower(tuple(weights), tuple(gates), tuple(activations), normalized)


def jacobian(net: Tower, layer: int) -> ImmutableDenseMatrix:
    """``J_l = du/dp_l`` at fixed gates by ``J_L = I``, ``J_l = J_{l+1} W_{l+1} D_l``; shape (n_L, n_l)."""
    size = net.weights[-1].rows
    result = ImmutableDenseMatrix(sympy.eye(size))
    for upper in range(net.layers, layer, -1):
        result = result * net.weights[upper - 1] * net.gates[upper - 2]
    return result


def kronecker_connection(previous: Matrix, jac: Matrix) -> ImmutableDenseMatrix:
    """``f_{l-1} kron J^T``: entry (a * n_l + b, c) is ``f_{l-1}[a] J[c, b]``; shape (n_l n_{l-1}, n_L)."""
    rows = [[entry * jac[c, b] for c in range(jac.rows)] for entry in previous for b in range(jac.cols)]
    return ImmutableDenseMatrix(rows)


def connection(net: Tower, layer: int, side: str = "forward") -> ImmutableDenseMatrix:
    """Connection ``K_l`` of a tower; with a normalised output the forward or the backward one."""
    jac = jacobian(net, layer)
    if net.normalized:
        if side == "backward":
            jac = (sympy.eye(jac.rows) - net.output * net.output.T) * jac
        jac = jac / net.norm
    return kronecker_connection(net.activations[layer - 1], jac)


def vec(matrix: Matrix) -> ImmutableDenseMatrix:
    """Columns stacked: entry (b, a) at index ``a * rows + b``."""
    return ImmutableDenseMatrix([matrix[b, a] for a in range(matrix.cols) for b in range(matrix.rows)])


def squared_distance(first: Tower, second: Tower) -> Expr:
    """``r = 1/2 ||f_{1,L} - f_{2,L}||^2``."""
    gap = first.output - second.output
    return sympy.Rational(1, 2) * sympy.Add(*(entry**2 for entry in gap))


def gradient(distance: Expr, weight: Matrix) -> ImmutableDenseMatrix:
    """``vec(dr/dW)`` at fixed gates, by differentiation with respect to every entry."""
    return vec(weight.applyfunc(lambda entry: differentiated(distance, entry)))
