"""What all tests share: a compile cache of their own, a C compiler that lets no warning pass, and golden files."""

import difflib
import os
import shlex
import shutil
import tempfile
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parent / "golden"


# But for clang's of what is meant: calls to libm that do not run in lanes, and conditions without a branch.
WARNINGS = "-Wall", "-Wextra", "-Werror", "-Wno-pass-failed", "-Wno-bitwise-instead-of-logical"


def pytest_addoption(parser):
    parser.addoption("--update-golden", action="store_true", help="write the files in tests/golden anew")


def pytest_configure(config):
    """Set up the environment of this run, before symgraph is imported; the workers of one run inherit it."""
    if hasattr(config, "workerinput"):
        return
    folder = tempfile.mkdtemp(prefix="symgraph-tests-")
    settings = {"SYMGRAPH_CACHE": folder}
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler and not os.environ.get("CC"):
        settings["CC"] = " ".join([shlex.quote(compiler), *WARNINGS])
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)

    def clean_up():
        shutil.rmtree(folder, ignore_errors=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    config.add_cleanup(clean_up)


@pytest.fixture
def golden(request):
    """`golden(name, text)`: `text` must equal tests/golden/NAME, which `pytest --update-golden` writes."""
    def check(name, text):
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            return
        assert path.exists(), f"{path} is missing: run pytest --update-golden, then read it"
        expected = path.read_text(encoding="utf-8")
        if text != expected:
            lines = difflib.unified_diff(expected.splitlines(), text.splitlines(), str(path), "now", lineterm="")
            pytest.fail("\n".join([*lines, "if this is right: pytest --update-golden"]), pytrace=False)
    return check
