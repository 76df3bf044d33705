"""`python -m verify tree`: four ways on a tree of the user's own, each of which can be seen to fail."""

import json
from functools import partial
from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest
from flint import fmpq

import hltm
import numeric
import verify
from hltm.base.errors import InputError
from numeric.training.saved import load_run
from verify import tree as command
from verify.commands import Options, Output
from verify.engine.saved import read_instance
from verify.trees import agreement, moments, own_tree, populations, samples, ways
from verify.trees.enumeration import Enumeration

WORDS = ways.WORDS


def categorical():
    """Three states at the root, four below, tables that are not symmetric."""
    graph = nx.DiGraph()
    graph.add_node("r", cardinality=3, prior=[0.2, 0.5, 0.3])
    graph.add_node("a", cardinality=4)
    for child in ("b", "c"):
        graph.add_node(child, cardinality=2)
    graph.add_edge("r", "a", transition=[[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1], [0.7, 0.1, 0.1, 0.1]])
    graph.add_edge("a", "b", transition=[[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.1, 0.9]])
    graph.add_edge("a", "c", transition=[[0.2, 0.8], [0.5, 0.5], [0.8, 0.2], [0.6, 0.4]])
    return hltm.HLTM(graph)


TREES = {
    "symmetric": partial(hltm.complete_tree, 2, 2, 0.7, root_polarity=0.3),
    "any tables": partial(hltm.random_tree, 5, 3, symmetric=False),
    "categorical": categorical,
}


@pytest.mark.parametrize("name", TREES)
def test_all_ways_agree(name):
    result = verify.check_tree(TREES[name]())
    assert result.verdict == "holds", [row.detail for row in result.evidence]
    assert {row.source for row in result.evidence} == {
        f"tree, {words}, {way}"
        for quantity, words in WORDS.items()
        for way in ways.WAYS
        if way != "sampling" or quantity == "activation"
    }
    inner = len(result.scope.nodes)
    assert {row.instances for row in result.evidence} == {3 * inner}
    exact = result.table["closed form"]["covariance operator"]
    assert exact.kind == "exact"
    assert exact.abstained == 0


# Each way in turn, wrong in one entry or by one factor.


def one_entry_off(value):
    wrong = value.copy()
    sizes = np.abs(agreement.floats(value))
    place = np.unravel_index(int(np.argmax(sizes)), sizes.shape)
    wrong[place] *= fmpq(5, 4) if value.dtype == object else 1.25
    return wrong


def wrong_closed_form(monkeypatch):
    true = agreement.as_exact
    monkeypatch.setattr(agreement, "as_exact", lambda *arguments: one_entry_off(true(*arguments)))


def wrong_enumeration(monkeypatch):
    true = moments.BranchMoments.value
    monkeypatch.setattr(moments.BranchMoments, "value", lambda *arguments: one_entry_off(true(*arguments)))


def wrong_torch(monkeypatch):
    true = ways.TorchWay.both
    monkeypatch.setattr(ways.TorchWay, "both", lambda *arguments: [one_entry_off(v) for v in true(*arguments)])


def wrong_sampling(monkeypatch):
    true = agreement.bounded

    def wrong(*arguments):
        estimate, error = true(*arguments)
        estimate[..., 0, 0] += 4 * error[..., 0, 0]
        return estimate, error

    monkeypatch.setattr(agreement, "bounded", wrong)


BROKEN = {
    "closed form": wrong_closed_form,
    "enumeration": wrong_enumeration,
    "torch": wrong_torch,
    "sampling": wrong_sampling,
}


@pytest.mark.parametrize("name", ["symmetric", "categorical"])
@pytest.mark.parametrize("way", BROKEN)
def test_a_broken_way_is_the_odd_one_out(monkeypatch, way, name):
    BROKEN[way](monkeypatch)
    result = verify.check_tree(TREES[name](), slope=0)
    assert result.verdict == "refuted"
    assert result.odd_one_out == way
    for row in result.evidence:
        if row.source.endswith(way):
            assert row.status == "refuted"
            assert f"the odd one out is {way}" in row.detail
            assert row.apart.roles[1] == way
            assert row.apart.left != row.apart.right
        else:
            assert row.status == "holds"


def test_one_wrong_quantity_is_named(monkeypatch):
    true = agreement.theory.node_update
    monkeypatch.setattr(agreement.theory, "node_update", lambda *a, **k: 2 * true(*a, **k))
    result = verify.check_tree(TREES["symmetric"](), slope=0)
    assert [row.source for row in result.evidence if row.status == "refuted"] == ["tree, node update, closed form"]
    (row,) = (row for row in result.evidence if row.status == "refuted")
    assert row.apart.ratio == pytest.approx(2)


def test_rationals_may_not_differ_by_a_rounding(monkeypatch):
    true = moments.BranchMoments.value
    tiny = fmpq(1, 2**200)
    monkeypatch.setattr(moments.BranchMoments, "value", lambda *arguments: true(*arguments) + tiny)
    result = verify.check_tree(TREES["symmetric"](), 0, slope=0)
    assert result.verdict == "refuted"


# The machinery, against plain enumeration of the whole tree.


@pytest.mark.parametrize("kind", ["symmetric", "general", "categorical", "extreme"])
def test_branch_by_branch_is_the_whole_enumeration(kind):
    compared = 0
    for instance in samples.instances(5, 8, kind=kind):
        whole, branches, passed = (
            Enumeration(instance),
            moments.BranchMoments(instance, 2**12),
            moments.BranchMoments(instance, 0),
        )
        for node in instance.tree.latents:
            for quantity, run in (
                ("activation", whole.activation_covariance),
                ("operator", whole.operator),
                ("update", whole.update),
            ):
                true = run(node)
                assert (branches.value(quantity, node) == true).all()
                compared += 1
                if instance.slope == 1:
                    assert (passed.value(quantity, node) == true).all()
                else:
                    with pytest.raises(moments.TooLargeError, match="enumeration takes at most 0"):
                        passed.value("update", instance.tree.root)
    assert compared >= 8


@pytest.mark.parametrize("kind", ["general", "categorical", "extreme"])
def test_coupled_branches_have_the_moments_of_all_leaves(kind):
    for instance in samples.instances(6, 4, kind=kind):
        tree, network = instance.tree, agreement.network_of(instance, "cpu")
        true = agreement.torch_moments(network, agreement.tree_population_of(network))
        several = [populations.coupled_population(tree, tree.children(tree.root), 2**12)]
        if instance.slope == 1:
            several.append(populations.mean_population(tree))
        for population in several:
            for key, value in agreement.torch_moments(network, population).items():
                assert np.allclose(value, true[key], atol=1e-13)


def test_a_coupling_has_its_laws():
    laws = [np.array([0.5, 0.0, 0.5]), np.array([0.1, 0.2, 0.7]), np.array([1.0])]
    weights, places = populations.coupled(laws)
    for law, place in zip(laws, places, strict=True):
        assert np.allclose(np.bincount(place, weights, len(law)), law, atol=1e-15)


def test_floats_stand_for_their_decimals():
    tree = moments.rational_tree(categorical())
    for node in tree.nodes[1:]:
        assert all(sum(row) == 1 for row in tree.exact_table(node))
    assert str(tree.exact_prior()[0]) == "1/5"


# Large trees.


def test_a_large_tree_says_what_was_left_out():
    tree = hltm.random_tree(50, 3, symmetric=False)
    result = verify.check_tree(tree, slope=0)
    assert result.verdict == "abstained"
    assert len(result.scope.nodes) == 12
    assert tree.root in result.scope.nodes
    assert max(len(tree.path(tree.root, node)) for node in result.scope.nodes) == len(tree.levels) - 1
    row = result.table["enumeration"]["covariance operator"]
    assert "enumeration takes at most 1,024" in row.detail
    assert row.instances > 0
    assert "--all-nodes" in result.scope.lines[0]


def test_linear_neurons_are_checked_at_any_size():
    tree = hltm.random_tree(30, 3, symmetric=False)
    result = verify.check_tree(tree, [tree.root, tree.latents[-1]], slope=1)
    assert result.verdict == "holds", [row.detail for row in result.evidence]
    assert "means passed from the leaves" in result.table["enumeration"]["node update"].detail


def test_chosen_nodes_are_spread_over_the_levels():
    tree = hltm.complete_tree(6, 2, 0.8)
    chosen = ways.chosen_nodes(tree, 12)
    depths = [len(tree.path(tree.root, node)) for node in chosen]
    assert sorted(set(depths)) == [1, 2, 3, 4, 5, 6]
    assert len(chosen) == 12
    assert ways.chosen_nodes(tree, 100) == list(tree.latents)
    assert len(ways.chosen_nodes(hltm.complete_tree(40, 1, 0.9), 5)) == 5


def test_the_rate_is_shared_by_nodes_and_networks(monkeypatch):
    rates = []
    true = ways.by_sampling

    def noted(instance, seed, count, false_alarm, nodes):
        rates.append(false_alarm)
        return true(instance, seed, count, false_alarm, nodes)

    monkeypatch.setattr(ways, "by_sampling", noted)
    result = verify.check_tree(hltm.star_tree(2, 0.5), slope=[0, 1])
    assert sum(rates) == pytest.approx(result.scope.false_alarm)
    assert len(rates) == 2


def test_zeros_alone_decide_nothing():
    certain = hltm.star_tree(2, 0.5, root_polarity=1.0)
    result = verify.check_tree(certain, slope=0)
    assert result.verdict == "abstained"
    assert all("every value is zero" in row.detail for row in result.evidence)


def test_sampling_that_sees_nothing_abstains(monkeypatch):
    monkeypatch.setattr(own_tree, "sample_count", lambda *_: 2)
    row = verify.check_tree(hltm.star_tree(2, 0.1), slope=0).table["sampling"]["activation covariance"]
    assert row.status == "abstained"
    assert "above the error at 0 of 1" in row.detail


# Given and trained weights.


def test_given_weights_at_their_kink():
    # The pre-activation is zero exactly where both leaves are one: the same in float64, so that nothing is left open.
    tree = hltm.complete_tree(2, 2, 0.5)
    weights = {0: [[1.0, 2.0]], 1: [[1.0, -1.0]], 2: [[1.0, 0.5]]}
    assert verify.check_tree(tree, weights=weights).verdict == "holds"


@pytest.fixture(scope="module")
def trained_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "run"
    tree = TREES["symmetric"]()
    network = numeric.TreeNetwork(tree, 3, output="normalized", ensemble=3)
    trace = numeric.train(network, tree, steps=20, batch=16, checkpoint_dir=folder)
    return tree, folder, trace


def test_a_trained_run(trained_run):
    tree, folder, trace = trained_run
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    run = load_run(folder / "state.json", tree)
    assert all(bool((run.network.matrix(v) == trace.network.matrix(v)).all()) for v in tree.latents)
    result = verify.check_tree(tree, trained=folder)
    assert result.verdict == "holds", [row.detail for row in result.evidence]
    assert {row.kind for row in result.evidence} == {"trained"}
    assert result.scope.networks == ("network 0", "network 1")
    assert "2 of 3 trained networks" in result.scope.weights
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


def test_a_broken_way_is_named_on_trained_weights(trained_run, monkeypatch):
    wrong_torch(monkeypatch)
    result = verify.check_tree(trained_run[0], 1, trained=trained_run[1])
    assert result.odd_one_out == "torch"


def test_a_run_on_another_tree(trained_run):
    with pytest.raises(InputError, match="trained on another tree than"):
        verify.check_tree(hltm.complete_tree(2, 2, 0.7), trained=trained_run[1])


def test_a_run_with_one_hot_leaves(tmp_path):
    tree = hltm.star_tree(2, 0.5)
    network = numeric.TreeNetwork(tree, 2, leaves="one-hot")
    trace = numeric.train(network, tree, steps=2, batch=4, checkpoint_dir=tmp_path)
    assert bool((load_run(tmp_path, tree).network.matrix(0) == trace.network.matrix(0)).all())
    with pytest.raises(InputError, match="one-hot leaves; must read a leaf as its state number"):
        verify.check_tree(tree, trained=tmp_path)


def test_a_damaged_run(trained_run, tmp_path):
    tree, folder, _ = trained_run
    state = json.loads((folder / "state.json").read_text())
    for change in (
        {"settings": []},
        {"settings": {**state["settings"], "shapes": [[0]]}},
        {"active": [7]},
        {"sha256": ""},
    ):
        (tmp_path / "state.json").write_text(json.dumps({**state, **change}))
        with pytest.raises(InputError):
            load_run(tmp_path, tree)
    with pytest.raises(InputError, match="has no checkpoint"):
        load_run(tmp_path.parent, tree)


# Wrong input.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"node": 9}, "node 9: is no node of the tree"),
        ({"node": "1"}, "did you mean 1"),
        ({"node": 3}, "is a leaf; must be an inner node, such as 1"),
        ({"node": []}, "must name an inner node"),
        ({"slope": 2}, "slope"),
        ({"slope": float("nan")}, "slope"),
        ({"slope": []}, "must be a number"),
        ({"weights": {0: [[1.0]]}}, "missing"),
        ({"weights": {0: [[1.0]], 1: [[1.0, 1.0]], 2: [[1.0, 1.0]]}}, "must have 2 columns"),
        ({"weights": {0: [[1.0, float("inf")]], 1: [[1.0, 1.0]], 2: [[1.0, 1.0]]}}, "finite"),
        (
            {"weights": {0: [[1.0, 1e40]], 1: [[1.0, 1.0]], 2: [[1.0, 1.0]]}},
            r"weights of node 0: must be at most 1e\+15 in",
        ),
        ({"weights": {}, "trained": "run"}, "weights with trained"),
        ({"slope": 1, "trained": "run"}, "slope with trained"),
        ({"trained": "nowhere"}, "is no folder"),
        ({"profile": "slow"}, "must be one of quick, thorough"),
    ],
)
def test_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        verify.check_tree(hltm.complete_tree(2, 2, 0.5), **arguments)


def test_a_tree_is_needed():
    with pytest.raises(InputError, match=r"must be an hltm\.HLTM"):
        verify.check_tree("tree.json")


# The command.


def called(file, capsys, *, json=None, report=None, quiet=False, **options):
    code = command.run_tree(file, Output(json, report, quiet), Options(), **options)
    return SimpleNamespace(code=code, out=capsys.readouterr().out)


@pytest.fixture
def tree_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "tree.json"
    hltm.save(TREES["symmetric"](), file)
    return file


def test_the_command(tree_file, capsys):
    found = called(tree_file, capsys, json="out.json", nodes=["0", "1"], slopes=["1/4"])
    assert found.code == 0
    assert "Four ways" in found.out
    assert "2 of 3 inner nodes: 0, 1" in found.out
    assert "Statement [tree] holds: four ways on tree.json" in found.out
    document = json.loads((tree_file.parent / "out.json").read_text())
    assert document["schema"] == 1
    assert document["statements"][0]["verdict"] == "holds"
    own = document["tree"]
    assert own["nodes"] == ["0", "1"]
    assert own["odd_one_out"] is None
    assert {row["status"] for row in own["table"]} == {"holds"}
    assert len(own["table"]) == 10


def test_the_command_names_and_saves_what_differs(tree_file, capsys, monkeypatch):
    with monkeypatch.context() as patch:
        wrong_torch(patch)
        found = called(tree_file, capsys, json="-", slopes=["0"], quiet=True)
    assert found.code == 1
    document = json.loads(found.out)
    rows = [row for row in document["statements"][0]["evidence"] if row["status"] == "refuted"]
    assert len(rows) == 3
    assert rows[0]["disagreement"]["sides"][1] == "torch"
    assert rows[0]["disagreement"]["ratio"] == pytest.approx(1.25)
    # The saved instance is measured again: nothing is broken now.
    statement, _, instance = read_instance(tree_file.parent / rows[0]["counterexample"])
    assert statement.slug == "tree"
    for kind in ("exact", "float"):
        assert statement.measures[kind](instance, None).status == "holds"
    with monkeypatch.context() as patch:
        wrong_torch(patch)
        again = statement.measures["float"](instance, None)
    assert again.status == "refuted"
    assert "the odd one out is torch" in again.detail


def test_the_report(tree_file, capsys, monkeypatch):
    monkeypatch.setattr(
        "verify.report.build.run_pdflatex", lambda *_: SimpleNamespace(content=None, reason="no TeX", log="")
    )
    found = called(tree_file, capsys, report=tree_file.parent / "out", nodes=["0"], slopes=["0"])
    assert found.code == 0
    page = (tree_file.parent / "out" / "index.html").read_text()
    assert "four ways on tree.json" in page
    report = json.loads((tree_file.parent / "out" / "report.json").read_text())
    assert "verify tree" in report["report"]["command"]
    assert "--node 0 --slope 0" in report["report"]["command"]
    assert report["report"]["subject"] == "Statement 6 in four ways on tree.json"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"nodes": ["nowhere"]}, "nowhere"),
        ({"nodes": ["3"]}, "is a leaf"),
        ({"slopes": ["2"]}, r"must be a number in \[0, 1\]"),
        ({"slopes": ["__import__('os')"]}, r"must be a number in \[0, 1\]"),
        ({"slopes": ["1/0"]}, r"must be a number in \[0, 1\]"),
        ({"slopes": ["nan"]}, r"must be a number in \[0, 1\]"),
        ({"slopes": ["1" * 100]}, r"must be a number in \[0, 1\]"),
        ({"weights": "w.json", "trained": "run"}, "--weights and --trained: only one"),
        ({"slopes": ["1"], "trained": "run"}, "--slope and --trained: only one"),
        ({"nodes": ["0"], "all_nodes": True}, "--node and --all-nodes: only one"),
    ],
)
def test_wrong_options(tree_file, capsys, options, message):
    with pytest.raises(InputError, match=message):
        called(tree_file, capsys, **options)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1]", "must hold a JSON object"),
        ("{", "is not complete JSON"),
        ('{"0": [[1, 1]], "1": [[1, 1]], "2": [[1, 1]], "9": [[1]]}', "is no inner node"),
        ('{"0": [[1, 1]], "1": [[1, 1]]}', "weights of inner node '2' in .*: are missing"),
        ('{"0": [[1, 1]], "1": [[1, 1]], "2": 3}', "must be a list"),
        ('{"0": [[1, 1]], "1": [[1, 1]], "2": [[1, "x"]]}', "must be a number"),
        ('{"0": [[1, 1]], "1": [[1, 1]], "2": [[1, 1], [1]]}', "weights"),
        ('{"0": [[1, 1]], "1": [[1, 1]], "2": [[1, 1, 1]]}', "must have 2 columns"),
        ("[" * 100_000, "nested too deeply"),
    ],
)
def test_wrong_weights_file(tree_file, capsys, text, message):
    file = tree_file.parent / "w.json"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        called(tree_file, capsys, weights=file)


def test_weights_of_a_file(tree_file, capsys):
    file = tree_file.parent / "w.json"
    file.write_text('{"0": [[1, 2]], "1": [[1, 0.5]], "2": [[-1, 1]]}')
    assert called(tree_file, capsys, weights=file, quiet=True).out == ""


def test_a_missing_file(tmp_path, capsys):
    with pytest.raises(InputError, match="cannot be read"):
        called(tmp_path / "nowhere.json", capsys)


@pytest.mark.parametrize("change", [{"node": 7}, {"node": "leaf"}, {"more": 1}, {"weights": {}}])
def test_hostile_instances(change):
    tree = hltm.star_tree(2, 0.5)
    data = own_tree.NodeInstance(tree, (((1.0, 2.0),),), 0.0, 0).as_json()
    with pytest.raises(InputError):
        own_tree.NodeInstance.from_json({**data, **change})
    with pytest.raises(InputError, match="key 'node'"):
        own_tree.NodeInstance.from_json({})
