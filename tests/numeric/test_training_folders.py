"""Run folders: damaged, of another run, in use, or not to be written; and a device that is lost."""

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import hltm
from hltm.errors import InputError
from numeric import TreeNetwork, train
from numeric.records import Records, _lost

TREE = hltm.complete_tree(2, 2, 0.8)


@pytest.fixture(autouse=True)
def one_thread():
    """Products are small: a second thread would only wait, for as long as another process holds its core."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def refused(message):
    return pytest.raises(InputError, match=f"^{re.escape(message)}$")


def network(**arguments):
    return TreeNetwork(**({"tree": TREE, "width": 3, "seed": 1} | arguments))


SETTINGS = {"batch": 4, "steps": 20, "record_every": 10, "lr": 0.05}


@pytest.fixture
def folder(tmp_path):
    """A finished run."""
    train(network(), TREE, checkpoint_dir=tmp_path / "run", **SETTINGS)
    return tmp_path / "run"


def tensors_of(folder):
    return folder / "step-0000000020.safetensors"


def rewritten(folder, **changes):
    path = folder / "state.json"
    state = json.loads(path.read_text())
    path.write_text(json.dumps(state | changes))


@pytest.mark.parametrize("damage", ["cut", "empty", "garbled", "one bit", "missing", "another"])
def test_damaged_tensors_are_refused(folder, damage):
    path, rule = tensors_of(folder), "must be the file that a run wrote"
    data, said = path.read_bytes(), f"{path}: sha256 is not that of state.json: {rule}"
    if damage == "missing":
        path.unlink()
        said = f"{path}: No such file or directory: {rule}"
    elif damage == "another":
        save_file({name: block + 1 for name, block in load_file(path).items()}, path)
    else:
        flipped = data[:-1] + bytes([data[-1] ^ 1])
        path.write_bytes({"cut": data[:-100], "empty": b"", "garbled": b"x" * len(data), "one bit": flipped}[damage])
    with refused(said):
        train(network(), TREE, checkpoint_dir=folder, **SETTINGS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (lambda text: text[:50], "JSONDecodeError"),
        (lambda text: "", "JSONDecodeError"),
        (lambda text: "[1, 2]", "list"),
        (lambda text: "[" * 100_000, "RecursionError"),
        (lambda text: "\ud800", None),
    ],
    ids=["cut", "empty", "list", "deep", "bytes"],
)
def test_damaged_state_is_refused(folder, text, found):
    path = folder / "state.json"
    if found is None:
        path.write_bytes(b"{\xff}")
        found = "UnicodeDecodeError"
    else:
        path.write_text(text(path.read_text()))
    with refused(f"{path}: {found}: must be the JSON object that a run wrote"):
        train(network(), TREE, checkpoint_dir=folder, **SETTINGS)


def test_state_of_another_version_or_with_impossible_contents(folder):
    path = folder / "state.json"
    for changes in (
        {"steps": [0, 10]},
        {"steps": []},
        {"steps": [0, 20, 10, 20]},
        {"steps": [0.0, 20]},
        {"steps": "0"},
        {"step": 10},
        {"active": [0, 1]},
        {"active": []},
        {"active": None},
        {"failures": [[0, 1]]},
        {"failures": [[0, 1, 1]]},
        {"failures": 3},
    ):
        kept = path.read_text()
        rewritten(folder, **changes)
        with refused(f"{path}: steps, active or failures: must be those of a run of 1 members and 20 steps"):
            train(network(), TREE, checkpoint_dir=folder, **SETTINGS)
        path.write_text(kept)
    rewritten(folder, tensors="../other")
    with refused(f"{path}: tensors='../other': must be the name of a file in the same folder"):
        train(network(), TREE, checkpoint_dir=folder, **SETTINGS)
    rewritten(folder, version=2)
    with refused(f"{path}: version 2: must be 1"):
        train(network(), TREE, checkpoint_dir=folder, **SETTINGS)


OTHERS = {
    "tree": ({"tree": hltm.complete_tree(2, 2, 0.7)}, {}, "trees"),
    "shape": ({"width": 4}, {}, "weights"),
    "weights": ({"seed": 2}, {}, "weights"),
    "members": ({"ensemble": 2}, {}, "weights"),
    "dtype": ({"dtype": torch.float32}, {}, "weights"),
    "slope": ({"slope": 0.5}, {}, "slope"),
    "output": ({"output": "normalized"}, {}, "output"),
    "loss": ({}, {"loss": "simple"}, "losses"),
    "tau": ({}, {"tau": 0.2}, "losses"),
    "lr": ({}, {"lr": 0.06}, "lr"),
    "batch": ({}, {"batch": 5}, "batch"),
    "steps": ({}, {"steps": 30}, "steps"),
    "seed": ({}, {"seed": 1}, "seeds"),
    "mode": ({}, {"mode": "exact"}, "mode"),
    "optimizer": ({}, {"optimizer": "adam"}, "optimizer"),
    "record_every": ({}, {"record_every": 5}, "record_every"),
    "keep_networks": ({}, {"keep_networks": False}, "keep_networks"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_checkpoints_of_another_run_are_refused(folder, name):
    made, asked, setting = OTHERS[name]
    before = (folder / "metrics.jsonl").read_bytes()
    with pytest.raises(InputError, match=rf"^run folder {re.escape(str(folder))}: {setting} .* of its checkpoint: must "
                                         r"be .*, as asked for now; use another folder$"):  # fmt: skip
        train(network(**made), checkpoint_dir=folder, **(SETTINGS | asked))
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_a_copied_folder_goes_on(folder, tmp_path):
    """What is in the folder is all that a run needs; nothing in it knows its place."""
    shutil.copytree(folder, tmp_path / "copy")
    first, second = (train(network(), checkpoint_dir=each, **SETTINGS) for each in (folder, tmp_path / "copy"))
    assert torch.equal(first.losses, second.losses)


def test_a_folder_that_another_process_holds(tmp_path):
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "lock")], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as other:  # fmt: skip
        assert other.stdout.readline() == "held\n"
        with refused(f"run folder {tmp_path}: in use by another process; must be free"):
            train(network(), checkpoint_dir=tmp_path, **SETTINGS)
        other.stdin.close()
        other.wait(timeout=30)
    assert not train(network(), checkpoint_dir=tmp_path, **SETTINGS).failures


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "run"
    with refused(f"run folder {below}: Not a directory: must be a folder that can be written"):
        train(network(), checkpoint_dir=below, **SETTINGS)
    with refused(f"run folder {tmp_path / 'file'}: File exists: must be a folder that can be written"):
        train(network(), checkpoint_dir=tmp_path / "file", **SETTINGS)


def test_a_lost_device_is_one_line(tmp_path):
    held, gone = network(), torch.device("meta")  # any device that is not the CPU
    records = Records(held.with_parameters([block.to(gone) for block in held.parameters]), 10, 5, True, None, None)
    records.steps = [0, 5]
    error = RuntimeError("CUDA error: unspecified launch failure\nmore")
    word = "device meta lost after step 5: CUDA error: unspecified launch failure; "
    assert str(_lost(error, records, None)) == word + "no checkpoint was asked for"
    assert str(_lost(error, records, tmp_path)) == word + f"its last checkpoint, of step 5, is in {tmp_path}"
    for other in (RuntimeError("shapes do not go together"), torch.OutOfMemoryError("CUDA out of memory")):
        assert _lost(other, records, None) is other
