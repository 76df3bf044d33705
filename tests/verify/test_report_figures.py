"""Figures made beside the checks: the same as those made here, ended with the run, missing with a reason."""

import contextlib
import multiprocessing
import os
import time

import pytest

from verify.engine.statement import Context
from verify.registry import Entry, entry
from verify.report import build as report_figures
from verify.report.build import draw_in_background, figures

CONTEXT = Context()


@pytest.fixture(autouse=True)
def _two_processors(monkeypatch):
    monkeypatch.setattr(report_figures, "SEVERAL", 1)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def asleep(context, slug):
    time.sleep(600)


def dying(context, slug):
    os._exit(1)


def failing(context, slug):
    raise MemoryError(slug)


def alive(before):
    return set(multiprocessing.active_children()) - before


@pytest.fixture
def before():
    return set(multiprocessing.active_children())


def test_another_process_makes_what_this_one_makes(before):
    chosen = [entry("contrastive-losses")]
    statements = [one.load() for one in chosen]
    with draw_in_background(CONTEXT, chosen) as wait:
        assert len(alive(before)) == 1
        found = wait(statements)
    assert found == figures(CONTEXT, statements)
    assert list(found.rows) == ["contrastive-losses"]
    assert "figures/pair-weights.svg" in found.files
    assert not alive(before)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_whoever_leaves_early_leaves_no_process(error, before, monkeypatch):
    monkeypatch.setattr(report_figures, "draw_registered", asleep)
    started = time.monotonic()

    def leave():
        with draw_in_background(CONTEXT, [entry("contrastive-losses")]):
            assert alive(before)
            raise error

    with pytest.raises(error):
        leave()
    assert not alive(before)
    assert time.monotonic() - started < 60


ENDED = "the process that drew them ended before it was done"


@pytest.mark.parametrize(("make", "reason"), [(dying, ENDED), (failing, "MemoryError: {}")])
def test_a_process_that_ends_costs_the_figures_alone(make, reason, monkeypatch):
    monkeypatch.setattr(report_figures, "draw_registered", make)
    chosen = [entry("contrastive-losses"), entry("dual-gradient")]
    with draw_in_background(CONTEXT, chosen) as wait:
        found = wait([one.load() for one in chosen])
    assert found.files == {}
    for slug in ("contrastive-losses", "dual-gradient"):
        (row,) = found.rows[slug]
        assert row["reason"] == reason.format(slug)


def test_where_no_process_can_start_they_are_made_here(monkeypatch):
    def refused(*arguments):
        raise OSError("Resource temporarily unavailable")

    monkeypatch.setattr(report_figures, "helpers", lambda workers: contextlib.nullcontext(refused))
    chosen = entry("contrastive-losses")
    with draw_in_background(CONTEXT, [chosen]) as wait:
        assert "figures/pair-weights.svg" in wait([chosen.load()]).files


@pytest.mark.parametrize(("several", "processors", "known"), [(2, 2, True), (1, 1, True), (1, 2, False)])
def test_few_statements_one_processor_and_own_statements_need_no_process(
    several, processors, known, before, monkeypatch
):
    monkeypatch.setattr(report_figures, "SEVERAL", several)
    monkeypatch.setattr(os, "cpu_count", lambda: processors)
    chosen = entry("contrastive-losses")
    if not known:
        chosen = Entry("own", None, "a statement of a user's own", chosen.module)
    with draw_in_background(CONTEXT, [chosen]) as wait:
        assert not alive(before)
        assert "figures/pair-weights.svg" in wait([chosen.load()]).files
        assert not alive(before)
