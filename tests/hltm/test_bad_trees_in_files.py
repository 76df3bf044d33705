"""Trees that are not allowed, written in each file format: refused by the library and by the command line."""

import json
from html import escape

import pytest

import hltm
from hltm.base.command import guarded
from hltm.cli import app

EDGE = {"polarity": 0.5}
NAN = float("nan")

# name: (nodes with attributes, edges with attributes, parts of the message)
TREES = {
    "cycle": ({"r": {"prior": [0.5, 0.5]}, "a": {}, "b": {}}, {("r", "a"): EDGE, ("a", "b"): EDGE, ("b", "a"): EDGE}, ["no cycle|one parent"]),
    "pure-cycle": ({"r": {}, "a": {}}, {("r", "a"): EDGE, ("a", "r"): EDGE}, ["no cycle"]),
    "two-parents": ({"r": {"prior": [0.5, 0.5]}, "a": {}, "x": {}}, {("r", "a"): EDGE, ("r", "x"): EDGE, ("a", "x"): EDGE}, ["'x' has parents 'r', 'a'", "one parent"]),
    "two-roots": ({"r": {"prior": [0.5, 0.5]}, "s": {"prior": [0.5, 0.5]}, "a": {}}, {("r", "a"): EDGE}, ["'r', 's' have no parent", "one root"]),
    "no-edge": ({"r": {"prior": [0.5, 0.5]}}, {}, ["at least one edge"]),
    "row-sum": ({"r": {"prior": [0.5, 0.5]}, "a": {}}, {("r", "a"): {"transition": [[0.5, 0.5], [0.5, 0.25]]}}, ["row 1 of transition on edge ('r', 'a')", "sum to one", "0.75"]),
    "negative": ({"r": {"prior": [0.5, 0.5]}, "a": {}}, {("r", "a"): {"transition": [[1.5, -0.5], [0.5, 0.5]]}}, ["transition[0][1]=-0.5", "must not be negative"]),
    "prior-sum": ({"r": {"prior": [0.5, 0.25]}, "a": {}}, {("r", "a"): EDGE}, ["prior=[0.5, 0.25] of root 'r'", "sum to one"]),
    "polarity": ({"r": {"prior": [0.5, 0.5]}, "a": {}}, {("r", "a"): {"polarity": 1.3}}, ["polarity", "1.3", "must lie in [-1, 1]|must not be negative"]),
    "nan": ({"r": {"prior": [0.5, 0.5]}, "a": {}}, {("r", "a"): {"transition": [[NAN, 0.5], [0.5, 0.5]]}}, ["transition[0][0]=nan on edge ('r', 'a')", "finite"]),
    "polarity-nan": ({"r": {"prior": [0.5, 0.5]}, "a": {}}, {("r", "a"): {"polarity": NAN}}, ["polarity", "nan|neither", "finite|exactly one"]),
    "prior-nan": ({"r": {"prior": [NAN, 0.5]}, "a": {}}, {("r", "a"): EDGE}, ["prior[0]=nan of root 'r'", "finite"]),
    "shape": ({"r": {"prior": [0.5, 0.5]}, "a": {}}, {("r", "a"): {"transition": [[0.5, 0.25, 0.25], [0, 0, 1]]}}, ["must have"]),
    "prior-shape": ({"r": {"prior": [0.5, 0.25, 0.25]}, "a": {}}, {("r", "a"): EDGE}, ["must have 2"]),
    "unknown-attribute": ({"r": {"prior": [0.5, 0.5]}, "a": {}}, {("r", "a"): {"polarty": 0.5}}, ["polarty", "must be"]),
}  # fmt: skip


def as_json(nodes, edges):
    return json.dumps(
        {
            "nodes": [{"id": node, **values} for node, values in nodes.items()],
            "edges": [{"source": above, "target": node, **values} for (above, node), values in edges.items()],
        }
    )


def as_graphml(nodes, edges):
    names = ("prior", "polarity", "transition", "polarty")

    def data(values):
        return "".join(f'<data key="{key}">{escape(json.dumps(value))}</data>' for key, value in values.items())

    return "".join(
        [
            "<graphml>",
            *(f'<key id="{name}" attr.name="{name}"/>' for name in names),
            '<graph edgedefault="directed">',
            *(f'<node id="{node}">{data(values)}</node>' for node, values in nodes.items()),
            *(f'<edge source="{a}" target="{b}">{data(values)}</edge>' for (a, b), values in edges.items()),
            "</graph></graphml>",
        ]
    )


def as_bif(nodes, edges):
    text = "".join(f"variable {node} {{ type discrete[2] {{ 0, 1 }}; }}\n" for node in nodes)
    for node, values in nodes.items():
        into = {above: given for (above, child), given in edges.items() if child == node}
        if not into:
            row = " ".join(map(str, values.get("prior", ())))
            text += f"probability ( {node} ) {{ table {row}; }}\n"
            continue
        text += f"probability ( {node} | {', '.join(into)} ) {{\n{bif_rows(next(iter(into.values())))}}}\n"
    return text


def bif_rows(given):
    if "transition" in given:
        return "".join(f"( {i} ) {' '.join(map(str, row))};\n" for i, row in enumerate(given["transition"]))
    ((key, rho),) = given.items()
    high, low = (1 + rho) / 2, (1 - rho) / 2
    word = "property polarity =" if key == "polarity" else key
    return f"{word} {rho};\n( 0 ) {high} {low};\n( 1 ) {low} {high};\n"


FORMATS = {".json": as_json, ".graphml": as_graphml, ".bif": as_bif}
COMMANDS = {"show": [], "convert": ["out.json"], "draw": ["out.png"]}


def check(message, parts):
    assert "\n" not in message.strip()
    for part in parts:
        assert any(choice in message for choice in part.split("|")), message


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("case", TREES)
def test_bad_tree_in_a_file(tmp_path, monkeypatch, capsys, case, suffix):
    nodes, edges, parts = TREES[case]
    path = tmp_path / f"tree{suffix}"
    path.write_text(FORMATS[suffix](nodes, edges))
    with pytest.raises(hltm.InputError) as caught:
        hltm.load(path)
    check(str(caught.value), parts)

    monkeypatch.chdir(tmp_path)
    for command, more in COMMANDS.items():
        monkeypatch.setattr("sys.argv", ["hltm", command, path.name, *more])
        assert guarded(app, "hltm") == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert printed.err.startswith(f"error: {path.name}: ")
        check(printed.err, parts)
        assert [file.name for file in tmp_path.iterdir()] == [path.name], "nothing is left behind"


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_writers_of_this_test_write_good_trees(tmp_path, suffix):
    nodes = {"r": {"prior": [0.25, 0.75]}, "a": {}, "b": {}}
    edges = {("r", "a"): EDGE, ("a", "b"): {"transition": [[0.5, 0.5], [0.25, 0.75]]}}
    path = tmp_path / f"tree{suffix}"
    path.write_text(FORMATS[suffix](nodes, edges))
    tree = hltm.load(path)
    assert tree.exact_prior() == (0.25, 0.75)
    assert tree.polarity("r", "a") == 0.5
    assert tree.exact_table("b") == ((0.5, 0.5), (0.25, 0.75))
