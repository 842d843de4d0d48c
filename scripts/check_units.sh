#!/usr/bin/env bash
# The services' units: well-formed, and confined as far as they claim.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v systemd-analyze >/dev/null; then
    echo "SKIPPED: units are not checked, systemd-analyze is not installed (sudo apt-get install systemd)"
    exit 0
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# A drop-in is checked as what it makes of its unit: the two joined.
for dropin in systemd/*.service.d/*.conf; do
    unit=$(basename "$(dirname "$dropin")" .d)
    joined="$scratch/units/${unit%.service}-$(basename "$dropin" .conf).service"
    mkdir -p "$scratch/units"
    grep -v '^# exposure: ' "systemd/$unit" | cat - "$dropin" >"$joined"
done
for unit in systemd/*.service "$scratch"/units/*.service; do
    # The programs are installed on the target, not here: verify with one that exists everywhere.
    sed -E 's#^(ExecStart=)[^ ]+#\1/bin/true#' "$unit" >"$scratch/$(basename "$unit")"
    systemd-analyze verify --man=no "$scratch/$(basename "$unit")"
    threshold=$(sed -n 's/^# exposure: //p' "$unit")
    systemd-analyze security --offline=true --no-pager --threshold="$threshold" "$scratch/$(basename "$unit")" \
        >"$scratch/report" || { tail -1 "$scratch/report"; echo "$unit is more exposed than $threshold/100" >&2; exit 1; }
    tail -1 "$scratch/report"
done
