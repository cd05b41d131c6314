"""What a nest does in which loop: hoisting, passes over a row, accumulations, and which loops are vector loops."""

import numpy as np
import pytest

import symgraph as sg
import symgraph.tensor as T
from codegen import ir
from codegen.ahead import asked_ahead
from codegen.visit import expressions, statements

x, y = T.dmatrices("x", "y")
v, w = T.dvectors("v", "w")
a = T.dscalar("a")
rng = np.random.default_rng(0)


def kernel(lowered, inputs, *outputs):
    """The kernel of the one nest of a function, which does a block of it where it is large."""
    lowering = lowered(inputs, outputs)
    (step,) = lowering.steps
    return step.kernels[0]


def loops(body):
    """The nesting of loops: (loops inside, …), an innermost one as 'simd' or 'loop'."""
    found = [s.loop if isinstance(s, ir.Runs) else s for s in body if isinstance(s, (ir.For, ir.Runs))]
    return tuple(loops(s.body) or ("simd" if s.simd else "loop") for s in found)


def operations(body):
    """How often each operation is written."""
    names = [e.name for e in expressions(body) if isinstance(e, ir.Operation)]
    return {name: names.count(name) for name in names}


def stores(body):
    return [s for s in statements(body) if isinstance(s, ir.Store)]


@pytest.mark.parametrize(("inputs", "outputs", "nesting"), [
    ([x], [T.tanh(x)], ("simd",)),                                          # one loop over all elements
    ([x, v], [x * v], (("simd",),)),
    ([x, v], [x * v.dimshuffle(0, "x")], (("simd",),)),
    ([x], [x + 1, x.sum()], ("simd",)),
    ([x], [x.sum(axis=1)], (("simd",),)),
    ([x], [x / x.sum(axis=1, keepdims=True)], (("simd", "simd"),)),         # two passes over each row
    ([x], [T.nnet.softmax(x)], (("simd", "simd", "simd"),)),
    ([x], [x.sum(axis=0)], ("simd", ("simd",))),                            # the sums start as 0
    ([x], [x.T * 1.5], (("simd",),)),
    ([a], [a * 2], ()),
    ([v, w], [T.outer(v, w) * 0.5], (("simd",),)),
])  # fmt: skip
def test_nesting(lowered, inputs, outputs, nesting):
    assert loops(kernel(lowered, inputs, *outputs).body) == nesting


def test_what_does_not_change_is_computed_outside(lowered):
    body = kernel(lowered, [x, v], x * T.erf(v).dimshuffle(0, "x")).body
    (outer,) = [s for s in body if isinstance(s, ir.For)]
    assert operations([s for s in outer.body if not isinstance(s, ir.For)]).get("erf") == 1
    assert "erf" not in operations([s for s in outer.body if isinstance(s, ir.For)])
    bodies = [kernel.body for kernel in lowered([x, a], [x * T.erf(a)]).program.kernels]
    assert sum("erf" in operations([s for s in body if not isinstance(s, ir.For)]) for body in bodies) == 1
    assert not any("erf" in operations([s for s in body if isinstance(s, ir.For)]) for body in bodies)


def test_a_value_used_twice_is_computed_once(lowered):
    h = T.erf(x)
    assert operations(kernel(lowered, [x], h * h + h, h).body)["erf"] == 1


def test_a_value_needed_in_two_passes_is_the_same_in_both(lowered):
    h = T.erf(x)
    f = sg.function([x], h / h.sum(axis=1, keepdims=True))
    X = rng.normal(size=(3, 7))
    expected = sg.function([x], h / h.sum(axis=1, keepdims=True), mode="numpy")(X)
    np.testing.assert_allclose(f(X), expected, rtol=1e-13)


@pytest.mark.parametrize("reduced", [T.sum, T.prod, T.max, T.min, T.mean, T.var, T.any, T.all, T.argmax, T.argmin])
@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("shape", [(3, 4), (1, 4), (3, 1), (1, 1), (33, 65)])
def test_reductions_of_both_layouts(reduced, axis, shape):
    """Along rows, across them, over all, beside the values and of a computed value."""
    z = x > 0 if reduced in (T.any, T.all) else T.sqrt(abs(x)) - 0.5
    outputs = [reduced(z, axis=axis), reduced(z.T, axis=axis), z]
    X = rng.normal(size=shape)
    for got, expected in zip(sg.function([x], outputs)(X), sg.function([x], outputs, mode="numpy")(X), strict=True):
        assert got.dtype == expected.dtype and got.shape == expected.shape
        np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_sums_of_nothing():
    f = sg.function([x], [x.sum(axis=0), x.prod(axis=1), x.sum(), T.any(x > 0, axis=0)])
    assert [value.tolist() for value in f(np.empty((0, 3)))] == [[0, 0, 0], [], 0, [False] * 3]
    assert [value.tolist() for value in f(np.empty((2, 0)))] == [[], [1, 1], 0, []]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("position", [0, 1, 5, 8, None])
def test_nan_and_infinities_in_reductions(dtype, position):
    """The first NaN is the maximum, the minimum and where both are, as in numpy."""
    z = T.TensorType(dtype, (None, None))("z")
    f = sg.function([z], [T.max(z, axis=1), T.min(z, axis=1), T.argmax(z, axis=1), T.argmin(z, axis=1), z.sum(axis=1),
                          T.max(z, axis=0), T.argmin(z, axis=0), T.max(z), T.argmax(z)])  # fmt: skip
    Z = rng.normal(size=(3, 9)).astype(dtype)
    Z[1, 3], Z[1, 4] = np.inf, -np.inf
    Z[2] = -np.inf
    if position is not None:
        Z[0, position] = Z[2, 8] = np.nan
    with np.errstate(invalid="ignore"):
        expected = [Z.max(1), Z.min(1), Z.argmax(1), Z.argmin(1), Z.sum(1), Z.max(0), Z.argmin(0), Z.max(), Z.argmax()]
    for got, value in zip(f(Z), expected, strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-6)


def test_argmax_is_the_first_of_equals():
    Z = np.array([[1.0, 3, 3, 2], [0, 0, 0, 0], [5, 5, 1, 9]])
    f = sg.function([x], [T.argmax(x, axis=1), T.argmin(x, axis=1), T.argmax(x, axis=0), T.argmax(x)])
    for got, expected in zip(f(Z), [Z.argmax(1), Z.argmin(1), Z.argmax(0), Z.argmax()], strict=True):
        np.testing.assert_array_equal(got, expected)


def test_sums_are_accumulated_where_lanes_may(lowered):
    loop = next(s for s in statements(kernel(lowered, [x], x.sum()).body) if isinstance(s, ir.For))
    ((operator, total),) = loop.sums
    assert operator == "+" and loop.body[-1].var == total


def test_a_store_that_every_iteration_repeats_is_no_vector_loop(lowered):
    """Lanes may not all write to one place: the sum of the columns of a transposed matrix writes where it runs."""
    body = kernel(lowered, [x], x.sum(axis=0)).body
    inner = [s for s in statements(body) if isinstance(s, ir.For) and s.simd]
    for loop in inner:
        for store in (s for s in loop.body if isinstance(s, ir.Store)):
            assert loop.index in set(expressions([store]))


@pytest.mark.parametrize("shape", [(2, 3, 4), (1, 3, 1), (2, 1, 4), (0, 3, 4), (2, 0, 4)])
def test_three_axes(shape):
    z = T.dtensor3("z")
    outputs = [z.sum(axis=1), z.sum(axis=(0, 2)), z.mean(axis=2, keepdims=True) - z, z.dimshuffle(2, 0, 1) * 2,
               (z * z.sum(axis=(0, 1))).sum(axis=2), T.exp(z).sum(axis=0)]  # fmt: skip
    Z = rng.normal(size=shape)
    with np.errstate(all="ignore"):
        expected = sg.function([z], outputs, mode="numpy")(Z) if Z.size else None
    for position, got in enumerate(sg.function([z], outputs)(Z)):
        if expected is not None:
            np.testing.assert_allclose(got, expected[position], rtol=1e-12, atol=1e-14)


def test_a_row_is_one_element_in_every_pass():
    """Inputs whose rows have one element, with passes that wait for each other."""
    f = sg.function([x], T.nnet.softmax(x - x.max(axis=1, keepdims=True)))
    np.testing.assert_array_equal(f(np.array([[1.0], [1000.0]])), [[1.0], [1.0]])


def test_expressions_stay_short_enough_to_read(lowered):
    """In a chain of ops that are used once: parts of it get locals. Nothing is computed more often."""
    value = v
    for _ in range(40):
        value = 1 / (1 + value * 0.5)
    body = kernel(lowered, [v], value).body
    longest = max(sum(1 for _ in expressions([s])) for s in statements(body) if isinstance(s, (ir.Declare, ir.Store)))
    assert longest < 40
    assert sum(operations(body).values()) <= 3 * 40



def streamed(body):
    return [s.streamed.buffer.name for s in statements(body) if isinstance(s, ir.Runs) and s.streamed]


def test_what_only_the_caller_reads_may_go_past_the_caches(lowered):
    assert streamed(kernel(lowered, [x, v], x * v).body) == ["output_0"]
    assert streamed(kernel(lowered, [x], x / x.sum(axis=1, keepdims=True)).body) == ["output_0"]
    assert streamed(kernel(lowered, [x], T.nnet.softmax(x)).body) == []  # it keeps the exponentials of a row
    assert streamed(kernel(lowered, [x], x + 1, T.tanh(x)).body) == []  # two streams at once
    assert streamed(kernel(lowered, [x], x.sum(axis=0)).body) == []  # added to
    assert streamed(kernel(lowered, [x, y], x * y, (x * y).sum(axis=0)).body) == ["output_0"]  # beside sums
    assert streamed(kernel(lowered, [x], x.T + 1).body) == ["output_0"]
    small, large = T.TensorType("float64", (1000, 1000))("small"), T.TensorType("float64", (2000, 2000))("large")
    assert streamed(kernel(lowered, [small], small + 1).body) == []
    assert streamed(kernel(lowered, [large], large + 1).body) == ["output_0"]


def ahead(kernel):
    return [s.place.buffer.name for s in statements(asked_ahead(kernel).body) if isinstance(s, ir.Ahead)]


def test_what_a_costly_loop_reads_is_asked_for_ahead(lowered):
    assert ahead(kernel(lowered, [v], T.exp(v))) == ["v"]
    assert ahead(kernel(lowered, [v], T.exp(v).sum())) == ["v"]
    assert ahead(kernel(lowered, [x, v], T.exp(x * v).sum(axis=1))) == ["x"]  # v is read again in each row
    assert ahead(kernel(lowered, [v], v + 1)) == []
    assert ahead(kernel(lowered, [v], T.exp(v), T.log(v))) == []  # it waits for what it writes
    assert ahead(kernel(lowered, [v], T.exp(v[::2]))) == []  # not one element after the other
    small = T.TensorType("float64", (512,))("small")
    assert ahead(kernel(lowered, [small], T.exp(small))) == []


def test_the_second_pass_over_a_row_asks_ahead(lowered):
    assert ahead(kernel(lowered, [x], x - x.sum(axis=1, keepdims=True))) == ["x"]
    assert ahead(kernel(lowered, [x, v], (x * v - x.sum(axis=1, keepdims=True)) / v)) == ["x"]  # v stays in the cache
    assert ahead(kernel(lowered, [x], T.nnet.softmax(x))) == ["x"]  # once, of three passes
    assert ahead(kernel(lowered, [x], x + 1)) == []


def test_what_is_only_added_up_is_asked_for_where_it_is_large(lowered):
    """Not for several arrays, nor where another pass reads it, nor what is known to be small."""
    for total in x.sum(axis=1), x.max(), T.sqr(x).sum():
        (asks,) = [s for s in statements(kernel(lowered, [x], total).body) if isinstance(s, ir.If)]
        assert asks.condition.name == "ge" and isinstance(asks.body[0], ir.Ahead)
    small, large, rows = (T.TensorType("float64", shape)("known") for shape in ((1000,), (1 << 20,), (1 << 15, 32)))
    assert [ahead(kernel(lowered, [known], known.sum())) for known in (small, large)] == [[], ["known"]]
    assert ahead(kernel(lowered, [rows], rows.sum(axis=1))) == []  # one run a row
    assert ahead(kernel(lowered, [x, y], (x * y).sum())) == []
    assert ahead(kernel(lowered, [v], v.sum(), v * 2)) == []


def test_what_a_later_step_reads_and_what_is_updated_stays_in_the_caches(lowered):
    s = sg.shared(np.zeros(3), "s")
    for whole in lowered([x, y], [x + 1, (x + 1) @ y]), lowered([v], [], [(s, s + v)]):
        kernels = [kernel for step in whole.steps for kernel in step.kernels]
        assert kernels and not any(streamed(kernel.body) for kernel in kernels)

p, hill = T.nnet.softmax(x), T.tanh(x) ** 2
ROWS = {
    "softmax": [p],
    "what is made of softmax": [p * (y - (y * p).sum(axis=1, keepdims=True))],
    "softmax and its logarithm": [p, T.log_softmax(x)],
    "two results, kept in the second": [hill.sum(axis=1), hill / hill.sum(axis=1, keepdims=True)],
    "three passes": [hill + hill.max(axis=1, keepdims=True) / (1 + hill.sum(axis=1, keepdims=True))],
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_of_unknown_length_are_kept_in_what_is_written_last(lowered, case):
    """The function is written once, for each element of a row; numbers at the extremes stay what they are."""
    outputs = ROWS[case]
    inputs = [x, y] if "made of" in case else [x]
    made = kernel(lowered, inputs, *outputs)
    counts = operations(made.body)
    assert counts.get("exp", 0) + counts.get("tanh", 0) == 1
    assert not any(isinstance(s, ir.LocalArray) for s in made.body)
    f, reference = sg.function(inputs, outputs), sg.function(inputs, outputs, mode="numpy")
    inf, nan = np.inf, np.nan
    extremes = np.array([[0, 1000, -500], [-inf, -inf, -inf], [inf, 1, 2], [nan, 1, 2], [-inf, 3, 3], [-0.0, 0, 0]])
    for X in (rng.normal(size=(7, 1000)), rng.normal(size=(3, 1)), np.zeros((0, 3)), extremes):
        Y = rng.normal(size=X.shape)
        for got, expected in zip(f(*[X, Y][: len(inputs)]), reference(*[X, Y][: len(inputs)]), strict=True):
            np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-13)


def test_a_row_is_not_kept_where_it_would_be_read(lowered):
    """The memory of a state that is read, of another dtype, or written before the last pass."""
    s = sg.shared(rng.normal(size=(3, 5)), "s")
    e = T.exp(s)
    old = s.get_value()
    f = sg.function([], [s.sum()], updates=[(s, e / e.sum(axis=1, keepdims=True) + s)])
    f()
    np.testing.assert_allclose(s.get_value(), np.exp(old) / np.exp(old).sum(axis=1, keepdims=True) + old, rtol=1e-12)
    e = T.exp(x)
    rounded = (e / e.sum(axis=1, keepdims=True)).astype("float32")
    assert operations(kernel(lowered, [x], rounded).body)["exp"] == 2
    early = T.exp(x) * 2
    late = (e * early.max(axis=1, keepdims=True)).sum(axis=1)
    X = rng.normal(size=(4, 6))
    got = sg.function([x], [early, late])(X)
    np.testing.assert_allclose(got[0], np.exp(X) * 2, rtol=1e-12)
    np.testing.assert_allclose(got[1], (np.exp(X) * (np.exp(X) * 2).max(axis=1, keepdims=True)).sum(axis=1), rtol=1e-12)


def test_what_has_just_been_written_is_not_read_from_memory(lowered):
    (step,) = lowered([x], [p]).steps
    assert str(step.cost.read) == "8*x_0*x_1" == str(step.cost.written)



@pytest.mark.parametrize("shape", [(3, 5), (1 << 11, 1 << 11)])
def test_several_large_results_of_one_row(shape):
    """Each is written past the caches where it is large, by a loop of its own within the row."""
    z, g = T.fmatrices("z", "g")
    u = (z - z.mean(axis=1, keepdims=True)) / T.sqrt(z.var(axis=1, keepdims=True) + 1e-5)
    f = sg.function([z, g], [u, sg.grad((u * g).sum(), z)])
    assert f.c_source.count("sg_stream(") >= 2
    Z, G = rng.normal(size=(2, *shape)).astype("float32")
    centered = Z - Z.mean(axis=1, keepdims=True, dtype="float64")
    scale = 1 / np.sqrt((centered**2).mean(axis=1, keepdims=True) + 1e-5)
    U = centered * scale
    slope = (G - G.mean(axis=1, keepdims=True, dtype="float64") - U * (G * U).mean(axis=1, keepdims=True)) * scale
    for found, expected in zip(f(Z, G), (U, slope), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
