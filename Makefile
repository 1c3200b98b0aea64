# The Python to make the environment from, and where to make it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test lint docs test-lowest test-python release clean

demo: $(VENV)/.installed
	$(BIN)/relbench-pretrain demo

test: $(VENV)/.tested
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(VENV)/.tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.documented
	$(BIN)/sphinx-build -W --keep-going -q docs build/docs
	@echo 'The book is in build/docs/index.html'

# The quick tests with the lowest versions that pyproject.toml allows, on the lowest Python; torch alone stays at the
# version of constraints.txt, since its lowest is not to be had everywhere as a build for CPUs.
LOWEST := build/venv-lowest
test-lowest: PYTHON = python3.11
test-lowest:
	test -x $(LOWEST)/bin/python || $(PYTHON) -m venv $(LOWEST)
	$(PYTHON) .ci/lowest.py > build/lowest.txt
	$(LOWEST)/bin/python -m pip install --quiet -c build/lowest.txt -e ".[test]"
	$(LOWEST)/bin/python -m pytest -m 'not slow and not gpu and not service and not ddp'

# The default suite under another Python: make test-python PYTHON=python3.13
test-python:
	@if $(PYTHON) --version > /dev/null 2>&1; \
	then $(MAKE) test PYTHON=$(PYTHON) VENV=build/venv-$(notdir $(PYTHON)); \
	else echo '$(PYTHON) is not here: nothing was tested'; fi

# A wheel, installed into a fresh environment, must run the demo from an empty folder.
RELEASE := $(CURDIR)/build/release
release:
	rm -rf build/lib $(RELEASE) dist/*.whl && mkdir -p $(RELEASE)/empty
	$(PYTHON) -m venv $(RELEASE)/venv
	$(RELEASE)/venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(RELEASE)/venv/bin/python -m pip install --quiet -c constraints.txt dist/relbench_pretrain-*.whl
	cd $(RELEASE)/empty && env -u PYTHONPATH $(RELEASE)/venv/bin/relbench-pretrain demo --steps 30 --epochs 1
	@echo 'The wheel is in dist/'

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	touch $@

$(VENV)/.documented: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
