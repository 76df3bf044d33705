"""Hostile and odd statements files: each ends with 0, 1, 2 or 3, for 2 with one line, neighbours keep their verdicts."""

import json
import locale
import re
import sys

import pytest

FILE = """
import itertools, os, random, signal, sys, threading, warnings
from dataclasses import dataclass, replace
import numpy as np, torch
from hypothesis import strategies as st
import hypothesis
from verify import Check, Evidence, JsonInstance, Variant, Without, user_statement

class Rogue(BaseException): pass
class Wordless(Exception):
    def __str__(self): raise ValueError("no words")
class Evil:
    def __getattr__(self, name): raise RuntimeError(name)
    def __bool__(self): raise RuntimeError("bool")
    def __eq__(self, other): raise RuntimeError("eq")
    def __hash__(self): raise RuntimeError("hash")
    def __repr__(self): raise RuntimeError("repr")
    __str__ = __repr__
    @property
    def __class__(self): raise RuntimeError("class")

count = itertools.count()
def deep(n=0): return deep(n + 1)

@dataclass(frozen=True)
class V(JsonInstance):
    x: float
    INSTANCE

def theory(i, at):
    THEORY
    return 2 * at.array(i.x)
def numeric(i, at):
    NUMERIC
    return at.array(i.x) + at.array(i.x)
def mutant(i, at):
    MUTANT
    return 3 * at.array(i.x)
def exact(i, at):
    EXACT
    return at.array(i.x) + at.array(i.x)
def tolerance(i):
    TOLERANCE
    return 1e-9
def symbolic():
    import sympy
    SYMBOLIC
    x = sympy.Symbol("x")
    return sympy.Eq(x + x, 2 * x, evaluate=False)
def check(context):
    CHECK
    return Evidence("trained", "holds", "own", 3)
def draw(n):
    DRAW
    return float(n)
def keep(n):
    KEEP
    return True
TOP
values = st.integers(-500, 500).map(draw).filter(keep)
options = dict(title="odd", claim="x", theory=theory, numeric=numeric, strategy=st.builds(V, values),
    variants={"thrice": mutant})
options |= dict(OPTIONS)
S = user_statement(**options)
END
"""
SLOTS = re.findall(r"\b[A-Z]{3,}\b", FILE)
NEIGHBOUR = """
@dataclass(frozen=True)
class W(JsonInstance):
    x: float
GOOD = user_statement(title="good", claim="x", strategy=st.builds(W, st.integers(-500, 500).map(float)),
    theory=lambda i, at: 2 * at.tensor(i.x), numeric=lambda i, at: at.tensor(i.x) + at.tensor(i.x),
    variants={"thrice": lambda i, at: 3 * at.tensor(i.x)})
"""


def text(**slots):
    return re.sub(r"\b[A-Z]{3,}\b", lambda m: slots.get(m[0], "pass" if m[0] not in ("OPTIONS",) else ""), FILE)


RAISES = {
    "Exception": "raise Exception('x')",
    "BaseException": "raise Rogue('x')",
    "GeneratorExit": "raise GeneratorExit",
    "SystemExit": "raise SystemExit(0)",
    "SystemExit with words": "sys.exit('bye')",
    "KeyboardInterrupt": "raise KeyboardInterrupt",
    "StopIteration": "raise StopIteration",
    "MemoryError": "raise MemoryError",
    "recursion": "deep()",
    "group": "raise BaseExceptionGroup('g', [Rogue('x'), ValueError('y')])",
    "broken pipe": "raise BrokenPipeError(32, 'pipe')",
    "full disk": "raise OSError(28, 'full')",
    "no words": "raise Wordless",
    "escapes": r"raise ValueError('a\n\x1b[31mred\x07 \ud800 ‮ b')",
    "huge": "raise ValueError('x' * 10**6)",
    "not assumed": "hypothesis.assume(False)",
    "rejected": "hypothesis.reject()",
    "usage": "import typer; raise typer.BadParameter('x')",
    "exit": "import typer; raise typer.Exit(0)",
    "import": "import no_such_module",
    "no exception": "raise 3",
    "warning": "warnings.simplefilter('error'); warnings.warn('careful')",
}
# Where code of a file runs: slot, options, and whether it runs before a first instance is compared.
PLACES = {
    "import": ("TOP", ""),
    "after the statement": ("END", ""),
    "strategy": ("DRAW", ""),
    "strategy later": ("DRAW", ""),
    "filter": ("KEEP", ""),
    "theory": ("THEORY", ""),
    "theory the second time": ("THEORY", ""),
    "theory much later": ("THEORY", ""),
    "numeric": ("NUMERIC", ""),
    "mutant": ("MUTANT", ""),
    "exact": ("EXACT", "exact=exact"),
    "tolerance": ("TOLERANCE", "tolerance=tolerance"),
    "symbolic": ("SYMBOLIC", "symbolic=symbolic"),
    "check": ("CHECK", "checks=[Check('trained', 'own', check)]"),
    "dropped": ("KEEP", "drops={'even': Without('odd', st.builds(V, st.integers(0, 9).map(float).filter(keep)))}, strategy=st.builds(V, st.integers(0, 500).map(float))"),
    "as_json": ("INSTANCE", ""),
    "from_json": ("INSTANCE", ""),
    "built": ("INSTANCE", ""),
    "eq": ("INSTANCE", ""),
    "hash": ("INSTANCE", ""),
    "repr": ("INSTANCE", ""),
}  # fmt: skip
METHODS = {
    "as_json": "def as_json(self)", "from_json": "@classmethod\n    def from_json(cls, data)",
    "built": "def __post_init__(self)", "eq": "def __eq__(self, other)", "hash": "def __hash__(self)",
    "repr": "def __repr__(self)",
}  # fmt: skip


def raising(how, where):
    slot, options = PLACES[where]
    code = RAISES[how]
    if where == "strategy later":
        code = f"if n > 40: {code}"
    elif where == "theory the second time":
        code = f"if next(count) == 1: {code}"
    elif where == "theory much later":
        code = f"if next(count) == 60: {code}"
    if slot == "INSTANCE":
        code = f"{METHODS[where]}: {code}"
    return text(**{slot: code, "OPTIONS": options})


RETURNED = [
    "1j", "'text'", "b'bytes'", "[]", "()", "{}", "np.array([])", "np.array(3.0)", "np.array([1, 'a'], dtype=object)",
    "np.array([None])", "[[1.0], [1.0, 2.0]]", "[1.0, [2.0]]", "10**400", "2**70", "np.array([2**63], dtype=np.uint64)",
    "True", "np.array([True])", "np.datetime64('2020-01-01')", "np.timedelta64(1, 's')", "np.ma.masked_array([1.0], [True])",
    "np.ma.masked", "torch.ones(2).to_sparse()", "torch.ones(2, device='meta')", "torch.tensor(1.0, requires_grad=True)",
    "torch.ones(2, dtype=torch.float16)", "torch.ones(2, dtype=torch.bfloat16) / 3", "torch.ones(2, dtype=torch.complex64)",
    "torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)", "torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])",
    "np.float16(1) / 3", "float('nan')", "float('inf')", "[float('nan')] * 3", "(n for n in [1.0])", "iter([1.0])", "range(3)", "{1.0, 2.0}",
    "object()", "Evil()", "[Evil()]", "{Evil: 1.0}", "{1: 1.0, '1': 2.0}", r"{'\x1b[31m\ud800': 3.0}", "{'a': {'b': 1.0}}", "theory", "int", "at", "i",
    "np.matrix([[1.0]])", "np.array([1.0]).view(np.recarray)", "np.zeros((0, 3))", "np.zeros((1,) * 32)", "np.array([1.0]).astype('>f8')",
    "np.broadcast_to(1.0, (1000, 1000))", "np.float128(1)", "np.array([(1.0, 2)], dtype=[('a', float), ('b', int)])",
    "__import__('fractions').Fraction(1, 3)", "__import__('decimal').Decimal(1)", "__import__('sympy').Symbol('x')",
    "__import__('sympy').Rational(1, 3)", "__import__('flint').arb(1)", "memoryview(b'ab')", "np.array([1.0], dtype=object)", "-0.0", "5e-324",
]  # fmt: skip
VALUES = [
    "None", "3", "''", "'abc'", "b'abc'", "[]", "{}", "[3]", "{3: 3}", "{'a': 3}", "object()", "lambda: 1", "float('nan')", "True", "int",
    "np.array([1.0, 2.0])", "Evil()", "[Evil()]", "itertools.count()", r"'a\x1b[31m'", r"'\ud800'", "'x' * 10**6", "'größe'", "theory", "user_statement",
]  # fmt: skip
PARAMETERS = [
    "title", "claim", "theory", "numeric", "strategy", "variants", "assumptions", "not_covered", "source", "slug", "exact", "symbolic",
    "tolerance", "checks", "drops", "relation", "standard_error", "order", "in_", "trained", "unknown",
]  # fmt: skip
EFFECTS = {
    "prints": "print('x' * 100)", "prints escapes": r"print('\x1b[2J\ud800'.encode('utf-8', 'replace'))", "closes stdout": "sys.stdout.close()",
    "closes stderr": "sys.stderr.close()", "closes below": "sys.stdout.buffer.close()", "no stdout": "sys.stdout = None",
    "no stderr": "sys.stderr = sys.stdout = None", "changes folder": "os.chdir('/')", "numpy raises": "np.seterr(all='raise')",
    "half precision": "torch.set_default_dtype(torch.float16)", "no gradients": "torch.set_grad_enabled(False)",
    "meta device": "torch.set_default_device('meta')", "seeds": "random.seed(0); np.random.seed(0); torch.manual_seed(0)",
    "warnings": "warnings.simplefilter('error')", "recursion limit": "sys.setrecursionlimit(200)", "a thread that fails": "threading.Thread(target=lambda: 1 / 0).start()",
    "a thread": "threading.Thread(target=int).start()", "ignores alarms": "signal.signal(signal.SIGALRM, signal.SIG_IGN)",
    "ignores Ctrl-C": "signal.signal(signal.SIGINT, signal.SIG_IGN)", "no path": "sys.path.clear()", "no arguments": "sys.argv.clear()",
    "prints wide": "np.set_printoptions(precision=1); torch.set_printoptions(precision=1)", "no collection": "__import__('gc').disable()",
    "precise": "__import__('flint').ctx.prec = 10; __import__('mpmath').mp.prec = 10", "logs": "__import__('logging').warning('x')",
    "switches": "sys.setswitchinterval(1)", "decimals": "__import__('decimal').getcontext().prec = 1", "tracing": "sys.settrace(None)",
    "hooks": "sys.excepthook = None", "locale": "__import__('locale').setlocale(__import__('locale').LC_ALL, 'C')", "starts": "next(count) or __import__('subprocess').run(['true'])",
    "a finaliser that fails": "type('F', (), {'__del__': lambda self: 1 / 0})()", "a generator": "next(n for n in [1])",
    "evaluates late": "__import__('sympy').core.parameters.global_parameters.evaluate = False",
    "hypothesis": "hypothesis.settings.register_profile('p', max_examples=1); hypothesis.settings.load_profile('p')",
}  # fmt: skip
WHOLE = {
    "empty": "", "a null byte": "a\0b", "no Python": "1 +", "half a string": "'''", "indented": " x = 1\n  y", "an encoding": "# coding: no-such\n",
    "nested": "(" * 500 + ")" * 500, "deep": "x = " + "-" * 100_000 + "1", "a list": text(END="L = [S]; del S"), "a dict": text(END="D = {'a': S}; del S"),
    "twice": text(END="T = S"), "two of one slug": text(END="T = user_statement(**options)"), "deleted": text(END="del S"),
    "huge title": text(OPTIONS="title='x' * 10**6"), "replaced title": text(END="S = replace(S, title=3)"), "replaced slug": text(END="S = replace(S, slug='A/../b')"),
    "replaced checks": text(END="S = replace(S, checks=('a',))"), "no checks": text(END="S = replace(S, checks=())"), "no stages": text(END="S = replace(S, stages=())"),
    "stages": text(END="S = replace(S, stages=(3,))"), "measures": text(END="S = replace(S, measures={'float': 3})"), "measures nothing": text(END="S = replace(S, measures={})"),
    "measures that raise": text(END="S = replace(S, measures={'float': lambda i, c: 1 / 0})"), "measures words": text(END="S = replace(S, measures={'float': lambda i, c: 'x'})"),
    "figures": text(END="S = replace(S, figures=lambda c: 1 / 0)"), "a relation": text(END="S = replace(S, relation_to_paper=3)"), "a theorem": text(END="S = replace(S, theorem='1')"),
    "a type": text(END="S = replace(S, instance_type=3)"), "a claim that raises": text(END="S = replace(S, stated=deep)"), "a mutant twice": text(OPTIONS="variants=[Variant('v', 'v', mutant, ('float',))] * 2"),
    "a mutant that is the theory": text(OPTIONS="variants={'v': theory}"), "one function": text(OPTIONS="numeric=theory"), "exact is theory": text(OPTIONS="exact=theory"),
    "a size": text(INSTANCE="size = 3"), "a size that raises": text(INSTANCE="size = property(deep)"), "no instance": text(OPTIONS="strategy=st.nothing()"),
    "no instance by a filter": text(KEEP="return False"), "another type": text(OPTIONS="strategy=[st.builds(V, values), st.integers()]"), "wrong bounds": text(OPTIONS="strategy=st.builds(V, st.integers(5, 3))"),
    "an unknown type": text(OPTIONS="strategy=V"), "an overwritten instance": text(THEORY="object.__setattr__(i, 'x', 0.0)"), "a class as a side": text(OPTIONS="numeric=V"),
    "a coroutine": text(TOP="async def numeric(i, at): return 1.0"), "a generator": text(TOP="def numeric(i, at): yield 1.0"), "no arguments": text(OPTIONS="numeric=lambda: 1.0"),
    "random sides": text(NUMERIC="return random.random()"), "other shapes": text(NUMERIC="return np.ones(next(count) + 1)"), "a module attribute": text(TOP="def __getattr__(name): raise RuntimeError(name)"),
    "evil at the top": text(TOP="E = Evil(); F = [Evil()]"), "another kind": text(OPTIONS="checks=[Check('odd', 'own', check)]"), "a source": text(OPTIONS="checks=[Check('trained', 3, check)]"),
    "no run": text(OPTIONS="checks=[Check('trained', 'own', 3)]"), "an exported name": text(TOP="__all__ = 3"), "own module gone": text(END="sys.modules.pop(__name__)"),
    "no name": text(OPTIONS="title='定理'"), "a name with escapes": text(OPTIONS=r"title='a\x1b]0;x\x07'"), "a mutant's name": text(OPTIONS=r"variants={'\x1b': mutant}"),
    "a name of ours": text(OPTIONS="slug='theorem1'"), "statement of another file": text(END="from verify.registry import entry; S = entry('dual-gradient').load()"),
    "evidence": text(CHECK="return Evidence('float', 'holds', 'own', 3)", OPTIONS="checks=[Check('trained', 'own', check)]"),
    "evidence of nothing": text(CHECK="return Evidence('trained', 'holds', 'own')", OPTIONS="checks=[Check('trained', 'own', check)]"),
    "evidence in words": text(CHECK="return Evidence('trained', 'holds', 'own', 3, worst_residual='x')", OPTIONS="checks=[Check('trained', 'own', check)]"),
    "evidence by torch": text(CHECK="return Evidence('trained', 'holds', 'own', 3, worst_residual=torch.tensor(1.0), tolerance=np.float32(2))", OPTIONS="checks=[Check('trained', 'own', check)]"),
    "evidence with escapes": text(CHECK=r"return Evidence('trained', 'refuted', 'own', 3, detail='\x1b[31m\ud800')", OPTIONS="checks=[Check('trained', 'own', check)]"),
    "evidence with junk": text(CHECK="return Evidence('trained', 'refuted', 'own', 3, counterexample=Evil(), derivations=(3,))", OPTIONS="checks=[Check('trained', 'own', check)]"),
    "a counterexample with junk": text(CHECK="return Evidence('trained', 'refuted', 'own', 3, counterexample=Evil())", OPTIONS="checks=[Check('trained', 'own', check)]"),
    "kind of a class": text(OPTIONS="checks=[Check(Evil(), 'own', check)]"),
}  # fmt: skip
LOOPS = {
    "theory": text(THEORY="while True: pass"), "strategy": text(DRAW="while n: pass"), "mutant": text(MUTANT="while True: pass"),
    "symbolic": text(SYMBOLIC="while True: pass", OPTIONS="symbolic=symbolic"), "check": text(CHECK="while True: pass", OPTIONS="checks=[Check('trained', 'own', check)]"),
    "swallowed": text(THEORY="while True:\n        try: sum(range(99))\n        except BaseException: pass"), "inside NumPy": text(THEORY="np.vectorize(lambda v: [0 for _ in itertools.count()])(np.ones(3))"),
    "tolerance": text(TOLERANCE="while True: pass", OPTIONS="tolerance=tolerance"), "built": text(TOP="while True: pass"), "as_json": text(INSTANCE="def as_json(self):\n        while True: pass"),
}  # fmt: skip

ALL = {
    **{f"{how} at {where}": raising(how, where) for how in RAISES for where in PLACES},
    **{f"returns {value}": text(THEORY=f"return {value}") for value in RETURNED},
    **{f"exactly {value}": text(EXACT=f"return {value}", OPTIONS="exact=exact") for value in RETURNED},
    **{f"{name}={value}": text(OPTIONS=f"{name}={value}") for name in PARAMETERS for value in VALUES},
    **{f"file: {name}": content for name, content in WHOLE.items()},
}
# A few of every kind, and about 300 of all.
FEW = [
    *(f"{how} at {list(PLACES)[n % len(PLACES)]}" for n, how in list(enumerate(RAISES))[::3]),
    *(f"returns {value}" for value in RETURNED[::16]),
    *(f"{PARAMETERS[n % len(PARAMETERS)]}={value}" for n, value in enumerate(VALUES[::8])),
    *(f"file: {name}" for name in list(WHOLE)[::16]),
]
MANY = [*list(ALL)[::7], *(f"file: {name}" for name in WHOLE)]


@pytest.fixture
def ends(tmp_path, in_process, monkeypatch):
    """Run a file, and return its exit code and the verdicts of its statements."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    before = locale.setlocale(locale.LC_ALL)

    def run(content, *options, limit="20"):
        monkeypatch.setenv("COVOP_TIME_LIMIT", limit)
        (tmp_path / "odd.py").write_bytes(content.encode("utf-8", "surrogatepass"))
        done = in_process("verify", "run", "odd.py", "--json", "-", "--device", "cpu", *options)
        assert done.returncode in (0, 1, 2, 3), done.stderr
        assert "Traceback" not in done.stderr, done.stderr
        lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        verdicts = {}
        if done.stdout:
            document = json.loads(done.stdout)
            verdicts = {one["slug"]: one["verdict"] for one in document["statements"]}
            assert len(lines) == len(document.get("broken", [])), done.stderr
        assert bool(lines) == (done.returncode == 2), done.stderr
        assert len(lines) <= 1, done.stderr
        assert all(line.isprintable() and len(line) < 2000 for line in lines)
        return done.returncode, verdicts

    yield run
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.parametrize("case", dict.fromkeys(FEW))
def test_a_hostile_file_ends_well(case, ends):
    ends(ALL[case])


@pytest.mark.parametrize("case", sorted(set(MANY) - set(FEW)))
def test_every_hostile_file_ends_well(case, ends):
    ends(ALL[case])


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("effect", EFFECTS)
def test_a_file_that_changes_the_process_leaves_its_neighbour_the_verdict(effect, ends):
    place = "TOP" if list(EFFECTS).index(effect) % 4 == 0 else "THEORY"
    _, verdicts = ends(text(**{place: EFFECTS[effect]}) + NEIGHBOUR)
    assert verdicts["good"] == "holds", verdicts


@pytest.mark.parametrize("loop", LOOPS)
def test_what_does_not_end_is_cut(loop, ends):
    ends(text() + NEIGHBOUR)  # what is loaded late is no part of the time
    code, verdicts = ends(LOOPS[loop] + NEIGHBOUR, limit="0.5")
    assert code == (2 if loop in ("built", "as_json") else 3)
    assert loop in ("built",) or verdicts["good"] == "holds"
