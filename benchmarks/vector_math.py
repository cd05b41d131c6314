"""How fast and how exact the functions of codegen/vector_math.py are, beside glibc's vector library and scalar libm.

    python benchmarks/vector_math.py [--quick] [NAME ...]

One line for each function and format: the largest error found, in units in the last place, and nanoseconds an element
of 10,000 in cache, the best of interleaved rounds; of our C, of libmvec where gcc and glibc have it, and of libm called
for one number after the other. With gcc it also tells which of our loops were not vectorized.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from mpmath import mp, mpf

from codegen import ir
from codegen.c_printer import print_program
from codegen.dtypes import c_type
from codegen.errors import CompileError
from codegen.toolchain import Toolchain, compile, find_toolchain

COUNT = 10_000
NAMES = """
    exp exp2 expm1 log log2 log10 log1p sigmoid tanh sinh cosh arcsinh arccosh arctanh erf erfc power
    sin cos tan arcsin arccos arctan arctan2
""".split()
STEMS = {"power": "pow"} | {f"arc{name}": f"a{name}" for name in "sin cos tan tan2 sinh cosh tanh".split()}
EXACT = {name: getattr(mp, stem) for name, stem in STEMS.items() if name != "power"} | {
    "exp2": lambda x: mpf(2) ** x, "log2": lambda x: mp.log(x) / mp.log(2), "power": mp.power,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
}  # fmt: skip
RANGES = dict.fromkeys(("arcsin", "arccos", "arctanh"), (-0.99, 0.99)) | {
    "log": (1e-3, 20), "log2": (1e-3, 20), "log10": (1e-3, 20), "log1p": (-0.9, 20), "arccosh": (1, 20),
    "power": (0.1, 9),
}  # fmt: skip

WIDTHS = 7, 9, 7, 10, 9, 7  # of the columns

Loop = Callable[[], None]


def arity(name: str) -> int:
    """How many arguments a function takes."""
    return 2 if name in ("power", "arctan2") else 1


def our_unit(dtype: str) -> str:
    """The C of a loop for each function, as compiled functions have it."""
    i, n, result = ir.Var("int64", "i"), ir.Var("int64", "n"), ir.Buffer("r", dtype, writable=True)
    kernels = []
    for name in NAMES:
        operands = tuple(ir.Buffer(x, dtype) for x in "xy"[: arity(name)])
        value = ir.Operation(dtype, name, tuple(ir.Load(dtype, x, i) for x in operands))
        loop = ir.For(i, n, (ir.Store(result, i, value),), simd=True)
        kernels.append(ir.Kernel(name + "_loop", (*operands, result, n), (loop,)))
    text = print_program(ir.Program("unit", (), (), (), (), (), tuple(kernels)))
    return text.replace("SG_KERNEL void", "void")  # to be called from here


def their_unit(dtype: str, vectors: bool) -> str:
    """The C of the same loops by libm; with `vectors`, in the forms that libmvec has of it."""
    t = c_type(dtype)
    text = "#include <math.h>\n#include <stdint.h>\n"
    for name in NAMES:
        if name == "sigmoid":
            continue
        function, count = STEMS.get(name, name) + t.math, arity(name)
        if vectors:
            text += f'__attribute__((simd("notinbranch"))) {t.name} {function}({", ".join([t.name] * count)});\n'
        operands = ", ".join(f"const {t.name} *restrict {x}" for x in "xy"[:count])
        text += f"void {name}_loop({operands}, {t.name} *restrict r, int64_t n)\n{{\n"
        text += '_Pragma("omp simd")\n' if vectors else ""
        arguments = ", ".join(f"{x}[i]" for x in "xy"[:count])
        text += f"for (int64_t i = 0; i < n; ++i) r[i] = {function}({arguments});\n}}\n"
    return text


def load(text: str, toolchain: Toolchain, folder: Path, name: str) -> ctypes.CDLL:
    """A unit compiled and loaded."""
    source = folder / f"{name}.c"
    source.write_text(text)
    compile(toolchain, source, source.with_suffix(".so"))
    return ctypes.CDLL(str(source.with_suffix(".so")))


def not_vectorized(source: Path, toolchain: Toolchain) -> list[str]:
    """The functions whose loops gcc did not vectorize."""
    flags = [*toolchain.flags, "-fopt-info-vec", "-S"]
    command = [*toolchain.command, *flags, str(source), "-o", str(source.with_suffix(".s"))]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode or "loop vectorized" not in done.stderr:
        return []  # another compiler
    owners, owner = [""], ""  # the function that each line, counted from 1, is part of
    for line in source.read_text().splitlines():
        match = re.match(r"void (\w+)_loop\(", line)
        owners.append(owner := match[1] if match else owner)
    told = {owners[int(n)] for n in re.findall(r"\.c:(\d+):\d+: optimized: loop vectorized", done.stderr)}
    return [name for name in NAMES if name not in told]


def operands(name: str, dtype: str) -> list[np.ndarray]:
    """Numbers in the range where the function is used most."""
    rng = np.random.default_rng(0)
    x = rng.uniform(*RANGES.get(name, (-5, 5)), COUNT).astype(dtype)
    return [x, rng.uniform(-5, 5, COUNT).astype(dtype)][: arity(name)]


def largest_error(name: str, arrays: list[np.ndarray], results: np.ndarray, count: int) -> float:
    """In units in the last place of the exact value, over the first `count` numbers."""
    digits, worst = np.finfo(results.dtype).nmant + 1, 0.0
    with mp.workdps(50):
        for *point, result in zip(*(a[:count].tolist() for a in arrays), results.tolist()):
            true = (EXACT.get(name) or getattr(mp, name))(*map(mpf, point))
            if true:
                worst = max(worst, float(abs(mpf(result) - true) / mpf(2) ** (mp.frexp(true)[1] - digits)))
    return worst


def best_times(loops: list[Loop], rounds: int) -> list[float]:
    """Nanoseconds an element of each loop, the best of interleaved rounds."""
    best = [float("inf")] * len(loops)
    for _ in range(rounds):
        for k, loop in enumerate(loops):
            start = time.perf_counter()
            for _ in range(3):
                loop()
            best[k] = min(best[k], (time.perf_counter() - start) / 3 / COUNT * 1e9)
    return best


def line(name: str, dtype: str, libraries: list[ctypes.CDLL], rounds: int, count: int) -> str:
    """What was measured of one function."""
    arrays, out, errors, loops = operands(name, dtype), np.empty(COUNT, dtype), [], []
    for library in libraries[: 1 if name == "sigmoid" else 3]:
        entry = getattr(library, f"{name}_loop")
        pointers = [ctypes.c_void_p(a.ctypes.data) for a in (*arrays, out)]
        loops.append(partial(entry, *pointers, ctypes.c_int64(COUNT)))
        loops[-1]()
        errors.append(largest_error(name, arrays, out, count))
    numbers = [*errors, *[None] * (3 - len(errors)), *best_times(loops, rounds)]
    cells = [f"{x:>{w}.2f}" if x is not None else " " * w for x, w in zip(numbers, WIDTHS)]
    return f"{dtype:9}{name:10}{''.join(cells)}"


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"functions; all: {' '.join(NAMES)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and numbers")
    options = parser.parse_args()
    rounds, count = (5, 200) if options.quick else (40, 2000)
    titles = "".join(f"{title:>{w}}" for title, w in zip(("ulp", "libmvec", "libm", "ns", "libmvec", "libm"), WIDTHS))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        toolchain = find_toolchain(os.environ.get("CC"), probe_dir=folder)
        scalar = Toolchain(toolchain.command, (*toolchain.flags, "-fno-tree-vectorize", "-fno-openmp-simd"), "")
        print(f"{'':19}{titles}")
        for dtype in ("float64", "float32"):
            libraries = [load(our_unit(dtype), toolchain, folder, f"ours_{dtype}")]
            try:
                libraries.append(load(their_unit(dtype, vectors=True), toolchain, folder, f"libmvec_{dtype}"))
            except CompileError:
                print("no vector library here: libm in its place")
                libraries.append(load(their_unit(dtype, vectors=False), toolchain, folder, f"libmvec_{dtype}"))
            libraries.append(load(their_unit(dtype, vectors=False), scalar, folder, f"libm_{dtype}"))
            for function in options.names or NAMES:
                print(line(function, dtype, libraries, rounds, count), flush=True)
            missed = not_vectorized(folder / f"ours_{dtype}.c", toolchain)
            if missed:
                print(f"not vectorized: {', '.join(missed)}")


if __name__ == "__main__":
    main()
