"""Time limits: nested ones, a limit of no time, and what the block leaves behind; files that a block fails to write."""

import signal
import sys
import time

import pytest

from hltm.base import interrupts
from hltm.base.atomic import replacing
from hltm.base.errors import InputError
from hltm.base.interrupts import OutOfTimeError, cancel_when, is_ctrl_c, limited


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


SWALLOWING = {
    "every exception": "while True:\n try: sum(range(1000))\n except BaseException: pass",
    "asleep": "import time\nwhile True:\n try: time.sleep(0.01)\n except BaseException: pass",
    "twice": "while True:\n try:\n  try: sum(range(1000))\n  except BaseException: pass\n except BaseException: pass",
    "by continue": "while True:\n try: sum(range(1000))\n finally: continue",
    "above too": """
def below():
    while True:
        try: sum(range(1000))
        except BaseException: pass
while True:
    try: below()
    except BaseException: pass
""",
}


@pytest.mark.parametrize("code", SWALLOWING)
def test_a_loop_that_swallows_the_limit_is_left(code, monkeypatch):
    monkeypatch.setattr(interrupts, "LOOK_SECONDS", 0.01)
    before = sys.gettrace(), sys.getprofile()
    with pytest.raises(OutOfTimeError), limited(0.02):
        exec(SWALLOWING[code], {})  # noqa: S102
    assert (sys.gettrace(), sys.getprofile()) == before


def test_code_that_goes_on_after_all_alarms_ends_the_process(monkeypatch):
    monkeypatch.setattr(interrupts, "PATIENCE", 0)
    called = []
    with pytest.raises(OutOfTimeError), limited(0.01, lambda: called.append(True)):
        exec(SWALLOWING["by continue"], {})  # noqa: S102
    assert called


def raised():
    raise KeyboardInterrupt


def pressed():
    signal.raise_signal(signal.SIGINT)
    time.sleep(1)


def pressed_and_raised_again():
    try:
        pressed()
    except KeyboardInterrupt:
        raise


def pressed_and_replaced():
    try:
        pressed()
    except KeyboardInterrupt:
        raise KeyboardInterrupt from None


@pytest.mark.parametrize(
    ("code", "real"),
    [(raised, False), (pressed, True), (pressed_and_raised_again, True), (pressed_and_replaced, True)],
)
def test_ctrl_c_differs_from_a_keyboard_interrupt_that_code_raises(code, real):
    with pytest.raises(KeyboardInterrupt) as caught:
        code()
    assert is_ctrl_c(caught.value) is real
