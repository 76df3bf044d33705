"""`verify --ray` over a stand-in for a cluster: what it finds ends the checks that run here; and what it refuses."""

import contextlib
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from hypothesis import strategies

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError, cancel_when
from hltm.base.workers import Ended, Engine
from verify.engine import cluster, search
from verify.engine.cluster import WorkItem, shrunk
from verify.engine.evidence import Evidence, Measurement
from verify.engine.search import SearchResult, deepening, property_evidence
from verify.engine.statement import Check, Context, Part
from verify.registry import entry


class Lane(Engine):
    """One lane that answers after a second, or fails."""

    lanes = 1

    def __init__(self, answer):
        self.answer, self.held = answer, None

    def idle(self):
        return [] if self.held else [0]

    def start(self, lane, piece):
        self.held = (piece, time.monotonic() + 1.0)

    def wait(self, seconds):
        time.sleep(0.05)
        if self.held is None or time.monotonic() < self.held[1]:
            return []
        self.held = None
        return [Ended(0, self.answer())]

    def end(self, lane):
        self.held = None

    def close(self):
        pass


class Loaded:
    """An entry of the registry with a check of another kind that takes a minute."""

    slug = "dual-gradient"

    def __init__(self, ran):
        def slow(context):
            ran.append("begun")
            total, end = 0, time.monotonic() + 60
            while time.monotonic() < end:
                total += 1
            ran.append("ended")
            return Evidence("symbolic", "holds", "slow")

        own = entry(self.slug).load()
        searches = tuple(check for check in own.checks if check.kind == "property")
        self.statement = replace(own, checks=(Check("symbolic", "slow", slow), *searches), variants=(), drops=())

    def load(self):
        return self.statement


def test_a_counterexample_on_the_cluster_cuts_the_check_that_runs_here():
    ran, began = [], time.monotonic()
    refuted = {"evidence": Evidence("trained", "refuted", "stand-in", 1, 0, 1.0, 0.1)}
    (found,) = cluster.run_on(Lane(lambda: refuted), [Loaded(ran)], Context())
    assert time.monotonic() - began < 40
    assert ran == ["begun"]
    assert found.verdict == "refuted"
    (row,) = (row for row in found.evidence if row.kind == "symbolic")
    assert (row.status, row.detail) == ("not-run", cluster.STOPPED)


def test_a_rare_counterexample_is_shrunk_too(monkeypatch):
    """The search from the seed of the run comes upon none; the part that has found it does."""
    asked = []

    def measure(instance, _=None):
        return Measurement(1.0 if instance[0] % 5 == 4 else 0.0, 0.5)

    def check(context):
        return property_evidence({"float": measure}, stages, examples=400, seed=0, among="pairs", part=context.part)

    def deep(*arguments, **options):
        asked.append(options["seed"])
        return SearchResult(None, 200, 0) if options["seed"] == 0 else deepening(*arguments, **options)

    monkeypatch.setattr(search, "deepening", deep)
    stages = (lambda: strategies.tuples(strategies.integers(0, 10**9), strategies.lists(strategies.integers())),)
    checks = (Check("property", "search", check),)
    false = replace(entry("dual-gradient").load(), measures={"float": measure}, stages=stages, checks=checks)
    piece = WorkItem(0, 0, false.slug, Context(part=Part(3, 4)))
    found = check(piece.context)
    assert (found.status, asked) == ("refuted", [])
    small = shrunk(false, piece, found)
    assert asked == [0, 3 * search.SEEDS]
    assert small.detail.endswith("; shrunk here")
    assert small.counterexample[1] == []
    assert small.counterexample[0] <= found.counterexample[0]


def test_a_cluster_that_is_gone_cuts_it_too():
    def gone():
        raise InputError("the cluster is gone")

    ran, began = [], time.monotonic()
    with pytest.raises(InputError, match="the cluster is gone"):
        list(cluster.run_on(Lane(gone), [Loaded(ran)], Context()))
    assert time.monotonic() - began < 40
    assert ran == ["begun"]


def test_a_cut_that_is_lost_is_made_again():
    """What is raised while an object is finalised, Python only prints."""
    asked = []

    def over():
        asked.append(1)
        return True

    def swallow():
        with contextlib.suppress(OutOfTimeError):
            time.sleep(30)
        time.sleep(30)

    began = time.monotonic()
    with pytest.raises(OutOfTimeError), cancel_when(over):
        swallow()
    assert len(asked) >= 2
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("arguments", [["run", "own.py", "--ray", "x:1"], ["--ray", "x:1", "run", "own.py"]])
def test_statements_of_a_user_do_not_go_to_a_cluster(tmp_path, arguments):
    command = [sys.executable, "-m", "verify", *arguments]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --ray with run: must be left out; only the statements of the paper go to")
    assert done.stderr.count("\n") == 1
