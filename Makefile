# The two commands: make demo, make test. Needs Python 3.11 or later, and a network once.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
# what is run once more as pure Python, where areole was built with its accelerator
PURE = $(filter-out %/test_cached_freed.py, $(wildcard tests/memoize/test_*.py)) tests/storage/test_storage.py \
  tests/contract/test_contract.py tests/contract/test_count.py tests/contract/test_contract_ttl.py
# for what areole was built with a sanitizer
SANITIZED = $(PURE) tests/memoize/test_cached_freed.py tests/fills/test_single_flight.py tests/fills/test_exceptions.py \
  tests/expiry/test_storage_ttl.py tests/accelerator tests/process/test_process.py
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -g -O1
IS_FAST = $(BIN)/python -c 'import areole; raise SystemExit(not areole.accelerated)'
WHEELS = uvloop orjson ormsgpack msgpack zstandard pydantic fastapi httpx flask

.PHONY: demo test lint docs bench stress sanitize clean

demo: $(VENV)/ready
	@echo '==> running the demonstration: python -m areole'
	@$(BIN)/python -m areole

test: demo $(VENV)/ready-wheels
	@sed -n 's/..*/==> no wheel here, so the tests of these are skipped: &/p' $(VENV)/ready-wheels
	@command -v redis-server >/dev/null || echo '==> no redis-server here, so the tests of Redis are skipped'
	@$(IS_FAST) && echo '==> areole with its accelerator' || echo '==> areole as pure Python: see CONTRIBUTING.md'
	$(BIN)/python -m pytest --numprocesses 4 --dist worksteal
	@! $(IS_FAST) || echo '==> once more, a part: areole as pure Python'
	@! $(IS_FAST) || AREOLE_PURE=1 $(BIN)/python -m pytest --numprocesses 4 --dist worksteal $(PURE)

lint: $(VENV)/ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright
	rm -rf $(VENV)/dist
	$(BIN)/python -m build --no-isolation --outdir $(VENV)/dist
	$(BIN)/twine check --strict $(VENV)/dist/*

# a link that leads nowhere fails, and so does a page that is not in nav
docs: $(VENV)/ready-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo '==> the documentation is in site/index.html'

bench: $(VENV)/ready
	$(BIN)/python -m benchmarks.hits

stress: $(VENV)/ready
	$(BIN)/python -m stress run --all --seconds 60

# For builds with a GIL: others have an allocator of their own, which a sanitizer cannot replace. Left out: tests that
# count memory, and one that needs an address to be used again, which a sanitizer prevents. SANITIZED=... for a part.
sanitize: $(VENV)/ready
	rm -rf $(VENV)/sanitized
	mkdir $(VENV)/sanitized
	cp -R src/areole $(VENV)/sanitized && rm -f $(VENV)/sanitized/areole/_core/_hit.*
	CFLAGS='$(SANITIZE)' $(BIN)/python hatch_build.py $(VENV)/sanitized/areole/_core
	test -e $(VENV)/sanitized/areole/_core/_hit.*
	PYTHONPATH=$(abspath $(VENV)/sanitized) LD_PRELOAD=$$(gcc -print-file-name=libasan.so) PYTHONMALLOC=malloc \
	  ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
	  $(BIN)/python -m pytest -p no:cacheprovider --numprocesses 4 --dist worksteal \
	  -k 'not memory and not at_the_address_of_a_dead_one' $(SANITIZED)

# cereggii has no wheel for 3.13t, and needs a newer cmake than many systems have to build from source
$(VENV)/ready: pyproject.toml hatch_build.py src/areole/_core/hit.c
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

$(VENV)/ready-docs: $(VENV)/ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@

clean:
	rm -rf .venv .venv-* site
