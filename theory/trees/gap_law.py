r"""Statement 7: the exact law of the pre-activation gap of a neuron at initialisation.

``g = 2 w^T a`` with w iid uniform on ``[-b, b]`` is a weighted sum of uniforms. With ``c_i = 2 b |a_i|``, zeros left
out, and n of them, ``P(g >= t) = sum_signs (prod of signs) (sum_i sign_i c_i - t)_+^n / (2^n n! prod_i c_i)``. The sum
runs over the distinct values of ``sum_i sign_i |a_i|``: equal coefficients cost little. Everything is exact.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import sympy
from sympy import Expr, Integer, Piecewise, Rational, Symbol

from hltm.base.errors import InputError

SUM_LIMIT = 2**20
PIECE_LIMIT = 128


def exact(value: Any, place: str) -> Rational:
    """An int, Fraction or SymPy rational as a SymPy rational; anything else is refused."""
    if isinstance(value, Fraction | int | Rational) and not isinstance(value, bool):
        return Rational(value)
    raise InputError(f"{place}={value!r:.60}: must be exact: an int, a Fraction or a SymPy Rational")


@dataclass(frozen=True)
class GapLaw:
    """The law of ``g = 2 w^T a``, w iid uniform on ``[-bound, bound]``.

    Attributes
    ----------
    sizes
        ``|a_i|`` of the coefficients that are not zero, as integers over ``unit``.
    unit
        Common denominator of the coefficients.
    bound
        b: a positive number whose square is rational, so that ``sigma_w (3/n)^(1/2)`` is one.

    Examples
    --------
    >>> law = gap_law([Rational(1, 2), Rational(1, 4)])
    >>> law.survival(0), law.survival(1), law.largest
    (1/2, 1/16, 3/2)
    """

    sizes: tuple[int, ...]
    unit: int
    bound: Expr

    @property
    def largest(self) -> Expr:
        """The largest value of g, ``2 b sum |a_i|``."""
        return 2 * self.bound * Rational(sum(self.sizes), self.unit)

    @property
    def variance(self) -> Expr:
        """``Var g = 4 b^2 ||a||^2 / 3``."""
        return 4 * self.bound**2 * Rational(sum(size**2 for size in self.sizes), 3 * self.unit**2)

    @cached_property
    def signed_sums(self) -> dict[int, int]:
        """Every value of ``sum_i sign_i sizes_i``, with the sum of ``prod of signs`` over the signs that give it."""
        result = {0: 1}
        for size in self.sizes:
            shifted: dict[int, int] = {}
            for value, sign in result.items():
                shifted[value + size] = shifted.get(value + size, 0) + sign
                shifted[value - size] = shifted.get(value - size, 0) - sign
            result = {value: sign for value, sign in shifted.items() if sign}
            if len(result) > SUM_LIMIT:
                raise InputError(
                    f"coefficients of gap_law: {len(self.sizes)} that give more than {SUM_LIMIT:,} signed sums, must "
                    "give at most that many; round them to fewer distinct values, or draw numeric.TreeNetwork weights"
                )
        return result

    def survival(self, t: Any) -> Expr:
        """``P(g >= t)``, exact.

        Parameters
        ----------
        t
            A real number: int, Fraction, or a SymPy number whose ratio to the bound has a rational square.

        Raises
        ------
        InputError
            Another number; too many signed sums.

        Examples
        --------
        >>> gap_law([1] * 40, sympy.sqrt(Rational(3, 40))).survival(0)
        1/2
        """
        scaled = self._scaled(t)
        if not self.sizes:
            return Integer(int(bool(scaled <= 0)))
        tail = self._tail(abs(scaled), len(self.sizes)) / self._scale
        return sympy.expand(1 - tail if scaled < 0 else tail)  # the law is symmetric, and has no atoms

    def density(self, t: Any) -> Expr:
        """Density of g at t, exact; by symmetry that of -g. Needs a coefficient that is not zero.

        At a jump (one coefficient) it is the limit from within.

        Examples
        --------
        >>> gap_law([1, 1]).density(0), gap_law([1]).density(2)
        (1/4, 1/4)
        """
        scaled = self._scaled(t)
        if not self.sizes:
            raise InputError("density of gap_law: all coefficients are zero, g is 0 and has no density")
        n = len(self.sizes)
        return sympy.expand(self._tail(abs(scaled), n - 1) * n * self.unit / (2 * self.bound) / self._scale)

    def piecewise(self, t: Symbol) -> Piecewise:
        """``P(g >= t)`` as a Piecewise of polynomials in the real symbol t; for few coefficients.

        Raises
        ------
        InputError
            More than 128 pieces.

        Examples
        --------
        >>> gap_law([1]).piecewise(Symbol("t", real=True))
        Piecewise((1, t <= -2), (1/2 - t/4, t <= 2), (0, True))
        """
        sums = sorted(self.signed_sums.items())
        if len(sums) > PIECE_LIMIT:
            raise InputError(
                f"piecewise of gap_law: {len(sums)} pieces: must be at most {PIECE_LIMIT}; use survival(t)"
            )
        n = len(self.sizes)
        if n == 0:
            return Piecewise((Integer(1), t <= 0), (Integer(0), True))
        step = 2 * self.bound / self.unit
        pieces: list[tuple[Expr, Any]] = [(Integer(1), t <= sums[0][0] * step)]
        for index in range(1, len(sums)):
            terms = [sign * (value - t / step) ** n for value, sign in sums[index:]]
            pieces.append((sympy.expand(sympy.Add(*terms) / self._scale), t <= sums[index][0] * step))
        return Piecewise(*pieces, (Integer(0), True))

    @property
    def _scale(self) -> int:
        """``2^n n! prod sizes``, the denominator of the law."""
        return math.factorial(len(self.sizes)) * math.prod(2 * size for size in self.sizes)

    def _scaled(self, t: Any) -> Expr:
        """``t unit / (2 b)``: the place among the signed sums; a number with a rational square."""
        value = t if isinstance(t, Expr) and t.is_number and not t.has(sympy.Float) else exact(t, "t")
        scaled = sympy.radsimp(value * self.unit / (2 * self.bound))
        if not (scaled**2).is_Rational or not scaled.is_real:
            raise InputError(
                f"t={t!s:.60} of gap_law: the square of its ratio to the bound {self.bound} must be rational"
            )
        return scaled

    def _tail(self, place: Expr, power: int) -> Expr:
        """``sum over signed sums above the place of sign (sum - place)^power``, place >= 0."""
        p, q = (place**2).p, (place**2).q
        # Sums and place are not negative where it matters, so that they compare as their squares do.
        inside = (lambda v: v >= 0 and v * v * q >= p) if power == 0 else (lambda v: v > 0 and v * v * q > p)
        above = [(value, sign) for value, sign in self.signed_sums.items() if inside(value)]
        if place.is_Rational:
            total = sum(sign * (value * place.q - place.p) ** power for value, sign in above)
            return Rational(total, place.q**power)
        moments = [sum(sign * value**k for value, sign in above) for k in range(power + 1)]
        terms = [math.comb(power, k) * moment * (-place) ** (power - k) for k, moment in enumerate(moments)]
        return sympy.Add(*terms)


def gap_law(coefficients: Iterable[Any], bound: Any = 1) -> GapLaw:
    """Exact law of ``g = 2 w^T a``, w iid uniform on ``[-bound, bound]``.

    Parameters
    ----------
    coefficients
        ``a_mu``, exact numbers; signs do not matter, zeros are dropped.
    bound
        b, positive: an exact number, or a SymPy number whose square is rational, as ``sigma_w sqrt(3/n)``.

    Returns
    -------
    GapLaw
        With ``.survival(t)``, ``.density(t)``, ``.piecewise(symbol)``, ``.variance``, ``.largest``.

    Raises
    ------
    InputError
        A number that is not exact, a bound that is not positive. Coefficients with more than 2^20 distinct signed
        sums are refused when a probability is asked for; any 20 have at most that many, 40 equal ones have 41.

    Source
    ------
    Statement 7, existence. The signed-power formula of a sum of uniforms.

    Examples
    --------
    >>> gap_law([Rational(1, 2)] * 3, sympy.Integer(1)).survival(1)
    1/6
    >>> gap_law([0.1])
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: coefficients[0]=0.1: must be exact: an int, a Fraction or a SymPy Rational
    """
    exact_values = [exact(value, f"coefficients[{index}]") for index, value in enumerate(coefficients)]
    scale = bound if isinstance(bound, Expr) else exact(bound, "bound")
    if not (scale.is_number and scale.is_real and not scale.has(sympy.Float) and (scale**2).is_Rational and scale > 0):
        raise InputError(f"bound={bound!s:.60} of gap_law: must be positive and exact, with a rational square")
    unit = math.lcm(*(int(value.q) for value in exact_values))
    sizes = sorted(abs(int(value.p)) * (unit // int(value.q)) for value in exact_values if value != 0)
    return GapLaw(tuple(sizes), unit, scale)
