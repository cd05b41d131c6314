"""The functions of floats in loops of vector lanes: each within its bound of the exact value, by mpmath, and C's edges.

Each test runs as the machine would have it and once more without fused multiply-adds.
"""

import dataclasses
import math
import os

import numpy as np
import pytest
import scipy.special as scipy_special
from mpmath import mp, mpf

from codegen import ir, vector_math
from codegen.c_printer import print_program
from codegen.cache import Cache
from codegen.errors import NoCompiler
from codegen.module import load
from codegen.operations import OPERATIONS, Function, spelling
from codegen.toolchain import find_toolchain

DTYPES = ["float64", "float32"]
UNARY = """
    exp exp2 expm1 log log2 log10 log1p sinh cosh tanh arcsinh arccosh arctanh sin cos tan arcsin arccos arctan
    sigmoid erf erfc power_7 power_10 power_31 power_minus_4 power_minus_7
""".split()
BINARY = ["power", "arctan2"]
LIBM = "sin cos tan arcsin arccos arctan arctan2".split()

# Units in the last place. libm's vector functions promise 4.
BOUNDS = dict.fromkeys(LIBM, 4.0) | dict.fromkeys("exp exp2 log log2 log10 power".split(), 1.2)
BOUNDS |= dict.fromkeys(vector_math.WHOLE_POWERS, 4.0)
BOUND = 3.0

EXACT = {
    "exp2": lambda x: mpf(2) ** x, "log2": lambda x: mp.log(x) / mp.log(2),
    "arcsinh": mp.asinh, "arccosh": mp.acosh, "arctanh": mp.atanh, "arcsin": mp.asin, "arccos": mp.acos,
    "arctan": mp.atan, "arctan2": mp.atan2, "sigmoid": lambda x: 1 / (1 + mp.exp(-x)), "power": mp.power,
} | {name: lambda x, n=n: mpf(x) ** n for name, n in vector_math.WHOLE_POWERS.items()}  # fmt: skip
# Beyond these, where the value is 0 or infinite in both formats or does not change any more, mpmath only takes long.
FLAT = dict.fromkeys("exp exp2 expm1 sinh cosh sigmoid".split(), 1200) | {"tanh": 40, "erf": 9, "erfc": 30}
DOMAINS = dict.fromkeys("log log2 log10".split(), (0, math.inf)) | {"log1p": (-1, math.inf), "arccosh": (1, math.inf)}
DOMAINS |= dict.fromkeys("arctanh arcsin arccos".split(), (-1, 1))


# -- the compiled functions


def program(names, dtype):
    """A program with a loop for each function; its arrays are the operands, then the result, of each."""
    kernels, fields, given, run = [], [], [], []
    for name in names:
        n, i = ir.Var("int64", f"n_{name}"), ir.Var("int64", "i")
        letters = "xy" if name in BINARY else "x"
        operands = [ir.Buffer(f"{letter}_{name}", dtype) for letter in letters]
        result = ir.Buffer(f"result_{name}", dtype, writable=True)
        value = ir.Operation(dtype, name, tuple(ir.Load(dtype, x, i) for x in operands))
        loop = ir.For(i, n, (ir.Store(result, i, value),), simd=True)
        kernels.append(ir.Kernel(f"take_{name}", (*operands, result, n), (loop,)))
        fields += [ir.ArrayField(x, "input") for x in operands] + [ir.ArrayField(result, "output")]
        pointers = tuple(ir.Pointer(buffer, ir.index(0)) for buffer in (*operands, result))
        run.append(ir.Call(f"take_{name}", (*pointers, n)))
        given.append(n)
    return ir.Program(f"math_{dtype}", tuple(fields), tuple(given), (), (), tuple(run), tuple(kernels))


@pytest.fixture(scope="module", params=["as it is", "without fused multiply-adds"])
def take(request, tmp_path_factory):
    """`take({name: operands}, dtype)` gives {name: values}; all loops are in one library."""
    folder = tmp_path_factory.mktemp("vector-math")
    try:
        toolchain = find_toolchain(os.environ.get("CC"), probe_dir=folder)
    except NoCompiler as error:
        pytest.skip(str(error))
    flags = [*toolchain.flags, "-Wall", "-Wextra", "-Werror", "-Wno-pass-failed"]
    if request.param != "as it is":
        flags += ["-U__FMA__", "-U__ARM_FEATURE_FMA"]
    toolchain, cache = dataclasses.replace(toolchain, flags=tuple(flags)), Cache(folder / "cache")

    def take(operands, dtype):
        whole = program(operands, dtype)
        module = load(
            print_program(whole), name=whole.name, uses_blas=False, toolchain=toolchain, cache=cache, blas=None
        )
        results = {name: np.empty_like(arrays[0]) for name, arrays in operands.items()}
        arrays = [x for name, inputs in operands.items() for x in (*inputs, results[name])]
        sizes = module.ffi.new("int64_t[]", [len(inputs[0]) for inputs in operands.values()])
        pointers = module.ffi.new("void *[]", [module.ffi.from_buffer(a) for a in arrays])
        assert module.run(pointers, sizes, module.ffi.NULL) == 0
        return results

    return take


# -- how far from the exact value


def exact(name, *operands):
    """The value in 50 digits; None where it is out of mpmath's reach, which the tests of edges cover."""
    x = operands[0]
    if abs(x) > FLAT.get(name, math.inf):
        return None
    with mp.workdps(400 if abs(x) < 1e-12 else 50):
        return (EXACT.get(name) or getattr(mp, name))(*map(mpf, operands))


def distance(value, true, dtype):
    """How far apart, in units in the last place of the exact value; an infinity is the power of 2 beyond all floats."""
    digits, least, end = (53, -1074, 1024) if dtype == "float64" else (24, -149, 128)
    if math.isnan(value):
        return math.inf
    limit = mpf(2) ** end
    value = mpf(value) if math.isfinite(value) else math.copysign(1, value) * limit
    true = max(min(true, limit), -limit)
    unit = max(mp.frexp(true)[1] - digits, least)
    return float(abs(value - true) / mpf(2) ** unit)


def samples(name, dtype, rng, count=150):
    """Floats of all magnitudes, of the range where the function changes, around 1, and small ones."""
    integer = "uint64" if dtype == "float64" else "uint32"
    bits = rng.integers(0, np.iinfo(integer).max, count, integer)
    reach = min(FLAT.get(name, 20), 800 if dtype == "float64" else 110)
    scaled = np.ldexp(rng.uniform(1, 2, count), rng.integers(-40, 12, count)) * rng.choice([-1, 1], count)
    parts = [bits.view(dtype), rng.uniform(-reach, reach, count), rng.uniform(-1.5, 1.5, count)]
    parts += [scaled, 1 + scaled / 256]
    if dtype == "float64" and name in ("exp", "expm1", "sigmoid"):
        parts.append(rng.uniform(-746, -700, count))  # where results have no full precision
    if dtype == "float32" and name in ("exp", "expm1", "sigmoid"):
        parts.append(rng.uniform(-104, -85, count))
    low, high = DOMAINS.get(name, (-math.inf, math.inf))
    with np.errstate(over="ignore"):
        x = np.concatenate([part.astype(dtype) for part in parts])
    return [x[(x > low) & (x < high)]]


def pairs(name, dtype, rng, count=300):
    """Operands of power whose result is finite, of all magnitudes and signs; of arctan2, points of all quadrants."""
    reach = 1000 if dtype == "float64" else 120
    if name == "arctan2":
        y = np.exp2(rng.uniform(-reach / 2, reach / 2, count))
        x = y * np.exp2(rng.uniform(-30, 30, count))
        return [(a * rng.choice([-1, 1], count)).astype(dtype) for a in (y, x)]
    x = np.concatenate([np.exp2(rng.uniform(-reach, reach, count)), 1 + rng.uniform(-0.5, 0.5, count) ** 9])
    y = rng.uniform(-1, 1, 2 * count) * reach / np.maximum(np.abs(np.log2(x)), 1e-6)
    whole = rng.integers(-20, 20, count)
    negative = -np.exp2(rng.uniform(-5, 5, count))
    return [np.concatenate([x, negative]).astype(dtype), np.concatenate([y, whole]).astype(dtype)]


@pytest.fixture(scope="module", params=DTYPES)
def truth(request):
    """The dtype, the operands of each function, and the exact values, which both runs share."""
    dtype = request.param
    operands = {name: samples(name, dtype, np.random.default_rng(k)) for k, name in enumerate(UNARY)}
    operands |= {name: pairs(name, dtype, np.random.default_rng(k)) for k, name in enumerate(BINARY)}
    values = {name: [exact(name, *map(float, point)) for point in zip(*arrays)] for name, arrays in operands.items()}
    return dtype, operands, values


def test_every_function_is_within_its_bound(take, truth):
    dtype, operands, values = truth
    results = take(operands, dtype)
    wrong = []
    for name, trues in values.items():
        far = [distance(float(value), true, dtype) if true else 0 for value, true in zip(results[name], trues)]
        assert sum(true is not None for true in trues) > 150
        worst = int(np.argmax(far))
        if far[worst] > BOUNDS.get(name, BOUND):
            wrong.append(f"{name}({', '.join(repr(a[worst]) for a in operands[name])}) is {far[worst]:.2f} ulp away")
    assert not wrong


@pytest.mark.parametrize("dtype", DTYPES)
def test_whole_powers_are_within_their_bound(take, dtype):
    """At random, and just below the roots of powers of 2, behind which a product is the least exact."""
    rng, end = np.random.default_rng(0), 1024 if dtype == "float64" else 128
    operands = {}
    for name, n in vector_math.WHOLE_POWERS.items():
        significands = np.concatenate([2 ** (np.arange(1, 33) / abs(n) % 1) * (1 - 1e-6), rng.uniform(1, 2, 40)])
        reach = np.linspace(-end - 30, end, len(significands)) / n
        operands[name] = [np.concatenate([significands, -significands * 2.0 ** rng.permutation(reach)]).astype(dtype)]
    for name, values in take(operands, dtype).items():
        trues = [exact(name, float(x)) for x in operands[name][0]]
        assert max(distance(float(v), true, dtype) for v, true in zip(values, trues)) < 4, name


# -- zeros, infinities, NaN, the largest and the smallest

REFERENCES = {"erf": scipy_special.erf, "erfc": scipy_special.erfc, "sigmoid": scipy_special.expit}
REFERENCES |= {name: lambda x, n=n: x ** np.array(n, x.dtype) for name, n in vector_math.WHOLE_POWERS.items()}


def edges(dtype):
    limits = np.finfo(dtype)
    positive = [0.0, limits.smallest_subnormal, limits.tiny / 4, limits.tiny, 1e-30, limits.eps / 4, 0.5, 1.0,
                1 + limits.eps, 1.5, 2.0, 3.0, 1e10, limits.max / 2, limits.max, math.inf]  # fmt: skip
    return np.array([*positive, *[-x for x in positive], math.nan], dtype)


def kinds(x):
    """What must agree exactly: NaN, infinity and zero with their signs; other numbers all alike."""
    kind = np.where(np.isnan(x), "nan", np.where(np.isinf(x), "inf", np.where(x == 0, "0", "number")))
    return [k if k == "nan" else f"-{k}" if minus else k for k, minus in zip(kind, np.signbit(x))]


@pytest.mark.parametrize("dtype", DTYPES)
def test_edges_are_as_in_c(take, dtype):
    x = edges(dtype)
    operands = {name: [x] for name in [*UNARY, *vector_math.WHOLE_POWERS]}
    operands |= {name: [np.repeat(x, len(x)), np.tile(x, len(x))] for name in BINARY}
    results = take(operands, dtype)
    tolerance = 4 * np.finfo(dtype).eps
    for name, arrays in operands.items():
        with np.errstate(all="ignore"):
            expected = (REFERENCES.get(name) or getattr(np, name))(*arrays)
        assert kinds(results[name]) == kinds(expected), name
        finite = np.isfinite(expected)
        smallest = float(np.finfo(dtype).smallest_subnormal)
        np.testing.assert_allclose(results[name][finite], expected[finite], rtol=tolerance, atol=smallest, err_msg=name)


@pytest.mark.parametrize(("dtype", "overflow"), [("float64", 709.782712893384), ("float32", 88.72283172607422)])
def test_exp_overflows_and_underflows_where_it_must(take, dtype, overflow):
    last = np.array(overflow, dtype)  # the largest whose exp is finite
    first = np.nextafter(last, np.array(math.inf, dtype))
    x = np.array([last, first, -last, -2 * last, last / 2, 1e4, -1e4, math.nan], dtype)
    results = take({"exp": [x], "expm1": [x], "sinh": [x], "cosh": [x], "sigmoid": [x]}, dtype)
    assert np.isfinite(results["exp"]).tolist() == [True, False, True, True, True, False, True, False]
    assert results["exp"][[1, 3, 5, 6]].tolist() == [math.inf, 0, math.inf, 0]
    assert results["expm1"][[1, 3, 5, 6]].tolist() == [math.inf, -1, math.inf, -1]
    for name in ("sinh", "cosh"):
        assert np.isfinite(results[name][:4]).tolist() == [True, True, True, False]
    assert results["sinh"][3] == -math.inf and results["cosh"][3] == math.inf
    assert results["sigmoid"][[0, 1, 5, 6]].tolist() == [1, 1, 1, 0]
    assert 0 < results["sigmoid"][2] < np.finfo(dtype).tiny


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_exact_comes_out_exact(take, dtype):
    limits = np.iinfo("int64"), np.finfo(dtype)
    whole = np.arange(limits[1].minexp - limits[1].nmant, limits[1].maxexp).astype(dtype)
    powers_of_two = np.ldexp(np.ones_like(whole), whole.astype("int32"))
    tens = np.arange(23 if dtype == "float64" else 11).astype(dtype)
    small = np.arange(-9, 10).astype(dtype)
    results = take({
        "exp2": [whole], "log2": [powers_of_two], "log10": [(10 ** tens.astype("float64")).astype(dtype)],
        "power": [np.repeat(small, 7), np.tile(np.arange(7), 19).astype(dtype)],
    }, dtype)  # fmt: skip
    np.testing.assert_array_equal(results["exp2"], powers_of_two)
    np.testing.assert_array_equal(results["log2"], whole)
    np.testing.assert_array_equal(results["log10"], tens)
    np.testing.assert_array_equal(results["power"], np.repeat(small, 7).astype("int64") ** np.tile(np.arange(7), 19))


@pytest.mark.parametrize("dtype", DTYPES)
def test_odd_functions_are_odd_and_even_ones_even(take, dtype):
    x = np.random.default_rng(0).uniform(-3, 3, 200).astype(dtype)
    names = "sinh tanh arcsinh erf sin tan arctan cosh cos".split()
    there, back = take({name: [x] for name in names}, dtype), take({name: [-x] for name in names}, dtype)
    for name in names:
        np.testing.assert_array_equal(there[name], back[name] if name in ("cosh", "cos") else -back[name], err_msg=name)


# -- the text


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(vector_math.FUNCTIONS))
def test_what_a_function_calls_is_there(name, dtype):
    for other in vector_math.called(name, dtype):
        stem, _, suffix = other.removeprefix("sg_").rpartition("_")
        assert f"{other}(" in vector_math.source(stem, {"f64": "float64", "f32": "float32"}[suffix])
    assert "$" not in vector_math.source(name, dtype)


@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_every_function_is_an_operation(name):
    assert "f" in OPERATIONS[name]
    assert spelling(name, "float32") == Function(
        f"sg_{name}_f32", vector_math.source(name, "float32"), vector_math.called(name, "float32")
    )


@pytest.mark.parametrize(("name", "dtype"), [("nothing", "float64"), ("exp", "int64")])
def test_what_is_unknown_is_refused(name, dtype):
    with pytest.raises(KeyError, match=f"{name}|{dtype}"):
        vector_math.source(name, dtype)
