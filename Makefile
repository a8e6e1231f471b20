# make up      install into .venv and start a node
# make fast    the same with the SIP path compiled: less CPU a call; needs a C compiler
# make setup   the environment for users and developers alike (.venv, test extras included)
# make test    run the tests        make lint   ruff and mypy
# make demo    three nodes and two phones on this machine, with measured sound
# make testbed  five nodes and five phones behind NATs, in network namespaces (needs root); see docs/testbed.md
# make bench   print the figures    make clean  remove what was made
# make fuzz    a million mutated SIP messages against the parser, or RUNS=
# make simulate  the DHT under attack: all cases, or one with NODES= LOOKUPS= HOSTILE= SEED=
#
# Another Python: `make setup PYTHON=/path/to/python3.12`. Packages come from the index that pip is
# configured for (PIP_INDEX_URL, pip.conf).

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.12 python3.11 python3; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null \
	&& { command -v "$$p"; break; }; done)
ARGS ?=
# Tests that only compute are shared among processes, a file at a time, those with long tests first.
# WORKERS=0: one after the other.
WORKERS ?= $(shell n=$$(nproc 2>/dev/null || echo 1); [ "$$n" -gt 4 ] && n=4; echo "$$n")
COMPUTED := tests/install tests/wire/dht tests/unit tests/property tests/network/federation \
	tests/test_architecture.py
# The others make real calls, which mostly wait, and miss their moment on a machine that is busy.
CALLERS ?= $(shell [ "$$(nproc 2>/dev/null || echo 1)" -gt 1 ] && echo 2 || echo 0)
REAL := tests/network tests/interop tests/wire
SHARED := --dist loadfile --no-loadscope-reorder

# What is compiled lies in a folder of its own with all that it was made from. Only the targets below
# lead there, and each makes it anew after an edit, so that it never stands in front of newer source.
FAST := .fast
SOURCES := $(shell find node federation dht media_relay -name '*.py')

FAST_TESTS := tests/unit/sip tests/unit/sip_transaction tests/unit/edge tests/unit/digest \
	tests/unit/registrar tests/property/sip_transaction tests/wire/sip

.PHONY: up fast setup test test-fast demo testbed bench simulate lint clean check-system

up: $(VENV)/.installed
	@exec $(BIN)/ringmesh up $(ARGS)

fast: $(FAST)/.made
	@PYTHONPATH=$(CURDIR)/$(FAST) exec $(BIN)/ringmesh up $(ARGS)

setup: $(VENV)/.tested

# With ARGS (paths or options of pytest), one run of just that.
test: $(VENV)/.tested
ifeq ($(strip $(ARGS)),)
	@status=0; set -x; \
	$(BIN)/python -m pytest -n $(WORKERS) $(SHARED) $(COMPUTED) || status=$$?; \
	$(BIN)/python -m pytest -n $(CALLERS) $(SHARED) $(REAL) $(COMPUTED:%=--ignore=%) || status=$$?; \
	exit $$status
else
	$(BIN)/python -m pytest $(ARGS)
endif

# The tests of the SIP path on the compiled modules.
test-fast: $(VENV)/.tested $(FAST)/.made
	EXPECT_COMPILED=1 $(BIN)/python -P -m pytest -o pythonpath="$(FAST) ." $(FAST_TESTS) $(ARGS)

demo: $(VENV)/.tested
	@exec $(BIN)/ringmesh demo $(ARGS)

testbed: $(VENV)/.tested
	@exec $(BIN)/python -m testbed $(ARGS)

bench: $(VENV)/.tested
	@exec $(BIN)/python -m tests.benchmarks $(ARGS)

RUNS ?= 1000000
# Guided by coverage; atheris is for this alone.
fuzz: $(VENV)/.tested
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check atheris
	@exec $(BIN)/python -m tests.fuzz -runs=$(RUNS) $(ARGS)

# Two cases at a time; results are kept, so a run that was stopped goes on where it was.
simulate: $(VENV)/.tested
	@NODES="$(NODES)" LOOKUPS="$(LOOKUPS)" HOSTILE="$(HOSTILE)" SEED="$(SEED)" KIND="$(KIND)" \
		LAYER="$(LAYER)" CASES="$(CASES)" FRESH="$(FRESH)" JOBS="$(JOBS)" RUN_SEED="$(RUN_SEED)" \
		$(BIN)/python -m tests.simulation

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(FAST) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage htmlcov
	find node federation dht media_relay tests examples testbed -name __pycache__ -type d -prune -exec rm -rf {} +

$(FAST)/.made: $(VENV)/.installed setup.py $(SOURCES)
	@command -v "$${CC:-cc}" >/dev/null || { echo "Compiling needs a C compiler" \
		"(Debian, Ubuntu: sudo apt install gcc python3-dev); make up does without." >&2; exit 1; }
	@echo "Compiling the SIP path (once after a change, one to two minutes) …" >&2
	@rm -rf $(FAST) build
	@COMPILE_RINGMESH=1 $(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--no-deps --target $(FAST) .
	@rm -rf build
	@touch $@

# Names what is missing, with the line that installs it, before anything is made.
check-system:
	@missing=""; \
	if [ -z "$(PYTHON)" ]; then missing="python3 python3-venv"; \
		echo "Ringmesh needs Python 3.11 or 3.12, and none was found on the PATH." >&2; \
	elif ! "$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; then \
		missing="python3 python3-venv"; \
		echo "$(PYTHON) is not Python 3.11 or 3.12." >&2; \
	elif ! "$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null; then \
		missing="$$("$(PYTHON)" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"; \
		echo "$(PYTHON) lacks the venv module." >&2; \
	fi; \
	if ! command -v git >/dev/null; then missing="$$missing git"; echo "git was not found." >&2; fi; \
	if [ -n "$$missing" ]; then \
		echo "On Debian or Ubuntu: sudo apt install $$missing" >&2; exit 1; fi

# Stamps: a second run starts at once; a changed pyproject.toml installs again.
$(VENV)/.made:
	@$(MAKE) --no-print-directory check-system
	"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@
