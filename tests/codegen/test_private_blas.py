"""Our own copy of OpenBLAS: apart from numpy's, of one thread, with measured kernels; remembered, and done without."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from _cffi_backend import FFI

from codegen import private_blas as module
from codegen.blas import Blas, find_blas
from codegen.cache import Cache
from codegen.private_blas import measured, private_blas

ROOT = Path(__file__).parents[2]
ffi = FFI()


@pytest.fixture
def blas():
    found = find_blas()
    if found is None or not found.is_openblas:
        pytest.skip("no OpenBLAS on this machine")
    return found


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def files(cache, ending):
    return sorted(cache.directory.glob(f"blas-*{ending}"))


def multiply(blas, a, b):
    c = np.empty((a.shape[0], b.shape[1]))
    i = blas.integer
    gemm = ffi.cast(f"void(*)(int, int, int, {i}, {i}, {i}, double, void *, {i}, void *, {i}, double, void *, {i})",
                    blas.addresses["dgemm"])  # fmt: skip
    pointers = map(ffi.from_buffer, (a, b, c))
    (m, k), n = a.shape, b.shape[1]
    gemm(101, 111, 111, m, n, k, 1.0, next(pointers), k, next(pointers), n, 0.0, next(pointers), n)
    return c


def test_it_is_another_library_that_computes_the_same(blas, cache):
    ours = private_blas(blas, cache)()
    assert ours.serial and ours.path == blas.path and ours.integer == blas.integer
    assert not set(ours.addresses.values()) & set(blas.addresses.values())
    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, (70, 80)).astype(float), rng.integers(-4, 5, (80, 90)).astype(float)
    np.testing.assert_array_equal(multiply(ours, a, b), a @ b)


def test_kernels_are_measured_once_and_the_best_first(blas, cache, monkeypatch):
    assert measured(blas, cache) == ()
    private_blas(blas, cache)()
    kernels = measured(blas, cache)
    assert kernels and list(kernels) == sorted(kernels, key=lambda k: -k.rate)
    assert all(1e7 < k.single < 1e14 and 1e7 < k.double < 1e14 and k.name for k in kernels)
    monkeypatch.setattr(module, "_compared", None)
    assert private_blas(blas, cache)().serial


def test_what_is_remembered_is_asked_for_while_the_copy_is_loaded_and_not_after(blas, cache, monkeypatch):
    if os.uname().machine != "x86_64" or "openblas" not in blas.path or "DYNAMIC_ARCH" not in blas.name:
        pytest.skip("this library has one kind of kernels")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(module, "_compared", lambda blas: [module.Kernels("NEHALEM", "Nehalem", 2.0, 1.0)])
    ours = private_blas(blas, cache)()
    assert "Nehalem" in ours.name and not ours.any_borders
    echo = [sys.executable, "-c", "import os; print([k for k in os.environ if k.startswith('OPENBLAS_CORE')])"]
    assert subprocess.run(echo, capture_output=True, text=True, check=True).stdout == "[]\n"
    assert "OPENBLAS_CORETYPE" not in os.environ


def test_the_user_chooses_kernels(blas, cache, monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(module, "_measured", lambda blas, asked: module.Kernels(asked, "Other", 2.0, 1.0))
    monkeypatch.setattr(module, "_widest", lambda: "WIDE")
    assert [k.asked for k in module._compared(blas)] == ["", "WIDE"]
    monkeypatch.setenv("OPENBLAS_CORETYPE", "HASWELL")
    assert [k.asked for k in module._compared(blas)] == [""]


@pytest.mark.parametrize("damage", [
    lambda copy, memory: copy.unlink(),
    lambda copy, memory: (copy.unlink(), copy.write_bytes(b"short")),  # not in place, where it is in use
    lambda copy, memory: copy.chmod(0o666),
    lambda copy, memory: memory.write_text("{}"),
    lambda copy, memory: memory.write_text(json.dumps({"kernels": [1], "size": 1, "changed": 1, "source": ""})),
])  # fmt: skip
def test_a_copy_that_is_not_as_it_was_made_is_made_anew(blas, cache, damage):
    private_blas(blas, cache)()
    (copy,), (memory,) = files(cache, ".so"), files(cache, ".json")
    damage(copy, memory)
    assert private_blas(blas, cache)().serial
    assert copy.read_bytes() == Path(blas.path).read_bytes() and copy.stat().st_mode & 0o077 == 0


def test_a_link_in_place_of_the_copy_is_not_followed(blas, cache, tmp_path):
    private_blas(blas, cache)()
    (copy,) = files(cache, ".so")
    other = tmp_path / "other"
    copy.rename(other)
    copy.symlink_to(other)
    assert private_blas(blas, cache)().serial and not copy.is_symlink()


def test_copies_of_libraries_that_are_no_more_go(blas, cache):
    old = cache.directory / "blas-0123.json"
    old.write_text(json.dumps({"kernels": [], "size": 1, "changed": 1, "source": "/nowhere/libopenblas.so"}))
    old.with_suffix(".so").write_bytes(b"old")
    private_blas(blas, cache)()
    assert not old.exists() and not old.with_suffix(".so").exists() and len(files(cache, ".so")) == 1
    cache.clear()
    assert not files(cache, "")


def test_where_nothing_can_be_measured_or_copied_there_is_still_a_blas(blas, cache, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert private_blas(blas, cache)().serial and measured(blas, cache) == ()
    monkeypatch.setattr(Cache, "install_copy", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    cache.clear()
    assert private_blas(blas, cache)() == blas


def test_a_blas_that_is_no_openblas_stays_as_it_is(cache):
    other = Blas("/nowhere/libblas.so", "libblas.so", "int32_t", {})
    assert private_blas(other, cache)() is other and not files(cache, "")


def test_numpy_s_own_keeps_its_settings():
    program = """if True:
        import numpy, tempfile, pathlib
        from codegen.blas import find_blas, open_blas
        from codegen.cache import Cache
        from codegen.private_blas import private_blas
        before = find_blas()
        ours = private_blas(before, Cache(pathlib.Path(tempfile.mkdtemp()))) () if before else None
        print(before == find_blas(), ours is not None and before.name == find_blas().name)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True")
