"""A compiler for array mathematics: symbols to derivatives to readable C.

    import symgraph as sg
    import symgraph.tensor as T
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from symgraph import printing, tensor
from symgraph.errors import (
    AssertionFailure,
    DtypeError,
    GradientError,
    GraphError,
    MissingInputError,
    NonFiniteError,
    ShapeError,
    UnusedInputError,
)
from symgraph.function import Function, function
from symgraph.grad import grad
from symgraph.graph.node import Constant, SharedVariable, Variable
from symgraph.graph.printing import debugprint, pp
from symgraph.latex import latex
from symgraph.ops.creation import shared
from symgraph.ops.debugging import Assert, Print
from symgraph.options import NanGuardMode, config
from symgraph.signature import In, Out
from symgraph.threads import get_num_threads, set_num_threads

if TYPE_CHECKING:
    from symgraph.chain_rule import explain_grad
    from symgraph.version import __version__
    from symgraph.visual.drawing import Drawing, draw

LAZY = {  # name -> the file that has it
    "draw": "symgraph.visual.drawing",
    "Drawing": "symgraph.visual.drawing",
    "explain_grad": "symgraph.chain_rule",
    "__version__": "symgraph.version",
}


def __getattr__(name: str) -> Any:
    """What few programs use is imported when it is used."""
    if name not in LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value = getattr(import_module(LAZY[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *LAZY})
