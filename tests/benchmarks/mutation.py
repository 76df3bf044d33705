"""Mutation testing of our own code: ``python tests/benchmarks/mutation.py [MODULE ...] [--sample N]`` (``make mutation``).

mutmut writes the mutants; they and the tests that reach them run in a copy of the tree that is thrown away. The tests
are collected once, and every mutant gets a fork of that process: nothing is imported or collected again, and nothing
that one mutant leaves behind (caches of SymPy, of ours) reaches the next. Exit code 1 where a part has less than 90 %
killed.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import gc
import json
import os
import pickle
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
from scipy.stats import beta

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hltm", "theory", "numeric", "verify")
BAR = 0.9
"""Share of the mutants of a part that has to be killed."""
NUMERIC = ("connection", "general", "gradient", "losses", "network", "operator", "population", "product")
TESTS = {
    "theory": ["tests/theory"],
    "hltm/exact.py": ["tests/hltm/test_exact.py", "tests/hltm/test_reference_vectors.py"],
    "numeric/towers/connection.py": [f"tests/numeric/test_{name}.py" for name in NUMERIC],
    "numeric/towers/operator.py": [f"tests/numeric/test_{name}.py" for name in NUMERIC],
    "numeric/towers/losses.py": [f"tests/numeric/test_{name}.py" for name in NUMERIC],
    "verify/tolerance/statistics.py": ["tests/verify/test_statistics.py"],
}
"""The parts, and the tests that may kill their mutants; doctests of the modules and `EXAMPLES` come on top."""
EXAMPLES = "tests/test_examples.py"
LEFT_OUT = (
    "test_import_is_light",
    "test_no_attempt",
    "test_every_attempt",
    "test_command_line",
    "test_bad_usage",
    "test_nodes_are_found_as_in_hltm",
    "test_a_pipe_is_refused",
    "test_large_operators_in_symbols_are_refused_at_once",
    "compile",
    "two_gigabytes",
)
"""Tests that start processes or measure time: slow, and on a busy machine they would kill what nobody noticed."""
LAYOUT = {"cli.py", "latex", "paper"}
"""Parts of theory that lay out what is derived; they are mutated where they are named, not as part of `theory`."""
PROSE = re.compile(r"[A-Za-z]{2,}[,;:]? +[a-z]{2,}")
"""A text for a reader: two words with a space between them."""
MEMORY = 12 * 2**30


@dataclass
class Mutant:
    """One mutant: its name (module, function, number), what switches it on, its module, its change, its fate."""

    name: str
    switch: str
    module: str
    change: list[str]
    status: str = "not run"
    killer: str | None = None
    seconds: float = 0.0

    @property
    def function(self) -> str:
        """The key under which mutmut counts the calls of the function."""
        return self.name.rpartition("__mutmut_")[0]

    @property
    def dead(self) -> bool:
        """A test failed, or the tests took five times their CPU time; time on the clock alone kills nothing."""
        return self.status in ("killed", "timeout")


@dataclass
class Reach:
    """Which tests reach a function, and how many seconds each takes."""

    tests: dict[str, set[str]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)
    functions: set[str] = field(default_factory=set)


class Switch:
    """Stands in for mutmut's trampoline, which reads the environment at every call and is slow for short functions."""

    mutant = ""
    calls: set[str] | None = None

    def __call__(self, bodies: dict[str, Any], is_classmethod: bool = False) -> Any:
        """Decorate a function: its calls are counted and go to the mutant that is switched on, or to the original."""

        def decorate(function: Any) -> Any:
            @wraps(function)
            def chosen(*args: Any, **options: Any) -> Any:
                original = bodies["_mutmut_orig"]
                if self.calls is not None:
                    self.calls.add(f"{function.__module__}.{original.__name__.removesuffix('__mutmut_orig')}")
                module, _, name = self.mutant.rpartition(".")
                body = bodies.get(name, original) if module == function.__module__ else original
                if is_classmethod:
                    return getattr(args[0], body.__name__)(*args[1:], **options)
                return body(*args, **options)

            return chosen

        return decorate


SWITCH = Switch()


def part_of(module: str) -> str:
    """The part that a module belongs to."""
    return "theory" if module.startswith("theory/") else module


def is_text(mutation: Any) -> bool:
    """Whether the mutation changes a text for readers and nothing else."""
    import libcst

    node = mutation.original_node
    return isinstance(node, libcst.SimpleString) and PROSE.search(node.value) is not None


def sampled(module: str, numbers: list[int], size: int | None, seed: int) -> set[int]:
    """A seeded sample of a module's mutants; it depends on no other module."""
    draw = random.Random(f"{seed} {module}")
    return set(numbers if size is None else draw.sample(numbers, min(size, len(numbers))))


def write_mutants(
    copy: Path, module: str, size: int | None, seed: int, again: set[str] | None
) -> tuple[list[Mutant], int, int]:
    """Write the module with the chosen mutants into the copy; return them, the number of all, and that of the texts."""
    import libcst
    from mutmut.mutation.file_mutation import combine_mutations_to_source, create_mutations
    from mutmut.mutation.trampoline_templates import mangle_function_name

    path = copy / module
    tree, mutations, classes, functions = create_mutations(module, path.read_text())
    owner = {}
    for statement in tree.body:
        if isinstance(statement, libcst.FunctionDef):
            owner[statement] = mangle_function_name(name=statement.name.value, class_name=None)
        elif isinstance(statement, libcst.ClassDef) and isinstance(statement.body, libcst.IndentedBlock):
            for method in statement.body.body:
                if isinstance(method, libcst.FunctionDef):
                    owner[method] = mangle_function_name(name=method.name.value, class_name=statement.name.value)
    count: dict[str, int] = defaultdict(int)
    known, texts = [], 0
    for mutation in mutations:
        if (place := mutation.contained_by_top_level_function) in owner:
            count[owner[place]] += 1
            texts += is_text(mutation)
            if not is_text(mutation):
                known.append((mutation, owner[place], count[owner[place]]))
    kept = sampled(module, list(range(len(known))), size, seed)
    dotted = module[:-3].replace("/", ".")
    chosen = [
        (mutation, name, f"{dotted}.{name}__mutmut_{number}")
        for index, (mutation, name, number) in enumerate(known)
        if index in kept and (again is None or f"{dotted}.{name}__mutmut_{number}" in again)
    ]
    code = combine_mutations_to_source(tree, [mutation for mutation, _, _ in chosen], classes, functions).code
    path.write_text(code)
    bodies: dict[str, list[str]] = {}
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name:
            key, node.name = node.name, node.name.rpartition("__mutmut_")[0]
            bodies[key] = ast.unparse(node).splitlines()
    found, number = [], defaultdict(int)
    for _, name, public in chosen:
        number[name] += 1
        switch = f"{name}__mutmut_{number[name]}"
        lines = difflib.unified_diff(bodies[f"{name}__mutmut_orig"], bodies[switch], lineterm="", n=0)
        change = [line for line in lines if line[:2] not in ("--", "++", "@@")]
        found.append(Mutant(public, f"{dotted}.{switch}", module, change))
    return found, len(known), texts


class Runner:
    """A pytest plugin: in the place of the tests it runs the mutants, each in a fork, with the tests that reach it."""

    def __init__(self, mutants: list[Mutant], jobs: int, budget: float, log: Path | None, kept: Path | None) -> None:
        self.mutants, self.jobs, self.budget, self.log, self.kept = mutants, jobs, budget, log, kept
        self.items: dict[str, Any] = {}
        self.reach = Reach()
        self.failure = False
        self.good: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def pytest_configure(self) -> None:
        """The same examples for every mutant, and no deadline: the machine may be busy."""
        import hypothesis

        hypothesis.settings.register_profile("mutation", deadline=None, derandomize=True, database=None)
        hypothesis.settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave out tests by name, and the copies of doctests that mutants carry."""
        items[:] = [item for item in items if not any(word in item.nodeid for word in (*LEFT_OUT, "__mutmut"))]

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Any:
        """Note what a fixture calls: it is set up once, but all tests that use it depend on it."""
        if SWITCH.calls is None:
            return (yield)
        outside, SWITCH.calls = SWITCH.calls, set()
        try:
            return (yield)
        finally:
            fixturedef.calls = set(SWITCH.calls)
            SWITCH.calls |= outside

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Notice a failure, of set-up and tear-down too."""
        self.failure = self.failure or report.failed

    def pytest_runtestloop(self, session: Any) -> bool:
        """Measure once what reaches what, then run the mutants."""
        if session.testsfailed:
            raise SystemExit("the tests cannot be collected on the copy")
        self.items = {item.nodeid: item for item in session.items}
        self._measure()
        if self.reach.failed:
            raise SystemExit("tests fail without any mutant: " + ", ".join(self.reach.failed[:5]))
        print(f"{len(self.items)} tests, {sum(self.reach.seconds[name] for name in self.items):.0f} s", flush=True)
        self._run_all()
        return True

    def _measure(self) -> None:
        """Run all tests in one fork with the calls counted."""
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder) / "reach"
            if child := os.fork():
                os.waitpid(child, 0)
                self.reach = pickle.loads(place.read_bytes())  # noqa: S301 (written by our own fork)
                if self.kept and not self.reach.failed:
                    shutil.copy(place, self.kept)
                return
            self._silence()
            SWITCH.calls = set()
            functions = {mutant.function for mutant in self.mutants}
            reach = pickle.loads(self.kept.read_bytes()) if self.kept and self.kept.exists() else Reach()  # noqa: S301
            if not functions <= reach.functions:
                reach = Reach(functions=functions)
            names = [name for name in self.items if name not in reach.seconds]
            for place_in_order, name in enumerate(names):
                following = names[place_in_order + 1] if place_in_order + 1 < len(names) else None
                start = self._spent()
                self.failure = False
                self._test(name, following)
                reach.seconds[name] = self._spent() - start
                known = getattr(self.items[name], "_fixtureinfo", None)
                fixtures = known.name2fixturedefs.values() if known else ()
                used = [getattr(fixture, "calls", set()) for found in fixtures for fixture in found]
                for function in SWITCH.calls.union(*used):
                    reach.tests.setdefault(function, set()).add(name)
                SWITCH.calls.clear()
                if self.failure:
                    reach.failed.append(name)
            place.write_bytes(pickle.dumps(reach))
            os._exit(0)

    @staticmethod
    def _spent() -> float:
        return sum(os.times()[:4])

    @staticmethod
    def _silence() -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (1, 2):
            os.dup2(null, stream)

    def _test(self, name: str, following: str | None) -> None:
        item = self.items[name]
        item.ihook.pytest_runtest_protocol(item=item, nextitem=self.items[following] if following else None)

    def _chosen(self, mutant: Mutant) -> list[str]:
        """Tests that reach the function: what killed its other mutants first, then the shortest, up to the budget."""
        seconds, good = self.reach.seconds, self.good[mutant.function]
        tests = [name for name in self.reach.tests.get(mutant.function, ()) if name in self.items]
        total, kept = 0.0, []
        for name in sorted(tests, key=lambda name: (seconds[name] / (1 + good[name]), name)):
            total += seconds[name]
            if kept and total > self.budget:
                break
            kept.append(name)
        return kept

    def _start(self, mutant: Mutant, tests: list[str]) -> tuple[int, int]:
        """Fork; the child tells the number of the test that failed."""
        read, write = os.pipe()
        if child := os.fork():
            os.close(write)
            return child, read
        os.close(read)
        self._silence()
        limit = int(5 * sum(self.reach.seconds[name] for name in tests) + 10 + self._spent())
        resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 2))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        SWITCH.mutant = os.environ["MUTANT_UNDER_TEST"] = mutant.switch
        self.failure = False
        try:
            for number, name in enumerate(tests):
                self._test(name, tests[number + 1] if number + 1 < len(tests) else None)
                if self.failure:
                    os.write(write, str(number).encode())
                    os._exit(1)
        except BaseException:
            os._exit(1)
        os._exit(0)

    def _run_all(self) -> None:
        # What is frozen is not visited by the collections of the forks, so that its pages stay shared.
        gc.collect()
        gc.freeze()
        running: dict[int, tuple[Mutant, list[str], int, float]] = {}
        waiting, done, start = list(reversed(self.mutants)), 0, time.monotonic()
        while waiting or running:
            while waiting and len(running) < self.jobs:
                mutant = waiting.pop()
                if not (tests := self._chosen(mutant)):
                    mutant.status = "no test"
                    done += 1
                    continue
                child, pipe = self._start(mutant, tests)
                running[child] = (mutant, tests, pipe, time.monotonic())
            child, status = os.waitpid(-1, os.WNOHANG) if running else (0, 0)
            if child not in running:
                for stuck, (_, tests, _, began) in running.items():
                    # Waiting for nothing, or a machine with no time for us: no verdict on the mutant either way.
                    if time.monotonic() - began > 300 + 100 * sum(self.reach.seconds[name] for name in tests):
                        os.kill(stuck, signal.SIGKILL)
                time.sleep(0.005)
                continue
            mutant, tests, pipe, began = running.pop(child)
            with os.fdopen(pipe, "rb") as told:
                number = told.read().decode()
            code = os.waitstatus_to_exitcode(status)
            ends = {0: "survived", -signal.SIGXCPU: "timeout", -signal.SIGKILL: "stuck"}
            mutant.status = ends.get(code, "killed")
            mutant.seconds = time.monotonic() - began
            if number:
                mutant.killer = tests[int(number)]
                self.good[mutant.function][mutant.killer] += 1
            done += 1
            if self.log:
                with self.log.open("a") as lines:
                    lines.write(json.dumps(vars(mutant)) + "\n")
            if done % 50 == 0:
                alive = sum(m.status in ("survived", "no test", "stuck") for m in self.mutants)
                pace = (time.monotonic() - start) / done
                print(f"{done} of {len(self.mutants)}: {alive} survive, {pace:.2f} s each", flush=True)


def table(mutants: list[Mutant], sizes: dict[str, int]) -> list[str]:
    """Lines of a Markdown table: modules, and parts that have several; a sample has an interval of 95 % confidence."""
    rows = ["| module | mutants | tried | killed | timeout | survived | share |", "|---|---|---|---|---|---|---|"]
    groups: dict[str, list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        groups[mutant.module].append(mutant)
    for part in dict.fromkeys(part_of(module) for module in list(groups) if part_of(module) != module):
        groups[part] = [mutant for mutant in mutants if part_of(mutant.module) == part]
    for name, those in groups.items():
        size = sizes[name] if name in sizes else sum(sizes[m] for m in {mutant.module for mutant in those})
        killed, timeout = (sum(mutant.status == word for mutant in those) for word in ("killed", "timeout"))
        dead = killed + timeout
        share = f"{dead / len(those):.1%}"
        if len(those) < size:
            low = beta.ppf(0.025, dead, len(those) - dead + 1) if dead else 0.0
            high = beta.isf(0.025, dead + 1, len(those) - dead) if dead < len(those) else 1.0
            share += f" [{low:.1%}, {high:.1%}]"
        cells = (f"`{name}`", size, len(those), killed, timeout, len(those) - dead, share)
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows


def main(arguments: list[str]) -> int:
    """Copy the tree, write the mutants, run them, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modules", nargs="*", help="modules or folders (default: theory and the five others)")
    parser.add_argument("--sample", type=int, help="so many mutants of a module at most (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time")
    parser.add_argument("--budget", type=float, default=20.0, help="seconds of tests that a mutant gets at most")
    parser.add_argument("--log", type=Path, help="write one JSON line for each mutant to this file")
    parser.add_argument(
        "--tests", nargs="+", help="test files that may kill (default: those of the part, and doctests)"
    )
    parser.add_argument("--reach", type=Path, help="file that keeps which tests reach what")
    parser.add_argument("--again", type=Path, help="only the mutants that survive in this log")
    parser.add_argument("--survivors", action="store_true", help="list the survivors below the table")
    chosen = parser.parse_args(arguments)
    log = chosen.log.resolve() if chosen.log else None
    kept = chosen.reach.resolve() if chosen.reach else None
    again = None
    if chosen.again:
        lines = map(json.loads, chosen.again.read_text().splitlines())
        again = {line["name"] for line in lines if line["status"] not in ("killed", "timeout")}
    modules: list[str] = []
    for name in chosen.modules or TESTS:
        path = ROOT / name
        files = [file.relative_to(ROOT) for file in (sorted(path.rglob("[!_]*.py")) if path.is_dir() else [path])]
        modules += [str(file) for file in files if not path.is_dir() or not LAYOUT & set(file.parts)]
    with tempfile.TemporaryDirectory(prefix="mutation-") as folder:
        copy = Path(folder) / "tree"
        ignored = shutil.ignore_patterns(".git", ".venv*", "*.egg-info", "__pycache__", ".hypothesis", ".mypy_cache")
        shutil.copytree(ROOT, copy, ignore=ignored)
        os.chdir(copy)
        sys.path[:] = [str(copy), *(entry for entry in sys.path if Path(entry or ".").resolve() != ROOT)]
        os.environ["PYTHONPATH"] = str(copy)
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        mutants, sizes, texts = [], {}, 0
        for module in modules:
            found, sizes[module], prose = write_mutants(copy, module, chosen.sample, chosen.seed, again)
            mutants, texts = mutants + found, texts + prose
        print(f"{len(mutants)} of {sum(sizes.values())} mutants; {texts} that change only a text left out", flush=True)
        from mutmut.mutation import trampoline

        trampoline.wrap_in_trampoline = SWITCH
        runner = Runner(mutants, chosen.jobs, chosen.budget, log, kept)
        paths = list(dict.fromkeys(path for module in modules for path in [*TESTS[part_of(module)], EXAMPLES]))
        # Threads of torch would not survive a fork; the cache and the workers of pytest are of no use here.
        options = ["-q", "-s", "-p", "no:cacheprovider", "-p", "no:xdist", "--doctest-modules"]
        code = pytest.main([*options, *(chosen.tests or [*paths, *modules])], plugins=[runner])
        for package in PACKAGES:
            where = Path(sys.modules[package].__file__ or "") if package in sys.modules else copy
            if not where.is_relative_to(copy):
                raise SystemExit(f"{where} was tested, not the copy")
        if code not in (0, 5) or any(mutant.status == "not run" for mutant in mutants):
            print(f"pytest ended with {code}")
            return 1
        os.chdir(ROOT)
    print("\n".join(table(mutants, sizes)))
    if chosen.survivors:
        for mutant in mutants:
            if not mutant.dead:
                print(f"\n{mutant.name}: {mutant.status}", *mutant.change, sep="\n    ")
    parts: dict[str, list[bool]] = defaultdict(list)
    for mutant in mutants:
        parts[part_of(mutant.module)].append(mutant.dead)
    return 0 if all(sum(dead) >= BAR * len(dead) for dead in parts.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
