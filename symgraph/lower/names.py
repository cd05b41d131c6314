"""C identifiers for the user's names: recognizable, safe, and each used once."""

from __future__ import annotations

import re
import unicodedata

RESERVED = frozenset(
    """
    auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
    _Bool _Complex _Imaginary bool true false main errno NAN INFINITY NULL assert isnan isinf signbit
    i j k l arrays sizes workspace memcpy memset malloc free
    abs acos asin atan atan2 ceil cos cosh div erf erfc exp exp2 expm1 fabs floor fmod gamma hypot index j0 j1 jn log log10 log1p
    log2 pow rint round sin sinh sqrt tan tanh tgamma lgamma trunc y0 y1 yn time signal remove rename
    """.split()
)
LONGEST = 40


def identifier(name: str | None, default: str = "value") -> str:
    """A C identifier that looks like `name`, which may be any text.

    Names with a leading underscore, C keywords, libc functions and the prefix `sg_` belong to others and are changed.
    """
    plain = unicodedata.normalize("NFKD", name or "").encode("ascii", "ignore").decode()
    text = re.sub(r"\W+", "_", plain).strip("_")[:LONGEST]
    if not text:
        return default
    if text[0].isdigit() or text in RESERVED or text.startswith("sg_") or re.fullmatch(r"i\d+", text):
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
            number = self._next.get(stem, 1) + 1
            self._next[stem] = number
            text = f"{stem}_{number}"
        self._taken.add(text)
        if self._outer is not None:
            self._outer._inner.add(text)
        return text

    def _is_free(self, text: str) -> bool:
        return text not in self._taken and text not in self._inner and (self._outer is None or text not in self._outer._taken)
