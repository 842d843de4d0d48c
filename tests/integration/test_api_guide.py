"""The guide for programs does what it says: each of its commands, in its order, against a served bridge."""

import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from service_kit.key_files import write_private
from tests.doubles.edge_readings import bridge_keys
from tests.doubles.page_visitor import fill_a_day, filled_desk
from tests.doubles.served_page import served

if shutil.which("curl") is None:
    pytest.skip("SKIPPED PART: curl is not installed", allow_module_level=True)

GUIDE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
BLOCKS = re.findall(r"```(sh|json)\n(.*?)```", GUIDE, flags=re.DOTALL)
NEXT = "--- next ---"
CONFIG = """
site = "ward"
state = "{state}"
[keys]
bridge = "{state}/bridge.key"
[broker]
host = "127.0.0.1"
port = 1883
[page]
port = 8600
"""


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[tuple[Path, Mapping[str, str], str]]:
    """A folder to work in, an environment with `cloud-bridge`, and where the bridge is served."""
    desk = filled_desk(tmp_path, fill_a_day)
    desk.now = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)  # what commands state holds by then
    write_private(tmp_path / "bridge.key", bridge_keys())
    (tmp_path / "cloud-bridge.toml").write_text(CONFIG.format(state=tmp_path))
    program = tmp_path / "bin" / "cloud-bridge"
    program.parent.mkdir()
    run = f'exec {sys.executable} -m cloud_bridge.cli "$@" --config {tmp_path}/cloud-bridge.toml'
    program.write_text(f"#!/bin/sh\n{run}\n")
    program.chmod(0o755)
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": root}
    work = tmp_path / "work"
    work.mkdir()
    with served(desk) as address:
        yield work, environment, address
    desk.close()


def test_the_guide_does_what_it_says(shell: tuple[Path, Mapping[str, str], str]) -> None:
    folder, environment, address = shell
    commands = [text for kind, text in BLOCKS if kind == "sh"]
    script = f"\necho '{NEXT}'\n".join(commands).replace("http://127.0.0.1:8600", address)
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace("ward-1", "1")],
        cwd=folder,
        env=environment,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    said = iter(run.stdout.split(f"{NEXT}\n"))
    last, compared = "", 0
    for kind, text in BLOCKS:
        if kind == "sh":
            last = next(said)
        else:
            assert shape(json.loads(last)) == shape(json.loads(text)), last
            compared += 1
    assert compared == 3


def shape(value: object) -> object:
    """The names of an answer, whatever the values are."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value[:1]]
    return None
