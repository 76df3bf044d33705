"""Real faults against local workers: what is done stays done, what was lost is run again, the numbers are the same."""

import os
import random
import signal
import sqlite3
import time

from loopback import descendants

OPTIONS = ("--workers", 2, "--stack", 4)


def test_a_worker_is_killed(tools, grid, store, undisturbed):
    driver = tools.begin(grid, "--store", store, *OPTIONS)
    tools.until(store, tools.both_busy)
    os.kill(tools.worker_processes(driver.pid)[0], signal.SIGKILL)
    out, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert "its worker process died; it is tried again" in errors
    assert f"{tools.total} done, 0 failed" in out
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_the_driver_is_killed_and_its_workers_go_with_it(tools, grid, store, undisturbed):
    driver = tools.begin(grid, "--store", store, *OPTIONS, "--checkpoint-after", 0)
    tools.until(store, tools.some_done)
    workers = tools.worker_processes(driver.pid)
    driver.kill()
    driver.communicate(timeout=60)
    before = tools.results(store)
    written = tools.ask(store, "SELECT key, finished FROM sweep WHERE status = 'done' ORDER BY 1")
    assert 0 < len(before) < tools.total
    end = time.monotonic() + 20
    while any(os.path.exists(f"/proc/{number}") for number in workers):  # noqa: PTH110
        assert time.monotonic() < end
        time.sleep(0.1)
    tools.sweep(grid, "--store", store, *OPTIONS, "--checkpoint-after", 0)
    tools.ended_once(store)
    after = dict(tools.ask(store, "SELECT key, finished FROM sweep"))
    assert all(after[key] == moment for key, moment in written)  # what was done was not run again
    tools.same_numbers(tools.results(store), undisturbed)
    assert not (store.parent / "sweep.db.work").exists()


def test_cut_short_again_and_again(tools, grid, store, undisturbed):
    random.seed(0)
    for _ in range(3):
        driver = tools.begin(grid, "--store", store, *OPTIONS, "--checkpoint-after", 0)
        tools.until(store, tools.running)
        time.sleep(random.uniform(0, 0.7))
        driver.send_signal(random.choice((signal.SIGKILL, signal.SIGINT, signal.SIGTERM)))
        driver.communicate(timeout=120)
    tools.sweep(grid, "--store", store, *OPTIONS, "--checkpoint-after", 0)
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_ctrl_c_while_workers_start_is_one_line(tools, grid, store):
    """A terminal sends it to all of them; those that have just begun say nothing."""
    for pause in (0.0, 0.1):
        driver = tools.begin(grid, "--store", store, *OPTIONS, start_new_session=True)
        end = time.monotonic() + 60
        while len(descendants(driver.pid)) < 2 and time.monotonic() < end:
            time.sleep(0.01)
        time.sleep(pause)
        os.killpg(driver.pid, signal.SIGINT)
        _, errors = driver.communicate(timeout=120)
        assert (driver.returncode, errors) == (130, "interrupted\n")
        assert tools.ask(store, "SELECT DISTINCT status, owner FROM configurations") == [("pending", None)]


def test_two_drivers_share_one_store(tools, grid, store, undisturbed):
    drivers = [tools.begin(grid, "--store", store, "--workers", 1, "--stack", 4) for _ in range(2)]
    for driver in drivers:
        out, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, errors
        assert f"{tools.total} done" in out
        assert "not written" not in errors
    tools.ended_once(store)
    assert tools.ask(store, "SELECT count(*) FROM tasks WHERE finished IS NULL OR lost > 0") == [(0,)]
    tools.same_numbers(tools.results(store), undisturbed)


def test_one_of_two_drivers_is_killed(tools, grid, store, undisturbed):
    first = tools.begin(grid, "--store", store, "--workers", 1, "--stack", 4)
    tools.until(store, tools.running)
    second = tools.begin(grid, "--store", store, "--workers", 1, "--stack", 4)
    tools.until(store, tools.some_done)
    first.kill()
    first.communicate(timeout=60)
    _, errors = second.communicate(timeout=300)
    assert second.returncode == 0, errors
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_tasks_that_cannot_end_fail_with_their_reason(tools, tmp_path, store):
    """One raises, one hangs, one takes too much memory; the others go on."""
    tables = {
        'optimizer = "adam"\noptimizer_options = { betas = [2.0, 3.0] }': "raised: InputError: optimizer_options",
        "steps = 100000000": "time: more than the 4 seconds of a task",
        "batch = 300000\nrecords = 1": "memory: ",
    }
    trains = "".join(f"[[train]]\nsamples = 0\n{table}\n" for table in ("steps = 20\nbatch = 16", *tables))
    path = tmp_path / "bad.toml"
    path.write_text(f"seeds = 2\n[tree]\ndepth = 5\npolarity = 0.9\n{trains}")
    options = ("--workers", 2, "--time-limit", 4, "--memory-limit", 600)
    done = tools.sweep(path, "--store", store, *options, check=1)
    tools.ended_once(store, failed=6, total=8)
    reasons = sorted(
        found for (found,) in tools.ask(store, "SELECT reason FROM configurations WHERE status = 'failed'")
    )
    for wanted, found in zip(sorted([*tables.values()] * 2), reasons, strict=True):
        assert found.startswith(wanted), reasons
    assert "2 done, 6 failed" in done.stdout
    # Without --retry-failed they are left alone; with it, they are tried again.
    again = tools.sweep(path, "--store", store, *options, check=1)
    assert again.stderr == ""
    again = tools.sweep(path, "--store", store, *options, "--retry-failed", check=1)
    assert again.stderr != ""
    tools.ended_once(store, failed=6, total=8)


def test_a_stopped_worker_is_ended_at_its_time_limit(tools, tmp_path, store):
    path = tmp_path / "one.toml"
    path.write_text("seeds = 2\n[tree]\ndepth = 4\npolarity = 0.9\n[train]\nsteps = 3000\nsamples = 0\n")
    driver = tools.begin(path, "--store", store, "--workers", 1, "--time-limit", 30)
    tools.until(store, tools.running)
    end = time.monotonic() + 60
    while not (found := tools.worker_processes(driver.pid)) and time.monotonic() < end:
        time.sleep(0.1)
    os.kill(found[0], signal.SIGSTOP)
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert "it is split" in errors
    tools.ended_once(store, total=2)


def test_a_full_disk(tools, grid, full_disk, undisturbed):
    tools.sweep_into_a_full_disk(grid, full_disk, OPTIONS, undisturbed)


def test_a_locked_store_is_waited_for(tools, grid, store, undisturbed):
    driver = tools.begin(grid, "--store", store, *OPTIONS)
    tools.until(store, tools.running)
    with sqlite3.connect(store, isolation_level=None, timeout=30) as db:
        db.execute("BEGIN IMMEDIATE")
        time.sleep(4)
        db.execute("ROLLBACK")
    db.close()
    _, errors = driver.communicate(timeout=300)
    assert (driver.returncode, errors) == (0, "")
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_a_store_that_stays_locked_costs_nothing(tools, grid, store, undisturbed):
    tools.sweep_a_locked_store(grid, store, OPTIONS, undisturbed)


def test_an_answer_that_is_not_finite_is_a_result(tools, tmp_path, store):
    """Linear outputs, a large rate: the loss stays finite, correlations overflow. Its stack mate is done as well."""
    path = tmp_path / "overflow.toml"
    path.write_text(
        'seeds = [1]\n[tree]\ndepth = 3\npolarity = 0.9\n[network]\noutput = "linear"\n'
        "[train]\nlr = [0.01, 10.0]\nsteps = 300\nbatch = 16\nsamples = 200\nrecords = 2\n"
    )
    done = tools.sweep(path, "--store", store, "--workers", 1)
    assert done.stderr == ""
    tools.ended_once(store, total=2)
    levels = [found["after"] for found in tools.results(store).values()]
    assert any(None in found for found in levels)
    assert any(None not in found for found in levels)
    tools.sweep("plot", tmp_path / "a.png", "--store", store, "--x", "train.lr", "--y", "after")
    tools.sweep("export", tmp_path / "a.csv", "--store", store)
