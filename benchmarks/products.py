"""How fast the libraries are that compiled functions may take their matrix products from, by shape.

    python benchmarks/products.py [--double] [--rounds N]

One line for each shape m, n, k, where aT and bT say which operand lies transposed: the operations a second, on one
core, of our own BLAS, of the OpenBLAS found with the kernels that it chooses and with those for the widest vectors, and
of torch where it is installed. Medians of interleaved rounds, and the best. The shapes are those of training steps,
forward, for the weights, and back, of the networks of benchmarks/compare; then square and small ones.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ |= dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")

import numpy as np

from benchmarks.compare.peers import processor_has
from codegen.blas import Blas, find_blas, open_blas
from codegen.cache import Cache
from codegen.own_blas import OwnBlas
from codegen.toolchain import find_toolchain

SHAPES = [  # m, n, k, which are transposed, alpha, beta
    (256, 1024, 1024, "", 1.0, 0.0), (1024, 1024, 256, "aT", -0.1, 0.9), (256, 1024, 1024, "bT", 1.0, 0.0),
    (60, 500, 784, "", 1.0, 0.0), (784, 500, 60, "aT", -0.1, 0.9), (60, 784, 500, "bT", 1.0, 0.0),
    (512, 512, 512, "", 1.0, 0.0), (2048, 2048, 2048, "", 1.0, 0.0),
    (60, 10, 500, "", 1.0, 0.0), (500, 10, 60, "aT", -0.1, 1.0), (60, 500, 10, "bT", 1.0, 0.0),
    (60, 10, 784, "", 1.0, 0.0), (784, 10, 60, "aT", -0.1, 1.0),
    (600, 10, 784, "", 1.0, 0.0), (784, 10, 600, "aT", -0.1, 1.0),
    (60, 100, 784, "", 1.0, 0.0), (64, 64, 64, "", 1.0, 0.0), (32, 32, 32, "", 1.0, 0.0),
]  # fmt: skip
TURN = 0.004  # seconds that a library runs in each round

Product = Callable[[], object]


def libraries(folder: Path) -> dict[str, Blas]:
    """Those that can be loaded here; copies of OpenBLAS are different libraries to the system."""
    found = find_blas()
    own = OwnBlas(find_toolchain(os.environ.get("CC"), probe_dir=folder), Cache(folder), "int64_t").open()
    loaded = {"own": own} if own is not None else {}
    if found is None or not found.is_openblas:
        return loaded | ({Path(found.path).name: found} if found is not None else {})
    widest = "SKYLAKEX" if processor_has("avx512f") else "HASWELL"
    for kernels in ("", widest):
        os.environ.pop("OPENBLAS_CORETYPE", None)
        if kernels:
            os.environ["OPENBLAS_CORETYPE"] = kernels
        copy = open_blas(str(shutil.copy(found.path, folder / f"copy{kernels}.so")))
        if copy is not None:
            loaded[kernels or "OpenBLAS"] = copy
    return loaded


def product(blas: Blas, dtype: np.dtype, a: np.ndarray, b: np.ndarray, c: np.ndarray, transposed: str, alpha: float,
            beta: float) -> Product:  # fmt: skip
    """A call of gemm on these matrices, which lie as they are."""
    real = ctypes.c_float if dtype == np.float32 else ctypes.c_double
    size, matrix = getattr(ctypes, f"c_{blas.integer[:-2]}"), ctypes.c_void_p
    types = [ctypes.c_int] * 3 + [size] * 3 + [real, matrix, size, matrix, size, real, matrix, size]
    address = blas.addresses["sgemm" if dtype == np.float32 else "dgemm"]
    gemm = ctypes.CFUNCTYPE(None, *types)(address)
    ta, tb = (112 if side in transposed else 111 for side in "ab")
    (m, n), k = c.shape, a.size // c.shape[0]
    at = [x.ctypes.data for x in (a, b, c)]
    return lambda: gemm(101, ta, tb, m, n, k, alpha, at[0], a.shape[1], at[1], b.shape[1], beta, at[2], n)


def by_torch(a: np.ndarray, b: np.ndarray, c: np.ndarray, transposed: str, alpha: float, beta: float) -> Product | None:
    """The same by torch."""
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    x, y, out = (torch.from_numpy(v) for v in (a, b, c))
    x, y = (v.T if side in transposed else v for side, v in (("a", x), ("b", y)))
    return lambda: torch.addmm(out, x, y, beta=beta, alpha=alpha, out=out) if beta else torch.mm(x, y, out=out)


def seconds(f: Product, count: int) -> float:
    """Of one call."""
    start = time.perf_counter()
    for _ in range(count):
        f()
    return (time.perf_counter() - start) / count


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--double", action="store_true", help="float64 instead of float32")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    dtype, rng = np.dtype("float64" if options.double else "float32"), np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="symgraph-") as folder:
        loaded = libraries(Path(folder))
        print(f"GFLOP/s in {dtype}, median (best)")
        for m, n, k, transposed, alpha, beta in SHAPES:
            shapes = (k, m) if "a" in transposed else (m, k), (n, k) if "b" in transposed else (k, n), (m, n)
            a, b, c = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
            calls = {name: product(blas, dtype, a, b, c, transposed, alpha, beta) for name, blas in loaded.items()}
            if (torch := by_torch(a, b, c, transposed, alpha, beta)) is not None:
                calls["torch"] = torch
            counts = {name: max(1, round(TURN / min(seconds(f, 1) for _ in range(3)))) for name, f in calls.items()}
            times: dict[str, list[float]] = {name: [] for name in calls}
            for _ in range(options.rounds):
                for name, f in calls.items():
                    times[name].append(seconds(f, counts[name]))
            rate = {name: [2e-9 * m * n * k / f(t) for f in (median, min)] for name, t in times.items()}
            cells = [f"{name} {usual:4.0f} ({best:.0f})" for name, (usual, best) in rate.items()]
            print(f"{f'{m}, {n}, {k} {transposed}':<22}", "   ".join(cells), flush=True)


if __name__ == "__main__":
    main()
