"""The table of dtypes: what numpy says of each, and constants that C reads back to the last bit."""

import math

import numpy as np
import pytest

from codegen import ir
from codegen.dtypes import C_TYPES, c_type, itemsize, literal

INTEGERS = [dtype for dtype, ctype in C_TYPES.items() if ctype.kind in "iu"]


@pytest.mark.parametrize("dtype", C_TYPES)
def test_kind_and_size_are_numpy_s(dtype):
    assert (c_type(dtype).kind, itemsize(dtype)) == (np.dtype(dtype).kind, np.dtype(dtype).itemsize)


def test_names_of_helpers_differ():
    assert len({ctype.suffix for ctype in C_TYPES.values()}) == len({c.name for c in C_TYPES.values()}) == len(C_TYPES)


@pytest.mark.parametrize("dtype", ["float16", "complex128", "object", ""])
def test_other_dtypes_are_unknown(dtype):
    with pytest.raises(KeyError):
        c_type(dtype)


@pytest.mark.parametrize(("dtype", "value", "text"), [
    ("float64", 0.1 + 0.2, "0.30000000000000004"),
    ("float64", 1.0, "1.0"),
    ("float64", 3, "3.0"),
    ("float64", -0.0, "-0.0"),
    ("float64", 1e300, "1e+300"),
    ("float64", 5e-324, "5e-324"),
    ("float64", math.inf, "INFINITY"),
    ("float64", -math.inf, "-INFINITY"),
    ("float64", math.nan, "NAN"),
    ("float32", 0.1, "0.1f"),
    ("float32", float(np.float32(0.1)), "0.1f"),
    ("float32", 16777216.0, "1.6777216e+07f"),
    ("float32", 1e20, "1e+20f"),
    ("float32", 1e39, "INFINITY"),
    ("float32", -1e39, "-INFINITY"),
    ("float32", 1e-50, "0.0f"),
    ("bool", True, "true"),
    ("bool", 0, "false"),
    ("int64", -5, "-5"),
    ("int64", True, "1"),
    ("int64", 2**31 - 1, "2147483647"),
    ("int64", 2**31, "2147483648LL"),
    ("int64", -(2**63), "INT64_MIN"),
    ("int32", -(2**31), "INT32_MIN"),
    ("int8", -128, "INT8_MIN"),
    ("uint32", 2**31 - 1, "2147483647"),
    ("uint32", 2**31, "2147483648U"),
    ("uint64", 2**64 - 1, "18446744073709551615ULL"),
])  # fmt: skip
def test_how_constants_are_written(dtype, value, text):
    assert literal(dtype, value) == text


def interesting(dtype):
    kind, rng = np.dtype(dtype).kind, np.random.default_rng(1)
    if kind == "b":
        return np.array([False, True])
    if kind in "iu":
        limits = np.iinfo(dtype)
        near = {limits.min, limits.min + 1, 0, 1, limits.max - 1, limits.max}
        powers = [s * 2**k + d for k in range(64) for d in (-1, 0, 1) for s in (-1, 1)]
        return np.array(sorted(near | {n for n in powers if limits.min <= n <= limits.max}), dtype)
    bits = rng.integers(0, 2 ** (8 * itemsize(dtype)) - 1, 300, dtype=f"uint{8 * itemsize(dtype)}")
    limits = np.finfo(dtype)
    edges = [0.0, -0.0, math.inf, -math.inf, math.nan, limits.tiny, limits.smallest_subnormal, limits.max, limits.eps]
    return np.concatenate([bits.view(dtype), np.array(edges, dtype), rng.normal(size=100).astype(dtype)])


def test_c_reads_back_what_was_written(run):
    kernels, calls, fields, expected = [], [], [], []
    for dtype in C_TYPES:
        values = interesting(dtype)
        out = ir.Buffer(f"out_{dtype}", dtype, writable=True)
        stores = tuple(ir.Store(out, ir.index(k), ir.Literal(dtype, v.item())) for k, v in enumerate(values))
        kernels.append(ir.Kernel(f"write_{dtype}", (out,), stores))
        calls.append(ir.Call(f"write_{dtype}", (ir.Pointer(out, ir.index(0)),)))
        fields.append(ir.ArrayField(out, "output"))
        expected.append(values)
    program = ir.Program("constants", tuple(fields), (), (), (), tuple(calls), tuple(kernels))
    results = [np.empty_like(values) for values in expected]
    assert run(program, results) == 0
    for result, values in zip(results, expected, strict=True):
        is_number = ~np.isnan(values) if values.dtype.kind == "f" else np.ones(len(values), bool)
        np.testing.assert_array_equal(np.isnan(result[~is_number]), True)
        assert result[is_number].tobytes() == values[is_number].tobytes(), values.dtype
