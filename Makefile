# make demo: a simulated sky with holes in, a filled sky out.   make test: lint, types, tests.   make docs: the site.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet -c constraints.txt
JOBS ?= 2
DEMO_OUT ?= demo
DOCS_OUT ?= docs/_build/html

.PHONY: demo test docs bench explore lint clean

demo: $(VENV)/.network
	$(BIN)/cmbinpaint demo -o $(DEMO_OUT) --overwrite

test: lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

# The site, in $(DOCS_OUT)/index.html: the gallery's examples are run, and a warning is an error.
docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs $(DOCS_OUT)

# A minute that tells whether something got slower than in the stored run.
bench: $(VENV)/.core
	$(BIN)/python benchmarks/ratios.py

# Property tests on fresh random examples.
explore: $(VENV)/.all
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest

lint: $(VENV)/.all
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The core alone fills maps; while nothing else is installed, it shows that it does.
$(VENV)/.core: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) -e .
	touch $@

# torch's ordinary wheel brings gigabytes of CUDA; its CPU build is enough, and comes with
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make test
$(VENV)/.network: $(VENV)/.core
	$(BIN)/python tests/core_alone.py > $(VENV)/core_alone.json
	$(PIP) -e '.[network]'
	touch $@

$(VENV)/.all: $(VENV)/.network
	$(PIP) -e '.[all,test,lint]'
	touch $@

$(VENV)/.docs: $(VENV)/.all
	$(PIP) -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo docs/_build docs/gallery docs/generated
