"""Real faults against a Ray cluster of two nodes on loopback: workers, a node, the driver, and tasks that cannot end."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from numeric.sweep.loopback import descendants, loopback_cluster

SOME_DONE = "SELECT 1 FROM configurations WHERE status = 'done' LIMIT 1"
BOTH_BUSY = (
    "SELECT * FROM (SELECT count(DISTINCT task) AS tasks FROM configurations WHERE status = 'running') WHERE tasks = 2"
)


@pytest.fixture(scope="module")
def cluster():
    with loopback_cluster(nodes=2, cpus=1) as found:
        yield found


def actors(node):
    """Processes of a node that run tasks."""
    found = []
    for number in descendants(node.process.pid):
        try:
            if "ray::Worker" in Path(f"/proc/{number}/cmdline").read_text():
                found.append(number)
        except OSError:
            continue
    return found


def test_an_undisturbed_run_is_that_of_local_workers(tools, cluster, grid, store, undisturbed):
    tools.sweep(grid, "--store", store, "--ray", cluster.address, "--stack", 4)
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


@pytest.mark.parametrize("auto", [False, True])
def test_every_port_is_bound_to_loopback(tools, cluster, grid, store, monkeypatch, auto):
    """Of the nodes, of the actors and of the driver."""
    monkeypatch.setenv("RAY_ADDRESS", cluster.address if auto else "")
    driver = tools.begin(grid, "--store", store, "--ray", "auto" if auto else cluster.address, "--stack", 4)
    tools.until(store, SOME_DONE)
    own = {driver.pid, *descendants(driver.pid)}
    for node in cluster.nodes:
        own |= set(node.processes())
    found = list(listening(own))
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=60)
    assert len(found) > 5
    # IPv4 127.x.x.x, the same within IPv6, and ::1, as the kernel writes them.
    allowed = ("0000007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000")
    assert all(address == allowed[1] or address == allowed[2] or address.endswith("7F") for address in found), found


def listening(processes):
    """Addresses that some processes listen on, in the kernel's hexadecimal."""
    sockets = set()
    for number in processes:
        try:
            links = [os.readlink(each) for each in Path(f"/proc/{number}/fd").iterdir()]  # noqa: PTH115
        except OSError:
            continue
        sockets |= {link[8:-1] for link in links if link.startswith("socket:[")}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in sockets:
                yield fields[1].split(":")[0]


def test_a_worker_is_killed(tools, cluster, grid, store, undisturbed):
    driver = tools.begin(grid, "--store", store, "--ray", cluster.address, "--stack", 4)
    tools.until(store, BOTH_BUSY)
    os.kill((actors(cluster.nodes[0]) + actors(cluster.nodes[1]))[0], signal.SIGKILL)
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert "it is tried again" in errors
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_the_driver_is_killed(tools, cluster, grid, store, undisturbed):
    driver = tools.begin(grid, "--store", store, "--ray", cluster.address, "--stack", 4)
    tools.until(store, SOME_DONE)
    driver.kill()
    driver.communicate(timeout=60)
    written = tools.ask(store, "SELECT key, finished FROM sweep WHERE status = 'done'")
    assert 0 < len(written) < tools.total
    tools.sweep(grid, "--store", store, "--ray", cluster.address, "--stack", 4)
    tools.ended_once(store)
    after = dict(tools.ask(store, "SELECT key, finished FROM sweep"))
    assert all(after[key] == moment for key, moment in written)
    tools.same_numbers(tools.results(store), undisturbed)


def test_tasks_that_cannot_end_fail_with_their_reason(tools, cluster, tmp_path, store):
    """One raises, one hangs, one takes too much memory; the others go on."""
    path = tmp_path / "bad.toml"
    tables = [
        "steps = 20\nbatch = 16",
        'optimizer = "adam"\noptimizer_options = { betas = [2.0, 3.0] }',
        "steps = 100000000",
        "batch = 300000\nrecords = 1",
    ]
    trains = "".join(f"[[train]]\nsamples = 0\n{table}\n" for table in tables)
    path.write_text(f"seeds = 1\n[tree]\ndepth = 5\npolarity = 0.9\n{trains}")
    options = ("--time-limit", 30, "--memory-limit", 600)
    tools.sweep(path, "--store", store, "--ray", cluster.address, *options, check=1)
    tools.ended_once(store, failed=3, total=4)
    reasons = sorted(
        found for (found,) in tools.ask(store, "SELECT reason FROM configurations WHERE status = 'failed'")
    )
    assert reasons[0].startswith("memory: ")
    assert reasons[1].startswith("raised: InputError: optimizer_options")
    assert reasons[2] == "time: more than the 30 seconds of a task"


def test_two_drivers_share_one_store(tools, cluster, grid, store, undisturbed):
    """One on the cluster, one with a local worker."""
    drivers = [tools.begin(grid, "--store", store, *where, "--stack", 4)
               for where in (("--ray", cluster.address), ("--workers", 1))]  # fmt: skip
    for driver in drivers:
        _, errors = driver.communicate(timeout=300)
        assert driver.returncode == 0, errors
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_a_full_disk(tools, cluster, grid, full_disk, undisturbed):
    tools.sweep_into_a_full_disk(grid, full_disk, ("--ray", cluster.address, "--stack", 4), undisturbed)


def test_a_store_that_stays_locked_costs_nothing(tools, cluster, grid, store, undisturbed):
    tools.sweep_a_locked_store(grid, store, ("--ray", cluster.address, "--stack", 4), undisturbed)


def test_a_node_is_killed_and_another_joins(tools, cluster, grid, store, undisturbed):
    """Last: it takes a node away. The work goes on with what is left, then with what has come."""
    driver = tools.begin(grid, "--store", store, "--ray", cluster.address, "--stack", 4)
    tools.until(store, BOTH_BUSY)
    assert actors(cluster.nodes[1])
    cluster.nodes[1].kill()
    cluster.add()
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert "it is tried again" in errors
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_no_cluster_is_one_line(tools, grid, store):
    done = tools.sweep(grid, "--store", store, "--ray", "127.0.0.1:1", check=2)
    assert done.stderr.count("\n") == 1
    assert "must be a Ray cluster" in done.stderr


def test_the_head_is_gone(tools, grid, store, undisturbed):
    """The whole cluster dies: the driver says so, nothing is lost, and the same command goes on elsewhere."""
    with loopback_cluster(nodes=1, cpus=1) as alone:
        driver = tools.begin(grid, "--store", store, "--ray", alone.address, "--stack", 4)
        tools.until(store, SOME_DONE)
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
    code = "import sys, numeric.cli, numeric.sweep.local, verify.cli; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
