"""`python -m symgraph show SCRIPT.py:NAME`: what became of a function or a symbol that a script defines."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import Any

from symgraph.function import Function, function
from symgraph.graph.node import Constant, SharedVariable, Variable
from symgraph.graph.printing import debugprint, name_of, pp
from symgraph.graph.traverse import leaves
from symgraph.latex import latex

EXAMPLES = """\
Runs a script and shows a function that it compiles, or a symbol that it defines, by its name:

    python -m symgraph show train.py                        what there is to show
    python -m symgraph show train.py:step                   the C of the function `step`
    python -m symgraph show train.py:step --what explain    rules that fired, what was fused
    python -m symgraph show train.py:cost                   the expression of the symbol `cost`
    python -m symgraph show train.py:step --what explorer -o step.html

What the script prints goes to standard error.
"""

Subject = Function | Variable


class Unshowable(Exception):
    """What the user asked for cannot be shown; the message says why."""


def _compiled(subject: Subject) -> Function:
    """The function, or one that computes the symbol from its inputs."""
    if isinstance(subject, Variable):
        inputs = [x for x in leaves([subject]) if not isinstance(x, (SharedVariable, Constant))]
        subject = function(inputs, subject, name=subject.name or "value")
    return subject


def _with_c(subject: Subject) -> Function:
    compiled = _compiled(subject)
    if compiled.options.mode == "numpy":
        raise Unshowable("it was made with mode=\"numpy\", which interprets, so there is no C")
    if not compiled.c_source:
        raise Unshowable("it is interpreted, so there is no C: `python -m symgraph doctor` says what is missing")
    return compiled


def _c(subject: Subject) -> str:
    return str(_with_c(subject).c_source)


def _graph(subject: Subject) -> str:
    graph = _compiled(subject).graph
    return "".join(str(debugprint(x, file="str")) for x in graph.rewritten)


def _roots(subject: Subject) -> list[tuple[str, Variable]]:
    if isinstance(subject, Variable):
        return [(name_of(subject), subject)]
    return [(name_of(x), x) for x in subject.outputs] + [(f"new {s}", x) for s, x in subject.updates]


def _written(subject: Subject) -> str:
    return "\n\n".join(f"{pp(x)}    # {name}" if name else pp(x) for name, x in _roots(subject)) + "\n"


def _latex(subject: Subject) -> str:
    return "\n\n".join(latex(x) for _, x in _roots(subject)) + "\n"


def _steps(subject: Subject) -> str:
    compiled = _with_c(subject)
    lines = []
    for number, step in enumerate(compiled.graph.steps, 1):
        lines.append(f"{number}. {step.name}, {step.kind}: {len(step.made)} values; {step.cost}")
        lines += [f"   {line}" for line in step.text.splitlines()]
    return "\n".join(lines) + "\n"


def _cost(subject: Subject) -> str:
    return f"{_with_c(subject).cost()}\n"


def _explain(subject: Subject) -> str:
    return f"{_with_c(subject).explain()}\n"


TEXTS: Mapping[str, Callable[[Subject], str]] = {
    "c": _c, "graph": _graph, "written": _written, "latex": _latex, "steps": _steps, "cost": _cost, "explain": _explain,
}  # fmt: skip
WHAT = {
    "c": "the C", "graph": "the graph as it was compiled", "written": "the expressions as they were written",
    "latex": "the same in LaTeX", "steps": "loop nests and library calls", "cost": "operations and bytes as formulas",
    "explain": "what the compiler did and why", "explorer": "a page of it all, to be opened in a browser",
}  # fmt: skip


def add(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("target", metavar="SCRIPT.py:NAME", help="a script and a name in it; without a name: a list")
    told = "; ".join(f"{name}: {text}" for name, text in WHAT.items())
    parser.add_argument("--what", choices=tuple(WHAT), help=f"{told}. By default c, and written for a symbol")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="write to a file instead")
    parser.add_argument("--main", action="store_true", help="run the script as `__main__`, so that such blocks run")


def run(arguments: argparse.Namespace) -> int:
    """Show what was asked for; 1 where that cannot be done, 2 where it is not said of what."""
    try:
        script, name = _split(arguments.target)
        if not name and (arguments.what or arguments.output):
            option = "--what" if arguments.what else "--output"
            print(f"symgraph show: {option} needs a name, as in {script}:NAME; without options "
                  "`python -m symgraph show` lists the names", file=sys.stderr)  # fmt: skip
            return 2
        namespace = _run_script(script, "__main__" if arguments.main else "__shown__")
        if not name:
            print(_listing(script, namespace), end="")
            return 0
        subject = _find(script, name, namespace)
        what = arguments.what or ("written" if isinstance(subject, Variable) else "c")
        if what == "explorer":
            path = arguments.output or Path(f"{name}.html")
            print(_compiled(subject).explore(path))
        elif arguments.output is not None:
            arguments.output.write_text(TEXTS[what](subject), encoding="utf-8")
            print(arguments.output)
        else:
            sys.stdout.write(TEXTS[what](subject))
    except (Unshowable, OSError) as error:
        print(f"symgraph show: {error}", file=sys.stderr)
        return 1
    return 0


def _split(target: str) -> tuple[Path, str]:
    """A script and a name; a colon may also be part of the path."""
    path, colon, name = target.rpartition(":")
    if not colon or (Path(target).exists() and not Path(path).exists()):
        path, name = target, ""
    script = Path(path)
    if not script.is_file():
        raise Unshowable(f"there is no script {path}")
    return script, name


def _run_script(script: Path, name: str) -> dict[str, Any]:
    """What a script defines. What it prints goes to standard error; leaving by sys.exit is no error.

    Raises Unshowable, with the script's traceback, where it fails.
    """
    module = ModuleType(name)
    module.__file__ = str(script)
    before = sys.argv, sys.path[:], sys.modules.get(name)
    sys.argv, sys.modules[name] = [str(script)], module
    sys.path.insert(0, str(script.parent.resolve()))
    try:
        with redirect_stdout(sys.stderr):
            exec(compile(script.read_bytes(), str(script), "exec"), vars(module))
    except SystemExit:
        pass
    except (Exception, KeyboardInterrupt) as error:
        own = error.__traceback__.tb_next if error.__traceback__ is not None else None
        text = "".join(traceback.format_exception(type(error), error, own)).rstrip()
        raise Unshowable(f"{script} fails:\n{text}") from None
    finally:
        sys.argv, sys.path[:] = before[0], before[1]
        if before[2] is not None:
            sys.modules[name] = before[2]
        else:
            del sys.modules[name]
    return vars(module)


def _find(script: Path, name: str, namespace: Mapping[str, Any]) -> Subject:
    """What a name stands for in the script, an attribute by dots; or the function that was compiled under the name."""
    first, *rest = name.split(".")
    missing = object()
    found = namespace.get(first, missing)
    for attribute in rest:
        found = getattr(found, attribute, missing)
    if found is missing:
        named = [f for f in namespace.values() if isinstance(f, Function) and f.name == name]
        found = named[0] if named else missing
    if found is missing:
        raise Unshowable(f"there is no {name!r} in {script}\n{_listing(script, namespace)}".rstrip())
    if not isinstance(found, Subject):
        kind = type(found).__name__
        raise Unshowable(f"{name} is a {kind}, no compiled function or symbol\n{_listing(script, namespace)}".rstrip())
    return found


def _listing(script: Path, namespace: Mapping[str, Any]) -> str:
    functions = {name: f for name, f in namespace.items() if isinstance(f, Function)}
    symbols = {name: x for name, x in namespace.items() if isinstance(x, Variable)}
    lines = [f"{script} has {'these compiled functions' if functions else 'no compiled functions'}"]
    lines += [f"  {name}: {f!r}" for name, f in functions.items()]
    if symbols:
        lines += ["and these symbols", *(f"  {name}: {x!r}" for name, x in symbols.items())]
    if not functions:
        lines.append("functions that are compiled under `if __name__ == \"__main__\"` are there with --main")
    return "\n".join(lines) + "\n"
