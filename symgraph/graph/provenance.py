"""Which line of the user's program made a variable."""

from __future__ import annotations

import linecache
import sys
import warnings
from contextvars import ContextVar, Token
from pathlib import Path
from typing import NamedTuple


class Origin(NamedTuple):
    """A line of a file."""

    filename: str
    line: int

    @property
    def derived(self) -> bool:
        """Whether symgraph made something on behalf of the line, such as a gradient, rather than the line itself."""
        return False

    def __str__(self) -> str:
        return f"{Path(self.filename).name}:{self.line}"

    @property
    def text(self) -> str:
        """The line itself, stripped; empty where it cannot be read, as at the plain prompt."""
        return linecache.getline(self.filename, self.line).strip()


class Derived(Origin):
    """The line on whose behalf symgraph made something; equal to the line."""

    @property
    def derived(self) -> bool:
        """True."""
        return True


_inherited: ContextVar[Origin | None] = ContextVar("origin", default=None)


def current_origin() -> Origin:
    """The innermost line outside symgraph that led here, or the one in force by `attributed_to`."""
    inherited = _inherited.get()
    if inherited is not None:
        return inherited
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "symgraph":
        frame = frame.f_back
    return Origin(frame.f_code.co_filename, frame.f_lineno)


def warn(message: str) -> None:
    """A UserWarning at the user's line."""
    origin = current_origin()
    warnings.warn_explicit(message, UserWarning, origin.filename, origin.line)


class attributed_to:
    """Variables made inside belong to `origin`: a gradient to the line whose derivative it is."""

    __slots__ = ("_origin", "_token")

    def __init__(self, origin: Origin | None):
        self._origin = Derived(*origin) if origin is not None else None

    def __enter__(self) -> None:
        self._token: Token[Origin | None] = _inherited.set(self._origin)

    def __exit__(self, *error: object) -> None:
        _inherited.reset(self._token)
