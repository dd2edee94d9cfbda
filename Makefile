# `make` prints what there is to do. Nothing is needed but python3 (3.11 or newer) and a package index.
# PYTHON=python3.13 chooses the interpreter of a new .venv; ARGS="..." is handed to pytest (test), to the reliability
# tests (torture), to the benchmarks (bench) or to uv (lock).

SHELL := /bin/sh
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(VENV)/bin/uv
BENCH := .bench
JS := tests/clients/js
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help run test test-fast torture test-clients check format migrate revision demo bench bench-quick lock clean

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

run: $(VENV)/.run ## Migrate the database and serve it on http://127.0.0.1:8000
	@exec $(VENV)/bin/broadsheet serve

test: $(VENV)/.dev ## Run all tests, on SQLite and on a PostgreSQL started for the run (ARGS="-k name")
	@$(PY) -m pytest -n 2 --dist worksteal $(ARGS)

test-fast: $(VENV)/.dev ## Run the tests that are not slow; stop at the first failure
	@$(PY) -m pytest -x -m "not slow" $(ARGS)

torture: $(VENV)/.dev ## Run the reliability tests at length and write docs/reliability.md (ARGS="T1 T4 --seed 7")
	@exec $(PY) -m tests.reliability $(ARGS)

test-clients: $(VENV)/.dev ## Run the published clients, Python and JavaScript, against the service on both databases
	@if command -v npm >/dev/null; then $(MAKE) -s $(JS)/node_modules/.installed; \
	else echo "npm is not installed: the JavaScript clients are left out"; fi
	@$(PY) -m pytest tests/clients $(ARGS)

check: $(VENV)/.dev ## Check format, lint, types, schema drift and docs
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(if $(wildcard tests/drift.py),$(PY) -m tests.drift)
	$(if $(wildcard tests/test_docs.py),$(PY) -m pytest -q tests/test_docs.py)

format: $(VENV)/.dev ## Format the code and apply the safe fixes of the linter
	$(PY) -m ruff check --fix-only .
	$(PY) -m ruff format .

migrate: $(VENV)/.run ## Upgrade the database of BROADSHEET_DATABASE_URL to the newest migration
	@exec $(VENV)/bin/broadsheet migrate

revision: $(VENV)/.dev ## Write a migration from the models and try it on both databases (m="add comments")
	@test -n "$$m" || { echo 'usage: make revision m="what changes"' >&2; exit 2; }
	@exec $(PY) -m tests.revision -m "$$m"

demo: $(VENV)/.run ## Fill the database with sample content
	@exec $(VENV)/bin/broadsheet demo

bench: $(VENV)/.dev $(BENCH)/.installed ## Measure the service beside its peers and write docs/performance.md (ARGS="--only one")
	@exec $(PY) -m bench $(ARGS)

bench-quick: $(VENV)/.dev $(BENCH)/.installed ## Run the short form of the benchmarks: do they work
	@exec $(PY) -m bench --quick $(ARGS)

# ---- environment -------------------------------------------------------------------------------------------------
# A stamp file stands for an installed lock, so a second call installs nothing. dev.txt contains all of run.txt at the
# same versions, so .dev satisfies .run. uv is several times faster; where it cannot be had, or cannot reach the index
# that pip is configured for, pip reads the same hashed lock.

install = $(call install-with,$(PY),$(1))
install-with = { $(UV) pip install -q --python $(1) --no-deps $(2) 2>>$(VENV)/uv.log \
	|| { echo "uv could not install (see $(VENV)/uv.log), trying pip"; \
	     $(1) -m pip install -q --disable-pip-version-check --no-deps $(2); }; }

$(VENV)/.run: requirements/run.txt pyproject.toml $(PY)
	@echo "installing what the service needs into $(VENV)"
	@$(call install,--require-hashes -r requirements/run.txt)
	@$(call install,--no-build-isolation -e .)
	@touch $@

$(VENV)/.dev: requirements/dev.txt pyproject.toml $(PY)
	@echo "installing what the service, its tests and its checks need into $(VENV)"
	@$(call install,--require-hashes -r requirements/dev.txt)
	@$(call install,--no-build-isolation -e .)
	@touch $(VENV)/.run $@

$(PY):
	@$(PYTHON) -c "" || { echo "$(PYTHON) does not run: install Python 3.11 or newer, or set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "$(PYTHON) is $$($(PYTHON) -V), but 3.11 or newer is needed: set PYTHON=" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null \
	|| { echo "$(PYTHON) has no venv or ensurepip (on Debian and Ubuntu: apt-get install python3-venv)" >&2; exit 1; }
	@echo "creating $(VENV) with $$($(PYTHON) -V)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes --no-deps -r requirements/uv.txt || true

# The peers of the benchmarks have an environment of their own: the service and its tests never see them.
$(BENCH)/.installed: requirements/bench.txt $(VENV)/.dev
	@echo "installing what the service is compared with into $(BENCH)/venv"
	@test -x $(BENCH)/venv/bin/python || $(PY) -m venv --clear $(BENCH)/venv
	@$(call install-with,$(BENCH)/venv/bin/python,--require-hashes -r requirements/bench.txt)
	@touch $@

# The lock brings a Node of its own, so the clients run on the version that they ask for, whatever the machine has.
$(JS)/node_modules/.installed: $(JS)/package-lock.json $(JS)/package.json $(JS)/.npmrc
	@echo "installing the JavaScript clients into $(JS)/node_modules"
	@npm ci --prefix $(JS) --loglevel=error
	@touch $@

COMPILE = $(UV) pip compile -q $(ARGS) --universal --python-version 3.11 --generate-hashes \
	--no-annotate --no-header --no-emit-index-url --no-emit-find-links

lock: $(VENV)/.dev ## Write requirements/*.txt from pyproject.toml (ARGS=--upgrade for newer versions)
	$(COMPILE) pyproject.toml --group build --group test --group dev -o requirements/dev.txt
	$(COMPILE) pyproject.toml --group build -c requirements/dev.txt -o requirements/run.txt
	echo uv | $(COMPILE) - -c requirements/dev.txt -o requirements/uv.txt
	$(COMPILE) --group bench -c requirements/dev.txt -o requirements/bench.txt
	@! grep -nE '://|--index|--extra|--find-links' requirements/*.txt

clean: ## Remove .venv, caches and build products (data/ stays)
	rm -rf $(VENV) $(BENCH) $(JS)/node_modules build dist *.egg-info \
		.mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage .coverage.* htmlcov
	find . -name .git -prune -o -type d -name __pycache__ -exec rm -rf {} +
