"""Short programs in Theano's style, as people wrote them, each held to plain numpy."""

from collections import OrderedDict

import numpy as np
import pytest

import symgraph as theano
import symgraph.tensor as T

RNG = np.random.default_rng(42)


def softmax(x):
    e = np.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.fixture
def float32():
    before = theano.config.floatX
    theano.config.floatX = "float32"
    yield
    theano.config.floatX = before


def shared_dataset(data_x, data_y, borrow=True):
    shared_x = theano.shared(np.asarray(data_x, dtype=theano.config.floatX), borrow=borrow)
    shared_y = theano.shared(np.asarray(data_y, dtype=theano.config.floatX), borrow=borrow)
    return shared_x, T.cast(shared_y, "int32")


class LogisticRegression:
    def __init__(self, input, n_in, n_out):
        self.W = theano.shared(value=np.zeros((n_in, n_out), dtype=theano.config.floatX), name="W", borrow=True)
        self.b = theano.shared(value=np.zeros((n_out,), dtype=theano.config.floatX), name="b", borrow=True)
        self.p_y_given_x = T.nnet.softmax(T.dot(input, self.W) + self.b)
        self.y_pred = T.argmax(self.p_y_given_x, axis=1)
        self.params = [self.W, self.b]
        self.input = input

    def negative_log_likelihood(self, y):
        return -T.mean(T.log(self.p_y_given_x)[T.arange(y.shape[0]), y])

    def errors(self, y):
        if y.ndim != self.y_pred.ndim:
            raise TypeError("y should have the same shape as self.y_pred", ("y", y.type, "y_pred", self.y_pred.type))
        if y.dtype.startswith("int"):
            return T.mean(T.neq(self.y_pred, y))
        raise NotImplementedError


def test_logistic_regression_with_minibatches_from_givens():
    data, labels = RNG.normal(size=(50, 6)), RNG.integers(0, 3, 50)
    train_set_x, train_set_y = shared_dataset(data, labels)
    index = T.lscalar()
    x, y = T.matrix("x"), T.ivector("y")
    classifier = LogisticRegression(input=x, n_in=6, n_out=3)
    cost = classifier.negative_log_likelihood(y)
    g_W = T.grad(cost=cost, wrt=classifier.W)
    g_b = T.grad(cost=cost, wrt=classifier.b)
    updates = [(classifier.W, classifier.W - 0.13 * g_W), (classifier.b, classifier.b - 0.13 * g_b)]
    batch_size = 20
    givens = {
        x: train_set_x[index * batch_size : (index + 1) * batch_size],
        y: train_set_y[index * batch_size : (index + 1) * batch_size],
    }
    train_model = theano.function(inputs=[index], outputs=cost, updates=updates, givens=givens)
    test_model = theano.function(inputs=[index], outputs=classifier.errors(y), givens=givens)
    predict_model = theano.function(inputs=[classifier.input], outputs=classifier.y_pred)

    W, b = np.zeros((6, 3)), np.zeros(3)
    for _epoch in range(3):
        for k in range(3):
            rows, wanted = data[20 * k : 20 * k + 20], labels[20 * k : 20 * k + 20]
            p = softmax(rows @ W + b)
            np.testing.assert_allclose(train_model(k), -np.log(p[np.arange(len(rows)), wanted]).mean(), rtol=1e-10)
            delta = (p - np.eye(3)[wanted]) / len(rows)
            W, b = W - 0.13 * rows.T @ delta, b - 0.13 * delta.sum(axis=0)
            np.testing.assert_allclose(classifier.W.get_value(borrow=True), W, rtol=1e-9, atol=1e-12)
            error = (softmax(rows @ W + b).argmax(axis=1) != wanted).mean()
            np.testing.assert_allclose(test_model(k), error, rtol=1e-12)
    np.testing.assert_array_equal(predict_model(data), softmax(data @ W + b).argmax(axis=1))


class HiddenLayer:
    def __init__(self, rng, input, n_in, n_out, W=None, b=None, activation=T.tanh):
        if W is None:
            bound = np.sqrt(6.0 / (n_in + n_out))
            W_values = np.asarray(rng.uniform(low=-bound, high=bound, size=(n_in, n_out)), dtype=theano.config.floatX)
            if activation == theano.tensor.nnet.sigmoid:
                W_values *= 4
            W = theano.shared(value=W_values, name="W", borrow=True)
        if b is None:
            b = theano.shared(value=np.zeros((n_out,), dtype=theano.config.floatX), name="b", borrow=True)
        self.W, self.b = W, b
        lin_output = T.dot(input, self.W) + self.b
        self.output = lin_output if activation is None else activation(lin_output)
        self.params = [self.W, self.b]


def test_multilayer_perceptron_with_weight_decay():
    rng = np.random.RandomState(1234)
    data, labels = RNG.normal(size=(30, 5)), RNG.integers(0, 3, 30).astype("int32")
    x, y = T.matrix("x"), T.ivector("y")
    hidden = HiddenLayer(rng=rng, input=x, n_in=5, n_out=7, activation=T.tanh)
    top = LogisticRegression(input=hidden.output, n_in=7, n_out=3)
    L1 = abs(hidden.W).sum() + abs(top.W).sum()
    L2_sqr = (hidden.W**2).sum() + (top.W**2).sum()
    cost = top.negative_log_likelihood(y) + 0.01 * L1 + 0.001 * L2_sqr
    params = hidden.params + top.params
    gparams = [T.grad(cost, param) for param in params]
    updates = [(param, param - 0.05 * gparam) for param, gparam in zip(params, gparams)]
    train = theano.function(inputs=[x, y], outputs=cost, updates=updates)

    W1, b1, W2, b2 = (p.get_value() for p in params)
    for _ in range(5):
        h = np.tanh(data @ W1 + b1)
        p = softmax(h @ W2 + b2)
        nll = -np.log(p[np.arange(30), labels]).mean()
        penalty = 0.01 * (abs(W1).sum() + abs(W2).sum()) + 0.001 * ((W1**2).sum() + (W2**2).sum())
        np.testing.assert_allclose(train(data, labels), nll + penalty, rtol=1e-10)
        delta = (p - np.eye(3)[labels]) / 30
        back = (delta @ W2.T) * (1 - h**2)
        slope = lambda W: 0.01 * np.sign(W) + 0.002 * W
        W1, W2, b1, b2 = (
            W1 - 0.05 * (data.T @ back + slope(W1)), W2 - 0.05 * (h.T @ delta + slope(W2)),
            b1 - 0.05 * back.sum(axis=0), b2 - 0.05 * delta.sum(axis=0),
        )  # fmt: skip
    for param, expected in zip(params, (W1, b1, W2, b2)):
        np.testing.assert_allclose(param.get_value(), expected, rtol=1e-8, atol=1e-12)


def sgd_momentum(cost, params, lr=0.1, momentum=0.9):
    updates = OrderedDict()
    for param, grad in zip(params, T.grad(cost, params)):
        velocity = theano.shared(np.zeros_like(param.get_value(borrow=True)), broadcastable=param.broadcastable)
        x = momentum * velocity + param - lr * grad
        updates[velocity] = x - param
        updates[param] = x
    return updates


def rmsprop(cost, params, lr=0.01, rho=0.9, epsilon=1e-6):
    updates = []
    for p, g in zip(params, T.grad(cost=cost, wrt=params)):
        acc = theano.shared(p.get_value() * 0.0)
        acc_new = rho * acc + (1 - rho) * g**2
        gradient_scaling = T.sqrt(acc_new + epsilon)
        updates.append((acc, acc_new))
        updates.append((p, p - lr * (g / gradient_scaling)))
    return updates


def adam(cost, params, lr=0.002, b1=0.1, b2=0.001, e=1e-8):
    updates = OrderedDict()
    i = theano.shared(np.asarray(0.0, dtype=theano.config.floatX))
    i_t = i + 1.0
    fix1, fix2 = 1.0 - (1.0 - b1) ** i_t, 1.0 - (1.0 - b2) ** i_t
    lr_t = lr * (T.sqrt(fix2) / fix1)
    for p, g in zip(params, T.grad(cost, params)):
        m, v = theano.shared(p.get_value() * 0.0), theano.shared(p.get_value() * 0.0)
        m_t = (b1 * g) + ((1.0 - b1) * m)
        v_t = (b2 * T.sqr(g)) + ((1.0 - b2) * v)
        updates[m] = m_t
        updates[v] = v_t
        updates[p] = p - (lr_t * (m_t / (T.sqrt(v_t) + e)))
    updates[i] = i_t
    return updates


class Momentum:
    def __init__(self, p): self.v = np.zeros_like(p)

    def step(self, p, g):
        new = 0.9 * self.v + p - 0.1 * g
        self.v = new - p
        return new


class RMSProp:
    def __init__(self, p): self.acc = np.zeros_like(p)

    def step(self, p, g):
        self.acc = 0.9 * self.acc + (1 - 0.9) * g**2
        return p - 0.01 * g / np.sqrt(self.acc + 1e-6)


class Adam:
    def __init__(self, p): self.m, self.v, self.t = np.zeros_like(p), np.zeros_like(p), 0

    def step(self, p, g):
        self.t += 1
        self.m, self.v = 0.1 * g + 0.9 * self.m, 0.001 * g**2 + 0.999 * self.v
        rate = 0.002 * np.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
        return p - rate * self.m / (np.sqrt(self.v) + 1e-8)


@pytest.mark.parametrize("rule, reference", [(sgd_momentum, Momentum), (rmsprop, RMSProp), (adam, Adam)])
def test_update_rules(rule, reference):
    x, Y = T.dmatrix("x"), T.dvector("Y")
    w, b = theano.shared(RNG.normal(size=4), "w"), theano.shared(0.5, "b")
    residual = T.dot(x, w) + b - Y
    cost = T.mean(T.sqr(residual))
    train = theano.function([x, Y], cost, updates=rule(cost, [w, b]), allow_input_downcast=True)
    data, target = RNG.normal(size=(10, 4)), RNG.normal(size=10)
    values = [w.get_value(), b.get_value()]
    rules = [reference(v) for v in values]
    for _ in range(6):
        r = data @ values[0] + values[1] - target
        np.testing.assert_allclose(train(data, target), (r**2).mean(), rtol=1e-9)
        slopes = [2 * data.T @ r / 10, np.float64(2 * r.mean())]
        values = [one.step(v, g) for one, v, g in zip(rules, values, slopes)]
        np.testing.assert_allclose(w.get_value(), values[0], rtol=1e-8)
        np.testing.assert_allclose(b.get_value(), values[1], rtol=1e-8)


def floatX(X):
    return np.asarray(X, dtype=theano.config.floatX)


def init_weights(shape):
    return theano.shared(floatX(RNG.normal(size=shape) * 0.1))


def test_a_modern_net_in_float32(float32):
    X, Y = T.fmatrix(), T.fmatrix()
    w_h, w_o = init_weights((8, 5)), init_weights((5, 3))

    def rectify(X):
        return T.maximum(X, 0.0)

    def softmax_(X):
        e_x = T.exp(X - X.max(axis=1).dimshuffle(0, "x"))
        return e_x / e_x.sum(axis=1).dimshuffle(0, "x")

    py_x = softmax_(T.dot(rectify(T.dot(X, w_h)), w_o))
    y_x = T.argmax(py_x, axis=1)
    cost = T.mean(T.nnet.categorical_crossentropy(py_x, Y))
    params = [w_h, w_o]
    grads = T.grad(cost=cost, wrt=params)
    updates = [[p, p - g * 0.05] for p, g in zip(params, grads)]
    train = theano.function(inputs=[X, Y], outputs=cost, updates=updates, allow_input_downcast=True)
    predict = theano.function(inputs=[X], outputs=y_x, allow_input_downcast=True)

    data, labels = RNG.normal(size=(12, 8)), np.eye(3)[RNG.integers(0, 3, 12)]
    W, V = (p.get_value().astype("float64") for p in params)
    for _ in range(4):
        h = np.maximum(data @ W, 0)
        p = softmax(h @ V)
        value = train(data, labels)
        assert value.dtype == "float32"
        np.testing.assert_allclose(value, -(labels * np.log(p)).sum(axis=1).mean(), rtol=2e-5)
        delta = (p - labels) / 12
        V, W = V - 0.05 * h.T @ delta, W - 0.05 * data.T @ ((delta @ V.T) * (h > 0))
        np.testing.assert_allclose(w_h.get_value(), W, rtol=1e-4, atol=1e-6)
        assert w_h.get_value().dtype == "float32"
    np.testing.assert_array_equal(predict(data), softmax(np.maximum(data @ W, 0) @ V).argmax(axis=1))


def test_denoising_autoencoder_with_tied_weights():
    x = T.matrix(name="input")
    W = theano.shared(value=RNG.normal(size=(6, 4)), name="W", borrow=True)
    bvis, bhid = theano.shared(np.zeros(6), borrow=True), theano.shared(value=np.zeros(4), name="b", borrow=True)
    mask = T.matrix("mask")
    y = T.nnet.sigmoid(T.dot(mask * x, W) + bhid)
    z = T.nnet.sigmoid(T.dot(y, W.T) + bvis)
    L = -T.sum(x * T.log(z) + (1 - x) * T.log(1 - z), axis=1)
    cost = T.mean(L)
    params = [W, bhid, bvis]
    updates = [(param, param - 0.1 * gparam) for param, gparam in zip(params, T.grad(cost, params))]
    train_da = theano.function([x, mask], cost, updates=updates)

    data, kept = RNG.random((9, 6)), RNG.integers(0, 2, (9, 6)).astype("float64")
    w, h0, v0 = (p.get_value() for p in params)
    for _ in range(4):
        a = kept * data
        h = sigmoid(a @ w + h0)
        out = sigmoid(h @ w.T + v0)
        expected = -(data * np.log(out) + (1 - data) * np.log(1 - out)).sum(axis=1).mean()
        np.testing.assert_allclose(train_da(data, kept), expected, rtol=1e-10)
        delta = (out - data) / 9
        back = (delta @ w) * h * (1 - h)
        w, h0, v0 = w - 0.1 * (a.T @ back + delta.T @ h), h0 - 0.1 * back.sum(0), v0 - 0.1 * delta.sum(0)
        np.testing.assert_allclose(W.get_value(), w, rtol=1e-8)


def test_the_functions_of_nnet():
    x = T.dmatrix("x")
    t = T.lvector("t")
    p = T.nnet.softmax(x)
    one_hot = T.one_hot(t, 4)
    outputs = [
        T.nnet.sigmoid(x), T.nnet.softplus(x), T.nnet.relu(x), T.nnet.relu(x, 0.1), p, T.nnet.hard_sigmoid(x),
        T.nnet.categorical_crossentropy(p, t), T.nnet.categorical_crossentropy(p, one_hot),
        T.nnet.binary_crossentropy(T.nnet.sigmoid(x), 0.25), T.nnet.elu(x), T.nnet.ultra_fast_sigmoid(x) * 0,
    ]  # fmt: skip
    X, labels = RNG.normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    s, q = sigmoid(X), softmax(X)
    picked = -np.log(q[np.arange(5), labels])
    expected = [
        s, np.log1p(np.exp(X)), np.maximum(X, 0), np.where(X > 0, X, 0.1 * X), q, np.clip(0.2 * X + 0.5, 0, 1),
        picked, picked, -(0.25 * np.log(s) + 0.75 * np.log(1 - s)), np.where(X > 0, X, np.expm1(X)), X * 0,
    ]  # fmt: skip
    for value, right in zip(theano.function([x, t], outputs)(X, labels), expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10, atol=1e-12)


def test_lookup_tables_updated_in_place():
    vocabulary, dimension = 12, 3
    start = RNG.normal(size=(vocabulary, dimension))
    embeddings = theano.shared(start.copy(), name="embeddings")
    idxs = T.imatrix()
    context = embeddings[idxs].reshape((idxs.shape[0], dimension * idxs.shape[1]))
    cost = T.sum(context**2)
    normalize = theano.function(
        inputs=[],
        updates={embeddings: embeddings / T.sqrt((embeddings**2).sum(axis=1)).dimshuffle(0, "x")},
    )
    sgd = OrderedDict([(embeddings, embeddings - 0.1 * T.grad(cost, embeddings))])
    step = theano.function([idxs], cost, updates=sgd)
    subset = embeddings[idxs[0]]
    moved = T.inc_subtensor(subset, -0.5 * T.grad(T.sum(subset**3), subset))
    sparse = theano.function([idxs], updates=[(embeddings, moved)])
    reset = theano.function([], updates=[(embeddings, T.set_subtensor(embeddings[0, :], 0.0))])

    table, words = start.copy(), np.array([[1, 4], [4, 4], [11, 0]], "int32")
    for _ in range(3):
        np.testing.assert_allclose(step(words), (table[words] ** 2).sum(), rtol=1e-12)
        slope = np.zeros_like(table)
        np.add.at(slope, words, 2 * table[words])
        table = table - 0.1 * slope
        np.testing.assert_allclose(embeddings.get_value(), table, rtol=1e-12)
    sparse(words)
    picked = table[words[0]]
    np.add.at(table, words[0], -1.5 * picked**2)
    np.testing.assert_allclose(embeddings.get_value(), table, rtol=1e-12)
    normalize()
    table /= np.sqrt((table**2).sum(axis=1))[:, None]
    np.testing.assert_allclose(embeddings.get_value(), table, rtol=1e-12)
    reset()
    table[0] = 0
    np.testing.assert_allclose(embeddings.get_value(), table, rtol=1e-12)


def test_an_unrolled_recurrent_network():
    n_hidden, steps = 4, 6
    u, t = T.matrix(), T.vector()
    h = h0 = theano.shared(np.zeros(n_hidden), name="h0")
    W, W_in = theano.shared(RNG.normal(size=(4, 4)) * 0.4, "W"), theano.shared(RNG.normal(size=(2, 4)), "W_in")
    W_out = theano.shared(RNG.normal(size=4), "W_out")
    outputs = []
    for k in range(steps):
        h = T.tanh(T.dot(u[k], W_in) + T.dot(h, W))
        outputs.append(T.dot(h, W_out))
    y = T.stack(outputs)
    error = ((y - t) ** 2).sum()
    gW, gW_in, gW_out, gh0 = T.grad(error, [W, W_in, W_out, h0])
    fn = theano.function([u, t], [error, gW, gW_in, gW_out, gh0], updates={W: W - 0.01 * gW})

    U, target = RNG.normal(size=(steps, 2)), RNG.normal(size=steps)
    w, w_in, w_out = W.get_value(), W_in.get_value(), W_out.get_value()
    states = [np.zeros(4)]
    for row in U:
        states.append(np.tanh(row @ w_in + states[-1] @ w))
    out = np.array(states[1:]) @ w_out
    d_w, d_in, back = np.zeros_like(w), np.zeros_like(w_in), np.zeros(4)
    for k in reversed(range(steps)):
        delta = (back + 2 * (out[k] - target[k]) * w_out) * (1 - states[k + 1] ** 2)
        d_w, d_in, back = d_w + np.outer(states[k], delta), d_in + np.outer(U[k], delta), w @ delta
    results = fn(U, target)
    expected = [((out - target) ** 2).sum(), d_w, d_in, 2 * (out - target) @ np.array(states[1:]), back]
    for value, right in zip(results, expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-10)
    np.testing.assert_allclose(W.get_value(), w - 0.01 * d_w, rtol=1e-10)


def test_clipped_gradients_and_norms():
    x, w = T.vector("x"), theano.shared(RNG.normal(size=5) * 10, "w")
    cost = T.sum(T.exp(w * x)) / x.shape[0]
    g = T.grad(cost, w)
    norm = T.sqrt(T.sum(T.sqr(g)))
    scaled = T.switch(T.ge(norm, 1.0), g * 1.0 / norm, g)
    clipped = theano.tensor.clip(g, -0.5, 0.5)
    safe = T.switch(T.or_(T.isnan(norm), T.isinf(norm)), 0.1 * w, scaled)
    f = theano.function([x], [norm, scaled, clipped, safe, T.abs_(g).max(), T.neq(clipped, g).sum()])
    W = w.get_value()
    for X in (RNG.normal(size=5) * 0.01, np.ones(5), np.full(5, 1e4)):
        with np.errstate(all="ignore"):
            slope = X * np.exp(W * X) / 5
            size = np.sqrt((slope**2).sum())
            expected = [
                size, slope / size if size >= 1 else slope, np.clip(slope, -0.5, 0.5),
                0.1 * W if not np.isfinite(size) else slope / size if size >= 1 else slope,
                abs(slope).max(), (np.clip(slope, -0.5, 0.5) != slope).sum(),
            ]  # fmt: skip
        for value, right in zip(f(X), expected, strict=True):
            np.testing.assert_allclose(value, right, rtol=1e-9, atol=1e-300)


def test_tensor_types_and_broadcastable_patterns():
    dtensor5 = T.TensorType("float64", (False,) * 5)
    x = dtensor5("x")
    row = T.TensorType("float64", (True, False))("row")
    col = T.col("col")
    assert x.ndim == 5 and row.broadcastable == (True, False) and col.broadcastable == (False, True)
    assert x.type == dtensor5 and row.type.dtype == "float64"
    f = theano.function([x, row, col], [x.sum(axis=(1, 3)).dimshuffle(2, 0, 1), row + col, x.flatten(2).shape])
    X, R, C = RNG.normal(size=(2, 3, 4, 2, 3)), RNG.normal(size=(1, 3)), RNG.normal(size=(2, 1))
    sums, added, shape = f(X, R, C)
    np.testing.assert_allclose(sums, X.sum(axis=(1, 3)).transpose(2, 0, 1))
    np.testing.assert_allclose(added, R + C)
    np.testing.assert_array_equal(shape, [2, 72])


def test_accumulators_and_defaults_from_the_tutorial():
    state, inc = theano.shared(0), T.iscalar("inc")
    accumulator = theano.function([inc], state, updates=[(state, state + inc)])
    decrementor = theano.function([inc], state, updates=[(state, state - inc)])
    assert accumulator(1) == 0 and state.get_value() == 1
    assert accumulator(300) == 1 and decrementor(2) == 301 and state.get_value() == 299
    foo = T.scalar(dtype=state.dtype)
    skip_shared = theano.function([inc, foo], state * 2 + inc, givens=[(state, foo)])
    assert skip_shared(1, 3) == 7 and state.get_value() == 299
    x, y, w = T.dscalars("x", "y", "w")
    f = theano.function([x, theano.In(y, value=1), theano.In(w, value=2, name="w_by_name")], (x + y) * w)
    assert f(33) == 68 and f(33, 2) == 70 and f(33, 0, 1) == 33 and f(33, w_by_name=1) == 34
    a, b = T.dmatrices("a", "b")
    diff = a - b
    g = theano.function([a, b], [diff, abs(diff), diff**2])
    expected = [[1, 0], [-1, -2]], [[1, 0], [1, 2]], [[1, 0], [1, 4]]
    for value, right in zip(g([[1, 1], [1, 1]], [[0, 1], [2, 3]]), expected, strict=True):
        np.testing.assert_array_equal(value, right)
    s = 1 / (1 + T.exp(-a))
    ds = theano.function([a], T.grad(T.sum(s), a))
    np.testing.assert_allclose(ds([[0, 1], [-1, -2]]), [[0.25, 0.19661193], [0.19661193, 0.10499359]], atol=1e-8)


def test_the_logistic_example_of_the_documentation():
    N, feats, training_steps = 40, 10, 50
    D = (RNG.normal(size=(N, feats)), RNG.integers(size=N, low=0, high=2))
    x, y = T.dmatrix("x"), T.dvector("y")
    w = theano.shared(RNG.normal(size=feats), name="w")
    b = theano.shared(0.0, name="b")
    p_1 = 1 / (1 + T.exp(-T.dot(x, w) - b))
    prediction = p_1 > 0.5
    xent = -y * T.log(p_1) - (1 - y) * T.log(1 - p_1)
    cost = xent.mean() + 0.01 * (w**2).sum()
    gw, gb = T.grad(cost, [w, b])
    train = theano.function(
        inputs=[x, y], outputs=[prediction, xent], updates=((w, w - 0.1 * gw), (b, b - 0.1 * gb))
    )
    predict = theano.function(inputs=[x], outputs=prediction)
    W, B = w.get_value(), 0.0
    for _ in range(training_steps):
        p = sigmoid(D[0] @ W + B)
        pred, err = train(D[0], D[1])
        np.testing.assert_array_equal(pred, p > 0.5)
        np.testing.assert_allclose(err, -np.where(D[1], np.log(p), np.log(1 - p)), rtol=1e-8)
        W, B = W - 0.1 * (D[0].T @ (p - D[1]) / N + 0.02 * W), B - 0.1 * (p - D[1]).mean()
    np.testing.assert_allclose(w.get_value(), W, rtol=1e-9)
    np.testing.assert_array_equal(predict(D[0]), sigmoid(D[0] @ W + B) > 0.5)


def test_gradients_with_constants_and_known_gradients():
    x, y = T.dvector("x"), T.dvector("y")
    h = T.tanh(x * y)
    cost = (h**2 * x).sum()
    stopped = T.grad(cost, x, consider_constant=[h])
    known = T.grad(None, [x, y], known_grads=OrderedDict([(h, T.ones_like(h))]))
    nothing = T.grad(x.sum(), y, disconnected_inputs="ignore")
    second = T.grad(T.grad(cost, x).sum(), y)
    f = theano.function([x, y], [stopped, *known, nothing, second])
    X, Y = RNG.normal(size=4), RNG.normal(size=4)
    t = np.tanh(X * Y)
    s = 1 - t**2
    mixed = 2 * t * s * X + 2 * X * (t * s + Y * (s * s - 2 * t * t * s) * X)  # of t**2 + 2 x y t s by y
    expected = [t**2, s * Y, s * X, np.zeros(4), mixed]
    for value, right in zip(f(X, Y), expected, strict=True):
        np.testing.assert_allclose(value, right, rtol=1e-9, atol=1e-12)
