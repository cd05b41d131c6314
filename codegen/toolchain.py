"""The C compiler: finding one, knowing it again, running it.

A process that finds a compiler it knows starts no other process: the compiler is told by the stamps of its files
and the machine by what the kernel says, and the flags that it takes were written down when they were first tried.
"""

import importlib.util
import json
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from codegen.errors import CompileError, NoCompiler

_COMPILERS = ("gcc", "clang", "cc")

# No errno and no floating-point traps: nobody can see them from outside, and gcc vectorizes calls and branches only
# without. NaN, infinity and signed zeros keep their meaning, which -ffast-math would take away. Integers wrap, as in
# numpy. Products are rounded before anything is added to them, which clang must be told: a b - a b is 0.
_BASE_FLAGS: tuple[str, ...] = (
    "-std=c11", "-O2", "-fPIC", "-shared", "-ftree-vectorize", "-fno-math-errno", "-fno-trapping-math", "-fwrapv",
    "-ffp-contract=off",
)

# Flags that some compilers refuse; the flags of a group stand or fall together. SG_SIMD tells the C that it may say
# `#pragma omp simd`; with -fopenmp it may say `omp parallel`, too, and --as-needed keeps libraries that have no use
# for threads from loading them. With `-z defs` a function that is nowhere defined is an error of the linker, which
# names it, and not of the loader; linkers that do not know it need no telling.
_OPTIONAL_FLAGS = (
    ("-march=native",),
    ("-mprefer-vector-width=512",),  # x86: gcc takes half of what AVX-512 offers unless told
    ("-fno-thread-jumps",),  # gcc's short cuts between conditions, in vector lanes, become more of them
    ("-fopenmp-simd", "-DSG_SIMD"),
    ("-fopenmp", "-Wl,--as-needed"),
    ("-Wl,-z,defs",),
)

_LIBRARIES = ("-lm",)

_PROBE = """\
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

int64_t probe(ptrdiff_t n, const double *restrict x, double *restrict y)
{
#ifdef SG_SIMD
    _Pragma("omp simd")
#endif
    for (ptrdiff_t i = 0; i < n; ++i) y[i] = exp(x[i]);
    memset(y, 0, sizeof *y);
    return 0;
}
"""

# The lines of /proc/cpuinfo that say what code a CPU runs and how it is tuned; others change from boot to boot.
_CPU_FIELDS = frozenset({
    "vendor_id", "cpu family", "model", "model name", "flags",                       # x86
    "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "Features",    # arm
    "cpu", "isa", "uarch",                                                           # power, risc-v
})

# A program that installs packages, and how it gets a compiler; the first that is found speaks for the platform.
_INSTALLERS = {
    "apt-get": "apt-get install gcc libc6-dev",
    "dnf": "dnf install gcc",
    "zypper": "zypper install gcc",
    "pacman": "pacman -S gcc",
    "apk": "apk add build-base",
    "brew": "brew install gcc",
}


@dataclass(frozen=True)
class Toolchain:
    """A C compiler that works, and how to call it.

    Attributes:
        command: the compiler, by its absolute path, and the arguments that came with its name
        flags: what it is given for every library
        identity: which compiler on which machine, in one line; when it differs, so may the code
    """

    command: tuple[str, ...]
    flags: tuple[str, ...]
    identity: str


def find_toolchain(cc: str | None = None, *, probe_dir: Path, path: Sequence[str] | None = None) -> Toolchain:
    """The compiler to use: `cc` where given, else gcc, clang, cc, else that of the package ziglang.

    Args:
        cc: a command as in $CC, which may hold arguments; None or blank: search
        probe_dir: a private directory that exists, in which to remember the flags found by trying
        path: the directories of programs; None: those that this process starts programs from

    Raises:
        NoCompiler: none was found, or none works; or `cc` does not, since then no other is tried
    """
    cc = (cc or "").strip()
    path = os.get_exec_path() if path is None else path
    failures = []
    for command in _commands(cc, path):
        identity = f"{_compiler(command, path)}; {this_machine()}"
        memory = probe_dir / f"toolchain-{digest(repr((identity, _BASE_FLAGS, _OPTIONAL_FLAGS)).encode())[:16]}.json"
        flags = _remembered(memory, identity)
        if flags is None:
            try:
                flags = _probe(command)
            except CompileError as error:
                failures.append(f"{shlex.join(command)}: {error.output.strip() or f'exit status {error.status}'}")
                continue
            except NoCompiler as error:
                failures.append(str(error))
                continue
            _remember(memory, identity, flags)
        return Toolchain(command, flags, identity)
    if not failures:
        raise NoCompiler(f"no C compiler was found (gcc, clang, cc, or the package ziglang); {_advice(path)}")
    if cc:
        raise NoCompiler(f"the compiler asked for does not work; correct $CC, or unset it to search\n{failures[0]}")
    raise NoCompiler("\n".join([f"no C compiler found here works; {_advice(path)}", *failures]))


def compile(toolchain: Toolchain, source: Path, output: Path, extra_flags: Sequence[str] = ()) -> str:
    """Make the C file `source` the shared library `output`. The result is what the compiler printed: its warnings.

    Raises:
        CompileError: the compiler failed
        NoCompiler: the compiler has gone, or may not be run
    """
    import subprocess  # 4 ms that a process whose libraries are all built need not pay

    # Flags count wherever they stand, but a library (-lfoo) must follow the code that needs it.
    command = [*toolchain.command, *toolchain.flags, str(source), "-o", str(output), *extra_flags, *_LIBRARIES]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            check=False, text=True, errors="replace",
        )
    except OSError as error:
        raise NoCompiler(f"the C compiler cannot be run: {error}; {_advice(os.get_exec_path())}") from error
    if done.returncode != 0:
        raise CompileError(source, command, done.returncode, done.stdout)
    return done.stdout


def digest(content: bytes) -> str:
    """sha256 in hexadecimal."""
    import hashlib  # loads OpenSSL, 3 ms: not while the user still defines symbols

    return hashlib.sha256(content).hexdigest()


def _commands(cc: str, path: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The compilers worth trying, best first; `cc` alone if it is not empty."""
    if cc:
        try:
            name, *arguments = shlex.split(cc)
        except ValueError as error:
            raise NoCompiler(f"the compiler asked for, {cc!r}, is not a command: {error}; correct $CC") from None
        programs = _programs(name, path)
        if not programs:
            raise NoCompiler(f"the compiler asked for, {cc!r}, was not found; correct $CC, or unset it to search")
        yield programs[0], *arguments
        return
    for name in _COMPILERS:
        for program in _programs(name, path)[:1]:
            yield (program,)
    zig = importlib.util.find_spec("ziglang")
    for folder in (zig and zig.submodule_search_locations) or ():
        for program in _programs(os.path.join(folder, "zig"), path):
            yield program, "cc"  # what `python -m ziglang cc` runs, less the start of a Python


def _programs(name: str, path: Sequence[str]) -> list[str]:
    """The absolute paths of the programs called `name`, first found first, each file once."""
    places = [name] if os.sep in name else [os.path.join(folder, name) for folder in path]
    found: dict[str, str] = {}
    for place in places:
        if os.path.isfile(place) and os.access(place, os.X_OK):
            found.setdefault(os.path.realpath(place), os.path.abspath(place))
    return list(found.values())


def _compiler(command: Sequence[str], path: Sequence[str]) -> str:
    """Which compiler `command` runs, told by the stamps of its files, since asking it would start a process.

    A gcc may be a link to ccache, which runs the next gcc on the path; and `ccache gcc` names two programs. So
    all that the words of the command can mean are stamped.
    """
    programs = [command[0]]
    for word in command:
        programs += _programs(os.path.basename(word), path)
    stamps = []
    for program in dict.fromkeys(programs):
        file = os.path.realpath(program)
        status = os.stat(file)
        stamps.append(f"{program} {file} {status.st_size} {status.st_mtime_ns}")
    return ", ".join([shlex.join(command), *stamps])


def this_machine() -> str:
    """Where code runs that is compiled here, in one line: system, CPU, and libc, whose older versions refuse it.

    The CPU counts even if -march=native was refused: the user's own flags may hold it.
    """
    system = os.uname()
    try:
        libc = os.confstr("CS_GNU_LIBC_VERSION")
    except (OSError, ValueError):
        libc = None
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            first = takewhile(str.strip, file)  # up to the blank line: one CPU speaks for all, which may be hundreds
            cpu = "".join(line for line in first if line.partition(":")[0].strip() in _CPU_FIELDS)
    except OSError:
        cpu = ""
    # Elsewhere than on Linux the version of the kernel names the kind of CPU it was built for.
    return f"{system.sysname} {system.machine} {libc or 'libc'} cpu {digest((cpu or system.version).encode())[:16]}"


def _probe(command: tuple[str, ...]) -> tuple[str, ...]:
    """The flags that the compiler takes: it must build a library, and print nothing more for an optional flag.

    Raises CompileError where it cannot build a library at all.
    """
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="symgraph-") as folder:
        source, output = Path(folder, "probe.c"), Path(folder, "probe.so")
        source.write_text(_PROBE)

        def printed(flags: tuple[str, ...]) -> str:
            return compile(Toolchain(command, flags, identity=""), source, output)

        everything = _BASE_FLAGS + tuple(flag for group in _OPTIONAL_FLAGS for flag in group)
        with suppress(CompileError):
            if not printed(everything):
                return everything
        usual = printed(_BASE_FLAGS)
        flags = _BASE_FLAGS
        for group in _OPTIONAL_FLAGS:
            with suppress(CompileError):
                if printed(flags + group) == usual:
                    flags += group
        return flags


def _remembered(memory: Path, identity: str) -> tuple[str, ...] | None:
    """The flags written down for a compiler; None where nothing sound is.

    What is read only selects among the flags above, so the file cannot bring in one of its own.
    """
    try:
        record = json.loads(memory.read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("identity") != identity:
        return None
    taken = record.get("flags")
    if not isinstance(taken, list):
        return None
    return _BASE_FLAGS + tuple(flag for group in _OPTIONAL_FLAGS for flag in group if flag in taken)


def _remember(memory: Path, identity: str, flags: tuple[str, ...]) -> None:
    """Write the flags down. All writers write the same bytes and readers ignore half a file: no care is needed."""
    with suppress(OSError):  # then the next process tries again
        memory.write_text(json.dumps({"identity": identity, "flags": flags}, indent=1) + "\n")


def _advice(path: Sequence[str]) -> str:
    """The one command that gets a compiler on this platform."""
    if sys.platform == "darwin":
        return "to get one: xcode-select --install"
    root = "" if os.geteuid() == 0 else "sudo "
    for program, command in _INSTALLERS.items():
        if _programs(program, path):
            return f"to get one: {root}{command}"
    return f"to get one: {shlex.quote(sys.executable)} -m pip install ziglang"
