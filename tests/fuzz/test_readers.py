"""Hostile input for everything that reads text of others: losses, tree files, replay files; by mutation of good input.

`make test` tries FUZZ_EXAMPLES = 300 of each; `make fuzz` goes on for ten minutes. Whatever is read is either accepted
or refused by an `InputError` of one line; anything else that is raised fails, and is shrunk by Hypothesis.
"""

import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hltm
from hltm.base.errors import InputError
from theory.losses.parse import parse_loss
from verify.engine.saved import read_instance

pytestmark = pytest.mark.filterwarnings("ignore::hltm.TreeWarning")  # of attributes that an edit has renamed
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
PINNED = sorted((Path(__file__).parent.parent / "data" / "counterexamples").glob("*.json"))
TOKENS = [
    *(
        "r_p",
        "r_1",
        "r_2",
        "r_64",
        "r_65",
        "r_0",
        "tau",
        "exp",
        "log",
        "sqrt",
        "max",
        "(",
        ")",
        "+",
        "-",
        "*",
        "/",
        "^",
    ),
    *(
        "**",
        ",",
        "1",
        "0",
        "9",
        "1e9",
        ".5",
        "__",
        ".",
        " ",
        "\n",
        "\0",
        "é",
        "lambda",
        "import",
        "[",
        "]",
        "{",
        "'",
        '"',
    ),
]
JUNK = [
    b"NaN",
    b"Infinity",
    b"1e999",
    b"null",
    b"true",
    b"-1",
    b"9" * 30,
    b'"x"',
    b"[]",
    b"{}",
    b"<!--",
    b"]]>",
    b"\xff",
]
OTHERS = {
    "xml": """<BIF VERSION="0.3"><NETWORK><NAME>n</NAME><VARIABLE TYPE="nature"><NAME>r</NAME><OUTCOME>0</OUTCOME>
<OUTCOME>1</OUTCOME></VARIABLE><VARIABLE><NAME>a</NAME><OUTCOME>no</OUTCOME><OUTCOME>yes</OUTCOME></VARIABLE>
<DEFINITION><FOR>r</FOR><TABLE>0.25 0.75</TABLE></DEFINITION>
<DEFINITION><FOR>a</FOR><GIVEN>r</GIVEN><TABLE>0.5 0.5 1 0</TABLE></DEFINITION></NETWORK></BIF>""",
    "xdsl": """<smile><nodes><cpt id="r"><state id="0"/><state id="1"/><probabilities>0.25 0.75</probabilities></cpt>
<cpt id="a"><state id="no"/><state id="yes"/><parents>r</parents><probabilities>0.5 0.5 1 0</probabilities></cpt>
<deterministic id="b"><state id="T"/><state id="F"/><parents>a</parents><resultingstates>F T</resultingstates>
</deterministic></nodes><extensions><genie/></extensions></smile>""",
    "net": """net { name = "a \\" b"; } % a comment
node r { states = ("0" "1"); position = (1 2); } node a { states = (no yes); }
potential (r) { data = (0.25 0.75); } potential (a | r) { data = ((0.5 0.5) (1 0)); }""",
    "uai": "BAYES 2 2 3 2 1 0 2 0 1 2 0.25 0.75 6 0.5 0.25 0.25 1 0 0 # end",
}
FORMATS = ("json", "graphml", "bif", *OTHERS)

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES <= 300,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

place = st.floats(0, 1, allow_nan=False)
edits = st.lists(
    st.one_of(
        st.tuples(st.just("replace"), place, st.binary(min_size=1, max_size=3)),
        st.tuples(st.just("delete"), place, st.integers(1, 40)),
        st.tuples(st.just("insert"), place, st.one_of(st.sampled_from(JUNK), st.binary(max_size=6))),
        st.tuples(st.just("insert"), place, st.text('{}[]<>"&;,:0123456789eE.-\n|()', max_size=8).map(str.encode)),
        st.tuples(st.just("repeat"), place, st.integers(1, 60)),
        st.tuples(st.just("cut"), place, st.none()),
    ),
    min_size=1,
    max_size=6,
)


def mutated(data, changes):
    """The data after the edits, each at a place that is a share of the length."""
    for what, share, value in changes:
        at = int(share * len(data))
        match what:
            case "replace":
                data = data[:at] + value + data[at + len(value) :]
            case "delete":
                data = data[:at] + data[at + value :]
            case "insert":
                data = data[:at] + value + data[at:]
            case "repeat":
                data = data[:at] + 2 * data[at : at + value] + data[at + value :]
            case "cut":
                data = data[:at]
    return data


def accepted(read, *arguments):
    """Whether the text was read; a refusal must be of one line, and anything else that is raised fails the test."""
    try:
        read(*arguments)
    except InputError as refusal:
        message = str(refusal)
        assert message
        assert len(message.splitlines()) == 1
        assert len(message) < 1000
        return False
    return True


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    """A good file of every format."""
    folder = tmp_path_factory.mktemp("trees")
    tree = hltm.random_tree(leaves=3, seed=1, symmetric=False, cardinality=(2, 3))
    for ending in FORMATS:
        if ending in OTHERS:
            (folder / f"good.{ending}").write_text(OTHERS[ending])
        else:
            hltm.save(tree, folder / f"good.{ending}")
    return folder


def test_the_unchanged_inputs_are_accepted(trees):
    assert accepted(parse_loss, "tau*log(1 + exp((r_p - r_1)/tau))")
    assert all(accepted(hltm.load, trees / f"good.{ending}") for ending in FORMATS)
    assert len(PINNED) >= 60
    assert all(accepted(read_instance, path) for path in PINNED)


@fuzzed
@given(st.lists(st.sampled_from(TOKENS), max_size=40).map("".join))
def test_losses(text):
    accepted(parse_loss, text)


@pytest.mark.parametrize("ending", FORMATS)
@fuzzed
@given(changes=edits)
def test_tree_files(ending, changes, trees):
    path = trees / f"mutated.{ending}"
    path.write_bytes(mutated((trees / f"good.{ending}").read_bytes(), changes))
    accepted(hltm.load, path)


@fuzzed
@given(pinned=st.sampled_from(PINNED), changes=edits)
def test_replay_files(pinned, changes, trees):
    path = trees / "mutated.json"
    path.write_bytes(mutated(pinned.read_bytes(), changes))
    accepted(read_instance, path)


values = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.sampled_from([-1, 0, 1, 2, 0.5])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=8), inner, max_size=4)),
    max_leaves=8,
)


def parts(document, path=()):
    """Paths to every part of a JSON document."""
    yield path
    rows = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in rows:
        yield from parts(value, (*path, key))


def put(document, path, value):
    """The document with another value at the path."""
    if not path:
        return value
    copy = dict(document) if isinstance(document, dict) else list(document)
    copy[path[0]] = put(document[path[0]], path[1:], value)
    return copy


@fuzzed
@given(data=st.data())
def test_replay_files_of_the_wrong_structure(data, trees):
    document = json.loads(data.draw(st.sampled_from(PINNED)).read_bytes())
    where = data.draw(st.sampled_from(sorted(parts(document), key=str)))
    path = trees / "wrong.json"
    path.write_text(json.dumps(put(document, where, data.draw(values))))
    accepted(read_instance, path)


@fuzzed
@given(data=st.data())
def test_tree_files_of_the_wrong_structure(data, trees):
    document = json.loads((trees / "good.json").read_bytes())
    where = data.draw(st.sampled_from(sorted(parts(document), key=str)))
    path = trees / "wrong-tree.json"
    path.write_text(json.dumps(put(document, where, data.draw(values))))
    accepted(hltm.load, path)
