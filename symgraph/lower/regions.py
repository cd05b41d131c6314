"""Fusion: which nodes share a loop nest, and in which order nests and library calls run.

Every node gets a stage, in one pass over the graph. A node whose loops line up with those of the nest that makes its
operands joins that nest; otherwise it belongs to a later stage. Two nests of one stage never depend on each other, so
the result has no cycles by construction, and the pass is linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from codegen import ir
from codegen.offsets import ZERO, flat_offset
from codegen.visit import walk
from symgraph.graph.node import Apply, Variable
from symgraph.graph.traverse import toposort
from symgraph.lower.elements import LOOP_INDICES, Elements, is_loop_index, is_one, loop_index, squeeze

NODES_PER_REGION = 48  # a C function this long still compiles in a few hundredths of a second
MOVED_TOGETHER = 8  # nodes that move to their reader at once, at most


Axis = tuple[ir.Expr, Variable]  # an index and the length of its axis


@dataclass(eq=False)
class Region:
    """Nodes evaluated in one loop nest. `domain` are the lengths of its loops, outermost first."""

    stage: int
    domain: tuple[Variable, ...]
    nodes: list[Apply] = field(default_factory=list)

    @property
    def made(self) -> list[Variable]:
        """The values it computes."""
        return [node.output for node in self.nodes]


@dataclass(eq=False)
class LoopStep:
    """One node that brings its own loops or calls a library."""

    stage: int
    node: Apply

    @property
    def nodes(self) -> list[Apply]:
        """The node, as a region has several."""
        return [self.node]

    @property
    def made(self) -> list[Variable]:
        """The value it computes."""
        return [self.node.output]


@dataclass(frozen=True)
class Placement:
    """Where an operand in memory is found: in `base`, from `offset` elements on, its matrices perhaps by columns."""

    base: Variable
    offset: ir.Expr
    transposed: bool = False


class Obstacle(NamedTuple):
    """Why something could not be done; `{}` in the text stands for the variable it is about."""

    text: str
    about: Variable | None = None

    def __str__(self) -> str:
        return self.text.format(self.about)


@dataclass
class Schedule:
    """What `partition` found.

    steps: nests and library calls in an order in which they can run
    bodies: the element of each node that is evaluated in a nest, at the loop indices
    reads: the elements of values outside the node that each body takes
    aliases: values that are the memory of another, read with other lengths
    late: values that are complete only after the whole nest that makes them
    stored: values that need memory, because they are results or are read by another step
    placements: for each operand of a library call or of a reshape, where it is found
    obstacles: for nodes that did not join the nest that makes their operands, why
    """

    steps: list[Region | LoopStep] = field(default_factory=list)
    bodies: dict[Apply, ir.Expr] = field(default_factory=dict)
    reads: dict[Apply, list[ir.Element]] = field(default_factory=dict)
    late: set[Variable] = field(default_factory=set)
    stored: dict[Variable, None] = field(default_factory=dict)
    placements: dict[tuple[Apply, int], Placement] = field(default_factory=dict)
    aliases: dict[Variable, Placement] = field(default_factory=dict)
    obstacles: dict[Apply, Obstacle] = field(default_factory=dict)

    def places(self, node: Apply) -> dict[int, Placement]:
        """Where the operands of a node that are in memory are found, by their positions."""
        return {k: place for k in range(len(node.inputs)) if (place := self.placements.get((node, k))) is not None}

    def root(self, x: Variable) -> Variable:
        """The value whose memory `x` is, or is a part of."""
        while x in self.aliases:
            x = self.aliases[x].base
        return x

    def same_start(self, x: Variable) -> Variable:
        """The value whose first element is that of `x`, in the same place in memory."""
        while x in self.aliases and self.aliases[x].offset == ZERO:
            x = self.aliases[x].base
        return x


def partition(
    roots: Sequence[Variable], elements: Elements, waits: Iterable[tuple[Variable, Variable]] = (), fuse: bool = True
) -> Schedule:
    """Group what `roots` need into steps. `waits` are pairs (condition, variable computed only after it has been
    checked).

    The conditions are the first roots, each before those that depend on what it guards.
    """
    return _Partition(roots, elements, waits, NODES_PER_REGION if fuse else 1).run()


class _Partition:
    def __init__(
        self, roots: Sequence[Variable], elements: Elements, waits: Iterable[tuple[Variable, Variable]], limit: int
    ):
        self.elements = elements
        self.shapes = elements.shapes
        self.limit = limit
        self.roots = roots
        host = [x for x, value in self.shapes.values.items() if self.shapes.is_host(value)]
        self.order = toposort(roots, stop=host)
        self.position = {node: k for k, node in enumerate(self.order)}
        self.waits: dict[Variable, list[Variable]] = {}
        for condition, x in waits:
            self.waits.setdefault(x, []).append(condition)
        self.schedule = Schedule()
        self.producer: dict[Variable, Region | LoopStep] = {}
        self.reads = self.schedule.reads
        self.domains: dict[Apply, tuple[Variable, ...]] = {}
        self.complete: dict[Apply, int] = {}  # of reductions: inside how many loops they are complete
        self.late = self.schedule.late
        self.open: dict[tuple[int, tuple[Variable, ...]], list[Region]] = {}
        self.regions: list[Region] = []
        self.calls: list[LoopStep] = []

    def run(self) -> Schedule:
        copied = self._place_operands()
        self.wanted = {
            *self.roots,
            *(p.base for p in self.schedule.placements.values()),
            *(c for cs in self.waits.values() for c in cs),
        }
        for node in self.order:
            self._wait_with_operands(node)
            if node.op.alias:
                self._alias(node)
            elif hasattr(node.op, "loops"):
                self._call(node)
            elif not self.elements.is_inline(node) or node.output in copied:
                self._evaluate(node)
        self._drop_unneeded()
        self._find_stored()
        self._move_to_readers()
        self._join()
        self._merge()
        self._find_stored()
        steps: list[Region | LoopStep] = [*self.calls, *(r for r in self.regions if r.nodes)]
        first = {step: min(self.position[n] for n in step.nodes) for step in steps}
        self.schedule.steps = sorted(steps, key=lambda step: (step.stage, first[step]))
        return self.schedule

    # -- operands in memory

    def _place_operands(self) -> set[Variable]:
        """Find operands of calls and reshapes in memory; those that only re-index and must be written out."""
        inline = {node.output for node in self.order if self.elements.is_inline(node)}
        copied = {x for x in self.roots if x in inline and not self._is_host(x)}
        for node in self.order:
            if not (node.op.alias or hasattr(node.op, "loops")):
                continue
            for k, x in enumerate(node.inputs[:1] if node.op.alias else node.inputs):
                if x.ndim == 0 and not isinstance(self.elements.at(x, ()), ir.Element):
                    continue  # a scalar that is written out at the call
                placement = None if x in copied else self._place(x, node.op.absorbs_transpose)
                if placement is None:
                    copied.add(x)
                    placement = Placement(x, ZERO)
                self.schedule.placements[node, k] = placement
        return copied

    def _place(self, x: Variable, absorbs_transpose: bool) -> Placement | None:
        """`x` as a contiguous part of a value in memory, if it is one."""
        lengths = self.shapes.of(x)
        index = loop_index(lengths)
        element = self.elements.at(x, index)
        if not isinstance(element, ir.Element):
            return None
        assert isinstance(element.array, Variable)
        base = element.array
        own = [(i, n) for i, n in zip(element.index, self.shapes.of(base), strict=True) if not is_one(n)]
        loops = [(i, n) for i, n in zip(index, lengths, strict=True) if not is_one(n)]
        offset = self._contiguous(own, loops)
        if offset is not None:
            return Placement(base, offset)
        if absorbs_transpose and len(lengths) >= 2 and not any(is_one(n) for n in lengths[-2:]):
            offset = self._contiguous(own, [*loops[:-2], loops[-1], loops[-2]])
        return Placement(base, offset, transposed=True) if offset is not None else None

    def _contiguous(self, own: Sequence[Axis], loops: Sequence[Axis]) -> ir.Expr | None:
        """Where the elements that `loops` run through in order start, if they lie in the array `own` without gaps."""
        if len(own) < len(loops):  # elements are read several times
            return None
        fixed = own[: len(own) - len(loops)]
        starts = [i for i, _ in fixed]
        if not all(map(_loop_free, starts)):
            return None
        for k, ((i, n), (loop, m)) in enumerate(zip(own[len(fixed) :], loops, strict=True)):
            start = _start(i, loop)
            if start is None or (k > 0 and (n is not m or start != ZERO)):
                return None
            starts.append(start)
        return flat_offset(starts, [self.elements.size(n) for _, n in own])

    def _is_host(self, x: Variable) -> bool:
        value = self.shapes.values.get(x)
        return value is not None and self.shapes.is_host(value)

    # -- stages

    def _wait_with_operands(self, node: Apply) -> None:
        """Who evaluates an operand in place also waits for what must hold before the operand may be evaluated."""
        inherited = [c for x in node.inputs if x.owner is not None and x.owner.op.inline for c in self.waits.get(x, ())]
        if inherited:
            self.waits[node.output] = list(dict.fromkeys([*self.waits.get(node.output, ()), *inherited]))

    def _alias(self, node: Apply) -> None:
        placement = self.schedule.placements[node, 0]
        self.schedule.aliases[node.output] = placement
        if placement.base in self.producer:
            self.producer[node.output] = self.producer[placement.base]

    def _call(self, node: Apply) -> None:
        operands = [place.base for place in self.schedule.places(node).values()]
        step = LoopStep(1 + self._stage([*operands, *self.waits.get(node.output, ())]), node)
        self.calls.append(step)
        self.producer[node.output] = step

    def _stage(self, values: Iterable[Variable]) -> int:
        return max((self.producer[x].stage for x in values if x in self.producer), default=-1)

    def _evaluate(self, node: Apply) -> None:
        body, domain = self._body(node)
        self.schedule.bodies[node] = body
        self.domains[node] = domain
        parts = list(walk(body))
        reads = self.reads[node] = [e for e in parts if isinstance(e, ir.Element)]
        reductions = [e for e in parts if isinstance(e, ir.Reduce) and _over(e, domain)]
        if reductions:
            self.complete[node] = len(domain) - len(_over(reductions[0], domain))
        region = self._region_for(node, domain, reads)
        if len(domain) > len(region.domain):
            region.domain = domain
        region.nodes.append(node)
        self.producer[node.output] = region
        late = self.complete.get(node) == 0 or not all(_trailing(e, domain) for e in reductions)
        if late or any(e.array in self.late and self._made_in(e, region) for e in reads):
            self.late.add(node.output)  # it is complete only after the whole nest

    def _body(self, node: Apply) -> tuple[ir.Expr, tuple[Variable, ...]]:
        lengths = self.elements.domain(node)
        index = loop_index(lengths)
        body = self.elements.apply(node, index)
        reductions = [e for e in walk(body) if isinstance(e, ir.Reduce)]
        if any(e.kind in ("argmax", "argmin") for e in reductions) and not _trailing(reductions[0], squeeze(lengths)):
            axes = node.op.axes  # type: ignore[attr-defined]
            order = [k for k in range(len(lengths)) if k not in axes] + list(axes)
            lengths = tuple(lengths[k] for k in order)
            inner = dict(zip(order, loop_index(lengths), strict=True))
            body = self.elements.apply(node, tuple(inner[k] for k in range(len(order))))
        return body, squeeze(lengths)

    def _region_for(self, node: Apply, domain: tuple[Variable, ...], reads: Sequence[ir.Element]) -> Region:
        stage = 1 + self._stage(self.waits.get(node.output, ()))
        for e in reads:
            step = self.producer.get(e.array)  # type: ignore[call-overload]
            if step is not None:
                stage = max(stage, step.stage + isinstance(step, LoopStep))
        near = {r for e in reads if isinstance(r := self.producer.get(e.array), Region) and r.stage == stage}  # type: ignore[call-overload]
        if len(near) == 1:
            (region,) = near
            obstacle = self._obstacle(node, domain, reads, region)
            if obstacle is None:
                return region
            self.schedule.obstacles[node] = obstacle
        elif near:
            self.schedule.obstacles[node] = Obstacle("it reads what several nests make side by side")
        stage += bool(near)
        arrays = {e.array for e in reads if e.index}
        for region in reversed(self.open.get((stage, domain), [])[-4:]):
            if len(region.nodes) < self.limit and region.domain == domain:
                if not domain or any(e.array in arrays for n in region.nodes for e in self.reads[n]):
                    return region
        region = Region(stage, domain)
        self.regions.append(region)
        self.open.setdefault((stage, domain), []).append(region)
        return region

    def _obstacle(
        self, node: Apply, domain: tuple[Variable, ...], reads: Sequence[ir.Element], region: Region
    ) -> Obstacle | None:
        """Why a node that reads values made in a region cannot be evaluated in its loops; None where it can."""
        shared = min(len(domain), len(region.domain))
        if len(region.nodes) >= self.limit:
            return Obstacle(f"the nest has {self.limit} values already, and takes no more")
        if domain[:shared] != region.domain[:shared]:
            return Obstacle("its loops run over other lengths")
        if domain and not region.domain:
            return Obstacle("it has loops, and what it reads has none")
        for e in reads:
            assert isinstance(e.array, Variable)
            if e.array in self.schedule.aliases and self.producer.get(e.array) is region:
                return Obstacle("it reads {}, the memory of what the nest makes", e.array)
            if self._made_in(e, region):
                if not self._aligned(e):
                    return Obstacle("it reads other elements of {} than the one just made", e.array)
                if domain and e.array in self.late:
                    return Obstacle("it reads {}, which is complete only after the loops that make it", e.array)
        if self._clash([*region.nodes, node]):
            return Obstacle("it needs a sum again in a later pass over the loops that make it")
        return None

    def _clash(self, nodes: Sequence[Apply]) -> bool:
        """Whether nodes in one nest would need a reduction in a later pass than the one that makes it.

        A sum over the inner loops is there during one iteration of the outer one. A node that needs it, and a sum over
        the outer loop as well, waits for the next pass over that loop, in which the first sum is gone; unless the first
        sum needs the second itself, and so is made in the same pass as the node.
        """
        complete = {n.output: self.complete[n] for n in nodes if n in self.complete}
        if len(set(complete.values())) < 2:
            return False
        needed: dict[Variable, set[Variable]] = {}  # by each value: reductions, directly or not
        beside: dict[Variable, set[Variable]] = {}  # those of them that are needed in the same iteration
        for node in sorted(nodes, key=self.position.__getitem__):
            x = node.output
            read = [e.array for e in self.reads[node] if e.array in beside]
            needed[x] = {r for y in read for r in needed[y]}
            beside[x] = {r for y in read for r in beside[y]}
            for inner in beside[x]:
                if any(complete[r] < complete[inner] and r not in needed[inner] for r in needed[x]):
                    return True
            if x in complete:
                needed[x] |= {x}
                beside[x] = {x, *(r for r in beside[x] if complete[r] <= complete[x])}
        return False

    def _aligned(self, e: ir.Element) -> bool:
        """Whether an element is that of the present iteration: its index is the first loop indices."""
        own = tuple(i for i, n in zip(e.index, self.shapes.of(e.array), strict=True) if not is_one(n))  # type: ignore[arg-type]
        return own == LOOP_INDICES[: len(own)]

    def _made_in(self, e: ir.Element, region: Region) -> bool:
        x = e.array
        assert isinstance(x, Variable)
        return self.producer.get(x) is region and x not in self.schedule.aliases

    # -- after all nodes have a stage

    def _drop_unneeded(self) -> None:
        """Leave out what only lengths and bounds were made of: the plan computes them."""
        needed: set[object] = set(self.wanted)
        for node in reversed(list(self.reads)):
            if node.output in needed:
                needed.update(e.array for e in self.reads[node])
                continue
            region = self.producer.pop(node.output)
            assert isinstance(region, Region)
            region.nodes.remove(node)
            del self.reads[node], self.schedule.bodies[node]

    def _find_stored(self) -> None:
        """A value needs memory if it is a result, an operand of a call, or read in another step than its own."""
        stored: dict[Variable, None] = dict.fromkeys(x for x in self.roots if not self._is_host(x))
        for placement in self.schedule.placements.values():
            stored.setdefault(placement.base)
        for condition in (c for cs in self.waits.values() for c in cs):
            stored.setdefault(condition)
        for node, reads in self.reads.items():
            here = self.producer[node.output]
            for e in reads:
                assert isinstance(e.array, Variable)
                if self.producer.get(e.array) is not here or e.array in self.schedule.aliases:
                    stored.setdefault(e.array)
        self.schedule.stored = stored

    def _move_to_readers(self) -> None:
        """Move cheap nodes to the one later nest that needs them, where that saves storing them."""
        readers: dict[Variable, list[tuple[Apply, ir.Element]]] = {}
        for node, reads in self.reads.items():
            for e in reads:
                readers.setdefault(e.array, []).append((node, e))  # type: ignore[arg-type]
        for node in reversed(list(self.reads)):
            x = node.output
            here = self.producer[x]
            homes = {self.producer[n.output] for n, _ in readers.get(x, ())}
            if len(homes) != 1 or not isinstance(here, Region) or not self._may_move(node):
                continue
            (home,) = homes
            domain = self.domains[node]
            if home is here or not isinstance(home, Region) or not domain:
                continue
            if home.domain[: len(domain)] != domain or not all(self._aligned(e) for _, e in readers[x]):
                continue
            moving = self._read_here_only(node, here, readers)
            newly = {e.array for n in moving for e in self._unstored(n, here)} - {n.output for n in moving}
            if len(newly) > 1 or len(home.nodes) + len(moving) >= 2 * self.limit or self._clash([*home.nodes, *moving]):
                continue
            here.nodes = [n for n in here.nodes if n not in moving]
            home.nodes = sorted([*home.nodes, *moving], key=self.position.__getitem__)
            for n in moving:
                self.producer[n.output] = home
            self.schedule.stored.pop(x, None)
            self.schedule.stored.update(dict.fromkeys(newly))  # type: ignore[arg-type]

    def _may_move(self, node: Apply) -> bool:
        """Whether a node is cheap to compute where it is used, and nobody else wants it."""
        return node.output not in self.wanted and not node.op.reduced and node.output not in self.waits

    def _unstored(self, node: Apply, region: Region) -> list[ir.Element]:
        """What a node reads that a region makes and keeps to itself."""
        return [e for e in self.reads[node] if self._made_in(e, region) and e.array not in self.schedule.stored]

    def _read_here_only(
        self, node: Apply, region: Region, readers: Mapping[Variable, Sequence[tuple[Apply, ir.Element]]]
    ) -> set[Apply]:
        """A node and the few before it in its nest that only it, or another of them, reads."""
        found = {node: None}
        stack = [node]
        while stack:
            for e in self._unstored(stack.pop(), region):
                assert isinstance(e.array, Variable)
                maker = e.array.owner
                if maker is None or maker in found or not self._may_move(maker) or len(found) >= MOVED_TOGETHER:
                    continue
                if self.domains[maker] == self.domains[node] and all(n in found for n, _ in readers[e.array]):
                    found[maker] = None
                    stack.append(maker)
        return set(found)

    def _join(self) -> None:
        """Nests become one that read each other's values, or the same ones, element by element."""
        seen: dict[tuple[int, object], list[Region]] = {}
        for region in sorted(self.regions, key=lambda r: r.stage):
            if not region.domain:
                continue
            home = self._maker(region)
            if home is None:
                keys = dict.fromkeys((region.stage, source) for source in self._sources(region))
                alike = dict.fromkeys(r for key in keys for r in seen.get(key, ()))
                home = next((r for r in alike if self._fit(r, region)), None)
                for key in keys:
                    seen.setdefault(key, []).append(region if home is None else home)
            if home is not None:
                self._move_all(region, home)

    def _maker(self, region: Region) -> Region | None:
        """The nest whose values another one reads, where all else that this one needs is there before."""
        makers: dict[Region, None] = {}
        before = [self.producer.get(c) for n in region.nodes for c in self.waits.get(n.output, ())]
        for node in region.nodes:
            for e in self.reads[node]:
                maker = self.producer.get(e.array)  # type: ignore[call-overload]
                if isinstance(maker, Region) and self._made_in(e, maker):
                    if maker is not region:
                        makers[maker] = None
                elif maker is not None:
                    before.append(maker)
        home = max(makers, key=lambda r: r.stage, default=None)
        if home is None or not home.domain or not self._fit(home, region):
            return None
        before += [r for r in makers if r is not home]
        if any(step is not None and step.stage >= home.stage for step in before):
            return None
        made_there = [e for n in region.nodes for e in self.reads[n] if self._made_in(e, home)]
        return home if all(self._aligned(e) and e.array not in self.late for e in made_there) else None

    def _sources(self, region: Region) -> Iterator[object]:
        """The arrays that a nest reads, and the nests that make them."""
        for e in (e for n in region.nodes for e in self.reads[n] if e.index):
            yield e.array
            maker = self.producer.get(e.array)  # type: ignore[call-overload]
            if isinstance(maker, Region) and maker.domain:
                yield maker

    def _fit(self, home: Region, region: Region) -> bool:
        """Whether the loops of one nest are the outer ones of the other, and both are short enough for one."""
        shared = min(len(home.domain), len(region.domain))
        alike = home.domain[:shared] == region.domain[:shared] and shared > 0
        if not alike or len(home.nodes) + len(region.nodes) > self.limit:
            return False
        return not self._clash([*home.nodes, *region.nodes])

    def _move_all(self, region: Region, home: Region) -> None:
        home.nodes = sorted([*home.nodes, *region.nodes], key=self.position.__getitem__)
        home.domain = max(home.domain, region.domain, key=len)
        for node in region.nodes:
            self.producer[node.output] = home
        region.nodes = []

    def _merge(self) -> None:
        """Let a nest become a part of the first nest that reads its values, where that does so element by element.

        Who else reads them comes later, and finds them in memory.
        """
        readers: dict[Region, dict[Region | LoopStep, list[ir.Element]]] = {r: {} for r in self.regions}
        whole = set()  # nests of which an array is another name for a value, or whose values decide about going on
        for condition in (c for cs in self.waits.values() for c in cs):
            whole.add(self.producer.get(condition))
        for (node, _), placement in self.schedule.placements.items():
            maker = self.producer.get(placement.base)
            if isinstance(maker, Region):
                if node.op.alias:
                    whole.add(maker)
                else:
                    readers[maker][self.producer[node.output]] = []
        for node, reads in self.reads.items():
            here = self.producer[node.output]
            for e in reads:
                maker = self.producer.get(e.array)  # type: ignore[call-overload]
                if isinstance(maker, Region) and maker is not here:
                    readers[maker].setdefault(here, []).append(e)
        merged: dict[Region | LoopStep, Region] = {}
        for region in sorted(self.regions, key=lambda r: -r.stage):  # what a home is merged into is known before
            if region in whole or not region.nodes or not region.domain:
                continue
            homes: dict[Region | LoopStep, list[ir.Element]] = {}
            for reader, elements in readers[region].items():
                homes.setdefault(merged.get(reader, reader), []).extend(elements)
            earliest = min((r.stage for r in homes), default=0)
            first = [r for r in homes if r.stage == earliest]
            if len(first) != 1 or not isinstance(home := first[0], Region):
                continue
            if all(self._aligned(e) and e.array not in self.late for e in homes[home]) and self._fit(home, region):
                self._move_all(region, home)
                merged[region] = home


def _trailing(reduction: ir.Reduce, domain: Sequence[Variable]) -> bool:
    """Whether a reduction runs over the innermost loops of a domain."""
    over = _over(reduction, domain)
    return over == LOOP_INDICES[len(domain) - len(over) : len(domain)]


def _over(reduction: ir.Reduce, domain: Sequence[Variable]) -> tuple[ir.Var, ...]:
    """The loops of a domain that a reduction runs over, outermost first."""
    return tuple(i for i in LOOP_INDICES[: len(domain)] if i in reduction.over)


def _loop_free(e: ir.Expr) -> bool:
    return not any(is_loop_index(part) or isinstance(part, (ir.Element, ir.Load)) for part in walk(e))


def _start(i: ir.Expr, loop: ir.Expr) -> ir.Expr | None:
    """`s` where `i` is `s + loop`, or None."""
    if i == loop:
        return ZERO
    match i:
        case ir.Operation(_, "add", (left, right)):
            if right == loop and _loop_free(left):
                return left
            if left == loop and _loop_free(right):
                return right
    return None
