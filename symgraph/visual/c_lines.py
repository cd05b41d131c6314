"""Which lines of the C belong to which step: where its kernel is defined, and where it is called."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from codegen import ir
from codegen.c_expressions import comment
from codegen.visit import statements
from symgraph.graph.node import Variable
from symgraph.lower.program import Lowered
from symgraph.lower.steps import Step

Lines = tuple[int, int]  # first and last, counted from 1

_CALL = re.compile(r"\s+(\w+)\(")
_DEFINITION = re.compile(r"^(?:SG_KERNEL|static|int|void)\b.*?\b(\w+)\(")


@dataclass(frozen=True)
class Place:
    """Where a step is in the C.

    function: the name of what it calls; steps that differ in names only share a kernel
    call, definition: lines; None for a routine of the library and for what the compiler was given in other words
    """

    function: str
    call: Lines | None
    definition: Lines | None


def places(lowered: Lowered, text: str) -> list[Place]:
    """The place of each step of a program in its C."""
    lines = text.split("\n")
    defined = dict(_definitions(lines))
    kernels = {kernel.name: kernel for kernel in lowered.program.kernels}
    calls = [s.name for s in statements(lowered.program.run) if isinstance(s, ir.Call)]
    names = calls if len(calls) == len(lowered.steps) else [step.name for step in lowered.steps]
    made = _calls(lines, defined.get(lowered.program.name, (1, 0)))
    found = []
    for name in names:
        call = made[name].popleft() if made.get(name) else None
        found.append(Place(name, call, defined.get(_of_block(kernels[name])) if name in kernels else None))
    return found


def _of_block(kernel: ir.Kernel) -> str:
    """The name of the kernel that has the loops."""
    (first, *_) = kernel.body
    return first.call.name if isinstance(first, ir.InBlocks) else kernel.name


def comments(step: Step, place: Place, text: Sequence[str]) -> dict[int, Variable]:
    """The lines of the comment on a step that speak of one value each."""
    if place.definition is not None:
        first, last = place.definition
    elif place.call is not None:
        first, last = place.call
    else:
        return {}
    written = step.text.split("\n")
    if len(written) != len(step.stored):  # a name with a line break in it
        return {}
    value = {_bare(comment(line)): x for line, x in zip(written, step.stored, strict=True)}
    found = {}
    for number in range(first, last + 1):
        x = value.get(_bare(text[number - 1]))
        if x is not None:
            found[number] = x
    return found


def _bare(line: str) -> str:
    return line.strip().removeprefix("/*").removesuffix("*/").strip()


def _definitions(lines: Sequence[str]) -> Iterator[tuple[str, Lines]]:
    """The functions, each with the comment above it."""
    start, name, noted = 0, "", 0
    for number, line in enumerate(lines, 1):
        if line.startswith("/*") and not name:
            noted = number
        elif not line.strip() and not name:
            noted = 0
        elif not name and (match := _DEFINITION.match(line)):
            name, start = match.group(1), noted or number
        if name and line == "}":
            yield name, (start, number)
            name, noted = "", 0
        elif name and line.endswith(";") and not line.startswith(" "):
            name, noted = "", 0  # a declaration


def _calls(lines: Sequence[str], body: Lines) -> dict[str, deque[Lines]]:
    """For each function the calls of it in the lines of another, in order, each with the comment right above it."""
    found: dict[str, deque[Lines]] = {}
    first, last = body
    number = first
    while number <= last:
        match = _CALL.match(lines[number - 1])
        if match is None:
            number += 1
            continue
        end = number
        while end < last and not lines[end - 1].endswith(");"):
            end += 1
        start = number - 1 if lines[number - 2].lstrip().startswith("/*") else number
        found.setdefault(match.group(1), deque()).append((start, end))
        number = end + 1
    return found
