"""What a compiled function shows of itself: its C, what it costs, where its time goes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from codegen.cost import Cost
from codegen.machine import Machine
from symgraph.lower.steps import Step


class CSource(str):
    """C text. Printed as it is; in a notebook it is highlighted, if pygments is installed."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        try:
            from pygments import highlight
            from pygments.formatters import HtmlFormatter
            from pygments.lexers import CLexer
        except ImportError:
            import html

            return f"<pre>{html.escape(self)}</pre>"
        return str(highlight(str(self), CLexer(), HtmlFormatter(noclasses=True)))


@dataclass(frozen=True)
class CostReport:
    """What a function does at the least, as formulas in the lengths of its arguments.

    steps: (name in C, its cost), in order; `total` is their sum
    """

    steps: tuple[tuple[str, Cost], ...]

    @property
    def total(self) -> Cost:
        """All steps together."""
        return sum((cost for _, cost in self.steps), Cost())

    def at(self, **sizes: int) -> dict[str, int]:
        """Operations, bytes read and bytes written where the lengths have these values. Raises KeyError if one is
        missing.
        """
        total = self.total
        return {name: getattr(total, name)(sizes) for name in ("operations", "read", "written")}

    def __str__(self) -> str:
        rows = [
            (name, str(c.operations), str(c.read), str(c.written)) for name, c in (*self.steps, ("total", self.total))
        ]
        return table(("step", "operations", "bytes read", "bytes written"), rows)

    __repr__ = __str__


@dataclass(frozen=True)
class Timing:
    """The time of one step: seconds in all calls, and what it did in one call at the sizes of the last.

    single: no result is float64, so that the limit is that of float32
    """

    name: str
    lines: tuple[str, ...]
    seconds: float
    operations: int
    bytes: int
    single: bool = False


@dataclass(frozen=True)
class Profile:
    """Where the time of a function went.

    calls: of the function since it was compiled
    seconds: in the steps of all calls; what lies before, between and after them is not counted
    """

    name: str
    calls: int
    timings: tuple[Timing, ...]
    machine: Machine

    @property
    def seconds(self) -> float:
        """In all steps, of all calls."""
        return sum(t.seconds for t in self.timings)

    @property
    def by_line(self) -> dict[str, float]:
        """Seconds by the user's line; a step that several lines share is divided among them."""
        return {t.name: t.seconds for t in self._lines()}

    def _lines(self) -> list[Timing]:
        """The steps' times, operations and bytes by the user's line, the slowest first."""
        lines: dict[str, Timing] = {}
        for t in self.timings:
            for line in t.lines:
                old, share = lines.get(line, Timing(line, (), 0.0, 0, 0, t.single)), len(t.lines)
                operations, moved = old.operations + t.operations // share, old.bytes + t.bytes // share
                single = old.single and t.single
                lines[line] = Timing(line, (), old.seconds + t.seconds / share, operations, moved, single)
        return sorted(lines.values(), key=lambda t: -t.seconds)

    def __str__(self) -> str:
        count = f"{len(self.timings)} step{'' if len(self.timings) == 1 else 's'}"
        head = f"{self.name}: {self.calls} calls, {_seconds(self.seconds)} in {count}"
        whole = self.seconds or 1.0
        rates = ("time", "share", "GFLOP/s", "GB/s", "of the limit")

        def row(t: Timing, *words: str) -> tuple[str, ...]:
            return (*words, _seconds(t.seconds), f"{100 * t.seconds / whole:.1f} %", *self._rates(t))

        steps = [row(t, t.name, ", ".join(t.lines)) for t in sorted(self.timings, key=lambda t: -t.seconds)]
        lines = [row(t, t.name) for t in self._lines()]
        return "\n\n".join([head, table(("step", "lines", *rates), steps), table(("line", *rates), lines)])

    __repr__ = __str__

    def _rates(self, t: Timing) -> tuple[str, str, str]:
        """GFLOP/s, GB/s, and the time that the machine's limits allow over the time taken."""
        if not t.seconds:
            return "", "", ""
        operations, moved = self.calls * t.operations / t.seconds, self.calls * t.bytes / t.seconds
        share = max(operations / self.machine.fastest(t.single), moved / self.machine.bandwidth)
        return f"{operations / 1e9:.2f}", f"{moved / 1e9:.2f}", f"{100 * share:.0f} %"


def profile(
    name: str, calls: int, steps: Sequence[Step], seconds: Iterable[float], sizes: Mapping[str, int], machine: Machine
) -> Profile:
    """The profile of a function from the clocks of its steps; `sizes` are those of the last call."""
    timings = []
    for step, spent in zip(steps, seconds, strict=True):
        lines = tuple(dict.fromkeys(str(x.origin) for x in step.made))
        moved = step.cost.read(sizes) + step.cost.written(sizes)
        single = not any(x.dtype == "float64" for x in step.made)
        timings.append(Timing(step.name, lines, spent, step.cost.operations(sizes), moved, single))
    return Profile(name, calls, tuple(timings), machine)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, the first at the left, the others at the right."""
    rows = [head, *rows]
    widths = [max(len(row[k]) for row in rows) for k in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _seconds(value: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{value / size:.2f} {unit}"
    return f"{value / 1e-6:.2f} us"
