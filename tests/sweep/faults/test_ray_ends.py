"""Ray clusters that are not there, that end, or on which nothing can start; and that nobody loads Ray for nothing."""

import subprocess
import sys

from loopback import loopback_cluster


def test_no_cluster_is_one_line(tools, grid, store):
    done = tools.sweep(grid, "--store", store, "--ray", "127.0.0.1:1", check=2)
    assert done.stderr.count("\n") == 1
    assert "must be a Ray cluster" in done.stderr


def test_the_head_is_gone(tools, grid, store, undisturbed):
    """The whole cluster dies: the driver says so, nothing is lost, and the same command goes on elsewhere."""
    with loopback_cluster(nodes=1, cpus=1) as alone:
        driver = tools.begin(grid, "--store", store, "--ray", alone.address, "--stack", 4)
        tools.until(store, tools.some_done)
        alone.nodes[0].kill()
        _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 2, errors
    *notes, last = errors.splitlines()
    assert last.startswith(f"error: --ray='{alone.address}': no answer for 20 seconds: the cluster is gone; "), errors
    # Before that, at most the task whose node died.
    assert all("it is tried again" in note for note in notes), errors
    assert len(notes) <= 1
    before = tools.results(store)
    assert 0 < len(before) < tools.total
    tools.sweep(grid, "--store", store, "--workers", 2, "--stack", 4)
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_actors_that_cannot_start_are_one_line(tools, grid, tmp_path, store, monkeypatch):
    """The package is broken on the nodes."""
    (tmp_path / "broken" / "numeric").mkdir(parents=True)
    (tmp_path / "broken" / "numeric" / "__init__.py").write_text("raise ImportError('broken on this node')\n")
    with monkeypatch.context() as there:
        there.setenv("PYTHONPATH", str(tmp_path / "broken"))
        cluster = loopback_cluster(nodes=1, cpus=1)
        address = cluster.__enter__().address
    try:
        done = tools.sweep(grid, "--store", store, "--ray", address, check=2, cwd=tmp_path)
        assert done.stderr.count("\n") == 1
        assert "ImportError: broken on this node: an actor must be able to start" in done.stderr
        command = [sys.executable, "-m", "verify", "--only", "property", "--ray", address]
        found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=500, check=False)
        assert (found.returncode, found.stderr.count("\n")) == (2, 1), found.stderr
        assert "ImportError: broken on this node: an actor must be able to start" in found.stderr
    finally:
        cluster.__exit__(None, None, None)
    assert tools.ask(store, "SELECT count(*) FROM configurations WHERE status = 'pending'") == [(tools.total,)]


def test_ray_is_loaded_by_nothing_else():
    code = "import sys, numeric.cli, hltm.base.cluster, numeric.studies.sweep.task, verify.cli; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
