# `make run` and `make test` need Python 3.11+, make, and a package index; nothing else.
PYTHON ?= python3
VENV := .venv
# How many processes the tests run in.
WORKERS ?= 2
BIN := $(VENV)/bin

.PHONY: run test check bench docs tox clean

run: $(VENV)/.installed
	@$(BIN)/python -m example_app

test: $(VENV)/.installed
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

check: $(VENV)/.installed
	@$(BIN)/ruff check .
	@$(BIN)/mypy

# The documentation, in build/docs; a warning is an error.
docs: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	@$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo "build/docs/index.html"

# Against COUCHDB_URL if that is set, else the embedded server. `make bench ARGS=--quick` only tries it out.
bench: $(VENV)/.installed
	@$(BIN)/python -m benchmarks $(ARGS)

# On every Python that is installed, pyenv's as well, and with the oldest packages; e.g. `make tox ARGS="-e oldest"`.
tox: $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox >= 4.20'
	@PATH="$$PATH$$(printf ':%s' $${PYENV_ROOT:-$$HOME/.pyenv}/versions/3.*/bin)" $(BIN)/python -m tox $(ARGS)

$(VENV)/.installed: setup.cfg pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or later is needed; '$(PYTHON)' is missing or older. Name one: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { echo "Python's venv module is missing (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' || \
	  { echo "Installing failed: a package index that pip can reach is needed (see pip's message above)." >&2; exit 1; }
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
