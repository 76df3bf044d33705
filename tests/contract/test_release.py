"""One version everywhere, and a page on how to contribute whose commands exist."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
COMMANDS = re.findall(r"`make ([a-z-]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def test_one_version():
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert re.search(r"^version: (.+)$", citation, re.MULTILINE)[1] == VERSION
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (.+)$", changes, re.MULTILINE)[1] in (VERSION, "Unreleased")
    assert re.search(rf"^## {re.escape(VERSION)}$", changes, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_a_command_of_the_page_is_a_target(command):
    assert re.search(rf"^{command}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_page_lists_what_checks_the_project():
    assert {"verify", "test", "lint", "audit", "docs", "dist", "interop", "browser", "test-cluster", "bench"} <= set(
        COMMANDS
    )
