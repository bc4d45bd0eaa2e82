# Two commands do everything, set-up included: `make demo` and `make test`.
SHELL := /bin/bash
UV_VERSION := 0.13.8
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)
# One more than there are cores: tests of the whole stack wait more than they compute.
TEST_JOBS ?= $(shell echo $$(($$(nproc 2>/dev/null || echo 1) + 1)))
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help demo test check format bench docs setup clean

help: ## Show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | column -t -s "$$(printf '\t')"

demo: setup ## Run a real experiment through the queue, on embedded defaults
	@scripts/demo

test: setup ## Run the whole suite; provisions what it can
	@scripts/provision-tests
	@pytest -n $(TEST_JOBS) --dist loadfile --no-loadscope-reorder

check: setup ## What CI checks besides: format, lint, types, import contracts, docs, wheel
	@ruff format --check .
	@ruff check .
	@pyright
	@lint-imports
	@pytest -q tests/docs tests/package

format: setup ## Format the code
	@ruff format .
	@ruff check --fix .

bench: setup ## Measure against stock Prefect and task-spooler, as ratios
	@scripts/provision-tests
	@python -m bench

docs: setup ## Write the generated reference pages anew
	@python docs/generate.py

setup: .venv/.ready ## Install the locked environment

.venv/.ready: pyproject.toml uv.lock | $(UV)
	@$(UV) sync --locked --quiet
	@touch $@

.uv/bin/uv:
	@scripts/install-uv $(UV_VERSION)

clean: ## Remove the environment and the caches
	@rm -rf .venv .uv .pytest_cache .ruff_cache .hypothesis dist
