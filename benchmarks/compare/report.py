"""The tables: a row as it is measured, the whole as Markdown, the means at the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

from benchmarks.compare.measure import Measured
from benchmarks.compare.workloads import Workload

COMPILERS = "jax", "torch", "torch.compile", "pytensor", "pytensor-numba"


@dataclass(frozen=True)
class Needed:
    """What a workload must do: bytes to read and to write, operations of matrix products."""

    read: int
    written: int
    operations: int

    @classmethod
    def by(cls, workload: Workload) -> Needed:
        """Computed from its data."""
        return cls(workload.read, workload.written, workload.operations)


@dataclass(frozen=True)
class Row:
    """One workload as measured. `rate`: operations a second of the best matrix product found, 0 if none was."""

    workload: Workload
    needed: Needed
    measured: Mapping[str, Measured]
    rate: float = 0.0

    @property
    def refused(self) -> str:
        """Why the row must not be printed: what is wrong with symgraph's results. Empty if nothing is."""
        faults = [f"{name}: {self.measured[name].failed}" for name in OWN if name in self.measured
                  and self.measured[name].wrong]  # fmt: skip
        return "; ".join(faults)

    @property
    def own(self) -> float | None:
        """The time of symgraph: of the bound form where the row is about that."""
        return self.time("bound" if self.workload.bound else "symgraph")

    def time(self, name: str) -> float | None:
        """Seconds a call of one peer."""
        return self.measured[name].time if name in self.measured else None

    def best(self, among: Iterable[str] | None = None) -> tuple[str, float] | None:
        """The fastest peer and its time."""
        names = [n for n in self.measured if n not in (*OWN, LIMIT)] if among is None else among
        times = [(t, n) for n in names if (t := self.time(n)) is not None]
        return min(times)[::-1] if times else None

    def lead(self, among: Iterable[str] | None = None, bound: bool = False) -> float | None:
        """How many times faster than the best peer; `bound`: in the faster of the two forms."""
        best, own = self.best(among), self.own
        if bound and (other := self.time("bound")) is not None:
            own = min(own, other) if own is not None else other
        return best[1] / own if best is not None and own is not None else None

    @property
    def limit(self) -> float | None:
        """Seconds that the machine needs at least: for the bytes as just measured, or for the operations."""
        parts = [self.time(LIMIT), self.needed.operations / self.rate if self.rate else None]
        return max((p for p in parts if p), default=None)

    @property
    def share(self) -> float | None:
        """The limit over symgraph's time."""
        return self.limit / self.own if self.limit and self.own else None

    @property
    def traffic(self) -> float | None:
        """Bytes that symgraph moves over the bytes that must be moved."""
        moved = self.measured["symgraph"].moved if "symgraph" in self.measured else None
        return moved / (self.needed.read + self.needed.written) if moved is not None else None


OWN, LIMIT = ("symgraph", "bound"), "limit"


def duration(seconds: float | None) -> str:
    """Three digits and a unit."""
    if seconds is None:
        return ""
    unit, scale = next((u, s) for u, s in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 0.0)) if seconds >= s)
    number = seconds / (scale or 1e-9)
    return f"{number:.{max(0, 2 - (number >= 10) - (number >= 100))}f} {unit}"


def times(number: float | None) -> str:
    return "" if number is None else f"{number:.2f}"


def share(number: float | None) -> str:
    return "" if number is None else f"{100 * number:.0f} %"


def cell(measured: Measured | None) -> str:
    """The time of a call, or why there is none."""
    if measured is None:
        return ""
    if measured.failed:
        return "failed" if measured.raised else "wrong" if measured.wrong else measured.failed.split(":")[0]
    return duration(measured.time)


HEAD = "best", "× best", "of limit", "bytes"


def summary(row: Row) -> list[str]:
    """The best peer, how many times faster symgraph is, its share of the limit, and bytes moved over bytes needed."""
    best = row.best()
    return [best[0] if best else "", times(row.lead()), share(row.share), times(row.traffic)]


def markdown(rows: Sequence[Row], names: Sequence[str], title: str, remarks: Sequence[str]) -> str:
    """All tables. `names`: the columns; `remarks`: how it was measured, and what is missing."""
    good, refused = [r for r in rows if not r.refused], [r for r in rows if r.refused]
    parts = [f"# {title}", "", *(f"* {remark}" for remark in remarks), ""]
    parts += ["## Time of a call", "", LEGEND, ""]
    for group in dict.fromkeys(r.workload.group for r in good):
        body = [
            [r.workload.name, *(cell(r.measured.get(n)) for n in names), *summary(r)]
            for r in good if r.workload.group == group
        ]  # fmt: skip
        parts += [f"### {group}", "", grid([["", *names, *HEAD], *body]), ""]
    parts += ["## Means", "", grid([["over all rows, geometric", "rows", "times faster"], *means(good)]), ""]
    for what, heading in (("cold", "cold"), ("warm", "from the disk cache")):
        pick = lambda m, what=what: duration(getattr(m, what))
        parts += [f"## Seconds from source to first results, {heading}", "", pivot(good, names, pick), ""]
    parts += ["## Memory: growth of the process while it is called, at most, MB", ""]
    parts += [pivot(good, names, lambda m: "" if m.memory is None else f"{m.memory / 1e6:.1f}"), ""]
    failures = [
        f"* {r.workload.label}: {name}: {m.failed}" for r in good for name, m in r.measured.items() if m.failed
    ]  # fmt: skip
    if refused:
        parts += ["## Refused", "", *(f"* {r.workload.label}: {r.refused}" for r in refused), ""]
    if failures:
        parts += ["## Not measured", "", *failures, ""]
    return "\n".join(parts)


LEGEND = (
    "Medians of interleaved rounds. *× best*: time of the best peer over symgraph's. *of limit*: time in which the "
    "machine moves the bytes that must be moved, or does the matrix products, over symgraph's. *bytes*: that symgraph "
    "moves, over those that must be moved; more than 1 may still stay in the caches. *bound*: symgraph with arguments "
    "and results bound to arrays beforehand."
)


def pivot(rows: Sequence[Row], names: Sequence[str], pick) -> str:
    """A table of one number of each peer."""
    body = []
    for row in rows:
        cells = [pick(row.measured[n]) if n in row.measured else "" for n in names]
        if any(cells):
            body.append([row.workload.name, *cells])
    return grid([["", *names], *body])


def means(rows: Sequence[Row]) -> list[list[str]]:
    """Geometric means of how many times faster symgraph is: what is compared, over how many rows, and the mean."""
    table = []
    for what, among, bound in (
        ("than the best peer of each", None, False),
        ("than the best peer of each, symgraph bound where that is measured", None, True),
        ("than the best of JAX, torch and PyTensor", COMPILERS, False),
    ):
        leads = [lead for r in rows if (lead := r.lead(among, bound)) is not None]
        if leads:
            table.append([what, str(len(leads)), times(exp(sum(map(log, leads)) / len(leads)))])
    return table


def grid(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its columns aligned for those who read the source."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]
    lines = [[c.ljust(w) if k == 0 else c.rjust(w) for k, (c, w) in enumerate(zip(row, widths))] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])


class Live:
    """The rows on the terminal, as they come."""

    def __init__(self, names: Sequence[str], label: int):
        self.names = names
        self.label = label
        self.widths = [max(10, len(name) + 1) for name in names]
        self.group = ""

    def show(self, row: Row) -> None:
        """Print a row; one whose results are wrong is refused."""
        if row.workload.group != self.group:
            self.group = row.workload.group
            self._line(f"\n{self.group.upper()}", self.names, HEAD)
        if row.refused:
            print(f"{row.workload.name:{self.label}}  REFUSED: {row.refused}", flush=True)
            return
        self._line(row.workload.name, [cell(row.measured.get(n)) for n in self.names], summary(row))
        for name, m in row.measured.items():
            if m.wrong:
                print(f"    {name}: {m.failed}", flush=True)

    def _line(self, label: str, cells: Sequence[str], ends: Sequence[str]) -> None:
        shown = "".join(f"{c[: w - 1]:>{w}}" for c, w in zip(cells, self.widths))
        first, *rest = ends
        end = "".join(f"{x:>10}" for x in rest)
        print(f"{label:{self.label + label.count(chr(10))}}{shown}{first:>16}{end}", flush=True)
