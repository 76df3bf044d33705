"""Instances as text: short matrices laid out, long ones cut, never more than a screen."""

import pytest

from verify.engine.readable import LINES, WIDTH, lines


class Given:
    def __init__(self, **data):
        self.data = data

    def as_json(self):
        return self.data


def test_a_matrix_is_laid_out():
    assert lines(Given(W=[[1.0, -0.5], [0.25, 3.0]], tau=0.1)) == ["W    [   1  -0.5]", "     [0.25     3]", "tau  0.1"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.0, "1"), (0.1, "0.1"), (1 / 3, "0.333333"), (True, "true"), (None, "null"), ("a\nb", r"'a\nb'"), ([], "[]"),
        ([1.0, 2.5], "[1, 2.5]"), ([[1.0, 2.0]], "[[1, 2]]"), ({}, "{}"),
    ],
)  # fmt: skip
def test_one_line(value, text):
    assert lines(Given(x=value)) == [f"x  {text}"]


def test_long_values_are_cut():
    text = lines(Given(x=[0.5] * 20, W=[[1.0] * 12] * 30))
    assert text[0].endswith("… 20 in all]")
    assert text[-1].strip() == "… 30 rows, 12 columns"
    many = lines(Given(weights=[[[1.0] * 3] * 3] * 9))
    assert many[-1].split() == ["weights[4]", "…", "9", "in", "all"]


def test_parts_have_their_names():
    assert lines(Given(parameters={"tau": 0.5}, rows=[[1.0], [1.0, 2.0]])) == [
        "parameters.tau  0.5", "rows            [1]", "                [1, 2]",
    ]  # fmt: skip


def test_a_graph_has_its_nodes_and_edges_only():
    graph = {"directed": True, "multigraph": False, "graph": {}, "nodes": [{"id": "r", "prior": [0.5, 0.5]}, {"id": "a"}],
             "edges": [{"source": "r", "target": "a", "polarity": 0.75}]}  # fmt: skip
    assert lines(Given(tree=graph)) == [
        "tree.nodes  id 'r', prior [0.5, 0.5]", "            id 'a'", "tree.edges  source 'r', target 'a', polarity 0.75",
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 7, 16])
def test_never_more_than_a_screen(size):
    deep = [[[[0.5] * size] * size] * size] * size
    text = lines(Given(**{f"field{k}": deep for k in range(size)}, note="x" * 500, rows=[{"a": [1.0] * 90}] * 50))
    assert len(text) <= LINES
    assert max(map(len, text)) <= WIDTH + 24


def test_what_has_no_json():
    assert lines(3.5) == ["3.5"]

    class Broken:
        def as_json(self):
            raise RuntimeError

        def __repr__(self):
            return "x" * 500

    assert len(lines(Broken())[0]) == WIDTH
