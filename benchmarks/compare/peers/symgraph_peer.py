"""symgraph: called with arguments, or with arguments and results bound beforehand."""

from __future__ import annotations

from functools import partial

import numpy as np

import symgraph as sg
import symgraph.tensor as T
from benchmarks.compare.peers import Call
from benchmarks.compare.peers.theano_style import Theano, write
from benchmarks.compare.workloads import Workload

NAMES = Theano(T, sg.shared, sg.grad, T.nnet.softmax, T.nnet.sigmoid)
BOUND = ("calls", "elementwise")  # the groups where what a call costs beside the work can be seen


def start() -> None:
    """What is compiled and measured once on a machine: the launcher, the choice of a BLAS."""
    A, B = T.fmatrices("A", "B")
    sg.function([A, B], [T.dot(A, B), T.tanh(A)])(*np.zeros((2, 64, 64), "float32"))


def build(w: Workload, option: str) -> Call | None:
    """The call of any program; None where this form is not measured."""
    bound = option == "bound"
    if (w.bound and not bound) or (bound and w.group not in BOUND):
        return None
    program = write(NAMES, w)
    outputs = program.outputs if len(program.outputs) > 1 else program.outputs[0]
    f = sg.function(program.inputs, outputs, updates=program.updates, name=w.program)
    arrays = tuple(w.data.arrays.values())
    call = Call(f, arrays, state=lambda: {name: s.get_value() for name, s in program.shared.items()})
    if not bound:
        return Call(f, arrays, state=call.state, moved=partial(bytes_moved, f, w))
    results = [np.empty(x.shape, w.dtype) for x in w.expected.arrays.values()]
    return Call(f.bind(*arrays, out=results), outputs=lambda _: results, state=call.state)


def bytes_moved(f: sg.Function, w: Workload) -> int | None:
    """Bytes that the compiled program reads and writes, by its own account."""
    sizes = {f"{name}_{k}": n for name, x in (w.data.arrays | w.data.state).items() for k, n in enumerate(x.shape)}
    try:
        cost = f.cost().at(**sizes)
    except KeyError:
        return None
    return cost["read"] + cost["written"]
