"""The garbage collector is out of the way inside, and as it was afterwards, whatever happens."""

import gc
import os
import threading

import pytest

import symgraph as sg
import symgraph.tensor as T
from symgraph.collector import collector_paused
from symgraph.lower import program
from symgraph.rewrite import pipeline


@pytest.fixture(autouse=True)
def collector():
    was_on = gc.isenabled()
    gc.enable()
    yield
    gc.enable() if was_on else gc.disable()


def test_it_is_off_inside_and_on_again_after_the_outermost():
    with collector_paused():
        with collector_paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_who_has_turned_it_off_keeps_it_off():
    gc.disable()
    with collector_paused():
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_an_error_turns_it_on_again():
    with pytest.raises(ValueError), collector_paused():
        raise ValueError
    assert gc.isenabled()


def test_the_last_of_several_threads_turns_it_on_again():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with collector_paused():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with collector_paused():
        thread.start()
        inside.wait()
    assert not gc.isenabled()
    leave.set()
    thread.join()
    assert gc.isenabled()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_fork_has_it_on_whoever_was_inside_elsewhere():
    inside, leave = threading.Event(), threading.Event()

    def other():
        with collector_paused():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    thread.start()
    inside.wait()
    child = os.fork()
    if child == 0:
        was_on = gc.isenabled()
        with collector_paused():
            pass
        os._exit(0 if was_on and gc.isenabled() else 1)
    leave.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_it_is_off_while_graphs_are_rewritten_and_lowered(monkeypatch):
    states = []

    def noted(function):
        def call(*args, **kwargs):
            states.append(gc.isenabled())
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(pipeline, "apply_book", noted(pipeline.apply_book))
    monkeypatch.setattr(program, "infer_shapes", noted(program.infer_shapes))
    x, y = T.dvectors("x", "y")
    sg.function([x, y], x + y)
    assert len(states) > 1 and not any(states)
    assert gc.isenabled()
