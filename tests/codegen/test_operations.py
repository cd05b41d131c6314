"""Every scalar operation in C, on all its dtypes: compiled, called and compared with numpy, edge values included."""

import math
import re
import shutil
import subprocess

import cffi
import mpmath
import numpy as np
import pytest
import scipy.special as scipy_special

from codegen import operations, vector_math
from codegen.dtypes import C_TYPES, c_type
from codegen.operations import OPERATIONS, REDUCTIONS, Function, Infix, Prefix, dtypes, helper, identity, spelling

CASES = [(name, dtype) for name in OPERATIONS for dtype in dtypes(name)]
PREDICATES = set("lt le gt ge eq neq logical_and logical_or logical_xor logical_not isnan isinf isfinite".split())
FLAGS = ["-std=c11", "-Wall", "-Wextra", "-fwrapv", "-fno-math-errno", "-fno-trapping-math"]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 3.0, 7.25, -7.25, 1e-3, 100.0, 1e30, -1e30, 1e-30,
          math.inf, -math.inf, math.nan]  # fmt: skip


def numpy_power(x, n):
    if x.dtype.kind == "f":
        return np.power(x, n)
    modulus = 2 ** (8 * x.dtype.itemsize)
    exact = [pow(a, b, modulus) if b >= 0 else a ** (b & 1) % modulus if a in (1, -1) else 0
             for a, b in zip(x.tolist(), n.tolist(), strict=True)]  # fmt: skip
    return np.array(exact, f"uint{8 * x.dtype.itemsize}").view(x.dtype)


def scipy_gamma(x):
    wild = np.isin(x, [-np.inf]) | ((x < 0) & (x == np.floor(x)))
    return np.where(wild, np.nan, np.where(x == 0, np.copysign(np.inf, x), scipy_special.gamma(x)))


def scipy_gammaln(x):
    return np.where(x == -np.inf, np.inf, scipy_special.gammaln(x))  # as C has it


def digamma(x):
    if not math.isfinite(x) or (x <= 0 and float(x).is_integer()):
        return {0.0: -math.inf, math.inf: math.inf}.get(x, math.nan)
    with mpmath.workdps(30):
        return float(mpmath.digamma(x))


def nth_derivative_of_psi(n, x):
    if n == 0:
        return digamma(x)
    if not (n > 0 and float(n).is_integer()) or math.isnan(x) or x == -math.inf:
        return math.nan
    if x <= 0 and float(x).is_integer():
        return math.inf if n % 2 else -math.inf if x == 0 else math.nan
    if x > 1e29:
        return 0.0 if n > 1 or x == math.inf else 1 / x
    with mpmath.workdps(120):
        return float(mpmath.polygamma(int(n), mpmath.mpf(x)))


REFERENCE = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "true_divide": np.divide, "neg": np.negative,
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "neq": np.not_equal,
    "mod": np.remainder, "power": numpy_power, "abs": np.abs, "round": np.rint,
    "erf": scipy_special.erf, "erfc": scipy_special.erfc, "gamma": scipy_gamma, "gammaln": scipy_gammaln,
    "sigmoid": scipy_special.expit,
    "psi": np.vectorize(digamma, otypes=["float64"]),
    "polygamma": np.vectorize(nth_derivative_of_psi, otypes=["float64"]),
    "hurwitz": lambda s, x: scipy_special.zeta(s.astype("float64"), x.astype("float64")),
} | {name: lambda x, n=n: x ** np.array(n, x.dtype) for name, n in vector_math.WHOLE_POWERS.items()}  # fmt: skip


def reference(name):
    return REFERENCE.get(name) or getattr(np, name)


def arity(name, dtype):
    spelled = spelling(name, dtype)
    if isinstance(spelled, Function):
        return 2 if name in TWO_ARGUMENTS else 1
    return 2 if isinstance(spelled, Infix) else 1


TWO_ARGUMENTS = set(
    "floor_divide mod power minimum maximum left_shift right_shift arctan2 polygamma hurwitz".split()
)


def edge_values(dtype):
    kind = np.dtype(dtype).kind
    if kind == "b":
        return np.array([False, True])
    if kind == "f":
        return np.array(FLOATS, dtype)
    limits = np.iinfo(dtype)
    near = [0, 1, 2, 3, 5, 7, 8, 31, 63, 64, 100, limits.max - 1, limits.max]
    return np.array(near + ([-1, -2, -3, -7, -8, -100, limits.min, limits.min + 1] if kind == "i" else []), dtype)


def operands(name, dtype):
    """All pairs of edge values, and random values."""
    rng = np.random.default_rng(len(name))
    edges = edge_values(dtype)
    kind = np.dtype(dtype).kind
    if name in ("hurwitz", "polygamma"):
        low, orders = (0.1, [2, 3, 6, 12]) if name == "hurwitz" else (-12.3, [0, 1, 2, 5, 0.5, -1, math.nan])
        xs = np.concatenate([rng.uniform(low, 30, 40), [1e4, 0.125] + ([] if name == "hurwitz" else FLOATS)])
        return [np.repeat(orders, len(xs)).astype(dtype), np.tile(xs, len(orders)).astype(dtype)]
    if kind == "f":
        more = rng.uniform(-8, 8, 50).astype(dtype)
    elif kind == "b":
        more = edges
    else:
        more = rng.integers(np.iinfo(dtype).min, np.iinfo(dtype).max, 50, dtype=dtype, endpoint=True)
    if arity(name, dtype) == 1:
        return [np.concatenate([edges, more])]
    x, y = np.repeat(edges, len(edges)), np.tile(edges, len(edges))
    return [np.concatenate([x, more]), np.concatenate([y, rng.permutation(more)])]


def expression(name, dtype, arguments):
    match spelling(name, dtype):
        case Infix(symbol):
            return f"{arguments[0]} {symbol} {arguments[1]}"
        case Prefix(symbol):
            return f"{symbol}{arguments[0]}"
        case Function(function):
            return f"{function}({', '.join(arguments)})"


def helpers_of(function, printed):
    """The source of a helper after those it needs; `printed` gathers them all, each once."""
    for name in function.requires:
        helpers_of(helper(name), printed)
    if function.source:
        printed.setdefault(function.name, function.source)


def unit():
    """One C file with a loop for each operation and dtype."""
    printed, loops = {}, []
    for name, dtype in CASES:
        spelled = spelling(name, dtype)
        if isinstance(spelled, Function):
            helpers_of(spelled, printed)
        t = c_type(dtype).name
        result = "bool" if name in PREDICATES else t
        value = expression(name, dtype, ["x[i]", "y[i]"][: arity(name, dtype)])
        cast = f"({t})" if getattr(spelled, "promotes", False) else ""
        loops.append(
            f"void {name}_{c_type(dtype).suffix}(ptrdiff_t n, const {t} *restrict x, "
            f"const {t} *restrict y, {result} *restrict out)\n"
            f"{{\n    (void)y;\n    for (ptrdiff_t i = 0; i < n; ++i) out[i] = {cast}({value});\n}}\n"
        )
    headers = [f"#include <{h}.h>" for h in ("math", "stdbool", "stddef", "stdint", "string")]
    headers.append("#define SG_INLINE static inline __attribute__((always_inline))")
    return "\n".join([*headers, "", *printed.values(), *loops])


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    cc = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if cc is None:
        pytest.skip("no C compiler")
    folder = tmp_path_factory.mktemp("operations")
    source = folder / "operations.c"
    source.write_text(unit())
    command = [cc, *FLAGS, "-O2", "-shared", "-fPIC", str(source), "-o", str(folder / "operations.so"), "-lm"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    ffi = cffi.FFI()
    return ffi, ffi.dlopen(str(folder / "operations.so"))


def call(library, name, dtype, arrays):
    ffi, lib = library
    ctype = c_type(dtype)
    out = np.empty(len(arrays[0]), "bool" if name in PREDICATES else dtype)
    ffi.cdef(f"void {name}_{ctype.suffix}(ptrdiff_t, const void *, const void *, void *);", override=True)
    x, y = arrays[0], arrays[-1]
    getattr(lib, f"{name}_{ctype.suffix}")(len(x), *[ffi.from_buffer(a) for a in (x, y, out)])
    return out


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_c_equals_numpy(library, name, dtype):
    arrays = operands(name, dtype)
    with np.errstate(all="ignore"):
        expected = np.asarray(reference(name)(*arrays)).astype("bool" if name in PREDICATES else dtype)
    actual = call(library, name, dtype, arrays)
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(actual, expected)
        return
    exact = name in "add sub mul true_divide neg abs sign minimum maximum floor ceil trunc round sqrt mod floor_divide"
    tolerance = 0 if exact else 4e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=0 if exact else 1e-44)
    if name in ("mod", "floor_divide", "neg", "floor", "ceil", "trunc", "round", "abs"):
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(actual[numbers]), np.signbit(expected[numbers]))


def test_psi_is_accurate_around_its_positive_root(library):
    x = np.array([1.46163, 1.4616321449683622, 1.4616321449683625, 1.4617, 1.0, 2.0, 1e-300, 1e300])
    np.testing.assert_allclose(call(library, "psi", "float64", [x]), [digamma(v) for v in x], rtol=1e-13)


def test_choices_and_rounding_become_vector_instructions(tmp_path):
    """Branch-free helpers: gcc says that it vectorized their loops."""
    gcc = shutil.which("gcc")
    if gcc is None or subprocess.run([gcc, "-dumpmachine"], capture_output=True, text=True).stdout[:6] != "x86_64":
        pytest.skip("no gcc for x86-64")
    wanted = [(n, d) for n in ("minimum", "maximum", "sign", "isnan", "isinf") for d in ("float32", "float64")]
    wanted += [(n, "int32") for n in ("minimum", "maximum", "abs", "sign", "left_shift", "right_shift")]
    source = unit()
    (tmp_path / "u.c").write_text(source)
    command = [gcc, *FLAGS, "-O3", "-mavx2", "-fopt-info-vec-optimized", "-c", "u.c", "-o", "u.o"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = source.splitlines()
    vectorized = {int(n) for n in re.findall(r"u\.c:(\d+):\d+: optimized: loop vectorized", done.stderr)}
    owner = {}
    for number, line in enumerate(lines, 1):
        if match := re.match(r"void (\w+)\(", line):
            current = match[1]
        elif "for (ptrdiff_t" in line:
            owner[number] = current
    names = {owner[n] for n in vectorized if n in owner}
    assert [f"{n}_{c_type(d).suffix}" for n, d in wanted if f"{n}_{c_type(d).suffix}" not in names] == []


@pytest.mark.parametrize(("name", "dtype"), [c for c in CASES if isinstance(spelling(*c), Function)])
def test_helpers_are_found_by_name(name, dtype):
    function = spelling(name, dtype)
    if function.source:
        assert function.name == f"sg_{name}_{c_type(dtype).suffix}"
        result = "bool" if name in PREDICATES else c_type(dtype).name
        assert re.search(rf"^(static inline|SG_INLINE) {result} {function.name}\(", function.source, re.MULTILINE)
        assert helper(function.name) == function
        assert set(re.findall(r"\bsg_\w+", function.source)) == {function.name, *function.requires}
    else:
        assert function.requires == ()


UNKNOWN = [("nothing", "int64"), ("exp", "int64"), ("sub", "bool"), ("add", "complex64")]


@pytest.mark.parametrize(("name", "dtype"), UNKNOWN)
def test_what_is_unknown_is_refused(name, dtype):
    with pytest.raises(KeyError, match=f"{name}|{dtype}"):
        spelling(name, dtype)
    with pytest.raises(KeyError, match="nothing"):
        helper("sg_nothing_i64")
    with pytest.raises(KeyError):
        helper("expf")


@pytest.mark.parametrize("name", [n for n in OPERATIONS if isinstance(spelling(n, dtypes(n)[0]), Infix)])
def test_operands_never_bind_less_tightly_than_c_needs(name):
    for dtype in dtypes(name):
        spelled = spelling(name, dtype)
        if isinstance(spelled, Infix):
            assert operations.COMMA < spelled.precedence <= spelled.operands <= operations.UNARY


@pytest.mark.parametrize("dtype", C_TYPES)
@pytest.mark.parametrize("kind", REDUCTIONS)
def test_identities_leave_every_value_as_it_is(kind, dtype):
    if kind in ("and", "or") and dtype != "bool":
        return
    start = identity(kind, dtype)
    combine = {"add": np.add, "mul": np.multiply, "maximum": np.maximum, "minimum": np.minimum,
               "and": np.logical_and, "or": np.logical_or}[kind]  # fmt: skip
    values = edge_values(dtype)
    assert start.dtype == dtype
    with np.errstate(all="ignore"):
        combined = combine(np.full(len(values), start.value, dtype), values)
    np.testing.assert_array_equal(combined, values)
    assert REDUCTIONS[kind] in OPERATIONS
