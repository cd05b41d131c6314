"""What lowering decided, for people to read: what stayed apart, and where values share memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from codegen.c_expressions import expression
from codegen.cost import Polynomial, polynomial
from symgraph.graph.node import Variable
from symgraph.lower.buffers import Layout
from symgraph.lower.regions import LoopStep, Obstacle, Schedule


@dataclass(frozen=True)
class Apart:
    """A value that one step makes and another reads; `why` the reader is not in the step that makes it."""

    value: Variable
    reader: Variable
    why: Obstacle


@dataclass(frozen=True)
class Block:
    """A part of the workspace: its size in bytes, as a C expression of lengths, and the values that are kept there."""

    bytes: str
    values: tuple[Variable, ...]
    size: Polynomial


@dataclass(frozen=True)
class Decisions:
    """What lowering decided about one program.

    apart: values that go through memory because maker and reader are different steps
    in_place: {shared variable: the new value computed in its memory}
    copied: {shared variable: why its new value was computed elsewhere and copied}
    taken_over: {value: operand in whose memory it is computed}
    delivered: values computed right in the arrays that the caller gets
    workspace: the other values in memory
    """

    apart: tuple[Apart, ...]
    in_place: Mapping[Variable, Variable]
    copied: Mapping[Variable, Obstacle]
    taken_over: Mapping[Variable, Variable]
    delivered: tuple[Variable, ...]
    workspace: tuple[Block, ...]


def decisions(schedule: Schedule, layout: Layout) -> Decisions:
    """The decisions that a schedule and a layout stand for."""
    kept: list[list[Variable]] = [[] for _ in layout.slots]
    written_over = set(layout.taken_over.values())
    for x, slot in layout.slot_of.items():
        kept[slot].append(x)
    return Decisions(
        tuple(_apart(schedule)),
        {s: x for x, s in layout.in_place.items()},
        dict(layout.obstacles),
        dict(layout.taken_over),
        tuple(x for x in layout.arguments if x not in written_over),
        tuple(
            Block(expression(slot), tuple(values), polynomial(slot))
            for slot, values in zip(layout.slots, kept, strict=True)
        ),
    )


def _apart(schedule: Schedule) -> list[Apart]:
    maker = {x: step for step in schedule.steps for x in step.made}
    found: list[Apart] = []
    for step in schedule.steps:
        if isinstance(step, LoopStep):
            for base in dict.fromkeys(place.base for place in schedule.places(step.node).values()):
                if schedule.root(base) in maker:
                    found.append(Apart(base, step.node.output, Obstacle("the reader takes it whole")))
            continue
        for node in step.nodes:
            for x in dict.fromkeys(e.array for e in schedule.reads[node]):
                assert isinstance(x, Variable)
                root = schedule.root(x)
                if root not in maker or (maker[root] is step and root is x):
                    continue
                if isinstance(maker[root], LoopStep):
                    why = Obstacle("it is made by a step of its own")
                elif root is not x:
                    why = Obstacle("it is read with other lengths than it was made with")
                else:
                    why = schedule.obstacles.get(node) or Obstacle("the reader waits for other operands, made later")
                found.append(Apart(x, node.output, why))
    return found
