"""The digits example learns to read, and reports what it did."""

import importlib.util
import re
from pathlib import Path

import pytest

import symgraph as sg

pytest.importorskip("sklearn", reason="the demo extra is not installed")
pytest.importorskip("tqdm", reason="the demo extra is not installed")

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.py"


@pytest.fixture
def digits(monkeypatch):
    """The example as a module; `sg.config.floatX`, which it sets, is put back after the test."""
    monkeypatch.setattr(sg.config, "floatX", sg.config.floatX)
    spec = importlib.util.spec_from_file_location("digits_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("floatX", ["float32", "float64"])
def test_it_reads_97_of_100_digits(digits, floatX, capsys):
    accuracy = digits.main(["--floatX", floatX])
    assert accuracy >= 0.97          # plain numpy reaches 0.978 or more with each of the seeds 0 to 19

    report = capsys.readouterr().out
    right, held_out = map(int, re.search(r"\((\d+) of (\d+) held-out digits\)", report).groups())
    assert (right / held_out, held_out) == (accuracy, 360)      # a fifth of 1,797, rounded up
    assert re.search(r"^speed +[\d,]+ steps a second$", report, re.MULTILINE)
    assert re.search(r"^compiling +[\d.]+ ms", report, re.MULTILINE)
    path = re.search(r"^C +(\S.*)$", report, re.MULTILINE)[1]
    assert "train" in Path(path).read_text(encoding="utf-8")


def test_the_options_are_used(digits, capsys):
    digits.main(["--epochs", "1", "--batch-size", "100", "--seed", "3"])
    assert "14/14" in capsys.readouterr().err                   # 1,437 images make 14 batches of 100


@pytest.mark.parametrize("arguments", [["--batch-size", "0"], ["--batch-size", "2000"], ["--epochs", "0"]])
def test_impossible_options_are_refused(digits, arguments, capsys):
    with pytest.raises(SystemExit):
        digits.main(arguments)
    assert arguments[0] in capsys.readouterr().err.splitlines()[-1]
