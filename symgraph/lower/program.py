"""A rewritten graph becomes a loop program: sizes, checks, nests, calls, and what the caller has to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from codegen import ir
from codegen.c_printer import expression
from codegen.cost import Cost, cost
from codegen.runtime import is_routine
from codegen.transform import lift_offsets, share_kernels
from codegen.visit import buffers, free_variables, statements
from symgraph.graph.node import Apply, Constant, Variable
from symgraph.graph.printing import excerpt
from symgraph.graph.traverse import toposort
from symgraph.lower.buffers import ALIGNMENT, Layout, LayoutPlanner
from symgraph.lower.decisions import Decisions, decisions
from symgraph.lower.elements import Elements, is_one
from symgraph.lower.loops import build_nest
from symgraph.lower.names import Names
from symgraph.lower.regions import LoopStep, Placement, Region, Schedule, multiply, partition
from symgraph.lower.shapes import Shapes, infer_shapes
from symgraph.lower.sizes import NeedsArray, Sizes
from symgraph.ops.elementwise import Cast


@dataclass(frozen=True)
class Result:
    """An array that the caller allocates: its dtype, and for each axis a length or the position of it in `sizes`."""

    dtype: str
    lengths: tuple[int, ...]
    positions: tuple[int | None, ...]
    replaces: Variable | None = None  # the shared variable whose new value this is, if its lengths may differ from the old


@dataclass(frozen=True)
class Step:
    """One loop nest or library call of a program.

    name: of the kernel or routine in C
    made: the variables it computes, in order; `stored`: those of them that go to memory
    text: what it computes, a line for each stored value
    kind: "nest" for values fused in common loops, "loops" for an op that brings its own, "call" for a library routine
    """

    name: str
    made: tuple[Variable, ...]
    stored: tuple[Variable, ...]
    text: str
    cost: Cost
    kind: str


@dataclass(frozen=True)
class Lowered:
    """A program and its calling convention: `arrays` are inputs, shared variables, constants and results, in this order."""

    program: ir.Program
    inputs: tuple[Variable, ...]
    shared: tuple[Variable, ...]
    constants: tuple[Constant, ...]
    results: tuple[Result, ...]
    given_count: int
    size_count: int
    workspace_position: int
    plan_reads_values: bool
    steps: tuple[Step, ...]
    roots: tuple[Variable, ...]  # what is computed: the outputs, then the new values
    decisions: Decisions


def lower(
    inputs: Sequence[Variable],
    outputs: Sequence[Variable],
    updates: Sequence[tuple[Variable, Variable]],
    shared: Sequence[Variable],
    *,
    written: Sequence[Variable] = (),
    conditions: Sequence[Variable] = (),
    name: str,
    comment: str = "",
    fuse: bool = True,
    profile: bool = False,
    lines: bool = False,
) -> Lowered:
    """The loop program of a function.

    inputs, shared: the leaves that the caller passes, in this order
    outputs, updates: rewritten expressions over these leaves and constants
    written: the expressions as they were written: lengths they need to be equal are compared even if rewritten away
    conditions: bool scalars that must hold as well
    name: a C identifier
    profile: take the time of every step
    lines: say which line of the user's program each statement belongs to
    """
    return _Lowering(inputs, outputs, updates, shared, written, conditions, name, fuse, profile, lines).run(comment)


class _Lowering:
    def __init__(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
        shared: Sequence[Variable],
        written: Sequence[Variable],
        conditions: Sequence[Variable],
        name: str,
        fuse: bool,
        profile: bool,
        lines: bool,
    ):
        self.name = name
        self.profile = profile
        self.lines = lines
        self.outputs = tuple(outputs)
        self.updates = _computed(updates)
        roots = [*outputs, *(new for _, new in self.updates)]
        self.inputs, self.shared = tuple(inputs), tuple(shared)
        conditions = [_computed_by_a_step(c) for c in conditions]
        leaves = [*inputs, *shared, *(x for x in (*roots, *conditions) if isinstance(x, Constant))]
        self.shapes: Shapes = infer_shapes([*conditions, *roots], leaves, written)
        self.shapes.conditions += [(self.shapes.merged(c), None) for c in conditions]
        self.names = Names()
        for entry in (name, f"{name}_plan", f"{name}_blas"):
            self.names.take(entry)
        self.buffers: dict[Variable, ir.Buffer] = {}
        for x in (*self.inputs, *self.shared):
            self.buffers[x] = ir.Buffer(self.names.fresh(x.name, "input"), x.dtype)
        self.sizes = Sizes(self.shapes, self.names, self.buffers, (*self.inputs, *self.shared))
        self.elements = Elements(self.shapes, self.sizes.of)
        self.array_conditions = [(c, x) for c, x in self.shapes.conditions if not self.shapes.is_host(c)]
        computed = list(dict.fromkeys(c for c, _ in self.array_conditions))
        waits = [(c, x) for c, x in self.array_conditions if x is not None]
        self.schedule: Schedule = partition([*computed, *roots], self.elements, waits, fuse)
        self.computed = {node.output for node in toposort(roots)}
        self.constants = tuple(self._array_constants())
        for x in self.constants:
            self.buffers[x] = ir.Buffer(self.names.fresh(x.name, "constant"), x.dtype)

    def run(self, comment: str) -> Lowered:
        fixed = {s: new for s, new in self.updates if self.shapes.of(s) == self.shapes.of(new)}
        grown = [(s, new) for s, new in self.updates if s not in fixed]
        results = dict(enumerate([*self.outputs, *(new for _, new in grown)]))
        self.result_buffers = [
            ir.Buffer(self.names.fresh(x.name if x.owner is not None else None, f"output_{k}"), x.dtype, True)
            for k, x in results.items()
        ]
        planner = LayoutPlanner(self.schedule, self.elements, results, fixed, self._last_check())
        self.layout: Layout = planner.plan()
        taken_over = set(self.layout.in_place.values())
        for s in self.shared:
            if s in fixed:
                self.buffers[s] = ir.Buffer(self.buffers[s].name, s.dtype, True)
        run = [*self._steps(), *self._copies(results, fixed, taken_over)]
        run = [*self._places(run), *run]
        kernels, run = share_kernels(self.kernels, run)
        plan = self._plan(results)
        fields = tuple(
            ir.ArrayField(self.buffers[x], role, self._type_text(x))
            for role, group in (("input", self.inputs), ("shared", self.shared), ("constant", self.constants))
            for x in group
        ) + tuple(ir.ArrayField(b, "output", self._type_text(x)) for b, x in zip(self.result_buffers, results.values(), strict=True))
        program = ir.Program(
            self.name, fields, self.sizes.given, self.sizes.derived, tuple(plan), tuple(run), tuple(kernels), comment,
            uses_blas=any(
                isinstance(s, ir.Call) and is_routine(s.name)
                for body in (run, *(kernel.body for kernel in kernels)) for s in statements(body)
            ),
            clocks=len(self.done) if self.profile else 0,
        )  # fmt: skip
        replaces = [None] * len(self.outputs) + [s for s, _ in grown]
        described = tuple(self._result(x, s) for x, s in zip(results.values(), replaces, strict=True))
        return Lowered(
            program, self.inputs, self.shared, self.constants, described,
            len(self.sizes.given), len(self.sizes.given) + len(self.sizes.derived), self.workspace_position,
            self.sizes.reads_values, tuple(self.done),
            (*self.outputs, *(new for _, new in self.updates)), decisions(self.schedule, self.layout),
        )  # fmt: skip

    def _array_constants(self) -> list[Constant]:
        read = [e.array for reads in self.schedule.reads.values() for e in reads]
        placed = [p.base for p in self.schedule.placements.values()]
        wanted = [*self.outputs, *(new for _, new in self.updates)]
        return list(dict.fromkeys(x for x in (*read, *placed, *wanted) if isinstance(x, Constant)))

    # -- the steps

    def _steps(self) -> list[ir.Stmt]:
        self.kernels: list[ir.Kernel] = []
        self.done: list[Step] = []
        out: list[ir.Stmt] = []
        pending = dict.fromkeys(c for c, _ in self.array_conditions)
        code = self._first_run_code()
        for x in self.schedule.stored:
            if x in self.layout.slot_of:
                self._buffer(x)
        for step in self.schedule.steps:
            made = [n.output for n in _nodes_of(step)]
            name, body = self._nest(step) if isinstance(step, Region) else self._call(step)
            stored = tuple(x for x in made if x in self.schedule.stored)
            text = "\n".join(self._line(x) for x in stored)
            price = cost(body, {kernel.name: kernel for kernel in self.kernels[-1:]})
            self._explain(name, f"{text}\n{price}")
            out += [ir.Timed(len(self.done), tuple(body))] if self.profile else body
            kind = "nest" if isinstance(step, Region) else "call" if is_routine(name) else "loops"
            self.done.append(Step(name, tuple(made), stored, text, price, kind))
            for condition in [c for c in made if c in pending]:
                del pending[condition]
                holds = ir.Load("bool", self._buffer(condition), ir.index(0))
                out.append(ir.If(ir.Operation("bool", "logical_not", (holds,)), (ir.Fail(code),)))
                code += 1
        assert not pending, "a condition that no step computes"
        return out

    def _explain(self, name: str, text: str) -> None:
        """Put a comment on the kernel just made, if the step made one."""
        if self.kernels and self.kernels[-1].name == name:
            self.kernels[-1] = replace(self.kernels[-1], comment=text)

    def _nest(self, region: Region) -> tuple[str, list[ir.Stmt]]:
        stored = [n.output for n in region.nodes if n.output in self.schedule.stored]
        nest = build_nest(
            region, self.schedule.bodies, stored, self.elements, lambda x: self._buffer(x).name, self.layout.in_place,
            name=self.names.fresh(self._nest_name(stored)), names=self.names, lines=self.lines,
        )  # fmt: skip
        kernel, starts = lift_offsets(nest.kernel)
        used = free_variables(kernel.body)
        kernel = replace(kernel, params=tuple(p for p in kernel.params if isinstance(p, ir.Buffer) or p in used))
        self.kernels.append(kernel)
        pointers = (ir.Pointer(self._buffer(x), ir.index(0)) for x in nest.arrays)
        args = [replace(p, offset=starts.get(p.buffer.name, p.offset)) for p in pointers]
        return kernel.name, [ir.Call(kernel.name, (*args, *(size for size in nest.sizes if size in used)))]

    def _nest_name(self, stored: Sequence[Variable]) -> str:
        made = [x.name for x in stored if x.name and x not in self.layout.in_place]
        updated = [s.name for x in stored if (s := self.layout.in_place.get(x)) is not None and s.name]
        parts = [*(["compute", *made] if made or not updated else []), *(["update", *updated] if updated else [])]
        return "_".join(parts)[:40]

    def _call(self, step: LoopStep) -> tuple[str, list[ir.Stmt]]:
        node = step.node
        out: list[ir.Stmt] = [ir.Comment(self._line(node.output))]
        target = PlacedArray(self, node.output, Placement(node.output, ir.index(0)))
        operands = [
            PlacedArray(self, x, self.schedule.placements.get((node, k)) or Placement(x, ir.index(0)))
            for k, x in enumerate(node.inputs)
        ]
        start = node.op.starts_from
        if start is not None and not self._same_memory(node.output, operands[start]):
            out.append(ir.Copy(target.pointer, operands[start].pointer, target.count))
        body: tuple[ir.Stmt, ...] = node.op.loops(target, *operands)  # type: ignore[attr-defined]
        if len(body) == 1 and isinstance(body[0], ir.Call):
            return body[0].name, [*out, *body]
        kernel, call = self._own_kernel(node, body)
        self.kernels.append(kernel)
        return kernel.name, [*out[1:], call]

    def _own_kernel(self, node: Apply, body: tuple[ir.Stmt, ...]) -> tuple[ir.Kernel, ir.Call]:
        touched = buffers(body)
        sizes = free_variables(body)
        name = self.names.fresh(f"{type(node.op).__name__.lower()}_{node.output.name or ''}", "loops")
        kernel = ir.Kernel(name, (*touched, *sizes), body)
        return kernel, ir.Call(name, (*(ir.Pointer(b, ir.index(0)) for b in touched), *sizes))

    def _same_memory(self, x: Variable, operand: PlacedArray) -> bool:
        return self._buffer(x).name == operand.buffer.name and operand.placement.offset == ir.index(0)

    def _line(self, x: Variable) -> str:
        """What a value is, its type and the user's line, for a comment."""
        target = self.layout.in_place.get(x)
        label = f"{target.name} <- " if target is not None and target.name else f"{x.name} = " if x.name else ""
        return f"{label}{excerpt(x)} : {self._type_text(x)}    {x.origin}"

    def _type_text(self, x: Variable) -> str:
        lengths = [expression(self.elements.size(n)) for n in self.shapes.of(x)]
        return f"{x.dtype} ({', '.join(lengths)}{',' * (len(lengths) == 1)})"

    # -- memory

    def _buffer(self, x: Variable) -> ir.Buffer:
        """The C array that holds a value."""
        if x in self.layout.in_place:
            return self.buffers[self.layout.in_place[x]]
        if x in self.layout.arguments:
            return self.result_buffers[self.layout.arguments[x]]
        if x in self.buffers:
            return self.buffers[x]
        if x in self.layout.shares:
            return self._buffer(self.layout.shares[x])
        alias = self.schedule.aliases.get(x)
        writable = alias is None or self._buffer(alias.base).writable
        self.buffers[x] = ir.Buffer(self.names.fresh(x.name, "t"), x.dtype, writable)
        return self.buffers[x]

    def _places(self, run: Sequence[ir.Stmt]) -> list[ir.Stmt]:
        """Definitions of the arrays in the workspace, and of those that are a part of another."""
        out: list[ir.Stmt] = []
        offset: ir.Expr = ir.index(0)
        starts: list[ir.Expr] = []
        for size in self.layout.slots:
            starts.append(offset)
            offset = self.sizes.layout(offset, size, ALIGNMENT)
        self.workspace_position = self.sizes.finish(offset)
        for x, slot in self.layout.slot_of.items():
            if x not in self.layout.shares:
                out.append(ir.Place(self._buffer(x), "workspace", starts[slot]))
        for x, placement in self.schedule.aliases.items():
            if x in self.buffers:
                out.append(ir.Place(self.buffers[x], self._buffer(placement.base).name, placement.offset))
        return out

    def _copies(
        self, results: dict[int, Variable], fixed: dict[Variable, Variable], taken_over: set[Variable]
    ) -> list[ir.Stmt]:
        """Results that were computed elsewhere, and new values of shared variables that could not replace the old at once."""
        out: list[ir.Stmt] = []
        for position, x in results.items():
            out += self._deliver(x, self.result_buffers[position])
        for s, new in fixed.items():
            if s not in taken_over and new is not s:
                out += self._deliver(new, self.buffers[s])
        return out

    def _deliver(self, x: Variable, target: ir.Buffer) -> list[ir.Stmt]:
        value = self.shapes.values.get(x)
        if isinstance(x, Constant) and x.data.size == 1:
            return [ir.Store(target, ir.index(0), ir.Literal(x.dtype, x.value))]
        if value is not None and self.shapes.is_host(value):
            size = self.sizes.of(value)
            return [ir.Store(target, ir.index(0), size if x.dtype == ir.INDEX else ir.Cast(x.dtype, size))]
        root = x
        while root in self.schedule.aliases and self.schedule.aliases[root].offset == ir.index(0):
            root = self.schedule.aliases[root].base
        source = self._buffer(root)
        if source.name == target.name:
            return []
        zero = ir.index(0)
        return [ir.Copy(ir.Pointer(target, zero), ir.Pointer(source, zero), self.count(x))]

    def count(self, x: Variable) -> ir.Expr:
        """The number of elements of a value."""
        total: ir.Expr = ir.index(1)
        for n in self.shapes.of(x):
            if not is_one(n):
                total = multiply(total, self.elements.size(n))
        return total

    # -- the plan

    def _last_check(self) -> int:
        conditions = {c for c, _ in self.array_conditions}
        made = [k for k, s in enumerate(self.schedule.steps) if any(n.output in conditions for n in _nodes_of(s))]
        return max(made, default=-1)

    def _first_run_code(self) -> int:
        return 1 + len(self._checks())

    def _checks(self) -> list[tuple[ir.Expr, str]]:
        """Conditions that the plan checks, each with the words for it."""
        if not hasattr(self, "_check_list"):
            found: list[tuple[ir.Expr, str]] = []
            for x in (*self.inputs, *self.shared):
                for axis, known in enumerate(x.type.shape):
                    if known is not None:
                        found.append((_equal(self.sizes.given_of(x, axis), ir.index(known)), f"{x.name or 'input'}.shape[{axis}] is {known}"))
            for left, right, x in self.shapes.equalities:
                try:
                    words = f"for {excerpt(x)}    {x.origin}"
                    found.append((_equal(self.sizes.raw(left), self.sizes.raw(right)), words))
                except NeedsArray as need:
                    if need.value in self.computed:
                        raise  # else it was rewritten away, and nobody computes it for a check alone
            for condition in dict.fromkeys(c for c, _ in self.shapes.conditions):
                if self.shapes.is_host(condition) and not (isinstance(condition, Constant) and condition.value):
                    holds = self.sizes.raw(condition)
                    truth = holds if holds.dtype == "bool" else ir.Cast("bool", holds)
                    found.append((truth, excerpt(condition)))
            self._check_list = found
        return self._check_list

    def _plan(self, results: dict[int, Variable]) -> list[ir.Stmt]:
        out: list[ir.Stmt] = []
        for x in results.values():
            for n in self.shapes.of(x):
                self.sizes.position(n)
        checks = self._checks()
        out += self.sizes.plan
        for code, (holds, text) in enumerate(checks, 1):
            out.append(ir.Comment(text))
            out.append(ir.If(ir.Operation("bool", "logical_not", (holds,)), (ir.Fail(code),)))
        return out

    def _result(self, x: Variable, replaces: Variable | None) -> Result:
        lengths = self.shapes.of(x)
        positions = tuple(self.sizes.position(n) for n in lengths)
        known = tuple(int(n.value) if isinstance(n, Constant) else 0 for n in lengths)
        return Result(x.dtype, known, positions, replaces)


@dataclass(frozen=True)
class PlacedArray:
    """What an op's `loops` see of an array in memory."""

    lowering: _Lowering
    variable: Variable
    placement: Placement

    @property
    def type(self):  # type: ignore[no-untyped-def]
        """The array's type."""
        return self.variable.type

    @property
    def extents(self) -> tuple[ir.Expr, ...]:
        """The lengths as expressions."""
        return tuple(self.lowering.elements.size(n) for n in self.lowering.shapes.of(self.variable))

    @property
    def transposed(self) -> bool:
        """Whether a matrix is stored by columns."""
        return self.placement.transposed

    @property
    def buffer(self) -> ir.Buffer:
        """The C array."""
        return self.lowering._buffer(self.placement.base)

    @property
    def pointer(self) -> ir.Pointer:
        """The address of the first element."""
        return ir.Pointer(self.buffer, self.placement.offset)

    @property
    def count(self) -> ir.Expr:
        """The number of elements."""
        return self.lowering.count(self.variable)

    def load(self, *index: ir.Expr) -> ir.Expr:
        """An element; a scalar known without memory is given as such."""
        element = self.lowering.elements.at(self.variable, index)
        return element if not isinstance(element, ir.Element) else ir.Load(self.variable.dtype, self.buffer, self._offset(index))

    def store(self, index: Sequence[ir.Expr], value: ir.Expr) -> ir.Stmt:
        """The statement that writes an element."""
        return ir.Store(self.buffer, self._offset(index), value)

    def _offset(self, index: Sequence[ir.Expr]) -> ir.Expr:
        index = tuple(index)[::-1] if self.transposed else tuple(index)
        extents = self.extents[::-1] if self.transposed else self.extents
        offset: ir.Expr = ir.index(0)
        for i, extent in zip(index, extents, strict=True):
            offset = i if offset == ir.index(0) else multiply(offset, extent) + i
        return offset if self.placement.offset == ir.index(0) else self.placement.offset + offset


def _computed(updates: Sequence[tuple[Variable, Variable]]) -> tuple[tuple[Variable, Variable], ...]:
    """The updates, with a node of its own for each new value that is the old one of another shared variable.

    So the planner sees that it is read, and does not let it be overwritten before.
    """
    state = {s for s, _ in updates}
    return tuple(
        (s, x if _memory(x) is s or _memory(x) not in state else Apply(Cast(x.dtype), (x,), x.origin).output)
        for s, x in updates
    )


def _computed_by_a_step(condition: Variable) -> Variable:
    """The condition, by a node of its own if it is the memory of another value: it is checked after the step that makes it."""
    is_alias = condition.owner is not None and condition.owner.op.alias
    return Apply(Cast("bool"), (condition,), condition.origin).output if is_alias else condition


def _memory(x: Variable) -> Variable:
    """The value that `x` may be a part of."""
    while x.owner is not None and (x.owner.op.alias or x.owner.op.inline) and x.owner.inputs:
        x = x.owner.inputs[0]
    return x


def _nodes_of(step: Region | LoopStep) -> list[Apply]:
    return step.nodes if isinstance(step, Region) else [step.node]


def _equal(left: ir.Expr, right: ir.Expr) -> ir.Expr:
    return ir.Operation("bool", "eq", (left, right))
