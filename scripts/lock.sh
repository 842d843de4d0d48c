#!/usr/bin/env bash
# Renew the locks: exact versions with the hashes of every file of a release, and no address of any index.
set -euo pipefail
cd "$(dirname "$0")/.."
compile() { # compile OUTPUT ARGUMENT...
    local output=$1
    shift
    .venv/bin/pip-compile --quiet --generate-hashes --strip-extras --no-header --no-annotate --allow-unsafe \
        --no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options \
        --output-file "requirements/$output.txt" "$@" 2>/dev/null
    # An extra that includes another names this project by its folder; the lock is about the others.
    sed -i -E '/^kiteline @/d; /^# (WARNING|Consider)/d' "requirements/$output.txt"
}
compile edge --extra edge pyproject.toml
compile bridge --extra bridge pyproject.toml
compile demo --extra demo pyproject.toml
compile dev --extra dev pyproject.toml
compile fhir-server requirements/fhir-server.in
compile cwt requirements/cwt.in
compile bench requirements/bench.in
