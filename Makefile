# The two commands of the README are `make reproduce` and `make test`; everything else is for those who work on attnlab.
# PIP_FLAGS is passed to every pip call (an index, a proxy, --no-cache-dir, ...).

PYTHON    ?= python3
PIP_FLAGS ?=
WORKERS   ?= 2
BIN       := .venv/bin
# One BLAS thread in each test process: the processes are the parallelism. Compiled modules are kept, since hundreds of tests start
# processes of their own.
PYTEST    := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: install reproduce bench campaign test test-all test-portable test-triton test-site gpu-check sanitize lint types docs clean

install: $(BIN)/.installed

# torch comes first and alone, so that the pinned build is the one that all other packages see
$(BIN)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --constraint constraints.txt torch setuptools
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# `make install EXTRAS=models,topology,cluster` adds extras, whose tests then run instead of being skipped with the reason
EXTRAS ?=
ifneq ($(EXTRAS),)
install: $(BIN)/.installed-$(EXTRAS)
$(BIN)/.installed-$(EXTRAS): $(BIN)/.installed
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --constraint constraints.txt --editable '.[dev,$(EXTRAS)]'
	touch $@
endif

# exit status 3 says that some claims are undecided, which is an answer and no failure
reproduce: install
	$(BIN)/attnlab reproduce he2025 || [ $$? -eq 3 ]

# some four minutes; the tables of docs/measured/kernels_cpu.md are made with it
bench: install
	$(BIN)/attnlab bench kernels
	$(BIN)/attnlab bench training

# the fast tests and one in 120 of the slow ones, which ones the commit's hash chooses; SLOW_SHARE=0 leaves these out
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
SLOW_SHARE ?= 120
test: install
	$(PYTEST) --slow-share $(SLOW_SHARE) --commit "$(COMMIT)"

test-all: install
	$(PYTEST) -m "slow or not slow" --timeout 1800

# the laboratory under faults: kills, damages, shortages, several drivers, a Dask sweep with killed workers, 10^5 records; the
# tables of docs/measured/campaign.md. Twenty minutes on two idle cores.
campaign: install
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --constraint constraints.txt --editable '.[cluster]'
	$(BIN)/python -m tests.campaign.campaign
	$(BIN)/python -m tests.campaign.sweep
	$(BIN)/python -m tests.campaign.scale

# the suite under other instruction sets, libraries, thread counts and loads: all that this machine can, or VARIANTS="zen loaded";
# a slice of the fast tests only with SHARE="--fast-share 6 --commit HASH"
VARIANTS ?=
SHARE    ?=
test-portable: install
	$(BIN)/python tests/portable.py $(VARIANTS) $(if $(SHARE),-- $(SHARE))

# the checks of the Triton code on another version of it, e.g. `make test-triton VERSION=3.9.0`; .venv stays as it is.
# Triton 3.6 interprets loops only with numpy before 2.4.
VERSION ?= 3.7.1
test-triton: install
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --no-deps --upgrade --target .triton/$(VERSION) triton==$(VERSION) \
		$(if $(filter 3.6%,$(VERSION)),numpy==2.3.5)
	PYTHONPATH=.triton/$(VERSION) $(PYTEST) -n 0 -m "slow or not slow" --timeout 1800 tests/kernels/attention/gpu/test_gpu.py

# the documentation: one folder of pages that opens from the disk; every warning is an error
docs: install
	$(BIN)/python -m pip install $(PIP_FLAGS) --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

# the built pages in headless Chromium (Debian's package `chromium`; without it the tests are skipped with the reason)
test-site: docs
	ATTNLAB_SITE=$(CURDIR)/docs/_build/html $(PYTEST) -m slow tests/docs/test_site.py

# at most ten minutes on a CUDA device; writes docs/measured/gpu_check.md and the ratio by which `--device auto` decides
gpu-check: install
	$(BIN)/python tests/gpu_check.py

# all C under AddressSanitizer and UndefinedBehaviorSanitizer (gcc): the tests of the kernels and random calls. The library of C++
# comes with it: without it the sanitizer ends the process where torch throws.
SANITIZED := LD_PRELOAD="$$($${SANITIZED_CC:-cc} -print-file-name=libasan.so) libstdc++.so.6" ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=1 \
	ATTNLAB_CC=$(CURDIR)/tests/kernels/sanitized_cc.sh ATTNLAB_CACHE=$(CURDIR)/.sanitized
sanitize: install
	$(SANITIZED) $(BIN)/python -m pytest -n 0 --timeout 1800 tests/kernels --ignore tests/kernels/attention/test_compiled.py \
		--ignore tests/kernels/compiled --ignore tests/kernels/attention/gpu
	$(SANITIZED) $(BIN)/python tests/kernels/attention/fuzz --cases 2000

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

# the folders are sub-packages of attnlab; the link gives them this name for mypy, too. The test lists public signatures of
# kernels/ and simulators/ that lack an annotation, for which mypy has no setting.
types: install
	mkdir -p build/types && ln -sfn "$(CURDIR)" build/types/attnlab
	$(BIN)/python -m mypy $(addprefix build/types/attnlab/,$(TYPED))
	$(BIN)/python -m pytest -q -p no:cacheprovider tests/test_signatures.py
TYPED ?= theory analysis papers/lab

clean:
	rm -rf .venv .triton .sanitized build docs/_build docs/api docs/examples_executed *.egg-info .pytest_cache .ruff_cache .hypothesis
