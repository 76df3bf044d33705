"""Expectations over a Gaussian: a node for claims, and its value where there is a closed form.

Of a scalar x the closed forms are those of polynomials, exponentials of polynomials of degree two at most, relu,
absolute values and steps of one affine function, and products of them: an exponential moves the law to another
Gaussian, and a step leaves truncated moments. Of a vector they are traces of sums of products with x twice at most. A
value agrees with a quadrature at a point, else the decision abstains.
"""

from typing import Any

import mpmath
import sympy
from sympy import Expr, Integer, MatrixExpr, MatrixSymbol, Symbol

from hltm.base.errors import InputError
from theory.core.networks import UndecidedError
from theory.core.signs import sign_of

GAUSSIAN = "Gaussian moments"
DEGREE_LIMIT = 24
TERM_LIMIT = 400
_PIECES = (sympy.Max, sympy.Min, sympy.Abs, sympy.Heaviside, sympy.sign)


class GaussianMean(Expr):  # type: ignore[misc]
    r"""The expectation of an expression over ``x = mean + deviation z`` with z standard normal; it is not evaluated.

    Parameters
    ----------
    expression
        A function of x; nested nodes are expectations over independent variables. Where x is a vector, a scalar.
    variable
        A real symbol, or a MatrixSymbol of shape (n, 1).
    mean, deviation
        Numbers of x: its mean, and its standard deviation, which is positive. Of a vector: shapes (n, 1) and (n, m),
        where the covariance is ``deviation deviation^T``.

    Errors
    ------
    InputError
        A variable that is no symbol, shapes that do not fit.

    Source
    ------
    Claims of users.

    Examples
    --------
    >>> import theory
    >>> x, t, mu = sympy.symbols("x t mu", real=True)
    >>> s = sympy.Symbol("s", positive=True)
    >>> mean = theory.GaussianMean(sympy.exp(t * x), x, mu, s)
    >>> theory.decide_relation(sympy.Eq(mean, sympy.exp(mu * t + s**2 * t**2 / 2), evaluate=False)).value
    True
    >>> half = theory.GaussianMean(sympy.Max(x, 0) ** 2, x, 0, s)
    >>> theory.decide_relation(sympy.Eq(half, s**2, evaluate=False)).detail
    'by Gaussian moments: 1 terms remain; at s = 3: left - right = -9/2'
    """

    is_commutative = True

    def __new__(cls, expression: Any, variable: Any, mean: Any = 0, deviation: Any = 1) -> "GaussianMean":
        parts = [sympy.sympify(part, strict=True) for part in (expression, variable, mean, deviation)]
        if not isinstance(parts[1], Symbol | MatrixSymbol):
            raise InputError(f"variable={variable!r:.40} of GaussianMean: must be a symbol or a MatrixSymbol")
        if isinstance(parts[1], MatrixSymbol):
            rows, columns = parts[1].shape
            shapes = [getattr(part, "shape", None) for part in parts[2:]]
            if columns != 1 or shapes[0] != (rows, 1) or shapes[1] is None or shapes[1][0] != rows:
                rule = "the variable and the mean must be columns, the deviation must have as many rows"
                raise InputError(f"GaussianMean: shapes {parts[1].shape}, {shapes[0]}, {shapes[1]}: {rule}")
        made: GaussianMean = Expr.__new__(cls, *parts)
        return made

    @property
    def free_symbols(self) -> set[Any]:
        """The symbols that the expectation depends on: not its variable."""
        expr, variable, mean, deviation = self.args
        return {*(expr.free_symbols - {variable}), *mean.free_symbols, *deviation.free_symbols}

    @property
    def bound_symbols(self) -> list[Any]:
        """The variable."""
        return [self.args[1]]

    def _eval_is_extended_real(self) -> bool | None:
        return True if self.args[0].is_extended_real else None

    def _latex(self, printer: Any) -> str:
        expr, variable, mean, deviation = self.args
        square = sympy.MatMul(deviation, deviation.T) if hasattr(deviation, "shape") else deviation**2
        law = rf"\mathcal{{N}}({printer._print(mean)}, {printer._print(square)})"
        return rf"\mathbb{{E}}_{{{printer._print(variable)} \sim {law}}}\left[{printer._print(expr)}\right]"


def gaussian_value(node: GaussianMean) -> Expr:
    """The closed form of an expectation; `UndecidedError` where there is none."""
    expr, x, mean, deviation = node.args
    if any(part.has(x) for part in (mean, deviation)):
        raise UndecidedError(f"the mean or deviation of {x} depends on {x}")
    if isinstance(x, MatrixSymbol):
        return _vector_mean(expr, x, mean, deviation)
    sign, _ = sign_of(deviation)
    if not (sign.up and sign.nonzero) or mean.is_extended_real is not True:
        raise UndecidedError(f"{deviation} must be known to be positive and {mean} to be real")
    inside = sympy.Dummy("x", real=True)
    terms = sympy.Add.make_args(sympy.expand(_prepared(expr.xreplace({x: inside}), inside)))
    if len(terms) > TERM_LIMIT:
        raise UndecidedError(f"an expectation of more than {TERM_LIMIT} terms")
    value = sympy.Add(*(_term(term, inside, mean, deviation) for term in terms))
    _check_quadrature(expr.xreplace({x: inside}), inside, mean, deviation, value)
    return value


def _prepared(expr: Expr, x: Symbol) -> Expr:
    """Hyperbolic functions as exponentials, maxima and minima as relu and a step."""
    expr = expr.replace(
        lambda part: isinstance(part, sympy.sinh | sympy.cosh) and part.has(x), lambda part: part.rewrite(sympy.exp)
    )
    for _ in range(20):
        pieces = [p for p in expr.atoms(*_PIECES) if p.has(x) and not any(a.has(*_PIECES) for a in p.args)]
        if not pieces:
            return expr
        expr = expr.xreplace({piece: _piece(piece, x) for piece in pieces})
    raise UndecidedError("nested maxima")


class _Step(sympy.Function):  # type: ignore[misc]
    """1 where the argument is positive, else 0."""

    nargs = 1


def _piece(piece: Expr, x: Symbol) -> Expr:
    if isinstance(piece, sympy.Heaviside):
        return _Step(piece.args[0])
    if isinstance(piece, sympy.sign):
        return 2 * _Step(piece.args[0]) - 1
    if isinstance(piece, sympy.Abs):
        inner = piece.args[0]
        return 2 * inner * _Step(inner) - inner
    turn = 1 if isinstance(piece, sympy.Max) else -1
    best, *others = piece.args
    if len(others) != 1:
        raise UndecidedError("a maximum of more than two functions")
    gap = others[0] - best
    return best + gap * _Step(turn * gap)


def _linear(argument: Expr, x: Symbol) -> tuple[Expr, Expr]:
    """Slope and constant of an affine function whose slope has a known sign."""
    poly = sympy.Poly(sympy.expand(argument), x)
    if poly.degree() != 1 or poly.as_expr().has(_Step):
        raise UndecidedError(f"a step of {argument!s:.40}, which is not affine")
    slope, constant = poly.coeff_monomial(x), poly.coeff_monomial(1)
    sign, _ = sign_of(slope)
    if not (sign.nonzero and (sign.up or sign.down)) or constant.is_extended_real is not True:
        raise UndecidedError(f"the sign of {slope!s:.40} is not known, or {constant!s:.40} is not known to be real")
    return slope, constant


def _term(term: Expr, x: Symbol, mean: Expr, deviation: Expr) -> Expr:
    """The expectation of a product."""
    outer, inner = term.as_independent(x, as_Add=False)
    polynomial, exponent, steps, waves = Integer(1), Integer(0), [], []
    for factor in sympy.Mul.make_args(inner):
        base, power = factor.as_base_exp()
        if base is sympy.E or (isinstance(base, sympy.exp) and base.args[0].is_extended_real):
            exponent += power if base is sympy.E else base.args[0] * power
        elif isinstance(base, _Step) and power.is_Integer and power > 0:
            steps.append(base.args[0])
        elif isinstance(base, sympy.cos | sympy.sin) and power == 1:
            waves.append(base)
        elif power.is_Integer and 0 < power <= DEGREE_LIMIT and base.is_polynomial(x):
            polynomial *= factor
        else:
            raise UndecidedError(f"no closed form of the mean of {factor!s:.40}")
    law = _tilted(sympy.expand(exponent), x, mean, deviation)
    factor, centre, variance = law
    if waves:
        if len(waves) > 1 or steps or polynomial != 1:
            raise UndecidedError(f"no closed form of the mean of {inner!s:.40}")
        poly = sympy.Poly(sympy.expand(waves[0].args[0]), x)
        if poly.degree() != 1:
            raise UndecidedError(f"no closed form of the mean of {waves[0]!s:.40}")
        slope, constant = poly.coeff_monomial(x), poly.coeff_monomial(1)
        return outer * factor * sympy.exp(-(slope**2) * variance / 2) * waves[0].func(slope * centre + constant)
    if not steps:
        return outer * factor * _moments(sympy.Poly(polynomial, x), centre, variance)
    return outer * factor * _truncated(polynomial, steps, x, centre, variance)


def _tilted(exponent: Expr, x: Symbol, mean: Expr, deviation: Expr) -> tuple[Expr, Expr, Expr]:
    """``e^exponent`` times the density as a number times another density: the number, its mean and its variance."""
    if not exponent.is_polynomial(x):
        raise UndecidedError(f"no closed form of the mean of exp({exponent!s:.40})")
    poly = sympy.Poly(exponent, x)
    if poly.degree() > 2:
        raise UndecidedError("the exponential of a polynomial of degree above two")
    curved, slope, constant = (poly.coeff_monomial(x**power) for power in (2, 1, 0))
    square = deviation**2
    if curved == 0:
        return sympy.exp(constant + slope * mean + slope**2 * square / 2), mean + slope * square, square
    narrow = 1 - 2 * curved * square
    sign, _ = sign_of(sympy.expand(narrow))
    if not (sign.up and sign.nonzero):
        raise UndecidedError(f"{narrow!s:.40} is not known to be positive: the mean may be infinite")
    variance = square / narrow
    centre = variance * (mean / square + slope)
    shift = sympy.together(centre**2 / (2 * variance) - mean**2 / (2 * square) + constant)
    return sympy.exp(sympy.cancel(shift)) / sympy.sqrt(narrow), centre, variance


def _moments(poly: sympy.Poly, centre: Expr, variance: Expr) -> Expr:
    """The mean of a polynomial under a Gaussian."""
    if poly.is_zero:
        return Integer(0)
    if poly.degree() > DEGREE_LIMIT:
        raise UndecidedError(f"a moment of order above {DEGREE_LIMIT}")
    moments = [Integer(1), centre]
    for order in range(2, poly.degree() + 1):
        moments.append(sympy.expand(centre * moments[-1] + (order - 1) * variance * moments[-2]))
    return sympy.Add(*(coefficient * moments[power] for (power,), coefficient in poly.terms()))


def _truncated(polynomial: Expr, steps: list[Expr], x: Symbol, centre: Expr, variance: Expr) -> Expr:
    """The mean of a polynomial where all the affine functions are positive; they must be multiples of one of them."""
    slope, constant = _linear(steps[0], x)
    turned = False
    for other in steps[1:]:
        ratio = sympy.cancel(other / steps[0])
        sign, _ = sign_of(ratio)
        if ratio.has(x) or not sign.nonzero or not (sign.up or sign.down):
            raise UndecidedError("steps at several points")
        turned |= sign.down
    if turned:  # both a function and its negative are positive: nowhere
        return Integer(0)
    up = sign_of(slope)[0].up
    size = (slope if up else -slope) * sympy.sqrt(variance)
    middle = slope * centre + constant
    y = sympy.Dummy("y", real=True)
    poly = sympy.Poly(sympy.expand(polynomial.xreplace({x: (y - constant) / slope})), y)
    if poly.degree() > DEGREE_LIMIT:
        raise UndecidedError(f"a moment of order above {DEGREE_LIMIT}")
    z = sympy.cancel(middle / size)
    above = (1 + sympy.erf(z / sympy.sqrt(2))) / 2
    density = sympy.exp(sympy.expand(-(z**2) / 2)) / sympy.sqrt(2 * sympy.pi)
    moments = [above, middle * above + size * density]
    for order in range(2, poly.degree() + 1):
        moments.append(sympy.expand(middle * moments[-1] + (order - 1) * size**2 * moments[-2]))
    return sympy.Add(*(coefficient * moments[power] for (power,), coefficient in poly.terms()))


def _check_quadrature(expr: Expr, x: Symbol, mean: Expr, deviation: Expr, value: Expr) -> None:
    """Abstain where a quadrature at a point does not agree with the closed form."""
    from theory.core.asymptotics import sample

    point = sample(sympy.Tuple(expr, mean, deviation), x)
    center, width = (part.xreplace(point) for part in (mean, deviation))
    closed = value.xreplace(point)
    if not (center.is_number and width.is_number and closed.is_number):
        return
    function = sympy.lambdify(x, expr.xreplace(point), "mpmath")
    kinks = [p.args[0] - (p.args[1] if isinstance(p, sympy.Max | sympy.Min) else 0) for p in expr.atoms(*_PIECES)]
    places = sorted({float(r) for k in kinks for r in _roots(k.xreplace(point), x)})
    low, high = float(center) - 40 * float(width), float(center) + 40 * float(width)
    inner = [float(center) + n * float(width) for n in (-8, -2, 2, 8)]
    ends = [low, *sorted({*inner, *(p for p in places if low < p < high)}), high]
    norm = mpmath.mpf(float(width)) * mpmath.sqrt(2 * mpmath.pi)
    try:
        found = mpmath.quad(
            lambda t: function(t) * mpmath.exp(-(((t - float(center)) / float(width)) ** 2) / 2) / norm, ends
        )
        gap = abs(found - mpmath.mpf(str(sympy.N(closed, 20))))
    except (TypeError, ValueError, ZeroDivisionError, OverflowError, NameError):
        return
    if gap > 1e-6 * (1 + abs(found)):
        raise UndecidedError(f"the closed form {value!s:.60} and a quadrature disagree")


def _roots(expr: Expr, x: Symbol) -> list[Expr]:
    try:
        return [root for root in sympy.real_roots(sympy.Poly(expr, x)) if root.is_number]
    except (sympy.PolynomialError, NotImplementedError, ValueError):
        return []


# Vectors.


def _vector_mean(expr: Expr, x: MatrixSymbol, mean: MatrixExpr, deviation: MatrixExpr) -> Expr:
    """The mean of a sum of products with x twice at most."""
    total = []
    for term in sympy.Add.make_args(sympy.expand(expr)):
        outer, inner = term.as_independent(x, as_Add=False) if term.has(x) else (term, Integer(1))
        factors = list(sympy.Mul.make_args(inner))
        if inner == 1:
            total.append(outer)
            continue
        if len(factors) > 1 or not isinstance(factors[0], sympy.Trace):
            raise UndecidedError(f"no closed form of the mean of {inner!s:.40}, which is no trace")
        total.append(outer * _trace_mean(factors[0].arg, x, mean, deviation))
    return sympy.Add(*total)


def _trace_mean(matrix: MatrixExpr, x: MatrixSymbol, mean: MatrixExpr, deviation: MatrixExpr) -> Expr:
    from theory.core.notation import without_powers

    written = without_powers(matrix).doit()
    parts = []
    for term in written.args if isinstance(written, sympy.MatAdd) else (written,):
        scalar, factors = term.as_coeff_matrices() if isinstance(term, sympy.MatMul) else (Integer(1), [term])
        places = [n for n, factor in enumerate(factors) if factor in (x, sympy.Transpose(x), x.T)]
        others = [scalar, *(factor for n, factor in enumerate(factors) if n not in places)]
        if any(other.has(x) for other in others) or len(places) > 2:
            raise UndecidedError(f"no closed form of the mean of {term!s:.40}")
        centred = [f.xreplace({x: mean}) if n in places else f for n, f in enumerate(factors)]
        value = sympy.Trace(sympy.MatMul(*centred)) if places else sympy.Trace(sympy.MatMul(*factors))
        if len(places) == 2:
            first, second = places
            turned = [factors[n] != x for n in places]
            if turned[0] == turned[1]:
                raise UndecidedError(f"no closed form of the mean of {term!s:.40}")
            # Cyclic: x^T M x N is x N x^T M, and a column times 1 x 1 times a row is a matrix.
            between, around = factors[first + 1 : second], [*factors[second + 1 :], *factors[:first]]
            if turned[0]:
                between, around = around, between
            spread = sympy.Trace(sympy.MatMul(deviation, sympy.Transpose(deviation), *around))
            value += spread * (sympy.Trace(sympy.MatMul(*between)) if between else 1)
        parts.append(scalar * value)
    return sympy.Add(*parts)
