"""The tables of an image experiment as rows and as words: losses, the theory, operators along training."""

import math
from collections.abc import Sequence
from typing import Any

from numeric.images.findings import Findings, exponent
from numeric.studies.images.evaluate import SETTINGS
from numeric.studies.images.losses import ImageLoss
from numeric.studies.images.study import ImageResults, mean_and_spread

NAMES = {
    "ntxent": "NT-Xent, whole batch",
    "infonce": "InfoNCE, H negatives",
    "simple": "simple (quadratic)",
    "triplet": "soft triplet",
    "covariance": "exact covariance form",
    "within": "covariance + within-pair",
}


_TESTED = {
    "moved": "moved augments every training and test image once as the training does, so its gain is what invariance "
    "to these very augmentations is worth",
    "plain": "plain takes images as they come",
    "few": "few takes them as they come with ten labels of each class",
}
_COSTS = (
    "Steps and images are equal for all losses, computing is not: the covariance forms pass two further views of every "
    "image forward in each step, for their weights"
)


def columns(results: ImageResults) -> list[str]:
    """The settings of the evaluation, the headline first, then its nearest neighbours."""
    return [*settings_of(results), f"{results.study.headline} knn"]


def settings_of(results: ImageResults) -> list[str]:
    """The settings of the evaluation, the headline first."""
    headline = results.study.headline
    return [headline, *(name for name in SETTINGS if name != headline)]


def summary(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each loss, the untrained network first: mean and spread over seeds, in points.

    ``"gain <setting>"`` is what is gained on the untrained network of the same seed, in every setting.
    """
    study, rows = results.study, []
    groups = {"untrained": [m.before for m in results.members if m.loss == study.losses[0]]}
    groups |= {loss: [m.after for m in results.members if m.loss == loss] for loss in study.losses}
    for loss, found in groups.items():
        row: dict[str, Any] = {"loss": loss, "seeds": len(found)}
        for name in columns(results):
            row[name], row[f"{name} sd"] = mean_and_spread([100 * each[name]["value"] for each in found])
        row["low"], row["high"] = (
            100 * mean_and_spread([each[study.headline][end] for each in found])[0] for end in ("low", "high")
        )
        for name in settings_of(results):
            pairs = zip(found, groups["untrained"], strict=True)
            gains = [100 * (after[name]["value"] - before[name]["value"]) for after, before in pairs]
            row[f"gain {name}"], row[f"gain {name} sd"] = mean_and_spread(gains)
        rows.append(row)
    return rows


def _number(row: dict[str, Any], name: str, sign: str = "") -> str:
    spread = row[f"{name} sd"]
    return f"{row[name]:{sign}.1f}" + ("" if math.isnan(spread) else f" ± {spread:.1f}")


def cells(results: ImageResults) -> tuple[list[str], list[list[str]]]:
    """Heads and entries of the table of losses."""
    names, settings = columns(results), settings_of(results)
    heads = ["loss", *(f"{name} (95 % interval)" if number == 0 else name for number, name in enumerate(names))]
    heads += [f"gain {name}" for name in settings]
    body = []
    for row in summary(results):
        first = f"{_number(row, names[0])} ({row['low']:.1f} to {row['high']:.1f})"
        untrained = row["loss"] == "untrained"
        gains = ["" if untrained else _number(row, f"gain {name}", "+") for name in settings]
        body.append([NAMES.get(row["loss"], row["loss"]), first, *(_number(row, name) for name in names[1:]), *gains])
    return heads, body


def what_is_tested(results: ImageResults) -> str:
    """What the settings test, above all ``moved``, and what a step costs more; without the last full stop."""
    said = "; ".join(_TESTED[name] for name in settings_of(results))
    weighted = any(ImageLoss(loss).weighted for loss in results.study.losses)
    return f"A gain is over the untrained network of the same seed: {said}" + (f". {_COSTS}" if weighted else "")


def theory_rows(findings: Findings) -> list[dict[str, Any]]:
    """One row for each network, part and statement: the worst layer of those that must hold, or the least wrong."""
    groups: dict[tuple[str, str, str, bool], list[Any]] = {}
    for network, check in findings.checks:
        groups.setdefault((network, check.part, check.statement, check.must_hold), []).append(check)
    return [
        {
            "network": network, "part": part, "statement": statement,
            "layers": ", ".join(check.layer for check in held) if len(held) < 3 else f"all {len(held)}",
            "residual": (max if must else min)(check.residual for check in held),
            "must": "hold" if must else "fail", "does": _does(held),
        }
        for (network, part, statement, must), held in groups.items()
    ]  # fmt: skip


def _does(held: Sequence[Any]) -> str:
    if not all(check.as_told for check in held):
        return "NOT AS TOLD"
    return "holds" if held[0].must_hold else "fails"


def residue_lines(findings: Findings) -> list[str]:
    """The residue of statement 4 in words, one line for each network and part."""
    found = []
    keys = dict.fromkeys((network, each.part) for network, each in findings.residues)
    for network, part in keys:
        rows = [each for name, each in findings.residues if (name, each.part) == (network, part)]
        strong = rows[-1]
        found.append(
            f"{network}, {part}: theta falls as sigma^{exponent(rows):.2f}; at full strength sigma = "
            f"{strong.spread:.3f} and theta is {strong.theta / strong.gradient:.0%} of the gradient, "
            f"without augmentation {rows[0].theta / rows[0].gradient:.1e}."
        )
    return found


THEORY_HEADS = ["network", "part", "statement", "layers", "residual", "must", "does"]


def theory_cells(findings: Findings) -> list[list[str]]:
    """Entries of the table of checks."""
    return [
        [f"{value:.1e}" if isinstance(value, float) else str(value) for value in row.values()]
        for row in theory_rows(findings)
    ]


def operator_cells(results: ImageResults) -> list[list[str]]:
    """Entries of the table of operators, for the losses that are looked at most closely."""
    return [
        [row["loss"], str(row["epoch"]), str(row["layer"]),
         f"{row['trace']:.3g}", f"{row['top']:.3g}", f"{row['rank']:.1f}"]
        for row in operator_rows(results)
        if row["loss"] in ("ntxent", "covariance") or len(results.study.losses) < 3
    ]  # fmt: skip


OPERATOR_HEADS = ["loss", "epoch", "layer", "trace", "largest eigenvalue", "effective rank"]


def operator_rows(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each loss, evaluation and layer of the head."""
    return [
        {"loss": member.loss, "seed": member.seed, "epoch": row["epoch"], **each}
        for member in results.members
        for row in member.history
        for each in row.get("operators", ())
    ]


def history_rows(results: ImageResults) -> list[dict[str, Any]]:
    """One row for each network and evaluation: the mean loss, linear accuracy with its interval, neighbours."""
    main = results.study.headline
    return [
        {"loss": member.loss, "seed": member.seed, "epoch": row["epoch"], "step": row["step"],
         "mean_loss": "" if row["loss"] is None else row["loss"], "linear": row[main]["value"],
         "low": row[main]["low"], "high": row[main]["high"], "knn": row[f"{main} knn"]["value"]}
        for member in results.members
        for row in member.history
    ]  # fmt: skip
