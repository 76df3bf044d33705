"""Trees from and to the networks of pgmpy and pyAgrum in memory.

Both libraries are in the extra ``interop`` and loaded only where a network of theirs is made. They compute in double
precision: a rational number becomes the nearest float on the way there, and a polarity becomes a table. Names of nodes
and of states, the order of the states and the order of the children are kept in both directions.
"""

import importlib
import json
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

import networkx as nx
import numpy as np

from hltm.base.checks import Node, Number, node_name, show
from hltm.base.errors import InputError, TreeWarning
from hltm.bif import tree_of
from hltm.bif_reader import Network, Variable
from hltm.reading import Printed, Reading
from hltm.tables import GRAPH_ATTRIBUTES, SumError
from hltm.tree import HLTM

if TYPE_CHECKING:
    import pyagrum
    from pgmpy.models import DiscreteBayesianNetwork

NAMES = "hltm_names"  # property of a network of pyAgrum: the nodes whose name is not text


def to_pgmpy(tree: HLTM) -> "DiscreteBayesianNetwork":
    """Return the tree as a network of pgmpy.

    Parameters
    ----------
    tree : HLTM

    Returns
    -------
    pgmpy.models.DiscreteBayesianNetwork
        Nodes of the same names, level by level, with tables (`TabularCPD`) of floats and the names of the states.
        Rational numbers are rounded to doubles.

    Raises
    ------
    InputError
        pgmpy is not installed, or `tree` is no tree.

    Examples
    --------
    >>> import hltm
    >>> model = hltm.to_pgmpy(hltm.star_tree(2, polarity=0.5))  # doctest: +SKIP
    >>> hltm.from_pgmpy(model)  # doctest: +SKIP
    HLTM(root=0, nodes=3, leaves=2, depth=1, symmetric binary)
    """
    _check_tree(tree)
    models, factors = _library("pgmpy.models", "pgmpy"), _library("pgmpy.factors.discrete", "pgmpy")
    model = models.DiscreteBayesianNetwork()
    model.add_nodes_from(tree.nodes)
    model.add_edges_from(tree.edges)
    model.name = tree.graph.graph.get("name", "")
    tables = []
    for node in tree.nodes:
        above = tree.parent(node)
        parents = [] if above is None else [above]
        sizes = [tree.cardinality(parent) for parent in parents]
        names = {each: list(tree.states(each)) for each in (node, *parents)}
        table = _table(tree, node).T
        tables.append(factors.TabularCPD(node, len(table), table, parents, sizes, state_names=names))
    model.add_cpds(*tables)
    return model


def from_pgmpy(model: "DiscreteBayesianNetwork") -> HLTM:
    """Build a tree from a network of pgmpy.

    Parameters
    ----------
    model : pgmpy.models.DiscreteBayesianNetwork
        A network in which one node has no parent and every other node has one, with a `TabularCPD` for every
        node. Children are in the order of ``model.nodes``, states in the order of each node's own table. Names
        of states that are no text are written as text.

    Returns
    -------
    HLTM
        A row whose sum is one within the rounding of its numbers is divided by its sum.

    Raises
    ------
    InputError
        Another type, a node with two parents, without a table or with states of other names in the table of a
        child, or no valid tree.

    Examples
    --------
    >>> import hltm
    >>> hltm.from_pgmpy([])
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: model of type list: must be a DiscreteBayesianNetwork of pgmpy
    """
    if not isinstance(model, nx.DiGraph) or not hasattr(model, "get_cpds"):
        raise InputError(f"model of type {type(model).__name__}: must be a DiscreteBayesianNetwork of pgmpy")
    tables = {}
    for table in model.get_cpds():
        if not hasattr(table, "state_names") or not hasattr(table, "get_values"):
            raise InputError(f"table of type {type(table).__name__}: must be a TabularCPD of pgmpy")
        tables[table.variable] = table
    own = {}
    for node in model.nodes:
        if node not in tables:
            raise InputError(f"node {show(node)} has no table: pgmpy's add_cpds gives it one")
        own[node] = list(tables[node].state_names[node])
    variables = []
    for node in model.nodes:
        parents = list(tables[node].variables[1:])
        if set(parents) != set(model.predecessors(node)):
            edges = _listed(list(model.predecessors(node)))
            raise InputError(f"node {show(node)}: the table has the parents {_listed(parents)}, the edges {edges}")
        above = _only_parent(node, parents)
        rows = np.asarray(tables[node].get_values(), dtype=np.float64).T
        if above is not None:
            rows = _in_order(rows, tables[node].state_names[above], own[above], node, above)
        variables.append((node, own[node], above, rows))
    return _tree(variables, {"name": getattr(model, "name", None) or ""})


def to_pyagrum(tree: HLTM) -> "pyagrum.BayesNet":
    """Return the tree as a network of pyAgrum.

    Parameters
    ----------
    tree : HLTM

    Returns
    -------
    pyagrum.BayesNet
        Variables (`LabelizedVariable`) in the order of ``tree.nodes``, with tables of floats and the names of
        the states. Rational numbers are rounded to doubles. A node that is not called by text is called by its
        JSON, such as ``7``, and a property of the network keeps its name.

    Raises
    ------
    InputError
        pyAgrum is not installed, or `tree` is no tree.

    Examples
    --------
    >>> import hltm
    >>> network = hltm.to_pyagrum(hltm.star_tree(2, polarity=0.5))  # doctest: +SKIP
    >>> hltm.from_pyagrum(network)  # doctest: +SKIP
    HLTM(root=0, nodes=3, leaves=2, depth=1, symmetric binary)
    """
    _check_tree(tree)
    library = _library("pyagrum", "pyAgrum")
    network: pyagrum.BayesNet = library.BayesNet(tree.graph.graph.get("name", ""))
    words = _words(tree.nodes)
    number = {node: i for i, node in enumerate(tree.nodes)}  # with numbers of its own pyAgrum is quadratic
    for node in tree.nodes:
        network.add(library.LabelizedVariable(words[node], "", list(tree.states(node))), number[node])
    for above, node in tree.edges:
        network.addArc(number[above], number[node])
    for node in tree.nodes:
        network.cpt(number[node]).fillWith(_table(tree, node).ravel().tolist())
    if others := {words[node]: node for node in tree.nodes if words[node] != node}:
        network.setProperty(NAMES, json.dumps(others))
    if "description" in tree.graph.graph:
        network.setProperty("description", tree.graph.graph["description"])
    return network


def from_pyagrum(network: "pyagrum.BayesNet") -> HLTM:
    """Build a tree from a network of pyAgrum.

    Parameters
    ----------
    network : pyagrum.BayesNet
        A network in which one variable has no parent and every other variable has one. Children are in the
        order of the variables, states in the order of their labels.

    Returns
    -------
    HLTM
        A row whose sum is one within the rounding of its numbers is divided by its sum: pyAgrum reads files
        in single precision.

    Raises
    ------
    InputError
        Another type, a variable with two parents, or no valid tree.

    Examples
    --------
    >>> import hltm
    >>> hltm.from_pyagrum([])
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: network of type list: must be a BayesNet of pyAgrum
    """
    library = sys.modules.get("pyagrum")
    if library is None or not isinstance(network, library.BayesNet):
        raise InputError(f"network of type {type(network).__name__}: must be a BayesNet of pyAgrum")
    numbers = sorted(network.nodes())
    word = {number: network.variable(number).name() for number in numbers}
    names = _kept_names(network, word.values())
    variables = []
    for number in numbers:
        parents = [names[word[above]] for above in sorted(network.parents(number))]
        above = _only_parent(names[word[number]], parents)
        variable = network.variable(number)
        rows = np.asarray(
            network.cpt(number).toarray(), dtype=np.float64
        )  # the states of the variable are the last axis
        rows = rows.reshape(-1, variable.domainSize())
        variables.append((names[word[number]], list(variable.labels()), above, rows))
    texts = {key: network.propertyWithDefault(key, "") for key in GRAPH_ATTRIBUTES}
    return _tree(variables, texts)


def _kept_names(network: Any, words: Iterable[str]) -> dict[str, Any]:
    """Return the name of each variable of pyAgrum: itself, or that of the property that `to_pyagrum` sets."""
    names: dict[str, Any] = {word: word for word in words}
    try:
        kept = json.loads(network.propertyWithDefault(NAMES, "{}"))
    except (ValueError, RecursionError):
        kept = {}
    if isinstance(kept, dict):
        for word, name in kept.items():
            if word in names:
                names[word] = node_name(tuple(name) if isinstance(name, list) else name)
    return names


def _tree(variables: Sequence[tuple[Any, Sequence[Any], Any, np.ndarray]], texts: dict[str, Any]) -> HLTM:
    """Build a tree from (name, names of states, parent, rows) of each variable."""
    if not variables:
        raise InputError("network with 0 nodes: a tree has at least one edge")
    try:
        tree = tree_of(_network(variables, float), Reading())
    except SumError:
        reading = Reading(printed=True)
        tree = tree_of(_network(variables, lambda value: Printed(repr(value))), reading)
        for line in reading.lines():
            warnings.warn(line, TreeWarning, stacklevel=3)
    kept = {key: text for key, text in texts.items() if isinstance(text, str) and text}
    if not kept:
        return tree
    graph: nx.DiGraph = nx.DiGraph(tree.graph)
    graph.graph.update(kept)
    return HLTM(graph)


def _network(
    variables: Iterable[tuple[Any, Sequence[Any], Any, np.ndarray]], number: Callable[[float], float]
) -> Network:
    network = Network()
    for name, states, above, rows in variables:
        labels = tuple(map(str, states))
        if len(set(labels)) < len(labels):
            raise InputError(f"node {show(name)}: two states must not have the same name, got {show(labels)}")
        table: list[list[Number]] = [[number(value) for value in row] for row in rows.tolist()]
        network.variables[name] = Variable(labels, {}, above, table)
    return network


def _in_order(rows: np.ndarray, given: Sequence[Any], own: list[Any], node: Any, above: Any) -> np.ndarray:
    """Return the rows in the order of the parent's own states: the table of a child may have another order."""
    if len(given) != len(own) or set(given) != set(own):
        theirs = f"the table has the states {_listed(given)} of {show(above)}"
        raise InputError(f"node {show(node)}: {theirs}, whose own are {_listed(own)}")
    place = {state: i for i, state in enumerate(given)}
    return rows[[place[state] for state in own]]


def _only_parent(node: Any, parents: list[Any]) -> Any:
    if len(parents) > 1:
        raise InputError(f"node {show(node)} has parents {_listed(parents)}: a node of a tree has one parent")
    return parents[0] if parents else None


def _listed(names: Sequence[Any]) -> str:
    more = f", ... ({len(names)} in all)" if len(names) > 8 else ""
    return (", ".join(map(show, names[:8])) or "none") + more


def _table(tree: HLTM, node: Node) -> np.ndarray:
    """Return the table of a node as floats whose rows sum to one; that of the root has one row."""
    above = tree.parent(node)
    return tree.prior[None, :] if above is None else tree.transition(above, node)


def _words(nodes: Iterable[Node]) -> dict[Node, str]:
    """Return a different text for every node: its name, or its JSON."""
    words: dict[Node, str] = {node: node for node in nodes if isinstance(node, str)}
    taken = set(words.values())
    for node in nodes:
        if node not in words:
            word = json.dumps(node)
            while word in taken:
                word += "_"
            words[node] = word
            taken.add(word)
    return words


def _check_tree(tree: object) -> None:
    if not isinstance(tree, HLTM):
        raise InputError(f"tree of type {type(tree).__name__}: must be an HLTM")


def _library(module: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        reason = f"{name} is not installed; pip install 'covop[interop]'"
        raise InputError(f"{reason} ({error})" if error.name != module.split(".")[0] else reason) from None
