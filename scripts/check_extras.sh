#!/usr/bin/env bash
# Each extra, installed alone, must be enough to import its package; and must not bring the other side along.
set -euo pipefail
cd "$(dirname "$0")/.."

alone() { # alone EXTRA PACKAGE FORBIDDEN...
    local extra=$1 package=$2
    shift 2
    local sum venv
    sum=$(sha256sum "requirements/$extra.txt" | cut -c1-12)
    venv=.cache/extras/$extra-$sum
    if [ ! -e "$venv/ok" ]; then
        rm -rf .cache/extras/"$extra"-*
        python3 -m venv "$venv"
        "$venv/bin/python" -m pip --disable-pip-version-check --quiet install --no-deps --require-hashes -r "requirements/$extra.txt"
        "$venv/bin/python" -m pip --disable-pip-version-check --quiet check
        touch "$venv/ok"
    fi
    "$venv/bin/python" -W error::ImportWarning scripts/import_all.py "$package" "$@"
}

alone edge edge_agent fastapi sqlalchemy fhir
alone bridge cloud_bridge bleak bumble
