"""The call path of a compiled function: arrays in, sizes planned, results allocated, one call into C."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from codegen.module import Module
from symgraph.graph.node import SharedVariable, Variable
from symgraph.graph.types import Shape
from symgraph.lower.program import Lowered

PLANS_KEPT = 64  # of the shapes called with lately
ALIGNMENT = 64


class Launcher:
    """Calls one compiled program. Not safe for several threads at once: the caller holds a lock."""

    def __init__(
        self,
        lowered: Lowered,
        module: Module,
        shared: Mapping[Variable, SharedVariable],
        c_source: str,
        before: Sequence[Launcher] = (),
    ):
        """`shared` tells what the leaves of the program stand for; `before` compute lengths that it takes as last
        inputs.
        """
        self.lowered = lowered
        self.module = module
        self.calls = 0
        self.entered = False  # whether the last call that failed had passed the entry checks
        earlier = [program for launcher in before for program in launcher.programs]
        self.programs: tuple[tuple[Lowered, str], ...] = (
            *earlier,
            (lowered, c_source),
        )  # in the order they run, each with its C
        self.c_source = "\n".join(text for _, text in self.programs)
        self.assumed: list[tuple[SharedVariable, Shape]] = [(shared[x], x.type.shape) for x in lowered.shared]
        self.stands_for = shared
        self._last_sizes: Any = None
        ffi = module.ffi
        count = len(lowered.inputs) + len(lowered.shared) + len(lowered.constants) + len(lowered.results)
        self._before = tuple(before)
        self._shared = [shared[x] for x in lowered.shared]
        self._new = ffi.new
        self._address = ffi.from_buffer
        self._pointers = ffi.new("void *[]", count)
        self._first_shared = len(lowered.inputs)
        self._first_result = count - len(lowered.results)
        first = len(lowered.inputs)
        fields = lowered.program.arrays[first : first + len(lowered.shared)]
        self._changed = [(k, s) for k, s in enumerate(self._shared) if fields[k].buffer.writable]  # in place
        self._storages: list[np.ndarray | None] = [None] * len(lowered.shared)
        for k, constant in enumerate(lowered.constants, self._first_shared + len(lowered.shared)):
            self._pointers[k] = ffi.from_buffer(constant.data)
        self._plans: dict[tuple[Any, ...], tuple[Any, tuple[tuple[tuple[int, ...], np.dtype], ...]]] = {}
        self._workspace = np.empty(0, np.uint8)
        self._workspace_address: Any = ffi.NULL
        self._dtypes = [np.dtype(result.dtype) for result in lowered.results]
        self._grown = [(k, shared[r.replaces]) for k, r in enumerate(lowered.results) if r.replaces is not None]

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray] | None:
        """The results for checked arrays, shared variables updated; None, and nothing changed, where a check fails."""
        for launcher in self._before:
            lengths = launcher(arrays)
            if lengths is None:
                self.entered = False
                return None
            arrays = [*arrays, *lengths]
        pointers, address = self._pointers, self._address
        for k, shared in enumerate(self._shared):
            if shared.storage is not self._storages[k]:
                self._adopt(k, shared.storage)
        for _, shared in self._changed:
            if shared.borrowed:
                arrays = self._apart(arrays)
                break
        for k, array in enumerate(arrays):
            pointers[k] = address(array)
        key = tuple([array.shape for array in arrays])
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plan(arrays, key)
            if plan is None:
                self.entered = False
                return None
        sizes, described = plan
        self.calls += 1
        self._last_sizes = sizes
        results = []
        for k, (shape, dtype) in enumerate(described, self._first_result):
            result = np.empty(shape, dtype)
            pointers[k] = address(result)
            results.append(result)
        if self.module.run(pointers, sizes, self._workspace_address) != 0:
            self.entered = True
            return None
        if self._grown:
            for k, shared in self._grown:
                shared.storage, shared.borrowed = results[k], False
            return results[: len(results) - len(self._grown)]
        return results

    def values(self, arrays: Sequence[np.ndarray]) -> dict[Variable, np.ndarray]:
        """The present values of the leaves of the compiled graph, given the inputs."""
        inputs = dict(zip(self.lowered.inputs, arrays, strict=False))  # those after them come from programs run before
        return {**inputs, **{x: shared.storage for x, shared in self.stands_for.items()}}

    @property
    def has_earlier_programs(self) -> bool:
        """Whether lengths come from programs that run before this one."""
        return bool(self._before)

    def with_module(self, module: Module, c_source: str) -> Launcher:
        """The same program by other C."""
        return Launcher(self.lowered, module, self.stands_for, c_source, self._before)

    def seconds(self) -> list[float]:
        """What the clocks of the steps show; for a program that has them."""
        clocks = self.module.clocks()
        return [clocks[k] for k in range(self.lowered.program.clocks)]

    def sizes(self) -> dict[str, int]:
        """The sizes of the last call by their names in C; all 0 before the first."""
        program = self.lowered.program
        names = [v.name for v in (*program.given, *program.derived)]
        return {name: self._last_sizes[k] if self._last_sizes is not None else 0 for k, name in enumerate(names)}

    def _apart(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays, copied where the call would write on them; what it changes gets memory of its own."""
        places = [self._extent(shared.storage) for shared in self._shared]
        for k, shared in self._changed:
            if any(_overlap(places[k], place) for j, place in enumerate(places) if j != k):
                shared.storage, shared.borrowed = shared.storage.copy(), False
                self._adopt(k, shared.storage)
                places[k] = self._extent(shared.storage)
        written = [places[k] for k, _ in self._changed]
        extents = [self._extent(array) for array in arrays]
        return [
            array.copy() if any(_overlap(extent, place) for place in written) else array
            for array, extent in zip(arrays, extents, strict=True)
        ]

    def _extent(self, array: np.ndarray) -> tuple[int, int]:
        """Where a contiguous array starts and ends in memory."""
        start = int(self.module.ffi.cast("intptr_t", self._address(array)))
        return start, start + array.nbytes

    def _adopt(self, k: int, storage: np.ndarray) -> None:
        old = self._storages[k]
        if old is None or old.shape != storage.shape:
            self._plans.clear()
        self._storages[k] = storage
        self._pointers[self._first_shared + k] = self._address(storage)

    def _plan(self, arrays: Sequence[np.ndarray], key: tuple[Any, ...]) -> Any:
        """Sizes for arrays of these shapes, and the shapes and dtypes of the results; None where a check fails."""
        lowered = self.lowered
        sizes = self._new("int64_t[]", lowered.size_count)
        lengths = [n for array in (*arrays, *self._storages) for n in array.shape]  # type: ignore[union-attr]
        for k, n in enumerate(lengths):
            sizes[k] = n
        if self.module.plan(self._pointers, sizes) != 0:
            return None
        needed = sizes[lowered.workspace_position]
        if needed + ALIGNMENT > self._workspace.size and needed:
            self._workspace = np.empty(needed + ALIGNMENT, np.uint8)
            start = -self._workspace.ctypes.data % ALIGNMENT
            self._workspace_address = self._address(self._workspace[start:])
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


def _overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two pieces of memory, by start and end, have a part in common."""
    return one[0] < other[1] and other[0] < one[1]
