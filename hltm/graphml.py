"""Trees as GraphML, the XML format that networkx, igraph, Gephi, Cytoscape and yEd read and write.

GraphML has no lists, and its node ids are text:

* ``prior``, ``states`` and ``transition`` are JSON text, ``[0.5, 0.5]`` and ``[[0.9, 0.1], [0.2, 0.8]]``, with a
  rational number as the string ``"1/3"``;
* ``polarity`` is a number, or text such as ``1/3``;
* a node whose name is not plain text carries its name as JSON in the attribute ``hltm_name``: ``7``, ``[0, "a"]``;
* ``name`` and ``description`` of the graph are JSON strings unless they are plain text.

In a file of another tool the names of the nodes are those of an attribute ``name`` or ``label``, or the labels that yEd
draws, if every node has one of its own; else the ids. An attribute that is empty or ``NaN`` is not given. The default
of a key holds where a node or an edge has no value; that of ``prior``, only where no edge ends. Ports, graphics and
attributes that are not of a tree are ignored. If an edge is undirected, the tree is rooted as in node-link form, and
the edges with a direction must agree with it.

Files are read in one pass of expat. A document type declaration is refused before it is read, so no entities are
expanded. The result is checked as node-link form.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from hltm.base.checks import Node, show, suggestion
from hltm.base.errors import InputError
from hltm.base.xml import NAMESPACE, XMLReader
from hltm.nodelink import tree_from_form, tree_to_json
from hltm.reading import Reading
from hltm.tables import EDGE_ATTRIBUTES, GRAPH_ATTRIBUTES, NODE_ATTRIBUTES, read_number
from hltm.tree import HLTM

NAME = "hltm_name"
_GRAPHML = "http://graphml.graphdrawing.org/xmlns"
_LABELS = ("name", "label", "NodeLabel")  # the last one is an element of yEd
_INSIDE = {
    "graphml": ("",),
    "key": ("graphml",),
    "default": ("key",),
    "graph": ("graphml",),
    "node": ("graph",),
    "edge": ("graph",),
    "data": ("graph", "node", "edge", "graphml"),
}
_NEEDED = {"key": ("id",), "node": ("id",), "edge": ("source", "target"), "data": ("key",)}
_SKIPPED = ("desc", "locator", "port")
_KNOWN = {"graph": GRAPH_ATTRIBUTES, "node": (NAME, *NODE_ATTRIBUTES), "edge": EDGE_ATTRIBUTES}
_MISSING = ("", "nan", "na", "null", "none")


def to_graphml(tree: HLTM) -> str:
    form = tree_to_json(tree)
    ids = _ids(tree.nodes)
    keys: dict[tuple[str, str], str] = {}
    types: dict[tuple[str, str], set[type]] = {}

    def data(element: str, values: Mapping[str, Any]) -> str:
        texts = []
        for name, value in values.items():
            types.setdefault((element, name), set()).add(type(value))
            key = keys.setdefault((element, name), f"d{len(keys)}")
            text = json.dumps(value) if isinstance(value, list) else str(value)
            texts.append(f'<data key="{key}">{escape(text)}</data>')
        return "".join(texts)

    lines = [data("graph", {key: _text(value) for key, value in form["graph"].items()})]
    for node, entry in zip(tree.nodes, form["nodes"], strict=True):
        name = json.dumps(entry.pop("id"))
        values = data("node", entry if ids[node] == node else {NAME: name, **entry})
        lines.append(f"<node id={quoteattr(ids[node])}>{values}</node>")
    for (above, node), entry in zip(tree.edges, form["edges"], strict=True):
        values = data("edge", {key: value for key, value in entry.items() if key in EDGE_ATTRIBUTES})
        lines.append(f"<edge source={quoteattr(ids[above])} target={quoteattr(ids[node])}>{values}</edge>")
    declared = [
        f'<key id="{key}" for="{element}" attr.name="{name}" attr.type="{_type(types[element, name])}"/>'
        for (element, name), key in keys.items()
    ]
    head = ['<?xml version="1.0" encoding="UTF-8"?>', f'<graphml xmlns="{_GRAPHML}">', *declared]
    return "\n".join([*head, '<graph edgedefault="directed">', *filter(None, lines), "</graph>", "</graphml>", ""])


def from_graphml(text: str, reading: Reading | None = None) -> HLTM:
    """Build a tree from a GraphML document."""
    reading = reading or Reading()
    reader = _Reader(reading)
    reader.parse(text)
    tree = tree_from_form(reader.form(), reading)
    if reading.root is not None:  # the edges were turned on purpose
        return tree
    for source, target, directed, _ in () if reader.directed else reader.edges:
        ends = reader.names[source], reader.names[target]
        if directed and tree.parent(ends[1]) != ends[0]:
            root = f"the tree is rooted at {show(tree.root)}"
            raise InputError(f"edge {show(ends)} has the direction from child to parent: {root}")
    return tree


@dataclass
class _Key:
    """A declared attribute: the elements that it is for, its name, its default."""

    domain: str
    name: str
    default: str = ""
    declared: bool = True  # has a name of its own, not only an id

    def is_for(self, element: str) -> bool:
        return self.domain in ("all", element)


class _Reader(XMLReader):
    """The elements of one document of GraphML."""

    def __init__(self, reading: Reading) -> None:
        super().__init__()
        self.reading = reading
        self.local: dict[str, str] = {}  # names of elements without their namespace; empty for those of other tools
        self.keys: dict[str, _Key] = {}
        self.key = _Key("", "")
        self.graphs = 0
        self.directed = True
        self.texts: dict[str, str] = {}
        self.nodes: dict[str, dict[str, str]] = {}
        self.edges: list[tuple[str, str, bool, dict[str, str]]] = []
        self.owner: tuple[str, Any, dict[str, str]] = ("", "", {})
        self.names: dict[str, Any] = {}

    def start(self, tag: str, attributes: dict[str, str]) -> bool:
        above = self.local[self.open[-1]] if self.open else ""
        name = self.local.get(tag)
        if name is None:
            space, _, name = tag.rpartition(NAMESPACE)
            if self.open and space not in ("", self.open[0].rpartition(NAMESPACE)[0]):
                name = ""
            self.local[tag] = name
        if not name or name in _SKIPPED:
            return not name and above in ("", "data")  # yEd keeps the label of a node there
        if above not in _INSIDE.get(name, ()):
            place = f"inside {show(above)}" if above else "at the top"
            raise InputError(f"element {show(name)} {place}, line {self.line}: not GraphML of a tree")
        for needed in _NEEDED.get(name, ()):
            if needed not in attributes:
                raise InputError(f"element '{name}', line {self.line}: needs the attribute '{needed}'")
        return self._open(name, above, attributes)

    def _open(self, name: str, above: str, attributes: dict[str, str]) -> bool:
        if name == "key":
            self._open_key(attributes)
        elif name == "graph":
            self._open_graph(attributes)
        elif name == "node":
            self._open_node(attributes["id"])
        elif name == "edge":
            directed = attributes.get("directed", "true" if self.directed else "false") in ("true", "1")
            self.edges.append((attributes["source"], attributes["target"], directed, {}))
            self.owner = "edge", self.edges[-1][:2], self.edges[-1][3]
        elif name == "data":
            return above != "graphml" and self._open_data(attributes["key"], above)
        return True

    def _open_key(self, attributes: dict[str, str]) -> None:
        name = attributes["id"]
        if name in self.keys:
            raise InputError(f"key {show(name)}: must not be given twice")
        self.key = self.keys[name] = _Key(
            attributes.get("for", "all"), attributes.get("attr.name", name), declared="attr.name" in attributes
        )

    def _open_graph(self, attributes: dict[str, str]) -> None:
        self.graphs += 1
        if self.graphs > 1:
            raise InputError("a second element 'graph': must be one")
        default = attributes.get("edgedefault", "directed")
        if default not in ("directed", "undirected"):
            raise InputError(f"edgedefault={show(default)} of the graph: must be 'directed' or 'undirected'")
        self.directed = default == "directed"
        self.owner = "graph", "", self.texts

    def _open_node(self, name: str) -> None:
        if name in self.nodes:
            raise InputError(f"node {show(name)}: must not be listed twice")
        self.nodes[name] = {}
        self.owner = "node", name, self.nodes[name]

    def _open_data(self, key: str, element: str) -> bool:
        """Choose the attribute that the text of a `data` is for; return whether it is needed."""
        if key not in self.keys:
            raise InputError(f"data {show(key)} of {_place(*self.owner)}: no such key{suggestion(key, self.keys)}")
        self.key = self.keys[key]
        name = self.key.name
        if not self.key.is_for(element) and name in (*_KNOWN["node"], *_KNOWN["edge"]):
            raise InputError(f"data {show(key)} of {_place(*self.owner)}: the key is for {show(self.key.domain)}")
        if name not in _KNOWN[element]:
            kind = element if element == "graph" else f"{element}s"
            seen = name in self.reading.foreign.get(kind, ())
            if self.key.declared and not seen and (element != "node" or name.lower() not in _LABELS):
                known = {key: text for key, text in self.owner[2].items() if key in _KNOWN[element]}
                self.reading.own({**known, name: "text"}, _KNOWN[element], kind, _place(*self.owner))
            return element == "node"
        if name in self.owner[2]:
            raise InputError(f"attribute {show(name)} of {_place(*self.owner)}: must not be given twice")
        return True

    def end(self, tag: str, text: str) -> None:
        name = self.local[tag]
        text = text.strip()
        if name == "data":
            self._keep(self.key.name, text)
        elif name == "default":
            self.key.default = text
        elif name in ("node", "edge"):
            self.owner = "graph", "", self.texts
        elif not name and tag.endswith(f"{NAMESPACE}NodeLabel"):
            self._keep("NodeLabel", text)
        if text and name in _INSIDE and name not in ("data", "default"):
            raise InputError(f"text {show(text)}, line {self.line}: not GraphML of a tree")

    def _keep(self, name: str, text: str) -> None:
        element, _, values = self.owner
        if element == "node" and name.lower() in ("name", "label"):
            name = name.lower()
        elif name not in _KNOWN[element] and name != "NodeLabel":
            return
        if text.lower() not in _MISSING:
            values.setdefault(name, text)

    def form(self) -> dict[str, Any]:
        """Return the document in node-link form."""
        if not self.graphs:
            raise InputError("no element 'graph': must hold one")
        for i, edge in enumerate(self.edges):
            for end in edge[:2]:
                if end not in self.nodes:
                    near = suggestion(end, self.nodes)
                    raise InputError(f"edge {i}: the node {show(end)} must be an element 'node'{near}")
        self.directed = all(directed for _, _, directed, _ in self.edges)
        self._fill_in_defaults()
        self.names = self._names()
        nodes = [{"id": self.names[key]} | self._values("node", key, values) for key, values in self.nodes.items()]
        edges = [
            {"source": self.names[source], "target": self.names[target]}
            | self._values("edge", (source, target), values)
            for source, target, _, values in self.edges
        ]
        form = {"graph": self._values("graph", "", self.texts), "nodes": nodes, "edges": edges}
        return form if self.directed else {"directed": False, **form}

    def _values(self, element: str, key: object, texts: Mapping[str, str]) -> dict[str, object]:
        """Return the attributes of a tree that an element has."""
        known = [name for name in texts if name in _KNOWN[element] and name != NAME]
        return {name: _value(name, texts[name], element, key, self.reading) for name in known}

    def _fill_in_defaults(self) -> None:
        keys = [key for key in self.keys.values() if key.default.lower() not in _MISSING]
        below = {target for _, target, _, _ in self.edges} if self.directed else self.nodes.keys()
        for key in keys:
            if key.is_for("graph") and key.name in GRAPH_ATTRIBUTES:
                self.texts.setdefault(key.name, key.default)
            if key.is_for("node") and key.name in NODE_ATTRIBUTES:
                for name, values in self.nodes.items():
                    if key.name != "prior" or name not in below:
                        values.setdefault(key.name, key.default)
            if key.is_for("edge") and key.name in EDGE_ATTRIBUTES:
                for _, _, _, values in self.edges:
                    if not values.keys() & set(EDGE_ATTRIBUTES):  # a table replaces the default of the polarity
                        values[key.name] = key.default

    def _names(self) -> dict[str, Any]:
        """Return the name of each node by its id."""
        if any(NAME in values for values in self.nodes.values()):
            return {
                key: _value(NAME, values[NAME], "node", key, self.reading) if NAME in values else key
                for key, values in self.nodes.items()
            }
        ids = {key: key for key in self.nodes}
        chosen, by = ids, ""
        for label in _LABELS:
            names = {key: values[label] for key, values in self.nodes.items() if label in values}
            if not by and len(names) == len(set(names.values())) == len(self.nodes):
                chosen, by = names, label
            elif label != "NodeLabel" and any(chosen[key] != name for key, name in names.items()):
                self.reading.foreign.setdefault("nodes", {})[label] = None
        if chosen != ids:
            what = "labels" if by == "NodeLabel" else f"attribute '{by}'"
            self.reading.notes.append(f"the nodes are called by their {what}, not by their ids in the file")
        return chosen


def _place(element: str, key: object, *_: object) -> str:
    return f"{element} {show(key)}" if key else "the graph"


def _value(name: str, text: str, element: str, key: object, reading: Reading) -> object:
    """Read the value of an attribute; a malformed number stays text, which `HLTM` refuses."""
    if name in ("polarity", "cardinality"):
        return read_number(text)
    if name in ("prior", "transition", "states", NAME) or text.startswith('"'):
        return _read_json(name, text, element, key, reading)
    return text


def _read_json(name: str, text: str, element: str, key: object, reading: Reading) -> object:
    try:
        return json.loads(text, parse_float=reading.parse_float)
    except RecursionError:
        raise InputError(f"{name}={show(text)} of {_place(element, key)}: nested too deeply") from None
    except ValueError as error:
        if text[:1] == '"':
            return text
        wanted = {"prior": "[0.5, 0.5]", "states": '["no", "yes"]', "transition": "[[0.9, 0.1], [0.2, 0.8]]"}
        form = f" such as {wanted[name]}" if name in wanted else ""
        raise InputError(f"{name}={show(text)} of {_place(element, key)}: must be JSON{form}: {error}") from None


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
    plain = _plain(value) and not value.startswith('"') and value.lower() not in _MISSING
    return value if plain else json.dumps(value)


def _type(types: set[type]) -> str:
    """Return the type of an attribute: a number if all of its values are, else text."""
    return "int" if types == {int} else "double" if types <= {int, float} else "string"
