"""Functions whose calls are taken by C, or by Python."""

import pytest

from codegen.launcher import launcher, refusal
from symgraph.compiler import cache_of, toolchain_or_warning
from symgraph.function import Function
from symgraph.options import Options
from symgraph.signature import make_signature


@pytest.fixture(scope="session")
def extension():
    """The extension module, built."""
    options = Options()
    toolchain = toolchain_or_warning(options)
    module = launcher(toolchain, cache_of(options), wait=True) if toolchain is not None else None
    if module is None:
        pytest.skip(f"there is no extension module here: {refusal() or 'no compiler'}")
    return module


@pytest.fixture(params=["c", "python"])
def make(request, extension):
    """`make(inputs, outputs, …)`: a function whose calls are C's or Python's."""
    def compiled(inputs, outputs=None, updates=(), name=None, mode=None, givens=()):
        signature = make_signature(inputs, outputs, updates, givens, name)
        options = Options.of(mode, False, None)
        return Function(signature, Options(**{**vars(options), "calls": request.param}), 0.0)
    compiled.calls = request.param
    return compiled
