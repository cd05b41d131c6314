"""The cache of compiled C: whose it is, what it finds again, and what it does not believe."""

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

import codegen.cache
from codegen.cache import Cache, default_directory, key
from codegen.errors import CacheRefused, CompileError, NoCompiler
from codegen.toolchain import Toolchain, find_toolchain

ROOT = Path(__file__).parents[2]
TEXT = "int seven(void) { return 7; }\n"
FAKE = Toolchain(("/usr/bin/cc",), ("-O2",), "a compiler")

needs_users = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


@pytest.fixture(scope="module")
def toolchain(tmp_path_factory):
    try:
        return find_toolchain(os.environ.get("CC"), probe_dir=tmp_path_factory.mktemp("probe"))
    except NoCompiler as error:
        pytest.skip(str(error))


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


@pytest.fixture
def compiled(monkeypatch):
    """The sources that were compiled since."""
    sources = []

    def counting(toolchain, source, output, extra_flags=()):
        sources.append(source)
        return compile(toolchain, source, output, extra_flags)
    compile = codegen.cache.compile
    monkeypatch.setattr(codegen.cache, "compile", counting)
    return sources


def test_the_second_time_nothing_is_compiled(cache, toolchain, compiled):
    library = cache.build(TEXT, toolchain, name="seven")
    assert library.parent == cache.directory and library.name.startswith("seven-")
    assert library.with_suffix(".c").read_text() == TEXT
    assert Cache(cache.directory).build(TEXT, toolchain, name="seven") == library
    assert len(compiled) == 1


def test_find_compiles_nothing(cache, toolchain, compiled):
    assert cache.find(TEXT, toolchain, name="seven") is None
    library = cache.build(TEXT, toolchain, name="seven")
    assert cache.find(TEXT, toolchain, name="seven") == library and len(compiled) == 1
    assert cache.find(TEXT, toolchain, ["-DX"], name="seven") is None
    library.write_bytes(b"")
    assert cache.find(TEXT, toolchain, name="seven") is None


def test_nothing_but_the_entry_is_left(cache, toolchain):
    library = cache.build(TEXT, toolchain, name="seven")
    assert {file.suffix for file in cache.directory.iterdir()} == {".c", ".so", ".sum"}
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in cache.directory.iterdir())
    digest, name = library.with_suffix(".sum").read_text().split()
    assert len(digest) == 64 and name == library.name


def test_the_key_covers_all_that_changes_the_library():
    others = [
        key(TEXT + " ", FAKE),
        key(TEXT, FAKE, ["-DX"]),
        key(TEXT, FAKE, ["-D", "X"]),
        key(TEXT, replace(FAKE, flags=("-O3",))),
        key(TEXT, replace(FAKE, flags=("-O2", "-DX"))),
        key(TEXT, replace(FAKE, command=("/usr/bin/cc", "-m32"))),
        key(TEXT, replace(FAKE, identity="another")),
    ]
    assert len({key(TEXT, FAKE), *others}) == 1 + len(others)
    assert key(TEXT, FAKE) == key(TEXT, FAKE, ())


@pytest.mark.parametrize("damage", [
    lambda library: library.write_bytes(library.read_bytes()[:100]),
    lambda library: library.write_bytes(bytes(library.stat().st_size)),
    lambda library: library.write_bytes(b""),
    lambda library: library.write_bytes(library.read_bytes() + b"\0"),
    lambda library: library.unlink(),
    lambda library: library.with_suffix(".sum").unlink(),
    lambda library: library.with_suffix(".sum").write_bytes(b""),
    lambda library: library.with_suffix(".c").unlink(),
    lambda library: library.with_suffix(".c").write_text("int seven(void) { return 8; }\n"),
    lambda library: library.chmod(0o620),
    lambda library: library.with_suffix(".sum").chmod(0o602),
    lambda library: library.rename(library.with_name("moved")).with_name(library.name).symlink_to("moved"),
    lambda library: (library.unlink(), os.mkfifo(library)),
    pytest.param(lambda library: os.chown(library, 12345, -1), marks=needs_users),
])
def test_a_damaged_entry_is_built_anew(cache, toolchain, compiled, damage):
    library = cache.build(TEXT, toolchain, name="seven")
    sound = library.read_bytes()
    damage(library)
    assert cache.build(TEXT, toolchain, name="seven") == library
    assert library.read_bytes() == sound and not library.is_symlink()
    assert library.with_suffix(".c").read_text() == TEXT
    cache.build(TEXT, toolchain, name="seven")
    assert len(compiled) == 2


def test_what_stands_in_the_way_is_said(cache, toolchain):
    library = cache.build(TEXT, toolchain, name="seven")
    library.unlink()
    library.mkdir()
    with pytest.raises(CacheRefused, match=rf"cannot write to .*{library.name}"):
        cache.build(TEXT, toolchain, name="seven")


def test_the_files_of_another_entry_are_not_taken_for_this_one(cache, toolchain, compiled):
    library = cache.build(TEXT, toolchain, name="seven")
    other = cache.build("int seven(void) { return 8; }\n", toolchain, name="seven")
    sound = library.read_bytes()
    for suffix in ".so", ".sum":
        library.with_suffix(suffix).write_bytes(other.with_suffix(suffix).read_bytes())
    cache.build(TEXT, toolchain, name="seven")
    assert library.read_bytes() == sound and len(compiled) == 3


def test_processes_that_build_one_entry_at_once_all_succeed(cache, toolchain):
    program = f"""if True:
        import sys
        from pathlib import Path
        from codegen.cache import Cache
        from codegen.toolchain import Toolchain
        cache = Cache(Path({str(cache.directory)!r}))
        sys.stdin.readline()    # all start at once
        print(cache.build({TEXT!r}, {toolchain!r}, name="seven"))
    """
    others = [subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for other in others:
        other.stdin.write("\n")
        other.stdin.flush()
    printed = {other.communicate()[0].strip() for other in others}
    assert [other.returncode for other in others] == [0, 0, 0]
    assert printed == {str(cache.build(TEXT, toolchain, name="seven"))}
    assert len(list(cache.directory.iterdir())) == 3


def test_threads_that_build_one_entry_at_once_all_succeed(cache, toolchain):
    start, built = threading.Barrier(4), []

    def build():
        start.wait()
        built.append(cache.build(TEXT, toolchain, name="seven"))
    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 4 and len(set(built)) == 1


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "a b", "a.b", "-o", "7up", "été", "x\n", "x\0", "$HOME"])
def test_a_hostile_name_is_refused(cache, name):
    with pytest.raises(ValueError, match="not a C identifier"):
        cache.build(TEXT, FAKE, name=name)
    assert list(cache.directory.iterdir()) == []


def test_a_long_name_is_cut(cache, toolchain):
    assert cache.build(TEXT, toolchain, name="n" * 1000).name.startswith("n" * 60 + "-")


def test_after_a_compile_error_the_c_is_there_to_be_read(cache, toolchain):
    with pytest.raises(CompileError) as caught:
        cache.build("int f(void) { return undeclared; }\n", toolchain, name="wrong")
    assert "undeclared" in caught.value.source.read_text()
    assert [file.suffix for file in cache.directory.iterdir()] == [".c"]


def test_entries_and_clear(cache, toolchain):
    first = cache.build(TEXT, toolchain, name="first")
    for suffix in ".c", ".so", ".sum":
        os.utime(first.with_suffix(suffix), (0, 0))
    second = cache.build(TEXT, toolchain, name="second")
    (cache.directory / "toolchain-0123.json").write_text("{}")
    killed, running = cache.directory / ".build-killed_0", cache.directory / ".build-running1"
    for draft in killed, running:
        draft.mkdir()
        (draft / "file").touch()
    os.utime(killed, (0, 0))

    assert [entry.name for entry in cache.entries()] == [second.stem, first.stem]
    newest, oldest = cache.entries()
    assert newest.size == sum(second.with_suffix(suffix).stat().st_size for suffix in (".c", ".so", ".sum"))
    assert newest.age < 60 < oldest.age

    cache.clear()
    assert cache.entries() == []
    assert {file.name for file in cache.directory.iterdir()} == {"toolchain-0123.json", ".build-running1"}
    assert cache.build(TEXT, toolchain, name="first") == first and first.exists()


def test_copies_are_counted_apart_and_cleared_too(cache, toolchain):
    cache.build(TEXT, toolchain, name="seven")
    kept, forgotten = "blas-0123456789abcdef", "blas-fedcba9876543210"
    (cache.directory / f"{kept}.so").write_bytes(bytes(1000))
    for name in kept, forgotten:
        (cache.directory / f"{name}.json").write_text("{}")
    (copy,) = cache.copies()
    assert (copy.name, copy.size) == (kept, 1002) and copy.age < 60
    assert [entry.name[:6] for entry in cache.entries()] == ["seven-"]
    cache.clear()
    assert cache.copies() == [] and list(cache.directory.iterdir()) == []


def test_clear_leaves_what_is_not_ours(cache):
    names = ["blas-notes.txt", "blas-0123456789abcdef.txt", "blas-0123456789ABCDEF.so", "blas-0123.json", "blas-.so",
             "my-blas-0123456789abcdef.so", "machine-mine.json", "seven-0123.so", "notes.c"]
    for name in names:
        (cache.directory / name).touch()
    folders = [".build-mine", ".build-my-project", "blas-fedcba9876543210.so", f"seven-{'0' * 32}.so"]
    for name in folders:
        (cache.directory / name).mkdir()
        os.utime(cache.directory / name, (0, 0))
    cache.clear()
    assert {file.name for file in cache.directory.iterdir()} == {*names, *folders}
    assert cache.copies() == []


def test_a_directory_that_was_removed_is_made_again(cache, toolchain):
    library = cache.build(TEXT, toolchain, name="seven")
    for file in cache.directory.iterdir():
        file.unlink()
    cache.directory.rmdir()
    assert cache.entries() == []
    assert cache.build(TEXT, toolchain, name="seven") == library and library.exists()


def test_a_new_directory_is_ours_alone(tmp_path):
    assert Cache(tmp_path / "a" / "b").directory.stat().st_mode & 0o777 == 0o700


def test_a_directory_that_others_may_read_will_do(tmp_path):
    tmp_path.chmod(0o755)
    assert Cache(tmp_path).directory == tmp_path.resolve()


@pytest.mark.parametrize("mode", [0o770, 0o720, 0o707, 0o1777])
def test_a_directory_that_others_may_write_is_refused(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(CacheRefused, match=r"others may write to .* chmod go-w .* \$SYMGRAPH_CACHE"):
        Cache(tmp_path)


def test_a_directory_opened_to_others_later_is_refused_too(cache, toolchain):
    cache.directory.chmod(0o777)
    with pytest.raises(CacheRefused, match="others may write"):
        cache.build(TEXT, toolchain, name="seven")


def test_a_link_is_followed_once_and_its_target_judged(tmp_path):
    target = tmp_path / "target"
    target.mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(target)
    assert Cache(tmp_path / "link").directory == target.resolve()
    target.chmod(0o777)
    with pytest.raises(CacheRefused, match="others may write"):
        Cache(tmp_path / "link")


@needs_users
def test_the_directory_of_another_user_is_refused(tmp_path):
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(CacheRefused, match="belongs to user 12345, not to you"):
        Cache(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for place in tmp_path / "file", tmp_path / "file" / "below":
        with pytest.raises(CacheRefused, match=r"cannot make .* \$SYMGRAPH_CACHE"):
            Cache(place)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_that_we_may_not_write_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(CacheRefused, match="cannot be written"):
        Cache(tmp_path)


def test_a_temporary_cache_goes_when_its_process_ends_not_when_a_fork_does():
    program = """if True:
        import os, sys
        from codegen.cache import Cache
        cache = Cache.temporary()
        if os.fork() == 0:
            sys.exit()
        os.wait()
        assert cache.directory.is_dir()
        print(cache.directory)
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() and not Path(done.stdout.strip()).exists()


@pytest.mark.parametrize(("environ", "platform", "place"), [
    ({"SYMGRAPH_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "linux", "/c"),
    ({"SYMGRAPH_CACHE": "", "XDG_CACHE_HOME": "/x", "HOME": "/h"}, "linux", "/x/symgraph"),
    ({"XDG_CACHE_HOME": "relative", "HOME": "/h"}, "linux", "/h/.cache/symgraph"),
    ({"HOME": "/h"}, "linux", "/h/.cache/symgraph"),
    ({"HOME": "/h"}, "darwin", "/h/Library/Caches/symgraph"),
])
def test_the_default_directory(monkeypatch, environ, platform, place):
    monkeypatch.setattr("sys.platform", platform)
    assert default_directory(environ) == Path(place)


def test_without_a_home_the_message_says_what_to_set(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 987654321)
    with pytest.raises(CacheRefused, match=r"987654321 has no home directory; set \$SYMGRAPH_CACHE"):
        default_directory({})
