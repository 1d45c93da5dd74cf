# Every habit has one command; `make` alone lists them. Each makes what it needs: the venv, the private servers, the processes.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

PYTHON := .venv/bin/python
LOCAL := $(PYTHON) -m deploy.local
OF_STACK = --directory "$(STACK)"
# The test stack is another one than that of `make up`: tests never disturb what you are looking at.
IN_TEST_STACK := $(LOCAL) run --directory .local/test --servers-only --

# What can be said to a command: make demo ORDERS=orders.csv WISHES=none, make trace ORDER=..., make test TESTS=tests/allocation
ORDERS ?=
ORDER ?=
WISHES ?=
WAIT ?=
# Which stack up, down, status, audit and trace are about; a demo that failed names its own.
STACK ?= $(or $(ORDERMESH_LOCAL_DIRECTORY),.local)
TESTS ?= tests
WORKERS ?= 2
CASES ?=
WITH ?=
export ORDERS ORDER WAIT

.PHONY: help bootstrap demo up down status test check format bench audit trace replay lock contracts cases faults clean

help: ## list the commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

bootstrap: ## make .venv from the hash-locked requirements (every other command does it too)
	@./deploy/local/bootstrap.sh

demo: bootstrap ## replay a day of orders through the whole system and print a report; ORDERS=file.csv replays yours, WISHES=none: no simulated wishes
	@$(PYTHON) -m deploy.local.demo $(if $(WISHES),--wishes "$(WISHES)") $(ORDERS)

up: bootstrap ## start the private stack and keep it running
	@$(LOCAL) up $(OF_STACK)

down: bootstrap ## stop everything that `make up` started; the data stays
	@$(LOCAL) down $(OF_STACK)

status: bootstrap ## show what runs, where, and where it logs
	@$(LOCAL) status $(OF_STACK)

test: bootstrap ## run the test suite on servers of its own, two workers; TESTS=tests/allocation runs a part
	@$(IN_TEST_STACK) $(PYTHON) -m pytest -n $(WORKERS) --no-loadscope-reorder $(TESTS)

check: bootstrap ## ruff, mypy --strict, import walls, contract snapshots, the no_reply lint
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy -n 2
	@.venv/bin/lint-imports
	@$(PYTHON) -m shared.contracts.generate --check
	@$(PYTHON) -m pytest -q tests/contracts/test_no_reply.py tests/contracts/test_compatibility.py

format: bootstrap ## let ruff sort imports and format the code
	@$(PYTHON) -m ruff check --fix-only --quiet .
	@$(PYTHON) -m ruff format .

bench: bootstrap ## measure against pgbench on this machine, in one run
	@$(LOCAL) run --directory .local/bench --without-processes -- $(PYTHON) -m benchmarks

audit: bootstrap ## check the running stack's books; names every violation
	@$(LOCAL) run $(OF_STACK) --attach -- $(PYTHON) -m shared.audit

trace: bootstrap ## show one order's trace across all services: make trace ORDER=<its id or number>
	@$(if $(ORDER),$(LOCAL) run $(OF_STACK) --attach --) $(PYTHON) -m shared.trace "$$ORDER"

replay: bootstrap ## make routing's recorded decisions again, byte for byte; WITH="--without reno" asks what that would have cost (WITH=--help)
	@$(LOCAL) run $(OF_STACK) --attach --of routing -- $(PYTHON) -m services.routing.replay $(WITH)

contracts: bootstrap ## write the generated contracts (AsyncAPI and JSON Schemas) from the models
	@$(PYTHON) -m shared.contracts.generate

cases: bootstrap ## play the case tables of other systems (beside the project) against ours; CASES="MSI SOL-0" plays a part
	@$(PYTHON) -m tests.cases $(CASES)

faults: bootstrap ## break things on purpose, on servers of their own, and audit the books
	@$(IN_TEST_STACK) $(PYTHON) -m pytest tests/faults

lock: bootstrap ## resolve pyproject.toml anew into the two lock files
	@./deploy/local/lock.sh

clean: ## stop everything and delete what commands made: data, passwords, venv, caches
	@if [ -x $(PYTHON) ]; then for directory in .local .local/demo .local/test .local/bench; do $(LOCAL) clean --directory $$directory; done; fi
	@rm -rf .local .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
