"""Runs killed by SIGKILL at random moments and taken up again: the same trace, bit for bit.

A process that has torch loaded forks one child for each run, so that a start costs no import; a child is a process of
its own, with its own files and lock, and is what the signal hits. Moments are drawn from a seed: after so many records
and so many milliseconds, a good part of them while a checkpoint is written.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

SEED = 20_104
TIME_LIMIT = 120.0
LAUNCHER = """
import os, sys, torch, hltm
from safetensors.torch import save_file
from numeric import TreeNetwork, train
torch.set_num_threads(1)

def sampled(folder):
    trees = [hltm.complete_tree(2, 2, (0.5, 1.0), seed=member) for member in range(4)]
    network = TreeNetwork(trees[0], 3, seed=1, ensemble=4)
    # The second member diverges: linear output, simple loss, a large rate.
    measure = lambda here, step: {"size": here.parameters[0].square().sum((1, 2, 3)), "top": here.parameters[0]}
    return train(network, trees, ["infonce", "simple", "triplet", "infonce"], lr=[0.01, 1e160, 0.02, 0.005],
                 batch=4, steps=150, seed=5, checkpoint_dir=folder, record_every=2, optimizer="nadam", measure=measure)

def exact(folder):
    network = TreeNetwork(hltm.complete_tree(2, 2, 0.7), 3, seed=1, ensemble=2, output="normalized")
    return train(network, None, ["simple", "infonce"], lr=0.05, steps=300, checkpoint_dir=folder, record_every=3,
                 mode="exact", keep_networks=False)

for line in sys.stdin:
    kind, folder = line.split()
    child = os.fork()
    if child == 0:
        trace = {"sampled": sampled, "exact": exact}[kind](folder)
        tensors = {"losses": trace.losses, "dead": trace.dead, **trace.measured}
        tensors |= {f"records.{k}": block for k, block in enumerate(trace.parameters)}
        tensors |= {f"network.{k}": block for k, block in enumerate(trace.network.parameters)}
        tensors["failures"] = torch.tensor([[f.member, f.step, f.last_good] for f in trace.failures])
        tensors["steps"] = torch.tensor(trace.steps)
        save_file({name: block.clone() for name, block in tensors.items()}, folder + "/trace.safetensors")
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print(status, flush=True)
"""


@pytest.fixture(scope="module")
def launcher():
    held = subprocess.Popen([sys.executable, "-c", LAUNCHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    yield held
    held.stdin.close()
    held.wait(timeout=30)
    held.stdout.close()


def start(launcher, kind, folder):
    launcher.stdin.write(f"{kind} {folder}\n")
    launcher.stdin.flush()
    return int(launcher.stdout.readline())


def status(launcher):
    return int(launcher.stdout.readline())


def records(folder):
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def killed(launcher, kind, folder, target, pause):
    """Run until `target` records are there and `pause` seconds have passed; whether the run was still going."""
    child, until = start(launcher, kind, folder), time.monotonic() + TIME_LIMIT
    while records(folder) < target and time.monotonic() < until:
        time.sleep(0.0005)
    time.sleep(pause)
    os.kill(child, signal.SIGKILL)
    found = status(launcher)
    return os.WIFSIGNALED(found) and os.WTERMSIG(found) == signal.SIGKILL


@pytest.mark.parametrize(("kind", "number", "last"), [("sampled", 10, 65), ("exact", 5, 85)])
def test_killed_and_taken_up_again(launcher, tmp_path, kind, number, last):
    rng = random.Random(SEED)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    start(launcher, kind, whole)
    assert status(launcher) == 0
    # The first moment may come before the first record.
    targets = [0, *sorted(rng.sample(range(1, last), number - 1))]
    for target in targets:
        pause = rng.uniform(0, 0.02)
        assert killed(launcher, kind, cut, target, pause), (SEED, target, pause)
        assert not (cut / "trace.safetensors").exists()
    start(launcher, kind, cut)
    assert status(launcher) == 0
    expected, found = (load_file(folder / "trace.safetensors") for folder in (whole, cut))
    assert list(found) == list(expected)
    for name, values in expected.items():
        # NaN marks the losses of members that have failed: bits are compared, not numbers.
        assert values.dtype == found[name].dtype, name
        assert values.numpy().tobytes() == found[name].numpy().tobytes(), (SEED, name)
    assert (whole / "metrics.jsonl").read_bytes() == (cut / "metrics.jsonl").read_bytes()
    lines = [json.loads(line) for line in (cut / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == expected["steps"].tolist()
    if kind == "sampled":
        assert expected["failures"].tolist()[0][0] == 1
        assert not torch.isfinite(expected["losses"][-1, 1])
    # One checkpoint is left, the file of each record, and nothing half written.
    left = sorted(path.name for path in cut.iterdir() if path.name != "lock")
    assert left == [
        "metrics.jsonl",
        *(f"record-{step:010d}.safetensors" for step in expected["steps"].tolist()),
        "state.json",
        f"step-{expected['steps'][-1]:010d}.safetensors",
        "trace.safetensors",
    ]


def test_a_finished_run_is_read_not_trained(launcher, tmp_path):
    """Taken up at its end, a run gives the trace that it gave, and trains no step."""
    for _ in range(2):
        start(launcher, "exact", tmp_path)
        assert status(launcher) == 0
        if (tmp_path / "first").exists():
            assert (tmp_path / "trace.safetensors").read_bytes() == (tmp_path / "first").read_bytes()
        (tmp_path / "trace.safetensors").replace(tmp_path / "first")
