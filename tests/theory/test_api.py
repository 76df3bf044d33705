"""The public names of theory: import cost, errors, the form of a derivation."""

import dataclasses
import subprocess
import sys

import pytest

import theory
from hltm.base.errors import InputError


def test_import_is_light():
    code = (
        "import sys, time; start = time.perf_counter(); import theory; seconds = time.perf_counter() - start; "
        "assert seconds < 0.8, seconds; assert 'torch' not in sys.modules; assert 'sympy' not in sys.modules; "
        "theory.derive('dual-gradient', widths=(2, 1)); assert 'torch' not in sys.modules; "
        "assert 'numeric' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_all_names_exist():
    for name in theory.__all__:
        assert getattr(theory, name) is not None
    with pytest.raises(AttributeError):
        theory.nothing  # noqa: B018


def test_derivation_is_frozen_data():
    derivation = theory.derive("dual-gradient", widths=(2, 1))
    with pytest.raises(dataclasses.FrozenInstanceError):
        derivation.slug = "other"
    assert isinstance(derivation.steps, tuple)
    assert isinstance(derivation.assumptions, tuple)
    assert str(derivation.statement)
    undecided = dataclasses.replace(derivation.steps[0], decision=theory.Decision(None, "abstained"))
    assert not dataclasses.replace(derivation, steps=(undecided,)).proved
    refuted = dataclasses.replace(derivation, read=lambda claim: theory.Decision(False, "numeric point"))
    assert not refuted.proved


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_numbers_are_aliases(number):
    names = ["dual-gradient", "contrastive-losses", "covariance-operator", "weighted-covariance-operator"]
    assert theory.derive(number).slug == theory.derive(str(number)).slug == names[number - 1]


BAD = {
    "slug": (("dual-gradeint",), {}, "did you mean 'dual-gradient'"),
    "number": ((9,), {}, "slug=9"),
    "bool": ((True,), {}, "slug=True"),
    "none": ((None,), {}, "slug=None"),
    "option": (("dual-gradient",), {"width": (2, 2)}, "did you mean 'widths'"),
    "zero width": (
        ("dual-gradient",),
        {"widths": (3, 0, 2)},
        "widths[1]=0 of 'dual-gradient': must be a positive integer",
    ),
    "negative width": (("dual-gradient",), {"widths": (3, 2, -2)}, "widths[2]=-2"),
    "fraction": (("dual-gradient",), {"widths": (3, 2.0)}, "widths[1]=2.0"),
    "text width": (("dual-gradient",), {"widths": (3, "2")}, "widths[1]='2'"),
    "boolean width": (("dual-gradient",), {"widths": (True, 2)}, "widths[0]=True"),
    "one width": (("dual-gradient",), {"widths": (3,)}, "at least two"),
    "no sequence": (("dual-gradient",), {"widths": 3}, "widths=3"),
    "text": (("dual-gradient",), {"widths": "322"}, "widths='322'"),
    "too large": (("dual-gradient",), {"widths": (64, 64, 64)}, "widths=None proves all sizes"),
    "too large for a norm": (("dual-gradient",), {"widths": (4, 4, 4), "output": "normalized"}, "widths=None"),
    "output": (("dual-gradient",), {"output": "normalised"}, "did you mean 'normalized'"),
    "convention": (("covariance-operator",), {"convention": "onebranch"}, "did you mean 'one-branch'"),
    "drop": (("covariance-operator",), {"drop": "iid"}, "drop='iid'"),
    "form": (("covariance-operator",), {"form": None}, "form=None"),
    "loss": (("contrastive-losses",), {"loss": "infonse"}, "did you mean 'infonce'"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_names_value_place_and_rule(name):
    args, options, message = BAD[name]
    with pytest.raises(InputError) as caught:
        theory.derive(*args, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_derivations_of_a_quick_run_are_proved():
    """The first four statements, the explicit one included."""
    for number in (1, 2, 3, 4):
        assert theory.derive(number).proved
    assert theory.derive(1, widths=(3, 2, 2)).proved
