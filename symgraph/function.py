"""Graphs to callables: `function`, and the `Function` it returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from codegen.launcher import launcher
from symgraph.bound import Bound, bound_inputs, bound_outputs
from symgraph.compiler import Compiler, Variant, cache_of, machine, toolchain_or_warning
from symgraph.engine import Shapes, check_shapes
from symgraph.errors import AssertionFailure
from symgraph.graph.guard import Guard, join
from symgraph.graph.node import Constant, SharedVariable, Variable
from symgraph.graph.syntax import SYNTAX
from symgraph.graph.traverse import leaves
from symgraph.inspection import CostReport, CSource, Profile, profile
from symgraph.interpreter import evaluate
from symgraph.launch import Launcher
from symgraph.lower.steps import Step
from symgraph.options import NanGuardMode, Options
from symgraph.signature import CallSignature, Signature, make_signature
from symgraph.variants import Facts, stretched
from symgraph.watch import Watch

if TYPE_CHECKING:
    from symgraph.explain import Explanation
    from symgraph.memory import MemoryReport

VARIANTS_KEPT = 16


@dataclass(frozen=True)
class Graphs:
    """The graph of a function at each stage, and the steps it became.

    inputs: its variables; outputs, updates: what was asked for
    rewritten: the outputs and then the new values, as they were compiled
    leaves: {input or shared variable: what stands for it in `rewritten`, where more is known of its lengths}
    steps: the loop nests and library calls, in order
    """

    inputs: tuple[Variable, ...]
    outputs: tuple[Variable, ...]
    updates: tuple[tuple[SharedVariable, Variable], ...]
    rewritten: tuple[Variable, ...]
    leaves: Mapping[Variable, Variable]
    steps: tuple[Step, ...]


class Function:
    """A compiled function. Call it with values for its inputs, by position or by name.

    Inputs are never modified. All outputs and updates are computed from the state before the call; when a call fails,
    nothing has changed. It may be called from several threads, one call running at a time.

    name: as given to `function`
    inputs, outputs, updates: the variables, in order
    """

    __slots__ = ("__dict__", "__weakref__", "_quick")
    __signature__ = CallSignature(lambda f: f.signature.described())

    def __init__(self, signature: Signature, options: Options, started: float):
        self.signature = signature
        self.name = signature.name
        self.options = options
        self.inputs = tuple(x.variable for x in signature.inputs)
        self.outputs = signature.outputs
        self.updates = signature.updates
        self._roots = [*self.outputs, *(new for _, new in self.updates)]
        self._watch = Watch.of(self._roots)
        self._guard = self._join_guards()
        self._running = False
        self._quick: Any = None  # takes calls before `__call__` does, where the extension module is there
        self._quick_for: tuple[Launcher, Guard] | None = None
        self._variants: list[Variant] = []
        self._expected = [(np.dtype(x.dtype), x.ndim) for x in self.inputs]
        self._strict = any(x.strict or any(n is not None for n in x.variable.type.shape) for x in signature.inputs)
        self._toolchain = toolchain = toolchain_or_warning(options) if options.mode == "c" else None
        self._compiler = Compiler(signature, self._watch, options, toolchain) if toolchain is not None else None
        if self._compiler is not None:
            self._extension()  # is built meanwhile
            self._variants.append(self._compiler.compile(Facts(), time.perf_counter() - started))
            self._quicken()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute the outputs and apply the updates.

        Raises TypeError for missing, unknown or doubled arguments, DtypeError and ShapeError for values that do not
        fit, IndexError for an index out of range, AssertionFailure where an `Assert` does not hold, NonFiniteError
        where a guarded function gives NaN or infinity; nothing has changed then. What a `Print` raises comes when all
        is computed, and the state may be the new one.
        """
        return self._alone(self._call, args, kwargs)

    def __reduce__(self) -> Any:
        raise TypeError(
            f"{self.signature.caller} is compiled, and cannot be copied or pickled: pickle the values of the shared "
            "variables (get_value), and call sg.function again, which finds the C compiled in the cache"
        )

    def bind(self, *args: Any, out: Any = None, **kwargs: Any) -> Bound:
        """The function with fixed arrays: `g = f.bind(x, y, out=z)`, and then `g()` reads `x` and `y` and fills `z`.

        args, kwargs: arrays for the inputs, each of exactly the dtype, contiguous and aligned, since they are not
            copied; numbers for scalars stay as they are
        out: arrays for the results, of exactly their dtypes and shapes, which share no memory with any other; None
            makes them

        Raises TypeError, DtypeError, ShapeError and ValueError for arrays that do not fit, and what a call raises for
        their lengths.
        """
        inputs = bound_inputs(self.signature, args, kwargs)
        return self._alone(self._bind, inputs, out)

    def _alone(self, work: Callable[..., Any], *args: Any) -> Any:
        """`work(*args)`, with the state to itself."""
        while True:
            guard = self._guard
            with guard.lock:
                if guard.joined is None:
                    guard.depth += 1
                    try:
                        return self._once(work, args)
                    finally:
                        guard.depth -= 1
            self._guard = guard.root

    def _once(self, work: Callable[..., Any], args: Sequence[Any]) -> Any:
        if self._running:
            raise RuntimeError(
                f"{self.signature.caller} was called during a call of itself, perhaps by a signal handler"
            )
        self._running = True
        try:
            return work(*args)
        finally:
            self._running = False

    def _call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        arrays = args if not kwargs and self._is_exact(args) else self.signature.bind(args, kwargs)
        results = self._run(arrays)
        self._quicken()
        return self.signature.pack(results)

    def _bind(self, inputs: tuple[np.ndarray, ...], out: Any) -> Bound:
        taken = [*inputs, *(s.storage for s in self.signature.shared)]
        outputs = bound_outputs(self.signature, self._shapes(inputs), out, taken)
        self._quicken(wait=True)
        bound = Bound(lambda bound: self._alone(self._call_bound, bound, outputs), inputs, self.signature.pack(outputs))
        self._quicken_bound(bound, outputs)
        return bound

    def _call_bound(self, bound: Bound, outputs: tuple[np.ndarray, ...]) -> None:
        storages = [s.storage for s in self.signature.shared]
        bound_inputs(self.signature, bound.inputs, {})
        bound_outputs(self.signature, [x.shape for x in outputs], outputs, [*bound.inputs, *storages])
        self._run(bound.inputs, outputs)
        self._quicken()
        self._quicken_bound(bound, outputs)

    def _quicken_bound(self, bound: Bound, outputs: tuple[np.ndarray, ...]) -> None:
        """Let the extension module take the next calls of `bound`, as those of the function."""
        bound._quick = None
        if self._quick is None:
            return
        extension = self._extension()
        extension.shorten(1, Bound, "_quick")
        storages = self._variants[0].launcher.storages()
        bound._quick = extension.Bound(
            call=self._quick, inputs=bound.inputs, out=outputs, packed=bound.outputs, storages=storages
        )

    def _shapes(self, arrays: Sequence[np.ndarray]) -> Shapes:
        """Of the results for these arrays. Raises the error of a call whose lengths do not fit."""
        if self._compiler is None:
            values = evaluate(self._roots, self._values(arrays))
            return tuple(x.shape for x in values[: len(self.outputs)])
        found = (variant.launcher.shapes(arrays) for variant in self._variants)
        shapes = next((shapes for shapes in found if shapes is not None), None)
        if shapes is None:
            shapes = self._add_variant(self._diagnose(arrays, {})).launcher.shapes(arrays)
        if shapes is None:
            raise self._unknown_check()
        return shapes[: len(self.outputs)]

    def _unknown_check(self) -> RuntimeError:
        return RuntimeError(
            f"{self.signature.caller}: a check fails that the interpreter does not know; please report this"
        )

    def _extension(self, wait: bool = False) -> Any:
        """The extension module that calls compiled functions, if it is wanted and there by now."""
        if self._toolchain is None or self.options.calls != "c":
            return None
        extension = launcher(self._toolchain, cache_of(self.options), wait=wait)
        if extension is not None:
            extension.shorten(0, Function, "_quick")
        return extension

    def _quicken(self, wait: bool = False) -> None:
        """Let the extension module take the next calls, by the variant that took the last one."""
        if not self._variants or (self._variants[0].launcher, self._guard) == self._quick_for:
            return
        extension = self._extension(wait)
        if extension is None:
            return
        first = self._variants[0].launcher
        if not first.module.has_blas(wait):
            return
        self._quick, self._quick_for = None, (first, self._guard)
        for variant in self._variants:
            variant.launcher.use(extension)
        if first.program is None or first.has_earlier_programs or self._watch.prints:
            return
        self._quick = extension.Call(
            program=first.program,
            guard=self._guard,
            inputs=tuple(
                (np.dtype(x.variable.dtype), tuple(-1 if n is None else n for n in x.variable.type.shape), not x.strict)
                for x in self.signature.inputs
            ),
            form=FORMS.index(self.signature.form),
            keys=tuple(self.signature.keys),
        )

    def _join_guards(self) -> Guard:
        """One lock for this function and for all whose state it reads or changes."""
        defaults = [x.default for x in self.signature.inputs if isinstance(x.default, SharedVariable)]
        return join(s.guard for s in (*self.signature.shared, *defaults))

    def _is_exact(self, args: Sequence[Any]) -> bool:
        """Whether the arguments are arrays that C can take as they are."""
        if len(args) != len(self._expected) or self._strict:
            return False
        for array, (dtype, ndim) in zip(args, self._expected):
            if type(array) is not np.ndarray or array.dtype is not dtype or array.ndim != ndim:
                return False
            if array.flags.num & BEHAVED != BEHAVED:
                return False
        return True

    def _run(self, arrays: Sequence[np.ndarray], out: tuple[np.ndarray, ...] | None = None) -> list[np.ndarray]:
        if self._compiler is None:
            return self._interpret(arrays, out)
        for k, variant in enumerate(self._variants):
            results = variant.launcher(arrays, out)
            if results is not None:
                if k:
                    self._variants.insert(0, self._variants.pop(k))
                return self._shown(results) if self._watch.prints else results
        trace: dict[Variable, np.ndarray] = {}
        try:
            results = self._retry(arrays, out, trace)
        except Exception:
            self._watch.show(trace)
            raise
        return self._shown(results) if self._watch.prints else results

    def _add_variant(self, facts: Facts) -> Variant:
        """Compile for calls of which more is known, and let go of the variant unused for longest."""
        assert self._compiler is not None
        self._variants.insert(0, self._compiler.compile(facts))
        del self._variants[VARIANTS_KEPT:]
        return self._variants[0]

    def _retry(
        self, arrays: Sequence[np.ndarray], out: tuple[np.ndarray, ...] | None, trace: dict[Variable, np.ndarray]
    ) -> list[np.ndarray]:
        """The results of a call that no variant has taken, by a new one; all values by the references go to `trace`.

        Raises the error of a call that cannot succeed.
        """
        assert self._compiler is not None
        facts = self._diagnose(arrays, trace)
        entered = next((v for v in self._variants if v.launcher.entered), None)
        if facts or entered is None:
            entered = self._add_variant(facts)
            results = entered.launcher(arrays, out)
            if results is not None:
                return results
        if self.options.guard is not None:
            self._raise_if_not_finite(trace, entered, arrays)
        if self._watch.asserts:
            raise self._watch.refused(self.signature.caller)
        raise self._unknown_check()

    def _raise_if_not_finite(
        self, trace: Mapping[Variable, np.ndarray], variant: Variant | None = None, arrays: Sequence[np.ndarray] = ()
    ) -> None:
        """Raise the error of a guarded function whose results, by the references or compiled, are not finite."""
        from symgraph import nan_guard

        assert self.options.guard is not None
        wanted = list(zip(self.signature.wanted, self._roots, strict=True))
        compiled = (variant.rewritten.outputs, variant.launcher.values(arrays)) if variant is not None else None
        stable = {step.rule for step in variant.rewritten.trace} if variant is not None else set()
        error = nan_guard.failure(self.signature.caller, wanted, trace, compiled, self.options.guard, stable)
        if error is not None:
            raise error

    def _shown(self, results: list[np.ndarray]) -> list[np.ndarray]:
        """The outputs without the values to print, which come after them and are printed."""
        count = len(self.outputs)
        self._watch.show(dict(zip(self._watch.printed, results[count:], strict=True)))
        return results[:count]

    def _diagnose(self, arrays: Sequence[np.ndarray], trace: dict[Variable, np.ndarray]) -> Facts:
        """What the next variant may take for granted; raises the error of a call that cannot succeed."""
        assert self._compiler is not None
        try:
            facts = stretched(self._roots, self._values(arrays), trace)
        except AssertionFailure as error:
            raise self._watch.explained(error, trace) from None
        for variant in self._variants:
            for shared, old in variant.launcher.assumed:
                if any(n is not None and n != m for n, m in zip(old, shared.storage.shape, strict=True)):
                    self._compiler.varying.add(shared)
        return facts

    def _values(self, arrays: Sequence[np.ndarray]) -> dict[Variable, np.ndarray]:
        return dict(zip(self.inputs, arrays, strict=True))

    def _interpret(self, arrays: Sequence[np.ndarray], out: tuple[np.ndarray, ...] | None) -> list[np.ndarray]:
        trace: dict[Variable, np.ndarray] = {}
        watching = self._watch.prints or self._watch.asserts or self.options.guard is not None
        try:
            values = [np.array(v) for v in evaluate(self._roots, self._values(arrays), trace if watching else None)]
            if self.options.guard is not None:
                self._raise_if_not_finite(trace)
        except AssertionFailure as error:
            raise self._watch.explained(error, trace) from None
        finally:
            self._watch.show(trace)
        count = len(self.outputs)
        if out is not None:
            check_shapes(out, [value.shape for value in values[:count]])
            for array, value in zip(out, values, strict=False):
                array[...] = value
        for (shared, _), value in zip(self.updates, values[count:], strict=True):
            shared.storage = value
        return values[:count] if out is None else list(out)

    # -- looking inside

    @property
    def c_source(self) -> CSource:
        """The C that the last call ran, or that the next one is expected to run. Empty when interpreted."""
        return CSource(self._variants[0].launcher.c_source if self._variants else "")

    @property
    def c_path(self) -> Path | None:
        """The file of that C. None when interpreted."""
        return self._variants[0].launcher.module.source_path if self._variants else None

    @property
    def timings(self) -> Mapping[str, float]:
        """Seconds that each stage of compiling `c_source` took, in order. Empty when interpreted."""
        return self._variants[0].timings if self._variants else {}

    @property
    def graph(self) -> Graphs:
        """The graph as written and as compiled."""
        if not self._variants:
            return Graphs(self.inputs, self.outputs, self.updates, tuple(self._roots), {}, ())
        variant = self._variants[0]
        lowered = variant.launcher.lowered
        leaves = dict(zip(self.inputs, lowered.inputs, strict=False))  # lengths computed before are inputs as well
        leaves |= {shared: x for x, shared in variant.launcher.stands_for.items()}
        return Graphs(self.inputs, self.outputs, self.updates, tuple(variant.rewritten.outputs), leaves, lowered.steps)

    def explain(self) -> Explanation:
        """What the compiler did and why: rules that fired, values that share loops and memory, changes of dtype.

        Raises RuntimeError for a function that is interpreted.
        """
        from symgraph.explain import explanation

        self._compiled()
        return explanation(self.name or "", self._variants[0])

    def cost(self) -> CostReport:
        """Operations and memory traffic of each step, as formulas in the lengths of the arguments.

        Raises RuntimeError for a function that is interpreted.
        """
        return CostReport(tuple((step.name, step.cost) for step in self._compiled().lowered.steps))

    def memory(self) -> MemoryReport:
        """The arrays of a call and the workspace, in bytes by the lengths, and what is kept from call to call.

        Raises RuntimeError for a function that is interpreted.
        """
        from symgraph.memory import memory_report

        return memory_report(self.signature.caller, self._compiled())

    def free(self) -> None:
        """Give back the memory that is kept from call to call: the workspace, and results that were dropped."""
        self._alone(self._free)

    def _free(self) -> None:
        for variant in self._variants:
            variant.launcher.free()

    @property
    def address(self) -> int:
        """Where `int NAME(void *const *arrays, const int64_t *sizes, void *workspace)` is in memory, until the end.

        docs/internals.md says what it takes. Nothing is checked, and no lock protects the state. Raises RuntimeError
        for a function that is interpreted.
        """
        return self._compiled().module.run_address

    @property
    def plan_address(self) -> int:
        """Where `int NAME_plan(void *const *arrays, int64_t *sizes)` is, which fills in the sizes; as `address`."""
        return self._compiled().module.plan_address

    def lowlevel(self, signature: str | None = None) -> Any:
        """A function of doubles as a plain C function, called by ctypes, for scipy.LowLevelCallable, numba or ctypes.

        signature: "double (double, ...)" for a function of numbers; "double (int, double *, void *)" for one of a
            vector, or of as many numbers; "int (double *, npy_intp, double *, void *)", which gives 1, for the filters
            of scipy.ndimage; "int (int, double *, double *, void *)", which gives 0, for one of a vector that gives a
            vector. None takes the first that fits

        What fails gives NaN, or the other int. Raises ValueError for a function that has no such form, and for one with
        state, and RuntimeError for one that is interpreted.
        """
        from symgraph.lowlevel import default_signature, plain_function, plain_text

        natural = default_signature(self.signature.caller, self.signature)
        launcher = self._compiled()
        assert self._compiler is not None
        if launcher.has_earlier_programs or self._watch.prints:
            raise ValueError(f"{self.signature.caller} needs Python: it prints, or computes lengths first")
        program = launcher.lowered.program
        text = plain_text(launcher.lowered, natural, signature or natural)
        module = self._compiler.load(launcher.c_source + text, program.name, program.uses_blas)
        module.has_blas(wait=True)
        return plain_function(module, signature or natural)

    def profile(self) -> Profile:
        """Where the time of all calls went, by step and by the user's line, and how near to the machine's limits.

        The rates of a step are those of the lengths of the last call.
        Raises RuntimeError for a function compiled without `profile=True`.
        """
        launcher = self._compiled()
        if not self.options.profile:
            raise RuntimeError(f"{self.signature.caller} keeps no clocks: compile it with profile=True")
        steps = launcher.lowered.steps
        return profile(
            self.signature.caller, launcher.calls, steps, launcher.seconds(), launcher.sizes(), machine(self.options)
        )

    def edit(self, path: str | Path) -> Path:
        """Write the C to a file, to be changed by hand and handed to `reload`."""
        self._compiled()
        path = Path(path)
        path.write_text(self.c_source)
        return path

    def reload(self, path: str | Path, *args: Any, rtol: float | None = None, **kwargs: Any) -> None:
        """Put hand-written C in the place of the generated one, once it has been seen to compute the same.

        path: a file that defines the same entry points
        args, kwargs: a call to try it with; its outputs and updates are compared with the interpreter's, and undone
        rtol: how far elements may differ, relative to the largest; by default 1e-9 in float64 and 1e-4 in float32

        Raises CompileError for C that does not compile, ValueError for another result, what a call raises for `args`,
        and RuntimeError for a function whose lengths take programs of their own; nothing has changed then.
        """
        old = self._compiled()
        assert self._compiler is not None
        if old.has_earlier_programs:
            raise RuntimeError("a function whose lengths are computed by programs of their own cannot be edited")
        arrays = self.signature.bind(args, kwargs)
        text = Path(path).read_text()
        program = old.lowered.program
        new = old.with_module(self._compiler.load(text, program.name, program.uses_blas), text)
        with self._guard:
            state = [(s, s.storage) for s in self.signature.shared]
            expected = evaluate(self._roots, self._values(arrays))
            try:
                for s, storage in state:
                    s.storage = storage.copy()
                outputs = new(arrays)
                results = () if outputs is None else outputs[: len(self.outputs)]
                found = None if outputs is None else [*results, *(s.storage for s, _ in self.updates)]
            finally:
                for s, storage in state:
                    s.storage = storage
        self._compare(found, expected, rtol)
        self._variants[0] = replace(self._variants[0], launcher=new)
        if self._quick is not None:
            self._quick.retired = True
            self._quick = None

    def explore(self, path: str | Path) -> Path:
        """Write one page that shows the program, its graphs, every rewrite, the loops and the C, all linked.

        The page needs nothing but a browser. Of a profiled function (`profile=True`) that has been called, it shows
        the time of every step. Returns the path; raises OSError where it cannot be written.
        """
        from symgraph.visual.explorer import write_page  # here, for few programs need it

        return write_page(path, self.name, self.outputs, self.updates, self._variants[0] if self._variants else None)

    def _compare(self, found: Sequence[np.ndarray] | None, expected: Sequence[np.ndarray], rtol: float | None) -> None:
        if found is None:
            raise ValueError("the edited C refuses the call: one of its checks fails")
        what = [f"output {k}" for k in range(1, len(self.outputs) + 1)] + [
            f"the update of {s}" for s, _ in self.updates
        ]
        for name, x, y in zip(what, found, expected, strict=True):
            limit = rtol if rtol is not None else 1e-4 if y.dtype == np.float32 else 1e-9
            scale = float(np.max(np.abs(y), initial=0.0, where=np.isfinite(y))) if y.dtype.kind == "f" else 0.0
            if x.shape != y.shape or not np.allclose(x, y, rtol=limit, atol=limit * scale, equal_nan=True):
                raise ValueError(f"the edited C gives another value for {name}: {x}, where the reference gives {y}")

    def _compiled(self) -> Launcher:
        if not self._variants:
            raise RuntimeError(f"{self.signature.caller} is interpreted: there is no C to look at")
        return self._variants[0].launcher

    def __repr__(self) -> str:
        takes = ", ".join(x.label for x in self.signature.inputs)
        return f"<{self.signature.caller[:-2]}({takes}) -> {len(self.outputs)} outputs, {len(self.updates)} updates>"


FORMS = ("one", "list", "dict", "none")  # of results, as the extension module counts them
BEHAVED = 0x1 | 0x100  # numpy's flags for C-contiguous and aligned


def function(
    inputs: Sequence[Any],
    outputs: Any = None,
    updates: Any = (),
    givens: Any = (),
    name: str | None = None,
    on_unused_input: str = "raise",
    allow_input_downcast: bool | None = None,
    mode: str | NanGuardMode | None = None,
    profile: bool = False,
    debug: str | None = None,
) -> Function:
    """Compile expressions into a callable.

    inputs: a list of variables, or `In`s with names, defaults and states
    outputs: a variable, a list or a dict of them, or None; the result has the same form, of arrays
    updates: (shared variable, new value) pairs or a dict; applied together after a call, from the state before it
    givens: (variable, expression) pairs or a dict: replacements made before anything else
    name: of the function in messages and in the C
    on_unused_input: 'raise', 'warn' or 'ignore'
    allow_input_downcast: accept arguments whose cast loses precision
    mode: "c", the default, compiles; "numpy" interprets, for comparison and debugging; "nan_guard" compiles, and a call
        whose results are not finite fails, changes nothing and tells where that came from. Theano's modes are compiled
    profile: take the time of every step, for `Function.profile`
    debug: "line" lets gdb, perf and sanitizers speak of the lines of the user's program

    Raises MissingInputError, UnusedInputError, TypeError, DtypeError and ShapeError, in the names of the variables.
    """
    started = time.perf_counter()
    signature = make_signature(inputs, outputs, updates, givens, name, on_unused_input, allow_input_downcast)
    return Function(signature, Options.of(mode, profile, debug), started)


def evaluate_at(x: Variable, values: Mapping[Any, Any] | None = None, **by_name: Any) -> Any:
    """`x.eval({a: …, b: …})`: the value of an expression at values of its inputs, told by variable or by name.

    Raises MissingInputError where an input has no value, TypeError for a value of something that is no input.
    """
    inputs = [v for v in leaves([x]) if not isinstance(v, (SharedVariable, Constant))]
    values_of: dict[Variable, Any] = {}
    for key, value in [*(values or {}).items(), *by_name.items()]:
        matching = [v for v in inputs if v is key or (isinstance(key, str) and v.name == key)]
        if len(matching) != 1:
            raise TypeError(
                f"{x} has no input {key}" if not matching else f"{x} has {len(matching)} inputs named {key}"
            )
        values_of[matching[0]] = value
    return function(list(values_of), x)(*values_of.values())


SYNTAX["eval"] = evaluate_at
