# Two commands: `make sweep` runs the quickstart, `make test` runs every check. Both make their own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.PHONY: sweep test check format docs

sweep: $(VENV)/.installed
	$(BIN)/sweeps run examples/quickstart.yaml

# Without the faults, files go in their own order: those that start clusters and sweeps early, so that none of them is
# left alone at the end. With them, in that of xdist, where those that make hosts are further apart.
test: check
	$(BIN)/pytest -n $(WORKERS) --dist loadfile $(if $(FAULTS),,-m "not fault" --no-loadscope-reorder) $(PYTEST_ARGS)

check: $(VENV)/.installed-test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; choose one with: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test,dev]'
	@touch $@ $(VENV)/.installed
