"""The README's Python does what the README says: its blocks run, in order, and give what is printed beside them."""

import doctest
import re
from pathlib import Path

import numpy as np
import pytest

TEXT = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
PROGRAM = [block for block in BLOCKS if ">>>" not in block and "as theano" not in block]
SESSIONS = [block for block in BLOCKS if ">>>" in block]


@pytest.fixture
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_program_runs(in_a_folder, capsys):
    pytest.importorskip("scipy")
    names = {}
    for number, block in enumerate(PROGRAM):
        exec(compile(block, f"<block {number} of the README>", "exec"), names)
    assert "void *workspace" in capsys.readouterr().out
    assert {path.name for path in in_a_folder.iterdir()} == {"train.html", "network.svg"}


def test_the_table_of_values(in_a_folder):
    first = PROGRAM[0].rstrip().rpartition("\n")
    names = {}
    exec(first[0], names)
    rows = re.findall(r"\| \w+ `train\(X, Y\)` \| `\[(.*?)\]` \| `(.*?)` \|", TEXT)
    assert len(rows) == 2
    for predictions, cost in rows:
        found = names["train"](names["X"], names["Y"])
        np.testing.assert_allclose(found[0], [float(p) for p in predictions.split(",")], rtol=1e-7)
        np.testing.assert_allclose(found[1], float(cost), rtol=1e-11)


@pytest.mark.parametrize("session", SESSIONS)
def test_sessions(session):
    names = {}
    exec("import numpy as np, symgraph as sg, symgraph.tensor as T", names)
    test = doctest.DocTestParser().get_doctest(session, names, "README", "README.md", 0)
    assert test.examples
    assert doctest.DocTestRunner().run(test).failed == 0
