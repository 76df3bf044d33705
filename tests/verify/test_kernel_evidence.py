"""The kind *kernel* says what the compiler said: nothing holds that it did not accept, and nothing runs without it."""

import re
from pathlib import Path

import pytest
import sympy

import verify
from theory.kernel import rocq
from theory.kernel.theorems import THEOREMS
from theory.registry import PACKS, STATEMENTS
from verify.engine import kernel
from verify.engine.statement import Context


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    """Nothing that an earlier run has kept."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


SLUG = "lucky-nodes"
FOUND = rocq.Compiler(("coqc",), "8.16.1")


def test_without_a_compiler_nothing_runs_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr(rocq, "compiler", lambda: None)
    monkeypatch.setattr(rocq, "listed", None)
    for found in (kernel.theorems(SLUG, Context()), kernel.identities(SLUG, Context()), kernel.compiled("a", None)):
        assert (found.kind, found.status) == ("kernel", "not-run")
        assert "no compiler: apt-get install coq" in found.detail


def test_the_record_of_the_release_is_of_these_files():
    assert rocq.recorded()["theorems"] == rocq.theorems_key()


def test_what_was_accepted_elsewhere_is_said_and_does_not_hold(monkeypatch):
    monkeypatch.setattr(rocq, "compiler", lambda: None)
    found = kernel.theorems(SLUG, Context())
    assert "accepted by Rocq 8.16.1 when this release was tested, not on this machine" in found.detail
    assert found.status == "not-run"
    monkeypatch.setattr(rocq, "recorded", lambda: {"theorems": "another", "compiler": "8.16.1"})
    assert "accepted" not in kernel.theorems(SLUG, Context()).detail


def outcomes(monkeypatch, status, detail=""):
    monkeypatch.setattr(rocq, "compiler", lambda: FOUND)
    outcome = None if status is None else rocq.Outcome(status, 1.5, detail, FOUND.version)
    monkeypatch.setattr(rocq, "known", lambda *_: outcome)


def test_outcomes_are_verdicts(monkeypatch):
    expected = {
        "accepted": "holds",
        "rejected": "refuted",
        None: "not-run",
        "timeout": "abstained",
        "failed": "abstained",
    }
    for status, verdict in expected.items():
        outcomes(monkeypatch, status, "" if status == "accepted" else "Exported.v: Unable to unify")
        assert kernel.identities(SLUG, Context()).status == verdict
        # A proof that does not compile refutes no statement.
        assert kernel.theorems(SLUG, Context()).status == ("abstained" if verdict == "refuted" else verdict)


def test_a_rejection_is_loud(monkeypatch):
    outcomes(monkeypatch, "rejected", "Exported.v: Unable to unify")
    found = kernel.identities(SLUG, Context())
    assert found.detail == (
        "lucky-nodes, claim=gap: SymPy decides what Rocq 8.16.1 rejects: Exported.v: Unable to unify"
    )
    statement = next(entry for entry in verify.registry.REGISTRY if entry.slug == SLUG).load()
    (row,) = (check for check in statement.checks if (check.kind, check.source) == ("kernel", "identities"))
    assert row.run(Context()).status == "refuted"


def test_what_holds_says_how_much(monkeypatch):
    outcomes(monkeypatch, "accepted")
    found = kernel.identities("dual-gradient", Context())
    assert found.instances == 99
    assert found.detail.startswith("64 identities, 35 derivatives at given sizes, where no divisor is 0; Rocq")
    found = kernel.theorems("dual-gradient", Context())
    assert found.instances == len(THEOREMS["dual-gradient"].theorems)
    assert "all sizes: dual_gradient, " in found.detail


def test_a_statement_without_scalar_identities_says_so(monkeypatch):
    outcomes(monkeypatch, "accepted")
    found = kernel.identities("covariance-operator", Context())
    assert (found.status, found.detail) == ("not-run", "nothing is decided by a polynomial normal form")


def test_every_statement_has_both_rows():
    for entry in verify.registry.REGISTRY:
        sources = [check.source for check in entry.load().checks if check.kind == "kernel"]
        assert sources == ["theorem", "identities"]
    assert set(STATEMENTS) <= set(THEOREMS) <= {*STATEMENTS, *PACKS}


def test_claims_of_a_user_are_compiled(monkeypatch):
    """The identities are those of the claims; the outcome is that of the compiler."""
    import theory

    texts = []

    def answered(found, text, limit):
        texts.append(text)
        return rocq.Outcome("accepted", 0.5, "", found.version)

    monkeypatch.setattr(rocq, "compiler", lambda: FOUND)
    monkeypatch.setattr(rocq, "check_text", answered)
    x, y = sympy.symbols("x y", real=True)
    found = kernel.compiled("mine", lambda: theory.decide_equal((x + y) ** 2, x**2 + 2 * x * y + y**2))
    assert (found.status, found.instances) == ("holds", 1)
    assert "Lemma identity_1 : check" in texts[0]
    found = kernel.compiled("mine", lambda: theory.decide_equal(sympy.log(x**2 + 1), sympy.log(1 + x**2)))
    assert found.status == "not-run"


def test_the_identities_of_a_loss_are_compiled(monkeypatch):
    from verify.loss.check import check_loss

    rows = {row.kind: row for row in check_loss("tau*log(1 + exp((r_p - r_1)/tau))").evidence}
    assert set(rows) == {"symbolic", "float"}
    monkeypatch.setattr(rocq, "compiler", lambda: FOUND)
    for status, verdict in (("accepted", "holds"), ("rejected", "refuted"), ("failed", "abstained")):
        monkeypatch.setattr(rocq, "check_text", lambda *_, s=status, **__: rocq.Outcome(s, 0.5, "why", "8.16.1"))
        report = check_loss("tau*log(1 + exp((r_p - r_1)/tau))")
        rows = {row.kind: row for row in report.evidence}
        assert rows["kernel"].status == report.verdict == verdict
        assert rows["kernel"].instances > 0 or status == "failed"


def test_theorems_are_quoted_from_their_files():
    for covered in THEOREMS.values():
        for theorem in covered.theorems:
            assert f"Theorem {theorem.name} " in theorem.text
            assert theorem.text.rstrip().endswith(".")
            assert len(theorem.text) < 2500


def test_theorems_are_quoted_with_their_hypotheses():
    texts = {one.name: one.text for covered in THEOREMS.values() for one in covered.theorems}
    for name, hypothesis in (
        ("covariance_operator", "Hypothesis smooth : forall x a, smooth_at slope lo u W (input x a)."),
        ("variance_psd", "0 <= p"),
        ("residue_second_order", "Hypothesis xi_expansion"),
        ("linear_operator", "Hypothesis tree_means"),
        ("strength", "Hypothesis variance_le"),
        ("contrastive_losses", "Hypothesis tau_pos : 0 < tau."),
    ):
        assert hypothesis in texts[name].split("Theorem ")[0], name
    # Those of a section that has ended are not.
    assert "smooth" not in texts["covariance_operator_general"]


def test_files_name_their_page():
    root = Path(__file__).resolve().parent.parent.parent
    named = {theorem.file for covered in THEOREMS.values() for theorem in covered.theorems}
    for name in sorted(named):
        text = (rocq.HERE / f"{name}.v").read_text(encoding="utf-8")
        pages = re.findall(r"Pages?:\s+(docs/[\w/.-]+\.md)", text)
        assert pages, name
        assert all((root / page).is_file() for page in pages), pages


def test_files_are_derived_once_for_the_same_code(monkeypatch):
    outcomes(monkeypatch, "accepted")
    first = kernel.identities(SLUG, Context())
    monkeypatch.setattr("theory.kernel.export.exports", None)
    assert kernel.identities(SLUG, Context()) == first
    monkeypatch.setattr(sympy, "__version__", "another")
    with pytest.raises(TypeError):
        kernel.identities(SLUG, Context())
