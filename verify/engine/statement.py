"""Statements as data: text, checks, mutants and assumptions.

A check is a function of a `Context`, so that a user's own statement runs in the same way as those of the paper.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from verify.engine.evidence import Evidence, Kind, Measurement
from verify.engine.rewrites import Rewrite
from verify.figures.data import FigureData
from verify.registry import heading

Profile = Literal["quick", "thorough"]
Relation = Literal["as printed", "sharpened", "corrected", "own form"]
Confidence = Literal["high", "medium", "low"]


@dataclass(frozen=True)
class Part:
    """One part of a search over several processes."""

    number: int
    of: int
    shrink: bool = False


@dataclass(frozen=True)
class Context:
    """Everything that a check may depend on besides its own code.

    Parameters
    ----------
    seed : int
        Every random choice of the run derives from it.
    profile : {"quick", "thorough"}
        How much is tried.
    device : str
        Torch device of the float checks, already resolved (`cpu` or `cuda`).
    part : Part, optional
        Part of a search for counterexamples; by default all of it.

    Examples
    --------
    >>> Context(seed=0).pick(quick=10, thorough=1000)
    10
    """

    seed: int = 0
    profile: Profile = "quick"
    device: str = "cpu"
    part: Part | None = None

    def pick(self, *, quick: int, thorough: int) -> int:
        """The number for the profile."""
        return quick if self.profile == "quick" else thorough


@dataclass(frozen=True)
class Check:
    """One check of a statement: the kind of its evidence, the source of its instances, and how to run it.

    Examples
    --------
    >>> Check("exact", "toy", lambda context: Evidence("exact", "holds", "toy")).kind
    'exact'
    """

    kind: Kind
    source: str
    run: Callable[[Context], Evidence]


@dataclass(frozen=True)
class Variant:
    """A false one-line change of a statement, which the named kinds of evidence must refute.

    Parameters
    ----------
    name : str
        Short, hyphenated, unique within the statement.
    change : str
        The change in words or formulas.
    claim : object
        What the statement's measuring functions take in place of the stated formula.
    caught_by : tuple of str
        Kinds of evidence that must refute it, at least two where two measure what it changes.
    one_kind : str
        Reason where only one kind measures it.
    rewrite : Rewrite or str
        The mutant as a rewrite of a claim that `theory` decides, or why it is none.

    Examples
    --------
    >>> Variant("sign", "a minus in place of a plus", claim=-1).caught_by
    ('exact', 'float')
    """

    name: str
    change: str
    claim: Any
    caught_by: tuple[Kind, ...] = ("exact", "float")
    one_kind: str = ""
    rewrite: Rewrite | str = field(default="", compare=False)


@dataclass(frozen=True)
class Assumption:
    """An assumption of a statement, and a way to drop it.

    Parameters
    ----------
    name : str
        The assumption in words.
    dropped : str
        Its replacement in words.
    tries : callable
        ``Context -> iterable of verify.engine.assumptions.Sides``: both sides of the statement without the
        assumption, the smallest instance first.
    necessary : bool
        Whether a counterexample is expected; if not, the statement is expected to hold on every instance.
    derivation : (slug, options), optional
        Arguments of `theory.derive` for the statement without the assumption, which must be refuted there too.

    Examples
    --------
    >>> Assumption("a tree", "two latents with a common child", lambda context: []).necessary
    True
    """

    name: str
    dropped: str
    tries: Callable[[Context], Iterable[Any]]
    necessary: bool = True
    derivation: tuple[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True)
class PaperRelation:
    """The relation of a statement to what the paper prints, and the source of that knowledge.

    Parameters
    ----------
    relation : {"as printed", "sharpened", "corrected", "own form"}
        Whether the statement is the paper's; adds to it or bounds it more tightly; contradicts it; or is stated in
        this project's own form.
    difference : str
        What the statement adds to, changes or leaves out of the printed one.
    source : str
        The text or notes that the two fields above are taken from.
    confidence : {"high", "medium", "low"}
        ``high``: the source is at hand and decides the relation. ``medium``: a public source at hand confirms a part,
        which `source` names; the rest is from notes. ``low``: from notes that were written without the paper's text.

    Examples
    --------
    >>> PaperRelation("own form", "the bound is ours", "the derivation itself", "high").as_json()["relation"]
    'own form'
    """

    relation: Relation
    difference: str
    source: str
    confidence: Confidence

    def __post_init__(self) -> None:
        """Refuse values that are not listed."""
        for name, value, allowed in (
            ("relation", self.relation, Relation),
            ("confidence", self.confidence, Confidence),
        ):
            if value not in get_args(allowed):
                raise ValueError(f"{name}={value!r}: must be one of {', '.join(get_args(allowed))}")

    def as_json(self) -> dict[str, str]:
        """The four fields."""
        return asdict(self)


@dataclass(frozen=True)
class Statement:
    """A statement with its evidence.

    Parameters
    ----------
    slug, theorem, title
        Canonical name, number of the statement (None: a statement of a user's own), one line.
    stated : str or callable
        The statement in LaTeX, or a function that derives it (`verify.engine.claims.Claimed`); `claim` is the text.
    assumptions, not_covered : tuple of str
        Its assumptions, and the limits of the checks.
    source : str
        Reference.
    checks : tuple of Check
        Evidence in the order in which it is shown.
    stages : tuple of callables
        Each makes a Hypothesis strategy of instances; the smallest instances come first. Searches for counterexamples
        take this order, so that a counterexample is small before it is shrunk.
    measures : mapping
        Kind of evidence to a function ``(instance, claim) -> Measurement``; claim None is the statement itself.
    variants : tuple of Variant
        Mutants.
    drops : tuple of Assumption
        Assumptions, each with a way to drop it.
    figures : callable, optional
        ``Context -> sequence of FigureData``: the figures of the report.
    relation_to_paper : PaperRelation, optional
        How the statement relates to the printed one; None for a statement of a user's own.

    Examples
    --------
    >>> from verify.registry import entry
    >>> statement = entry("dual-gradient").load()
    >>> statement.theorem, statement.heading, [kind for kind in statement.measures]
    (1, 'Theorem 1', ['exact', 'float'])
    """

    slug: str
    theorem: int | None
    title: str
    stated: str | Callable[[], str]
    assumptions: tuple[str, ...]
    not_covered: tuple[str, ...]
    source: str
    checks: tuple[Check, ...]
    stages: tuple[Callable[[], Any], ...]
    measures: Mapping[Kind, Callable[[Any, Any], Measurement]]
    instance_type: type
    variants: tuple[Variant, ...] = field(default=())
    drops: tuple[Assumption, ...] = field(default=())
    figures: Callable[[Context], Sequence[FigureData]] | None = None
    relation_to_paper: PaperRelation | None = None

    @property
    def claim(self) -> str:
        """The statement in LaTeX."""
        return self.stated if isinstance(self.stated, str) else self.stated()

    @property
    def short(self) -> str:
        """The number, or the slug of a statement that has none."""
        return self.slug if self.theorem is None else str(self.theorem)

    @property
    def heading(self) -> str:
        """The heading of a verdict: Theorem 1 to 4, Statement 5 to 7, Statement."""
        return heading(self.theorem)

    def _repr_latex_(self) -> str:
        from theory.latex.render import for_browsers

        return f"$$\n{for_browsers(self.claim)}\n$$"

    def variant(self, name: str) -> Variant:
        """The variant of that name; a KeyError lists the names."""
        for candidate in self.variants:
            if candidate.name == name:
                return candidate
        known = ", ".join(v.name for v in self.variants)
        raise KeyError(f"variant={name!r} of statement {self.slug!r}: must be one of {known}")


def command(theorem: int, context: Context) -> str:
    """The command that recomputes the figures of a statement."""
    options = f"--seed {context.seed} --profile {context.profile} --device {context.device}"
    return f"python -m verify.theorem{theorem} {options} --report out"
