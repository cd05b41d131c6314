"""The version of symgraph that is installed; of a copy that is not, nobody knows it."""

from importlib import metadata

try:
    __version__ = metadata.version("symgraph")
except metadata.PackageNotFoundError:
    __version__ = "0+unknown"
