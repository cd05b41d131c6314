"""The programs of benchmarks/compare give what their references say, and the driver and the tables tell the truth."""

import os
import sys
import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.compare.measure import Effort, Measured, measure, start_workers
from benchmarks.compare.peers import PEERS, numpy_peer, symgraph_peer
from benchmarks.compare.programs import PROGRAMS
from benchmarks.compare.report import Live, Needed, Row, duration, markdown, means
from benchmarks.compare.worker import arrays, loop, verdict
from benchmarks.compare.workloads import PRODUCTS, Workload, disagreement, load, save, workloads

ROWS = [*workloads(quick=False), *PRODUCTS]
SMALL = {(w.program, w.dtype, w.bound): w.reduced(7) for w in ROWS}.values()
ADD = next(w for w in ROWS if w.program == "add_one")


def one_call(module, workload, option=""):
    """The verdict over the first call; None where the peer has no such program."""
    call = module.build(workload, option)
    return None if call is None else verdict(workload, call, arrays(call, call.function(*call.args)))


@pytest.mark.parametrize("workload", SMALL, ids=lambda w: f"{w.label} {w.dtype}")
@pytest.mark.parametrize("option", ["", "bound"])
def test_symgraph_computes_what_the_reference_says(workload, option):
    assert not one_call(symgraph_peer, workload, option)


@pytest.mark.parametrize("workload", SMALL, ids=lambda w: f"{w.label} {w.dtype}")
def test_numpy_computes_what_the_reference_says(workload):
    assert not one_call(numpy_peer, workload)


def test_every_program_is_measured_under_a_name_of_its_own():
    assert len({w.label for w in ROWS}) == len(ROWS)
    assert {w.program for w in ROWS} == set(PROGRAMS)
    assert {w.label for w in workloads(quick=True)} < {w.label for w in ROWS}


def test_what_must_be_moved_and_done():
    [product] = [w for w in PRODUCTS if w.sizes["m"] == 256]
    small = replace(product, sizes={"m": 2, "k": 3, "n": 5})
    assert (small.read, small.written, small.operations) == (4 * (2 * 3 + 3 * 5), 4 * 2 * 5, 2 * 2 * 3 * 5)


def test_a_step_counts_its_state_as_read_and_as_written():
    step = next(w for w in ROWS if w.program == "logistic").reduced(4)
    weights = 4 * (4 * 4 + 4)
    assert (step.read, step.written) == (weights + 4 * 16 + 8 * 4, weights + 4)


def test_arrays_come_back_from_the_file(tmp_path):
    workload = next(w for w in ROWS if w.program == "tanh_mlp").reduced(5)
    save(workload, tmp_path / "data.npz")
    loaded = load(replace(workload), tmp_path / "data.npz")
    for before, after in ((workload.data, loaded.data), (workload.expected, loaded.expected)):
        for x, y in ((before.arrays, after.arrays), (before.state, after.state)):
            assert list(x) == list(y)
            assert all(np.array_equal(x[name], y[name]) and x[name].dtype == y[name].dtype for name in x)


@pytest.mark.parametrize("found, fault", [
    (np.array([1.0, 2.0]), None),
    (np.array([1.0, 2.0 + 1e-9]), None),
    (np.array([1.0, 2.1]), "off by 5.0e-02"),
    (np.array([1.0, np.nan]), "off by nan"),
    (np.array([1.0, np.inf]), "off by inf"),
    (np.array([[1.0, 2.0]]), "the shape is (1, 2), not (2,)"),
])
def test_a_wrong_result_is_found(found, fault):
    told = disagreement(found, np.array([1.0, 2.0]), 1e-8)
    assert told is None if fault is None else told.startswith(fault)


def test_the_timed_loop_makes_the_calls_it_is_told():
    calls = []
    call = replace(numpy_peer.build(ADD, ""), function=lambda *args: calls.append(args), args=(1, 2))
    assert loop(call)(5) >= 0
    assert calls == [(1, 2)] * 5


@pytest.mark.parametrize("repeats, made", [(3, 4), (100, 1)])
def test_what_c_repeats_is_called_less_often(repeats, made):
    calls = []
    work = lambda: calls.append(time.sleep(0.001))
    call = replace(numpy_peer.build(ADD, ""), function=work, args=(), repeats=repeats)
    assert loop(call)(12) >= 0.001 * 12 / repeats
    assert len(calls) == made


def row(workload=ADD, **times):
    """A row in which each peer took so many seconds."""
    measured = {name: Measured(cold=0.1, times=[t] * 3, memory=10**6, moved=128) for name, t in times.items()}
    return Row(workload, Needed(32, 32, 0), measured)


def test_ratios_are_to_the_best_peer():
    r = row(symgraph=2e-6, bound=1e-6, numpy=8e-6, jax=4e-6, limit=1e-6)
    assert r.best() == ("jax", 4e-6)
    assert (r.lead(), r.lead(bound=True), r.lead(["numpy", "torch"])) == (2.0, 4.0, 4.0)
    assert (r.share, r.traffic) == (0.5, 2.0)
    assert row(symgraph=1e-6).lead() is None


def test_a_bound_row_is_about_the_bound_form():
    r = row(replace(ADD, bound=True), bound=1e-6, numpy=3e-6)
    assert r.own == 1e-6
    assert r.lead() == pytest.approx(3)


def test_the_limit_is_of_bytes_or_of_operations_whichever_takes_longer():
    r = replace(row(symgraph=1e-3, limit=1e-4), needed=Needed(1, 1, 10**6), rate=2e9)
    assert r.limit == pytest.approx(5e-4)


def test_means_are_geometric():
    told = {what: mean for what, _, mean in means([row(symgraph=1e-6, jax=2e-6), row(symgraph=1e-6, numpy=8e-6)])}
    assert told["than the best peer of each"] == "4.00"
    assert told["than the best of JAX, torch and PyTensor"] == "2.00"


def test_a_row_with_a_wrong_result_is_refused(capsys):
    wrong = row(symgraph=1e-6, numpy=2e-6)
    wrong.measured["symgraph"].wrong, wrong.measured["symgraph"].failed = True, "result 0: off by 1"
    Live(["symgraph", "numpy"], 20).show(wrong)
    text = markdown([wrong, row(symgraph=1e-6, numpy=3e-6)], ["symgraph", "numpy"], "title", [])
    assert "REFUSED: symgraph: result 0: off by 1" in capsys.readouterr().out
    assert text.count("2.00 µs") == 0 and text.count("3.00 µs") == 1
    assert "* calls/x + 1, 4 elements: symgraph: result 0: off by 1" in text


@pytest.mark.parametrize("failed, raised, word", [
    ("result 0: off by 1", False, "wrong"), ("RecursionError: too deep", True, "failed"),
])
def test_a_peer_with_a_wrong_result_or_none_has_no_time(capsys, failed, raised, word):
    r = row(symgraph=1e-6, numpy=2e-6)
    r.measured["jax"] = Measured(failed=failed, wrong=True, raised=raised)
    Live(["symgraph", "numpy", "jax"], 20).show(r)
    shown = capsys.readouterr().out
    assert f"jax: {failed}" in shown and word in shown.split()
    assert r.best() == ("numpy", 2e-6)


def test_tables_are_markdown():
    lines = markdown([row(symgraph=1e-6, numpy=2e-6)], ["symgraph", "numpy"], "title", ["a remark"]).splitlines()
    assert lines[:3] == ["# title", "", "* a remark"]
    tables = [line for line in lines if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    assert {line.count("|") for line in tables if "numpy" in line} == {4, 8}


@pytest.mark.parametrize("seconds, text", [
    (None, ""), (2.5, "2.50 s"), (0.0123, "12.3 ms"), (4.56e-4, "456 µs"), (1.2e-7, "120 ns"), (0.0, "0.00 ns"),
])
def test_durations_have_three_digits(seconds, text):
    assert duration(seconds) == text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="workers fork")
def test_workers_measure_in_rounds_and_tell_what_is_wrong(tmp_path):
    chosen = [p for p in PEERS if p.name in ("numpy", "symgraph")]
    absent = replace(chosen[0], name="absent", module="of_nobody")
    workers, missing = start_workers([*chosen, absent], 1, sys.executable, tmp_path)
    try:
        assert [w.peer.name for w in workers] == ["symgraph", "numpy"]
        assert "No module named" in missing["absent"]
        measured = measure(ADD, workers, Effort(rounds=2, limit=60, again=True), tmp_path)
        for m in measured.values():
            assert len(m.times) == 2 and m.time > 0 and not m.failed
            assert m.cold is not None and m.warm is not None and m.memory is not None
        bad = Workload("not there", "calls", "add_one", {"n": -1})
        with pytest.raises(ValueError):
            measure(bad, workers, Effort(rounds=1), tmp_path)
        scalars = next(w for w in ROWS if w.program == "five_scalars" and w.bound)
        assert measure(scalars, workers, Effort(rounds=1), tmp_path) == {}  # neither has it in this form
    finally:
        for worker in workers:
            worker.close()
    assert all(w.process.returncode == 0 for w in workers)
