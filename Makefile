# Two commands matter: `make demo` (see it run) and `make test` (see it hold). Both do the set-up first.

PYTHON ?= python3
VENV := .venv/bin
# Each file of lab tests has machines of its own and waits for them most of its time: four files share two cores well.
# A campus takes 2 to 4 GiB of memory.
PROCESSES ?= 4
SIDE_BY_SIDE = --numprocesses=$(PROCESSES) --dist=loadfile --durations=20

.PHONY: help setup lab-programs check units test test-all demo demo-down

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## virtual environment, pinned packages, toolchain, the lab's Debian packages
	@$(PYTHON) -m toolchain.setup

lab-programs: setup ## what pods of the lab run: containerd, kubelet, controllers, images; built once, then cached
	@$(VENV)/python -m lab.images

check: setup ## format, lint, types
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy .

units: setup ## the tests that need no engine and no lab
	@$(VENV)/pytest -m "not engine and not lab and not strict" --numprocesses=2 --dist=loadfile

# Programs first: a compiler beside the tests would take the cores that they wait for.
test: check lab-programs ## checks, then the tests: units, engine, lab (25 minutes at most, two cores)
	@$(VENV)/pytest -m "not strict" $(SIDE_BY_SIDE)

test-all: check lab-programs ## the same with the slow proofs, every seed and stage of them: before a release
	@$(VENV)/pytest $(SIDE_BY_SIDE)

demo: setup ## a two-node GPU cluster with every layer, on the embedded campus
	@./lyceum demo

demo-down: ## ends the demo and everything it started
	@./lyceum demo --down
