# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
JOBS ?= 2

.PHONY: demo test check bench figures clean

# The main job: compare policies on the bundled scenario; tables on screen, files and report.html in out/default.
demo: $(VENV)/.installed
	$(BIN)/prefine compare --jobs $(JOBS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS)

check: $(VENV)/.installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Prints ratios against a peer or a floor in the same run; asserts nothing.
bench: $(VENV)/.installed-test
	for each in benchmarks/*.py; do $(BIN)/python $$each || exit 1; done

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python setup.cfg pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) --editable .[test]
	touch $@

$(VENV)/.installed-check: $(VENV)/.installed-test
	$(PIP) --editable .[check]
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info out
