"""`python -m verify --ray` on a cluster of two nodes: the same verdicts, and one counterexample ends everything."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from hltm.base.cluster import RayEngine, stay_on_loopback
from verify.engine import cluster as verify_cluster
from verify.engine.statement import Context
from verify.registry import entry

SLUG, VARIANT = "dual-gradient", "half-missing"


def test_the_verdicts_are_those_of_one_process(cluster, tmp_path):
    command = [sys.executable, "-m", "verify", "--only", "property", "--json", "-"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    documents = []
    for more in ([], ["--ray", cluster.address]):
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        documents.append(json.loads(done.stdout))
    here, there = ([[each["slug"], each["verdict"]] for each in one["statements"]] for one in documents)
    assert here == there
    for one, other in zip(documents[0]["statements"], documents[1]["statements"], strict=True):
        tried = [
            [row["instances"] + row["abstained_instances"] for row in each["evidence"] if row["kind"] == "property"]
            for each in (one, other)
        ]
        assert tried[1] >= tried[0]  # parts are rounded up
    assert list(tmp_path.iterdir()) == []


@pytest.mark.nightly
def test_the_thorough_profile_as_a_command(cluster, tmp_path):
    """Of one statement, whose search is short; the others take hours."""
    code = (
        "import sys, verify.cli as cli\n"
        "from verify.registry import entry\n"
        f"cli.covered = lambda: (entry({SLUG!r}),)\n"
        "cli.main()"
    )
    options = ["--profile", "thorough", "--only", "property", "--json", "-"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    documents = []
    for more in ([], ["--ray", cluster.address]):
        done = subprocess.run(
            [sys.executable, "-c", code, *options, *more],
            capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=400, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        documents.append(json.loads(done.stdout))
    rows = []
    for document in documents:
        (statement,) = document["statements"]
        assert (statement["slug"], statement["verdict"]) == (SLUG, "holds")
        rows.append([row["instances"] for row in statement["evidence"] if row["kind"] == "property"])
    assert rows[1] >= rows[0]
    assert all(number >= 1000 for number in rows[1])  # the quick profile tries some hundred


class FalseWorker:
    """Says of one part of one search that a mutant is the statement; everything else takes a minute and more."""

    def prepare(self):
        return verify_cluster.CheckWorker().prepare()

    def run(self, piece):
        from verify.engine.search import property_evidence
        from verify.registry import entry

        if piece.slug != "dual-gradient" or piece.context.part is None or piece.context.part.number != 1:
            time.sleep(90)
        statement = entry("dual-gradient").load()
        claim = statement.variant("half-missing").claim
        kinds = {kind: lambda i, kind=kind: statement.measures[kind](i, claim) for kind in ("exact", "float")}
        found = property_evidence(
            kinds, statement.stages, examples=50, seed=0, among="weights", part=piece.context.part
        )
        return {"evidence": found}


def test_a_counterexample_anywhere_ends_the_rest_and_is_shrunk_here(cluster):
    """The statement that is run here is the mutant, and so is the one that the cluster searches."""
    stay_on_loopback(cluster.address)  # Ray reads it when it is imported
    from ray import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    true = entry(SLUG).load()
    claim = true.variant(VARIANT).claim
    false = replace(
        true,
        measures={kind: lambda i, _, own=own: own(i, claim) for kind, own in true.measures.items()},
    )

    class Loaded:
        def __init__(self, statement):
            self.statement, self.slug = statement, statement.slug

        def load(self):
            return self.statement

    engine = RayEngine(cluster.address, FalseWorker)
    started = time.monotonic()
    try:
        entries = [Loaded(false), entry("contrastive-losses")]
        first, second = verify_cluster.run_on(engine, entries, Context(), only="property")
    finally:
        engine.close()
    assert time.monotonic() - started < 85  # the pieces that sleep were ended
    (row,) = (row for row in first.evidence if row.kind == "property")
    assert (first.verdict, row.status) == ("refuted", "refuted")
    assert "shrunk here" in row.detail
    assert false.measures["exact"](row.counterexample, None).status == "refuted"
    assert max(len(weights) for weights in row.counterexample.weights_1) <= 2
    # What was stopped is no verdict.
    assert second.verdict == "abstained"
    (other,) = (row for row in second.evidence if row.kind == "property")
    assert (other.status, other.detail) == ("not-run", verify_cluster.STOPPED)
