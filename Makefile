# Every target sets up .venv by itself, with the versions in constraints.txt. Targets that test other versions have
# environments of their own.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST_PYTHON ?= python3.11
LOWEST := .venv-lowest
BARE := .venv-bare
NIGHTLY := .venv-nightly
# Packages whose coming releases break an estimator first.
PRERELEASES := numpy scipy scikit-learn
# One environment for each interpreter: .venv-python3.14 for PYTHON=python3.14.
OTHER := .venv-$(notdir $(PYTHON))
AUDIT := .venv-audit

.DEFAULT_GOAL := help
.PHONY: help demo app test test-all test-lowest test-bare test-nightly test-python check audit docs bench lint house types clean
# Small data deserve one thread, and two workers share the cores.
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# What stands behind the lowest versions is as new as they let it be. On Linux torch's lowest version comes with
# CUDA, 8 GB in all, and does not start without; wheels alone, for old sources need old compilers.
$(LOWEST)/.ready: pyproject.toml .ci/lowest.py
	$(LOWEST_PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --only-binary :all: --constraint $(LOWEST)/constraints.txt --editable '.[test]'
	touch $@

# Versions are free for the packages of PRERELEASES alone. --pre says yes to pre-releases of every package, and the
# constraints hold all others at their releases.
$(NIGHTLY)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(NIGHTLY)
	grep -v -E '^($(subst $() ,|,$(PRERELEASES)))==' constraints.txt > $(NIGHTLY)/constraints.txt
	$(NIGHTLY)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(NIGHTLY)/constraints.txt --editable '.[test]'
	touch $@

$(OTHER)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(OTHER)
	$(OTHER)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

demo: $(READY)  ## denoise scikit-learn's digits: pipeline, search, comparison, image
	$(BIN)/python -m sk_denoise demo

app: $(READY)  ## serve the web app on this machine
	$(BIN)/python -m sk_denoise app

# The marker is chosen here and not in pyproject.toml, so that pytest runs a slow test that it is given by name.
test: $(READY)  ## run the tests and docstrings' examples that are not slow
	$(PYTEST) -m "not slow"

test-all: $(READY)  ## run all tests, docstrings' examples and examples/ with branch coverage
	$(PYTEST) --cov --cov-report=term --junitxml=.test-report.xml

# Old versions warn of what newer ones did, so deprecations tell nothing; the site is built by the newest alone.
test-lowest: $(LOWEST)/.ready  ## run the tests with the lowest versions that pyproject.toml allows; downloads 4 GB
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(LOWEST)/bin/python -m pytest --numprocesses 2 -W ignore::DeprecationWarning --ignore tests/test_site.py

# Upgraded in each run, because pre-releases come and go. A pre-release that the other packages refuse ends the run with
# pip's message. PIP_EXTRA_INDEX_URL may name an index of nightly builds.
test-nightly: $(NIGHTLY)/.ready  ## run the fast tests with pre-releases of numpy, scipy and scikit-learn
	$(NIGHTLY)/bin/python -m pip install --quiet --disable-pip-version-check --pre --upgrade --only-binary :all: --constraint $(NIGHTLY)/constraints.txt $(PRERELEASES)
	$(NIGHTLY)/bin/python -m pip check
	$(NIGHTLY)/bin/python .ci/prereleases.py $(PRERELEASES)
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(NIGHTLY)/bin/python -m pytest --numprocesses 2 -m "not slow"

test-python: $(OTHER)/.ready  ## run the fast tests with another Python: make test-python PYTHON=python3.14
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(OTHER)/bin/python -m pytest --numprocesses 2 -m "not slow"

# A wheel as others get it: without what lies in the checkout, and without extras. build/ would keep deleted files.
test-bare:  ## install the wheel without extras into an empty environment, and try what works there
	rm -rf build $(BARE)
	$(PYTHON) -m venv $(BARE)
	$(BARE)/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir $(BARE) .
	$(BARE)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt $(BARE)/*.whl
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BARE)/bin/python .ci/bare.py

check: lint types test-all  ## what the continuous integration runs
	$(BIN)/python .ci/durations.py .test-report.xml

# pip-audit has packages of its own, which are not among those of the project.
audit: $(READY)  ## known weaknesses of the installed packages; needs a database on the internet
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	$(BIN)/python .ci/audit.py $(AUDIT)/bin/pip-audit

docs: $(READY)  ## build the site with its gallery into docs/_build/html; warnings are errors
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/sphinx-build -W --keep-going -n docs docs/_build/html
	$(BIN)/python docs/check_links.py docs/_build/html

bench: $(READY)  ## speed beside bare torch, skorch and Keras, an hour; run nothing else meanwhile
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/speed.py

lint: $(READY)  ## style, and who may import whom
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python .ci/imports.py
	$(BIN)/python .ci/house.py

house: $(READY)  ## how the house reads: words, names, files, comments
	$(BIN)/python .ci/house.py --list

types: $(READY)  ## static types
	$(BIN)/mypy

clean:  ## remove what the other targets made
	rm -rf $(VENV) $(VENV)-* build dist demo docs/_build docs/gallery docs/api/generated docs/api/backreferences *.egg-info .coverage .test-report.xml .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
