"""Drawings: the same bytes, without torch, legible in grey, one clear line for what cannot be drawn."""

import dataclasses
import hashlib
import itertools
import json
import os
import pickle
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import matplotlib
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from verify.figures.data import FigureData, csv_text
from verify.figures.drawing import DRAWINGS, render
from verify.figures.plots import MAP, STYLES, plain, symbols

LINE = FigureData("line", "lines", "A line", "Two points.", {"x": (0.0, 1.0), "y": (0.0, 2.0)})
EIGENVALUES = [("derived", "eigenvalue", 0, None, 2.0), ("measured", "eigenvalue", 0, None, 2.0)]


def table(names, *rows):
    return dict(zip(names.split(), map(tuple, zip(*rows, strict=True)), strict=True))


def order_facts(*names):
    keys = {"": -0.5, ", low": -0.6, ", high": -0.4, ", stated": -0.5}
    return {f"order, {name}{key}": value for name in names for key, value in keys.items()}


EXAMPLES = {
    "lines": LINE,
    "separation": FigureData("separation", "separation", "", "", table("claim ratio", ("the statement", 0.0), ("false", 1e9)), {"lowest ratio drawn": 1e-4}),
    "pair-weights": FigureData("pair-weights", "pair-weights", "", "", table("loss quantity r value", ("InfoNCE, tau = 1", "xi", 0.0, 0.5), ("InfoNCE, tau = 1", "dL/dr_+", 0.0, 0.5), ("other", "xi", 0.0, 1.0))),
    "residue": FigureData("residue", "residue", "", "", table("series member spread theta", ("a", 0, 0.1, 0.2), ("a", 0, 0.2, 0.4), ("b", 0, 0.1, 0.2), ("b", 0, 0.2, 0.4)), order_facts("a", "b")),
    "minibatch": FigureData("minibatch", "minibatch", "", "", table("series member batch error", ("a", 0, 4, 0.2), ("a", 0, 16, 0.1), ("b", 0, 4, 0.2), ("b", 0, 16, 0.1)), order_facts("a", "b")),
    "ring": FigureData("ring", "ring", "", "", table("loss neurons run time distance", ("simple", "ReLU", 0, 0.0, 0.1), ("simple", "ReLU", 0, 1.0, 0.2), ("simple", "linear", 0, 0.0, 0.0), ("simple", "linear", 0, 1.0, 0.0)), {"positions": 5, "rounding explains": 1e-14, "lowest distance drawn": 1e-19}),
    "operator": FigureData("operator", "operator", "", "", table("side quantity row column value", ("derived", "entry", 0, 0, 2.0), ("measured", "entry", 0, 0, 2.0), *EIGENVALUES), {"rank at most": 1, "rounding explains": 1e-15, "lowest eigenvalue drawn": 1e-20}),
    "tree": FigureData("tree", "tree", "", "", table("node label parent x depth polarity before after", ("0", "z", None, 0.5, 0, None, 0.1, 0.9), ("1", "a", "0", 0.0, 1, -0.5, None, None), ("2", "b", "0", 1.0, 1, 0.5, None, None))),
    "training": FigureData("training", "training", "", "", table("quantity level step median lower upper", *((q, level, step, 0.5, 0.4, 0.6) for q in ("correlation", "norm") for level in (1, 2) for step in (0, 10)), ("ceiling", 1, None, 0.9, None, None))),
    "lucky": FigureData("lucky", "lucky", "", "", table("gap start end", (0.1, 0.2, 0.3), (-0.1, -0.2, 0.3)), {f"rank correlation, {what}{key}": 0.5 for what in ("final selectivity", "growth") for key in ("", ", low", ", high")}),
}  # fmt: skip


def test_every_drawing_has_an_example():
    assert set(EXAMPLES) == set(DRAWINGS)


@pytest.fixture(scope="module")
def drawn():
    return {kind: render(data) for kind, data in EXAMPLES.items()}


@pytest.mark.parametrize("kind", DRAWINGS)
def test_files_are_of_their_format_and_in_no_need_of_fonts(kind, drawn):
    files = drawn[kind]
    assert set(files) == {"svg", "pdf", "png", "csv"}
    assert files["png"].startswith(b"\x89PNG")
    assert files["pdf"].startswith(b"%PDF")
    assert b"/Type3" not in files["pdf"]
    root = ElementTree.fromstring(files["svg"])  # noqa: S314
    assert root.tag.endswith("svg")
    assert not [one for one in root.iter() if one.tag.endswith("}text")]
    assert files["csv"].decode() == csv_text(EXAMPLES[kind])


@pytest.mark.parametrize("kind", DRAWINGS)
def test_files_say_neither_when_nor_by_which_version(kind, drawn):
    version = matplotlib.__version__.encode()
    for suffix in ("svg", "pdf", "png"):
        content = drawn[kind][suffix]
        assert version not in content
        assert b"CreationDate" not in content
        assert b"dc:date" not in content


@pytest.mark.parametrize("kind", DRAWINGS)
def test_identifiers_begin_with_the_name_and_every_reference_is_met(kind, drawn):
    text = drawn[kind]["svg"].decode()
    made = re.findall(r'\sid="([^"]+)"', text)
    used = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert made
    assert all(name.startswith(f"{EXAMPLES[kind].name}-") for name in made)
    assert len(made) == len(set(made))
    assert set(used) <= set(made)


def test_the_same_bytes_in_another_process_whatever_the_settings_there(drawn, tmp_path):
    """The other process hashes in another way and has a matplotlibrc of its own."""
    (tmp_path / "matplotlibrc").write_text(
        "font.size: 20\nlines.linewidth: 9\nsvg.fonttype: none\naxes.facecolor: red\n"
    )
    script = (
        "import sys, json, hashlib, pickle\n"
        "from verify.figures.drawing import render\n"
        "made = {k: render(data) for k, data in pickle.load(sys.stdin.buffer).items()}\n"
        "loaded = [name for name in ('torch', 'sympy', 'matplotlib.pyplot', 'scipy') if name in sys.modules]\n"
        "print(json.dumps([loaded, {k: {s: hashlib.sha256(b).hexdigest() for s, b in f.items()} for k, f in made.items()}]))\n"
    )
    env = {**os.environ, "PYTHONHASHSEED": "12345", "MATPLOTLIBRC": str(tmp_path), "OMP_NUM_THREADS": "1"}
    root = Path(__file__).parent.parent.parent
    given = pickle.dumps(EXAMPLES)
    ran = subprocess.run([sys.executable, "-c", script], input=given, capture_output=True, env=env, cwd=root)
    assert ran.returncode == 0, ran.stderr
    loaded, digests = json.loads(ran.stdout)
    assert loaded == []
    for kind, files in drawn.items():
        for suffix, content in files.items():
            assert digests[kind][suffix] == hashlib.sha256(content).hexdigest(), (kind, suffix)


def test_drawing_changes_no_setting_of_matplotlib():
    before = dict(matplotlib.rcParams)
    render(LINE)
    assert dict(matplotlib.rcParams) == before


def grey(colour):
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), to_rgb(colour), strict=True))


def test_any_two_styles_differ_without_colour():
    for number, one in enumerate(STYLES):
        for other in STYLES[:number]:
            assert one.line != other.line
            assert one.marker != other.marker
            assert one.hatch != other.hatch


def test_the_map_grows_in_lightness_all_along():
    shades = [grey(matplotlib.colormaps[MAP](number)[:3]) for number in range(256)]
    assert all(b > a for a, b in itertools.pairwise(shades))


@pytest.mark.parametrize("kind", DRAWINGS)
def test_series_of_a_legend_differ_in_lightness_line_or_marker(kind):
    figure = Figure(layout="constrained")
    DRAWINGS[kind](figure, EXAMPLES[kind])
    legends = [axes.get_legend() for axes in figure.axes] + list(figure.legends)
    for legend in filter(None, legends):
        looks = {}
        for text, line in zip(legend.get_texts(), legend.legend_handles, strict=True):
            if not hasattr(line, "get_marker"):
                continue
            look = (
                round(grey(line.get_color()), 1),
                str(line._dash_pattern),
                line.get_marker(),
                line.get_fillstyle(),
                line.get_linewidth(),
            )
            assert look not in looks, (text.get_text(), looks[look])
            looks[look] = text.get_text()


HOSTILE = [
    "$x_1$",
    "a_b^c",
    "\\frac{",
    "$",
    "100%",
    '<b>&"\' id="x"',
    "名前",
    "line\nbreak",
    "\x1b\u200b",
    "a" * 300,
    "\\$",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_no_formulas(name):
    """Titles, names of nodes, of series and of claims come from a user's tree or statement."""
    tree = EXAMPLES["tree"]
    labels = (name, *tree.columns["label"][1:])
    files = render(dataclasses.replace(tree, title=name, caption=name, columns={**tree.columns, "label": labels}))
    ElementTree.fromstring(files["svg"])  # noqa: S314
    assert f"# title: {json.dumps(name)}" in files["csv"].decode()
    lines = {"x": (0.0, 1.0), "y": (0.0, 1.0), "series": (name, "other")}
    render(FigureData("line", "lines", name, "", lines, {"x label": name, "y label": name}))
    separation = EXAMPLES["separation"]
    render(dataclasses.replace(separation, columns={**separation.columns, "claim": (name, "other")}))
    assert plain("\\$") == "\\\\$"


def test_names_of_parameters_are_symbols_beside_dollars():
    assert symbols("tau = 1, H = 2, theta") == r"$\tau$ = 1, $H$ = 2, theta"
    data = EXAMPLES["pair-weights"]
    losses = ("$5 tau", *data.columns["loss"][1:])
    render(dataclasses.replace(data, columns={**data.columns, "loss": losses}))


def changed(kind, column, values):
    data = EXAMPLES[kind]
    return dataclasses.replace(data, columns={**data.columns, column: values})


BAD = [
    (dataclasses.replace(LINE, kind="pie"), "kind='pie' of figure 'line': must be one of lines, "),
    (dataclasses.replace(LINE, columns={"x": (), "y": ()}), "column 'x' of figure 'line': has no rows, must have at least one"),
    (dataclasses.replace(LINE, columns={"x": (1.0,)}), "column 'y' of figure 'line': is missing, there are 'x'"),
    (dataclasses.replace(LINE, columns={}), "column 'x' of figure 'line': is missing, there are none"),
    (changed("lines", "y", (0.0, float("nan"))), "column 'y', row 2 of figure 'line' is nan: must be a finite number"),
    (changed("lines", "y", (None, 1.0)), "column 'y', row 1 of figure 'line' is None: must be a finite number"),
    (changed("lines", "y", ("a", "b")), "column 'y', row 1 of figure 'line' is 'a': must be a finite number"),
    (dataclasses.replace(LINE, facts={"x scale": "log"}), "column 'x', row 1 of figure 'line' is 0.0: must be above 0, its axis is logarithmic"),
    (dataclasses.replace(LINE, facts={"x scale": "cubic"}), "fact 'x scale' of figure 'line' is 'cubic': must be linear or log"),
    (changed("residue", "member", (0, 0, 0, 1)), "members of 'b' have 1 rows, must have equally many, at least 2"),
    (changed("residue", "theta", (0.1, 0.0, 0.1, 0.1)), "column 'theta', row 2 of figure 'residue' is 0.0: must be above 0"),
    (changed("separation", "claim", (None, "b")), "column 'claim', row 1 of figure 'separation' is None: must be text"),
    (dataclasses.replace(EXAMPLES["ring"], facts={}), "fact 'lowest distance drawn' of figure 'ring': is missing, there are none"),
    (dataclasses.replace(EXAMPLES["ring"], facts={**EXAMPLES["ring"].facts, "rounding explains": float("inf")}), "is inf: must be a finite number"),
    (changed("operator", "quantity", ("eigenvalue",) * 4), "figure 'operator': 0 entries of the derived matrix, must be a square number"),
    (changed("operator", "row", (1, 0, 0, 0)), "figure 'operator': entry (1, 0) of the derived matrix: must lie within 1 rows and columns, once"),
    (changed("tree", "parent", (None, "7", "0")), "column 'parent', row 2 of figure 'tree' is '7': must be one of the nodes"),
    (changed("tree", "node", ("0", "0", "2")), "column 'node' of figure 'tree': must be different names, at most 63"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_what_cannot_be_drawn_is_told_in_one_line(data, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        render(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["lines", "separation", "pair-weights", "ring", "lucky"])
def test_one_row_can_be_drawn(kind):
    data = EXAMPLES[kind]
    render(dataclasses.replace(data, columns={name: column[:1] for name, column in data.columns.items()}))
