"""The one table of scalar operations and how each is written in C.

Values are numpy's: integers wrap, integer division and remainder by zero are 0 and never trap, signs are Python's,
NaN goes through minimum and maximum. Helpers are branch-free where their loops can be vectorized.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from string import Template

from codegen import ir, vector_math
from codegen.dtypes import C_TYPES, CType, c_type

# C's precedences, the tightest highest.
POSTFIX, UNARY, MULTIPLICATION, ADDITION, SHIFT, RELATION, EQUALITY = 15, 14, 13, 12, 11, 10, 9
BIT_AND, BIT_XOR, BIT_OR, AND, OR, CONDITIONAL, ASSIGNMENT, COMMA = 8, 7, 6, 5, 4, 3, 2, 1


@dataclass(frozen=True)
class Infix:
    """`a symbol b`, grouped from the left.

    operands: an operand that binds less tightly than this needs parentheses; above `precedence` where C's rule is one
        that compilers warn about (`a & b == c`)
    promotes: the value is an `int` that may lie outside the narrow type of the operands: cast it back
    """

    symbol: str
    precedence: int
    operands: int
    promotes: bool = False


@dataclass(frozen=True)
class Prefix:
    """`symbol a`, with the precedence `UNARY`; `promotes` as in `Infix`."""

    symbol: str
    promotes: bool = False


@dataclass(frozen=True)
class Function:
    """`name(a, …)`.

    source: the C text of an inline function, printed once into a unit that uses it; empty for libm's
    requires: the names of other helpers that it calls, which must be printed before; see `helper`
    """

    name: str
    source: str = ""
    requires: tuple[str, ...] = ()


Spelling = Infix | Prefix | Function
Maker = Callable[[CType], Spelling]

OPERATIONS: dict[str, dict[str, Maker]] = {}  # operation -> numpy's kind of the operands (b, i, u, f) -> its spelling


def spelling(name: str, dtype: str) -> Spelling:
    """How an operation on operands of `dtype` is written.

    Raises KeyError for an unknown operation or dtype, or an operation that has no meaning for the dtype.
    """
    return _spelling(name, dtype)


def dtypes(name: str) -> tuple[str, ...]:
    """The dtypes of the operands that an operation has; KeyError for an unknown operation."""
    return tuple(dtype for dtype, ctype in C_TYPES.items() if ctype.kind in _makers(name))


@cache
def helper(name: str) -> Function:
    """The helper function called `name` in C, as in `Function.requires`; KeyError where there is none."""
    operation, _, suffix = name.removeprefix("sg_").rpartition("_")
    for dtype, ctype in C_TYPES.items():
        if ctype.suffix == suffix and name == f"sg_{operation}_{suffix}":
            if ctype.kind == "f" and operation in vector_math.FUNCTIONS:
                return _vector_function(operation, ctype)
            found = _spelling(operation, dtype)
            if isinstance(found, Function) and found.name == name:
                return found
    raise KeyError(f"there is no helper function {name}")


def conversion(source: str, target: str) -> Function:
    """A conversion that is defined for every value, as C's is not: NaN and what does not fit become the lowest integer.

    Like numpy's on x86, narrow integers take the low bits of a wide one.
    """
    f, t = c_type(source), c_type(target)
    name = f"sg_{t.suffix}_of_{f.suffix}"
    wide = "uint64_t" if target == "uint64" else "int64_t"
    below, fits = "x < 9223372036854775808.0", "x >= -9223372036854775808.0"
    signed = f"({fits} && {below} ? (int64_t)x : INT64_MIN)"
    if wide == "uint64_t":
        value = f"x >= 9223372036854775808.0 && x < 18446744073709551616.0 ? (uint64_t)x : (uint64_t){signed}"
    else:
        value = signed if target == "int64" else f"({t.name}){signed}"
    return Function(name, f"static inline {t.name} {name}({f.name} x)\n{{\n    return {value};\n}}")


@cache
def _spelling(name: str, dtype: str) -> Spelling:
    if dtype not in C_TYPES:
        raise KeyError(f"no dtype {dtype}")
    ctype = c_type(dtype)
    makers = _makers(name)
    if ctype.kind not in makers:
        raise KeyError(f"operation {name} has no meaning for {dtype}")
    return makers[ctype.kind](ctype)


def _makers(name: str) -> dict[str, Maker]:
    if name not in OPERATIONS:
        raise KeyError(f"no operation {name}")
    return OPERATIONS[name]


# Those that cost a core as much as some 16 additions.
EXPENSIVE = frozenset(
    """
    exp exp2 expm1 log log2 log10 log1p power sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh
    arctanh erf erfc gamma gammaln psi polygamma sigmoid
    """.split()
)

# What ir.Reduce combines with, by its kind; the positions of argmax and argmin are lowering's to track.
REDUCTIONS = {
    "add": "add",
    "mul": "mul",
    "maximum": "maximum",
    "minimum": "minimum",
    "and": "logical_and",
    "or": "logical_or",
}


def identity(kind: str, dtype: str) -> ir.Literal:
    """The value that a reduction of a kind starts from: combined with any other it gives the other.

    Raises KeyError for an unknown kind or dtype.
    """
    ctype = c_type(dtype)
    bits = 8 * ctype.bytes
    lowest: dict[str, bool | int | float] = {"b": False, "i": -(2 ** (bits - 1)), "u": 0, "f": float("-inf")}
    highest: dict[str, bool | int | float] = {"b": True, "i": 2 ** (bits - 1) - 1, "u": 2**bits - 1, "f": float("inf")}
    extremes = {"maximum": lowest[ctype.kind], "minimum": highest[ctype.kind]}
    starts = {"add": 0, "mul": 1, "and": True, "or": False, **extremes}
    python = {"b": bool, "i": int, "u": int, "f": float}[ctype.kind]
    return ir.Literal(dtype, python(starts[kind]))


def _define(name: str, **makers: Maker) -> None:
    """Enter an operation; each keyword is one or more kinds of operands, as in `iu=`."""
    OPERATIONS[name] = {kind: maker for kinds, maker in makers.items() for kind in kinds}


def _is_narrow(ctype: CType) -> bool:
    return ctype.kind in "iu" and ctype.bytes < 4


def _infix(symbol: str, precedence: int, operands: int | None = None) -> Maker:
    return lambda ctype: Infix(symbol, precedence, precedence if operands is None else operands)


def _arithmetic(symbol: str, precedence: int) -> Maker:
    return lambda ctype: Infix(symbol, precedence, precedence, promotes=_is_narrow(ctype))


def _libm(stem: str) -> Maker:
    return lambda ctype: Function(stem + ctype.math)


def _vector(operation: str) -> Maker:
    return lambda ctype: _vector_function(operation, ctype)


def _vector_function(operation: str, ctype: CType) -> Function:
    """A function of `vector_math.py`."""
    dtype = "float64" if ctype.bytes == 8 else "float32"
    text, requires = vector_math.source(operation, dtype), vector_math.called(operation, dtype)
    return Function(f"sg_{operation}_{ctype.suffix}", text, requires)


def _helper(operation: str, text: str, *requires: str) -> Maker:
    """A helper from a template: $T the type, $U its unsigned partner, $bits its width, $s and $m suffixes of names."""
    template = Template(text.strip() + "\n")

    def make(ctype: CType) -> Function:
        bits = 8 * ctype.bytes
        source = template.substitute(
            T=ctype.name, U=f"uint{bits}_t", s=ctype.suffix, m=ctype.math, bits=bits, half="0.5" + ctype.literal
        )
        return Function(f"sg_{operation}_{ctype.suffix}", source, tuple(f"sg_{r}_{ctype.suffix}" for r in requires))

    return make


def _by_double(operation: str, arity: int, text: str, *requires: str) -> Maker:
    """A helper for double; that for float calls it."""
    double = _helper(operation, text, *requires)

    def make(ctype: CType) -> Spelling:
        if ctype.bytes == 8:
            return double(ctype)
        parameters, arguments = ", ".join(["float x", "float y"][:arity]), ", ".join("xy"[:arity])
        source = (
            f"static inline float sg_{operation}_f32({parameters})\n"
            f"{{\n    return (float)sg_{operation}_f64({arguments});\n}}\n"
        )
        return Function(f"sg_{operation}_f32", source, (f"sg_{operation}_f64",))

    return make


# Arithmetic. bool adds and multiplies as in numpy: or, and.
_define("add", iuf=_arithmetic("+", ADDITION), b=_infix("|", BIT_OR, UNARY))
_define("sub", iuf=_arithmetic("-", ADDITION))
_define("mul", iuf=_arithmetic("*", MULTIPLICATION), b=_infix("&", BIT_AND, UNARY))
_define("true_divide", f=_infix("/", MULTIPLICATION))
_define("neg", iuf=lambda ctype: Prefix("-", promotes=_is_narrow(ctype)))

# Comparisons and logic. `&` and `|` on bools evaluate both sides, which loops in vector lanes do anyway.
for _name, _symbol, _precedence in [
    ("lt", "<", RELATION), ("le", "<=", RELATION), ("gt", ">", RELATION), ("ge", ">=", RELATION),
    ("eq", "==", EQUALITY), ("neq", "!=", EQUALITY),
]:  # fmt: skip
    _define(_name, biuf=_infix(_symbol, _precedence, SHIFT))
_define("logical_and", b=_infix("&", BIT_AND, UNARY))
_define("logical_or", b=_infix("|", BIT_OR, UNARY))
_define("logical_xor", b=_infix("!=", EQUALITY, SHIFT))
_define("logical_not", b=lambda ctype: Prefix("!"))

# Bits.
_define("bitwise_and", biu=_infix("&", BIT_AND, UNARY))
_define("bitwise_or", biu=_infix("|", BIT_OR, UNARY))
_define("bitwise_xor", iu=_infix("^", BIT_XOR, UNARY), b=_infix("!=", EQUALITY, SHIFT))
_define("invert", iu=lambda ctype: Prefix("~", promotes=_is_narrow(ctype)), b=lambda ctype: Prefix("!"))
_define(
    "left_shift",
    iu=_helper("left_shift", """
static inline $T sg_left_shift_$s($T a, $T b)
{
    return ($U)b < $bits ? ($T)(($U)a << b) : 0;
}"""),
)
_define(
    "right_shift",
    i=_helper("right_shift", """
static inline $T sg_right_shift_$s($T a, $T b)
{
    return a >> (($U)b < $bits ? b : $bits - 1);
}"""),
    u=_helper("right_shift", """
static inline $T sg_right_shift_$s($T a, $T b)
{
    return b < $bits ? a >> b : 0;
}"""),
)

# Division towards minus infinity, and its remainder. The float formulas are npy_divmod's, in numpy's npy_math.
_define(
    "floor_divide",
    i=_helper("floor_divide", """
static inline $T sg_floor_divide_$s($T a, $T b)
{
    const $T d = b == 0 || b == -1 ? 1 : b;
    const $T q = a / d - (a % d != 0 && (a < 0) != (d < 0));
    return b == 0 ? 0 : b == -1 ? ($T)(0 - ($U)a) : q;
}"""),
    u=_helper("floor_divide", """
static inline $T sg_floor_divide_$s($T a, $T b)
{
    return b == 0 ? 0 : a / b;
}"""),
    f=_helper("floor_divide", """
static inline $T sg_floor_divide_$s($T a, $T b)
{
    const $T r = fmod$m(a, b);
    const $T q = (a - r) / b - (r != 0 && (b < 0) != (r < 0));
    const $T whole = floor$m(q);
    return b == 0 ? a / b : q == 0 ? copysign$m(0, a / b) : whole + (q - whole > $half);
}"""),
)
_define(
    "mod",
    i=_helper("mod", """
static inline $T sg_mod_$s($T a, $T b)
{
    const $T d = b == 0 || b == -1 ? 1 : b;
    const $T r = a % d;
    return r != 0 && (r < 0) != (d < 0) ? r + d : r;
}"""),
    u=_helper("mod", """
static inline $T sg_mod_$s($T a, $T b)
{
    return b == 0 ? 0 : a % b;
}"""),
    f=_helper("mod", """
static inline $T sg_mod_$s($T a, $T b)
{
    const $T r = fmod$m(a, b);
    return r == 0 ? copysign$m(0, b) : (b < 0) != (r < 0) ? r + b : r;
}"""),
)

# Powers. Of integers by squaring; a negative exponent gives 1/x without its fraction.
_SQUARING = """
    uint64_t power = 1, base = (uint64_t)x;
    for (; n != 0; n >>= 1, base *= base) power = n & 1 ? power * base : power;
    return ($T)power;
}"""
_define(
    "power",
    i=_helper("power", """
static inline $T sg_power_$s($T x, $T n)
{
    if (n < 0) return x == 1 ? 1 : x != -1 ? 0 : n & 1 ? -1 : 1;""" + _SQUARING),
    u=_helper("power", """
static inline $T sg_power_$s($T x, $T n)
{""" + _SQUARING),
    f=_vector("power"),
)
for _name in vector_math.WHOLE_POWERS:
    _define(_name, f=_vector(_name))

# Choices. A NaN goes through minimum and maximum: by a choice of its own, since one between conditions that are joined
# keeps gcc from making vector code of choices inside each other.
for _name, _symbol in ("minimum", ">"), ("maximum", "<"):
    _head = f"static inline $T sg_{_name}_$s($T a, $T b)\n{{\n"
    _define(
        _name,
        iu=_helper(_name, _head + f"    return a {_symbol} b ? b : a;\n}}"),
        f=_helper(_name, _head + f"    const $T best = a {_symbol} b ? b : a;\n    return b != b ? b : best;\n}}"),
        b=_infix(*{"minimum": ("&", BIT_AND), "maximum": ("|", BIT_OR)}[_name], UNARY),
    )
_define(
    "abs",
    i=_helper("abs", """
static inline $T sg_abs_$s($T a)
{
    return a < 0 ? ($T)(0 - ($U)a) : a;
}"""),
    f=_libm("fabs"),
)
_define(
    "sign",
    i=_helper("sign", "static inline $T sg_sign_$s($T a)\n{\n    return (a > 0) - (a < 0);\n}"),
    u=_helper("sign", "static inline $T sg_sign_$s($T a)\n{\n    return a != 0;\n}"),
    f=_helper("sign", "static inline $T sg_sign_$s($T a)\n{\n    return a > 0 ? 1 : a < 0 ? -1 : a == 0 ? 0 : a;\n}"),
)

# Tests of floats: libm's macros may return any non-zero int, which `&` on bools cannot take.
_define("isnan", f=_helper("isnan", "static inline bool sg_isnan_$s($T a)\n{\n    return a != a;\n}"))
_define("isinf", f=_helper("isinf", "static inline bool sg_isinf_$s($T a)\n{\n    return fabs$m(a) == INFINITY;\n}"))
_define(
    "isfinite", f=_helper("isfinite", "static inline bool sg_isfinite_$s($T a)\n{\n    return fabs$m(a) < INFINITY;\n}")
)

# libm. rint rounds half to even, as numpy does.
for _name, _stem in {
    "sqrt": "sqrt", "ceil": "ceil", "floor": "floor", "trunc": "trunc", "round": "rint",
    "gamma": "tgamma", "gammaln": "lgamma",
}.items():  # fmt: skip
    _define(_name, f=_libm(_stem))

# Functions that run in vector lanes; `sigmoid` is 1 / (1 + exp(-x)).
for _name in (
    "exp", "exp2", "expm1", "log", "log2", "log10", "log1p", "sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh",
    "sin", "cos", "tan", "arcsin", "arccos", "arctan", "arctan2", "sigmoid", "erf", "erfc",
):  # fmt: skip
    _define(_name, f=_vector(_name))

# The derivatives of gammaln. Sources: DLMF 5.5.2 and 5.5.4 (recurrence, reflection), 5.11.2 (asymptotic series); on
# [1, 2] the rational approximation of Boost's digamma (J. Maddock, 2006), which keeps its accuracy around the root.
_define("psi", f=_by_double("psi", 1, """
static inline double sg_psi_f64(double x)
{
    const double pi = 3.14159265358979323846, r = x - rint(x);
    double shift = 0;
    if (x <= 0) {
        if (r == 0 && x != 0) return NAN;
        shift = -pi / tan(pi * r);
        x = 1 - x;
    }
    if (x < 10) {
        for (; x > 2; shift += 1 / x) x -= 1;
        for (; x < 1; x += 1) shift -= 1 / x;
        const double g = x - 1569415565.0 / 1073741824.0 - 381566830.0 / 1073741824.0 / 1073741824.0
                         - 0.9016312093258695918615325266959189453125e-19;
        const double y = x - 1;
        const double p = 0.25479851061131551 + y * (-0.32555031186804491 + y * (-0.65031853770896507
                         + y * (-0.28919126444774784 + y * (-0.045251321448739056 + y * -0.0020713321167745952))));
        const double q = 1 + y * (2.0767117023730469 + y * (1.4606242909763515 + y * (0.43593529692665969
                         + y * (0.054151797245674225 + y * (0.0021284987017821144 + y * -0.55789841321675513e-6)))));
        return shift + g * 0.99558162689208984 + g * (p / q);
    }
    const double z = 1 / (x * x);
    return shift + log(x) - 0.5 / x - z * (1. / 12 - z * (1. / 120 - z * (1. / 252 - z * (1. / 240
           - z * (1. / 132 - z * (691. / 32760 - z / 12))))));
}
"""))

# zeta(s, x), the sum of (x + k)^-s over k >= 0, for s > 1 and x > 0. Source: Euler-Maclaurin, DLMF 25.11(iii).
_define("hurwitz", f=_by_double("hurwitz", 2, """
static inline double sg_hurwitz_f64(double s, double x)
{
    static const double b[] = {  /* B(2k) / (2k)! */
        1. / 12, -1. / 720, 1. / 30240, -1. / 1209600, 1. / 47900160, -691. / 1307674368000, 1. / 74724249600,
        -3617. / 10670622842880000,
    };
    double sum = 0;
    for (; x < 10 + s / 2; x += 1) sum += pow(x, -s);
    double tail = 1 / (s - 1) + 0.5 / x, term = s / (x * x);
    for (int k = 0; k < 8; ++k) {
        tail += b[k] * term;
        term *= (s + 2 * k + 1) * (s + 2 * k + 2) / (x * x);
    }
    return sum + pow(x, 1 - s) * tail;
}
"""))

# The n-th derivative of psi. Source: DLMF 5.15.1 and 25.11.12; below 0 the sum over all integers, which depends only on
# the distance r to the nearest one, less the part beyond x.
_define("polygamma", f=_by_double("polygamma", 2, """
static inline double sg_polygamma_f64(double n, double x)
{
    if (n == 0) return sg_psi_f64(x);
    if (!(n > 0) || n != floor(n) || n > 1e4) return NAN; /* n! is infinite from 171 on; a sum has n / 2 terms */
    const double s = n + 1, sign = fmod(n, 2) == 0 ? -1 : 1, r = x - rint(x);
    if (x > 0) return sign * tgamma(s) * sg_hurwitz_f64(s, x);
    if (r == 0 && x != 0 && sign < 0) return NAN;
    const double below = sg_hurwitz_f64(s, 1 - r) - sg_hurwitz_f64(s, 1 - x);
    return sign * tgamma(s) * (pow(r, -s) + sg_hurwitz_f64(s, 1 + r) + sign * below);
}
""", "psi", "hurwitz"))
