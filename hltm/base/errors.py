"""The exceptions of the toolkit for input that is not allowed.

Every message is one line and names the value, its place and the rule, for instance
``polarity=1.3 on edge ('a', 'b'): must lie in [-1, 1]``. The command line turns it into exit code 2.
"""


class InputError(ValueError):
    """Input that is not allowed: the message names value, place and rule in one line.

    Examples
    --------
    >>> raise InputError("tau=0.0 of loss 'infonce': must be positive and finite")
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: tau=0.0 of loss 'infonce': must be positive and finite
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


class OneProcessError(InputError):
    """The same, where one of several processes finds what the others cannot know, as a memory that is too small.

    Whichever process it is says so; of an `InputError`, which all of them find, one line is enough.
    """
