"""Readers of the published formats, on small files of exactly those formats."""

import hashlib
import sys
import types

import numpy as np
import pytest
import torch

from hltm.base.errors import InputError
from numeric.studies.images.data import CIFAR10, STL10, load_images

from .conftest import cifar_records


def test_published_sizes():
    assert {file.size for file in CIFAR10.files} == {30_730_000}
    assert [file.size for file in STL10.files] == [138_240_000, 5_000, 221_184_000, 8_000, 2_764_800_000]


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    data, held = load_images("digits"), load_digits()
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(0))
    images = torch.cat([data.train, data.test]).double().squeeze(1) * 16 / 255
    assert (images - torch.from_numpy(held.images)[order]).abs().max() <= 16 / 510
    assert torch.cat([data.train_labels, data.test_labels]).equal(torch.from_numpy(held.target)[order])


def test_cifar_comes_back_as_it_was_written(cifar):
    folder, held = cifar
    for place in (folder, folder / "cifar-10-batches-bin"):
        data = load_images("cifar10", place, subset=100)
        wanted = np.concatenate([held["data_batch_1.bin"][0], held["data_batch_2.bin"][0]])
        assert np.array_equal(data.train.numpy(), wanted)
        assert np.array_equal(data.test.numpy(), held["test_batch.bin"][0])
        assert data.test_labels.tolist() == held["test_batch.bin"][1].tolist()
    assert len(load_images("cifar10", folder, subset=10).train) == 10
    assert len(load_images("cifar10", folder, subset=44).train) == 44


def test_stl_comes_back_as_it_was_written(stl):
    folder, held = stl
    data = load_images("stl10", folder, subset=100)
    for part in ("train", "test", "unlabeled"):
        assert np.array_equal(getattr(data, part).numpy(), held[part][0])
    assert data.train_labels.tolist() == [label - 1 for label in held["train"][1]]
    assert data.pool is data.unlabeled
    (folder / "stl10_binary" / "unlabeled_X.bin").unlink()
    assert load_images("stl10", folder, subset=15).pool.shape == (15, 3, 96, 96)


def refused(words, *arguments, **options):
    with pytest.raises(InputError) as caught:
        load_images(*arguments, **options)
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message, message


def test_smaller_files_need_a_subset(cifar):
    folder, _ = cifar
    words = [
        "data_batch_1.bin",
        "122,920 bytes",
        "30,730,000 bytes",
        "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "--subset",
    ]
    refused(words, "cifar10", folder)


def test_a_truncated_file_is_named(cifar, stl):
    folder, _ = cifar
    path = folder / "cifar-10-batches-bin" / "data_batch_1.bin"
    path.write_bytes(path.read_bytes()[:-1])
    refused([str(path), "122,919 bytes", "whole records of 3,073", "30,730,000"], "cifar10", folder, subset=9)
    path = stl[0] / "stl10_binary" / "train_X.bin"
    path.write_bytes(path.read_bytes()[:-5])
    refused([str(path), "27,648"], "stl10", stl[0], subset=9)
    path.write_bytes(b"")
    refused([str(path), "0 bytes"], "stl10", stl[0], subset=9)


def test_a_missing_file_is_named_with_size_and_digest(cifar, stl):
    (cifar[0] / "cifar-10-batches-bin" / "test_batch.bin").unlink()
    refused(
        ["test_batch.bin", "30,730,000 bytes", "67eb016db431130d61cd03c7ad570b013799c88c"],
        "cifar10",
        cifar[0],
        subset=9,
    )
    (stl[0] / "stl10_binary" / "train_y.bin").unlink()
    refused(["train_y.bin", "5,000 bytes", "md5 5a34089d4802c674881badbb80307741"], "stl10", stl[0], subset=9)


def test_a_file_of_the_right_size_is_damaged(cifar):
    path = cifar[0] / "cifar-10-batches-bin" / "data_batch_1.bin"
    with path.open("wb") as file:
        file.truncate(30_730_000)
    words = [str(path), "damaged", "aadd24acce27caa71bf4b10992e9e7b2d74c2540"]
    refused(words, "cifar10", cifar[0])
    refused(words, "cifar10", cifar[0], subset=30)


def test_smaller_files_are_not_hashed(cifar, stl, monkeypatch):
    def hashed(*arguments, **options):
        raise AssertionError("a digest that is compared with nothing")

    monkeypatch.setattr(hashlib, "new", hashed)
    assert len(load_images("cifar10", cifar[0], subset=30).train) == 30
    assert len(load_images("stl10", stl[0], subset=10).train) == 10


def test_a_label_outside_its_range_is_named(cifar, stl):
    _, _, content = cifar_records(np.random.default_rng(3), 5, labels=[0, 9, 3, 10, 200])
    (cifar[0] / "cifar-10-batches-bin" / "data_batch_1.bin").write_bytes(content)
    refused(["data_batch_1.bin", "label 10 of record 3", "0 .. 9"], "cifar10", cifar[0], subset=9)
    (stl[0] / "stl10_binary" / "test_y.bin").write_bytes(bytes([1, 10, 0, *[1] * 7]))
    refused(["test_y.bin", "label 0 of record 2", "1 .. 10"], "stl10", stl[0], subset=9)


def test_labels_and_images_are_as_many(stl):
    (stl[0] / "stl10_binary" / "test_y.bin").write_bytes(bytes([1] * 9))
    refused(["test_y.bin", "9 labels for 10 images"], "stl10", stl[0], subset=9)


def test_one_image_is_not_enough(cifar):
    refused(["1 image", "at least 2"], "cifar10", cifar[0], subset=1)


def test_the_folder_of_another_data_set(cifar, stl, tmp_path):
    (tmp_path / "other" / "cifar-100-binary").mkdir(parents=True)
    refused(["holds cifar100", "cifar10", "c32a1d4ab5d03f1284b67883e8d87530"], "cifar10", tmp_path / "other")
    (tmp_path / "s").mkdir()
    (stl[0] / "stl10_binary").rename(tmp_path / "s" / "stl10_binary")
    refused(["holds stl10", "must hold the files of cifar10"], "cifar10", tmp_path / "s")
    refused(["holds cifar10 (binary version)", "must hold the files of stl10"], "stl10", cifar[0])
    refused(["holds none", "91f7769df0f17e558f3565bffb0c7dfb"], "stl10", tmp_path)
    refused(["is no folder"], "stl10", tmp_path / "nowhere")


def test_wrong_arguments():
    refused(["dataset='mnist'"], "mnist")
    refused(["--data"], "cifar10")
    refused(["left out"], "digits", "somewhere")
    refused(["subset=0"], "digits", subset=0)


@pytest.fixture
def pickled(tmp_path):
    """Only the folder's name: what torchvision would do with its files is not ours."""
    (tmp_path / "pickled" / "cifar-10-batches-py").mkdir(parents=True)
    return tmp_path / "pickled"


def test_the_pickled_version_needs_torchvision(pickled, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    refused(["pickled version", "cifar-10-binary.tar.gz", "torchvision"], "cifar10", pickled)


@pytest.mark.parametrize("beside", ["", "stl10_binary", "cifar-100-python"])
def test_the_pickled_version_is_read_through_torchvision(beside, pickled, monkeypatch):
    (pickled / beside).mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    images = {
        True: rng.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8),
        False: rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8),
    }

    class Reader:
        def __init__(self, root, train, download):
            assert root == str(pickled)
            assert not download
            self.data, self.targets = images[train], [k % 10 for k in range(len(images[train]))]

    module = types.ModuleType("torchvision.datasets")
    module.CIFAR10 = Reader
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.datasets", module)
    (pickled / "cifar-10-batches-py" / "batches.meta").write_bytes(b"")
    assert len(load_images("cifar10", pickled / "cifar-10-batches-py").train) == 12
    data = load_images("cifar10", pickled)
    assert np.array_equal(data.train.permute(0, 2, 3, 1).numpy(), images[True])
    assert data.test_labels.tolist() == [0, 1, 2, 3]

    def damaged(root, train, download):
        raise RuntimeError("Dataset not found or corrupted.")

    module.CIFAR10 = damaged
    refused(["corrupted", "cifar-10-binary.tar.gz"], "cifar10", pickled)
