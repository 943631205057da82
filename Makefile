# Two commands for a newcomer: `make demo` and `make test`. Both make `.venv` from pinned versions by themselves.
# pip's own environment (PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS, proxies, ...) reaches pip as it is.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PYTHON312 ?= $(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null)
VENV := .venv
VENV312 := .venv312
# checkov and MLflow's server pin other versions than the product does: each has an environment of its own, which may lie elsewhere.
CHECKOV_VENV ?= .venv-checkov
MLFLOW_VENV ?= .venv-mlflow
BIN := $(VENV)/bin
PYTEST_ARGS ?=
comma := ,

# Threads of torch sleep at their barriers instead of spinning: on few cores that others use too, many times faster.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: help install demo up test test-systems test-units test-312 test-mlflow lint types checkov check chaos mutations mutants fuzz bench bench-trainer bench-collector bench-scale schemas bundles policy infra inventory inputs pages site clean
help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

# pip compiles one file after another: all cores do it faster. What cannot be compiled (a template) is no error, to pip neither.
define install
	$(1)/bin/pip install --quiet --no-compile --constraint constraints.txt --editable shared/client --editable ".[$(2)]"
	@$(1)/bin/python -m compileall -qq -j 0 $(1)/lib || true
	@touch $@
endef

# What `retune` runs on, local stack and demo included. The other extras and the developers' tools are as much again.
$(VENV)/.runs: pyproject.toml constraints.txt shared/client/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Retune needs Python 3.11 or newer: none of python3.11, python3.12, python3 is one. Install it, or run make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@echo "making $(VENV) from pinned versions, PyTorch among them: a minute or two, and what the downloads take"
	@$(PYTHON) -m venv $(VENV)
	$(call install,$(VENV),trainer$(comma)local)

$(VENV)/.installed: $(VENV)/.runs
	@echo "adding to $(VENV) what the tests and the optional parts need"
	$(call install,$(VENV),trainer$(comma)local$(comma)mlflow$(comma)lhotse$(comma)examples$(comma)notebook$(comma)dev)

$(VENV312)/.installed: pyproject.toml constraints.txt shared/client/pyproject.toml
	$(PYTHON312) -m venv $(VENV312)
	$(call install,$(VENV312),local$(comma)dev)

## make install   only make .venv with all extras, as every other command does where it is not there yet (demo and up: with what they need)
install: $(VENV)/.installed

## make demo      the whole loop on this machine: errors in, a better model out (about five minutes)
demo: $(VENV)/.runs
	$(BIN)/retune demo $(DEMO_ARGS)

## make up        the local stack until Ctrl-C
up: $(VENV)/.runs
	$(BIN)/retune up $(UP_ARGS)

## make test      all tests
test: $(VENV)/.installed
	$(BIN)/python -m pytest $(PYTEST_ARGS)

## make test-312  the tests that need no torch, on Python 3.12 (says so where there is none)
test-312:
ifeq ($(PYTHON312),)
	@echo "no Python 3.12 here: its tests are left out"
else
	$(MAKE) $(VENV312)/.installed
	$(VENV312)/bin/python -m pytest -m "not torch and not emulator and not terraform and not browser" $(PYTEST_ARGS)
endif

## make lint      ruff and the layering rules
lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

## make types     mypy, strict, tests included
types: $(VENV)/.installed
	$(BIN)/mypy

## make checkov   checkov over infra/, without a network once it is installed (says so where it cannot be installed)
checkov:
	@test -n "$(PYTHON)" || { echo "checkov needs Python 3.11 or newer" >&2; exit 1; }
	@cmp -s infra/checkov.txt "$(CHECKOV_VENV)/.installed" || { rm -rf "$(CHECKOV_VENV)" && $(PYTHON) -m venv "$(CHECKOV_VENV)" \
		&& "$(CHECKOV_VENV)/bin/pip" install --quiet --no-deps --no-compile --requirement infra/checkov.txt \
		&& cp infra/checkov.txt "$(CHECKOV_VENV)/.installed"; } \
		|| { echo "infra/ is not scanned: checkov could not be installed from infra/checkov.txt" >&2; test "$$RETUNE_REQUIRE_CHECKOV" != 1; exit; }; \
	if cmp -s infra/checkov.txt "$(CHECKOV_VENV)/.installed"; then \
		"$(CHECKOV_VENV)/bin/checkov" --directory infra --framework terraform --skip-download --compact --quiet && echo "checkov: infra/ passes"; fi

## make test-mlflow  a real MLflow server, in an environment of its own (says so where it cannot be installed)
test-mlflow: $(VENV)/.installed
	@cmp -s tests/mlflow/server.txt "$(MLFLOW_VENV)/.installed" || { rm -rf "$(MLFLOW_VENV)" && $(PYTHON) -m venv "$(MLFLOW_VENV)" \
		&& "$(MLFLOW_VENV)/bin/pip" install --quiet --no-deps --no-compile --requirement tests/mlflow/server.txt \
		&& cp tests/mlflow/server.txt "$(MLFLOW_VENV)/.installed"; } \
		|| { echo "MLflow is not tried: its server could not be installed from tests/mlflow/server.txt" >&2; test "$$RETUNE_REQUIRE_MLFLOW" != 1; exit; }; \
	MLFLOW_VENV="$(MLFLOW_VENV)" $(BIN)/python -m pytest tests/mlflow $(PYTEST_ARGS)

## make check     all that CI runs, two at a time: tests of whole systems beside everything else
check: lint
	$(MAKE) -j2 test-systems test-units test-312 types checkov test-mlflow

SYSTEMS := tests/e2e tests/emulator tests/contract tests/infra tests/gpu tests/browser

test-systems: $(VENV)/.installed
	$(BIN)/python -m pytest $(SYSTEMS) $(PYTEST_ARGS)

test-units: $(VENV)/.installed
	$(BIN)/python -m pytest tests $(SYSTEMS:%=--ignore=%) --ignore=tests/mlflow $(PYTEST_ARGS)

## make bench     benchmarks, side by side, with JSON in bench-results/
bench: $(VENV)/.installed
	@set -e; for module in $$(cd tests/benchmarks && ls *.py 2>/dev/null | grep -v '^_' | sed 's/\.py$$//'); do \
		echo "== $$module"; $(BIN)/python -m tests.benchmarks.$$module; done

## make bench-trainer  the trainer against the usual recipe, side by side; a GPU is used where there is one
bench-trainer: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.trainer $(BENCH_ARGS)

## make bench-scale  what grows with the events in the open ledger and with past cycles (BENCH_ARGS="--events 100,10000 --cycles 1,100" for minutes)
bench-scale: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.scale $(BENCH_ARGS)

## make bench-collector  the collector beside a function that does nothing and the usual way, side by side (about ten minutes)
bench-collector: $(VENV)/.installed
	$(BIN)/python -m tests.benchmarks.collector $(BENCH_ARGS)

## make chaos     CHAOS_SECONDS (240): a quarter for seeded histories of all functions in memory, the rest for the local stack, in
##                 processes that are killed, behind proxies that break what they pass on; a failure prints its seed and timeline
##                 (CHAOS_ARGS="--seed 7" goes on from there)
CHAOS_SECONDS ?= 240
chaos: $(VENV)/.installed
	$(BIN)/python -m tests.chaos.simulate --schedules 100000 --seconds $$(($(CHAOS_SECONDS) / 4)) $(CHAOS_ARGS)
	$(BIN)/python -m tests.chaos.fire --seconds $$(($(CHAOS_SECONDS) * 3 / 4)) $(CHAOS_ARGS)

## make mutations break 37 chosen decisions, one at a time: each must be shown by the history of the simulation, or the test, that is named for it
mutations: $(VENV)/.installed
	$(BIN)/python -m tests.chaos.mutations $(MUTATION_ARGS)

## make mutants   change every expression of the decisions, one at a time: the unit tests of the module must fail, or the change is explained
##                 (MUTANTS=shared/policy.py for one module). It brings mutmut, which nothing else needs
mutants: $(VENV)/.mutants
	$(BIN)/python -m tests.mutants.run $(MUTANTS)

$(VENV)/.mutants: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[mutants]"
	touch $@

## make fuzz      coverage-guided fuzzing of the push adapter, parse_event, audio files and the local Cloud Storage server, FUZZ_SECONDS (60)
##                 each; what was met stays in build/fuzz/ for the next run. It brings atheris, which nothing else needs
FUZZ_SECONDS ?= 60
FUZZ_TARGETS ?= push events audio gcs_wire
fuzz: $(VENV)/.fuzz
	@set -e; for target in $(FUZZ_TARGETS); do \
		echo "== $$target"; $(BIN)/python -m tests.hostile.fuzz $$target --seconds $(FUZZ_SECONDS); done

$(VENV)/.fuzz: $(VENV)/.installed
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[fuzz]"
	touch $@

## make schemas   write shared/schemas/ anew from the classes of events and reports
schemas: $(VENV)/.installed
	$(BIN)/python -m shared.schemas

## make infra     only the checks of infra/: terraform's own, what its tests promise, and that each broken promise is seen
infra: $(VENV)/.installed
	$(BIN)/python -m pytest tests/infra $(PYTEST_ARGS)

## make inventory write tests/infra/inventory.txt anew: what the default configuration creates
inventory: $(VENV)/.installed
	$(BIN)/python -m tests.infra.inventory

## make inputs    write infra/README.md anew: the table of Terraform's inputs and outputs
inputs: $(VENV)/.installed
	$(BIN)/python -m infra.readme

## make pages     write the pages of docs/ anew that are made from the code: commands, events, objects, the map of rooms
pages: $(VENV)/.installed
	$(BIN)/python -m infra.pages

## make site      the documentation as a site in build/site
site: $(VENV)/.installed
	$(BIN)/mkdocs build --quiet

## make bundles   write infra/bundles.json anew: what each deployed function consists of
bundles: $(VENV)/.installed
	$(BIN)/python -m infra.bundle

## make policy    write infra/policy.tf anew from shared/policy.py
policy: $(VENV)/.installed
	$(BIN)/python -m infra.policy_variable

clean:
	rm -rf $(VENV) $(VENV312) .venv-checkov .venv-mlflow build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
