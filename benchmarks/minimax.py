"""The polynomials of codegen/vector_math.py: derives each anew and prints its coefficients.

Each is the best of its degree in the weighted maximum norm, found by Remez' exchange in 60 digits (Muller, Elementary
Functions, 3rd ed. 2016, section 3.6), then rounded to the format; the error told is that after rounding. To run after
a change of a degree or an interval: python benchmarks/minimax.py [NAME ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from mpmath import mp, mpf

from codegen.dtypes import literal

mp.dps = 60
Real = Callable[[mpf], mpf]


@dataclass(frozen=True)
class Problem:
    """Coefficients c with f(t) ~ sum c[j] t^j on [low, high], weight(t) times the error being the smallest possible."""

    name: str
    dtype: str
    f: Real
    low: mpf
    high: mpf
    degree: int
    weight: Real = lambda t: mpf(1)


def fit(f: Real, low: mpf, high: mpf, degree: int, weight: Real) -> tuple[list[mpf], mpf]:
    """The coefficients by Remez' exchange, and the largest weighted error."""
    powers, count = range(degree + 1), degree + 2
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * k / (40 * count)) for k in range(40 * count + 1)]
    values = [(t, f(t), weight(t)) for t in grid]
    points = [round(40 * count * (k + 0.5) / count) for k in range(count)]
    coefficients: list[mpf] = []
    for _ in range(60):
        rows = [[values[p][0] ** j * values[p][2] for j in powers] + [(-1) ** k] for k, p in enumerate(points)]
        solved = mp.lu_solve(mp.matrix(rows), mp.matrix([values[p][1] * values[p][2] for p in points]))
        coefficients, level = list(solved[:-1]), abs(solved[count - 1])
        errors = [(y - sum(c * t**j for c, j in zip(coefficients, powers))) * w for t, y, w in values]
        extremes: list[int] = []
        for k, e in enumerate(errors):
            if extremes and (e > 0) == (errors[extremes[-1]] > 0):
                if abs(e) > abs(errors[extremes[-1]]):
                    extremes[-1] = k
            else:
                extremes.append(k)
        while len(extremes) > count:
            extremes.pop(0 if abs(errors[extremes[0]]) < abs(errors[extremes[-1]]) else -1)
        worst = max(abs(e) for e in errors)
        if worst < level * (1 + mpf(10) ** -6) or len(extremes) < count:
            return coefficients, worst
        points = extremes
    return coefficients, worst


def rounded(x: mpf, dtype: str) -> mpf:
    """The nearest number of the format."""
    digits = 53 if dtype == "float64" else 24
    with mp.workprec(digits):
        return +x


def solve(problem: Problem) -> tuple[list[mpf], mpf]:
    """Coefficients rounded to the format, and the largest weighted error with these."""
    found, _ = fit(problem.f, problem.low, problem.high, problem.degree, problem.weight)
    coefficients = [rounded(c, problem.dtype) for c in found]
    points = [problem.low + (problem.high - problem.low) * k / 997 for k in range(998)]
    errors = [problem.f(t) - sum(c * t**j for j, c in enumerate(coefficients)) for t in points]
    return coefficients, max(abs(e * problem.weight(t)) for t, e in zip(points, errors))


def exp_tail(r: mpf) -> mpf:
    """(exp(r) - 1 - r) / r^2."""
    return mp.nsum(lambda k: r**k / mp.factorial(k + 2), [0, 30]) if abs(r) < 0.5 else (mp.exp(r) - 1 - r) / r**2


def atanh_tail(first: int) -> Real:
    """The series of 2 artanh(s) / s from its power z^first, z = s^2, divided by z^first."""
    return lambda z: sum((2 * z**k / (2 * (k + first) + 1) for k in range(50)), mpf(0))


def sinh_tail(z: mpf) -> mpf:
    """(sinh(x) / x - 1) / x^2, z = x^2."""
    return sum((z**k / mp.factorial(2 * k + 3) for k in range(25)), mpf(0))


def log_erfc(x: mpf) -> mpf:
    """log(erfc(x)) / x."""
    return mp.log(mp.erfc(x)) / x if x else -2 / mp.sqrt(mp.pi)


def log_erfc_weight(x: mpf) -> mpf:
    """What a change of the above does to erf(x), relatively."""
    return x * mp.erfc(x) / mp.erf(x) if x else mp.sqrt(mp.pi) / 2


def scaled_erfc(middle: int) -> Real:
    """(exp(x^2) erfc(x) (1 + 2x) - 1) / (1 + q) as a function of q = (x - middle) / (x + middle)."""
    def of_q(q: mpf) -> mpf:
        x = middle * (1 + q) / (1 - q)
        if x == 0:
            return (1 - 1 / mp.sqrt(mp.pi)) * middle
        return (mp.exp(x * x) * mp.erfc(x) * (1 + 2 * x) - 1) / (1 + q)
    return of_q


def q_of(x: float, middle: int) -> mpf:
    return (mpf(x) - middle) / (mpf(x) + middle)


# A little more than what argument reduction leaves, since it rounds.
HALF_LN2 = mp.log(2) / 2 * (1 + mpf(2) ** -12)
LARGEST_Z = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * (1 + mpf(2) ** -20)

PROBLEMS = [
    Problem("exp", "float64", exp_tail, -HALF_LN2, HALF_LN2, 10, lambda r: r * r),
    Problem("exp", "float32", exp_tail, -HALF_LN2, HALF_LN2, 4, lambda r: r * r),
    Problem("log", "float64", atanh_tail(1), mpf(0), LARGEST_Z, 6, lambda z: z),
    Problem("log", "float32", atanh_tail(1), mpf(0), LARGEST_Z, 3, lambda z: z),
    Problem("artanh", "float64", atanh_tail(2), mpf(0), LARGEST_Z, 7, lambda z: z * z),
    Problem("sinh", "float64", sinh_tail, mpf(0), mpf(1), 7),
    Problem("sinh", "float32", sinh_tail, mpf(0), mpf(1), 3),
    Problem("erf", "float64", log_erfc, mpf(0), mpf(6), 24, log_erfc_weight),
    Problem("erf", "float32", log_erfc, mpf(0), mpf(4), 8, log_erfc_weight),
    Problem("erfc", "float64", scaled_erfc(4), mpf(-1), q_of(28, 4), 21, lambda q: 1 + q),
    Problem("erfc", "float32", scaled_erfc(2), mpf(-1), q_of(10.5, 2), 11, lambda q: 1 + q),
]


def main(names: list[str]) -> None:
    for problem in PROBLEMS:
        if not names or problem.name in names:
            coefficients, error = solve(problem)
            print(f"{problem.name}, {problem.dtype}: error 2^{float(mp.log(error, 2)):.1f}")
            print("    " + ", ".join(literal(problem.dtype, float(c)) for c in coefficients), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
