"""Images of an experiment: scikit-learn's digits, CIFAR-10 or STL-10, as bytes on the device.

CIFAR-10 and STL-10 are read from their published binary files, by the documented formats; nothing is unpickled. Where
only CIFAR-10's pickled version is there, torchvision reads it if it can be imported; it checks the digests before it
unpickles anything.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from hltm.base.checks import integer
from hltm.base.errors import InputError

_BLOCK = 2**22  # bytes read at a time for a digest


@dataclass(frozen=True)
class Published:
    """A published file: name, bytes of one record, number of records, kind and value of its digest."""

    name: str
    record: int
    records: int
    kind: str
    digest: str

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self.record * self.records

    def expected(self) -> str:
        """Size and digest in words."""
        return f"{self.size:,} bytes, {self.kind} {self.digest}"


@dataclass(frozen=True)
class Format:
    """A published data set: folder and archive, files by part, smallest label."""

    name: str
    folder: str
    archive: str
    files: tuple[Published, ...]
    first_label: int


CIFAR10 = Format(
    "cifar10",
    "cifar-10-batches-bin",
    "cifar-10-binary.tar.gz, md5 c32a1d4ab5d03f1284b67883e8d87530",
    (
        Published("data_batch_1.bin", 3073, 10_000, "sha1", "aadd24acce27caa71bf4b10992e9e7b2d74c2540"),
        Published("data_batch_2.bin", 3073, 10_000, "sha1", "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795"),
        Published("data_batch_3.bin", 3073, 10_000, "sha1", "1dd00a74ab1d17a6e7d73e185b69dbf31242f295"),
        Published("data_batch_4.bin", 3073, 10_000, "sha1", "aab85764eb3584312d3c7f65fd2fd016e36a258e"),
        Published("data_batch_5.bin", 3073, 10_000, "sha1", "26e2849e66a845b7f1e4614ae70f4889ae604628"),
        Published("test_batch.bin", 3073, 10_000, "sha1", "67eb016db431130d61cd03c7ad570b013799c88c"),
    ),
    0,
)
STL10 = Format(
    "stl10",
    "stl10_binary",
    "stl10_binary.tar.gz, md5 91f7769df0f17e558f3565bffb0c7dfb",
    (
        Published("train_X.bin", 27_648, 5_000, "md5", "918c2871b30a85fa023e0c44e0bee87f"),
        Published("train_y.bin", 1, 5_000, "md5", "5a34089d4802c674881badbb80307741"),
        Published("test_X.bin", 27_648, 8_000, "md5", "7f263ba9f9e0b06b93213547f721ac82"),
        Published("test_y.bin", 1, 8_000, "md5", "36f9794fa4beb8a2c72628de14fa638e"),
        Published("unlabeled_X.bin", 27_648, 100_000, "md5", "5242ba1fed5e4be9e1e742405eb56ca4"),
    ),
    1,
)
BINARY, PICKLED = "cifar10 (binary version)", "cifar10 (pickled version)"
# Files by which a data set is recognised.
_SIGNS = {
    BINARY: ("cifar-10-batches-bin", "data_batch_1.bin", "test_batch.bin"),
    PICKLED: ("cifar-10-batches-py", "data_batch_1", "batches.meta"),
    "cifar100": ("cifar-100-binary", "cifar-100-python", "fine_label_names.txt"),
    "stl10": ("stl10_binary", "train_X.bin", "test_X.bin"),
}


def data_sets_in(folder: Path) -> list[str]:
    """Names of the data sets whose files are in a folder; none if it is no folder."""
    return [name for name, signs in _SIGNS.items() if any((folder / sign).exists() for sign in signs)]


def find_folder(form: Format, data: Path) -> Path:
    """The folder of the files: `data` itself, or the one in it that the archive makes."""
    for folder in (data / form.folder, data):
        if any((folder / file.name).exists() for file in form.files):
            return folder
    others = ", ".join(data_sets_in(data))
    there = f"holds {others}" if others else "holds none of them" if data.is_dir() else "is no folder"
    first = form.files[0]
    raise InputError(
        f"data={str(data)!r} {there}: must hold the files of {form.name} ({form.archive}), or the folder "
        f"{form.folder} with them; {first.name}: {first.expected()}"
    )


def check_file(folder: Path, file: Published, *, partial: bool) -> Path:
    """Check size and digest of a published file."""
    path = folder / file.name
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise InputError(f"{path}: no file: must be {file.expected()}")
        if size != file.size:
            if not partial:
                raise InputError(f"{path}: {size:,} bytes: must be {file.expected()}; --subset takes smaller files")
            if size == 0 or size % file.record:
                raise InputError(f"{path}: {size:,} bytes: must be whole records of {file.record:,} bytes each; "
                                 f"the published file is {file.expected()}")  # fmt: skip
            return path
        digest = hashlib.new(file.kind, usedforsecurity=False)
        with path.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}: must be {file.expected()}") from None
    if digest.hexdigest() != file.digest:
        raise InputError(f"{path}: damaged, its {file.kind} is {digest.hexdigest()}: must be {file.expected()}")
    return path


def check_labels(labels: np.ndarray, form: Format, path: Path) -> Tensor:
    """Labels from 0, int64."""
    low = form.first_label
    wrong = np.flatnonzero((labels < low) | (labels > low + 9))
    if len(wrong):
        rule = f"must lie in {low} .. {low + 9}"
        raise InputError(f"{path}: label {labels[wrong[0]]} of record {wrong[0]} (from 0): {rule}")
    return torch.from_numpy(labels.astype(np.int64) - low)


def read_cifar10(data: Path, limit: int | None = None) -> dict[str, Tensor]:
    """Images ``(n, 3, 32, 32)`` uint8 and labels of CIFAR-10's binary version."""
    folder = find_folder(CIFAR10, data)
    result: dict[str, Tensor] = {}
    *training, test = CIFAR10.files
    if limit is not None:
        training = training[:1] + [file for file in training[1:] if (folder / file.name).exists()]
    for part, files in (("train", training), ("test", [test])):
        images, labels, count = [], [], 0
        for file in files:
            if limit is not None and count >= limit:
                break
            path = check_file(folder, file, partial=limit is not None)
            records = np.fromfile(path, dtype=np.uint8).reshape(-1, file.record)
            records = records[: None if limit is None else limit - count]
            labels.append(check_labels(records[:, 0], CIFAR10, path))
            images.append(torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32)))
            count += len(records)
        result |= {part: torch.cat(images), f"{part}_labels": torch.cat(labels)}
    return result


def _stl_images(path: Path, limit: int | None) -> Tensor:
    """Images ``(n, 3, 96, 96)`` of a file, mapped into memory; its planes are stored column by column."""
    # Copy on write: torch needs writable memory, and the file stays as it is.
    planes = np.memmap(path, dtype=np.uint8, mode="c").reshape(-1, 3, 96, 96)[:limit]
    return torch.from_numpy(planes).transpose(2, 3)


def read_stl10(data: Path, limit: int | None = None) -> dict[str, Tensor]:
    """Images ``(n, 3, 96, 96)`` uint8 and labels of STL-10, and the unlabelled images where they are."""
    folder = find_folder(STL10, data)
    files = {file.name: file for file in STL10.files}
    result: dict[str, Tensor] = {}
    for part in ("train", "test"):
        paths = [check_file(folder, files[f"{part}_{kind}.bin"], partial=limit is not None) for kind in "Xy"]
        images = _stl_images(paths[0], None)
        labels = check_labels(np.fromfile(paths[1], dtype=np.uint8), STL10, paths[1])
        if len(images) != len(labels):
            raise InputError(f"{paths[1]}: {len(labels):,} labels for {len(images):,} images of {paths[0].name}: "
                             "must be one for each")  # fmt: skip
        result |= {part: images[:limit], f"{part}_labels": labels[:limit]}
    more = files["unlabeled_X.bin"]
    if (folder / more.name).exists():
        result["unlabeled"] = _stl_images(check_file(folder, more, partial=limit is not None), limit)
    return result


DATASETS = ("digits", "cifar10", "stl10")
_DIGITS_TEST = 500


@dataclass(frozen=True, eq=False)
class ImageData:
    """Images as bytes, and labels from 0."""

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
        """Images of the training without labels: the unlabelled ones where there are any."""
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
        """Move to a device; nothing is copied that is there already."""
        more = None if self.unlabeled is None else self.unlabeled.to(device)
        train, test = self.train.to(device), self.test.to(device)
        return ImageData(self.name, train, self.train_labels.to(device), test, self.test_labels.to(device), more)


def pixels(images: UInt8[Tensor, "n C H W"]) -> Float[Tensor, "n C H W"]:
    """Bytes as float32 in [0, 1]."""
    return images.float().div_(255)


def load_images(dataset: str, data: str | Path | None = None, subset: int | None = None) -> ImageData:
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
    there = data_sets_in(folder)
    # Other data sets may lie beside it: torchvision keeps all of them in one folder.
    if PICKLED in there and BINARY not in there:
        return _through_torchvision(folder, subset)
    return ImageData(dataset, **read_cifar10(folder, subset))


def _digits(subset: int | None) -> ImageData:
    # Imported here: scikit-learn takes long to load.
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Pixels are integers 0 .. 16; as bytes they are off by a 510th at most.
    images = torch.from_numpy((digits.images * (255 / 16)).round()).to(torch.uint8).unsqueeze(1)
    labels = torch.from_numpy(digits.target).long()
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
            loaded = TORCHVISION(str(root), train=training, download=False)
        except RuntimeError as error:
            raise InputError(f"data={str(folder)!r}: {error}: {rule}") from None
        parts[name] = torch.from_numpy(loaded.data)[:subset].permute(0, 3, 1, 2).contiguous()
        parts[f"{name}_labels"] = torch.tensor(loaded.targets)[:subset]
    return ImageData("cifar10", **parts)
