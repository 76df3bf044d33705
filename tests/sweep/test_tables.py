"""Status, tables and figures of a store, and the command line, as a user meets them."""

import csv
import json
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import asdict, replace

import pytest

from hltm.base.errors import InputError
from numeric.studies.sweep.driver import Sizes, memory, most_members, seconds, sizes
from numeric.studies.sweep.report import (
    Wanted,
    columns_of,
    draw,
    export,
    grouped,
    parameters_that_vary,
    status_of,
)
from numeric.studies.sweep.report import _points as points_of
from numeric.studies.sweep.store import Store

GRID = """
seeds = 3
[tree]
depth = 2
polarity = 0.9
[network]
width = [2, 4]
[train]
lr = [0.01, 0.1]
steps = 20
batch = 8
samples = 50
records = 4
"""


@pytest.fixture(scope="module")
def done(tools, tmp_path_factory):
    """A store of 12 configurations that are done, made by the command line."""
    folder = tmp_path_factory.mktemp("tables")
    (folder / "grid.toml").write_text(GRID)
    said = tools.sweep(folder / "grid.toml", "--store", folder / "sweep.db", "--workers", 1)
    assert said.stdout.startswith("12 configurations: 12 done, 0 failed, 0 running, 0 pending;")
    assert said.stderr == ""
    return folder / "sweep.db"


@pytest.mark.parametrize(("parts", "vary"), [([{"width": 3}], {}), ([{"width": 3}, {"width": 3, "leaves": "one-hot"}],
                                                                  {"network.leaves": 2})])  # fmt: skip
def test_how_leaves_are_read_is_a_parameter_where_it_varies(parts, vary, tmp_path):
    """Its usual value is not stored, so that sweeps from before there was another keep their keys."""
    store = object.__new__(Store)
    store.path, store.read = tmp_path, lambda _: [("network", json.dumps(part)) for part in parts]
    assert parameters_that_vary(store) == vary
    assert ("network.leaves" in columns_of(store)) == bool(vary)


def test_status_says_how_far_it_is(tools, done):
    found = json.loads(tools.sweep("status", "--store", done, "--json").stdout)
    assert (found["configurations"], found["done"], found["devices"]) == (12, 12, {"cpu": 12})
    assert len(found["codes"]) == 1


def test_csv_has_a_row_for_each_configuration(tools, done, tmp_path):
    tools.sweep("export", tmp_path / "out.csv", "--store", done)
    with (tmp_path / "out.csv").open() as held:
        rows = list(csv.DictReader(held))
    stored = tools.results(done)
    assert {row["key"] for row in rows} == stored.keys()
    for row in rows:
        own = stored[row["key"]]
        assert json.loads(row["loss"]) == own["loss"]  # all digits
        assert float(row["final_loss"]) == own["loss"][-1]
        assert row["train.lr"] in ("0.01", "0.1")


def test_parquet_says_the_same(tools, done, tmp_path):
    """Where pyarrow is not installed, one line says what to install."""
    try:
        import pyarrow.parquet as pq
    except ImportError:
        said = tools.sweep("export", tmp_path / "out.parquet", "--store", done, check=2)
        assert "install covop[cluster]" in said.stderr
        return
    tools.sweep("export", tmp_path / "out.parquet", "--store", done)
    table = pq.read_table(tmp_path / "out.parquet")
    stored = tools.results(done)
    rows = {row["key"]: row for row in table.to_pylist()}
    assert rows.keys() == stored.keys()
    assert all(rows[key]["loss"] == own["loss"] for key, own in stored.items())
    assert str(table.schema.field("train.lr").type) == "double"
    assert str(table.schema.field("network.width").type) == "int64"


@pytest.mark.parametrize(
    "damage", ["UPDATE results SET metrics = substr(metrics, 2)", "UPDATE parts SET json = '{' || id"]
)
def test_text_that_is_damaged_is_one_line(tools, done, tmp_path, damage):
    """Where SQLite does not see it."""
    shutil.copy(done, tmp_path / "sweep.db")
    with sqlite3.connect(tmp_path / "sweep.db") as db:
        db.execute(damage)
    db.close()
    for command in (("export", "a.csv"), ("plot", "a.png")):
        said = tools.sweep(*command, check=2, cwd=tmp_path)
        assert said.stderr.startswith("error: store sweep.db: ")
        assert said.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.db"]


def test_a_query_that_is_not_read_to_its_end_says_nothing_when_the_store_is_closed(done, capsys):
    with Store(done, create=False) as store:
        rows = store.read("SELECT key FROM sweep")
        next(rows)
    del rows
    assert capsys.readouterr().err == ""


def test_means_have_intervals_over_seeds(done):
    from scipy import stats

    with Store(done) as store:
        found = grouped(store, Wanted("train.lr", "final_loss", ("network.width",)))
        assert list(found) == [("2",), ("4",)]
        one = found["2",][0.1]
        values = [
            json.loads(text)["loss"][-1]
            for text, network, train in store.read("SELECT metrics, network, train FROM sweep")
            if json.loads(network)["width"] == 2 and json.loads(train)["lr"] == 0.1
        ]
    low, high = stats.t.interval(0.95, 2, loc=sum(values) / 3, scale=stats.sem(values))
    assert one.number == 3
    assert (one.mean - one.half_width, one.mean + one.half_width) == pytest.approx((low, high), rel=1e-12)


@pytest.mark.parametrize("name", ["a.png", "a.pdf", "a.svg"])
def test_figures_are_drawn(tools, done, tmp_path, name):
    said = tools.sweep("plot", tmp_path / name, "--store", done)
    assert said.stdout == f"4 lines in {tmp_path / name}\n"
    assert (tmp_path / name).stat().st_size > 2000


@pytest.mark.parametrize("y", ["after", "final_loss"])
def test_an_axis_of_numbers_and_text_is_drawn(tools, tmp_path, y):
    """Polarities that are drawn are text beside those that are numbers, as in docs/examples/sweep.toml."""
    text = GRID.replace("polarity = 0.9", "polarity = [0.9, { low = 0.7, signs = true }, 0.5]")
    (tmp_path / "grid.toml").write_text(text.replace("seeds = 3", "seeds = 2"))
    tools.sweep(tmp_path / "grid.toml", "--store", tmp_path / "sweep.db", "--workers", 1)
    wanted = Wanted("tree.polarity", y, ("network.width",), confidence=0.999)
    with Store(tmp_path / "sweep.db") as store:
        lines = grouped(store, wanted)
        assert draw(store, tmp_path / "a.svg", wanted) == 2
    for line in lines.values():
        *numbers, last = line
        assert numbers == [0.5, 0.9]
        assert json.loads(last) == {"low": 0.7, "high": 1.0, "signs": True}
    assert "99.9 % confidence interval" in (tmp_path / "a.svg").read_text()


def test_levels_that_are_not_finite_have_no_mean():
    row = {"steps": [1], "loss": [0.5], "after": [0.25, None], "network.width": 2}
    assert list(points_of(row, Wanted("network.width", "after"))) == []
    assert list(points_of(row, Wanted("network.width", "after", level=1))) == [(2, 0.25)]
    assert list(points_of(row, Wanted("network.width", "after", level=2))) == []
    assert list(points_of(row, Wanted("network.width", "after", level=3))) == []


def test_an_export_that_is_cut_short_leaves_nothing(done, tmp_path, monkeypatch):
    """A link is followed, and what was there stays until the new file is complete."""
    (tmp_path / "real.csv").write_text("before")
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    with Store(done, create=False) as store:
        with monkeypatch.context() as cut:
            cut.setattr("numeric.studies.sweep.report.rows_of", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                export(store, tmp_path / "link.csv")
        assert (tmp_path / "real.csv").read_text() == "before"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "real.csv"]
        assert export(store, tmp_path / "link.csv") == 12
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real.csv").read_text().count("\n") == 13


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (Wanted("steps", "nothing"), "must be one of loss, final_loss, before, after"),
        (Wanted("train.lr", "loss"), "must be steps with loss"),
        (Wanted("train.lrr", "after"), "did you mean 'train.lr'"),
        (Wanted("train.lr", "after", ("train.tau",)), "must be a parameter that varies"),
    ],
)
def test_what_cannot_be_drawn_is_one_line(done, tmp_path, wanted, words):
    with Store(done) as store, pytest.raises(InputError, match=words):
        draw(store, tmp_path / "a.png", wanted)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.toml"], "nothing.toml: cannot be read"),
        (["--workers", "2"], "Missing argument"),
        (["run", "a.toml", "--workers", "1", "--ray", "x:1"], "only one of them at a time"),
        (["a.toml", "--device", "tpu"], "must be cpu or cuda"),
        (["status", "--store", "nothing.db"], "must be a file that is there"),
        (["export", "out.txt"], "must end in .csv or .parquet"),
        (["export", "nowhere/out.csv"], "in a folder that exists"),
        (["export", "a.csv", "--store", "a.csv"], "must be another file than the store"),
        (["plot", "out.gif"], "must end in .png or .pdf or .svg"),
    ],
)
def test_wrong_usage_is_one_line(tools, tmp_path, arguments, words):
    (tmp_path / "a.toml").write_text(GRID)
    (tmp_path / "a.csv").symlink_to("a.toml")
    said = tools.sweep(*arguments, check=2, cwd=tmp_path)
    assert words in said.stderr
    assert said.stderr.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "a.toml"]
    assert (tmp_path / "a.toml").read_text() == GRID


def test_export_refuses_what_it_does_not_know(done, tmp_path):
    with Store(done) as store, pytest.raises(InputError, match=r"\.csv or \.parquet"):
        export(store, tmp_path / "x.json")


def test_help_loads_nothing_heavy():
    code = (
        "import sys, numeric.cli, numeric.studies.sweep.cli, numeric.studies.sweep.store, numeric.studies.sweep.driver, numeric.studies.sweep.report\n"
        "heavy = {'torch', 'ray', 'pyarrow', 'matplotlib', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_status_loads_neither_graphs_nor_the_reader_of_grids():
    """It answers within a second, of which a million configurations take a tenth."""
    code = (
        "import sys, numeric.cli, numeric.studies.sweep.cli, numeric.studies.sweep.store, numeric.studies.sweep.report\n"
        "sys.exit(str({'networkx', 'pydantic', 'filelock'} & set(sys.modules) or ''))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.stderr.strip() == ""


def test_the_questions_of_status_are_answered_by_indices_alone(done):
    asked = []
    with Store(done, create=False) as store:
        store._db.set_trace_callback(asked.append)
        status_of(store)
        store._db.set_trace_callback(None)
        plans = [plan for query in asked for *_, plan in store.read(f"EXPLAIN QUERY PLAN {query}")]
    assert len(asked) == 3
    assert all("INDEX" in plan for plan in plans if plan.startswith(("SCAN", "SEARCH"))), plans
    assert not any("TEMP B-TREE FOR GROUP BY" in plan for plan in plans), plans


def test_costs_grow_with_what_is_computed():
    tree, network = {"kind": "complete", "depth": 3, "branching": 2}, {"width": 5, "dtype": "float64"}
    train = {
        "loss": "infonce",
        "negatives": 1,
        "batch": 64,
        "steps": 100,
        "mode": "sampled",
        "records": 5,
        "samples": 100,
    }
    one = sizes(tree, network, train, {})
    for name, value in asdict(one).items():
        if name not in ("records", "leaves", "itemsize", "blocks", "adaptive", "predicted"):
            more = Sizes(**{**asdict(one), name: 10 * value})
            assert seconds(more, 8) >= seconds(one, 8), name
            assert memory(more, 8) >= memory(one, 8), name
    assert seconds(one, 64) < 64 * seconds(one, 1)
    limit = memory(one, 20)
    most = most_members(one, 64, 1e9, limit)
    assert most >= 20
    assert memory(one, most) <= limit < memory(one, most + 1)


def test_what_else_a_step_does_has_its_cost():
    """NT-Xent compares all pairs of views, Adam keeps moments; exact mode is not predicted."""
    tree, network = {"kind": "complete", "depth": 3, "branching": 2}, {"width": 5, "dtype": "float64"}
    plain = {"loss": "infonce", "negatives": 1, "batch": 64, "steps": 100, "mode": "sampled", "records": 5}
    plain |= {"samples": 100, "optimizer": "sgd", "optimizer_options": {}}
    one = sizes(tree, network, plain, {})
    whole = sizes(tree, network, {**plain, "loss": "ntxent", "negatives": None}, {})
    adam = sizes(tree, network, {**plain, "optimizer": "adam"}, {})
    assert (one.pairs, whole.pairs, one.adaptive, adam.adaptive) == (0, 128**2, False, True)
    assert seconds(adam, 8) > seconds(one, 8)
    assert seconds(whole, 8) > seconds(replace(whole, pairs=0), 8)
    assert memory(whole, 64) > memory(replace(whole, pairs=0), 64)
    # Distances beyond the cache, 2^17 numbers of one member, cost more a pair; those within it do not.
    without, near, full, far = (seconds(replace(whole, pairs=n), 1) for n in (0, 2**16, 2**17, 2**18))
    assert full - without == pytest.approx(2 * (near - without))
    assert far - without > 2.5 * (full - without)
    exact = sizes(tree, network, {**plain, "mode": "exact", "batch": None}, {})
    assert seconds(exact, 1) == float("inf")
    assert most_members(exact, 64, 1e9, 1e12) == 1


def test_sizes_are_those_of_the_network():
    import hltm
    from numeric import TreeNetwork

    trees = {
        "complete": ({"depth": 3, "branching": 2}, hltm.complete_tree(3, 2, 0.5)),
        "star": ({"leaves": 4}, hltm.star_tree(4, 0.5)),
        "caterpillar": ({"leaves": 4}, hltm.caterpillar_tree(4, 0.5)),
    }
    train = {"loss": "simple", "negatives": None, "batch": 4, "steps": 1, "mode": "sampled", "records": 1, "samples": 0}
    for kind, (part, tree) in trees.items():
        network = TreeNetwork(tree, 3)
        found = sizes({"kind": kind, **part}, {"width": 3, "dtype": "float64"}, train, {})
        assert found.parameters == sum(block[0].numel() for block in network.parameters), kind
        assert (found.nodes, found.neurons) == (len(tree), network.plan.neurons), kind
