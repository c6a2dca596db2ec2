# The two commands: make demo, make test. Needs Python 3.11 or later, and a network once.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WHEELS = uvloop orjson ormsgpack msgpack zstandard pydantic fastapi httpx

.PHONY: demo test lint bench stress clean

demo: $(VENV)/ready
	@echo '==> running the demonstration: python -m areole'
	@$(BIN)/python -m areole

test: demo $(VENV)/ready-wheels
	@sed -n 's/..*/==> no wheel here, so the tests of these are skipped: &/p' $(VENV)/ready-wheels
	@command -v redis-server >/dev/null || echo '==> no redis-server here, so the tests of Redis are skipped'
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal

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

# What the tests use where there is a wheel: to build one takes a compiler and minutes. What could not be had is written
# into the file, and is said before each run of the tests.
$(VENV)/ready-wheels: $(VENV)/ready
	@for name in $(WHEELS); do \
	  echo "==> installing $$name"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: $$name || \
	    left="$$left $$name"; \
	done; echo $$left >$@

$(VENV)/ready-dev: $(VENV)/ready-wheels
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv .venv-*
