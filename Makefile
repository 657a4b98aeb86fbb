# Copyright: (c) 2026, the confidential_containers.runtime authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# What a developer does with this collection; "make help" lists it.
# The tools come from virtual environments that tests/venv makes on demand in $COCO_TEST_CACHE
# (default: ~/.cache/confidential_containers.runtime).

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# FAST=1: what a developer waits for between two edits.
PARTS := $(if $(FAST),lint unit examples,lint build unit integration matrix molecule nodes sanity compat)
# Those of them that keep one processor busy: they run beside the others, one after the other, and are shown when they are through.
BESIDE := $(filter nodes sanity compat,$(PARTS))
RUN := tests/venv
# Tests side by side, each lane with nodes of its own.
LANES := 2
PYTEST := $(RUN) pytest -n $(LANES) --dist loadgroup

# Begins a part of the tests: shows its commands, and in the end how it went.
part = @trap '{ code=$$?; set +x; } 2>/dev/null; ((code)) && word=FAILED || word=passed; \
    echo "===== $@ $$word in $${SECONDS}s ====="' EXIT; set -x

.PHONY: help demo demo-down test nightly generate $(PARTS) examples unit-cores crash cycles fuzz bench

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## A node, a payload, a pod in a sandbox: the collection at work
	@$(RUN) tests/demo up

demo-down: ## Remove what "make demo" made
	@$(RUN) tests/demo down

test: ## All tests, in the parts that follow; FAST=1: lint, units and one node in a few minutes
	@said=$$(mktemp)
	set -m # a process group of its own, which ends as a whole
	for part in $(BESIDE); do
	    $(MAKE) $$part
	done >$$said 2>&1 & beside=$$!
	set +m
	trap '[[ -z $$beside ]] || kill -- -$$beside 2>/dev/null || true; rm -f $$said' EXIT
	show() {
	    wait $$beside && code=0 || code=$$?
	    cat $$said
	    beside=
	    return $$code
	}
	for part in $(filter-out $(BESIDE),$(PARTS)); do
	    [[ -z $$beside ]] || kill -0 $$beside 2>/dev/null || show
	    $(MAKE) $$part
	done
	[[ -z $$beside ]] || show
	echo "===== all of $(PARTS) passed in $${SECONDS}s ====="

nightly: ## All tests, and all of what they otherwise take samples of: crashes, cycles, cells, versions, generated cases
	@export COCO_CRASH=all COCO_CYCLES=100 COCO_FUZZ=all COCO_MATRIX=all COCO_REMOVALS=all COCO_VERSIONS=all
	$(MAKE) test

lint: ## Everything that needs no test to be run: .pre-commit-config.yaml has the list
	$(part)
	$(RUN) pre-commit run --all-files --hook-stage pre-push

generate: ## Write what repeats what others say: CHANGELOG.md, READMEs and argument specs of roles, the table of messages
	$(RUN) python tests/generate.py

build: ## The tarball: does it hold what it should, would Galaxy import it?
	$(part)
	$(RUN) tests/build
	$(RUN) nox --session build-import-check

unit: ## pytest for pure logic, and a sample of "make fuzz"
	$(part)
	$(PYTEST)

unit-cores: ## pytest, with each version of ansible-core on each Python that is there; PYTHON=3.12: on this one
	$(part)
	$(RUN) nox --session units $(if $(PYTHON),--python $(PYTHON))

sanity: ## ansible-test sanity, without ignores
	$(part)
	$(RUN) tests/sanity/run

nodes: ## The images of all nodes, and the payloads
	$(part)
	$(RUN) tests/nodes/testbed images
	$(RUN) tests/nodes/testbed payload
	$(RUN) tests/nodes/testbed payload --variant v2

integration: ## Payloads, registries, wrong input, faults and load, on real nodes
	$(part)
	$(PYTEST) --maxschedchunk 1 tests/integration

examples: ## The EXAMPLES of all plugins, on one node
	$(part)
	$(RUN) pytest tests/integration/test_examples.py

matrix: ## Half of the configurations, each on one version of containerd, in turns; COCO_MATRIX=all: all cells
	$(part)
	$(RUN) pytest tests/matrix

molecule: ## Real nodes: install, pods, uninstall, cleanup
	$(part)
	$(RUN) molecule test --all

compat: ## The same once with ansible-core 2.17
	$(part)
	tests/compat

crash: ## The transaction killed at every system call, not only at a sample
	$(part)
	COCO_CRASH=all COCO_VERSIONS=all $(RUN) pytest -s tests/integration/test_crash.py

cycles: ## Install and uninstall a hundred times, not only three
	$(part)
	COCO_CYCLES=100 $(RUN) pytest -s tests/integration/test_cycles.py

fuzz: ## 10,000 generated configurations and 1,000,000 members of archives, not only samples
	$(part)
	COCO_FUZZ=all $(RUN) pytest -s tests/fuzz

bench: ## A fresh install beside a shell's, an unchanged one beside builtin modules, a changed one beside a bare restart
	$(part)
	$(RUN) tests/bench/fresh
	$(RUN) tests/bench/components
	$(RUN) tests/bench/restart
	$(RUN) tests/bench/run
