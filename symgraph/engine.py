"""What runs one compiled program, sizes planned and results made: by Python, or by the extension module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np

from codegen.alignment import new_array
from codegen.module import Module
from symgraph.errors import ShapeError
from symgraph.graph.guard import Guard
from symgraph.graph.node import SharedVariable, Variable
from symgraph.graph.types import format_shape
from symgraph.lower.program import Lowered

PLANS_KEPT = 64  # of the shapes called with lately
MOST_ARRAYS = 4096  # that the extension module takes, which keeps what it needs for a call on the stack
PER_OPERATION, PER_BYTE = 0.1, 0.02  # nanoseconds, to tell long calls from short ones
MANY_STEPS = 200  # whose calls are long whatever the sizes: to let other threads run then costs little beside them

Shapes = tuple[tuple[int, ...], ...]


class Engine(Protocol):
    """Runs one program. Not safe for several threads at once: the caller holds a lock.

    calls: that have succeeded
    kept_bytes, workspace_bytes: of results that the caller dropped and the next call uses again; of the workspace
    """

    calls: int

    @property
    def kept_bytes(self) -> int: ...
    @property
    def workspace_bytes(self) -> int: ...

    def run(
        self, arrays: Sequence[np.ndarray], out: tuple[np.ndarray, ...] | None = None
    ) -> list[np.ndarray] | Literal[False] | None:
        """The results for checked arrays, in `out` where given, shared variables updated.

        `out` has the shapes of the results, or of the first of them. None where the plan refuses, False where a later
        check fails; nothing has changed then.
        """

    def shapes(self, arrays: Sequence[np.ndarray]) -> Shapes | None:
        """Of the results; None where the plan refuses."""

    def sizes(self) -> list[int]:
        """The sizes of the last call; all 0 before the first."""

    def free(self) -> None:
        """Give back the memory that is kept from call to call."""


def check_shapes(out: Sequence[np.ndarray], shapes: Sequence[tuple[int, ...]]) -> None:
    """Raise ShapeError where arrays have other shapes than the results that are to be written to them."""
    for array, shape in zip(out, shapes, strict=False):
        if array.shape != shape:
            raise ShapeError(
                f"the result has shape {format_shape(shape)} now, but the array for it {format_shape(array.shape)}"
            )


class PythonEngine:
    """The engine that needs nothing but cffi."""

    kept_bytes = 0

    def __init__(self, lowered: Lowered, module: Module, shared: Mapping[Variable, SharedVariable]):
        """`shared` tells what the leaves of the program stand for."""
        self.calls = 0
        self._lowered = lowered
        self._module = module
        self._last_sizes: Any = [0] * lowered.size_count
        ffi = module.ffi
        count = len(lowered.inputs) + len(lowered.shared) + len(lowered.constants) + len(lowered.results)
        self._shared = [shared[x] for x in lowered.shared]
        self._new = ffi.new
        self._address = ffi.from_buffer
        self._pointers = ffi.new("void *[]", count)
        self._first_shared = len(lowered.inputs)
        self._first_result = count - len(lowered.results)
        self._storages: list[np.ndarray | None] = [None] * len(lowered.shared)
        for k, constant in enumerate(lowered.constants, self._first_shared + len(lowered.shared)):
            self._pointers[k] = ffi.from_buffer(constant.data)
        self._plans: dict[tuple[Any, ...], tuple[Any, tuple[tuple[tuple[int, ...], np.dtype], ...]]] = {}
        self._dtypes = [np.dtype(result.dtype) for result in lowered.results]
        self._grown = [(k, shared[r.replaces]) for k, r in enumerate(lowered.results) if r.replaces is not None]
        self._returned = len(lowered.results) - len(self._grown)
        self.free()

    def run(
        self, arrays: Sequence[np.ndarray], out: tuple[np.ndarray, ...] | None = None
    ) -> list[np.ndarray] | Literal[False] | None:
        plan = self._planned(arrays)
        if plan is None:
            return None
        sizes, described = plan
        results = list(out or ())
        results += [np.empty(shape, dtype) for shape, dtype in described[len(results) :]]
        for k, result in enumerate(results, self._first_result):
            self._pointers[k] = self._address(result)
        if self._module.run(self._pointers, sizes, self._workspace_address) != 0:
            return False
        self.calls += 1
        self._last_sizes = sizes
        for k, shared in self._grown:
            shared.storage, shared.borrowed = results[k], False
        return results[: self._returned] if self._grown else results

    def shapes(self, arrays: Sequence[np.ndarray]) -> Shapes | None:
        plan = self._planned(arrays)
        return plan if plan is None else tuple(shape for shape, _ in plan[1][: self._returned])

    def sizes(self) -> list[int]:
        return list(self._last_sizes)

    def planned(self, arrays: Sequence[np.ndarray]) -> list[int] | None:
        """The sizes of a call; None where the plan refuses."""
        plan = self._planned(arrays)
        return plan if plan is None else list(plan[0])

    @property
    def workspace_bytes(self) -> int:
        return self._workspace.nbytes

    def free(self) -> None:
        self._workspace = np.empty(0, np.uint8)
        self._workspace_address: Any = self._module.ffi.NULL

    def _planned(self, arrays: Sequence[np.ndarray]) -> Any:
        """Sizes for these arrays, and the shapes and dtypes of the results; None where a check fails."""
        pointers, address = self._pointers, self._address
        for k, shared in enumerate(self._shared):
            if shared.storage is not self._storages[k]:
                self._adopt(k, shared.storage)
        for k, array in enumerate(arrays):
            pointers[k] = address(array)
        key = tuple([array.shape for array in arrays])
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(arrays, key)
        if plan is not None:
            self._reserve(plan[0][self._lowered.workspace_position])
        return plan

    def _adopt(self, k: int, storage: np.ndarray) -> None:
        old = self._storages[k]
        if old is None or old.shape != storage.shape:
            self._plans.clear()
        self._storages[k] = storage
        self._pointers[self._first_shared + k] = self._address(storage)

    def _plan(self, arrays: Sequence[np.ndarray], key: tuple[Any, ...]) -> Any:
        lowered = self._lowered
        sizes = self._new("int64_t[]", lowered.size_count)
        lengths = [n for array in (*arrays, *self._storages) for n in array.shape]  # type: ignore[union-attr]
        for k, n in enumerate(lengths):
            sizes[k] = n
        if self._module.plan(self._pointers, sizes) != 0:
            return None
        described = tuple(
            (tuple([n if at is None else sizes[at] for n, at in zip(r.lengths, r.positions, strict=True)]), dtype)
            for r, dtype in zip(lowered.results, self._dtypes, strict=True)
        )
        plan = (sizes, described)
        if not lowered.plan_reads_values:
            if len(self._plans) >= PLANS_KEPT:
                self._plans.clear()
            self._plans[key] = plan
        return plan

    def _reserve(self, needed: int) -> None:
        """At least so many bytes of workspace."""
        if needed > self._workspace.size:
            self._workspace = new_array((needed,), "uint8")
            self._workspace_address = self._address(self._workspace)


Kind = tuple[np.dtype, tuple[int, ...], bool]  # the dtype, the lengths (-1: any), and whether numbers are taken


def make_program(
    extension: ModuleType, lowered: Lowered, module: Module, shared: Mapping[Variable, SharedVariable]
) -> Any:
    """The engine of the extension module; None for a program that is too large for it."""
    count = len(lowered.inputs) + len(lowered.shared) + len(lowered.constants) + len(lowered.results)
    if count > MOST_ARRAYS or lowered.size_count > MOST_ARRAYS:
        return None
    extension.know(SharedVariable, Guard)
    first = len(lowered.inputs)
    fields = lowered.program.arrays[first : first + len(lowered.shared)]
    return extension.Program(
        run=module.run_address,
        plan=module.plan_address,
        inputs=tuple(_any_lengths(x) for x in lowered.inputs),
        shared=tuple(
            (shared[x], _any_lengths(x), field.buffer.writable) for x, field in zip(lowered.shared, fields, strict=True)
        ),
        constants=tuple(constant.data for constant in lowered.constants),
        results=tuple(
            (
                (np.dtype(r.dtype), r.lengths, False),
                tuple(-1 if at is None else at for at in r.positions),
                None if r.replaces is None else shared[r.replaces],
            )
            for r in lowered.results
        ),
        size_count=lowered.size_count,
        workspace_at=lowered.workspace_position,
        reads_values=lowered.plan_reads_values,
        work=_work(lowered),
    )


def _any_lengths(x: Variable) -> Kind:
    return np.dtype(x.dtype), (-1,) * x.ndim, False


def _work(lowered: Lowered) -> tuple[tuple[float, tuple[int, ...]], ...]:
    """The nanoseconds that a call takes, roughly: terms of a coefficient and the positions of sizes."""
    if len(lowered.steps) > MANY_STEPS:
        return ((float("inf"), ()),)
    position = {v.name: k for k, v in enumerate((*lowered.program.given, *lowered.program.derived))}
    total: dict[tuple[int, ...], float] = {}
    for step in lowered.steps:
        cost = step.cost
        for polynomial, each in ((cost.operations, PER_OPERATION), (cost.read + cost.written, PER_BYTE)):
            for factors, coefficient in polynomial.terms.items():
                at = tuple(position[name] for name in factors)
                total[at] = total.get(at, 0.0) + coefficient * each
    return tuple((coefficient, at) for at, coefficient in total.items())
