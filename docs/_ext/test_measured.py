"""The table of measured speeds: every result and every miss is in it, and sides that disagree have no speed."""

import json

import measured
import pytest

ROW = {
    "name": "operator", "agrees": True, "ratio": 1.4, "unit": "of the matmul rate",
    "bar": 1.0, "at_most": False, "met": True,
}  # fmt: skip


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.setattr(measured, "RESULTS", tmp_path)

    def write(name, *rows):
        document = {"machine": name, "environment": {"python": "3", "torch": "2", "threads": 2}, "benchmarks": rows}
        (tmp_path / f"{name}.json").write_text(json.dumps(document))

    return write


def test_every_machine_and_every_row(results):
    slow = {**ROW, "name": "a wait", "ratio": 12345.6, "unit": "seconds", "bar": 60.0, "at_most": True, "met": False}
    results("first", ROW, slow)
    results("second", {**ROW, "bar": None})
    lines = measured.measured("", "").splitlines()
    assert [line for line in lines if line.startswith("**")] == [
        f"**{name}** (Python 3, torch 2, 2 threads)" for name in ("first", "second")
    ]
    assert [line for line in lines if line.startswith(("| operator", "| a wait"))] == [
        "| operator | 1.4 of the matmul rate | at least 1 | met |",
        "| a wait | 12,346 seconds | at most 60 | **missed** |",
        "| operator | 1.4 of the matmul rate |  |  |",
    ]


def test_sides_that_disagree_are_an_error(results):
    results("first", ROW, {**ROW, "name": "images", "agrees": False})
    with pytest.raises(ValueError, match=r"first\.json: sides that disagree: images"):
        measured.measured("", "")
