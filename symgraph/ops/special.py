"""References of the functions that numpy lacks: erf, gamma and their kin, of float arrays.

Those of one argument in libm are taken from Python's `math`, with C's values where Python raises an error.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np


def _each(function: Callable[[float], float]) -> Callable[[np.ndarray], np.ndarray]:
    """A function of a float over arrays; computed in float64, returned in the dtype of the argument."""
    ufunc = np.frompyfunc(function, 1, 1)

    def over_array(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x)
        return np.asarray(ufunc(x), "float64").astype(x.dtype)

    return over_array


def _gamma(x: float) -> float:
    try:
        return math.gamma(x)
    except OverflowError:
        return math.copysign(math.inf, x)
    except ValueError:
        return math.copysign(math.inf, x) if x == 0 else math.nan


def _gammaln(x: float) -> float:
    try:
        return math.lgamma(x)
    except (OverflowError, ValueError):
        return math.inf


erf = _each(math.erf)
erfc = _each(math.erfc)
gamma = _each(_gamma)
gammaln = _each(_gammaln)

# Boost's digamma (J. Maddock, 2006) on [1, 2]: (x - root) (0.9956 + P(x-1) / Q(x-1)), the root in three parts.
_ROOT = (1569415565 / 2**30, 381566830 / 2**60, 0.9016312093258695918615325266959189453125e-19)
_P = (0.25479851061131551, -0.32555031186804491, -0.65031853770896507, -0.28919126444774784, -0.045251321448739056,
      -0.0020713321167745952)  # fmt: skip
_Q = (1, 2.0767117023730469, 1.4606242909763515, 0.43593529692665969, 0.054151797245674225, 0.0021284987017821144,
      -0.55789841321675513e-6)  # fmt: skip
_PSI_SERIES = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132, -691 / 32760, 1 / 12)  # B(2k) / 2k
_EULER_MACLAURIN = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000, 1 / 74724249600,
                    -3617 / 10670622842880000)  # B(2k) / (2k)!  # fmt: skip


def psi(x: np.ndarray) -> np.ndarray:
    """The digamma function, the derivative of gammaln; NaN at the negative integers, -inf at 0.

    Source: DLMF 5.5.2, 5.5.4, 5.11.2, and Boost's approximation between 1 and 2.
    """
    dtype = np.asarray(x).dtype
    x = np.asarray(x, "float64")
    with np.errstate(all="ignore"):
        left, r = x <= 0, x - np.rint(x)
        total = np.where(left, -np.pi / np.tan(np.pi * r), 0.0)
        total[left & (r == 0) & (x != 0)] = np.nan
        x = np.where(left, 1 - x, x)
        large = x >= 10
        while (high := (x > 2) & ~large).any():
            x = x - high
            total += np.where(high, 1 / x, 0)
        total -= np.where(x < 1, 1 / x, 0)
        x = x + (x < 1)
        root = x - _ROOT[0] - _ROOT[1] - _ROOT[2]
        middle = root * 0.99558162689208984 + root * (_polynomial(_P, x - 1) / _polynomial(_Q, x - 1))
        z = 1 / (x * x)
        return (total + np.where(large, np.log(x) - 0.5 / x - z * _polynomial(_PSI_SERIES, z), middle)).astype(dtype)


_LARGEST_ORDER = 1e4  # n! is infinite from 171 on; a sum has n / 2 terms


def polygamma(n: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The n-th derivative of psi, for whole n of 0 to 10,000; NaN for other n, and at poles where it changes its sign.

    Source: DLMF 5.15.1, 25.11.12; below 0 the sum over all integers less the part beyond x.
    """
    n, x = np.broadcast_arrays(n, x)
    dtype = np.result_type(n, x)
    n, x = np.asarray(n, "float64"), np.asarray(x, "float64")
    with np.errstate(all="ignore"):
        s, r = np.clip(n, 1, _LARGEST_ORDER) + 1, x - np.rint(x)
        sign = np.where(s % 2 == 0, 1.0, -1.0)
        right = _hurwitz(s, np.where(x > 0, x, 1))
        y = np.where(x > 0, 0, x)
        left = r**-s + _hurwitz(s, 1 + r) + sign * (_hurwitz(s, 1 - r) - _hurwitz(s, 1 - y))
        value = sign * gamma(s) * np.where(x > 0, right, left)
        undefined = (n < 1) | (n != np.floor(n)) | (n > _LARGEST_ORDER) | ((x < 0) & (r == 0) & (sign < 0))
        value = np.where(undefined | np.isnan(n), np.nan, value)
        return np.where(n == 0, psi(x), value).astype(dtype)


def _hurwitz(s: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The sum of (x + k)^-s over k >= 0, for s > 1, x > 0; by Euler-Maclaurin summation, DLMF 25.11(iii)."""
    total = np.zeros(np.broadcast_shapes(s.shape, x.shape))
    while (low := x < 10 + np.where(np.isfinite(s), s, 0) / 2).any():
        total += np.where(low, x**-s, 0)
        x = x + low
    tail, term = 1 / (s - 1) + 0.5 / x, s / (x * x)
    for k, b in enumerate(_EULER_MACLAURIN):
        tail = tail + b * term
        term = term * (s + 2 * k + 1) * (s + 2 * k + 2) / (x * x)
    return total + x ** (1 - s) * tail


def _polynomial(coefficients: tuple[float, ...], x: np.ndarray) -> np.ndarray:
    result = np.full_like(x, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * x + c
    return result
