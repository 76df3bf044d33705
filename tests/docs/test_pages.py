"""The pages' own code: every command and every example is run, and prints what the page says.

Notebooks are executed by the build of the documentation (`make docs`), which fails on any error.
"""

import json
import re
import sys
from pathlib import Path

import pytest

from verify.registry import PACKS

sys.path.insert(0, str(Path(__file__).parent))
from pages import BLOCK, Command, agrees, commands, run_page

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGES = [page for page in [*sorted(DOCS.glob("*.md")), *sorted(DOCS.glob("*/*.md"))] if "_build" not in page.parts]
# The statement's page is run by tests/verify/test_own_statements.py, the findings show no commands.
RUN = [
    page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8")) and page.name != "your_own_statement.md"
]
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_what_a_page_shows_is_what_comes_out(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_page(page, tmp_path) > 0


def test_there_are_the_pages_that_are_promised():
    assert {"tutorial", "own_tree", "own_loss"} <= {page.stem for page in RUN}
    assert {"index", "findings", "limits", "gpu", "cluster"} <= {page.stem for page in PAGES}


def test_every_formula_of_the_mathematics_links_to_code():
    pages = list(DOCS.glob("mathematics/*.md"))
    assert len(pages) == 9
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "$$" not in text, f"{page.name}: a display without code that checks it"
        assert "{math}" not in text
        if page.stem not in ("index", "conventions"):
            assert f"```{{statement}} {page.stem}\n" in text


def test_every_pack_has_a_page_with_its_statement():
    pages = {page.stem: page.read_text(encoding="utf-8") for page in DOCS.glob("packs/*.md")}
    index = pages.pop("index")
    assert set(pages) == {known.slug for known in PACKS}
    assert "```{packs}\n```" in index
    for slug, text in pages.items():
        assert f"```{{statement}} {slug}\n```" in text, slug
        assert re.match(r"# (?!.*[Tt]heorem)", text), slug


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_pages_name_no_machine(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"(^|[^a-z.])/(work|farm|root|home)/", text)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_output(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert code
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


def test_there_are_three_notebooks():
    assert [path.stem for path in NOTEBOOKS] == ["derive_and_export", "verify_your_own_loss", "watch_features_emerge"]


def test_the_runner_sees_what_differs():
    assert agrees("a\n...\nd\n", "a\nb\nc\nd\n")
    assert not agrees("a\nd\n", "a\nb\nd\n")
    assert not agrees("...\nd\n", "d\ne\n")
    assert agrees("a ...\nb\n", "a c\nb\n")
    assert not agrees("a ...\nb\n", "d\nb\n")
    body = "$ one  # exit code 3\nout\n$ two\n"
    assert commands(body, 5) == [Command(5, "one  # exit code 3", "out\n"), Command(7, "two", "")]
    assert [command.exit_code for command in commands(body, 5)] == [3, 0]


@pytest.mark.parametrize(
    "block", ["```console\n$ echo one\ntwo\n```\n", "```pycon\n>>> 1 + 1\n3\n```\n", "```console\n$ false\n```\n"]
)
def test_the_runner_refuses_what_is_not_so(block, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(block)
    with pytest.raises(AssertionError):
        run_page(page, tmp_path)
