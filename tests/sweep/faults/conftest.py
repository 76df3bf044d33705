"""The Ray cluster that the tests of one file share."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from loopback import loopback_cluster


@pytest.fixture(scope="module")
def cluster():
    """Two nodes of one core on loopback."""
    with loopback_cluster(nodes=2, cpus=1) as found:
        yield found
