"""lightly's NT-Xent has the value and the gradient of ours.

Needs the extra ``interop``. Ours has the factor ``tau`` in front (statement 2), lightly's has not. lightly imports
torchvision, whose wheels do not load with a CPU-only torch because two operators are not there: their names are enough.
"""

import sys
import warnings

import pytest
import torch

from numeric.studies.images.losses import ImageLoss, batch_loss

pytestmark = pytest.mark.filterwarnings("ignore")  # those of other tools
_NAMES = ("nms", "qnms")


@pytest.fixture(scope="module")
def ntxent():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        library = None
        try:
            import torchvision  # noqa: F401
        except RuntimeError:
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            library = torch.library.Library("torchvision", "FRAGMENT")
            for name in _NAMES:
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        from lightly.loss import NTXentLoss

        yield NTXentLoss
        del library


@pytest.mark.parametrize("tau", [0.05, 0.1, 0.5, 1.0])
@pytest.mark.parametrize(("count", "size"), [(2, 3), (16, 8), (64, 32)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient(ntxent, tau, count, size, dtype):
    generator = torch.Generator().manual_seed(count)
    held = [torch.randn(count, size, generator=generator, dtype=dtype).requires_grad_() for _ in range(2)]
    theirs = ntxent(temperature=tau)(*held)
    unit = [torch.nn.functional.normalize(each, dim=-1) for each in held]
    ours = batch_loss(ImageLoss("ntxent", tau=tau), *unit, generator) / tau
    # Logits are distances over tau, each right to some machine epsilons over tau: at most 2e-6 / tau in single
    # precision, far below the 1e-6 that is asked for in double precision. Measured: at most 8 epsilons.
    bound = 16 * torch.finfo(dtype).eps * max(1.0, 1 / tau)
    assert dtype == torch.float32 or bound < 1e-6
    assert abs(float(ours - theirs)) <= bound
    for a, b in zip(torch.autograd.grad(ours, held), torch.autograd.grad(theirs, held), strict=True):
        assert float((a - b).abs().max()) <= bound
        assert float(b.abs().max()) > 1e-5
