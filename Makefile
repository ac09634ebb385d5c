# Everything happens in .venv; "make" alone lists the commands. Each rule leaves a
# mark there, so nothing is installed twice until pyproject.toml changes.
# Windows: CONTRIBUTING.md has the same commands without make.

PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
MARK := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TOX := $(BIN)/tox run --quiet -e

.DEFAULT_GOAL := help
.PHONY: help demo test chaos lint format types screenshots docs bench bench-peers clean

help:  ## list these commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(MARK)-demo $(if $(filter mysql%,$(DATABASE_URL)),$(MARK)-mysqlclient)  ## run the example site, its worker included
	@exec $(BIN)/python example_project/demo.py $(ARGS)

test: $(MARK)-test $(MARK)-mysqlclient $(MARK)-axe  ## test on SQLite, and on PostgreSQL and MariaDB if they answer
	@$(BIN)/python tests/run.py $(ARGS)

chaos: $(MARK)-test $(MARK)-mysqlclient  ## try to break it, at length: kills, outages, full disks
	@CHAOS=long $(BIN)/python tests/run.py tests/chaos --numprocesses 2 $(ARGS)

lint: $(MARK)-dev  ## check style, formatting and the layers
	@$(TOX) lint

format: $(MARK)-dev  ## format, and mend what can be mended
	@$(TOX) format

types: $(MARK)-dev  ## check types
	@$(TOX) types

screenshots: $(MARK)-demo $(MARK)-test  ## take the pictures of the documentation anew
	@$(BIN)/python docs/screenshots.py

docs: $(MARK)-dev  ## build the documentation into docs/_build/html
	@$(TOX) docs

bench: $(MARK)-venv  ## measure ours beside bare loops, in some minutes
	@$(BIN)/python -m benchmarks ours $(ARGS)

bench-peers: $(MARK)-venv  ## measure ours beside other queues, in an hour or so
	@$(BIN)/python -m benchmarks peers $(ARGS)

clean:  ## remove .venv and everything made by these commands
	rm -rf $(VENV) .bench .tox .coverage .coverage.* .hypothesis .*_cache build dist docs/_build

$(MARK)-venv:
	@# Before there is a .venv, which would keep the wrong one.
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	echo "$(PYTHON) is not Python 3.11 or newer. Name one: make $(MAKECMDGOALS) PYTHON=python3.13"; \
	exit 1; }
	@echo "Creating $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@# pip knows dependency groups from 25.1 on.
	@$(PIP) install --upgrade "pip>=25.1"
	@touch $@

$(MARK)-test: pyproject.toml | $(MARK)-venv
	@echo "Installing the package and what its tests need"
	@$(PIP) install --editable ".[postgres]" --group test
	@touch $@

$(MARK)-demo: pyproject.toml | $(MARK)-venv
	@echo "Installing the package and what the example needs"
	@$(PIP) install --editable ".[postgres]" --group demo
	@touch $@

$(MARK)-dev: pyproject.toml | $(MARK)-venv
	@echo "Installing tox"
	@$(PIP) install --group dev
	@touch $@

# Compiled from source, which not every machine can do: without it the tests say that
# MariaDB is left out. No mark then, so it is tried again the next time.
$(MARK)-mysqlclient: | $(MARK)-venv
	@echo "Installing mysqlclient"
	@if $(PIP) install --editable ".[mysql]" >$(VENV)/mysqlclient.log 2>&1; \
	then touch $@; \
	else echo "mysqlclient cannot be built here (why: $(VENV)/mysqlclient.log)"; fi

# Looks for what keeps people from using a page; without npm, tests leave that out.
$(MARK)-axe: | $(MARK)-venv
	@if command -v npm >/dev/null; \
	then echo "Installing axe-core"; \
	npm install --silent --no-save --no-package-lock --prefix $(VENV) axe-core@~4.12 && touch $@; \
	else echo "There is no npm: pages are not looked at with axe-core"; fi
