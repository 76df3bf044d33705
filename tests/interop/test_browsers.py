r"""KaTeX and MathJax set what ``theory latex --no-label`` writes, without a change.

A display is handed over with ``--what macros`` in front, as one text. Needs node; `make interop` installs both
libraries, whose versions ``package.json`` has, and sets ``NODE_PATH``.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import hltm
from theory.latex.names import macros
from theory.paper.export import WHAT, Style, formula
from theory.trees.symbols import read_weights

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "theory"))
from paper_trees import family, named  # noqa: E402

SPECIAL = ["Zürich", "ζ", "straße Ω", "Łódź", "ê", "a_b#c%d&e", "${x}$", "~", "^", "\\", "a,b", "", " ", "'q'", "<|>"]


def reported(displays):
    """What each library says of the displays that it cannot set: name -> number -> message."""
    if shutil.which("node") is None:
        pytest.fail("this test needs node (Debian: nodejs, npm)")
    result = subprocess.run(
        ["node", HERE / "browsers.cjs"], input=json.dumps(displays), capture_output=True, text=True, env=os.environ
    )
    assert result.returncode == 0, f"katex and mathjax-full are installed by `make interop`: {result.stderr[-500:]}"
    return json.loads(result.stdout)


def exports():
    """(name, display) of every formula of the family, and of some networks and names."""
    for name, (tree, node) in family().items():
        for what in WHAT:
            for form in ("equation", "align"):
                for short in (False, True):
                    for width in (345.0, 246.0):
                        text = formula(tree, node, what, form, Style(width, short, None))
                        yield f"{name}, {what}, {form}, {short}, {width}", text
    tree, weights = hltm.complete_tree(2, 2, 0.5), {0: [[1, 2], [3, 4]], 1: [[1, -1]], 2: [[1, 1]]}
    for slope in (0, 1):
        network = read_weights(tree, weights, slope)
        yield f"slope {slope}", formula(tree, 1, "operator", style=Style(prefix=None), network=network)
    for special in SPECIAL:
        yield repr(special), formula(named([("r", special), (special, "x")]), special, style=Style(prefix=None))


def test_both_set_every_export():
    names, displays = zip(*exports(), strict=True)
    assert len(displays) > 250
    assert len(set(displays)) > 150
    report = reported([macros() + display for display in displays])
    assert {library: {names[int(i)]: text for i, text in wrong.items()} for library, wrong in report.items()} == {
        "katex": {},
        "mathjax": {},
    }


def test_what_they_cannot_set_is_reported():
    tree = hltm.star_tree(2, 0.5)
    text = formula(tree, 0, style=Style(prefix=None))
    wrong = [text, macros() + text.replace(r"\covopgap", r"\covopgapp"), macros() + text[:-20]]
    report = reported(wrong)
    assert all(set(report[library]) == {"0", "1", "2"} for library in ("katex", "mathjax"))
    assert set(reported([macros() + formula(tree, 0)])["katex"]) == {"0"}  # it knows no \label
