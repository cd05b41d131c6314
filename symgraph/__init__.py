"""A compiler for array mathematics: symbols to derivatives to readable C.

    import symgraph as sg
    import symgraph.tensor as T
"""

from symgraph import tensor
from symgraph.errors import (
    DtypeError,
    GradientError,
    GraphError,
    MissingInputError,
    ShapeError,
    UnusedInputError,
)
from symgraph.function import Function, function
from symgraph.grad import grad
from symgraph.graph.node import Constant, SharedVariable, Variable
from symgraph.graph.printing import debugprint, pp
from symgraph.ops.creation import shared
from symgraph.options import config
from symgraph.signature import In, Out
