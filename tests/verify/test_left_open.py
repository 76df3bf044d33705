"""What could not be decided is shown as left open: not as failed, and not as measured."""

import json

import pytest
import sympy
from warm import processed

import theory
from verify import theorem1
from verify.engine.evidence import Evidence, Measurement
from verify.engine.runner import Refutation, Result
from verify.engine.search import property_evidence
from verify.engine.statement import Context
from verify.own.symbolic import UserClaims
from verify.registry import entry
from verify.report.documents import variants_line

MUTE = '''
import sympy
from verify import strategies, user_statement

def theory(instance, at):
    return at.array(instance.point_weights) * 2

def numeric(instance, at):
    return at.tensor(instance.point_weights) * NUMBER

def never(instance, at):
    """says nothing"""
    return None

S = user_statement(
    title="a statement with a title of more than forty characters", claim="2 p = 2 p", source="mine",
    theory=THEORY, numeric=numeric, variants={"mute": lambda i, at: never(i, at)},
    strategy=[strategies.population_instances(("simple",), max_layers=1, max_width=2, max_points=3)],
    symbolic=lambda: {"doubling": sympy.Eq(sympy.Symbol("p") * 2, sympy.Symbol("p") + sympy.Symbol("p"), evaluate=False)},
)
'''


def call(tmp_path, text, *arguments):
    (tmp_path / "mine.py").write_text(text)
    return processed("verify", "run", "mine.py", *arguments, cwd=tmp_path)


def test_a_refuted_search_tells_of_a_counterexample():
    wrong = {"exact": lambda i: Measurement(1.0, 0.0, detail="the first weight")}
    found = property_evidence(wrong, theorem1.STAGES, examples=20, seed=0, among="towers")
    assert found.detail.startswith("a counterexample among towers, after ")
    assert found.detail.endswith("; the first weight")
    silent = {"exact": lambda i: Measurement(1.0, 0.0)}
    assert not property_evidence(silent, theorem1.STAGES, examples=20, seed=0, among="towers").detail.endswith(";")


def test_a_search_that_decided_nothing_measured_nothing():
    mute = {"exact": lambda i: Measurement(0.0, 0.0, decided=False)}
    found = property_evidence(mute, theorem1.STAGES, examples=20, seed=0, among="towers")
    assert (found.status, found.worst_residual, found.tolerance) == ("abstained", None, None)
    assert found.detail == "only 0 of at least 10 instances could be decided, among towers"
    assert found.as_json()["worst_residual"] is None


def test_a_tolerance_that_is_no_number_decides_nothing():
    overflow = {"exact": lambda i: Measurement(float("nan"), float("inf"))}
    found = property_evidence(overflow, theorem1.STAGES, examples=20, seed=0, among="towers")
    assert (found.status, found.worst_residual) == ("abstained", None)


def test_a_tolerance_that_is_no_number_hides_no_refutation():
    """A kind that overflowed says nothing; what another kind found on the same instance counts."""
    overflow, wrong = Measurement(float("nan"), float("inf")), Measurement(1.0, 0.0)
    kinds = {"float": lambda i: overflow, "exact": lambda i: wrong}
    found = property_evidence(kinds, theorem1.STAGES, examples=20, seed=0, among="towers")
    assert found.status == "refuted"


@pytest.mark.parametrize(
    ("refuted_by", "undecided", "status"),
    [(("exact", "float"), 3, "refuted"), ((), 3, "survived"), ((), 7, "open"), (("exact",), 3, "survived")],
)
def test_a_variant_has_one_of_three_outcomes(refuted_by, undecided, status):
    statement = entry("2").load()
    row = Refutation(statement, statement.variants[0], refuted_by, None, None, 7, undecided)
    assert row.status == status
    line = variants_line([row])
    assert line.startswith("1 mutant: ")
    name = statement.variants[0].name
    assert line.endswith({"refuted": "all refuted", "survived": f"1 survives: {name} (check too weak)", "open": f"1 left open: {name}"}[status])  # fmt: skip
    assert {"open": "left open", "survived": "survives"}.get(status, "refuted by") in row._repr_html_()


def test_the_report_and_the_terminal_say_left_open(tmp_path):
    mute = MUTE.replace("THEORY", "never").replace("NUMBER", "2")
    result = call(tmp_path, mute, "--report", "out", "--json", "-")
    assert result.returncode == 3, result.stderr
    (statement,) = json.loads(result.stdout)["statements"]
    (search,) = [row for row in statement["evidence"] if row["kind"] == "property"]
    assert (search["worst_residual"], search["tolerance"]) == (None, None)
    assert "only 0 of at least 50 instances" in search["detail"]
    page = (tmp_path / "out" / "index.html").read_text()
    assert "survives" not in page
    assert '<span class="status abstained">? left open</span></td><td>none' in page
    assert "left open" in (tmp_path / "out" / "report.tex").read_text()
    result = call(tmp_path, mute, "--variants", "--json", "variants.json")
    assert "1 mutant: 1 left open: mute" in result.stdout
    (row,) = json.loads((tmp_path / "variants.json").read_text())["variants"]
    assert row["status"] == "open"


def test_equations_of_a_user_are_shown_with_their_names(tmp_path):
    result = call(tmp_path, MUTE.replace("THEORY", "theory").replace("NUMBER", "2"), "--report", "out", "--json", "-")
    assert "1 claim proved by polynomial normal form" in result.stdout
    page = (tmp_path / "out" / "index.html").read_text()
    assert "There is no derivation" not in page
    assert "<summary>doubling: " in page
    assert "derivations proved" in page
    assert "doubling" in (tmp_path / "out" / "report.tex").read_text()


def test_an_equation_becomes_a_derivation_of_one_step():
    x = sympy.Symbol("x")
    claims = {"true": sympy.Eq(x + x, 2 * x, evaluate=False), "gone": sympy.Eq(x, x), "false": sympy.Eq(x, 2 * x)}
    found = UserClaims("mine", lambda: claims).evidence(Context())
    assert found.status == "refuted"
    true, gone, false = found.derivations
    assert (true.proved, gone.proved, false.proved) == (True, True, False)
    assert (true.statement.text, true.steps[0].expression) == ("true", claims["true"])
    assert gone.steps[0].expression == sympy.true
    assert false.residual == -x
    derivation = theory.derive("contrastive-losses")
    found = UserClaims("mine", lambda: [derivation, claims["true"]]).evidence(Context())
    assert found.derivations[0] is derivation
    assert found.detail.startswith("2 claims proved")


def test_eighty_columns_show_everything(tmp_path):
    """What a pipe gets: no column vanishes, nothing is cut."""
    result = call(tmp_path, MUTE.replace("THEORY", "theory").replace("NUMBER", "2"))
    assert "…" not in result.stdout
    lines = result.stdout.splitlines()
    assert max(len(line) for line in lines if line[:1] in "│┃┏├└") <= 80
    table = "\n".join(lines)
    for word in ("evidence", "residual", "tolerance", "what", "symbolic", "variants"):
        assert word in table, word


def test_cells_of_seven_statements_fit_eighty_columns():
    from io import StringIO

    from rich.console import Console

    from verify.registry import REGISTRY
    from verify.report.documents import details, matrix

    results = [
        Result(known.load(), (Evidence("float", "abstained", "toy", 123456), Evidence("trained", "not-run")), 0.0)
        for known in REGISTRY
    ]
    written = StringIO()
    console = Console(file=written, width=80)
    console.print(matrix(results))
    console.print(details(results))
    assert "…" not in written.getvalue()
