"""The walk of docs/add_a_rule.md, carried out to the letter in a copy of the repository."""

import re
from pathlib import Path

from tests.doubles.walk import ROOT, walk


def test_the_walk_leads_where_it_says(tmp_path: Path) -> None:
    said = walk(ROOT / "docs" / "add_a_rule.md", tmp_path)
    red, green = [output for command, output in said if "pytest" in command]
    assert "KeyError: 'BP-PULSE-PRESSURE'" in red
    passed = re.search(r"(\d+) passed", green)
    assert passed is not None
    assert int(passed[1]) > 10  # the rule met the suite, and not an empty selection
    assert "failed" not in green
    assert not (ROOT / "cloud_bridge" / "rules" / "pulse_pressure.py").exists()
