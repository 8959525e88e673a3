# No logic here: each target calls a command. Everything runs in $(VENV), which is
# set up on demand; a set-up that was interrupted starts afresh, because the stamp comes last.

PYTHON ?= python3
VENV = .venv
UV = uv

SOURCE = mariadb
TARGET = mysql
KEEP =
N = 20

BIN = $(VENV)/bin
READY = $(VENV)/.project-installed

.PHONY: demo test check unit integration targets switchovers kills bench-fanout bench-ways bench-ticks screenshots format build lock clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

demo: $(READY)
	$(BIN)/cdc-assets demo --source $(SOURCE) --target $(TARGET) $(if $(KEEP),--keep)

test: check unit integration

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-logo

unit: $(READY)
	$(BIN)/python -m pytest -m "not integration" -n logical --maxprocesses 4 --dist worksteal

integration: $(READY)
	$(BIN)/python -m pytest -m integration --timeout 900 --durations 10 --ignore tests/integration/targets tests/integration tests/contract

# Every other target than MySQL, on real servers.
targets: $(READY)
	$(BIN)/python -m pytest -m integration --timeout 900 --durations 10 tests/integration/targets

switchovers: $(READY)
	$(BIN)/cdc-assets switchovers $(N) --target $(TARGET)

kills: $(READY)
	$(BIN)/cdc-assets kills $(N) --target $(TARGET)

bench-fanout: $(READY)
	$(BIN)/python benchmarks/fanout.py

bench-ways: $(READY)
	$(BIN)/python benchmarks/ways.py --way $(TARGET)

bench-ticks: $(READY)
	$(BIN)/python benchmarks/ticks.py

# The pictures in docs/; needs a Chromium in PATH.
screenshots: $(READY)
	$(BIN)/python docs/screenshots.py

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

build: $(READY)
	$(BIN)/python -m hatchling build

# Resolves every dependency anew. The two locks hold the same pins and hashes (docs/design.md).
lock:
	rm -f uv.lock
	$(UV) lock
	$(UV) export --frozen --all-extras --no-emit-project --no-annotate --no-header --quiet --output-file requirements.lock
	sed -E -e 's#registry = "https?://[^"]*"#registry = ".wheels"#' -e 's#url = "https?://[^"]*/([^"/]+)"#path = "\1"#' uv.lock > uv.lock.new
	mv uv.lock.new uv.lock

clean:
	rm -rf build dist htmlcov .coverage .hypothesis .import_linter_cache .pytest_cache .ruff_cache
	find cdc_assets resources tests -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.requirements-installed: requirements.lock
	@$(PYTHON) -c 'import sys; (3, 10) <= sys.version_info < (3, 15) or sys.exit("Python 3.10 to 3.14 is needed, $(PYTHON) is %d.%d; name another one with PYTHON=..." % sys.version_info[:2])'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	touch $@

$(READY): $(VENV)/.requirements-installed pyproject.toml
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-index --no-build-isolation --editable .
	touch $@
