"""Compare `theory` and `numeric`: statements, their evidence and the verdicts.

The toolkit's statements are made of the public classes, so that a user's own (`user_statement`) runs in the same way.
Names are loaded on first use: ``import verify`` loads neither torch nor SymPy.
"""

from typing import TYPE_CHECKING

import lazy_loader as lazy

if TYPE_CHECKING:
    from verify import strategies as strategies
    from verify.engine.evidence import Evidence as Evidence
    from verify.engine.evidence import Measurement as Measurement
    from verify.engine.evidence import tally as tally
    from verify.engine.statement import Assumption as Assumption
    from verify.engine.statement import Check as Check
    from verify.engine.statement import Context as Context
    from verify.engine.statement import Statement as Statement
    from verify.engine.statement import Variant as Variant
    from verify.instances.instance import JsonInstance as JsonInstance
    from verify.instances.instance import LossInstance as LossInstance
    from verify.instances.instance import PairInstance as PairInstance
    from verify.instances.instance import PopulationInstance as PopulationInstance
    from verify.instances.instance import TreeInstance as TreeInstance
    from verify.loss.conformance import Conformance as Conformance
    from verify.loss.conformance import conformance as conformance
    from verify.own.sides import Arithmetic as Arithmetic
    from verify.own.statement import Without as Without
    from verify.own.statement import user_statement as user_statement

__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submodules={"strategies"},
    submod_attrs={
        "engine.evidence": ["Evidence", "Measurement", "tally"],
        "engine.statement": ["Assumption", "Check", "Context", "Statement", "Variant"],
        "instances.instance": ["JsonInstance", "LossInstance", "PairInstance", "PopulationInstance", "TreeInstance"],
        "loss.conformance": ["Conformance", "conformance"],
        "own.sides": ["Arithmetic"],
        "own.statement": ["Without", "user_statement"],
    },
)
