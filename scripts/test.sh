#!/usr/bin/env bash
# Run all tests with branch coverage; the parts that must never be wrong have a floor.
set -euo pipefail
cd "$(dirname "$0")/.."
# Four at a time on two cores: much of a test with servers is waiting. A file stays together, for what its tests
# share; the files keep the order of tests/conftest.py, so that the longest are not the last, with processes idle.
.venv/bin/python -m pytest --quiet -rs -n 4 --dist loadfile --no-loadscope-reorder --cov --cov-report= "$@"
.venv/bin/python scripts/coverage_floor.py
