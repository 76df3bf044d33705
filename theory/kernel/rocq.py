"""The compiler of the proof assistant: what it accepts of the theorems and of exported identities, on what axioms.

A file is accepted where the compiler ends with exit status 0; a theorem also needs the axioms that
``Print Assumptions`` names to be among `ALLOWED`. Nothing else is read from what the compiler prints. Results are kept
by the SHA-256 of the file, of the checker and of the version of the compiler; `record.json` holds those of the machine
that tested a release.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from hltm.base.atomic import reason, write
from hltm.base.errors import InputError
from hltm.base.progress import SILENT, Progress

if TYPE_CHECKING:
    from theory.kernel.export import Exported

HERE = Path(__file__).parent
CHECKER = ("Reflect.v", "ReflectReals.v", "ReflectField.v")
SOUND = (
    "Reflect.polynomial_identity", "Reflect.taylor_identity", "ReflectReals.real_identity",
    "ReflectReals.polynomial_derivative", "ReflectReals.taylor_derivative", "ReflectField.field_identity",
    "ReflectField.gradient_identity",
)  # fmt: skip
"""The theorems that make the checker sound."""
RECORD = "record.json"
COMPILER = "COVOP_ROCQ"  # the compiler in place of those on the path; empty for none
KEPT = ("accepted", "rejected")
FALSE = "Unable to unify"  # what the compiler says of a lemma whose computation ends in false
COMPLETE = "complete"  # a file that is written last
LIMIT = 600.0
"""Seconds that the compiler may take for one file."""
INSTALL = "apt-get install coq libcoq-mathcomp-algebra libcoq-mathcomp-algebra-tactics libcoq-coquelicot"
ALLOWED = frozenset(
    {
        "ClassicalDedekindReals.sig_not_dec",
        "ClassicalDedekindReals.sig_forall_dec",
        "FunctionalExtensionality.functional_extensionality_dep",
        "Classical_Prop.classic",
    }
)
"""Axioms of the real numbers of Coq's standard library, of function extensionality and of classical logic."""

HEADINGS = ("Axioms:", "Closed under the global context")
Status = Literal["accepted", "rejected", "timeout", "failed"]
"""Rejected is said of a file that the compiler has read and found wrong; failed of anything else that went wrong."""


@dataclass(frozen=True)
class Compiler:
    """A compiler: the words that start it, and its version."""

    command: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Outcome:
    """What the compiler said of a file: status, seconds, the end of its message, and its version."""

    status: Status
    seconds: float
    detail: str
    version: str


@cache
def compiler() -> Compiler | None:
    """The compiler on the path: ``coqc``, or ``rocq compile`` from version 9 on; or the one that COVOP_ROCQ names."""
    chosen = os.environ.get(COMPILER)
    known = (("coqc", ()), ("rocq", ("compile",)))
    for name, words in known if chosen is None else ((chosen, known[Path(chosen).name.startswith("rocq")][1]),):
        path = shutil.which(name) if name else None
        if path is None:
            continue
        with suppress(OSError, subprocess.SubprocessError):
            asked = subprocess.run(  # noqa: S603
                [path, "--print-version"], capture_output=True, text=True, timeout=60, check=True
            )
            if version := re.match(r"\d+\.\d+[\w.+]*", asked.stdout):
                return Compiler((path, *words), version[0])
    return None


def modules() -> list[str]:
    """The files of the theorems, each after those it needs, as ``_CoqProject`` lists them."""
    lines = (HERE / "_CoqProject").read_text(encoding="utf-8").split()
    return [line for line in lines if line.endswith(".v")]


def digest(parts: Iterable[str]) -> str:
    """SHA-256 of texts, each with its length."""
    result = hashlib.sha256()
    for part in parts:
        content = part.encode()
        result.update(f"{len(content)}\n".encode() + content)
    return result.hexdigest()


@cache
def sources(names: tuple[str, ...]) -> str:
    """SHA-256 of files of this folder."""
    return digest((HERE / name).read_text(encoding="utf-8") for name in names)


def key_of(text: str) -> str:
    """The key of an exported file: it changes with the file and with the checker."""
    return digest((sources(CHECKER), text))


def theorems_key() -> str:
    """The key of all theorems."""
    return digest((sources(tuple(modules())), assumptions(), *sorted(ALLOWED)))


def assumptions() -> str:
    """A file that prints the axioms of every theorem that a statement, or the checker, names."""
    from theory.kernel.theorems import THEOREMS

    named = [f"{one.file}.{one.name}" for covered in THEOREMS.values() for one in covered.theorems]
    names = list(dict.fromkeys([*named, *SOUND]))
    files = dict.fromkeys(name.split(".")[0] for name in names)
    lines = [f"From Covop Require {' '.join(files)}.", *(f"Print Assumptions {name}." for name in names)]
    return "\n".join(lines) + "\n"


def cache_folder() -> Path | None:
    """Where results are kept; None where nothing can be written."""
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = base / "covop" / "kernel"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # no home
        return None
    return folder if os.access(folder, os.W_OK) else None


@cache
def scratch() -> Path:
    """A folder for compiled modules that ends with the process, where nothing can be kept."""
    folder = tempfile.mkdtemp(prefix="covop-kernel-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def known(key: str, version: str) -> Outcome | None:
    """A result of an earlier run of this version on this machine."""
    folder = cache_folder()
    if folder is None:
        return None
    try:
        found = Outcome(**json.loads((folder / f"{key}-{version}.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return found if found.status in KEPT and found.version == version else None


def keep(key: str, outcome: Outcome) -> None:
    """Keep a result for later runs; what the compiler did not decide is tried again."""
    folder = cache_folder()
    if folder is not None and outcome.status in KEPT:
        with suppress(InputError):
            write(folder / f"{key}-{outcome.version}.json", json.dumps(asdict(outcome)).encode())


@cache
def recorded() -> Mapping[str, str]:
    """What the release was tested with: the key of all theorems, and the version of the compiler that accepted them."""
    try:
        found = json.loads((HERE / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(version) for key, version in found.items()}


def compile_file(found: Compiler, folder: Path, name: str, library: Path, limit: float = LIMIT) -> Outcome:
    """Compile one file of a folder, with the compiled modules of a library."""
    start = time.monotonic()
    words = [*found.command, "-q", "-w", "none", "-Q", str(library), "Covop", name]
    try:
        ended = subprocess.run(  # noqa: S603
            words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return Outcome("timeout", limit, f"{name}: not decided within {limit:g} s", found.version)
    seconds = time.monotonic() - start
    if ended.returncode == 0:
        return Outcome("accepted", seconds, ended.stdout, found.version)
    message = " ".join((ended.stderr or ended.stdout).split())
    # 1 is the compiler's own verdict; it may still be about a module that is missing, or about memory.
    false = ended.returncode == 1 and FALSE in message
    detail = f"{name}: {message[-400:] or f'ended with code {ended.returncode}'}"
    return Outcome("rejected" if false else "failed", seconds, detail, found.version)


def library(found: Compiler, names: Sequence[str]) -> tuple[Path, Outcome]:
    """The compiled modules in a folder that is made once: complete, or not there."""
    base = cache_folder() or scratch()
    target = base / f"library-{sources(tuple(names))[:24]}-{found.version}"
    if whole(target, names):
        return target, Outcome("accepted", 0.0, "", found.version)
    work = Path(tempfile.mkdtemp(prefix="library-", dir=base))
    start = time.monotonic()
    try:
        for name in names:
            shutil.copyfile(HERE / name, work / name)
        failed = next((one for one in _compiled(found, work, names) if one.status != "accepted"), None)
        if failed is not None:
            return work, failed
        (work / COMPLETE).touch()
        if target.is_dir() and not whole(target, names):
            shutil.rmtree(target, ignore_errors=True)
        with suppress(OSError):  # another process was faster
            work.rename(target)
        return target, Outcome("accepted", time.monotonic() - start, "", found.version)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def whole(folder: Path, names: Sequence[str]) -> bool:
    """Whether every file is compiled in a folder, and the last step was taken."""
    return (folder / COMPLETE).is_file() and all((folder / name).with_suffix(".vo").is_file() for name in names)


def _compiled(found: Compiler, folder: Path, names: Sequence[str]) -> Iterator[Outcome]:
    """Compile files on all cores, each when those it needs are compiled; a failure ends it."""
    order = TopologicalSorter({name: needed(name) & set(names) for name in names})
    order.prepare()
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        running: dict[Future[Outcome], str] = {}
        while order.is_active():
            running |= {pool.submit(compile_file, found, folder, name, folder): name for name in order.get_ready()}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                outcome = future.result()
                yield outcome
                if outcome.status != "accepted":
                    return
                order.done(running.pop(future))


@cache
def needed(name: str) -> set[str]:
    """The files of this folder that a file requires."""
    text = (HERE / name).read_text(encoding="utf-8")
    lines = re.findall(r"^From Covop Require (?:Import |Export )?([\w\s]+)\.", text, re.MULTILINE)
    return {f"{word}.v" for line in lines for word in line.split()}


def check_text(found: Compiler, text: str, limit: float = LIMIT) -> Outcome:
    """What the compiler says of an exported file, from an earlier run where there is one."""
    key = key_of(text)
    outcome = known(key, found.version)
    if outcome is None:
        place, outcome = library(found, CHECKER)
        if outcome.status == "accepted":
            with tempfile.TemporaryDirectory(prefix="covop-kernel-") as folder:
                Path(folder, "Exported.v").write_text(text, encoding="utf-8")
                outcome = compile_file(found, Path(folder), "Exported.v", place, limit)
            keep(key, outcome)
    return outcome


def check_theorems(found: Compiler) -> Outcome:
    """Compile all theorems and hold their axioms against `ALLOWED`; from an earlier run where there is one."""
    key = theorems_key()
    outcome = known(key, found.version)
    if outcome is None:
        place, outcome = library(found, modules())
        if outcome.status == "accepted":
            with tempfile.TemporaryDirectory(prefix="covop-kernel-") as folder:
                Path(folder, "Assumptions.v").write_text(assumptions(), encoding="utf-8")
                printed = compile_file(found, Path(folder), "Assumptions.v", place)
            outcome = with_axioms(printed, outcome.seconds)
            keep(key, outcome)
    return outcome


def with_axioms(printed: Outcome, seconds: float) -> Outcome:
    """The outcome of all theorems, from what ``Print Assumptions`` printed of each."""
    if printed.status != "accepted":
        return printed
    axioms = axioms_of(printed.detail)
    total = seconds + printed.seconds
    strange = sorted(axioms - ALLOWED)
    if strange:
        return Outcome("failed", total, f"the axiom {strange[0]} is not allowed", printed.version)
    told = sum(line in HEADINGS for line in printed.detail.splitlines())
    if told != (count := assumptions().count("Print Assumptions")):
        return Outcome("failed", total, f"the axioms of {told} of {count} theorems were printed", printed.version)
    return Outcome("accepted", total, ", ".join(sorted(axioms)), printed.version)


def axioms_of(printed: str) -> set[str]:
    """Names that ``Print Assumptions`` printed: what begins a line, but for its two headings."""
    lines = (line for line in printed.splitlines() if line and not line[0].isspace())
    return {line.split()[0] for line in lines if line not in HEADINGS}


@dataclass(frozen=True)
class Listed:
    """An exported file without its text: name, key, and how many lemmas, derivatives among them, it has and lacks."""

    name: str
    key: str
    lemmas: int
    derivatives: int
    left_out: int
    divided: bool

    @classmethod
    def of(cls, exported: Exported) -> Listed:
        """What is listed of a file."""
        derivatives = sum(lemma.kind.startswith("derivative") for lemma in exported.lemmas)
        divided = any("rational" in lemma.kind for lemma in exported.lemmas)
        count, left = len(exported.lemmas), len(exported.left_out)
        return cls(exported.name, key_of(exported.text), count, derivatives, left, divided)


def listed(slug: str) -> list[Listed]:
    """The exported files of a statement; derived anew only where `theory` or SymPy has changed since the last time."""
    import sympy

    packages = (HERE.parent, HERE.parent.parent / "hltm")
    code = [path.read_text(encoding="utf-8") for package in packages for path in sorted(package.rglob("*.py"))]
    key = digest((sources(CHECKER), sympy.__version__, slug, *code))
    folder = cache_folder()
    place = folder / f"files-{key}.json" if folder else None
    if place is not None:
        with suppress(OSError, ValueError, TypeError):
            return [Listed(**row) for row in json.loads(place.read_text(encoding="utf-8"))]
    from theory.kernel.export import exports

    rows = [Listed.of(one) for one in exports(slug)]
    if place is not None:
        with suppress(InputError):
            write(place, json.dumps([asdict(row) for row in rows]).encode())
    return rows


@dataclass(frozen=True)
class Row:
    """A file, or all theorems together: a name, what it says, its key and its outcome."""

    name: str
    says: str
    key: str
    outcome: Outcome


def all_files(found: Compiler, progress: Progress = SILENT) -> list[Row]:
    """All theorems, and the identities of every statement at their default sizes."""
    from theory.kernel.export import exports
    from theory.registry import PACKS, STATEMENTS

    progress.step("compiling the theorems")
    outcome = check_theorems(found)
    axioms = f"; axioms: {outcome.detail}" if outcome.status == "accepted" else f"; {outcome.detail}"
    rows = [Row("theorems", f"{len(modules())} files{axioms}", theorems_key(), outcome)]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        files = []
        for slug in (*STATEMENTS, *PACKS):
            progress.step(f"identities of {slug}")
            files += [(one, pool.submit(check_text, found, one.text)) for one in exports(slug)]
        progress.step("compiling the identities")
        for exported, future in files:
            outcome = future.result()
            says = counted(len(exported.lemmas)) if outcome.status == "accepted" else outcome.detail
            rows.append(Row(exported.name, says, key_of(exported.text), outcome))
    return rows


def counted(lemmas: int) -> str:
    """A number of lemmas."""
    return f"{lemmas} lemma{'' if lemmas == 1 else 's'}"


def files_of(found: Compiler, folder: Path, progress: Progress = SILENT) -> list[Row]:
    """The files of a folder, by their names."""
    from theory.kernel.export import lemmas_of

    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".v" and path.is_file())
    except (OSError, ValueError) as error:
        raise InputError(f"folder {str(folder)!r}: cannot be read: {reason(error)}") from None
    if not paths:
        raise InputError(f"folder {str(folder)!r}: has no file of the suffix .v")
    texts = {}
    for path in paths:
        try:
            texts[path] = path.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise InputError(f"file {str(path)!r}: cannot be read: {reason(error)}") from None
    counts = {path: len(lemmas_of(text, str(path))) for path, text in texts.items()}
    rows = []
    for path, text in texts.items():
        progress.step(f"compiling {path.name}")
        outcome = check_text(found, text)
        says = counted(counts[path]) if outcome.status == "accepted" else outcome.detail
        rows.append(Row(path.name, says, key_of(text), outcome))
    return rows


def as_record(row: Row) -> str:
    """The key of all theorems with the compiler that accepted them, as JSON."""
    return json.dumps({"compiler": row.outcome.version, "theorems": row.key}, indent=1) + "\n"
