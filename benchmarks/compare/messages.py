"""What a worker answers its driver, beside numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Ready:
    """The library is imported: its version. Or it cannot be: why."""

    version: str = ""
    missing: str = ""


@dataclass(frozen=True)
class Built:
    """How the building of a program went.

    possible: False where the peer has no such program
    seconds: from its first line to the first results
    wrong: what is wrong with the results, or why there are none; empty if they are right
    raised: whether there are none
    moved: bytes that a call reads and writes, where the library can tell
    """

    possible: bool = True
    seconds: float = 0.0
    wrong: str = ""
    raised: bool = False
    moved: int | None = None
