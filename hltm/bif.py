"""A tree as a BIF file, the Interchange Format for Bayesian Networks that pgmpy, pyAgrum and bnlearn read.

BIF has decimal numbers, plain names, and no order of children, hence:

* variables stand in the order of ``tree.nodes``, which gives the order of children back;
* states are called 0, 1, ...; in a file of another tool state k is the k-th in its list, and the names are dropped;
* tables hold the nearest double of each number. A polarity, and rows with rational numbers, are repeated in a
  ``property`` of the variable: ``property polarity = 1/3 ;``, ``property prior = 2/7 5/7 ;``,
  ``property transition = 1/3 2/3 , 1/2 1/2 ;``. They must agree with the table;
* a node whose name is no plain word, or differs from another one only in case, gets a made-up name, and its own as
  percent-encoded JSON in ``property hltm_name``. The same holds for name and description of the tree.

Other properties are ignored. pyAgrum reads the numbers of BIF in single precision.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import Any
from urllib.parse import quote, unquote

from hltm.base.checks import Node, Number, halves, number, polarity, show
from hltm.base.errors import InputError
from hltm.bif_parser import Network, Variable, parse
from hltm.nodelink import tree_from_json
from hltm.number_text import read_number
from hltm.tables import GRAPH_ATTRIBUTES, Row
from hltm.tree import HLTM

NAME = "hltm_name"
_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}")
_RESERVED = {"network", "variable", "probability", "property", "type", "discrete", "table", "default"}


def to_bif(tree: HLTM) -> str:
    """Return the tree as the text of a BIF file.

    Examples
    --------
    >>> from hltm.build import star_tree
    >>> text = to_bif(star_tree(1, polarity=0.5))
    >>> from_bif(text) == star_tree(1, polarity=0.5)
    True
    >>> print(text[text.index("probability ( z1"):])
    probability ( z1 | z0 ) {
      ( 0 ) 0.75, 0.25 ;
      ( 1 ) 0.25, 0.75 ;
    }
    <BLANKLINE>
    """
    words = _words(tree.nodes)
    lines = ["network hltm_tree {"]
    lines += [f"  property hltm_{key} = {_encoded(text)} ;" for key, text in tree.graph.graph.items()]
    lines.append("}")
    for node in tree.nodes:
        states = tree.cardinality(node)
        lines.append(f"variable {words[node]} {{")
        lines.append(f"  type discrete [ {states} ] {{ {', '.join(map(str, range(states)))} }};")
        lines += [f"  property {key} = {text} ;" for key, text in _properties(tree, node, words[node])]
        lines.append("}")
    lines += [f"probability ( {words[tree.root]} ) {{", f"  table {_row(tree.exact_prior())} ;", "}"]
    for above, node in tree.edges:
        lines.append(f"probability ( {words[node]} | {words[above]} ) {{")
        lines += [f"  ( {state} ) {_row(row)} ;" for state, row in enumerate(tree.exact_table(node))]
        lines.append("}")
    return "\n".join([*lines, ""])


def from_bif(text: str) -> HLTM:
    """Build a tree from the text of a BIF file, also one of another tool if its network is a tree.

    Raises
    ------
    InputError
        Another form, a variable with two parents, properties that disagree with a table, or no valid tree.
    """
    network = parse(text)
    names = {name: _name(name, variable) for name, variable in network.variables.items()}
    nodes: list[dict[str, Any]] = []
    edges: list[dict[str, Any]] = []
    for name, variable in network.variables.items():
        if variable.rows is None:
            raise InputError(f"variable {show(name)}: has no block 'probability'")
        nodes.append({"id": names[name]} | ({"cardinality": variable.states} if variable.states != 2 else {}))
        if variable.parent is None:
            nodes[-1]["prior"] = _exact_rows(name, variable, "prior", variable.rows)[0]
        else:
            ends = {"source": names[variable.parent], "target": names[name]}
            edges.append(ends | _edge_values(network, name))
    texts = {
        key: _decoded(network.properties[name], f"property {name} of the network")
        for key in GRAPH_ATTRIBUTES
        if (name := f"hltm_{key}") in network.properties
    }
    return tree_from_json({"graph": texts, "nodes": nodes, "edges": edges})


def _edge_values(network: Network, name: str) -> dict[str, Any]:
    """Return the table of the edge to a variable, or the polarity that its property claims."""
    variable = network.variables[name]
    rows = variable.rows or []
    if "polarity" not in variable.properties:
        return {"transition": _exact_rows(name, variable, "transition", rows)}
    (value,) = _numbers(variable.properties["polarity"], f"property polarity of {show(name)}", 1)
    low, high = halves(polarity(value, f"property polarity of {show(name)}"))
    _agree(name, "polarity", [(high, low), (low, high)], rows)
    return {"polarity": value}


def _exact_rows(name: str, variable: Variable, key: str, rows: list[list[Number]]) -> list[list[Number]]:
    """Return the rows of a property, which has the rational numbers, or those of the table if there is none."""
    if key not in variable.properties:
        return rows
    place = f"property {key} of {show(name)}"
    parts = variable.properties[key].split(",", len(rows))
    exact = [_numbers(part, place, variable.states) for part in parts]
    _agree(name, key, exact, rows)
    return exact


def _agree(name: str, key: str, exact: Sequence[Sequence[Number]], rows: Sequence[Sequence[Number]]) -> None:
    """Refuse a file of which only the table or only the property was changed."""
    nearest = [[float(value) for value in row] for row in exact]
    if nearest != [[float(value) for value in row] for row in rows]:
        raise InputError(f"property {key} of {show(name)}: must agree with the table")


def _numbers(text: str, place: str, wanted: int) -> list[Number]:
    words = text.split(None, wanted)
    if len(words) != wanted:
        raise InputError(f"{place}={show(text)}: must have {wanted} numbers in a row")
    return [number(read_number(word), place) for word in words]


def _properties(tree: HLTM, node: Node, word: str) -> Iterator[tuple[str, str]]:
    """Yield what the rest of the file cannot say."""
    if word != node:
        yield NAME, _encoded(list(node) if isinstance(node, tuple) else node)
    above = tree.parent(node)
    rho = None if above is None else tree.graph.edges[above, node].get("polarity")
    if rho is not None:
        yield "polarity", _text(rho)
        return
    rows = (tree.exact_prior(),) if above is None else tree.exact_table(node)
    if any(isinstance(value, Fraction) for row in rows for value in row):
        yield "prior" if above is None else "transition", " , ".join(" ".join(map(_text, row)) for row in rows)


def _name(name: str, variable: Variable) -> object:
    given = variable.properties.get(NAME)
    return name if given is None else _decoded(given, f"property {NAME} of variable {show(name)}")


def _words(nodes: Iterable[Node]) -> dict[Node, str]:
    """Give every node a word of its own; some readers do not tell capital letters from small ones."""
    words: dict[Node, str] = {}
    taken = set(_RESERVED)
    for node in nodes:
        if isinstance(node, str) and _WORD.fullmatch(node) and node.lower() not in taken:
            words[node] = node
            taken.add(node.lower())
    for i, node in enumerate(nodes):
        if node not in words:
            number = node if isinstance(node, int) and 0 <= node < 10**18 else i
            word = f"z{number}"
            while word in taken:
                word += "_"
            words[node] = word
            taken.add(word)
    return words


def _encoded(value: object) -> str:
    """Write a value as percent-encoded JSON; pgmpy looks for the names of blocks even inside of a property."""
    text = quote(json.dumps(value), safe="")
    return re.sub("variable|probability", lambda match: f"%{ord(match[0][0]):02X}{match[0][1:]}", text)


def _decoded(text: str, place: str) -> object:
    try:
        return json.loads(unquote(text, errors="strict"))
    except (ValueError, RecursionError):
        raise InputError(f"{place}={show(text)}: must be percent-encoded JSON") from None


def _row(row: Row) -> str:
    return ", ".join(_text(float(value) if isinstance(value, Fraction) else value) for value in row)


def _text(value: Number) -> str:
    return str(value) if isinstance(value, Fraction) else repr(value)
