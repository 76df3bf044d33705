"""`python -m verify loss`: exit codes, documents, and checks that can fail."""

import json
import subprocess
import sys
import time
from contextlib import suppress
from itertools import product

import numpy as np
import pytest
import sympy
import torch
from sympy import Rational, exp
from warm import processed

from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError, limited
from theory.core.notation import negative, r_0, r_p, tau
from theory.losses.family import family_conditions, membership_decision
from theory.losses.loss import FREE_NEGATIVE, at_number
from theory.losses.parse import parse_loss
from verify.loss import measure as loss_numeric
from verify.loss.check import check_loss, named_weights, tex
from verify.loss.measure import NoTorchFormError, evaluate

SOFT = "tau*log(1 + exp((r_p - r_1)/tau))"


def call(*arguments, cwd, **options):
    return processed("verify", "loss", *arguments, cwd=cwd, **options)


@pytest.mark.parametrize(
    ("text", "weight"),
    [
        (SOFT, "1/(exp(r/tau) + 1)"),
        ("-tau*log(exp(-r_p/tau)/(exp(-r_p/tau) + exp(-r_1/tau)))", "1/(exp(r/tau) + 1)"),
        ("r_p - r_1", "1"),
    ],
)
def test_exit_code_0_in_the_family(text, weight, tmp_path):
    result = call(text, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert f"xi(r) = {weight}" in result.stdout
    assert r"\xi(r) &=" in result.stdout
    assert r"\begin{equation}" in result.stdout
    assert result.stdout.splitlines()[-1] == "loss: holds"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "violated"),
    [
        ("-max(r_p - r_1 + r_0, 0)", "but the family needs dL/dr_+ > 0"),
        ("r_p + r_1^2", "but the family needs dL/dr_1 < 0"),
    ],
)
def test_exit_code_1_outside_with_two_lines(text, violated, tmp_path):
    result = call(text, "--quiet", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    point, quantity, verdict = result.stdout.splitlines()
    assert point.startswith("at r_")
    assert quantity.endswith(violated)
    assert verdict == "loss: refuted"


def test_exit_code_2_is_one_line(tmp_path):
    for text, words in (
        ("r_p - r_1)", "should end here"),
        ("__import__('os')", "grammar"),
        ("infnce", "did you mean 'infonce'"),
    ):
        result = call(text, cwd=tmp_path)
        assert result.returncode == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("error: ")
        assert words in line
    assert call("r_p", "--json", "absent/loss.json", cwd=tmp_path).returncode == 2
    assert call("r_p", "--nonsense", cwd=tmp_path).returncode == 2
    assert call(cwd=tmp_path).returncode == 2


def test_exit_code_3_undecided(tmp_path):
    result = call("(r_p - r_1)*exp(r_p - r_1) + r_p - r_1", "--json", "-", cwd=tmp_path)
    assert result.returncode == 3, result.stderr
    document = json.loads(result.stdout)
    assert document["loss"]["member"] is None
    assert document["loss"]["verdict"] == "abstained"
    assert "undecided" in result.stderr


def test_the_document(tmp_path):
    result = call(
        "-tau*log(exp(-r_p/tau)/(exp(-r_p/tau)+exp(-r_1/tau)+exp(-r_2/tau)))",
        "--json",
        "loss.json",
        "--quiet",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == ""
    document = json.loads((tmp_path / "loss.json").read_text())
    assert document["schema"] == 1
    assert {"seed", "profile", "environment", "statements", "loss"} <= set(document)
    loss = document["loss"]
    assert loss["verdict"] == "holds"
    assert loss["member"] is True
    assert [row["status"] for row in loss["conditions"]] == ["holds"] * 5
    assert [row["name"] for row in loss["pair_weights"]] == ["xi_1", "xi_2"]
    assert [(row["kind"], row["status"]) for row in loss["statement4"]["evidence"]] == [
        ("symbolic", "holds"),
        ("float", "holds"),
    ]
    assert loss["statement4"]["derivation"].startswith(r"\begin{align}")
    assert loss["counterexample"] is None


FAMILY = [
    "r_p - r_1/3 - 2*r_2/3",
    "exp(r_p - r_1) + exp(2*(r_p - r_2))",
    "(r_p - r_1)^3 + r_p - r_1",
    "(r_p - r_1)/sqrt(1 + (r_p - r_1)^2)",
    "(r_p - r_1)*(1 - exp(-tau))",
    "exp(2*r_p - 2*r_1) - exp(r_p - r_1) + r_p - r_1",
    "(r_p^2 - r_1^2)/(r_p + r_1)",
    "exp(r_p - r_1)",
    "sqrt(1 + exp(r_p - r_1))",
    "triplet",
    "r_p - r_1/2 - r_2/2",
    "log(1 + exp(r_p - r_1) + exp(r_p - r_2) + exp(r_p - r_3))",
]
OUTSIDE = {
    "r_p": "dL/dr_1", "3": "dL/dr_+", "r_1 - r_p": "dL/dr_+", "2*r_p - r_1": "dL/dr_+ + dL/dr_1", "r_p^2 - r_1^2": "dL/dr_+",
    "-(r_p - r_1)^3": "dL/dr_+", "2*r_p - r_2": "dL/dr_1", "tau*r_p - r_1": "dL/dr_+ + dL/dr_1",
    "max(r_p, r_1)": "dL/dr_+", "log(1 + r_p) - log(1 + r_1)": "dL/dr_+ + dL/dr_1",
}  # fmt: skip


@pytest.mark.parametrize("text", FAMILY)
def test_losses_of_the_family(text):
    report = check_loss(text)
    assert report.member is True
    assert report.verdict == "holds", report
    assert report.derivation.proved
    assert report.counterexample is None


@pytest.mark.parametrize("text", OUTSIDE)
def test_losses_outside_with_a_point_that_refutes(text):
    """The point, put in by hand into SymPy's own derivative, violates the condition."""
    report = check_loss(text)
    assert report.verdict == "refuted"
    where, what = report.counterexample
    quantity, _, rest = what.partition(" = ")
    assert quantity == OUTSIDE[text]
    point = {}
    if where != "at every point:":
        point = {name: Rational(value) for name, value in (part.split(" = ") for part in where[3:-1].split(", "))}
    loss = parse_loss(text)
    slopes = {"dL/dr_+": sympy.diff(loss, r_p), "dL/dr_1": sympy.diff(loss, negative(1))}
    slopes["dL/dr_+ + dL/dr_1"] = sum(slopes.values())
    value = slopes[quantity].subs({symbol: point[str(symbol)] for symbol in slopes[quantity].free_symbols})
    assert sympy.N(value, 9) == sympy.N(sympy.Rational(rest.split(",")[0]), 9)
    violated = {"dL/dr_+": value <= 0, "dL/dr_1": value >= 0}.get(quantity, value != 0)
    assert bool(violated)


@pytest.mark.parametrize("text", ["r_p - r_1/3 - 2*r_2/3", "exp(r_p - r_1) + exp(2*(r_p - r_2))"])
def test_statement_4_needs_no_symmetry_of_the_negatives(text):
    """A linear tower of one layer in NumPy, every tuple written out: -E grad L by central differences of the text's value.

    The weights are those that the report shows; the operator is the sum over k of E[xi_k Delta Delta^T], by hand.
    """
    report = check_loss(text)
    assert report.verdict == "holds"
    assert "not symmetric" in report.remarks[0]
    shown = [str(xi) for _, xi in named_weights(report)]
    names = {"exp": np.exp, "__builtins__": {}}
    rng = np.random.default_rng(3)
    x, p, w = rng.normal(size=(3, 4)), np.array([0.5, 0.3, 0.2]), rng.normal(size=(2, 4))

    def tuples(w):
        for i, k, m in product(range(3), repeat=3):
            r_1, r_2 = (0.5 * np.sum((w @ (x[i] - x[other])) ** 2) for other in (k, m))
            yield p[i] * p[k] * p[m], (i, k, m), {"r_p": 0.5 * np.sum((w @ (x[i] - x[i])) ** 2), "r_1": r_1, "r_2": r_2}

    def expected(w):
        return sum(q * eval(text.replace("^", "**"), names, at) for q, _, at in tuples(w))  # noqa: S307 (texts of ours)

    operator = np.zeros((4, 4))
    for q, (i, *others), at in tuples(w):
        for xi, other in zip(shown, others, strict=True):
            operator += q * eval(xi, names, at) * np.outer(x[i] - x[other], x[i] - x[other])  # noqa: S307
    step = 1e-6
    for place in np.ndindex(w.shape):
        moved = np.zeros_like(w)
        moved[place] = step
        slope = (expected(w + moved) - expected(w - moved)) / (2 * step)
        assert abs(-slope - (w @ operator)[place]) < 1e-7


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("r_p - r_1 + 1/(tau-1)", "only where tau != 1; at "), ("r_p - r_1 + sqrt(tau-5)", "only where tau >= 5; at "),
        ("r_p - r_1 + log(tau-5)", "only where tau > 5; at "), ("r_p - r_1 + log(r_0)", "only where r_0 > 0; at "),
        ("r_p - r_1 + sqrt(r_0)", "only where r_0 >= 0; at "),
    ],
)  # fmt: skip
def test_a_loss_that_is_not_defined_everywhere_stays_open(text, words, tmp_path):
    result = call(text, cwd=tmp_path)
    assert result.returncode == 3, result.stderr
    assert f"L is real and finite: {words}" in result.stdout
    assert "statement 2: undecided" in result.stdout
    assert check_loss(text).weights == ()


def test_a_maximum_is_a_member_and_statement_4_says_what_it_assumes():
    report = check_loss("max(r_p - r_1, 0) + r_p - r_1")
    assert report.member is True
    assert {row.kind: row.status for row in report.evidence} == {"symbolic": "abstained", "float": "holds"}
    assert "kink" in report.evidence[0].detail


LARGE = {
    64: "log(1 + {})".format(" + ".join(f"exp(r_p - r_{k})" for k in range(1, 65))),
    39: "-tau*log(exp(-r_p/tau)/(exp(-r_p/tau) + {}))".format(" + ".join(f"exp(-r_{k}/tau)" for k in range(1, 40))),
}


@pytest.mark.parametrize("count", LARGE)
def test_many_negatives_are_decided_in_seconds(count):
    start = time.process_time()
    report = check_loss(LARGE[count])
    assert time.process_time() - start < 30
    assert report.verdict == "holds"
    assert {row.kind: row.status for row in report.evidence} == {"symbolic": "holds", "float": "holds"}
    assert "256 drawn tuples" in report.evidence[1].detail
    ((name, shown),) = named_weights(report)
    assert name == "xi_j"
    # Softmax by NumPy: xi_j = e^{-r_j/tau} / (1 + sum_k e^{-r_k/tau}).
    distances, temperature = np.linspace(0.1, 3, count), 1.0 if count == 64 else 0.7
    exact = np.exp(-distances / temperature) / (1 + np.exp(-distances / temperature).sum())
    negatives = tuple(negative(k) for k in range(1, count + 1))
    for j in (1, 7, count):
        written = at_number(shown, negatives, FREE_NEGATIVE, j)
        at = dict(zip(negatives, map(sympy.Float, distances), strict=True)) | {tau: sympy.Float(temperature)}
        assert abs(float(written.xreplace(at)) - exact[j - 1]) < 1e-12


def test_a_false_pair_weight_of_many_negatives_is_refuted():
    """Tuples that are drawn must be able to refute: one weight of 20 a little off."""
    text = "log(1 + " + " + ".join(f"exp(r_p - r_{k})" for k in range(1, 21)) + ")"
    total = 1 + sum(exp(-negative(k)) for k in range(1, 21))
    weights = [exp(-negative(k)) / total for k in range(1, 21)]
    assert loss_numeric.evidence(parse_loss(text), weights, 8).status == "holds"
    weights[11] *= 1 + Rational(1, 10**6)
    assert loss_numeric.evidence(parse_loss(text), weights, 8).status == "refuted"


@pytest.mark.parametrize("error", [MemoryError, RecursionError])
def test_what_is_too_large_stays_open(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr("theory.losses.family.family_conditions", fail)
    report = check_loss("r_p - r_1")
    assert report.verdict == "abstained"
    assert report.note == f"not decided: the loss is too large ({error.__name__})"
    monkeypatch.setattr("theory.latex.render.plain_tex", fail)
    assert "too large to be shown" in tex(report.expression)


@pytest.mark.parametrize("text", ["r_p - r_1)", "r_p - q", "(", "r_p & r_1", "(" * 2001])
def test_wrong_text_is_refused_without_sympy(text):
    code = "import sys\nfrom verify.loss.check import check_loss\ntry:\n    check_loss(sys.argv[1])\nexcept ValueError as e:\n    print('sympy' in sys.modules, e)"
    result = subprocess.run([sys.executable, "-c", code, text], capture_output=True, text=True, timeout=300)
    assert result.stdout.startswith("False "), result


@pytest.mark.parametrize("text", ["r_p" + "+r_1" * 490, "r_p" + "*r_1" * 490, "((r_p+r_1)^4)^16"])
def test_long_text_in_little_memory(text, tmp_path):
    code = (
        "import resource, sys\nresource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))\n"
        "sys.argv = ['verify', 'loss', sys.argv[1]]\nfrom verify.cli import main\nmain()"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, text], capture_output=True, text=True, timeout=300, cwd=tmp_path
    )
    assert result.returncode in (1, 2, 3), result.stderr
    assert "Traceback" not in result.stderr


def test_the_first_failing_condition_decides():
    conditions = family_conditions("r_p + r_1")
    assert [c.decision.value for c in conditions] == [True, False, False, True]
    assert membership_decision(conditions).value is False


XI = 1 / (1 + exp(negative(1) / tau))
FALSE = {
    "wrong sign": 1 / (1 + exp(-negative(1) / tau)),
    "of 2r": 1 / (1 + exp(2 * negative(1) / tau)),
    "tau inverted": 1 / (1 + exp(negative(1) * tau)),
    "unweighted": sympy.Integer(1),
    "margin kept": 1 / (1 + exp((negative(1) - r_0) / tau)),
    "a little off": XI * (1 + Rational(1, 10**9)),
}


def test_the_true_pair_weight_holds():
    found = loss_numeric.evidence(parse_loss(SOFT), [XI])
    assert found.status == "holds"
    assert found.instances >= 20


@pytest.mark.parametrize("name", FALSE)
def test_a_false_pair_weight_is_refuted(name):
    assert loss_numeric.evidence(parse_loss(SOFT), [FALSE[name]]).status == "refuted"


@pytest.mark.parametrize("factor", [0.5, 2.0, -1.0])
def test_a_false_factor_is_refuted(factor):
    assert loss_numeric.evidence(parse_loss(SOFT), [XI], factor=factor).status == "refuted"


def test_what_cannot_be_measured_abstains():
    assert loss_numeric.evidence(sympy.sin(r_p - negative(1)), [XI]).status == "abstained"
    assert loss_numeric.evidence(sympy.Integer(1) * r_0, [sympy.Integer(0)]).status == "abstained"
    assert loss_numeric.evidence(parse_loss("exp(10000*(1 + r_p - r_1))"), [sympy.Integer(1)]).status == "abstained"
    many = check_loss(" + ".join(f"r_p - r_{k}" for k in range(1, 17)))
    assert many.member is True
    assert many.verdict == "holds"


def test_underflow_refutes_nothing():
    report = check_loss("tau*log(1 + exp(1000000*(r_p - r_1)/tau))")
    assert report.member is True
    assert report.verdict == "abstained"
    assert not any(row.status == "refuted" for row in report.evidence)


@pytest.mark.parametrize(
    ("text", "member"),
    [
        ("max(0, 1/(r_p - r_1))", False), ("max(log(r_p - r_1), r_p - r_1)", None), ("max(1, log(r_1))", False),
        ("1/max(r_0^3, 1/(r_p - r_2))", None), ("r_p - r_1 + max(1, log(r_0))", None),
    ],
)  # fmt: skip
def test_a_maximum_of_what_has_no_value_somewhere(text, member):
    """SymPy compares neither an infinite nor a complex number: such points are passed over."""
    report = check_loss(text)
    assert (report.member is False) is (member is False or text.startswith("1/max"))  # a strict sign fails there
    assert report.verdict == {False: "refuted", None: "abstained"}[member]


def test_the_walk_against_sympy():
    """Every function that the grammar has, at random points, against SymPy's own evaluation."""
    text = "max(r_p - r_1, sqrt(1 + r_p)) + exp(-r_1/tau)^3/7 + log(2 + r_p)^-2 - r_0*r_1^(1/3) + 0.25"
    expression = sympy.diff(parse_loss(text), r_p) + parse_loss(text)
    generator = torch.Generator().manual_seed(0)
    points = torch.rand(20, 4, generator=generator, dtype=torch.float64) * 3 + 0.1
    values = dict(zip((r_p, negative(1), tau, r_0), points.T, strict=True))
    found = evaluate(expression, values)
    for i, value in enumerate(found.tolist()):
        exact = expression.xreplace({symbol: sympy.Rational(float(column[i])) for symbol, column in values.items()})
        assert abs(value - float(exact.evalf(30))) < 1e-12 * (1 + abs(value))


def test_the_walk_refuses_what_it_does_not_know():
    values = {r_p: torch.ones(2, dtype=torch.float64)}
    for expression in (sympy.sin(r_p), sympy.Symbol("unknown"), r_p * 10**400, sympy.Function("eval")(r_p)):
        with pytest.raises(NoTorchFormError):
            evaluate(expression, values)


def test_the_budget():
    def forever():
        with limited(0.05):
            while True:
                pass

    with pytest.raises(OutOfTimeError):
        forever()
    with limited(0.05):
        pass
    time.sleep(0.1)


# An alarm in a callback of the garbage collector is lost there, with this warning; the next one ends the block.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_out_of_time_abstains():
    report = check_loss(" + ".join(f"1/(1 + exp(r_{k}*r_p/tau))" for k in range(1, 20)), seconds=0.01)
    assert report.verdict == "abstained"
    assert "not decided within" in report.note


@pytest.mark.parametrize(
    "text",
    [
        " + ".join(f"1/(1 + exp(r_{k}/tau) + r_p)" for k in range(1, 30)),
        "*".join(f"1/(1 + exp(r_{k}/tau) + r_p)" for k in range(1, 40)),
        "sqrt(" * 38 + "r_p - r_1" + ")" * 38,
        "log(1 + " * 38 + "r_p" + ")" * 38,
        " + ".join(f"(r_p - r_{k})^16" for k in range(1, 20)),
        "r_p" + "*r_p" * 400,
        "max(r_p - r_1, r_p - r_2, r_p - r_3, r_0, tau)",
        "exp(10^29*(r_p - r_1))",
    ],
)
def test_hard_expressions_end(text):
    """Decided, undecided or refused, but within a generous CPU time and in one process."""
    start = time.process_time()
    with suppress(InputError):
        assert check_loss(text).verdict in {"holds", "refuted", "abstained"}
    assert time.process_time() - start < 100
