"""The README's first screen, its Python, and the links that it makes."""

import contextlib
import io
import re
from pathlib import Path

from verify.engine.statement import Context
from verify.registry import REGISTRY

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_screen_says_what_it_is_for_and_shows_a_picture_and_a_command():
    screen = "\n".join(TEXT.splitlines()[:25])
    assert "machine-checked" in screen
    assert "$ make verify" in screen
    picture = re.search(r"!\[[^]]+\]\(([^)]+)\)", screen)[1]
    assert 0 < (ROOT / picture).stat().st_size < 150_000


def test_its_python_prints_what_it_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        for block in blocks:
            exec(compile(block, "README.md", "exec"), {})  # noqa: S102 (our own page)
    told = [
        line.split("#")[1].split(":")[0].strip() for block in blocks for line in block.splitlines() if "# True" in line
    ]
    assert told
    assert printed.getvalue().splitlines().count("True") == len(told)
    assert (tmp_path / "tree.png").exists()


def test_its_links_lead_somewhere():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", TEXT) if not link.startswith("http")]
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_its_table_counts_what_a_run_counts():
    """What is drawn is counted by a run; proofs, mutants and assumptions are counted here."""
    rows = {cells[0]: cells[1:] for cells in (re.findall(r"[^│]+", line) for line in TEXT.splitlines() if "│" in line)}
    rows = {
        name.strip(): [int(re.search(r"\d+", cell)[0]) for cell in cells if "holds" in cell]
        for name, cells in rows.items()
    }
    context = Context(seed=0, profile="quick", device="cpu")
    statements = [known.load() for known in REGISTRY]
    proofs = [[check for check in found.checks if check.kind == "symbolic"] for found in statements]
    assert rows["symbolic"] == [sum(check.run(context).instances for check in checks) for checks in proofs]
    assert rows["variants"] == [len(found.variants) for found in statements]
    assert rows["assumptions"] == [len(found.drops) for found in statements]


def test_its_table_of_relations_is_the_statements_own():
    rows = re.findall(r"^\| ((?:Theorem|Statement) \d) \| (.+?) \| (.+?) \| (\w+) \|$", TEXT, re.MULTILINE)
    known = [(entry.heading, entry.load().relation_to_paper) for entry in REGISTRY]
    assert rows == [(heading, row.relation, row.difference, row.confidence) for heading, row in known]
