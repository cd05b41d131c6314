"""From checked expressions to a program that can be called: every stage of the compilation, in order, with its time."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from codegen.blas import Blas, find_blas
from codegen.c_printer import print_program
from codegen.cache import Cache, default_directory
from codegen.errors import CacheRefused, NoCompiler
from codegen.machine import Machine, measure
from codegen.module import Module, load
from codegen.own_blas import OwnBlas
from codegen.private_blas import PrivateBlas
from codegen.toolchain import Toolchain, find_toolchain
from codegen.verify import verify
from symgraph.collector import collector_paused
from symgraph.errors import GraphError
from symgraph.graph.assigned import assigned_names
from symgraph.graph.node import SharedVariable, Variable
from symgraph.graph.printing import excerpt
from symgraph.graph.provenance import warn
from symgraph.graph.traverse import leaves, substitute
from symgraph.graph.types import Shape
from symgraph.launch import Launcher
from symgraph.lower.names import identifier
from symgraph.lower.program import lower
from symgraph.lower.sizes import NeedsArray
from symgraph.options import Options, environment
from symgraph.signature import Signature
from symgraph.variants import Facts, conditions, refine
from symgraph.watch import Watch

if TYPE_CHECKING:  # rewriting is imported when the first function is compiled, for `import symgraph` should be quick
    from symgraph.rewrite.pipeline import Rewritten


@dataclass(frozen=True)
class Variant:
    """One compilation, for any lengths that its entry checks let pass; `written` are the roots with known lengths."""

    launcher: Launcher
    rewritten: Rewritten
    timings: Mapping[str, float]
    written: tuple[Variable, ...]


class Compiler:
    """Compiles the variants of one function. What is printed becomes outputs after those of the signature.

    varying: shared variables whose lengths have been seen to change, and are not taken for granted any more
    """

    def __init__(self, signature: Signature, watch: Watch, options: Options, toolchain: Toolchain):
        self.signature = replace(signature, outputs=(*signature.outputs, *watch.printed))
        self.printed = len(watch.prints)
        self.options = options
        self.toolchain = replace(toolchain, flags=(*toolchain.flags, *DEBUGGING)) if options.lines else toolchain
        self.inputs = [x.variable for x in signature.inputs]
        self.roots = [*self.signature.outputs, *(new for _, new in signature.updates)]
        self.varying: set[SharedVariable] = set()
        self.name = identifier(signature.name, "compute")

    @collector_paused()
    def compile(self, facts: Facts, before: float = 0.0) -> Variant:
        """A variant for lengths as `facts` say. `before` are the seconds spent already.

        Raises ShapeError where known lengths do not fit; CompileError, CacheRefused or NoCompiler.
        """
        from symgraph.rewrite.engine import RewriteError

        try:
            return self._compile(facts, before)
        except (GraphError, RewriteError):
            if self.varying.issuperset(self.signature.shared):
                raise
            self.varying.update(self.signature.shared)  # their shapes do not fit now, but may change before a call
            return self._compile(facts, before)

    def _compile(self, facts: Facts, before: float) -> Variant:
        from symgraph.rewrite.pipeline import rewrite

        clock = _Clock(before)
        roots, stand_ins = self._refined(facts)
        clock.lap("refine")
        checked = [*roots, *conditions(roots)]
        if self.options.guard is not None:
            from symgraph.nan_guard import all_fine

            checked += all_fine(self._wanted(roots), self.options.guard)
        rewritten = rewrite(checked, optimize=self.options.optimize, names=assigned_names(roots))
        must_hold = rewritten.outputs[len(roots) :]
        rewritten = replace(rewritten, outputs=rewritten.outputs[: len(roots)])
        clock.lap("rewrite")
        count = len(self.signature.outputs)
        updated = [s for s, _ in self.signature.updates]
        used = set(leaves([*rewritten.outputs, *must_hold]))
        shared = {y: s for s in self.signature.shared if (y := stand_ins.get(s, s)) in used or s in updated}
        updates = [(stand_ins.get(s, s), new) for s, new in zip(updated, rewritten.outputs[count:], strict=True)]
        inputs = [stand_ins.get(x, x) for x in self.inputs]
        launcher = self._build(inputs, rewritten.outputs[:count], updates, shared, roots, must_hold, self.name, clock)
        rewritten = replace(rewritten, outputs=self._wanted(rewritten.outputs))
        return Variant(launcher, rewritten, clock.laps, self._wanted(roots))

    def _wanted(self, roots: Sequence[Variable]) -> tuple[Variable, ...]:
        """The outputs and new values that were asked for, without what is only printed."""
        count = len(self.signature.outputs)
        return (*roots[: count - self.printed], *roots[count:])

    def load(self, text: str, name: str, uses_blas: bool) -> Module:
        """C text as a loaded library; raises CompileError, CacheRefused or NoCompiler.

        What the cache directory has no room for, or something in the place of, goes to one of this process.
        """
        try:
            return self._load(text, name, uses_blas, cache_of(self.options))
        except CacheRefused as error:
            return self._load(text, name, uses_blas, _temporary_cache(str(error)))

    def _load(self, text: str, name: str, uses_blas: bool, place: Cache) -> Module:
        return load(
            text,
            name=name,
            uses_blas=uses_blas,
            toolchain=self.toolchain,
            cache=place,
            blas=default_blas() if uses_blas else None,
            private=default_private_blas(_toolchain(self.options.cc, place), place) if uses_blas else None,
        )

    def _build(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
        shared: Mapping[Variable, SharedVariable],
        written: Sequence[Variable],
        must_hold: Sequence[Variable],
        name: str,
        clock: _Clock,
    ) -> Launcher:
        """Lower, print and load. Lengths that only a computation tells come from programs of their own, run before."""
        before: list[Launcher] = []
        while True:
            try:
                lowered = lower(
                    inputs,
                    outputs,
                    updates,
                    list(shared),
                    written=written,
                    conditions=must_hold,
                    name=name,
                    comment=self._comment(),
                    fuse=self.options.fuse,
                    profile=self.options.profile,
                    lines=self.options.lines,
                )
                break
            except NeedsArray as need:
                length = Variable(need.value.type, need.value.name or "length", None, need.value.origin)
                before.append(self._build(inputs, [need.value], [], shared, (), (), f"{name}_length", clock))
                inputs = [*inputs, length]
                wanted = iter(substitute([*outputs, *(new for _, new in updates), *must_hold], {need.value: length}))
                outputs = [next(wanted) for _ in outputs]
                updates = [(s, next(wanted)) for s, _ in updates]
                must_hold = list(wanted)
        verify(lowered.program)
        clock.lap("lower")
        flags = f"compiled with {' '.join(self.toolchain.flags)}"
        text = print_program(replace(lowered.program, comment=f"{lowered.program.comment}\n{flags}"))
        clock.lap("print")
        module = self.load(text, name, lowered.program.uses_blas)
        clock.lap("compile")
        return Launcher(lowered, module, shared, text, before)

    def _refined(self, facts: Facts) -> tuple[list[Variable], dict[Variable, Variable]]:
        """The roots with the lengths that are known: the facts, and those of shared variables that keep theirs."""
        count = len(self.signature.outputs)
        keeping = [s for s in self.signature.shared if s not in self.varying]
        while True:
            known: dict[Variable, Shape] = {**facts.shapes, **{s: s.storage.shape for s in keeping}}
            roots, stand_ins = refine(self.roots, known, facts.partial)
            new = dict(zip((s for s, _ in self.signature.updates), roots[count:], strict=True))
            kept = [s for s in keeping if s not in new or new[s].type.shape == s.storage.shape]
            if len(kept) == len(keeping):
                return roots, {**{s: s for s in keeping}, **stand_ins}
            self.varying.update(set(keeping) - set(kept))
            keeping = kept

    def _comment(self) -> str:
        """The first words of the C: what is computed, in the user's names."""
        signature = self.signature
        names = assigned_names(signature.outputs)
        labelled = ((x, x.name or names.get(x)) for x in signature.outputs)
        lines = [f"{signature.name or 'a function'}, compiled by symgraph", ""]
        lines += [f"output  {f'{name} = ' if name else ''}{excerpt(x)}" for x, name in labelled]
        lines += [f"update  {s.name or '?'} <- {excerpt(new)}" for s, new in signature.updates]
        return "\n".join(lines)


DEBUGGING = ("-g", "-fno-omit-frame-pointer")


class _Clock:
    """Seconds by stage."""

    def __init__(self, before: float):
        self.laps: dict[str, float] = {"check": before} if before else {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self._last
        self._last = now


def toolchain_or_warning(options: Options) -> Toolchain | None:
    """The C compiler to use; None, and a warning once for each reason, where nothing can be compiled."""
    try:
        return _toolchain(options.cc, cache_of(options))
    except (CacheRefused, NoCompiler) as error:
        _warn_once(f"functions run in numpy, far slower than compiled: {error}")
        return None


def machine(options: Options) -> Machine:
    """What this machine can do at most. Raises NoCompiler where there is no compiler to measure with."""
    place = cache_of(options)
    toolchain = _toolchain(options.cc, place)
    return measure(toolchain, place, default_private_blas(toolchain, place)())


@cache
def _toolchain(cc: str | None, place: Cache) -> Toolchain:
    return find_toolchain(cc, probe_dir=place.directory)


def cache_of(options: Options) -> Cache:
    """The directory of compiled code."""
    return _cache(options.cache)


@cache
def _cache(directory: object) -> Cache:
    try:
        return Cache(directory if directory is not None else default_directory(environment()))  # type: ignore[arg-type]
    except CacheRefused as error:
        return _temporary_cache(str(error))


def _temporary_cache(why: str) -> Cache:
    """The cache of this process, with the first reason to need it as a warning."""
    if not _of_this_process.cache_info().currsize:
        _warn_once(f"what is compiled is kept for this process alone: {why}")
    return _of_this_process()


@cache
def _of_this_process() -> Cache:
    return Cache.temporary()


@cache
def default_blas() -> Blas | None:
    """The BLAS found on this machine, if there is one; compiled functions call `default_private_blas`."""
    return find_blas()


def own_blas(toolchain: Toolchain, place: Cache) -> OwnBlas:
    """Our own BLAS, as the other choice."""
    blas = default_blas()
    return OwnBlas(toolchain, place, blas.integer if blas is not None else "int64_t")


@cache
def default_private_blas(toolchain: Toolchain, place: Cache) -> PrivateBlas:
    """The BLAS that compiled functions call, which is made ready from the first time on that it is asked for."""
    return PrivateBlas(default_blas(), own_blas(toolchain, place))


@cache
def _warn_once(text: str) -> None:
    warn(text)
