"""The loop program: expressions, statements, kernels and programs, as plain frozen data.

Equality, hashing and `match` come with the dataclasses. Python's operators build expressions, so that a scalar formula
such as `1 / (1 + exp(-x))` reads the same on numbers and here; nothing else in this file computes anything.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache

INDEX = "int64"  # the dtype of loop indices, extents and offsets


@dataclass(frozen=True)
class Expr:
    """A scalar value of a numpy dtype."""

    dtype: str

    def __add__(self, other: Expr | float) -> Expr:
        return _arithmetic("add", self, other)

    def __radd__(self, other: float) -> Expr:
        return _arithmetic("add", other, self)

    def __sub__(self, other: Expr | float) -> Expr:
        return _arithmetic("sub", self, other)

    def __rsub__(self, other: float) -> Expr:
        return _arithmetic("sub", other, self)

    def __mul__(self, other: Expr | float) -> Expr:
        return _arithmetic("mul", self, other)

    def __rmul__(self, other: float) -> Expr:
        return _arithmetic("mul", other, self)

    def __truediv__(self, other: Expr | float) -> Expr:
        return _arithmetic("true_divide", self, other)

    def __rtruediv__(self, other: float) -> Expr:
        return _arithmetic("true_divide", other, self)

    def __neg__(self) -> Expr:
        return Operation(self.dtype, "neg", (self,))


@dataclass(frozen=True)
class Literal(Expr):
    """A constant; `value` is a Python bool, int or float."""

    value: bool | int | float


@dataclass(frozen=True)
class Var(Expr):
    """A scalar C variable: a parameter, a loop index or a local."""

    name: str


@dataclass(frozen=True)
class Operation(Expr):
    """A scalar operation of the table in `operations.py`; the operands have the dtype it expects."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class Cast(Expr):
    """A conversion with numpy's meaning of `astype`."""

    arg: Expr


@dataclass(frozen=True)
class Select(Expr):
    """`then` where `condition` (a bool) holds, `otherwise` elsewhere; only the chosen one is evaluated."""

    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True)
class Buffer:
    """A C array of elements of one dtype; a kernel writes to it only if it is `writable`."""

    name: str
    dtype: str
    writable: bool = False


@dataclass(frozen=True)
class Load(Expr):
    """The element of a buffer at a flat offset, counted in elements."""

    buffer: Buffer
    offset: Expr


@dataclass(frozen=True)
class Element(Expr):
    """An element of an array that has no place in memory yet; lowering replaces it, the printer refuses it."""

    array: Hashable
    index: tuple[Expr, ...]


@dataclass(frozen=True)
class Reduce(Expr):
    """`body` combined over all values of the indices `over`; lowering replaces it by an accumulation.

    kind: add, mul, maximum, minimum, and, or; or argmax, argmin, whose value is the flat position of the first best.
    """

    kind: str
    body: Expr
    over: tuple[Var, ...]
    extents: tuple[Expr, ...]


class Stmt:
    """A statement."""


@dataclass(frozen=True)
class Declare(Stmt):
    """A local scalar with its first value; `mutable` if it is assigned to later."""

    var: Var
    value: Expr
    mutable: bool = False


@dataclass(frozen=True)
class Assign(Stmt):
    """`var = value`, to a mutable local."""

    var: Var
    value: Expr


@dataclass(frozen=True)
class Store(Stmt):
    """`buffer[offset] = value`."""

    buffer: Buffer
    offset: Expr
    value: Expr


@dataclass(frozen=True)
class For(Stmt):
    """`body` for index = start … extent-1, in order; `simd` if iterations may run as vector lanes.

    `sums` names the mutable locals that the lanes may accumulate apart and combine at the end: (operator, variable);
    `lanes` is how many there should be, where that is not left to the C compiler. With a `step` the index grows by so
    much. `jammable` promises that rows only add to what others add to, where that does not show: see jam.py.
    `vectors` says more of how it runs, where the compiler would do it badly.
    """

    index: Var
    extent: Expr
    body: tuple[Stmt, ...]
    simd: bool = False
    sums: tuple[tuple[str, Var], ...] = ()
    start: Expr = Literal(INDEX, 0)
    step: int = 1
    jammable: bool = False
    lanes: int = 0
    vectors: Vectors | None = None


@dataclass(frozen=True)
class Vectors:
    """A loop in vectors with lanes for elements of dtype `of`, see rows.py; `idle`: at the end some may have none."""

    of: str
    idle: bool


@dataclass(frozen=True)
class Runs(Stmt):
    """A loop in runs of at most `length` iterations, each with statements `before` and `after` it.

    These may use RUN and END. `streamed` names an array that nothing reads soon: if it is large, what the loop stores
    there goes past the caches.
    """

    loop: For
    length: int
    before: tuple[Stmt, ...] = ()
    after: tuple[Stmt, ...] = ()
    streamed: Streamed | None = None


RUN, END = Var(INDEX, "run"), Var(INDEX, "end")  # the first index of a run, and one behind its last


@dataclass(frozen=True)
class Streamed:
    """An array of `count` elements, written in order: a loop stores to it once in an iteration, at its index or a sum
    that ends with it, and nothing in the kernel reads it. `by_threads`: only several threads gain by going past the
    caches."""

    buffer: Buffer
    count: Expr
    by_threads: bool = False


@dataclass(frozen=True)
class If(Stmt):
    """`body` if the condition holds, `orelse` if not."""

    condition: Expr
    body: tuple[Stmt, ...]
    orelse: tuple[Stmt, ...] = ()


@dataclass(frozen=True)
class Pointer:
    """The address of an element of a buffer, as an argument of a call."""

    buffer: Buffer
    offset: Expr


@dataclass(frozen=True)
class Ahead(Stmt):
    """Ask for the memory of `count` elements that stand `distance` bytes behind a place; nothing is read yet."""

    place: Pointer
    count: Expr
    distance: int


@dataclass(frozen=True)
class Call(Stmt):
    """A kernel or a routine of the runtime, called for its effect."""

    name: str
    args: tuple[Expr | Pointer, ...]


FIRST, LAST = Var(INDEX, "first"), Var(INDEX, "last")  # the first index of a block, and one behind its last
BLOCK, BLOCKS = Var(INDEX, "block"), Var(INDEX, "blocks")  # the number of a block, and how many there are


@dataclass(frozen=True)
class InBlocks(Stmt):
    """`call` for every block of 0 … extent-1, in any order and perhaps by several threads; then `rest`.

    The call may use FIRST, LAST and BLOCK, the rest BLOCKS. There are at most `threads.MOST_BLOCKS`, and fewer where
    `work`, about the number of operations, is small.
    """

    extent: Expr
    work: Expr
    call: Call
    rest: tuple[Stmt, ...] = ()


@dataclass(frozen=True)
class Place(Stmt):
    """A named array inside memory that exists already: `offset` counts bytes for the workspace, elements elsewhere."""

    buffer: Buffer
    base: str
    offset: Expr


@dataclass(frozen=True)
class LocalArray(Stmt):
    """An array of a fixed number of elements that lives as long as the kernel runs; its elements are not set."""

    buffer: Buffer
    count: int


@dataclass(frozen=True)
class Copy(Stmt):
    """`count` elements from one array to another that does not overlap it."""

    target: Pointer
    source: Pointer
    count: Expr


@dataclass(frozen=True)
class Timed(Stmt):
    """`body`, whose duration is added to clock number `clock` of the function."""

    clock: int
    body: tuple[Stmt, ...]


@dataclass(frozen=True)
class Fail(Stmt):
    """Leave the function with a number that names the check that failed."""

    code: int


@dataclass(frozen=True)
class SourceLine(Stmt):
    """The statements that follow belong to a line of the user's program, as debuggers should say."""

    filename: str
    line: int


@dataclass(frozen=True)
class Comment(Stmt):
    """Lines for the reader; any text, made safe by the printer."""

    text: str


@dataclass(frozen=True)
class Kernel:
    """A static C function: buffers and scalars in, buffers out."""

    name: str
    params: tuple[Buffer | Var, ...]
    body: tuple[Stmt, ...]
    comment: str = ""


@dataclass(frozen=True)
class ArrayField:
    """One entry of the function's `arrays`: what the caller passes, in this order."""

    buffer: Buffer
    role: str  # input, shared or output
    comment: str = ""


@dataclass(frozen=True)
class Program:
    """A whole translation unit: what `NAME_plan` and `NAME` do, and the kernels they call.

    `given` are the sizes that the caller fills in, `derived` those that the plan computes; `plan` and `run` are bodies.
    `clocks` is the number of clocks in `run`.
    """

    name: str
    arrays: tuple[ArrayField, ...]
    given: tuple[Var, ...]
    derived: tuple[Var, ...]
    plan: tuple[Stmt, ...]
    run: tuple[Stmt, ...]
    kernels: tuple[Kernel, ...] = ()
    comment: str = ""
    uses_blas: bool = False
    clocks: int = 0


def entry_points(name: str) -> tuple[str, ...]:
    """The names of the functions that the library of a function `name` may have for callers."""
    return tuple(name + end for end in ("", "_plan", "_blas", "_threads", "_seconds", "_plain"))


@lru_cache(4096, typed=True)
def index(value: int) -> Literal:
    """An index constant."""
    return Literal(INDEX, value)


def lift(value: Expr | float, dtype: str) -> Expr:
    """An expression as it is; a Python number as a constant of `dtype`."""
    return value if isinstance(value, Expr) else Literal(dtype, value)


def _arithmetic(name: str, left: Expr | float, right: Expr | float) -> Expr:
    dtype = left.dtype if isinstance(left, Expr) else right.dtype  # type: ignore[union-attr]
    return Operation(dtype, name, (lift(left, dtype), lift(right, dtype)))
