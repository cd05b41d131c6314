"""Functions of doubles as plain C functions, for those who call one many times: scipy, numba, ctypes."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from string import Template
from typing import Any

from codegen.dtypes import c_type, literal
from codegen.module import Module
from symgraph.lower.program import Lowered
from symgraph.signature import Signature

MOST_NUMBERS = 10_000  # of constants, which are written out in C

_DOUBLES = ctypes.POINTER(ctypes.c_double)

# How C calls it, as scipy spells that
VECTOR = "double (int, double *, void *)"
BUFFER = "int (double *, npy_intp, double *, void *)"
MAP = "int (int, double *, double *, void *)"

_TEXT = Template("""
/* ${name} as ${signature}, by stack and heap alone: any number of threads may call it. */
#include <stdlib.h>
${result} ${name}_plain(${parameters})
{
${values}    void *const arrays[] = {${arrays}};
    int64_t sizes[${count}];
    _Alignas(64) char small[1024];
    ${give}if (!(${fits}))
        return ${failure};
    ${length}if (${name}_plan(arrays, sizes) != 0)
        return ${failure};
    const int64_t needed = sizes[${workspace}];
    void *workspace = needed <= (int64_t)sizeof small ? small : aligned_alloc(64, (size_t)(needed + 63) / 64 * 64);
    const int failed = workspace == NULL || ${name}(arrays, sizes, workspace) != 0;
    if (workspace != (void *)small)
        free(workspace);
    return ${answer};
}
""")


def default_signature(caller: str, signature: Signature) -> str:
    """The plain C signature that fits a function best.

    Raises ValueError for one that is no function of doubles: with updates or shared variables, several outputs, other
    dtypes, matrices.
    """
    inputs = [x.variable for x in signature.inputs]
    if signature.shared:
        raise ValueError(f"{caller} has state, and a plain C function has none: put values in its place by givens")
    if len(signature.outputs) != 1 or any(x.dtype != "float64" for x in (*inputs, *signature.outputs)):
        raise ValueError(f"{caller} is no function of doubles that gives one result")
    ranks, rank = [x.ndim for x in inputs], signature.outputs[0].ndim
    if not any(ranks) and rank == 0:
        return f"double ({', '.join(['double'] * len(ranks)) or 'void'})"
    if ranks == [1] and rank <= 1:
        return VECTOR if rank == 0 else MAP
    raise ValueError(f"{caller} is no function of numbers or of a vector that gives a number or a vector")


def plain_text(lowered: Lowered, natural: str, signature: str) -> str:
    """The C of `NAME_plain`, to stand behind that of the function. Raises ValueError for a signature it cannot have."""
    numbers = natural not in (VECTOR, MAP)
    count = len(lowered.inputs)
    possible = {natural, VECTOR, BUFFER} if natural != MAP else {MAP}
    if signature not in possible:
        raise ValueError(f"this function can be called as {' or as '.join(sorted(possible))}, not {signature!r}")
    spread = [f"&x[{k}]" for k in range(count)] if numbers else ["x"]
    failure = "NAN" if signature.startswith("double") else "0" if signature == BUFFER else "1"
    fits = f"n == {count}" if numbers else "n >= 0"
    apart = numbers and signature == natural
    if apart:
        names = [f"x{k}" for k in range(count)]
        parameters, spread, fits = ", ".join(f"double {x}" for x in names) or "void", [f"&{x}" for x in names], "true"
    else:
        length = "int n, double *x" if signature != BUFFER else "double *x, intptr_t n"
        parameters = length + (", void *user" if signature == VECTOR else ", double *y, void *user")
    values = "    double y[1];\n" if apart or signature == VECTOR else ""
    constants = []
    for k, constant in enumerate(lowered.constants):
        if constant.data.size > MOST_NUMBERS:
            raise ValueError("the function has constants too large to be written out in C")
        elements = ", ".join(literal(constant.dtype, v) for v in constant.data.ravel().tolist()) or "0"
        values += f"    static {c_type(constant.dtype).name} constant_{k}[] = {{{elements}}};\n"
        constants.append(f"constant_{k}")
    return _TEXT.substitute(
        name=lowered.program.name,
        signature=signature,
        result="double" if signature.startswith("double") else "int",
        parameters=parameters,
        values=values,
        arrays=", ".join([*spread, *constants, "y"]),
        count=max(lowered.size_count, 1),
        give="" if "user" not in parameters else "(void)user;\n    ",
        fits=fits,
        failure=failure,
        length="" if numbers else "sizes[0] = n;\n    ",
        workspace=lowered.workspace_position,
        answer={"NAN": "failed ? NAN : y[0]", "0": "!failed", "1": "failed"}[failure],
    )


def plain_function(module: Module, signature: str) -> Any:
    """`NAME_plain` of a library, as ctypes calls it. The library stays loaded until the process ends."""
    ffi = module.ffi
    entry = module.lib.load_function(ffi.typeof("void(*)(void)"), f"{module.name}_plain")
    return _prototype(signature)(int(ffi.cast("intptr_t", entry)))


def _prototype(signature: str) -> Callable[[int], Any]:
    if signature == VECTOR:
        return ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_int, _DOUBLES, ctypes.c_void_p)
    if signature == BUFFER:
        return ctypes.CFUNCTYPE(ctypes.c_int, _DOUBLES, ctypes.c_ssize_t, _DOUBLES, ctypes.c_void_p)
    if signature == MAP:
        return ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, _DOUBLES, _DOUBLES, ctypes.c_void_p)
    return ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * signature.count("double", 1))
