"""Where the two sides meet: statements, their evidence and the verdicts.

The public classes are those that our own statements are made of, so that a statement of a user's own
(`user_statement`) runs in the same way. Names are loaded on first use: ``import verify`` loads neither torch nor SymPy.
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

if TYPE_CHECKING:
    from verify import strategies as strategies
    from verify.evidence import Evidence as Evidence
    from verify.evidence import Measurement as Measurement
    from verify.evidence import tally as tally
    from verify.instance import LossInstance as LossInstance
    from verify.instance import PairInstance as PairInstance
    from verify.instance import PopulationInstance as PopulationInstance
    from verify.loss.conformance import Conformance as Conformance
    from verify.loss.conformance import conformance as conformance
    from verify.own.arithmetic import Arithmetic as Arithmetic
    from verify.own.assumption import Without as Without
    from verify.own.instance import JsonInstance as JsonInstance
    from verify.own.statement import user_statement as user_statement
    from verify.statement import Assumption as Assumption
    from verify.statement import Check as Check
    from verify.statement import Context as Context
    from verify.statement import Statement as Statement
    from verify.statement import Variant as Variant
    from verify.trees.instance import TreeInstance as TreeInstance

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules={"strategies"},
    submod_attrs={
        "own.arithmetic": ["Arithmetic"],
        "evidence": ["Evidence", "Measurement", "tally"],
        "instance": ["LossInstance", "PairInstance", "PopulationInstance"],
        "loss.conformance": ["Conformance", "conformance"],
        "own.assumption": ["Without"],
        "own.instance": ["JsonInstance"],
        "own.statement": ["user_statement"],
        "statement": ["Assumption", "Check", "Context", "Statement", "Variant"],
        "trees.instance": ["TreeInstance"],
    },
)
