"""symgraph beside its peers: `python -m benchmarks.compare`, or `make bench`.

programs.py     what is computed: data, a float64 reference, the matrix products in it
workloads.py    which programs are measured, at which sizes
peers/          the same programs in each library, as an expert of it would write them
worker.py       the process of one peer, which builds a workload, checks it and runs it when told to
measure.py      drives the workers in interleaved rounds
limits.py, .c   what the machine can do at most
report.py       the tables and means; plot.py the figure
"""
