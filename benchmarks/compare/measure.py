"""Drives the workers: builds a workload in each, one after the other, and runs them in interleaved rounds."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.compare.messages import Built
from benchmarks.compare.peers import Peer, processor_has
from benchmarks.compare.workloads import Workload, save

ROOT = Path(__file__).parents[2]
TURN = 0.03  # seconds that a peer runs in each round


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    rounds: of all peers by turns
    limit: seconds that a peer may take to build a program
    again: whether programs are also built from the disk cache
    """

    rounds: int = 15
    limit: float = 180.0
    again: bool = True


QUICK = Effort(rounds=5, limit=60.0, again=False)


@dataclass
class Measured:
    """What one peer did with one workload.

    times: seconds a call, one of each round; empty where `failed` says why
    cold, warm: seconds to the first results, with nothing and with everything in the disk cache
    memory: bytes that the process grew by, at most, while it was called
    moved: bytes that a call reads and writes, where the library can tell
    wrong: whether it failed by computing something else, or nothing
    raised: whether it computed nothing
    possible: whether the peer has the program
    """

    cold: float | None = None
    warm: float | None = None
    times: list[float] = field(default_factory=list)
    memory: int | None = None
    moved: int | None = None
    failed: str = ""
    wrong: bool = False
    raised: bool = False
    possible: bool = True

    @property
    def time(self) -> float | None:
        """The median."""
        return median(self.times) if self.times else None


class Lost(Exception):
    """A worker has ended or takes too long."""


class Worker:
    """The process of one peer."""

    def __init__(self, peer: Peer, cpus: Sequence[int], threads: int, python: str, folder: Path):
        """Raises Lost, with the reason, where the peer cannot be had."""
        self.peer = peer
        self.cache = folder / peer.name
        self.cache.mkdir()
        self.child: int | None = None
        self.given_up: dict[str, str] = {}  # programs that took too long, and at which workload
        self.log = folder / f"{peer.name}.log"
        self.connection, theirs = Pipe()
        environment = {**os.environ, **peer.variables(threads, self.cache), "PYTHONPATH": str(ROOT)}
        command = [python, "-m", "benchmarks.compare.worker", str(theirs.fileno()), ",".join(map(str, cpus))]
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                command, env=environment, cwd=self.cache, pass_fds=[theirs.fileno()], stdout=log, stderr=log
            )
        theirs.close()
        try:
            self.version = self._begin()
        except Lost:
            self.close()
            raise
        self.kept = set(self.cache.rglob("*"))  # what is compiled once on a machine

    def _begin(self) -> str:
        """Import the library and start what is started once; its version."""
        self.connection.send(self.peer)
        ready = self._answer(300)
        if ready.missing:
            raise Lost(ready.missing)
        self._start(None)
        self._answer(300)
        self._wait()
        return ready.version

    def build(self, workload: Workload, data: Path, limit: float, again: bool) -> Measured:
        """Build a program, and a second time from the disk cache; the last stays ready for its turns."""
        if workload.program in self.given_up:
            return Measured(failed=f"not tried: {self.given_up[workload.program]} took too long")
        self.forget()
        measured = Measured()
        for time in ("cold", "warm") if again else ("cold",):
            try:
                self._start((workload, data))
                built: Built = self._answer(limit)
            except Overtime as error:
                self.given_up[workload.program] = workload.name
                self.end()
                return Measured(failed=str(error))
            except Lost as error:
                return Measured(failed=str(error), wrong=True)
            if not built.possible or built.wrong:
                self.end()
                fault, possible = built.wrong, built.possible
                return Measured(failed=fault, wrong=bool(fault), raised=built.raised, possible=possible)
            setattr(measured, time, built.seconds)
            measured.moved = built.moved
            if again and time == "cold":
                self.finish()
        return measured

    def run(self, calls: int) -> float:
        """Seconds of so many calls, after some to get warm."""
        self.connection.send(calls)
        return self._answer(120)

    def finish(self) -> int:
        """End the program at hand; the bytes that its process grew by."""
        self.connection.send(None)
        memory = self._answer(60)
        self._wait()
        return memory

    def end(self) -> None:
        """Kill the program at hand, if there is one."""
        if self.child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.child, signal.SIGKILL)
            self._wait()

    def forget(self) -> None:
        """Empty the disk cache of all but what was in it before the first program."""
        for path in sorted(set(self.cache.rglob("*")) - self.kept, reverse=True):
            with suppress(OSError):
                path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()

    def close(self) -> None:
        """End the process."""
        with suppress(Lost, OSError):
            self.end()
        self.connection.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _start(self, order: tuple[Workload, Path] | None) -> None:
        self.connection.send(order)
        self.child = self._answer(60)

    def _wait(self) -> None:
        """Until the child has ended."""
        while self.child is not None:
            with suppress(Lost):
                self._answer(300)

    def _answer(self, limit: float) -> Any:
        """Raises Overtime where there is none in time, Lost where the process or its child has ended instead."""
        if not self.connection.poll(limit):
            raise Overtime(f"over {limit:.0f} s")
        try:
            answer = self.connection.recv()
        except (EOFError, ConnectionError):
            answer = "ended"
        if answer == "ended":
            self.child = None
            raise Lost(f"the process ended: {self._last_words()}")
        return answer


    def _last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "no message"


class Overtime(Lost):
    """A worker takes too long."""


def start_workers(
    peers: Iterable[Peer], threads: int, python: str, folder: Path
) -> tuple[list[Worker], dict[str, str]]:
    """The workers of the peers that can be had, and why the others cannot."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    workers, missing = [], {}
    for peer in peers:
        if peer.needs and not processor_has(peer.needs):
            missing[peer.name] = f"the processor has no {peer.needs}"
            continue
        try:
            workers.append(Worker(peer, list(available)[-threads:], threads, python, folder))
        except Lost as error:
            missing[peer.name] = str(error)
    return workers, missing


def measure(workload: Workload, workers: Sequence[Worker], effort: Effort, folder: Path) -> dict[str, Measured]:
    """One row: what each peer that has the program did, by its name."""
    data = folder / "data.npz"
    save(replace(workload), data)
    row = {w.peer.name: w.build(workload, data, effort.limit, effort.again) for w in workers}
    row = {name: measured for name, measured in row.items() if measured.possible}
    running = [w for w in workers if w.child is not None]
    calls: dict[str, int] = {}

    def turn(worker: Worker, count: int) -> float | None:
        try:
            return worker.run(count)
        except Lost as error:
            worker.end()
            running.remove(worker)
            row[worker.peer.name] = replace(row[worker.peer.name], failed=str(error), times=[])
            return None

    for worker in list(running):
        count, seconds = 1, turn(worker, 1)
        while seconds is not None and seconds < TURN / 2:
            count = max(count + 1, min(round(count * TURN / max(seconds, 1e-9)), 50 * count))
            seconds = turn(worker, count)
        calls[worker.peer.name] = count
    for k in range(effort.rounds if running else 0):
        for worker in [*running[k % len(running) :], *running[: k % len(running)]]:
            count = calls[worker.peer.name]
            seconds = turn(worker, count)
            if seconds is not None:
                row[worker.peer.name].times.append(seconds / count)
    for worker in running:
        row[worker.peer.name].memory = worker.finish()
    return row
