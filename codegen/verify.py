"""Checks of a loop program before it is printed: an error here names the pass at fault, where gcc would a line of C."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import NoReturn

from codegen import ir
from codegen.dtypes import C_TYPES
from codegen.operations import Function, Infix, Prefix, spelling
from codegen.runtime import is_routine, parameters
from codegen.visit import expressions, is_in_order, walk

# Who should have prevented an error.
NAMES, LOOPS, MEMORY = "lower/names.py", "lower/loops.py", "lower/buffers.py"
STEPS = "lower/steps.py"
PROGRAM, SIZES, SHARING, OPS = "lower/program.py", "lower/sizes.py", "codegen/transform.py", "an op's element or loops"

PREDICATES = frozenset(
    "lt le gt ge eq neq logical_and logical_or logical_xor logical_not isnan isinf isfinite".split()
)
IDENTIFIER = re.compile(r"[A-Za-z]\w*", re.ASCII)

Memory = tuple[object, ...]  # equal for arrays that stand in the same memory


class VerifyError(Exception):
    """A loop program that is not sound: which function and statement of it, and which pass should have prevented it."""

    def __init__(self, function: str, statement: str, problem: str, blame: str):
        self.function = function
        self.statement = statement
        self.problem = problem
        self.blame = blame
        where = f"{function}, {statement}" if statement else function
        super().__init__(f"{where}: {problem} ({blame} should have prevented this)")


def verify(program: ir.Program) -> None:
    """Check a program, in one pass over its statements.

    Every name is an identifier, declared before it is used and once; operations and dtypes are known and fit together;
    lengths and offsets are int64; only writable arrays are written and only mutable locals assigned; vector lanes
    assign to nothing outside but their sums; calls match the kernels, and no call gets the memory that it writes under
    a second name; nothing is left that lowering replaces. Raises VerifyError for the first thing that is wrong.
    """
    kernels = {kernel.name: kernel for kernel in program.kernels}
    entries = ir.entry_points(program.name)
    if len({*entries, *kernels}) < len(entries) + len(program.kernels):
        raise VerifyError(program.name, "", "two functions have the same name", NAMES)
    called: set[str] = set()
    for kernel in program.kernels:
        _Checker(kernel.name, kernels, called, top=False).run(kernel.params, kernel.body)
    sizes = [*program.given, *program.derived]
    for size in sizes:
        if size.dtype != ir.INDEX:
            raise VerifyError(program.name, "", f"the size {size.name} is {size.dtype}", SIZES)
    arrays = [field.buffer for field in program.arrays]
    plan = _Checker(f"{program.name}_plan", kernels, called, top=True)
    plan.run([*arrays, *program.given], program.plan)
    for size in program.derived:
        if plan.scalars.get(size.name) != size:
            raise VerifyError(plan.function, "", f"the size {size.name} is not computed", SIZES)
    _Checker(program.name, kernels, called, top=True).run([*arrays, *sizes], program.run)
    if unused := kernels.keys() - called:
        raise VerifyError(program.name, "", f"nothing calls {', '.join(sorted(unused))}", SHARING)


class _Checker:
    """Checks one C function.

    scalars, arrays: the names visible at the present statement
    scopes: the names of the scalars of each scope, the innermost last
    mutable: the locals that may be assigned
    memory: what tells whether two arrays share their memory
    top: whether it is one of the entry points, which alone may fail and lay out memory
    """

    def __init__(self, function: str, kernels: dict[str, ir.Kernel], called: set[str], top: bool):
        self.function = function
        self.kernels = kernels
        self.called = called
        self.top = top
        self.scalars: dict[str, ir.Var] = {}
        self.arrays: dict[str, ir.Buffer] = {}
        self.memory: dict[str, Memory] = {}
        self.scopes: list[list[str]] = [[]]
        self.mutable: set[str] = set()
        self.outside_lanes: set[str] = set()
        self.functions: set[str] = set()
        self.declared: set[str] = set()
        self.statement = ""

    def run(self, params: Iterable[ir.Buffer | ir.Var], body: Sequence[ir.Stmt]) -> None:
        """Check the parameters and the body of the function."""
        for param in params:
            if isinstance(param, ir.Buffer):
                self._declare_array(param, (param.name,))
            else:
                self._declare(param)
        for stmt in body:
            self._stmt(stmt)
        self.statement = ""
        if hidden := self.functions & self.declared:
            self._fail(f"a variable hides the function {min(hidden)}, which is called", NAMES)

    # -- names

    def _fail(self, problem: str, blame: str) -> NoReturn:
        raise VerifyError(self.function, self.statement, problem, blame)

    def _name(self, name: str) -> None:
        if not IDENTIFIER.fullmatch(name):
            self._fail(f"{name!r} is no identifier", NAMES)
        if name in self.scalars or name in self.arrays:
            self._fail(f"{name} is declared twice", NAMES)
        self.declared.add(name)

    def _declare(self, var: ir.Var, mutable: bool = False) -> None:
        self._name(var.name)
        self._dtype(var.dtype)
        self.scalars[var.name] = var
        self.scopes[-1].append(var.name)
        if mutable:
            self.mutable.add(var.name)

    def _declare_array(self, buffer: ir.Buffer, memory: Memory) -> None:
        self._name(buffer.name)
        self._dtype(buffer.dtype)
        self.arrays[buffer.name] = buffer
        self.memory[buffer.name] = memory

    def _block(self, body: Sequence[ir.Stmt]) -> None:
        """Check statements in a scope of their own."""
        self.scopes.append([])
        for stmt in body:
            self._stmt(stmt)
        for name in self.scopes.pop():
            del self.scalars[name]
            self.mutable.discard(name)

    def _dtype(self, dtype: str) -> None:
        if dtype not in C_TYPES:
            self._fail(f"no dtype {dtype}", OPS)

    # -- statements

    def _stmt(self, stmt: ir.Stmt) -> None:
        self.statement = _described(stmt)
        match stmt:
            case ir.Declare(var, value, mutable):
                self._value(value, var.dtype, var.name)
                self._declare(var, mutable)
            case ir.Assign(var, value):
                self._assigned(var)
                self._value(value, var.dtype, var.name)
            case ir.Store(buffer, offset, value):
                self._written(buffer)
                self._index(offset, "an offset")
                self._value(value, buffer.dtype, buffer.name)
            case ir.For():
                self._loop(stmt)
            case ir.Runs(loop, length, before, after, streamed):
                if self.top or length < 1:
                    self._fail("only a kernel has runs, and a run has iterations", LOOPS)
                if streamed is not None:
                    self._streamed(streamed, loop)
                self._runs(loop, before, after)
            case ir.Ahead(place, count, distance):
                if self.top or distance < 1:
                    self._fail("only a kernel asks ahead, and not for what it reads next", LOOPS)
                self._pointer(place)
                self._index(count, "a count")
            case ir.InBlocks(extent, work, call, rest):
                self._in_blocks(extent, work, call, rest)
            case ir.If(condition, body, orelse):
                self._value(condition, "bool", "a condition")
                self._block(body)
                self._block(orelse)
            case ir.Call(name, args):
                self._call(name, args)
            case ir.LocalArray(buffer, count):
                if self.top or count < 1 or not buffer.writable:
                    self._fail("a local array is a kernel's own, and holds something", LOOPS)
                self._declare_array(buffer, ("local", buffer.name))
            case ir.Place(buffer, base, offset):
                self._place(buffer, base, offset)
            case ir.Copy(target, source, count):
                self._pointer(target)
                self._pointer(source)
                self._written(target.buffer)
                self._index(count, "a count")
                if target.buffer.dtype != source.buffer.dtype:
                    self._fail(f"copies {source.buffer.dtype} to {target.buffer.dtype}", PROGRAM)
                if self.memory[target.buffer.name] == self.memory[source.buffer.name]:
                    self._fail(f"{target.buffer.name} and {source.buffer.name} are the same memory", MEMORY)
            case ir.Fail(code):
                if not self.top or code < 1:
                    self._fail("a kernel cannot fail" if code > 0 else f"{code} is no number of a check", PROGRAM)
            case ir.Timed(_, body):
                self._block(body)
            case ir.Comment() | ir.SourceLine():
                pass
            case _:
                self._fail("no such statement", LOOPS)

    def _in_blocks(self, extent: ir.Expr, work: ir.Expr, call: ir.Call, rest: Sequence[ir.Stmt]) -> None:
        if self.top:
            self._fail("blocks are called by a kernel of their own", STEPS)
        self._index(extent, "an extent")
        self._index(work, "an amount of work")
        self.scopes.append([])
        own = (ir.FIRST, ir.LAST, ir.BLOCK, ir.BLOCKS)
        for var in own:
            self._declare(var)
        self._stmt(call)
        for var in own[:3]:
            del self.scalars[var.name]
        self._block(rest)
        self.scopes.pop()
        del self.scalars[ir.BLOCKS.name]

    def _runs(self, loop: ir.For, before: Sequence[ir.Stmt], after: Sequence[ir.Stmt]) -> None:
        self.scopes.append([])
        for var in (ir.RUN, ir.END):
            self._declare(var)
        self._block((*before, loop, *after))
        for name in self.scopes.pop():
            del self.scalars[name]

    def _streamed(self, streamed: ir.Streamed, loop: ir.For) -> None:
        self._index(streamed.count, "a count")
        stores = [s for s in loop.body if isinstance(s, ir.Store) and s.buffer == streamed.buffer]
        is_read = any(isinstance(e, ir.Load) and e.buffer == streamed.buffer for e in expressions([loop]))
        if len(stores) != 1 or is_read:
            self._fail(f"{streamed.buffer.name} is not written once and never read", LOOPS)
        if not is_in_order(stores[0].offset, loop.index):
            self._fail(f"{streamed.buffer.name} is not written in order", LOOPS)

    def _loop(self, loop: ir.For) -> None:
        self._index(loop.start, "a start")
        self._index(loop.extent, "an extent")
        if loop.index.dtype != ir.INDEX:
            self._fail(f"the index {loop.index.name} is {loop.index.dtype}", LOOPS)
        plain = (ir.Declare, ir.Assign, ir.Store, ir.SourceLine)
        if (loop.simd or loop.sums) and not all(isinstance(s, plain) for s in loop.body):
            self._fail("vector lanes hold more than plain statements", LOOPS)
        for _, var in loop.sums:
            self._assigned(var)
        before = self.outside_lanes
        if loop.simd:
            self.outside_lanes = self.mutable - {var.name for _, var in loop.sums}
        self._declare(loop.index)
        self._block(loop.body)
        del self.scalars[self.scopes[-1].pop()]
        self.outside_lanes = before

    def _assigned(self, var: ir.Var) -> None:
        if self.scalars.get(var.name) != var:
            self._fail(f"{var.name} is not declared as {var.dtype}", LOOPS)
        if var.name not in self.mutable:
            self._fail(f"{var.name} is assigned but not mutable", LOOPS)
        if var.name in self.outside_lanes:
            self._fail(f"vector lanes assign to {var.name}, which is none of their sums", LOOPS)

    def _written(self, buffer: ir.Buffer) -> None:
        self._array(buffer)
        if not self.arrays[buffer.name].writable:
            self._fail(f"{buffer.name} is written but not writable", MEMORY)

    def _place(self, buffer: ir.Buffer, base: str, offset: ir.Expr) -> None:
        self._index(offset, "an offset")
        if not self.top:
            self._fail("a kernel places an array", PROGRAM)
        if base == "workspace":
            memory: Memory = ("workspace", offset)
        elif base in self.arrays:
            memory = self.memory[base]
            if buffer.writable and not self.arrays[base].writable:
                self._fail(f"{buffer.name} is writable, but not {base}", MEMORY)
        else:
            self._fail(f"{base} is not declared", MEMORY)
        self._declare_array(buffer, memory)

    def _call(self, name: str, args: Sequence[ir.Expr | ir.Pointer]) -> None:
        if name in self.kernels:
            params: Sequence[ir.Buffer | ir.Var] = self.kernels[name].params
        elif is_routine(name):
            params = parameters(name)
        else:
            self._fail(f"there is no {name}", PROGRAM)
        if len(args) != len(params):
            self._fail(f"{name} takes {len(params)} arguments, not {len(args)}", PROGRAM)
        self.called.add(name)
        self.functions.add(name)
        read: set[Memory] = set()
        written: list[Memory] = []
        for arg, param in zip(args, params, strict=True):
            if isinstance(arg, ir.Pointer):
                self._pointer(arg)
                if not isinstance(param, ir.Buffer) or param.dtype != arg.buffer.dtype:
                    self._fail(f"{name} takes no array of {arg.buffer.dtype} as {param.name}", PROGRAM)
                if param.writable:
                    self._written(arg.buffer)
                    written.append(self.memory[arg.buffer.name])
                else:
                    read.add(self.memory[arg.buffer.name])
            elif isinstance(param, ir.Buffer):
                self._fail(f"{name} takes an array as {param.name}", PROGRAM)
            else:
                self._value(arg, param.dtype, param.name)
        if len(set(written)) < len(written) or not read.isdisjoint(written):
            self._fail(f"{name} gets the memory that it writes under a second name", MEMORY)

    # -- expressions

    def _array(self, buffer: ir.Buffer) -> None:
        known = self.arrays.get(buffer.name)
        if known is None or known.dtype != buffer.dtype:
            self._fail(f"{buffer.name} is not declared as an array of {buffer.dtype}", MEMORY)

    def _pointer(self, pointer: ir.Pointer) -> None:
        self._array(pointer.buffer)
        self._index(pointer.offset, "an offset")

    def _index(self, e: ir.Expr, what: str) -> None:
        self._value(e, ir.INDEX, what)

    def _value(self, e: ir.Expr, dtype: str, what: str) -> None:
        """Check an expression, whose value is to have a dtype."""
        if e.dtype != dtype:
            self._fail(f"{what} takes {dtype}, but is given {e.dtype}", OPS)
        for part in walk(e):
            self._expr(part)

    def _expr(self, e: ir.Expr) -> None:
        """Check one part of an expression, without its own parts."""
        match e:
            case ir.Var(_, name):
                if self.scalars.get(name) != e:
                    self._fail(f"{name} is not declared as {e.dtype}", LOOPS)
            case ir.Operation(dtype, name, args):
                self._operation(dtype, name, args)
            case ir.Load(dtype, buffer, offset):
                self._array(buffer)
                if offset.dtype != ir.INDEX or dtype != buffer.dtype:
                    self._fail(f"{buffer.name}, of {buffer.dtype}, is read as {dtype} at {offset.dtype}", LOOPS)
            case ir.Literal(dtype, value):
                self._dtype(dtype)
                if not _is_value(dtype, value):
                    self._fail(f"{value!r} is no {dtype}", OPS)
            case ir.Cast(dtype, arg):
                self._dtype(dtype)
                self._dtype(arg.dtype)
            case ir.Select(dtype, condition, then, otherwise):
                if condition.dtype != "bool" or then.dtype != dtype or otherwise.dtype != dtype:
                    self._fail(f"chooses {then.dtype} or {otherwise.dtype} by {condition.dtype}, for {dtype}", OPS)
            case _:
                self._fail(f"{type(e).__name__} is left", LOOPS)

    def _operation(self, dtype: str, name: str, args: Sequence[ir.Expr]) -> None:
        operand = args[0].dtype
        try:
            spelled = spelling(name, operand)
        except KeyError as error:
            self._fail(str(error.args[0]), OPS)
        if isinstance(spelled, Function):
            self.functions.add(spelled.name)
        elif len(args) != (2 if isinstance(spelled, Infix) else 1):
            assert isinstance(spelled, (Infix, Prefix))
            self._fail(f"{name} of {len(args)} operands", OPS)
        if any(arg.dtype != operand for arg in args):
            self._fail(f"{name} of {', '.join(arg.dtype for arg in args)}", OPS)
        if dtype != ("bool" if name in PREDICATES else operand):
            self._fail(f"{name} of {operand} is not {dtype}", OPS)


def _is_value(dtype: str, value: object) -> bool:
    """Whether a Python number is a value of a dtype; a float may have to be rounded."""
    ctype = C_TYPES[dtype]
    if ctype.kind == "b":
        return isinstance(value, bool)
    if ctype.kind == "f":
        return isinstance(value, (int, float))
    bits = 8 * ctype.bytes
    lowest, highest = (0, 2**bits - 1) if ctype.kind == "u" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return isinstance(value, int) and lowest <= value <= highest


def _described(stmt: ir.Stmt) -> str:
    """A statement in a few words."""
    match stmt:
        case ir.Declare(var) | ir.Assign(var):
            return f"{var.name} = …"
        case ir.Store(buffer):
            return f"{buffer.name}[…] = …"
        case ir.For(index):
            return f"the loop over {index.name}"
        case ir.Call(name):
            return f"the call of {name}"
        case ir.Place(buffer):
            return f"the place of {buffer.name}"
        case ir.Copy(target):
            return f"the copy to {target.buffer.name}"
    return type(stmt).__name__
