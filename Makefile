# The same commands at home and in continuous integration. `make demo` and `make test` install what they need, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test roads check format lint types docs bench install clean
.DEFAULT_GOAL := help

help:
	@echo "make demo    install, then train and show the embedded task"
	@echo "make test    install, then run every test"
	@echo "make roads   only the tests that train and decode end to end"
	@echo "make check   lint, types and the rules of the house"
	@echo "make format  rewrite the code in the house's layout"
	@echo "make lint    ruff"
	@echo "make types   mypy, strict"
	@echo "make bench   measure beside other toolkits: make bench DATA=PATH/multi30k RUN=runs/multi30k-en-de [PARTS=training,start]"
	@echo "make docs    check that pages, links and generated files are true"

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "dragoman needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Say: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/dragoman demo

test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 2

roads: $(STAMP)
	$(BIN)/python -m pytest tests/roads --numprocesses 2

check: lint types
	$(BIN)/python -m pytest tests/house

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python -m pytest tests/house/test_docs.py

bench: $(STAMP)
	@test -n "$(DATA)" -a -n "$(RUN)" || \
	  { echo "say where Multi30k and a run of recipes/multi30k-en-de.yaml are: make bench DATA=PATH RUN=PATH"; exit 2; }
	$(BIN)/python bench/run.py "$(abspath $(DATA))" "$(abspath $(RUN))" --parts "$(PARTS)" $(if $(QUICK),--quick)

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
