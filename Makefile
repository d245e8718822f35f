# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
JOBS ?= 2
FUZZ ?= 1

.PHONY: demo test fuzz check bench mutants figures clean

# The main job: compare policies on the bundled scenario; tables on screen, files and report.html in out/default.
demo: $(VENV)/.installed
	$(BIN)/prefine compare --jobs $(JOBS)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -n $(JOBS)

# Damaged files and odd values through every door, random worlds, kills: tens of thousands of inputs; says how many.
# `make fuzz FUZZ=0.1` tries a tenth.
fuzz: $(VENV)/.installed-test
	PREFINE_FUZZ=$(FUZZ) $(BIN)/python -m pytest -n 0 -s tests/fuzz tests/policies/test_effort.py tests/emulator/simulation/test_invariants.py

check: $(VENV)/.installed-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Prints ratios against a peer or a floor in the same run; asserts nothing.
bench: $(VENV)/.installed-test
	for each in engine training solver fleet; do $(BIN)/python -m benchmarks.$$each || exit 1; done

# Changes the code in small ways and says which change no test notices: MUTANTS of each module, or all of them; of the
# modules in MODULES, or of all. One process at a time, in a clone of the last commit that is removed at the end.
MUTANTS ?= 10
mutants: $(VENV)/.installed-mutants
	nice -n 5 $(BIN)/python -m benchmarks.mutants --clone --most $(MUTANTS:all=0) $(MODULES)

# The questions of docs/results.md, one sweep each; `make figure-delay` runs one alone, `make figures CI=1` a small grid.
FIGURES := delay energy shift devices batch tradeoff study
vary-delay := --vary task.samples=100,1400 --vary budget.delay_s=8,16,32,64,128
vary-energy := --vary task.samples=100,1400 --vary budget.energy_j=5,10,20,40,80,160
vary-shift := --vary task.stretch_columns=20,23,26,29,32
vary-devices := --vary devices.count=3,5,10,20,40
vary-batch := --zip --vary devices.max_batch=2,4,8,16,32,64 --vary server.max_batch=16,32,64,128,256,512
vary-tradeoff := --vary budget.delay_s=8,16,32,64 --vary budget.energy_j=10,20,40,80
vary-study := --vary task.model=mlp,logistic --vary task.stretch_columns=20,32 --vary task.samples=100,1400 \
  --vary budget.delay_s=8,16,32,64
RESULTS ?= docs/results
ifdef CI
vary-delay := --vary budget.delay_s=8,16
vary-energy := --vary budget.energy_j=10,20
vary-shift := --vary task.stretch_columns=20,32 --set budget.delay_s=8
vary-devices := --vary devices.count=3,10 --set budget.delay_s=8
vary-batch := --zip --vary devices.max_batch=4,16 --vary server.max_batch=16,64 --set budget.delay_s=8
vary-tradeoff := --vary budget.delay_s=8,16 --vary budget.energy_j=10,20
vary-study := --vary task.model=mlp,logistic --vary budget.delay_s=8,16
SEEDS := 1
RESULTS := out/figures/ci/results
endif

.PHONY: $(FIGURES:%=figure-%)
figures: $(FIGURES:%=figure-%)
	$(BIN)/python docs/results/collect.py out/figures$(if $(CI),/ci) $(RESULTS)

$(FIGURES:%=figure-%): figure-%: $(VENV)/.installed
	$(BIN)/prefine sweep $@ $(vary-$*) $(SEEDS:%=--seeds %) --jobs $(JOBS) --figures svg --quiet --out out/figures$(if $(CI),/ci)/$*

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

$(VENV)/.installed-mutants: $(VENV)/.installed-test
	$(PIP) --editable .[mutants]
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info out
