# Everything a person types. `make run` is the product; `make test` is what CI calls.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: run test check format bench install install-dev clean

run: install  ## install, migrate, start the whole stack on http://127.0.0.1:5000
	@exec $(BIN)/python main.py

test: check  ## every check and every test; `make test ARGS="tests/sim"` for some
	./tests/run $(ARGS)

check: install-dev  ## ruff, strict mypy, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

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

install: $(VENV)/.installed
install-dev: $(VENV)/.installed-dev

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Toledo Racer needs Python 3.11 or later; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.11 run")'
	$(PYTHON) -m venv $(VENV)

# The stamps make a second start skip pip altogether.
$(VENV)/.installed: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
