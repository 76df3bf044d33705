"""The table of what the paper says and what we say: the page's is made of the registry."""

from pathlib import Path

import generated

from verify.registry import REGISTRY

ROOT = Path(__file__).resolve().parent.parent.parent


def test_the_documentation_has_the_table():
    text = generated.relations("", "")
    for entry in REGISTRY:
        row = entry.load().relation_to_paper
        assert f"| [{entry.heading}](/mathematics/{entry.slug}.md) | {generated.plain(row.relation)} |" in text
        assert generated.plain(row.difference) in text
    assert "```{relations}\n```" in (ROOT / "docs" / "mathematics" / "index.md").read_text(encoding="utf-8")
