"""Figures as data: names, columns, and the CSV beside every figure."""

import csv
import io
import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verify.figures.data import FigureData, csv_text, table

FINITE = st.floats(allow_nan=False)
TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1)
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True)


@st.composite
def figures(draw):
    rows = draw(st.integers(0, 4))
    names = draw(st.lists(NAMES, min_size=1, max_size=4, unique=True))
    kinds = st.sampled_from([st.none() | TEXTS, st.none() | FINITE | st.integers(-(2**80), 2**80)])
    columns = {name: tuple(draw(st.lists(draw(kinds), min_size=rows, max_size=rows))) for name in names}
    facts = draw(st.dictionaries(ANY_TEXT, FINITE | st.integers() | ANY_TEXT, max_size=3))
    return FigureData(
        "a-figure", draw(ANY_TEXT), draw(ANY_TEXT), draw(ANY_TEXT), columns, facts, draw(ANY_TEXT), draw(ANY_TEXT)
    )


def read(text):
    """The comment lines of a figure's CSV as JSON values, and its columns as texts, with None for empty cells."""
    lines = text.split("\n")
    head = dict(line[2:].split(": ", 1) for line in itertools.takewhile(lambda line: line.startswith("# "), lines))
    names, *rows = csv.reader(io.StringIO("\n".join(lines[len(head) :]), newline=""))
    columns = {name: tuple((row[place] if row else "") or None for row in rows) for place, name in enumerate(names)}
    return {key: json.loads(value) for key, value in head.items()}, columns


@example(FigureData("a-figure", "", "", "", {"_": ("\r",)}))
@given(figures())
def test_the_csv_holds_everything_bit_for_bit(data):
    head, columns = read(csv_text(data))
    texts = head.pop("text")
    assert FigureData(**{"kind": "", "title": "", "caption": ""} | head, columns=data.columns) == data
    assert list(columns) == list(data.columns)
    for name, column in data.columns.items():
        assert (name in texts) == any(isinstance(value, str) for value in column)
        number = {int: int, float: float, str: str}
        back = [
            None if shown is None else number[type(value)](shown)
            for value, shown in zip(column, columns[name], strict=True)
        ]
        assert list(map(repr, back)) == list(map(repr, column))


def test_numbers_of_numpy_are_numbers():
    data = FigureData(
        "a", "lines", "", "", {"x": (np.float64(0.1), np.int64(3))}, {"n": np.int64(2), "f": np.float64(0.1)}
    )
    head, columns = read(csv_text(data))
    assert columns == {"x": ("0.1", "3")}
    assert head["facts"] == {"n": 2, "f": 0.1}


@pytest.mark.parametrize("name", ["", "a b", "../a", "a--b", "-a", "a/b", 'a"', "ä", "a\n"])
def test_names_are_fit_for_files_and_identifiers(name):
    with pytest.raises(ValueError, match="of a figure: must be letters and digits, joined by single hyphens"):
        FigureData(name, "lines", "", "", {})


def test_numbers_may_be_missing_where_they_are_allowed_to():
    data = FigureData("a", "lines", "", "", table(("x", "y"), [(None, 1.0)]))
    assert math.isnan(data.numbers("x", missing=True)[0])
    with pytest.raises(ValueError, match="column 'x', row 1 of figure 'a' is None: must be a finite number"):
        data.numbers("x")
