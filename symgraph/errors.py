"""The exceptions that users of symgraph see: whose fault it is, where, and what to do."""

from __future__ import annotations


class GraphError(Exception):
    """The base of symgraph's own exceptions.

    An op that refuses its operands writes `{0}`, `{1}`, … in the message, for "x (64, 784)", and `{0.name}` for "x";
    the names and the user's line are filled in where the variables are known.
    """


class ShapeError(GraphError, ValueError):
    """Lengths or ranks that do not fit together."""


class DtypeError(GraphError, TypeError):
    """A dtype that an operation does not take, or a conversion that would lose information."""


class GradientError(GraphError, ValueError):
    """A gradient that does not exist: a cost that is no scalar, an integer variable, no path from it to the cost."""


class IndexingError(GraphError, IndexError):
    """An index that the array does not have: a position out of range, or more indices than axes."""


class MissingInputError(GraphError, ValueError):
    """A function needs the value of a variable that is neither an input nor given."""


class UnusedInputError(GraphError, ValueError):
    """An input of a function that no output or update depends on."""


class AssertionFailure(GraphError, AssertionError):
    """A condition of an `Assert` does not hold."""


class NonFiniteError(GraphError, FloatingPointError):
    """A NaN or an infinity where a function is guarded against them."""
