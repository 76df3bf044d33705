"""The skeleton of a statements file: `covop new FILE`."""

from __future__ import annotations

import re
from pathlib import Path

from hltm.base.atomic import reason
from hltm.base.errors import InputError

TEXT = '''"""A statement of your own. Replace the lines marked `# yours`; everything else may stay.

    covop run {file}               symbolic, float and search, and whether the mutants fall
    covop run {file} --variants    the mutants one by one, their counterexamples saved

The example: the gradient of the logistic loss tau log(1 + exp(w.x/tau)), summed over inputs x.
"""

from dataclasses import dataclass

import numpy as np
import torch
from hypothesis import strategies as st

from verify import JsonInstance, user_statement
from verify.strategies import eighths, matrices, vectors


# 1. The numbers that the statement is about: float, int, str, and nested tuples for vectors and matrices.
@dataclass(frozen=True)
class Instance(JsonInstance):
    w: tuple[float, ...]  # yours: weights (d,)
    x: tuple[tuple[float, ...], ...]  # yours: inputs (n, d)
    tau: float  # yours


# 2. How they are drawn. A counterexample is sought among the smallest first.
@st.composite
def instances(draw, largest):
    n, d = draw(st.integers(1, largest)), draw(st.integers(1, largest))  # yours
    return Instance(draw(vectors(d)), draw(matrices(n, d)), draw(eighths(1, 16)))  # yours


# 3. What you claim: a formula in NumPy, without automatic differentiation. Arrays come from at.array.
def theory(i, at, power=1, sign=1):
    w, x, tau = at.array(i.w), at.array(i.x), at.array(i.tau)  # yours
    return x.T @ (1 / (1 + np.exp(-sign * x @ w / tau**power)))  # yours


# 4. The same by another way, which shares no code with it: torch differentiates. Tensors come from at.tensor.
def measured(i, at):
    w, x, tau = at.tensor(i.w).requires_grad_(), at.tensor(i.x), at.tensor(i.tau)  # yours
    loss = (tau * torch.logaddexp(x @ w / tau, at.tensor(0.0))).sum()  # yours
    return torch.autograd.grad(loss, w)[0]  # yours


# 5. Mutants: false statements near yours. Each must be refuted, else the check is too weak to mean anything.
def no_temperature(i, at):
    """the sigmoid of w.x in place of w.x/tau"""
    return theory(i, at, power=0)  # yours


def other_sign(i, at):
    """the sigmoid of -w.x/tau"""
    return theory(i, at, sign=-1)  # yours


STATEMENT = user_statement(
    title="{title}",
    claim=r"\\nabla_w \\sum_x \\tau \\log(1 + e^{{wx/\\tau}}) = \\sum_x \\sigma(wx/\\tau)\\, x",  # yours
    source="",  # where the statement is printed
    theory=theory,
    numeric=measured,
    strategy=[instances(1), instances(3)],
    variants={{"no-temperature": no_temperature, "other-sign": other_sign}},
    # symbolic=proof,          a function that returns what SymPy must prove: sympy.Eq(left, right, evaluate=False)
    # exact=counted,           the measured side in rationals (at.exact): any difference refutes
    # relation="<=",           theory <= numeric in place of equality
    # order=2, in_="tau",      theory - numeric = O(tau^2) as the field tau goes to zero
    # trained=along_training(network=..., loss=..., instance=...),   the sides at checkpoints of training
    # drops={{"an assumption": Without("what stands in its place", instances_without_it)}},
)
'''


def skeleton(file: Path) -> str:
    """The text of a new statements file, its title made of the name of the file."""
    words = re.sub(r"[^a-z0-9]+", " ", file.stem.lower()).strip()
    # A title is made a slug: 60 characters at most.
    return TEXT.format(file=file.name, title=words[:60].strip() or "my statement")


def write_new(file: Path) -> None:
    """Write the skeleton to a new file; refuse one that is there, or whose name no Python file has."""
    if file.suffix != ".py" or re.search(r"[^A-Za-z0-9_.-]", file.name):
        raise InputError(
            f"file {str(file)!r}: must be a name of letters, digits, hyphens and underscores that ends in .py"
        )
    try:
        with file.open("x", encoding="utf-8") as target:
            target.write(skeleton(file))
    except FileExistsError:
        raise InputError(f"file {str(file)!r}: exists, must be a new file") from None
    except OSError as error:
        raise InputError(f"file {str(file)!r}: cannot be written: {reason(error)}") from None
