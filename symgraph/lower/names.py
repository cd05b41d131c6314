"""C identifiers for the user's names: recognizable, safe, and each used once."""

from __future__ import annotations

import re
import unicodedata

# What C has a meaning for: keywords, libm with its variants for float and long double, and functions of the standard
# library, whose names compilers know without a header.
_LIBM = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs fdim floor fma
    fmax fmin fmod frexp gamma hypot ilogb j0 j1 jn ldexp lgamma llrint llround log log10 log1p log2 logb lrint lround
    modf nan
    nearbyint nextafter nexttoward pow remainder remquo rint round scalbln scalbn sin sinh sqrt tan tanh tgamma trunc
    y0 y1 yn
    cabs cacos cacosh carg casin casinh catan catanh ccos ccosh cexp cimag clog conj cpow cproj creal csin csinh csqrt
    ctan ctanh
"""
RESERVED = frozenset(
    """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    _Bool _Complex _Imaginary bool true false main errno NULL assert asm typeof alignas alignof thread_local nullptr
    constexpr static_assert typeof_unqual linux unix
    i j k l arrays sizes workspace run end block blocks first last work
    fpclassify isfinite isinf isnan isnormal signbit isgreater isgreaterequal isless islessequal islessgreater
    isunordered
    memchr memcmp memcpy memmove memset strcat strchr strcmp strcoll strcpy strcspn strdup strerror strlen strncat
    strncmp strncpy strndup strpbrk strrchr strspn strstr strtok strxfrm
    isalnum isalpha isblank iscntrl isdigit isgraph islower isprint ispunct isspace isupper isxdigit tolower toupper
    iswalnum iswalpha iswblank iswcntrl iswdigit iswgraph iswlower iswprint iswpunct iswspace iswupper iswxdigit
    towlower towupper
    fprintf printf snprintf sprintf vfprintf vprintf vsnprintf vsprintf fscanf scanf sscanf vfscanf vscanf vsscanf
    fputc fputs fwrite putc putchar puts
    abort abs aligned_alloc calloc div exit free imaxabs labs llabs malloc realloc
    feclearexcept fegetround feraiseexcept setjmp longjmp
    index signal remove rename
    time clock difftime mktime ctime asctime gmtime localtime strftime timespec timespec_get nanosleep timer_create
    clock_gettime clock_settime clock_getres clock_nanosleep tzset tzname timezone daylight timegm timelocal strptime
    """.split()
) | {name + suffix for name in _LIBM.split() for suffix in ("", "f", "l")}
_RESERVED_FORMS = re.compile(
    r"i\d+|sg_.*|u?int\w*_t|(size|ptrdiff|wchar|max_align|float|double|time|clock)_t"
    r"|NAN|INFINITY|U?INT\w*_(MIN|MAX|C)|(SIZE|PTRDIFF|WCHAR|WINT|SIG_ATOMIC)_(MIN|MAX)|(FP|M|HUGE|MATH)_\w+|SG_.*"
)
LONGEST = 40


def identifier(name: str | None, default: str = "value") -> str:
    """A C identifier that looks like `name`, which may be any text.

    Names with a leading underscore, C keywords, libc's functions and macros and the prefix `sg_` belong to others and
    are changed.
    """
    plain = unicodedata.normalize("NFKD", name or "").encode("ascii", "ignore").decode()
    text = re.sub(r"\W+", "_", plain).strip("_")[:LONGEST]
    if not text:
        return default
    if text[0].isdigit() or text in RESERVED or _RESERVED_FORMS.fullmatch(text):
        text = f"v_{text}"
    return text


class Names:
    """The identifiers taken in one scope. An inner scope shares none with the outer one, whichever takes it first."""

    def __init__(self, outer: Names | None = None):
        self._outer = outer
        self._taken: set[str] = set()
        self._inner: set[str] = set()
        self._next: dict[str, int] = {}

    def fresh(self, name: str | None, default: str = "value") -> str:
        """An identifier like `name` that nothing else has yet."""
        stem = identifier(name, default)
        text = stem
        while not self._is_free(text):
            number = 1 + max(names._next.get(stem, 1) for names in (self, self._outer or self))
            self._next[stem] = number
            text = f"{stem}_{number}"
        self.take(text)
        return text

    def take(self, text: str) -> None:
        """Let nothing else have an identifier."""
        self._taken.add(text)
        if self._outer is not None:
            self._outer._inner.add(text)

    def _is_free(self, text: str) -> bool:
        return (
            text not in self._taken
            and text not in self._inner
            and (self._outer is None or text not in self._outer._taken)
        )
