"""Weights and gates of a tree network from JSON: lists for each node, of numbers, ``"1/3"`` or names of symbols."""

import json
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import sympy

from hltm.base.atomic import reason
from hltm.base.checks import Node, count, show, unique_keys
from hltm.base.errors import InputError
from hltm.tree import HLTM, find_node
from theory.trees.symbols import TreeWeights, read_weights

FILE_LIMIT = 64 * 2**20
"""Bytes of a file of weights or gates."""
_DIGITS = 400
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?(/[0-9]+)?")
_SYMBOL = re.compile(r"[A-Za-z]+(_[A-Za-z0-9]+)?")


def read_network(tree: HLTM, weights: Path, slope: str | None = None, gates: Path | None = None) -> TreeWeights:
    """The network of a file of weights; without a slope that of ReLU, 0.

    A decimal is the number that it reads, not the double next to it.
    """
    rate = 0 if slope is None else _slope(slope)
    matrices = _by_node(tree, weights, "weights")
    return read_weights(tree, matrices, rate, None if gates is None else _by_node(tree, gates, "gates"))


def _slope(text: str) -> Any:
    value = _rational(text)
    if value is None:
        raise InputError(f"slope={show(text)} of the activation: must be a number in [0, 1], as 0, 0.25 or 1/4")
    return value


def _by_node(tree: HLTM, path: Path, name: str) -> dict[Node, Any]:
    """The lists of a file, each under the node that its key names."""
    data = _loaded(path)
    if not isinstance(data, dict):
        kind = type(data).__name__
        raise InputError(f"{path}: {name}={show(data)}: must be a JSON object with a list for each node, got {kind}")
    result: dict[Node, Any] = {}
    for key, value in data.items():
        node = find_node(tree, key)
        if node in result:
            raise InputError(f"{path}: {name}[{show(node)}]: must not be given twice")
        result[node] = _entries(value, f"{path}: {name}[{show(node)}]", 2)
    return result


def _entries(value: Any, place: str, depth: int) -> Any:
    """A list with numbers and symbols in place of their texts."""
    if isinstance(value, list):
        if depth == 0:
            raise InputError(f"{place}={show(value)}: must be a number, a text such as '1/3', or the name of a symbol")
        return [_entries(entry, f"{place}[{i}]", depth - 1) for i, entry in enumerate(value)]
    if isinstance(value, Fraction | int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        number = _rational(value)
        if number is not None:
            return number
        if _SYMBOL.fullmatch(value) and len(value) <= 40:
            return sympy.Symbol(value, real=True)
    raise InputError(
        f"{place}={show(value)}: must be a number, a text such as '1/3', or the name of a symbol: letters, then "
        "perhaps an underscore with letters or digits, as w_1"
    )


def _rational(text: str) -> Fraction | None:
    """An integer, a decimal or a quotient of integers; None for other texts."""
    if not _NUMBER.fullmatch(text) or len(text) > _DIGITS or ("/" in text and re.search("[.eE]", text)):
        return None
    if "/" in text:
        top, bottom = map(int, text.split("/"))
        return Fraction(top, bottom) if bottom else None
    size = float(text)
    small = re.search(r"[eE]-0*([0-9]+)", text)
    if not math.isfinite(size) or (small and (len(small[1]) > 3 or int(small[1]) > _DIGITS)):
        return None
    return Fraction(text)


def _decimal(text: str) -> Fraction | int:
    value = _rational(text)
    if value is None:
        raise InputError(f"number {show(text)}: must be finite, and of at most {_DIGITS} digits")
    return int(value) if value.denominator == 1 else value


def _constant(text: str) -> Any:
    raise InputError(f"number {text}: must be finite")


def _loaded(path: Path) -> Any:
    """The JSON of a file."""
    try:
        if path.exists() and not path.is_file():
            raise InputError("is no regular file")
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
        if len(content) > FILE_LIMIT:
            raise InputError(f"must have at most {count(FILE_LIMIT)} bytes")
        return json.loads(
            content.decode("utf-8-sig"),
            parse_float=_decimal,
            parse_int=_decimal,
            parse_constant=_constant,
            object_pairs_hook=unique_keys,
        )
    except InputError as error:
        raise InputError(f"file {str(path)!r}: {error}") from None
    except RecursionError:
        raise InputError(f"file {str(path)!r}: the JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise InputError(f"file {str(path)!r}: is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise InputError(f"file {str(path)!r}: is no JSON: {error}") from None
    except (OSError, ValueError) as error:
        raise InputError(f"file {str(path)!r}: cannot be read: {reason(error)}") from None
