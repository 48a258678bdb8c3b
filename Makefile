PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Extra pip options, for example an index that holds the CPU build of torch (see README).
PIP_ARGS ?=
STAMP := $(VENV)/.installed

.PHONY: demo test check bench torture weights peers clean
.DEFAULT_GOAL := demo

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("facenorm needs Python 3.11 or later; set PYTHON=...") if sys.version_info < (3, 11) else None'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing facenorm and its libraries into $(VENV) (about 2 GB, a few minutes) ..."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt -e '.[dev]'
	touch $@

weights: $(STAMP)
	$(BIN)/facenorm models fetch

peers:
	@deploy/test-peers.sh

demo: weights
	$(BIN)/facenorm demo

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: check weights peers
	$(BIN)/python -m pytest

bench: weights
	$(BIN)/python -m bench

torture: weights peers
	$(BIN)/python -m pytest -m torture

clean:
	rm -rf $(VENV) build *.egg-info
