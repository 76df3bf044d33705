"""What of the theory was not looked at is named, with the reason; the rest is done."""

import pytest
import torch

from numeric.studies.images import report, study
from numeric.studies.images.report import find
from numeric.studies.images.study import ImageStudy, run_images


@pytest.fixture(scope="module")
def results():
    settings = {"seeds": 1, "epochs": 1, "batch": 32, "width": 4, "hidden": 6, "out": 5, "subset": 64, "device": "cpu"}
    return lambda **more: run_images(ImageStudy(losses=("simple",), **settings | more))


def too_small(*arguments, **options):
    raise torch.OutOfMemoryError("CUDA out of memory")


def test_nothing_is_left_out_of_a_network_without_batch_normalisation(results):
    found = find(results())
    assert found.left_out == ()
    assert {each.part for _, each in found.residues} == {"head", "convnet"}


def test_a_memory_that_is_too_small_leaves_a_part_out(results, monkeypatch):
    done = results()
    monkeypatch.setattr(report, "network_checks", too_small)
    monkeypatch.setattr(report, "head_residues", too_small)
    found = find(done)
    assert found.as_predicted
    assert {check.part for _, check in found.checks if "batch norm" not in check.part} == {"head"}
    assert {each.part for _, each in found.residues} == {"convnet"}
    assert [text.split(":")[:2] for text in found.left_out] == [
        [name, what]
        for name in ("untrained", "simple")
        for what in (" statements 3 and 4 on convnet", " residue of the head")
    ]
    assert all(text.endswith("the memory of the device is too small") for text in found.left_out)


def test_other_errors_are_not_hidden(results, monkeypatch):
    def wrong(*arguments, **options):
        raise RuntimeError("sizes differ")

    done = results()
    monkeypatch.setattr(report, "network_checks", wrong)
    with pytest.raises(RuntimeError, match="sizes differ"):
        find(done)


def test_operators_that_memory_has_no_room_for_do_not_end_the_training(results, monkeypatch):
    monkeypatch.setattr(study, "operator_sizes", too_small)
    found = find(results())
    assert [text for text in found.left_out if "operators" in text] == [
        "simple: covariance operators of the head at 2 evaluations: the memory of the device was too small"
    ]


def test_batch_normalisation_is_named(results):
    found = find(results(norm="batch", head_norm="batch"))
    assert found.as_predicted
    assert {each.part for _, each in found.residues} == {"head", "convnet, batch norm with fixed statistics"}
    for words in ("live statistics", "the head's own statistics"):
        assert sum(words in text for text in found.left_out) == 2


def test_wide_outputs_are_measured_on_fewer_images(results, monkeypatch):
    seen = []
    monkeypatch.setattr(study, "operator_sizes", lambda network, population: seen.append(population.size) or [])
    results(out=300)
    results(out=3000)
    assert set(seen) == {13, 2}
