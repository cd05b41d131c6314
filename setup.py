"""How to install symgraph: the package of graphs and, beside it, codegen, which turns loop programs into C."""

from pathlib import Path

from setuptools import find_packages, setup

demo = ["scikit-learn", "tqdm"]
test = ["pytest>=8", "pytest-xdist", "mpmath", "scipy"]
dev = ["ruff==0.17.*", "mypy==2.*"]
notebook = ["pygments", "matplotlib"]
bench = ["matplotlib"]

setup(
    name="symgraph",
    version="0.1.0",
    description="Symbolic mathematics on arrays, differentiated, simplified, fused and compiled to readable C",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="the symgraph developers",
    license="MIT",
    packages=find_packages(include=["symgraph*", "codegen*"]),
    package_data={"codegen": ["extension/*.c", "products/*.c"], "symgraph.visual": ["page/*"]},
    python_requires=">=3.11",
    install_requires=["numpy>=2", "sympy", "cffi"],
    extras_require={"demo": demo, "test": test, "dev": dev, "notebook": notebook, "bench": bench},
)
