# beadseg: `make demo` shows the main job, `make test` runs the default tests. Both make .venv first.
# Options of pip (index, proxy, cache) are taken from the environment. PYTHON=… chooses the interpreter.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
.PHONY: help setup setup-test setup-dev setup-pyside gui-packages demo test test-pyside test-long test-faults fuzz mutants slow lint site dist size bench clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
INPUTS := pyproject.toml constraints.txt src/beadseg/napari.yaml

# What a real napari window needs on Debian and Ubuntu, beside Python: a display without a screen, OpenGL, Qt's libraries.
GUI_PACKAGES := xvfb libgl1-mesa-dri libgl1 libegl1 libopengl0 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 \
  libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-xinerama0 libxcb-shape0 libdbus-1-3 \
  libfontconfig1 libglib2.0-0

GUI_TESTS := $(wildcard tests/gui/test_*.py tests/gui/*/test_*.py)
# One process a core, each with one thread; a file's tests stay together, since they share what is costly to make.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadscope --ignore tests/gui
# Qt and OpenGL may crash after some 25 viewers in one process: one process a file, two at a time.
IN_WINDOWS := printf '%s\n' $(GUI_TESTS) | xargs -P 2 -I FILE bash -c \
  'said=$$($(BIN)/python -m pytest "$$@" 2>&1) && code=0 || code=$$?; echo "$$said"; exit $$code' pytest FILE

# apt_install PACKAGES…: installs them when that is allowed, otherwise says how and fails.
define APT_INSTALL
apt_install() {
  local as_root=""
  if [ "$$(id -u)" != 0 ]; then
    if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root="sudo -n"; else as_root="no"; fi
  fi
  if ! command -v apt-get >/dev/null || [ "$$as_root" = "no" ]; then
    echo "System packages are missing, and this user may not install them. Run, then repeat the command:" >&2
    echo "  sudo apt-get update && sudo apt-get install -y --no-install-recommends $$*" >&2
    exit 4
  fi
  echo "Installing system packages: $$*"
  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$$@" >/dev/null
}
endef

help: ## Show the targets.
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

setup: $(VENV)/.stamp-core ## Make .venv with beadseg in it.

setup-test: $(VENV)/.stamp-test

setup-dev: $(VENV)/.stamp-dev

setup-pyside: $(VENV)/.stamp-pyside

$(BIN)/python:
	@$(APT_INSTALL)
	python=""
	for candidate in $(PYTHON) python3.11 python3.12 python3.13 python3 python; do
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
	    python="$$candidate"; break
	  fi
	done
	if [ -z "$$python" ]; then
	  echo "Python 3.11 or newer was not found. Install it, or name it: make PYTHON=/path/to/python3.11 …" >&2; exit 4
	fi
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
	  apt_install "$$("$$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')"
	fi
	echo "Making $(VENV) with $$("$$python" --version)"
	"$$python" -m venv $(VENV)

$(VENV)/.stamp-core: $(INPUTS) | $(BIN)/python
	@echo "Installing beadseg into $(VENV) (some minutes the first time)"
	$(PIP) -e .
	touch $@

$(VENV)/.stamp-test: $(VENV)/.stamp-core
	@echo "Installing what the tests need"
	$(PIP) -e '.[napari,test,tune,fast,cluster,exchange]' PyQt6
	touch $@

$(VENV)/.stamp-dev: $(VENV)/.stamp-test
	@echo "Installing what the checks need"
	$(PIP) -e '.[napari,test,tune,fast,cluster,exchange,dev]' PyQt6
	touch $@

$(VENV)/.stamp-pyside: $(VENV)/.stamp-test
	@echo "Installing PySide6"
	$(PIP) PySide6
	touch $@

gui-packages:
	@$(APT_INSTALL)
	if [ "$$(uname -s)" != Linux ]; then exit 0; fi
	if ! command -v dpkg >/dev/null; then
	  echo "Not a Debian system: the tests in a window need the equivalents of $(GUI_PACKAGES)"; exit 0
	fi
	missing=()
	for package in $(GUI_PACKAGES); do
	  # Newer releases have some of them under a name with t64.
	  if ! dpkg -s "$$package" >/dev/null 2>&1 && ! dpkg -s "$${package}t64" >/dev/null 2>&1; then
	    missing+=("$$package")
	  fi
	done
	if [ "$${#missing[@]}" -gt 0 ]; then apt_install "$${missing[@]}"; fi

demo: setup ## Simulate, train, predict, count and evaluate; results in demo/.
	@$(BIN)/beadseg-batch demo --out demo

test: setup-test gui-packages ## Run all default tests, those in a real napari window included.
	@$(PYTEST)
	$(IN_WINDOWS)

test-pyside: setup-pyside gui-packages ## Run the tests in a napari window with PySide6 in place of PyQt6.
	@export QT_API=pyside6
	$(IN_WINDOWS) -o qt_api=pyside6

slow: setup-test gui-packages ## Run the slow tests too.
	@$(PYTEST) -m "not gpu and not pbs and not slurm"
	$(IN_WINDOWS) -m "not gpu and not pbs and not slurm"

test-long: setup-test ## Search long for inputs that break formats, splits, matching, separation, tables and journals.
	@BEADSEG_HYPOTHESIS=long OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --timeout 3600 tests/properties

test-faults: setup-test ## Kill at every system call that changes a file, and let each of them fail (Linux, strace).
	@$(APT_INSTALL)
	command -v strace >/dev/null || apt_install strace
	$(BIN)/python tests/faults/at_every_call.py

fuzz: setup-dev ## Feed every parser with inputs that coverage guides (Linux, atheris); BEADSEG_FUZZ_RUNS for each.
	@for parser in $$($(BIN)/python tests/properties/fuzz.py --list); do
	  $(BIN)/python tests/properties/fuzz.py "$$parser" -runs=$${BEADSEG_FUZZ_RUNS:-1000000} -max_len=4096 -timeout=20 -rss_limit_mb=4096
	done

mutants: setup-dev ## Change matching and separation in every small way, and see whether a test notices.
	@OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut results

lint: setup-dev ## Check style and types.
	@$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

dist: setup-dev ## Build wheel and source archive twice, compare them, and list components and licences, in dist/.
	@$(BIN)/python benchmarks/release.py build dist
	$(BIN)/python benchmarks/release.py licences dist
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --of JSON -o dist/sbom.cdx.json $(BIN)/python
	$(BIN)/pip-audit --local --skip-editable || echo "pip-audit: known vulnerabilities, or no connection"

site: setup-dev ## Build the documentation as a site, in site/; a warning fails.
	@$(BIN)/mkdocs build --strict --quiet
	echo "site/index.html"

size: $(BIN)/python ## Print the files and code lines of every room of src/beadseg.
	@$(BIN)/python benchmarks/house.py

bench: setup-test gui-packages ## Run the benchmarks; BEADSEG_DATA names a folder of real tiles with a split.csv.
	@$(BIN)/python benchmarks/kill.py
	$(BIN)/python benchmarks/audit.py
	$(BIN)/python benchmarks/audit_speed.py
	$(BIN)/python benchmarks/review.py
	$(BIN)/python benchmarks/draft.py
	$(BIN)/python benchmarks/suggest.py
	$(BIN)/python benchmarks/counting.py --out runs/counting
	$(BIN)/python benchmarks/general.py --out runs/general $${BEADSEG_DATA:+--tiles "$$BEADSEG_DATA/images"}
	window=()
	if [ -z "$${DISPLAY:-}" ] && [ "$$(uname -s)" = Linux ]; then window=(xvfb-run -a -s "-screen 0 1280x1024x24"); fi
	for benchmark in heartbeat predicting review_widget; do
	  $${window[@]+"$${window[@]}"} $(BIN)/python benchmarks/$$benchmark.py || echo "$$benchmark: over its limit"
	done
	if [ -z "$${BEADSEG_DATA:-}" ]; then
	  echo "Accuracy and realism on real tiles were not measured: set BEADSEG_DATA to their folder."; exit 0
	fi
	$(BIN)/python benchmarks/accuracy.py "$$BEADSEG_DATA" --split-file "$$BEADSEG_DATA/split.csv" --out runs/accuracy --exclude 'synthetic_*'
	$(BIN)/python benchmarks/realism.py "$$BEADSEG_DATA" --exclude 'synthetic_*'

clean: ## Remove .venv, the demo's results and caches.
	@rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
