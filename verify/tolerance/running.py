"""Float64 numbers that carry a bound of their own rounding error (running error analysis).

The value is that of plain float64 arithmetic in the same order; the bound grows with each operation by the errors of
its operands and by half a unit in the last place of its result (Higham, Accuracy and Stability of Numerical
Algorithms, section 3.3). A tolerance made so belongs to one entry of one result, and covers exponentials and
quotients, for which `verify.tolerance.rounding` has no polynomial at absolute values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from verify.tolerance.rounding import UNIT_ROUNDOFF

# The bound is computed in float64 too: a few roundings up for each operation, and the functions of libm are good to
# one unit in the last place.
_INFLATED = 1.0 + 16 * UNIT_ROUNDOFF
_LIBM = 2.0
# Room for everything that underflows, in a value and in its bound.
_SMALLEST = 2.0**-1060


@dataclass(frozen=True, slots=True)
class Bounded:
    """A float64 and a bound of its distance from the exact value, which is infinite where nothing is known.

    Examples
    --------
    >>> third = Bounded.rounded(1 / 3)
    >>> sum_of_three = third + third + third
    >>> sum_of_three.value, 0 < sum_of_three.error < 1e-15
    (1.0, True)
    """

    value: float
    error: float = 0.0

    @classmethod
    def rounded(cls, value: float, roundings: float = 1.0, error: float = 0.0) -> Bounded:
        """A value that was rounded, after operands brought in an error."""
        slack = (error + roundings * UNIT_ROUNDOFF * abs(value)) * _INFLATED + _SMALLEST
        return cls(value, slack if math.isfinite(value) else math.inf)

    def __add__(self, other: Any) -> Bounded:
        other = bounded(other)
        return Bounded.rounded(self.value + other.value, 1.0, self.error + other.error)

    def __neg__(self) -> Bounded:
        return Bounded(-self.value, self.error)

    def __sub__(self, other: Any) -> Bounded:
        return self + -bounded(other)

    def __rsub__(self, other: Any) -> Bounded:
        return bounded(other) - self

    def __mul__(self, other: Any) -> Bounded:
        other = bounded(other)
        error = abs(self.value) * other.error + (abs(other.value) + other.error) * self.error
        return Bounded.rounded(self.value * other.value, 1.0, error if error == error else math.inf)

    def __truediv__(self, other: Any) -> Bounded:
        other = bounded(other)
        least = abs(other.value) - other.error
        if not least > 0:
            return Bounded(math.nan, math.inf)
        value = self.value / other.value
        return Bounded.rounded(value, 1.0, (self.error + abs(value) * other.error) / least)

    def __rtruediv__(self, other: Any) -> Bounded:
        return bounded(other) / self

    __radd__, __rmul__ = __add__, __mul__

    def __pow__(self, exponent: Any) -> Bounded:
        if isinstance(exponent, int):
            power = Bounded(1.0)
            for _ in range(abs(exponent)):
                power = power * self
            return power if exponent >= 0 else 1.0 / power
        return (bounded(exponent) * self.log()).exp()

    def __rpow__(self, base: Any) -> Bounded:
        return bounded(base) ** self

    def __int__(self) -> int:
        return int(self.value)

    def __abs__(self) -> Bounded:
        return Bounded(abs(self.value), self.error)

    def exp(self) -> Bounded:
        """The exponential."""
        if not self.value + self.error < 700:
            return Bounded(math.inf, math.inf)
        value = math.exp(self.value)
        # The exponential bends upwards: its slope at the upper end bounds both sides.
        return Bounded.rounded(value, _LIBM, self.error * math.exp(self.value + self.error) * (1 + 2.0**-40))

    def log(self) -> Bounded:
        """The natural logarithm."""
        least = self.value - self.error
        if not least > 0:
            return Bounded(math.nan, math.inf)
        return Bounded.rounded(math.log(self.value), _LIBM, self.error / least)

    def sqrt(self) -> Bounded:
        """The square root."""
        least = self.value - self.error
        if not least > 0:
            return Bounded(math.nan, math.inf)
        return Bounded.rounded(math.sqrt(self.value), 1.0, self.error / (2 * math.sqrt(least)))

    def max(self, other: Any) -> Bounded:
        """The larger one; its error is at most the larger of both."""
        other = bounded(other)
        return Bounded(max(self.value, other.value), max(self.error, other.error))

    def min(self, other: Any) -> Bounded:
        """The smaller one."""
        return -((-self).max(-bounded(other)))


def bounded(value: Any) -> Bounded:
    """A number with its bound; a float is exact, an integer as far as float64 has it."""
    if isinstance(value, Bounded):
        return value
    return Bounded.rounded(float(value)) if isinstance(value, int) and abs(value) > 2**53 else Bounded(float(value))
