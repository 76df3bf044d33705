"""Trees as GraphML, the XML format that networkx, Gephi and yEd read.

GraphML has no lists, and its node ids are text:

* ``prior``, ``states`` and ``transition`` are JSON text, ``[0.5, 0.5]`` and ``[[0.9, 0.1], [0.2, 0.8]]``, with a
  rational number as the string ``"1/3"``;
* ``polarity`` is a number, or text such as ``1/3``;
* a node whose name is not plain text carries its name as JSON in the attribute ``hltm_name``: ``7``, ``[0, "a"]``;
* ``name`` and ``description`` of the graph are JSON strings unless they are plain text.

Files are read in one pass of expat. A document type declaration is refused before it is read, so no entities are
expanded, and elements nest at most as deeply as GraphML needs. The result is checked as node-link form.
"""

import io
import json
import xml.parsers.expat as expat
from collections.abc import Iterable
from typing import Any

import networkx as nx

from hltm.base.checks import Node, show, suggestion
from hltm.base.errors import InputError
from hltm.nodelink import tree_from_json, tree_to_json
from hltm.tables import EDGE_ATTRIBUTES, read_number
from hltm.tree import HLTM

NAME = "hltm_name"
_INSIDE = {
    "graphml": ("",),
    "key": ("graphml",),
    "default": ("key",),
    "graph": ("graphml",),
    "node": ("graph",),
    "edge": ("graph",),
    "data": ("graph", "node", "edge", "graphml"),
    "desc": ("graphml", "key", "graph", "node", "edge"),
}
_NEEDED = {"key": ("id",), "node": ("id",), "edge": ("source", "target"), "data": ("key",)}


def to_graphml(tree: HLTM) -> str:
    form = tree_to_json(tree)
    ids = _ids(tree.nodes)
    graph: nx.DiGraph = nx.DiGraph()
    graph.graph.update({key: _text(value) for key, value in form["graph"].items()})
    for node, entry in zip(tree.nodes, form["nodes"], strict=True):
        name = json.dumps(entry.pop("id"))
        graph.add_node(ids[node], **_scalars(entry if ids[node] == node else {NAME: name, **entry}))
    for edge, entry in zip(tree.edges, form["edges"], strict=True):
        values = {key: value for key, value in entry.items() if key in EDGE_ATTRIBUTES}
        graph.add_edge(*(ids[end] for end in edge), **_scalars(values))
    content = io.BytesIO()
    nx.GraphMLWriter(graph, infer_numeric_types=True).dump(content)
    return content.getvalue().decode()


def from_graphml(text: str) -> HLTM:
    """Build a tree from a GraphML document."""
    reader = _Reader()
    try:
        reader.parser.Parse(text, True)
    except UnicodeEncodeError:
        raise InputError("not valid XML: a lone surrogate") from None
    except expat.ExpatError as error:
        raise InputError(f"not valid XML: {error}") from None
    return tree_from_json(reader.form())


class _Reader:
    """Handlers of expat that collect the elements of one document."""

    def __init__(self) -> None:
        # Without a namespace separator names keep their prefix: GraphML is written without one.
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.open: list[str] = [""]
        self.keys: dict[str, tuple[str, str]] = {}
        self.graphs = 0
        self.texts: dict[str, Any] = {}
        self.nodes: dict[str, dict[str, Any]] = {}
        self.edges: list[tuple[str, str, dict[str, Any]]] = []
        self.owner: tuple[str, dict[str, Any]] = ("", {})
        self.attribute = ""
        self.text: list[str] | None = None

    def form(self) -> dict[str, Any]:
        """Return the document in node-link form."""
        if not self.graphs:
            raise InputError("no element 'graph': must hold one")
        names = {key: values.pop(NAME, key) for key, values in self.nodes.items()}
        edges = []
        for i, (source, target, values) in enumerate(self.edges):
            for end in (source, target):
                if end not in names:
                    near = suggestion(end, names)
                    raise InputError(f"edge {i}: the node {show(end)} must be an element 'node'{near}")
            edges.append({"source": names[source], "target": names[target], **values})
        nodes = [{"id": names[key], **values} for key, values in self.nodes.items()]
        return {"graph": self.texts, "nodes": nodes, "edges": edges}

    def _doctype(self, name: str, *_: object) -> None:
        raise InputError(f"<!DOCTYPE {show(name)}>: must not be given; document types and entities are not read")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if self.open[-1] not in _INSIDE.get(tag, ()):
            place = f"inside {show(self.open[-1])}" if self.open[-1] else "at the top"
            raise InputError(
                f"element {show(tag)} {place}, line {self.parser.CurrentLineNumber}: not GraphML of a tree"
            )
        for name in _NEEDED.get(tag, ()):
            if name not in attributes:
                line = self.parser.CurrentLineNumber
                raise InputError(f"element '{tag}', line {line}: needs the attribute '{name}'")
        self.open.append(tag)
        if tag in ("key", "graph", "node", "edge", "data"):
            getattr(self, f"_start_{tag}")(attributes)

    def _start_key(self, attributes: dict[str, str]) -> None:
        name = attributes["id"]
        if name in self.keys:
            raise InputError(f"key {show(name)}: must not be given twice")
        self.keys[name] = attributes.get("for", "all"), attributes.get("attr.name", name)

    def _start_graph(self, attributes: dict[str, str]) -> None:
        self.graphs += 1
        if self.graphs > 1:
            raise InputError("a second element 'graph': must be one")
        default = attributes.get("edgedefault")
        if default != "directed":
            raise InputError(f"edgedefault={show(default)} of the graph: must be 'directed', from parent to child")
        self.owner = "graph", self.texts

    def _start_node(self, attributes: dict[str, str]) -> None:
        name = attributes["id"]
        if name in self.nodes:
            raise InputError(f"node {show(name)}: must not be listed twice")
        self.nodes[name] = {}
        self.owner = f"node {show(name)}", self.nodes[name]

    def _start_edge(self, attributes: dict[str, str]) -> None:
        source, target = attributes["source"], attributes["target"]
        if attributes.get("directed", "true") != "true":
            raise InputError(
                f"directed={show(attributes['directed'])} on edge {show((source, target))}: must be 'true'"
            )
        self.edges.append((source, target, {}))
        self.owner = f"edge {show((source, target))}", self.edges[-1][2]

    def _start_data(self, attributes: dict[str, str]) -> None:
        key = attributes["key"]
        if self.open[-2] == "graphml":
            raise InputError(f"data {show(key)} outside of the graph: not GraphML of a tree")
        if key not in self.keys:
            raise InputError(f"data {show(key)} of {self.owner[0]}: no such key{suggestion(key, self.keys)}")
        domain, self.attribute = self.keys[key]
        if domain not in ("all", self.open[-2]):
            raise InputError(f"data {show(key)} of {self.owner[0]}: the key is for {show(domain)}")
        if self.attribute in self.owner[1]:
            raise InputError(f"attribute {show(self.attribute)} of {self.owner[0]}: must not be given twice")
        self.text = []

    def _end(self, tag: str) -> None:
        self.open.pop()
        if tag == "data" and self.text is not None:
            self.owner[1][self.attribute] = self._value("".join(self.text).strip())
            self.text = None
        elif tag in ("node", "edge"):
            self.owner = "graph", self.texts

    def _characters(self, text: str) -> None:
        if self.text is not None:
            self.text.append(text)
        elif self.open[-1] not in ("desc", "default") and text.strip():
            raise InputError(f"text {show(text.strip())}, line {self.parser.CurrentLineNumber}: not GraphML of a tree")

    def _value(self, text: str) -> object:
        """Read the value of an attribute; a malformed number stays text, which `HLTM` refuses."""
        if self.attribute in ("polarity", "cardinality"):
            return read_number(text)
        if self.attribute in ("prior", "transition", "states", NAME) or text.startswith('"'):
            return _read_json(text, f"{self.attribute}={show(text)} of {self.owner[0]}", text[:1] == '"')
        return text


def _read_json(text: str, place: str, lenient: bool) -> object:
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{place}: nested too deeply") from None
    except ValueError as error:
        if lenient:
            return text
        raise InputError(f"{place}: must be JSON: {error}") from None


def _ids(nodes: Iterable[Node]) -> dict[Node, str]:
    """Return a different id for every node: its name if that is plain text, else one made from it."""
    ids: dict[Node, str] = {node: node for node in nodes if _plain(node)}  # type: ignore[misc]
    taken = set(ids.values())
    for node in nodes:
        if node not in ids:
            text = str(node) if isinstance(node, tuple) else json.dumps(node)
            text = "".join(letter if letter.isprintable() else "_" for letter in text)
            while text in taken:
                text += "_"
            ids[node] = text
            taken.add(text)
    return ids


def _plain(text: object) -> bool:
    """Whether XML carries a text unchanged: no control characters, no surrogates, no spaces at its ends."""
    return isinstance(text, str) and text.isprintable() and text == text.strip()


def _text(value: str) -> str:
    return value if _plain(value) and not value.startswith('"') else json.dumps(value)


def _scalars(values: dict[str, Any]) -> dict[str, Any]:
    return {key: json.dumps(value) if isinstance(value, list) else value for key, value in values.items()}
