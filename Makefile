# Two commands matter: `make demo` and `make test`. Both work from a fresh clone with python3, venv, make and git.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
SEEDS ?= 2000
SHOTS ?= 60
MOMENTS ?= 2
SEED ?= 1
CUTS ?= 2
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet install

.PHONY: help demo test check unit simulation exploration vm vm-test soak sabotage mutation bench schema golden formulary diagram dose-truth deb package-test install uninstall lock clean

help:  ## show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

# The environment is made anew when what it is made of changes; the stamp is written last, so a broken make is repeated.
# One without a pip is what was left where python3-venv was missing: there is a python in it, and nothing to go on with.
$(VENV)/.run: requirements/run.txt requirements/build.txt pyproject.toml $(wildcard config/*.toml config/*/* config/*/*/*)
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "mesogun needs Python 3.11 or newer; try make PYTHON=python3.13")'
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	$(PIP) --require-hashes -r requirements/run.txt -r requirements/build.txt
	$(PIP) --no-build-isolation --no-deps --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(PIP) --require-hashes -r requirements/dev.txt
	touch $@

demo: $(VENV)/.run  ## a simulated gun treats a scalp
	$(BIN)/mesogun demo $(DEMO)

test: $(VENV)/.dev  ## every check and every test (installs Debian's mosquitto where it may)
	.ci/system-packages
	$(MAKE) --no-print-directory check unit
	$(MAKE) --no-print-directory --jobs=2 --output-sync=target simulation exploration
	$(BIN)/python -m pytest tests/sabotage tests/system

check: $(VENV)/.dev  ## format, lint, types, layers, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(VENV)/.dev  ## the quick tests, and every branch of what decides over a dose reached by them
	$(BIN)/python -m coverage run -m pytest tests/unit tests/contract tests/golden
	$(BIN)/python -m coverage report

simulation exploration: $(VENV)/.dev
	$(BIN)/python -m pytest tests/$@

vm: $(VENV)/.dev  ## the same virtual console, to try by hand (as root)
	.ci/vm-packages
	$(BIN)/python -m tests.vm.rig

vm-test: $(VENV)/.dev  ## a real-time kernel, real lines, real systemd, in an emulated machine: make vm-test SHOTS=5 (as root)
	.ci/vm-packages
	MESOGUN_VM_SHOTS=$(SHOTS) MESOGUN_VM_MOMENTS=$(MOMENTS) MESOGUN_VM_CUTS=$(CUTS) MESOGUN_VM_SEED=$(SEED) $(BIN)/python -m pytest tests/vm $(VM)

soak: $(VENV)/.dev  ## the simulation's large sizes: make soak SEEDS=20000
	$(BIN)/python -m tests.simulation.soak --seeds $(SEEDS) $(SOAK)
	$(BIN)/python -m tests.exploration --shots 2

sabotage: $(VENV)/.dev  ## plant every bug of the catalogue and see the tests fail
	$(BIN)/python -m tests.sabotage

mutation: $(VENV)/.dev  ## mutate what decides over a dose (hours)
	$(BIN)/python -m tests.mutation

bench: $(VENV)/.dev  ## timings, as ratios to a floor measured in the same run: one table in var/bench
	.ci/system-packages cyclictest:rt-tests
	$(BIN)/python -m tests.bench --write var/bench $(BENCH)

deb: $(VENV)/.run  ## build dist/mesogun_*.deb for this release of Debian
	PIP_PYTHON=$(BIN)/python packaging/build-deb

package-test: deb  ## install, update and remove that package in a Debian of its own (root, debootstrap)
	$(MAKE) --no-print-directory $(VENV)/.dev
	$(BIN)/python -m pytest tests/package

install:  ## install or update the gun's services from dist/ (sudo make install, after make deb)
	packaging/install

uninstall:  ## remove them; journal and configuration stay
	dpkg --remove mesogun

formulary: $(VENV)/.dev  ## sign the shipped formulary anew, with the key of the demo that everybody has
	$(BIN)/mesogun formulary sign config/formulary --key tests/keys/demo.key --author "mesogun's examples" --valid-days 3653

schema: $(VENV)/.dev  ## write config/schema anew
	$(BIN)/python -m device.service.config_schema

golden: $(VENV)/.dev  ## write the golden traces anew; review them like code
	$(BIN)/python -m tests.golden.update

diagram: $(VENV)/.dev  ## write the state diagram of docs/ARCHITECTURE.md anew
	$(BIN)/python -m device.service.state_diagram

dose-truth: $(VENV)/.dev  ## write docs/dose-truth.md anew; review it like code
	$(BIN)/python -m tests.bench.dose_truth

lock:  ## resolve the requirements anew (needs uv)
	for kind in run:--extra=demo pi:--extra=pi dev:--extra=demo\ --group=dev; do \
	  uv pip compile pyproject.toml $${kind#*:} --universal --python-version 3.11 --generate-hashes \
	    --no-annotate --no-header --upgrade --quiet --output-file requirements/$${kind%%:*}.txt; done
	uv pip compile requirements/build.in --universal --python-version 3.11 --generate-hashes \
	  --no-annotate --no-header --upgrade --quiet --output-file requirements/build.txt

clean:  ## remove the environment and caches
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
