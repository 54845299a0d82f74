# From a bare clone, with Python and make only. Two environments: Hypha pins many of its dependencies, so the embedded
# server has one of its own, and the package is tested with what its users get.

PYTHON ?= python3
VENV := .venv
SERVER_VENV := .venv-server
BIN := $(VENV)/bin
PIP_INSTALL := -m pip install --disable-pip-version-check --quiet

# Hypha is at home on Python 3.11; 3.10, 3.12 and 3.13 were tried and do as well.
SERVER_PYTHON ?= $(shell command -v python3.11 >/dev/null 2>&1 && python3.11 -c '' 2>/dev/null && echo python3.11 || echo $(PYTHON))

COVERAGE_FLOOR ?= 85
PYTEST_ARGS ?=
# A worker that dies (a test beyond its deadline ends it) fails the run; a new one might wait for tests for ever.
PYTEST = $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0
SECONDS_OF_SOAK ?= 1800
VERSIONS ?= 3.10 3.12 3.13
# The interpreter of $$version that works: a shim of pyenv may be on the path for one that is not installed.
FIND_PYTHON = for found in python$$version "$$HOME"/.pyenv/versions/$$version*/bin/python$$version; do \
	"$$found" -c "" 2>/dev/null && { echo "$$found"; break; }; done
FILES ?= 300
SIZE ?= 16384

export CLOUDFILES_HYPHA_SERVER_PYTHON := $(CURDIR)/$(SERVER_VENV)/bin/python

.DEFAULT_GOAL := help
.PHONY: help demo examples test coverage test-versions lint docs soak bench clean

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 22

demo: $(VENV)/installed $(SERVER_VENV)/installed  ## put and get generated files on a real Hypha on this machine (FILES=, SIZE=)
	$(BIN)/cloudfiles-hypha demo --files $(FILES) --size $(SIZE)

examples: $(VENV)/installed $(SERVER_VENV)/installed  ## run every script of examples/ on a real Hypha on this machine
	$(BIN)/python examples/run_all.py

test: lint docs $(SERVER_VENV)/installed  ## lint, type-check, build the site, run every test (PYTEST_ARGS=)
	$(PYTEST) $(PYTEST_ARGS)

# Apart from ``test``, as to be watched doubles what the tests ask of the processor.
coverage: $(VENV)/installed $(SERVER_VENV)/installed  ## every test, and which lines none of them reaches (PYTEST_ARGS=)
	$(PYTEST) --cov --cov-report=term --cov-fail-under=$(COVERAGE_FLOOR) $(PYTEST_ARGS)

# Each in an environment of its own, without the embedded server. One that is not installed is skipped, and said so.
test-versions:  ## unit and contract tests on every Python of VERSIONS that is installed (PYTEST_ARGS=)
	@failed=; for version in $(VERSIONS); do \
	    python=$$($(FIND_PYTHON)); \
	    if [ -z "$$python" ]; then echo "make: no Python $$version here; skipped"; continue; fi; \
	    echo "make: Python $$version ($$python)"; \
	    $(MAKE) --no-print-directory test-one VENV=.venv-$$version PYTHON="$$python" || failed="$$failed $$version"; \
	done; \
	if [ -n "$$failed" ]; then echo "make: failed on Python$$failed" >&2; exit 1; fi

.PHONY: test-one
test-one: $(VENV)/installed
	env -u CLOUDFILES_HYPHA_SERVER_PYTHON $(PYTEST) tests/unit tests/contract $(PYTEST_ARGS)

lint: $(VENV)/installed  ## formatting, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/installed-docs  ## the documentation's site, into build/site; what leads nowhere is an error
	$(BIN)/python -m sphinx --builder html --fresh-env --fail-on-warning --keep-going --quiet \
	    --doctree-dir build/doctrees docs build/site
	@echo "make: build/site/index.html"

soak: $(VENV)/installed  ## mixed work on failing servers for half an hour: memory, descriptors, bytes (SECONDS_OF_SOAK=)
	$(BIN)/python -m tests.soak --seconds $(SECONDS_OF_SOAK)

bench: $(VENV)/installed-bench $(SERVER_VENV)/installed  ## measure against other clients (needs nginx)
	$(BIN)/python -m benchmarks.run

clean:  ## remove what make has made
	rm -rf $(VENV) $(SERVER_VENV) $(VERSIONS:%=.venv-%) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "make: $(PYTHON) is not Python 3.10 or newer; name one that is: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps are newer than what says which packages are wanted, so nothing is installed twice.
$(VENV)/installed: setup.py requirements.txt | $(VENV)/bin/python
	$(BIN)/python $(PIP_INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python $(PIP_INSTALL) --editable '.[docs]'
	@touch $@

$(VENV)/installed-bench: $(VENV)/installed
	$(BIN)/python $(PIP_INSTALL) --editable '.[bench]'
	@touch $@

$(SERVER_VENV)/bin/python:
	@$(SERVER_PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || \
	    { echo "make: the embedded server needs Python 3.10 to 3.13: make SERVER_PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(SERVER_PYTHON) -m venv $(SERVER_VENV)

# Only the packages of the extra "server", without this one: their list is in setup.py, and is read from what that made.
$(SERVER_VENV)/installed: $(VENV)/installed | $(SERVER_VENV)/bin/python
	$(BIN)/python -c '$(SERVER_PACKAGES)' > $(SERVER_VENV)/packages.txt
	$(SERVER_VENV)/bin/python $(PIP_INSTALL) --requirement $(SERVER_VENV)/packages.txt
	@touch $@

define SERVER_PACKAGES :=
import importlib.metadata as m; [print(r.split(";")[0]) for r in m.requires("cloudfiles_hypha") if r.endswith("extra == \"server\"")]
endef
