"""Figures as data: names, the CSV beside every figure, and how it is read back."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from verify.figures.data import FigureData, csv_text, from_csv, table

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


@example(FigureData("a-figure", "", "", "", {"_": ("\r",)}))
@given(figures())
def test_the_csv_is_read_back_bit_for_bit(data):
    found = from_csv(csv_text(data))
    assert found == data
    assert [list(map(repr, column)) for column in found.columns.values()] == [
        list(map(repr, column)) for column in data.columns.values()
    ]
    assert csv_text(found) == csv_text(data)


def test_numbers_of_numpy_are_numbers():
    data = FigureData(
        "a", "lines", "", "", {"x": (np.float64(0.1), np.int64(3))}, {"n": np.int64(2), "f": np.float64(0.1)}
    )
    found = from_csv(csv_text(data))
    assert found.columns == {"x": (0.1, 3)}
    assert found.facts == {"n": 2, "f": 0.1}


def test_texts_that_look_like_numbers_stay_texts():
    data = FigureData("a", "lines", "", "", {"node": ("1", "nan", "# x"), "x": (1, 2.0, None)})
    assert from_csv(csv_text(data)).columns == data.columns


@pytest.mark.parametrize("name", ["", "a b", "../a", "a--b", "-a", "a/b", 'a"', "ä", "a\n"])
def test_names_are_fit_for_files_and_identifiers(name):
    with pytest.raises(ValueError, match="of a figure: must be letters and digits, joined by single hyphens"):
        FigureData(name, "lines", "", "", {})


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": (1.0, "a")}, "column 'x' of figure 'a': has numbers and texts, must have one of them"),
        ({"x": ("",)}, "column 'x', row 1 of figure 'a' is an empty text: must have a letter, or be None"),
        ({"x": ([1],)}, "column 'x', row 1 of figure 'a' is of type list: must be a number, text or None"),
        ({"x": (True,)}, "column 'x', row 1 of figure 'a' is of type bool: must be a number, text or None"),
        ({"x": ("a\x00",)}, "column 'x', row 1 of figure 'a' has a NUL character: CSV has no place for it"),
        ({"x y": (1.0,)}, "column 'x y' of figure 'a': its name must be an identifier"),
    ],
)
def test_columns_that_csv_cannot_hold_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        csv_text(FigureData("a", "lines", "", "", columns))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the figure's CSV: has no columns"),
        ('# name: "a"\n', "the figure's CSV: has no columns"),
        ("# name: a\nx\n", "line 1 of the figure's CSV: must be '# key: JSON value'"),
        ('# colour: "red"\nx\n', "key 'colour' of the figure's CSV: must be one of"),
        ('# name: ["a"]\nx\n', "key 'name' of the figure's CSV: must be text"),
        ('# name: "a"\n# facts: [1]\nx\n', "key 'facts' of the figure's CSV: must be an object"),
        ('# name: "a"\nx,y\n1\n', "row 1 of the figure's CSV: has 1 cells, must have 2"),
        ('# name: "a"\nx\n1\nb\n', "column 'x', row 2 of the figure's CSV is 'b': must be a number"),
        ('# name: "a"\nx,x\n1,2\n', "column 'x' of the figure's CSV: must be there once"),
        ("x\n1\n", "name='' of a figure: must be letters and digits"),
    ],
)
def test_text_of_another_form_is_told_by_place_and_rule(text, message):
    with pytest.raises(ValueError, match=message):
        from_csv(text)


def test_the_description_is_never_empty_where_there_is_a_title():
    data = FigureData("a", "lines", "A line.", "Two points", {})
    assert data.description == "A line. Two points"
    assert FigureData("a", "lines", "A", "B", {}, alt="C").description == "C"


def test_numbers_may_be_missing_where_they_are_allowed_to():
    data = FigureData("a", "lines", "", "", table(("x", "y"), [(None, 1.0)]))
    assert math.isnan(data.numbers("x", missing=True)[0])
    with pytest.raises(ValueError, match="column 'x', row 1 of figure 'a' is None: must be a finite number"):
        data.numbers("x")
