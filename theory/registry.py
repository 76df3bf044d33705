"""``theory.derive``: the derivations by canonical name (statements 1 to 7, arXiv 2010.00578, and packs)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType

from hltm.base.checks import Node
from hltm.base.errors import InputError
from hltm.tree import HLTM
from theory.core.derivation import Derivation
from theory.losses.family import derive_family
from theory.towers.covariance import DROPS, derive_covariance
from theory.towers.dual_gradient import derive_all_sizes, derive_widths
from theory.towers.weighted import derive_weighted
from theory.trees.derivations import CLAIMS, derive_latent
from theory.trees.lucky import CLAIMS as LUCKY_CLAIMS
from theory.trees.lucky import derive_lucky
from theory.trees.operator_claims import OPERATOR_CLAIMS, derive_operator_claim
from theory.two_layer.dynamics import CLAIMS as TWO_LAYER_CLAIMS
from theory.two_layer.dynamics import DROPS as TWO_LAYER_DROPS
from theory.two_layer.dynamics import derive_two_layer


@dataclass(frozen=True)
class Entry:
    """One statement: its number, what derives it, and its options.

    An option maps to the values that are allowed, or to None where the derivation itself checks the value.
    """

    number: int | None
    derive: Callable[..., Derivation]
    options: Mapping[str, tuple[object, ...] | None]


def _dual_gradient(widths: object = None, output: str = "linear") -> Derivation:
    return derive_all_sizes(output) if widths is None else derive_widths(widths, output)


def _latent(tree: HLTM | None = None, node: Node | None = None, claim: str = "activation") -> Derivation:
    if claim in OPERATOR_CLAIMS:
        return derive_operator_claim(tree, node, claim)
    return derive_latent(tree, node, claim)


_CONVENTION = ("shared", "one-branch")
_FORM = ("operator", "general")
STATEMENTS: Mapping[str, Entry] = MappingProxyType(
    {
        "dual-gradient": Entry(1, _dual_gradient, {"widths": None, "output": ("linear", "normalized")}),
        "contrastive-losses": Entry(2, derive_family, {"loss": None, "negatives": None}),
        "covariance-operator": Entry(
            3, derive_covariance, {"convention": _CONVENTION, "form": _FORM, "drop": (None, *DROPS)}
        ),
        "weighted-covariance-operator": Entry(
            4,
            derive_weighted,
            {
                "loss": None,
                "negatives": None,
                "distances": ("means", "points"),
                "convention": _CONVENTION,
                "form": _FORM,
                "order": (None, 1, 2),
            },
        ),
        "two-layer-dynamics": Entry(
            5, derive_two_layer, {"claim": TWO_LAYER_CLAIMS, "widths": None, "drop": (None, *TWO_LAYER_DROPS)}
        ),
        "activation-covariance": Entry(6, _latent, {"tree": None, "node": None, "claim": (*CLAIMS, *OPERATOR_CLAIMS)}),
        "lucky-nodes": Entry(7, derive_lucky, {"claim": LUCKY_CLAIMS}),
    }
)
"""The seven statements."""
PACKS: Mapping[str, str] = MappingProxyType(
    {
        "byol-update": "theory.packs.byol",
        "residue-order-two": "theory.packs.residue",
        "linear-byol": "theory.packs.linear_byol",
        "alpha-trace": "theory.packs.alpha_trace",
        "spectral-loss": "theory.packs.spectral",
        "stepwise-barlow": "theory.packs.stepwise",
        "covariance-loss": "theory.packs.covariance_loss",
        "infonce-limits": "theory.packs.infonce_limits",
        "collapse-hessian": "theory.packs.collapse",
        "function-space": "theory.packs.function_space",
        "whitening": "theory.packs.whitening",
        "linear-simclr": "theory.packs.linear_simclr",
        "jepa-mae": "theory.packs.jepa_mae",
        "eigenvector-growth": "theory.packs.eigenvector_growth",
    }
)
"""Statements of other papers and versions of the paper: the module of each, which has ``PARTS`` and ``derive``.

A part is one formula; modules are imported when they are asked for.
"""


def entry_of(slug: str) -> Entry:
    """What derives a statement, or a pack."""
    if slug in STATEMENTS:
        return STATEMENTS[slug]
    module = import_module(PACKS[slug])
    return Entry(None, module.derive, {"part": tuple(module.PARTS)})


def derive(slug: str | int, **options: object) -> Derivation:
    """Derive a statement of the paper, every step checked.

    Parameters
    ----------
    slug
        Canonical name, or its number as an alias: "dual-gradient" (1), "contrastive-losses" (2),
        "covariance-operator" (3), "weighted-covariance-operator" (4), "two-layer-dynamics" (5),
        "activation-covariance" (6), "lucky-nodes" (7).
    **options
        dual-gradient: ``widths`` (``(n_0, ..., n_L)``, None for all sizes), ``output`` ("linear",
        "normalized"). contrastive-losses: ``loss`` (name or expression), ``negatives`` (None for symbolic H).
        covariance-operator: ``convention`` ("shared", "one-branch"), ``form`` ("operator", "general"),
        ``drop`` (an assumption to leave out, see ``theory.towers.covariance.DROPS``).
        weighted-covariance-operator: ``loss``, ``distances`` ("means", "points"), ``negatives`` (1, or None
        for symbolic H), ``convention``, ``form``, ``order`` (claimed order of theta in the spread; None for
        the true one). two-layer-dynamics: ``claim`` ("block", "decoupled", "conserved", "ring"), ``widths``
        (``(n_0, n_1, n_2)`` writes the block form out), ``drop``. activation-covariance: ``tree``, ``node``
        (without them a small tree), ``claim`` ("activation", "update", "losses", "depth", "operator" of linear
        neurons or the top node, "walsh"). lucky-nodes: ``claim`` ("strength", "leaky", "gap", "existence", "law").
        Statements of other papers, "byol-update" and the others of ``theory.PACKS``: ``part``, one formula of them.

    Returns
    -------
    Derivation
        With ``.claim .decides(claim) .proved .decision .assumptions .steps .residual .latex()``.

    Raises
    ------
    InputError
        Where a name, an option or a value is not known.

    Source
    ------
    arXiv 2010.00578, Theorems 1 to 4; statements 1 to 7.

    Examples
    --------
    >>> derive("dual-gradient", widths=(3, 2, 2)).proved
    True
    >>> derive("covariance-operator").decision.value
    True
    """
    name = slug_of(slug)
    entry = entry_of(name)
    for option, value in options.items():
        if option not in entry.options:
            hint = _near(option, entry.options)
            raise InputError(f"option {option!r} of {name!r}: must be one of {', '.join(entry.options)}{hint}")
        allowed = entry.options[option]
        if allowed is not None and not any(value is a or (type(value) is type(a) and value == a) for a in allowed):
            hint = _near(value, [str(a) for a in allowed])
            raise InputError(f"{option}={value!r} of {name!r}: must be one of {', '.join(map(repr, allowed))}{hint}")
    return entry.derive(**options)


def slug_of(slug: object) -> str:
    """The slug of a statement, by its slug or its number."""
    known = [*STATEMENTS, *PACKS]
    numbers = {name: (entry.number, str(entry.number)) for name, entry in STATEMENTS.items()}
    for name in known:
        if not isinstance(slug, bool) and slug in (name, *numbers.get(name, ())):
            return name
    hint = _near(slug, known)
    raise InputError(f"slug={slug!r} of derive: must be one of {', '.join(known)}{hint}")


def _near(value: object, known: "Mapping[str, object] | list[str]") -> str:
    result = get_close_matches(str(value), list(known), 1, 0.4)
    return f"; did you mean {result[0]!r}?" if result else ""
