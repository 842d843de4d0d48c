# Two commands do all of the set-up: `make demo` and `make test`.

# Debian's own Python before another one on PATH: it is what homes and hospitals run, and so what is to be judged.
PYTHON ?= $(shell /usr/bin/python3 -c 'import sys, venv, ensurepip; print(sys.executable if sys.version_info >= (3, 11) else "python3")' 2>/dev/null || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := .cache/stamps
# A lock names everything, so pip has nothing to resolve: an older pip would take an extra of what is pinned (coverage[toml])
# in the newest version there is, and then refuse it for having no hash. `pip check` says whether the lock is whole.
PIP := -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes
# The parts of the set-up wait for each other only where one needs another: side by side they take half as long.
SET_UP := $(MAKE) --no-print-directory --jobs 4
# Each demo and each test run starts many processes: what the first has compiled is kept for the others.
export PYTHONDONTWRITEBYTECODE :=
PACKAGES := wire_format device_drivers service_kit edge_agent cloud_bridge virtual_home

.DEFAULT_GOAL := help
.PHONY: help demo test test-vm check storm storm-devices storm-alarms fuzz api-check bench docs lock clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

demo: ## Watch one reading travel (ONCE=1: end by itself)
	@$(SET_UP) $(STAMPS)/venv $(STAMPS)/fhir-server $(STAMPS)/debian-demo
	@$(BIN)/virtual-home demo $(if $(ONCE),--once)

test: ## Prove everything
	@$(SET_UP) $(STAMPS)/venv $(STAMPS)/fhir-server $(STAMPS)/cwt $(STAMPS)/debian-test
	@scripts/test.sh

test-vm: $(STAMPS)/venv $(STAMPS)/debian-vm ## A real kernel, bluetoothd and bleak in a virtual machine (NAMES=...: only these)
	@$(BIN)/python -m tests.vm.run $(NAMES)

check: $(STAMPS)/venv ## Lint, types, import directions, shape, units, extras
	@scripts/check.sh

storm: $(STAMPS)/venv $(STAMPS)/fhir-server $(STAMPS)/debian-test ## Kill every process at every step of the path
	@$(BIN)/virtual-home storm

storm-devices: $(STAMPS)/venv $(STAMPS)/fhir-server $(STAMPS)/debian-test ## A hundred devices measure at once (DEVICES=n: so many)
	@DEVICES=$(or $(DEVICES),100) $(BIN)/python -m pytest --quiet --timeout 600 tests/integration/test_many_devices.py

storm-alarms: $(STAMPS)/venv $(STAMPS)/fhir-server ## 5000 people alarm at once (PATIENTS=n: so many)
	@PATIENTS=$(or $(PATIENTS),5000) $(BIN)/python -m pytest tests/bench/bench_alarms.py --quiet -s -o python_files="bench_*.py" -o timeout=1800 -o faulthandler_timeout=1800

fuzz: $(STAMPS)/venv ## Ten million damaged packets through every decoder (COUNT=n: so many)
	@$(BIN)/python -m tests.fuzz.decoders $(if $(COUNT),--count $(COUNT))

api-check: $(STAMPS)/venv ## Made-up requests against the served interface for five minutes (SECONDS=n: so long)
	@API_CHECK_S=$(or $(SECONDS),300) $(BIN)/python -m pytest --quiet -s --timeout 0 tests/integration/test_api_contract.py

bench: $(STAMPS)/venv $(STAMPS)/bench $(STAMPS)/debian-demo ## Measure speed and memory
	@$(BIN)/python -m pytest tests/bench --quiet -s -o python_files="bench_*.py"

docs: $(STAMPS)/venv ## Write the pages that are made from profiles, topics, routes and policies
	@$(BIN)/python scripts/supported_devices.py
	@$(BIN)/python scripts/asyncapi.py
	@$(BIN)/python -m cloud_bridge.api.v1.document > docs/openapi.json
	@$(BIN)/python -m cloud_bridge.access.matrix > docs/access.md

lock: $(STAMPS)/venv ## Renew the locks
	@scripts/lock.sh

clean: ## Remove everything that the other targets made
	rm -rf .venv .venv-fhir .venv-cwt .venv-bench .cache .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis

# --- set-up; each stamp is renewed when what it stands on changes ---

$(STAMPS)/python:
	@scripts/debian.sh python "$(PYTHON)"
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/venv: requirements/dev.txt pyproject.toml | $(STAMPS)/python
	@echo "Setting up $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python $(PIP) -r requirements/dev.txt
	@$(BIN)/python -m pip --disable-pip-version-check --quiet install --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip --disable-pip-version-check --quiet check
	@touch $@

$(STAMPS)/fhir-server: requirements/fhir-server.txt | $(STAMPS)/python
	@echo "Setting up the hospital's FHIR server ..."
	@test -x .venv-fhir/bin/python || $(PYTHON) -m venv .venv-fhir
	@.venv-fhir/bin/python $(PIP) -r requirements/fhir-server.txt
	@.venv-fhir/bin/python -m pip --disable-pip-version-check --quiet check
	@touch $@

$(STAMPS)/cwt: requirements/cwt.txt | $(STAMPS)/python
	@echo "Setting up the second implementation of COSE ..."
	@test -x .venv-cwt/bin/python || $(PYTHON) -m venv .venv-cwt
	@.venv-cwt/bin/python $(PIP) -r requirements/cwt.txt
	@.venv-cwt/bin/python -m pip --disable-pip-version-check --quiet check
	@touch $@

$(STAMPS)/bench: requirements/bench.txt | $(STAMPS)/python
	@echo "Setting up the packages that decoding is set beside ..."
	@test -x .venv-bench/bin/python || $(PYTHON) -m venv .venv-bench
	@.venv-bench/bin/python $(PIP) -r requirements/bench.txt
	@.venv-bench/bin/python -m pip --disable-pip-version-check --quiet check
	@touch $@

$(STAMPS)/debian-vm $(STAMPS)/debian-test: scripts/vm/prepare.sh scripts/vm/make_initrd.py scripts/vm/init $(STAMPS)/venv

# After Python: two that install from Debian at once would stand in each other's way.
$(STAMPS)/debian-demo $(STAMPS)/debian-test $(STAMPS)/debian-vm: $(STAMPS)/debian-%: scripts/debian.sh | $(STAMPS)/python
	@mkdir -p $(STAMPS)
	@scripts/debian.sh $*
	@touch $@
