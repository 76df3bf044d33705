"""Instances: the concrete numbers on which a statement is measured, and their form in JSON.

Instances are values (nested tuples of floats), so that they can be hashed, shrunk and compared; their JSON keys are
those of the reference vectors, so that a reference vector is an instance too. The rules for what is allowed live in
`numeric` and `hltm`; this module only asks them, and names the place.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

import hltm
from hltm.base.errors import InputError

if TYPE_CHECKING:
    from hltm import HLTM


Vector = tuple[float, ...]
Matrix = tuple[Vector, ...]


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


def numbers(value: Any, depth: int, place: str) -> Any:
    """Nested lists of the given depth holding numbers, as tuples; anything else is refused with its place."""
    if depth == 0:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise InputError(f"{place}={value!r:.40}: must be a number")
        try:
            return float(value)
        except OverflowError:
            raise InputError(f"{place}: an integer of {int(value).bit_length()} bits is beyond float64") from None
    if not isinstance(value, list):
        raise InputError(f"{place}={value!r:.40}: must be a list (nested {depth} deep)")
    return tuple(numbers(item, depth - 1, f"{place}[{index}]") for index, item in enumerate(value))


def _fields_of(kind: type, data: Any) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise InputError(f"instance={data!r:.40}: must be an object")
    known = [f.name for f in fields(kind)]
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            raise InputError(f"key {key!r} of instance: is unknown{hint}")
    return data


def _required(data: Mapping[str, Any], key: str) -> Any:
    if key not in data:
        raise InputError(f"key {key!r} of instance: is missing")
    return data[key]


@dataclass(frozen=True)
class PairInstance:
    """Two weight sets and two inputs (statement 1). `output` is `linear` or `normalized`.

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

    depths: ClassVar[dict[str, int]] = {"slope": 0, "weights_1": 3, "weights_2": 3, "x_1": 1, "x_2": 1}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        row = _fields_of(cls, data)
        return cls(**{key: numbers(_required(row, key), depth, key) for key, depth in cls.depths.items()}).checked()

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
        for name in ("x_1", "x_2"):
            check_vector(getattr(self, name), shapes[0][0][1], name)
        return self

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data that `from_json` reads back to an equal instance."""
        return {f.name: thaw(getattr(self, f.name)) for f in fields(self)}

    @property
    def size(self) -> tuple[int, int]:
        """Number of layers and the largest width."""
        return len(self.weights_1), _widest(self.weights_1)


@dataclass(frozen=True)
class LossInstance:
    """Distances at which a loss is measured (statement 2): `r_pos`, one `r_neg` for each negative.

    Examples
    --------
    >>> LossInstance.from_json({"loss": "simple", "r_pos": 1, "r_neg": [2]}).r_neg
    (2.0,)
    """

    loss: str
    parameters: tuple[tuple[str, float], ...]
    r_pos: float
    r_neg: Vector

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data; every violation is one line that names key and rule."""
        row = _fields_of(cls, data)
        return cls(
            loss=loss_name(_required(row, "loss")),
            parameters=loss_parameters(row.get("parameters", {})),
            r_pos=numbers(_required(row, "r_pos"), 0, "r_pos"),
            r_neg=numbers(_required(row, "r_neg"), 1, "r_neg"),
        ).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        import numeric

        numeric.loss_spec(self.loss, **dict(self.parameters))
        for place, value in [("r_pos", self.r_pos), *((f"r_neg[{k}]", r) for k, r in enumerate(self.r_neg))]:
            if not (math.isfinite(value) and value >= 0):
                raise InputError(f"{place}={value!r}: a squared distance must be finite and not negative")
        expected = int(dict(self.parameters).get("negatives", 1))
        if len(self.r_neg) != expected:
            raise InputError(f"r_neg has {len(self.r_neg)} entries: must have negatives={expected}")
        return self

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data that `from_json` reads back to an equal instance."""
        return {
            "loss": self.loss,
            "parameters": dict(self.parameters),
            "r_pos": self.r_pos,
            "r_neg": list(self.r_neg),
        }

    @property
    def options(self) -> dict[str, Any]:
        """The loss parameters as keyword arguments."""
        return dict(self.parameters)

    @property
    def size(self) -> tuple[int, int]:
        """No network: zero layers; the number of negatives stands for the width."""
        return 0, len(self.r_neg)


@dataclass(frozen=True)
class PopulationInstance:
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
    parameters: tuple[tuple[str, float], ...] = field(default=())

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """Read from JSON data. A `tree` (node-link form) may stand in place of the points and their weights."""
        if isinstance(data, dict) and "tree" in data:
            data = {**_population_of_tree(data["tree"]), **{k: v for k, v in data.items() if k != "tree"}}
        row = _fields_of(cls, data)
        optional: list[tuple[str, int]] = [("point_weights", 1), ("augmentation_weights", 2)]
        return cls(
            slope=numbers(_required(row, "slope"), 0, "slope"),
            weights=numbers(_required(row, "weights"), 3, "weights"),
            points=numbers(_required(row, "points"), 3, "points"),
            loss=loss_name(row.get("loss", "simple")),
            parameters=loss_parameters(row.get("parameters", {})),
            **{k: None if row.get(k) is None else numbers(row[k], depth, k) for k, depth in optional},
        ).checked()

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        import numeric

        numeric.check_slope(self.slope)
        weights = numeric.check_weights(self.weights, place="weights")
        population = numeric.FinitePopulation(self.points, self.point_weights, self.augmentation_weights)
        numeric.loss_spec(self.loss, **dict(self.parameters))
        if population.dimension != weights[0].shape[-1]:
            raise InputError(
                f"points have dimension {population.dimension}: must be {weights[0].shape[-1]}, "
                "the number of columns of weights[0]"
            )
        return self

    def as_json(self) -> dict[str, Any]:
        """Plain JSON data that `from_json` reads back to an equal instance."""
        row = {f.name: thaw(getattr(self, f.name)) for f in fields(self) if f.name != "parameters"}
        return {**row, "parameters": dict(self.parameters)}

    @property
    def options(self) -> dict[str, Any]:
        """The loss parameters as keyword arguments."""
        return dict(self.parameters)

    @property
    def negatives(self) -> int:
        """Number of negatives H."""
        return int(self.options.get("negatives", 1))

    @property
    def size(self) -> tuple[int, int]:
        """Number of layers and the largest width."""
        return len(self.weights), _widest(self.weights)


class SimplePopulationInstance(PopulationInstance):
    """A population with the simple loss, the only one that statement 3 speaks of."""

    def checked(self) -> Self:
        """Self, after asking `numeric` whether the values are allowed (InputError if not)."""
        if self.loss != "simple":
            raise InputError(f"loss={self.loss!r}: must be 'simple'; statement 4 takes the other losses")
        return super().checked()


def _widest(weights: tuple[Matrix, ...]) -> int:
    return max(max(len(w), len(w[0])) for w in weights)


def check_vector(value: Vector, length: int, place: str) -> None:
    """Refuse a vector of another length or with an entry that is not finite."""
    if len(value) != length:
        raise InputError(f"{place} has {len(value)} entries: must have {length}, the columns of the first layer")
    for index, entry in enumerate(value):
        if not math.isfinite(entry):
            raise InputError(f"{place}[{index}]={entry!r}: must be finite")


def loss_name(value: Any) -> str:
    """The name of a loss as text; which names there are is for `numeric.loss_spec` to say."""
    if not isinstance(value, str):
        raise InputError(f"loss={value!r:.40}: must be a name such as 'simple', 'triplet' or 'infonce'")
    return value


def loss_parameters(value: Any) -> tuple[tuple[str, float], ...]:
    """Loss parameters from a JSON object, sorted by name; whole numbers stay whole."""
    if not isinstance(value, dict):
        raise InputError(f"parameters={value!r:.40}: must be an object of numbers")
    for key, number in value.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InputError(f"parameters[{key!r}]={number!r:.40}: must be a number")
        if isinstance(number, int) and abs(number) > 2**53:
            raise InputError(f"parameters[{key!r}]: an integer of {number.bit_length()} bits, must be at most 2^53")
    return tuple(sorted(value.items()))


def _population_of_tree(data: Any) -> dict[str, Any]:
    import hltm

    population = hltm.leaf_population(hltm.tree_from_json(data))
    return {
        "points": population.points.tolist(),
        "point_weights": population.point_weights.tolist(),
        "augmentation_weights": population.augmentation_weights.tolist(),
    }


# Instances of statement 6: a latent tree with a network of neuron groups on it, and its form in JSON.

KEYS = ("tree", "weights", "slope")


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
        """Read from JSON data; every violation is one line that names key and rule."""
        if not isinstance(data, dict):
            raise InputError(f"instance={data!r:.40}: must be an object")
        for key in data:
            if key not in KEYS:
                raise InputError(f"key {key!r:.40} of instance: is unknown, known are {', '.join(KEYS)}")
        for key in KEYS:
            if key not in data:
                raise InputError(f"key {key!r} of instance: is missing")
        tree = hltm.tree_from_json(data["tree"])
        named = data["weights"]
        if not isinstance(named, dict):
            raise InputError(f"weights={named!r:.40}: must be an object, node name to matrix")
        names = [str(node) for node in tree.latents]
        for name in named:
            if name not in names:
                raise InputError(f"weights of {name!r:.40}: is no latent node, latent are {', '.join(names)}")
        for name in names:
            if name not in named:
                raise InputError(f"weights of latent node {name!r}: are missing")
        weights = tuple(numbers(named[name], 2, f"weights[{name!r}]") for name in names)
        return cls(tree, weights, numbers(data["slope"], 0, "slope")).checked()

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
        return len(self.tree.levels) - 1, max(max(len(w), len(w[0])) for w in self.weights)
