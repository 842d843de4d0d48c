"""A port that somebody else has: the bridge ends at once, says it in one line, and its status says so too."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service_kit.complaints import complain
from service_kit.key_files import write_private
from tests.doubles.edge_readings import bridge_keys
from tests.unit.test_bridge_config import GOOD, written
from wire_format.errors import Misconfigured, Unreachable

PAGE = "[page]\nport = {taken}\n"
LINK = PAGE + 'sign_in = "link"\n'
MLLP = """[mllp]
port = {taken}
[discharge]
patient_system = "https://hospital.example/id/patient"
staff_system = "https://hospital.example/id/staff"
"""


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        (PAGE, ["page.port: {taken} is taken"]),
        (LINK, ["page.port: {taken} is taken"]),
        (MLLP, ["mllp.port: 127.0.0.1:{taken} cannot be listened on"]),
        (PAGE + MLLP, ["page.port", "mllp.port"]),
    ],
    ids=["page with interface", "page by a link", "mllp", "both"],
)
def test_a_taken_port_is_said_in_a_line(tmp_path: Path, sections: str, expected: list[str]) -> None:
    write_private(tmp_path / "bridge.key", bridge_keys())
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        path = written(tmp_path, GOOD + sections.replace("{taken}", port))
        command = [sys.executable, "-m", "cloud_bridge.cli", "run", "--config", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    said = done.stderr.splitlines()
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert set(said) == {line for line in said if line.startswith("cloud-bridge: ")}
    # Of two that are taken the first one ends the bridge: the other may not be tried any more.
    assert 0 < len(said) <= len(expected)
    assert any(one.replace("{taken}", port) in line for one in expected for line in said)
    assert all("write a" in line for line in said)


def test_what_is_no_complaint_of_ours_is_not_swallowed(capsys: pytest.CaptureFixture[str]) -> None:
    ours = ExceptionGroup("two", [Unreachable("away"), ExceptionGroup("one", [Misconfigured("write it")])])
    assert complain("x", ours) == 2
    assert capsys.readouterr().err == "x: away\nx: write it\n"
    assert complain("x", Unreachable("away")) == 1
    with pytest.raises(ExceptionGroup) as found:
        complain("x", ExceptionGroup("mixed", [Misconfigured("write it"), ZeroDivisionError()]))
    assert len(found.value.exceptions) == 2
