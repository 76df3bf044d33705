# Two commands do all the set-up: `make verify` and `make test`. Each makes its own virtual environment in .venv.
# CONSTRAINTS pins every library to the versions that were tested; `make CONSTRAINTS= test` takes the newest ones.

PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= .ci/constraints.txt
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check --quiet install $(if $(CONSTRAINTS),--constraint $(CONSTRAINTS))

# Container images often set it; every process of the tests would compile its modules anew, pytest's assertions included.
unexport PYTHONDONTWRITEBYTECODE

# Not in parallel: both tiers take all cores.
.NOTPARALLEL:
.PHONY: verify test check slow nightly install docs prove prove-mutants interop browser test-cluster sweep-demo lint audit dist bench experiment images fuzz mutation clean

REPORT ?= report
verify: $(VENV)/.run
	$(BIN)/python -m verify --report $(REPORT)

# Everything but the tests of tests/slow.txt, doctests included: under three minutes on two cores.
PYTEST = $(BIN)/python -m pytest -n auto --dist worksteal --junitxml
test: $(VENV)/.test
	$(PYTEST) .pytest_cache/fast.xml -m "not slow" --doctest-modules tests hltm theory numeric verify

# All tests: those of `make test` and the slow ones; then tests/slow.txt is held against what was measured.
check: test slow
slow: $(VENV)/.test
	$(PYTEST) .pytest_cache/slow.xml -m slow tests
	$(BIN)/python .ci/slow .pytest_cache/fast.xml .pytest_cache/slow.xml

# Simulations of which `make check` runs one cheap seed, the thorough profile on a cluster, and the calibration of the
# checks that draw.
nightly: $(VENV)/.cluster
	$(BIN)/python -m pytest -n auto --dist worksteal -m nightly tests tests/kernel tests/sweep/faults
	$(BIN)/python tests/benchmarks/calibration.py

# What `.ci/run` needs, the libraries of `test` and of its extras, by one call of pip: six take half a minute.
install: $(VENV)/.test
	$(PIP) --editable '.[test,interop,browser,cluster,audit,docs]' 'build>=1.2'
	@touch $(addprefix $(VENV)/.,interop browser cluster audit docs release)

# The pages in docs/_build/html, notebooks executed; a warning is an error. `make test` runs the code of the pages.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going --quiet -b html docs docs/_build/html
	PYTHONPATH=docs/_ext $(BIN)/python -m pytest -p no:cacheprovider --doctest-modules docs/_ext

# Theorems and exported identities by the Rocq compiler, which must be installed.
prove: $(VENV)/.run
	$(BIN)/python -m theory kernel check

# What it must reject: every third of the mutants of theorems and definitions, and every exported file with another coefficient.
prove-mutants: $(VENV)/.test
	$(BIN)/python -m pytest -n auto --dist worksteal tests/kernel

# Outside oracles: pgmpy and pyAgrum read the BIF files that hltm writes and compute the same conditional moments; KaTeX
# and MathJax, by npm, set the formulas that `theory latex --no-label` writes.
interop: $(VENV)/.interop $(VENV)/node/package.json
	NODE_PATH='$(abspath $(VENV))/node/node_modules' $(BIN)/python -m pytest tests/interop

# The report of a real run in Chromium, which must be installed; BROWSER_REPORT=FOLDER takes one that is there.
browser: $(VENV)/.browser
	$(BIN)/python -m pytest tests/browser

# Sweeps under real faults: workers, nodes and drivers that are killed, full disks, locked stores; two Ray nodes on loopback.
# Most of it is waiting, so all four files run at a time; each has a cluster of its own. Ray's workers stand back behind
# every other process unless told otherwise: beside the other checks of CI they would be what is waited for.
test-cluster: $(VENV)/.cluster
	RAY_worker_niceness=0 $(BIN)/python -m pytest -n 4 --dist loadfile -p no:cacheprovider tests/sweep/faults

# 48 configurations on two Ray nodes of this machine, one of which is killed on the way.
sweep-demo: $(VENV)/.cluster
	$(BIN)/python tests/benchmarks/sweep_demo.py

lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Findings of bandit and vulture that are not explained in .ci, dependencies that are unused or missing, known vulnerabilities.
audit: $(VENV)/.audit
	$(BIN)/python .ci/audit

# Wheel and sdist in dist/, installed in a fresh environment and used from outside of the repository.
dist: $(VENV)/.release
	PYTHON='$(abspath $(BIN))/python' CONSTRAINTS='$(CONSTRAINTS)' .ci/dist

bench: $(VENV)/.interop
	$(BIN)/python tests/benchmarks/run.py

# Ten minutes and more of hostile losses, tree files and replay files, and 20,000 random relations; `make check` tries
# 300 of each kind of file and 500 of each kind of relation.
FUZZ_EXAMPLES ?= 50000
fuzz: $(VENV)/.test
	FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) $(BIN)/python -m pytest -n auto tests/fuzz

# The paper's numerical study with 3 seeds: table, figures and manifest in experiment/.
experiment: $(VENV)/.run
	$(BIN)/python -m numeric experiment hltm --seeds 3 --out experiment

# SimCLR on scikit-learn's digits: six losses over 3 seeds, linear evaluation, the theory on the trained networks; table,
# figures and manifest in images/. IMAGES='--dataset cifar10 --data DIR' takes other data and any other option.
IMAGES ?=
images: $(VENV)/.images
	$(BIN)/python -m numeric experiment images --out images $(IMAGES)

# Mutants of our own code and the tests that notice them, on a copy of the tree: docs/mutation.md. Hours for everything;
# `make mutation MODULES=hltm/exact.py` takes one module, `make mutation MODULES=theory SAMPLE=40` a sample of each.
MODULES ?=
SAMPLE ?=
mutation: $(VENV)/.mutation
	$(BIN)/python tests/benchmarks/mutation.py $(MODULES) $(if $(SAMPLE),--sample $(SAMPLE)) --survivors

clean:
	rm -rf $(VENV) build dist docs/_build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	@echo "installing the libraries into $(VENV); this takes some minutes, without a word from pip, and happens once"
	$(PIP) --editable .
	@touch $@

$(VENV)/.docs: $(VENV)/.test
	$(PIP) --editable '.[test,docs]'
	@touch $@

$(VENV)/.browser: $(VENV)/.test
	$(PIP) --editable '.[test,browser]'
	@touch $@

$(VENV)/.images: $(VENV)/.run
	$(PIP) --editable '.[images]'
	@touch $@

$(VENV)/.interop: $(VENV)/.test
	$(PIP) --editable '.[test,interop]'
	@touch $@

# The versions are those of the file; it is copied when all is there.
$(VENV)/node/package.json: tests/interop/package.json | $(VENV)/bin/python
	mkdir -p $(@D)/new && cp $< $(@D)/new/
	npm install --prefix $(@D)/new --no-audit --no-fund --no-package-lock --loglevel=error
	rm -rf $(@D)/node_modules && mv $(@D)/new/node_modules $(@D)/ && rm -r $(@D)/new && cp $< $@

$(VENV)/.mutation: $(VENV)/.test
	$(PIP) --editable '.[test,mutation]'
	@touch $@

$(VENV)/.audit: $(VENV)/.test
	$(PIP) --editable '.[test,audit]'
	@touch $@

$(VENV)/.release: $(VENV)/bin/python pyproject.toml $(CONSTRAINTS)
	$(PIP) 'build>=1.2'
	@touch $@

$(VENV)/.cluster: $(VENV)/.test
	$(PIP) --editable '.[test,cluster]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) --editable '.[test]'
	@touch $@
