#!/usr/bin/env bash
# Run all tests with branch coverage; the parts that must never be wrong have a floor.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/python -m pytest --quiet -rs --cov --cov-report= "$@"
.venv/bin/python scripts/coverage_floor.py
