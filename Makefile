# The two commands of the README are `make reproduce` and `make test`; everything else is for those who work on attnlab.
# PIP_FLAGS is passed to every pip call (an index, a proxy, --no-cache-dir, ...).

PYTHON    ?= python3
PIP_FLAGS ?=
WORKERS   ?= 2
BIN       := .venv/bin
# one BLAS thread in each test process: the processes are the parallelism
PYTEST    := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

.PHONY: install reproduce bench test test-all lint clean

install: $(BIN)/.installed

# torch comes first and alone, so that the pinned build is the one that all other packages see
$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --constraint constraints.txt torch setuptools
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

reproduce: install
	$(BIN)/attnlab reproduce he2025

# some four minutes; the tables of docs/measured/kernels_cpu.md are made with it
bench: install
	$(BIN)/attnlab bench kernels
	$(BIN)/attnlab bench training

test: install
	$(PYTEST)

test-all: install
	$(PYTEST) -m "slow or not slow" --timeout 1800

lint: install
	$(BIN)/ruff check .

clean:
	rm -rf .venv build *.egg-info .pytest_cache .ruff_cache .hypothesis
