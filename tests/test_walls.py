"""The walls between the packages, and the traps that they keep out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("hltm", "theory", "numeric", "verify")


def test_import_linter_holds_the_walls():
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout
    assert "0 broken" in result.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_are_short(package):
    paths = list((ROOT / package).glob("*.py"))
    assert paths
    for path in paths:
        lines = path.read_text().count("\n")
        assert lines <= 330, f"{path.name} has {lines} lines"


@pytest.mark.parametrize("package", PACKAGES)
def test_user_text_is_never_evaluated(package):
    forbidden = re.compile(
        r"(?<![\w.])(eval|exec|compile|S|parse_expr)\(|\bsympify\((?!.*strict=True)|\bpickle\b|torch\.load\("
    )
    paths = list((ROOT / package).glob("*.py"))
    assert paths
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert not forbidden.search(line.split("#")[0]), f"{path.name}:{number}: {line.strip()}"


def test_nothing_else_stands_at_the_top():
    result = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if result.returncode != 0:
        pytest.fail("the tests run from a git checkout")
    names = {line.split("/")[0] for line in result.stdout.splitlines()}
    allowed = {*PACKAGES, "tests", "benchmarks", "docs", ".ci", ".gitignore", "Makefile", "LICENSE", "CHANGELOG.md", "README.md", "pyproject.toml"}  # fmt: skip
    assert names <= allowed
