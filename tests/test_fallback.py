"""Without a compiler or a place for compiled code: one warning that says what to do, and everything still works."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PROGRAM = """
import json, os, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import symgraph as sg, symgraph.tensor as T
    x, W = T.dmatrix("x"), sg.shared(np.ones((3, 2)), "W")
    cost = (T.tanh(x @ W) ** 2).sum()
    f = sg.function([x], cost, updates=[(W, W - 0.1 * T.grad(cost, W))], name="step")
    g = sg.function([x], x * 2)
    values = [float(f(np.ones((2, 3)))) for _ in range(3)]
    np.testing.assert_array_equal(g(np.ones((1, 2))), [[2, 2]])
    try:
        f(np.ones((2, 4)))
        error = ""
    except sg.ShapeError as problem:
        error = str(problem)
print(json.dumps({
    "values": values, "error": error, "compiled": bool(f.c_source), "path": str(f.c_path),
    "warnings": [[w.category.__name__, str(w.message), w.filename] for w in caught],
}))
"""


def run(*, check=True, **environment):
    """What PROGRAM prints in a process of its own; an environment variable of None is taken away."""
    env = {**os.environ, **{k: str(v) for k, v in environment.items() if v is not None}}
    for name in [k for k, v in environment.items() if v is None]:
        env.pop(name, None)
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, text=True, capture_output=True, env=env)
    if check:
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    return done


@pytest.fixture(scope="module")
def expected():
    """What PROGRAM computes where all is well."""
    result = run()
    assert result["compiled"] and result["warnings"] == []
    return result


def test_no_compiler(expected, tmp_path):
    result = run(CC="/nonexistent/cc", SYMGRAPH_CACHE=tmp_path / "cache")
    assert result["values"] == pytest.approx(expected["values"], rel=1e-12)
    assert result["error"] == expected["error"] != ""
    assert not result["compiled"]
    ((category, text, filename),) = result["warnings"]
    assert category == "UserWarning" and filename == "<string>"
    assert "/nonexistent/cc" in text and "numpy" in text


def test_no_compiler_anywhere(expected, tmp_path):
    """The warning holds a command that would get one."""
    result = run(CC=None, PATH=str(tmp_path), SYMGRAPH_CACHE=tmp_path / "cache")
    if result["compiled"]:
        pytest.skip("a compiler is found without $PATH, in the ziglang package")
    assert result["values"] == pytest.approx(expected["values"], rel=1e-12)
    ((_, text, _),) = result["warnings"]
    assert any(command in text for command in ("apt", "install", "pip")), text


def test_a_compiler_that_does_not_work(expected, tmp_path):
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'internal compiler error' >&2\nexit 1\n")
    broken.chmod(0o755)
    result = run(CC=broken, SYMGRAPH_CACHE=tmp_path / "cache")
    assert result["values"] == pytest.approx(expected["values"], rel=1e-12)
    assert len(result["warnings"]) == 1 and "internal compiler error" in result["warnings"][0][1]


def test_the_cache_directory_is_made_and_used(expected, tmp_path):
    cache = tmp_path / "not" / "there" / "yet"
    result = run(SYMGRAPH_CACHE=cache)
    assert result["compiled"] and result["warnings"] == []
    assert Path(result["path"]).parent == cache.resolve()
    assert (cache.stat().st_mode & 0o077) == 0


def test_a_second_process_takes_what_the_first_compiled(expected, tmp_path):
    cache, log = tmp_path / "cache", tmp_path / "log"
    compiler = tmp_path / "cc"
    compiler.write_text(f'#!/bin/sh\necho "$@" >> {log}\nexec cc "$@"\n')
    compiler.chmod(0o755)
    first = run(CC=compiler, SYMGRAPH_CACHE=cache)
    started = log.read_text().splitlines()
    assert first["compiled"] and len(started) >= 2
    second = run(CC=compiler, SYMGRAPH_CACHE=cache)
    assert second == first
    assert log.read_text().splitlines() == started


def test_a_damaged_cache_is_rebuilt(expected, tmp_path):
    cache = tmp_path / "cache"
    assert run(SYMGRAPH_CACHE=cache)["compiled"]
    libraries = list(cache.glob("*.so"))
    assert libraries
    for library in libraries:
        library.write_bytes(library.read_bytes()[:100])
    result = run(SYMGRAPH_CACHE=cache)
    assert result["values"] == expected["values"] and result["warnings"] == []


def test_a_cache_that_others_may_write_is_not_trusted(expected, tmp_path):
    cache = tmp_path / "cache"
    cache.mkdir(mode=0o777)
    cache.chmod(0o777)
    result = run(SYMGRAPH_CACHE=cache)
    assert result["values"] == pytest.approx(expected["values"], rel=1e-12)
    assert list(cache.iterdir()) == []
    ((category, text, _),) = result["warnings"]
    assert category == "UserWarning" and str(cache) in text and "chmod go-w" in text


@pytest.mark.parametrize("place", ["a file", "nothing"])
def test_a_cache_that_cannot_be_made(place, expected, tmp_path):
    """Where the directory cannot be made, one for this process alone is; root may write anywhere, so a file is in the
    way.
    """
    (tmp_path / "a file").write_text("")
    where = tmp_path / "a file" / "cache" if place == "a file" else Path("/dev/null/cache")
    result = run(SYMGRAPH_CACHE=where)
    assert result["values"] == pytest.approx(expected["values"], rel=1e-12)
    ((category, text, _),) = result["warnings"]
    assert category == "UserWarning" and str(where) in text and "SYMGRAPH_CACHE" in text


def test_an_entry_that_cannot_be_written(expected, tmp_path):
    """Something stands where the library should; as on a full disk, functions go to a directory of the process."""
    cache = tmp_path / "cache"
    path = Path(run(SYMGRAPH_CACHE=cache)["path"])
    library = path.with_suffix(".so")
    library.unlink()
    library.mkdir()
    result = run(SYMGRAPH_CACHE=cache)
    assert result["compiled"] and result["values"] == expected["values"]
    assert Path(result["path"]).parent != cache
    ((category, text, _),) = result["warnings"]
    assert category == "UserWarning" and "this process alone" in text and library.name in text


def test_no_home(expected, tmp_path):
    """Nothing is written where nobody asked for it."""
    result = run(HOME="/dev/null", XDG_CACHE_HOME=None, SYMGRAPH_CACHE=None)
    assert result["values"] == pytest.approx(expected["values"], rel=1e-12)
    home = tmp_path / "home"
    home.mkdir()
    result = run(HOME=home, XDG_CACHE_HOME=None, SYMGRAPH_CACHE=None)
    assert Path(result["path"]).parent == home / ".cache" / "symgraph"
    caches = tmp_path / "caches"
    result = run(HOME=home, XDG_CACHE_HOME=caches, SYMGRAPH_CACHE=None)
    assert Path(result["path"]).parent == caches / "symgraph"
