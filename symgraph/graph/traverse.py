"""Walks over a graph, none of them recursive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

from symgraph.graph.node import Apply, Constant, Variable


def toposort(outputs: Iterable[Variable], stop: Iterable[Variable] = ()) -> list[Apply]:
    """The applications that `outputs` need, each after those it takes its inputs from.

    Variables in `stop` count as inputs: what makes them is left out.
    """
    order: list[Apply] = []
    leaves = stop if isinstance(stop, (Mapping, Set)) else set(stop)  # a large one is not copied
    done: set[Apply] = set()
    entered: set[Apply] = set()  # those whose inputs stand above them on the stack, or are done
    for output in outputs:
        stack = [output.owner] if output.owner is not None and output not in leaves else []
        while stack:
            node = stack.pop()
            if node in done:
                continue
            if node in entered:
                done.add(node)
                order.append(node)
                continue
            entered.add(node)
            stack.append(node)
            for x in reversed(node.inputs):
                if x.owner is not None and x.owner not in done and x not in leaves:
                    stack.append(x.owner)
    return order


def ancestors(outputs: Iterable[Variable], stop: Iterable[Variable] = ()) -> list[Variable]:
    """Every variable that `outputs` depend on and the outputs themselves, inputs before users, each once."""
    outputs = list(outputs)
    seen: dict[Variable, None] = {}
    for node in toposort(outputs, stop):
        for x in node.inputs:
            seen.setdefault(x)
        seen.setdefault(node.output)
    for x in outputs:
        seen.setdefault(x)
    return list(seen)


def leaves(outputs: Iterable[Variable], stop: Iterable[Variable] = ()) -> list[Variable]:
    """The inputs and shared variables that `outputs` depend on, in the order met; constants are no leaves."""
    stop = set(stop)
    return [x for x in ancestors(outputs, stop) if (x.owner is None or x in stop) and not isinstance(x, Constant)]


def consumers(outputs: Iterable[Variable]) -> dict[Variable, list[Apply]]:
    """For each variable in the graph the applications that use it, in order; one entry for each use."""
    users: dict[Variable, list[Apply]] = {}
    for node in toposort(outputs):
        for x in node.inputs:
            users.setdefault(x, []).append(node)
    return users


def substitute(outputs: Sequence[Variable], replacements: Mapping[Variable, Variable]) -> list[Variable]:
    """The same expressions with some variables replaced; what does not depend on them is shared, not copied.

    Types are inferred anew, so a replacement may know more lengths than what it stands for.
    Raises what an op raises where a replacement does not fit.
    """
    new: dict[Variable, Variable] = dict(replacements)
    for node in toposort(outputs, stop=replacements):
        inputs = tuple(new.get(x, x) for x in node.inputs)
        if any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
            new[node.output] = Apply(node.op, inputs, node.output.origin, node.output.name).output
    return [new.get(x, x) for x in outputs]
