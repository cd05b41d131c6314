"""Graphs to callables: `function`, and the `Function` it returns."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from codegen.blas import Blas, find_blas
from codegen.c_printer import print_program
from codegen.cache import Cache, default_directory
from codegen.errors import NoCompiler
from codegen.module import load
from codegen.toolchain import Toolchain, find_toolchain
from codegen.verify import verify
from symgraph.graph.assigned import assigned_names
from symgraph.graph.guard import Guard, join
from symgraph.graph.node import Constant, SharedVariable, Variable
from symgraph.graph.printing import excerpt
from symgraph.graph.syntax import SYNTAX
from symgraph.graph.traverse import leaves, substitute
from symgraph.graph.types import Shape
from symgraph.interpreter import evaluate
from symgraph.launch import Launcher
from symgraph.lower.names import identifier
from symgraph.lower.program import Step, lower
from symgraph.lower.sizes import NeedsArray
from symgraph.options import Options, environment
from symgraph.rewrite.pipeline import Rewritten, rewrite
from symgraph.signature import Signature, make_signature
from symgraph.variants import Facts, refine, stretched

VARIANTS_KEPT = 16


@dataclass(frozen=True)
class Graphs:
    """The graph of a function at each stage, and the steps it became.

    inputs: its variables; outputs, updates: what was asked for
    rewritten: the outputs and then the new values, as they were compiled
    steps: the loop nests and library calls, in order
    """

    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    updates: tuple[tuple[SharedVariable, Variable], ...]
    rewritten: tuple[Variable, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Variant:
    """One compilation: for any lengths that its entry checks let pass."""

    launcher: Launcher
    rewritten: Rewritten
    timings: Mapping[str, float]


class Function:
    """A compiled function. Call it with values for its inputs, by position or by name.

    Inputs are never modified. All outputs and updates are computed from the state before the call; when a call fails,
    nothing has changed. It may be called from several threads, one call running at a time.

    name: as given to `function`
    inputs, outputs, updates: the variables, in order
    """

    def __init__(self, signature: Signature, options: Options, started: float):
        self.signature = signature
        self.name = signature.name
        self.options = options
        self.inputs = tuple(x.variable for x in signature.inputs)
        self.outputs = signature.outputs
        self.updates = signature.updates
        self._roots = [*self.outputs, *(new for _, new in self.updates)]
        self._guard = self._join_guards()
        self._running = False
        self._variants: list[Variant] = []
        self._varying: set[SharedVariable] = set()
        self._expected = [(np.dtype(x.dtype), x.ndim) for x in self.inputs]
        self._strict = any(x.strict or any(n is not None for n in x.variable.type.shape) for x in signature.inputs)
        self._toolchain: Toolchain | None = None
        if options.mode == "c":
            self._toolchain = _toolchain_or_warning(options)
        if self._toolchain is not None:
            self._compile({}, time.perf_counter() - started)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs and apply the updates.

        Raises TypeError for missing, unknown or doubled arguments, DtypeError and ShapeError for values that do not
        fit, IndexError for an index out of range; nothing has changed then.
        """
        while True:
            guard = self._guard
            with guard.lock:
                if guard.joined is None:
                    return self._call_alone(args, kwargs)
            self._guard = guard.root

    def _call_alone(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        if self._running:
            raise RuntimeError(f"{self.signature.caller} was called during a call of itself, perhaps by a signal handler")
        self._running = True
        try:
            arrays = args if not kwargs and self._is_exact(args) else self.signature.bind(args, kwargs)
            return self.signature.pack(self._run(arrays))
        finally:
            self._running = False

    def _join_guards(self) -> Guard:
        """One lock for this function and for all whose state it reads or changes."""
        defaults = [x.default for x in self.signature.inputs if isinstance(x.default, SharedVariable)]
        return join(s.guard for s in (*self.signature.shared, *defaults))

    def _is_exact(self, args: Sequence[Any]) -> bool:
        """Whether the arguments are arrays that C can take as they are."""
        if len(args) != len(self._expected) or self._strict:
            return False
        for array, (dtype, ndim) in zip(args, self._expected):  # noqa: B905  (lengths compared; strict costs here)
            if type(array) is not np.ndarray or array.dtype is not dtype or array.ndim != ndim:
                return False
            if array.flags.num & BEHAVED != BEHAVED:
                return False
        return True

    def _run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        if self._toolchain is None:
            return self._interpret(arrays)
        for k, variant in enumerate(self._variants):
            results = variant.launcher(arrays)
            if results is not None:
                if k:
                    self._variants.insert(0, self._variants.pop(k))
                return results
        self._compile(self._diagnose(arrays), 0.0)
        results = self._variants[0].launcher(arrays)
        if results is None:
            raise RuntimeError(f"{self.signature.caller}: a check fails that the interpreter does not know; please report this")
        return results

    def _diagnose(self, arrays: Sequence[np.ndarray]) -> Facts:
        """What the next variant may take for granted; raises the error of a call that cannot succeed."""
        facts = stretched(self._roots, self._values(arrays))
        for variant in self._variants:
            for shared, old in variant.launcher.assumed:
                if any(n is not None and n != m for n, m in zip(old, shared.storage.shape, strict=True)):
                    self._varying.add(shared)
        return facts

    def _values(self, arrays: Sequence[np.ndarray]) -> dict[Variable, np.ndarray]:
        return dict(zip(self.inputs, arrays, strict=True))

    def _interpret(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        values = [np.array(v) for v in evaluate(self._roots, self._values(arrays))]
        for (shared, _), value in zip(self.updates, values[len(self.outputs) :], strict=True):
            shared.storage = value
        return values[: len(self.outputs)]

    # -- compilation

    def _compile(self, facts: Facts, before: float) -> None:
        clock = _Clock(before)
        roots, stand_ins = self._refined(facts)
        clock.lap("refine")
        rewritten = rewrite(roots, optimize=self.options.optimize, names=assigned_names(roots))
        clock.lap("rewrite")
        count = len(self.outputs)
        used = set(leaves(rewritten.outputs))
        updates = tuple(
            (stand_ins.get(s, s), new) for (s, _), new in zip(self.updates, rewritten.outputs[count:], strict=True)
        )
        needed = [s for s in self.signature.shared if stand_ins.get(s, s) in used or any(s is t for t, _ in self.updates)]
        inputs = [stand_ins.get(x, x) for x in self.inputs]
        shared = {stand_ins.get(s, s): s for s in needed}
        name = identifier(self.name, "compute")
        launcher = self._build(inputs, rewritten.outputs[:count], updates, shared, roots, name, clock)
        self._variants.insert(0, Variant(launcher, rewritten, clock.laps))
        del self._variants[VARIANTS_KEPT:]

    def _build(
        self,
        inputs: Sequence[Variable],
        outputs: Sequence[Variable],
        updates: Sequence[tuple[Variable, Variable]],
        shared: Mapping[Variable, SharedVariable],
        written: Sequence[Variable],
        name: str,
        clock: _Clock,
    ) -> Launcher:
        """Lower, print and load. Lengths that only a computation tells come from programs of their own, run before."""
        assert self._toolchain is not None
        before: list[Launcher] = []
        while True:
            try:
                lowered = lower(
                    inputs, outputs, updates, list(shared), written=written, name=name, comment=self._comment(),
                    fuse=self.options.fuse,
                )  # fmt: skip
                break
            except NeedsArray as need:
                length = Variable(need.value.type, need.value.name or "length", None, need.value.origin)
                before.append(self._build(inputs, [need.value], [], shared, (), f"{name}_length", clock))
                inputs = [*inputs, length]
                wanted = substitute([*outputs, *(new for _, new in updates)], {need.value: length})
                outputs = wanted[: len(outputs)]
                updates = [(s, new) for (s, _), new in zip(updates, wanted[len(outputs) :], strict=True)]
        verify(lowered.program)
        clock.lap("lower")
        text = print_program(lowered.program)
        clock.lap("print")
        blas = _blas() if lowered.program.uses_blas else None
        module = load(text, name=name, uses_blas=blas is not None, toolchain=self._toolchain, cache=_cache(self.options), blas=blas)
        clock.lap("compile")
        return Launcher(lowered, module, shared, text, before)

    def _refined(self, facts: Facts) -> tuple[list[Variable], dict[Variable, Variable]]:
        """The roots with what is known of lengths: the facts, and the present shapes of shared variables that keep theirs."""
        keeping = [s for s in self.signature.shared if s not in self._varying]
        while True:
            known: dict[Variable, Shape] = {**facts, **{s: s.storage.shape for s in keeping}}
            roots, stand_ins = refine(self._roots, known)
            new = dict(zip((s for s, _ in self.updates), roots[len(self.outputs) :], strict=True))
            kept = [s for s in keeping if s not in new or new[s].type.shape == s.storage.shape]
            if len(kept) == len(keeping):
                for s in keeping:
                    stand_ins.setdefault(s, s)
                return roots, stand_ins
            self._varying.update(set(keeping) - set(kept))
            keeping = kept

    def _comment(self) -> str:
        lines = [f"{self.name or 'a function'}, compiled by symgraph", ""]
        lines += [f"input   {x.name or '?'} : {x.type}" for x in self.inputs]
        lines += [f"output  {x.name + ' = ' if x.name else ''}{excerpt(x)}" for x in self.outputs]
        lines += [f"update  {s.name or '?'} <- {excerpt(new)}" for s, new in self.updates]
        return "\n".join(lines)

    # -- looking inside

    @property
    def c_source(self) -> str:
        """The C that the last call ran, or that the next one is expected to run. Empty when interpreted."""
        return self._variants[0].launcher.c_source if self._variants else ""

    @property
    def c_path(self) -> Path | None:
        """The file of that C. None when interpreted."""
        return self._variants[0].launcher.module.source_path if self._variants else None

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds that each stage of the compilation took, in order. Empty when interpreted."""
        return self._variants[-1].timings if self._variants else {}

    @property
    def graph(self) -> Graphs:
        """The graph as written and as compiled."""
        variant = self._variants[0] if self._variants else None
        rewritten = tuple(variant.rewritten.outputs) if variant else tuple(self._roots)
        return Graphs(self.inputs, self.outputs, self.updates, rewritten, variant.launcher.lowered.steps if variant else ())

    def __repr__(self) -> str:
        takes = ", ".join(x.label for x in self.signature.inputs)
        return f"<{self.signature.caller[:-2]}({takes}) -> {len(self.outputs)} outputs, {len(self.updates)} updates>"


BEHAVED = 0x1 | 0x100  # numpy's flags for C-contiguous and aligned


def function(
    inputs: Sequence[Any],
    outputs: Any = None,
    updates: Any = (),
    givens: Any = (),
    name: str | None = None,
    on_unused_input: str = "raise",
    allow_input_downcast: bool | None = None,
    mode: str | None = None,
) -> Function:
    """Compile expressions into a callable.

    inputs: a list of variables, or `In`s with names, defaults and states
    outputs: a variable, a list or a dict of them, or None; the result has the same form, of arrays
    updates: (shared variable, new value) pairs or a dict; applied together after a call, from the state before it
    givens: (variable, expression) pairs or a dict: replacements made before anything else
    name: of the function in messages and in the C
    on_unused_input: 'raise', 'warn' or 'ignore'
    allow_input_downcast: accept arguments whose cast loses precision
    mode: "c", the default, compiles; "numpy" interprets, for comparison and debugging. Theano's modes are compiled

    Raises MissingInputError, UnusedInputError, TypeError, DtypeError and ShapeError, in the names of the variables.
    """
    started = time.perf_counter()
    signature = make_signature(inputs, outputs, updates, givens, name, on_unused_input, allow_input_downcast)
    return Function(signature, Options.for_mode(mode), started)


class _Clock:
    """Seconds by stage."""

    def __init__(self, before: float):
        self.laps: dict[str, float] = {"check": before} if before else {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + now - self._last
        self._last = now


def _toolchain_or_warning(options: Options) -> Toolchain | None:
    try:
        return _toolchain(options)
    except NoCompiler as error:
        _warn_once(str(error))
        return None


@cache
def _warn_once(text: str) -> None:
    warnings.warn(f"functions run in numpy, far slower than compiled: {text}", stacklevel=5)


@cache
def _toolchain(options: Options) -> Toolchain:
    return find_toolchain(options.cc, probe_dir=_cache(options).directory)


@cache
def _cache(options: Options) -> Cache:
    try:
        return Cache(options.cache if options.cache is not None else default_directory(environment()))
    except OSError:
        return Cache.temporary()


@cache
def _blas() -> Blas | None:
    return find_blas()


def evaluate_at(x: Variable, values: Mapping[Variable, Any] | None = None, **by_name: Any) -> np.ndarray:
    """`x.eval({a: …, b: …})`: the value of an expression where its inputs have these values.

    Compiled anew for each set of inputs, and kept while the variable lives.
    Raises MissingInputError where an input has no value, TypeError for a value of something that is no input.
    """
    values = dict(values or {})
    inputs = [v for v in leaves([x]) if not isinstance(v, (SharedVariable, Constant))]
    for key in [*values, *by_name]:
        matching = [v for v in inputs if v is key or v.name == key]
        if len(matching) != 1:
            raise TypeError(f"{x} has no input {key}" if not matching else f"{x} has {len(matching)} inputs named {key}")
        if key in by_name:
            values[matching[0]] = by_name[key]
    given = {v: values[v] if v in values else values.get(v.name) for v in inputs if v in values or v.name in values}  # type: ignore[call-overload]
    return function(list(given), x)(*given.values())


SYNTAX["eval"] = evaluate_at
