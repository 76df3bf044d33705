"""Public names of `verify`: read by type checkers, and by lazy_loader when one of them is used first."""

from . import strategies as strategies
from .engine.evidence import Evidence as Evidence
from .engine.evidence import Measurement as Measurement
from .engine.evidence import tally as tally
from .engine.statement import Assumption as Assumption
from .engine.statement import Check as Check
from .engine.statement import Context as Context
from .engine.statement import Statement as Statement
from .engine.statement import Variant as Variant
from .instances.instance import JsonInstance as JsonInstance
from .instances.instance import LossInstance as LossInstance
from .instances.instance import PairInstance as PairInstance
from .instances.instance import PopulationInstance as PopulationInstance
from .instances.instance import TreeInstance as TreeInstance
from .loss.conformance import Conformance as Conformance
from .loss.conformance import conformance as conformance
from .own.arithmetic import Arithmetic as Arithmetic
from .own.statement import Without as Without
from .own.statement import user_statement as user_statement
from .own.training import along_training as along_training
from .trees.own_tree import TreeResult as TreeResult
from .trees.own_tree import check_tree as check_tree
