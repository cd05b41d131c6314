"""What importing costs: nothing that only some programs need is loaded, neither on import nor by the textbook
example.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = [
    "sympy",
    "scipy",
    "cffi",
    "pycparser",
    "mpmath",
    "setuptools",
    "sklearn",
    "tqdm",
    "matplotlib",
    "numpy.testing",
    "unittest",
]
TOOLS = [
    "subprocess",
    "tempfile",
    "shutil",
    "multiprocessing",
    "concurrent.futures",
    "sqlite3",
    "asyncio",
    "ctypes.util",
]


def loaded(program, *, names, **environment):
    """Which of the modules a program of its own has loaded at its end, beyond those that numpy loads by itself."""
    check = (
        "import sys, numpy; before = set(sys.modules)\n" + program
        + f"\nprint('LOADED', *[m for m in {names!r} if m in sys.modules and m not in before])"
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", check], cwd=ROOT, text=True, capture_output=True, check=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    return done.stdout.splitlines()[-1].split()[1:]


@pytest.mark.parametrize("module", ["symgraph", "symgraph.tensor", "symgraph.tensor as T", "codegen"])
def test_import_loads_nothing_that_only_some_programs_need(module):
    assert loaded(f"import {module}", names=HEAVY + TOOLS) == []


def test_the_version_is_looked_up_when_it_is_asked_for():
    assert loaded("import symgraph", names=["symgraph.version"]) == []
    assert loaded("import symgraph; symgraph.__version__", names=["symgraph.version"]) == ["symgraph.version"]


def test_the_textbook_example_loads_no_sympy(tmp_path):
    program = "import runpy; runpy.run_path('examples/textbook.py', run_name='__main__')"
    assert loaded(program, names=HEAVY, SYMGRAPH_CACHE=str(tmp_path / "cache")) == []


def test_with_everything_in_the_cache_no_process_is_started(tmp_path):
    program = "import runpy; runpy.run_path('examples/textbook.py', run_name='__main__')"
    cache = str(tmp_path / "cache")
    first = loaded(program, names=["subprocess"], SYMGRAPH_CACHE=cache)
    assert first == ["subprocess"]
    assert loaded(program, names=["subprocess"], SYMGRAPH_CACHE=cache) == []


def test_typing_an_expression_loads_nothing_more():
    program = """
import symgraph as sg, symgraph.tensor as T
x, W = T.matrix("x"), sg.shared(numpy.ones((3, 2)), "W")
cost = T.nnet.categorical_crossentropy(T.nnet.softmax(T.tanh(x @ W)), T.arange(2)).mean()
print(T.grad(cost, W), repr(cost))
sg.function([x], cost, mode="numpy")(numpy.ones((2, 3)))
"""
    assert loaded(program, names=HEAVY + TOOLS) == []
