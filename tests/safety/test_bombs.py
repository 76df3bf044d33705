"""Files that unpack to very much: refused in one line, in little time and memory. Tree files: tests/hltm/test_hostile_files.py."""

import io
import json
import struct
import subprocess
import sys
import zipfile

import pytest

MIB = 2**20
READER = """
import json, resource, sys, time
from pathlib import Path
from hltm.base.errors import InputError
from verify.report.folder import check_bundle
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
start = time.process_time()
try:
    outcome = ["read", str(check_bundle(Path(sys.argv[1])))]
except InputError as error:
    outcome = ["refused", str(error)]
except BaseException as error:
    outcome = ["failed", repr(error)[:300]]
# ru_maxrss would count the process that started this one, up to exec.
peak = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print(json.dumps([time.process_time() - start, peak, *outcome]))
"""


def zipped(**files):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/").replace("_", "."), content)
    return made.getvalue()


def large():
    """Two thirds of a gigabyte of zeros in two thirds of a megabyte."""
    made = io.BytesIO()
    with (
        zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("index.html", "w") as entry,
    ):
        for _ in range(80):
            entry.write(bytes(8 * MIB))
    return made.getvalue()


def lying():
    """A manifest that says that it has 10 bytes, and has 64 MiB."""
    content = bytearray(zipped(manifest_json=bytes(64 * MIB)))
    for at in range(len(content) - 4):
        if content[at : at + 4] == struct.pack("<L", 64 * MIB):
            content[at : at + 4] = struct.pack("<L", 10)
    return bytes(content)


def many():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for number in range(20_000):
            archive.writestr(f"figures/{number}.svg", b"")
    return made.getvalue()


def overlapping():
    """Many entries of the directory that point to one and the same large content."""
    content = zipped(index_html=bytes(4 * MIB))
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry, count = content[start:end], 1000
    directory = b"".join(
        entry[:28] + struct.pack("<H", 16) + entry[30:46] + f"figures/{i:04}.svg".encode() for i in range(count)
    )
    closing = struct.pack("<4sHHHHLLH", b"PK\x05\x06", 0, 0, count, count, len(directory), start, 0)
    return content[:start] + directory + closing


def nested():
    return zipped(manifest_json=b"[" * MIB)


BOMBS = {
    "large": (large, "at most"),
    "lying": (lying, "cannot be read"),
    "many": (many, "at most"),
    "overlapping": (overlapping, "at most"),
    "nested": (nested, ""),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_zip_bomb_is_refused(name, tmp_path):
    make, said = BOMBS[name]
    path = tmp_path / "bomb.zip"
    path.write_bytes(make())
    assert path.stat().st_size < 8 * MIB
    done = subprocess.run([sys.executable, "-c", READER, str(path)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    seconds, kilobytes, outcome, message = json.loads(done.stdout)
    assert outcome == "refused", message
    assert said in message
    assert "bomb.zip" in message
    assert "\n" not in message
    assert len(message) < 400
    assert seconds < 2
    assert kilobytes < 256 * 1024


def test_what_is_no_file_is_refused(tmp_path):
    for place in (tmp_path, "/dev/null"):
        done = subprocess.run([sys.executable, "-c", READER, str(place)], capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)[2] == "refused", done.stdout
