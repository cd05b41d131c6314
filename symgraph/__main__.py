"""`python -m symgraph`: look at what symgraph found, made and keeps on this machine."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from symgraph.commands import cache, doctor, show
from symgraph.version import __version__

COMMANDS = {
    "doctor": (doctor, "is all there that compiling needs, and how fast is this machine?"),
    "show": (show, "show the C, the graph or the reasons of a function in a script"),
    "cache": (cache, "list, measure or clear the compiled code that is kept"),
}

EXAMPLES = """\
examples:
    python -m symgraph doctor
    python -m symgraph show train.py:step
    python -m symgraph cache clear

`python -m symgraph COMMAND --help` tells more.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the result is the exit status: 0, or 1 where something is wrong. Bad usage ends with 2."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="python -m symgraph", description=__doc__, epilog=EXAMPLES, formatter_class=plain, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"symgraph {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, text) in COMMANDS.items():
        command = commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}", epilog=module.EXAMPLES, formatter_class=plain,
            allow_abbrev=False,
        )  # fmt: skip
        module.add(command)
        command.set_defaults(run=module.run)
    parsed = parser.parse_args(arguments)
    try:
        status = int(parsed.run(parsed))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
