"""The steps of a program: each becomes a kernel and its call, or a call of a library routine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from codegen import ir
from codegen.cost import Cost, cost
from codegen.runtime import is_routine
from codegen.transform import lift_offsets
from codegen.visit import buffers, free_variables
from symgraph.graph.node import Apply, Variable
from symgraph.lower.arrays import ZERO, Arrays, PlacedArray
from symgraph.lower.loops import Nest, build_nest
from symgraph.lower.names import Names
from symgraph.lower.regions import LoopStep, Region, multiply


@dataclass(frozen=True)
class Step:
    """One loop nest or library call of a program.

    name: of the kernel or routine in C
    kind: "nest" for values fused in common loops, "loops" for an op that brings its own, "call" for a library routine
    made: the variables it computes, in order; `stored`: those of them that go to memory
    body: its statements in the main function; `kernels`: what they call, unless that is a routine
    """

    name: str
    kind: str
    made: tuple[Variable, ...]
    stored: tuple[Variable, ...]
    body: tuple[ir.Stmt, ...]
    kernels: tuple[ir.Kernel, ...]
    arrays: Arrays = field(repr=False, compare=False)
    shares: frozenset[str] = frozenset()  # the arrays in which blocks leave their shares of sums

    @cached_property
    def text(self) -> str:
        """What it computes, a line for each stored value."""
        return "\n".join(self.arrays.line(x) for x in self.stored)

    @cached_property
    def cost(self) -> Cost:
        """Operations and bytes."""
        return cost(self.body, {kernel.name: kernel for kernel in self.kernels}, self.shares)


class StepWriter:
    """Writes the steps of one program; `lines`: say which line of the user's program each statement belongs to."""

    def __init__(self, arrays: Arrays, names: Names, lines: bool):
        self.arrays = arrays
        self.schedule = arrays.schedule
        self.names = names
        self.lines = lines

    def steps(self) -> Iterator[Step]:
        """The steps, in order."""
        for planned in self.schedule.steps:
            made = tuple(n.output for n in nodes_of(planned))
            stored = tuple(x for x in made if x in self.schedule.stored)
            if isinstance(planned, Region):
                kernels, body, shares = self._nest(planned, stored)
                yield Step(kernels[0].name, "nest", made, stored, tuple(body), tuple(kernels), self.arrays, shares)
            else:
                own, body = self._call(planned.node)
                name = own.name if own is not None else next(s.name for s in body if isinstance(s, ir.Call))
                kind = "call" if own is None and is_routine(name) else "loops"
                yield Step(name, kind, made, stored, tuple(body), () if own is None else (own,), self.arrays)

    def _nest(
        self, region: Region, stored: Sequence[Variable]
    ) -> tuple[list[ir.Kernel], list[ir.Stmt], frozenset[str]]:
        nest = build_nest(
            region,
            self.schedule.bodies,
            stored,
            self.arrays.elements,
            lambda x: self.arrays.of(x).name,
            self.arrays.layout.in_place,
            self.arrays.layout.lasting,
            name=self.names.fresh(self._nest_name(stored)),
            names=self.names,
            lines=self.lines,
        )
        self.arrays.place_shares(nest.shares)
        kernels = [nest.kernel] if nest.rest is None else [nest.kernel, nest.rest]
        made = [self._called(k, nest) for k in kernels]
        call, *rest = [call for _, call in made]
        body = call if nest.extent is None else ir.InBlocks(nest.extent, nest.work, call, tuple(rest))
        return [kernel for kernel, _ in made], [body], frozenset(share.array.name for share in nest.shares)

    def _called(self, kernel: ir.Kernel, nest: Nest) -> tuple[ir.Kernel, ir.Call]:
        """A kernel of a nest and its call in the main function."""
        kernel, starts = lift_offsets(kernel)
        used = free_variables(kernel.body)
        kernel = replace(kernel, params=tuple(p for p in kernel.params if isinstance(p, ir.Buffer) or p in used))
        shares = {share.array.name: share for share in nest.shares}
        args: list[ir.Expr | ir.Pointer] = []
        for p in kernel.params:
            if isinstance(p, ir.Var):
                args.append(p)
            elif p.name in shares:
                is_block = kernel.name == nest.kernel.name
                row = multiply(ir.BLOCK, shares[p.name].count) if is_block else ZERO
                args.append(ir.Pointer(shares[p.name].array, row))
            else:
                args.append(ir.Pointer(self.arrays.of(nest.arrays[p.name]), starts.get(p.name, ZERO)))
        return kernel, ir.Call(kernel.name, tuple(args))

    def _nest_name(self, stored: Sequence[Variable]) -> str:
        in_place = self.arrays.layout.in_place
        made = [x.name for x in stored if x.name and x not in in_place]
        updated = [s.name for x in stored if (s := in_place.get(x)) is not None and s.name]
        parts = [*(["compute", *made] if made or not updated else []), *(["update", *updated] if updated else [])]
        return "_".join(parts)[:40]

    def _call(self, node: Apply) -> tuple[ir.Kernel | None, list[ir.Stmt]]:
        """The kernel of a node that brings its own loops, if it needs one, and the call."""
        target = self.arrays.placed(node.output)
        operands = [self.arrays.placed(x, self.schedule.placements.get((node, k))) for k, x in enumerate(node.inputs)]
        start = node.op.starts_from
        before: list[ir.Stmt] = []
        if start is not None and not self._same_memory(node.output, operands[start]):
            before.append(ir.Copy(target.pointer, operands[start].pointer, self.arrays.count(node.output)))
        body: tuple[ir.Stmt, ...] = node.op.loops(target, *operands)  # type: ignore[attr-defined]
        if len(body) == 1 and isinstance(body[0], ir.Call):
            return None, [ir.Comment(self.arrays.line(node.output)), *before, *body]
        name = self.names.fresh(f"{type(node.op).__name__.lower()}_{node.output.name or ''}", "loops")
        work = node.op.shared_work(target, *operands)
        extent: ir.Expr = ZERO
        if work is not None:
            (loop,) = body
            assert isinstance(loop, ir.For)
            extent, body = loop.extent, (replace(loop, start=ir.FIRST, extent=ir.LAST),)
        touched, sizes = buffers(body), free_variables(body)
        call = ir.Call(name, (*(ir.Pointer(b, ZERO) for b in touched), *sizes))
        params = [replace(b, writable=b.name == target.buffer.name) for b in touched]
        kernel = ir.Kernel(name, (*params, *sizes), body)
        return kernel, [*before, call if work is None else ir.InBlocks(extent, work, call)]

    def _same_memory(self, x: Variable, operand: PlacedArray) -> bool:
        return self.arrays.of(x).name == operand.buffer.name and operand.placement.offset == ZERO


def nodes_of(step: Region | LoopStep) -> list[Apply]:
    """The nodes that a planned step evaluates."""
    return step.nodes if isinstance(step, Region) else [step.node]
