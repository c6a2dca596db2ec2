# The two commands: make demo, make test. Needs Python 3.11 or later, and a network once.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test lint bench stress clean

demo: $(VENV)/ready
	@echo '==> running the demonstration: python -m areole'
	@$(BIN)/python -m areole

test: demo $(VENV)/ready-loops
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	rm -rf $(VENV)/dist
	$(BIN)/python -m build --no-isolation --outdir $(VENV)/dist
	$(BIN)/twine check --strict $(VENV)/dist/*

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks.hits

stress: $(VENV)/ready
	$(BIN)/python -m stress run --all --seconds 60

# cereggii has no wheel for 3.13t, and needs a newer cmake than many systems have to build from source
$(VENV)/ready: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "areole needs Python 3.11 or later, not " + sys.version)'
	@echo '==> making a virtual environment in $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -c 'import sys; sys.exit("t" not in sys.abiflags or sys.version_info[:2] != (3, 13))'; then \
	  echo '==> building cereggii, which has no wheel for 3.13t: some minutes, and a C compiler is needed'; \
	  $(BIN)/python -m pip install 'cmake>=3.30' && \
	  PATH="$(abspath $(BIN)):$$PATH" $(BIN)/python -m pip install --verbose 'cereggii>=1.0'; fi
	@echo '==> installing areole, and what its tests need'
	@$(BIN)/python -m pip install --disable-pip-version-check --editable '.[test]'
	@touch $@

# the second event loop of the tests; it has no wheel for some builds, and takes a C toolchain and minutes there
$(VENV)/ready-loops: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --only-binary :all: uvloop || echo 'no wheel of uvloop here: its tests are skipped'
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-*
