"""What every covariance operator promises, as one class to inherit; a subclass hands in one operator by `build`.

`linear_operator` tests its operators this way. Bounds are 0 where all arithmetic is on small dyadic numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

EPS = torch.finfo(torch.float64).eps
SINGLE = torch.finfo(torch.float32).eps / EPS


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator of one case.

    `slack` bounds the distance of `dense` from `reference`; `rounding` that of two products, or of two entries that
    are equal in exact arithmetic.
    """

    dense: Tensor
    product: Callable[[Tensor], Tensor]
    adjoint: Callable[[Tensor], Tensor]
    reference: Tensor
    slack: float = 0.0
    rounding: float = 0.0


@dataclass(frozen=True, eq=False)
class Update:
    """Update of the weights ``W``: `gradient` has no operator in it, `predicted` is what the package says, or None."""

    dense: Tensor
    vector: Tensor
    factor: int
    gradient: Tensor
    bound: float
    predicted: Tensor | None = None


class OperatorConformance:
    """Checks of one operator; a subclass defines `cases` and `build`."""

    semidefinite = True
    dtypes = (torch.float64, torch.float32)

    def build(self, case, dtype=torch.float64) -> Operator:
        raise NotImplementedError

    def test_shape(self, case):
        operator = self.build(case)
        size = len(operator.reference)
        assert operator.dense.shape == (size, size)
        assert operator.product(torch.ones(size, 3).double()).shape == (size, 3)

    def test_dtype_and_device(self, case):
        exactly = self.build(case)
        for dtype in self.dtypes:
            found = self.build(case, dtype).dense
            assert found.dtype == dtype
            assert found.device == torch.device("cpu")
            if dtype == torch.float32:
                bound = SINGLE * (exactly.slack + exactly.rounding + 256 * EPS * float(exactly.dense.abs().max()))
                assert (found - exactly.dense).abs().max() <= bound

    def test_equals_its_enumeration(self, case):
        operator = self.build(case)
        assert (operator.dense - operator.reference).abs().max() <= operator.slack
        # The bound sees a change of the operator.
        assert operator.slack <= 1e-6 * operator.reference.abs().max() or bool((operator.reference == 0).all())

    def test_symmetry(self, case):
        operator = self.build(case)
        assert (operator.dense - operator.dense.T).abs().max() <= operator.rounding

    def test_positive_semidefinite(self, case):
        operator = self.build(case)
        if self.semidefinite:
            values = torch.linalg.eigvalsh(operator.dense)
            assert values[0] >= -64 * EPS * values[-1] - len(values) * operator.rounding
        else:
            assert (operator.dense >= 0).all()  # weights of pairs

    def test_product_against_dense(self, case):
        operator = self.build(case)
        columns = self._columns(operator)
        bound = operator.rounding * columns.abs().sum(0).max()
        assert (operator.product(columns) - operator.dense @ columns).abs().max() <= bound
        identity = torch.eye(len(columns)).double()
        assert (operator.product(identity) - operator.dense).abs().max() <= operator.rounding

    def test_adjoint(self, case):
        operator = self.build(case)
        columns = self._columns(operator)
        left, right = columns[:, :2], columns[:, 2:]
        arithmetic = 4 * len(columns) * EPS * operator.dense.abs().max() if operator.slack else 0
        bound = (2 * operator.rounding + arithmetic) * columns.abs().sum(0).max() ** 2
        assert (left.T @ operator.product(right) - operator.adjoint(left).T @ right).abs().max() <= bound

    @staticmethod
    def _columns(operator: Operator) -> Tensor:
        """Integers, so that products of dyadic numbers stay exact."""
        generator = torch.Generator().manual_seed(len(operator.dense))
        return torch.randint(-8, 9, (len(operator.dense), 4), generator=generator).double()


class UpdateConformance(OperatorConformance):
    """Checks of an operator that predicts an update of weights; a subclass defines `update_cases` and `update` too."""

    def update(self, case) -> Update:
        raise NotImplementedError

    def test_update(self, update_case):
        """``2 V vec W``, or ``V^xi vec W`` where theta is 0, is the gradient."""
        update = self.update(update_case)
        found = update.factor * update.dense @ update.vector
        assert (found - update.gradient).abs().max() <= update.bound
        if update.predicted is not None:
            assert (update.predicted - update.gradient).abs().max() <= update.bound
        assert update.bound == 0 or update.gradient.abs().max() > 1e3 * update.bound
