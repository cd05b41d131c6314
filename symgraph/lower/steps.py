"""The steps of a program: each becomes a kernel and its call, or a call of a library routine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from codegen import ir
from codegen.cost import Cost, cost
from codegen.offsets import ZERO, multiply
from codegen.transform import lift_offsets, renamed
from codegen.visit import buffers, free_variables, statements
from symgraph.graph.node import Apply, Variable
from symgraph.lower.arrays import Arrays, PlacedArray
from symgraph.lower.blocks import Share
from symgraph.lower.contents import Contents
from symgraph.lower.loops import build_nest
from symgraph.lower.names import Names
from symgraph.lower.regions import Region

LONGEST_NAME = 30  # of a kernel, before the words that tell its parts


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
        self.taken_over = arrays.layout.taken_over | arrays.layout.in_place

    def steps(self) -> Iterator[Step]:
        """The steps, in order."""
        for planned in self.schedule.steps:
            made = tuple(planned.made)
            stored = tuple(x for x in made if x in self.schedule.stored)
            if isinstance(planned, Region):
                kernels, body, shares = self._nest(planned, stored)
                yield Step(kernels[0].name, "nest", made, stored, tuple(body), tuple(kernels), self.arrays, shares)
            else:
                kernels, body = self._call(planned.node)
                name = kernels[0].name if kernels else next(s.name for s in body if isinstance(s, ir.Call))
                kind = "loops" if kernels else "call"
                yield Step(name, kind, made, stored, tuple(body), tuple(kernels), self.arrays)

    def _nest(
        self, region: Region, stored: Sequence[Variable]
    ) -> tuple[list[ir.Kernel], list[ir.Stmt], frozenset[str]]:
        name = self.names.fresh(self._nest_name(stored))
        contents = Contents(
            region,
            self.schedule.bodies,
            stored,
            self.arrays.elements,
            lambda x: self.arrays.of(x).name,
            self.taken_over,
            Names(self.names),
        )
        nest = build_nest(contents, self.arrays.layout.lasting, name, self.names, self.lines)
        self.arrays.place_shares(nest.shares)
        rest = buffers(nest.rest.body) if nest.rest is not None else []
        lifted, starts = lift_offsets(nest.kernel, keep={b.name for b in rest})
        kernels = [_with_used_sizes(lifted)]
        if nest.extent is not None:
            kernels += [] if nest.rest is None else [nest.rest]
            kernels.append(self._in_blocks(nest.extent, nest.work, kernels, nest.shares))
        shares = {share.array.name: share.array for share in nest.shares}
        args: list[ir.Expr | ir.Pointer] = []
        for p in kernels[-1].params:
            if isinstance(p, ir.Var):
                args.append(p)
            elif p.name in shares:
                args.append(ir.Pointer(shares[p.name], ZERO))
            else:
                args.append(ir.Pointer(self.arrays.of(nest.arrays[p.name]), starts.get(p.name, ZERO)))
        return kernels, [ir.Call(kernels[-1].name, tuple(args))], frozenset(shares)

    def _in_blocks(
        self, extent: ir.Expr, work: ir.Expr, kernels: Sequence[ir.Kernel], shares: Sequence[Share] = ()
    ) -> ir.Kernel:
        """The kernel that calls one for each block, and then the other, if there is one, for the rest."""
        rows = {share.array.name: share.row for share in shares}

        def called(kernel: ir.Kernel, number: ir.Expr) -> ir.Call:
            starts = {name: multiply(number, row) for name, row in rows.items()}
            args = (p if isinstance(p, ir.Var) else ir.Pointer(p, starts.get(p.name, ZERO)) for p in kernel.params)
            return ir.Call(kernel.name, tuple(args))
        block, *rest = kernels
        body = ir.InBlocks(extent, work, called(block, ir.BLOCK), tuple(called(kernel, ZERO) for kernel in rest))
        writable: dict[str, ir.Buffer] = {}
        for p in (p for kernel in kernels for p in kernel.params if isinstance(p, ir.Buffer)):
            writable[p.name] = p if p.writable else writable.get(p.name, p)
        name = self.names.fresh(f"{block.name}_in_blocks")
        return ir.Kernel(name, (*writable.values(), *free_variables([body])), (body,))

    def _nest_name(self, stored: Sequence[Variable]) -> str:
        in_place = self.arrays.layout.in_place
        made = [x.name for x in stored if x.name and x not in in_place]
        updated = [s.name for x in stored if (s := in_place.get(x)) is not None and s.name]
        parts = [*(["compute", *made] if made or not updated else []), *(["update", *updated] if updated else [])]
        while len(parts) > 2 and (len("_".join(parts)) > LONGEST_NAME or parts[-1] == "update"):
            parts.pop()
        return "_".join(parts)[:LONGEST_NAME]

    def _call(self, node: Apply) -> tuple[list[ir.Kernel], list[ir.Stmt]]:
        """The kernels of a node that brings its own loops, if it needs some, and the call."""
        target = self.arrays.placed(node.output)
        operands = [self.arrays.placed(x, self.schedule.placements.get((node, k))) for k, x in enumerate(node.inputs)]
        start = node.op.starts_from
        before: list[ir.Stmt] = []
        if start is not None and not self._same_memory(node.output, operands[start]):
            before.append(ir.Copy(target.pointer, operands[start].pointer, self.arrays.count(node.output)))
        body: tuple[ir.Stmt, ...] = node.op.loops(target, *operands)  # type: ignore[attr-defined]
        if len(body) == 1 and isinstance(body[0], ir.Call):
            return [], [ir.Comment(self.arrays.line(node.output)), *before, *body]
        name = self.names.fresh(f"{type(node.op).__name__.lower()}_{node.output.name or ''}", "loops")
        work = node.op.shared_work(target, *operands)
        extent: ir.Expr = ZERO
        if work is not None:
            (loop,) = body
            assert isinstance(loop, ir.For)
            extent, body = loop.extent, (replace(loop, start=ir.FIRST, extent=ir.LAST),)
        touched, sizes = buffers(body), free_variables(body)
        body = renamed(body, self._new_names(body, {b.name for b in touched} | {v.name for v in sizes}))
        params = [replace(b, writable=b.name == target.buffer.name) for b in touched]
        kernels = [ir.Kernel(name, (*params, *sizes), body)]
        if work is not None:
            kernels.append(self._in_blocks(extent, work, kernels))
        args = (p if isinstance(p, ir.Var) else ir.Pointer(p, ZERO) for p in kernels[-1].params)
        return kernels, [*before, ir.Call(kernels[-1].name, tuple(args))]

    def _new_names(self, body: Sequence[ir.Stmt], taken: set[str]) -> dict[ir.Var, ir.Var]:
        """Other names for locals that are called as a parameter of the kernel is."""
        inside = list(statements(body))
        own: dict[ir.Var, None] = {s.var: None for s in inside if isinstance(s, ir.Declare)}
        own |= {s.index: None for s in inside if isinstance(s, ir.For)}
        names = Names(self.names)
        return {var: replace(var, name=names.fresh(var.name)) for var in own if var.name in taken}

    def _same_memory(self, x: Variable, operand: PlacedArray) -> bool:
        return self.arrays.of(x).name == operand.buffer.name and operand.placement.offset == ZERO


def _with_used_sizes(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel without parameters that its offsets alone had use for."""
    used = free_variables(kernel.body)
    return replace(kernel, params=tuple(p for p in kernel.params if isinstance(p, ir.Buffer) or p in used))
