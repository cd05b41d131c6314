"""What `python -m symgraph` can do, one file a command."""
