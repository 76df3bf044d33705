"""The page on limits says what the code says."""

import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent.parent / "docs" / "limits.md"
ROWS = re.findall(r"^\|.*\| ([\d,]+) \| `([\w.]+)` \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_table_is_read():
    assert len(ROWS) >= 10


@pytest.mark.parametrize(("shown", "name"), ROWS, ids=lambda value: str(value))
def test_a_limit_is_what_the_code_has(shown, name):
    module, _, constant = name.rpartition(".")
    assert int(shown.replace(",", "")) == getattr(importlib.import_module(module), constant)


def test_the_walsh_form_and_the_loss_check_stop_where_the_page_says():
    from theory.trees.means import LEAF_LIMIT
    from verify.loss.measure import TUPLE_LIMIT

    assert LEAF_LIMIT == 2**16
    assert 2 ** (13 + 1) <= TUPLE_LIMIT < 2 ** (14 + 1)
