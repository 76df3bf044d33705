"""`python -m verify loss`: exit codes, documents, and checks that can fail."""

import json
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import sympy
import torch
from sympy import Rational, exp

from hltm.errors import InputError
from theory.conditions import family_conditions, membership_decision
from theory.notation import negative, r_0, r_p, tau
from theory.parse import parse_loss
from verify import loss_numeric
from verify.budget import OutOfTimeError, limited
from verify.loss_check import check_loss
from verify.loss_torch import NoTorchFormError, evaluate

SOFT = "tau*log(1 + exp((r_p - r_1)/tau))"


def call(*arguments, cwd, **options):
    return subprocess.run(
        [sys.executable, "-m", "verify", "loss", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )


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
        ("max(r_p - r_1 + r_0, 0)", "dL/dr_+ = 0, but the family needs dL/dr_+ > 0"),
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
    result = call("(r_p - r_1)^3 + r_p - r_1", "--json", "-", cwd=tmp_path)
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
    "exp(r_p - r_1)",
    "sqrt(1 + exp(r_p - r_1))",
    "triplet",
    "r_p - r_1/2 - r_2/2",
    "log(1 + exp(r_p - r_1) + exp(r_p - r_2) + exp(r_p - r_3))",
]
OUTSIDE = {
    "r_p": "dL/dr_1", "3": "dL/dr_+", "r_1 - r_p": "dL/dr_+", "2*r_p - r_1": "dL/dr_+ + dL/dr_1", "r_p^2 - r_1^2": "dL/dr_+",
    "(r_p - r_1)^3": "dL/dr_+", "r_p - r_1/3 - 2*r_2/3": "L - L(r_1 <-> r_2)", "r_p - r_2": "dL/dr_1", "tau*r_p - r_1": "dL/dr_+ + dL/dr_1",
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
    slopes["L - L(r_1 <-> r_2)"] = loss - loss.subs(
        {negative(1): negative(2), negative(2): negative(1)}, simultaneous=True
    )
    value = slopes[quantity].subs({symbol: point[str(symbol)] for symbol in slopes[quantity].free_symbols})
    assert sympy.N(value, 9) == sympy.N(sympy.Rational(rest.split(",")[0]), 9)
    violated = {"dL/dr_+": value <= 0, "dL/dr_1": value >= 0}.get(quantity, value != 0)
    assert bool(violated)


def test_the_first_failing_condition_decides():
    conditions = family_conditions("r_p + r_1")
    assert [c.decision.value for c in conditions] == [True, False, False]
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
    assert many.verdict == "abstained"


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
