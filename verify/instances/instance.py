"""Instances: the numbers on which a statement is measured, and their JSON form.

Instances are values, nested tuples of floats, that can be hashed and compared. Their JSON keys are those of the
reference vectors, so that a reference vector is an instance too. One reader follows the annotations of the fields;
`numeric` and `hltm` decide which values are allowed.
"""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import hltm
from hltm.base.checks import suggestion
from hltm.base.errors import InputError

if TYPE_CHECKING:
    from hltm import HLTM

Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]
Parameters = tuple[tuple[str, int | float], ...]  # whole numbers stay whole

# What JSON must give for an annotation: Python types, and the rule in words.
SCALARS: dict[Any, tuple[Any, str]] = {
    float: (int | float, "a number"),
    int: (int, "an integer"),
    str: (str, "text"),
    bool: (bool, "true or false"),
    type(None): (type(None), "null"),
    None: (type(None), "null"),
}


def freeze(value: Any) -> Any:
    """Nested lists, tuples or arrays as nested tuples of floats."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(freeze(item) for item in value)
    return float(value)


def thaw(value: Any) -> Any:
    """Nested tuples as nested lists, as JSON writes them."""
    return [thaw(item) for item in value] if isinstance(value, tuple) else value


def read(value: Any, hint: Any, place: str) -> Any:
    """Read a JSON value as its annotation says; lists become tuples."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return tuple(read(item, Any, place) for item in value) if isinstance(value, list) else value
    if origin in (types.UnionType, typing.Union):
        return _read_union(value, hint, place)
    if hint is tuple or origin is tuple:
        if not isinstance(value, list):
            raise InputError(f"{place}={value!r:.40}: must be a list")
        if not arguments or arguments[-1] is Ellipsis:
            inner = [arguments[0] if arguments else Any] * len(value)
        else:
            inner = list(arguments)
        if len(inner) != len(value):
            raise InputError(f"{place} has {len(value)} entries: must have {len(inner)}")
        return tuple(read(v, h, f"{place}[{k}]") for k, (v, h) in enumerate(zip(value, inner, strict=True)))
    if hint not in SCALARS:
        raise InputError(f"{place}: annotation {hint} cannot be read from JSON, must be of numbers, texts and tuples")
    kind, rule = SCALARS[hint]
    if not isinstance(value, kind) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{place}={value!r:.40}: must be {rule}")
    try:
        return float(value) if hint is float else value
    except OverflowError:
        raise InputError(f"{place}: an integer of {value.bit_length()} bits is beyond float64") from None


def _read_union(value: Any, hint: Any, place: str) -> Any:
    options = typing.get_args(hint)
    if value is None and type(None) in options:
        return None
    others = [option for option in options if option is not type(None)]
    if len(others) == 1:  # its own message names the place inside of the value
        return read(value, others[0], place)
    for option in others:
        try:
            return read(value, option, place)
        except InputError:
            continue
    raise InputError(f"{place}={value!r:.40}: must be {hint}")


def check_keys(kind: type, data: Any) -> Mapping[str, Any]:
    """The JSON object, after a check that its keys are the fields of the dataclass (InputError if not)."""
    if not isinstance(data, dict):
        raise InputError(f"instance={data!r:.40}: must be an object")
    names = [f.name for f in fields(kind)]
    for key in data:
        if key not in names:
            hint = suggestion(key, names) or f", known are {', '.join(names)}"
            raise InputError(f"key {key!r:.40} of instance: is unknown{hint}")
    for name in names:
        if name not in data:
            raise InputError(f"key {name!r} of instance: is missing")
    return data


@dataclass(frozen=True)
class JsonInstance:
    """Base class of instances that are saved and replayed: fields are numbers, texts, booleans, None, nested tuples.

    A subclass is a frozen dataclass with annotated fields. Its `__post_init__` may refuse values with a ValueError.

    Errors
    ------
    InputError
        `from_json` of data with a missing or unknown key, a value of another type than its annotation, or values that
        `__post_init__` refuses.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Pair(JsonInstance):
    ...     x: tuple[float, ...]
    ...     scale: float = 1.0
    >>> Pair((1.0, 2.0)).as_json()
    {'x': [1.0, 2.0], 'scale': 1.0}
    >>> Pair.from_json({"x": [1.0, 2.0], "scale": 1.0}) == Pair((1.0, 2.0))
    True
    """

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        row, hints = check_keys(cls, data), typing.get_type_hints(cls)
        values = {f.name: read(row[f.name], hints[f.name], f.name) for f in fields(cls)}
        try:
            return cls(**values)
        except (ValueError, TypeError, ArithmeticError) as error:
            raise InputError(f"instance of {cls.__name__}: {error}") from None

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data that `from_json` reads back to an equal instance."""
        return {f.name: thaw(getattr(self, f.name)) for f in fields(self)}


@dataclass(frozen=True)
class PairInstance(JsonInstance):
    """Two weight sets and two inputs (statement 1).

    Examples
    --------
    >>> PairInstance(0.0, (((1.0,),),), (((2.0,),),), (1.0,), (3.0,)).checked().size
    (1, 1)
    """

    slope: float
    weights_1: tuple[Matrix, ...]
    weights_2: tuple[Matrix, ...]
    x_1: Vector
    x_2: Vector

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        return super().from_json(data).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        import numeric

        numeric.check_slope(self.slope)
        shapes = []
        for name in ("weights_1", "weights_2"):
            weights = numeric.check_weights(getattr(self, name), place=name)
            shapes.append([tuple(w.shape) for w in weights])
        if shapes[0] != shapes[1]:
            raise InputError(f"weights_2 has shapes {shapes[1]}: must be those of weights_1, {shapes[0]}")
        columns = shapes[0][0][1]
        for name in ("x_1", "x_2"):
            value = getattr(self, name)
            if len(value) != columns:
                raise InputError(
                    f"{name} has {len(value)} entries: must have {columns}, the columns of the first layer"
                )
            for index, entry in enumerate(value):
                if not math.isfinite(entry):
                    raise InputError(f"{name}[{index}]={entry!r}: must be finite")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Number of layers and the largest width."""
        return len(self.weights_1), _widest(self.weights_1)


class _WithLoss(JsonInstance):
    """Base of instances with a loss, whose parameters are an object of numbers in JSON."""

    loss: str
    parameters: Parameters

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        row = check_keys(cls, {"parameters": {}, **data} if isinstance(data, dict) else data)
        loss, parameters = row["loss"], row["parameters"]
        if not isinstance(loss, str):
            raise InputError(f"loss={loss!r:.40}: must be a name such as 'simple', 'triplet' or 'infonce'")
        if not isinstance(parameters, dict):
            raise InputError(f"parameters={parameters!r:.40}: must be an object of numbers")
        for key, number in parameters.items():
            if isinstance(number, bool) or not isinstance(number, int | float):
                raise InputError(f"parameters[{key!r}]={number!r:.40}: must be a number")
            if isinstance(number, int) and abs(number) > 2**53:
                raise InputError(f"parameters[{key!r}]: an integer of {number.bit_length()} bits, must be at most 2^53")
        return super().from_json({**row, "parameters": [[*pair] for pair in sorted(parameters.items())]}).checked()

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data that `from_json` reads back to an equal instance."""
        return {**super().as_json(), "parameters": self.options}

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        import numeric

        numeric.loss_spec(self.loss, **self.options)
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The loss parameters as keyword arguments."""
        return dict(self.parameters)

    @property
    def negatives(self) -> int:
        return int(self.options.get("negatives", 1))


@dataclass(frozen=True)
class LossInstance(_WithLoss):
    """Distances at which a loss is measured (statement 2): `r_pos`, one `r_neg` for each negative.

    Examples
    --------
    >>> LossInstance.from_json({"loss": "simple", "r_pos": 1, "r_neg": [2]}).r_neg
    (2.0,)
    """

    loss: str
    parameters: Parameters
    r_pos: float
    r_neg: Vector

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        super().checked()
        for place, value in [("r_pos", self.r_pos), *((f"r_neg[{k}]", r) for k, r in enumerate(self.r_neg))]:
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{place}={value!r}: a squared distance must be finite and not negative")
        if len(self.r_neg) != self.negatives:
            raise InputError(f"r_neg has {len(self.r_neg)} entries: must have negatives={self.negatives}")
        return self

    @property
    def size(self) -> tuple[int, int]:
        """No network: zero layers; the number of negatives stands for the width."""
        return 0, len(self.r_neg)


@dataclass(frozen=True)
class PopulationInstance(_WithLoss):
    """A network, a finite population and a loss (statements 3 and 4).

    `points` are nested (M, A, d): M points with A augmentations each; weights may be None (uniform).

    Examples
    --------
    >>> PopulationInstance(0.0, (((1.0,),),), (((1.0,), (2.0,)),)).checked().loss
    'simple'
    """

    slope: float
    weights: tuple[Matrix, ...]
    points: tuple[Matrix, ...]
    point_weights: Vector | None = None
    augmentation_weights: Matrix | None = None
    loss: str = "simple"
    parameters: Parameters = ()

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data. A `tree` (node-link form) may stand in place of the points and their weights."""
        if isinstance(data, dict) and "tree" in data:
            population = hltm.leaf_population(hltm.tree_from_json(data["tree"], foreign=False))
            names = ("points", "point_weights", "augmentation_weights")
            points = {name: getattr(population, name).tolist() for name in names}
            data = {**points, **{key: value for key, value in data.items() if key != "tree"}}
        if isinstance(data, dict):
            data = {"point_weights": None, "augmentation_weights": None, "loss": "simple", **data}
        return super().from_json(data)

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        import numeric

        numeric.check_slope(self.slope)
        weights = numeric.check_weights(self.weights, place="weights")
        population = numeric.FinitePopulation(self.points, self.point_weights, self.augmentation_weights)
        super().checked()
        if population.dimension != weights[0].shape[-1]:
            raise InputError(
                f"points have dimension {population.dimension}: must be {weights[0].shape[-1]}, "
                "the number of columns of weights[0]"
            )
        return self

    @property
    def size(self) -> tuple[int, int]:
        """Number of layers and the largest width."""
        return len(self.weights), _widest(self.weights)


class SimplePopulationInstance(PopulationInstance):
    """A population with the simple loss, the only one of statement 3."""

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        if self.loss != "simple":
            raise InputError(f"loss={self.loss!r}: must be 'simple'; statement 4 takes the other losses")
        return super().checked()


@dataclass(frozen=True)
class TreeInstance:
    """A tree, the weights of every latent node in the order of `tree.latents`, and the slope of the activation.

    `weights[i]` has shape (neurons of the node, neurons of its children), columns over the children in order.

    Examples
    --------
    >>> tree = hltm.star_tree(2, polarity=0.5)
    >>> TreeInstance(tree, (((1.0, 2.0),),), slope=0.0).checked().by_node
    {0: ((1.0, 2.0),)}
    """

    tree: HLTM
    weights: tuple[Matrix, ...]
    slope: float

    @cached_property
    def by_node(self) -> dict[Any, Matrix]:
        """Latent node to its weights."""
        return dict(zip(self.tree.latents, self.weights, strict=True))

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data, weights by node; every violation is one line that names key and rule."""
        row = check_keys(cls, data)
        tree, weights = hltm.tree_from_json(row["tree"], foreign=False), row["weights"]
        if not isinstance(weights, dict):
            raise InputError(f"weights={weights!r:.40}: must be an object, node name to matrix")
        names = [str(node) for node in tree.latents]
        for name in weights:
            if name not in names:
                raise InputError(f"weights of {name!r:.40}: is no latent node, latent are {', '.join(names)}")
        for name in names:
            if name not in weights:
                raise InputError(f"weights of latent node {name!r}: are missing")
        matrices = tuple(read(weights[name], Matrix, f"weights[{name!r}]") for name in names)
        return cls(tree, matrices, read(row["slope"], float, "slope")).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        import numeric

        numeric.check_slope(self.slope)
        numeric.TreeNetwork.from_weights(self.tree, self.by_node, slope=self.slope)
        return self

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data that `from_json` reads back to an equal instance."""
        return {
            "tree": hltm.tree_to_json(self.tree),
            "weights": {str(node): thaw(matrix) for node, matrix in self.by_node.items()},
            "slope": self.slope,
        }

    @property
    def size(self) -> tuple[int, int]:
        """Levels of weights and the largest width."""
        return len(self.tree.levels) - 1, _widest(self.weights)


def _widest(weights: tuple[Matrix, ...]) -> int:
    return max(max(len(w), len(w[0])) for w in weights)
