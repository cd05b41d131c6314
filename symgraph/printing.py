"""Theano's names for looking at graphs and values, as in `symgraph.printing.Print`. Defines nothing."""
# ruff: noqa: F401

from symgraph.graph.printing import debugprint, pp
from symgraph.ops.debugging import Print
