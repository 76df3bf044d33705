"""Fixtures shared by the tests of `verify`."""

import json
from pathlib import Path

import pytest

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="session")
def vectors():
    """Reference vectors, computed by enumeration and autograd with no code of this project."""
    return json.loads((DATA / "vectors.json").read_text())


@pytest.fixture(scope="session")
def counterexamples():
    """Folder of the pinned counterexamples of the mutants."""
    return DATA / "counterexamples"
