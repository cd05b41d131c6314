"""`python -m symgraph cache`: what compiled code is kept, how much, and away with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from codegen.cache import Cache, Entry, default_directory
from codegen.errors import CacheRefused
from symgraph.commands.sizes import duration, in_bytes
from symgraph.inspection import table
from symgraph.options import Options, environment

EXAMPLES = """\
Compiled C is kept from run to run, so that a program compiles each function once:

    python -m symgraph cache            how many functions there are, and how large
    python -m symgraph cache list       each of them, newest first
    python -m symgraph cache clear      remove them; they are compiled again when they are needed

A copy of the BLAS may be kept too. It is counted, listed and removed likewise.
The directory is $SYMGRAPH_CACHE, or symgraph in the user's cache directory.
"""


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("action", nargs="?", default="size", choices=("size", "list", "clear"), help="by default: size")


def run(arguments: argparse.Namespace) -> int:
    """Show or clear the cache; 1 where the directory cannot be used."""
    try:
        cache = open_cache(Options())
    except CacheRefused as error:
        print(error, file=sys.stderr)
        return 1
    entries = [*cache.entries(), *cache.copies()]
    total = summary(cache)
    if arguments.action == "list" and entries:
        print(table(("name", "size", "age"), [(e.name, in_bytes(e.size), duration(e.age)) for e in entries]))
    elif arguments.action == "clear":
        cache.clear()
        total += " removed"
    print(f"{cache.directory}: {total}")
    return 0


def summary(cache: Cache) -> str:
    """What is kept: 264 functions, 9.8 MB and 1 copy of a BLAS, 25 MB."""
    copies = cache.copies()
    return " and ".join([
        _counted(cache.entries(), "function", "functions"),
        *([_counted(copies, "copy of a BLAS", "copies of BLAS libraries")] if copies else []),
    ])


def _counted(entries: Sequence[Entry], one: str, many: str) -> str:
    return f"{len(entries)} {one if len(entries) == 1 else many}, {in_bytes(sum(e.size for e in entries))}"


def open_cache(options: Options) -> Cache:
    """The cache that functions use; raises CacheRefused where its directory cannot be used."""
    return Cache(options.cache if options.cache is not None else default_directory(environment()))
