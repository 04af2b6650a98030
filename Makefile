# Each target sets up what it needs and asks nothing. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test tests simulate soak soak-table faults lint up down reset status logs run clock lock promises
MAKEFLAGS += --no-print-directory

PYTHON := .venv/bin/python
STACK := $(PYTHON) -m local_stack
export BREAK POLICY
export CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|'

setup: ## prepare what the stack needs: packages by hashed locks, Kafka's jars
	@sh local/setup.sh run

setup-dev: ## prepare what the tests need
	@sh local/setup.sh dev

demo: setup ## see a deletion request travel through a whole company; BREAK=orders, POLICY=path/to/file.md
	@$(PYTHON) -m local_stack.demo

test: setup-dev ## run every check and test; TESTS=services/dsr for some
ifdef TESTS
	$(MAKE) lint
	$(PYTHON) -m pytest $(TESTS)
else
	$(MAKE) --jobs=2 lint tests
endif

tests: setup-dev # all of them; two of three workers do what needs a whole deployment, then help the third
	$(PYTHON) -m pytest --numprocesses 3 --no-loadscope-reorder

simulate: setup-dev ## run the seeded simulation: make simulate SEEDS=1000 FROM=0
	@$(PYTHON) -m tests.simulation --seeds $(or $(SEEDS),1000) --from $(or $(FROM),0)

soak: setup-dev ## kill processes for up to an hour: make soak SHARD=1/2, again to go on; docs/faults.md says more
	@$(PYTHON) -m tests.soak --shard $(or $(SHARD),1/1) --seconds $(or $(SECONDS),3600)

soak-table: setup-dev ## write docs/faults.md from the rounds of all shards
	@$(PYTHON) -m tests.soak.table

faults: setup-dev ## play every fault at every moment; goes on where it stopped: make faults CELLS="kafka- -full-" AGAIN=1
	@$(PYTHON) -m tests.faults --keep-going $(if $(AGAIN),--again) -- $(CELLS)

lint: setup-dev ## check style, types and who may import whom
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy .
	.venv/bin/lint-imports

up: setup ## start the whole stack in .local/ and wait until it is ready; ALSO="dsr-2 audit-2" for second instances
	@$(STACK) up $(ALSO)

down: setup ## stop it, and the demo; all that is kept stays; NAMES=dsr for these only
	@$(STACK) down $(NAMES)

reset: setup ## stop it, the demo and the tests' servers, and remove all that they kept
	@$(STACK) reset

status: setup ## say what runs, where, and what it lacks
	@$(STACK) status

logs: setup ## follow the logs; NAMES="dsr audit" for these only
	@$(STACK) logs $(NAMES)

run: setup ## run a service's own command: make run SERVICE=dsr ARGS="dead-letters list"
	@$(STACK) run $(SERVICE) $(ARGS)

# `make clock +45d`: the goal after `clock` is its argument.
clock: setup ## move domain time: make clock +45d
	@$(STACK) clock $(or $(filter-out clock,$(MAKECMDGOALS)),$(error say by how much, like `make clock +45d`))
+%:
	@:
ifeq ($(firstword $(MAKECMDGOALS)),clock)
0:
	@:
endif

lock: setup-dev ## compile the hashed locks anew
	$(PYTHON) local/lock.py

promises: setup-dev ## print which rows of the promise register have tests
	@$(PYTHON) local/promises.py
