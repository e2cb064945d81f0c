# make demo, make test: all that a machine with Python >= 3.11, make and a network needs to type.
# Each completes its own .venv and says nothing when there is nothing to do.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/uv pip install --python $(BIN)/python --constraint constraints.txt
SOURCES := $(wildcard $(foreach folder,csrc csrc/* csrc/bindings/*,$(addprefix $(folder)/*.,h cpp cu)))
BENCHMARKS := $(wildcard benchmarks/bench_*.py)
MODERN := import sys; sys.exit(sys.version_info < (3, 11))

# OpenMP threads that spin at every barrier stall for whole time slices where cores are shared.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test bench check check-format check-lint check-types check-abi install clean

demo: $(VENV)/.built
	$(BIN)/wmscore demo --out evidence

test: install  # a process per core, files whole: fixtures of a file are made once
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile

bench: install
	@for file in $(BENCHMARKS); do \
	  echo "$$file" && $(BIN)/python $$file --out benchmarks/out/$$(basename $$file .py).jsonl || exit 1; \
	done

check: check-format check-lint check-types check-abi

check-format: install
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run -Werror $(SOURCES) tests/cuda_emulation/*.h

check-lint: install
	$(BIN)/ruff check .

check-types: install
	$(BIN)/mypy

check-abi: install
	@for library in $(CURDIR)/wmscore/*.so; do \
	  test ! -e "$$library" || $(BIN)/torch-abi-audit --check torch "$$library" || exit 1; \
	done

install: $(VENV)/.built $(VENV)/.development

clean:
	cd csrc && rm -rf .cmake .ninja_* .skbuild-info.json CMakeCache.txt CMakeFiles CMakeInit.txt build.ninja \
	  cmake_install.cmake install_manifest.txt
	rm -rf build evidence .evidence.* benchmarks/out wmscore/*.so .pytest_cache .ruff_cache .mypy_cache .hypothesis
	rm -f $(VENV)/.built

# The stamps: the environment, what wmscore needs, wmscore itself, what its developers need.

$(VENV)/.created:
	@for python in "$(PYTHON)" python3.13 python3.12 python3.11; do \
	  if "$$python" -c "$(MODERN)" 2>/dev/null; then \
	    test -x $(BIN)/uv || "$$python" -m venv $(VENV) || exit 1; \
	    exit 0; \
	  fi; \
	done; \
	echo "wmscore needs Python 3.11 or newer; $(PYTHON) is not. Name one: make PYTHON=/path/to/python3.11" >&2; \
	exit 1
	@$(BIN)/python -c "$(MODERN)" || { echo "$(VENV) is older than Python 3.11: remove it" >&2; exit 1; }
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	touch $@

$(VENV)/.dependencies: $(VENV)/.created pyproject.toml constraints.txt
	$(PIP) --requirements pyproject.toml --extra harness --extra vizdoom --group build
	touch $@

# Without a compiler wmscore runs on plain torch; WMSCORE_REQUIRE_KERNELS=1 makes that an error. Libraries
# of older sources must not outlive a build that failed.
$(VENV)/.built: $(VENV)/.dependencies csrc/CMakeLists.txt $(SOURCES)
	rm -f wmscore/*.so
	$(PIP) --no-deps --no-build-isolation --reinstall-package wmscore --editable .
	@$(BIN)/python -c "from wmscore.ops import kernels; print('kernels:', kernels())"
	touch $@

$(VENV)/.development: $(VENV)/.dependencies
	$(PIP) --group dev --group oracles --group systems
	touch $@
