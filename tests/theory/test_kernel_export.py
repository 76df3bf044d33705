"""The export to the proof assistant: trees say what SymPy said, by a reader and an evaluation of their own."""

import ast
import os
import random
import re
import subprocess
import sys
from fractions import Fraction

import pytest
import sympy
from sympy import Rational, Symbol, exp, sqrt

from hltm.base.errors import InputError
from theory.core.decide import POLYNOMIAL, decide_zero
from theory.core.record import Identity, Record, differentiated, recorded
from theory.kernel import export as kernel
from theory.kernel import rocq
from theory.registry import STATEMENTS, derive

X, Y, T = (Symbol(name, positive=True) for name in ("x", "y", "t"))


def parsed(text):
    """An expression tree as nested tuples; a reader that knows only brackets, words and numbers."""
    tokens = re.findall(r"[()]|-?\w+", text)

    def item(at):
        if tokens[at] == "(":
            found, at = application(at + 1)
            assert tokens[at] == ")"
            return found, at + 1
        return tokens[at], at + 1

    def application(at):
        parts = []
        while at < len(tokens) and tokens[at] != ")":
            part, at = item(at)
            parts.append(part)
        return (parts[0] if len(parts) == 1 and isinstance(parts[0], tuple) else tuple(parts)), at

    found, at = application(0)
    assert at == len(tokens)
    return found


def valued(tree, values):
    """The value of a tree in fractions."""
    match tree:
        case ("X", number):
            return values[int(number)]
        case ("K", p, q):
            return Fraction(int(p[0] if isinstance(p, tuple) else p), int(q))
        case ("A", a, b):
            return valued(a, values) + valued(b, values)
        case ("M", a, b):
            return valued(a, values) * valued(b, values)
        case ("P", a, n):
            return valued(a, values) ** int(n)
        case ("D", a):
            return 1 / valued(a, values)
    raise AssertionError(tree)


def depth(tree):
    return 1 + max((depth(part) for part in tree if isinstance(part, tuple)), default=0)


POLYNOMIALS = [
    X + Y, X * Y - 2 * X, (X + Y / 3) ** 3 - X**2 * Y, Rational(-7, 5), X * (Y - 1) ** 2 / 4, sympy.Add(*(k * X**k for k in range(40))),
]  # fmt: skip


@pytest.mark.parametrize("expr", POLYNOMIALS, ids=str)
def test_a_tree_has_the_value_of_the_expression(expr):
    writer = kernel.Writer()
    tree = parsed(writer.write(sympy.sympify(expr)))
    rng = random.Random(3)
    for _ in range(5):
        point = {atom: Fraction(rng.randint(-9, 9), rng.randint(1, 5)) for atom in writer.numbers}
        exact = sympy.sympify(expr).xreplace({atom: Rational(v.numerator, v.denominator) for atom, v in point.items()})
        found = valued(tree, {number: point[atom] for atom, number in writer.numbers.items()})
        assert Rational(found.numerator, found.denominator) == exact


def test_quotients_are_written_with_their_divisors():
    expr = X / (X + Y) ** 2 + 1 / Y
    writer = kernel.Writer()
    text = writer.write(expr)
    tree, numbers = parsed(text), writer.numbers
    values = {numbers[X]: Fraction(2), numbers[Y]: Fraction(3)}
    assert valued(tree, values) == Fraction(2, 25) + Fraction(1, 3)
    divided = {valued(parsed(one), values) for one in kernel.divisors(text)}
    assert divided == {Fraction(25), Fraction(3)}


def test_exponentials_of_one_monomial_are_powers_of_one_variable():
    left = exp(X / T) * exp(-Y / (2 * T) + X / T)
    right = exp(2 * X / T - Y / (2 * T))
    lemma = kernel.identity_lemma("a", Identity(left, right, True, POLYNOMIAL))
    first, second = sides(lemma.text)
    values = {1: Fraction(3), 2: Fraction(5), 3: Fraction(7)}
    assert valued(parsed(first), values) == valued(parsed(second), values)
    assert lemma.says.startswith("exp(x/t)")


def sides(text):
    """The two trees at the end of the call in a lemma."""
    call = re.search(r"Lemma \w+ : (.*?) = true\.", text, re.DOTALL)[1]
    return [line.strip()[1:-1] for line in call.split("\n")[1:]]


def test_a_root_is_a_variable_with_its_relation():
    base = X**2 + Y**2
    lemma = kernel.identity_lemma("a", Identity(base / sqrt(base), sqrt(base), True, POLYNOMIAL))
    assert lemma.kind == kernel.FIELD
    assert "check_field 20 [(P (X " in lemma.text


def test_long_sums_are_shallow():
    total = sympy.Add(*(Symbol(f"x{k}") ** 2 for k in range(4096)))
    assert depth(parsed(kernel.Writer().write(total))) < 20


@pytest.mark.parametrize(
    ("expr", "reason"),
    [
        (sympy.log(X), "log is none of its operations"),
        (sympy.Sum(X, (Symbol("k"), 1, Symbol("n"))), "Sum is none"),
        (X ** Rational(1, 3), "a root of order 3"),
        (X**Y, "the exponent y is no number"),
        (sqrt(1 + 1 / X), "a root of what is no polynomial"),
        (Symbol("A", commutative=False), "A does not commute"),
    ],
    ids=str,
)
def test_what_has_no_constructor_is_left_out_with_the_reason(expr, reason):
    record = Record()
    record.identities[Identity(expr, X, True, POLYNOMIAL)] = None
    found = kernel.written("t", record)
    assert not found.lemmas
    assert re.search(reason, found.reasons[0]), found.reasons


def test_what_is_not_proved_or_not_by_a_normal_form_is_no_lemma():
    record = Record()
    record.identities[Identity(X, Y, False, POLYNOMIAL)] = None
    record.identities[Identity(X + Y, Y + X + 1, True, "simplify")] = None
    found = kernel.written("t", record)
    assert not found.lemmas
    assert found.reasons == ["decided by simplify"]


def test_a_record_keeps_both_sides_and_only_inside_its_block():
    decide_zero(X - Y, (X, Y))
    with recorded() as outer:
        decide_zero((X + Y) ** 2 - X**2 - 2 * X * Y - Y**2, ((X + Y) ** 2, X**2 + 2 * X * Y + Y**2))
        with recorded() as inner:
            decide_zero(X - Y)
        assert differentiated(X**3, X) == 3 * X**2
    assert [(one.left, one.right, one.proved) for one in outer.identities] == [
        ((X + Y) ** 2, X**2 + 2 * X * Y + Y**2, True)
    ]
    assert [(one.left, one.right, one.proved) for one in inner.identities] == [(X - Y, sympy.S.Zero, False)]
    assert [(one.function, one.value) for one in outer.derivatives] == [(X**3, 3 * X**2)]


@pytest.mark.parametrize("slug", STATEMENTS)
def test_every_statement_is_exported_and_its_lemmas_hold_in_fractions(slug):
    """Every polynomial lemma at random fractions: an oracle that is neither SymPy nor the compiler."""
    count = 0
    for exported in kernel.exports(slug):
        assert kernel.lemmas_of(exported.text, "t") == [one.name for one in exported.lemmas]
        rng = random.Random(5)
        for lemma in exported.lemmas:
            if lemma.kind != kernel.REAL:
                continue
            left, right = (parsed(side) for side in sides(lemma.text))
            values = {number: Fraction(rng.randint(-4, 4), rng.randint(1, 3)) for number in range(1, 60)}
            assert valued(left, values) == valued(right, values), (exported.name, lemma.name)
            count += 1
    # Statement 3 is decided by moments, statements 2 and 4 by rational functions of exponentials.
    assert count > 0 or slug in ("contrastive-losses", "covariance-operator", "weighted-covariance-operator")


def test_derivatives_are_exported_with_the_function():
    (exported, *_) = kernel.exports("dual-gradient")
    found = [one for one in exported.lemmas if one.kind == f"derivative of a {kernel.REAL}"]
    assert len(found) == 10
    assert all("check_derivative" in one.text for one in found)


EXPORTED = "from theory.kernel.export import exports\nprint([e.text for s in {!r} for e in exports(s)])"


def test_the_text_does_not_depend_on_the_hash_seed():
    names = ["dual-gradient", "weighted-covariance-operator", "activation-covariance", "lucky-nodes"]
    texts = [
        subprocess.run(
            [sys.executable, "-c", EXPORTED.format(names)], env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert texts[0] == texts[1]
    assert len(ast.literal_eval(texts[0])) == 14


TAIL = "\nLemma a : check (X 1) (X 1) = true.\nProof. vm_compute; reflexivity. Qed.\n"
OPENING = kernel.HEADER.format(title="t", imports="")


def test_an_exported_file_is_read_back():
    assert kernel.lemmas_of(OPENING + TAIL, "f") == ["a"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        TAIL,
        OPENING + "Axiom false : False.",
        OPENING + TAIL.replace("vm_compute; reflexivity. Qed", "Admitted"),
        OPENING + TAIL.replace("Qed.", "Qed. Lemma b : False. Admitted."),
        OPENING + TAIL.replace("check (X 1) (X 1)", "check (X 1) (X 1) = true \\/ true"),
        OPENING + 'Declare ML Module "x".' + TAIL,
        OPENING + '(* " *)' + TAIL + '(* " *)',
        OPENING + "(* (* *)" + TAIL + "(* *) *)",
        OPENING + "Definition check := fun _ _ : expr => true." + TAIL,
        OPENING.replace("Reflect.", "Reflect Evil.") + TAIL,
        OPENING + TAIL.replace("check (X 1) (X 1)", "true"),
        OPENING,
        OPENING + "(*" * 20_000,
    ],
    ids=range(14),
)
def test_a_file_with_anything_else_is_refused(text):
    with pytest.raises(InputError, match=r"^file 'f': must hold what `kernel export` writes, and nothing else"):
        kernel.lemmas_of(text, "f")


def test_comments_hold_nothing_that_ends_them():
    name = Symbol('x*)(*"')
    lemma = kernel.identity_lemma("a", Identity(name + 1, 1 + name + 0 * name, True, POLYNOMIAL))
    assert lemma.text.count("(*") == lemma.text.count("*)") == 1
    assert '"' not in lemma.text


def test_axioms_are_the_names_that_begin_a_line():
    printed = (
        "Closed under the global context\nAxioms:\nClassical_Prop.classic : forall P : Prop, P\n"
        "ClassicalDedekindReals.sig_forall_dec\n  : forall P : nat -> Prop,\n    A\nmine : False\n"
    )
    assert rocq.axioms_of(printed) == {
        "Classical_Prop.classic", "ClassicalDedekindReals.sig_forall_dec", "mine",
    }  # fmt: skip
    outcome = rocq.with_axioms(rocq.Outcome("accepted", 1.0, printed, "8"), 2.0)
    assert (outcome.status, outcome.detail) == ("failed", "the axiom mine is not allowed")


def test_the_axioms_of_every_theorem_are_printed():
    count = rocq.assumptions().count("Print Assumptions")
    closed = "Closed under the global context\n"
    for printed, status in ((closed * count, "accepted"), (closed * (count - 1), "failed"), ("", "failed")):
        assert rocq.with_axioms(rocq.Outcome("accepted", 1.0, printed, "8"), 0.0).status == status


@pytest.mark.parametrize("program", ["/bin/true", "/bin/echo", "/bin/false", "/nowhere", ""])
def test_what_is_no_compiler_is_none(monkeypatch, program):
    monkeypatch.setenv("COVOP_ROCQ", program)
    rocq.compiler.cache_clear()
    assert rocq.compiler() is None
    rocq.compiler.cache_clear()


def script(folder, name, body):
    path = folder / name
    path.write_text(f'#!/bin/sh\nif [ "$1" = --print-version ]; then echo 8.16.1 4.13; exit 0; fi\n{body}\n')
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("exit 0", "accepted"),
        ('echo \'Error: Unable to unify "true" with "false".\' >&2; exit 1', "rejected"),
        ("echo 'Cannot find a physical path bound to logical path Reflect' >&2; exit 1", "failed"),
        ("echo 'Out of memory.' >&2; exit 1", "failed"),
        ("kill -9 $$", "failed"),
        ("exit 129", "failed"),
        ("exit 1", "failed"),
    ],
)
def test_only_a_lemma_that_is_false_is_rejected(monkeypatch, tmp_path, body, status):
    """What goes wrong otherwise is not kept either."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = script(
        tmp_path,
        "rocq-8.16-coqc",
        "case $* in *Exported.v) ;; *) for last; do :; done; touch ${last%.v}.vo; exit 0;; esac\n" + body,
    )
    found = rocq.Compiler((str(path),), "8.16.1")
    assert rocq.check_text(found, OPENING + TAIL).status == status
    kept = rocq.known(rocq.key_of(OPENING + TAIL), "8.16.1")
    assert (kept is not None) == (status in ("accepted", "rejected"))


def test_the_name_of_the_program_decides_how_it_is_called(monkeypatch, tmp_path):
    folder = tmp_path / "rocq-9"
    folder.mkdir()
    for name, words in (("coqc", ()), ("rocq", ("compile",))):
        path = script(folder, name, "exit 0")
        monkeypatch.setenv("COVOP_ROCQ", str(path))
        rocq.compiler.cache_clear()
        assert rocq.compiler() == rocq.Compiler((str(path), *words), "8.16.1")
    rocq.compiler.cache_clear()


def test_a_library_is_whole_or_made_again(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = rocq.Compiler((str(script(tmp_path, "coqc", "for last; do :; done; touch ${last%.v}.vo")),), "8.16.1")
    place, outcome = rocq.library(found, rocq.CHECKER)
    assert outcome.status == "accepted"
    for name in (rocq.COMPLETE, "Reflect.vo"):
        (place / name).unlink()
        again, outcome = rocq.library(found, rocq.CHECKER)
        assert (again, outcome.status) == (place, "accepted")
        assert (place / name).is_file()


def test_without_a_place_to_keep_anything(monkeypatch, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    if os.geteuid() != 0:
        monkeypatch.setenv("XDG_CACHE_HOME", str(closed))
        assert rocq.cache_folder() is None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert rocq.cache_folder() is None
    found = rocq.Compiler((str(script(tmp_path, "coqc", "for last; do :; done; touch ${last%.v}.vo")),), "8.16.1")
    assert rocq.check_text(found, OPENING + TAIL).status == "accepted"


@pytest.mark.parametrize(
    "content", ["{}", "[]", "no json", '{"status": "whatever", "seconds": 1, "detail": "", "version": "8"}']
)
def test_what_is_kept_in_another_form_is_not_read(monkeypatch, tmp_path, content):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (rocq.cache_folder() / "key-8.json").write_text(content)
    assert rocq.known("key", "8") is None


def test_an_exponential_below_a_root_is_left_out():
    root = sqrt(1 + exp(X))
    record = Record()
    record.identities[Identity(root * (1 + root), root + 1 + exp(X), True, POLYNOMIAL)] = None
    assert kernel.written("t", record).reasons == ["a root of what is no polynomial"]


def test_decisions_of_other_kinds_are_counted():
    from sympy import MatrixSymbol

    from theory import decide_equal

    n = Symbol("n", integer=True, positive=True)
    a, b = MatrixSymbol("A", n, n), MatrixSymbol("B", n, n)
    exported = kernel.export(
        "t", lambda: (decide_equal((a * b).T, b.T * a.T), decide_equal((X + Y) ** 2, X**2 + 2 * X * Y + Y**2))
    )
    assert len(exported.lemmas) == 1
    assert exported.reasons == ["an identity of matrices of symbolic size"]
    assert "an identity of moments" in kernel.export("t", lambda: derive("covariance-operator").decision).reasons


def test_commands(in_process, tmp_path, monkeypatch):
    done = in_process("theory", "kernel", "export", "7", "--out", "lucky")
    assert done.returncode == 0
    assert done.stdout.splitlines()[0] == (
        "lucky/lucky_nodes_1.v: lucky-nodes, claim=gap: 3 lemmas, 3 left out (an identity of matrices of symbolic size)"
    )
    assert sorted(path.name for path in (tmp_path / "lucky").iterdir()) == [f"lucky_nodes_{n}.v" for n in (1, 2, 3, 4)]
    done = in_process("theory", "kernel", "export", "9", "--out", "lucky")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    monkeypatch.setattr(rocq, "compiler", lambda: None)
    done = in_process("theory", "kernel", "check", "lucky")
    assert done.returncode == 3
    assert "apt-get install coq" in done.stderr
    monkeypatch.setattr(rocq, "compiler", lambda: rocq.Compiler(("false",), "8"))
    for arguments in (("nowhere",), (".",)):
        done = in_process("theory", "kernel", "check", *arguments)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)


OWN = """
import sympy
from dataclasses import dataclass
from hypothesis import strategies as st
from verify import JsonInstance, user_statement

@dataclass(frozen=True)
class Number(JsonInstance):
    a: float

x, y = sympy.symbols("x y", real=True)
S = user_statement(
    title="a square", claim="(x + y)^2", slug="square",
    theory=lambda i, at: at.array(i.a) ** 2, numeric=lambda i, at: at.array(i.a) * at.array(i.a),
    strategy=st.builds(Number, st.integers(-5000, 5000).map(float)), variants={"half": lambda i, at: at.array(i.a)},
    symbolic=lambda: sympy.Eq((x + y) ** 2, x**2 + 2 * x * y + y**2, evaluate=False),
)
"""


def test_statements_of_a_user_are_exported(in_process, tmp_path):
    (tmp_path / "mine.py").write_text(OWN)
    done = in_process("theory", "kernel", "export", "--file", "mine.py", "--out", "k")
    assert (done.returncode, done.stdout) == (0, "k/mine_1.v: square: 1 lemma\n"), done.stderr
    text = (tmp_path / "k" / "mine_1.v").read_text()
    first, second = (parsed(side) for side in sides(text))
    values = {1: Fraction(2), 2: Fraction(-3)}
    assert valued(first, values) == valued(second, values) == 1
    assert depth(first) < depth(second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--file", "no.py"), "error: file 'no.py': does not exist"),
        (("--file", "empty.py"), "error: file 'empty.py': defines no statement with symbolic claims"),
        (("--file", "broken.py"), "error: file 'broken.py', line 1: ZeroDivisionError: division by zero"),
        ((), "error: kernel export: give a statement, or --file with your own; one of the two"),
        (("1", "--file", "empty.py"), "error: kernel export: give a statement, or --file with your own"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(in_process, tmp_path, arguments, message):
    (tmp_path / "empty.py").write_text("")
    (tmp_path / "broken.py").write_text("1 / 0")
    done = in_process("theory", "kernel", "export", *arguments, "--out", "k")
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "k").exists()
