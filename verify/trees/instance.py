"""Instances of statement 6: a latent tree with a network of neuron groups on it, and its form in JSON.

The JSON keys are those of the reference vectors: `tree` in node-link form, `weights` by node name, `slope`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import hltm
from hltm.base.errors import InputError
from verify.instances.instance import Matrix, numbers, thaw

if TYPE_CHECKING:
    from hltm import HLTM

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
