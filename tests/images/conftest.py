"""Small files in exactly the published formats, and small settings."""

import numpy as np
import pytest

from numeric.studies.images.augment import RECIPES
from numeric.studies.images.data import load_images
from numeric.studies.images.losses import ImageLoss
from numeric.studies.images.network import Shape
from numeric.studies.images.training import Training

LOSSES = ("ntxent", "infonce", "simple", "triplet", "covariance", "within")


def cifar_records(rng, count, labels=None):
    """Images (n, 3, 32, 32) and labels, and the bytes of a file of them."""
    images = rng.integers(0, 256, size=(count, 3, 32, 32), dtype=np.uint8)
    labels = np.arange(count, dtype=np.uint8) % 10 if labels is None else np.asarray(labels, dtype=np.uint8)
    parts = []
    for label, image in zip(labels, images, strict=True):
        parts.append(bytes([label]))
        parts += [bytes(image[plane, row]) for plane in range(3) for row in range(32)]
    return images, labels, b"".join(parts)


def stl_records(rng, count):
    """Images (n, 3, 96, 96) and the bytes of a file of them: plane after plane, column after column."""
    images = rng.integers(0, 256, size=(count, 3, 96, 96), dtype=np.uint8)
    columns = [bytes(image[plane, :, column]) for image in images for plane in range(3) for column in range(96)]
    return images, b"".join(columns)


@pytest.fixture
def cifar(tmp_path):
    """A folder with 40 + 8 training images and 20 test images of CIFAR-10's binary version."""
    folder = tmp_path / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    held = {}
    for name, count in (("data_batch_1.bin", 40), ("data_batch_2.bin", 8), ("test_batch.bin", 20)):
        images, labels, content = cifar_records(rng, count)
        (folder / name).write_bytes(content)
        held[name] = (images, labels)
    return tmp_path / "data", held


@pytest.fixture
def stl(tmp_path):
    """A folder with 20 training, 10 test and 30 unlabelled images of STL-10."""
    folder = tmp_path / "data" / "stl10_binary"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    held = {}
    for part, count in (("train", 20), ("test", 10), ("unlabeled", 30)):
        images, content = stl_records(rng, count)
        (folder / f"{part}_X.bin").write_bytes(content)
        labels = np.arange(count, dtype=np.uint8) % 10 + 1
        if part != "unlabeled":
            (folder / f"{part}_y.bin").write_bytes(bytes(labels))
        held[part] = (images, labels)
    return tmp_path / "data", held


@pytest.fixture(scope="session")
def digits():
    return load_images("digits", subset=96)


@pytest.fixture(scope="session")
def recipe():
    return RECIPES["digits"]


@pytest.fixture
def small():
    """Settings of a training of two steps an epoch, and a small network."""

    def make(loss="ntxent", **options):
        options = {"epochs": 3, "batch": 48, "every": 1, "seed": 5} | options
        return Training(ImageLoss(loss, negatives=4), **options), Shape(width=4, hidden=6, out=5)

    return make
