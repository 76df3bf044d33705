"""No module of the four packages imports itself by way of others, but where a function closes the circle when it is called.

`CALLED` lists these, each with its reason; nothing else may be there, and nothing that is no longer needed.
"""

import importlib.util
from pathlib import Path

import grimp
import pytest

PACKAGES = ("hltm", "theory", "numeric", "verify")
CALLED = {
    ("hltm.tree", "hltm.drawing"): "HLTM._repr_html_ draws; a tree needs no drawing",
    (
        "theory.core.derivation",
        "theory.latex.render",
    ): "Derivation.latex() and _repr_html_ render; a derivation needs no LaTeX",
    ("theory.core.claim", "theory.latex.render"): "Claim.latex() renders too, by the same module",
}


def cycles(graph, modules):
    """Groups of modules each of which reaches every other one (Tarjan), the single ones left out."""
    order, low, stack, found = {}, {}, [], []
    for start in sorted(modules):
        walk = [(start, None)] if start not in order else []
        while walk:
            node, rest = walk.pop()
            if rest is None:
                order[node] = low[node] = len(order)
                stack.append(node)
                rest = iter(sorted(graph.find_modules_directly_imported_by(node) & modules))
            for other in rest:
                if other not in order:
                    walk += [(node, rest), (other, None)]
                    break
                if other in stack:
                    low[node] = min(low[node], order[other])
            else:
                if low[node] == order[node]:
                    group = stack[stack.index(node) :]
                    del stack[stack.index(node) :]
                    found += [group] if len(group) > 1 else []
                if walk:
                    low[walk[-1][0]] = min(low[walk[-1][0]], low[node])
    return found


@pytest.fixture(scope="module")
def graph():
    # What only type checkers read is no import; what a function imports when it is called is one.
    return grimp.build_graph(*PACKAGES, cache_dir=None, exclude_type_checking_imports=True)


def test_the_search_finds_a_cycle():
    graph = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "a")):
        graph.add_import(importer=importer, imported=imported)
    assert [sorted(group) for group in cycles(graph, graph.modules)] == [["a", "b", "c"]]


@pytest.fixture(scope="module")
def ours(graph):
    return {name for name in graph.modules if name.split(".")[0] in PACKAGES}


def test_no_cycle(graph, ours):
    assert len(ours) > 150
    left = {pair: graph.get_import_details(importer=pair[0], imported=pair[1]) for pair in CALLED}
    for importer, imported in CALLED:
        graph.remove_import(importer=importer, imported=imported)
    try:
        assert cycles(graph, ours) == []
    finally:
        for details in left.values():
            graph.add_import(**details[0])


@pytest.mark.parametrize("pair", CALLED, ids=" to ".join)
def test_what_closes_a_circle_is_called(graph, ours, pair):
    importer, imported = pair
    details = graph.get_import_details(importer=importer, imported=imported)
    assert details
    assert any({importer, imported} <= set(group) for group in cycles(graph, ours))
    lines = Path(importlib.util.find_spec(importer).origin).read_text(encoding="utf-8").splitlines()
    for row in details:
        assert lines[row["line_number"] - 1].startswith("    "), "an import of the module's own"


def lonely(graph, modules, lines):
    """Modules of fewer than 80 lines that exactly one other imports."""
    return [
        name
        for name in sorted(modules)
        if lines(name) < 80 and len(graph.find_modules_that_directly_import(name) & modules) == 1
    ]


def test_a_short_module_of_one_importer_lies_in_it(graph, ours):
    def lines(name):
        path = Path(importlib.util.find_spec(name).origin)
        return 10**6 if path.name == "__init__.py" else path.read_text(encoding="utf-8").count("\n")

    assert lonely(graph, ours, lines) == []


def test_the_search_finds_a_lonely_module():
    graph = grimp.ImportGraph()
    for importer, imported in (("a", "b"), ("a", "c"), ("d", "c")):
        graph.add_import(importer=importer, imported=imported)
    assert lonely(graph, graph.modules, {"a": 9, "b": 79, "c": 9, "d": 9}.get) == ["b"]
    assert lonely(graph, graph.modules, {"a": 9, "b": 80, "c": 9, "d": 9}.get) == []
