"""Which programs are measured, at which sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.compare.programs import PROGRAMS, Arrays, Program


@dataclass(frozen=True)
class Workload:
    """One row of the table.

    name: as printed; `--only` looks for a part of "group/name"
    group: calls, elementwise, reductions, training or compile
    program: of `programs.PROGRAMS`, and of a function in the peers that can do it
    bound: results go to arrays that the caller has fixed beforehand, instead of new ones
    """

    name: str
    group: str
    program: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    dtype: str = "float32"
    bound: bool = False

    @property
    def label(self) -> str:
        """What `--only` searches."""
        return f"{self.group}/{self.name}"

    @property
    def definition(self) -> Program:
        """The data and the reference."""
        return PROGRAMS[self.program]

    @cached_property
    def data(self) -> Data:
        """The same at each call and in each process."""
        rng, program = np.random.default_rng(1), self.definition
        return Data(self._typed(program.inputs(rng, self.sizes)), self._typed(program.state(rng, self.sizes)))

    @cached_property
    def expected(self) -> Data:
        """The outputs of a call, by their numbers, and the state after it, by the reference in float64."""
        inputs, state = _double(self.data.arrays), _double(self.data.state)
        outputs, after = self.definition.reference(inputs, state)
        return Data({str(k): np.asarray(x) for k, x in enumerate(outputs)}, after)

    @property
    def tolerance(self) -> float:
        """How far a result may be from the reference, relative to the largest element of the array."""
        return self.definition.rounding * float(np.finfo(self.dtype).eps)

    @property
    def read(self) -> int:
        """Bytes that have to be read: each input and the state once."""
        return sum(x.nbytes for x in (*self.data.arrays.values(), *self.data.state.values()))

    @property
    def written(self) -> int:
        """Bytes that have to be written: each output and the state once."""
        elements = sum(x.size for x in (*self.expected.arrays.values(), *self.expected.state.values()))
        return elements * np.dtype(self.dtype).itemsize

    @property
    def operations(self) -> int:
        """Multiplications and additions of the matrix products that have to be done."""
        return sum(2 * m * k * n for m, k, n in self.definition.products(self.sizes))

    def reduced(self, largest: int) -> Workload:
        """The same with no size above `largest`."""
        return replace(self, sizes={name: min(size, largest) for name, size in self.sizes.items()})

    def _typed(self, arrays: Arrays) -> Arrays:
        return {name: x.astype(self.dtype) if x.dtype.kind == "f" else x for name, x in arrays.items()}


@dataclass(frozen=True)
class Data:
    """Arguments, or results by their numbers; and what calls change."""

    arrays: Arrays
    state: Arrays


def save(w: Workload, path: Path) -> None:
    """Write the arrays of a workload, so that each process need not compute them."""
    groups = dict(data=w.data.arrays, state=w.data.state, expected=w.expected.arrays, after=w.expected.state)
    np.savez(path, **{f"{group} {name}": x for group, arrays in groups.items() for name, x in arrays.items()})


def load(w: Workload, path: Path) -> Workload:
    """The workload with the arrays that `save` wrote."""
    groups: dict[str, Arrays] = {"data": {}, "state": {}, "expected": {}, "after": {}}
    with np.load(path) as file:
        for key in file.files:
            group, name = key.split()
            groups[group][name] = file[key]
    loaded = replace(w)
    loaded.__dict__["data"] = Data(groups["data"], groups["state"])
    loaded.__dict__["expected"] = Data(groups["expected"], groups["after"])
    return loaded


def _double(arrays: Arrays) -> Arrays:
    return {name: x.astype("float64") if x.dtype.kind == "f" else x for name, x in arrays.items()}


def disagreement(found: np.ndarray, expected: np.ndarray, tolerance: float) -> str | None:
    """What is wrong with a result, or None."""
    if found.shape != expected.shape:
        return f"the shape is {found.shape}, not {expected.shape}"
    scale = float(np.max(np.abs(expected), initial=0.0)) or 1.0
    worst = float(np.max(np.abs(found - expected), initial=0.0)) / scale
    return None if worst <= tolerance else f"off by {worst:.1e} of the largest element, {tolerance:.1e} allowed"


ELEMENTWISE = {
    "a + 1": "plus_one", "2a + 3b": "scaled_sum", "a² + b² + 2ab": "square_of_sum", "2a + b¹⁰": "tenth_power",
}  # fmt: skip
CHAIN_STEPS = 10, 100, 1000, 3000
MNIST = {"inputs": 784, "classes": 10}


def workloads(quick: bool) -> Iterator[Workload]:
    """All rows; `quick` leaves out the long chains and half of the elementwise ones."""
    for bound in (False, True):
        ending = ", bound" if bound else ""
        yield Workload(f"x + 1, 4 elements{ending}", "calls", "add_one", {"n": 4}, "float64", bound)
        yield Workload(f"five scalars{ending}", "calls", "five_scalars", {}, "float64", bound)
        yield Workload(f"textbook step{ending}", "calls", "textbook_step", {}, "float64", bound)
    for dtype in ("float32",) if quick else ("float32", "float64"):
        for text, program in ELEMENTWISE.items():
            for power in (3, 5, 7):
                yield Workload(f"{text}, 1e{power} {dtype}", "elementwise", program, {"n": 10**power}, dtype)
    yield Workload("sigmoid, 1e7", "elementwise", "sigmoid", {"n": 10**7})
    yield Workload("gelu and gradient, 1e7", "elementwise", "gelu", {"n": 10**7})
    yield Workload("sum(x²), 1e7", "reductions", "sum_of_squares", {"n": 10**7})
    yield Workload("sum(exp(-(x-m)²/s)), 1e7", "reductions", "gaussian_sum", {"n": 10**7})
    yield Workload("logsumexp of rows, 10000×1000", "reductions", "logsumexp", {"rows": 10000, "columns": 1000})
    yield Workload("column moments, 100000×100", "reductions", "column_moments", {"rows": 100000, "columns": 100})
    yield Workload("cross-entropy, 4096×1000", "reductions", "cross_entropy", {"rows": 4096, "columns": 1000})
    yield Workload("cross-entropy, 40000×10", "reductions", "cross_entropy", {"rows": 40000, "columns": 10})
    yield Workload("layer norm, 4096×768", "reductions", "layer_norm", {"rows": 4096, "columns": 768})
    for batch in (60, 600):
        yield Workload(f"logistic regression, batch {batch}", "training", "logistic", {"batch": batch, **MNIST})
    yield Workload("MLP 784-500-10, batch 60", "training", "tanh_mlp", {"batch": 60, "hidden": 500, **MNIST})
    yield Workload("MLP 1024-1024-1024-1024, batch 256", "training", "relu_mlp", {"batch": 256, "width": 1024})
    for steps in CHAIN_STEPS[: 2 if quick else None]:
        yield Workload(f"chain of {steps}", "compile", "chain", {"steps": steps, "width": 50})


PRODUCTS = tuple(
    Workload(f"product {m}×{k}×{n}", "limits", "product", {"m": m, "k": k, "n": n})
    for m, k, n in ((256, 1024, 1024), (1024, 1024, 1024))
)
