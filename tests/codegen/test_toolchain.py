"""The search for a C compiler, what is remembered of it, and what is said when it fails."""

import importlib.util
import json
import os
import shlex
import subprocess

import pytest

from codegen.errors import CompileError, NoCompiler
from codegen.toolchain import Toolchain, compile, find_toolchain


@pytest.fixture(scope="module")
def cc(tmp_path_factory):
    """A command that compiles C on this machine, as $CC would hold it."""
    try:
        return shlex.join(find_toolchain(os.environ.get("CC"), probe_dir=tmp_path_factory.mktemp("probe")).command)
    except NoCompiler as error:
        pytest.skip(str(error))


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def refusing(path, cc, flag):
    """A compiler that knows all flags of `cc` but one."""
    return script(path, f'case " $* " in *" {flag} "*) echo "unknown {flag}" >&2; exit 1;; esac\nexec {cc} "$@"')


def no_processes(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError(f"a process was started: {args}")
    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "posix_spawn", refuse)


def test_a_known_compiler_starts_no_process(tmp_path, monkeypatch, cc):
    first = find_toolchain(cc, probe_dir=tmp_path)
    no_processes(monkeypatch)
    assert find_toolchain(cc, probe_dir=tmp_path) == first


def test_finding_one_without_cc_starts_no_process_the_second_time(tmp_path, monkeypatch):
    try:
        first = find_toolchain(probe_dir=tmp_path)
    except NoCompiler as error:
        pytest.skip(str(error))
    no_processes(monkeypatch)
    assert find_toolchain("  ", probe_dir=tmp_path) == first      # blank is not given


@pytest.mark.parametrize("damage", [
    b"", b"{", b"\0" * 100, b"[]", b"null", b"\xff\xfe", b'{"identity": 1}',
    lambda text: text[: len(text) // 2],
    lambda text: text.replace(b'"flags": [', b'"flags": 7, "were": ['),
    lambda text: text.replace(b'"identity": "', b'"identity": "other '),
])
def test_a_damaged_memory_is_ignored_and_written_anew(tmp_path, cc, damage):
    first = find_toolchain(cc, probe_dir=tmp_path)
    [memory] = tmp_path.iterdir()
    sound = memory.read_bytes()
    memory.write_bytes(damage(sound) if callable(damage) else damage)
    assert find_toolchain(cc, probe_dir=tmp_path) == first
    assert memory.read_bytes() == sound


def test_the_memory_cannot_bring_in_a_flag(tmp_path, cc):
    find_toolchain(cc, probe_dir=tmp_path)
    [memory] = tmp_path.iterdir()
    record = json.loads(memory.read_bytes())
    memory.write_text(json.dumps({**record, "flags": [*record["flags"], "-fplugin=evil.so", ["-x"], None]}))
    assert find_toolchain(cc, probe_dir=tmp_path).flags == tuple(record["flags"])


def test_a_memory_that_cannot_be_written_is_no_error(tmp_path, cc):
    assert find_toolchain(cc, probe_dir=tmp_path / "missing") == find_toolchain(cc, probe_dir=tmp_path)


def test_cc_may_hold_arguments(tmp_path, cc):
    found = find_toolchain(f"{cc} -DONE='a b' -DTWO", probe_dir=tmp_path)
    assert found.command[-2:] == ("-DONE=a b", "-DTWO")
    assert found.identity != find_toolchain(cc, probe_dir=tmp_path).identity
    source, output = tmp_path / "needs.c", tmp_path / "needs.so"
    source.write_text("#ifndef TWO\n#error\n#endif\nint f(void) { return 0; }\n")
    compile(found, source, output)
    assert output.stat().st_size > 0


def test_a_flag_that_the_compiler_refuses_is_left_out(tmp_path, cc):
    usual = find_toolchain(cc, probe_dir=tmp_path).flags
    picky = str(refusing(tmp_path / "picky", cc, "-fopenmp-simd"))
    tried, remembered = (find_toolchain(picky, probe_dir=tmp_path).flags for _ in range(2))
    assert tried == remembered == tuple(flag for flag in usual if flag not in ("-fopenmp-simd", "-DSG_SIMD"))


def test_a_flag_that_the_compiler_warns_of_is_left_out(tmp_path, cc):
    usual = find_toolchain(cc, probe_dir=tmp_path).flags
    warning = 'case "$*" in *-march=native*) echo "warning: -march=native ignored" >&2;; esac'
    noisy = script(tmp_path / "noisy", f'echo always >&2\n{warning}\nexec {cc} "$@"')
    assert find_toolchain(str(noisy), probe_dir=tmp_path).flags == tuple(f for f in usual if f != "-march=native")


def test_another_compiler_under_the_same_name_is_another_compiler(tmp_path, cc):
    program = script(tmp_path / "mine", f'exec {cc} "$@"')
    before = find_toolchain(str(program), probe_dir=tmp_path)
    script(program, f'exec  {cc} "$@"')
    assert find_toolchain(str(program), probe_dir=tmp_path).identity != before.identity


def test_what_a_compiler_cache_runs_is_part_of_the_identity(tmp_path, cc):
    """`gcc` may be a link to ccache, which runs the next gcc on the path."""
    for folder in "first", "second":
        (tmp_path / folder).mkdir()
    script(tmp_path / "ccache", f'exec {cc} "$@"')
    (tmp_path / "first" / "gcc").symlink_to(tmp_path / "ccache")
    real = script(tmp_path / "second" / "gcc", f'exec {cc} "$@"')
    path = [str(tmp_path / "first"), str(tmp_path / "second")]
    before = find_toolchain(probe_dir=tmp_path, path=path)
    assert before.command == (str(tmp_path / "first" / "gcc"),)    # not resolved: ccache looks at its own name
    script(real, f'exec   {cc} "$@"')
    assert find_toolchain(probe_dir=tmp_path, path=path).identity != before.identity


def test_the_search_goes_on_when_a_compiler_does_not_work(tmp_path, cc):
    script(tmp_path / "gcc", "echo fatal error: math.h >&2; exit 1")
    (tmp_path / "clang").write_bytes(b"\x7fELF of another machine")
    (tmp_path / "clang").chmod(0o755)
    script(tmp_path / "cc", f'exec {cc} "$@"')
    assert find_toolchain(probe_dir=tmp_path, path=[str(tmp_path)]).command == (str(tmp_path / "cc"),)


def test_when_none_works_the_message_says_why_and_names_one_command(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    script(tmp_path / "gcc", "echo fatal error: math.h >&2; exit 1")
    script(tmp_path / "clang", "exit 7")
    with pytest.raises(NoCompiler, match=r"to get one: .*\n.*/gcc: fatal error: math.h\n.*/clang: exit status 7"):
        find_toolchain(probe_dir=tmp_path, path=[str(tmp_path)])


def test_ziglang_is_the_last_resort(tmp_path, monkeypatch, cc):
    package = tmp_path / "ziglang"
    package.mkdir()
    (package / "__init__.py").touch()
    script(package / "zig", f'[ "$1" = cc ] || exit 1; shift\nexec {cc} "$@"')
    monkeypatch.syspath_prepend(tmp_path)
    assert find_toolchain(probe_dir=tmp_path, path=[]).command == (str(package / "zig"), "cc")


@pytest.mark.parametrize(("installer", "advice"), [
    ("apt-get", "apt-get install gcc"), ("dnf", "dnf install gcc"), (None, "-m pip install ziglang"),
])
def test_without_a_compiler_the_message_names_one_command(tmp_path, monkeypatch, installer, advice):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("sys.platform", "linux")
    if installer:
        script(tmp_path / installer, "")
    with pytest.raises(NoCompiler, match=rf"no C compiler .* to get one: .*{advice}"):
        find_toolchain(probe_dir=tmp_path, path=[str(tmp_path)])


def test_a_cc_that_does_not_exist_is_not_replaced(tmp_path):
    with pytest.raises(NoCompiler, match=r"'no-such-compiler -O3', was not found; correct \$CC"):
        find_toolchain("no-such-compiler -O3", probe_dir=tmp_path)


def test_a_cc_that_is_no_command(tmp_path):
    with pytest.raises(NoCompiler, match=r"is not a command: No closing quotation; correct \$CC"):
        find_toolchain("gcc '", probe_dir=tmp_path)


def test_a_cc_that_does_not_work_says_why(tmp_path):
    broken = script(tmp_path / "broken", "echo fatal error: math.h: No such file >&2; exit 1")
    with pytest.raises(NoCompiler, match=r"does not work; correct \$CC.*\n.*/broken: fatal error: math.h: No such"):
        find_toolchain(str(broken), probe_dir=tmp_path)


def test_a_compile_error_carries_the_file_the_command_and_the_output(tmp_path, cc):
    source = tmp_path / "wrong.c"
    source.write_text("int f(void) { return undeclared; }\n")
    toolchain = find_toolchain(cc, probe_dir=tmp_path)
    with pytest.raises(CompileError) as caught:
        compile(toolchain, source, tmp_path / "wrong.so", ["-DNEVER"])
    error = caught.value
    assert error.source == source and "undeclared" in error.output and error.status > 0
    assert error.command[0] == toolchain.command[0] and "-DNEVER" in error.command
    assert str(source) in str(error) and "undeclared" in str(error) and shlex.join(error.command) in str(error)


def test_a_long_output_is_cut_in_the_message_alone(tmp_path):
    error = CompileError(tmp_path / "x.c", ["cc"], -9, "\n".join(f"line {i}" for i in range(100)))
    assert "80 more lines" in str(error) and "line 19" in str(error) and "line 20" not in str(error)
    assert "signal 9" in str(error) and "line 99" in error.output


def test_warnings_are_returned(tmp_path, cc):
    source = tmp_path / "odd.c"
    source.write_text("#warning look here\nint f(void) { return 0; }\n")
    assert "look here" in compile(find_toolchain(f"{cc} -Wno-error", probe_dir=tmp_path), source, tmp_path / "odd.so")


def test_a_compiler_that_has_gone(tmp_path):
    with pytest.raises(NoCompiler, match="cannot be run"):
        compile(Toolchain((str(tmp_path / "gone"),), (), ""), tmp_path / "x.c", tmp_path / "x.so")
