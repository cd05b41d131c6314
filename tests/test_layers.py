"""The house rules of docs/internals.md: codegen never imports symgraph, imports go up the list, files stay short.

A file may import only what is above it in `ORDER`. A new file needs a place in the list; imports for type checkers
alone (`if TYPE_CHECKING:`) are free.
"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST = 600

ORDER = """
codegen/errors
codegen/environment
codegen/alignment
codegen/dtypes
codegen/ir
codegen/offsets
codegen/vector_math
codegen/operations
codegen/visit
codegen/transform
codegen/jam
codegen/across
codegen/blas
codegen/narrow
codegen/threads
codegen/streams
codegen/ahead
codegen/distribute
codegen/rows
codegen/runtime
codegen/verify
codegen/c_expressions
codegen/c_printer
codegen/cost
codegen/toolchain
codegen/cache
codegen/own_blas
codegen/private_blas
codegen/module
codegen/launcher
codegen/machine
codegen/__init__

symgraph/version
symgraph/errors
symgraph/options
symgraph/collector
symgraph/threads

symgraph/graph/types
symgraph/graph/values
symgraph/graph/provenance
symgraph/graph/syntax
symgraph/graph/guard
symgraph/graph/node
symgraph/graph/traverse
symgraph/graph/assigned
symgraph/graph/printing
symgraph/graph/__init__
symgraph/latex

symgraph/grad
symgraph/interpreter

symgraph/ops/scalar
symgraph/ops/special
symgraph/ops/elementary
symgraph/ops/sympy_bridge
symgraph/ops/elementwise
symgraph/ops/axes
symgraph/ops/joining
symgraph/ops/layout
symgraph/ops/creation
symgraph/ops/reduce
symgraph/ops/slices
symgraph/ops/moments
symgraph/ops/statistics
symgraph/ops/matrices
symgraph/ops/linalg
symgraph/ops/gather
symgraph/ops/indexing
symgraph/ops/nn
symgraph/ops/debugging
symgraph/ops/operators
symgraph/ops/__init__

symgraph/rewrite/pattern
symgraph/rewrite/engine
symgraph/rewrite/layouts
symgraph/rewrite/products
symgraph/rewrite/sums
symgraph/rewrite/moments
symgraph/rewrite/canonicalize
symgraph/rewrite/stabilize
symgraph/rewrite/specialize
symgraph/rewrite/pipeline
symgraph/rewrite/__init__

symgraph/lower/names
symgraph/lower/shapes
symgraph/lower/elements
symgraph/lower/regions
symgraph/lower/parts
symgraph/lower/lanes
symgraph/lower/blocks
symgraph/lower/contents
symgraph/lower/loops
symgraph/lower/buffers
symgraph/lower/decisions
symgraph/lower/sizes
symgraph/lower/arrays
symgraph/lower/steps
symgraph/lower/program
symgraph/lower/__init__

symgraph/visual/ordering
symgraph/visual/layout
symgraph/visual/values
symgraph/visual/outline
symgraph/visual/figure
symgraph/visual/svg
symgraph/visual/exports
symgraph/visual/unfolding

symgraph/signature
symgraph/variants
symgraph/engine
symgraph/launch
symgraph/bound
symgraph/nan_guard
symgraph/watch
symgraph/compiler
symgraph/inspection
symgraph/explain
symgraph/memory
symgraph/lowlevel

symgraph/visual/folding
symgraph/visual/c_lines
symgraph/visual/explorer

symgraph/function

symgraph/visual/drawing
symgraph/visual/__init__
symgraph/chain_rule

symgraph/testing
symgraph/nnet
symgraph/printing
symgraph/tensor
symgraph/commands/__init__
symgraph/commands/sizes
symgraph/commands/cache
symgraph/commands/doctor
symgraph/commands/show
symgraph/__main__
symgraph/__init__
""".split()

PLACE = {module: place for place, module in enumerate(ORDER)}
PACKAGES = {module.split("/")[0] for module in ORDER}
FILES = sorted(path.relative_to(ROOT).with_suffix("").as_posix()
               for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def module_named(dotted):
    """"symgraph.graph" -> "symgraph/graph/__init__", "symgraph.grad" -> "symgraph/grad"; None where there is none."""
    path = dotted.replace(".", "/")
    return next((module for module in (path, f"{path}/__init__") if module in PLACE), None)


def imported(source, module):
    """Our modules that the text of `module` imports, at the top or inside functions, with the line of each."""
    package = module.split("/")[:-1]
    todo = [ast.parse(source)]
    while todo:
        node = todo.pop()
        match node:
            case ast.If(test=ast.Name("TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING")):
                todo += node.orelse
                continue
            case ast.Import(names):
                dotted = [name.name for name in names]
            case ast.ImportFrom(origin, names, level):
                above = package[:len(package) - level + 1] if level else []
                base = ".".join([*above, *([origin] if origin else [])])
                # `from symgraph.graph import node` imports a file, `from symgraph.graph import Op` the package
                dotted = [f"{base}.{name.name}" if module_named(f"{base}.{name.name}") else base for name in names]
            case _:
                todo += ast.iter_child_nodes(node)
                continue
        for name in dotted:
            if name.split(".")[0] in PACKAGES:
                yield node.lineno, module_named(name) or name


def violations(source, module):
    """What `module` may not import, one sentence each."""
    for line, other in imported(source, module):
        if module.startswith("codegen/") and not other.startswith("codegen"):
            yield f"{module}.py:{line} imports {other}: codegen never imports symgraph"
        elif other not in PLACE:
            yield f"{module}.py:{line} imports {other}, which is not in the list"
        elif PLACE[other] >= PLACE[module]:
            yield f"{module}.py:{line} imports {other}, which is not above it in the list"


def test_the_list_names_the_files_there_are():
    assert len(PLACE) == len(ORDER), "a file is listed twice"
    unlisted = [module for module in FILES if module not in PLACE]
    gone = [module for module in ORDER if module not in FILES]
    assert (unlisted, gone) == ([], []), "(not in the list, no longer there)"


@pytest.mark.parametrize("module", [module for module in FILES if module in PLACE])
def test_imports_go_up_the_list(module):
    source = (ROOT / f"{module}.py").read_text(encoding="utf-8")
    assert list(violations(source, module)) == []


@pytest.mark.parametrize("folder", [*sorted(PACKAGES), "examples", "benchmarks", "tests"])
def test_files_stay_short(folder):
    lines = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in (ROOT / folder).rglob("*.py")}
    assert {name: count for name, count in lines.items() if count > LONGEST} == {}


@pytest.mark.parametrize("line", [
    "import symgraph.function",
    "import symgraph as sg",
    "from symgraph import function",
    "from symgraph.graph import printing",
    "from symgraph.graph import Variable",
    "from . import printing",
    "from .printing import pp",
    "from .. import grad",
    "from ..ops.scalar import scalar_op",
    "from symgraph.nowhere import x",
    "def f():\n    from symgraph.grad import grad",
    "try:\n    import symgraph.grad\nexcept ImportError:\n    pass",
    "if TYPE_CHECKING:\n    pass\nelse:\n    import symgraph.grad",
])
def test_an_import_down_the_list_is_found(line):
    assert len(list(violations(line, "symgraph/graph/node"))) == 1


@pytest.mark.parametrize("line", [
    "import numpy as np",
    "import codegen.ir",
    "from codegen import ir",
    "from codegen import Program",
    "from symgraph.errors import ShapeError",
    "from symgraph import errors",
    "from . import types, syntax",
    "from .types import TensorType",
    "from ..options import Options",
    "if TYPE_CHECKING:\n    from symgraph.function import Function",
    "if typing.TYPE_CHECKING:\n    from symgraph.function import Function",
])
def test_an_import_up_the_list_is_allowed(line):
    assert list(violations(line, "symgraph/graph/node")) == []


def test_codegen_may_not_import_symgraph_anywhere():
    for line in "import symgraph", "from symgraph.errors import ShapeError", "def f():\n    import symgraph.options":
        assert "never" in next(violations(line, "codegen/module"))
