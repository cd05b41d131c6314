"""Operations and bytes of statements, as polynomials in the sizes they run over."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from codegen import ir
from codegen.c_expressions import expression
from codegen.dtypes import itemsize
from codegen.visit import operands, rebuild, statements, walk


@dataclass(frozen=True)
class Polynomial:
    """A sum of products of names: {("batch", "n"): 2} is `2*batch*n`. Names stand for integers that are not negative.
    """

    terms: Mapping[tuple[str, ...], int]

    def __add__(self, other: Polynomial) -> Polynomial:
        total = dict(self.terms)
        for factors, coefficient in other.terms.items():
            total[factors] = total.get(factors, 0) + coefficient
        return Polynomial({factors: c for factors, c in total.items() if c})

    def __mul__(self, other: Polynomial) -> Polynomial:
        total = Polynomial({})
        for left, a in self.terms.items():
            for right, b in other.terms.items():
                total += Polynomial({tuple(sorted((*left, *right))): a * b})
        return total

    def __call__(self, sizes: Mapping[str, int]) -> int:
        """The value where the names stand for `sizes`. Raises KeyError for a name that is missing."""
        total = 0
        for factors, coefficient in self.terms.items():
            for name in factors:
                coefficient *= sizes[name]
            total += coefficient
        return total

    def __str__(self) -> str:
        parts = []
        for factors, coefficient in sorted(self.terms.items(), key=lambda term: (-len(term[0]), term[0])):
            shown = [f"{coefficient:,}"] if coefficient != 1 or not factors else []
            parts.append("*".join([*shown, *factors]))
        return " + ".join(parts) or "0"

    @property
    def names(self) -> frozenset[str]:
        """The names that occur."""
        return frozenset(name for factors in self.terms for name in factors)


def number(value: int) -> Polynomial:
    """A constant."""
    return Polynomial({(): value} if value else {})


ZERO, ONE = number(0), number(1)
Loops = tuple[tuple[str, Polynomial], ...]  # the index and the extent of each loop around a statement


@dataclass(frozen=True)
class Cost:
    """What some statements do at the least: arithmetic operations, a function counting as one, and memory traffic.

    read, written: bytes, each element of an array counted once however often it is used
    """

    operations: Polynomial = ZERO
    read: Polynomial = ZERO
    written: Polynomial = ZERO

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.operations + other.operations, self.read + other.read, self.written + other.written)

    def __str__(self) -> str:
        return f"{self.operations} operations; {self.read} bytes read, {self.written} written"


def cost(body: Iterable[ir.Stmt], kernels: Mapping[str, ir.Kernel], small: Container[str] = ()) -> Cost:
    """The cost of statements, calls of `kernels` and of matrix products included; `small` arrays stay in the cache."""
    meter = _Meter(kernels)
    meter.count(body, {}, ())
    return meter.total(small)


class _Meter:
    """Adds up operations; notes for each array how many of its elements are touched."""

    def __init__(self, kernels: Mapping[str, ir.Kernel]):
        self.kernels = kernels
        self.operations = ZERO
        self.read: dict[tuple[str, str], Polynomial] = {}
        self.written: dict[tuple[str, str], Polynomial] = {}
        self.stored: set[tuple[ir.Buffer, ir.Expr]] = set()  # what is read there is in the cache still
        self.places: dict[ir.Expr, ir.Expr] = {}  # what locals that count stand for

    def total(self, small: Container[str]) -> Cost:
        return Cost(self.operations, _bytes(self.read, small), _bytes(self.written, small))

    def count(self, body: Iterable[ir.Stmt], known: Mapping[str, Polynomial], loops: Loops) -> None:
        """Count statements inside `loops`; `known` tells what parameters stand for."""
        times = ONE
        for _, trips in loops:
            times = times * trips
        for stmt in body:
            match stmt:
                case ir.For(index, extent, inner):
                    trips = self._extent(extent, known) + number(-1) * self._extent(stmt.start, known)
                    self.count(inner, known, (*loops, (index.name, trips)))
                case ir.Runs(loop):
                    self.count([loop], known, loops)
                case ir.Ahead():
                    pass  # what it asks for is counted where it is read
                case ir.InBlocks(extent, _, call, rest):
                    whole = {ir.FIRST.name: ZERO, ir.LAST.name: _extent(extent, known)}
                    self.count([call], {**known, **whole}, loops)
                    self.count(rest, {**known, ir.BLOCKS.name: ONE}, loops)
                case ir.If(condition, inner, orelse):
                    self._expression(condition, loops, times)
                    self.count(inner, known, loops)
                    self.count(orelse, known, loops)
                case ir.Timed(_, inner):
                    self.count(inner, known, loops)
                case ir.Call(name, args):
                    self._call(name, args, known, times)
                case ir.Copy(target, source, length):
                    elements = _extent(length, known) * times
                    _note(self.read, source.buffer, elements)
                    _note(self.written, target.buffer, elements)
                case _:
                    if isinstance(stmt, ir.Declare) and stmt.var.dtype == ir.INDEX and not _loads(stmt.value):
                        self.places[stmt.var] = self._written_out(stmt.value)
                    for operand in (stmt.value,) if isinstance(stmt, ir.Store) else operands(stmt):
                        if isinstance(operand, ir.Expr):
                            self._expression(operand, loops, times)
                    if isinstance(stmt, ir.Store):
                        _note(self.written, stmt.buffer, _distinct(self._written_out(stmt.offset), loops))
                        self.stored.add((stmt.buffer, stmt.offset))

    def _written_out(self, e: ir.Expr) -> ir.Expr:
        return rebuild(e, self.places.get) if self.places else e

    def _extent(self, e: ir.Expr, known: Mapping[str, Polynomial]) -> Polynomial:
        return _extent(self._written_out(e), known)

    def _expression(self, e: ir.Expr, loops: Loops, times: Polynomial) -> None:
        stack = [e]
        while stack:
            part = stack.pop()
            match part:
                case ir.Load(_, buffer, place):
                    if (buffer, place) not in self.stored:
                        _note(self.read, buffer, _distinct(self._written_out(place), loops))
                    stack.extend(inner for inner in walk(place) if isinstance(inner, ir.Load))
                case ir.Operation(_, _, args):
                    self.operations += times
                    stack.extend(args)
                case ir.Cast(_, arg):
                    stack.append(arg)
                case ir.Select(_, condition, then, otherwise):
                    stack.extend((condition, then, otherwise))

    def _call(
        self, name: str, args: tuple[ir.Expr | ir.Pointer, ...], known: Mapping[str, Polynomial], times: Polynomial
    ) -> None:
        if name in self.kernels:
            kernel = self.kernels[name]
            inner = _Meter(self.kernels)
            passed = list(zip(kernel.params, args, strict=True))
            sizes = {p.name: _extent(a, known) for p, a in passed if isinstance(p, ir.Var)}
            inner.count(kernel.body, sizes, ())
            own = {s.buffer.name for s in statements(kernel.body) if isinstance(s, ir.LocalArray)}
            renamed = {p.name: a.buffer for p, a in passed if isinstance(a, ir.Pointer)}
            self.operations += inner.operations * times
            for mine, theirs in ((self.read, inner.read), (self.written, inner.written)):
                for (buffer, dtype), elements in theirs.items():
                    if buffer in own:
                        continue  # it stays in the cache
                    _note(mine, renamed.get(buffer, ir.Buffer(buffer, dtype)), elements * times)
            return
        pointers = [a for a in args if isinstance(a, ir.Pointer)]
        if name.startswith("sg_gemm"):
            m, n, k = (_extent(a, known) for a in args[2:5])
            sizes_of = (m * k, k * n, m * n)
            self.operations += number(2) * m * n * k * times
        else:
            m, n = (_extent(a, known) for a in args[1:3])
            transposed = isinstance(args[0], ir.Literal) and bool(args[0].value)
            sizes_of = (m * n, m if transposed else n, n if transposed else m)
            self.operations += number(2) * m * n * times
        for pointer, elements in zip(pointers, sizes_of, strict=True):
            _note(self.written if pointer is pointers[-1] else self.read, pointer.buffer, elements * times)


def _loads(e: ir.Expr) -> bool:
    return any(isinstance(part, ir.Load) for part in walk(e))


def _distinct(offset: ir.Expr, loops: Loops) -> Polynomial:
    """How many elements an offset runs through: those of the loops whose index it has."""
    used = {e.name for e in walk(offset) if isinstance(e, ir.Var)}
    gathered = _loads(offset)
    elements = ONE
    for index, extent in loops:
        if index in used or gathered:
            elements = elements * extent
    return elements


def _note(table: dict[tuple[str, str], Polynomial], buffer: ir.Buffer, elements: Polynomial) -> None:
    """An array is read or written as far as its largest use goes."""
    key = (buffer.name, buffer.dtype)
    known = table.get(key, ZERO)
    table[key] = elements if _degree(elements) >= _degree(known) else known


def _degree(polynomial: Polynomial) -> int:
    return max(map(len, polynomial.terms), default=0)


def _bytes(table: Mapping[tuple[str, str], Polynomial], small: Container[str]) -> Polynomial:
    total = ZERO
    for (name, dtype), elements in table.items():
        if name not in small:
            total += number(itemsize(dtype)) * elements
    return total


def polynomial(e: ir.Expr) -> Polynomial:
    """An integer expression of sizes; what is no sum or product of sizes stands for itself, by its text in C."""
    return _extent(e, {})


def _extent(e: ir.Expr | ir.Pointer, known: Mapping[str, Polynomial]) -> Polynomial:
    """A size as a polynomial; what is no sum or product of sizes stands for itself, by its text in C."""
    match e:
        case ir.Literal(_, value):
            return number(int(value))
        case ir.Var(_, name):
            return known.get(name, Polynomial({(name,): 1}))
        case ir.Operation(_, "mul", (left, right)):
            return _extent(left, known) * _extent(right, known)
        case ir.Operation(_, "add", (left, right)):
            return _extent(left, known) + _extent(right, known)
        case ir.Select(_, _, _, ir.Literal(_, most)):  # a length but for the end of the array
            return number(int(most))
    assert isinstance(e, ir.Expr)
    return Polynomial({(expression(e),): 1})
