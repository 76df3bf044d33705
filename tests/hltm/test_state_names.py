"""State names: checked, kept by every format, by pickle and by equality; found by name; reordered with their laws."""

import copy
import json
import pickle
from fractions import Fraction

import networkx as nx
import pytest

import hltm

SUFFIXES = (".json", ".graphml", ".bif")


def weather(**states):
    """Root sky (3 states) over rain (binary, polarity below it to wet) and wind (3 states)."""
    graph = nx.DiGraph()
    graph.add_node("sky", prior=[0.5, 0.25, 0.25], cardinality=3)
    graph.add_node("wind", cardinality=3)
    graph.add_edge("sky", "rain", transition=[[0.75, 0.25], [0.5, 0.5], [0.125, 0.875]])
    graph.add_edge("rain", "wet", polarity=Fraction(1, 3))
    graph.add_edge("sky", "wind", transition=[[0.5, 0.25, 0.25], [0, 0, 1], [0.25, 0.25, 0.5]])
    for node, names in states.items():
        graph.nodes[node]["states"] = names
    return graph


NAMES = {"sky": ["clear", "half clear", "1/3"], "rain": ["no", "yes"], "wet": ["nein", "ja, naß"]}


def law(tree):
    """The joint law of the named states of all nodes, by enumeration of the tables in rationals."""
    rows = {(): Fraction(1)}
    for node in tree.nodes:
        above, new = tree.parent(node), {}
        for states, weight in rows.items():
            at = dict(states)
            row = tree.exact_prior() if above is None else tree.exact_table(node)[tree.states(above).index(at[above])]
            for name, value in zip(tree.states(node), row, strict=True):
                new[(*states, (node, name))] = weight * Fraction(value)
        rows = new
    return {frozenset(states): weight for states, weight in rows.items()}


def test_names_are_an_attribute_in_the_order_of_the_state_numbers():
    tree = hltm.HLTM(weather(**NAMES))
    assert tree.states("sky") == ("clear", "half clear", "1/3")
    assert tree.states("wind") == ("0", "1", "2")
    assert tree.has_state_names
    assert tree.graph.nodes["rain"] == {"states": ("no", "yes")}
    with pytest.raises(hltm.InputError, match="not a node of the tree; did you mean 'rain'"):
        tree.states("rein")


def test_the_cardinality_follows_from_the_names():
    graph = weather(wind=["calm", "breeze", "storm"])
    del graph.nodes["wind"]["cardinality"]
    assert hltm.HLTM(graph).cardinality("wind") == 3
    assert hltm.HLTM(graph) == hltm.HLTM(weather(wind=("calm", "breeze", "storm")))


def test_equality_hash_and_pickle():
    tree, other = hltm.HLTM(weather(**NAMES)), hltm.HLTM(weather(**NAMES | {"rain": ["yes", "no"]}))
    assert tree != other
    assert tree != hltm.HLTM(weather())
    pickled = pickle.loads(pickle.dumps(tree))  # noqa: S301
    for again in (copy.deepcopy(tree), pickled, hltm.HLTM(nx.DiGraph(tree.graph))):
        assert again == tree
        assert hash(again) == hash(tree)
        assert again.states("sky") == tree.states("sky")
    numbered = hltm.HLTM(weather(rain=["0", "1"]))
    assert numbered == hltm.HLTM(weather())
    assert not numbered.has_state_names
    assert "states" not in numbered.graph.nodes["rain"]


BAD = {
    "text": ("yes", "states of node 'rain'='yes': must be a list of names"),
    "number": (["no", 1], "states[1]=1 of node 'rain': must be a non-empty str"),
    "empty": (["no", " "], "states[1]=' ' of node 'rain': must be a non-empty str"),
    "twice": (["no", "no"], "states=['no', 'no'] of node 'rain': the name 'no' must not be given twice"),
    "one": (["no"], "cardinality=1 of node 'rain': must be at least 2"),
    "order": (["1", "0"], "names that are the state numbers must be in order"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_names(case):
    names, message = BAD[case]
    with pytest.raises(hltm.InputError) as caught:
        hltm.HLTM(weather(rain=names))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_names_and_cardinality_must_agree():
    with pytest.raises(
        hltm.InputError, match=r"states=\['a', 'b'\] of node 'sky': must have 3 names, one a state, got 2"
    ):
        hltm.HLTM(weather(sky=["a", "b"]))


STRANGE = (
    ["a b", "a_b", "a-b"],
    ["table", "default", "variable x"],
    ["(", ")", ";"],
    ['"', "//", "/* "],
    ["是", "否", "é"],
    ["1", "2", "3"],
    ["1/3", "0.5", "-1"],
    ["x" * 100, "x" * 101, "x" * 102],
    [" a", "a", "a "],
    ["\ud800", "{", "}"],
)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("names", STRANGE, ids=range(len(STRANGE)))
def test_files_keep_every_name(tmp_path, suffix, names):
    tree = hltm.HLTM(weather(**NAMES | {"sky": names, "wind": names[::-1]}))
    hltm.save(tree, tmp_path / f"tree{suffix}")
    again = hltm.load(tmp_path / f"tree{suffix}")
    assert again == tree
    assert again.states("sky") == tuple(names)
    assert again.exact_table("wet") == tree.exact_table("wet")


def test_bif_writes_plain_names_as_they_are_and_refuses_a_property_that_does_not_agree(tmp_path):
    hltm.save(hltm.HLTM(weather(**NAMES)), tmp_path / "tree.bif")
    text = (tmp_path / "tree.bif").read_text()
    assert "variable rain {\n  type discrete [ 2 ] { no, yes };\n}" in text
    assert "type discrete [ 3 ] { clear, half_clear, s2 };\n  property hltm_states = %5B" in text
    assert "probability ( rain | sky ) {\n  ( clear ) 0.75, 0.25 ;\n  ( half_clear )" in text
    (tmp_path / "tree.bif").write_text(text.replace("half_clear", "cloudy"))
    with pytest.raises(hltm.InputError, match="property hltm_states of variable 'sky': must agree with the states"):
        hltm.load(tmp_path / "tree.bif")


def test_states_of_bif_that_are_numbers_have_these_numbers(tmp_path):
    (tmp_path / "tree.bif").write_text(
        "variable r { type discrete[3] { 2, 0, 1 }; } variable x { type discrete[2] { 1, 0 }; }"
        "probability ( r ) { table 0.5 0.125 0.375; }"
        "probability ( x | r ) { ( 0 ) 0.25 0.75; ( 1 ) 1 0; ( 2 ) 0.5 0.5; }"
    )
    tree = hltm.load(tmp_path / "tree.bif")
    assert not tree.has_state_names
    assert tree.exact_prior() == (0.125, 0.375, 0.5)
    assert tree.exact_table("x") == ((0.75, 0.25), (0, 1), (0.5, 0.5))


def test_node_link_form_keeps_a_name_that_looks_like_a_fraction():
    data = json.loads(json.dumps(hltm.tree_to_json(hltm.HLTM(weather(**NAMES)))))
    assert data["nodes"][0]["states"] == ["clear", "half clear", "1/3"]
    assert hltm.tree_from_json(data).states("sky") == ("clear", "half clear", "1/3")


def test_find_state():
    tree = hltm.HLTM(weather(**NAMES | {"wind": ["1", "2", "3"]}))
    assert hltm.find_state(tree, "rain", "yes") == hltm.find_state(tree, "rain", "1") == 1
    assert hltm.find_state(tree, "rain", 0) == 0
    assert hltm.find_state(tree, "wind", "1") == 0, "a name comes before a number"
    with pytest.raises(hltm.InputError, match=r"of node 'wind': must be one of '1', '2', '3'$"):
        hltm.find_state(tree, "wind", "0")  # a number among names that are numbers would be one of two things
    assert hltm.find_state(tree, "wind", 0) == 0
    for text in ("ye", "2", "-1", "", "١", "9" * 5000, 2, -1, True, None, 1.0):
        with pytest.raises(hltm.InputError, match="of node 'rain': must be one of 'no', 'yes', or a number below 2"):
            hltm.find_state(tree, "rain", text)
    with pytest.raises(hltm.InputError, match="did you mean 'yes'"):
        hltm.find_state(tree, "rain", "ye")


@pytest.mark.parametrize(
    "choice", ["no", {"rain": "no"}, {"rain": "no", "wet": "nein"}, {"wet": "nein"}, {"rain": "yes"}]
)
def test_state_one_is_chosen_and_the_law_of_the_names_stays(choice):
    tree = hltm.HLTM(weather(**NAMES))
    changed = hltm.with_state_one(tree, choice)
    assert law(changed) == law(tree)
    wanted = {"rain": choice} if isinstance(choice, str) else choice
    for node in ("rain", "wet"):
        assert changed.states(node)[1] == wanted.get(node, tree.states(node)[1])
    assert changed.states("sky") == tree.states("sky")
    flips = sum(changed.states(node) != tree.states(node) for node in ("rain", "wet"))
    assert changed.graph.edges["rain", "wet"]["polarity"] == Fraction((-1) ** flips, 3)


def test_state_one_of_the_root_turns_the_prior():
    graph = nx.DiGraph()
    graph.add_node("r", prior=[0.25, 0.75], states=["on", "off"])
    graph.add_edge("r", "x", transition=[[1, 0], [0.5, 0.5]])
    tree = hltm.with_state_one(hltm.HLTM(graph), "on")
    assert tree.exact_prior() == (0.75, 0.25)
    assert tree.exact_table("x") == ((0.5, 0.5), (1, 0))
    assert tree.root_polarity == -0.5


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("nope", "state 'nope': no binary node has a state of this name; did you mean 'no'?"),
        ("clear", "state 'clear': no binary node has a state of this name"),
        ({"sky": "clear"}, "state 1 of node 'sky': the node must be binary, has 3 states"),
        ({"rain": "ye"}, "state 'ye' of node 'rain': must be one of 'no', 'yes', or a number below 2; did you mean 'yes'?"),
        ({"rein": "yes"}, "node 'rein': not a node of the tree; did you mean 'rain'?"),
    ],
)  # fmt: skip
def test_state_one_that_is_not_there(choice, message):
    with pytest.raises(hltm.InputError) as caught:
        hltm.with_state_one(hltm.HLTM(weather(**NAMES)), choice)
    assert str(caught.value) == message


def test_a_node_without_names_has_no_state_to_choose():
    with pytest.raises(hltm.InputError, match="must be a state name; the node has none, only numbers"):
        hltm.with_state_one(hltm.HLTM(weather()), {"rain": "0"})


def test_drawings_and_tables_name_the_states():
    from hltm.drawing import node_overview, overview

    tree = hltm.HLTM(weather(**NAMES))
    assert "prior clear 0.5, half clear 0.25, 1/3 0.25" in overview(tree)[1]
    assert list(overview(tree)[3].columns[3].cells) == [
        "clear, half clear, 1/3",
        "no, yes",
        "3",
        "nein, ja, naß",
    ]
    lines = node_overview(tree, "wet")
    assert lines[0] == "node 'wet': 2 states (0 nein, 1 ja, naß), level 2 (the root is level 0)".replace("'", "")
    assert "given state yes of rain: nein 1/3, ja, naß 2/3" in lines
