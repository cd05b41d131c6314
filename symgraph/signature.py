"""What a function takes, gives and changes: the arguments of `function`, checked, in one form for any back end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from keyword import iskeyword
from typing import Any

import numpy as np

from codegen.alignment import copied
from symgraph.errors import DtypeError, MissingInputError, ShapeError, UnusedInputError
from symgraph.graph.node import Apply, Constant, SharedVariable, Variable, as_variable
from symgraph.graph.printing import name_of, shown
from symgraph.graph.provenance import warn
from symgraph.graph.traverse import leaves, substitute, toposort
from symgraph.graph.types import format_shape
from symgraph.graph.values import as_array
from symgraph.ops.layout import SpecifyShape

NOT_GIVEN = object()


@dataclass(frozen=True)
class In:
    """An input of a function, with more said about it than its variable does.

    name: the name at a call, if not that of the variable
    value: what it is if a call leaves it out; a shared variable stands for its value at the time of the call
    update: an expression that replaces `value` after each call, so that the function has a state of its own
    strict: take only arrays of exactly the dtype, and convert nothing
    allow_downcast: as in `function`, for this input alone
    borrow, mutable: permission to use or change the argument's memory. Nothing needs it: inputs are never copied
        without need and never changed
    """

    variable: Variable
    name: str | None = None
    value: Any = None
    update: Any = None
    mutable: bool | None = None
    strict: bool = False
    allow_downcast: bool | None = None
    borrow: bool | None = None


@dataclass(frozen=True)
class Out:
    """An output of a function. `borrow`, permission to give out memory that the function keeps, is never needed."""

    variable: Any
    borrow: bool = False


@dataclass(frozen=True, eq=False)
class Input:
    """One input of a checked function."""

    variable: Variable
    name: str | None
    label: str  # for messages
    default: np.ndarray | SharedVariable | None = None
    downcast: bool = False
    strict: bool = False

    def array(self, value: Any, caller: str) -> np.ndarray:
        """`value` as a C-contiguous array of the input's type. Raises DtypeError or ShapeError where it is none."""
        if isinstance(value, Variable):
            raise DtypeError(f"{caller}: {self.label} takes a value, but was given the symbol {value}")
        type = self.variable.type
        if self.strict and not (isinstance(value, np.ndarray) and str(value.dtype) == type.dtype):
            raise DtypeError(f"{caller}: {self.label} is strict: it takes only arrays of dtype {type.dtype}")
        remedy = ", or compile with allow_input_downcast=True"
        return as_array(value, type, f"{caller}: {self.label}", downcast=self.downcast, remedy=remedy)


@dataclass(frozen=True, eq=False)
class Signature:
    """What a function takes, gives and changes; all outputs and updates are expressions of inputs and the old state."""

    name: str | None
    inputs: tuple[Input, ...]
    outputs: tuple[Variable, ...]
    updates: tuple[tuple[SharedVariable, Variable], ...]
    form: str  # of the result: "one", "list", "dict" or "none"
    keys: tuple[Any, ...] = ()  # of a dict
    shared: tuple[SharedVariable, ...] = ()  # all that are read or changed
    _positions: Mapping[str, list[int]] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str | None, ...]:
        """The names of the inputs, in order; None for one that can be given only by its position."""
        return tuple(x.name for x in self.inputs)

    @property
    def wanted(self) -> list[str]:
        """What each output and then each update is called in messages."""
        labels = ["the output"] if self.form == "one" else [f"output {k}" for k in range(1, len(self.outputs) + 1)]
        if self.form == "dict":
            labels = [f"output {shown(str(key))}" for key in self.keys]
        return [*labels, *(f"the update of {shared}" for shared, _ in self.updates)]

    @property
    def caller(self) -> str:
        """The function as messages name it."""
        return f"{shown(self.name) if self.name else 'function'}()"

    def pack(self, values: Sequence[Any]) -> Any:
        """The values of `outputs` in the form that was asked for: one, a list, a dict, or None."""
        if self.form == "one":
            return values[0]
        if self.form == "list":
            return list(values)
        return dict(zip(self.keys, values, strict=True)) if self.form == "dict" else None

    def bind(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[np.ndarray]:
        """The arguments of a call as checked arrays, one for each input, in order.

        Each is C-contiguous, aligned and of its input's dtype and rank; it may share memory with the argument.

        Raises TypeError for arguments that are missing, given twice or unknown, DtypeError and ShapeError for values
        that an input cannot take.
        """
        values = self.place(args, kwargs)
        caller = self.caller
        return [
            x.array(value, caller) if value is not NOT_GIVEN else _default(x)
            for x, value in zip(self.inputs, values, strict=True)
        ]

    def place(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
        """The arguments of a call as one value for each input, in order; NOT_GIVEN for one that has a default.

        Raises TypeError for arguments that are missing, given twice or unknown.
        """
        values = list(args)
        if kwargs or len(values) != len(self.inputs):
            self._fill(values, kwargs)
        return values

    def _fill(self, values: list[Any], kwargs: Mapping[str, Any]) -> None:
        """Fill `values` up to one for each input."""
        if len(values) > len(self.inputs):
            given = "1 argument was" if len(values) == 1 else f"{len(values)} arguments were"
            raise TypeError(f"{self._takes()}; {given} given")
        by_position = len(values)
        values += [NOT_GIVEN] * (len(self.inputs) - by_position)
        for name, value in kwargs.items():
            places = self._positions.get(name, ())
            if not places:
                raise TypeError(f"{self._takes()}; there is no {shown(name)}")
            if len(places) > 1:
                raise TypeError(
                    f"{self._takes()}; {shown(name)} is the name of {len(places)} of them: give these by position"
                )
            if places[0] < by_position:
                raise TypeError(f"{self._takes()}; {shown(name)} was given twice, by position and by name")
            values[places[0]] = value
        missing = [x.label for x, v in zip(self.inputs, values, strict=True) if v is NOT_GIVEN and x.default is None]
        if missing:
            raise TypeError(f"{self._takes()}; {_listed(missing)} {'is' if len(missing) == 1 else 'are'} missing")

    def described(self) -> inspect.Signature:
        """The inputs as parameters, for `help`, editors and `inspect`; any arguments where Python could not say it."""
        kinds = inspect.Parameter
        try:
            return inspect.Signature([
                kinds(x.name, kinds.POSITIONAL_OR_KEYWORD, default=kinds.empty if x.default is None else x.default)
                if x.name and x.name.isidentifier() and not iskeyword(x.name) and len(self._positions[x.name]) == 1
                else kinds(f"argument_{k}", kinds.POSITIONAL_ONLY)
                for k, x in enumerate(self.inputs, 1)
            ])  # fmt: skip
        except ValueError:  # for one without a name after one with a name, or without a default after one with
            return inspect.Signature([kinds("args", kinds.VAR_POSITIONAL), kinds("kwargs", kinds.VAR_KEYWORD)])

    def _takes(self) -> str:
        listed = ", ".join(x.label if x.default is None else f"{x.label}=…" for x in self.inputs)
        return f"{self.caller} takes {listed or 'no arguments'}"


class CallSignature:
    """The `__signature__` of objects that are called; that of their class is how they are made."""

    def __init__(self, described: Callable[[Any], inspect.Signature]):
        self.described = described

    def __get__(self, instance: Any, owner: type | None = None) -> inspect.Signature:
        if instance is None:
            raise AttributeError("__signature__")
        return self.described(instance)


def make_signature(
    inputs: Sequence[Variable | In],
    outputs: Any = None,
    updates: Any = (),
    givens: Any = (),
    name: str | None = None,
    on_unused_input: str = "raise",
    allow_input_downcast: bool | None = None,
) -> Signature:
    """Check what `function` was asked for.

    inputs: a list of variables and `In`s
    outputs: a variable, a list or dict of them, or None; numbers and arrays are constant outputs
    updates: (shared variable, new value) pairs, or a dict
    givens: (variable, replacement) pairs, or a dict; replaced at once, everywhere in outputs and updates
    on_unused_input: 'raise', 'warn' or 'ignore'
    allow_input_downcast: let arguments lose precision, but not range

    Raises TypeError for what is no variable, is shared where it may not be or the reverse; ValueError for what is given
    twice; MissingInputError, UnusedInputError; DtypeError and ShapeError for replacements and updates that do not fit.
    """
    if on_unused_input not in ("raise", "warn", "ignore"):
        raise ValueError(f"on_unused_input is 'raise', 'warn' or 'ignore', not {on_unused_input!r}")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"the name of a function is a string, not {type(name).__name__}")
    taken = _inputs(inputs)
    form, keys, results = _outputs(outputs)
    replaced = _givens(givens, {x.variable for x in taken})
    checked = [_input(x, k, bool(allow_input_downcast)) for k, x in enumerate(taken)]
    state = [(x.default, spec.update) for x, spec in zip(checked, taken, strict=True) if spec.update is not None]
    changes = _updates(updates, state)

    cut = {x.variable: _leaf(x.variable) for x in checked if x.variable.owner is not None}
    replaced = dict(zip(replaced, substitute(list(replaced.values()), cut), strict=True))
    wanted = substitute([*results, *(new for _, new in changes)], {**cut, **replaced})
    checked = [replace(x, variable=cut.get(x.variable, x.variable)) for x in checked]
    results, new_values = wanted[: len(results)], wanted[len(results) :]
    changes = [(shared, _fitted(shared, new)) for (shared, _), new in zip(changes, new_values, strict=True)]

    signature = Signature(name, tuple(checked), tuple(results), tuple(changes), form, keys, (), _positions(checked))
    used = leaves([*results, *(new for _, new in changes)])
    _check_missing(signature, used)
    _check_unused(signature, used, on_unused_input)
    shared = dict.fromkeys([*(x for x in used if isinstance(x, SharedVariable)), *(x for x, _ in changes)])
    return replace(signature, shared=tuple(shared))


def _inputs(given: Any) -> list[In]:
    if isinstance(given, (Variable, In, str, Mapping)) or not isinstance(given, Iterable):
        what = given if isinstance(given, Variable) else type(given).__name__
        raise TypeError(f"inputs is a list of variables, but was given {what}: write function([x, y], …)")
    taken = [x if isinstance(x, In) else In(x) for x in given]
    first: dict[Variable, int] = {}
    for position, spec in enumerate(taken, 1):
        x = spec.variable
        if not isinstance(x, Variable):
            raise TypeError(f"input {position} is {_a(x)}, but an input is a symbolic variable")
        if isinstance(x, SharedVariable):
            raise TypeError(
                f"{x} (made at {x.origin}) is shared: its value lives between calls, so it is no input; "
                f"change it with {name_of(x) or 'its'}{'.' if x.name else ' '}set_value(…), or replace it by givens"
            )
        if isinstance(x, Constant):
            raise TypeError(f"input {position} is the constant {x}, which is known already: leave it out")
        if x in first:
            raise ValueError(f"{x} (made at {x.origin}) is an input twice, as number {first[x]} and number {position}")
        first[x] = position
    return taken


def _input(spec: In, position: int, downcast: bool) -> Input:
    x = spec.variable
    if spec.name is not None and not isinstance(spec.name, str):
        raise TypeError(f"the name of an input is a string, not {type(spec.name).__name__}")
    name = spec.name or x.name or None
    label = shown(name) if name else f"argument {position + 1} ({x.type})"
    downcast = downcast if spec.allow_downcast is None else spec.allow_downcast
    default: np.ndarray | SharedVariable | None = None
    if isinstance(spec.value, SharedVariable):
        default = spec.value
        _check_replacement(x, default, f"the value of {label}")
    elif spec.value is not None:
        default = as_array(spec.value, x.type, label, downcast=downcast, copy=True)
        default.flags.writeable = False
    if spec.update is not None:
        if default is None:
            raise ValueError(f"In({label}, update=…) needs value=…, what {label} is at the first call")
        if not isinstance(default, SharedVariable):
            default = SharedVariable(x.type, copied(default), name)
    return Input(x, name, label, default, downcast, spec.strict)


def _default(x: Input) -> np.ndarray:
    if isinstance(x.default, SharedVariable):
        return as_array(x.default.storage, x.variable.type, x.label, copy=True)
    assert x.default is not None
    return x.default


def _positions(inputs: Sequence[Input]) -> Mapping[str, list[int]]:
    positions: dict[str, list[int]] = {}
    for k, x in enumerate(inputs):
        if x.name is not None:
            positions.setdefault(x.name, []).append(k)
    return positions


def _leaf(x: Variable) -> Variable:
    return Variable(x.type, x.name, None, x.origin)


def _outputs(given: Any) -> tuple[str, tuple[Any, ...], list[Variable]]:
    if given is None:
        return "none", (), []
    if isinstance(given, Mapping):
        return "dict", tuple(given), [_output(x, f"output {shown(str(key))}") for key, x in given.items()]
    if isinstance(given, (list, tuple)):
        return "list", (), [_output(x, f"output {k}") for k, x in enumerate(given, 1)]
    return "one", (), [_output(given, "the output")]


def _output(given: Any, what: str) -> Variable:
    value = given.variable if isinstance(given, Out) else given
    if not isinstance(value, (Variable, bool, int, float, np.ndarray, np.generic)):
        raise TypeError(f"{what} is {_a(value)}, but an output is a variable, or a number or array")
    return as_variable(value)


def _pairs(given: Any, argument: str, first: str) -> list[tuple[Any, Any]]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        return list(given.items())
    pairs = [given] if isinstance(given, (Variable, str)) or not isinstance(given, Iterable) else list(given)
    for pair in pairs:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            what = str(pair) if isinstance(pair, Variable) else _a(pair)
            raise TypeError(f"{argument} is a list of ({first}, new value) pairs, or a dict, but holds {what}")
    return [(pair[0], pair[1]) for pair in pairs]


def _givens(given: Any, inputs: set[Variable]) -> dict[Variable, Variable]:
    replaced: dict[Variable, Variable] = {}
    for old, new in _pairs(given, "givens", "variable"):
        if not isinstance(old, Variable) or isinstance(old, Constant):
            raise TypeError(f"givens replaces variables, but was to replace {old}")
        if old in inputs:
            raise ValueError(f"{old} (made at {old.origin}) is an input and also given: it can be only one of them")
        if old in replaced:
            raise ValueError(f"{old} (made at {old.origin}) is given twice: {replaced[old]} and {new}")
        what = f"the replacement given for {old}"
        value = new if isinstance(new, Variable) else Constant(as_array(new, old.type, what, copy=True))
        _check_replacement(old, value, what)
        replaced[old] = value
    return replaced


def _check_replacement(old: Variable, new: Variable, what: str) -> None:
    if new.ndim != old.ndim:
        raise ShapeError(f"{what} has rank {new.ndim}, but {old} has rank {old.ndim}{_lines(new, old)}")
    if new.dtype != old.dtype:
        raise DtypeError(
            f"{what} is {new.dtype}, but {old} is {old.dtype}: cast it, as in .astype({old.dtype!r}){_lines(new, old)}"
        )
    _check_lengths(old, new, what)


def _check_lengths(old: Variable, new: Variable, what: str) -> None:
    if any(n is not None and m is not None and n != m for n, m in zip(old.type.shape, new.type.shape, strict=True)):
        raise ShapeError(
            f"{what} has shape {format_shape(new.type.shape)}, but {old} has shape {format_shape(old.type.shape)}"
            f"{_lines(new, old)}"
        )


def _updates(given: Any, state: Iterable[tuple[Any, Any]]) -> list[tuple[SharedVariable, Variable]]:
    changes: dict[SharedVariable, Variable] = {}
    for shared, new in [*_pairs(given, "updates", "shared variable"), *state]:
        if not isinstance(shared, SharedVariable):
            what = (
                f"{shared} (made at {shared.origin})" if isinstance(shared, Variable) else _a(shared)
            )
            raise TypeError(f"only a shared variable can be updated, and {what} is not shared")
        what = f"the update of {shared}"
        if not isinstance(new, Variable):
            new = Constant(as_array(new, shared.type, what, copy=True))
        if shared in changes:
            raise ValueError(
                f"{shared} (made at {shared.origin}) is updated twice"
                f"\n  to {changes[shared]} at {changes[shared].origin}\n  to {new} at {new.origin}"
            )
        if new.ndim != shared.ndim:
            raise ShapeError(f"{what} has rank {new.ndim}, but {shared} has rank {shared.ndim}{_lines(new, shared)}")
        if not np.can_cast(new.dtype, shared.dtype, "safe"):
            raise DtypeError(
                f"{what} ({shared.dtype}) has dtype {new.dtype}, which would lose information: "
                f"cast it, as in .astype({shared.dtype!r}){_lines(new, shared)}"
            )
        changes[shared] = new
    return list(changes.items())


def _fitted(shared: SharedVariable, new: Variable) -> Variable:
    """A new value in the dtype of the shared variable, where no length contradicts it; what the type fixes is checked
    at the call.
    """
    _check_lengths(shared, new, f"the update of {shared}")
    if any(n is not None and m is None for n, m in zip(shared.type.shape, new.type.shape, strict=True)):
        new = Apply(SpecifyShape(shared.type.shape), (new,), new.origin, new.name).output
    return new if new.dtype == shared.dtype else new.astype(shared.dtype)


def _check_missing(signature: Signature, used: Sequence[Variable]) -> None:
    inputs = {x.variable for x in signature.inputs}
    missing = [x for x in used if x not in inputs and not isinstance(x, SharedVariable)]
    if missing:
        names = _listed([str(x) for x in missing])
        what = "which is neither an input nor given" if len(missing) == 1 else "which are neither inputs nor given"
        uses = [f"  {x}: made at {x.origin}, used in {_use(signature, x)}" for x in missing[:3]]
        named = {x.variable.name: x.variable for x in signature.inputs if x.variable.name}
        for x in missing[:3]:
            if x.name in named:
                other = named[x.name]
                uses.append(f"  the input called {x.name} is another variable, made at {other.origin}")
        raise MissingInputError("\n".join([f"{signature.caller} needs {names}, {what}", *uses]))


def _use(signature: Signature, x: Variable) -> str:
    """The expression and line that use `x`, and the output or update that this is for."""
    roots = [*signature.outputs, *(new for _, new in signature.updates)]
    depending = {x}
    expression = None
    for node in toposort(roots):
        if not depending.isdisjoint(node.inputs):
            depending.add(node.output)
            expression = node.output if expression is None else expression
    purpose = next(what for what, root in zip(signature.wanted, roots, strict=True) if root in depending)
    if expression is None:
        return purpose
    line = f" ({expression.origin}   {expression.origin.text}".rstrip() + ")"
    return f"{expression}{line}, for {purpose}"


def _check_unused(signature: Signature, used: Iterable[Variable], policy: str) -> None:
    known = set(used)
    unused = [x.label for x in signature.inputs if x.variable not in known]
    if not unused or policy == "ignore":
        return
    them = "it" if len(unused) == 1 else "them"
    text = f"{signature.caller} takes {_listed(unused)}, but no output or update depends on {them}"
    if policy == "raise":
        raise UnusedInputError(f"{text}: leave {them} out of the inputs, or pass on_unused_input='ignore'")
    warn(text)


def _a(x: object) -> str:
    """What kind of thing something is, with its article."""
    name = type(x).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"


def _lines(new: Variable, old: Variable) -> str:
    """The lines that made a value and what it is for."""
    text = f"\n  {new.origin}   {new.origin.text}".rstrip()
    return f"{text}\n  made at  {old}: {old.origin}" if old.origin != new.origin else text


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
