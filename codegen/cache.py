"""The directory of compiled C: each library beside the C file it was made from, found by what it was made from.

An entry is three files of one stem, NAME-KEY: `.c`, `.so`, and `.sum`, the checksum of the library as sha256sum
writes it. Whoever builds an entry does so in a directory of its own and moves the files into place, the checksum last.
So there is no lock: two processes that build one entry at once both succeed, and a reader that meets an unfinished
or damaged entry builds it anew.
"""

import atexit
import os
import pwd
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from codegen.errors import CacheRefused
from codegen.toolchain import Toolchain, compile, digest

_FORMAT = 1  # of an entry: part of every key, to be raised when entries made before must not be used
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_FILE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*-[0-9a-f]{32})\.(c|so|sum)")
_COPY = re.compile(r"(blas-[0-9a-f]{16})\.(so|json)")  # of a library, and what is remembered of it; private_blas.py
_DRAFT = ".build-"
_DRAFTS = re.compile(r"(\.build-[a-z0-9_]{8})")  # as the standard library completes the name
_DRAFT_LIFE = 24 * 3600  # seconds after which the directory of a build is that of a process that was killed
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_REMEDY = "set $SYMGRAPH_CACHE to a directory of your own"


@dataclass(frozen=True)
class Entry:
    """One entry of a cache: the stem of its files, their size in bytes, and the seconds since they were made."""

    name: str
    size: int
    age: float


class Cache:
    """A cache directory that is ours alone to write.

    Attributes:
        directory: its absolute path, links resolved
    """

    def __init__(self, directory: Path):
        """Open a directory, made with mode 0700 if it is not there.

        Raises:
            CacheRefused: it cannot be made or written, belongs to someone else, or others may write to it: what is
                in it is run
        """
        self.directory = _private(directory)

    @classmethod
    def temporary(cls) -> "Cache":
        """A cache that is removed when this process ends; CacheRefused where there is no place for one."""
        from tempfile import mkdtemp

        try:
            cache = cls(Path(mkdtemp(prefix="symgraph-")))
        except OSError as error:
            raise CacheRefused(f"there is no directory for temporary files ({error}); {_REMEDY}") from error
        atexit.register(_remove, cache.directory, os.getpid())
        return cache

    def build(self, c_text: str, toolchain: Toolchain, extra_flags: Sequence[str] = (), *, name: str) -> Path:
        """The library made of a C text, compiled now unless a sound entry is there. The C is beside it, as `.c`.

        Args:
            name: a C identifier in ASCII, with which the names of the files begin, cut after 60 characters

        Raises:
            ValueError: `name` is something else
            CompileError, NoCompiler: as `toolchain.compile`; the C file is kept
            CacheRefused: the directory can no longer be used
        """
        library = self._place(c_text, toolchain, extra_flags, name)
        text = c_text.encode()
        if not _holds(library, text):
            try:
                self._make(library, text, toolchain, extra_flags)
            except OSError as error:
                raise CacheRefused(f"cannot write to {self.directory}: {error}; make room, or {_REMEDY}") from error
        return library

    def find(self, c_text: str, toolchain: Toolchain, extra_flags: Sequence[str] = (), *, name: str) -> Path | None:
        """The library that `build` would give without compiling; None where it would compile."""
        library = self._place(c_text, toolchain, extra_flags, name)
        return library if _holds(library, c_text.encode()) else None

    def _place(self, c_text: str, toolchain: Toolchain, extra_flags: Sequence[str], name: str) -> Path:
        if not _IDENTIFIER.fullmatch(name):
            raise ValueError(f"{name!r} is not a C identifier")
        return self.directory / f"{name[:60]}-{key(c_text, toolchain, extra_flags)[:32]}.so"

    def entries(self) -> list[Entry]:
        """What is in the cache, newest first; after a failed build, an entry is the C file alone."""
        return self._entries(_FILE)

    def copies(self) -> list[Entry]:
        """The copies of libraries that are kept beside the entries, newest first."""
        return [entry for entry in self._entries(_COPY) if (self.directory / f"{entry.name}.so").is_file()]

    def _entries(self, pattern: re.Pattern[str]) -> list[Entry]:
        found: dict[str, list[os.stat_result]] = {}
        for file, stem in self._files(pattern):
            try:
                found.setdefault(stem, []).append(file.lstat())
            except FileNotFoundError:  # cleared meanwhile
                continue
        now = time.time()
        entries = [Entry(stem, sum(file.st_size for file in files), now - max(file.st_mtime for file in files))
                   for stem, files in found.items()]
        return sorted(entries, key=lambda entry: entry.age)

    def clear(self) -> None:
        """Remove all entries, copies, and what killed builds left. Loaded libraries stay usable; a build may fail."""
        for file, _ in [*self._files(_FILE), *self._files(_COPY)]:
            if file.is_symlink() or not file.is_dir():
                file.unlink(missing_ok=True)
        for draft, _ in self._files(_DRAFTS):
            try:
                left = time.time() - draft.lstat().st_mtime > _DRAFT_LIFE
            except FileNotFoundError:
                continue
            if left:
                _remove(draft, os.getpid())

    def stamp(self, file: Path) -> tuple[int, int] | None:
        """The size and the time of change, in ns, of a regular file that is ours alone to write; None for all else."""
        try:
            status = file.lstat()
        except OSError:
            return None
        return (status.st_size, status.st_mtime_ns) if _is_ours(status) else None

    def install_copy(self, source: Path, place: Path) -> None:
        """Put a copy of a file into the directory, where it is found whole or not at all."""
        self._install_written(place, lambda draft: draft.writelines(_pieces(source)))

    def install_text(self, text: str, place: Path) -> None:
        """Write a file in the directory, as `install_copy`."""
        self._install_written(place, lambda draft: draft.write(text.encode()))

    def _install_written(self, place: Path, write: Callable[[BinaryIO], object]) -> None:
        from tempfile import TemporaryDirectory

        _private(self.directory)
        with TemporaryDirectory(prefix=_DRAFT, dir=self.directory, ignore_cleanup_errors=True) as folder:
            draft = Path(folder) / place.name
            with open(draft, "wb") as file:
                write(file)
            _install(draft, place)

    def _files(self, pattern: re.Pattern[str]) -> list[tuple[Path, str]]:
        """What has a name of ours, each with the stem that the pattern captures."""
        try:
            names = os.listdir(self.directory)
        except FileNotFoundError:  # the user has emptied ~/.cache
            return []
        matches = [pattern.fullmatch(name) for name in names]
        return [(self.directory / match[0], match[1]) for match in matches if match]

    def _make(self, library: Path, text: bytes, toolchain: Toolchain, extra_flags: Sequence[str]) -> None:
        """Compile `text` and install the three files of the entry."""
        from tempfile import TemporaryDirectory

        _private(self.directory)  # made again if the user has emptied ~/.cache since
        with TemporaryDirectory(prefix=_DRAFT, dir=self.directory, ignore_cleanup_errors=True) as folder:
            draft = Path(folder) / library.name
            source, total = library.with_suffix(".c"), draft.with_suffix(".sum")
            draft.with_suffix(".c").write_bytes(text)
            _install(draft.with_suffix(".c"), source)
            compile(toolchain, source, draft, extra_flags)
            total.write_bytes(_checksum(draft.read_bytes(), library.name))
            _install(draft, library)
            _install(total, library.with_suffix(".sum"))


def key(c_text: str, toolchain: Toolchain, extra_flags: Sequence[str] = ()) -> str:
    """The digest of all that decides the bytes of a library: the C, the compiler, machine and flags."""
    compiler = toolchain.identity, toolchain.command, toolchain.flags, tuple(extra_flags)
    return digest(repr((_FORMAT, digest(c_text.encode()), compiler)).encode())


def default_directory(environ: Mapping[str, str]) -> Path:
    """Where the cache is unless the user says otherwise: $SYMGRAPH_CACHE, or where the platform keeps caches.

    Raises CacheRefused where no home directory is known.
    """
    if chosen := environ.get("SYMGRAPH_CACHE"):
        return Path(chosen)
    caches = environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(caches):  # its specification says to ignore others
        return Path(caches, "symgraph")
    home = environ.get("HOME")
    if not home:
        try:
            home = pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            raise CacheRefused(f"user {os.geteuid()} has no home directory; {_REMEDY}") from None
    return Path(home, "Library/Caches" if sys.platform == "darwin" else ".cache", "symgraph")


def _private(directory: Path) -> Path:
    """The real path of a directory, made if it is not there, that nobody else may write to; else CacheRefused."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = directory.resolve(strict=True)
        status = directory.stat()
    except OSError as error:
        raise CacheRefused(f"cannot make the cache directory {directory} ({error.strerror}); {_REMEDY}") from error
    if status.st_uid != os.geteuid():
        raise CacheRefused(f"the cache directory {directory} belongs to user {status.st_uid}, not to you; {_REMEDY}")
    if status.st_mode & _OTHERS_WRITE:
        raise CacheRefused(f"others may write to the cache directory {directory}, and what is in it is run: "
                           f"chmod go-w it, or {_REMEDY}")
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise CacheRefused(f"the cache directory {directory} cannot be written; {_REMEDY}")
    return directory


def _read(file: Path) -> bytes | None:
    """The content of a regular file of our own that nobody else may write to; None for all else, and links."""
    try:
        # Not blocking, for a pipe would wait for its writer
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if not _is_ours(os.fstat(descriptor)):
            return None
        with open(descriptor, "rb", closefd=False) as opened:
            return opened.read()
    except OSError:  # of the disk
        return None
    finally:
        os.close(descriptor)


def _is_ours(status: os.stat_result) -> bool:
    """Whether this is a regular file of our own that nobody else may write to."""
    ours = status.st_uid == os.geteuid() and not status.st_mode & _OTHERS_WRITE
    return stat.S_ISREG(status.st_mode) and ours


def _pieces(file: Path, size: int = 1 << 20) -> Iterator[bytes]:
    with open(file, "rb") as opened:
        while piece := opened.read(size):
            yield piece


def _holds(library: Path, text: bytes) -> bool:
    """Whether a library is there, whole, and made of this C."""
    return _read(library.with_suffix(".c")) == text and _sound(library)


def _sound(library: Path) -> bool:
    """Whether a library is whole, by its checksum: 0.2 ms for 100 kB."""
    content = _read(library)
    return content is not None and _read(library.with_suffix(".sum")) == _checksum(content, library.name)


def _checksum(content: bytes, name: str) -> bytes:
    """A line for `sha256sum --check`. It holds the name, so the files of another entry are not taken for this one."""
    return f"{digest(content)}  {name}\n".encode()


def _install(draft: Path, place: Path) -> None:
    """Move a finished file into place at once, writable by us alone whatever the umask and the linker chose."""
    draft.chmod(0o600)
    draft.replace(place)


def _remove(directory: Path, process: int) -> None:
    """Remove a directory, unless this is a fork of the process it belongs to."""
    from shutil import rmtree

    if os.getpid() == process:
        rmtree(directory, ignore_errors=True)
