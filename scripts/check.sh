#!/usr/bin/env bash
# Everything that can be judged without running the product.
set -euo pipefail
cd "$(dirname "$0")/.."
BIN=.venv/bin
$BIN/ruff check .
$BIN/ruff format --check --quiet . || { echo "Run: $BIN/ruff format ." >&2; exit 1; }
$BIN/mypy
$BIN/python -m pytest --quiet tests/architecture
scripts/check_units.sh
scripts/check_extras.sh
