"""What a nest is put together of: values, reductions and writes; and how a reduction is written in statements."""

from __future__ import annotations

from dataclasses import dataclass

from codegen import ir
from codegen.dtypes import c_type
from codegen.offsets import flat_offset
from codegen.operations import REDUCTIONS, identity
from symgraph.graph.provenance import Origin
from symgraph.lower.elements import LOOP_INDICES

EXTREMES = ("maximum", "minimum")
BEST_SO_FAR = {"argmax": "maximum", "argmin": "minimum"}


@dataclass(eq=False)
class Value:
    """A scalar that depends on the indices of the outer `depth` loops."""

    order: int
    depth: int
    expr: ir.Expr
    name: str
    needs: list[Value | Accumulation]
    origin: Origin
    uses: int = 0
    deepest_use: int = 0

    @property
    def var(self) -> ir.Var:
        """The local variable, where the value is not written in place of its only use."""
        return ir.Var(self.expr.dtype, self.name)

    @property
    def is_inlined(self) -> bool:
        """Whether it is written in place of its use."""
        trivial = isinstance(self.expr, (ir.Literal, ir.Var))
        return trivial or (self.uses <= 1 and self.deepest_use == self.depth)


@dataclass(eq=False)
class Accumulation:
    """A reduction: at `depth` it takes in one more term; it is complete in the loops outside `complete`.

    term_name: of the next term, where it is named: for the largest and the smallest and their positions
    aside_name: of what is kept beside the result: the best term so far for a position, and for a largest or smallest
        float whether a NaN was among the terms, so that the comparison itself may go on in vector lanes: a whole
        number as wide as the term, since bools would leave the lanes
    """

    order: int
    depth: int
    complete: int
    reduction: ir.Reduce
    name: str
    term_name: str
    aside_name: str
    needs: list[Value | Accumulation]
    origin: Origin

    @property
    def var(self) -> ir.Var:
        """What the reduction comes to."""
        return ir.Var(self.reduction.dtype, self.name)

    @property
    def term(self) -> ir.Var:
        """The next term."""
        return ir.Var(self.reduction.body.dtype, self.term_name)

    @property
    def aside(self) -> ir.Var:
        """The best term so far, or whether there was a NaN."""
        body = self.reduction.body.dtype
        is_position = self.reduction.kind in BEST_SO_FAR
        return ir.Var(body if is_position else f"int{8 * c_type(body).bytes}", self.aside_name)

    @property
    def avoids_nan(self) -> bool:
        """Whether NaNs are noted apart."""
        return self.reduction.kind in EXTREMES and c_type(self.reduction.dtype).kind == "f"


@dataclass(eq=False)
class Write:
    """A store to memory at some depth; of some `kind` of reduction, if it joins with what is there."""

    order: int
    depth: int
    buffer: ir.Buffer
    offset: ir.Expr
    expr: ir.Expr
    needs: list[Value | Accumulation]
    origin: Origin
    kind: str = ""


Sink = Accumulation | Write


def _operation(name: str, *args: ir.Expr) -> ir.Expr:
    return ir.Operation("bool", name, args)


def _not(e: ir.Expr) -> ir.Expr:
    return _operation("logical_not", e)


def start(sink: Accumulation) -> list[ir.Stmt]:
    """The locals of a reduction, as they are before the first term."""
    reduction = sink.reduction
    if reduction.kind in BEST_SO_FAR:
        return [
            ir.Declare(sink.aside, identity(BEST_SO_FAR[reduction.kind], sink.aside.dtype), mutable=True),
            ir.Declare(sink.var, ir.Literal(sink.var.dtype, 0), mutable=True),
        ]
    aside = [ir.Declare(sink.aside, ir.Literal(sink.aside.dtype, 0), mutable=True)] if sink.avoids_nan else []
    return [ir.Declare(sink.var, identity(reduction.kind, sink.var.dtype), mutable=True), *aside]


def take_in(sink: Accumulation, term: ir.Expr, flat: bool) -> list[ir.Stmt]:
    """One more term. `flat`: the loops run as one, whose index is the position."""
    reduction = sink.reduction
    if sink.avoids_nan:
        return _compare(sink, term)
    if reduction.kind in REDUCTIONS:
        return [ir.Assign(sink.var, combine(reduction.kind, sink.var, term))]
    better = _operation("gt" if reduction.kind == "argmax" else "lt", sink.term, sink.aside)
    if c_type(term.dtype).kind == "f":
        first_nan = _operation("logical_and", _operation("isnan", sink.term), _not(_operation("isnan", sink.aside)))
        better = _operation("logical_or", better, first_nan)
    position = LOOP_INDICES[0] if flat else flat_offset(reduction.over, reduction.extents)
    return [
        ir.Declare(sink.term, term),
        ir.If(better, (ir.Assign(sink.aside, sink.term), ir.Assign(sink.var, position))),
    ]


def _compare(sink: Accumulation, term: ir.Expr) -> list[ir.Stmt]:
    """One more term of a largest or smallest float: a NaN compares false, and is noted."""
    order = (sink.var, sink.term) if sink.reduction.kind == "maximum" else (sink.term, sink.var)
    is_nan = ir.Cast(sink.aside.dtype, _operation("isnan", sink.term))
    return [
        ir.Declare(sink.term, term),
        ir.Assign(sink.var, ir.Select(sink.var.dtype, _operation("lt", *order), sink.term, sink.var)),
        ir.Assign(sink.aside, ir.Operation(sink.aside.dtype, "bitwise_or", (sink.aside, is_nan))),
    ]


def finish(sink: Accumulation) -> list[ir.Stmt]:
    """What is left to do after the last term."""
    if not sink.avoids_nan:
        return []
    dtype = sink.var.dtype
    was_seen = _operation("neq", sink.aside, ir.Literal(sink.aside.dtype, 0))
    return [ir.Assign(sink.var, ir.Select(dtype, was_seen, ir.Literal(dtype, float("nan")), sink.var))]


def carried(sink: Accumulation) -> tuple[tuple[str, ir.Var], ...]:
    """The locals that a reduction goes on with from term to term, each with the kind that combines two of them."""
    assert sink.reduction.kind not in BEST_SO_FAR, "a position is not combined from parts"
    return ((sink.reduction.kind, sink.var), *((("seen", sink.aside),) if sink.avoids_nan else ()))


def combine(kind: str, old: ir.Expr, new: ir.Expr) -> ir.Expr:
    """What a reduction of a kind, or a note of what was seen, makes of two parts."""
    return ir.Operation(old.dtype, "bitwise_or" if kind == "seen" else REDUCTIONS[kind], (old, new))
