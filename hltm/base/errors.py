"""Exceptions for invalid input.

Every message is one line and names the value, its place and the rule, for instance
``polarity=1.3 on edge ('a', 'b'): must lie in [-1, 1]``. The command line turns it into exit code 2.
"""


class InputError(ValueError):
    """Invalid input: the message names value, place and rule in one line.

    Examples
    --------
    >>> raise InputError("tau=0.0 of loss 'infonce': must be positive and finite")
    Traceback (most recent call last):
        ...
    hltm.base.errors.InputError: tau=0.0 of loss 'infonce': must be positive and finite
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))


def printable(text: str) -> str:
    """The text with the escapes of characters that cannot be printed, such as those of a terminal's commands."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


class OneProcessError(InputError):
    """Invalid input that one of several processes detects and the others cannot, such as too little memory.

    The process that detects it prints it; an `InputError`, which all processes detect, only the first one prints.
    """


class TreeWarning(UserWarning):
    """Something in a tree file was changed or left out when it was read: rounded rows, attributes of other programs.

    Python shows it as a warning, a command as one line on stderr.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore", TreeWarning)
    ...     warnings.warn("1 row is rounded and divided by its sum", TreeWarning)
    """
