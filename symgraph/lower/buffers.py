"""Where every stored value lives: in an argument, in place of a shared variable's old value, or in the workspace.

The workspace is one block, laid out in slots. Values whose lifetimes do not overlap share a slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from heapq import heappop, heappush

from codegen import ir
from codegen.dtypes import itemsize
from codegen.offsets import ONE, ZERO, element_count, multiply
from symgraph.graph.node import Variable
from symgraph.lower.elements import Elements, loop_index, squeeze
from symgraph.lower.regions import LoopStep, Obstacle, Region, Schedule


@dataclass
class Layout:
    """Where values live.

    arguments: {value: position of the array it is written to}, for values computed right where they are wanted
    in_place: {value: shared variable whose memory it takes over}
    slots: the sizes in bytes of the parts of the workspace, in order; `slot_of` is {value: number of its slot}
    taken_over: {value: operand whose memory it takes over}; `first_of` is {value: the first whose memory that was}
    obstacles: for shared variables whose new value could not be computed in their memory, why
    lasting: values computed where the caller wants them, and not over another, that no later step reads
    """

    arguments: dict[Variable, int] = field(default_factory=dict)
    in_place: dict[Variable, Variable] = field(default_factory=dict)
    slot_of: dict[Variable, int] = field(default_factory=dict)
    slots: list[ir.Expr] = field(default_factory=list)
    taken_over: dict[Variable, Variable] = field(default_factory=dict)
    first_of: dict[Variable, Variable] = field(default_factory=dict)
    obstacles: dict[Variable, Obstacle] = field(default_factory=dict)
    lasting: set[Variable] = field(default_factory=set)


class LayoutPlanner:
    """Decides the layout of one schedule.

    results: {position of an output array: the value wanted there}
    updates: {shared variable: its new value}, where the lengths are known to be those of the old one
    last_check: the step after which no check can fail any more
    """

    def __init__(
        self,
        schedule: Schedule,
        elements: Elements,
        results: Mapping[int, Variable],
        updates: Mapping[Variable, Variable],
        last_check: int,
    ):
        self.schedule = schedule
        self.elements = elements
        self.shapes = elements.shapes
        self.results = results
        self.updates = updates
        self.last_check = last_check
        self.made_at = {x: k for k, step in enumerate(schedule.steps) for x in step.made}
        self.read_at: dict[Variable, list[int]] = {}
        for k, step in enumerate(schedule.steps):
            for x in self._reads(step):
                self.read_at.setdefault(schedule.root(x), []).append(k)
        end = len(schedule.steps)
        for x in (*results.values(), *updates.values()):
            self.read_at.setdefault(schedule.root(x), []).append(end)
        self.layout = Layout()
        self._wanted = {schedule.root(x) for x in results.values()}
        self._passed_on = {schedule.root(x) for x in updates.values()}
        self._busy: list[tuple[int, int]] = []  # a heap of (first step at which it may be taken again, number) of slots
        self._free: dict[ir.Expr | None, list[int]] = {}  # by kind, heaps of the numbers of slots that may be taken

    def plan(self) -> Layout:
        """The layout; see the class."""
        layout = self.layout
        for shared, new in self.updates.items():
            x = self._whole(new)
            obstacle = self._obstacle(shared, x)
            if obstacle is not None:
                layout.obstacles[shared] = obstacle
            elif x is not None:
                layout.in_place[x] = shared
        for position, wanted in self.results.items():
            x = self._whole(wanted)
            if x is not None and x not in layout.in_place and x not in layout.arguments:
                layout.arguments[x] = position
        self._take_over_operands()
        end = len(self.schedule.steps)
        own = layout.arguments.keys() - layout.taken_over.keys()
        layout.lasting = {x for x in own if set(self.read_at[x]) == {end} and x not in self._passed_on}
        self._fill_slots()
        return layout

    def _whole(self, x: Variable) -> Variable | None:
        """The value to compute where `x` is wanted: `x`, or what it is a reshape of, if that is made by a step."""
        while x in self.schedule.aliases:
            placement = self.schedule.aliases[x]
            owner = x.owner
            assert owner is not None
            if placement.base is not owner.inputs[0]:
                return None
            x = placement.base
        return x if x in self.made_at else None

    def _reads(self, step: Region | LoopStep) -> list[Variable]:
        if isinstance(step, LoopStep):
            return [place.base for place in self.schedule.places(step.node).values()]
        inside = set(step.made)
        read = (e.array for node in step.nodes for e in self.schedule.reads[node])
        return [x for x in read if isinstance(x, Variable) and x not in inside]

    # -- in place of a shared variable

    def _obstacle(self, shared: Variable, new: Variable | None) -> Obstacle | None:
        """Why a new value may not be written over the old one.

        None where nothing needs the old one later and no check can fail any more.
        """
        if new is None:
            return Obstacle("no step makes its new value, or a larger one of which it is a part")
        if new in self.layout.in_place:
            return Obstacle("its new value is that of {} too", self.layout.in_place[new])
        made = self.made_at[new]
        if made <= self.last_check:
            return Obstacle("a check after it may fail, and then nothing may have changed")
        if self.shapes.of(new) != self.shapes.of(shared):
            return Obstacle("its new value is made with other lengths")
        if shared in self._wanted:
            return Obstacle("its old value is an output")
        if shared in self._passed_on:
            return Obstacle("its old value becomes that of another")
        if any(k > made for k in self.read_at.get(shared, ())):
            return Obstacle("a later step reads its old value")
        step = self.schedule.steps[made]
        if isinstance(step, LoopStep):
            if self._may_start_from(step, shared):
                return None
            return Obstacle("the call that makes its new value reads the old one")
        if made not in self.read_at.get(shared, ()):
            return None
        if self._is_read_where_written(step, shared, new):
            return None
        return Obstacle("its nest reads other elements of its old value than the one just made")

    def _is_read_where_written(self, step: Region, old: Variable, new: Variable) -> bool:
        """Whether a nest reads of `old` only the element in whose place it puts one of `new`, and not after that."""
        node = new.owner
        assert node is not None
        here = tuple(loop_index(self.shapes.of(old)))
        one_pass = all(n.output in self.schedule.late for n in step.nodes if n.op.reduced)
        before_all = not here  # a scalar is read before the loops
        if node.op.reduced or not (one_pass or before_all):
            return False
        reads = [e for n in step.nodes for e in self.schedule.reads[n] if self.schedule.root(e.array) is old]  # type: ignore[arg-type]
        return all(e.index == here and e.array is old for e in reads)

    def _may_start_from(self, step: LoopStep, shared: Variable) -> bool:
        """Whether a call that accumulates may do so in a shared variable's memory."""
        start = step.node.op.starts_from
        for k, place in self.schedule.places(step.node).items():
            if self.schedule.root(place.base) is shared:
                if k != start or place.base is not shared or place.transposed or not self._is_full(step, k):
                    return False
        return True

    def _is_full(self, step: LoopStep, k: int) -> bool:
        placement = self.schedule.placements[step.node, k]
        mine, base = squeeze(self.shapes.of(step.node.inputs[k])), squeeze(self.shapes.of(placement.base))
        return placement.offset == ZERO and mine == base and not placement.transposed

    # -- the workspace

    def _take_over_operands(self) -> None:
        """A value takes over the memory of one that it is made of, and that nobody needs afterwards."""
        for k, step in enumerate(self.schedule.steps):
            dying = [x for x in dict.fromkeys(self._reads(step)) if self._is_needed_last(x, k)]
            for out in step.made:
                if out not in self.schedule.stored or out in self.layout.in_place:
                    continue
                old = next((x for x in dying if self._may_take_over(step, x, out)), None)
                if old is not None:
                    dying.remove(old)
                    self.layout.taken_over[out] = old

    def _is_needed_last(self, x: Variable, k: int) -> bool:
        """Whether a value in the workspace is read by step `k` alone."""
        elsewhere = x in self.layout.arguments or x in self.layout.in_place
        return x in self.made_at and x in self.schedule.stored and set(self.read_at[x]) == {k} and not elsewhere

    def _may_take_over(self, step: Region | LoopStep, old: Variable, new: Variable) -> bool:
        """Whether a step may write a new value over one that it reads."""
        if isinstance(step, LoopStep):
            start, places = step.node.op.starts_from, self.schedule.places(step.node)
            reads_it = [k for k, place in places.items() if place.base is old]
            return start is not None and reads_it == [start] and self._is_full(step, start)
        lengths = self.shapes.of(old)
        alike = (old.dtype, lengths) == (new.dtype, self.shapes.of(new)) and lengths != ()
        return alike and self._is_read_where_written(step, old, new)

    def _fill_slots(self) -> None:
        """Memory for what has none yet, in the order of the steps; a slot is taken again once its values are dead."""
        layout = self.layout
        groups: dict[Variable, list[Variable]] = {}
        for x in sorted(self.made_at, key=self.made_at.__getitem__):
            if x in layout.taken_over:
                layout.first_of[x] = layout.first_of.get(layout.taken_over[x], layout.taken_over[x])
            first = layout.first_of.get(x, x)
            groups.setdefault(first, []).append(x)
        for first, members in groups.items():
            if first not in self.schedule.stored or first in layout.in_place:
                continue
            argument = next((layout.arguments[x] for x in members if x in layout.arguments), None)
            if argument is not None:
                layout.arguments.update(dict.fromkeys(members, argument))
                continue
            end = max(k for x in members for k in self.read_at.get(x, [self.made_at[x]]))
            slot = self._take_slot(self._bytes(first), self.made_at[first], end)
            layout.slot_of.update(dict.fromkeys(members, slot))

    def _take_slot(self, size: ir.Expr, start: int, end: int) -> int:
        """A slot for a value made at step `start` and read last at `end`; asked for in the order of `start`."""
        while self._busy and self._busy[0][0] <= start:
            _, number = heappop(self._busy)
            heappush(self._free.setdefault(_kind(self.layout.slots[number]), []), number)
        free = self._free.get(_kind(size))
        if free:
            number = heappop(free)
            known = self.layout.slots[number]
            if isinstance(known, ir.Literal) and isinstance(size, ir.Literal):
                self.layout.slots[number] = ir.index(max(int(known.value), int(size.value)))
        else:
            number = len(self.layout.slots)
            self.layout.slots.append(size)
        heappush(self._busy, (end + 1, number))
        return number

    def _bytes(self, x: Variable) -> ir.Expr:
        total = multiply(element_count(self.elements.extents(x)), ir.index(itemsize(x.dtype)))
        return ONE if total == ZERO else total  # an address of its own, though nothing is stored there


def _kind(size: ir.Expr) -> ir.Expr | None:
    """What slots must have in common to stand for each other: the size, unless it is known and so can be made larger.
    """
    return None if isinstance(size, ir.Literal) else size
