"""Symbolic claims on instances: ``values=`` gives the symbols of a claim the arrays of an instance.

There the relation of the claim must hold, and its two sides must be what the sides of the statement give: then what is
proved is what is measured. A claim is tied to the array of its name, or to the only array where there is one claim. An
instance whose values break an assumption of a symbol, or do not fit its shape, is not covered by a proof, and counts
neither way.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from hltm.base.errors import InputError
from verify.engine.evidence import Evidence, Measurement, Status, counted, joined
from verify.own.arithmetic import Arithmetic
from verify.own.guard import as_text, called
from verify.own.sides import Relation, Side, UserSides, arrays
from verify.own.symbolic import UserClaims
from verify.tolerance import rounding

SOURCE = "claim"
ENTRIES = 64  # of a claim about scalars that are put to numbers with error bounds, for each instance
SHOWN = 4  # instances that show which arrays the sides give
Named = dict[str, Any]


class NotCoveredError(Exception):
    """An instance outside the range of the claim."""


@dataclass
class TiedClaims:
    """The claims of a statement, the values of their symbols, and the sides that they are tied to."""

    sides: UserSides
    claims: UserClaims
    values: Callable[..., Any]
    _arrays: tuple[str, ...] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not callable(self.values):
            rule = "must be a function of (instance, at), or of the instance alone"
            raise InputError(f"values={self.values!r:.40} of statement {self.sides.slug!r}: {rule}")
        try:
            parameters = inspect.signature(self.values).parameters.values()
        except (TypeError, ValueError):
            return
        positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if len(positional) == 1 and not any(p.kind == p.VAR_POSITIONAL for p in parameters):
            given = self.values
            self.values = lambda instance, _: given(instance)

    @cached_property
    def relations(self) -> Named:
        """The relations that have two sides to compare, by name."""
        import sympy

        from theory.core.relation import without_means

        two_sided = sympy.Eq | sympy.Ge | sympy.Gt | sympy.Le | sympy.Lt
        result = {}
        for name, relations in self.claims.relations().items():
            for number, relation in enumerate(relations, start=1):
                if isinstance(relation, two_sided) and not relation.has(sympy.Order, sympy.Limit):
                    result[name if len(relations) == 1 else f"{name} {number}"] = without_means(relation)
        return result

    def tied_to(self, instances: Iterable[Any]) -> dict[str, str]:
        """The name of the array that a relation is tied to, for every relation that is tied."""
        if self._arrays is None:
            for instance, _ in zip(instances, range(SHOWN), strict=False):
                found = self.sides.ask("numeric", self.sides.numeric, instance, Arithmetic())
                if found is not None:
                    self._arrays = tuple(found)
                    break
        arrays, relations = self._arrays or (), self.relations
        if len(relations) == len(arrays) == 1:
            return dict(zip(relations, arrays, strict=True))
        return {name: name for name in relations if name in arrays}

    def summary(self, instances: Callable[[], Iterable[Any]]) -> str:
        """What the symbolic evidence says of the tie."""
        tied = self.tied_to(instances() if self._arrays is None else ())
        every = self.claims.relations()
        loose = [name for name in every if not any(name in (one, one.rpartition(" ")[0]) for one in tied)]
        if not loose:
            return "tied to the sides by values="
        shown = ", ".join(loose[:3]) + (", ..." if len(loose) > 3 else "")
        return f"not tied to the sides: {shown} (no array of the sides has this name)"

    # Values.

    @cached_property
    def symbols(self) -> dict[Any, None]:
        """What may have a value: symbols, matrices, and bases of indexed numbers."""
        import sympy

        found: dict[Any, None] = {}
        for relation in self.relations.values():
            bound = {index for node in relation.atoms(sympy.Sum, sympy.Product) for index in node.variables}
            bases = {node.base for node in relation.atoms(sympy.Indexed)}
            labels = {base.label for base in bases}
            sizes = {
                symbol
                for matrix in relation.atoms(sympy.MatrixSymbol)
                for size in matrix.shape
                for symbol in size.free_symbols
            }
            plain = relation.atoms(sympy.Symbol, sympy.MatrixSymbol) | sizes
            names = {s for m in relation.atoms(sympy.MatrixSymbol) for s in m.args[:1]}
            found |= dict.fromkeys(sorted((plain | bases) - bound - labels - names, key=str))
        return found

    def given(self, instance: Any, at: Arithmetic) -> dict[Any, Any] | None:
        """The values that the user gives, by symbol; None where there are none."""
        place = f"statement {self.sides.slug!r}, values= at instance {as_text(instance)}"
        found = called(lambda: place, self.values, instance, at)
        if found is None:
            return None
        if not isinstance(found, Mapping):
            raise InputError(f"{place}: {type(found).__name__}: must be a mapping of symbols to arrays")
        known = self.symbols
        return {
            self.symbol_of(key, known, place): array_of(value, at, f"{place}: {key}") for key, value in found.items()
        }

    @staticmethod
    def symbol_of(key: Any, known: Mapping[Any, None], place: str) -> Any:
        """The symbol that a key of the values names."""
        if key in known:
            return key
        name = str(getattr(key, "name", key))
        matching = [symbol for symbol in known if str(getattr(symbol, "name", symbol)) == name]
        if len(matching) != 1:
            names = ", ".join(map(str, known)) or "nothing"
            rule = "is the name of several symbols" if matching else f"is no symbol of the claims, which have {names}"
            raise InputError(f"{place}: {name!r:.40} {rule}")
        return matching[0]

    # One instance.

    def measure(self, instance: Any, name: str, relation: Any) -> Measurement:
        """Whether a relation holds at the values of an instance, within a bound of its rounding error."""
        values = self.covered(instance, relation)
        try:
            return with_bounds(relation, values, name)
        except InputError:  # an operation without a bound
            pair = UserSides(self.sides.slug, self.side(relation, 1), self.side(relation, 0), None, None)
            return replace(self.quietly(replace(pair, relation=sign_of(relation)), instance), detail=name)

    def measure_tie(self, instance: Any, relation: Any, array: str, turned: bool) -> Measurement:
        """How far the sides of a relation are from those of the statement: left from numeric, right from theory."""
        chosen = replace(self.sides, theory=only(self.sides.theory, array), numeric=only(self.sides.numeric, array))
        error = None if self.sides.standard_error is None else only(self.sides.standard_error, array)
        left, right = (1, 0) if turned else (0, 1)
        shape = self.shape(instance, array)
        if shape is None:
            raise NotCoveredError("a side of the statement does not apply")
        pairs = {
            "numeric": replace(chosen, theory=self.side(relation, left, array, shape), standard_error=error),
            "theory": replace(
                chosen, theory=self.side(relation, right, array, shape), numeric=chosen.theory, standard_error=None
            ),
        }
        found = []
        for role, pair in pairs.items():
            measured = self.quietly(replace(pair, relation="=="), instance)
            side = "left" if (role == "numeric") != turned else "right"
            what = f"the {side} side of the claim is not the {role} side"
            if measured.apart is not None:
                what += f": {measured.apart.left:.6g} against {measured.apart.right:.6g}"
            found.append(replace(measured, detail=what if measured.status == "refuted" else ""))
        return max(found, key=lambda one: (one.status == "refuted", one.status == "abstained", one.severity))

    def shape(self, instance: Any, array: str) -> tuple[int, ...] | None:
        """The shape of an array of the sides."""
        found = self.sides.ask("numeric", self.sides.numeric, instance, Arithmetic())
        return None if found is None or array not in found else found[array].shape

    @rounding.quiet
    def quietly(self, pair: UserSides, instance: Any) -> Measurement:
        """The measurement of two sides."""
        return pair.measure_float(instance)

    def covered(self, instance: Any, relation: Any) -> dict[Any, Any]:
        """The values of a relation in float64; `NotCoveredError` where it does not speak of the instance."""
        given = self.given(instance, Arithmetic())
        if given is None:
            raise NotCoveredError("values= does not apply")
        values = fitting(relation, given, covered=True)
        both(relation, values)
        return values

    def side(self, relation: Any, which: int, array: str = "", shape: tuple[int, ...] | None = None) -> Side:
        """One side of a relation as a side of a statement, in the shape of the array that it is compared with."""

        def evaluated(instance: Any, at: Arithmetic) -> Any:
            given = self.given(instance, at)
            if given is None:
                return None
            try:
                found = both(relation, fitting(relation, given, covered=False), at.exact)[which]
            except NotCoveredError:
                return None
            if shape is not None and shape != found.shape:
                if squeezed(shape) != squeezed(found.shape):
                    raise InputError(f"the claim gives an array {found.shape}, the sides {shape}: must be the same")
                found = found.reshape(shape)
            return {array: found}

        return evaluated


def both(relation: Any, values: Mapping[Any, Any], exact: bool = False) -> tuple[Any, Any]:
    """Both sides of a relation on arrays."""
    from verify.own.formulas import NoValueError, Place

    try:
        with np.errstate(all="ignore"):
            left, right = (np.asanyarray(Place(values, exact).of(side)) for side in relation.args)
    except (NoValueError, ZeroDivisionError, np.linalg.LinAlgError) as missing:
        raise NotCoveredError(f"no value: {missing}") from None
    scalars = not any(getattr(side, "is_Matrix", False) for side in relation.args)
    if left.shape != right.shape and (scalars or 0 in relation.args):
        left, right = np.broadcast_arrays(left, right, subok=True)
    return left, right


def sign_of(relation: Any) -> Relation:
    """How the theory side of a pair, the right side of the relation, stands to the numeric one, the left side."""
    import sympy

    if isinstance(relation, sympy.Ge | sympy.Gt):
        return "<="
    return ">=" if isinstance(relation, sympy.Le | sympy.Lt) else "=="


@dataclass
class Count:
    """What the instances say of one relation."""

    decided: int = 0
    undecided: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    orientations: tuple[bool, ...] = (False, True)


def tied_evidence(tied: TiedClaims, instances: list[Any]) -> Evidence:
    """Evidence of the claims on instances: the relations hold there, and are about what the sides compute."""
    relations = tied.relations
    if not relations:
        return Evidence("float", "not-run", SOURCE, detail="no claim has two sides that have values on an instance")
    arrays = tied.tied_to(instances)
    counts = {name: Count() for name in relations}
    worst: Measurement | None = None
    for instance in instances:
        for name, relation in relations.items():
            try:
                found = tied.measure(instance, name, relation)
                if found.status == "refuted":
                    return Evidence(
                        "float", "refuted", SOURCE, counts[name].decided + 1, 0, found.residual, found.tolerance,
                        detail=f"the claim {name} fails at the values of an instance", counterexample=instance,
                    )  # fmt: skip
                if name in arrays and found.status == "holds":
                    found = tie(tied, instance, name, relation, arrays[name], counts[name])
            except NotCoveredError as reason:
                text = str(reason)
                counts[name].missing[text] = counts[name].missing.get(text, 0) + 1
                continue
            if found.status == "refuted":
                detail = f"the claim {name} is another statement than the sides: {found.detail}, at {as_text(instance)}"
                return Evidence(
                    "float",
                    "abstained",
                    SOURCE,
                    counts[name].decided,
                    1,
                    found.residual,
                    found.tolerance,
                    detail=detail,
                )
            if found.status == "abstained":
                counts[name].undecided += 1
                continue
            counts[name].decided += 1
            worst = found if worst is None or found.severity > worst.severity else worst
    return summarised(counts, arrays, worst, len(instances))


def tie(tied: TiedClaims, instance: Any, name: str, relation: Any, array: str, count: Count) -> Measurement:
    """The tie of a relation to the sides, in an orientation that no instance has ruled out."""
    first: Measurement | None = None
    left = []
    for turned in count.orientations:
        found = tied.measure_tie(instance, relation, array, turned)
        if found.status != "refuted":
            left.append((turned, found))
        first = first or found
    assert first is not None  # noqa: S101 (one orientation is left)
    if not left:
        return first
    count.orientations = tuple(turned for turned, _ in left)
    return left[0][1]


def summarised(
    counts: Mapping[str, Count], arrays: Mapping[str, str], worst: Measurement | None, number: int
) -> Evidence:
    """The evidence where nothing fails."""
    notes = []
    tied = [name for name in counts if name in arrays and counts[name].decided]
    if tied:
        ways = {counts[name].orientations for name in tied}
        left, right = ("theory", "numeric") if ways == {(True,)} else ("numeric", "theory")
        notes.append(f"{', '.join(tied)}: the left side is the {left} side, the right side the {right} side")
    loose = [name for name in counts if name not in arrays]
    if loose:
        notes.append(f"not tied to the sides: {', '.join(loose)}")
    for name, count in counts.items():
        for reason, times in list(count.missing.items())[:2]:
            notes.append(f"{name} does not cover {counted(times, 'instance')}: {reason}")
    short = [name for name, count in counts.items() if name in arrays and 4 * count.decided < number]
    if not any(count.decided for count in counts.values()):
        short = list(counts)
    if short:
        few = min(counts[name].decided for name in short)
        notes.insert(0, f"only {few} of {counted(number, 'instance')} could be decided for {', '.join(short)}")
    decided = min(count.decided for name, count in counts.items() if name in (tied or counts))
    status: Status = "abstained" if short else "holds"
    return Evidence(
        "float", status, SOURCE, decided, number - decided, worst.residual if worst else None,
        worst.tolerance if worst else None, detail=joined("the claim at the values of instances", *notes),
    )  # fmt: skip


def only(side: Side, array: str) -> Side:
    """A side with a single one of its arrays."""

    def chosen(instance: Any, at: Arithmetic) -> Any:
        found = arrays(side(instance, at), at.exact)
        return None if found is None or array not in found else {array: found[array]}

    return chosen


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without its axes of length 1."""
    return tuple(size for size in shape if size != 1)


def array_of(value: Any, at: Arithmetic, place: str) -> Any:
    """A value as an array of the arithmetic: what `at` did not make is made by it."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, int | np.integer):
        return int(value)
    try:
        found = value if isinstance(value, np.ndarray) else at.array(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"{place}: {error}: must be a number or an array") from None
    if found.dtype.kind not in "fiuO":
        raise InputError(f"{place}: an array of {found.dtype}: must be of real numbers")
    return found


def fitting(relation: Any, given: Mapping[Any, Any], covered: bool) -> dict[Any, Any]:
    """The values of one relation, sizes read from its matrices; `NotCoveredError` where they do not fit."""
    import sympy

    matrices = sorted(relation.atoms(sympy.MatrixSymbol), key=str)
    values: dict[Any, Any] = {}
    sizes: dict[Any, int] = {}
    for symbol, value in given.items():
        if isinstance(symbol, sympy.MatrixSymbol) or not relation.has(symbol):
            continue
        values[symbol] = value
        if isinstance(symbol, sympy.Symbol) and isinstance(value, int):
            sizes[symbol] = value
    for matrix in matrices:
        if matrix not in given:
            raise NotCoveredError(f"values= gives none for {matrix}")
        values[matrix] = _as_matrix(matrix, given[matrix])
        for size, actual in zip(matrix.shape, values[matrix].shape, strict=True):
            if isinstance(size, sympy.Symbol):
                sizes.setdefault(size, actual)
    for matrix in matrices:
        shape = tuple(
            sympy.sympify(size, strict=True).xreplace({s: sympy.Integer(n) for s, n in sizes.items()})
            for size in matrix.shape
        )
        actual = values[matrix].shape
        if shape != actual:
            wanted = " x ".join(map(str, matrix.shape))
            at = ", ".join(f"{s} = {n}" for s, n in sizes.items())
            raise NotCoveredError(
                f"{matrix} is {actual[0]} x {actual[1]}, its symbol {wanted}" + (f" ({at})" if at else "")
            )
    bound = {index for node in relation.atoms(sympy.Sum, sympy.Product) for index in node.variables}
    for symbol in relation.free_symbols:
        if isinstance(symbol, sympy.Symbol) and symbol not in values and symbol in sizes:
            values[symbol] = sizes[symbol]
        is_name = isinstance(symbol, sympy.MatrixSymbol | sympy.IndexedBase | sympy.Indexed) or symbol in bound
        based = any(symbol == base.label for base in (node.base for node in relation.atoms(sympy.Indexed)))
        if symbol not in values and not is_name and not based:
            raise NotCoveredError(f"values= gives none for {symbol}")
    for symbol, size in sizes.items():
        values.setdefault(symbol, size)
    if covered:
        for symbol, value in values.items():
            check_assumptions(symbol, value)
    return values


def _as_matrix(symbol: Any, value: Any) -> Any:
    """An array of two axes; a vector is a column, or a row where the symbol is one."""
    found = np.asanyarray(value)
    if found.ndim > 2:
        raise NotCoveredError(f"{symbol} has {found.ndim} axes, must have 2")
    if found.ndim == 2:
        return found
    return found.reshape(1, -1) if symbol.shape[0] == 1 and symbol.shape[1] != 1 else found.reshape(-1, 1)


SIGNS: tuple[tuple[str, Callable[[Any], Any]], ...] = (
    ("positive", lambda x: x > 0), ("negative", lambda x: x < 0), ("nonnegative", lambda x: x >= 0),
    ("nonpositive", lambda x: x <= 0), ("zero", lambda x: x == 0), ("nonzero", lambda x: x != 0),
    ("integer", lambda x: x == int(x)), ("even", lambda x: x % 2 == 0), ("odd", lambda x: x % 2 == 1),
)  # fmt: skip
RARE = ("prime", "composite", "irrational")


def check_assumptions(symbol: Any, value: Any) -> None:
    """`NotCoveredError` where a value does not have what its symbol assumes."""
    import sympy

    if isinstance(symbol, sympy.MatrixSymbol):
        return
    assumed = getattr(symbol, "label", symbol)
    rare = [name for name in RARE if getattr(assumed, f"is_{name}", None)]
    for entry in np.asarray(value).ravel():
        number = float(entry)
        if not np.isfinite(number):
            raise NotCoveredError(f"{symbol} = {number} is not finite")
        for name, holds in SIGNS:
            if getattr(assumed, f"is_{name}", None) and not holds(number):
                raise NotCoveredError(f"{symbol} = {number:g} is not {name}, as the claim assumes")
        for name in rare:
            if not getattr(sympy.Rational(number), f"is_{name}"):
                raise NotCoveredError(f"{symbol} = {number:g} is not {name}, as the claim assumes")


def with_bounds(relation: Any, values: Mapping[Any, Any], name: str) -> Measurement:
    """Left side minus right side of a relation, in float64 with a bound of every entry's rounding error."""
    import sympy

    import theory
    from verify.towers import values as bounds

    claim = theory.Claim(name, (relation,))
    if any(isinstance(base, sympy.IndexedBase) for base in values):
        raise InputError("indexed numbers have no bound")
    scalars = {s: value for s, value in values.items() if not isinstance(s, sympy.MatrixSymbol)}
    rows = [dict(values)]
    if any(np.size(value) != 1 for value in scalars.values()):
        if len(scalars) < len(values):
            raise NotCoveredError("a number of a claim about matrices has several values")
        spread = np.broadcast_arrays(*(np.asarray(value, dtype=np.float64) for value in values.values()))
        chosen = np.unique(np.linspace(0, spread[0].size - 1, min(spread[0].size, ENTRIES)).astype(int))
        rows = [dict(zip(values, (float(part.flat[n]) for part in spread), strict=True)) for n in chosen]
    parts = []
    for row in rows:
        plain = {
            symbol: value if isinstance(value, int) else bounds.in_float64(np.asarray(value, dtype=np.float64))
            for symbol, value in row.items()
        }
        (sides,) = claim.evaluate(plain, bounds.with_bounds())
        gap = sides.left - sides.right
        if isinstance(relation, sympy.Eq):
            parts.append((bounds.useful(gap, sides.left, sides.right), name))
        else:
            signed = gap if isinstance(relation, sympy.Ge | sympy.Gt) else -gap
            parts.append((bounds.lacking(signed, strict=isinstance(relation, sympy.Gt | sympy.Lt)), name))
    return bounds.measure_floats(parts)
