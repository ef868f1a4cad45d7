# Every verb makes the environment it needs; `make help` lists the verbs.
# VENV and PYTHON choose another environment: make VENV=.venv-3.12 PYTHON=python3.12 test

VENV ?= .venv
# The distribution's own first: it is built with profile-guided optimisation, which others often are
# not, and a node needs a sixth less processor time in it (docs/performance.md).
PYTHON ?= $(shell for python in /usr/bin/python3.11 /usr/bin/python3.12 python3.11 python3.12 python3; do \
	$$python -c 'import sys, importlib.util as it; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13) \
		or not any(map(it.find_spec, ("ensurepip", "pip"))))' 2>/dev/null \
	&& echo $$python && break; done)
SEEDS ?= 200
FIRST_SEED ?= 0
MINUTES ?= 2
WORKERS ?= 2
WORKLOAD ?= grant
OUT ?= artifacts/bench/$(WORKLOAD)
ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
ROOMS := $(patsubst %/__init__.py,%,$(wildcard */__init__.py))
MODULES := $(wildcard cli.py config.py node.py)
CORE_ROOMS := crypto ledger consensus storage
UV_VERSION := 0.13.8

.DEFAULT_GOAL := help
.PHONY: help setup setup-plots check format test replay simulate model planted membership integration slow unordered coverage demo bench bench-quick soak lock clean

help: ## Say what each verb does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  ARGS="..." reaches pytest, demo and bench; VENV= and PYTHON= choose another environment'

setup: $(INSTALLED) ## Make the environment: exact versions, every file checked against its hash

$(INSTALLED): pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" sh scripts/make_environment.sh "$(VENV)"
	@touch $@

setup-plots: setup ## Add matplotlib, for the plots of benchmark reports
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes --no-deps \
		--requirement constraints-bench.txt

check: setup ## Lint, formatting, types, import directions, house rules, docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(ROOMS) $(MODULES) scripts tests
	$(BIN)/lint-imports --no-logo
	$(BIN)/pytest -q tests/architecture $(ARGS)

format: setup ## Format the code and sort its imports
	$(BIN)/ruff check --fix-only --select I -q .
	$(BIN)/ruff format .

test: setup ## What a newcomer should run: all but processes and the slow, in about five minutes
	$(BIN)/pytest -q -m "not slow and not integration" $(ARGS)

replay: setup ## Run one seed of the simulation again: make replay SEED=4821
	@test -n "$(SEED)" || { echo "name the seed: make replay SEED=4821"; exit 2; }
	$(BIN)/medledger sim replay $(SEED)

simulate: setup ## Whole replicas on virtual time: make simulate SEEDS=200 FIRST_SEED=0 WORKERS=2
	$(BIN)/medledger sim run --seeds $(SEEDS) --first-seed $(FIRST_SEED) --workers $(WORKERS)

planted: setup ## Switch on every planted bug in turn and show that it is found
	$(BIN)/python -m tests.planted $(ARGS)

membership: setup ## One to ten members, every one that may come, leave or be down: exhaustive
	$(BIN)/pytest -q -s tests/simulation/test_membership.py $(ARGS)

model: setup ## Every interleaving of four replicas within stated bounds; ARGS=--wide for more
	$(BIN)/python -m tests.model $(ARGS)

integration: setup ## Real processes, TLS and disks, the slow ones too
	$(BIN)/pytest -q tests/integration $(ARGS)

soak: setup ## Torment real nodes under load for a while: make soak MINUTES=30
	$(BIN)/python -m tests.integration.soak --minutes $(MINUTES) --out artifacts/soak.json $(ARGS)

slow: setup ## What takes minutes elsewhere: models, large files; simulations have their own verbs
	$(BIN)/pytest -q -m "slow and not integration and not simulation" $(ARGS)

unordered: setup ## The cores and their bytes, to be run under several PYTHONHASHSEEDs
	$(BIN)/pytest -q -m "not slow" $(wildcard tests/unit/consensus tests/unit/ledger \
		tests/unit/crypto tests/properties tests/scenarios) $(ARGS)

coverage: setup ## Branch coverage of crypto, ledger, consensus and storage against their floors
	@mkdir -p artifacts
	$(BIN)/pytest -q $(wildcard tests/unit tests/properties tests/scenarios) -m "not slow" \
		$(CORE_ROOMS:%=--cov=%) --cov-report= $(ARGS)
	$(BIN)/coverage json -q -o artifacts/coverage.json
	$(BIN)/python scripts/judge.py coverage artifacts/coverage.json

demo: setup ## Four hospitals on this machine, told step by step; ONCE=1 ends by itself
	$(BIN)/medledger demo $(if $(ONCE),--once) $(ARGS)

bench: setup ## Run a workload of the benchmark suite: make bench WORKLOAD=grant OUT=results/grant
	$(BIN)/medledger bench run $(WORKLOAD) --out $(OUT) $(ARGS)

bench-quick: setup ## One line of JSON in less than a minute: throughput, efficiency, latencies
	$(BIN)/medledger bench quick $(ARGS)

lock: ## Write constraints*.txt anew from pyproject.toml; UPGRADE=1 takes the newest versions
	@PYTHON="$(PYTHON)" sh scripts/lock.sh $(UV_VERSION) $(if $(UPGRADE),--upgrade)

clean: ## Remove the environment and everything the tools wrote
	rm -rf $(VENV) artifacts build dist *.egg-info .coverage .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
