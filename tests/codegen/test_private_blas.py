"""The best BLAS: measured, remembered; ours, or a copy of OpenBLAS, apart from numpy's and of one thread."""

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
from codegen.errors import CompileError, NoCompiler
from codegen.own_blas import NAME, OwnBlas
from codegen.private_blas import Kernels, PrivateBlas, measured
from codegen.toolchain import find_toolchain

ROOT = Path(__file__).parents[2]
ffi = FFI()


@pytest.fixture
def blas():
    found = find_blas()
    if found is None or not found.is_openblas:
        pytest.skip("no OpenBLAS on this machine")
    return found


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory):
    try:
        return find_toolchain(os.environ.get("CC"), probe_dir=tmp_path_factory.mktemp("toolchain"))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture
def own(toolchain, tmp_path):
    found = find_blas()
    return OwnBlas(toolchain, Cache(tmp_path / "cache"), found.integer if found is not None else "int64_t")


@pytest.fixture
def cache(own):
    return own.cache


@pytest.fixture
def other_is_best(monkeypatch):
    """The copy of OpenBLAS, with the kernels it chooses, is the fastest."""
    monkeypatch.setattr(module, "_compared", lambda blas, own: [Kernels(False, "", "Other", 2.0, 1.0)])


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


def test_it_is_another_library_that_computes_the_same(blas, own, other_is_best):
    ours = PrivateBlas(blas, own)()
    assert ours.serial and ours.path == blas.path and ours.integer == blas.integer
    assert not set(ours.addresses.values()) & set(blas.addresses.values())
    rng = np.random.default_rng(0)
    a, b = rng.integers(-4, 5, (70, 80)).astype(float), rng.integers(-4, 5, (80, 90)).astype(float)
    np.testing.assert_array_equal(multiply(ours, a, b), a @ b)


def test_choices_are_measured_once_and_the_best_is_taken(blas, own, monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    assert measured(blas, own) == ()
    ours = PrivateBlas(blas, own)()
    kernels = measured(blas, own)
    assert len(kernels) >= 2 and list(kernels) == sorted(kernels, key=lambda k: -k.rate)
    assert all(1e7 < k.single < 1e14 and 1e7 < k.double < 1e14 and k.name for k in kernels)
    assert [k.name for k in kernels if k.own] == [NAME]
    assert (ours.name == NAME) == kernels[0].own
    monkeypatch.setattr(module, "_compared", None)
    assert PrivateBlas(blas, own)().serial


def test_our_own_is_taken_where_it_is_the_best_and_nothing_is_copied(blas, own, monkeypatch):
    monkeypatch.setattr(module, "_compared", lambda blas, own: [Kernels(True, "", NAME, 2.0, 1.0)])
    for _ in range(2):
        ours = PrivateBlas(blas, own)()
        assert ours.name == NAME and ours.serial and ours.any_borders and not files(own.cache, ".so")
        a, b = np.eye(70), np.arange(70.0 * 90).reshape(70, 90)
        np.testing.assert_array_equal(multiply(ours, a, b), b)


def test_what_is_remembered_is_asked_for_while_the_copy_is_loaded_and_not_after(blas, own, monkeypatch):
    if os.uname().machine != "x86_64" or "openblas" not in blas.path or "DYNAMIC_ARCH" not in blas.name:
        pytest.skip("this library has one kind of kernels")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(module, "_compared", lambda blas, own: [Kernels(False, "NEHALEM", "Nehalem", 2.0, 1.0)])
    assert "Nehalem" in PrivateBlas(blas, own)().name
    echo = [sys.executable, "-c", "import os; print([k for k in os.environ if k.startswith('OPENBLAS_CORE')])"]
    assert subprocess.run(echo, capture_output=True, text=True, check=True).stdout == "[]\n"
    assert "OPENBLAS_CORETYPE" not in os.environ


def test_the_user_chooses_kernels(blas, own, monkeypatch):
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(module, "_measured", lambda blas, asked="", own=False: Kernels(own, asked, "Other", 2.0, 1.0))
    monkeypatch.setattr(module, "_widest", lambda: "WIDE")
    assert [(k.asked, k.own) for k in module._compared(blas, own)] == [("", False), ("", True), ("WIDE", False)]
    monkeypatch.setenv("OPENBLAS_CORETYPE", "HASWELL")
    assert [(k.asked, k.own) for k in module._compared(blas, own)] == [("", False)]


@pytest.mark.parametrize("damage", [
    lambda copy, memory: copy.unlink(),
    lambda copy, memory: (copy.unlink(), copy.write_bytes(b"short")),  # not in place, where it is in use
    lambda copy, memory: copy.chmod(0o666),
    lambda copy, memory: memory.write_text("{}"),
    lambda copy, memory: memory.write_text(json.dumps({"kernels": [1], "size": 1, "changed": 1, "source": ""})),
])  # fmt: skip
def test_a_copy_that_is_not_as_it_was_made_is_made_anew(blas, own, other_is_best, damage):
    PrivateBlas(blas, own)()
    (copy,), (memory,) = files(own.cache, ".so"), files(own.cache, ".json")
    damage(copy, memory)
    assert PrivateBlas(blas, own)().serial
    assert copy.read_bytes() == Path(blas.path).read_bytes() and copy.stat().st_mode & 0o077 == 0


def test_a_link_in_place_of_the_copy_is_not_followed(blas, own, other_is_best, tmp_path):
    PrivateBlas(blas, own)()
    (copy,) = files(own.cache, ".so")
    other = tmp_path / "other"
    copy.rename(other)
    copy.symlink_to(other)
    assert PrivateBlas(blas, own)().serial and not copy.is_symlink()


def test_copies_of_libraries_that_are_no_more_go(blas, own, other_is_best):
    cache = own.cache
    old = cache.directory / "blas-0123.json"
    old.write_text(json.dumps({"kernels": [], "size": 1, "changed": 1, "source": "/nowhere/libopenblas.so"}))
    old.with_suffix(".so").write_bytes(b"old")
    PrivateBlas(blas, own)()
    assert not old.exists() and not old.with_suffix(".so").exists() and len(files(cache, ".so")) == 1
    cache.clear()
    assert not files(cache, "")


def test_where_nothing_can_be_measured_or_copied_there_is_still_a_blas(blas, own, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert PrivateBlas(blas, own)().serial and measured(blas, own) == ()
    monkeypatch.setattr(Cache, "install_copy", lambda *_: (_ for _ in ()).throw(OSError("no space")))
    own.cache.clear()
    assert PrivateBlas(blas, own)() == blas


def test_our_own_serves_where_there_is_no_other(own):
    ours = PrivateBlas(None, own)()
    assert ours.name == NAME and ours.integer == own.integer and not files(own.cache, "")


def test_where_our_own_cannot_be_built_the_other_serves(blas, own, monkeypatch):
    monkeypatch.setattr(OwnBlas, "build", lambda self: (_ for _ in ()).throw(CompileError(Path(), [], 1, "no vectors")))
    assert PrivateBlas(None, own)() is None
    ours = PrivateBlas(blas, own)()
    assert ours.is_openblas and ours.serial and not any(k.own for k in measured(blas, own))


@pytest.mark.parametrize("path", ["/nowhere/libblas.so", "libblas.so.3"])
def test_a_blas_that_is_no_openblas_is_taken_as_it_is_or_not_at_all(own, monkeypatch, path):
    other = Blas(path, "libblas.so", own.integer, {})
    assert PrivateBlas(other, own)().name == NAME  # it cannot be measured
    own.cache.clear()
    monkeypatch.setattr(module, "_measured", lambda blas, asked="", own=False: Kernels(own, asked, "", 2.0 - own, 1.0))
    assert PrivateBlas(other, own)() is other and not files(own.cache, ".so")


def test_numpy_s_own_keeps_its_settings():
    program = """if True:
        import numpy, tempfile, pathlib
        from codegen import private_blas
        from codegen.blas import find_blas
        from codegen.cache import Cache
        before = find_blas()
        if before is not None and before.is_openblas:
            cache = Cache(pathlib.Path(tempfile.mkdtemp()))
            known = private_blas._Known(before.path, (private_blas.Kernels(False, "", "", 2.0, 1.0),))
            assert private_blas._copied(before, known, cache.directory / "blas-0.json", cache).serial
        print(before == find_blas())
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True")
