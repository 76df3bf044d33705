"""Time limits: nested ones, a limit of no time, and what the block leaves behind; files that a block fails to write."""

import signal
import time

import pytest

from hltm.base.atomic import replacing
from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError, cancel_when, limited


def spin(seconds):
    """Work in Python for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def test_no_time_at_all_is_a_limit():
    with pytest.raises(OutOfTimeError), limited(0):
        spin(5)


def test_the_limit_of_an_outer_block_outlives_inner_blocks():
    with pytest.raises(OutOfTimeError), limited(0.3):  # noqa: PT012
        for _ in range(100):
            with limited(60):
                spin(0.05)


def test_a_condition_is_looked_at_again_after_an_inner_limit():
    with pytest.raises(OutOfTimeError), cancel_when(lambda: True):  # noqa: PT012
        with limited(60):
            pass
        spin(5)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_limit_that_is_lost_in_a_callback_comes_again():
    """Python drops what is raised while an object is finalised."""

    class Lost:
        def __del__(self):
            spin(0.1)

    with pytest.raises(OutOfTimeError), limited(0.05):  # noqa: PT012
        Lost()
        spin(5)


def test_timer_and_handler_are_as_before():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(OutOfTimeError), limited(0.01):
        spin(5)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
    assert signal.getsignal(signal.SIGALRM) is before


@pytest.mark.parametrize("error", [ValueError("of the block"), InputError("of the block")])
def test_an_error_of_the_block_is_not_one_of_the_file(tmp_path, error):
    with pytest.raises(type(error), match=r"^of the block$"), replacing(tmp_path / "file"):
        raise error
    assert not list(tmp_path.iterdir())


def test_a_name_of_the_greatest_length_is_written(tmp_path):
    with replacing(tmp_path / ("n" * 255)) as place:
        place.write_text("content")
    assert [path.name for path in tmp_path.iterdir()] == ["n" * 255]


def test_a_null_byte_in_a_name():
    with pytest.raises(InputError, match=r"^path='a\\x00b': cannot be written: .*null"), replacing("a\0b"):
        raise AssertionError
