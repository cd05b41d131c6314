"""The names under `T.nnet`: functions of neural networks. Defines nothing."""
# ruff: noqa: F401

from symgraph.ops.elementary import sigmoid, softplus
from symgraph.ops.elementary import sigmoid as ultra_fast_sigmoid  # Theano's is coarse, for a speed that this one has
from symgraph.ops.nn import (
    binary_crossentropy,
    categorical_crossentropy,
    elu,
    hard_sigmoid,
    leaky_relu,
    log_softmax,
    one_hot,
    relu,
    sigmoid_binary_crossentropy,
    softmax,
    softsign,
)
from symgraph.ops.nn import log_softmax as logsoftmax
