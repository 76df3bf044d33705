"""The images of an experiment: scikit-learn's digits, CIFAR-10 or STL-10, as bytes on the device.

CIFAR-10 and STL-10 come from their published binary files (:mod:`numeric.images.binary`). Where only CIFAR-10's pickled
version is there, torchvision reads it if it can be imported; it checks the digests before it unpickles anything.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from hltm.base.checks import integer
from hltm.base.errors import InputError
from numeric.images.binary import BINARY, CIFAR10, PICKLED, read_cifar10, read_stl10, what_is_there

DATASETS = ("digits", "cifar10", "stl10")
_DIGITS_TEST = 500


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images as bytes, and labels from 0.

    Attributes
    ----------
    name : str
    train, test : Tensor
        ``(n, C, H, W)``, uint8.
    train_labels, test_labels : Tensor
        int64.
    unlabeled : Tensor or None
        More images for training without labels.
    """

    name: str
    train: UInt8[Tensor, "n C H W"]
    train_labels: Int[Tensor, " n"]
    test: UInt8[Tensor, "m C H W"]
    test_labels: Int[Tensor, " m"]
    unlabeled: UInt8[Tensor, "u C H W"] | None = None

    def __post_init__(self) -> None:
        for name in ("train", "test"):
            images, labels = getattr(self, name), getattr(self, f"{name}_labels")
            if len(images) != len(labels):
                raise InputError(f"{name} of {self.name}: {len(labels)} labels for {len(images)} images: must be equal")
            if len(images) < 2:
                raise InputError(f"{name} of {self.name}: {len(images)} image: must be at least 2")

    @property
    def pool(self) -> UInt8[Tensor, "n C H W"]:
        """What is trained on without labels: the unlabelled images where there are any."""
        return self.train if self.unlabeled is None else self.unlabeled

    @property
    def channels(self) -> int:
        """Of an image: 1 or 3."""
        return self.train.shape[1]

    @property
    def side(self) -> int:
        """Height and width in pixels."""
        return self.train.shape[2]

    def to(self, device: torch.device) -> "ImageData":
        """The same on a device; nothing is copied where it is there already."""
        more = None if self.unlabeled is None else self.unlabeled.to(device)
        train, test = self.train.to(device), self.test.to(device)
        return ImageData(self.name, train, self.train_labels.to(device), test, self.test_labels.to(device), more)


def pixels(images: UInt8[Tensor, "n C H W"]) -> Float[Tensor, "n C H W"]:
    """Bytes as float32 in [0, 1].

    Examples
    --------
    >>> pixels(torch.full((1, 1, 1, 1), 255, dtype=torch.uint8))
    tensor([[[[1.]]]])
    """
    return images.float().div_(255)


def load_images(dataset: str, data: str | Path | None = None, subset: int | None = None) -> ImageData:
    """Load a data set.

    Parameters
    ----------
    dataset : str
        ``"digits"`` (shipped with scikit-learn; 1,297 images to train on, 500 to test on, by one fixed permutation),
        ``"cifar10"`` or ``"stl10"``.
    data : path, optional
        The folder of the published binary files, or the one above; digits take none.
    subset : int, optional
        Take at most so many images of each part, in their order; files may then be smaller than published, as long as
        they hold whole records. One of the published size must be the published one all the same.

    Returns
    -------
    ImageData
        On the CPU.

    Raises
    ------
    InputError
        An unknown data set, a folder of another one, a file that is missing, truncated or damaged, a label outside its
        range, or fewer than two images.

    Examples
    --------
    >>> digits = load_images("digits")
    >>> digits.train.shape, len(digits.test)
    (torch.Size([1297, 1, 8, 8]), 500)
    """
    if dataset not in DATASETS:
        raise InputError(f"dataset={dataset!r:.40}: must be one of {', '.join(DATASETS)}")
    if subset is not None:
        integer(subset, "subset", 1)
    if dataset == "digits":
        if data is not None:
            raise InputError(f"data={str(data)!r} with digits: must be left out, scikit-learn ships them")
        return _digits(subset)
    if data is None:
        raise InputError(f"dataset={dataset!r} without data: must name the folder of its files (--data DIR)")
    folder = Path(data)
    if dataset == "stl10":
        return ImageData(dataset, **read_stl10(folder, subset))
    there = what_is_there(folder) if folder.is_dir() else []
    # Other data sets may lie beside it: torchvision keeps all of them in one folder.
    if PICKLED in there and BINARY not in there:
        return _through_torchvision(folder, subset)
    return ImageData(dataset, **read_cifar10(folder, subset))


def _digits(subset: int | None) -> ImageData:
    # Imported here: scikit-learn takes long to load.
    from sklearn.datasets import load_digits

    held = load_digits()
    # Pixels are integers 0 .. 16; as bytes they are off by a 510th at most.
    images = torch.from_numpy((held.images * (255 / 16)).round()).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(held.target).long()
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    train, test = order[:-_DIGITS_TEST][:subset], order[-_DIGITS_TEST:][:subset]
    return ImageData("digits", images[train], labels[train], images[test], labels[test])


def _through_torchvision(folder: Path, subset: int | None) -> ImageData:
    """CIFAR-10's pickled version, which torchvision checks and reads."""
    rule = f"must be the binary version ({CIFAR10.archive}), or torchvision must be there to read it"
    try:
        # With a CPU-only torch, torchvision's wheels are there and fail to load with a RuntimeError.
        from torchvision.datasets import CIFAR10 as TORCHVISION
    except (ImportError, RuntimeError):
        raise InputError(f"data={str(folder)!r} holds the pickled version of cifar10: {rule}") from None
    parts: dict[str, Tensor] = {}
    root = folder.parent if folder.name == "cifar-10-batches-py" else folder
    for name, training in (("train", True), ("test", False)):
        try:
            held = TORCHVISION(str(root), train=training, download=False)
        except RuntimeError as error:
            raise InputError(f"data={str(folder)!r}: {error}: {rule}") from None
        parts[name] = torch.from_numpy(held.data)[:subset].permute(0, 3, 1, 2).contiguous()
        parts[f"{name}_labels"] = torch.tensor(held.targets)[:subset]
    return ImageData("cifar10", **parts)
