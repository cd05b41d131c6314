"""`python -m symgraph cache`: what compiled code is kept, how much, and away with it."""

from __future__ import annotations

import argparse
import sys

from codegen.cache import Cache, default_directory
from codegen.errors import CacheRefused
from symgraph.commands.sizes import duration, in_bytes
from symgraph.inspection import table
from symgraph.options import Options, environment

EXAMPLES = """\
Compiled C is kept from run to run, so that a program compiles each function once:

    python -m symgraph cache            how many functions there are, and how large
    python -m symgraph cache list       each of them, newest first
    python -m symgraph cache clear      remove them; they are compiled again when they are needed

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
    entries = cache.entries()
    total = f"{len(entries)} function{'' if len(entries) == 1 else 's'}, {in_bytes(sum(e.size for e in entries))}"
    if arguments.action == "list" and entries:
        print(table(("function", "size", "age"), [(e.name, in_bytes(e.size), duration(e.age)) for e in entries]))
    elif arguments.action == "clear":
        cache.clear()
        total += " removed"
    print(f"{cache.directory}: {total}")
    return 0


def open_cache(options: Options) -> Cache:
    """The cache that functions use; raises CacheRefused where its directory cannot be used."""
    return Cache(options.cache if options.cache is not None else default_directory(environment()))
