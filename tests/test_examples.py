"""Examples of internal functions, run as doctests with the names of their module; `tests/examples` lists them by module."""

import doctest
import importlib
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent / "examples"
FILES = sorted(EXAMPLES.rglob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: ".".join(path.relative_to(EXAMPLES).with_suffix("").parts))
def test_examples_of_a_module(path):
    module = importlib.import_module(".".join(path.relative_to(EXAMPLES).with_suffix("").parts))
    test = doctest.DocTestParser().get_doctest(
        path.read_text(encoding="utf-8"), dict(vars(module)), path.stem, str(path), 0
    )
    assert test.examples
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.REPORT_ONLY_FIRST_FAILURE)
    runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(report)
