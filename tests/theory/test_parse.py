"""The parser of losses: what it refuses, in one line and in no time, and what it reads, against a reader of its own."""

import json
import math
import operator
import random
import re
import subprocess
import sys
from fractions import Fraction

import mpmath
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from hltm.base.errors import InputError
from theory.losses.grammar import check_syntax
from theory.losses.loss import loss_of
from theory.losses.parse import parse_loss

MEGABYTE = 10**6
CODE = [
    "__import__('os').system('touch owned')", "__import__", "__builtins__", "__class__", "r_p.__class__", "r_p.diff(r_1)",
    "().__class__.__bases__[0].__subclasses__()", "r_p.__init__.__globals__", "(r_p).__class__", "exp.__call__(r_p)",
    "open('owned', 'w')", "open(r_p)", "eval('1')", "eval(r_p)", "exec(r_p)", "exec('import os')", "compile(r_p)", "print(r_p)",
    "getattr(r_p, tau)", "setattr(r_p)", "globals()", "locals()", "vars()", "dir(r_p)", "type(r_p)", "input()", "breakpoint()",
    "exit()", "quit()", "help(r_p)", "lambda: 0", "lambda x: x", "(lambda: 0)()", "[r_p]", "[r_p for r_p in r_1]", "{r_p}",
    "{r_p: r_1}", "r_p[0]", "r[k]", "r_p if r_1 else tau", "r_p or r_1", "r_p and r_1", "not r_p", "r_p is r_1", "r_p in r_1",
    "r_p := r_1", "(r_p := 3)", "r_p = r_1", "r_p == r_1", "r_p != r_1", "r_p < r_1", "r_p <= r_1", "r_p > r_1", "r_p >> 3",
    "r_p << 3", "1 << 1000000", "r_p & r_1", "r_p | r_1", "~r_p", "r_p @ r_1", "r_p // r_1", "r_p % r_1", "r_p; r_1",
    "import os", "from os import system", "def f(): pass", "class A: pass", "return r_p", "yield r_p", "raise r_p", "del r_p",
    "assert r_p", "with r_p: pass", "while 1: pass", "for r_p in r_1: pass", "async", "await r_p", "global r_p", "pass",
    "f'{r_p}'", "'r_p'", '"r_p"', "b'r_p'", "`r_p`", "$(touch owned)", "${HOME}", "r_p; touch owned", "r_p && touch owned",
    "\\input{owned}", "\\write18{touch owned}", "r_p #", "# r_p", "r_p // comment", "/* */ r_p", "r_p ? r_1 : tau", "%s", "{0}",
    "r_p!", "3!", "r_p'", "∂r_p", "Symbol(r_p)", "sympy", "sympy.exp(r_p)", "Integer(3)", "S(r_p)", "oo", "zoo", "nan", "I", "E",
    "pi", "inf", "Infinity", "NaN", "True", "None", "Heaviside(r_p)", "sin(r_p)", "Max(r_p, 0)", "Min(r_p, 0)", "Abs(r_p)",
    "factorial(10000000)", "gamma(r_p)", "Sum(r_p)", "Integral(r_p)", "Piecewise(r_p)", "EXP(r_p)", "Exp(r_p)", "erf(r_p)",
]  # fmt: skip
NAMES = [
    "r_00", "r_01", "r_65", "r_100", "r_999999999999", "r_-1", "r_1.5", "r_", "r", "r__1", "r_1_", "r_p_", "R_p", "r_P", "r_+",
    "r_P1", "_r_p", "__r_p", "tau_", "Tau", "TAU", "taus", "r_1r", "2r_p", "r_p2", "r_p r_1", "r_p(r_1)", "tau(2)", "r_1(r_2)",
    "exp", "log", "sqrt", "max", "exp + 1", "max - 1", "a" * 1999, "_" * 1999, "a" * MEGABYTE, "r_" + "1" * 1900, "tau" * 600,
    "r_\u0440", "\u0433_p", "\u03c4", "r_\u0661", "r_\uff11", "r_\u00b9", "\uff52_p", "r\uff3fp", "r_\u03c1", "\U0001d42b_p", "r_p\u200b",
    "r_p \u2212 r_1", "r_p \u2013 r_1", "r_p \u00d7 r_1", "r_p \u00f7 r_1", "r_p\u00b2", "\uff08r_p\uff09", "r_p \uff0b r_1", "\u0663", "\uff11", "\u00bd",
    "exp\uff08r_p\uff09", "e\u0445p(r_p)", "lo\u0261(r_p)", "m\u0430x(r_p, 0)", "ta\u03c5", "r_p\u00a0- r_1", "r_p\u2028- r_1", "\ufeffr_p", "r_p\u202e", "\ud800",
    "r_p\x00", "\x00", "r_p\x00- r_1", "r_p\x1b[31m", "r_p\x07", "r_p\x7f", "r_p\x85r_1", "r_p\nimport os", "\n", "\r\n", "\t", " ", "",
    "r_p\nr_1", "r_p -\n", "\n\n\n)",
]  # fmt: skip
SIZES = [
    "9^9^9^9", "9**9**9**9", "2^2^2^2^2^2", "r_p^99", "r_p^-17", "r_p^17", "r_p^r_1", "r_p^tau", "2^r_p", "r_p^(1/17)", "r_p^0.01",
    "r_p^9^9", "((2^16)^16)^16", "((r_p^16)^16)^16", "((2*r_p)^16)^16", "(((tau+1)^8)^8)^8", "(10^16)^16^16", "9999^(9999)",
    "10^10^10", "exp(10^29*log(2))", "exp(tau*10^29*log(2))", "exp(log(2)*9^9)", "sqrt(9^9^9)", "exp(exp(r_p))", "exp(" * 30 + "r_p" + ")" * 30,
    "exp(" * 500 + "r_p" + ")" * 480, "log(" * 300 + "r_p" + ")" * 300, "sqrt(" * 60 + "r_p" + ")" * 60, "max(" * 60 + "r_p" + ")" * 60,
    "(" * 41 + "r_p" + ")" * 41, "(" * 900 + "r_p" + ")" * 900, "(" * MEGABYTE, ")" * MEGABYTE, "(" * (MEGABYTE // 2) + ")" * (MEGABYTE // 2),
    "-" * MEGABYTE, "1" * MEGABYTE, "r_p^" * 400 + "2", "1^" * 900 + "1", "r_p+" * 250000, "[" * MEGABYTE, "r_p" + " " * MEGABYTE, "\n" * MEGABYTE,
    "((((" * 100, "))))", "()", "(())", "exp()", "max()", "exp(r_p, r_1)", "log(r_p,)", "max(r_p,)", "max(,r_p)", ",", "r_p,r_1",
    "max(" + ",".join(f"r_{k}" for k in range(1, 65)) + ")", "max(max(" + ",".join(f"r_{k}" for k in range(1, 16)) + "),r_16,r_17,r_18)",
    "1e31", "1e-31", "1e999", "1e99999999999", "1e", "1e+", "1.2.3", "1..2", ".5", "0x10", "0b1", "0o7", "1_000", "1j", "1" * 31, "0." + "1" * 40,
    "1E400*r_p", "1e30^16^2", "*".join(["1e30"] * 25), "/".join(["1e30"] * 30), "r_p*" + "*".join(["1e30"] * 25), "+".join(f"1/{10**28 + k}" for k in range(60)),
]  # fmt: skip
UNDEFINED = [
    "1/0", "r_p/0", "r_p/(1-1)", "r_p/(r_1-r_1)", "0/0", "r_p/0.0", "r_p/(0*r_1)", "0^-1", "0**-1", "(1-1)^-2", "(r_1-r_1)^-1", "1/0^2",
    "log(0)", "log(1-1)", "log(0*r_p)", "log(-1)", "sqrt(-1)", "(-1)^(1/2)", "(-2)^(1/3)", "log(-tau)", "sqrt(-tau)", "r_p/-0",
    "(max(log(-1)))",
    "max(sqrt(-2), r_p)", "r_p/(2-1-1)",
]  # fmt: skip
SYNTAX = [
    "r_p +", "* r_p", "r_p * * r_1", "r_p ^^ 2", "r_p ***2", "r_p + + * r_1", "(r_p", "r_p)", "(r_p))", "((r_p)", "r_p - (r_1", "/", "^", "+", "-",
    "r_p r_1 r_2", "3 4", "exp r_p", "exp(r_p", "exp)r_p(", "r_p (r_1)", "(r_p)(r_1)", "2(r_p)", "r_p.", ".", "..", "...", "r_p:r_1", "@", "?", "=",
]  # fmt: skip
HOSTILE = CODE + NAMES + SIZES + UNDEFINED + SYNTAX

ATTEMPTS = """
import json, os, resource, sys, time
resource.setrlimit(resource.RLIMIT_AS, (2 * 2**30, 2 * 2**30))
resource.setrlimit(resource.RLIMIT_CPU, (120, 120))
from hltm.base.errors import InputError
from theory.losses.loss import loss_of
rows = []
for text in json.load(sys.stdin):
    start = time.process_time()
    try:
        found = "ACCEPTED " + str(loss_of(text))[:200]
    except InputError as error:
        found = "refused: " + str(error)
    rows.append([found, time.process_time() - start])
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def attempts(tmp_path_factory):
    """Every attempt in one process with little memory, whose folder is looked at afterwards."""
    folder = tmp_path_factory.mktemp("hostile")
    result = subprocess.run(
        [sys.executable, "-c", ATTEMPTS],
        input=json.dumps(HOSTILE),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert result.stderr == ""
    return json.loads(result.stdout), sorted(folder.iterdir())


def test_there_are_enough_attempts():
    assert len(set(HOSTILE)) == len(HOSTILE) >= 200


def test_every_attempt_is_refused_in_one_line(attempts):
    rows, _ = attempts
    assert len(rows) == len(HOSTILE)
    accepted = [
        (text[:80], found) for text, (found, _) in zip(HOSTILE, rows, strict=True) if not found.startswith("refused: ")
    ]
    assert accepted == []
    for found, _ in rows:
        assert len(found.splitlines()) == 1
        assert len(found) < 400
        assert found.isprintable()
        assert "Traceback" not in found


def test_no_attempt_takes_long(attempts):
    """CPU time, so that a busy machine does not fail the test; each takes a few milliseconds, the first one loads lark."""
    slowest = max(attempts[0], key=lambda row: row[1])
    assert slowest[1] < 2, slowest


def test_no_attempt_runs_code(attempts):
    assert attempts[1] == []


def test_the_grammar_alone_refuses_no_more_than_the_parser():
    """Whatever `check_syntax` refuses the parser refuses; every wrong name and every wrong syntax it refuses itself."""
    for text in HOSTILE:
        try:
            check_syntax(text)
        except InputError as error:
            check_line(str(error))
            with pytest.raises(InputError):
                parse_loss(text)
    for text in SYNTAX:
        if text != "r_p (r_1)":  # a call, for the grammar; that r_p is no function is known to the parser
            with pytest.raises(InputError):
                check_syntax(text)


def test_the_place_is_named():
    with pytest.raises(InputError, match=re.escape("'q' at character 7 of loss 'r_p + q'")):
        parse_loss("r_p + q")
    with pytest.raises(InputError, match=re.escape("'r_00' at character 7")):
        parse_loss("r_p - r_00")
    with pytest.raises(InputError, match=r"^loss of 1000000 characters: must have at most 2000$"):
        parse_loss("(" * MEGABYTE)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("r_0 - r_64", sympy.Symbol("r_0", real=True) - sympy.Symbol("r_64", nonnegative=True)),
        ("-2^2", -4), ("2^-1", sympy.Rational(1, 2)), ("2^3^2", 512), ("--3", 3), ("-+-3", 3), ("6/2/3", 1), ("6/(2/3)", 9), ("2-3-4", -5),
        ("0.1 + 0.2", sympy.Rational(3, 10)), ("1e-3", sympy.Rational(1, 1000)), ("1.e2", 100), ("max(1, 2, 3)", 3), ("sqrt(4)", 2), ("\t1 +\n1 ", 2),
        ("exp(0)", 1), ("log(1)", 0), ("((((1))))", 1), ("-" * 1001 + "1", -1), ("+".join(["1"] * 1000), 1000), ("4^(1/2)", 2), ("4**0.5", 2),
    ],
)  # fmt: skip
def test_what_is_read(text, value):
    assert parse_loss(text) == value


TOKEN = re.compile(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|[A-Za-z_]\w*|\*\*|[-+*/^(),])", re.ASCII)
RANK = {"+": 1, "-": 1, "*": 2, "/": 2, "u": 3, "^": 4}
BINARY = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv}


def check_line(message):
    assert len(message.splitlines()) == 1
    assert message.isprintable()


class ShuntingYard:
    """Dijkstra's algorithm on mpmath numbers: evaluates a text with values for the symbols; shares nothing with `theory`."""

    def __init__(self, values):
        self.values = values

    def apply(self, sign, output):
        if sign == "u":
            output.append(-output.pop())
            return
        right, left = output.pop(), output.pop()
        output.append(mpmath.power(left, right) if sign == "^" else BINARY[sign](left, right))

    def number(self, text):
        exact = Fraction(text)
        return mpmath.mpf(exact.numerator) / exact.denominator

    def close(self, output, pending, counts):
        while pending[-1] != "(":
            self.apply(pending.pop(), output)
        pending.pop()
        arguments = counts.pop()
        if pending and pending[-1] in ("exp", "log", "sqrt", "max"):
            values = [output.pop() for _ in range(arguments)]
            name = pending.pop()
            output.append(max(values) if name == "max" else getattr(mpmath, name)(values[0]))

    def __call__(self, text):
        output, pending, counts, operand = [], [], [], True
        for part in TOKEN.findall(text):
            part = "^" if part == "**" else part
            if part[0].isdigit():
                output.append(self.number(part))
                operand = False
            elif part in self.values:
                output.append(self.values[part])
                operand = False
            elif part in ("exp", "log", "sqrt", "max"):
                pending.append(part)
            elif part == "(":
                pending.append(part)
                counts.append(1)
                operand = True
            elif part == ",":
                while pending[-1] != "(":
                    self.apply(pending.pop(), output)
                counts[-1] += 1
                operand = True
            elif part == ")":
                self.close(output, pending, counts)
                operand = False
            elif operand:  # a sign in front of an operand
                if part == "-":
                    pending.append("u")
            else:
                while (
                    pending
                    and pending[-1] in RANK
                    and (RANK[pending[-1]] > RANK[part] or (RANK[pending[-1]] == RANK[part] and part != "^"))
                ):
                    self.apply(pending.pop(), output)
                pending.append(part)
                operand = True
        while pending:
            self.apply(pending.pop(), output)
        (result,) = output
        return result


def test_the_oracle_itself():
    yard = ShuntingYard({"r_p": mpmath.mpf(3)})
    expected = {
        "1 + 2*3": 7,
        "-2^2": -4,
        "2^3^2": 512,
        "2^-1": 0.5,
        "2-3-4": -5,
        "max(1, r_p, 2)*2": 6,
        "-(1-4)/r_p": 1,
        "2*-3": -6,
        "(2)^(-(1))": 0.5,
    }
    for text, value in expected.items():
        assert yard(text) == value, text


SYMBOLS = ("r_p", "r_1", "r_2", "r_64", "tau", "r_0")
numbers = st.one_of(
    st.integers(0, 99).map(str),
    st.decimals(0, 9, places=2, allow_nan=False).map(str),
    st.sampled_from(["1e1", "2.5E-2", "3.", "0"]),
)
spaces = st.sampled_from(["", "", " ", "\t", " \n "])


def extended(inner):
    pair = st.tuples(inner, spaces, st.sampled_from("+-*/"), spaces, inner).map("".join)
    power = st.builds(
        lambda a, sign, n: f"({a}){sign}{n}",
        inner,
        st.sampled_from(["^", "**"]),
        st.sampled_from(["2", "3", "0", "-1", "(1/2)", "-2"]),
    )
    call = st.builds(lambda name, a: f"{name}({a})", st.sampled_from(["exp", "log", "sqrt"]), inner)
    most = st.lists(inner, min_size=1, max_size=3).map(lambda parts: f"max({', '.join(parts)})")
    signed = st.builds(lambda sign, a: f"{sign}{a}", st.sampled_from(["-", "+", "--"]), inner)
    return st.one_of(pair, pair, pair, power, call, most, signed, inner.map("({})".format))


expressions = st.recursive(st.one_of(numbers, st.sampled_from(SYMBOLS)), extended, max_leaves=12)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(expressions, st.integers(0, 10**6))
def test_grammatical_text_against_the_shunting_yard(text, seed):
    """Either one line of refusal, or the value that the text has, at a random point."""
    try:
        parsed = parse_loss(text)
    except InputError as error:
        check_line(str(error))
        return
    rng = random.Random(seed)
    with mpmath.workdps(60):
        values = {name: mpmath.mpf(rng.randint(1, 400)) / 128 for name in SYMBOLS}
        try:
            expected = ShuntingYard(values)(text)
        except (ZeroDivisionError, ValueError, OverflowError, TypeError):
            return  # undefined at this point, or a maximum of complex numbers
        exact = {
            symbol: sympy.Rational(Fraction(int(values[str(symbol)] * 128), 128)) for symbol in parsed.free_symbols
        }
        found = sympy.N(parsed.xreplace(exact), 50)
        if (
            not found.is_number
            or not found.is_finite
            or not mpmath.isfinite(expected)
            or isinstance(expected, mpmath.mpc)
        ):
            return
        difference = abs(mpmath.mpmathify(found) - expected)
        assert difference <= mpmath.mpf(10) ** -20 * (1 + abs(expected)), (text, found, expected)


@settings(max_examples=500, deadline=None, derandomize=True)
@given(
    st.one_of(
        st.text(max_size=40),
        st.text(alphabet="r_p1tau0exlogsqmax+-*/^(), .e9\n", max_size=40),
        st.text(alphabet="()^9-", max_size=200),
    )
)
def test_any_text_is_read_or_refused_in_one_line(text):
    """Nothing but an expression in the known symbols, or InputError."""
    try:
        loss = loss_of(text, 1)  # the name of a known loss is a text too
    except InputError as error:
        check_line(str(error))
        return
    assert {str(symbol) for symbol in loss.expression.free_symbols} <= {
        "r_p",
        "tau",
        "r_0",
        *(f"r_{k}" for k in range(1, 65)),
    }
    assert all(math.isfinite(len(str(number))) for number in loss.expression.atoms(sympy.Rational))
