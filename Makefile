# Everything that is done here is done through these targets; `make` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# setuptools warns of every editable installation whose packages do not lie as they are named
INSTALL := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet
# one process per core
PYTEST := $(BIN)/python -m pytest -q -n auto --maxprocesses 8
EXAMPLES := build/models
BUDGET ?= 60s

.DEFAULT_GOAL := help
.PHONY: help install tune test fuzz check bench wheel clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --upgrade pip
	$(INSTALL) --editable '.[test]'
	@touch $@

install: $(VENV)/.installed ## make the environment and install the package with what its tests need

$(EXAMPLES)/%.onnx: $(VENV)/.installed
	$(BIN)/python -m models write $* --out $(EXAMPLES)

tune: $(EXAMPLES)/resnet18.onnx $(EXAMPLES)/bert_small.onnx ## tune two example models together on this machine, compare with ONNX Runtime
	$(BIN)/gacer-tune tune $^ --budget $(BUDGET) --out out
	$(BIN)/gacer-tune bench out --against onnxruntime

test: $(VENV)/.installed ## run the tests, one process per core
	$(PYTEST) --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/.installed ## run the tests of kernels and operators on 20 times as many shapes, new ones each time
	KERNEL_EXAMPLES=20 $(PYTEST) tests/kernels tests/lowering/test_fallback.py

$(VENV)/.checked: $(VENV)/.installed
	$(INSTALL) --editable '.[dev]'
	@touch $@

check: $(VENV)/.checked ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	sh tests/typed.sh $(BIN)/mypy

bench: $(VENV)/.installed ## compare with the peers over the fixed set of mixes
	$(INSTALL) --editable '.[peers]'
	$(BIN)/python -m tests.bench

wheel: $(VENV)/.installed ## build the wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

clean: ## remove what the targets made
	rm -rf $(VENV) build dist out
