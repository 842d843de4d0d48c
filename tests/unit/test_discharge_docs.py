"""The guide to discharge plans: its configuration loads, and its command takes its example."""

import json
import re
from pathlib import Path

from cloud_bridge.discharge.goals import MEASURES
from cloud_bridge.discharge.terms import USUAL_TIMES
from tests.doubles.command_line import cloud_bridge
from tests.doubles.discharge_desk import write_config

DOCS = Path(__file__).parents[2] / "docs"
GUIDE = (DOCS / "discharge.md").read_text()


def test_the_guides_command_takes_the_guides_example(tmp_path: Path) -> None:
    (added,) = re.findall(r"```toml\n# cloud-bridge, discharge\n(.*?)```", GUIDE, flags=re.DOTALL)
    config = write_config(tmp_path, added)
    (line,) = re.findall(r"```sh\n(.*?)\n```", GUIDE)
    argv = line.replace("plan.json", str(DOCS / "discharge.example.json"))
    program, *words = argv.replace("/etc/kiteline/cloud-bridge.toml", str(config)).split()
    assert program == "cloud-bridge"
    done = cloud_bridge(*words)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["became"] == "new"


def test_the_guide_names_every_measure_and_the_times_that_it_shows() -> None:
    assert [code for code in MEASURES if code not in GUIDE] == []
    shown = re.findall(r'^(\w+) = \[(".*")\]$', GUIDE, flags=re.MULTILINE)
    assert {name for name, _ in shown} <= set(USUAL_TIMES)
    for name, times in shown:
        assert times.replace('"', "").split(", ") == [f"{at:%H:%M}" for at in USUAL_TIMES[name]]
