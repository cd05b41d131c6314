"""The call path of a compiled function: lengths that take programs of their own, memory kept apart, then the engine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from codegen.alignment import copied
from codegen.module import Module, address
from codegen.runtime import SMALL
from symgraph.engine import Engine, PythonEngine, Shapes, check_shapes, make_program
from symgraph.graph.node import SharedVariable, Variable
from symgraph.graph.types import Shape
from symgraph.lower.program import Lowered


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
        self.entered = False  # whether the last call that failed had passed the entry checks
        earlier = [program for launcher in before for program in launcher.programs]
        self.programs: tuple[tuple[Lowered, str], ...] = (
            *earlier,
            (lowered, c_source),
        )  # in the order they run, each with its C
        self.c_source = "\n".join(text for _, text in self.programs)
        self.assumed: list[tuple[SharedVariable, Shape]] = [(shared[x], x.type.shape) for x in lowered.shared]
        self.stands_for = shared
        self.engine: Engine = PythonEngine(lowered, module, shared)
        self.program: Any = None  # the engine, if it is the extension module's
        self._calls_before = 0
        self._before = tuple(before)
        self._shared = [shared[x] for x in lowered.shared]
        first = len(lowered.inputs)
        fields = lowered.program.arrays[first : first + len(lowered.shared)]
        self._changed = [(k, s) for k, s in enumerate(self._shared) if fields[k].buffer.writable]  # in place

    def __call__(
        self, arrays: Sequence[np.ndarray], out: tuple[np.ndarray, ...] | None = None
    ) -> list[np.ndarray] | None:
        """The results for checked arrays, shared variables updated; None, and nothing changed, where a check fails.

        out: arrays for the results, which share no memory with anything else in the call. Raises ShapeError where the
        results have other shapes.
        """
        completed = self._completed(arrays)
        if completed is None:
            self.entered = False
            return None
        if any(shared.borrowed for _, shared in self._changed):
            completed = self._apart(completed)
        if out is not None:
            shapes = self.engine.shapes(completed)
            if shapes is not None:
                check_shapes(out, shapes)
        if not self.module.has_blas():
            self.module.has_blas(wait=self._has_large_products(completed))
        results = self.engine.run(completed, out)
        self.entered = results is False
        return None if results is False else results

    def shapes(self, arrays: Sequence[np.ndarray]) -> Shapes | None:
        """Of the results for checked arrays; None where a check fails."""
        completed = self._completed(arrays)
        return None if completed is None else self.engine.shapes(completed)

    def storages(self) -> tuple[np.ndarray, ...]:
        """The values of the shared variables of the program, in its order."""
        return tuple(shared.storage for shared in self._shared)

    def use(self, extension: ModuleType) -> None:
        """From now on, run by the extension module."""
        for launcher in self._before:
            launcher.use(extension)
        if self.program is not None or not self.module.has_blas():
            return
        program = make_program(extension, self.lowered, self.module, self.stands_for)
        if program is not None:
            self._calls_before = self.engine.calls
            self.engine = self.program = program

    def values(self, arrays: Sequence[np.ndarray]) -> dict[Variable, np.ndarray]:
        """The present values of the leaves of the compiled graph, given the inputs."""
        inputs = dict(zip(self.lowered.inputs, arrays, strict=False))  # those after them come from programs run before
        return {**inputs, **{x: shared.storage for x, shared in self.stands_for.items()}}

    @property
    def calls(self) -> int:
        """How many calls have succeeded."""
        return self._calls_before + self.engine.calls

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
        return dict(zip(names, self.engine.sizes(), strict=True))

    @property
    def workspace_bytes(self) -> int:
        """The memory that is kept for values on the way."""
        return self.engine.workspace_bytes + sum(launcher.workspace_bytes for launcher in self._before)

    @property
    def kept_bytes(self) -> int:
        """The memory of results that the caller has dropped, kept for the next call."""
        return self.engine.kept_bytes + sum(launcher.kept_bytes for launcher in self._before)

    def free(self) -> None:
        """Give back the memory that is kept from call to call."""
        for launcher in self._before:
            launcher.free()
        self.engine.free()

    def _has_large_products(self, arrays: Sequence[np.ndarray]) -> bool:
        """Whether a call does products that are for a BLAS, if it passes the entry checks."""
        assert isinstance(self.engine, PythonEngine)  # as long as there is no BLAS
        planned = self.engine.planned(arrays)
        if planned is None:
            return False
        program = self.lowered.program
        sizes = dict(zip([v.name for v in (*program.given, *program.derived)], planned, strict=True))
        operations = [step.cost.operations for step in self.lowered.steps if step.kind != "nest"]
        return any(not (n.names <= sizes.keys()) or n(sizes) >= 2 * SMALL for n in operations)

    def _completed(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray] | None:
        """The arrays, and the lengths that earlier programs compute; None where a check of those fails."""
        for launcher in self._before:
            lengths = launcher(arrays)
            if lengths is None:
                return None
            arrays = [*arrays, *lengths]
        return arrays

    def _apart(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The arrays, copied where the call would write on them; what it changes gets memory of its own."""
        places = [extent(shared.storage) for shared in self._shared]
        for k, shared in self._changed:
            if any(overlap(places[k], place) for j, place in enumerate(places) if j != k):
                shared.storage, shared.borrowed = copied(shared.storage), False
                places[k] = extent(shared.storage)
        written = [places[k] for k, _ in self._changed]
        return [
            array.copy() if any(overlap(extent(array), place) for place in written) else array for array in arrays
        ]


def extent(array: np.ndarray) -> tuple[int, int]:
    """Where a contiguous array starts and ends in memory."""
    start = address(array)
    return start, start + array.nbytes


def overlap(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two pieces of memory, by start and end, have a part in common."""
    return one[0] < other[1] and other[0] < one[1]
