"""What the compiler did with a function, and why: rules that fired, values that share loops and memory, casts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from symgraph.compiler import Variant
from symgraph.graph.node import Variable
from symgraph.graph.printing import excerpt, name_of
from symgraph.graph.traverse import consumers, toposort
from symgraph.lower.decisions import Decisions
from symgraph.lower.program import Lowered
from symgraph.ops.elementwise import Cast
from symgraph.rewrite.engine import Step as Firing

MOST_STEPS = 30  # shown in the text; `data` has all
MOST_VALUES = 12  # of a step
MOST_CASTS = 20
LONGEST_LINE = 60  # characters of the user's line


@dataclass(frozen=True, repr=False)
class Explanation:
    """What became of a function. `str` is a report; `data` the same as lists, dicts, numbers and texts.

    data: {
        "function": its name
        "rules": [{"rule", "why", "count", "before", "after", "line"}], in the order in which they first fired; the
            example is the first firing, whose sides read alike where the rule changed only how it is computed
        "steps": [{"name", "kind": "nest", "loops" or "call", "values": [{"value", "line", "stored"}],
            "apart": [{"value", "reader", "why"}]}]; `apart` are the values made elsewhere that the step reads
        "memory": {"in_place": [{"shared", "value"}], "copied": [{"shared", "why"}], "taken_over": [{"value",
            "operand"}], "delivered": [value], "workspace": [{"bytes", "values": [value]}]}; a part of the workspace
            without values holds partial results of the blocks of a loop
        "casts": [{"from", "to", "value", "reader", "dtypes", "line", "derived"}]: changes of dtype in the graph as
            written; `dtypes` are those that the reader was given, `derived` says whether symgraph wrote it
    }
    """

    data: Mapping[str, Any]

    def __str__(self) -> str:
        return "\n".join(_report(self.data))

    __repr__ = __str__


def explanation(name: str, variant: Variant) -> Explanation:
    """The explanation of one compilation of a function called `name`."""
    programs = [lowered for lowered, _ in variant.launcher.programs]
    return Explanation({
        "function": name,
        "rules": list(_rules(variant.rewritten.trace)),
        "steps": [step for lowered in programs for step in _steps(lowered)],
        "memory": _memory([lowered.decisions for lowered in programs]),
        "casts": list(_casts(variant.written)),
    })


def _rules(trace: Iterable[Firing]) -> Iterator[dict[str, Any]]:
    counts: dict[str, int] = {}
    first: dict[str, Firing] = {}
    for firing in trace:
        counts[firing.rule] = counts.get(firing.rule, 0) + 1
        first.setdefault(firing.rule, firing)
    for rule, firing in first.items():
        yield {
            "rule": rule, "why": firing.why, "count": counts[rule], "before": excerpt(firing.before),
            "after": _excerpt(firing.after), "line": _line(firing.before),
        }  # fmt: skip


def _excerpt(x: Variable) -> str:
    """The expression, also of a variable that has a name but no owner."""
    return str(x) if x.owner is None else excerpt(x)


def _line(x: Variable) -> str:
    text = x.origin.text
    return f"{x.origin}  {text if len(text) <= LONGEST_LINE else f'{text[: LONGEST_LINE - 1]}…'}".rstrip()


def _label(x: Variable) -> str:
    return f"{name_of(x)} = {excerpt(x)}" if name_of(x) and x.owner is not None else str(x)


def _steps(lowered: Lowered) -> Iterator[dict[str, Any]]:
    apart: dict[Variable, list[dict[str, str]]] = {}
    for entry in lowered.decisions.apart:
        told = {"value": str(entry.value), "reader": str(entry.reader), "why": str(entry.why)}
        apart.setdefault(entry.reader, []).append(told)
    for step in lowered.steps:
        stored = set(step.stored)
        values = [{"value": _label(x), "line": _line(x), "stored": x in stored} for x in step.made]
        yield {
            "name": step.name,
            "kind": step.kind,
            "values": values,
            "apart": [told for x in step.made for told in apart.get(x, ())],
        }


def _memory(decided: Sequence[Decisions]) -> dict[str, Any]:
    return {
        "in_place": [{"shared": str(s), "value": _excerpt(x)} for d in decided for s, x in d.in_place.items()],
        "copied": [{"shared": str(s), "why": str(why)} for d in decided for s, why in d.copied.items()],
        "taken_over": [{"value": str(x), "operand": str(y)} for d in decided for x, y in d.taken_over.items()],
        "delivered": [str(x) for d in decided for x in d.delivered],
        "workspace": [{"bytes": b.bytes, "values": list(map(str, b.values))} for d in decided for b in d.workspace],
    }


def _casts(written: Sequence[Variable]) -> Iterator[dict[str, Any]]:
    users = consumers(written)
    for node in toposort(written):
        if not isinstance(node.op, Cast):
            continue
        (x,), out = node.inputs, node.output
        for user in dict.fromkeys(users.get(out, ())):
            dtypes = [_given(v).dtype for v in user.inputs]
            yield _cast(x, out, user.output, dtypes)
        if out not in users:
            yield _cast(x, out, None, [])


def _given(x: Variable) -> Variable:
    """The operand before it was cast."""
    return x.owner.inputs[0] if x.owner is not None and isinstance(x.owner.op, Cast) else x


def _cast(x: Variable, out: Variable, reader: Variable | None, dtypes: list[str]) -> dict[str, Any]:
    return {
        "from": x.dtype, "to": out.dtype, "value": str(x), "reader": str(reader) if reader is not None else "",
        "dtypes": dtypes, "line": _line(out), "derived": out.origin.derived,
    }  # fmt: skip


# -- the text

def _report(data: Mapping[str, Any]) -> Iterator[str]:
    rules, steps, memory, casts = data["rules"], data["steps"], data["memory"], data["casts"]
    firings, values = sum(rule["count"] for rule in rules), sum(len(step["values"]) for step in steps)
    rewritten = f"{_count(firings, 'rewrite')} by {_count(len(rules), 'rule')}"
    yield f"{data['function'] or 'a function'}: {rewritten}; {_count(values, 'value')} in {_count(len(steps), 'step')}"
    yield from _section("Rules that fired", [list(_rule_lines(rule)) for rule in rules], len(rules))
    shown = [list(_step_lines(k, step)) for k, step in enumerate(steps[:MOST_STEPS], 1)]
    yield from _section("Steps, in the order in which they run", shown, len(steps))
    yield from _section("Memory", [[line] for line in _memory_lines(memory)], 0)
    yield from _section("Changes of dtype", [[line] for line in map(_cast_line, casts[:MOST_CASTS])], len(casts))


def _section(title: str, items: Sequence[list[str]], total: int) -> Iterator[str]:
    if items:
        yield ""
        yield title
        yield from (f"  {line}" for lines in items for line in lines)
        if total > len(items):
            yield f"  … and {total - len(items)} more; `.data` has them all"


def _rule_lines(rule: Mapping[str, Any]) -> Iterator[str]:
    times = f" ×{rule['count']}" if rule["count"] > 1 else ""
    yield f"{rule['rule']}{times}: {rule['why']}" if rule["why"] else f"{rule['rule']}{times}"
    after = f"  ->  {rule['after']}" if rule["after"] != rule["before"] else ""
    yield f"    {rule['before']}{after}    {rule['line']}"


def _step_lines(number: int, step: Mapping[str, Any]) -> Iterator[str]:
    values = step["values"]
    stored = sum(v["stored"] for v in values)
    what = {
        "call": "a library call", "loops": "an op with loops of its own",
        "nest": f"{len(values)} values in one nest of loops, {stored} of them kept in memory" if len(values) > 1
        else "one value, in a nest of its own",
    }  # fmt: skip
    yield f"{number}. {step['name']}: {what[step['kind']]}"
    for value in values[:MOST_VALUES]:
        yield f"    {value['value']}    {value['line'].partition('  ')[0]}"
    if len(values) > MOST_VALUES:
        yield f"    … and {len(values) - MOST_VALUES} more"
    apart = list({(told["value"], told["why"]): told for told in step["apart"]}.values())
    if apart:
        yield "   reads, from other steps,"
        for told in apart[:MOST_VALUES]:
            yield f"    {told['value']}: {told['why']}"
        if len(apart) > MOST_VALUES:
            yield f"    … and {len(apart) - MOST_VALUES} more"


def _memory_lines(memory: Mapping[str, Any]) -> Iterator[str]:
    for entry in memory["in_place"]:
        yield f"{entry['shared']} is updated in place"
    for entry in memory["copied"]:
        yield f"{entry['shared']} is copied at the end: {entry['why']}"
    for entry in memory["taken_over"]:
        yield f"{entry['value']} is computed in the memory of {entry['operand']}, which nobody needs any more"
    if memory["delivered"]:
        yield f"computed right in the arrays that the caller gets: {_listed(memory['delivered'])}"
    for entry in memory["workspace"]:
        if entry["values"]:
            shared = "share" if len(entry["values"]) > 1 else "takes"
            yield f"workspace: {_listed(entry['values'])} {shared} {_bytes(entry['bytes'])}"
    partial = Counter(entry["bytes"] for entry in memory["workspace"] if not entry["values"])
    for size, times in partial.items():
        yield f"workspace: partial results of a loop's blocks take {f'{times} times ' * (times > 1)}{_bytes(size)}"


def _bytes(size: str) -> str:
    return f"{size} byte{'s' * (size != '1')}"


def _cast_line(cast: Mapping[str, Any]) -> str:
    """One change of dtype, and which operand asked for it."""
    made = f"{cast['from']} -> {cast['to']}: {cast['value']}"
    if cast["reader"]:
        made += f", for {cast['reader']}, whose operands are {' and '.join(cast['dtypes'])}"
    return f"{made}    {'derived from ' if cast['derived'] else ''}{cast['line']}"


def _listed(values: Sequence[str]) -> str:
    more = f", … and {len(values) - MOST_VALUES} more" if len(values) > MOST_VALUES else ""
    return ", ".join(values[:MOST_VALUES]) + more


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
