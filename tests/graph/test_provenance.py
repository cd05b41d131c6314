"""Provenance: each variable knows the user's line."""

import inspect
import linecache
import warnings
from pathlib import Path

import pytest

import symgraph.tensor as T
from symgraph.grad import grad
from symgraph.graph.provenance import Origin, attributed_to, current_origin, warn


def here():
    """The line that calls this."""
    frame = inspect.currentframe().f_back
    return Origin(frame.f_code.co_filename, frame.f_lineno)


def test_inputs_and_expressions_know_their_lines():
    x, at_x = T.dvector("x"), here()
    z, at_z = T.exp(x) + x.sum(), here()
    assert x.origin == at_x and z.origin == at_z
    assert z.owner.inputs[0].origin == at_z  # exp, made on the same line though deep inside symgraph


def test_an_origin_as_text():
    origin = here()
    assert str(origin) == f"{Path(__file__).name}:{origin.line}"
    assert origin.text == "origin = here()"


def test_a_line_of_code_without_a_file():
    names = {}
    exec(compile("import symgraph.tensor as T\n\nx = T.dscalar()", "<prompt>", "exec"), names)
    assert names["x"].origin == Origin("<prompt>", 3)
    assert str(names["x"].origin) == "<prompt>:3" and names["x"].origin.text == ""


def test_a_line_of_a_notebook():
    source = "import symgraph.tensor as T\ny = T.dscalar('y') * 2"
    linecache.cache["<cell 1>"] = (len(source), None, source.splitlines(keepends=True), "<cell 1>")
    names = {"__name__": "__main__"}
    exec(compile(source, "<cell 1>", "exec"), names)
    assert names["y"].origin.text == "y = T.dscalar('y') * 2"


def test_a_gradient_belongs_to_the_line_whose_derivative_it_is():
    x = T.dscalar("x")
    h, at_h = T.tanh(x), here()
    cost = h * h
    g = grad(cost, x)
    assert g.origin == at_h


def test_attribution_ends_with_its_block_also_after_an_error():
    origin = Origin("model.py", 7)
    with attributed_to(origin):
        assert current_origin() == origin and T.dscalar().origin == origin
    with pytest.raises(KeyError), attributed_to(origin):
        raise KeyError
    assert current_origin().filename == __file__


def test_a_warning_points_to_the_user():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn("careful"); at = here()  # noqa: E702
    assert (caught[0].filename, caught[0].lineno, caught[0].category) == (at.filename, at.line, UserWarning)
