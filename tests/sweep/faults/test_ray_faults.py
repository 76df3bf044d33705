"""Real faults against a Ray cluster of two nodes on loopback: workers, a node, the driver, and tasks that cannot end."""

import os
import signal
from pathlib import Path

import pytest
from loopback import descendants


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
    tools.until(store, tools.some_done)
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
    tools.until(store, tools.both_busy)
    os.kill((actors(cluster.nodes[0]) + actors(cluster.nodes[1]))[0], signal.SIGKILL)
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert "it is tried again" in errors
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)


def test_the_driver_is_killed(tools, cluster, grid, store, undisturbed):
    driver = tools.begin(grid, "--store", store, "--ray", cluster.address, "--stack", 4)
    tools.until(store, tools.some_done)
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
    tools.until(store, tools.both_busy)
    assert actors(cluster.nodes[1])
    cluster.nodes[1].kill()
    cluster.add()
    _, errors = driver.communicate(timeout=300)
    assert driver.returncode == 0, errors
    assert "it is tried again" in errors
    tools.ended_once(store)
    tools.same_numbers(tools.results(store), undisturbed)
