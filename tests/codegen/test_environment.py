"""Settings for C libraries: what C code sees for a while, and Python and other threads do not."""

import os
import subprocess
import threading

import cffi
import pytest

from codegen.environment import set_for_c

FFI = cffi.FFI()
FFI.cdef("char *getenv(const char *name);")
C = FFI.dlopen(None)


def seen_by_c(name):
    value = C.getenv(name.encode())
    return None if value == FFI.NULL else FFI.string(value).decode()


@pytest.mark.parametrize("before", [None, "old"])
def test_c_sees_it_for_a_while_and_python_never(before, monkeypatch):
    if before is not None:
        monkeypatch.setenv("SG_SETTING", before)
    with set_for_c({"SG_SETTING": "new"}):
        assert seen_by_c("SG_SETTING") == "new" and os.environ.get("SG_SETTING") == before
    assert seen_by_c("SG_SETTING") == os.environ.get("SG_SETTING") == before


def test_it_ends_with_an_error():
    with pytest.raises(OSError, match="not loaded"), set_for_c({"SG_SETTING": "new"}):
        raise OSError("not loaded")
    assert seen_by_c("SG_SETTING") is None


def test_one_thread_after_the_other():
    seen = []

    def set_it(value):
        for _ in range(200):
            with set_for_c({"SG_SETTING": value}):
                seen.append((value, seen_by_c("SG_SETTING")))

    threads = [threading.Thread(target=set_it, args=(value,)) for value in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(mine == value for mine, value in seen) and len(seen) == 600


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system does not fork")
def test_a_child_finds_nothing_set_and_sets_it_itself():
    """Also a child that is forked while another thread has a variable set."""
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with set_for_c({"SG_SETTING": "new"}):
            inside.set()
            leave.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    inside.wait()
    threading.Timer(0.2, leave.set).start()
    child = os.fork()
    if child == 0:
        clean = seen_by_c("SG_SETTING") is None
        with set_for_c({"SG_SETTING": "mine"}):
            os._exit(0 if clean and seen_by_c("SG_SETTING") == "mine" else 1)
    _, status = os.waitpid(child, 0)
    holder.join()
    assert status == 0


def test_programs_started_later_see_what_the_user_has(monkeypatch):
    monkeypatch.setenv("SG_SETTING", "user's")
    with set_for_c({"SG_SETTING": "new"}):
        pass
    assert subprocess.run(["env"], capture_output=True, text=True, check=True).stdout.count("SG_SETTING=user's") == 1
