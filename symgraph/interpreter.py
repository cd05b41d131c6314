"""Runs a graph by the ops' numpy references.

It is the oracle of tests, the fallback without a compiler, and the judge of compiled calls that fail.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from symgraph.errors import GraphError, MissingInputError, ShapeError
from symgraph.graph.node import Apply, Constant, SharedVariable, Variable, located
from symgraph.graph.traverse import toposort
from symgraph.graph.types import TensorType


def evaluate(
    outputs: Sequence[Variable], values: Mapping[Variable, np.ndarray], trace: dict[Variable, np.ndarray] | None = None
) -> list[np.ndarray]:
    """The values of `outputs`, given arrays for the inputs they depend on; shared variables have their present value.

    Every node's value is left in `trace` if that is given; otherwise a value is dropped after its last use.

    A value may share memory with an input, a shared variable or another output.

    Raises ShapeError, IndexError or what else an op raises, in the user's names and with the user's line;
    MissingInputError for an input without a value.
    """
    order = toposort(outputs, stop=values)
    known: dict[Variable, np.ndarray] = trace if trace is not None else {}
    known.update(values)
    uses: dict[Variable, int] = {}
    for x in (*outputs, *(x for node in order for x in node.inputs)):
        uses[x] = uses.get(x, 0) + 1
        if x.owner is None and x not in known:
            known[x] = _leaf(x)
    for node in order:
        known[node.output] = run_node(node, [known[x] for x in node.inputs])
        for x in node.inputs:
            uses[x] -= 1
            if uses[x] == 0 and trace is None:
                del known[x]
    return [known[x] for x in outputs]


def run_node(node: Apply, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The value of one application; an error names the operands, their shapes and the user's line."""
    actual = tuple(_with_shape(x, array) for x, array in zip(node.inputs, arrays, strict=True))
    origin = node.output.origin
    try:
        node.op.infer_type(*[x.type for x in actual])
        value = node.op.reference(*arrays)
    except GraphError as error:
        raise located(error, actual, origin) from None
    except (IndexError, ValueError, ZeroDivisionError) as error:
        message = f"{str(error).replace('{', '{{').replace('}', '}}')}, in {{0}}" if actual else str(error)
        wrapped = located(ShapeError(message), actual, origin).args[0]
        raise (IndexError if isinstance(error, IndexError) else ShapeError)(wrapped) from None
    return np.asarray(value)


def _leaf(x: Variable) -> np.ndarray:
    if isinstance(x, Constant):
        return x.data
    if isinstance(x, SharedVariable):
        return x.storage
    raise MissingInputError(f"{x} (made at {x.origin}) has no value: pass one for it")


def _with_shape(x: Variable, array: np.ndarray) -> Variable:
    """A stand-in for `x` with the shape it turned out to have; its name and expression are those of `x`."""
    if isinstance(x, Constant):
        return x
    return Variable(TensorType(x.dtype, array.shape), x.name, x.owner, x.origin)
