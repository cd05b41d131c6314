"""Forms that cost less: one-hot rows instead of scattering, products that add to a matrix, powers as products.

ROWS and SPECIALIZE go with the canonical form, the latter when nothing looks for `Scatter` any more; FINISH undoes
parts of the canonical form, where another spelling costs less, and comes last.
"""

from __future__ import annotations

import math
from typing import TypeGuard

import numpy as np

from symgraph.graph.node import Apply, Constant, Variable, as_variable
from symgraph.ops.axes import DimShuffle
from symgraph.ops.creation import Arange
from symgraph.ops.elementary import add, eq, exp, mul, neg, power, sigmoid, sqr, sqrt, sub, switch, true_divide
from symgraph.ops.elementwise import Elementwise, cast
from symgraph.ops.gather import Places, Scatter, Take, counted
from symgraph.ops.layout import length
from symgraph.ops.matrices import Dot, Gemm, RowDot, ShortDot
from symgraph.ops.reduce import Sum
from symgraph.rewrite.layouts import count_to, extent, is_zero, of_shape, with_lengths
from symgraph.rewrite.pattern import Graph, keeps_type, rule, uniform
from symgraph.rewrite.products import elementwise, is_positive, product, summed_axis, terms
from symgraph.rewrite.stabilize import less_its_largest

CELLS = Places((0, 1))  # x[i, j]
LEADING = Places((0,))  # x[i]
FEW = 4  # products, or elements of a result


# Elements at x[i, j] ------------------------------------------------------------------------------


@rule(on=Take, why="only the elements that are taken are computed")
def take_from_operands(node: Apply, graph: Graph) -> Variable | None:
    """f(x, y)[i, j] of matrices is f(x[i, j], y[i, j]); of what is one column, x[i], of one row, x[j]."""
    x, *indices = node.inputs
    inner = elementwise(x)
    if node.op != Take(CELLS) or inner is None or [i.ndim for i in indices] != [1, 1]:
        return None
    if not (graph.used_once(x) or inner.op.function in (add, sub, mul, neg)):  # type: ignore[attr-defined]
        return None
    whole = _takes_all_rows(node, graph)
    result = inner.op(*[_cells(y, indices[0], indices[1], whole) for y in inner.inputs])
    return result if keeps_type(node.output, result) else None


def _cells(x: Variable, i: Variable, j: Variable, whole: bool) -> Variable:
    """The elements at [i, j] of a matrix that `x` broadcasts to, up to broadcasting; `whole`: i are all rows."""
    rows, columns = ((1, 1) + x.type.shape)[-2:]
    if x.ndim == 2 and rows == 1:
        x = x.dimshuffle(1)
    if columns == 1 and x.ndim:
        x = x.dimshuffle(*range(x.ndim - 1))
    if x.ndim == 2:
        return Take(CELLS)(x, i, j)
    if x.ndim == 0 or (columns == 1 and whole):
        return x
    return Take(LEADING)(x, i if columns == 1 else j)


@rule(on=Take, why="all rows, in their order")
def take_all(node: Apply, graph: Graph) -> Variable | None:
    x, index = node.inputs[:2]
    return x if node.op == Take(LEADING) and _counts_rows(index, x, graph) else None


@rule(on=Sum, why="each row is summed while it is written")
def sum_of_scattered(node: Apply, graph: Graph) -> Variable | None:
    """The sums of the rows of a matrix of zeros with y added at [i, j]: zeros with y added at [i]."""
    (x,) = node.inputs
    found = _scattered(x)
    if found is None or node.op != Sum((1,)):
        return None
    y, i, j = found
    if _takes_all_rows(x.owner, graph):  # type: ignore[arg-type]
        return y if keeps_type(node.output, y) else of_shape(y, node.output, graph)
    rows = length(x, 0)
    zeros = as_variable(0, x.dtype).broadcast_to([rows])
    if y.ndim == 0 and i.type.shape != j.type.shape:
        y = y.broadcast_to([length(j if i.type.shape == (1,) else i, 0)])
    return Scatter(LEADING, True)(zeros, y, i)


@rule(on=Scatter, why="all rows, in their order")
def scatter_all(node: Apply, graph: Graph) -> Variable | None:
    x, y, index = node.inputs[:3]
    if node.op != Scatter(LEADING, True) or not is_zero(x) or not _counts_rows(index, x, graph):
        return None
    return y if keeps_type(node.output, y) else of_shape(y, node.output, graph)


@rule(on=Scatter, why="a comparison in a loop that others share is cheaper than a matrix of zeros")
def one_hot_rows(node: Apply, graph: Graph) -> Variable | None:
    """Zeros with y[k] added at [k, j[k]] for all rows k."""
    found = _scattered(node.output)
    if found is None:
        return None
    y, i, j = found
    if not _takes_all_rows(node, graph) or (j.type.shape == (1,) != i.type.shape):
        return None
    classes = length(node.inputs[0], 1)
    chosen = cast(j, "int64")
    if j.dtype.startswith("i"):
        chosen = switch(chosen < 0, chosen + classes, chosen)
    hot = eq(chosen.dimshuffle(0, "x"), count_to(classes))
    result = switch(hot, y.dimshuffle(0, "x") if y.ndim else y, as_variable(0, y.dtype))
    return result if keeps_type(node.output, result) else None


@rule(on=(add, sub), why="written over the sum, which is passed once instead of twice")
def scatter_onto_sum(node: Apply, graph: Graph) -> Variable | None:
    """Zeros with y added at some places, plus or minus x: x with y added there."""
    is_sub = node.op.function is sub  # type: ignore[attr-defined]
    for scattered, x in (node.inputs, node.inputs[::-1]):
        made = scattered.owner
        if made is None or not isinstance(made.op, Scatter) or not made.op.accumulate or not graph.used_once(scattered):
            continue
        zeros, y, *indices = made.inputs
        if is_zero(zeros) and keeps_type(node.output, x) and _same_shape(scattered, x):
            if is_sub and scattered is node.inputs[0]:
                x = -x
            return made.op(x, -y if is_sub and scattered is node.inputs[1] else y, *indices)
    return None


def _scattered(x: Variable) -> tuple[Variable, Variable, Variable] | None:
    """(y, i, j) where `x` is a matrix of zeros with a vector or scalar y added at [i, j]."""
    node = x.owner
    if node is None or node.op != Scatter(CELLS, True) or x.ndim != 2 or not is_zero(node.inputs[0]):
        return None
    _, y, i, j = node.inputs
    return (y, i, j) if i.ndim == j.ndim == 1 else None


def _takes_all_rows(node: Apply, graph: Graph) -> bool:
    """Whether the first index of a `Take` or `Scatter` of matrices runs through all rows, or is taken to."""
    x = node.inputs[0]
    index = node.inputs[1 if isinstance(node.op, Take) else 2]
    return any(i is index for i, _, _ in counted(node)) or _counts_rows(index, x, graph)


def _counts_rows(index: Variable, x: Variable, graph: Graph) -> bool:
    """Whether an index is 0, 1, 2, … up to the number of rows of `x`."""
    if isinstance(index, Constant):
        return index.type.shape == x.type.shape[:1] and bool(np.array_equal(index.data, np.arange(index.data.size)))
    node = index.owner
    if node is None or not isinstance(node.op, Arange) or (uniform(node.inputs[0]), uniform(node.inputs[1])) != (0, 1):
        return False
    return extent(index, 0, graph) == extent(x, 0, graph)


# Products of matrices -----------------------------------------------------------------------------


@rule(on=Dot, why="part of a loop costs less than a call")
def few_products(node: Apply, graph: Graph) -> Variable | None:
    """a @ b with few products in a sum, or few sums of the columns of a matrix: part of the loops around it."""
    a, b = node.inputs
    terms = a.type.shape[-1] if b.type.shape[0] is None else b.type.shape[0]
    result = None
    if not node.output.type.is_float:
        return None
    if b.ndim == 2 and _are_few(terms):
        result = ShortDot(terms)(a, b)
    elif b.ndim == 1 and _are_few(terms):
        result = RowDot((1,))(a, b)
    elif b.ndim == 1 and _are_few(a.type.shape[0]) and a.owner is not None and a.owner.op == DimShuffle((1, 0)):
        result = RowDot((0,))(*a.owner.inputs, b)
    return with_lengths(result, node.output) if result is not None else None


def _are_few(n: int | None) -> TypeGuard[int]:
    return n is not None and 0 < n <= FEW


@rule(on=(add, sub), why="the product is added up in the matrix itself, and in place where the matrix is updated")
def accumulate_product(node: Apply, graph: Graph) -> Variable | None:
    """beta * c + alpha * (a @ b) for scalars alpha and beta; c is an input, a shared variable or another product.

    Any other c is computed by a loop, which adds the product on its way at no cost.
    """
    parts = terms(node.output)
    if len(parts) != 2 or not node.output.type.is_float:
        return None
    both = [_scaled(x, negative) for x, negative in parts]
    for scaled, summand in (both, both[::-1]):
        if scaled is None or summand is None:
            return None
        (alpha, ab), (beta, c) = scaled, summand
        if not _is_product(ab, (Dot,)) or not graph.used_once(ab) or ab.owner is None or not _same_shape(c, ab):
            continue
        leaf = c.owner is None and not isinstance(c, Constant)
        if leaf or (_is_product(c, (Dot, Gemm)) and graph.used_once(c) and c is not ab):
            return Gemm()(c, alpha, *ab.owner.inputs, beta)
    return None


@rule(on=(add, sub), why="one pass over the matrix instead of three")
def accumulate_again(node: Apply, graph: Graph) -> Variable | None:
    """gamma * (beta * c + alpha * (a @ b)) + delta * c is (gamma * beta + delta) * c + gamma * alpha * (a @ b).

    Such is a step of gradient descent where the cost has the squares of the weights.
    """
    parts = terms(node.output)
    if len(parts) != 2:
        return None
    both = [_scaled(x, negative) for x, negative in parts]
    for scaled, summand in (both, both[::-1]):
        if scaled is None or summand is None:
            return None
        (gamma, product_), (delta, c) = scaled, summand
        if product_.owner is None or not _is_product(product_, (Gemm,)) or not graph.used_once(product_):
            continue
        start, alpha, a, b, beta = product_.owner.inputs
        if start is c and c.owner is None:
            return Gemm()(c, _times(gamma, alpha), a, b, _times(gamma, beta) + delta)
    return None


def _scaled(x: Variable, negative: bool) -> tuple[Variable, Variable] | None:
    """(factor, y) with x = factor * y, where the factor is a scalar and y has no scalar factors."""
    whole = product(x)
    arrays = [y for y in whole.over if y.ndim]
    if len(arrays) != 1 or any(y.ndim for y in whole.under):
        return None
    factor: Variable = as_variable(-1.0 if negative != whole.negative else 1.0, x.dtype)
    for y in whole.over:
        factor = _times(factor, y) if y is not arrays[0] else factor
    for y in whole.under:
        factor = true_divide(factor, y)
    return factor, arrays[0]


def _times(x: Variable, y: Variable) -> Variable:
    return y if uniform(x) == 1 else -y if uniform(x) == -1 else mul(x, y)


def _is_product(x: Variable, ops: tuple[type, ...]) -> bool:
    return x.owner is not None and isinstance(x.owner.op, ops)


def _same_shape(x: Variable, y: Variable) -> bool:
    """Whether neither of two arrays stretches the other."""
    return x.ndim == y.ndim and all((n == 1) == (m == 1) for n, m in zip(x.type.shape, y.type.shape, strict=True))


# Spelling -----------------------------------------------------------------------------------------


@rule(on=power, why="a few products instead of a logarithm and an exponential")
def power_as_products(node: Apply, graph: Graph) -> Variable | None:
    """Whole exponents by squaring, as far as it is exact or as good as a library's power; 1/2 by the square root.

    Floats: from -3 to 6, where the products are within 4 units in the last place; what goes further is an operation of
    its own. 1/x is multiplied rather than x, whose powers are too large before the result is too small.
    """
    x, y = node.inputs
    n = uniform(y)
    if n is None or not keeps_type(node.output, x):
        return None
    if n == 0.5:
        return sqrt(x)
    lowest, highest = (-3, 6) if x.type.is_float else (1, 8)
    if n == 0 or not float(n).is_integer() or not lowest <= n <= highest:
        return None
    return _power(x, int(n)) if n > 0 else _power(1 / x, -int(n))


@rule(on=power, why="a root and a quotient instead of a logarithm and an exponential")
def reciprocal_root(node: Apply, graph: Graph) -> Variable | None:
    """x ** -1/2 for positive x; of -0 the root would keep the sign, and of -inf it is NaN."""
    x, n = node.inputs
    return 1 / sqrt(x) if uniform(n) == -0.5 and keeps_type(node.output, x) and is_positive(x) else None


def _power(x: Variable, n: int) -> Variable:
    if n == 1:
        return x
    half = _power(x, n // 2)
    return sqr(half) * x if n % 2 else sqr(half)


@rule(on=true_divide, why="a product is faster than a quotient, and by a power of two just as exact")
def divide_by_power_of_two(node: Apply, graph: Graph) -> Variable | None:
    x, y = node.inputs
    n = uniform(y)
    if n is None or n == 0 or not math.isfinite(n) or abs(math.frexp(n)[0]) != 0.5 or not keeps_type(node.output, x):
        return None
    with np.errstate(all="ignore"):
        inverse = np.asarray(1 / np.asarray(n, y.dtype))
    return x * as_variable(inverse) if np.isfinite(inverse) and abs(inverse) >= np.finfo(y.dtype).tiny else None


@rule(on=true_divide, why="one quotient for a row, not for each element")
def softmax_by_product(node: Apply, graph: Graph) -> Variable | None:
    """e / sum(e) with e = exp(x - max(x)): one rounding more. The sum is at least 1 or NaN, so nothing overflows."""
    e, total = node.inputs
    inner = elementwise(e)
    if inner is None or inner.op.function is not exp:  # type: ignore[attr-defined]
        return None
    axis = summed_axis(total, e)
    return e * (1 / total) if axis is not None and less_its_largest(inner.inputs[0], (axis,)) is not None else None


@rule(on=add, why="shorter")
def add_negative(node: Apply, graph: Graph) -> Variable | None:
    x, y = node.inputs
    if not isinstance(y, Constant) or not x.type.is_float or not (uniform(y) or 0) < 0:
        return None
    return x - as_variable(np.negative(y.data))


@rule(on=Sum, why="the inner sums are complete within a row, the outer ones are added up from those")
def split_sum(node: Apply, graph: Graph) -> Variable | None:
    """Over axes that are not neighbours: the last run of neighbours first."""
    axes = node.op.axes  # type: ignore[attr-defined]
    start = next((k for k in range(len(axes) - 1, 0, -1) if axes[k] != axes[k - 1] + 1), 0)
    if start == 0 or not node.output.type.is_float:
        return None
    return Sum(axes[:start])(Sum(axes[start:])(node.inputs[0]))


@rule(on=mul, why="one exponential instead of two")
def derivative_of_sigmoid(node: Apply, graph: Graph) -> Variable | None:
    """sigmoid(a) * sigmoid(-a) is s * (1 - s); a sigmoid(-a) that stands elsewhere keeps its digits."""
    first, second = (elementwise(x) for x in node.inputs)
    if first is None or second is None or not first.op == second.op == Elementwise(sigmoid):
        return None
    u, v = first.inputs[0], second.inputs[0]
    if _is_negation(v, u):
        return first.output * (1 - first.output)
    return second.output * (1 - second.output) if _is_negation(u, v) else None


def _is_negation(x: Variable, y: Variable) -> bool:
    """Whether x is -y, in the canonical form: neg(y), b - a for a - b, c * -2 for c * 2."""
    made, other = elementwise(x), elementwise(y)
    if made is not None and made.op.function is neg and made.inputs[0] is y:  # type: ignore[attr-defined]
        return True
    if made is None or other is None or made.op != other.op:
        return False
    if made.op.function is sub:  # type: ignore[attr-defined]
        return made.inputs == other.inputs[::-1]
    if made.op.function not in (mul, true_divide) or made.inputs[0] is not other.inputs[0]:  # type: ignore[attr-defined]
        return False
    c, d = made.inputs[1], other.inputs[1]
    return isinstance(c, Constant) and isinstance(d, Constant) and np.array_equal(c.data, -d.data)


ROWS = (take_all, sum_of_scattered, scatter_all)
SPECIALIZE = (take_from_operands, one_hot_rows, scatter_onto_sum, few_products)
FINISH = (
    softmax_by_product, derivative_of_sigmoid, accumulate_product, accumulate_again, power_as_products,
    divide_by_power_of_two, add_negative, split_sum,
)  # fmt: skip
