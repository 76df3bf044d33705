"""The package: what loading it loads, and what it exports."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import numeric


def loaded_after(statement):
    code = f"import sys; {statement}; print(*sorted(m for m in ('torch', 'scipy', 'sklearn', 'sympy') if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.split()


def test_importing_the_package_loads_nothing_heavy():
    assert loaded_after("import numeric") == []


def test_no_module_loads_more_than_it_needs():
    assert loaded_after("import numeric; numeric.covariance_operator, numeric.digit_population") == ["torch"]


@pytest.mark.parametrize("name", numeric.__all__)
def test_every_name_is_there(name):
    assert getattr(numeric, name).__doc__


def test_lazy_names_are_those_that_type_checkers_see():
    tree = ast.parse(Path(numeric.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    seen = {f"numeric.{node.module}.{alias.asname}" for node in imports for alias in node.names}
    lazy = {f"{getattr(numeric, name).__module__}.{name}" for name in numeric.__all__}
    assert lazy == seen


def test_unknown_names_are_refused():
    with pytest.raises(AttributeError, match="no_such_name"):
        numeric.no_such_name  # noqa: B018
