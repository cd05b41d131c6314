"""The extension module: built once, in the background; where it cannot be, calls run in Python."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PROGRAM = """
import json, os, sys, time
import numpy as np
import symgraph as sg, symgraph.tensor as T
import codegen.launcher as L
{before}
x, s = T.dvector("x"), sg.shared(0.0, "s")
f = sg.function([x], [x + 1, x.sum()], updates=[(s, s + 1)], name="f")
early = f._quick is not None
values = [[v.tolist() for v in f(np.arange(3.0))] for _ in range(3)]
if L._attempt.builder is not None:
    L._attempt.builder.join()
values += [[v.tolist() for v in f(np.arange(3.0))] for _ in range(3)]
g = f.bind(np.arange(3.0))
values.append([v.tolist() for v in g()])
try:
    f("x")
    error = ""
except TypeError as problem:
    error = str(problem)
print(json.dumps(dict(values=values, state=float(s.get_value()), error=error, early=early, late=f._quick is not None,
                      bound=g._quick is not None, refused=L.refusal())))
"""


def run(before="", **environment):
    """What PROGRAM prints in a process of its own."""
    env = {**os.environ, **{k: str(v) for k, v in environment.items()}}
    text = PROGRAM.replace("{before}", before)
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, text=True, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def expected():
    """What PROGRAM gives where calls run in Python, which needs no headers."""
    found = run(SYMGRAPH_FLAGS="calls=python")
    assert found["values"] == [[[1, 2, 3], 3]] * 7 and found["state"] == 7 and "f(): x" in found["error"]
    assert not found["late"] and not found["bound"] and not found["refused"]
    return found


def same(found, expected):
    """Whether a user would see no difference."""
    return all(found[key] == expected[key] for key in ("values", "state", "error"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory, expected):
    """A cache that a first process has filled, if the module can be built here."""
    place = tmp_path_factory.mktemp("cache") / "cache"
    found = run(SYMGRAPH_CACHE=place)
    assert same(found, expected)
    if found["refused"]:
        pytest.skip(found["refused"])
    assert found["late"] and found["bound"]
    return place


def test_a_second_process_has_it_at_once(cache, expected):
    found = run(SYMGRAPH_CACHE=cache)
    assert same(found, expected) and found["early"]


def test_a_damaged_module_is_built_again(cache, expected):
    (library,) = cache.glob("launcher-*.so")
    library.write_bytes(library.read_bytes()[:5000])
    found = run(SYMGRAPH_CACHE=cache)
    assert same(found, expected) and not found["early"] and found["late"]


@pytest.mark.parametrize("before, words", [
    ("sys.base_prefix = '/nowhere'; import sysconfig; sysconfig.get_path = lambda name: '/nowhere'", "Python.h"),
    ("np.get_include = lambda: '/nowhere'", "arrayobject.h"),
    ("L._PARTS = ('memory',)", "launcher"),
    ("text = L._text; L._text = lambda: text() + '#error no'", "no"),
    ("sys.implementation.name = 'other'", "CPython"),
    ("def build(*a, **k): raise OSError('no room')\nimport codegen.cache\ncodegen.cache.Cache._make = "
     "lambda self, library, text, *a, make=codegen.cache.Cache._make: "
     "build() if library.name.startswith('launcher') else make(self, library, text, *a)", "no room"),
], ids=["no Python headers", "no numpy headers", "no entry point", "does not compile", "another Python", "disk full"])
def test_what_keeps_it_from_being_built(expected, tmp_path, before, words):
    found = run(before, SYMGRAPH_CACHE=tmp_path / "cache")
    assert same(found, expected)
    assert not found["late"] and not found["bound"] and words in found["refused"]


def test_a_process_that_ends_early_leaves_it_built(tmp_path, cache):
    """Else programs that are done sooner than the compiler would never have it."""
    program = "import symgraph as sg, symgraph.tensor as T; x = T.dscalar('x'); sg.function([x], x + 1)(1.0)"
    place = tmp_path / "cache"
    env = {**os.environ, "SYMGRAPH_CACHE": str(place)}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, text=True, capture_output=True, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(place.glob("launcher-*.so"))


def test_a_fork_while_it_is_built(tmp_path, expected, cache):
    fork = """
if os.fork() == 0:
    a = f(np.arange(3.0))[0].tolist()
    b = f.bind(np.arange(3.0))()[0].tolist()
    os._exit(0 if a == b == [1, 2, 3] else 1)
else:
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""
    for place in (cache, tmp_path / "cache"):
        text = PROGRAM.replace("early = ", f"{fork}\nearly = ".lstrip())
        text = text.replace("{before}", "")
        env = {**os.environ, "SYMGRAPH_CACHE": str(place)}
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", text], cwd=ROOT, text=True, capture_output=True,
                              env=env)
        assert done.returncode == 0, done.stderr
        assert same(json.loads(done.stdout), expected)
