"""What can go wrong between C text and a loaded library. Each message says what to do about it."""

import shlex
from collections.abc import Sequence
from pathlib import Path

_SHOWN_LINES = 20  # of the compiler's output, in a message; CompileError.output has all of it


class NoCompiler(Exception):
    """There is no C compiler here that works; the message names the command that would get one."""


class CompileError(Exception):
    """The compiler did not make a library of a C file.

    Attributes:
        source: the C file, which is kept
        command: what was run, one string per argument
        status: its exit status; below 0, the signal that stopped it
        output: all that it printed
    """

    def __init__(self, source: Path, command: Sequence[str], status: int, output: str):
        self.source = source
        self.command = tuple(command)
        self.status = status
        self.output = output
        super().__init__(source, self.command, status, output)

    def __str__(self) -> str:
        end = f"exit status {self.status}" if self.status >= 0 else f"stopped by signal {-self.status}; out of memory?"
        lines = self.output.rstrip().splitlines()
        shown = lines[:_SHOWN_LINES]
        if len(lines) > len(shown):
            shown.append(f"... {len(lines) - len(shown)} more lines")
        return "\n".join([
            f"the C compiler failed ({end}) on {self.source}",
            *("  " + line for line in shown),
            f"to see it again: {shlex.join(self.command)}",
        ])


class CacheRefused(Exception):
    """A cache directory cannot be used, or not safely; the message says why and names a way out."""
