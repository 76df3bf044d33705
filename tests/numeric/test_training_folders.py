"""Run folders: damaged, of another run, in use, or not to be written; and a device that is lost."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import hltm
from hltm.base.errors import InputError
from numeric import TreeNetwork, train
from numeric.training.loop import Records, _lost

TREE = hltm.complete_tree(2, 2, 0.8)


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


@pytest.mark.parametrize("name", ["step-0000000020", "record-0000000000", "record-0000000020"])
@pytest.mark.parametrize("damage", ["cut", "empty", "garbled", "one bit", "missing", "another"])
def test_damaged_tensors_are_refused(folder, name, damage):
    path, rule = folder / f"{name}.safetensors", "must be the file that a run wrote"
    data, said = path.read_bytes(), f"{path}: sha256 is not that of state.json: {rule}"
    if damage == "missing":
        path.unlink()
        said = f"{path}: No such file or directory: {rule}"
    elif damage == "another":
        save_file({name: block.double() + 1 for name, block in load_file(path).items()}, path)
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
    rewritten(folder, tensors=tensors_of(folder).name, records=["0"])
    with refused(f"{path}: records: must be one hash for each of the steps"):
        train(network(), TREE, checkpoint_dir=folder, **SETTINGS)
    rewritten(folder, version=1)
    with refused(f"{path}: version 1: must be 2"):
        train(network(), TREE, checkpoint_dir=folder, **SETTINGS)


OTHERS = {
    "tree": ({"tree": hltm.complete_tree(2, 2, 0.7)}, {}, "trees"),
    "shape": ({"width": 4}, {}, "shapes"),
    "weights": ({"seed": 2}, {}, "weights"),
    "members": ({"ensemble": 2}, {}, "shapes"),
    "dtype": ({"dtype": torch.float32}, {}, "dtype"),
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


def sized():
    return lambda here, step: {"size": here.parameters[0].square().sum((1, 2, 3))}


@pytest.mark.parametrize("until", [10, 20])
def test_another_measure_is_refused_before_training(tmp_path, until):
    """Cut short or finished: names and shapes are those of the checkpoint, and the refusal changes nothing."""

    class CutError(Exception):
        pass

    def cut(step, loss):
        if step == until:
            raise CutError

    with pytest.raises(CutError):
        train(network(), checkpoint_dir=tmp_path, measure=sized(), progress=cut, **SETTINGS)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    others = [
        (None, "{}"),
        (lambda here, step: {"other": torch.ones(1)}, '{"other": [1]}'),
        (lambda here, step: {"size": torch.ones(1, 2)}, '{"size": [1, 2]}'),
    ]
    for other, shapes in others:
        rule = f"must be {shapes}, as asked for now; use another folder"
        with refused(f'run folder {tmp_path}: measure {{"size": [1]}} of its checkpoint: {rule}'):
            train(network(), checkpoint_dir=tmp_path, measure=other, **SETTINGS)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    found = train(network(), checkpoint_dir=tmp_path, measure=sized(), **SETTINGS)
    assert torch.equal(found.measured["size"], train(network(), measure=sized(), **SETTINGS).measured["size"])


@pytest.mark.parametrize("keep", [True, False])
def test_a_record_is_written_once(tmp_path, keep):
    """What is written at a record does not grow with their number; all of them are there at the end."""
    written = {}

    def look(step, loss):
        for path in tmp_path.glob("*.safetensors"):
            written.setdefault(path.name, set()).add((path.stat().st_mtime_ns, path.stat().st_ino, path.stat().st_size))

    settings = SETTINGS | {"record_every": 1, "keep_networks": keep}
    train(network(), checkpoint_dir=tmp_path, progress=look, **settings)
    assert all(len(seen) == 1 for seen in written.values())
    names = {f"{kind}-{step:010d}.safetensors" for kind in ("record", "step") for step in range(21)}
    assert written.keys() == names
    for kind in ("record", "step"):
        sizes = {size for name, seen in written.items() if name.startswith(kind) for _, _, size in seen}
        assert max(sizes) - min(sizes) <= 100
    left = {path.name for path in tmp_path.glob("*.safetensors")}
    assert left == {name for name in names if name.startswith("record")} | {"step-0000000020.safetensors"}


def test_what_a_killed_process_left_is_removed_and_nothing_else(folder):
    own = ["record-0000000030.safetensors", "step-0000000010.safetensors", "step-0000000030.safetensors.part"]
    own += ["state.json.part", "metrics.jsonl.part"]
    others = ["record-of-mine.safetensors", "notes.part"]
    for name in [*own, *others]:
        (folder / name).write_text("x")
    train(network(), TREE, checkpoint_dir=folder, **SETTINGS)
    left = {path.name for path in folder.iterdir()}
    assert not left & set(own)
    assert set(others) <= left


def test_a_folder_where_the_metrics_should_be(tmp_path):
    (tmp_path / "metrics.jsonl").mkdir()
    with refused(f"run folder {tmp_path}: Is a directory: must be a folder that can be written"):
        train(network(), checkpoint_dir=tmp_path, **SETTINGS)


def test_a_disk_that_is_full_while_metrics_are_written(tmp_path):
    def fill(step, loss):
        if step == 0:
            (tmp_path / "metrics.jsonl").unlink()
            (tmp_path / "metrics.jsonl").symlink_to("/dev/full")

    with refused(f"run folder {tmp_path}: No space left on device: must be a folder that can be written"):
        train(network(), checkpoint_dir=tmp_path, progress=fill, **SETTINGS)
    again = train(network(), checkpoint_dir=tmp_path, **SETTINGS)
    assert torch.equal(again.losses, train(network(), **SETTINGS).losses)


def test_a_broken_tensorboard_is_gone_without(tmp_path):
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "tensorboard" / "__init__.py").write_text("raise ImportError('broken')")
    code = (
        "import sys, hltm; from numeric import TreeNetwork, train; "
        "train(TreeNetwork(hltm.complete_tree(2, 2, 0.8), 3), steps=2, batch=2, checkpoint_dir=sys.argv[1])"
    )
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "run")], check=True, env=environment, timeout=120)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3


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
