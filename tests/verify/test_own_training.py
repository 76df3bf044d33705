"""Trained evidence of a user's statement: what holds along training, what only holds at the start, and what is too weak."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

import numeric
from hltm.base.errors import InputError
from verify import Context, JsonInstance, PopulationInstance, along_training, user_statement
from verify.own import training
from verify.strategies import matrices, population_instances

Matrix = tuple[tuple[float, ...], ...]


def evidence(statement, **context):
    """The trained evidence of a statement."""
    (check,) = [check for check in statement.checks if check.kind == "trained"]
    return check.run(Context(**context))


# A statement on towers: the gradient of the simple loss of a linear layer is 2 W times a covariance.


def covariance(i, at, factor=2):
    points, p, q = (at.array(x) for x in (i.points, i.point_weights, i.augmentation_weights))
    means = (q[:, :, None] * points).sum(axis=1)
    centred = means - (p[:, None] * means).sum(axis=0)
    (weights,) = i.weights
    return factor * at.array(weights) @ ((p[:, None] * centred).T @ centred)


def measured(i, at):
    return numeric.population_gradient(at.weights(i), at.population(i), i.loss, i.slope, **i.options)[0]


def tower(theory=covariance, variants=None, **changes):
    options = {"network": (3, 2), "loss": "simple", "steps": 20, "lr": 0.02, "runs": 2} | changes
    return user_statement(
        title="covariance", claim="2 W V", theory=theory, numeric=measured,
        strategy=population_instances(max_layers=1),
        variants={"once": lambda i, at: covariance(i, at, 1)} if variants is None else variants,
        trained=along_training(**options),
    )  # fmt: skip


def test_widths_and_a_named_loss_need_no_more():
    result = evidence(tower())
    assert (result.status, result.instances, result.source) == ("holds", 12, "training"), result
    for fragment in ("6 checkpoints of 2 runs of 20 steps", "1 of 1 mutant refuted", "weights moved by"):
        assert fragment in result.detail


def test_a_run_is_a_function_of_the_seed():
    first, again, other = (evidence(tower(runs=1, checkpoints=2), seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.worst_residual != other.worst_residual


def test_the_thorough_profile_makes_five_times_the_runs():
    assert evidence(tower(steps=5, lr=0.1), profile="thorough").instances == 60


def test_a_false_statement_is_refuted_on_trained_weights():
    result = evidence(tower(theory=lambda i, at: covariance(i, at, 2.000001)))
    assert result.status == "refuted"
    assert isinstance(result.counterexample, PopulationInstance)
    assert "step 20 of run 1" in result.detail


# Modules of a user's own: a linear network, and an instance that holds its weights.


@dataclass(frozen=True)
class State(JsonInstance):
    w: Matrix
    x: Matrix


def state(network, step, data):
    return State(tuple(map(tuple, network.weight.tolist())), tuple(map(tuple, data.tolist())))


def reconstruction(network, data):
    return ((network(data) - data) ** 2).sum() / 2


def gradient(i, at):
    w, x = at.array(i.w), at.array(i.x)
    return (x @ w.T - x).T @ x


def by_autograd(i, at):
    w, x = at.tensor(i.w).requires_grad_(), at.tensor(i.x)
    return torch.autograd.grad(((x @ w.T - x) ** 2).sum() / 2, w)[0]


def zeros():
    network = torch.nn.Linear(2, 2, bias=False)
    torch.nn.init.zeros_(network.weight)
    return network


class Bare(torch.nn.Module):
    """A module that cannot draw its weights anew."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(2))

    def forward(self, x):
        return x @ self.weight.T / 2


def linear(theory=gradient, **changes):
    options = {
        "network": lambda: torch.nn.Linear(2, 2, bias=False), "loss": reconstruction, "instance": state, "lr": 0.05,
        "data": lambda generator: torch.randn(3, 2, generator=generator, dtype=torch.float64), "steps": 10, "runs": 2,
    } | changes  # fmt: skip
    return user_statement(
        title="autoencoder", claim="x", theory=theory, numeric=by_autograd,
        strategy=st.builds(State, matrices(2, 2), matrices(3, 2)), variants={"twice": lambda i, at: 2 * gradient(i, at)},
        trained=along_training(**options),
    )  # fmt: skip


@pytest.mark.parametrize(
    "network",
    [
        lambda: torch.nn.Linear(2, 2, bias=False),
        lambda: torch.nn.Linear(2, 2, bias=False).float(),
        torch.nn.Linear(2, 2, bias=False),
        zeros,
    ],
)
def test_a_module_of_a_users_own(network):
    before = [p.clone() for p in network.parameters()] if isinstance(network, torch.nn.Module) else []
    result = evidence(linear(network=network))
    assert (result.status, result.instances) == ("holds", 12), result
    assert all(torch.equal(p, q) for p, q in zip(before, getattr(network, "parameters", list)(), strict=True))


def test_what_holds_at_the_start_only_is_refuted():
    """With zero weights the gradient is that of the target alone: true at initialisation."""

    def only_at_zero(i, at):
        x = at.array(i.x)
        return -x.T @ x + 0 * at.array(i.w)

    assert evidence(linear(theory=only_at_zero, network=zeros, checkpoints=[0, 10])).status == "refuted"
    kept = evidence(
        linear(
            theory=only_at_zero, network=zeros, optimizer=lambda network, lr: torch.optim.SGD(network.parameters(), 0.0)
        )
    )
    assert kept.status == "abstained"
    assert "at least 1 % is training" in kept.detail


def test_an_optimiser_of_a_users_own():
    result = evidence(linear(optimizer=lambda network, lr: torch.optim.Adam(network.parameters(), lr)))
    assert result.status == "holds", result


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"lr": 1e-6}, "at least 1 % is training"),
        ({"lr": 1e3, "steps": 300}, "diverged at step"),
        ({"instance": lambda network, step, data: State(((1.0, 0.0), (0.0, 1.0)), ((1.0, 2.0),) * 3)}, "do not change"),
    ],
)
def test_training_that_is_none_leaves_the_evidence_open(changes, reason):
    result = evidence(linear(**changes))
    assert result.status == "abstained", result
    assert reason in result.detail


def test_instances_that_no_side_decides_leave_it_open():
    result = evidence(linear(theory=lambda i, at: None))
    assert (result.status, result.instances, result.abstained) == ("abstained", 0, 12)
    assert "only 0 of 12" in result.detail


def test_a_check_whose_mutants_all_survive_is_too_weak():
    """Where weights stay on the target, a factor of both sides changes nothing."""

    def fixed(network, step, data):
        return State(((1.0, 0.0), (0.0, 1.0)), tuple(tuple(float(step) * v for v in row) for row in data.tolist()))

    result = evidence(linear(instance=fixed))
    assert result.status == "abstained"
    assert "too weak" in result.detail


def test_a_mutant_that_falls_at_the_start_only_is_too_weak():
    def solved(network, step, data):
        w = 1.0 if step else 2.0
        return State(((w, 0.0), (0.0, w)), tuple(tuple((step + 1) * v for v in row) for row in data.tolist()))

    assert "too weak" in evidence(linear(instance=solved)).detail


# Laws: W2^T W2 - W1 W1^T is conserved by the flow of every linear network.


class TwoLayers(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = torch.nn.Linear(2, 3, bias=False), torch.nn.Linear(3, 2, bias=False)

    def forward(self, x):
        return self.second(self.first(x))


def balance(network, data):
    first, second = network.first.weight, network.second.weight
    return second.T @ second - first @ first.T


def decayed(network, data):
    sizes = sum((p**2).sum() for p in network.parameters())
    return ((network(data) - data) ** 2).sum() / 2 + 0.25 * sizes


def law(**changes):
    options = {"network": TwoLayers, "loss": reconstruction, "quantity": balance, "steps": 10, "lr": 0.02, "runs": 2}
    return linear(instance=None, **options | changes)


class Balanced(TwoLayers):
    """Two layers whose conserved quantity is zero at the start."""

    def __init__(self):
        super().__init__()
        self.second.weight.data = self.first.weight.data.T.clone()


def decay(rate):
    return lambda start, time: start * np.exp(-rate * time)


def test_a_conserved_quantity_and_one_with_a_course():
    for statement in (law(), law(loss=decayed, course=decay(1.0)), law(network=Balanced)):
        result = evidence(statement)
        assert (result.status, result.source, result.instances) == ("holds", "law", 2), result
        assert re.search(r"exponent (1\.00|0\.99)", result.detail)


@pytest.mark.parametrize(
    "changes",
    [
        {
            "quantity": lambda network, data: (
                network.second.weight.T @ network.second.weight + network.first.weight @ network.first.weight.T
            )
        },
        {"loss": decayed},
        {"course": decay(0.1)},
        {"loss": decayed, "course": decay(0.95)},
    ],
)
def test_a_false_law_is_refuted(changes):
    result = evidence(law(**changes))
    assert result.status == "refuted", result


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"quantity": lambda network, data: data.sum()}, "does not depend on the weights"),
        ({"lr": 1e-7}, "at least 1 % is training"),
        ({"lr": 50.0, "steps": 40}, "diverged"),
    ],
)
def test_a_law_that_cannot_fail_is_left_open(changes, reason):
    result = evidence(law(**changes))
    assert result.status == "abstained", result
    assert reason in result.detail


def test_a_law_is_left_open_where_a_false_one_would_hold(monkeypatch):
    monkeypatch.setattr(training, "VISIBLE", 1e-9)
    result = evidence(law(runs=1))
    assert result.status == "abstained"
    assert "take a smaller lr" in result.detail


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"steps": 0}, "steps=0"), ({"steps": 10**7}, "steps=10000000"), ({"lr": 0}, "lr=0"), ({"lr": "fast"}, "lr='fast'"),
        ({"runs": 0}, "runs=0"), ({"checkpoints": 1}, "checkpoints=1"), ({"checkpoints": [0]}, "checkpoints=[0]"),
        ({"checkpoints": [3, 99]}, "checkpoints=[3, 99]"), ({"checkpoints": "all"}, "checkpoints='all'"),
        ({"loss": "mse"}, "loss='mse'"), ({"tau": 0.5}, "tau"), ({"network": (3, 0)}, "0"), ({"network": "mlp"}, "widths"),
        ({"optimizer": "adam"}, "optimizer='adam'"), ({"course": decay(1)}, "course"), ({"instance": 3}, "instance=3"),
        ({"network": torch.nn.Linear(2, 2)}, "data"), ({"loss": reconstruction}, "instance"), ({"slope": 2}, "slope=2"),
    ],
)  # fmt: skip
def test_what_is_not_allowed_is_refused_in_a_line(changes, fragment):
    with pytest.raises(InputError) as error:
        tower(**changes)
    assert fragment in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "fragment"),
    [
        ({"loss": lambda network, data: 1.0}, "loss=1.0"),
        ({"loss": lambda network, data: network(data)}, "loss="),
        ({"loss": lambda network, data: 1 / 0}, "loss of along_training: ZeroDivisionError"),
        ({"loss": "simple"}, "numeric.FinitePopulation"),
        ({"network": lambda: 3}, "network=3"),
        ({"instance": lambda network, step, data: None}, "must be State"),
        ({"instance": lambda network, step, data: network.nothing}, "AttributeError"),
        ({"optimizer": lambda network, lr: None}, "optimizer=None"),
        ({"data": lambda generator: 1 / 0}, "ZeroDivisionError"),
        ({"network": Bare()}, "runs must be 1"),
    ],
)
def test_what_fails_in_training_is_one_line(changes, fragment):
    with pytest.raises(InputError) as error:
        evidence(linear(**changes))
    assert fragment in str(error.value)
    assert "autoencoder" in str(error.value)
    assert "\n" not in str(error.value)


def test_trained_must_be_along_training():
    with pytest.raises(InputError, match="trained=3"):
        user_statement(
            title="x", claim="x", theory=gradient, numeric=by_autograd, strategy=st.builds(State, matrices(2, 2), matrices(3, 2)),
            variants={}, trained=3,
        )  # fmt: skip
