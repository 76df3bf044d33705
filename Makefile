# Two commands do all the set-up: `make verify` and `make test`. Each makes its own virtual environment in .venv.
# CONSTRAINTS pins every library to the versions that were tested; `make CONSTRAINTS= test` takes the newest ones.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= .ci/constraints.txt
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))

.PHONY: verify test interop lint bench experiment clean

verify: $(VENV)/.run
	$(BIN)/python -m verify

test: $(VENV)/.test
	$(BIN)/python -m pytest -n auto
	$(BIN)/python -m pytest --doctest-modules -p no:cacheprovider hltm theory numeric verify

# Outside oracles: pgmpy and pyAgrum read the BIF files that hltm writes and compute the same conditional moments.
interop: $(VENV)/.interop
	$(BIN)/python -m pytest tests/interop

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.test
	$(BIN)/python benchmarks/run.py

# The paper's numerical study with 3 seeds: table, figures and manifest in experiment/.
experiment: $(VENV)/.run
	$(BIN)/python -m numeric experiment hltm --seeds 3 --out experiment

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	@echo "installing the libraries into $(VENV); this takes a minute or two, and happens once"
	$(PIP) --editable .
	@touch $@

$(VENV)/.interop: $(VENV)/.test
	$(PIP) --editable '.[test,interop]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) --editable '.[test]'
	@touch $@
