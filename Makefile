# Commands of the workspace. `make` alone lists them. Needs Python 3.11 or newer; uv is fetched where it is missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

UV := $(or $(shell command -v uv 2>/dev/null),$(CURDIR)/.bootstrap/bin/uv)
export UV
BIN := .venv/bin
JOBS ?= auto
EXAMPLES ?= 5000
ARGS ?=
EXAMPLE ?= todos
N ?= 2000

# Folders without Python files are left out: the type checkers refuse them.
CODE := conftest.py scripts $(wildcard packages/* examples/* benchmarks) $(if $(wildcard tests-integration/*.py),tests-integration)

.PHONY: help setup servers demo demo-terminal test lint format types integration simulate bench bench-db bench-fanout bench-presets fuzz browser docs build wheels websockets-newest reactpy1 release publish clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(CURDIR)/.bootstrap/bin/uv:
	python3 -m venv .bootstrap
	.bootstrap/bin/pip install --quiet --disable-pip-version-check uv

setup: $(UV)  ## install everything into .venv, as the lock says
	$(UV) sync --locked --quiet

demo: setup  ## serve an example and print its addresses: todos, or EXAMPLE=chat, ai-stream, cursors (no terminal: a story)
	@cd examples/$(EXAMPLE) && ../../$(BIN)/python -m $(subst -,_,$(EXAMPLE)) $(ARGS)

demo-terminal: setup  ## todos with a server and two clients in this terminal
	@cd examples/todos && ../../$(BIN)/python -m todos --terminal $(ARGS)

test: setup  ## all tests, and every code block of the documentation (ARGS="-k word", JOBS=1)
	$(BIN)/pytest -n $(JOBS) --dist loadfile $(ARGS)

lint: setup  ## style, format, import layers, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	@for package in packages/*; do echo "deptry $$package"; (cd $$package && ../../$(BIN)/deptry src 2>&1); done

format: setup  ## bring the code into the format that `make lint` asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup  ## mypy and pyright, both strict, tests included
	@# One run per folder: each has its own conftest.
	@for folder in $(CODE); do echo "mypy $$folder"; $(BIN)/mypy $$folder; done
	$(BIN)/pyright

browser:  ## install Chromium for the browser tests, where it is missing (Debian, as root)
	@command -v chromium > /dev/null || { apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium; }

servers:  ## install Redis, an engine, compose and openssl for the integration tests, where they are missing (Debian, as root)
	@for package in redis-server:redis-server busybox:busybox docker-compose:docker-compose docker.io:dockerd openssl:openssl; do \
	  command -v $${package#*:} > /dev/null && continue; \
	  test -n "$${updated:-}" || { apt-get update -qq; updated=yes; }; \
	  apt-get install -qq -y --no-install-recommends $${package%:*}; \
	done

integration: setup  ## tests with real sockets, processes and databases (REALTIME_INTEGRATION=docker, binary or lite; ABLY_API_KEY)
	$(BIN)/python scripts/integration.py $(ARGS)

bench: setup bench-db  ## all figures: next to npm @tanstack/db, latency between clients, each stage of a live query
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/db/micro.py

simulate: setup  ## histories of many users on a bad network, from a seed each (N=10000, ARGS="--first 1234 --preset memory")
	$(BIN)/python scripts/simulate.py $(N) $(ARGS)

docs: setup  ## run the code blocks of the documentation, check its links and tables
	$(BIN)/python scripts/check_docs.py
	$(BIN)/pytest -q README.md docs packages/*/README.md $(ARGS)

fuzz: setup  ## strangers' frames, channels, requests and JSON for minutes instead of seconds (EXAMPLES=100000)
	EXAMPLES=$(EXAMPLES) $(BIN)/pytest packages/*/tests/test_fuzz.py packages/realtime-preset-ably/tests/emulator/test_{histories,rest_robust}.py \
		--hypothesis-profile=fuzz $(ARGS)

bench-db: setup  ## tanstack-db next to npm @tanstack/db, needs node (ARGS="--n 1000 --only join")
	$(BIN)/python benchmarks/db/run.py $(ARGS)

bench-fanout: setup  ## the node preset's cost per delivery next to other servers, needs a C compiler and node (ARGS="--n 500")
	$(UV) run --locked --no-sync --quiet --with 'python-socketio>=5.11' python benchmarks/fanout/run.py $(ARGS)

bench-presets: setup  ## a mutation to the other client on node, on centrifugo, next to a bare echo (ARGS="--rounds 3")
	$(BIN)/python benchmarks/presets/run.py $(ARGS)

build: $(UV)  ## build every package into dist/
	rm -rf dist
	$(UV) build --quiet --all-packages

wheels: setup build  ## install every wheel alone in a clean environment and run its tests there (ARGS=tanstack-db)
	$(BIN)/python scripts/check_wheels.py $(ARGS)

websockets-newest: setup  ## the node preset on the newest websockets, which the lock holds back for the Ably SDK
	$(UV) run --locked --no-sync --quiet --with 'websockets>=16' python scripts/check_version.py 'websockets>=16'
	$(UV) run --locked --no-sync --quiet --with 'websockets>=16' python -m pytest -q packages/realtime-preset-node

reactpy1: setup  ## the hooks on ReactPy 1.x; the lock has the pre-release of 2
	$(UV) run --locked --no-sync --quiet --with 'reactpy>=1.1,<2' python scripts/check_version.py 'reactpy<2'
	@for package in tanstack-db tanstack-realtime; do $(UV) run --locked --no-sync --quiet --with 'reactpy>=1.1,<2' \
		python -m pytest -q packages/$$package/tests/test_hook*.py -k React; done

release: setup  ## release one package: make release PKG=tanstack-db VERSION=0.2.0 [DRY_RUN=1]
	@test -n "$(PKG)" -a -n "$(VERSION)" || { echo 'usage: make release PKG=tanstack-db VERSION=0.2.0 [DRY_RUN=1]'; exit 2; }
	$(BIN)/python scripts/release.py prepare $(PKG) $(VERSION) $(if $(DRY_RUN),--dry-run)

publish: setup  ## publish the package of a tag; only the release workflow is trusted to (TAG=tanstack-db-v0.2.0)
	$(BIN)/python scripts/release.py publish $(TAG)

clean:  ## remove what these commands made
	rm -rf .venv .bootstrap dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
