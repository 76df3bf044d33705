"""Docstrings: every module and every name that users import has one, and what users import shows an example that runs.

`make test` runs the examples.
"""

import importlib
import inspect
import pkgutil

import pytest

PACKAGES = ("hltm", "theory", "numeric", "verify")
EXPORTED = [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__]
STRATEGIES = importlib.import_module("verify.strategies")


def modules():
    for package in PACKAGES:
        root = importlib.import_module(package)
        yield package
        yield from (found.name for found in pkgutil.walk_packages(root.__path__, f"{package}."))


def members(kind):
    """Public methods and properties that a class defines itself."""
    for name, value in vars(kind).items():
        function = value.fget if isinstance(value, property) else getattr(value, "func", None)
        function = function or getattr(value, "__func__", value)
        if (
            not name.startswith("_")
            and inspect.isfunction(function)
            and function.__qualname__ == f"{kind.__qualname__}.{name}"
        ):
            yield name, function


@pytest.mark.parametrize("name", [name for name in modules() if not name.endswith("__main__")])
def test_every_module_says_what_it_holds(name):
    assert importlib.import_module(name).__doc__


@pytest.mark.parametrize(("package", "name"), EXPORTED, ids=[".".join(pair) for pair in EXPORTED])
def test_what_users_import_says_what_it_is(package, name):
    value = getattr(importlib.import_module(package), name)
    if inspect.isfunction(value) or inspect.isclass(value):
        made_up = inspect.isclass(value) and (value.__doc__ or "").startswith(f"{name}(")  # by a dataclass
        assert value.__doc__
        assert not made_up
    if inspect.isclass(value):
        assert [member for member, function in members(value) if not function.__doc__] == []


@pytest.mark.parametrize(("package", "name"), EXPORTED, ids=[".".join(pair) for pair in EXPORTED])
def test_what_users_import_shows_an_example(package, name):
    value = getattr(importlib.import_module(package), name)
    if inspect.isfunction(value) or inspect.isclass(value):
        assert ">>> " in (inspect.getdoc(value) or "")


def test_every_strategy_says_what_it_draws():
    """`verify.strategies` is exported as a module, so all of its functions are public."""
    functions = [value for value in vars(STRATEGIES).values() if inspect.isfunction(value)]
    own = [one for one in functions if one.__module__ == "verify.strategies" and not one.__name__.startswith("_")]
    assert own
    assert [one.__name__ for one in own if not one.__doc__] == []
