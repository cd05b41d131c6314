"""What can be set in a process, and by the environment; misspelt names and values are refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import symgraph as sg
from symgraph.options import THEANOS, Config, Options


def test_a_misspelt_name_is_refused():
    with pytest.raises(AttributeError, match=r"there is no config\.floatx, but there is config\.floatX"):
        sg.config.floatx = "float32"
    with pytest.raises(AttributeError, match=r"there is no config\.floatx"):
        sg.config.floatx
    assert not hasattr(sg.config, "floatx")


@pytest.mark.parametrize("name", THEANOS)
def test_theanos_names_are_taken_and_change_nothing(name):
    config = Config()
    assert getattr(config, name) == THEANOS[name]
    setattr(config, name, "theirs")
    assert (getattr(config, name), config.floatX) == ("theirs", "float64")


def test_theanos_sections_take_any_name():
    config = Config()
    config.gpuarray.preallocate = 0.8
    config.warn.sum_div_dimshuffle_bug = False
    assert config.gpuarray.preallocate == 0.8


@pytest.mark.parametrize("flags, calls", [
    ("calls=python", "python"), ("", "c"), ("floatX=float64, calls = c,", "c"),
    ("device=gpu,gpuarray.preallocate=1", "c"),
])  # fmt: skip
def test_the_flags(monkeypatch, flags, calls):
    monkeypatch.setenv("SYMGRAPH_FLAGS", flags)
    assert Options().calls == calls


@pytest.mark.parametrize("flags, message", [
    ("callz=python", "there is no 'callz' for SYMGRAPH_FLAGS, but there is floatX=… and calls=…"),
    ("calls=pyton", "calls in SYMGRAPH_FLAGS is 'c' or 'python', not 'pyton'"),
    ("floatX=float16", "floatX in SYMGRAPH_FLAGS is 'float32' or 'float64', not 'float16'"),
    ("calls", "calls in SYMGRAPH_FLAGS is 'c' or 'python', not ''"),
])  # fmt: skip
def test_misspelt_flags_are_refused(monkeypatch, flags, message):
    monkeypatch.setenv("SYMGRAPH_FLAGS", flags)
    with pytest.raises(ValueError, match=message):
        Options()


def test_misspelt_flags_are_refused_at_the_import():
    run = subprocess.run(
        [sys.executable, "-c", "import symgraph"], cwd=Path(sg.__file__).parents[1], capture_output=True, text=True,
        env={**os.environ, "SYMGRAPH_FLAGS": "floatx=float32"},
    )  # fmt: skip
    assert run.returncode and "there is no 'floatx' for SYMGRAPH_FLAGS" in run.stderr
