"""The example that explores the digits network writes one small page with the time of every step."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn", reason="the demo extra is not installed")
pytest.importorskip("tqdm", reason="the demo extra is not installed")

ROOT = Path(__file__).parents[2]


def test_it_writes_a_page_of_the_profiled_training_function(tmp_path):
    path = tmp_path / "train.html"
    script = ROOT / "examples" / "explore.py"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script, path], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert str(path) in done.stdout
    assert path.stat().st_size < 2_000_000
    text = path.read_text(encoding="utf-8")
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S).group(1))
    assert data["name"] == "train" and data["calls"] == 440
    assert data["steps"] and all(step["seconds"] >= 0 and step["counts"] for step in data["steps"])
    assert {"h", "p_y", "cost"} <= {node["name"] for node in data["written"]}
