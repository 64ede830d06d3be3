# lecturehall: `make up` runs a fleet, `make test` runs all tests; both install what they need first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PORT ?= 8000
NODES ?= 3
DATA ?= .hall

VENV := .venv
BIN := $(VENV)/bin
# the pip of a fresh venv, told not to ask for anything
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

.PHONY: help up honcho install install-dev install-system install-browser test torture check fast lint format types lock clean
.PHONY: bench bench-peers bench-chart install-compiler

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: install ## install and run a fleet (PORT=8000 NODES=3 DATA=.hall); Ctrl-C ends it
	@exec $(BIN)/hall up --port $(PORT) --nodes $(NODES) --data $(DATA)

honcho: install ## the same processes by the Procfile, all on fixed ports; ends when one of them ends
	@PATH="$(CURDIR)/$(BIN):$$PATH" exec $(BIN)/honcho start

install: $(VENV)/.installed ## what a fleet needs, in .venv
install-dev: $(VENV)/.installed-dev ## what tests, checks and load tests need, in .venv

# Any python3 that is new enough, asked by running it: a name on PATH may be a shim for nothing.
$(BIN)/python:
	@for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$${found:-}" ]; then \
	  echo "lecturehall needs Python 3.11 or newer, and python3 is $$(python3 --version 2>&1 || true)." \
	    "Install one, or name it: make PYTHON=/path/to/python3.12 ..." >&2; exit 1; \
	fi; \
	echo "making $(VENV) with $$("$$found" --version)"; \
	"$$found" -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "python3 cannot make virtual environments here (Debian: apt-get install python3-venv)" >&2; exit 1; }

$(VENV)/.installed: requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing what a fleet needs"
	@$(PIP) --require-hashes -r requirements.txt
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "installing what tests and checks need"
	@$(PIP) --require-hashes -r requirements-dev.txt
	@touch $@

# What the tests use if it is there. Never fails: tests whose tools are missing are skipped and say why.
install-system:
	@missing=""; \
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || missing="$$missing chromium"; \
	command -v node >/dev/null || missing="$$missing nodejs"; \
	command -v npm >/dev/null || missing="$$missing npm"; \
	command -v redis-server >/dev/null || missing="$$missing redis-server"; \
	command -v redis-sentinel >/dev/null || missing="$$missing redis-sentinel"; \
	command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$$missing nginx"; \
	command -v postgres >/dev/null || ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 \
	  || missing="$$missing postgresql"; \
	if [ -z "$$missing" ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing Debian packages:$$missing"; \
	  export DEBIAN_FRONTEND=noninteractive; log=$$(mktemp); \
	  { apt-get update -qq && apt-get install -y -qq --no-install-recommends $$missing; } >"$$log" 2>&1 \
	    || { tail -n 5 "$$log"; echo "LEFT OUT: not all of$$missing could be installed; tests that need them are skipped"; }; \
	  rm -f "$$log"; \
	else \
	  echo "LEFT OUT:$$missing: not installed, and that takes root and apt-get; tests that need them are skipped"; \
	fi

# The stock JavaScript client for tests/browser.
install-browser: install-system
	@if [ ! -f tests/browser/package-lock.json ]; then exit 0; fi; \
	if [ tests/browser/node_modules/.package-lock.json -nt tests/browser/package-lock.json ]; then exit 0; fi; \
	if ! command -v npm >/dev/null; then echo "LEFT OUT: no npm, so no stock JavaScript client"; exit 0; fi; \
	npm ci --prefix tests/browser --ignore-scripts --no-audit --no-fund --loglevel=error \
	  || echo "LEFT OUT: npm could not install the stock JavaScript client; its tests are skipped"

# Two workers, each file on one of them (files share a fleet or a browser; xdist's groups do not work with this pytest).
# -rs tells what was skipped and why, before pytest's own last line.
test: install-dev install-browser ## install all it takes and run every test
	@$(BIN)/python -m pytest -n 2 --dist loadfile -q -rs tests

torture: install-dev ## of the tests only the torture: faults on a whole fleet, judged by the history checker
	@$(BIN)/python -m pytest -q -rs -m torture tests

bench: install-dev install-compiler ## measure (NAMES="delivery joins" QUICK=1) and record in tests/bench/results
	@$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(NAMES)

bench-peers: install-dev install-compiler install-system ## install Socket.IO for Node, measure it and python-socketio beside us
	@npm ci --prefix tests/bench/peers --ignore-scripts --no-audit --no-fund --loglevel=error
	@$(BIN)/python -m tests.bench $(if $(QUICK),--quick) peers_beside

bench-chart: install-dev ## draw docs/benchmarks and the tables of BENCHMARKS.md from what is recorded
	@$(BIN)/python -m tests.bench.chart

# The client of the benchmarks is C; benches that need it are left out where there is no compiler.
install-compiler:
	@if command -v cc >/dev/null || command -v gcc >/dev/null; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev \
	    >/dev/null || echo "LEFT OUT: no C compiler could be installed"; \
	else \
	  echo "LEFT OUT: there is no C compiler, and to install one takes root and apt-get"; \
	fi

fast: install-dev ## the tests that start nothing
	@$(BIN)/python -m pytest -q tests/core tests/conformance

check: format-check lint types fast ## what must pass before every commit

lint: install-dev ## ruff, and the import rule (.importlinter)
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports

.PHONY: format-check
format-check: install-dev
	@$(BIN)/ruff format --check .

format: install-dev ## put all files into their format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

types: install-dev ## mypy --strict on the product's folders
	@$(BIN)/mypy

# uv.lock is a by-product that git ignores: it holds addresses, the exported files hold names and hashes only.
lock: $(BIN)/python ## make the hashed requirements anew from pyproject.toml
	@$(PIP) uv
	@$(BIN)/uv lock --quiet --upgrade
	@$(BIN)/uv export --quiet --frozen --no-dev --group build $(EXPORT) --output-file requirements.txt >/dev/null
	@$(BIN)/uv export --quiet --frozen --group dev $(EXPORT) --output-file requirements-dev.txt >/dev/null
	@! grep -nE '://|@|^-' requirements.txt requirements-dev.txt

EXPORT := --format requirements-txt --no-emit-project --no-header --no-annotate

clean: ## remove what was installed and made here, but not the data of fleets (.hall)
	rm -rf $(VENV) tests/browser/node_modules tests/bench/peers/node_modules .hall/bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf dist htmlcov reports .coverage uv.lock
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
