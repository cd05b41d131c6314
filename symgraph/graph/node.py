"""The graph: variables, the ops that make them, and the applications that join the two.

Nodes are immutable, but for a variable's name. Equal graphs may exist twice, each with its own names and source lines;
the rewriter merges them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from codegen import ir
from codegen.alignment import copied
from symgraph.errors import DtypeError, GraphError
from symgraph.graph.guard import Guard
from symgraph.graph.provenance import Origin, current_origin
from symgraph.graph.syntax import SYNTAX, Syntax
from symgraph.graph.types import NEW_VARIABLE, TensorType, dtype_name, format_shape
from symgraph.graph.values import as_array, as_constant
from symgraph.options import config


class Variable(Syntax):
    """A symbol for an array of a type: an input, or the output of `owner`."""

    __slots__ = ("__weakref__", "name", "origin", "owner", "type")

    def __init__(
        self, type: TensorType, name: str | None = None, owner: Apply | None = None, origin: Origin | None = None
    ) -> None:
        self.type = type
        self.name = name
        self.owner = owner
        self.origin = origin if origin is not None else current_origin()

    __hash__ = object.__hash__

    @property
    def dtype(self) -> str:
        """The dtype of the elements, as numpy names it."""
        return self.type.dtype

    @property
    def ndim(self) -> int:
        """The rank."""
        return self.type.ndim

    @property
    def broadcastable(self) -> tuple[bool, ...]:
        """Which lengths are known to be 1."""
        return self.type.broadcastable

    def __repr__(self) -> str:
        return str(SYNTAX["repr"](self))

    def __str__(self) -> str:
        return str(SYNTAX["str"](self))

    def _repr_latex_(self) -> str:
        return str(SYNTAX["latex"](self))


NEW_VARIABLE.append(Variable)


class Constant(Variable):
    """A value fixed in the graph; the array is private and read-only."""

    __slots__ = ("data",)

    def __init__(self, data: np.ndarray, name: str | None = None, origin: Origin | None = None):
        super().__init__(TensorType(dtype_name(data.dtype), data.shape), name, None, origin)
        self.data = data

    @property
    def value(self) -> Any:
        """The Python number of a constant of one element."""
        return self.data.item()


class SharedVariable(Variable):
    """A value that lives between calls and that updates replace.

    The type leaves lengths open unless `shape` fixes them, so `set_value` may change them. `borrowed` tells that
    somebody else may have the memory of `storage` too.
    """

    __slots__ = ("borrowed", "guard", "storage")

    def __init__(self, type: TensorType, storage: np.ndarray, name: str | None = None, borrowed: bool = False):
        super().__init__(type, name)
        self.storage = storage
        self.borrowed = borrowed
        self.guard = Guard()  # held while the value is read or replaced

    def __bool__(self) -> bool:
        """True for arrays: Theano programs ask `if not W` where they mean whether it was given."""
        return self.ndim > 0 or super().__bool__()

    def get_value(self, borrow: bool = False, return_internal_type: bool = False) -> np.ndarray:
        """The value: a copy, or with `borrow=True` the array itself, which updates may overwrite."""
        with self.guard:
            self.borrowed = self.borrowed or borrow
            return self.storage if borrow else self.storage.copy()

    def set_value(self, value: Any, borrow: bool = False) -> None:
        """Replace the value by an array (or nested lists) of the same dtype and rank.

        Raises DtypeError for no numbers or a cast that would lose information, ShapeError for another rank or a length
        that the type fixes to another.
        """
        if isinstance(value, Variable):
            raise DtypeError(f"{self} takes a value, but was given the symbol {value}; updates take symbols")
        array = as_array(value, self.type, str(self), copy=not borrow)
        with self.guard:
            self.storage, self.borrowed = (array, borrow) if array.flags.writeable else (copied(array), False)


def as_variable(value: Any, dtype: str | None = None) -> Variable:
    """A variable as it is; a number, list or array as a constant.

    Raises DtypeError for what is no array of numbers.
    """
    if isinstance(value, Variable):
        return value
    if isinstance(value, (list, tuple)) and any(isinstance(item, Variable) for item in value):
        return SYNTAX["stack"](value)
    return Constant(as_constant(value, dtype, config.floatX))


class Apply:
    """One use of an op: it makes `output` from `inputs`."""

    __slots__ = ("inputs", "op", "output")

    def __init__(self, op: Op, inputs: tuple[Variable, ...], origin: Origin | None = None, name: str | None = None):
        try:
            type = op.infer_type(*[x.type for x in inputs])
        except GraphError as error:
            raise located(error, inputs, origin if origin is not None else current_origin()) from None
        self.op = op
        self.inputs = inputs
        self.output = Variable(type, name, self, origin)


Example = tuple[Callable[..., Any], Sequence[Any]]  # (function of variables, the arrays to call it with)


class Sized(Protocol):
    """An operand whose lengths are known as int64 scalars; `value` is the operand itself, if an integer scalar."""

    @property
    def variable(self) -> Variable: ...
    @property
    def value(self) -> Variable: ...
    @property
    def shape(self) -> tuple[Variable, ...]: ...


class Same(Protocol):
    """Declares two lengths equal and returns the one to go on with."""

    def __call__(self, left: Variable, right: Variable) -> Variable: ...


class Operand(Protocol):
    """An operand inside `element`: `x[i, j]` is one element of it, `x[()]` the value of a scalar."""

    @property
    def type(self) -> TensorType: ...
    @property
    def extents(self) -> tuple[ir.Expr, ...]: ...
    def __getitem__(self, index: tuple[ir.Expr, ...]) -> ir.Expr: ...


class Placed(Protocol):
    """An array in memory inside `loops`: C-contiguous, or with its matrices stored by columns where `transposed`."""

    @property
    def type(self) -> TensorType: ...
    @property
    def extents(self) -> tuple[ir.Expr, ...]: ...
    @property
    def pointer(self) -> ir.Pointer: ...
    @property
    def transposed(self) -> bool: ...
    def load(self, *index: ir.Expr) -> ir.Expr: ...
    def store(self, index: Sequence[ir.Expr], value: ir.Expr) -> ir.Stmt: ...


class Written(Protocol):
    """An operand inside `format`: `f"{x}"` is its text, `f"{x:sum}"` has it in parentheses if it binds less than a sum.

    The levels are those of Python, loosest first: comparison or xor and shift sum product unary power atom.
    """

    @property
    def type(self) -> TensorType: ...
    def __format__(self, level: str) -> str: ...


class Op:
    """What makes one array from others. A subclass is a frozen dataclass that says everything about the op.

    Always:
        infer_type(*types) -> TensorType    raises ShapeError or DtypeError, with {0}, {1} for the operands
        reference(*arrays) -> array         the value, by numpy
        gradient(*inputs, out, g) -> shares one for each input, or None where no gradient flows
        examples() -> cases                 a classmethod: (function of variables, arrays) pairs that tests run
        shape(same, *inputs) -> lengths     of the result; by default those of the first operand
    And exactly one of these, by which the op becomes C:
        element(index, *inputs) -> scalar   one element of the result
        expand(*inputs) -> variable         the same value in other ops
        loops(out, *inputs) -> statements   that fill `out`
        alias = True                        the memory of the first operand, read with other lengths

    A class that lacks one of them is refused when it is defined.
    """

    alias: ClassVar[bool] = False
    inline: ClassVar[bool] = False  # `element` only re-indexes or generates: evaluated where it is used, not stored
    reduced: ClassVar[bool] = False  # `element` combines over `axes`; its index is that of the operand
    starts_from: ClassVar[int | None] = None  # `loops` finds a copy of this operand in `out` (often its own memory)
    absorbs_transpose: ClassVar[bool] = False  # `loops` takes matrices stored by columns

    def __init_subclass__(cls) -> None:
        needed = ("infer_type", "reference", "gradient", "examples")
        missing = [m for m in needed if next(c for c in cls.__mro__ if m in vars(c)) is Op]
        ways = [w for w in ("element", "expand", "loops") if hasattr(cls, w)] + ["alias"] * cls.alias
        if missing or len(ways) != 1:
            raise TypeError(
                f"op {cls.__name__} lacks {missing}; of element, expand, loops and alias it has {ways}, and needs one"
            )

    def __call__(self, *inputs: Any) -> Variable:
        """Apply the op to variables or values."""
        return Apply(self, tuple(as_variable(x) for x in inputs)).output

    def infer_type(self, *types: TensorType) -> TensorType:
        raise NotImplementedError

    def reference(self, *arrays: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def gradient(self, *inputs_out_g: Variable) -> Sequence[Variable | None]:
        raise NotImplementedError

    @classmethod
    def examples(cls) -> Iterable[Example]:
        raise NotImplementedError

    def shape(self, same: Same, *inputs: Sized) -> Sequence[Variable]:
        """The lengths of the result, as int64 scalars; `same(a, b)` declares two lengths equal."""
        return inputs[0].shape

    def shared_work(self, out: Placed, *inputs: Placed) -> ir.Expr | None:
        """About how many operations `loops` does, if it is one loop whose iterations threads may share out."""
        return None

    def checks(self, *inputs: Sized) -> Iterable[Variable]:
        """Bool scalars that must hold before the result may be computed, such as indices within bounds."""
        return ()

    @property
    def label(self) -> str:
        """The op's name for people: by default that of the class, `ArgMax` as `arg_max`."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).lower()

    @property
    def parameters(self) -> list[str]:
        """The fields, as in `axis=0`, but for what the label tells already."""
        texts: list[str] = []
        names: list[str] = [f.name for f in fields(self)] if is_dataclass(self) else []
        for name in names:
            value = getattr(self, name)
            if name == "axes" and isinstance(value, tuple):
                texts.append(f"axis={value[0] if len(value) == 1 else value}")
            elif str(value) != self.label:
                texts.append(f"{name}={value!r}")
        return texts

    def format(self, *operands: Written) -> str | tuple[str, str]:
        """How people write the op: a text that binds as an atom, such as `f"{x:atom}.T"`, or (text, its level).

        By default a call, `sum(x, axis=0)`, of the label, the operands and the parameters; all axes go unsaid.
        """
        arguments = [f"{x}" for x in operands]
        all_axes = operands and getattr(self, "axes", None) == tuple(range(operands[0].type.ndim))
        parameters = [text for text in self.parameters if not (all_axes and text.startswith("axis="))]
        return f"{self.label}({', '.join(arguments + parameters)})"

    def latex(self, *operands: Written) -> str | tuple[str, str] | None:
        """How TeX writes the op, as for `format`: a text that binds as an atom, or (text, its level).

        By default None: as `format` writes it, in typewriter. The levels are those of `symgraph.latex`.
        """
        return None


def located(error: GraphError, inputs: Sequence[Variable], origin: Origin) -> GraphError:
    """The same error with the operands' names in the text, the user's line, and the lines that made the operands."""
    names = [Named(x, k) for k, x in enumerate(inputs)]
    lines = [str(error.args[0]).format(*names) if error.args else "", f"  {origin}   {origin.text}".rstrip()]
    made = [f"{x}: {x.origin}" for x in inputs if x.name and x.origin != origin]
    if made:
        lines.append("  made at  " + "   ".join(dict.fromkeys(made)))
    return type(error)("\n".join(lines))


class Named:
    """An operand in an error message."""

    def __init__(self, variable: Variable, position: int):
        self.variable = variable
        self.position = position

    @property
    def name(self) -> str:
        """The user's name, or the expression if it is short."""
        text = str(self.variable)
        return text if len(text) <= 40 else f"operand {self.position + 1}"

    def __str__(self) -> str:
        return f"{self.name} {format_shape(self.variable.type.shape)}"
