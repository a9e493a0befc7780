# Two commands matter: `make demo` (see it run) and `make test` (see it hold). Both do the set-up first.

PYTHON ?= python3
VENV := .venv/bin
# Each file of lab tests has machines of its own, and waits for them half of its time.
SIDE_BY_SIDE := --numprocesses=2 --dist=loadfile

.PHONY: help setup check units test demo demo-down

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## virtual environment, pinned packages, toolchain, the lab's Debian packages
	@$(PYTHON) -m toolchain.setup

check: setup ## format, lint, types
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy .

units: setup ## the tests that need no engine and no lab
	@$(VENV)/pytest -m "not engine and not lab and not strict"

test: check ## checks, then all tests: units, engine, lab
	@$(VENV)/pytest -m "not engine and not lab and not strict"
	@$(VENV)/pytest -m "engine and not lab and not strict" --durations=5
	@$(VENV)/pytest -m "lab and not strict" $(SIDE_BY_SIDE) --durations=20

demo: setup ## a two-node GPU cluster with every layer, on the embedded campus
	@./lyceum demo

demo-down: ## ends the demo and everything it started
	@./lyceum demo --down
