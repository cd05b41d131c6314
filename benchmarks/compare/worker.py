"""The process of one peer: `python -m benchmarks.compare.worker CONNECTION CPUS`, and then it is told which.

It imports the library once. For each workload it forks: the child builds the program, checks its results, runs it as
often as it is told, and ends; so that memory and compilation start from the same state every time, without importing
everything again. Peers that are not being timed sleep.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import resource
import sys
import time
import traceback
from importlib import metadata
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from benchmarks.compare.messages import Built, Ready
from benchmarks.compare.peers import Call, Peer
from benchmarks.compare.workloads import Workload, disagreement, load

REST = 0.005  # seconds before a turn, in which the threads of others stop looking for work
WARMING = 0.2  # of the calls of a turn are made before it is timed, and at least one


def main(handle: str, cpus: str) -> None:
    """Serve the driver until it closes the connection."""
    connection = Connection(int(handle))
    allowed = {int(cpu) for cpu in cpus.split(",")}
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, allowed)
    peer: Peer = connection.recv()
    try:
        module = importlib.import_module(f"benchmarks.compare.peers.{peer.module}")
    except Exception as error:
        connection.send(Ready(missing=f"{type(error).__name__}: {error}"))
        return
    connection.send(Ready(version=version(peer)))
    while True:
        try:
            order = connection.recv()
        except EOFError:
            return
        child = os.fork()
        if child == 0:
            os.setsid()  # so that a compiler it has started ends with it
            serve(connection, peer, module, order)
            os._exit(0)
        os.waitpid(child, 0)
        connection.send("ended")


def version(peer: Peer) -> str:
    """The version installed, empty if it is not installed as a package."""
    try:
        return metadata.version(peer.package)
    except (metadata.PackageNotFoundError, ValueError):
        return ""


def serve(connection: Connection, peer: Peer, module: ModuleType, order: tuple[Workload, Path] | None) -> None:
    """Build one workload, whose arrays are in a file, and run it as told; without one, only start what starts once."""
    connection.send(os.getpid())
    if hasattr(module, "start"):
        module.start()
    if order is None:
        connection.send("started")
        return
    workload = load(*order)
    before = resident()
    try:
        start = time.perf_counter()
        call = module.build(workload, peer.option)
        if call is None:
            connection.send(Built(possible=False))
            return
        found = arrays(call, call.function(*call.args))
        seconds = time.perf_counter() - start
        connection.send(Built(True, seconds, verdict(workload, call, found), call.moved()))
    except Exception as error:
        traceback.print_exc()
        lines = str(error).strip().splitlines()
        connection.send(Built(wrong=f"{type(error).__name__}: {lines[0] if lines else ''}"[:200], raised=True))
        return
    del found
    gc.collect()
    gc.disable()
    reset = forget_peak()
    run = loop(call)
    while (calls := connection.recv()) is not None:
        time.sleep(REST)
        run(max(1, round(calls * WARMING)))
        connection.send(run(calls))
    connection.send(max(0, peak(reset) - before))


def arrays(call: Call, result: Any) -> list[np.ndarray]:
    """The outputs of a call as numpy's."""
    return [np.asarray(x) for x in call.outputs(result)] if call.outputs is not None else []


def loop(call: Call) -> Any:
    """A function of the number of calls to the seconds they take, each result dropped before the next call.

    Where C repeats the work, as many fewer calls are made, at least one, and what they take is scaled.
    """
    names = [f"a{k}" for k in range(len(call.args))]
    lines = [
        f"def run(count, {', '.join(['f', *names])}):",
        "    start = clock()",
        "    for _ in repeat(None, count):",
        f"        f({', '.join(names)})",
        "    return clock() - start",
    ]
    scope = {"clock": time.perf_counter, "repeat": itertools.repeat}
    exec("\n".join(lines), scope)

    def timed(count: int) -> float:
        calls = max(1, count // call.repeats)
        return scope["run"](calls, call.function, *call.args) * count / (calls * call.repeats)

    return timed


def verdict(workload: Workload, call: Call, found: list[np.ndarray]) -> str:
    """What is wrong with the results of the first call and the state after it."""
    if call.outputs is None:
        return ""
    expected = workload.expected
    if len(found) != len(expected.arrays):
        return f"{len(found)} results, not {len(expected.arrays)}"
    state = {name: np.asarray(x) for name, x in call.state().items()}
    pairs = [*((f"result {k}", x, expected.arrays[str(k)]) for k, x in enumerate(found))]
    pairs += [(f"the new {name}", state[name], x) for name, x in expected.state.items()]
    faults = [(what, disagreement(x, y, workload.tolerance)) for what, x, y in pairs]
    return "; ".join(f"{what}: {fault}" for what, fault in faults if fault)


def resident() -> int:
    """Bytes of this process in memory."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak() -> bool:
    """Let the peak of memory start anew, so that what compiling took does not count; whether that is possible."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak(reset: bool) -> int:
    """The most bytes in memory since `forget_peak`, or since the start."""
    if reset:
        line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(*sys.argv[1:])
