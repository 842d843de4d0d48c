"""Fail when branch coverage of the parts that must never be wrong falls below the floor."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

FLOOR: Final = 95.0
PARTS: Final = ("wire_format", "device_drivers", "cloud_bridge/rules")


def percent(files: dict[str, dict[str, dict[str, int]]], part: str) -> float:
    """Return lines and branches covered of all files below `part`, in percent."""
    covered = total = 0
    for name, report in files.items():
        if name.startswith(f"{part}/"):
            summary = report["summary"]
            covered += summary["covered_lines"] + summary["covered_branches"]
            total += summary["num_statements"] + summary["num_branches"]
    return 100.0 * covered / total if total else 0.0


def main() -> int:
    """Print a line for each part; return 1 if one is below the floor."""
    report = Path(".cache/coverage.json")
    report.parent.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", str(report)]
    subprocess.run(command, check=True)  # noqa: S603 - our own interpreter
    files = json.loads(report.read_text())["files"]
    low = False
    for part in PARTS:
        reached = percent(files, part)
        low |= reached < FLOOR
        print(f"coverage of {part}: {reached:.1f} % (floor {FLOOR:g} %)")  # noqa: T201 - a report
    return int(low)


if __name__ == "__main__":
    sys.exit(main())
