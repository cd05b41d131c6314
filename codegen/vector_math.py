"""Functions of floats as branch-free C, which compilers turn into vector instructions inside `omp simd` loops.

Each is within 4 units in the last place of the exact value for every argument, most within 1, and has C's values at
zeros, infinities and NaN. There are no intrinsics and no assumptions beyond IEEE formats and round to nearest, so the
text serves SSE2, AVX2, AVX-512 and NEON alike; where the machine fuses `a b + c`, the last bit may be another.

Sources: argument reduction by Cody and Waite, Software Manual for the Elementary Functions (1980); error terms of sums
and products by Dekker (1971), see Muller et al., Handbook of Floating-Point Arithmetic (2nd ed. 2018), sections 4.3
and 4.4; log by the series of artanh, as in Muller, Elementary Functions (3rd ed. 2016), section 3.3; erfc by a
polynomial in (x - k) / (x + k), as in Shepherd and Laframboise (1981). The polynomials are derived in
benchmarks/minimax.py.
"""

from __future__ import annotations

import re
from functools import cache
from string import Template

from codegen.dtypes import C_TYPES, CType, literal

# -- polynomials, the lowest coefficient first; benchmarks/minimax.py prints them

_COEFFICIENTS: dict[str, dict[str, tuple[float, ...]]] = {
    "exp": {  # (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2
        "float64": (
            0.5, 0.16666666666666685, 0.04166666666666673, 0.00833333333331672, 0.001388888888885874,
            0.00019841269897108134, 2.4801587373244043e-05, 2.7557234186766253e-06, 2.7557233732592873e-07,
            2.5112257561583502e-08, 2.0926839661482764e-09,
        ),
        "float32": (0.5, 0.16666518, 0.041666202, 0.0083689, 0.0013950608),
    },
    "log": {  # (2 artanh(s) / s - 2) / s^2 in powers of s^2, for (1 + s) / (1 - s) between sqrt(1/2) and sqrt(2)
        "float64": (
            0.6666666666666734, 0.399999999994147, 0.28571428742384825, 0.22222198573351296, 0.18183564323108323,
            0.15314050494417486, 0.14795951525027634,
        ),
        "float32": (0.6666666, 0.40000334, 0.2853731, 0.2358213),
    },
    "artanh": {  # the same less 2/3, over s^2, to the accuracy of two doubles
        "float64": (
            0.3999999999999998, 0.285714285714451, 0.22222222217539203, 0.18181818869978403, 0.1538455689400979,
            0.13336316530062084, 0.11674836633512714, 0.11988861517138012,
        ),
    },
    "sinh": {  # (sinh(x) / x - 1) / x^2 in powers of x^2, for |x| <= 1
        "float64": (
            0.16666666666666666, 0.008333333333333333, 0.00019841269841269773, 2.7557319224040365e-06,
            2.5052108364049933e-08, 1.6059048397539596e-10, 7.646625275177843e-13, 2.8445288878999362e-15,
        ),
        "float32": (0.16666667, 0.008333339, 0.00019838099, 2.8063007e-06),
    },
    "erf": {  # log(erfc(x)) / x for 0 <= x <= 6, in float32 4, beyond which erf(x) is 1
        "float64": (
            -1.1283791670955126, -0.6366197723675836, -0.10277260330178876, 0.019128447005070336,
            0.00020919469484292902, -0.0016962063857504305, 0.0005901255529312235, -2.5878604447282278e-05,
            -6.449186033632652e-05, 2.972404503619474e-05, -3.4072636520742766e-06, -2.8351426859921813e-06,
            1.7415502928981572e-06, -3.3636742024963e-07, -1.371798661761482e-07, 1.4176051325345749e-07,
            -6.5732781882279e-08, 2.0962387385478233e-08, -4.997629330045559e-09, 9.082068396205828e-10,
            -1.2483852257602435e-10, 1.2610728275887583e-11, -8.845375097486567e-13, 3.850438520003945e-14,
            -7.834011225507792e-16,
        ),
        "float32": (
            -1.1283792, -0.6366194, -0.10277783, 0.019153068, 0.00016038463, -0.0016670126, 0.0006328271,
            -0.00011763817, 9.255887e-06,
        ),
    },
    "erfc": {  # (exp(x^2) erfc(x) (1 + 2x) - 1) / (1 + q) in powers of q = (x - k) / (x + k), x >= 0; k = 4, or 2
        "float64": (
            0.2329951186255525, -0.3726162354661154, 0.38799588756873543, -0.3198988333139994, 0.21885976727768505,
            -0.12512693228084715, 0.05879656646854903, -0.021629050906819002, 0.005431316855636811,
            -0.00039934709196034807, -0.00035842629632990003, 0.00015917073986459904, -8.548328945180648e-06,
            -1.5854646902286426e-05, 4.629499389092145e-06, 1.0879077809492885e-06, -7.861259021976015e-07,
            -4.831179233460277e-08, 1.1080523251719394e-07, 3.938342576834566e-09, -1.1714349280004309e-08,
            -1.7412679735621836e-09,
        ),
        "float32": (
            0.27697837, -0.3697422, 0.20371178, -0.039660424, -0.014558809, 0.006524206, 0.002192179, -0.0009206015,
            -0.000512749, 6.949183e-05, 9.750772e-05, 1.6957609e-05,
        ),
    },
}  # fmt: skip

# What depends on the format. Numbers in two parts, such as ln2_high and ln2_low, are split so that the first times a
# whole number below 2^11 (in float32 2^8) is exact. Some constants are added to a number to round it to a whole n. The
# last bits of the sum are then: with to_integer, n; with biased, the exponent of 2^n; with shrunk, that of 2^n shrink;
# with centre, the sum of the exponents of two powers of 2 whose product is 2^n. Sums end at shrunk_end and centre_end.
_FORMATS = {
    "float64": dict(
        mantissa=52, half_bits="0x3fe0000000000000", one="0x3ff0000000000000", two="0x4000000000000000",
        root_half="0x3fe6a09e667f3bcd", fraction="0xfffffffffffff", upper="0xfffffffff8000000",
        to_integer="0x1.8p52", biased="0x1.80000000003ffp52", centre="0x1.80000000007fep52",
        centre_n="2046", centre_end="0x1.8000000000c0ep52", exponents="0xfff0000000000000",
        shrunk="0x1.800000000039bp52", shrunk_end="0x1.80000000007ffp52", sigmoid_end="600.0",
        whole="0x1p52", whole_bits="0x4330000000000000", bias="0x1.00000000003ffp52",
        least="0x1p-1022", lift="0x1p54", lifted="54.0", bound="800.0", tiny="0x1p-54", shrink="0x1p-100",
        log2e="0x1.71547652b82fep+0", ln2="0x1.62e42fefa39efp-1",
        ln2_high="0x1.62e42fefa38p-1", ln2_low="0x1.ef35793c7673p-45",
        log2e_high="0x1.715476p+0", log2e_low="0x1.4ae0bf85ddf44p-26",
        log10e_high="0x1.bcb7b1p-2", log10e_low="0x1.49b9438ca9aaep-28",
        log10_2_high="0x1.34413509f78p-2", log10_2_low="0x1.fef311f12b358p-46",
        expm1_end="710.0", tanh_end="20.0", log_huge="0x1p500", power_end="0x1p65",
        erf_end="6.0", erfc_end="28.0", erfc_middle="4.0",
    ),
    "float32": dict(
        mantissa=23, half_bits="0x3f000000", one="0x3f800000", two="0x40000000",
        root_half="0x3f3504f3", fraction="0x7fffff", upper="0xfffff000",
        to_integer="0x1.8p23f", biased="0x1.8000fep23f", centre="0x1.8001fcp23f",
        centre_n="254", centre_end="0x1.800314p23f", exponents="0xff800000",
        shrunk="0x1.8000c2p23f", shrunk_end="0x1.8001fep23f", sigmoid_end="66.0f",
        whole="0x1p23f", whole_bits="0x4b000000", bias="0x1.0000fep23f",
        least="0x1p-126f", lift="0x1p25f", lifted="25.0f", bound="110.0f", tiny="0x1p-25f", shrink="0x1p-30f",
        log2e="0x1.715476p+0f", ln2="0x1.62e43p-1f",
        ln2_high="0x1.62e4p-1f", ln2_low="0x1.7f7d1cp-20f",
        log2e_high="0x1.714p+0f", log2e_low="0x1.47652cp-12f",
        log10e_high="0x1.bcap-2f", log10e_low="0x1.7b1526p-14f",
        log10_2_high="0x1.344p-2f", log10_2_low="0x1.3509f8p-18f",
        expm1_end="89.0f", tanh_end="10.0f", log_huge="0x1p60f", power_end="0x1p65f",
        erf_end="4.0f", erfc_end="10.5f", erfc_middle="2.0f",
    ),
}  # fmt: skip

# -- the functions; $T is the type, $U the unsigned integer of its width, $s and $m end names of ours and of libm

_TEXTS = {
    "bits": """
SG_INLINE $U sg_bits_$s($T x)
{
    $U bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}""",
    "of_bits": """
SG_INLINE $T sg_of_bits_$s($U bits)
{
    $T x;
    memcpy(&x, &bits, sizeof x);
    return x;
}""",
    "muladd": """
/* a b + c, rounded once where the machine does so in one instruction. */
SG_INLINE $T sg_muladd_$s($T a, $T b, $T c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fma$m(a, b, c);
#else
    return a * b + c;
#endif
}""",
    "product_tail": """
/* a b - product exactly, where product is a b rounded. */
SG_INLINE $T sg_product_tail_$s($T a, $T b, $T product)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fma$m(a, b, -product);
#else
    const $T c = sg_of_bits_$s(sg_bits_$s(a) & $upper), d = sg_of_bits_$s(sg_bits_$s(b) & $upper);
    return ((c * d - product) + c * (b - d) + (a - c) * d) + (a - c) * (b - d);
#endif
}""",
    "fused": """
/* a b + c rounded once, for a finite c far below a b. */
SG_INLINE $T sg_fused_$s($T a, $T b, $T c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fma$m(a, b, c);
#else
    const $T product = a * b, low = sg_product_tail_$s(a, b, product) + c;
    return fabs$m(low) < INFINITY ? product + low : product;
#endif
}""",
    "remainder": """
/* c - a b, for a near c / b. */
SG_INLINE $T sg_remainder_$s($T a, $T b, $T c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    return fma$m(-a, b, c);
#else
    const $T product = a * b;
    return (c - product) - sg_product_tail_$s(a, b, product);
#endif
}""",
    "limited": """
/* The bits of x, or those of limit where that is less; of a NaN, any. As integers: one instruction for many lanes. */
SG_INLINE $U sg_limited_$s($T x, $T limit)
{
    const $I bits = ($I)sg_bits_$s(x), most = ($I)sg_bits_$s(limit);
    return ($U)(bits < most ? bits : most);
}""",
    "exp_reduced": """
/* exp(r) 2^n factor, for |r| <= log(2) / 2 and the bits of n + $centre, with a whole n above -$centre_n. */
SG_INLINE $T sg_exp_reduced_$s($T r, $U shifted, $T factor)
{
    $exp_polynomial
    const $T e = sg_muladd_$s(r, sg_muladd_$s(r, p, 1), 1) * factor;
    const $U half = (shifted << ($mantissa - 1)) & $exponents;  /* twice, since 2^n itself may be no normal number */
    return e * sg_of_bits_$s(half) * sg_of_bits_$s((shifted << $mantissa) - half);
}""",
    "clamp": """
/* x kept within -bound and bound; NaN stays. */
SG_INLINE $T sg_clamp_$s($T x, $T bound)
{
    const $T y = -bound > x ? -bound : x;
    return bound < y ? bound : y;
}""",
    "exp_scaled": """
/* exp(x - tail) factor, for a tail far below x. Below -bound there is no n, and whatever comes out is left. */
SG_INLINE $T sg_exp_scaled_$s($T x, $T tail, $T factor)
{
    const $U shifted = sg_limited_$s(sg_muladd_$s(x, $log2e, $centre), $centre_end);
    const $T n = sg_of_bits_$s(shifted) - $centre;
    const $T r = sg_muladd_$s(n, -$ln2_low, sg_muladd_$s(n, -$ln2_high, x) - tail);
    return x < -$bound ? $zero : sg_exp_reduced_$s(r, shifted, factor);
}""",
    "exp": """
SG_INLINE $T sg_exp_$s($T x)
{
    return sg_exp_scaled_$s(x, 0, 1);
}""",
    "exp2": """
SG_INLINE $T sg_exp2_$s($T x)
{
    const $U shifted = sg_limited_$s(x + $centre, $centre_end);
    const $T r = (x - (sg_of_bits_$s(shifted) - $centre)) * $ln2;
    return x < -2 * $bound ? $zero : sg_exp_reduced_$s(r, shifted, 1);
}""",
    "expm1_value": """
/* exp(x) - 1, but for the sign of 0. */
SG_INLINE $T sg_expm1_value_$s($T x)
{
    const $T low = -$expm1_end / 2 > x ? -$expm1_end / 2 : x, y = $expm1_end < low ? $expm1_end : low;
    const $T shifted = sg_muladd_$s(y, $log2e, $to_integer), n = shifted - $to_integer;
    const $T r = sg_muladd_$s(n, -$ln2_low, sg_muladd_$s(n, -$ln2_high, y));
    $exp_polynomial
    const $T e = sg_muladd_$s(r * r, p, r);
    const $T scale = sg_of_bits_$s((sg_bits_$s(shifted) << $mantissa) + $half_bits);
    return n == 0 ? e : 2 * sg_muladd_$s(scale, e, scale - $half);
}""",
    "expm1": """
SG_INLINE $T sg_expm1_$s($T x)
{
    return copysign$m(sg_expm1_value_$s(x), x);
}""",
    "exponent": """
/* n where x = 2^n m, for a positive normal x and m between sqrt(1/2) and sqrt(2). */
SG_INLINE $T sg_exponent_$s($T x)
{
    return sg_of_bits_$s(((sg_bits_$s(x) + ($one - $root_half)) >> $mantissa) | $whole_bits) - $bias;
}""",
    "significand": """
/* m where x = 2^n m, for the same. */
SG_INLINE $T sg_significand_$s($T x)
{
    return sg_of_bits_$s(((sg_bits_$s(x) + ($one - $root_half)) & $fraction) + $root_half);
}""",
    "log_edges": """
/* log(x), given its value for positive finite x. */
SG_INLINE $T sg_log_edges_$s($T x, $T value)
{
    const $T most = x < INFINITY ? value : x;
    const $T edge = x == 0 ? -INFINITY : NAN;
    return x > 0 ? most : edge;
}""",
    "log_reduced": """
/* log(1 + f) + n log(2), for 1 + f between sqrt(1/2) and sqrt(2). */
SG_INLINE $T sg_log_reduced_$s($T f, $T n)
{
    const $T s = f / (2 + f), r = s * s, q = $half * f * f;
    $log_polynomial
    return sg_muladd_$s(n, $ln2_high, f - (q - sg_muladd_$s(s, sg_muladd_$s(r, p, q), n * $ln2_low)));
}""",
    "log": """
SG_INLINE $T sg_log_$s($T x)
{
    const bool small = x < $least;
    const $T y = small ? x * $lift : x, n = sg_exponent_$s(y) - (small ? $lifted : $zero);
    return sg_log_edges_$s(x, sg_log_reduced_$s(sg_significand_$s(y) - 1, n));
}""",
    "log_to_base": """
/* log(x) (high + low) where log(2) (high + low) = unit + unit_low; n times unit, half a format times high are exact. */
SG_INLINE $T sg_log_to_base_$s($T x, $T high, $T low, $T unit, $T unit_low)
{
    const bool small = x < $least;
    const $T y = small ? x * $lift : x, n = sg_exponent_$s(y) - (small ? $lifted : $zero);
    const $T f = sg_significand_$s(y) - 1, s = f / (2 + f), r = s * s, q = $half * f * f;
    $log_polynomial
    const $T a = sg_of_bits_$s(sg_bits_$s(f - q) & $upper);
    const $T b = ((f - a) - q) + s * sg_muladd_$s(r, p, q);
    const $T whole = n * unit, part = a * high, sum = whole + part;
    const $T rest = sg_muladd_$s(a + b, low, sg_muladd_$s(b, high, n * unit_low));
    return sg_log_edges_$s(x, sum + (((whole - sum) + part) + rest));
}""",
    "log2": """
SG_INLINE $T sg_log2_$s($T x)
{
    return sg_log_to_base_$s(x, $log2e_high, $log2e_low, 1, 0);
}""",
    "log10": """
SG_INLINE $T sg_log10_$s($T x)
{
    return sg_log_to_base_$s(x, $log10e_high, $log10e_low, $log10_2_high, $log10_2_low);
}""",
    "log1p": """
SG_INLINE $T sg_log1p_$s($T x)
{
    const $T u = 1 + x, v = u - 1, tail = (1 - (u - v)) + (x - v), n = sg_exponent_$s(u);
    const $T inverse = sg_of_bits_$s($two - (sg_bits_$s(n + $to_integer) << $mantissa));
    const $T value = sg_log_reduced_$s(sg_muladd_$s($half * tail, inverse, sg_significand_$s(u) - 1), n);
    return fabs$m(x) < $tiny ? x : sg_log_edges_$s(u, value);
}""",
    "sigmoid": """
/* 1 / (1 + exp(-x)) with all three scaled alike, so that exp(-x) cannot overflow where the quotient is above 0. */
SG_INLINE $T sg_sigmoid_$s($T x)
{
    const $U shifted = sg_limited_$s(sg_muladd_$s(-x, $log2e, $shrunk), $shrunk_end);
    const $T n = sg_of_bits_$s(shifted) - $shrunk;
    const $T r = sg_muladd_$s(n, -$ln2_low, sg_muladd_$s(n, -$ln2_high, -x));
    $exp_polynomial
    const $T e = sg_muladd_$s(r, sg_muladd_$s(r, p, 1), 1) * sg_of_bits_$s(shifted << $mantissa);
    return x > $sigmoid_end ? 1 : $shrink / ($shrink + e);
}""",
    "expm1_between": """
/* exp(x) - 1 for |x| < 60; for others, anything. */
SG_INLINE $T sg_expm1_between_$s($T x)
{
    const $T shifted = sg_muladd_$s(x, $log2e, $biased), n = shifted - $biased;
    const $T r = sg_muladd_$s(n, -$ln2_low, sg_muladd_$s(n, -$ln2_high, x));
    $exp_polynomial
    const $T e = sg_muladd_$s(r * r, p, r), scale = sg_of_bits_$s(sg_bits_$s(shifted) << $mantissa);
    return sg_muladd_$s(scale, e, scale - 1);
}""",
    "tanh": """
SG_INLINE $T sg_tanh_$s($T x)
{
    const $T a = fabs$m(x), e = sg_expm1_between_$s(2 * a);
    return copysign$m(a > $tanh_end ? 1 : e / (e + 2), x);
}""",
    "sinh": """
SG_INLINE $T sg_sinh_$s($T x)
{
    const $T a = fabs$m(x), e = sg_exp_scaled_$s(a, 0, $half), r = x * x;
    $sinh_polynomial
    return a < 1 ? sg_muladd_$s(x * r, p, x) : copysign$m(e - $half * $half / e, x);
}""",
    "cosh": """
SG_INLINE $T sg_cosh_$s($T x)
{
    const $T e = sg_exp_scaled_$s(fabs$m(x), 0, $half);
    return e + $half * $half / e;
}""",
    "arcsinh": """
SG_INLINE $T sg_arcsinh_$s($T x)
{
    const $T a = fabs$m(x), r = a * a;
    const bool huge = a > $log_huge;
    const $T value = sg_log1p_$s(huge ? a - 1 : a + r / (1 + sqrt$m(1 + r)));
    return copysign$m(value + (huge ? $ln2 : $zero), x);
}""",
    "arccosh": """
SG_INLINE $T sg_arccosh_$s($T x)
{
    const $T t = x - 1;
    const bool huge = x > $log_huge;
    const $T value = sg_log1p_$s(huge ? t : t + sqrt$m(t * (x + 1))) + (huge ? $ln2 : $zero);
    return x < 1 ? NAN : value;
}""",
    "arctanh": """
SG_INLINE $T sg_arctanh_$s($T x)
{
    const $T a = fabs$m(x), value = $half * sg_log1p_$s(2 * a + 2 * a * a / (1 - a));
    return copysign$m(a > 1 ? NAN : value, x);
}""",
    "erf": """
SG_INLINE $T sg_erf_$s($T x)
{
    const $T r = fabs$m(x);
    $erf_polynomial
    return copysign$m(r > $erf_end ? 1 : sg_expm1_between_$s(r * p), x);
}""",
    "erfc": """
SG_INLINE $T sg_erfc_$s($T x)
{
    const $T b = fabs$m(x), a = $erfc_end < b ? $erfc_end : b, inverse = 1 / (a + $erfc_middle), q = a * a;
    const $T r = (a - $erfc_middle) * inverse;
    $erfc_polynomial
    const $T g = 2 * a * inverse * p, shrink = 1 / (1 + 2 * a), h = sg_muladd_$s(g, shrink, shrink);
    const $T factor = sg_muladd_$s((g - h) + sg_muladd_$s(-2 * a, h, 1), shrink, h);  /* (1 + g) / (1 + 2a) */
    const $T value = sg_exp_scaled_$s(-q, sg_product_tail_$s(a, a, q), factor);
    return x < 0 ? 2 - value : value;
}""",
}

# libm's functions whose arguments may be reduced by any multiple of pi, and their inverses. glibc has them for vectors
# too, within 4 units in the last place; gcc uses these where the C declares that they exist.
_LIBM = """
/* glibc has $stem$m for vectors too. */
#if defined(__GLIBC__) && defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#if __GLIBC_PREREQ(2, 35)
__attribute__((simd("notinbranch"))) $T $stem$m($types);
#endif
#endif

SG_INLINE $T sg_${name}_$s($parameters)
{
    return $stem$m($arguments);
}"""

_STEMS = {
    "sin": "sin", "cos": "cos", "tan": "tan", "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2",
}  # fmt: skip

# pow(x, y) = exp(y log |x|) with the sign of an odd power; $usual_value declares it for positive finite x.
_POWER = """
SG_INLINE $T sg_power_$s($T x, $T y)
{
    const $T a = fabs$m(x), c = sg_clamp_$s(y, $power_end);
$usual_value
    const $T sign = copysign$m(1, x), size = fabs$m(y), half = size / 2;
    const bool whole = (size >= $whole) | ((size + $whole) - $whole == size);
    const bool odd = whole & (size < 2 * $whole) & ((half + $whole) - $whole != half);
    const $T edge = y > 0 ? a : a == 0 ? INFINITY : $zero, value = ((a == 0) | (a == INFINITY)) ? edge : usual;
    const $T known = ((x < 0) & (a < INFINITY) & !whole) ? NAN : odd ? sign * value : value;
    return ((y == 0) | (x == 1)) ? 1 : ((x != x) | (y != y)) ? NAN : known;
}"""

_USUAL_POWER = {
    "float64": """\
    const bool small = a < $least;
    const double b = small ? a * $lift : a, n = sg_exponent_f64(b) - (small ? $lifted : $zero);
    const double f = sg_significand_f64(b) - 1, d = 2 + f, inverse = 1 / d;
    const double s = f * inverse, s_low = (sg_remainder_f64(s, d, f) - s * (f - (d - 2))) * inverse;
    const double r = s * s, r_low = sg_muladd_f64(2 * s, s_low, sg_product_tail_f64(s, s, r));
    $artanh_polynomial
    const double third = 0x1.5555555555555p-1, third_low = 0x1.5555555555555p-55;  /* two of them */
    const double t = r * p, u = third + t, u_low = ((third - u) + t) + third_low;
    const double v = r * u, v_low = sg_product_tail_f64(r, u, v) + sg_muladd_f64(r, u_low, r_low * u);
    const double w = s * v, w_low = sg_product_tail_f64(s, v, w) + sg_muladd_f64(s, v_low, s_low * v);
    const double units = n * $ln2_high, sum = units + 2 * s;
    const double sum_low = ((units - sum) + 2 * s) + sg_muladd_f64(n, $ln2_low, 2 * s_low);
    const double near = sum + w, near_low = ((sum - near) + w) + (sum_low + w_low);
    const double high = near + near_low, low = (near - high) + near_low;
    const double product = c * high, product_low = sg_muladd_f64(c, low, sg_product_tail_f64(c, high, product));
    const double usual = sg_exp_scaled_f64(product, fabs(product) < $bound ? -product_low : $zero, 1);""",
    "float32": """\
    const double log_a = sg_log_reduced_f64(sg_significand_f64(a) - 1, sg_exponent_f64(a));
    const float usual = (float)sg_exp_f64(c * log_a);""",
}

# The whole exponents whose powers are functions of their own: {power_7: 7, …}. Products alone are within 4 units in
# the last place up to the sixth power, and of 1/x up to the third.
WHOLE_POWERS = {f"power_{n}": n for n in range(7, 33)} | {f"power_minus_{n}": -n for n in range(4, 33)}

FUNCTIONS = frozenset((*_TEXTS, *_STEMS, "power", *WHOLE_POWERS))  # what `source` knows, helpers of helpers included


@cache
def source(name: str, dtype: str) -> str:
    """The C of the function `sg_NAME_f64`, or `_f32`, without that of the functions it calls.

    Raises KeyError for a name that is not in FUNCTIONS, or a dtype other than float32 and float64.
    """
    ctype = C_TYPES[dtype]
    values = {
        "T": ctype.name, "U": f"uint{8 * ctype.bytes}_t", "I": f"int{8 * ctype.bytes}_t",
        "s": ctype.suffix, "m": ctype.math, "half": "0.5" + ctype.literal, "zero": "0.0" + ctype.literal,
        **_FORMATS[dtype],
    }  # fmt: skip
    if name in _STEMS:
        arguments = ["y", "x"] if name == "arctan2" else ["x"]
        values |= {
            "name": name, "stem": _STEMS[name], "types": ", ".join(ctype.name for _ in arguments),
            "parameters": ", ".join(f"{ctype.name} {x}" for x in arguments), "arguments": ", ".join(arguments),
        }  # fmt: skip
    special = {"power": _POWER.replace("$usual_value", _USUAL_POWER.get(dtype, ""))} | dict.fromkeys(_STEMS, _LIBM)
    text = _whole_power(name, dtype) if name in WHOLE_POWERS else special.get(name) or _TEXTS[name]
    for polynomial, coefficients in _COEFFICIENTS.items():
        if f"${polynomial}_polynomial" in text:
            values[f"{polynomial}_polynomial"] = _polynomial(coefficients[dtype], ctype)
    return Template(text.strip()).substitute(values) + "\n"


@cache
def called(name: str, dtype: str) -> tuple[str, ...]:
    """The functions that one calls: their names in C, in the order in which they are met."""
    own = f"sg_{name}_{C_TYPES[dtype].suffix}"
    return tuple(other for other in dict.fromkeys(re.findall(r"\bsg_\w+", source(name, dtype))) if other != own)


def _whole_power(name: str, dtype: str) -> str:
    """x^n by squaring, left to right. The first products keep what rounding took from them, until x^exact takes it in.

    That power, of half of n or a bit less, is rounded only once, and one or two products come after it. The error is
    below 4 units in the last place for every n: a product of significand s, from 1 to 2, is off by at most 1 / (2 s)
    units, and this counts as often as the product is a factor of the result. Source: Graillat, Accurate floating-point
    product and exponentiation (2009), algorithm LogCompExp, in which all products keep it.
    """
    n, ctype, exponent = WHOLE_POWERS[name], C_TYPES[dtype], 1
    size, largest = abs(n), 1024 if dtype == "float64" else 128
    exact = size // 2 - (n > 0 and n % 4 == 2)  # the last power that is rounded only once
    if n > 0:
        x, finite, lines, lows = "x", f"x2 < 0x1p{2 * largest // n + 2}{ctype.literal}", [], set()
    else:
        x, finite = "x1", f"((fabs$m(x) > 0x1p-{largest // size + 2}{ctype.literal}) & (fabs$m(x) < INFINITY))"
        lines, lows = ["const $T x1 = 1 / x, x1_low = sg_remainder_$s(x1, x, 1) * x1;"], {"x1"}
    for digit in f"{size:b}"[1:]:
        for more in (exponent, 1) if digit == "1" else (exponent,):
            a, b = (x if k == 1 else f"x{k}" for k in (exponent, more))
            exponent += more
            power, factors = f"x{exponent}", {a: f"2 * {a}"} if a == b else {a: b, b: a}
            parts = [(factor, f"{low}_low") for low, factor in factors.items() if low in lows]
            if exponent < exact:
                tail = f"sg_product_tail_$s({a}, {b}, {power})"
                for factor, low in parts:
                    tail = f"sg_muladd_$s({factor}, {low}, {tail})"
                lines.append(f"const $T {power} = {a} * {b}, {power}_low = {tail};")
                lows.add(power)
            elif exponent == exact:
                low = " + ".join(f"{factor} * {low}" for factor, low in parts)
                lines.append(f"const $T low = {finite} ? {low} : 0;")
                lines.append(f"const $T {power} = sg_fused_$s({a}, {b}, low);")
            else:
                lines.append(f"const $T {power} = {a} * {b};")
    lines[-1] = lines[-1].replace(f"const $T {power} =", "return")
    return "\n    ".join([f"/* x^{n}. */\nSG_INLINE $T sg_{name}_$s($T x)\n{{", *lines]) + "\n}"


def _polynomial(coefficients: tuple[float, ...], ctype: CType) -> str:
    """Statements that declare p, the polynomial at r.

    By Horner's rule; long ones in two or four chains that do not wait for each other, as in Knuth, The Art of Computer
    Programming, vol. 2, section 4.6.4.
    """
    dtype = "float64" if ctype.bytes == 8 else "float32"
    numbers, muladd = [literal(dtype, c) for c in coefficients], f"sg_muladd_{ctype.suffix}"
    if len(numbers) < 8:
        steps = [f"p = {muladd}(p, r, {c});" for c in reversed(numbers[:-1])]
        return "\n    ".join([f"{ctype.name} p = {numbers[-1]};", *steps])
    ways, power = (2, "r2") if len(numbers) < 16 else (4, "r4")
    chains = [numbers[k::ways] for k in range(ways)]
    starts = ", ".join(f"p{k} = {chain.pop()}" for k, chain in enumerate(chains))
    steps = [f"p{k} = {muladd}(p{k}, {power}, {c});" for k, chain in enumerate(chains) for c in reversed(chain)]
    low = f"{muladd}(p1, r, p0)"
    whole = low if ways == 2 else f"{muladd}({muladd}(p3, r, p2), r2, {low})"
    powers = "r2 = r * r" if ways == 2 else "r2 = r * r, r4 = r2 * r2"
    first = [f"const {ctype.name} {powers};", f"{ctype.name} {starts};"]
    return "\n    ".join([*first, *steps, f"const {ctype.name} p = {whole};"])
