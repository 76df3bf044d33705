"""The compiler of the proof assistant; `make prove` says what to install where there is none."""

import os

import pytest

os.environ.pop("COVOP_ROCQ", None)

from theory.kernel import rocq


@pytest.fixture(scope="session")
def compiler():
    """The compiler, which must be there: these tests are not skipped."""
    found = rocq.compiler()
    assert found is not None, f"no compiler: {rocq.INSTALL}"
    return found


@pytest.fixture(scope="session")
def modules(compiler):
    """All theorems, compiled."""
    place, outcome = rocq.library(compiler, rocq.modules())
    assert outcome.status == "accepted", outcome.detail
    return place
