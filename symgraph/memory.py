"""Which memory a function uses: the arrays of a call, what is kept from call to call, and what is used twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from codegen.cost import Polynomial, number
from codegen.dtypes import itemsize
from symgraph.graph.node import SharedVariable, Variable
from symgraph.graph.printing import excerpt
from symgraph.inspection import table
from symgraph.launch import Launcher
from symgraph.lower.program import Lowered

MOST_VALUES = 4  # named of one part of the workspace


@dataclass(frozen=True)
class Memory:
    """One array, or one part of the workspace.

    role: "input", "shared", "constant", "output" or "workspace"
    bytes: as a formula of lengths; `at_last` those of the last call, None before the first
    """

    role: str
    what: str
    bytes: Polynomial
    at_last: int | None
    note: str


@dataclass(frozen=True)
class MemoryReport:
    """The memory of a function; `str` is a table.

    workspace: bytes that are kept for values on the way, from call to call
    kept: bytes of results that the caller has dropped and the next call uses again
    """

    name: str
    parts: tuple[Memory, ...]
    workspace: int
    kept: int

    def __str__(self) -> str:
        rows = [(p.what, p.role, str(p.bytes), "" if p.at_last is None else f"{p.at_last:,}") for p in self.parts]
        lines = table(("", "role", "bytes", "at the last call"), rows).split("\n")
        notes = ["", *(p.note for p in self.parts)]
        width = max(map(len, lines))
        told = [f"{line:{width}}  {note}".rstrip() for line, note in zip(lines, notes, strict=True)]
        held = f"held now: {self.workspace:,} bytes of workspace, {self.kept:,} bytes of dropped results"
        return "\n".join([f"{self.name}: memory", *told, held])

    __repr__ = __str__


def memory_report(name: str, launcher: Launcher) -> MemoryReport:
    """The memory of a function called `name`, by its variant that took the last call."""
    sizes = launcher.sizes() if launcher.calls else None
    parts = [part for lowered, _ in launcher.programs[:-1] for part in _parts(lowered, launcher.stands_for, None)]
    parts += _parts(launcher.lowered, launcher.stands_for, sizes)
    return MemoryReport(name, tuple(parts), launcher.workspace_bytes, launcher.kept_bytes)


def _parts(
    lowered: Lowered, shared: Mapping[Variable, SharedVariable], sizes: Mapping[str, int] | None
) -> Iterator[Memory]:
    """Of one program; `sizes` are those of its last call."""
    given = iter([v.name for v in lowered.program.given])
    derived = [v.name for v in (*lowered.program.given, *lowered.program.derived)]
    fields = iter(lowered.program.arrays)

    def part(role: str, what: str, dtype: str, lengths: Sequence[Polynomial], note: str = "") -> Memory:
        total = number(itemsize(dtype))
        for length in lengths:
            total = total * length
        return Memory(role, what, total, _at(total, sizes), note)

    for x in lowered.inputs:
        yield part("input", next(fields).buffer.name, x.dtype, [_size(next(given)) for _ in range(x.ndim)])
    for x in lowered.shared:
        lengths = [_size(next(given)) for _ in range(x.ndim)]
        yield part("shared", next(fields).buffer.name, x.dtype, lengths, _change(lowered, x))
    for constant in lowered.constants:
        lengths = [number(n) for n in constant.data.shape]
        yield part("constant", next(fields).buffer.name, constant.dtype, lengths)
    for result in lowered.results:
        lengths = [
            number(n) if at is None else _size(derived[at])
            for n, at in zip(result.lengths, result.positions, strict=True)
        ]
        replaced = result.replaces
        note = "" if replaced is None else f"takes the place of {shared.get(replaced, replaced)}"
        yield part("output", next(fields).buffer.name, result.dtype, lengths, note)
    for k, block in enumerate(lowered.decisions.workspace, 1):
        names = [excerpt(x) for x in block.values[:MOST_VALUES]]
        more = len(block.values) - len(names)
        note = ", then ".join(names) + (f" and {more} more" if more else "")
        yield Memory("workspace", f"part {k}", block.size, _at(block.size, sizes), note)


def _change(lowered: Lowered, x: Variable) -> str:
    decided = lowered.decisions
    if x in decided.in_place:
        return "updated in place"
    if x in decided.copied:
        return f"updated by a copy: {decided.copied[x]}"
    return ""


def _size(name: str) -> Polynomial:
    return Polynomial({(name,): 1})


def _at(size: Polynomial, sizes: Mapping[str, int] | None) -> int | None:
    """The number that a formula stands for; None where no call has been, or it is no sum or product of sizes."""
    return size(sizes) if sizes is not None and size.names <= sizes.keys() else None
