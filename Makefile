# Everything a developer or CI runs. `make` lists the targets.
#
# PYTHON=/path/to/python3.12   the interpreter .venv is made from (3.11 or newer)
# ARGS="-k name"               more arguments for pytest or for the quickstart
# WORKERS=2                    processes that tests run in side by side
# pip takes its index, cache and certificates from its own configuration and environment.

PYTHON ?= python3
ARGS ?=
TABLE ?=
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); [ $$n -lt 4 ] && echo $$n || echo 4)
# Imports and rewritten assertions of tests are kept for the next process, whatever the shell says.
export PYTHONDONTWRITEBYTECODE :=
# The tests of a file stay in one process; files that take minutes begin first.
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

BIN := .venv/bin
STAMP := .venv/.installed
# Two makes in one checkout must not install into .venv at once.
LOCKED := $(if $(shell command -v flock),flock .venv.lock,)

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-all check lint format chaos bench results-check claims proof clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

quickstart: $(STAMP) ## install, then CLTP on the embedded benchmark (minutes, CPU only)
	$(BIN)/python jobs/quickstart.py $(ARGS)

test: $(STAMP) ## install, then all tests
	$(PYTEST) $(ARGS)

test-all: $(STAMP) ## install, then all tests and those that take minutes each
	XLT_LONG=1 $(PYTEST) $(ARGS)

check: $(STAMP) ## lint, types and the quick unit tests, side by side
	@$(MAKE) --no-print-directory --jobs=2 lint quick

.PHONY: quick
quick: $(STAMP)
	$(PYTEST) tests/unit -m "not ray and not slow" $(ARGS)

lint: $(STAMP) ## ruff and pyrefly
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyrefly check --min-severity error

format: $(STAMP) ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

chaos: $(STAMP) ## kill processes, break storage, turn clocks; ends with a table (TABLE=file keeps it)
	XLT_LONG=1 XLT_CHAOS_TABLE=$(TABLE) $(BIN)/python -m pytest -m chaos $(ARGS)

bench: $(STAMP) ## measure beside what else people use (ARGS="--wikiann FOLDER --backbone FOLDER")
	$(BIN)/python -m benchmarks.run $(ARGS)

results-check: $(STAMP) ## list the pages of docs/results that are older than the code they rest on
	$(BIN)/python docs/results/check.py

claims: $(STAMP) ## write docs/claims.md: what the papers claim, and whether it holds here
	$(BIN)/python -m benchmarks.claims page

proof: $(STAMP) ## one claim of each method, in minutes (ARGS="--data FOLDER --backbone FOLDER")
	$(BIN)/python -m benchmarks.claims proof $(ARGS)

clean: ## remove .venv and all caches
	rm -rf .venv .venv.lock .pytest_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last: an interrupted install is taken up again by the next make.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: Python 3.11 or newer is needed, '$(PYTHON)' is: $$($(PYTHON) --version 2>&1)." >&2; \
	  echo "Name another one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: '$(PYTHON)' cannot make virtual environments (ensurepip is missing)." >&2; \
	  echo "On Debian and Ubuntu install the package python3-venv." >&2; exit 1; }
	@$(LOCKED) $(MAKE) --no-print-directory install

.PHONY: install
install:
	@if [ $(STAMP) -nt pyproject.toml ] && [ $(STAMP) -nt constraints.txt ]; then exit 0; fi; \
	set -ex; \
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv; \
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'; \
	touch $(STAMP)
