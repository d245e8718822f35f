# Two commands do all the set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
JOBS ?= 2
FUZZ ?= 1

.PHONY: demo test fuzz check docs bench mutants figures online async selection clean

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

# The documentation as a site in out/site, notebooks run, links checked. Its search needs a server:
# python3 -m http.server -d out/site
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Prints ratios against a peer or a floor in the same run; asserts nothing.
bench: $(VENV)/.installed-test
	for each in engine environment training solver cluster rows; do $(BIN)/python -m benchmarks.$$each || exit 1; done

# Changes the code in small ways and says which change no test notices: MUTANTS of each module, or all of them; of the
# modules in MODULES, or of all. One process at a time, in a clone of the last commit that is removed at the end.
MUTANTS ?= 10
mutants: $(VENV)/.installed-mutants
	nice -n 5 $(BIN)/python -m benchmarks.mutants --clone --most $(MUTANTS:all=0) $(MODULES)

# The questions of docs/results.md, one sweep a recipe; `make figure-study` runs one alone, `make figures CI=1` a small grid.
FIGURES := study many shift general tradeoff devices batch rayleigh fleet logistic dirichlet transformer letters sensors
sweep-study := figure-study --vary budget.delay_s=4,8,16,32 --hindsight
sweep-many := figure-study --vary budget.delay_s=4,16 --set task.samples=1400 --hindsight
sweep-shift := figure-shift --vary task.stretch_columns=32 --hindsight
sweep-general := figure-shift --vary task.stretch_columns=20,32 --policies joint-rehearsed,finetune-only \
  --set policies.joint-rehearsed.on=general
sweep-tradeoff := figure-tradeoff --vary budget.delay_s=8,16 --vary budget.energy_j=5,20
sweep-devices := figure-devices --vary devices.count=3,30
sweep-batch := figure-batch --zip --vary devices.max_batch=4,16 --vary server.max_batch=32,128
sweep-rayleigh := figure-study --vary channel.model=rayleigh --hindsight
sweep-fleet := figure-study --vary devices.count=20 --hindsight
sweep-logistic := figure-study --vary task.model=logistic --hindsight
sweep-dirichlet := figure-study --vary task.partition=dirichlet --set task.dirichlet_alpha=0.3 --hindsight
sweep-transformer := figure-study --vary budget.delay_s=16,32 --set task.model=transformer --hindsight --seeds 3 \
  --set learning.effort=200_000 --set policies.joint-rehearsed.effort=50
sweep-letters := figure-study --vary budget.delay_s=12,24 --set task.data=letters --set task.samples=1000 \
  --set task.partition=source --set learning.effort=2_000_000 --hindsight
sweep-sensors := figure-study --vary budget.delay_s=8,16 --set task.data=watch --set task.samples=400 \
  --set task.partition=source --set learning.effort=2_000_000 --hindsight
RESULTS := out/figures
PAGES := docs
ifdef CI
sweep-study := figure-study --vary budget.delay_s=8,16 --hindsight
sweep-many := figure-study --vary budget.delay_s=16 --set task.samples=1400 --hindsight
sweep-tradeoff := figure-tradeoff --vary budget.delay_s=8,16 --vary budget.energy_j=5
sweep-devices := figure-devices --vary devices.count=3
sweep-batch := figure-batch --zip --vary devices.max_batch=4 --vary server.max_batch=32
SEEDS := 2
SMALL := --set policies.joint-rehearsed.effort=50
RESULTS := out/figures/ci
PAGES := out/figures/ci/docs
endif
recipes = $(if $(filter tradeoff devices batch,$1),theory,theory practice)

.PHONY: $(FIGURES:%=figure-%)
figures: $(FIGURES:%=figure-%)
	$(BIN)/python docs/results/collect.py $(RESULTS) $(PAGES)

$(FIGURES:%=figure-%): figure-%: $(VENV)/.installed-test
	for recipe in $(call recipes,$*); do $(BIN)/prefine sweep $(sweep-$*) --set training.preset=$$recipe \
	  $(SEEDS:%=--seeds %) $(SMALL) --jobs $(JOBS) --quiet --out $(RESULTS)/$*-$$recipe || exit 1; done

# The worlds of docs/online.md, each under both recipes.
ONLINE := default ladder ofdma tdma dropout moving
.PHONY: online $(ONLINE:%=online-%)
online: $(ONLINE:%=online-%)
	$(BIN)/python docs/results/collect.py $(RESULTS) $(PAGES)

$(ONLINE:%=online-%): online-%: $(VENV)/.installed
	for recipe in theory practice; do $(BIN)/prefine compare $* --set training.preset=$$recipe \
	  --policies joint-online,joint-ft,joint,uniform --reference joint-ft --seeds $(or $(SEEDS),8) \
	  --set compare.evaluate_every=1000 --jobs $(JOBS) --quiet --out $(RESULTS)/online-$*-$$recipe || exit 1; done

# The sweeps of docs/async.md.
sweep-async-modes := stragglers --vary training.preset=theory,practice --vary processor.load.stolen=0.01,0.9 \
  --vary aggregation.mode=synchronous,semi-synchronous,asynchronous --policies joint-ft,uniform
sweep-async-dirichlet := stragglers --vary aggregation.mode=synchronous,semi-synchronous,asynchronous \
  --policies joint-ft,uniform --set task.partition=dirichlet --set task.dirichlet_alpha=0.3
sweep-async-buffers := stragglers --vary aggregation.mode=semi-synchronous,asynchronous \
  --vary aggregation.buffer=1,5,10,15,20 --policies joint-ft --set compare.evaluate_every=1000
sweep-async-rehearsed := stragglers --vary aggregation.mode=synchronous,semi-synchronous,asynchronous \
  --policies joint-rehearsed,joint-ft --set policies.joint-rehearsed.effort=100 --set training.preset=practice
ASYNC := async-modes async-dirichlet async-rehearsed async-buffers
.PHONY: async $(ASYNC)
async: $(ASYNC)
	$(BIN)/python docs/results/collect.py $(RESULTS) $(PAGES)

$(ASYNC): %: $(VENV)/.installed
	$(BIN)/prefine sweep $(sweep-$@) --seeds $(or $(SEEDS),8) --jobs $(JOBS) --quiet --out $(RESULTS)/$@

# The rules of docs/selection.md, each on top of the same plan.
.PHONY: selection
selection: $(VENV)/.installed
	$(BIN)/prefine sweep selection --policies joint-ft --set policies.joint-ft.selection_parameters={} \
	  --vary policies.joint-ft.selection=random-k,priced,round-robin,best-channel,proportional-fair,fedcs,power-of-choice,oort \
	  --seeds $(or $(SEEDS),20) --jobs $(JOBS) --quiet --out $(RESULTS)/selection
	$(BIN)/python docs/results/collect.py $(RESULTS) $(PAGES)

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

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) --editable .[docs]
	touch $@

$(VENV)/.installed-mutants: $(VENV)/.installed-test
	$(PIP) --editable .[mutants]
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info out
