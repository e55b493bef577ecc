# Two commands matter: `make demo` and `make test`. Both start from python3, venv and make alone.
# Everything Python lives in $(VENV); `make clean` leaves it, `make distclean` takes it away.

PYTHON ?= python3
VENV   ?= .venv
JOBS   ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
# What WeasyPrint loads at run time, by Debian's names.
PANGO := libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0
DEMO  := build/demo

# Told not to keep what it compiles, Python compiles all sources anew in each process of an audit.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types contracts real evidence bench pango clean distclean
# A recipe that fails half-way leaves no stamp that says it succeeded.
.DELETE_ON_ERROR:

help:
	@echo "make demo       audit the digits example; ends with the path of its PDF"
	@echo "make test       the tests (JOBS=$(JOBS) at a time), then the kernel tests without numba's JIT"
	@echo "make lint       ruff: rules and format (make format mends the format)"
	@echo "make types      mypy, strict"
	@echo "make contracts  who may import what"
	@echo "make real       tests on the real data and models beside the checkout, and those that take long"
	@echo "make evidence   the long runs that reproduce published figures"
	@echo "make bench      benchmarks, each beside its peer"
	@echo "make clean      remove what the targets above built; make distclean also removes $(VENV)"

# ------------------------------------------------------------------------------ the environment

# The pins, with torch's line replaced by the torch that is there: one that was installed
# beforehand (a CPU or a CUDA build, 2.4 or newer) is kept, not replaced by the pinned one.
$(VENV)/constraints.txt: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "robreport needs Python 3.11 or newer; name one with make PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -c 'import importlib.metadata as m, sys; \
	  sys.exit(tuple(map(int, m.version("torch").split(".")[:2])) < (2, 4))' 2>/dev/null \
	  || { echo "Installing torch, which takes a while"; $(PIP) -c constraints.txt torch; }
	@grep -v '^torch==' constraints.txt > $@
	@$(BIN)/python -c 'import importlib.metadata as m; print("torch==" + m.version("torch"))' >> $@
	@$(PIP) -c $@ setuptools

# setuptools is in place and pinned, so an isolated build environment would only fetch it again.
$(VENV)/.installed: $(VENV)/constraints.txt pyproject.toml
	@echo "Installing robreport"
	@$(PIP) -c $(VENV)/constraints.txt --no-build-isolation -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests and checks need"
	@$(PIP) -c $(VENV)/constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	@echo "Installing what the benchmarks need"
	@$(PIP) -c $(VENV)/constraints.txt --no-build-isolation -e '.[dev,bench]'
	@touch $@

# Whether WeasyPrint loads decides, not what a package manager lists: Pango may come from anywhere.
pango: $(VENV)/.installed
	@$(BIN)/python -W ignore -c 'import weasyprint' >/dev/null 2>&1 && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "Installing Pango, which WeasyPrint needs"; \
	  apt-get update -qq >/dev/null && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -y -qq --no-install-recommends $(PANGO) >/dev/null || exit 1; \
	else \
	  echo "PDFs are made with WeasyPrint, which cannot load Pango on this machine. On Debian run"; \
	  echo "    sudo apt-get install -y $(PANGO)"; \
	  echo "and then make again."; \
	  exit 1; \
	fi; \
	$(BIN)/python -W ignore -c 'import weasyprint'

# -------------------------------------------------------------------------------- what it is for

# Exit code 1 is an audit with a requirement not met: a finding, and the example shows some.
demo: $(VENV)/.installed pango
	@rm -rf $(DEMO)
	@$(BIN)/robreport init $(DEMO) --example digits
	@$(BIN)/robreport run $(DEMO)/audit.toml --output $(DEMO)/report || [ $$? -eq 1 ]
	@test -s $(DEMO)/report/report.pdf && echo "$(CURDIR)/$(DEMO)/report/report.pdf"

# The second pass runs the kernels as plain Python: what numba compiles is then itself tested.
test: $(VENV)/.installed-dev pango
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --durations 25 --durations-min 2
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -m "kernel and not real and not evidence and not slow" \
	  $$(grep -rl --include='test_*.py' mark.kernel tests)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev
	$(BIN)/mypy

contracts: $(VENV)/.installed-dev
	$(BIN)/lint-imports

real: $(VENV)/.installed-dev pango
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "(real or slow) and not evidence"

evidence: $(VENV)/.installed-dev pango
	$(BIN)/python -m pytest -m evidence --timeout 0

bench: $(VENV)/.installed-bench
	$(BIN)/python -m pytest benchmarks -m "" --timeout 0

clean:
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks \
	  .import_linter_cache robreport.egg-info
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
