# Everything a person types. `make run` is the product; `make test` is what CI calls.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
LOCK    = $(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links

.PHONY: run test check format bench install install-dev lock audit clean

run: install  ## install, migrate, start the whole stack on http://127.0.0.1:5000
	@exec $(BIN)/python main.py

test: check  ## every check and every test; `make test ARGS="tests/sim"` for some
	./tests/run $(ARGS)

check: install-dev  ## ruff, strict mypy, import-linter, bandit
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive *.py racer migrations

bench: install-dev  ## the measurements behind benchmarks/RESULTS.md; all of it takes 100 minutes
	$(BIN)/python -m benchmarks.service
	$(BIN)/python -m benchmarks.simulation
	$(BIN)/python -m benchmarks.training --plot benchmarks/plots/learning_curve.png
	$(BIN)/python -m benchmarks.rewards
	$(BIN)/python -m benchmarks.vehicle
	$(BIN)/python -m benchmarks.control
	$(BIN)/python -m benchmarks.faults
	$(BIN)/python -m benchmarks.api
	$(BIN)/python -m benchmarks.flight
	$(BIN)/python -m benchmarks.racing track_a track_d

format: install-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: install-dev  ## choose versions anew, within the ranges of requirements*.txt
	$(LOCK) requirements.txt --output-file requirements.lock
	$(LOCK) requirements-dev.txt --constraint requirements.lock --output-file requirements-dev.lock

audit: install-dev  ## known faults of what is installed; asks an advisory database on the internet
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Toledo Racer needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 run")'
	$(PYTHON) -m venv $(VENV)

# The stamps make a second start skip pip altogether. Each file is what the lock says or refused.
$(VENV)/.installed: requirements.lock | $(VENV)/bin/python
	$(INSTALL) -r requirements.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock | $(VENV)/bin/python
	$(INSTALL) -r requirements-dev.lock
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
