"""Statement 5: what must hold at other seeds, what must not, and that breaking a formula anywhere turns a run red."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import numeric
from hltm.base.errors import InputError
from verify import theorem5
from verify.engine.evidence import tally
from verify.engine.statement import Context
from verify.instances import samples
from verify.strategies import LOSSES
from verify.towers import autograd, population
from verify.towers.population import to_float
from verify.training import towers
from verify.two_layer import formulas, measures
from verify.two_layer import samples as populations
from verify.two_layer.formulas import Claim
from verify.two_layer.samples import TwoLayerInstance


@pytest.fixture
def fresh():
    """Caches of gradients, emptied before and after: what is patched must not meet what was kept."""
    caches = (autograd.autograd_update, population.simple_loss_gradient)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_the_trained_evidence_has_at_least_twenty_checkpoints():
    instance = next(populations.smooth(0, 1))
    trace = towers.descend(instance, towers.horizon(instance), towers.CHECKPOINTS)
    assert trace.steps == tuple(range(towers.CHECKPOINTS + 1))
    assert towers.CHECKPOINTS >= 20
    # Training moves the weights: the checkpoints are not one and the same network.
    start, end = (torch.cat([w.flatten() for w in trace.at(r)]) for r in (0, -1))
    assert float((end - start).norm() / start.norm()) > 0.05


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [1, 2])
def test_trained_evidence_holds_at_other_seeds(seed):
    context = Context(seed=seed)
    checks = [theorem5.relative, theorem5.trained_decoupled, theorem5.trained_linear, theorem5.trained_relu]
    for check in checks:
        found = check(context)
        assert found.status == "holds", found
    assert theorem5.trained("toy", context).status == "holds"


@pytest.mark.parametrize("loss", LOSSES)
def test_the_drift_is_of_first_order(loss):
    assert theorem5.drift(loss, Context(seed=4)).status == "holds"
    drawn = populations.smooth(4, 100, (loss,))
    assert towers.drift_order(drawn, 2, source="toy", wanted=6, device="cpu").status == "refuted"


def test_the_order_abstains_without_runs():
    assert towers.drift_order([], 1, source="toy", wanted=3, device="cpu").status == "abstained"


def test_a_run_that_diverges_decides_nothing():
    instance = next(populations.smooth(0, 1, ("simple",)))
    trace = towers.descend(instance, 1e6, 30)
    assert trace.diverged_at is not None
    found = towers.along(instance, measures.measure_float, trace)
    assert found.status == "abstained"
    assert "diverged at step" in found.detail


def test_the_exact_gradient_of_a_ring_is_zero_for_linear_neurons_only():
    case = next(populations.rings(0, (5,), 1.0, hidden=2))
    gradient, _ = population.simple_loss_gradient(case)
    assert all(entry == 0 for g in gradient for entry in g.ravel())
    gradient, _ = population.simple_loss_gradient(replace(case, slope=0.0))
    assert any(entry != 0 for g in gradient for entry in g.ravel())


def test_linear_neurons_move_under_other_losses_but_part_nothing():
    """Beyond statement 5: that linear neurons stay where they are is true of the simple loss only."""
    for name in ("triplet", "infonce"):
        case = replace(next(populations.rings(0, (5,), 1.0)), loss=name, parameters=(("tau", 1.0),))
        update, bounds, _ = autograd.autograd_update(case, "cpu")
        assert max(float((np.abs(u) / b).max()) for u, b in zip(update, bounds, strict=True)) > 1e6
        assert measures.measure_linear(case).status == "holds"


def test_the_criteria_on_the_ring_can_fail():
    case = next(populations.rings(0, (6,), 1.0))
    time = measures.ring_time(case, "cpu")
    assert measures.growth(case, time, "cpu").status == "refuted"
    assert measures.growth(replace(case, slope=0.0), time, "cpu").status == "holds"
    # Too short a training does not count as a separation.
    assert measures.growth(replace(case, slope=0.0), time / 50, "cpu").status == "refuted"
    still = next(populations.detectors((5,)))
    assert measures.measure_detector(replace(still, slope=1.0)).status == "refuted"


def test_other_patterns_have_other_means_and_linear_neurons_move():
    points = numeric.ring_population(5, ["11", "1"]).points
    case = replace(next(populations.rings(0, (5,), 1.0)), points=samples.freeze(points))
    assert measures.measure_still(case).status == "abstained"
    assert measures.measure_linear(case).status == "refuted"


def test_the_population_decouples_and_others_do_not():
    for instance in populations.decoupling(3, 4, neurons=3, block=1):
        assert measures.measure_decoupled_exact(instance).residual == 0
    biased = next(populations.decoupling(3, 1))
    law = ((0.5, 0.25, 0.125, 0.125),) * len(biased.points)
    assert measures.measure_decoupled_exact(replace(biased, augmentation_weights=law)).residual > 0
    toy = [i for i in populations.toys(1, 30, ("simple",)) if len(i.weights[0]) > 1]
    assert any(measures.measure_decoupled(i).status == "refuted" for i in toy)


def shifted(centres):
    """Neurons 1 and 2 read inputs 1 and 2; input j is its centre for the object plus a random sign times a size.

    Sizes exceed centres, so that the sign decides the gate, and objects take both sizes of either input independently.
    ``centres`` gives the centre of an input from its size.
    """
    sizes, signs = ((1.0, 3.0), (2.0, 5.0)), (1, -1)
    points = [
        [[centres(a) + s * a, centres(b) + t * b] for s in signs for t in signs] for a in sizes[0] for b in sizes[1]
    ]
    weights = (((1.0, 0.0), (0.0, 0.5)), ((0.25, 1.0), (-0.5, 0.75)))
    return TwoLayerInstance(0.0, weights, samples.freeze(points), point_weights=(0.125, 0.125, 0.375, 0.375))


def test_an_unread_input_needs_a_constant_gated_mean_and_no_mean_of_zero():
    constant = shifted(lambda size: 0.5)
    means = formulas.exact_neurons(constant).means()
    for j, k in ((0, 1), (1, 0)):
        unread = [to_float(mean[j, k]) for mean in means]
        assert unread == [0.25] * len(unread)  # half of the centre: not zero, the same for every object
        assert len({to_float(mean[j, j]) for mean in means}) == 2
    assert measures.measure_decoupled_exact(constant).residual == 0
    # A gated mean that varies with the object couples the neurons, and takes A_jj out of its inputs.
    found = measures.measure_decoupled_exact(shifted(lambda size: size / 4))
    assert found.status == "refuted"
    blocks = formulas.exact_neurons(shifted(lambda size: size / 4)).blocks
    assert to_float(blocks[0, 1, 0, 1]) > 0
    assert any(entry != 0 for entry in blocks[0, :, 1, :].ravel())


def test_disjoint_inputs_that_vary_together_are_coupled():
    """Gated means of what is not read are 0, and yet A_12 is not: what is read is correlated over the objects."""
    points = [[[s * a, t * a] for s in (1, -1) for t in (1, -1)] for a in (1.0, 3.0)]
    case = TwoLayerInstance(0.0, (((1.0, 0.0), (0.0, 0.5)), ((0.25, 1.0), (-0.5, 0.75))), samples.freeze(points))
    neurons = formulas.exact_neurons(case)
    assert all(mean[0, 1] == mean[1, 0] == 0 for mean in neurons.means())
    assert [to_float(entry) for entry in neurons.blocks[0, :, 1, :].ravel()] == [0.0, 0.25, 0.0, 0.0]


def test_formulas_against_reference_arithmetic():
    """Rationals and float64 give the same blocks; the block at (j, k) is the covariance of two neurons alone."""
    for instance in populations.toys(7, 12):
        exact, floating = formulas.exact_neurons(instance), formulas.float_neurons(instance)
        ours = np.vectorize(to_float, otypes=[float])(exact.blocks)
        assert np.abs(ours - floating.blocks).max() <= 1e-12 * max(1.0, np.abs(ours).max())
        means = np.stack([np.vectorize(to_float, otypes=[float])(m) for m in exact.means()])
        p = np.array([to_float(w) for w in exact.p])
        centred = means - np.einsum("m,mja->ja", p, means)
        assert np.allclose(np.einsum("m,mja,mkb->jakb", p, centred, centred), ours, rtol=0, atol=1e-12)


def check_all(kinds=("exact", "float", "trained")):
    """Status of each kind on a few instances of the simple loss."""
    found = {}
    for kind in kinds:
        measure = theorem5.STATEMENT.measures[kind]
        found[kind] = tally(kind, "toy", populations.toys(5, 12, ("simple",)), measure, at_least=4).status
    return found


def test_nothing_is_red_before_it_is_broken(fresh):
    assert set(check_all().values()) == {"holds"}


def test_a_wrong_covariance_turns_every_kind_red(fresh, monkeypatch):
    """The product of the means forgotten in `verify`'s formula."""

    def moment(values, p):
        flat = [v.reshape(-1) for v in values]
        return formulas.weighted_sum([np.outer(v, v) for v in flat], p).reshape(*values[0].shape, *values[0].shape)

    monkeypatch.setattr(formulas, "covariance", moment)
    assert set(check_all().values()) == {"refuted"}


def test_a_wrong_gradient_turns_float_and_trained_red(fresh, monkeypatch):
    """`numeric`'s gradient off by one part in a thousand."""
    true = numeric.population_gradient
    broken = lambda *a, **k: [1.001 * u for u in true(*a, **k)]  # noqa: E731
    monkeypatch.setattr(numeric, "population_gradient", broken, raising=False)
    assert check_all() == {"exact": "holds", "float": "refuted", "trained": "refuted"}


def test_one_layer_updated_faster_breaks_conservation(fresh, monkeypatch):
    true = numeric.population_gradient
    broken = lambda *a, **k: [s * u for s, u in zip((1.0, 1.01), true(*a, **k), strict=True)]  # noqa: E731
    monkeypatch.setattr(numeric, "population_gradient", broken, raising=False)
    for loss in ("triplet", "infonce"):
        drawn = populations.toys(5, 12, (loss,))
        assert tally("float", "toy", drawn, measures.measure_float, at_least=4).status == "refuted"


def test_wrong_gates_turn_the_run_red(fresh, monkeypatch):
    true = numeric.trace
    monkeypatch.setattr(
        numeric, "trace",
        lambda *a, **k: replace(t := true(*a, **k), gates=tuple(1.0 - 0.5 * (1.0 - g) for g in t.gates)), raising=False,
    )  # fmt: skip
    assert check_all()["float"] == "refuted"


def test_ascent_for_descent_turns_the_ring_and_the_steps_red(fresh, monkeypatch):
    """A sign lost in the step of `numeric.descend`: no update and no gradient is wrong, only the training."""
    import numeric.towers.descent as module

    true = module.population_gradient
    monkeypatch.setattr(module, "population_gradient", lambda *a, **k: [-u for u in true(*a, **k)])
    assert theorem5.trained_relu(Context(seed=1)).status == "refuted"


def test_a_step_that_is_no_gradient_step_turns_trained_red(fresh, monkeypatch):
    """The second layer trained with another learning rate: every checkpoint is right, what the steps conserve is not."""
    import numeric.towers.descent as module

    true = module.population_gradient
    monkeypatch.setattr(
        module, "population_gradient", lambda *a, **k: [s * u for s, u in zip((1, 2), true(*a, **k), strict=True)]
    )
    found = theorem5.trained("toy", Context())
    assert found.status == "refuted"
    assert "drift" in found.detail
    assert theorem5.drift("infonce", Context()).status == "refuted"


def test_a_broken_derivation_turns_symbolic_red(monkeypatch):
    from theory.two_layer import dynamics

    true = dynamics.Population.gated_covariance
    monkeypatch.setattr(dynamics.Population, "gated_covariance", lambda *place: -true(*place))
    assert theorem5.symbolic(Context()).status == "refuted"


def test_claims_that_nothing_is_claimed_of_are_not_decided():
    instance = next(populations.toys(1, 1, ("simple",)))
    separates = Claim(separates=True)
    for measure in theorem5.STATEMENT.measures.values():
        assert measure(replace(instance, slope=0.0), separates).status == "abstained"


def test_instances_of_another_depth_are_refused():
    instance = next(populations.toys(1, 1))
    data = instance.as_json()
    assert TwoLayerInstance.from_json(data) == instance
    with pytest.raises(InputError, match="weights with 1 layers: must have 2"):
        TwoLayerInstance.from_json({**data, "weights": data["weights"][:1]})
