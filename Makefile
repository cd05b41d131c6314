# From nothing but Python 3.11 or newer, a C compiler and make: each target first sets up what it needs in .venv, and
# bench in .venv-bench.

VENV := .venv
RUN  := $(VENV)/bin/python
TESTS ?= -n auto
BENCH ?= --threads 1
PEERS := scipy numba jax pytensor numexpr casadi
CPU_TORCH := https://download.pytorch.org/whl/cpu
INSTALL = $(RUN) -m pip install --quiet --disable-pip-version-check

usable := import sys, venv, ensurepip; assert sys.version_info >= (3, 11)
names  := python3 python3.14 python3.13 python3.12 python3.11
ifeq ($(origin PYTHON), undefined)
PYTHON := $(or $(shell for p in $(names); do $$p -c '$(usable)' 2>/dev/null && echo $$p && break; done),python3)
endif

# The name of the first stamp holds the version, so that another PYTHON makes a new environment.
version := $(shell $(PYTHON) -c 'import sys; print(sys.version.split()[0])' 2>/dev/null)
made    := $(VENV)/made-with-$(version)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test lint bench clean

help:
	@echo 'make demo     train a network on handwritten digits (examples/digits.py), about a minute the first time'
	@echo 'make test     run the tests; some of them: make test TESTS=tests/examples'
	@echo 'make lint     ruff and mypy'
	@echo 'make bench    symgraph beside its peers, which takes long; some of it: make bench BENCH="--quick --only training"'
	@echo 'make clean    remove .venv, .venv-bench and all that was built'
	@echo
	@echo 'All but clean first set up what they need: in .venv, and bench in .venv-bench.'
	@echo 'Another Python: make test PYTHON=python3.12'

demo: $(VENV)/has-demo
	$(RUN) examples/digits.py

test: $(VENV)/has-demo $(VENV)/has-test
	$(RUN) -m pytest $(TESTS)

lint: $(VENV)/has-dev
	$(RUN) -m ruff check .
	$(RUN) -m mypy

bench:
	@$(MAKE) --no-print-directory VENV=.venv-bench .venv-bench/has-peers
	.venv-bench/bin/python -m benchmarks.compare $(BENCH)

clean:
	rm -rf $(VENV) .venv-bench build *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find codegen symgraph tests examples benchmarks -name __pycache__ -prune -exec rm -rf {} +

$(made):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo 'symgraph needs Python 3.11 or newer, and $(PYTHON) is $(or $(version),not there): install one' \
	         '(Debian, Ubuntu: apt install python3 python3-venv), and give its name if it is another: make PYTHON=python3.12'; \
	    exit 1; } >&2
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo 'symgraph needs the venv module of $(PYTHON), which is missing: install it' \
	         '(Debian, Ubuntu: apt install python3-venv)'; exit 1; } >&2
	@echo 'setting up $(VENV) with Python $(version)'
	@$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/has-%: $(made) setup.py pyproject.toml
	@echo 'installing symgraph[$*] in $(VENV)'
	@$(INSTALL) --editable '.[$*]'
	@touch $@

# Each peer may be missing: what cannot be installed is left out of the table. PyPI's torch for Linux brings gigabytes of
# CUDA, so its own index is asked for the package, and PyPI for what that needs.
$(VENV)/has-peers: $(VENV)/has-bench
	@for peer in $(PEERS) torch; do \
	    echo "installing $$peer in $(VENV)"; \
	    { [ $$peer != torch ] || $(INSTALL) --no-deps --retries 1 --index-url $(CPU_TORCH) torch; } && $(INSTALL) $$peer \
	        || echo "left out: $$peer could not be installed"; \
	done
	@touch $@
