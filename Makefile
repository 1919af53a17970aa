# make demo: a simulated sky with holes in, a filled sky out.   make test: lint, types, tests.   make docs: the site.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo
DOCS_OUT ?= docs/_build/html

.PHONY: demo test docs explore lint clean

demo: $(VENV)/.installed
	$(BIN)/cmbinpaint demo -o $(DEMO_OUT) --overwrite

test: lint
	$(BIN)/python -m pytest

# The site, in $(DOCS_OUT)/index.html: the gallery's examples are run, and a warning is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs $(DOCS_OUT)

# Property tests on fresh random examples.
explore: $(VENV)/.installed
	HYPOTHESIS_PROFILE=explore $(BIN)/python -m pytest

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A CPU build of torch is enough; PIP_FIND_LINKS or PIP_EXTRA_INDEX_URL may name where one lies.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[test]'
	$(BIN)/python -m pip install --quiet -c constraints.txt ruff mypy
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis demo docs/_build docs/gallery docs/generated
