"""Checks for ops, yours too: gradients against finite differences, compiled code against the interpreter and numpy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from symgraph.function import function
from symgraph.grad import grad
from symgraph.graph.node import Variable
from symgraph.graph.types import TensorType
from symgraph.interpreter import evaluate

STEP = float(np.finfo("float64").eps ** (1 / 3))  # where the errors of rounding and of truncation are about equal


def variables_for(arrays: Sequence[Any], known: bool = False) -> list[Variable]:
    """New variables of the dtypes and ranks of some arrays; with `known` of their shapes too."""
    arrays = [np.asarray(a) for a in arrays]
    return [TensorType(str(a.dtype), a.shape if known else (None,) * a.ndim)(f"x{k}") for k, a in enumerate(arrays)]


def check_grad(
    f: Callable[..., Variable],
    arrays: Sequence[Any],
    rtol: float = 1e-6,
    atol: float = 1e-7,
    seed: int = 0,
    known: bool = False,
    step: float = STEP,
) -> None:
    """Compare the gradient of an expression with central finite differences, in float64.

    f: makes one array of variables; all its elements count, each with a random weight
    arrays: the point, one array for each variable; the derivative is taken by all that are floats
    rtol, atol: how far the two may be apart, relative to the largest derivative and at all
    known: make variables whose lengths are known
    step: how far to go to either side, relative to the element or at least to 1; more where `f` rounds to float32

    Raises AssertionError, with both derivatives in the message, where they differ or their shapes do; TypeError where
    there is no derivative to check, because the expression is no float or none of the arrays is.
    Source: Griewank and Walther, Evaluating Derivatives (2008), section 3.1 and equation 1.2 (differences)
    """
    point = [a.astype("float64") if a.dtype.kind == "f" else a for a in (np.array(a) for a in arrays)]
    inputs = variables_for(point, known)
    output = f(*inputs)
    moving = [k for k, x in enumerate(inputs) if x.type.is_float]
    if not output.type.is_float:
        raise TypeError(f"there is no derivative to check: {output} is {output.dtype}")
    if not moving:
        raise TypeError(f"there is no derivative of {output} to check: none of its {len(point)} arrays holds floats")
    (value,) = evaluate([output], dict(zip(inputs, point, strict=True)))
    weights = np.random.default_rng(seed).uniform(0.5, 1.5, value.shape)
    cost = (output * weights).sum()
    gradients = grad(cost, [inputs[k] for k in moving], disconnected_inputs="ignore")
    stated = evaluate(gradients, dict(zip(inputs, point, strict=True)))
    for k, symbolic in zip(moving, stated, strict=True):
        numeric = _differences(cost, inputs, point, k, step)
        scale = np.max(np.abs(numeric), initial=0.0)
        if symbolic.shape != numeric.shape:
            raise AssertionError(f"the gradient by argument {k} has shape {symbolic.shape}, not {numeric.shape}")
        if not np.allclose(symbolic, numeric, rtol=0, atol=atol + rtol * scale):
            raise AssertionError(
                f"the gradient of {output} by argument {k} is\n{symbolic}\nbut finite differences give\n{numeric}\n"
                f"at {point}"
            )


def _differences(
    cost: Variable, inputs: Sequence[Variable], point: Sequence[np.ndarray], k: int, step: float
) -> np.ndarray:
    """The derivative of a scalar by the elements of one input, by central differences."""
    result = np.empty(point[k].shape)
    values = dict(zip(inputs, point, strict=True))
    for index in np.ndindex(result.shape):
        width = step * max(1.0, abs(float(point[k][index])))
        ends = []
        for moved in (point[k][index] + width, point[k][index] - width):
            values[inputs[k]] = point[k].copy()
            values[inputs[k]][index] = moved
            ends.append((float(evaluate([cost], values)[0]), moved))
        (above, right), (below, left) = ends
        result[index] = (above - below) / (right - left)
    return result


def assert_close(actual: np.ndarray, expected: np.ndarray, what: str = "", ulps: float = 64) -> None:
    """Equal dtype and shape, integers equal, floats within some units in the last place of the largest element.

    Raises AssertionError, with both arrays in the message.
    """
    if actual.dtype != expected.dtype:
        raise AssertionError(f"{what}: dtype {actual.dtype}, expected {expected.dtype}")
    if actual.shape != expected.shape:
        raise AssertionError(f"{what}: shape {actual.shape}, expected {expected.shape}")
    if actual.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected, what)
        return
    finite = np.abs(expected[np.isfinite(expected)])
    scale = np.max(finite, initial=0.0) * np.finfo(expected.dtype).eps
    np.testing.assert_allclose(actual, expected, rtol=0, atol=ulps * scale, err_msg=what)


def compare(
    f: Callable[..., Variable], arrays: Sequence[Any], reference: Callable[..., Any] | None = None, ulps: float = 64
) -> np.ndarray:
    """Run an expression in the interpreter and compiled, and compare both with each other and with a numpy function.

    f: makes one array of variables; arrays: the values, one for each
    reference: takes the arrays and returns what `f` should, in any float dtype; left out, it is not compared
    ulps: how far floats may be apart, in units in the last place of the largest element

    Returns the compiled value. Raises AssertionError where dtypes, shapes or values differ.
    """
    values = [np.asarray(a) for a in arrays]
    inputs = variables_for(values)
    output = f(*inputs)
    (interpreted,) = evaluate([output], dict(zip(inputs, values, strict=True)))
    compiled = function(inputs, output, on_unused_input="ignore")(*values)
    if interpreted.dtype != output.dtype:
        raise AssertionError(f"{output} is {output.dtype}, but its value is {interpreted.dtype}")
    assert_close(compiled, interpreted, f"compiled and interpreted {output}", ulps)
    if reference is not None:
        expected = np.asarray(reference(*values)).astype(interpreted.dtype)
        assert_close(interpreted, expected, f"{output} and its reference", ulps)
    return compiled
