"""`python -m benchmarks.compare`: measure, print, and write the tables and the figure."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.compare.measure import QUICK, ROOT, Effort, Worker, measure, start_workers
from benchmarks.compare.peers import PEERS, Peer
from benchmarks.compare.report import LIMIT, Live, Needed, Row, grid, markdown, means
from benchmarks.compare.workloads import PRODUCTS, Workload, workloads


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.compare", description="symgraph beside its peers")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="processors that each may use (1)")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="rows whose group/name has this part")
    parser.add_argument("--peers", metavar="NAME,NAME", help=f"besides symgraph, of {', '.join(peer_names())}; or none")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and rows, no peers that compile for long")
    parser.add_argument("--rounds", type=int, metavar="N", help="how many")
    parser.add_argument("--limit", type=float, metavar="SECONDS", help="that a peer may take to build a program")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks" / "results", metavar="FOLDER")
    parser.add_argument("--list", action="store_true", help="name the rows and peers, measure nothing")
    return parser.parse_args(words)


def peer_names() -> list[str]:
    """Those that are not symgraph's own."""
    return [p.name for p in PEERS if p.role == "peer"]


def chosen_peers(named: str | None, quick: bool) -> list[Peer]:
    """symgraph, the limit, and the peers asked for. Raises SystemExit for a name that no peer has."""
    if named is None:
        return [p for p in PEERS if not (quick and p.slow)]
    names = [] if named == "none" else named.split(",")
    if unknown := [n for n in names if n not in peer_names()]:
        raise SystemExit(f"no peer is called {', '.join(unknown)}; there are {', '.join(peer_names())}")
    return [p for p in PEERS if p.role != "peer" or p.name in names]


def chosen_rows(patterns: Sequence[str] | None, quick: bool) -> list[Workload]:
    """The workloads asked for. Raises SystemExit if there are none."""
    rows = [w for w in workloads(quick) if not patterns or any(p.lower() in w.label.lower() for p in patterns)]
    if not rows:
        raise SystemExit(f"no row has {' or '.join(patterns or ())}; --list names them")
    return rows


def product_rate(workers: Sequence[Worker], effort: Effort, folder: Path) -> tuple[float, str]:
    """Operations a second of the best matrix product found, and whose it is."""
    rates = [(0.0, "nobody")]
    for workload in PRODUCTS:
        row = measure(workload, [w for w in workers if w.peer.name != "bound"], replace(effort, again=False), folder)
        operations = workload.operations
        rates += [(operations / m.time, f"{name}'s, {workload.name}") for name, m in row.items() if m.time]
    return max(rates)


def main() -> int:
    """Measure as the command line says; 1 if a result of symgraph's was wrong."""
    options = arguments()
    peers, rows = chosen_peers(options.peers, options.quick), chosen_rows(options.only, options.quick)
    if options.list:
        print("\n".join([*(w.label for w in rows), "", *(p.name for p in peers)]))
        return 0
    effort = QUICK if options.quick else Effort()
    effort = replace(effort, rounds=options.rounds or effort.rounds, limit=options.limit or effort.limit)
    with tempfile.TemporaryDirectory(prefix="symgraph-bench-") as name:
        folder = Path(name)
        print("starting the peers", flush=True)
        workers, missing = start_workers(peers, options.threads, sys.executable, folder)
        try:
            if "symgraph" in missing:
                raise SystemExit(f"symgraph cannot be measured: {missing['symgraph']}")
            return run(workers, missing, rows, effort, options.threads, folder, options.out)
        finally:
            for worker in workers:
                worker.close()


def run(
    workers: Sequence[Worker], missing: dict[str, str], rows: Sequence[Workload], effort: Effort, threads: int,
    folder: Path, out: Path,
) -> int:  # fmt: skip
    """Measure with the workers that could be started, and write what was found."""
    names = [w.peer.name for w in workers if w.peer.name != LIMIT]
    versions = ", ".join(dict.fromkeys(f"{w.peer.package} {w.version}" for w in workers if w.version))
    remarks = [
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}; {versions}",
        f"{threads} thread{'s' * (threads > 1)}, {effort.rounds} rounds, {time.strftime('%Y-%m-%d %H:%M')}",
    ]
    remarks += [f"left out: {name}: {why}" for name, why in missing.items()]
    rate, whose = 0.0, "nobody"
    if any(w.operations for w in rows if w.group == "training"):
        rate, whose = product_rate(workers, effort, folder)
        remarks.append(f"best matrix product in float32: {rate / 1e9:.0f} GFLOP/s ({whose})")
    print("\n".join(remarks), flush=True)
    live, results = Live(names, max(len(w.name) for w in rows) + 1), []
    try:
        for workload in rows:
            measured = measure(workload, workers, effort, folder)
            results.append(Row(workload, Needed.by(replace(workload)), measured, rate))
            live.show(results[-1])
    except KeyboardInterrupt:
        print("interrupted: what follows is of the rows so far", flush=True)
    good = [r for r in results if not r.refused]
    print("\n" + grid([["geometric means", "rows", "times faster"], *means(good)]), flush=True)
    write(results, names, remarks, threads, out)
    return int(len(good) < len(results))


def write(results: Sequence[Row], names: Sequence[str], remarks: Sequence[str], threads: int, out: Path) -> None:
    """The tables as Markdown and the figure, into the folder."""
    title = f"symgraph beside its peers, {threads} thread{'s' * (threads > 1)}"
    out.mkdir(parents=True, exist_ok=True)
    table = out / f"threads-{threads}.md"
    table.write_text(markdown(results, names, title, remarks), encoding="utf-8")
    print(f"\n{table}")
    try:
        from benchmarks.compare.plot import plot
    except ImportError:
        print("no figure, for matplotlib is missing")
        return
    plot(results, names, title, table.with_suffix(".svg"))
    print(table.with_suffix(".svg"))


if __name__ == "__main__":
    sys.exit(main())
