"""What a worker answers, checked before it is written: plain numbers and text, as many as were asked for."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """Results of a task that can be written.

    Attributes
    ----------
    results : tuple of str
        JSON for each member.
    seconds : float
    device, code : str
    """

    results: tuple[str, ...]
    seconds: float
    device: str
    code: str


@dataclass(frozen=True)
class Wrong:
    """A task that went wrong.

    Attributes
    ----------
    reason : str
        Kind and what happened, in one line.
    """

    reason: str


def read_answer(found: Any, members: int) -> Answer | Wrong:
    """Read what :func:`numeric.studies.sweep.task.run_task` gave; what cannot be written went wrong too, and says why.

    Examples
    --------
    >>> read_answer({"results": [{"loss": [0.5]}], "seconds": 1.0, "device": "cpu", "code": "1"}, 1).results
    ('{"loss":[0.5]}',)
    >>> read_answer({"results": [{"loss": [math.nan]}], "seconds": 1.0, "device": "cpu", "code": "1"}, 1).reason[:49]
    'raised: the answer cannot be written: ValueError:'
    """
    try:
        if "error" in found:
            return Wrong(plain(f"{found['error']}: {found['reason']}"))
        return _answer(found, members)
    except Exception as error:  # of whatever came, any part may be of any kind
        return Wrong(plain(f"raised: the answer cannot be written: {type(error).__name__}: {error}"))


def _answer(found: Mapping[str, Any], members: int) -> Answer:
    texts = tuple(json.dumps(each, allow_nan=False, separators=(",", ":")) for each in found["results"])
    if len(texts) != members:
        raise ValueError(f"{len(texts)} results for {members} members")
    taken = float(found["seconds"])
    if not math.isfinite(taken):
        raise ValueError(f"{taken} seconds")
    return Answer(texts, taken, plain(found["device"]), plain(found["code"]))


def plain(text: object) -> str:
    r"""One line of text that every file takes.

    Examples
    --------
    >>> plain("two\nlines \udc80")
    'two lines \\udc80'
    """
    return " ".join(str(text).split()).encode(errors="backslashreplace").decode()[:400]
