"""The folder and the zip of a report: nothing of others is overwritten, nothing is half written, sums agree."""

import hashlib
import io
import json
import zipfile

import pytest

from hltm.base.errors import InputError
from verify.report import folder as report_folder
from verify.report.folder import bundle, check_bundle, check_bundle_target, check_free, publish, recorded, write_bundle

FILES = {
    "index.html": b"<p>first</p>",
    "report.json": b"{}",
    "figures/a.svg": b"<svg/>",
    "counterexamples/square--x.json": b"{}",
}
ABOUT = {"seed": 0}
SLUGS = ("square",)


def listed(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path):
    publish(tmp_path, FILES, ABOUT)
    return tmp_path


def test_the_manifest_lists_every_file_with_its_sum(folder):
    found = listed(folder)
    data = json.loads(found.pop("manifest.json"))
    assert found == FILES
    assert data["seed"] == 0
    assert data["files"] == {
        name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)} for name, content in FILES.items()
    }


def test_a_second_report_replaces_the_first_and_removes_what_is_stale(folder):
    (folder / "notes.txt").write_text("mine")
    (folder / "figures" / "notes.txt").write_text("mine")
    check_free(folder, SLUGS)
    publish(folder, {"index.html": b"second"}, ABOUT)
    found = listed(folder)
    found.pop("manifest.json")
    assert found == {"index.html": b"second", "notes.txt": b"mine", "figures/notes.txt": b"mine"}
    assert not (folder / "counterexamples").exists()


def test_what_was_stale_and_changed_stays(folder):
    (folder / "figures" / "a.svg").write_bytes(b"changed")
    publish(folder, {"index.html": b"second"}, ABOUT)
    assert (folder / "figures" / "a.svg").read_bytes() == b"changed"


@pytest.mark.parametrize(
    "name",
    [
        "index.html",
        "report.json",
        "report.tex",
        "report.pdf",
        "variants.json",
        "counterexamples/square--y.json",
        "figures/b.svg",
    ],
)
def test_a_file_of_somebody_else_is_refused_and_named(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match=rf"{name}.*is not of a report"):
        check_free(tmp_path, SLUGS)
    assert listed(tmp_path) == {name: b"mine"}


@pytest.mark.parametrize("name", list(FILES))
def test_a_file_that_was_changed_is_refused_and_named(folder, name):
    (folder / name).write_text("edited")
    with pytest.raises(InputError, match=rf"{name}.*was changed"):
        check_free(folder, SLUGS)
    before = listed(folder)
    with pytest.raises(InputError, match="was changed"):
        publish(folder, {**FILES, "index.html": b"second"}, ABOUT)
    assert listed(folder) == before


def test_files_of_others_beside_the_report_do_not_matter(tmp_path):
    for name in ("paper.tex", "counterexamples/other--x.json", "figures/readme.txt", "index.htm"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    check_free(tmp_path, SLUGS)
    publish(tmp_path, FILES, ABOUT)
    assert all((tmp_path / name).read_text() == "mine" for name in ("paper.tex", "counterexamples/other--x.json"))


@pytest.mark.parametrize("content", ["{}", "[]", "not JSON", '{"files": {}}', '{"tool": "covop experiment"}'])
def test_a_manifest_of_somebody_else_is_refused(tmp_path, content):
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(InputError, match=r"manifest\.json"):
        check_free(tmp_path, SLUGS)


def test_a_forged_manifest_names_no_file_outside(tmp_path):
    outside = tmp_path / "outside.txt"
    outside.write_bytes(b"x")
    folder = tmp_path / "report"
    folder.mkdir()
    sums = {"sha256": hashlib.sha256(b"x").hexdigest()}
    names = ("../outside.txt", str(outside), "figures/../../outside.txt", "figures/../x", "notes.txt")
    manifest = {"schema": 1, "tool": report_folder.TOOL, "files": dict.fromkeys(names, sums)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "notes.txt").write_bytes(b"x")
    assert recorded(folder) == {}
    publish(folder, FILES, ABOUT)
    assert outside.exists()
    assert (folder / "notes.txt").exists()


@pytest.mark.parametrize("name", ["index.html", "manifest.json", "figures", "counterexamples", "figures/a.svg"])
def test_links_are_not_followed(tmp_path, name):
    target = tmp_path / "target"
    folder = tmp_path / "report"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    if "." in name:
        target.write_text("mine")
    else:
        target.mkdir()
    (folder / name).symlink_to(target)
    with pytest.raises(InputError, match=name):
        check_free(folder, SLUGS)
    with pytest.raises(InputError, match=name):
        publish(folder, FILES, ABOUT)
    assert (target.read_text() == "mine") if target.is_file() else list(target.iterdir()) == []


@pytest.mark.parametrize("number", range(6))
def test_a_full_disk_leaves_the_earlier_report_as_it_was(folder, monkeypatch, number):
    before = listed(folder)
    real, calls = report_folder.write, []

    def full(path, content):
        calls.append(path)
        if len(calls) == number + 1:
            raise InputError(f"path={str(path)!r}: cannot be written: No space left on device")
        real(path, content)

    monkeypatch.setattr(report_folder, "write", full)
    with pytest.raises(InputError, match="No space left"):
        publish(folder, {**FILES, "index.html": b"second"}, ABOUT)
    assert listed(folder) == before
    assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]


def test_a_report_that_was_stopped_between_two_files_can_be_written_again(folder, monkeypatch):
    from pathlib import Path

    real, calls = Path.replace, []

    def stopped(self, target):
        if not str(self).endswith(".tmp") and self.parent != folder:
            calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, target)

    second = {**FILES, "index.html": b"second", "report.json": b"[]", "figures/a.svg": b"<svg></svg>"}
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stopped)
        with pytest.raises(KeyboardInterrupt):
            publish(folder, second, ABOUT)
    assert (folder / "index.html").read_bytes() == FILES["index.html"], "the page comes last"
    check_free(folder, SLUGS)
    publish(folder, second, ABOUT)
    found = listed(folder)
    found.pop("manifest.json")
    assert found == second


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "figures").write_text("mine")
    with pytest.raises(InputError, match="figures"):
        check_free(tmp_path, SLUGS)


def test_a_bundle_is_the_same_each_time_and_its_sums_agree(tmp_path):
    path = tmp_path / "report.zip"
    write_bundle(path, FILES, ABOUT)
    first = path.read_bytes()
    check_bundle_target(path)
    write_bundle(path, dict(reversed(FILES.items())), ABOUT)
    assert path.read_bytes() == first
    assert set(check_bundle(path)["files"]) == set(FILES)
    with zipfile.ZipFile(path) as archive:
        assert {entry.filename for entry in archive.infolist()} == {*FILES, "manifest.json"}
        assert {entry.date_time[0] for entry in archive.infolist()} == {1980}


def changed(files, drop=()):
    """The bytes of a bundle with some files put in or left out, the manifest as it was."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bundle(FILES, ABOUT))) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            if name not in drop and name not in files:
                new.writestr(name, old.read(name))
        for name, content in files.items():
            new.writestr(name, content)
    return made.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed({"index.html": b"<p>other</p>"}), "'index.html' is not as the manifest says"),
        (changed({"figures/extra.svg": b""}), "'figures/extra.svg' is not in the manifest"),
        (changed({}, drop=("report.json",)), "'report.json' is missing"),
        (changed({}, drop=("manifest.json",)), "'manifest.json' is missing"),
        (changed({"../index.html": b""}), "is not one of a report"),
        (changed({"/etc/passwd": b""}), "is not one of a report"),
        (changed({"manifest.json": b"{}"}), "is not of a report"),
        (changed({"manifest.json": b"\xff"}), "cannot be read"),
        (changed({"manifest.json": b"[" * 100_000}), "cannot be read"),
        (b"no zip", "cannot be read"),
        (b"", "cannot be read"),
    ],
    ids=[
        "changed",
        "unlisted",
        "missing",
        "no manifest",
        "traversal",
        "absolute",
        "foreign",
        "bytes",
        "deep",
        "text",
        "empty",
    ],
)
def test_a_bundle_that_is_not_as_listed(tmp_path, content, said):
    path = tmp_path / "report.zip"
    path.write_bytes(content)
    with pytest.raises(InputError, match=said):
        check_bundle(path)
    with pytest.raises(InputError, match=r"report\.zip.*is not overwritten"):
        check_bundle_target(path)
    assert path.read_bytes() == content


def test_a_zip_that_unpacks_to_too_much(tmp_path, monkeypatch):
    monkeypatch.setattr("verify.report.folder.BYTES", 10**6)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("index.html", b"0" * 10**7)
    with pytest.raises(InputError, match="at most"):
        check_bundle(tmp_path / "bomb.zip")


def test_a_bundle_is_not_written_through_a_link(tmp_path):
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link.zip").symlink_to(tmp_path / "target")
    with pytest.raises(InputError, match=r"link\.zip"):
        check_bundle_target(tmp_path / "link.zip")
    with pytest.raises(InputError, match=r"link\.zip"):
        write_bundle(tmp_path / "link.zip", FILES, ABOUT)
    assert (tmp_path / "target").read_text() == "mine"
