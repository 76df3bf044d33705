"""The walls between the packages, and the traps that they keep out."""

import ast
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
    paths = list((ROOT / package).rglob("*.py"))
    assert paths
    for path in paths:
        lines = path.read_text().count("\n")
        assert lines <= 600, f"{path.name} has {lines} lines"


@pytest.mark.parametrize("package", PACKAGES)
def test_user_text_is_never_evaluated(package):
    forbidden = re.compile(
        r"(?<![\w.])(eval|exec|compile|S|parse_expr)\(|\bsympify\((?!.*strict=True)|\bpickle\b|torch\.load\("
    )
    paths = list((ROOT / package).rglob("*.py"))
    assert paths
    for path in paths:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            assert not forbidden.search(line.split("#")[0]), f"{path.name}:{number}: {line.strip()}"


def test_nothing_else_stands_at_the_top():
    if not (ROOT / ".git").exists():  # an unpacked sdist: no history, and the metadata that the build adds
        names = {path.name for path in ROOT.iterdir()}
        names = {name for name in names if name not in {"PKG-INFO", "setup.cfg"} and not name.endswith(".egg-info")}
        names -= {"build", ".hypothesis", "counterexamples"}
    else:
        result = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
        names = {line.split("/")[0] for line in result.stdout.splitlines()}
    documents = {"LICENSE", "CHANGELOG.md", "README.md", "CITATION.cff", "CONTRIBUTING.md"}
    assert {*PACKAGES, "tests"} <= names
    assert names <= {*PACKAGES, *documents, "tests", "docs", ".ci", ".gitignore", "Makefile", "pyproject.toml", "MANIFEST.in"}  # fmt: skip


# What takes long to load, or is not there without an extra or on another system; everything else is imported at the top.
LAZY = {*PACKAGES, "torch", "numpy", "scipy", "sympy", "mpmath", "networkx", "hypothesis", "sklearn", "matplotlib", "PIL", "rich", "latex2mathml", "jinja2", "kornia", "torchvision", "pyarrow", "ray", "resource"}  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_import_what_is_heavy_and_nothing_else(package):
    for path in (ROOT / package).rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in ast.walk(function):
                names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                names += [node.module] if isinstance(node, ast.ImportFrom) else []
                light = [name for name in names if name.split(".")[0] not in LAZY]
                assert not light, f"{path.relative_to(ROOT)}:{node.lineno}: {light}"


@pytest.mark.parametrize("package", PACKAGES)
def test_functions_are_short(package):
    """60 lines at most, the docstring not counted: it grows with what there is to say."""
    for path in (ROOT / package).rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                said = function.body[0] if ast.get_docstring(function) else None
                lines = function.end_lineno - function.lineno + 1 - (said.end_lineno - said.lineno + 1 if said else 0)
                assert lines <= 60, f"{path.relative_to(ROOT)}:{function.name}: {lines} lines"
