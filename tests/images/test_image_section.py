"""The images section of the report: what an experiment wrote is shown, and what it did not write is refused."""

import json
import subprocess
import sys

import pytest

from hltm.base.errors import InputError
from verify.report.build import images_section

SECTION = {
    "title": "SimCLR on digits",
    "command": "python -m numeric experiment images --dataset digits",
    "verdict": "holds",
    "tables": [
        {"caption": "What must fail & does", "heads": ["loss", "gain"], "rows": [["NT-Xent <b>", "+37.1 ± 0.9 %"]]}
    ],
    "notes": ["theta falls as sigma^2.00."],
}


def write(folder, section=None, **changes):
    document = {"schema": 1, "section": (SECTION if section is None else section)} | changes
    (folder / "manifest.json").write_text(json.dumps(document))
    return folder


def test_it_comes_back(tmp_path):
    assert images_section(write(tmp_path)) == SECTION


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"section": 3},
        {"section": SECTION | {"verdict": "perhaps"}},
        {"section": SECTION | {"notes": "none"}},
        {"section": SECTION | {"tables": [{"caption": "x", "heads": ["a", "b"], "rows": [["1"]]}]}},
        {"section": SECTION | {"tables": [{"caption": "x", "heads": ["a"], "rows": [[1]]}]}},
    ],
)
def test_damage_is_refused(changes, tmp_path):
    with pytest.raises(InputError, match="experiment images"):
        images_section(write(tmp_path, **changes))
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="complete JSON"):
        images_section(tmp_path)


def rendered(section):
    from verify.engine.statement import Context
    from verify.report.html import page
    from verify.report.tex import document
    from verify.report.view import Attached, Request, view

    seen = view(Request(Context(seed=0, profile="quick", device="cpu"), images=section), [], Attached({}, {}, {}))
    return page(seen, {}, pdf_reason="none"), document(seen, shrunk=False)


def test_page_and_latex_show_it(tmp_path):
    html, tex = rendered(SECTION)
    assert '<a href="#images">' in html
    assert "NT-Xent &lt;b&gt;" in html
    assert "What must fail &amp; does" in html
    assert "The theory on the trained networks is as told." in html
    assert r"What must fail \& does" in tex
    html, tex = rendered(SECTION | {"verdict": "refuted"})
    assert "is not as told" in html
    assert "is not as told" in tex
    for text in rendered(images_section(write(tmp_path, SECTION | {"verdict": "not-run"}))):
        assert "The theory on the trained networks was not looked at." in text
    assert 'id="images"' not in rendered(None)[0]


def test_the_option_needs_a_report(tmp_path):
    write(tmp_path)
    for options, words in ((["--images", "."], "--report"), (["--images", "nowhere", "--report", "r"], "nowhere")):
        command = [sys.executable, "-m", "verify", *options]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert words in done.stderr
