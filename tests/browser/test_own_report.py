"""The report of a user's own statement whose words are hostile: they are shown, never obeyed."""

import subprocess
import sys

import pytest

TITLE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'></title></style>{{7*7}}"
STATEMENT = """
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import JsonInstance, user_statement

@dataclass(frozen=True)
class Numbers(JsonInstance):
    a: float
    b: float

whole = st.integers(-50, 50).map(float)

def square(i, at):
    return (at.array(i.a) + at.array(i.b)) ** 2

S = user_statement(
    title=TITLE, claim=r"\\href{javascript:alert(3)}{x} \\text{</mtext></math><script>alert(4)</script>} + (a+b)^2",
    slug="square", theory=lambda i, at: at.array(i.a) ** 2 + 2 * at.array(i.a) * at.array(i.b) + at.array(i.b) ** 2,
    numeric=square, exact=square, strategy=st.builds(Numbers, whole, whole),
    variants={"no-cross-term": lambda i, at: at.array(i.a) ** 2 + at.array(i.b) ** 2},
)
"""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "mine.py").write_text(STATEMENT.replace("TITLE", repr(TITLE)))
    command = [sys.executable, "-m", "verify", "run", "mine.py", "--report", "out"]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "out"


@pytest.mark.parametrize("width", [400, 1400])
def test_words_are_shown_and_not_obeyed(width, hostile, opened):
    found = opened((hostile / "index.html").as_uri(), width=width)
    page = found.unfold()
    assert found.asked == [(hostile / "index.html").as_uri()]
    assert page.locator("script, img, iframe, object, embed, [onerror], [onclick]").count() == 0
    assert page.locator("a[href^='javascript']").count() == 0
    assert TITLE in page.locator("h2").first.inner_text()
    assert page.evaluate("() => document.documentElement.scrollWidth <= document.documentElement.clientWidth")
