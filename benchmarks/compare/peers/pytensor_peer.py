"""PyTensor, by its C linker or by numba: shared state, updates, outputs borrowed, inputs trusted."""

from __future__ import annotations

import pytensor
import pytensor.tensor as pt
from pytensor.tensor.special import softmax

from benchmarks.compare.peers import Call
from benchmarks.compare.peers.theano_style import Theano, write
from benchmarks.compare.workloads import Workload

MODES = {"cvm": pytensor.compile.mode.Mode("cvm", "fast_run"), "numba": "NUMBA"}
NAMES = Theano(
    pt,
    shared=lambda x, name: pytensor.shared(x, name, borrow=True),
    grad=pytensor.grad,
    softmax=lambda x: softmax(x, axis=-1),
    sigmoid=pt.sigmoid,
)


def build(w: Workload, option: str) -> Call | None:
    """The call of any program."""
    if w.bound:
        return None
    pytensor.config.floatX = w.dtype  # constants such as 0.5 are of this type
    program = write(NAMES, w)
    outputs = [pytensor.Out(x, borrow=True) for x in program.outputs]
    f = pytensor.function(program.inputs, outputs, updates=program.updates, mode=MODES[option])
    f.trust_input = True
    state = lambda: {name: s.get_value() for name, s in program.shared.items()}
    return Call(f, tuple(w.data.arrays.values()), state=state)
