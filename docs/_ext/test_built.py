"""The built pages (`make docs`): links between the mathematics and the code lead both ways, and wrong pages fail."""

import re
from pathlib import Path

import generated
import pytest
from docstrings import escaped

from verify.registry import REGISTRY
from verify.report.view import SYMBOLS

DOCS = Path(__file__).parent.parent
HTML = DOCS / "_build" / "html"
EXPLAINED = generated.explained_in(DOCS)


def html(page):
    return (HTML / f"{page}.html").read_text(encoding="utf-8")


REFERENCE = {path.stem: path.read_text(encoding="utf-8") for path in (HTML / "reference").glob("*.html")}


def anchor(name):
    return f"module-{name}" if type(generated.named(name)).__name__ == "module" else name


@pytest.mark.parametrize("name", sorted(EXPLAINED))
def test_code_and_pages_link_to_each_other(name):
    holding = [page for page, text in REFERENCE.items() if f'id="{anchor(name)}"' in text]
    assert holding, f"{name} has no place in the reference"
    for page in EXPLAINED[name]:
        assert any(f'reference/{place}.html#{anchor(name)}"' in html(page) for place in holding)
        assert any(f'href="../{page}.html"' in REFERENCE[place] for place in holding)


def test_every_statement_has_a_page_with_its_claim_and_its_variants():
    for known in REGISTRY:
        text = html(f"mathematics/{known.slug}")
        assert text.count("<math") > 1
        assert all(f"{variant.name}</span>" in text for variant in known.load().variants)


def test_no_page_loads_anything_from_elsewhere():
    for path in HTML.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        loaded = re.findall(r"<(?:script|img|iframe|source)[^>]+src=\"([^\"]+)\"|<link[^>]+href=\"([^\"]+)\"", text)
        assert not [one or two for one, two in loaded if (one or two).startswith(("http:", "https:", "//"))], path


def test_links_from_the_source_to_the_reference_lead_somewhere():
    for path in HTML.glob("_modules/**/*.html"):
        for place, target in re.findall(
            r'class="viewcode-back" href="([^"#]+)#([^"]+)"', path.read_text(encoding="utf-8")
        ):
            page = (path.parent / place).resolve()
            assert f'id="{target}"' in page.read_text(encoding="utf-8"), (path.name, target)


def test_symbols_of_reports_are_those_of_the_conventions():
    page = html("mathematics/conventions")
    assert all(str(generated.plain(one.meaning))[:8].replace("\\", "") in page for one in SYMBOLS)


def test_what_a_page_says_wrongly_is_an_error():
    with pytest.raises(AttributeError):
        generated.checked("verify.theorem1.nowhere", "x")
    with pytest.raises(ImportError):
        generated.checked("nowhere", "x")
    assert generated.FENCE.sub("", "```{checked} a\nb\n```\n") == "\n"


def test_text_of_statements_is_no_markup():
    assert generated.plain("a_b *c* |d| <e> $f$") == r"a\_b \*c\* \|d\| \<e\> \$f\$"
    assert escaped("K_ and `name_`") == r"K\_ and `name_`"
