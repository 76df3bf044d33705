"""Bad input through `replay`: every violation is an InputError of one line that names value, place and rule."""

import copy
import json
from contextlib import suppress

import pytest

from hltm.base.command import complain
from hltm.base.errors import InputError
from verify.engine.saved import read_instance

PAIR = {
    "slope": 0.0,
    "weights_1": [[[1.0, 2.0], [0.5, -1.0]], [[1.0, 1.0]]],
    "weights_2": [[[1.0, 0.0], [0.0, 1.0]], [[1.0, -1.0]]],
    "x_1": [1.0, 2.0],
    "x_2": [0.0, 1.0],
}
POPULATION = {
    "slope": 0.5,
    "weights": [[[1.0, 2.0], [0.5, -1.0]], [[1.0, 1.0]]],
    "points": [[[1.0, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 1.0]]],
    "point_weights": [0.25, 0.75],
    "augmentation_weights": [[0.5, 0.5], [0.5, 0.5]],
    "loss": "infonce",
    "parameters": {"tau": 0.5},
}
SIMPLE = {**POPULATION, "loss": "simple", "parameters": {}}
LOSS = {"loss": "infonce", "parameters": {"tau": 1.0, "negatives": 2}, "r_pos": 0.5, "r_neg": [1.0, 2.0]}
EDGE = {
    "nodes": [{"id": "r", "prior": [0.5, 0.5]}, {"id": "a"}, {"id": "b"}],
    "edges": [
        {"source": "r", "target": "a", "polarity": 0.8},
        {"source": "r", "target": "b", "polarity": -0.5},
    ],
}


def tree(**changes):
    data = {"directed": True, "multigraph": False, "graph": {}, **copy.deepcopy(EDGE)}
    data |= changes
    return {
        "slope": 0.0,
        "weights": [[[1.0, 2.0]]],
        "tree": data,
        "loss": "simple",
    }


def nodes(**root):
    return [{"id": "r", "prior": [0.5, 0.5], **root}, {"id": "a"}, {"id": "b"}]


def edges(**first):
    return [{"source": "r", "target": "a", **first}, {"source": "r", "target": "b", "polarity": -0.5}]


def change(base, **changes):
    return {**copy.deepcopy(base), **changes}


NAN, INF = float("nan"), float("inf")
BAD = {
    "slope above one": ("1", change(PAIR, slope=1.5), ["slope", "1.5", "[0, 1]"]),
    "slope negative": ("1", change(PAIR, slope=-0.1), ["slope", "-0.1", "[0, 1]"]),
    "slope nan": ("1", change(PAIR, slope=NAN), ["slope", "nan"]),
    "slope text": ("1", change(PAIR, slope="a"), ["slope", "number"]),
    "slope boolean": ("1", change(PAIR, slope=True), ["slope", "number"]),
    "slope beyond float64": ("1", change(PAIR, slope=10**400), ["slope", "float64"]),
    "weight nan": ("1", change(PAIR, weights_1=[[[NAN, 2.0], [0.5, -1.0]], [[1.0, 1.0]]]), ["weights_1", "nan"]),
    "weight infinite": ("1", change(PAIR, weights_2=[[[INF, 2.0], [0.5, -1.0]], [[1.0, 1.0]]]), ["weights_2", "inf"]),
    "weights that do not chain": ("1", change(PAIR, weights_1=[[[1.0, 2.0]], [[1.0, 1.0]]]), ["weights_1", "(1, 2)", "(1, 2)"]),
    "ragged matrix": ("1", change(PAIR, weights_1=[[[1.0, 2.0], [0.5]], [[1.0, 1.0]]]), ["weights_1"]),
    "no layer": ("1", change(PAIR, weights_1=[], weights_2=[]), ["weights_1"]),
    "width zero": ("1", change(PAIR, weights_1=[[], [[1.0]]]), ["weights_1"]),
    "towers of different shape": ("1", change(PAIR, weights_2=[[[1.0, 1.0]]]), ["weights_2", "weights_1"]),
    "input of the wrong length": ("1", change(PAIR, x_1=[1.0]), ["x_1", "1 entries", "2"]),
    "input infinite": ("1", change(PAIR, x_2=[1.0, INF]), ["x_2[1]", "inf", "finite"]),
    "missing key": ("1", {k: v for k, v in PAIR.items() if k != "x_2"}, ["x_2", "missing"]),
    "unknown key": ("1", change(PAIR, slop=0.0), ["slop", "slope"]),
    "instance is a list": ("1", [], ["instance", "object"]),
    "weights is a number": ("1", change(PAIR, weights_1=3.0), ["weights_1", "list"]),
    "tau zero": ("2", change(LOSS, parameters={"tau": 0.0, "negatives": 2}), ["tau", "0"]),
    "tau negative": ("2", change(LOSS, parameters={"tau": -1.0, "negatives": 2}), ["tau", "-1"]),
    "tau nan": ("2", change(LOSS, parameters={"tau": NAN, "negatives": 2}), ["tau", "nan"]),
    "no negatives": ("2", change(LOSS, parameters={"tau": 1.0, "negatives": 0}, r_neg=[]), ["negatives", "0"]),
    "half a negative": ("2", change(LOSS, parameters={"tau": 1.0, "negatives": 1.5}), ["negatives", "1.5"]),
    "unknown loss": ("2", change(LOSS, loss="infonc"), ["infonc", "infonce"]),
    "loss is a number": ("2", change(LOSS, loss=3), ["loss", "name"]),
    "unknown parameter": ("2", change(LOSS, parameters={"temperature": 1.0}), ["temperature"]),
    "parameter is text": ("2", change(LOSS, parameters={"tau": "1"}), ["tau", "number"]),
    "negative distance": ("2", change(LOSS, r_pos=-1.0), ["r_pos", "-1.0"]),
    "distance nan": ("2", change(LOSS, r_neg=[1.0, NAN]), ["r_neg[1]", "nan"]),
    "too few distances": ("2", change(LOSS, r_neg=[1.0]), ["r_neg", "negatives=2"]),
    "point weights do not sum to one": ("3", change(SIMPLE, point_weights=[0.25, 0.5]), ["point", "0.75"]),
    "point weight negative": ("3", change(SIMPLE, point_weights=[-0.25, 1.25]), ["point", "-0.25"]),
    "augmentation weights do not sum": ("3", change(SIMPLE, augmentation_weights=[[0.5, 0.5], [0.5, 0.4]]), ["augmentation", "0.9"]),
    "augmentation weight negative": ("3", change(SIMPLE, augmentation_weights=[[0.5, 0.5], [1.5, -0.5]]), ["augmentation", "-0.5"]),
    "empty population": ("3", change(SIMPLE, points=[], point_weights=None, augmentation_weights=None), ["points"]),
    "point without augmentation": ("3", change(SIMPLE, points=[[], []], augmentation_weights=None), ["points"]),
    "ragged points": ("3", change(SIMPLE, points=[[[1.0, 0.0]], [[1.0, 0.0], [1.0, 1.0]]]), ["points"]),
    "point infinite": ("3", change(SIMPLE, points=[[[INF, 0.0], [0.0, 1.0]], [[2.0, 0.0], [1.0, 1.0]]]), ["points", "inf"]),
    "points of the wrong dimension": ("3", change(SIMPLE, weights=[[[1.0]]]), ["dimension", "weights[0]"]),
    "tau beyond float64": ("2", change(LOSS, parameters={"tau": 10**400, "negatives": 2}), ["tau", "bits"]),
    "negatives beyond counting": ("2", change(LOSS, parameters={"tau": 1.0, "negatives": 10**40}), ["negatives", "bits"]),
    "statement 3 with another loss": ("3", change(POPULATION), ["infonce", "simple"]),
    "population tau": ("4", change(POPULATION, parameters={"tau": 0.0}), ["tau", "0"]),
    "cycle": ("3", tree(edges=[*edges(polarity=0.5), {"source": "b", "target": "r", "polarity": 0.5}]), ["cycle"]),
    "two parents": ("3", tree(edges=[*edges(polarity=0.5), {"source": "a", "target": "b", "polarity": 0.5}]), ["'b'", "parent"]),
    "two roots": ("3", tree(nodes=[*nodes(), {"id": "c"}], edges=edges(polarity=0.5)), ["root"]),
    "no edge": ("3", tree(nodes=[{"id": "r", "prior": [0.5, 0.5]}], edges=[]), ["edge"]),
    "rows that do not sum": ("3", tree(edges=edges(transition=[[0.5, 0.4], [0.5, 0.5]])), ["0.9", "('r', 'a')"]),
    "polarity out of range": ("3", tree(edges=edges(polarity=1.3)), ["1.3", "[-1, 1]", "('r', 'a')"]),
    "polarity nan": ("3", tree(edges=edges(polarity=NAN)), ["nan", "('r', 'a')"]),
    "table of the wrong shape": ("3", tree(edges=edges(transition=[[1.0], [1.0]])), ["('r', 'a')"]),
    "unknown attribute": ("3", tree(edges=edges(polarty=0.5)), ["polarty", "polarity"]),
    "unknown node attribute": ("3", tree(nodes=nodes(colour="red")), ["colour"]),
}  # fmt: skip
SLUGS = {
    "1": "dual-gradient",
    "2": "contrastive-losses",
    "3": "covariance-operator",
    "4": "weighted-covariance-operator",
}


@pytest.mark.parametrize("name", BAD, ids=BAD.keys())
def test_bad_instance(name, tmp_path):
    number, instance, fragments = BAD[name]
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({"schema": 1, "statement": SLUGS[number], "variant": None, "instance": instance}))
    with pytest.raises(InputError) as caught:
        read_instance(path)
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message, message


DOCUMENT = {"schema": 1, "statement": "dual-gradient", "variant": None, "instance": PAIR}
FILES = {
    "empty": ("", ["not complete JSON"]),
    "truncated": (json.dumps(DOCUMENT)[:-20], ["not complete JSON", "line 1"]),
    "not JSON": ("hello", ["not complete JSON"]),
    "a list": ("[]", ["object"]),
    "schema is true": (json.dumps({**DOCUMENT, "schema": True}), ["schema=True"]),
    "schema is a float": (json.dumps({**DOCUMENT, "schema": 1.0}), ["schema=1.0"]),
    "another schema": (json.dumps({**DOCUMENT, "schema": 2}), ["schema=2", "must be 1"]),
    "no schema": (json.dumps({k: v for k, v in DOCUMENT.items() if k != "schema"}), ["schema=None"]),
    "unknown statement": (json.dumps({**DOCUMENT, "statement": "dual-gradien"}), ["dual-gradien", "did you mean 'dual-gradient'"]),
    "statement is a list": (json.dumps({**DOCUMENT, "statement": []}), ["statement=[]"]),
    "unknown variant": (json.dumps({**DOCUMENT, "variant": "nope"}), ["variant='nope'", "half-missing"]),
    "variant is a list": (json.dumps({**DOCUMENT, "variant": [1]}), ["variant=[1]"]),
    "unknown key": (json.dumps({**DOCUMENT, "instanc": 1}), ["instanc"]),
    "missing instance": (json.dumps({"schema": 1, "statement": "dual-gradient"}), ["instance", "missing"]),
    "deeply nested": ("[" * 100_000, ["nested too deeply"]),
    "a number of a million digits": ('{"schema": ' + "9" * 1_000_000 + "}", ["number that is too long"]),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES, ids=FILES.keys())
def test_bad_file(name, tmp_path):
    text, fragments = FILES[name]
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_instance(path)
    message = str(caught.value)
    assert "\n" not in message
    for fragment in fragments:
        assert fragment in message, message


def test_binary_file(tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_instance(path)


def test_good_instances_are_read_and_written_back():
    for number, instance in (("1", PAIR), ("2", LOSS), ("3", SIMPLE), ("4", POPULATION)):
        from verify.registry import entry

        kind = entry(number).load().instance_type
        once = kind.from_json(copy.deepcopy(instance))
        assert kind.from_json(json.loads(json.dumps(once.as_json()))) == once


def test_a_tree_instance_is_its_population():
    from verify.instances.instance import PopulationInstance

    found = PopulationInstance.from_json(tree())
    assert len(found.points) == 2
    assert len(found.points[0]) == 4
    assert found.point_weights == (0.5, 0.5)


def test_complain_makes_one_line(capsys):
    assert complain("a\n b") == 2
    assert capsys.readouterr().err == "error: a b\n"


HUGE = {
    "1": {**PAIR, "x_1": [1e308, -1e308]},
    "3": {**SIMPLE, "points": [[[1e308, 0.0], [0.0, 1e300]], [[2.0, 0.0], [1.0, 1.0]]]},
    # Linear, so that no gate flips and the order of theta is looked at.
    "4": {**POPULATION, "slope": 1.0, "points": [[[1e308, 0.0], [1.0, 1.0]], [[2.0, 0.0], [1.0, 1.0]]]},
    "5": {**SIMPLE, "points": [[[1e308, 0.0], [0.0, 1e300]], [[2.0, 0.0], [1.0, 1.0]]]},
}


@pytest.mark.parametrize("number", HUGE)
def test_numbers_near_the_end_of_float64_are_decided_exactly_or_not_at_all(number):
    from verify.engine.runner import replay
    from verify.registry import entry

    statement = entry(number).load()
    instance = statement.instance_type.from_json(HUGE[number])
    for claim in (None, *(variant.claim for variant in statement.variants)):
        with suppress(InputError):  # training refuses weights whose loss is not finite
            found = replay(statement, claim, instance)
            assert claim is not None or "refuted" not in {m.status for m in found.values()}


def test_exact_differences_of_any_size():
    import numpy as np
    from flint import fmpq

    from verify.towers.tower import largest

    for value, expected in (
        (fmpq(10) ** 400, float("inf")),
        (1 / fmpq(10) ** 400, 5e-324),
        (fmpq(3, 2**1074), 1.5e-323),
    ):
        assert largest(np.array([value], dtype=object)) == expected
