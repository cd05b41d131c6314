"""`python -m symgraph`: each command does what its help says, and says what is wrong and how to mend it."""

import ast
import os
import re
import runpy
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import symgraph as sg
from codegen.cache import Cache
from symgraph.__main__ import COMMANDS, main
from symgraph.commands import doctor, show
from symgraph.commands.sizes import duration, in_bytes, rate

ROOT = Path(__file__).parents[1]

SCRIPT = '''
import sys
import numpy as np
import symgraph as sg
import symgraph.tensor as T

print("the script speaks", sys.argv, __name__)
x = T.dmatrix("x")
W = sg.shared(np.ones((3, 2)), "W")
h = T.tanh(x @ W)
cost = (h ** 2).sum()
step = sg.function([x], cost, updates=[(W, W - 0.1 * sg.grad(cost, W))], name="one_step")
slow = sg.function([x], cost, mode="numpy")
number = 3

class model:
    predict = sg.function([x], h, name="predict")

if __name__ == "__main__":
    late = sg.function([x], h)
    sys.exit("done")
'''


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def call(capsys, *arguments):
    status = main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def subprocess_of(*arguments, **environment):
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    variables = {name: value for name, value in variables.items() if value is not None}
    command = [sys.executable, "-m", "symgraph", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=variables, check=False, timeout=120)


# -- show


def test_show_prints_the_c_and_nothing_else(capsys, script):
    status, out, err = call(capsys, "show", f"{script}:step")
    assert status == 0 and out.startswith("/*") and "int one_step(" in out
    assert f"the script speaks ['{script}'] __shown__" in err and "speaks" not in out


@pytest.mark.parametrize("what, expected", [
    ("c", r"\bvoid compute_cost\b"), ("graph", r"\[id A\]"), ("written", r"^sum\(tanh\(x @ W\)\*\*2\)$"),
    ("latex", r"\\tanh\\left\(x"), ("steps", r"^2\. sg_gemm_f64, call"), ("cost", r"^total +\S"),
    ("explain", r"^Rules that fired$"),
])
def test_show_what(capsys, script, what, expected):
    status, out, _ = call(capsys, "show", f"{script}:step", "--what", what)
    assert status == 0 and re.search(expected, out, re.MULTILINE), out


@pytest.mark.parametrize("what", sorted(show.TEXTS))
def test_a_symbol_is_shown_as_a_function_is(capsys, script, what):
    status, out, _ = call(capsys, "show", f"{script}:cost", "--what", what)
    assert status == 0 and out.strip()


def test_a_symbol_is_written_unless_more_is_asked_for(capsys, script):
    assert call(capsys, "show", f"{script}:cost")[1] == "sum(tanh(x @ W)**2)\n"
    assert call(capsys, "show", f"{script}:W")[1] == "W    # W\n"


def test_show_an_attribute_and_a_function_by_the_name_it_was_given(capsys, script):
    assert "int predict(" in call(capsys, "show", f"{script}:model.predict")[1]
    assert "int one_step(" in call(capsys, "show", f"{script}:one_step")[1]


def test_show_into_a_file(capsys, script, tmp_path):
    path = tmp_path / "step.c"
    status, out, _ = call(capsys, "show", f"{script}:step", "-o", path)
    assert (status, out) == (0, f"{path}\n") and path.read_text().startswith("/*")


def test_show_the_explorer(capsys, script, tmp_path):
    path = tmp_path / "page.html"
    status, out, _ = call(capsys, "show", f"{script}:step", "--what", "explorer", "-o", path)
    assert (status, out) == (0, f"{path}\n") and "<html" in path.read_text()


def test_show_lists_what_there_is(capsys, script):
    status, out, _ = call(capsys, "show", script)
    assert status == 0 and "  step: <one_step(x) -> 1 outputs, 1 updates>\n" in out and "  cost: <" in out
    assert "late" not in out and "number" not in out


def test_blocks_of_main_run_only_when_told_and_their_exit_is_none_of_ours(capsys, script):
    assert call(capsys, "show", f"{script}:late")[0] == 1
    before = sys.modules["__main__"]
    status, out, _ = call(capsys, "show", f"{script}:late", "--main")
    assert status == 0 and "int compute" in out and sys.modules["__main__"] is before


def test_a_script_finds_its_neighbours_and_leaves_no_trace(capsys, tmp_path):
    (tmp_path / "neighbour_of_main.py").write_text("import symgraph.tensor as T\ny = T.dscalar('y')\n")
    (tmp_path / "main.py").write_text("from neighbour_of_main import y\nz = y + 1\n")
    before = sys.argv, list(sys.path)
    assert call(capsys, "show", f"{tmp_path / 'main.py'}:z")[:2] == (0, "y + 1\n")
    assert (sys.argv, sys.path) == before and "__shown__" not in sys.modules
    del sys.modules["neighbour_of_main"]


def test_a_colon_may_be_part_of_the_path(capsys, tmp_path):
    path = tmp_path / "a:b.py"
    path.write_text("import symgraph.tensor as T\ny = T.dscalar('y')\n")
    assert "  y: <y" in call(capsys, "show", path)[1]
    assert call(capsys, "show", f"{path}:y")[1] == "y    # y\n"


@pytest.mark.parametrize("name, message", [
    ("nix", "there is no 'nix' in .*\n.* has these compiled functions\n  step: <one_step"),
    ("model.nix", "there is no 'model.nix'"), ("number", "number is a int, no compiled function or symbol"),
    ("np", "np is a module"), ("slow", 'it was made with mode="numpy", .* so there is no C$'),
])
def test_show_says_what_is_wrong_with_a_name(capsys, script, name, message):
    status, out, err = call(capsys, "show", f"{script}:{name}")
    assert status == 1 and out == "" and re.search(message, err)


def test_show_advises_doctor_where_nothing_can_be_compiled(script):
    done = subprocess_of("show", f"{script}:step", CC="/nowhere/cc")
    assert done.returncode == 1 and "`python -m symgraph doctor` says what is missing" in done.stderr


@pytest.mark.parametrize("options, told", [
    (["-o", "out.txt"], "--output"), (["--what", "graph"], "--what"), (["--what", "c", "-o", "out.txt"], "--what"),
])
def test_show_refuses_options_without_a_name_before_the_script_runs(capsys, script, monkeypatch, options, told):
    monkeypatch.chdir(script.parent)
    status, out, err = call(capsys, "show", script, *options)
    assert (status, out) == (2, "") and f"{told} needs a name, as in {script}:NAME" in err
    assert "the script speaks" not in err and not Path("out.txt").exists()


def test_show_says_what_is_wrong_with_a_script(capsys, tmp_path):
    assert call(capsys, "show", "nowhere.py:f")[2] == "symgraph show: there is no script nowhere.py\n"
    path = tmp_path / "fails.py"
    for text, error in (("1 /\n", "SyntaxError"), ("def f():\n    1 / 0\nf()\n", "ZeroDivisionError")):
        path.write_text(text)
        status, out, err = call(capsys, "show", f"{path}:f")
        assert status == 1 and out == "" and f"{path} fails:\n" in err and error in err and "commands" not in err
    path.write_text("x = 1\n")
    status, out, _ = call(capsys, "show", path)
    assert status == 0 and "no compiled functions" in out and "--main" in out


HOSTILE = ["*/", "</script>", "\n", "\\", '"', "??/", "a" * 10_000, "\u202e", "\ud800", "日本"]


@pytest.mark.parametrize("what", sorted(show.TEXTS))
def test_hostile_names_are_data(capsys, tmp_path, what):
    path = tmp_path / "hostile.py"
    path.write_text(
        "import symgraph.tensor as T\n"
        f"xs = [T.dvector(name) for name in {HOSTILE!a}]\n"
        "total = sum((T.exp(x).sum() for x in xs), T.dscalar('s'))\n"
    )
    status, out, _ = call(capsys, "show", f"{path}:total", "--what", what)
    assert status == 0 and "\u202e" not in out and out.encode("utf-8")


# -- cache


def test_cache(capsys, monkeypatch, tmp_path, script):
    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path / "cache"))
    assert call(capsys, "cache") == (0, f"{tmp_path / 'cache'}: 0 functions, 0 bytes\n", "")
    call(capsys, "show", f"{script}:step")
    for copy in Cache(tmp_path / "cache").directory.glob("blas-*"):
        copy.unlink()
    entries = Cache(tmp_path / "cache").entries()
    status, out, _ = call(capsys, "cache", "list")
    assert status == 0 and len(entries) == len(out.splitlines()) - 2 > 0
    assert all(re.search(rf"^{entry.name} +\d", out, re.MULTILINE) for entry in entries)
    assert re.fullmatch(rf".*: {len(entries)} functions, \d+ kB\n", call(capsys, "cache", "size")[1])
    assert re.fullmatch(rf".*: {len(entries)} functions, \d+ kB removed\n", call(capsys, "cache", "clear")[1])
    assert Cache(tmp_path / "cache").entries() == []


def test_the_copy_of_the_blas_is_told_too(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("SYMGRAPH_CACHE", str(tmp_path))
    copy = tmp_path / "blas-0123456789abcdef.so"
    copy.write_bytes(bytes(25_000_000))
    total = f"{tmp_path}: 0 functions, 0 bytes and 1 copy of a BLAS, 25 MB"
    assert call(capsys, "cache") == (0, f"{total}\n", "")
    assert re.search(rf"^{copy.stem} +25 MB", call(capsys, "cache", "list")[1], re.MULTILINE)
    assert f"\ncache       {total}\n" in call(capsys, "doctor")[1]
    (tmp_path / "blas-notes.txt").touch()
    call(capsys, "cache", "clear")
    assert not copy.exists() and (tmp_path / "blas-notes.txt").exists()


def test_a_cache_that_cannot_be_used_is_refused(capsys, monkeypatch, tmp_path):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("SYMGRAPH_CACHE", str(folder))
    status, out, err = call(capsys, "cache", "clear")
    assert status == 1 and out == "" and "others may write" in err and "chmod go-w" in err


# -- doctor


def test_doctor_of_a_machine_in_order(capsys):
    status, out, _ = call(capsys, "doctor")
    assert status == 0 and out.endswith("\nFunctions are compiled here.\n") and "Missing" not in out
    for what in "symgraph python packages cache compiler BLAS processor measured calls trial".split():
        assert re.search(rf"^{what} +\S", out, re.MULTILINE), what
    assert "-std=c11" in out and "the result is right" in out and re.search(r"numpy \d", out)
    assert re.search(r"memory [\d.]+ GB/s, one core's arithmetic [\d.]+ GFLOP/s", out)


def test_doctor_without_a_compiler_says_what_gets_one():
    done = subprocess_of("doctor", CC="/nowhere/cc")
    assert done.returncode == 1 and done.stdout.endswith("\nFunctions are NOT compiled here.\n")
    assert "\nMissing\n  the compiler asked for, '/nowhere/cc', was not found; correct $CC" in done.stdout
    assert "trial" not in done.stdout and done.stderr == ""
    done = subprocess_of("doctor", CC=None, PATH="/nowhere")
    if done.returncode:  # else ziglang is installed
        assert re.search(r"\nMissing\n  no C compiler was found .*; to get one: ", done.stdout)


def refused_cache(tmp_path, monkeypatch):
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    monkeypatch.setenv("SYMGRAPH_CACHE", str(folder))


def test_doctor_advises_where_the_cache_is_refused_and_functions_compile_all_the_same(capsys, monkeypatch, tmp_path):
    refused_cache(tmp_path, monkeypatch)
    status, out, _ = call(capsys, "doctor")
    advice = r"\nCould be better\n  what is compiled is kept for one process alone: others may write.*chmod go-w"
    assert status == 0 and out.endswith("\nFunctions are compiled here.\n") and "Missing" not in out
    assert re.search(advice, out) and "the result is right" in out
    assert re.search(r"^cache +\S+: until this process ends$", out, re.MULTILINE)
    assert list((tmp_path / "open").iterdir()) == []


def test_doctor_without_any_place_for_compiled_code(capsys, monkeypatch, tmp_path):
    refused_cache(tmp_path, monkeypatch)
    monkeypatch.setattr("tempfile.tempdir", "/proc/nothing")
    status, out, _ = call(capsys, "doctor")
    assert status == 1 and "\nMissing\n  there is no directory for temporary files" in out


def test_doctor_advises_where_the_machine_cannot_be_measured(capsys, monkeypatch):
    def fails(*arguments):
        raise OSError("no clock")
    monkeypatch.setattr(doctor, "measure", fails)
    status, out, _ = call(capsys, "doctor")
    assert status == 0 and "\nCould be better\n  this machine could not be measured: no clock\n" in out


def test_doctor_misses_what_is_useful(capsys, monkeypatch):
    monkeypatch.setattr(doctor, "default_blas", lambda: None)
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in ("sympy", "pygments") else "1.0")
    status, out, _ = call(capsys, "doctor")
    assert status == 0 and "\nCould be better\n" in out
    assert re.search("sympy is missing, which symgraph requires: .*-m pip install sympy\n", out)
    assert re.search(r"pygments is missing \(C in colour.*\): .*-m pip install pygments\n", out)
    assert "no BLAS was found" in out and "-m pip install --force-reinstall" in out


def test_doctor_tells_who_calls(capsys, monkeypatch):
    monkeypatch.setenv("SYMGRAPH_FLAGS", "calls=python")
    assert re.search(r"^calls +by Python, as SYMGRAPH_FLAGS says$", call(capsys, "doctor")[1], re.MULTILINE)
    monkeypatch.delenv("SYMGRAPH_FLAGS")
    monkeypatch.setattr(doctor, "launcher", lambda *args, **kwargs: None)
    monkeypatch.setattr(doctor, "refusal", lambda: "there is no Python.h\nanywhere")
    status, out, _ = call(capsys, "doctor")
    assert status == 0 and "without the extension module: there is no Python.h\n" in out


def test_doctor_tells_wrong_numbers(capsys, monkeypatch):
    monkeypatch.setattr(doctor.Function, "__call__", lambda self, x: x)
    status, out, _ = call(capsys, "doctor")
    assert status == 1 and "gives wrong numbers" in out


def test_doctor_and_setup_require_the_same():
    tree = ast.parse((ROOT / "setup.py").read_text())
    (required,) = [k.value for k in ast.walk(tree) if isinstance(k, ast.keyword) and k.arg == "install_requires"]
    assert {re.match(r"\w+", name)[0] for name in ast.literal_eval(required)} == set(doctor.NEEDED)


# -- all of them


def test_the_version_is_that_of_the_package(capsys, monkeypatch):
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0 and capsys.readouterr().out == f"symgraph {sg.__version__}\n"
    monkeypatch.setattr(metadata, "version", lambda name: {"symgraph": "9.8.7"}[name])
    assert runpy.run_path(ROOT / "symgraph" / "version.py")["__version__"] == "9.8.7"

    def missing(name):
        raise metadata.PackageNotFoundError(name)
    monkeypatch.setattr(metadata, "version", missing)
    assert runpy.run_path(ROOT / "symgraph" / "version.py")["__version__"] == "0+unknown"


def test_help_teaches_by_examples(capsys):
    for arguments in ([], *([name] for name in COMMANDS)):
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--help"])
        assert ended.value.code == 0
        out = capsys.readouterr().out
        assert f"    python -m symgraph {' '.join(arguments)}" in out
        assert all(len(line) <= 100 for line in out.splitlines())


@pytest.mark.parametrize("arguments", ["", "nix", "show", "cache nix", "doctor nix", "show a --nix"])
def test_bad_usage_ends_with_2(capsys, arguments):
    with pytest.raises(SystemExit) as ended:
        main(arguments.split())
    assert ended.value.code == 2 and "usage: python -m symgraph" in capsys.readouterr().err


def test_as_a_program(script):
    done = subprocess_of("show", f"{script}:cost")
    assert (done.returncode, done.stdout) == (0, "sum(tanh(x @ W)**2)\n")


def test_a_pipe_that_is_closed_is_no_error(script):
    command = f"'{sys.executable}' -m symgraph show '{script}:step' | head -1"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, env=environment,
                          check=False, timeout=120)
    assert done.returncode == 0 and "Broken" not in done.stderr and done.stdout.startswith("/*")


@pytest.mark.parametrize("value, text", [
    (0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1 kB"), (1234, "1.2 kB"), (45_600_000, "46 MB"),
    (3e12, "3 TB"),
])
def test_sizes(value, text):
    assert in_bytes(value) == text


@pytest.mark.parametrize("value, text", [
    (2.4e-5, "0.024 ms"), (0.052, "52 ms"), (1, "1 s"), (90, "1.5 min"), (7200, "2 h"), (86400 * 30, "30 days"),
])
def test_durations(value, text):
    assert duration(value) == text
    assert rate(3.8e10, "B") == "38 GB/s" and rate(0, "B") == "0 B/s"
