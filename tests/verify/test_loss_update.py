"""`verify loss` outside of the strict family: weak members, two weights, unit outputs, several positives, parameters."""

import json
import math
from fractions import Fraction

import pytest
import sympy
import torch
from sympy import Heaviside, Rational
from warm import processed

import theory
from hltm.base.errors import InputError
from theory.core.notation import negative, pair_distance, r_0
from theory.losses.family import weak_conditions
from theory.losses.loss import loss_of
from theory.losses.parameters import Parameter, read_parameter, read_parameters
from theory.towers.two_weights import derive_two_weights, weights_of
from verify.commands import make_context
from verify.loss import kink, measure, tuples
from verify.loss.check import check_loss, loss_json, loss_lines
from verify.loss.measure import cases

F = torch.nn.functional
# A text, its parameters, and the literal loss in torch of the distances of positives (n, P) and negatives (n, H).
SIGLIP = "softplus((r_p - b)/tau) + softplus((b - r_1)/tau)"


def softplus(x):
    """Without the threshold of torch's own, above which that is the identity."""
    return torch.logaddexp(x, torch.zeros_like(x))


LOSSES = {
    SIGLIP: (["b=0.5", "tau=0.7"], lambda p, n: softplus((p[:, 0] - 0.5) / 0.7) + softplus((0.5 - n[:, 0]) / 0.7)),
    "-2*s_p + s_1^2": ([], lambda p, n: -2 * (1 - p[:, 0]) + (1 - n[:, 0]) ** 2),
    "r_p^2 + relu(m - sqrt(2*r_1))^2": (["m=1.5"], lambda p, n: p[:, 0] ** 2 + F.relu(1.5 - (2 * n[:, 0]).sqrt()) ** 2),
    "relu(r_p - r_1 + 1)": ([], lambda p, n: F.relu(p[:, 0] - n[:, 0] + 1)),
    "relu(r_p - r_1 + 1)^2 + relu(r_p - r_2 + 1/2)": (
        [], lambda p, n: F.relu(p[:, 0] - n[:, 0] + 1) ** 2 + F.relu(p[:, 0] - n[:, 1] + 0.5)),
    "mean_p(r_p) + tau*log(sum_p(exp(-r_p/tau)) + exp(-r_1/tau) + exp(-r_2/tau))": (
        ["tau=0.5"], lambda p, n: p.mean(1) + 0.5 * torch.logsumexp(-torch.cat([p, n], 1) / 0.5, 1)),
    "-tau*log(sum_p(exp(s_p/tau))/(sum_p(exp(s_p/tau)) + exp(s_1/tau)))": (
        ["tau=0.5"],
        lambda p, n: 0.5 * (torch.logsumexp((1 - torch.cat([p, n], 1)) / 0.5, 1) - torch.logsumexp((1 - p) / 0.5, 1))),
    "tanh(r_p) - min(r_1, 2) + abs(r_1 - 1)": (
        [], lambda p, n: p[:, 0].tanh() - n[:, 0].clamp(max=2) + (n[:, 0] - 1).abs()),
    "log1p(r_p) - sigmoid(r_1)": ([], lambda p, n: p[:, 0].log1p() - n[:, 0].sigmoid()),
}  # fmt: skip


@pytest.mark.parametrize("text", LOSSES)
def test_two_weights_against_autograd_of_the_literal_loss(text):
    """A network and its Jacobians by torch alone; the update of the formula that the report shows."""
    parameters, literal = LOSSES[text]
    loss = loss_of(text, parameters=read_parameters(parameters))
    weights = theory.two_weights(text, parameters)
    unit = loss.domain == "sphere"
    torch.manual_seed(7)
    hidden, top = torch.randn(5, 3, dtype=torch.float64), torch.randn(3, 5, dtype=torch.float64)
    count, pushed = len(loss.positives), len(loss.negatives)
    points = torch.randn(10, 1 + count + pushed, 3, dtype=torch.float64)

    def outputs(w, x):
        out = F.leaky_relu(x @ w.T, 0.25) @ top.T
        return out / out.norm(dim=-1, keepdim=True) if unit else out

    def distances(w):
        out = outputs(w, points)
        return 0.5 * (out[:, :1] - out[:, 1:]).square().sum(-1)

    def total(w):
        r = distances(w)
        return literal(r[:, :count], r[:, count:]).mean()

    gradient = torch.func.grad(total)(hidden)
    jacobian = torch.func.jacrev(lambda w: outputs(w, points))(hidden)  # (10, tuple, n_L, 5, 3)
    out, r = outputs(hidden, points), distances(hidden)
    update = torch.zeros_like(hidden)
    for i in range(len(points)):
        at = {s: sympy.Float(float(v), 30) for s, v in zip(loss.distances, r[i], strict=True)}
        for place, weight in enumerate((*weights.alphas, *weights.betas), start=1):
            number = float(weight.xreplace(at).evalf(25)) * (-1 if place <= count else 1) / len(points)
            gap = jacobian[i, 0] - jacobian[i, place]
            update += number * torch.einsum("oba,o->ba", gap, out[i, 0] - out[i, place])
    assert (update + gradient).abs().max() < 1e-12 * (1 + gradient.abs().max())
    assert gradient.abs().max() > 1e-3


@pytest.mark.parametrize("text", LOSSES)
def test_the_derivation_is_proved_and_its_mutants_are_not(text):
    loss = loss_of(text, parameters=read_parameters(LOSSES[text][0]))
    for form in ("operator", "general"):
        derived = derive_two_weights(loss, form)
        assert derived.proved, derived.decision
        mutants = derived.claim.mutants()
        assert len(mutants) >= 6
        assert not any(derived.decides(wrong).value for wrong in mutants.values())
        assert derived.decides(mutants["sign in relation 1"]).value is False
        assert derived.decides(mutants["times 7 in relation 1"]).value is False
    assert derived.decides(derived.claim.replace(relations=derived.claim.relations[1:])).value is None


@pytest.mark.parametrize(
    "signs", [(1.0, 1.0), (-1.0, -1.0), (1.0 + 1e-6, -1.0), (1.0, -1.0 - 1e-6), (1.0, 0.0), (2.0, -2.0)]
)
@pytest.mark.parametrize("text", [SIGLIP, "-2*s_p + s_1^2"])
def test_false_weights_are_refuted_by_numbers(text, signs):
    loss = loss_of(text, parameters=read_parameters(LOSSES[text][0]))
    weights = weights_of(loss)
    assert tuples.evidence(loss, weights.alphas, weights.betas, 6).status == "holds"
    assert tuples.evidence(loss, weights.alphas, weights.betas, 6, signs=signs).status == "refuted"


HINGES = {
    "relu(r_p - r_1 + r_0)": Heaviside(r_0 - pair_distance),
    "max(0, r_p - r_1 + r_0)": Heaviside(r_0 - pair_distance),
    "relu(r_p - r_1 + r_0)^2": 2 * sympy.Max(0, r_0 - pair_distance),
    "relu(r_p - r_1 + 2)/tau": Heaviside(2 - pair_distance) / sympy.Symbol("tau", positive=True),
    "(r_p - r_1)^3": 3 * pair_distance**2,
}


@pytest.mark.parametrize("text", HINGES)
def test_a_hinge_is_weakly_in_the_family(text):
    report = check_loss(text)
    assert (report.family, report.member, report.verdict) == ("weak", False, "holds")
    assert report.weights == (HINGES[text],)
    assert report.counterexample is None
    assert report.not_strict[1].endswith("but the family needs dL/dr_+ > 0")
    assert [(row.kind, row.status) for row in report.evidence] == [("symbolic", "holds"), ("float", "holds")]
    assert [(row.kind, row.status) for row in report.update.evidence] == [("symbolic", "holds"), ("float", "holds")]
    lines = loss_lines(report)
    assert "statement 2: weakly in the family" in lines
    assert any("V^xi is positive semidefinite" in line for line in lines)
    assert any("no pair lies on a kink" in line for line in lines) is ("^3" not in text)


def test_the_order_of_theta_on_a_kink():
    """Hinge: a step of xi, order 0; squared hinge: a kink of xi, order 1; cubed: none is lost."""
    for text, on, off in (
        ("relu(r_p - r_1 + r_0)", 0, None),
        ("relu(r_p - r_1 + r_0)^2", 1, 2),
        ("relu(r_p - r_1 + r_0)^3", 2, 2),
    ):
        found = kink.orders(loss_of(text), theory.pair_weight(text))
        assert found.distance == pytest.approx(1)
        assert found.on == pytest.approx(on, abs=0.1)
        assert found.off is None if off is None else found.off == pytest.approx(off, abs=0.05)
    assert kink.orders(loss_of("(r_p - r_1)^3"), theory.pair_weight("(r_p - r_1)^3")) is None


@pytest.mark.parametrize("share", [0.0, 0.5, 2.0])
def test_a_wrong_weak_weight_is_refuted(share):
    text = "relu(r_p - r_1 + r_0)^2"
    weight = 2 * sympy.Max(0, r_0 - negative(1))
    loss = loss_of(text)
    assert measure.evidence(loss.expression, [weight], 6, margins=measure.WIDE_MARGINS).status == "holds"
    assert measure.evidence(loss.expression, [share * weight], 6, margins=measure.WIDE_MARGINS).status == "refuted"


def test_outside_with_two_weights(tmp_path):
    result = processed("verify", "loss", SIGLIP, "--param", "b=real", "--json", "loss.json", cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    assert "statement 2: outside the family" in result.stdout
    assert "weight of a pair: alpha = 1/(tau*exp((b - r_p)/tau) + tau)" in result.stdout
    assert "update with two weights, symbolic: holds" in result.stdout
    assert r"\alpha &= " in result.stdout
    loss = json.loads((tmp_path / "loss.json").read_text())["loss"]
    assert (loss["verdict"], loss["family"], loss["member"], loss["parameters"]) == (
        "refuted",
        "outside",
        False,
        ["b=real"],
    )
    assert [row["name"] for row in (*loss["update"]["alphas"], *loss["update"]["betas"])] == ["alpha", "beta"]
    assert [row["status"] for row in loss["update"]["evidence"]] == ["holds", "holds"]
    assert loss["update"]["derivation"].startswith(r"\begin{align}")
    assert loss["pair_weights"] == []
    assert loss["counterexample"] == loss["not_strict"]


def test_exit_code_0_for_a_weak_member(tmp_path):
    result = processed("verify", "loss", "relu(r_p - r_1 + 1)", "--json", "-", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    loss = json.loads(result.stdout)["loss"]
    assert (loss["verdict"], loss["family"], loss["member"], loss["counterexample"]) == ("holds", "weak", False, None)
    assert [row["status"] for row in loss["weak_conditions"]] == ["holds"] * 5
    assert loss["not_strict"][1].startswith("dL/dr_+ = 0")


def test_unit_outputs():
    """Cosine InfoNCE: in the family on the sphere, general form, weights in r = 1 - s."""
    report = check_loss("-tau*log(exp(s_p/tau)/(exp(s_p/tau) + exp(s_1/tau)))")
    assert (report.family, report.verdict, report.domain) == ("strict", "holds", "sphere")
    assert report.weights == (1 / (sympy.exp(pair_distance / sympy.Symbol("tau", positive=True)) + 1),)
    assert "E[xi (K - K')(f - f')]" in report.evidence[-1].detail
    assert any("unit outputs" in line for line in loss_lines(report))
    assert any(
        "unit vectors" in text for text in theory.derive("contrastive-losses", loss=loss_of("s_1 - s_p")).assumptions
    )


def test_several_positives():
    """Inside of the logarithm every positive is pulled; outside of it a near one is pushed where another one is far."""
    inside = "tau*log(sum_p(exp(-r_p/tau)) + exp(-r_1/tau)) - tau*log(sum_p(exp(-r_p/tau)))"
    report = check_loss(inside, positives=3, parameters=["tau=0.5"])
    assert (report.family, report.verdict) == ("strict", "holds")
    assert [name for name, _ in report.update.alphas] == ["alpha_1", "alpha_2", "alpha_3"]
    assert sympy.simplify(report.weights[0] - 1 / (3 * sympy.exp(2 * pair_distance) + 1)) == 0
    outside = check_loss("mean_p(r_p) + tau*log(sum_p(exp(-r_p/tau)) + exp(-r_1/tau))", parameters=["tau=0.5"])
    assert (outside.family, outside.verdict) == ("outside", "refuted")
    place, what = outside.counterexample
    at = {n: float(Rational(v)) for n, v in (part.split(" = ") for part in place[3:-1].split(", "))}
    share = math.exp(-at["r_p1"] / 0.5) / sum(math.exp(-v / 0.5) for v in at.values())
    assert 0.5 - share < 0
    assert f"{0.5 - share:.6f}"[:7] in what


def test_weak_conditions_end_with_the_first_that_fails():
    assert [c.text for c in weak_conditions(loss_of("r_p + r_1"))] == ["dL/dr_+ + dL/dr_1 = 0"]
    assert [c.decision.value for c in weak_conditions(loss_of("r_1 - r_p"))] == [False]
    assert [c.decision.value for c in weak_conditions(loss_of("3"))] == [True, True, True, False, True]


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("r_p - q", {}, "'q' at character 7 of loss 'r_p - q': known are r_p"),
        ("r_p - r_1", {"parameters": ["q=1"]}, "parameter 'q': does not occur in the loss 'r_p - r_1'"),
        ("q*r_p", {"parameters": ["q"]}, "parameter 'q': must be NAME=VALUE"),
        ("q*r_p", {"parameters": ["q=2..1"]}, "the low end must be below the high end"),
        ("q*r_p", {"parameters": ["q=1/0"]}, "'1/0' is no number"),
        ("q*r_p", {"parameters": ["q=__import__('os')"]}, "is no number"),
        ("q*r_p", {"parameters": ["q=1", "q=2"]}, "parameter 'q': is declared twice"),
        ("r_p", {"parameters": ["r_p=1"]}, "is a function or a distance of the grammar"),
        ("r_p", {"parameters": ["exp=1"]}, "is a function or a distance of the grammar"),
        ("tau*r_p", {"parameters": ["tau=0"]}, "tau is positive"), ("tau*r_p", {"parameters": ["tau=0..1"]}, "tau is positive"),
        ("r_p - r_1", {"domain": "torus"}, "domain='torus': must be one of euclidean, sphere"),
        ("s_p - s_1", {"domain": "euclidean"}, "must be 'sphere'"), ("s_p(1)", {}, "is a symbol and takes no argument"),
        ("sum_p(r_1)", {}, "needs r_p (or s_p) inside"), ("sum_p(r_p) - r_p", {}, "number every positive"), ("r_p2 - r_1", {}, "r_p1 is missing"),
        ("sum_p(r_p) - r_1", {"positives": 9}, "must be from 1 to 8"), ("r_p1 + r_p2", {"positives": 1}, "must be from 2 to 8"),
        ("infonce", {"parameters": ["m=1"]}, "does not occur in the loss 'infonce'"), ("log1p(-1)*r_p", {}, "logarithm of zero"),
        ("relu(r_p, r_1)", {}, "takes one argument"), ("sigmoid(exp(r_p))", {}, "an exponential in the exponent"),
    ],
)  # fmt: skip
def test_one_line_with_value_place_and_rule(text, options, words):
    with pytest.raises(InputError) as caught:
        check_loss(text, **options)
    message = str(caught.value)
    assert words in message
    assert message.isprintable()
    assert len(message) < 400


def test_parameters_as_declared():
    assert read_parameter(" beta = 0.5 ") == Parameter("beta", "real", Fraction(1, 2))
    assert read_parameter("lam=0..1") == Parameter("lam", "nonnegative", None, Fraction(0), Fraction(1))
    assert read_parameter("lam=1e-3..1").kind == "positive"
    assert read_parameter("b=-1..1").kind == "real"
    assert [read_parameter(text).text for text in ("b=2.50", "b=real", "b=-1..0.5")] == ["b=5/2", "b=real", "b=-1..1/2"]
    one = next(cases(1, 0, 1, read_parameters(["a=positive", "b=-1..1", "c=3"])))
    assert set(one.values) == {"tau", "r_0", "a", "b"}
    assert one.values["a"] > 0
    assert -1 <= one.values["b"] <= 1


def test_the_canonical_losses_take_their_own_parameters():
    assert check_loss("infonce", parameters=["tau=0.5"]).weights == (1 / (sympy.exp(2 * pair_distance) + 1),)
    assert theory.pair_weight("triplet", ["r_0=0", "tau=1"]) == 1 / (sympy.exp(pair_distance) + 1)


def test_the_document_of_a_report_without_update():
    document = loss_json(make_context("quick", "cpu", 0), check_loss("r_p - r_1"))["loss"]
    assert (document["family"], document["update"], document["weak_conditions"]) == ("strict", None, [])
