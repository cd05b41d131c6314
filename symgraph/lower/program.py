"""A rewritten graph becomes a loop program: sizes, checks, nests, calls, and what the caller has to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from textwrap import fill

from codegen import ir
from codegen.across import across_rows
from codegen.ahead import asked_ahead
from codegen.alignment import ALIGNMENT
from codegen.distribute import distributed
from codegen.jam import jammed
from codegen.offsets import ZERO
from codegen.rows import by_vectors
from codegen.runtime import is_routine
from codegen.transform import share_kernels
from codegen.visit import statements
from symgraph.graph.node import Apply, Constant, Variable
from symgraph.graph.printing import excerpt
from symgraph.graph.traverse import toposort
from symgraph.lower.arrays import Arrays
from symgraph.lower.buffers import LayoutPlanner
from symgraph.lower.decisions import Decisions, decisions
from symgraph.lower.elements import Elements
from symgraph.lower.names import Names
from symgraph.lower.regions import Schedule, partition
from symgraph.lower.shapes import Shapes, infer_shapes
from symgraph.lower.sizes import NeedsArray, Sizes
from symgraph.lower.steps import Step, StepWriter
from symgraph.ops.elementwise import Cast


@dataclass(frozen=True)
class Result:
    """An array that the caller allocates: its dtype, and for each axis a length or the position of it in `sizes`."""

    dtype: str
    lengths: tuple[int, ...]
    positions: tuple[int | None, ...]
    replaces: Variable | None = (
        None  # the shared variable whose new value this is, if its lengths may differ from the old
    )


@dataclass(frozen=True)
class Lowered:
    """A program and its calling convention; its arrays are inputs, shared variables, constants and results."""

    program: ir.Program
    inputs: tuple[Variable, ...]
    shared: tuple[Variable, ...]
    constants: tuple[Constant, ...]
    results: tuple[Result, ...]
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
        for entry in ir.entry_points(name):
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
        self.checks = self._checks()

    def run(self, comment: str) -> Lowered:
        fixed = {s: new for s, new in self.updates if self.shapes.of(s) == self.shapes.of(new)}
        grown = [(s, new) for s, new in self.updates if s not in fixed]
        wanted = [*self.outputs, *(new for _, new in grown)]
        replaces = [*[None] * len(self.outputs), *(s for s, _ in grown)]
        results = [
            ir.Buffer(self.names.fresh(x.name if x.owner is not None else None, f"output_{k}"), x.dtype, True)
            for k, x in enumerate(wanted)
        ]
        self.buffers.update({s: replace(self.buffers[s], writable=True) for s in fixed})
        layout = LayoutPlanner(self.schedule, self.elements, dict(enumerate(wanted)), fixed, self._last_check()).plan()
        self.arrays = Arrays(self.buffers, results, self.schedule, layout, self.elements, self.names)
        steps = tuple(StepWriter(self.arrays, self.names, self.lines).steps())
        fits = self.sizes.fits(layout.slots)
        if fits is not None:
            self.checks.append((fits, "the values on the way fit into memory"))

        copied = {s: new for s, new in fixed.items() if s not in layout.in_place.values() and new is not s}
        delivered = [*zip(wanted, results, strict=True), *((new, self.buffers[s]) for s, new in copied.items())]
        run = [*self._statements(steps), *(stmt for x, target in delivered for stmt in self._deliver(x, target))]
        definitions, workspace_position = self.arrays.definitions(self.sizes)
        described = tuple(self._result(x, s) for x, s in zip(wanted, replaces, strict=True))
        kernels, run = share_kernels([kernel for step in steps for kernel in step.kernels], [*definitions, *run])
        made_by = {kernel.name: (step, k) for step in steps for k, kernel in enumerate(step.kernels)}
        kernels = [replace(_tuned(kernel), comment=_told(*made_by[kernel.name])) for kernel in kernels]
        fields = self._fields(wanted, results)
        program = ir.Program(
            self.name,
            fields,
            self.sizes.given,
            self.sizes.derived,
            tuple(self._plan()),
            tuple(run),
            tuple(kernels),
            _head(comment, fields, _how_to_call(self.name, fields, self.sizes, workspace_position)),
            _uses_blas([run, *(kernel.body for kernel in kernels)]),
            clocks=len(steps) if self.profile else 0,
        )
        return Lowered(
            program,
            self.inputs,
            self.shared,
            self.constants,
            described,
            len(self.sizes.given) + len(self.sizes.derived),
            workspace_position,
            self.sizes.reads_values,
            steps,
            (*self.outputs, *(new for _, new in self.updates)),
            decisions(self.schedule, layout),
        )

    def _array_constants(self) -> list[Constant]:
        read = [e.array for reads in self.schedule.reads.values() for e in reads]
        placed = [p.base for p in self.schedule.placements.values()]
        wanted = [*self.outputs, *(new for _, new in self.updates)]
        return list(dict.fromkeys(x for x in (*read, *placed, *wanted) if isinstance(x, Constant)))

    def _fields(self, wanted: Sequence[Variable], results: Sequence[ir.Buffer]) -> tuple[ir.ArrayField, ...]:
        """What the caller passes, in order."""
        groups = (("input", self.inputs), ("shared", self.shared), ("constant", self.constants))
        passed = [(self.buffers[x], role, x) for role, group in groups for x in group]
        passed += [(buffer, "output", x) for buffer, x in zip(results, wanted, strict=True)]
        return tuple(ir.ArrayField(buffer, role, self.arrays.type_text(x)) for buffer, role, x in passed)

    def _statements(self, steps: Sequence[Step]) -> list[ir.Stmt]:
        """The steps in the main function, each check right after what computes it."""
        out: list[ir.Stmt] = []
        pending = dict.fromkeys(c for c, _ in self.array_conditions)
        for number, step in enumerate(steps):
            out += [ir.Timed(number, step.body)] if self.profile else step.body
            for condition in [c for c in step.made if c in pending]:
                code = 1 + len(self.checks) + len(self.array_conditions) - len(pending)
                del pending[condition]
                holds = ir.Load("bool", self.arrays.of(condition), ZERO)
                out.append(ir.Comment(f"{excerpt(condition)}    {condition.origin}"))
                out.append(ir.If(ir.Operation("bool", "logical_not", (holds,)), (ir.Fail(code),)))
        assert not pending, "a condition that no step computes"
        return out

    def _deliver(self, x: Variable, target: ir.Buffer) -> list[ir.Stmt]:
        value = self.shapes.values.get(x)
        if isinstance(x, Constant) and x.data.size == 1:
            return [ir.Store(target, ZERO, ir.Literal(x.dtype, x.value))]
        if value is not None and self.shapes.is_host(value):
            size = self.sizes.of(value)
            return [ir.Store(target, ZERO, size if x.dtype == ir.INDEX else ir.Cast(x.dtype, size))]
        source = self.arrays.of(self.schedule.same_start(x))
        if source.name == target.name:
            return []
        return [ir.Copy(ir.Pointer(target, ZERO), ir.Pointer(source, ZERO), self.arrays.count(x))]

    # -- the plan

    def _last_check(self) -> int:
        conditions = {c for c, _ in self.array_conditions}
        checked = [k for k, s in enumerate(self.schedule.steps) if not conditions.isdisjoint(s.made)]
        return max(checked, default=-1)

    def _checks(self) -> list[tuple[ir.Expr, str]]:
        """Conditions that the plan checks, each with the words for it."""
        found: list[tuple[ir.Expr, str]] = []
        for x in (*self.inputs, *self.shared):
            for axis, known in enumerate(x.type.shape):
                if known is not None:
                    words = f"{x.name or 'input'}.shape[{axis}] is {known}"
                    found.append((_equal(self.sizes.given_of(x, axis), ir.index(known)), words))
        for left, right, x in self.shapes.equalities:
            try:
                found.append((_equal(self.sizes.raw(left), self.sizes.raw(right)), f"for {excerpt(x)}    {x.origin}"))
            except NeedsArray as need:
                if need.value in self.computed:
                    raise  # else it was rewritten away, and nobody computes it for a check alone
        for condition in dict.fromkeys(c for c, _ in self.shapes.conditions):
            if self.shapes.is_host(condition) and not (isinstance(condition, Constant) and condition.value):
                holds = self.sizes.raw(condition)
                found.append((holds if holds.dtype == "bool" else ir.Cast("bool", holds), excerpt(condition)))
        return found

    def _plan(self) -> list[ir.Stmt]:
        out: list[ir.Stmt] = list(self.sizes.plan)
        for code, (holds, text) in enumerate(self.checks, 1):
            out.append(ir.Comment(text))
            out.append(ir.If(ir.Operation("bool", "logical_not", (holds,)), (ir.Fail(code),)))
        return out

    def _result(self, x: Variable, replaces: Variable | None) -> Result:
        lengths = self.shapes.of(x)
        positions = tuple(self.sizes.position(n) for n in lengths)
        known = tuple(int(n.value) if isinstance(n, Constant) else 0 for n in lengths)
        return Result(x.dtype, known, positions, replaces)


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
    """The condition, made by a node of its own: it is checked after the step that makes it."""
    is_alias = condition.owner is not None and condition.owner.op.alias
    return Apply(Cast("bool"), (condition,), condition.origin).output if is_alias else condition


def _memory(x: Variable) -> Variable:
    """The value that `x` may be a part of."""
    while x.owner is not None and (x.owner.op.alias or x.owner.op.inline) and x.owner.inputs:
        x = x.owner.inputs[0]
    return x


def _tuned(kernel: ir.Kernel) -> ir.Kernel:
    """The kernel after the passes of codegen."""
    kernel = across_rows(kernel)  # first: it leaves some short rows to the next pass, which would take others, too
    kernel = jammed(kernel)  # before memory is asked for, which is done at once for rows that are taken together
    kernel = asked_ahead(kernel)  # before there are strips of rows, which it would mistake for such rows
    kernel = distributed(kernel)  # before vector loops are marked: what it makes of the ends of rows is one
    return by_vectors(kernel)  # last: it marks the vector loops that there are


def _head(comment: str, fields: Sequence[ir.ArrayField], how_to_call: str) -> str:
    """The comment at the top of the C, with what the caller passes after its first line, and how at its end."""
    taken = [f"{f.role:7} {f.buffer.name} : {f.comment}" for f in fields if f.role in ("input", "shared")]
    title, *rest = comment.split("\n")
    return "\n".join([title, *([""] if taken else []), *taken, *rest[bool(taken) :], "", how_to_call])


def _how_to_call(name: str, fields: Sequence[ir.ArrayField], sizes: Sizes, workspace: int) -> str:
    arrays = ", ".join(f.buffer.name for f in fields)
    given = ", ".join(size.name for size in sizes.given)
    count = len(sizes.given) + len(sizes.derived)
    first = f"the caller sets the first {len(sizes.given)}, {given}; " if given else ""
    return fill(
        f"arrays: {{{arrays}}}, contiguous, the last axis running fastest. sizes: "
        f"{count} number{'s' * (count > 1)}; {first}{name}_plan(arrays, sizes) sets the others. "
        f"Then {name}(arrays, sizes, workspace) computes; workspace: sizes[{workspace}] bytes, aligned to {ALIGNMENT}. "
        "Both give 0, or the number of a check that failed.",
        width=115, break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _told(step: Step, number: int) -> str:
    """What a kernel of a step does, for the reader."""
    if number == 0:
        return f"{step.text}\n{step.cost}"
    is_last = number == len(step.kernels) - 1
    return f"{step.name} in blocks." if is_last else f"What {step.name} leaves to do when all blocks are done."


def _uses_blas(bodies: Sequence[Sequence[ir.Stmt]]) -> bool:
    return any(isinstance(s, ir.Call) and is_routine(s.name) for body in bodies for s in statements(body))


def _equal(left: ir.Expr, right: ir.Expr) -> ir.Expr:
    return ir.Operation("bool", "eq", (left, right))
