"""Two processes (torchrun, gloo, CPU) against one on the joint batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from hltm.errors import InputError
from numeric.images import parallel
from numeric.images.losses import IMAGE_LOSSES

WORKER = Path(__file__).parent / "parallel_worker.py"


def launch(folder, size):
    folder.mkdir()
    command = [sys.executable]
    if size > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, str(WORKER), str(folder), str(size)], env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("parallel")
    for size in (1, 2):
        launch(root / str(size), size)
    return root / "1", root / "2"


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_the_gradient_is_that_of_the_joint_batch(name, folders):
    one, two = (load_file(folder / f"{name}.safetensors") for folder in folders)
    assert one.keys() == two.keys()
    for key, value in one.items():
        assert (value - two[key]).abs().max() <= 1e-6, key
    assert any(value.abs().max() > 1e-4 for key, value in one.items() if not key.startswith("statistics"))


def test_a_training_gives_the_same_network(folders):
    one, two = (load_file(folder / "trained.safetensors") for folder in folders)
    for key, value in one.items():
        assert (value.double() - two[key].double()).abs().max() <= 1e-4, key


def test_one_of_the_processes_writes(folders):
    assert (folders[1] / "run" / "state.json").exists()


def test_a_batch_is_shared_out_evenly(monkeypatch):
    monkeypatch.setattr(parallel, "rank_and_size", lambda: (1, 3))
    assert parallel.own_part(9) == slice(3, 6)
    with pytest.raises(InputError, match="batch=8 over 3 processes"):
        parallel.own_part(8)
