"""The walk of docs/add_a_connector.md, carried out to the letter in a copy of the repository."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles.walk import ROOT, run, walk

SUITE = ".venv/bin/python -m pytest -q tests/conformance/test_connectors.py -k"
CONNECTOR = Path("cloud_bridge") / "connectors" / "noticeboard.py"


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[tuple[str, str]]]]:
    """The copy that the walk was carried out in, and what its commands said."""
    folder = tmp_path_factory.mktemp("tree")
    yield folder, walk(ROOT / "docs" / "add_a_connector.md", folder)
    shutil.rmtree(folder)


@pytest.mark.timeout(300)
def test_the_walk_leads_where_it_says(walked: tuple[Path, list[tuple[str, str]]]) -> None:
    _, said = walked
    red, green = [output for command, output in said if "pytest" in command]
    assert "'noticeboard'" in red
    passed = re.search(r"(\d+) passed", green)
    assert passed is not None
    assert int(passed[1]) > 20  # the connector met the suite, and not an empty selection
    assert "failed" not in green
    status = json.loads(said[-1][1])
    assert status["destinations"] == ["noticeboard"]
    assert not (ROOT / CONNECTOR).exists()


BREAKS = [
    ("_confirmed(answer) != name", "False", "says_what_to_do_next"),
    (".{alert.revision}", "", "another_state_is_another_message"),
    (" if is_patient_data(order.reading.measurement)", "", "control_solution"),
    ('f"{order.reading.id}.{order.revision}"', "str(__import__('uuid').uuid4())", "sending_again"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("right", "wrong", "red"), BREAKS)
def test_the_suite_is_red_when_a_law_is_broken(
    walked: tuple[Path, list[tuple[str, str]]], right: str, wrong: str, red: str
) -> None:
    folder, _ = walked
    path = folder / CONNECTOR
    text = path.read_text()
    assert text.count(right) == 1
    path.write_text(text.replace(right, wrong))
    try:
        done = run(folder, f"{SUITE} 'noticeboard and {red}'")
    finally:
        path.write_text(text)
    assert done.returncode == 1, done.stdout[-2000:]
    assert red in done.stdout


@pytest.mark.timeout(100)
def test_the_walks_configuration_names_its_mistakes(walked: tuple[Path, list[tuple[str, str]]]) -> None:
    folder, _ = walked
    config = (folder / "cloud-bridge.toml").read_text()
    (folder / "clear.toml").write_text(config.replace("https://", "http://"))
    done = run(folder, ".venv/bin/python -m cloud_bridge.cli status --config clear.toml")
    assert done.returncode == 2
    assert "write an https:// url" in done.stderr
