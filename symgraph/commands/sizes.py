"""Numbers as commands print them."""

from __future__ import annotations


def in_bytes(count: float) -> str:
    """A size: 832 bytes, 1.2 kB, 34 MB."""
    return f"{count:.0f} byte{'' if count == 1 else 's'}" if count < 1000 else _scaled(count, "B")


def rate(per_second: float, unit: str) -> str:
    """Something a second: 34 GB/s."""
    return _scaled(per_second, unit) + "/s"


def duration(seconds: float) -> str:
    """A span of time in its largest unit: 35 ms, 12 s, 5 min, 3 h, 9 days."""
    for name, length in ((" days", 86400.0), (" h", 3600.0), (" min", 60.0), (" s", 1.0)):
        if seconds >= length:
            return f"{_digits(seconds / length)}{name}"
    return f"{_digits(seconds * 1000)} ms"


def _scaled(value: float, unit: str) -> str:
    for prefix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{_digits(value / size)} {prefix}{unit}"
    return f"{_digits(value)} {unit}"


def _digits(value: float) -> str:
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"
