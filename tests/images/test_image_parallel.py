"""Two processes (torchrun, gloo, CPU) against one on the joint batch."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hltm.base.errors import InputError, OneProcessError
from numeric.studies.images import processes
from numeric.studies.images.losses import IMAGE_LOSSES, NONCONTRASTIVE_LOSSES

WORKER = Path(__file__).parent / "parallel_worker.py"
SMALL = ["--quiet", "--seeds", "1", "--epochs", "1", "--batch", "32", "--subset", "64", "--width", "4", "--device", "cpu",
         "--loss", "ntxent", "--no-theory"]  # fmt: skip


def run(size, *arguments):
    command = [sys.executable]
    if size > 1:
        command += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], env=environment, capture_output=True, text=True, timeout=500
    )


def launch(folder, size):
    folder.mkdir()
    done = run(size, WORKER, folder, size)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("parallel")
    for size in (1, 2):
        launch(root / str(size), size)
    return root / "1", root / "2"


@pytest.mark.parametrize("name", [*IMAGE_LOSSES, *NONCONTRASTIVE_LOSSES[:3]])
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


def test_batch_norm_computes_in_single_precision_under_autocast(folders):
    """Three steps in bfloat16, with further views: the network's statistics, counted once a step."""
    one, two = (load_file(folder / "mixed.safetensors") for folder in folders)
    counts = {key: int(value) for key, value in two.items() if key.endswith("num_batches_tracked")}
    assert set(counts.values()) == {3}
    for key, value in one.items():
        assert torch.isfinite(two[key]).all()
        # bfloat16 has 8 bits; Adam's first steps go by signs, so weights may differ by some learning rates.
        assert (value.double() - two[key].double()).abs().max() <= 0.03 * max(1.0, float(value.double().abs().max()))


def test_a_memory_that_ends_in_one_process_ends_the_run():
    """The others are in the middle of the step and cannot be told: no hang, and the line of the one that knows."""
    done = run(2, WORKER.with_name("short_worker.py"), "experiment", "images", *SMALL)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert "numeric/studies/images" not in done.stderr  # no traceback but torchrun's own
    assert [line for line in lines if "out of memory" in line or "memory of cpu" in line] == [
        "error: batch=32: the memory of cpu (process 1 of 2) is too small at step 0; "
        "a smaller one, or more processes, may fit"
    ]


def test_an_input_error_of_all_processes_is_said_once():
    done = run(2, "-m", "numeric", "experiment", "images", *SMALL, "--batch", "33")
    assert done.returncode == 1  # torchrun's own
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert errors == ["error: batch=33 over 2 processes: must be a multiple of their number"]


def test_variables_that_torchrun_did_not_set(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with (
        pytest.raises(InputError, match=r"WORLD_SIZE='2' in the environment: .*RANK.*: must be set by torchrun"),
        processes.processes(torch.device("cpu")),
    ):
        raise AssertionError("not to be begun")


def test_more_processes_than_gpus(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with (
        pytest.raises(OneProcessError, match=r"process 2 of this machine \(from 0\): must have a GPU of its own of 2"),
        processes.processes(torch.device("cuda")),
    ):
        raise AssertionError("not to be begun")


def test_one_process_of_a_machine_speaks(monkeypatch, capsys):
    from hltm.base.command import guarded, typer

    def application(error):
        app = typer.Typer(add_completion=False)

        @app.command()
        def command():
            def job():
                raise error

            return job

        return app

    monkeypatch.setattr("sys.argv", ["program"])
    for rank, error, said in (("0", InputError, True), ("1", InputError, False), ("1", OneProcessError, True)):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert guarded(application(error("x=1: must be 2")), "program") == 2
        assert capsys.readouterr().err == ("error: x=1: must be 2\n" if said else "")


def test_one_of_the_processes_writes(folders):
    assert (folders[1] / "run" / "state.json").exists()


def test_a_batch_is_shared_out_evenly(monkeypatch):
    monkeypatch.setattr(processes, "rank_and_size", lambda: (1, 3))
    assert processes.own_part(9) == slice(3, 6)
    with pytest.raises(InputError, match="batch=8 over 3 processes"):
        processes.own_part(8)
