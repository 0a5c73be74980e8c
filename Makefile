# `make run` and `make test` need Python 3.11+, make, and a package index; nothing else.
PYTHON ?= python3
VENV := .venv
# How many processes the tests run in.
WORKERS ?= 2
BIN := $(VENV)/bin
# uv installs several times faster than pip, where it is there.
INSTALL = $(if $(shell command -v uv 2>/dev/null),uv pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
FAILED = "Installing failed: a package index that pip can reach is needed (see the message above)."

# In the background, so that a signal ends the installer as well, and no message about the index follows.
define install
	@$(INSTALL) --editable '.[$(EXTRAS)]' & pid=$$!; \
	  trap "kill $$pid; exit 130" INT; trap "kill $$pid; exit 143" TERM; \
	  wait $$pid || { echo $(FAILED) >&2; exit 1; }
endef

.PHONY: help run test check bench docs fuzz tox clean

help:
	@echo "make run    start the example; options go into ARGS, such as make run ARGS='--port 9000'"
	@echo "make test   run linter, type checker and tests"
	@echo "make check  run linter and type checker"
	@echo "make docs   build the documentation in build/docs"
	@echo "make fuzz   fuzz the parsers, a minute each; options go into ARGS, such as make fuzz ARGS='--seconds 600 patch'"
	@echo "make bench  run the benchmark; options go into ARGS"
	@echo "make tox    run the tests on every installed Python"
	@echo "make clean  remove the virtual environment and what was built"

run: $(VENV)/.run
	@exec $(BIN)/python -m example_app $(ARGS)

test: $(VENV)/.installed
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.installed
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# The documentation, in build/docs; a warning is an error.
docs: $(VENV)/.installed
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

# Against COUCHDB_URL if that is set, else the embedded server. `make bench ARGS=--quick` only tries it out.
bench: $(VENV)/.installed
	@$(BIN)/python -m benchmarks $(ARGS)

# Fuzzes what reads input of others; the faults that it finds are left in build/fuzz.
fuzz: $(VENV)/.installed
	@$(BIN)/python -m tests.security.fuzz $(ARGS)

# On every Python that is installed, pyenv's as well, and with the oldest packages; e.g. `make tox ARGS="-e oldest"`.
tox: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox >= 4.20'
	@PATH="$$PATH$$(printf ':%s' $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.*/bin)" $(BIN)/python -m tox $(ARGS)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or later is needed; '$(PYTHON)' is missing or older. Name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing (Debian: apt-get install python3-venv)." >&2; exit 1; }

# What the example needs alone, which is a quarter of what the tests need.
$(VENV)/.run: EXTRAS = embedded,example
$(VENV)/.run: setup.cfg pyproject.toml setup.py | $(BIN)/python
	@echo "Installing what the example needs; this takes about a minute, once."
	$(install)
	@touch $@

$(VENV)/.installed: EXTRAS = dev
$(VENV)/.installed: setup.cfg pyproject.toml setup.py | $(BIN)/python
	@echo "Installing what the tests need; this takes some minutes, once."
	$(install)
	@touch $@ $(VENV)/.run

clean:
	rm -rf $(VENV) build dist *.egg-info
